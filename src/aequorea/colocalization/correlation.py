"""Correlation of two channels, pixel by pixel: Pearson, Spearman, Kendall and Li's ICQ.

The p-values here treat every pixel as independent. Pixels of an image are not (the optics and
the stained structures spread over many), so they call chance agreement significant far too
often; :func:`aequorea.colocalization.significance` tests against nulls that keep the
autocorrelation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numba import njit
from scipy import special

from aequorea.colocalization.moments import PairMoments, covariance_signs, pair_moments
from aequorea.colocalization.regions import Pixels, paired_pixels
from aequorea.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

IcqCompat = Literal["napari", "coloc2", "jacop"]
_NAN = float("nan")
# Ranks of integers are counted in a table up to this range; wider ranges are sorted.
_COUNTING_RANGE = 1 << 16


def pearson(a: ArrayLike, b: ArrayLike, mask: ArrayLike | None = None) -> tuple[float, float]:
    """Pearson's correlation coefficient (PCC) of two channels and its pixel p-value.

    Parameters
    ----------
    a, b : array_like, same shape
        Intensities, any dimensionality.
    mask : array_like of bool, same shape, optional
        Pixels to analyse.

    Returns
    -------
    pcc : float
        In [-1, 1]; NaN with fewer than two pixels or a constant channel.
    p_value : float
        Two-sided, for uncorrelated *independent* pixels. Not valid for images, whose pixels
        are autocorrelated; see :func:`aequorea.colocalization.significance`.

    Raises
    ------
    InputError
        If shapes differ or pixels are NaN or infinite.

    Examples
    --------
    >>> r, p = pearson([1, 2, 3, 4], [1, 2, 3, 5])
    >>> round(r, 3), round(p, 3)
    (0.983, 0.017)
    """
    moments = pair_moments(*paired_pixels(a, b, mask))
    return moments.correlation, pearson_pixel_p(moments.correlation, moments.n)


def spearman(a: ArrayLike, b: ArrayLike, mask: ArrayLike | None = None) -> tuple[float, float]:
    """Spearman's rank correlation (SRCC), ties sharing their mean rank, and its pixel p-value.

    Parameters
    ----------
    a, b : array_like, same shape
    mask : array_like of bool, same shape, optional

    Returns
    -------
    rho : float
        In [-1, 1]; NaN with fewer than two pixels or a constant channel.
    p_value : float
        Two-sided, from Student's t with n − 2 degrees of freedom; not valid under
        autocorrelation (see :func:`pearson`).

    Notes
    -----
    Cost O(n + range) for integers up to 16 bit, O(n log n) otherwise.

    Examples
    --------
    >>> rho, p = spearman([1, 2, 3, 4], [1, 8, 27, 64])
    >>> round(rho, 6)
    1.0
    """
    x, y = paired_pixels(a, b, mask)
    rho = rank_correlation(x, y)
    return rho, spearman_pixel_p(rho, x.size)


def kendall_tau(a: ArrayLike, b: ArrayLike, mask: ArrayLike | None = None) -> tuple[float, float]:
    """Kendall's tau-b and its pixel p-value.

    Parameters
    ----------
    a, b : array_like, same shape
    mask : array_like of bool, same shape, optional

    Returns
    -------
    tau : float
        In [-1, 1], corrected for ties; NaN with fewer than two pixels or a constant channel.
    p_value : float
        Two-sided normal approximation with ties; not valid under autocorrelation
        (see :func:`pearson`).

    Notes
    -----
    Discordant pairs are counted by a merge sort: O(n log n).

    References
    ----------
    .. [1] Knight (1966), doi:10.1080/01621459.1966.10480879

    Examples
    --------
    >>> round(kendall_tau([1, 1, 2, 3], [3, 2, 1, 1])[0], 6)
    -0.8
    """
    x, y = paired_pixels(a, b, mask)
    n = x.size
    if n < 2 or x.min() == x.max() or y.min() == y.max():
        return _NAN, _NAN
    rank_a, rank_b = _dense_ranks(x), _dense_ranks(y)
    ties_a, ties_b = np.bincount(rank_a), np.bincount(rank_b)
    pairs = np.sort((rank_a.astype(np.uint64) << np.uint64(32)) | rank_b.astype(np.uint64))
    tied_both = _tied_pairs(pairs)
    swaps = _inversions((pairs & np.uint64(0xFFFFFFFF)).astype(np.uint32))
    total = n * (n - 1) // 2
    tied_a, tied_b = _pairs_in(ties_a), _pairs_in(ties_b)
    excess = total - tied_a - tied_b + tied_both - 2 * int(swaps)
    tau = excess / np.sqrt(float(total - tied_a)) / np.sqrt(float(total - tied_b))
    return float(np.clip(tau, -1, 1)), _kendall_p(excess, n, ties_a, ties_b)


def li_icq(
    a: ArrayLike,
    b: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    compat: IcqCompat | None = None,
) -> float:
    """Li's intensity correlation quotient: how often both channels deviate to the same side.

    With P = (a − mean a)(b − mean b) at each pixel, the ICQ is the fraction of pixels with
    P > 0, minus one half.

    Parameters
    ----------
    a, b : array_like, same shape
    mask : array_like of bool, same shape, optional
    compat : {None, "napari", "coloc2", "jacop"}
        What becomes of pixels with P = 0 (a channel equals its mean there). Default, and
        "napari": left out of numerator and denominator. "coloc2": counted as positive.
        "jacop": counted in the denominator only.

    Returns
    -------
    float
        In [-0.5, 0.5]; NaN with fewer than two pixels, a constant channel, or all P = 0.

    References
    ----------
    .. [1] Li et al. (2004), doi:10.1523/JNEUROSCI.0346-04.2004

    Examples
    --------
    >>> li_icq([1, 2, 3, 4], [1, 2, 3, 4])
    0.5
    """
    x, y = paired_pixels(a, b, mask)
    return icq_of(x, y, pair_moments(x, y), compat=compat)


def pearson_above(
    a: ArrayLike,
    b: ArrayLike,
    threshold_a: float,
    threshold_b: float,
    mask: ArrayLike | None = None,
    *,
    compat: Literal["coloc2"] | None = None,
) -> float:
    """Pearson's r of the pixels where both channels are above their thresholds.

    Parameters
    ----------
    a, b : array_like, same shape
    threshold_a, threshold_b : float
    mask : array_like of bool, same shape, optional
    compat : {None, "coloc2"}
        Default: a > T_a AND b > T_b. "coloc2" takes pixels where EITHER channel is above,
        as Coloc 2's "Pearson's R value (above threshold)" does.

    Returns
    -------
    float
        NaN where undefined, or when a threshold is not finite.

    Examples
    --------
    >>> round(pearson_above([0, 5, 6, 7], [9, 1, 2, 3], 1, 0), 6)
    1.0
    """
    _known(compat, (None, "coloc2"))
    x, y = paired_pixels(a, b, mask)
    if not (np.isfinite(threshold_a) and np.isfinite(threshold_b)):
        return _NAN
    above_a, above_b = x > threshold_a, y > threshold_b
    chosen = above_a | above_b if compat == "coloc2" else above_a & above_b
    return pair_moments(x[chosen], y[chosen]).correlation


def pearson_below(
    a: ArrayLike,
    b: ArrayLike,
    threshold_a: float,
    threshold_b: float,
    mask: ArrayLike | None = None,
) -> float:
    """Pearson's r of the pixels where a < T_a OR b < T_b (Costes' criterion, as in Coloc 2).

    Parameters
    ----------
    a, b : array_like, same shape
    threshold_a, threshold_b : float
    mask : array_like of bool, same shape, optional

    Returns
    -------
    float
        NaN where undefined, or when a threshold is not finite.

    Examples
    --------
    >>> round(pearson_below([1, 2, 3, 9], [3, 2, 1, 9], 5, 5), 6)
    -1.0
    """
    x, y = paired_pixels(a, b, mask)
    if not (np.isfinite(threshold_a) and np.isfinite(threshold_b)):
        return _NAN
    below = (x < threshold_a) | (y < threshold_b)
    return pair_moments(x[below], y[below]).correlation


def icq_of(x: Pixels, y: Pixels, moments: PairMoments, *, compat: str | None = None) -> float:
    """Li's ICQ of flat arrays whose moments are known; see :func:`li_icq`."""
    _known(compat, (None, "napari", "coloc2", "jacop"))
    if not moments.varied:
        return _NAN
    positive, negative = covariance_signs(x, y, moments.mean_a, moments.mean_b)
    return icq_from_signs(positive, negative, moments.n, compat=compat)


