"""Refining a run of CellColoc's surface: equal to a new run, or refused; and what is recorded."""

import json

import numpy as np
import pytest
from scipy import ndimage

import aequorea
import aequorea.cells as cells
from aequorea.errors import AequoreaWarning, InputError
from aequorea.model import Image
from aequorea.pipelines.cells.compat.counting import with_small_objects
from aequorea.pipelines.cells.compat.response_cache import cached_responses
from aequorea.segmentation.cellpose import CellposeBackend
from aequorea.segmentation.parameters import SegmentationParameters
from aequorea.segmentation.result import Response, Segmentation
from aequorea.segmentation.stardist import StarDistBackend

SIZE = 120
RUNTIME = cells.RuntimeConfig(use_gpu=False)
WHOLE = cells.create_full_image_roi_labels((SIZE, SIZE))


def config(method="otsu", **options):
    return cells.CellposeModelConfig("cpsam", segmentation_method=method, **options)


def least(voxels, **more):
    return cells.ColocalizationConfig(min_cell_voxels=voxels, **more)


def disc(image, y, x, radius, value):
    rows, columns = np.ogrid[: image.shape[-2], : image.shape[-1]]
    image[..., (rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = value


def image_of(tmp_path, *channels, third=False):
    """Channels as loaded from a file; with a z axis if they have one."""
    data = np.stack(channels)
    axes = "czyx"[-data.ndim :] if data.ndim == 4 else "cyx"
    spacing = {a: s for a, s in (("z", 1.0), ("y", 0.5), ("x", 0.5)) if a in axes}
    path = tmp_path / "image.ome.tif"
    aequorea.save(Image(data=data, axes=axes, spacing_um=spacing), path, overwrite=True)
    return cells.load_analysis_images(path, cells.ChannelConfig(0, 1, 2 if third else None))


@pytest.fixture
def plane():
    """A cell of 441 and one of 81 pixels; the marker is in the first."""
    cell, marker = np.full((2, SIZE, SIZE), 100, np.uint16)
    disc(cell, 30, 30, 12, 1000)
    disc(cell, 80, 80, 5, 1000)
    disc(marker, 30, 30, 6, 900)
    return cell, marker


@pytest.fixture
def images(tmp_path, plane):
    return image_of(tmp_path, *plane)


@pytest.fixture
def network(monkeypatch):
    """Cellpose whose logit is the grey level over 100, and how often it looked at an image."""
    looked = []

    def respond(self, image, options, *, spacing_um, mask, use_gpu):
        looked.append(options)
        flows = np.zeros((2, *image.shape), np.float32)
        return Response(arrays={"dP": flows, "cellprob": image / np.float32(100)})

    def label(self, response, options):
        above = response.arrays["cellprob"] > options.cellprob_threshold
        return Segmentation(labels=ndimage.label(above)[0].astype(np.int32))

    monkeypatch.setattr(CellposeBackend, "respond", respond)
    monkeypatch.setattr(CellposeBackend, "label", label)
    return looked


def run(images, cell, marker=None, *, counted=None, rois=WHOLE, runtime=RUNTIME, **more):
    return cells.run_roi_cellpose_colocalization(
        images, rois, cell, marker or cell, counted or least(50), runtime, **more
    )


def refine(images, of_run, *, counted=None, rois=WHOLE, **more):
    return cells.refine_run_result_from_cellpose_cache(
        images, rois, of_run, counted or least(50), **more
    )


def single(tmp_path, pixels):
    path = tmp_path / "one.ome.tif"
    axes = "zyx"[-pixels.ndim :]
    image = Image(data=pixels, axes=axes, spacing_um=dict.fromkeys(axes, 0.5))
    aequorea.save(image, path, overwrite=True)
    return cells.load_single_channel_image(path, cells.SingleChannelConfig(0))


def assert_same(one, other):
    for role in ("cell", "marker", "positive_cell"):
        assert np.array_equal(getattr(one, f"{role}_masks"), getattr(other, f"{role}_masks"))
    for name in ("summary", "overview", "detailed", "thresholds"):
        assert getattr(one.tables, name).equals(getattr(other.tables, name)), name
    assert one.settings == other.settings


@pytest.mark.parametrize(
    ("method", "changed", "told"),
    [
        ("otsu", {"prefilter": "gaussian"}, r"prefilter was \(\), now \('gaussian',\)"),
        ("otsu", {"prefilter_sigma_xy": 6.0}, "prefilter_sigma_xy was 1.0, now 6.0"),
        ("otsu", {"threshold_background_sigma": 9.0}, "threshold_background_sigma was None"),
        ("percentile", {"threshold_percentile": 90.0}, "threshold_percentile was 98.0, now 90.0"),
        ("watershed", {"diameter": 9.0}, "diameter was None, now 9.0"),
        ("cellpose", {"diameter": 9.0}, "diameter was None, now 9.0"),
        ("cellpose", {"do_3d": False}, "do_3d was None, now False"),
        ("cellpose", {"flow3d_smooth": 2}, "flow3d_smooth was 0.0, now 2.0"),
        ("cellpose", {"model_name_or_path": "cyto3"}, "model_name_or_path was 'cpsam', now 'cyto3"),
    ],
)
@pytest.mark.usefixtures("network")
def test_what_the_cached_output_does_not_hold_is_refused(images, method, changed, told):
    first = run(images, config(method), config())
    other = config(method)
    for field, value in changed.items():
        setattr(other, field, value)
    with pytest.raises(InputError, match=f"cell_model_config.*{told}.*run the analysis again"):
        refine(images, first, cell_model_config=other)
    same = refine(images, first, cell_model_config=config(method))
    assert np.array_equal(same.cell_masks, first.cell_masks)


def test_a_single_channel_refuses_it_too(tmp_path, plane):
    image = single(tmp_path, plane[0])
    counted = cells.SingleChannelAnalysisConfig(50)
    first = cells.run_roi_single_channel_segmentation(image, WHOLE, config(), counted, RUNTIME)
    refine_one = cells.refine_single_channel_run_result_from_cellpose_cache
    with pytest.raises(InputError, match="prefilter was"):
        refine_one(image, WHOLE, first, counted, config(prefilter="median"))
    with pytest.raises(InputError, match="not the ROIs of the run"):
        refine_one(image, np.tri(SIZE, dtype=int), first, counted)


def test_options_without_effect_on_the_method_are_not_refused(images):
    first = run(images, config())
    other = config(diameter=30.0, cellprob_threshold=-3.0)
    other.model_name_or_path = "cyto3"
    assert_same(
        refine(images, first, cell_model_config=other),
        run(images, other, config()),
    )


@pytest.mark.parametrize(
    ("of_run", "asked"),
    [
        ({}, {"z_crop": (0, 4)}),
        ({"z_crop": (2, 6)}, {"z_crop": (0, 4)}),
        ({"z_crop": (2, 6)}, {"z_crop": (2, 8)}),
        ({"z_projection": "max"}, {"z_projection": "mean"}),
        ({"z_projection": "max"}, {"z_projection": "max", "z_crop": (1, 3)}),
    ],
)
def test_other_planes_than_those_of_the_run_are_refused(tmp_path, plane, of_run, asked):
    images = image_of(tmp_path, *(np.stack([channel] * 8) for channel in plane))
    first = run(images, config(**of_run))
    with pytest.raises(InputError, match=r"the run looked at .*planes . to .*asks for"):
        refine(images, first, cell_model_config=config(**asked))
    again = refine(images, first, cell_model_config=config(**of_run))
    assert np.array_equal(again.cell_masks, first.cell_masks)


def test_all_planes_said_or_not_are_the_same_planes(tmp_path, plane):
    images = image_of(tmp_path, *(np.stack([channel] * 4) for channel in plane))
    first = run(images, config())
    same = refine(images, first, cell_model_config=config(z_crop=(0, 9)))
    assert np.array_equal(same.cell_masks, first.cell_masks)


def changed_rois(kind):
    rois = np.zeros((SIZE, SIZE), np.uint16)
    rois[5:60, 5:60], rois[65:110, 65:110] = 1, 2
    if kind == "moved":
        return rois, np.roll(rois, 1, axis=1)
    if kind == "renumbered":
        return rois, np.where(rois > 0, 3 - rois, 0)
    if kind == "one more":
        more = rois.copy()
        more[0:4, 0:4] = 3
        return rois, more
    if kind == "one fewer":
        return rois, np.where(rois == 1, 1, 0)
    larger = rois.copy()
    larger[3, 3] = 1
    return rois, larger


@pytest.mark.parametrize("kind", ["moved", "renumbered", "one more", "one fewer", "a pixel more"])
def test_other_rois_than_those_of_the_run_are_refused(images, kind):
    rois, other = changed_rois(kind)
    first = run(images, config(), rois=rois)
    with pytest.raises(InputError, match=r"not the ROIs of the run \(1, 2\)"):
        refine(images, first, rois=other, cell_model_config=config(threshold_min_hole_voxels=11))
    with pytest.raises(InputError, match="not the ROIs of the run"):
        refine(images, first, rois=other)
    assert_same(refine(images, first, rois=rois.astype(np.int64)), first)


def test_rois_that_the_run_did_not_use_are_not_used_in_its_refinement(images):
    rois, _ = changed_rois("moved")
    first = run(images, config(), rois=rois, runtime=cells.RuntimeConfig(process_rois=False))
    for given in (rois, np.zeros_like(rois)):
        assert_same(refine(images, first, rois=given), first)


def test_another_minimum_brings_small_cells_back_as_a_new_run_does(images):
    first = run(images, config(), counted=least(200))
    assert first.tables.overview["n_cells"].tolist() == [1]
    lower = refine(images, first, counted=least(50))
    assert sorted(lower.tables.summary["cell_voxels"]) == [81, 441]
    assert_same(lower, run(images, config(), counted=least(50)))
    higher = refine(images, lower, counted=least(200))
    assert_same(higher, first)
    assert_same(refine(images, higher, counted=least(50)), lower)


def test_small_objects_of_a_single_channel_come_back(tmp_path, plane):
    image = single(tmp_path, plane[0])
    counted = [cells.SingleChannelAnalysisConfig(n) for n in (200, 50)]
    fresh = [
        cells.run_roi_single_channel_segmentation(image, WHOLE, config(), c, RUNTIME)
        for c in counted
    ]
    refined = cells.refine_single_channel_run_result_from_cellpose_cache(
        image, WHOLE, fresh[0], counted[1]
    )
    assert [r.tables.overview["n_objects"][0] for r in fresh] == [1, 2]
    assert np.array_equal(refined.masks, fresh[1].masks)
    assert refined.tables.objects.equals(fresh[1].tables.objects)
    assert refined.settings == fresh[1].settings


def test_corrections_by_hand_stay_when_something_else_is_refined(images):
    first = run(images, config(), counted=least(200))
    edited = first.cell_masks.copy()
    edited[0, 100:104, 20:24] = 7  # drawn, and too small for now
    contexts = {
        f"{role}_refinement_context": getattr(first, f"{role}_refinement_context")
        for role in ("cell", "marker")
    }
    corrected = cells.analyze_existing_masks(
        images, WHOLE, edited, first.marker_masks, least(200), **contexts
    )
    assert corrected.tables.overview["n_cells"].tolist() == [1]
    refined = refine(
        images,
        corrected,
        counted=least(10),
        marker_model_config=config(threshold_min_object_voxels=10_000),
    )
    assert refined.tables.overview["n_marker_objects"].tolist() == [0]
    assert sorted(refined.tables.summary["cell_voxels"]) == [16, 441]
    assert refined.tables.label_changes["kind"].tolist() == ["added"]
    assert refined.settings["masks_given"] == ["cell"]
    with pytest.warns(AequoreaWarning, match="without the corrections made by hand"):
        anew = refine(images, corrected, cell_model_config=config(threshold_min_hole_voxels=11))
    assert sorted(anew.tables.summary["cell_voxels"]) == [81, 441]
    assert anew.settings["masks_given"] == ["marker"]


def test_small_objects_never_merge_with_what_was_drawn_meanwhile():
    masks = np.array([[1, 1, 0, 2, 2, 0, 0]], np.int32)
    small = np.array([[0, 0, 0, 0, 5, 5, 2]], np.int32)
    again = with_small_objects(masks, small)
    assert again.tolist() == [[1, 1, 0, 2, 2, 5, 6]]
    assert with_small_objects(masks, None) is masks


def test_the_record_says_what_was_in_force(images, network):
    strict = config("cellpose", cellprob_threshold=8.0)
    first = run(images, strict, config("cellpose", cellprob_threshold=5.0))
    looked = len(network)
    counted = least(50, min_overlap_voxels=5)
    refined = refine(images, first, counted=counted, cell_cellprob_threshold=2.5)
    assert len(network) == looked
    told = refined.settings
    assert told["cell_model_config"]["cellprob_threshold"] == 2.5
    assert told["marker_model_config"]["cellprob_threshold"] == 5.0
    assert told["colocalization_config"]["min_overlap_voxels"] == 5
    loose = config("cellpose", cellprob_threshold=2.5)
    fresh = run(images, loose, config("cellpose", cellprob_threshold=5.0), counted=counted)
    assert_same(refined, fresh)
    assert_same(refine(images, first, counted=counted, cell_model_config=loose), fresh)
    both = refine(images, refined, counted=counted, marker_flow_threshold=0.9)
    assert both.settings["cell_model_config"]["cellprob_threshold"] == 2.5
    assert both.settings["marker_model_config"]["flow_threshold"] == 0.9


def test_thresholds_without_effect_are_not_recorded(images):
    first = run(images, config())
    with pytest.warns(AequoreaWarning, match="change nothing"):
        refined = refine(images, first, cell_cellprob_threshold=-5.0)
    assert refined.settings == first.settings


def test_the_exported_record_is_that_of_the_refinement(images):
    first = run(images, config(), counted=least(200))
    smaller = config(threshold_min_object_voxels=3)
    refined = refine(images, first, counted=least(20), cell_model_config=smaller)
    cells.export_analysis_outputs(refined, images.paths)
    record = json.loads((images.paths.results_dir / "image.ome_cells.json").read_text())["settings"]
    assert record["cell_model_config"]["threshold_min_object_voxels"] == 3
    assert record["marker_model_config"]["threshold_min_object_voxels"] == 10
    assert record["colocalization_config"]["min_cell_voxels"] == 20
    assert record["runtime_config"]["use_gpu"] is False


def test_postfilters_of_given_masks_are_recorded_until_they_are_found_anew(images):
    first = run(images, config())
    bright = config(postfilters="min_intensity", min_intensity_threshold=2000.0)
    given = cells.analyze_existing_masks(
        images,
        WHOLE,
        first.cell_masks,
        first.marker_masks,
        least(50),
        cell_refinement_context=first.cell_refinement_context,
        cell_model_config=bright,
    )
    assert given.tables.overview["n_cells"].tolist() == [0]
    assert given.settings["cell_postfilters"]["min_intensity_threshold"] == 2000.0
    assert given.settings["masks_given"] == ["cell", "marker"]
    with pytest.warns(AequoreaWarning, match="found anew"):
        refined = refine(images, given, cell_model_config=config(threshold_min_hole_voxels=11))
    assert refined.tables.overview["n_cells"].tolist() == [2]
    assert "cell_postfilters" not in refined.settings


def test_a_channel_without_cached_output_is_told(images):
    first = run(images, config())
    given = cells.analyze_existing_masks(
        images,
        WHOLE,
        first.cell_masks,
        first.marker_masks,
        least(50),
        marker_refinement_context=first.marker_refinement_context,
    )
    with pytest.warns(AequoreaWarning, match="cell: has no cached output"):
        refined = refine(images, given, cell_model_config=config())
    assert np.array_equal(refined.cell_masks, first.cell_masks)


def test_a_third_channel_that_is_not_loaded_has_no_intensities(images, tmp_path, plane):
    cell, marker = ((channel > 500).astype(np.int32)[None] for channel in plane)
    third = np.zeros_like(cell)
    disc(third, 30, 34, 4, 1)
    masks = (images, WHOLE, cell, marker)
    with pytest.warns(AequoreaWarning, match="third channel is not loaded"):
        result = cells.analyze_existing_masks(*masks, least(1), optional_region_masks=third)
    found = result.tables.third_channel_properties.iloc[0]
    for measure in ("mean", "median", "max", "sum"):
        assert np.isnan(found[f"optional_region_{measure}_intensity"])
    assert found["optional_region_area_px_2d"] == np.count_nonzero(third)
    judged = least(1, evaluate_optional_region_cell_positivity=True, positivity_rule="intensity")
    with pytest.raises(InputError, match="needs the third channel"):
        cells.analyze_existing_masks(*masks, judged, optional_region_masks=third)
    loaded = image_of(tmp_path, *plane, np.full((SIZE, SIZE), 7, np.uint16), third=True)
    result = cells.analyze_existing_masks(
        loaded, WHOLE, cell, marker, least(1), optional_region_masks=third
    )
    found = result.tables.third_channel_properties.iloc[0]
    assert found["optional_region_mean_intensity"] == 7


def responses_of(method, model, cache):
    rois = np.ones((8, 8), np.int32)
    options = SegmentationParameters(method=method, model=str(model))
    return cached_responses(
        np.ones((1, 8, 8), np.float32),
        rois,
        options,
        spacing_um=(None, 1.0, 1.0),
        use_gpu=False,
        cache=cache,
    )


def test_a_model_folder_with_other_weights_is_asked_again(tmp_path, monkeypatch):
    looked = []

    def respond(self, image, options, *, spacing_um, mask, use_gpu):
        looked.append(options.model)
        return Response(arrays={"prob": np.zeros(image.shape, np.float32)})

    monkeypatch.setattr(StarDistBackend, "respond", respond)
    model = tmp_path / "mine"
    model.mkdir()
    weights = model / "weights_best.h5"
    for content, times in (("a", 1), ("a", 1), ("b", 2), ("a", 2)):
        weights.write_text(content)
        responses_of("stardist", model, tmp_path / "cache")
        assert len(looked) == times
    moved = model.rename(tmp_path / "elsewhere")
    responses_of("stardist", moved, tmp_path / "cache")
    assert len(looked) == 2


def test_a_folder_called_like_a_cellpose_model_is_not_the_model(tmp_path, monkeypatch, network):
    monkeypatch.chdir(tmp_path)
    responses_of("cellpose", "cpsam", tmp_path / "cache")
    (tmp_path / "cpsam").mkdir()
    (tmp_path / "cpsam" / "notes.txt").write_text("not weights")
    responses_of("cellpose", "cpsam", tmp_path / "cache")
    assert len(network) == 1


def occupancy(prefix):
    return [
        f"{prefix}_occupancy_{what}"
        for what in (
            "area_px_2d_projection",
            "area_um2_2d_projection",
            "coverage_2d_percent",
            "volume_voxels_3d",
            "volume_um3_3d",
            "coverage_3d_percent",
        )
    ]


GEOMETRY = ["drawn_roi_area_px", "drawn_roi_area_um2", "roi_volume_voxels", "roi_volume_um3"]


@pytest.mark.parametrize("judged", [False, True])
def test_columns_of_the_overview_come_in_the_order_of_the_reference(tmp_path, plane, judged):
    images = image_of(tmp_path, *plane, plane[1], third=True)
    counted = least(50, evaluate_optional_region_cell_positivity=judged)
    result = run(images, config(), counted=counted, optional_region_model_config=config())
    third = ["n_optional_region_positive_cells", "n_marker_and_optional_region_positive_cells"]
    theirs = [
        *("roi_id", "n_cells", "n_marker_positive_cells", "n_marker_objects"),
        *GEOMETRY,
        *(third if judged else []),
        *occupancy("cell"),
        *occupancy("marker"),
        *occupancy("optional_region"),
    ]
    overview = result.tables.overview
    assert list(overview)[: len(theirs)] == theirs
    assert overview["n_optional_region_objects"].tolist() == [1]


def test_the_overview_of_a_single_channel_speaks_of_objects(tmp_path, plane):
    image = single(tmp_path, plane[0])
    counted = cells.SingleChannelAnalysisConfig(1)
    rois = np.ones((SIZE, SIZE), np.uint16)
    rois[:, :30] = 0  # cuts the larger disc
    result = cells.run_roi_single_channel_segmentation(image, rois, config(), counted, RUNTIME)
    overview = result.tables.overview
    theirs = ["roi_id", "n_objects", *GEOMETRY, *occupancy("object")]
    assert list(overview)[: len(theirs)] == theirs
    assert all(name.startswith("average_object_") for name in list(overview)[len(theirs) : -1])
    assert list(overview)[-1] == "n_objects_at_roi_border"
    assert overview["n_objects_at_roi_border"].tolist() == [1]
    assert not [name for name in overview if "cell" in name]


@pytest.mark.parametrize("depth", [{}, {"z_crop": (1, 3)}, {"z_projection": "mean"}])
def test_one_channel_and_the_cells_of_two_are_counted_alike(tmp_path, plane, depth):
    stack = np.stack([plane[0]] * 5)
    stack[0] = 100
    images = image_of(tmp_path, stack, np.stack([plane[1]] * 5))
    alone = single(tmp_path, stack)
    counted = cells.SingleChannelAnalysisConfig(200)
    one = cells.run_roi_single_channel_segmentation(alone, WHOLE, config(**depth), counted, RUNTIME)
    two = run(images, config(**depth), counted=least(200))
    assert np.array_equal(one.masks, two.cell_masks)
    assert one.analysis_z_bounds == two.analysis_z_bounds
    assert np.array_equal(one.small_masks, two.small_cell_masks)
    for what in ("sum_intensity", "area_px_2d", "volume_voxels_3d"):
        assert np.array_equal(
            one.tables.objects[f"object_{what}"],
            two.tables.summary[f"cell_{what}"],
            equal_nan=True,
        )
