"""One field of view with its roles: which channel holds cells, which ones markers, and the ROIs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, AxisMismatchError, ChannelError, InputError
from aequorea.pipelines.channels import calibrated, open_channels, read_regions_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.model import Image
    from aequorea.pipelines.cells.parameters import CellsParameters, Projection

SpacingZYX = tuple[float | None, float | None, float | None]
_PROJECTIONS: dict[str, Any] = {
    "max": np.max,
    "mean": np.mean,
    "median": np.median,
    "std": np.std,
    "var": np.var,
}


@dataclass(frozen=True, kw_only=True)
class CellField:
    """Channels of one field in their roles, lazy, with calibration and regions.

    Attributes
    ----------
    images : mapping of role to Image
        Axes ``"yx"`` or ``"zyx"``; one grid.
    names : mapping of role to str
        What tables and figures call them, all different.
    regions : ndarray of int, shape (y, x) or (z, y, x)
        0 is outside; 1 everywhere for the whole image.
    region_names : mapping of int to str
    z_crop, z_projection
        What of the stack is analysed.
    """

    images: Mapping[str, Image]
    names: Mapping[str, str]
    regions: NDArray[Any]
    region_names: Mapping[int, str]
    z_crop: tuple[int, int] | None = None
    z_projection: Projection | None = None

    @property
    def first(self) -> Image:
        """The channel of the cells."""
        return next(iter(self.images.values()))

    @property
    def spacing_um(self) -> SpacingZYX:
        """Distance between pixel centres along z, y, x; a plane has none along z."""
        known = self.first.spacing_um
        z = None if self.z_projection else known.get("z")
        return z, known["y"], known["x"]

    @property
    def full_shape(self) -> tuple[int, int, int]:
        """Planes, rows and columns of the channels before planes are chosen."""
        sizes = self.first.sizes
        return sizes.get("z", 1), sizes["y"], sizes["x"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Planes, rows and columns that are analysed."""
        depth, rows, columns = self.full_shape
        start, stop = z_bounds(depth, self.z_crop)
        return (1 if self.z_projection else stop - start), rows, columns

    @property
    def first_plane(self) -> int | None:
        """The plane of the file, from 0, that is analysed as the first; None for a projection."""
        return None if self.z_projection else z_bounds(self.full_shape[0], self.z_crop)[0]

    def fitted_labels(self, labels: NDArray[Any], what: str) -> NDArray[Any]:
        """Labels of what is analysed, shape (z, y, x), also from labels of the whole stack.

        Raises
        ------
        AxisMismatchError
            If they have neither shape.
        """
        squeezed = labels.reshape([n for n in labels.shape if n != 1] or [1])
        for shape in (self.shape, self.full_shape):
            if squeezed.shape == (tuple(n for n in shape if n != 1) or (1,)):
                if shape == self.shape:
                    return squeezed.reshape(shape)
                if self.z_projection is None:
                    start, stop = z_bounds(shape[0], self.z_crop)
                    return squeezed.reshape(shape)[start:stop]
        raise AxisMismatchError(
            f"{what}: labels of shape {labels.shape}; the image needs {_without_one(self.shape)}: "
            "give labels drawn on the same image, as it is analysed"
        )

    def pixels(self, role: str) -> NDArray[Any]:
        """One channel as it is analysed, shape (z, y, x); a plane has z = 1."""
        return prepared_stack(
            as_stack(np.asarray(self.images[role])), self.z_crop, self.z_projection
        )


def open_field(files: Sequence[Path], parameters: CellsParameters) -> CellField:
    """Open the channels that have a role, and check them against each other and the regions.

    Raises
    ------
    InputError
        For channels, shapes, calibrations, frames, planes or regions that do not fit together.
    """
    opened, names = open_channels(files, None, scene=parameters.scene, axes=parameters.axes)
    still = _still(opened, parameters.frame)
    chosen = _roles(parameters, names, files)
    images = calibrated(
        [still[k] for k in chosen.values()],
        [names[k] for k in chosen.values()],
        parameters.spacing_um,
    )
    first = images[0]
    depth = first.sizes.get("z", 1)
    if 0 in first.shape:
        raise InputError(f"{first.source}: has no pixels (shape {first.shape})")
    regions, region_names = read_regions_of(parameters.regions, first)
    if regions is None:
        regions, region_names = np.ones(first.shape[-2:], np.uint8), {1: "whole image"}
    crop = None if parameters.z_crop is None else (parameters.z_crop[0], parameters.z_crop[1])
    _tell_uncalibrated(first)
    _tell_cut_short(crop, depth)
    return CellField(
        images=dict(zip(chosen, images, strict=True)),
        names=_told_names(parameters, chosen, names),
        regions=_drawn_plane(
            cropped_regions(regions, depth, crop), parameters.z_projection, parameters.regions
        ),
        region_names=region_names,
        z_crop=crop,
        z_projection=parameters.z_projection,
    )


def _without_one(shape: tuple[int, int, int]) -> tuple[int, ...]:
    """A plane has no planes to count."""
    return shape[1:] if shape[0] == 1 else shape


def _tell_cut_short(crop: tuple[int, int] | None, depth: int) -> None:
    if crop is not None and crop[1] > depth:
        start, stop = z_bounds(depth, crop)
        warnings.warn(
            f"--z-crop {crop[0]},{crop[1]}: there are {depth} planes only; {start} to {stop - 1} "
            "(from 0) are analysed",
            AequoreaWarning,
            stacklevel=3,
        )


