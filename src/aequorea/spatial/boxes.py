"""Boxes around labelled objects: where each of them is, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange
from scipy import ndimage

__all__ = ["Box", "box_around", "boxes_of", "grown_box", "union_box"]

Box = tuple[slice, ...]

_MOST_BOUNDS = 4_000_000  # planes times labels: 64 MB of bounds


def boxes_of(labels: npt.NDArray[np.integer[Any]]) -> dict[int, Box]:
    """Box around each object, by label."""
    largest = int(labels.max(initial=0))
    if labels.ndim in (2, 3) and len(labels) * largest < _MOST_BOUNDS and labels.size:
        solid = np.ascontiguousarray(labels if labels.ndim == 3 else labels[None])
        bounds = _bounds_by_plane(solid, largest)
        return {
            int(k) + 1: _box_of(bounds[:, k])[3 - labels.ndim :]
            for k in np.flatnonzero((bounds[..., 1] > 0).any(axis=0))
        }
    if largest < 1 << 16:
        found = ndimage.find_objects(labels)
        return {k: box for k, box in enumerate(found, start=1) if box is not None}
    # Labels too large for a table of them: numbered once per run of equal voxels.
    flat = labels.reshape(-1)
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    present, number = np.unique(flat[starts], return_inverse=True)
    first = int(present[0] == 0)
    runs = (number + (1 - first)).astype(np.int32)
    index = np.repeat(runs, np.diff(starts, append=flat.size)).reshape(labels.shape)
    found = ndimage.find_objects(index)
    return {int(k): box for k, box in zip(present[first:], found, strict=True) if box is not None}


def _box_of(bounds: npt.NDArray[np.int32]) -> Box:
    planes = np.flatnonzero(bounds[:, 1] > 0)
    there = bounds[planes]
    return (
        slice(int(planes[0]), int(planes[-1]) + 1),
        slice(int(there[:, 0].min()), int(there[:, 1].max())),
        slice(int(there[:, 2].min()), int(there[:, 3].max())),
    )


@njit(cache=True, nogil=True, parallel=True)
def _bounds_by_plane(labels: npt.NDArray[np.integer[Any]], largest: int) -> npt.NDArray[np.int32]:
    """Of each label in each plane: first row, row after the last, the same of columns."""
    depth, height, width = labels.shape
    bounds = np.zeros((depth, largest, 4), np.int32)
    for z in prange(depth):
        for y in range(height):
            before = 0
            for x in range(width + 1):
                label = labels[z, y, x] if x < width else 0
                if label == before:
                    continue
                if before > 0:
                    own = bounds[z, before - 1]
                    own[3] = max(own[3], x)
                if label > 0:
                    own = bounds[z, label - 1]
                    if own[1] == 0:
                        own[0], own[2] = y, x
                    own[1] = y + 1
                    own[2] = min(own[2], x)
                before = label
    return bounds


def union_box(a: Box, b: Box) -> Box:
    """The smallest box around two boxes."""
    return tuple(
        slice(min(s.start, t.start), max(s.stop, t.stop)) for s, t in zip(a, b, strict=True)
    )


def box_around(mask: npt.NDArray[np.bool_]) -> Box:
    """The smallest box that holds a mask, which is not empty."""
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    return tuple(box)


def grown_box(box: Box, shape: tuple[int, ...], margin: npt.NDArray[np.int64]) -> Box:
    """A box with a margin in voxels, as far as the image goes."""
    return tuple(
        slice(max(0, s.start - int(m)), min(length, s.stop + int(m)))
        for s, length, m in zip(box, shape, margin, strict=True)
    )
