from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import aequorea
from aequorea import Image
from aequorea.errors import InputError

TIFF_TYPES = ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"]
ZARR_TYPES = [*TIFF_TYPES, "u8", "i8", "f2"]
SPACINGS = st.one_of(st.none(), st.floats(1e-6, 1e6))
# what XML 1.0 can hold, and Unicode beyond it cannot be in a name in any format
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cn"], include_characters="\t\n\r"), max_size=8
)


@st.composite
def images(draw, types):
    axes = draw(st.sampled_from(["yx", "cyx", "zyx", "tyx", "czyx", "tcyx", "tzyx", "tczyx"]))
    shape = tuple(draw(st.integers(1 if a in "yx" else 2, 4)) for a in axes)
    dtype = np.dtype(draw(st.sampled_from(types)))
    pixels = draw(hnp.arrays(dtype, shape))
    n_channels = shape[axes.index("c")] if "c" in axes else 1
    times = None
    if "t" in axes and draw(st.booleans()):
        times = draw(st.lists(st.floats(0, 1e6), min_size=shape[0], max_size=shape[0]).map(sorted))
    return Image(
        data=pixels,
        axes=axes,
        spacing_um={a: draw(SPACINGS) for a in "zyx" if a in axes},
        channels=tuple(draw(NAMES) for _ in range(n_channels)),
        times_s=times,
    )


def assert_same(found, image):
    assert found.axes == image.axes
    assert found.dtype == image.dtype
    np.testing.assert_array_equal(found, image)
    assert dict(found.spacing_um) == dict(image.spacing_um)
    assert found.channels == image.channels
    assert (found.times_s is None) == (image.times_s is None)
    if image.times_s is not None:
        np.testing.assert_array_equal(found.times_s, image.times_s)


FEW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@FEW
@given(image=images(ZARR_TYPES))
def test_ome_zarr_is_exact(image):
    with tempfile.TemporaryDirectory() as folder:
        path = aequorea.save(image, Path(folder) / "a.ome.zarr")
        assert_same(aequorea.open(path), image)


@FEW
@given(image=images(TIFF_TYPES))
def test_ome_tiff_is_exact(image):
    with tempfile.TemporaryDirectory() as folder:
        path = aequorea.save(image, Path(folder) / "a.ome.tif")
        assert_same(aequorea.open(path), image)


def test_tifffile_reads_our_ome_tiff_alike(tmp_path):
    image = Image(
        data=np.arange(2 * 3 * 4 * 9 * 8, dtype="u2").reshape(2, 3, 4, 9, 8),
        axes="tczyx",
        spacing_um={"z": 0.5, "y": 0.1, "x": 0.1},
    )
    path = aequorea.save(image, tmp_path / "a.ome.tif")
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert not file.is_bigtiff
        assert file.series[0].axes == "TCZYX"
        np.testing.assert_array_equal(file.asarray(), image)
        attributes = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert (attributes["PhysicalSizeZ"], attributes["PhysicalSizeZUnit"]) == (0.5, "µm")


def test_nothing_is_said_about_an_uncalibrated_axis(tmp_path):
    image = Image(data=np.zeros((4, 4), "u1"), axes="yx", spacing_um={"y": 0.1})
    tiff = aequorea.save(image, tmp_path / "a.ome.tif")
    assert b"PhysicalSizeX" not in tiff.read_bytes()
    assert b"PhysicalSizeY" in tiff.read_bytes()
    assert b"DeltaT" not in tiff.read_bytes()


def test_planes_stream(tmp_path):
    asked = []

    class Lazy:
        shape, dtype = (2, 3, 16, 16), np.dtype(">u2")

        def __getitem__(self, index):
            asked.append(index[:2])
            return np.full((16, 16), 10 * index[0] + index[1], self.dtype)

    image = Image(data=Lazy(), axes="tcyx")
    found = aequorea.open(aequorea.save(image, tmp_path / "a.ome.tif"))
    assert asked == [(t, c) for t in range(2) for c in range(3)]
    assert found.dtype == np.dtype("=u2")
    assert found[1, 2, 0, 0] == 12


def test_large_images_become_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr("aequorea.io.ome_tiff._CLASSIC_BYTES", 100)
    image = Image(data=np.arange(400, dtype="u2").reshape(20, 20), axes="yx")
    path = aequorea.save(image, tmp_path / "a.ome.tif")
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff
    np.testing.assert_array_equal(aequorea.open(path), image)


def test_the_same_image_gives_the_same_bytes(tmp_path):
    image = Image(data=np.arange(400, dtype="u2").reshape(20, 20), axes="yx")
    for kind in ("ome.tif", "ome.zarr"):
        one, two = (aequorea.save(image, tmp_path / f"{k}.{kind}") for k in "ab")
        files = [one], [two]
        if one.is_dir():
            files = tuple(sorted(p for p in d.rglob("*") if p.is_file()) for d in (one, two))
        assert [p.read_bytes() for p in files[0]] == [p.read_bytes() for p in files[1]]


@pytest.mark.parametrize("dtype", ["u8", "i8", "f2"])
def test_what_ome_tiff_cannot_hold_is_refused(tmp_path, dtype):
    with pytest.raises(InputError, match=r"OME-TIFF cannot hold .*\.ome\.zarr"):
        aequorea.save(Image(data=np.zeros((4, 4), dtype), axes="yx"), tmp_path / "a.ome.tif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a\x00b", "\x07", "\ud800", "\uffff"])
def test_names_that_xml_cannot_hold_are_refused(tmp_path, name):
    image = Image(data=np.zeros((4, 4), "u1"), axes="yx", channels=(name,))
    with pytest.raises(InputError, match="OME-XML cannot"):
        aequorea.save(image, tmp_path / "a.ome.tif")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a", "a.npy"])
def test_endings_that_say_nothing_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"expected a name in \.ome\.zarr or \.ome\.tif"):
        aequorea.save(Image(data=np.zeros((4, 4)), axes="yx"), tmp_path / name)


def test_labels_do_not_go_into_ome_tiff(tmp_path):
    image = Image(data=np.zeros((4, 4), "u1"), axes="yx")
    with pytest.raises(InputError, match="no place for labels"):
        aequorea.save(image, tmp_path / "a.ome.tif", labels={"a": np.zeros((4, 4), int)})
