"""Cells over many images: a sample sheet, every image by itself, conditions compared by animal."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from aequorea import __version__
from aequorea.errors import InputError
from aequorea.pipelines.cells.parameters import CellsParameters, cells_parameters
from aequorea.pipelines.cells.thresholds import thresholds_in_use
from aequorea.pipelines.cells.workflow import WORKFLOW, markers_in, run_cells
from aequorea.pipelines.kept_tables import kept_table, table_outputs, write_tables
from aequorea.pipelines.run.execution import Execution
from aequorea.pipelines.run.parameters import flat_values
from aequorea.pipelines.run.steps import Step, rerun_step
from aequorea.pipelines.study.batch import run_study, study_workflow, threads_of_each
from aequorea.pipelines.study.collection import LEADING
from aequorea.pipelines.study.comparison import check_method_of_fractions, comparison_step
from aequorea.pipelines.study.controls import ControlParameters, controls_step
from aequorea.pipelines.study.definition import Study, load_study
from aequorea.pipelines.study.samples import samples_step
from aequorea.pipelines.study.state import read_state

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from aequorea.pipelines.run.parameters import Effective
    from aequorea.pipelines.run.progress import Progress
    from aequorea.pipelines.run.steps import RunResult, StepContext
    from aequorea.pipelines.study.batch import StudyResult
    from aequorea.pipelines.study.sample import Sample

_OVERVIEW = "roi_coloc_overview"
_WHOLE = "compared_counts"


def count_study(
    study: str | os.PathLike[str] | Study,
    *,
    out: str | os.PathLike[str] | None = None,
    workers: int = 1,
    scheduler: str | None = None,
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
    scheduler : str, optional
        Address of a dask scheduler whose workers do the images instead; see
        :func:`aequorea.pipelines.study.run_study`.
    use_gpu : bool
    blind : bool
        Name samples by code and leave conditions out of all tables; see
        :func:`aequorea.pipelines.study.run_study`.
    flags : mapping of str to Any, optional
        Parameters of all samples by field name (``cell__cellprob_threshold``), over the file's.
    progress : Progress, optional

    Returns
    -------
    StudyResult
        ``result.table("cell_summary")`` over all samples, ``result.table("comparison")`` where
        there are conditions; ``result.failed`` says which samples failed and why;
        ``result.summary.report`` is the page of the study.

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
    check_method_of_fractions(loaded.comparison)
    shared = loaded.shared_parameters(model, flags=flags)
    directory = loaded.out if out is None else Path(out)
    return run_study(
        loaded,
        partial(
            _count_sample,
            study=loaded,
            use_gpu=use_gpu,
            flags=dict(flags or {}),
            threads=threads_of_each(workers, scheduler),
        ),
        out=directory,
        workflow=WORKFLOW,
        shared_parameters=shared,
        summaries=partial(
            _summaries, study=loaded, directory=directory, shared=shared, flags=dict(flags or {})
        ),
        workers=workers,
        scheduler=scheduler,
        blind=blind,
        progress=progress,
    )


def rebuild_report(directory: Path) -> Path:
    """Write the page of a finished study again.

    Raises
    ------
    InputError
        If ``directory`` is not a finished study of this workflow.
    """
    rerun_step(directory, "report", write_page, workflow=study_workflow(WORKFLOW))
    return directory / "report.html"


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


def _summaries(
    names: tuple[str, ...],
    *,
    study: Study,
    directory: Path,
    shared: Effective[CellsParameters],
    flags: Mapping[str, Any] | None = None,
) -> list[Step]:
    """What controls say, conditions compared for every marker, and the page."""
    steps = [samples_step(study, directory)]
    if any(s.is_control for s in study.samples):
        steps.append(_controls(study, shared.values, flags))
    has_conditions = any(s.condition is not None for s in study.samples if not s.is_control)
    if _OVERVIEW in names and has_conditions:
        markers = shared.values.roles[1:]
        steps.append(_whole_counts_step(markers))
        for role in markers:
            step = comparison_step(
                _WHOLE,
                f"n_{role}_positive_cells",
                "n_cells",
                parameters=study.comparison,
                of="" if role == "marker" else role,
            )
            steps.append(replace(step, needs=(_WHOLE,)))
    return [*steps, _page(study, directory, shared, ("tables", *(s.name for s in steps)))]


def _whole_counts_step(markers: Sequence[str]) -> Step:
    return Step(
        name=_WHOLE,
        version=1,
        function=partial(_write_whole_counts, markers=markers),
        needs=("tables",),
        parameters={"markers": tuple(markers)},
        outputs=table_outputs(_WHOLE),
    )


def _write_whole_counts(context: StepContext, *, markers: Sequence[str]) -> None:
    table = whole_counts(kept_table(context, _OVERVIEW), markers)
    write_tables(context, **{_WHOLE: table})


def whole_counts(overview: pd.DataFrame, markers: Sequence[str]) -> pd.DataFrame:
    """The numbers that are compared: of the cells that count, before any correction.

    Parameters
    ----------
    overview : DataFrame
        The overview of all samples, each counted in its own way; corrected numbers
        (Abercrombie) are no whole ones and allow no comparison of fractions.
    markers : sequence of str
        Their roles.

    Returns
    -------
    DataFrame
        What identifies each row, ``n_cells`` and ``n_<marker>_positive_cells``.
    """
    known = [c for c in (*LEADING, "roi_id", "roi_name") if c in overview]
    table = overview[known].copy()
    corrected = pd.Series(data=False, index=overview.index)
    if "section_um" in overview:  # what only a corrected row has
        corrected = overview["section_um"].notna()
    for name in ("n_cells", *(f"n_{role}_positive_cells" for role in markers)):
        plain = overview[f"{name}_counted"].where(~corrected, overview[name])
        table[name] = plain.astype("int64")
    return table


def _controls(study: Study, parameters: CellsParameters, flags: Mapping[str, Any] | None) -> Step:
    options, model = ControlParameters(), _model(study)
    return controls_step(
        study.samples,
        study.channels,
        parameters=options,
        thresholds=partial(
            thresholds_in_use,
            parameters=parameters,
            by_role=bool(study.channels),
            percentile=options.negative_percentile,
        ),
        settings=lambda sample: study.sample_parameters(sample, model, flags=flags).values,
    )


def _page(
    study: Study, directory: Path, shared: Effective[CellsParameters], needs: tuple[str, ...]
) -> Step:
    state = read_state(directory)
    return Step(
        name="report",
        version=1,
        function=write_page,
        inputs=tuple(study.sources),
        needs=needs,
        parameters={
            "aequorea": __version__,
            "parameters": flat_values(shared.values),
            "study": [state.study, state.blind, state.unblinded, dict(state.removed)],
        },
        outputs=("report.html",),
    )


def write_page(context: StepContext) -> None:
    """Make the page of the study out of what its directory holds."""
    from aequorea.report.cells_study import write_report

    write_report(context.run_dir).replace(context.target("report.html"))
