"""Objects of one channel, region by region: the costly half, and the labels made from it.

A region is segmented with some context around it, so that its border does not cut objects before
they are recognised. Cells then belong to the region that holds most of them; of other objects,
what lies inside counts. Nothing is left outside the regions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from aequorea.errors import AxisMismatchError, InputError
from aequorea.filters import apply_prefilters
from aequorea.measure.assignment import assign_to_regions, clip_to_regions
from aequorea.measure.label_index import LabelIndex
from aequorea.segmentation.backends import backend
from aequorea.segmentation.postfilters import apply_postfilters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from aequorea.segmentation.parameters import SegmentationParameters
    from aequorea.segmentation.result import Fact, Response

_LEAST_CONTEXT_PX = 32
_SAME_CELL = 0.5  # of the smaller of two outlines that overlap


@dataclass(frozen=True, eq=False, kw_only=True)
class RegionResponse:
    """What the image gave in one region and its surroundings.

    Attributes
    ----------
    region : int
    y, x : (int, int)
        First row and the one after the last, likewise columns, of the part that was looked at.
    response : Response
    """

    region: int
    y: tuple[int, int]
    x: tuple[int, int]
    response: Response

    @property
    def where(self) -> tuple[slice, slice]:
        """The part of a plane that was looked at."""
        return slice(*self.y), slice(*self.x)


@dataclass(frozen=True, eq=False, kw_only=True)
class FoundObjects:
    """Objects of one channel in all regions.

    Attributes
    ----------
    labels : ndarray of int32, shape (z, y, x)
        0 outside all regions; no label in two regions, unless it was given so.
    facts : tuple of mapping
        One per region: ``region``, ``n_objects``, ``n_dropped``, what the method found
        (thresholds, scale) and ``note``.
    """

    labels: NDArray[np.int32]
    facts: tuple[Mapping[str, Fact], ...]


def respond(
    image: NDArray[Any],
    regions: NDArray[Any],
    options: SegmentationParameters,
    *,
    spacing_um: Sequence[float | None],
    use_gpu: bool = False,
    track: Callable[[Iterable[Any]], Iterator[Any]] = iter,
) -> list[RegionResponse]:
    """The costly half of a segmentation, in every region.

    Parameters
    ----------
    image : ndarray, shape (z, y, x)
        One plane is a 2D image.
    regions : ndarray of int, shape (y, x) or (z, y, x)
    options : SegmentationParameters
    spacing_um : sequence of float or None
        Along z, y, x.
    use_gpu : bool
    track : callable
        Iterates over the regions, telling somebody how far it is.

    Returns
    -------
    list of RegionResponse

    Raises
    ------
    InputError
        For NaN in the image, or an unknown or missing method or model.
    """
    _require_finite(image)
    method = backend(options.method)
    space = _known(spacing_um, is_stack=len(image) > 1)
    found = []
    for region, where in track(list(_boxes(regions, _context(options, space)))):
        crop = np.ascontiguousarray(image[(slice(None), *where)])
        mask = np.broadcast_to(regions[(..., *where)] == region, crop.shape)
        flat = crop[0] if len(crop) == 1 else crop
        response = method.respond(
            apply_prefilters(flat, options),
            options,
            spacing_um=space,
            mask=np.ascontiguousarray(mask.reshape(flat.shape)),
            use_gpu=use_gpu,
        )
        rows, columns = where
        found.append(
            RegionResponse(
                region=region,
                y=(rows.start, rows.stop),
                x=(columns.start, columns.stop),
                response=response,
            )
        )
    return found


def label(
    responses: Sequence[RegionResponse],
    image: NDArray[Any],
    regions: NDArray[Any],
    options: SegmentationParameters,
    *,
    whole: bool,
) -> FoundObjects:
    """Labels in every region, without looking for them again.

    Parameters
    ----------
    responses : sequence of RegionResponse
    image : ndarray, shape (z, y, x)
        Unfiltered, for the postfilters.
    regions : ndarray of int, shape (y, x) or (z, y, x)
    options : SegmentationParameters
    whole : bool
        Whether an object belongs to one region, the one with most of it (cells); otherwise
        each region keeps what it holds (markers).

    Returns
    -------
    FoundObjects
    """
    method = backend(options.method)
    labels = np.zeros(image.shape, np.int32)
    facts: list[dict[str, Fact]] = []
    across: list[_Across] = []
    next_label = 1
    for part in responses:
        found = method.label(part.response, options)
        where = (slice(None), *part.where)
        here = regions[(..., *part.where)]
        objects = found.labels.reshape(labels[where].shape)
        kept = _of_region(objects, here, part.region, whole=whole)
        numbers = np.unique(kept)
        numbers = numbers[numbers > 0]
        renumbered = np.zeros(int(objects.max(initial=0)) + 1, np.int32)
        renumbered[numbers] = np.arange(next_label, next_label + len(numbers), dtype=np.int32)
        inside = kept > 0
        labels[where][inside] = renumbered[kept[inside]]
        if whole:
            across += _across(objects, kept, here, part, renumbered)
        facts.append(
            {
                "region": part.region,
                "n_objects": len(numbers),
                **part.response.facts,
                **found.facts,
                "note": "; ".join(found.notes),
            }
        )
        next_label += len(numbers)
    _found_once(labels, facts, across)
    kept, dropped = apply_postfilters(labels, image, options)
    left = kept.astype(np.int32, copy=False)
    return FoundObjects(labels=left, facts=tuple(_without(facts, labels, regions, dropped)))


@dataclass(frozen=True, eq=False)
class _Across:
    """An object of one region whose outline reaches into another."""

    number: int
    region: int
    corner: tuple[int, int, int]
    outline: NDArray[np.bool_]
    n_inside: int

    @property
    def box(self) -> NDArray[np.int64]:
        """First plane, row and column, and those after the last."""
        return np.array([self.corner, np.add(self.corner, self.outline.shape)])


def _across(
    objects: NDArray[Any],
    kept: NDArray[Any],
    regions: NDArray[Any],
    part: RegionResponse,
    renumbered: NDArray[np.int32],
) -> Iterator[_Across]:
    """The objects kept in one region that reach into others."""
    elsewhere = np.broadcast_to((regions > 0) & (regions != part.region), objects.shape)
    reaching = np.unique(objects[elsewhere])
    reaching = reaching[renumbered[reaching] > 0]
    if not reaching.size:
        return
    boxes = ndimage.find_objects(objects)
    for k in reaching.tolist():
        box = boxes[k - 1]
        z, y, x = (side.start for side in box)
        yield _Across(
            number=int(renumbered[k]),
            region=part.region,
            corner=(z, y + part.y[0], x + part.x[0]),
            outline=objects[box] == k,
            n_inside=int(np.count_nonzero(kept[box] == k)),
        )


def _found_once(
    labels: NDArray[np.int32], facts: Sequence[dict[str, Fact]], across: Sequence[_Across]
) -> None:
    """Of a cell that two regions found and both took for theirs, leave the one with more of it.

    Regions are judged by thresholds of their own, so that they may see one cell in two sizes.
    """
    ranked = sorted(across, key=lambda a: (-a.n_inside, a.region, a.number))
    if len({a.region for a in ranked}) < 2:
        return
    boxes = np.array([a.box for a in ranked])
    region = np.array([a.region for a in ranked])
    stays = np.ones(len(ranked), np.bool_)
    for k, here in enumerate(ranked):
        near = (boxes[:k, 0] < boxes[k, 1]).all(axis=1) & (boxes[k, 0] < boxes[:k, 1]).all(axis=1)
        rivals = np.flatnonzero(near & stays[:k] & (region[:k] != here.region))
        stays[k] = not any(_same_cell(here, ranked[r]) for r in rivals)
    gone = {a.number: a.region for a, left in zip(ranked, stays, strict=True) if not left}
    if not gone:
        return
    is_left = np.ones(int(labels.max()) + 1, np.bool_)
    is_left[[0, *gone]] = False
    numbers = np.where(is_left, np.cumsum(is_left), 0).astype(np.int32)
    labels[...] = numbers[labels]
    for fact in facts:
        fact["n_objects"] = int(fact["n_objects"] or 0) - sum(
            r == fact["region"] for r in gone.values()
        )


def _same_cell(one: _Across, other: _Across) -> bool:
    """Whether two outlines share more than half of the smaller."""
    low = np.maximum(one.box[0], other.box[0])
    high = np.minimum(one.box[1], other.box[1])
    shared = [
        a.outline[tuple(slice(*ends) for ends in zip(low - a.corner, high - a.corner, strict=True))]
        for a in (one, other)
    ]
    smaller = min(np.count_nonzero(one.outline), np.count_nonzero(other.outline))
    return bool(np.count_nonzero(shared[0] & shared[1]) > _SAME_CELL * smaller)


def given_objects(
    labels: NDArray[Any], regions: NDArray[Any], *, whole: bool, what: str = "labels"
) -> NDArray[np.int32]:
    """Labels that somebody brought, confined to the regions.

    Parameters
    ----------
    labels : ndarray of int, shape (z, y, x)
    regions : ndarray of int, shape (y, x) or (z, y, x)
    whole : bool
        As in :func:`label`.
    what : str
        Names them in errors.

    Raises
    ------
    InputError, AxisMismatchError
        If they are no label image, or regions have another shape.
    """
    if labels.shape[-2:] != regions.shape[-2:] or (
        regions.ndim == 3 and regions.shape != labels.shape
    ):
        raise AxisMismatchError(
            f"{what}: shape {labels.shape} does not fit regions of shape {regions.shape}; both "
            "must be drawn on the same image"
        )
    checked = checked_labels(labels, what)
    if whole:
        owned = clip_to_regions(checked, regions, assign_to_regions(checked, regions))
        return owned.astype(np.int32, copy=False)
    inside = np.broadcast_to(regions > 0, checked.shape)
    return np.where(inside, checked, 0).astype(np.int32, copy=False)


def without_small(found: FoundObjects, regions: NDArray[Any], least_px: int) -> FoundObjects:
    """Without objects of fewer voxels, and with their number in the facts."""
    labels = without_small_labels(found.labels, least_px)
    gone = np.unique(found.labels[labels != found.labels])
    if not gone.size:
        return found
    dropped = dict.fromkeys(gone.tolist(), "min_size")
    facts = tuple(_without(found.facts, found.labels, regions, dropped))
    return FoundObjects(labels=labels, facts=facts)


def without_small_labels(labels: NDArray[np.int32], least_px: int) -> NDArray[np.int32]:
    """Labels without objects of fewer voxels; the others keep their numbers."""
    if least_px <= 1 or not labels.any():
        return labels
    present, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    kept = np.where(sizes >= least_px, present, 0).astype(np.int32)
    return kept[index].reshape(labels.shape)


def checked_labels(labels: NDArray[Any], what: str) -> NDArray[np.int32]:
    """Labels as 32-bit integers.

    Raises
    ------
    InputError
        If values are negative, not whole, or beyond 32 bits.
    """
    array = np.asarray(labels)
    if array.dtype.kind == "b":
        return array.astype(np.int32)
    whole = array.dtype.kind in "iu" or (
        array.dtype.kind == "f" and bool((array == np.floor(array)).all())
    )
    if not whole:
        raise InputError(
            f"{what}: expected whole numbers (0 background, 1, 2, … objects), got {array.dtype}"
        )
    if array.size and (array.min() < 0 or array.max() > np.iinfo(np.int32).max):
        raise InputError(
            f"{what}: expected labels from 0 to {np.iinfo(np.int32).max}, found "
            f"{array.min()} to {array.max()}; relabel them"
        )
    return array.astype(np.int32)


def _of_region(
    objects: NDArray[Any], regions: NDArray[Any], region: int, *, whole: bool
) -> NDArray[Any]:
    inside = np.broadcast_to(regions == region, objects.shape)
    if not whole:
        return np.where(inside, objects, 0)
    owner = assign_to_regions(objects, regions)
    return np.where(inside, clip_to_regions(objects, regions, owner), 0)


def _without(
    facts: Sequence[Mapping[str, Fact]],
    labels: NDArray[Any],
    regions: NDArray[Any],
    dropped: Mapping[int, str],
) -> Iterator[dict[str, Fact]]:
    """Facts of each region after the postfilters: how many objects are left and were dropped."""
    lost: dict[int, int] = {}
    if dropped:
        inside = np.isin(labels, np.fromiter(dropped, np.int64, len(dropped)))
        where = np.broadcast_to(regions, labels.shape)[inside]
        pairs = np.unique(np.stack([where.astype(np.int64), labels[inside]]), axis=1)
        region, count = np.unique(pairs[0], return_counts=True)
        lost = dict(zip(region.tolist(), count.tolist(), strict=True))
    for fact in facts:
        gone = lost.get(int(fact["region"] or 0), 0)
        left = None if fact["n_objects"] is None else int(fact["n_objects"]) - gone
        yield {**fact, "n_objects": left, "n_dropped": int(fact.get("n_dropped") or 0) + gone}


def _require_finite(image: NDArray[Any]) -> None:
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        bad = image.size - int(np.count_nonzero(np.isfinite(image)))
        raise InputError(
            f"{bad} of {image.size} pixels are NaN or infinite; replace them or crop the image"
        )


def _known(spacing_um: Sequence[float | None], *, is_stack: bool) -> tuple[float, ...] | None:
    wanted = spacing_um if is_stack else spacing_um[-2:]
    known = tuple(float(s) for s in wanted if s is not None)
    return known if len(known) == len(wanted) else None


def _context(options: SegmentationParameters, spacing_um: tuple[float, ...] | None) -> int:
    """Pixels around a region that its objects and filters may reach."""
    diameter = options.diameter_px or 0.0
    if options.diameter_um is not None and spacing_um is not None:
        diameter = options.diameter_um / min(spacing_um[-2:])
    background = 4 * (options.threshold_background_sigma_px or 0.0)
    return math.ceil(
        max(_LEAST_CONTEXT_PX, 2 * diameter, background, 8 * options.prefilter_sigma_xy_px)
    )


def _boxes(regions: NDArray[Any], context: int) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Each region with the part of the plane that holds it and its context."""
    height, width = regions.shape[-2:]
    drawn = LabelIndex.of(regions, "regions")
    for region, (_, rows, columns) in zip(
        drawn.labels, ndimage.find_objects(drawn.index), strict=True
    ):
        yield (
            int(region),
            (
                slice(max(0, rows.start - context), min(height, rows.stop + context)),
                slice(max(0, columns.start - context), min(width, columns.stop + context)),
            ),
        )
