from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.spatial import conjunction
from aequorea.spatial.conjunction import (
    against_chance,
    conjunction_test,
    expected_partners,
    overlap_conjunctions,
    point_conjunctions,
)

SPACING = (0.3, 0.1, 0.12)


# --- overlaps ---------------------------------------------------------------------------------


def blobs(seed, n=60, shape=(6, 40, 40)):
    rng = np.random.default_rng(seed)
    image = np.zeros(shape, bool)
    image[tuple(rng.integers(0, length, n) for length in shape)] = True
    labels, _ = ndimage.label(ndimage.binary_dilation(image, iterations=2))
    return labels


@pytest.mark.parametrize("k", [2, 3])
def test_overlaps_equal_brute_force(k):
    images = [blobs(seed) for seed in range(k)]
    found = overlap_conjunctions(images, SPACING)
    shared = np.all([image > 0 for image in images], axis=0)
    places, n = ndimage.label(shared, np.ones((3, 3, 3)))
    assert len(found) == n > 3
    np.testing.assert_array_equal(found.n_voxels, np.bincount(places.reshape(-1))[1:])
    np.testing.assert_allclose(found.volume_um3, found.n_voxels * np.prod(SPACING))
    centres = np.array(ndimage.center_of_mass(shared, places, range(1, n + 1)))
    np.testing.assert_allclose(found.centroid_um, centres * SPACING)
    for i, image in enumerate(images):
        pairs = {(int(p) - 1, int(m)) for p, m in zip(places[shared], image[shared], strict=True)}
        assert {tuple(pair) for pair in found.members[i].tolist()} == pairs
        assert found.n_objects[i] == image.max()
        assert found.n_taking_part[i] == len({m for _, m in pairs})
    assert (found.percentage <= 100).all()


def test_labels_do_not_wrap_around_and_do_not_split_a_place():
    red = np.zeros((1, 3, 8), np.uint16)
    green = red.copy()
    red[0, 1, 1:4], red[0, 1, 4:7] = 256, 300
    green[0, 1, 1:7] = 256  # 256 × 256 is 0 in 16 bits
    found = overlap_conjunctions([red, green], SPACING)
    assert found.n_voxels.tolist() == [6]
    assert found.members[0].tolist() == [[0, 256], [0, 300]]
    assert found.percentage.tolist() == [100, 100]


def test_one_object_in_two_places_counts_once():
    red, green = np.array([[5, 5, 5, 5, 5]]), np.array([[1, 0, 0, 0, 2]])
    found = overlap_conjunctions([red, green], (1, 1))
    assert len(found) == 2
    assert found.n_taking_part.tolist() == [1, 2]
    assert found.percentage.tolist() == [100, 100]


def test_relabelling_and_order_of_types_change_nothing():
    a, b = blobs(1), blobs(2)
    table = np.random.default_rng(3).permutation(a.max()) + 1000
    renamed = np.where(a > 0, table[np.maximum(a, 1) - 1], 0)
    one, other = (overlap_conjunctions([x, b], SPACING) for x in (a, renamed))
    np.testing.assert_array_equal(one.n_voxels, other.n_voxels)
    np.testing.assert_array_equal(one.percentage, other.percentage)
    swapped = overlap_conjunctions([b, a], SPACING)
    np.testing.assert_array_equal(swapped.percentage, one.percentage[::-1])
    np.testing.assert_array_equal(swapped.members[0], one.members[1])


def test_region_and_size_limit_what_counts():
    a, b = blobs(1), blobs(2)
    within = np.zeros(a.shape, bool)
    within[:, :20] = True
    found = overlap_conjunctions([a, b], SPACING, within=within)
    assert (found.centroid_um[:, 1] < 2).all()
    assert found.n_objects[0] == len(np.unique(a[:, :20])) - 1
    everything = overlap_conjunctions([a, b], SPACING)
    large = overlap_conjunctions([a, b], SPACING, min_voxels=10)
    np.testing.assert_array_equal(large.n_voxels, everything.n_voxels[everything.n_voxels >= 10])
    assert 0 < len(large) < len(everything)
    assert set(large.members[0][:, 0]) == set(range(len(large)))


