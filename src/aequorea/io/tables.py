"""Tables on disk: Parquet for programs, CSV for people, the same content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aequorea.errors import FileMissingError, InputError
from aequorea.io.atomic import refuse_existing, replacing
from aequorea.io.faults import reading

if TYPE_CHECKING:
    import os

    import pandas as pd

_SUFFIXES = (".parquet", ".csv")


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
    CSV is UTF-8 with decimal points, full precision, and empty cells for missing values.
    """
    names = list(frame.columns)
    if len(set(names)) < len(names) or not all(isinstance(n, str) for n in names):
        raise InputError(f"table columns must be different texts, got {names!r}")
    parquet, csv = _pair(path)
    if not overwrite:
        refuse_existing(parquet)
        refuse_existing(csv)
    plain = frame.reset_index(drop=True)
    with replacing(parquet, overwrite=True) as first, replacing(csv, overwrite=True) as second:
        _to_parquet(plain, first, parquet)
        plain.to_csv(second, index=False, encoding="utf-8", lineterminator="\n")
    return parquet, csv


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table that :func:`write_table` wrote, or any Parquet or CSV file.

    Parameters
    ----------
    path : path
        With suffix: that file. Without: the Parquet file of the pair, else the CSV file.

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
                return table
        with reading(candidate, "Parquet"):
            return pd.read_parquet(candidate)
    raise FileMissingError(f"{path}: no such table (.parquet or .csv); check the path")


def _exact_floats(pandas_version: str) -> dict[str, Any]:
    # exact is the default from pandas 3.1 on, where saying so is deprecated
    major, minor = (int(part) for part in pandas_version.split(".")[:2])
    return {"float_precision": "round_trip"} if (major, minor) < (3, 1) else {}


def _pair(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    stem = Path(path).expanduser()
    if stem.suffix.lower() in _SUFFIXES:
        stem = stem.with_suffix("")
    return stem.with_name(stem.name + ".parquet"), stem.with_name(stem.name + ".csv")


def _to_parquet(frame: pd.DataFrame, path: Path, target: Path) -> None:
    import pyarrow as pa

    try:
        frame.to_parquet(path, index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"{target}: a column holds what a table cannot ({' '.join(str(error).split())}); "
            "give every column one type"
        ) from None
