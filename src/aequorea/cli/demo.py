"""``aequorea demo``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def demo(
    workflow: Annotated[
        Literal["coloc", "cells", "confocal", "register"] | None,
        Parameter(help="One workflow only. [default: all]"),
    ] = None,
    /,
    *,
    out: Annotated[Path, Parameter(help="Directory for the results.")] = Path("aequorea-demo"),
) -> None:
    """Run every workflow on real images shipped with the package and on simulated ones.

    Takes a few minutes, longest the first time, when code is compiled. Open index.html afterwards.
    """
    from aequorea.pipelines.demo import run_demo
    from aequorea.pipelines.run.progress import terminal_progress

    verdicts: list[str] = []
    with terminal_progress() as progress:
        page = run_demo(out, only=workflow, progress=progress, tell=verdicts.append)
    for verdict in verdicts:
        sys.stdout.write(f"{verdict}\n")
    sys.stdout.write(f"{page}\n")
