from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aequorea.errors import AxisMismatchError, InputError
from aequorea.stats.ecdf import ecdf_on_grid, half_distance, integral

GRID = np.linspace(0, 5, 11)


def puncta(seed, n=200, n_cells=7):
    rng = np.random.default_rng(seed)
    values = np.round(rng.gamma(2, 1, n), 1)  # many on the grid, many ties
    return values, rng.integers(0, n_cells, n), rng.integers(0, 4, n)


def test_curves_are_shares_no_larger_than_the_grid():
    values, cell, _ = puncta(0)
    found = ecdf_on_grid(values, cell, GRID)
    for k, name in enumerate(found.cells):
        mine = values[cell == name]
        assert found.cdf[k] == pytest.approx([(mine <= g).mean() for g in GRID])
        assert found.medians[k] == pytest.approx(np.median(mine))
        assert found.n_values[k] == len(mine)


def test_a_weight_is_that_many_values():
    values, cell, weights = puncta(1)
    found = ecdf_on_grid(values, cell, GRID, weights=0.1 * weights)
    many = ecdf_on_grid(np.repeat(values, weights), np.repeat(cell, weights), GRID)
    a, b = np.argsort(found.cells), np.argsort(many.cells)
    assert found.cdf[a] == pytest.approx(many.cdf[b])
    assert found.medians[a] == pytest.approx(many.medians[b])


def test_cells_weigh_alike_whatever_their_puncta():
    found = ecdf_on_grid([1.0] + [3.0] * 99, ["few"] + ["many"] * 99, GRID)
    assert found.mean_cdf[GRID == 2.0] == 0.5


def test_missing_values_and_empty_cells_are_left_out():
    values, cell = [1.0, np.nan, 2.0, np.nan, 4.0], ["a", "a", "b", "c", "d"]
    found = ecdf_on_grid(values, cell, GRID, weights=[1, 1, 1, 1, 0])
    assert found.cells == ["a", "b"]
    nothing = ecdf_on_grid([], [], GRID)
    assert nothing.cdf.shape == (0, 11)
    assert np.isnan(nothing.mean_cdf).all()


def test_areas_between_curves_are_wasserstein_distances():
    rng = np.random.default_rng(3)
    a, b = rng.gamma(2, 1, 50), rng.gamma(3, 1, 80)
    grid = np.linspace(0, max(a.max(), b.max()), 20001)
    curves = ecdf_on_grid([*a, *b], ["a"] * 50 + ["b"] * 80, grid).cdf
    area = float(integral(grid, np.abs(curves[0] - curves[1])))
    assert area == pytest.approx(stats.wasserstein_distance(a, b), rel=1e-3)


def test_half_distances_of_a_mean_and_means_of_halves_differ():
    cells = {"a": [0.5, 0.9, 1.0], "b": [0.6, 1.0, 1.1], "c": [0.4, 0.8, 1.2], "d": [3.0, 3.7, 5.0]}
    values = [v for mine in cells.values() for v in mine]
    names = [name for name, mine in cells.items() for _ in mine]
    grid = np.linspace(0, 5, 501)
    found = ecdf_on_grid(values, names, grid)
    assert half_distance(grid, found.mean_cdf) == pytest.approx(1.0, abs=0.01)
    assert found.medians.mean() == pytest.approx((0.9 + 1.0 + 0.8 + 3.7) / 4)


@pytest.mark.parametrize(
    ("cdf", "expected"),
    [
        ([0.5, 0.8, 1.0], 0.0),
        ([0.0, 0.5, 1.0], 1.0),
        ([0.0, 0.5, 0.5], 1.0),
        ([0.2, 0.4, 0.6], 1.5),
        ([0.0, 0.1, 0.4], np.nan),
        ([np.nan] * 3, np.nan),
    ],
)
def test_half_distance_is_where_one_half_is_first_reached(cdf, expected):
    assert half_distance([0, 1, 2], cdf) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"cell": [1]}, AxisMismatchError, "cell"),
        ({"cell": [1, None]}, InputError, "row 1"),
        ({"values": [[1.0, 2.0]]}, AxisMismatchError, "flat"),
        ({"values": [1.0, np.inf]}, InputError, "row 1"),
        ({"weights": [1.0]}, AxisMismatchError, "weights"),
        ({"weights": [1.0, -1.0]}, InputError, "row 1"),
        ({"grid": [0.0, 0.0, 1.0]}, InputError, "increasing"),
        ({"grid": [1.0]}, InputError, "increasing"),
        ({"grid": [0.0, np.nan]}, InputError, "increasing"),
    ],
)
def test_nonsense_is_refused(change, error, words):
    options = {"values": [1.0, 2.0], "cell": [1, 1], "grid": GRID} | change
    with pytest.raises(error, match=words):
        ecdf_on_grid(**options)
