"""Nuclei whose outlines are known, and marker channels whose positive cells are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from aequorea.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SimulatedMarker", "SimulatedNuclei", "simulated_markers", "simulated_nuclei"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int32]
Windows = tuple[slice, ...]
Rng = np.random.Generator | int | None
Where = Literal["cell", "ring", "nucleus", "puncta"]

_READ_NOISE = 1.5  # grey levels, SD
_N_WAVES = 5
_PLACES_TRIED = 400
_NEIGHBOURS_TRIED = 40
_HOSTS_TRIED = 40


@dataclass(frozen=True, eq=False)
class SimulatedNuclei:
    """A simulated image of nuclei and what is true of it.

    Attributes
    ----------
    image : ndarray of uint16, shape (y, x) or (z, y, x)
    labels : ndarray of int32
        Shape of the image; 0 is background, nuclei are 1 to n.
    centres_px : ndarray, shape (n, ndim), px
    touching : ndarray of bool, shape (n,)
        Whether the nucleus was put in contact with another.
    spacing_um : tuple of float, or None
        As given.
    diameter_px : float
        Typical diameter within planes, px.
    """

    image: npt.NDArray[np.uint16]
    labels: Labels
    centres_px: FloatArray
    touching: BoolArray
    spacing_um: tuple[float, ...] | None
    diameter_px: float

    @property
    def n(self) -> int:
        """Number of nuclei."""
        return len(self.centres_px)


@dataclass(frozen=True, eq=False)
class SimulatedMarker:
    """A simulated marker channel over known nuclei.

    Attributes
    ----------
    image : ndarray of uint16
    labels : ndarray of int32
        Where the stain is; the value is the number of the nucleus it belongs to, so numbers of
        negative nuclei are absent.
    positive : ndarray of bool, shape (n,)
        Element k is nucleus k + 1.
    """

    image: npt.NDArray[np.uint16]
    labels: Labels
    positive: BoolArray


def simulated_nuclei(
    shape: Sequence[int] = (256, 256),
    *,
    n: int = 40,
    diameter_px: float = 18.0,
    spacing_um: Sequence[float] | None = None,
    touching_fraction: float = 0.3,
    cluster_size: int = 2,
    size_cv: float = 0.12,
    elongation: float = 1.35,
    irregularity: float = 0.05,
    photons: float = 120.0,
    brightness_cv: float = 0.25,
    texture: float = 0.15,
    background_photons: float = 10.0,
    illumination_gradient: float = 0.0,
    blur_px: float = 1.2,
    camera_offset: float = 100.0,
    n_debris: int = 0,
    rng: Rng = None,
) -> SimulatedNuclei:
    """Nuclei of known outline under blur, uneven light and the noise of a camera.

    Parameters
    ----------
    shape : sequence of int, default (256, 256)
        2D (y, x) or 3D (z, y, x).
    n : int, default 40
        Number of nuclei.
    diameter_px : float, default 18
        Diameter of the circle (ball) of the same size as a typical nucleus, in pixels of the
        last axis.
    spacing_um : sequence of float, optional
        Distance between pixel centres. A larger value along z puts fewer planes through a
        nucleus; not given, pixels are as wide along every axis.
    touching_fraction : float, 0 to 1, default 0.3
        Share of the nuclei that touch another. They never overlap.
    cluster_size : int, default 2
        How many touch one another.
    size_cv : float, default 0.12
        Coefficient of variation of the diameters.
    elongation : float, default 1.35
        Longest over shortest axis, at most; each nucleus draws its own from 1 on.
    irregularity : float, default 0.05
        SD of the radius around the ellipsoid's, as a fraction of it.
    photons : float, default 120
        Mean of a typical nucleus above the background.
    brightness_cv : float, default 0.25
        Coefficient of variation of the brightness between nuclei (log-normal).
    texture : float, default 0.15
        SD of the stain within a nucleus, as a fraction of its brightness.
    background_photons : float, default 10
    illumination_gradient : float, 0 to 1, default 0
        Light falls linearly along x from 1 + this to 1 - this.
    blur_px : float, default 1.2
        SD of the microscope's blur, in pixels of the last axis.
    camera_offset : float, default 100
        Grey levels added after the Poisson noise; the camera's own noise has SD 1.5.
    n_debris : int, default 0
        Specks a sixth of a nucleus wide, three times as bright, that are no nuclei.
    rng : Generator, int or None

    Returns
    -------
    SimulatedNuclei

    Raises
    ------
    InputError
        If a parameter is out of range or the nuclei find no room.

    Notes
    -----
    Nuclei at the border are cut by it, by less than half. Each is drawn within its own bounding
    box: 2,000 in 2048 × 2048 px take about two seconds, mostly noise.

    Examples
    --------
    >>> nuclei = simulated_nuclei((128, 128), n=10, rng=0)
    >>> nuclei.image.shape, int(nuclei.labels.max()), int(nuclei.touching.sum())
    ((128, 128), 10, 4)
    """
    size = tuple(int(length) for length in shape)
    stretch = _stretch(size, spacing_um)
    _require_sensible(size, n, diameter_px, touching_fraction, cluster_size)
    generator = np.random.default_rng(rng)
    bodies = [
        _random_body(diameter_px, size_cv, elongation, irregularity, len(size), generator)
        for _ in range(n)
    ]
    labels = np.zeros(size, np.int32)
    light = np.full(size, background_photons, np.float32)
    groups = _groups(n, touching_fraction, cluster_size)
    canvas = _Canvas(labels, stretch, gap=2.0 + blur_px)
    touching = np.zeros(n, dtype=bool)
    centres = np.zeros((n, len(size)))
    spread = math.sqrt(math.log1p(brightness_cv**2))
    for members in groups:
        for k in members:
            if k == members[0]:
                centres[k] = canvas.place_alone(bodies[k], k + 1, len(members), generator)
                continue
            # Beside one of its cluster; where that has no room, beside any nucleus before it.
            beside = generator.permutation(members[0]).tolist()
            hosts = [*generator.permutation(np.arange(members[0], k)).tolist(), *beside]
            host, centres[k] = canvas.place_beside(bodies, k, hosts, centres, generator)
            touching[[k, host]] = True
    for k, body in enumerate(bodies):
        brightness = photons * generator.lognormal(-spread * spread / 2, spread)
        window, offsets = body.window(centres[k], size, stretch)
        own = labels[window] == k + 1
        stain = brightness * (1 + texture * _waves(offsets[:, own], diameter_px, generator))
        light[window][own] += np.maximum(stain, 0).astype(np.float32)
    _add_debris(light, n_debris, diameter_px, 3 * photons, stretch, generator)
    image = _photograph(
        light,
        blur_px / stretch,
        illumination_gradient,
        camera_offset,
        generator,
    )
    spacing = None if spacing_um is None else tuple(float(s) for s in spacing_um)
    return SimulatedNuclei(image, labels, centres, touching, spacing, float(diameter_px))


def simulated_markers(
    nuclei: SimulatedNuclei,
    *,
    positive_fraction: float = 0.4,
    positive: npt.ArrayLike | None = None,
    where: Where = "cell",
    ring_px: float = 3.0,
    n_puncta: int = 12,
    puncta_sigma_px: float = 1.2,
    photons: float = 80.0,
    brightness_cv: float = 0.2,
    texture: float = 0.15,
    background_photons: float = 10.0,
    blur_px: float = 1.0,
    camera_offset: float = 100.0,
    rng: Rng = None,
) -> SimulatedMarker:
    """A marker channel in which a chosen part of the nuclei is positive.

    Parameters
    ----------
    nuclei : SimulatedNuclei
    positive_fraction : float, 0 to 1, default 0.4
        Share of the nuclei, drawn at random, that are positive (rounded to whole nuclei).
    positive : array_like of bool, shape (n,), optional
        Which are positive, instead of drawing them.
    where : {"cell", "ring", "nucleus", "puncta"}, default "cell"
        The stain fills the nucleus and a ring around it, the ring alone, the nucleus alone, or
        lies in puncta within nucleus and ring.
    ring_px : float, default 3
        Width of the ring, in pixels of the last axis. It never enters another nucleus or its
        ring.
    n_puncta : int, default 12
        Puncta of a positive nucleus.
    puncta_sigma_px : float, default 1.2
    photons : float, default 80
        Mean of the stain, or peak of a punctum, above the background.
    brightness_cv, texture, background_photons, blur_px, camera_offset
        As for :func:`simulated_nuclei`.
    rng : Generator, int or None

    Returns
    -------
    SimulatedMarker

    Raises
    ------
    InputError
        If a parameter is out of range.

    Examples
    --------
    >>> nuclei = simulated_nuclei((128, 128), n=10, rng=0)
    >>> marker = simulated_markers(nuclei, positive_fraction=0.3, rng=1)
    >>> int(marker.positive.sum()), len(np.unique(marker.labels)) - 1
    (3, 3)
    """
    if where not in ("cell", "ring", "nucleus", "puncta"):
        raise InputError(f"where: expected cell, ring, nucleus or puncta, found {where!r}")
    generator = np.random.default_rng(rng)
    flags = _positive_flags(nuclei.n, positive, positive_fraction, generator)
    stretch = _stretch(nuclei.labels.shape, nuclei.spacing_um)
    labels = np.zeros(nuclei.labels.shape, np.int32)
    light = np.full(labels.shape, background_photons, np.float32)
    spread = math.sqrt(math.log1p(brightness_cv**2))
    boxes = ndimage.find_objects(nuclei.labels, max_label=nuclei.n)
    for k in np.flatnonzero(flags).tolist():
        if boxes[k] is None:
            continue
        window = _grown(boxes[k], ring_px / stretch, labels.shape)
        region = _stain_region(nuclei.labels[window], k + 1, where, ring_px, stretch)
        region &= labels[window] == 0
        if not region.any():
            continue
        brightness = photons * generator.lognormal(-spread * spread / 2, spread)
        places = np.argwhere(region) * stretch
        if where == "puncta":
            chosen = places[generator.integers(len(places), size=n_puncta)]
            bright = np.zeros(len(places))
            for centre in chosen:
                square = ((places - centre) ** 2).sum(axis=1)
                bright = np.maximum(bright, np.exp(-square / (2 * puncta_sigma_px**2)))
            inside = bright > 0.25
        else:
            waves = _waves(places.T, nuclei.diameter_px, generator)
            bright = np.maximum(1 + texture * waves, 0)
            inside = np.ones(len(places), dtype=bool)
        light[window][region] += (brightness * bright).astype(np.float32)
        stained = np.zeros(region.shape, dtype=bool)
        stained[region] = inside
        labels[window][stained] = k + 1
    image = _photograph(light, blur_px / stretch, 0.0, camera_offset, generator)
    return SimulatedMarker(image, labels, flags)


@dataclass(frozen=True, eq=False)
class _Body:
    """An ellipsoid of random orientation with waves on its surface; lengths in px of x."""

    to_ball: FloatArray  # shape (ndim, ndim): maps the ellipsoid onto the unit ball
    reach: float
    wave_vectors: FloatArray  # shape (waves, ndim)
    phases: FloatArray
    wave_height: float

    def radius(self, direction: FloatArray) -> float:
        """Distance of the surface from the centre along a unit vector."""
        scaled = self.to_ball @ direction
        length = float(np.linalg.norm(scaled))
        return float(self._surface(scaled[:, None] / length)[0]) / length

    def _surface(self, units: FloatArray) -> FloatArray:
        waves = np.cos(self.wave_vectors @ units + self.phases[:, None]).sum(axis=0)
        surface: FloatArray = 1 + self.wave_height * waves
        return surface

    def contains(self, offsets: FloatArray) -> BoolArray:
        """Which offsets from the centre, shape (ndim, …), lie inside."""
        shape = offsets.shape
        scaled = self.to_ball @ offsets.reshape(shape[0], -1)
        length = np.sqrt((scaled * scaled).sum(axis=0))
        near = length < 1 + self.wave_height * len(self.phases)
        inside = np.zeros(length.shape, dtype=bool)
        inside[near] = length[near] <= self._surface(
            scaled[:, near] / np.maximum(length[near], 1e-9)
        )
        return inside.reshape(shape[1:])

    def window(
        self, centre_px: FloatArray, shape: tuple[int, ...], stretch: FloatArray
    ) -> tuple[Windows, FloatArray]:
        """The body's bounding box in the image, and offsets from its centre there."""
        low = np.maximum(np.floor(centre_px - self.reach / stretch), 0).astype(int)
        high = np.minimum(np.ceil(centre_px + self.reach / stretch) + 1, shape).astype(int)
        window = tuple(slice(first, last) for first, last in zip(low, high, strict=True))
        axes = [
            (np.arange(first, last) - c) * s
            for first, last, c, s in zip(low, high, centre_px, stretch, strict=True)
        ]
        return window, np.stack(np.meshgrid(*axes, indexing="ij"))


