"""Workbooks as spreadsheet programs open them."""

import numpy as np
import openpyxl
import pandas as pd
import pytest

from aequorea.pipelines.workbook import write_workbook


def cells_of(path, sheet=0):
    book = openpyxl.load_workbook(path)
    return [[(c.value, c.data_type) for c in row] for row in book.worksheets[sheet].iter_rows()]


def test_text_is_neither_a_formula_nor_an_error(tmp_path):
    table = pd.DataFrame({"=1+1": ["=SUM(1)", "#N/A", "#REF!", "\0=1"], "#N/A": [1, 2, 3, -4]})
    rows = cells_of(write_workbook(tmp_path / "a.xlsx", {"t": table}))
    assert rows[0] == [("=1+1", "s"), ("#N/A", "s")]
    assert [row[0] for row in rows[1:]] == [("=SUM(1)", "s"), ("#N/A", "s"), ("#REF!", "s"),
                                            ("=1", "s")]  # fmt: skip
    assert [row[1] for row in rows[1:]] == [(k, "n") for k in (1, 2, 3, -4)]


def test_what_is_missing_is_empty(tmp_path):
    table = pd.DataFrame(
        {
            "text": pd.Series(["a", None], dtype="string"),
            "whole": pd.Series([1, None], dtype="Int64"),
            "when": pd.to_datetime(["2024-05-01", None]),
            "number": [1.5, np.nan],
            "n": [1, 2],
        }
    )
    rows = cells_of(write_workbook(tmp_path / "a.xlsx", {"t": table}))
    assert [value for value, _ in rows[2]] == [None] * 4 + [2]
    assert rows[1][:2] == [("a", "s"), (1, "n")]


@pytest.mark.parametrize("rows", [2, 5])
def test_sheets_of_long_names_are_told_apart(tmp_path, monkeypatch, rows):
    monkeypatch.setattr("aequorea.pipelines.workbook._MOST_ROWS", 4)
    names = ["m" * 31 + "a", "m" * 31 + "b", "M" * 31, "short"]
    tables = {name: pd.DataFrame({"a": range(rows)}) for name in names}
    with pytest.warns(match="go on in") if rows > 3 else _nothing():
        path = write_workbook(tmp_path / "a.xlsx", tables)
    titles = openpyxl.load_workbook(path).sheetnames
    assert len({t.casefold() for t in titles}) == len(titles) == len(names) * (1 + (rows > 3))
    assert max(map(len, titles)) == 31


def _nothing():
    from contextlib import nullcontext

    return nullcontext()