def test_types_without_objects_have_no_percentage():
    red = np.array([[1, 0, 2]])
    found = overlap_conjunctions([red, 0 * red], (1, 1))
    assert len(found) == 0
    assert found.centroid_um.shape == (0, 2)
    assert found.percentage[0] == 0
    assert np.isnan(found.percentage[1])
    assert found.reason == ("", "no objects of this type")


# --- points -----------------------------------------------------------------------------------


def best_by_enumeration(types, reach):
    """Largest number of disjoint groups and their least total distance, by trying them all."""
    groups = []
    for choice in itertools.product(*[range(len(points)) for points in types]):
        placed = [points[i] for points, i in zip(types, choice, strict=True)]
        apart = [np.linalg.norm(p - q) for p, q in itertools.combinations(placed, 2)]
        if max(apart) <= reach:
            groups.append((choice, float(np.mean(apart))))
    best = (0, 0.0)

    def search(start, used, n, total):
        nonlocal best
        if (n, -total) > (best[0], -best[1] + 1e-12):
            best = (n, total)
        for i in range(start, len(groups)):
            choice, cost = groups[i]
            nodes = set(enumerate(choice))
            if not nodes & used:
                search(i + 1, used | nodes, n + 1, total + cost)

    search(0, set(), 0, 0.0)
    return best


@given(st.integers(0, 10**6), st.integers(0, 5), st.integers(0, 5), st.floats(0.1, 0.7))
@settings(max_examples=120)
def test_pairs_are_the_most_and_then_the_closest(seed, n, m, reach):
    rng = np.random.default_rng(seed)
    types = [rng.random((n, 2)), rng.random((m, 2))]
    found = point_conjunctions(types, within_um=reach)
    assert (len(found), found.distance_um.sum()) == pytest.approx(best_by_enumeration(types, reach))


@given(st.integers(0, 10**6), st.tuples(*[st.integers(1, 4)] * 3), st.floats(0.2, 0.6))
@settings(max_examples=60)
def test_triples_are_the_most_and_then_the_closest(seed, sizes, reach):
    rng = np.random.default_rng(seed)
    types = [rng.random((n, 2)) for n in sizes]
    found = point_conjunctions(types, within_um=reach)
    count, total = best_by_enumeration(types, reach)
    assert len(found) == count
    assert found.distance_um.sum() == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_groups_are_disjoint_and_within_the_distance(k):
    rng = np.random.default_rng(k)
    types = [rng.uniform(0, 6, (60 + 10 * i, 3)) for i in range(k)]
    found = point_conjunctions(types, within_um=1.2)
    assert len(found) > 5
    for i, points in enumerate(types):
        assert len(np.unique(found.members[:, i])) == len(found)
        assert found.percentage[i] == pytest.approx(100 * len(found) / len(points))
    placed = [points[found.members[:, i]] for i, points in enumerate(types)]
    apart = [np.linalg.norm(p - q, axis=1) for p, q in itertools.combinations(placed, 2)]
    assert np.max(apart) <= 1.2
    np.testing.assert_allclose(found.distance_um, np.mean(apart, axis=0))
    np.testing.assert_allclose(found.centroid_um, np.mean(placed, axis=0))
    assert (np.diff(found.members[:, 0]) > 0).all()


def test_integer_programming_and_assignment_agree_on_pairs():
    rng = np.random.default_rng(9)
    for _ in range(20):
        nodes = np.unique(rng.integers([0, 8], [8, 17], (25, 2)), axis=0)
        cost = rng.random(len(nodes))
        paired = conjunction._paired(nodes, cost)
        packed = conjunction._packed(nodes, cost)
        assert len(paired) == len(packed)
        assert cost[paired].sum() == pytest.approx(cost[packed].sum(), abs=1e-5)


def test_moving_turning_and_scaling_change_nothing():
    rng = np.random.default_rng(10)
    types = [rng.uniform(0, 5, (40, 3)), rng.uniform(0, 5, (50, 3)), rng.uniform(0, 5, (45, 3))]
    one = point_conjunctions(types, within_um=1.0)
    turn = stats.special_ortho_group(3, seed=1).rvs()
    moved = point_conjunctions([2.5 * p @ turn + (4, -7, 1) for p in types], within_um=2.5)
    np.testing.assert_array_equal(one.members, moved.members)
    np.testing.assert_allclose(moved.distance_um, 2.5 * one.distance_um)


