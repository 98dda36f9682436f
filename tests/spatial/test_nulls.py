from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import pdist

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.spatial.nulls import (
    hard_core_points,
    moved_clusters,
    points_inside,
    random_points,
    swapped_labels,
)

SPACING = (0.3, 0.1, 0.12)


def shell(shape=(8, 20, 22)):
    """A flattened ball with a hole, off the middle."""
    z, y, x = (np.linspace(-1, 1, n) for n in shape)
    away = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2
    hole = z[:, None, None] ** 2 + (y[:, None] - 0.2) ** 2 + x**2 < 0.15
    return (away < 1) & ~hole


MASK = shell()


def voxels(points, spacing=SPACING):
    return np.rint(points / spacing).astype(int)


# --- complete spatial randomness --------------------------------------------------------------


def test_random_points_are_even_over_the_voxels_of_the_mask_and_within_each():
    points = random_points(500, MASK, SPACING, 0, n_simulations=100).reshape(-1, 3)
    where = voxels(points)
    counts = np.zeros(MASK.shape)
    np.add.at(counts, tuple(where.T), 1)
    assert counts[~MASK].sum() == 0
    assert stats.chisquare(counts[MASK]).pvalue > 0.001
    for axis in range(3):
        within = points[:, axis] / SPACING[axis] - where[:, axis] + 0.5
        assert stats.kstest(within, "uniform").pvalue > 0.001


def test_weights_set_the_density_and_voxels_of_weight_0_stay_empty():
    weights = np.broadcast_to(np.array([0, 1, 2, 3, 4, 0, 6, 0])[:, None, None], MASK.shape)
    points = random_points(20_000, MASK, SPACING, 1, weights=weights)[0]
    counts = np.bincount(voxels(points)[:, 0], minlength=8)
    expected = (weights * MASK).sum(axis=(1, 2))
    assert (counts[expected == 0] == 0).all()
    found, share = counts[expected > 0], expected[expected > 0] / expected.sum()
    assert stats.chisquare(found, share * 20_000).pvalue > 0.001


def test_points_given_keep_their_place_within_the_voxel():
    given = np.array([[0.3, 0.13, 0.12], [0.0, 0.1, 0.24 - 0.05]])
    moved = random_points(given, MASK, SPACING, 2, n_simulations=50)
    offset = given / SPACING - np.rint(given / SPACING)
    np.testing.assert_allclose(
        moved / SPACING - np.rint(moved / SPACING), np.tile(offset, (50, 1, 1)), atol=1e-9
    )
    assert points_inside(moved.reshape(-1, 3), MASK, SPACING).all()


def test_the_same_seed_gives_the_same_points_in_two_and_three_dimensions():
    for mask, spacing in ((MASK, SPACING), (MASK[4], SPACING[1:])):
        one = random_points(7, mask, spacing, 3, n_simulations=2)
        assert one.shape == (2, 7, mask.ndim)
        np.testing.assert_array_equal(one, random_points(7, mask, spacing, 3, n_simulations=2))
        assert points_inside(one.reshape(-1, mask.ndim), mask, spacing).all()
    assert random_points(0, MASK, SPACING, 0).shape == (1, 0, 3)
    assert random_points(3, MASK, SPACING, 0, n_simulations=0).shape == (0, 3, 3)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"mask": np.zeros((2, 3, 3))}, InputError, "at least one voxel"),
        ({"mask": np.ones(5)}, InputError, "2 or 3 axes"),
        ({"mask": np.full((2, 3, 3), np.nan)}, InputError, "NaN"),
        ({"spacing_um": (0.1, 0.1)}, CalibrationError, "3 voxel sizes"),
        ({"spacing_um": (0.1, 0, 0.1)}, CalibrationError, "above 0"),
        ({"spacing_um": {"y": 0.1, "x": 0.1}}, CalibrationError, "3 voxel sizes"),
        ({"points": -1}, InputError, "at least 0"),
        ({"points": 2.5}, InputError, "whole number"),
        ({"points": [[0.0, 1.0]]}, AxisMismatchError, r"\(n, 3\)"),
        ({"points": [[0.0, 1.0, np.nan]]}, InputError, "finite"),
        ({"weights": np.ones((2, 3))}, AxisMismatchError, "weights"),
        ({"weights": np.zeros((2, 3, 3))}, InputError, "not all 0"),
        ({"weights": np.full((2, 3, 3), -1.0)}, InputError, "at least 0"),
    ],
)
def test_what_cannot_be_used_is_named(changes, error, words):
    given = {"points": 3, "mask": np.ones((2, 3, 3)), "spacing_um": (1, 1, 1), "rng": 0} | changes
    with pytest.raises(error, match=words):
        random_points(**given)


