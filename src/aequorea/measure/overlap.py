"""How many voxels the objects of two label images share, region by region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from aequorea.errors import AxisMismatchError, InputError
from aequorea.measure.label_index import LabelIndex

__all__ = ["GroupVoxels", "OverlapCounts", "overlap_counts", "voxels_by_group"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class OverlapCounts:
    """Pairs of objects that meet, sorted by group, then label of A, then of B.

    Attributes
    ----------
    group, label_a, label_b, n_voxels : ndarray of int64, shape (pairs,)
        ``n_voxels`` > 0 are shared; without groups, ``group`` is 1.
    """

    group: IntArray
    label_a: IntArray
    label_b: IntArray
    n_voxels: IntArray

    def __len__(self) -> int:
        return len(self.n_voxels)


@dataclass(frozen=True, eq=False, kw_only=True)
class GroupVoxels:
    """Voxels of objects in groups, sorted by group, then label.

    Attributes
    ----------
    group, label, n_voxels : ndarray of int64, shape (entries,)
        Only where ``n_voxels`` > 0.
    """

    group: IntArray
    label: IntArray
    n_voxels: IntArray

    def __len__(self) -> int:
        return len(self.n_voxels)


def overlap_counts(
    labels_a: npt.ArrayLike, labels_b: npt.ArrayLike, groups: npt.ArrayLike | None = None
) -> OverlapCounts:
    """Shared voxels of every pair of objects that meet, in each group.

    Parameters
    ----------
    labels_a, labels_b : array_like of int, shape (y, x) or (z, y, x)
        0 is background.
    groups : array_like of int, shape (y, x) or that of the labels, optional
        Such as regions of interest; a plane holds for the whole stack. Voxels of group 0 are left
        out.

    Returns
    -------
    OverlapCounts
        Empty where nothing meets.

    Raises
    ------
    InputError
        If an image is not a label image.
    AxisMismatchError
        If shapes do not fit.

    Notes
    -----
    One pass; memory beyond the labels as int32 grows with the pairs that meet, not with the
    product of the numbers of objects.

    Examples
    --------
    >>> met = overlap_counts([[1, 1, 2, 0]], [[5, 5, 5, 7]])
    >>> list(zip(met.label_a.tolist(), met.label_b.tolist(), met.n_voxels.tolist()))
    [(1, 5, 2), (2, 5, 1)]
    """
    a, b = LabelIndex.of(labels_a, "labels_a"), LabelIndex.of(labels_b, "labels_b")
    if a.index.shape != b.index.shape:
        raise AxisMismatchError(
            f"labels_b: expected the shape of labels_a {np.shape(labels_a)}, found "
            f"{np.shape(labels_b)}; give label images of the same field"
        )
    regions = group_index(groups, a.index.shape)
    rows, columns, counts = _shared(a.index, b.index, *_flat_groups(regions, a.index), a.n, b.n)
    group, label_a = np.divmod(rows, a.n + 1)
    return OverlapCounts(
        group=_group_labels(regions)[group - 1],
        label_a=a.labels[label_a - 1],
        label_b=b.labels[columns - 1],
        n_voxels=counts,
    )


def voxels_by_group(
    labels: npt.ArrayLike, groups: npt.ArrayLike, *, outside: bool = False
) -> GroupVoxels:
    """Voxels of each object in each group.

    Parameters
    ----------
    labels : array_like of int, shape (y, x) or (z, y, x)
        0 is background.
    groups : array_like of int, shape (y, x) or that of the labels
        A plane holds for the whole stack.
    outside : bool, default False
        Whether to count group 0 too.

    Returns
    -------
    GroupVoxels

    Raises
    ------
    InputError
        If an image is not a label image.
    AxisMismatchError
        If shapes do not fit.

    Examples
    --------
    >>> found = voxels_by_group([[1, 1, 2, 2]], [[0, 6, 6, 6]], outside=True)
    >>> list(zip(found.group.tolist(), found.label.tolist(), found.n_voxels.tolist()))
    [(0, 1, 1), (6, 1, 1), (6, 2, 2)]
    """
    objects = LabelIndex.of(labels)
    regions = group_index(groups, objects.index.shape)
    flat, per_plane = _flat_groups(regions, objects.index)
    shifted = flat + 1 if outside else flat
    rows, _, counts = _shared(
        objects.index, objects.index, shifted, per_plane, objects.n, objects.n
    )
    group, label = np.divmod(rows, objects.n + 1)
    names = _group_labels(regions)
    if outside:
        names = np.concatenate(([0], names))
    return GroupVoxels(group=names[group - 1], label=objects.labels[label - 1], n_voxels=counts)


def group_index(groups: npt.ArrayLike | None, shape: tuple[int, ...]) -> LabelIndex | None:
    """Regions that fit an image of shape (z, y, x), as one plane or plane by plane.

    Raises
    ------
    InputError
        If they are not a label image.
    AxisMismatchError
        If they do not fit.
    """
    if groups is None:
        return None
    regions = LabelIndex.of(groups, "regions")
    if regions.index.shape[1:] != shape[1:] or regions.index.shape[0] not in (1, shape[0]):
        raise AxisMismatchError(
            f"regions: expected shape {shape[1:]} or {shape}, found {np.shape(groups)}; draw them "
            "on the image that is analysed"
        )
    return regions


def _group_labels(regions: LabelIndex | None) -> IntArray:
    return np.ones(1, dtype=np.int64) if regions is None else regions.labels


def _flat_groups(
    regions: LabelIndex | None, index: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], bool]:
    """Groups as planes of flat pixels, and whether each plane has its own."""
    if regions is None:
        return np.ones((1, index.shape[1] * index.shape[2]), dtype=np.int32), False
    return regions.index.reshape(regions.index.shape[0], -1), regions.index.shape[0] > 1


def _shared(
    a: npt.NDArray[np.int32],
    b: npt.NDArray[np.int32],
    groups: npt.NDArray[np.int32],
    per_plane: bool,
    n_a: int,
    n_b: int,
) -> tuple[IntArray, IntArray, IntArray]:
    """Group × (n_a + 1) + object of A, object of B, and their shared voxels, sorted."""
    n_groups = int(groups.max(initial=0))
    if (n_groups + 1) * (n_a + 1) * (n_b + 1) > np.iinfo(np.int64).max:
        raise InputError(
            f"expected fewer combinations of groups and objects than 2**63, found {n_groups} × "
            f"{n_a} × {n_b}; count fewer groups at a time"
        )
    planes = (a.shape[0], -1)
    keys, counts = _count_runs(a.reshape(planes), b.reshape(planes), groups, per_plane, n_a, n_b)
    order = np.argsort(keys)
    rows, columns = np.divmod(keys[order], n_b + 1)
    return rows, columns, counts[order]


@njit(cache=True, nogil=True)
def _slot(keys, key):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Where a key is, or belongs, in a hash table whose size is a power of two; 0 is free."""
    mask = keys.size - 1
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    at = np.int64(mixed >> np.uint64(20)) & mask
    while keys[at] != 0 and keys[at] != key:
        at = (at + 1) & mask
    return at


