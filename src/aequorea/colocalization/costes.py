"""Costes' automatic threshold: where the pixels below it stop correlating.

The threshold pair walks down the line of orthogonal regression of one channel on the other.
:func:`costes_threshold` finds one pair; :func:`costes_sweep` evaluates every level at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from aequorea.colocalization.exit_levels import LARGEST_SPAN, LevelLine, LevelTally
from aequorea.colocalization.moments import PairMoments, pair_moments
from aequorea.colocalization.regions import Pixels, paired_pixels
from aequorea.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

Stepper = Literal["bisection", "costes"]
CostesCompat = Literal["napari", "coloc2"]
_NAN = float("nan")
FloatArray = NDArray[np.float64]
# Where the Costes stepper takes r to be zero (the constant of Coloc 2).
_ZERO_CORRELATION = 1e-4
# The default bisection stops when its step is below this part of the stepped range.
_RELATIVE_STEP = 1e-4
_GRID = 1 << 13
# Levels of a sweep over floating-point pixels.
_FLOAT_LEVELS = 4096


def costes_regression(
    a: ArrayLike, b: ArrayLike, mask: ArrayLike | None = None
) -> tuple[float, float]:
    """Orthogonal regression line b = slope · a + intercept.

    slope = (σb² − σa² + √((σb² − σa²)² + 4σab²)) / (2σab), through the means.

    Parameters
    ----------
    a, b : array_like, same shape
    mask : array_like of bool, same shape, optional

    Returns
    -------
    slope, intercept : float
        NaN with fewer than two pixels, a constant channel or zero covariance.

    References
    ----------
    .. [1] Costes et al. (2004), doi:10.1529/biophysj.103.038422

    Examples
    --------
    >>> slope, intercept = costes_regression([0, 1, 2], [1, 3, 5])
    >>> round(slope, 6), round(intercept, 6)
    (2.0, 1.0)
    """
    return line_of(pair_moments(*paired_pixels(a, b, mask)))


def line_of(moments: PairMoments) -> tuple[float, float]:
    """Orthogonal regression line from moments; see :func:`costes_regression`."""
    if not moments.varied or moments.sab == 0:
        return _NAN, _NAN
    difference = moments.sbb - moments.saa
    root = np.hypot(difference, 2 * moments.sab)
    # Of two equal expressions the one without cancellation.
    if difference >= 0:
        slope = (difference + root) / (2 * moments.sab)
    else:
        slope = 2 * moments.sab / (root - difference)
    return float(slope), float(moments.mean_b - slope * moments.mean_a)


def costes_threshold(
    a: ArrayLike,
    b: ArrayLike,
    mask: ArrayLike | None = None,
    max_iter: int = 100,
    *,
    stepper: Stepper = "bisection",
    compat: CostesCompat | None = None,
) -> tuple[float, float]:
    """Costes' automatic thresholds.

    The pair lies on :func:`costes_regression`'s line. Channel a is stepped if slope < 1, else
    channel b; at each step r is that of the pixels with a < T_a or b < T_b.

    Parameters
    ----------
    a, b : array_like, same shape
    mask : array_like of bool, same shape, optional
    max_iter : int, default 100
        Largest number of bisection steps.
    stepper : {"bisection", "costes"}
        "bisection" (default) halves the stepped channel's range: down where r ≥ 0, up where it
        is negative or undefined, until the step is below 10⁻⁴ of the range. "costes" walks
        down from the maximum, level by level (see :func:`costes_sweep`), to the first level
        where r < 10⁻⁴, grows again, or is undefined.
    compat : {None, "napari", "coloc2"}
        "coloc2": thresholds rounded to whole numbers at each step and clamped to the range of
        the pixel type; the bisection ends below one intensity level; a falling line
        (slope ≤ 0) is walked as well, although its thresholds mean little.

    Returns
    -------
    threshold_a, threshold_b : float
        Within the data range (default). NaN with fewer than two pixels, a constant channel,
        or a slope that is not positive (except "coloc2").

    Raises
    ------
    InputError
        If shapes differ, pixels are NaN or infinite, or an option is unknown.

    Notes
    -----
    The default bisection looks again only at pixels whose side is undecided, so its cost is
    about that of three passes over the pixels, whatever the bit depth.

    References
    ----------
    .. [1] Costes et al. (2004), doi:10.1529/biophysj.103.038422

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> stain = 200 * rng.random(4096) * (np.arange(4096) < 500)
    >>> a, b = rng.poisson(10 + stain), rng.poisson(10 + 0.6 * stain)
    >>> [round(t) for t in costes_threshold(a, b)]
    [17, 14]
    """
    if max_iter < 1:
        raise InputError(f"max_iter must be 1 or more, got {max_iter}")
    if stepper not in ("bisection", "costes"):
        raise InputError(f"unknown stepper {stepper!r}; choose 'bisection' or 'costes'")
    if compat not in (None, "napari", "coloc2"):
        raise InputError(f"unknown compat {compat!r}; choose None, 'napari' or 'coloc2'")
    x, y = paired_pixels(a, b, mask)
    limits = type_limits(np.asarray(a).dtype, np.asarray(b).dtype)
    return costes_of(
        x, y, pair_moments(x, y), stepper=stepper, compat=compat, max_iter=max_iter, limits=limits
    )


def costes_of(
    x: Pixels,
    y: Pixels,
    moments: PairMoments,
    *,
    stepper: Stepper = "bisection",
    compat: str | None = None,
    max_iter: int = 100,
    limits: Limits | None = None,
) -> tuple[float, float]:
    """Costes thresholds of flat arrays whose moments are known; see :func:`costes_threshold`."""
    if compat == "coloc2":
        bounds = limits or type_limits(x.dtype, y.dtype)
        return _coloc2(x, y, moments, stepper=stepper, max_iter=max_iter, limits=bounds)
    if stepper == "costes":
        return sweep_of(x, y, moments, parallel=False).thresholds("costes")
    return bisect(x, y, moments, max_iter=max_iter)


def bisect(
    x: Pixels, y: Pixels, moments: PairMoments, *, max_iter: int = 100
) -> tuple[float, float]:
    """Costes thresholds of flat arrays by bisection; see :func:`costes_threshold`."""
    slope, intercept = line_of(moments)
    if not slope > 0:
        return _NAN, _NAN
    m = moments
    # Sums about a whole number are exact for integers, so that r = 0 is not mistaken for less.
    whole = x.dtype.kind in "iu"
    mean_a, mean_b = (round(k) if whole else k for k in (m.mean_a, m.mean_b))
    if slope < 1:
        t_a, t_b = _bisect(
            x.copy(), y.copy(), slope, intercept, True,
            m.min_a, m.max_a, m.min_b, m.max_b, float(mean_a), float(mean_b), max_iter,
        )  # fmt: skip
        return float(t_a), float(t_b)
    t_b, t_a = _bisect(
        y.copy(), x.copy(), slope, intercept, False,
        m.min_b, m.max_b, m.min_a, m.max_a, float(mean_b), float(mean_a), max_iter,
    )  # fmt: skip
    return float(t_a), float(t_b)


def bisection_line(moments: PairMoments) -> LevelLine | None:
    """All threshold pairs that :func:`bisect` can evaluate; None without a rising line.

    Halving stops below 10⁻⁴ of the range, so the pairs lie on a grid of 2¹³ steps.
    """
    slope, intercept = line_of(moments)
    if not slope > 0:
        return None
    m, along_a = moments, slope < 1
    low, high = (m.min_a, m.max_a) if along_a else (m.min_b, m.max_b)
    u = np.clip(low + (high - low) * np.arange(_GRID + 1) / _GRID, low, high)
    if along_a:
        v = np.clip(slope * u + intercept, m.min_b, m.max_b)
    else:
        v = np.clip((u - intercept) / slope, m.min_a, m.max_a)
    return LevelLine(u, v, along_a, whole=False)


def bisect_levels(tally: LevelTally, moments: PairMoments) -> tuple[float, float]:
    """What :func:`bisect` finds, from a tally along :func:`bisection_line`."""
    slope, intercept = line_of(moments)
    m, along_a = moments, tally.line.along_a
    low, high = (m.min_a, m.max_a) if along_a else (m.min_b, m.max_b)
    threshold = 0.5 * (high + low)
    step = abs(high - threshold)
    at = jump = _GRID // 2
    while step >= (high - low) * _RELATIVE_STEP:
        up = tally.falls_below(at)
        step *= 0.5
        jump //= 2
        threshold += step if up else -step
        at += jump if up else -jump
    t_u = min(max(threshold, low), high)
    if along_a:
        return t_u, float(np.clip(slope * t_u + intercept, m.min_b, m.max_b))
    return float(np.clip((t_u - intercept) / slope, m.min_a, m.max_a)), t_u


@njit(cache=True, nogil=True)
def _partner(t: float, slope: float, intercept: float, forward: bool) -> float:
    return slope * t + intercept if forward else (t - intercept) / slope


@njit(cache=True, nogil=True)
def _bisect(
    u: Pixels,
    v: Pixels,
    slope: float,
    intercept: float,
    forward: bool,
    u_min: float,
    u_max: float,
    v_min: float,
    v_max: float,
    u_mean: float,
    v_mean: float,
    max_iter: int,
) -> tuple[float, float]:
    """Bisect along channel u; u and v are overwritten.

    Both thresholds grow together, so a pixel below at some step is below at every higher one.
    After each step the pixels whose side can no longer change are summed up or dropped, and
    only the undecided ones are looked at again: about two passes over the pixels in all.
    """
    tolerance = (u_max - u_min) * _RELATIVE_STEP
    threshold = 0.5 * (u_max + u_min)
    step = abs(u_max - threshold)
    undecided = u.size
    n = 0
    su = sv = suv = 0.0
    low_u = low_v = np.inf
    high_u = high_v = -np.inf
    for _ in range(max_iter):
        if step < tolerance:
            break
        t_u = min(max(threshold, u_min), u_max)
        t_v = min(max(_partner(t_u, slope, intercept, forward), v_min), v_max)
        # Pixels below go to the front of the undecided stretch.
        m = 0
        pu = pv = puv = 0.0
        lu, lv, hu, hv = low_u, low_v, high_u, high_v
        for i in range(undecided):
            p, q = u[i], v[i]
            if p < t_u or q < t_v:
                u[i], v[i] = u[m], v[m]
                u[m], v[m] = p, q
                m += 1
                du, dv = p - u_mean, q - v_mean
                pu += du
                pv += dv
                puv += du * dv
                lu, hu = min(lu, float(p)), max(hu, float(p))
                lv, hv = min(lv, float(q)), max(hv, float(q))
        total = n + m
        step *= 0.5
        varied = total >= 2 and lu < hu and lv < hv
        if not varied or total * (suv + puv) < (su + pu) * (sv + pv):
            threshold += step
            n, su, sv, suv = total, su + pu, sv + pv, suv + puv
            low_u, low_v, high_u, high_v = lu, lv, hu, hv
            undecided -= m
            u, v = u[m:], v[m:]
        else:
            threshold -= step
            undecided = m
    t_u = min(max(threshold, u_min), u_max)
    return t_u, min(max(_partner(t_u, slope, intercept, forward), v_min), v_max)


@dataclass(frozen=True, slots=True)
class Limits:
    """Ranges of the two pixel types, to which Coloc 2 clamps thresholds."""

    a: tuple[float, float]
    b: tuple[float, float]


def type_limits(type_a: np.dtype[Any], type_b: np.dtype[Any]) -> Limits:
    """Smallest and largest values that two pixel types hold."""
    return Limits(_type_range(type_a), _type_range(type_b))


def _type_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind == "b":
        return 0.0, 255.0
    if dtype.kind in "iu":
        return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    return -np.inf, np.inf


def _coloc2(
    x: Pixels, y: Pixels, moments: PairMoments, *, stepper: Stepper, max_iter: int, limits: Limits
) -> tuple[float, float]:
    slope, intercept = line_of(moments)
    if np.isnan(slope):
        return _NAN, _NAN
    along_a = -1 < slope < 1
    low, high = (moments.min_a, moments.max_a) if along_a else (moments.min_b, moments.max_b)

    def pair(value: float) -> tuple[float, float]:
        t_a = value if along_a else (value - intercept) / slope
        t_b = slope * value + intercept if along_a else value
        return _whole(t_a, limits.a), _whole(t_b, limits.b)

    if stepper == "bisection":
        return _coloc2_bisection(x, y, pair, low, high, max_iter)
    steps = int(max(np.ceil(high - max(low, 1.0)), 0.0))
    if steps >= LARGEST_SPAN:
        raise InputError(
            f"Coloc 2's stepper goes down in steps of 1, too many from {high:g} to {low:g}; "
            "rescale the intensities or use stepper='bisection'"
        )
    if slope > 0:
        return _coloc2_walk(x, y, moments, pair, high, steps, along_a=along_a)
    # Along a falling line r mostly starts out negative, and the walk is over in a few steps.
    value, previous = high, np.inf
    while True:
        t_a, t_b = pair(value)
        r = _below(x, y, t_a, t_b)
        if np.isnan(r) or r < _ZERO_CORRELATION or r > previous or value - 1 < 1:
            return t_a, t_b
        value, previous = value - 1, r


def _coloc2_walk(
    x: Pixels,
    y: Pixels,
    moments: PairMoments,
    pair: Callable[[float], tuple[float, float]],
    high: float,
    steps: int,
    *,
    along_a: bool,
) -> tuple[float, float]:
    """Coloc 2's stepper along a rising line, all its levels evaluated at once."""
    pairs = np.array([pair(high - k) for k in range(steps, -1, -1)])
    u, v = (pairs[:, 0], pairs[:, 1]) if along_a else (pairs[:, 1], pairs[:, 0])
    tally = LevelTally(LevelLine(u, v, along_a, whole=True), moments, x.dtype, parallel=False)
    tally.add(x, y)
    return sweep_from(tally, moments).thresholds("costes")


