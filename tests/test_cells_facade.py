"""Scripts written for CellColoc: the same names and columns, without its known faults."""

import importlib
import json
import tomllib
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest

import aequorea
import aequorea.cells as cells
from aequorea.errors import AequoreaWarning, AxisMismatchError, InputError
from aequorea.model import Image
from aequorea.simulate.nuclei import simulated_nuclei

OTSU = cells.CellposeModelConfig("cpsam", segmentation_method="otsu")
COUNT_ALL = cells.ColocalizationConfig(
    min_cell_voxels=1, min_overlap_voxels=10, overlap_fraction_threshold=0.02
)
TUTORIAL = [
    "analyze_existing_masks",
    "CellposeModelConfig",
    "ChannelConfig",
    "ColocalizationConfig",
    "DisplayNames",
    "RuntimeConfig",
    "create_full_image_roi_labels",
    "create_roi_drawing_viewer",
    "extract_label_masks_from_viewer",
    "export_analysis_outputs",
    "load_analysis_images",
    "load_roi_labels",
    "refine_run_result_from_cellpose_cache",
    "run_roi_cellpose_colocalization",
    "save_roi_labels_from_shapes",
    "show_analysis_results",
    "try_load_roi_labels",
]
OCCUPANCY = [
    f"{p}_occupancy_{q}"
    for p in ("cell", "marker")
    for q in (
        "area_px_2d_projection",
        "area_um2_2d_projection",
        "coverage_2d_percent",
        "volume_voxels_3d",
        "volume_um3_3d",
        "coverage_3d_percent",
    )
]


def save(path, data, axes, spacing_um=None, **facts):
    aequorea.save(Image(data=data, axes=axes, spacing_um=spacing_um or {}, **facts), path)
    return path


def loaded(tmp_path, channels, scale=(1.0, 0.5, 0.5), axes="czyx"):
    path = save(tmp_path / "image.ome.tif", np.stack(channels), axes)
    config = cells.ChannelConfig(0, 1, 2 if len(channels) > 2 else None)
    return cells.load_analysis_images(path, config, scale)


def analysed(images, rois, cell, marker, config=COUNT_ALL, **more):
    return cells.analyze_existing_masks(images, rois, cell, marker, config, **more)


@pytest.fixture
def plane(tmp_path):
    """Two ROIs whose bounding boxes overlap: a cell of ROI 2 lies in the box of ROI 1."""
    rois = np.zeros((40, 40), np.uint16)
    rois[:30, :10] = 1
    rois[20:30, :30] = 1  # an L
    rois[2:14, 14:28] = 2  # inside the box of the L
    cell, marker = np.zeros((1, 40, 40), np.int32), np.zeros((1, 40, 40), np.int32)
    cell[0, 4:12, 16:26] = 1
    marker[0, 4:12, 16:26] = 1
    images = loaded(tmp_path, [np.ones((40, 40), "u2")] * 2, (0.5, 0.5), "cyx")
    return images, rois, cell, marker


def test_every_name_of_the_tutorial_and_the_reference_is_there():
    module = importlib.import_module("aequorea.cells")
    assert set(TUTORIAL) <= set(module.__all__)
    assert all(callable(getattr(module, name)) for name in module.__all__)


