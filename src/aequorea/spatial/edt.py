"""Exact Euclidean distance transform of anisotropic voxels, axis by axis.

Felzenszwalb & Huttenlocher (2012), doi:10.4086/toc.2012.v008a019.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["distances_from"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_BLOCK = 8  # columns side by side: one line of the processor's cache


def distances_from(landmark: BoolArray, spacing: FloatArray, *, signed: bool) -> FloatArray:
    """Distance of every voxel to a landmark; if signed, minus that to its outside within it."""
    outside = _root(_squared_distances(landmark, spacing))
    if not signed:
        return outside
    inside = _root(_squared_distances(~landmark, spacing))
    return np.where(landmark, -inside, outside) if landmark.any() else outside


def _root(squared: FloatArray) -> FloatArray:
    np.sqrt(squared, out=squared)
    squared[np.isinf(squared)] = np.nan
    return squared


def _squared_distances(landmark: BoolArray, spacing: FloatArray) -> FloatArray:
    """Squared distance to the nearest voxel of a landmark, axis by axis; infinite without one."""
    shape = landmark.shape
    squared: FloatArray = _along_rows(landmark.reshape(-1, shape[-1]), spacing[-1])
    for axis in range(landmark.ndim - 2, -1, -1):
        if shape[axis] > 1:
            outer, inner = int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
            _along_columns(squared.reshape(outer, shape[axis], inner), spacing[axis])
    return squared.reshape(shape)


@njit(cache=True, nogil=True)
def _along_rows(mask, step):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Squared distance to the nearest True of the same row."""
    rows, n = mask.shape
    squared = np.empty((rows, n))
    for r in range(rows):
        last = -1
        for x in range(n):
            if mask[r, x]:
                last = x
            squared[r, x] = ((x - last) * step) ** 2 if last >= 0 else np.inf
        last = -1
        for x in range(n - 1, -1, -1):
            if mask[r, x]:
                last = x
            elif last >= 0:
                squared[r, x] = min(squared[r, x], ((last - x) * step) ** 2)
    return squared


@njit(cache=True, nogil=True)
def _along_columns(squared, step):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Add one axis to squared distances, in place: the lower envelope of a parabola per voxel."""
    outer, n, inner = squared.shape
    block = np.empty((_BLOCK, n))
    height = np.empty(n)
    site, start = np.empty(n, np.int64), np.empty(n + 1)
    unit = step * step
    for o in range(outer):
        for first in range(0, inner, _BLOCK):
            width = min(_BLOCK, inner - first)
            for p in range(n):
                for c in range(width):
                    block[c, p] = squared[o, p, first + c]
            for c in range(width):
                last = -1
                for p in range(n):
                    f = block[c, p]
                    if f == np.inf:
                        continue
                    while last >= 0:
                        q = site[last]
                        crossing = ((f - height[last]) / unit + p * p - q * q) / (2 * (p - q))
                        if crossing > start[last]:
                            break
                        last -= 1
                    last += 1
                    site[last], height[last] = p, f
                    start[last] = -np.inf if last == 0 else crossing
                if last < 0:
                    continue
                k = 0
                for p in range(n):
                    while k < last and start[k + 1] < p:
                        k += 1
                    block[c, p] = height[k] + ((p - site[k]) * step) ** 2
            for p in range(n):
                for c in range(width):
                    squared[o, p, first + c] = block[c, p]
