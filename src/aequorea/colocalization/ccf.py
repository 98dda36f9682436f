"""Van Steensel's cross-correlation function: how Pearson's r falls off with a shift."""

from __future__ import annotations

import operator
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.optimize import least_squares

from aequorea.colocalization.channel_pair import ChannelPair, channel_pair
from aequorea.errors import CalibrationError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CcfFit", "fit_ccf", "van_steensel_ccf"]

FloatArray = npt.NDArray[np.float64]

_BANDS = 32  # fixed number of partial sums, so that the result does not depend on the workers
_LEAST_EXPLAINED = 0.5  # of the variance of the curve
_NEAR_ZERO = 0.05  # of the shifts examined, from zero to either side
_FWHM_PER_SIGMA = float(2.0 * np.sqrt(2.0 * np.log(2.0)))


def van_steensel_ccf(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    mask: npt.ArrayLike | None = None,
    max_shift: int = 20,
    axis: int = -1,
    *,
    workers: int | None = None,
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Pearson's r of a and b for every shift of b along one axis.

    ``a[x]`` is paired with ``b[x - s]``: nothing wraps around, only the overlap at shift ``s`` is
    correlated. A peak at 0 says that structures coincide, a trough at 0 with shoulders that they
    exclude each other, a peak elsewhere that one channel is displaced.

    Parameters
    ----------
    a, b : array_like
        Same-shape intensity images of any dimensionality.
    mask : array_like, optional
        Non-zero where pixels count, in the coordinates of ``a`` (it does not move with ``b``).
    max_shift : int, default 20
        Largest shift in either direction, px; smaller than the axis is long.
    axis : int, default -1
        Axis along which ``b`` moves.
    workers : int, optional
        Threads; all cores by default. The result does not depend on it.

    Returns
    -------
    shifts : ndarray of int64, shape (2 * max_shift + 1,), px
    ccf : ndarray of float64, same shape
        NaN where the overlap has fewer than two pixels or a constant channel.

    Raises
    ------
    ValueError
        If shapes differ, the input is degenerate or not finite, or ``max_shift`` or ``axis`` do
        not fit the image.

    Notes
    -----
    One pass accumulates the sums of all shifts. Cost O(pixels * shifts), memory one row per
    thread besides the images (a copy of each when ``axis`` is not the last).
    The curve is a diagnostic, not a test: neighbouring shifts are correlated, and a peak away
    from zero is no measurement of chromatic shift (use beads, see
    :func:`aequorea.colocalization.estimate_shift`).

    References
    ----------
    .. [1] van Steensel et al. (1996), J. Cell Sci. 109, 787-792

    Examples
    --------
    >>> a = np.zeros((4, 32)); a[:, 10] = 1
    >>> b = np.roll(a, -3, axis=1)
    >>> shifts, ccf = van_steensel_ccf(a, b, max_shift=5)
    >>> int(shifts[np.nanargmax(ccf)])
    3
    """
    pair = channel_pair(a, b, mask, finite_everywhere=True)
    axis = _checked_axis(axis, pair.a.ndim)
    largest = _checked_shift(max_shift, pair.a.shape[axis], axis)
    sums = _all_sums(_rows_along(pair, axis), largest, workers)
    shifts = np.arange(-largest, largest + 1)
    return shifts, _pearson_from_sums(sums)


def _checked_axis(axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise InputError(f"axis: expected {-ndim} to {ndim - 1} for {ndim} axes, found {axis}")
    return axis % ndim


def _checked_shift(max_shift: int, length: int, axis: int) -> int:
    try:
        largest = operator.index(max_shift)
    except TypeError:
        raise InputError(f"max_shift: expected whole pixels, found {max_shift!r}") from None
    if not 1 <= largest < length:
        raise InputError(
            f"max_shift: expected 1 to {length - 1} for axis {axis} of length {length}, "
            f"found {largest}; choose a smaller shift"
        )
    return largest


def _rows_along(pair: ChannelPair, axis: int) -> ChannelPair:
    """The channels as contiguous rows, shape (n_rows, length of axis)."""

    def rows(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        moved = np.moveaxis(image, axis, -1)
        return np.ascontiguousarray(moved.reshape(-1, moved.shape[-1]))

    a, b = (_countable(rows(image)) for image in (pair.a, pair.b))
    return ChannelPair(a, b, None if pair.mask is None else rows(pair.mask))


def _countable(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Few dtypes, so that few kernels are compiled."""
    native = image.dtype.newbyteorder("=")
    narrow = native in (np.uint8, np.uint16, np.float32)
    return image.astype(native if narrow else np.float64, copy=False)


def _all_sums(rows: ChannelPair, largest: int, workers: int | None) -> FloatArray:
    values_a, values_b = rows.values()
    centre_a, centre_b = (
        float(values_a.mean(dtype=np.float64)),
        float(values_b.mean(dtype=np.float64)),
    )
    n_rows = rows.a.shape[0]
    edges = np.linspace(0, n_rows, min(_BANDS, n_rows) + 1).astype(np.intp)
    mask = rows.mask if rows.mask is not None else np.zeros((0, 0), dtype=np.bool_)

    def band(start: int, stop: int) -> FloatArray:
        part = slice(start, stop)
        inside = mask[part] if mask.size else mask
        sums = np.zeros((6, 2 * largest + 1))
        _accumulate(rows.a[part], rows.b[part], inside, centre_a, centre_b, largest, sums)
        return sums

    total: FloatArray = np.sum(_in_threads(band, edges, workers), axis=0)
    return total


def _in_threads(
    band: Callable[[int, int], FloatArray], edges: npt.NDArray[np.intp], workers: int | None
) -> list[FloatArray]:
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        return list(pool.map(band, edges[:-1].tolist(), edges[1:].tolist()))


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz", "contract"})
def _accumulate(a, b, mask, centre_a, centre_b, largest, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Add n, Σa, Σb, Σa², Σb², Σab of every shift; a, b centred; mask in a's coordinates."""
    n_rows, length = a.shape
    masked = mask.size > 0
    row_a, row_b, row_b2 = np.empty(length), np.empty(length), np.empty(length)
    weight = np.ones(length)
    up_a, up_a2, up_n = np.zeros(length + 1), np.zeros(length + 1), np.zeros(length + 1)
    up_b, up_b2 = np.zeros(length + 1), np.zeros(length + 1)
    for r in range(n_rows):
        first, last = 0, length
        if masked:
            while first < last and not mask[r, first]:
                first += 1
            if first == last:
                continue
            while not mask[r, last - 1]:
                last -= 1
            for x in range(length):
                weight[x] = 1.0 if mask[r, x] else 0.0
        for x in range(length):
            row_a[x] = (np.float64(a[r, x]) - centre_a) * weight[x]
            row_b[x] = np.float64(b[r, x]) - centre_b
            row_b2[x] = row_b[x] * row_b[x]
        for x in range(length):
            up_n[x + 1] = up_n[x] + weight[x]
            up_a[x + 1] = up_a[x] + row_a[x]
            up_a2[x + 1] = up_a2[x] + row_a[x] * row_a[x]
        if not masked:
            for x in range(length):
                up_b[x + 1] = up_b[x] + row_b[x]
                up_b2[x + 1] = up_b2[x] + row_b2[x]
        for k in range(2 * largest + 1):
            s = k - largest
            start, stop = max(first, s), min(last, length + s)
            if start >= stop:
                continue
            ab, sum_b, sum_b2 = 0.0, 0.0, 0.0
            part_a, part_b = row_a[start:stop], row_b[start - s : stop - s]
            for x in range(stop - start):
                ab += part_a[x] * part_b[x]
            if masked:
                part_w, part_b2 = weight[start:stop], row_b2[start - s : stop - s]
                for x in range(stop - start):
                    sum_b += part_w[x] * part_b[x]
                    sum_b2 += part_w[x] * part_b2[x]
            else:
                sum_b = up_b[stop - s] - up_b[start - s]
                sum_b2 = up_b2[stop - s] - up_b2[start - s]
            sums[0, k] += up_n[stop] - up_n[start]
            sums[1, k] += up_a[stop] - up_a[start]
            sums[2, k] += sum_b
            sums[3, k] += up_a2[stop] - up_a2[start]
            sums[4, k] += sum_b2
            sums[5, k] += ab


def _pearson_from_sums(sums: FloatArray) -> FloatArray:
    n, a, b, aa, bb, ab = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        var_a, var_b = aa - a * a / n, bb - b * b / n
        covariance = ab - a * b / n
        defined = (n >= 2) & (var_a > 1e-12 * aa) & (var_b > 1e-12 * bb)
        r = covariance / np.sqrt(var_a * var_b)
    return np.clip(np.where(defined, r, np.nan), -1.0, 1.0)


@dataclass(frozen=True)
class CcfFit:
    """A Gaussian on an offset, fitted to a cross-correlation function.

    Lengths in µm are ``None`` when no pixel size was given. A fit that failed has NaN in every
    number and says why in ``reason``.
    """

    amplitude: float
    offset: float
    centre_px: float
    fwhm_px: float
    centre_um: float | None
    fwhm_um: float | None
    success: bool
    reason: str


def fit_ccf(shifts: npt.ArrayLike, ccf: npt.ArrayLike, spacing_um: float | None = None) -> CcfFit:
    """Fit ``offset + amplitude * exp(-(s - centre)² / 2σ²)`` to a CCF.

    Parameters
    ----------
    shifts : array_like, shape (n,), px
    ccf : array_like, shape (n,)
        NaN entries are left out.
    spacing_um : float, optional
        Pixel size along the axis of the CCF, µm.

    Returns
    -------
    CcfFit
        A negative amplitude is a trough (exclusion).

    Raises
    ------
    InputError
        If the two arrays differ in length or are not one-dimensional.
    CalibrationError
        If ``spacing_um`` is not a positive number.

    Notes
    -----
    A fit is refused (``success`` False, NaN values) where fewer than 6 shifts are defined, the
    curve is flat, the width is below one pixel or beyond the shifts, the extremum lies outside
    the shifts examined or within half its width of their end, the curve deviates most near zero
    in the direction opposite to the fit, or the fit explains less than half of its variance.

    Examples
    --------
    >>> s = np.arange(-10, 11)
    >>> fit = fit_ccf(s, 0.1 + 0.5 * np.exp(-((s - 1) ** 2) / 18), spacing_um=0.1)
    >>> round(fit.centre_px, 3), round(fit.fwhm_um, 3)
    (1.0, 0.706)
    """
    x, y = np.asarray(shifts, dtype=np.float64), np.asarray(ccf, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(
            f"ccf: expected one value per shift, found shapes {x.shape} and {y.shape}; "
            "give both results of van_steensel_ccf"
        )
    if spacing_um is not None and not (np.isfinite(spacing_um) and spacing_um > 0):
        raise CalibrationError(
            f"spacing_um: expected a positive pixel size in µm or None, found {spacing_um!r}"
        )
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    if x.size < 6:
        return _no_fit(f"only {x.size} shifts have a defined correlation; at least 6 are needed")
    if np.ptp(y) < 1e-6:
        return _no_fit("the curve is flat")
    return _gaussian_fit(x, y, spacing_um)


def _no_fit(reason: str) -> CcfFit:
    nan = float("nan")
    return CcfFit(nan, nan, nan, nan, None, None, success=False, reason=reason)


def _gaussian_fit(x: FloatArray, y: FloatArray, spacing_um: float | None) -> CcfFit:
    def misfit(parameters: FloatArray) -> FloatArray:
        amplitude, offset, centre, sigma = parameters
        bell = np.exp(-((x - centre) ** 2) / (2.0 * sigma**2))
        difference: FloatArray = offset + amplitude * bell - y
        return difference

    span = float(np.ptp(x))
    base = float(np.median(y))
    peak = int(np.argmax(np.abs(y - base)))
    start = (float(y[peak] - base), base, float(x[peak]), max(span / 8.0, 1.0))
    lowest = (-np.inf, -np.inf, -np.inf, 1e-3)
    found = least_squares(misfit, start, bounds=(lowest, np.inf), x_scale=(1.0, 1.0, span, span))
    if not found.success:
        return _no_fit("the least-squares fit did not converge")
    amplitude, offset, centre, sigma = (float(v) for v in found.x)
    fwhm = sigma * _FWHM_PER_SIGMA
    reason = _refusal(x, y, centre, fwhm, upward=amplitude > 0) or _poor_fit(misfit(found.x), y)
    if reason:
        return _no_fit(reason)
    return CcfFit(
        amplitude=amplitude,
        offset=offset,
        centre_px=centre,
        fwhm_px=fwhm,
        centre_um=None if spacing_um is None else centre * spacing_um,
        fwhm_um=None if spacing_um is None else fwhm * spacing_um,
        success=True,
        reason="",
    )


def _refusal(x: FloatArray, y: FloatArray, centre: float, fwhm: float, *, upward: bool) -> str:
    """Why a fitted extremum is not to be believed; empty if it is."""
    if not x.min() <= centre <= x.max():
        return "the extremum lies outside the shifts examined"
    if fwhm < 1.0:
        return "the extremum is narrower than one pixel: its size is not resolved"
    if fwhm > np.ptp(x):
        return "the width is beyond the shifts examined; raise max_shift"
    if min(centre - x.min(), x.max() - centre) < 0.5 * fwhm:
        return "the extremum lies within half its width of the last shift; raise max_shift"
    deviation = (y - np.median(y)) * (1.0 if upward else -1.0)
    against, along = int(np.argmin(deviation)), int(np.argmax(deviation))
    near = max(1.0, _NEAR_ZERO * float(np.ptp(x)))
    if abs(x[against]) <= near < abs(x[along]) and -deviation[against] > deviation[along]:
        fitted, seen = ("peak", "trough") if upward else ("trough", "peak")
        return f"the fit is a {fitted}, but the curve has a {seen} near zero"
    return ""


def _poor_fit(residuals: FloatArray, y: FloatArray) -> str:
    explained = 1.0 - float(np.sum(residuals**2)) / float(np.sum((y - y.mean()) ** 2))
    if explained < _LEAST_EXPLAINED:
        return f"the fit explains {max(explained, 0.0):.0%} of the variance of the curve"
    return ""
