"""How far a run is, told to whoever wants to know."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as RichProgress


class Progress(Protocol):
    """What a run reports to."""

    def begin(self, step: str) -> None:
        """A step starts."""

    def advance(self, done: int, total: int) -> None:
        """The present step has done ``done`` of ``total`` pieces."""

    def end(self, outcome: str) -> None:
        """The present step is over: ``"done"``, ``"unchanged"`` or ``"failed"``."""


class Quiet:
    """Reports nothing."""

    def begin(self, step: str) -> None:
        """Do nothing."""

    def advance(self, done: int, total: int) -> None:
        """Do nothing."""

    def end(self, outcome: str) -> None:
        """Do nothing."""


class Bars:
    """One bar per step, drawn by rich."""

    def __init__(self, progress: RichProgress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None)
        self._started = False

    def begin(self, step: str) -> None:
        """Start a bar for ``step``."""
        if self._started:
            self._task = self._progress.add_task(step, total=None)
        else:
            self._progress.update(self._task, description=step)
        self._started = True

    def advance(self, done: int, total: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total)

    def end(self, outcome: str) -> None:
        """Fill the bar, or leave it where the step failed."""
        if outcome == "failed":
            return
        self._progress.update(self._task, completed=1, total=1)
        if outcome == "unchanged":
            task = self._progress.tasks[self._task]
            self._progress.update(self._task, description=f"{task.description} (unchanged)")


@contextmanager
def terminal_progress() -> Iterator[Progress]:
    """Bars on stderr when it is a terminal, silence otherwise."""
    if not sys.stderr.isatty():
        yield Quiet()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeElapsedColumn())
    with RichProgress(*columns, console=Console(stderr=True)) as progress:
        yield Bars(progress)
