"""Fractions of cells between conditions, with the animal as the unit."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import pandas as pd

from aequorea.errors import AequoreaWarning, InputError
from aequorea.io.tables import read_table, write_table
from aequorea.pipelines.run.parameters import Parameters, option
from aequorea.pipelines.run.steps import Step
from aequorea.stats.fractions import ConditionFraction, FractionDifference, compare_fractions
from aequorea.stats.fractions import Method as FractionMethod

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aequorea.pipelines.run.steps import StepContext
    from aequorea.stats.fractions import FractionComparison

_TABLES = ("comparison", "comparison_conditions")


class ComparisonParameters(Parameters):
    """How conditions are compared."""

    reference: str | None = None
    """Condition that every other one is compared with; all pairs if not given."""

    method: Literal["animal-mean", "beta-binomial", "mixed", "permutation"] = "animal-mean"
    """Test: t on one number per animal; for fractions also the beta-binomial likelihood ratio,
    for numbers per cell a mixed model or a permutation of animals."""

    transform: Literal["none", "arcsine", "logit"] = "none"
    """Of the fraction of each animal, with animal-mean."""

    unit: Literal["animal", "image"] = "animal"
    """What is taken for independent. Images of one animal are not."""

    confidence: float = option(0.95, gt=0, lt=1)
    """Confidence level of the intervals."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Conditions, and pairs of them, as tables.

    Attributes
    ----------
    pairs : DataFrame
        One row per two conditions (per group, if groups were asked for).
    conditions : DataFrame
        One row per condition.
    warnings : tuple of str
    """

    pairs: pd.DataFrame
    conditions: pd.DataFrame
    warnings: tuple[str, ...]


def check_method_of_fractions(parameters: ComparisonParameters | None) -> None:
    """Refuse a method that cannot compare fractions, before anything runs.

    Raises
    ------
    InputError
        If the method is one for numbers per cell.
    """
    if parameters is not None and parameters.method not in get_args(FractionMethod):
        raise InputError(
            f"compare.method: {parameters.method!r} is for numbers per cell; fractions are "
            f"compared by {', '.join(get_args(FractionMethod))}"
        )


def compare_conditions(
    table: pd.DataFrame,
    positive_column: str,
    total_column: str | None,
    *,
    by: Sequence[str] = (),
    parameters: ComparisonParameters | None = None,
) -> Comparison:
    """Compare the positive fraction between the conditions of a study.

    Parameters
    ----------
    table : DataFrame
        A table over all samples. Rows of controls are left out.
    positive_column : str
        Number of positive cells of the row; true or false if ``total_column`` is None.
    total_column : str or None
        Number of cells of the row; None if each row is one cell.
    by : sequence of str
        Columns, such as the marker, whose values are compared separately.
    parameters : ComparisonParameters, optional

    Returns
    -------
    Comparison
        Counts are summed per animal and condition (per sample with unit ``image``) before
        anything is tested; see :func:`aequorea.stats.fractions.compare_fractions`. Empty, with a
        warning, where conditions are not known (in a blinded study, or none given).

    Raises
    ------
    InputError
        If the table lacks a column, or counts make no sense.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "sample": list("abcdef"), "animal": list("uvwxyz"), "control": [None] * 6,
    ...     "condition": ["WT"] * 3 + ["KO"] * 3,
    ...     "positive": [2, 3, 2, 5, 4, 6], "cells": [10] * 6})
    >>> found = compare_conditions(table, "positive", "cells")
    >>> round(float(found.pairs["difference"][0]), 3)
    0.267
    """
    asked = parameters or ComparisonParameters()
    check_method_of_fractions(asked)
    wanted = [positive_column, *([] if total_column is None else [total_column]), *by]
    missing = [c for c in wanted if c not in table]
    if missing:
        raise InputError(
            f"comparison: the table has no column {missing[0]!r}; it has {', '.join(table.columns)}"
        )
    pairs, conditions, told = [], [], []
    usable, reasons = usable_rows(table, asked)
    told += reasons
    for group, rows in _groups(usable, by):
        result = _compared(rows, positive_column, total_column, asked)
        label = ", ".join(str(v) for v in group.values())
        told += [f"{label}: {w}" if label else w for w in result.warnings]
        pairs += [{**group, **asdict(pair)} for pair in result.pairs]
        conditions += [{**group, **asdict(condition)} for condition in result.conditions]
    return Comparison(
        pairs=_frame(pairs, by, FractionDifference),
        conditions=_frame(conditions, by, ConditionFraction),
        warnings=tuple(dict.fromkeys(told)),
    )


def comparison_step(
    table: str,
    positive_column: str,
    total_column: str | None,
    *,
    by: Sequence[str] = (),
    parameters: ComparisonParameters | None = None,
    of: str = "",
) -> Step:
    """The comparison as a step of a study: ``tables/comparison``, ``tables/comparison_conditions``.

    Parameters
    ----------
    table : str
        Name of the table over all samples.
    positive_column, total_column, by, parameters
        As in :func:`compare_conditions`.
    of : str
        What is compared, where a study has several comparisons; becomes part of the names of
        the step and its tables.
    """
    asked = parameters or ComparisonParameters()
    tables = tuple(f"{name}_{of}" if of else name for name in _TABLES)
    what: dict[str, Any] = {
        "table": table,
        "positive_column": positive_column,
        "total_column": total_column,
        "by": tuple(by),
    }
    return Step(
        name=f"comparison_{of}" if of else "comparison",
        version=1,
        function=partial(_write_comparison, names=tables, **what, parameters=asked),
        parameters={**what, "comparison": asked},
        needs=("tables",),
        outputs=tuple(f"tables/{n}.{kind}" for n in tables for kind in ("parquet", "csv")),
    )


def _write_comparison(
    context: StepContext, *, table: str, names: Sequence[str], **options: Any
) -> None:
    found = compare_conditions(read_table(context.result(f"tables/{table}.parquet")), **options)
    for message in found.warnings:
        warnings.warn(f"comparison: {message}", AequoreaWarning, stacklevel=2)
    for name, frame in zip(names, (found.pairs, found.conditions), strict=True):
        write_table(frame, context.target(f"tables/{name}"))


def usable_rows(table: pd.DataFrame, asked: ComparisonParameters) -> tuple[pd.DataFrame, list[str]]:
    """Rows of samples with a condition (and an animal), and what was left out."""
    if "condition" not in table:
        return table.iloc[:0], ["the study is blinded, so conditions cannot be compared yet"]
    rows = table[table["control"].isna()] if "control" in table else table
    told = []
    if len(rows) and rows["condition"].isna().all():
        return rows.iloc[:0], ["no sample has a condition, so there is nothing to compare"]
    for column in ("condition", "animal"):
        if column not in rows or rows[column].isna().all():
            continue
        if column == "animal" and asked.unit == "image":
            continue
        unknown = rows[column].isna()
        if unknown.any():
            names = ", ".join(map(str, rows.loc[unknown, "sample"].unique()))
            told.append(f"no {column} for {names}: left out")
        rows = rows[~unknown]
    if asked.reference is not None and asked.reference not in set(rows["condition"]):
        found = ", ".join(map(str, rows["condition"].unique())) or "none"
        told.append(f"no results of the reference {asked.reference!r} (conditions: {found})")
        return rows.iloc[:0], told
    return rows, told


def _groups(rows: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    if not by:
        if len(rows):
            yield {}, rows
        return
    for values, group in rows.groupby(list(by), sort=True):
        yield dict(zip(by, values, strict=True)), group


def _compared(
    rows: pd.DataFrame, positive: str, total: str | None, asked: ComparisonParameters
) -> FractionComparison:
    counts = pd.DataFrame(
        {
            "sample": rows["sample"],
            "condition": rows["condition"],
            "animal": rows.get("animal"),
            "positive": rows[positive].astype("int64") if total is None else rows[positive],
            "total": 1 if total is None else rows[total],
        }
    )
    keys = ["condition", "animal", "sample"]
    sums = counts.groupby(keys, sort=False, dropna=False)[["positive", "total"]].sum().reset_index()
    has_animals = bool(sums["animal"].notna().all())
    reference = asked.reference
    if reference not in set(sums["condition"]):
        reference = None
    return compare_fractions(
        sums["positive"].to_numpy(dtype=float),
        sums["total"].to_numpy(dtype=float),
        sums["animal"].tolist() if has_animals else None,
        sums["condition"].tolist(),
        method=cast("FractionMethod", asked.method),
        transform=asked.transform,
        reference=reference,
        confidence=asked.confidence,
        unit=asked.unit,
    )


def _frame(rows: Sequence[dict[str, Any]], by: Sequence[str], kind: type[Any]) -> pd.DataFrame:
    """Rows as a table that has its columns when it is empty, too."""
    return pd.DataFrame(rows, columns=[*by, *(f.name for f in fields(kind))])
