"""Objects: tables against per-object loops, shapes drawn by hand, and real nuclei."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from aequorea.colocalization.objects import (
    OBJECT_COLUMNS,
    OBJECT_EXTRA_COLUMNS,
    label_objects,
    nearest_neighbour_distances,
    nearest_neighbour_vectors,
    object_centroids,
    object_table,
    overlap_counts,
    spacing_of,
)
from aequorea.errors import AxisMismatchError, CalibrationError, InputError


def random_labels(shape, seed, coverage=0.4):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.random(shape), 1)
    return ndimage.label(field > np.quantile(field, 1 - coverage))[0]


def loops(labels_a, labels_b, spacing):
    """The same table, one object at a time."""
    rows = []
    for own, other, name in ((labels_a, labels_b, "A"), (labels_b, labels_a, "B")):
        others = [k for k in np.unique(other) if k]
        centres = {k: np.argwhere(other == k).mean(axis=0) for k in others}
        for k in np.unique(own):
            if k == 0:
                continue
            pixels = np.argwhere(own == k)
            centre = pixels.mean(axis=0)
            met = other[own == k]
            met = met[met > 0]
            shared = {j: int(np.sum(met == j)) for j in np.unique(met)}
            best = max(shared, key=lambda j: (shared[j], -j)) if shared else 0
            px = {j: math.dist(centre, centres[j]) for j in others}
            um = {j: math.dist(centre * spacing, centres[j] * spacing) for j in others}
            rows.append(
                {
                    "channel": name,
                    "object": k,
                    "n_pixels": len(pixels),
                    "centroid": centre,
                    "overlap": bool(shared),
                    "overlap_pixels": sum(shared.values()),
                    "n_partners": len(shared),
                    "partner": best,
                    "partner_overlap_pixels": shared.get(best, 0),
                    "nn_distance_px": min(px.values(), default=np.nan),
                    "nn_distance_um": min(um.values(), default=np.nan),
                }
            )
    return rows


@pytest.mark.parametrize("shape", [(30, 34), (8, 14, 15)])
@pytest.mark.parametrize("seed", range(4))
def test_table_agrees_with_loops(shape, seed):
    a, b = random_labels(shape, seed), random_labels(shape, seed + 100, 0.3)
    b[b == 1] = 0
    spacing = np.array([0.5, 0.1, 0.12])[-len(shape) :]
    rows, summary = object_table(a, b, spacing_um=spacing)
    expected = loops(a, b, spacing)
    assert len(rows) == len(expected)
    for row, truth in zip(rows, expected, strict=True):
        assert tuple(row) == (*OBJECT_COLUMNS, *OBJECT_EXTRA_COLUMNS)
        np.testing.assert_allclose(row["centroid"], truth.pop("centroid"))
        for key in ("nn_distance_px", "nn_distance_um"):
            assert row[key] == pytest.approx(truth.pop(key), nan_ok=True)
        assert {key: row[key] for key in truth} == truth
        assert row["size_um"] == pytest.approx(row["n_pixels"] * spacing.prod())
        assert row["overlap_fraction"] == row["overlap_pixels"] / row["n_pixels"]
    assert summary["n_objects_a"] == a.max()
    assert summary["overlap_a"] == sum(r["overlap"] for r in rows if r["channel"] == "A")
    distances = [r["nn_distance_px"] for r in rows if r["channel"] == "B"]
    assert summary["median_nn_distance_b"] == pytest.approx(np.median(distances))


def test_anisotropy_changes_the_nearest_neighbour():
    a, b = np.zeros((9, 9, 9), int), np.zeros((9, 9, 9), int)
    a[4, 4, 4] = 1
    b[6, 4, 4], b[4, 4, 7] = 3, 4
    row = object_table(a, b, spacing_um={"z": 0.5, "y": 0.1, "x": 0.1})[0][0]
    assert (row["nn_object"], row["nn_distance_px"]) == (3, 2)
    assert (row["nn_object_um"], row["nn_distance_um"]) == (4, pytest.approx(0.3))


def test_centre_of_a_ring_is_on_the_ring():
    a, b = np.zeros((21, 21), int), np.zeros((21, 21), int)
    radius = np.hypot(*(np.indices(a.shape) - 10))
    a[(radius > 6) & (radius < 9)] = 1
    b[radius < 3] = 1
    corrected = object_table(a, b)[0][0]
    assert corrected["coincident"] is False
    assert corrected["coincident_with"] == 0
    assert object_table(a, b, compat="napari")[0][0]["coincident"] is True


def test_convex_objects_are_judged_alike_in_both_modes():
    a, b = np.zeros((20, 20), int), np.zeros((20, 20), int)
    a[2:7, 2:7], a[12:15, 3:6] = 1, 2
    b[4:11, 4:11] = 9
    for compat in (None, "napari"):
        rows, _ = object_table(a, b, compat=compat)
        assert [row["coincident"] for row in rows] == [True, False, False]
        assert [row["coincident_with"] for row in rows] == [9, 0, 0]


def test_napari_mode_rounds_centroids():
    a = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]])
    assert object_table(a, a, compat="napari")[0][0]["centroid"] == (0.3, 1.2)
    assert object_table(a, a)[0][0]["centroid"] == (2 / 6, 7 / 6)


def test_without_pixel_size_no_micrometres():
    a = np.array([[1, 0, 2]])
    rows, summary = object_table(a, a)
    for column in ("centroid_um", "size_um", "nn_distance_um", "nn_object_um"):
        assert rows[0][column] is None
    assert summary["median_nn_distance_um_a"] is None


def test_nothing_found_is_a_result():
    empty, one = np.zeros((4, 4), int), np.eye(4, dtype=int)
    rows, summary = object_table(empty, one, spacing_um=0.1)
    assert len(rows) == 1
    assert np.isnan(rows[0]["nn_distance_px"])
    assert np.isnan(rows[0]["nn_distance_um"])
    assert rows[0]["nn_object"] == 0
    assert summary["n_objects_a"] == 0
    assert np.isnan(summary["frac_overlap_a"])
    assert summary["frac_overlap_b"] == 0
    assert object_table(empty, empty)[0] == []


def test_channels_of_one_name_keep_their_own_summary():
    a, b = np.array([[1, 2, 3, 0]]), np.array([[0, 0, 0, 1]])
    _, summary = object_table(a, b, "x", "x")
    assert (summary["n_objects_a"], summary["n_objects_b"]) == (3, 1)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from(["u1", "u2", "i4", "i8", "u8"]))
def test_invariant_under_renumbering_and_dtype(seed, dtype):
    a, b = random_labels((20, 20), seed), random_labels((20, 20), seed + 1)
    plain, _ = object_table(a, b)
    ids = np.sort(np.random.default_rng(seed).choice(np.arange(1, 250), a.max(), replace=False))
    renamed = np.concatenate([[0], ids])[a].astype(dtype)
    rows, _ = object_table(renamed, b)
    columns = [c for c in OBJECT_COLUMNS if c != "object"]
    n = int(a.max())
    assert [[r[c] for c in columns] for r in rows] == [[r[c] for c in columns] for r in plain]
    assert [r["object"] for r in rows[:n]] == ids.tolist()


def test_huge_label_numbers():
    a = np.array([[0, 2**40, 2**40, 5]])
    assert object_centroids(a).tolist() == [[0, 3], [0, 1.5]]
    assert object_centroids(np.array([[7, 2**40]])).tolist() == [[0, 0], [0, 1]]


def test_overlap_counts_agree_with_a_histogram():
    a, b = random_labels((40, 40), 1), random_labels((40, 40), 2)
    table = np.zeros((a.max() + 1, b.max() + 1), int)
    np.add.at(table, (a.ravel(), b.ravel()), 1)
    assert np.array_equal(overlap_counts(a, b).toarray(), table[1:, 1:])


def test_label_objects_thresholds_labels_and_drops_the_small():
    image = np.zeros((12, 12))
    image[1:4, 1:4] = 10
    image[6, 6], image[7, 7] = 10, 10
    image[10, 10] = 10
    assert label_objects(image).max() == 3
    kept = label_objects(image, min_size=2)
    assert kept.max() == 2
    assert kept[6, 6] == kept[7, 7] == 2
    mask = np.zeros(image.shape, bool)
    mask[:5] = True
    assert label_objects(image, mask=mask).max() == 1


def test_label_objects_of_a_constant_image_is_empty():
    assert not label_objects(np.full((5, 5), 7)).any()


def test_label_objects_on_real_nuclei(shared_data):
    from skimage import io

    image = io.imread(shared_data("stardist-2d3d/tests_img2d.tif"))
    found = label_objects(np.asarray(image), "otsu", min_size=20)
    assert 20 < found.max() < 200


def test_neighbours():
    a, b = [[0.0, 0.0], [5.0, 5.0]], [[0.0, 2.0], [5.0, 4.0]]
    assert nearest_neighbour_distances(a, b).tolist() == [2, 1]
    assert nearest_neighbour_vectors(a, b).tolist() == [[[0, 0], [0, 2]], [[5, 5], [0, -1]]]
    assert np.isnan(nearest_neighbour_distances(a, np.empty((0, 2)))).all()
    assert nearest_neighbour_distances([], b).shape == (0,)
    assert nearest_neighbour_vectors(a, np.empty((0, 2))).shape == (0, 2, 2)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: object_table(np.eye(3, dtype=int), np.eye(4, dtype=int)), AxisMismatchError),
        (lambda: object_table(np.eye(3), np.eye(3)), InputError),
        (lambda: object_table(-np.eye(3, dtype=int), np.eye(3, dtype=int)), InputError),
        (lambda: object_table(np.zeros((0, 3), int), np.zeros((0, 3), int)), InputError),
        (lambda: object_table([[1]], [[1]], compat="imagej"), InputError),
        (lambda: object_table([[1]], [[1]], spacing_um=(0.1, None)), CalibrationError),
        (lambda: object_table([[1]], [[1]], spacing_um=(0.1, 0.1, 0.1)), CalibrationError),
        (lambda: object_table([[1]], [[1]], spacing_um=0.0), CalibrationError),
        (lambda: label_objects([[1, np.nan]]), InputError),
        (lambda: label_objects([[1, 2]], "best"), InputError),
        (lambda: label_objects([[1, 2]], min_size=-1), InputError),
        (lambda: label_objects([[1, 2]], mask=[[1]]), InputError),
        (lambda: nearest_neighbour_distances([[1, 2]], [[1, 2, 3]]), AxisMismatchError),
        (lambda: nearest_neighbour_distances([1, 2], [[1, 2]]), AxisMismatchError),
        (lambda: nearest_neighbour_distances([[np.nan, 2]], [[1, 2]]), InputError),
    ],
)
def test_bad_input(call, error):
    with pytest.raises(error):
        call()


def test_spacing_of_a_mapping_takes_the_last_axes():
    assert spacing_of({"z": None, "y": 0.2, "x": 0.1}, 2).tolist() == [0.2, 0.1]
    with pytest.raises(CalibrationError, match="3 positive"):
        spacing_of({"z": None, "y": 0.2, "x": 0.1}, 3)
