"""Positive fractions that vary between animals: maximum likelihood of the beta-binomial.

Animal i has x of n positive cells and its own fraction, drawn from a beta distribution with mean
m and overdispersion r (the correlation of two cells of one animal): alpha = m (1 − r) / r and
beta = (1 − m) (1 − r) / r. At r = 0 the counts are binomial.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import optimize, stats

FloatArray = npt.NDArray[np.float64]

_EDGE = 1e-9


@njit(cache=True, nogil=True)
def _digamma(x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Derivative of log gamma and its derivative, x > 0: recurrence, then asymptotic series."""
    first, second = 0.0, 0.0
    while x < 10.0:
        first -= 1.0 / x
        second += 1.0 / (x * x)
        x += 1.0
    y = 1.0 / (x * x)
    first += math.log(x) - 0.5 / x - y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y / 240)))
    second += 1.0 / x + 0.5 * y + y / x * (1 / 6 - y * (1 / 30 - y * (1 / 42 - y / 30)))
    return first, second


@njit(cache=True, nogil=True)
def _log_likelihood(m, r, x, n):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Without the terms that do not depend on m and r."""
    total = 0.0
    if r <= 0.0:
        for i in range(x.size):
            total += x[i] * math.log(m) + (n[i] - x[i]) * math.log1p(-m)
        return total
    s = (1.0 - r) / r
    a, b = m * s, (1.0 - m) * s
    constant = math.lgamma(s) - math.lgamma(a) - math.lgamma(b)
    for i in range(x.size):
        total += math.lgamma(x[i] + a) + math.lgamma(n[i] - x[i] + b) - math.lgamma(n[i] + s)
    return total + x.size * constant


@njit(cache=True, nogil=True)
def _slope(m, r, x, n):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """First and second derivative of the log-likelihood by m (concave in m)."""
    first, second = 0.0, 0.0
    if r <= 0.0:
        for i in range(x.size):
            first += x[i] / m - (n[i] - x[i]) / (1 - m)
            second -= x[i] / (m * m) + (n[i] - x[i]) / ((1 - m) * (1 - m))
        return first, second
    s = (1.0 - r) / r
    a, b = m * s, (1.0 - m) * s
    a1, a2 = _digamma(a)
    b1, b2 = _digamma(b)
    for i in range(x.size):
        u1, u2 = _digamma(x[i] + a)
        v1, v2 = _digamma(n[i] - x[i] + b)
        first += s * ((u1 - a1) - (v1 - b1))
        second += s * s * ((u2 - a2) + (v2 - b2))
    return first, second


@njit(cache=True, nogil=True)
def _best_mean(r, xa, na, xb, nb, shift):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Mean m of a, that of b being m + shift, and the log-likelihood there."""
    low, high = max(1e-9, 1e-9 - shift), min(1 - 1e-9, 1 - 1e-9 - shift)
    m = 0.5 * (low + high)
    for _ in range(60):
        f1, f2 = _slope(m, r, xa, na)
        if xb.size:
            g1, g2 = _slope(m + shift, r, xb, nb)
            f1, f2 = f1 + g1, f2 + g2
        if f1 > 0:
            low = m
        else:
            high = m
        step = m - f1 / f2 if f2 < 0 else 0.5 * (low + high)
        if not (low < step < high):
            step = 0.5 * (low + high)
        if abs(step - m) < 1e-12:
            m = step
            break
        m = step
    value = _log_likelihood(m, r, xa, na)
    if xb.size:
        value += _log_likelihood(m + shift, r, xb, nb)
    return value


