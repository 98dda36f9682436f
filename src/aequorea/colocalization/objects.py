"""Objects of two channels: which of them meet, and by how much."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import sparse
from scipy.spatial import cKDTree
from skimage import measure

from aequorea.colocalization.channel_pair import region_of
from aequorea.colocalization.regions import require_signed
from aequorea.colocalization.thresholds import auto_threshold
from aequorea.errors import AxisMismatchError, CalibrationError, InputError

__all__ = [
    "OBJECT_COLUMNS",
    "OBJECT_EXTRA_COLUMNS",
    "label_image",
    "label_objects",
    "nearest_neighbour_distances",
    "nearest_neighbour_vectors",
    "object_centroids",
    "object_table",
    "overlap_counts",
    "spacing_of",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Spacing = Mapping[str, float | None] | Sequence[float] | float

OBJECT_COLUMNS = (
    "channel",
    "object",
    "n_pixels",
    "centroid",
    "coincident",
    "overlap",
    "nn_distance_px",
)
OBJECT_EXTRA_COLUMNS = (
    "coincident_with",
    "overlap_pixels",
    "overlap_fraction",
    "n_partners",
    "partner",
    "partner_overlap_pixels",
    "nn_object",
    "centroid_um",
    "size_um",
    "nn_distance_um",
    "nn_object_um",
)


def label_image(labels: npt.ArrayLike, name: str = "labels") -> npt.NDArray[np.integer[Any]]:
    """``labels`` as a non-empty array of integers >= 0 (0 is background).

    Raises
    ------
    InputError
        If it is empty, has another dtype, or negative labels.
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "ui":
        raise InputError(
            f"{name}: expected integer labels, found dtype {array.dtype}; "
            "label the objects first (label_objects) or convert to integers"
        )
    if array.ndim == 0 or array.size == 0:
        raise InputError(f"{name}: expected a label image with pixels, found shape {array.shape}")
    if array.dtype.kind == "i" and array.min() < 0:
        raise InputError(f"{name}: expected labels >= 0, found {array.min()}; relabel the image")
    require_signed(array)
    return array


def spacing_of(spacing_um: Spacing, ndim: int) -> FloatArray:
    """Pixel size of each axis, µm; a mapping is read as ``Image.spacing_um`` ("z", "y", "x").

    Raises
    ------
    CalibrationError
        If a value is missing, not positive, or their number is not ``ndim``.
    """
    if isinstance(spacing_um, Mapping):
        wanted = ("z", "y", "x")[-ndim:]
        values = [spacing_um.get(axis) for axis in wanted]
    elif np.ndim(spacing_um) == 0:
        values = [spacing_um] * ndim  # type: ignore[list-item]
    else:
        values = list(spacing_um)  # type: ignore[arg-type]
    known = [value for value in values if value is not None]
    if len(known) != ndim or not all(np.isfinite(v) and v > 0 for v in known):
        raise CalibrationError(
            f"spacing_um: expected {ndim} positive pixel sizes in µm, found {spacing_um!r}; "
            "give the pixel size of every axis"
        )
    return np.array(known, dtype=np.float64)


def label_objects(
    image: npt.ArrayLike,
    threshold_method: str = "otsu",
    mask: npt.ArrayLike | None = None,
    min_size: int = 0,
) -> npt.NDArray[np.int64]:
    """Threshold an image and label its connected components.

    Parameters
    ----------
    image : array_like
        Intensities, 2D or 3D.
    threshold_method : {"otsu", "li", "triangle", "yen", "mean", "isodata"}
        Taken over the pixels of the region; objects are brighter than the threshold.
    mask : array_like, optional
        Non-zero where objects may be.
    min_size : int, default 0
        Smaller components are dropped, px.

    Returns
    -------
    ndarray of int64
        0 is background, objects are 1 to N in scan order; all 0 in a constant image.

    Raises
    ------
    ValueError
        If the method is unknown, a pixel of the region is NaN or infinite, the mask does not fit
        or is empty, or ``min_size`` is negative.

    Notes
    -----
    Pixels that touch at a corner belong together (full connectivity). Objects that touch are one.

    Examples
    --------
    >>> label_objects([[0, 9, 0, 0], [0, 9, 0, 8]]).tolist()
    [[0, 1, 0, 0], [0, 1, 0, 2]]
    """
    pixels = np.asarray(image)
    smallest = _min_size(min_size)
    inside = region_of(mask, pixels.shape, minimum=1)
    threshold = auto_threshold(pixels, threshold_method, inside)
    if not np.isfinite(threshold):
        return np.zeros(pixels.shape, dtype=np.int64)
    bright = pixels > threshold
    if inside is not None:
        bright &= inside
    labels: npt.NDArray[np.int64] = measure.label(bright).astype(np.int64, copy=False)
    if smallest <= 1:
        return labels
    kept = np.bincount(labels.ravel()) >= smallest
    kept[0] = False
    renumbered = np.where(kept, np.cumsum(kept, dtype=np.int64), 0)
    return renumbered[labels]


