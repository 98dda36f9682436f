"""Tables on disk: Parquet for programs, CSV for people, the same content."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aequorea.errors import FileMissingError, InputError
from aequorea.io.atomic import refuse_existing, replacing
from aequorea.io.faults import reading

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import pandas as pd

_SUFFIXES = (".parquet", ".csv")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


def write_table(
    frame: pd.DataFrame, path: str | os.PathLike[str], *, overwrite: bool = False
) -> tuple[Path, Path]:
    """Write a table twice: ``path.parquet`` and ``path.csv``.

    Parameters
    ----------
    frame : DataFrame
        Column names are text and differ; the index is not written.
    path : path
        Without suffix (one of the two suffixes is taken off).
    overwrite : bool, default False

    Returns
    -------
    (Path, Path)
        Parquet and CSV. Each appears whole or not at all; the Parquet file, which
        :func:`read_table` prefers, comes last.

    Raises
    ------
    OutputError
        If they cannot be written, or exist and ``overwrite`` is False.
    InputError
        If columns have the same name or a name that is not text, or hold what Parquet cannot.

    Notes
    -----
    CSV is UTF-8 with decimal points, full precision, and empty cells for missing values. Text
    that spreadsheet programs would take for a formula has an apostrophe before it there (see
    :func:`guarded`), which :func:`read_table` takes off again; the Parquet file has it as it is.
    """
    names = list(frame.columns)
    if len(set(names)) < len(names) or not all(isinstance(n, str) for n in names):
        raise InputError(f"table columns must be different texts, got {names!r}")
    parquet, text = _pair(path)
    if not overwrite:
        refuse_existing(parquet)
        refuse_existing(text)
    plain = frame.reset_index(drop=True)
    with replacing(parquet, overwrite=True) as first, replacing(text, overwrite=True) as second:
        _to_parquet(plain, first, parquet)
        _to_csv(plain, second)
    return parquet, text


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table that :func:`write_table` wrote, or any Parquet or CSV file.

    Parameters
    ----------
    path : path
        With suffix: that file. Without: the Parquet file of the pair, else the CSV file. Of text
        in a CSV file the apostrophe is taken off that keeps it from being a formula.

    Raises
    ------
    FileMissingError
        If there is none.
    FileFormatError
        If it is damaged.
    """
    import pandas as pd

    where = Path(path).expanduser()
    candidates = [where] if where.suffix.lower() in _SUFFIXES else list(_pair(where))
    for candidate in candidates:
        if not candidate.is_file():
            continue
        if candidate.suffix.lower() == ".csv":
            with reading(candidate, "CSV"):
                table: pd.DataFrame = pd.read_csv(
                    candidate, encoding="utf-8", **_exact_floats(pd.__version__)
                )
                return _each_text(table, unguarded)
        with reading(candidate, "Parquet"):
            return pd.read_parquet(candidate)
    raise FileMissingError(f"{path}: no such table (.parquet or .csv); check the path")


def guarded(text: str) -> str:
    """Text for a CSV file, such that no spreadsheet program takes it for a formula.

    Text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return gets an apostrophe
    before it; so does text that begins like that after apostrophes, so that nothing is lost.

    Examples
    --------
    >>> guarded("=1+1"), guarded("'=1"), guarded("wild type"), guarded("'t Hooft")
    ("'=1+1", "''=1", 'wild type', "'t Hooft")
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """What :func:`guarded` was given.

    Examples
    --------
    >>> unguarded("'=1+1"), unguarded("''=1"), unguarded("'t Hooft")
    ('=1+1', "'=1", "'t Hooft")
    """
    return text[1:] if _GUARDED.match(text) else text


def _each_text(frame: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """A copy with every text, those of the heading too, put through a function."""
    changed = {c: _changed(frame[c], change) for c in frame.columns if _may_hold_text(frame[c])}
    return frame.assign(**changed).rename(columns=change)


def _may_hold_text(column: pd.Series[Any]) -> bool:
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return _may_hold_text(column.cat.categories.to_series())
    return pd.api.types.is_object_dtype(column) or isinstance(column.dtype, pd.StringDtype)


def _changed(column: pd.Series[Any], change: Callable[[str], str]) -> pd.Series[Any]:
    import pandas as pd

    if isinstance(column.dtype, pd.StringDtype):
        texts = [t for t in column.unique() if isinstance(t, str)]  # few, as a rule
        changed = {t: c for t in texts if (c := change(t)) != t}
        whole = column.astype(object).map(lambda t: changed.get(t, t)) if changed else column
        return whole.astype(column.dtype)
    values = column.astype(object)
    return values.map(lambda value: change(value) if isinstance(value, str) else value)


def _exact_floats(pandas_version: str) -> dict[str, Any]:
    # exact is the default from pandas 3.1 on, where saying so is deprecated
    major, minor = (int(part) for part in pandas_version.split(".")[:2])
    return {"float_precision": "round_trip"} if (major, minor) < (3, 1) else {}


def _pair(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    stem = Path(path).expanduser()
    if stem.suffix.lower() in _SUFFIXES:
        stem = stem.with_suffix("")
    return stem.with_name(stem.name + ".parquet"), stem.with_name(stem.name + ".csv")


def _to_csv(frame: pd.DataFrame, path: Path) -> None:
    # a lone carriage return ends the row unless its cell is quoted, which Python 3.11 leaves out
    returns = any("\r" in c or _has_returns(frame[c]) for c in frame.columns)
    _each_text(frame, guarded).to_csv(
        path,
        index=False,
        encoding="utf-8",
        lineterminator="\n",
        quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL,
    )


def _has_returns(column: pd.Series[Any]) -> bool:
    if not _may_hold_text(column):
        return False
    return any(isinstance(v, str) and "\r" in v for v in column.astype(object).to_numpy())


def _to_parquet(frame: pd.DataFrame, path: Path, target: Path) -> None:
    import pyarrow as pa

    try:
        frame.to_parquet(path, index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"{target}: a column holds what a table cannot ({' '.join(str(error).split())}); "
            "give every column one type"
        ) from None
