from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aequorea.errors import AxisMismatchError, InputError
from aequorea.stats.means import compare_means
from aequorea.stats.mixed import fit_random_intercept
from aequorea.stats.t_tests import blocked

METHODS = ("animal-mean", "mixed", "permutation")


def study(seed=0, sizes=(4, 5), effect=1.0, between=1.0, level=10.0):
    """Cells of animals of two conditions, in any order."""
    rng = np.random.default_rng(seed)
    group = np.repeat([0, 1], sizes)
    n = rng.integers(5, 30, len(group))
    owner = np.repeat(np.arange(len(group)), n)
    mean = level + effect * group + between * rng.standard_normal(len(group))
    values = mean[owner] + rng.standard_normal(n.sum())
    order = np.argsort(rng.random(len(owner)) + 1000 * (np.arange(len(owner)) > 0))
    animal = np.array(list("abcdefghijklmnop"))[owner]
    condition = np.array(["control", "drug"])[group][owner]
    return values[order], animal[order], condition[order]


def animal_means(values, animal, condition, name):
    mine = condition == name
    return np.array([values[mine & (animal == a)].mean() for a in np.unique(animal[mine])])


def crossed(seed=0, n=5, conditions=("x", "y"), cells=4):
    rng = np.random.default_rng(seed)
    animal = np.repeat(np.arange(n), cells * len(conditions))
    condition = np.tile(np.repeat(conditions, cells), n)
    shift = np.array([list(conditions).index(c) for c in condition])
    values = 20 + 3 * rng.standard_normal(n)[animal] + shift + rng.standard_normal(len(animal))
    return values, animal, condition


