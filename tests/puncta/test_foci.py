"""Foci against a literal transcription of the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.puncta.foci import find_foci, transcription_sites


def by_definition(points, radius, min_points):
    """Core points, groups of core points, and for each other point the groups it could join."""
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    near = distance <= radius
    core = near.sum(axis=1) >= min_points
    group = np.full(len(points), -1)
    k = 0
    for i in np.flatnonzero(core):
        if group[i] >= 0:
            continue
        stack = [i]
        while stack:
            j = stack.pop()
            group[j] = k
            stack += [m for m in np.flatnonzero(near[j] & core) if group[m] < 0]
        k += 1
    could = [set(group[near[i] & core]) for i in range(len(points))]
    return core, group, could


@given(st.integers(0, 10_000), st.integers(0, 60), st.sampled_from([2, 3]), st.integers(1, 6))
def test_same_as_the_definition(seed, n, ndim, min_points):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 12, (n, ndim)) / 8.0  # ties and coincident points on purpose
    foci = find_foci(points, radius_um=0.25, min_points=min_points)
    core, group, could = by_definition(points, 0.25, min_points)
    np.testing.assert_array_equal(foci.is_core, core)
    np.testing.assert_array_equal(foci.focus[core], group[core])
    for i in np.flatnonzero(~core):
        assert foci.focus[i] in could[i] if could[i] else foci.focus[i] == -1
    assert len(foci) == group.max(initial=-1) + 1
    for k in range(len(foci)):
        members = points[foci.focus == k]
        assert foci.n_points[k] == len(members)
        np.testing.assert_allclose(foci.centroid_um[k], members.mean(axis=0))
        np.testing.assert_allclose(foci.extent_um[k], np.ptp(members, axis=0))


def test_the_order_of_points_does_not_matter():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 3, (300, 3))
    order = rng.permutation(300)
    foci, again = find_foci(points), find_foci(points[order])
    pairs = {(a, b) for a, b in zip(foci.focus[order], again.focus, strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert len(foci) > 3


def test_nothing_and_wrong_input():
    assert len(find_foci(np.zeros((0, 3)))) == 0
    assert find_foci([]).centroid_um.shape == (0, 3)
    assert find_foci([[1.0, 2.0]]).focus.tolist() == [-1]
    assert find_foci([[1.0, 2.0]], min_points=1).focus.tolist() == [0]
    with pytest.raises(InputError, match="finite"):
        find_foci([[np.nan, 0]])
    with pytest.raises(InputError, match="radius_um"):
        find_foci([[0, 0]], radius_um=0)
    with pytest.raises(InputError, match="min_points"):
        find_foci([[0, 0]], min_points=0)
    with pytest.raises(InputError, match="shape"):
        find_foci([1.0, 2.0])


def nuclei():
    labels = np.zeros((5, 40, 80), int)
    labels[:, 5:35, 5:35] = 3
    labels[:, 5:35, 35:65] = 7
    return labels


SPACING = (0.5, 0.1, 0.1)


def test_sites_are_bright_and_inside():
    points = np.array(
        [
            [1.0, 1.0, 1.0],  # five molecules in nucleus 3
            [1.0, 2.0, 5.0],  # with the next: crowd in nucleus 7
            [1.0, 2.0, 5.2],
            [1.0, 2.0, 5.5],
            [1.0, 1.0, 7.5],  # bright, outside
            [1.0, 3.0, 2.0],  # too faint
            [1.0, 2.5, 3.4],  # 1.9 + 1.9 across the border of two nuclei: no site
            [1.0, 2.5, 3.6],
            [1.0, 2.5, 99.0],  # outside the image
        ]
    )
    light = np.array([500, 100, 150, np.nan, 900, 250, 190, 190, 900.0])
    sites = transcription_sites(
        points, light, nuclei(), spacing_um=SPACING, single_brightness=100.0
    )
    assert sites.site.tolist() == [0, 1, 1, 1, -1, -1, -1, -1, -1]
    np.testing.assert_allclose(sites.molecules, [5, 3.5])
    assert sites.nucleus.tolist() == [3, 7]
    np.testing.assert_allclose(sites.position_um[1], [1, 2, (5.0 + 1.5 * 5.2 + 5.5) / 3.5])
    lower = transcription_sites(
        points, light, nuclei(), spacing_um=SPACING, single_brightness=100.0, min_molecules=1.5
    )
    assert len(lower) == 5


def test_sites_of_nothing_and_wrong_input():
    empty = transcription_sites([], [], nuclei(), spacing_um=SPACING, single_brightness=1.0)
    assert len(empty) == 0
    assert empty.position_um.shape == (0, 3)
    with pytest.raises(CalibrationError, match="spacing_um"):
        transcription_sites([], [], nuclei(), spacing_um=(0.5, 0.1), single_brightness=1.0)
    with pytest.raises(AxisMismatchError, match="one number per point"):
        transcription_sites([[0, 0, 0]], [], nuclei(), spacing_um=SPACING, single_brightness=1.0)
    with pytest.raises(InputError, match="single_brightness"):
        transcription_sites([], [], nuclei(), spacing_um=SPACING, single_brightness=0.0)
    with pytest.raises(InputError, match="nuclei"):
        transcription_sites([], [], nuclei() * 1.0, spacing_um=SPACING, single_brightness=1.0)
