"""Sums over the pixels below every threshold pair of a rising line, in one pass.

Let u be the channel that is stepped and v its partner, T_u rising and T_v never falling from
level to level. A pixel that is not above both thresholds at some level is not at any higher
one, so it leaves the set above at one *exit level*. Sums collected by exit level and then
accumulated give the moments of the pixels below, and above, at every level.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    from aequorea.colocalization.moments import PairMoments
    from aequorea.colocalization.regions import Pixels

FloatArray = NDArray[np.float64]

# Integer levels are tabulated up to this range.
LARGEST_SPAN = 1 << 22
# Pixels are tallied in a fixed number of parts, so that sums do not depend on the threads.
_PARTS = 4
_WORTH_THREADS = 1 << 18
_EXACT = 2.0**62


@dataclass(frozen=True, slots=True)
class LevelLine:
    """Threshold pairs along a rising line.

    Attributes
    ----------
    u, v : ndarray, shape (l,)
        Thresholds of the stepped channel, strictly ascending, and of its partner, never
        descending.
    along_a : bool
        Whether the stepped channel u is a; else it is b.
    whole : bool
        Whether all thresholds are whole numbers, those of u consecutive.
    """

    u: FloatArray
    v: FloatArray
    along_a: bool
    whole: bool


class LevelTally:
    """Sums by exit level; pixels may be added piece by piece.

    Parameters
    ----------
    line : LevelLine
    moments : PairMoments
        Of all pixels that will be added: their ranges decide the tables.
    dtype : dtype
        Pixel type. Sums of integers are exact, so any order of adding gives the same bytes.
    parallel : bool
        Share large pieces between threads.
    """

    def __init__(
        self, line: LevelLine, moments: PairMoments, dtype: np.dtype[Any], *, parallel: bool = True
    ) -> None:
        self.line = line
        self._parallel = parallel
        m = moments
        means = (m.mean_a, m.mean_b) if line.along_a else (m.mean_b, m.mean_a)
        low_u, high_u, low_v, high_v = (
            (m.min_a, m.max_a, m.min_b, m.max_b)
            if line.along_a
            else (m.min_b, m.max_b, m.min_a, m.max_a)
        )
        span = max(high_u - low_u, high_v - low_v) + 1
        reach = max(abs(low_u), abs(high_u), abs(low_v), abs(high_v))
        self._tabled = (
            line.whole
            and dtype.kind in "iu"
            and span <= LARGEST_SPAN
            and span * span * m.n < _EXACT
            and reach * m.n < _EXACT
            and line.u[0] == low_u
            and line.u[-1] == high_u
        )
        self._exact = dtype.kind in "iu" and span * span * m.n < _EXACT
        slots = line.u.size + 1
        # Where equal thresholds begin.
        self._first_u = np.searchsorted(line.u, line.u, side="left")
        self._first_v = np.searchsorted(line.v, line.v, side="left")
        if self._exact:
            self._shift_u, self._shift_v = round(means[0]), round(means[1])
        if self._tabled:
            self._low_u, self._low_v = int(low_u), int(low_v)
            values = np.arange(self._low_v, int(high_v) + 1)
            self._exit_of_v = np.searchsorted(line.v, values, side="right").astype(np.int32)
            self._sums: NDArray[Any] = np.zeros((slots, 6), np.int64)
            self._u_by_v: NDArray[Any] = np.zeros(values.size, np.int64)
            self._v_by_u: NDArray[Any] = np.zeros(line.u.size, np.int64)
            self._range: FloatArray | None = None
        else:
            self._sums = np.zeros((slots, 6), np.int64 if self._exact else np.float64)
            self._u_by_v, self._v_by_u = np.zeros(slots), np.zeros(slots)
            self._range = np.tile([np.inf, -np.inf, np.inf, -np.inf], (slots, 1))

    def add(self, x: Pixels, y: Pixels) -> None:
        """Count the pixels of a flat pair of arrays (a, b)."""
        u, v = (x, y) if self.line.along_a else (y, x)
        edges = np.linspace(0, u.size, _PARTS + 1).astype(np.int64)
        spans = [slice(int(i), int(j)) for i, j in itertools.pairwise(edges)]
        if not self._parallel or u.size < _WORTH_THREADS:
            spans = [slice(0, u.size)]
        workers = min(numba.get_num_threads(), len(spans))
        if workers > 1:
            with ThreadPoolExecutor(workers) as pool:
                parts = list(pool.map(lambda span: self._tally(u[span], v[span]), spans))
        else:
            parts = [self._tally(u[span], v[span]) for span in spans]
        for sums, u_by_v, v_by_u, reach in parts:
            if self._exact:
                self._sums += sums
            else:
                _merge_rows(self._sums, sums)
            self._u_by_v += u_by_v
            self._v_by_u += v_by_u
            if self._range is not None and reach is not None:
                self._range[:, ::2] = np.minimum(self._range[:, ::2], reach[:, ::2])
                self._range[:, 1::2] = np.maximum(self._range[:, 1::2], reach[:, 1::2])

    def _tally(
        self, u: Pixels, v: Pixels
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], FloatArray | None]:
        sums = np.zeros_like(self._sums)
        u_by_v, v_by_u = np.zeros_like(self._u_by_v), np.zeros_like(self._v_by_u)
        if self._tabled:
            _tally_whole(
                u, v, self._low_u, self._low_v, self._shift_u, self._shift_v,
                self._exit_of_v, sums, u_by_v, v_by_u,
            )  # fmt: skip
            return sums, u_by_v, v_by_u, None
        reach = np.tile([np.inf, -np.inf, np.inf, -np.inf], (sums.shape[0], 1))
        if self._exact:
            _tally_integers(
                u, v, self._shift_u, self._shift_v, self.line.u, self.line.v,
                self._first_u, self._first_v, sums, reach, u_by_v, v_by_u,
            )  # fmt: skip
            return sums, u_by_v, v_by_u, reach
        _tally_real(
            u, v, self.line.u, self.line.v, self._first_u, self._first_v,
            sums, reach, u_by_v, v_by_u,
        )  # fmt: skip
        return sums, u_by_v, v_by_u, reach

    def _rows(self) -> FloatArray:
        """Moments by exit level: n, two means, two sums of squares and one of products."""
        return np.asarray(_rows_of_sums(self._sums)) if self._exact else self._sums

    def below(self) -> tuple[NDArray[np.int64], FloatArray]:
        """Number of pixels, and their Pearson's r, below each level."""
        n, r = _accumulate(self._rows()[:-1])
        if self._range is not None:
            r[_constant(self._range[:-1])] = np.nan
        return n, r

    def falls_below(self, k: int) -> bool:
        """Whether r below level k is negative or undefined; exact for integers."""
        if not self._exact:
            r = self.below()[1][k]
            return bool(np.isnan(r) or r < 0)
        n, su, sv, uu, vv, uv = (int(total) for total in self._sums[: k + 1].sum(axis=0))
        varied = n * uu > su * su and n * vv > sv * sv
        return not varied or n * uv < su * sv

    def above(self) -> FloatArray:
        """Pearson's r of the pixels above each level."""
        _, r = _accumulate(self._rows()[:0:-1])
        if self._range is not None:
            r[_constant(self._range[:0:-1])] = np.nan
        return np.asarray(r[::-1])

    def gated(self) -> tuple[FloatArray, FloatArray]:
        """Σu where v is strictly above its threshold, and Σv where u is above its."""
        if not self._tabled:
            return _tail(self._u_by_v)[1:], _tail(self._v_by_u)[1:]
        first = np.clip(self.line.v - self._low_v + 1, 0, self._u_by_v.size).astype(np.int64)
        tail_u = np.append(_tail(self._u_by_v), 0.0)
        return tail_u[first], np.append(_tail(self._v_by_u), 0.0)[1:]


