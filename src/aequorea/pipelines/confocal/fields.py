"""One confocal stack with its roles: nuclei, cells, puncta, proteins; calibrated, or refused."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, CalibrationError, ChannelError, InputError
from aequorea.filters.hot_pixels import repair_hot_pixels
from aequorea.measure.quality import axial_scale
from aequorea.pipelines.channels import calibrated, open_channels
from aequorea.pipelines.confocal.chromatic import Registration, registration
from aequorea.pipelines.confocal.preprocessing import (
    Light,
    lights_of,
    moved_by_voxels,
    without_background,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.model import Image
    from aequorea.pipelines.confocal.parameters import ConfocalParameters

Spacing = tuple[float, float, float]
_FEWEST_PLANES = 2
#: Metadata of an image whose planes already stand as far apart as in the specimen.
CORRECTED = "z_scale_factor"


@dataclass(frozen=True, kw_only=True)
class ConfocalField:
    """Channels of one stack in their roles, lazy.

    Attributes
    ----------
    images : mapping of role to Image
        Axes ``"zyx"``, one grid.
    names : mapping of role to str
        What tables and figures call them.
    spacing_um : (float, float, float)
        Along z, y, x; z with the axial scale.
    axial_scale : float
        True over nominal plane distance; 1 where indices match, or nobody said anything.
    repairs : bool
        Whether hot pixels are replaced.
    channels : mapping of role to str
        Names of the channels in the file.
    lights : mapping of role to Light
    backgrounds : mapping of role to (how, level, radius_um)
        Of channels whose background is taken off.
    registered : Registration or None
    """

    images: Mapping[str, Image]
    names: Mapping[str, str]
    spacing_um: Spacing
    axial_scale: float
    repairs: bool
    channels: Mapping[str, str] = field(default_factory=dict)
    lights: Mapping[str, Light] = field(default_factory=dict)
    backgrounds: Mapping[str, tuple[str, float | None, float]] = field(default_factory=dict)
    registered: Registration | None = None

    @property
    def stage_um(self) -> Spacing:
        """Along z, y, x, as the stage moved: ``spacing_um`` without the axial scale."""
        z, y, x = self.spacing_um
        return (z / self.axial_scale, y, x)

    @property
    def shape(self) -> tuple[int, ...]:
        """(z, y, x)."""
        return tuple(next(iter(self.images.values())).shape)

    @property
    def source(self) -> str:
        """The file, for messages."""
        return str(next(iter(self.images.values())).source)

    def raw(self, role: str) -> NDArray[Any]:
        """One channel as it is in the file."""
        return np.asarray(self.images[role])

    def recorded(self, role: str) -> NDArray[Any]:
        """One channel as it is in the file, but without hot pixels unless that was declined."""
        pixels = self.raw(role)
        return repair_hot_pixels(pixels)[0] if self.repairs else pixels

    def lit_evenly(self, role: str) -> NDArray[Any]:
        """One channel without hot pixels, corrected for dark level and uneven light."""
        return self.light(role).corrected(self.recorded(role))

    def pixels(self, role: str) -> NDArray[Any]:
        """One channel as it is analysed: also without background, and in its place."""
        pixels = self.lit_evenly(role)
        if role in self.backgrounds:
            how, level, radius_um = self.backgrounds[role]
            pixels = without_background(
                pixels, how, level=level, radius_um=radius_um, spacing_um=self.spacing_um
            )
        step = self.voxels_moved(role)
        return moved_by_voxels(pixels, step) if any(step) else pixels

    def light(self, role: str) -> Light:
        """Dark level and flat field of a channel."""
        return self.lights.get(role, Light())

    def displacement_um(self, role: str, position_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where a channel shows positions minus where that of the nuclei would; 0 if not known."""
        if self.registered is None:
            return np.zeros_like(position_um)
        return self.registered.displacement_um(self.channels[role], position_um)

    def voxels_moved(self, role: str) -> tuple[int, ...]:
        """By how many whole voxels the image of a channel is moved: its shift in the middle."""
        if self.registered is None or role not in self.channels:
            return (0, 0, 0)
        middle = (np.array(self.shape) - 1) / 2 * self.spacing_um
        shift = -self.displacement_um(role, middle[None])[0] / self.spacing_um
        return tuple(int(v) for v in np.rint(shift))


