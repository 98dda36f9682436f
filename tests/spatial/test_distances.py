from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage, stats
from scipy.spatial.distance import cdist

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.spatial.boxes import boxes_of
from aequorea.spatial.distances import (
    cell_distances,
    distance_map,
    distance_map_by_label,
    distances_of_points,
    labels_at,
    membrane_mask,
    nearest_landmark,
    normalised_distances,
    ranked_distances,
    relative_distances,
)

SPACING = (0.3, 0.1083, 0.13)
EXACT = {"rtol": 0, "atol": 1e-9}

masks = hnp.arrays(
    np.bool_,
    st.one_of(
        st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7)),
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
    ),
)
steps = st.floats(0.05, 4.0)


def ball(shape, centre, radius, spacing):
    grid = np.meshgrid(
        *[np.arange(n) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij"
    )
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) < radius**2


def brute(mask, spacing):
    every = np.argwhere(np.ones(mask.shape)) * spacing
    nearest = cdist(every, np.argwhere(mask) * spacing).min(axis=1, initial=np.inf)
    return np.where(np.isinf(nearest), np.nan, nearest).reshape(mask.shape)


def scene():
    """Three cells with nuclei, one without; the labels have gaps."""
    shape = (12, 40, 64)
    cells, nuclei = np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)
    for label, x in ((3, 1.2), (7, 3.9), (9, 6.6)):
        cells[ball(shape, (1.8, 2.2, x), 1.25, SPACING)] = label
        if label != 9:
            nuclei[ball(shape, (1.8, 2.0, x + 0.1), 0.6, SPACING)] = label
    return cells, nuclei


# --- maps -------------------------------------------------------------------------------------


@given(masks, st.tuples(steps, steps, steps))
def test_map_equals_brute_force(mask, spacing):
    spacing = spacing[-mask.ndim :]
    np.testing.assert_allclose(distance_map(mask, spacing), brute(mask, spacing), **EXACT)


@given(masks, st.tuples(steps, steps, steps))
def test_signed_map_is_distance_out_minus_distance_in(mask, spacing):
    spacing = spacing[-mask.ndim :]
    signed = distance_map(mask, spacing, signed=True)
    expected = np.where(mask, -brute(~mask, spacing), brute(mask, spacing))
    np.testing.assert_allclose(signed, expected, **EXACT)


@given(masks, st.data(), st.booleans())
@settings(max_examples=80)
def test_map_within_a_region_equals_the_whole_map_there(mask, data, signed):
    spacing = SPACING[-mask.ndim :]
    within = data.draw(hnp.arrays(np.bool_, mask.shape))
    part = distance_map(mask, spacing, signed=signed, within=within)
    whole = distance_map(mask, spacing, signed=signed)
    np.testing.assert_array_equal(part, np.where(within, whole, np.nan))


def test_map_of_a_realistic_stack_equals_scipy_to_a_millionth_of_a_micrometre():
    mask = ball((30, 200, 180), (4, 9, 8), 2.5, SPACING) | ball(
        (30, 200, 180), (2, 18, 20), 2, SPACING
    )
    ours = distance_map(mask, SPACING)
    np.testing.assert_allclose(
        ours, ndimage.distance_transform_edt(~mask, sampling=SPACING), rtol=0, atol=1e-9
    )
    assert ours.max() > 15


def test_region_far_from_the_landmark_still_finds_it():
    mask, within = np.zeros((2, 60, 60), bool), np.zeros((2, 60, 60), bool)
    mask[1, 55, 57] = True
    within[0, 2:5, 3] = True
    expected = brute(mask, SPACING)[within]
    np.testing.assert_allclose(
        distance_map(mask, SPACING, within=within)[within], expected, **EXACT
    )


def test_scaling_the_voxels_scales_the_distances():
    mask = np.random.default_rng(0).random((4, 20, 30)) < 0.01
    once = distance_map(mask, SPACING, signed=True)
    thrice = distance_map(mask, np.multiply(3, SPACING), signed=True)
    np.testing.assert_allclose(thrice, 3 * once, **EXACT)


def test_mirroring_the_image_mirrors_the_map():
    mask = np.random.default_rng(1).random((5, 20, 30)) < 0.02
    flipped = distance_map(mask[::-1, :, ::-1], SPACING)
    np.testing.assert_allclose(flipped[::-1, :, ::-1], distance_map(mask, SPACING), **EXACT)


def test_nothing_to_measure_to_is_nan():
    assert np.isnan(distance_map(np.zeros((3, 3), bool), (1, 1))).all()
    assert np.isnan(distance_map(np.zeros((3, 3), bool), (1, 1), signed=True)).all()
    assert np.isnan(distance_map(np.ones((3, 3), bool), (1, 1), signed=True)).all()
    assert (distance_map(np.ones((3, 3), bool), (1, 1)) == 0).all()


