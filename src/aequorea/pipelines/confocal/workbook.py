"""The tables of a stack or a study as one Excel workbook that explains itself."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from aequorea import __version__
from aequorea.errors import AequoreaWarning
from aequorea.pipelines.confocal.columns import TABLES, column_rows
from aequorea.pipelines.kept_tables import kept_table
from aequorea.pipelines.run.steps import Step
from aequorea.pipelines.workbook import write_workbook

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aequorea.pipelines.run.steps import StepContext

__all__ = ["WORKBOOK", "workbook_sheets", "workbook_step"]

WORKBOOK = "results/confocal.xlsx"
#: Of a sheet without its heading: Excel holds 1,048,575, and opens fewer in bearable time.
MOST_ROWS = 250_000


def workbook_step(steps: Sequence[Step]) -> Step:
    """All tables that these steps write, as sheets of one file."""
    names = tuple(
        Path(output).stem for step in steps for output in step.outputs if _is_table(output)
    )
    return Step(
        name="workbook",
        version=1,
        function=partial(_write, names=names),
        needs=tuple(step.name for step in steps),
        parameters={"aequorea": __version__, "most_rows": MOST_ROWS, "tables": names},
        outputs=(WORKBOOK,),
    )


def _is_table(output: str) -> bool:
    return output.startswith("tables/") and output.endswith(".parquet")


def workbook_sheets(
    tables: Mapping[str, pd.DataFrame], *, most_rows: int = MOST_ROWS
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Sheets of the workbook by name, and the tables that are too long for it.

    Parameters
    ----------
    tables : mapping of name to DataFrame
    most_rows : int
        Longer tables are left out; the first sheet says so.

    Returns
    -------
    sheets : dict of str to DataFrame
        ``contents`` first, then the tables in the order of
        :data:`aequorea.pipelines.confocal.columns.TABLES`, then ``columns``: unit and meaning of
        every column.
    left_out : list of str
    """
    ordered = {name: tables[name] for name in [*TABLES, *tables] if name in tables}
    left_out = [name for name, table in ordered.items() if len(table) > most_rows]
    contents = pd.DataFrame(
        {
            "table": list(ordered),
            "rows": [len(table) for table in ordered.values()],
            "what it is": [TABLES[n].text if n in TABLES else "" for n in ordered],
            "where": [
                f"tables/{name}.csv (too long for this workbook)" if name in left_out else "here"
                for name in ordered
            ],
        }
    )
    meanings = pd.DataFrame(column_rows(ordered), columns=["table", "column", "unit", "text"])
    kept = {name: table for name, table in ordered.items() if name not in left_out}
    return {
        "contents": contents,
        **kept,
        "columns": meanings.rename(columns={"text": "meaning"}),
    }, left_out


def _write(context: StepContext, *, names: Sequence[str]) -> None:
    sheets, left_out = workbook_sheets({name: kept_table(context, name) for name in names})
    for name in left_out:
        warnings.warn(
            f"workbook: {name} has more than {MOST_ROWS:,} rows and is left out; "
            f"tables/{name}.csv has it",
            AequoreaWarning,
            stacklevel=1,
        )
    write_workbook(context.target(WORKBOOK), sheets)
