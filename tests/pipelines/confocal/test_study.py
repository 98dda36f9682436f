"""A study of stacks: one threshold for all, animals compared, failures and rejections apart."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import FileFormatError, InputError
from aequorea.pipelines.confocal import analyse_study, decide, read_decisions
from aequorea.simulate import PunctaLaw, simulated_confocal

pytestmark = pytest.mark.filterwarnings("ignore::aequorea.errors.AequoreaWarning")

TOML = """sheet = "samples.csv"
out = "results"
[channels]
nuclei = "nuclei"
cells = "cells"
puncta = "Ryr2"
[params.nulls]
n_simulations = 19
point_curves = false
[params.detection]
efficiency = false
[compare]
reference = "sham"
"""


@pytest.fixture(scope="module", autouse=True)
def _pages_without_figures(undrawn):
    """They are drawn in the tests of reports."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write, small):
    """Two conditions of two animals; the last file is broken."""
    where = tmp_path_factory.mktemp("study")
    rows = ["file,sample,animal,condition"]
    for k, (condition, attraction) in enumerate([("sham", 0.0), ("TAC", 4.0)]):
        for animal in range(2):
            law = PunctaLaw(per_cell=60, attraction=attraction)
            stack = simulated_confocal(
                (18, 144, 144), n_cells=2, puncta={"Ryr2": law}, rng=10 * k + animal, **small
            )
            name = f"{condition}{animal}"
            write(stack, where / f"{name}.ome.tif")
            rows.append(f"{name}.ome.tif,{name},{condition}-{animal},{condition}")
    (where / "broken.ome.tif").write_bytes(b"no image")
    rows.append("broken.ome.tif,broken,TAC-9,TAC")
    (where / "samples.csv").write_text("\n".join(rows) + "\n")
    (where / "study.toml").write_text(TOML)
    return where


@pytest.fixture(scope="module")
def result(folder):
    return analyse_study(folder / "study.toml")


def test_the_known_effect_is_found_with_the_animal_as_unit(result):
    assert result.done == ("sham0", "sham1", "TAC0", "TAC1")
    assert list(result.failed) == ["broken"]
    comparison = result.table("comparison").set_index("column")
    row = comparison.loc["puncta_mean_volume_rank"]
    assert row["difference"] < -0.15
    assert (row["n_reference"], row["n_condition"]) == (2, 2)
    assert row["unit"].startswith("animal")
    assert comparison["q_value"].notna().any()
    distributions = result.table("distribution_comparison").set_index("measure")
    assert distributions.loc["volume_rank", "shift"] < -0.15
    halves = result.table("distribution_conditions").set_index(["measure", "condition"])
    observed = halves["median_of_mean_cdf"]
    assert observed["distance_um", "TAC"] < observed["distance_um", "sham"]
    assert halves.loc[("volume_rank", "sham"), "median_by_chance"] == pytest.approx(0.5, abs=0.02)


def test_all_images_share_one_threshold(result):
    thresholds = result.table("thresholds")
    assert thresholds["threshold"].nunique() == 1
    assert set(thresholds["source"]) == {"all images"}


def test_curves_are_one_per_animal_and_the_mean_of_them(result):
    curves = result.table("distribution_curves")
    own = curves[(curves["measure"] == "volume_rank") & (curves["condition"] == "sham")]
    animals = own[own["animal"].str.startswith("sham")].pivot(
        index="value", columns="animal", values="cdf"
    )
    assert animals.shape[1] == 2
    mean = own[own["animal"] == ""].set_index("value")["cdf"]
    assert np.allclose(animals.mean(axis=1), mean)
    assert own["low"].isna().all()  # bands only from six animals on


def candidates(run_dir):
    return {p.name: p.stat().st_mtime_ns for p in (run_dir / "candidates").iterdir()}