def test_default_is_welch_on_means_of_animals_as_scipy_has_it():
    data = study()
    a, b = (animal_means(*data, name) for name in ("control", "drug"))
    theirs = stats.ttest_ind(b, a, equal_var=False)
    result = compare_means(*data)
    pair = result.pairs[0]
    assert pair.p_value == pytest.approx(theirs.pvalue)
    assert pair.statistic == pytest.approx(theirs.statistic)
    assert pair.df == pytest.approx(theirs.df)
    assert (pair.ci_low, pair.ci_high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert pair.difference == pytest.approx(b.mean() - a.mean())
    assert pair.ratio == pytest.approx(b.mean() / a.mean())
    assert (pair.ratio_low > 1) == (pair.p_value < 0.05)
    assert (pair.n_reference, pair.n_condition) == (4, 5)
    assert pair.unit == "animal (mean of its cells)"
    assert "control" in pair.hypothesis
    assert result.warnings == ()
    first = result.conditions[0]
    assert first.n_cells == (data[2] == "control").sum()
    assert first.pooled_mean == pytest.approx(data[0][data[2] == "control"].mean())
    assert first.sd == pytest.approx(a.std(ddof=1))
    assert (first.ci_low, first.ci_high) == pytest.approx(
        stats.t.interval(0.95, 3, a.mean(), stats.sem(a))
    )
    of_drug = {row.animal: row.value for row in result.animals if row.condition == "drug"}
    assert [of_drug[name] for name in sorted(of_drug)] == pytest.approx(list(b))


@pytest.mark.parametrize("method", METHODS)
def test_more_of_the_same_cells_do_not_make_a_difference_more_certain(method):
    values, animal, condition = study(1, effect=0.5)
    once = compare_means(values, animal, condition, method=method).pairs[0]
    often = compare_means(
        np.tile(values, 20), np.tile(animal, 20), np.tile(condition, 20), method=method
    ).pairs[0]
    exact = {"rel": 1e-9} if method != "mixed" else {"rel": 0.3}
    assert often.p_value == pytest.approx(once.p_value, **exact)


@pytest.mark.parametrize("method", METHODS)
def test_order_units_and_offsets_change_nothing(method):
    values, animal, condition = study(2)
    here = compare_means(values, animal, condition, method=method).pairs[0]
    order = np.r_[0, 1 + np.random.default_rng(0).permutation(len(values) - 1)]
    there = compare_means(
        1000 * values[order] - 7, animal[order], condition[order], method=method
    ).pairs[0]
    assert there.p_value == pytest.approx(here.p_value, rel=1e-5)
    assert there.hedges_g == pytest.approx(here.hedges_g)
    assert there.difference == pytest.approx(1000 * here.difference, rel=1e-5)
    assert there.ci_low == pytest.approx(1000 * here.ci_low, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_exchanging_the_conditions_changes_the_sign(method):
    data = study(3)
    here = compare_means(*data, method=method, reference="control").pairs[0]
    there = compare_means(*data, method=method, reference="drug").pairs[0]
    assert there.p_value == pytest.approx(here.p_value)
    assert there.difference == pytest.approx(-here.difference)
    assert there.ci_low == pytest.approx(-here.ci_high, rel=1e-5)
    assert there.ratio_low == pytest.approx(1 / here.ratio_high, rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_intervals_leave_out_nothing_just_if_p_is_small(method):
    for seed in range(12):
        pair = compare_means(*study(seed, effect=1.2), method=method).pairs[0]
        outside = not pair.ci_low < 0 < pair.ci_high
        assert outside == (pair.p_value < 0.05)


def test_mixed_is_the_fit_of_animals_and_cells():
    values, animal, condition = study(4)
    names = np.unique(animal)
    n = np.array([(animal == a).sum() for a in names])
    means = np.array([values[animal == a].mean() for a in names])
    squares = np.array(
        [((values[animal == a] - m) ** 2).sum() for a, m in zip(names, means, strict=True)]
    )
    fit = fit_random_intercept(means, n, squares, [0] * 4 + [1] * 5)
    test = fit.contrast([-1, 1])
    pair = compare_means(values, animal, condition, method="mixed").pairs[0]
    assert (pair.difference, pair.p_value, pair.df) == pytest.approx(
        (test.value, test.p_value, test.df)
    )
    assert pair.icc == pytest.approx(fit.icc)
    assert "Kenward-Roger" in pair.method


def test_median_and_weights_stand_for_an_animal():
    values, animal, condition = study(5)
    medians = compare_means(values, animal, condition, summary="median")
    mine = values[animal == medians.animals[0].animal]
    assert medians.animals[0].value == pytest.approx(np.median(mine))
    assert medians.unit == "animal (median of its cells)"
    weights = np.random.default_rng(0).integers(1, 4, len(values))
    weighed = compare_means(values, animal, condition, weights=0.5 * weights)
    many = compare_means(*(np.repeat(v, weights) for v in (values, animal, condition)))
    assert weighed.pairs[0].p_value == pytest.approx(many.pairs[0].p_value)


def test_the_same_animals_are_compared_within_themselves():
    values, animal, condition = crossed()
    a, b = (animal_means(values, animal, condition, c) for c in "xy")
    pair = compare_means(values, animal, condition).pairs[0]
    assert pair.design == "paired"
    assert pair.p_value == pytest.approx(stats.ttest_rel(b, a).pvalue)
    assert "Within one animal" in pair.hypothesis
    ratio = compare_means(values, animal, condition, confidence=1 - pair.p_value).pairs[0]
    assert ratio.ratio_low == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(InputError, match="found 5 in both"):
        compare_means(values, animal, condition, design="independent")
    mixed = compare_means(values, animal, condition, method="mixed").pairs[0]
    assert "paired t" in mixed.reason
    assert np.isnan(mixed.p_value)


def test_animals_that_miss_a_condition_make_blocks():
    values, animal, condition = crossed(1, n=6, conditions=("x", "y", "z"))
    kept = ~((animal == 0) & (condition == "x")) & ~((animal == 1) & (condition == "z"))
    values, animal, condition = values[kept], animal[kept], condition[kept]
    table = np.full((6, 3), np.nan)
    for k in range(6):
        for j, name in enumerate("xyz"):
            mine = (animal == k) & (condition == name)
            if mine.any():
                table[k, j] = values[mine].mean()
    result = compare_means(values, animal, condition)
    places = {name: j for j, name in enumerate("xyz")}
    for pair in result.pairs:
        assert pair.design == "blocked"
        test = blocked(table, places[pair.reference], places[pair.condition])
        assert (pair.difference, pair.p_value) == pytest.approx((test.value, test.p_value))
    incomplete = {(p.reference, p.condition): p.n_incomplete for p in result.pairs}
    assert incomplete[("y", "x")] == 1
    assert any("only one of" in words for words in result.warnings)
    shared = compare_means(values, animal, condition, design="paired").pairs[0]
    assert shared.n_reference == 5


def test_one_animal_in_both_is_not_a_pair_of_groups():
    values, animal, condition = [1.0, 2, 3, 4, 5], list("aabcd"), list("xyxyy")
    pair = compare_means(values, animal, condition).pairs[0]
    assert pair.reason == "1 animals with cells in both conditions (2 needed)"
    assert pair.n_incomplete == 3
    nothing = compare_means(values, list("abcde"), condition, design="paired").pairs[0]
    assert "no animal" in nothing.reason


@pytest.mark.parametrize(("sizes", "smallest"), [((3, 3), "0.1"), ((2, 4), None)])
def test_permutations_that_cannot_reach_a_small_p_are_withheld(sizes, smallest):
    result = compare_means(*study(6, sizes), method="permutation").pairs[0]
    assert np.isnan(result.p_value)
    assert "ways, so p cannot be below" in result.reason
    if smallest:
        assert (
            result.reason
            == f"3 + 3 animals can be dealt out in 20 ways, so p cannot be below {smallest}"
        )
    assert result.smallest_p >= 0.05
    assert np.isfinite([result.difference, result.hedges_g, result.statistic]).all()
    five = compare_means(*crossed(), method="permutation").pairs[0]
    assert "5 pairs" in five.reason
    assert five.smallest_p == 1 / 16


def test_permutations_count_animals_not_cells():
    data = study(7, (4, 4), effect=8.0)
    pair = compare_means(*data, method="permutation").pairs[0]
    assert pair.p_value == pair.smallest_p == pytest.approx(2 / 70)
    assert pair.ci_low > 0
    sure = compare_means(*data, method="permutation", confidence=0.99).pairs[0]
    assert (sure.ci_low, sure.ci_high) == (-np.inf, np.inf)


def test_detectable_difference_is_found_in_four_of_five_studies():
    pair = compare_means(*study(8)).pairs[0]
    error = (pair.ci_high - pair.ci_low) / 2 / stats.t.isf(0.025, pair.df)
    critical = stats.t.isf(0.025, pair.df)
    power = stats.nct.sf(critical, pair.df, pair.detectable / error)
    assert power == pytest.approx(0.8, abs=1e-4)


def test_missing_values_are_left_out_aloud():
    values, animal, condition = study(9)
    holes = values.copy()
    holes[:3] = np.nan
    result = compare_means(holes, animal, condition)
    rest = compare_means(values[3:], animal[3:], condition[3:])
    assert result.pairs[0].p_value == rest.pairs[0].p_value
    assert sum(c.n_missing for c in result.conditions) == 3
    assert "have no value: left out" in result.warnings[0]
    empty = values.copy()
    empty[animal == "a"] = np.nan
    gone = compare_means(empty, animal, condition)
    assert gone.conditions[0].n_animals == 3
    assert any("without cells in control, left out: a" in w for w in gone.warnings)
    assert np.isnan(gone.animals[0].value)


def test_without_animals_numbers_are_described_and_nothing_is_tested():
    values, _, condition = study()
    result = compare_means(values, None, condition)
    assert np.isnan(result.pairs[0].p_value)
    assert "not independent replicates" in result.pairs[0].reason
    assert result.conditions[0].pooled_mean == pytest.approx(values[condition == "control"].mean())
    assert np.isnan(result.conditions[0].mean)
    assert result.animals == ()
    assert result.conditions[0].n_animals == 0


def test_images_as_units_only_when_asked_for_and_said():
    values, animal, condition = study()
    image = np.char.add(animal, np.random.default_rng(0).integers(0, 2, len(animal)).astype(str))
    result = compare_means(values, animal, condition, unit="image", image=image)
    assert result.pairs[0].unit == "image (mean of its cells)"
    assert "18 images come from 9 animals" in result.warnings[0]
    assert result.pairs[0].p_value == compare_means(values, image, condition).pairs[0].p_value
    alone = compare_means(values, None, condition, unit="image", image=image)
    assert np.isfinite(alone.pairs[0].p_value)
    with pytest.raises(InputError, match="image: expected the image of each cell"):
        compare_means(values, animal, condition, unit="image")


@pytest.mark.parametrize("method", METHODS)
def test_one_animal_is_not_a_group(method):
    result = compare_means(*study(0, (3, 1)), method=method)
    pair = result.pairs[0]
    assert np.isnan([pair.p_value, pair.ci_low, pair.hedges_g]).all()
    assert pair.reason == "1 animals with cells in drug (2 needed)"
    assert np.isfinite([pair.difference, pair.ratio]).all()
    assert result.conditions[1].reason == "1 animals with cells (2 needed)"


@pytest.mark.parametrize("method", ["animal-mean", "permutation"])
def test_no_variation_is_withheld_not_zero(method):
    animal, condition = np.repeat(list("abcdefgh"), 3), np.repeat(["x", "y"], 12)
    pair = compare_means(np.repeat([1.1, 2.3], 12), animal, condition, method=method).pairs[0]
    assert np.isnan(pair.p_value)
    assert "does not vary" in pair.reason
    assert pair.difference == pytest.approx(1.2)
    alike = np.repeat(list("abcdabcd"), 3)
    levels = np.tile(np.repeat([1.0, 4.0, 2.0, 8.0], 3), 2) + np.repeat([0.0, 1.0], 12)
    pair = compare_means(levels, alike, condition, method=method).pairs[0]
    assert "change alike" in pair.reason


def test_one_cell_per_animal_has_no_mixed_model_but_a_t_test():
    values, animal, condition = [1.0, 2, 4, 3, 6, 7], list("abcdef"), list("xxxyyy")
    mixed = compare_means(values, animal, condition, method="mixed").pairs[0]
    assert "cells do not vary within animals" in mixed.reason
    assert np.isfinite(compare_means(values, animal, condition).pairs[0].p_value)


def test_several_pairs_are_corrected():
    values, animal, condition = study(0, (6, 6))
    condition = np.where(np.isin(animal, list("abc")), "sham", condition)
    pairs = compare_means(values, animal, condition).pairs
    assert len(pairs) == 3
    expected = stats.false_discovery_control([pair.p_value for pair in pairs])
    assert [pair.q_value for pair in pairs] == pytest.approx(list(expected))
    limited = compare_means(values, animal, condition, reference="sham").pairs
    assert [pair.reference for pair in limited] == ["sham", "sham"]


def test_ratios_need_positive_values():
    pair = compare_means(*study(0, level=0.0)).pairs[0]
    assert np.isnan([pair.ratio, pair.ratio_low, pair.ratio_high]).all()
    assert np.isfinite(pair.p_value)


def test_small_unequal_groups_come_with_a_warning():
    result = compare_means(*study(0, (3, 6)))
    assert result.warnings[0].startswith("3 animals in control, 6 in drug")
    assert "up to 7 %" in result.warnings[0]
    mixed = compare_means(*study(0, (3, 6)), method="mixed")
    assert "up to 17 %" in mixed.warnings[0]


@pytest.mark.parametrize(("method", "told"), [("animal-mean", 0), ("mixed", 1), ("permutation", 1)])
def test_unequal_variation_is_told_where_it_matters(method, told):
    rng = np.random.default_rng(0)
    animal, condition = np.repeat(list("abcdefgh"), 6), np.repeat(["x", "y"], 24)
    levels = np.array([1.0, 1.1, 0.9, 1.05, 3.0, 8.0, 1.0, 5.0])
    values = np.repeat(levels, 6) + 0.1 * rng.standard_normal(48)
    result = compare_means(values, animal, condition, method=method)
    assert len(result.warnings) == told
    assert all(w.startswith("animals of y vary more than 3 times") for w in result.warnings)


def test_nothing_given_is_nothing_found():
    result = compare_means([], [], [])
    assert result.animals == result.conditions == result.pairs == ()
    assert compare_means([], None, []).pairs == ()


@pytest.mark.parametrize("method", METHODS)
def test_false_positives_stay_at_their_level(method):
    seeds, hits = 80, 0
    for seed in range(seeds):
        pair = compare_means(*study(seed, (4, 4), effect=0.0), method=method).pairs[0]
        hits += pair.p_value <= 0.05
    assert stats.binomtest(hits, seeds, 0.05, alternative="greater").pvalue > 0.005


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"values": [1.0, 2.0]}, AxisMismatchError, "condition"),
        ({"values": [[1.0] * 4]}, AxisMismatchError, "one number per cell"),
        ({"values": [1.0, 2.0, 3.0, np.inf]}, InputError, "row 3"),
        ({"values": list("abcd")}, InputError, "expected numbers"),
        ({"animal": list("abc")}, AxisMismatchError, "animal"),
        ({"animal": ["a", None, "c", "d"]}, InputError, "row 1"),
        ({"condition": ["x", "x", "y", np.nan]}, InputError, "row 3"),
        ({"reference": "placebo"}, InputError, "reference"),
        ({"method": "anova"}, InputError, "method"),
        ({"design": "crossed"}, InputError, "design"),
        ({"summary": "mode"}, InputError, "summary"),
        ({"unit": "cell"}, InputError, "unit"),
        ({"confidence": 95}, InputError, "confidence"),
        ({"weights": [1.0, 2.0]}, AxisMismatchError, "weights"),
        ({"weights": [1.0, 0.0, 1.0, 1.0]}, InputError, "row 1"),
        ({"weights": [1.0] * 4, "method": "mixed"}, InputError, "weights"),
        ({"summary": "median", "method": "mixed"}, InputError, "median"),
        ({"summary": "median", "weights": [1.0] * 4}, InputError, "weights"),
    ],
)
def test_nonsense_is_refused(change, error, words):
    options = {"values": [1.0, 2, 3, 5], "animal": list("abcd"), "condition": list("xxyy")}
    with pytest.raises(error, match=words):
        compare_means(**(options | change))
