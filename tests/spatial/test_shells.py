from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.spatial.distances import distance_map
from aequorea.spatial.shells import (
    distance_distribution,
    equal_volume_shells,
    intensity_in_shells,
    points_in_shells,
)

SPACING = (0.3, 0.1, 0.1)


def cell(shape=(16, 60, 60)):
    """A ball of 2.4 µm with a nucleus of 0.8 µm off its centre: cytosol and distances."""
    grid = np.meshgrid(
        *[np.arange(n) * s for n, s in zip(shape, SPACING, strict=True)], indexing="ij"
    )
    middle = [(n - 1) * s / 2 for n, s in zip(shape, SPACING, strict=True)]
    away = sum((g - m) ** 2 for g, m in zip(grid, middle, strict=True))
    nucleus = (
        sum((g - m - d) ** 2 for g, m, d in zip(grid, middle, (0, 0.5, 0), strict=True)) < 0.64
    )
    return (away < 2.4**2) & ~nucleus, distance_map(nucleus, SPACING)


@given(
    hnp.arrays(np.float64, (40,), elements=st.floats(0, 9), unique=True),
    st.integers(1, 12),
)
def test_without_ties_volumes_differ_by_one_voxel_at_most(values, n):
    shells = equal_volume_shells(values[None], np.ones((1, 40)), n)
    assert shells.n_voxels.sum() == 40
    if np.diff(np.sort(values)).min() > 1e-6:
        assert np.ptp(shells.n_voxels) <= 1
    order = np.argsort(values)
    assert (np.diff(shells.index[0][order]) >= 0).all()


def test_shells_of_a_cell_are_nearly_equal_and_ordered_by_distance():
    region, distance = cell()
    shells = equal_volume_shells(distance, region, 5)
    assert (shells.index[~region] == 0).all()
    np.testing.assert_array_equal(np.bincount(shells.index[region])[1:], shells.n_voxels)
    np.testing.assert_allclose(shells.n_voxels / region.sum(), 0.2, atol=0.01)
    for k in range(1, 6):
        inside = distance[shells.index == k]
        low = -1 if k == 1 else shells.edges_um[k - 1]
        assert inside.min() > low
        assert inside.max() == pytest.approx(shells.edges_um[k], abs=1e-8)


def test_voxels_of_one_distance_stay_together_and_empty_shells_are_named():
    distance = np.array([[0.1] * 6 + [0.2, 0.3]])
    shells = equal_volume_shells(distance, np.ones((1, 8)), 4)
    assert shells.n_voxels.tolist() == [0, 6, 0, 2]
    found = intensity_in_shells(shells, np.ones((1, 8)))
    np.testing.assert_allclose(found.ratio, [np.nan, 1, np.nan, 1])
    assert found.reason == ("no voxels in this shell", "") * 2


def test_scaling_distances_leaves_shells_alone():
    region, distance = cell()
    one = equal_volume_shells(distance, region, 6)
    other = equal_volume_shells(7.3 * distance, region, 6)
    np.testing.assert_array_equal(one.index, other.index)
    np.testing.assert_allclose(other.edges_um, 7.3 * one.edges_um)


def test_even_points_fill_shells_by_volume():
    region, distance = cell()
    shells = equal_volume_shells(distance, region, 4)
    rng = np.random.default_rng(0)
    voxels = np.argwhere(region)
    at = voxels[rng.integers(0, len(voxels), 8000)] + rng.uniform(-0.5, 0.5, (8000, 3))
    found = points_in_shells(shells, at * SPACING, SPACING)
    assert found.n_outside == 0
    assert found.observed.sum() == 8000
    np.testing.assert_allclose(found.expected, 8000 * shells.n_voxels / region.sum())
    assert (np.abs(found.ratio - 1) < 4 * np.sqrt(1 / 2000)).all()


def test_points_near_the_nucleus_are_seen_there():
    region, distance = cell()
    shells = equal_volume_shells(distance, region, 4)
    near = np.argwhere(shells.index == 1)[::10] * SPACING
    found = points_in_shells(shells, near, SPACING)
    assert found.ratio[0] == pytest.approx(region.sum() / shells.n_voxels[0])
    assert found.observed[1:].tolist() == [0, 0, 0]
    outside = points_in_shells(shells, [[-9, 0, 0], [0, 0, 0]], SPACING)
    assert outside.n_outside == 2
    assert set(outside.reason) == {"no points"}
    assert np.isnan(outside.ratio).all()


