"""The controls of a study as pages show them: bleed-through, and thresholds against negatives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aequorea.report.checks import Check, capital, fine, note
from aequorea.report.data_table import Cell, DataTable
from aequorea.report.numbers import DASH, fixed, number
from aequorea.report.study import Notes, records, text_cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from aequorea.report.study import StudyContents

#: Controls in which nothing should be positive.
NEGATIVE = ("secondary-only", "negative")


@dataclass(frozen=True, kw_only=True)
class ControlsSection:
    """What controls said.

    Attributes
    ----------
    checks : sequence of Check
        What speaks against results first.
    bleed_through, levels : DataTable or None
    """

    checks: Sequence[Check] = ()
    bleed_through: DataTable | None = None
    levels: DataTable | None = None

    @property
    def troubles(self) -> list[Check]:
        """What speaks against results; what is only not known is left out."""
        return [c for c in self.checks if c.light != "ok" and not c.text.endswith("not known.")]


def controls_of(study: StudyContents, further: Sequence[Check] = ()) -> ControlsSection:
    """Bleed-through and negative levels, with what they say against the results.

    Parameters
    ----------
    study : StudyContents
    further : sequence of Check
        What else the workflow read off its controls.
    """
    levels = study.run.table("negative_levels")
    checks = [note(f"{capital(w).rstrip('.')}.") for w in study.step_warnings("controls")]
    checks += [c for c in further if c.light != "ok"]
    checks += [note(text) for text in _thresholds_unknown(levels)]
    checks += [fine(text) for text in _thresholds_that_hold(levels)]
    checks += [c for c in further if c.light == "ok"]
    return ControlsSection(
        checks=checks, bleed_through=_bleed_matrix(study), levels=_levels_table(levels)
    )


def _thresholds_that_hold(levels: pd.DataFrame) -> Iterator[str]:
    for row in _judged(levels):
        if row["threshold_lies"] == "above":
            yield (
                f"{row['channel']}: {_used(row)} above {number(row['compared_level'])}, which "
                f"{row['compared']} of {row['control']} controls reach "
                f"({row['percentile']:g}th percentile)."
            )


def _thresholds_unknown(levels: pd.DataFrame) -> Iterator[str]:
    for row in _judged(levels):
        if row["threshold_lies"] == "not known" and not _no_question(row):
            yield (
                f"{row['channel']}: {row['threshold_reason']}, so whether the threshold lies above "
                f"{row['control']} controls is not known."
            )


def _judged(levels: pd.DataFrame) -> list[dict[str, Any]]:
    return records(levels) if "threshold_lies" in levels else []


def _no_question(row: Mapping[str, Any]) -> bool:
    """Whether nothing is called positive by the channel."""
    return str(row["threshold_reason"]).startswith("cells are not called")


def _used(row: Mapping[str, Any]) -> str:
    low, high = float(row["threshold_low"]), float(row["threshold_high"])
    if low == high:
        return f"the threshold, {number(low)}, lies"
    return f"all thresholds, {number(low)} to {number(high)}, lie"


def _bleed_matrix(study: StudyContents) -> DataTable | None:
    table = study.run.table("bleed_through")
    if not len(table):
        return None
    step = study.run.record.get("steps", {}).get("controls", {})
    tolerated = step.get("parameters", {}).get("options", {}).get("tolerated_bleed_through", 0.02)
    channels = list(dict.fromkeys([*table["stain"], *table["channel"]]))
    entries = {(r["stain"], r["channel"]): r for r in records(table)}
    notes, rows = Notes(), []
    for stain in channels:
        row = [Cell(str(stain), str(stain))]
        for channel in channels:
            entry = entries.get((stain, channel))
            row.append(_leak(entry, notes, float(tolerated)))
        rows.append(row)
    return DataTable(
        headings=[
            ("stain ↓, seen in →", "stain", False),
            *((str(c), str(c), True) for c in channels),
        ],
        rows=rows,
        notes=notes.told,
        total=len(rows),
        file="tables/bleed_through.csv",
        explained=["Light of a stain in another channel, per light in its own, with its interval"],
    )


def _leak(entry: Mapping[str, Any] | None, notes: Notes, tolerated: float) -> Cell:
    if entry is None:
        return Cell("1", "1", is_number=True)
    share, low, high = (100 * float(entry[c]) for c in ("fraction", "ci_low", "ci_high"))
    if not math.isfinite(share):
        return Cell(DASH, "", mark=notes.mark(str(entry["reason"])), is_number=True)
    span = f" ({fixed(low, 1)} to {fixed(high, 1)})" if math.isfinite(low) else ""
    leaks = share >= 100 * tolerated and not low <= 0
    text = f"{fixed(share, 1)} %{span}"
    return Cell(text, repr(share), is_number=True, light="note" if leaks else "")


def _levels_table(levels: pd.DataFrame) -> DataTable | None:
    rows = _judged(levels)
    if not rows:
        return None
    notes = Notes()
    lights = {"above": "ok", "below": "bad", "partly below": "note"}
    body = []
    for row in rows:
        lies = str(row["threshold_lies"])
        known = lies != "not known"
        low, high = float(row["threshold_low"]), float(row["threshold_high"])
        span = number(low) if low == high else f"{number(low)} to {number(high)}"
        why = "" if known else notes.mark(str(row["threshold_reason"]))
        body.append(
            [
                text_cell(row["control"]),
                text_cell(row["channel"]),
                Cell(str(row["n_images"]), str(row["n_images"]), is_number=True),
                _numeric(row["percentile_level"]),
                _numeric(row["sd_level"]),
                Cell(span, repr(low), is_number=True)
                if known
                else Cell(DASH, "", mark=why, is_number=True),
                Cell(lies, lies, light=lights[lies]) if known else Cell(DASH, ""),
                text_cell(f"{row['compared']}: {number(row['compared_level'])}" if known else None),
            ]
        )
    first = rows[0]
    return DataTable(
        headings=[
            ("control", "control", False),
            ("channel", "channel", False),
            ("images", "n_images", True),
            (f"{first['percentile']:g}th percentile", "percentile_level", True),
            (f"mean + {first['k']:g} SD", "sd_level", True),
            ("threshold in use", "threshold_low", True),
            ("it lies", "threshold_lies", False),
            ("held against", "compared_level", False),
        ],
        rows=body,
        notes=notes.told,
        total=len(body),
        file="tables/negative_levels.csv",
        explained=["Grey levels of pixels; the highest of several images"],
    )


def _numeric(value: Any) -> Cell:
    known = math.isfinite(float(value))
    return Cell(number(float(value)), repr(float(value)) if known else "", is_number=True)
