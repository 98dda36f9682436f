"""The pixels a run keeps: channels as one lazy image, labels in the smallest fitting type."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.model.lazy import full_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aequorea.model import Image


class StackedChannels:
    """Single-channel images as one lazy array with a channel axis."""

    def __init__(self, images: Sequence[Image], axis: int) -> None:
        self._images = tuple(images)
        self._axis = axis
        shape = list(images[0].shape)
        shape.insert(axis, len(images))
        self.shape = tuple(shape)
        self.dtype = np.result_type(*(i.dtype for i in images))

    def __getitem__(self, index: Any) -> NDArray[Any]:
        items = full_index(index, len(self.shape))
        chosen, rest = items[self._axis], items[: self._axis] + items[self._axis + 1 :]
        if isinstance(chosen, int):
            return self._images[chosen][rest].astype(self.dtype, copy=False)
        parts = [self._images[k][rest] for k in range(len(self._images))[chosen]]
        at = sum(isinstance(item, slice) for item in items[: self._axis])
        return np.stack(parts, axis=at).astype(self.dtype, copy=False)


def stacked_image(images: Sequence[Image], names: Sequence[str]) -> Image:
    """Single-channel images on one grid as one image with channels."""
    first = images[0]
    axis = 1 if "t" in first.axes else 0
    axes = first.axes[:axis] + "c" + first.axes[axis:]
    data = StackedChannels(images, axis)
    return replace(first, data=data, axes=axes, channels=tuple(names), metadata={})


def folder_name(text: str) -> str:
    """Text as the name of a label image, whatever signs it has.

    Examples
    --------
    >>> folder_name("5-FAM/pH 9.0")
    '5-FAM_pH 9.0'
    """
    return re.sub(r"[^\w \-.,+()]", "_", text)


def smallest_unsigned(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels in the smallest usual type that holds them: themselves if that is theirs."""
    largest = int(labels.max()) if labels.size else 0
    dtype = next(
        t for t in (np.uint8, np.uint16, np.uint32, np.uint64) if largest <= np.iinfo(t).max
    )
    return labels.astype(dtype, copy=False)
