"""What control images tell: bleed-through between channels, and how bright nothing is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from aequorea.errors import AxisMismatchError, ChannelError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

_LEAST_PIXELS = 64  # of a block, to say anything
_LEAST_BLOCKS = 8  # for an interval
_CONTRAST = 5.0  # correlation with the neighbours, in units of that of pure noise
_NEIGHBOURS = 8


@dataclass(frozen=True, kw_only=True)
class BleedThrough:
    """How much of each stain appears in each channel. Made by :func:`bleed_through_matrix`.

    Attributes
    ----------
    channels : tuple of str, length c
    fraction : ndarray, shape (c, c)
        Row: stain, column: channel. Light of the stain in the channel per light of the stain in
        its own channel; the diagonal is 1. NaN where it is not known.
    low, high : ndarray, shape (c, c)
        Confidence interval; NaN where there are too few independent blocks.
    n_pixels : ndarray of int, shape (c, c)
        Pixels the fraction was found from.
    n_images : ndarray of int, shape (c,)
        Controls of each stain.
    reasons : tuple of tuple of str
        Why an entry is NaN; empty where it is not.
    confidence : float
    """

    channels: tuple[str, ...]
    fraction: FloatArray
    low: FloatArray
    high: FloatArray
    n_pixels: NDArray[np.int64]
    n_images: NDArray[np.int64]
    reasons: tuple[tuple[str, ...], ...]
    confidence: float


@dataclass(frozen=True, kw_only=True)
class NegativeLevels:
    """How bright images without the stain are. Made by :func:`negative_levels`.

    Attributes
    ----------
    channels : tuple of str, length c
    percentile : float
    k : float
    percentile_levels : ndarray, shape (n, c), intensity
        The percentile of each image.
    sd_levels : ndarray, shape (n, c), intensity
        Mean + k standard deviations of each image.
    """

    channels: tuple[str, ...]
    percentile: float
    k: float
    percentile_levels: FloatArray
    sd_levels: FloatArray

    @property
    def n_images(self) -> NDArray[np.int64]:
        """Images with finite pixels, per channel."""
        return np.asarray(np.isfinite(self.percentile_levels).sum(axis=0))

    @property
    def percentile_level(self) -> FloatArray:
        """The highest of the images' percentiles, per channel; NaN without images."""
        return _highest(self.percentile_levels)

    @property
    def sd_level(self) -> FloatArray:
        """The highest of the images' mean + k standard deviations; NaN without images."""
        return _highest(self.sd_levels)


