"""The steps of a cell count, in the order of a methods section."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea import __version__
from aequorea.errors import AequoreaWarning, FileMissingError, InputError
from aequorea.io import read_labels, write_ome_tiff, write_ome_zarr
from aequorea.io.tables import read_table
from aequorea.measure.phenotypes import parse_phenotype
from aequorea.model import Image
from aequorea.pipelines.cells.fields import CellField, as_stack, open_field
from aequorea.pipelines.cells.memory import tell_memory
from aequorea.pipelines.cells.parameters import (
    CellsParameters,
    cells_parameters,
    role_of_marker,
)
from aequorea.pipelines.cells.phenotypes import PHENOTYPE_COLUMNS, phenotype_table
from aequorea.pipelines.cells.places import with_places
from aequorea.pipelines.cells.responses import read_responses, write_responses
from aequorea.pipelines.cells.segmenting import (
    FoundObjects,
    checked_labels,
    given_objects,
    label,
    respond,
    without_small,
)
from aequorea.pipelines.cells.stability import stability_table
from aequorea.pipelines.cells.tables import CountedCells, count_cells, positivity_table
from aequorea.pipelines.cells.unbiased import (
    add_counts,
    check_counting,
    counted_cells,
    with_fractions,
    with_reference,
)
from aequorea.pipelines.kept_pixels import folder_name, smallest_unsigned, stacked_image
from aequorea.pipelines.kept_tables import table_outputs, write_tables
from aequorea.pipelines.label_edits import change_table
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
from aequorea.pipelines.run.verification import open_run
from aequorea.pipelines.workbook import write_workbook
from aequorea.segmentation.backends import backend
from aequorea.segmentation.edits import label_changes
from aequorea.segmentation.parameters import POSTFILTER_FIELDS, PREFILTER_FIELDS

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aequorea.pipelines.cells.parameters import ChannelParameters
    from aequorea.pipelines.run.progress import Progress

WORKFLOW = "cells"
_MOST_REGIONS = 6  # that a note names
_MANY_DROPPED = 0.05  # of the cells found


def count(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    parameters: CellsParameters | Mapping[str, Any] | None = None,
    markers: int | None = None,
    out: str | os.PathLike[str] | None = None,
    use_gpu: bool = True,
    workers: int | None = None,
    max_memory: str | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Count the cells of a field and those positive for each marker, into a run directory.

    Parameters
    ----------
    inputs : path or sequence of paths
        One image with channels, or one image per channel.
    parameters : CellsParameters or mapping, optional
        A mapping is nested as a configuration file is:
        ``{"cell": {"channel": "DAPI"}, "marker": {"channel": "GFP", "method": "otsu"}}``.
    markers : int, optional
        Number of markers; as many as ``parameters`` has groups ``marker``, ``marker2``, … if
        not given, one at least.
    out : path, optional
        Directory of the run; ``./<input name>.aequorea`` if not given.
    use_gpu : bool, default True
        Whether a network may use a graphics processor; it says which it used.
    workers, max_memory
        As for every workflow; they change no result.
    progress : Progress, optional

    Returns
    -------
    RunResult
        ``result.table("cell_summary")``, ``result.table("roi_coloc_overview")`` and others.

    Raises
    ------
    InputError
        For inputs or parameters that cannot be used; nothing is left behind, unless that was
        found only after a step was done.
    OutputError
        If ``out`` is something else, in use, or cannot be written.
    RunError
        If a step fails; the traceback is in ``error.log`` of the directory.
    """
    files = (
        [Path(inputs)]
        if hasattr(inputs, "__fspath__") or isinstance(inputs, str)
        else [Path(p) for p in inputs]
    )
    effective = effective_parameters(parameters, markers)
    return run_cells(
        files,
        out=default_out(files) if out is None else Path(out),
        parameters=effective,
        execution=Execution(workers=workers, max_memory=max_memory),
        use_gpu=use_gpu,
        progress=progress,
    )


def effective_parameters(
    parameters: CellsParameters | Mapping[str, Any] | None, markers: int | None = None
) -> Effective[CellsParameters]:
    """Parameters from Python, with their sources."""
    if isinstance(parameters, CellsParameters):
        return as_given(parameters)
    given = dict(parameters or {})
    model = cells_parameters(markers_in(given) if markers is None else markers)
    return merge_parameters(model, toml=given, toml_name="parameters", source="argument")


