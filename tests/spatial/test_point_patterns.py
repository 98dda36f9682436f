from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.spatial.nulls import random_points, swapped_labels
from aequorea.spatial.point_patterns import (
    _edge_distances,
    _kaplan_meier,
    besag_l,
    ecdf,
    empty_space_f,
    field_at_points,
    labelled_k,
    nearest_neighbour_distances,
    nearest_neighbour_g,
    pair_correlation,
    ripley_k,
)
from aequorea.spatial.window import set_covariance

SPACING = np.array([0.3, 0.1, 0.12])


def shell(shape=(8, 20, 22)):
    z, y, x = (np.linspace(-1, 1, n) for n in shape)
    away = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2
    hole = z[:, None, None] ** 2 + (y[:, None] - 0.2) ** 2 + x**2 < 0.15
    return (away < 1) & ~hole


MASK = shell()
SHARED = set_covariance(MASK, SPACING)


def overlap(mask, shift):
    """Voxels shared after a shift by whole voxels, counted."""
    ours = tuple(slice(max(0, -k), n - max(0, k)) for k, n in zip(shift, mask.shape, strict=True))
    theirs = tuple(slice(max(0, k), n - max(0, -k)) for k, n in zip(shift, mask.shape, strict=True))
    return np.count_nonzero(mask[ours] & mask[theirs])


# --- set covariance ---------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [shell((4, 6, 7)), shell((3, 9, 8))[1]])
def test_set_covariance_equals_counting_for_every_whole_shift(mask):
    spacing = SPACING[-mask.ndim :]
    shared = set_covariance(mask, spacing)
    for shift in np.ndindex(*(2 * n - 1 for n in mask.shape)):
        steps = np.array(shift) - np.array(mask.shape) + 1
        assert shared.at(steps * spacing) == pytest.approx(overlap(mask, steps) * spacing.prod())
    assert shared.volume == pytest.approx(mask.sum() * spacing.prod())


def test_between_whole_shifts_it_is_exact_for_the_union_of_voxels():
    mask = shell((4, 6, 7))
    finer = mask.repeat(4, 0).repeat(4, 1).repeat(4, 2)
    shared = set_covariance(mask, SPACING)
    for shift in ([1, 2, 3], [5, -7, 2], [0, 1, 0], [-3, -6, 9]):
        expected = overlap(finer, shift) * (SPACING / 4).prod()
        assert shared.at(np.array(shift) * SPACING / 4) == pytest.approx(expected)


def test_mean_over_directions_of_a_box_and_a_rectangle():
    a, b, c = 3.0, 2.0, 2.4
    box = set_covariance(np.ones((10, 20, 20)), SPACING)
    r = np.linspace(0, 1.9, 11)
    expected = (
        a * b * c
        - r / 2 * (a * b + b * c + a * c)
        + 2 * r**2 / (3 * np.pi) * (a + b + c)
        - r**3 / (4 * np.pi)
    )
    np.testing.assert_allclose(box.mean_at(r), expected, rtol=2e-3)
    plane = set_covariance(np.ones((20, 20)), SPACING[1:])
    flat = b * c - 2 * r / np.pi * (b + c) + r**2 / np.pi
    np.testing.assert_allclose(plane.mean_at(r), flat, rtol=2e-3)
    assert plane.mean_at(plane.length_sharing(0.5)) == pytest.approx(plane.volume / 2)


def test_a_shorter_reach_gives_the_same_and_refuses_more():
    near = set_covariance(MASK, SPACING, reach_um=0.5)
    shifts = np.random.default_rng(0).uniform(-0.28, 0.28, (50, 3))
    np.testing.assert_allclose(near.at(shifts), SHARED.at(shifts), rtol=1e-9)
    np.testing.assert_allclose(near.mean_at(0.5), SHARED.mean_at(0.5), rtol=2e-3)
    assert near.length_sharing(0.01) == 0.5
    with pytest.raises(InputError, match=r"at most 0\.5 µm"):
        near.at([0.6, 0, 0])
    with pytest.raises(AxisMismatchError, match="3 numbers"):
        near.at([0.1, 0.1])
    with pytest.raises(InputError, match="reach_um"):
        set_covariance(MASK, SPACING, reach_um=0)