def bleed_through_matrix(
    images: Sequence[ArrayLike],
    stain_of_control: Sequence[str],
    channels: Sequence[str],
    *,
    saturation: float | None = None,
    confidence: float = 0.95,
    block_px: int = 32,
    n_bootstraps: int = 999,
    rng: np.random.Generator | int | None = 0,
) -> BleedThrough:
    """How much of each stain's light appears in the other channels.

    Parameters
    ----------
    images : sequence of array, shape (c, y, x) or (c, z, y, x)
        Controls that carry one stain only.
    stain_of_control : sequence of str
        The stain of each image, as the channel that is meant to show it.
    channels : sequence of str, length c
    saturation : float, optional
        Intensity from which pixels are clipped; the largest value of integer pixels if not given.
    confidence : float, default 0.95
    block_px : int, default 32
        Side of the blocks that are taken as independent. Larger than the objects.
    n_bootstraps : int, default 999
    rng : Generator or seed, default 0

    Returns
    -------
    BleedThrough

    Raises
    ------
    AxisMismatchError
        If an image has another number of channels or dimensions.
    ChannelError
        If a stain is not one of the channels.
    InputError
        If options are out of bounds.

    Notes
    -----
    In each block, the slope of channel j on channel i is cov(h, j) / cov(h, i), where h is the
    mean of the 8 neighbours of a pixel in channel i. The noise of a pixel is not in its
    neighbours, so the slope is not flattened by noise as that of a regression is (h is an
    instrumental variable [1]_); covariances do not see background levels. Blocks are combined by
    the median weighted with the root of cov(h, i), which debris that shines in all channels
    hardly moves. Pixels that are clipped in any channel, and their neighbours, are left out. The
    interval is that of percentiles over resampled blocks. An evenly bright control has no
    contrast and gives no answer. Cost: linear in pixels.

    References
    ----------
    .. [1] Wald (1940), doi:10.1214/aoms/1177731868

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> light = ndimage.gaussian_filter(rng.random((256, 256)), 4) * 5000
    >>> control = rng.poisson([light, 0.2 * light]) + 100
    >>> found = bleed_through_matrix([control], ["GFP"], ["GFP", "RFP"])
    >>> round(float(found.fraction[0, 1]), 2), found.reasons[1][0]
    (0.2, 'no single-stain control for RFP')
    """
    _check(images, stain_of_control, channels)
    if not 0 < confidence < 1 or block_px < 2 or n_bootstraps < 1:
        raise InputError(
            "expected 0 < confidence < 1, block_px ≥ 2 and n_bootstraps ≥ 1, got "
            f"{confidence}, {block_px} and {n_bootstraps}"
        )
    names = tuple(channels)
    n = len(names)
    fraction, low, high = (np.full((n, n), np.nan) for _ in range(3))
    n_pixels = np.zeros((n, n), np.int64)
    reasons = [[""] * n for _ in range(n)]
    generator = np.random.default_rng(rng)
    for i, stain in enumerate(names):
        own = [im for im, s in zip(images, stain_of_control, strict=True) if s == stain]
        fraction[i, i] = low[i, i] = high[i, i] = 1.0
        blocks = [_block_sums(np.asarray(image), i, saturation, block_px) for image in own]
        sums = np.concatenate(blocks) if blocks else np.empty((0, n + 3))
        answer = _slopes(sums, i, confidence, n_bootstraps, generator)
        for j in range(n):
            if j == i:
                continue
            fraction[i, j], low[i, j], high[i, j] = answer.slopes[:, j]
            n_pixels[i, j] = answer.n_pixels
            reasons[i][j] = answer.reason if own else f"no single-stain control for {stain}"
            if answer.reason and own:
                reasons[i][j] = f"controls of {stain}: {answer.reason}"
    return BleedThrough(
        channels=names,
        fraction=fraction,
        low=low,
        high=high,
        n_pixels=n_pixels,
        n_images=np.array([list(stain_of_control).count(s) for s in names], np.int64),
        reasons=tuple(tuple(row) for row in reasons),
        confidence=confidence,
    )


def negative_levels(
    images: Sequence[ArrayLike],
    channels: Sequence[str],
    *,
    percentile: float = 99.0,
    k: float = 3.0,
) -> NegativeLevels:
    """The intensity that images without the stain reach.

    Parameters
    ----------
    images : sequence of array, shape (c, y, x) or (c, z, y, x)
        Secondary-only or negative controls.
    channels : sequence of str, length c
    percentile : float, default 99
        Of the pixels of an image.
    k : float, default 3
        Standard deviations above the mean.

    Returns
    -------
    NegativeLevels
        One level per image and channel: the image, not the pixel, is the unit. Pixels that are
        not finite are left out; NaN where none is left.

    Raises
    ------
    AxisMismatchError
        If an image has another number of channels or dimensions.
    InputError
        If options are out of bounds.

    Examples
    --------
    >>> found = negative_levels([np.arange(101.0).reshape(1, 1, 101)], ["GFP"], percentile=90)
    >>> found.percentile_level
    array([90.])
    """
    _check(images, [None] * len(images), channels)
    if not 0 <= percentile <= 100 or not np.isfinite(k):
        raise InputError(f"expected 0 ≤ percentile ≤ 100 and a finite k, got {percentile} and {k}")
    shape = (len(images), len(channels))
    percentiles, sds = np.full(shape, np.nan), np.full(shape, np.nan)
    for n, image in enumerate(images):
        for c, pixels in enumerate(np.asarray(image)):
            finite = pixels[np.isfinite(pixels)]
            if finite.size:
                percentiles[n, c] = np.percentile(finite, percentile)
                sds[n, c] = finite.mean(dtype=np.float64) + k * finite.std(dtype=np.float64)
    return NegativeLevels(
        channels=tuple(channels),
        percentile=float(percentile),
        k=float(k),
        percentile_levels=percentiles,
        sd_levels=sds,
    )


