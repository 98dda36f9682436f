from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aequorea.stats.t_tests import blocked, paired, welch

A, B = np.array([1.2, 3.4, 2.2, 2.9]), np.array([4.1, 3.0, 6.5, 5.2, 5.0])
NAN = np.nan


def test_welch_is_that_of_scipy():
    found, theirs = welch(A, B), stats.ttest_ind(B, A, equal_var=False)
    assert found.p_value == pytest.approx(theirs.pvalue)
    assert found.statistic == pytest.approx(theirs.statistic)
    assert found.df == pytest.approx(theirs.df)
    assert found.interval(0.9) == pytest.approx(tuple(theirs.confidence_interval(0.9)))


def test_paired_is_that_of_scipy():
    found, theirs = paired(A, B[:4]), stats.ttest_rel(B[:4], A)
    assert found.p_value == pytest.approx(theirs.pvalue)
    assert found.interval(0.95) == pytest.approx(tuple(theirs.confidence_interval(0.95)))


@pytest.mark.parametrize("test", [welch, paired])
def test_a_ratio_is_a_factor_of_the_first(test):
    assert test(A, B[:4], ratio=1.7) == test(1.7 * A, B[:4])


@pytest.mark.parametrize("test", [welch, paired])
@pytest.mark.parametrize("level", [0.0, 0.1, 1e9])
def test_no_variation_is_no_test(test, level):
    found = test([level] * 3, [level + 0.3] * 3)
    assert not found.testable
    assert np.isnan([found.p_value, found.statistic, *found.interval(0.95)]).all()


def by_dummies(table, first, second):
    """The additive model by general least squares."""
    y, rows = [], []
    n_animals, n_conditions = table.shape
    for (animal, condition), value in np.ndenumerate(table):
        if np.isfinite(value):
            row = np.zeros(n_animals + n_conditions)
            row[[animal, n_animals + condition]] = 1
            rows.append(row)
            y.append(value)
    x = np.array(rows)
    beta, _, rank, _ = np.linalg.lstsq(x, np.array(y), rcond=None)
    contrast = np.zeros(x.shape[1])
    contrast[[n_animals + first, n_animals + second]] = -1, 1
    df = len(y) - rank
    variance = ((np.array(y) - x @ beta) ** 2).sum() / df
    return contrast @ beta, np.sqrt(variance * contrast @ np.linalg.pinv(x.T @ x) @ contrast), df


@pytest.mark.parametrize("seed", range(5))
def test_blocks_are_general_least_squares(seed):
    rng = np.random.default_rng(seed)
    table = 5 + rng.standard_normal((6, 1)) * 3 + rng.standard_normal((6, 4))
    table[rng.random(table.shape) < 0.3] = NAN
    table[0] = [1.0, 2.0, 4.0, 3.0]
    table[5] = [2.5, 2.7, 4.2, 3.1]
    for first, second in ((0, 1), (3, 1), (2, 3)):
        found = blocked(table, first, second)
        assert (found.value, found.error, found.df) == pytest.approx(
            by_dummies(table, first, second)
        )


def test_blocks_of_two_conditions_are_pairs_of_complete_animals():
    table = np.array([[1.0, 2.0], [2.0, 4.5], [3.0, 3.9], [4.0, NAN], [NAN, 9.0]])
    found, complete = blocked(table, 0, 1), paired(table[:3, 0], table[:3, 1])
    assert found.value == pytest.approx(complete.value)
    assert found.error == pytest.approx(complete.error)
    assert found.df == complete.df == 2


def test_a_chain_of_animals_links_conditions_and_nothing_else_does():
    chain = np.array([[1.0, 2.0, NAN], [1.5, 2.7, NAN], [NAN, 2.0, 5.0], [NAN, 3.0, 5.5]])
    assert blocked(chain, 0, 2).value == pytest.approx(1.1 + 2.75)
    apart = np.array([[1.0, 2.0, NAN, NAN], [2.0, 3.5, NAN, NAN], [NAN, NAN, 5.0, 4.0]])
    assert blocked(apart, 0, 2) is None
    assert blocked(np.full((3, 2), NAN), 0, 1) is None
    assert blocked(np.zeros((0, 2)), 0, 1) is None


def test_one_complete_animal_leaves_no_degree_of_freedom():
    found = blocked([[1.0, 2.0], [3.0, NAN]], 0, 1)
    assert found.value == pytest.approx(1.0)
    assert not found.testable