def test_the_place_of_the_mask_in_the_array_does_not_matter_and_coarser_is_close():
    moved = np.pad(MASK, ((3, 0), (1, 5), (0, 7)))
    np.testing.assert_allclose(
        set_covariance(moved, SPACING).mean_values, SHARED.mean_values, rtol=1e-9
    )
    big = shell((16, 60, 66))
    fine = set_covariance(big, SPACING)
    coarse = set_covariance(big, SPACING, downsample=2)
    assert coarse.volume == fine.volume
    assert coarse.spacing_um.tolist() == [0.3, 0.2, 0.24]
    r = np.linspace(0.3, fine.length_sharing(0.3), 5)
    np.testing.assert_allclose(coarse.mean_at(r), fine.mean_at(r), rtol=0.01)
    assert set_covariance(big, SPACING, downsample=[2, 1, 1]).spacing_um[0] == 0.6
    with pytest.raises(AxisMismatchError, match="downsample"):
        set_covariance(big, SPACING, downsample=[2, 2])


# --- K, L, g ----------------------------------------------------------------------------------


def brute_k(a, b, radii, shared, *, same, correction):
    shift = b[None] - a[:, None]
    distance = np.linalg.norm(shift, axis=-1)
    weight = np.zeros(distance.shape)
    near = distance <= radii[-1]
    if correction == "translation":
        weight[near] = 1 / shared.at(shift[near])
    else:
        weight[near] = 1 / shared.mean_at(distance[near])
    if same:
        np.fill_diagonal(weight, 0)
    n_pairs = len(a) * (len(b) - same)
    sums = [(weight * (distance <= r)).sum() for r in radii]
    return shared.volume**2 / n_pairs * np.array(sums)


