"""Cells within animals: random animal intercept by REML, with Kenward and Roger's correction.

Cell k of animal j in condition c is ``m_c + a_j + e_jk``: animals vary about the mean of their
condition, cells about their animal. All that matters of the cells of an animal is their number,
mean and sum of squares, so a fit takes a millisecond whatever the number of cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import optimize

from aequorea.stats.t_tests import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

_LOG_RATIOS = np.linspace(math.log(1e-6), math.log(1e8), 65)


@dataclass(frozen=True, eq=False, kw_only=True)
class RandomIntercept:
    """A fitted model.

    Attributes
    ----------
    means : ndarray, shape (c,)
        Of each condition: animals weighed by how well their cells tell them.
    variance_between, variance_within : float
        Of animals about their condition, of cells about their animal.
    covariance : ndarray, shape (c, c)
        Of the means, with Kenward and Roger's correction for estimated variances.
    least_df : float
        Animals less conditions.
    """

    means: FloatArray
    variance_between: float
    variance_within: float
    covariance: FloatArray
    least_df: float
    _plain: FloatArray
    _slopes: FloatArray
    _variances: FloatArray

    @property
    def icc(self) -> float:
        """Share of the variance that lies between animals (intraclass correlation)."""
        return self.variance_between / (self.variance_between + self.variance_within)

    def plain_error(self, weights: npt.ArrayLike) -> float:
        """Standard error of a contrast as if the variances were known: too small."""
        w = np.asarray(weights, dtype=np.float64)
        return math.sqrt(float(w**2 @ self._plain))

    def contrast(self, weights: npt.ArrayLike) -> Estimate:
        """Weighted sum of the means, with error and degrees of freedom.

        Notes
        -----
        For one contrast, Kenward and Roger's degrees of freedom are Satterthwaite's with expected
        information; the standard error is the corrected one. Where animals hardly differ that
        formula can give less than one degree of freedom; animals less conditions is then taken,
        as in a comparison of the animals' means.
        """
        w = np.asarray(weights, dtype=np.float64)
        plain = float(w**2 @ self._plain)
        slope = self._slopes @ w**2
        df = 2 * plain**2 / float(slope @ self._variances @ slope)
        error = math.sqrt(float(w @ self.covariance @ w))
        return Estimate(value=float(w @ self.means), error=error, df=max(df, self.least_df))


def fit_random_intercept(
    means: npt.ArrayLike, n_cells: npt.ArrayLike, squares: npt.ArrayLike, condition: npt.ArrayLike
) -> RandomIntercept | None:
    """Fit conditions with animals that vary, and cells that vary within animals.

    Parameters
    ----------
    means, n_cells : array_like, shape (n_animals,)
        Mean and number of the cells of each animal.
    squares : array_like, shape (n_animals,)
        Sum over its cells of squared deviations from that mean.
    condition : array_like of int, shape (n_animals,)
        From 0 on, each with at least two animals.

    Returns
    -------
    RandomIntercept or None
        None where cells do not vary within animals, or each animal has one cell: the two
        variances cannot be told apart.

    References
    ----------
    .. [1] Patterson & Thompson (1971), doi:10.1093/biomet/58.3.545
    .. [2] Kenward & Roger (1997), doi:10.2307/2533558

    Examples
    --------
    >>> fit = fit_random_intercept([1.0, 2.0, 3.0, 5.0], [10] * 4, [9.0] * 4, [0, 0, 1, 1])
    >>> fit.means, round(fit.contrast([-1, 1]).df, 3)
    (array([1.5, 4. ]), 2.0)
    """
    y, n, within = (np.asarray(v, dtype=np.float64) for v in (means, n_cells, squares))
    groups = np.asarray(condition, dtype=np.intp)
    total = float(within.sum())
    if n.sum() <= len(n) or total <= 1e-24 * float(n @ y**2):
        return None
    membership = (groups == np.arange(groups.max() + 1)[:, None]).astype(np.float64)
    df = float(n.sum()) - len(membership)

    def fitted(ratios: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Means, shape (k, c), and variance within, shape (k,), at k ratios of variances."""
        weights = n / (1 + ratios[:, None] * n)
        centres = (weights * y) @ membership.T / (weights @ membership.T)
        deviations = weights * (y - centres @ membership) ** 2
        return centres, (total + deviations.sum(axis=1)) / df

    def deviance(ratios: FloatArray) -> FloatArray:
        sums = (n / (1 + ratios[:, None] * n)) @ membership.T
        logs = np.log1p(ratios[:, None] * n).sum(axis=1) + np.log(sums).sum(axis=1)
        return np.asarray(df * np.log(fitted(ratios)[1]) + logs)

    ratio = _smallest(deviance)
    centres, variances = fitted(np.array([ratio]))
    variance = float(variances[0])
    return _described(centres[0], ratio * variance, variance, n, membership)


def _smallest(deviance: Callable[[FloatArray], FloatArray]) -> float:
    """Ratio of the variances, zero included: coarse in its logarithm, then refined."""
    values = deviance(np.exp(_LOG_RATIOS))
    k = int(np.argmin(values))
    around = _LOG_RATIOS[max(0, k - 1)], _LOG_RATIOS[min(len(values) - 1, k + 1)]
    best = optimize.minimize_scalar(
        lambda u: float(deviance(np.exp([u]))[0]),
        bounds=around,
        method="bounded",
        options={"xatol": 1e-9},
    )
    return math.exp(best.x) if best.fun < float(deviance(np.zeros(1))[0]) else 0.0


def _described(
    centre: FloatArray, between: float, within: float, n: FloatArray, membership: FloatArray
) -> RandomIntercept:
    """Covariances in closed form; powers of each animal's 1 / (within + n between)."""
    inverse = 1 / (within + n * between)
    v, u = n * inverse, n * inverse**2
    cubes = {"aa": v**3, "ae": v * u, "ee": n * inverse**3}
    plain = 1 / (membership @ v)
    first = {"a": membership @ v**2, "e": membership @ u}
    information = np.zeros((2, 2))
    information[0, 0] = float(
        first["a"].sum()
        - 2 * (membership @ v**3 * plain).sum()
        + (first["a"] ** 2 * plain**2).sum()
    )
    information[0, 1] = information[1, 0] = float(
        u.sum()
        - 2 * (membership @ (u * v) * plain).sum()
        + (first["e"] * first["a"] * plain**2).sum()
    )
    information[1, 1] = float(
        ((n - 1) / within**2 + inverse**2).sum()
        - 2 * (membership @ cubes["ee"] * plain).sum()
        + (first["e"] ** 2 * plain**2).sum()
    )
    variances: FloatArray = np.asarray(np.linalg.inv(information / 2), dtype=np.float64)
    extra = np.zeros(len(plain))
    for i, r in enumerate("ae"):
        for j, s in enumerate("ae"):
            q = membership @ cubes["".join(sorted(r + s))]
            extra += variances[i, j] * (q - first[r] * first[s] * plain)
    return RandomIntercept(
        means=centre,
        variance_between=between,
        variance_within=within,
        covariance=np.diag(plain + 2 * plain**2 * extra),
        least_df=float(len(n) - len(plain)),
        _plain=plain,
        _slopes=np.stack([first["a"] * plain**2, first["e"] * plain**2]),
        _variances=variances,
    )
