"""Whether a curve is like those of the null, at all of its points at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import stats

from aequorea.errors import AxisMismatchError, InputError

__all__ = ["Envelope", "global_envelope"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Alternative = Literal["two-sided", "greater", "less"]
Method = Literal["erl", "rank", "mad", "studentised"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Envelope:
    """A curve, the band in which a curve of the null stays as a whole, and the test it is.

    Attributes
    ----------
    observed, central, low, high : ndarray, shape (m,)
        The curve; mean of it and those of the null; bounds of the band, infinite on the side that
        a one-sided test does not look at.
    outside : ndarray of bool, shape (m,)
        Where the curve leaves the band: what the rejection is owed to.
    p_value : float
        Of the curve as a whole.
    p_interval : tuple of float
        Least and largest p-value that ties between curves allow; for "erl" those of the extreme
        ranks without the order within ties, between which its p-value lies.
    alpha : float
        One minus the level of the band: without ties between curves, ``outside`` has a True
        exactly if ``p_value <= alpha``.
    alternative, method : str
    n_simulations : int
    """

    observed: FloatArray
    central: FloatArray
    low: FloatArray
    high: FloatArray
    outside: BoolArray
    p_value: float
    p_interval: tuple[float, float]
    alpha: float
    alternative: str
    method: str
    n_simulations: int


def global_envelope(
    observed: npt.ArrayLike,
    simulated: npt.ArrayLike,
    *,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
    method: Method = "erl",
) -> Envelope:
    """Test a whole curve against simulated ones, and draw the band that is the test.

    Parameters
    ----------
    observed : array_like, shape (m,)
    simulated : array_like, shape (n, m)
        Curves under the null, computed exactly as the observed one.
    alpha : float, default 0.05
        Level of the band.
    alternative : {"two-sided", "greater", "less"}, default "two-sided"
        "greater": the observed curve lies above.
    method : {"erl", "rank", "mad", "studentised"}, default "erl"
        How extreme a curve is:
        "erl" its pointwise ranks, the most extreme first (extreme rank length);
        "rank" the most extreme of them only, with many ties below some 2000 simulations;
        "mad" its largest deviation from the mean of all curves;
        "studentised" the same in standard deviations at each point.

    Returns
    -------
    Envelope

    Raises
    ------
    AxisMismatchError
        If curves differ in length.
    InputError
        If a curve is not finite, or ``alpha`` is below what the number of simulations resolves,
        1 / (n + 1).

    Notes
    -----
    Every measure treats the n + 1 curves alike. So if the observed curve comes from the null, all
    places of it among them are equally likely and p = (number of curves at least as extreme,
    itself included) / (n + 1) is at most any multiple a of 1 / (n + 1) with probability a:
    exactly without ties, at most with them. "rank" gives the largest p-value that its ties allow.
    "mad" ties where many curves are still 0: L of 60 points rejected 1.9 % at 5 %, as all curves
    without a pair within the smallest radii share their largest deviation.
    The band is the hull of the curves with p above ``alpha``.

    "erl" weighs all points of the curve alike, whatever their units and spread, so that curves of
    different statistics can be joined end to end. Points at which all curves agree do not count.
    Cost O(n m log n).

    References
    ----------
    .. [1] Myllymäki, Mrkvička, Grabarnik, Seijo & Hahn (2017) doi:10.1111/rssb.12172
    .. [2] Mrkvička, Myllymäki, Jílek & Hahn (2020) doi:10.14736/kyb-2020-3-0432
    .. [3] Ripley (1977) doi:10.1111/j.2517-6161.1977.tb01615.x

    Examples
    --------
    >>> simulated = np.random.default_rng(0).normal(size=(199, 20))
    >>> found = global_envelope(np.linspace(0, 5, 20), simulated)
    >>> found.p_value, int(found.outside.sum())
    (0.005, 9)
    """
    curves = _curves(observed, simulated)
    n = len(curves)
    for name, value, known in (
        ("alternative", alternative, get_args(Alternative)),
        ("method", method, get_args(Method)),
    ):
        if value not in known:
            raise InputError(f"{name}: expected one of {', '.join(known)}, found {value!r}")
    if not 1 / n <= alpha * (1 + 1e-12) < 1:
        raise InputError(
            f"alpha: expected at least 1/{n} with {n - 1} simulations and below 1, found {alpha!r}"
        )
    central = curves.mean(axis=0)
    if method in ("mad", "studentised"):
        scale = _spread(curves) if method == "studentised" else np.ones(len(central))
        deviation = _signed(curves - central, alternative)
        extreme = np.divide(deviation, scale, out=np.zeros_like(deviation), where=scale > 0)
        at_least, more = _counts(-extreme.max(axis=1))
        p = at_least / n
        reach = float(extreme.max(axis=1)[p > alpha].max()) * scale
        low, high = central - reach, central + reach
        interval = ((more[0] + 1) / n, float(p[0]))
    else:
        ranks = _extreme_ranks(curves, alternative)
        by_rank, more = _counts(ranks.min(axis=1).astype(np.float64))
        at_least = by_rank if method == "rank" else _lexical(np.sort(ranks, axis=1))
        p = at_least / n
        kept = curves[p > alpha]
        low, high = kept.min(axis=0), kept.max(axis=0)
        interval = ((more[0] + 1) / n, float(by_rank[0] / n))
    if alternative == "greater":
        low = np.full_like(low, -np.inf)
    elif alternative == "less":
        high = np.full_like(high, np.inf)
    return Envelope(
        observed=curves[0],
        central=central,
        low=low,
        high=high,
        outside=_beyond(curves[0], low, high),
        p_value=float(p[0]),
        p_interval=(float(interval[0]), interval[1]),
        alpha=float(alpha),
        alternative=alternative,
        method=method,
        n_simulations=n - 1,
    )


def _curves(observed: npt.ArrayLike, simulated: npt.ArrayLike) -> FloatArray:
    one, many = np.asarray(observed, np.float64), np.asarray(simulated, np.float64)
    if one.ndim != 1 or many.ndim != 2 or many.shape[1] != len(one):
        raise AxisMismatchError(
            "simulated: expected curves of shape (n, m) and an observed one of shape (m,), "
            f"found {many.shape} and {one.shape}"
        )
    if not many.size:
        raise InputError(f"simulated: expected at least one curve and point, found {many.shape}")
    curves = np.concatenate([one[None], many])
    if not np.isfinite(curves).all():
        bad = int((~np.isfinite(curves)).any(axis=1).sum())
        raise InputError(
            f"curves: expected finite values, found NaN or infinity in {bad} of {len(curves)}; "
            "leave out the points at which the statistic is undefined"
        )
    return curves


def _signed(deviation: FloatArray, alternative: str) -> FloatArray:
    """Deviation in the direction that counts."""
    if alternative == "two-sided":
        return np.abs(deviation)
    return deviation if alternative == "greater" else -deviation


def _spread(curves: FloatArray) -> FloatArray:
    """Standard deviation at each point; 0 where curves differ by rounding only."""
    spread: FloatArray = curves.std(axis=0)
    return np.where(spread > 1e-12 * np.abs(curves).max(axis=0), spread, 0.0)


def _extreme_ranks(curves: FloatArray, alternative: str) -> IntArray:
    """Twice the rank of each curve at each point from the extreme end; ties share a middle rank."""
    from_low = np.rint(2 * stats.rankdata(curves, axis=0)).astype(np.int64)
    from_high = 2 * (len(curves) + 1) - from_low
    if alternative == "two-sided":
        return np.minimum(from_low, from_high)
    return from_high if alternative == "greater" else from_low


def _counts(measure: FloatArray) -> tuple[IntArray, IntArray]:
    """For each curve how many are at least as extreme (itself too), and how many are more so."""
    ordered = np.sort(measure)
    at_least = np.searchsorted(ordered, measure, side="right")
    return at_least.astype(np.int64), np.searchsorted(ordered, measure).astype(np.int64)


def _lexical(ranks: IntArray) -> IntArray:
    """For each row how many rows come no later in the order of a dictionary."""
    order = np.lexsort(ranks.T[::-1])
    ordered = ranks[order]
    differs = (ordered[1:] != ordered[:-1]).any(axis=1)
    last = np.append(np.flatnonzero(differs), len(ranks) - 1)  # of each group of equal rows
    group = np.concatenate([[0], np.cumsum(differs)])
    out = np.empty(len(ranks), np.int64)
    out[order] = last[group] + 1
    return out


def _beyond(observed: FloatArray, low: FloatArray, high: FloatArray) -> BoolArray:
    slack = 1e-12 * np.maximum(1e-300, np.abs(observed))
    outside: BoolArray = (observed < low - slack) | (observed > high + slack)
    return outside