def _coloc2_bisection(
    x: Pixels,
    y: Pixels,
    pair: Callable[[float], tuple[float, float]],
    low: float,
    high: float,
    max_iter: int,
) -> tuple[float, float]:
    value = abs(high + low) * 0.5
    step = abs(value - high)
    t_a, t_b = pair(value)
    for _ in range(max_iter):
        t_a, t_b = pair(value)
        r = _below(x, y, t_a, t_b)
        step *= 0.5
        value += step if np.isnan(r) or r < 0 else -step
        if step < 1:
            break
    return t_a, t_b


def _whole(value: float, limits: tuple[float, float]) -> float:
    """Rounded half up, as Java does, and clamped."""
    return float(min(max(np.floor(value + 0.5), limits[0]), limits[1]))


@njit(cache=True, nogil=True)
def _below(x: Pixels, y: Pixels, t_a: float, t_b: float) -> float:
    """Pearson's r of the pixels with x < t_a or y < t_b; NaN where undefined."""
    n = 0
    sx = sy = 0.0
    low_x = low_y = np.inf
    high_x = high_y = -np.inf
    for i in range(x.size):
        if x[i] < t_a or y[i] < t_b:
            u, v = float(x[i]), float(y[i])
            n += 1
            sx += u
            sy += v
            low_x, high_x = min(low_x, u), max(high_x, u)
            low_y, high_y = min(low_y, v), max(high_y, v)
    if n < 2 or low_x == high_x or low_y == high_y:
        return np.nan
    mx, my = sx / n, sy / n
    sxx = syy = sxy = 0.0
    for i in range(x.size):
        if x[i] < t_a or y[i] < t_b:
            du, dv = x[i] - mx, y[i] - my
            sxx += du * du
            syy += dv * dv
            sxy += du * dv
    return float(sxy / np.sqrt(sxx) / np.sqrt(syy))


