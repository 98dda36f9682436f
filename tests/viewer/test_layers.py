"""Calibration, contrast, and layers that are updated in place."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from aequorea.errors import CalibrationError, InputError
from aequorea.viewer.layers import (
    LayerSpec,
    calibration_of,
    contrast_limits,
    is_open,
    labels_of,
    show_layers,
)

pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")


def test_calibrated_axes_are_in_micrometres():
    calibration = calibration_of((2, 0.5, 0.4))
    assert calibration.settings(2) == {
        "scale": (0.5, 0.4),
        "units": ("um", "um"),
        "axis_labels": ("y", "x"),
    }
    assert calibration.note["calibration"] == "µm"
    assert calibration_of((0.5, 0.4)) == calibration_of((None, 0.5, 0.4))


def test_unknown_sizes_are_pixels_and_the_layer_says_so():
    for scale in (None, (None, None, None), (2, None, 0.4), (None, None)):
        calibration = calibration_of(scale)
        assert calibration.scale_zyx == (1, 1, 1)
        assert set(calibration.units) == {"pixel"}
        assert calibration.note["pixel_size_um"] == {}
    note = calibration_of((None, 0.5, 0.4)).note
    assert note["pixel_size_um"] == {"y": 0.5, "x": 0.4}
    assert note["calibration"] == "pixels along z: size is not known"


@pytest.mark.parametrize("scale", [(0, 1, 1), (1, -1, 1), (np.nan, 1, 1), (1,), (1, 1, 1, 1)])
def test_sizes_that_are_no_sizes_are_refused(scale):
    with pytest.raises(CalibrationError, match="voxel_scale_zyx"):
        calibration_of(scale)


def test_contrast_leaves_out_hot_pixels_and_keeps_a_sparse_stain():
    image = np.random.default_rng(0).normal(100, 5, (512, 512))
    image[3, 3:8] = 60_000
    (low, high), (lowest, highest) = contrast_limits(image)
    assert 80 < low < 95
    assert 110 < high < 130
    assert (lowest, highest) == (image.min(), 60_000)
    sparse = np.zeros((512, 512), np.uint8)
    sparse[100:104, 100:105] = 50
    assert contrast_limits(sparse)[0] == (0, 50)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1)),
        np.full((2, 3), 1e9),
        np.full((2, 3), np.nan),
        np.zeros((0, 4)),
        np.ones((3, 3), bool),
        np.arange(9, dtype=">u2"),
    ],
)
def test_contrast_limits_always_rise(image):
    (low, high), (lowest, highest) = contrast_limits(image)
    assert lowest <= low < high <= highest


def test_contrast_of_a_large_stack_reads_part_of_it():
    stack = np.broadcast_to(np.arange(3000, dtype=np.uint16), (40, 3000, 3000))
    (low, high), _ = contrast_limits(stack)
    assert low == pytest.approx(15, abs=16)
    assert high == pytest.approx(2998, abs=16)


def labels(array, name="masks", **more):
    return LayerSpec(
        "key", name, "labels", array, {"contour": 1, **calibration_of(None).settings(3)}, **more
    )


def test_label_layers_hold_copies_in_native_order(model):
    mine = np.ones((1, 4, 5), ">i2")
    mine.flags.writeable = False
    show_layers(model, [labels(mine)])
    model.layers["masks"].data[:] = 7
    assert mine.max() == 1
    found = labels_of(model, "masks")
    assert found.dtype == np.dtype("=i2")
    found[:] = 9
    assert model.layers["masks"].data.max() == 7


def test_updating_keeps_the_layer_its_place_and_what_the_user_set(model):
    first, second = np.zeros((1, 4, 5), int), np.ones((1, 4, 5), int)
    show_layers(model, [labels(first), labels(first, "others")])
    layer = model.layers["masks"]
    layer.opacity, layer.visible = 0.2, False
    show_layers(model, [labels(second), labels(second, "others")])
    assert model.layers["masks"] is layer
    assert [found.name for found in model.layers] == ["masks", "others"]
    assert (layer.opacity, layer.visible) == (0.2, False)
    np.testing.assert_array_equal(layer.data, second)


def test_undo_does_not_reach_back_over_an_update(model):
    show_layers(model, [labels(np.zeros((1, 8, 8), int))])
    layer = model.layers["masks"]
    layer.paint((0, 3, 3), 5)
    assert layer.data.any()
    show_layers(model, [labels(np.full((1, 8, 8), 2))])
    layer.undo()
    assert (layer.data == 2).all()


def test_a_layer_of_another_kind_or_depth_is_replaced_where_it_was(model):
    model.add_image(np.zeros((4, 5)), name="masks")
    model.add_image(np.zeros((4, 5)), name="above")
    show_layers(model, [labels(np.ones((1, 4, 5), int))])
    assert [layer.name for layer in model.layers] == ["masks", "above"]
    model.layers.remove("masks")
    model.add_labels(np.zeros((4, 5), int), name="masks")
    show_layers(model, [labels(np.ones((1, 4, 5), int))])
    assert labels_of(model, "masks").shape == (1, 4, 5)


def test_without_replacing_new_layers_stand_beside_the_old(model):
    for value in (1, 2):
        show_layers(model, [labels(np.full((1, 4, 5), value))], replace=False)
    assert [layer.name for layer in model.layers] == ["masks", "masks [1]"]
    assert labels_of(model, "masks [1]").max() == 2


def test_images_keep_the_contrast_that_the_user_set_until_they_change(model):
    def spec(array):
        return LayerSpec("key", "DAPI", "image", array, calibration_of(None).settings(3), "gray")

    first = np.arange(20.0).reshape(1, 4, 5)
    show_layers(model, [spec(first)])
    layer = model.layers["DAPI"]
    layer.contrast_limits = (3, 4)
    show_layers(model, [spec(first)])
    assert layer.contrast_limits == [3, 4]
    show_layers(model, [spec(first + 1000)])
    assert 1000 <= layer.contrast_limits[0] < layer.contrast_limits[1] <= 1019


def test_two_layers_of_one_name_are_refused(model):
    array = np.zeros((1, 4, 5), int)
    with pytest.raises(InputError, match="two layers would be called 'masks'"):
        show_layers(model, [labels(array), labels(array)])
    assert not model.layers


def test_a_missing_label_layer_lists_those_that_are_there(model):
    show_layers(model, [labels(np.zeros((1, 4, 5), int), name) for name in ("a", "b")])
    model.add_image(np.zeros((4, 5)), name="c")
    with pytest.raises(InputError, match=r"no label layer 'c' .*: 'a', 'b'; "):
        labels_of(model, "c")
    model.layers.clear()
    with pytest.raises(InputError, match=r"label layers there: none; .*before Viewer.close"):
        labels_of(model, "a")


def test_closed_windows_are_noticed(windows):
    processed = importlib.import_module("qtpy.QtWidgets").QApplication
    by_hand, by_call = windows.Viewer(show=False), windows.Viewer(show=False)
    assert is_open(by_hand)
    assert is_open(by_call)
    by_call.close()
    assert not is_open(by_call)
    by_hand.window._qt_window.close()
    assert not is_open(by_hand)
    processed.processEvents()  # Qt deletes it
    assert not is_open(by_hand)
    assert is_open(importlib.import_module("napari.components").ViewerModel())