def test_intensity_ratio_is_mean_of_the_shell_over_mean_of_the_region():
    region, distance = cell()
    shells = equal_volume_shells(distance, region, 3)
    image = np.random.default_rng(1).poisson(20 + 30 / (1 + distance)).astype(np.uint16)
    found = intensity_in_shells(shells, image, background=12.5)
    means = [image[shells.index == k].mean() - 12.5 for k in (1, 2, 3)]
    np.testing.assert_allclose(found.ratio, np.array(means) / (image[region].mean() - 12.5))


def test_noise_does_not_pull_ratios_towards_one():
    region, distance = cell()
    shells = equal_volume_shells(distance, region, 3)
    truth = np.where(shells.index == 1, 2.0, 0.5)
    noisy = truth + np.random.default_rng(2).normal(100, 10, truth.shape)
    found = intensity_in_shells(shells, noisy, background=100)
    clean = intensity_in_shells(shells, truth)
    spread = 10 / np.sqrt(shells.n_voxels[0])  # 0.1: an effect of 1.5
    assert (np.abs(found.observed - clean.observed) / shells.n_voxels < 4 * spread).all()


def test_dim_channels_say_so():
    region, distance = cell()
    shells = equal_volume_shells(distance, region, 3)
    found = intensity_in_shells(shells, np.full(region.shape, 5), background=5)
    assert set(found.reason) == {"no signal above background"}
    distribution = distance_distribution(distance, region, np.full(region.shape, 5), background=9)
    assert distribution.reason == "no signal above background"
    assert np.isnan([distribution.mean_um, distribution.median_um]).all()
    assert np.isfinite(distribution.volume_mean_um)
    assert np.isnan(distribution.histogram([0, 1, 2])).all()


def test_an_even_signal_is_distributed_like_the_volume():
    region, distance = cell()
    found = distance_distribution(distance, region, np.full(region.shape, 30), background=10)
    np.testing.assert_allclose(found.cumulative, found.volume)
    assert found.mean_um == pytest.approx(distance[region].mean())
    assert found.median_um == found.volume_median_um
    assert found.total == 20 * region.sum()


def test_distribution_equals_brute_force():
    region, distance = cell((6, 30, 30))
    image = np.random.default_rng(3).poisson(50, region.shape)
    found = distance_distribution(distance, region, image, background=20)
    signal, values = image[region] - 20.0, distance[region]
    for d, share in zip(found.distance_um[::40], found.cumulative[::40], strict=True):
        assert share == pytest.approx(signal[values <= d + 1e-9].sum() / signal.sum())
    assert found.mean_um == pytest.approx(np.average(values, weights=signal))
    edges = np.linspace(0, values.max(), 8)
    histogram = found.histogram(edges)
    assert histogram.sum() == pytest.approx(1)
    inside = (values >= edges[2]) & (values < edges[3])
    assert histogram[2] == pytest.approx(signal[inside].sum() / signal.sum())


def test_doubling_the_signal_changes_only_the_total():
    region, distance = cell((6, 30, 30))
    image = np.random.default_rng(4).random(region.shape)
    one, two = (distance_distribution(distance, region, f * image) for f in (1, 2))
    np.testing.assert_allclose(one.cumulative, two.cumulative)
    assert two.total == pytest.approx(2 * one.total)


def test_an_empty_region_is_no_error():
    nothing = np.zeros((2, 3, 3))
    shells = equal_volume_shells(nothing, nothing, 3)
    assert shells.n_voxels.tolist() == [0, 0, 0]
    assert points_in_shells(shells, [], SPACING).reason == ("no points",) * 3
    assert distance_distribution(nothing, nothing, nothing).reason == "the region has no voxels"


def test_what_does_not_fit_is_refused():
    region, distance = np.ones((2, 3, 3), bool), np.ones((2, 3, 3))
    with pytest.raises(AxisMismatchError, match="distance_um"):
        equal_volume_shells(distance[0], region, 2)
    with pytest.raises(InputError, match="landmark"):
        equal_volume_shells(np.full((2, 3, 3), np.nan), region, 2)
    for n in (0, 2.5):
        with pytest.raises(InputError, match="n:"):
            equal_volume_shells(distance, region, n)
    shells = equal_volume_shells(distance, region, 2)
    with pytest.raises(CalibrationError, match="spacing_um"):
        points_in_shells(shells, [[0, 0, 0]], (1, 1))
    with pytest.raises(AxisMismatchError, match="image"):
        intensity_in_shells(shells, np.ones((3, 3)))
    with pytest.raises(InputError, match="finite"):
        intensity_in_shells(shells, np.full((2, 3, 3), np.inf))
    with pytest.raises(InputError, match="background"):
        intensity_in_shells(shells, distance, background=np.nan)
    with pytest.raises(InputError, match="edges_um"):
        distance_distribution(distance, region, distance).histogram([1, 1])
