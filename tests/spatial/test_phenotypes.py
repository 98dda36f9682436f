from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage, stats

from aequorea.errors import AxisMismatchError, InputError
from aequorea.spatial import expected_by_chance, neighbourhoods, phenotype_test
from aequorea.spatial.phenotypes import _count_pmf, _permutation_variance


def scene(seed, n=400, sigma=0.0, fractions=(0.3, 0.3)):
    """Cells at random, marks from thresholded fields smooth over sigma cell spacings."""
    rng = np.random.default_rng(seed)
    side = int(np.sqrt(n))
    where = rng.uniform(0, side, (n, 2))
    marks = []
    for fraction in fractions:
        if sigma == 0:
            values = rng.standard_normal(n)
        else:
            field = ndimage.gaussian_filter(rng.standard_normal((2 * side,) * 2), 2 * sigma)
            values = field[tuple((2 * where).astype(int).T)]
        marks.append(values > np.quantile(values, 1 - fraction))
    return 10 * where, np.column_stack(marks)


# --- neighbourhoods ---------------------------------------------------------------------------


def test_neighbourhoods_are_of_nearly_equal_size_and_compact():
    where = np.random.default_rng(0).uniform(0, 100, (1000, 2))
    labels = neighbourhoods(where, size=12)
    sizes = np.bincount(labels)
    assert sizes.min() >= 10
    assert sizes.max() <= 14
    widest = max(np.ptp(where[labels == g], axis=0).max() for g in range(len(sizes)))
    assert widest < 3 * np.sqrt(12 * 10)


def test_no_neighbourhood_spans_two_regions():
    where = np.random.default_rng(1).uniform(0, 100, (200, 3))
    region = np.random.default_rng(2).integers(-1, 3, 200)
    labels = neighbourhoods(where, size=8, regions=region)
    for g in np.unique(labels):
        assert len(set(region[labels == g])) == 1


# --- what chance gives ------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [[2, 3], [2, 3, 1], [4, 4], [0, 3]])
def test_exact_null_equals_enumeration_of_all_arrangements(columns):
    n = 4
    arrangements = [
        [np.isin(range(n), chosen) for chosen in itertools.combinations(range(n), c)]
        for c in columns
    ]
    counts = [np.all(choice, axis=0).sum() for choice in itertools.product(*arrangements)]
    sizes, positives = np.array([n]), np.array([columns])
    pmf = _count_pmf(sizes, positives)
    measured = np.bincount(counts, minlength=len(pmf)) / len(counts)
    np.testing.assert_allclose(pmf, measured[: len(pmf)], atol=1e-12)
    assert _permutation_variance(sizes, positives)[0] == pytest.approx(np.var(counts))
    marks = np.column_stack([np.arange(n) < c for c in columns])
    assert expected_by_chance(marks, [1] * len(columns)) == pytest.approx(np.mean(counts))


def test_null_of_two_neighbourhoods_is_a_convolution():
    sizes, positives = np.array([5, 7]), np.array([[2, 3], [4, 3]])
    a, b = (_count_pmf(sizes[g : g + 1], positives[g : g + 1]) for g in range(2))
    np.testing.assert_allclose(_count_pmf(sizes, positives), np.convolve(a, b), atol=1e-12)


def test_without_neighbourhoods_the_expectation_is_the_product_of_fractions():
    _, marks = scene(0, fractions=(0.3, 0.5, 0.2))
    assert expected_by_chance(marks, [1, -1, 1]) == pytest.approx(400 * 0.3 * 0.5 * 0.2)
    assert expected_by_chance(marks, [1, 0, 0]) == pytest.approx(120)


def test_expectations_of_all_phenotypes_add_up_to_the_cells():
    where, marks = scene(3, sigma=2)
    labels = neighbourhoods(where)
    total = sum(
        expected_by_chance(marks, signs, labels) for signs in itertools.product([1, -1], repeat=2)
    )
    assert total == pytest.approx(len(marks))


# --- the test ---------------------------------------------------------------------------------


