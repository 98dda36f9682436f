"""The tables of all samples as one, each row saying whose it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.errors import FileMissingError, InputError
from aequorea.io.faults import reading
from aequorea.io.tables import write_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from aequorea.pipelines.run.steps import StepContext

LEADING = ("sample", "animal", "condition", "replicate", "control", "code")
BLIND_LEADING = ("sample", "control", "code")
REJECTED = "rejected"
_RENAMED = "_of_table"
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
_DECIMAL = re.compile(r"-?[0-9]+\.[0-9]+")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A sample whose tables are collected.

    Attributes
    ----------
    facts : mapping of str to str or None
        The leading columns.
    metadata : mapping of str to str
    run_dir : Path
    tables : mapping of str to str
        SHA-256 by name.
    """

    facts: Mapping[str, Any]
    metadata: Mapping[str, str]
    run_dir: Path
    tables: Mapping[str, str]


def table_names(origins: Sequence[Origin]) -> tuple[str, ...]:
    """Names of all tables that any sample has."""
    return tuple(sorted({name for origin in origins for name in origin.tables}))


def write_collected(context: StepContext, origins: Sequence[Origin]) -> None:
    """Write ``tables/<name>`` of a study out of those of its samples."""
    for name in context.track(table_names(origins)):
        write_table(collected(name, origins), context.target(f"tables/{name}"))


def collected(name: str, origins: Sequence[Origin]) -> pd.DataFrame:
    """One table of all samples that have it.

    Parameters
    ----------
    name : str
    origins : sequence of Origin

    Returns
    -------
    DataFrame
        Leading columns sample, animal, condition, replicate, control, code, where samples are
        judged also ``rejected``, then the other columns of the sample sheet (numbers where every
        cell is one and would be written the same again), then those of the table. A column of the
        table that bears one of these names is called ``<name>_of_table``.

    Raises
    ------
    InputError
        If samples give one column types that do not go together.
    """
    having = [origin for origin in origins if name in origin.tables]
    described = _described(having)
    own, rows = _concatenated(name, having)
    taken = set(described.columns)
    own = own.rename(columns={c: f"{c}{_RENAMED}" for c in own.columns if c in taken})
    repeated = described.loc[described.index.repeat(rows)].reset_index(drop=True)
    return pd.concat([repeated, own], axis=1)


def _described(origins: Sequence[Origin]) -> pd.DataFrame:
    """One row per sample."""
    leading = [c for c in LEADING if any(c in o.facts for o in origins)]
    columns: dict[str, pd.Series[Any]] = {
        c: _texts([o.facts.get(c) for o in origins]) for c in leading
    }
    if any(REJECTED in o.facts for o in origins):
        columns[REJECTED] = pd.Series([bool(o.facts.get(REJECTED)) for o in origins], dtype=bool)
    for column in dict.fromkeys(c for o in origins for c in o.metadata):
        columns[column] = _typed([o.metadata.get(column) for o in origins])
    return pd.DataFrame(columns, index=range(len(origins)))


def _texts(values: Sequence[str | None]) -> pd.Series[str]:
    return pd.Series(list(values), dtype=pd.StringDtype())


def _typed(values: Sequence[str | None]) -> pd.Series[Any]:
    """Numbers, if all that is there are numbers, written as numbers are: 007 and 1.10 are names."""
    present = [v for v in values if v is not None]
    for convert, dtype, is_one in ((int, "Int64", _is_whole), (float, "Float64", _is_number)):
        if all(map(is_one, present)):
            return pd.Series([None if v is None else convert(v) for v in values], dtype=dtype)
    return _texts(values)


def _is_whole(text: str) -> bool:
    return bool(_WHOLE.fullmatch(text)) and abs(int(text)) < 2**63


def _is_number(text: str) -> bool:
    if _WHOLE.fullmatch(text):
        return abs(int(text)) <= 2**53
    return bool(_DECIMAL.fullmatch(text)) and _written(float(text)) == text


def _written(number: float) -> str:
    return np.format_float_positional(number, trim="0")


def _concatenated(name: str, origins: Sequence[Origin]) -> tuple[pd.DataFrame, list[int]]:
    import pyarrow as pa

    parts = [_read(origin.run_dir / "tables" / f"{name}.parquet") for origin in origins]
    filled = [_with_untyped_blanks(part) for part in parts if part.num_rows] or parts[:1]
    try:
        whole = pa.concat_tables(filled, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(
            f"table {name!r}: a column has types that do not go together in different samples "
            f"({' '.join(str(error).split())}); this is a fault of the workflow"
        ) from None
    return whole.to_pandas(), [part.num_rows for part in parts]


def _with_untyped_blanks(part: pa.Table) -> pa.Table:
    """A column without any value has no say in what the type of the whole is."""
    import pyarrow as pa

    for index, name in enumerate(part.column_names):
        if part.column(index).null_count == part.num_rows:
            part = part.set_column(index, name, pa.nulls(part.num_rows))
    return part


def _read(path: Path) -> pa.Table:
    from pyarrow import parquet

    if not path.is_file():
        raise FileMissingError(f"{path}: no such table; run the study again")
    with reading(path, "Parquet"):
        return parquet.read_table(path).replace_schema_metadata(None)
