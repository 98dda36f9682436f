"""Shifts between channels from beads: measured, kept in a file, and used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import CalibrationError, ChannelError, FileFormatError, FileMissingError
from aequorea.io.atomic import replacing
from aequorea.pipelines.channels import calibrated, open_channels
from aequorea.puncta.chromatic import BeadShift, bead_positions, bead_shift

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["ChromaticShifts", "Registration", "measure_shifts", "read_shifts", "write_shifts"]

_FORMAT, _VERSION = "aequorea chromatic shifts", 1
_SAME_SPACING = 0.01


@dataclass(frozen=True, kw_only=True)
class ChromaticShifts:
    """How far each channel is displaced from a reference.

    Attributes
    ----------
    reference : str
    channels : mapping of str to BeadShift
        All but the reference.
    spacing_um : (float, float, float)
        Of the beads' images, along z, y, x, as the stage moved.
    shape : (int, int, int)
    files : tuple of str
    """

    reference: str
    channels: Mapping[str, BeadShift]
    spacing_um: tuple[float, float, float]
    shape: tuple[int, int, int]
    files: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All channels, the reference first."""
        return (self.reference, *self.channels)


@dataclass(frozen=True, kw_only=True)
class Registration:
    """Displacements of channels from the one that everything is measured against.

    Attributes
    ----------
    shifts : ChromaticShifts
    towards : str
        The channel of the nuclei.
    axial_scale : float
        True over nominal plane distance.
    """

    shifts: ChromaticShifts
    towards: str
    axial_scale: float

    def displacement_um(
        self, channel: str, position_um: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Where the channel shows positions (n, 3) minus where the nuclei's channel would."""
        scale = np.array([self.axial_scale, 1.0, 1.0])
        nominal = np.asarray(position_um, dtype=np.float64) / scale
        moved = self._of(channel, nominal) - self._of(self.towards, nominal)
        return np.asarray(moved * scale, dtype=np.float64)

    def error_um(self, channel: str) -> NDArray[np.float64]:
        """Standard errors of the displacement along z, y, x."""
        squares = np.zeros(3)
        for name in {channel, self.towards} - {self.shifts.reference}:
            squares += self.shifts.channels[name].standard_error_um ** 2
        if channel == self.towards:
            squares[:] = 0
        return np.sqrt(squares) * [self.axial_scale, 1.0, 1.0]

    def _of(self, channel: str, position_um: NDArray[np.float64]) -> NDArray[np.float64]:
        if channel == self.shifts.reference:
            return np.zeros_like(position_um)
        return self.shifts.channels[channel].displacement_um(position_um)


def measure_shifts(
    files: Sequence[Path],
    *,
    reference: str | None = None,
    sigma_um: tuple[float, float, float] = (0.35, 0.13, 0.13),
    cutoff_um: float = 1.0,
    spacing_um: Sequence[float] | None = None,
    scene: int = 0,
    axes: str | None = None,
) -> ChromaticShifts:
    """Measure the shift of every channel on stacks of multicolour beads, or a dual-label control.

    Parameters
    ----------
    files : sequence of Path
        Stacks with all channels, recorded as the samples are.
    reference : str, optional
        By name or number; the first channel if not given.
    sigma_um : (float, float, float), µm
        SD of a bead's image along z, y, x.
    cutoff_um : float, µm
        Above the largest shift, below half the distance between beads.
    spacing_um, scene, axes
        As for samples.

    Returns
    -------
    ChromaticShifts

    Raises
    ------
    InputError
        For files that do not fit together, or too few beads.
    """
    positions: dict[str, list[NDArray[np.float64]]] = {}
    spacing, shape = (0.0, 0.0, 0.0), (0, 0, 0)
    for number, file in enumerate(files):
        images, names = open_channels([file], None, scene=scene, axes=axes, least=2)
        images = calibrated(images, names, spacing_um)
        pixels = [np.asarray(image).squeeze() for image in images]
        if pixels[0].ndim != 3:
            raise ChannelError(f"{file}: axes {images[0].axes}; expected stacks (z, y, x) of beads")
        sizes = [images[0].spacing_um.get(a) for a in "zyx"]
        if any(size is None for size in sizes):
            raise CalibrationError(f"{file}: voxel size is not known; give --spacing-um z,y,x")
        own = (float(sizes[0] or 0), float(sizes[1] or 0), float(sizes[2] or 0))
        if number and (tuple(positions) != names or not np.allclose(own, spacing, rtol=0.01)):
            raise ChannelError(
                f"{file}: channels {', '.join(names)} of {own} µm differ from those of {files[0]}"
            )
        spacing, shape = own, tuple(pixels[0].shape)
        sigma_px = tuple(s / d for s, d in zip(sigma_um, spacing, strict=True))
        for name, image in zip(names, pixels, strict=True):
            found = bead_positions(image, sigma_px=sigma_px) * spacing
            positions.setdefault(name, []).append(found)
    names = tuple(positions)
    chosen = _chosen(reference, names, files)
    channels = {}
    for name in names:
        if name != chosen:
            try:
                channels[name] = bead_shift(positions[chosen], positions[name], cutoff_um=cutoff_um)
            except ChannelError:
                raise
            except ValueError as error:
                raise ChannelError(f"{name} against {chosen}: {error}") from None
    return ChromaticShifts(
        reference=chosen,
        channels=channels,
        spacing_um=spacing,
        shape=shape,
        files=tuple(f.name for f in files),
    )


def _chosen(reference: str | None, names: tuple[str, ...], files: Sequence[Path]) -> str:
    if reference is None:
        return names[0]
    if reference in names:
        return reference
    if reference.isdigit() and int(reference) < len(names):
        return names[int(reference)]
    raise ChannelError(f"{files[0]}: no channel {reference!r}; it has {', '.join(names)}")


def write_shifts(shifts: ChromaticShifts, path: Path) -> None:
    """Keep shifts as JSON."""
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "reference": shifts.reference,
        "spacing_um": list(shifts.spacing_um),
        "shape": list(shifts.shape),
        "files": list(shifts.files),
        "channels": {
            name: {
                "shift_um": s.shift_um.tolist(),
                "standard_error_um": s.standard_error_um.tolist(),
                "residual_rms_um": s.residual_rms_um.tolist(),
                "magnification": s.magnification,
                "rotation_rad": s.rotation_rad,
                "has_scale": s.has_scale,
                "centre_um": s.centre_um.tolist(),
                "n_beads": s.n_beads,
                "n_outliers": s.n_outliers,
            }
            for name, s in shifts.channels.items()
        },
    }
    with replacing(path, overwrite=True) as target:
        target.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def read_shifts(path: Path) -> ChromaticShifts:
    """Shifts that :func:`write_shifts` wrote.

    Raises
    ------
    FileMissingError, FileFormatError
        One line, naming the file.
    """
    if not path.exists():
        raise FileMissingError(f"{path}: no such file; aequorea confocal chromatic makes one")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        _require_format(content)
        z, y, x = (float(v) for v in content["spacing_um"])
        depth, height, width = (int(v) for v in content["shape"])
        return ChromaticShifts(
            reference=str(content["reference"]),
            channels={str(n): _shift(c) for n, c in content["channels"].items()},
            spacing_um=(z, y, x),
            shape=(depth, height, width),
            files=tuple(str(f) for f in content["files"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FileFormatError(
            f"{path}: is not a file of aequorea confocal chromatic, of this version"
        ) from None


def _require_format(content: Mapping[str, Any]) -> None:
    if (content["format"], content["version"]) != (_FORMAT, _VERSION):
        raise ValueError(content["format"])


def _shift(content: Mapping[str, Any]) -> BeadShift:
    vectors = {
        name: np.array([float(v) for v in content[name]])
        for name in ("shift_um", "standard_error_um", "residual_rms_um", "centre_um")
    }
    if any(v.shape != (3,) or not np.isfinite(v).all() for v in vectors.values()):
        raise ValueError("three finite numbers are expected")
    none = np.zeros((0, 3))
    return BeadShift(
        **vectors,
        magnification=float(content["magnification"]),
        rotation_rad=float(content["rotation_rad"]),
        has_scale=bool(content["has_scale"]),
        n_beads=int(content["n_beads"]),
        n_outliers=int(content["n_outliers"]),
        place_um=none,
        residual_um=none,
    )


def registration(
    path: Path,
    channels: Mapping[str, str],
    spacing_um: Sequence[float],
    shape: Sequence[int],
    axial_scale: float,
) -> Registration:
    """The shifts of a file, if they hold for this image.

    Parameters
    ----------
    path : Path
    channels : mapping of role to name of its channel
    spacing_um : sequence of float, µm
        As the stage moved.
    shape : sequence of int
    axial_scale : float

    Raises
    ------
    CalibrationError
        If the beads have other voxels, or another field where magnification was fitted.
    ChannelError
        If a channel was not measured.
    """
    shifts = read_shifts(path)
    if not np.allclose(shifts.spacing_um, spacing_um, rtol=_SAME_SPACING):
        raise CalibrationError(
            f"{path}: beads were recorded with voxels of {_worded(shifts.spacing_um)} µm, the "
            f"image has {_worded(spacing_um)} µm; record both alike"
        )
    scaled = any(s.has_scale for s in shifts.channels.values())
    if scaled and tuple(shape[1:]) != shifts.shape[1:]:
        raise CalibrationError(
            f"{path}: has magnification or rotation for planes of {shifts.shape[1:]} pixels, the "
            f"image has {tuple(shape[1:])}; record beads in the same field"
        )
    unknown = [name for name in channels.values() if name not in shifts.names]
    if unknown:
        raise ChannelError(
            f"{path}: no beads for channel {unknown[0]!r}; it has {', '.join(shifts.names)}"
        )
    return Registration(shifts=shifts, towards=channels["nuclei"], axial_scale=axial_scale)


def _worded(values: Sequence[float]) -> str:
    return " × ".join(f"{v:g}" for v in values)