def test_observed_and_expected_are_those_of_the_table():
    where, marks = scene(4)
    result = phenotype_test(where, marks, [1, -1])
    assert result.observed == int((marks[:, 0] & ~marks[:, 1]).sum())
    assert result.expected == pytest.approx(
        expected_by_chance(marks, [1, -1], neighbourhoods(where))
    )
    assert result.expected_naive == pytest.approx(400 * 0.3 * 0.7)
    assert result.ratio == pytest.approx(result.observed / result.expected)
    assert "neighbourhoods of about 12 cells" in result.hypothesis
    assert "not animals" in result.unit


@pytest.mark.parametrize("sigma", [0.0, 1.0, 2.0])
def test_independent_marks_are_rarely_significant(sigma):
    p = np.array([phenotype_test(*scene(s, sigma=sigma), [1, 1]).p_value for s in range(120)])
    hits = int((p[np.isfinite(p)] <= 0.05).sum())
    assert stats.binomtest(hits, len(p), 0.05, alternative="greater").pvalue > 0.005


def test_a_shared_gradient_is_not_association_but_moves_the_naive_expectation():
    rng = np.random.default_rng(5)
    where = rng.uniform(0, 200, (600, 2))
    chance = 0.05 + 0.7 * where[:, 0] / 200
    marks = rng.random((600, 2)) < chance[:, None]
    result = phenotype_test(where, marks, [1, 1])
    assert result.observed > 1.2 * result.expected_naive
    assert result.ratio == pytest.approx(1, abs=0.1)
    assert result.p_value > 0.05


def test_association_is_found_in_both_directions_and_in_the_right_one():
    where, marks = scene(6)
    rng = np.random.default_rng(7)
    marks[:, 1] |= marks[:, 0] & (rng.random(400) < 0.5)
    more, less = (phenotype_test(where, marks, w) for w in ([1, 1], [1, -1]))
    assert more.ratio > 1.2
    assert less.ratio < 0.9
    assert more.p_value == pytest.approx(less.p_value)  # the same table seen from both sides
    assert more.p_value < 1e-4
    assert phenotype_test(where, marks, [1, 1], alternative="greater").p_value < 1e-4
    assert phenotype_test(where, marks, [1, 1], alternative="less").p_value > 0.99


def test_alike_neighbours_cost_information():
    inflation = [
        np.mean([phenotype_test(*scene(s, sigma=sigma), [1, 1]).inflation for s in range(8)])
        for sigma in (0.0, 1.0, 2.0)
    ]
    assert inflation[0] < 1.3
    assert inflation[0] < inflation[1] < inflation[2]
    result = phenotype_test(*scene(0, sigma=2.0), [1, 1])
    assert result.n_effective == pytest.approx(result.n_tested / result.inflation)


def test_unit_origin_and_order_of_cells_do_not_matter():
    where, marks = scene(8, sigma=1.0)
    first = phenotype_test(where, marks, [1, 1])
    moved = phenotype_test(1000 + where / 8, marks, [1, 1])
    order = np.random.default_rng(0).permutation(400)
    shuffled = phenotype_test(where[order], marks[order], [1, 1])
    for other in (moved, shuffled):
        assert other.observed == first.observed
        assert other.expected == pytest.approx(first.expected)
        assert other.p_value == pytest.approx(first.p_value, rel=0.02)
    assert phenotype_test(where, marks, [1, 1]) == first


def test_markers_that_do_not_matter_change_nothing():
    where, marks = scene(9, fractions=(0.3, 0.4, 0.2))
    assert phenotype_test(where, marks, [1, 0, 1]) == phenotype_test(
        where, marks[:, [0, 2]], [1, 1]
    )


def test_rare_coincidence_is_not_significant_by_itself():
    where, _ = scene(10)
    marks = np.zeros((400, 2), bool)
    marks[::40, 0] = marks[20::40, 1] = True
    marks[0] = True  # one double positive where 0.8 were expected if they were everywhere
    result = phenotype_test(where, marks, [1, 1])
    assert not result.p_value < 0.01


