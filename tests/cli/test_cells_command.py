"""What ``aequorea cells`` says on the console."""

import numpy as np
import pytest

import aequorea
from aequorea.cli.app import run
from aequorea.cli.cells import without_effect
from aequorea.model import Image
from aequorea.simulate.nuclei import simulated_markers, simulated_nuclei

KNOWN = {
    "cell.method": "watershed",
    "cell.labels": None,
    "marker.method": "otsu",
    "marker.labels": None,
    "marker.rule": "intensity",
    "marker2.method": "otsu",
    "marker2.labels": "given.tif",
    "marker2.rule": "union",
    "counting.counting": "frame",
}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    nuclei = simulated_nuclei((128, 128), n=12, diameter_px=18, rng=1)
    marker = simulated_markers(nuclei, positive_fraction=0.4, rng=2).image
    path = tmp_path_factory.mktemp("console") / "cells.ome.tif"
    data = np.stack([nuclei.image, marker])
    spacing = {"y": 0.5, "x": 0.5}
    aequorea.save(Image(data=data, axes="cyx", channels=("DAPI", "GFP"), spacing_um=spacing), path)
    return path


def test_the_console_says_what_was_found_and_where(image, tmp_path, capsys):
    out = tmp_path / "run"
    quick = ["--cell.method", "otsu", "--marker.method", "otsu"]
    assert run(["cells", str(image), "--out", str(out), *quick]) == 0
    found, page = capsys.readouterr().out.splitlines()
    assert found.endswith("%).")
    assert " cells in the whole image; " in found
    assert " positive for GFP (" in found
    assert page == str(out / "report.html")
    assert run(["cells", "refine", str(out), "--cell.cellprob-threshold", "1"]) == 0
    captured = capsys.readouterr()
    said = "warning: --cell.cellprob-threshold has no effect with --cell.method otsu"
    assert captured.err.splitlines().count(said) == 1
    assert captured.out.splitlines() == [found, page]


@pytest.mark.parametrize(
    ("option", "because"),
    [
        ("cell__flow_threshold", "--cell.method watershed"),
        ("cell__watershed_min_size", None),
        ("cell__postfilter_min_px", None),
        ("marker__threshold_value", None),
        ("marker__threshold_percentile", "--marker.method otsu"),
        ("marker__overlap_fraction", "--marker.rule intensity"),
        ("marker__intensity_threshold", None),
        ("marker2__method", "--marker2.labels"),
        ("marker2__overlap_fraction", None),
        ("frame_guard_um", None),
        ("section_um", "--counting frame"),
        ("min_cell_px", None),
        ("cell__channel", None),
    ],
)
def test_options_without_effect_are_told_with_the_reason(option, because):
    said = list(without_effect(KNOWN, [option]))
    assert [s.rsplit(" with ", 1)[1] for s in said] == ([because] if because else [])


def test_a_study_prints_a_failure_once_and_the_page(image, tmp_path, capsys):
    np.save(tmp_path / "bad.npy", np.zeros((9, 9), np.uint8))  # one channel
    (tmp_path / "samples.csv").write_text(
        f"file,animal,condition\n{image},m1,sham\n{tmp_path / 'bad.npy'},m2,tac\n"
    )
    study = tmp_path / "study.toml"
    study.write_text(
        'sheet = "samples.csv"\n[params.cell]\nmethod = "otsu"\n[params.marker]\nmethod = "otsu"\n'
    )
    assert run(["cells", str(study), "--out", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("no channel 1 for marker") == 1
    assert captured.out.splitlines()[-1] == str(tmp_path / "out" / "report.html")
    assert captured.out.splitlines()[0].startswith("GFP: ")
    (tmp_path / "out" / "report.html").unlink()
    assert run(["report", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").exists()
