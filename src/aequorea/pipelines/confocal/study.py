"""Confocal stacks of a whole study: one threshold for all, conditions compared by animal."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from aequorea import __version__
from aequorea.errors import InputError
from aequorea.pipelines.confocal.common_thresholds import CommonThresholds
from aequorea.pipelines.confocal.distributions import distributions_step
from aequorea.pipelines.confocal.lights import lights_step
from aequorea.pipelines.confocal.triage import Decision, read_decisions
from aequorea.pipelines.confocal.workbook import workbook_step
from aequorea.pipelines.confocal.workflow import (
    FIRST_PASS_ENDS,
    WORKFLOW,
    model_for,
    require_puncta_or_protein,
    run_confocal,
)
from aequorea.pipelines.kept_tables import table_outputs, write_tables
from aequorea.pipelines.run.execution import Execution
from aequorea.pipelines.run.parameters import flat_values
from aequorea.pipelines.run.steps import Step, rerun_step
from aequorea.pipelines.study.batch import FirstPass, run_study, study_workflow, threads_of_each
from aequorea.pipelines.study.blinding import told_names
from aequorea.pipelines.study.controls import controls_step
from aequorea.pipelines.study.definition import Study, load_study
from aequorea.pipelines.study.outcomes import check_method_of_outcomes, outcomes_step
from aequorea.pipelines.study.samples import samples_step
from aequorea.pipelines.study.state import read_state

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from aequorea.pipelines.confocal.parameters import ConfocalParameters
    from aequorea.pipelines.run.parameters import Effective
    from aequorea.pipelines.run.progress import Progress
    from aequorea.pipelines.run.steps import RunResult, StepContext
    from aequorea.pipelines.study.batch import StudyResult
    from aequorea.pipelines.study.sample import Sample

_OF_PUNCTA = {
    "n": "puncta per cell",
    "per_um3_cytosol": "puncta per µm³ of cytosol",
    "nuclear_fraction": "fraction of puncta in the nucleus",
    "median_distance_um": "median distance to the nucleus (µm)",
    "median_distance_over_chance": "median distance to the nucleus over an even spread",
    "mean_volume_rank": "mean share of the cytosol nearer to the nucleus (chance: 0.5)",
    "dispersion": "dispersion (chance: 1)",
    "fraction_in_foci": "fraction of puncta in foci",
}
_OF_PROTEINS = {
    "mean_cytosol": "mean intensity in the cytosol",
    "nucleus_over_cytosol": "intensity in the nucleus over the cytosol",
    "index_mean_distance_landmark": "mean distance to the nucleus over an even spread",
}
_OF_CELLS = {"volume_um3": "cell volume (µm³)"}
_OF_MOLECULES = {
    "molecules_cytosol": "molecules in the cytosol, from light",
    "molecules_nucleus": "molecules in the nucleus, from light",
}
_OF_SITES = {"n_transcription_sites": "transcription sites per cell"}
_ROLES = {"nuclei", "cells", "puncta", "protein", "landmark"}
_CUT = "touches_side"


def analyse_study(
    study: str | os.PathLike[str] | Study,
    *,
    out: str | os.PathLike[str] | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    blind: bool = False,
    flags: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Analyse every stack of a study, and compare its conditions.

    Parameters
    ----------
    study : path of a TOML file, or Study
        ``[channels]`` gives ``nuclei``, ``cells``, ``puncta``, ``puncta2``, …, ``protein``, … by
        name or number; ``[params]`` is nested as the configuration of one image.
    out : path, optional
        Directory of the study.
    workers : int, default 1
        Images at a time, each in a process of its own; changes no result.
    scheduler : str, optional
        Address of a dask scheduler whose workers do the images instead; see
        :func:`aequorea.pipelines.study.run_study`.
    blind : bool
        Name samples by code and leave conditions out of all tables.
    flags : mapping of str to Any, optional
        Parameters of all samples by field name, over the file's.
    progress : Progress, optional

    Returns
    -------
    StudyResult
        ``result.table("cells")`` over all samples, ``result.table("comparison")`` where there are
        conditions; ``result.failed`` says which samples failed and why.

    Raises
    ------
    InputError
        For a study, sheet or parameters that cannot be used.
    OutputError
        If ``out`` cannot be written or holds something else.

    Notes
    -----
    Every image is looked at twice: first for candidates, from which each kind of puncta gets one
    threshold for all images (unless it is given), then for everything else. Controls and rejected
    images have the threshold of the others and no say in it.
    """
    loaded = with_channels(study if isinstance(study, Study) else load_study(study))
    model = model_for(loaded.params)
    require_puncta_or_protein(model())
    loaded.check_parameters(model)
    check_method_of_outcomes(loaded.comparison)
    directory = loaded.out if out is None else Path(out)
    decisions = read_decisions(directory)
    one = partial(
        _analyse_sample,
        study=loaded,
        flags=dict(flags or {}),
        decisions=decisions,
        threads=threads_of_each(workers, scheduler),
    )
    shared = loaded.shared_parameters(model, flags=flags)
    rejected = tuple(n for n, d in decisions.items() if d.verdict == "reject")
    common = CommonThresholds(parameters=shared.values, rejected=rejected)
    return run_study(
        loaded,
        one,
        out=directory,
        workflow=WORKFLOW,
        shared_parameters=shared,
        summaries=partial(
            _summaries,
            study=loaded,
            directory=directory,
            shared=shared,
            decisions=decisions,
            common=common,
            flags=dict(flags or {}),
        ),
        first=FirstPass(
            run_one=partial(one, until=FIRST_PASS_ENDS),
            then=partial(_with_common_thresholds, one=one, common=common),
        ),
        workers=workers,
        scheduler=scheduler,
        blind=blind,
        rejected=rejected,
        progress=progress,
    )