def test_spacing_may_come_by_axis():
    mask = np.eye(4, dtype=bool)
    by_name = distance_map(mask, {"z": None, "y": 0.5, "x": 0.2})
    np.testing.assert_array_equal(by_name, distance_map(mask, (0.5, 0.2)))


def test_map_by_label_measures_each_cell_to_its_own_landmark():
    cells, nuclei = scene()
    found = distance_map_by_label(cells, nuclei, SPACING)
    for label in (3, 7):
        inside = cells == label
        np.testing.assert_allclose(found[inside], brute(nuclei == label, SPACING)[inside], **EXACT)
    assert np.isnan(found[(cells == 0) | (cells == 9)]).all()


# --- points -----------------------------------------------------------------------------------


@given(masks, st.tuples(steps, steps, steps), st.integers(0, 10**6))
@settings(max_examples=60)
def test_points_anywhere_equal_brute_force(mask, spacing, seed):
    spacing = np.array(spacing[-mask.ndim :])
    extent = np.array(mask.shape) * spacing
    points = np.random.default_rng(seed).uniform(-0.4, 1.3, (40, mask.ndim)) * extent - spacing / 2
    found = distances_of_points(points, mask, spacing)
    voxels = np.argwhere(mask)
    expected = cdist(points, voxels * spacing).min(axis=1, initial=np.inf)
    at = np.floor(points / spacing + 0.5).astype(int)
    expected[(at[:, None] == voxels[None]).all(axis=2).any(axis=1)] = 0
    expected[np.isinf(expected)] = np.nan
    np.testing.assert_allclose(found, expected, **EXACT)


def test_points_at_voxel_centres_equal_the_map():
    mask = np.random.default_rng(3).random((4, 12, 15)) < 0.3
    every = np.argwhere(np.ones(mask.shape)) * SPACING
    for signed in (False, True):
        points = distances_of_points(every, mask, SPACING, signed=signed)
        expected = distance_map(mask, SPACING, signed=signed).reshape(-1)
        np.testing.assert_allclose(points, expected, **EXACT)


def test_signed_points_inside_measure_to_the_nearest_voxel_outside():
    mask = np.zeros((1, 9, 9), bool)
    mask[:, 2:7, 2:7] = True
    found = distances_of_points([[0, 0.43, 0.38]], mask, (1, 0.1, 0.1), signed=True)
    assert found[0] == pytest.approx(-np.hypot(0.27, 0.02))


def test_shifting_points_and_mask_together_changes_nothing():
    mask = ball((8, 30, 30), (1.2, 1.6, 1.9), 0.7, SPACING)
    points = np.random.default_rng(4).uniform(0, 3, (200, 3))
    moved = np.zeros((11, 35, 37), bool)
    moved[3:, 5:, 7:] = mask
    np.testing.assert_allclose(
        distances_of_points(points + np.multiply((3, 5, 7), SPACING), moved, SPACING),
        distances_of_points(points, mask, SPACING),
        **EXACT,
    )


@pytest.mark.parametrize("empty", [[], np.empty((0, 3)), np.empty((0, 2))])
def test_no_points_is_no_error(empty):
    assert distances_of_points(empty, np.ones((2, 2, 2), bool), SPACING).shape == (0,)
    found = nearest_landmark(empty, [], np.ones((2, 2, 2), int), SPACING)
    assert len(found) == 0
    assert found.reason == ()


def test_label_of_the_voxel_under_a_point():
    labels = np.arange(24).reshape(2, 3, 4).astype(np.uint8)
    rng = np.random.default_rng(5)
    at = np.stack([rng.integers(0, n, 50) for n in labels.shape], axis=1)
    points = (at + rng.uniform(-0.49, 0.49, at.shape)) * SPACING
    np.testing.assert_array_equal(labels_at(points, labels, SPACING), labels[tuple(at.T)])
    beyond = [[-0.6, 0, 0], [0, 0, 3.6], [0, 2.51, 0]] * np.array(SPACING)
    assert labels_at(beyond, labels, SPACING).tolist() == [0, 0, 0]


# --- own landmarks ----------------------------------------------------------------------------


