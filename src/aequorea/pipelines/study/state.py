"""``study.json``: which samples are done, failed or still to do, and where."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from aequorea.errors import FileMissingError, OutputError, RunError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from aequorea.pipelines.run.directory import RunDirectory

FORMAT = "aequorea-study"
FORMAT_VERSION = 1
STATE = "study.json"
SAMPLES = "samples"


@dataclass(frozen=True, kw_only=True)
class SampleState:
    """How far one sample is.

    Attributes
    ----------
    state : {"pending", "done", "failed"}
    directory : str
        Of its run, relative to that of the study.
    file : str or None
        The image; ``None`` in a blinded study, whose key file has it.
    message : str
        Why it failed.
    record_sha256 : str or None
        Of what its run depends on and resulted in; the times it took are not part of it.
    tables : mapping of str to str
        SHA-256 of its tables by name.
    warnings : tuple of str
    rejected : bool or None
        Whether somebody rejected it; None where samples are not judged.
    """

    state: Literal["pending", "done", "failed"]
    directory: str
    file: str | None = None
    message: str = ""
    record_sha256: str | None = None
    tables: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    rejected: bool | None = None


@dataclass(frozen=True, kw_only=True)
class StudyState:
    """What ``study.json`` says.

    Attributes
    ----------
    workflow, study : str
    sheet_sha256 : str or None
    blind : bool
        Samples go by their codes.
    unblinded : bool
        The tables of a blinded study tell what its samples are.
    samples : mapping of str to SampleState
        In the order of the tables.
    removed : mapping of str to str
        Directories of samples that are no longer in the study, by name.
    """

    workflow: str
    study: str
    sheet_sha256: str | None = None
    blind: bool = False
    unblinded: bool = False
    samples: Mapping[str, SampleState] = field(default_factory=dict)
    removed: Mapping[str, str] = field(default_factory=dict)


def read_state(directory: Path) -> StudyState:
    """The state of a study.

    Raises
    ------
    FileMissingError
        If there is no ``study.json``.
    RunError
        If it is not of a version that can be read.
    """
    path = directory / STATE
    if not path.is_file():
        raise FileMissingError(f"{directory}: is not the directory of a study (no {STATE})")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RunError(f"{path}: cannot be read; remove it to begin the study again") from None
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise RunError(f"{path}: is not the state of a study")
    if (version := content.pop("format_version", None)) != FORMAT_VERSION:
        raise RunError(
            f"{path}: has format version {version}, this aequorea reads {FORMAT_VERSION}; "
            "use the version that wrote it"
        )
    try:
        samples = {n: _sample_state(facts) for n, facts in content.pop("samples").items()}
        return StudyState(samples=samples, **content)
    except (TypeError, KeyError, AttributeError):
        raise RunError(f"{path}: is damaged; remove it to begin the study again") from None


def earlier_state(directory: Path) -> StudyState | None:
    """The state of a study that may be there already.

    Raises
    ------
    OutputError
        If there is one that cannot be continued.
    """
    try:
        return read_state(directory)
    except FileMissingError:
        return None
    except RunError as error:
        raise OutputError(str(error)) from None


def write_state(directory: RunDirectory, state: StudyState) -> None:
    """Replace ``study.json`` in one instant."""
    content: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(state)}
    write_text(directory, STATE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(directory: RunDirectory, name: str, text: str) -> None:
    """Replace a small file of a study in one instant."""
    temporary = directory.scratch("study") / name
    with temporary.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(directory.path / name)


def _sample_state(facts: Mapping[str, Any]) -> SampleState:
    return SampleState(**{**facts, "warnings": tuple(facts["warnings"])})
