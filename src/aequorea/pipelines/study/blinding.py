"""Codes in place of names, and the key that undoes them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from typing import TYPE_CHECKING, Any

from aequorea.errors import FileFormatError, FileMissingError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from aequorea.pipelines.study.sample import Sample

KEY_FILE = "unblind.csv"
_COLUMNS = ("sample", "animal", "condition", "replicate", "control")
_LETTERS = 8  # 40 bits: two of 10,000 samples share a code in 1 of 20,000 studies


def codes_of(samples: Sequence[Sample]) -> tuple[str, ...]:
    """A code for each sample: that of the sheet, else one made from its name.

    Codes do not depend on other samples, so that a sample keeps its own when more are added.

    Raises
    ------
    InputError
        If two samples would share a code.
    """
    codes = tuple(s.code or _generated(s.name) for s in samples)
    seen: dict[str, Sample] = {}
    for code, sample in zip(codes, samples, strict=True):
        if (earlier := seen.setdefault(code.casefold(), sample)) is not sample:
            raise InputError(
                f"{sample.where}: has the code {code!r} of {earlier.where}; "
                "give each sample its own in the column 'code'"
            )
    return codes


def key_text(samples: Mapping[str, Sample]) -> str:
    """The key file: what stands behind each code.

    Parameters
    ----------
    samples : mapping of str to Sample
        By code.
    """
    metadata = list(dict.fromkeys(c for s in samples.values() for c in s.metadata))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["code", *_COLUMNS, "file", *metadata])
    for code, sample in samples.items():
        facts = sample.facts()
        writer.writerow(
            [
                code,
                *("" if facts[c] is None else facts[c] for c in _COLUMNS),
                sample.file,
                *(sample.metadata.get(c, "") for c in metadata),
            ]
        )
    return stream.getvalue()


def read_key(directory: Path) -> dict[str, tuple[dict[str, Any], dict[str, str]]]:
    """Facts and metadata of every sample by its code.

    Raises
    ------
    FileMissingError
        If the key file is not there.
    FileFormatError
        If it is damaged.
    """
    path = directory / KEY_FILE
    if not path.is_file():
        raise FileMissingError(f"{path}: no such key file; put it back to unblind the study")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    known = ["code", *_COLUMNS, "file"]
    if not rows or rows[0][: len(known)] != known or any(len(r) != len(rows[0]) for r in rows):
        raise FileFormatError(f"{path}: is not a key file as aequorea wrote it; restore it")
    found = {}
    for row in rows[1:]:
        cells = dict(zip(rows[0], row, strict=True))
        facts: dict[str, Any] = {c: cells[c] or None for c in _COLUMNS}
        facts["code"] = cells["code"]
        found[cells["code"]] = facts, {c: v for c, v in cells.items() if c not in known and v}
    return found


def _generated(name: str) -> str:
    digest = hashlib.sha256(name.encode()).digest()
    return base64.b32encode(digest).decode()[:_LETTERS]
