"""Costes' automatic threshold: where the pixels below it stop correlating.

The threshold pair walks down the line of orthogonal regression of one channel on the other.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from aequorea.colocalization.moments import PairMoments, pair_moments
from aequorea.colocalization.regions import Pixels, paired_pixels
from aequorea.errors import InputError

Stepper = Literal["bisection", "costes"]
CostesCompat = Literal["napari", "coloc2"]
_NAN = float("nan")
# The bisection stops when its step is below this part of the stepped channel's range.
_RELATIVE_STEP = 1e-4


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
) -> tuple[float, float]:
    """Costes' automatic thresholds.

    Parameters
    ----------
    a, b : array_like, same shape
    mask : array_like of bool, same shape, optional
    max_iter : int, default 100

    Returns
    -------
    threshold_a, threshold_b : float
    """
    if max_iter < 1:
        raise InputError(f"max_iter must be 1 or more, got {max_iter}")
    x, y = paired_pixels(a, b, mask)
    return bisect(x, y, pair_moments(x, y), max_iter=max_iter)


def bisect(
    x: Pixels, y: Pixels, moments: PairMoments, *, max_iter: int = 100
) -> tuple[float, float]:
    """Costes thresholds of flat arrays by bisection; see :func:`costes_threshold`."""
    slope, intercept = line_of(moments)
    if not slope > 0:
        return _NAN, _NAN
    m = moments
    if slope < 1:
        t_a, t_b = _bisect(
            x.copy(), y.copy(), slope, intercept, True,
            m.min_a, m.max_a, m.min_b, m.max_b, m.mean_a, m.mean_b, max_iter,
        )  # fmt: skip
        return float(t_a), float(t_b)
    t_b, t_a = _bisect(
        y.copy(), x.copy(), slope, intercept, False,
        m.min_b, m.max_b, m.min_a, m.max_a, m.mean_b, m.mean_a, max_iter,
    )  # fmt: skip
    return float(t_a), float(t_b)


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
    tolerance = (u_max - u_min) * 1e-4
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
        if not varied or (suv + puv) - (su + pu) * (sv + pv) / total < 0:
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


def costes_of(
    x: Pixels,
    y: Pixels,
    moments: PairMoments,
    *,
    stepper: Stepper = "bisection",
    compat: str | None = None,
    max_iter: int = 100,
) -> tuple[float, float]:
    """Costes thresholds of flat arrays whose moments are known; see :func:`costes_threshold`."""
    return bisect(x, y, moments, max_iter=max_iter)