def _tail(values: NDArray[Any]) -> FloatArray:
    return np.asarray(np.cumsum(values[::-1])[::-1], dtype=np.float64)


def _constant(reach: FloatArray) -> NDArray[np.bool_]:
    low, high = np.minimum.accumulate(reach), np.maximum.accumulate(reach)
    return np.asarray((low[:, 0] >= high[:, 1]) | (low[:, 2] >= high[:, 3]))


@njit(cache=True, nogil=True)
def _tally_whole(
    u: Pixels,
    v: Pixels,
    low_u: int,
    low_v: int,
    shift_u: int,
    shift_v: int,
    exit_of_v: NDArray[np.int32],
    sums: NDArray[np.int64],
    u_by_v: NDArray[np.int64],
    v_by_u: NDArray[np.int64],
) -> None:
    for i in range(u.size):
        p, q = np.int64(u[i]), np.int64(v[i])
        at_u, at_v = p - low_u, q - low_v
        slot = min(at_u + 1, np.int64(exit_of_v[at_v]))
        u_by_v[at_v] += p
        v_by_u[at_u] += q
        p -= shift_u
        q -= shift_v
        sums[slot, 0] += 1
        sums[slot, 1] += p
        sums[slot, 2] += q
        sums[slot, 3] += p * p
        sums[slot, 4] += q * q
        sums[slot, 5] += p * q


@njit(cache=True, nogil=True)
def _exits(
    p: float,
    q: float,
    thresholds_u: FloatArray,
    thresholds_v: FloatArray,
    first_u: NDArray[np.int64],
    first_v: NDArray[np.int64],
) -> tuple[Any, Any, Any]:
    """Levels a pixel is not below; levels it is strictly above in u; and in v."""
    exit_u = np.searchsorted(thresholds_u, p, side="right")
    exit_v = np.searchsorted(thresholds_v, q, side="right")
    slot = min(exit_u, exit_v)
    # A pixel that equals a threshold is not strictly above it.
    if exit_u > 0 and thresholds_u[exit_u - 1] == p:
        exit_u = first_u[exit_u - 1]
    if exit_v > 0 and thresholds_v[exit_v - 1] == q:
        exit_v = first_v[exit_v - 1]
    return slot, exit_u, exit_v


