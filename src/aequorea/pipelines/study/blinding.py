"""Codes in place of names, links in place of files, and the key that undoes them.

What tells the samples of a blinded study lies beside its directory, not in it: ``study.aequorea``
has a ``study-key.aequorea`` with the key file and, under ``images``, links of coded names to the
files. The directory itself can be given to whoever must not know.
"""

from __future__ import annotations

import csv
import io
import re
import secrets
from typing import TYPE_CHECKING, Any

from aequorea.errors import FileFormatError, FileMissingError, InputError, OutputError
from aequorea.io.atomic import replacing
from aequorea.io.tables import guarded, unguarded
from aequorea.pipelines.study.sheet import image_ending, located
from aequorea.pipelines.study.state import STATE, earlier_state, read_state

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from aequorea.pipelines.study.sample import Sample

KEY_FILE = "unblind.csv"
_IMAGES = "images"
_SUFFIX = ".aequorea"  # which patterns of files pass over, as they do results
_COLUMNS = ("sample", "animal", "condition", "replicate", "control")
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # without those that look alike
_LENGTH = 8


def key_folder(directory: Path) -> Path:
    """Where a study keeps the key of its codes.

    Examples
    --------
    >>> from pathlib import Path
    >>> key_folder(Path("brains.aequorea")).name
    'brains-key.aequorea'
    """
    whole = directory.resolve()
    return whole.with_name(f"{whole.name.removesuffix(_SUFFIX)}-key{_SUFFIX}")


def coded(samples: Sequence[Sample], directory: Path) -> dict[str, Sample]:
    """Samples by their codes: those of the sheet, else of the key file, else new ones by chance.

    Raises
    ------
    InputError
        If two samples would share a code, or the key file is damaged.
    FileMissingError
        If the study was begun and its key file is gone.
    OutputError
        If there is a study that cannot be continued.
    """
    known: dict[str, str] = {}
    earlier = earlier_state(directory)
    if (earlier is not None and earlier.blind) or (key_folder(directory) / KEY_FILE).is_file():
        known = {str(facts["sample"]): code for code, (facts, _) in read_key(directory).items()}
    codes = codes_of(samples, known)
    return dict(zip(codes, samples, strict=True))


