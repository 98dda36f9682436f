"""Tables as one Excel workbook, as people expect it."""

from __future__ import annotations

import math
import warnings
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning
from aequorea.io.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pandas as pd

_MOST_ROWS = 1_048_576  # of a sheet, with its heading
_WIDEST, _NARROWEST = 40, 9
_LONGEST_NAME = 31
_LONGEST_TEXT = 32_767  # signs that a cell of Excel holds


def write_workbook(
    path: Path, tables: Mapping[str, pd.DataFrame], *, overwrite: bool = False
) -> Path:
    """Write each table as a sheet; the file appears whole or not at all.

    Parameters
    ----------
    path : Path
        Ends in ``.xlsx``.
    tables : mapping of sheet name to DataFrame
        Names are cut to 31 signs, as Excel wants, and numbered where that makes two alike. A
        table of more rows than a sheet holds goes
        on in further sheets, and this is told.
    overwrite : bool, default False

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        If it cannot be written, or exists and ``overwrite`` is False.
    """
    from openpyxl import Workbook
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    book = Workbook(write_only=True)
    bold = Font(bold=True)
    for name, table in _sheets(tables):
        sheet = book.create_sheet(name)
        sheet.freeze_panes = "A2"
        for number, column in enumerate(table.columns, start=1):
            width = min(_WIDEST, max(_NARROWEST, len(str(column)) + 2))
            sheet.column_dimensions[get_column_letter(number)].width = width
        headings = []
        for column in table.columns:
            heading = _text_cell(_printable(str(column)), sheet)
            heading.font = bold
            headings.append(heading)
        sheet.append(headings)
        columns = [[_cell(v, sheet) for v in table[c].to_list()] for c in table.columns]
        for row in zip(*columns, strict=True):
            sheet.append(row)
    with replacing(path, overwrite=overwrite) as temporary:
        book.save(temporary)
    return path


def _sheets(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, pd.DataFrame]]:
    taken: set[str] = set()
    for name, table in tables.items():
        step = _MOST_ROWS - 1
        parts = max(1, math.ceil(len(table) / step))
        if parts > 1:
            warnings.warn(
                f"{name}: {len(table)} rows are more than an Excel sheet holds; they go on in "
                f"{parts} sheets (the CSV file has them all)",
                AequoreaWarning,
                stacklevel=4,
            )
        for part in range(parts):
            suffix = f" {part + 1}" if parts > 1 else ""
            yield _title(name, suffix, taken), table.iloc[part * step : (part + 1) * step]


def _title(name: str, suffix: str, taken: set[str]) -> str:
    """A name of a sheet that no earlier one has, upper and lower case alike."""
    for number in count(1):
        ending = suffix if number == 1 else f" ({number}){suffix}"
        title = name[: _LONGEST_NAME - len(ending)] + ending
        if title.casefold() not in taken:
            break
    taken.add(title.casefold())
    return title


def _cell(value: Any, sheet: Any) -> Any:
    """A value as Excel knows it: missing ones are empty, text is neither formula nor error."""
    import pandas as pd

    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bool | int | float):
        return value
    text = _printable(str(value))
    return _text_cell(text, sheet) if text.startswith(("=", "#")) else text


def _printable(text: str) -> str:
    """Text without control characters; what a cell cannot hold is cut, with an ellipsis."""
    shown = "".join(c for c in text if c in "\t\n" or ord(c) >= 32)
    return shown if len(shown) <= _LONGEST_TEXT else shown[: _LONGEST_TEXT - 1] + "…"


def _text_cell(text: str, sheet: Any) -> Any:
    from openpyxl.cell import WriteOnlyCell

    cell = WriteOnlyCell(sheet, value=text)
    cell.data_type = "s"
    return cell
