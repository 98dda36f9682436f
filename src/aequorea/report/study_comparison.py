"""Conditions compared by animal, as pages show it: headline, superplot, tables, what misleads."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.report.checks import Check, bad, capital, few, note
from aequorea.report.data_table import Cell, DataTable
from aequorea.report.numbers import DASH, counted, fixed, number, p_value
from aequorea.report.page_parts import Measure
from aequorea.report.study import (
    ALL_IMAGES,
    NOBODY,
    Notes,
    design_of,
    records,
    text_cell,
)
from aequorea.report.superplot import SuperplotPanel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from aequorea.report.study import StudyContents

_FEW_ANIMALS = 6
_MOST_PAIRS_TOLD = 3
_MOST_CONDITIONS_TOLD = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class Quantity:
    """One thing that was measured in every image and compared between conditions.

    Attributes
    ----------
    name : str
        What the comparison is about: the marker, the pair of channels.
    what : str
        As the vertical axis says it, without unit.
    images : DataFrame
        ``sample``, ``condition``, ``animal`` (empty where unknown), ``value``, and ``whole``, of
        what it is a fraction.
    animals : DataFrame
        The same, without ``sample``, as they enter the comparison.
    pairs, conditions : DataFrame
        As the step of comparison wrote them; empty where nothing was compared.
    mean : str
        Column of ``conditions`` with the mean of the animals.
    otherwise : str
        Column of ``conditions`` to be told where there is no mean of animals.
    scale : float
        From the tables to what is shown: 100 for fractions as per cent.
    unit, steps : str
        Of values, and of differences.
    decimals : int or None
        Of both; three significant digits if None.
    least, most : float or None
        Between which values always lie, as shown.
    file : str
        The table of pairs.
    confidence : float
    by : str
        What is taken for independent: ``"animal"`` or ``"image"``.
    corrected_for : int or None
        How many p-values ``q_value`` is corrected for; those of ``pairs`` if None.
    """

    name: str
    what: str
    images: pd.DataFrame
    animals: pd.DataFrame
    pairs: pd.DataFrame
    conditions: pd.DataFrame
    mean: str = "mean_fraction"
    otherwise: str = "pooled_fraction"
    scale: float = 100.0
    unit: str = "%"
    steps: str = "percentage points"
    decimals: int | None = 1
    least: float | None = 0.0
    most: float | None = 100.0
    file: str = "tables/comparison.csv"
    confidence: float = 0.95
    by: str = "animal"
    corrected_for: int | None = None

    @property
    def n_corrected(self) -> int:
        """How many p-values are corrected together."""
        if self.corrected_for is not None:
            return self.corrected_for
        return int(self.pairs["p_value"].notna().sum()) if len(self.pairs) else 0

    @property
    def interval(self) -> str:
        """``"95 % CI"``."""
        return f"{100 * self.confidence:g} % CI"

    def shown(self, value: float, *, signed: bool = False) -> str:
        """A value of the tables as people read it, without its unit."""
        scaled = self.scale * value
        text = number(scaled) if self.decimals is None else fixed(scaled, self.decimals)
        return f"+{text}" if signed and scaled > 0 and text != DASH else text

    def with_unit(self, value: float) -> str:
        """A value of the tables with its unit."""
        return f"{self.shown(value)} {self.unit}".rstrip()


@dataclass(frozen=True)
class StudyHeadline:
    """What was found about one quantity.

    Attributes
    ----------
    name : str
    verdicts : sequence of str
        One sentence for each pair of conditions, the first ones of many.
    measures : sequence of Measure
    notes : sequence of str
    """

    name: str
    verdicts: Sequence[str]
    measures: Sequence[Measure] = ()
    notes: Sequence[str] = ()


def images_of(
    study: StudyContents, table: pd.DataFrame, part: str, whole: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fractions of images, and of animals, out of a table over all samples.

    Parameters
    ----------
    study : StudyContents
    table : DataFrame
        One row or more per image.
    part, whole : str
        Columns that are summed before they are divided.

    Returns
    -------
    images, animals : tuple of DataFrame
        As :class:`Quantity` wants them. Controls, and samples without a condition where others
        have one, are in neither. Where no condition is known, all are of :data:`ALL_IMAGES`.
    """
    sums = table.groupby("sample", sort=False)[[part, whole]].sum().reset_index()
    facts = design_of(study)
    images = facts.merge(sums, on="sample", how="inner")
    images["value"] = _ratio(images[part], images[whole])
    known = images[images["animal"] != NOBODY]
    animals = known.groupby(["condition", "animal"], sort=False)[[part, whole]].sum().reset_index()
    animals["value"] = _ratio(animals[part], animals[whole])
    columns = ["condition", "animal", "value", "whole"]
    images, animals = (f.rename(columns={whole: "whole"}) for f in (images, animals))
    return images[["sample", *columns]], animals[columns]


