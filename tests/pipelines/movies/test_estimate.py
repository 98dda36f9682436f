"""What registering will take is told beforehand, about right, and nothing is written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aequorea.cli.app import run as aequorea
from aequorea.errors import InputError
from aequorea.pipelines.movies import RegisterParameters, estimate, register
from aequorea.simulate import simulated_twophoton

RIGID = RegisterParameters.model_validate(
    {"movie": {"axes": "tyx"}, "motion": {"model": "rigid", "reference_frames": 40}}
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("movie") / "movie.npy"
    np.save(path, simulated_twophoton((80, 64, 64), photons=10, rng=1).counts)
    return path


def test_steps_and_sizes(file):
    found = estimate(file, RIGID)
    assert [s.name for s in found.steps] == [
        "inputs hashed", "reference", "motion", "before and after"
    ]  # fmt: skip
    assert (found.n_frames, found.n_planes, found.raw_bytes) == (80, 1, 80 * 64 * 64 * 2)
    assert found.seconds == pytest.approx(sum(s.seconds for s in found.steps))
    assert all(s.seconds >= 0 for s in found.steps)
    assert list(file.parent.iterdir()) == [file]


def test_a_stored_movie_takes_the_disk_of_the_raw_one(file):
    stored = RIGID.model_copy(update={"output": RIGID.output.model_copy(update={"store": "zarr"})})
    more = estimate(file, stored).disk_bytes - estimate(file, RIGID).disk_bytes
    assert more == 80 * 64 * 64 * 2


def test_motion_on_disk_is_about_as_told(file, tmp_path):
    bent = RegisterParameters.model_validate(
        {"movie": {"axes": "tyx"}, "motion": {"reference_frames": 40}}
    )
    told = next(s for s in estimate(file, bent).steps if s.name == "motion").disk_bytes
    register(file, parameters=bent, out=tmp_path / "out")
    written = sum(
        p.stat().st_size
        for p in [tmp_path / "out/motion.npz", *(tmp_path / "out/tables").glob("frames.*")]
    )
    assert 0.5 < told / written < 2


def test_the_command(file, capsys):
    options = ["--axes", "tyx", "--model", "rigid", "--reference-frames", "40"]
    assert aequorea(["estimate", str(file), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "80 frames, 655 kB raw"
    assert lines[-1].startswith("in all")
    assert aequorea(["estimate", str(file), *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_frames"] == 80


def test_bad_movies_are_refused(tmp_path, capsys):
    single = tmp_path / "one.npy"
    np.save(single, np.zeros((1, 32, 32), np.uint16))
    with pytest.raises(InputError, match="1 frame"):
        estimate(single, RIGID)
    assert aequorea(["estimate", str(tmp_path / "none.tif")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
