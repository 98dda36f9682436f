"""The grey level that is no signal, and what is left without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aequorea.pipelines.colocalization.parameters import BackgroundParameters
    from aequorea.pipelines.colocalization.stains import Stains


class Subtracted:
    """Stains with their background subtracted, read frame by frame.

    Values below the background become 0, so that intensities stay amounts of light.
    Integers stay integers where the background is one.
    """

    def __init__(self, stains: Stains, levels: Sequence[float]) -> None:
        self.stains = stains
        self.levels = tuple(levels)

    def pixels(
        self, channel: int, frame: int, where: tuple[slice, ...] | None = None
    ) -> NDArray[Any]:
        """Pixels of one channel at one time, less background; only those of ``where``."""
        return subtract(self.stains.pixels(channel, frame, where), self.levels[channel])


def subtract(pixels: NDArray[Any], level: float) -> NDArray[Any]:
    """``max(pixels - level, 0)``; unchanged where ``level`` is 0.

    Examples
    --------
    >>> import numpy as np
    >>> subtract(np.array([2, 5], "u1"), 3)
    array([0, 2], dtype=uint8)
    >>> subtract(np.array([2, 5], "u1"), 2.5)
    array([0. , 2.5])
    """
    if level == 0:
        return pixels
    if pixels.dtype.kind == "u" and float(level).is_integer() and level > 0:
        floor = pixels.dtype.type(min(int(level), np.iinfo(pixels.dtype).max))
        return np.asarray(np.maximum(pixels, floor) - floor)
    return np.maximum(pixels.astype(np.float64) - level, 0.0)


def background_levels(stains: Stains, parameters: BackgroundParameters) -> tuple[float, ...]:
    """The grey level to subtract from each channel, over all of its frames.

    Raises
    ------
    InputError
        If the number of given values is not 1 or the number of channels.
    """
    method = parameters.background
    if method == "none":
        return (0.0,) * len(stains.names)
    if method == "constant":
        return per_channel(
            parameters.background_value or (), stains.names, flag="--background-value"
        )
    return tuple(
        _intensities(stains, channel).level(method, parameters.background_percentile)
        for channel in range(len(stains.names))
    )


def _intensities(stains: Stains, channel: int) -> Intensities:
    found = Intensities()
    for frame in range(stains.n_frames):
        for _, pixels in stains.pieces(channel, frame):
            found.add(pixels)
    return found


class Intensities:
    """How often each intensity occurs, counted piece by piece; exact for every pixel type.

    Memory grows with the number of different intensities, not with the number of pixels:
    at most 65536 for 16-bit images.
    """

    def __init__(self) -> None:
        self._values: NDArray[Any] = np.empty(0)
        self._counts: NDArray[np.int64] = np.empty(0, np.int64)

    def add(self, pixels: NDArray[Any]) -> None:
        """Count more pixels; NaN and infinite ones are left out."""
        finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels.ravel()
        values, counts = np.unique(finite, return_counts=True)
        together = np.concatenate([self._values, values]) if self._values.size else values
        self._values, place = np.unique(together, return_inverse=True)
        weights = np.concatenate([self._counts, counts]) if self._counts.size else counts
        total = np.zeros(self._values.size, np.int64)
        np.add.at(total, place, weights)
        self._counts = total

    def level(self, method: str, percent: float) -> float:
        """The mode, or the percentile ``percent``; 0 where nothing was counted."""
        if not self._values.size:
            return 0.0
        return self.mode() if method == "mode" else self.percentile(percent)

    def mode(self) -> float:
        """The most frequent intensity: of integers exactly, of others in 1024 bins.

        Examples
        --------
        >>> found = Intensities()
        >>> found.add(np.array([3, 7, 7, 9], "u2"))
        >>> found.mode()
        7.0
        """
        if self._values.dtype.kind in "iub":
            return float(self._values[np.argmax(self._counts)])
        counts, edges = np.histogram(self._values, bins=1024, weights=self._counts)
        at = int(np.argmax(counts))
        return float((edges[at] + edges[at + 1]) / 2)

    def percentile(self, percent: float) -> float:
        """As :func:`numpy.percentile`, from the counts.

        Examples
        --------
        >>> found = Intensities()
        >>> found.add(np.array([1, 2, 2, 10]))
        >>> found.percentile(50), float(np.percentile([1, 2, 2, 10], 90))
        (2.0, 7.6...)
        """
        ends = np.cumsum(self._counts)
        rank = percent / 100 * (int(ends[-1]) - 1)
        low, high = (
            float(self._values[np.searchsorted(ends, k, side="right")])
            for k in (np.floor(rank), np.ceil(rank))
        )
        return float(low + (high - low) * (rank - np.floor(rank)))


def per_channel(values: Sequence[float], names: Sequence[str], *, flag: str) -> tuple[float, ...]:
    """One value per channel out of one for all or one for each.

    Raises
    ------
    InputError
        For any other number of values.
    """
    if len(values) == 1:
        return tuple(values) * len(names)
    if len(values) == len(names):
        return tuple(values)
    raise InputError(
        f"{flag}: expected 1 value or {len(names)} (one per channel: {', '.join(names)}), "
        f"got {len(values)}"
    )