@dataclass(frozen=True, eq=False)
class CostesSweep:
    """Costes' criterion and Manders' coefficients at every threshold level.

    Attributes
    ----------
    thresholds_a, thresholds_b : ndarray, shape (l,)
        The pairs on the regression line, ascending.
    n_below : ndarray of int, shape (l,)
        Pixels with a < T_a or b < T_b.
    r_below, r_above : ndarray, shape (l,)
        Pearson's r of those pixels and of the others; NaN where undefined.
    m1, m2 : ndarray, shape (l,)
        Manders' coefficients as :func:`manders` defines them (strictly above); NaN for a
        channel with negative values or without intensity.
    slope, intercept : float
        The regression line.
    stepped : {"a", "b"}
        The channel whose levels are equidistant: a if slope < 1.
    whole_levels : bool
        Whether levels are the whole numbers and the partner threshold is rounded.
    reason : str
        Why there are no levels; empty otherwise.
    """

    thresholds_a: FloatArray
    thresholds_b: FloatArray
    n_below: NDArray[np.int64]
    r_below: FloatArray
    r_above: FloatArray
    m1: FloatArray
    m2: FloatArray
    slope: float
    intercept: float
    stepped: Literal["a", "b"] = "a"
    whole_levels: bool = True
    reason: str = ""

    @property
    def costes_thresholds(self) -> tuple[float, float]:
        """What the Costes stepper finds on these levels."""
        return self.thresholds("costes")

    @property
    def bisection_thresholds(self) -> tuple[float, float]:
        """What bisection finds on these levels."""
        return self.thresholds("bisection")

    def thresholds(self, stepper: Stepper = "costes") -> tuple[float, float]:
        """Costes' thresholds, read off the curve.

        Parameters
        ----------
        stepper : {"costes", "bisection"}
            "costes": the first level from the top where r < 10⁻⁴, r is undefined, or r is
            larger than one level above; level 1 at the latest when levels are whole numbers.
            In noisy images r may rise early, and the walk ends there: look at the curve.
            "bisection": halving from the middle of the levels, down where r ≥ 0 and up where
            it is negative or undefined, until the step is below one level.

        Returns
        -------
        threshold_a, threshold_b : float
            NaN when there are no levels.
        """
        if not self.r_below.size:
            return _NAN, _NAN
        k = self._walk() if stepper == "costes" else self._halve()
        return float(self.thresholds_a[k]), float(self.thresholds_b[k])

    def _walk(self) -> int:
        r = self.r_below[::-1]
        stop = np.isnan(r) | (r < _ZERO_CORRELATION)
        stop[1:] |= r[1:] > r[:-1]
        stop[-1] = True
        if self.whole_levels:
            levels = self.thresholds_a if self.stepped == "a" else self.thresholds_b
            stop |= levels[::-1] <= 1
        return int(self.r_below.size - 1 - np.argmax(stop))

    def _halve(self) -> int:
        last = self.r_below.size - 1
        at = step = last / 2
        k = int(np.floor(at + 0.5))
        while step >= 1:
            k = int(np.floor(at + 0.5))
            r = self.r_below[k]
            step /= 2
            at += step if np.isnan(r) or r < 0 else -step
        return k