def markers_in(tree: Mapping[str, Any], least: int = 1) -> int:
    """How many markers a configuration speaks of, at least one.

    Examples
    --------
    >>> markers_in({"cell": {}, "marker2": {}}), markers_in({})
    (2, 1)
    """
    number = least
    while any(role_of_marker(k) in tree for k in range(number, number + 16)):
        number += 1
    return number


def run_cells(
    files: Sequence[Path],
    *,
    out: Path,
    parameters: Effective[CellsParameters],
    execution: Execution | None = None,
    use_gpu: bool = True,
    progress: Progress | None = None,
) -> RunResult:
    """:func:`count` with parameters whose sources are known."""
    execution = execution or Execution()
    values = parameters.values
    check_target(out, workflow=WORKFLOW)
    with collected_warnings() as notes:
        for role in values.roles:
            backend(values.channel_of(role).method)
        field = open_field(files, values)
        inputs = _inputs(files, values)
        _check_requests(field, values)
        tell_memory(field, values, execution.max_memory_bytes)
    workflow = _Workflow(field, values, use_gpu=use_gpu)
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


def refine(
    run_dir: Path,
    *,
    flags: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    use_gpu: bool = True,
    progress: Progress | None = None,
) -> RunResult:
    """Change parameters of a finished run; what does not depend on them is not computed again.

    Network outputs and filtered images of the run are kept, so that thresholds, filters of
    objects, positivity rules and hand edits need no forward pass, in any later process.

    Parameters
    ----------
    run_dir : Path
    flags : mapping of str to Any, optional
        By field name (``cell__cellprob_threshold``), as text.
    parameters : mapping, optional
        Nested: ``{"cell": {"cellprob_threshold": -5}}``.
    use_gpu : bool
        Only if a changed parameter needs the network after all.
    progress : Progress, optional

    Returns
    -------
    RunResult

    Raises
    ------
    InputError
        If ``run_dir`` is no run of this workflow, an input is gone, or a parameter is wrong.
    """
    record = open_run(run_dir)
    if record["workflow"] != WORKFLOW:
        raise InputError(f"{run_dir}: is a run of {record['workflow']!r}, not of {WORKFLOW!r}")
    kept: dict[str, Any] = {}
    places = {_parameter_of(role): facts for role, facts in record["inputs"].items()}
    for key, value in record["parameters"].items():
        if value is not None and record["parameter_sources"].get(key) != "default":
            known = str(_found_again(places[key])) if key in places else value
            _put(kept, key.split("."), known)
    for key, value in _leaves(parameters or {}):
        _put(kept, key, value)
    groups = {key.split(".")[0] for key in record["parameters"]}
    n_markers = sum(name.startswith("marker") for name in groups)
    effective = merge_parameters(
        cells_parameters(n_markers),
        toml=kept,
        flags=flags,
        toml_name=str(run_dir / "run.json"),
    )
    files = [_found_again(f) for r, f in record["inputs"].items() if r.startswith("image")]
    gone = [str(f) for f in files if not f.exists()]
    if gone:
        raise InputError(
            f"{run_dir}: its input {', '.join(gone)} is not there any more; put it back, or count "
            "again where it is now"
        )
    return run_cells(files, out=run_dir, parameters=effective, use_gpu=use_gpu, progress=progress)


def _parameter_of(role: str) -> str:
    """The parameter that names an input file.

    Examples
    --------
    >>> _parameter_of("regions"), _parameter_of("labels_marker2")
    ('regions', 'marker2.labels')
    """
    kind, _, of = role.partition("_")
    return f"{of}.{kind}" if of else kind


def _found_again(facts: Mapping[str, Any]) -> Path:
    """Where an input of a run is: where it was, whatever the working directory is now."""
    typed, was = Path(facts["path"]), Path(facts.get("resolved", facts["path"]))
    elsewhere = not typed.is_absolute() and typed.resolve() != was
    return was if elsewhere and was.exists() else typed


