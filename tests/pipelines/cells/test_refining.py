"""A run that is changed: names, hand edits, channels that come and go, other places."""

import re

import numpy as np
import pytest

import aequorea
from aequorea.errors import AxisMismatchError, FileMissingError, InputError
from aequorea.io import read_labels
from aequorea.model import Image
from aequorea.pipelines.cells.parameters import cells_parameters
from aequorea.pipelines.cells.workflow import _inputs, count, refine
from aequorea.pipelines.run.verification import verify

QUICK = {"min_cell_px": 20, "cell": {"method": "otsu"}, "marker": {"method": "otsu"}}


@pytest.fixture(scope="module", autouse=True)
def _pages_without_figures(undrawn):
    """They are drawn in the tests of reports."""


def disc(image, y, x, radius, value):
    yy, xx = np.ogrid[: image.shape[-2], : image.shape[-1]]
    image[..., (yy - y) ** 2 + (xx - x) ** 2 <= radius**2] = value


def saved(path, data, axes, channels=("labels",)):
    spacing = {a: 1.0 for a in axes if a in "zyx"}
    aequorea.save(Image(data=data, axes=axes, channels=channels, spacing_um=spacing), path)
    return path


def field(depth=None):
    """Four cells, the upper two with a marker, in the inner planes of a stack."""
    shape = (2, 64, 64) if depth is None else (2, depth, 64, 64)
    image = np.full(shape, 100, np.uint16)
    inner = image if depth is None else image[:, 1:-1]
    for y, x in ((16, 16), (16, 46), (46, 16), (46, 46)):
        disc(inner[0], y, x, 7, 1000)
        if y == 16:
            disc(inner[1], y, x, 5, 800)
    return image


@pytest.fixture
def plane(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return saved(tmp_path / "im.ome.tif", field(), "cyx", ("DAPI", "GFP"))


@pytest.fixture
def stack(tmp_path):
    return saved(tmp_path / "stack.ome.tif", field(depth=6), "czyx", ("DAPI", "GFP"))


def page(result):
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", result.report.read_text()))


def test_a_new_name_reaches_every_table(plane):
    run = count(plane, parameters=QUICK, out="run")
    renamed = refine(run.directory, parameters={"marker": {"name": "Cre"}, "cell": {"name": "Nuc"}})
    assert "response_cell" not in renamed.executed
    assert set(renamed.table("stability")["marker"]) == {"Cre"}
    assert set(renamed.table("positivity")["marker"]) == {"Cre"}
    assert set(renamed.table("segmentation_marker")["channel"]) == {"Cre"}
    assert set(renamed.table("segmentation_cell")["channel"]) == {"Nuc"}


def test_hand_edits_are_taken_as_they_are_and_leave_no_trace_when_withdrawn(plane, tmp_path):
    run = count(plane, parameters=QUICK, out="run")
    assert "pixels were dropped ." in page(run) or "pixels were dropped." in page(run)
    assert "numbers were drawn with seed" not in page(run)
    labels = read_labels(run.directory / "labels/cell.ome.tif").astype(np.uint16)
    labels[labels == 1] = 0
    labels[60:63, 0:3] = 77
    edited = saved(tmp_path / "edited.ome.tif", labels, "yx")
    changed = refine(run.directory, parameters={"cell": {"edited": str(edited)}})
    sizes = changed.table("cell_summary").set_index("cell_label")["cell_voxels"]
    assert sizes[77] == 9
    assert "before the correction by hand, and none after it" in page(changed)
    again = refine(run.directory, parameters={"cell": {"edited": None}})
    assert "by hand" not in page(again)
    assert not list(run.directory.glob("tables/label_changes_cell.*"))
    with pytest.raises(InputError, match="no table"):
        again.table("label_changes_cell")
    assert again.table("roi_coloc_overview").iloc[0]["n_cells"] == 4


def test_a_marker_that_is_dropped_leaves_nothing_behind(plane):
    two = {**QUICK, "marker2": {"method": "otsu", "channel": "DAPI", "name": "M2"}}
    run = count(plane, parameters=two, out="run")
    assert run.table("marker2_properties").shape[0] == 4
    one = count(plane, parameters=QUICK, out="run")
    left = [p.relative_to(run.directory).as_posix() for p in run.directory.rglob("*marker2*")]
    assert [p for p in left if "images.zarr" not in p] == []
    assert "marker2" not in one.report.read_text()
    assert verify(run.directory).ok


def test_labels_edited_in_the_run_are_kept_and_told(plane):
    run = count(plane, parameters=QUICK, out="run")
    mine = run.directory / "labels/cell.ome.tif"
    labels = read_labels(mine).astype(np.uint16)
    labels[labels == 1] = 0
    mine.unlink()
    saved(mine, labels, "yx")
    refined = refine(run.directory, parameters={"cell": {"threshold_min_object_px": 11}})
    assert any("labels/cell.ome.tif: was changed" in w for w in refined.warnings)
    kept = read_labels(run.directory / "altered/labels/cell.ome.tif")
    np.testing.assert_array_equal(kept, labels)
    assert read_labels(mine).max() == 4
    assert verify(run.directory).ok


def test_a_run_is_refined_from_anywhere(plane, tmp_path, monkeypatch):
    saved(tmp_path / "rois.ome.tif", np.ones((64, 64), np.uint8), "yx")
    given = np.zeros((64, 64), np.uint8)
    disc(given, 16, 16, 6, 5)
    saved(tmp_path / "given.ome.tif", given, "yx")
    parameters = {**QUICK, "regions": "rois.ome.tif", "marker": {"labels": "given.ome.tif"}}
    run = count("im.ome.tif", parameters=parameters, out=tmp_path / "run")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    saved(elsewhere / "rois.ome.tif", np.zeros((64, 64), np.uint8), "yx")
    monkeypatch.chdir(elsewhere)
    refined = refine(run.directory, parameters={"marker": {"overlap_fraction": 0.5}})
    assert refined.executed[0] == "count"
    assert refined.table("roi_coloc_overview").iloc[0]["n_marker_positive_cells"] == 1
    (tmp_path / "im.ome.tif").unlink()
    with pytest.raises(InputError, match=r"its input .*im\.ome\.tif is not there"):
        refine(run.directory, parameters={"marker": {"overlap_fraction": 0.4}})


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"phenotypes": {"phenotypes": ["Foo+"]}}, InputError, "Foo"),
        ({"counting": {"counting": "frame", "frame_guard_um": 40}}, InputError, "leaves nothing"),
        ({"counting": {"counting": "disector"}}, InputError, "needs a stack"),
        ({"counting": {"counting": "abercrombie"}}, InputError, "single plane"),
        ({"cell": {"labels": "nope.tif"}}, FileMissingError, r"nope\.tif: no such file \(cell"),
        ({"marker": {"edited": "nope.tif"}}, FileMissingError, r"no such file \(marker\.edited"),
    ],
)
def test_what_can_be_known_is_refused_before_anything_is_done(plane, parameters, error, message):
    seen = []

    class Watching:
        def begin(self, name):
            seen.append(name)

        advance = end = lambda *_: None

    with pytest.raises(error, match=message):
        count(plane, parameters={**QUICK, **parameters}, out="run", progress=Watching())
    assert not (plane.parent / "run").exists()
    assert seen == []


