"""``aequorea register``."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - cyclopts reads annotations
from typing import Annotated, Any

from cyclopts import Parameter

from aequorea.cli.derive import given_for, with_options
from aequorea.pipelines.movies.parameters import RegisterParameters
from aequorea.pipelines.run.execution import Execution
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
