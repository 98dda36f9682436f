"""Counts as codes: cells of equal width in units of the noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import InputError
from aequorea.photon.anscombe import generalized_anscombe

if TYPE_CHECKING:
    from numpy.typing import NDArray

COUNT_TYPES = ("uint8", "int8", "uint16", "int16")


@dataclass(frozen=True, kw_only=True)
class Quantiser:
    """Which counts share a code.

    After the generalised Anscombe transform the noise has an SD of 1 everywhere; cells of ``step``
    there lose the same small part of the information everywhere. A cell holds one count at least.

    Attributes
    ----------
    gain : float
        Counts per photon.
    zero : float
        Count of no light.
    step : float
        Width of a cell in SD of the noise.
    dtype : str
        Of the counts: uint8, int8, uint16 or int16.

    Examples
    --------
    >>> coarse = Quantiser(gain=8.0, zero=100.0, step=0.5, dtype="uint16")
    >>> lowest, highest = coarse.edges[coarse.code_of(400)], coarse.edges[coarse.code_of(400) + 1]
    >>> int(highest - lowest)
    25
    """

    gain: float
    zero: float
    step: float
    dtype: str

    def __post_init__(self) -> None:
        """Refuse what gives no codes."""
        if self.dtype not in COUNT_TYPES:
            raise InputError(
                f"raw counts of type {self.dtype} are not stored as photons; "
                f"expected {', '.join(COUNT_TYPES)}"
            )
        if not (np.isfinite(self.gain) and self.gain > 0):
            raise InputError(
                f"gain must be a positive number of counts per photon, got {self.gain}"
            )
        if not np.isfinite(self.zero):
            raise InputError(f"the zero level must be a number of counts, got {self.zero}")
        if not 0 < self.step <= 4:
            raise InputError(f"step must lie between 0 and 4 SD of the noise, got {self.step}")

    @property
    def lowest(self) -> int:
        """The lowest count of the type."""
        return int(np.iinfo(self.dtype).min)

    @cached_property
    def codes(self) -> NDArray[np.uint16]:
        """Code of each count of the type, from the lowest; rises by 0 or 1."""
        limits = np.iinfo(self.dtype)
        counts = np.arange(limits.min, limits.max + 1, dtype=np.float64)
        z = generalized_anscombe(counts, gain=self.gain, zero=self.zero)
        cells = np.floor(z / self.step)
        return np.cumsum(np.diff(cells, prepend=cells[0]) > 0).astype(np.uint16)

    @cached_property
    def edges(self) -> NDArray[np.int32]:
        """First count of each code, and one beyond the last count."""
        first = np.flatnonzero(np.diff(self.codes.astype(np.int32), prepend=-1) > 0)
        return np.append(first + self.lowest, np.iinfo(self.dtype).max + 1).astype(np.int32)

    def code_of(self, counts: Any) -> Any:
        """Codes of counts."""
        return self.codes[np.asarray(counts, dtype=np.int64) - self.lowest]

    @cached_property
    def sixteenths(self) -> NDArray[np.int32]:
        """What each code stands for, in sixteenths of a count.

        The middle of the cell, less a twelfth of the squared step in photons: cells grow with
        brightness, so that what falls into one lies below its middle on average.
        """
        first, last = self.edges[:-1].astype(np.int64), self.edges[1:].astype(np.int64) - 1
        middle = 8 * (first + last) - 16 * self.gain * self.step**2 / 12
        found: NDArray[np.int32] = np.clip(np.rint(middle), 16 * first, 16 * last).astype(np.int32)
        return found
