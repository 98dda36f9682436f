from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aequorea.errors import AxisMismatchError, InputError
from aequorea.stats import compare_fractions

X = [20, 31, 24, 52, 41, 60]
N = [100, 120, 110, 105, 98, 121]
ANIMALS = list("abcdef")
GROUPS = ["control"] * 3 + ["drug"] * 3


def fractions():
    values = np.array(X) / np.array(N)
    return values[:3], values[3:]


def test_default_is_welch_on_animals_as_scipy_has_it():
    a, b = fractions()
    pair = compare_fractions(X, N, ANIMALS, GROUPS).pairs[0]
    theirs = stats.ttest_ind(b, a, equal_var=False)
    assert pair.p_value == pytest.approx(theirs.pvalue)
    assert pair.statistic == pytest.approx(theirs.statistic)
    assert pair.df == pytest.approx(theirs.df)
    interval = theirs.confidence_interval(0.95)
    assert (pair.ci_low, pair.ci_high) == pytest.approx((interval.low, interval.high))
    assert pair.difference == pair.effect == pytest.approx(b.mean() - a.mean())
    assert (pair.n_reference, pair.n_condition) == (3, 3)
    assert pair.unit.startswith("animal")
    assert "control" in pair.hypothesis


def test_images_of_an_animal_are_summed():
    split = compare_fractions(
        [15, 5, *X[1:]], [40, 60, *N[1:]], ["a", *ANIMALS], ["control", *GROUPS]
    )
    whole = compare_fractions(X, N, ANIMALS, GROUPS)
    assert split.pairs == whole.pairs
    assert [c.n_images for c in split.conditions] == [4, 3]
    control = split.conditions[0]
    assert control.n_animals == 3
    assert control.n_cells == 330
    assert control.pooled_fraction == pytest.approx(75 / 330)
    assert control.mean_fraction == pytest.approx(fractions()[0].mean())
    assert control.ci_low < control.mean_fraction < control.ci_high


def test_order_of_rows_does_not_matter():
    order = [0, 4, 2, 5, 1, 3]
    mixed = compare_fractions(*([v[k] for k in order] for v in (X, N, ANIMALS, GROUPS)))
    pair, usual = mixed.pairs[0], compare_fractions(X, N, ANIMALS, GROUPS).pairs[0]
    assert pair.p_value == pytest.approx(usual.p_value)
    assert pair.difference == pytest.approx(usual.difference)


def test_shared_animals_are_paired():
    a, b = fractions()
    pair = compare_fractions(X, N, list("abcabc"), GROUPS).pairs[0]
    assert pair.paired
    assert pair.method == "paired t on fractions"
    assert pair.p_value == pytest.approx(stats.ttest_rel(b, a).pvalue)
    with pytest.raises(InputError, match="paired"):
        compare_fractions(X, N, list("abcabc"), GROUPS, paired=False)


def test_paired_uses_the_animals_of_both_conditions_only():
    a, b = fractions()
    pair = compare_fractions(X, N, list("abcabd"), GROUPS).pairs[0]
    assert (pair.n_reference, pair.n_condition) == (2, 2)
    assert pair.difference == pytest.approx(b[:2].mean() - a[:2].mean())
    nobody = compare_fractions(X, N, ANIMALS, GROUPS, paired=True).pairs[0]
    assert np.isnan(nobody.p_value)
    assert "both" in nobody.reason


@pytest.mark.parametrize("transform", ["arcsine", "logit"])
def test_transforms(transform):
    x, n = np.array(X), np.array(N)
    values = {
        "arcsine": np.arcsin(np.sqrt(x / n)),
        "logit": np.log((x + 0.5) / (n - x + 0.5)),
    }[transform]
    pair = compare_fractions(X, N, ANIMALS, GROUPS, transform=transform).pairs[0]
    assert pair.scale == transform
    assert pair.effect == pytest.approx(values[3:].mean() - values[:3].mean())
    welch = stats.ttest_ind(values[3:], values[:3], equal_var=False)
    assert pair.p_value == pytest.approx(welch.pvalue)


def test_beta_binomial_agrees_roughly_and_says_what_it_is():
    pair = compare_fractions(X, N, ANIMALS, GROUPS, method="beta-binomial").pairs[0]
    assert pair.df == 4
    assert 0.0005 < pair.p_value < 0.01
    assert pair.ci_low < pair.difference < pair.ci_high
    assert "common overdispersion" in pair.method
    shared = compare_fractions(X, N, list("abcabc"), GROUPS, method="beta-binomial").pairs[0]
    assert "animal-mean" in shared.reason


def test_several_pairs_are_corrected_and_reference_limits_them():
    x, n = [*X, 30, 35, 33], [*N, 100, 100, 100]
    animals, groups = [*ANIMALS, *"ghi"], [*GROUPS, *["sham"] * 3]
    every = compare_fractions(x, n, animals, groups)
    assert [(p.reference, p.condition) for p in every.pairs] == [
        ("control", "drug"),
        ("control", "sham"),
        ("drug", "sham"),
    ]
    p = [pair.p_value for pair in every.pairs]
    expected = stats.false_discovery_control(p)
    assert [pair.q_value for pair in every.pairs] == pytest.approx(list(expected))
    limited = compare_fractions(x, n, animals, groups, reference="sham")
    assert [(p.reference, p.condition) for p in limited.pairs] == [
        ("sham", "control"),
        ("sham", "drug"),
    ]


