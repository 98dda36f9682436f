"""Segmentation piece by piece, with the labels that the whole image would get."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.blocks.chunks import chunk_shape, iter_chunks
from aequorea.errors import AxisMismatchError, InputError
from aequorea.segmentation.parameters import SegmentationParameters
from aequorea.segmentation.result import Segmentation
from aequorea.segmentation.scale import object_scale, size_notes, tile_with_structure
from aequorea.segmentation.watershed import (
    as_stored,
    known_scale,
    shown_facts,
    thresholded,
)
from aequorea.segmentation.watershed_basins import (
    contacts,
    cut_pointers,
    highest_passes,
    number_roots,
    resolve,
    saddles,
    uphill,
)
from aequorea.segmentation.watershed_plan import (
    LEVELS,
    WatershedPlan,
    add_levels,
    given_scale,
    noise_sd,
    plan_scales,
)
from aequorea.segmentation.watershed_stages import (
    BasinTable,
    core_sums,
    final_numbers,
    landscape_of,
    levels_of,
    renumber,
    smoothed,
    trim,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    Float32Array = npt.NDArray[np.float32]
    FloatArray = npt.NDArray[np.float64]
    Int32Array = npt.NDArray[np.int32]
    IntArray = npt.NDArray[np.int64]

__all__ = ["label_blocks"]

Slices = tuple[slice, ...]
_DEFAULT_PIXELS = 1 << 23


def label_blocks(
    image: Any,
    options: SegmentationParameters | None = None,
    *,
    chunk: Sequence[int] | None = None,
    max_pixels: int = _DEFAULT_PIXELS,
    spacing_um: Sequence[float] | None = None,
    mask: Any = None,
    out: Int32Array | None = None,
    **fields: Any,
) -> Segmentation:
    """Segment an image of any size with the watershed, one piece at a time.

    Parameters
    ----------
    image : array, shape (y, x) or (z, y, x)
        Anything with a shape and a dtype that gives an array when sliced: NumPy, zarr, dask.
    options : SegmentationParameters, optional
        Method ``watershed`` without prefilters and postfilters.
    chunk : sequence of int, optional
        Shape of a piece; else one of at most ``max_pixels`` for which little is read twice.
    max_pixels : int, default 2²³
    spacing_um : sequence of float, optional
        Distance between pixel centres along each axis.
    mask : array of bool, optional
        Scale and threshold are taken from the pixels inside.
    out : ndarray of int32, optional
        Where the labels are written, such as a memory-mapped file.
    **fields
        Fields of :class:`SegmentationParameters`, over those of ``options``.

    Returns
    -------
    Segmentation
        Exactly the labels, facts and notes of
        :func:`aequorea.segmentation.watershed_segmentation` on the whole image.

    Raises
    ------
    InputError
        If the options ask for another method or for filters, or the image is not 2D or 3D.
    AxisMismatchError
        If mask, chunk or out do not fit the image.

    Notes
    -----
    Scale, grey levels and threshold are taken from the whole image in a first reading. Then each
    piece is read with a halo of three SD of the widest Gaussian (0.25 diameters) and 2 px, which
    makes the landscape in it that of the whole. Steepest ascent may leave a piece: it is followed
    from piece to piece by tables of the voxels where it enters the next. Everything else that
    crosses a seam (highest passes, voxel counts, sums, contacts) is a maximum or an integer and
    does not depend on the order of the pieces. The image is read five times; besides ``out``,
    memory is about 20 bytes for each pixel of a piece with its halo, and some hundred bytes for
    each basin.

    Examples
    --------
    >>> from aequorea.segmentation import watershed_segmentation
    >>> from aequorea.simulate import simulated_nuclei
    >>> image = simulated_nuclei((160, 160), n=20, rng=0).image
    >>> pieces = label_blocks(image, chunk=(50, 70))
    >>> bool((pieces.labels == watershed_segmentation(image).labels).all())
    True
    """
    given = {} if options is None else options.model_dump(exclude_unset=True)
    chosen = SegmentationParameters(**(given | fields))
    if chosen.method != "watershed" or chosen.prefilters or chosen.postfilters:
        raise InputError(
            "label_blocks: expected method 'watershed' without prefilters and postfilters, found "
            f"method {chosen.method!r}, filters {chosen.prefilters + chosen.postfilters}"
        )
    source = _Source(image)
    region = None if mask is None else _Source(mask, kind="b")
    if region is not None and region.shape != source.shape:
        raise AxisMismatchError(
            f"mask: expected the shape of the image {tuple(image.shape)}, found {np.shape(mask)}"
        )
    labels = _target(out, tuple(image.shape))
    pieces = _Pieces(source, chunk, max_pixels)
    notes = source.measure(pieces)
    spacing = None if spacing_um is None else tuple(float(s) for s in spacing_um)
    plan, uncertain = _planned(source, region, pieces, chosen, spacing)
    facts = shown_facts(plan)
    volume = labels.reshape(source.shape)
    if not math.isfinite(plan.floor):
        volume[...] = 0
        note = "nothing stands out in the image; no objects"
        return Segmentation(labels=labels, facts=facts, notes=(*notes, note))
    notes = (*notes, *uncertain)
    summits = _write_basins(pieces, plan, volume)
    table = _measure_basins(pieces, plan, volume, summits)
    owner, level = levels_of(
        table, plan, tolerance=chosen.split_tolerance, edge=chosen.watershed_edge
    )
    voxels = np.zeros(len(owner), np.int64)
    for core in pieces:
        smooth = _inner(smoothed(pieces.read(core), plan.edge_sigma_px), core, pieces)
        old = np.ascontiguousarray(volume[core])
        new = np.empty_like(old)
        trim(old.ravel(), np.ascontiguousarray(smooth).ravel(), owner, level, new.ravel(), voxels)
        volume[core] = new
    pairs, faces = _all_contacts(volume, pieces)
    numbers = final_numbers(
        voxels,
        pairs,
        faces,
        plan,
        neck=chosen.split_neck,
        min_size=chosen.watershed_min_size,
    )
    _renumber(volume, pieces, numbers)
    if not numbers.any():
        notes = (*notes, "nothing rises above noise and smallest size; no objects")
    return Segmentation(labels=labels, facts=facts, notes=notes)


class _Source:
    """An image that is read in parts, as (z, y, x) and finite."""

    def __init__(self, array: Any, kind: str = "biuf") -> None:
        self.array = array
        dtype = np.dtype(array.dtype)
        if len(array.shape) not in (2, 3):
            raise InputError(f"image: expected (y, x) or (z, y, x), found {tuple(array.shape)}")
        if dtype.kind not in kind and kind != "b":
            raise InputError(f"image: expected real numbers, found dtype {dtype}")
        self.ndim = len(array.shape)
        self.shape: tuple[int, ...] = (1,) * (3 - self.ndim) + tuple(int(n) for n in array.shape)
        self.is_mask = kind == "b"
        self.may_be_nan = dtype.kind == "f"
        self.lowest = self.highest = 0.0

    def __getitem__(self, part: Slices) -> npt.NDArray[Any]:
        pixels = np.asarray(self.array[part[-self.ndim :]])
        pixels = pixels.reshape((1,) * (3 - pixels.ndim) + pixels.shape)
        if self.is_mask:
            return pixels.astype(bool)
        pixels = as_stored(pixels)
        if self.may_be_nan and not np.isfinite(pixels.sum(dtype=np.float64)):
            pixels = np.where(np.isfinite(pixels), pixels, np.float32(self.lowest))
        return pixels

    def measure(self, pieces: _Pieces) -> tuple[str, ...]:
        """Find the lowest and highest finite grey level; a note if some are not finite."""
        low, high, n_bad = math.inf, -math.inf, 0
        for core in pieces:
            pixels = as_stored(np.asarray(self.array[core[-self.ndim :]]))
            if self.may_be_nan:
                finite = np.isfinite(pixels)
                n_bad += int(finite.size - np.count_nonzero(finite))
                pixels = pixels[finite]
            if pixels.size:
                low, high = min(low, float(pixels.min())), max(high, float(pixels.max()))
        if low <= high:
            self.lowest, self.highest = low, high
        return (f"{n_bad} pixels are not finite; taken as dark",) if n_bad else ()


class _Pieces:
    """The cores that an image is cut into, and their surroundings."""

    def __init__(self, source: _Source, chunk: Sequence[int] | None, max_pixels: int) -> None:
        self.source = source
        self.halo: tuple[int, ...] = (0, 0, 0)
        shape = source.shape
        self.max_pixels = max_pixels if chunk is None else None
        if chunk is None:
            self.chunk = chunk_shape(shape, max_pixels)
        elif len(chunk) != source.ndim:
            raise AxisMismatchError(
                f"chunk: expected {source.ndim} sizes for an image of shape "
                f"{shape[-source.ndim :]}, found {tuple(chunk)}"
            )
        else:
            self.chunk = (1,) * (3 - source.ndim) + tuple(int(c) for c in chunk)

    def __iter__(self) -> Iterator[Slices]:
        if math.prod(self.source.shape) > 0:
            yield from iter_chunks(self.source.shape, self.chunk)

    def surround(self, halo: tuple[int, ...]) -> None:
        """From now on read pieces with this halo; without a shape asked for, in stout pieces."""
        self.halo = halo
        if self.max_pixels is None:
            return
        chunk = list(self.source.shape)
        while math.prod(chunk) > self.max_pixels:
            longest = max(range(3), key=lambda k: chunk[k] / (halo[k] + 1) if chunk[k] > 1 else 0)
            chunk[longest] = (chunk[longest] + 1) // 2
        self.chunk = tuple(chunk)

    def grown(self, core: Slices, margin: Sequence[int]) -> Slices:
        """A core and what lies around it, as far as the image goes."""
        return tuple(
            slice(max(side.start - m, 0), min(side.stop + m, n))
            for side, m, n in zip(core, margin, self.source.shape, strict=True)
        )

    def read(self, core: Slices) -> npt.NDArray[Any]:
        """Pixels of a core with its halo."""
        return self.source[self.grown(core, self.halo)]


def _inner(block: npt.NDArray[Any], core: Slices, pieces: _Pieces, margin: int = 0) -> Any:
    """What a core with its halo gave, cut to the core and a margin."""
    outer = pieces.grown(core, pieces.halo)
    inner = pieces.grown(core, (margin,) * 3)
    return block[
        tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))
    ]


def _target(out: Int32Array | None, shape: tuple[int, ...]) -> Int32Array:
    if out is None:
        return np.empty(shape, np.int32)
    if out.shape != shape or out.dtype != np.int32 or not out.flags.c_contiguous:
        raise AxisMismatchError(
            f"out: expected a contiguous int32 array of shape {shape}, found {out.dtype} of "
            f"{out.shape}"
        )
    return out


def _planned(
    source: _Source,
    region: _Source | None,
    pieces: _Pieces,
    options: SegmentationParameters,
    spacing_um: tuple[float, ...] | None,
) -> tuple[WatershedPlan, tuple[str, ...]]:
    """Everything that is taken from the whole image, and notes; sets the pieces' halo."""
    diameter, stretch = known_scale(options, spacing_um, source.ndim)
    tile = tile_with_structure(_Flat(source))
    sample = _Flat(source)[tile]
    inside = None if region is None else _Flat(region)[tile]
    scale = object_scale(sample, spacing_um=spacing_um, mask=inside)
    if diameter is not None:
        scale = given_scale(diameter, scale.stretch if stretch is None else stretch)
    if not source.highest > source.lowest:
        scale = replace(scale, diameter_px=math.nan)
    plan = plan_scales(
        scale,
        ndim=source.ndim,
        lowest=source.lowest,
        highest=source.highest,
        noise=noise_sd(sample),
    )
    notes = size_notes(plan.diameter_px, scale.diameter_by_number_px)
    if not math.isfinite(plan.diameter_px):
        return plan, notes
    pieces.surround(plan.halo_px)
    counts = np.zeros(LEVELS, np.int64)
    for core in pieces:
        smooth = _inner(smoothed(pieces.read(core), plan.edge_sigma_px), core, pieces)
        add_levels(counts, smooth, plan, None if region is None else region[core])
    return thresholded(plan, counts, options.threshold_value), notes


