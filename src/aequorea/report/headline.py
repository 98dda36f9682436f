"""The result of a pair of stains in plain words, beside what chance would give."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from aequorea.report.numbers import DASH, fixed, number, p_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

METRIC_NAMES = {
    "pcc": "Pearson r",
    "srcc": "Spearman ρ",
    "icq": "ICQ",
    "m1": "Manders M1",
    "m2": "Manders M2",
}


@dataclass(frozen=True)
class Measure:
    """One number of the headline.

    Attributes
    ----------
    name, value : str
    beside : sequence of str
        What stands below it: chance, p, what it means.
    reason : str
        Why there is no value.
    """

    name: str
    value: str
    beside: Sequence[str]
    reason: str = ""


@dataclass(frozen=True)
class Headline:
    """What a reader should take away of one pair.

    Attributes
    ----------
    verdict : str
    measures : sequence of Measure
    notes : sequence of str
        The null in words, the unit of inference, the effective number of observations.
    """

    verdict: str
    measures: Sequence[Measure]
    notes: Sequence[str]


def headline_of(
    pixel: pd.DataFrame,
    tests: pd.DataFrame,
    *,
    names: tuple[str, str],
    alpha: float,
    primary: str,
) -> Headline:
    """Put the result of one pair into words.

    Parameters
    ----------
    pixel : DataFrame
        Rows of table ``pixel`` of the pair, whole regions only.
    tests : DataFrame
        Rows of table ``significance`` of the pair; empty when nothing was tested.
    names : tuple of str
    alpha : float
    primary : str
        The metric declared beforehand.

    Returns
    -------
    Headline
    """
    declared = tests[tests["metric"] == primary] if len(tests) else tests
    if len(pixel) == 1:
        row = pixel.iloc[0]
        test = None if declared.empty else declared.iloc[0]
        return Headline(
            verdict=_verdict_of_one(test, names, primary, alpha),
            measures=[_measure(row, tests, metric, names) for metric in ("pcc", "m1", "m2")],
            notes=_notes_of_one(row, test),
        )
    return Headline(
        verdict=_verdict_of_many(declared, names, alpha, len(pixel)),
        measures=[_typical(pixel, tests, metric, names) for metric in ("pcc", "m1", "m2")],
        notes=_notes_of_many(declared, len(pixel)),
    )


def chance_of_manders(row: Mapping[str, Any] | pd.Series[Any], metric: str) -> float:
    """Manders' coefficient without any relation: the share of area that the other channel covers.

    Parameters
    ----------
    row : mapping
        ``n_a``, ``n_b``: pixels above each threshold; ``n_pixels``.
    metric : {"m1", "m2"}
    """
    covered = row.get("n_b" if metric == "m1" else "n_a")
    total = row.get("n_pixels")
    if covered is None or total is None or not total or not math.isfinite(float(covered)):
        return math.nan
    return float(covered) / float(total)


def _verdict_of_one(
    test: pd.Series[Any] | None, names: tuple[str, str], primary: str, alpha: float
) -> str:
    a, b = names
    metric = METRIC_NAMES.get(primary, primary)
    if test is None:
        return f"{a} and {b}: described, not tested (no null hypothesis was asked for)."
    p = float(test["p_value"])
    if not math.isfinite(p):
        reason = _text(test, "reason")
        return f"{a} and {b} could not be tested{': ' + reason if reason else ''}."
    told = p_value(p, floor_of(test))
    if floor_of(test) > alpha:
        return (
            f"{a} and {b} cannot be tested at {100 * alpha:g} % here: the field holds too few "
            f"independent observations (the smallest p it can give is {_plain(floor_of(test))})."
        )
    if not significant(test, alpha):
        return (
            f"No evidence that {a} and {b} are aligned: chance alone gives a {metric} like this "
            f"often enough (p {told}). This is not evidence that they are unrelated."
        )
    if float(test["observed"]) >= float(test["expected"]):
        return f"{a} and {b} are aligned more than chance would give ({metric}, p {told})."
    return f"{a} and {b} avoid each other more than chance would give ({metric}, p {told})."


def _verdict_of_many(
    declared: pd.DataFrame, names: tuple[str, str], alpha: float, n_regions: int
) -> str:
    a, b = names
    if declared.empty:
        return f"{a} and {b} in {n_regions} regions: described, not tested."
    tested = declared[declared["p_value"].notna()]
    hits = [row for _, row in tested.iterrows() if significant(row, alpha)]
    above = sum(float(row["observed"]) >= float(row["expected"]) for row in hits)
    text = (
        f"{a} and {b} are aligned more than chance would give in {above} of {len(tested)} tested "
        f"regions (false-discovery rate {100 * alpha:g} %)."
    )
    if len(hits) > above:
        text += f" In {len(hits) - above} they avoid each other more than chance would give."
    untested = len(declared) - len(tested)
    return text + (f" {untested} could not be tested." if untested else "")


def _measure(
    row: pd.Series[Any], tests: pd.DataFrame, metric: str, names: tuple[str, str]
) -> Measure:
    test = _test_of(tests, metric)
    beside = []
    chance = chance_of_manders(row, metric) if metric != "pcc" else math.nan
    if test is not None and math.isfinite(float(test["expected"])):
        chance = float(test["expected"])
    if math.isfinite(chance):
        beside.append(f"{fixed(chance)} expected by chance")
    if test is not None and math.isfinite(float(test["p_value"])):
        beside.append(f"p {p_value(test['p_value'], floor_of(test))}")
    beside += _meaning(metric, names)
    value = fixed(row[metric])
    reason = _text(row, "reason") if value == DASH else ""
    return Measure(METRIC_NAMES[metric], value, beside, reason)


def _typical(
    pixel: pd.DataFrame, tests: pd.DataFrame, metric: str, names: tuple[str, str]
) -> Measure:
    values = pixel[metric].dropna()
    if values.empty:
        return Measure(METRIC_NAMES[metric], DASH, [], "undefined in every region")
    low, high = values.quantile([0.25, 0.75])
    beside = [f"median of {len(values)} regions; quartiles {fixed(low)} to {fixed(high)}"]
    expected = (
        tests.loc[tests["metric"] == metric, "expected"].dropna() if len(tests) else pd.Series()
    )
    if metric != "pcc" and expected.empty:
        expected = pd.Series([chance_of_manders(r, metric) for _, r in pixel.iterrows()]).dropna()
    if len(expected):
        beside.append(f"{fixed(expected.median())} expected by chance (median)")
    return Measure(
        METRIC_NAMES[metric], fixed(values.median()), [*beside, *_meaning(metric, names)]
    )


def _meaning(metric: str, names: tuple[str, str]) -> list[str]:
    a, b = names
    return {
        "m1": [f"share of {a} where {b} is above its threshold"],
        "m2": [f"share of {b} where {a} is above its threshold"],
    }.get(metric, [])


def _notes_of_one(row: pd.Series[Any], test: pd.Series[Any] | None) -> list[str]:
    where = "the whole image" if int(row["region"]) == 0 else f"region {row['region_name']}"
    if test is None:
        return []
    notes = [_null_sentence(test)]
    n = _number_of(test, "n_effective")
    pixels = number(int(row["n_pixels"]))
    if math.isfinite(n):
        notes.append(
            f"Effective n: the {pixels} pixels of {where} count as {number(round(n))} "
            "independent ones."
        )
    notes.append(
        f"Unit of inference: {where}, one observation of one field of view, however many pixels "
        "it has."
    )
    return [n for n in notes if n]


def _notes_of_many(declared: pd.DataFrame, n_regions: int) -> list[str]:
    if declared.empty:
        return []
    notes = [_null_sentence(declared.iloc[0])]
    n = declared["n_effective"].dropna() if "n_effective" in declared else pd.Series()
    if len(n):
        notes.append(
            f"Effective n per region: median {number(round(float(n.median())))} independent pixels "
            f"({number(round(float(n.min())))} to {number(round(float(n.max())))})."
        )
    notes.append(
        f"Unit of inference: the region. The {n_regions} regions are a family for the "
        "false-discovery rate; they are not independent replicates of a treatment."
    )
    return [n for n in notes if n]


def _null_sentence(test: pd.Series[Any]) -> str:
    words = _text(test, "hypothesis")
    return f"Null hypothesis: {words.rstrip('.')}." if words else ""


def _test_of(tests: pd.DataFrame, metric: str) -> pd.Series[Any] | None:
    found = tests[tests["metric"] == metric] if len(tests) else tests
    return None if found.empty else found.iloc[0]


def significant(test: pd.Series[Any], alpha: float) -> bool:
    """Whether a test passes, after correction for the family it belongs to."""
    q = _number_of(test, "p_fdr")
    return (q if math.isfinite(q) else _number_of(test, "p_value")) <= alpha


def _text(row: pd.Series[Any], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def _number_of(row: pd.Series[Any], key: str) -> float:
    value = row.get(key)
    return math.nan if value is None or pd.isna(value) else float(value)


def _plain(p: float) -> str:
    return p_value(p).removeprefix("= ")


def floor_of(test: pd.Series[Any]) -> float:
    """The smallest p-value the test could have given; 0 where that is not recorded."""
    value = _number_of(test, "p_floor")
    return value if math.isfinite(value) else 0.0