def _random_body(
    diameter_px: float,
    size_cv: float,
    elongation: float,
    irregularity: float,
    ndim: int,
    rng: np.random.Generator,
) -> _Body:
    radius = diameter_px / 2 * rng.lognormal(-size_cv * size_cv / 2, size_cv)
    ratio = rng.uniform(1.0, max(elongation, 1.0))
    radii = np.full(ndim, radius * ratio ** (-1 / ndim))
    radii[0] *= ratio
    turn, upper = np.linalg.qr(rng.normal(size=(ndim, ndim)))
    turn *= np.sign(np.diag(upper))
    vectors = rng.normal(size=(_N_WAVES, ndim))
    vectors *= rng.uniform(2.0, 4.0, (_N_WAVES, 1)) / np.linalg.norm(vectors, axis=1, keepdims=True)
    height = irregularity * math.sqrt(2 / _N_WAVES)
    return _Body(
        to_ball=(turn / radii).T,
        reach=float(radii.max()) * (1 + height * _N_WAVES) + 1,
        wave_vectors=vectors,
        phases=rng.uniform(0, 2 * math.pi, _N_WAVES),
        wave_height=height,
    )


class _Canvas:
    """Labels being filled with bodies that keep apart."""

    def __init__(self, labels: Labels, stretch: FloatArray, gap: float) -> None:
        self.labels = labels
        self.stretch = stretch
        self.gap = gap

    def place_alone(
        self, body: _Body, label: int, n_members: int, rng: np.random.Generator
    ) -> FloatArray:
        """Put a body where nothing is near; room for the others of its cluster is kept."""
        size = np.array(self.labels.shape)
        margin = np.minimum(0.5 * body.reach / self.stretch, (size - 1) / 2)
        wide = self.gap + (1.4 * body.reach if n_members > 1 else 0.0)
        for trial in range(_PLACES_TRIED):
            centre = rng.uniform(margin, size - 1 - margin)
            room = max(self.gap, wide * (1 - 2 * trial / _PLACES_TRIED))
            if self._try(body, centre, label, room):
                return np.asarray(centre, dtype=np.float64)
        raise InputError(
            f"n: no room for nucleus {label} in {self.labels.shape}; ask for fewer or smaller ones"
        )

    def place_beside(
        self,
        bodies: Sequence[_Body],
        k: int,
        hosts: Sequence[int],
        centres: FloatArray,
        rng: np.random.Generator,
    ) -> tuple[int, FloatArray]:
        """Put body k in contact with the first of the hosts that has room; near no third."""
        body, size = bodies[k], np.array(self.labels.shape)
        margin = np.minimum(0.5 * body.reach / self.stretch, (size - 1) / 2)
        for host in hosts[:_HOSTS_TRIED]:
            for _ in range(_NEIGHBOURS_TRIED):
                direction = rng.normal(size=len(size))
                direction /= np.linalg.norm(direction)
                reach = bodies[host].radius(direction) + body.radius(-direction)
                for closeness in (1.0, 0.96, 0.92, 0.88):
                    centre = centres[host] + closeness * reach * direction / self.stretch
                    if (centre < margin).any() or (centre > size - 1 - margin).any():
                        break
                    if self._try(body, centre, k + 1, self.gap, host + 1):
                        return host, np.asarray(centre, dtype=np.float64)
        raise InputError(
            f"touching_fraction: no room for nucleus {k + 1} beside another in "
            f"{self.labels.shape}; ask for fewer nuclei"
        )

    def _try(
        self, body: _Body, centre: FloatArray, label: int, gap: float, host: int | None = None
    ) -> bool:
        window, offsets = body.window(centre, self.labels.shape, self.stretch)
        grown = _grown(window, gap / self.stretch, self.labels.shape)
        around = self.labels[grown]
        own = body.contains(offsets)
        others = (around != 0) & (around != (host or 0))
        if others.any():
            inner = tuple(
                slice(w.start - g.start, w.stop - g.start)
                for w, g in zip(window, grown, strict=True)
            )
            free = np.ones(around.shape, dtype=bool)
            free[inner] = ~own
            distance = ndimage.distance_transform_edt(free, sampling=self.stretch)
            if (distance[others] < gap).any():
                return False
        here = self.labels[window]
        if host is not None:
            taken = own & (here == host)
            own &= ~taken
            beside = ndimage.binary_dilation(own) & (here == host)
            if not beside.any() or taken.sum() > 0.1 * own.sum():
                return False
        if own.sum() < 3:
            return False
        here[own] = label
        return True


