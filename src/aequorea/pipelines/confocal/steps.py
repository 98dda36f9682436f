"""The steps for one confocal stack, in the order of a methods section."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea import __version__
from aequorea.errors import AequoreaWarning
from aequorea.io import read_labels, write_ome_tiff, write_ome_zarr
from aequorea.measure.quality import stack_quality
from aequorea.model import Image
from aequorea.pipelines.confocal.anatomy import Anatomy
from aequorea.pipelines.confocal.compartments import find_cells, find_nuclei, geometry_of_cells
from aequorea.pipelines.confocal.conjunctions import conjunction_table
from aequorea.pipelines.confocal.detection import (
    chosen_threshold,
    find_all,
    found_puncta,
    read_candidates,
    read_facts,
    read_heights,
    repaired,
    write_candidates,
)
from aequorea.pipelines.confocal.efficiency import EFFICIENCY_COLUMNS, efficiency_table
from aequorea.pipelines.confocal.measures import (
    chance_table,
    distribution_table,
    protein_columns,
    puncta_columns,
    room_columns,
    shell_table,
)
from aequorea.pipelines.confocal.workbook import workbook_step
from aequorea.pipelines.kept_pixels import folder_name, smallest_unsigned, stacked_image
from aequorea.pipelines.kept_tables import kept_table, table_outputs, write_tables
from aequorea.pipelines.run.parameters import flat_values
from aequorea.pipelines.run.steps import (
    Step,
    StepContext,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aequorea.pipelines.confocal.compartments import Found
    from aequorea.pipelines.confocal.fields import ConfocalField
    from aequorea.pipelines.confocal.parameters import (
        ConfocalParameters,
    )


_DETECTION = {
    "method",
    "spot_sigma_yx_um",
    "spot_sigma_z_um",
    "background_inner_sigma",
    "background_outer_sigma",
}


class ConfocalSteps:
    """The steps of one run, in the order of a methods section."""

    def __init__(
        self,
        field: ConfocalField,
        parameters: ConfocalParameters,
        thresholds: Mapping[str, float],
    ) -> None:
        self.field = field
        self.parameters = parameters
        self.thresholds = thresholds

    def steps(self, inputs: tuple[str, ...]) -> list[Step]:
        """The plan."""
        p = self.parameters
        images = tuple(i for i in inputs if i.startswith("image"))
        geometry = {
            "scene": p.scene,
            "axes": p.axes,
            "frame": p.frame,
            "spacing_um": self.field.spacing_um,
            "repair_hot_pixels": p.repair_hot_pixels,
        }
        names = dict(self.field.names)
        kinds = {role: p.puncta_of(role) for role in p.puncta_roles}
        plan = [
            Step(
                name="channels",
                version=3,
                function=self.channels,
                inputs=images,
                parameters={**geometry, **self._chosen(), "export": p.export_channels},
                outputs=(*table_outputs("channels"), *self._exports()),
            ),
            *self._finding(inputs, images, geometry),
            Step(
                name="candidates",
                version=2,
                function=self.candidates,
                inputs=images,
                parameters={
                    **geometry,
                    **self._chosen(*p.puncta_roles),
                    "options": {
                        r: k.model_dump(mode="json", include=_DETECTION) for r, k in kinds.items()
                    },
                },
                outputs=("candidates",),
            ),
            Step(
                name="puncta",
                version=3,
                function=self.puncta,
                inputs=images,
                needs=("nuclei", "cells", "candidates"),
                parameters={
                    **geometry,
                    **self._chosen(*p.puncta_roles),
                    "options": {r: k.model_dump(mode="json") for r, k in kinds.items()},
                    "thresholds": dict(self.thresholds),
                    "foci": p.foci,
                },
                outputs=table_outputs("puncta", "thresholds", "elbows"),
            ),
            *self._of_puncta(images, geometry),
            Step(
                name="measures",
                version=2,
                function=self.measures,
                inputs=images,
                needs=("nuclei", "cells", "puncta"),
                parameters={
                    **geometry,
                    **self._chosen(*p.puncta_roles, *p.protein_roles),
                    "distances": p.distances,
                },
                outputs=table_outputs("cells", "shells", "distributions", "proteins"),
            ),
            Step(
                name="chance",
                version=1,
                function=self.chance,
                needs=("nuclei", "cells", "puncta"),
                parameters={"nulls": p.nulls, "seed": p.seed, "spacing_um": self.field.spacing_um},
                outputs=table_outputs("chance"),
            ),
            Step(
                name="images",
                version=1,
                function=self.images,
                inputs=images,
                needs=("nuclei", "cells"),
                parameters={**geometry, **self._chosen(), "names": names},
                outputs=("images.zarr",),
            ),
        ]
        plan.append(workbook_step(plan))
        plan.append(
            Step(
                name="gallery",
                version=1,
                function=write_gallery,
                needs=("channels", "puncta", "measures", "images"),
                parameters={"aequorea": __version__, "names": names},
                outputs=("gallery.html",),
            )
        )
        everything = tuple(step.name for step in plan)
        plan.append(
            Step(
                name="report",
                version=1,
                function=write_page,
                needs=everything,
                parameters={"aequorea": __version__, "parameters": flat_values(p), "names": names},
                outputs=("report.html",),
            )
        )
        return plan

    def _of_puncta(self, images: tuple[str, ...], geometry: Mapping[str, Any]) -> list[Step]:
        """What is asked of puncta beyond their places, where there is anything to ask."""
        p, steps = self.parameters, []
        if p.puncta_roles and p.detection.efficiency:
            steps.append(
                Step(
                    name="efficiency",
                    version=1,
                    function=self.efficiency,
                    inputs=images,
                    needs=("cells", "candidates", "puncta"),
                    parameters={**geometry, "detection": p.detection, "seed": p.seed},
                    outputs=table_outputs("efficiency"),
                )
            )
        if len(p.puncta_roles) > 1:
            steps.append(
                Step(
                    name="conjunctions",
                    version=1,
                    function=self.conjunctions,
                    needs=("nuclei", "cells", "puncta"),
                    parameters={
                        "conjunction": p.conjunction,
                        "nulls": p.nulls,
                        "n_shells": p.distances.n_shells,
                        "seed": p.seed,
                        "spacing_um": self.field.spacing_um,
                    },
                    outputs=table_outputs("conjunctions"),
                )
            )
        return steps

    def _finding(
        self, inputs: tuple[str, ...], images: tuple[str, ...], geometry: Mapping[str, Any]
    ) -> list[Step]:
        steps = []
        for role, needs in (("nuclei", ()), ("cells", ("nuclei",))):
            own = tuple(i for i in inputs if i in {f"labels_{role}", f"edited_{role}"})
            options = getattr(self.parameters, role)
            changes = () if options.edited is None else table_outputs(f"label_changes_{role}")
            steps.append(
                Step(
                    name=role,
                    version=1,
                    function=getattr(self, role),
                    inputs=(*images, *own),
                    needs=needs,
                    parameters={
                        **geometry,
                        **self._chosen("nuclei", role),
                        "recipe": self.parameters.recipe,
                        "options": options.model_dump(mode="json", exclude={"labels", "edited"}),
                    },
                    outputs=(
                        f"labels/{role}.ome.tif",
                        *table_outputs(f"segmentation_{role}"),
                        *changes,
                    ),
                )
            )
        return steps

    def _chosen(self, *roles: str) -> dict[str, Any]:
        wanted = roles or self.parameters.roles
        return {"channels": {r: self.parameters.channel_of(r).channel for r in wanted}}

    def _exports(self) -> tuple[str, ...]:
        if not self.parameters.export_channels:
            return ()
        return tuple(
            f"results/channels/{folder_name(name)}.ome.tif" for name in self.field.names.values()
        )

    def channels(self, context: StepContext) -> None:
        """Quality of every channel; calibrated files of them where asked for."""
        rows = []
        for role in context.track(list(self.field.images)):
            raw = self.field.raw(role)
            is_spots = role in self.parameters.puncta_roles
            pixels = self._spots(role) if is_spots else self.field.pixels(role)
            found = stack_quality(pixels, spacing_um=self.field.spacing_um)
            rows.append(
                {
                    "role": role,
                    "channel": self.field.names[role],
                    "min": float(raw.min()),
                    "max": float(raw.max()),
                    **found.columns(),
                    "n_planes": raw.shape[0],
                    "n_hot_pixels": int(np.count_nonzero(raw != pixels)),
                    "z_scale_factor": self.field.axial_scale,
                    **{
                        f"voxel_{a}_um": s
                        for a, s in zip("zyx", self.field.spacing_um, strict=True)
                    },
                }
            )
            if self.parameters.export_channels:
                name = folder_name(self.field.names[role])
                target = context.target(f"results/channels/{name}.ome.tif")
                write_ome_tiff(self._image(raw, self.field.names[role]), target)
        write_tables(context, channels=pd.DataFrame(rows))

    def nuclei(self, context: StepContext) -> None:
        """Nuclei in 3D."""
        self._keep(context, "nuclei", find_nuclei(self.field, self.parameters))

    def cells(self, context: StepContext) -> None:
        """Cell bodies in 3D, each around its nucleus."""
        nuclei = self._labels(context, "nuclei")
        self._keep(context, "cells", find_cells(self.field, nuclei, self.parameters))

    def candidates(self, context: StepContext) -> None:
        """Everything that might be a punctum, noise included."""
        folder = context.target("candidates")
        folder.mkdir(parents=True, exist_ok=True)
        for role in context.track(list(self.parameters.puncta_roles)):
            options = self.parameters.puncta_of(role)
            found = find_all(self._spots(role), options, self.field.spacing_um)
            write_candidates(found, folder, role)

    def puncta(self, context: StepContext) -> None:
        """Puncta above the threshold, fitted, with their cells and distances."""
        anatomy, folder = self._anatomy(context), context.result("candidates")
        tables, thresholds, elbows = [], [], []
        for role in context.track(list(self.parameters.puncta_roles)):
            options = self.parameters.puncta_of(role)
            head = {"role": role, "channel": self.field.names[role]}
            facts, heights = read_facts(folder, role), read_heights(folder, role)
            chosen = chosen_threshold([heights], facts, options, common=self.thresholds.get(role))
            found = found_puncta(
                self._spots(role),
                read_candidates(folder, role),
                facts,
                chosen.value,
                options,
                anatomy,
                foci_radius_um=self.parameters.foci.foci_radius_um,
                foci_puncta=self.parameters.foci.foci_puncta,
            )
            tables.append(_headed(found, head))
            notes = () if chosen.curve is None else chosen.curve.notes
            for note in notes:
                warnings.warn(f"{head['channel']}: {note}", AequoreaWarning, stacklevel=1)
            thresholds.append(
                {
                    **head,
                    "threshold": chosen.value,
                    "source": chosen.source,
                    "own_threshold": np.nan if chosen.curve is None else chosen.curve.value,
                    "n_candidates": len(heights),
                    "n_puncta": len(found),
                    "n_hot": facts.n_hot,
                    "gain": facts.gain,
                    "note": "; ".join(notes),
                }
            )
            if chosen.curve is not None:
                curve = {"threshold": chosen.curve.levels, "n_above": chosen.curve.counts}
                elbows.append(_headed(pd.DataFrame(curve), head))
        write_tables(
            context,
            puncta=_joined(tables, ["role", "channel", "cell", "compartment"]),
            thresholds=_joined(thresholds, ["role", "channel", "threshold"]),
            elbows=_joined(elbows, ["role", "channel", "threshold", "n_above"]),
        )

    def measures(self, context: StepContext) -> None:
        """Numbers per cell, per shell, and distribution functions."""
        p = self.parameters
        anatomy = self._anatomy(context)
        kinds = self._puncta_by_kind(context)
        cells = geometry_of_cells(anatomy)
        labels = cells["cell"].to_numpy()
        cells = cells.assign(**room_columns(anatomy, labels))
        proteins: dict[str, tuple[NDArray[Any], float]] = {}
        backgrounds = []
        for role, table in kinds.items():
            found = puncta_columns(table, anatomy, cells, near_um=p.distances.near_um)
            cells = cells.assign(**{f"{role}_{name}": values for name, values in found.items()})
        for role in p.protein_roles:
            image = self.field.pixels(role)
            found, background = protein_columns(image, anatomy, labels, near_um=p.distances.near_um)
            cells = cells.assign(**{f"{role}_{name}": values for name, values in found.items()})
            reason = ""
            if np.isfinite(background):
                proteins[role] = (image, background)
            else:
                reason = "cells fill the image, so there is no background to take off"
            backgrounds.append({"role": role, "background": background, "reason": reason})
        cells["reason"] = np.where(cells["n_nuclei"] == 0, "the cell has no nucleus", "")
        write_tables(
            context,
            cells=cells,
            shells=shell_table(anatomy, kinds, proteins, p.distances.n_shells),
            distributions=distribution_table(anatomy, kinds, proteins),
            proteins=_joined(backgrounds, ["role", "background", "reason"]),
        )

    def chance(self, context: StepContext) -> None:
        """Each cell beside random puncta in its own cytosol."""
        nulls = self.parameters.nulls
        table = chance_table(
            self._anatomy(context),
            self._puncta_by_kind(context),
            least=nulls.least_puncta,
            n_simulations=nulls.n_simulations,
            alpha=1 - nulls.null_confidence,
            seed=self.parameters.seed,
        )
        write_tables(context, chance=table)

    def efficiency(self, context: StepContext) -> None:
        """Spots of known brightness put into the image, and how many are found."""
        p, folder = self.parameters, context.result("candidates")
        kinds, cells = self._puncta_by_kind(context), self._labels(context, "cells")
        thresholds = kept_table(context, "thresholds").set_index("role")["threshold"]
        tables = []
        for number, role in enumerate(context.track(list(p.puncta_roles))):
            found = efficiency_table(
                self._spots(role),
                kinds[role],
                read_facts(folder, role),
                float(thresholds[role]),
                cells,
                spacing_um=self.field.spacing_um,
                n_spots=p.detection.injected_spots,
                rng=np.random.default_rng([p.seed, number]),
            )
            tables.append(_headed(found, {"role": role, "channel": self.field.names[role]}))
        write_tables(context, efficiency=_joined(tables, list(EFFICIENCY_COLUMNS)))

    def conjunctions(self, context: StepContext) -> None:
        """Puncta of different kinds together, beside chance."""
        p = self.parameters
        table = conjunction_table(
            self._anatomy(context),
            self._puncta_by_kind(context),
            within_um=p.conjunction.pair_distance_um,
            n_shells=p.distances.n_shells,
            n_simulations=p.nulls.n_simulations,
            least=p.nulls.least_puncta,
            seed=p.seed,
        )
        write_tables(context, conjunctions=table)

    def images(self, context: StepContext) -> None:
        """Channels and labels, to look at and to open elsewhere."""
        labels = {r: smallest_unsigned(self._labels(context, r)) for r in ("nuclei", "cells")}
        roles = list(self.field.images)
        images = [self._image(self.field.raw(r), self.field.names[r]) for r in roles]
        names = [self.field.names[r] for r in roles]
        write_ome_zarr(stacked_image(images, names), context.target("images.zarr"), labels=labels)

    def _spots(self, role: str) -> NDArray[Any]:
        """A channel of puncta as it is analysed."""
        raw, options = self.field.raw(role), self.parameters.puncta_of(role)
        return repaired(raw, options, self.field.spacing_um) if self.field.repairs else raw

    def _puncta_by_kind(self, context: StepContext) -> dict[str, pd.DataFrame]:
        table = kept_table(context, "puncta")
        return {role: table[table["role"] == role] for role in self.parameters.puncta_roles}

    def _anatomy(self, context: StepContext) -> Anatomy:
        return Anatomy(
            self._labels(context, "cells"), self._labels(context, "nuclei"), self.field.spacing_um
        )

    def _labels(self, context: StepContext, role: str) -> NDArray[np.int32]:
        path = context.result(f"labels/{role}.ome.tif")
        return np.asarray(read_labels(path, self.field.shape), dtype=np.int32)

    def _keep(self, context: StepContext, role: str, found: Found) -> None:
        for note in found.notes:
            warnings.warn(f"{role}: {note}", AequoreaWarning, stacklevel=1)
        image = self._image(smallest_unsigned(found.labels), role)
        write_ome_tiff(image, context.target(f"labels/{role}.ome.tif"))
        n_objects = len(np.unique(found.labels[found.labels > 0]))
        if not n_objects:
            warnings.warn(f"no {role} were found", AequoreaWarning, stacklevel=1)
        facts = {"role": role, "n_objects": n_objects, **found.facts}
        facts["note"] = "; ".join(found.notes)
        write_tables(context, **{f"segmentation_{role}": pd.DataFrame([facts])})
        if found.changes is not None:
            write_tables(context, **{f"label_changes_{role}": found.changes})

    def _image(self, pixels: NDArray[Any], name: str) -> Image:
        return Image(
            data=pixels,
            axes="zyx",
            channels=(name,),
            spacing_um=dict(zip("zyx", self.field.spacing_um, strict=True)),
        )


def _headed(table: pd.DataFrame, head: Mapping[str, Any]) -> pd.DataFrame:
    """A table with constant leading columns."""
    found = table.copy()
    for place, (name, value) in enumerate(head.items()):
        found.insert(place, name, value)
    return found


def _joined(parts: list[Any], columns: list[str]) -> pd.DataFrame:
    """Rows or tables as one table, which has its columns when it is empty, too."""
    if not parts:
        return pd.DataFrame(columns=columns)
    if isinstance(parts[0], dict):
        return pd.DataFrame(parts)
    found: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return found


def write_page(context: StepContext) -> None:
    """Make the page out of what the run directory holds."""
    from aequorea.report.confocal import write_report

    write_report(context.run_dir).replace(context.target("report.html"))


def write_gallery(context: StepContext) -> None:
    """Make the page of all cells, one by one."""
    from aequorea.report.confocal_gallery import write_gallery as written

    written(context.run_dir).replace(context.target("gallery.html"))