@pytest.mark.parametrize("correction", ["isotropised", "translation"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_k_equals_the_sum_over_all_pairs(ndim, correction):
    mask, spacing = (MASK, SPACING) if ndim == 3 else (MASK[3], SPACING[1:])
    shared = set_covariance(mask, spacing)
    radii = np.array([0.05, 0.2, 0.33, 0.7, 0.9])
    a = random_points(60, mask, spacing, 0, n_simulations=2)
    b = random_points(35, mask, spacing, 1)
    how = {"correction": correction}
    found = ripley_k(a, radii, shared, **how)
    cross = ripley_k(a, radii, shared, others_um=b, **how)
    for s in range(2):
        expected = brute_k(a[s], a[s], radii, shared, same=True, correction=correction)
        np.testing.assert_allclose(found[s], expected, rtol=1e-9)
        expected = brute_k(a[s], b[0], radii, shared, same=False, correction=correction)
        np.testing.assert_allclose(cross[s], expected, rtol=1e-9)
    np.testing.assert_allclose(ripley_k(a[1], radii, shared, **how), found[1])
    back = ripley_k(b[0], radii, shared, others_um=a[0], **how)
    np.testing.assert_allclose(back, cross[0], rtol=1e-9)


@pytest.mark.parametrize("correction", ["isotropised", "translation"])
def test_k_of_random_points_is_the_volume_of_the_ball(correction):
    box = np.ones((10, 25, 21), bool)
    for mask in (box, MASK):
        shared = set_covariance(mask, SPACING)
        radii = np.array([0.2, 0.4, 0.6, shared.length_sharing(0.25)])
        points = random_points(60, mask, SPACING, 2, n_simulations=400)
        others = random_points(30, mask, SPACING, 3, n_simulations=400)
        ball = 4 / 3 * np.pi * radii**3
        for k in (
            ripley_k(points, radii, shared, correction=correction),
            ripley_k(points, radii, shared, others_um=others, correction=correction),
        ):
            error = k.std(axis=0) / np.sqrt(400)
            assert (np.abs(k.mean(axis=0) - ball) < 4 * error).all()
            assert (error < 0.06 * ball).all()


def test_k_of_a_lattice_and_of_clusters():
    lattice = np.argwhere(np.ones((8, 8, 8))).astype(float)
    shared = set_covariance(np.ones((8, 8, 8)), (1, 1, 1))
    k = ripley_k(lattice, [0.9, 1.0, 1.3], shared, correction="translation")
    assert k[0] == 0
    # 6 neighbours at distance 1, each kind seen 7/8 as often as its shift is shared.
    assert k[1] == pytest.approx(6 * 512 / 511)
    assert k[2] == k[1]
    rng = np.random.default_rng(4)
    middles = random_points(15, MASK, SPACING, rng)[0]
    tight = np.repeat(middles, 4, axis=0) + rng.normal(0, 0.02, (60, 3))
    assert ripley_k(tight, [0.2], SHARED) > 2 * 4 / 3 * np.pi * 0.2**3


def test_k_follows_units_and_translation():
    points = random_points(40, MASK, SPACING, 5)[0]
    radii = np.array([0.2, 0.5])
    k = ripley_k(points, radii, SHARED)
    nm = set_covariance(MASK, SPACING * 1000)
    np.testing.assert_allclose(ripley_k(points * 1000, radii * 1000, nm), k * 1e9, rtol=1e-9)
    np.testing.assert_allclose(ripley_k(points + np.array([5, -3, 2]), radii, SHARED), k, rtol=1e-9)
    np.testing.assert_allclose(ripley_k(points[::-1], radii, SHARED), k, rtol=1e-9)


def test_l_is_the_radius_of_the_ball():
    r = np.array([0.5, 2.0])
    np.testing.assert_allclose(besag_l(4 / 3 * np.pi * r**3, 3), r)
    np.testing.assert_allclose(besag_l(np.pi * r**2, 2), r)
    with pytest.raises(InputError, match="ndim"):
        besag_l([1.0], 1)


@pytest.mark.parametrize("ndim", [2, 3])
def test_g_of_random_points_is_one_down_to_zero(ndim):
    mask, spacing = (MASK, SPACING) if ndim == 3 else (MASK[3], SPACING[1:])
    shared = set_covariance(mask, spacing)
    radii = np.array([0.0, 0.05, 0.2, 0.4, 0.7])
    points = random_points(60, mask, spacing, 6, n_simulations=400)
    others = random_points(40, mask, spacing, 7, n_simulations=400)
    for g in (
        pair_correlation(points, radii, shared, bandwidth_um=0.12),
        pair_correlation(points, radii, shared, others_um=others, bandwidth_um=0.12),
        pair_correlation(points, radii, shared, correction="translation"),
    ):
        error = g.std(axis=0) / np.sqrt(400)
        assert (np.abs(g.mean(axis=0) - 1) < 4 * error).all()
        assert error.max() < 0.1


def test_g_adds_up_to_k():
    points = random_points(60, MASK, SPACING, 8)[0]
    r = np.linspace(0, 1.0, 2001)
    g = pair_correlation(points, r, SHARED, bandwidth_um=0.01)
    k = np.trapezoid(g * 4 * np.pi * r**2, r)
    assert k == pytest.approx(ripley_k(points, [1.0], SHARED)[0], rel=0.01)


def test_k_of_labels_is_cross_k_of_the_types():
    points = random_points(70, MASK, SPACING, 9)[0]
    labels = swapped_labels(["a"] * 30 + ["b"] * 25 + ["c"] * 15, 10, n_simulations=3)
    radii = np.array([0.2, 0.45, 0.8])
    for correction in ("isotropised", "translation"):
        how = {"correction": correction}
        cross = labelled_k(points, labels, radii, SHARED, pair=("a", "b"), **how)
        within = labelled_k(points, labels, radii, SHARED, pair=("c", "c"), **how)
        for s in range(3):
            a, b, c = (points[labels[s] == name] for name in "abc")
            np.testing.assert_allclose(cross[s], ripley_k(a, radii, SHARED, others_um=b, **how))
            np.testing.assert_allclose(within[s], ripley_k(c, radii, SHARED, **how))
    assert np.isnan(labelled_k(points, labels, radii, SHARED, pair=("a", "z"))).all()
    with pytest.raises(AxisMismatchError, match="labels"):
        labelled_k(points, labels[:, 1:], radii, SHARED, pair=("a", "b"))


def test_too_few_points_have_no_k_and_bad_radii_are_named():
    assert np.isnan(ripley_k(np.empty((0, 3)), [0.2], SHARED)).all()
    assert np.isnan(ripley_k([[1, 1, 1]], [0.2], SHARED)).all()
    assert np.isnan(pair_correlation([[1, 1, 1]], [0.2], SHARED)).all()
    assert ripley_k([[1, 1, 1]], [0.2], SHARED, others_um=[[1, 1, 1.1]]) > 0
    points = random_points(5, MASK, SPACING, 0)
    for radii, words in (
        ([0.2, 0.1], "ascending"),
        ([], "list of radii"),
        ([np.nan], "ascending"),
        ([9.0], "no two points"),
    ):
        with pytest.raises(InputError, match=words):
            ripley_k(points, radii, SHARED)
    with pytest.raises(InputError, match="set covariance"):
        ripley_k(points, [0.5], set_covariance(MASK, SPACING, reach_um=0.4))
    with pytest.raises(InputError, match="correction"):
        ripley_k(points, [0.1], SHARED, correction="border")
    with pytest.raises(InputError, match="bandwidth_um"):
        pair_correlation(points, [0.1], SHARED, bandwidth_um=0)
    with pytest.raises(AxisMismatchError, match="others_um"):
        ripley_k(points, [0.1], SHARED, others_um=np.zeros((3, 2, 3)))
    with pytest.raises(AxisMismatchError, match="points_um"):
        ripley_k([[0, 0]], [0.1], SHARED)


# --- nearest neighbours -----------------------------------------------------------------------


@pytest.mark.parametrize("ndim", [2, 3])
def test_nearest_neighbours_are_those_of_a_tree(ndim):
    rng = np.random.default_rng(11)
    even = rng.uniform(0, 5, (1, 300, ndim))
    thin = even * ([0.001, 1, 7][-ndim:])
    tight = np.concatenate(
        [rng.normal(0, 1e-3, (1, 250, ndim)), rng.normal(50, 5, (1, 50, ndim))], 1
    )
    same = np.zeros((1, 300, ndim))
    patterns = np.concatenate([even, thin, tight, same])
    found = nearest_neighbour_distances(patterns)
    for points, distance in zip(patterns, found, strict=True):
        np.testing.assert_allclose(distance, cKDTree(points).query(points, 2)[0][:, 1], atol=1e-12)
        np.testing.assert_allclose(nearest_neighbour_distances(points), distance, atol=1e-12)
    probes = rng.uniform(-30, 60, (4, 100, ndim))
    to_one = nearest_neighbour_distances(probes, others_um=tight[0])
    to_each = nearest_neighbour_distances(probes, others_um=patterns)
    for s in range(4):
        np.testing.assert_allclose(to_one[s], cKDTree(tight[0]).query(probes[s])[0])
        np.testing.assert_allclose(to_each[s], cKDTree(patterns[s]).query(probes[s])[0])


def test_without_neighbours_the_distance_is_infinite():
    assert nearest_neighbour_distances([[1.0, 2, 3]]).tolist() == [np.inf]
    assert nearest_neighbour_distances(np.empty((0, 3))).shape == (0,)
    far = nearest_neighbour_distances([[1.0, 2, 3]], others_um=np.empty((0, 3)))
    assert far.tolist() == [np.inf]
    with pytest.raises(AxisMismatchError, match="points_um"):
        nearest_neighbour_distances([1.0, 2.0])


@pytest.mark.parametrize("ndim", [2, 3])
def test_distance_to_the_edge_is_that_to_the_nearest_voxel_outside(ndim):
    mask, spacing = (MASK, SPACING) if ndim == 3 else (MASK[3], SPACING[1:])
    places = random_points(40, mask, spacing, 12)[0]
    outside = np.argwhere(np.pad(~mask, 1, constant_values=True)) - 1
    gaps = np.maximum(np.abs(places[:, None] - outside * spacing) - spacing / 2, 0)
    expected = np.linalg.norm(gaps, axis=-1).min(axis=1)
    found = _edge_distances(places, mask, spacing, np.full(40, 9.0))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    capped = _edge_distances(places, mask, spacing, np.full(40, 0.1))
    np.testing.assert_allclose(capped, np.minimum(expected, 0.1), atol=1e-12)


def test_kaplan_meier_by_hand():
    seen = np.array([1.0, 2.0, 2.0, 3.0, 4.0])
    event = np.array([True, True, False, False, True])
    found = _kaplan_meier(seen, event, np.array([0.5, 1.0, 2.5, 3.5, 4.0]))
    np.testing.assert_allclose(found, [0, 1 / 5, 1 - 4 / 5 * 3 / 4, 1 - 4 / 5 * 3 / 4, 1])


def test_g_and_f_of_random_points_are_those_of_open_space():
    mask = shell((12, 30, 33))
    density = 120 / (mask.sum() * SPACING.prod())
    radii = np.array([0.15, 0.25, 0.35])
    expected = 1 - np.exp(-density * 4 / 3 * np.pi * radii**3)
    sets = random_points(120, mask, SPACING, 13, n_simulations=150)
    rng = np.random.default_rng(14)

    def off(curves):
        curves = np.array(curves)
        return np.abs(np.nanmean(curves, 0) - expected) / (np.nanstd(curves, 0) / np.sqrt(150))

    for correction in ("km", "border"):
        how = {"correction": correction}
        assert off([nearest_neighbour_g(p, radii, mask, SPACING, **how) for p in sets]).max() < 4
        assert (
            off(
                [empty_space_f(p, radii, mask, SPACING, rng, n_probes=200, **how) for p in sets]
            ).max()
            < 4
        )
    cross = [nearest_neighbour_g(p[:40], radii, mask, SPACING, others_um=p) for p in sets[:2]]
    assert np.all(np.array(cross) == 1)
    # Without correction neighbours beyond the edge are missed.
    raw = [nearest_neighbour_g(p, radii, mask, SPACING, correction="none") for p in sets]
    assert off(raw).max() > 8


def test_g_where_nothing_tells():
    assert np.isnan(nearest_neighbour_g(np.empty((0, 3)), [0.2], MASK, SPACING)).all()
    one = nearest_neighbour_g(random_points(1, MASK, SPACING, 0)[0], [0.2, 0.3], MASK, SPACING)
    assert one.tolist() == [0, 0]
    points = random_points(9, MASK, SPACING, 0)[0]
    assert np.isnan(nearest_neighbour_g(points, [5.0], MASK, SPACING, correction="border")).all()
    with pytest.raises(InputError, match="correction"):
        nearest_neighbour_g(points, [0.2], MASK, SPACING, correction="hanisch")


# --- look-up and distribution functions -------------------------------------------------------


def test_interpolation_is_exact_for_a_flat_surface_and_bounded_for_any():
    index = np.indices((9, 12, 14))
    plane = np.tensordot([0.5, -1.0, 2.0], index * SPACING[:, None, None, None], 1)
    points = (
        np.random.default_rng(15).uniform(0, 1, (200, 3)) * (np.array(plane.shape) - 1) * SPACING
    )
    np.testing.assert_allclose(field_at_points(points, plane, SPACING), points @ [0.5, -1, 2])
    body = np.zeros((9, 12, 14), bool)
    body[4:6, 4:7, 3:9] = True
    distance = ndimage.distance_transform_edt(~body, sampling=SPACING)
    true = cdist(points, np.argwhere(body) * SPACING).min(axis=1)
    bound = np.linalg.norm(SPACING) / 2
    for interpolation in (True, False):
        found = field_at_points(points, distance, SPACING, interpolation=interpolation)
        assert np.abs(found - true).max() <= bound
    nearest = field_at_points(points, distance, SPACING, interpolation=False)
    np.testing.assert_allclose(nearest, distance[tuple(np.rint(points / SPACING).astype(int).T)])


def test_lookup_at_the_edge_with_nan_and_with_bad_input():
    field = np.array([[0.0, 1.0], [2.0, np.nan]])
    assert field_at_points([-0.4, -0.4], field, (1, 1)) == 0
    assert np.isnan(field_at_points([0.5, 0.5], field, (1, 1)))
    assert field_at_points(np.zeros((2, 5, 2)), field, (1, 1)).shape == (2, 5)
    with pytest.raises(AxisMismatchError, match="2 coordinates"):
        field_at_points([[1.0, 1, 1]], field, (1, 1))
    with pytest.raises(CalibrationError):
        field_at_points([[1.0, 1]], field, (1,))
    with pytest.raises(InputError, match="finite"):
        field_at_points([[np.nan, 1]], field, (1, 1))


def test_ecdf_counts_what_is_not_larger():
    rng = np.random.default_rng(16)
    values, at = rng.integers(0, 9, (5, 40)), np.array([-1.0, 0.0, 2.5, 3.0, 8.0])
    expected = (values[:, :, None] <= at).mean(axis=1)
    np.testing.assert_allclose(ecdf(values, at), expected)
    np.testing.assert_allclose(ecdf(values[0], at), expected[0])
    assert np.isnan(ecdf(np.empty((2, 0)), at)).all()
    with pytest.raises(InputError, match="ascending"):
        ecdf(values, [2, 1])
