"""How far each punctum stands out: its background, its height and the noise around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from aequorea.errors import InputError
from aequorea.puncta.checks import checked_image, checked_places, checked_sigma, flattened
from aequorea.puncta.noise import NoiseCurve, median_of, noise_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SpotQuality", "spot_snr"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_MOST_BACKGROUND_VOXELS = 64


@dataclass(frozen=True, eq=False, kw_only=True)
class SpotQuality:
    """What is seen at and around each punctum, in grey levels of the image.

    Attributes
    ----------
    background : ndarray, shape (n,)
        Median of a ring around it.
    peak : ndarray, shape (n,)
        Its voxel above the background.
    noise_sd : ndarray, shape (n,)
        Of the noise at the level of its background.
    snr : ndarray, shape (n,)
        Peak over noise.
    halo : ndarray, shape (n,)
        Mean of the voxels beside it above the background, over the peak: 0 for a hot pixel,
        exp(-1 / (2 s²)) for a spot of SD s voxels. In a stack, of the four in the plane or the
        two across, whichever is more.
    """

    background: FloatArray
    peak: FloatArray
    noise_sd: FloatArray
    snr: FloatArray
    halo: FloatArray

    def __len__(self) -> int:
        return len(self.peak)


def spot_snr(
    image: npt.ArrayLike,
    coordinates_px: npt.ArrayLike,
    *,
    sigma_px: Sequence[float],
    inner: float = 3.0,
    outer: float = 5.0,
    noise: NoiseCurve | None = None,
) -> SpotQuality:
    """Height of each punctum above its background, and over the noise.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)
    coordinates_px : array_like, shape (n, ndim)
        Rounded to voxels.
    sigma_px : sequence of float
        SD of a spot along each axis.
    inner, outer : float
        The background is the median of the voxels at these distances within the plane, and one SD
        up and down, in SD of a spot; of many, 64 spread over the ring. Parts beyond the edge of
        the image are left out.
    noise : NoiseCurve, optional
        That of the image if not given.

    Returns
    -------
    SpotQuality

    Raises
    ------
    InputError, AxisMismatchError
        If numbers do not fit together, or a punctum lies outside the image.

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(100, 1, (64, 64))
    >>> image[32, 32] += 50
    >>> 40 < spot_snr(image, [[32, 32]], sigma_px=(1.2, 1.2)).snr[0] < 60
    np.True_
    """
    pixels = checked_image(image)
    sigma = checked_sigma(sigma_px, pixels.ndim)
    places = checked_places(coordinates_px, pixels.shape)
    if not 0 < inner < outer:
        raise InputError(f"inner, outer: expected 0 < inner < outer, found {inner}, {outer}")
    if noise is None:
        noise = noise_curve(pixels)
    volume = pixels if pixels.ndim == 3 else pixels[None]
    if pixels.ndim == 2:
        places = np.column_stack([np.zeros(len(places), np.int64), places])
    return measured(volume, places, flattened(sigma, volume.shape), noise, inner, outer)


def measured(
    volume: npt.NDArray[Any],
    places: IntArray,
    sigma: tuple[float, float, float],
    noise: NoiseCurve,
    inner: float,
    outer: float,
) -> SpotQuality:
    """As :func:`spot_snr`, of a volume, unchecked."""
    ring = _ring(sigma, inner, outer)
    background, peak, beside = _measure(volume, places, ring)
    sd = noise.sd(background)
    height = peak - background
    with np.errstate(divide="ignore", invalid="ignore"):
        halo = np.where(height > 0, (beside - background) / height, 0.0)
    return SpotQuality(background=background, peak=height, noise_sd=sd, snr=height / sd, halo=halo)


def _ring(sigma: tuple[float, float, float], inner: float, outer: float) -> IntArray:
    """Offsets of the voxels of a ring one SD thick, spread over it evenly if there are many."""
    reach = [int(sigma[0]), *(int(outer * s) for s in sigma[1:])]
    grid = np.stack(
        np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    far = np.hypot(grid[:, 1] / sigma[1], grid[:, 2] / sigma[2])
    ring: IntArray = grid[(far >= inner) & (far <= outer)].astype(np.int64)
    if len(ring) == 0:
        raise InputError(f"outer: {outer} SD of a spot hold no voxel beyond {inner}; widen it")
    if len(ring) > _MOST_BACKGROUND_VOXELS:
        # Steps by the golden ratio reach all sides alike; an even stride would favour some.
        order = np.argsort((np.arange(len(ring)) * 0.6180339887498949) % 1.0)
        ring = ring[np.sort(order[:_MOST_BACKGROUND_VOXELS])]
    return ring


@njit(cache=True, nogil=True, parallel=True)
def _measure(volume, places, ring):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    depth, height, width = volume.shape
    n = len(places)
    background, peak, beside = np.empty(n), np.empty(n), np.empty(n)
    for k in prange(n):
        z, y, x = places[k]
        values = np.empty(len(ring), np.float32)
        found = 0
        for i in range(len(ring)):
            a, b, c = z + ring[i, 0], y + ring[i, 1], x + ring[i, 2]
            if 0 <= a < depth and 0 <= b < height and 0 <= c < width:
                values[found] = volume[a, b, c]
                found += 1
        peak[k] = volume[z, y, x]
        background[k] = median_of(values, found) if found else peak[k]
        total, count = 0.0, 0
        across, n_across = 0.0, 0
        for s in (-1, 1):
            if 0 <= z + s < depth:
                across += volume[z + s, y, x]
                n_across += 1
            if 0 <= y + s < height:
                total += volume[z, y + s, x]
                count += 1
            if 0 <= x + s < width:
                total += volume[z, y, x + s]
                count += 1
        beside[k] = total / count if count else peak[k]
        if n_across:
            beside[k] = max(beside[k], across / n_across)
    return background, peak, beside
