"""Cumulative distributions of one value per punctum (or voxel), one curve per cell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from aequorea.errors import AxisMismatchError, InputError
from aequorea.stats.animals import indexed, names_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class CellCurves:
    """One cumulative distribution per cell, on a common grid.

    Attributes
    ----------
    cells : list
        In the order in which they were first given; cells without values are left out.
    grid : ndarray, shape (g,)
        In the unit of the values.
    cdf : ndarray, shape (n_cells, g)
        Share of the cell's values (of their weight) that is no larger than the grid's.
    medians : ndarray, shape (n_cells,)
        Of the values themselves, not read from the grid.
    n_values : ndarray of int, shape (n_cells,)
    """

    cells: list[Any]
    grid: FloatArray
    cdf: FloatArray
    medians: FloatArray
    n_values: npt.NDArray[np.intp]

    @property
    def mean_cdf(self) -> FloatArray:
        """Each cell with weight 1, whatever its number of values; NaN without cells."""
        return self.cdf.mean(axis=0) if len(self.cdf) else np.full(len(self.grid), np.nan)


def ecdf_on_grid(
    values: npt.ArrayLike,
    cell: Sequence[Hashable] | npt.ArrayLike,
    grid: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
) -> CellCurves:
    """Cumulative distribution of each cell's values.

    Parameters
    ----------
    values : array_like, shape (n,)
        Such as the distance of each punctum to the nucleus; NaN is left out.
    cell : sequence, shape (n,)
        Whose value it is.
    grid : array_like, shape (g,)
        Where distributions are evaluated; increasing.
    weights : array_like, shape (n,), optional
        Not negative; such as the intensity of each voxel, for the distribution of a protein
        over distance.

    Returns
    -------
    CellCurves
        Takes 8 bytes per cell and point of the grid.

    Raises
    ------
    AxisMismatchError
        If lengths do not agree.
    InputError
        If the grid does not increase, or a weight is negative or not finite.

    Examples
    --------
    >>> curves = ecdf_on_grid([1.0, 3.0, 2.0], ["a", "a", "b"], [0.0, 1.0, 2.0, 3.0])
    >>> curves.cdf
    array([[0. , 0.5, 0.5, 1. ],
           [0. , 0. , 1. , 1. ]])
    >>> curves.mean_cdf
    array([0.  , 0.25, 0.75, 1.  ])
    """
    x, w = check_values(values, weights)
    points = check_grid(grid)
    names, index = indexed(names_of(cell, len(x), "cell", of="value"))
    return curves_of(x, w, names, index, points)


def check_values(values: Any, weights: Any) -> tuple[FloatArray, FloatArray]:
    """Values and their weights as floats of one length."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1:
        raise AxisMismatchError(
            f"values: expected a flat list, found shape {x.shape}; give one number per punctum"
        )
    if np.isinf(x).any():
        k = int(np.flatnonzero(np.isinf(x))[0])
        raise InputError(f"values: expected finite numbers or NaN, found {x[k]} in row {k}")
    if weights is None:
        return x, np.ones(len(x))
    w = np.asarray(weights, dtype=np.float64)
    if w.shape != x.shape:
        raise AxisMismatchError(
            f"weights: expected {len(x)} values, found shape {w.shape}; give one per value"
        )
    bad = np.flatnonzero(~(np.isfinite(w) & (w >= 0)) & np.isfinite(x))
    if bad.size:
        raise InputError(
            f"weights: expected numbers from 0 on, found {w[bad[0]]:g} in row {bad[0]}; "
            "subtract no background from weights, or leave such values out"
        )
    return x, w


def check_grid(grid: Any) -> FloatArray:
    """At least two finite, increasing numbers."""
    points = np.asarray(grid, dtype=np.float64)
    if points.ndim != 1 or len(points) < 2 or not (np.diff(points) > 0).all():
        raise InputError(
            "grid: expected at least two increasing numbers, found "
            f"{np.array2string(points, threshold=6)}; use numpy.linspace"
        )
    return points


def curves_of(
    x: FloatArray, w: FloatArray, names: list[Any], index: npt.NDArray[np.intp], grid: FloatArray
) -> CellCurves:
    """Curves of checked values; ``index`` says whose value it is."""
    used = np.isfinite(x) & (w > 0)
    x, w, index = x[used], w[used], index[used]
    kept, index = np.unique(index, return_inverse=True)
    n, size = len(kept), len(grid) + 1
    places = index * size + np.searchsorted(grid, x, side="left")
    sums = np.bincount(places, w, n * size).reshape(n, size).cumsum(axis=1)
    totals = sums[:, -1:]
    return CellCurves(
        cells=[names[k] for k in kept],
        grid=grid,
        cdf=np.minimum(sums[:, :-1] / totals, 1.0),
        medians=_medians(x, w, index, n),
        n_values=np.bincount(index, minlength=n),
    )


def _medians(x: FloatArray, w: FloatArray, index: npt.NDArray[np.intp], n: int) -> FloatArray:
    """Where half the weight lies below; the middle between two values if exactly half does."""
    if not n:
        return np.zeros(0)
    order = np.lexsort((x, index))
    x, sums = x[order], np.cumsum(w[order])
    ends = np.cumsum(np.bincount(index, minlength=n))
    tops = sums[ends - 1]
    bottoms = np.concatenate([[0.0], tops[:-1]])
    half = (bottoms + tops) / 2
    rounding = 1e-12 * sums[-1]
    below = np.searchsorted(sums, half - rounding, side="left")
    above = np.searchsorted(sums, half + rounding, side="left")
    return np.asarray((x[below] + x[np.minimum(above, ends - 1)]) / 2)


def half_distance(grid: npt.ArrayLike, cdf: npt.ArrayLike) -> float:
    """Where a cumulative distribution first reaches one half.

    Parameters
    ----------
    grid, cdf : array_like, shape (g,)

    Returns
    -------
    float
        Interpolated linearly; NaN if the distribution does not reach one half on the grid.

    Notes
    -----
    Of a mean CDF this is not the mean of the cells' medians: cells with values far out pull the
    mean of medians, and hardly move the median of the mean CDF.

    Examples
    --------
    >>> half_distance([0.0, 1.0, 2.0], [0.0, 0.25, 0.75])
    1.5
    """
    x, y = np.asarray(grid, dtype=np.float64), np.asarray(cdf, dtype=np.float64)
    reached = np.flatnonzero(y >= 0.5)
    if not reached.size:
        return math.nan
    k = int(reached[0])
    if k == 0:
        return float(x[0])
    return float(x[k - 1] + (x[k] - x[k - 1]) * (0.5 - y[k - 1]) / (y[k] - y[k - 1]))


def integral(grid: FloatArray, curves: FloatArray) -> FloatArray:
    """Area under curves on a grid (trapezium rule), along the last axis."""
    return np.asarray(np.trapezoid(curves, grid, axis=-1))
