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
        verdict=_verdict_of_many(declared, names, alpha, units_of(pixel)),
        measures=[_typical(pixel, tests, metric, names) for metric in ("pcc", "m1", "m2")],
        notes=_notes_of_many(declared, pixel),
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
        where = "image" if int(test["region"]) == 0 else "region"
        return (
            f"{a} and {b} cannot be tested at {100 * alpha:g} % here: the {where} holds "
            f"{_too_few(test)} (the smallest p it can give is {_plain(floor_of(test))})."
        )
    if not significant(test, alpha):
        return (
            f"No evidence that {a} and {b} are aligned: chance alone gives a {metric} like this "
            f"often enough (p {told}). This is not evidence that they are unrelated."
        )
    if float(test["observed"]) >= float(test["expected"]):
        return f"{a} and {b} are aligned more than chance would give ({metric}, p {told})."
    return f"{a} and {b} avoid each other more than chance would give ({metric}, p {told})."


def units_of(pixel: pd.DataFrame) -> str:
    """The rows of a pair, counted as what they are.

    Examples
    --------
    >>> units_of(pd.DataFrame({"frame": [0, 1], "region": [0, 0]}))
    '2 frames'
    >>> units_of(pd.DataFrame({"frame": [0], "region": [7]}))
    '1 region'
    """
    unit = _unit(pixel)
    return f"{len(pixel)} {unit}" + ("" if len(pixel) == 1 else "s")


def _unit(pixel: pd.DataFrame) -> str:
    return "frame" if len(pixel) > 1 and pixel["region"].nunique() == 1 else "region"


def _verdict_of_many(
    declared: pd.DataFrame, names: tuple[str, str], alpha: float, units: str
) -> str:
    a, b = names
    plural = units.split()[-1]
    if declared.empty:
        return f"{a} and {b} in {units}: described, not tested."
    has_p = declared[declared["p_value"].notna()]
    floors = [floor_of(row) for _, row in has_p.iterrows()]
    tested = has_p[[floor <= alpha for floor in floors]]
    unreachable = [floor for floor in floors if floor > alpha]
    why = ""
    if unreachable:
        word = _draws_word(has_p.iloc[0])
        why = f"(too few {word}; smallest possible p {_plain(min(unreachable))})"
    if tested.empty and unreachable:
        text = (
            f"{a} and {b} cannot be tested at {100 * alpha:g} % in {len(unreachable)} of "
            f"{len(declared)} {plural} {why}."
        )
    else:
        text = _verdict_of_tested(tested, names, alpha, plural)
        if unreachable:
            text += f" They cannot be tested in {len(unreachable)} of {len(declared)} {why}."
    untested = len(declared) - len(has_p)
    return text + (f" {untested} could not be tested." if untested else "")


def _verdict_of_tested(
    tested: pd.DataFrame, names: tuple[str, str], alpha: float, plural: str
) -> str:
    a, b = names
    if tested.empty:
        return f"{a} and {b}:"
    hits = [row for _, row in tested.iterrows() if significant(row, alpha)]
    above = sum(float(row["observed"]) >= float(row["expected"]) for row in hits)
    text = (
        f"{a} and {b} are aligned more than chance would give in {above} of {len(tested)} tested "
        f"{plural} (false-discovery rate {100 * alpha:g} %)."
    )
    if len(hits) > above:
        text += f" In {len(hits) - above} they avoid each other more than chance would give."
    return text


def _draws_word(test: pd.Series[Any]) -> str:
    return "independent draws" if _text(test, "null") == "phase" else "independent shifts"


def _too_few(test: pd.Series[Any]) -> str:
    n = _number_of(test, "n_independent")
    word = _draws_word(test)
    return f"only {n:.1f} {word}" if math.isfinite(n) else f"too few {word}"


def _measure(
    row: pd.Series[Any], tests: pd.DataFrame, metric: str, names: tuple[str, str]
) -> Measure:
    test = _test_of(tests, metric)
    beside = []
    covered = chance_of_manders(row, metric) if metric != "pcc" else math.nan
    if test is not None and math.isfinite(float(test["expected"])):
        beside.append(f"{fixed(test['expected'])} expected {_source(test)}")
    elif math.isfinite(covered):
        beside.append(f"{fixed(covered)} {_covered(metric, names)}")
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
    units = units_of(pixel.loc[values.index])
    beside = [f"median of {units}; quartiles {fixed(low)} to {fixed(high)}"]
    rows = tests[tests["metric"] == metric] if len(tests) else tests
    expected = rows["expected"].dropna() if len(rows) else pd.Series()
    if len(expected):
        beside.append(f"{fixed(expected.median())} expected {_source(rows.iloc[0])} (median)")
    elif metric != "pcc":
        covered = pd.Series([chance_of_manders(r, metric) for _, r in pixel.iterrows()]).dropna()
        if len(covered):
            beside.append(f"{fixed(covered.median())} {_covered(metric, names)} (median)")
    return Measure(
        METRIC_NAMES[metric], fixed(values.median()), [*beside, *_meaning(metric, names)]
    )


def _source(test: pd.Series[Any]) -> str:
    """Where an expected value comes from."""
    return "from the profiles" if _text(test, "null") == "profile" else "by chance"


def _covered(metric: str, names: tuple[str, str]) -> str:
    other = names[1] if metric == "m1" else names[0]
    return f"if unrelated: the share of pixels above the threshold of {other}"


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
    profile = _text(test, "null") == "profile"
    tested = _number_of(test, "tested")
    if profile and math.isfinite(tested):
        notes.append(
            f"Measured is {fixed(test['observed'])}, of which {fixed(test['expected'])} is "
            f"expected from the profiles; tested is the fine structure, {fixed(tested)}."
        )
    n = _number_of(test, "n_effective")
    pixels = number(int(row["n_pixels"]))
    if math.isfinite(n):
        notes.append(
            f"Independent pixels: the {pixels} pixels of {where} count as {number(round(n))} "
            "independent ones."
        )
    shifts = _number_of(test, "n_independent")
    if math.isfinite(shifts):
        word = _draws_word(test)
        notes.append(
            f"{word.capitalize()}: {shifts:.1f}; they set the smallest p the test can give, "
            f"{_plain(floor_of(test))}."
        )
    notes.append(
        f"Unit of inference: {where}, one observation of one field of view, however many pixels "
        "it has."
    )
    return [n for n in notes if n]


def _notes_of_many(declared: pd.DataFrame, pixel: pd.DataFrame) -> list[str]:
    if declared.empty:
        return []
    unit, units = _unit(pixel), units_of(pixel)
    where = " in the whole image" if set(pixel["region"]) == {0} else ""
    notes = [_null_sentence(declared.iloc[0])]
    notes.append(_spread(declared, "n_effective", "independent pixels", unit, decimals=0))
    word = _draws_word(declared.iloc[0])
    notes.append(_spread(declared, "n_independent", word, unit, decimals=1))
    notes.append(
        f"Unit of inference: the {unit}. The {units}{where} are a family for the "
        "false-discovery rate; they are not independent replicates of a treatment."
    )
    return [n for n in notes if n]


def _spread(rows: pd.DataFrame, column: str, what: str, unit: str, *, decimals: int) -> str:
    """Median and range of a count of observations."""
    values = rows[column].dropna() if column in rows else pd.Series()
    if values.empty:
        return ""
    middle, low, high = (
        f"{float(v):,.{decimals}f}".replace(",", "\u202f")
        for v in (values.median(), values.min(), values.max())
    )
    return f"{what.capitalize()} per {unit}: median {middle} ({low} to {high})."


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
