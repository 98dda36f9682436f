"""``aequorea confocal`` and ``aequorea confocal triage``."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - cyclopts reads annotations
from typing import TYPE_CHECKING, Annotated, Any, cast

from cyclopts import App, Parameter

from aequorea.cli.derive import given_for, with_options
from aequorea.errors import InputError
from aequorea.pipelines.confocal.parameters import confocal_parameters
from aequorea.pipelines.run.execution import Execution
from aequorea.pipelines.run.parameters import (
    load_toml,
    merge_parameters,
    parameter_fields,
    with_located_paths,
    write_config,
)
from aequorea.pipelines.run.progress import terminal_progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aequorea.pipelines.confocal.triage import Decision, Verdict

# with flags; a configuration file takes any number
MOST_PUNCTA, MOST_PROTEINS, MOST_LANDMARKS = 3, 2, 2
_MODEL = confocal_parameters(MOST_PUNCTA, MOST_PROTEINS, MOST_LANDMARKS)

confocal = App(
    name="confocal",
    help="Cells, nuclei and puncta in 3D: where they are, beside chance, and between conditions.",
    help_format="plaintext",
)

confocal.command("aequorea.cli.confocal_calibration:flatfield", name="flatfield")
confocal.command("aequorea.cli.confocal_calibration:chromatic", name="chromatic")


@confocal.default
@with_options(_MODEL, Execution)
def analyse(
    *files: Annotated[
        Path, Parameter(help="One stack with channels, one stack per channel, or a STUDY.toml.")
    ],
    out: Annotated[
        Path | None,
        Parameter(help="Directory of the run. [default: ./<input name>.aequorea]"),
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
    """Cells, nuclei and puncta in 3D, from stacks to numbers per cell and effects per animal.

    Say which channel is what: --nuclei.channel DAPI --cells.channel WGA --puncta.channel Ryr2
    (a number from 0 will do). Writes one directory: report.html, tables, labels, images.zarr,
    run.json. The same command again continues an interrupted run, and recomputes only what a
    changed parameter touches. With a STUDY.toml: every sample of its sheet, one threshold for all
    of each kind of puncta, and its conditions compared with the animal as the unit.
    """
    given = given_for(_MODEL, flags)
    execution = merge_parameters(Execution, flags=given_for(Execution, flags)).values
    if len(files) == 1 and files[0].suffix.lower() == ".toml":
        if config or write_config_to:
            raise InputError(
                "a STUDY.toml holds its own parameters under [params]; single options can be "
                "given beside it, --config and --write-config cannot"
            )
        return _analyse_study(
            files[0],
            out,
            execution,
            given,
            blind=blind,
            scheduler=scheduler,
        )
    if blind or scheduler is not None:
        option = "--blind" if blind else "--scheduler"
        raise InputError(f"{option} is for a study: expected aequorea confocal STUDY.toml {option}")

    from aequorea.pipelines.confocal.workflow import (
        default_out,
        model_for,
        require_puncta_or_protein,
        run_confocal,
    )

    toml = load_toml(config) if config else {}
    spoken: dict[str, Any] = {name.split("__", 1)[0]: {} for name in given if "__" in name}
    model = model_for({**spoken, **toml})
    if config:
        toml = with_located_paths(model, toml, config.parent)
    parameters = merge_parameters(model, toml=toml, flags=given, toml_name=str(config))
    if write_config_to is not None:
        write_config(parameters.values, write_config_to)
        return None
    if not files:
        raise InputError("no stack given; expected: aequorea confocal FILE [FILE …] or STUDY.toml")
    require_puncta_or_protein(parameters.values)
    with terminal_progress() as progress:
        result = run_confocal(
            files,
            out=out or default_out(files),
            parameters=parameters,
            execution=execution,
            progress=progress,
        )
    for warning in result.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    sys.stdout.write(f"{result.report}\n")
    return None


@confocal.command
@with_options(_MODEL)
def triage(
    study: Path,
    /,
    *samples: Annotated[str, Parameter(help="Samples, as the study shows them; none lists all.")],
    accept: Annotated[bool, Parameter(help="The images are good.", negative="")] = False,
    reject: Annotated[
        bool,
        Parameter(help="Leave them out of comparisons; they stay in the tables.", negative=""),
    ] = False,
    redo: Annotated[
        bool,
        Parameter(
            help="Do them again with the parameters given, such as --nuclei.threshold 300.",
            negative="",
        ),
    ] = False,
    forget: Annotated[
        bool,
        Parameter(
            help="Take back what was decided, and the parameters given to redo.", negative=""
        ),
    ] = False,
    reason: Annotated[str, Parameter(help="Why; needed to reject.")] = "",
    **flags: Any,
) -> None:
    """Accept, reject or redo images of a study after looking at them.

    Decisions are kept beside the study and take effect when it is run again (aequorea confocal
    STUDY.toml): only what they touch is computed. In a blinded study samples have their codes.
    Without samples: every image with its state, its traffic light and what was decided. The page
    triage.html of the study has the images, the reasons of their lights, and these commands.

    Parameters
    ----------
    study : Path
        Directory of the study.
    """
    from aequorea.pipelines.confocal import triage as decisions_of
    from aequorea.pipelines.confocal.lights import overall_lights
    from aequorea.pipelines.study.state import read_state

    asked = {"accept": accept, "reject": reject, "redo": redo, "forget": forget}
    chosen = [verdict for verdict, wanted in asked.items() if wanted]
    given = given_for(_MODEL, flags)
    if not samples and not chosen:
        decisions, lights = decisions_of.read_decisions(study), overall_lights(study)
        for name, state in read_state(study).samples.items():
            told = _in_words(decisions.get(name))
            light = lights.get(name, "-")
            sys.stdout.write(f"{name}\t{state.state}\t{light}\t{told or 'not looked at'}\n")
        return
    if len(chosen) != 1 or not samples:
        raise InputError(
            "expected: aequorea confocal triage STUDY SAMPLE [SAMPLE …] and one of --accept, "
            "--reject --reason WHY, --redo --nuclei.threshold 300, --forget"
        )
    keys = {f.name: f.key for f in parameter_fields(_MODEL)}
    overrides: Mapping[str, str] = {
        keys[name]: ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        for name, value in given.items()
    }
    if forget:
        decisions_of.forget(study, samples)
    else:
        verdict = cast("Verdict", chosen[0])
        decisions_of.decide(study, samples, verdict, reason=reason, overrides=overrides)
    sys.stdout.write(
        f"{study / 'triage.json'}\nIt takes effect when the study is run again: "
        "aequorea confocal STUDY.toml\n"
    )


def _in_words(decision: Decision | None) -> str:
    if decision is None:
        return ""
    parameters = " ".join(f"{key}={value}" for key, value in decision.overrides.items())
    return " ".join(filter(None, (decision.verdict, decision.reason, parameters)))


def _analyse_study(
    study: Path,
    out: Path | None,
    execution: Execution,
    given: Mapping[str, Any],
    *,
    blind: bool,
    scheduler: str | None = None,
) -> int:
    """Exit code 1 if a sample failed; all others are in the tables."""
    from aequorea.pipelines.confocal.study import analyse_study

    with terminal_progress() as progress:
        result = analyse_study(
            study,
            out=out,
            workers=execution.workers or 1,
            scheduler=scheduler,
            blind=blind,
            flags=given,
            progress=progress,
        )
    for warning in result.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    for sample, why in result.failed.items():
        sys.stderr.write(f"aequorea: {sample}: {why}\n")
    sys.stdout.write(f"{result.directory}\n")
    return 1 if result.failed else 0