def icq_from_signs(positive: int, negative: int, n: int, *, compat: str | None = None) -> float:
    """Li's ICQ from the numbers of pixels with P > 0, with P < 0, and in all."""
    if positive + negative == 0:
        return _NAN
    if compat == "coloc2":
        return (n - negative) / n - 0.5
    if compat == "jacop":
        return positive / n - 0.5
    return positive / (positive + negative) - 0.5


def rank_correlation(x: Pixels, y: Pixels) -> float:
    """Spearman's rho of two flat arrays; NaN where undefined."""
    if x.size < 2:
        return _NAN
    ranks_a, square_a = _mean_ranks(x)
    ranks_b, square_b = _mean_ranks(y)
    if square_a == 0 or square_b == 0:
        return _NAN
    product = _rank_product(x, ranks_a, y, ranks_b)
    return float(np.clip(product / np.sqrt(square_a) / np.sqrt(square_b), -1, 1))


def pearson_pixel_p(r: float, n: int) -> float:
    """Two-sided p of r for n independent pairs of normal variables."""
    if not np.isfinite(r):
        return _NAN
    if n == 2:
        return 1.0
    half = n / 2 - 1
    return float(min(1.0, 2 * special.betainc(half, half, 0.5 * (1 - abs(r)))))


def spearman_t(rho: float, n: int) -> float:
    """Student's t of Spearman's rho with n − 2 degrees of freedom; NaN where undefined.

    Examples
    --------
    >>> round(spearman_t(-0.174307, 15), 4)
    -0.6382
    """
    if not np.isfinite(rho) or n <= 2:
        return _NAN
    if abs(rho) == 1:
        return float(np.copysign(np.inf, rho))
    return float(rho * np.sqrt((n - 2) / ((1 + rho) * (1 - rho))))


