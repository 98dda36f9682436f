"""Rows that were scanned back and forth, and do not meet: found, and put in line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit, prange
from scipy import fft

from aequorea.errors import InputError
from aequorea.model.lazy import full_index
from aequorea.motion.warp import tap_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aequorea.model.lazy import LazyArray

__all__ = ["AlignedRows", "align_rows", "line_phase"]

_STEP_PX = 0.02


def line_phase(frames: NDArray[Any], *, max_shift_px: float = 10.0) -> float:
    """How far odd rows lie to the right of even ones, in a movie scanned back and forth.

    Parameters
    ----------
    frames : ndarray, shape (t, y, x)
        Raw: not registered, not averaged over frames that have moved.
    max_shift_px : float, px

    Returns
    -------
    float, px
        0 for frames without contrast along rows.

    Raises
    ------
    InputError
        For frames of fewer than 4 rows or 16 columns.

    Notes
    -----
    The maximum of the correlation of each odd row with the mean of the two beside it, over all
    frames, each frequency weighted down by the power all rows have in it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image = np.repeat(rng.normal(size=(1, 1, 64)).cumsum(axis=-1), 20, axis=1)
    >>> image[:, 1::2] = np.roll(image[:, 1::2], 2, axis=-1)
    >>> round(line_phase(image), 1)
    2.0
    """
    if frames.ndim != 3 or frames.shape[1] < 4 or frames.shape[2] < 16:
        raise InputError(f"line phase needs frames of 4 x 16 pixels, got shape {frames.shape}")
    width = frames.shape[2]
    fade = np.ones(width)
    n = max(2, width // 10)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)
    fade[:n], fade[-n:] = ramp, ramp[::-1]
    cross = np.zeros(width // 2 + 1, np.complex128)
    power = np.zeros(width // 2 + 1)
    for frame in frames:
        rows = frame.astype(np.float64)
        rows = (rows - rows.mean(axis=1, keepdims=True)) * fade
        if not np.isfinite(rows).all():
            continue
        spectra = fft.rfft(rows, axis=1)
        odd = spectra[1:-1:2]
        beside = (spectra[0:-2:2][: len(odd)] + spectra[2::2][: len(odd)]) / 2
        cross += (odd * np.conj(beside)).sum(axis=0)
        power += (np.abs(spectra) ** 2).sum(axis=0)
    weight = np.where(power > 1e-9 * power.max(initial=0), 1 / np.maximum(power, 1e-300), 0)
    weight[0] = 0
    if not weight.any():
        return 0.0
    shifts = np.arange(-max_shift_px, max_shift_px + _STEP_PX / 2, _STEP_PX)
    waves = np.exp(2j * np.pi * np.outer(shifts, fft.rfftfreq(width)))
    return float(shifts[int((waves @ (cross * weight)).real.argmax())])


def align_rows(frames: NDArray[Any], phase_px: float) -> NDArray[np.float32]:
    """Frames with their odd rows moved back by ``phase_px``, by cubic convolution.

    Parameters
    ----------
    frames : ndarray, shape (t, y, x)
    phase_px : float, px
        As :func:`line_phase` gives it.
    """
    moved = _aligned_rows(np.ascontiguousarray(frames), phase_px, tap_weights("cubic"))
    return np.asarray(moved, dtype=np.float32)


class AlignedRows:
    """A movie whose odd rows are put in line as it is read."""

    def __init__(self, movie: LazyArray, phase_px: float) -> None:
        self._movie, self._phase = movie, phase_px

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each axis."""
        return tuple(int(n) for n in self._movie.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one pixel."""
        return np.dtype(np.float32)

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        where, *inner = full_index(index, 3)
        times = where if isinstance(where, slice) else slice(where, where + 1 or None)
        moved = align_rows(np.asarray(self._movie[times]), self._phase)
        return moved[(slice(None), *inner)] if isinstance(where, slice) else moved[0][tuple(inner)]


@njit(cache=True, nogil=True, parallel=True)
def _aligned_rows(frames, phase, weights):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n, height, width = frames.shape
    moved = np.empty((n, height, width), np.float32)
    steps = weights.shape[0] - 1
    whole = int(np.floor(phase))
    w = weights[int(np.rint((phase - whole) * steps))]
    for t in prange(n):
        for y in range(height):
            if y % 2 == 0:
                for x in range(width):
                    moved[t, y, x] = frames[t, y, x]
                continue
            for x in range(width):
                total = np.float32(0)
                for i in range(4):
                    at = min(max(x + whole - 1 + i, 0), width - 1)
                    total += w[i] * np.float32(frames[t, y, at])
                moved[t, y, x] = total
    return moved
