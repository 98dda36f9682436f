"""The colocalization workflow against simulated truth, and what a run promises."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

import aequorea
from aequorea.colocalization import analyse_pairwise, manders, pearson
from aequorea.errors import CalibrationError, InputError
from aequorea.model import Image
from aequorea.pipelines.colocalization import ColocalizationParameters, colocalize, rebuild_report
from aequorea.pipelines.run.verification import verify
from aequorea.simulate.colocalization import cell_pair

QUICK = {
    "significance": {"n_shifts": 99},
    "objects": {"n_reshuffles": 19, "match_distance_um": 0.3},
    "diagnostics": {"ccf_max_shift": 5},
}
TABLES = (
    "background",
    "checks",
    "pixel",
    "curves",
    "significance",
    "null",
    "ccf",
    "ccf_fit",
    "ica",
    "scramble",
    "objects",
    "object_pairs",
    "object_summary",
    "object_distances",
)


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Two cells whose stains share 80 % of their puncta."""
    folder = tmp_path_factory.mktemp("cells")
    pair = cell_pair((128, 128), n_cells=4, n_puncta=12, shared_fraction=0.8, rng=1)
    spacing = {"y": 0.1, "x": 0.1}
    channels = np.stack([pair.a, pair.b])
    image = Image(data=channels, axes="cyx", channels=("A", "B"), spacing_um=spacing)
    aequorea.save(image, folder / "cells.ome.tif")
    labels = Image(data=pair.cells.astype(np.uint16), axes="yx", spacing_um=spacing)
    aequorea.save(labels, folder / "regions.ome.tif")
    return folder, pair


@pytest.fixture(scope="module")
def run(cells, tmp_path_factory):
    folder, _ = cells
    parameters = {**QUICK, "regions": str(folder / "regions.ome.tif")}
    out = tmp_path_factory.mktemp("runs") / "run"
    return colocalize(folder / "cells.ome.tif", parameters=parameters, out=out)


def contents(result):
    files = [p for p in result.directory.rglob("*") if p.is_file()]
    return {
        p.relative_to(result.directory).as_posix(): p.read_bytes()
        for p in files
        if p.name not in {"run.json", "report.html"}
    }


def test_every_table_is_there_twice(run):
    for name in TABLES:
        table = run.table(name)
        text = pd.read_csv(run.directory / f"tables/{name}.csv")
        assert list(text.columns) == list(table.columns), name
        assert len(text) == len(table), name
    with pytest.raises(InputError, match="no table 'pixels'; it has background"):
        run.table("pixels")


def test_pixel_rows_are_those_of_the_functions(run, cells):
    _, pair = cells
    rows = analyse_pairwise(pair.a, pair.b, label_mask=pair.cells)
    table = run.table("pixel").set_index("region")
    assert list(table.index) == [1, 2, 3, 4]
    for row in rows:
        inside = pair.cells == row["region"]
        found = table.loc[row["region"]]
        assert found["pcc"] == pytest.approx(pearson(pair.a, pair.b, inside)[0], abs=1e-12)
        thresholds = found["threshold_a"], found["threshold_b"]
        expected = manders(pair.a, pair.b, *thresholds, inside)
        assert (found["m1"], found["m2"]) == pytest.approx(expected)
        assert found["n_pixels"] == inside.sum()
        assert np.isnan(found["pcc_pvalue"])


def test_shared_puncta_are_found(run):
    tests = run.table("significance")
    primary = tests[tests["primary"]]
    assert set(primary["metric"]) == {"pcc"}
    assert (primary["observed"] > primary["expected"]).all()
    assert primary["p_value"].notna().all()
    assert (primary["p_fdr"] >= primary["p_value"]).all()
    assert primary["hypothesis"].str.contains("not aligned").all()
    described = tests[~tests["primary"]]
    assert described["p_value"].isna().all()
    assert described["reason"].str.contains("not tested").all()
    summary = run.table("object_summary")
    shared = summary["n_matched"].sum() / summary["n_objects_a"].sum()
    assert shared == pytest.approx(0.8, abs=0.2)


def test_the_null_draws_belong_to_the_tests(run):
    null = run.table("null")
    assert (null.groupby("region").size() <= 99).all()
    assert set(null["metric"]) == {"pcc"}


