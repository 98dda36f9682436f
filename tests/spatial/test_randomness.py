from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, stats

from aequorea.errors import AxisMismatchError, InputError
from aequorea.spatial.nulls import hard_core_points, random_points
from aequorea.spatial.randomness import csr_test, held_against_chance
from aequorea.spatial.window import set_covariance

SPACING = np.array([0.3, 0.1, 0.1])


def cell(shape=(10, 30, 33)):
    z, y, x = (np.linspace(-1, 1, n) for n in shape)
    body = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 < 1
    nucleus = z[:, None, None] ** 2 + (y[:, None] - 0.2) ** 2 + x**2 < 0.15
    distance = ndimage.distance_transform_edt(~nucleus, sampling=SPACING)
    return body & ~nucleus, distance


MASK, DISTANCE = cell()


def test_random_points_are_taken_for_random_as_often_as_promised():
    p = []
    for seed in range(120):
        points = random_points(40, MASK, SPACING, [7, seed])[0]
        found = csr_test(points, MASK, SPACING, DISTANCE, rng=seed, n_simulations=39)
        p.append((found.p_value, found.distance.p_value, found.nearest.p_value))
        assert found.reason == ""
    for values in np.transpose(p):
        assert stats.binomtest(int((values <= 0.1).sum()), 120, 0.1).pvalue > 0.005


def is_usual(number):
    return number.chance_low <= number.ratio <= number.chance_high


def test_points_at_the_nucleus_are_near_it_and_each_other():
    weights = np.exp(-DISTANCE / 0.15)
    points = random_points(60, MASK, SPACING, 1, weights=weights)[0]
    found = csr_test(points, MASK, SPACING, DISTANCE, rng=0, n_simulations=199)
    assert found.p_value == 0.005
    assert found.distance.ratio < 0.8
    assert found.distance.ratio < found.distance.chance_low < 1
    assert found.distance.p_value == 0.01
    assert found.distance_curve.outside.any()
    assert found.neighbours.ratio > found.neighbours.chance_high > 1
    # Held against the law they follow they are not conspicuous.
    fair = csr_test(points, MASK, SPACING, DISTANCE, rng=0, n_simulations=199, weights=weights)
    assert fair.p_value > 0.05
    assert 0.7 < fair.distance.ratio < 1.3
    assert "weights" in fair.hypothesis


def test_spaced_points_are_far_from_each_other_and_clusters_near():
    spaced = hard_core_points(60, MASK, SPACING, 2, distance_um=0.4)[0]
    found = csr_test(spaced, MASK, SPACING, DISTANCE, rng=0, n_simulations=199)
    assert found.nearest.ratio > found.nearest.chance_high > 1
    assert found.neighbours.ratio < 0.9
    assert found.nearest_curve.p_value == 0.005
    rng = np.random.default_rng(3)
    middles = random_points(12, MASK, SPACING, rng)[0]
    tight = np.repeat(middles, 5, axis=0) + rng.normal(0, 0.05, (60, 3))
    found = csr_test(tight, MASK, SPACING, rng=0, n_simulations=199)
    assert found.p_value == 0.005
    assert found.nearest.ratio < 0.6 < 0.8 < found.nearest.chance_low
    assert found.neighbours.ratio > 1.5 * found.neighbours.chance_high
    assert found.pair_curve.outside.any()
    assert found.distance.reason == "no distance map was given"
    assert found.n_points + found.n_outside == 60


def test_numbers_are_what_they_are_called():
    points = random_points(50, MASK, SPACING, 4)[0]
    found = csr_test(points, MASK, SPACING, DISTANCE, rng=0, n_simulations=399)
    apart = np.linalg.norm(points[:, None] - points, axis=-1) + np.diag(np.full(50, np.inf))
    assert found.nearest.observed == pytest.approx(apart.min(axis=1).mean())
    assert found.distance.expected == pytest.approx(np.median(DISTANCE[MASK]), rel=0.03)
    assert found.distance.ratio == found.distance.observed / found.distance.expected
    ball = 4 / 3 * np.pi * found.pair_radius_um**3
    assert found.neighbours.expected == pytest.approx(ball, rel=0.05)
    density = 49 / (MASK.sum() * SPACING.prod())
    assert density * ball == pytest.approx(1, rel=0.3)
    for number in (found.distance, found.nearest, found.neighbours):
        assert number.chance_low < 1 < number.chance_high
        assert is_usual(number) == (number.p_value > 0.05)
    np.testing.assert_allclose(found.distance_curve.central, np.arange(1, 20) / 20, atol=0.04)
    assert found.n_simulations == found.distance_curve.n_simulations == 399
    assert "independently" in found.hypothesis


def test_the_interval_of_the_ratio_is_the_test_of_the_number():
    values = np.random.default_rng(0).gamma(3, size=40)
    for n in range(40):
        number = held_against_chance(np.roll(values, -n))
        assert is_usual(number) == (number.p_value > 0.05)
        assert number.chance_low <= 1 <= number.chance_high


