"""Cells in the viewer: which layers, where they lie, and what comes back after editing."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import numpy as np
import pytest

from aequorea.errors import AxisMismatchError, InputError
from aequorea.viewer import (
    create_roi_drawing_viewer,
    create_single_channel_roi_drawing_viewer,
    extract_label_masks_from_viewer,
    extract_labels_from_viewer,
    extract_single_channel_masks_from_viewer,
    rasterize_shapes_to_labelmask,
    show_analysis_results,
    show_optional_region_segmentation,
    show_single_channel_results,
)

pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")

SQUARE = np.array([[3.0, 4], [3, 12], [9, 12], [9, 4]])


def layer_names(viewer):
    return [layer.name for layer in viewer.layers]


def colour_of(viewer, name):
    return viewer.layers[name].colormap.name


def test_the_layers_of_two_channels(model, make_scene, names):
    images, regions, result = make_scene(1)
    assert show_analysis_results(images, regions, result, names, viewer=model) is model
    assert layer_names(model) == [
        "DAPI",
        "Iba1",
        "ROIs",
        "Iba1+ nuclei",
        "Cellpose marker masks",
        "Cellpose cell masks",
        "ROI numbers",
    ]
    assert colour_of(model, "DAPI") == "magenta"
    assert colour_of(model, "Iba1") == "cyan"
    assert model.layers.selection.active.name == "Cellpose cell masks"
    for layer in model.layers:
        np.testing.assert_allclose(layer.scale, (2, 0.5, 0.4))
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
        assert layer.metadata["calibration"] == "µm"
    np.testing.assert_array_equal(model.layers["ROIs"].data, regions[None])
    np.testing.assert_array_equal(model.layers["Iba1+ nuclei"].data, result.positive_cell_masks)
    assert model.layers["DAPI"].data is images.cell_image


def test_layer_names_by_default_are_those_of_the_display_names(model, make_scene):
    images, regions, result = make_scene(1, third=True)
    show_analysis_results(images, regions, result, viewer=model)
    assert {
        "Cells", "Marker", "Marker-positive cells", "Optional region threshold labels"
    } < set(layer_names(model))  # fmt: skip
    single = SimpleNamespace(**vars(images), image=images.cell_image)
    show_single_channel_results(
        single, regions, SimpleNamespace(masks=result.cell_masks), viewer=model
    )
    assert {"Channel", "Segmented objects"} < set(layer_names(model))


def test_the_numbers_of_regions_stand_at_their_centroids(model, make_scene, names):
    images, regions, result = make_scene(1)
    show_analysis_results(images, regions * 4, result, names, viewer=model)
    numbers = model.layers["ROI numbers"]
    np.testing.assert_allclose(numbers.data, [[0, 10.5, 8.5], [0, 18.5, 28.5]])
    assert list(numbers.text.values) == ["ROI 4", "ROI 8"]
    assert numbers.text.size == 14


def test_a_third_channel_is_red_and_shown_on_request(model, make_scene, names):
    images, regions, result = make_scene(3, third=True)
    show_analysis_results(images, regions, result, names, viewer=model)
    assert "GFAP" not in model.layers
    np.testing.assert_array_equal(
        model.layers["GFAP threshold labels"].data, result.optional_region_masks
    )
    show_analysis_results(
        images, regions, result, names, viewer=model, show_optional_region_image=True
    )
    assert colour_of(model, "GFAP") == "red"
    region = SimpleNamespace(labels=np.ones_like(result.cell_masks))
    show_analysis_results(images, regions, result, names, region, viewer=model)
    assert model.layers["GFAP threshold labels"].data.all()


def test_further_channels_have_colours_of_their_own(model, make_scene, names):
    images, regions, result = make_scene(1, third=True)
    images.extra_images = {"NeuN": images.cell_image + 1, "Olig2": images.cell_image + 2}
    show_analysis_results(
        images, regions, result, names, viewer=model, show_optional_region_image=True
    )
    channels = ("DAPI", "Iba1", "GFAP", "NeuN", "Olig2")
    assert len({colour_of(model, name) for name in channels}) == 5


def test_regions_are_shown_only_where_planes_were_analysed(model, make_scene, names):
    images, regions, result = make_scene(8, bounds=(2, 6))
    show_analysis_results(images, regions, result, names, viewer=model)
    outlines = model.layers["ROIs"]
    assert outlines.data.shape == (4, 30, 40)
    first, last = outlines.extent.world[:, 0]
    assert (first, last) == (2 * 2.0, 5 * 2.0)
    assert sorted(set(model.layers["ROI numbers"].data[:, 0])) == [2, 3, 4, 5]
    assert model.dims.current_step[0] == 3
    seen = []
    for z in range(8):
        model.dims.set_current_step(0, z)
        seen.append(outlines.get_value((2.0 * z, 2.5, 2.0), world=True) or 0)
    assert seen == [0, 0, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize(("bounds", "planes"), [((None, 3), 3), ((5, None), 3), ((-4, 99), 8)])
def test_open_bounds_end_with_the_stack(model, make_scene, names, bounds, planes):
    images, regions, result = make_scene(8, bounds=bounds)
    show_analysis_results(images, regions, result, names, viewer=model)
    assert len(model.layers["ROIs"].data) == planes


def test_bounds_without_planes_are_refused(model, make_scene, names):
    images, regions, result = make_scene(8, bounds=(6, 2))
    with pytest.raises(InputError, match="analysis_z_bounds"):
        show_analysis_results(images, regions, result, names, viewer=model)


def test_masks_of_a_projection_lie_over_projected_images(model, make_scene, names):
    images, regions, _ = make_scene(6)
    _, _, result = make_scene(1, bounds=(1, 4))
    show_analysis_results(images, regions, result, names, viewer=model)
    np.testing.assert_array_equal(
        model.layers["DAPI"].data, images.cell_image.max(axis=0, keepdims=True)
    )
    assert model.layers["DAPI"].metadata["shown"] == "maximum projection along z"
    assert len(model.layers["ROIs"].data) == 1


def test_an_image_of_unknown_pixel_size_is_shown_in_pixels(model, make_scene, names):
    images, regions, result = make_scene(1, scale=(None, None, None))
    show_analysis_results(images, regions, result, names, viewer=model)
    for layer in model.layers:
        np.testing.assert_array_equal(layer.scale, 1)
        assert {str(unit) for unit in layer.units} == {"pixel"}
        assert layer.metadata["calibration"].startswith("pixels along z, y, x")


def test_some_layers_only(model, make_scene, names):
    images, regions, result = make_scene(1, third=True)
    wanted = ["optional_region_image", "cell_masks"]
    show_analysis_results(images, regions, result, names, viewer=model, layers_to_show=wanted)
    assert layer_names(model) == ["GFAP", "Cellpose cell masks"]
    with pytest.raises(
        InputError, match=r"layers_to_show: 'cells' is not a layer; expected .*rois"
    ):
        show_analysis_results(images, regions, result, names, viewer=model, layers_to_show="cells")


def test_no_cells_and_no_regions_are_a_result(model, make_scene, names):
    images, regions, result = make_scene(2)
    nothing = np.zeros_like(result.cell_masks)
    empty = SimpleNamespace(
        cell_masks=nothing, marker_masks=nothing, positive_cell_masks=nothing.astype(bool)
    )
    show_analysis_results(images, regions * 0, empty, names, viewer=model)
    assert not any(masks.any() for masks in extract_label_masks_from_viewer(model))
    assert len(model.layers["ROI numbers"].data) == 0
    show_analysis_results(images, regions, result, names, viewer=model)
    assert list(model.layers["ROI numbers"].text.values) == ["ROI 1", "ROI 2"] * 2
    show_analysis_results(images, regions * 0, empty, names, viewer=model)
    assert len(model.layers["ROI numbers"].data) == 0


def test_a_new_run_updates_the_layers_that_are_there(model, make_scene, names):
    images, regions, result = make_scene(1)
    show_analysis_results(images, regions, result, names, viewer=model)
    before = list(model.layers)
    refined = SimpleNamespace(**{**vars(result), "cell_masks": result.cell_masks * 5})
    show_analysis_results(images, regions, refined, names, viewer=model)
    assert list(model.layers) == before
    assert extract_label_masks_from_viewer(model)[0].max() == 10
    show_analysis_results(
        images, regions, result, names, viewer=model, replace_existing_layers=False
    )
    assert len(model.layers) == 2 * len(before)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"cell_masks": np.zeros((2, 30, 40), int)}, AxisMismatchError, "Iba1.*shape|shape"),
        ({"marker_masks": np.zeros((1, 30, 41), int)}, AxisMismatchError, "Cellpose marker masks"),
        ({"marker_masks": np.zeros((1, 30, 40))}, InputError, "Cellpose marker .*integer labels"),
        ({"cell_masks": np.zeros(9, int)}, AxisMismatchError, r"cell_masks: .*\(Z, Y, X\)"),
        ({"cell_masks": np.zeros((0, 30, 40), int)}, AxisMismatchError, "cell_masks"),
    ],
)
def test_masks_that_do_not_fit_are_refused(model, make_scene, names, change, error, message):
    images, regions, result = make_scene(1)
    with pytest.raises(error, match=message):
        show_analysis_results(
            images, regions, SimpleNamespace(**vars(result) | change), names, viewer=model
        )
    assert not model.layers


def test_regions_and_channels_that_do_not_fit_are_refused(model, make_scene, names):
    images, regions, result = make_scene(1)
    with pytest.raises(AxisMismatchError, match="roi_labels_2d: shape"):
        show_analysis_results(images, regions[:-1], result, names, viewer=model)
    with pytest.raises(InputError, match="roi_labels_2d: expected integer"):
        show_analysis_results(images, regions / 2, result, names, viewer=model)
    images.marker_image = images.marker_image[:, :-1]
    with pytest.raises(AxisMismatchError, match="Iba1: shape"):
        show_analysis_results(images, regions, result, names, viewer=model)
    with pytest.raises(AxisMismatchError, match=r"Iba1.*: shape"):
        create_roi_drawing_viewer(images, names, viewer=model)


def test_channels_of_one_name_are_refused(model, make_scene, names):
    images, regions, result = make_scene(1)
    names.marker = names.cell
    with pytest.raises(InputError, match="two layers would be called 'DAPI'"):
        show_analysis_results(images, regions, result, names, viewer=model)


@pytest.mark.parametrize("scale", [(2.0, 0.5, 0.4), (None, None, None)])
def test_regions_are_drawn_on_projections(model, make_scene, names, scale):
    images, _, _ = make_scene(5, third=True, scale=scale)
    images.marker_image[2, 3, 4] = np.nan
    viewer, shapes = create_roi_drawing_viewer(images, names, viewer=model)
    assert viewer is model
    assert layer_names(model) == [
        "DAPI max projection for ROI drawing",
        "Iba1 max projection for ROI drawing",
        "GFAP max projection for ROI drawing",
        "Draw ROIs here",
    ]
    for name, stack in (("DAPI", images.cell_image), ("Iba1", images.marker_image)):
        shown = model.layers[f"{name} max projection for ROI drawing"].data
        np.testing.assert_array_equal(shown, np.nanmax(stack, axis=0))
    assert shapes.mode == "add_polygon"
    assert model.layers.selection.active is shapes
    np.testing.assert_allclose(shapes.scale, [s or 1 for s in scale[1:]])
    shapes.add(SQUARE, shape_type="polygon")
    labels = rasterize_shapes_to_labelmask(shapes, (30, 40), scale[1:])
    expected = np.zeros((30, 40), bool)
    expected[3:9, 4:12] = True
    np.testing.assert_array_equal(labels, expected)


def test_a_drawing_layer_of_the_users_own_in_world_coordinates(model, make_scene, names):
    images, _, _ = make_scene(1)
    viewer, shapes = create_roi_drawing_viewer(images, names, viewer=model)
    shapes.add(SQUARE, shape_type="polygon")
    own = viewer.add_shapes([SQUARE * (0.5, 0.4)], shape_type="polygon", name="mine")
    scale = images.voxel_scale_zyx[1:]
    np.testing.assert_array_equal(
        rasterize_shapes_to_labelmask(own, (30, 40), scale),
        rasterize_shapes_to_labelmask(shapes, (30, 40), scale),
    )


def test_drawing_goes_on_where_it_was_left(model, make_scene, names):
    images, _, _ = make_scene(1)
    _, shapes = create_roi_drawing_viewer(images, names, viewer=model)
    shapes.add(SQUARE, shape_type="polygon")
    _, again = create_roi_drawing_viewer(images, names, viewer=model)
    assert again is shapes
    assert len(again.data) == 1
    assert len(model.layers) == 3


def test_a_thresholded_third_channel(model, make_scene, names):
    images, regions, result = make_scene(3, third=True)
    region = SimpleNamespace(
        labels=result.optional_region_masks, corrected_image=images.optional_region_image / 2
    )
    show_optional_region_segmentation(images, region, None, names, viewer=model)
    assert layer_names(model) == ["GFAP", "GFAP corrected", "GFAP threshold labels"]
    assert (colour_of(model, "GFAP"), colour_of(model, "GFAP corrected")) == ("red", "yellow")
    show_optional_region_segmentation(images, region, regions, names, viewer=model)
    assert {"ROIs", "ROI numbers"} < set(layer_names(model))
    (labels,) = extract_labels_from_viewer(model, ["GFAP threshold labels"])
    np.testing.assert_array_equal(labels, result.optional_region_masks)
    images.optional_region_image = None
    with pytest.raises(InputError, match="no third channel is loaded"):
        show_optional_region_segmentation(images, region, None, names, viewer=model)


def test_one_channel(model, make_scene):
    images, regions, result = make_scene(4, bounds=(1, 3))
    image = SimpleNamespace(
        source_path=images.source_path, voxel_scale_zyx=(2, 0.5, 0.4), image=images.cell_image
    )
    names = SimpleNamespace(channel="DAPI", objects="Nuclei")
    run = SimpleNamespace(masks=result.cell_masks, analysis_z_bounds=(1, 3))
    show_single_channel_results(image, regions, run, names, viewer=model)
    assert layer_names(model) == ["DAPI", "ROIs", "Nuclei", "ROI numbers"]
    assert len(model.layers["ROIs"].data) == 2
    np.testing.assert_array_equal(
        extract_single_channel_masks_from_viewer(model, "Nuclei"), result.cell_masks
    )
    with pytest.raises(InputError, match=r"no label layer 'Segmented objects' .*'ROIs', 'Nuclei'"):
        extract_single_channel_masks_from_viewer(model)
    model.layers.clear()
    _, shapes = create_single_channel_roi_drawing_viewer(image, names, viewer=model)
    assert layer_names(model) == ["DAPI max projection for ROI drawing", "Draw ROIs here"]
    assert shapes.mode == "add_polygon"


def test_reading_label_layers_takes_a_list_of_names(model):
    with pytest.raises(InputError, match="expected a list of layer names"):
        extract_labels_from_viewer(model, "ROIs")


def test_the_order_of_the_tutorial_with_windows_closed_by_hand(windows, make_scene, names):
    """Draw, run, look, edit, read back; each window is closed by its user."""
    after = importlib.import_module("qtpy.QtCore").QTimer
    images, _, result = make_scene(1)
    viewer, shapes = create_roi_drawing_viewer(images, names)
    assert viewer.title.startswith("nuclei.ome.tif")

    def draw_and_close():
        shapes.add(SQUARE, shape_type="polygon")
        shapes.add(SQUARE + (10, 20), shape_type="rectangle")  # noqa: RUF005 - an array
        viewer.window._qt_window.close()

    after.singleShot(200, draw_and_close)
    windows.run()
    regions = rasterize_shapes_to_labelmask(
        shapes, images.cell_image.shape[1:], images.voxel_scale_zyx[1:]
    )
    assert [int(np.sum(regions == k)) for k in (1, 2)] == [48, 48]

    shown = show_analysis_results(images, regions, result, names, viewer=viewer)
    assert shown is not viewer  # that window is gone

    def edit_and_close():
        masks = shown.layers["Cellpose cell masks"]
        masks.data_setitem(np.nonzero(masks.data == 2), 9)
        shown.window._qt_window.close()

    after.singleShot(200, edit_and_close)
    windows.run()
    cells, markers = extract_label_masks_from_viewer(shown)
    np.testing.assert_array_equal(cells, np.where(result.cell_masks == 2, 9, result.cell_masks))
    np.testing.assert_array_equal(markers, result.marker_masks)
    assert result.cell_masks.max() == 2
