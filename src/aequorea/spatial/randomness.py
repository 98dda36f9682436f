"""Whether the puncta of a cell lie as points do that were put into it at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from aequorea.errors import AxisMismatchError, InputError
from aequorea.spatial.envelopes import Envelope, global_envelope
from aequorea.spatial.nulls import (
    Seed,
    Spacing,
    checked_mask,
    checked_points,
    checked_weights,
    hard_core_points,
    points_inside,
    random_points,
    whole_number,
)
from aequorea.spatial.point_patterns import (
    ecdf,
    field_at_points,
    nearest_neighbour_distances,
    ripley_k,
)
from aequorea.spatial.window import SetCovariance, set_covariance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Chance", "CsrTest", "csr_test", "held_against_chance"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

HYPOTHESIS = "The points lie independently of each other, {where} over the mask."
APART = "The points lie at random, {where} over the mask, no two nearer than {about}{apart} µm."
UNIT = "point within this mask (not the cell or the animal)"

_BATCH = 1_000_000  # points simulated at a time: 24 MB
_N_RADII = 20
_LEVELS = np.arange(1, _N_RADII) / _N_RADII
_NEIGHBOURS = 30.0  # expected within the largest radius of K, at most
_SHARED = 0.5  # of the mask with itself, shifted by the largest radius, at least
_UNIT_BALL = {2: np.pi, 3: 4 * np.pi / 3}


@dataclass(frozen=True, kw_only=True)
class Chance:
    """A number held against its distribution under a null.

    Attributes
    ----------
    observed, expected : float
        Of the data; mean over simulations.
    ratio : float
        ``observed / expected``.
    chance_low, chance_high : float
        The 2.5 % and the 97.5 % quantile of the simulations over ``expected``: ratios between them
        are what chance gives. The ratio lies between them exactly where the p-value is above 0.05
        (from 39 simulations on).
    p_value : float
        Two-sided.
    reason : str
        Why there is no number; empty when there is one.
    """

    observed: float = float("nan")
    expected: float = float("nan")
    ratio: float = float("nan")
    chance_low: float = float("nan")
    chance_high: float = float("nan")
    p_value: float = float("nan")
    reason: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class CsrTest:
    """Points in a mask, held against complete spatial randomness.

    Attributes
    ----------
    distance : Chance
        Median distance to the landmark, µm.
    nearest : Chance
        Mean distance to the nearest other point, µm.
    neighbours : Chance
        K at ``pair_radius_um``, within which random points have one neighbour on average.
    p_value : float
        Of all curves as one, by extreme rank length; NaN with ``reason``.
    distance_curve, nearest_curve, pair_curve : Envelope or None
        Distribution functions of the first two, K; None where ``reason`` of the number says why.
    distances_um, nearest_radii_um, pair_radii_um : ndarray
        Where the curves are evaluated; chosen from mask and number of points only.
    pair_radius_um : float, µm
    n_points, n_outside, n_simulations : int
        Points in the mask; those outside it, left out.
    hypothesis, unit, reason : str
    """

    distance: Chance
    nearest: Chance
    neighbours: Chance
    p_value: float
    distance_curve: Envelope | None
    nearest_curve: Envelope | None
    pair_curve: Envelope | None
    distances_um: FloatArray
    nearest_radii_um: FloatArray
    pair_radii_um: FloatArray
    pair_radius_um: float
    n_points: int
    n_outside: int
    n_simulations: int
    hypothesis: str
    unit: str = UNIT
    reason: str = ""


def csr_test(
    points_um: npt.ArrayLike,
    mask: npt.ArrayLike,
    spacing_um: Spacing,
    distance_map_um: npt.ArrayLike | None = None,
    *,
    rng: Seed,
    weights: npt.ArrayLike | None = None,
    hard_core_um: float | Sequence[float] | None = None,
    hard_core_spread: float = 0.0,
    covariance: SetCovariance | None = None,
    pair_radii_um: npt.ArrayLike | None = None,
    n_simulations: int = 999,
    alpha: float = 0.05,
) -> CsrTest:
    """How near to a landmark, and to each other, points lie beside random ones in the same mask.

    Parameters
    ----------
    points_um : array_like, shape (n, d), µm
    mask : array_like, shape (y, x) or (z, y, x)
        Where puncta can be, such as the cytosol.
    spacing_um : sequence or mapping of float, µm
    distance_map_um : array_like, shape of the mask, µm, optional
        Distance to a landmark, such as the nucleus; without it the distance is not tested.
    rng : Generator, int or None
    weights : array_like, shape of the mask, optional
        Relative density under the null, such as how well puncta are detected at each depth.
    hard_core_um : float or sequence of float, µm, optional
        Random points are no nearer to each other than this, in all directions or along each axis
        (:func:`hard_core_points`): two spots within the resolution are seen as one.
    hard_core_spread : float, default 0
        SD of that distance as a share of it, from point to point.
    covariance : SetCovariance, optional
        Of the mask, if it is at hand.
    pair_radii_um : array_like, optional
        Ascending radii of K; by default 20 up to that at which half of the mask is shared or 30
        neighbours are expected.
    n_simulations : int, default 999
        With 199 or 999 the two-sided p-values of the numbers reach 0.05 and 0.01 exactly; other
        numbers make them conservative.
    alpha : float, default 0.05
        Of the envelopes.

    Returns
    -------
    CsrTest

    Raises
    ------
    AxisMismatchError, CalibrationError, InputError
        If what was given makes no sense, or so many points do not fit with the hard core. Too few
        points are no error: numbers are NaN with a reason.

    Notes
    -----
    Each simulated point keeps the place of an observed one within its voxel, so that positions on
    the voxel grid are compared with positions on the grid (not with a hard core). Curves are left
    without edge correction (K: isotropised translation correction), the same for data and
    simulations. The p-values of the three numbers are not corrected for their being three;
    ``p_value`` is one test.

    Rejection says only that the points are not random in this mask. Rates under the null:
    ``benchmarks/results/calibration_points.csv``.

    Examples
    --------
    >>> mask, spacing = np.ones((10, 30, 30)), (0.3, 0.1, 0.1)
    >>> points = random_points(60, mask, spacing, 1)[0]
    >>> found = csr_test(points, mask, spacing, rng=0, n_simulations=199)
    >>> found.p_value > 0.05, round(found.neighbours.ratio, 1), found.distance.reason
    (True, 1.0, 'no distance map was given')
    """
    inside, spacing = checked_mask(mask, spacing_um)
    given = checked_points(points_um, inside.ndim)
    kept = points_inside(given, inside, spacing)
    points = given[kept]
    n_sets = whole_number("n_simulations", n_simulations, 19)
    field = None if distance_map_um is None else _field(distance_map_um, inside)
    measures: dict[str, Measure] = {}
    if field is not None and len(points):
        measures["distance"] = _Distance(field, inside, spacing, weights)
    if len(points) > 1:
        measures["nearest"] = _Nearest(len(points), inside, spacing)
        measures["neighbours"] = _Neighbours(
            len(points), inside, spacing, covariance, pair_radii_um
        )
    patterns = _with_simulations(
        points,
        inside,
        spacing,
        np.random.default_rng(rng),
        weights,
        hard_core_um if len(points) > 1 else None,
        hard_core_spread,
        n_sets if measures else 0,
    )
    found = _measured(measures, patterns)
    curves = {
        name: global_envelope(curve[0], curve[1:], alpha=alpha)
        for name, (_, curve) in found.items()
    }
    why = "there are no points in the mask" if not len(points) else "there is only one point"
    reasons = {
        "distance": "no distance map was given" if field is None else why,
        "nearest": why,
        "neighbours": why,
    }
    numbers = {
        name: held_against_chance(found[name][0]) if name in found else Chance(reason=reason)
        for name, reason in reasons.items()
    }
    pairs = measures.get("neighbours")
    return CsrTest(
        distance=numbers["distance"],
        nearest=numbers["nearest"],
        neighbours=numbers["neighbours"],
        p_value=_whole(list(found.values()), alpha),
        distance_curve=curves.get("distance"),
        nearest_curve=curves.get("nearest"),
        pair_curve=curves.get("neighbours"),
        distances_um=_places(measures, "distance"),
        nearest_radii_um=_places(measures, "nearest"),
        pair_radii_um=_places(measures, "neighbours"),
        pair_radius_um=pairs.radius if isinstance(pairs, _Neighbours) else float("nan"),
        n_points=len(points),
        n_outside=int(np.count_nonzero(~kept)),
        n_simulations=n_sets,
        hypothesis=_in_words(weights is not None, hard_core_um, hard_core_spread),
        reason="" if found else why,
    )


# --- what is measured of each pattern ---------------------------------------------------------


class Measure(Protocol):
    """A number and a curve of each of many patterns."""

    at_um: FloatArray

    def __call__(self, patterns: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Shape (s, n, d) to (s,) and (s, m)."""
        ...


