"""Nuclei, cell bodies, cytosol and membrane of cells in 3D, in micrometres."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_li, threshold_otsu, threshold_triangle
from skimage.segmentation import expand_labels, watershed

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.filters.binning import bins_for, mean_of_bins, unbinned_labels
from aequorea.filters.edges import plus_operator
from aequorea.segmentation.result import Segmentation
from aequorea.segmentation.scale import estimate_diameter_px
from aequorea.segmentation.watershed import watershed_segmentation
from aequorea.spatial.boxes import boxes_of
from aequorea.spatial.distances import distance_map

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aequorea.segmentation.result import Fact

__all__ = [
    "THRESHOLDS",
    "cell_of_each_nucleus",
    "cytosol_of",
    "membrane_of",
    "segment_bodies",
    "segment_nuclei",
]

Labels = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]

_METHODS = {"li": threshold_li, "otsu": threshold_otsu, "triangle": threshold_triangle}
THRESHOLDS = tuple(_METHODS)

# Sixteen steps across an object put its outline within a few per cent of its volume.
_STEPS_ACROSS = 16
_FINEST_GUESS_UM = 0.25
# Share of the brightest voxels that a threshold does not see: specks, dead cells, hot pixels.
_BRIGHTEST = 99.9
_SAMPLED = 2_000_000
_TRUNCATE_SD = 4.0  # where ndimage cuts a Gaussian off


@dataclass(frozen=True)
class _Grid:
    """The coarse grid objects are found on."""

    bins: tuple[int, ...]
    spacing_um: tuple[float, ...]

    @classmethod
    def of(cls, spacing_um: Sequence[float], grid_um: float) -> _Grid:
        bins = bins_for(spacing_um, grid_um)
        return cls(bins, tuple(s * b for s, b in zip(spacing_um, bins, strict=True)))


def segment_nuclei(
    image: npt.ArrayLike,
    *,
    spacing_um: Sequence[float],
    diameter_um: float | None = None,
    threshold: float | None = None,
    min_volume_um3: float | None = None,
    split_tolerance: float | None = None,
    split_neck: float | None = None,
) -> Segmentation:
    """Find nuclei in a stack, on a grid no finer than they need.

    Parameters
    ----------
    image : array_like, shape (z, y, x)
    spacing_um : sequence of float, µm
        Distance between voxel centres along z, y, x; a single plane may have any along z.
    diameter_um : float, µm, optional
        Typical diameter; found in the image if not given.
    threshold : float, optional
        Grey level; automatic, and half of each nucleus' height, if not given.
    min_volume_um3 : float, µm³, optional
        Smaller ones are dropped; 15 % of a ball of the typical diameter if not given.
    split_tolerance, split_neck : float, optional
        As in :class:`aequorea.segmentation.SegmentationParameters`.

    Returns
    -------
    Segmentation
        Facts: ``diameter_um``, ``threshold``, ``grid_um`` (along x).

    Raises
    ------
    InputError
        If the image is no stack of finite numbers.
    CalibrationError
        If the spacing is not known: nothing here works in pixels.

    Notes
    -----
    Blocks of voxels are averaged to about a sixteenth of the diameter, the watershed of
    :func:`aequorea.segmentation.watershed_segmentation` finds the nuclei there, outlines of an
    automatic threshold are moved to where they were before blur drew them inwards [1]_, and are
    interpolated back.

    References
    ----------
    .. [1] Verbeek & van Vliet (1994), IEEE Trans Pattern Anal 16:726. doi:10.1109/34.297954
    """
    stack = _stack(image)
    spacing = _known(spacing_um)
    diameter = diameter_um or _typical_diameter_um(stack, spacing)
    grid = _Grid.of(spacing, _FINEST_GUESS_UM if diameter is None else diameter / _STEPS_ACROSS)
    coarse = mean_of_bins(stack, grid.bins)
    flat = len(coarse) == 1
    options: dict[str, Any] = {
        "threshold": threshold,
        "split_tolerance": split_tolerance,
        "split_neck": split_neck,
    }
    found = watershed_segmentation(
        coarse[0] if flat else coarse,
        spacing_um=grid.spacing_um[1:] if flat else grid.spacing_um,
        diameter_px=None if diameter is None else diameter / grid.spacing_um[-1],
        **options,
    )
    labels = found.labels[None] if flat else found.labels
    if threshold is None:
        labels = _outlined(labels, coarse, diameter, grid.spacing_um)
    labels = unbinned_labels(np.ascontiguousarray(labels), grid.bins, stack.shape)
    if min_volume_um3 is not None:
        labels = _without_small(labels, min_volume_um3, spacing)
    across = found.facts.get("diameter_px")
    facts: dict[str, Fact] = {
        "diameter_um": None if across is None else float(across) * grid.spacing_um[-1],
        "threshold": found.facts.get("threshold"),
        "grid_um": grid.spacing_um[-1],
    }
    return Segmentation(labels=labels, facts=facts, notes=found.notes)


def segment_bodies(
    image: npt.ArrayLike,
    nuclei: npt.ArrayLike | None,
    *,
    spacing_um: Sequence[float],
    smooth_um: float = 0.5,
    threshold: float | None = None,
    method: str = "li",
    threshold_factor: float = 1.0,
    min_volume_um3: float = 50.0,
    outline_reach_um: float = 1.0,
    grid_um: float = 0.3,
    one_cell: bool = False,
    keep_without_nucleus: bool = False,
) -> Segmentation:
    """Find cell bodies in a stack, one around each nucleus, or the only one of the image.

    Parameters
    ----------
    image : array_like, shape (z, y, x)
        A stain that fills cells.
    nuclei : array_like of int, same shape, optional
        Labels; each is the seed of a cell that gets its number, and belongs to it whole.
    spacing_um : sequence of float, µm
    smooth_um : float, µm
        SD of the Gaussian before the threshold.
    threshold : float, optional
        Grey level; automatic if not given.
    method : {"li", "otsu", "triangle"}
        Automatic threshold of the smoothed image; its brightest 0.1 % are left out of it.
    threshold_factor : float
        Of the automatic threshold's height above the background (the mode of the image).
    min_volume_um3 : float, µm³
        Smaller bodies are dropped, holes smaller than this filled.
    outline_reach_um : float, µm
        How far the outline may move from an automatic threshold to where the brightness falls
        fastest, and as far as the blur drew it inwards from there [1]_; 0 leaves it. A threshold
        alone cuts bright cells too wide and dim ones too narrow.
    grid_um : float, µm
        Blocks of voxels up to this wide are averaged first.
    one_cell : bool
        Everything above the threshold is cell 1, whatever the number of nuclei.
    keep_without_nucleus : bool
        Keep pieces without a nucleus, with numbers after the last nucleus.

    Returns
    -------
    Segmentation
        Facts: ``threshold``, ``background``, ``n_without_nucleus`` (pieces dropped or kept).

    Raises
    ------
    InputError
        For a method that does not exist, or no nuclei where cells are to be told apart.
    AxisMismatchError
        If the nuclei have another shape.
    CalibrationError
        If the spacing is not known.

    Notes
    -----
    Touching cells are divided where a flood from the nuclei meets, on a landscape of the distance
    to the nearest nucleus with valleys where the stain is bright: borders follow dark seams where
    there are any, and lie half-way between nuclei where the stain is even.

    References
    ----------
    .. [1] Verbeek & van Vliet (1994), IEEE Trans Pattern Anal 16:726. doi:10.1109/34.297954
    """
    stack = _stack(image)
    spacing = _known(spacing_um)
    if method not in _METHODS:
        raise InputError(f"method: expected one of {', '.join(THRESHOLDS)}, got {method!r}")
    seeds = None if nuclei is None else np.asarray(nuclei)
    if seeds is not None and seeds.shape != stack.shape:
        raise AxisMismatchError(
            f"nuclei: expected the shape of the image {stack.shape}, found {seeds.shape}"
        )
    if seeds is None and not one_cell:
        raise InputError("nuclei: needed to tell cells apart; or ask for one cell per image")
    grid = _Grid.of(spacing, grid_um)
    smooth = mean_of_bins(stack, grid.bins)
    smooth = _blurred(smooth, smooth_um, grid.spacing_um)
    background, level = _levels(smooth, method, threshold, threshold_factor)
    above = _cleaned(smooth > level, min_volume_um3, grid.spacing_um)
    if threshold is None:
        above = _to_the_steepest(above, smooth, outline_reach_um, grid.spacing_um)
        if outline_reach_um > 0 and smooth_um > 0:
            above = _unbent(above, smooth, smooth_um, grid.spacing_um)
    facts: dict[str, Fact] = {"threshold": level, "background": background}
    if one_cell or seeds is None:
        cells = above.astype(np.int32)
        fine = unbinned_labels(cells, grid.bins, stack.shape)
        if seeds is not None:
            np.copyto(fine, 1, where=seeds > 0)
        return Segmentation(labels=fine, facts=facts | {"n_without_nucleus": 0}, notes=())
    markers = _coarse_seeds(seeds, grid.bins, smooth.shape)
    above |= markers > 0
    landscape = _landscape(smooth, markers, background, level, grid.spacing_um)
    cells = np.asarray(watershed(landscape, markers, mask=above), dtype=np.int32)
    pieces, n_pieces = ndimage.label(above & (cells == 0), np.ones((3, 3, 3)))
    if keep_without_nucleus and n_pieces:
        cells = np.where(pieces > 0, pieces + int(seeds.max(initial=0)), cells).astype(np.int32)
    del smooth, above, markers, landscape, pieces
    fine = unbinned_labels(cells, grid.bins, stack.shape)
    np.copyto(fine, seeds, where=seeds > 0, casting="unsafe")
    notes: tuple[str, ...] = ()
    if n_pieces:
        kept = "kept" if keep_without_nucleus else "dropped"
        notes = (f"{n_pieces} bright pieces without a nucleus were {kept}",)
    return Segmentation(
        labels=fine, facts=facts | {"n_without_nucleus": int(n_pieces)}, notes=notes
    )


def cytosol_of(cells: npt.ArrayLike, nuclei: npt.ArrayLike) -> Labels:
    """Cells without their nuclei, with the numbers of the cells."""
    cytosol = np.array(cells, dtype=np.int32)
    cytosol[np.asarray(nuclei) > 0] = 0
    return cytosol


def membrane_of(cells: npt.ArrayLike) -> npt.NDArray[np.integer[Any]]:
    """The outermost voxels of each cell: those with a face on something else.

    The border of the image is no membrane: a cell that is cut by it goes on beyond. Labels have
    the type of the cells, and int32 where that is wider.

    Examples
    --------
    >>> membrane_of([[[0, 3, 3, 3, 0]]])
    array([[[0, 3, 0, 3, 0]]], dtype=int32)
    """
    bodies = np.asarray(cells)
    membrane = np.zeros(bodies.shape, bodies.dtype if bodies.dtype.itemsize <= 4 else np.int32)
    for z, plane in enumerate(bodies):
        edge = _changes(plane)
        for beside in bodies[max(z - 1, 0) : z + 2]:
            edge |= beside != plane
        np.copyto(membrane[z], plane, where=edge, casting="unsafe")
    return membrane


def _changes(plane: npt.NDArray[Any]) -> BoolArray:
    """Pixels with a side on another label."""
    edge = np.zeros(plane.shape, bool)
    for axis in range(plane.ndim):
        ahead = [slice(None)] * plane.ndim
        behind = list(ahead)
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        differs = plane[tuple(ahead)] != plane[tuple(behind)]
        edge[tuple(ahead)] |= differs
        edge[tuple(behind)] |= differs
    return edge


def cell_of_each_nucleus(nuclei: npt.ArrayLike, cells: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The cell that holds most of each nucleus; 0 for none. Element k is nucleus k + 1.

    Examples
    --------
    >>> cell_of_each_nucleus([[1, 1, 2, 0]], [[7, 7, 0, 0]])
    array([7, 0])
    """
    seeds, bodies = np.atleast_1d(np.asarray(nuclei)), np.atleast_1d(np.asarray(cells))
    owners = np.zeros(int(seeds.max(initial=0)), np.int64)
    for label, box in boxes_of(seeds).items():
        held, voxels = np.unique(bodies[box][seeds[box] == label], return_counts=True)
        owners[label - 1] = held[voxels.argmax()]
    return owners


