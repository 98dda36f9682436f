"""What pages of studies share: the samples, which of them failed, what each of them gave."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from aequorea.errors import RunError
from aequorea.report.checks import Check, bad, few, note
from aequorea.report.data_table import Cell, DataTable, letters
from aequorea.report.numbers import DASH, counted, number
from aequorea.report.run_contents import RunContents, open_contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

STATE = "study.json"
#: How warnings of one sample are parted in the table ``samples``.
BETWEEN = " | "
#: The condition of all where none is known, and the animal that is not known.
ALL_IMAGES, NOBODY = "all images", ""
#: Where everything is, at the end of a page.
KEPT = (
    "Every sample has a directory of its own in samples/, with its page, images and labels. "
    "Everything recorded: run.json and study.json."
)
_MOST_SAMPLES = 400
_READ = ("samples", "bleed_through", "negative_levels")
_DESIGN = ("animal", "condition", "replicate", "control", "code")


@dataclass(frozen=True, kw_only=True)
class StudyContents:
    """A study, opened for reading.

    Attributes
    ----------
    run : RunContents
        Of the steps over all samples, with the tables that were asked for.
    samples : DataFrame
        One row each: what the sheet says, ``state``, ``reason``, ``warnings``, ``directory``.
    state : mapping
        What ``study.json`` says.
    """

    run: RunContents
    samples: pd.DataFrame
    state: Mapping[str, Any]

    @property
    def hidden(self) -> bool:
        """Whether the study is blinded, and conditions are not known."""
        return "condition" not in self.samples

    @property
    def title(self) -> str:
        """What the study is called."""
        return str(self.state.get("study") or self.run.path.name)

    @property
    def failed(self) -> pd.DataFrame:
        """Samples that are in no table."""
        return self.samples[self.samples["state"] != "done"]

    @property
    def measured(self) -> pd.DataFrame:
        """Samples that are no controls and did not fail."""
        done = self.samples["state"] == "done"
        return self.samples[done & self.samples["control"].isna()]

    @property
    def rejected(self) -> list[str]:
        """Measured samples that somebody rejected."""
        rows = self.measured
        return list(rows[rows["rejected"]]["sample"]) if "rejected" in rows else []

    @property
    def controls(self) -> pd.DataFrame:
        """Samples that are controls."""
        return self.samples[self.samples["control"].notna()]

    def warnings_of(self, name: str) -> list[str]:
        """What the run of a sample warned of."""
        told = self.samples.set_index("sample")["warnings"].to_dict().get(name)
        return told.split(BETWEEN) if isinstance(told, str) else []

    def step_warnings(self, prefix: str) -> list[str]:
        """Warnings of steps over all samples, by the beginning of their name."""
        steps = self.run.record.get("steps", {})
        found = [w for n, s in steps.items() if n.startswith(prefix) for w in s.get("warnings", [])]
        return list(dict.fromkeys(found))


@dataclass(frozen=True, kw_only=True)
class SampleColumn:
    """One column of results in the table of samples.

    Attributes
    ----------
    column, heading : str
    values : mapping of sample to float
    text : callable
        From a value to what is shown.
    """

    column: str
    heading: str
    values: Mapping[str, float]
    text: Callable[[float], str] = number


@dataclass
class Notes:
    """Notes below a table, each with its letter, told once."""

    marks: dict[str, str] = field(default_factory=dict)

    def mark(self, text: str) -> str:
        """The letter of a note."""
        return self.marks.setdefault(text, letters(len(self.marks)))

    @property
    def told(self) -> list[tuple[str, str]]:
        """Letters and notes."""
        return [(mark, text) for text, mark in self.marks.items()]


def open_study(directory: Path, *, only: Callable[[str], bool]) -> StudyContents:
    """Read a study and some of its tables.

    Parameters
    ----------
    directory : Path
    only : callable
        Whether a table of this name is needed, beside those of samples and controls.

    Raises
    ------
    RunError
        If there is no study, or it has no table of its samples.
    """
    run = open_contents(directory, needs="samples", only=lambda n: n in _READ or only(n))
    try:
        state = json.loads((directory / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RunError(f"{directory}: is not a study (no readable {STATE})") from None
    return StudyContents(run=run, samples=run.table("samples"), state=state)


def design_of(study: StudyContents) -> pd.DataFrame:
    """Sample, condition and animal of every measured sample, in the order of the study."""
    rows = study.measured
    known = not study.hidden and bool(rows["condition"].notna().any())
    if not known:
        facts = pd.DataFrame({"sample": rows["sample"], "condition": ALL_IMAGES})
        facts["animal"] = rows["animal"].fillna(NOBODY) if "animal" in rows else NOBODY
        return facts.astype(object).reset_index(drop=True)
    rows = rows[rows["condition"].notna()]
    facts = rows[["sample", "condition", "animal"]].astype(object)
    facts["animal"] = rows["animal"].fillna(NOBODY).astype(object)
    return facts.reset_index(drop=True)


def facts_of(study: StudyContents) -> list[tuple[str, str]]:
    """How many samples, animals and conditions there are."""
    measured, n_controls = study.measured, len(study.controls)
    parts = [counted(len(measured), "image")]
    if study.rejected:
        parts.append(f"{len(study.rejected)} of them rejected")
        measured = measured[~measured["sample"].isin(study.rejected)]
    if n_controls:
        parts.append(counted(n_controls, "control"))
    if len(study.failed):
        parts.append(f"{len(study.failed)} failed")
    facts = [("Samples", ", ".join(parts))]
    if study.hidden:
        return [*facts, ("Conditions", "hidden: the study is blinded")]
    if measured["animal"].notna().any():
        facts.append(("Animals", _by_condition(measured)))
    conditions = [str(c) for c in measured["condition"].dropna().unique()]
    return [*facts, ("Conditions", few(conditions, 12) or "none given")]


def _by_condition(measured: pd.DataFrame) -> str:
    named_animals = measured.dropna(subset=["animal"])
    total = str(named_animals["animal"].nunique())
    per = named_animals.dropna(subset=["condition"]).groupby("condition", sort=False)["animal"]
    counts = [f"{c} {n}" for c, n in per.nunique().items()]
    return f"{total} ({', '.join(counts)})" if len(counts) > 1 else total


def failures(study: StudyContents) -> Iterator[Check]:
    """Samples that failed, by reason."""
    rows = study.failed
    for reason, alike in rows.groupby(rows["reason"].fillna("not run yet"), sort=False):
        names = [_with_facts(row) for row in records(alike)]
        where = "is in no table and no figure" if len(names) == 1 else "are in no table or figure"
        yield bad(f"{few(names)} failed and {where}: {str(reason).rstrip('.')}.")


def warned(study: StudyContents, *, but: str = "") -> Iterator[Check]:
    """What runs of samples warned of, each warning once.

    Parameters
    ----------
    study : StudyContents
    but : str, optional
        Warnings with these words are told elsewhere.
    """
    if "warnings" not in study.samples:
        return
    by_text: dict[str, list[str]] = {}
    for name in study.samples[study.samples["state"] == "done"]["sample"]:
        file = str(study.state["samples"].get(str(name), {}).get("file"))
        for text in study.warnings_of(str(name)):
            if not but or but not in text:
                by_text.setdefault(text.removeprefix(f"{file}: "), []).append(str(name))
    for text, names in by_text.items():
        yield note(f"{few(names)}: {text.rstrip('.')}.")


def _with_facts(row: Mapping[str, Any]) -> str:
    told = [str(row[c]) for c in ("animal", "condition", "control") if isinstance(row.get(c), str)]
    return f"{row['sample']} ({', '.join(told)})" if told else str(row["sample"])


def sample_table(
    study: StudyContents,
    columns: Sequence[SampleColumn],
    look_at: Mapping[str, Sequence[str]],
) -> DataTable:
    """Every sample with its light, what it is, its results; those that failed first.

    Parameters
    ----------
    study : StudyContents
    columns : sequence of SampleColumn
        Results that the workflow shows.
    look_at : mapping of sample to sequence of str
        Why a sample that did not fail needs looking at.
    """
    rows = study.samples.assign(_late=study.samples["state"] == "done")
    rows = rows.sort_values("_late", kind="stable").head(_MOST_SAMPLES)
    facts = [c for c in _DESIGN if c in rows and rows[c].notna().any()]
    facts = [c for c in facts if c != "code" or not study.hidden]
    notes = Notes()
    body = []
    for row in records(rows):
        name = str(row["sample"])
        results = [_result(column, name) for column in columns]
        body.append(
            [_light(row, look_at.get(name, ()), notes), _linked(study, row)]
            + [text_cell(row[c]) for c in facts]
            + results
        )
    return DataTable(
        headings=[
            ("state", "state", False),
            ("sample", "sample", False),
            *((c, c, False) for c in facts),
            *((c.heading, c.column, True) for c in columns),
        ],
        rows=body,
        notes=notes.told,
        total=len(study.samples),
        file="tables/samples.csv",
    )


def _light(row: Mapping[str, Any], look_at: Sequence[str], notes: Notes) -> Cell:
    if row["state"] != "done":
        why = row["reason"] if isinstance(row["reason"], str) else "not run yet"
        return Cell("✕ failed", "0", mark=notes.mark(why), light="bad")
    if row.get("rejected") is True:
        return Cell("✕ rejected", "0", light="bad")
    if look_at:
        marks = ", ".join(sorted({notes.mark(text) for text in look_at}))
        return Cell("! check", "1", mark=marks, light="note")
    return Cell("✓ ok", "2", light="ok")


def _linked(study: StudyContents, row: Mapping[str, Any]) -> Cell:
    name = str(row["sample"])
    page = f"{row['directory']}/report.html"
    there = row["state"] == "done" and (study.run.path / page).is_file()
    return Cell(name, name, link=quote(page) if there and not study.hidden else "")


def text_cell(value: Any) -> Cell:
    """A cell of text; a dash for what is none."""
    return Cell(value, value) if isinstance(value, str) else Cell(DASH, "")


def _result(column: SampleColumn, name: str) -> Cell:
    value = column.values.get(name, math.nan)
    if not math.isfinite(value):
        return Cell(DASH, "", is_number=True)
    return Cell(column.text(value), repr(float(value)), is_number=True)


def files_of(study: StudyContents) -> list[tuple[str, int]]:
    """Every table of the study with its number of rows."""
    from pyarrow import parquet

    paths = sorted((study.run.path / "tables").glob("*.parquet"))
    return [(f"tables/{p.stem}.csv", parquet.read_metadata(p).num_rows) for p in paths]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as mappings by column."""
    return [{str(c): v for c, v in row.items()} for row in frame.to_dict("records")]
