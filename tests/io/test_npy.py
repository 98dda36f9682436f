from __future__ import annotations

import gc

import numpy as np
import pytest

import aequorea
from aequorea.errors import AxisMismatchError, FileFormatError, InputError


def saved(path, pixels):
    np.save(path, pixels)
    return path


@pytest.mark.parametrize("pixels", [np.arange(20.0).reshape(4, 5), np.zeros((1, 1, 4, 5), ">u2")])
def test_two_axes_are_y_and_x(tmp_path, pixels):
    image = aequorea.open(saved(tmp_path / "a.npy", pixels))
    assert image.axes == "yx"
    assert image.dtype.isnative
    np.testing.assert_array_equal(image, pixels.reshape(4, 5))


def test_more_axes_need_names(tmp_path):
    pixels = np.arange(60).reshape(3, 4, 5)
    path = saved(tmp_path / "a.npy", pixels)
    with pytest.raises(AxisMismatchError, match=r"a\.npy: .*\(3, 4, 5\).*axes=.*'zyx'"):
        aequorea.open(path)
    image = aequorea.open(path, axes="zyx", spacing_um={"z": 1.0, "y": 0.5, "x": 0.5})
    assert image.pixel_size_um() == (1.0, 0.5, 0.5)
    np.testing.assert_array_equal(image[1:, 2, ::2], pixels[1:, 2, ::2])
    assert aequorea.open(path, axes="yxc").shape == (5, 3, 4)


def test_arrays_of_an_npz_are_scenes(tmp_path):
    np.savez(tmp_path / "a.npz", red=np.ones((3, 4)), green=np.zeros((5, 6)))
    image = aequorea.open(tmp_path / "a.npz", scene="green")
    assert image.scenes == ("red", "green")
    assert image.shape == (5, 6)
    with pytest.raises(InputError, match="no scene 'blue'"):
        aequorea.open(tmp_path / "a.npz", scene="blue")


def test_pickles_are_never_loaded(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([[{}, 1]], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError):
        aequorea.open(path)
    np.savez(tmp_path / "a.npz", np.array([[{}, 1]], dtype=object))
    with pytest.raises(FileFormatError):
        aequorea.open(tmp_path / "a.npz")


def test_damage(tmp_path):
    path = saved(tmp_path / "a.npy", np.arange(2000.0).reshape(40, 50))
    whole = path.read_bytes()
    for size in (len(whole) - 8, 100, 20, 7):
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError, match=r"a\.npy: "):
            np.asarray(aequorea.open(path))
    for bad, match in [
        (np.zeros((0, 4)), "size 0"),
        (np.zeros(4), "at least y and x"),
        (np.zeros((4, 4), complex), "complex"),
    ]:
        with pytest.raises(FileFormatError, match=match):
            aequorea.open(saved(path, bad))
    np.savez(tmp_path / "a.npz", np.zeros((40, 50)))
    archive = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(archive[: len(archive) // 2])
    with pytest.raises(FileFormatError, match=r"a\.npz"):
        aequorea.open(tmp_path / "a.npz")


def test_the_map_is_let_go(tmp_path):
    path = saved(tmp_path / "a.npy", np.arange(20.0).reshape(4, 5))
    image = aequorea.open(path)
    part = image[1]
    part[0] = -1
    assert image[1, 0] == 5.0
    del image, part
    gc.collect()