def _ratio(part: pd.Series[Any], whole: pd.Series[Any]) -> Any:
    of, all_of = (v.to_numpy(np.float64, na_value=np.nan) for v in (part, whole))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(all_of > 0, of / all_of, np.nan)


def headline_of(study: StudyContents, quantity: Quantity) -> StudyHeadline:
    """What was found between conditions, with effect, interval, p, n; or why there is no p.

    Parameters
    ----------
    study : StudyContents
    quantity : Quantity
    """
    pairs, q = quantity.pairs, quantity
    measures = list(_condition_measures(q))
    if not len(pairs):
        return StudyHeadline(q.name, [_nothing_compared(study, q)], measures)
    told = records(pairs.head(_MOST_PAIRS_TOLD))
    verdicts = [_pair_in_words(q, row) for row in told]
    if len(pairs) > len(told):
        verdicts.append(f"All {len(pairs)} comparisons are in the table below.")
    measures += [_pair_measure(q, row) for row in told]
    return StudyHeadline(q.name, verdicts, measures, list(_pair_notes(q, told)))


def _nothing_compared(study: StudyContents, q: Quantity) -> str:
    values = q.images["value"].dropna()
    span = ""
    if len(values):
        low, high = float(values.min()), float(values.max())
        span = f"{q.name}: {q.what}, {q.shown(low)} to {q.with_unit(high)} in single images. "
    if study.hidden:
        return (
            f"{span}Nothing is compared: the study is blinded. Unblind it and run it again to see "
            "conditions."
        )
    known = set(q.images["condition"]) - {ALL_IMAGES}
    if len(known) == 1:
        return f"{span}Nothing is compared: {known.pop()} is the only condition."
    if not known:
        return f"{span}Nothing is compared: the sample sheet gives no conditions."
    return f"{span}Nothing is compared."


def _condition_measures(q: Quantity) -> Iterator[Measure]:
    rows = records(q.conditions)
    if len(rows) > _MOST_CONDITIONS_TOLD:
        return
    for row in rows:
        mean, pooled = float(row[q.mean]), float(row[q.otherwise])
        if math.isfinite(mean):
            beside = [_interval(q, row) or f"no interval: {why_not(row)}", _units(q, row)]
            yield Measure(str(row["condition"]), q.with_unit(mean), [b for b in beside if b])
        elif math.isfinite(pooled):
            beside = ["all images pooled, no interval", _units(q, row)]
            yield Measure(str(row["condition"]), q.with_unit(pooled), [b for b in beside if b])


def _units(q: Quantity, row: Mapping[str, Any]) -> str:
    known = {what: int(row.get(f"n_{what}s", 0)) for what in _counts(q)}
    return ", ".join(counted(n, what) for what, n in known.items() if n)


def _counts(q: Quantity) -> list[str]:
    """What a condition consists of; where images are the units, the table has no animals."""
    return [what for what in ("animal", "image", "cell") if (q.by, what) != ("image", "animal")]


