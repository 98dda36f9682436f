"""Distances between points in a mask of any shape: K, L, pair correlation, nearest neighbours."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from numba import njit

from aequorea.errors import AxisMismatchError, InputError
from aequorea.spatial.nulls import (
    Seed,
    Spacing,
    checked_mask,
    checked_points,
    checked_spacing,
    random_points,
    whole_number,
)
from aequorea.spatial.window import SetCovariance, interpolate, with_plane

__all__ = [
    "besag_l",
    "ecdf",
    "empty_space_f",
    "field_at_points",
    "labelled_k",
    "nearest_neighbour_distances",
    "nearest_neighbour_g",
    "pair_correlation",
    "ripley_k",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
PairCorrection = Literal["isotropised", "translation"]
NearestCorrection = Literal["km", "border", "none"]

_UNIT_BALL = {2: np.pi, 3: 4 * np.pi / 3}
_PER_CELL = 1.0  # points per cell of the search grid: fastest of 1 to 4 for 1,000 random points


def ripley_k(
    points_um: npt.ArrayLike,
    radii_um: npt.ArrayLike,
    covariance: SetCovariance,
    *,
    others_um: npt.ArrayLike | None = None,
    correction: PairCorrection = "isotropised",
) -> FloatArray:
    """Ripley's K: further points within r of a point, over the density.

    Parameters
    ----------
    points_um : array_like, shape (n, d) or (s, n, d), µm
        One pattern or s of them, all points inside the mask.
    radii_um : array_like, shape (m,), µm
        Ascending.
    covariance : SetCovariance
        Of the mask, reaching at least as far as the largest radius.
    others_um : array_like, shape (k, d) or (s, k, d), µm, optional
        Cross-type K: how many of these lie within r of one of ``points_um``.
    correction : {"isotropised", "translation"}, default "isotropised"
        What a pair is divided by: the volume that the mask shares with itself shifted by the
        pair's distance, mean over directions (fast, and unbiased unless the pattern is
        anisotropic), or by the pair's own vector (unbiased for every stationary pattern).

    Returns
    -------
    ndarray, shape (m,) or (s, m), µm³ or µm²
        4/3 π r³ or π r² for complete spatial randomness; NaN where a pattern has fewer than two
        points (cross-type: none).

    Raises
    ------
    AxisMismatchError, InputError
        If shapes do not agree, radii do not ascend or reach beyond the set covariance.

    Notes
    -----
    Squared density is n(n - 1)/V², unbiased for a fixed number of points. Points outside the
    mask are not noticed and bias the result; see :func:`aequorea.spatial.nulls.points_inside`.

    References
    ----------
    .. [1] Ripley (1977) doi:10.1111/j.2517-6161.1977.tb01615.x
    .. [2] Ohser (1983) Math. Operationsforsch. Statist., Ser. Statist. 14:63
    .. [3] Baddeley, Rubak & Turner (2015) Spatial Point Patterns, doi:10.1201/b19708

    Examples
    --------
    >>> from aequorea.spatial.nulls import random_points
    >>> from aequorea.spatial.window import set_covariance
    >>> mask, spacing = np.ones((20, 40, 40)), (0.2, 0.1, 0.1)
    >>> points = random_points(200, mask, spacing, 0, n_simulations=50)
    >>> k = ripley_k(points, [0.5, 1.0], set_covariance(mask, spacing)).mean(axis=0)
    >>> (k / (4 / 3 * np.pi * np.array([0.5, 1.0]) ** 3)).round(2)
    array([1.01, 1.  ])
    """
    radii = _radii(radii_um)
    sources, targets, same, one = _patterns(points_um, others_um, covariance.ndim)
    pairs = _Pairs(covariance, radii[-1], correction, targets)
    n_pairs = _n_pairs(sources.shape[1], targets.shape[1], same)
    out = np.full((len(sources), len(radii)), np.nan)
    if n_pairs > 0:
        for s in range(len(sources)):
            _, _, distance, weight = pairs.of(sources[s], targets[s % len(targets)], same=same)
            out[s] = _cumulated(distance, weight, radii)
        out *= covariance.volume**2 / n_pairs
    return out[0] if one else out


def besag_l(k: npt.ArrayLike, ndim: int) -> FloatArray:
    """Besag's L: radius of the ball (disc) whose volume is K; r for complete randomness.

    Parameters
    ----------
    k : array_like, µm³ or µm²
    ndim : {3, 2}

    Returns
    -------
    ndarray, shape of k, µm

    Raises
    ------
    InputError
        If ``ndim`` is neither 2 nor 3.

    References
    ----------
    .. [1] Besag (1977) J. R. Stat. Soc. B 39:193, in the discussion of Ripley,
       doi:10.1111/j.2517-6161.1977.tb01615.x

    Examples
    --------
    >>> besag_l([np.pi, 4 * np.pi], 2)
    array([1., 2.])
    """
    if ndim not in _UNIT_BALL:
        raise InputError(f"ndim: expected 2 or 3, found {ndim!r}")
    return np.asarray((np.asarray(k, dtype=np.float64) / _UNIT_BALL[ndim]) ** (1 / ndim))


def pair_correlation(
    points_um: npt.ArrayLike,
    radii_um: npt.ArrayLike,
    covariance: SetCovariance,
    *,
    others_um: npt.ArrayLike | None = None,
    bandwidth_um: float | None = None,
    correction: PairCorrection = "isotropised",
) -> FloatArray:
    """Pair correlation g: density of further points at distance r of a point, over the density.

    Parameters
    ----------
    points_um, radii_um, covariance, others_um, correction
        As in :func:`ripley_k`.
    bandwidth_um : float, optional
        Half-width of the Epanechnikov kernel; 0.26 over the cube root of the density of targets
        (0.335 over its square root in 2D) [1]_ by default.

    Returns
    -------
    ndarray, shape (m,) or (s, m)
        1 for complete spatial randomness; NaN where a pattern has fewer than two points
        (cross-type: none).

    Raises
    ------
    AxisMismatchError, InputError
        As in :func:`ripley_k`; radii plus bandwidth must be within the set covariance's reach.

    Notes
    -----
    The smoothed count of pairs is divided by the volume that the kernel covers at that radius,
    so that the estimate for random points is unbiased down to r = 0.

    References
    ----------
    .. [1] Baddeley, Rubak & Turner (2015) Spatial Point Patterns, doi:10.1201/b19708, ch. 7, 15
    .. [2] Stoyan & Stoyan (1994) Fractals, Random Shapes and Point Fields, Wiley

    Examples
    --------
    >>> from aequorea.spatial.window import set_covariance
    >>> line = np.column_stack([np.full(50, 0.5), np.arange(50) + 0.5])
    >>> shared = set_covariance(np.ones((2, 52)), (1.0, 1.0))
    >>> g = pair_correlation(line, [0.5, 1.0], shared, bandwidth_um=0.2)
    >>> float(g[0]), bool(g[1] > 1)
    (0.0, True)
    """
    radii = _radii(radii_um)
    sources, targets, same, one = _patterns(points_um, others_um, covariance.ndim)
    n_pairs = _n_pairs(sources.shape[1], targets.shape[1], same)
    out = np.full((len(sources), len(radii)), np.nan)
    if n_pairs > 0:
        width = _bandwidth(bandwidth_um, targets.shape[1] / covariance.volume, covariance.ndim)
        pairs = _Pairs(covariance, radii[-1] + width, correction, targets)
        for s in range(len(sources)):
            _, _, distance, weight = pairs.of(sources[s], targets[s % len(targets)], same=same)
            out[s] = _smoothed(distance, weight, radii, width)
        out *= covariance.volume**2 / n_pairs / _kernel_volume(radii, width, covariance.ndim)
    return out[0] if one else out


def labelled_k(
    points_um: npt.ArrayLike,
    labels: npt.ArrayLike,
    radii_um: npt.ArrayLike,
    covariance: SetCovariance,
    *,
    pair: tuple[Any, Any],
    correction: PairCorrection = "isotropised",
) -> FloatArray:
    """Cross-type K of the same points under many labellings.

    Parameters
    ----------
    points_um : array_like, shape (n, d), µm
    labels : array_like, shape (n,) or (s, n)
        Type of each point, such as from :func:`aequorea.spatial.nulls.swapped_labels`.
    radii_um, covariance, correction
        As in :func:`ripley_k`.
    pair : two labels
        Points of the second type within r of one of the first; twice the same for the K of one.

    Returns
    -------
    ndarray, shape (m,) or (s, m), µm³ or µm²
        NaN where there is no pair.

    Raises
    ------
    AxisMismatchError, InputError

    Notes
    -----
    Pairs of points are found once: cost O(s · number of pairs within the largest radius).

    Examples
    --------
    >>> from aequorea.spatial.window import set_covariance
    >>> points, types = [[1.0, 1], [1, 2], [5, 5], [7, 7]], ["a", "b", "a", "b"]
    >>> shared = set_covariance(np.ones((9, 9)), (1.0, 1.0))
    >>> labelled_k(points, types, [1.5], shared, pair=("a", "b")).round(1)
    array([23.5])
    """
    radii = _radii(radii_um)
    points = checked_points(points_um, covariance.ndim)
    given = np.asarray(labels)
    if given.ndim not in (1, 2) or given.shape[-1] != len(points):
        raise AxisMismatchError(
            f"labels: expected one for each of {len(points)} points, found shape {given.shape}"
        )
    if len(pair) != 2:
        raise InputError(f"pair: expected two labels, found {pair!r}")
    first, second = np.atleast_2d(given == pair[0]), np.atleast_2d(given == pair[1])
    flat = with_plane(points)
    pairs = _Pairs(covariance, radii[-1], correction, flat[None])
    i, j, distance, weight = pairs.of(flat, flat, same=True)
    sums = _labelled(i, j, distance, weight, first, second, radii)
    same = pair[0] == pair[1]
    n_first, n_second = first.sum(axis=1), second.sum(axis=1)
    n_pairs = n_first * (n_second - 1 if same else n_second)
    scale = np.full(len(first), np.nan)
    np.divide(covariance.volume**2, n_pairs, out=scale, where=n_pairs > 0)
    out: FloatArray = sums * scale[:, None]
    return out if given.ndim == 2 else out[0]


def nearest_neighbour_distances(
    points_um: npt.ArrayLike, *, others_um: npt.ArrayLike | None = None
) -> FloatArray:
    """Distance from each point to the nearest other one, for many patterns at once.

    Parameters
    ----------
    points_um : array_like, shape (n, d) or (s, n, d), µm
    others_um : array_like, shape (k, d) or (s, k, d), µm, optional
        Search among these instead; one pattern or as many as ``points_um``.

    Returns
    -------
    ndarray, shape (n,) or (s, n), µm
        Infinite where there is no other point.

    Raises
    ------
    AxisMismatchError, InputError

    Examples
    --------
    >>> nearest_neighbour_distances([[0.0, 0, 0], [0, 3, 4], [0, 3, 5]])
    array([5., 1., 1.])
    """
    given = np.asarray(points_um, dtype=np.float64)
    ndim = given.shape[-1] if given.ndim in (2, 3) else 0
    if ndim not in (2, 3):
        raise AxisMismatchError(
            f"points_um: expected shape (n, d) or (s, n, d) with d 2 or 3, found {given.shape}"
        )
    sources, targets, same, one = _patterns(given, others_um, ndim)
    out = np.full(sources.shape[:2], np.inf)
    if out.size and targets.shape[1] > int(same):
        _nearest(sources, targets, same, *_grid(targets, _PER_CELL, ndim), out)
    return out[0] if one else out


def nearest_neighbour_g(
    points_um: npt.ArrayLike,
    radii_um: npt.ArrayLike,
    mask: npt.ArrayLike,
    spacing_um: Spacing,
    *,
    others_um: npt.ArrayLike | None = None,
    correction: NearestCorrection = "km",
) -> FloatArray:
    """Distribution function G of the distance from a point to its nearest neighbour.

    Parameters
    ----------
    points_um : array_like, shape (n, d), µm
        All inside the mask.
    radii_um : array_like, shape (m,), µm
        Ascending.
    mask : array_like, shape (y, x) or (z, y, x)
    spacing_um : sequence or mapping of float, µm
    others_um : array_like, shape (k, d), µm, optional
        Cross-type G: the nearest of these.
    correction : {"km", "border", "none"}, default "km"
        A neighbour outside the mask may be nearer than the nearest inside. "km" takes distances
        to the edge as censoring (Kaplan-Meier), "border" uses only points further than r from the
        edge, "none" leaves it: to be compared with simulations in the same mask, where a
        correction would only add noise.

    Returns
    -------
    ndarray, shape (m,)
        NaN where nothing tells: no points, with "border" none so far from the edge.

    Raises
    ------
    AxisMismatchError, CalibrationError, InputError

    Notes
    -----
    1 - exp(-λ 4/3 π r³) for complete spatial randomness of density λ. Distances to the edge are
    exact for a mask that is the union of its voxels.

    References
    ----------
    .. [1] Baddeley & Gill (1997) Ann. Statist. 25:263

    Examples
    --------
    >>> points = [[0.5, 0.5], [0.5, 0.8], [0.8, 0.5], [0.1, 0.1]]
    >>> nearest_neighbour_g(points, [0.2, 0.4], np.ones((10, 10)), (0.1, 0.1))
    array([0., 1.])
    """
    inside, spacing = checked_mask(mask, spacing_um)
    points = checked_points(points_um, inside.ndim)
    others = None if others_um is None else checked_points(others_um, inside.ndim, "others_um")
    distance = nearest_neighbour_distances(points, others_um=others)
    return _distribution(points, distance, _radii(radii_um), inside, spacing, correction)


def empty_space_f(
    points_um: npt.ArrayLike,
    radii_um: npt.ArrayLike,
    mask: npt.ArrayLike,
    spacing_um: Spacing,
    rng: Seed,
    *,
    n_probes: int = 10_000,
    correction: NearestCorrection = "km",
) -> FloatArray:
    """Distribution function F of the distance from anywhere in the mask to the nearest point.

    Parameters
    ----------
    points_um, radii_um, mask, spacing_um, correction
        As in :func:`nearest_neighbour_g`.
    rng : Generator, int or None
    n_probes : int, default 10,000
        Random places to measure from; the error is at most 0.5 / √n_probes.

    Returns
    -------
    ndarray, shape (m,)

    Raises
    ------
    AxisMismatchError, CalibrationError, InputError

    Notes
    -----
    The same as G for complete spatial randomness; below it when points are clustered.

    References
    ----------
    .. [1] Baddeley & Gill (1997) Ann. Statist. 25:263

    Examples
    --------
    >>> points = np.argwhere(np.ones((10, 10)))
    >>> empty_space_f(points, [0.4, 0.8], np.ones((10, 10)), (1, 1), 0, n_probes=1000).round(1)
    array([0.5, 1. ])
    """
    inside, spacing = checked_mask(mask, spacing_um)
    points = checked_points(points_um, inside.ndim)
    probes = random_points(whole_number("n_probes", n_probes, 1), inside, spacing, rng)[0]
    distance = nearest_neighbour_distances(probes, others_um=points)
    return _distribution(probes, distance, _radii(radii_um), inside, spacing, correction)


def field_at_points(
    points_um: npt.ArrayLike,
    field: npt.ArrayLike,
    spacing_um: Spacing,
    *,
    interpolation: bool = True,
) -> FloatArray:
    """Value of an image, such as a distance map, at each point.

    Parameters
    ----------
    points_um : array_like, shape (..., d), µm
    field : array_like, shape (y, x) or (z, y, x)
        Values at voxel centres.
    spacing_um : sequence or mapping of float, µm
    interpolation : bool, default True
        Linear between voxel centres; otherwise the value of the voxel in which the point lies.

    Returns
    -------
    ndarray, shape (...)
        Beyond the outermost voxel centres the value at the edge. NaN if a voxel needed is NaN.

    Raises
    ------
    AxisMismatchError, CalibrationError, InputError

    Notes
    -----
    A distance changes by no more than the way gone, so neither lookup is wrong by more than half
    the diagonal of a voxel. Interpolation is exact where the surface is flat; with (0.3, 0.1, 0.1)
    µm voxels and a ball of 3 µm radius as nucleus its root mean square error is 0.006 µm, that of
    the voxel's value 0.046 µm (``benchmarks/bench_points.py``), for the same time.

    Examples
    --------
    >>> field_at_points([[0.0, 0.15], [0.1, 0.1]], [[0, 1], [2, 3]], (0.1, 0.2))
    array([0.75, 2.5 ])
    """
    values = np.asarray(field, dtype=np.float64)
    if values.ndim not in (2, 3) or values.size == 0:
        raise InputError(f"field: expected 2 or 3 axes with values, found shape {values.shape}")
    spacing = checked_spacing(spacing_um, values.ndim)
    given = np.asarray(points_um, dtype=np.float64)
    if given.ndim == 0 or given.shape[-1] != values.ndim:
        raise AxisMismatchError(
            f"points_um: expected {values.ndim} coordinates per point, found shape {given.shape}"
        )
    if not np.isfinite(given).all():
        raise InputError("points_um: expected finite positions, found NaN or infinity")
    if not interpolation:
        last = np.array(values.shape) - 1
        index = np.clip(np.rint(given / spacing), 0, last).astype(np.intp)
        exact: FloatArray = values[tuple(np.moveaxis(index, -1, 0))]
        return exact
    flat = given.reshape(-1, values.ndim)
    volume = values if values.ndim == 3 else values[None]
    scale = with_plane(spacing[None], fill=1.0)[0]
    found: FloatArray = interpolate(volume, scale, np.zeros(3), with_plane(flat))
    return found.reshape(given.shape[:-1])


def ecdf(values: npt.ArrayLike, at: npt.ArrayLike) -> FloatArray:
    """Share of values that are no larger than each of some thresholds.

    Parameters
    ----------
    values : array_like, shape (n,) or (s, n)
    at : array_like, shape (m,)
        Ascending.

    Returns
    -------
    ndarray, shape (m,) or (s, m)
        NaN without values.

    Raises
    ------
    InputError
        If shapes or the order do not fit.

    Examples
    --------
    >>> ecdf([[1, 2, 3, 4], [2, 2, 2, 2]], [1.5, 2, 9])
    array([[0.25, 0.5 , 1.  ],
           [0.  , 1.  , 1.  ]])
    """
    given = np.asarray(values, dtype=np.float64)
    thresholds = np.asarray(at, dtype=np.float64)
    if given.ndim not in (1, 2):
        raise InputError(f"values: expected shape (n,) or (s, n), found {given.shape}")
    if thresholds.ndim != 1 or np.isnan(thresholds).any() or (np.diff(thresholds) < 0).any():
        raise InputError("at: expected ascending numbers")
    if given.shape[-1] == 0:
        return np.full((*given.shape[:-1], len(thresholds)), np.nan)
    counts = np.empty((len(np.atleast_2d(given)), len(thresholds)))
    _ecdf(np.atleast_2d(given), thresholds, counts)
    return counts if given.ndim == 2 else counts[0]


# --- what was given ---------------------------------------------------------------------------


def _radii(radii_um: npt.ArrayLike) -> FloatArray:
    radii = np.atleast_1d(np.asarray(radii_um, dtype=np.float64))
    if radii.ndim != 1 or not radii.size:
        raise InputError(f"radii_um: expected a list of radii, found {radii_um!r}")
    if not np.isfinite(radii).all() or radii[0] < 0 or (np.diff(radii) <= 0).any():
        raise InputError(f"radii_um: expected ascending radii of at least 0 µm, found {radii_um!r}")
    return radii


def _patterns(
    points_um: npt.ArrayLike, others_um: npt.ArrayLike | None, ndim: int
) -> tuple[FloatArray, FloatArray, bool, bool]:
    """Sources and targets, shape (s, n, 3); whether these are the same; whether one was given."""
    sources, one = _stack(points_um, ndim, "points_um")
    if others_um is None:
        return sources, sources, True, one
    targets, _ = _stack(others_um, ndim, "others_um")
    if len(targets) not in (1, len(sources)):
        raise AxisMismatchError(
            f"others_um: expected one pattern or {len(sources)}, found {len(targets)}"
        )
    return sources, targets, False, one


def _stack(points: npt.ArrayLike, ndim: int, name: str) -> tuple[FloatArray, bool]:
    given = np.asarray(points, dtype=np.float64)
    if given.size == 0 and given.ndim < 3:
        given = given.reshape(0, ndim)
    if given.ndim not in (2, 3) or given.shape[-1] != ndim:
        raise AxisMismatchError(
            f"{name}: expected shape (n, {ndim}) or (s, n, {ndim}), found {given.shape}"
        )
    if not np.isfinite(given).all():
        raise InputError(f"{name}: expected finite positions, found NaN or infinity")
    one = given.ndim == 2
    return with_plane(given[None] if one else given), one


def _n_pairs(n: int, k: int, same: bool) -> int:
    return n * (n - 1) if same else n * k


def _bandwidth(bandwidth_um: float | None, density: float, ndim: int) -> float:
    if bandwidth_um is None:
        return float(0.26 / density ** (1 / 3) if ndim == 3 else 0.335 / density**0.5)
    if not (np.isfinite(bandwidth_um) and bandwidth_um > 0):
        raise InputError(f"bandwidth_um: expected a length above 0 µm, found {bandwidth_um!r}")
    return float(bandwidth_um)


# --- pairs of points --------------------------------------------------------------------------


class _Pairs:
    """Finds pairs within a distance, and one over the volume the mask shares after each."""

    def __init__(
        self, covariance: SetCovariance, reach: float, correction: str, targets: FloatArray
    ) -> None:
        if correction not in get_args(PairCorrection):
            raise InputError(
                f"correction: expected isotropised or translation, found {correction!r}"
            )
        if reach > covariance.reach_um * (1 + 1e-9):
            raise InputError(
                f"radii_um: expected at most {covariance.reach_um:g} µm, how far the set "
                f"covariance reaches, found {reach:g} µm"
            )
        if not covariance.mean_at(min(reach, covariance.reach_um)) > 0:
            raise InputError(f"radii_um: no two points of the mask are {reach:g} µm apart")
        self._where = (reach, *_grid(targets, reach, 0))
        self._room = _room(16 * targets.shape[1])
        self._lags = covariance.lags()
        self._means = covariance.mean_values if correction == "isotropised" else None
        self._step = float(covariance.radii_um[1])

    def of(
        self, sources: FloatArray, targets: FloatArray, *, same: bool
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], FloatArray, FloatArray]:
        """Source, target, distance and weight of each pair; each once if both are the same.

        They are overwritten by the next call.
        """
        found = _pairs(sources, targets, same, *self._where, *self._room)
        if found > len(self._room[0]):
            self._room = _room(found + found // 4)
            _pairs(sources, targets, same, *self._where, *self._room)
        one, two, away = self._room
        i, j, distance = one[:found], two[:found], away[:found]
        if self._means is None:
            shared = interpolate(*self._lags, targets[j] - sources[i])
        else:
            shared = _interpolate_table(self._means, self._step, distance)
        weight = np.zeros(found)
        # Each pair is two, one seen from either point.
        np.divide(2.0 if same else 1.0, shared, out=weight, where=shared > 0)
        return i, j, distance, weight


def _room(n: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], FloatArray]:
    return np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n)


def _grid(targets: FloatArray, measure: float, ndim: int) -> tuple[FloatArray, float, IntArray]:
    """Lowest corner, width and number of cells.

    Width is ``measure``, or, given the number of dimensions, such that a cell holds that many
    points.
    """
    lowest = targets.min(axis=(0, 1)) if targets.size else np.zeros(3)
    extent = np.ptp(targets, axis=(0, 1)) if targets.size else np.zeros(3)
    n = max(targets.shape[1], 1)
    if ndim:
        longest = max(float(extent.max()), 1e-9)
        wide = np.maximum(extent, 1e-3 * longest)[3 - ndim :]
        width = float((wide.prod() * measure / n) ** (1 / ndim))
    else:
        width = max(measure, 1e-9)
    # Never many more cells than points, however thin or far apart these lie.
    width = max(width, float(extent.max()) / 512)
    while np.prod(np.floor(extent / width) + 3) > 64 * n + 1024:
        width *= 1.3
    return lowest, width, np.floor(extent / width).astype(np.int64) + 3


@njit(cache=True, nogil=True)
def _sorted_into_cells(points, lowest, width, cells):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Order of points by cell, and the first in each; the outermost cells stay empty."""
    cell = np.empty(len(points), np.int64)
    first = np.zeros(cells[0] * cells[1] * cells[2] + 1, np.int64)
    for i in range(len(points)):
        z = int((points[i, 0] - lowest[0]) / width) + 1
        y = int((points[i, 1] - lowest[1]) / width) + 1
        x = int((points[i, 2] - lowest[2]) / width) + 1
        z, y, x = min(z, cells[0] - 2), min(y, cells[1] - 2), min(x, cells[2] - 2)
        cell[i] = (z * cells[1] + y) * cells[2] + x
        first[cell[i] + 1] += 1
    for c in range(1, len(first)):
        first[c] += first[c - 1]
    order = np.empty(len(points), np.int64)
    at = first.copy()
    for i in range(len(points)):
        order[at[cell[i]]] = i
        at[cell[i]] += 1
    return order, first


