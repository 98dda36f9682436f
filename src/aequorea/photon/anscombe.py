"""Variance stabilisation of photon-limited counts, and ways back."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import gammaln

from aequorea.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Inverse = Literal["algebraic", "asymptotic", "unbiased"]
_OFFSET = 3.0 / 8.0
_EXACT_UP_TO = 100.0


def generalized_anscombe(
    counts: ArrayLike, gain: float = 1.0, zero: float = 0.0
) -> NDArray[np.floating[Any]]:
    """Counts with noise of one and the same SD, 1, at every brightness.

    ``z = 2 sqrt((x - zero) / gain + 3/8)``; below the zero level it goes on along its tangent, so
    that every count keeps a value of its own.

    Parameters
    ----------
    counts : array-like
    gain : float
        Counts per photon: the slope of variance against mean (:func:`photon_transfer`).
    zero : float
        Where that line meets variance 0; it holds the detector's offset and its read noise:
        ``offset - read_variance / gain``.

    Returns
    -------
    ndarray
        float32 for integers of 16 bits or fewer and for float32, else float64.

    Raises
    ------
    InputError
        If gain is not positive, or zero not finite.

    References
    ----------
    .. [1] F. J. Anscombe, Biometrika 35, 246 (1948), doi:10.1093/biomet/35.3-4.246

    .. [2] F. Murtagh, J.-L. Starck, A. Bijaoui, Astron. Astrophys. Suppl. 112, 179 (1995)

    Examples
    --------
    >>> generalized_anscombe([100, 180, 500], gain=8.0, zero=100.0).round(2)
    array([ 1.22,  6.44, 14.2 ])
    """
    _check(gain, zero)
    x = _floating(counts)
    photons = (x - x.dtype.type(zero)) / x.dtype.type(gain)
    root = np.sqrt(np.maximum(photons, 0) + x.dtype.type(_OFFSET))
    slope = x.dtype.type(1.0 / np.sqrt(_OFFSET))
    found: NDArray[np.floating[Any]] = 2 * root + np.minimum(photons, 0) * slope
    return found


def generalized_inverse_anscombe(
    stabilised: ArrayLike,
    gain: float = 1.0,
    zero: float = 0.0,
    *,
    method: Inverse = "algebraic",
    photons: bool = False,
) -> NDArray[np.floating[Any]]:
    """The way back from :func:`generalized_anscombe`.

    Parameters
    ----------
    stabilised : array-like
    gain, zero : float
        As given on the way there.
    method : {"algebraic", "asymptotic", "unbiased"}
        "algebraic" undoes the transform sample by sample: for stored or registered *samples*,
        averaged afterwards. "unbiased" is for values that were *averaged or denoised while
        stabilised*: an average of roots lies below the root of the average, by a quarter of a
        photon from some photons on. "asymptotic" is its limit for many photons, 0.1 to 0.2 too
        large at one and below.
    photons : bool, default False
        Photons above the zero level instead of counts.

    Returns
    -------
    ndarray

    Raises
    ------
    InputError
        For an unknown method, or a gain that is not positive.

    References
    ----------
    .. [1] M. Mäkitalo, A. Foi, IEEE Trans. Image Process. 22, 91, doi:10.1109/TIP.2012.2202675

    Examples
    --------
    >>> z = generalized_anscombe([90, 100, 180], gain=8.0, zero=100.0)
    >>> generalized_inverse_anscombe(z, gain=8.0, zero=100.0).round(2)
    array([ 90., 100., 180.])
    """
    _check(gain, zero)
    z = _floating(stabilised)
    if method == "unbiased":
        found = _unbiased(z)
    elif method in {"algebraic", "asymptotic"}:
        found = _algebraic(z) + (0.25 if method == "asymptotic" else 0.0)
    else:
        raise InputError(f"method is algebraic, asymptotic or unbiased, not {method!r}")
    result = found if photons else found * gain + zero
    return result.astype(z.dtype, copy=False)


def _algebraic(z: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    floor = 2 * np.sqrt(_OFFSET)
    above = np.maximum(z, floor)
    below = np.minimum(z - floor, 0) * np.sqrt(_OFFSET)
    found: NDArray[np.floating[Any]] = above * above / 4 - _OFFSET + below
    return found


def _unbiased(z: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The photon rate whose stabilised Poisson counts have the mean ``z``.

    By summation up to 100 photons; beyond, the limit ``z**2 / 4 - 1/8`` is as exact.
    """
    rates, means = _mean_of_stabilised()
    inside = np.interp(z, means, rates)
    bright = z * z / 4 - 1 / 8
    dark = (z - means[0]) * (rates[1] - rates[0]) / (means[1] - means[0])
    return np.where(z > means[-1], bright, np.where(z < means[0], dark, inside))


@cache
def _mean_of_stabilised() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Photon rates up to 100, and the mean of stabilised Poisson counts at each."""
    rates = np.concatenate([[0.0], np.geomspace(1e-3, _EXACT_UP_TO, 4000)])
    n = np.arange(0, 300, dtype=np.float64)
    z = 2 * np.sqrt(n + _OFFSET)
    means = np.empty_like(rates)
    means[0] = z[0]
    log_factorial = gammaln(n + 1)
    for k, rate in enumerate(rates[1:], 1):
        means[k] = np.exp(n * np.log(rate) - rate - log_factorial) @ z
    return rates, means


def _floating(values: ArrayLike) -> NDArray[np.floating[Any]]:
    given = np.asarray(values)
    small = given.dtype.kind in "ui" and given.dtype.itemsize <= 2
    return given.astype(np.float32 if small or given.dtype == np.float32 else np.float64)


def _check(gain: float, zero: float) -> None:
    if not (np.isfinite(gain) and gain > 0):
        raise InputError(f"gain must be a positive number of counts per photon, got {gain}")
    if not np.isfinite(zero):
        raise InputError(f"the zero level must be a number of counts, got {zero}")
