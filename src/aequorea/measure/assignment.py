"""Which region of interest an object belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from aequorea.errors import AxisMismatchError
from aequorea.measure.label_index import LabelIndex, check_labels
from aequorea.measure.overlap import group_index, voxels_by_group

__all__ = [
    "RegionAssignment",
    "RegionExtents",
    "assign_to_regions",
    "clip_to_regions",
    "region_extents",
    "touches_region_border",
]

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class RegionAssignment:
    """The region of each of n objects, in the order of their labels.

    Attributes
    ----------
    label : ndarray of int64, shape (n,)
    region : ndarray of int64, shape (n,)
        0 is outside all regions.
    n_voxels, n_voxels_inside : ndarray of int64, shape (n,)
        Of the object, and of it inside its region.
    """

    label: IntArray
    region: IntArray
    n_voxels: IntArray
    n_voxels_inside: IntArray

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True, eq=False, kw_only=True)
class RegionExtents:
    """How large n regions are and where they lie.

    Attributes
    ----------
    n_pixels : ndarray of int64, shape (n,)
        Seen from above: pixels of the plane with at least one voxel of the region.
    n_voxels : ndarray of int64, shape (n,)
    box : ndarray of int64, shape (n, 4)
        First row and the one after the last, first column and the one after the last; zeros for
        a region without voxels.
    """

    n_pixels: IntArray
    n_voxels: IntArray
    box: IntArray


def assign_to_regions(labels: npt.ArrayLike, regions: npt.ArrayLike) -> RegionAssignment:
    """Give each object to the region that holds most of its voxels.

    Parameters
    ----------
    labels : array_like of int, shape (y, x) or (z, y, x)
        0 is background.
    regions : array_like of int, shape (y, x) or that of the labels
        0 is outside; a plane holds for the whole stack.

    Returns
    -------
    RegionAssignment

    Raises
    ------
    InputError
        If an image is not a label image.
    AxisMismatchError
        If shapes do not fit.

    Notes
    -----
    Outside competes as a region does: an object that lies mostly outside belongs nowhere. Of
    equal shares the smaller number wins, outside first, so that no object is counted twice.

    Examples
    --------
    >>> assign_to_regions([[1, 1, 1, 2, 2]], [[0, 7, 7, 7, 8]]).region
    array([7, 7])
    """
    shares = voxels_by_group(labels, regions, outside=True)
    # Most voxels first, then the smaller region: the first of each label wins.
    order = np.lexsort((shares.group, -shares.n_voxels, shares.label))
    present, first, place = np.unique(shares.label[order], return_index=True, return_inverse=True)
    total = np.bincount(place, weights=shares.n_voxels[order], minlength=len(present))
    winner = order[first]
    return RegionAssignment(
        label=present,
        region=shares.group[winner],
        n_voxels=total.astype(np.int64),
        n_voxels_inside=shares.n_voxels[winner],
    )


def clip_to_regions(
    labels: npt.ArrayLike, regions: npt.ArrayLike, owner: RegionAssignment
) -> npt.NDArray[np.integer[Any]]:
    """Cut objects off where they leave their own region.

    Parameters
    ----------
    labels : array_like of int, shape (y, x) or (z, y, x)
    regions : array_like of int, shape (y, x) or that of the labels
    owner : RegionAssignment
        Of these labels, from :func:`assign_to_regions`.

    Returns
    -------
    ndarray, shape and dtype of the labels
        0 outside each object's own region; objects that belong nowhere are gone.

    Raises
    ------
    InputError
        If an image is not a label image.
    AxisMismatchError
        If shapes do not fit, or ``owner`` is of other labels.

    Examples
    --------
    >>> labels, regions = [[1, 1, 1, 2, 2]], [[0, 7, 7, 7, 8]]
    >>> clip_to_regions(labels, regions, assign_to_regions(labels, regions))
    array([[0, 1, 1, 2, 0]])
    """
    objects, drawn, own = _prepared(labels, regions, owner)
    outside = (drawn.index != own[objects.index]) | (own[objects.index] == 0)
    array = check_labels(labels)
    return np.where(outside.reshape(array.shape), 0, array).astype(array.dtype, copy=False)


def touches_region_border(
    labels: npt.ArrayLike, regions: npt.ArrayLike, owner: RegionAssignment
) -> BoolArray:
    """Say of each object whether its region, or the image, may have cut it.

    Parameters
    ----------
    labels : array_like of int, shape (y, x) or (z, y, x)
        Before or after clipping.
    regions : array_like of int, shape (y, x) or that of the labels
    owner : RegionAssignment
        Of these labels, from :func:`assign_to_regions`.

    Returns
    -------
    ndarray of bool, shape (n,)
        In the order of the labels: a voxel of the object lies outside its region, or next to a
        voxel outside, or at the edge of the image.

    Raises
    ------
    InputError
        If an image is not a label image.
    AxisMismatchError
        If shapes do not fit, or ``owner`` is of other labels.

    Notes
    -----
    Next to means sharing a side. Regions drawn in the plane have no border along z, so there the
    first and last plane of a stack do not count; for regions drawn in 3D they do.

    Examples
    --------
    >>> labels, regions = [[0, 1, 0, 0, 2]] * 3, [[4, 4, 4, 4, 5]] * 3
    >>> touches_region_border(labels, regions, assign_to_regions(labels, regions))
    array([ True,  True])
    >>> labels, regions = [[0] * 3, [0, 1, 0], [0] * 3], [[4] * 3] * 3
    >>> touches_region_border(labels, regions, assign_to_regions(labels, regions))
    array([False])
    """
    objects, drawn, own = _prepared(labels, regions, owner)
    touches: BoolArray = _touches(objects.index, drawn.index, own)
    return touches


def region_extents(
    regions: LabelIndex, depth: int = 1, inside: BoolArray | None = None
) -> RegionExtents:
    """Sizes and places of all regions, in one pass over the image.

    Parameters
    ----------
    regions : LabelIndex
        One plane holds for the whole depth.
    depth : int, default 1
        Planes of the image.
    inside : ndarray of bool, shape (z, y, x), optional
        Only these voxels count.

    Returns
    -------
    RegionExtents
        In the order of the regions' labels.

    Raises
    ------
    AxisMismatchError
        If ``inside`` has another shape.

    Examples
    --------
    >>> found = region_extents(LabelIndex.of([[[7, 7, 0]], [[7, 0, 9]]]), depth=2)
    >>> found.n_pixels, found.n_voxels
    (array([2, 1]), array([3, 1]))
    """
    index = regions.index
    shape = (depth, *index.shape[1:])
    if inside is not None and inside.shape != shape:
        raise AxisMismatchError(f"inside: expected shape {shape}, found {inside.shape}")
    flat = len(index) == 1 and inside is None
    seen = np.empty((0, 0, 0), np.bool_) if inside is None else np.ascontiguousarray(inside)
    pixels, voxels, box = _extents(index, regions.n, seen, 1 if flat else depth)
    return RegionExtents(n_pixels=pixels, n_voxels=voxels * (depth if flat else 1), box=box)


@njit(cache=True, nogil=True)
def _extents(index, n, inside, depth):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    rows, columns = index.shape[1:]
    pixels, voxels = np.zeros(n, np.int64), np.zeros(n, np.int64)
    box = np.zeros((n, 4), np.int64)
    last = np.full(n, -1, np.int64)  # place in the plane where a region was last seen
    several, some = index.shape[0] > 1, inside.size > 0
    for y in range(rows):
        for x in range(columns):
            place = y * columns + x
            for z in range(depth):
                k = index[z if several else 0, y, x] - 1
                if k < 0 or (some and not inside[z, y, x]):
                    continue
                voxels[k] += 1
                if last[k] == place:
                    continue
                if last[k] < 0:
                    box[k] = y, y + 1, x, x + 1
                last[k] = place
                pixels[k] += 1
                box[k, 1] = y + 1
                box[k, 2] = min(box[k, 2], x)
                box[k, 3] = max(box[k, 3], x + 1)
    return pixels, voxels, box


def _prepared(
    labels: npt.ArrayLike, regions: npt.ArrayLike, owner: RegionAssignment
) -> tuple[LabelIndex, LabelIndex, npt.NDArray[np.int32]]:
    """Objects, regions, and the number of each object's region in the region index."""
    objects = LabelIndex.of(labels)
    drawn = group_index(regions, objects.index.shape)
    if drawn is None:
        raise AxisMismatchError("regions: expected a label image, found None; give the regions")
    place = np.searchsorted(owner.label, objects.labels)
    known = place < len(owner)
    known[known] = owner.label[place[known]] == objects.labels[known]
    if not known.all():
        raise AxisMismatchError(
            f"owner: expected the region of every label, found none of label "
            f"{objects.labels[~known][0]}; assign these labels again"
        )
    own = np.zeros(objects.n + 1, dtype=np.int32)
    region = owner.region[place]
    number = np.searchsorted(drawn.labels, region)
    inside = region > 0
    present = number < drawn.n
    present[present] = drawn.labels[number[present]] == region[present]
    if (inside & ~present).any():
        raise AxisMismatchError(
            f"owner: expected regions of the image, found {region[inside & ~present][0]}; "
            "assign with these regions"
        )
    own[1:] = np.where(inside, number + 1, 0)
    return objects, drawn, own


@njit(cache=True, nogil=True)
def _touches(index, regions, own):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    planes, rows, columns = index.shape
    touches = np.zeros(own.size - 1, np.bool_)
    several = regions.shape[0] > 1
    for z in range(planes):
        here = regions[z] if several else regions[0]
        for y in range(rows):
            for x in range(columns):
                k = index[z, y, x]
                if k == 0 or touches[k - 1]:
                    continue
                r = own[k]
                touches[k - 1] = (
                    y == 0
                    or x == 0
                    or y == rows - 1
                    or x == columns - 1
                    or here[y, x] != r
                    or here[y - 1, x] != r
                    or here[y + 1, x] != r
                    or here[y, x - 1] != r
                    or here[y, x + 1] != r
                )
                if several and not touches[k - 1]:
                    touches[k - 1] = (
                        z == 0
                        or z == planes - 1
                        or regions[z - 1, y, x] != r
                        or regions[z + 1, y, x] != r
                    )
    return touches