@njit(cache=True, nogil=True)
def _pairs(  # type: ignore[no-untyped-def]  # noqa: ANN202
    sources,  # noqa: ANN001
    targets,  # noqa: ANN001
    same,  # noqa: ANN001
    reach,  # noqa: ANN001
    lowest,  # noqa: ANN001
    width,  # noqa: ANN001
    cells,  # noqa: ANN001
    one,  # noqa: ANN001
    two,  # noqa: ANN001
    distance,  # noqa: ANN001
):
    """Write pairs as far as there is room; how many there are."""
    order, first = _sorted_into_cells(targets, lowest, width, cells)
    near = np.empty_like(targets)
    for k in range(len(order)):
        near[k] = targets[order[k]]
    n = 0
    for k in range(len(sources)):
        i = order[k] if same else k
        pz, py, px = sources[i]
        z = int(np.floor((pz - lowest[0]) / width)) + 1
        y = int(np.floor((py - lowest[1]) / width)) + 1
        x = int(np.floor((px - lowest[2]) / width)) + 1
        if same:
            z, y, x = min(z, cells[0] - 2), min(y, cells[1] - 2), min(x, cells[2] - 2)
        x_from, x_to = max(x - 1, 0), min(x + 2, cells[2])
        if x_from >= x_to:
            continue
        for row_z in range(max(z if same else z - 1, 0), min(z + 2, cells[0])):
            for row_y in range(max(y - 1, 0), min(y + 2, cells[1])):
                if same and row_z == z and row_y < y:
                    continue
                row = (row_z * cells[1] + row_y) * cells[2]
                start = first[row + x_from]
                if same and row_z == z and row_y == y:
                    start = k + 1
                for j in range(start, first[row + x_to]):
                    dz, dy, dx = near[j, 0] - pz, near[j, 1] - py, near[j, 2] - px
                    away = dz * dz + dy * dy + dx * dx
                    if away > reach * reach:
                        continue
                    if n < len(distance):
                        one[n], two[n] = i, order[j]
                        distance[n] = np.sqrt(away)
                    n += 1
    return n


