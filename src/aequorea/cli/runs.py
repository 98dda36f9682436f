"""``aequorea verify``, ``aequorea report`` and ``aequorea unblind``."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path  # noqa: TC003 - cyclopts reads annotations

from aequorea.errors import InputError

_REPORTS = {
    "cells": "aequorea.pipelines.cells.workflow",
    "cells study": "aequorea.pipelines.cells.study",
    "colocalization": "aequorea.pipelines.colocalization",
    "confocal": "aequorea.pipelines.confocal",
    "confocal study": "aequorea.pipelines.confocal.study",
    "register": "aequorea.pipelines.movies",
}


def verify(run: Path, /) -> int:
    """Check that a run is still what it says: recompute the hashes of all inputs and outputs.

    Exit code 1 if anything is missing, changed or unfinished.

    Parameters
    ----------
    run : Path
        Directory of the run.
    """
    from aequorea.pipelines.run.verification import verify as recompute

    found = recompute(run)
    for problem in found.problems:
        sys.stderr.write(f"aequorea: {problem}\n")
    if not found.ok:
        return 1
    sys.stdout.write(f"{run}: {found.checked} inputs and outputs are as recorded\n")
    return 0


def report(run: Path, /) -> None:
    """Rebuild report.html from the tables and images of a finished run.

    Parameters
    ----------
    run : Path
        Directory of the run.
    """
    from aequorea.pipelines.run.verification import open_run

    workflow = open_run(run)["workflow"]
    if workflow not in _REPORTS:
        raise InputError(f"{run}: no report is known for a run of {workflow!r}")
    rebuild = import_module(_REPORTS[workflow]).rebuild_report
    sys.stdout.write(f"{rebuild(run)}\n")


def unblind(study: Path, /) -> None:
    """Write the tables of a blinded study again, with what its samples are.

    Run the study once more afterwards: its conditions are then compared.

    Parameters
    ----------
    study : Path
        Directory of the study; its key lies in the folder beside it.
    """
    from aequorea.pipelines.study import unblind as write_openly

    write_openly(study)
    sys.stdout.write(f"{study}\n")