def _groups(n: int, touching_fraction: float, cluster_size: int) -> list[list[int]]:
    """Which nuclei form clusters: full ones first, single nuclei last."""
    n_clusters = round(touching_fraction * n / cluster_size) if cluster_size > 1 else 0
    clustered = n_clusters * cluster_size
    groups = [list(range(k, k + cluster_size)) for k in range(0, clustered, max(cluster_size, 1))]
    return groups + [[k] for k in range(clustered, n)]


def _waves(places: FloatArray, diameter: float, rng: np.random.Generator) -> FloatArray:
    """A smooth random pattern of zero mean and unit variance, finer than a nucleus."""
    ndim = places.shape[0]
    vectors = rng.normal(size=(2 * _N_WAVES, ndim))
    length = diameter * rng.uniform(0.2, 0.5, (2 * _N_WAVES, 1))
    vectors *= 2 * math.pi / (length * np.linalg.norm(vectors, axis=1, keepdims=True))
    phases = rng.uniform(0, 2 * math.pi, (2 * _N_WAVES, 1))
    pattern: FloatArray = np.cos(vectors @ places + phases).sum(axis=0) / math.sqrt(_N_WAVES)
    return pattern


def _add_debris(
    light: npt.NDArray[np.float32],
    n_debris: int,
    diameter_px: float,
    photons: float,
    stretch: FloatArray,
    rng: np.random.Generator,
) -> None:
    size = np.array(light.shape)
    for centre in rng.uniform(0, size - 1, (n_debris, len(size))):
        speck = _random_body(diameter_px / 6, 0.2, 1.5, 0.0, len(size), rng)
        window, offsets = speck.window(centre, light.shape, stretch)
        light[window][speck.contains(offsets)] += photons


