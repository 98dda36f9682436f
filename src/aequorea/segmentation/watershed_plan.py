"""What the watershed takes from the whole image before it looks at any part of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from aequorea.segmentation.scale import ObjectScale, tile_with_structure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    IntArray = npt.NDArray[np.int64]

__all__ = [
    "LEVELS",
    "WatershedPlan",
    "add_levels",
    "given_scale",
    "li_level",
    "noise_sd",
    "plan_scales",
    "plan_threshold",
    "radius_px",
]

LEVELS = 1 << 16
_EDGE_SIGMA = 0.06  # of the diameter: outlines are drawn in an image smoothed by this SD
_BLOB_SIGMA = 0.25  # of the diameter: objects are told apart by blobs of this SD
_TRUNCATE = 3.0
_FLOOR = 0.7  # of the threshold above the background: how far down basins reach
_EXTREME = 0.998  # brighter pixels count as if they had this quantile
_MIN_SNR = 5.0  # the brightest of many thousand noise peaks stay below it
_QUANTA = 1 << 24


@dataclass(frozen=True, kw_only=True)
class WatershedPlan:
    """Numbers that are the same for every part of an image; lengths per axis (z, y, x).

    Attributes
    ----------
    diameter_px : float
        Typical diameter of an object, pixels of the last axis.
    stretch : tuple of float
        Width of a pixel along each axis over its width along the last.
    lowest, highest : float
        Grey levels of the image.
    noise : float
        SD of the pixels' noise, grey levels.
    threshold, background, floor : float
        Common threshold of the smoothed image, its median below that, and how far down basins
        reach; NaN before they are known, and if the image has no threshold.
    threshold_given : bool
    """

    diameter_px: float
    stretch: tuple[float, float, float]
    lowest: float
    highest: float
    noise: float
    ndim: int
    threshold: float = math.nan
    background: float = math.nan
    floor: float = math.nan
    threshold_given: bool = False

    @property
    def edge_sigma_px(self) -> tuple[float, ...]:
        """SD of the smoothing in which outlines are drawn."""
        return self._sigmas(_EDGE_SIGMA)

    @property
    def blob_sigma_px(self) -> tuple[float, ...]:
        """SD of the Gaussian whose Laplacian tells objects apart."""
        return self._sigmas(_BLOB_SIGMA)

    @property
    def halo_px(self) -> tuple[int, ...]:
        """How far around a voxel its landscape and its neighbours' landscape reach."""
        return tuple(
            2 + max(radius_px(e), radius_px(b))
            for e, b in zip(self.edge_sigma_px, self.blob_sigma_px, strict=True)
        )

    @property
    def quantum(self) -> float:
        """Step to which grey levels are rounded, so that their sum does not depend on the order."""
        return (self.highest - self.lowest) / _QUANTA

    @property
    def min_contrast(self) -> float:
        """Smallest mean of an object's core above the background that is no noise."""
        gain = math.prod(
            1 / math.sqrt(2 * math.sqrt(math.pi) * sigma) if 2 * sigma > 0.57 else 1.0
            for sigma in self.edge_sigma_px[-self.ndim :]
        )
        return _MIN_SNR * self.noise * min(gain, 1.0)

    def _sigmas(self, fraction: float) -> tuple[float, ...]:
        sigmas = [fraction * self.diameter_px / s for s in self.stretch]
        return tuple(sigmas) if self.ndim == 3 else (0.0, *sigmas[1:])


def radius_px(sigma: float) -> int:
    """How far a Gaussian of this SD is summed."""
    return int(_TRUNCATE * sigma + 0.5)


def plan_scales(
    scale: ObjectScale, *, ndim: int, lowest: float, highest: float, noise: float
) -> WatershedPlan:
    """The plan before the threshold is known."""
    stretch = (1.0,) * (3 - ndim) + tuple(scale.stretch)
    return WatershedPlan(
        diameter_px=scale.diameter_px,
        stretch=(stretch[0], stretch[1], stretch[2]),
        lowest=lowest,
        highest=highest,
        noise=noise,
        ndim=ndim,
    )


