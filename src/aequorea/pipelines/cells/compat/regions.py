"""ROI label images: the whole plane, saved ones, bounding boxes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import InputError, OutputError
from aequorea.io import read_labels
from aequorea.pipelines.cells.compat.loading import same_shape
from aequorea.pipelines.cells.segmenting import checked_labels

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MOST_LABELS = 2**16 - 1


def create_full_image_roi_labels(shape_yx: Sequence[int]) -> NDArray[np.uint16]:
    """One ROI, label 1, that spans the plane.

    Raises
    ------
    InputError
        If the shape is not that of a plane with pixels.

    Examples
    --------
    >>> create_full_image_roi_labels((2, 3)).sum()
    np.uint64(6)
    """
    shape = tuple(int(n) for n in shape_yx)
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(f"shape_yx: expected (rows, columns), got {tuple(shape_yx)}")
    return np.ones(shape, np.uint16)


def save_roi_labels(path: str | os.PathLike[str], roi_labels_2d: NDArray[Any]) -> Path:
    """Save ROI labels as a 16-bit TIFF, making its folder; it appears whole or not at all.

    Raises
    ------
    InputError
        If they are no labels of a plane, or more than 65,535.
    OutputError
        If it cannot be written.
    """
    import tifffile

    from aequorea.io.atomic import replacing

    target = Path(path)
    rois = checked_labels(np.asarray(roi_labels_2d), "roi_labels_2d")
    if rois.ndim != 2 or rois.max(initial=0) > _MOST_LABELS:
        raise InputError(
            f"roi_labels_2d: expected a plane of labels up to {_MOST_LABELS}, got shape "
            f"{rois.shape}, labels up to {rois.max(initial=0)}"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target.parent}: cannot be made ({error.strerror})") from None
    with replacing(target, overwrite=True) as temporary:
        tifffile.imwrite(temporary, rois.astype(np.uint16), compression="zlib", software=False)
    return target


def load_roi_labels(path: str | os.PathLike[str]) -> NDArray[Any]:
    """ROI labels of a plane that were saved before.

    Raises
    ------
    FileMissingError
        If there are none.
    InputError
        If the file holds something else.
    """
    labels = np.squeeze(np.asarray(read_labels(path)))
    if labels.ndim != 2:
        raise InputError(f"{path}: expected ROI labels of a plane, found shape {labels.shape}")
    return labels


def try_load_roi_labels(path: str | os.PathLike[str]) -> NDArray[Any] | None:
    """Saved ROI labels, or ``None`` if there are none."""
    return load_roi_labels(path) if Path(path).exists() else None


def checked_rois(
    roi_labels: NDArray[Any], shape_yx: tuple[int, ...], *, process: bool = True
) -> NDArray[np.int32]:
    """ROI labels of the plane of the image; the whole image as ROI 1 where they are not used.

    Raises
    ------
    InputError, AxisMismatchError
        If they are no labels, none is drawn, or they are of another image.
    """
    if not process:
        return np.ones(shape_yx, np.int32)
    rois = checked_labels(np.asarray(roi_labels), "roi_labels_2d")
    if rois.ndim == 3 and len(rois) == 1:
        rois = rois[0]
    same_shape(np.empty(shape_yx, np.bool_), rois, "roi_labels_2d")
    if not rois.any():
        raise InputError("roi_labels_2d: no ROI is drawn (all 0); draw one, or use the whole image")
    return rois


def get_bbox_2d(mask: NDArray[Any]) -> tuple[slice, slice] | None:
    """Bounding box of a mask; ``None`` if it is empty.

    Examples
    --------
    >>> get_bbox_2d(np.array([[0, 0, 0], [0, 1, 1]]))
    (slice(1, 2, None), slice(1, 3, None))
    """
    rows, columns = (np.flatnonzero(np.asarray(mask).any(axis=1 - axis)) for axis in (0, 1))
    if not rows.size:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
