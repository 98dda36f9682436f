"""Every column is described, in one place, which workbook and docs share."""

from __future__ import annotations

import openpyxl
import pandas as pd
import pytest

from aequorea.pipelines.confocal import analyse
from aequorea.pipelines.confocal.columns import LEADING, TABLES, meaning_of
from aequorea.pipelines.confocal.workbook import WORKBOOK, workbook_sheets

pytestmark = pytest.mark.filterwarnings("ignore::aequorea.errors.AequoreaWarning")


def undescribed(directory):
    found = []
    for path in sorted((directory / "tables").glob("*.parquet")):
        columns = pd.read_parquet(path).columns
        found += [f"{path.stem}: {c}" for c in columns if meaning_of(path.stem, c) is None]
    return found


@pytest.fixture(scope="module")
def run(stack, stack_file, channels, tmp_path_factory):
    """Two kinds of puncta, a protein, and nuclei corrected by hand."""
    import numpy as np

    where = tmp_path_factory.mktemp("workbook")
    np.save(where / "edited.npy", stack.nuclei)
    options = {
        **channels,
        "nuclei": {"channel": "nuclei", "edited": str(where / "edited.npy")},
        "puncta2": {"channel": "cells"},
        "nulls": {"n_simulations": 19},
    }
    return analyse(stack_file, parameters=options, out=where / "run")


def test_every_column_of_a_stack_is_described(run):
    assert undescribed(run.directory) == []
    assert "label_changes_nuclei" in {p.stem for p in (run.directory / "tables").iterdir()}


def test_the_workbook_has_all_tables_and_explains_them(run):
    book = openpyxl.load_workbook(run.directory / WORKBOOK)
    names = {p.stem for p in (run.directory / "tables").glob("*.parquet")}
    assert set(book.sheetnames) == {"contents", "columns", *names}
    assert book.sheetnames[0] == "contents"
    cells = [[c.value for c in row] for row in book["cells"].iter_rows()]
    table = run.table("cells")
    assert cells[0] == list(table.columns)
    assert [row[0] for row in cells[1:]] == table["cell"].tolist()
    told = [[c.value for c in row] for row in book["columns"].iter_rows()]
    assert told[0] == ["table", "column", "unit", "meaning"]
    described = {(row[0], row[1]): row[2:] for row in told[1:]}
    assert described["cells", "puncta_median_distance_um"][0] == "µm"
    assert set(described) == {(n, c) for n in names for c in run.table(n).columns}
    assert all(meaning for _, meaning in described.values())


def test_tables_too_long_for_a_sheet_are_left_out_and_named():
    tables = {"elbows": pd.DataFrame({"n_above": range(9)}), "cells": pd.DataFrame({"cell": [1]})}
    sheets, left_out = workbook_sheets(tables, most_rows=5)
    assert left_out == ["elbows"]
    assert list(sheets) == ["contents", "cells", "columns"]
    where = sheets["contents"].set_index("table")["where"]
    assert where["cells"] == "here"
    assert "tables/elbows.csv" in where["elbows"]
    assert set(sheets["columns"]["table"]) == {"cells", "elbows"}


def test_what_no_table_has_is_not_described():
    assert meaning_of("cells", "punctual_n") is None
    assert meaning_of("weather", "cell") is None
    assert meaning_of("cells", "puncta7_polarity") == meaning_of("cells", "puncta_polarity")
    assert meaning_of("cells", "animal") == LEADING["animal"]


def test_columns_in_micrometres_say_so():
    for table in TABLES.values():
        for name, meaning in table.columns.items():
            assert not name.endswith("_um") or meaning.unit == (
                "1/µm" if "_per_um" in name else "µm"
            )
            assert not name.endswith("_um3") or meaning.unit == "µm³", name
