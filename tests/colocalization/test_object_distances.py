"""Distances and matching against every pair of pixels and scipy's dense assignment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from aequorea.colocalization.object_distances import match_objects, object_distances
from aequorea.errors import AxisMismatchError, CalibrationError, InputError


def random_labels(shape, seed, coverage):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.random(shape), 1.2)
    return ndimage.label(field > np.quantile(field, 1 - coverage))[0] * 3


def on_edge(labels, k):
    body = np.pad(labels == k, 1)
    return np.argwhere((body & ~ndimage.binary_erosion(body))[tuple([slice(1, -1)] * labels.ndim)])


def brute_force(a, b, spacing):
    ids_b = [k for k in np.unique(b) if k]
    rows = []
    for k in np.unique(a):
        if k == 0:
            continue
        own = np.argwhere(a == k)
        centre = own.mean(axis=0)
        under = b[tuple(np.rint(centre).astype(int))]
        centroid, centre_edge, edge_edge = {}, {}, {}
        for j in ids_b:
            other = np.argwhere(b == j)
            centroid[j] = np.linalg.norm((other.mean(axis=0) - centre) * spacing)
            to_edge = np.linalg.norm((on_edge(b, j) - centre) * spacing, axis=1).min()
            centre_edge[j] = -to_edge if under == j else to_edge
            edge_edge[j] = cdist(own * spacing, other * spacing).min()
        rows.append(
            [
                min(centroid.values()),
                centre_edge[under] if under else min(centre_edge.values()),
                min(edge_edge.values()),
            ]
        )
    return np.array(rows)


@pytest.mark.parametrize(
    ("shape", "spacing"), [((40, 44), (0.1, 0.25)), ((10, 18, 17), (0.5, 0.1, 0.12))]
)
@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_brute_force(shape, spacing, seed):
    a, b = random_labels(shape, seed, 0.15), random_labels(shape, seed + 50, 0.2)
    found = object_distances(a, b, spacing_um=spacing)
    expected = brute_force(a, b, np.array(spacing))
    for column, kind in enumerate(("centroid", "centre_edge", "edge_edge")):
        np.testing.assert_allclose(found[f"{kind}_um"], expected[:, column], atol=1e-6)
    assert found["object"].tolist() == [k for k in np.unique(a) if k]


def test_partners_are_those_measured():
    a, b = random_labels((40, 40), 1, 0.2), random_labels((40, 40), 2, 0.2)
    found = object_distances(a, b, units="px")
    for k, j, distance in zip(
        found["object"], found["edge_edge_object"], found["edge_edge_px"], strict=True
    ):
        assert cdist(np.argwhere(a == k), np.argwhere(b == j)).min() == pytest.approx(distance)


def test_inside_a_large_object():
    a, b = np.zeros((21, 21), int), np.zeros((21, 21), int)
    a[10, 9] = 1
    b[3:18, 3:18] = 4
    found = object_distances(a, b, spacing_um=(0.2, 0.1))
    assert found["centre_edge_um"][0] == pytest.approx(-0.6)
    assert found["edge_edge_um"][0] == 0
    assert found["edge_edge_object"][0] == 4


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.floats(0.01, 10))
def test_scales_with_the_pixel_and_swaps_symmetrically(seed, factor):
    a, b = random_labels((24, 24), seed, 0.2), random_labels((24, 24), seed + 1, 0.2)
    one = object_distances(a, b, spacing_um=(0.3, 0.1))
    scaled = object_distances(a, b, spacing_um=(0.3 * factor, 0.1 * factor))
    for kind in ("centroid_um", "centre_edge_um", "edge_edge_um"):
        np.testing.assert_allclose(scaled[kind], factor * one[kind], rtol=1e-9)
    back = object_distances(b, a, spacing_um=(0.3, 0.1))
    assert back["edge_edge_um"].min() == pytest.approx(one["edge_edge_um"].min())


def test_empty_channels():
    empty, one = np.zeros((4, 4), int), np.eye(4, dtype=int)
    found = object_distances(one, empty, spacing_um=0.1)
    assert np.isnan(found["edge_edge_um"]).all()
    assert found["edge_edge_object"].tolist() == [0]
    assert object_distances(empty, one, spacing_um=0.1)["object"].size == 0


def test_calibration_is_asked_for():
    one = np.eye(4, dtype=int)
    with pytest.raises(CalibrationError, match='units="px"'):
        object_distances(one, one)
    with pytest.raises(CalibrationError):
        object_distances(one, one, spacing_um=(0.1, None))
    with pytest.raises(InputError, match="leave one"):
        object_distances(one, one, spacing_um=0.1, units="px")
    with pytest.raises(InputError, match="units"):
        object_distances(one, one, units="nm")
    with pytest.raises(AxisMismatchError):
        object_distances(one, np.eye(5, dtype=int), units="px")


def dense(a, b, cutoff):
    """Largest matching of least cost by a penalty on the dense matrix."""
    d = cdist(a, b)
    penalty = 10 * cutoff * (min(d.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(d <= cutoff, d - penalty, 0))
    kept = d[rows, columns] <= cutoff
    return kept.sum(), d[rows[kept], columns[kept]].sum()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("cutoff", [0.02, 0.1, 0.4, 3.0])
def test_matching_is_optimal(seed, cutoff):
    rng = np.random.default_rng(seed)
    a, b = rng.random((rng.integers(1, 60), 2)), rng.random((rng.integers(1, 60), 2))
    pairs, distances = match_objects(a, b, cutoff_um=cutoff)
    n, total = dense(a, b, cutoff)
    assert len(pairs) == n
    assert distances.sum() == pytest.approx(total, abs=1e-9)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == n
    np.testing.assert_allclose(distances, np.linalg.norm(a[pairs[:, 0]] - b[pairs[:, 1]], axis=1))
    assert (distances <= cutoff).all()


def test_two_cannot_share_one():
    pairs, distances = match_objects([[0.0, 0.0], [0.0, 0.2]], [[0.0, 0.05]], cutoff_um=1)
    assert pairs.tolist() == [[0, 0]]
    assert distances.tolist() == [0.05]


def test_coincident_points_and_the_cutoff_itself():
    assert match_objects([[1.0], [5.0]], [[5.0], [1.0]], cutoff_um=0).pairs.tolist() == [
        [0, 1],
        [1, 0],
    ]
    assert len(match_objects([[0.0]], [[0.5]], cutoff_um=0.5).pairs) == 1
    assert len(match_objects([[0.0]], [[0.5]], cutoff_um=0.4999).pairs) == 0


def test_many_points_need_no_matrix():
    rng = np.random.default_rng(0)
    a = rng.random((30_000, 3)) * 300
    b = a + rng.normal(0, 0.1, a.shape)
    pairs, _ = match_objects(a, b, cutoff_um=1)
    assert np.mean(pairs[:, 0] == pairs[:, 1]) > 0.99


def test_matching_bad_input():
    assert match_objects([], [[1.0, 2.0]], cutoff_um=1).pairs.shape == (0, 2)
    with pytest.raises(AxisMismatchError):
        match_objects([[1.0, 2.0]], [[1.0]], cutoff_um=1)
    with pytest.raises(AxisMismatchError):
        match_objects([1.0, 2.0], [[1.0]], cutoff_um=1)
    with pytest.raises(InputError, match="cutoff_um"):
        match_objects([[1.0]], [[1.0]], cutoff_um=-1)
    with pytest.raises(InputError, match="finite"):
        match_objects([[np.inf]], [[1.0]], cutoff_um=1)


def test_a_stack_of_one_plane_measures_as_the_plane():
    a, b = random_labels((30, 31), 1, 0.1), random_labels((30, 31), 2, 0.4)
    plane = object_distances(a, b, spacing_um=(0.2, 0.1))
    stack = object_distances(a[None], b[None], spacing_um=(0.5, 0.2, 0.1))
    assert plane["centre_edge_um"].min() < 0
    for key, values in plane.items():
        np.testing.assert_allclose(stack[key], values, err_msg=key)


def test_an_image_of_one_pixel():
    distances = object_distances([[1]], [[2]], units="px")
    assert distances["centre_edge_px"].tolist() == distances["edge_edge_px"].tolist() == [0]
