"""A run that fails or is interrupted: exit codes, the log, and going on from there."""

import numpy as np
import pytest

import aequorea
from aequorea.cli.app import run
from aequorea.model import Image
from aequorea.pipelines.colocalization import workflow


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.ome.tif"
    data = np.random.default_rng(0).poisson(30, (2, 48, 48)).astype(np.uint16)
    aequorea.save(Image(data=data, axes="cyx", spacing_um={"y": 0.1, "x": 0.1}), path)
    return path


def command(image, out):
    return ["coloc", str(image), "--out", str(out), "--null", "none", "--no-objects"]


def failing(error):
    def fail(*args, **kwargs):
        raise error

    return fail


def test_a_failed_run_is_one_line_a_log_and_exit_code_1(image, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "curve_table", failing(ZeroDivisionError("no\nphotons")))
        assert run(command(image, out)) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"aequorea: step 'curves' failed: no photons (traceback in {out / 'error.log'})"
    assert "ZeroDivisionError" in (out / "error.log").read_text()
    assert run(["report", str(out)]) == 2
    assert "not finished" in capsys.readouterr().err
    assert run(command(image, out)) == 0
    assert not (out / "error.log").exists()


def test_an_interrupted_run_continues(image, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "curve_table", failing(KeyboardInterrupt()))
        assert run(command(image, out)) == 130
    assert "the same command continues" in capsys.readouterr().err
    assert run(command(image, out)) == 0
    assert run(["verify", str(out)]) == 0
    assert run(["report", str(out)]) == 0


def test_an_unexpected_error_says_how_to_see_more(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("aequorea.pipelines.run.verification.verify", failing(TypeError("odd")))
    assert run(["verify", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        "aequorea: unexpected TypeError: odd (AEQUOREA_DEBUG=1 shows where)\n"
    )
    monkeypatch.setenv("AEQUOREA_DEBUG", "1")
    with pytest.raises(TypeError):
        run(["verify", str(tmp_path)])