def test_the_tutorial_from_loading_to_export(image_file, tmp_path):
    images = cells.load_analysis_images(image_file, cells.ChannelConfig(0, 1), (0.325, 0.325))
    rois = cells.create_full_image_roi_labels(images.cell_image.shape[1:])
    runtime = cells.RuntimeConfig(draw_rois=False, open_results=False)
    watershed = cells.CellposeModelConfig("cpsam", segmentation_method="watershed")
    run = cells.run_roi_cellpose_colocalization(
        loaded_images=images,
        roi_labels_2d=rois,
        cell_model_config=watershed,
        marker_model_config=watershed,
        colocalization_config=COUNT_ALL,
        runtime_config=runtime,
        optional_region_result=None,
    )
    overview = run.tables.overview
    assert list(overview.iloc[:, :3]) == ["roi_id", "n_cells", "n_marker_positive_cells"]
    geometry = ["drawn_roi_area_px", "drawn_roi_area_um2", "roi_volume_voxels", "roi_volume_um3"]
    assert {"n_marker_objects", *geometry, *OCCUPANCY} <= set(overview)
    assert overview["drawn_roi_area_um2"][0] == pytest.approx(256 * 256 * 0.325**2)
    for context in (run.cell_refinement_context, run.marker_refinement_context):
        assert context.roi_caches[0].roi_id == 1
    edited = run.cell_masks.copy()
    edited[edited == 1] = 0
    again = cells.analyze_existing_masks(
        loaded_images=images,
        roi_labels_2d=rois,
        cell_masks=edited,
        marker_masks=run.marker_masks,
        colocalization_config=COUNT_ALL,
        optional_region_result=None,
        cell_refinement_context=run.cell_refinement_context,
        marker_refinement_context=run.marker_refinement_context,
    )
    assert again.tables.overview["n_cells"][0] == overview["n_cells"][0] - 1
    assert again.tables.label_changes["kind"].tolist() == ["removed"]
    cells.export_analysis_outputs(again, images.paths, optional_region_result=None)
    stem, folder = "nuclei.ome", images.paths.results_dir
    book = openpyxl.load_workbook(folder / f"{stem}_cell_colocalization.xlsx", read_only=True)
    assert book.sheetnames[:2] == ["detailed_overlaps", "cell_summary"]
    assert "roi_coloc_overview" in book.sheetnames
    detailed = pd.read_csv(folder / f"{stem}_cell_colocalization.csv")
    assert list(detailed.columns[:11]) == [
        "roi_id", "cell_label", "cell_voxels", "n_overlapping_markers", "marker_label",
        "overlap_voxels", "overlap_fraction_of_cell", "y_min", "y_max", "x_min", "x_max",
    ]  # fmt: skip
    mask = aequorea.open(folder / f"{stem}_cell_masks.tif")
    assert mask.spacing_um == {"y": 0.325, "x": 0.325}
    record = json.loads((folder / f"{stem}_cells.json").read_text())
    assert record["settings"]["colocalization_config"]["min_overlap_voxels"] == 10
    cells.export_analysis_outputs(run, images.paths)
    assert (folder / "previous/1" / f"{stem}_cell_colocalization.csv").exists()


@pytest.fixture
def image_file(tmp_path):
    nuclei = simulated_nuclei((256, 256), n=30, diameter_px=20, rng=7)
    return save(tmp_path / "nuclei.ome.tif", np.stack([nuclei.image] * 2), "cyx")


def test_overlap_counts_in_the_roi_not_in_its_bounding_box(plane):
    images, rois, cell, marker = plane
    overview = analysed(images, rois, cell, marker).tables.overview.set_index("roi_id")
    assert overview["n_cells"].tolist() == [0, 1]
    assert overview["n_marker_positive_cells"].tolist() == [0, 1]
    assert overview["n_marker_objects"].tolist() == [0, 1]


def test_a_cell_belongs_to_the_roi_with_most_of_it_and_is_cut_there(plane):
    images, rois, _, marker = plane
    cell = np.zeros((1, 40, 40), np.int32)
    cell[0, 22:28, 24:34] = 5  # 6 columns in ROI 1, 4 outside
    cell[0, 34:38, 0:8] = 6  # wholly outside
    run = analysed(images, rois, cell, marker)
    summary = run.tables.summary
    assert summary["cell_label"].tolist() == [5]
    assert summary["roi_id"].tolist() == [1]
    assert summary["cell_voxels"].tolist() == [36]
    assert summary["touches_roi_border"].all()
    assert summary["centroid_y_um"][0] == pytest.approx(24.5 * 0.5)
    assert not run.cell_masks[0][rois == 0].any()


def test_third_channel_objects_of_two_rois_stay_apart(tmp_path):
    image = np.zeros((32, 64), np.uint16)
    image[10:20, 8:18] = image[10:20, 40:50] = 900
    image += np.arange(64, dtype=np.uint16) % 3 + 1
    images = loaded(tmp_path, [image] * 3, (0.5, 0.5), "cyx")
    rois = np.zeros((32, 64), np.uint16)
    rois[:, :30], rois[:, 32:] = 1, 2
    config = cells.ColocalizationConfig(
        min_cell_voxels=1, evaluate_optional_region_cell_positivity=True
    )
    run = cells.run_roi_cellpose_colocalization(
        images, rois, OTSU, OTSU, config, cells.RuntimeConfig(), optional_region_model_config=OTSU
    )
    assert run.tables.roi_third_channel_summary["n_3rd_channel_objects"].tolist() == [1, 1]
    assert len(run.tables.third_channel_properties) == 2
    overview = run.tables.overview
    assert overview["n_marker_and_optional_region_positive_cells"].tolist() == [1, 1]


