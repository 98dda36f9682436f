"""Student's t on one value per animal: independent, paired and blocked animals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

FloatArray = npt.NDArray[np.float64]

#: Spread that is nothing but rounding, relative to the values.
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A difference, its standard error and degrees of freedom.

    Attributes
    ----------
    value : float
    error : float
        Standard error; 0 where nothing varies, and then there is no test.
    df : float
        NaN where nothing varies.
    """

    value: float
    error: float
    df: float

    @property
    def testable(self) -> bool:
        """Whether there is variation to test against."""
        return self.error > 0 and self.df > 0

    @property
    def statistic(self) -> float:
        """Value over error; NaN where nothing varies."""
        return self.value / self.error if self.testable else math.nan

    @property
    def p_value(self) -> float:
        """Two-sided, for a true value of 0; NaN where nothing varies."""
        return (
            float(2 * special.stdtr(self.df, -abs(self.statistic))) if self.testable else math.nan
        )

    def interval(self, confidence: float) -> tuple[float, float]:
        """Confidence interval; NaN where nothing varies."""
        if not self.testable:
            return math.nan, math.nan
        half = -float(special.stdtrit(self.df, (1 - confidence) / 2)) * self.error
        return self.value - half, self.value + half


def welch(a: npt.ArrayLike, b: npt.ArrayLike, *, ratio: float = 1.0) -> Estimate:
    """Mean of b minus ``ratio`` times mean of a, without assuming equal variances.

    Parameters
    ----------
    a, b : array_like, shapes (n,), (m,)
        One value per animal, at least two each.
    ratio : float, default 1

    Returns
    -------
    Estimate
        With Satterthwaite's degrees of freedom.

    References
    ----------
    .. [1] Welch (1947), doi:10.1093/biomet/34.1-2.28
    .. [2] Satterthwaite (1946), doi:10.2307/3002019

    Examples
    --------
    >>> found = welch([1.0, 2.0, 3.0], [3.0, 4.0, 5.0])
    >>> found.value, round(found.df, 6), round(found.p_value, 3)
    (2.0, 4.0, 0.07)
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (a, b))
    parts = np.array([ratio**2 * x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)])
    value = float(y.mean() - ratio * x.mean())
    scale = float(max(np.abs(x).max() * abs(ratio), np.abs(y).max()))
    if np.sqrt(parts.sum()) <= _ROUNDING * scale:
        return Estimate(value=value, error=0.0, df=math.nan)
    share = parts / parts.sum()
    df = 1 / float((share**2 / np.array([len(x) - 1, len(y) - 1])).sum())
    return Estimate(value=value, error=float(np.sqrt(parts.sum())), df=df)


def paired(a: npt.ArrayLike, b: npt.ArrayLike, *, ratio: float = 1.0) -> Estimate:
    """Mean within animals of b minus ``ratio`` times a.

    Parameters
    ----------
    a, b : array_like, shape (n,)
        The same animals, at least two, in two conditions.
    ratio : float, default 1

    Examples
    --------
    >>> found = paired([1.0, 2.0, 3.0], [2.0, 3.5, 4.5])
    >>> round(found.value, 2), found.df
    (1.33, 2.0)
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (a, b))
    changes = y - ratio * x
    value, spread = float(changes.mean()), float(changes.std(ddof=1))
    if spread <= _ROUNDING * float(max(np.abs(x).max() * abs(ratio), np.abs(y).max())):
        return Estimate(value=value, error=0.0, df=math.nan)
    return Estimate(value=value, error=spread / math.sqrt(len(x)), df=len(x) - 1.0)


def blocked(table: npt.ArrayLike, first: int, second: int) -> Estimate | None:
    """Condition ``second`` minus ``first`` within animals, of which some miss conditions.

    Parameters
    ----------
    table : array_like, shape (n_animals, n_conditions)
        NaN where an animal has no cells in a condition.
    first, second : int
        Columns.

    Returns
    -------
    Estimate or None
        None if no animal, nor any chain of animals, links the two conditions.

    Notes
    -----
    Least squares with one constant per animal and one per condition; animals with a single
    condition say nothing. The error comes from all conditions together, which supposes that
    changes between any two conditions vary alike. With two conditions this is the paired t-test
    of the animals that have both.

    Examples
    --------
    >>> table = [[1.0, 2.0, 2.5], [2.0, 3.5, float("nan")], [3.0, float("nan"), 5.0]]
    >>> found = blocked(table, 0, 1)
    >>> round(found.value, 3), found.df
    (1.3, 2.0)
    """
    y = np.asarray(table, dtype=np.float64)
    given = np.isfinite(y)
    y, given = y[given.sum(axis=1) > 1], given[given.sum(axis=1) > 1]
    centred = np.where(given, y - np.nanmean(y, axis=1, keepdims=True) if len(y) else y, 0.0)
    of_animal = given.sum(axis=1)
    weights = given / of_animal[:, None]
    normal = np.diag(given.sum(axis=0).astype(np.float64)) - given.T.astype(np.float64) @ weights
    inverse = np.linalg.pinv(normal, rcond=1e-9, hermitian=True)
    contrast = np.zeros(y.shape[1])
    contrast[[first, second]] = -1.0, 1.0
    if np.abs(contrast - contrast @ inverse @ normal).max() > 1e-6:
        return None
    effects = inverse @ centred.sum(axis=0)
    rest = np.where(given, centred - (effects - (weights @ effects)[:, None]), 0.0)
    df = float(of_animal.sum() - len(y) - np.linalg.matrix_rank(normal, tol=1e-9, hermitian=True))
    value = float(contrast @ effects)
    spread = math.sqrt(float((rest**2).sum()) / df) if df > 0 else 0.0
    if spread <= _ROUNDING * float(np.abs(y[given]).max()):
        return Estimate(value=value, error=0.0, df=math.nan)
    return Estimate(value=value, error=spread * math.sqrt(contrast @ inverse @ contrast), df=df)