def test_images_hold_channels_regions_and_objects(run, cells):
    _, pair = cells
    image = aequorea.open(run.directory / "images.zarr")
    assert image.channels == ("A", "B")
    assert image.spacing_um == {"y": 0.1, "x": 0.1}
    assert np.array_equal(np.asarray(image), np.stack([pair.a, pair.b]))
    labels = aequorea.open(run.directory / "images.zarr/labels/regions")
    assert np.array_equal(np.asarray(labels), pair.cells)
    objects = np.asarray(aequorea.open(run.directory / "images.zarr/labels/objects_A"))
    assert len(np.unique(objects)) - 1 == (run.table("objects")["channel"] == "A").sum()
    assert not objects[pair.cells == 0].any()


def test_the_report_and_the_record_are_there_and_verified(run):
    assert "Pearson" in run.report.read_text()
    assert verify(run.directory).ok
    assert run.record["parameters"]["significance.n_shifts"] == 99
    assert run.record["parameter_sources"]["significance.n_shifts"] == "argument"
    assert run.record["parameter_sources"]["significance.alpha"] == "default"
    before = run.report.read_text()
    run.report.unlink()
    assert not verify(run.directory).ok
    rebuild_report(run.directory)
    assert verify(run.directory).ok
    assert len(run.report.read_text()) == len(before)


def test_the_same_bytes_whatever_the_number_of_workers(cells, run, tmp_path):
    folder, _ = cells
    parameters = {**QUICK, "regions": str(folder / "regions.ome.tif")}
    again = colocalize(
        folder / "cells.ome.tif", parameters=parameters, out=tmp_path / "run", workers=1
    )
    assert contents(again) == contents(run)


def test_a_late_parameter_reruns_only_what_depends_on_it(cells, tmp_path):
    folder, _ = cells
    out = tmp_path / "run"

    def again(**objects):
        parameters = {**QUICK, "objects": {**QUICK["objects"], **objects}}
        return colocalize(folder / "cells.ome.tif", parameters=parameters, out=out)

    assert "pixel" in again().executed
    assert again().executed == ()
    changed = again(min_object_size=20)
    assert changed.executed == ("objects", "images", "report")
    assert "pixel" in changed.skipped


def test_a_killed_run_continues_to_the_same_tables(cells, tmp_path):
    folder, _ = cells
    code = (
        "import sys\nfrom aequorea.pipelines.colocalization import colocalize\n"
        f"colocalize(sys.argv[1], out=sys.argv[2], parameters={QUICK!r})"
    )

    def process(out):
        command = [sys.executable, "-c", code, str(folder / "cells.ome.tif"), str(out)]
        return subprocess.Popen(command, env=os.environ)  # noqa: S603

    killed = process(tmp_path / "killed")
    time.sleep(2)  # somewhere in the middle; every instant is tried in test_run.py
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    image = folder / "cells.ome.tif"
    resumed = colocalize(image, parameters=QUICK, out=tmp_path / "killed")
    undisturbed = colocalize(image, parameters=QUICK, out=tmp_path / "undisturbed")
    assert contents(resumed) == contents(undisturbed)
    assert verify(resumed.directory).ok


@pytest.fixture
def save(tmp_path):
    def write(data, axes, **facts):
        path = tmp_path / "image.ome.tif"
        aequorea.save(Image(data=data, axes=axes, **facts), path)
        return path

    return write


def test_without_a_pixel_size_distances_are_missing_with_a_reason(save, tmp_path):
    data = np.random.default_rng(0).poisson(20, (2, 64, 64)).astype(np.uint16)
    image = save(data, "cyx")
    result = colocalize(image, parameters=QUICK_UNCALIBRATED, out=tmp_path / "run")
    assert result.table("pixel")["pcc"].notna().all()
    summary = result.table("object_summary").iloc[0]
    assert np.isnan(summary["frac_matched_a"])
    assert "--spacing-um" in summary["reason"]
    assert result.table("objects")["nn_distance_um"].isna().all()
    assert result.table("objects")["nn_distance_px"].notna().any()
    assert any("--spacing-um" in w for w in result.warnings)