def costes_sweep(
    a: ArrayLike, b: ArrayLike, mask: ArrayLike | None = None, *, levels: int | None = None
) -> CostesSweep:
    """Evaluate Costes' criterion at every threshold level in one pass over the pixels.

    Parameters
    ----------
    a, b : array_like, same shape
    mask : array_like of bool, same shape, optional
    levels : int, optional
        Number of equidistant levels between the minimum and the maximum of the stepped
        channel. Default: every whole number for integer pixels, the partner threshold rounded
        (as in Coloc 2) and clamped to the range of its pixel type; 4096 levels, nothing
        rounded or clamped, for floating-point pixels and for integers that span more than
        2²² levels.

    Returns
    -------
    CostesSweep
        Without levels, and with a ``reason``, where there is no rising regression line.

    Raises
    ------
    InputError
        If shapes differ, pixels are NaN or infinite, or ``levels`` is below 2.

    Notes
    -----
    With the channel stepped along which the line is flatter, the partner threshold never
    falls, so each pixel leaves the set above both thresholds at exactly one level. Sums are
    collected by that exit level and accumulated: O(pixels + levels), against
    O(pixels × levels) for evaluating each pair.

    References
    ----------
    .. [1] Costes et al. (2004), doi:10.1529/biophysj.103.038422

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> stain = 200 * rng.random(4096) * (np.arange(4096) < 500)
    >>> a, b = rng.poisson(10 + stain), rng.poisson(10 + 0.6 * stain)
    >>> sweep = costes_sweep(a, b)
    >>> sweep.thresholds("bisection")
    (17.0, 14.0)
    """
    if levels is not None and levels < 2:
        raise InputError(f"levels must be 2 or more, got {levels}")
    x, y = paired_pixels(a, b, mask)
    limits = type_limits(np.asarray(a).dtype, np.asarray(b).dtype)
    return sweep_of(x, y, pair_moments(x, y), levels=levels, limits=limits)


