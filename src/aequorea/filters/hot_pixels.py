"""Voxels of a broken camera or a stray photon, told from spots by their lack of a halo."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from aequorea.errors import InputError

__all__ = ["repair_hot_pixels"]

# A point seen through a lens of SD 0.7 pixel has 0.36 of its peak in the next pixel, or more where
# it lies between two; noise can halve that, so a fifth is the limit.
_HALO = 0.2
_NOISE_SD = 8.0
_SAMPLED = 400_000


def repair_hot_pixels(image: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], int]:
    """Replace single bright voxels by the median of their eight neighbours in the plane.

    Parameters
    ----------
    image : ndarray, shape (y, x) or (z, y, x)
        Integers or floats.

    Returns
    -------
    repaired : ndarray
        The image itself if nothing had to be repaired.
    n : int
        Number of voxels replaced.

    Raises
    ------
    InputError
        If the image is neither 2D nor 3D.

    Notes
    -----
    A voxel is hot if it rises above the darkest of its neighbours by more than 8 SD of the noise
    and more than five times as far as the brightest of them: light that passed a lens does not do
    that where a pixel is no wider than 1.4 SD of the point-spread function. Two hot voxels side by
    side are left. The noise is that of the image (median absolute difference of neighbours).

    Examples
    --------
    >>> dark = np.zeros((5, 5), np.uint16)
    >>> dark[2, 2] = 900
    >>> repaired, n = repair_hot_pixels(dark)
    >>> int(repaired.max()), n
    (0, 1)
    """
    if image.ndim not in (2, 3):
        raise InputError(f"image: expected (y, x) or (z, y, x), found shape {image.shape}")
    volume = np.ascontiguousarray(image if image.ndim == 3 else image[None])
    if min(volume.shape[1:]) < 3:
        return image, 0
    found = _hot(volume, _NOISE_SD * noise_of(volume), _HALO)
    places = np.flatnonzero(found)
    if not len(places):
        return image, 0
    repaired = volume.copy()
    z, y, x = np.unravel_index(places, volume.shape)
    for place in zip(z, y, x, strict=True):
        repaired[place] = _median_beside(volume, place)
    return repaired.reshape(image.shape), len(places)


def noise_of(volume: npt.NDArray[Any]) -> float:
    """SD of the noise: of differences between neighbouring pixels along x, robustly."""
    step = max(1, volume.size // _SAMPLED)
    flat = volume.reshape(-1)
    here = np.arange(0, volume.size - 1, step)
    here = here[(here + 1) % volume.shape[-1] != 0]
    differences = np.abs(flat[here + 1].astype(np.float64) - flat[here].astype(np.float64))
    return float(np.median(differences)) / (0.6745 * np.sqrt(2)) if len(differences) else 0.0


def _median_beside(volume: npt.NDArray[Any], place: tuple[int, ...]) -> Any:
    z, y, x = place
    window = volume[z, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
    own = (min(y, 1), min(x, 1))
    return np.median(np.delete(window.ravel(), own[0] * window.shape[1] + own[1]))


@njit(cache=True, nogil=True, parallel=True)
def _hot(volume, least, halo):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    depth, height, width = volume.shape
    found = np.zeros(volume.shape, np.bool_)
    for row in prange(depth * height):
        z, y = row // height, row % height
        beside = np.empty(8, np.float64)
        for x in range(width):
            own = np.float64(volume[z, y, x])
            left = np.float64(volume[z, y, x - 1 if x else 1])
            if own - left <= least:
                continue
            n, highest = 0, -np.inf
            for j in range(max(0, y - 1), min(height, y + 2)):
                for i in range(max(0, x - 1), min(width, x + 2)):
                    if j != y or i != x:
                        beside[n] = volume[z, j, i]
                        highest = max(highest, beside[n])
                        n += 1
            if own <= highest:
                continue
            lowest = np.min(beside[:n])
            rise = own - lowest
            if rise > least and highest - lowest < halo * rise:
                found[z, y, x] = True
    return found