def test_points_are_inside_if_their_voxel_is():
    mask = np.zeros((3, 4), bool)
    mask[1, 2] = True
    at = [[0.1, 0.4], [0.149, 0.4], [0.151, 0.4], [0.1, -0.4], [9.0, 0.4]]
    assert points_inside(at, mask, (0.1, 0.2)).tolist() == [True, True, False, False, False]
    assert points_inside(np.empty((0, 2)), mask, (0.1, 0.2)).shape == (0,)


# --- hard core --------------------------------------------------------------------------------


@pytest.mark.parametrize("ndim", [2, 3])
def test_hard_core_points_keep_their_distance(ndim):
    mask, spacing = (MASK, SPACING) if ndim == 3 else (MASK[4], SPACING[1:])
    sets = hard_core_points(20, mask, spacing, 0, distance_um=0.25, n_simulations=30)
    assert points_inside(sets.reshape(-1, ndim), mask, spacing).all()
    nearest = [pdist(points).min() for points in sets]
    assert min(nearest) >= 0.25
    assert min(nearest) < 0.26


def test_a_gradual_hard_core_lets_pairs_pass_more_often_the_farther_they_are():
    core = {"distance_um": 0.5, "n_simulations": 6000}
    soft = hard_core_points(2, MASK, SPACING, 1, spread=0.2, **core)
    free = random_points(2, MASK, SPACING, 2, n_simulations=60_000)
    edges = [0.2, 0.4, 0.5, 0.6, 0.8]
    near, all_near = (
        np.histogram(np.linalg.norm(p[:, 0] - p[:, 1], axis=1), edges)[0] for p in (soft, free)
    )
    far = [np.mean(np.linalg.norm(p[:, 0] - p[:, 1], axis=1) > 0.8) for p in (soft, free)]
    passed = near / len(soft) / far[0] / (all_near / len(free) / far[1])
    for low, high, share in zip(edges, edges[1:], passed, strict=False):
        middle = (low + high) / 2
        assert share == pytest.approx(stats.norm.cdf((middle - 0.5) / 0.1), abs=0.15)
    assert hard_core_points(9, MASK, SPACING, 1, spread=0.0, distance_um=0.3).tolist() == (
        hard_core_points(9, MASK, SPACING, 1, distance_um=0.3).tolist()
    )


def test_two_hard_core_points_are_random_ones_that_are_far_enough_apart():
    found = hard_core_points(2, MASK, SPACING, 1, distance_um=0.8, n_simulations=3000)
    pairs = random_points(2, MASK, SPACING, 2, n_simulations=12_000)
    apart = np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=1)
    # Second given the first is even over what is left: weigh by one over its share.
    share = np.array(
        [(np.linalg.norm(pairs[:, 1] - p, axis=1) >= 0.8).mean() for p in pairs[:2000, 0]]
    )
    kept = apart[:2000] >= 0.8
    expected = np.average(apart[:2000][kept], weights=1 / share[kept])
    distances = np.linalg.norm(found[:, 0] - found[:, 1], axis=1)
    error = np.hypot(distances.std() / np.sqrt(3000), distances.std() / np.sqrt(kept.sum()))
    assert abs(distances.mean() - expected) < 4 * error


def test_hard_core_points_without_distance_are_random_and_follow_weights():
    weights = np.zeros(MASK.shape)
    weights[:, :10] = 1
    points = hard_core_points(
        30, MASK, SPACING, 2, distance_um=0.0, weights=weights, n_simulations=20
    ).reshape(-1, 3)
    assert voxels(points)[:, 1].max() == 9
    counts = np.bincount(voxels(points)[:, 2], minlength=MASK.shape[2])
    expected = (weights * MASK).sum(axis=(0, 1))
    seen = expected > 0
    assert stats.chisquare(counts[seen], 600 * expected[seen] / expected.sum()).pvalue > 0.001


