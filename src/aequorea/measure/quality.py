"""How good a stack is: signal over noise, saturation, focus, fading with depth, movement."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, stats

from aequorea.errors import InputError
from aequorea.filters.binning import mean_of_bins
from aequorea.filters.hot_pixels import noise_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["StackQuality", "axial_scale", "stack_quality"]

_SAMPLED = 1_000_000
_COARSE_PX = 256
_BRIGHT = 99.5
_CLEAR_PEAK = 7.0  # noise alone reaches 5 in a plane of 256² pixels


@dataclass(frozen=True, kw_only=True)
class StackQuality:
    """One channel of one stack.

    Attributes
    ----------
    background, noise_sd, signal : float
        Grey levels: the mode; SD of the noise there; the level that 0.5 % of the voxels exceed,
        above the background.
    snr : float
        signal / noise_sd.
    saturated_fraction : float
        Voxels at the largest value that the image can hold, or that it does hold if more than one
        in 10,000 have it.
    sharpest_plane : int
        Plane with the strongest fine detail.
    light_at_the_end : float
        Brightness of the last plane over that of the first, from a fit of an exponential; NaN
        with fewer than 4 planes or no signal.
    attenuation_length_um : float
        Depth at which 1/e is left; infinite where light does not fade; NaN as above or if the
        plane distance is not known.
    largest_step_um : float
        Largest displacement within the plane from one plane to the next; NaN as above.
    """

    background: float
    noise_sd: float
    signal: float
    snr: float
    saturated_fraction: float
    sharpest_plane: int
    light_at_the_end: float
    attenuation_length_um: float
    largest_step_um: float

    def columns(self) -> dict[str, float | int]:
        """By name, for a table."""
        return asdict(self)


def stack_quality(image: npt.ArrayLike, *, spacing_um: Sequence[float | None]) -> StackQuality:
    """Measure the quality of one channel.

    Parameters
    ----------
    image : array_like, shape (z, y, x)
    spacing_um : sequence of float or None, µm
        Along z, y, x.

    Returns
    -------
    StackQuality

    Raises
    ------
    InputError
        If the image is no stack.

    Notes
    -----
    Fading is told from the brightest 2 % of every plane between the first and the last that hold
    signal. It is a diagnostic: cells that end below, or lie higher, fade as well, so nothing is
    corrected by it. Movement is the peak of the phase correlation of neighbouring planes, averaged
    to about 256 pixels across; it sees steps of more than about one such pixel.
    """
    stack = np.asarray(image)
    if stack.ndim != 3 or 0 in stack.shape or stack.dtype.kind not in "buif":
        raise InputError(f"image: expected a stack (z, y, x), found {stack.dtype} {stack.shape}")
    values = stack.reshape(-1)[:: max(1, stack.size // _SAMPLED)].astype(np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        raise InputError("image: no finite values")
    background = _mode(values)
    below = values[values <= background]
    noise = noise_of(np.nan_to_num(stack) if stack.dtype.kind == "f" else stack)
    if len(below) > 100:
        spread = float(np.sqrt(np.mean((below - background) ** 2)))
        noise = min(noise, spread) if noise > 0 and spread > 0 else max(noise, spread)
    signal = float(np.percentile(values, _BRIGHT)) - background
    bins = (1, *(max(1, n // _COARSE_PX) for n in stack.shape[1:]))
    coarse = mean_of_bins(stack, bins)
    left, length = _fading(coarse, background, noise, spacing_um[0])
    return StackQuality(
        background=background,
        noise_sd=noise,
        signal=signal,
        snr=signal / noise if noise > 0 else math.nan,
        saturated_fraction=_saturated(stack),
        sharpest_plane=int(np.argmax([_detail(p) for p in coarse])),
        light_at_the_end=left,
        attenuation_length_um=length,
        largest_step_um=_largest_step(coarse, bins, spacing_um, background + 3 * noise),
    )


def axial_scale(numerical_aperture: float, immersion_index: float, medium_index: float) -> float:
    """True over nominal distance along z where the refractive indices differ.

    Parameters
    ----------
    numerical_aperture : float
    immersion_index, medium_index : float
        Refractive indices of what the objective is made for, and of what the sample lies in.

    Returns
    -------
    float
        Plane distances times this are true distances.

    Raises
    ------
    InputError
        If the aperture does not fit the indices.

    Notes
    -----
    A ray that leaves the objective at angle θ₁ meets the axis at a depth tan θ₁ / tan θ₂ times the
    nominal one, with n₁ sin θ₁ = n₂ sin θ₂. The ray at half the aperture stands for all of them
    [1]_: the paraxial ratio n₂/n₁ corrects too little, the marginal ray too much.

    References
    ----------
    .. [1] Diel, Lichtman & Richardson (2020), doi:10.1038/s41596-020-0360-2

    Examples
    --------
    >>> round(axial_scale(1.4, 1.515, 1.33), 3)
    0.842
    """
    half = numerical_aperture / 2
    if not (0 < half < min(immersion_index, medium_index) and numerical_aperture < immersion_index):
        raise InputError(
            f"numerical_aperture {numerical_aperture}: expected a number above 0 and below the "
            f"immersion's index {immersion_index} (medium {medium_index})"
        )
    return math.tan(math.asin(half / immersion_index)) / math.tan(math.asin(half / medium_index))


def _mode(values: npt.NDArray[np.float64]) -> float:
    low, high = np.percentile(values, [0, 99.9])
    if low == high:
        return float(low)
    n_bins = int(min(512, max(16, high - low + 1)))
    counts, edges = np.histogram(values, n_bins, (low, high))
    top = int(ndimage.gaussian_filter1d(counts.astype(float), 1.5).argmax())
    return float((edges[top] + edges[top + 1]) / 2)


def _saturated(stack: npt.NDArray[Any]) -> float:
    top = stack.max()
    at_top = float(np.count_nonzero(stack == top)) / stack.size
    is_limit = stack.dtype.kind in "ui" and top == np.iinfo(stack.dtype).max
    many = at_top > 1e-4 and stack.min() < top and stack.dtype.kind in "ui"
    return at_top if is_limit or many else 0.0


def _detail(plane: npt.NDArray[np.float32]) -> float:
    """Mean square of differences over two pixels (Brenner), free of the noise of single ones."""
    smooth = ndimage.gaussian_filter(plane, 1.0)
    return float(np.mean((smooth[:, 2:] - smooth[:, :-2]) ** 2)) if plane.shape[1] > 2 else 0.0


def _fading(
    coarse: npt.NDArray[np.float32], background: float, noise: float, dz_um: float | None
) -> tuple[float, float]:
    if len(coarse) < 4:
        return math.nan, math.nan
    bright = np.percentile(coarse.reshape(len(coarse), -1), 98, axis=1) - background
    lit = np.flatnonzero(bright > max(noise, 1e-9))
    if len(lit) < 4:
        return math.nan, math.nan
    planes = np.arange(lit[0], lit[-1] + 1)
    planes = planes[bright[planes] > 0]
    slope = float(stats.theilslopes(np.log(bright[planes]), planes).slope)
    left = math.exp(slope * (len(coarse) - 1))
    if dz_um is None:
        return left, math.nan
    return left, dz_um / -slope if slope < 0 else math.inf


def _largest_step(
    coarse: npt.NDArray[np.float32],
    bins: Sequence[int],
    spacing_um: Sequence[float | None],
    level: float,
) -> float:
    dy, dx = spacing_um[1], spacing_um[2]
    if len(coarse) < 4 or dy is None or dx is None or min(coarse.shape[1:]) < 16:
        return math.nan
    windows = np.hanning(coarse.shape[1])[:, None] * np.hanning(coarse.shape[2])
    lit = [float(np.percentile(p, 98)) > level for p in coarse]
    spectra = [np.fft.rfft2((p - p.mean()) * windows) for p in coarse]
    largest = 0.0
    for k, (before, after) in enumerate(itertools.pairwise(spectra)):
        if not (lit[k] and lit[k + 1]):
            continue
        cross = after * before.conj()
        peak = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-9), s=coarse.shape[1:])
        smooth = ndimage.gaussian_filter(peak, 1.0, mode="wrap")
        if smooth.max() < _CLEAR_PEAK * smooth.std():
            continue
        at = np.array(np.unravel_index(int(smooth.argmax()), smooth.shape))
        size = np.array(smooth.shape)
        step = np.where(at > size / 2, at - size, at) * np.array(bins[1:]) * (dy, dx)
        largest = max(largest, float(np.hypot(*step)))
    return largest