def _photograph(
    light: npt.NDArray[np.float32],
    sigma_px: FloatArray,
    illumination_gradient: float,
    offset: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.uint16]:
    """Blur, uneven light, Poisson and camera noise; plane by plane to bound memory."""
    ndimage.gaussian_filter(light, sigma_px, output=light, mode="nearest", truncate=3.0)
    lamp = 1 + illumination_gradient * np.linspace(1, -1, light.shape[-1], dtype=np.float32)
    image = np.empty(light.shape, np.uint16)
    planes = light if light.ndim == 3 else light[None]
    for photons, plane in zip(planes, image.reshape(planes.shape), strict=True):
        grey = rng.poisson(np.maximum(photons * lamp, 0)).astype(np.float32) + np.float32(offset)
        grey += np.float32(_READ_NOISE) * rng.standard_normal(grey.shape, dtype=np.float32)
        plane[...] = np.clip(np.rint(grey), 0, 65535)
    return image


def _positive_flags(
    n: int, positive: npt.ArrayLike | None, fraction: float, rng: np.random.Generator
) -> BoolArray:
    if positive is not None:
        flags = np.asarray(positive, dtype=bool)
        if flags.shape != (n,):
            raise InputError(f"positive: expected {n} values, one per nucleus, found {flags.shape}")
        return flags
    if not 0 <= fraction <= 1:
        raise InputError(f"positive_fraction: expected 0 to 1, found {fraction}")
    flags = np.zeros(n, dtype=bool)
    flags[rng.permutation(n)[: round(fraction * n)]] = True
    return flags