def test_order_of_points_and_types_changes_only_their_numbers():
    rng = np.random.default_rng(11)
    types = [rng.uniform(0, 5, (40, 2)), rng.uniform(0, 5, (50, 2))]
    one = point_conjunctions(types, within_um=0.5)
    order = rng.permutation(40)
    shuffled = point_conjunctions([types[0][order], types[1]], within_um=0.5)
    pairs = {(int(order[i]), int(j)) for i, j in shuffled.members}
    assert pairs == {tuple(pair) for pair in one.members.tolist()}
    swapped = point_conjunctions(types[::-1], within_um=0.5)
    assert {(int(i), int(j)) for j, i in swapped.members} == pairs


def test_a_distance_beyond_the_spacing_is_still_solved():
    rng = np.random.default_rng(12)
    types = [rng.uniform(0, 5, (150, 3)), rng.uniform(0, 5, (120, 3))]
    assert len(point_conjunctions(types, within_um=4)) == 120


def test_points_on_the_same_place_and_at_the_limit_count():
    assert len(point_conjunctions([[[0, 0], [0, 0]], [[0, 0]]], within_um=0)) == 1
    third = [[[0.1 + 0.2]], [[0.0]]]
    assert len(point_conjunctions(third, within_um=0.3)) == 1


def test_types_without_points_are_no_error():
    found = point_conjunctions([[[0, 0]], []], within_um=1)
    assert found.members.shape == (0, 2)
    assert found.percentage[0] == 0
    assert np.isnan(found.percentage[1])
    assert found.reason == ("", "no points of this type")
    assert len(point_conjunctions([[], []], within_um=1)) == 0
    assert point_conjunctions([[], [], [[1.0]]], within_um=1).members.shape == (0, 3)


# --- chance -----------------------------------------------------------------------------------


def test_partners_by_chance_equal_brute_force():
    rng = np.random.default_rng(13)
    mask = rng.random((5, 20, 18)) < 0.6
    points = rng.uniform(-0.1, 1.5, (30, 3))
    voxels = np.argwhere(mask) * SPACING
    near = np.array([(np.linalg.norm(voxels - p, axis=1) <= 0.45).mean() for p in points])
    pairs, partnered = expected_partners(points, 12, mask, SPACING, within_um=0.45)
    assert pairs == pytest.approx(12 * near.sum())
    assert partnered == pytest.approx((1 - (1 - near) ** 12).sum())
    flat = expected_partners(points[:, 1:], 12, mask[0], SPACING[1:], within_um=0.45)
    stack = expected_partners(points * (0, 1, 1), 12, mask[:1], (9.0, *SPACING[1:]), within_um=0.45)
    assert flat == pytest.approx(stack)


def test_simulated_pairs_have_the_analytic_mean():
    rng = np.random.default_rng(14)
    mask = np.ones((4, 20, 20), bool)
    voxels = np.argwhere(mask) * SPACING
    red = voxels[rng.choice(len(voxels), 15, replace=False)]
    pairs, partnered = expected_partners(red, 8, mask, SPACING, within_um=0.3)
    simulated = []
    for _ in range(600):
        green = voxels[rng.integers(0, len(voxels), 8)]
        apart = np.linalg.norm(red[:, None] - green[None], axis=2) <= 0.3 + 1e-9
        simulated.append((apart.sum(), apart.any(axis=1).sum()))
    means, spread = np.mean(simulated, axis=0), np.std(simulated, axis=0) / np.sqrt(600)
    assert (np.abs(means - (pairs, partnered)) < 4 * spread).all()


def test_independent_puncta_are_rejected_no_more_often_than_the_level():
    rng = np.random.default_rng(15)

    def draw(rng):
        return [rng.uniform(0, 5, (20, 2)), rng.uniform(0, 5, (20, 2))]

    p_values = np.array(
        [
            conjunction_test(draw(rng), draw, within_um=0.4, n_simulations=19, seed=rng).p_value
            for _ in range(100)
        ]
    )
    assert stats.binomtest(int((p_values <= 0.05).sum()), 100, 0.05, "greater").pvalue > 0.005
    assert stats.binomtest(int((p_values <= 0.5).sum()), 100, 0.5, "greater").pvalue > 0.005
    assert p_values.min() < 0.2


