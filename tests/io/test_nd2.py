from __future__ import annotations

import gc
import pickle
from pathlib import Path
from types import SimpleNamespace

import nd2
import numpy as np
import pytest

import aequorea
from aequorea.errors import AequoreaWarning, FileFormatError, InputError
from aequorea.io.nd2 import _Frames, _spacing_um

CLUSTER = Path(__file__).parents[1] / "data" / "cluster.nd2"


def test_real_file():
    image = aequorea.open(CLUSTER)
    assert image.axes == "tczyx"
    assert image.shape == (3, 2, 10, 31, 38)
    assert image.dtype == np.uint16
    assert image.spacing_um == pytest.approx({"z": 0.5, "y": 0.167809, "x": 0.167809}, abs=1e-6)
    assert image.channels == ("5-FAM/pH 9.0", "FM 4-64/2% CHAPS")
    assert image.times_s == pytest.approx([0.4450835, 11.0861802, 21.7401779])
    assert image.metadata["objectiveNumericalAperture"] == 0.95
    assert np.asarray(image).max() == 3033


def test_pixels_are_those_of_the_library():
    expected = nd2.imread(CLUSTER).transpose(0, 2, 1, 3, 4)
    image = aequorea.open(CLUSTER)
    np.testing.assert_array_equal(image, expected)
    part = image.channel("FM 4-64/2% CHAPS").isel(t=2, z=slice(1, 9, 3), x=slice(3, 30))
    np.testing.assert_array_equal(part, expected[2, 1, 1:9:3, :, 3:30])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(part)), part)  # noqa: S301
    gc.collect()


def test_only_the_frames_that_are_indexed_are_read(monkeypatch):
    read = []
    original = nd2.ND2File.read_frame
    monkeypatch.setattr(
        nd2.ND2File, "read_frame", lambda file, k: read.append(int(k)) or original(file, k)
    )
    image = aequorea.open(CLUSTER)
    image[1, 0, 3:5]
    assert read == [13, 14]


def test_positions_are_scenes():
    sizes = {"T": 2, "P": 3, "Z": 4, "C": 2, "Y": 5, "X": 6}
    frames = _Frames(Path("a.nd2"), sizes, 1)
    assert frames.letters == "TZCYX"
    assert frames.shape == (2, 4, 2, 5, 6)
    expected = np.arange(24).reshape(2, 3, 4)[:, 1].ravel()
    assert [frames.sequence(n) for n in range(8)] == expected.tolist()
    assert frames.first_of_each_time == [4, 16]


def test_uncalibrated_is_none_not_one():
    volume = SimpleNamespace(axesCalibrated=(True, False, True), axesCalibration=(0.1, 1.0, 1.0))
    channel = SimpleNamespace(volume=volume)
    loop = SimpleNamespace(type="ZStackLoop", parameters=SimpleNamespace(stepUm=-0.4))
    file = SimpleNamespace(metadata=SimpleNamespace(channels=[channel]), experiment=[loop])
    assert _spacing_um(file) == {"z": 0.4, "y": None, "x": 0.1}
    file.experiment, file.metadata.channels = [], []
    assert _spacing_um(file) == {"z": None, "y": None, "x": None}


def test_frames_that_were_not_recorded_are_said(monkeypatch):
    fewer = nd2.ND2File(CLUSTER)
    attributes = fewer.attributes._replace(sequenceCount=25)
    fewer.close()
    monkeypatch.setattr(nd2.ND2File, "attributes", attributes)
    with pytest.warns(AequoreaWarning, match=r"cluster\.nd2: 5 of 30 frames"):
        aequorea.open(CLUSTER)


def test_bad_files(tmp_path):
    path = tmp_path / "a.nd2"
    whole = CLUSTER.read_bytes()
    for size in (len(whole) - 100, len(whole) // 2, 2000, 20):
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError, match=r"a\.nd2: cannot be read as ND2"):
            np.asarray(aequorea.open(path))
    path.write_text("not a microscope file")
    with pytest.raises(FileFormatError, match=r"a\.nd2: cannot be read as ND2"):
        aequorea.open(path)
    with pytest.raises(InputError, match="no scene 1"):
        aequorea.open(CLUSTER, scene=1)
