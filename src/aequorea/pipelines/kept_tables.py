"""Tables as outputs of steps: named once, written twice (Parquet and CSV)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aequorea.io.tables import read_table, write_table

if TYPE_CHECKING:
    import pandas as pd

    from aequorea.pipelines.run.steps import StepContext


def table_outputs(*names: str) -> tuple[str, ...]:
    """Output names of a step that writes these tables.

    Examples
    --------
    >>> table_outputs("cells")
    ('tables/cells.parquet', 'tables/cells.csv')
    """
    return tuple(f"tables/{name}.{kind}" for name in names for kind in ("parquet", "csv"))


def write_tables(context: StepContext, **tables: pd.DataFrame) -> None:
    """Write the tables of a step."""
    for name, table in tables.items():
        write_table(table, context.target(f"tables/{name}"))


def kept_table(context: StepContext, name: str) -> pd.DataFrame:
    """A table that an earlier step wrote."""
    return read_table(context.result(f"tables/{name}.parquet"))