class _Distance:
    """Distance to the landmark: median, distribution function at quantiles of the mask's voxels."""

    def __init__(
        self,
        field: FloatArray,
        inside: BoolArray,
        spacing: FloatArray,
        weights: npt.ArrayLike | None,
    ) -> None:
        self._field, self._spacing = field, spacing
        values = field[inside]
        order = np.argsort(values)
        share = np.ones(len(values)) if weights is None else checked_weights(weights, inside)
        below = np.cumsum(share[order])
        at = np.searchsorted(below, _LEVELS * below[-1])
        self.at_um = np.unique(values[order[at]])

    def __call__(self, patterns: FloatArray) -> tuple[FloatArray, FloatArray]:
        away = field_at_points(patterns, self._field, self._spacing)
        return np.median(away, axis=1), ecdf(away, self.at_um)


class _Nearest:
    """Distance to the nearest other point: mean, distribution function at quantiles in the open."""

    def __init__(self, n: int, inside: BoolArray, spacing: FloatArray) -> None:
        volume = np.count_nonzero(inside) * spacing.prod()
        ball = _UNIT_BALL[inside.ndim]
        self.at_um = (-np.log1p(-_LEVELS) * volume / n / ball) ** (1 / inside.ndim)

    def __call__(self, patterns: FloatArray) -> tuple[FloatArray, FloatArray]:
        away = nearest_neighbour_distances(patterns)
        return away.mean(axis=1), ecdf(away, self.at_um)