def _interval(q: Quantity, row: Mapping[str, Any], *, signed: bool = False) -> str:
    low, high = float(row["ci_low"]), float(row["ci_high"])
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{q.interval} {q.shown(low, signed=signed)} to {q.shown(high, signed=signed)}"


def _on_scale(row: Mapping[str, Any]) -> bool:
    """Whether the interval is one of the difference itself, not of a transform."""
    return str(row.get("scale", "fraction")) == "fraction"


def _is_paired(row: Mapping[str, Any]) -> bool:
    return bool(row.get("paired", row.get("design", "independent") != "independent"))


def _pair_in_words(q: Quantity, row: Mapping[str, Any]) -> str:
    condition, reference = str(row["condition"]), str(row["reference"])
    difference = float(row["difference"])
    about = f"{q.name}, {condition} against {reference}"
    if not math.isfinite(difference):
        return f"{about}: no difference can be told; {why_not(row)}."
    paired = " within the animal" if _is_paired(row) else ""
    text = f"{about}: {q.shown(difference, signed=True)} {q.steps}{paired}"
    beside = [_interval(q, row, signed=True) if _on_scale(row) else _other_scale(q, row)]
    if math.isfinite(float(row["p_value"])):
        beside.append(f"p {_p(row)}")
        if q.n_corrected > 1:
            beside.append(f"q {p_value(row['q_value'])}")
        beside.append(_numbers(row))
    inside = "; ".join(b for b in beside if b)
    text += f" ({inside})" if inside else ""
    return f"{text}." if math.isfinite(float(row["p_value"])) else f"{text}. No p: {why_not(row)}."


def _numbers(row: Mapping[str, Any]) -> str:
    """How many animals were compared."""
    unit = (str(row["unit"]).split() or ["unit"])[0]
    n, against = int(row["n_condition"]), int(row["n_reference"])
    if _is_paired(row):
        return f"{counted(n, unit)} in both"
    return f"{n} against {counted(against, unit)}"


def _other_scale(q: Quantity, row: Mapping[str, Any]) -> str:
    effect, low, high = (float(row[c]) for c in ("effect", "ci_low", "ci_high"))
    if not math.isfinite(low):
        return ""
    span = f"{q.interval} {number(low)} to {number(high)}"
    return f"on the {row['scale']} scale {number(effect)}, {span}"


def why_not(row: Mapping[str, Any]) -> str:
    """Why there is no p-value or interval."""
    reason = str(row["reason"] or "not computed").rstrip(".")
    return re.sub(r"\b1 (animal|image)s\b", r"1 \1", reason)


def _p(row: Mapping[str, Any]) -> str:
    return p_value(row["p_value"], float(row.get("smallest_p", 0.0)))


def _pair_measure(q: Quantity, row: Mapping[str, Any]) -> Measure:
    difference = float(row["difference"])
    value = q.shown(difference, signed=True)
    beside = [q.steps] if math.isfinite(difference) else []
    beside.append(_interval(q, row, signed=True) if _on_scale(row) else _other_scale(q, row))
    if math.isfinite(float(row["p_value"])):
        corrected = f", q {p_value(row['q_value'])}" if q.n_corrected > 1 else ""
        beside.append(f"p {_p(row)}{corrected}")
    else:
        beside.append("no p")
    return Measure(f"{row['condition']} − {row['reference']}", value, [b for b in beside if b])


