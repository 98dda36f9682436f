"""The steps for one confocal stack, in the order of a methods section."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea import __version__
from aequorea.errors import AequoreaWarning
from aequorea.io import read_labels, write_ome_tiff, write_ome_zarr
from aequorea.measure.quality import stack_quality
from aequorea.model import Image
from aequorea.pipelines.confocal.anatomy import Anatomy, geometry_of_cells
from aequorea.pipelines.confocal.chance import chance_tables
from aequorea.pipelines.confocal.compartments import find_cells, find_nuclei
from aequorea.pipelines.confocal.conjunctions import conjunction_table
from aequorea.pipelines.confocal.depth import depth_tables, factor_at
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
from aequorea.pipelines.confocal.fields import CORRECTED
from aequorea.pipelines.confocal.landmarks import (
    find_landmark,
    landmark_columns,
    landmark_distributions,
    landmark_geometry,
    landmark_of_puncta,
)
from aequorea.pipelines.confocal.measures import (
    POSITION,
    distribution_table,
    protein_columns,
    puncta_columns,
    room_columns,
    shell_table,
)
from aequorea.pipelines.confocal.molecules import (
    MOLECULE_COLUMNS,
    SITE_COLUMNS,
    Reference,
    copy_number_table,
    molecule_columns,
    reference_row,
    site_table,
)
from aequorea.pipelines.confocal.workbook import workbook_step
from aequorea.pipelines.kept_pixels import folder_name, smallest_unsigned, stacked_image
from aequorea.pipelines.kept_tables import kept_table, table_outputs, write_tables
from aequorea.pipelines.run.parameters import flat_values
from aequorea.pipelines.run.steps import (
    Step,
    StepContext,
)
from aequorea.puncta.copy_numbers import SingleMolecule
from aequorea.spatial.boxes import boxes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aequorea.model import LazyArray
    from aequorea.pipelines.confocal.compartments import Found
    from aequorea.pipelines.confocal.fields import ConfocalField
    from aequorea.pipelines.confocal.parameters import (
        ConfocalParameters,
    )


_SPOT_WIDTH = {"spot_sigma_yx_um", "spot_sigma_z_um"}
_DETECTION = {
    "method",
    *_SPOT_WIDTH,
    "background_inner_sigma",
    "background_outer_sigma",
}
_OF_MOLECULES = {"transcription_sites", "site_molecules", "site_radius_um", "most_sites"}


_FILES = {"labels", "edited", "dark_image", "flat_field"}  # what they hold is an input
_COUNTS = {"dark", *_DETECTION}


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

        def of(*roles: str, counts: bool = False) -> tuple[str, ...]:
            """Inputs that these channels are made of."""
            kinds = ("dark_image",) if counts else ("dark_image", "flat_field")
            wanted = {f"{kind}_{role}" for kind in kinds for role in roles}
            return (*images, *(i for i in inputs if i in wanted))

        placed = tuple(i for i in inputs if i == "chromatic")
        faded = self._faded
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
                version=4,
                function=self.channels,
                inputs=(*images, *placed),
                parameters={
                    **geometry,
                    **self._chosen(),
                    "names": names,
                    "spots": {
                        r: k.model_dump(mode="json", include=_SPOT_WIDTH) for r, k in kinds.items()
                    },
                    "export": p.export_channels,
                },
                outputs=(
                    *table_outputs("channels"),
                    *(table_outputs("chromatic") if placed else ()),
                    *self._exports(),
                ),
            ),
            *self._finding(inputs, images, geometry),
            *self._finding_landmarks(inputs, images, geometry),
            Step(
                name="depth",
                version=1,
                function=self.depth,
                inputs=of(*p.roles),
                needs=("nuclei", "cells"),
                parameters={**geometry, **self._chosen(), "light": self._light(*p.roles)},
                outputs=table_outputs("depth", "depth_fits"),
            ),
            Step(
                name="candidates",
                version=2,
                function=self.candidates,
                inputs=of(*p.puncta_roles, counts=True),
                parameters={
                    **geometry,
                    **self._chosen(*p.puncta_roles),
                    "options": {
                        r: k.model_dump(mode="json", include=_COUNTS) for r, k in kinds.items()
                    },
                },
                outputs=("candidates",),
            ),
            Step(
                name="puncta",
                version=4,
                function=self.puncta,
                inputs=(*of(*p.puncta_roles), *placed),
                needs=("nuclei", "cells", "candidates", *faded, *p.landmark_roles),
                parameters={
                    **geometry,
                    **self._chosen(*p.puncta_roles),
                    "options": {
                        r: k.model_dump(mode="json", exclude=_FILES | _OF_MOLECULES)
                        for r, k in kinds.items()
                    },
                    "thresholds": dict(self.thresholds),
                    "foci": p.foci,
                },
                outputs=table_outputs(
                    "puncta",
                    "thresholds",
                    "elbows",
                    *(("single_molecules",) if p.molecule_roles else ()),
                ),
            ),
            *self._of_puncta((*of(*p.puncta_roles), *placed), geometry),
            Step(
                name="measures",
                version=4,
                function=self.measures,
                inputs=(*of(*p.protein_roles), *placed),
                needs=(
                    "nuclei",
                    "cells",
                    "puncta",
                    *faded,
                    *p.landmark_roles,
                    *(("molecules",) if p.molecule_roles else ()),
                ),
                parameters={
                    **geometry,
                    "light": self._light(*p.protein_roles),
                    "backgrounds": {r: self.field.backgrounds.get(r) for r in p.protein_roles},
                    **self._chosen(*p.puncta_roles, *p.protein_roles),
                    "distances": p.distances,
                },
                outputs=table_outputs("cells", "shells", "distributions", "proteins"),
            ),
            Step(
                name="chance",
                version=2,
                function=self.chance,
                needs=("nuclei", "cells", "puncta", *(("efficiency",) if self._by_depth else ())),
                parameters={
                    "nulls": p.nulls,
                    "apart_um": {role: self._apart_um(role) for role in p.puncta_roles},
                    "n_shells": p.distances.n_shells,
                    "seed": p.seed,
                    "spacing_um": self.field.spacing_um,
                },
                outputs=table_outputs("chance", "point_curves"),
            ),
            Step(
                name="images",
                version=2,
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
                    version=2,
                    function=self.efficiency,
                    inputs=images,
                    needs=("cells", "candidates", "puncta"),
                    parameters={
                        **geometry,
                        "light": self._light(*p.puncta_roles),
                        "detection": p.detection,
                        "options": {
                            r: p.puncta_of(r).model_dump(
                                mode="json", exclude=_FILES | _OF_MOLECULES
                            )
                            for r in p.puncta_roles
                        },
                        "seed": p.seed,
                    },
                    outputs=table_outputs("efficiency"),
                )
            )
        if p.molecule_roles:
            steps.append(
                Step(
                    name="molecules",
                    version=1,
                    function=self.molecules,
                    inputs=images,
                    needs=("nuclei", "cells", "candidates", "puncta", *self._faded),
                    parameters={
                        **geometry,
                        "light": self._light(*p.molecule_roles),
                        **self._chosen(*p.molecule_roles),
                        "options": {
                            r: p.puncta_of(r).model_dump(mode="json", include=_OF_MOLECULES)
                            for r in p.molecule_roles
                        },
                    },
                    outputs=table_outputs("molecules", "transcription_sites"),
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
            made_of = {f"{kind}_{role}" for kind in _FILES}
            own = tuple(i for i in inputs if i in made_of or (i, role) == ("chromatic", "cells"))
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
                        "options": options.model_dump(mode="json", exclude=_FILES),
                    },
                    outputs=(
                        f"labels/{role}.ome.tif",
                        *table_outputs(f"segmentation_{role}"),
                        *changes,
                    ),
                )
            )
        return steps

    def _finding_landmarks(
        self, inputs: tuple[str, ...], images: tuple[str, ...], geometry: Mapping[str, Any]
    ) -> list[Step]:
        steps = []
        for role in self.parameters.landmark_roles:
            options = self.parameters.landmark_of(role)
            steps.append(
                Step(
                    name=role,
                    version=1,
                    function=partial(self.landmark, role=role),
                    inputs=(*images, *(i for i in inputs if i == f"labels_{role}")),
                    needs=("cells",),
                    parameters={
                        **geometry,
                        **self._chosen(role),
                        "options": options.model_dump(mode="json", exclude={"labels"}),
                    },
                    outputs=(f"labels/{role}.ome.tif", *table_outputs(f"segmentation_{role}")),
                )
            )
        return steps

    def _chosen(self, *roles: str) -> dict[str, Any]:
        wanted = roles or self.parameters.roles
        return {"channels": {r: self.parameters.channel_of(r).channel for r in wanted}}

    def _light(self, *roles: str) -> dict[str, Any]:
        return {role: self.parameters.channel_of(role).dark for role in roles}

    def _exports(self) -> tuple[str, ...]:
        if not self.parameters.export_channels:
            return ()
        return tuple(self._exported(role) for role in self.field.names)

    def _exported(self, role: str) -> str:
        """The file of a channel; two names that differ in signs no file can have stay apart."""
        files = {r: folder_name(n) for r, n in self.field.names.items()}
        own, alike = files[role], [f.casefold() for f in files.values()]
        # a role is no part of another name: names with it are distinct, whatever they are
        name = f"{own} ({role})" if alike.count(own.casefold()) > 1 else own
        return f"results/channels/{name}.ome.tif"

    def channels(self, context: StepContext) -> None:
        """Quality of every channel; calibrated files of them where asked for."""
        rows = []
        for role in context.track(list(self.field.images)):
            raw = self.field.raw(role)
            is_spots = role in self.parameters.puncta_roles
            pixels = self._as_seen(role) if is_spots else self.field.recorded(role)
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
                stage = dict(zip("zyx", self.field.stage_um, strict=True))
                image = replace(self._image(raw, self.field.names[role]), spacing_um=stage)
                write_ome_tiff(image, context.target(self._exported(role)))
        write_tables(context, channels=pd.DataFrame(rows))
        if self.field.registered is not None:
            write_tables(context, chromatic=self._shifts())

    def depth(self, context: StepContext) -> None:
        """Light in cells, plane by plane."""
        fields = {
            r: self._evenly if r in self.parameters.puncta_roles else self.field.lit_evenly
            for r in self.field.images
        }
        labels = {r: self._labels(context, r) for r in ("nuclei", "cells")}
        dz_um = self.field.spacing_um[0]
        curves, fits = depth_tables(fields, self.field.names, labels, dz_um)
        write_tables(context, depth=curves, depth_fits=fits)

    def nuclei(self, context: StepContext) -> None:
        """Nuclei in 3D."""
        self._keep(context, "nuclei", find_nuclei(self.field, self.parameters))

    def cells(self, context: StepContext) -> None:
        """Cell bodies in 3D, each around its nucleus."""
        nuclei = self._labels(context, "nuclei")
        self._keep(context, "cells", find_cells(self.field, nuclei, self.parameters))

    def landmark(self, context: StepContext, *, role: str) -> None:
        """A structure within cells, with the numbers of the cells."""
        image = self.field.pixels(role) if role in self.field.images else None
        options, cells = self.parameters.landmark_of(role), self._labels(context, "cells")
        self._keep(context, role, find_landmark(image, cells, options, self.field.spacing_um))

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
        tables, thresholds, elbows, singles = [], [], [], []
        landmarks = self._landmarks(context)
        for role in context.track(list(self.parameters.puncta_roles)):
            options = self.parameters.puncta_of(role)
            head = {"role": role, "channel": self.field.names[role]}
            facts, heights = read_facts(folder, role), read_heights(folder, role)
            chosen = chosen_threshold([heights], facts, options, common=self.thresholds.get(role))
            found, reference = found_puncta(
                self._spots(role),
                read_candidates(folder, role),
                facts,
                chosen.value,
                options,
                anatomy,
                foci_radius_um=self.parameters.foci.foci_radius_um,
                foci_puncta=self.parameters.foci.foci_puncta,
                light=self.field.light(role),
                displacement=partial(self.field.displacement_um, role),
                depth_factor=self._depth_factor(context, role),
                evenly_lit=partial(self._even_light, context, role),
            )
            position, cell = found[list(POSITION)].to_numpy(float), found["cell"].to_numpy()
            near = landmark_of_puncta(position, cell, landmarks, self.field.spacing_um)
            tables.append(_headed(found.assign(**near), head))
            if reference is not None:
                singles.append({**head, **reference_row(reference)})
                if reference.reason:
                    told = f"{head['channel']}: {reference.reason}; molecules are not counted"
                    warnings.warn(told, AequoreaWarning, stacklevel=1)
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
            **({"single_molecules": pd.DataFrame(singles)} if singles else {}),
        )

    def molecules(self, context: StepContext) -> None:
        """Numbers of molecules from light, and where they are made."""
        p, anatomy, folder = self.parameters, self._anatomy(context), context.result("candidates")
        kinds, singles = self._puncta_by_kind(context), kept_table(context, "single_molecules")
        counted, sites = [], []
        for role in context.track(list(p.molecule_roles)):
            head = {"role": role, "channel": self.field.names[role]}
            reference = _reference(singles[singles["role"] == role].iloc[0])
            facts, options = read_facts(folder, role), p.puncta_of(role)
            found = copy_number_table(self._even_light(context, role), anatomy, reference, facts)
            counted.append(_headed(found, head))
            if options.transcription_sites:
                bright = site_table(kinds[role], anatomy, reference, options)
                sites.append(_headed(bright, head))
        write_tables(
            context,
            molecules=_joined(counted, ["role", "channel", *MOLECULE_COLUMNS]),
            transcription_sites=_joined(sites, ["role", "channel", *SITE_COLUMNS]),
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
            factor = self._depth_factor(context, role)
            how = self.field.backgrounds.get(role)
            taken = None if how is None else 0.0
            if factor is not None:
                if taken is None and (anatomy.cells == 0).any():
                    taken = 0.0
                    image = image - np.float32(np.median(image[anatomy.cells == 0]))
                planes = np.arange(len(image)) * self.field.spacing_um[0]
                image = image * factor(planes).astype(np.float32)[:, None, None]
            found, background = protein_columns(
                image, anatomy, labels, near_um=p.distances.near_um, background=taken
            )
            cells = cells.assign(**{f"{role}_{name}": values for name, values in found.items()})
            reason = ""
            if np.isfinite(background):
                proteins[role] = (image, background)
            else:
                reason = "cells fill the image, so there is no background to take off"
            source = "median outside cells" if how is None else how[0]
            backgrounds.append(
                {"role": role, "background": background, "source": source, "reason": reason}
            )
        for role in p.molecule_roles:
            found = molecule_columns(
                _of_role(kept_table(context, "molecules"), role),
                _of_role(kept_table(context, "transcription_sites"), role)
                if p.puncta_of(role).transcription_sites
                else None,
                cells,
            )
            cells = cells.assign(**{f"{role}_{name}": values for name, values in found.items()})
        near = {"near_um": p.distances.near_um}
        curves = [distribution_table(anatomy, kinds, proteins)]
        for role, places in self._landmarks(context).items():
            cells = cells.assign(**landmark_geometry(role, places, anatomy, labels))
            found = landmark_columns(role, places, anatomy, cells, kinds, proteins, **near)
            cells = cells.assign(**found)
            curves.append(landmark_distributions(role, places, anatomy, kinds, proteins))
        cells["reason"] = np.where(cells["n_nuclei"] == 0, "the cell has no nucleus", "")
        write_tables(
            context,
            cells=cells,
            shells=shell_table(anatomy, kinds, proteins, p.distances.n_shells),
            distributions=_stacked(curves),
            proteins=_joined(backgrounds, ["role", "background", "source", "reason"]),
        )

    def chance(self, context: StepContext) -> None:
        """Each cell beside random puncta in its own cytosol, as numbers and curves."""
        p = self.parameters
        tested = kept_table(context, "efficiency") if self._by_depth else pd.DataFrame()
        table, curves = chance_tables(
            self._anatomy(context),
            self._spots_by_kind(context),
            options=p.nulls,
            apart_um={role: self._apart_um(role) for role in p.puncta_roles},
            efficiency=tested,
            n_shells=p.distances.n_shells,
            seed=p.seed,
        )
        write_tables(context, chance=table, point_curves=curves)

    @property
    def _by_depth(self) -> bool:
        p = self.parameters
        return bool(p.puncta_roles) and p.detection.efficiency and p.nulls.null_by_depth

    def _apart_um(self, role: str) -> tuple[float, float, float]:
        """How near two puncta can be and still be seen as two: (z, y, x), µm."""
        options, core = self.parameters.puncta_of(role), self.parameters.nulls.null_hard_core_sd
        if core == 0:
            return (0.0, 0.0, 0.0)
        z, yx = (
            max(core * sigma, options.min_distance_um)
            for sigma in (options.spot_sigma_z_um, options.spot_sigma_yx_um)
        )
        return (z, yx, yx)

    def efficiency(self, context: StepContext) -> None:
        """Spots of known brightness put into the image, and how many are found."""
        p, folder = self.parameters, context.result("candidates")
        kinds, cells = self._spots_by_kind(context), self._labels(context, "cells")
        thresholds = kept_table(context, "thresholds").set_index("role")["threshold"]
        tables = []
        for number, role in enumerate(context.track(list(p.puncta_roles))):
            found = efficiency_table(
                self._spots(role),
                self._as_found(kinds[role], role),
                read_facts(folder, role),
                float(thresholds[role]),
                p.puncta_of(role),
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
            self._spots_by_kind(context),
            within_um=p.conjunction.pair_distance_um,
            n_shells=p.distances.n_shells,
            n_simulations=p.nulls.n_simulations,
            least=p.nulls.least_puncta,
            seed=p.seed,
        )
        write_tables(context, conjunctions=table)

    def images(self, context: StepContext) -> None:
        """Channels and labels, to look at and to open elsewhere."""
        labels = {r: self._labels(context, r) for r in ("nuclei", "cells")}
        roles = list(self.field.images)
        images = [self._image(self.field.images[r].data, self.field.names[r]) for r in roles]
        names = [self.field.names[r] for r in roles]
        whole = stacked_image(images, names)
        if self.field.axial_scale != 1:
            whole = replace(whole, metadata={CORRECTED: self.field.axial_scale})
        write_ome_zarr(whole, context.target("images.zarr"), labels=labels)

    def _as_seen(self, role: str) -> NDArray[Any]:
        """A channel of puncta as recorded, but for hot pixels."""
        raw, options = self.field.raw(role), self.parameters.puncta_of(role)
        return repaired(raw, options, self.field.spacing_um) if self.field.repairs else raw

    def _spots(self, role: str) -> NDArray[Any]:
        """A channel of puncta as they are looked for: counts above the dark level."""
        return self.field.light(role).counts(self._as_seen(role))

    def _evenly(self, role: str) -> NDArray[Any]:
        """A channel of puncta under even light."""
        return self.field.light(role).corrected(self._as_seen(role))

    def _even_light(self, context: StepContext, role: str) -> NDArray[Any]:
        """A channel of puncta as if lit evenly, at all depths where that is asked for."""
        image, factor = self._evenly(role), self._depth_factor(context, role)
        if factor is None:
            return image
        depth_um = np.arange(len(image)) * self.field.spacing_um[0]
        return np.asarray(image * factor(depth_um)[:, None, None], dtype=np.float32)

    def _as_found(self, puncta: pd.DataFrame, role: str) -> pd.DataFrame:
        """Puncta with the place and brightness that they have in their own channel."""
        axes = ["z_um", "y_um", "x_um"]
        position = puncta[axes].to_numpy(float)
        own = puncta.assign(peak=puncta["peak"] * puncta["illumination"])
        own[axes] = position + self.field.displacement_um(role, position)
        return own

    def _depth_factor(self, context: StepContext, role: str) -> Any:
        """What light at a depth is multiplied by; None where nothing is to be done."""
        if not self.parameters.attenuation_correction:
            return None
        return partial(factor_at, kept_table(context, "depth_fits"), role)

    def _shifts(self) -> pd.DataFrame:
        """What was done about the shift of each channel."""
        field, rows = self.field, []
        if field.registered is None:
            return pd.DataFrame()
        middle = (np.array(field.shape) - 1) / 2 * field.spacing_um
        for role, channel in field.channels.items():
            shift = field.displacement_um(role, middle[None])[0]
            error = field.registered.error_um(channel)
            beads = field.registered.shifts.channels.get(channel)
            puncta, kept = role in self.parameters.puncta_roles, role == "nuclei"
            rows.append(
                {
                    "role": role,
                    "channel": field.names[role],
                    **{f"shift_{a}_nm": 1000 * s for a, s in zip("zyx", shift, strict=True)},
                    **{f"error_{a}_nm": 1000 * s for a, s in zip("zyx", error, strict=True)},
                    "n_beads": 0 if beads is None else beads.n_beads,
                    "moved": "reference" if kept else "positions" if puncta else "whole voxels",
                }
            )
        return pd.DataFrame(rows)

    @property
    def _faded(self) -> tuple[str, ...]:
        """The step that says how light fades with depth, where that is corrected."""
        return ("depth",) if self.parameters.attenuation_correction else ()

    def _spots_by_kind(self, context: StepContext) -> dict[str, pd.DataFrame]:
        """What detection found, once each: molecules that share a spot were not seen apart."""
        kinds = self._puncta_by_kind(context)
        return {role: table.drop_duplicates("spot") for role, table in kinds.items()}

    def _puncta_by_kind(self, context: StepContext) -> dict[str, pd.DataFrame]:
        table = kept_table(context, "puncta")
        return {role: table[table["role"] == role] for role in self.parameters.puncta_roles}

    def _anatomy(self, context: StepContext) -> Anatomy:
        return Anatomy(
            self._labels(context, "cells"), self._labels(context, "nuclei"), self.field.spacing_um
        )

    def _landmarks(self, context: StepContext) -> dict[str, NDArray[np.unsignedinteger[Any]]]:
        return {role: self._labels(context, role) for role in self.parameters.landmark_roles}

    def _labels(self, context: StepContext, role: str) -> NDArray[np.unsignedinteger[Any]]:
        path = context.result(f"labels/{role}.ome.tif")
        return smallest_unsigned(read_labels(path, self.field.shape))

    def _keep(self, context: StepContext, role: str, found: Found) -> None:
        for note in found.notes:
            warnings.warn(f"{role}: {note}", AequoreaWarning, stacklevel=1)
        write_ome_tiff(self._image(found.labels, role), context.target(f"labels/{role}.ome.tif"))
        n_objects = len(boxes_of(found.labels))
        if not n_objects:
            warnings.warn(f"no {role} were found", AequoreaWarning, stacklevel=1)
        facts = {"role": role, "n_objects": n_objects, **found.facts}
        facts["note"] = "; ".join(found.notes)
        write_tables(context, **{f"segmentation_{role}": pd.DataFrame([facts])})
        if found.changes is not None:
            write_tables(context, **{f"label_changes_{role}": found.changes})

    def _image(self, pixels: LazyArray, name: str) -> Image:
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


def _of_role(table: pd.DataFrame, role: str) -> pd.DataFrame:
    return table[table["role"] == role]


def _reference(row: pd.Series[Any]) -> Reference:
    """What :func:`reference_row` wrote."""
    if row["reason"]:
        return Reference(single=None, source="", reason=str(row["reason"]))
    single = SingleMolecule(
        mean=float(row["light"]),
        mean_error=float(row["light_error"]),
        cv=float(row["light_cv"]),
        n=int(row["n_isolated"]),
    )
    return Reference(single=single, source=str(row["source"]))


def _stacked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Tables with the same columns below each other; empty ones only if all are."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


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
