"""Drawn shapes become regions: which pixels, in which coordinates, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from aequorea.errors import AequoreaWarning, AxisMismatchError, CalibrationError, InputError
from aequorea.viewer import (
    get_roi_label_points,
    rasterize_shapes_to_labelmask,
    save_roi_labels_from_shapes,
)

SHAPE = (40, 50)
SQUARE = [[10, 12], [10, 20], [17, 20], [17, 12]]


def drawn(*shapes, kinds="polygon", **transform):
    return SimpleNamespace(
        data=[np.asarray(s, np.float32) for s in shapes], shape_type=kinds, **transform
    )


def pixel_centres():
    return np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)


def test_a_pixel_belongs_to_the_shape_that_holds_its_centre():
    y, x = pixel_centres()
    corners = [[9.6, 11.6], [9.6, 20.4], [17.4, 20.4], [17.4, 11.6]]
    expected = (y >= 10) & (y <= 17) & (x >= 12) & (x <= 20)
    for kind in ("polygon", "rectangle"):
        labels = rasterize_shapes_to_labelmask(drawn(corners, kinds=kind), SHAPE)
        assert labels.dtype == np.uint16
        np.testing.assert_array_equal(labels, expected)


@given(st.lists(st.floats(2.0, 20.0), min_size=3, max_size=12), st.integers(0, 2**31))
def test_star_polygons_against_the_winding_of_each_centre(radii, seed):
    angles = np.sort(np.random.default_rng(seed).uniform(0, 2 * np.pi, len(radii)))
    corners = np.round(
        np.stack([20 + np.sin(angles) * radii, 25 + np.cos(angles) * radii], axis=1), 2
    )
    # away from pixel centres, where rounding would decide
    corners += 0.003
    y, x = pixel_centres()
    inside = np.zeros(SHAPE, bool)
    for (y0, x0), (y1, x1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    if not inside.any():
        return
    labels = rasterize_shapes_to_labelmask(drawn(corners), SHAPE)
    assert np.mean((labels == 1) != inside) <= 1e-3  # one or two centres on an edge


def test_an_ellipse_by_its_equation_also_when_turned():
    y, x = pixel_centres()
    upright = [[8, 10], [8, 40], [28, 40], [28, 10]]
    labels = rasterize_shapes_to_labelmask(drawn(upright, kinds="ellipse"), SHAPE)
    np.testing.assert_array_equal(labels, ((y - 18) / 10) ** 2 + ((x - 25) / 15) ** 2 <= 1)
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    turned = (np.array(upright) - (18, 25)) @ turn.T + (18, 25)
    labels = rasterize_shapes_to_labelmask(drawn(turned, kinds="ellipse"), SHAPE)
    dy, dx = np.einsum("ij,jyx->iyx", turn.T, np.stack([y - 18, x - 25]))
    level = (dy / 10) ** 2 + (dx / 15) ** 2
    clear = np.abs(level - 1) > 1e-3  # vertices are good to a thousandth of a pixel
    np.testing.assert_array_equal((labels == 1)[clear], (level <= 1)[clear])
    assert clear.mean() > 0.99


def test_world_coordinates_and_a_scaled_layer_give_the_same_regions():
    scale = np.array([0.325, 0.21])
    shapes = [SQUARE, [[1, 1], [1, 9], [8, 5]], [[20, 20], [20, 41], [33, 41], [33, 20]]]
    kinds = ["polygon", "polygon", "ellipse"]
    pixels = rasterize_shapes_to_labelmask(drawn(*shapes, kinds=kinds), SHAPE)
    in_um = drawn(*(np.array(s) * scale for s in shapes), kinds=kinds)
    scaled = drawn(*shapes, kinds=kinds, scale=scale)
    moved = drawn(
        *(np.array(s) - (3, 4) for s in shapes), kinds=kinds, scale=scale, translate=scale * (3, 4)
    )
    for layer in (in_um, scaled, moved):
        np.testing.assert_array_equal(rasterize_shapes_to_labelmask(layer, SHAPE, scale), pixels)
    assert set(np.unique(pixels)) == {0, 1, 2, 3}


def test_the_transform_of_the_layer_itself_comes_first():
    layer = drawn(np.array(SQUARE)[:, ::-1], scale=(99.0, 99.0))
    layer.data_to_world = lambda point: (point[1], point[0])
    np.testing.assert_array_equal(
        rasterize_shapes_to_labelmask(layer, SHAPE),
        rasterize_shapes_to_labelmask(drawn(SQUARE), SHAPE),
    )


def test_shapes_drawn_in_a_stack_are_regions_of_the_plane():
    in_stack = np.column_stack([np.full(4, 3.0), SQUARE])
    layer = drawn(in_stack, scale=(2.0, 0.5, 0.5))
    np.testing.assert_array_equal(
        rasterize_shapes_to_labelmask(layer, SHAPE, (0.5, 0.5)),
        rasterize_shapes_to_labelmask(drawn(SQUARE), SHAPE),
    )


def test_an_image_of_unknown_pixel_size_is_drawn_in_pixels():
    expected = rasterize_shapes_to_labelmask(drawn(SQUARE), SHAPE)
    for scale in ((None, None), (0.3, None)):
        np.testing.assert_array_equal(
            rasterize_shapes_to_labelmask(drawn(SQUARE), SHAPE, scale), expected
        )


def test_later_shapes_win_and_the_losers_are_named():
    second = np.add(SQUARE, (0, 4))
    layer = drawn(SQUARE, second, np.add(second, (4, 0)))
    with pytest.warns(AequoreaWarning, match=r"ROI 1 lost (\d+) px to ROI 2") as told:
        labels = rasterize_shapes_to_labelmask(layer, SHAPE)
    alone = rasterize_shapes_to_labelmask(drawn(SQUARE), SHAPE) == 1
    then = rasterize_shapes_to_labelmask(drawn(second), SHAPE) == 1
    assert f"ROI 1 lost {np.sum(alone & then)} px to ROI 2" in str(told[0].message)
    assert "ROI 2 lost" in str(told[0].message)
    assert len(told) == 1
    assert labels[12, 17] == 2
    assert labels[12, 13] == 1


def test_a_shape_over_the_edge_is_clipped():
    labels = rasterize_shapes_to_labelmask(drawn(np.array(SQUARE) - (12.5, 14.5)), SHAPE)
    expected = np.zeros(SHAPE, bool)
    expected[:5, :6] = True
    np.testing.assert_array_equal(labels, expected)
    everything = [[-9, -9], [-9, 99], [99, 99], [99, -9]]
    assert rasterize_shapes_to_labelmask(drawn(everything), SHAPE).all()


def test_an_outline_that_crosses_itself_follows_the_even_odd_rule():
    # a pentagram: its middle is enclosed twice
    angles = np.arange(5) * 4 * np.pi / 5
    star = np.stack([20 + 15 * np.cos(angles), 25 + 15 * np.sin(angles)], axis=1)
    labels = rasterize_shapes_to_labelmask(drawn(star), SHAPE)
    assert labels[20, 25] == 0
    assert labels[33, 25] == 1


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (drawn(), InputError, "no region is drawn"),
        (drawn(SQUARE, SQUARE, kinds=["polygon", "path"]), InputError, r"ROI 2 \(path\) has no"),
        (drawn(SQUARE, kinds="line"), InputError, r"ROI 1 \(line\) has no area"),
        (drawn([[1, 1], [5, 5], [9, 9]]), InputError, r"ROI 1 .*corners lie on one line"),
        (drawn([[3, 3]]), InputError, "ROI 1 .*one line"),
        (drawn([[3, 3], [3, 3], [3, 3], [3, 3]], kinds="ellipse"), InputError, "one line"),
        (drawn(SQUARE[:3], kinds="ellipse"), InputError, "4 corners around an ellipse"),
        (drawn([[1, 1], [np.nan, 5], [9, 1]]), InputError, "ROI 1 .*not finite"),
        (drawn(SQUARE, np.array(SQUARE) + 100), AxisMismatchError, "ROI 2 .*outside the image"),
        (drawn(np.array(SQUARE) - 90), AxisMismatchError, "ROI 1 .*outside the image"),
        (drawn([[1.1, 1.1], [1.1, 1.4], [1.4, 1.4]]), InputError, "ROI 1 .*no pixel centre"),
        (drawn(SQUARE, SQUARE), InputError, "ROI 1 is covered by later ones"),
        (drawn(SQUARE, kinds=["polygon"] * 2), AxisMismatchError, "one for each of the 1"),
        (drawn([1, 2, 3]), InputError, r"vertices of shape \(n, 2\)"),
        (drawn(np.zeros((0, 2))), InputError, r"vertices of shape \(n, 2\)"),
    ],
)
def test_what_is_no_region_is_refused_by_name(layer, error, message):
    with pytest.raises(error, match=message):
        rasterize_shapes_to_labelmask(layer, SHAPE)


@pytest.mark.parametrize("scale", [(0, 1), (-1, 1), (np.nan, 1), (1, 1, 1), (np.inf, 1)])
def test_pixel_sizes_are_checked(scale):
    with pytest.raises(CalibrationError, match="scale_yx"):
        rasterize_shapes_to_labelmask(drawn(SQUARE), SHAPE, scale)


@pytest.mark.parametrize("shape", [(5,), (1, 5, 5), (0, 5)])
def test_the_image_shape_is_checked(shape):
    with pytest.raises(AxisMismatchError, match="image_shape_yx"):
        rasterize_shapes_to_labelmask(drawn(SQUARE), shape)


def test_numbers_are_written_at_the_centroids():
    labels = np.zeros(SHAPE, ">u2")
    labels[2:5, 10:20] = 3
    labels[20:31, 0] = 7
    labels.flags.writeable = False
    centroids, texts = get_roi_label_points(labels)
    np.testing.assert_allclose(centroids, [[3, 14.5], [25, 0]])
    assert texts == ["ROI 3", "ROI 7"]
    nothing, none = get_roi_label_points(np.zeros(SHAPE, int))
    assert nothing.shape == (0, 2)
    assert none == []


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 3, 4), int), "expected a plane"),
        (np.zeros((3, 4)), "expected integers"),
        (np.full((3, 4), -1), "labels >= 0"),
    ],
)
def test_labels_to_be_numbered_are_checked(labels, message):
    with pytest.raises(InputError, match=message):
        get_roi_label_points(labels)


def test_drawn_regions_are_saved_for_a_later_run(tmp_path):
    path = tmp_path / "results" / "rois.tif"
    labels = save_roi_labels_from_shapes(drawn(SQUARE), path, SHAPE)
    np.testing.assert_array_equal(tifffile.imread(path), labels)
    with pytest.raises(InputError, match="no region is drawn"):
        save_roi_labels_from_shapes(drawn(), path, SHAPE)
    assert tifffile.imread(path).any()  # what was saved stays
