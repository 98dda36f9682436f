"""How an image is cut into pieces that fit a memory budget."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from aequorea.errors import AxisMismatchError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Slices = tuple[slice, ...]


def chunk_shape(shape: Sequence[int], max_pixels: int) -> tuple[int, ...]:
    """The largest slab of an image that holds at most ``max_pixels``.

    Trailing axes stay whole as long as they fit, so that pieces lie together on disk.

    Parameters
    ----------
    shape : sequence of int
    max_pixels : int

    Returns
    -------
    tuple of int

    Raises
    ------
    InputError
        If ``max_pixels`` is below 1.

    Examples
    --------
    >>> chunk_shape((10, 64, 64), 3 * 64 * 64)
    (3, 64, 64)
    >>> chunk_shape((10, 64, 64), 1000)
    (1, 15, 64)
    """
    if max_pixels < 1:
        raise InputError(f"a chunk needs room for 1 pixel or more, got {max_pixels}")
    chunk = [1] * len(shape)
    room = max_pixels
    for axis in range(len(shape) - 1, -1, -1):
        chunk[axis] = max(1, min(int(shape[axis]), room))
        if chunk[axis] < shape[axis]:
            break
        room //= chunk[axis]
    return tuple(chunk)


def iter_chunks(shape: Sequence[int], chunk: Sequence[int]) -> Iterator[Slices]:
    """Slices that cover an image of ``shape``, each pixel once, in C order.

    Parameters
    ----------
    shape, chunk : sequence of int

    Yields
    ------
    tuple of slice

    Raises
    ------
    AxisMismatchError
        If ``chunk`` has another number of axes or is not positive.

    Examples
    --------
    >>> [s[0].stop - s[0].start for s in iter_chunks((5,), (2,))]
    [2, 2, 1]
    """
    if len(chunk) != len(shape) or min(chunk, default=1) < 1:
        raise AxisMismatchError(
            f"chunk {tuple(chunk)} does not fit an image of shape {tuple(shape)}; "
            "give one positive size per axis"
        )
    spans = (
        [slice(start, min(start + step, size)) for start in range(0, size, step)]
        for size, step in zip(shape, chunk, strict=True)
    )
    yield from product(*spans)
