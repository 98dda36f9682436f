"""The pixels a run keeps: its channels as they came, its regions and objects as labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.io import write_ome_zarr
from aequorea.pipelines.colocalization.object_measures import object_labels
from aequorea.pipelines.kept_pixels import folder_name, smallest_unsigned, stacked_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.pipelines.colocalization.background import Subtracted
    from aequorea.pipelines.colocalization.parameters import ObjectParameters


def label_name(channel: str) -> str:
    """Name of the label image that holds the objects of a channel.

    Examples
    --------
    >>> label_name("5-FAM/pH 9.0")
    'objects_5-FAM_pH 9.0'
    """
    return "objects_" + folder_name(channel)


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
        labels["regions"] = smallest_unsigned(stains.regions)
    if with_objects:
        for channel, name in enumerate(stains.names):
            frames = [
                object_labels(pixels, parameters, channel=channel, frame=frame)[0]
                for frame in range(stains.n_frames)
            ]
            found = np.stack(frames) if "t" in stains.images[0].axes else frames[0]
            labels[label_name(name)] = smallest_unsigned(found)
    write_ome_zarr(stacked_image(stains.images, stains.names), path, labels=labels)
