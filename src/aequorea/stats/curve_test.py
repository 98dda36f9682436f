"""Mean curves of two groups of animals, tested as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import special

if TYPE_CHECKING:
    from aequorea.stats.permutation import Arrangements

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CurveTest:
    """A test of mean curves.

    Attributes
    ----------
    statistic : float
        Squared difference of the mean curves, integrated over the grid, over its expectation if
        there is none; NaN where curves do not vary.
    df, df_error : float
        Of F: how many independent directions the differences have, and how well their variance
        is known.
    p_value : float
    """

    statistic: float
    df: float
    df_error: float
    p_value: float

    @property
    def testable(self) -> bool:
        """Whether there is variation to test against."""
        return math.isfinite(self.statistic)


_NOTHING = CurveTest(statistic=math.nan, df=math.nan, df_error=math.nan, p_value=math.nan)


def curve_test(a: FloatArray, b: FloatArray, grid: FloatArray) -> CurveTest:
    """Welch's test for curves: whether animals of two groups have the same mean curve.

    Parameters
    ----------
    a, b : ndarray, shapes (n, g), (m, g)
        One curve per animal, at least two each.
    grid : ndarray, shape (g,)

    Returns
    -------
    CurveTest

    Notes
    -----
    The statistic is ∫(ā − b̄)² over the trace of S = A/n + B/m, with A and B the covariances of
    the animals' curves. Box's approximation gives F with tr²(S) / tr(S²) and
    tr²(S) / (tr(A²) / n²(n−1) + tr(B²) / m²(m−1)) degrees of freedom. For curves of one point it
    is Welch's t, squared. Covariances may differ between the groups.

    References
    ----------
    .. [1] Box (1954), doi:10.1214/aoms/1177728786
    .. [2] Brunner, Dette & Munk (1997), doi:10.1080/01621459.1997.10473671
    .. [3] Shen & Faraway (2004), Statistica Sinica 14, 1239-1257 (curves)

    Examples
    --------
    >>> grid = np.array([0.0, 1.0])
    >>> a, b = np.array([[1.0, 1], [2, 2], [3, 3]]), np.array([[3.0, 3], [4, 4], [5, 5]])
    >>> round(curve_test(a, b, grid).p_value, 3)
    0.07
    """
    root = _root(grid)
    x, y = a * root, b * root
    n, m = len(a), len(b)
    difference = y.mean(axis=0) - x.mean(axis=0)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    ga, gb, cross = x @ x.T / (n - 1), y @ y.T / (m - 1), x @ y.T
    trace = np.trace(ga) / n + np.trace(gb) / m
    if _is_nothing(trace, np.concatenate([a, b]) * root):
        return _NOTHING
    a2, b2 = float((ga**2).sum()) / n**2, float((gb**2).sum()) / m**2
    both = 2 * float((cross**2).sum()) / (n * m * (n - 1) * (m - 1))
    df = trace**2 / (a2 + b2 + both)
    return _held_against_f(difference, trace, df, trace**2 / (a2 / (n - 1) + b2 / (m - 1)))


def paired_curve_test(a: FloatArray, b: FloatArray, grid: FloatArray) -> CurveTest:
    """The same within animals: whether their curves change on average.

    Parameters
    ----------
    a, b : ndarray, shape (n, g)
        The same animals, at least two.
    grid : ndarray, shape (g,)
    """
    root = _root(grid)
    x = (b - a) * root
    n = len(x)
    mean = x.mean(axis=0)
    gram = (x - mean) @ (x - mean).T / (n - 1)
    trace = np.trace(gram) / n
    if _is_nothing(trace, np.concatenate([a, b]) * root):
        return _NOTHING
    df = trace**2 / (float((gram**2).sum()) / n**2)
    return _held_against_f(mean, trace, df, df * (n - 1))


def permuted_statistics(curves: FloatArray, grid: FloatArray, ways: Arrangements) -> FloatArray:
    """The statistic of every way to deal the animals out.

    Parameters
    ----------
    curves : ndarray, shape (n_animals, g)
        First condition first; changes if paired.
    grid : ndarray, shape (g,)
    ways : Arrangements

    Returns
    -------
    ndarray, shape (k,)
    """
    scaled = curves * _root(grid)
    if not ways.paired:
        scaled = scaled - scaled.mean(axis=0)
    gram = scaled @ scaled.T
    size, w = np.diag(gram), ways.weights
    scale = float(size.mean())
    if ways.paired:
        mean = _quadratic(w / len(curves), gram)
        return _ratio(mean, (scale - mean) / (len(curves) - 1), scale)
    m = float(w[0].sum())
    n = len(curves) - m
    second, first = w / m, (1 - w) / n
    parts = [
        (part @ size - _quadratic(part, gram)) / (k - 1) for part, k in ((second, m), (first, n))
    ]
    return _ratio(_quadratic(second - first, gram), parts[0] + parts[1], scale)


def _quadratic(weights: FloatArray, gram: FloatArray) -> FloatArray:
    return np.asarray(((weights @ gram) * weights).sum(axis=1))


def _ratio(difference: FloatArray, variance: FloatArray, scale: float) -> FloatArray:
    nothing = variance <= 1e-12 * scale
    ratio = difference / np.where(nothing, 1.0, variance)
    return np.asarray(np.where(nothing, np.where(difference > 1e-12 * scale, np.inf, 0.0), ratio))


def _root(grid: FloatArray) -> FloatArray:
    """Square roots of the trapezium rule's weights."""
    steps = np.diff(grid)
    weights: FloatArray = (np.append(steps, 0.0) + np.append(0.0, steps)) / 2
    return np.asarray(np.sqrt(weights))


def _is_nothing(trace: float, scaled: FloatArray) -> bool:
    return bool(trace <= 1e-20 * float((scaled**2).sum(axis=1).max()))


def _held_against_f(mean: FloatArray, trace: float, df: float, df_error: float) -> CurveTest:
    statistic = float(mean @ mean) / float(trace)
    p = float(special.fdtrc(df, df_error, statistic))
    return CurveTest(statistic=statistic, df=float(df), df_error=float(df_error), p_value=p)
