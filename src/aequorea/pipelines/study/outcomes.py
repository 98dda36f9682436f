"""Numbers per cell between conditions, with the animal as the unit."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, cast, get_args

import pandas as pd

from aequorea.errors import AequoreaWarning, InputError
from aequorea.io.tables import read_table
from aequorea.pipelines.kept_tables import table_outputs, write_tables
from aequorea.pipelines.run.steps import Step
from aequorea.pipelines.study.comparison import ComparisonParameters, usable_rows
from aequorea.stats.fdr import false_discovery_rate
from aequorea.stats.means import ConditionMean, MeanDifference, Method, compare_means
from aequorea.stats.per_animal import AnimalMean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from aequorea.pipelines.run.steps import StepContext

_TABLES = ("comparison", "comparison_conditions", "comparison_animals")
_METHODS = get_args(Method)


@dataclass(frozen=True, kw_only=True)
class OutcomeComparison:
    """All outcomes, as tables whose first column says which.

    Attributes
    ----------
    pairs, conditions, animals : DataFrame
    warnings : tuple of str
    """

    pairs: pd.DataFrame
    conditions: pd.DataFrame
    animals: pd.DataFrame
    warnings: tuple[str, ...]


def check_method_of_outcomes(parameters: ComparisonParameters | None) -> None:
    """Refuse a method that cannot compare numbers per cell, before anything runs.

    Raises
    ------
    InputError
        If the method is one for fractions.
    """
    if parameters is not None and parameters.method not in _METHODS:
        raise InputError(
            f"compare.method: {parameters.method!r} is for fractions; numbers per cell are "
            f"compared by {', '.join(_METHODS)}"
        )


def compare_outcomes(
    table: pd.DataFrame,
    outcomes: Mapping[str, str],
    *,
    parameters: ComparisonParameters | None = None,
    leave_out: str | None = None,
    rejected: Sequence[str] = (),
) -> OutcomeComparison:
    """Compare numbers per cell between the conditions of a study.

    Parameters
    ----------
    table : DataFrame
        One row per cell, over all samples. Rows of controls are left out.
    outcomes : mapping of str to str
        What each column to be compared is called.
    parameters : ComparisonParameters, optional
    leave_out : str, optional
        Column that is true for cells that must not be compared, such as those cut by the border.
    rejected : sequence of str
        Samples that somebody has rejected.

    Returns
    -------
    OutcomeComparison
        ``q_value`` is corrected over all outcomes and pairs together. Empty, with a warning,
        where conditions are not known.

    Raises
    ------
    InputError
        If the table lacks a column, or the method is one for fractions.
    """
    asked = parameters or ComparisonParameters()
    check_method_of_outcomes(asked)
    missing = [c for c in [*outcomes, *([leave_out] if leave_out else [])] if c not in table]
    if missing:
        raise InputError(
            f"comparison: the table has no column {missing[0]!r}; it has {', '.join(table.columns)}"
        )
    rows, told = usable_rows(table, asked)
    rows, reasons = _kept(rows, leave_out, rejected)
    told += reasons
    pairs, conditions, animals = [], [], []
    for column, name in outcomes.items() if len(rows) else ():
        found = compare_means(
            rows[column].to_numpy(dtype=float),
            _animals(rows),
            rows["condition"].tolist(),
            method=cast("Method", asked.method),
            reference=asked.reference if asked.reference in set(rows["condition"]) else None,
            confidence=asked.confidence,
            unit=asked.unit,
            image=rows["sample"].tolist() if asked.unit == "image" else None,
        )
        told += [f"{name}: {w}" for w in found.warnings]
        head = {"outcome": name, "column": column}
        pairs += [head | asdict(p) for p in found.pairs]
        conditions += [head | asdict(c) for c in found.conditions]
        animals += [head | asdict(a) for a in found.animals]
    table_of_pairs = _frame(pairs, MeanDifference)
    if len(table_of_pairs):
        table_of_pairs["q_value"] = false_discovery_rate(table_of_pairs["p_value"].to_numpy(float))
    return OutcomeComparison(
        pairs=table_of_pairs,
        conditions=_frame(conditions, ConditionMean),
        animals=_frame(animals, AnimalMean),
        warnings=tuple(_once(told)),
    )


def outcomes_step(
    table: str,
    outcomes: Mapping[str, str],
    *,
    parameters: ComparisonParameters | None = None,
    leave_out: str | None = None,
    rejected: Sequence[str] = (),
) -> Step:
    """The comparison as a step of a study.

    Writes ``tables/comparison``, ``comparison_conditions`` and ``comparison_animals``.

    Parameters
    ----------
    table : str
        Name of the table over all samples.
    outcomes, parameters, leave_out, rejected
        As in :func:`compare_outcomes`.
    """
    what: dict[str, Any] = {
        "outcomes": dict(outcomes),
        "parameters": parameters or ComparisonParameters(),
        "leave_out": leave_out,
        "rejected": tuple(rejected),
    }
    return Step(
        name="comparison",
        version=1,
        function=partial(_write, table=table, **what),
        parameters={"table": table, **what},
        needs=("tables",),
        outputs=table_outputs(*_TABLES),
    )


def _write(context: StepContext, *, table: str, **options: Any) -> None:
    found = compare_outcomes(read_table(context.result(f"tables/{table}.parquet")), **options)
    for message in found.warnings:
        warnings.warn(f"comparison: {message}", AequoreaWarning, stacklevel=2)
    frames = (found.pairs, found.conditions, found.animals)
    write_tables(context, **dict(zip(_TABLES, frames, strict=True)))


def _kept(
    rows: pd.DataFrame, leave_out: str | None, rejected: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Rows of samples that were not rejected, without cells that must not be compared."""
    told = []
    out = rows["sample"].isin(rejected) if len(rows) else pd.Series(dtype=bool)
    if len(rows) and out.any():
        names = ", ".join(map(str, rows.loc[out, "sample"].unique()))
        told.append(f"rejected by hand and left out: {names}")
        rows = rows[~out]
    if leave_out is not None and len(rows):
        cut = rows[leave_out].astype(bool)
        if cut.any():
            why = leave_out.replace("_", " ")
            told.append(f"{int(cut.sum())} of {len(rows)} cells are left out ({why})")
            rows = rows[~cut]
    return rows, told


def _animals(rows: pd.DataFrame) -> list[Any] | None:
    return rows["animal"].tolist() if "animal" in rows and rows["animal"].notna().all() else None


def _frame(rows: Sequence[dict[str, Any]], kind: type[Any]) -> pd.DataFrame:
    """Rows as a table that has its columns when it is empty, too."""
    return pd.DataFrame(rows, columns=["outcome", "column", *(f.name for f in fields(kind))])


def _once(messages: Sequence[str]) -> Iterator[str]:
    return iter(dict.fromkeys(messages))