def _stack(image: npt.ArrayLike) -> npt.NDArray[Any]:
    stack = np.asarray(image)
    if stack.ndim != 3 or 0 in stack.shape:
        raise InputError(f"image: expected a stack (z, y, x), found shape {stack.shape}")
    if stack.dtype.kind not in "buif":
        raise InputError(f"image: expected real numbers, found dtype {stack.dtype}")
    if stack.dtype.kind == "f" and not np.isfinite(stack.sum(dtype=np.float64)):
        raise InputError("image: holds values that are not finite; replace them first")
    return stack


def _known(spacing_um: Sequence[float]) -> tuple[float, ...]:
    spacing = tuple(float(s) if s is not None else float("nan") for s in spacing_um)
    if len(spacing) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise CalibrationError(
            f"spacing_um: expected the distance of voxels along z, y and x in µm, got {spacing_um}"
        )
    return spacing


def _typical_diameter_um(stack: npt.NDArray[Any], spacing: tuple[float, ...]) -> float | None:
    """From the maximum projection, coarsely: it only decides the grid and the scale."""
    grid = _Grid.of(spacing, _FINEST_GUESS_UM)
    flat = mean_of_bins(np.ascontiguousarray(stack.max(axis=0)[None]), (1, *grid.bins[1:]))[0]
    across = estimate_diameter_px(flat, spacing_um=grid.spacing_um[1:])
    if across is None or not np.isfinite(across):
        return None
    return float(across) * grid.spacing_um[-1]


