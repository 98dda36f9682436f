"""How still a movie is, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit, prange

from aequorea.motion.matched import MatchedFilter, spectra_of, whiteness
from aequorea.motion.parameters import MotionParameters
from aequorea.motion.registration import batches, register

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from aequorea.model.lazy import LazyArray
    from aequorea.motion.registration import Finder, Motion

    FloatArray = NDArray[np.float64]
    Told = Callable[[int, int], None]

__all__ = ["Stillness", "crispness", "principal_shifts", "stillness"]

_BLOCKS = 40
_FEWEST_BLOCKS = 10
_FEWEST_PER_BLOCK = 10
_FRAMES_FOR_COMPONENTS = 400
_COMPONENTS = 10
_SHARE = 0.15  # of the frames, at either end of a component
_FEWEST_AT_ENDS = 6
_ROWS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Stillness:
    """What undoing the motion has done.

    Attributes
    ----------
    mean_before, mean_after : ndarray of float32, shape (y, x)
        Of good frames.
    correlation_before, correlation_after : ndarray, shape (t,)
        Pearson's, of each frame with the still image of the reference, where both are seen.
    crispness_before, crispness_after : float
        Mean slope of the mean image over its SD, per pixel.
    residual_px : float, px
        RMS of the motion that is left between means of successive frames; NaN for short movies.
    principal_shift_px : ndarray, shape (k,), px
        Shift between the frames at the two ends of each principal component; empty for short
        movies.
    saturated_share : float
        Of all pixels, at the largest value that whole numbers of the movie's type have; NaN for
        other numbers.
    """

    mean_before: NDArray[np.float32]
    mean_after: NDArray[np.float32]
    correlation_before: FloatArray
    correlation_after: FloatArray
    crispness_before: float
    crispness_after: float
    residual_px: float
    principal_shift_px: FloatArray
    saturated_share: float


def stillness(
    movie: LazyArray, motion: Motion, finder: Finder, *, told: Told | None = None
) -> Stillness:
    """Look at a movie before and after its motion is undone, in one pass.

    Parameters
    ----------
    movie : lazy array, shape (t, y, x)
    motion : Motion
    finder : Finder
        What found it: for its reference, and for how frames are prepared.
    told : callable, optional
        Called with the number of frames done and of all.
    """
    n = int(movie.shape[0])
    good = motion.good if motion.good.any() else np.ones(n, bool)
    still = np.nan_to_num(finder.still, nan=float(np.nanmean(finder.still)))
    sums = np.zeros((2, *finder.shape))
    counts = np.zeros((2, *finder.shape), np.int64)
    correlation = np.full((2, n), np.nan)
    per_block = max(_FEWEST_PER_BLOCK, -(-n // _BLOCKS))
    blocks = np.zeros((-(-n // per_block), *finder.shape))
    in_block = np.zeros((len(blocks), *finder.shape), np.int32)
    every = max(1, n // _FRAMES_FOR_COMPONENTS)
    shown = []
    saturated = 0
    kind = np.dtype(movie.dtype)
    whole_numbers = kind.kind in "ui"
    highest = np.iinfo(kind).max if whole_numbers else 0
    for where in batches(n):
        frames = np.asarray(movie[where])
        after = motion.undone(frames, where)
        before = frames.astype(np.float32)
        if whole_numbers:
            saturated += int((frames == highest).sum())
        for k, pixels in enumerate((before, after)):
            correlation[k, where] = _correlations(pixels, still)
            kept = pixels[good[where]]
            seen = np.isfinite(kept)
            sums[k] += np.where(seen, kept, 0).sum(axis=0, dtype=np.float64)
            counts[k] += seen.sum(axis=0)
        for t in range(where.start, where.stop):
            if good[t]:
                pixels = after[t - where.start]
                seen = np.isfinite(pixels)
                blocks[t // per_block][seen] += pixels[seen]
                in_block[t // per_block] += seen
                if t % every == 0:
                    whole = np.where(seen, pixels, still).astype(np.float32)
                    shown.append(finder.preparation(whole[None])[0])
        if told is not None:
            told(where.stop, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        before, after = (sums / counts).astype(np.float32)
        means = np.where(in_block > 0, blocks / in_block, still)
    usable = (in_block.max(axis=(1, 2)) >= _FEWEST_PER_BLOCK / 2).nonzero()[0]
    prepared = np.stack(shown) if shown else np.zeros((0, 1, 1), np.float32)
    return Stillness(
        mean_before=before,
        mean_after=after,
        correlation_before=correlation[0],
        correlation_after=correlation[1],
        crispness_before=crispness(before),
        crispness_after=crispness(after),
        residual_px=_residual(means[usable].astype(np.float32)),
        principal_shift_px=principal_shifts(prepared, finder) * finder.preparation.bins,
        saturated_share=saturated / (n * before.size) if whole_numbers else float("nan"),
    )


def crispness(image: NDArray[Any]) -> float:
    """Mean slope of an image over its SD: the higher, the sharper.

    Examples
    --------
    >>> edge = np.repeat([[0.0, 0.0, 1.0, 1.0]], 4, axis=0)
    >>> soft = np.repeat([[0.0, 0.33, 0.67, 1.0]], 4, axis=0)
    >>> bool(crispness(edge) < crispness(np.kron([[0, 1], [1, 0]], np.ones((2, 2)))))
    True
    """
    slopes = np.gradient(np.asarray(image, dtype=np.float64))
    length = np.hypot(*slopes)
    spread = float(np.nanstd(image))
    return float(np.nanmean(length) / spread) if spread > 0 else float("nan")


def principal_shifts(frames: NDArray[np.float32], finder: Finder) -> FloatArray:
    """Shift between the means of frames at the two ends of each principal component.

    Components of a still movie are activity; of one that moves, motion: then the frames with the
    highest and the lowest scores are shifted (Stringer & Pachitariu 2019,
    doi:10.1016/j.conb.2018.11.005).

    Parameters
    ----------
    frames : ndarray of float32, shape (t, y, x)
        Registered, and prepared for ``finder``.

    Returns
    -------
    ndarray, shape (k,), px of the prepared frames
    """
    ends = max(_FEWEST_AT_ENDS, int(_SHARE * len(frames)))
    if len(frames) < 4 * _FEWEST_AT_ENDS:
        return np.zeros(0)
    _, vectors = np.linalg.eigh(_products(frames))
    found = []
    for k in range(1, min(_COMPONENTS, len(frames) - 1) + 1):
        order = np.argsort(vectors[:, -k], kind="stable")
        low, high = (frames[part].mean(axis=0) for part in (order[:ends], order[-ends:]))
        white = whiteness(low, finder.reference.noise, ends)
        if not white.any():
            continue
        shift = MatchedFilter(low, white, (4, 4)).shifts(spectra_of(high[None])).yx_px[0]
        found.append(float(np.hypot(*shift)))
    return np.array(found)


def _products(frames: NDArray[np.float32]) -> FloatArray:
    """Products of all pairs of frames less their mean, a few rows of pixels at a time."""
    total = np.zeros((len(frames), len(frames)))
    for row in range(0, frames.shape[1], _ROWS):
        part = frames[:, row : row + _ROWS].reshape(len(frames), -1).astype(np.float64)
        part -= part.mean(axis=0)
        total += part @ part.T
    return total


def _residual(means: NDArray[np.float32]) -> float:
    if len(means) < _FEWEST_BLOCKS:
        return float("nan")
    options = MotionParameters(stabilise=False, reference_frames=len(means), min_snr=0)
    field = register(means, options).field_yx_px
    if field is None:
        return float("nan")
    left = field - np.median(field, axis=0)
    return float(np.sqrt((left.astype(np.float64) ** 2).mean()))


@njit(cache=True, nogil=True, parallel=True)
def _correlations(frames, image):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n, height, width = frames.shape
    found = np.empty(n)
    for t in prange(n):
        count, a, b, aa, bb, ab = 0, 0.0, 0.0, 0.0, 0.0, 0.0
        for y in range(height):
            for x in range(width):
                u = np.float64(frames[t, y, x])
                if not np.isfinite(u):
                    continue
                v = np.float64(image[y, x])
                count += 1
                a += u
                b += v
                aa += u * u
                bb += v * v
                ab += u * v
        if count < 2:
            found[t] = np.nan
            continue
        spread = (aa - a * a / count) * (bb - b * b / count)
        found[t] = (ab - a * b / count) / np.sqrt(spread) if spread > 0 else np.nan
    return found
