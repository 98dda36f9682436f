"""How large a difference between conditions is, and how large it must be to be found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from aequorea.stats.inversion import accepted
from aequorea.stats.t_tests import paired as paired_t
from aequorea.stats.t_tests import welch

if TYPE_CHECKING:
    from collections.abc import Callable

    from aequorea.stats.t_tests import Estimate

#: Logarithm of a ratio that nobody measures.
_FAR = 14.0


@dataclass(frozen=True, kw_only=True)
class EffectSize:
    """A number with its confidence interval.

    Attributes
    ----------
    value, low, high : float
        NaN with a reason.
    reason : str
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    reason: str = ""


def hedges_g(
    a: npt.ArrayLike, b: npt.ArrayLike, *, paired: bool = False, confidence: float = 0.95
) -> EffectSize:
    """Difference b − a in standard deviations of animals, without the bias of few animals.

    Parameters
    ----------
    a, b : array_like, shapes (n,), (m,)
        One value per animal.
    paired : bool, default False
        The same animals in both: the unit is then the standard deviation of their changes.
    confidence : float, default 0.95

    Returns
    -------
    EffectSize
        Interval from the non-central t: it holds for normal animals of equal variance.

    References
    ----------
    .. [1] Hedges (1981), doi:10.3102/10769986006002107
    .. [2] Steiger & Fouladi (1997), ISBN 0-8058-2093-0, pp. 221-257

    Examples
    --------
    >>> found = hedges_g([1.0, 2.0, 3.0], [3.0, 4.0, 5.0])
    >>> round(found.value, 2), round(found.low, 2), round(found.high, 2)
    (1.6, -0.15, 4.02)
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (a, b))
    if min(len(x), len(y)) < 2:
        return EffectSize(reason=f"{min(len(x), len(y))} animals (2 needed)")
    if paired:
        changes = y - x
        difference, spread = float(changes.mean()), float(changes.std(ddof=1))
        df, unit_error = len(x) - 1.0, math.sqrt(1 / len(x))
    else:
        df = len(x) + len(y) - 2.0
        difference = float(y.mean() - x.mean())
        squares = (len(x) - 1) * x.var(ddof=1) + (len(y) - 1) * y.var(ddof=1)
        spread, unit_error = math.sqrt(squares / df), math.sqrt(1 / len(x) + 1 / len(y))
    if spread <= 1e-12 * float(max(np.abs(x).max(), np.abs(y).max())):
        return EffectSize(reason="animals do not vary")
    unbiased = (
        math.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2) - 0.5 * math.log(df / 2))
        if df > 1
        else math.nan
    )
    d = difference / spread
    low, high = (
        unit_error * _noncentrality(d / unit_error, df, tail)
        for tail in ((1 + confidence) / 2, (1 - confidence) / 2)
    )
    if df <= 1:
        return EffectSize(low=low, high=high, reason="one degree of freedom: g has no mean")
    return EffectSize(value=unbiased * d, low=low, high=high)


def _noncentrality(t: float, df: float, probability: float) -> float:
    """That for which a non-central t stays below ``t`` this often."""

    def excess(ncp: float) -> float:
        return float(_below(t, df, ncp)) - probability

    low = high = t
    step = 1.0
    while excess(low) < 0:
        low, step = low - step, 2 * step
    step = 1.0
    while excess(high) > 0:
        high, step = high + step, 2 * step
    return low if low == high else float(optimize.brentq(excess, low, high, xtol=1e-6))


def _below(t: float, df: float, ncp: float) -> float:
    """Distribution of the non-central t, by its own symmetry for negative non-centrality."""
    if ncp < 0:
        return 1 - _below(-t, df, -ncp)
    value = float(special.nctdtr(df, ncp, t))
    return 0.0 if math.isnan(value) and t < ncp else value  # the far lower tail underflows


def ratio_of_means(
    a: npt.ArrayLike, b: npt.ArrayLike, *, paired: bool = False, confidence: float = 0.95
) -> EffectSize:
    """Mean of b over mean of a, of positive values.

    Parameters
    ----------
    a, b : array_like, shapes (n,), (m,)
        One value per animal.
    paired : bool, default False
    confidence : float, default 0.95

    Returns
    -------
    EffectSize
        The interval has the ratios r for which b − r a does not differ from 0 (Fieller); it
        contains 1 just if the t-test finds no difference. It may reach to 0 or to infinity.

    References
    ----------
    .. [1] Fieller (1954), doi:10.1111/j.2517-6161.1954.tb00159.x

    Examples
    --------
    >>> found = ratio_of_means([1.0, 2.0, 3.0], [3.0, 4.0, 5.0])
    >>> found.value, round(found.low, 2)
    (2.0, 0.91)
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (a, b))
    if not (len(x) and len(y)) or min(x.min(), y.min()) <= 0:
        return EffectSize(reason="not all values are positive")
    value = float(y.mean() / x.mean())
    if min(len(x), len(y)) < 2:
        return EffectSize(value=value, reason=f"{min(len(x), len(y))} animals (2 needed)")
    test = paired_t if paired else welch
    return ratio_by(lambda ratio: test(x, y, ratio=ratio), value, confidence)


def ratio_by(
    estimate_at: Callable[[float], Estimate], value: float, confidence: float
) -> EffectSize:
    """Ratios r for which a test does not tell b − r a from 0, out from the estimate."""
    if not estimate_at(value * 1.001).testable:
        return EffectSize(value=value, reason="animals do not vary")
    low, high = accepted(
        lambda log_ratio: estimate_at(value * math.exp(log_ratio)).p_value,
        0.0,
        step=0.1,
        reach=_FAR,
        confidence=confidence,
    )
    return EffectSize(value=value, low=value * math.exp(low), high=value * math.exp(high))


def detectable_difference(
    error: float, df: float, *, power: float = 0.8, confidence: float = 0.95
) -> float:
    """Smallest true difference that a study with this error finds with the given power.

    Parameters
    ----------
    error : float
        Standard error of the difference; it is that of the next study of the same size only as
        well as a few animals tell it.
    df : float
    power : float, default 0.8
    confidence : float, default 0.95
        1 − level of the two-sided t-test; finding the wrong sign does not count as power.

    Examples
    --------
    >>> round(detectable_difference(1.0, 10), 2)
    3.11
    """
    critical = -float(special.stdtrit(df, (1 - confidence) / 2))

    def excess(ncp: float) -> float:
        return 1 - _below(critical, df, ncp) - power

    top = 2 * critical + 10
    while excess(top) < 0:
        top *= 2
    return error * float(optimize.brentq(excess, 0.0, top, xtol=1e-6))
