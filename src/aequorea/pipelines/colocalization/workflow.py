"""The steps of a colocalization run, in the order of a methods section."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea import __version__
from aequorea.errors import AequoreaWarning, CalibrationError, InputError
from aequorea.io.tables import read_table, write_table
from aequorea.pipelines.colocalization.background import Subtracted, background_levels, per_channel
from aequorea.pipelines.colocalization.images import write_images
from aequorea.pipelines.colocalization.input_checks import check_table
from aequorea.pipelines.colocalization.object_measures import (
    OBJECT_TABLE_COLUMNS,
    PAIR_COLUMNS,
    SUMMARY_COLUMNS,
    WITHIN_COLUMNS,
    object_tables,
)
from aequorea.pipelines.colocalization.parameters import ColocalizationParameters
from aequorea.pipelines.colocalization.pixel_measures import (
    curve_table,
    manual_thresholds,
    pixel_table,
    require_finite,
    tidy,
)
from aequorea.pipelines.colocalization.relation_measures import (
    CCF_COLUMNS,
    FIT_COLUMNS,
    ICA_COLUMNS,
    SCRAMBLE_COLUMNS,
    relation_tables,
)
from aequorea.pipelines.colocalization.significance_measures import (
    NULL_COLUMNS,
    TEST_COLUMNS,
    check_null,
    significance_tables,
)
from aequorea.pipelines.colocalization.stains import Stains, open_stains
from aequorea.pipelines.colocalization.streamed_measures import (
    BYTES_PER_PIXEL,
    left_out_reason,
    left_out_table,
    needed_bytes,
    require_streamable,
    streamed_curve_table,
    streamed_pixel_table,
)
from aequorea.pipelines.run.directory import check_target
from aequorea.pipelines.run.execution import Execution, limited_threads
from aequorea.pipelines.run.parameters import Effective, as_given, flat_values, merge_parameters
from aequorea.pipelines.run.steps import (
    RunResult,
    Step,
    StepContext,
    collected_warnings,
    rerun_step,
    run_steps,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from aequorea.pipelines.run.progress import Progress

__all__ = ["ColocalizationParameters", "colocalize", "default_out", "rebuild_report"]

WORKFLOW = "colocalization"
_DISTANCES = ("objects.match_distance_um", "objects.max_distance_um")


def colocalize(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    parameters: ColocalizationParameters | Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    max_memory: str | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Measure the colocalization of the stains of a field, into a run directory.

    Parameters
    ----------
    inputs : path or sequence of paths
        One image with channels, or one image per channel.
    parameters : ColocalizationParameters or mapping, optional
        A mapping is nested as a configuration file is:
        ``{"significance": {"null": "profile"}}``.
    out : path, optional
        Directory of the run; ``./<input name>.aequorea`` if not given. An earlier run of the
        same inputs is continued or refreshed.
    workers : int, optional
        Threads; changes no result.
    max_memory : str, optional
        Such as ``"4GB"``.
    progress : Progress, optional

    Returns
    -------
    RunResult
        ``result.table("pixel")`` and others, ``result.report``, ``result.warnings``.

    Raises
    ------
    InputError
        For inputs or parameters that cannot be used; nothing is left behind.
    OutputError
        If ``out`` is something else, in use, or cannot be written.
    RunError
        If a step fails; the traceback is in ``error.log`` of the directory.
    """
    files = [Path(inputs)] if isinstance(inputs, str | Path) else _paths(inputs)
    if isinstance(parameters, ColocalizationParameters):
        effective = as_given(parameters)
    else:
        effective = merge_parameters(
            ColocalizationParameters, toml=parameters, toml_name="parameters", source="argument"
        )
    return run_colocalization(
        files,
        out=default_out(files) if out is None else Path(out),
        parameters=effective,
        execution=Execution(workers=workers, max_memory=max_memory),
        progress=progress,
    )


