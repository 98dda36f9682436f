"""The noise of an image as a function of its brightness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from aequorea.puncta.checks import checked_image

__all__ = ["NoiseCurve", "median_of", "noise_curve"]

FloatArray = npt.NDArray[np.float64]

_BLOCK = 16
_MOST_BLOCKS = 8192
_BLOCKS_PER_BIN = 64
_MOST_BINS = 12
_MAD_TO_SD = 1.4826
_IMMERKAER = 6.0  # SD of the mask's answer to white noise of SD 1
_REAL_GAIN = 3.0  # standard errors by which noise must rise with brightness to be called shot noise


@dataclass(frozen=True, eq=False, kw_only=True)
class NoiseCurve:
    """How large the noise is where the image is how bright.

    Attributes
    ----------
    levels : ndarray, shape (n,)
        Grey levels, increasing.
    variances : ndarray, shape (n,)
        Of the noise there.
    gain : float
        Grey levels per photon: rise of the variance with the level; 0 if it does not rise.
    floor : float
        Variance below which no noise is believed: that of rounding.
    """

    levels: FloatArray
    variances: FloatArray
    gain: float
    floor: float

    def sd(self, level: npt.ArrayLike) -> FloatArray:
        """SD of the noise at grey levels; beyond the brightest measured one by the gain."""
        at = np.asarray(level, dtype=np.float64)
        variance = np.interp(at, self.levels, self.variances)
        variance = variance + self.gain * np.maximum(at - self.levels[-1], 0)
        sd: FloatArray = np.sqrt(np.maximum(variance, self.floor))
        return sd


def noise_curve(image: npt.ArrayLike) -> NoiseCurve:
    """Measure the noise of an image against its brightness.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)

    Returns
    -------
    NoiseCurve

    Raises
    ------
    InputError
        If the image is neither 2D nor 3D, has NaN or no pixels.

    Notes
    -----
    In blocks of 16 x 16 pixels of a plane the median grey level and the noise are found: the
    latter as the median absolute answer of a mask that smooth structure does not pass [1]_.
    Blocks of like brightness are pooled. White noise is assumed: noise that was smoothed, or that
    is alike in neighbouring pixels, is underestimated.

    References
    ----------
    .. [1] Immerkær (1996), Comput Vis Image Underst 64, 300, doi:10.1006/cviu.1996.0060

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> curve = noise_curve(rng.normal(100, 5, (128, 128)))
    >>> bool(abs(curve.sd(100) - 5) < 0.3)
    True
    """
    pixels = checked_image(image)
    volume = pixels.reshape((-1, *pixels.shape[-2:]))
    integers = pixels.dtype.kind == "u"
    corners = _corners(volume.shape)
    levels, sds = _block_noise(volume, corners)
    brightest = float(np.abs(levels).max())
    floor = max((1 / 12 if integers else 0.0), (1e-6 * brightest) ** 2, 1e-60)
    return _pooled(levels, sds**2, floor)


def _corners(shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """First voxels of blocks, every so many of them in large images."""
    depth, height, width = shape
    ys = np.arange(0, max(1, height - _BLOCK + 1), _BLOCK)
    xs = np.arange(0, max(1, width - _BLOCK + 1), _BLOCK)
    grid = np.stack(np.meshgrid(np.arange(depth), ys, xs, indexing="ij"), axis=-1).reshape(-1, 3)
    if len(grid) <= _MOST_BLOCKS:
        return grid
    return grid[np.linspace(0, len(grid) - 1, _MOST_BLOCKS).astype(np.int64)]


def _pooled(levels: FloatArray, variances: FloatArray, floor: float) -> NoiseCurve:
    order = np.argsort(levels, kind="stable")
    n_bins = int(np.clip(len(levels) // _BLOCKS_PER_BIN, 1, _MOST_BINS))
    bins = [part for part in np.array_split(order, n_bins) if len(part)]
    at = np.array([np.median(levels[part]) for part in bins])
    # The SD of a block is uncertain: its square would be too large on average, its median is not.
    of = np.array([np.median(variances[part]) for part in bins])
    at, first = np.unique(at, return_index=True)
    of = of[first]
    return NoiseCurve(levels=at, variances=of, gain=_gain(levels, variances), floor=floor)


def _gain(levels: FloatArray, variances: FloatArray) -> float:
    """Slope of variance against level over all blocks, weighted by the precision of each."""
    if len(levels) < 8 or np.ptp(levels) == 0:
        return 0.0
    weight = 1 / np.maximum(np.median(variances), 1e-60)
    slope, intercept = 0.0, float(np.median(variances))
    error = math.inf
    for _ in range(10):
        expected = np.maximum(intercept + slope * levels, 0.05 * np.median(variances))
        expected = np.maximum(expected, 1e-60)
        residual = (variances - intercept - slope * levels) / expected
        spread = max(_MAD_TO_SD * float(np.median(np.abs(residual))), 1e-6)
        robust = 1 / np.maximum(1, np.abs(residual) / (1.5 * spread))
        weight = robust / expected**2
        middle = np.average(levels, weights=weight)
        apart = levels - middle
        scatter = float(np.sum(weight * apart**2))
        if scatter == 0:
            return 0.0
        slope = float(np.sum(weight * apart * variances) / scatter)
        intercept = float(np.average(variances, weights=weight) - slope * middle)
        error = spread / math.sqrt(scatter)
    return slope if slope > _REAL_GAIN * error else 0.0


@njit(cache=True, nogil=True)
def median_of(values, n):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Median of the first n values, which are reordered; several times faster than a sort."""
    k = n // 2
    low, high = 0, n - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    upper = np.float64(values[k])
    if n % 2:
        return upper
    lower = values[0]
    for i in range(1, k):
        lower = max(lower, values[i])
    return 0.5 * (upper + lower)


@njit(cache=True, nogil=True, parallel=True)
def _block_noise(volume, corners):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    height, width = volume.shape[1:]
    levels, sds = np.empty(len(corners)), np.empty(len(corners))
    for k in prange(len(corners)):
        z, top, left = corners[k]
        bottom, right = min(top + _BLOCK, height), min(left + _BLOCK, width)
        values = np.empty(_BLOCK * _BLOCK)
        answers = np.empty(_BLOCK * _BLOCK)
        n = n_answers = 0
        for y in range(top, bottom):
            for x in range(left, right):
                values[n] = volume[z, y, x]
                n += 1
                if top < y < bottom - 1 and left < x < right - 1:
                    answer = 4 * np.float64(volume[z, y, x])
                    for s in (-1, 1):
                        answer -= 2 * (
                            np.float64(volume[z, y + s, x]) + np.float64(volume[z, y, x + s])
                        )
                        answer += np.float64(volume[z, y + s, x - 1]) + np.float64(
                            volume[z, y + s, x + 1]
                        )
                    answers[n_answers] = abs(answer)
                    n_answers += 1
        levels[k] = median_of(values, n)
        sds[k] = 0.0
        if n_answers:
            sds[k] = 1.4826 * median_of(answers, n_answers) / _IMMERKAER
            if sds[k] == 0:  # few photons: most answers are 0, and their mean is all there is
                sds[k] = 1.2533 * np.mean(answers[:n_answers]) / _IMMERKAER
    return levels, sds
