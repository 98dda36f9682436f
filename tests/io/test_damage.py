"""Files with random bytes changed: an error of ours in one line, or an image; nothing else."""

from __future__ import annotations

import logging
import random
import shutil
import warnings

import imagecodecs
import numpy as np
import pytest
import roifile
import tifffile

import aequorea
from aequorea import Image
from aequorea.errors import AequoreaWarning, InputError
from aequorea.io import read_regions

PIXELS = np.random.default_rng(11).integers(0, 255, (3, 16, 16)).astype("u2")
ATTEMPTS = 60
LARGEST = 10**8  # a damaged header may promise more than fits into memory


def write(path, kind):
    options = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    if kind == "imagej":
        tifffile.imwrite(path, PIXELS, imagej=True, metadata={"axes": "ZYX", "unit": "um"})
    elif kind == "ome":
        aequorea.save(Image(data=PIXELS, axes="zyx", spacing_um={"x": 0.1}), path)
    elif kind == "tif":
        tifffile.imwrite(path, PIXELS, compression="lzw", **options)
    elif kind == "png":
        path.write_bytes(imagecodecs.png_encode(PIXELS[0]))
    elif kind == "jpg":
        path.write_bytes(imagecodecs.jpeg_encode(PIXELS[0].astype("u1")))
    elif kind == "npy":
        np.save(path, PIXELS[0])
    elif kind == "npz":
        np.savez_compressed(path, PIXELS[0])


def damaged(whole, rng):
    content = bytearray(whole)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at, size = rng.randrange(len(content)), rng.choice([1, 2, 4])
        content[at : at + size] = rng.choice([bytes(size), b"\xff" * size, rng.randbytes(size)])
    return bytes(content)


def attempt(read, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AequoreaWarning)
        try:
            read()
        except InputError as error:
            message = str(error)
        else:
            message = ""
    assert "\n" not in message
    assert len(message) < 600
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def read_all(path):
    image = aequorea.open(path)
    if image.nbytes < LARGEST:
        np.asarray(image)


@pytest.mark.parametrize("kind", ["imagej", "ome", "tif", "png", "jpg", "npy", "npz"])
def test_files(tmp_path, kind, caplog):
    path = tmp_path / ("a.ome.tif" if kind == "ome" else f"a.{kind}")
    write(path, kind)
    whole, rng = path.read_bytes(), random.Random(kind)  # noqa: S311
    for _ in range(ATTEMPTS):
        path.write_bytes(damaged(whole, rng))
        attempt(lambda: read_all(path), caplog)


def test_zarr(tmp_path, caplog):
    path = aequorea.save(Image(data=PIXELS, axes="zyx"), tmp_path / "a.zarr")
    rng = random.Random(1)  # noqa: S311
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        whole = file.read_bytes()
        for _ in range(ATTEMPTS // 4):
            file.write_bytes(damaged(whole, rng))
            attempt(lambda: read_all(path), caplog)
        file.write_bytes(whole)
    for member in ("0/zarr.json", "zarr.json"):
        copy = shutil.copytree(path, tmp_path / "b.zarr", dirs_exist_ok=True)
        (copy / member).unlink()
        with pytest.raises(InputError, match=r"b\.zarr"):
            read_all(copy)


def test_regions(tmp_path, caplog):
    corners = [(2, 2), (12, 3), (13, 14), (4, 9)]
    whole, rng = roifile.ImagejRoi.frompoints(corners, name="cell").tobytes(), random.Random(2)  # noqa: S311
    for _ in range(5 * ATTEMPTS):
        (tmp_path / "a.roi").write_bytes(damaged(whole, rng))
        attempt(lambda: read_regions(tmp_path / "a.roi", (20, 20)), caplog)