def spearman_pixel_p(rho: float, n: int) -> float:
    """Two-sided p of Spearman's rho for n independent pairs."""
    t = spearman_t(rho, n)
    return _NAN if np.isnan(t) else float(2 * special.stdtr(n - 2, -abs(t)))


def _mean_ranks(values: Pixels) -> tuple[NDArray[np.float64], float]:
    """Centred ranks, and the sum of their squares.

    For integers of a small range the ranks are a table by value, its first entry that of the
    smallest value; else one rank per pixel.
    """
    if values.dtype.kind in "iu":
        lowest, highest = int(values.min()), int(values.max())
        if highest - lowest < _COUNTING_RANGE:
            ranks, square = ranks_by_value(_counts(values, lowest, highest))
            return np.asarray(ranks), float(square)
    ranks, square = _ranks_by_order(values, sort_order(values))
    return np.asarray(ranks), float(square)


def sort_order(values: Pixels) -> NDArray[np.int32] | NDArray[np.int64]:
    """Indices that sort finite values (stable), by radix: O(n)."""
    if values.dtype.kind != "f":
        return np.argsort(values, kind="stable")
    width = values.dtype.itemsize
    # Adding zero makes −0 and 0 the same key.
    bits = (values + values.dtype.type(0)).view(f"u{width}")
    sign = bits.dtype.type(1 << (8 * width - 1))
    keys = np.where(bits & sign, ~bits, bits | sign).astype(np.uint64)
    index = np.int32 if values.size < 2**31 else np.int64
    return np.asarray(_radix_order(keys, 8 * width, np.arange(values.size, dtype=index)))


@njit(cache=True, nogil=True)
def _radix_order(keys: NDArray[np.uint64], bits: int, order: NDArray[Any]) -> NDArray[Any]:
    """Least significant digit first, 11 bits at a time; digits all keys share are skipped."""
    n = keys.size
    digits = (bits + 10) // 11
    counts = np.zeros((digits, 2048), np.int64)
    for i in range(n):
        key = keys[i]
        for d in range(digits):
            counts[d, np.int64((key >> np.uint64(11 * d)) & np.uint64(2047))] += 1
    spare_keys, spare_order = np.empty_like(keys), np.empty_like(order)
    for d in range(digits):
        shift = np.uint64(11 * d)
        if counts[d, np.int64((keys[0] >> shift) & np.uint64(2047))] == n:
            continue
        start = 0
        for k in range(2048):
            count = counts[d, k]
            counts[d, k] = start
            start += count
        for i in range(n):
            digit = np.int64((keys[i] >> shift) & np.uint64(2047))
            at = counts[d, digit]
            spare_keys[at], spare_order[at] = keys[i], order[i]
            counts[d, digit] = at + 1
        keys, spare_keys = spare_keys, keys
        order, spare_order = spare_order, order
    return order


@njit(cache=True, nogil=True)
def _counts(values: Pixels, lowest: int, highest: int) -> NDArray[np.int64]:
    counts = np.zeros(highest - lowest + 1, np.int64)
    for i in range(values.size):
        counts[np.int64(values[i]) - lowest] += 1
    return counts


