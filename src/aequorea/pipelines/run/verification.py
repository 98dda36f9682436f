"""Is a run still what it says: recompute every hash of its inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aequorea.errors import FileMissingError, InputError, RunError
from aequorea.pipelines.run.directory import read_record
from aequorea.pipelines.run.provenance import sha256_path


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What a check of a run found.

    Attributes
    ----------
    checked : int
        Number of inputs and outputs looked at.
    problems : tuple of str
        One line each; empty when all is as recorded.
    """

    checked: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything is as recorded."""
        return not self.problems


def verify(run_dir: Path) -> Verification:
    """Recompute the hashes of a run's inputs and outputs.

    Parameters
    ----------
    run_dir : Path

    Returns
    -------
    Verification
        Missing and changed files, and steps that did not finish.

    Raises
    ------
    InputError
        If ``run_dir`` is not a run directory.
    """
    record = open_run(run_dir)
    problems = [
        f"step {name}: {state.get('state', 'not run')}"
        for name, state in record["steps"].items()
        if state.get("state") != "done"
    ]
    expected = [
        (f"input {role}", Path(facts["path"]), facts["sha256"])
        for role, facts in record["inputs"].items()
    ]
    for state in record["steps"].values():
        for output, facts in state.get("outputs", {}).items():
            expected.append((f"output of {run_dir}", run_dir / output, facts["sha256"]))
    for kind, path, sha256 in expected:
        if not path.exists():
            problems.append(f"{path}: missing ({kind})")
        elif sha256_path(path) != sha256:
            problems.append(f"{path}: changed since the run ({kind})")
    return Verification(checked=len(expected), problems=tuple(problems))


def open_run(run_dir: Path) -> dict[str, Any]:
    """The record of a run directory that a user named.

    Raises
    ------
    InputError
        If it does not exist or is not a run directory.
    """
    if not run_dir.exists():
        raise FileMissingError(f"{run_dir}: no such run directory")
    try:
        return read_record(run_dir)
    except RunError as error:
        raise InputError(str(error)) from None
