"""How many puncta are missed: spots of known brightness are put into the image and looked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.spatial import cKDTree

from aequorea.errors import InputError
from aequorea.puncta.blob_filter import spot_profile
from aequorea.puncta.checks import (
    checked_image,
    checked_mask,
    checked_places,
    checked_sigma,
    flattened,
)
from aequorea.puncta.detection import find_candidates, select
from aequorea.puncta.noise import noise_curve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aequorea.puncta.blob_filter import Method

    Detector = Callable[[npt.NDArray[Any]], npt.ArrayLike]

__all__ = ["Efficiency", "detection_efficiency"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_REACH_SD = 5.0
_MOST_ROUNDS = 60
_CROWD = 1000  # spots tried at once in each range of depth


@dataclass(frozen=True, eq=False, kw_only=True)
class Efficiency:
    """Share of spots found again, by brightness and depth.

    Attributes
    ----------
    amplitudes : ndarray, shape (b,)
        Grey levels a spot in the middle of a voxel rises above its surroundings.
    depth_edges_px : ndarray of int64, shape (d + 1,)
        Planes where the ranges of depth begin, and the end of the last.
    n_injected, n_found : ndarray of int64, shape (b, d)
    fraction, ci_low, ci_high : ndarray, shape (b, d)
        Found over injected and its Wilson interval; NaN where none could be injected.
    gain : float
        Grey levels per photon that the shot noise of the spots was drawn with; 0 for none.
    notes : tuple of str
    """

    amplitudes: FloatArray
    depth_edges_px: IntArray
    n_injected: IntArray
    n_found: IntArray
    fraction: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    gain: float
    notes: tuple[str, ...] = ()


def detection_efficiency(
    image: npt.ArrayLike,
    *,
    sigma_px: Sequence[float],
    amplitudes: npt.ArrayLike,
    threshold: float | None = None,
    method: Method = "log",
    detector: Detector | None = None,
    existing_px: npt.ArrayLike | None = None,
    depth_edges_px: Sequence[int] | None = None,
    mask: npt.ArrayLike | None = None,
    n_spots: int = 100,
    gain: float | None = None,
    within_sigma: float = 1.5,
    gap_sigma: float = 6.0,
    confidence: float = 0.95,
    rng: np.random.Generator | int | None = None,
) -> Efficiency:
    """Put spots of known brightness into a real image and count how many are found.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)
    sigma_px : sequence of float
        SD of a spot along each axis.
    amplitudes : array_like, shape (b,)
        Brightnesses, in grey levels above the surroundings.
    threshold : float, optional
        That puncta are found with (``height`` of :func:`find_candidates`).
    method : {"log", "dog"}
    detector : callable, optional
        Takes an image and returns coordinates, shape (n, ndim); instead of ``threshold``.
    existing_px : array_like, shape (n, ndim), optional
        Puncta to stay away from; those that are found in the image if not given.
    depth_edges_px : sequence of int, optional
        Planes where ranges of depth begin, and the end of the last; four equal ones if not given.
    mask : array_like of bool, optional
        Spots are put inside.
    n_spots : int
        Per brightness and range of depth.
    gain : float, optional
        Grey levels per photon, 0 for spots without shot noise; measured in the image if not given
        (:func:`noise_curve`).
    within_sigma : float
        A spot is found if a punctum is this near, in SD of a spot.
    gap_sigma : float
        Spots are put this far from existing puncta and from each other.
    confidence : float
    rng : Generator, int or None

    Returns
    -------
    Efficiency

    Raises
    ------
    InputError
        If numbers are out of range, or neither or both of threshold and detector are given.

    Notes
    -----
    The noise of the image stays as it is; only the light of the spot brings its own. What is
    measured holds for single spots: where puncta crowd, more are missed. The interval is Wilson's
    [1]_. The image is searched once per round of spots, of which there are as many as room
    demands.

    References
    ----------
    .. [1] Wilson (1927), J Am Stat Assoc 22, 209, doi:10.1080/01621459.1927.10502953

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(100, 5, (128, 128))
    >>> options = {"sigma_px": (1.3, 1.3), "threshold": 4.5, "n_spots": 20, "rng": 1}
    >>> found = detection_efficiency(image, amplitudes=[5, 50], **options)
    >>> found.n_found[:, 0].tolist()
    [0, 20]
    """
    pixels = checked_image(image)
    sigma = checked_sigma(sigma_px, pixels.ndim)
    inside = checked_mask(mask, pixels.shape)
    levels = np.atleast_1d(np.asarray(amplitudes, dtype=np.float64))
    _require_sensible(levels, n_spots, within_sigma, gap_sigma, confidence)
    find = _detector(detector, threshold, sigma, method)
    taken = checked_places(find(pixels) if existing_px is None else existing_px, pixels.shape)
    edges = _edges(depth_edges_px, pixels)
    if gain is None:
        gain = noise_curve(pixels).gain
    elif not 0 <= gain < math.inf:
        raise InputError(f"gain: expected 0 or more grey levels per photon, found {gain}")
    draw = np.random.default_rng(rng)
    rooms = _rooms(pixels.shape, inside, edges)
    injected = np.zeros((len(levels), len(rooms)), np.int64)
    found = np.zeros_like(injected)
    for _ in range(_MOST_ROUNDS):
        centres, kinds = _placed(rooms, injected, n_spots, taken, sigma, gap_sigma, pixels, draw)
        if not len(centres):
            break
        seen = np.asarray(
            find(_with_spots(pixels, centres, levels[kinds[:, 0]], sigma, gain, draw))
        )
        hit = _found(centres, seen.reshape(-1, pixels.ndim), sigma, within_sigma)
        np.add.at(injected, tuple(kinds.T), 1)
        np.add.at(found, tuple(kinds[hit].T), 1)
        if injected.min() >= n_spots:
            break
    fraction, low, high = _wilson(found, injected, confidence)
    return Efficiency(
        amplitudes=levels,
        depth_edges_px=edges,
        n_injected=injected,
        n_found=found,
        fraction=fraction,
        ci_low=low,
        ci_high=high,
        gain=gain,
        notes=_notes(injected, n_spots, gain),
    )


def _require_sensible(
    levels: FloatArray, n_spots: int, within: float, gap: float, confidence: float
) -> None:
    if levels.ndim != 1 or not len(levels) or not np.all(np.isfinite(levels) & (levels > 0)):
        raise InputError("amplitudes: expected grey levels above 0")
    if n_spots < 1:
        raise InputError(f"n_spots: expected at least 1, found {n_spots}")
    if not 0 < within <= gap:
        raise InputError(
            f"within_sigma, gap_sigma: expected 0 < within <= gap, found {within}, {gap}"
        )
    if not 0 < confidence < 1:
        raise InputError(f"confidence: expected between 0 and 1, found {confidence}")


def _detector(
    given: Detector | None, threshold: float | None, sigma: tuple[float, ...], method: Method
) -> Detector:
    if (given is None) == (threshold is None):
        raise InputError("threshold, detector: expected one of the two")
    if given is not None:
        return given
    level = float(threshold or 0.0)
    return lambda pixels: (
        select(find_candidates(pixels, sigma_px=sigma, method=method), level).coordinates_px
    )


def _edges(given: Sequence[int] | None, pixels: npt.NDArray[Any]) -> IntArray:
    depth = len(pixels) if pixels.ndim == 3 else 1
    if given is None:
        return np.unique(np.linspace(0, depth, min(4, depth) + 1).round().astype(np.int64))
    edges = np.asarray(given, dtype=np.int64)
    if edges.ndim != 1 or len(edges) < 2 or (np.diff(edges) <= 0).any():
        raise InputError(f"depth_edges_px: expected increasing planes, found {tuple(given)}")
    if edges[0] < 0 or edges[-1] > depth:
        raise InputError(f"depth_edges_px: expected 0 to {depth}, found {tuple(given)}")
    return edges


def _rooms(
    shape: tuple[int, ...], inside: npt.NDArray[np.bool_] | None, edges: IntArray
) -> list[tuple[int, IntArray | int]]:
    """For each range of depth its first voxel, and the voxels of the mask or how many there are."""
    plane = math.prod(shape[-2:])
    rooms: list[tuple[int, IntArray | int]] = []
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if inside is None:
            rooms.append((first * plane, (last - first) * plane))
        else:
            flat = inside.reshape(-1)[first * plane : last * plane]
            rooms.append((first * plane, np.flatnonzero(flat)))
    return rooms


def _placed(
    rooms: list[tuple[int, IntArray | int]],
    injected: IntArray,
    n_spots: int,
    taken: IntArray,
    sigma: tuple[float, ...],
    gap: float,
    pixels: npt.NDArray[Any],
    draw: np.random.Generator,
) -> tuple[FloatArray, IntArray]:
    """Centres with room around them, and the brightness and depth each is meant for."""
    width = np.array(sigma)
    tree = cKDTree(taken / width) if len(taken) else None
    centres, kinds = [], []
    for d, (first, voxels) in enumerate(rooms):
        wanted = np.repeat(np.arange(len(injected)), np.maximum(n_spots - injected[:, d], 0))
        n_voxels = voxels if isinstance(voxels, int) else len(voxels)
        if not len(wanted) or not n_voxels:
            continue
        at = draw.integers(n_voxels, size=min(_CROWD, 4 * len(wanted) + 20))
        flat = first + (at if isinstance(voxels, int) else voxels[at])
        voxel = np.stack(np.unravel_index(flat, pixels.shape), axis=1)
        place = voxel + draw.uniform(-0.5, 0.5, voxel.shape)
        if tree is not None:
            place = place[tree.query(place / width)[0] >= gap]
        place = place[: 4 * len(wanted)]
        draw.shuffle(wanted)
        centres.append(place)
        kinds += [(int(kind), d) for kind in np.resize(wanted, len(place))]
    if not centres or not sum(map(len, centres)):
        return np.empty((0, pixels.ndim)), np.empty((0, 2), np.int64)
    points = np.concatenate(centres)
    return _first_come(points, np.array(kinds, np.int64), injected, n_spots, width, gap)


def _first_come(
    points: FloatArray,
    kinds: IntArray,
    injected: IntArray,
    n_spots: int,
    width: FloatArray,
    gap: float,
) -> tuple[FloatArray, IntArray]:
    near = cKDTree(points / width).query_ball_point(points / width, gap)
    open_ = np.ones(len(points), bool)
    left = n_spots - injected
    kept = []
    for k in range(len(points)):
        kind = tuple(kinds[k])
        if open_[k] and left[kind] > 0:
            kept.append(k)
            left[kind] -= 1
            open_[near[k]] = False
    return points[kept], kinds[kept]


def _with_spots(
    pixels: npt.NDArray[Any],
    centres: FloatArray,
    heights: FloatArray,
    sigma: tuple[float, ...],
    gain: float,
    draw: np.random.Generator,
) -> npt.NDArray[Any]:
    """The image with spots as voxels see them, with their shot noise."""
    image = pixels.copy()
    volume = image if image.ndim == 3 else image[None]
    width = flattened(sigma, volume.shape)
    reach = [math.ceil(_REACH_SD * s) + 1 if s > 0 else 0 for s in width]
    own = [spot_profile(s, 0.0, r).max() for s, r in zip(width, reach, strict=True)]
    whole = image.dtype.kind in "ui"
    limits = np.iinfo(image.dtype) if whole else None
    for centre, height in zip(centres, heights, strict=True):
        spot = centre if image.ndim == 3 else np.array([0.0, *centre])
        middle = np.rint(spot).astype(int)
        middle = np.clip(middle, 0, np.array(volume.shape) - 1)
        z, y, x = (
            spot_profile(s, off, r) / top
            for s, off, r, top in zip(width, spot - middle, reach, own, strict=True)
        )
        light = height * z[:, None, None] * y[:, None] * x
        if gain > 0:
            light = gain * draw.poisson(light / gain)
        here, part = [], []
        for m, r, size in zip(middle, reach, volume.shape, strict=True):
            here.append(slice(max(m - r, 0), min(m + r + 1, size)))
            part.append(slice(here[-1].start - (m - r), here[-1].stop - (m - r)))
        sum_ = volume[tuple(here)] + light[tuple(part)]
        if limits is not None:
            sum_ = np.clip(np.rint(sum_), limits.min, limits.max)
        volume[tuple(here)] = sum_
    return image


def _found(
    centres: FloatArray, seen: npt.NDArray[Any], sigma: tuple[float, ...], within: float
) -> npt.NDArray[np.bool_]:
    if not len(seen):
        return np.zeros(len(centres), bool)
    distance, _ = cKDTree(seen / np.array(sigma)).query(centres / np.array(sigma))
    near: npt.NDArray[np.bool_] = np.asarray(distance) <= within
    return near


def _wilson(
    found: IntArray, injected: IntArray, confidence: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    n = np.where(injected > 0, injected, np.nan)
    p = found / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low = np.where(found == 0, p, middle - half)
    high = np.where(found == injected, p, middle + half)
    return p, low, high


def _notes(injected: IntArray, n_spots: int, gain: float) -> tuple[str, ...]:
    notes = []
    short = [
        f"brightness {b + 1}, depth {d + 1}: {injected[b, d]}"
        for b, d in product(*map(range, injected.shape))
        if injected[b, d] < n_spots
    ]
    if short:
        notes.append(f"no room for {n_spots} spots away from puncta ({'; '.join(short)})")
    if gain == 0:
        notes.append(
            "spots have no shot noise of their own: the gain is 0, or noise does not rise with "
            "brightness in this image"
        )
    return tuple(notes)
