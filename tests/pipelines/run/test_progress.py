"""Bars on a terminal, silence elsewhere."""

import io

from rich.console import Console
from rich.progress import Progress

from aequorea.pipelines.run.progress import Bars, Quiet, terminal_progress


def test_bars_say_what_was_done_and_what_was_current():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80)
    with Progress(console=console) as progress:
        bars = Bars(progress)
        for step, outcome in (("pixel", "done"), ("objects", "unchanged"), ("report", "failed")):
            bars.begin(step)
            bars.advance(1, 4)
            bars.end(outcome)
    assert [t.description for t in progress.tasks] == ["pixel", "objects (unchanged)", "report"]
    assert [t.completed / t.total for t in progress.tasks] == [1, 1, 0.25]


def test_nothing_is_drawn_when_nobody_looks(capsys):
    with terminal_progress() as progress:
        assert isinstance(progress, Quiet)
        progress.begin("pixel")
        progress.advance(1, 2)
        progress.end("done")
    assert capsys.readouterr() == ("", "")
