"""Foci: places where molecules crowd, and those among them where genes are transcribed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from aequorea.errors import AxisMismatchError, CalibrationError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Foci", "TranscriptionSites", "find_foci", "transcription_sites"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class Foci:
    """Foci among n points; k foci, numbered from 0 in the order of their first core point.

    Attributes
    ----------
    focus : ndarray of int64, shape (n,)
        Focus of each point, -1 for none.
    is_core : ndarray of bool, shape (n,)
    centroid_um : ndarray, shape (k, ndim), µm
    extent_um : ndarray, shape (k, ndim), µm
        From the first to the last point along each axis.
    radius_um : ndarray, shape (k,), µm
        Root-mean-square distance of the points from the centroid.
    n_points : ndarray of int64, shape (k,)
    """

    focus: IntArray
    is_core: BoolArray
    centroid_um: FloatArray
    extent_um: FloatArray
    radius_um: FloatArray
    n_points: IntArray

    def __len__(self) -> int:
        return len(self.n_points)


@dataclass(frozen=True, eq=False, kw_only=True)
class TranscriptionSites:
    """Sites of transcription, one per row.

    Attributes
    ----------
    position_um : ndarray, shape (k, ndim), µm
        Centroid weighted by the molecules.
    molecules : ndarray, shape (k,)
        Sum of the brightness in units of a single molecule.
    nucleus : ndarray of int64, shape (k,)
        Label of the nucleus.
    site : ndarray of int64, shape (n,)
        Site of each spot, -1 for none.
    """

    position_um: FloatArray
    molecules: FloatArray
    nucleus: IntArray
    site: IntArray

    def __len__(self) -> int:
        return len(self.molecules)


def find_foci(points_um: npt.ArrayLike, *, radius_um: float = 0.35, min_points: int = 4) -> Foci:
    """Group points that crowd, by their density (DBSCAN).

    Parameters
    ----------
    points_um : array_like, shape (n, ndim), µm
        From :func:`decompose_dense` rather than detections, where molecules overlap.
    radius_um : float, default 0.35
    min_points : int, default 4
        A point with this many within the radius, itself included, is a core point.

    Returns
    -------
    Foci
        Empty if there are none.

    Raises
    ------
    InputError
        If a number is out of range or a point is not finite.

    Notes
    -----
    Core points within the radius of each other share a focus [1]_. Other points within the radius
    of a core point join the focus of the nearest one (of the first one in the list, if two are as
    near), so that the order of the points does not matter to the result; implementations that
    take the first one they come by differ in these border points only.

    References
    ----------
    .. [1] Ester et al. (1996), A density-based algorithm for discovering clusters. KDD-96, 226–231

    Examples
    --------
    >>> foci = find_foci([[0, 0], [0, 0.1], [0.1, 0], [0.1, 0.1], [3, 3]])
    >>> foci.focus
    array([ 0,  0,  0,  0, -1])
    >>> foci.centroid_um
    array([[0.05, 0.05]])
    """
    points = np.asarray(points_um, dtype=float)
    if points.size == 0:
        points = points.reshape(0, points.shape[1] if points.ndim == 2 else 3)
    if points.ndim != 2:
        raise InputError(f"points_um: expected shape (n, ndim), found {points.shape}")
    if not np.isfinite(points).all():
        raise InputError(
            "points_um: expected finite numbers, found NaN or infinity; leave them out"
        )
    if not 0 < radius_um < np.inf:
        raise InputError(f"radius_um: expected above 0, found {radius_um}")
    if min_points < 1:
        raise InputError(f"min_points: expected at least 1, found {min_points}")
    n = len(points)
    pairs = np.zeros((0, 2), np.int64)
    if n > 1:
        pairs = cKDTree(points).query_pairs(radius_um, output_type="ndarray").astype(np.int64)
    near = 1 + np.bincount(pairs.reshape(-1), minlength=n)
    core = near >= min_points
    focus = np.full(n, -1, np.int64)
    between = pairs[core[pairs].all(axis=1)]
    graph = coo_array((np.ones(len(between)), (between[:, 0], between[:, 1])), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    _, first, renumbered = np.unique(component[core], return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    focus[core] = rank[renumbered]
    _join_border_points(focus, points, core, pairs)
    return _summarised(focus, core, points, len(first))


def _join_border_points(
    focus: IntArray, points: FloatArray, core: BoolArray, pairs: IntArray
) -> None:
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[~core[both[:, 0]] & core[both[:, 1]]]
    border, neighbour = both[:, 0], both[:, 1]
    distance = np.linalg.norm(points[border] - points[neighbour], axis=1)
    order = np.lexsort((neighbour, distance, border))
    joined, first = np.unique(border[order], return_index=True)
    focus[joined] = focus[neighbour[order][first]]


def _summarised(focus: IntArray, core: BoolArray, points: FloatArray, k: int) -> Foci:
    member = focus >= 0
    index, places = focus[member], points[member]
    count = np.bincount(index, minlength=k)
    ndim = points.shape[1]
    centroid, low, high = (
        np.zeros((k, ndim)),
        np.full((k, ndim), np.inf),
        np.full((k, ndim), -np.inf),
    )
    np.add.at(centroid, index, places)
    centroid /= count[:, None]
    np.minimum.at(low, index, places)
    np.maximum.at(high, index, places)
    squared = ((places - centroid[index]) ** 2).sum(axis=1)
    return Foci(
        focus=focus,
        is_core=core,
        centroid_um=centroid,
        extent_um=high - low,
        radius_um=np.sqrt(np.bincount(index, weights=squared, minlength=k) / count),
        n_points=count,
    )


def transcription_sites(
    points_um: npt.ArrayLike,
    brightness: npt.ArrayLike,
    nuclei: npt.ArrayLike,
    *,
    spacing_um: Sequence[float],
    single_brightness: float,
    min_molecules: float = 3.0,
    radius_um: float = 0.35,
) -> TranscriptionSites:
    """Bright spots and crowds of molecules inside nuclei.

    Parameters
    ----------
    points_um : array_like, shape (n, ndim), µm
        Spots, from the centre of the first voxel.
    brightness : array_like, shape (n,)
        Integrated light of each spot; NaN counts as one molecule.
    nuclei : array_like of int or bool, shape (z, y, x) or (y, x)
        Labels of nuclei, 0 outside; a mask is one nucleus.
    spacing_um : sequence of float, µm
        Distance between voxel centres along each axis.
    single_brightness : float
        Integrated light of a single molecule, in the unit of ``brightness``.
    min_molecules : float, default 3
    radius_um : float, default 0.35

    Returns
    -------
    TranscriptionSites
        In the order of their first spot.

    Raises
    ------
    CalibrationError
        If the spacing is missing or not positive.
    AxisMismatchError
        If shapes do not fit together.
    InputError
        If a number is out of range.

    Notes
    -----
    The rule: of the spots whose voxel belongs to a nucleus, those linked by steps of at most
    ``radius_um`` within the same nucleus form one candidate; it is a site if its light adds up to
    at least ``min_molecules`` single molecules. One bright spot is a site of its own. Spots
    outside the image are in no nucleus.

    Examples
    --------
    >>> nuclei = np.ones((1, 20, 20), int)
    >>> sites = transcription_sites(
    ...     [[0, 1, 1], [0, 1, 1.2], [0, 0.3, 0.3]], [200.0, 150.0, 90.0], nuclei,
    ...     spacing_um=(0.3, 0.1, 0.1), single_brightness=100.0)
    >>> sites.molecules, sites.site
    (array([3.5]), array([ 0,  0, -1]))
    """
    labels = np.asarray(nuclei)
    points = np.asarray(points_um, dtype=float).reshape(-1, labels.ndim)
    light = np.asarray(brightness, dtype=float)
    spacing = np.asarray(spacing_um, dtype=float)
    if labels.dtype.kind not in "bui":
        raise InputError(f"nuclei: expected integers or a mask, found dtype {labels.dtype}")
    if light.shape != (len(points),):
        raise AxisMismatchError(
            f"brightness: expected one number per point ({len(points)}), found {light.shape}"
        )
    if spacing.shape != (labels.ndim,) or not (np.isfinite(spacing).all() and np.all(spacing > 0)):
        raise CalibrationError(
            f"spacing_um: expected {labels.ndim} numbers above 0, found {spacing_um}"
        )
    for name, value in (
        ("single_brightness", single_brightness),
        ("min_molecules", min_molecules),
        ("radius_um", radius_um),
    ):
        if not 0 < value < np.inf:
            raise InputError(f"{name}: expected above 0, found {value}")
    nucleus = _label_at(labels, points / spacing)
    molecules = np.where(np.isfinite(light), light / single_brightness, 1.0)
    candidate = _linked(points, nucleus, radius_um)
    sums: FloatArray = np.bincount(candidate, weights=molecules).astype(float)
    within = nucleus[np.unique(candidate, return_index=True)[1]] > 0
    chosen = np.flatnonzero(within & (sums >= min_molecules))
    number = np.full(len(sums), -1, np.int64)
    number[chosen] = np.arange(len(chosen))
    site = number[candidate]
    member = site >= 0
    weighted = np.zeros((len(chosen), labels.ndim))
    np.add.at(weighted, site[member], molecules[member, None] * points[member])
    first = np.unique(site[member], return_index=True)[1]
    return TranscriptionSites(
        position_um=weighted / sums[chosen, None],
        molecules=sums[chosen],
        nucleus=nucleus[member][first],
        site=site,
    )


def _label_at(labels: npt.NDArray[np.generic], places: FloatArray) -> IntArray:
    voxel = np.rint(places).astype(np.int64)
    inside = ((voxel >= 0) & (voxel < np.array(labels.shape))).all(axis=1)
    found = np.zeros(len(places), np.int64)
    found[inside] = labels[tuple(voxel[inside].T)]
    return found


def _linked(points: FloatArray, nucleus: IntArray, radius_um: float) -> IntArray:
    """Group of each point, numbered in the order of first points: chains within one nucleus."""
    n = len(points)
    if n == 0:
        return np.zeros(0, np.int64)
    pairs = cKDTree(points).query_pairs(radius_um, output_type="ndarray")
    pairs = pairs[(nucleus[pairs[:, 0]] == nucleus[pairs[:, 1]]) & (nucleus[pairs[:, 0]] > 0)]
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    _, first, renumbered = np.unique(component, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[renumbered]
