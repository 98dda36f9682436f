from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, special, stats

from aequorea.stats.beta_binomial import BetaBinomialPair, _digamma, _slope

XA, NA = np.array([20.0, 31, 24, 60]), np.array([100.0, 120, 110, 150])
XB, NB = np.array([52.0, 41, 60]), np.array([105.0, 98, 121])


@pytest.mark.parametrize("x", [1e-3, 0.3, 1.0, 7.5, 10.0, 1e4, 1e7])
def test_digamma_and_trigamma_agree_with_scipy(x):
    first, second = _digamma(x)
    assert first == pytest.approx(special.digamma(x), rel=1e-10)
    assert second == pytest.approx(special.polygamma(1, x), rel=1e-10)


@pytest.mark.parametrize("r", [0.0, 1e-4, 0.1, 0.8])
def test_slopes_are_derivatives_of_the_distribution_of_scipy(r):
    def value(m):
        if r == 0:
            return stats.binom.logpmf(XA, NA, m).sum()
        s = 1 / r - 1
        return stats.betabinom.logpmf(XA, NA, m * s, (1 - m) * s).sum()

    step = 1e-4
    first, second = _slope(0.3, r, XA, NA)
    up, here, down = value(0.3 + step), value(0.3), value(0.3 - step)
    assert first == pytest.approx((up - down) / (2 * step), rel=1e-3)
    assert second == pytest.approx((up - 2 * here + down) / step**2, rel=1e-2)


@pytest.mark.parametrize("difference", [0.0, 0.1, -0.2])
def test_likelihood_ratio_equals_a_general_optimiser(difference):
    def loss(parameters, free):
        a, r = special.expit(parameters[:2])
        b = special.expit(parameters[2]) if free else a + difference
        if not 0 < b < 1:
            return 1e9
        s = 1 / r - 1
        return -sum(
            stats.betabinom.logpmf(x, n, m * s, (1 - m) * s).sum()
            for x, n, m in ((XA, NA, a), (XB, NB, b))
        )

    options = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000, "maxfev": 4000}
    free = optimize.minimize(
        loss, [-1.0, -3.0, 0.0], (True,), method="Nelder-Mead", options=options
    )
    held = optimize.minimize(loss, [-1.0, -3.0], (False,), method="Nelder-Mead", options=options)
    pair = BetaBinomialPair(XA, NA, XB, NB)
    assert pair.likelihood_ratio(difference) == pytest.approx(2 * (held.fun - free.fun), abs=1e-5)


def test_many_cells_give_students_t_of_the_fractions():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 0.02, 5), rng.normal(0.43, 0.02, 5)
    n = np.full(5, 1e6)
    p = BetaBinomialPair(np.rint(a * n), n, np.rint(b * n), n).p_value()
    assert p == pytest.approx(stats.ttest_ind(a, b).pvalue, rel=0.03)


def test_interval_holds_the_differences_that_are_not_rejected():
    pair = BetaBinomialPair(XA, NA, XB, NB)
    low, high = pair.interval(0.95)
    critical = stats.t.isf(0.025, pair.df)
    for end in (low, high):
        ratio = pair.likelihood_ratio(end)
        assert np.sqrt(pair.df * np.expm1(ratio / 7)) == pytest.approx(critical, abs=1e-3)
    assert (low > 0 or high < 0) == (pair.p_value() < 0.05)
    swapped = BetaBinomialPair(XB, NB, XA, NA)
    assert swapped.p_value() == pytest.approx(pair.p_value())
    assert swapped.interval(0.95) == pytest.approx((-high, -low), abs=1e-5)


def test_no_and_all_positive_cells_are_finite():
    n = np.full(3, 50.0)
    pair = BetaBinomialPair(np.zeros(3), n, np.array([5.0, 9, 7]), n)
    low, high = pair.interval(0.95)
    assert 0 < pair.p_value() < 0.05
    assert 0 < low < 0.14 < high < 1
    full = BetaBinomialPair(n, n, n - [5, 9, 7], n)
    assert full.p_value() == pytest.approx(pair.p_value(), rel=1e-6)