def with_channels(study: Study) -> Study:
    """Channels of the study as parameters of each role's group.

    Raises
    ------
    InputError
        For a role that does not exist, or a channel that is given twice.
    """
    params: dict[str, Any] = dict(study.params.items())
    for role, channel in study.channels.items():
        if role.rstrip("0123456789") not in _ROLES:
            raise InputError(
                f"{study.name}: [channels] has {role!r}; expected nuclei, cells, puncta, puncta2, "
                "…, protein, protein2, …, landmark, landmark2, …"
            )
        group = dict(params.get(role, {}))
        if "channel" in group:
            raise InputError(
                f"{study.name}: {role} has a channel under [channels] and under [params]; give one"
            )
        params[role] = {"channel": str(channel), **group}
    return replace(study, params=_beside_the_study(params, study))


def _beside_the_study(params: dict[str, Any], study: Study) -> dict[str, Any]:
    """Files of corrections under [params] are found from the folder of the study."""
    if "study" not in study.sources:
        return params
    folder = study.sources["study"].parent
    found: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, dict):
            found[name] = {k: _found(folder, k, v) for k, v in value.items()}
        else:
            found[name] = _found(folder, name, value)
    return found


def _found(folder: Path, name: str, value: Any) -> Any:
    is_file = name in {"dark_image", "flat_field", "chromatic"} and isinstance(value, str)
    return str(folder / value) if is_file else value


def _analyse_sample(
    sample: Sample,
    out: Path,
    *,
    study: Study,
    flags: Mapping[str, Any],
    decisions: Mapping[str, Decision],
    threads: int,
    thresholds: Mapping[str, float] | None = None,
    until: str | None = None,
) -> RunResult:
    decision = decisions.get(sample.name)
    if decision is not None and decision.overrides:
        sample = replace(
            sample,
            overrides={**sample.overrides, **decision.overrides},
            where=f"{sample.where} (triage)",
        )
    return run_confocal(
        [sample.file],
        out=out,
        parameters=study.sample_parameters(sample, model_for(study.params), flags=dict(flags)),
        execution=Execution(workers=threads),
        thresholds=thresholds,
        until=until,
    )


def _with_common_thresholds(
    images: Sequence[tuple[Sample, Path]], *, one: partial[RunResult], common: CommonThresholds
) -> partial[RunResult]:
    """The second pass, which knows the threshold that all images share."""
    return partial(one, thresholds=common.find(images))


def _summaries(
    names: tuple[str, ...],
    *,
    study: Study,
    directory: Path,
    shared: Effective[ConfocalParameters],
    decisions: Mapping[str, Decision],
    common: CommonThresholds,
    flags: Mapping[str, Any],
) -> list[Step]:
    """Conditions compared, distributions, what controls and people say, and the page."""
    told = told_names(study.samples, directory)
    decisions = {told.get(name, name): decision for name, decision in decisions.items()}
    rejected = tuple(n for n, d in sorted(decisions.items()) if d.verdict == "reject")
    steps = [samples_step(study, directory), _triage_step(decisions), common.step(told)]
    if study.controls:
        model = model_for(study.params)
        steps.append(
            controls_step(
                study.samples,
                study.channels,
                settings=lambda s: study.sample_parameters(s, model, flags=flags).values,
            )
        )
    has_conditions = any(s.condition is not None for s in study.samples if not s.is_control)
    choice: dict[str, Any] = {
        "parameters": study.comparison,
        "leave_out": _CUT,
        "rejected": rejected,
    }
    if "cells" in names and has_conditions:
        steps.append(outcomes_step("cells", outcomes_of(shared.values), **choice))
    if {"cells", "distributions", "puncta"} <= set(names):
        steps.append(distributions_step(**choice))
    steps.append(lights_step(decisions, names))
    collected = Step(name="tables", version=1, function=_nothing, outputs=table_outputs(*names))
    steps.append(workbook_step([collected, *steps]))
    return [*steps, _page(study, directory, shared, ("tables", *(s.name for s in steps)))]


