"""Every option of counting cells: flags, TOML keys, help and record derive from it.

The number of markers is open: :func:`cells_parameters` gives the model for one, two, three …
markers, with a group ``marker``, ``marker2``, ``marker3`` … for each.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path  # noqa: TC003 - pydantic reads annotations
from typing import Any, ClassVar, Literal, Self

from pydantic import create_model, field_validator, model_validator

from aequorea.measure.positivity import PositivityParameters
from aequorea.model.parameters import Parameters, option
from aequorea.segmentation.parameters import SegmentationParameters

Projection = Literal["max", "mean", "median", "std", "var"]


def none_if_said(value: Any) -> Any:
    """No file, where a file is called ``none`` or nothing; a file of that name is ``./none``.

    Examples
    --------
    >>> none_if_said("none"), none_if_said(""), none_if_said("./none")
    (None, None, './none')
    """
    return None if isinstance(value, str) and value.strip().lower() in {"", "none"} else value


class ChannelParameters(SegmentationParameters):
    """Cells: the channel whose objects are counted."""

    told_with_group: ClassVar[bool] = True  # --cell.method, also where there is no marker

    channel: str | None = None
    """Channel of the file, by name or number from 0; for cells the first, for markers the next
    ones, if not given."""

    name: str | None = None
    """What to call it in tables and figures; the channel's name if not given."""

    labels: Path | None = None
    """A label image to take instead of segmenting this channel; 'none' for none again."""

    edited: Path | None = None
    """The labels that a run found, corrected by hand: they take the place of the automatic ones,
    and what was changed is recorded. 'none' takes them back."""

    @field_validator("labels", "edited", mode="before")
    @classmethod
    def _none_again(cls, value: Any) -> Any:
        return none_if_said(value)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.labels is not None and self.edited is not None:
            raise ValueError("give labels or edited, not both")
        return self


class MarkerParameters(ChannelParameters, PositivityParameters):
    """Marker: a channel that cells are positive for or not."""

    def positivity_dump(self) -> dict[str, Any]:
        """The part that says when a cell is positive, for the record of a step."""
        return self.model_dump(mode="json", include=set(PositivityParameters.model_fields))


class CountingParameters(Parameters):
    """Counting without bias at edges."""

    counting: Literal["all", "frame", "disector", "abercrombie"] = "all"
    """'all': every cell, those cut by a border flagged. 'frame': an unbiased counting frame, which
    drops cells that touch its left or lower edge, without a guard that of the image. 'disector':
    in stacks, cells that begin within the depth counted, inside the frame. 'abercrombie': all,
    corrected for cells cut by the first and the last plane."""

    frame_guard_um: float = option(0.0, unit="µm", ge=0)
    """For 'frame' and 'disector': how far the frame stays from the edges of the image."""

    disector_guard_um: float | None = option(None, unit="µm", ge=0)
    """For 'disector': depth left out at the first and the last plane; one plane at the look-up
    side if not given."""

    section_um: float | None = option(None, unit="µm", gt=0)
    """For 'abercrombie': depth of tissue in which the cells were seen, which is that of the stack
    if not given; less where planes above or below the section were imaged too. Never more: of a
    thicker section, only what was imaged counts."""


class PhenotypeParameters(Parameters):
    """Cells positive for several markers, against chance."""

    phenotypes: tuple[str, ...] = ()
    """Combinations to count, such as 'GFP+RFP-'; all combinations of up to three markers if not
    given."""

    phenotype_test: bool = True
    """Compare each count with chance, within neighbourhoods of cells."""

    neighbourhood: int = option(12, unit="cells", ge=2, le=1000)
    """Cells of a neighbourhood: what markers share at a larger scale (a layer, a gradient) is
    not taken for association."""

    n_shifts: int = option(600, ge=50, le=100_000)
    """Number of shifts by which the spread of the count by chance is measured."""


class CellsParameters(Parameters):
    """Cells that are positive for a marker, per region."""

    scene: int = option(0, ge=0)
    """Which scene (position, series) of the file."""

    axes: str | None = None
    """Axes of the files, in their order, out of tczyx, where they do not say or say it wrong:
    zyx for a plain stack."""

    frame: int = option(0, ge=0)
    """Which time point, from 0."""

    spacing_um: tuple[float, ...] | None = option(None, unit="µm", min_length=2, max_length=3)
    """Distance between pixel centres, z,y,x or y,x, where the file does not give it or is wrong."""

    regions: Path | None = None
    """Regions to count in, one by one: a label image or ImageJ ROIs (.roi, .zip). The whole image
    if not given, or 'none'."""

    z_crop: tuple[int, ...] | None = option(None, unit="planes", min_length=2, max_length=2)
    """First plane and the one after the last, from 0."""

    z_projection: Projection | None = None
    """Project the stack to one plane before anything is found or measured."""

    min_cell_px: int = option(50, unit="px", ge=0)
    """Cells of fewer pixels (within their region) are dropped; labels corrected by hand (edited)
    are taken as they are."""

    seed: int = option(0, ge=0)
    """Seed of random numbers, for the record: no method of this workflow draws any."""

    cell: ChannelParameters = ChannelParameters()
    counting: CountingParameters = CountingParameters()
    phenotypes: PhenotypeParameters = PhenotypeParameters()

    @field_validator("regions", mode="before")
    @classmethod
    def _none_again(cls, value: Any) -> Any:
        return none_if_said(value)

    @field_validator("spacing_um")
    @classmethod
    def _positive(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and min(value) <= 0:
            raise ValueError("distances must be positive numbers of µm")
        return value

    @field_validator("z_crop")
    @classmethod
    def _rising(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and not 0 <= value[0] < value[1]:
            raise ValueError("expected two rising numbers of planes, such as 2,10")
        return value

    @property
    def roles(self) -> tuple[str, ...]:
        """``("cell", "marker", "marker2", …)``."""
        return ("cell", *marker_roles(self))

    def channel_of(self, role: str) -> ChannelParameters:
        """The options of one channel."""
        found: ChannelParameters = getattr(self, role)
        return found

    def marker_of(self, role: str) -> MarkerParameters:
        """The options of one marker."""
        found: MarkerParameters = getattr(self, role)
        return found


def role_of_marker(number: int) -> str:
    """Name of the n-th marker's group, from 0.

    Examples
    --------
    >>> [role_of_marker(k) for k in range(3)]
    ['marker', 'marker2', 'marker3']
    """
    return "marker" if number == 0 else f"marker{number + 1}"


def marker_roles(parameters: CellsParameters) -> tuple[str, ...]:
    """The groups of markers that a model has, in order."""
    return tuple(n for n in type(parameters).model_fields if n.startswith("marker"))


@cache
def cells_parameters(n_markers: int = 1) -> type[CellsParameters]:
    """The model of a workflow with so many markers (0: cells only).

    Examples
    --------
    >>> cells_parameters(2)().roles
    ('cell', 'marker', 'marker2')
    """
    groups: dict[str, Any] = {
        role_of_marker(k): (MarkerParameters, MarkerParameters()) for k in range(n_markers)
    }
    model: type[CellsParameters] = create_model(
        f"CellsParameters{n_markers}",
        __base__=CellsParameters,
        __doc__=CellsParameters.__doc__,
        **groups,
    )
    return model
