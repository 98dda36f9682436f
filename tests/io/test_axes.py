from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import AequoreaWarning, AxisMismatchError, FileFormatError
from aequorea.io.axes import arrange


def pixels(*shape):
    return np.arange(np.prod(shape)).reshape(shape)


@pytest.mark.parametrize(
    ("letters", "shape", "axes"),
    [
        ("tzcyx", (2, 3, 4, 5, 6), "tczyx"),
        ("yxc", (5, 6, 3), "cyx"),
        ("tzcyx", (1, 3, 1, 5, 6), "zyx"),
        ("yx", (1, 6), "yx"),
        ("yx", (1, 1), "yx"),
        ("ctyxc", (1, 2, 5, 6, 3), "tcyx"),
        ("?zyx", (1, 3, 5, 6), "zyx"),
    ],
)
def test_axes_are_put_in_order_and_trivial_ones_left_out(letters, shape, axes):
    data, found = arrange(pixels(*shape), letters, path="a.tif")
    assert found == axes
    sizes = {a: n for a, n in zip(letters, shape, strict=True) if n > 1 or a in "yx"}
    assert data.shape == tuple(sizes[a] for a in axes)


def test_one_unknown_axis_is_time_and_said_so():
    with pytest.warns(AequoreaWarning, match=r"a\.tif: .* taken as time .* axes='zyx'"):
        _, found = arrange(pixels(4, 5, 6), "?yx", path="a.tif")
    assert found == "tyx"
    with pytest.warns(AequoreaWarning):
        assert arrange(pixels(1, 4, 3, 5, 6), "t?zyx", path="a.tif")[1] == "tzyx"


@pytest.mark.parametrize("letters", ["??yx", "tt??", "t?yx", "????", "zzyx", "!zyx", "?!yx"])
def test_several_unknown_axes_are_an_error_that_names_the_remedy(letters):
    with pytest.raises(AxisMismatchError, match=r"a\.tif: .*\(2, 3, 5, 6\).*give axes="):
        arrange(pixels(2, 3, 5, 6), letters, path="a.tif")


def test_the_user_has_the_last_word():
    _, found = arrange(pixels(4, 5, 6), "tyx", path="a.tif", axes="ZYX")
    assert found == "zyx"
    _, found = arrange(pixels(1, 4, 1, 5, 6), "tzcyx", path="a.tif", axes="cyx")
    assert found == "cyx"
    data, found = arrange(pixels(5, 6, 3), "???", path="a.tif", axes="yxc")
    np.testing.assert_array_equal(data, np.moveaxis(pixels(5, 6, 3), -1, 0))


@pytest.mark.parametrize("axes", ["yx", "tzyx", "zzyx", "zxw", "zcx", ""])
def test_axes_that_cannot_be_are_refused(axes):
    with pytest.raises(AxisMismatchError):
        arrange(pixels(4, 5, 6), "zyx", path="a.tif", axes=axes)


@pytest.mark.parametrize("dtype", [complex, "S3", "datetime64[s]", object])
def test_pixels_that_are_not_real_numbers_are_refused(dtype):
    with pytest.raises(FileFormatError, match=r"a\.tif: pixels of type"):
        arrange(np.zeros((4, 4), dtype), "yx", path="a.tif")


def test_empty_axes_are_refused():
    with pytest.raises(FileFormatError, match="size 0"):
        arrange(np.zeros((0, 4, 4)), "zyx", path="a.tif")
