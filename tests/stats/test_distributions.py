from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aequorea.errors import AxisMismatchError, InputError
from aequorea.stats.curve_test import curve_test, paired_curve_test
from aequorea.stats.distributions import compare_distributions
from aequorea.stats.ecdf import ecdf_on_grid, half_distance
from aequorea.stats.t_tests import welch


def study(seed=0, sizes=(4, 4), factor=1.0, crossed=False):
    """Distances of puncta in cells of animals of two conditions."""
    rng = np.random.default_rng(seed)
    values, cell, animal, condition = [], [], [], []
    for c, n in enumerate(sizes):
        for a in range(n):
            scale = factor**c * np.exp(0.15 * rng.standard_normal())
            for k in range(rng.integers(2, 6)):
                n_puncta = rng.integers(5, 40)
                values.append(rng.gamma(2, scale, n_puncta))
                cell += [k] * n_puncta
                animal += [f"m{a}" if crossed else f"m{c}{a}"] * n_puncta
                condition += ["WT", "KO"][c : c + 1] * n_puncta
    return np.concatenate(values), np.array(cell), np.array(animal), np.array(condition)


def animal_curves(data, grid, name):
    values, cell, animal, condition = data
    mine = condition == name
    curves = []
    for a in dict.fromkeys(animal[mine]):
        of = mine & (animal == a)
        curves.append(ecdf_on_grid(values[of], cell[of], grid).mean_cdf)
    return np.array(curves)


def test_animals_weigh_alike_and_so_do_their_cells():
    data = study()
    result = compare_distributions(*data)
    a, b = (animal_curves(data, result.grid, name) for name in ("WT", "KO"))
    assert np.array([d.cdf for d in result.animals]) == pytest.approx(np.concatenate([a, b]))
    assert result.conditions[0].cdf == pytest.approx(a.mean(axis=0))
    expected, pair = curve_test(a, b, result.grid), result.pairs[0]
    assert pair.p_value == pytest.approx(expected.p_value)
    assert (pair.statistic, pair.df, pair.df_error) == pytest.approx(
        (expected.statistic, expected.df, expected.df_error)
    )
    assert result.grid[0] == 0
    assert result.grid[-1] == data[0].max()
    assert sum(c.n_values for c in result.conditions) == len(data[0])
    assert pair.unit == "animal (mean CDF of its cells)"


def test_distances_between_curves():
    data = study(1, factor=1.5)
    result = compare_distributions(*data, grid=np.linspace(0, 30, 3001))
    a, b = (animal_curves(data, result.grid, name).mean(axis=0) for name in ("WT", "KO"))
    pair = result.pairs[0]
    assert pair.wasserstein == pytest.approx(np.abs(a - b).sum() * 0.01, rel=1e-3)
    means = []
    for name in ("WT", "KO"):
        values, cell, animal = (v[data[3] == name] for v in data[:3])
        per_cell = [
            [values[(animal == m) & (cell == k)].mean() for k in np.unique(cell[animal == m])]
            for m in np.unique(animal)
        ]
        means.append([np.mean(mine) for mine in per_cell])
    test = welch(*means)
    assert pair.shift == pytest.approx(test.value, rel=1e-3)
    assert (pair.shift_low, pair.shift_high) == pytest.approx(test.interval(0.95), rel=1e-2)
    assert pair.wasserstein == pytest.approx(pair.shift, rel=0.05)
    assert pair.wasserstein > 2 * pair.wasserstein_by_chance
    k = np.searchsorted(result.grid, pair.largest_gap_at)
    assert pair.largest_gap == pytest.approx(b[k] - a[k])
    assert pair.largest_gap < 0


