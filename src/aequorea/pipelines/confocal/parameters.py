"""Every option of the confocal workflow: flags, TOML keys, help and record derive from it.

The numbers of puncta, protein and landmark channels are open: :func:`confocal_parameters` gives
the model with groups ``puncta``, ``puncta2``, …, ``protein``, ``protein2``, … and ``landmark``,
``landmark2``, …
"""

from __future__ import annotations

from functools import cache
from pathlib import Path  # noqa: TC003 - pydantic reads annotations
from typing import Any, ClassVar, Literal, Self

from pydantic import create_model, field_validator, model_validator

from aequorea.model.parameters import Parameters, option
from aequorea.puncta.parameters import PunctaParameters

__all__ = [
    "CellBodyParameters",
    "ConfocalParameters",
    "ConjunctionParameters",
    "DistanceParameters",
    "EfficiencyParameters",
    "FociParameters",
    "LandmarkParameters",
    "NucleiParameters",
    "NullParameters",
    "ProteinChannelParameters",
    "PunctaChannelParameters",
    "confocal_parameters",
]


LEAST_THRESHOLD = 2.5
"""Maxima that answer the blob filter with fewer SD of the noise are not kept as candidates."""


class _RoleParameters(Parameters):
    """A channel with a role."""

    told_with_group: ClassVar[bool] = True  # --nuclei.channel, --puncta.channel

    channel: str | None = None
    """Channel of the file, by name or number from 0."""

    name: str | None = None
    """What to call it in tables and figures; the channel's name if not given."""

    dark: float | None = option(None, unit="grey levels")
    """Grey level without light, subtracted."""

    dark_image: Path | None = None
    """An image without light to subtract instead of a number; a stack is averaged over z."""

    flat_field: Path | None = None
    """An image of even light, above the dark level: the channel is divided by it after its mean
    was made 1. Needs dark or dark_image."""

    @model_validator(mode="after")
    def _light_is_complete(self) -> Self:
        if self.dark is not None and self.dark_image is not None:
            raise ValueError("give dark or dark_image, not both")
        if self.flat_field is not None and self.dark is None and self.dark_image is None:
            raise ValueError(
                "flat_field needs dark, the grey level without light (0 if there is none): an "
                "offset must not be divided"
            )
        return self


class _LevelParameters(_RoleParameters):
    """A channel whose grey levels are used as such."""

    background: Literal["none", "given", "local"] = "none"
    """What is subtracted: nothing, background_level, or what is left of each plane where things
    narrower than twice background_radius_um are gone."""

    background_level: float | None = option(None, unit="grey levels")
    """For 'given'; above the dark level, where that is subtracted."""

    background_radius_um: float = option(10.0, unit="µm", gt=0)
    """For 'local': larger than the radius of a cell, or its light is taken for background."""

    @model_validator(mode="after")
    def _level_is_given(self) -> Self:
        if (self.background == "given") != (self.background_level is not None):
            raise ValueError("background 'given' and background_level go together")
        return self


class _ObjectParameters(_LevelParameters):
    """A channel whose objects may come from elsewhere."""

    labels: Path | None = None
    """A label image to take instead of segmenting."""

    edited: Path | None = None
    """The labels that a run found, corrected by hand: they take the place of the automatic ones,
    and what was changed is recorded."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.labels is not None and self.edited is not None:
            raise ValueError("give labels or edited, not both")
        return self


class NucleiParameters(_ObjectParameters):
    """Nuclei."""

    diameter_um: float | None = option(None, unit="µm", gt=0)
    """Typical diameter; found in the image if not given."""

    threshold: float | None = None
    """Grey level; automatic, and half of each nucleus' height, if not given."""

    min_volume_um3: float | None = option(None, unit="µm³", ge=0)
    """Smaller ones are dropped; 15 % of a ball of the typical diameter if not given."""

    split_tolerance: float = option(0.06, ge=0, lt=1)
    """How far the blob filter's answer must fall between two summits for them to begin as two
    nuclei; larger splits less."""

    split_neck: float = option(0.92, ge=0)
    """Pieces whose contact is wider than this fraction of the smaller one's diameter are one
    nucleus; larger splits more."""


