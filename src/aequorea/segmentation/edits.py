"""What somebody changed in a label image, object by object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from aequorea.errors import AxisMismatchError
from aequorea.measure.label_index import LabelIndex
from aequorea.measure.overlap import overlap_counts

__all__ = ["LabelChange", "label_changes"]

Kind = Literal["added", "removed", "split", "merged", "changed"]


@dataclass(frozen=True, kw_only=True)
class LabelChange:
    """One object, or a few that belong together, before and after.

    Attributes
    ----------
    kind : {"added", "removed", "split", "merged", "changed"}
        ``changed``: another outline; also several objects redrawn into several others.
    labels_before, labels_after : tuple of int
        Ascending; empty for objects added or removed.
    voxels_before, voxels_after : int
        Of all of them together.
    iou : float
        Voxels in both over voxels in either.
    """

    kind: Kind
    labels_before: tuple[int, ...]
    labels_after: tuple[int, ...]
    voxels_before: int
    voxels_after: int
    iou: float


def label_changes(before: npt.ArrayLike, after: npt.ArrayLike) -> tuple[LabelChange, ...]:
    """List the objects that differ between two label images.

    Parameters
    ----------
    before, after : array_like of int, shape (y, x) or (z, y, x)
        0 is background.

    Returns
    -------
    tuple of LabelChange
        In the order of the labels before, then of those added. Empty if the images show the same
        objects, under whatever labels.

    Raises
    ------
    InputError
        If an image is not a label image.
    AxisMismatchError
        If shapes differ.

    Notes
    -----
    Decided by overlap, not by the value of labels. Two objects belong together if they share at
    least half of the smaller one. One that belongs to several is split, several that belong to
    one are merged. A piece cut out of an object and kept as its own is therefore a split.

    Examples
    --------
    >>> changes = label_changes([[1, 1, 1, 1, 0, 2]], [[3, 3, 4, 4, 0, 1]])
    >>> [(c.kind, c.labels_before, c.labels_after, c.iou) for c in changes]
    [('split', (1,), (3, 4), 1.0)]
    """
    a, b = LabelIndex.of(before, "before"), LabelIndex.of(after, "after")
    if np.shape(before) != np.shape(after):
        raise AxisMismatchError(
            f"after: expected the shape before {np.shape(before)}, found {np.shape(after)}; "
            "compare labels of the same image"
        )
    sizes = np.concatenate([a.sizes(), b.sizes()])
    shared = overlap_counts(a.index, b.index)
    row, column = shared.label_a - 1, shared.label_b - 1 + a.n
    belong = 2 * shared.n_voxels >= np.minimum(sizes[row], sizes[column])
    row, column, voxels = row[belong], column[belong], shared.n_voxels[belong]
    graph = sparse.coo_array((np.ones(len(row)), (row, column)), shape=(len(sizes),) * 2)
    n_families, family = csgraph.connected_components(graph, directed=False)
    is_after = np.arange(len(sizes)) >= a.n
    n_before = np.bincount(family[~is_after], minlength=n_families)
    n_after = np.bincount(family[is_after], minlength=n_families)
    voxels_before = np.zeros(n_families, dtype=np.int64)
    voxels_after, common = voxels_before.copy(), voxels_before.copy()
    np.add.at(voxels_before, family[~is_after], sizes[~is_after])
    np.add.at(voxels_after, family[is_after], sizes[is_after])
    np.add.at(common, family[row], voxels)
    same = (n_before == 1) & (n_after == 1) & (voxels_before == common) & (voxels_after == common)
    names = np.concatenate([a.labels, b.labels])
    changes = []
    # Components are numbered in the order of their first object: before, then added.
    members = np.split(np.argsort(family, kind="stable"), np.cumsum(np.bincount(family))[:-1])
    for k in np.flatnonzero(~same):
        own = members[k]
        changes.append(
            LabelChange(
                kind=_kind(int(n_before[k]), int(n_after[k])),
                labels_before=tuple(names[own[~is_after[own]]].tolist()),
                labels_after=tuple(names[own[is_after[own]]].tolist()),
                voxels_before=int(voxels_before[k]),
                voxels_after=int(voxels_after[k]),
                iou=float(common[k] / (voxels_before[k] + voxels_after[k] - common[k])),
            )
        )
    return tuple(changes)


def _kind(n_before: int, n_after: int) -> Kind:
    if n_before == 0:
        return "added"
    if n_after == 0:
        return "removed"
    if n_before == 1 and n_after > 1:
        return "split"
    if n_before > 1 and n_after == 1:
        return "merged"
    return "changed"
