"""One confocal stack, from the file to numbers per cell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aequorea.errors import FileMissingError, InputError
from aequorea.pipelines.confocal.fields import open_confocal
from aequorea.pipelines.confocal.parameters import (
    ConfocalParameters,
    confocal_parameters,
    numbered_role,
)
from aequorea.pipelines.confocal.steps import ConfocalSteps, write_page
from aequorea.pipelines.run.directory import check_target
from aequorea.pipelines.run.execution import Execution, limited_threads
from aequorea.pipelines.run.parameters import Effective, as_given, merge_parameters
from aequorea.pipelines.run.steps import (
    RunResult,
    collected_warnings,
    rerun_step,
    run_steps,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from aequorea.pipelines.run.progress import Progress

WORKFLOW = "confocal"
FIRST_PASS_ENDS = "candidates"  # noqa: S105


def analyse(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    parameters: ConfocalParameters | Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Cells, nuclei and puncta of one stack, from the file to numbers per cell.

    Parameters
    ----------
    inputs : path or sequence of paths
        One stack with channels, or one stack per channel.
    parameters : ConfocalParameters or mapping, optional
        A mapping is nested as a configuration file is:
        ``{"nuclei": {"channel": "DAPI"}, "cells": {"channel": "WGA"},
        "puncta": {"channel": "Ryr2", "spot_sigma_yx_um": 0.13}}``; further kinds are ``puncta2``,
        …, continuous stains ``protein``, ``protein2``, …, and structures to measure distances to
        ``landmark``, ``landmark2``, …
    out : path, optional
        Directory of the run; ``./<input name>.aequorea`` if not given.
    workers : int, optional
        Threads; changes no result.
    progress : Progress, optional

    Returns
    -------
    RunResult
        ``result.table("cells")``, ``"puncta"``, ``"chance"``, ``"shells"``, ``"distributions"``.

    Raises
    ------
    InputError
        For inputs or parameters that cannot be used; nothing is left behind.
    CalibrationError
        If a voxel size is not known.
    OutputError
        If ``out`` is something else, in use, or cannot be written.
    RunError
        If a step fails; the traceback is in ``error.log`` of the directory.
    """
    alone = isinstance(inputs, str) or hasattr(inputs, "__fspath__")
    files = [Path(inputs)] if alone else [Path(p) for p in inputs]  # type: ignore[arg-type,union-attr]
    return run_confocal(
        files,
        out=default_out(files) if out is None else Path(out),
        parameters=effective_parameters(parameters),
        execution=Execution(workers=workers),
        progress=progress,
    )


def effective_parameters(
    parameters: ConfocalParameters | Mapping[str, Any] | None,
) -> Effective[ConfocalParameters]:
    """Parameters from Python, with their sources."""
    if isinstance(parameters, ConfocalParameters):
        return as_given(parameters)
    given = dict(parameters or {})
    return merge_parameters(model_for(given), toml=given, toml_name="parameters", source="argument")


def model_for(tree: Mapping[str, Any]) -> type[ConfocalParameters]:
    """The parameter model with as many puncta, proteins and landmarks as a configuration names.

    Examples
    --------
    >>> model_for({"puncta": {}, "puncta2": {}, "protein": {}})().roles
    ('nuclei', 'cells', 'puncta', 'puncta2', 'protein')
    """

    def number(kind: str) -> int:
        return max((k + 1 for k in range(64) if numbered_role(kind, k) in tree), default=0)

    return confocal_parameters(number("puncta"), number("protein"), number("landmark"))


def run_confocal(
    files: Sequence[Path],
    *,
    out: Path,
    parameters: Effective[ConfocalParameters],
    execution: Execution | None = None,
    thresholds: Mapping[str, float] | None = None,
    progress: Progress | None = None,
    until: str | None = None,
) -> RunResult:
    """:func:`analyse` with parameters whose sources are known.

    Parameters
    ----------
    thresholds : mapping of role to float, optional
        Common thresholds of a batch, for kinds of puncta whose own is automatic.
    until : str, optional
        Last step to run now.
    """
    execution = execution or Execution()
    values = parameters.values
    check_target(out, workflow=WORKFLOW)
    with collected_warnings() as notes:
        field = open_confocal(files, values)
    inputs = _inputs(files, values)
    plan = ConfocalSteps(field, values, thresholds or {})
    with limited_threads(execution.n_workers):
        return run_steps(
            plan.steps(tuple(inputs)),
            out,
            workflow=WORKFLOW,
            inputs=inputs,
            parameters=parameters,
            seeds={"seed": values.seed},
            execution=execution.model_dump(mode="json"),
            notes=notes,
            progress=progress,
            until=until,
        )


def default_out(files: Sequence[Path]) -> Path:
    """Where a run goes when nobody says."""
    return Path(f"{files[0].name}.aequorea")


def rebuild_report(run_dir: Path) -> Path:
    """Write the page of a finished run again.

    Raises
    ------
    InputError
        If ``run_dir`` is not a finished run of this workflow.
    """
    rerun_step(run_dir, "report", write_page, workflow=WORKFLOW)
    return run_dir / "report.html"


def _inputs(files: Sequence[Path], parameters: ConfocalParameters) -> dict[str, Path]:
    inputs = {"image": files[0]} if len(files) == 1 else {}
    if not inputs:
        inputs = {f"image_{k}": file for k, file in enumerate(files)}
    for role in ("nuclei", "cells"):
        options = getattr(parameters, role)
        for kind in ("labels", "edited"):
            path: Path | None = getattr(options, kind)
            if path is not None:
                if not path.exists():
                    raise FileMissingError(f"{role}.{kind}: {path} does not exist")
                inputs[f"{kind}_{role}"] = path
    for role in parameters.landmark_roles:
        labels = parameters.landmark_of(role).labels
        if labels is not None:
            inputs[f"labels_{role}"] = labels
    for role in parameters.roles:
        for kind in ("dark_image", "flat_field"):
            path = getattr(parameters.channel_of(role), kind)
            if path is not None:
                inputs[f"{kind}_{role}"] = path
    if parameters.chromatic is not None:
        inputs["chromatic"] = parameters.chromatic
    return inputs


def require_puncta_or_protein(parameters: ConfocalParameters) -> None:
    """Refuse a configuration that measures nothing in the cells.

    Raises
    ------
    InputError
        If it names neither puncta nor a protein.
    """
    if not parameters.puncta_roles and not parameters.protein_roles:
        raise InputError(
            "nothing to measure in the cells: give a channel as puncta or protein "
            "(--puncta.channel, --protein.channel, or [channels] of a study)"
        )
