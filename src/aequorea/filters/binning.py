"""A coarser grid to find large objects on, and their labels back on the fine one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from aequorea.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["bins_for", "mean_of_bins", "unbinned_labels"]


def bins_for(spacing_um: Sequence[float], grid_um: float) -> tuple[int, ...]:
    """How many voxels along each axis make a step of at most ``grid_um``, at least one.

    Examples
    --------
    >>> bins_for((0.3, 0.1, 0.1), 0.25)
    (1, 2, 2)
    """
    return tuple(max(1, int(grid_um / s + 1e-9)) for s in spacing_um)


def mean_of_bins(image: npt.NDArray[Any], bins: Sequence[int]) -> npt.NDArray[np.float32]:
    """Mean of blocks of voxels; the last ones of an axis may be narrower.

    Parameters
    ----------
    image : ndarray, shape (z, y, x)
    bins : sequence of int
        Voxels per block along each axis.

    Returns
    -------
    ndarray of float32
        Shape ⌈n/b⌉ along each axis.

    Raises
    ------
    InputError
        If the bins do not fit the image.

    Examples
    --------
    >>> mean_of_bins(np.array([[[1, 3, 8]]]), (1, 1, 2))
    array([[[2., 8.]]], dtype=float32)
    """
    if image.ndim != 3 or len(bins) != 3 or min(bins) < 1:
        raise InputError(f"bins: expected three whole numbers from 1 on, got {tuple(bins)}")
    if tuple(bins) == (1, 1, 1):
        return np.asarray(image, dtype=np.float32)
    shape = tuple(-(-n // b) for n, b in zip(image.shape, bins, strict=True))
    coarse = np.empty(shape, np.float32)
    _mean(np.ascontiguousarray(image), bins[0], bins[1], bins[2], coarse)
    return coarse


def unbinned_labels(
    labels: npt.NDArray[np.int32], bins: Sequence[int], shape: Sequence[int]
) -> npt.NDArray[np.int32]:
    """Labels of a coarse grid on the fine one, with outlines interpolated.

    Parameters
    ----------
    labels : ndarray of int32, shape (z, y, x)
        On the coarse grid.
    bins : sequence of int
    shape : sequence of int
        Of the fine grid.

    Returns
    -------
    ndarray of int32
        Each voxel has the label (or background) whose indicator, interpolated linearly between
        the centres of the blocks, is largest there.

    Examples
    --------
    >>> unbinned_labels(np.array([[[0, 2]]], np.int32), (1, 1, 2), (1, 1, 4))
    array([[[0, 0, 2, 2]]], dtype=int32)
    """
    if tuple(bins) == (1, 1, 1):
        return labels
    fine = np.empty(tuple(shape), np.int32)
    parts = [_between(n, b, coarse) for n, b, coarse in zip(shape, bins, labels.shape, strict=True)]
    lows, shares = [p[0] for p in parts], [p[1] for p in parts]
    _interpolated(labels, lows[0], lows[1], lows[2], shares[0], shares[1], shares[2], fine)
    return fine


def _between(
    n: int, bin_px: int, n_coarse: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """For each fine index the coarse one before it, and the share of the one after."""
    place = np.clip((np.arange(n) - (bin_px - 1) / 2) / bin_px, 0, n_coarse - 1)
    low = np.minimum(np.floor(place).astype(np.int64), max(n_coarse - 2, 0))
    return low, place - low


@njit(cache=True, nogil=True, parallel=True)
def _mean(image, bz, by, bx, coarse):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    depth, height, width = image.shape
    for row in prange(coarse.shape[0] * coarse.shape[1]):
        k, j = row // coarse.shape[1], row % coarse.shape[1]
        for i in range(coarse.shape[2]):
            total, n = 0.0, 0
            for z in range(k * bz, min(depth, (k + 1) * bz)):
                for y in range(j * by, min(height, (j + 1) * by)):
                    for x in range(i * bx, min(width, (i + 1) * bx)):
                        total += image[z, y, x]
                        n += 1
            coarse[k, j, i] = total / n


@njit(cache=True, nogil=True, parallel=True)
def _interpolated(  # type: ignore[no-untyped-def]  # noqa: ANN202
    labels,  # noqa: ANN001
    z_low,  # noqa: ANN001
    y_low,  # noqa: ANN001
    x_low,  # noqa: ANN001
    z_share,  # noqa: ANN001
    y_share,  # noqa: ANN001
    x_share,  # noqa: ANN001
    fine,  # noqa: ANN001
):
    height = fine.shape[1]
    z_last, y_last, x_last = labels.shape[0] - 1, labels.shape[1] - 1, labels.shape[2] - 1
    for row in prange(fine.shape[0] * height):
        z, y = row // height, row % height
        z0, y0 = z_low[z], y_low[y]
        z1, y1 = min(z0 + 1, z_last), min(y0 + 1, y_last)
        found = np.empty(8, np.int32)
        weight = np.empty(8, np.float64)
        for x in range(fine.shape[2]):
            x0 = x_low[x]
            x1 = min(x0 + 1, x_last)
            first = labels[z0, y0, x0]
            if (
                first == labels[z0, y0, x1]
                and first == labels[z0, y1, x0]
                and first == labels[z0, y1, x1]
                and first == labels[z1, y0, x0]
                and first == labels[z1, y0, x1]
                and first == labels[z1, y1, x0]
                and first == labels[z1, y1, x1]
            ):
                fine[z, y, x] = first
                continue
            n = 0
            for a in range(2):
                for b in range(2):
                    for c in range(2):
                        share = (
                            (z_share[z] if a else 1 - z_share[z])
                            * (y_share[y] if b else 1 - y_share[y])
                            * (x_share[x] if c else 1 - x_share[x])
                        )
                        here = labels[z1 if a else z0, y1 if b else y0, x1 if c else x0]
                        for m in range(n):
                            if found[m] == here:
                                weight[m] += share
                                break
                        else:
                            found[n] = here
                            weight[n] = share
                            n += 1
            best = 0
            for m in range(1, n):
                if weight[m] > weight[best]:
                    best = m
            fine[z, y, x] = found[best]