class CellBodyParameters(_ObjectParameters):
    """Cell bodies."""

    smooth_um: float = option(0.5, unit="µm", ge=0)
    """SD of the Gaussian before the threshold."""

    threshold: float | None = None
    """Grey level of the smoothed image; automatic if not given."""

    threshold_method: Literal["li", "otsu", "triangle"] = "li"
    """Automatic threshold."""

    threshold_factor: float = option(1.0, gt=0)
    """Of the automatic threshold's height above the background."""

    outline_reach_um: float = option(1.0, unit="µm", ge=0)
    """How far the outline may move from an automatic threshold to where the brightness falls
    fastest; 0 leaves it at the threshold."""

    min_volume_um3: float = option(50.0, unit="µm³", ge=0)
    """Smaller bodies are dropped, smaller holes filled."""

    one_cell: bool = False
    """All that is bright is one cell, whatever the number of nuclei."""

    keep_without_nucleus: bool = False
    """Keep bright pieces without a nucleus as cells."""


class PunctaChannelParameters(_RoleParameters, PunctaParameters):
    """Puncta: a channel of spots below the resolution, such as single molecules of an mRNA."""

    molecules: bool = False
    """Puncta are single molecules, such as those of an mRNA: each cell's number is taken from its
    light as well, and transcription sites are looked for. Not for vesicles, whose brightness says
    little of their number."""

    divide_dense: bool = False
    """With molecules: puncta too bright or too wide for one molecule become as many as their light
    holds."""

    molecule_light: float | None = option(None, unit="grey levels", gt=0)
    """Light of one molecule, summed over its voxels; learnt from the isolated puncta of each image
    if not given."""

    transcription_sites: bool = True
    """With molecules: look for bright spots and crowds in nuclei."""

    site_molecules: float = option(3.0, unit="molecules", gt=1)
    """A transcription site has at least the light of so many."""

    site_radius_um: float = option(0.35, unit="µm", gt=0)
    """Puncta of a nucleus within this of each other can be of one site."""

    most_sites: int | None = option(None, ge=1)
    """Only so many sites of a nucleus, the brightest, are kept: the number of alleles."""

    @field_validator("threshold")
    @classmethod
    def _above_the_noise(cls, value: float | None) -> float | None:
        if value is not None and value < LEAST_THRESHOLD:
            raise ValueError(
                f"{LEAST_THRESHOLD} SD of the noise at least: below, noise alone makes maxima"
            )
        return value


class ProteinChannelParameters(_LevelParameters):
    """Protein: a continuous stain."""


class LandmarkParameters(_RoleParameters):
    """Landmark: a structure within cells to measure distances to, such as mitochondria."""

    labels: Path | None = None
    """A mask or label image to take instead of segmenting; no channel is needed then."""

    smooth_um: float = option(0.1, unit="µm", ge=0)
    """SD of the Gaussian before the threshold."""

    threshold: float | None = None
    """Grey level of the smoothed image; automatic, from the voxels of cells, if not given."""

    threshold_method: Literal["otsu", "li", "triangle"] = "otsu"
    """Automatic threshold."""

    min_volume_um3: float = option(0.1, unit="µm³", ge=0)
    """Smaller pieces are dropped."""


class DistanceParameters(Parameters):
    """Distances and shells."""

    n_shells: int = option(5, ge=2, le=50)
    """Shells of equal volume in the cytosol, from the nucleus to the membrane."""

    near_um: float = option(0.5, unit="µm", gt=0)
    """Puncta up to this far from the nucleus, and from the membrane, are counted."""