def _min_size(min_size: int) -> int:
    try:
        smallest = operator.index(min_size)
    except TypeError:
        raise InputError(f"min_size: expected whole pixels, found {min_size!r}") from None
    if smallest < 0:
        raise InputError(f"min_size: expected at least 0 px, found {smallest}")
    return smallest


@dataclass(frozen=True)
class _Objects:
    """Objects of one label image, in the order of their labels."""

    index: npt.NDArray[np.int32]  # 0 background, k + 1 the k-th object; shape of the image
    labels: IntArray
    n_pixels: IntArray
    centroids: FloatArray  # shape (n, ndim), px

    @classmethod
    def of(cls, labels: npt.ArrayLike, name: str = "labels") -> _Objects:
        array = label_image(labels, name)
        present, index = _compacted(array)
        counts, sums = _moments(index.reshape(-1), np.array(array.shape), len(present))
        return cls(index, present, counts, sums / np.maximum(counts, 1)[:, None])


def _compacted(
    labels: npt.NDArray[np.integer[Any]],
) -> tuple[IntArray, npt.NDArray[np.int32]]:
    """Labels present (ascending) and the image with the k-th of them replaced by k + 1."""
    largest = int(labels.max())
    if largest > 4 * labels.size:
        values, inverse = np.unique(labels, return_inverse=True)
        first = int(values[0] == 0)
        index = inverse.reshape(labels.shape).astype(np.int32) + (1 - first)
        return values[first:].astype(np.int64), index
    seen = np.zeros(largest + 1, dtype=np.bool_)
    seen[labels.reshape(-1)] = True
    seen[0] = False
    return np.flatnonzero(seen), (np.cumsum(seen, dtype=np.int32) * seen)[labels].astype(np.int32)


@njit(cache=True, nogil=True)
def _moments(index, shape, n):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Pixel count and sum of coordinates of each object, in one pass."""
    ndim = shape.size
    counts, sums = np.zeros(n, np.int64), np.zeros((n, ndim))
    position = np.zeros(ndim, np.int64)
    for p in range(index.size):
        k = index[p] - 1
        if k >= 0:
            counts[k] += 1
            for d in range(ndim):
                sums[k, d] += position[d]
        d = ndim - 1
        position[d] += 1
        while d > 0 and position[d] == shape[d]:
            position[d] = 0
            d -= 1
            position[d] += 1
    return counts, sums


@njit(cache=True, nogil=True)
def _central_pixels(index, shape, centroids):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Flat position of each object's own pixel nearest to its centroid (first of equals)."""
    n, ndim = centroids.shape
    best, nearest = np.full(n, np.inf), np.zeros(n, np.int64)
    position = np.zeros(ndim, np.int64)
    for p in range(index.size):
        k = index[p] - 1
        if k >= 0:
            squared = 0.0
            for d in range(ndim):
                squared += (position[d] - centroids[k, d]) ** 2
            if squared < best[k]:
                best[k], nearest[k] = squared, p
        d = ndim - 1
        position[d] += 1
        while d > 0 and position[d] == shape[d]:
            position[d] = 0
            d -= 1
            position[d] += 1
    return nearest


def object_centroids(labels: npt.ArrayLike) -> FloatArray:
    """Mean pixel position of each object.

    Parameters
    ----------
    labels : array_like of int
        0 is background.

    Returns
    -------
    ndarray, shape (n_objects, ndim), px
        In the order of the labels; multiply by the pixel size for µm.

    Raises
    ------
    InputError
        If labels are not integers >= 0.

    Notes
    -----
    The centroid of a concave object (a ring, a crescent) may lie outside it.

    Examples
    --------
    >>> object_centroids([[2, 2, 0], [0, 0, 1]]).tolist()
    [[1.0, 2.0], [0.0, 0.5]]
    """
    return _Objects.of(labels).centroids