def open_confocal(files: Sequence[Path], parameters: ConfocalParameters) -> ConfocalField:
    """Open the channels that have a role, and check shape and calibration.

    Raises
    ------
    CalibrationError
        If a voxel size is not known: distances in 3D need all three.
    InputError
        For channels, shapes and frames that do not fit together, or an image without planes.
    """
    opened, names = open_channels(files, None, scene=parameters.scene, axes=parameters.axes)
    still = [_still(image, parameters.frame) for image in opened]
    n_frames = opened[0].sizes.get("t", 1)
    if n_frames > 1:
        warnings.warn(
            f"{opened[0].source}: time point {parameters.frame} of {n_frames} is analysed "
            "(--frame); if these are z-planes, say so with --axes",
            AequoreaWarning,
            stacklevel=2,
        )
    chosen = _roles(parameters, names, files)
    images = calibrated(
        [still[k] for k in chosen.values()],
        [names[k] for k in chosen.values()],
        parameters.spacing_um,
    )
    first = images[0]
    if first.sizes.get("z", 1) < _FEWEST_PLANES:
        raise InputError(
            f"{first.source}: is a single plane (axes {first.axes}); this workflow measures in 3D. "
            "If these are z-planes, say so with --axes; for planes use aequorea cells"
        )
    if 0 in first.shape:
        raise InputError(f"{first.source}: has no voxels (shape {first.shape})")
    missing = [axis for axis in "zyx" if first.spacing_um.get(axis) is None]
    if missing:
        raise CalibrationError(
            f"{first.source}: no voxel size along {', '.join(missing)}, so no distance in 3D; give "
            "it with --spacing-um z,y,x"
        )
    scale = _axial_scale(parameters, str(first.source))
    nominal = {axis: float(first.spacing_um[axis] or 0) for axis in "zyx"}
    if parameters.spacing_um is None:
        nominal["z"] /= float(first.metadata.get(CORRECTED, 1.0))
    shape = tuple(first.sizes[axis] for axis in "zyx")
    channels = {role: names[k] for role, k in chosen.items()}
    for told in _shared(channels):
        warnings.warn(f"{first.source}: {told}", AequoreaWarning, stacklevel=2)
    registered = None
    if parameters.chromatic is not None:
        registered = registration(
            parameters.chromatic, channels, tuple(nominal.values()), shape, scale
        )
    return ConfocalField(
        images=dict(zip(chosen, images, strict=True)),
        names=_told_names(parameters, chosen, names),
        spacing_um=(nominal["z"] * scale, nominal["y"], nominal["x"]),
        axial_scale=scale,
        repairs=parameters.repair_hot_pixels,
        channels=channels,
        lights=lights_of(parameters, shape),
        backgrounds=_backgrounds(parameters),
        registered=registered,
    )


def _backgrounds(parameters: ConfocalParameters) -> dict[str, tuple[str, float | None, float]]:
    found = {}
    for role in ("nuclei", "cells", *parameters.protein_roles):
        options = getattr(parameters, role)
        if options.background != "none":
            facts = (options.background_level, options.background_radius_um)
            found[role] = (options.background, *facts)
    return found


def _axial_scale(parameters: ConfocalParameters, source: str) -> float:
    given = parameters.z_scale_factor
    optics = (parameters.objective_na, parameters.immersion_index, parameters.medium_index)
    known = [value for value in optics if value is not None]
    if given is not None:
        if known:
            raise InputError(
                "--z-scale-factor and the optics (--objective-na, …) say the same thing; give one"
            )
        return given
    if len(known) == len(optics):
        return axial_scale(*known)
    if known:
        raise InputError(
            "--objective-na, --immersion-index and --medium-index are needed together, or none"
        )
    warnings.warn(
        f"{source}: plane distances are taken as the stage moved (z_scale_factor 1). Where "
        "immersion and mounting medium differ in refractive index, they are wrong by 10 to 30 %: "
        "give --z-scale-factor, or --objective-na, --immersion-index and --medium-index",
        AequoreaWarning,
        stacklevel=3,
    )
    return 1.0


def _still(image: Image, frame: int) -> Image:
    n_frames = image.sizes.get("t", 1)
    if frame >= n_frames:
        raise InputError(f"{image.source}: has {n_frames} time points, no frame {frame}")
    return image.isel(t=frame) if "t" in image.axes else image


def _roles(
    parameters: ConfocalParameters, names: Sequence[str], files: Sequence[Path]
) -> dict[str, int]:
    """The number of the channel that each role has; roles without a channel have none."""
    told = ", ".join(f"{k}:{n}" for k, n in enumerate(names))
    where = ", ".join(str(f) for f in files)
    chosen: dict[str, int] = {}
    for role in parameters.roles:
        options = parameters.channel_of(role)
        wanted = options.channel
        if wanted is None and role == "cells" and not parameters.needs_cell_channel:
            continue
        marked = role in parameters.landmark_roles
        if wanted is None and marked and parameters.landmark_of(role).labels is not None:
            continue
        if wanted is None:
            raise ChannelError(
                f"{where}: which channel is {role}? It has {told}; say it with --{role}.channel, "
                "or in [channels] of a study"
            )
        if wanted in names:
            chosen[role] = list(names).index(wanted)
        elif wanted.isdigit() and int(wanted) < len(names):
            chosen[role] = int(wanted)
        else:
            raise ChannelError(f"{where}: no channel {wanted!r} for {role}; it has {told}")
    return chosen


def _shared(channels: Mapping[str, str]) -> Iterator[str]:
    """Channels that play more than one part."""
    for channel in dict.fromkeys(channels.values()):
        roles = [role for role, own in channels.items() if own == channel]
        if len(roles) > 1:
            yield f"channel {channel!r} is used as {' and as '.join(roles)}"


def _told_names(
    parameters: ConfocalParameters, chosen: Mapping[str, int], names: Sequence[str]
) -> dict[str, str]:
    told = {role: parameters.channel_of(role).name or names[k] for role, k in chosen.items()}
    doubled = {name for name in told.values() if list(told.values()).count(name) > 1}
    return {r: f"{r}: {n}" if n in doubled else n for r, n in told.items()}
