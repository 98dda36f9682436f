"""How far apart are the objects of two channels, in µm, and which of them pair up."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from aequorea.colocalization.objects import (
    Spacing,
    label_image,
    object_centroids,
    overlap_counts,
    spacing_of,
)
from aequorea.errors import AxisMismatchError, CalibrationError, InputError

__all__ = ["Matches", "match_objects", "object_distances"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def object_distances(
    labels_a: npt.ArrayLike,
    labels_b: npt.ArrayLike,
    *,
    spacing_um: Spacing | None = None,
    units: Literal["um", "px"] = "um",
) -> dict[str, npt.NDArray[Any]]:
    """Distance from each object of A to the nearest object of B, measured three ways.

    Parameters
    ----------
    labels_a, labels_b : array_like of int, same shape
        0 is background.
    spacing_um : mapping, sequence of float or float
        Pixel size of each axis, µm. Required unless ``units="px"``.
    units : {"um", "px"}, default "um"
        "px" measures in pixels, as if they were squares or cubes.

    Returns
    -------
    dict of ndarray, shape (n_objects_a,)
        ``object`` : label in A, ascending;
        ``centroid_um``, ``centroid_object`` : between centroids;
        ``centre_edge_um``, ``centre_edge_object`` : from A's centroid to the edge of an object of
        B; negative if the centroid's pixel belongs to that object;
        ``edge_edge_um``, ``edge_edge_object`` : between the nearest pixels of both; 0 where they
        share one, and then the object is the one sharing most.
        Names end in ``_px`` instead with ``units="px"``. NaN and label 0 where B is empty.

    Raises
    ------
    AxisMismatchError
        If shapes differ.
    CalibrationError
        If ``units="um"`` and the pixel size is missing or does not fit the axes.
    InputError
        If labels are not integers >= 0, or ``units`` is unknown or contradicted by a spacing.

    Notes
    -----
    The edge of an object is the set of centres of its pixels with a face towards another label or
    the image's border (a stack of one plane has none above and below); two touching objects are
    one pixel apart. Exact; cost O(edge pixels log edge pixels), memory one copy of the labels
    plus the edge coordinates.

    Examples
    --------
    >>> a, b = np.zeros((2, 1, 12), int)
    >>> a[0, 1:4] = 1; b[0, 8:11] = 5
    >>> d = object_distances(a, b, spacing_um=(0.2, 0.1))
    >>> [round(float(d[f"{kind}_um"][0]), 3) for kind in ("centroid", "centre_edge", "edge_edge")]
    [0.7, 0.6, 0.5]
    """
    a, b = label_image(labels_a, "labels_a"), label_image(labels_b, "labels_b")
    if a.shape != b.shape:
        raise AxisMismatchError(
            f"shape mismatch: labels_a is {a.shape}, labels_b is {b.shape}; "
            "give label images of the same field"
        )
    spacing = _spacing(spacing_um, units, a.ndim)
    ids_a, ids_b = (_present(labels) for labels in (a, b))
    columns: dict[str, npt.NDArray[Any]] = {"object": ids_a}
    measured = _measured(a, b, ids_a, ids_b, spacing)
    for kind, (distance, nearest) in measured.items():
        columns[f"{kind}_{units}"] = distance
        columns[f"{kind}_object"] = nearest
    return columns


def _spacing(spacing_um: Spacing | None, units: str, ndim: int) -> FloatArray:
    if units == "px":
        if spacing_um is not None:
            raise InputError(
                'units: "px" measures in pixels, but spacing_um is given; leave one of them out'
            )
        return np.ones(ndim)
    if units != "um":
        raise InputError(f'units: expected "um" or "px", found {units!r}')
    if spacing_um is None:
        raise CalibrationError(
            "spacing_um: expected the pixel size of every axis in µm, found None; give it, or ask "
            'for pixels with units="px"'
        )
    return spacing_of(spacing_um, ndim)


def _present(labels: npt.NDArray[Any]) -> IntArray:
    values = np.unique(labels)
    return values[values > 0].astype(np.int64)


def _measured(
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
    ids_a: IntArray,
    ids_b: IntArray,
    spacing: FloatArray,
) -> dict[str, tuple[FloatArray, IntArray]]:
    if not len(ids_a) or not len(ids_b):
        nothing = np.full(len(ids_a), np.nan), np.zeros(len(ids_a), dtype=np.int64)
        return dict.fromkeys(("centroid", "centre_edge", "edge_edge"), nothing)
    centres = object_centroids(a)
    distance, index = cKDTree(object_centroids(b) * spacing).query(centres * spacing)
    edge_px, edge_of = _edges(b)
    tree = cKDTree(edge_px * spacing)
    return {
        "centroid": (np.asarray(distance), ids_b[index]),
        "centre_edge": _centre_edge(b, centres, spacing, tree, edge_of),
        "edge_edge": _edge_edge(a, b, ids_b, spacing, tree, edge_of),
    }


def _edges(labels: npt.NDArray[Any]) -> tuple[IntArray, IntArray]:
    """Coordinates and labels of pixels with a face towards another label or the border."""
    edge = np.zeros(labels.shape, dtype=np.bool_)
    # Along an axis of one pixel (a stack of one plane) every pixel would be at the border.
    axes = [axis for axis, length in enumerate(labels.shape) if length > 1]
    for axis in axes or range(labels.ndim):
        along = np.moveaxis(labels, axis, 0)
        out = np.moveaxis(edge, axis, 0)
        differs = along[1:] != along[:-1]
        out[1:] |= differs
        out[:-1] |= differs
        out[0] = out[-1] = True
    edge &= labels > 0
    return np.argwhere(edge), labels[edge].astype(np.int64)


def _centre_edge(
    b: npt.NDArray[Any],
    centres: FloatArray,
    spacing: FloatArray,
    tree: cKDTree,
    edge_of: IntArray,
) -> tuple[FloatArray, IntArray]:
    distance, index = tree.query(centres * spacing)
    distance, nearest = np.asarray(distance, dtype=np.float64), edge_of[index]
    inside = b[tuple(np.rint(centres).astype(np.intp).T)].astype(np.int64)
    by_label = np.argsort(edge_of, kind="stable")
    ends = np.searchsorted(edge_of[by_label], np.stack([inside, inside + 1]))
    for k in np.flatnonzero(inside > 0):
        own = tree.data[by_label[ends[0, k] : ends[1, k]]]
        distance[k] = -np.sqrt(np.min(np.sum((own - centres[k] * spacing) ** 2, axis=1)))
        nearest[k] = inside[k]
    return distance, nearest


def _edge_edge(
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
    ids_b: IntArray,
    spacing: FloatArray,
    tree: cKDTree,
    edge_of: IntArray,
) -> tuple[FloatArray, IntArray]:
    pixels, owner = _edges(a)
    gap, index = (np.asarray(found) for found in tree.query(pixels * spacing))
    order = np.lexsort((gap, owner))
    _, first = np.unique(owner[order], return_index=True)
    best = order[first]
    distance, nearest = np.asarray(gap, dtype=np.float64)[best], edge_of[index[best]]
    counts = overlap_counts(a, b).tocsr()
    shared = counts.max(axis=1).toarray().reshape(-1) > 0
    most = np.asarray(counts.argmax(axis=1)).reshape(-1)
    distance[shared], nearest[shared] = 0.0, ids_b[most[shared]]
    return distance, nearest


class Matches(NamedTuple):
    """Pairs of points (positions in A and in B) and how far apart they are."""

    pairs: IntArray  # shape (n, 2)
    distances_um: FloatArray  # shape (n,)


def match_objects(
    points_a_um: npt.ArrayLike, points_b_um: npt.ArrayLike, *, cutoff_um: float
) -> Matches:
    """Pair points one to one: as many pairs as possible, and then as close as possible.

    Parameters
    ----------
    points_a_um, points_b_um : array_like, shape (n, ndim), (m, ndim), µm
    cutoff_um : float, µm
        Pairs farther apart are not made.

    Returns
    -------
    Matches
        ``pairs``, shape (k, 2): positions in A (ascending) and B; ``distances_um``, shape (k,).

    Raises
    ------
    AxisMismatchError
        If the two sets have different dimensionality.
    InputError
        If a coordinate or the cut-off is not finite, or the cut-off is negative.

    Notes
    -----
    Nearest neighbours are not one to one: two spots of A may share one of B, and percentages then
    exceed what pairs can explain. The optimum is found on the sparse graph of pairs within the
    cut-off; no n × m matrix is made. A cut-off beyond the spacing of the points pairs strangers.

    References
    ----------
    .. [1] Jonker & Volgenant (1987), doi:10.1007/BF02278710

    Examples
    --------
    >>> match_objects([[0.0], [1.0]], [[0.9], [2.2]], cutoff_um=1.5).pairs.tolist()
    [[0, 0], [1, 1]]
    """
    if not (np.isfinite(cutoff_um) and cutoff_um >= 0):
        raise InputError(f"cutoff_um: expected a distance >= 0 µm, found {cutoff_um!r}")
    a, b = _points(points_a_um, "A"), _points(points_b_um, "B")
    if not len(a) or not len(b):
        return Matches(np.empty((0, 2), dtype=np.int64), np.empty(0))
    if a.shape[1] != b.shape[1]:
        raise AxisMismatchError(
            f"points: A has {a.shape[1]} coordinates, B has {b.shape[1]}; "
            "give both with the same axes"
        )
    near = cKDTree(a).sparse_distance_matrix(
        cKDTree(b), cutoff_um * (1 + 1e-12), output_type="ndarray"
    )
    near = near[near["v"] <= cutoff_um]
    rows, columns = near["i"].astype(np.int64), near["j"].astype(np.int64)
    chosen = _assigned(rows, columns, near["v"], len(a), len(b))
    pairs = np.stack([rows[chosen], columns[chosen]], axis=1)
    order = np.argsort(pairs[:, 0])
    return Matches(pairs[order], near["v"][chosen][order])


def _points(points: npt.ArrayLike, name: str) -> FloatArray:
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0:
        return np.empty((0, array.shape[-1] if array.ndim == 2 else 0))
    if array.ndim != 2:
        raise AxisMismatchError(
            f"points of {name}: expected shape (n, ndim), found {array.shape}; one row per point"
        )
    if not np.isfinite(array).all():
        raise InputError(f"points of {name}: expected finite coordinates, found NaN or Inf")
    return array


def _assigned(rows: IntArray, columns: IntArray, cost: FloatArray, n_a: int, n_b: int) -> IntArray:
    """Which of the edges make the largest matching of least cost.

    Every row gets a private dummy column, dearer than any detour through the largest component,
    so that the sparse assignment solver always finds a full matching and leaves out as few rows
    as it must.
    """
    if not len(rows):
        return np.empty(0, dtype=np.int64)
    used, row = np.unique(rows, return_inverse=True)
    scale = float(cost.max()) or 1.0
    ends = (rows, columns + n_a)
    graph = sparse.coo_array((np.ones(len(rows)), ends), shape=(n_a + n_b, n_a + n_b))
    _, component = csgraph.connected_components(graph, directed=False)
    longest = int(np.bincount(component).max())
    dummies = np.arange(len(used))
    weights = sparse.coo_array(
        (
            np.concatenate([cost + scale, np.full(len(used), 2.0 * scale * (longest + 3))]),
            (np.concatenate([row, dummies]), np.concatenate([columns, n_b + dummies])),
        ),
        shape=(len(used), n_b + len(used)),
    ).tocsr()
    matched_row, matched_column = csgraph.min_weight_full_bipartite_matching(weights)
    partner = np.full(len(used), -1, dtype=np.int64)
    partner[matched_row] = matched_column
    return np.flatnonzero(partner[row] == columns)