def sweep_of(
    x: Pixels,
    y: Pixels,
    moments: PairMoments,
    *,
    levels: int | None = None,
    limits: Limits | None = None,
    parallel: bool = True,
) -> CostesSweep:
    """Sweep over flat arrays whose moments are known; see :func:`costes_sweep`."""
    bounds = limits or type_limits(x.dtype, y.dtype)
    line = level_line(moments, x.dtype, levels=levels, limits=bounds)
    if line is None:
        return sweep_without_levels(moments)
    tally = LevelTally(line, moments, x.dtype, parallel=parallel)
    tally.add(x, y)
    return sweep_from(tally, moments)


def level_line(
    moments: PairMoments, dtype: np.dtype[Any], *, levels: int | None, limits: Limits
) -> LevelLine | None:
    """Threshold pairs of a sweep; None where there is no rising regression line."""
    slope, intercept = line_of(moments)
    if not slope > 0:
        return None
    along_a = slope < 1
    low, high = (moments.min_a, moments.max_a) if along_a else (moments.min_b, moments.max_b)
    whole = levels is None and dtype.kind in "iu" and high - low < LARGEST_SPAN
    u = np.arange(low, high + 1) if whole else np.linspace(low, high, levels or _FLOAT_LEVELS)
    v = slope * u + intercept if along_a else (u - intercept) / slope
    if whole:
        v = np.clip(np.floor(v + 0.5), *(limits.b if along_a else limits.a))
    return LevelLine(u, v, along_a, whole)