class _Neighbours:
    """Ripley's K: at the radius within which random points have one neighbour, and all radii."""

    def __init__(
        self,
        n: int,
        inside: BoolArray,
        spacing: FloatArray,
        covariance: SetCovariance | None,
        radii_um: npt.ArrayLike | None,
    ) -> None:
        volume = float(np.count_nonzero(inside) * spacing.prod())
        one = (volume / (n - 1) / _UNIT_BALL[inside.ndim]) ** (1 / inside.ndim)
        furthest = one * _NEIGHBOURS ** (1 / inside.ndim)
        given = None if radii_um is None else np.atleast_1d(np.asarray(radii_um, np.float64))
        if covariance is None:
            reach = furthest if given is None or not given.size else float(given.max())
            covariance = set_covariance(inside, spacing, reach_um=reach)
        elif covariance.ndim != inside.ndim or not np.isclose(covariance.volume, volume):
            raise InputError("covariance: expected that of this mask, found that of another")
        if given is None:
            furthest = min(furthest, covariance.length_sharing(_SHARED))
            given = furthest * np.arange(1, _N_RADII + 1) / _N_RADII
        self.at_um, self._covariance = given, covariance
        self._at_one = int(np.argmin(np.abs(given - one)))
        self.radius = float(given[self._at_one])

    def __call__(self, patterns: FloatArray) -> tuple[FloatArray, FloatArray]:
        k = ripley_k(patterns, self.at_um, self._covariance)
        return k[:, self._at_one], k


