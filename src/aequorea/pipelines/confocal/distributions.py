"""Distances between conditions as whole distributions: one curve per cell, animals compared."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.errors import AequoreaWarning
from aequorea.io.tables import read_table
from aequorea.pipelines.kept_tables import table_outputs, write_tables
from aequorea.pipelines.run.steps import Step
from aequorea.pipelines.study.comparison import ComparisonParameters, usable_rows
from aequorea.stats.animals import NO_ANIMALS
from aequorea.stats.distributions import DistributionDifference, compare_distributions
from aequorea.stats.fdr import false_discovery_rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aequorea.pipelines.run.steps import StepContext
    from aequorea.stats.distributions import DistributionComparison

__all__ = ["MEASURES", "distributions_step"]

MEASURES = {
    "distance_um": "voxel_distance_um",
    "normalized_distance": "normalized_distance",
    "volume_rank": "volume_rank",
}
_NO_MIXED = "there is no mixed model of curves; means of animals are compared (functional test)"
_TABLES = ("distribution_comparison", "distribution_conditions", "distribution_curves")
_CONDITION_COLUMNS = (
    "role",
    "measure",
    "condition",
    "n_animals",
    "n_cells",
    "n_values",
    "median_of_mean_cdf",
    "mean_of_medians",
    "median_by_chance",
    "band",
)
_CURVE_COLUMNS = ("role", "measure", "condition", "animal", "value", "cdf", "low", "high")
CHANCE = "by chance"
#: The condition of all images where there are none.
ALL_IMAGES = "all images"


@dataclass(frozen=True, kw_only=True)
class _Values:
    """Values of many cells and what each weighs."""

    value: Any
    cell: Any
    weight: Any
    frame: pd.DataFrame


def distributions_step(
    *,
    parameters: ComparisonParameters | None = None,
    leave_out: str | None = None,
    rejected: Sequence[str] = (),
) -> Step:
    """Distributions of distances over conditions, as a step of a study.

    Writes ``tables/distribution_comparison`` (pairs of conditions; ``q_value`` is corrected over
    all channels, measures and pairs together), ``distribution_conditions`` (half-distances) and
    ``distribution_curves`` (mean CDFs of animals and conditions, what chance gives in the same
    cells, simultaneous bands where there are animals enough).

    Parameters
    ----------
    parameters : ComparisonParameters, optional
    leave_out : str, optional
        Column of the table of cells that is true for those that must not be compared.
    rejected : sequence of str
        Samples that somebody has rejected.
    """
    what: dict[str, Any] = {
        "parameters": parameters or ComparisonParameters(),
        "leave_out": leave_out,
        "rejected": tuple(rejected),
    }
    return Step(
        name="distributions",
        version=3,
        function=partial(_write, **what),
        parameters=what,
        needs=("tables",),
        outputs=table_outputs(*_TABLES),
    )


def _write(
    context: StepContext,
    *,
    parameters: ComparisonParameters,
    leave_out: str | None,
    rejected: Sequence[str],
) -> None:
    cells = read_table(context.result("tables/cells.parquet"))
    curves = read_table(context.result("tables/distributions.parquet"))
    puncta = read_table(context.result("tables/puncta.parquet"))
    cells, curves, puncta = (_with_condition(t) for t in (cells, curves, puncta))
    if set(cells["condition"]) == {ALL_IMAGES}:
        parameters = parameters.model_copy(update={"reference": None})
    usable, _ = usable_rows(cells, parameters)
    usable = usable[~usable["sample"].isin(rejected)]
    if leave_out is not None and len(usable):
        usable = usable[~usable[leave_out].astype(bool)]
    kept = usable[["sample", "cell"]].drop_duplicates()
    pairs: list[dict[str, Any]] = []
    conditions: list[dict[str, Any]] = []
    shown: list[pd.DataFrame] = []
    told: list[str] = []
    if parameters.method == "mixed" and len(set(cells["condition"])) > 1:
        told.append(_NO_MIXED)
    roles = list(dict.fromkeys(curves["role"])) if len(kept) else []
    for role in roles:
        for measure in dict.fromkeys([*MEASURES, *curves["measure"].unique()]):
            own = curves[(curves["role"] == role) & (curves["measure"] == measure)]
            own = own.merge(kept, on=["sample", "cell"])
            points = puncta[(puncta["role"] == role) & (puncta["compartment"] == "cytosol")]
            points = points.merge(kept, on=["sample", "cell"])
            found = _values_of_puncta(points, measure) if len(points) else _values_of_curves(own)
            if found is None or not len(own):
                continue
            grid = np.unique(own["value"].to_numpy(float))
            result = _compared(found, grid, parameters)
            head = {"role": role, "measure": measure}
            told += [
                f"{role}, {measure}: {w}"
                for w in result.warnings
                if w != NO_ANIMALS or len(result.conditions) > 1
            ]
            pairs += [head | asdict(p) for p in result.pairs]
            chance = _chance(own, grid)
            conditions += list(_condition_rows(result, chance, grid, head))
            shown += [frame.assign(**head) for frame in _shown_curves(result, chance, grid)]
    for message in dict.fromkeys(told):
        warnings.warn(f"distributions: {message}", AequoreaWarning, stacklevel=1)
    pair_columns = ["role", "measure", *(f.name for f in fields(DistributionDifference))]
    compared = pd.DataFrame(pairs, columns=pair_columns)
    compared["q_value"] = false_discovery_rate(compared["p_value"].to_numpy(float))
    frames = (
        compared,
        pd.DataFrame(conditions, columns=list(_CONDITION_COLUMNS)),
        pd.concat(shown, ignore_index=True)[list(_CURVE_COLUMNS)]
        if shown
        else pd.DataFrame(columns=list(_CURVE_COLUMNS)),
    )
    write_tables(context, **dict(zip(_TABLES, frames, strict=True)))


def _with_condition(table: pd.DataFrame) -> pd.DataFrame:
    """All images under one name where conditions are not given, or hidden."""
    found = table
    for column, name in (("condition", ALL_IMAGES), ("animal", None)):
        if column not in found:
            found = found.assign(**{column: pd.Series(name, index=found.index, dtype="string")})
    if found["condition"].isna().all():
        found = found.assign(condition=ALL_IMAGES)
    return found


def _values_of_puncta(puncta: pd.DataFrame, measure: str) -> _Values | None:
    column = MEASURES.get(measure, measure)
    rows = puncta[puncta[column].notna()]
    if not len(rows):
        return None
    return _Values(value=rows[column].to_numpy(float), cell=_cells(rows), weight=None, frame=rows)


def _values_of_curves(curves: pd.DataFrame) -> _Values | None:
    """A continuous stain: what its distribution function gains at each step of the grid.

    Noise below background makes some gains negative; they are taken for none.
    """
    rows = curves.sort_values(["sample", "cell", "value"], kind="stable")
    if not len(rows):
        return None
    gains = rows.groupby(["sample", "cell"], sort=False)["observed"].diff()
    gains = gains.fillna(rows["observed"]).clip(lower=0)
    return _Values(
        value=rows["value"].to_numpy(float),
        cell=_cells(rows),
        weight=gains.to_numpy(float),
        frame=rows,
    )


def _cells(rows: pd.DataFrame) -> list[str]:
    pairs = zip(rows["sample"], rows["cell"], strict=True)
    return [f"{sample}\n{cell}" for sample, cell in pairs]


def _compared(
    found: _Values, grid: Any, parameters: ComparisonParameters
) -> DistributionComparison:
    rows = found.frame
    has_animals = "animal" in rows and bool(rows["animal"].notna().all())
    reference = parameters.reference
    return compare_distributions(
        found.value,
        found.cell,
        rows["animal"].tolist() if has_animals else None,
        rows["condition"].tolist(),
        grid=grid,
        weights=found.weight,
        method="permutation" if parameters.method == "permutation" else "functional",
        reference=reference if reference in set(rows["condition"]) else None,
        confidence=parameters.confidence,
        unit=parameters.unit,
        image=rows["sample"].tolist() if parameters.unit == "image" else None,
    )


def _chance(curves: pd.DataFrame, grid: Any) -> dict[Any, Any]:
    """Mean over animals of the mean over cells of what chance gives, by condition."""
    found = {}
    for condition, rows in curves.groupby("condition", sort=False):
        by_cell = rows.pivot_table(index="value", columns=["sample", "cell"], values="by_chance")
        by_cell = by_cell.reindex(grid).ffill().fillna(0.0)  # beyond its farthest voxel all is 1
        owner = rows.groupby(["sample", "cell"])["animal"].first()
        animal = owner.reindex(by_cell.columns).fillna("").to_numpy()
        means = [by_cell.loc[:, animal == a].mean(axis=1) for a in dict.fromkeys(animal)]
        found[condition] = np.mean(means, axis=0)
    return found


def _condition_rows(
    result: DistributionComparison, chance: dict[Any, Any], grid: Any, head: dict[str, str]
) -> Iterator[dict[str, Any]]:
    for c in result.conditions:
        yield head | {
            "condition": c.condition,
            "n_animals": c.n_animals,
            "n_cells": c.n_cells,
            "n_values": c.n_values,
            "median_of_mean_cdf": c.median_of_mean_cdf,
            "mean_of_medians": c.mean_of_medians,
            "median_by_chance": _half(grid, chance.get(c.condition)),
            "band": c.band.reason,
        }


def _half(grid: Any, cdf: Any) -> float:
    from aequorea.stats.ecdf import half_distance

    return float("nan") if cdf is None else half_distance(grid, cdf)


def _shown_curves(
    result: DistributionComparison, chance: dict[Any, Any], grid: Any
) -> Iterator[pd.DataFrame]:
    for a in result.animals:
        yield _curve(a.condition, a.animal, grid, a.cdf)
    for c in result.conditions:
        low, high = c.band.low, c.band.high
        yield _curve(c.condition, "", grid, c.cdf, low, high)
        if c.condition in chance:
            yield _curve(c.condition, CHANCE, grid, chance[c.condition])


def _curve(
    condition: Any, animal: Any, grid: Any, cdf: Any, low: Any = None, high: Any = None
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "condition": condition,
            "animal": str(animal),
            "value": grid,
            "cdf": cdf,
            "low": np.nan if low is None else low,
            "high": np.nan if high is None else high,
        }
    )