def test_the_union_counts_by_default_and_the_best_on_request(tmp_path):
    cell, marker = np.zeros((1, 20, 20), np.int32), np.zeros((1, 20, 20), np.int32)
    cell[0, 2:12, 2:12] = 1
    for k in range(5):
        marker[0, 2:10, 2 + 2 * k] = k + 1  # five objects of 8 px each: 40 of 100
    images = loaded(tmp_path, [np.ones((20, 20), "u2")] * 2, (0.5, 0.5), "cyx")
    rois = cells.create_full_image_roi_labels((20, 20))
    assert analysed(images, rois, cell, marker).tables.summary["marker_positive"].all()
    best = cells.ColocalizationConfig(
        min_cell_voxels=1, min_overlap_voxels=10, positivity_rule="best"
    )
    run = analysed(images, rois, cell, marker, best)
    assert not run.tables.summary["marker_positive"].any()


def stack_of_blocks(tmp_path, **scale):
    data = np.ones((8, 24, 24), np.uint16)
    data[1:7, 6:16, 6:16] = 500
    data[:, 0, 0] = 2
    return loaded(tmp_path, [data] * 2, **scale)


def test_refining_after_a_crop_along_z_keeps_the_shape(tmp_path):
    images = stack_of_blocks(tmp_path)
    rois = cells.create_full_image_roi_labels((24, 24))
    config = cells.CellposeModelConfig("cpsam", segmentation_method="otsu", z_crop=(2, 6))
    run = cells.run_roi_cellpose_colocalization(
        images, rois, config, config, COUNT_ALL, cells.RuntimeConfig()
    )
    assert run.cell_masks.shape == (8, 24, 24)
    assert run.analysis_z_bounds == (2, 6)
    assert not run.cell_masks[:2].any()
    assert not run.cell_masks[6:].any()
    wider = cells.CellposeModelConfig(
        "cpsam", segmentation_method="otsu", z_crop=(2, 6), threshold_min_object_voxels=10_000
    )
    refined = cells.refine_run_result_from_cellpose_cache(
        images, rois, run, COUNT_ALL, cell_model_config=wider
    )
    assert refined.cell_masks.shape == (8, 24, 24)
    assert refined.tables.overview["n_cells"][0] == 0


def test_cellpose_thresholds_for_other_methods_are_a_told_no_op(tmp_path):
    images = stack_of_blocks(tmp_path)
    rois = cells.create_full_image_roi_labels((24, 24))
    run = cells.run_roi_cellpose_colocalization(
        images, rois, OTSU, OTSU, COUNT_ALL, cells.RuntimeConfig()
    )
    with pytest.warns(AequoreaWarning, match="change nothing"):
        refined = cells.refine_run_result_from_cellpose_cache(
            images, rois, run, COUNT_ALL, cell_cellprob_threshold=-5.0
        )
    assert np.array_equal(refined.cell_masks, run.cell_masks)


def test_the_whole_image_where_rois_are_not_processed(plane):
    images, rois, _, _ = plane
    run = cells.run_roi_cellpose_colocalization(
        images, rois, OTSU, OTSU, COUNT_ALL, cells.RuntimeConfig(process_rois=False)
    )
    assert run.tables.overview["drawn_roi_area_px"].tolist() == [1600]


def test_pixel_size_of_a_plane_without_z_is_kept_and_nothing_becomes_one(tmp_path):
    data = np.ones((2, 16, 16), np.uint16)
    path = save(tmp_path / "a.ome.tif", data, "cyx", {"y": 0.325, "x": 0.325})
    assert cells.load_analysis_images(path, cells.ChannelConfig(0, 1)).voxel_scale_zyx == (
        None, 0.325, 0.325,
    )  # fmt: skip
    bare = save(tmp_path / "b.ome.tif", data, "cyx")
    with pytest.warns(AequoreaWarning, match="no pixel size"):
        found = cells.load_analysis_images(bare, cells.ChannelConfig(0, 1))
    assert found.voxel_scale_zyx == (None, None, None)
    rois = cells.create_full_image_roi_labels((16, 16))
    labels = np.ones((1, 16, 16), np.int32)
    overview = analysed(found, rois, labels, labels).tables.overview
    assert overview["drawn_roi_area_um2"].isna().all()


