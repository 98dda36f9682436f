"""Tables for people: units in the headings, rounded numbers, dashes with their reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from aequorea.report.numbers import DASH, fixed, is_whole, number

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_ROWS = 200
_HEADINGS = {
    "region_name": "region",
    "channel_a": "A",
    "channel_b": "B",
    "n_pixels": "pixels",
    "pcc": "Pearson r",
    "srcc": "Spearman ρ",
    "icq": "ICQ",
    "m1": "M1",
    "m2": "M2",
    "threshold_a": "threshold A",
    "threshold_b": "threshold B",
    "p_value": "p",
    "p_fdr": "q (FDR)",
    "n_effective": "effective n",
    "distance_um": "distance (µm)",
    "n_draws": "indep. draws",
    "n_objects_a": "objects A",
    "n_objects_b": "objects B",
    "n_matched": "partners",
    "frac_overlap_a": "A overlapping",
    "frac_overlap_b": "B overlapping",
    "frac_coincident_a": "A coincident",
    "frac_coincident_b": "B coincident",
    "frac_matched_a": "A with partner",
    "frac_matched_b": "B with partner",
    "median_nn_distance_um_a": "median distance A (µm)",
    "median_nn_distance_um_b": "median distance B (µm)",
    "median_nn_distance_px_a": "median distance A (px)",
    "median_nn_distance_px_b": "median distance B (px)",
    "fwhm_px": "FWHM (px)",
    "fwhm_um": "FWHM (µm)",
    "ci_low": "95 % from",
    "ci_high": "to",
    "pcc_above": "r above T",
    "pcc_below": "r below T",
    "m1_plain": "plain M1",
    "m2_plain": "plain M2",
}
_COEFFICIENTS = {
    "pcc", "srcc", "icq", "m1", "m2", "m1_plain", "m2_plain", "overlap", "k1", "k2", "kendall",
    "pcc_above", "pcc_below", "observed", "expected", "ci_low", "ci_high", "r",
    "p_value", "p_fdr", "amplitude", "offset",
    "frac_overlap_a", "frac_overlap_b", "frac_coincident_a", "frac_coincident_b",
    "frac_matched_a", "frac_matched_b",
}  # fmt: skip
_PAIR = ("channel_a", "channel_b")
_UNITS = {"_um": "µm", "_px": "px", "_s": "s"}


@dataclass(frozen=True)
class Cell:
    """One cell: what is shown, what it sorts by, and the mark of the note why it is empty."""

    text: str
    key: str
    mark: str = ""
    is_number: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return self.text == DASH


@dataclass(frozen=True)
class DataTable:
    """A table as the page shows it.

    Attributes
    ----------
    headings : sequence of (text, column name, is number)
    rows : sequence of sequence of Cell
    total : int
        Rows of the whole table, of which the first are shown.
    notes : sequence of (mark, text)
        Why cells are empty.
    file : str
        Where all of them are.
    """

    headings: Sequence[tuple[str, str, bool]]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[tuple[str, str]]
    total: int
    file: str

    @property
    def cut(self) -> bool:
        """Whether rows were left out."""
        return len(self.rows) < self.total


def data_table(frame: pd.DataFrame, columns: Sequence[str], *, file: str) -> DataTable:
    """Choose, round and name the columns of a table for a page.

    Parameters
    ----------
    frame : DataFrame
    columns : sequence of str
        Those that exist are shown, in this order; columns without any value are left out, and
        so are ``frame`` and the pair of channels where there is only one. The column ``reason``
        becomes notes below.
    file : str
        Where the whole table is.

    Returns
    -------
    DataTable
        The first 200 rows.
    """
    shown = [c for c in columns if c in frame and _worth_showing(frame[c])]
    if set(_PAIR) <= set(shown) and len(frame[[*_PAIR]].drop_duplicates()) == 1:
        shown = [c for c in shown if c not in _PAIR]
    numeric = {c: pd.api.types.is_numeric_dtype(frame[c]) for c in shown}
    marks: dict[str, str] = {}
    rows = []
    for record in frame.head(MOST_ROWS).to_dict("records"):
        reason = record.get("reason")
        told = reason if isinstance(reason, str) else ""
        cells = [_cell(record[c], c, numeric=numeric[c]) for c in shown]
        if told and any(cell.empty for cell in cells):
            mark = marks.setdefault(told, _letters(len(marks)))
            cells = [replace(cell, mark=mark) if cell.empty else cell for cell in cells]
        rows.append(cells)
    return DataTable(
        headings=[(heading(c), c, numeric[c]) for c in shown],
        rows=rows,
        notes=[(mark, reason) for reason, mark in marks.items()],
        total=len(frame),
        file=file,
    )


def _letters(number: int) -> str:
    """The marks a, b, … z, aa, ab, … in this order."""
    first = _letters(number // 26 - 1) if number >= 26 else ""
    return first + chr(ord("a") + number % 26)


def heading(column: str) -> str:
    """A column's name for people, with its unit.

    Examples
    --------
    >>> heading("pcc"), heading("nn_distance_um")
    ('Pearson r', 'nn distance (µm)')
    """
    if column in _HEADINGS:
        return _HEADINGS[column]
    for suffix, unit in _UNITS.items():
        if column.endswith(suffix):
            return f"{column.removesuffix(suffix).replace('_', ' ')} ({unit})"
    return column.replace("_", " ")


def _worth_showing(values: pd.Series[Any]) -> bool:
    if values.name == "frame":
        return bool(values.nunique() > 1)
    return bool(_filled(values).any())


def _filled(values: pd.Series[Any]) -> pd.Series[bool]:
    return values.notna() & (values.astype(str) != "")


def _cell(value: Any, column: str, *, numeric: bool) -> Cell:
    if value is None or value == "" or (not isinstance(value, str) and pd.isna(value)):
        return Cell(DASH, "", is_number=numeric)
    if type(value).__name__ in {"bool", "bool_"}:
        return Cell("yes" if value else "no", str(int(value)))
    if not numeric:
        return Cell(str(value), str(value))
    if column in _COEFFICIENTS:
        text = fixed(value)
    else:
        text = number(int(value)) if is_whole(value) or float(value).is_integer() else number(value)
    return Cell(text, repr(float(value)), is_number=True)
