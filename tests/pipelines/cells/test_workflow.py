"""A cell count against simulated truth, and what its run promises."""

import numpy as np
import openpyxl
import pytest

import aequorea
from aequorea.errors import ChannelError, InputError
from aequorea.io import read_labels
from aequorea.model import Image
from aequorea.pipelines.cells.parameters import cells_parameters
from aequorea.pipelines.cells.workflow import count, markers_in, refine
from aequorea.pipelines.run.parameters import parameter_fields
from aequorea.pipelines.run.verification import verify
from aequorea.segmentation.matching import match_labels

QUICK = {"cell": {"method": "otsu"}, "marker": {"method": "otsu"}, "marker2": {"method": "otsu"}}


@pytest.fixture(scope="module")
def run(image_path, tmp_path_factory):
    return count(image_path, parameters=QUICK, out=tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def truth_path(scene, tmp_path_factory):
    path = tmp_path_factory.mktemp("truth") / "truth.ome.tif"
    labels = scene[0].labels.astype(np.uint16)
    aequorea.save(Image(data=labels, axes="yx"), path)
    return path


def test_watershed_finds_the_cells_and_their_marker(image_path, scene, tmp_path):
    nuclei, first, _ = scene
    parameters = {"cell": {"method": "watershed"}, "marker": {"method": "watershed"}}
    result = count(image_path, parameters=parameters, out=tmp_path / "run")
    found = read_labels(result.directory / "labels/cell.ome.tif")
    assert match_labels(nuclei.labels, found).f1 >= 0.95
    overview = result.table("roi_coloc_overview").iloc[0]
    assert overview["n_cells"] == pytest.approx(40, abs=2)
    assert overview["n_marker_positive_cells"] == pytest.approx(first.positive.sum(), abs=2)


def test_calls_on_true_labels_are_those_of_the_simulation(image_path, scene, truth_path, tmp_path):
    _, first, second = scene
    parameters = {
        "min_cell_px": 1,
        "cell": {"labels": str(truth_path)},
        "marker": {"method": "otsu"},
        "marker2": {"method": "otsu"},
    }
    result = count(image_path, parameters=parameters, out=tmp_path / "run")
    cells = result.table("cell_summary").set_index("cell_label")
    assert list(cells.index) == list(range(1, 41))
    agree = (cells["marker_positive"].to_numpy() == first.positive).mean()
    agree2 = (cells["marker2_positive"].to_numpy() == second.positive).mean()
    assert agree >= 0.95
    assert agree2 >= 0.95
    both = cells["marker_positive"] & cells["marker2_positive"]
    assert (cells["marker_and_marker2_positive"] == both).all()
    phenotypes = result.table("phenotypes").query("roi_id == 0").set_index("phenotype")
    assert phenotypes.loc["GFP+RFP+", "observed"] == both.sum()
    assert phenotypes["observed"].sum() == 40
    assert "response_cell" not in result.executed


def test_every_promised_output_is_there_and_verified(run):
    for name in (
        "detailed_overlaps", "cell_summary", "marker_properties", "marker2_properties",
        "roi_coloc_overview", "roi_cell_summary", "roi_marker_summary", "segmentation_cell",
        "stability", "phenotypes", "channels",
    ):  # fmt: skip
        assert (run.directory / f"tables/{name}.csv").exists(), name
    for name in ("rois", "cell", "marker", "marker_positive_cells"):
        image = aequorea.open(run.directory / f"labels/{name}.ome.tif")
        assert image.spacing_um == {"y": 0.325, "x": 0.325}, name
    book = openpyxl.load_workbook(run.directory / "results/cells.xlsx", read_only=True)
    assert {"detailed_overlaps", "cell_summary", "roi_coloc_overview"} <= set(book.sheetnames)
    assert verify(run.directory).ok
    assert "positive for GFP" in run.report.read_text()


def test_tables_agree_with_one_another_and_with_the_masks(run):
    cells = run.table("cell_summary")
    overview = run.table("roi_coloc_overview").iloc[0]
    labels = read_labels(run.directory / "labels/cell.ome.tif")
    markers = read_labels(run.directory / "labels/marker.ome.tif")
    assert overview["n_cells"] == len(cells) == len(np.unique(labels)) - 1
    assert overview["n_marker_positive_cells"] == cells["marker_positive"].sum()
    for row in cells.itertuples():
        inside = labels == row.cell_label
        assert row.cell_voxels == inside.sum()
        assert row.marker_overlap_voxels == (inside & (markers > 0)).sum()
        y, x = np.nonzero(inside)
        assert row.centroid_y_um == pytest.approx(y.mean() * 0.325)
        assert row.centroid_x == pytest.approx(x.mean())
    positive = read_labels(run.directory / "labels/marker_positive_cells.ome.tif")
    assert set(np.unique(positive)) - {0} == set(cells.query("marker_positive")["cell_label"])
    assert overview["cell_occupancy_area_px_2d_projection"] == (labels > 0).sum()
    used = run.table("stability").query("marker == 'GFP' and in_force").iloc[0]
    assert used["n_positive"] == cells["marker_positive"].sum()


def test_regions_hold_their_own_cells_and_nothing_outside(image_path, two_rois, tmp_path):
    regions = tmp_path / "rois.ome.tif"
    aequorea.save(Image(data=two_rois, axes="yx"), regions)
    parameters = {**QUICK, "regions": str(regions)}
    result = count(image_path, parameters=parameters, out=tmp_path / "run")
    labels = read_labels(result.directory / "labels/cell.ome.tif")
    assert not labels[two_rois == 0].any()
    cells = result.table("cell_summary")
    for row in cells.itertuples():
        assert set(np.unique(two_rois[labels == row.cell_label])) == {row.roi_id}
    overview = result.table("roi_coloc_overview")
    assert list(overview["roi_id"]) == [1, 2]
    assert overview["n_cells"].sum() == len(cells)
    assert (overview["n_marker_positive_cells"] <= overview["n_cells"]).all()
    thresholds = result.table("segmentation_cell")["threshold"]
    assert len(thresholds) == 2
    assert thresholds.notna().all()


def test_a_late_option_needs_no_new_response(image_path, tmp_path):
    out = tmp_path / "run"
    before = count(image_path, parameters=QUICK, out=out)
    n_before = before.table("roi_coloc_overview")["n_marker_positive_cells"].sum()
    refined = refine(out, flags={"marker__overlap_fraction": "0.9"})
    assert "count" in refined.executed
    assert not {"response_cell", "objects_cell", "objects_marker"} & set(refined.executed)
    n_after = refined.table("roi_coloc_overview")["n_marker_positive_cells"].sum()
    assert n_after <= n_before
    assert refined.record["parameters"]["marker.overlap_fraction"] == 0.9
    again = refine(out, parameters={"cell": {"threshold_min_object_px": 400}})
    assert "objects_cell" in again.executed
    assert "response_cell" not in again.executed
    assert again.record["parameters"]["marker.overlap_fraction"] == 0.9


def test_hand_edits_take_effect_and_are_recorded(image_path, tmp_path):
    out = tmp_path / "run"
    count(image_path, parameters=QUICK, out=out)
    labels = read_labels(out / "labels/cell.ome.tif").astype(np.uint16)
    edited = labels.copy()
    edited[labels == 1] = 0
    edited[labels == 2] = 3
    aequorea.save(Image(data=edited, axes="yx"), tmp_path / "edited.ome.tif")
    result = refine(out, flags={"cell__edited": str(tmp_path / "edited.ome.tif")})
    changes = result.table("label_changes_cell")
    assert set(changes["kind"]) == {"removed", "merged"}
    assert not {1, 2} & set(result.table("cell_summary")["cell_label"])
    assert "response_cell" not in result.executed


def test_nothing_found_is_a_result(tmp_path):
    path = tmp_path / "empty.ome.tif"
    data = np.full((2, 64, 64), 7, np.uint16)
    aequorea.save(Image(data=data, axes="cyx", channels=("A", "B")), path)
    result = count(path, parameters=QUICK_TWO, out=tmp_path / "run")
    assert result.table("roi_coloc_overview").iloc[0]["n_cells"] == 0
    assert len(result.table("cell_summary")) == 0
    assert "No cell was found" in result.report.read_text()
    assert any("no pixel size" in w for w in result.warnings)


QUICK_TWO = {"cell": {"method": "otsu"}, "marker": {"method": "otsu"}}


def test_cells_without_markers(image_path, tmp_path):
    result = count(image_path, parameters={"cell": {"method": "otsu"}}, markers=0,
                   out=tmp_path / "run")  # fmt: skip
    assert result.table("roi_coloc_overview").iloc[0]["n_cells"] > 20
    assert len(result.table("phenotypes")) == 0


def test_flags_of_cells_bear_their_group_also_without_markers():
    flags = {f.flag for f in parameter_fields(cells_parameters(0))}
    assert "--cell.cellprob-threshold" in flags
    assert {f.flag for f in parameter_fields(cells_parameters(3))} >= flags


def test_a_stack_counts_in_3d_and_with_a_disector(tmp_path):
    from aequorea.simulate.nuclei import simulated_nuclei

    stack = simulated_nuclei((16, 96, 96), n=12, diameter_px=16, spacing_um=(0.5, 0.2, 0.2), rng=1)
    path = tmp_path / "stack.ome.tif"
    spacing = {"z": 0.5, "y": 0.2, "x": 0.2}
    data = np.stack([stack.image, stack.image])
    aequorea.save(Image(data=data, axes="czyx", channels=("A", "B"), spacing_um=spacing), path)
    parameters = {**QUICK_TWO, "counting": {"counting": "disector"}}
    result = count(path, parameters=parameters, out=tmp_path / "run")
    cells = result.table("cell_summary")
    assert cells["cell_volume_um3_3d"].notna().all()
    assert (cells["marker_overlap_fraction"] > 0.99).all()
    overview = result.table("roi_coloc_overview").iloc[0]
    assert overview["n_cells_counted"] == cells["counted"].sum() <= len(cells)
    assert overview["roi_volume_um3"] == pytest.approx(16 * 96 * 96 * 0.5 * 0.2 * 0.2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cell": {"channel": "Hoechst"}}, "no channel 'Hoechst' for cell"),
        ({"marker": {"channel": "7"}}, "no channel 7 for marker"),
        ({"cell": {"method": "otzu"}}, "no segmentation method 'otzu'"),
        ({"cell": {"methd": "otsu"}}, "did you mean 'cell.method'"),
        ({"z_crop": [5, 2]}, "two rising numbers"),
        ({"frame": 3}, "has 1 time points"),
    ],
)
def test_bad_requests_are_one_line_and_leave_nothing(image_path, tmp_path, parameters, message):
    with pytest.raises((InputError, ChannelError), match=message):
        count(image_path, parameters=parameters, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_number_of_markers_follows_the_configuration():
    assert markers_in({"marker3": {}}) == 3
    assert markers_in({}, least=0) == 0


def test_notes_of_a_method_are_warnings_of_the_run_and_told_once_on_its_page(tmp_path):
    from aequorea.simulate.nuclei import simulated_nuclei

    image = simulated_nuclei((360, 360), n=70, diameter_px=14, rng=0).image.astype(np.float32)
    y, x = np.mgrid[:360, :360] / 360
    for centre in (0.3, 0.7):
        image += 2 * image.max() * np.exp(-((y - centre) ** 2 + (x - centre) ** 2) / 0.02)
    path = tmp_path / "hazy.ome.tif"
    spacing = {"y": 1.0, "x": 1.0}
    data = image.astype(np.float32)[None]
    aequorea.save(Image(data=data, axes="cyx", channels=("DAPI",), spacing_um=spacing), path)
    result = count(path, markers=0, parameters={}, out=tmp_path / "run")
    told = [w for w in result.warnings if "object size is uncertain" in w]
    assert len(told) == 1
    assert told[0].startswith("DAPI, the whole image: object size is uncertain: ")
    assert "px by number; give diameter_px (or diameter_um)" in told[0]
    page = result.report.read_text()
    assert page.count("px by number; give diameter_px (or diameter_um)") == page.count(told[0])
    assert count(path, markers=0, parameters={}, out=tmp_path / "run").warnings == result.warnings