def control_warnings(
    bleed_through: BleedThrough | None = None,
    negative: NegativeLevels | None = None,
    *,
    tolerated: float = 0.02,
    thresholds: Mapping[str, float] | None = None,
) -> tuple[str, ...]:
    """What controls say against results, in words.

    Parameters
    ----------
    bleed_through : BleedThrough, optional
    negative : NegativeLevels, optional
    tolerated : float, default 0.02
        Fraction of a stain in another channel that is not worth a warning.
    thresholds : mapping of str to float, optional
        Intensity from which a channel counts as positive.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> dark = negative_levels([np.full((1, 8, 8), 50)], ["GFP"])
    >>> control_warnings(negative=dark, thresholds={"GFP": 40})
    ('GFP: the threshold 40 is below 50, which images without the stain reach (99th ...',)
    """
    found = [] if bleed_through is None else list(_bleeding(bleed_through, tolerated))
    if negative is not None:
        found += list(_too_low(negative, thresholds or {}))
    return tuple(found)


def _bleeding(found: BleedThrough, tolerated: float) -> Iterable[str]:
    for i, stain in enumerate(found.channels):
        missing = [r for r in found.reasons[i] if r]
        if missing:
            yield f"{missing[0]}: how much of it appears in other channels is not known"
            continue
        for j, channel in enumerate(found.channels):
            f, low, high = found.fraction[i, j], found.low[i, j], found.high[i, j]
            surely = not low <= 0
            if i == j or not (f >= tolerated and surely):
                continue
            interval = "" if np.isnan(low) else f" ({_percent(low)} to {_percent(high)})"
            yield (
                f"{_percent(f)}{interval} of {stain} appears in {channel}: positives of {channel} "
                f"among {stain} cells are suspect"
            )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.995 else f"{100 * fraction:.0f} %"


def _too_low(found: NegativeLevels, thresholds: Mapping[str, float]) -> Iterable[str]:
    for channel, level in zip(found.channels, found.percentile_level, strict=True):
        if channel in thresholds and thresholds[channel] < level:
            yield (
                f"{channel}: the threshold {thresholds[channel]:g} is below {level:g}, which "
                f"images without the stain reach ({found.percentile:g}th percentile): "
                "unspecific light counts as positive"
            )


def _check(
    images: Sequence[ArrayLike], stains: Sequence[str | None], channels: Sequence[str]
) -> None:
    if isinstance(channels, str) or not channels or len(set(channels)) < len(channels):
        raise ChannelError(f"expected a list of different channel names, got {channels!r}")
    if len(images) != len(stains):
        raise InputError(f"expected a stain for each image, got {len(stains)} for {len(images)}")
    for n, (image, stain) in enumerate(zip(images, stains, strict=True)):
        shape = np.shape(image)
        if len(shape) not in {3, 4} or shape[0] != len(channels):
            raise AxisMismatchError(
                f"control image {n}: expected shape ({len(channels)}, [z,] y, x) for channels "
                f"{', '.join(channels)}, got {shape}"
            )
        if stain is not None and stain not in channels:
            raise ChannelError(
                f"control image {n}: no channel {stain!r}; the stain is named by the channel that "
                f"shows it: {', '.join(channels)}"
            )


@dataclass(frozen=True, kw_only=True)
class _Slopes:
    slopes: FloatArray  # slope, low, high by channel
    n_pixels: int
    reason: str


