"""Cells summed up to one value per animal and condition."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from aequorea.stats.animals import Rows

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class AnimalMean:
    """One animal in one condition.

    Attributes
    ----------
    condition, animal : hashable
    n_cells : int
        Cells with a value.
    n_missing : int
        Cells left out because their value is NaN.
    value : float
        Mean (or median) of its cells; NaN without cells.
    """

    condition: Any
    animal: Any
    n_cells: int
    n_missing: int
    value: float


@dataclass(frozen=True, eq=False, kw_only=True)
class AnimalGroup:
    """Animals of one condition.

    Attributes
    ----------
    condition : hashable
    place : int
        Of the condition among all.
    names : list
        Animals with cells.
    values, means : ndarray, shape (n_animals,)
        What stands for each animal, and the mean of its cells.
    n, squares : ndarray, shape (n_animals,)
        Number of its cells, and their sum of squared deviations from the mean.
    n_missing : int
        Cells without a value.
    pooled_mean : float
        Of all cells.
    rows : tuple of AnimalMean
        All animals, those without cells included.
    """

    condition: Any
    place: int
    names: list[Any]
    values: FloatArray
    means: FloatArray
    n: FloatArray
    squares: FloatArray
    n_missing: int
    pooled_mean: float
    rows: tuple[AnimalMean, ...]

    def chosen(self, names: list[Any]) -> FloatArray:
        """Values of these animals, in this order."""
        places = {name: k for k, name in enumerate(self.names)}
        return self.values[[places[name] for name in names]]


def groups_of(
    y: FloatArray, weights: FloatArray, rows: Rows, summary: str, warnings: list[str]
) -> dict[Any, AnimalGroup]:
    """One group per condition; what is left out is added to ``warnings``."""
    groups = {}
    for place, name in enumerate(rows.conditions):
        mine = np.flatnonzero(rows.condition_index == place)
        owners, owner = _owners(rows, mine)
        group = _group(name, place, y[mine], weights[mine], owners, owner, summary)
        groups[name] = group
        if group.n_missing:
            of = f"{group.n_missing} of {len(mine)} cells of {name}"
            warnings.append(f"{of} have no value: left out")
        empty = [str(row.animal) for row in group.rows if row.n_cells == 0]
        if empty and rows.has_owners:
            warnings.append(f"without cells in {name}, left out: {', '.join(empty)}")
    return groups


def table_of(groups: dict[Any, AnimalGroup], rows: Rows) -> FloatArray:
    """Value of each animal (row) in each condition (column), NaN without cells."""
    places = {name: k for k, name in enumerate(rows.owners)}
    values = np.full((len(rows.owners), len(groups)), np.nan)
    for group in groups.values():
        values[[places[name] for name in group.names], group.place] = group.values
    return values


def _owners(rows: Rows, mine: IndexArray) -> tuple[list[Any], IndexArray]:
    """Animals of these rows; one nameless lot where animals are not known."""
    if not rows.has_owners:
        return [None], np.zeros(len(mine), dtype=np.intp)
    asked, owner = np.unique(rows.owner_index[mine], return_inverse=True)
    return [rows.owners[k] for k in asked], owner


def _group(
    condition: Any,
    place: int,
    y: FloatArray,
    weights: FloatArray,
    owners: list[Any],
    owner: IndexArray,
    summary: str,
) -> AnimalGroup:
    given = np.isfinite(y)
    size = len(owners)
    missing = np.bincount(owner[~given], minlength=size)
    x, w, owner = y[given], weights[given], owner[given]
    n = np.bincount(owner, minlength=size)
    kept = np.flatnonzero(n)
    means = np.full(size, np.nan)
    sums, totals = np.bincount(owner, w * x, size), np.bincount(owner, w, size)
    means[kept] = sums[kept] / totals[kept]
    squares = np.bincount(owner, (x - means[owner]) ** 2, size)
    values = means if summary == "mean" else _medians(x, owner, size)
    return AnimalGroup(
        condition=condition,
        place=place,
        names=[owners[k] for k in kept],
        values=values[kept],
        means=means[kept],
        n=n[kept].astype(np.float64),
        squares=squares[kept].astype(np.float64),
        n_missing=int(missing.sum()),
        pooled_mean=float(x.mean()) if len(x) else math.nan,
        rows=tuple(
            AnimalMean(
                condition=condition,
                animal=name,
                n_cells=int(n[k]),
                n_missing=int(missing[k]),
                value=float(values[k]),
            )
            for k, name in enumerate(owners)
        ),
    )


def _medians(x: FloatArray, owner: IndexArray, size: int) -> FloatArray:
    order = np.argsort(owner, kind="stable")
    ends = np.cumsum(np.bincount(owner, minlength=size))[:-1]
    return np.array([np.median(p) if len(p) else np.nan for p in np.split(x[order], ends)])