class _Flat:
    """A source in its own number of axes."""

    def __init__(self, source: _Source) -> None:
        self.source = source
        self.ndim = source.ndim
        self.shape = source.shape[-source.ndim :]

    def __getitem__(self, part: Slices) -> npt.NDArray[Any]:
        whole = (slice(0, 1),) * (3 - self.ndim)
        pixels = self.source[(*whole, *part)]
        return pixels.reshape(pixels.shape[-self.ndim :])


def _landscape(core: Slices, pieces: _Pieces, plan: WatershedPlan) -> tuple[Any, Any]:
    """Landscape of a core and a margin of 1, and the smoothed core."""
    pixels = pieces.read(core)
    smooth = smoothed(pixels, plan.edge_sigma_px)
    landscape = landscape_of(pixels, smooth, plan)
    return np.ascontiguousarray(_inner(landscape, core, pieces, 1)), _inner(smooth, core, pieces)


def _write_basins(pieces: _Pieces, plan: WatershedPlan, volume: Int32Array) -> FloatArray:
    """Label the basins of the whole image, 1 to n in scan order of their summits.

    Returns
    -------
    ndarray of float64, shape (n + 1,)
        Heights of the summits.
    """
    shape = pieces.source.shape
    ends: list[IntArray] = [np.array([-1])]  # flat index in the image where an ascent ends
    heights: list[FloatArray] = [np.zeros(1)]
    is_summit: list[npt.NDArray[np.bool_]] = [np.zeros(1, bool)]
    n = 0
    for core in pieces:
        landscape, _ = _landscape(core, pieces, plan)
        around = pieces.grown(core, (1, 1, 1))
        size = tuple(side.stop - side.start for side in core)
        inner = tuple(
            slice(c.start - a.start, c.stop - a.start) for c, a in zip(core, around, strict=True)
        )
        first = np.array([side.start for side in inner])
        labels = np.empty(size, np.int32)
        blockwise = cut_pointers(uphill(landscape).reshape(landscape.shape), first, labels)
        pointer = labels.ravel()
        roots = np.empty(resolve(pointer), np.int32)
        number_roots(pointer, roots)
        target = np.stack(np.unravel_index(blockwise[roots], landscape.shape)) - first[:, None]
        stays = ((target >= 0) & (target < np.array(size)[:, None])).all(axis=0)
        corner = np.array([side.start for side in core])
        end = np.ravel_multi_index(tuple(target + corner[:, None]), shape)
        ends.append(end.astype(np.int64))
        is_summit.append(stays)
        heights.append(landscape[inner].ravel()[roots].astype(np.float64))
        labels[labels > 0] += np.int32(n)
        volume[core] = labels
        n += len(roots)
    end, summit = np.concatenate(ends), np.concatenate(is_summit)
    height = np.concatenate(heights)
    following = np.arange(len(end))
    following[~summit] = volume.ravel()[end[~summit]]
    following[0] = 0
    while True:
        further = following[following]
        if np.array_equal(further, following):
            break
        following = further
    order = np.flatnonzero(summit)
    order = order[np.argsort(end[order], kind="stable")]
    number = np.zeros(len(end), np.int32)
    number[order] = np.arange(1, len(order) + 1)
    _renumber(volume, pieces, number[following])
    return np.concatenate([[0.0], height[order]])


