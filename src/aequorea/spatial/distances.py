"""How far from a landmark: nuclei, membranes, any mask, in µm and relative to the cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, get_args

import numba
import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import ndimage
from scipy.spatial import cKDTree

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.spatial.boxes import Box, box_around, boxes_of, grown_box, union_box
from aequorea.spatial.edt import distances_from

__all__ = [
    "CellDistances",
    "LandmarkDistances",
    "RelativeDistances",
    "cell_distances",
    "distance_map",
    "distance_map_by_label",
    "distances_of_points",
    "labels_at",
    "membrane_mask",
    "nearest_landmark",
    "normalised_distances",
    "ranked_distances",
    "relative_distances",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Spacing = Mapping[str, float | None] | Sequence[float]
Membrane = Literal["outer", "inner"]

_NO_CELL = "in no cell"
_NO_LANDMARK = "its cell has no landmark"
_LEAF = 64  # points per leaf of the tree: 0.7 s for 100,000 points, where the usual 16 take 1.0 s


@dataclass(frozen=True, eq=False, kw_only=True)
class LandmarkDistances:
    """Distance of each of n points to the landmark of its own cell.

    Attributes
    ----------
    cell : ndarray of int64, shape (n,)
        0: in no cell.
    distance_um : ndarray, shape (n,), µm
    reason : tuple of str, length n
        Why the distance is NaN; empty where it is not.
    """

    cell: IntArray
    distance_um: FloatArray
    reason: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.cell)


@dataclass(frozen=True, eq=False, kw_only=True)
class CellDistances:
    """Which distances to its landmark one cell has room for.

    Attributes
    ----------
    label : int
    cytosol_um : ndarray, shape (voxels,), µm
        Distance of every voxel of the cell outside the landmark, ascending: what places chosen
        at random would show.
    membrane_um : ndarray, shape (voxels,), µm
        Distance of every voxel of the membrane, ascending; negative inside the landmark.
    reason : str
        Why there are none; empty otherwise.
    """

    label: int
    cytosol_um: FloatArray
    membrane_um: FloatArray
    reason: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class RelativeDistances:
    """Distances of n points relative to the size and shape of their cells.

    Attributes
    ----------
    normalised : ndarray, shape (n,)
        Over the largest distance from the cell's membrane to its landmark.
    rank : ndarray, shape (n,)
        Fraction of the cytosol that lies nearer to the landmark: uniform on 0 to 1 for points
        scattered evenly over the cytosol, whatever the shape of the cell. NaN inside the landmark.
    reason : tuple of str, length n
        Why one of them is NaN; empty where neither is.
    """

    normalised: FloatArray
    rank: FloatArray
    reason: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rank)


def distance_map(
    mask: npt.ArrayLike,
    spacing_um: Spacing,
    *,
    signed: bool = False,
    within: npt.ArrayLike | None = None,
) -> FloatArray:
    """Distance from every voxel to a landmark.

    Parameters
    ----------
    mask : array_like of bool, shape (y, x) or (z, y, x)
        The landmark.
    spacing_um : sequence of float or mapping
        Distance between voxel centres along each axis, or under "z", "y" and "x".
    signed : bool, default False
        Whether voxels inside have minus the distance to the nearest voxel outside instead of 0.
    within : array_like of bool, same shape, optional
        Where distances are wanted; NaN elsewhere. Costs what the box around it costs, not what
        the whole image costs, if the landmark is near.

    Returns
    -------
    ndarray of float64, µm
        From the centre of the voxel to the nearest voxel *centre* of the landmark; 0 inside it.
        NaN where there is nothing to measure to: without a landmark, and inside one that fills
        the image if ``signed``.

    Raises
    ------
    AxisMismatchError
        If a shape does not fit.
    CalibrationError
        If the spacing is not known for every axis.

    Notes
    -----
    Exact to rounding in double precision, where single precision is wrong by 2e-5 µm at 20 µm.
    What is outside the image is unknown, not background. O(voxels), 8 bytes per voxel. Between
    centres: a surface half a voxel away would depend on its direction in anisotropic voxels.

    References
    ----------
    .. [1] Felzenszwalb & Huttenlocher (2012) doi:10.4086/toc.2012.v008a019

    Examples
    --------
    >>> distance_map([[0, 1, 1, 1, 0, 0]], (0.5, 0.2), signed=True).tolist()
    [[0.2, -0.2, -0.4, -0.2, 0.2, 0.4]]
    """
    landmark = mask_of(mask)
    spacing = spacing_of(spacing_um, landmark.ndim)
    if within is None:
        return distances_from(landmark, spacing, signed=signed)
    wanted = mask_of(within, "within")
    if wanted.shape != landmark.shape:
        raise AxisMismatchError(
            f"within: expected the shape of the mask {landmark.shape}, found {wanted.shape}"
        )
    distance = np.full(landmark.shape, np.nan)
    if wanted.any():
        box = _sufficient_box(landmark, wanted, spacing, signed=signed)
        inside = wanted[box]
        distance[box][inside] = distances_from(landmark[box], spacing, signed=signed)[inside]
    return distance


def distance_map_by_label(
    cells: npt.ArrayLike, landmarks: npt.ArrayLike, spacing_um: Spacing
) -> FloatArray:
    """Distance from every voxel of each cell to the landmark of the same label.

    Parameters
    ----------
    cells, landmarks : array_like of int, same shape, (y, x) or (z, y, x)
        Label images, 0 is background. Cell k is measured to landmark k only.
    spacing_um : sequence of float or mapping

    Returns
    -------
    ndarray of float64, µm
        0 inside the landmark; NaN outside cells and in cells that have no landmark.

    Raises
    ------
    InputError, AxisMismatchError, CalibrationError
        If an image is not a label image, shapes differ, or the spacing is not known.

    Notes
    -----
    Each cell costs the box around it and its landmark.

    Examples
    --------
    >>> distance_map_by_label([[1, 1, 1, 2, 2]], [[1, 0, 0, 0, 0]], (0.5, 0.2)).tolist()
    [[0.0, 0.2, 0.4, nan, nan]]
    """
    cell, landmark = label_pair(cells, landmarks)
    spacing = spacing_of(spacing_um, cell.ndim)
    distance = np.full(cell.shape, np.nan)
    nuclei = boxes_of(landmark)
    for label, box in boxes_of(cell).items():
        if label in nuclei:
            both = union_box(box, nuclei[label])
            inside = cell[both] == label
            found = distances_from(landmark[both] == label, spacing, signed=False)
            distance[both][inside] = found[inside]
    return distance


def distances_of_points(
    points_um: npt.ArrayLike, mask: npt.ArrayLike, spacing_um: Spacing, *, signed: bool = False
) -> FloatArray:
    """Distance from each point, wherever in its voxel, to a landmark.

    Parameters
    ----------
    points_um : array_like, shape (n, ndim), µm
        From the centre of the first voxel; points may lie outside the image.
    mask : array_like of bool, shape (y, x) or (z, y, x)
    spacing_um : sequence of float or mapping
    signed : bool, default False
        Whether points inside have minus the distance to the nearest voxel outside instead of 0.

    Returns
    -------
    ndarray, shape (n,), µm
        To the nearest voxel centre of the landmark; 0 in any of its voxels. NaN where there is
        nothing to measure to, as in :func:`distance_map`.

    Raises
    ------
    AxisMismatchError, CalibrationError, InputError
        If shapes do not fit, the spacing is not known, or a coordinate is not finite.

    Notes
    -----
    Exact. Only voxels with a face towards the outside can be the nearest, so the k-d tree holds
    the surface alone: O(voxels) to find it, then O(n log surface).

    Examples
    --------
    >>> mask = np.zeros((1, 3, 8), bool); mask[:, :, 4:] = True
    >>> points = [[0, 0.5, 0.05], [0, 0.5, 0.62]]
    >>> distances_of_points(points, mask, (1, 0.5, 0.1)).round(6).tolist()
    [0.35, 0.0]
    """
    landmark = mask_of(mask)
    spacing = spacing_of(spacing_um, landmark.ndim)
    points = points_of(points_um, landmark.ndim)
    return _point_distances(points, landmark, spacing, signed=signed)


def nearest_landmark(
    points_um: npt.ArrayLike,
    cell_of_point: npt.ArrayLike,
    landmarks: npt.ArrayLike,
    spacing_um: Spacing,
    *,
    signed: bool = False,
) -> LandmarkDistances:
    """Distance from each point to the landmark of its own cell, for all cells of an image.

    Parameters
    ----------
    points_um : array_like, shape (n, ndim), µm
        From the centre of the first voxel.
    cell_of_point : array_like of int, shape (n,)
        Label of the cell of each point, 0 for none; see :func:`labels_at`.
    landmarks : array_like of int, shape (y, x) or (z, y, x)
        Label image: landmark k belongs to cell k. It may be in pieces.
    spacing_um : sequence of float or mapping
    signed : bool, default False
        Whether points inside have minus the distance to the nearest voxel outside instead of 0.

    Returns
    -------
    LandmarkDistances
        NaN with a reason for points in no cell and in cells without a landmark.

    Raises
    ------
    AxisMismatchError, CalibrationError, InputError
        If shapes do not fit, the spacing is not known, or values are not what they should be.

    Examples
    --------
    >>> nuclei = [[1, 0, 0, 0, 0, 2]]
    >>> found = nearest_landmark([[0, 0.4], [0, 0.6], [0, 0.2]], [1, 2, 3], nuclei, (0.2, 0.2))
    >>> found.distance_um.round(6).tolist(), found.reason
    ([0.4, 0.4, nan], ('', '', 'its cell has no landmark'))
    """
    image = label_image(landmarks, "landmarks")
    spacing = spacing_of(spacing_um, image.ndim)
    points = points_of(points_um, image.ndim)
    cell = _cells_of_points(cell_of_point, len(points))
    distance = np.full(len(points), np.nan)
    reason = np.where(cell > 0, _NO_LANDMARK, _NO_CELL).astype(object)
    boxes = boxes_of(image)
    for label, members in _groups(cell):
        if label not in boxes:
            continue
        box = grown_box(boxes[label], image.shape, np.ones(image.ndim, np.int64))
        origin = np.array([side.start for side in box]) * spacing
        distance[members] = _point_distances(
            points[members] - origin, image[box] == label, spacing, signed=signed
        )
        reason[members] = ""
    reason[(reason == "") & np.isnan(distance)] = "its landmark fills the image"
    return LandmarkDistances(cell=cell, distance_um=distance, reason=tuple(reason.tolist()))


def labels_at(points_um: npt.ArrayLike, labels: npt.ArrayLike, spacing_um: Spacing) -> IntArray:
    """Label of the voxel that holds each point.

    Parameters
    ----------
    points_um : array_like, shape (n, ndim), µm
        From the centre of the first voxel; a voxel reaches half a spacing to either side.
    labels : array_like of int, shape (y, x) or (z, y, x)
    spacing_um : sequence of float or mapping

    Returns
    -------
    ndarray of int64, shape (n,)
        0 outside the image.

    Raises
    ------
    AxisMismatchError, CalibrationError, InputError
        If shapes do not fit, the spacing is not known, or values are not what they should be.

    Examples
    --------
    >>> labels_at([[0, 0.14], [0, 0.16], [0, 9]], [[4, 5, 6]], (0.1, 0.1))
    array([5, 6, 0])
    """
    image = label_image(labels)
    spacing = spacing_of(spacing_um, image.ndim)
    voxels, inside = voxels_of(points_of(points_um, image.ndim), image.shape, spacing)
    found = np.zeros(len(voxels), np.int64)
    found[inside] = image[tuple(voxels[inside].T)]
    return found


def membrane_mask(cell: npt.ArrayLike, kind: Membrane = "outer") -> BoolArray:
    """The layer of one voxel at the surface of a cell.

    Parameters
    ----------
    cell : array_like of bool, shape (y, x) or (z, y, x)
    kind : {"outer", "inner"}
        Voxels outside with a face to the cell, or voxels of the cell with a face to the outside.

    Returns
    -------
    ndarray of bool
        Where the image cuts the cell there is no membrane.

    Raises
    ------
    InputError, AxisMismatchError
        If the kind is unknown or the cell has neither two nor three axes.

    Examples
    --------
    >>> membrane_mask([[0, 0, 1, 1, 1]]).astype(int).tolist()
    [[0, 1, 0, 0, 0]]
    >>> membrane_mask([[0, 0, 1, 1, 1]], "inner").astype(int).tolist()
    [[0, 0, 1, 0, 0]]
    """
    inside = mask_of(cell, "cell")
    _check_kind(kind)
    source = inside if kind == "outer" else ~inside
    return np.asarray(ndimage.binary_dilation(source) & ~source)


def cell_distances(
    cells: npt.ArrayLike,
    landmarks: npt.ArrayLike,
    spacing_um: Spacing,
    *,
    membrane: Membrane = "outer",
) -> tuple[CellDistances, ...]:
    """Distances to its landmark that the cytosol and the membrane of each cell have.

    Parameters
    ----------
    cells, landmarks : array_like of int, same shape, (y, x) or (z, y, x)
        Label images: landmark k belongs to cell k.
    spacing_um : sequence of float or mapping
    membrane : {"outer", "inner"}
        See :func:`membrane_mask`.

    Returns
    -------
    tuple of CellDistances
        One for each cell, by label.

    Raises
    ------
    InputError, AxisMismatchError, CalibrationError
        If an image is not a label image, shapes differ, or the spacing is not known.

    Examples
    --------
    >>> (cell,) = cell_distances([[0, 3, 3, 3, 0]], [[0, 3, 0, 0, 0]], (0.2, 0.2))
    >>> cell.cytosol_um.tolist(), cell.membrane_um.round(6).tolist()
    ([0.2, 0.4], [0.2, 0.6])
    """
    cell, landmark = label_pair(cells, landmarks)
    spacing = spacing_of(spacing_um, cell.ndim)
    _check_kind(membrane)
    nuclei = boxes_of(landmark)

    def of_cell(label: int, box: Box) -> CellDistances:
        if label not in nuclei:
            nothing = np.empty(0)
            missing = "the cell has no landmark"
            return CellDistances(
                label=label, cytosol_um=nothing, membrane_um=nothing, reason=missing
            )
        grown = grown_box(box, cell.shape, np.ones(cell.ndim, np.int64))
        both = union_box(grown, nuclei[label])
        inside, nucleus = cell[both] == label, landmark[both] == label
        distance = distances_from(nucleus, spacing, signed=False)
        return CellDistances(
            label=label,
            cytosol_um=np.sort(distance[inside & ~nucleus]),
            membrane_um=np.sort(distance[membrane_mask(inside, membrane)]),
        )

    boxes = boxes_of(cell)
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        return tuple(pool.map(of_cell, boxes, boxes.values()))


def normalised_distances(distance_um: npt.ArrayLike, membrane_um: npt.ArrayLike) -> FloatArray:
    """Distances over the largest distance of the membrane.

    Parameters
    ----------
    distance_um : array_like, µm
    membrane_um : array_like, µm
        Distances of the voxels of the membrane.

    Returns
    -------
    ndarray
        NaN where no voxel of the membrane is away from the landmark.

    Notes
    -----
    Corrects for the size of a cell, not for its shape: use :func:`ranked_distances` to say that
    something is nearer than chance.

    Examples
    --------
    >>> normalised_distances([1.0, 2.0], [3.0, 4.0]).tolist()
    [0.25, 0.5]
    """
    distance = np.asarray(distance_um, dtype=np.float64)
    largest = float(np.max(np.asarray(membrane_um, dtype=np.float64), initial=0.0))
    return distance / largest if largest > 0 else np.full(distance.shape, np.nan)


def ranked_distances(
    distance_um: npt.ArrayLike,
    reference_um: npt.ArrayLike,
    *,
    rng: np.random.Generator | None = None,
) -> FloatArray:
    """Fraction of the volume that lies nearer to the landmark than each point.

    Parameters
    ----------
    distance_um : array_like, shape (n,), µm
    reference_um : array_like, shape (voxels,), µm
        Distances of all voxels where the points could have been.
    rng : numpy.random.Generator, optional
        Draws the place of a point among the voxels of the same distance; without it the middle is
        taken, the right mean but in steps.

    Returns
    -------
    ndarray, shape (n,)
        NaN for NaN, and everywhere without a reference.

    Notes
    -----
    Voxels chosen at random have a mean of exactly 1/2, and with ``rng`` a uniform distribution,
    whatever the shape of cell and landmark.

    Examples
    --------
    >>> ranked_distances([0.1, 0.2, 0.5], [0.1, 0.2, 0.2, 0.3]).tolist()
    [0.125, 0.5, 1.0]
    """
    distance = np.asarray(distance_um, dtype=np.float64)
    reference = np.sort(np.asarray(reference_um, dtype=np.float64))
    if not len(reference):
        return np.full(distance.shape, np.nan)
    # Equal distances reached by different sums differ in the last digits.
    slack = 1e-9 * max(float(np.abs(reference).max()), np.finfo(float).tiny)
    below = np.searchsorted(reference, distance - slack, side="left")
    upto = np.searchsorted(reference, distance + slack, side="right")
    share = 0.5 if rng is None else rng.random(distance.shape)
    rank = (below + share * (upto - below)) / len(reference)
    return np.where(np.isnan(distance), np.nan, rank)


def relative_distances(
    distances: LandmarkDistances,
    cells: Sequence[CellDistances],
    *,
    rng: np.random.Generator | None = None,
) -> RelativeDistances:
    """Distances of points relative to what their cells have room for.

    Parameters
    ----------
    distances : LandmarkDistances
        From :func:`nearest_landmark`, signed or not.
    cells : sequence of CellDistances
        From :func:`cell_distances`.
    rng : numpy.random.Generator, optional
        See :func:`ranked_distances`.

    Returns
    -------
    RelativeDistances

    Examples
    --------
    >>> cells = cell_distances([[3, 3, 3, 0]], [[3, 0, 0, 0]], (0.2, 0.2))
    >>> points = nearest_landmark([[0, 0.2], [0, 0.0]], [3, 3], [[3, 0, 0, 0]], (0.2, 0.2))
    >>> relative = relative_distances(points, cells)
    >>> relative.normalised.round(3).tolist(), relative.rank.tolist(), relative.reason
    ([0.333, 0.0], [0.25, nan], ('', 'inside the landmark'))
    """
    normalised = np.full(len(distances), np.nan)
    rank = np.full(len(distances), np.nan)
    reason = np.array(distances.reason, dtype=object)
    known = {cell.label: cell for cell in cells}
    for label, members in _groups(distances.cell):
        distance = distances.distance_um[members]
        cell = known.get(label)
        if cell is None or cell.reason:
            why = cell.reason if cell else "no distances are given for its cell"
            reason[members] = np.where(reason[members] == "", why, reason[members])
            continue
        normalised[members] = normalised_distances(distance, cell.membrane_um)
        outside = np.where(distance > 0, distance, np.nan)
        rank[members] = ranked_distances(outside, cell.cytosol_um, rng=rng)
        why = _why_not(cell)
        problem = np.where(distance <= 0, "inside the landmark", why)
        reason[members] = np.where(reason[members] == "", problem, reason[members])
    return RelativeDistances(normalised=normalised, rank=rank, reason=tuple(reason.tolist()))


def _why_not(cell: CellDistances) -> str:
    if not len(cell.cytosol_um):
        return "the landmark fills the cell"
    if not np.max(cell.membrane_um, initial=0.0) > 0:
        return "the cell has no membrane away from the landmark"
    return ""


# --- what was given ---------------------------------------------------------------------------


def spacing_of(spacing_um: Spacing, ndim: int) -> FloatArray:
    """Distance between voxel centres along each axis, µm.

    Raises
    ------
    CalibrationError
        If a value is missing or not positive, or their number is not ``ndim``.
    """
    if isinstance(spacing_um, Mapping):
        values: list[Any] = [spacing_um.get(axis) for axis in "zyx"[-ndim:]]
    else:
        values = list(spacing_um) if np.ndim(spacing_um) == 1 else []
    sizes = np.array([v if isinstance(v, Real) else np.nan for v in values], dtype=np.float64)
    if len(sizes) != ndim or not (np.isfinite(sizes) & (sizes > 0)).all():
        raise CalibrationError(
            f"spacing_um: expected {ndim} positive voxel sizes in µm, found {spacing_um!r}; "
            "give the spacing of every axis"
        )
    return sizes


def mask_of(mask: npt.ArrayLike, name: str = "mask") -> BoolArray:
    """A mask as a contiguous array of bool, 2D or 3D; non-zero is inside.

    Raises
    ------
    AxisMismatchError
        If it has neither two nor three axes.
    InputError
        If it has no voxels or holds NaN.
    """
    array = np.asarray(mask)
    if array.ndim not in (2, 3):
        raise AxisMismatchError(
            f"{name}: expected shape (y, x) or (z, y, x), found {array.shape}; give one mask"
        )
    if array.size == 0 or array.dtype.kind not in "buif":
        raise InputError(f"{name}: expected a mask, found {array.dtype} of shape {array.shape}")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise InputError(f"{name}: expected a mask, found NaN; threshold the image first")
    return np.ascontiguousarray(array != 0 if array.dtype != np.bool_ else array)


def label_image(labels: npt.ArrayLike, name: str = "labels") -> npt.NDArray[np.integer[Any]]:
    """A label image as given, checked: integers >= 0, 2D or 3D.

    Raises
    ------
    AxisMismatchError
        If it has neither two nor three axes.
    InputError
        If it has no voxels, or values other than integers >= 0.
    """
    array = np.asarray(labels)
    if array.ndim not in (2, 3):
        raise AxisMismatchError(
            f"{name}: expected shape (y, x) or (z, y, x), found {array.shape}; give one image"
        )
    if array.size == 0 or array.dtype.kind not in "ui":
        raise InputError(
            f"{name}: expected integer labels, found {array.dtype} of shape {array.shape}; "
            "label the objects first"
        )
    if array.dtype.kind == "i" and array.min() < 0:
        raise InputError(f"{name}: expected labels >= 0, found {array.min()}; relabel the image")
    if array.dtype == np.uint64 and int(array.max()) > np.iinfo(np.int64).max:
        raise InputError(f"{name}: expected labels below 2**63; relabel the image")
    return array


def label_pair(
    cells: npt.ArrayLike, landmarks: npt.ArrayLike
) -> tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.integer[Any]]]:
    """Two label images of one field.

    Raises
    ------
    AxisMismatchError, InputError
        If shapes differ or one is not a label image.
    """
    cell, landmark = label_image(cells, "cells"), label_image(landmarks, "landmarks")
    if cell.shape != landmark.shape:
        raise AxisMismatchError(
            f"landmarks: expected the shape of the cells {cell.shape}, found {landmark.shape}; "
            "give label images of the same field"
        )
    return cell, landmark


def points_of(points_um: npt.ArrayLike, ndim: int, name: str = "points_um") -> FloatArray:
    """Points as an array of shape (n, ndim); anything empty is no points.

    Raises
    ------
    AxisMismatchError
        If they do not have ``ndim`` coordinates.
    InputError
        If a coordinate is not finite.
    """
    points = np.asarray(points_um, dtype=np.float64)
    if points.size == 0:
        return np.empty((0, ndim))
    if points.ndim != 2 or points.shape[1] != ndim:
        raise AxisMismatchError(
            f"{name}: expected shape (n, {ndim}), found {points.shape}; give one row per point, "
            "with a coordinate for every axis of the image"
        )
    if not np.isfinite(points).all():
        raise InputError(f"{name}: expected finite coordinates, found NaN or Inf; leave them out")
    return points


def voxels_of(
    points: FloatArray, shape: tuple[int, ...], spacing: FloatArray
) -> tuple[IntArray, BoolArray]:
    """Index of the voxel that holds each point, and whether it is in the image."""
    voxels = np.floor(points / spacing + 0.5).astype(np.int64)
    inside = np.asarray(((voxels >= 0) & (voxels < np.array(shape))).all(axis=1))
    return voxels, inside


def _cells_of_points(cell_of_point: npt.ArrayLike, n: int) -> IntArray:
    cell = np.asarray(cell_of_point)
    if cell.shape != (n,) and not (cell.size == 0 and n == 0):
        raise AxisMismatchError(
            f"cell_of_point: expected one label for each of {n} points, found shape {cell.shape}"
        )
    if cell.size and (cell.dtype.kind not in "ui" or cell.min() < 0):
        raise InputError(f"cell_of_point: expected integers >= 0, found {cell.dtype}; 0 is no cell")
    return cell.astype(np.int64).reshape(n)


def _check_kind(kind: str) -> None:
    if kind not in get_args(Membrane):
        raise InputError(f'membrane: expected "outer" or "inner", found {kind!r}')


def _groups(cell: IntArray) -> Iterator[tuple[int, IntArray]]:
    """Label > 0 and the positions that have it, by label."""
    order = np.argsort(cell, kind="stable")
    labels, starts = np.unique(cell[order], return_index=True)
    ends = [*starts[1:].tolist(), len(cell)]
    for label, start, end in zip(labels.tolist(), starts.tolist(), ends, strict=False):
        if label > 0:
            yield label, order[start:end]


# --- from voxels to a landmark ------------------------------------------------------------------


def _sufficient_box(
    landmark: BoolArray, wanted: BoolArray, spacing: FloatArray, *, signed: bool
) -> Box:
    """A box that holds, for every voxel wanted, the voxel nearest to it that matters.

    Distances within the box around the voxels wanted are upper bounds: the nearest voxel cannot
    lie farther outside the box than the largest of them.
    """
    box = box_around(wanted)
    near = landmark[box]
    if not near.any() or (signed and near.all()):
        other = np.logical_not(landmark) if near.any() else landmark
        return union_box(box, box_around(other)) if other.any() else box
    bound = np.abs(distances_from(near, spacing, signed=signed)[wanted[box]]).max()
    return grown_box(box, landmark.shape, np.ceil(float(bound) / spacing).astype(np.int64))


# --- from points to a landmark ------------------------------------------------------------------


def _point_distances(
    points: FloatArray, landmark: BoolArray, spacing: FloatArray, *, signed: bool
) -> FloatArray:
    voxels, in_image = voxels_of(points, landmark.shape, spacing)
    inside = np.zeros(len(points), np.bool_)
    inside[in_image] = landmark[tuple(voxels[in_image].T)]
    distance = np.zeros(len(points))
    closed = not in_image.all()
    distance[~inside] = _to_surface(points[~inside], landmark, spacing, closed=closed)
    if signed:
        distance[inside] = -_to_surface(points[inside], ~landmark, spacing, closed=False)
    return distance


def _to_surface(
    points: FloatArray, mask: BoolArray, spacing: FloatArray, *, closed: bool
) -> FloatArray:
    """Distance of points outside a mask to its nearest voxel centre; NaN if it is empty.

    Had the nearest voxel neighbours in the mask on all sides, one of them would be nearer: only
    those with a face to the outside count, and the image's border if a point is beyond it.
    """
    if not len(points):
        return np.empty(0)
    surface = _surface(mask.reshape((-1, *mask.shape[-2:])), closed)[:, 3 - mask.ndim :]
    if not len(surface):
        return np.full(len(points), np.nan)
    # Neighbours in space asked one after the other find the tree in the processor's cache.
    order = cKDTree(points).indices
    distance = np.empty(len(points))
    distance[order], _ = cKDTree(surface * spacing, leafsize=_LEAF).query(points[order])
    return distance


@njit(cache=True, nogil=True)
def _surface(mask, closed):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Positions of voxels with a face to a voxel outside the mask, or to the border if closed."""
    planes, rows, columns = mask.shape
    found = np.empty((1024, 3), np.int32)
    n = 0
    for z in range(planes):
        for y in range(rows):
            for x in range(columns):
                if not mask[z, y, x]:
                    continue
                border = (
                    z == 0
                    or y == 0
                    or x == 0
                    or z == planes - 1
                    or y == rows - 1
                    or x == columns - 1
                )
                if border and closed:
                    open_face = True
                else:
                    open_face = (
                        (z > 0 and not mask[z - 1, y, x])
                        or (z < planes - 1 and not mask[z + 1, y, x])
                        or (y > 0 and not mask[z, y - 1, x])
                        or (y < rows - 1 and not mask[z, y + 1, x])
                        or (x > 0 and not mask[z, y, x - 1])
                        or (x < columns - 1 and not mask[z, y, x + 1])
                    )
                if open_face:
                    if n == found.shape[0]:
                        grown = np.empty((2 * n, 3), np.int32)
                        grown[:n] = found
                        found = grown
                    found[n, 0], found[n, 1], found[n, 2] = z, y, x
                    n += 1
    return found[:n]
