"""Sums over pixel pairs from which the correlation measures follow, one region or many."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aequorea.colocalization.regions import Pixels

# Reductions may be reordered into vector lanes; values are checked to be finite before.
_LANES = {"reassoc", "nsz", "nnan", "contract"}
# Labels are counted in a table when it is not much larger than the image, else looked up.
_TABLE_PER_PIXEL = 4


@dataclass(frozen=True, slots=True)
class PairMoments:
    """Sufficient statistics of pixel pairs (a, b).

    Attributes
    ----------
    n : int
        Number of pixels.
    sum_a, sum_b : float
    min_a, max_a, min_b, max_b : float
        NaN when there are no pixels.
    saa, sbb, sab : float
        Sums of squares and products about the means.
    """

    n: int
    sum_a: float
    sum_b: float
    min_a: float
    max_a: float
    min_b: float
    max_b: float
    saa: float
    sbb: float
    sab: float

    @property
    def mean_a(self) -> float:
        """Mean of a; NaN without pixels."""
        return self.sum_a / self.n if self.n else float("nan")

    @property
    def mean_b(self) -> float:
        """Mean of b; NaN without pixels."""
        return self.sum_b / self.n if self.n else float("nan")

    @property
    def varied(self) -> bool:
        """Whether there are two pixels or more and neither channel is constant."""
        return self.n >= 2 and self.min_a < self.max_a and self.min_b < self.max_b

    @property
    def correlation(self) -> float:
        """Pearson's r; NaN where undefined."""
        if not (self.varied and self.saa > 0 and self.sbb > 0):
            return float("nan")
        r = self.sab / math.sqrt(self.saa) / math.sqrt(self.sbb)
        return min(1.0, max(-1.0, r)) if math.isfinite(r) else float("nan")

    @property
    def raw(self) -> tuple[float, float, float]:
        """Sums about zero: Σa², Σb², Σab."""
        if not self.n:
            return 0.0, 0.0, 0.0
        return (
            self.saa + self.sum_a * self.mean_a,
            self.sbb + self.sum_b * self.mean_b,
            self.sab + self.sum_a * self.mean_b,
        )

    def __add__(self, other: PairMoments) -> PairMoments:
        """Moments of the union of two disjoint sets of pixels (Chan, Golub & LeVeque 1979)."""
        if not self.n or not other.n:
            return other if not self.n else self
        n = self.n + other.n
        weight = self.n * other.n / n
        da, db = other.mean_a - self.mean_a, other.mean_b - self.mean_b
        return PairMoments(
            n,
            self.sum_a + other.sum_a,
            self.sum_b + other.sum_b,
            min(self.min_a, other.min_a),
            max(self.max_a, other.max_a),
            min(self.min_b, other.min_b),
            max(self.max_b, other.max_b),
            self.saa + other.saa + weight * da * da,
            self.sbb + other.sbb + weight * db * db,
            self.sab + other.sab + weight * da * db,
        )


NO_PIXELS = PairMoments(0, 0.0, 0.0, *(float("nan"),) * 4, 0.0, 0.0, 0.0)


def pair_moments(x: Pixels, y: Pixels) -> PairMoments:
    """Moments of two flat arrays of one type, in two passes.

    Parameters
    ----------
    x, y : ndarray, shape (n,), contiguous

    Returns
    -------
    PairMoments

    Examples
    --------
    >>> import numpy as np
    >>> pair_moments(np.array([1.0, 2.0]), np.array([3.0, 5.0])).sab
    1.0
    """
    if not x.size:
        return NO_PIXELS
    sum_a, sum_b, min_a, max_a, min_b, max_b = _sums(x, y)
    n = x.size
    saa, sbb, sab = _centred(x, y, sum_a / n, sum_b / n)
    return PairMoments(
        n,
        float(sum_a),
        float(sum_b),
        float(min_a),
        float(max_a),
        float(min_b),
        float(max_b),
        saa,
        sbb,
        sab,
    )


@njit(cache=True, nogil=True, fastmath=_LANES)
def _sums(x: Pixels, y: Pixels) -> tuple[float, float, Any, Any, Any, Any]:
    sum_a = sum_b = 0.0
    min_a = max_a = x[0]
    min_b = max_b = y[0]
    for i in range(x.size):
        sum_a += x[i]
        sum_b += y[i]
        min_a, max_a = min(min_a, x[i]), max(max_a, x[i])
        min_b, max_b = min(min_b, y[i]), max(max_b, y[i])
    return sum_a, sum_b, min_a, max_a, min_b, max_b


@njit(cache=True, nogil=True, fastmath=_LANES)
def _centred(x: Pixels, y: Pixels, mean_a: float, mean_b: float) -> tuple[float, float, float]:
    saa = sbb = sab = 0.0
    for i in range(x.size):
        da, db = x[i] - mean_a, y[i] - mean_b
        saa += da * da
        sbb += db * db
        sab += da * db
    return saa, sbb, sab


