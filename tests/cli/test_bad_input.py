"""Bad input through the command, in a process of its own: one line, exit code 2, nothing left."""

import numpy as np
import pytest

import aequorea as package
from aequorea.cli.app import run
from aequorea.model import Image
from aequorea.pipelines.run import RunResult

QUICK = ("--null", "none", "--no-objects")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Good and bad files, by name."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    pair = rng.poisson(30, (2, 48, 48)).astype(np.uint16)
    shared = rng.poisson(40, (48, 48)).astype(np.uint16)

    def save(name, data, axes, spacing=None):
        package.save(Image(data=data, axes=axes, spacing_um=spacing or {}), folder / name)

    calibrated = {"y": 0.1, "x": 0.1}
    save("good.ome.tif", pair + shared, "cyx", calibrated)
    save("uncalibrated.ome.tif", pair + shared, "cyx")
    save("one.ome.tif", pair[0], "yx", calibrated)
    save("other-shape.ome.tif", pair[1, :40], "yx", calibrated)
    constant = pair.copy()
    constant[1] = 9
    save("constant.ome.tif", constant, "cyx", calibrated)
    nan = (pair + 0.5).astype(np.float32)
    nan[0, 3, 4:6] = np.nan
    save("nan.ome.tif", nan, "cyx", calibrated)
    save("labels-other.ome.tif", np.ones((40, 48), np.uint16), "yx")
    (folder / "text.tif").write_text("this is not an image\n" * 50)
    whole = (folder / "good.ome.tif").read_bytes()
    (folder / "truncated.ome.tif").write_bytes(whole[: len(whole) // 2])
    (folder / "unknown.toml").write_text("[significance]\nnulll = 'none'\n")
    (folder / "wrong.toml").write_text("[objects]\nmatch_distance_um = -1.0\n")
    return folder


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.tif"], "missing.tif"),
        (["text.tif"], "text.tif"),
        (["truncated.ome.tif"], "truncated.ome.tif"),
        (["good.ome.tif", "--channels", "0,5"], "no channel '5'; it has 0:C0, 1:C1"),
        (["good.ome.tif", "--regions", "labels-other.ome.tif"], "do not fit an image of shape"),
        (["good.ome.tif", "--regions", "absent.zip"], "absent.zip"),
        (["nan.ome.tif"], "has 2 NaN or infinite pixels"),
        (["one.ome.tif"], "two channels are needed"),
        (["one.ome.tif", "other-shape.ome.tif"], "must show the same pixels"),
        (["good.ome.tif", "--out", "text.tif"], "is a file"),
        (["good.ome.tif", "--out", "text.tif/below"], "cannot be"),
        (["good.ome.tif", "--out", "."], "not an aequorea run"),
        (["good.ome.tif", "--config", "unknown.toml"], "did you mean 'significance.null'?"),
        (["good.ome.tif", "--config", "wrong.toml"], "expected a number > 0 in µm, got -1.0"),
        (["good.ome.tif", "--threshold", "manual", "--threshold-value", "1,2,3"], "got 3"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input(files, capsys, monkeypatch, arguments, says):
    monkeypatch.chdir(files)
    before = sorted(p.name for p in files.iterdir())
    assert run(["coloc", *QUICK, *arguments]) == 2
    refused_in_one_line(capsys.readouterr().err, says)
    assert sorted(p.name for p in files.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.tif"], "missing.tif"),
        (["truncated.ome.tif"], "truncated.ome.tif"),
        (["nan.ome.tif"], "has 2 NaN or infinite pixels"),
        (["good.ome.tif", "--out", "text.tif/below"], "cannot be"),
    ],
)
def test_bad_input_in_a_process(aequorea, files, arguments, says):
    before = sorted(p.name for p in files.iterdir())
    done = aequorea("coloc", *QUICK, *arguments, cwd=files)
    assert done.returncode == 2, done.stderr
    refused_in_one_line(done.stderr, says)
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in files.iterdir()) == before


def refused_in_one_line(stderr, says):
    lines = [line for line in stderr.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1, stderr
    assert lines[0].startswith("aequorea: ")
    assert says in lines[0]


def test_a_constant_channel_is_a_reason_not_a_failure(aequorea, files, tmp_path):
    done = aequorea("coloc", files / "constant.ome.tif", *QUICK, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    result = RunResult(directory=tmp_path / "run", executed=(), skipped=(), warnings=())
    row = result.table("pixel").iloc[0]
    assert np.isnan(row["pcc"])
    assert "constant" in row["reason"]
    assert aequorea("verify", tmp_path / "run").returncode == 0


def test_distances_need_a_pixel_size_only_if_somebody_chose_them(files, tmp_path, capsys):
    command = ["coloc", str(files / "uncalibrated.ome.tif"), "--null", "none"]
    assert run([*command, "--out", str(tmp_path / "a"), "--match-distance-um", "0.5"]) == 2
    refused_in_one_line(capsys.readouterr().err, "give it with --spacing-um y,x")
    config = tmp_path / "all.toml"
    assert run(["coloc", "--write-config", str(config)]) == 0
    assert run([*command, "--out", str(tmp_path / "b"), "--config", str(config)]) == 0
    assert "are left out" in capsys.readouterr().err
    spaced = ["--spacing-um", "0.1,0.1", "--match-distance-um", "0.5"]
    assert run([*command, "--out", str(tmp_path / "c"), *spaced]) == 0
    assert not (tmp_path / "a").exists()


def test_the_second_run_changes_nothing(aequorea, files, tmp_path):
    command = ("coloc", files / "good.ome.tif", *QUICK, "--out", tmp_path / "run")
    assert aequorea(*command).returncode == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run/tables").iterdir()}
    assert aequorea(*command).returncode == 0
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "run/tables").iterdir()}


def test_a_changed_output_fails_verification(aequorea, files, tmp_path):
    aequorea("coloc", files / "good.ome.tif", *QUICK, "--out", tmp_path / "run")
    (tmp_path / "run/tables/pixel.csv").write_text("edited")
    done = aequorea("verify", tmp_path / "run")
    assert done.returncode == 1
    assert "pixel.csv: changed since the run" in done.stderr


def test_info(aequorea, files):
    done = aequorea("info", files / "good.ome.tif")
    assert "c=2 × y=48 × x=48" in done.stdout
    assert "y 0.1 µm, x 0.1 µm" in done.stdout
    assert "not given" in aequorea("info", files / "uncalibrated.ome.tif").stdout
    assert aequorea("info", files / "text.tif").returncode == 2


def test_convert_keeps_pixels_and_calibration(aequorea, files, tmp_path):
    target = tmp_path / "copy.ome.zarr"
    assert aequorea("convert", files / "good.ome.tif", target).returncode == 0
    copy, original = package.open(target), package.open(files / "good.ome.tif")
    assert np.array_equal(np.asarray(copy), np.asarray(original))
    assert copy.spacing_um == original.spacing_um
    assert aequorea("convert", files / "good.ome.tif", target).returncode == 2
    assert aequorea("convert", files / "good.ome.tif", tmp_path / "copy.bmp").returncode == 2


def test_axes_that_a_file_does_not_say_can_be_given(files, tmp_path, capsys):
    stack = tmp_path / "stack.npy"
    np.save(stack, np.zeros((3, 8, 9), np.uint8))
    assert run(["info", str(stack)]) == 2
    refused_in_one_line(capsys.readouterr().err, "axes")
    assert run(["info", str(stack), "--axes", "zyx"]) == 0
    assert "z=3 × y=8 × x=9" in capsys.readouterr().out
    target = tmp_path / "stack.ome.tif"
    assert run(["convert", str(stack), str(target), "--axes", "zyx"]) == 0
    assert package.open(target).axes == "zyx"
    for wrong in ("zyq", "yx", "zyxx", ""):
        assert run(["info", str(stack), "--axes", wrong]) == 2
        refused_in_one_line(capsys.readouterr().err, "axes")
    command = ["coloc", str(stack), str(stack), "--axes", "yx", "--out", str(tmp_path / "run")]
    assert run(command) == 2
    refused_in_one_line(capsys.readouterr().err, "axes")


def test_results_are_not_written_into_an_input_folder(files, tmp_path, capsys):
    zarr = tmp_path / "image.ome.zarr"
    assert run(["convert", str(files / "good.ome.tif"), str(zarr)]) == 0
    before = sorted(p.relative_to(zarr) for p in zarr.rglob("*"))
    assert run(["coloc", str(zarr), "--out", str(zarr / "run"), *QUICK]) == 2
    refused_in_one_line(capsys.readouterr().err, "lies inside the input")
    assert sorted(p.relative_to(zarr) for p in zarr.rglob("*")) == before


@pytest.mark.parametrize("record", ["{", "[]", "{}", '{"format": "aequorea-run"}', None])
def test_a_damaged_record_is_said_in_one_line(files, tmp_path, capsys, record):
    out = tmp_path / "run"
    out.mkdir()
    whole = '{"format": "aequorea-run", "format_version": 1, "workflow": "colocalization"}'
    (out / "run.json").write_text(record or whole)
    for command in (["coloc", str(files / "good.ome.tif"), "--out"], ["verify"], ["report"]):
        assert run([*command, str(out)]) == 2
        refused_in_one_line(capsys.readouterr().err, "run.json")


def test_paths_with_spaces_and_umlauts(files, tmp_path, capsys):
    folder = tmp_path / "Bilder für Jörg"
    folder.mkdir()
    image = folder / "Zelle 1.ome.tif"
    image.write_bytes((files / "good.ome.tif").read_bytes())
    assert run(["coloc", str(image), "--out", str(folder / "Ergebnis ä"), *QUICK]) == 0
    assert run(["verify", str(folder / "Ergebnis ä")]) == 0
    assert "Zelle 1" in (folder / "Ergebnis ä/report.html").read_text()


def test_unblinding_what_is_not_blinded_is_refused(tmp_path, capsys):
    assert run(["unblind", str(tmp_path)]) == 2
    refused_in_one_line(capsys.readouterr().err, str(tmp_path))
