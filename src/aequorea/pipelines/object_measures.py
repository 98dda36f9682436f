"""Objects of every stain and the distances between them, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from skimage import measure

from aequorea.colocalization.objects import OBJECT_COLUMNS, OBJECT_EXTRA_COLUMNS, object_table
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


def object_rows(
    labels_a: NDArray[Any],
    labels_b: NDArray[Any],
    regions: NDArray[Any] | None,
    names: tuple[str, str],
    axes: str,
    spacing_um: tuple[float, ...] | None,
) -> tuple[list[Row], Row]:
    """Every object of two stains with its region and centre, and the summary of the field.

    Parameters
    ----------
    labels_a, labels_b : ndarray of int
    regions : ndarray of int or None
        An object belongs to the region that holds most of it.
    names : tuple of str
    axes : str
        Names of the axes, for the columns ``centroid_<axis>_px`` and ``centroid_<axis>_um``.
    spacing_um : tuple of float or None
        Without it the columns in µm are NaN.
    """
    rows, summary = object_table(labels_a, labels_b, *names, spacing_um=spacing_um)
    homes = {
        name: _home_regions(labels, regions)
        for name, labels in zip(names, (labels_a, labels_b), strict=True)
    }
    flat = [{"region": homes[row["channel"]][row["object"]], **_flat(row, axes)} for row in rows]
    return flat, {k: np.nan if v is None else v for k, v in summary.items()}


def _home_regions(labels: NDArray[Any], regions: NDArray[Any] | None) -> dict[int, int]:
    """The region that holds most pixels of each object (the smallest of equals)."""
    if regions is None:
        return dict.fromkeys(range(1, int(labels.max(initial=0)) + 1), 0)
    inside = labels != 0
    pairs, counts = np.unique(
        np.stack([labels[inside], regions[inside]]).astype(np.int64), axis=1, return_counts=True
    )
    homes: dict[int, int] = {}
    for at in np.lexsort((-pairs[1], counts)):
        homes[int(pairs[0, at])] = int(pairs[1, at])
    return homes


def _flat(row: Row, axes: str) -> Row:
    """One column per coordinate instead of a tuple; NaN instead of nothing."""
    flat: Row = {}
    for key in (*OBJECT_COLUMNS, *OBJECT_EXTRA_COLUMNS):
        value = row[key]
        if key.startswith("centroid"):
            unit = "um" if key.endswith("um") else "px"
            values = (np.nan,) * len(axes) if value is None else value
            flat |= {
                f"centroid_{axis}_{unit}": float(v) for axis, v in zip(axes, values, strict=True)
            }
        else:
            flat[key] = np.nan if value is None else value
    return flat