def test_regions_add_up_and_small_ones_are_left_out_aloud():
    where, marks = scene(11, n=900)
    region = (where[:, 0] > 150).astype(int)
    region[np.argsort(where[:, 1])[:3]] = 7
    result = phenotype_test(where, marks, [1, 1], regions=region)
    assert result.n_cells == 900
    assert result.n_tested == 897
    assert "3 cells" in result.warnings[0]
    assert 0 < result.p_value <= 1


def test_stack_and_line_of_cells_can_be_tested():
    rng = np.random.default_rng(12)
    marks = rng.random((500, 2)) < 0.4
    stack = rng.uniform(0, 1, (500, 3)) * [10, 100, 100]
    line = np.column_stack([np.zeros(500), np.arange(500.0)])
    for where in (stack, line, line[:, 1:]):
        result = phenotype_test(where, marks, [1, 1])
        assert result.reason == ""
        assert 0 < result.p_value <= 1


def test_floor_is_the_smallest_p_that_can_be():
    where, marks = scene(13)
    marks[:, 1] = marks[:, 0]
    result = phenotype_test(where, marks, [1, 1])
    assert result.p_value == result.p_floor
    independent = phenotype_test(*scene(13), [1, 1])
    assert independent.p_floor < independent.p_value


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"wanted": [1, 0]}, "fewer than two markers"),
        ({"marks": np.zeros((30, 2), bool)}, "could not have come out differently"),
        ({"marks": np.ones((30, 2), bool)}, "could not have come out differently"),
        ({"positions": np.zeros((30, 2))}, "no region is large enough"),
        ({"positions": np.zeros((0, 2)), "marks": np.zeros((0, 2), bool)}, "no cells"),
        ({"marks": np.tile([[True], [False]], (15, 8)), "wanted": [1] * 8}, "more than 7 markers"),
    ],
)
def test_what_cannot_be_tested_says_why(change, words):
    rng = np.random.default_rng(14)
    options = {"positions": rng.uniform(0, 9, (30, 2)), "marks": rng.random((30, 2)) < 0.4}
    result = phenotype_test(**({"wanted": [1, 1]} | options | change))
    assert np.isnan(result.p_value)
    assert words in result.reason


def test_few_cells_are_withheld_or_harmless():
    for n in range(1, 30):
        rng = np.random.default_rng(n)
        result = phenotype_test(rng.uniform(0, 9, (n, 2)), rng.random((n, 2)) < 0.5, [1, 1])
        assert np.isfinite(result.p_value) != bool(result.reason)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"positions": np.full((30, 2), np.nan)}, InputError, "finite"),
        ({"positions": np.zeros((30, 4))}, InputError, "positions"),
        ({"positions": np.zeros((29, 2))}, AxisMismatchError, "a row for each"),
        ({"marks": np.full((30, 2), 0.5)}, InputError, "True or False"),
        ({"marks": np.full((30, 2), "yes")}, InputError, "True or False"),
        ({"marks": np.zeros(30, bool)}, InputError, "shape"),
        ({"wanted": [1, 2]}, InputError, "wanted"),
        ({"wanted": [1]}, AxisMismatchError, "wanted"),
        ({"regions": np.zeros(29, int)}, AxisMismatchError, "regions"),
        ({"regions": np.zeros(30)}, InputError, "integers"),
        ({"neighbourhood": 1}, InputError, "at least 2"),
        ({"neighbourhood": 2.5}, InputError, "whole number"),
        ({"alternative": "both"}, InputError, "alternative"),
    ],
)
def test_nonsense_is_refused(change, error, words):
    rng = np.random.default_rng(15)
    options = {"positions": rng.uniform(0, 9, (30, 2)), "marks": rng.random((30, 2)) < 0.4}
    with pytest.raises(error, match=words):
        phenotype_test(**({"wanted": [1, 1]} | options | change))


def test_read_only_and_big_endian_arrays():
    where, marks = scene(16)
    foreign = where.astype(">f8"), marks.astype(">i4")
    for array in foreign:
        array.flags.writeable = False
    assert replace(phenotype_test(*foreign, [1, 1])) == phenotype_test(where, marks, [1, 1])
