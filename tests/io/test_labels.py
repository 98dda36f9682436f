from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
import tifffile

import aequorea
from aequorea import Image
from aequorea.errors import AxisMismatchError, FileFormatError, FileMissingError
from aequorea.io import read_labels

LABELS = np.arange(20).reshape(4, 5)


def test_every_format(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", LABELS.astype("u2"))
    np.save(tmp_path / "a.npy", LABELS)
    np.savez(tmp_path / "a.npz", LABELS)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(LABELS.astype("u2")))
    image = Image(data=np.zeros((3, 4, 5)), axes="zyx")
    aequorea.save(image, tmp_path / "a.ome.zarr", labels={"cells": LABELS})
    names = ["a.tif", "a.npy", "a.npz", "a.png", "a.ome.zarr", "a.ome.zarr/labels/cells"]
    for name in names:
        found = read_labels(tmp_path / name, (4, 5))
        np.testing.assert_array_equal(found, LABELS)
        assert found.dtype.kind in "ui"


def test_stacks_need_no_axes_but_the_right_shape(tmp_path):
    stack = np.arange(60).reshape(3, 4, 5)
    np.save(tmp_path / "a.npy", stack)
    tifffile.imwrite(tmp_path / "a.tif", stack.astype("i4"), photometric="minisblack")
    for name in ("a.npy", "a.tif"):
        np.testing.assert_array_equal(read_labels(tmp_path / name), stack)
        assert read_labels(tmp_path / name, (1, 3, 4, 5)).shape == (1, 3, 4, 5)
        with pytest.raises(AxisMismatchError, match=r"shape \(3, 4, 5\); the image needs \(4, 5\)"):
            read_labels(tmp_path / name, (4, 5))


def test_whole_floats_and_masks_are_labels(tmp_path):
    np.save(tmp_path / "a.npy", LABELS.astype(float))
    assert read_labels(tmp_path / "a.npy").dtype == np.int64
    np.save(tmp_path / "a.npy", LABELS > 3)
    assert read_labels(tmp_path / "a.npy").max() == 1


@pytest.mark.parametrize("bad", [LABELS - 1, LABELS / 2, np.where(LABELS, np.nan, 0.0)])
def test_intensities_are_not_labels(tmp_path, bad):
    np.save(tmp_path / "a.npy", bad)
    with pytest.raises(FileFormatError, match=r"a\.npy: .*expected labels"):
        read_labels(tmp_path / "a.npy")


def test_colour_pictures_are_not_labels(tmp_path):
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.zeros((4, 5, 3), "u1")))
    with pytest.raises(FileFormatError, match="colour picture"):
        read_labels(tmp_path / "a.png")


def test_which_labels_must_be_clear(tmp_path):
    image = Image(data=np.zeros((4, 5)), axes="yx")
    path = aequorea.save(image, tmp_path / "a.zarr", labels={"a": LABELS, "b": LABELS})
    with pytest.raises(FileFormatError, match=r"labels/NAME \(a, b\)"):
        read_labels(path)
    with pytest.raises(FileMissingError):
        read_labels(tmp_path / "none.tif")


def test_real_masks(shared_data):
    path = shared_data("bian-nuclei/BBBC007/masks/A9_p5d_crop1.tif")
    assert tifffile.imread(path).dtype == np.float64
    labels = read_labels(path, (104, 102))
    assert labels.dtype == np.int64
    assert labels.max() > 0