def test_points_on_the_voxel_grid_are_held_against_points_on_the_grid():
    coarse, spacing = np.ones((4, 9, 9)), (0.5, 0.4, 0.4)
    rejected = 0
    for seed in range(60):
        points = np.rint(random_points(60, coarse, spacing, [1, seed])[0] / spacing) * spacing
        found = csr_test(points, coarse, spacing, rng=seed, n_simulations=39)
        rejected += found.nearest_curve.p_value <= 0.05
    assert rejected <= 8


def test_seed_units_and_batches_do_not_matter(monkeypatch):
    points = random_points(30, MASK, SPACING, 5)[0]
    how = {"rng": 3, "n_simulations": 99}
    first = csr_test(points, MASK, SPACING, DISTANCE, **how)
    nm = csr_test(points * 1000, MASK, SPACING * 1000, DISTANCE * 1000, **how)
    assert first.p_value == nm.p_value
    assert first.nearest.ratio == pytest.approx(nm.nearest.ratio)
    given = csr_test(
        points, MASK, SPACING, DISTANCE, covariance=set_covariance(MASK, SPACING, reach_um=3), **how
    )
    assert given.neighbours.ratio == pytest.approx(first.neighbours.ratio, rel=0.05)
    monkeypatch.setattr("aequorea.spatial.randomness._BATCH", 100)
    again = csr_test(points, MASK, SPACING, DISTANCE, **how)
    assert np.isfinite(again.p_value)
    assert again.nearest.expected == pytest.approx(first.nearest.expected, rel=0.05)


def test_too_few_points_have_reasons_and_two_dimensions_do():
    none = csr_test(np.empty((0, 3)), MASK, SPACING, DISTANCE, rng=0)
    assert np.isnan(none.p_value)
    assert none.reason == none.distance.reason == "there are no points in the mask"
    assert none.distance_curve is none.pair_curve is None
    outside = csr_test([[0, 0, 0]], MASK, SPACING, rng=0)
    assert (outside.n_points, outside.n_outside) == (0, 1)
    one = csr_test(
        random_points(1, MASK, SPACING, 0)[0], MASK, SPACING, DISTANCE, rng=0, n_simulations=39
    )
    assert one.nearest.reason == one.neighbours.reason == "there is only one point"
    assert np.isfinite(one.distance.p_value)
    assert one.p_value == one.distance_curve.p_value
    two = csr_test(random_points(2, MASK, SPACING, 0)[0], MASK, SPACING, rng=0, n_simulations=39)
    assert two.nearest.expected > 0
    flat = csr_test(
        random_points(30, MASK[5], SPACING[1:], 0)[0],
        MASK[5],
        SPACING[1:],
        DISTANCE[5],
        rng=0,
        n_simulations=99,
    )
    assert flat.neighbours.expected == pytest.approx(np.pi * flat.pair_radius_um**2, rel=0.1)
    assert flat.p_value > 0.01


def test_what_does_not_fit_together_is_named():
    points = random_points(5, MASK, SPACING, 0)[0]
    with pytest.raises(AxisMismatchError, match="distance_map_um"):
        csr_test(points, MASK, SPACING, DISTANCE[1:], rng=0)
    with pytest.raises(InputError, match="finite distances"):
        csr_test(points, MASK, SPACING, np.where(MASK, DISTANCE, np.nan), rng=0)
    with pytest.raises(InputError, match="n_simulations"):
        csr_test(points, MASK, SPACING, rng=0, n_simulations=9)
    with pytest.raises(InputError, match="covariance"):
        csr_test(points, MASK, SPACING, rng=0, covariance=set_covariance(MASK[1:5], SPACING))
    with pytest.raises(AxisMismatchError, match="weights"):
        csr_test(points, MASK, SPACING, DISTANCE, rng=0, weights=np.ones(3))


def test_points_that_keep_apart_are_random_beside_others_that_do():
    """What detection merges is no regularity: the null must keep apart what it cannot tell."""
    mask, spacing, apart = np.ones((10, 40, 40), bool), (0.3, 0.1, 0.1), (1.0, 0.35, 0.35)
    plain, fair = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        points = hard_core_points(60, mask, spacing, rng, distance_um=apart)[0]
        options = {"rng": rng, "n_simulations": 99}
        plain.append(csr_test(points, mask, spacing, **options).nearest.p_value)
        found = csr_test(points, mask, spacing, hard_core_um=apart, **options)
        fair.append(found.nearest.p_value)
    assert np.mean(np.array(plain) <= 0.05) > 0.6
    assert np.mean(np.array(fair) <= 0.05) < 0.3
    assert found.hypothesis.endswith("no two nearer than 1 × 0.35 × 0.35 µm.")


def test_a_number_needs_simulations():
    with pytest.raises(ValueError, match="at least one simulation"):
        held_against_chance([1.0])