def codes_of(samples: Sequence[Sample], known: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """A code for each sample: that of the sheet, else the one it had, else one by chance.

    Parameters
    ----------
    samples : sequence of Sample
    known : mapping of str to str, optional
        Codes by the name of the sample.

    Raises
    ------
    InputError
        If two samples would share a code.
    """
    before = known or {}
    taken = {c.casefold() for c in [*before.values(), *(s.code for s in samples if s.code)]}
    codes = []
    seen: dict[str, Sample] = {}
    for sample in samples:
        code = sample.code or before.get(sample.name) or _new_code(taken)
        if (earlier := seen.setdefault(code.casefold(), sample)) is not sample:
            raise InputError(
                f"{sample.where}: has the code {code!r} of {earlier.where}; "
                "give each sample its own in the column 'code'"
            )
        codes.append(code)
    return tuple(codes)


def veiled(
    sample: Sample, code: str, directory: Path, *, path_keys: Collection[str] = ()
) -> tuple[Sample, dict[Path, Path]]:
    """A sample under its code, whose files are links, and what these must point to.

    Parameters
    ----------
    sample : Sample
    code : str
    directory : Path
        Of the study.
    path_keys : collection of str
        Parameters of the sample that name files.

    Returns
    -------
    sample : Sample
    links : dict of Path to Path
        Files by link, absolute; see :func:`make_links`.
    """
    links: dict[Path, Path] = {}

    def link(file: Path, of: str = "") -> Path:
        path = key_folder(directory) / _IMAGES / f"{code}{of}{image_ending(file)}"
        links[path] = file.expanduser().resolve()
        return path

    overrides = dict(sample.overrides)
    for key in overrides.keys() & set(path_keys):
        overrides[key] = str(link(located(overrides[key], sample.base), f"_{key}"))
    hidden = sample.blinded(
        code,
        file=link(sample.file),
        regions=None if sample.regions is None else link(sample.regions, "_regions"),
        overrides=overrides,
    )
    return hidden, links


def make_links(links: Mapping[Path, Path]) -> None:
    """Make links, or have them point where they must.

    Raises
    ------
    OutputError
        If the system does not allow it.
    """
    for path, file in links.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink() and path.readlink() == file:
                continue
            new = path.with_name(f".new-{path.name}")
            new.unlink(missing_ok=True)
            new.symlink_to(file, target_is_directory=file.is_dir())
            new.replace(path)
        except OSError as error:
            raise OutputError(
                f"{path}: no link can be made ({error.strerror}), and a blinded study needs them; "
                "give an --out beside which you may write (on Windows, turn on Developer Mode)"
            ) from None


def as_shown(samples: Sequence[Sample], directory: Path) -> tuple[Sample, ...]:
    """Samples as a study shows them now: under their codes as long as it is blinded.

    Parameters
    ----------
    samples : sequence of Sample
    directory : Path
        Of the study; if there is none yet, samples are shown as they are.
    """
    if not (directory / STATE).is_file():
        return tuple(samples)
    state = read_state(directory)
    if not state.blind or state.unblinded:
        return tuple(samples)
    by_code = sorted(coded(samples, directory).items())
    return tuple(veiled(sample, code, directory)[0] for code, sample in by_code)


def told_names(samples: Sequence[Sample], directory: Path) -> dict[str, str]:
    """What the tables of an unblinded study call its samples, by their codes; else empty.

    Parameters
    ----------
    samples : sequence of Sample
    directory : Path
        Of the study, which was begun.
    """
    if not read_state(directory).unblinded:
        return {}
    return {code: sample.name for code, sample in coded(samples, directory).items()}


def write_key(directory: Path, samples: Mapping[str, Sample]) -> None:
    """Write the key file: what stands behind each code, and stood behind earlier ones.

    Parameters
    ----------
    directory : Path
        Of the study.
    samples : mapping of str to Sample
        By code, in the order that tables have once the study is unblinded.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    path = key_folder(directory) / KEY_FILE
    names = {s.name for s in samples.values()}
    rows = {code: _row(code, sample) for code, sample in samples.items()}
    for code, row in (_read_rows(path) if path.is_file() else {}).items():
        if row["sample"] not in names:
            rows.setdefault(code, row)
    columns = dict.fromkeys(c for row in rows.values() for c in row)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(guarded, columns))
    for row in rows.values():
        writer.writerow([guarded(row.get(c, "")) for c in columns])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: cannot be made ({error.strerror})") from None
    with replacing(path, overwrite=True) as temporary:
        temporary.write_text(stream.getvalue(), encoding="utf-8", newline="")


def read_key(directory: Path) -> dict[str, tuple[dict[str, Any], dict[str, str]]]:
    """Facts and metadata of every sample by its code.

    Raises
    ------
    FileMissingError
        If the key file is not there.
    FileFormatError
        If it is damaged.
    """
    path = key_folder(directory) / KEY_FILE
    if not path.is_file():
        raise FileMissingError(f"{path}: no such key file; put it back to go on with the study")
    known = ["code", *_COLUMNS, "file"]
    found = {}
    for code, row in _read_rows(path).items():
        facts: dict[str, Any] = {c: row[c] or None for c in _COLUMNS}
        facts["code"] = code
        found[code] = facts, {c: v for c, v in row.items() if c not in known and v}
    return found


def conceal(text: str, links: Mapping[Path, Path]) -> str:
    """Text without the names of the files that links stand for.

    Examples
    --------
    >>> from pathlib import Path
    >>> conceal("/data/KO 3.czi: is bad", {Path("/key/X7.czi"): Path("/data/KO 3.czi")})
    '/key/X7.czi: is bad'
    """
    for link, file in links.items():
        for name, code in ((str(file), str(link)), (file.name, link.name)):
            found = rf"(?<![\w.-]){re.escape(name)}(?!\w)"
            text = re.sub(found, code.replace("\\", r"\\"), text)
    return text


def _row(code: str, sample: Sample) -> dict[str, str]:
    facts = sample.facts()
    known = {c: "" if facts[c] is None else str(facts[c]) for c in _COLUMNS}
    return {"code": code, **known, "file": str(sample.file), **sample.metadata}


def _read_rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [[unguarded(cell) for cell in row] for row in csv.reader(stream)]
    known = ["code", *_COLUMNS, "file"]
    if not rows or rows[0][: len(known)] != known or any(len(r) != len(rows[0]) for r in rows):
        raise FileFormatError(f"{path}: is not a key file as aequorea wrote it; restore it")
    return {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}


def _new_code(taken: set[str]) -> str:
    while True:
        code = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
        if code.casefold() not in taken:
            taken.add(code.casefold())
            return code