@njit(cache=True, nogil=True)
def _profile(r, xa, na, xb, nb, tied, fixed):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Log-likelihood at r, of the best means or, if ``tied``, of those with b − a = fixed."""
    if tied:
        return _best_mean(r, xa, na, xb, nb, fixed)
    none = np.zeros(0)
    return _best_mean(r, xa, na, none, none, 0.0) + _best_mean(r, xb, nb, none, none, 0.0)


@njit(cache=True, nogil=True)
def _maximum(xa, na, xb, nb, tied, fixed):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Largest log-likelihood over the overdispersion: coarse in logit r, then golden section."""
    best = _profile(0.0, xa, na, xb, nb, tied, fixed)
    lowest, highest = math.log(1e-6), math.log(0.99 / 0.01)
    n_coarse = 24
    at, top = 0, -np.inf
    for k in range(n_coarse + 1):
        u = lowest + (highest - lowest) * k / n_coarse
        value = _profile(1 / (1 + math.exp(-u)), xa, na, xb, nb, tied, fixed)
        if value > top:
            at, top = k, value
    low = lowest + (highest - lowest) * max(0, at - 1) / n_coarse
    high = lowest + (highest - lowest) * min(n_coarse, at + 1) / n_coarse
    golden = 0.6180339887498949
    c, d = high - golden * (high - low), low + golden * (high - low)
    fc = _profile(1 / (1 + math.exp(-c)), xa, na, xb, nb, tied, fixed)
    fd = _profile(1 / (1 + math.exp(-d)), xa, na, xb, nb, tied, fixed)
    for _ in range(24):
        if fc > fd:
            high, d, fd = d, c, fc
            c = high - golden * (high - low)
            fc = _profile(1 / (1 + math.exp(-c)), xa, na, xb, nb, tied, fixed)
        else:
            low, c, fc = c, d, fd
            d = low + golden * (high - low)
            fd = _profile(1 / (1 + math.exp(-d)), xa, na, xb, nb, tied, fixed)
    return max(best, top, fc, fd)


@dataclass(frozen=True)
class BetaBinomialPair:
    """Two conditions with one overdispersion: a likelihood-ratio test on animals.

    Attributes
    ----------
    xa, na, xb, nb : ndarray, shapes (a,), (a,), (b,), (b,)
        Positive cells and cells of each animal.

    Notes
    -----
    The likelihood ratio L of N animals is turned into ``t² = (N − 2) (exp(L / N) − 1)`` and held
    against Student's t with N − 2 degrees of freedom. Where animals differ by more than the
    counting of cells this is Student's test of the fractions (exactly so for normal ones), so
    that few animals are paid for; where they do not, it is conservative. L against chi-square is
    not: it rejects far too often with 3 to 6 animals.
    """

    xa: FloatArray
    na: FloatArray
    xb: FloatArray
    nb: FloatArray

    @property
    def n_animals(self) -> int:
        """Animals of both conditions."""
        return len(self.xa) + len(self.xb)

    @property
    def df(self) -> int:
        """Degrees of freedom: animals less two means."""
        return self.n_animals - 2

    def likelihood_ratio(self, difference: float = 0.0) -> float:
        """Twice the log-likelihood lost if b − a is ``difference``."""
        return self._lost(difference)

    def p_value(self) -> float:
        """Two-sided, for equal means."""
        return float(2 * stats.t.sf(self._t(self.likelihood_ratio()), self.df))

    def interval(self, confidence: float) -> tuple[float, float]:
        """Differences b − a that the test does not reject."""
        centre = self.xb.sum() / self.nb.sum() - self.xa.sum() / self.na.sum()
        return self._accepted(centre, (-1 + 4 * _EDGE, 1 - 4 * _EDGE), confidence)

    def _lost(self, fixed: float) -> float:
        data = (self.xa, self.na, self.xb, self.nb)
        free = _maximum(*data, False, 0.0)
        return max(0.0, float(2 * (free - _maximum(*data, True, fixed))))

    def _t(self, ratio: float) -> float:
        return math.sqrt(self.df * math.expm1(min(ratio / self.n_animals, 700.0)))

    def _accepted(
        self, centre: float, bounds: tuple[float, float], confidence: float
    ) -> tuple[float, float]:
        """Where t crosses its critical value, going out from near the estimate."""
        critical = float(stats.t.isf((1 - confidence) / 2, self.df))

        def excess(fixed: float) -> float:
            return self._t(self._lost(fixed)) - critical

        start = min(max(centre, bounds[0]), bounds[1])
        if excess(start) > 0:  # pooled and estimated fractions may lie far apart
            grid = np.linspace(*bounds, 201)
            start = float(grid[np.argmin([excess(value) for value in grid])])
            if excess(start) > 0:
                return math.nan, math.nan
        ends = [
            bound if excess(bound) <= 0 else float(optimize.brentq(excess, start, bound, xtol=1e-6))
            for bound in bounds
        ]
        return ends[0], ends[1]
