"""Photon-limited movies in Zarr arrays."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import zarr

from aequorea.errors import FileFormatError
from aequorea.io.photon_codec import NAME, PhotonCodec
from aequorea.photon import Quantiser


@pytest.fixture(scope="module")
def movie():
    rng = np.random.default_rng(0)
    rates = rng.gamma(4, 1, (40, 50))
    photons = rng.poisson(np.broadcast_to(rates, (90, 40, 50))) + rng.normal(0, 0.3, (90, 40, 50))
    return np.rint(8 * photons + 100).astype(np.uint16)


def store(path, counts, chunks, **options):
    array = zarr.create_array(
        str(path),
        shape=counts.shape,
        dtype=counts.dtype,
        chunks=chunks,
        serializer=PhotonCodec(gain=8.0, zero=99.3, **options),
        compressors=None,
        filters=None,
    )
    array[:] = counts
    return zarr.open_array(str(path), mode="r")


@pytest.fixture(scope="module")
def exact(movie, tmp_path_factory):
    return store(
        tmp_path_factory.mktemp("z") / "m.zarr", movie, (64, 32, 32), lossless=True, step=1.0
    )


def test_counts_are_kept(exact, movie):
    np.testing.assert_array_equal(exact[:], movie)


@pytest.mark.parametrize(
    "part",
    [
        (slice(60, 70), slice(None), slice(None)),
        (slice(None), slice(30, 34), slice(31, 33)),
        (slice(5, 80, 7), slice(3, 39, 5), 10),
        (70, 39, 49),
        (slice(3, 3), slice(None), 0),
    ],
)
def test_parts_are_those_of_the_whole(exact, movie, part):
    np.testing.assert_array_equal(exact[part], movie[part])


def test_chosen_frames_and_points(exact, movie):
    frames, rows = [1, 70, 2], [5, 33]
    np.testing.assert_array_equal(exact.oindex[frames, rows, :], movie[frames][:, rows])
    at = ([1, 70, 2], [5, 33, 9], [1, 2, 40])
    np.testing.assert_array_equal(exact.vindex[at], movie[at])


def test_quantised_counts_keep_their_codes(movie, tmp_path):
    found = store(tmp_path / "m.zarr", movie, (64, 40, 50))[:]
    cells = Quantiser(gain=8.0, zero=99.3, step=0.5, dtype="uint16")
    np.testing.assert_array_equal(cells.code_of(found), cells.code_of(movie))
    assert np.abs((found.astype(float) - movie).mean()) < 0.05 * 8


def test_volumes_and_what_was_never_written(movie, tmp_path):
    volume = np.stack([movie, movie[::-1]], axis=1)
    found = store(tmp_path / "v.zarr", volume, (64, 1, 40, 50), lossless=True)
    np.testing.assert_array_equal(found[:], volume)
    np.testing.assert_array_equal(found[80, :, 3:5], volume[80, :, 3:5])
    empty = zarr.create_array(
        str(tmp_path / "e.zarr"), shape=(9, 8, 8), dtype="u2", chunks=(4, 8, 8), fill_value=7,
        serializer=PhotonCodec(gain=1.0, zero=0.0), compressors=None, filters=None,
    )  # fmt: skip
    empty[0:2] = 3
    assert (empty[0:2] == 3).all()
    assert (empty[2:] == 7).all()


def test_a_process_that_imports_only_zarr_reads_counts(exact, movie):
    script = f"import zarr; print(int(zarr.open_array({str(exact.store.root)!r})[:].sum()))"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == int(movie.sum())


def test_parameters_are_in_the_metadata(exact):
    (codec,) = exact.metadata.to_dict()["codecs"]
    assert codec["name"] == NAME
    assert dict(codec["configuration"]) == {
        "gain": 8.0, "zero": 99.3, "step": 1.0, "lossless": True,
    }  # fmt: skip
    assert PhotonCodec.from_dict(codec) == PhotonCodec(gain=8.0, zero=99.3, step=1.0, lossless=True)


def test_a_flipped_byte_is_found(movie, tmp_path):
    store(tmp_path / "m.zarr", movie, (90, 40, 50))
    chunk = tmp_path / "m.zarr" / "c" / "0" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[-5] ^= 1
    chunk.write_bytes(bytes(data))
    with pytest.raises(FileFormatError, match="frames 64-89"):
        zarr.open_array(str(tmp_path / "m.zarr"))[:]


@pytest.mark.parametrize(
    ("shape", "dtype", "chunks"),
    [((9, 8, 8), "f4", (9, 8, 8)), ((8, 8), "u2", (8, 8)), ((9, 4, 8, 8), "u2", (9, 2, 8, 8))],
)
def test_what_is_no_movie_of_counts_is_refused(shape, dtype, chunks, tmp_path):
    with pytest.raises(ValueError, match=r"aequorea\.photon stores"):
        zarr.create_array(
            str(tmp_path / "x.zarr"), shape=shape, dtype=dtype, chunks=chunks,
            serializer=PhotonCodec(gain=1.0, zero=0.0), compressors=None, filters=None,
        )  # fmt: skip


def test_metadata_that_say_something_else_are_refused():
    for wrong in ({"gain": 1.0}, {"gain": 1.0, "zero": 0.0, "beta": 2}):
        with pytest.raises(ValueError, match="not a configuration"):
            PhotonCodec.from_dict({"name": NAME, "configuration": wrong})