@njit(cache=True, nogil=True)
def ranks_by_value(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
    """Mean rank of each value, centred, and the sum of squares over all pixels.

    ``counts`` is the number of pixels at each integer value, smallest value first.
    """
    n = counts.sum()
    ranks = np.zeros(counts.size)
    before = 0
    square = 0.0
    for k in range(counts.size):
        c = counts[k]
        if c:
            ranks[k] = before + 0.5 * (c - 1) - 0.5 * (n - 1)
            square += c * ranks[k] * ranks[k]
            before += c
    return ranks, square


@njit(cache=True, nogil=True)
def _ranks_by_order(values: Pixels, order: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
    n = values.size
    ranks = np.empty(n)
    square = 0.0
    first = 0
    while first < n:
        last = first
        value = values[order[first]]
        while last + 1 < n and values[order[last + 1]] == value:
            last += 1
        rank = 0.5 * (first + last) - 0.5 * (n - 1)
        for i in range(first, last + 1):
            ranks[order[i]] = rank
        square += (last - first + 1) * rank * rank
        first = last + 1
    return ranks, square


def _rank_product(
    x: Pixels, ranks_a: NDArray[np.float64], y: Pixels, ranks_b: NDArray[np.float64]
) -> float:
    table_a, table_b = _is_table(x), _is_table(y)
    u = ranks_a[x - x.min()] if table_a and not table_b else ranks_a
    v = ranks_b[y - y.min()] if table_b and not table_a else ranks_b
    if table_a and table_b:
        return float(table_product(x, int(x.min()), ranks_a, y, int(y.min()), ranks_b))
    return float(np.dot(u, v))


def _is_table(values: Pixels) -> bool:
    return values.dtype.kind in "iu" and int(values.max()) - int(values.min()) < _COUNTING_RANGE


@njit(cache=True, nogil=True)
def table_product(
    x: Pixels,
    x0: int,
    ranks_a: NDArray[np.float64],
    y: Pixels,
    y0: int,
    ranks_b: NDArray[np.float64],
) -> float:
    """Sum of the products of two ranks, looked up by value; x0 and y0 are the tables' firsts."""
    total = 0.0
    for i in range(x.size):
        total += ranks_a[np.int64(x[i]) - x0] * ranks_b[np.int64(y[i]) - y0]
    return total


def _dense_ranks(values: Pixels) -> NDArray[np.int64]:
    if _is_table(values):
        return values.astype(np.int64) - int(values.min())
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _pairs_in(counts: NDArray[Any]) -> int:
    return int(np.sum(counts * (counts - 1) // 2))


@njit(cache=True, nogil=True)
def _tied_pairs(ordered: NDArray[np.uint64]) -> int:
    pairs = 0
    run = 0
    for i in range(1, ordered.size):
        run = run + 1 if ordered[i] == ordered[i - 1] else 0
        pairs += run
    return pairs


@njit(cache=True, nogil=True)
def _inversions(values: NDArray[np.uint32]) -> int:
    """Pairs i < j with values[i] > values[j]; sorts on the way, bottom up."""
    n = values.size
    source, target = values, np.empty_like(values)
    swaps = 0
    width = 1
    while width < n:
        for left in range(0, n, 2 * width):
            middle, end = min(left + width, n), min(left + 2 * width, n)
            i, j = left, middle
            for k in range(left, end):
                if j >= end or (i < middle and source[i] <= source[j]):
                    target[k] = source[i]
                    i += 1
                else:
                    target[k] = source[j]
                    j += 1
                    swaps += middle - i
        source, target = target, source
        width *= 2
    return swaps


def _kendall_p(excess: int, n: int, ties_a: NDArray[Any], ties_b: NDArray[Any]) -> float:
    """Normal approximation with ties (Kendall, Rank Correlation Methods, 1970)."""
    if n < 3:
        return _NAN
    pairs_a, v_a, triples_a = _tie_terms(ties_a)
    pairs_b, v_b, triples_b = _tie_terms(ties_b)
    m = float(n) * (n - 1)
    variance = (m * (2 * n + 5) - v_a - v_b) / 18 + pairs_a * pairs_b / (2 * m)
    variance += triples_a * triples_b / (9 * m * (n - 2))
    return float(special.erfc(abs(excess) / np.sqrt(2 * variance)))


def _tie_terms(counts: NDArray[Any]) -> tuple[float, float, float]:
    c = counts.astype(np.float64)
    pairs = c * (c - 1)
    return float(pairs.sum()), float((pairs * (2 * c + 5)).sum()), float((pairs * (c - 2)).sum())


def _known(compat: str | None, choices: tuple[str | None, ...]) -> None:
    if compat not in choices:
        names = ", ".join(repr(c) for c in choices)
        raise InputError(f"unknown compat {compat!r}; choose from {names}")