class NullParameters(Parameters):
    """Comparison with chance, cell by cell."""

    n_simulations: int = option(199, ge=19, le=100_000)
    """Random placements of each cell's puncta in its own cytosol."""

    null_confidence: float = option(0.95, gt=0, lt=1)
    """Of the envelopes of what chance gives as curves."""

    least_puncta: int = option(5, ge=2)
    """Cells with fewer cytosolic puncta are not held against chance."""

    null_hard_core_sd: float = option(3.0, unit="spot SD", ge=0, le=10)
    """Random puncta are no nearer to each other than this, along each axis: below it detection
    sees more than half of all pairs as one. 0 lets them be as near as they fall."""

    null_hard_core_spread: float = option(0.1, ge=0, le=0.3)
    """SD of that distance as a share of it: how gradually pairs come to be seen as two."""

    null_by_depth: bool = True
    """Where detection is tested, random puncta are as dense at each depth as spots put into the
    image are found there."""

    null_foci_moved: bool = True
    """Also hold the distance to the nucleus against that of foci moved as wholes."""

    null_kinds_swapped: bool = True
    """With two kinds of puncta or more, also swap them within shells around the nucleus."""

    point_curves: bool = True
    """L(r) - r and distances to the nearest punctum as curves, of each kind and each pair of
    kinds."""


class EfficiencyParameters(Parameters):
    """How many puncta are missed."""

    efficiency: bool = True
    """Put spots into the image itself and count how many are found, by brightness and depth."""

    injected_spots: int = option(30, ge=5, le=10_000)
    """Per brightness (dim, typical, bright) and quarter of the depth."""


class FociParameters(Parameters):
    """Crowds of puncta."""

    foci_radius_um: float = option(0.35, unit="µm", gt=0)
    """Puncta within this of each other can be of one focus."""

    foci_puncta: int = option(4, ge=2)
    """A focus has at least so many puncta about one of them."""


class ConjunctionParameters(Parameters):
    """Puncta of different kinds together."""

    pair_distance_um: float = option(0.3, unit="µm", gt=0)
    """Two puncta up to this far apart can be a pair; each belongs to one pair at most."""