def _nothing(_: StepContext) -> None:
    """The collected tables are written by the study itself; here they are only named."""


def _page(
    study: Study, directory: Path, shared: Effective[ConfocalParameters], needs: tuple[str, ...]
) -> Step:
    state = read_state(directory)
    return Step(
        name="report",
        version=2,
        function=write_page,
        inputs=tuple(study.sources),
        needs=needs,
        parameters={
            "aequorea": __version__,
            "parameters": flat_values(shared.values),
            "study": [state.study, state.blind, state.unblinded, dict(state.removed)],
        },
        outputs=("report.html", "triage.html"),
    )


def write_page(context: StepContext) -> None:
    """Make the pages of the study out of what its directory holds."""
    from aequorea.report.confocal_study import write_report
    from aequorea.report.confocal_triage import write_triage_page

    write_triage_page(context.run_dir).replace(context.target("triage.html"))
    write_report(context.run_dir).replace(context.target("report.html"))


def rebuild_report(directory: Path) -> Path:
    """Write the page of a finished study again.

    Raises
    ------
    InputError
        If ``directory`` is not a finished study of this workflow.
    """
    rerun_step(directory, "report", write_page, workflow=study_workflow(WORKFLOW))
    return directory / "report.html"


def outcomes_of(parameters: ConfocalParameters) -> dict[str, str]:
    """Columns of the table of cells that are compared between conditions, and what they mean."""
    found = dict(_OF_CELLS)
    for roles, outcomes in (
        (parameters.puncta_roles, _OF_PUNCTA),
        (parameters.protein_roles, _OF_PROTEINS),
    ):
        for role in roles:
            name = _told_name(parameters, role)
            found |= {f"{role}_{c}": f"{name}: {what}" for c, what in outcomes.items()}
    for role in parameters.molecule_roles:
        name = _told_name(parameters, role)
        sites = _OF_SITES if parameters.puncta_of(role).transcription_sites else {}
        outcomes = {**_OF_MOLECULES, **sites}
        found |= {f"{role}_{c}": f"{name}: {what}" for c, what in outcomes.items()}
    return found | _of_landmarks(parameters)


def _of_landmarks(parameters: ConfocalParameters) -> dict[str, str]:
    found = {}
    for landmark in parameters.landmark_roles:
        target = _told_name(parameters, landmark)
        for role in (*parameters.puncta_roles, *parameters.protein_roles):
            head, name = f"{role}_median_{landmark}_distance", _told_name(parameters, role)
            found[f"{head}_um"] = f"{name}: median distance to {target} (µm)"
            found[f"{head}_over_chance"] = f"{name}: median distance to {target} over chance"
    return found


def _told_name(parameters: ConfocalParameters, role: str) -> str:
    """The name given, else that of the channel; a mere number says nothing."""
    options = parameters.channel_of(role)
    if options.name:
        return options.name
    named = options.channel is not None and not options.channel.isdigit()
    return str(options.channel) if named else role


def _triage_step(decisions: Mapping[str, Decision]) -> Step:
    plain = {n: [d.verdict, d.reason, dict(d.overrides)] for n, d in sorted(decisions.items())}
    return Step(
        name="triage",
        version=1,
        function=partial(_write_triage, decisions=dict(decisions)),
        parameters={"decisions": plain},
        outputs=table_outputs("triage"),
    )


def _write_triage(context: StepContext, *, decisions: Mapping[str, Decision]) -> None:
    rows = [
        {
            "sample": name,
            "verdict": decision.verdict,
            "reason": decision.reason,
            "overrides": "; ".join(f"{k} = {v}" for k, v in decision.overrides.items()),
        }
        for name, decision in sorted(decisions.items())
    ]
    frame = pd.DataFrame(rows, columns=["sample", "verdict", "reason", "overrides"])
    write_tables(context, triage=frame)
