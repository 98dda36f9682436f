"""A study of cells: every image, all tables, conditions by animal, failures apart."""

import shutil

import numpy as np
import pytest

from aequorea.errors import InputError
from aequorea.pipelines.cells.study import count_study


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
    again = count_study(study)
    assert again.executed == ()


def test_a_failed_file_is_told_and_the_rest_go_on(study):
    (study.parent / "image1.ome.tif").write_bytes(b"not an image")
    result = count_study(study)
    assert result.done == ("s0", "s2")
    assert list(result.failed) == ["s1"]


def test_options_beside_the_study_hold_for_all_samples(study):
    count_study(study)
    refined = count_study(study, flags={"marker__overlap_fraction": "0.9"})
    assert set(refined.executed) == {"s0", "s1", "s2"}
    assert "response_cell" not in str(refined.summary.executed)


def test_unknown_roles_and_parameters_are_refused(study):
    text = study.read_text()
    study.write_text(text.replace("marker2 = 2", 'cells2 = "RFP"'))
    with pytest.raises(InputError, match="expected cell, marker"):
        count_study(study)
    study.write_text(text.replace("[params.cell]\nmethod", "[params.cell]\nmetod"))
    with pytest.raises(InputError, match="metod"):
        count_study(study)
