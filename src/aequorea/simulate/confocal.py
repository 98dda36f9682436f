"""Confocal stacks of cells with nuclei, puncta and a protein, of which every answer is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from aequorea.errors import InputError
from aequorea.simulate.puncta import render_puncta

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Rng = np.random.Generator | int | None

__all__ = ["ConfocalStack", "PunctaLaw", "SimulatedPuncta", "simulated_confocal"]

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]

_PLACES_TRIED = 200
_ARRANGEMENTS_TRIED = 20
_GAP_UM = 0.8
_READ_NOISE = 1.5


@dataclass(frozen=True, kw_only=True)
class PunctaLaw:
    """How many puncta a cell has and where they lie.

    Attributes
    ----------
    per_cell : float
        Mean number in the cytosol (Poisson).
    nuclear : float
        Mean number in the nucleus (Poisson).
    attraction : float
        The density in the cytosol is proportional to exp(-attraction · u), where u from 0 to 1 is
        the fraction of the cytosol's volume that is nearer to the nucleus. 0 is uniform, positive
        perinuclear, negative peripheral.
    clustered : float, 0 to 1
        Share of the puncta that lie in foci of ``cluster_size``.
    cluster_size : int
    cluster_radius_um : float
        SD of the positions in a focus along each axis.
    photons : float
        Mean of a punctum.
    brightness_cv : float
        Coefficient of variation of the brightness (log-normal).
    """

    per_cell: float = 60.0
    nuclear: float = 4.0
    attraction: float = 0.0
    clustered: float = 0.0
    cluster_size: int = 6
    cluster_radius_um: float = 0.15
    photons: float = 900.0
    brightness_cv: float = 0.25


@dataclass(frozen=True, eq=False, kw_only=True)
class SimulatedPuncta:
    """Where the puncta of one channel are.

    Attributes
    ----------
    position_px, position_um : ndarray, shape (n, 3)
        From the centre of the first voxel.
    photons : ndarray, shape (n,)
    cell : ndarray of int32, shape (n,)
    in_nucleus : ndarray of bool, shape (n,)
    """

    position_px: FloatArray
    position_um: FloatArray
    photons: FloatArray
    cell: npt.NDArray[np.int32]
    in_nucleus: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.photons)


@dataclass(frozen=True, eq=False, kw_only=True)
class ConfocalStack:
    """A stack with its truth.

    Attributes
    ----------
    images : mapping of str to ndarray of uint16, shape (z, y, x)
        ``nuclei``, ``cells``, one per kind of puncta, ``protein``.
    nuclei, cells : ndarray of int32, shape (z, y, x)
        Nucleus k lies in cell k.
    puncta : mapping of str to SimulatedPuncta
    spacing_um : (float, float, float)
    psf_sigma_um : (float, float, float)
    hot_pixels : ndarray of int64, shape (n, 3)
    """

    images: Mapping[str, npt.NDArray[np.uint16]]
    nuclei: Labels
    cells: Labels
    puncta: Mapping[str, SimulatedPuncta]
    spacing_um: tuple[float, float, float]
    psf_sigma_um: tuple[float, float, float]
    hot_pixels: npt.NDArray[np.int64]

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.cells.max())

    def stack(self) -> npt.NDArray[np.uint16]:
        """All channels, shape (c, z, y, x), in the order of ``images``."""
        return np.stack(list(self.images.values()))


def simulated_confocal(
    shape: Sequence[int] = (24, 192, 192),
    *,
    spacing_um: Sequence[float] = (0.3, 0.1, 0.1),
    n_cells: int = 2,
    cell_diameter_um: float = 8.0,
    nucleus_diameter_um: float = 4.0,
    elongation: float = 1.3,
    puncta: Mapping[str, PunctaLaw] | None = None,
    protein_attraction: float = 1.0,
    psf_sigma_um: Sequence[float] = (0.35, 0.12, 0.12),
    nuclear_photons: float = 60.0,
    body_photons: float = 25.0,
    protein_photons: float = 40.0,
    background_photons: float = 6.0,
    cell_background_photons: float = 4.0,
    attenuation_depth_um: float = math.inf,
    crosstalk: float = 0.0,
    n_hot_pixels: int = 0,
    camera_offset: float = 100.0,
    rng: Rng = None,
) -> ConfocalStack:
    """Cells with nuclei, puncta of chosen spatial law, blur, bleaching, crosstalk and noise.

    Parameters
    ----------
    shape : sequence of int
        (z, y, x).
    spacing_um : sequence of float, µm
        Distance between voxel centres along z, y, x.
    n_cells : int
        Cells are flattened to the depth of the stack where it is thinner than they are; they do
        not touch.
    cell_diameter_um, nucleus_diameter_um : float, µm
        Of the ball of the same volume.
    elongation : float
        Longest over shortest axis within the plane, at most.
    puncta : mapping of str to PunctaLaw, optional
        One channel each; one channel ``mRNA`` if not given.
    protein_attraction : float
        Like :attr:`PunctaLaw.attraction`, for the continuous channel.
    psf_sigma_um : sequence of float, µm
        SD of the Gaussian point-spread function along z, y, x.
    nuclear_photons, body_photons, protein_photons : float
        Mean photons per voxel of the three continuous channels.
    background_photons : float
        Everywhere; ``cell_background_photons`` more inside cells, in puncta channels.
    attenuation_depth_um : float, µm
        Depth at which 1/e of the light is left, from the first plane on.
    crosstalk : float
        Share of each channel's light that also reaches the next one.
    n_hot_pixels : int
        Voxels of every channel set to the largest value of a 12-bit camera above all else.
    camera_offset : float
        Grey levels added after Poisson noise; one photon is one grey level, read noise 1.5.
    rng : Generator, int or None

    Returns
    -------
    ConfocalStack

    Raises
    ------
    InputError
        If a number is out of range, or the cells find no room.

    Examples
    --------
    >>> sizes = {"cell_diameter_um": 5, "nucleus_diameter_um": 2}
    >>> stack = simulated_confocal((16, 96, 96), n_cells=1, **sizes, rng=0)
    >>> sorted(stack.images), stack.n_cells
    (['cells', 'mRNA', 'nuclei', 'protein'], 1)
    """
    size = tuple(int(n) for n in shape)
    spacing = np.asarray(spacing_um, dtype=float)
    sigma = np.asarray(psf_sigma_um, dtype=float)
    _require_sensible(size, spacing, sigma, n_cells, cell_diameter_um, nucleus_diameter_um)
    generator = np.random.default_rng(rng)
    laws = {"mRNA": PunctaLaw()} if puncta is None else dict(puncta)
    cells, nuclei = _bodies(
        size, spacing, n_cells, cell_diameter_um, nucleus_diameter_um, elongation, generator
    )
    ranks = volume_ranks(cells, nuclei, spacing)
    placed = {
        name: _placed(law, cells, nuclei, ranks, spacing, generator) for name, law in laws.items()
    }
    light = {
        "nuclei": _stained(nuclei > 0, nuclear_photons, 0.15, spacing, generator),
        "cells": _stained(cells > 0, body_photons, 0.15, spacing, generator),
    }
    for name, spots in placed.items():
        light[name] = np.where(cells > 0, np.float32(cell_background_photons), np.float32(0))
        ndimage.gaussian_filter(light[name], sigma / spacing, output=light[name])
        render_puncta(light[name], spots.position_px, spots.photons, list(sigma / spacing))
    protein = _stained((cells > 0) & (nuclei == 0), protein_photons, 0.3, spacing, generator)
    weight = np.exp(-protein_attraction * ranks)
    protein *= np.where(nuclei > 0, 0, weight / np.exp(-protein_attraction * 0.5)).astype(
        np.float32
    )
    light["protein"] = protein
    for name in ("nuclei", "cells", "protein"):
        ndimage.gaussian_filter(light[name], sigma / spacing, output=light[name], mode="nearest")
    depth = np.arange(size[0]) * spacing[0]
    fading = np.exp(-depth / attenuation_depth_um).astype(np.float32)[:, None, None]
    names = list(light)
    mixed = {}
    for k, name in enumerate(names):
        bled = light[names[k - 1]] if k else None
        mixed[name] = light[name] * fading + np.float32(background_photons)
        if crosstalk and bled is not None:
            mixed[name] += np.float32(crosstalk) * fading * bled
    hot = generator.integers(0, size, (n_hot_pixels, 3))
    return ConfocalStack(
        images={name: _seen(mixed[name], camera_offset, hot, generator) for name in names},
        nuclei=nuclei,
        cells=cells,
        puncta=placed,
        spacing_um=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        psf_sigma_um=(float(sigma[0]), float(sigma[1]), float(sigma[2])),
        hot_pixels=hot,
    )


def volume_ranks(cells: Labels, nuclei: Labels, spacing: FloatArray) -> FloatArray:
    """Fraction of each cell's cytosol that is nearer to its nucleus than the voxel; else 0.

    By sorting the distances of all its voxels: a truth to test against.
    """
    ranks = np.zeros(cells.shape)
    for k, box in enumerate(ndimage.find_objects(cells), start=1):
        distance = ndimage.distance_transform_edt(nuclei[box] != k, sampling=spacing)
        cytosol = (cells[box] == k) & (nuclei[box] == 0)
        order = np.argsort(distance[cytosol], kind="stable")
        own = np.empty(len(order))
        own[order] = (np.arange(len(order)) + 0.5) / max(len(order), 1)
        ranks[box][cytosol] = own
    return ranks


def _bodies(
    size: tuple[int, ...],
    spacing: FloatArray,
    n_cells: int,
    cell_um: float,
    nucleus_um: float,
    elongation: float,
    rng: np.random.Generator,
) -> tuple[Labels, Labels]:
    """Cells as ellipsoids lying in the plane, with an eccentric nucleus each."""
    for _ in range(_ARRANGEMENTS_TRIED):
        found = _arranged(size, spacing, n_cells, cell_um, nucleus_um, elongation, rng)
        if found is not None:
            return found
    raise InputError(f"n_cells: no room for {n_cells} cells in {size}; ask for fewer or smaller")


def _arranged(
    size: tuple[int, ...],
    spacing: FloatArray,
    n_cells: int,
    cell_um: float,
    nucleus_um: float,
    elongation: float,
    rng: np.random.Generator,
) -> tuple[Labels, Labels] | None:
    cells, nuclei = np.zeros(size, np.int32), np.zeros(size, np.int32)
    extent = np.array(size) * spacing
    for k in range(1, n_cells + 1):
        half_z = min(cell_um / 2, 0.45 * extent[0])
        for _ in range(_PLACES_TRIED):
            ratio = rng.uniform(1.0, elongation)
            half_xy = math.sqrt((cell_um / 2) ** 3 / half_z)
            radii = np.array([half_z, half_xy / math.sqrt(ratio), half_xy * math.sqrt(ratio)])
            angle = rng.uniform(0, math.pi)
            margin = 1.02 * np.array([half_z, radii[2], radii[2]])
            room = extent - spacing - 2 * margin
            if (room < 0).any():
                continue
            centre = margin + rng.uniform(size=3) * room
            box, offsets = _around(centre, radii[2] + _GAP_UM, size, spacing, angle)
            if not cells[box][_inside(offsets, radii + _GAP_UM)].any():
                break
        else:
            return None
        body = _inside(offsets, radii)
        cells[box][body] = k
        small = min(nucleus_um / 2, 0.75 * half_z)
        within = np.array([small, *2 * [math.sqrt((nucleus_um / 2) ** 3 / small)]])
        shift = rng.uniform(-0.2, 0.2, 3) * (radii - within)
        nucleus = _inside([o - s for o, s in zip(offsets, shift, strict=True)], within)
        nuclei[box][nucleus & body] = k
    return cells, nuclei


def _around(
    centre: FloatArray, reach: float, size: tuple[int, ...], spacing: FloatArray, angle: float
) -> tuple[tuple[slice, ...], list[FloatArray]]:
    """The box of a body, and offsets from its centre along its own axes, in µm."""
    low = np.maximum(np.floor((centre - reach) / spacing), 0).astype(int)
    high = np.minimum(np.ceil((centre + reach) / spacing) + 1, size).astype(int)
    box = tuple(slice(first, last) for first, last in zip(low, high, strict=True))
    axes = [
        np.arange(first, last) * s - c
        for first, last, s, c in zip(low, high, spacing, centre, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    across = y * math.cos(angle) - x * math.sin(angle)
    along = y * math.sin(angle) + x * math.cos(angle)
    return box, [z, across, along]


def _inside(offsets: list[FloatArray], radii: FloatArray) -> npt.NDArray[np.bool_]:
    scaled = sum((o / r) ** 2 for o, r in zip(offsets, radii, strict=True))
    return np.asarray(scaled <= 1)


def _placed(
    law: PunctaLaw,
    cells: Labels,
    nuclei: Labels,
    ranks: FloatArray,
    spacing: FloatArray,
    rng: np.random.Generator,
) -> SimulatedPuncta:
    places, owners, nuclear = [], [], []
    boxes = ndimage.find_objects(cells)
    for k in range(1, len(boxes) + 1):
        box = boxes[k - 1]
        corner = [side.start for side in box]
        cytosol = np.argwhere((cells[box] == k) & (nuclei[box] == 0)) + corner
        weight = np.exp(-law.attraction * ranks[tuple(cytosol.T)])
        n = rng.poisson(law.per_cell)
        n_foci = round(law.clustered * n / max(law.cluster_size, 1))
        n_single = max(0, n - n_foci * law.cluster_size)
        own = _drawn(cytosol, weight, n_single, rng)
        if n_foci:
            centres = np.repeat(_drawn(cytosol, weight, n_foci, rng), law.cluster_size, axis=0)
            scattered = centres + rng.normal(size=centres.shape) * law.cluster_radius_um / spacing
            here = np.clip(np.rint(scattered).astype(int), 0, np.array(cells.shape) - 1)
            stays = (cells[tuple(here.T)] == k) & (nuclei[tuple(here.T)] == 0)
            own = np.concatenate([own, np.where(stays[:, None], scattered, centres)])
        inner = np.argwhere(nuclei[box] == k) + corner
        within = _drawn(inner, np.ones(len(inner)), rng.poisson(law.nuclear), rng)
        places += [own, within]
        owners += [k] * (len(own) + len(within))
        nuclear += [False] * len(own) + [True] * len(within)
    position = np.concatenate(places) if places else np.zeros((0, 3))
    spread = math.sqrt(math.log1p(law.brightness_cv**2))
    return SimulatedPuncta(
        position_px=position,
        position_um=position * spacing,
        photons=law.photons * rng.lognormal(-(spread**2) / 2, spread, len(position)),
        cell=np.array(owners, np.int32),
        in_nucleus=np.array(nuclear, bool),
    )


def _drawn(
    voxels: npt.NDArray[np.int64], weight: FloatArray, n: int, rng: np.random.Generator
) -> FloatArray:
    """Positions within voxels drawn by weight."""
    if n == 0 or len(voxels) == 0:
        return np.zeros((0, 3))
    chosen = rng.choice(len(voxels), size=n, p=weight / weight.sum())
    return voxels[chosen] + rng.uniform(-0.5, 0.5, (n, 3))


def _stained(
    mask: npt.NDArray[np.bool_],
    photons: float,
    texture: float,
    spacing: FloatArray,
    rng: np.random.Generator,
) -> Float32Array:
    """A stain with texture of about half a micrometre."""
    waves = rng.standard_normal(mask.shape, dtype=np.float32)
    ndimage.gaussian_filter(waves, 0.4 / spacing, output=waves)
    waves /= max(float(waves.std()), 1e-6)
    return np.where(mask, np.maximum(photons * (1 + texture * waves), 0), 0).astype(np.float32)


def _seen(
    photons: Float32Array,
    offset: float,
    hot: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> npt.NDArray[np.uint16]:
    grey = rng.poisson(np.maximum(photons, 0)).astype(np.float32) + np.float32(offset)
    grey += np.float32(_READ_NOISE) * rng.standard_normal(grey.shape, dtype=np.float32)
    image: npt.NDArray[np.uint16] = np.clip(np.rint(grey), 0, 65535).astype(np.uint16)
    if len(hot):
        image[tuple(hot.T)] = max(4095, int(image.max()) + 1)
    return image


def _require_sensible(
    size: tuple[int, ...],
    spacing: FloatArray,
    sigma: FloatArray,
    n_cells: int,
    cell_um: float,
    nucleus_um: float,
) -> None:
    if len(size) != 3 or min(size) < 2:
        raise InputError(f"shape: expected three lengths (z, y, x) of at least 2, got {size}")
    for name, values in (("spacing_um", spacing), ("psf_sigma_um", sigma)):
        if values.shape != (3,) or not np.all(values > 0):
            raise InputError(f"{name}: expected three positive lengths, got {tuple(values)}")
    if n_cells < 0:
        raise InputError(f"n_cells: expected 0 or more, got {n_cells}")
    if not 0 < nucleus_um < cell_um:
        raise InputError(
            f"nucleus_diameter_um: expected more than 0 and less than the cell's {cell_um}, "
            f"got {nucleus_um}"
        )
