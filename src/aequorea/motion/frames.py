"""Frames made ready for registration: binned, with the same noise whatever the brightness."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from aequorea.errors import InputError
from aequorea.photon import photon_transfer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aequorea.model.lazy import LazyArray

__all__ = ["Preparation"]

Float32Array = npt.NDArray[np.float32]

_FRAMES_FOR_GAIN = 400


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How frames are prepared.

    Attributes
    ----------
    bins : int
        Square blocks of so many pixels along each side are summed; an incomplete last block is
        left out.
    stabilise : bool
        Take the square root of what is above ``zero``: the noise of photons is then the same in
        bright and dim places.
    zero : float
        Counts of no light.
    gain : float
        Counts per photon: how far from zero the square root begins (3/8 of a photon; Anscombe
        1948, doi:10.1093/biomet/35.3-4.246).
    reason : str
        Why the noise is not stabilised.
    """

    bins: int = 1
    stabilise: bool = True
    zero: float = 0.0
    gain: float = 1.0
    reason: str = ""

    def __call__(self, frames: npt.NDArray[Any]) -> Float32Array:
        """Frames of shape (t, y, x) without their means, shape (t, y // bins, x // bins)."""
        pixels = np.ascontiguousarray(frames)
        prepared = _prepared(pixels, self.bins, self.stabilise, self.zero, self.gain)
        return np.asarray(prepared, dtype=np.float32)

    @classmethod
    def of(
        cls,
        movie: LazyArray,
        *,
        stabilise: bool | None = None,
        gain: float | None = None,
        zero: float | None = None,
    ) -> Preparation:
        """Prepared as a movie of shape (t, y, x) demands.

        Parameters
        ----------
        stabilise : bool, optional
            If not given: where noise grows with brightness as that of photons does.
        gain, zero : float, optional
            From :func:`aequorea.photon.photon_transfer` if not given.

        Raises
        ------
        InputError
            If stabilising is asked for, and the gain can neither be found nor is given.
        """
        if stabilise is False:
            return cls(stabilise=False, reason="as asked")
        if gain is not None and zero is not None:
            return cls(gain=gain, zero=zero)
        if (gain is None) != (zero is None):
            raise InputError("give both gain and zero, or neither")
        try:
            found = photon_transfer(movie, max_frames=_FRAMES_FOR_GAIN, intervals=False)
        except InputError as error:
            if stabilise:
                raise InputError(f"stabilise: {error}; give gain and zero") from error
            return cls(stabilise=False, reason=str(error))
        return cls(gain=found.gain, zero=found.zero)

    def binned(self, bins: int) -> Preparation:
        """The same with other blocks."""
        return replace(self, bins=bins)


@njit(cache=True, nogil=True, parallel=True, fastmath={"reassoc", "contract"})
def _prepared(frames, bins, stabilise, zero, gain):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n, height, width = frames.shape
    rows, columns = height // bins, width // bins
    prepared = np.empty((n, rows, columns), np.float32)
    dark = np.float32(bins * bins * zero)
    least = np.float32(0.375 * gain)
    scale = np.float32(2 / np.sqrt(gain)) if stabilise else np.float32(1 / (bins * bins))
    for t in prange(n):
        total = 0.0
        line = np.empty(columns * bins, np.float32)
        for y in range(rows):
            for x in range(columns * bins):
                line[x] = frames[t, y * bins, x]
            for dy in range(1, bins):
                for x in range(columns * bins):
                    line[x] += np.float32(frames[t, y * bins + dy, x])
            own = prepared[t, y]
            if bins == 2:
                for x in range(columns):
                    own[x] = line[2 * x] + line[2 * x + 1]
            else:
                for x in range(columns):
                    value = np.float32(0)
                    for dx in range(bins):
                        value += line[x * bins + dx]
                    own[x] = value
            if stabilise:
                for x in range(columns):
                    own[x] = np.sqrt(max(own[x] - dark, np.float32(0)) + least)
            part = np.float32(0)
            for x in range(columns):
                own[x] *= scale
                part += own[x]
            total += float(part)
        mean = np.float32(total / (rows * columns))
        for y in range(rows):
            for x in range(columns):
                prepared[t, y, x] -= mean
    return prepared


def evenly_spread(n: int, wanted: int, run: int) -> Sequence[slice]:
    """Runs of successive frames, spread over the whole movie."""
    runs = max(1, min(wanted, n) // run)
    starts = np.linspace(0, max(n - run, 0), runs).round().astype(int)
    cuts: list[slice] = []
    for start in starts.tolist():
        begin = max(start, cuts[-1].stop if cuts else 0)
        if begin < min(start + run, n):
            cuts.append(slice(begin, min(start + run, n)))
    return cuts
