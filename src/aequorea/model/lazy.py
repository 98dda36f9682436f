"""Array-likes that are read only when indexed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BasicIndex: TypeAlias = int | slice


@runtime_checkable
class LazyArray(Protocol):
    """What an image's pixels must offer: a shape, a dtype and basic indexing.

    NumPy, zarr and dask arrays fit as they are; readers bring their own.
    ``array[index]`` with a tuple of ints and slices (positive steps) returns
    something ``numpy.asarray`` accepts and touches only what was asked for.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one pixel."""

    def __getitem__(self, index: Any, /) -> Any:
        """The part of the array that ``index`` names."""


class ArrayView:
    """A part of a lazy array that is itself lazy.

    Parameters
    ----------
    base : LazyArray
    index : tuple of int or slice, one per axis of ``base``
        Integers drop their axis, as in NumPy. Steps must be positive.

    Examples
    --------
    >>> import numpy as np
    >>> view = ArrayView(np.arange(12).reshape(3, 4), (slice(1, 3), slice(None)))
    >>> view.shape
    (2, 4)
    >>> view[0, ::2]
    array([4, 6])
    """

    def __init__(self, base: LazyArray, index: tuple[BasicIndex, ...]) -> None:
        self._base = base
        self._index = tuple(
            _absolute(item, size) for item, size in zip(index, base.shape, strict=True)
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each remaining axis."""
        return tuple(len(i) for i in self._index if isinstance(i, range))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one pixel."""
        return np.dtype(self._base.dtype)

    @property
    def ndim(self) -> int:
        """Number of remaining axes."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        wanted = iter(full_index(index, self.ndim))
        composed = tuple(i if isinstance(i, int) else _pick(i, next(wanted)) for i in self._index)
        return np.asarray(self._base[composed])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[()], dtype=dtype, copy=None if copy is False else copy)


def full_index(index: Any, ndim: int) -> tuple[BasicIndex, ...]:
    """``index`` with an ellipsis and missing trailing axes written out.

    Raises
    ------
    IndexError
        If an item is neither an integer nor a slice, or there are too many.
    """
    items = index if isinstance(index, tuple) else (index,)
    if Ellipsis in [i for i in items if not isinstance(i, np.ndarray)]:
        at = items.index(Ellipsis)
        fill = ndim - (len(items) - 1)
        items = (*items[:at], *([slice(None)] * fill), *items[at + 1 :])
    if len(items) > ndim:
        raise IndexError(f"{len(items)} indices for an array of {ndim} axes")
    items = (*items, *([slice(None)] * (ndim - len(items))))
    return tuple(_basic(i) for i in items)


def _basic(item: Any) -> BasicIndex:
    if isinstance(item, slice):
        return item
    if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
        return int(item)
    raise IndexError(f"lazy pixels take integers and slices, not {item!r}; use numpy.asarray first")


def _absolute(item: BasicIndex, size: int) -> int | range:
    if isinstance(item, slice):
        start, stop, step = item.indices(size)
        if step < 1:
            raise IndexError(f"lazy pixels take positive steps, not {step}")
        return range(start, max(start, stop), step)
    if not -size <= item < size:
        raise IndexError(f"index {item} is out of range for an axis of {size}")
    return item % size


def _pick(span: range, item: BasicIndex) -> BasicIndex:
    chosen = _absolute(item, len(span))
    if isinstance(chosen, int):
        return span[chosen]
    part = span[chosen.start : chosen.stop : chosen.step]
    return slice(part.start, part.stop, part.step)
