"""Two-channel images whose colocalization is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from aequorea.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BeadPair",
    "CellPair",
    "bead_pair",
    "cell_pair",
    "correlated_fields",
    "make_sample_data",
    "make_sample_data_3d",
    "spots",
]

FloatArray = npt.NDArray[np.float64]
LayerData = tuple[npt.NDArray[np.float32], dict[str, Any], str]
Rng = np.random.Generator | int | None

_SAMPLE_SEED = 2030
_COPIED = 0.6


def make_sample_data() -> list[LayerData]:
    """Two channels of 256 × 256 px with Gaussian blobs, of which B repeats a part of A's.

    Returns
    -------
    list of (ndarray float32, dict, "image")
        napari layer data of channels A and B, always the same.

    Notes
    -----
    A has 30 blobs (σ = 6 px, peaks 0.5-1); B repeats 60 % of them and has 12 of its own.
    Noise SD 0.02.

    Examples
    --------
    >>> (a, _, _), (b, _, _) = make_sample_data()
    >>> a.shape, round(float(np.corrcoef(a.ravel(), b.ravel())[0, 1]), 1)
    ((256, 256), 0.6)
    """
    return _sample((256, 256), n_a=30, n_b=12, sigma_px=6.0, margin=16)


def make_sample_data_3d() -> list[LayerData]:
    """Two channels of 32 × 128 × 128 px (z, y, x) with Gaussian blobs.

    Returns
    -------
    list of (ndarray float32, dict, "image")
        napari layer data of channels A and B, always the same.

    Notes
    -----
    A has 40 blobs (σ = 4 px, peaks 0.5-1); B repeats 60 % of them and has 16 of its own.
    Noise SD 0.02.

    Examples
    --------
    >>> [layer[0].shape for layer in make_sample_data_3d()]
    [(32, 128, 128), (32, 128, 128)]
    """
    return _sample((32, 128, 128), n_a=40, n_b=16, sigma_px=4.0, margin=8)


def _sample(
    shape: tuple[int, ...], *, n_a: int, n_b: int, sigma_px: float, margin: int
) -> list[LayerData]:
    rng = np.random.default_rng(_SAMPLE_SEED)
    upper = np.array(shape) - margin
    centres_a = rng.uniform(margin, upper, (n_a, len(shape)))
    centres_b = rng.uniform(margin, upper, (n_b, len(shape)))
    repeated = centres_a[: round(_COPIED * n_a)]
    layers: list[LayerData] = []
    for name, colour, centres in (
        ("channel_a", "green", centres_a),
        ("channel_b", "magenta", np.concatenate([repeated, centres_b])),
    ):
        brightness = rng.uniform(0.5, 1.0, len(centres))
        noisy = spots(shape, centres, sigma_px, brightness) + rng.normal(0, 0.02, shape)
        data = np.clip(noisy, 0, None).astype(np.float32)
        layers.append((data, {"name": name, "colormap": colour, "blending": "additive"}, "image"))
    return layers


def spots(
    shape: Sequence[int],
    centres_px: npt.ArrayLike,
    sigma_px: npt.ArrayLike,
    amplitudes: npt.ArrayLike = 1.0,
) -> FloatArray:
    """Sum of Gaussian spots.

    Parameters
    ----------
    shape : sequence of int
    centres_px : array_like, shape (n, ndim), px
        Real-valued; the centre of pixel 0 is 0.
    sigma_px : float or sequence of float
        SD of the spots, px, the same for all axes or one per axis.
    amplitudes : array_like, scalar or shape (n,)

    Returns
    -------
    ndarray of float64
        Each spot is drawn to 4 σ.

    Examples
    --------
    >>> spots((1, 5), [[0, 2]], 1.0).round(3).tolist()
    [[0.135, 0.607, 1.0, 0.607, 0.135]]
    """
    image = np.zeros(tuple(shape))
    centres = np.asarray(centres_px, dtype=np.float64).reshape(-1, image.ndim)
    sigmas = np.broadcast_to(np.asarray(sigma_px, dtype=np.float64), (image.ndim,))
    for centre, amplitude in zip(
        centres, np.broadcast_to(np.asarray(amplitudes, np.float64), len(centres)), strict=True
    ):
        low = np.clip(np.floor(centre - 4 * sigmas), 0, image.shape).astype(int)
        high = np.clip(np.ceil(centre + 4 * sigmas) + 1, 0, image.shape).astype(int)
        profiles = [
            np.exp(-((np.arange(first, last) - c) ** 2) / (2 * s * s))
            for first, last, c, s in zip(low, high, centre, sigmas, strict=True)
        ]
        window = tuple(slice(*ends) for ends in zip(low, high, strict=True))
        image[window] += amplitude * _outer(profiles)
    return image


def _outer(profiles: list[FloatArray]) -> FloatArray:
    product = profiles[0]
    for profile in profiles[1:]:
        product = product[..., None] * profile
    return product


def correlated_fields(
    shape: Sequence[int],
    *,
    sigma_px: float,
    shared_fraction: float,
    rng: Rng = None,
) -> tuple[FloatArray, FloatArray]:
    """Two smooth, stationary Gaussian fields that share a stated fraction of their variance.

    Parameters
    ----------
    shape : sequence of int
    sigma_px : float
        SD of the Gaussian filter that smooths white noise, px; 0 leaves it white.
    shared_fraction : float, 0 to 1
        Fraction of each field's variance that both share: their expected correlation.
    rng : Generator, int or None

    Returns
    -------
    a, b : ndarray of float64
        Zero mean and unit variance in expectation; nothing wraps around.

    Raises
    ------
    InputError
        If a parameter is out of range.

    Examples
    --------
    >>> a, b = correlated_fields((200, 200), sigma_px=1, shared_fraction=0.5, rng=0)
    >>> round(float(np.corrcoef(a.ravel(), b.ravel())[0, 1]), 1)
    0.5
    """
    if not 0 <= shared_fraction <= 1:
        raise InputError(f"shared_fraction: expected 0 to 1, found {shared_fraction}")
    if not sigma_px >= 0:
        raise InputError(f"sigma_px: expected at least 0 px, found {sigma_px}")
    generator = np.random.default_rng(rng)
    shared, own_a, own_b = (_smooth_field(tuple(shape), sigma_px, generator) for _ in range(3))
    common, own = math.sqrt(shared_fraction), math.sqrt(1 - shared_fraction)
    return common * shared + own * own_a, common * shared + own * own_b


def _smooth_field(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> FloatArray:
    if sigma == 0:
        return rng.normal(size=shape)
    margin = math.ceil(4 * sigma)
    noise = rng.normal(size=[n + 2 * margin for n in shape])
    smooth = ndimage.gaussian_filter(noise, sigma, mode="constant", truncate=4.0)
    impulse = np.zeros(2 * margin + 1)
    impulse[margin] = 1
    kernel = ndimage.gaussian_filter1d(impulse, sigma, mode="constant", truncate=4.0)
    gain = float(np.sum(kernel**2)) ** (len(shape) / 2)
    inner: FloatArray = smooth[tuple(slice(margin, margin + n) for n in shape)] / gain
    return inner


@dataclass(frozen=True)
class CellPair:
    """Two simulated channels of cells and what is true of them."""

    a: npt.NDArray[np.uint16]
    b: npt.NDArray[np.uint16]
    cells: npt.NDArray[np.int32]
    nuclei: npt.NDArray[np.int32]
    puncta_a_px: FloatArray  # shape (n, ndim)
    puncta_b_px: FloatArray
    shared_fraction: float  # of A's puncta that B repeats


def cell_pair(
    shape: Sequence[int] = (256, 256),
    *,
    n_cells: int = 4,
    n_puncta: int = 40,
    shared_fraction: float = 0.0,
    puncta_sigma_px: float = 1.5,
    puncta_photons: float = 60.0,
    distribution: Literal["uniform", "perinuclear"] = "uniform",
    nuclear_exclusion: bool = False,
    cytoplasm_photons: float = 10.0,
    background_photons: float = 2.0,
    camera_offset: float = 100.0,
    bleed_through: float = 0.0,
    attenuation_px: float | None = None,
    rng: Rng = None,
) -> CellPair:
    """Cells with a nucleus on a dark background, puncta of two stains, noise of a camera.

    Parameters
    ----------
    shape : sequence of int, default (256, 256)
        2D (y, x) or 3D (z, y, x).
    n_cells : int, default 4
        Ellipses (ellipsoids) on a jittered grid; they do not touch.
    n_puncta : int, default 40
        Puncta of each stain in each cell.
    shared_fraction : float, 0 to 1, default 0
        Fraction of A's puncta at which B has one too; the rest lie independently.
    puncta_sigma_px : float, default 1.5
    puncta_photons : float, default 60
        Mean peak of a punctum; brightness varies (log-normal, σ = 0.3) independently per stain.
    distribution : {"uniform", "perinuclear"}
        Where puncta and the cytoplasm's stain are: evenly, or falling with the distance from the
        nucleus, alike for both stains.
    nuclear_exclusion : bool, default False
        Both stains are absent from the nucleus.
    cytoplasm_photons, background_photons : float
        Diffuse stain in cells, and light everywhere.
    camera_offset : float, default 100
        Grey levels added after the Poisson noise of the photons.
    bleed_through : float, default 0
        Fraction of A's light that also reaches B.
    attenuation_px : float, optional
        3D: depth at which the light of both stains has fallen to 1/e, px.
    rng : Generator, int or None

    Returns
    -------
    CellPair

    Raises
    ------
    InputError
        If a parameter is out of range or the cells have no room.

    Examples
    --------
    >>> pair = cell_pair((64, 64), n_cells=1, shared_fraction=1.0, rng=0)
    >>> pair.a.shape, int(pair.cells.max()), bool((pair.puncta_a_px == pair.puncta_b_px).all())
    ((64, 64), 1, True)
    """
    size = tuple(int(n) for n in shape)
    if len(size) not in (2, 3) or min(size[-2:]) < 24:
        raise InputError(f"shape: expected 2D or 3D with planes of at least 24 px, found {size}")
    if not 0 <= shared_fraction <= 1:
        raise InputError(f"shared_fraction: expected 0 to 1, found {shared_fraction}")
    if distribution not in ("uniform", "perinuclear"):
        raise InputError(f"distribution: expected uniform or perinuclear, found {distribution!r}")
    generator = np.random.default_rng(rng)
    cells, nuclei = _cells(size, n_cells, generator)
    weight = _stain_density(cells, nuclei, distribution, nuclear_exclusion=nuclear_exclusion)
    centres_a, centres_b = _puncta(cells, weight, n_puncta, shared_fraction, generator)
    light = []
    for centres in (centres_a, centres_b):
        amplitudes = puncta_photons * generator.lognormal(-0.045, 0.3, len(centres))
        drawn = spots(size, centres, puncta_sigma_px, amplitudes)
        light.append(cytoplasm_photons * weight + drawn)
    light[1] = light[1] + bleed_through * light[0]
    if attenuation_px is not None and len(size) == 3:
        fading = np.exp(-np.arange(size[0]) / attenuation_px)[:, None, None]
        light = [stain * fading for stain in light]
    a, b = (_counts(stain + background_photons, camera_offset, generator) for stain in light)
    return CellPair(a, b, cells, nuclei, centres_a, centres_b, shared_fraction)


def _counts(photons: FloatArray, offset: float, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    grey = rng.poisson(photons) + offset + rng.normal(0, 1.5, photons.shape)
    return np.clip(np.rint(grey), 0, 65535).astype(np.uint16)


def _cells(
    shape: tuple[int, ...], n_cells: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    per_side = math.ceil(math.sqrt(n_cells))
    pitch = np.array(shape[-2:]) / per_side
    if n_cells < 1 or pitch.min() < 24:
        raise InputError(
            f"n_cells: expected 1 to {int(min(shape[-2:]) // 24) ** 2} for {shape}, found {n_cells}"
        )
    coordinates = np.indices(shape)
    cells, nuclei = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for k in range(n_cells):
        middle = (np.array(divmod(k, per_side)) + 0.5) * pitch + rng.uniform(-0.04, 0.04, 2) * pitch
        radii = pitch * rng.uniform(0.36, 0.44, 2)
        inner = middle + rng.uniform(-0.15, 0.15, 2) * radii
        if len(shape) == 3:
            depth = (shape[0] - 1) / 2
            middle, inner = np.insert(middle, 0, depth), np.insert(inner, 0, depth)
            radii = np.insert(radii, 0, max(0.45 * shape[0], 1.0))
        cells[_inside_ellipsoid(coordinates, middle, radii)] = k + 1
        nuclei[_inside_ellipsoid(coordinates, inner, 0.45 * radii)] = k + 1
    return cells, nuclei


def _inside_ellipsoid(
    coordinates: npt.NDArray[Any], centre: FloatArray, radii: FloatArray
) -> npt.NDArray[np.bool_]:
    scaled = [(x - c) / r for x, c, r in zip(coordinates, centre, radii, strict=True)]
    inside: npt.NDArray[np.bool_] = sum(s * s for s in scaled) <= 1.0
    return inside


def _stain_density(
    cells: npt.NDArray[np.int32],
    nuclei: npt.NDArray[np.int32],
    distribution: str,
    *,
    nuclear_exclusion: bool,
) -> FloatArray:
    """Relative density of stain, 0 outside cells, 1 where it is highest."""
    weight = (cells > 0).astype(np.float64)
    if distribution == "perinuclear":
        distance = ndimage.distance_transform_edt(nuclei == 0)
        reach = 0.25 * float(np.median(distance[cells > 0]) + distance[cells > 0].max()) / 2
        weight *= np.exp(-distance / max(reach, 1.0))
    if nuclear_exclusion:
        weight[nuclei > 0] = 0.0
    return weight


def _puncta(
    cells: npt.NDArray[np.int32],
    weight: FloatArray,
    n_puncta: int,
    shared_fraction: float,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    all_a, all_b = [], []
    for k in range(1, int(cells.max()) + 1):
        pixels = np.argwhere((cells == k) & (weight > 0))
        density = weight[tuple(pixels.T)]
        chance = density / density.sum()

        def drawn(n: int, pixels: Any = pixels, chance: Any = chance) -> FloatArray:
            chosen = pixels[rng.choice(len(pixels), n, p=chance)]
            return np.asarray(chosen + rng.uniform(-0.5, 0.5, chosen.shape), dtype=np.float64)

        centres = drawn(n_puncta)
        n_shared = round(shared_fraction * n_puncta)
        all_a.append(centres)
        all_b.append(np.concatenate([centres[:n_shared], drawn(n_puncta - n_shared)]))
    return np.concatenate(all_a), np.concatenate(all_b)


@dataclass(frozen=True)
class BeadPair:
    """Beads seen in two channels, with the displacement that was put in."""

    a: npt.NDArray[np.uint16]
    b: npt.NDArray[np.uint16]
    centres_px: FloatArray  # of channel A, shape (n, ndim)
    shift_um: FloatArray  # position in B minus position in A, shape (ndim,)
    spacing_um: tuple[float, ...]


def bead_pair(
    shape: Sequence[int] = (256, 256),
    *,
    shift_um: Sequence[float],
    spacing_um: Sequence[float],
    n_beads: int = 40,
    sigma_um: float | Sequence[float] = 0.15,
    photons: float = 400.0,
    rng: Rng = None,
) -> BeadPair:
    """Multicolour beads whose second channel is displaced by a known chromatic shift.

    Parameters
    ----------
    shape : sequence of int, default (256, 256)
    shift_um : sequence of float, shape (ndim,), µm
        Where B shows a bead minus where A shows it.
    spacing_um : sequence of float, shape (ndim,), µm
    n_beads : int, default 40
        Fewer if they find no room at least 10 σ apart.
    sigma_um : float or sequence of float, default 0.15 µm
    photons : float, default 400
        Peak of a bead.
    rng : Generator, int or None

    Returns
    -------
    BeadPair

    Raises
    ------
    InputError
        If shift, spacing and shape differ in length.

    Examples
    --------
    >>> beads = bead_pair((64, 64), shift_um=(0, 0.1), spacing_um=(0.1, 0.1), n_beads=3, rng=0)
    >>> beads.a.shape, len(beads.centres_px)
    ((64, 64), 3)
    """
    size, spacing = tuple(int(n) for n in shape), np.asarray(spacing_um, dtype=np.float64)
    shift = np.asarray(shift_um, dtype=np.float64)
    if not len(size) == len(spacing) == len(shift):
        raise InputError(
            f"bead_pair: expected {len(size)} values, found spacing_um {spacing} and "
            f"shift_um {shift}"
        )
    generator = np.random.default_rng(rng)
    sigma = np.broadcast_to(np.asarray(sigma_um, dtype=np.float64), spacing.shape)
    centres = _apart(size, spacing, sigma, n_beads, generator)
    amplitudes = photons * generator.uniform(0.6, 1.4, len(centres))
    images = [
        _counts(spots(size, where, sigma / spacing, amplitudes) + 3.0, 100.0, generator)
        for where in (centres, centres + shift / spacing)
    ]
    return BeadPair(images[0], images[1], centres, shift, tuple(spacing.tolist()))


def _apart(
    shape: tuple[int, ...],
    spacing: FloatArray,
    sigma: FloatArray,
    n: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Up to n random positions at least 10 σ from one another and 5 σ from the border, px."""
    margin = np.minimum(5 * sigma / spacing, (np.array(shape) - 1) / 2)
    kept: list[FloatArray] = []
    for candidate in rng.uniform(margin, np.array(shape) - 1 - margin, (50 * n, len(shape))):
        if all(np.linalg.norm((candidate - k) * spacing / sigma) > 10 for k in kept):
            kept.append(candidate)
        if len(kept) == n:
            break
    return np.array(kept).reshape(-1, len(shape))
