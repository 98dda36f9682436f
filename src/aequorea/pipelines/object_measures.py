"""Objects of every stain and the distances between them, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from skimage import measure

from aequorea.colocalization.thresholds import auto_threshold
from aequorea.pipelines.stains import per_channel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aequorea.pipelines.colocalization_parameters import ObjectParameters
    from aequorea.pipelines.stains import Subtracted

Row = dict[str, Any]


def object_labels(
    pixels: Subtracted, parameters: ObjectParameters, *, channel: int, frame: int
) -> tuple[NDArray[np.int32], float]:
    """The objects of one stain at one time, and the threshold they are brighter than.

    Parameters
    ----------
    pixels : Subtracted
    parameters : ObjectParameters
    channel, frame : int

    Returns
    -------
    labels : ndarray of int32
        Objects lie inside the regions; 0 everywhere if there is no threshold.
    threshold : float
        NaN where the method finds none (a constant channel).
    """
    image = pixels.pixels(channel, frame)
    regions = pixels.stains.regions_at(frame)
    inside = None if regions is None else regions != 0
    if parameters.object_threshold == "manual":
        values = parameters.object_threshold_value or ()
        given = per_channel(values, pixels.stains.names, flag="--object-threshold-value")
        threshold = given[channel]
    else:
        threshold = auto_threshold(image, parameters.object_threshold, inside)
    if not np.isfinite(threshold):
        return np.zeros(image.shape, np.int32), threshold
    bright = image > threshold
    if inside is not None:
        bright &= inside
    return components(bright, parameters.min_object_size), threshold


def components(bright: NDArray[np.bool_], min_size_px: int) -> NDArray[np.int32]:
    """Connected components, corners included, of at least a size, numbered from 1.

    Examples
    --------
    >>> components(np.array([[1, 0, 0, 1], [1, 0, 0, 0]], bool), 2).tolist()
    [[1, 0, 0, 0], [1, 0, 0, 0]]
    """
    labels = np.asarray(measure.label(bright), np.int32)
    kept = np.bincount(labels.ravel()) >= max(1, min_size_px)
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return np.asarray(numbers[labels])
