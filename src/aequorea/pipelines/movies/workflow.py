"""One movie, from the file to its motion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aequorea.errors import InputError
from aequorea.io import open_movie
from aequorea.motion import registered
from aequorea.pipelines.movies.kept_motion import read_motion
from aequorea.pipelines.movies.parameters import RegisterParameters
from aequorea.pipelines.movies.steps import MOTION, RegisterSteps, one_channel, write_page
from aequorea.pipelines.run.directory import check_target
from aequorea.pipelines.run.execution import Execution, limited_threads
from aequorea.pipelines.run.parameters import Effective, as_given, merge_parameters
from aequorea.pipelines.run.steps import RunResult, collected_warnings, rerun_step, run_steps
from aequorea.pipelines.run.verification import open_run

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from aequorea.model import Image
    from aequorea.pipelines.run.progress import Progress

WORKFLOW = "register"


def register(
    movie: str | os.PathLike[str],
    *,
    parameters: RegisterParameters | Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Find the motion of a movie, and keep it.

    Parameters
    ----------
    movie : path
        A file, or the folder of a recording. With several planes each is registered by itself.
    parameters : RegisterParameters or mapping, optional
        ``{"motion": {"model": "rigid"}, "movie": {"channel": "red"}}``.
    out : path, optional
        Directory of the run; ``./<movie name>.aequorea`` if not given.
    workers : int, optional
        Threads; changes no result.
    progress : Progress, optional

    Returns
    -------
    RunResult
        ``result.table("frames")``, ``"planes"``; :func:`open_registered` opens the movie itself.

    Raises
    ------
    InputError
        For a movie or parameters that cannot be used; nothing is left behind.
    OutputError
        If ``out`` is something else, in use, or cannot be written.
    RunError
        If a step fails; the traceback is in ``error.log`` of the directory.
    """
    source = Path(movie)
    if isinstance(parameters, RegisterParameters):
        effective = as_given(parameters)
    else:
        given = dict(parameters or {})
        effective = merge_parameters(
            RegisterParameters, toml=given, toml_name="parameters", source="argument"
        )
    return run_register(
        source,
        out=default_out(source) if out is None else Path(out),
        parameters=effective,
        execution=Execution(workers=workers),
        progress=progress,
    )


def run_register(
    source: Path,
    *,
    out: Path,
    parameters: Effective[RegisterParameters],
    execution: Execution | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """:func:`register` with parameters whose sources are known."""
    execution = execution or Execution()
    values = parameters.values
    check_target(out, workflow=WORKFLOW)
    with collected_warnings() as notes:
        movie = open_source(source, values)
    check_movie(movie, values)
    plan = RegisterSteps(movie, values, execution.n_workers)
    with limited_threads(execution.n_workers):
        return run_steps(
            list(plan.steps()),
            out,
            workflow=WORKFLOW,
            inputs={"movie": source},
            parameters=parameters,
            execution=execution.model_dump(mode="json"),
            notes=notes,
            progress=progress,
        )


def open_registered(run: str | os.PathLike[str], *, channel: str | None = None) -> Image:
    """Open a movie whose motion ``aequorea register`` found, with the motion undone as it is read.

    Parameters
    ----------
    run : path
        Directory of the run.
    channel : str, optional
        By name or number; the one whose motion was found if not given.

    Returns
    -------
    Image
        Lazy, float32.

    Raises
    ------
    InputError
        If ``run`` is no such run, or the movie is not where it was.
    """
    run_dir = Path(run)
    record = open_run(run_dir)
    if record["workflow"] != WORKFLOW:
        raise InputError(f"{run}: is a run of {record['workflow']!r}, not of 'register'")
    flat = record["parameters"]
    tree: dict[str, dict[str, Any]] = {}
    for key, value in flat.items():
        group, name = key.split(".")
        if value is not None:
            tree.setdefault(group, {})[name] = value
    values = RegisterParameters.model_validate(tree)
    source = record["inputs"]["movie"]
    where = Path(source.get("resolved", source["path"]))
    if not where.exists():
        raise InputError(f"{run}: its movie is not at {where} any more")
    movie = open_source(where, values)
    wanted = values.movie.channel if channel is None else channel
    opened: Image = registered(
        one_channel(movie, wanted),
        read_motion(run_dir / MOTION),
        interpolation=values.motion.interpolation,
        edges=values.motion.edges,
    )
    return opened


def default_out(source: Path) -> Path:
    """Where a run goes when nobody says."""
    return Path(f"{source.name or source.resolve().name}.aequorea")


def rebuild_report(run_dir: Path) -> Path:
    """Write the page of a finished run again.

    Raises
    ------
    InputError
        If ``run_dir`` is not a finished run of this workflow.
    """
    rerun_step(run_dir, "report", write_page, workflow=WORKFLOW)
    return run_dir / "report.html"


def open_source(source: Path, values: RegisterParameters) -> Image:
    """A movie as the parameters say it is to be read."""
    how = values.movie
    return open_movie(source, frame_rate_hz=how.frame_rate_hz, scene=how.scene, axes=how.axes)


def check_movie(movie: Image, values: RegisterParameters) -> None:
    """Refuse a movie, or frames of it, that cannot be registered.

    Raises
    ------
    InputError
    """
    n = movie.sizes["t"]
    if n < 2:
        raise InputError(f"{movie.source}: has {n} frame; registration needs 2 or more")
    beyond = [k for k in values.movie.left_out if not 0 <= k < n]
    if beyond:
        raise InputError(f"movie.left_out: there is no frame {beyond[0]} among {n}")