def test_each_point_is_measured_to_the_landmark_of_its_own_cell():
    cells, nuclei = scene()
    rng = np.random.default_rng(6)
    points = rng.uniform(0, 1, (400, 3)) * np.array(cells.shape) * SPACING
    cell = rng.choice([0, 3, 7, 9], 400)
    for signed in (False, True):
        found = nearest_landmark(points, cell, nuclei, SPACING, signed=signed)
        for label in (3, 7):
            expected = distances_of_points(
                points[cell == label], nuclei == label, SPACING, signed=signed
            )
            np.testing.assert_allclose(found.distance_um[cell == label], expected, **EXACT)
    assert np.isnan(found.distance_um[(cell == 0) | (cell == 9)]).all()
    reasons = {
        label: {found.reason[i] for i in np.flatnonzero(cell == label)} for label in (0, 3, 9)
    }
    assert reasons == {0: {"in no cell"}, 3: {""}, 9: {"its cell has no landmark"}}


def test_relabelling_cells_changes_nothing():
    cells, nuclei = scene()
    points = np.argwhere(cells > 0)[::50] * SPACING
    table = np.zeros(10, np.int64)
    table[[3, 7, 9]] = 10**12, 5, 2
    one = nearest_landmark(points, labels_at(points, cells, SPACING), nuclei, SPACING)
    other = nearest_landmark(
        points, labels_at(points, table[cells], SPACING), table[nuclei], SPACING
    )
    np.testing.assert_array_equal(one.distance_um, other.distance_um)
    assert one.reason == other.reason


def test_a_landmark_in_pieces_counts_as_a_whole():
    nuclei = np.array([[4, 0, 0, 0, 0, 0, 4]])
    found = nearest_landmark([[0, 4]], [4], nuclei, (1, 1))
    assert found.distance_um.tolist() == [2]


def test_boxes_do_not_depend_on_the_size_of_labels():
    labels = np.zeros((4, 5), np.int64)
    labels[1:3, 2] = 2**40
    labels[3, 4] = 8
    assert boxes_of(labels) == {8: (slice(3, 4), slice(4, 5)), 2**40: (slice(1, 3), slice(2, 3))}
    assert boxes_of(np.full((2, 2), 2**40)) == {2**40: (slice(0, 2), slice(0, 2))}
    assert boxes_of(np.zeros((2, 2), np.int64)) == {}


# --- relative to the cell ---------------------------------------------------------------------


def test_membranes_are_one_voxel_outside_or_inside():
    cell = ball((8, 20, 20), (1.2, 1.1, 1.3), 0.8, SPACING)
    cross = ndimage.generate_binary_structure(3, 1)
    np.testing.assert_array_equal(membrane_mask(cell), ndimage.binary_dilation(cell, cross) ^ cell)
    inner = membrane_mask(cell, "inner")
    np.testing.assert_array_equal(inner, cell ^ ndimage.binary_erosion(cell, cross, border_value=1))


def test_what_a_cell_has_room_for_equals_brute_force():
    cells, nuclei = scene()
    for kind in ("outer", "inner"):
        by_label = {c.label: c for c in cell_distances(cells, nuclei, SPACING, membrane=kind)}
        assert list(by_label) == [3, 7, 9]
        assert by_label[9].reason
        whole = brute(nuclei == 7, SPACING)
        cytosol = (cells == 7) & (nuclei != 7)
        np.testing.assert_allclose(by_label[7].cytosol_um, np.sort(whole[cytosol]), **EXACT)
        membrane = membrane_mask(cells == 7, kind)
        np.testing.assert_allclose(by_label[7].membrane_um, np.sort(whole[membrane]), **EXACT)


def test_evenly_scattered_voxels_have_uniform_ranks_in_any_geometry():
    cells, nuclei = scene()
    cytosol = np.argwhere((cells == 7) & (nuclei == 0)) * SPACING
    rng = np.random.default_rng(7)
    points = cytosol[rng.integers(0, len(cytosol), 4000)]
    measured = nearest_landmark(points, np.full(4000, 7), nuclei, SPACING)
    known = cell_distances(cells, nuclei, SPACING)
    ranks = relative_distances(measured, known, rng=rng).rank
    assert stats.kstest(ranks, "uniform").pvalue > 0.01
    middle = relative_distances(measured, known).rank
    assert abs(middle.mean() - 0.5) < 4 / np.sqrt(12 * 4000)


def test_mean_rank_of_all_voxels_is_one_half():
    reference = np.random.default_rng(8).integers(1, 9, 500) * 0.1
    assert ranked_distances(reference, reference).mean() == pytest.approx(0.5, abs=1e-12)


