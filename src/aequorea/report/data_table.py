"""Tables for people: units in the headings, rounded numbers, dashes with their reason."""

from __future__ import annotations

from dataclasses import dataclass
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
    "n_draws": "draws",
}
_COEFFICIENTS = {
    "pcc", "srcc", "icq", "m1", "m2", "m1_plain", "m2_plain", "overlap", "k1", "k2", "kendall",
    "pcc_above", "pcc_below", "observed", "expected", "r", "p_value", "p_fdr",
}  # fmt: skip
_UNITS = {"_um": "µm", "_px": "px", "_s": "s"}


@dataclass(frozen=True)
class Cell:
    """One cell: what is shown, what it sorts by, and why it is empty."""

    text: str
    key: str
    note: str = ""
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
    file : str
        Where all of them are.
    """

    headings: Sequence[tuple[str, str, bool]]
    rows: Sequence[Sequence[Cell]]
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
        so is ``frame`` where there is only one. A ``reason`` comes last where there is one.
    file : str
        Where the whole table is.

    Returns
    -------
    DataTable
        The first 200 rows.
    """
    shown = [c for c in columns if c in frame and _worth_showing(frame[c])]
    if "reason" in frame and _filled(frame["reason"]).any():
        shown.append("reason")
    reasons = frame["reason"] if "reason" in frame else pd.Series([""] * len(frame))
    numeric = {c: pd.api.types.is_numeric_dtype(frame[c]) for c in shown}
    rows = [
        [_cell(row[c], c, numeric=numeric[c], reason=str(reason or "")) for c in shown]
        for (_, row), reason in zip(
            frame[shown].head(MOST_ROWS).iterrows(), reasons.head(MOST_ROWS), strict=True
        )
    ]
    headings = [(heading(c), c, numeric[c]) for c in shown]
    return DataTable(headings=headings, rows=rows, total=len(frame), file=file)


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


def _cell(value: Any, column: str, *, numeric: bool, reason: str) -> Cell:
    if value is None or (not isinstance(value, str) and pd.isna(value)) or value == "":
        return Cell(DASH, "", note="" if column == "reason" else reason, is_number=numeric)
    if isinstance(value, (bool,)) or type(value).__name__ == "bool_":
        return Cell("yes" if value else "no", str(int(value)))
    if not numeric:
        return Cell(str(value), str(value))
    if column in _COEFFICIENTS:
        text = fixed(value)
    else:
        text = number(int(value)) if is_whole(value) or float(value).is_integer() else number(value)
    return Cell(text, repr(float(value)), is_number=True)