def _block_sums(image: NDArray[Any], own: int, saturation: float | None, block: int) -> FloatArray:
    """Per block: n, cov(h, channel) for each channel, var(h), var(own).

    Blocks span all slices of a stack, whose structures are the same ones.
    """
    stack = image if image.ndim == 4 else image[:, None]
    n_channels, _, height, width = stack.shape
    limit = _limit(image, saturation)
    rows, columns = -(-height // block), -(-width // block)
    index = (np.arange(height) // block)[:, None] * columns + np.arange(width) // block
    flat = index.ravel()
    n_blocks = rows * columns
    raw = np.zeros((n_blocks, 2 * n_channels + 4))  # n, h, hh, ii, then c, hc
    shift = [_middle(stack[c]) for c in range(n_channels)]  # near 0, squares keep their digits
    for plane in stack.swapaxes(0, 1):
        pixels = plane.astype(np.float64)
        finite = np.isfinite(pixels).all(axis=0)
        clipped = (pixels >= limit).any(axis=0)
        usable = finite & ~ndimage.binary_dilation(clipped | ~finite, np.ones((3, 3), bool))
        usable[:1] = usable[-1:] = usable[:, :1] = usable[:, -1:] = False
        pixels -= np.array(shift)[:, None, None]
        h = _neighbours(np.where(finite, pixels[own], 0.0))
        values = [np.ones_like(h), h, h * h, pixels[own] ** 2]
        for c in range(n_channels):
            values += [pixels[c], h * pixels[c]]
        for column, value in enumerate(values):
            raw[:, column] += np.bincount(flat, np.where(usable, value, 0.0).ravel(), n_blocks)
    n = raw[:, 0]
    enough = n >= min(_LEAST_PIXELS, block * block // 2)
    raw, n = raw[enough], n[enough]
    mean = raw / n[:, None] if len(raw) else raw
    means, products = mean[:, 4::2], mean[:, 5::2]
    covariances = products - mean[:, 1:2] * means
    h_variance = mean[:, 2] - mean[:, 1] ** 2
    own_variance = mean[:, 3] - means[:, own] ** 2
    return np.column_stack([n, covariances, h_variance, own_variance])


def _slopes(
    sums: FloatArray,
    own: int,
    confidence: float,
    n_bootstraps: int,
    rng: np.random.Generator,
) -> _Slopes:
    n_channels = sums.shape[1] - 3
    nothing = np.full((3, n_channels), np.nan)
    n, covariances = sums[:, 0], sums[:, 1:-2]
    noise = np.sqrt(np.maximum(sums[:, -2] * sums[:, -1], 0) / np.maximum(n, 1))
    contrast = covariances[:, own]
    bright = (contrast > _CONTRAST * noise) & (contrast > 0)
    if not bright.any():
        return _Slopes(slopes=nothing, n_pixels=0, reason=_reason(sums))
    n, covariances, contrast = n[bright], covariances[bright], contrast[bright]
    ratios = covariances / contrast[:, None]
    weights = np.sqrt(contrast * n)  # one over the error of a ratio, where noise is alike
    slopes = nothing.copy()
    counts = None
    if len(n) >= _LEAST_BLOCKS:
        counts = rng.multinomial(len(n), np.full(len(n), 1 / len(n)), n_bootstraps)
    tails = [50 * (1 - confidence), 50 * (1 + confidence)]
    for c in range(n_channels):
        order = np.argsort(ratios[:, c], kind="stable")
        ordered, ordered_weights = ratios[order, c], weights[order]
        slopes[0, c] = _weighted_median(ordered, ordered_weights[None])[0]
        if counts is not None:
            resampled = _weighted_median(ordered, ordered_weights * counts[:, order])
            slopes[1:, c] = np.percentile(resampled, tails)
    return _Slopes(slopes=slopes, n_pixels=int(n.sum()), reason="")


def _reason(sums: FloatArray) -> str:
    if not len(sums):
        return "no pixels that are finite and not saturated"
    return "no structure brighter than noise and background"


def _weighted_median(ordered: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted median of sorted values for each row of weights."""
    sums = np.cumsum(weights, axis=1)
    middle = np.argmax(sums >= sums[:, -1:] / 2, axis=1)
    return np.asarray(ordered[middle])


def _neighbours(plane: FloatArray) -> FloatArray:
    """Mean of the 8 pixels around each."""
    around = ndimage.uniform_filter(plane, 3, mode="nearest") * (_NEIGHBOURS + 1)
    return (around - plane) / _NEIGHBOURS


def _limit(image: NDArray[Any], saturation: float | None) -> float:
    if saturation is not None:
        return float(saturation)
    return float(np.iinfo(image.dtype).max) if image.dtype.kind in "iu" else np.inf


def _middle(pixels: NDArray[Any]) -> float:
    finite = pixels[np.isfinite(pixels)]
    return float(finite.mean(dtype=np.float64)) if finite.size else 0.0


def _highest(levels: FloatArray) -> FloatArray:
    """Largest of the finite values of each column."""
    known = np.isfinite(levels)
    highest: FloatArray = np.where(known, levels, -np.inf).max(axis=0, initial=-np.inf)
    highest[~known.any(axis=0)] = np.nan
    return highest
