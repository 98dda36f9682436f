from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import AxisMismatchError, InputError
from aequorea.spatial.envelopes import global_envelope

METHODS = ["erl", "rank", "mad", "studentised"]
SIDES = ["two-sided", "greater", "less"]


def walks(seed, n=40, m=15):
    return np.random.default_rng(seed).normal(size=(n, m)).cumsum(axis=1)


def each_in_turn(curves, **how):
    """The test of every curve against all others."""
    return [
        global_envelope(curve, np.delete(curves, k, axis=0), **how)
        for k, curve in enumerate(curves)
    ]


@pytest.mark.parametrize("alternative", SIDES)
@pytest.mark.parametrize("method", ["erl", "mad", "studentised"])
def test_level_is_exact_by_construction(method, alternative):
    results = each_in_turn(walks(0), method=method, alternative=alternative)
    p = np.sort([result.p_value for result in results])
    np.testing.assert_allclose(p, np.arange(1, 41) / 40)


@pytest.mark.parametrize("alternative", SIDES)
@pytest.mark.parametrize("method", METHODS)
def test_level_is_never_exceeded_with_ties(method, alternative):
    curves = np.random.default_rng(1).integers(0, 4, (40, 6)).cumsum(axis=1)
    p = np.array([r.p_value for r in each_in_turn(curves, method=method, alternative=alternative)])
    for level in np.arange(1, 41) / 40:
        assert (p <= level + 1e-12).mean() <= level + 1e-12


@pytest.mark.parametrize("alternative", SIDES)
@pytest.mark.parametrize("method", METHODS)
def test_the_curve_leaves_the_band_exactly_if_it_is_rejected(method, alternative):
    for result in each_in_turn(walks(2, n=80), method=method, alternative=alternative, alpha=0.2):
        assert result.outside.any() == (result.p_value <= 0.2)
        beyond = (result.observed < result.low) | (result.observed > result.high)
        assert beyond[result.outside].all()


def brute_extreme_rank_length(curves):
    n = len(curves)
    low = (curves[:, None] >= curves[None]).sum(axis=1)
    ranks = np.sort(np.minimum(low, n + 1 - low), axis=1).tolist()
    return [sum(other <= rank for other in ranks) / n for rank in ranks]


def test_extreme_rank_length_equals_its_definition():
    curves = walks(3)
    found = [r.p_value for r in each_in_turn(curves)]
    np.testing.assert_allclose(found, brute_extreme_rank_length(curves))


def test_largest_absolute_deviation_equals_its_definition():
    curves = walks(4)
    extreme = np.abs(curves - curves.mean(axis=0)).max(axis=1)
    expected = [(extreme >= e).mean() for e in extreme]
    np.testing.assert_allclose([r.p_value for r in each_in_turn(curves, method="mad")], expected)
    result = global_envelope(curves[0], curves[1:], method="mad", alpha=0.1)
    width = np.sort(extreme)[-5]
    np.testing.assert_allclose(result.high - result.central, width)
    np.testing.assert_allclose(result.central - result.low, width)


def test_p_interval_of_ranks_holds_the_p_value_of_their_lengths():
    curves = walks(5)
    for by_rank, by_length in zip(
        each_in_turn(curves, method="rank"), each_in_turn(curves), strict=True
    ):
        assert by_rank.p_interval == by_length.p_interval
        assert by_rank.p_interval[0] <= by_length.p_value <= by_rank.p_interval[1]
        assert by_rank.p_value == by_rank.p_interval[1]


def test_ranks_do_not_mind_units_and_points_without_spread():
    curves = walks(6)
    changed = np.column_stack([np.exp(curves * np.linspace(0.1, 2, 15)), np.full(40, 3.0)])
    ours, theirs = (global_envelope(c[0], c[1:]) for c in (curves, changed))
    assert ours.p_value == theirs.p_value
    np.testing.assert_array_equal(ours.outside, theirs.outside[:-1])
    assert not theirs.outside[-1]
    spread = global_envelope(changed[0], changed[1:], method="studentised")
    assert np.isfinite(spread.low).all()


def test_one_sided_tests_look_at_one_side():
    curves = walks(7, n=99)
    high = curves.max(axis=0) + 1
    assert global_envelope(high, curves).p_value == 0.01
    for method in METHODS:
        up = global_envelope(high, curves, alternative="greater", method=method)
        down = global_envelope(high, curves, alternative="less", method=method)
        mirrored = global_envelope(-high, -curves, alternative="less", method=method)
        assert up.p_value == mirrored.p_value == pytest.approx(0.01)
        assert down.p_value > 0.5
        assert (up.low == -np.inf).all()
        assert (down.high == np.inf).all()
        assert up.outside.all() or method == "mad"
        assert up.outside.any()
        assert not down.outside.any()


def test_all_alike_is_no_evidence():
    result = global_envelope(np.ones(4), np.ones((19, 4)))
    assert result.p_value == 1
    assert not result.outside.any()
    assert result.n_simulations == 19


@pytest.mark.parametrize(
    ("observed", "simulated", "how", "error", "words"),
    [
        ([1, 2], np.ones((19, 3)), {}, AxisMismatchError, "curves of shape"),
        ([1, np.nan], np.ones((19, 2)), {}, InputError, "in 1 of 20"),
        ([1, 2], np.ones((0, 2)), {}, InputError, "at least one curve"),
        ([1, 2], np.ones((18, 2)), {}, InputError, "at least 1/19"),
        ([1, 2], np.ones((19, 2)), {"alpha": 1.0}, InputError, "alpha"),
        ([1, 2], np.ones((19, 2)), {"method": "max"}, InputError, "erl, rank"),
        ([1, 2], np.ones((19, 2)), {"alternative": "up"}, InputError, "alternative"),
    ],
)
def test_what_cannot_be_tested_is_named(observed, simulated, how, error, words):
    with pytest.raises(error, match=words):
        global_envelope(observed, simulated, **how)