def test_time_is_not_taken_for_depth(tmp_path):
    path = save(tmp_path / "t.ome.tif", np.zeros((7, 2, 16, 16), np.uint16), "tcyx",
                {"y": 1.0, "x": 1.0})  # fmt: skip
    with pytest.warns(AequoreaWarning, match="7 time points"):
        found = cells.load_analysis_images(path, cells.ChannelConfig(0, 1))
    assert found.cell_image.shape == (1, 16, 16)
    assert not found.is_3d


def test_a_ball_is_round(tmp_path):
    z, y, x = np.mgrid[-20:21, -20:21, -20:21]
    ball = (z**2 + y**2 + x**2 <= 15**2).astype(np.int32)
    images = loaded(tmp_path, [np.ones(ball.shape, "u1")] * 2, (0.2, 0.2, 0.2))
    rois = cells.create_full_image_roi_labels(ball.shape[1:])
    summary = analysed(images, rois, ball, ball).tables.summary
    assert 0.97 <= summary["cell_sphericity_3d"][0] <= 1.03


def test_configurations_are_checked_when_set_and_say_what_was_expected():
    config = cells.ColocalizationConfig()
    config.min_cell_voxels = 50
    assert config.min_cell_voxels == 50
    with pytest.raises(InputError, match=r"ColocalizationConfig\.min_overlap_voxels.*got -1"):
        config.min_overlap_voxels = -1
    with pytest.raises(InputError, match="has no field 'min_cell_voxel'"):
        cells.ColocalizationConfig(min_cell_voxel=3)
    with pytest.raises(InputError, match="there is no 'sobel'; choose from"):
        cells.CellposeModelConfig("cpsam", prefilter="sobel").parameters()


@pytest.mark.parametrize(
    ("rois", "error", "message"),
    [
        (np.zeros((16, 16), int), InputError, "no ROI is drawn"),
        (np.ones((8, 16), int), AxisMismatchError, "differs from the image's"),
        (np.full((16, 16), -1), InputError, "found -1"),
        (np.full((16, 16), 0.5), InputError, "expected whole numbers"),
    ],
)
def test_bad_rois_are_told(tmp_path, rois, error, message):
    images = loaded(tmp_path, [np.ones((16, 16), "u2")] * 2, (0.5, 0.5), "cyx")
    labels = np.ones((1, 16, 16), np.int32)
    with pytest.raises(error, match=message):
        analysed(images, rois, labels, labels)


def test_zero_cells_and_labels_with_gaps(tmp_path):
    images = loaded(tmp_path, [np.ones((16, 16), "u2")] * 2, (0.5, 0.5), "cyx")
    rois = cells.create_full_image_roi_labels((16, 16))
    nothing = np.zeros((1, 16, 16), np.int32)
    run = analysed(images, rois, nothing, nothing)
    assert run.tables.overview["n_cells"].tolist() == [0]
    assert len(run.tables.summary) == len(run.tables.detailed) == 0
    far = nothing.copy()
    far[0, 2:6, 2:6], far[0, 9:13, 9:13] = 7, 70_000
    run = analysed(images, rois, far.astype(">i8"), far)
    assert run.tables.summary["cell_label"].tolist() == [7, 70_000]


def test_one_channel(tmp_path):
    nuclei = simulated_nuclei((128, 128), n=12, diameter_px=18, rng=2)
    path = save(tmp_path / "one.ome.tif", nuclei.image, "yx", {"y": 0.3, "x": 0.3})
    image = cells.load_single_channel_image(path, cells.SingleChannelConfig(0))
    run = cells.run_roi_single_channel_segmentation(
        image,
        cells.create_full_image_roi_labels((128, 128)),
        cells.CellposeModelConfig("cpsam", segmentation_method="watershed"),
        cells.SingleChannelAnalysisConfig(),
        cells.RuntimeConfig(),
    )
    assert run.tables.overview["n_objects"][0] == pytest.approx(12, abs=1)
    assert (run.tables.voxel_plausibility["object_voxels - object_voxels_props"] == 0).all()
    assert {"object_area_um2_2d", "object_mean_intensity"} <= set(run.tables.objects)
    cells.export_single_channel_outputs(run, image.paths)
    assert image.paths.excel_path.exists()
    assert image.paths.object_csv_path.exists()


def test_core_needs_no_network_library():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    needed = " ".join(project["project"]["dependencies"] + project["project"]
                      ["optional-dependencies"]["test"])  # fmt: skip
    assert not {"torch", "cellpose", "napari"} & set(needed.replace(">", " ").split())
