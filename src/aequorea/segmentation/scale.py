"""How large the objects of an image are, found before any of them is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from scipy import ndimage

from aequorea.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Float32Array = npt.NDArray[np.float32]
    FloatArray = npt.NDArray[np.float64]
    BoolArray = npt.NDArray[np.bool_]

__all__ = [
    "ObjectScale",
    "estimate_diameter_px",
    "object_scale",
    "size_notes",
    "stretch_of",
    "tile_with_structure",
]

_STEPS_PER_OCTAVE = 5
_FINEST_SIGMA_PX = 1.5
_MAX_BLOBS = 3000
_MIN_RESPONSE = 0.3  # of the strong blobs' response
_ENOUGH_PIXELS = {2: 1 << 20, 3: 1 << 22}  # where more would not tell more
_MIN_PLANES = 5
# Planes nearer to one another than pixels are not taken; an image that looks so is elongated by
# light from out of focus, and says nothing about its objects.
_HAZE_RATIO = 0.75
_USUAL_STRETCH = 2.0
_LARGER = 1.5  # a blob of so many diameters of another may have it as its texture
_UNCERTAIN = 2.0  # between the sizes that half of the light and half of the blobs lie above


@dataclass(frozen=True, kw_only=True)
class ObjectScale:
    """Typical size of the bright objects of an image.

    Attributes
    ----------
    diameter_px : float
        Diameter in pixels of the last axis; NaN if nothing stands out.
    stretch : tuple of float
        Width of a pixel along each axis over its width along the last, as far as the objects
        tell: from the calibration if there is one, else from how they look.
    n_blobs : int
        How many objects the estimate rests on.
    diameter_by_number_px : float
        Median over the objects, small ones counting as much as large ones; but for those in or at
        a larger one, which may be its texture. Far from ``diameter_px`` if the image holds objects
        of several sizes, or haze beside objects.
    """

    diameter_px: float
    stretch: tuple[float, ...]
    n_blobs: int
    diameter_by_number_px: float = math.nan


def estimate_diameter_px(
    image: npt.ArrayLike,
    *,
    spacing_um: Sequence[float] | None = None,
    mask: npt.ArrayLike | None = None,
) -> float:
    """Typical diameter of the bright objects of an image, in pixels of its last axis.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)
    spacing_um : sequence of float, optional
        Distance between pixel centres along each axis. Not given, a stack's planes are taken to
        be as far apart as makes its objects as long as they are wide; twice as far as the pixels
        where light from out of focus hides that.
    mask : array_like of bool, optional
        Only objects centred inside count.

    Returns
    -------
    float
        NaN if nothing stands out, such as in a constant image.

    Raises
    ------
    InputError
        If the image is not 2D or 3D, or the spacing does not fit.

    Notes
    -----
    Blobs are looked for at many scales with the scale-normalised Laplacian of Gaussian [1]_;
    of blobs that overlap the strongest stays. The diameter is the median over blobs weighted by
    their area, so specks count little. Touching objects are told apart, since the Laplacian
    answers most to single ones. Sizes between 4 px and a quarter of the image are found. Of
    large images the part with most structure is looked at.

    References
    ----------
    .. [1] Lindeberg (1998), Int J Comput Vis 30, 79, doi:10.1023/A:1008045108935

    Examples
    --------
    >>> y, x = np.ogrid[:90, :90]
    >>> disc = np.where((y - 40) ** 2 + (x - 45) ** 2 <= 10**2, 100.0, 5.0)
    >>> abs(estimate_diameter_px(disc) - 20) < 2
    True
    """
    return object_scale(image, spacing_um=spacing_um, mask=mask).diameter_px


def object_scale(
    image: npt.ArrayLike,
    *,
    spacing_um: Sequence[float] | None = None,
    mask: npt.ArrayLike | None = None,
) -> ObjectScale:
    """Diameter and pixel shape; see :func:`estimate_diameter_px`."""
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3):
        raise InputError(f"image: expected (y, x) or (z, y, x), found shape {pixels.shape}")
    stretch = None if spacing_um is None else stretch_of(spacing_um, pixels.ndim)
    unknown = tuple(stretch) if stretch is not None else (1.0,) * pixels.ndim
    if pixels.size == 0:
        return ObjectScale(diameter_px=math.nan, stretch=unknown, n_blobs=0)
    part = tile_with_structure(pixels)
    region = None if mask is None else np.asarray(mask, dtype=bool)[part]
    flat = _flattened(pixels[part], region)
    if flat is None:
        return ObjectScale(diameter_px=math.nan, stretch=unknown, n_blobs=0)
    if stretch is None:
        stretch = _apparent_stretch(flat)
    blobs = _blobs(flat, stretch, region)
    if not len(blobs):
        return ObjectScale(diameter_px=math.nan, stretch=tuple(stretch), n_blobs=0)
    diameters, responses = blobs[:, -1], blobs[:, -2]
    return ObjectScale(
        diameter_px=_weighted_median(diameters, responses * diameters**1.5),
        stretch=tuple(stretch),
        n_blobs=len(blobs),
        diameter_by_number_px=_weighted_median(diameters, _standing_alone(blobs)),
    )


def size_notes(diameter_px: float, diameter_by_number_px: float) -> tuple[str, ...]:
    """What to say of a size that most of the light and most of the objects do not agree on.

    Parameters
    ----------
    diameter_px, diameter_by_number_px : float
        As :class:`ObjectScale` has them; NaN is unknown.

    Examples
    --------
    >>> size_notes(57.0, 15.2)
    ('object size is uncertain: 57 px by area, 15 px by number; give diameter_px (or diameter_um)',)
    >>> size_notes(20.0, 15.2)
    ()
    """
    low, high = sorted((diameter_px, diameter_by_number_px))
    if not high > _UNCERTAIN * low:
        return ()
    note = (
        f"object size is uncertain: {diameter_px:.0f} px by area, {diameter_by_number_px:.0f} px "
        "by number; give diameter_px (or diameter_um)"
    )
    return (note,)


def stretch_of(spacing_um: Sequence[float], ndim: int) -> list[float]:
    """Width of a pixel along each axis over its width along the last."""
    spacing = [float(s) for s in spacing_um]
    if len(spacing) != ndim or not all(math.isfinite(s) and s > 0 for s in spacing):
        raise InputError(
            f"spacing_um: expected {ndim} positive pixel sizes in µm, found {tuple(spacing_um)}"
        )
    return [s / spacing[-1] for s in spacing]


def tile_with_structure(pixels: Any) -> tuple[slice, ...]:
    """The whole of a small image; of a large one, the tile with most structure."""
    shape = pixels.shape
    if math.prod(shape) <= _ENOUGH_PIXELS[pixels.ndim]:
        return (slice(None),) * len(shape)
    depth = min(shape[0], 64) if len(shape) == 3 else 1
    side = math.isqrt(_ENOUGH_PIXELS[pixels.ndim] // depth)
    wanted = (depth, side, side)[-len(shape) :]
    starts = [
        np.unique(np.linspace(0, max(length - want, 0), 4).astype(int)).tolist()
        for length, want in zip(shape, wanted, strict=True)
    ]
    best: tuple[slice, ...] = (slice(None),) * len(shape)
    most = -1.0
    for corner in product(*starts):
        tile = tuple(slice(first, first + want) for first, want in zip(corner, wanted, strict=True))
        few = np.asarray(pixels[tile])[(slice(None, None, 4),) * len(shape)].astype(np.float32)
        few = few[np.isfinite(few)]
        spread = float(np.clip(few, *np.percentile(few, [1.0, 99.0])).std()) if few.size else 0.0
        if spread > most:
            most, best = spread, tile
    return best


def _flattened(pixels: npt.NDArray[Any], region: BoolArray | None) -> Float32Array | None:
    """Grey levels from 0 (background) to 1 (bright), extremes clipped; None if all alike."""
    values = pixels if region is None else pixels[region]
    step = max(1, values.size // 1_000_000)
    sample = np.asarray(values.ravel()[::step], dtype=np.float32)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return None
    low, high = np.percentile(sample, [5.0, 99.5])
    if not high > low:
        low, high = float(sample.min()), float(sample.max())
    if not high > low:
        return None
    flat = (np.asarray(pixels, dtype=np.float32) - np.float32(low)) / np.float32(high - low)
    np.nan_to_num(flat, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    np.clip(flat, 0.0, 1.0, out=flat)
    return flat


def _apparent_stretch(flat: Float32Array) -> list[float]:
    """How much faster the image loses its correlation along z than within planes."""
    if flat.ndim == 2 or flat.shape[0] < _MIN_PLANES:
        return [1.0] * flat.ndim
    smooth = ndimage.gaussian_filter(flat, (0, 1, 1), mode="nearest", truncate=3.0)
    smooth -= smooth.mean(dtype=np.float64)
    z, y, x = (_half_width(smooth, axis) for axis in range(3))
    across = math.sqrt(y * x)
    if not math.isfinite(z * across) or z <= 0:
        return [1.0] * 3
    ratio = across / z
    if ratio < _HAZE_RATIO:
        ratio = _USUAL_STRETCH
    return [float(np.clip(ratio, 1.0, 10.0)), 1.0, 1.0]


def _half_width(centred: Float32Array, axis: int) -> float:
    """Lag at which the autocovariance along an axis has fallen to half; NaN if it does not."""
    along = np.moveaxis(centred, axis, 0)
    variance = float(np.mean(np.square(along), dtype=np.float64))
    previous = variance
    for lag in range(1, len(along) // 2 + 1):
        here = float(np.mean(along[lag:] * along[:-lag], dtype=np.float64))
        if here <= variance / 2:
            return lag - 1 + (previous - variance / 2) / (previous - here)
        previous = here
    return math.nan


def _blobs(flat: Float32Array, stretch: Sequence[float], region: BoolArray | None) -> FloatArray:
    """Blobs that do not overlap: position (px of x), response, diameter (px of x) in columns."""
    ndim = flat.ndim
    extent = [n * s for n, s in zip(flat.shape, stretch, strict=True)]
    largest = max(extent[-2:]) / 4
    per_sigma = 2 * math.sqrt(ndim)  # a ball answers most at the radius over the root of ndim
    factor = 2 ** (1 / _STEPS_PER_OCTAVE)
    found: list[FloatArray] = []
    level, width = flat, np.ones(ndim)  # width of a pixel of the level, in pixels of the image
    scale = 1.0
    while True:
        pixel = width * np.asarray(stretch)
        for step in range(_STEPS_PER_OCTAVE):
            sigma = _FINEST_SIGMA_PX * scale * factor**step
            if sigma * per_sigma > largest:
                break
            found.append(_maxima(level, sigma / pixel, sigma * per_sigma, width, stretch, region))
        if 2 * _FINEST_SIGMA_PX * scale * per_sigma > largest:
            break
        bins = tuple(
            2 if p * 2 <= 2 * scale * 1.5 and n >= 8 else 1
            for p, n in zip(pixel, level.shape, strict=True)
        )
        level = _binned(level, bins)
        width = width * np.asarray(bins)
        scale *= 2
    candidates = np.concatenate(found) if found else np.zeros((0, ndim + 2))
    if not len(candidates):
        return candidates
    strong = float(np.sort(candidates[:, -2])[::-1][: max(10, len(candidates) // 50)].mean())
    candidates = candidates[candidates[:, -2] >= _MIN_RESPONSE * strong]
    order = np.argsort(-candidates[:, -2], kind="stable")[:_MAX_BLOBS]
    candidates = candidates[order]
    apart: FloatArray = candidates[_not_overlapping(candidates)]
    return apart


def _maxima(
    level: Float32Array,
    sigma_px: FloatArray,
    diameter: float,
    width: FloatArray,
    stretch: Sequence[float],
    region: BoolArray | None,
) -> FloatArray:
    # sigma² ∇² along every axis of the level's own pixels is the scale-normalised Laplacian.
    response = np.zeros(level.shape, np.float32)
    # Binning and the second difference smooth as well: by 1/12 px² and, along its axis, 1/6 px².
    already = 1 / (6 * level.ndim) + (1 - 1 / width**2) / 12
    rest = np.sqrt(np.maximum(sigma_px**2 - already, 0.0))
    smooth = ndimage.gaussian_filter(level, rest, mode="nearest", truncate=4.0)
    for axis, sigma in enumerate(sigma_px):
        if level.shape[axis] > 2:
            padded = np.concatenate(
                [smooth.take([0], axis), smooth, smooth.take([-1], axis)], axis=axis
            )
            response -= np.float32(sigma * sigma) * np.diff(padded, 2, axis=axis)
    peak = ndimage.maximum_filter(response, 3, mode="nearest") == response
    peak &= response > 0.02
    where = np.argwhere(peak)
    at = (where + 0.5) * width - 0.5
    if region is not None and len(at):
        nearest = np.minimum(np.rint(at).astype(np.int64), np.array(region.shape) - 1)
        inside = region[tuple(np.maximum(nearest, 0).T)]
        where, at = where[inside], at[inside]
    values = response[tuple(where.T)].astype(np.float64)
    return np.column_stack([at * np.asarray(stretch), values, np.full(len(at), diameter)])


def _binned(image: Float32Array, bins: Sequence[int]) -> Float32Array:
    """Means over blocks; incomplete blocks at the end are dropped."""
    for axis, width in enumerate(bins):
        if width > 1:
            n = image.shape[axis] // width
            cut = [slice(None)] * image.ndim
            total: Float32Array | None = None
            for k in range(width):
                cut[axis] = slice(k, n * width, width)
                total = image[tuple(cut)].copy() if total is None else total + image[tuple(cut)]
            if total is not None:
                image = total / np.float32(width)
    return image


@njit(cache=True, nogil=True)
def _not_overlapping(blobs: FloatArray) -> BoolArray:
    """Which blobs, in order, are centred at least half the larger diameter from those kept."""
    n, ndim = blobs.shape[0], blobs.shape[1] - 2
    kept = np.zeros(n, np.bool_)
    for i in range(n):
        free = True
        for j in range(i):
            if kept[j]:
                square = 0.0
                for d in range(ndim):
                    square += (blobs[i, d] - blobs[j, d]) ** 2
                reach = 0.5 * max(blobs[i, ndim + 1], blobs[j, ndim + 1])
                if square < reach * reach:
                    free = False
                    break
        kept[i] = free
    return kept


@njit(cache=True, nogil=True)
def _standing_alone(blobs: FloatArray) -> FloatArray:
    """1 for each blob that does not overlap a larger one, else 0."""
    n, ndim = blobs.shape[0], blobs.shape[1] - 2
    alone = np.ones(n)
    for i in range(n):
        for j in range(n):
            if blobs[j, ndim + 1] > _LARGER * blobs[i, ndim + 1]:
                square = 0.0
                for d in range(ndim):
                    square += (blobs[i, d] - blobs[j, d]) ** 2
                reach = 0.5 * (blobs[i, ndim + 1] + blobs[j, ndim + 1])
                if square < reach * reach:
                    alone[i] = 0.0
                    break
    return alone


def _weighted_median(values: FloatArray, weights: FloatArray) -> float:
    """Median of positive values, each of which stands for one step of the scales."""
    logs, half = np.log(values), math.log(2) / _STEPS_PER_OCTAVE / 2
    edges = np.unique(np.concatenate([logs - half, logs + half]))
    names, which = np.unique(logs, return_inverse=True)
    share = np.bincount(which, weights) / weights.sum()
    below = np.clip((edges[:, None] - names + half) / (2 * half), 0.0, 1.0) @ share
    return float(np.exp(np.interp(0.5, below, edges)))