def test_distances_in_um_that_were_asked_for_need_a_pixel_size(save, tmp_path):
    data = np.random.default_rng(0).poisson(20, (2, 64, 64)).astype(np.uint16)
    image = save(data, "cyx")
    with pytest.raises(CalibrationError, match="--spacing-um y,x"):
        colocalize(image, parameters={"objects": {"match_distance_um": 0.3}}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


QUICK_UNCALIBRATED = {**QUICK, "objects": {"n_reshuffles": 19}}


def test_time_slices_and_three_channels(save, tmp_path):
    rng = np.random.default_rng(3)
    data = rng.poisson(20, (2, 3, 4, 32, 32)).astype(np.uint16)
    image = save(data, "tczyx", channels=("A", "B", "C"), spacing_um={"z": 1, "y": 0.2, "x": 0.2})
    parameters = {
        **QUICK_UNCALIBRATED,
        "pixel": {"per_slice": True},
        "significance": {"null": "none"},
    }
    result = colocalize(image, parameters=parameters, out=tmp_path / "run")
    pixel = result.table("pixel")
    assert len(pixel) == 2 * 3 * (1 + 4)
    assert set(pixel["frame"]) == {0, 1}
    row = pixel[(pixel["frame"] == 1) & (pixel["channel_b"] == "C") & (pixel["slice"] == 2)].iloc[0]
    expected = pearson(data[1, 0, 2], data[1, 2, 2])[0]
    assert row["channel_a"] == "A"
    assert row["pcc"] == pytest.approx(expected, abs=1e-12)
    stored = aequorea.open(result.directory / "images.zarr")
    assert stored.axes == "tczyx"
    assert np.array_equal(np.asarray(stored), data)


def test_nothing_found_is_a_valid_result(save, tmp_path):
    data = np.full((2, 32, 32), 7, np.uint16)
    image = save(data, "cyx", spacing_um={"y": 0.1, "x": 0.1})
    result = colocalize(image, parameters=QUICK, out=tmp_path / "run")
    assert "constant" in result.table("pixel")["reason"].iloc[0]
    assert result.table("objects").empty
    assert result.table("object_summary")["n_objects_a"].tolist() == [0]
    tests = result.table("significance")
    assert tests["p_value"].isna().all()
    assert tests["reason"].str.len().gt(0).all()
    assert result.report.exists()


def test_no_test_when_none_is_asked_for(save, tmp_path):
    data = np.random.default_rng(0).poisson(20, (2, 32, 32)).astype(np.uint16)
    parameters = {"significance": {"null": "none"}, "objects": {"objects": False}}
    result = colocalize(save(data, "cyx"), parameters=parameters, out=tmp_path / "run")
    assert result.table("significance").empty
    assert "p_value" in result.table("significance")
    assert result.table("objects").empty


def test_surrogates_need_whole_rectangles(cells, tmp_path):
    folder, _ = cells
    parameters = ColocalizationParameters(
        regions=folder / "regions.ome.tif", significance={"null": "phase"}
    )
    with pytest.raises(InputError, match="--null phase needs whole rectangles"):
        colocalize(folder / "cells.ome.tif", parameters=parameters, out=tmp_path / "run")


def test_the_profile_null_is_the_default(run):
    assert set(run.table("significance")["null"]) == {"profile"}
    assert set(run.table("object_distances")["null"]) == {"profile"}


def test_few_objects_are_counted_but_not_tested(save, tmp_path):
    data = np.random.default_rng(0).poisson(10, (2, 64, 64)).astype(np.uint16)
    for k in range(4):
        data[:, 10 + 12 * k : 14 + 12 * k, 20:24] += 200
    data[1, 10:14, 40:44] += 200  # five in the second channel, four in the first
    image = save(data, "cyx", spacing_um={"y": 0.1, "x": 0.1})
    result = colocalize(image, parameters=QUICK, out=tmp_path / "run")
    within = result.table("object_distances")
    assert within[["n_objects", "n_others"]].values.tolist() == [[4, 5], [5, 4]]
    assert within[["observed", "expected", "low", "high", "p_curve"]].isna().all(axis=None)
    assert within["reason"].str.contains("fewer than 5 objects").all()
    summary = result.table("object_summary").iloc[0]
    assert (summary["n_objects_a"], summary["n_objects_b"], summary["n_matched"]) == (4, 5, 4)
    assert result.report.exists()


def test_a_plain_stack_is_read_with_the_axes_it_is_said_to_have(tmp_path):
    stacks = np.random.default_rng(0).poisson(20, (2, 5, 32, 32)).astype(np.uint16)
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for path, stack in zip(paths, stacks, strict=True):
        np.save(path, stack)
    quick = {"significance": {"null": "none"}, "objects": {"objects": False}}
    result = colocalize(paths, parameters={**quick, "axes": "zyx"}, out=tmp_path / "run")
    assert aequorea.open(result.directory / "images.zarr").axes == "czyx"
    row = result.table("pixel").iloc[0]
    assert row["pcc"] == pytest.approx(pearson(*stacks)[0], abs=1e-12)


def test_unknown_parameters_are_named(cells, tmp_path):
    folder, _ = cells
    with pytest.raises(InputError, match=r"parameters: unknown key 'sgnificance'; did you mean"):
        colocalize(folder / "cells.ome.tif", parameters={"sgnificance": {}}, out=tmp_path / "r")


def test_an_image_beyond_the_budget_is_streamed_to_the_same_numbers(save, tmp_path):
    rng = np.random.default_rng(5)
    data = (rng.poisson(20, (2, 6, 64, 64)) + rng.poisson(20, (6, 64, 64))).astype(np.uint16)
    image = save(data, "czyx", spacing_um={"z": 1, "y": 0.2, "x": 0.2})
    parameters = {**QUICK, "background": {"background": "mode"}}
    whole = colocalize(image, parameters=parameters, out=tmp_path / "whole", max_memory="1GB")
    pieces = colocalize(image, parameters=parameters, out=tmp_path / "pieces", max_memory="300kB")
    columns = ["pcc", "srcc", "icq", "overlap", "k1", "k2", "m1", "m2"]
    expected, found = whole.table("pixel")[columns], pieces.table("pixel")[columns]
    assert np.allclose(found, expected, rtol=1e-9)
    pd.testing.assert_frame_equal(pieces.table("curves"), whole.table("curves"))
    pd.testing.assert_frame_equal(pieces.table("background"), whole.table("background"))
    tests = pieces.table("significance")
    assert tests["p_value"].isna().all()
    assert tests["reason"].str.contains("--max-memory").all()
    assert pieces.table("object_summary")["reason"].str.contains("--max-memory").all()
    assert any("--max-memory" in w for w in pieces.warnings)
    checks = pieces.table("checks")
    assert set(checks["check"]) >= {"extent", "saturation"}
    assert checks["message"].str.contains("looked at .*z 3–3 of 0–5.* only").all()
    assert pieces.report.exists()
    with pytest.raises(InputError, match="--per-slice"):
        colocalize(
            image,
            parameters={"pixel": {"per_slice": True}},
            out=tmp_path / "slices",
            max_memory="300kB",
        )


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"background": {"background_value": [3]}}, "--background-value"),
        ({"background": {"background_percentile": 3}}, "--background-percentile"),
        ({"pixel": {"threshold_value": [3]}}, "--threshold-value"),
        ({"objects": {"object_threshold_value": [3]}}, "--object-threshold-value"),
        ({"landmarks": "n.tif", "significance": {"null": "none"}}, "--landmarks"),
    ],
)
def test_options_without_effect_are_refused(cells, tmp_path, given, named):
    with pytest.raises(InputError, match=f"{named} has no effect"):
        colocalize(cells[0] / "cells.ome.tif", parameters=given, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"channels": ["red"]}, "two or more channel names separated by commas, got 'red'"),
        ({"spacing_um": [0.05]}, "two to three numbers separated by commas, got '0.05'"),
        ({"background": "mode"}, r"did you mean 'background\.background'"),
    ],
)
def test_wrong_numbers_of_values_are_counted_in_words(tmp_path, given, answer):
    with pytest.raises(InputError, match=answer):
        colocalize(tmp_path / "a.tif", parameters=given, out=tmp_path / "run")


def test_metrics_that_are_not_tested_claim_no_sample_size(run):
    table = run.table("significance")
    tested = table["primary"].astype(bool)
    assert table.loc[~tested, ["n_effective", "n_independent"]].isna().all(axis=None)
    declared = table[tested & table["p_value"].notna()]
    assert len(declared)
    assert declared["n_draws"].tolist() == [round(n) for n in declared["n_independent"]]
