"""``aequorea coloc``."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - cyclopts reads annotations
from typing import Annotated, Any

from cyclopts import Parameter

from aequorea.cli.derive import given_for, with_options
from aequorea.errors import InputError
from aequorea.pipelines.colocalization.parameters import ColocalizationParameters
from aequorea.pipelines.run.execution import Execution
from aequorea.pipelines.run.parameters import (
    load_toml,
    merge_parameters,
    with_located_paths,
    write_config,
)
from aequorea.pipelines.run.progress import terminal_progress


@with_options(ColocalizationParameters, Execution)
def coloc(
    *files: Annotated[Path, Parameter(help="One image with channels, or one image per channel.")],
    out: Annotated[
        Path | None,
        Parameter(help="Directory of the run. [default: ./<input name>.aequorea]"),
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
    """Measure the colocalization of two or more channels.

    Writes one directory: report.html, tables, images.zarr, run.json. The same command again
    continues an interrupted run, and recomputes only what a changed parameter touches.
    """
    toml = load_toml(config) if config else {}
    if config:
        toml = with_located_paths(ColocalizationParameters, toml, config.parent)
    parameters = merge_parameters(
        ColocalizationParameters,
        toml=toml,
        flags=given_for(ColocalizationParameters, flags),
        toml_name=str(config),
    )
    execution = merge_parameters(Execution, flags=given_for(Execution, flags)).values
    if write_config_to is not None:
        write_config(parameters.values, write_config_to)
        return
    if not files:
        raise InputError("no image given; expected: aequorea coloc FILE [FILE …]")

    from aequorea.pipelines.colocalization import default_out, run_colocalization

    with terminal_progress() as progress:
        result = run_colocalization(
            files,
            out=out or default_out(files),
            parameters=parameters,
            execution=execution,
            progress=progress,
        )
    for warning in result.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    sys.stdout.write(f"{result.report}\n")