def test_true_partners_are_found_against_chance():
    rng = np.random.default_rng(16)
    red, blue = rng.uniform(0, 10, (60, 3)), rng.uniform(0, 10, (40, 3))
    green = np.vstack([red[:25] + rng.normal(0, 0.03, (25, 3)), rng.uniform(0, 10, (25, 3))])
    blue[:10] = red[:10] + 0.05

    def shuffled(rng):
        return [red, rng.uniform(0, 10, (50, 3)), rng.uniform(0, 10, (40, 3))]

    result = conjunction_test([red, green, blue], shuffled, within_um=0.3, n_simulations=99)
    assert result.observed >= 10
    assert result.p_value == result.p_floor == 0.01
    again = conjunction_test([red, green, blue], shuffled, within_um=0.3, n_simulations=99)
    assert result == again or np.isnan(result.ratio)


def test_comparison_with_chance_by_hand():
    simulated = [0, 1, 2, 2, 3, 3, 3, 4, 5, 7]
    up = against_chance(4, simulated, level=0.8)
    assert (up.expected, up.ratio) == (3, pytest.approx(4 / 3))
    assert up.p_value == pytest.approx(4 / 11)
    assert up.interval == (1, 5)
    assert up.ratio_interval == pytest.approx((1 / 3, 5 / 3))
    assert against_chance(4, simulated, alternative="less").p_value == pytest.approx(9 / 11)
    assert against_chance(9, simulated, alternative="two-sided").p_value == pytest.approx(2 / 11)
    assert against_chance(3, simulated, alternative="two-sided").p_value == 1


def test_chance_that_decides_nothing_is_named():
    result = against_chance(0, [0, 0, 0])
    assert np.isnan([result.ratio, result.p_value]).all()
    assert "ratio: chance never gives any" in result.reason
    assert "p_value: no simulation differs" in result.reason
    never = against_chance(3, np.zeros(19))
    assert never.p_value == 0.05
    assert np.isnan(never.ratio)


# --- what was given ---------------------------------------------------------------------------


def test_what_does_not_fit_is_refused(monkeypatch):
    image = np.ones((2, 3, 3), int)
    with pytest.raises(InputError, match="2 types"):
        overlap_conjunctions([image], SPACING)
    with pytest.raises(AxisMismatchError, match=r"labels\[1\]"):
        overlap_conjunctions([image, image[1:]], SPACING)
    with pytest.raises(AxisMismatchError, match="within"):
        overlap_conjunctions([image, image], SPACING, within=image[0])
    with pytest.raises(CalibrationError, match="spacing_um"):
        overlap_conjunctions([image, image], (1, 1))
    with pytest.raises(InputError, match="min_voxels"):
        overlap_conjunctions([image, image], SPACING, min_voxels=0)
    with pytest.raises(InputError, match="2 types"):
        point_conjunctions([[[0, 0]]], within_um=1)
    with pytest.raises(AxisMismatchError, match="same axes"):
        point_conjunctions([[[0, 0]], [[0, 0, 0]]], within_um=1)
    for bad in (-1, np.nan):
        with pytest.raises(InputError, match="within_um"):
            point_conjunctions([[[0, 0]], [[0, 0]]], within_um=bad)
    with pytest.raises(InputError, match="finite"):
        point_conjunctions([[[0, np.nan]], [[0, 0]]], within_um=1)
    with pytest.raises(InputError, match="sampler"):
        conjunction_test([[[0, 0]], [[0, 0]]], lambda _: [[[0, 0]]], within_um=1)
    with pytest.raises(InputError, match="n_simulations"):
        conjunction_test([[[0, 0]], [[0, 0]]], lambda _: [], within_um=1, n_simulations=0)
    with pytest.raises(InputError, match="alternative"):
        against_chance(1, [1], alternative="more")
    with pytest.raises(InputError, match="level"):
        against_chance(1, [1], level=95)
    with pytest.raises(InputError, match="simulation"):
        against_chance(1, [])
    with pytest.raises(InputError, match="region"):
        expected_partners([[0, 0]], 1, np.zeros((2, 2)), (1, 1), within_um=1)
    monkeypatch.setattr(conjunction, "MOST_CANDIDATES", 3)
    with pytest.raises(InputError, match="smaller distance"):
        point_conjunctions([[[0, 0]] * 2, [[0, 0]] * 2], within_um=1)
