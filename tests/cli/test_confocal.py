"""The command: one stack, a study, triage, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.cli.app import run
from aequorea.io import write_ome_tiff
from aequorea.model import Image
from aequorea.pipelines.study.state import read_state
from aequorea.simulate import PunctaLaw, simulated_confocal


@pytest.fixture(scope="module")
def stack_file(tmp_path_factory):
    stack = simulated_confocal(
        (16, 96, 96),
        n_cells=1,
        cell_diameter_um=5.0,
        nucleus_diameter_um=2.5,
        puncta={"Ryr2": PunctaLaw(per_cell=30)},
        rng=1,
    )
    image = Image(
        data=stack.stack(),
        axes="czyx",
        channels=tuple(stack.images),
        spacing_um=dict(zip("zyx", stack.spacing_um, strict=True)),
    )
    path = tmp_path_factory.mktemp("stack") / "cell.ome.tif"
    write_ome_tiff(image, path)
    return path


ROLES = ["--nuclei.channel", "nuclei", "--cells.channel", "1", "--puncta.channel", "Ryr2"]


def test_one_stack(stack_file, tmp_path, capsys):
    out = tmp_path / "run"
    code = run(
        ["confocal", str(stack_file), *ROLES, "--n-simulations", "19", "--z-scale-factor", "1",
         "--out", str(out)]
    )  # fmt: skip
    assert code == 0
    assert capsys.readouterr().out.strip().endswith("report.html")
    assert (out / "tables/cells.csv").exists()
    assert run(["report", str(out)]) == 0
    assert run(["verify", str(out)]) == 0


def test_parameters_are_written_and_read(stack_file, tmp_path):
    config = tmp_path / "own.toml"
    assert run(["confocal", *ROLES, "--write-config", str(config)]) == 0
    text = config.read_text(encoding="utf-8")
    assert 'channel = "Ryr2"' in text
    assert "spot_sigma_yx_um" in text


def test_a_study_and_its_triage(stack_file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples.csv").write_text(f"file,sample\n{stack_file},one\n")
    (tmp_path / "study.toml").write_text(
        'sheet = "samples.csv"\nout = "results"\n[channels]\nnuclei = "nuclei"\ncells = "cells"\n'
        'puncta = "Ryr2"\n[params]\nz_scale_factor = 1.0\n[params.nulls]\nn_simulations = 19\n'
    )
    assert run(["confocal", "study.toml"]) == 0
    assert list(read_state(tmp_path / "results").samples) == ["one"]
    capsys.readouterr()
    assert run(["confocal", "triage", "results"]) == 0
    assert capsys.readouterr().out == "one\tdone\tgreen\tnot looked at\n"
    assert run(["confocal", "triage", "results", "one", "--reject", "--reason", "blurred"]) == 0
    capsys.readouterr()
    assert run(["confocal", "triage", "results"]) == 0
    assert "reject blurred" in capsys.readouterr().out
    again = ["confocal", "triage", "results", "one", "--redo", "--nuclei.diameter-um", "2.4"]
    assert run(again) == 0
    assert "run again" in capsys.readouterr().out
    assert run(["confocal", "triage", "results"]) == 0
    assert "redo nuclei.diameter_um=2.4" in capsys.readouterr().out
    assert run(["confocal", "triage", "results", "one", "--forget"]) == 0
    capsys.readouterr()
    assert run(["confocal", "triage", "results"]) == 0
    assert capsys.readouterr().out == "one\tdone\tgreen\tnot looked at\n"


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "no stack given"),
        (["{stack}", "--nuclei.channel", "nuclei"], "nothing to measure"),
        (["{stack}", *ROLES[:4], "--puncta.channel", "Ryr3"], "no channel 'Ryr3'"),
        (["{stack}", *ROLES, "--blind"], "--blind is for a study"),
        (["nowhere.nd2", *ROLES], "nowhere.nd2"),
        (["{stack}", *ROLES, "--spacing-um", "0.1,0.1"], "spacing-um"),
        (["triage", "nowhere", "a", "--accept"], "nowhere"),
        (["triage", "nowhere", "--accept"], "expected: aequorea confocal triage"),
    ],
)
def test_what_cannot_be_used_is_one_line(stack_file, tmp_path, capsys, tokens, message):
    given = [t.replace("{stack}", str(stack_file)) for t in tokens]
    out = [] if "triage" in tokens else ["--out", str(tmp_path / "run")]
    assert run(["confocal", *given, *out]) == 2
    told = capsys.readouterr().err
    assert message in told.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_flat_image_is_refused(tmp_path, capsys):
    flat = Image(
        data=np.zeros((2, 8, 8), np.uint16),
        axes="cyx",
        channels=("a", "b"),
        spacing_um={"y": 0.1, "x": 0.1},
    )
    write_ome_tiff(flat, tmp_path / "flat.ome.tif")
    roles = ["--nuclei.channel", "a", "--cells.channel", "a", "--puncta.channel", "b"]
    assert run(["confocal", str(tmp_path / "flat.ome.tif"), *roles, "--out", "x"]) == 2
    assert "is a single plane" in capsys.readouterr().err


def test_paths_of_a_configuration_are_relative_to_it(stack_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    labels = ["--nuclei.labels", "nuclei.tif"]
    assert run(["confocal", *ROLES, *labels, "--write-config", "own/written.toml"]) == 0
    written = (tmp_path / "own/written.toml").read_text(encoding="utf-8")
    assert f'labels = "{tmp_path / "nuclei.tif"}"' in written
    (tmp_path / "own/given.toml").write_text('[nuclei]\nlabels = "mine.tif"\n')
    command = ["confocal", str(stack_file), *ROLES, "--config", "own/given.toml"]
    assert run(command) == 2
    assert str(tmp_path / "own/mine.tif") in capsys.readouterr().err


def test_a_bad_image_of_a_study_takes_no_other_along(stack_file, tmp_path, capsys):
    pixels = np.zeros((3, 4, 32, 32), np.uint16)
    um = {"z": 0.3, "y": 0.1, "x": 0.1}
    names = ("nuclei", "cells", "Ryr2")
    unlike = Image(data=pixels, axes="czyx", channels=("a", "b", "c"), spacing_um=um)
    flat = Image(data=pixels, axes="czyx", channels=names, spacing_um={"y": 0.1, "x": 0.1})
    write_ome_tiff(unlike, tmp_path / "unlike.ome.tif")
    write_ome_tiff(flat, tmp_path / "flat.ome.tif")
    rows = f"{stack_file},good,m1,sham\nunlike.ome.tif,unlike,m2,TAC\nflat.ome.tif,flat,m3,TAC\n"
    (tmp_path / "samples.csv").write_text(f"file,sample,animal,condition\n{rows}")
    (tmp_path / "study.toml").write_text(
        'sheet = "samples.csv"\nout = "results"\n[channels]\nnuclei = "nuclei"\ncells = "cells"\n'
        'puncta = "Ryr2"\n[params.nulls]\nn_simulations = 19\n[compare]\nreference = "sham"\n'
    )
    assert run(["confocal", str(tmp_path / "study.toml")]) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("aequorea: ")]
    assert len(told) == 2
    assert told[0].startswith("aequorea: unlike: ")
    assert "nuclei" in told[0]
    assert told[1].startswith("aequorea: flat: ")
    assert "spacing" in told[1]
    states = read_state(tmp_path / "results").samples
    assert [s.state for s in states.values()] == ["done", "failed", "failed"]
    (tmp_path / "samples.csv").write_text("file,sample\nflat.ome.tif,a\nunlike.ome.tif,A\n")
    assert run(["confocal", str(tmp_path / "study.toml"), "--out", str(tmp_path / "b")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not (tmp_path / "b").exists()
