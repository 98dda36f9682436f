"""The image frames are registered to: the mean of many of them, spread over the movie, aligned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aequorea.errors import InputError
from aequorea.motion.matched import (
    MatchedFilter,
    Shifts,
    noise_power,
    spectra_of,
    whiteness,
)
from aequorea.motion.warp import undo_motion, undo_shifts

__all__ = ["Reference", "align"]

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

_ROUNDS = 8
_SEED_FRAMES = 20
_SETTLED_PX = 0.02
_BATCH = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """An image and the noise of single frames around it.

    Attributes
    ----------
    image : ndarray of float32, shape (y, x)
        Prepared as frames are.
    noise : ndarray, shape (y, x // 2 + 1)
        Power of what frames have beside it.
    n_frames : int
        It is the mean of.
    """

    image: Float32Array
    noise: FloatArray
    n_frames: int

    @property
    def whitening(self) -> FloatArray:
        """See :func:`aequorea.motion.matched.whiteness`."""
        return whiteness(self.image, self.noise, self.n_frames)

    def matched(
        self, max_shift_px: tuple[float, float], band: FloatArray | None = None
    ) -> MatchedFilter:
        """Filter that finds the shifts of frames from this image.

        Raises
        ------
        InputError
            If the image shows nothing above the noise.
        """
        whitening = self.whitening
        if not whitening.any():
            raise InputError(
                "frames have nothing in common that rises above their noise: there is nothing to "
                "register the movie by"
            )
        return MatchedFilter(self.image, whitening, max_shift_px, band)


def align(
    frames: Float32Array,
    max_shift_px: tuple[float, float],
    *,
    start: FloatArray | None = None,
    band: FloatArray | None = None,
    workers: int = 1,
) -> tuple[Reference, Shifts]:
    """Make a reference of frames that have moved, by rounds of shifting and averaging.

    Parameters
    ----------
    frames : ndarray of float32, shape (t, y, x)
        Prepared.
    max_shift_px : (float, float), px
    start : ndarray, shape (t, 2), px, optional
        Shifts that are known roughly; NaN for frames to be left out at first.
    band : ndarray, shape (y, x // 2 + 1), optional
        Weight of each frequency.
    workers : int

    Returns
    -------
    reference : Reference
        In the middle of the motion: the median shift is 0.
    shifts : Shifts
        Of the frames.

    Notes
    -----
    The first reference is the mean of the frames most alike the one that has most like it, as in
    suite2p (Pachitariu et al. 2016, doi:10.1101/061507); the noise is first taken for all that
    frames show, which makes of the first correlation nearly a phase correlation.
    """
    spectra = np.concatenate([
        spectra_of(frames[k : k + _BATCH], workers) for k in range(0, len(frames), _BATCH)
    ])  # fmt: skip
    before = np.zeros((len(frames), 2))
    if start is None:
        image, noise = _most_alike(frames), noise_power([frames], frames.shape[1:], workers)
        reference = Reference(image=image, noise=noise, n_frames=min(_SEED_FRAMES, len(frames)))
        if not reference.whitening.any():  # too few for a dim scene: all of them, as they lie
            reference = averaged(frames, before, np.ones(len(frames)), workers=workers)
    else:
        known = np.isfinite(start).all(axis=1)
        before = np.nan_to_num(start)
        reference = averaged(frames, before, known.astype(float), workers=workers)
    for _ in range(_ROUNDS):
        shifts = reference.matched(max_shift_px, band).shifts(spectra)
        middle = np.nanmedian(shifts.yx_px, axis=0)
        moved = np.nan_to_num(shifts.yx_px - middle)
        reference = averaged(frames, moved, shifts.likeness, workers=workers)
        if np.abs(moved - before).mean() < _SETTLED_PX:
            break
        before = moved
    return reference, reference.matched(max_shift_px, band).shifts(spectra)


def averaged(
    frames: Float32Array,
    motion: FloatArray,
    likeness: FloatArray,
    *,
    workers: int = 1,
) -> Reference:
    """Mean of frames with their motion undone, and the power of what they have beside it.

    Parameters
    ----------
    frames : ndarray of float32, shape (t, y, x)
    motion : ndarray, shape (t, 2) or (t, rows, columns, 2), px
    likeness : ndarray, shape (t,)
        Frames that are hardly alike the reference so far are left out.
    """
    alike = np.nan_to_num(likeness)
    good = alike > 0.3 * np.median(alike[alike > 0]) if (alike > 0).any() else alike > 0
    if good.sum() < 2:
        good = np.ones(len(frames), bool)
    kept = np.flatnonzero(good)
    undo = undo_shifts if motion.ndim == 2 else undo_motion
    total, seen_by = np.zeros(frames.shape[1:]), np.zeros(frames.shape[1:], np.int64)
    for some in _in_batches(kept):
        still = undo(frames[some], motion[some])
        seen = np.isfinite(still)
        total += np.where(seen, still, 0).sum(axis=0, dtype=np.float64)
        seen_by += seen.sum(axis=0)
    image = (total / np.maximum(seen_by, 1)).astype(np.float32)
    image[seen_by < max(1, 0.2 * len(kept))] = 0.0
    beside = (
        frames[some]
        - undo(np.repeat(image[None], len(some), axis=0), -motion[some], edges="nearest")
        for some in _in_batches(kept)
    )
    noise = noise_power(beside, frames.shape[1:], workers) * len(kept) / max(len(kept) - 1, 1)
    return Reference(image=image, noise=noise, n_frames=len(kept))


def _in_batches(index: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    return [index[k : k + _BATCH] for k in range(0, len(index), _BATCH)]


def _most_alike(frames: Float32Array) -> Float32Array:
    n, height, width = frames.shape
    step = 4 if min(height, width) >= 64 else 1
    rows, columns = height // step * step, width // step * step
    small = frames[:, :rows, :columns].reshape(n, rows // step, step, columns // step, step)
    flat = small.mean(axis=(2, 4)).reshape(n, -1).astype(np.float64)
    flat = np.nan_to_num(flat - flat.mean(axis=1, keepdims=True))
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    alike = flat @ flat.T
    k = min(_SEED_FRAMES, n)
    nearest = np.argsort(-alike, axis=1, kind="stable")[:, :k]
    centre = int(np.take_along_axis(alike, nearest, axis=1).mean(axis=1).argmax())
    return np.asarray(frames[nearest[centre]].mean(axis=0), dtype=np.float32)