def _blurred(
    image: npt.NDArray[np.float32], sd_um: float, spacing: tuple[float, ...]
) -> npt.NDArray[np.float32]:
    sigma = [sd_um / s if n > 1 else 0.0 for s, n in zip(spacing, image.shape, strict=True)]
    return np.asarray(ndimage.gaussian_filter(image, sigma), dtype=np.float32)


def _without_small(labels: Labels, volume_um3: float, spacing: tuple[float, ...]) -> Labels:
    volumes = np.bincount(labels.ravel()) * float(np.prod(spacing))
    kept = volumes >= volume_um3
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0)[labels].astype(np.int32)


def _levels(
    smooth: npt.NDArray[np.float32], method: str, threshold: float | None, factor: float
) -> tuple[float, float]:
    """Background (the mode) and threshold, neither moved by the brightest voxels."""
    values = smooth.ravel()[:: max(1, smooth.size // _SAMPLED)]
    values = np.minimum(values, np.percentile(values, _BRIGHTEST))
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low, low if threshold is None else float(threshold)
    counts, edges = np.histogram(values, 256)
    mode = int(ndimage.gaussian_filter1d(counts.astype(float), 2).argmax())
    background = float(edges[mode] + edges[mode + 1]) / 2
    if threshold is not None:
        return background, float(threshold)
    level = float(_METHODS[method](values))
    background = min(background, level)
    return background, background + factor * (level - background)


def _cleaned(above: BoolArray, volume_um3: float, spacing: tuple[float, ...]) -> BoolArray:
    """Without small pieces and without small holes; a hole open to the border is none."""
    smallest = volume_um3 / float(np.prod(spacing))
    kept = _pieces_from(above, smallest)
    holes, n = ndimage.label(~kept)
    if not n:
        return kept
    sizes = np.bincount(holes.ravel())
    rims = [holes.take(k, axis=a) for a in (1, 2) for k in (0, -1)]
    small = sizes < smallest
    small[np.unique(np.concatenate([r.ravel() for r in rims]))] = False
    small[0] = False
    return np.asarray(kept | small[holes])


def _pieces_from(above: BoolArray, smallest: float) -> BoolArray:
    pieces, n = ndimage.label(above, np.ones((3, 3, 3)))
    if not n:
        return above
    large = np.bincount(pieces.ravel()) >= smallest
    large[0] = False
    return np.asarray(large[pieces])


def _coarse_seeds(seeds: npt.NDArray[Any], bins: tuple[int, ...], shape: tuple[int, ...]) -> Labels:
    """The label at the middle of each block."""
    middle = [
        np.minimum(np.arange(n) * b + b // 2, length - 1)
        for n, b, length in zip(shape, bins, seeds.shape, strict=True)
    ]
    return np.ascontiguousarray(seeds[np.ix_(*middle)], dtype=np.int32)


def _landscape(
    smooth: npt.NDArray[np.float32],
    markers: Labels,
    background: float,
    level: float,
    spacing: tuple[float, ...],
) -> npt.NDArray[np.float32]:
    """Distance from the nuclei in typical distances, lower where the stain is bright."""
    if not markers.any():
        return np.zeros(smooth.shape, np.float32)
    distance = distance_map(markers > 0, spacing)
    inside = smooth > level
    far = float(np.percentile(distance[inside], 90)) if inside.any() else 1.0
    bright = float(np.percentile(smooth[inside], 90)) if inside.any() else level
    shade = np.clip((bright - smooth) / max(bright - background, 1e-6), 0, 1)
    return np.asarray(distance / max(far, 1e-6) + shade, dtype=np.float32)


def _to_the_steepest(
    above: BoolArray,
    smooth: npt.NDArray[np.float32],
    reach_um: float,
    spacing: tuple[float, ...],
) -> BoolArray:
    """Move the outline, no farther than ``reach_um``, to where the brightness falls fastest."""
    if not above.any() or above.all() or reach_um <= 0:
        return above
    with ThreadPoolExecutor(2) as pool:
        inner, outer = pool.map(
            lambda edge: distance_map(edge, spacing) > reach_um, (~above, above)
        )
    inner = _with_a_core(above, inner)  # thinner than the reach: stays as it is
    between = ~(inner | outer)
    near = ndimage.binary_dilation(between)
    markers = np.where(near & inner, np.int8(2), (near & outer).astype(np.int8))
    steep = np.zeros(smooth.shape, np.float32)
    for axis, step in enumerate(spacing):
        if smooth.shape[axis] > 1:
            steep += np.gradient(smooth, step, axis=axis) ** 2
    moved = watershed(steep, markers, mask=near)
    return np.asarray(inner | (between & (moved == 2)))


def _outlined(
    labels: Labels,
    image: npt.NDArray[np.float32],
    diameter_um: float | None,
    spacing: tuple[float, ...],
) -> Labels:
    """Labels whose outlines lie where those of the objects were before blur and noise."""
    blur_um = spacing[-1] * 2 if diameter_um is None else max(diameter_um / 8, spacing[-1])
    outlined = labels.copy()
    for box, own, bright in _unbent_pieces(labels > 0, image, blur_um, spacing, sd_um=blur_um):
        part = outlined[box]
        grown = expand_labels(np.where(own, labels[box], 0), distance=2 * blur_um, spacing=spacing)
        part[own & ~bright] = 0
        gained = bright & (part == 0)
        part[gained] = grown[gained]
    return outlined


def _unbent(
    found: BoolArray,
    smooth: npt.NDArray[np.float32],
    blur_um: float,
    spacing: tuple[float, ...],
) -> BoolArray:
    """Move outlines, no farther than the blur, back to where they were before it bent them in."""
    outline = found.copy()
    for box, own, bright in _unbent_pieces(found, smooth, blur_um, spacing):
        outline[box] = outline[box] & ~own | bright
    return outline


def _unbent_pieces(
    found: BoolArray,
    image: npt.NDArray[np.float32],
    blur_um: float,
    spacing: tuple[float, ...],
    *,
    sd_um: float = 0.0,
) -> Iterator[tuple[tuple[slice, ...], BoolArray, BoolArray]]:
    """The box of each piece, the piece in it, and the piece with its outline moved.

    The image is blurred by ``sd_um`` first, if it is not yet. What is thinner than the blur stays
    as it is.
    """
    pieces, _ = ndimage.label(found, np.ones((3, 3, 3)))
    margin = [math.ceil((blur_um + _TRUNCATE_SD * sd_um) / s) + 1 for s in spacing]
    for number, tight in boxes_of(pieces).items():
        box = tuple(
            slice(max(b.start - m, 0), min(b.stop + m, n))
            for b, m, n in zip(tight, margin, found.shape, strict=True)
        )
        own, taken = pieces[box] == number, pieces[box] != 0
        if own.all():
            continue
        depth = distance_map(own, spacing, signed=True)
        inner = own & (depth < -blur_um)
        if not inner.any():
            continue
        near = (np.abs(depth) <= blur_um) & (own | ~taken)
        smooth = _blurred(image[box], sd_um, spacing) if sd_um else image[box]
        bright = inner.copy()
        bright[near] = plus_operator(smooth, near, spacing_um=spacing) < 0
        filled = _reached_from(inner, bright)
        yield box, own, ~_reached_from(~(inner | near), ~filled) & (own | ~taken)


def _with_a_core(found: BoolArray, core: BoolArray) -> BoolArray:
    """The core, and whole those pieces that have none."""
    pieces, n = ndimage.label(found, np.ones((3, 3, 3)))
    has_core = np.zeros(n + 1, bool)
    has_core[np.unique(pieces[core])] = True
    return np.asarray(core | found & ~has_core[pieces])


def _reached_from(start: BoolArray, room: BoolArray) -> BoolArray:
    """The pieces of the room that hold a voxel of the start."""
    pieces, n = ndimage.label(room)
    reached = np.zeros(n + 1, bool)
    reached[np.unique(pieces[start])] = True
    reached[0] = False
    return np.asarray(reached[pieces])
