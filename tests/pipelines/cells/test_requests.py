"""What a run is asked for: refused before it is touched, or told where it misleads."""

import json
import warnings

import numpy as np
import pytest

import aequorea
from aequorea.errors import AequoreaWarning, ChannelError, InputError
from aequorea.io import read_labels
from aequorea.model import Image
from aequorea.pipelines.cells.fields import open_field
from aequorea.pipelines.cells.parameters import ChannelParameters, cells_parameters
from aequorea.pipelines.cells.workflow import count, refine
from aequorea.simulate.nuclei import simulated_markers, simulated_nuclei

OTSU = {"cell": {"method": "otsu"}, "marker": {"method": "otsu"}}


@pytest.fixture(scope="module", autouse=True)
def _pages_without_figures(undrawn):
    """They are drawn in the tests of reports."""


def saved(path, data, axes, channels, **spacing):
    aequorea.save(Image(data=data, axes=axes, channels=channels, spacing_um=spacing), path)
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """20 nuclei and 3 specks of 16 pixels."""
    nuclei = simulated_nuclei((160, 160), n=20, diameter_px=18, rng=1)
    pixels = nuclei.image.copy()
    free = np.argwhere(
        [[(nuclei.labels[y : y + 10, x : x + 10] == 0).all() for x in range(0, 150, 10)]
         for y in range(0, 150, 10)]
    )  # fmt: skip
    for y, x in free[:: len(free) // 3][:3] * 10:
        pixels[y + 3 : y + 7, x + 3 : x + 7] = nuclei.image.max()
    marker = simulated_markers(nuclei, positive_fraction=0.4, rng=2).image
    path = tmp_path_factory.mktemp("requests") / "cells.ome.tif"
    return saved(path, np.stack([pixels, marker]), "cyx", ("DAPI", "GFP"), y=0.5, x=0.5)


@pytest.fixture(scope="module")
def run(image, tmp_path_factory):
    return count(image, parameters=OTSU, out=tmp_path_factory.mktemp("run") / "run")


def test_cells_that_the_smallest_size_drops_are_told_with_number_and_share(image, run, tmp_path):
    table = run.table("segmentation_cell").iloc[0]
    dropped, found = table["n_dropped"], table["n_dropped"] + table["n_objects"]
    assert dropped >= 3
    share = f"{100 * dropped / found:.0f} %"
    (said,) = [w for w in run.warnings if "--min-cell-px" in w]
    assert said.startswith(
        f"DAPI: {dropped} of {found} cells found ({share}) have fewer than 50 px"
    )
    assert f"{dropped} of {found} cells found ({share})" in run.report.read_text()
    every = count(image, parameters={**OTSU, "min_cell_px": 0}, out=tmp_path / "run")
    assert every.table("roi_coloc_overview")["n_cells"].item() == found
    assert not any("--min-cell-px" in w for w in every.warnings)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((80, 160), np.uint16), r"the image needs \(160, 160\): give labels"),
        (-np.ones((160, 160), np.int32), "negative"),
        (np.full((160, 160), 0.5, np.float32), "expected whole numbers|whole"),
        (None, "no such file"),
    ],
)
def test_labels_that_do_not_fit_leave_a_finished_run_as_it_is(run, tmp_path, labels, message):
    path = tmp_path / "edited.npy"
    if labels is not None:
        np.save(path, labels)
    before = {p: p.stat().st_mtime_ns for p in run.directory.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match=message):
        refine(run.directory, parameters={"cell": {"edited": str(path)}})
    after = {p: p.stat().st_mtime_ns for p in run.directory.rglob("*") if p.is_file()}
    assert after == before
    assert json.loads((run.directory / "run.json").read_text())["steps"]["count"]["state"] == "done"


@pytest.mark.parametrize("none", ["none", "", "None"])
def test_a_file_called_none_is_none(none):
    assert ChannelParameters(labels=none).labels is None
    assert ChannelParameters(edited=none, labels="a.tif").edited is None
    assert cells_parameters(0)(regions=none).regions is None


def test_hand_edits_can_be_taken_back(image, tmp_path):
    first = count(image, parameters=OTSU, out=tmp_path / "run")
    found = read_labels(first.directory / "labels/cell.ome.tif")
    cells = first.table("cell_summary")["cell_label"]
    np.save(tmp_path / "edited.npy", np.where(found == cells[0], 0, found))
    edited = refine(first.directory, flags={"cell__edited": str(tmp_path / "edited.npy")})
    assert edited.table("cell_summary")["cell_label"].tolist() == cells[1:].tolist()
    again = refine(first.directory, flags={"cell__edited": "none"})
    np.testing.assert_array_equal(read_labels(again.directory / "labels/cell.ome.tif"), found)
    assert again.record["parameters"]["cell.edited"] is None
    assert "edited_cell" not in again.record["inputs"]


def test_a_crop_beyond_the_stack_is_told(tmp_path):
    data = np.zeros((2, 5, 12, 12), np.uint8)
    path = saved(tmp_path / "stack.ome.tif", data, "czyx", ("A", "B"), z=1.0, y=1.0, x=1.0)
    with pytest.warns(AequoreaWarning, match="--z-crop 2,99: there are 5 planes only; 2 to 4"):
        field = open_field([path], cells_parameters(1)(z_crop=(2, 99)))
    assert field.shape[0] == 3
    assert field.first_plane == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_field([path], cells_parameters(1)(z_crop=(1, 5))).first_plane == 1


def test_one_channel_in_two_roles_has_one_pixel_size(image):
    parameters = cells_parameters(1)(cell={"channel": "DAPI"}, marker={"channel": "DAPI"})
    with pytest.warns(AequoreaWarning) as told:
        open_field([image], parameters)
    assert [str(w.message) for w in told] == ["cell and marker are the same channel (DAPI)"]


def test_an_image_of_one_channel_says_how_to_count_it(tmp_path):
    path = saved(tmp_path / "a.ome.tif", np.zeros((1, 9, 9), np.uint8), "cyx", ("A",), y=1.0, x=1.0)
    with pytest.raises(ChannelError, match="or count cells alone with --markers 0"):
        open_field([path], cells_parameters(1)())
