from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import zarr

import aequorea
from aequorea import Image
from aequorea.errors import (
    AequoreaWarning,
    AxisMismatchError,
    FileFormatError,
    InputError,
    OutputError,
)
from aequorea.io.ome_zarr_writer import halve

RNG = np.random.default_rng(5)
AXES_04 = [
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "nanometer"},
    {"name": "x", "type": "space"},
]


def version_04(path, pixels, *, axes=AXES_04, scale=(1, 0.5, 65, 1), **more):
    group = zarr.open_group(path, mode="a", zarr_format=2)
    group.create_array("0", data=pixels, chunks=pixels.shape, overwrite=True)
    described = {
        "version": "0.4",
        "axes": axes,
        "datasets": [
            {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": list(scale)}]}
        ],
    }
    group.attrs.update({"multiscales": [described | more.pop("multiscale", {})], **more})
    return path


def test_version_04(tmp_path):
    pixels = RNG.integers(0, 99, (2, 3, 4, 5)).astype("u2")
    omero = {"channels": [{"label": "DNA", "color": "FFFFFF"}, {"color": "00FF00"}]}
    image = aequorea.open(version_04(tmp_path / "a.zarr", pixels, omero=omero))
    assert image.axes == "czyx"
    assert image.spacing_um == {"z": 0.5, "y": 0.065, "x": None}
    assert image.channels == ("DNA", "C1")
    assert image.metadata["format"] == "OME-Zarr 0.4"
    np.testing.assert_array_equal(image, pixels)
    np.testing.assert_array_equal(image[1, :2, ::2, 3], pixels[1, :2, ::2, 3])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(image)), pixels)  # noqa: S301


def test_a_scale_without_unit_is_no_pixel_size(tmp_path):
    path = version_04(tmp_path / "a.zarr", np.zeros((2, 3, 4, 5)), scale=(1, 0.5, 65, 0.1))
    with pytest.warns(AequoreaWarning, match=r"axis x has a scale \(0\.1\) but no unit"):
        assert aequorea.open(path).spacing_um["x"] is None


def test_scales_multiply(tmp_path):
    overall = {"coordinateTransformations": [{"type": "scale", "scale": [1, 2, 3, 1]}]}
    path = version_04(tmp_path / "a.zarr", np.zeros((2, 3, 4, 5)), multiscale=overall)
    assert aequorea.open(path).spacing_um == {"z": 1.0, "y": 0.195, "x": None}


def test_regular_times(tmp_path):
    axes = [{"name": "t", "type": "time", "unit": "millisecond"}, *AXES_04[2:]]
    path = version_04(tmp_path / "a.zarr", np.zeros((3, 4, 5)), axes=axes, scale=(250, 65, 1))
    assert aequorea.open(path).times_s.tolist() == [0.0, 0.25, 0.5]


def test_collections_are_scenes(tmp_path):
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    for k in (0, 1, 10, 2):
        version_04(tmp_path / "a.zarr" / str(k), np.full((2, 3, 4, 5), k))
    image = aequorea.open(tmp_path / "a.zarr", scene="10")
    assert image.scenes == ("0", "1", "2", "10")
    assert (np.asarray(image) == 10).all()


def test_plates(tmp_path):
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    root.attrs["plate"] = {"wells": [{"path": "A/1"}, {"path": "B/2"}]}
    for k, well in enumerate(("A/1", "B/2")):
        root.require_group(well).attrs["well"] = {"images": [{"path": "0"}, {"path": "1"}]}
        for field in "01":
            version_04(tmp_path / "a.zarr" / well / field, np.full((2, 3, 4, 5), k))
    image = aequorea.open(tmp_path / "a.zarr", scene="B/2/1")
    assert image.scenes == ("A/1/0", "A/1/1", "B/2/0", "B/2/1")
    assert (np.asarray(image) == 1).all()


def test_plain_arrays_need_named_axes(tmp_path):
    pixels = np.arange(60).reshape(3, 4, 5)
    zarr.create_array(tmp_path / "a.zarr", data=pixels, dimension_names=["time", "y", "x"])
    image = aequorea.open(tmp_path / "a.zarr")
    assert image.axes == "tyx"
    np.testing.assert_array_equal(image, pixels)
    zarr.create_array(tmp_path / "b.zarr", data=pixels)
    with pytest.raises(AxisMismatchError, match="give axes="):
        aequorea.open(tmp_path / "b.zarr")
    assert aequorea.open(tmp_path / "b.zarr", axes="zyx").axes == "zyx"


