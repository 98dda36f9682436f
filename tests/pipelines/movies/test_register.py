"""Registering a movie from the file on: what is kept, read again, stored, and refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aequorea.cli.app import run as aequorea
from aequorea.errors import FileFormatError, InputError
from aequorea.io import open_movie, write_ome_tiff
from aequorea.model import Image
from aequorea.pipelines.movies import open_registered, read_motion, register
from aequorea.simulate import simulated_twophoton

FEW = {"motion": {"reference_frames": 60, "model": "rigid"}}


@pytest.fixture(scope="module")
def movie():
    return simulated_twophoton((60, 64, 72), photons=10, jitter_px=1.2, rng=3)


@pytest.fixture(scope="module")
def file(movie, tmp_path_factory):
    path = tmp_path_factory.mktemp("movie") / "cortex.ome.tif"
    write_ome_tiff(movie.image, path)
    return path


@pytest.fixture(scope="module")
def run(file, tmp_path_factory):
    return register(file, parameters=FEW, out=tmp_path_factory.mktemp("run") / "out")


def still(movie, found):
    error = found - movie.shift_yx_px
    return np.sqrt(((error - np.median(error, axis=0)) ** 2).mean())


def test_frames_are_told_one_by_one(run, movie):
    frames = run.table("frames")
    assert len(frames) == 60
    assert still(movie, frames[["shift_y_px", "shift_x_px"]].to_numpy()) < 0.05
    np.testing.assert_allclose(frames["shift_y_um"], frames["shift_y_px"] * movie.pixel_um)
    np.testing.assert_allclose(frames["time_s"], np.arange(60) / 30, atol=1e-6)
    assert (frames["correlation_after"] > frames["correlation_before"]).mean() > 0.8
    assert frames["good"].all()


def test_the_plane_is_summed_up(run):
    (row,) = run.table("planes").to_dict("records")
    assert row["n_frames"] == 60
    assert row["n_marked"] == 0
    assert row["crispness_after"] > 1.05 * row["crispness_before"]
    assert row["stabilised"]
    assert row["gain"] == pytest.approx(20, rel=0.15)


def test_the_movie_is_read_without_its_motion(run, file):
    opened = open_registered(run.directory)
    assert opened.axes == "tyx"
    assert opened.data.dtype == np.float32
    (motion,) = read_motion(run.directory / "motion.npz")
    raw = np.asarray(open_movie(file).data[:])
    whole = motion.undone(raw, slice(0, 60))
    np.testing.assert_array_equal(np.asarray(opened.data[7:20, 3:9, ::2]), whole[7:20, 3:9, ::2])
    np.testing.assert_array_equal(np.asarray(opened.data[5]), whole[5])
    np.testing.assert_array_equal(np.asarray(opened.data[-1, 4]), whole[-1, 4])


def test_a_movie_that_is_gone_is_told(movie, tmp_path):
    path = tmp_path / "gone.ome.tif"
    write_ome_tiff(movie.image, path)
    register(path, parameters=FEW, out=tmp_path / "out")
    path.unlink()
    with pytest.raises(InputError, match=r"is not at .*gone"):
        open_registered(tmp_path / "out")


def test_the_page_stands_alone(run):
    page = run.report.read_text(encoding="utf-8")
    assert "Every frame could be placed" in page
    assert "matched filter" in page
    assert "data:image/webp;base64," in page
    assert 'src="http' not in page


def test_the_same_again_computes_nothing(run, file):
    again = register(file, parameters=FEW, out=run.directory)
    assert again.executed == ()


def test_storing_it_later_finds_nothing_anew(run, file, movie):
    given = FEW | {"output": {"store": "zarr"}}
    again = register(file, parameters=given, out=run.directory)
    assert again.executed == ("movie", "report")
    stored = open_movie(run.directory / "registered.zarr")
    assert stored.data.dtype == np.uint16
    expected = np.nan_to_num(np.rint(np.asarray(open_registered(run.directory).data[:])))
    np.testing.assert_array_equal(np.asarray(stored.data[:]), expected.clip(0).astype(np.uint16))
    register(file, parameters=FEW, out=run.directory)
    assert not (run.directory / "registered.zarr").exists()


def test_both_channels_move_alike_and_each_plane_by_itself(movie, tmp_path):
    """Two planes with motion of their own, two channels: the second is dark noise."""
    other = simulated_twophoton((60, 64, 72), photons=10, jitter_px=1.2, rng=4)
    dark = np.random.default_rng(0).integers(90, 110, movie.counts.shape).astype(np.uint16)
    pixels = np.stack([
        np.stack([movie.counts, other.counts], axis=1), np.stack([dark, dark], axis=1)
    ], axis=1)  # fmt: skip
    image = Image(data=pixels, axes="tczyx", channels=("green", "red"))
    path = tmp_path / "two.ome.tif"
    write_ome_tiff(image, path)
    with pytest.raises(InputError, match=r"2 channels.*green, red"):
        register(path, parameters=FEW, out=tmp_path / "none")
    given = FEW | {"movie": {"channel": "green"}, "output": {"store": "tiff"}}
    found = register(path, parameters=given, out=tmp_path / "out")
    frames = found.table("frames")
    for plane, truth in enumerate((movie, other)):
        own = frames[frames["plane"] == plane][["shift_y_px", "shift_x_px"]].to_numpy()
        assert still(truth, own) < 0.05
    stored = open_movie(tmp_path / "out" / "registered.ome.tif")
    assert stored.channels == ("green", "red")
    assert stored.sizes == {"t": 60, "c": 2, "z": 2, "y": 64, "x": 72}
    red = open_registered(tmp_path / "out", channel="red")
    expected = np.nan_to_num(np.rint(np.asarray(red.data[4])))
    np.testing.assert_array_equal(np.asarray(stored.channel("red").data[4]), expected)
    assert red.data[4, 1, 3:5].shape == (2, 72)


def test_the_command(file, tmp_path, capsys):
    out = tmp_path / "cli"
    options = ["--model", "rigid", "--reference-frames", "60", "--left-out", "3,4"]
    assert aequorea(["register", str(file), "--out", str(out), *options]) == 0
    assert capsys.readouterr().out.strip() == str(out / "report.html")
    record = json.loads((out / "run.json").read_text())
    assert record["workflow"] == "register"
    page = (out / "report.html").read_text()
    assert "left out as asked: 2" in page
    assert aequorea(["report", str(out)]) == 0
    assert aequorea(["verify", str(out)]) == 0


def test_bad_input_is_one_line_and_leaves_nothing(file, tmp_path, capsys):
    single = tmp_path / "one.npy"
    np.save(single, np.zeros((1, 32, 32), np.uint16))
    cases = [
        ([str(tmp_path / "none.tif")], "none.tif"),
        ([str(single), "--axes", "tyx"], "1 frame"),
        ([str(file), "--left-out", "99"], "no frame 99"),
        ([str(file), "--gain", "3"], "both gain and zero"),
        ([str(file), "--model", "bent"], "nonrigid"),
    ]
    for arguments, told in cases:
        out = tmp_path / "out"
        assert aequorea(["register", *arguments, "--out", str(out)]) == 2
        error = capsys.readouterr().err.strip()
        assert told in error
        assert len(error.splitlines()) == 1
        assert not out.exists()


def test_what_is_no_motion_is_refused(tmp_path):
    path = tmp_path / "motion.npz"
    path.write_bytes(b"rubbish")
    with pytest.raises(FileFormatError, match="is no motion"):
        read_motion(path)
    np.savez(path, format=np.array(99))
    with pytest.raises(FileFormatError, match="format 99"):
        read_motion(path)
    with pytest.raises(InputError):
        open_registered(tmp_path)