@njit(cache=True, nogil=True)
def _interpolate_table(values, step, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    out = np.empty(len(at))
    for n in range(len(at)):
        place = at[n] / step
        low = min(int(place), len(values) - 2)
        out[n] = values[low] + (place - low) * (values[low + 1] - values[low])
    return out


@njit(cache=True, nogil=True)
def _cumulated(distance, weight, radii):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    out = np.zeros(len(radii))
    first = _first_bins(radii)
    finer = (len(first) - 1) / radii[-1] if radii[-1] > 0 else 0.0
    for n in range(len(distance)):
        k = first[int(distance[n] * finer)]
        while k < len(radii) and radii[k] < distance[n]:
            k += 1
        if k < len(radii):
            out[k] += weight[n]
    for k in range(1, len(radii)):
        out[k] += out[k - 1]
    return out


@njit(cache=True, nogil=True)
def _first_bins(radii):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Where to begin to look, for distances in steps of a fraction of the largest radius."""
    n = 8 * len(radii)
    first = np.zeros(n + 1, np.int64)
    k = 0
    for step in range(n + 1):
        # A little low, so that rounding cannot skip a bin.
        while k < len(radii) - 1 and radii[k] < radii[-1] * (step - 0.001) / n:
            k += 1
        first[step] = k
    return first


@njit(cache=True, nogil=True)
def _smoothed(distance, weight, radii, width):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    out = np.zeros(len(radii))
    for n in range(len(distance)):
        for k in range(len(radii)):
            off = (distance[n] - radii[k]) / width
            if off * off < 1:
                out[k] += weight[n] * 0.75 * (1 - off * off) / width
    return out


def _kernel_volume(radii: FloatArray, width: float, ndim: int) -> FloatArray:
    """Integral over space of the kernel centred at each radius."""
    nodes, weights = np.polynomial.legendre.leggauss(4)  # exact: a polynomial of degree 4
    low, high = np.maximum(radii - width, 0), radii + width
    at = (low + high)[:, None] / 2 + (high - low)[:, None] / 2 * nodes
    kernel = 0.75 * (1 - ((at - radii[:, None]) / width) ** 2) / width
    surface = ndim * _UNIT_BALL[ndim] * at ** (ndim - 1)
    integral: FloatArray = (kernel * surface * weights).sum(axis=1) * (high - low) / 2
    return integral


@njit(cache=True, nogil=True)
def _labelled(i, j, distance, weight, first, second, radii):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    bins = np.empty(len(distance), np.int64)
    for n in range(len(distance)):
        bins[n] = np.searchsorted(radii, distance[n])
    out = np.zeros((len(first), len(radii)))
    for s in range(len(first)):
        for n in range(len(distance)):
            a, b = i[n], j[n]
            met = int(first[s, a] and second[s, b]) + int(first[s, b] and second[s, a])
            if met:
                out[s, bins[n]] += met * weight[n] / 2
        for k in range(1, len(radii)):
            out[s, k] += out[s, k - 1]
    return out


# --- nearest neighbours -----------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _nearest(sources, targets, same, lowest, width, cells, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Search shell after shell of cells until nothing nearer can come."""
    near = np.empty(targets.shape[1:])
    order = np.empty(0, np.int64)
    first = np.empty(0, np.int64)
    most = max(cells[0], cells[1], cells[2])
    for s in range(len(sources)):
        if s < len(targets):
            order, first = _sorted_into_cells(targets[s], lowest, width, cells)
            for k in range(len(order)):
                near[k] = targets[s, order[k]]
        for k in range(sources.shape[1]):
            i = order[k] if same else k
            pz, py, px = sources[s, i]
            z = int(np.floor((pz - lowest[0]) / width)) + 1
            y = int(np.floor((py - lowest[1]) / width)) + 1
            x = int(np.floor((px - lowest[2]) / width)) + 1
            # Sources may lie beyond the grid: begin at the shell that touches it.
            away = max(-z, z - cells[0] + 1, -y, y - cells[1] + 1, -x, x - cells[2] + 1, 0)
            best = np.inf
            for shell in range(away, away + most + 1):
                if shell > 0 and best <= ((shell - 1) * width) ** 2:
                    break
                for cell_z in range(max(z - shell, 0), min(z + shell + 1, cells[0])):
                    for cell_y in range(max(y - shell, 0), min(y + shell + 1, cells[1])):
                        row = (cell_z * cells[1] + cell_y) * cells[2]
                        side = abs(cell_z - z) == shell or abs(cell_y - y) == shell
                        hop = 1 if side or shell == 0 else 2 * shell
                        for cell_x in range(x - shell, x + shell + 1, hop):
                            if cell_x < 0 or cell_x >= cells[2]:
                                continue
                            for j in range(first[row + cell_x], first[row + cell_x + 1]):
                                if same and order[j] == i:
                                    continue
                                dz, dy, dx = near[j, 0] - pz, near[j, 1] - py, near[j, 2] - px
                                best = min(best, dz * dz + dy * dy + dx * dx)
            out[s, i] = np.sqrt(best)


def _distribution(
    places: FloatArray,
    distance: FloatArray,
    radii: FloatArray,
    inside: BoolArray,
    spacing: FloatArray,
    correction: str,
) -> FloatArray:
    if correction not in get_args(NearestCorrection):
        raise InputError(f"correction: expected km, border or none, found {correction!r}")
    if not len(places):
        return np.full(len(radii), np.nan)
    if correction == "none":
        return ecdf(distance, radii)
    diameter = float(np.linalg.norm(np.array(inside.shape) * spacing))
    wanted = (
        np.minimum(distance, diameter) if correction == "km" else np.full(len(places), radii[-1])
    )
    edge = _edge_distances(places, inside, spacing, wanted)
    if correction == "km":
        return _kaplan_meier(np.minimum(distance, edge), distance <= edge, radii)
    far: BoolArray = edge[:, None] >= radii
    counted = far.sum(axis=0)
    out = np.full(len(radii), np.nan)
    met = (far & (distance[:, None] <= radii)).sum(axis=0)
    np.divide(met, counted, out=out, where=counted > 0)
    return out


def _kaplan_meier(seen: FloatArray, event: BoolArray, radii: FloatArray) -> FloatArray:
    """Distribution function of distances, some known only to be longer than what was seen."""
    times, index = np.unique(seen, return_inverse=True)
    events = np.bincount(index, event, len(times))
    at_risk = len(seen) - np.concatenate([[0], np.cumsum(np.bincount(index))[:-1]])
    survival = np.concatenate([[1.0], np.cumprod(1 - events / at_risk)])
    return np.asarray(1 - survival[np.searchsorted(times, radii, side="right")])


def _edge_distances(
    places: FloatArray, inside: BoolArray, spacing: FloatArray, wanted: FloatArray
) -> FloatArray:
    """Distance to the edge of the mask, or ``wanted`` if that is nearer."""
    volume = inside if inside.ndim == 3 else inside[None]
    found: FloatArray = _edges(
        with_plane(places),
        np.ascontiguousarray(volume),
        with_plane(spacing[None], fill=1.0)[0],
        inside.ndim == 2,
        wanted,
    )
    return found


@njit(cache=True, nogil=True)
def _edges(places, inside, size, flat, wanted):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Nearest voxel, as a box, that is outside the mask or the array."""
    out = np.empty(len(places))
    from_to = np.empty((3, 2), np.int64)
    for i in range(len(places)):
        best = wanted[i] * wanted[i]
        for d in range(3):
            at = places[i, d] / size[d]
            from_to[d, 0] = max(int(np.floor(at - wanted[i] / size[d] + 0.5)), -1)
            from_to[d, 1] = min(int(np.floor(at + wanted[i] / size[d] + 0.5)), inside.shape[d])
        if flat:
            from_to[0, 0], from_to[0, 1] = 0, 0
        for z in range(from_to[0, 0], from_to[0, 1] + 1):
            dz = max(abs(places[i, 0] - z * size[0]) - size[0] / 2, 0.0)
            for y in range(from_to[1, 0], from_to[1, 1] + 1):
                dy = max(abs(places[i, 1] - y * size[1]) - size[1] / 2, 0.0)
                if dz * dz + dy * dy >= best:
                    continue
                for x in range(from_to[2, 0], from_to[2, 1] + 1):
                    if (
                        0 <= z < inside.shape[0]
                        and 0 <= y < inside.shape[1]
                        and 0 <= x < inside.shape[2]
                        and inside[z, y, x]
                    ):
                        continue
                    dx = max(abs(places[i, 2] - x * size[2]) - size[2] / 2, 0.0)
                    best = min(best, dz * dz + dy * dy + dx * dx)
        out[i] = np.sqrt(best)
    return out


@njit(cache=True, nogil=True)
def _ecdf(values, thresholds, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n = values.shape[1]
    out[:] = 0.0
    for s in range(len(values)):
        for i in range(n):
            k = np.searchsorted(thresholds, values[s, i])
            if k < len(thresholds):
                out[s, k] += 1.0
        for k in range(1, len(thresholds)):
            out[s, k] += out[s, k - 1]
        for k in range(len(thresholds)):
            out[s, k] /= n