def _pair_notes(q: Quantity, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        low, high = float(row["ci_low"]), float(row["ci_high"])
        if _on_scale(row) and low <= 0 <= high:
            yield (
                f"The interval of {row['condition']} − {row['reference']} holds 0: the data go "
                f"with no difference, and as well with any from {q.shown(low, signed=True)} to "
                f"{f'{q.shown(high, signed=True)} {q.steps}'.rstrip()}. That is no proof of no "
                "difference."
            )
    tested = [r for r in rows if math.isfinite(float(r["p_value"]))]
    for unit, method in dict.fromkeys((r["unit"], r["method"]) for r in tested):
        nulls = [str(r["hypothesis"]) for r in tested if (r["unit"], r["method"]) == (unit, method)]
        yield (
            f"Unit of inference: {unit}. Test: {method}, two-sided. "
            f"Null hypothes{'is' if len(nulls) == 1 else 'es'}: {' '.join(nulls)}"
        )
    if q.n_corrected > 1:
        yield f"q: p corrected for {q.n_corrected} comparisons (false discovery rate)."


def panel_of(study: StudyContents, quantity: Quantity) -> SuperplotPanel | None:
    """The superplot of one quantity; None where no image has a value."""
    q = quantity
    if not q.images["value"].notna().any():
        return None
    rows = {str(r["condition"]): r for r in records(q.conditions)}
    drawn = []
    for name in dict.fromkeys(map(str, q.images["condition"])):
        row, here = rows.get(name), q.images[q.images["condition"] == name]
        n_animals = int((here["animal"].drop_duplicates() != NOBODY).sum())
        beside = (f"{counted(n_animals, 'animal')}, " if n_animals else "") + counted(
            len(here), "image"
        )
        edges = [math.nan] * 3 if row is None else [row[q.mean], row["ci_low"], row["ci_high"]]
        mean, low, high = (q.scale * float(v) for v in edges)
        drawn.append((name, mean, low, high, beside))
    images, animals = (
        frame.assign(value=q.scale * frame["value"]) for frame in (q.images, q.animals)
    )
    if study.hidden:
        animals = animals.iloc[:0]
    unit = f" ({q.unit})" if q.unit else ""
    return SuperplotPanel(
        title=q.name,
        label=f"{q.what}{unit}",
        images=images[images["value"].notna()],
        animals=animals[animals["value"].notna()],
        conditions=drawn,
        least=q.least,
        most=q.most,
    )


def superplot_caption(study: StudyContents, quantities: Sequence[Quantity]) -> str:
    """What the points and lines of the superplot are."""
    images = pd.concat([q.images for q in quantities])
    text = "Small points: images."
    if (images["animal"] != NOBODY).any():
        text += " Large points: animals, all their images together, coloured by animal."
    known = pd.concat([q.conditions for q in quantities])
    if len(known) and known["ci_low"].notna().any():
        text += (
            f" Black: mean of the {quantities[0].by}s and its {quantities[0].interval} from their "
            "spread (t), which is that of one condition: whether two intervals overlap is no test."
        )
    elif len(known) and any(q.conditions[q.mean].notna().any() for q in quantities):
        text += f" Black: mean of the {quantities[0].by}s."
    if _in_several(images):
        text += " Grey lines join the points of one animal."
    if study.hidden:
        text += " Conditions and animals are hidden."
    return text


def _in_several(images: pd.DataFrame) -> list[str]:
    known = images[images["animal"] != NOBODY]
    counts = known.groupby("animal", sort=False)["condition"].nunique()
    return [str(a) for a in counts[counts > 1].index]


def comparison_tables(quantities: Sequence[Quantity]) -> list[tuple[str, DataTable]]:
    """Pairs of conditions, and conditions, of each quantity."""
    found = []
    for q in quantities:
        of = f", {q.name}" if len(quantities) > 1 else ""
        if len(q.pairs):
            found.append((f"Conditions compared{of}", _pairs_table(q)))
        if len(q.conditions):
            found.append((f"Conditions{of}", _conditions_table(q)))
    return found


def _pairs_table(q: Quantity) -> DataTable:
    rows, notes = records(q.pairs), Notes()
    several = q.n_corrected > 1
    units = list(dict.fromkeys(str(row["unit"]) for row in rows if row["unit"]))
    plural = f"{units[0].split()[0]}s" if len(units) == 1 and units[0] != "none" else "n"
    methods = list(dict.fromkeys(str(row["method"]) for row in rows if row["method"]))
    headings = [
        ("comparison", "condition", False),
        (f"difference ({q.steps})", "difference", True),
        (f"{q.interval}, from", "ci_low", True),
        ("to", "ci_high", True),
        ("p", "p_value", True),
        *([("q (FDR)", "q_value", True)] if several else []),
        (plural, "n_condition", True),
        (f"{plural}, reference", "n_reference", True),
        *([("test", "method", False)] if len(methods) > 1 else []),
    ]
    body = []
    for row in rows:
        mark = "" if math.isfinite(float(row["p_value"])) else notes.mark(why_not(row))
        shown = q.shown if _on_scale(row) else _on_other_scale
        p, corrected = float(row["p_value"]), float(row["q_value"])
        cells = [
            text_cell(f"{row['condition']} − {row['reference']}"),
            _value_cell(float(row["difference"]), q.shown, mark),
            _value_cell(float(row["ci_low"]), shown, mark),
            _value_cell(float(row["ci_high"]), shown, mark),
            _text_of_number(p, _p(row).removeprefix("= "), mark),
            *([_value_cell(corrected, _short_p, mark)] if several else []),
            *(_value_cell(float(row[n]), _whole) for n in ("n_condition", "n_reference")),
            *([text_cell(str(row["method"]) or None)] if len(methods) > 1 else []),
        ]
        body.append(cells)
    scales = dict.fromkeys(str(r["scale"]) for r in rows if not _on_scale(r))
    explained = [f"Test: {method}, two-sided" for method in methods] if len(methods) == 1 else []
    explained += [f"The interval is on the {scale} scale" for scale in scales]
    if several:
        explained.append(f"q (FDR): p corrected for {q.n_corrected} comparisons")
    return DataTable(
        headings=headings,
        rows=body,
        notes=notes.told,
        total=len(rows),
        file=q.file,
        explained=explained,
    )


def _on_other_scale(value: float) -> str:
    return number(value)


def _short_p(value: float) -> str:
    return p_value(value).removeprefix("= ")


def _whole(value: float) -> str:
    return number(int(value))


def _value_cell(value: float, text: Callable[[float], str], mark: str = "") -> Cell:
    return _text_of_number(value, text(value) if math.isfinite(value) else DASH, mark)


def _text_of_number(value: float, text: str, mark: str = "") -> Cell:
    if not math.isfinite(value):
        return Cell(DASH, "", mark=mark, is_number=True)
    return Cell(text, repr(value), is_number=True)


def _conditions_table(q: Quantity) -> DataTable:
    notes, unit = Notes(), f" ({q.unit})" if q.unit else ""
    counts = [(f"n_{what}s", f"{what}s") for what in _counts(q)]
    counts = [(column, heading) for column, heading in counts if column in q.conditions]
    body = []
    for row in records(q.conditions):
        mark = notes.mark(why_not(row)) if row["reason"] else ""
        cells = [text_cell(str(row["condition"]))]
        cells += [
            _value_cell(float(row[c]), q.shown, mark)
            for c in (q.mean, "ci_low", "ci_high", q.otherwise)
        ]
        cells += [_value_cell(float(row[column]), _whole) for column, _ in counts]
        body.append(cells)
    return DataTable(
        headings=[
            ("condition", "condition", False),
            (f"mean of {q.by}s{unit}", q.mean, True),
            (f"{q.interval}, from", "ci_low", True),
            ("to", "ci_high", True),
            (f"all pooled{unit}", q.otherwise, True),
            *((heading, column, True) for column, heading in counts),
        ],
        rows=body,
        notes=notes.told,
        total=len(body),
        file=q.file.replace("comparison", "comparison_conditions"),
        explained=[f"All pooled: {q.by}s with more cells weigh more; not what is compared"],
    )


def misleading(study: StudyContents, quantities: Sequence[Quantity]) -> Iterator[Check]:
    """What to know before believing the comparison, whatever was measured."""
    if study.hidden:
        yield note(
            "The study is blinded: samples go by their codes, and neither conditions nor a "
            "comparison are shown. The page of each sample names its image, so it is not linked."
        )
    for q in quantities:
        yield from _pair_checks(q)
    yield from _lost(study)
    tested = [
        pair
        for q in quantities
        for pair in records(q.pairs)
        if math.isfinite(float(pair["p_value"]))
    ]
    fewest = min((min(p["n_condition"], p["n_reference"]) for p in tested), default=_FEW_ANIMALS)
    if fewest < _FEW_ANIMALS:
        yield note(
            f"Few animals ({fewest} in the smallest group): only differences well above the "
            "spread between animals can be told, and a p that is not small says little. Read the "
            "interval."
        )
    apart = all(q.corrected_for is None for q in quantities)
    if apart and len(quantities) > 1 and len(tested) > 1:
        yield note(
            f"{len(quantities)} questions were asked ({few([q.name for q in quantities])}). "
            "P-values are corrected for the pairs of conditions of each, not across them."
        )
    compared = [q.images for q in quantities if q.by == "animal"]
    if compared and not study.hidden and (several := _in_several(pd.concat(compared))):
        yield note(
            f"{few(several)} {'is' if len(several) == 1 else 'are'} in several conditions, so "
            "conditions are compared within the animal. If these are different animals, give them "
            "different names."
        )
    yield from _left_over(study)


def _pair_checks(q: Quantity) -> Iterator[Check]:
    reasons: dict[str, list[str]] = {}
    for pair in records(q.pairs):
        if not math.isfinite(float(pair["p_value"])):
            told = f"{pair['condition']} − {pair['reference']}"
            reasons.setdefault(why_not(pair), []).append(told)
    for why, names in reasons.items():
        yield note(f"No p for {q.name} ({few(names)}): {why}.")


def _lost(study: StudyContents) -> Iterator[Check]:
    """Failures that hit conditions unequally."""
    if study.hidden or not len(study.failed):
        return
    rows = study.samples[study.samples["control"].isna() & study.samples["condition"].notna()]
    lost = (rows["state"] != "done").groupby(rows["condition"], sort=False).agg(["sum", "size"])
    shares = lost["sum"] / lost["size"]
    if len(lost) > 1 and shares.max() > shares.min():
        told = [f"{r['sum']} of {r['size']} images of {c}" for c, r in lost.iterrows()]
        yield note(
            f"Failed: {', '.join(told)}. If failing has to do with the condition, the comparison "
            "is biased."
        )


def _left_over(study: StudyContents) -> Iterator[Check]:
    for message in study.step_warnings("comparison"):
        text = message.removeprefix("comparison: ")
        if "blinded" not in text and not text.startswith("no animal column"):
            light = bad if text.startswith("each image counts") else note
            yield light(f"{capital(text).rstrip('.')}.")
    own = study.samples["own_parameters"].dropna()
    if len(own):
        names = [str(study.samples.loc[k, "sample"]) for k in own.index]
        yield note(
            f"{few(names)} {'has' if len(names) == 1 else 'have'} parameters of their own "
            f"({few([str(o) for o in own], 3)}): images are not all judged by one yardstick."
        )
    removed = [str(n) for n in study.state.get("removed", {})]
    if removed:
        yield note(f"No longer in the study, and in no table: {few(removed)}.")


def passed(study: StudyContents, quantities: Sequence[Quantity]) -> Iterator[str]:
    """What was looked at and found right."""
    if not len(study.failed):
        yield "failed samples (none)"
    if study.hidden or not quantities or not any(len(q.pairs) for q in quantities):
        return
    if all(q.pairs["p_value"].notna().all() for q in quantities):
        yield "at least two animals in every condition"
