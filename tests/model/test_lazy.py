from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aequorea.model import ArrayView, LazyArray
from aequorea.model.lazy import full_index

SHAPE = (4, 5, 6)


class Counting:
    """A lazy array that remembers what was asked of it."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.asked = data, data.shape, data.dtype, []

    def __getitem__(self, index):
        self.asked.append(index)
        return self.data[index]


def basic_indices(size):
    slices = st.slices(size).filter(lambda s: s.step is None or s.step > 0)
    return st.one_of(st.integers(-size, size - 1), slices)


@given(outer=st.tuples(*map(basic_indices, SHAPE)), data=st.data())
def test_a_view_of_a_view_indexes_like_numpy(outer, data):
    pixels = np.arange(120).reshape(SHAPE)
    view = ArrayView(pixels, outer)
    expected = pixels[outer]
    assert view.shape == expected.shape
    np.testing.assert_array_equal(np.asarray(view), expected)
    if all(expected.shape):
        inner = data.draw(st.tuples(*map(basic_indices, expected.shape)))
        np.testing.assert_array_equal(view[inner], expected[inner])


def test_only_what_is_indexed_is_asked_of_the_base():
    base = Counting(np.arange(120).reshape(SHAPE))
    view = ArrayView(base, (slice(1, 4), 2, slice(None, None, 2)))
    assert base.asked == []
    assert view[0, 1] == base.data[1, 2, 2]
    assert base.asked == [(1, 2, 2)]


def test_numpy_arrays_are_lazy_arrays():
    assert isinstance(np.zeros(3), LazyArray)
    assert isinstance(ArrayView(np.zeros(3), (slice(None),)), LazyArray)


@pytest.mark.parametrize("bad", [[0, 1], np.array([True] * 4), 1.5, True, None, "0"])
def test_only_integers_and_slices_index(bad):
    with pytest.raises(IndexError, match="integers and slices"):
        full_index(bad, 1)


def test_wrong_indices_are_refused():
    with pytest.raises(IndexError, match="3 indices for an array of 2 axes"):
        full_index((0, 0, 0), 2)
    with pytest.raises(IndexError, match="out of range"):
        ArrayView(np.zeros(3), (3,))
    with pytest.raises(IndexError, match="positive steps"):
        ArrayView(np.zeros(3), (slice(None, None, -1),))


def test_ellipsis_stands_for_the_axes_between():
    assert full_index((0, ..., 1), 4) == (0, slice(None), slice(None), 1)
    assert full_index(..., 2) == (slice(None), slice(None))
    assert full_index((0, ..., 1), 2) == (0, 1)