@njit(cache=True, nogil=True)
def _count_runs(a, b, groups, per_plane, n_a, n_b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Count triples (group, a, b) without 0 in a growing hash table, one entry per run."""
    keys, counts = np.zeros(1024, np.int64), np.zeros(1024, np.int64)
    used = 0
    planes, pixels = a.shape
    for z in range(planes):
        g = groups[z] if per_plane else groups[0]
        p = 0
        while p < pixels:
            k, m, r = a[z, p], b[z, p], g[p]
            start = p
            p += 1
            while p < pixels and a[z, p] == k and b[z, p] == m and g[p] == r:
                p += 1
            if k == 0 or m == 0 or r == 0:
                continue
            key = (np.int64(r) * (n_a + 1) + k) * (n_b + 1) + m
            at = _slot(keys, key)
            if keys[at] == 0:
                keys[at] = key
                used += 1
            counts[at] += p - start
            if 2 * used > keys.size:
                old_keys, old_counts = keys, counts
                keys = np.zeros(2 * old_keys.size, np.int64)
                counts = np.zeros(2 * old_keys.size, np.int64)
                for i in range(old_keys.size):
                    if old_keys[i] != 0:
                        at = _slot(keys, old_keys[i])
                        keys[at], counts[at] = old_keys[i], old_counts[i]
    kept = np.flatnonzero(keys)
    return keys[kept], counts[kept]