def _stain_region(
    labels: Labels, label: int, where: Where, ring_px: float, stretch: FloatArray
) -> BoolArray:
    nucleus: BoolArray = labels == label
    if where == "nucleus":
        return nucleus
    distance = ndimage.distance_transform_edt(~nucleus, sampling=stretch)
    region: BoolArray = (distance <= ring_px) & (labels == 0)
    return region if where == "ring" else region | nucleus


def _grown(box: Windows, margin_px: FloatArray, shape: tuple[int, ...]) -> Windows:
    return tuple(
        slice(max(side.start - math.ceil(m), 0), min(side.stop + math.ceil(m), length))
        for side, m, length in zip(box, margin_px, shape, strict=True)
    )


def _stretch(shape: tuple[int, ...], spacing_um: Sequence[float] | None) -> FloatArray:
    """Width of a pixel along each axis over its width along the last."""
    if spacing_um is None:
        return np.ones(len(shape))
    spacing = np.asarray(spacing_um, dtype=np.float64)
    if spacing.shape != (len(shape),) or not (spacing > 0).all():
        raise InputError(
            f"spacing_um: expected {len(shape)} positive lengths, found {tuple(spacing_um)}"
        )
    return np.asarray(spacing / spacing[-1])


def _require_sensible(
    shape: tuple[int, ...],
    n: int,
    diameter_px: float,
    touching_fraction: float,
    cluster_size: int,
) -> None:
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise InputError(f"shape: expected (y, x) or (z, y, x), found {shape}")
    if n < 0:
        raise InputError(f"n: expected at least 0, found {n}")
    if not diameter_px >= 3:
        raise InputError(f"diameter_px: expected at least 3 px, found {diameter_px}")
    if not 0 <= touching_fraction <= 1:
        raise InputError(f"touching_fraction: expected 0 to 1, found {touching_fraction}")
    if cluster_size < 1:
        raise InputError(f"cluster_size: expected at least 1, found {cluster_size}")
