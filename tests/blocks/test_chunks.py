import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aequorea.blocks import chunk_shape, iter_chunks
from aequorea.errors import InputError

shapes = st.lists(st.integers(1, 7), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(shapes, st.integers(1, 500))
def test_slabs_hold_no_more_than_asked(shape, room):
    chunk = chunk_shape(shape, room)
    assert np.prod(chunk) <= room
    assert all(1 <= c <= n for c, n in zip(chunk, shape, strict=True))


@settings(max_examples=60, deadline=None)
@given(shapes, st.integers(1, 60))
def test_pieces_cover_every_pixel_once(shape, room):
    seen = np.zeros(shape, int)
    for index in iter_chunks(shape, chunk_shape(shape, room)):
        seen[index] += 1
    assert (seen == 1).all()


def test_no_room():
    with pytest.raises(InputError, match="room for 1 pixel"):
        chunk_shape((4, 4), 0)
