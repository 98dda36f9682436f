from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aequorea.io.planes import ArrangedArray, PlaneArray


class Planes:
    def __init__(self, pixels):
        self.pixels = pixels.reshape(-1, *pixels.shape[-2:])
        self.read = []

    def __call__(self, numbers):
        for n in numbers:
            self.read.append(n)
            yield self.pixels[n]


def indices(shape):
    def one(n):
        slices = st.slices(n).filter(lambda s: s.step is None or s.step > 0)
        return st.one_of(st.integers(-n, n - 1), slices)

    return st.tuples(*map(one, shape))


@given(st.data())
def test_planes_index_like_numpy(data):
    shape = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=5).map(tuple))
    pixels = np.arange(np.prod(shape)).reshape(shape)
    lazy = PlaneArray(shape, pixels.dtype, 2, Planes(pixels))
    index = data.draw(indices(shape))
    np.testing.assert_array_equal(lazy[index], pixels[index])
    assert lazy[index].shape == pixels[index].shape


def test_only_the_planes_that_are_indexed_are_read():
    pixels = np.arange(3 * 4 * 5 * 6).reshape(3, 4, 5, 6)
    source = Planes(pixels)
    lazy = PlaneArray(pixels.shape, pixels.dtype, 2, source)
    assert source.read == []
    lazy[2, 1:3, 0]
    assert source.read == [9, 10]
    lazy[0:0]
    assert source.read == [9, 10]
    with pytest.raises(IndexError):
        lazy[3]
    with pytest.raises(IndexError, match="positive steps"):
        lazy[::-1]


@given(st.data())
def test_arranged_axes_index_like_a_transposed_array(data):
    shape = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple))
    order = data.draw(st.permutations(range(len(shape))))
    dropped = [k for k in order if shape[k] == 1 and data.draw(st.booleans())]
    order = [k for k in order if k not in dropped]
    pixels = np.arange(np.prod(shape), dtype=">i4").reshape(shape)
    expected = pixels.transpose([*dropped, *order])[(0,) * len(dropped)]
    lazy = ArrangedArray(pixels, order)
    assert lazy.shape == expected.shape
    index = data.draw(indices(lazy.shape))
    np.testing.assert_array_equal(lazy[index], expected[index])
    assert lazy[index].shape == expected[index].shape
    assert lazy.dtype.isnative
    assert np.asarray(lazy[index]).dtype.isnative


def test_axes_that_are_not_trivial_are_not_dropped():
    with pytest.raises(IndexError, match="not all of size 1"):
        ArrangedArray(np.zeros((2, 3)), (1,))
