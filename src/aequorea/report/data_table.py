"""Tables for people: units in the headings, rounded numbers, dashes with their reason."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from aequorea.report.numbers import DASH, fixed, is_whole, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_ROWS = 200
MOST_NAMED_ROWS = 60
_HEADINGS = {
    "region_name": "region",
    "channel_a": "channel A",
    "channel_b": "channel B",
    "n_pixels": "pixels",
    "pcc": "Pearson r",
    "srcc": "Spearman ρ",
    "icq": "ICQ",
    "m1": "M1",
    "m2": "M2",
    "threshold_a": "threshold of A",
    "threshold_b": "threshold of B",
    "p_value": "p",
    "p_fdr": "q (FDR)",
    "n_effective": "independent pixels",
    "n_independent": "independent shifts",
    "distance_um": "distance (µm)",
    "n_draws": "draws",
    "n_objects_a": "objects of A",
    "n_objects_b": "objects of B",
    "n_matched": "partners",
    "frac_overlap_a": "overlapping, A",
    "frac_overlap_b": "overlapping, B",
    "frac_coincident_a": "coincident, A",
    "frac_coincident_b": "coincident, B",
    "frac_matched_a": "with partner, A",
    "frac_matched_b": "with partner, B",
    "median_nn_distance_um_a": "median distance from A (µm)",
    "median_nn_distance_um_b": "median distance from B (µm)",
    "median_nn_distance_px_a": "median distance from A (px)",
    "median_nn_distance_px_b": "median distance from B (px)",
    "fwhm_px": "FWHM (px)",
    "fwhm_um": "FWHM (µm)",
    "ci_low": "95 % CI of r, from",
    "ci_high": "95 % CI of r, to",
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
_EXPLAINED = {
    "expected": "expected: by chance, or from the profiles where the null is profile",
    "ci_low": "95 % CI: interval of r for the independent pixels; it holds for this image alone",
    "p_fdr": "q (FDR): p corrected for all tests of the run",
    "n_effective": "independent pixels: what the correlated pixels are worth",
    "n_independent": "independent shifts: what the shifts of the test are worth; they set the "
    "smallest p possible",
    "m1": "M1: share of the intensity of {A} where {B} is above its threshold; M2 the other way "
    "round",
    "m1_plain": "plain M1, M2: as M1, M2 with thresholds at 0",
    "pcc_above": "r above T, r below T: Pearson r of the pixels above and below the thresholds",
    "frac_overlap_a": "overlapping: share of objects that share a pixel with one of the other "
    "channel",
    "frac_coincident_a": "coincident: share of objects whose centroid lies in one of the other "
    "channel",
    "n_matched": "partners: objects paired one to one within the match distance",
    "offset": "amplitude, offset, centre, FWHM: of the Gaussian fitted to r against shift",
}
_ONE_DECIMAL = {"n_independent"}
_PROBABILITIES = {"p_value", "p_fdr"}
_LEAST_PRINTED = 0.001
_WIDE = 12
_PAIR = ("channel_a", "channel_b")
_UNITS = {"_um": "µm", "_px": "px", "_s": "s"}


@dataclass(frozen=True)
class Cell:
    """One cell: what is shown, what it sorts by, the mark of a note, where it leads, its colour."""

    text: str
    key: str
    mark: str = ""
    is_number: bool = False
    link: str = ""
    light: str = ""

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
    explained : sequence of str
        What headings mean that do not speak for themselves.
    """

    headings: Sequence[tuple[str, str, bool]]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[tuple[str, str]]
    total: int
    file: str
    explained: Sequence[str] = ()

    @property
    def wide(self) -> bool:
        """Whether there are so many columns that they are printed small."""
        return len(self.headings) >= _WIDE

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
    names = ("A", "B")
    if set(_PAIR) <= set(shown) and len(frame[[*_PAIR]].drop_duplicates()) == 1:
        shown = [c for c in shown if c not in _PAIR]
        names = (str(frame["channel_a"].iloc[0]), str(frame["channel_b"].iloc[0]))
    numeric = {c: pd.api.types.is_numeric_dtype(frame[c]) for c in shown}
    marks: dict[str, str] = {}
    rows = []
    for record in frame.head(MOST_ROWS).to_dict("records"):
        reason = record.get("reason")
        told = reason if isinstance(reason, str) else ""
        cells = [_cell(record[c], c, numeric=numeric[c]) for c in shown]
        if told and any(cell.empty for cell in cells):
            mark = marks.setdefault(told, letters(len(marks)))
            cells = [replace(cell, mark=mark) if cell.empty else cell for cell in cells]
        rows.append(cells)
    return DataTable(
        headings=[(heading(c, names=names), c, numeric[c]) for c in shown],
        rows=rows,
        notes=[(mark, reason) for reason, mark in marks.items()],
        total=len(frame),
        file=file,
        explained=[
            _EXPLAINED[c].replace("{A}", names[0]).replace("{B}", names[1])
            for c in shown
            if c in _EXPLAINED
        ],
    )


def named(
    frame: pd.DataFrame,
    columns: Mapping[str, str],
    *,
    file: str,
    most: int = MOST_NAMED_ROWS,
    explained: Sequence[str] = (),
) -> DataTable:
    """A table with headings of its own.

    Parameters
    ----------
    frame : DataFrame
    columns : mapping of column to heading
        Those without values are left out.
    file : str
    most : int
        Rows shown.
    explained : sequence of str
    """
    table = data_table(frame.head(most), list(columns), file=file)
    headings = [(columns[column], column, is_number) for _, column, is_number in table.headings]
    return replace(table, headings=headings, explained=explained, total=len(frame))


def letters(number: int) -> str:
    """The marks a, b, … z, aa, ab, … in this order."""
    first = letters(number // 26 - 1) if number >= 26 else ""
    return first + chr(ord("a") + number % 26)


def heading(column: str, *, names: tuple[str, str] = ("A", "B")) -> str:
    """A column's name for people, with its unit and the channel it is of.

    Examples
    --------
    >>> heading("pcc"), heading("nn_distance_um")
    ('Pearson r', 'nn distance (µm)')
    >>> heading("threshold_a", names=("GFP", "Mito"))
    'threshold of GFP'
    """
    if column in _HEADINGS:
        text = _HEADINGS[column]
        if column.endswith(("_a", "_b")) and not column.startswith("channel"):
            mark, name = ("A", names[0]) if column.endswith("_a") else ("B", names[1])
            return re.sub(rf"\b{mark}\b", lambda _: name, text)
        return text
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
    if column in _ONE_DECIMAL:
        text = fixed(value, 1)
    elif column in _COEFFICIENTS:
        tiny = column in _PROBABILITIES and 0 <= float(value) < _LEAST_PRINTED
        text = f"< {_LEAST_PRINTED}" if tiny else fixed(value)
    else:
        text = number(int(value)) if is_whole(value) or float(value).is_integer() else number(value)
    return Cell(text, repr(float(value)), is_number=True)