def test_without_animals_numbers_are_described_and_nothing_is_tested():
    result = compare_fractions(X, N, None, GROUPS)
    pair = result.pairs[0]
    assert np.isnan(pair.p_value)
    assert np.isnan(pair.q_value)
    assert "not independent replicates" in pair.reason
    assert result.conditions[0].pooled_fraction == pytest.approx(75 / 330)
    assert np.isnan(result.conditions[0].ci_low)


def test_images_as_units_only_when_asked_for_and_said():
    result = compare_fractions(X, N, list("aabbcc"), ["u", "u", "u", "u", "v", "v"], unit="image")
    assert result.pairs[0].unit.startswith("image")
    assert "6 images come from 3 animals" in result.warnings[0]
    assert np.isfinite(result.pairs[0].p_value)


@pytest.mark.parametrize("method", ["animal-mean", "beta-binomial"])
def test_one_animal_is_not_a_group(method):
    result = compare_fractions(X[:4], N[:4], ANIMALS[:4], GROUPS[:4], method=method)
    pair = result.pairs[0]
    assert np.isnan([pair.p_value, pair.ci_low, pair.ci_high]).all()
    assert pair.reason == "1 animals with cells in drug (2 needed)"
    assert np.isfinite(pair.difference)
    assert np.isnan(result.conditions[1].ci_low)
    assert result.conditions[1].reason


@pytest.mark.parametrize("method", ["animal-mean", "beta-binomial"])
@pytest.mark.parametrize("x", [[0] * 6, [9] * 6, [0, 0, 0, 9, 9, 9]])
def test_no_variation_is_withheld_not_zero(method, x):
    pair = compare_fractions(x, [9] * 6, ANIMALS, GROUPS, method=method).pairs[0]
    assert np.isnan(pair.p_value)
    assert "does not vary" in pair.reason
    assert pair.difference == (x[-1] - x[0]) / 9


def test_same_change_in_all_animals_is_withheld():
    pair = compare_fractions([1, 2, 3, 2, 3, 4], [8] * 6, list("abcabc"), GROUPS).pairs[0]
    assert np.isnan(pair.p_value)
    assert "change alike" in pair.reason


def test_animals_without_cells_are_left_out_aloud():
    result = compare_fractions([*X, 0], [*N, 0], [*ANIMALS, "empty"], [*GROUPS, "drug"])
    assert result.conditions[1].n_animals == 3
    assert "empty" in result.warnings[0]
    assert result.pairs[0].p_value == pytest.approx(
        compare_fractions(X, N, ANIMALS, GROUPS).pairs[0].p_value
    )


def test_small_unequal_groups_come_with_a_warning():
    x, n = [*X, 50, 45], [*N, 100, 110]
    equal = compare_fractions(X, N, ANIMALS, GROUPS)
    lopsided = compare_fractions(x, n, [*ANIMALS, "g", "h"], [*GROUPS, "drug", "drug"])
    assert equal.warnings == ()
    assert lopsided.warnings[0].startswith("3 animals in control, 5 in drug")


def test_nothing_given_is_nothing_found():
    result = compare_fractions([], [], [], [])
    assert result.conditions == result.pairs == ()


@pytest.mark.parametrize("method", ["animal-mean", "beta-binomial"])
@pytest.mark.parametrize("n_animals", [3, 6])
def test_false_positives_stay_at_their_level(method, n_animals):
    seeds, hits = 300, 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        total = rng.integers(40, 600, 2 * n_animals)
        x = rng.binomial(total, rng.beta(9, 21, 2 * n_animals))
        groups = ["a"] * n_animals + ["b"] * n_animals
        result = compare_fractions(x, total, range(2 * n_animals), groups, method=method)
        hits += result.pairs[0].p_value <= 0.05
    assert stats.binomtest(hits, seeds, 0.05, alternative="greater").pvalue > 0.005


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"positive": X[:5]}, AxisMismatchError, "one length"),
        ({"animal": ANIMALS[:5]}, AxisMismatchError, "animal"),
        ({"condition": GROUPS[:5]}, AxisMismatchError, "condition"),
        ({"positive": [200, *X[1:]]}, InputError, "positive <= total"),
        ({"positive": [-1, *X[1:]]}, InputError, "positive <= total"),
        ({"positive": [0.2, *X[1:]]}, InputError, "counts, not fractions"),
        ({"positive": [np.nan, *X[1:]]}, InputError, "row 0"),
        ({"positive": list("abcdef")}, InputError, "counts"),
        ({"animal": [None, *ANIMALS[1:]]}, InputError, "animal"),
        ({"condition": [np.nan, *GROUPS[1:]]}, InputError, "condition"),
        ({"reference": "placebo"}, InputError, "reference"),
        ({"method": "chi-square"}, InputError, "method"),
        ({"transform": "log"}, InputError, "transform"),
        ({"transform": "logit", "method": "beta-binomial"}, InputError, "transform"),
        ({"confidence": 95}, InputError, "confidence"),
        ({"unit": "cell"}, InputError, "unit"),
    ],
)
def test_nonsense_is_refused(change, error, words):
    options = {"positive": X, "total": N, "animal": ANIMALS, "condition": GROUPS}
    with pytest.raises(error, match=words):
        compare_fractions(**(options | change))
