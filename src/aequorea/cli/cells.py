"""``aequorea cells`` and ``aequorea cells refine``."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - cyclopts reads annotations
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from aequorea.cli.derive import given_for, with_options
from aequorea.errors import InputError
from aequorea.pipelines.cells.parameters import cells_parameters, role_of_marker
from aequorea.pipelines.run.execution import Execution
from aequorea.pipelines.run.parameters import (
    load_toml,
    merge_parameters,
    with_located_paths,
    write_config,
)
from aequorea.pipelines.run.progress import terminal_progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from aequorea.pipelines.run.steps import RunResult

MOST_MARKERS = 3  # with flags; a configuration file takes any number
_MODEL = cells_parameters(MOST_MARKERS)
_OF_COUNTING = {
    "frame_guard_um": ("frame", "disector"),
    "disector_guard_um": ("disector",),
    "section_um": ("abercrombie",),
}
_OF_RULES = {
    "min_overlap_px": ("union", "best"),
    "overlap_fraction": ("union", "best"),
    "min_count": ("count", "centroid"),
    "min_object_fraction": ("count",),
    "min_contact_fraction": ("contact",),
    "intensity_measure": ("intensity",),
    "intensity_threshold": ("intensity",),
}
_GPU = "Let networks use a graphics processor if there is one; the run says which was used."

cells = App(
    name="cells",
    help="Count cells and those positive for each marker, per region, in 2D and 3D.",
    help_format="plaintext",
)


@cells.default
@with_options(_MODEL, Execution)
def count(
    *files: Annotated[
        Path, Parameter(help="One image with channels, one image per channel, or a STUDY.toml.")
    ],
    out: Annotated[
        Path | None,
        Parameter(help="Directory of the run. [default: ./<input name>.aequorea]"),
    ] = None,
    markers: Annotated[
        int | None,
        Parameter(
            help="Number of markers. [default: as many as options or the configuration speak of, "
            "at least 1; 0 counts cells only]"
        ),
    ] = None,
    config: Annotated[
        Path | None,
        Parameter(help="TOML file with parameters; its paths are relative to it; flags win."),
    ] = None,
    write_config_to: Annotated[
        Path | None,
        Parameter(
            name="--write-config",
            help="Write the parameters in force to this TOML file, with their meaning, and stop.",
        ),
    ] = None,
    gpu: Annotated[bool, Parameter(help=_GPU)] = True,
    blind: Annotated[
        bool,
        Parameter(help="Study: name samples by code and keep conditions out of all tables."),
    ] = False,
    scheduler: Annotated[
        str | None,
        Parameter(
            help="Study: address of a dask scheduler (tcp://host:8786) whose workers do the "
            "images; needs aequorea[cluster]."
        ),
    ] = None,
    **flags: Any,
) -> int | None:
    """Count cells and those positive for each marker, per region, in 2D and 3D.

    Writes one directory: report.html, tables, results/cells.xlsx, labels, images.zarr, run.json.
    The same command again continues an interrupted run, and recomputes only what a changed
    parameter touches. With a STUDY.toml: every sample of its sheet, then all together.
    """
    given = given_for(_MODEL, flags)
    execution = merge_parameters(Execution, flags=given_for(Execution, flags))
    if len(files) == 1 and files[0].suffix.lower() == ".toml":
        if config or write_config_to or markers is not None:
            raise InputError(
                "a STUDY.toml holds its own parameters under [params]; single options can be "
                "given beside it, --config, --write-config and --markers cannot"
            )
        return _count_study(
            files[0],
            out,
            execution.values,
            given,
            gpu=gpu,
            blind=blind,
            scheduler=scheduler,
        )
    if blind or scheduler is not None:
        option = "--blind" if blind else "--scheduler"
        raise InputError(f"{option} is for a study: expected aequorea cells STUDY.toml {option}")
    toml = load_toml(config) if config else {}
    number = _number_of_markers(markers, toml, given)
    model = cells_parameters(number)
    if config:
        toml = with_located_paths(model, toml, config.parent)
    parameters = merge_parameters(model, toml=toml, flags=given, toml_name=str(config))
    if write_config_to is not None:
        write_config(parameters.values, write_config_to)
        return None
    if not files:
        raise InputError("no image given; expected: aequorea cells FILE [FILE …] or STUDY.toml")

    from aequorea.pipelines.cells.workflow import default_out, run_cells

    with terminal_progress() as progress:
        result = run_cells(
            files,
            out=out or default_out(files),
            parameters=parameters,
            execution=execution.values,
            use_gpu=gpu,
            progress=progress,
        )
    _tell(result, given)
    return None


@cells.command
@with_options(_MODEL)
def refine(
    run: Path,
    /,
    *,
    gpu: Annotated[bool, Parameter(help=_GPU)] = True,
    **flags: Any,
) -> None:
    """Change parameters of a finished run.

    Network outputs and filtered images are kept in the run, so other thresholds, filters of
    objects, rules and hand edits (--cell.edited LABELS.tif; none takes them back) need no forward
    pass. The run is changed in place: copy its directory first to keep the old results.

    Parameters
    ----------
    run : Path
        Directory of the run.
    """
    from aequorea.pipelines.cells.workflow import refine as refined_run

    given = given_for(_MODEL, flags)
    if not given:
        raise InputError(
            "nothing to refine; give a parameter, such as --cell.cellprob-threshold -1"
        )
    if (run / "study.json").exists():
        raise InputError(
            f"{run}: is a study; give the option to the study itself (aequorea cells STUDY.toml "
            "--cell.cellprob-threshold -1): only what depends on it is computed"
        )
    with terminal_progress() as progress:
        result = refined_run(run, flags=given, use_gpu=gpu, progress=progress)
    _tell(result, given)


def _tell(result: RunResult, given: Mapping[str, Any]) -> None:
    """Warnings, what was found, and where the page is."""
    from aequorea.report.cells import headline

    for warning in result.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    for said in without_effect(result.record["parameters"], given):
        sys.stderr.write(f"warning: {said}\n")
    sys.stdout.write(f"{headline(result.directory)}\n{result.report}\n")


def without_effect(parameters: Mapping[str, Any], given: Iterable[str]) -> Iterator[str]:
    """Which of the options given change nothing, and why.

    Parameters
    ----------
    parameters : mapping of dotted key to value
        In force, as the record of a run has them.
    given : iterable of str
        Names of options (``cell__cellprob_threshold``).

    Examples
    --------
    >>> known = {"cell.method": "watershed", "cell.labels": None, "counting.counting": "all"}
    >>> for said in without_effect(known, ["cell__flow_threshold", "section_um"]):
    ...     print(said)
    --cell.flow-threshold has no effect with --cell.method watershed
    --section-um has no effect with --counting all
    """
    for name in given:
        role, _, option = name.rpartition("__")
        flag = "--" + ".".join(part for part in (role, option) if part).replace("_", "-")
        because = _why_no_effect(parameters, role, option)
        if because:
            yield f"{flag} has no effect with {because}"


def _why_no_effect(parameters: Mapping[str, Any], role: str, option: str) -> str:
    from aequorea.segmentation.backends import backend
    from aequorea.segmentation.parameters import (
        POSTFILTER_FIELDS,
        PREFILTER_FIELDS,
        SegmentationParameters,
    )

    counting = parameters.get("counting.counting")
    if option in _OF_COUNTING and counting not in _OF_COUNTING[option]:
        return f"--counting {counting}"
    rule = parameters.get(f"{role}.rule")
    if option in _OF_RULES and rule not in _OF_RULES[option]:
        return f"--{role}.rule {rule}"
    if not role or option not in SegmentationParameters.model_fields:
        return ""
    if parameters.get(f"{role}.labels") is not None:
        return f"--{role}.labels"
    method = str(parameters[f"{role}.method"])
    found = backend(method)
    used = {"method"} | found.early | found.late | PREFILTER_FIELDS | POSTFILTER_FIELDS
    return "" if option in used else f"--{role}.method {method}"


def _number_of_markers(asked: int | None, toml: Mapping[str, Any], flags: Mapping[str, Any]) -> int:
    """As many as are spoken of, in groups of the configuration or in flags."""
    from aequorea.pipelines.cells.workflow import markers_in

    spoken = {name.split("__", 1)[0]: None for name in flags if "__" in name}
    number = markers_in({**toml, **spoken})
    if asked is None:
        return number
    beyond = [role_of_marker(k) for k in range(asked, number) if role_of_marker(k) in spoken]
    if beyond:
        raise InputError(f"--markers {asked}: options speak of {beyond[0]} too; drop one of them")
    if asked < 0:
        raise InputError(f"--markers: expected 0 or more, got {asked}")
    return asked


def _count_study(
    study: Path,
    out: Path | None,
    execution: Execution,
    given: Mapping[str, Any],
    *,
    gpu: bool,
    blind: bool,
    scheduler: str | None = None,
) -> int:
    """Exit code 1 if a sample failed; all others are in the tables."""
    from aequorea.pipelines.cells.study import count_study

    with terminal_progress() as progress:
        result = count_study(
            study,
            out=out,
            workers=execution.workers or 1,
            scheduler=scheduler,
            use_gpu=gpu,
            blind=blind,
            flags=given,
            progress=progress,
        )
    failures = tuple(f"sample {sample!r} failed" for sample in result.failed)
    for warning in result.warnings:
        if not warning.startswith(failures):
            sys.stderr.write(f"warning: {warning}\n")
    for sample, why in result.failed.items():
        sys.stderr.write(f"aequorea: {sample}: {why}\n")
    _tell_study(result.summary)
    return 1 if result.failed else 0


def _tell_study(summary: RunResult) -> None:
    """What was found about each marker, and where the page is."""
    from aequorea.report.cells_study import headlines

    if not summary.report.exists():
        sys.stdout.write(f"{summary.directory}\n")
        return
    for line in headlines(summary.directory):
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{summary.report}\n")