def nearest_neighbour_distances(
    centroids_a: npt.ArrayLike, centroids_b: npt.ArrayLike
) -> FloatArray:
    """Distance from each point of A to the nearest of B, in the unit of the coordinates.

    Parameters
    ----------
    centroids_a, centroids_b : array_like, shape (n, ndim), (m, ndim)

    Returns
    -------
    ndarray, shape (n,)
        NaN where B has no points.

    Raises
    ------
    AxisMismatchError
        If the two sets have different dimensionality.

    Examples
    --------
    >>> nearest_neighbour_distances([[0, 0]], [[3, 4], [9, 9]])
    array([5.])
    """
    distances, _ = _nearest(*_point_sets(centroids_a, centroids_b))
    return distances


def nearest_neighbour_vectors(centroids_a: npt.ArrayLike, centroids_b: npt.ArrayLike) -> FloatArray:
    """Vector from each point of A to the nearest of B, as napari's Vectors layer takes them.

    Parameters
    ----------
    centroids_a, centroids_b : array_like, shape (n, ndim), (m, ndim)

    Returns
    -------
    ndarray, shape (n, 2, ndim)
        Start and direction; shape (0, 2, ndim) when either set is empty.

    Raises
    ------
    AxisMismatchError
        If the two sets have different dimensionality.

    Examples
    --------
    >>> nearest_neighbour_vectors([[1, 1]], [[3, 4], [9, 9]]).tolist()
    [[[1.0, 1.0], [2.0, 3.0]]]
    """
    a, b = _point_sets(centroids_a, centroids_b)
    if not len(a) or not len(b):
        return np.empty((0, 2, max(a.shape[1], b.shape[1])))
    _, nearest = _nearest(a, b)
    return np.stack([a, b[nearest] - a], axis=1)


