"""Label images as every measurement takes them: objects counted 1 to n, three axes, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from aequorea.errors import AxisMismatchError, CalibrationError, InputError

__all__ = ["LabelIndex", "Spacing", "check_labels", "present_labels", "spacing_zyx"]

IntArray = npt.NDArray[np.int64]
Spacing = Mapping[str, float | None] | Sequence[float | None]


@dataclass(frozen=True, eq=False)
class LabelIndex:
    """Objects of a label image, renumbered 1 to n in the order of their labels.

    Attributes
    ----------
    index : ndarray of int32, shape (z, y, x)
        0 background, ``k`` the k-th object; 2D images have one plane.
    labels : ndarray of int64, shape (n,)
        Label of each object, ascending.
    is_stack : bool
        Whether the image has more than one plane.
    """

    index: npt.NDArray[np.int32]
    labels: IntArray
    is_stack: bool

    @classmethod
    def of(cls, labels: npt.ArrayLike, name: str = "labels") -> LabelIndex:
        """Check and renumber a label image of shape (y, x) or (z, y, x).

        Raises
        ------
        InputError
            If it is empty, not of integers, or has negative labels.
        AxisMismatchError
            If it has neither two nor three axes.
        """
        array = check_labels(labels, name)
        if array.ndim not in (2, 3):
            raise AxisMismatchError(
                f"{name}: expected shape (y, x) or (z, y, x), found {array.shape}; "
                "give one image or one stack"
            )
        planes = array.reshape((-1, *array.shape[-2:]))
        present, index = _renumbered(planes)
        return cls(index, present, planes.shape[0] > 1)

    @property
    def n(self) -> int:
        """Number of objects."""
        return len(self.labels)

    def sizes(self) -> IntArray:
        """Voxels of each object."""
        counts: IntArray = _run_counts(self.index.reshape(-1), self.n)
        return counts


def check_labels(labels: npt.ArrayLike, name: str = "labels") -> npt.NDArray[np.integer[Any]]:
    """``labels`` as a native, non-empty array of integers >= 0 (0 is background).

    Raises
    ------
    InputError
        If it is empty, not of integers, or a label is negative or beyond 2**63 - 1.

    Examples
    --------
    >>> import numpy as np
    >>> check_labels(np.zeros((1, 2), dtype=">u2")).dtype
    dtype('uint16')
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "ui":
        raise InputError(
            f"{name}: expected integer labels, found dtype {array.dtype}; "
            "label the objects first or convert to integers"
        )
    if array.ndim == 0 or array.size == 0:
        raise InputError(
            f"{name}: expected a label image with pixels, found shape {array.shape}; "
            "check how it was cropped"
        )
    if array.dtype.kind == "i" and array.min() < 0:
        raise InputError(
            f"{name}: expected labels of at least 0, found {array.min()}; relabel the image"
        )
    if array.dtype.kind == "u" and array.dtype.itemsize == 8:
        if int(array.max()) > np.iinfo(np.int64).max:
            raise InputError(
                f"{name}: expected labels below 2**63, found {array.max()}; relabel the image"
            )
        array = array.astype(np.int64)
    native: npt.NDArray[np.integer[Any]] = np.ascontiguousarray(
        array, dtype=array.dtype.newbyteorder("=")
    )
    return native


def present_labels(labels: npt.ArrayLike) -> IntArray:
    """Labels of the objects of an image, ascending: the order of every per-object array.

    Parameters
    ----------
    labels : array_like of int, shape (y, x) or (z, y, x)

    Returns
    -------
    ndarray of int64

    Raises
    ------
    InputError
        If it is not a label image.

    Examples
    --------
    >>> present_labels([[0, 7], [3, 7]])
    array([3, 7])
    """
    return LabelIndex.of(labels).labels


def spacing_zyx(spacing_um: Spacing | None, *, is_stack: bool) -> tuple[float, float, float] | None:
    """Distance between pixel centres along z, y and x, µm; None if it is not known.

    Parameters
    ----------
    spacing_um : sequence of two (y, x) or three (z, y, x) values, mapping with these keys, None
        Without a stack z may be missing and is NaN in the result.
    is_stack : bool

    Raises
    ------
    CalibrationError
        If only some of the values needed are known, or one is not positive.

    Examples
    --------
    >>> spacing_zyx((0.5, 0.1, 0.1), is_stack=True)
    (0.5, 0.1, 0.1)
    >>> spacing_zyx({"y": 0.2, "x": 0.2}, is_stack=False)
    (nan, 0.2, 0.2)
    """
    if spacing_um is None:
        return None
    if isinstance(spacing_um, Mapping):
        values = [spacing_um.get(axis) for axis in "zyx"]
    else:
        values = [None, *spacing_um] if len(spacing_um) == 2 else list(spacing_um)
    sizes = [np.nan if value is None else float(value) for value in values]
    needed = sizes if is_stack else sizes[1:]
    unknown_z = not is_stack and len(sizes) == 3 and np.isnan(sizes[0])
    if len(sizes) != 3 or not all(
        np.isfinite(size) and size > 0 for size in (needed if unknown_z else sizes)
    ):
        axes = "z, y and x" if is_stack else "y and x"
        raise CalibrationError(
            f"spacing_um: expected the positive pixel size of {axes}"
            f" in µm, found {spacing_um!r}; give every axis, or None if it is not known"
        )
    return sizes[0], sizes[1], sizes[2]


def _renumbered(
    labels: npt.NDArray[np.integer[Any]],
) -> tuple[IntArray, npt.NDArray[np.int32]]:
    """Labels present, ascending, and the image with the k-th of them replaced by k + 1."""
    flat = labels.reshape(-1)
    largest = int(flat.max())
    if largest <= 4 * flat.size:
        seen = _seen(flat, largest)
        present = np.flatnonzero(seen)
        number = np.zeros(largest + 1, dtype=np.int32)
        number[present] = np.arange(1, len(present) + 1, dtype=np.int32)
        return present, _looked_up(flat, number).reshape(labels.shape)
    # Labels too large for a table of them: sorted once per run of equal pixels.
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    values, inverse = np.unique(flat[starts], return_inverse=True)
    first = 1 if values[0] == 0 else 0
    numbers = (inverse + (1 - first)).astype(np.int32)
    lengths = np.diff(starts, append=flat.size)
    return values[first:].astype(np.int64), np.repeat(numbers, lengths).reshape(labels.shape)


@njit(cache=True, nogil=True)
def _seen(flat, largest):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Which labels above 0 occur."""
    seen = np.zeros(largest + 1, np.bool_)
    last = np.int64(-1)
    for p in range(flat.size):
        label = np.int64(flat[p])
        if label != last:
            seen[label] = True
            last = label
    seen[0] = False
    return seen


@njit(cache=True, nogil=True)
def _looked_up(flat, number):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    index = np.empty(flat.size, np.int32)
    for p in range(flat.size):
        index[p] = number[flat[p]]
    return index


@njit(cache=True, nogil=True)
def _run_counts(index, n):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Voxels of each object, added up per run of equal voxels."""
    counts = np.zeros(n + 1, np.int64)
    start, current = 0, index[0]
    for p in range(1, index.size):
        if index[p] != current:
            counts[current] += p - start
            start, current = p, index[p]
    counts[current] += index.size - start
    return counts[1:]
