"""The directory of one run: claimed by one process at a time, never half-written.

Layout: ``run.json``, ``images.zarr``, ``tables/``, ``report.html``. While a run is going on,
``.aequorea/`` holds its lock and the results being written; these move to their place by a
rename, and ``run.json`` says which of them are to be believed.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from aequorea.errors import OutputError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = "aequorea-run"
FORMAT_VERSION = 1
RECORD = "run.json"
LOG = "error.log"
_WORK = ".aequorea"
_ALTERED = "altered"
_REQUIRED = ("workflow", "inputs", "parameters", "steps", "notes", "timings")

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class RunDirectory:
    """A run directory that this process holds. Made by :func:`claim`.

    Attributes
    ----------
    path : Path
    created : bool
        Whether this process made the directory.
    """

    def __init__(self, path: Path, *, created: bool) -> None:
        self.path = path
        self.created = created

    def read_record(self) -> dict[str, Any] | None:
        """What ``run.json`` says, or ``None`` before it is first written."""
        return read_record(self.path) if (self.path / RECORD).exists() else None

    def write_record(self, record: dict[str, Any]) -> None:
        """Replace ``run.json`` in one instant."""
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        temporary = self.path / _WORK / RECORD
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self.path / RECORD)

    def scratch(self, step: str) -> Path:
        """An empty folder for a step to write in."""
        folder = self.path / _WORK / "partial" / step
        _remove(folder)
        folder.mkdir(parents=True)
        return folder

    def publish(self, scratch: Path, relative: str) -> None:
        """Move one finished result to its place, by renames only."""
        source, target = scratch / relative, self.path / relative
        _sync(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            discarded = self.path / _WORK / "discarded"
            _remove(discarded)
            target.replace(discarded)
            source.replace(target)
            _remove(discarded)
        else:
            source.replace(target)

    def set_aside(self, relative: str) -> str:
        """Move a result that somebody altered out of the way; says where it is now."""
        for number in count(1):
            kept = f"{_ALTERED if number == 1 else f'{_ALTERED}-{number}'}/{relative}"
            if not (self.path / kept).exists():
                break
        target = self.path / kept
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.path / relative).replace(target)
        return kept

    def remove(self, relative: str) -> None:
        """Remove a result that the run does not have any more."""
        path = self.path / relative
        if path.is_dir():
            discarded = self.path / _WORK / "discarded"
            _remove(discarded)
            path.replace(discarded)
            _remove(discarded)
        else:
            path.unlink(missing_ok=True)

    def holds(self, relative: str) -> bool:
        """Whether there is such a file or folder, below the directory."""
        path, home = (self.path / relative).resolve(), self.path.resolve()
        return path.exists() and path != home and path.is_relative_to(home)

    def clean(self) -> None:
        """Remove what unfinished steps left behind."""
        _remove(self.path / _WORK / "partial")
        _remove(self.path / _WORK / "discarded")

    def discard(self) -> None:
        """Remove the directory, if this process made it."""
        if self.created:
            shutil.rmtree(self.path)


@contextmanager
def claim(path: Path, *, workflow: str) -> Iterator[RunDirectory]:
    """Take hold of a run directory, making it if need be.

    Parameters
    ----------
    path : Path
        A new or empty directory, or an earlier run of the same workflow.
    workflow : str

    Yields
    ------
    RunDirectory
        Released at exit. The lock of a process that died is free.

    Raises
    ------
    OutputError
        If the directory holds something else, cannot be written, or is in use.
    """
    check_target(path, workflow=workflow)
    created = not path.exists()
    try:
        (path / _WORK).mkdir(parents=True, exist_ok=True)
        lock = _lock(path / _WORK / "lock")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
    if lock is None:
        holder = (path / _WORK / "lock").read_text(encoding="utf-8").strip()
        raise OutputError(
            f"{path}: another process is running here ({holder}); wait for it or give another --out"
        )
    directory = RunDirectory(path, created=created)
    try:
        check_target(path, workflow=workflow)
        directory.clean()
        yield directory
    finally:
        if path.exists():
            directory.clean()
            (path / _WORK / "lock").unlink(missing_ok=True)
            _remove(path / _WORK)
        os.close(lock)


def check_target(path: Path, *, workflow: str) -> None:
    """Refuse a directory that is not, or cannot become, a run of ``workflow``.

    Raises
    ------
    OutputError
        One line that names the directory and the way out.
    """
    try:
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path}: is a file; --out names the directory of the run")
        entries = {p.name for p in path.iterdir()} if path.exists() else set()
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path}: cannot be used ({error.strerror})") from None
    if not entries - {_WORK}:
        return
    if RECORD not in entries:
        raise OutputError(
            f"{path}: exists and is not an aequorea run, so nothing is written to it; "
            "give another --out"
        )
    try:
        record = read_record(path)
    except RunError as error:
        raise OutputError(f"{error}; give another --out") from None
    if record["workflow"] != workflow:
        raise OutputError(
            f"{path}: is a run of {record['workflow']!r}, not of {workflow!r}; give another --out"
        )


def read_record(path: Path) -> dict[str, Any]:
    """The record of a run directory.

    Raises
    ------
    RunError
        If ``path`` is not a run directory of a version that can be read.
    """
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RunError(f"{path}: is not an aequorea run (no readable {RECORD})") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise RunError(f"{path}: {RECORD} is not the record of an aequorea run")
    if (version := record.get("format_version")) != FORMAT_VERSION:
        raise RunError(
            f"{path}: {RECORD} has format version {version}, this aequorea "
            f"reads {FORMAT_VERSION}; use the version named in it"
        )
    missing = [key for key in _REQUIRED if key not in record]
    if missing:
        raise RunError(f"{path}: {RECORD} is damaged (no {', '.join(missing)})")
    return record


def _lock(path: Path) -> int | None:
    """Hold ``path`` as a lock that the system drops with the process; ``None`` if it is held."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _acquire(descriptor):
            os.close(descriptor)
            return None
        # The file may have been removed by its last holder between open and lock.
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            break
        os.close(descriptor)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
    return descriptor


def _acquire(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _sync(path: Path) -> None:
    """Have the bytes of a result on the disk before its name says so."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
