"""One threshold for all images of a batch: where noise makes about one false punctum an image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import stats

from aequorea.errors import InputError
from aequorea.puncta.detection import find_candidates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aequorea.puncta.blob_filter import Method

__all__ = ["CommonThreshold", "NoiseMaxima", "common_threshold", "noise_maxima"]

FloatArray = npt.NDArray[np.float64]

_BULK = np.linspace(
    0.3, 0.9, 31
)  # lower maxima are not like noise beside spots, higher may be spots
_FIRST = 5
_ROUNDS = 60
_TAIL = 0.98
FEWEST = 100
_ASSUMED = 1000  # maxima of noise where there are too few to tell
_WELL_SAMPLED_PX = 2.5  # wider spots are larger, and their noise is no different
_SIZE = {2: (768, 768), 3: (48, 160, 160)}
_N_LEVELS = 200
_FARTHEST = 40.0
_ROUGH = 1.5
_BEYOND = 1.5
_FLAT = 0.25  # of the steepest fall
_DISAGREE = 1.5
_STABLE = 0.8


@dataclass(frozen=True, eq=False, kw_only=True)
class NoiseMaxima:
    """How high the local maxima of the blob filter are in white noise.

    Attributes
    ----------
    heights : ndarray, shape (n,)
        Sorted, in standard deviations of the answer.
    ndim : int
    """

    heights: FloatArray
    ndim: int

    def quantile(self, probability: npt.ArrayLike) -> FloatArray:
        """Height below which this share of the maxima is."""
        found: FloatArray = np.quantile(self.heights, np.asarray(probability))
        return found

    def height_above(self, share: float) -> float:
        """Height that this share of the maxima exceeds."""
        if share >= 1:
            return float(self.heights[0])
        grid = np.linspace(float(self.heights[0]), _FARTHEST, 8000)
        above = self.share_above(grid)
        return float(grid[np.argmax(above <= share)])

    def share_above(self, height: npt.ArrayLike) -> FloatArray:
        """Share of the maxima above a height; far out by the expected Euler characteristic."""
        at = np.asarray(height, dtype=np.float64)
        n = len(self.heights)
        counted = 1 - np.searchsorted(self.heights, at, side="left") / n
        edge = float(self.quantile(_TAIL))
        far = (1 - _TAIL) * _euler(np.maximum(at, edge), self.ndim) / _euler(edge, self.ndim)
        share: FloatArray = np.where(at > edge, far, counted)
        return share


def _euler(height: npt.ArrayLike, ndim: int) -> FloatArray:
    """Expected number of peaks above a height, but for a factor (Worsley 1996)."""
    at = np.asarray(height, dtype=np.float64)
    density: FloatArray = (at if ndim == 2 else at**2 - 1) * np.exp(-0.5 * at**2)
    return density


def noise_maxima(sigma_px: Sequence[float], method: Method = "log") -> NoiseMaxima:
    """Heights of the maxima that noise alone has, by filtering white noise.

    Parameters
    ----------
    sigma_px : sequence of float
        SD of a spot along each axis; along y and x alone for a stack of a single plane.
    method : {"log", "dog"}

    Returns
    -------
    NoiseMaxima
        The same in every call.

    Notes
    -----
    Of 2D and 3D noise some 10,000 maxima are found; beyond the highest 2 % of them their number
    falls like the expected Euler characteristic of the set above a level [1]_.

    References
    ----------
    .. [1] Worsley et al. (1996), Hum Brain Mapp 4, 58,
       doi:10.1002/(SICI)1097-0193(1996)4:1<58::AID-HBM4>3.0.CO;2-O
    """
    sampled = tuple(round(min(float(s), _WELL_SAMPLED_PX), 2) for s in sigma_px)
    return _noise_maxima(sampled, method)


@lru_cache(maxsize=32)
def _noise_maxima(sigma_px: tuple[float, ...], method: Method) -> NoiseMaxima:
    shape = _SIZE[len(sigma_px)]
    noise = np.random.default_rng(20240607).standard_normal(shape, dtype=np.float32)
    found = find_candidates(noise, sigma_px=sigma_px, method=method)
    ndim = sum(s > 0 for s in sigma_px)
    return NoiseMaxima(heights=np.sort(found.height.astype(np.float64)), ndim=ndim)


@dataclass(frozen=True, eq=False, kw_only=True)
class CommonThreshold:
    """A threshold for all images of a batch, and the curve it can be judged by.

    Attributes
    ----------
    value : float
        Candidates at or above it are puncta.
    levels : ndarray, shape (m,)
        Thresholds, increasing.
    counts : ndarray, shape (m,)
        Candidates at or above each, mean over the images; its logarithm against ``levels`` is the
        elbow plot.
    elbow : int or None
        Where the curve stops falling steeply: an index of ``levels``. For judging, not used.
    per_image : ndarray, shape (n,)
        What each image alone would have had; their median is ``value``.
    n_above : ndarray of int64, shape (n,)
        Candidates of each image at or above ``value``.
    expected_false : ndarray, shape (n,)
        How many of these noise is expected to make.
    roughness : ndarray, shape (n,)
        Spread of the heights of what passes for noise over that of white noise of SD 1.
    notes : tuple of str
        What to look at; empty if nothing is doubtful.
    """

    value: float
    levels: FloatArray
    counts: FloatArray
    elbow: int | None
    per_image: FloatArray
    n_above: npt.NDArray[np.int64]
    expected_false: FloatArray
    roughness: FloatArray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Bulk:
    """The noise among the candidates of an image: n of them, each shift + scale x white noise."""

    n: int
    shift: float
    scale: float
    limit: float


def common_threshold(
    heights_per_image: Sequence[npt.ArrayLike],
    *,
    noise: NoiseMaxima,
    false_per_image: float = 0.5,
    in_noise_sd: bool = True,
) -> CommonThreshold:
    """The height that separates puncta from noise in all images of a batch.

    Parameters
    ----------
    heights_per_image : sequence of array_like, shape (k,)
        Heights of all candidates of each image: ``Candidates.height``, or ``response`` where the
        threshold shall be one grey level. The unit does not matter.
    noise : NoiseMaxima
        Of the filter that found them (:func:`noise_maxima`).
    false_per_image : float
        How many puncta noise alone may make in an image, on average.
    in_noise_sd : bool
        The heights are ``Candidates.height``, so that it can be told how far the noise is from
        white.

    Returns
    -------
    CommonThreshold

    Raises
    ------
    InputError
        If there is no image, a height is not finite, or ``false_per_image`` not positive.

    Notes
    -----
    Most local maxima of an image are noise, and how the maxima of filtered noise are distributed
    is known but for their scale. Scale and shift are found from the bulk of the candidates of each
    image by comparing quantiles, spots left out by and by; the threshold of an image is where
    ``false_per_image`` of them are expected, and the batch has the median over its images. So
    textured background or correlated noise raise the threshold; a hot pixel, or one image without
    spots, does not move it.

    Where four in five of the maxima are puncta, no noise is left to measure. Structures of the size
    of spots that are not noise (granules of autofluorescence) are found
    like spots: the elbow plot shows them as a second fall of the curve.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image = rng.normal(100, 5, (128, 128))
    >>> heights = find_candidates(image, sigma_px=(1.2, 1.2)).height
    >>> found = common_threshold([heights], noise=noise_maxima((1.2, 1.2)))
    >>> 3.5 < found.value < 5, int(found.n_above[0]) < 5
    (True, True)
    """
    images = [_checked(heights) for heights in heights_per_image]
    if not images:
        raise InputError("heights_per_image: expected at least one image, found none")
    if not 0 < false_per_image < np.inf:
        raise InputError(f"false_per_image: expected a number above 0, found {false_per_image}")
    bulks = [_bulk(heights, noise, false_per_image) for heights in images]
    per_image = np.array([bulk.limit for bulk in bulks])
    known = np.array([len(heights) >= FEWEST for heights in images])
    value = float(np.median(per_image[known] if known.any() else per_image))
    above = np.array([np.count_nonzero(heights >= value) for heights in images], np.int64)
    expected = np.array(
        [b.n * float(noise.share_above((value - b.shift) / b.scale)) for b in bulks]
    )
    levels, counts = _curve(images, value)
    elbow = _elbow(levels, counts * len(images), value)
    roughness = np.array([bulk.scale for bulk in bulks])
    notes = [
        *_notes_on_images(images, above, expected),
        *(_notes_on_roughness(roughness) if in_noise_sd else ()),
        *_notes_on_curve(levels, counts, elbow, value, above),
    ]
    return CommonThreshold(
        value=value,
        levels=levels,
        counts=counts,
        elbow=elbow,
        per_image=per_image,
        n_above=above,
        expected_false=expected,
        roughness=roughness,
        notes=tuple(notes),
    )


def _checked(heights: npt.ArrayLike) -> FloatArray:
    values = np.asarray(heights, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError(
            f"heights_per_image: expected finite numbers in one dimension, found {values.ndim}D"
        )
    return np.sort(values)


def _bulk(heights: FloatArray, noise: NoiseMaxima, false_per_image: float) -> _Bulk:
    """Noise of one image, by quantiles of the lowest candidates.

    A fifth of the candidates is taken for noise at first; the limit found from it lets more in,
    until the limit stays. Starting from all, many spots would pass for noise.
    """
    if len(heights) < FEWEST:
        limit = noise.height_above(false_per_image / _ASSUMED)
        return _Bulk(n=len(heights), shift=0.0, scale=1.0, limit=limit)
    quantiles = noise.quantile(_BULK)
    fewest = max(len(heights) // _FIRST, FEWEST // 2)
    n = fewest
    for _ in range(_ROUNDS):
        slope, intercept = np.polyfit(quantiles, np.quantile(heights[:n], _BULK), 1)
        shift, scale = float(intercept), max(float(slope), 1e-30)
        limit = shift + scale * noise.height_above(false_per_image / n)
        inside = max(int(np.searchsorted(heights, limit)), fewest)
        if inside == n:
            break
        n = inside
    return _Bulk(n=n, shift=shift, scale=scale, limit=limit)


def _curve(images: list[FloatArray], value: float) -> tuple[FloatArray, FloatArray]:
    pooled = np.concatenate(images)
    pooled = pooled[pooled > 0]
    first = min(float(np.median(pooled)), 0.5 * value) if len(pooled) else 0.5 * value
    last = max(2 * value, float(pooled.max())) if len(pooled) else 2 * value
    levels = np.geomspace(first, last, _N_LEVELS)
    counts: FloatArray = np.zeros(_N_LEVELS)
    for heights in images:
        counts += len(heights) - np.searchsorted(heights, levels)
    return levels, counts / len(images)


def _elbow(levels: FloatArray, totals: FloatArray, value: float) -> int | None:
    """First level past the steepest fall of the logarithm where it falls a quarter as fast."""
    enough = np.flatnonzero(totals >= 5)
    if len(enough) < 10:
        return None
    fall = -np.gradient(np.log(totals[enough]), np.log(levels[enough]))
    fall = np.convolve(np.pad(fall, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    noise = levels[enough] <= _BEYOND * value  # all spots alike fall steeply as well, far out
    steepest = int(np.argmax(np.where(noise, fall, -np.inf)))
    flat = np.flatnonzero(fall[steepest:] < _FLAT * fall[steepest])
    return int(enough[steepest + flat[0]]) if len(flat) else None


def _notes_on_images(
    images: list[FloatArray],
    above: npt.NDArray[np.int64],
    expected: FloatArray,
) -> list[str]:
    notes = []
    few = [k for k, heights in enumerate(images) if len(heights) < FEWEST]
    if few:
        notes.append(
            f"{_listed(few)}: fewer than {FEWEST} local maxima, too few to measure noise by; "
            "white noise is assumed"
        )
    usual = np.asarray(stats.poisson.ppf(0.99, np.maximum(expected, 1e-12)))
    empty = [k for k in range(len(images)) if above[k] <= usual[k]]
    if empty:
        notes.append(
            f"{_listed(empty)}: no more maxima above the threshold than noise makes "
            f"({', '.join(str(int(above[k])) for k in empty)}); perhaps there are no puncta, "
            "or too many to see the noise between them"
        )
    many = [k for k in range(len(images)) if expected[k] > max(10.0, 0.05 * above[k])]
    if many:
        notes.append(
            f"{_listed(many)}: background or noise is rougher than in the other images; "
            f"{', '.join(f'{expected[k]:.0f}' for k in many)} false puncta expected"
        )
    return notes


def _notes_on_roughness(roughness: FloatArray) -> list[str]:
    rough = np.flatnonzero(roughness > _ROUGH).tolist()
    if not rough:
        return []
    times = ", ".join(f"{roughness[k]:.1f}" for k in rough)
    note = (
        f"{_listed(rough)}: what passes for noise is {times} times as high as white noise is; "
        "the background is textured, the noise correlated, or puncta are so dense that they hide "
        "it: look at the curve of counts"
    )
    return [note]


def _notes_on_curve(
    levels: FloatArray,
    counts: FloatArray,
    elbow: int | None,
    value: float,
    above: npt.NDArray[np.int64],
) -> list[str]:
    mean = float(above.mean())
    if mean < 3:
        return []
    notes = []
    higher = float(np.interp(1.1 * value, levels, counts))
    if higher < _STABLE * mean:
        notes.append(
            f"the number of puncta depends on the threshold: 10 % higher finds "
            f"{100 * (1 - higher / mean):.0f} % fewer; many are faint"
        )
    if elbow is not None:
        there = float(counts[elbow])
        if levels[elbow] > value and there < mean / _DISAGREE:
            notes.append(
                f"the curve of counts has its elbow at {levels[elbow]:.3g}, where {there:.0f} "
                f"puncta per image are found instead of {mean:.0f}; look at both"
            )
    return notes


def _listed(images: Sequence[int]) -> str:
    return ("image " if len(images) == 1 else "images ") + ", ".join(str(k + 1) for k in images)