def _leaves(
    tree: Mapping[str, Any], path: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for name, value in tree.items():
        if hasattr(value, "items"):
            found += _leaves(value, (*path, name))
        else:
            found.append(((*path, name), value))
    return found


def _put(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


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


def _inputs(files: Sequence[Path], parameters: CellsParameters) -> dict[str, Path]:
    inputs = {"image": files[0]} if len(files) == 1 else {}
    if not inputs:
        inputs = {f"image_{k}": file for k, file in enumerate(files)}
    if parameters.regions is not None:
        inputs["regions"] = parameters.regions.expanduser()
    for role in parameters.roles:
        options = parameters.channel_of(role)
        for kind in ("labels", "edited"):
            path: Path | None = getattr(options, kind)
            if path is not None:
                inputs[f"{kind}_{role}"] = path.expanduser()
                if not inputs[f"{kind}_{role}"].exists():
                    raise FileMissingError(f"{path}: no such file ({role}.{kind})")
        model = _model_of(options)
        if model is not None:
            inputs[f"model_{role}"] = model
    return inputs


def _model_of(options: ChannelParameters) -> Path | None:
    """The network that a channel brings along, where its method takes what is there as one."""
    if options.model is None or "model" not in backend(options.method).early:
        return None
    path = Path(options.model).expanduser()
    taken = {
        "cellpose": path.is_file(),
        "stardist": (path / "config.json").is_file(),
    }
    return path if taken.get(options.method, path.exists()) else None


def _check_requests(field: CellField, parameters: CellsParameters) -> None:
    """Refuse before the run what would be refused after its costly half."""
    check_counting(field.shape, parameters.counting, field.spacing_um)
    markers = [field.names[role] for role in parameters.roles[1:]]
    for text in parameters.phenotypes.phenotypes:
        parse_phenotype(text, markers)
    for role in parameters.roles:
        options = parameters.channel_of(role)
        for path in (options.labels, options.edited):
            if path is not None:
                checked_labels(field.fitted_labels(read_labels(path), str(path)), str(path))


class _Workflow:
    """The steps of one run, in the order of a methods section."""

    def __init__(self, field: CellField, parameters: CellsParameters, *, use_gpu: bool) -> None:
        self.field = field
        self.parameters = parameters
        self.use_gpu = use_gpu

    def steps(self, inputs: tuple[str, ...]) -> list[Step]:
        """The plan."""
        p = self.parameters
        images = tuple(i for i in inputs if i.startswith("image"))
        seen = (*images, *(i for i in inputs if i == "regions"))
        geometry = {
            "scene": p.scene,
            "axes": p.axes,
            "frame": p.frame,
            "spacing_um": p.spacing_um,
            "z_crop": p.z_crop,
            "z_projection": p.z_projection,
        }
        plan: list[Step] = [
            Step(
                name="channels",
                version=1,
                function=self.channels,
                inputs=seen,
                parameters={**geometry, "names": dict(self.field.names), **self._chosen()},
                outputs=(*table_outputs("channels"), "labels/rois.ome.tif"),
            )
        ]
        for role in p.roles:
            plan += self._finding(role, inputs, seen, geometry)
        found = tuple(f"objects_{role}" for role in p.roles)
        markers = p.roles[1:]
        plan.append(
            Step(
                name="count",
                version=2,
                function=self.count,
                inputs=seen,
                needs=found,
                parameters={
                    **geometry,
                    **self._chosen(),
                    "names": dict(self.field.names),
                    "counting": p.counting,
                    "positivity": {r: p.marker_of(r).positivity_dump() for r in markers},
                },
                outputs=(
                    *table_outputs(*self._count_tables()),
                    *(f"labels/{r}_positive_cells.ome.tif" for r in markers),
                ),
            )
        )
        plan.append(
            Step(
                name="phenotypes",
                version=1,
                function=self.phenotypes,
                needs=("count",),
                parameters={
                    "phenotypes": p.phenotypes,
                    "names": dict(self.field.names),
                },
                outputs=table_outputs("phenotypes"),
            )
        )
        plan.append(
            Step(
                name="images",
                version=1,
                function=self.images,
                inputs=seen,
                needs=(*found, "count"),
                parameters={**geometry, **self._chosen(), "names": dict(self.field.names)},
                outputs=("images.zarr",),
            )
        )
        measured = ("channels", *found, "count", "phenotypes")
        plan.append(
            Step(
                name="workbook",
                version=1,
                function=self.workbook,
                needs=measured,
                parameters={"aequorea": __version__},
                outputs=("results/cells.xlsx",),
            )
        )
        plan.append(
            Step(
                name="report",
                version=1,
                function=write_page,
                needs=(*measured, "images", "workbook"),
                parameters={"aequorea": __version__, "parameters": flat_values(p)},
                outputs=("report.html",),
            )
        )
        return plan

    def _chosen(self) -> dict[str, Any]:
        return {
            "channels": {r: self.parameters.channel_of(r).channel for r in self.parameters.roles}
        }

    def _finding(
        self,
        role: str,
        inputs: tuple[str, ...],
        seen: tuple[str, ...],
        geometry: Mapping[str, Any],
    ) -> list[Step]:
        """The costly half of a channel's segmentation, and the cheap one."""
        options = self.parameters.channel_of(role)
        method = backend(options.method)
        own = tuple(i for i in inputs if i in {f"labels_{role}", f"edited_{role}"})
        dumped = options.model_dump(mode="json")
        channel = {"channel": options.channel}
        objects = Step(
            name=f"objects_{role}",
            version=2,
            function=lambda context: self.objects(context, role),
            inputs=(*seen, *own),
            needs=() if options.labels is not None else (f"response_{role}",),
            parameters={
                **geometry,
                **channel,
                "name": self.field.names[role],
                "options": {k: dumped[k] for k in sorted(method.late | POSTFILTER_FIELDS)},
                "method": [method.name, method.version],
                "min_cell_px": self.parameters.min_cell_px if role == "cell" else None,
            },
            outputs=(
                f"labels/{role}.ome.tif",
                *table_outputs(f"segmentation_{role}"),
                *(table_outputs(f"label_changes_{role}") if options.edited is not None else ()),
            ),
        )
        if options.labels is not None:
            return [objects]
        early = method.early | PREFILTER_FIELDS
        response = Step(
            name=f"response_{role}",
            version=1,
            function=lambda context: self.response(context, role),
            inputs=(*seen, *(i for i in inputs if i == f"model_{role}")),
            parameters={
                **geometry,
                **channel,
                "options": {k: dumped[k] for k in sorted(early - {"model"})},
                # a model given as a file is told by its content, not its path
                "model": None if f"model_{role}" in inputs else dumped["model"],
                "method": [method.name, method.version],
            },
            outputs=(f"responses/{role}.zarr",),
        )
        return [response, objects]

    def _count_tables(self) -> tuple[str, ...]:
        roles = self.parameters.roles
        return (
            "detailed_overlaps",
            "cell_summary",
            *(f"{r}_properties" for r in roles[1:]),
            "roi_coloc_overview",
            *(f"roi_{r}_summary" for r in roles),
            "stability",
            "positivity",
        )

    def channels(self, context: StepContext) -> None:
        """What the channels are, and the regions as an image of their own."""
        rows = []
        for role in context.track(self.parameters.roles):
            pixels = self.field.pixels(role)
            finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
            if not finite.size:
                raise InputError(f"channel {self.field.names[role]!r} has no finite pixel")
            top = finite.max()
            limit = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else np.inf
            rows.append(
                {
                    "role": role,
                    "channel": self.field.names[role],
                    "min": float(finite.min()),
                    "median": float(np.median(finite)),
                    "max": float(top),
                    "saturated_fraction": float(np.mean(pixels == top)) if top >= limit else 0.0,
                }
            )
        write_tables(context, channels=pd.DataFrame(rows))
        self._write_labels(context.target("labels/rois.ome.tif"), self.field.regions)

    def response(self, context: StepContext, role: str) -> None:
        """The costly half: filters or a network, kept on disk."""
        responses = respond(
            self.field.pixels(role),
            self.field.regions,
            self.parameters.channel_of(role),
            spacing_um=self.field.spacing_um,
            use_gpu=self.use_gpu,
            track=context.track,
        )
        write_responses(context.target(f"responses/{role}.zarr"), responses)

    def objects(self, context: StepContext, role: str) -> None:
        """The cheap half: labels, filtered, confined to the regions; hand edits in their place."""
        options = self.parameters.channel_of(role)
        whole = role == "cell"
        if options.labels is not None:
            found = self._given(options.labels, whole=whole)
        else:
            found = label(
                read_responses(context.result(f"responses/{role}.zarr")),
                self.field.pixels(role),
                self.field.regions,
                options,
                whole=whole,
            )
        if whole:
            sized = without_small(found, self.field.regions, self.parameters.min_cell_px)
            if options.edited is None:
                self._tell_dropped(found, sized)
            found = sized
        labels = found.labels
        if options.edited is not None:
            edited = self._given(options.edited, whole=whole).labels
            changes = label_changes(labels, edited)
            write_tables(
                context,
                **{f"label_changes_{role}": change_table(changes, self.field.names[role])},
            )
            labels = edited
        self._write_labels(context.target(f"labels/{role}.ome.tif"), labels)
        table = segmentation_table(found, options, self.field, role)
        write_tables(context, **{f"segmentation_{role}": table})
        for said in segmentation_notes(table):
            warnings.warn(said, AequoreaWarning, stacklevel=1)

    def _tell_dropped(self, found: FoundObjects, sized: FoundObjects) -> None:
        """Say so where the smallest size takes more than a few cells away."""
        n_found, n_left = (len(np.unique(f.labels[f.labels > 0])) for f in (found, sized))
        n_dropped = n_found - n_left
        if n_dropped and n_dropped >= _MANY_DROPPED * n_found:
            warnings.warn(
                f"{self.field.names['cell']}: {n_dropped} of {n_found} cells found "
                f"({100 * n_dropped / n_found:.0f} %) have fewer than "
                f"{self.parameters.min_cell_px} px and are dropped (--min-cell-px); look whether "
                "they are cells",
                AequoreaWarning,
                stacklevel=2,
            )

    def _given(self, path: Path, *, whole: bool) -> FoundObjects:
        labels = self.field.fitted_labels(read_labels(path), str(path))
        kept = given_objects(labels, self.field.regions, whole=whole, what=str(path))
        facts = tuple(
            {"region": k, "n_objects": None, "note": f"labels from {path.name}"}
            for k in self.field.region_names
        )
        return FoundObjects(labels=kept, facts=facts)

    def count(self, context: StepContext) -> None:
        """Overlaps, positive cells, morphology, occupancy; edges without bias."""
        p = self.parameters
        labels = self._labels(context)
        counted = count_cells(
            labels,
            {role: self.field.pixels(role) for role in p.roles},
            self.field.regions,
            spacing_um=self.field.spacing_um,
            positivity={role: p.marker_of(role) for role in p.roles[1:]},
        )
        tables = _named_tables(counted, p.roles)
        counts = counted_cells(labels["cell"], p.counting, self.field.spacing_um)
        present = np.unique(labels["cell"][labels["cell"] > 0])
        cells = tables["cell_summary"]
        cells["counted"] = counts[np.searchsorted(present, cells["cell_label"].to_numpy())]
        overview = add_counts(
            tables["roi_coloc_overview"],
            cells,
            labels["cell"],
            p.counting,
            self.field.spacing_um,
        )
        overview = with_fractions(overview, p.roles[1:])
        overview = with_reference(
            overview, self.field.regions, self.field.shape, p.counting, self.field.spacing_um
        )
        names = [self.field.region_names.get(int(k), str(k)) for k in overview["roi_id"]]
        overview.insert(1, "roi_name", names)
        tables["roi_coloc_overview"] = overview
        for role in p.roles:
            name = "cell_summary" if role == "cell" else f"{role}_properties"
            tables[name] = with_places(
                tables[name], labels[role], f"{role}_label", first_plane=self.field.first_plane
            )
        markers = {role: p.marker_of(role) for role in p.roles[1:]}
        tables["stability"] = stability_table(counted.calls, markers, self.field.names)
        tables["positivity"] = positivity_table(counted.calls, self.field.names)
        write_tables(context, **tables)
        for role in p.roles[1:]:
            positive = np.isin(labels["cell"], counted.positive_labels(role))
            self._write_labels(
                context.target(f"labels/{role}_positive_cells.ome.tif"),
                np.where(positive, labels["cell"], 0),
            )

    def phenotypes(self, context: StepContext) -> None:
        """Combinations of markers, against chance."""
        cells = read_table(context.result("tables/cell_summary.parquet"))
        table = phenotype_table(
            cells,
            {r: self.field.names[r] for r in self.parameters.roles[1:]},
            self.parameters.phenotypes,
        )
        write_tables(context, phenotypes=table[list(PHENOTYPE_COLUMNS)])

    def images(self, context: StepContext) -> None:
        """Channels and labels, to look at and to open elsewhere."""
        labels = self._labels(context)
        kept: dict[str, NDArray[Any]] = {"rois": smallest_unsigned(self._plane(self.field.regions))}
        for role, found in labels.items():
            kept[folder_name(role)] = smallest_unsigned(self._plane(found))
        for role in self.parameters.roles[1:]:
            positive = read_labels(context.result(f"labels/{role}_positive_cells.ome.tif"))
            kept[f"{role}_positive_cells"] = smallest_unsigned(self._plane(as_stack(positive)))
        images = [
            self._image(self.field.pixels(role), self.field.names[role])
            for role in self.parameters.roles
        ]
        names = [self.field.names[role] for role in self.parameters.roles]
        write_ome_zarr(stacked_image(images, names), context.target("images.zarr"), labels=kept)

    def workbook(self, context: StepContext) -> None:
        """All tables as sheets of one file."""
        names = ["detailed_overlaps", "cell_summary", *self._count_tables()[2:]]
        extra = ["phenotypes", "channels"]
        extra += [f"segmentation_{role}" for role in self.parameters.roles]
        extra += [
            f"label_changes_{role}"
            for role in self.parameters.roles
            if self.parameters.channel_of(role).edited is not None
        ]
        tables = {
            name: read_table(context.result(f"tables/{name}.parquet")) for name in [*names, *extra]
        }
        write_workbook(context.target("results/cells.xlsx"), tables)

    def _labels(self, context: StepContext) -> dict[str, NDArray[np.int32]]:
        return {
            role: as_stack(read_labels(context.result(f"labels/{role}.ome.tif"))).astype(np.int32)
            for role in self.parameters.roles
        }

    def _write_labels(self, path: Path, labels: NDArray[Any]) -> None:
        image = self._image(smallest_unsigned(labels), path.name.split(".", 1)[0])
        write_ome_tiff(image, path)

    def _plane(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Labels as the images of the run have them: one plane is no stack."""
        return labels[0] if labels.ndim == 3 and len(labels) == 1 else labels

    def _image(self, pixels: NDArray[Any], name: str) -> Image:
        flat = self._plane(pixels)
        z, y, x = self.field.spacing_um
        spacing = {"z": z, "y": y, "x": x} if flat.ndim == 3 else {"y": y, "x": x}
        return Image(
            data=flat,
            axes="zyx" if flat.ndim == 3 else "yx",
            channels=(name,),
            spacing_um=spacing,
        )


def segmentation_table(
    found: FoundObjects, options: ChannelParameters, field: CellField, role: str
) -> pd.DataFrame:
    """What the method used and found in each region: thresholds, scale, numbers."""
    rows = [
        {
            "roi_id": facts["region"],
            "roi_name": field.region_names.get(int(facts["region"] or 0), ""),
            "channel": field.names[role],
            "method": "given labels" if options.labels is not None else options.method,
            **{k: v for k, v in facts.items() if k not in {"region", "note"}},
            "note": facts.get("note") or "",
        }
        for facts in found.facts
    ]
    return pd.DataFrame(rows)


def segmentation_notes(table: pd.DataFrame) -> list[str]:
    """What a method left to say of one channel; what holds for several regions is said once.

    Parameters
    ----------
    table : DataFrame
        As :func:`segmentation_table` gives it.
    """
    where: dict[tuple[str, str], list[str]] = {}
    for row in table.to_dict("records"):
        if row["note"] and row["method"] != "given labels":
            where.setdefault((row["channel"], row["note"]), []).append(str(row["roi_name"]))
    return [f"{channel}, {_told(regions)}: {said}" for (channel, said), regions in where.items()]


def _told(regions: Sequence[str]) -> str:
    if list(regions) == ["whole image"]:
        return "the whole image"
    more = f" and {len(regions) - _MOST_REGIONS} more" if len(regions) > _MOST_REGIONS else ""
    s = "" if len(regions) == 1 else "s"
    return f"region{s} {', '.join(regions[:_MOST_REGIONS])}{more}"


def _named_tables(counted: CountedCells, roles: Sequence[str]) -> dict[str, pd.DataFrame]:
    return {
        "detailed_overlaps": counted.overlaps,
        "cell_summary": counted.cells.copy(),
        **{f"{role}_properties": counted.objects[role] for role in roles[1:]},
        "roi_coloc_overview": counted.overview,
        **{f"roi_{role}_summary": counted.summaries[role] for role in roles},
    }


def write_page(context: StepContext) -> None:
    """Make the page out of what the run directory holds."""
    from aequorea.report.cells import write_report

    write_report(context.run_dir).replace(context.target("report.html"))