def _point_sets(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    sets = []
    for name, points in (("A", a), ("B", b)):
        array = np.asarray(points, dtype=np.float64)
        if array.size == 0:
            array = array.reshape(0, array.shape[1] if array.ndim == 2 else 0)
        if array.ndim != 2:
            raise AxisMismatchError(
                f"points of {name}: expected shape (n, ndim), found {array.shape}; "
                "give one row per point"
            )
        if not np.isfinite(array).all():
            raise InputError(f"points of {name}: expected finite coordinates, found NaN or Inf")
        sets.append(array)
    if len(sets[0]) and len(sets[1]) and sets[0].shape[1] != sets[1].shape[1]:
        raise AxisMismatchError(
            f"points: A has {sets[0].shape[1]} coordinates, B has {sets[1].shape[1]}; "
            "give both with the same axes"
        )
    return sets[0], sets[1]


def _nearest(a: FloatArray, b: FloatArray) -> tuple[FloatArray, IntArray]:
    """Distance to and index of the nearest of b; NaN and −1 where b is empty."""
    if not len(a) or not len(b):
        return np.full(len(a), np.nan), np.full(len(a), -1, dtype=np.int64)
    distances, nearest = cKDTree(b).query(a)
    return np.asarray(distances, dtype=np.float64), np.asarray(nearest, dtype=np.int64)


def overlap_counts(labels_a: npt.ArrayLike, labels_b: npt.ArrayLike) -> sparse.csr_array[Any]:
    """Shared pixels of each pair of objects: rows objects of A, columns of B, by label order.

    Parameters
    ----------
    labels_a, labels_b : array_like of int, same shape

    Returns
    -------
    scipy.sparse.csr_array of int64, shape (n_objects_a, n_objects_b)

    Raises
    ------
    AxisMismatchError
        If shapes differ.

    Examples
    --------
    >>> overlap_counts([1, 1, 2, 0], [5, 5, 5, 7]).toarray().tolist()
    [[2, 0], [1, 0]]
    """
    return _contingency(*_object_pair(labels_a, labels_b))


def _object_pair(labels_a: npt.ArrayLike, labels_b: npt.ArrayLike) -> tuple[_Objects, _Objects]:
    shape_a, shape_b = np.shape(labels_a), np.shape(labels_b)
    if shape_a != shape_b:
        raise AxisMismatchError(
            f"shape mismatch: labels_a is {shape_a}, labels_b is {shape_b}; "
            "give label images of the same field"
        )
    return _Objects.of(labels_a, "labels_a"), _Objects.of(labels_b, "labels_b")


def _contingency(a: _Objects, b: _Objects) -> sparse.csr_array[Any]:
    both = (a.index > 0) & (b.index > 0)
    rows, columns = a.index[both] - 1, b.index[both] - 1
    counts = sparse.coo_array(
        (np.ones(rows.size, dtype=np.int64), (rows, columns)), shape=(len(a.labels), len(b.labels))
    ).tocsr()
    counts.sum_duplicates()
    return counts


def object_table(
    labels_a: npt.ArrayLike,
    labels_b: npt.ArrayLike,
    name_a: str = "A",
    name_b: str = "B",
    *,
    spacing_um: Spacing | None = None,
    compat: Literal["napari"] | None = None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Say of every object of two channels whether, with what and how far it meets the other.

    Parameters
    ----------
    labels_a, labels_b : array_like of int, same shape
        0 is background.
    name_a, name_b : str
        Names of the channels in the table.
    spacing_um : mapping, sequence of float or float, optional
        Pixel size of each axis, µm. Without it the columns in µm are ``None``.
    compat : {"napari"}, optional
        Centroids rounded to 0.1 px and coincidence as in napari-colocalization 0.4.0: the pixel
        that holds the centroid, even where the object itself does not cover it.

    Returns
    -------
    rows : list of dict
        One row per object, first A's, then B's, by label; keys ``OBJECT_COLUMNS`` and then
        ``OBJECT_EXTRA_COLUMNS``:

        ``coincident`` : the object's centre lies in an object of the other channel. The centre is
        the object's own pixel nearest to its centroid, so that rings and crescents are judged by
        a pixel they cover; ``coincident_with`` is the label there (0: none).
        ``overlap`` : any shared pixel; ``overlap_pixels`` and ``overlap_fraction`` count those
        shared with all objects of the other channel, ``n_partners`` these objects; ``partner`` is
        the one sharing most (the smallest label of equals, 0: none), with
        ``partner_overlap_pixels``.
        ``nn_distance_px``, ``nn_object`` : nearest centroid of the other channel, in pixels;
        ``nn_distance_um``, ``nn_object_um`` : the same in space, where the neighbour may be
        another one if pixels are not cubes. NaN and 0 where the other channel has no objects.
        ``size_um`` : length, area or volume in µm, µm² or µm³.
    summary : dict
        ``median_nn_distance_*`` (px), ``n_objects_*``, ``coincident_*``, ``overlap_*`` and their
        ``frac_*`` (NaN without objects) for a and b, and ``median_nn_distance_um_*``.

    Raises
    ------
    AxisMismatchError
        If shapes differ.
    CalibrationError
        If ``spacing_um`` does not fit the axes.
    InputError
        If labels are not integers >= 0, or ``compat`` is unknown.

    Notes
    -----
    One pass over the pixels and one sparse contingency table: O(pixels + objects log objects),
    memory 8 bytes per pixel for both images and 24 per pixel where objects overlap.
    Overlap and coincidence by chance rise with the area covered; see
    :func:`aequorea.colocalization.fraction_within` for a test.

    References
    ----------
    .. [1] Bolte & Cordelières (2006), doi:10.1111/j.1365-2818.2006.01706.x

    Examples
    --------
    >>> rows, summary = object_table([[1, 1, 0, 2]], [[0, 7, 7, 0]], spacing_um=(0.2, 0.2))
    >>> rows[0]["partner"], rows[0]["overlap_fraction"], rows[1]["overlap"]
    (7, 0.5, False)
    >>> summary["frac_overlap_a"], round(rows[1]["nn_distance_um"], 3)
    (0.5, 0.3)
    """
    if compat not in (None, "napari"):
        raise InputError(f'compat: expected None or "napari", found {compat!r}')
    a, b = _object_pair(labels_a, labels_b)
    spacing = None if spacing_um is None else spacing_of(spacing_um, a.index.ndim)
    counts = _contingency(a, b)
    rows_a = _rows(a, b, counts, name_a, spacing, compat)
    rows_b = _rows(b, a, counts.T.tocsr(), name_b, spacing, compat)
    summary: dict[str, Any] = {}
    for side, rows in (("a", rows_a), ("b", rows_b)):
        summary |= _summary(rows, side, calibrated=spacing is not None)
    return rows_a + rows_b, {key: summary[key] for key in _summary_order()}


def _rows(
    own: _Objects,
    other: _Objects,
    counts: sparse.csr_array[Any],
    name: str,
    spacing: FloatArray | None,
    compat: Literal["napari"] | None,
) -> list[dict[str, Any]]:
    n = len(own.labels)
    centre_index = _centre_partner(own, other, compat)
    partner_pixels, partner_index = _best_partner(counts)
    overlap_pixels = np.asarray(counts.sum(axis=1), dtype=np.int64).reshape(n)
    columns: dict[str, list[Any]] = {
        "channel": [name] * n,
        "object": own.labels.tolist(),
        "n_pixels": own.n_pixels.tolist(),
        "centroid": _tuples(own.centroids, 1 if compat else None),
        "coincident": (centre_index > 0).tolist(),
        "overlap": (overlap_pixels > 0).tolist(),
        "nn_distance_px": [],
        "coincident_with": _labels_at(other, centre_index - 1),
        "overlap_pixels": overlap_pixels.tolist(),
        "overlap_fraction": (overlap_pixels / own.n_pixels).tolist(),
        "n_partners": np.diff(counts.indptr).tolist(),
        "partner": _labels_at(other, partner_index),
        "partner_overlap_pixels": partner_pixels.tolist(),
    }
    distances, nearest = _nearest(own.centroids, other.centroids)
    columns |= {"nn_distance_px": distances.tolist(), "nn_object": _labels_at(other, nearest)}
    return _as_rows(columns | _physical_columns(own, other, spacing), n)


def _physical_columns(
    own: _Objects, other: _Objects, spacing: FloatArray | None
) -> dict[str, list[Any]]:
    if spacing is None:
        names = ("centroid_um", "size_um", "nn_distance_um", "nn_object_um")
        return {name: [None] * len(own.labels) for name in names}
    distances, nearest = _nearest(own.centroids * spacing, other.centroids * spacing)
    return {
        "centroid_um": _tuples(own.centroids * spacing, None),
        "size_um": (own.n_pixels * spacing.prod()).tolist(),
        "nn_distance_um": distances.tolist(),
        "nn_object_um": _labels_at(other, nearest),
    }


def _as_rows(columns: dict[str, list[Any]], n: int) -> list[dict[str, Any]]:
    names = (*OBJECT_COLUMNS, *OBJECT_EXTRA_COLUMNS)
    return [{name: columns[name][k] for name in names} for k in range(n)]


def _tuples(points: FloatArray, decimals: int | None) -> list[tuple[float, ...]]:
    rows = points.tolist()
    if decimals is None:
        return [tuple(row) for row in rows]
    return [tuple(round(value, decimals) for value in row) for row in rows]


def _labels_at(objects: _Objects, index: npt.NDArray[np.integer[Any]]) -> list[int]:
    """Labels of the objects with these positions; 0 where the position is negative."""
    if not len(objects.labels):
        return [0] * len(index)
    labels: list[int] = np.where(index >= 0, objects.labels[index], 0).tolist()
    return labels


def _centre_partner(
    own: _Objects, other: _Objects, compat: Literal["napari"] | None
) -> npt.NDArray[np.int32]:
    """Position + 1 of the other channel's object under each object's centre (0: none)."""
    if compat == "napari":
        centres = np.rint(own.centroids).astype(np.intp)
        pixels = np.ravel_multi_index(tuple(centres.T), own.index.shape)
    else:
        shape = np.array(own.index.shape)
        pixels = _central_pixels(own.index.reshape(-1), shape, own.centroids)
    found: npt.NDArray[np.int32] = other.index.reshape(-1)[pixels]
    return found


def _best_partner(counts: sparse.csr_array[Any]) -> tuple[IntArray, IntArray]:
    """Largest count of each row and its first column (0 and −1 for empty rows)."""
    n = counts.shape[0]
    row = np.repeat(np.arange(n), np.diff(counts.indptr))
    order = np.lexsort((counts.indices, -counts.data, row))
    first = np.unique(row[order], return_index=True)
    pixels, partner = np.zeros(n, dtype=np.int64), np.full(n, -1, dtype=np.int64)
    pixels[first[0]] = counts.data[order][first[1]]
    partner[first[0]] = counts.indices[order][first[1]]
    return pixels, partner


def _summary(rows: list[dict[str, Any]], side: str, *, calibrated: bool) -> dict[str, Any]:
    n = len(rows)
    coincident = sum(row["coincident"] for row in rows)
    overlap = sum(row["overlap"] for row in rows)
    return {
        f"median_nn_distance_{side}": _median(rows, "nn_distance_px"),
        f"n_objects_{side}": n,
        f"coincident_{side}": coincident,
        f"overlap_{side}": overlap,
        f"frac_coincident_{side}": coincident / n if n else float("nan"),
        f"frac_overlap_{side}": overlap / n if n else float("nan"),
        f"median_nn_distance_um_{side}": _median(rows, "nn_distance_um") if calibrated else None,
    }


def _median(rows: list[dict[str, Any]], column: str) -> float:
    values = np.array([row[column] for row in rows], dtype=np.float64)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else float("nan")


def _summary_order() -> list[str]:
    stems = (
        "median_nn_distance",
        "n_objects",
        "coincident",
        "overlap",
        "frac_coincident",
        "frac_overlap",
        "median_nn_distance_um",
    )
    return [f"{stem}_{side}" for stem in stems for side in "ab"]