def noise_sd(pixels: npt.NDArray[Any]) -> float:
    """SD of the pixels' noise from differences of neighbours along x, extremes aside."""
    tile = np.asarray(pixels[tile_with_structure(pixels)], dtype=np.float32)
    if tile.shape[-1] < 3:
        return 0.0
    # Second differences: of a slope they see nothing.
    change = np.abs(np.diff(tile, 2, axis=-1))
    change = change[np.isfinite(change)]
    return float(np.median(change)) / (0.6745 * math.sqrt(6)) if change.size else 0.0


@njit(cache=True, nogil=True)
def _count(values: Any, inside: Any, low: float, step: float, counts: IntArray) -> None:
    for k in range(values.size):
        if not inside.size or inside[k]:
            level = int((values[k] - low) / step)
            counts[min(max(level, 0), counts.size - 1)] += 1


def add_levels(
    counts: IntArray,
    values: npt.NDArray[np.float32],
    plan: WatershedPlan,
    mask: npt.NDArray[np.bool_] | None = None,
) -> None:
    """Add the pixels of a part of the smoothed image to a histogram of :data:`LEVELS` bins."""
    inside = np.empty(0, bool) if mask is None else np.ascontiguousarray(mask).ravel()
    step = (plan.highest - plan.lowest) / LEVELS
    _count(np.ascontiguousarray(values).ravel(), inside, plan.lowest, step, counts)


def plan_threshold(counts: IntArray, lowest: float, highest: float) -> tuple[float, float, float]:
    """Threshold, background and floor from a histogram of the smoothed image.

    Notes
    -----
    The threshold is Li's [1]_, with the brightest 0.2 % of the pixels taken to be as bright as
    the dimmest of them, so that a few hot pixels do not raise it.

    References
    ----------
    .. [1] Li & Tam (1998), Pattern Recognit Lett 19, 771, doi:10.1016/S0167-8655(98)00057-9
    """
    if not counts.sum():
        return math.nan, math.nan, math.nan
    step = (highest - lowest) / len(counts)
    cumulated = np.cumsum(counts)
    last = int(np.searchsorted(cumulated, _EXTREME * cumulated[-1]))
    clipped = counts[: last + 1].astype(np.float64)
    clipped[last] += float(cumulated[-1] - cumulated[last])
    first = int(np.argmax(clipped > 0))
    clipped, levels = clipped[first:], np.arange(last + 1 - first) + 0.5
    level = li_level(clipped, levels, 0.5)
    if not math.isfinite(level):
        return math.nan, math.nan, math.nan
    threshold = lowest + (first + level) * step
    dark = np.cumsum(clipped[levels <= level])
    background = lowest + (first + float(np.searchsorted(dark, dark[-1] / 2)) + 0.5) * step
    return threshold, background, background + _FLOOR * (threshold - background)


def li_level(counts: npt.NDArray[Any], levels: npt.NDArray[Any], tolerance: float) -> float:
    """Minimum cross entropy by iteration; NaN for a histogram of a single level.

    Parameters
    ----------
    counts : ndarray, shape (n,)
    levels : ndarray, shape (n,)
        Centres of the bins, above 0 and ascending.
    tolerance : float
        The iteration ends when the threshold moves by less.
    """
    n, total = np.cumsum(counts), np.cumsum(counts * levels)
    threshold = float(total[-1] / n[-1])
    for _ in range(1000):
        split = int(np.searchsorted(levels, threshold, side="right")) - 1
        if split < 0 or not 0 < n[split] < n[-1]:
            return math.nan
        dark = total[split] / n[split]
        bright = (total[-1] - total[split]) / (n[-1] - n[split])
        following = float((bright - dark) / (math.log(bright) - math.log(dark)))
        if abs(following - threshold) < tolerance:
            return following
        threshold = following
    return threshold


def given_scale(diameter_px: float, stretch: Sequence[float]) -> ObjectScale:
    """A scale that the user knows."""
    return ObjectScale(diameter_px=float(diameter_px), stretch=tuple(stretch), n_blobs=0)
