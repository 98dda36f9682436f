"""Puncta of different kinds together, beside what each kind's own spread over the cell gives."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.pipelines.confocal.measures import (
    POSITION,
    cytosols,
    table_by_cell,
    without_cytosol,
)
from aequorea.spatial.conjunction import conjunction_test, point_conjunctions
from aequorea.spatial.nulls import random_points
from aequorea.spatial.shells import equal_volume_shells

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from aequorea.pipelines.confocal.anatomy import Anatomy
    from aequorea.spatial.shells import Shells

__all__ = ["CONJUNCTION_COLUMNS", "conjunction_table"]

CONJUNCTION_COLUMNS = (
    "cell",
    "roles",
    "n_of_each",
    "observed",
    "expected",
    "ratio",
    "chance_low",
    "chance_high",
    "percent_of_each",
    "p_value",
    "n_simulations",
    "hypothesis",
    "unit",
    "reason",
)
HYPOTHESIS = (
    "Each kind of puncta lies independently of the others, spread over the shells around the "
    "nucleus as it is, and at random within each shell."
)


def conjunction_table(
    anatomy: Anatomy,
    puncta: dict[str, pd.DataFrame],
    *,
    within_um: float,
    n_shells: int,
    n_simulations: int,
    least: int,
    seed: int,
) -> pd.DataFrame:
    """One row per cell and combination of two or more kinds of puncta.

    Parameters
    ----------
    anatomy : Anatomy
    puncta : dict of role to DataFrame
        As :func:`aequorea.pipelines.confocal.puncta.located` makes them.
    within_um : float, µm
        Puncta of a conjunction are no farther apart; each is in one at most.
    n_shells : int
        Shells of equal volume within which the null moves puncta.
    n_simulations : int
    least : int
        With fewer cytosolic puncta of a kind nothing is tested.
    seed : int

    Returns
    -------
    DataFrame
        ``observed`` conjunctions and how many the null gives; ``percent_of_each`` is the share of
        each kind that takes part, in the order of ``roles``.
    """
    rows: list[dict[str, Any]] = []
    combinations = list(_combinations(list(puncta)))
    for label, box, cytosol, distance in cytosols(anatomy):
        origin = np.array([side.start for side in box]) * anatomy.spacing_um
        shells = equal_volume_shells(distance, cytosol, n_shells)
        points = {role: _points(table, label, anatomy, origin) for role, table in puncta.items()}
        for number, roles in enumerate(combinations):
            chosen = [points[role] for role in roles]
            facts: dict[str, Any] = {
                "cell": label,
                "roles": "+".join(roles),
                "n_of_each": "+".join(str(len(p)) for p in chosen),
            }
            if min(len(p) for p in chosen) < least:
                reason = f"fewer than {least} puncta of a kind in the cytosol"
                rows.append({**facts, "reason": reason})
                continue
            rng = np.random.default_rng([seed, number, label])
            rows.append(
                facts | _tested(chosen, cytosol, shells, anatomy, within_um, n_simulations, rng)
            )
    rows += [
        {"cell": label, "roles": "+".join(roles), "reason": reason}
        for label, reason in without_cytosol(anatomy).items()
        for roles in combinations
    ]
    return table_by_cell(rows, CONJUNCTION_COLUMNS)


def _combinations(roles: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """All pairs, and all kinds together where there are more than two."""
    yield from itertools.combinations(roles, 2)
    if len(roles) > 2:
        yield tuple(roles)


def _points(
    table: pd.DataFrame, label: int, anatomy: Anatomy, origin: NDArray[np.float64]
) -> NDArray[np.float64]:
    own = table[(table["cell"] == label) & (table["compartment"] == "cytosol")]
    return anatomy.held(own[list(POSITION)].to_numpy(float)) - origin


def _tested(
    points: list[NDArray[np.float64]],
    cytosol: NDArray[np.bool_],
    shells: Shells,
    anatomy: Anatomy,
    within_um: float,
    n_simulations: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    spacing = anatomy.spacing_um
    densities = [_density(p, shells, spacing) for p in points]

    def sampler(generator: np.random.Generator) -> list[NDArray[np.float64]]:
        moved = [
            random_points(p, cytosol, spacing, generator, weights=w)[0]
            for p, w in zip(points[1:], densities[1:], strict=True)
        ]
        return [points[0], *moved]

    found = conjunction_test(
        points,
        sampler,
        within_um=within_um,
        n_simulations=n_simulations,
        alternative="two-sided",
        seed=rng,
    )
    together = len(point_conjunctions(points, within_um=within_um))
    return {
        "observed": found.observed,
        "expected": found.expected,
        "ratio": found.ratio,
        "chance_low": found.ratio_interval[0],
        "chance_high": found.ratio_interval[1],
        "percent_of_each": "+".join(f"{100 * together / len(p):.1f}" for p in points),
        "p_value": found.p_value,
        "n_simulations": n_simulations,
        "hypothesis": HYPOTHESIS,
        "unit": found.unit,
        "reason": found.reason,
    }


def _density(
    points: NDArray[np.float64], shells: Shells, spacing: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Puncta per voxel of each shell, everywhere in it."""
    voxels = np.floor(points / spacing + 0.5).astype(np.int64)
    voxels = np.clip(voxels, 0, np.array(shells.index.shape) - 1)
    counts = np.bincount(shells.index[tuple(voxels.T)], minlength=len(shells) + 1)[1:]
    per_voxel = np.concatenate([[0.0], counts / np.maximum(shells.n_voxels, 1)])
    return np.asarray(per_voxel[shells.index])
