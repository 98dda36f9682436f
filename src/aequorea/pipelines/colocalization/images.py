"""The pixels a run keeps: its channels as they came, its regions and objects as labels."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.io import write_ome_zarr
from aequorea.model.lazy import full_index
from aequorea.pipelines.colocalization.object_measures import object_labels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.model import Image
    from aequorea.pipelines.colocalization.background import Subtracted
    from aequorea.pipelines.colocalization.parameters import ObjectParameters
    from aequorea.pipelines.colocalization.stains import Stains


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


def stacked_image(stains: Stains) -> Image:
    """All channels that were compared, as one image."""
    first = stains.images[0]
    axis = 1 if "t" in first.axes else 0
    axes = first.axes[:axis] + "c" + first.axes[axis:]
    data = StackedChannels(stains.images, axis)
    return replace(first, data=data, axes=axes, channels=stains.names, metadata={})


def label_name(channel: str) -> str:
    """Name of the label image that holds the objects of a channel.

    Examples
    --------
    >>> label_name("5-FAM/pH 9.0")
    'objects_5-FAM_pH 9.0'
    """
    return "objects_" + re.sub(r"[^\w \-.,+()]", "_", channel)


def write_images(
    pixels: Subtracted, parameters: ObjectParameters, path: Path, *, with_objects: bool
) -> None:
    """Write channels, ``regions`` and ``objects_<channel>`` as OME-Zarr.

    Parameters
    ----------
    pixels : Subtracted
        The channels are written as they came; objects are found after subtraction.
    parameters : ObjectParameters
    path : Path
    with_objects : bool
    """
    stains = pixels.stains
    labels: dict[str, NDArray[Any]] = {}
    if stains.regions is not None:
        labels["regions"] = _unsigned(stains.regions)
    if with_objects:
        for channel, name in enumerate(stains.names):
            frames = [
                object_labels(pixels, parameters, channel=channel, frame=frame)[0]
                for frame in range(stains.n_frames)
            ]
            found = np.stack(frames) if "t" in stains.images[0].axes else frames[0]
            labels[label_name(name)] = _unsigned(found)
    write_ome_zarr(stacked_image(stains), path, labels=labels)


def _unsigned(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels in the smallest usual type that holds them."""
    largest = int(labels.max()) if labels.size else 0
    dtype = next(
        t for t in (np.uint8, np.uint16, np.uint32, np.uint64) if largest <= np.iinfo(t).max
    )
    return labels.astype(dtype)