def test_points_off_the_voxel_centres_have_uniform_ranks_to_a_few_percent():
    cells, nuclei = scene()
    rng = np.random.default_rng(9)
    points = rng.uniform(0, 1, (60_000, 3)) * np.array(cells.shape) * SPACING
    in_cytosol = (labels_at(points, cells, SPACING) == 7) & (
        labels_at(points, nuclei, SPACING) == 0
    )
    points = points[in_cytosol]
    measured = nearest_landmark(points, np.full(len(points), 7), nuclei, SPACING)
    ranks = relative_distances(measured, cell_distances(cells, nuclei, SPACING)).rank
    assert abs(ranks.mean() - 0.5) < 0.02


def test_normalised_distances_reach_one_at_the_farthest_membrane():
    cells, nuclei = scene()
    farthest = cell_distances(cells, nuclei, SPACING)[0].membrane_um
    normalised = normalised_distances(farthest, farthest)
    assert normalised.max() == 1
    assert np.isnan(normalised_distances([1.0], [])).all()


def test_relative_distances_say_why_they_are_missing():
    cells, nuclei = scene()
    at = [
        np.argwhere(cells == 9)[0],
        np.argwhere(nuclei == 3)[0],
        np.argwhere((cells == 3) & (nuclei == 0))[0],
    ]
    points = np.array(at) * SPACING
    measured = nearest_landmark(points, labels_at(points, cells, SPACING), nuclei, SPACING)
    relative = relative_distances(measured, cell_distances(cells, nuclei, SPACING))
    assert relative.reason == ("its cell has no landmark", "inside the landmark", "")
    assert np.isnan(relative.rank).tolist() == [True, True, False]
    assert np.isnan(relative.normalised).tolist() == [True, False, False]
    unknown = relative_distances(measured, ())
    assert unknown.reason[2] == "no distances are given for its cell"


def test_a_landmark_that_fills_its_cell_leaves_no_cytosol():
    cells = np.zeros((1, 5, 5), int)
    cells[0, 1:4, 1:4] = 1
    (known,) = cell_distances(cells, cells, SPACING)
    assert len(known.cytosol_um) == 0
    measured = nearest_landmark([[0, 0, 0]], [1], cells, SPACING)
    relative = relative_distances(measured, [known])
    assert relative.reason == ("the landmark fills the cell",)
    assert np.isnan(relative.rank[0])


# --- what was given ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spacing", [(1, 1), (1, 1, 0), (1, 1, np.nan), (None, 1, 1), 1.0, None, ("a", 1, 1)]
)
def test_spacing_of_every_axis_is_needed(spacing):
    with pytest.raises(CalibrationError, match="spacing_um"):
        distance_map(np.ones((2, 2, 2), bool), spacing)


def test_what_does_not_fit_is_refused():
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(AxisMismatchError, match="within"):
        distance_map(mask, SPACING, within=np.ones((2, 2), bool))
    with pytest.raises(AxisMismatchError, match="mask"):
        distance_map(np.ones(3), SPACING)
    with pytest.raises(InputError, match="NaN"):
        distance_map(np.full((2, 2), np.nan), (1, 1))
    with pytest.raises(AxisMismatchError, match="points_um"):
        distances_of_points([[1, 2]], mask, SPACING)
    with pytest.raises(InputError, match="finite"):
        distances_of_points([[1, 2, np.nan]], mask, SPACING)
    with pytest.raises(InputError, match="integer"):
        labels_at([[0, 0, 0]], mask * 0.5, SPACING)
    with pytest.raises(InputError, match=">= 0"):
        nearest_landmark([[0, 0, 0]], [1], -mask.astype(int), SPACING)
    with pytest.raises(AxisMismatchError, match="cell_of_point"):
        nearest_landmark([[0, 0, 0]], [1, 2], mask.astype(int), SPACING)
    with pytest.raises(InputError, match="cell_of_point"):
        nearest_landmark([[0, 0, 0]], [-1], mask.astype(int), SPACING)
    with pytest.raises(AxisMismatchError, match="landmarks"):
        cell_distances(mask.astype(int), np.ones((2, 2), int), SPACING)
    with pytest.raises(InputError, match="outer"):
        membrane_mask(mask, "middle")


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
@pytest.mark.parametrize("shape", [(1, 1), (13, 17), (5, 9, 11)])
def test_boxes_are_those_of_scipy(shape, dtype):
    rng = np.random.default_rng(3)
    for share in (0.02, 0.3, 1.0):
        labels = rng.integers(1, 9, shape).astype(dtype) * (rng.uniform(size=shape) < share)
        expected = {
            k: box for k, box in enumerate(ndimage.find_objects(labels), start=1) if box is not None
        }
        assert boxes_of(labels) == expected
        assert boxes_of(labels[..., ::-1]) == {
            k: box
            for k, box in enumerate(ndimage.find_objects(labels[..., ::-1]), start=1)
            if box is not None
        }