def run_colocalization(
    files: Sequence[Path],
    *,
    out: Path,
    parameters: Effective[ColocalizationParameters],
    execution: Execution | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """:func:`colocalize` with parameters whose sources are known."""
    execution = execution or Execution()
    values = parameters.values
    check_target(out, workflow=WORKFLOW)
    _refuse_idle(parameters)
    with collected_warnings() as notes:
        stains = open_stains(files, values)
        check_null(stains, values.significance)
        _check_calibration(stains, parameters)
        _check_numbers(stains, values)
    inputs = _roles(files, values)
    workflow = _Workflow(stains, values, execution)
    if workflow.streamed:
        require_streamable(stains, values.pixel)
    with limited_threads(execution.n_workers):
        return run_steps(
            workflow.steps(tuple(inputs)),
            out,
            workflow=WORKFLOW,
            inputs=inputs,
            parameters=parameters,
            seeds={"seed": values.seed},
            execution=execution.model_dump(mode="json"),
            notes=notes,
            progress=progress,
        )


def default_out(files: Sequence[Path]) -> Path:
    """Where a run goes when nobody says: beside nothing, in the working directory."""
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


def _check_numbers(stains: Stains, parameters: ColocalizationParameters) -> None:
    """Thresholds given by hand are one for all channels or one for each."""
    pixel, objects = parameters.pixel, parameters.objects
    manual_thresholds(stains, pixel)
    if objects.objects and objects.object_threshold == "manual":
        values = objects.object_threshold_value or ()
        per_channel(values, stains.names, flag="--object-threshold-value")


def _check_calibration(stains: Stains, parameters: Effective[ColocalizationParameters]) -> None:
    """Distances that were asked for need a pixel size; those nobody asked for are left out."""
    if stains.spacing_or_none is not None or not parameters.values.objects.objects:
        return
    missing = [
        axis
        for axis, step in zip(stains.spatial_axes, stains.spacing_um, strict=True)
        if step is None
    ]
    where = f"{stains.images[0].source}: no pixel size for {', '.join(missing)}"
    axes = ",".join(stains.spatial_axes)
    asked = [key for key in _DISTANCES if _was_asked(parameters, key)]
    if asked:
        raise CalibrationError(
            f"{where}, but {asked[0]} is a distance in µm; give it with --spacing-um {axes}"
        )
    warnings.warn(
        f"{where}: distances between objects in µm are left out (give it with --spacing-um {axes})",
        AequoreaWarning,
        stacklevel=2,
    )


def _refuse_idle(parameters: Effective[ColocalizationParameters]) -> None:
    """Refuse options that somebody gave and that change nothing.

    Raises
    ------
    InputError
        For the first of them.
    """
    p = parameters.values
    depth_unused = p.significance.null != "profile" and not (
        p.objects.objects and p.object_null == "profile"
    )
    idle = {
        "background.background_value": (
            p.background.background != "constant",
            "background constant",
        ),
        "background.background_percentile": (
            p.background.background != "percentile",
            "background percentile",
        ),
        "pixel.threshold_value": (p.pixel.threshold != "manual", "threshold manual"),
        "objects.object_threshold_value": (
            p.objects.object_threshold != "manual",
            "object-threshold manual",
        ),
        "landmarks": (depth_unused, "null profile"),
    }
    for key, (without_effect, wanted) in idle.items():
        if without_effect and _was_asked(parameters, key):
            flag = "--" + key.rsplit(".", 1)[-1].replace("_", "-")
            raise InputError(f"{flag} has no effect without --{wanted}; give both or neither")


def _was_asked(parameters: Effective[ColocalizationParameters], key: str) -> bool:
    """Whether somebody chose a value; a written configuration repeats defaults without choosing."""
    source = parameters.sources[key]
    default = flat_values(ColocalizationParameters())[key]
    repeated = source == "toml" and flat_values(parameters.values)[key] == default
    return source != "default" and not repeated


def _paths(inputs: Any) -> list[Path]:
    return [Path(inputs)] if hasattr(inputs, "__fspath__") else [Path(p) for p in inputs]


def _roles(files: Sequence[Path], parameters: ColocalizationParameters) -> dict[str, Path]:
    roles = {"image": files[0]} if len(files) == 1 else {}
    if not roles:
        roles = {f"image_{k}": file for k, file in enumerate(files)}
    if parameters.regions is not None:
        roles["regions"] = parameters.regions
    if parameters.landmarks is not None:
        roles["landmarks"] = parameters.landmarks
    return roles


class _Workflow:
    """The steps of one run, in the order of a methods section."""

    def __init__(
        self, stains: Stains, parameters: ColocalizationParameters, execution: Execution
    ) -> None:
        self.stains = stains
        self.parameters = parameters
        self.execution = execution
        self.budget = execution.max_memory_bytes
        self.streamed = needed_bytes(stains) > self.budget
        self.most_px = self.budget // BYTES_PER_PIXEL if self.streamed else None

    def steps(self, roles: tuple[str, ...]) -> list[Step]:
        """The plan."""
        p = self.parameters
        images = tuple(r for r in roles if r.startswith("image"))
        regions = tuple(r for r in roles if r == "regions")
        landmarks = tuple(r for r in roles if r == "landmarks")
        choice = {
            "channels": p.channels,
            "scene": p.scene,
            "axes": p.axes,
            "streamed": self.streamed,
        }
        measured = (*images, *regions)
        measures = [
            Step(
                name="background",
                version=2,
                function=self.background,
                inputs=measured,
                parameters={**choice, "background": p.background},
                outputs=_tables("background"),
            ),
            Step(
                name="checks",
                version=3,
                function=self.checks,
                inputs=measured,
                needs=("background",),
                parameters={**choice, "most_px": self.most_px},
                outputs=_tables("checks"),
            ),
            Step(
                name="pixel",
                version=1,
                function=self.pixel,
                inputs=measured,
                needs=("background",),
                parameters={**choice, "pixel": p.pixel},
                outputs=_tables("pixel"),
            ),
            Step(
                name="curves",
                version=1,
                function=self.curves,
                inputs=measured,
                needs=("background",),
                parameters={**choice, "points": p.pixel.curve_points},
                outputs=_tables("curves"),
            ),
            Step(
                name="significance",
                version=2,
                function=self.significance,
                inputs=(*measured, *landmarks),
                needs=("background", "pixel"),
                parameters={
                    **choice,
                    "spacing_um": p.spacing_um,
                    "seed": p.seed,
                    "significance": p.significance,
                },
                outputs=_tables("significance", "null"),
            ),
            Step(
                name="relations",
                version=2,
                function=self.relations,
                inputs=measured,
                needs=("background",),
                parameters={
                    **choice,
                    "spacing_um": p.spacing_um,
                    "seed": p.seed,
                    "diagnostics": p.diagnostics,
                },
                outputs=_tables("ccf", "ccf_fit", "ica", "scramble"),
            ),
            Step(
                name="objects",
                version=1,
                function=self.objects,
                inputs=(*measured, *landmarks),
                needs=("background",),
                parameters={
                    **choice,
                    "spacing_um": p.spacing_um,
                    "seed": p.seed,
                    "objects": p.objects,
                    "null": p.object_null,
                },
                outputs=_tables("objects", "object_pairs", "object_summary", "object_distances"),
            ),
            Step(
                name="images",
                version=1,
                function=self.images,
                inputs=measured,
                needs=("background",),
                parameters={**choice, "spacing_um": p.spacing_um, "objects": p.objects},
                outputs=("images.zarr",),
            ),
        ]
        report = Step(
            name="report",
            version=1,
            function=write_page,
            needs=tuple(step.name for step in measures),
            parameters={"aequorea": __version__, "parameters": p},
            outputs=("report.html",),
        )
        return [*measures, report]

    def background(self, context: StepContext) -> None:
        """Refuse what cannot be measured; find the grey level to subtract from each channel."""
        stains = self.stains
        for frame in context.track(range(stains.n_frames)):
            for channel in range(len(stains.names)):
                require_finite(stains, channel, frame)
        levels = background_levels(stains, self.parameters.background)
        method = self.parameters.background.background
        table = pd.DataFrame(
            {
                "channel": stains.names,
                "method": [method] * len(levels),
                "value": np.asarray(levels, np.float64),
                "clipped_fraction": [
                    _clipped_fraction(stains, k, level) for k, level in enumerate(levels)
                ],
            }
        )
        _write_tables(context, background=table)

    def checks(self, context: StepContext) -> None:
        """Saturation, offsets, bleed-through, compression and what else misleads."""
        table = check_table(
            self._subtracted(context),
            track=context.track,
            most_px=self.most_px,
        )
        _write_tables(context, checks=table)

    def pixel(self, context: StepContext) -> None:
        """Thresholds and all pixel metrics, per region, frame, pair and slice."""
        pixels, options = self._subtracted(context), self.parameters.pixel
        if self.streamed:
            warnings.warn(
                f"streamed: some measures are {left_out_reason(self.stains, self.budget)}",
                AequoreaWarning,
                stacklevel=2,
            )
            table = streamed_pixel_table(
                pixels, options, max_memory_bytes=self.budget, track=context.track
            )
        else:
            table = pixel_table(pixels, options, track=context.track)
        _write_tables(context, pixel=table)

    def curves(self, context: StepContext) -> None:
        """Manders(T) and r(T) at the levels of the regression line."""
        pixels, options = self._subtracted(context), self.parameters.pixel
        if self.streamed:
            table = streamed_curve_table(
                pixels, options, max_memory_bytes=self.budget, track=context.track
            )
        else:
            table = curve_table(pixels, options, track=context.track)
        _write_tables(context, curves=table)

    def significance(self, context: StepContext) -> None:
        """The declared metric against its null, corrected over the family of tests."""
        declared = self.parameters.significance
        if self.streamed and declared.null != "none":
            tests = self._left_out(TEST_COLUMNS, metric=declared.primary, primary=True)
            _write_tables(context, significance=tests, null=tidy([], self.stains, NULL_COLUMNS))
            return
        tables = significance_tables(
            self._subtracted(context),
            declared,
            read_table(context.result("tables/pixel.parquet")),
            seed=self.parameters.seed,
            track=context.track,
        )
        _write_tables(context, **tables)

    def relations(self, context: StepContext) -> None:
        """Cross-correlation, intensity correlation, scramble: diagnostics, not tests."""
        if self.streamed:
            _write_tables(
                context,
                ccf=tidy([], self.stains, CCF_COLUMNS),
                ccf_fit=self._left_out(FIT_COLUMNS),
                ica=self._left_out(ICA_COLUMNS),
                scramble=tidy([], self.stains, SCRAMBLE_COLUMNS),
            )
            return
        tables = relation_tables(
            self._subtracted(context),
            self.parameters.diagnostics,
            seed=self.parameters.seed,
            track=context.track,
        )
        _write_tables(context, **tables)

    def objects(self, context: StepContext) -> None:
        """Objects of every stain, their partners and distances."""
        if self.streamed:
            _write_tables(
                context,
                objects=tidy([], self.stains, OBJECT_TABLE_COLUMNS),
                object_pairs=tidy([], self.stains, PAIR_COLUMNS),
                object_summary=self._left_out(SUMMARY_COLUMNS),
                object_distances=tidy([], self.stains, WITHIN_COLUMNS),
            )
            return
        tables = object_tables(
            self._subtracted(context),
            self.parameters.objects,
            null=self.parameters.object_null,
            seed=self.parameters.seed,
            track=context.track,
        )
        _write_tables(context, **tables)

    def images(self, context: StepContext) -> None:
        """Channels, regions and objects, to look at and to open elsewhere."""
        write_images(
            self._subtracted(context),
            self.parameters.objects,
            context.target("images.zarr"),
            with_objects=self.parameters.objects.objects and not self.streamed,
        )

    def _left_out(self, columns: tuple[str, ...], **facts: Any) -> pd.DataFrame:
        return left_out_table(self.stains, columns, max_memory_bytes=self.budget, **facts)

    def _subtracted(self, context: StepContext) -> Subtracted:
        table = read_table(context.result("tables/background.parquet"))
        return Subtracted(self.stains, table["value"].tolist())


def _clipped_fraction(stains: Stains, channel: int, level: float) -> float:
    if level == 0:
        return 0.0
    n_pixels = stains.n_frames * int(np.prod(stains.spatial_shape, dtype=np.int64))
    below = sum(
        int(np.count_nonzero(pixels < level))
        for frame in range(stains.n_frames)
        for _, pixels in stains.pieces(channel, frame)
    )
    return below / n_pixels


def _tables(*names: str) -> tuple[str, ...]:
    return tuple(f"tables/{name}.{kind}" for name in names for kind in ("parquet", "csv"))


def _write_tables(context: StepContext, **tables: pd.DataFrame) -> None:
    for name, table in tables.items():
        write_table(table, context.target(f"tables/{name}"))


def write_page(context: StepContext) -> None:
    """Make the page out of what the run directory holds."""
    from aequorea.report.colocalization import write_report

    write_report(context.run_dir).replace(context.target("report.html"))
