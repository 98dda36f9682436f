from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from aequorea.stats.mixed import fit_random_intercept


def cells(seed, n, group, between=1.0, effect=0.0):
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(n)), n)
    level = between * rng.standard_normal(len(n)) + effect * np.asarray(group)
    return level[owner] + rng.standard_normal(sum(n)), owner


def fit(values, owner, group):
    n = np.bincount(owner)
    means = np.bincount(owner, values) / n
    return fit_random_intercept(means, n, np.bincount(owner, (values - means[owner]) ** 2), group)


def dense(values, owner, group):
    """REML and Kenward and Roger's formulae with whole matrices."""
    y = values
    x = (np.asarray(group)[owner][:, None] == np.unique(group)).astype(float)
    z = (owner[:, None] == np.unique(owner)).astype(float)
    parts = [z @ z.T, np.eye(len(y))]

    def pieces(between, within):
        v = between * parts[0] + within * parts[1]
        inverse = np.linalg.inv(v)
        phi = np.linalg.inv(x.T @ inverse @ x)
        return v, inverse, phi, inverse - inverse @ x @ phi @ x.T @ inverse

    def loss(logs):
        v, inverse, _, p = pieces(*np.exp(logs))
        information = x.T @ inverse @ x
        return np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1] + y @ p @ y

    options = {"xatol": 1e-10, "fatol": 1e-12, "maxiter": 4000}
    best = optimize.minimize(loss, [0.0, 0.0], method="Nelder-Mead", options=options)
    between, within = np.exp(best.x)
    _, inverse, phi, p = pieces(between, within)
    w = np.linalg.inv([[0.5 * np.trace(p @ r @ p @ s) for s in parts] for r in parts])
    first = [-x.T @ inverse @ r @ inverse @ x for r in parts]
    extra = sum(
        w[i, j]
        * (x.T @ inverse @ parts[i] @ inverse @ parts[j] @ inverse @ x - first[i] @ phi @ first[j])
        for i in range(2)
        for j in range(2)
    )
    contrast = np.array([-1.0, 1.0])
    slope = np.array([contrast @ phi @ -f @ phi @ contrast for f in first])
    df = 2 * (contrast @ phi @ contrast) ** 2 / (slope @ w @ slope)
    return between, within, phi @ x.T @ inverse @ y, phi + 2 * phi @ extra @ phi, df


@pytest.mark.parametrize("seed", range(3))
def test_unbalanced_cells_agree_with_whole_matrices(seed):
    group = [0, 0, 0, 1, 1, 1, 1]
    values, owner = cells(seed, [3, 8, 5, 4, 11, 6, 2], group, between=1.2, effect=1.0)
    found = fit(values, owner, group)
    between, within, means, covariance, df = dense(values, owner, group)
    assert found.variance_between == pytest.approx(between, rel=1e-4)
    assert found.variance_within == pytest.approx(within, rel=1e-4)
    assert found.means == pytest.approx(means, rel=1e-4)
    assert found.covariance == pytest.approx(covariance, rel=1e-3, abs=1e-9)
    assert found.contrast([-1, 1]).df == pytest.approx(max(df, 5.0), rel=1e-3)


def test_balanced_cells_give_students_t_of_the_animals():
    group = [0, 0, 0, 1, 1, 1]
    values, owner = cells(1, [7] * 6, group, effect=2.0)
    means = values.reshape(6, 7).mean(axis=1)
    theirs = stats.ttest_ind(means[3:], means[:3])
    found = fit(values, owner, group).contrast([-1, 1])
    assert found.p_value == pytest.approx(theirs.pvalue, rel=1e-4)
    assert found.df == pytest.approx(4, rel=1e-6)


def test_balanced_variances_are_those_of_the_analysis_of_variance():
    group = [0, 0, 0, 1, 1, 1]
    values, owner = cells(4, [5] * 6, group, between=2.0)
    table = values.reshape(6, 5)
    within = table.var(axis=1, ddof=1).mean()
    means = table.mean(axis=1).reshape(2, 3)
    between = means.var(axis=1, ddof=1).mean() - within / 5
    found = fit(values, owner, group)
    assert found.variance_within == pytest.approx(within, rel=1e-6)
    assert found.variance_between == pytest.approx(between, rel=1e-5)
    assert found.icc == pytest.approx(between / (between + within), rel=1e-5)


def test_animals_more_alike_than_their_cells_do_not_vary():
    rng = np.random.default_rng(0)
    n = np.array([10, 20, 30, 15])
    found = fit_random_intercept([1.0, 1.0, 1.0, 1.0], n, 4.0 * n, [0, 0, 1, 1])
    assert found.variance_between == 0
    assert found.variance_within == pytest.approx(4 * 75 / 73)
    assert found.contrast([-1, 1]).df >= 2
    shuffled = rng.permutation(4)
    again = fit_random_intercept(
        np.ones(4), n[shuffled], 4.0 * n[shuffled], np.array([0, 0, 1, 1])[shuffled]
    )
    assert again.covariance == pytest.approx(found.covariance)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_and_offsets_change_nothing(scale):
    group = [0, 0, 0, 1, 1, 1]
    values, owner = cells(3, [4, 9, 3, 6, 5, 8], group)
    here, there = fit(values, owner, group), fit(scale * (values + 3), owner, group)
    assert there.contrast([-1, 1]).p_value == pytest.approx(here.contrast([-1, 1]).p_value)
    assert there.variance_between == pytest.approx(scale**2 * here.variance_between, rel=1e-4)
    assert there.means == pytest.approx(scale * (here.means + 3))


def test_many_cells_weigh_animals_alike():
    found = fit_random_intercept(
        [1.0, 2.0, 5.0, 9.0], [10**6, 10**7] * 2, [1e6, 1e7] * 2, [0, 0, 1, 1]
    )
    assert found.means == pytest.approx([1.5, 7.0], rel=1e-5)


def test_what_cannot_be_told_apart_is_not_fitted():
    assert fit_random_intercept([1.0, 2.0, 3.0, 5.0], [1] * 4, [0.0] * 4, [0, 0, 1, 1]) is None
    assert fit_random_intercept([1.0, 2.0, 3.0, 5.0], [9] * 4, [0.0] * 4, [0, 0, 1, 1]) is None
