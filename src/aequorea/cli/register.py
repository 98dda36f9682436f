"""``aequorea register`` and ``aequorea estimate``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - cyclopts reads annotations
from typing import Annotated, Any

from cyclopts import Parameter

from aequorea.cli.derive import given_for, with_options
from aequorea.pipelines.movies.parameters import RegisterParameters
from aequorea.pipelines.run.execution import Execution, worded_bytes
from aequorea.pipelines.run.parameters import load_toml, merge_parameters, write_config
from aequorea.pipelines.run.progress import terminal_progress


@with_options(RegisterParameters, Execution)
def register(
    movie: Annotated[Path, Parameter(help="A movie, or the folder of a recording.")],
    *,
    out: Annotated[
        Path | None,
        Parameter(help="Directory of the run. [default: ./<movie name>.aequorea]"),
    ] = None,
    config: Annotated[
        Path | None, Parameter(help="TOML file with parameters; flags win over it.")
    ] = None,
    write_config_to: Annotated[
        Path | None,
        Parameter(
            name="--write-config",
            help="Write the parameters in force to this TOML file, with their meaning, and stop.",
        ),
    ] = None,
    **flags: Any,
) -> None:
    """Find the motion of a movie, and keep it.

    Writes one directory: report.html, motion.npz, tables with every frame, run.json. The movie
    itself stays as it is; its motion is undone when it is read, or stored on request (--store).
    """
    parameters = merge_parameters(
        RegisterParameters,
        toml=load_toml(config) if config else {},
        flags=given_for(RegisterParameters, flags),
        toml_name=str(config),
    )
    execution = merge_parameters(Execution, flags=given_for(Execution, flags)).values
    if write_config_to is not None:
        write_config(parameters.values, write_config_to)
        return

    from aequorea.pipelines.movies.workflow import default_out, run_register

    with terminal_progress() as progress:
        result = run_register(
            movie,
            out=out or default_out(movie),
            parameters=parameters,
            execution=execution,
            progress=progress,
        )
    for warning in result.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    sys.stdout.write(f"{result.report}\n")


@with_options(RegisterParameters, Execution)
def estimate(
    movie: Annotated[Path, Parameter(help="A movie, or the folder of a recording.")],
    *,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="Print JSON instead of words.")
    ] = False,
    **flags: Any,
) -> None:
    """Tell what ``aequorea register`` with these options will take on this machine.

    Registers a few frames to find out; writes nothing.
    """
    parameters = merge_parameters(RegisterParameters, flags=given_for(RegisterParameters, flags))
    execution = merge_parameters(Execution, flags=given_for(Execution, flags)).values

    from aequorea.pipelines.movies.estimates import estimate as estimated

    found = estimated(movie, parameters.values, execution=execution)
    if as_json:
        whole = {"seconds": found.seconds, "memory_bytes": found.memory_bytes}
        facts = asdict(found) | whole | {"disk_bytes": found.disk_bytes}
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
        return
    planes = f", {found.n_planes} planes" if found.n_planes > 1 else ""
    lines = [f"{found.n_frames} frames{planes}, {worded_bytes(found.raw_bytes)} raw"]
    rows = [(s.name, s.seconds, s.memory_bytes, s.disk_bytes) for s in found.steps]
    rows.append(("in all", found.seconds, found.memory_bytes, found.disk_bytes))
    lines.append(f"{'step':18}{'time':>10}{'memory':>12}{'disk':>12}")
    lines += [
        f"{name:18}{_worded_time(seconds):>10}{_worded(memory):>12}{_worded(disk):>12}"
        for name, seconds, memory, disk in rows
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _worded(n_bytes: int) -> str:
    return worded_bytes(n_bytes) if n_bytes else "-"


def _worded_time(seconds: float) -> str:
    """A duration as people say it.

    Examples
    --------
    >>> [_worded_time(s) for s in (0.2, 42, 200, 9000)]
    ['< 1 s', '42 s', '3.3 min', '2.5 h']
    """
    if seconds < 1:
        return "< 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
