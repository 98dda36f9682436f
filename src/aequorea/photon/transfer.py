"""Gain and zero level of a detector, from the movie itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from scipy.fft import dctn
from scipy.stats import t as student_t

from aequorea.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aequorea.model.lazy import LazyArray

_BINS = 400
_LEAST_PIXELS_PER_BIN = 8
_GROUPS = 25
_BLOCK = 8
_SEGMENTS = 10
_FAR = 3
_JPEG_FRAMES = 4
_SHARED_NOISE = 0.1
_STRONG_SHARED_NOISE = 0.3
_CLIPPED = 1e-3
_DARK_CLIPPED = 0.01
_HUBER = 1.345


@dataclass(frozen=True, kw_only=True)
class PhotonTransfer:
    """Variance against mean, and what follows: counts per photon.

    The photons are *equivalent* ones: noise that the detector adds in proportion to the light
    (excess noise of a multiplying detector) makes them fewer than those that arrived.

    Attributes
    ----------
    gain : float
        Counts per equivalent photon: slope of variance against mean.
    zero : float
        Mean at which the line meets variance 0. Offset and read noise are not told apart by the
        curve, and need not be: ``zero = offset - read_variance / gain``.
    gain_interval, zero_interval : tuple of float
        95 % intervals, from leaving out blocks of neighbouring pixels in turn.
    means, variances : ndarray, shape (bins,)
        The curve: of pixels of like brightness.
    n_frames, n_pixels : int
        That were used.
    n_clipped : int
        Pixels left out because the detector or its file clips them.
    shared_noise : tuple of float
        Correlation of the noise of neighbouring pixels, along y and x, beyond that of pixels three
        apart (which activity gives them).
    notes : tuple of str
        What a careful reader would want to know.
    """

    gain: float
    zero: float
    gain_interval: tuple[float, float]
    zero_interval: tuple[float, float]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]
    n_frames: int
    n_pixels: int
    n_clipped: int
    shared_noise: tuple[float, float]
    notes: tuple[str, ...]

    def photons(self, counts: Any) -> NDArray[np.float64]:
        """Counts as equivalent photons."""
        return (np.asarray(counts, dtype=np.float64) - self.zero) / self.gain


def photon_transfer(
    movie: LazyArray, *, max_frames: int = 1000, intervals: bool = True
) -> PhotonTransfer:
    """How many counts a photon makes in a movie of raw counts.

    The noise is taken from how differences of successive frames differ between a pixel and the one
    below it, which slow or shared activity hardly touches; the line through noise against
    brightness gives gain and zero level.

    Parameters
    ----------
    movie : lazy array of int, shape (t, y, x)
        Raw: not registered, filtered, rescaled or compressed with loss.
    max_frames : int, default 1000
        Of a longer movie, ten stretches are read that have as many frames together.
    intervals : bool, default True
        Find confidence intervals; they are NaN if not, and most of the work is saved.

    Returns
    -------
    PhotonTransfer

    Raises
    ------
    InputError
        For a movie of fewer than 10 frames or 64 pixels; of floating point; with one brightness
        only; clipped (8 bits with black or white pixels); or whose noise is shared between
        neighbouring pixels in both directions, as lossy compression and interpolation leave it.

    References
    ----------
    .. [1] J. R. Janesick, Photon Transfer (2007), doi:10.1117/3.725073

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rates = np.linspace(1, 20, 4096).reshape(64, 64)
    >>> movie = 100 + 8 * rng.poisson(np.broadcast_to(rates, (200, 64, 64)))
    >>> found = photon_transfer(movie.astype(np.uint16))
    >>> abs(found.gain - 8) < 0.3, abs(found.zero - 100) < 3
    (True, True)
    """
    return _NoiseSums.of(movie, max_frames).fitted(intervals=intervals)


class _NoiseSums:
    """What is summed in one pass over frames."""

    def __init__(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        limits = np.iinfo(dtype)
        self.bits = dtype.itemsize * 8
        self.limits = (int(limits.min), int(limits.max))
        self.total = np.zeros(shape)
        self.squares = np.zeros((shape[0] - 1, shape[1]))
        self.extremes = np.zeros((2, *shape), np.int64)
        self.shared = np.zeros(5)
        self.n_frames = 0
        self.n_differences = 0

    @classmethod
    def of(cls, movie: LazyArray, max_frames: int) -> _NoiseSums:
        shape = tuple(int(n) for n in movie.shape)
        dtype = np.dtype(movie.dtype)
        if len(shape) != 3:
            raise InputError(f"photon transfer needs a movie (t, y, x), got shape {shape}")
        if dtype.kind not in "iu":
            raise InputError(
                f"photon transfer needs raw counts, got {dtype}: floating point movies were "
                "processed, and their noise is no longer that of photons"
            )
        if shape[0] < 10 or shape[1] * shape[2] < 64:
            raise InputError(
                f"photon transfer needs 10 frames and 64 pixels at least, got shape {shape}"
            )
        sums = cls((shape[1], shape[2]), dtype)
        for part in _stretches(shape[0], max_frames):
            frames = np.asarray(movie[part])
            sums.add(frames)
            if sums.n_frames == len(frames):
                _refuse_jpeg(frames[:_JPEG_FRAMES])
        return sums

    def add(self, frames: NDArray[Any]) -> None:
        lowest, highest = self.limits
        frames = np.ascontiguousarray(frames)
        _add_frames(frames, lowest, highest, self.total, self.squares, self.extremes, self.shared)
        self.n_frames += len(frames)
        self.n_differences += len(frames) - 1

    def fitted(self, *, intervals: bool) -> PhotonTransfer:
        each = self.total / self.n_frames
        mean = (each[1:] + each[:-1]) / 2
        variance = self.squares / (4 * self.n_differences)
        clipped = (self.extremes[1] > 0) | (self.extremes[0] > _DARK_CLIPPED * self.n_frames)
        shared = self._shared_noise()
        notes = self._checked(clipped, shared)
        usable = ~(clipped[1:] | clipped[:-1]) & (variance > 0)
        if usable.sum() < 64:
            raise InputError(
                f"only {int(usable.sum())} pixels have noise and are not clipped; "
                "64 are needed for photon transfer"
            )
        means, variances, gain, zero = _fit(mean[usable], variance[usable], self.n_differences)
        errors = (float("nan"), float("nan"))
        if intervals:
            errors = _standard_errors(mean, variance, usable, self.n_differences)
        reach = float(student_t.ppf(0.975, _GROUPS - 1))
        return PhotonTransfer(
            gain=gain,
            zero=zero,
            gain_interval=(gain - reach * errors[0], gain + reach * errors[0]),
            zero_interval=(zero - reach * errors[1], zero + reach * errors[1]),
            means=means,
            variances=variances,
            n_frames=self.n_frames,
            n_pixels=int(usable.sum()),
            n_clipped=int(clipped.sum()),
            shared_noise=shared,
            notes=notes,
        )

    def _shared_noise(self) -> tuple[float, float]:
        whole, down, right, far_down, far_right = (float(s) for s in self.shared)
        if whole <= 0:
            return (0.0, 0.0)
        return (down - far_down) / whole, (right - far_right) / whole

    def _checked(self, clipped: NDArray[np.bool_], shared: tuple[float, float]) -> tuple[str, ...]:
        n_samples = self.n_frames * clipped.size
        dark, bright = (float(e.sum()) / n_samples for e in self.extremes)
        if self.bits == 8 and max(dark, bright) > _CLIPPED:
            raise InputError(
                f"an 8-bit movie in which {dark:.1%} of the values are at the bottom and "
                f"{bright:.1%} at the top of the range was clipped; its noise says nothing about "
                "photons: use the raw recording"
            )
        if min(shared) > _SHARED_NOISE or max(shared) > _STRONG_SHARED_NOISE:
            raise InputError(
                "the noise of neighbouring pixels is correlated "
                f"({shared[0]:.2f} along y, {shared[1]:.2f} along x), as lossy compression (JPEG), "
                "interpolation (registration) and filters leave it: use the raw recording"
            )
        notes = []
        if max(shared) > _SHARED_NOISE:
            notes.append(
                f"neighbouring pixels share noise along one axis (correlation {max(shared):.2f}), "
                "as slow electronics leave it; the gain comes out too small by about as much"
            )
        if clipped.any():
            notes.append(
                f"{int(clipped.sum())} of {clipped.size} pixels were left out because they reach "
                "the end of the range"
            )
        return tuple(notes)


def _refuse_jpeg(frames: NDArray[Any]) -> None:
    """Raise for frames whose 8 x 8 blocks have more empty high frequencies than other blocks have.

    Raises
    ------
    InputError
    """
    if frames.max() > 255 or min(frames.shape[1:]) < 4 * 8:
        return
    empty = np.array([[_empty_share(frames[:, y:, x:]) for x in range(8)] for y in range(8)])
    usual = float(np.median(empty))
    if empty.max() > 1.5 * usual + 0.02:
        raise InputError(
            "the movie was compressed with loss (JPEG: high frequencies are empty in blocks of "
            "8 x 8 pixels), and its noise is no longer that of photons: use the raw recording"
        )


def _empty_share(frames: NDArray[Any]) -> float:
    n, height, width = (frames.shape[0], frames.shape[1] // 8, frames.shape[2] // 8)
    blocks = frames[:, : height * 8, : width * 8].reshape(n, height, 8, width, 8)
    waves = dctn(blocks.astype(np.float32), axes=(2, 4), norm="ortho")
    high = np.add.outer(np.arange(8), np.arange(8)) >= 6
    return float((np.abs(waves.transpose(0, 1, 3, 2, 4)[..., high]) < 0.75).mean())


def _stretches(n_frames: int, max_frames: int) -> list[slice]:
    if n_frames <= max_frames:
        size = 100
        return [slice(k, min(k + size, n_frames)) for k in range(0, n_frames - 1, size)]
    size = max(2, max_frames // _SEGMENTS)
    starts = np.linspace(0, n_frames - size, _SEGMENTS).astype(int)
    return [slice(int(k), int(k) + size) for k in starts]


@njit(cache=True, nogil=True)
def _add_frames(
    frames: NDArray[Any],
    lowest: int,
    highest: int,
    total: NDArray[np.float64],
    squares: NDArray[np.float64],
    extremes: NDArray[np.int64],
    shared: NDArray[np.float64],
) -> None:  # pragma: no cover
    n, height, width = frames.shape
    change = np.zeros((height, width))
    for t in range(n):
        for y in range(height):
            for x in range(width):
                value = np.int64(frames[t, y, x])
                total[y, x] += value
                extremes[0, y, x] += value == lowest
                extremes[1, y, x] += value == highest
        if t == 0:
            continue
        for y in range(height):
            for x in range(width):
                change[y, x] = np.int64(frames[t, y, x]) - np.int64(frames[t - 1, y, x])
            if y > 0:
                for x in range(width):
                    difference = change[y, x] - change[y - 1, x]
                    squares[y - 1, x] += difference * difference
            if y >= _FAR:
                for x in range(_FAR, width):
                    c = change[y, x]
                    shared[0] += c * c
                    shared[1] += c * change[y - 1, x]
                    shared[2] += c * change[y, x - 1]
                    shared[3] += c * change[y - _FAR, x]
                    shared[4] += c * change[y, x - _FAR]


def _fit(
    mean: NDArray[np.float64], variance: NDArray[np.float64], n_differences: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
    """Medians of variance in bins of like mean, and a robust line through them."""
    order = np.argsort(mean, kind="stable")
    n_bins = max(4, min(_BINS, len(order) // _LEAST_PIXELS_PER_BIN))
    bins = np.array_split(order, n_bins)
    # half the mean squared successive difference of n frames has about 2 n / 3 degrees of freedom
    freedom = max(1.0, 2 * n_differences / 3)
    correction = (1 - 2 / (9 * freedom)) ** 3
    means = np.array([mean[b].mean() for b in bins])
    variances = np.array([np.median(variance[b]) for b in bins]) / correction
    sizes = np.array([len(b) for b in bins], dtype=np.float64)
    if np.ptp(means) <= 0:
        raise InputError("all pixels are equally bright, so noise against brightness has no slope")
    slope, intercept = np.polyfit(means, variances, 1)
    for _ in range(20):
        expected = np.maximum(slope * means + intercept, 0.02 * np.median(variances))
        spread = expected * np.sqrt(2 / freedom) * np.sqrt(np.pi / 2) / np.sqrt(sizes)
        residual = np.abs(variances - (slope * means + intercept)) / spread
        scale = max(1.0, float(np.median(residual)) / 0.6745)
        weights = np.minimum(1, _HUBER * scale / np.maximum(residual, 1e-12)) / spread**2
        centre = (weights @ means) / weights.sum()
        new = (weights @ ((means - centre) * variances)) / (weights @ (means - centre) ** 2)
        level = (weights @ variances) / weights.sum()
        change = abs(new - slope)
        slope, intercept = new, level - new * centre
        if change < 1e-9 * abs(slope):
            break
    if not slope > 0:
        raise InputError(
            "the noise does not grow with brightness, so this is not a movie limited by photons"
        )
    return means, variances, float(slope), float(-intercept / slope)


def _standard_errors(
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
    usable: NDArray[np.bool_],
    n_differences: int,
) -> tuple[float, float]:
    """Of gain and zero, from leaving out each of 25 groups of blocks of pixels (jackknife)."""
    rows, columns = np.indices(mean.shape)
    across = -(-mean.shape[1] // _BLOCK)
    group = (((rows // _BLOCK) * across + columns // _BLOCK) % _GROUPS)[usable]
    m, v = mean[usable], variance[usable]
    found = np.array(
        [_fit(m[group != g], v[group != g], n_differences)[2:] for g in range(_GROUPS)]
    )
    spread = np.sqrt((_GROUPS - 1) / _GROUPS * ((found - found.mean(axis=0)) ** 2).sum(axis=0))
    return float(spread[0]), float(spread[1])
