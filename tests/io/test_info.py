from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

import aequorea
from aequorea import Image
from aequorea.errors import FileMissingError
from aequorea.io import describe

CLUSTER = Path(__file__).parents[1] / "data" / "cluster.nd2"


def test_a_microscope_file():
    info = describe(CLUSTER)
    assert (info.format, info.axes, info.shape) == ("ND2", "tczyx", (3, 2, 10, 31, 38))
    assert info.dtype == "uint16"
    assert info.channels == ("5-FAM/pH 9.0", "FM 4-64/2% CHAPS")
    assert info.spacing_um["z"] == 0.5
    assert info.duration_s == pytest.approx(21.2951, abs=1e-3)
    assert info.interval_s == pytest.approx(10.6475, abs=1e-3)
    assert info.pixel_bytes == 3 * 2 * 10 * 31 * 38 * 2
    assert info.disk_bytes == 557056
    assert info.notes == ()
    with pytest.raises(FrozenInstanceError):
        info.axes = "yx"


def test_notes_say_what_is_missing(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((4, 8, 8), "u1"), photometric="minisblack", metadata=None)
    info = describe(path)
    assert info.axes == "tyx"
    assert len(info.notes) == 2
    assert info.notes[0].startswith("the file does not say whether its 4 planes")
    assert info.notes[1] == "no pixel size for y, x"
    assert info.duration_s is None
    assert describe(path, axes="zyx").notes == ("no pixel size for z, y, x",)
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg_encode(np.zeros((8, 8), "u1")))
    assert any("lossy" in note for note in describe(tmp_path / "a.jpg").notes)


def test_a_folder_and_a_missing_file(tmp_path):
    image = Image(data=np.ones((300, 300)), axes="yx", spacing_um={"y": 0.1, "x": 0.1})
    path = aequorea.save(image, tmp_path / "a.zarr")
    info = describe(path)
    assert info.format == "OME-Zarr 0.5"
    assert info.disk_bytes == sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    with pytest.raises(FileMissingError):
        describe(tmp_path / "none.tif")