class ConfocalParameters(Parameters):
    """Cells, nuclei and puncta in 3D."""

    scene: int = option(0, ge=0)
    """Which scene (position, series) of the file."""

    axes: str | None = None
    """Axes of the files, in their order, out of tczyx, where they do not say or say it wrong."""

    frame: int = option(0, ge=0)
    """Which time point, from 0."""

    spacing_um: tuple[float, ...] | None = option(None, unit="µm", min_length=3, max_length=3)
    """Distance between voxel centres, z,y,x, where the file does not give it or is wrong."""

    z_scale_factor: float | None = option(None, gt=0.3, lt=3)
    """True over nominal plane distance, where refractive indices differ."""

    objective_na: float | None = option(None, gt=0, lt=2)
    """Numerical aperture, to work out z_scale_factor together with both indices."""

    immersion_index: float | None = option(None, ge=1, lt=2)
    """Refractive index that the objective is made for: oil 1.515, glycerol 1.47, water 1.33."""

    medium_index: float | None = option(None, ge=1, lt=2)
    """Refractive index of the mounting medium."""

    repair_hot_pixels: bool = True
    """Replace single voxels that are brighter than light through a lens can be."""

    chromatic: Path | None = None
    """Shifts between channels from beads (aequorea confocal chromatic): puncta are moved to where
    the channel of the nuclei would show them, images of cells and proteins by whole voxels."""

    attenuation_correction: bool = False
    """Multiply intensities of puncta and proteins by what the channel loses with depth in this
    image. True differences along z are erased with it."""

    recipe: Literal["aequorea", "3cams"] = "aequorea"
    """How nuclei and cell bodies are found. '3cams': one cell per image, both from the nuclear
    channel, with the constants of those notebooks."""

    export_channels: bool = False
    """Also write each channel as a TIFF of its own, calibrated as the file is: without the axial
    scale, so that it is not applied twice when such a file is analysed."""

    seed: int = option(0, ge=0)
    """Of everything random."""

    nuclei: NucleiParameters = NucleiParameters()
    cells: CellBodyParameters = CellBodyParameters()
    distances: DistanceParameters = DistanceParameters()
    nulls: NullParameters = NullParameters()
    conjunction: ConjunctionParameters = ConjunctionParameters()
    foci: FociParameters = FociParameters()
    detection: EfficiencyParameters = EfficiencyParameters()

    @field_validator("spacing_um")
    @classmethod
    def _positive(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and min(value) <= 0:
            raise ValueError("distances must be positive numbers of µm")
        return value

    @model_validator(mode="after")
    def _recipe_takes_raw_images(self) -> Self:
        n = self.nuclei
        given = (n.dark, n.dark_image, n.flat_field)
        changed = any(value is not None for value in given) or n.background != "none"
        if self.recipe == "3cams" and changed:
            raise ValueError("recipe 3cams takes images as recorded: no dark, flat or background")
        return self

    @property
    def puncta_roles(self) -> tuple[str, ...]:
        """``("puncta", "puncta2", …)``."""
        return _groups(self, "puncta")

    @property
    def protein_roles(self) -> tuple[str, ...]:
        """``("protein", "protein2", …)``."""
        return _groups(self, "protein")

    @property
    def landmark_roles(self) -> tuple[str, ...]:
        """``("landmark", "landmark2", …)``."""
        return _groups(self, "landmark")

    @property
    def molecule_roles(self) -> tuple[str, ...]:
        """Kinds of puncta that are single molecules."""
        return tuple(role for role in self.puncta_roles if self.puncta_of(role).molecules)

    @property
    def roles(self) -> tuple[str, ...]:
        """All roles, nuclei and cells first."""
        return (
            "nuclei",
            "cells",
            *self.puncta_roles,
            *self.protein_roles,
            *self.landmark_roles,
        )

    @property
    def needs_cell_channel(self) -> bool:
        """Whether cell bodies are looked for in a channel of their own."""
        return self.recipe != "3cams" and self.cells.labels is None

    def channel_of(self, role: str) -> _RoleParameters:
        """The options of one channel."""
        found: _RoleParameters = getattr(self, role)
        return found

    def puncta_of(self, role: str) -> PunctaChannelParameters:
        """The options of one kind of puncta."""
        found: PunctaChannelParameters = getattr(self, role)
        return found

    def landmark_of(self, role: str) -> LandmarkParameters:
        """The options of one landmark."""
        found: LandmarkParameters = getattr(self, role)
        return found


def _groups(parameters: ConfocalParameters, kind: str) -> tuple[str, ...]:
    return tuple(n for n in type(parameters).model_fields if n.rstrip("0123456789") == kind)


def numbered_role(kind: str, number: int) -> str:
    """Name of the n-th group of a kind, from 0.

    Examples
    --------
    >>> [numbered_role("puncta", k) for k in range(3)]
    ['puncta', 'puncta2', 'puncta3']
    """
    return kind if number == 0 else f"{kind}{number + 1}"


@cache
def confocal_parameters(
    n_puncta: int = 1, n_proteins: int = 0, n_landmarks: int = 0
) -> type[ConfocalParameters]:
    """The model of a workflow with so many kinds of puncta, continuous stains and landmarks.

    Examples
    --------
    >>> confocal_parameters(2, 1)().roles
    ('nuclei', 'cells', 'puncta', 'puncta2', 'protein')
    """
    groups: dict[str, Any] = {
        numbered_role("puncta", k): (PunctaChannelParameters, PunctaChannelParameters())
        for k in range(n_puncta)
    }
    groups |= {
        numbered_role("protein", k): (ProteinChannelParameters, ProteinChannelParameters())
        for k in range(n_proteins)
    }
    groups |= {
        numbered_role("landmark", k): (LandmarkParameters, LandmarkParameters())
        for k in range(n_landmarks)
    }
    model: type[ConfocalParameters] = create_model(
        f"ConfocalParameters{n_puncta}_{n_proteins}_{n_landmarks}",
        __base__=ConfocalParameters,
        __doc__=ConfocalParameters.__doc__,
        **groups,
    )
    return model