@njit(cache=True, nogil=True)
def covariance_signs(x: Pixels, y: Pixels, mean_a: float, mean_b: float) -> tuple[int, int]:
    """How many pixels have (a − mean a)(b − mean b) above zero, and below zero."""
    positive = negative = 0
    for i in range(x.size):
        p = (x[i] - mean_a) * (y[i] - mean_b)
        positive += p > 0
        negative += p < 0
    return positive, negative


@njit(cache=True, nogil=True, fastmath=_LANES)
def sums_above(
    x: Pixels, y: Pixels, threshold_a: float, threshold_b: float
) -> tuple[int, int, int, float, float, float, float, float, float]:
    """Counts and intensity sums over the pixels strictly above thresholds.

    Returns
    -------
    n_a, n_b, n_both : int
        Pixels with a above its threshold, b above its, and both.
    a_in_b, b_in_a : float
        Σa where b is above, Σb where a is above.
    a_in_a, b_in_b : float
        Σa where a is above, Σb where b is above.
    a_in_both, b_in_both : float
    """
    n_a = n_b = n_both = 0
    a_in_b = b_in_a = a_in_a = b_in_b = a_both = b_both = 0.0
    for i in range(x.size):
        u, v = float(x[i]), float(y[i])
        in_a, in_b = u > threshold_a, v > threshold_b
        both = in_a and in_b
        n_a += in_a
        n_b += in_b
        n_both += both
        a_in_a += u if in_a else 0.0
        b_in_a += v if in_a else 0.0
        a_in_b += u if in_b else 0.0
        b_in_b += v if in_b else 0.0
        a_both += u if both else 0.0
        b_both += v if both else 0.0
    return n_a, n_b, n_both, a_in_b, b_in_a, a_in_a, b_in_b, a_both, b_both


@dataclass(frozen=True, slots=True)
class GroupedPixels:
    """Pixel pairs sorted by region: each region is one contiguous stretch.

    Attributes
    ----------
    labels : ndarray, shape (r,)
        Labels present, ascending.
    starts : ndarray, shape (r + 1,)
        Region ``i`` is ``starts[i]:starts[i + 1]``.
    a, b : ndarray, shape (n,)
    """

    labels: NDArray[np.int64]
    starts: NDArray[np.int64]
    a: Pixels
    b: Pixels

    def region(self, i: int) -> tuple[Pixels, Pixels]:
        """Pixels of the i-th region, in the order of the image."""
        stretch = slice(int(self.starts[i]), int(self.starts[i + 1]))
        return self.a[stretch], self.b[stretch]


def group_by_region(a: Pixels, b: Pixels, labels: NDArray[Any]) -> GroupedPixels:
    """Sort the pixels of two channels by label (a counting sort), leaving background out.

    Parameters
    ----------
    a, b : ndarray, same shape
    labels : ndarray of int, same shape, not negative

    Returns
    -------
    GroupedPixels

    Notes
    -----
    Cost O(pixels + largest label); one copy of the labelled pixels. Labels that are huge and
    sparse are first replaced by their rank.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([5.0, 6.0, 7.0, 8.0])
    >>> groups = group_by_region(a, -a, np.array([2, 0, 9, 2]))
    >>> groups.labels, groups.region(0)
    (array([2, 9]), (array([5., 8.]), array([-5., -8.])))
    """
    flat = np.ascontiguousarray(labels).ravel()
    x, y = np.ascontiguousarray(a).ravel(), np.ascontiguousarray(b).ravel()
    largest = int(flat.max()) if flat.size else 0
    names: NDArray[np.int64] | None = None
    if largest > _TABLE_PER_PIXEL * flat.size + 65536:
        unique, inverse = np.unique(flat, return_inverse=True)
        names = unique.astype(np.int64)
        if names[0] == 0:
            names, flat = names[1:], inverse.astype(np.int64)
        else:
            flat = inverse.astype(np.int64) + 1
        largest = names.size
    counts = _count_labels(flat, largest)
    present = np.flatnonzero(counts[1:]) + 1
    starts = np.zeros(present.size + 1, dtype=np.int64)
    np.cumsum(counts[present], out=starts[1:])
    place = np.zeros(largest + 1, dtype=np.int64)
    place[present] = starts[:-1]
    xs, ys = np.empty(int(starts[-1]), x.dtype), np.empty(int(starts[-1]), y.dtype)
    _scatter(flat, x, y, place, xs, ys)
    return GroupedPixels(present if names is None else names[present - 1], starts, xs, ys)


@njit(cache=True, nogil=True)
def _count_labels(labels: NDArray[Any], largest: int) -> NDArray[np.int64]:
    counts = np.zeros(largest + 1, np.int64)
    for label in labels:
        counts[label] += 1
    return counts


@njit(cache=True, nogil=True)
def _scatter(
    labels: NDArray[Any], x: Pixels, y: Pixels, place: NDArray[np.int64], xs: Pixels, ys: Pixels
) -> None:
    for i in range(labels.size):
        label = labels[i]
        if label != 0:
            at = place[label]
            xs[at] = x[i]
            ys[at] = y[i]
            place[label] = at + 1
