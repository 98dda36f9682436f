"""A study of cells: every image, all tables, conditions by animal, failures apart."""

import shutil

import numpy as np
import pytest

import aequorea
from aequorea.errors import InputError
from aequorea.model import Image
from aequorea.pipelines.cells.study import count_study, rebuild_report
from aequorea.pipelines.run.verification import verify


@pytest.fixture(scope="module", autouse=True)
def _pages_without_figures(undrawn):
    """They are drawn in the tests of reports."""


@pytest.fixture
def study(image_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # results go to the working directory, each test has its own
    rows = ["file,sample,animal,condition"]
    for k, (animal, condition) in enumerate([("m1", "sham"), ("m2", "sham"), ("m3", "tac")]):
        shutil.copy(image_path, tmp_path / f"image{k}.ome.tif")
        rows.append(f"image{k}.ome.tif,s{k},{animal},{condition}")
    (tmp_path / "samples.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "study.toml").write_text(
        'sheet = "samples.csv"\n[channels]\ncell = "DAPI"\nmarker = "GFP"\nmarker2 = 2\n'
        '[params.cell]\nmethod = "otsu"\n[params.marker]\nmethod = "otsu"\n'
        '[params.marker2]\nmethod = "otsu"\n'
    )
    return tmp_path / "study.toml"


def test_all_samples_are_counted_and_conditions_compared_or_withheld(study):
    result = count_study(study)
    assert result.done == ("s0", "s1", "s2")
    cells = result.table("cell_summary")
    assert cells.groupby("sample").size().nunique() == 1
    comparison = result.table("comparison")
    assert np.isnan(comparison["p_value"]).all()
    assert comparison["reason"].str.contains("animal").all()
    assert len(result.table("comparison_marker2")) == 1
    page = result.summary.report.read_text(encoding="utf-8")
    assert "No p: 1 animal with cells in tac (2 needed)" in page
    assert all(f'href="samples/{name}/report.html"' in page for name in result.done)
    notes = result.table("positivity").set_index(["sample", "marker"])
    assert (notes["n_positive"] <= notes["n_cells"]).all()
    assert set(notes["note"]) == {""}
    assert rebuild_report(result.directory).read_text(encoding="utf-8") == page
    assert verify(result.directory).ok
    again = count_study(study)
    assert again.executed == ()
    assert again.summary.executed == ()


def test_a_failed_file_is_told_and_the_rest_go_on(study):
    (study.parent / "image1.ome.tif").write_bytes(b"not an image")
    result = count_study(study)
    assert result.done == ("s0", "s2")
    assert list(result.failed) == ["s1"]
    page = result.summary.report.read_text(encoding="utf-8")
    assert "s1 (m2, sham) failed and is in no table and no figure" in page
    assert result.failed["s1"].split(":")[0] in page


def test_options_beside_the_study_hold_for_all_samples(study):
    rows = (study.parent / "samples.csv").read_text().splitlines()[:2]
    rows = [f"{rows[0]},control", f"{rows[1]},", "image1.ome.tif,dark,,,secondary-only"]
    (study.parent / "samples.csv").write_text("\n".join(rows) + "\n")
    first = count_study(study)
    levels = first.table("negative_levels").set_index("channel")
    used = first.table("segmentation_marker").set_index("sample")["threshold"]["s0"]
    assert levels.loc["GFP", "threshold_low"] == levels.loc["GFP", "threshold_high"] == used
    below = used < levels.loc["GFP", "percentile_level"]  # the control is an image like the others
    assert levels.loc["GFP", "threshold_lies"] == ("below" if below else "above")
    assert levels.loc["DAPI", "threshold_lies"] == "not known"
    assert ("GFP: the threshold" in " ".join(first.summary.warnings)) == below
    refined = count_study(study, flags={"marker__overlap_fraction": "0.9"})
    assert set(refined.executed) == {"s0", "dark"}
    assert "response_cell" not in str(refined.summary.executed)


def test_a_blinded_study_tells_no_name_anywhere(study):
    folder, rows = study.parent, ["file,sample,animal,condition,control"]
    for k in range(2):
        (folder / f"image{k}.ome.tif").rename(folder / f"KNOCKOUT_{k}.ome.tif")
        rows.append(f"KNOCKOUT_{k}.ome.tif,KNOCKOUT-{k},m{k},KO,")
    (folder / "KNOCKOUT_dark.ome.tif").write_bytes(b"no image")
    rows.append("KNOCKOUT_dark.ome.tif,KNOCKOUT-dark,,,secondary-only")
    (folder / "samples.csv").write_text("\n".join(rows) + "\n")
    result = count_study(study, blind=True)
    assert len(result.done) == 2
    files = [p for p in result.directory.rglob("*") if p.is_file()]
    assert [p for p in files if b"KNOCKOUT" in p.read_bytes() or "KNOCKOUT" in p.name] == []
    told = " ".join([*result.warnings, *result.failed.values()])
    assert "is not used" in told
    assert "KNOCKOUT" not in told
    assert (result.run_dirs[result.done[0]] / "report.html").is_file()


@pytest.fixture
def stacks(tmp_path, monkeypatch):
    """Three stacks of six cells each, with two time points of which the first is noise."""
    monkeypatch.chdir(tmp_path)
    z, y, x = np.ogrid[:10, :48, :72]
    cells = sum(
        ((z - 5) / 3) ** 2 + ((y - cy) / 6) ** 2 + ((x - cx) / 6) ** 2 < 1
        for cy in (12, 34)
        for cx in (12, 36, 60)
    )
    noise = np.random.default_rng(0).poisson(2000, (2, *cells.shape))
    pixels = np.stack([noise, np.stack([cells * 1000 + 100] * 2)]).astype("u2")
    image = Image(
        data=pixels,
        axes="tczyx",
        channels=("DAPI", "GFP"),
        spacing_um={"z": 1.0, "y": 0.5, "x": 0.5},
    )
    for k in range(3):
        aequorea.save(image, tmp_path / f"image{k}.ome.tif")
    (tmp_path / "study.toml").write_text(
        'sheet = "samples.csv"\n[channels]\ncell = "DAPI"\nmarker = "GFP"\n[params]\nframe = 1\n'
        '[params.cell]\nmethod = "otsu"\n[params.marker]\nmethod = "otsu"\n'
    )
    return tmp_path


def test_samples_counted_in_different_ways_are_compared_and_controls_read_alike(stacks):
    (stacks / "samples.csv").write_text(
        "file,sample,animal,condition,control,params.counting.counting\n"
        "image0.ome.tif,a,m1,WT,,abercrombie\nimage1.ome.tif,b,m2,KO,,frame\n"
        "image2.ome.tif,n,,,negative,\n"
    )
    result = count_study(stacks / "study.toml")
    assert result.failed == {}
    overview = result.table("roi_coloc_overview").set_index("sample")
    assert overview["n_cells_counted"]["a"] < 6  # corrected, no whole number
    counts = result.table("compared_counts").set_index("sample")
    assert counts["n_cells"].tolist() == [6, 6, 6]
    assert counts["n_marker_positive_cells"].dtype == "int64"
    conditions = result.table("comparison_conditions").set_index("condition")
    assert conditions["n_cells"].to_dict() == {"WT": 6, "KO": 6}
    assert result.table("negative_levels")["percentile_level"].tolist() == [1100, 1100]


def test_a_correction_asked_for_beside_the_study_leaves_whole_numbers_to_compare(stacks):
    (stacks / "samples.csv").write_text(
        "file,sample,animal,condition\nimage0.ome.tif,a,m1,WT\nimage1.ome.tif,b,m2,KO\n"
    )
    result = count_study(stacks / "study.toml", flags={"counting": "abercrombie"})
    assert result.table("roi_coloc_overview")["n_cells_counted"].max() < 6
    assert result.table("compared_counts")["n_cells"].tolist() == [6, 6]
    assert len(result.table("comparison")) == 1


def test_unknown_roles_and_parameters_are_refused(study):
    text = study.read_text()
    study.write_text(text.replace("marker2 = 2", 'cells2 = "RFP"'))
    with pytest.raises(InputError, match="expected cell, marker"):
        count_study(study)
    study.write_text(text.replace("[params.cell]\nmethod", "[params.cell]\nmetod"))
    with pytest.raises(InputError, match="metod"):
        count_study(study)


def test_a_method_for_other_numbers_is_refused_before_anything_runs(study):
    study.write_text(study.read_text() + '[compare]\nmethod = "mixed"\n')
    with pytest.raises(InputError, match="is for numbers per cell"):
        count_study(study)
    assert not study.with_name("study.aequorea").exists()
