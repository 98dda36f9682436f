"""Pixels that stay in their file until they are asked for, plane by plane."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.model.lazy import BasicIndex, LazyArray, full_index

if TYPE_CHECKING:
    from numpy.typing import NDArray

PlaneSource = Callable[[Sequence[int]], Generator[Any, None, None]]


class PlaneArray:
    """A lazy array whose unit of reading is one plane (the last axes).

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    plane_ndim : int
        How many of the last axes make one plane.
    source : callable
        Takes plane numbers (C order over the leading axes) and yields those planes in that
        order, each an array of the plane's shape or something that reads when indexed like
        one. A generator: it opens what it needs and closes it again.

    Examples
    --------
    >>> import numpy as np
    >>> movie = np.arange(24).reshape(4, 2, 3)
    >>> lazy = PlaneArray((4, 2, 3), movie.dtype, 2, lambda numbers: (movie[n] for n in numbers))
    >>> lazy[1:3, 0]
    array([[ 6,  7,  8],
           [12, 13, 14]])
    """

    def __init__(
        self, shape: Sequence[int], dtype: Any, plane_ndim: int, source: PlaneSource
    ) -> None:
        self._shape = tuple(int(n) for n in shape)
        self._dtype: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
        self._plane_ndim = plane_ndim
        self._source = source

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each axis."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one pixel, in the byte order of this machine."""
        return self._dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._shape)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        items = full_index(index, self.ndim)
        lead_ndim = self.ndim - self._plane_ndim
        lead = [_members(i, n) for i, n in zip(items[:lead_ndim], self._shape, strict=False)]
        inner = tuple(
            _positive(i, n) for i, n in zip(items[lead_ndim:], self._shape[lead_ndim:], strict=True)
        )
        plane_shape = self._shape[lead_ndim:]
        part = tuple(
            len(range(*i.indices(n)))
            for i, n in zip(inner, plane_shape, strict=True)
            if isinstance(i, slice)
        )
        numbers = _plane_numbers(lead, self._shape[:lead_ndim])
        pixels = np.empty((len(numbers), *part), self._dtype)
        if pixels.size:
            # closed at once also when a plane fails, so that no file waits for the collector
            with closing(self._source(numbers)) as planes:
                for k, plane in enumerate(planes):
                    pixels[k] = plane[inner]
        kept = [
            len(m) for m, i in zip(lead, items[:lead_ndim], strict=True) if isinstance(i, slice)
        ]
        return pixels.reshape((*kept, *part))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[()], dtype=dtype, copy=None if copy is False else copy)


class ArrangedArray:
    """A lazy array with its axes in another order and trivial axes left out.

    Parameters
    ----------
    base : LazyArray
    order : sequence of int
        For each axis here, the axis of ``base``. Those not named must have size 1.

    Examples
    --------
    >>> import numpy as np
    >>> ArrangedArray(np.zeros((1, 5, 6, 3)), (3, 1, 2)).shape
    (3, 5, 6)
    """

    def __init__(self, base: LazyArray, order: Sequence[int]) -> None:
        left_out = [k for k in range(len(base.shape)) if k not in order]
        if any(base.shape[k] != 1 for k in left_out):
            raise IndexError(f"axes {left_out} of {base.shape} are not all of size 1")
        self._base = base
        self._order = tuple(order)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each axis."""
        return tuple(int(self._base.shape[k]) for k in self._order)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one pixel."""
        native: np.dtype[Any] = np.dtype(self._base.dtype).newbyteorder("=")
        return native

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._order)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        items = full_index(index, self.ndim)
        asked: list[BasicIndex] = [0] * len(self._base.shape)
        for axis, item in zip(self._order, items, strict=True):
            asked[axis] = _positive(item, int(self._base.shape[axis]))
        pixels = np.asarray(self._base[tuple(asked)])
        in_base = sorted(k for k, i in zip(self._order, items, strict=True) if isinstance(i, slice))
        kept = [k for k, i in zip(self._order, items, strict=True) if isinstance(i, slice)]
        pixels = pixels.transpose([in_base.index(k) for k in kept])
        return np.asarray(pixels, dtype=self.dtype, order="C")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[()], dtype=dtype, copy=None if copy is False else copy)


def _positive(item: BasicIndex, size: int) -> BasicIndex:
    if isinstance(item, slice):
        if item.step is not None and item.step < 1:
            raise IndexError(f"lazy pixels take positive steps, not {item.step}")
        return item
    if not -size <= item < size:
        raise IndexError(f"index {item} is out of range for an axis of {size}")
    return item % size


def _members(item: BasicIndex, size: int) -> range:
    checked = _positive(item, size)
    if isinstance(checked, slice):
        return range(*checked.indices(size))
    return range(checked, checked + 1)


def _plane_numbers(members: Sequence[range], shape: Sequence[int]) -> list[int]:
    if not members:
        return [0]
    strides = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
    grids = np.ix_(*[np.asarray(m) * s for m, s in zip(members, strides, strict=True)])
    return [int(n) for n in np.asarray(sum(grids)).ravel()]
