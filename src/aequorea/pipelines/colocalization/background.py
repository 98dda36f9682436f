"""The grey level that is no signal, and what is left without it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aequorea.pipelines.colocalization.parameters import BackgroundParameters
    from aequorea.pipelines.colocalization.stains import Stains


_FAR_STEPS = 10


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
        _level(_intensities(stains, channel), parameters, name)
        for channel, name in enumerate(stains.names)
    )


def _level(found: Intensities, parameters: BackgroundParameters, name: str) -> float:
    if parameters.background == "mode" and (share := found.share_of_padding()):
        found = found.without_zeros()
        warnings.warn(
            f"{share:.0%} of {name} is exactly 0, apart from all other intensities (padding, black "
            f"corners): the background is the mode of the other pixels, {found.mode():g}",
            AequoreaWarning,
            stacklevel=2,
        )
    return found.level(parameters.background, parameters.background_percentile)


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

    def share_of_padding(self) -> float:
        """Share of exact zeros, if 0 is the mode and all else starts far above; else 0.

        Far is ten times the usual step between intensities, so that counts of dim images, whose
        0 is followed by 1 and 2, are no padding.

        Examples
        --------
        >>> found = Intensities()
        >>> found.add(np.array([0] * 9 + [100, 101, 101, 102, 103], "u2"))
        >>> round(found.share_of_padding(), 2), found.without_zeros().mode()
        (0.64, 101.0)
        """
        others = self.without_zeros()
        zeros = int(self._counts.sum() - others._counts.sum())
        if self._values.size < 3 or not others._values.size or others._values[0] < 0:
            return 0.0
        if not zeros or zeros < int(self._counts.max()):
            return 0.0
        steps = np.diff(others._values[:64].astype(np.float64))
        lowest = others.percentile(0.5)
        if not steps.size or lowest < _FAR_STEPS * float(np.median(steps)):
            return 0.0
        return zeros / int(self._counts.sum())

    def without_zeros(self) -> Intensities:
        """The same counts, exact zeros left out."""
        found = Intensities()
        other = self._values != 0
        found._values, found._counts = self._values[other], self._counts[other]
        return found

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
