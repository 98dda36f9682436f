from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from aequorea.stats.effect_size import detectable_difference, hedges_g, ratio_of_means
from aequorea.stats.t_tests import paired, welch

A, B = np.array([1.2, 3.4, 2.2, 2.9]), np.array([4.1, 3.0, 6.5, 5.2, 5.0])


def pooled(a, b):
    df = len(a) + len(b) - 2
    return np.sqrt(((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / df), df


def test_g_is_the_difference_in_standard_deviations():
    spread, df = pooled(A, B)
    unbiased = special.gamma(df / 2) / (np.sqrt(df / 2) * special.gamma((df - 1) / 2))
    found = hedges_g(A, B)
    assert found.value == pytest.approx(unbiased * (B.mean() - A.mean()) / spread)
    assert hedges_g(B, A).value == pytest.approx(-found.value)
    assert (hedges_g(B, A).low, hedges_g(B, A).high) == pytest.approx((-found.high, -found.low))


def test_limits_of_g_are_those_of_the_non_central_t():
    spread, df = pooled(A, B)
    error = np.sqrt(1 / 4 + 1 / 5)
    t = (B.mean() - A.mean()) / spread / error
    found = hedges_g(A, B, confidence=0.9)
    assert stats.nct.cdf(t, df, found.low / error) == pytest.approx(0.95, abs=1e-5)
    assert stats.nct.cdf(t, df, found.high / error) == pytest.approx(0.05, abs=1e-5)


def test_paired_g_is_in_standard_deviations_of_changes():
    changes = B[:4] - A
    found = hedges_g(A, B[:4], paired=True)
    d = changes.mean() / changes.std(ddof=1)
    assert 0 < found.value < d
    assert stats.nct.cdf(2 * d, 3, 2 * found.low) == pytest.approx(0.975, abs=1e-5)


def test_g_is_unbiased_where_cohens_d_is_not():
    rng = np.random.default_rng(0)
    found = [hedges_g(rng.standard_normal(4), 1 + rng.standard_normal(4)).value for _ in range(800)]
    assert np.mean(found) == pytest.approx(1.0, abs=3 * np.std(found) / np.sqrt(800))


@pytest.mark.parametrize("far", [3.0, 30.0, 1000.0])
def test_large_effects_have_limits_too(far):
    found = hedges_g(A, A + far * A.std(ddof=1))
    assert found.low < found.value < found.high
    assert np.isfinite([found.low, found.high]).all()


def test_g_without_variation_or_animals_says_why():
    assert hedges_g([1.0, 1.0], [2.0, 2.0]).reason == "animals do not vary"
    assert "2 needed" in hedges_g([1.0], [2.0, 3.0]).reason
    assert "no mean" in hedges_g([1.0, 2.0], [3.0, 5.0], paired=True).reason


@pytest.mark.parametrize(("test", "is_paired"), [(welch, False), (paired, True)])
@pytest.mark.parametrize("confidence", [0.8, 0.99])
def test_a_ratio_is_a_limit_where_the_test_just_rejects(test, is_paired, confidence):
    found = ratio_of_means(A, B[:4], paired=is_paired, confidence=confidence)
    assert found.value == pytest.approx(B[:4].mean() / A.mean())
    for limit in (found.low, found.high):
        if np.isfinite(limit) and limit > 0:
            at = test(A, B[:4], ratio=limit).p_value
            assert at == pytest.approx(1 - confidence, rel=1e-4)


def test_ratios_are_free_of_units_and_have_no_end_where_nothing_is_certain():
    here, there = ratio_of_means(A, B), ratio_of_means(1e-3 * A, 1e-3 * B)
    assert (here.low, here.high) == pytest.approx((there.low, there.high))
    open_ended = ratio_of_means([0.01, 5.0], [3.0, 4.0])
    assert open_ended.high == np.inf
    assert "positive" in ratio_of_means([0.0, 1.0], [1.0, 2.0]).reason
    assert "vary" in ratio_of_means([2.0, 2.0], [3.0, 3.0]).reason
    assert ratio_of_means([2.0], [3.0, 4.0]).value == pytest.approx(1.75)


@pytest.mark.parametrize(("df", "power"), [(2.0, 0.8), (4.0, 0.8), (10.0, 0.9), (60.0, 0.8)])
def test_detectable_difference_has_the_power_it_says(df, power):
    found = detectable_difference(0.5, df, power=power)
    critical = stats.t.isf(0.025, df)
    assert stats.nct.sf(critical, df, found / 0.5) == pytest.approx(power, abs=1e-4)
