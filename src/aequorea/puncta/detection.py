"""Puncta as local maxima of a blob filter: first all of them, then the real ones."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numba
import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from aequorea.errors import InputError
from aequorea.filters.hot_pixels import repair_hot_pixels
from aequorea.puncta.blob_filter import BlobFilter, blob_filter, respond
from aequorea.puncta.checks import checked_image, checked_mask, checked_sigma, flattened
from aequorea.puncta.noise import NoiseCurve, noise_curve
from aequorea.puncta.snr import measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aequorea.puncta.blob_filter import Method

__all__ = ["Candidates", "blob_response", "find_candidates", "select"]

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_STRIP_BYTES = 1 << 24
_FEWEST_ROWS = 16
_ROUNDING = 1e-6  # of the brightest grey level: answers below are rounding errors
_HALO = 0.25  # of a voxel's height: what the next plane shows of a spot, and not of a hot pixel
_HOT_SNR = 6.0  # sharp maxima below are noise like any other
_LENS_SIGMA_PX = 0.7  # narrower spots cannot be told from hot pixels


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidates:
    """Local maxima of the blob filter, noise and spots alike, in order of their voxels.

    Attributes
    ----------
    coordinates_px : ndarray of int64, shape (n, ndim)
    response : ndarray of float32, shape (n,)
        Answer of the filter in grey levels: the height of a lone spot above its background.
    height : ndarray of float32, shape (n,)
        The answer in standard deviations of the answer to noise there.
    peak, background : ndarray of float32, shape (n,)
        Grey level of the voxel above its background, and the background.
    noise_sd : ndarray of float32, shape (n,)
        Of the noise at the level of the background.
    snr : ndarray of float32, shape (n,)
        ``peak / noise_sd``.
    n_hot : int
        Hot pixels repaired, and maxima left out because they are sharper than a spot can be.
    sigma_px : tuple of float
    method : {"log", "dog"}
    noise : NoiseCurve
        Noise against brightness of the image.
    """

    coordinates_px: IntArray
    response: Float32Array
    height: Float32Array
    peak: Float32Array
    background: Float32Array
    noise_sd: Float32Array
    snr: Float32Array
    n_hot: int
    sigma_px: tuple[float, ...]
    method: Method
    noise: NoiseCurve

    def __len__(self) -> int:
        return len(self.height)

    def __getitem__(self, kept: npt.NDArray[Any]) -> Candidates:
        """Some of them: a boolean mask or whole-number indices."""
        per_spot = ("coordinates_px", "response", "height", "peak", "background", "noise_sd", "snr")
        return replace(self, **{name: getattr(self, name)[kept] for name in per_spot})


def find_candidates(
    image: npt.ArrayLike,
    *,
    sigma_px: Sequence[float],
    method: Method = "log",
    mask: npt.ArrayLike | None = None,
    background_inner: float = 3.0,
    background_outer: float = 5.0,
) -> Candidates:
    """All local maxima of the blob filter, with how far each stands out of the noise.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)
        Integers or floats of any range; a stack of one plane is treated as a plane.
    sigma_px : sequence of float
        SD of a spot along each axis of the image, in voxels.
    method : {"log", "dog"}
    mask : array_like of bool, optional
        Only maxima inside are reported; the filter sees the whole image.
    background_inner, background_outer : float
        Where the local background is measured, in SD of a spot (:func:`spot_snr`).

    Returns
    -------
    Candidates

    Raises
    ------
    InputError
        If the image is neither 2D nor 3D, has NaN or no pixels, or a width is not positive.
    AxisMismatchError
        If the mask has another shape.

    Notes
    -----
    A maximum is at least as high as its 8 or 26 neighbours; a plateau counts once, at its voxel
    nearest to its middle. Beyond its edges the image is mirrored, so spots at the edge are found.
    Single hot pixels are repaired first (:func:`aequorea.filters.repair_hot_pixels`) where a spot
    is wide enough to tell them from it (0.7 pixel), unless the voxels above and below are bright
    as well, but not those of all planes; maxima that would vanish if their one voxel were like its
    neighbours are left out. Grey levels are those of the image, never of the filter.

    Worked in strips of rows over all planes: nothing of the size of the image is made, except a
    copy where hot pixels are repaired. The result does not depend on strips or threads.

    Examples
    --------
    >>> from aequorea.simulate.puncta import render_puncta
    >>> light = np.full((64, 64), 20, np.float32)
    >>> render_puncta(light, [[20, 30], [40, 0]], [900.0, 900.0], [1.2, 1.2])
    >>> image = np.random.default_rng(0).poisson(light)
    >>> select(find_candidates(image, sigma_px=(1.2, 1.2)), 6).coordinates_px.tolist()
    [[20, 30], [40, 0]]
    """
    pixels = checked_image(image)
    sigma = checked_sigma(sigma_px, pixels.ndim)
    inside = checked_mask(mask, pixels.shape)
    volume = np.ascontiguousarray(pixels.reshape((-1, *pixels.shape[-2:])))
    width = flattened(sigma, volume.shape)
    blobs = blob_filter(width, method)
    n_hot = 0
    if min(width[1:]) >= _LENS_SIGMA_PX:
        volume, n_hot = without_hot_pixels(volume, width[0])
    noise = noise_curve(volume)
    places, response = _maxima(volume, blobs)
    if inside is not None:
        kept = inside.reshape(volume.shape)[tuple(places.T)]
        places, response = places[kept], response[kept]
    seen = measured(volume, places, width, noise, background_inner, background_outer)
    lone = np.zeros(len(places), bool)
    if min(width[1:]) >= _LENS_SIGMA_PX:
        sharp = _sharpness(blobs, response, seen.peak, seen.halo) > _sharpest(blobs)
        lone = sharp & (seen.snr >= _HOT_SNR)
    height = response / (seen.noise_sd * blobs.noise_factor(volume.shape, places))
    found = Candidates(
        coordinates_px=places[:, 3 - pixels.ndim :],
        response=response,
        height=height.astype(np.float32),
        peak=seen.peak.astype(np.float32),
        background=seen.background.astype(np.float32),
        noise_sd=seen.noise_sd.astype(np.float32),
        snr=seen.snr.astype(np.float32),
        n_hot=n_hot + int(np.count_nonzero(lone)),
        sigma_px=sigma,
        method=method,
        noise=noise,
    )
    return found[~lone]


def select(
    candidates: Candidates,
    threshold: float,
    *,
    by: Literal["height", "response"] = "height",
    min_snr: float = 0.0,
    min_distance_px: float | Sequence[float] = 0.0,
) -> Candidates:
    """The candidates that are puncta.

    Parameters
    ----------
    candidates : Candidates
    threshold : float
        Those at or above it are kept.
    by : {"height", "response"}
        Compared in standard deviations of the noise, or in grey levels.
    min_snr : float
        Smallest ``snr`` kept.
    min_distance_px : float or sequence of float
        Of two nearer than this only the higher stays; one number per axis where voxels are not
        cubes. 0 keeps all.

    Returns
    -------
    Candidates

    Raises
    ------
    InputError
        If the threshold is NaN, ``by`` unknown, or a distance negative.
    """
    if by not in ("height", "response"):
        raise InputError(f"by: expected 'height' or 'response', found {by!r}")
    if not threshold > -np.inf:
        raise InputError(f"threshold: expected a number, found {threshold}")
    values = candidates.height if by == "height" else candidates.response
    kept = candidates[(values >= threshold) & (candidates.snr >= min_snr)]
    distance = np.broadcast_to(np.asarray(min_distance_px, np.float64), len(kept.sigma_px))
    if not np.all(np.isfinite(distance) & (distance >= 0)):
        raise InputError(f"min_distance_px: expected 0 or more, found {min_distance_px}")
    if not distance.any() or len(kept) < 2:
        return kept
    strength = kept.height if by == "height" else kept.response
    return kept[_apart(kept.coordinates_px / np.maximum(distance, 1e-9), strength)]


def blob_response(
    image: npt.ArrayLike, *, sigma_px: Sequence[float], method: Method = "log"
) -> Float32Array:
    """Answer of the blob filter everywhere, for looking at it or for labels.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)
    sigma_px : sequence of float
        SD of a spot along each axis.
    method : {"log", "dog"}

    Returns
    -------
    ndarray of float32, shape of the image
        A spot of height 1 is answered with 1.

    Raises
    ------
    InputError
        As :func:`find_candidates`.
    """
    pixels = checked_image(image)
    sigma = checked_sigma(sigma_px, pixels.ndim)
    volume = np.ascontiguousarray(pixels.reshape((-1, *pixels.shape[-2:])))
    blobs = blob_filter(flattened(sigma, volume.shape), method)
    answer = np.empty(volume.shape, np.float32)
    level = _middle(volume)

    def strip(rows: tuple[int, int]) -> None:
        answer[:, rows[0] : rows[1]] = respond(volume, blobs, rows, level)

    _each_strip(strip, volume.shape)
    return answer.reshape(pixels.shape)


def without_hot_pixels(volume: npt.NDArray[Any], sigma_z: float) -> tuple[npt.NDArray[Any], int]:
    """Repair hot pixels of a stack, but not spots that are sharp in planes and wide across."""
    repaired, n = repair_hot_pixels(volume)
    if n == 0 or sigma_z < _LENS_SIGMA_PX:
        return repaired, n
    for z in range(len(volume)):
        for y, x in np.argwhere(repaired[z] != volume[z]):
            rise = volume[:, y, x].astype(np.float64) - float(repaired[z, y, x])
            beside = rise[[k for k in (z - 1, z + 1) if 0 <= k < len(volume)]].max()
            if beside > _HALO * rise[z] > np.median(rise):
                repaired[z, y, x] = volume[z, y, x]
                n -= 1
    return repaired, n


def _middle(volume: npt.NDArray[Any]) -> float:
    step = max(1, volume.size // 100_000)
    return float(np.median(volume.reshape(-1)[::step]))


def _each_strip(work: Any, shape: tuple[int, ...]) -> list[Any]:
    """Call for each strip of rows, in threads; results in order."""
    depth, height, width = shape
    rows = int(np.clip(_STRIP_BYTES // (4 * depth * width), _FEWEST_ROWS, height))
    cuts = [(top, min(top + rows, height)) for top in range(0, height, rows)]
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        return list(pool.map(work, cuts))


def _maxima(volume: npt.NDArray[Any], blobs: BlobFilter) -> tuple[IntArray, Float32Array]:
    """Places of the local maxima of the answer that are more than rounding, and the answers."""
    level = _middle(volume)
    height = volume.shape[1]
    spread = max(abs(float(volume.max()) - level), abs(float(volume.min()) - level))
    least = _ROUNDING * spread

    def strip(rows: tuple[int, int]) -> tuple[IntArray, Float32Array, npt.NDArray[np.int32]]:
        top, bottom = max(rows[0] - 1, 0), min(rows[1] + 1, height)
        answer = respond(volume, blobs, (top, bottom), level)
        inner = (rows[0] - top, rows[1] - top)
        capacity = max(1024, answer.size // 16)
        while True:
            places, values, equal, n = _local_maxima(answer, inner, np.float32(least), capacity)
            if n <= capacity:
                break
            capacity = n
        places[:, 1] += top
        return places[:n], values[:n], equal[:n]

    parts = _each_strip(strip, volume.shape)
    places, values, equal = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort(places.T[::-1])
    places, values, equal = places[order], values[order], equal[order]
    kept = _one_per_plateau(places, equal, volume.shape)
    return places[kept], values[kept]


@njit(cache=True, nogil=True)
def _local_maxima(answer, inner, least, capacity):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    depth, height, width = answer.shape
    places = np.empty((capacity, 3), np.int64)
    values = np.empty(capacity, np.float32)
    equal = np.empty(capacity, np.int32)
    n = 0
    for z in range(depth):
        for y in range(inner[0], inner[1]):
            for x in range(width):
                own = answer[z, y, x]
                if own <= least:
                    continue
                if x > 0 and answer[z, y, x - 1] > own:
                    continue
                if x < width - 1 and answer[z, y, x + 1] > own:
                    continue
                highest = True
                same = 0
                bit = -1
                for a in range(z - 1, z + 2):
                    for b in range(y - 1, y + 2):
                        for c in range(x - 1, x + 2):
                            bit += 1
                            if not (0 <= a < depth and 0 <= b < height and 0 <= c < width):
                                continue
                            other = answer[a, b, c]
                            if other > own:
                                highest = False
                                break
                            if other == own and bit != 13:
                                same |= 1 << bit
                        if not highest:
                            break
                    if not highest:
                        break
                if highest:
                    if n < capacity:
                        places[n] = z, y, x
                        values[n] = own
                        equal[n] = same
                    n += 1
    return places, values, equal, n


def _one_per_plateau(
    places: IntArray, equal: npt.NDArray[np.int32], shape: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    """Keep one voxel of each plateau that is higher than all around it."""
    kept: npt.NDArray[np.bool_] = equal == 0
    tied = np.flatnonzero(equal)
    if not len(tied):
        return kept
    flat = np.ravel_multi_index(tuple(places[tied].T), shape)
    pairs, broken = [], np.zeros(len(tied), bool)
    for bit in range(27):
        here = np.flatnonzero(equal[tied] >> bit & 1)
        step = np.array([bit // 9 - 1, bit // 3 % 3 - 1, bit % 3 - 1])
        beside = np.ravel_multi_index(tuple((places[tied[here]] + step).T), shape)
        at = np.minimum(np.searchsorted(flat, beside), len(flat) - 1)
        known = flat[at] == beside
        pairs.append(np.column_stack([here[known], at[known]]))
        broken[here[~known]] = True  # an equal neighbour that has a higher one beside it
    joined = np.concatenate(pairs)
    graph = coo_array(
        (np.ones(len(joined), bool), (joined[:, 0], joined[:, 1])), shape=(len(tied), len(tied))
    )
    n, plateau = connected_components(graph, directed=False)
    sizes = np.bincount(plateau, minlength=n)
    own = places[tied].astype(np.float64)
    middle = np.stack([np.bincount(plateau, own[:, k], n) / sizes for k in range(3)], axis=1)
    far = ((own - middle[plateau]) ** 2).sum(axis=1)
    order = np.lexsort((np.arange(len(tied)), far, plateau))
    first = order[np.unique(plateau[order], return_index=True)[1]]
    whole = np.bincount(plateau, broken, n) == 0
    kept[tied[first[whole]]] = True
    return kept


def _sharpness(
    blobs: BlobFilter, response: Float32Array, peak: FloatArray, halo: FloatArray
) -> FloatArray:
    """Share of the answer that is due to the one voxel being unlike those beside it."""
    sharp: FloatArray = blobs.centre * peak * (1 - halo) / response
    return sharp


def _sharpest(blobs: BlobFilter) -> float:
    """Between a spot, centred in a voxel, and a hot pixel, of which everything is due to it."""
    sigma = np.array(blobs.sigma_px[1:])
    spot = blobs.centre * (1 - float(np.mean(np.exp(-0.5 / sigma**2))))
    return 0.5 * (1 + spot)


def _apart(points: FloatArray, strength: Float32Array) -> IntArray:
    """Indices that stay if, from the strongest on, each drops the weaker ones nearer than 1."""
    order = np.lexsort((np.arange(len(points)), -strength.astype(np.float64)))
    near = cKDTree(points).query_ball_point(points, 1 - 1e-9)
    dropped = np.zeros(len(points), bool)
    for k in order:
        if not dropped[k]:
            dropped[near[k]] = True
            dropped[k] = False
    return np.flatnonzero(~dropped)
