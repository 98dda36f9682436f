"""From the rows of a sample sheet, or a list of files, to samples."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from aequorea.errors import FileMissingError, InputError
from aequorea.pipelines.study.sample import Sample
from aequorea.pipelines.study.spreadsheet import Row, column_letters, read_spreadsheet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

COLUMNS = ("file", "sample", "animal", "condition", "replicate", "control", "code", "regions")
CONTROLS = ("single:<stain>", "secondary-only", "negative", "positive")
_OVERRIDE = "params."
_IMAGE_ENDING = re.compile(r"\.(?:ome\.)?(?:tiff?|zarr)$", re.IGNORECASE)
_GLOB = re.compile(r"[*?\[]")
_NEAR = 0.8  # "anmial" is 0.83 of "animal"; "mode" is 0.75 of "code"
_NOT_A_SLIP = frozenset({"region"})  # of the brain: no misspelt "regions"
_MOST_NAMED = 5


def read_samples(path: Path) -> tuple[Sample, ...]:
    """The samples of a sheet, in its order.

    Parameters
    ----------
    path : Path
        The first row that is not blank names the columns.

    Raises
    ------
    InputError
        One line that names file, row and column, and the way out.
    """
    rows = read_spreadsheet(path)
    if len(rows) < 2:
        raise InputError(
            f"{path}: has no samples; expected a row of column names, then one row per image"
        )
    columns = _columns(path, rows)
    named = [_named(columns, path, number, cells) for number, cells in rows[1:]]
    samples = [
        _sample(cells, path, number) for (number, _), cells in zip(rows[1:], named, strict=True)
    ]
    given = [bool(cells.get("sample")) for cells in named]
    _require_files(samples, path)
    return _distinct(samples, given)


def list_samples(
    patterns: Sequence[str], *, folder: Path, where: str, leave_out: Path | None = None
) -> tuple[Sample, ...]:
    """One sample per file, for studies without a sheet.

    Parameters
    ----------
    patterns : sequence of str
        Files, or patterns such as ``"data/*.czi"``, relative to ``folder``. Patterns match
        neither hidden files, nor folders other than OME-Zarr images, nor results of a run.
    folder : Path
    where : str
        How messages call the list.
    leave_out : Path, optional
        Folder in which patterns match nothing: that of the results.

    Raises
    ------
    InputError
        If a file is missing, or a pattern matches nothing.
    """
    files: dict[Path, None] = {}
    missing = []
    for pattern in patterns:
        found = _matches(pattern, folder, leave_out)
        if not found and _GLOB.search(pattern):
            raise FileMissingError(f"{where}: no file matches {pattern!r} in {folder}")
        missing += [] if found else [pattern]
        files |= dict.fromkeys(found)
    if missing:
        raise FileMissingError(f"{where}: {_missing_files(missing)}")
    if not files:
        raise InputError(f"{where}: names no file; expected a list such as ['data/*.czi']")
    samples = [Sample(name=_stem(file), file=file, where=where) for file in files]
    return _distinct(samples, [False] * len(samples))


def near_miss(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """``"; did you mean 'animal'?"``, or nothing."""
    near = get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near else ""


def _matches(pattern: str, folder: Path, leave_out: Path | None) -> list[Path]:
    direct = folder / pattern
    if direct.exists():
        return [direct]
    if not _GLOB.search(pattern):
        return []
    base = Path(direct.anchor) if Path(pattern).is_absolute() else folder
    found = base.glob(direct.relative_to(base).as_posix())
    return sorted(p for p in found if _is_image(p) and not _is_result(p, base, leave_out))


def _is_image(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return not hidden and (path.is_file() or path.suffix.lower() == ".zarr")


def _is_result(path: Path, base: Path, leave_out: Path | None) -> bool:
    in_run = any(part.endswith(".aequorea") for part in path.relative_to(base).parts)
    return in_run or (leave_out is not None and path.resolve().is_relative_to(leave_out.resolve()))


def _columns(path: Path, rows: Sequence[Row]) -> list[str]:
    """The meaning of each column: a known name, a parameter, or the name as written."""
    number, header = rows[0]
    width = max(len(cells) for _, cells in rows)
    cells = header + [""] * (width - len(header))
    known = [_known(cell) for cell in cells]
    columns: list[str] = []
    for index, (cell, meaning) in enumerate(zip(cells, known, strict=True)):
        at = f"{path}: row {number}, column {column_letters(index)}"
        if not cell:
            filled = next((n for n, c in rows[1:] if len(c) > index and c[index]), None)
            if filled is not None:
                raise InputError(f"{at}: no column name, but row {filled} has a value there")
        elif meaning is None and cell.lower() not in _NOT_A_SLIP:
            free = [c for c in COLUMNS if c not in known]
            if hint := near_miss(cell.lower(), free, _NEAR):
                raise InputError(f"{at}: unknown column {cell!r}{hint}")
        columns.append(meaning or cell)
    if "file" not in columns:
        found = ", ".join(repr(c) for c in columns if c)
        raise InputError(f"{path}: row {number}: no column 'file'; it has {found}")
    doubled = [c for c, n in Counter(c for c in columns if c).items() if n > 1]
    if doubled:
        raise InputError(f"{path}: row {number}: column {doubled[0]!r} is there twice")
    return columns


def _known(cell: str) -> str | None:
    """A header that differs from ours in case and spaces only means ours."""
    bare = re.sub(r"[\s_\-]+", "", cell).lower()
    if bare in COLUMNS:
        return bare
    key = cell.lower().replace(" ", "")
    return key if key.startswith(_OVERRIDE) and key != _OVERRIDE else None


def _named(columns: Sequence[str], path: Path, number: int, cells: Sequence[str]) -> dict[str, str]:
    named = {c: value for c, value in zip(columns, cells, strict=False) if c and value}
    if "file" not in named:
        raise InputError(
            f"{path}: row {number}, column 'file': empty; name an image or remove the row"
        )
    return named


def _sample(cells: Mapping[str, str], path: Path, number: int) -> Sample:
    where = f"{path}: row {number}"
    file = located(cells["file"], path.parent)
    regions = cells.get("regions")
    return Sample(
        name=unicodedata.normalize("NFC", cells.get("sample") or _stem(file)),
        file=file,
        animal=cells.get("animal"),
        condition=cells.get("condition"),
        replicate=cells.get("replicate"),
        control=_control(cells.get("control"), where),
        code=cells.get("code"),
        regions=None if regions is None else located(regions, path.parent),
        overrides={
            c.removeprefix(_OVERRIDE): v for c, v in cells.items() if c.startswith(_OVERRIDE)
        },
        base=path.parent,
        metadata={
            c: v for c, v in cells.items() if c not in COLUMNS and not c.startswith(_OVERRIDE)
        },
        where=where,
    )


def _control(text: str | None, where: str) -> str | None:
    if text is None:
        return None
    kind, colon, stain = (part.strip() for part in text.partition(":"))
    bare = re.sub(r"[\s_\-]+", "-", kind).lower()
    if bare == "single" and stain:
        return f"single:{stain}"
    if bare in CONTROLS and not colon:
        return bare
    kinds = ("single", *CONTROLS[1:])
    hint = "" if bare in kinds else near_miss(bare, kinds)
    raise InputError(
        f"{where}, column 'control': expected {', '.join(CONTROLS)} or nothing, got {text!r}{hint}"
    )


def located(text: str, folder: Path | None) -> Path:
    """The file that a cell of a sheet in ``folder`` names (in the working directory if None)."""
    folder = folder or Path()
    path = folder / Path(text).expanduser()
    if "\\" in text and not path.exists():
        path = folder / PureWindowsPath(text).as_posix()  # written on Windows, read elsewhere
    return path


def image_ending(file: Path) -> str:
    """The ending of a file by which its format is known.

    Examples
    --------
    >>> image_ending(Path("KO.1.ome.tif")), image_ending(Path("KO.1.czi"))
    ('.ome.tif', '.czi')
    """
    found = _IMAGE_ENDING.search(file.name)
    return found[0] if found else file.suffix


def _stem(file: Path) -> str:
    without = _IMAGE_ENDING.sub("", file.name)
    return without if without != file.name else file.stem


def _require_files(samples: Sequence[Sample], path: Path) -> None:
    for column in ("file", "regions"):
        wanted = [(s, getattr(s, column)) for s in samples if getattr(s, column) is not None]
        missing = [
            f"{file} (row {s.where.rpartition(' ')[2]})" for s, file in wanted if not file.exists()
        ]
        if missing:
            raise FileMissingError(f"{path}: column {column!r}: {_missing_files(missing)}")


def _missing_files(missing: Sequence[str]) -> str:
    named = ", ".join(missing[:_MOST_NAMED])
    more = len(missing) - _MOST_NAMED
    rest = f" and {more} more" if more > 0 else ""
    does = "does" if len(missing) == 1 else "do"
    return f"{named}{rest} {does} not exist; paths are relative to the folder of the sheet or list"


def _distinct(samples: Sequence[Sample], given: Sequence[bool]) -> tuple[Sample, ...]:
    """Tell files of one name by their folders; refuse names and codes that are there twice."""
    counts = Counter(s.name.casefold() for s in samples)
    named = tuple(
        s if own or counts[s.name.casefold()] == 1 else replace(s, name=f"{_parent(s)}_{s.name}")
        for s, own in zip(samples, given, strict=True)
    )
    _refuse_doubled(named, "sample", [s.name for s in named])
    _refuse_doubled(named, "code", [s.code for s in named])
    return named


def _refuse_doubled(samples: Sequence[Sample], column: str, names: Sequence[str | None]) -> None:
    seen: dict[str, Sample] = {}
    for sample, name in zip(samples, names, strict=True):
        if name is None:
            continue
        earlier = seen.setdefault(name.casefold(), sample)
        if earlier is not sample:
            there = earlier.where.rpartition(": ")[2]
            raise InputError(
                f"{sample.where}, column {column!r}: {name!r} is also the {column} of {there}; "
                f"give each row its own {column}"
            )


def _parent(sample: Sample) -> str:
    return sample.file.resolve().parent.name or "root"