def _field(distance_map_um: npt.ArrayLike, inside: BoolArray) -> FloatArray:
    field = np.asarray(distance_map_um, dtype=np.float64)
    if field.shape != inside.shape:
        raise AxisMismatchError(
            f"distance_map_um: expected the mask's shape {inside.shape}, found {field.shape}"
        )
    if not np.isfinite(field).all():
        raise InputError(
            "distance_map_um: expected finite distances, inside the mask and around it, "
            "found NaN or infinity"
        )
    return field


def _with_simulations(
    points: FloatArray,
    inside: BoolArray,
    spacing: FloatArray,
    rng: np.random.Generator,
    weights: npt.ArrayLike | None,
    hard_core_um: float | Sequence[float] | None,
    spread: float,
    n_simulations: int,
) -> Iterator[FloatArray]:
    """The pattern itself, then batches of simulated ones."""
    yield points[None]
    batch = max(1, _BATCH // max(len(points), 1))
    for done in range(0, n_simulations, batch):
        size = min(batch, n_simulations - done)
        if hard_core_um is None:
            yield random_points(points, inside, spacing, rng, weights=weights, n_simulations=size)
        else:
            yield hard_core_points(
                points,
                inside,
                spacing,
                rng,
                distance_um=hard_core_um,
                spread=spread,
                weights=weights,
                n_simulations=size,
            )


def _in_words(weighted: bool, hard_core_um: float | Sequence[float] | None, spread: float) -> str:
    where = "in proportion to the weights" if weighted else "evenly"
    if hard_core_um is None:
        return HYPOTHESIS.format(where=where)
    lengths = np.atleast_1d(np.asarray(hard_core_um, dtype=np.float64))
    return APART.format(
        where=where,
        about="about " if spread else "",
        apart=" × ".join(f"{length:.3g}" for length in lengths),
    )


def _measured(
    measures: dict[str, Measure], patterns: Iterator[FloatArray]
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Numbers and curves of all patterns, those of the data first."""
    parts: dict[str, list[tuple[FloatArray, FloatArray]]] = {name: [] for name in measures}
    for batch in patterns:
        for name, measure in measures.items():
            parts[name].append(measure(batch))
    return {
        name: (np.concatenate([n for n, _ in part]), np.concatenate([c for _, c in part]))
        for name, part in parts.items()
    }


def held_against_chance(values: npt.ArrayLike) -> Chance:
    """A number beside the same number of simulated patterns.

    Parameters
    ----------
    values : array_like, shape (1 + s,)
        That of the data first.

    Returns
    -------
    Chance

    Raises
    ------
    InputError
        If there is no simulation, or a value is not finite.

    Examples
    --------
    >>> found = held_against_chance([5.0, *range(39)])
    >>> found.ratio.__round__(3), found.p_value
    (0.263, 0.35)
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2 or not np.isfinite(found).all():
        raise InputError(
            "values: expected a finite number and those of at least one simulation, found "
            f"shape {found.shape}"
        )
    observed, chance = float(found[0]), found[1:]
    n_low, n_high = np.count_nonzero(chance <= observed), np.count_nonzero(chance >= observed)
    expected = float(chance.mean())
    # The first and last simulation beyond which p is at most 0.05.
    k = max(1, int(0.025 * len(found)))
    low, high = np.sort(chance)[[k - 1, -k]]
    return Chance(
        observed=observed,
        expected=expected,
        ratio=_over(observed, expected),
        chance_low=_over(float(low), expected),
        chance_high=_over(float(high), expected),
        p_value=min(1.0, 2 * (int(min(n_low, n_high)) + 1) / len(found)),
    )


def _over(observed: float, expected: float) -> float:
    if expected > 0:
        return observed / expected
    return float("inf") if observed > 0 else float("nan")


def _whole(found: list[tuple[FloatArray, FloatArray]], alpha: float) -> float:
    if not found:
        return float("nan")
    curves = np.concatenate([curve for _, curve in found], axis=1)
    return global_envelope(curves[0], curves[1:], alpha=alpha).p_value


def _places(measures: dict[str, Measure], name: str) -> FloatArray:
    return measures[name].at_um if name in measures else np.empty(0)