def test_nothing_is_done_twice_and_a_rejected_image_is_left_out(folder, result):
    again = analyse_study(folder / "study.toml")
    assert again.executed == ()
    before = {d.name: candidates(d) for d in again.run_dirs.values() if d.name != "broken"}
    decide(result.directory, ["sham1"], "reject", reason="out of focus")
    without = analyse_study(folder / "study.toml")
    assert set(without.summary.executed) >= {"triage", "comparison", "distributions"}
    row = without.table("comparison").set_index("column").loc["puncta_n"]
    assert row["n_reference"] == 1
    assert np.isnan(row["p_value"])
    for name in ("cells", "samples"):
        table = without.table(name)
        assert set(table[table["rejected"]]["sample"]) == {"sham1"}
    common = without.table("common_thresholds").set_index("sample")
    assert common["left_out"].to_dict() == {
        "sham0": "",
        "sham1": "rejected",
        "TAC0": "",
        "TAC1": "",
    }
    left = common.loc[common["left_out"] == "", "own_threshold"].median()
    assert without.table("thresholds")["threshold"].tolist() == [left] * 4
    for run_dir in without.run_dirs.values():  # only what depends on the threshold follows
        if run_dir.name != "broken":
            assert before[run_dir.name] == candidates(run_dir)
    page = without.summary.report.read_text(encoding="utf-8")
    assert "4 images, 1 of them rejected, 1 failed" in page
    assert "3 (sham 1, TAC 2)" in page  # animals
    assert "✕ rejected" in page
    assert "is the median of those that 3 images would have alone (left out: 1 rejected)" in page
    decide(result.directory, ["sham1"], "redo", overrides={"nuclei.diameter_um": "3.2"})
    redone = analyse_study(folder / "study.toml")
    assert "sham1" in redone.executed
    assert redone.table("comparison").set_index("column").loc["puncta_n", "n_reference"] == 2
    assert read_decisions(result.directory)["sham1"].overrides == {"nuclei.diameter_um": "3.2"}
    (result.directory / "triage.json").unlink()


@pytest.mark.parametrize(
    ("samples", "verdict", "options", "message"),
    [
        (["shame"], "reject", {"reason": "x"}, "did you mean"),
        (["sham0"], "reject", {}, "needs a reason"),
        (["sham0"], "redo", {}, "redo needs parameters"),
        (["sham0"], "accept", {"overrides": {"a": "1"}}, "parameters are for redo"),
    ],
)
def test_decisions_that_make_no_sense_are_refused(result, samples, verdict, options, message):
    with pytest.raises(InputError, match=message):
        decide(result.directory, samples, verdict, **options)


def test_a_damaged_triage_file_is_told(tmp_path):
    (tmp_path / "triage.json").write_text("{}")
    with pytest.raises(FileFormatError, match="triage"):
        read_decisions(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[channels]\n", "[channels]\nmarker = 1\n"), "expected nuclei, cells, puncta"),
        (('puncta = "Ryr2"\n', ""), "nothing to measure"),
        (('reference = "sham"', 'reference = "shams"'), "did you mean"),
        (("n_simulations = 19", "n_simulations = 2"), "n_simulations"),
        (("[compare]\n", '[compare]\nmethod = "beta-binomial"\n'), "is for fractions"),
    ],
)
def test_a_study_that_makes_no_sense_is_refused(folder, change, message):
    path = folder / "wrong.toml"
    path.write_text(TOML.replace(*change))
    with pytest.raises(InputError, match=message):
        analyse_study(path)


def test_unlike_voxels_and_warnings_of_images_are_told(folder, tmp_path):
    toml = TOML.replace('out = "results"', f'out = "{tmp_path / "out"}"')
    rows = "file,sample,params.spacing_um\nsham0.ome.tif,a,\nsham1.ome.tif,b,0.3;0.12;0.12\n"
    (folder / "unlike.csv").write_text(rows)
    toml = toml.replace('cells = "cells"', 'cells = "cells"\nprotein = "cells"')
    (folder / "unlike.toml").write_text(
        toml.replace("samples.csv", "unlike.csv").replace('[compare]\nreference = "sham"\n', "")
    )
    result = analyse_study(folder / "unlike.toml")
    assert result.done == ("a", "b")
    page = result.summary.report.read_text(encoding="utf-8")
    assert "Voxel sizes differ along y (0.100 to 0.120 µm)" in page
    assert "Voxel sizes differ along z" not in page
    assert "a, b: channel &#39;cells&#39; is used as cells and as protein" in page
