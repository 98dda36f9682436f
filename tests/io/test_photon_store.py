"""Movies stored as photons: whole or not at all, resumed, read by zarr alone, told in numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import zarr

import aequorea
from aequorea.cli.app import run
from aequorea.errors import FileFormatError, InputError, OutputError
from aequorea.io import photon_statistics, photon_store, write_photon_store
from aequorea.model import Image

GAIN, READ_SD = 8.0, 0.3
ZERO = 100 - GAIN * READ_SD**2


@pytest.fixture(scope="module")
def movie():
    """Counts of 1 to 20 photons with read noise, 96 frames."""
    rng = np.random.default_rng(0)
    light = np.geomspace(1, 20, 40 * 48).reshape(40, 48)
    photons = rng.poisson(np.broadcast_to(light, (96, 40, 48)))
    counts = 100 + GAIN * (photons + rng.normal(0, READ_SD, photons.shape))
    return Image(
        data=np.rint(counts).astype(np.uint16),
        axes="tyx",
        spacing_um={"y": 0.5, "x": 0.5},
        times_s=np.arange(96) / 20,
    )


@pytest.fixture
def small_chunks(monkeypatch):
    """Three chunks of 32 frames."""
    monkeypatch.setattr(photon_store, "_CHUNK_BYTES", 1)


def files_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("workers", [1, 3])
def test_a_lossless_store_gives_back_every_count(movie, tmp_path, small_chunks, workers):
    told = []
    found = write_photon_store(
        movie, tmp_path / "m.zarr", lossless=True, workers=workers, told=lambda *n: told.append(n)
    )
    assert found.gain == pytest.approx(GAIN, rel=0.05)
    back = aequorea.open(tmp_path / "m.zarr")
    assert np.array_equal(back[:], movie.data)
    assert (back.axes, dict(back.spacing_um)) == ("tyx", {"y": 0.5, "x": 0.5})
    np.testing.assert_allclose(back.times_s, movie.times_s)
    assert told[-1] == (96, 96)
    assert [p.name for p in tmp_path.iterdir()] == ["m.zarr"]


def test_counts_stay_within_the_cell_and_are_right_on_average(movie, tmp_path):
    write_photon_store(movie, tmp_path / "m.zarr", gain=GAIN, zero=ZERO, step=0.5)
    error = aequorea.open(tmp_path / "m.zarr")[:].astype(float) - movie.data
    sd = np.sqrt(np.maximum(GAIN * (movie.data - ZERO), 0) + 3 / 8 * GAIN**2)
    assert (np.abs(error) <= 0.5 * sd + 1).all()
    assert abs(error.mean()) / GAIN < 0.05


def test_planes_are_stored_plane_by_plane(movie, tmp_path):
    planes = np.stack([movie.data, movie.data[::-1]], axis=1)
    stack = Image(data=planes, axes="tzyx", spacing_um={"z": 5.0, "y": 0.5, "x": 0.5})
    write_photon_store(stack, tmp_path / "m.zarr", gain=GAIN, zero=ZERO, lossless=True)
    back = aequorea.open(tmp_path / "m.zarr")
    assert back.spacing_um["z"] == 5.0
    assert np.array_equal(back[:], planes)


def test_a_process_that_imports_only_zarr_reads_the_counts(movie, tmp_path):
    write_photon_store(movie, tmp_path / "m.zarr", gain=GAIN, zero=ZERO, lossless=True)
    script = "import sys, zarr; print(int(zarr.open(sys.argv[1])['0'][:].astype('i8').sum()))"
    told = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script, str(tmp_path / "m.zarr")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(told.stdout) == int(movie.data.astype(np.int64).sum())


class Killed(RuntimeError):
    """Stands in for a kill."""


class Dying:
    """A movie whose reader dies at a frame, and counts what was read."""

    def __init__(self, data, dies_at=None):
        self.data, self.dies_at, self.read = data, dies_at, []

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)

    def __getitem__(self, key):
        first, last = key[0].start, key[0].stop
        if last - first == 1:  # a look at a frame to know the movie by
            return self.data[key]
        if self.dies_at is not None and first >= self.dies_at:
            raise Killed
        self.read.append(first)
        return self.data[key]


def test_a_killed_conversion_goes_on_and_was_never_whole(movie, tmp_path, small_chunks):
    target, settings = tmp_path / "m.zarr", {"gain": GAIN, "zero": ZERO}
    with pytest.raises(Killed):
        write_photon_store(replace(movie, data=Dying(movie.data, 64)), target, **settings)
    assert not target.exists()
    (unfinished,) = tmp_path.iterdir()
    for opened in (aequorea.open, photon_statistics):
        with pytest.raises(FileFormatError):
            opened(unfinished)
    again = Dying(movie.data)
    write_photon_store(replace(movie, data=again), target, **settings)
    assert again.read == [0, 64]  # the first only to choose how to show the movie
    write_photon_store(movie, tmp_path / "n.zarr", **settings)
    assert files_of(target) == files_of(tmp_path / "n.zarr")
    assert not unfinished.exists()


def test_a_conversion_killed_at_the_very_end_goes_on(movie, tmp_path, monkeypatch):
    def dies(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(photon_store, "kept_exactly", dies)
        with pytest.raises(Killed):
            write_photon_store(movie, tmp_path / "m.zarr", gain=GAIN, zero=ZERO)
    again = Dying(movie.data)
    write_photon_store(replace(movie, data=again), tmp_path / "m.zarr", gain=GAIN, zero=ZERO)
    assert again.read == [0]
    assert photon_statistics(tmp_path / "m.zarr").shape == movie.shape


def test_another_movie_of_the_same_size_begins_anew(movie, tmp_path, small_chunks):
    target, settings = tmp_path / "m.zarr", {"gain": GAIN, "zero": ZERO, "lossless": True}
    with pytest.raises(Killed):
        write_photon_store(replace(movie, data=Dying(movie.data, 64)), target, **settings)
    other = replace(movie, data=movie.data[::-1].copy())
    write_photon_store(other, target, **settings)
    assert np.array_equal(aequorea.open(target)[:], other.data)


def test_other_settings_begin_anew(movie, tmp_path, small_chunks):
    target = tmp_path / "m.zarr"
    with pytest.raises(Killed):
        write_photon_store(replace(movie, data=Dying(movie.data, 64)), target, gain=GAIN, zero=ZERO)
    again = Dying(movie.data)
    write_photon_store(replace(movie, data=again), target, gain=GAIN, zero=ZERO, step=0.25)
    assert again.read == [0, 32, 64]
    assert photon_statistics(target).step == 0.25


def test_a_flipped_byte_is_an_error_that_names_the_chunk(movie, tmp_path, small_chunks):
    write_photon_store(movie, tmp_path / "m.zarr", gain=GAIN, zero=ZERO)
    chunk = tmp_path / "m.zarr/0/c/1/0/0"
    content = bytearray(chunk.read_bytes())
    content[-10] ^= 4
    chunk.write_bytes(content)
    array = zarr.open_array(str(tmp_path / "m.zarr/0"), mode="r")
    assert array[:32].shape == (32, 40, 48)
    with pytest.raises(FileFormatError, match=r"0/c/1/0/0: .*checksum of frames"):
        array[:]


@pytest.mark.parametrize(("lossless", "step"), [(False, 0.5), (False, 1.0), (True, 0.5)])
def test_statistics_are_those_of_the_files_and_the_noise(tmp_path, lossless, step):
    rng = np.random.default_rng(1)
    light = np.repeat([[10.0], [30.0]], 64, axis=1).repeat(32, axis=0)
    noisy = 100 + 20 * (rng.poisson(np.broadcast_to(light, (256, 64, 64))) + rng.normal(
        0, 0.5, (256, 64, 64)))  # fmt: skip
    counts = np.rint(noisy).astype(np.uint16)
    zero = 100 - 20 * 0.25
    write_photon_store(
        Image(data=counts, axes="tyx"), tmp_path / "m.zarr",
        gain=20.0, zero=zero, step=step, lossless=lossless,
    )  # fmt: skip
    found = photon_statistics(tmp_path / "m.zarr")
    files = [p for p in (tmp_path / "m.zarr/0/c").rglob("*") if p.is_file()]
    assert found.stored_bytes == sum(p.stat().st_size for p in files)
    assert found.original_bytes == counts.nbytes
    assert found.ratio == counts.nbytes / found.stored_bytes
    cells = 1 / np.sqrt(20 * 20 * (light + 0.25)) if lossless else step  # in SD of the noise
    gaussian = np.log2(np.sqrt(2 * np.pi * np.e) / cells) + np.square(cells) / 24 / np.log(2)
    expected = np.mean(gaussian)
    assert found.noise_floor_bits == pytest.approx(expected, rel=0.01)
    assert 0.97 < found.over_floor < 1.06


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda m: replace(m, data=m.data.astype(np.float32)), {}, "type float32"),
        (lambda m: m.isel(t=0), {}, "no time axis"),
        (lambda m: m.isel(t=slice(0, 5)), {}, "frames"),
        (lambda m: m, {"gain": 2.0}, "go together"),
        (lambda m: m, {"gain": -2.0, "zero": 0.0}, "positive number of counts per photon"),
        (lambda m: m, {"gain": 2.0, "zero": 0.0, "step": 0.0}, "step must lie"),
        (lambda m: replace(m, data=m.data[:, None].repeat(2, 1), axes="tcyx", channels=("a", "b")),
         {}, "2 channels, .* a, b"),
    ],
)  # fmt: skip
def test_what_cannot_be_stored_is_refused_and_leaves_nothing(
    movie, tmp_path, change, options, message
):
    with pytest.raises(InputError, match=message):
        write_photon_store(change(movie), tmp_path / "m.zarr", **options)
    assert not list(tmp_path.iterdir())


def test_nothing_is_replaced_unasked(movie, tmp_path):
    (tmp_path / "m.zarr").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        write_photon_store(movie, tmp_path / "m.zarr", gain=GAIN, zero=ZERO)
    write_photon_store(movie, tmp_path / "m.zarr", gain=GAIN, zero=ZERO, overwrite=True)
    assert photon_statistics(tmp_path / "m.zarr").shape == (96, 40, 48)


def test_the_command_line_converts_and_tells(movie, tmp_path, capsys):
    source, target = tmp_path / "movie.ome.tif", tmp_path / "m.zarr"
    aequorea.save(movie, source)
    assert run(["convert", str(source), str(target), "--photon", "--lossless"]) == 0
    told = capsys.readouterr().out
    assert "times smaller; kept: every count" in told
    assert f"{target}\n" in told
    assert run(["photon", "stats", str(target), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["shape"], facts["lossless"]) == ([96, 40, 48], True)
    plot = tmp_path / "curve.png"
    assert run(["photon", "gain", str(source), "--plot", str(plot), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["gain_interval"][0] < GAIN < facts["gain_interval"][1]
    assert plot.read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["m.tif", "--photon"], "end its name in .zarr"),
        (["m.zarr", "--gain", "3"], "--gain: only with --photon"),
        (["m.zarr", "--photon", "--workers", "0"], "--workers: expected 1 or more"),
        (["m.zarr", "--photon", "--channel", "GFP"], "GFP"),
    ],
)
def test_the_command_line_refuses_in_one_line(movie, tmp_path, capsys, words, message):
    aequorea.save(movie, tmp_path / "movie.ome.tif")
    target, *flags = words
    assert run(["convert", str(tmp_path / "movie.ome.tif"), str(tmp_path / target), *flags]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
