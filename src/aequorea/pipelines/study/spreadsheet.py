"""The cells of a sample sheet as text, whatever program saved it."""

from __future__ import annotations

import codecs
import csv
import io
from datetime import date, datetime, time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aequorea.errors import FileFormatError, FileMissingError, InputError
from aequorea.io.faults import reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Row = tuple[int, list[str]]
_TEXT, _EXCEL = (".csv", ".tsv", ".txt"), (".xlsx", ".xlsm")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_spreadsheet(path: Path) -> list[Row]:
    """Every row that is not blank, with its number as a spreadsheet program shows it.

    Parameters
    ----------
    path : Path
        Text separated by commas, semicolons or tabs, in UTF-8 or UTF-16; or an Excel workbook,
        of which the first sheet is read.

    Returns
    -------
    list of (int, list of str)
        Cells without surrounding spaces, empty ones at the end left out.

    Raises
    ------
    FileMissingError, FileFormatError, InputError
        One line, naming the file.
    """
    if not path.is_file():
        raise FileMissingError(f"{path}: no such sample sheet; check 'sheet'")
    suffix = path.suffix.lower()
    if suffix in _EXCEL:
        return _filled(_excel_rows(path))
    if suffix in _TEXT:
        return _filled(_text_rows(path))
    raise FileFormatError(
        f"{path}: a sample sheet is .csv, .tsv or .xlsx, not {suffix or 'without ending'}; "
        "save it as one of these"
    )


def column_letters(index: int) -> str:
    """The name that a spreadsheet program gives a column.

    Examples
    --------
    >>> column_letters(0), column_letters(27)
    ('A', 'AB')
    """
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _filled(rows: Iterable[list[str]]) -> list[Row]:
    kept = []
    for number, cells in enumerate(rows, start=1):
        stripped = [cell.strip() for cell in cells]
        while stripped and not stripped[-1]:
            stripped.pop()
        if stripped:
            kept.append((number, stripped))
    return kept


def _text_rows(path: Path) -> list[list[str]]:
    lines = _decoded(path).splitlines(keepends=True)
    declared = lines[0].strip().lower() if lines else ""
    if declared.startswith("sep=") and len(declared) == len("sep=;"):
        # Excel's own way to say the separator; the row keeps its number
        return [[], *_parsed(path, lines[1:], declared[-1])]
    header = next((line for line in lines if line.strip()), "")
    return _parsed(path, lines, max(",;\t", key=header.count))


def _parsed(path: Path, lines: list[str], separator: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO("".join(lines), newline=""), delimiter=separator))
    except csv.Error as error:
        raise FileFormatError(
            f"{path}: cannot be read as a table ({error}); save it again as CSV"
        ) from None


def _decoded(path: Path) -> str:
    with reading(path, "text"):
        content = path.read_bytes()
    encoding = "utf-16" if content.startswith(_UTF16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise FileFormatError(
            f"{path}: row {line}: not UTF-8 text; save it as 'CSV UTF-8' or as .xlsx"
        ) from None
    if "\0" in text:
        raise FileFormatError(f"{path}: holds binary data, not text; save it as 'CSV UTF-8'")
    return text


def _excel_rows(path: Path) -> Iterator[list[str]]:
    try:
        openpyxl: Any = import_module("openpyxl")
    except ImportError:
        raise InputError(
            f"{path}: reading Excel needs the package openpyxl; install it, or save the sheet "
            "as CSV"
        ) from None
    with reading(path, "an Excel workbook"), path.open("rb") as stream:
        book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        try:
            cells = [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
        finally:
            book.close()
    for number, row in enumerate(cells, start=1):
        yield [_text(value, path, number, index) for index, value in enumerate(row)]


def _text(value: Any, path: Path, row: int, index: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    text = str(value)
    if text.startswith("#") and text.endswith(("!", "?", "/A")):
        raise InputError(
            f"{path}: row {row}, column {column_letters(index)}: the formula failed ({text}); "
            "repair it or write the value"
        )
    return text