def test_two_half_distances_are_told_apart():
    values, cell, animal, condition = study(2)
    result = compare_distributions(values, cell, animal, condition)
    for c in result.conditions:
        assert c.median_of_mean_cdf == pytest.approx(half_distance(result.grid, c.cdf))
        mine = condition == c.condition
        per_animal = [
            np.mean(
                [
                    np.median(values[mine & (animal == a) & (cell == k)])
                    for k in np.unique(cell[mine & (animal == a)])
                ]
            )
            for a in np.unique(animal[mine])
        ]
        assert c.mean_of_medians == pytest.approx(np.mean(per_animal))
        assert abs(c.mean_of_medians - c.median_of_mean_cdf) > 1e-6


def test_a_different_shape_is_found_where_means_are_the_same():
    rng = np.random.default_rng(0)
    animal = np.repeat([f"m{k}" for k in range(10)], 300)
    cell = np.tile(np.repeat(np.arange(10), 30), 10)
    condition = np.repeat(["even", "clumped"], 1500)
    scale = np.repeat(np.exp(0.05 * rng.standard_normal(10)), 300)
    shape = np.where(condition == "even", 6.0, 1.5)
    values = rng.gamma(shape, 3 / shape) * scale
    pair = compare_distributions(values, cell, animal, condition).pairs[0]
    assert pair.p_value < 1e-3
    assert pair.shift_low < 0 < pair.shift_high


def test_order_and_units_change_nothing():
    data = study(3)
    here = compare_distributions(*data).pairs[0]
    order = np.random.default_rng(0).permutation(len(data[0]))
    order = np.concatenate([[0], order[order != 0]])
    values, *names = (v[order] for v in data)
    there = compare_distributions(1000 * values, *names).pairs[0]
    assert there.p_value == pytest.approx(here.p_value)
    assert there.wasserstein == pytest.approx(1000 * here.wasserstein)


def test_weights_are_shares_of_intensity():
    values, *names = study(4)
    weights = np.random.default_rng(0).integers(1, 4, len(values))
    grid = np.linspace(0, 10, 50)
    weighed = compare_distributions(values, *names, grid=grid, weights=0.3 * weights)
    many = compare_distributions(*(np.repeat(v, weights) for v in (values, *names)), grid=grid)
    assert weighed.pairs[0].p_value == pytest.approx(many.pairs[0].p_value)
    assert weighed.conditions[1].mean_of_medians == pytest.approx(
        many.conditions[1].mean_of_medians
    )


def test_the_same_animals_are_compared_within_themselves():
    data = study(5, crossed=True)
    result = compare_distributions(*data)
    a, b = (animal_curves(data, result.grid, name) for name in ("WT", "KO"))
    pair = result.pairs[0]
    assert pair.design == "paired"
    assert pair.p_value == pytest.approx(paired_curve_test(a, b, result.grid).p_value)
    data = study(5, (4, 6), crossed=True)
    partly = compare_distributions(*data)
    assert partly.pairs[0].design == "blocked"
    assert partly.pairs[0].n_incomplete == 2
    assert "2 animals have values in only one" in partly.warnings[0]
    with pytest.raises(InputError, match="design"):
        compare_distributions(*data, design="independent")


def test_permutations_know_their_smallest_p():
    few = compare_distributions(*study(6, (3, 3)), method="permutation").pairs[0]
    assert np.isnan(few.p_value)
    assert "20 ways, so p cannot be below 0.1" in few.reason
    assert np.isfinite([few.wasserstein, few.wasserstein_by_chance, few.statistic]).all()
    more = compare_distributions(*study(6, factor=4.0), method="permutation").pairs[0]
    assert more.p_value == more.smallest_p == pytest.approx(2 / 70)
    pairs = study(6, (6, 6), factor=4.0, crossed=True)
    assert compare_distributions(*pairs, method="permutation").pairs[0].p_value == 2 / 64


def test_bands_only_where_there_are_animals_enough():
    result = compare_distributions(*study(7, (5, 6)))
    assert result.conditions[0].band.low is None
    assert "one curve per animal" in result.conditions[0].band.reason
    assert (result.conditions[1].band.low <= result.conditions[1].cdf).all()


