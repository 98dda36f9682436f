"""Thresholds that one channel's histogram decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from skimage import filters

from aequorea.colocalization.regions import (
    Pixels,
    kernel_dtype,
    region_mask,
    require_finite,
)
from aequorea.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

THRESHOLD_METHODS = ("costes", "manual", "otsu", "li", "triangle", "yen", "mean", "isodata")
AUTO_THRESHOLDS = THRESHOLD_METHODS[2:]

# One bin per integer up to this range, as scikit-image does at any range.
_LARGEST_TABLE = 1 << 24
_FLOAT_BINS = 256

Histogram = tuple[NDArray[np.int64], NDArray[Any]]


def auto_threshold(image: ArrayLike, method: str, mask: ArrayLike | None = None) -> float:
    """Threshold of one channel, from the pixels inside a mask.

    Parameters
    ----------
    image : array_like
    method : {"otsu", "li", "triangle", "yen", "mean", "isodata"}
    mask : array_like of bool, same shape, optional

    Returns
    -------
    float
        NaN when there are no pixels, all are equal (in a histogram also: up to rounding), or
        the method finds no threshold.

    Raises
    ------
    InputError
        If the method is unknown or needs both channels, or pixels are NaN or infinite.

    Notes
    -----
    The values are those of ``skimage.filters.threshold_<method>`` on the same pixels. Integer
    images are counted once with one bin per intensity level, so the threshold is a level that
    exists; floating-point images take scikit-image's 256 bins between minimum and maximum
    (Li and mean use no bins), and so do integers that span more than 2²⁴ levels.

    Examples
    --------
    >>> import numpy as np
    >>> auto_threshold(np.array([0, 0, 1, 9, 9, 10], dtype="u1"), "otsu")
    1.0
    """
    if method not in AUTO_THRESHOLDS:
        hint = (
            "it needs both channels: use costes_threshold"
            if method == "costes"
            else f"choose from {', '.join(AUTO_THRESHOLDS)}"
        )
        raise InputError(f"no single-channel threshold method {method!r}; {hint}")
    pixels = np.asarray(image)
    if pixels.dtype.kind not in "biuf":
        raise InputError(f"image must hold real numbers, got {pixels.dtype}")
    values = pixels.ravel() if mask is None else pixels[region_mask(mask, pixels.shape)]
    values = np.ascontiguousarray(values.astype(kernel_dtype(values.dtype), copy=False))
    require_finite(values, "of the image")
    return threshold_of(values, method)


def threshold_of(values: Pixels, method: str) -> float:
    """Threshold of a flat array of finite values; see :func:`auto_threshold`."""
    if not values.size:
        return float("nan")
    lowest, highest = values.min(), values.max()
    if lowest == highest:
        return float("nan")
    if method == "mean":
        return float(values.mean(dtype=np.float64))
    if tabulated(values.dtype, float(lowest), float(highest)):
        counts = count_levels(values, int(lowest), int(highest))
        return threshold_from_histogram(counts, np.arange(int(lowest), int(highest) + 1), method)
    real = values.astype(np.float64)
    if method == "li":
        return float(filters.threshold_li(real))
    if not binned(values.dtype, float(lowest), float(highest)):
        return float("nan")
    counts, levels = float_histogram(real, float(lowest), float(highest))
    return threshold_from_histogram(counts, levels, method)


def tabulated(dtype: np.dtype[Any], lowest: float, highest: float) -> bool:
    """Whether pixels are counted with one bin per integer level."""
    return dtype.kind in "iu" and highest - lowest < _LARGEST_TABLE


def binned(dtype: np.dtype[Any], lowest: float, highest: float) -> bool:
    """Whether a histogram has bins between two values: they differ by more than rounding."""
    rounding = float(np.spacing(max(abs(lowest), abs(highest))))
    return lowest < highest and (
        tabulated(dtype, lowest, highest) or (highest - lowest) / _FLOAT_BINS > 2 * rounding
    )


def float_histogram(
    values: Pixels, lowest: float, highest: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Counts and centres of 256 equal bins between lowest and highest."""
    counts, edges = np.histogram(values, bins=_FLOAT_BINS, range=(lowest, highest))
    return counts.astype(np.int64), (edges[:-1] + edges[1:]) / 2


def threshold_from_histogram(counts: NDArray[np.int64], levels: NDArray[Any], method: str) -> float:
    """Threshold from the number of pixels at each level; NaN if the method finds none.

    ``levels`` are consecutive integers, or centres of the bins of floating-point pixels (then
    every method but "li", which looks at the pixels themselves).
    """
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(_FROM_COUNTS[method]((counts, levels)))
    except (ValueError, RuntimeError, IndexError):
        # No level fulfils the method's criterion in this histogram.
        return float("nan")


@njit(cache=True, nogil=True)
def count_levels(values: Pixels, lowest: int, highest: int) -> NDArray[np.int64]:
    """Number of values at each integer from lowest to highest."""
    counts = np.zeros(highest - lowest + 1, np.int64)
    for i in range(values.size):
        counts[np.int64(values[i]) - lowest] += 1
    return counts


def _li(histogram: Histogram) -> float:
    """Minimum cross entropy by iteration (Li & Tam 1998, doi:10.1016/S0167-8655(98)00057-9)."""
    counts, levels = histogram
    lowest = int(levels[0])
    above_lowest = levels - lowest
    weights = counts.astype(np.float32)
    threshold, previous = float(np.dot(counts, above_lowest) / counts.sum()), -1.0
    while abs(threshold - previous) > 0.5:
        previous = threshold
        bright = above_lowest > threshold
        mean_bright = np.average(above_lowest[bright], weights=weights[bright])
        mean_dark = np.average(above_lowest[~bright], weights=weights[~bright])
        if mean_dark == 0:
            break
        threshold = (mean_dark - mean_bright) / (np.log(mean_dark) - np.log(mean_bright))
    return float(threshold + lowest)


def _triangle(histogram: Histogram) -> float:
    """The level farthest from the line peak–tail (Zack 1977, doi:10.1177/25.7.70454)."""
    counts, levels = histogram
    peak = int(np.argmax(counts))
    tail_is_bright = peak < counts.size - 1 - peak
    if tail_is_bright:
        counts, peak = counts[::-1], counts.size - 1 - peak
    at = np.arange(peak)
    height, width = float(counts[peak]), float(peak)
    norm = np.hypot(height, width)
    distance = height / norm * at - width / norm * counts[:peak]
    best = int(np.argmax(distance))
    return float(levels[counts.size - 1 - best if tail_is_bright else best])


_FROM_COUNTS: dict[str, Callable[[Histogram], Any]] = {
    "otsu": lambda histogram: filters.threshold_otsu(hist=histogram),
    "yen": lambda histogram: filters.threshold_yen(hist=histogram),
    "isodata": lambda histogram: filters.threshold_isodata(hist=histogram),
    "li": _li,
    "triangle": _triangle,
}
