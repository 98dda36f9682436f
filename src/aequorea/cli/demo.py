"""``aequorea demo``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def demo(
    *,
    out: Annotated[Path, Parameter(help="Directory for the results.")] = Path("aequorea-demo"),
) -> None:
    """Run every workflow on real images shipped with the package and on simulated ones.

    Takes less than two minutes. Open index.html afterwards.
    """
    from aequorea.pipelines.demo import run_demo
    from aequorea.pipelines.run.progress import terminal_progress

    with terminal_progress() as progress:
        page = run_demo(out, progress=progress)
    sys.stdout.write(f"{page}\n")