def test_without_animals_curves_are_described_and_nothing_is_tested():
    values, cell, _, condition = study(8)
    result = compare_distributions(values, cell, None, condition)
    assert "not independent" in result.pairs[0].reason
    assert np.isnan(result.pairs[0].p_value)
    assert result.animals == ()
    assert result.conditions[0].cdf[-1] == 1
    assert result.conditions[0].band.reason == result.pairs[0].reason
    asked = compare_distributions(
        values, cell, None, condition, unit="image", image=np.char.add(condition, cell.astype(str))
    )
    assert asked.pairs[0].unit.startswith("image")
    assert "as asked for" in asked.warnings[0]


def test_what_is_left_out_is_said():
    values, *names = study(9)
    values[:4] = np.nan
    result = compare_distributions(values, *names, grid=np.linspace(0, 2, 20))
    assert result.warnings[0].startswith("4 of ")
    assert "beyond the end of the grid (2)" in result.warnings[1]


def test_unequal_animals_come_with_a_warning():
    lopsided = compare_distributions(*study(0, (3, 6)))
    assert lopsided.warnings[0].startswith("3 animals in WT, 6 in KO")
    rng = np.random.default_rng(0)
    animal = np.repeat(list("abcdefgh"), 200)
    scale = np.repeat([1.0, 1.01, 0.99, 1.02, 0.5, 2.0, 1.0, 4.0], 200)
    values = scale * rng.gamma(2, 1, 1600)
    condition = np.repeat(["x", "y"], 800)
    result = compare_distributions(values, animal, animal, condition)
    assert result.warnings[0].startswith("animals of y vary more than 3 times")
    assert compare_distributions(*study(0)).warnings == ()


def test_one_animal_and_equal_curves_are_withheld():
    lone = compare_distributions(*study(0, (3, 1)))
    assert lone.pairs[0].reason == "1 animals with values in KO (2 needed)"
    assert np.isfinite(lone.pairs[0].wasserstein)
    values, animal = np.tile([1.0, 2.0, 3.0], 6), np.repeat(list("abcdef"), 3)
    same = compare_distributions(values, animal, animal, np.repeat(["x", "y"], 9)).pairs[0]
    assert "no variation" in same.reason
    assert same.wasserstein == 0


def test_nothing_given_is_nothing_found():
    result = compare_distributions([], [], [], [])
    assert result.animals == result.conditions == result.pairs == ()
    gone = compare_distributions([np.nan] * 2, [1, 2], ["a", "b"], ["x", "y"])
    assert gone.pairs[0].reason == "0 animals with values in x (2 needed)"
    assert np.isnan(gone.conditions[0].cdf).all()


def test_false_positives_stay_at_their_level():
    seeds, hits = 80, 0
    for seed in range(seeds):
        hits += compare_distributions(*study(seed)).pairs[0].p_value <= 0.05
    assert stats.binomtest(hits, seeds, 0.05, alternative="greater").pvalue > 0.005


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"cell": [1, 2]}, AxisMismatchError, "cell"),
        ({"animal": list("abc")}, AxisMismatchError, "animal"),
        ({"condition": ["x", "x", "y", None]}, InputError, "condition"),
        ({"values": [1.0, 2.0, 3.0, np.inf]}, InputError, "row 3"),
        ({"weights": [1.0, 1.0, 1.0, -1.0]}, InputError, "weights"),
        ({"grid": [3.0, 1.0]}, InputError, "grid"),
        ({"method": "kolmogorov-smirnov"}, InputError, "method"),
        ({"design": "crossed"}, InputError, "design"),
        ({"reference": "placebo"}, InputError, "reference"),
        ({"confidence": 0}, InputError, "confidence"),
        ({"unit": "cell"}, InputError, "unit"),
        ({"unit": "image"}, InputError, "image"),
    ],
)
def test_nonsense_is_refused(change, error, words):
    options = {
        "values": [1.0, 2.0, 3.0, 5.0],
        "cell": [1, 1, 1, 1],
        "animal": list("abcd"),
        "condition": list("xxyy"),
    }
    with pytest.raises(error, match=words):
        compare_distributions(**(options | change))