def test_what_is_found_late_costs_nothing_that_was_done(tmp_path):
    image = field().astype(np.float32)
    image[1, 0, 0] = np.nan
    path = saved(tmp_path / "nan.ome.tif", image, "cyx", ("DAPI", "GFP"))
    with pytest.raises(InputError, match="1 of 4096 pixels are NaN"):
        count(path, parameters=QUICK, out=tmp_path / "run")
    given = saved(tmp_path / "given.ome.tif", (image[1] > 500).astype(np.uint8), "yx")
    parameters = {**QUICK, "marker": {"labels": str(given)}}
    result = count(path, parameters=parameters, out=tmp_path / "run")
    assert {"channels", "response_cell", "objects_cell"} <= set(result.skipped)


def test_labels_of_another_image_are_refused(plane, tmp_path):
    small = saved(tmp_path / "small.ome.tif", np.ones((8, 8), np.uint8), "yx")
    with pytest.raises(AxisMismatchError, match="the image needs"):
        count(plane, parameters={**QUICK, "marker": {"labels": str(small)}}, out="run")


def test_labels_and_regions_of_the_whole_stack_are_cropped_with_it(stack, tmp_path):
    labels = np.zeros((6, 64, 64), np.uint8)
    disc(labels[1:5], 16, 16, 6, 1)
    labels[0, 40:60, 40:60] = 2
    given = saved(tmp_path / "given.ome.tif", labels, "zyx")
    parameters = {**QUICK, "cell": {"labels": str(given)}, "z_crop": (2, 6)}
    result = count(stack, parameters=parameters, out=tmp_path / "run")
    cells = result.table("cell_summary")
    assert cells["cell_label"].tolist() == [1]
    assert cells["cell_voxels"].tolist() == [3 * (labels[1] == 1).sum()]


def test_regions_in_3d_and_a_projection(stack, tmp_path):
    alike = np.zeros((6, 64, 64), np.uint8)
    alike[:, 4:60, 4:60] = 1
    regions = saved(tmp_path / "alike.ome.tif", alike, "zyx")
    parameters = {**QUICK, "regions": str(regions), "z_projection": "max"}
    result = count(stack, parameters=parameters, out=tmp_path / "run")
    assert result.table("roi_coloc_overview").iloc[0]["n_cells"] == 4
    alike[0] = 0
    regions = saved(tmp_path / "unlike.ome.tif", alike, "zyx")
    with pytest.raises(InputError, match="differ from plane to plane"):
        count(stack, parameters={**parameters, "regions": str(regions)}, out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_only_what_a_network_would_load_is_its_model(plane, tmp_path):
    (tmp_path / "cpsam").mkdir()
    (tmp_path / "mine").write_text("weights")
    (tmp_path / "stars").mkdir()
    (tmp_path / "stars/config.json").write_text("{}")

    def named(method, model):
        parameters = cells_parameters(0).model_validate(
            {"cell": {"method": method, "model": model}}
        )
        return "model_cell" in _inputs([plane], parameters)

    assert not named("cellpose", "cpsam")
    assert not named("stardist", "cpsam")
    assert not named("otsu", "mine")
    assert named("cellpose", "mine")
    assert named("stardist", "stars")
