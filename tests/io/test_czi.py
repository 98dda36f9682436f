from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
from pylibCZIrw import czi

import aequorea
from aequorea.errors import FileFormatError, InputError
from aequorea.io.czi import read_timestamps

RNG = np.random.default_rng(3)
DIVISION = "czitools-czi/CellDivision_T3_Z5_CH2_X240_Y170.czi"


def written(path, pixels, *, scenes=1, **metadata):
    """A CZI file from pixels (t, c, z, y, x, samples); scenes lie beside each other."""
    with czi.create_czi(str(path), exist_ok=True) as file:
        for scene in range(scenes):
            for t, c, z in np.ndindex(pixels.shape[:3]):
                file.write(
                    np.ascontiguousarray(pixels[t, c, z] + scene),
                    plane={"T": t, "C": c, "Z": z},
                    location=(scene * 100, 0),
                    scene=scene,
                )
        file.write_metadata("made", **metadata)
    return path


def test_gray_stack(tmp_path):
    pixels = RNG.integers(0, 60000, (2, 2, 3, 20, 30, 1)).astype("u2")
    path = written(
        tmp_path / "a.czi", pixels, channel_names={0: "DNA", 1: "actin"},
        scale_x=1e-7, scale_y=2e-7, scale_z=5e-7,
    )  # fmt: skip
    image = aequorea.open(path)
    assert image.axes == "tczyx"
    assert image.channels == ("DNA", "actin")
    assert image.spacing_um == {"z": 0.5, "y": 0.2, "x": 0.1}
    np.testing.assert_array_equal(image, pixels[..., 0])
    part = image.isel(t=1, y=slice(3, 19, 4), x=slice(5, 6))
    np.testing.assert_array_equal(part, pixels[1, :, :, 3:19:4, 5:6, 0])
    np.testing.assert_array_equal(image[0, 1, 2, 7, ::3], pixels[0, 1, 2, 7, ::3, 0])


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_colour(tmp_path, dtype):
    rgb = RNG.integers(0, 255, (1, 1, 1, 12, 14, 3)).astype(dtype)
    path = written(tmp_path / "a.czi", np.ascontiguousarray(rgb[..., ::-1]))
    image = aequorea.open(path)
    assert image.channels == ("red", "green", "blue")
    np.testing.assert_array_equal(image, np.moveaxis(rgb[0, 0, 0], -1, 0))
    np.testing.assert_array_equal(image.channel("red"), rgb[0, 0, 0, ..., 0])


def test_scenes(tmp_path):
    pixels = RNG.integers(0, 200, (1, 1, 2, 12, 14, 1)).astype("u1")
    path = written(tmp_path / "a.czi", pixels, scenes=3)
    for k in range(3):
        image = aequorea.open(path, scene=k)
        assert len(image.scenes) == 3
        np.testing.assert_array_equal(image, pixels[0, 0, ..., 0] + k)
    with pytest.raises(InputError, match="no scene 3"):
        aequorea.open(path, scene=3)


def test_no_scaling_is_none(tmp_path):
    path = written(tmp_path / "a.czi", np.zeros((1, 1, 1, 8, 8, 1), "u1"))
    assert aequorea.open(path).spacing_um == {"y": None, "x": None}


def test_bad_files(tmp_path):
    path = written(tmp_path / "a.czi", RNG.integers(0, 200, (1, 1, 2, 64, 64, 1)).astype("u1"))
    whole = path.read_bytes()
    for size in (len(whole) // 2, 600, 40):
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError, match=r"a\.czi: cannot be read as CZI"):
            np.asarray(aequorea.open(path))


def test_timestamps_attachment(tmp_path):
    # a directory with one entry at 1000, its content at 4000 + 32 + 256
    stamps = (10.5, 12.0, 13.75)
    entry = b"A1".ljust(12, b"\0") + struct.pack("<q", 4000) + bytes(20)
    entry += b"CZTIMS".ljust(8, b"\0") + b"TimeStamps".ljust(80, b"\0")
    content = bytearray(5000)
    content[104:112] = struct.pack("<q", 1000)
    content[1032:1036] = struct.pack("<i", 1)
    content[1288 : 1288 + 128] = entry
    content[4288 : 4288 + 32] = struct.pack("<ii3d", 32, 3, *stamps)
    path = tmp_path / "a.czi"
    path.write_bytes(content)
    assert tuple(read_timestamps(path)) == stamps
    path.write_bytes(content[:4300])
    with pytest.raises(FileFormatError):
        read_timestamps(path)
    content[104:112] = bytes(8)
    path.write_bytes(content)
    assert read_timestamps(path) is None


def test_real_cell_division(shared_data):
    image = aequorea.open(shared_data(DIVISION))
    assert (image.axes, image.shape) == ("tczyx", (3, 2, 5, 170, 240))
    assert image.channels == ("LED555", "LED470")
    assert image.spacing_um == pytest.approx({"z": 0.32, "y": 0.0906, "x": 0.0906}, abs=1e-4)
    assert image.times_s.tolist() == [0.0, 60.075, 120.15]
    stamps = read_timestamps(shared_data(DIVISION))
    assert np.diff(stamps) == pytest.approx(np.diff(image.times_s), abs=0.15)


def test_real_pixels_equal_the_exported_tiff(shared_data):
    image = aequorea.open(shared_data("czitools-czi/CH1_16bit.czi"))
    expected = tifffile.imread(shared_data("czitools-czi/CH1_16bit.tif"))
    np.testing.assert_array_equal(image, expected)
    assert image.spacing_um == {"y": 0.1, "x": 0.1}


def test_real_files_of_other_kinds(shared_data):
    image = aequorea.open(shared_data("czitools-czi/DAPI_GFP.czi"))
    assert (image.axes, image.channels) == ("cyx", ("C0", "C1"))
    assert image.spacing_um == {"y": None, "x": None}
    image = aequorea.open(shared_data("czitools-czi/nuc_small.czi"))
    assert (image.scenes, image.channels) == (("P1",), ("AF568",))
    assert image.spacing_um["x"] == pytest.approx(0.4571507)