def as_stack(pixels: NDArray[Any]) -> NDArray[Any]:
    """An image of shape (y, x) or (z, y, x) as (z, y, x)."""
    return pixels if pixels.ndim == 3 else pixels[None]


def prepared_stack(
    stack: NDArray[Any], z_crop: tuple[int | None, int | None] | None, projection: str | None
) -> NDArray[Any]:
    """The planes that are analysed: cropped first, projected then.

    Parameters
    ----------
    stack : ndarray, shape (z, y, x)
    z_crop : (int or None, int or None), optional
        First plane and the one after the last; clipped to the stack.
    projection : {"max", "mean", "median", "std", "var"}, optional

    Returns
    -------
    ndarray, shape (z', y, x)
        float32 where projected by anything but the maximum.

    Raises
    ------
    InputError
        If no plane is left.
    """
    start, stop = z_bounds(len(stack), z_crop)
    kept = stack[start:stop]
    if projection is None:
        return kept
    if projection == "max":
        return np.asarray(kept.max(axis=0, keepdims=True))
    reduced = _PROJECTIONS[projection](kept.astype(np.float64), axis=0)
    return np.asarray(reduced, np.float32)[None]


def z_bounds(depth: int, z_crop: tuple[int | None, int | None] | None) -> tuple[int, int]:
    """First plane and the one after the last, within the stack.

    Raises
    ------
    InputError
        If no plane is left.

    Examples
    --------
    >>> z_bounds(10, (2, 99)), z_bounds(10, None)
    ((2, 10), (0, 10))
    """
    first, last = z_crop or (None, None)
    start, stop = max(0, first or 0), min(depth, depth if last is None else last)
    if start >= stop:
        raise InputError(
            f"z_crop {first},{last}: leaves none of the {depth} planes; give two rising numbers "
            f"from 0 to {depth}"
        )
    return start, stop


def cropped_regions(
    regions: NDArray[Any], depth: int, z_crop: tuple[int | None, int | None] | None
) -> NDArray[Any]:
    """Regions of the planes that are analysed; those drawn in 2D hold for every plane."""
    if regions.ndim == 2:
        return regions
    start, stop = z_bounds(depth, z_crop)
    return regions[start:stop]


def _drawn_plane(
    regions: NDArray[Any], projection: Projection | None, source: Path | None
) -> NDArray[Any]:
    """Regions that hold for every plane, as one plane."""
    if regions.ndim == 2:
        return regions
    if regions.shape[0] == 1 or not regions.strides[0]:
        return np.asarray(regions[0])
    if projection is None:
        return regions
    if not all(np.array_equal(plane, regions[0]) for plane in regions[1:]):
        raise InputError(
            f"{source}: the regions differ from plane to plane, and z_projection {projection!r} "
            "makes one plane of all: draw them in the plane, or count without projection"
        )
    return np.asarray(regions[0])


def _still(images: Sequence[Image], frame: int) -> list[Image]:
    n_frames = images[0].sizes.get("t", 1)
    if frame >= n_frames:
        raise InputError(f"{images[0].source}: has {n_frames} time points, no frame {frame}")
    if n_frames > 1:
        warnings.warn(
            f"{images[0].source}: time point {frame} of {n_frames} is analysed (--frame); if "
            "these are z-planes, say so with --axes",
            AequoreaWarning,
            stacklevel=3,
        )
    return [i.isel(t=frame) if "t" in i.axes else i for i in images]


def _roles(
    parameters: CellsParameters, names: Sequence[str], files: Sequence[Path]
) -> dict[str, int]:
    """The number of the channel that each role has."""
    told = ", ".join(f"{k}:{n}" for k, n in enumerate(names))
    where = ", ".join(str(f) for f in files)
    chosen: dict[str, int] = {}
    for place, role in enumerate(parameters.roles):
        wanted = parameters.channel_of(role).channel
        if wanted is None:
            chosen[role] = place
        elif wanted in names:
            chosen[role] = list(names).index(wanted)
        elif wanted.isdigit():
            chosen[role] = int(wanted)
        else:
            raise ChannelError(f"{where}: no channel {wanted!r} for {role}; it has {told}")
        if chosen[role] >= len(names):
            alone = " or count cells alone with --markers 0" if role != "cell" else ""
            raise ChannelError(
                f"{where}: no channel {chosen[role]} for {role}; it has {told} (name one with "
                f"--{role}.channel{alone})"
            )
    shared = [r for r in chosen if list(chosen.values()).count(chosen[r]) > 1]
    if shared:
        warnings.warn(
            f"{' and '.join(shared)} are the same channel ({names[chosen[shared[0]]]})",
            AequoreaWarning,
            stacklevel=3,
        )
    return chosen


def _told_names(
    parameters: CellsParameters, chosen: Mapping[str, int], names: Sequence[str]
) -> dict[str, str]:
    told = {role: parameters.channel_of(role).name or names[k] for role, k in chosen.items()}
    if len(set(told.values())) < len(told):
        return {role: f"{role}: {name}" for role, name in told.items()}
    return told


def _tell_uncalibrated(image: Image) -> None:
    missing = [a for a, s in image.spacing_um.items() if s is None]
    if missing:
        axes = ",".join(image.axes)
        warnings.warn(
            f"{image.source}: no pixel size for {', '.join(missing)}: columns in µm are left empty "
            f"(give it with --spacing-um {axes})",
            AequoreaWarning,
            stacklevel=3,
        )