def test_points_that_do_not_fit_are_an_error_that_says_so():
    with pytest.raises(InputError, match=r"do not fit into .* µm³, \d+ were placed"):
        hard_core_points(500, MASK, SPACING, 0, distance_um=0.5, max_tries=200)
    with pytest.raises(InputError, match="spread"):
        hard_core_points(3, MASK, SPACING, 0, distance_um=0.2, spread=0.5)
    with pytest.raises(InputError, match="distance_um"):
        hard_core_points(5, MASK, SPACING, 0, distance_um=-1.0)
    assert hard_core_points(0, MASK, SPACING, 0, distance_um=0.5).shape == (1, 0, 3)
    assert hard_core_points(1, MASK, SPACING, 0, distance_um=50.0).shape == (1, 1, 3)


# --- clusters ---------------------------------------------------------------------------------


def clustered(seed=0):
    rng = np.random.default_rng(seed)
    centres = random_points(6, MASK, SPACING, rng)[0]
    points = np.repeat(centres, 5, axis=0) + rng.normal(0, 0.1, (30, 3))
    labels = np.repeat([4, 0, -1, 7, 2, 9], 5)
    kept = points_inside(points, MASK, SPACING)
    order = rng.permutation(np.flatnonzero(kept))
    return points[order], labels[order]


@pytest.mark.parametrize("rotation", ["none", "z", "any"])
def test_clusters_move_rigidly_inside_the_mask(rotation):
    points, labels = clustered()
    moved = moved_clusters(points, labels, MASK, SPACING, 1, rotation=rotation, n_simulations=20)
    assert points_inside(moved.reshape(-1, 3), MASK, SPACING).all()
    assert np.abs(moved - points).min(axis=(1, 2)).max() > 0
    for label in (4, 0, 7, 2, 9):
        members = labels == label
        for pattern in moved:
            np.testing.assert_allclose(pdist(pattern[members]), pdist(points[members]), atol=1e-12)
            relative = pattern[members] - pattern[members][0]
            before = points[members] - points[members][0]
            if rotation == "none":
                np.testing.assert_allclose(relative, before, atol=1e-12)
            if rotation == "z":
                np.testing.assert_allclose(relative[:, 0], before[:, 0], atol=1e-12)
            if rotation != "none" and len(before) > 3:
                handed = np.linalg.det(relative[1:4]) / np.linalg.det(before[1:4])
                assert handed == pytest.approx(1)
    alone = moved[:, labels == -1]
    assert not np.allclose(alone[0] - alone[0, 0], points[labels == -1] - points[labels == -1][0])


