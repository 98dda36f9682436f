from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from aequorea.stats import permutation
from aequorea.stats.inversion import accepted
from aequorea.stats.permutation import arrangements, studentised
from aequorea.stats.t_tests import welch

A, B = np.array([1.0, 2.5, 0.7, 1.9]), np.array([2.2, 4.1, 3.3, 2.0, 5.0])
BOTH = np.concatenate([A, B])


def test_every_way_is_gone_through():
    ways = arrangements(4, 5)
    found = studentised(BOTH, ways)
    expected = []
    for chosen in itertools.combinations(range(9), 5):
        second = np.isin(np.arange(9), chosen)
        expected.append(abs(welch(BOTH[~second], BOTH[second]).statistic))
    assert np.sort(found) == pytest.approx(np.sort(expected))
    assert found[0] == pytest.approx(abs(welch(A, B).statistic))
    assert ways.p_value(found) == pytest.approx(np.mean(np.array(expected) >= found[0] - 1e-12))
    assert ways.exact
    assert ways.smallest_p == pytest.approx(1 / 126)


def test_exchanges_within_animals_are_signs_of_changes():
    changes = np.array([0.4, 1.1, -0.2, 0.9, 0.6, 1.4])
    ways = arrangements(6, 6, paired=True)
    found = studentised(changes, ways)
    expected = [
        abs(stats.ttest_1samp(changes * signs, 0).statistic)
        for signs in itertools.product((1, -1), repeat=6)
    ]
    assert found == pytest.approx(expected)
    assert ways.p_value(found) == pytest.approx(np.mean(np.array(expected) >= expected[0] - 1e-12))


@pytest.mark.parametrize(
    ("n", "m", "paired", "smallest"),
    [(3, 3, False, 0.1), (4, 4, False, 2 / 70), (3, 6, False, 1 / 84), (5, 5, True, 1 / 16)],
)
def test_the_smallest_p_is_that_of_complete_separation(n, m, paired, smallest):
    ways = arrangements(n, m, paired=paired)
    apart = np.arange(1.0, n + 1) if paired else np.arange(n + m) + 100.0 * (np.arange(n + m) >= n)
    assert ways.smallest_p == pytest.approx(smallest)
    assert ways.p_value(studentised(apart, ways)) == pytest.approx(smallest)


@pytest.mark.parametrize("paired", [False, True])
def test_a_sample_of_ways_is_near_all_of_them(monkeypatch, paired):
    values = np.random.default_rng(2).standard_normal(12) + 0.5 * (np.arange(12) >= 6)
    sizes = (12, 12) if paired else (6, 6)
    every = arrangements(*sizes, paired=paired)
    exact = every.p_value(studentised(values, every))
    monkeypatch.setattr(permutation, "MOST_COUNTED", 100)
    some = arrangements(*sizes, paired=paired, seed=1)
    assert not some.exact
    assert some.p_value(studentised(values, some)) == pytest.approx(exact, abs=0.02)
    assert some.smallest_p == 1 / len(some.weights)
    assert (arrangements(*sizes, paired=paired, seed=1).weights == some.weights).all()


def test_many_animals_are_sampled():
    ways = arrangements(10, 10)
    assert not ways.exact
    assert (ways.weights.sum(axis=1) == 10).all()


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_units_and_offsets_change_nothing(scale):
    ways = arrangements(4, 5)
    p = ways.p_value(studentised(BOTH, ways))
    assert ways.p_value(studentised(scale * (BOTH + 50), ways)) == p


def test_ties_count_as_equals():
    ways = arrangements(3, 3)
    assert ways.p_value(studentised(np.ones(6), ways)) == 1
    assert ways.p_value(studentised(np.array([1.0, 1, 1, 2, 2, 2]), ways)) == pytest.approx(0.1)


def test_false_positives_are_exact_under_chance():
    ways = arrangements(4, 4)
    rng = np.random.default_rng(5)
    p = np.array([ways.p_value(studentised(rng.exponential(size=8), ways)) for _ in range(1000)])
    assert stats.binomtest(int((p <= 2 / 70 + 1e-9).sum()), 1000, 2 / 70).pvalue > 0.01


def test_intervals_hold_what_a_test_does_not_reject():
    low, high = accepted(
        lambda shift: 2 * stats.norm.sf(abs(shift - 3) / 2), 3.0, step=1, reach=1e6, confidence=0.9
    )
    assert (low, high) == pytest.approx(stats.norm.interval(0.9, 3, 2), abs=1e-6)
    nothing = accepted(lambda _: 1.0, 3.0, step=1, reach=1e6, confidence=0.9)
    assert nothing == (-np.inf, np.inf)