def _measure_basins(
    pieces: _Pieces,
    plan: WatershedPlan,
    volume: Int32Array,
    summits: FloatArray,
) -> BasinTable:
    """Passes between basins, and what lies near their summits."""
    voxels, quanta = np.zeros(len(summits), np.int64), np.zeros(len(summits), np.int64)
    codes: list[IntArray] = [np.empty(0, np.int64)]
    heights: list[Float32Array] = [np.empty(0, np.float32)]
    for core in pieces:
        landscape, smooth = _landscape(core, pieces, plan)
        around = pieces.grown(core, (1, 1, 1))
        inner = tuple(
            slice(c.start - a.start, c.stop - a.start) for c, a in zip(core, around, strict=True)
        )
        labels = np.ascontiguousarray(volume[around])
        pairs, passes = saddles(landscape, labels)
        codes.append((pairs[:, 0] << 32) | pairs[:, 1])
        heights.append(passes)
        more = core_sums(labels[inner], landscape[inner], smooth, summits, plan)
        voxels += more[0]
        quanta += more[1]
    pairs, passes = highest_passes(np.concatenate(codes), np.concatenate(heights))
    return BasinTable(
        summits=summits, core_voxels=voxels, core_quanta=quanta, pairs=pairs, heights=passes
    )


def _all_contacts(volume: Int32Array, pieces: _Pieces) -> tuple[IntArray, IntArray]:
    """Faces between labels, within pieces and across their seams."""
    codes: list[IntArray] = [np.empty(0, np.int64)]
    faces: list[IntArray] = [np.empty((0, 3), np.int64)]
    for core in pieces:
        parts: list[tuple[Slices, tuple[bool, ...]]] = [(core, (True, True, True))]
        for axis, side in enumerate(core):
            if side.stop < volume.shape[axis]:
                seam = slice(side.stop - 1, side.stop + 1)
                across = tuple(axis == k for k in range(3))
                parts.append(((*core[:axis], seam, *core[axis + 1 :]), across))
        for part, counted in parts:
            pairs, found = contacts(np.ascontiguousarray(volume[part]))
            found = found * np.asarray(counted)
            some = found.any(axis=1)
            codes.append((pairs[some, 0] << 32) | pairs[some, 1])
            faces.append(found[some])
    names, which = np.unique(np.concatenate(codes), return_inverse=True)
    total = np.zeros((len(names), 3), np.int64)
    np.add.at(total, which, np.concatenate(faces))
    return np.stack([names >> 32, names & 0xFFFFFFFF], axis=1), total


def _renumber(volume: Int32Array, pieces: _Pieces, numbers: Int32Array) -> None:
    for core in pieces:
        part = np.ascontiguousarray(volume[core])
        renumber(part.ravel(), numbers)
        volume[core] = part