# writing --------------------------------------------------------------------------------------


@pytest.fixture
def cell():
    return Image(
        data=RNG.integers(0, 60000, (2, 2, 3, 700, 613)).astype("u2"),
        axes="tczyx",
        spacing_um={"z": 0.3, "y": 0.1, "x": None},
        channels=("DNA", "µ-tubulin"),
        times_s=[0.0, 1.7],
    )


def attributes(path):
    return json.loads((path / "zarr.json").read_text())["attributes"]


def test_metadata_follow_the_specification(tmp_path, cell):
    path = aequorea.save(cell, tmp_path / "a.ome.zarr")
    ome = attributes(path)["ome"]
    assert ome["version"] == "0.5"
    [multiscale] = ome["multiscales"]
    assert [a["name"] for a in multiscale["axes"]] == list("tczyx")
    assert [a["type"] for a in multiscale["axes"]] == ["time", "channel"] + ["space"] * 3
    units = [a.get("unit") for a in multiscale["axes"]]
    assert units == ["second", None, "micrometer", "micrometer", None]
    for k, dataset in enumerate(multiscale["datasets"]):
        scale, *shift = dataset["coordinateTransformations"]
        assert scale["scale"] == pytest.approx([1.7, 1, 0.3, 0.1 * 2**k, 2**k])
        expected = [0, 0, 0, 0.1 * (2**k - 1) / 2, (2**k - 1) / 2]
        assert not shift if k == 0 else shift[0]["translation"] == pytest.approx(expected)
        array = zarr.open_array(path / dataset["path"], mode="r")
        assert array.shape == (2, 2, 3, -(-700 // 2**k), -(-613 // 2**k))
        assert array.metadata.dimension_names == tuple("tczyx")
    assert len(multiscale["datasets"]) == 3
    windows = [c["window"] for c in ome["omero"]["channels"]]
    assert windows[1]["end"] == np.asarray(cell)[:, 1].max()
    assert [c["label"] for c in ome["omero"]["channels"]] == ["DNA", "µ-tubulin"]


def test_pyramids_average_images_and_thin_labels(tmp_path, cell):
    labels = RNG.integers(0, 9, (3, 700, 613)).astype("i4")
    path = aequorea.save(cell, tmp_path / "a.ome.zarr", labels={"cells": labels})
    smaller = zarr.open_array(path / "1", mode="r")[:]
    even = np.asarray(cell)[..., :612].reshape(2, 2, 3, 350, 2, 306, 2).mean((4, 6))
    np.testing.assert_array_equal(smaller[..., :306], np.rint(even))
    np.testing.assert_array_equal(
        zarr.open_array(path / "labels/cells/1", mode="r")[:], labels[:, ::2, ::2]
    )


def test_labels_are_images_too(tmp_path, cell):
    labels = RNG.integers(0, 9, (3, 700, 613)).astype("u4")
    path = aequorea.save(cell, tmp_path / "a.ome.zarr", labels={"cells": labels, "flat": labels[0]})
    assert attributes(path / "labels")["ome"]["labels"] == ["cells", "flat"]
    source = attributes(path / "labels/cells")["ome"]["image-label"]["source"]
    assert source == {"image": "../../"}
    image = aequorea.open(path / "labels" / "cells")
    assert image.axes == "zyx"
    assert image.spacing_um == {"z": 0.3, "y": 0.1, "x": None}
    np.testing.assert_array_equal(image, labels)
    assert aequorea.open(path).scenes == ("0",)


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        ({"cells": np.zeros((3, 700, 613))}, InputError),
        ({"cells": np.zeros((3, 700, 612), int)}, AxisMismatchError),
        ({"cells": np.zeros((2, 2, 3, 700, 613), int)}, AxisMismatchError),
        ({"cells": np.zeros(613, int)}, AxisMismatchError),
        ({"../cells": np.zeros((700, 613), int)}, InputError),
        ({"": np.zeros((700, 613), int)}, InputError),
    ],
)
def test_labels_that_do_not_fit_leave_nothing_behind(tmp_path, cell, labels, error):
    with pytest.raises(error):
        aequorea.save(cell, tmp_path / "a.ome.zarr", labels=labels)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_nothing_behind(tmp_path, cell):
    class Failing:
        shape, dtype = (4, 8, 8), np.dtype("u1")

        def __getitem__(self, index):
            if index[0] == slice(2, 3):
                raise FileFormatError("raw.nd2: truncated")
            return np.zeros((1, 8, 8), "u1")

    before = aequorea.save(cell, tmp_path / "a.ome.zarr")
    with pytest.raises(FileFormatError, match=r"raw\.nd2"):
        aequorea.save(Image(data=Failing(), axes="zyx"), before, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.zarr"]
    assert aequorea.open(before).shape == cell.shape


def test_overwriting_is_asked_for(tmp_path, cell):
    small = cell.isel(t=0, c=0, z=0, y=slice(0, 9), x=slice(0, 9))
    path = aequorea.save(small, tmp_path / "a.zarr")
    with pytest.raises(OutputError, match=r"a\.zarr: exists already"):
        aequorea.save(small, path)
    aequorea.save(small.isel(y=slice(0, 5)), path, overwrite=True)
    assert aequorea.open(path).shape == (5, 9)


def test_memory_is_bounded(tmp_path):
    largest = 0

    class Big:
        shape, dtype = (3, 9000, 3000), np.dtype("u2")

        def __getitem__(self, index):
            nonlocal largest
            block = np.zeros([i.stop - i.start for i in index], "u2")
            largest = max(largest, block.nbytes)
            return block

    aequorea.save(Image(data=Big(), axes="zyx"), tmp_path / "a.zarr")
    assert 0 < largest <= 32 * 2**20


@pytest.mark.parametrize("dtype", ["u1", "i8", "u8", "f4", "bool"])
def test_halving(dtype):
    block = (RNG.random((3, 4, 6)) * 2).astype(dtype)
    expected = block.astype(float).reshape(3, 2, 2, 3, 2).mean((2, 4))
    if dtype == "bool":
        expected = expected >= 0.5
    elif dtype != "f4":
        expected = np.rint(expected)
    np.testing.assert_allclose(halve(block).astype(float), expected, rtol=1e-6)


def test_halving_keeps_extremes_in_range():
    for dtype in ("u8", "i8", "u1", "i2"):
        for value in (np.iinfo(dtype).min, np.iinfo(dtype).max):
            found = halve(np.full((2, 2), value, dtype))[0, 0]
            assert abs(int(found) - int(value)) <= abs(int(value)) * 2**-52


# damage ---------------------------------------------------------------------------------------


def test_bad_groups(tmp_path, cell):
    path = aequorea.save(cell.isel(t=0, z=0), tmp_path / "a.zarr")
    text = (path / "zarr.json").read_text()
    for old, new, match in [
        ('"0.5"', '"9.9"', "version 9.9"),
        ('"encoding": 1', '"encoding": 7', "another aequorea"),
        ('"datasets"', '"dataset"', "cannot be read as OME-Zarr"),
        ('"path": "0"', '"path": "gone"', "cannot be read as OME-Zarr"),
        ('"multiscales"', '"other"', "without an OME-Zarr image"),
        ("{", "", "cannot be read as OME-Zarr"),
    ]:
        assert old in text
        (path / "zarr.json").write_text(text.replace(old, new, 1))
        with pytest.raises(FileFormatError, match=match):
            aequorea.open(path)
    (path / "zarr.json").write_text(text)
    [chunk, *_] = sorted((path / "0" / "c").rglob("*/0"))
    chunk = next(p for p in chunk.parent.rglob("*") if p.is_file())
    whole = chunk.read_bytes()
    for at in RNG.integers(0, len(whole), 20):  # the checksum finds a single flipped bit
        flipped = bytearray(whole)
        flipped[at] ^= 4
        chunk.write_bytes(flipped)
        with pytest.raises(FileFormatError):
            np.asarray(aequorea.open(path))
    chunk.write_bytes(whole[:50])
    with pytest.raises(FileFormatError, match=r"a\.zarr: cannot be read as OME-Zarr"):
        np.asarray(aequorea.open(path))