def sweep_from(tally: LevelTally, moments: PairMoments) -> CostesSweep:
    """The curves of a sweep, from its tally and the moments of the same pixels."""
    line = tally.line
    n_below, r_below = tally.below()
    gated_u, gated_v = tally.gated()
    gated_a, gated_b = (gated_u, gated_v) if line.along_a else (gated_v, gated_u)
    slope, intercept = line_of(moments)
    return CostesSweep(
        thresholds_a=line.u if line.along_a else line.v,
        thresholds_b=line.v if line.along_a else line.u,
        n_below=n_below,
        r_below=r_below,
        r_above=tally.above(),
        m1=_fraction(gated_a, moments.sum_a, moments.min_a),
        m2=_fraction(gated_b, moments.sum_b, moments.min_b),
        slope=slope,
        intercept=intercept,
        stepped="a" if line.along_a else "b",
        whole_levels=line.whole,
    )


def _fraction(part: FloatArray, total: float, lowest: float) -> FloatArray:
    return part / total if lowest >= 0 and total > 0 else np.full(part.shape, _NAN)


def sweep_without_levels(moments: PairMoments) -> CostesSweep:
    """The empty sweep of pixels without a rising regression line, and why."""
    slope, intercept = line_of(moments)
    if moments.n < 2:
        reason = "fewer than 2 pixels"
    elif not moments.varied:
        reason = "a channel is constant"
    else:
        reason = "the channels do not rise together, so there is no line to walk down"
    none = np.empty(0)
    return CostesSweep(
        none, none, np.empty(0, np.int64), none, none, none, none, slope, intercept, reason=reason
    )
