from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from aequorea.stats.curve_test import curve_test, paired_curve_test, permuted_statistics
from aequorea.stats.permutation import arrangements
from aequorea.stats.t_tests import paired, welch

GRID = np.linspace(0, 4, 9)


def curves(seed, n, shift=0.0):
    rng = np.random.default_rng(seed)
    places = shift + rng.normal(2, 0.5, (n, 1))
    return stats.norm.cdf((GRID - places) / rng.uniform(0.5, 1.0, (n, 1)))


def dense(a, b):
    """The formulae with covariances along the grid."""
    steps = np.full(len(GRID), GRID[1] - GRID[0])
    steps[[0, -1]] /= 2
    root = np.sqrt(steps)
    s = [np.cov((x * root).T) / len(x) for x in (a, b)]
    total = s[0] + s[1]
    trace = np.trace(total)
    difference = (b.mean(axis=0) - a.mean(axis=0)) ** 2 @ steps
    df = trace**2 / np.trace(total @ total)
    error = sum(np.trace(v @ v) / (len(x) - 1) for v, x in zip(s, (a, b), strict=True))
    return difference / trace, df, trace**2 / error


def test_statistic_and_degrees_of_freedom_are_those_of_whole_covariances():
    a, b = curves(0, 4), curves(1, 6, 0.4)
    found, (statistic, df, df_error) = curve_test(a, b, GRID), dense(a, b)
    assert found.statistic == pytest.approx(statistic)
    assert (found.df, found.df_error) == pytest.approx((df, df_error))
    assert found.p_value == pytest.approx(stats.f.sf(statistic, df, df_error))


def test_curves_that_vary_in_one_way_are_numbers():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal(4), rng.standard_normal(5) + 1
    shape = np.sin(GRID)
    found, numbers = curve_test(x[:, None] * shape, y[:, None] * shape, GRID), welch(x, y)
    assert found.p_value == pytest.approx(numbers.p_value)
    assert found.df == pytest.approx(1)
    assert found.df_error == pytest.approx(numbers.df)
    within = paired_curve_test(x[:, None] * shape, y[:4, None] * shape, GRID)
    assert within.p_value == pytest.approx(paired(x, y[:4]).p_value)


def test_finer_grids_see_the_same():
    fine = np.sort(np.concatenate([GRID, (GRID[1:] + GRID[:-1]) / 2]))
    a, b = curves(3, 4), curves(4, 4)
    refined = [np.array([np.interp(fine, GRID, c) for c in x]) for x in (a, b)]
    here, there = curve_test(a, b, GRID), curve_test(*refined, fine)
    assert there.statistic == pytest.approx(here.statistic, rel=0.02)


@pytest.mark.parametrize("test", [curve_test, paired_curve_test])
def test_curves_that_do_not_vary_are_not_tested(test):
    same = np.repeat(curves(0, 1), 3, axis=0)
    found = test(same, np.repeat(curves(1, 1), 3, axis=0), GRID)
    assert not found.testable
    assert np.isnan(found.p_value)


def test_dealt_out_animals_have_the_statistic_of_their_arrangement():
    a, b = curves(0, 3), curves(1, 4, 0.4)
    both = np.concatenate([a, b])
    found = permuted_statistics(both, GRID, arrangements(3, 4))
    expected = []
    for chosen in itertools.combinations(range(7), 4):
        second = np.isin(np.arange(7), chosen)
        expected.append(curve_test(both[~second], both[second], GRID).statistic)
    assert np.sort(found) == pytest.approx(np.sort(expected))
    assert found[0] == pytest.approx(curve_test(a, b, GRID).statistic)


def test_exchanged_conditions_have_the_statistic_of_their_exchange():
    a, b = curves(0, 4), curves(1, 4, 0.4)
    found = permuted_statistics(b - a, GRID, arrangements(4, 4, paired=True))
    expected = [
        paired_curve_test(0 * a, (b - a) * np.array(signs)[:, None], GRID).statistic
        for signs in itertools.product((1, -1), repeat=4)
    ]
    assert found == pytest.approx(expected)