def test_turns_are_even_over_all_directions():
    big = np.ones((40, 40, 40))
    pair = np.array([[20.0, 20, 20], [20, 21, 20]])
    moved = moved_clusters(pair, [0, 0], big, (1, 1, 1), 2, rotation="any", n_simulations=4000)
    arrow = moved[:, 1] - moved[:, 0]
    for axis in range(3):
        assert stats.kstest(arrow[:, axis], stats.uniform(-1, 2).cdf).pvalue > 0.001
    moved = moved_clusters(pair, [0, 0], big, (1, 1, 1), 3, n_simulations=4000)
    angle = np.arctan2(*(moved[:, 1] - moved[:, 0])[:, 1:].T)
    assert stats.kstest(angle, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 0.001


def test_a_cluster_is_even_over_the_places_that_hold_it_whole():
    row = np.ones((1, 10))
    pair = np.array([[0.0, 2.0], [0.0, 6.0]])
    for order in ([0, 1], [1, 0]):
        moved = moved_clusters(
            pair[order], [0, 0], row, (1, 1), 4, rotation="none", n_simulations=4000
        )
        lower = moved[..., 1].min(axis=1)
        assert stats.kstest(lower, stats.uniform(-0.5, 6).cdf).pvalue > 0.001


def test_clusters_turn_in_the_plane():
    plane, points = np.ones((30, 40)), np.array([[1.0, 1.0], [1.0, 1.4], [1.2, 1.4]])
    moved = moved_clusters(points, [0, 0, 0], plane, (0.1, 0.1), 7, n_simulations=50)
    for pattern in moved:
        np.testing.assert_allclose(pdist(pattern), pdist(points), atol=1e-12)
        area = np.linalg.det(pattern[1:] - pattern[0])
        assert area == pytest.approx(np.linalg.det(points[1:] - points[0]))
    assert np.ptp(moved[:, 1, 0] - moved[:, 0, 0]) > 0.7


def test_points_alone_are_random_points():
    moved = moved_clusters(
        random_points(50, MASK, SPACING, 0)[0], np.full(50, -1), MASK, SPACING, 5, n_simulations=200
    )
    counts = np.zeros(MASK.shape)
    np.add.at(counts, tuple(voxels(moved.reshape(-1, 3)).T), 1)
    assert stats.chisquare(counts[MASK]).pvalue > 0.001


def test_separation_holds_between_clusters_and_not_within():
    points, labels = clustered(1)
    labels = np.where(labels < 0, 20, labels)
    for pattern in moved_clusters(
        points, labels, MASK, SPACING, 6, separation_um=0.3, n_simulations=10
    ):
        apart = np.linalg.norm(pattern[:, None] - pattern, axis=-1)
        same = labels[:, None] == labels
        assert apart[~same].min() >= 0.3
        assert apart[same & (apart > 0)].min() < 0.3


def test_clusters_that_cannot_be_moved_are_an_error_that_says_why():
    points, labels = clustered()
    with pytest.raises(InputError, match="1 outside"):
        moved_clusters(np.vstack([points, [[9, 9, 9]]]), [*labels, 1], MASK, SPACING, 0)
    with pytest.raises(InputError, match="found no room"):
        moved_clusters(points, labels, MASK, SPACING, 0, separation_um=2.0, max_tries=50)
    with pytest.raises(AxisMismatchError, match="clusters"):
        moved_clusters(points, labels[:-1], MASK, SPACING, 0)
    with pytest.raises(InputError, match="whole numbers"):
        moved_clusters(points, labels + 0.5, MASK, SPACING, 0)
    with pytest.raises(InputError, match="rotation"):
        moved_clusters(points, labels, MASK, SPACING, 0, rotation="x")
    with pytest.raises(InputError, match="two dimensions"):
        moved_clusters([[1, 1]], [0], np.ones((3, 3)), (1, 1), 0, rotation="any")
    assert moved_clusters(np.empty((0, 3)), [], MASK, SPACING, 0).shape == (1, 0, 3)


# --- labels -----------------------------------------------------------------------------------


def test_swapped_labels_keep_their_numbers_in_each_stratum():
    labels = np.array([1, 1, 2, 3, 2, 2, 1, 3])
    strata = np.array([0, 0, 0, 0, 5, 5, 5, 5])
    swapped = swapped_labels(labels, 0, strata=strata, n_simulations=100)
    for stratum in (0, 5):
        np.testing.assert_array_equal(
            np.sort(swapped[:, strata == stratum], axis=1),
            np.tile(np.sort(labels[strata == stratum]), (100, 1)),
        )
    assert len(np.unique(swapped, axis=0)) > 50


def test_every_labelling_is_as_likely():
    swapped = swapped_labels([0, 0, 1, 1], 1, n_simulations=6000)
    _, counts = np.unique(swapped, axis=0, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 0.001
    with pytest.raises(AxisMismatchError, match="strata"):
        swapped_labels([0, 1], 0, strata=[1])
    with pytest.raises(InputError, match="labels"):
        swapped_labels([[0, 1]], 0)


def test_a_hard_core_can_be_an_ellipsoid():
    mask, spacing = np.ones((20, 40, 40)), (0.3, 0.1, 0.1)
    apart = np.array([1.0, 0.4, 0.4])
    points = hard_core_points(40, mask, spacing, 0, distance_um=tuple(apart), n_simulations=20)
    scaled = points / apart
    nearest, plain = np.inf, np.inf
    for one, real in zip(scaled, points, strict=True):
        upper = np.triu_indices(40, 1)
        nearest = min(nearest, np.linalg.norm(one[:, None] - one, axis=-1)[upper].min())
        plain = min(plain, np.linalg.norm(real[:, None] - real, axis=-1)[upper].min())
    assert 1 <= nearest < 1.1
    assert 0.4 <= plain < 0.6  # within planes they come nearer than along z
    assert points_inside(points.reshape(-1, 3), mask, spacing).all()


@pytest.mark.parametrize("distance", [(0.3, 0.1), (0.3, 0.0, 0.1), (-1.0, 1.0, 1.0)])
def test_an_ellipsoid_has_a_length_for_each_axis(distance):
    with pytest.raises(ValueError, match="distance_um"):
        hard_core_points(3, np.ones((4, 9, 9)), (0.3, 0.1, 0.1), 0, distance_um=distance)
