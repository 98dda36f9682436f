"""Cells over many images: a sample sheet, every image by itself, conditions compared by animal."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from aequorea.errors import InputError
from aequorea.pipelines.cells.parameters import CellsParameters, cells_parameters
from aequorea.pipelines.cells.workflow import WORKFLOW, markers_in, run_cells
from aequorea.pipelines.run.execution import Execution
from aequorea.pipelines.study.batch import run_study
from aequorea.pipelines.study.comparison import comparison_step
from aequorea.pipelines.study.controls import controls_step
from aequorea.pipelines.study.definition import Study, load_study

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from aequorea.pipelines.run.progress import Progress
    from aequorea.pipelines.run.steps import RunResult, Step
    from aequorea.pipelines.study.batch import StudyResult
    from aequorea.pipelines.study.sample import Sample

_OVERVIEW = "roi_coloc_overview"


def count_study(
    study: str | os.PathLike[str] | Study,
    *,
    out: str | os.PathLike[str] | None = None,
    workers: int = 1,
    use_gpu: bool = True,
    blind: bool = False,
    flags: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Count the cells of every sample of a study, and compare its conditions.

    Parameters
    ----------
    study : path of a TOML file, or Study
        ``[channels]`` gives ``cell``, ``marker``, ``marker2``, … by name or number; ``[params]``
        is nested as the configuration of one image.
    out : path, optional
        Directory of the study.
    workers : int, default 1
        Images at a time.
    use_gpu : bool
    blind : bool
        Name samples by code and leave conditions out of all tables.
    flags : mapping of str to Any, optional
        Parameters of all samples by field name (``cell__cellprob_threshold``), over the file's.
    progress : Progress, optional

    Returns
    -------
    StudyResult
        ``result.table("cell_summary")`` over all samples, ``result.table("comparison")`` where
        there are conditions; ``result.failed`` says which samples failed and why.

    Raises
    ------
    InputError
        For a study, sheet or parameters that cannot be used.
    OutputError
        If ``out`` cannot be written or holds something else.

    Notes
    -----
    Run again with other late parameters, only what depends on them is computed: network outputs
    and filtered images of every sample are kept.
    """
    loaded = _with_channels(study if isinstance(study, Study) else load_study(study))
    model = _model(loaded)
    loaded.check_parameters(model)
    return run_study(
        loaded,
        partial(
            _count_sample,
            study=loaded,
            use_gpu=use_gpu,
            flags=dict(flags or {}),
            threads=max(1, (os.cpu_count() or 1) // max(1, workers)),
        ),
        out=out,
        workflow=WORKFLOW,
        shared_parameters=loaded.shared_parameters(model, flags=flags),
        summaries=partial(_summaries, study=loaded),
        workers=workers,
        blind=blind,
        progress=progress,
    )


def _with_channels(study: Study) -> Study:
    """Channels of the study as parameters of each channel's group."""
    params: dict[str, Any] = dict(study.params.items())
    for role, channel in study.channels.items():
        if role != "cell" and not role.startswith("marker"):
            raise InputError(
                f"{study.name}: [channels] has {role!r}; expected cell, marker, marker2, …"
            )
        group = dict(params.get(role, {}))
        if "channel" in group:
            raise InputError(
                f"{study.name}: {role} has a channel under [channels] and under [params]; give one"
            )
        params[role] = {"channel": str(channel), **group}
    return replace(study, params=params)


def _model(study: Study) -> type[CellsParameters]:
    alone = bool(study.channels) and "marker" not in study.channels
    return cells_parameters(markers_in(study.params, least=0 if alone else 1))


def _count_sample(
    sample: Sample,
    out: Path,
    *,
    study: Study,
    use_gpu: bool,
    flags: Mapping[str, Any],
    threads: int,
) -> RunResult:
    own = dict(flags)
    if sample.regions is not None:
        own["regions"] = sample.regions
    parameters = study.sample_parameters(sample, _model(study), flags=own)
    return run_cells(
        [sample.file],
        out=out,
        parameters=parameters,
        execution=Execution(workers=threads),
        use_gpu=use_gpu,
    )


def _summaries(names: tuple[str, ...], *, study: Study) -> list[Step]:
    """Conditions compared for every marker, and what the controls say, where there are any."""
    steps: list[Step] = []
    if any(s.is_control for s in study.samples):
        steps.append(controls_step(study.samples, study.channels))
    has_conditions = any(s.condition is not None for s in study.samples if not s.is_control)
    if _OVERVIEW in names and has_conditions:
        corrected = study.params.get("counting", {}).get("counting") == "abercrombie"
        ending = "" if corrected else "_counted"  # corrected counts are no whole numbers
        for role in _model(study)().roles[1:]:
            step = comparison_step(
                _OVERVIEW,
                f"n_{role}_positive_cells{ending}",
                f"n_cells{ending}",
                parameters=study.comparison,
                of="" if role == "marker" else role,
            )
            steps.append(step)
    return steps