@njit(cache=True, nogil=True)
def _tally_integers(
    u: Pixels,
    v: Pixels,
    shift_u: int,
    shift_v: int,
    thresholds_u: FloatArray,
    thresholds_v: FloatArray,
    first_u: NDArray[np.int64],
    first_v: NDArray[np.int64],
    sums: NDArray[np.int64],
    reach: FloatArray,
    u_by_v: FloatArray,
    v_by_u: FloatArray,
) -> None:
    for i in range(u.size):
        p, q = float(u[i]), float(v[i])
        slot, exit_u, exit_v = _exits(p, q, thresholds_u, thresholds_v, first_u, first_v)
        u_by_v[exit_v] += p
        v_by_u[exit_u] += q
        reach[slot, 0], reach[slot, 1] = min(reach[slot, 0], p), max(reach[slot, 1], p)
        reach[slot, 2], reach[slot, 3] = min(reach[slot, 2], q), max(reach[slot, 3], q)
        du, dv = np.int64(u[i]) - shift_u, np.int64(v[i]) - shift_v
        sums[slot, 0] += 1
        sums[slot, 1] += du
        sums[slot, 2] += dv
        sums[slot, 3] += du * du
        sums[slot, 4] += dv * dv
        sums[slot, 5] += du * dv


@njit(cache=True, nogil=True)
def _tally_real(
    u: Pixels,
    v: Pixels,
    thresholds_u: FloatArray,
    thresholds_v: FloatArray,
    first_u: NDArray[np.int64],
    first_v: NDArray[np.int64],
    rows: FloatArray,
    reach: FloatArray,
    u_by_v: FloatArray,
    v_by_u: FloatArray,
) -> None:
    for i in range(u.size):
        p, q = float(u[i]), float(v[i])
        slot, exit_u, exit_v = _exits(p, q, thresholds_u, thresholds_v, first_u, first_v)
        u_by_v[exit_v] += p
        v_by_u[exit_u] += q
        reach[slot, 0], reach[slot, 1] = min(reach[slot, 0], p), max(reach[slot, 1], p)
        reach[slot, 2], reach[slot, 3] = min(reach[slot, 2], q), max(reach[slot, 3], q)
        _include(rows[slot], p, q)


@njit(cache=True, nogil=True, inline="always")
def _include(row: FloatArray, p: float, q: float) -> None:
    """Add one pixel to a row of moments (Welford's update)."""
    row[0] += 1
    dp, dq = p - row[1], q - row[2]
    row[1] += dp / row[0]
    row[2] += dq / row[0]
    row[3] += dp * (p - row[1])
    row[4] += dq * (q - row[2])
    row[5] += dp * (q - row[2])


@njit(cache=True, nogil=True)
def _merge(row: FloatArray, other: FloatArray) -> None:
    """Add the pixels of one row of moments to another (Chan, Golub & LeVeque 1979)."""
    m, n = other[0], row[0]
    if m == 0:
        return
    du, dv = other[1] - row[1], other[2] - row[2]
    weight = n * m / (n + m)
    row[0] = n + m
    row[1] += du * m / (n + m)
    row[2] += dv * m / (n + m)
    row[3] += other[3] + weight * du * du
    row[4] += other[4] + weight * dv * dv
    row[5] += other[5] + weight * du * dv


@njit(cache=True, nogil=True)
def _merge_rows(rows: FloatArray, others: FloatArray) -> None:
    for k in range(rows.shape[0]):
        _merge(rows[k], others[k])


@njit(cache=True, nogil=True)
def _rows_of_sums(sums: NDArray[np.int64]) -> FloatArray:
    """Moments from exact sums; squares are first moved to the whole number nearest the mean."""
    rows = np.zeros(sums.shape)
    for k in range(sums.shape[0]):
        n, su, sv = sums[k, 0], sums[k, 1], sums[k, 2]
        if n == 0:
            continue
        cu, cv = su // n, sv // n
        ru, rv = su - cu * n, sv - cv * n
        rows[k, 0] = n
        rows[k, 1], rows[k, 2] = cu + ru / n, cv + rv / n
        rows[k, 3] = float(sums[k, 3] - cu * su - cu * ru) - float(ru) * ru / n
        rows[k, 4] = float(sums[k, 4] - cv * sv - cv * rv) - float(rv) * rv / n
        rows[k, 5] = float(sums[k, 5] - cu * sv - cv * ru) - float(ru) * rv / n
    return rows


@njit(cache=True, nogil=True)
def _accumulate(rows: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """Number and Pearson's r of the pixels in rows 0..k, for each k."""
    count = np.zeros(rows.shape[0], np.int64)
    r = np.full(rows.shape[0], np.nan)
    total = np.zeros(6)
    for k in range(rows.shape[0]):
        _merge(total, rows[k])
        count[k] = np.int64(total[0])
        if total[0] >= 2 and total[3] > 0 and total[4] > 0:
            r[k] = min(1.0, max(-1.0, total[5] / np.sqrt(total[3]) / np.sqrt(total[4])))
    return count, r
