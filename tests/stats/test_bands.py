from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aequorea.errors import AxisMismatchError, InputError
from aequorea.stats.bands import simultaneous_band

GRID = np.linspace(0, 6, 60)


def curves(seed, n, spread=0.4):
    rng = np.random.default_rng(seed)
    places = rng.normal(3, spread, (n, 1))
    widths = np.exp(rng.normal(0, 0.2, (n, 1)))
    return stats.norm.cdf((GRID - places) / widths)


def test_band_holds_the_mean_and_is_a_distribution_itself():
    band = simultaneous_band(curves(0, 7))
    for limit in (band.low, band.high):
        assert (np.diff(limit) >= 0).all()
        assert limit.min() >= 0
        assert limit.max() <= 1
    assert (band.low <= band.mean).all()
    assert (band.mean <= band.high).all()
    assert band.n_animals == 7
    assert band.reason == ""


def test_curves_that_vary_in_one_way_are_held_by_students_t():
    shape = 0.5 + 0 * GRID
    levels = np.random.default_rng(1).uniform(0.3, 0.7, 8)
    band = simultaneous_band(levels[:, None] * 2 * shape / 2, n_bootstrap=20_000)
    assert band.critical == pytest.approx(stats.t.isf(0.025, 7), rel=0.03)


def test_more_confidence_is_wider_and_seeds_repeat():
    wide, narrow = (simultaneous_band(curves(2, 8), confidence=c) for c in (0.99, 0.8))
    assert (wide.high >= narrow.high).all()
    assert wide.critical > narrow.critical
    again = simultaneous_band(curves(2, 8), confidence=0.99)
    assert (again.low == wide.low).all()


def test_order_of_animals_hardly_matters():
    here, there = simultaneous_band(curves(3, 8)), simultaneous_band(curves(3, 8)[::-1])
    assert there.critical == pytest.approx(here.critical, rel=0.05)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_few_animals_have_no_band(n):
    band = simultaneous_band(curves(0, n).reshape(n, len(GRID)))
    assert band.low is None
    assert band.high is None
    assert "6 needed" in band.reason
    assert np.isnan(band.mean).all() == (n == 0)


def test_animals_that_are_all_alike_have_no_band():
    assert "same curve" in simultaneous_band(np.repeat(curves(0, 1), 8, axis=0)).reason


def test_where_no_animal_has_any_value_the_true_curve_may_still_rise():
    steps = (np.linspace(2.5, 3.5, 8)[:, None] <= GRID).astype(float)
    band = simultaneous_band(steps)
    before = GRID < 2.5
    assert (band.low[before] == 0).all()
    assert (band.high[before] > 0).all()


def test_it_holds_whole_curves_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth = stats.norm.cdf(GRID, 3, np.sqrt(1 + 0.16))
    held, seeds = 0, 300
    for _ in range(seeds):
        sample = stats.norm.cdf(GRID - rng.normal(3, 0.4, (6, 1)))
        band = simultaneous_band(sample, n_bootstrap=200)
        held += bool(((band.low <= truth) & (truth <= band.high)).all())
    assert 0.9 < held / seeds < 0.99


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (GRID, AxisMismatchError, "one row per animal"),
        (np.full((6, 3), 2.0), InputError, "cumulative"),
        (np.tile([0.2, 0.1, 0.3], (6, 1)), InputError, "never decreasing"),
        (np.full((6, 3), np.nan), InputError, "cumulative"),
    ],
)
def test_nonsense_is_refused(bad, error, words):
    with pytest.raises(error, match=words):
        simultaneous_band(bad)
    with pytest.raises(InputError, match="confidence"):
        simultaneous_band(curves(0, 6), confidence=95)
