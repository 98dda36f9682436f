"""What a careful colleague would ask about two channels before believing their correlation."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from aequorea.colocalization.channel_pair import ChannelPair, numeric_image, region_of
from aequorea.colocalization.costes import costes_regression, costes_threshold
from aequorea.errors import AxisMismatchError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["CheckResult", "Level", "check_channels"]

Level = Literal["ok", "note", "warning", "refusal"]
Plane = npt.NDArray[np.float64]

_FULL_SCALE = tuple(2**bits - 1 for bits in (8, 10, 11, 12, 13, 14, 15, 16))
_SATURATED_WARNING, _SATURATED_NOTE = 0.01, 0.0001
_ZERO_ZERO_WARNING = 0.10  # as Coloc 2
_OFFSET_WARNING = 0.10
_INTERCEPT_NOTE = 0.10  # Coloc 2 speaks up from 1 %, which nearly every image reaches
_ABOVE_WARNING = 0.95  # share of pixels above a threshold that then separates nothing
_BELOW_R = 0.1  # Costes' threshold is where r of the pixels below is 0
_BLEED_R2, _BLEED_RISE = 0.9, 1.0
# Measured on simulated cells of 96-256 px: clean, 8-bit, smoothed and enlarged images stay below
# z = 1.8, JPEG of quality 75 reaches 12-17 and of quality 85 3-11 (256 px).
_JPEG_EXCESS, _JPEG_Z = 0.01, 4.5
_FINE_POWER = 0.3
# Share of 8 px blocks that are dark and without texture in both channels. Cells on a dark
# background reach 0.3-0.5, fields of texture, noise or single molecules 0.0-0.2.
_EMPTY_WARNING, _EMPTY_LEVEL, _EMPTY_BLOCK = 0.25, 0.15, 8
_LARGEST_PLANE = 1024  # px; grids and noise look the same in a part of a larger plane
_ENVELOPE_PIXELS = 500_000  # evenly strided; the 5 % quantile of a bin needs no more
_WORDS = {
    "projection": re.compile(
        r"max(imum)?[ _-]*(intensity)?[ _-]*proj\w*|\bz[ _-]?proj\w*|\bmip\b"
        r"|(?<![a-z0-9])max_[^/\\'\"]*\.(tiff?|png|zip)"  # ImageJ's title of a projection
    ),
    "deconvolution": re.compile(r"deconv\w*|huygens|richardson.?lucy|airyscan process\w*"),
}


@dataclass(frozen=True)
class CheckResult:
    """Outcome of one check.

    ``level`` is "ok", "note" (worth knowing), "warning" (a number may mislead) or "refusal" (a
    number would be meaningless). ``value`` is the measured quantity, NaN where it could not be
    measured. ``channel`` names the channel, or is ``None`` where the check concerns both.
    """

    name: str
    level: Level
    value: float
    message: str
    channel: str | None = None


def check_channels(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    mask: npt.ArrayLike | None = None,
    *,
    names: tuple[str, str] = ("A", "B"),
    metadata: Mapping[str, Any] | str | None = None,
    bit_depth: int | None = None,
    thresholds: tuple[float, float] | None = None,
) -> list[CheckResult]:
    """Look for what makes a colocalization number wrong before it is computed.

    Parameters
    ----------
    a, b : array_like
        Same-shape intensity images, 2D or 3D.
    mask : array_like, optional
        Non-zero where pixels count. Checks of the acquisition (JPEG, interpolation) look at the
        whole plane.
    names : tuple of str
        Names of the channels in the messages.
    metadata : mapping or str, optional
        What the file says about itself; searched for projection and deconvolution.
    bit_depth : int, optional
        Bits of the detector, where it is less than the file's dtype holds (12 in a 16-bit file).
    thresholds : tuple of float, optional
        Thresholds of both channels to judge; Costes' by default.

    Returns
    -------
    list of CheckResult
        One per check and channel, "ok" ones included, in a fixed order. After a refusal for
        missing values or signal, the checks that would need them are left out.

    Raises
    ------
    AxisMismatchError
        If shapes differ.
    InputError
        If an image is empty or not numeric, the mask has fewer than two pixels, or ``bit_depth``
        is no bit depth.

    Notes
    -----
    What is measured and when it speaks up:

    finite : NaN or infinite pixels in the region (refusal).
    signal : a constant channel (refusal).
    identical : the channels are copies of each other up to gain and offset (refusal).
    saturation : fraction of pixels at full scale (``bit_depth``, else a full-scale value or the
        channel maximum if pixels pile up there); note from 0.01 %, warning from 1 %.
    negatives : fraction below zero (warning); Manders and overlap are undefined.
    offset : 1st percentile over mean (warning from 10 %); plain M1/M2 then measure the offset.
    zero-zero : fraction of pixels dark in both channels (warning from 10 %).
    empty-area : without a mask, share of 8 px blocks dark and without texture in both channels
        (warning from 25 %): cells on a dark background align by being the same cells.
    bleed-through : the 5 % lower envelope of one channel, over bins of the other's brighter
        half; a straight rise (R² > 0.9) beyond the spread of the darkest bin is what spectral
        bleed-through makes, and also what complete colocalization makes (warning).
    jpeg : excess of neighbour differences across every 8th pixel, in both axes (warning); sees
        quality 75 and below in planes of 256 px.
    interpolation : noise power at the finest scale over that at half of it (note below 0.3);
        raw camera noise is white, interpolation and filters remove its finest part.
    deconvolution, projection : words in the metadata (warning); many exact zeros without noise,
        skewed background noise (note: there are other causes).
    intercept : the regression line meets the axis beyond 10 % of the mean (note); Coloc 2 warns
        from 1 %.
    threshold : above the mean, or undefined (note), as Coloc 2; below the minimum, exceeded by
        more than 95 % of the pixels, or Costes' where the pixels below still correlate beyond
        0.1 in r (warning).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.poisson(50, (2, 64, 64))
    >>> [r.name for r in check_channels(a, b) if r.level == "warning"]
    ['offset', 'offset']
    """
    _require_bit_depth(bit_depth)
    pair = _unchecked_pair(a, b, mask)
    refusals = _refusals(pair, names)
    results = list(refusals)
    if any(result.level == "refusal" for result in refusals):
        return results
    for image, values, name in zip(pair[:2], pair.values(), names, strict=True):
        results += _channel_checks(image, values, name, bit_depth)
    results += _pair_checks(pair, names, thresholds)
    results += _metadata_checks(metadata)
    return results


def _require_bit_depth(bit_depth: int | None) -> None:
    if bit_depth is not None and not 1 <= bit_depth <= 64:
        raise InputError(f"bit_depth: expected 1 to 64 bits, found {bit_depth!r}")


def _unchecked_pair(a: npt.ArrayLike, b: npt.ArrayLike, mask: npt.ArrayLike | None) -> ChannelPair:
    """The pair with its shapes checked; values may be anything, that is for the checks to say."""
    image_a, image_b = (
        image.astype(np.uint8) if image.dtype == np.bool_ else image
        for image in (numeric_image(a, "channel a"), numeric_image(b, "channel b"))
    )
    if image_a.shape != image_b.shape:
        raise AxisMismatchError(
            f"shape mismatch: channel a is {image_a.shape}, channel b is {image_b.shape}; "
            "give two images of the same field"
        )
    return ChannelPair(image_a, image_b, region_of(mask, image_a.shape))


def _refusals(pair: ChannelPair, names: tuple[str, str]) -> list[CheckResult]:
    results = []
    for values, name in zip(pair.values(), names, strict=True):
        n_bad = int(values.size - np.count_nonzero(np.isfinite(values)))
        results.append(_finite_check(n_bad, name))
        if not n_bad:
            results.append(_signal_check(values, name))
    if all(result.level == "ok" for result in results):
        results.append(_identical_check(pair, names))
    return results


def _finite_check(n_bad: int, name: str) -> CheckResult:
    if n_bad:
        message = f"{name} has {n_bad} NaN or infinite pixels in the region; mask or replace them"
        return CheckResult("finite", "refusal", float(n_bad), message, name)
    return CheckResult("finite", "ok", 0.0, f"all pixels of {name} are finite", name)


def _signal_check(values: npt.NDArray[Any], name: str) -> CheckResult:
    low, high = float(values.min()), float(values.max())
    if low == high:
        what = "is empty" if high == 0 else f"is {high:g} everywhere"
        message = f"{name} {what} in the region; a correlation is undefined"
        return CheckResult("signal", "refusal", 0.0, message, name)
    return CheckResult("signal", "ok", high - low, f"{name} spans {low:g} to {high:g}", name)


def _identical_check(pair: ChannelPair, names: tuple[str, str]) -> CheckResult:
    a, b = (values.astype(np.float64) for values in pair.values())
    a, b = a - a.mean(), b - b.mean()
    r = float(np.clip(a @ b / math.sqrt((a @ a) * (b @ b)), -1, 1))
    if a.size > 2 and 1.0 - abs(r) < 1e-9:
        message = (
            f"{names[0]} and {names[1]} are the same image up to gain and offset; "
            "was one channel chosen or exported twice?"
        )
        return CheckResult("identical", "refusal", r, message)
    return CheckResult("identical", "ok", r, f"{names[0]} and {names[1]} are two different images")


def _channel_checks(
    image: npt.NDArray[Any], values: npt.NDArray[Any], name: str, bit_depth: int | None
) -> list[CheckResult]:
    plane = _representative_plane(image)
    return [
        _saturation_check(values, name, bit_depth),
        _negatives_check(values, name),
        _offset_check(values, name),
        _jpeg_check(plane, name),
        _interpolation_check(plane, name),
        _smooth_zeros_check(values, plane, name),
        _skewed_background_check(plane, name),
    ]


def _saturation_check(values: npt.NDArray[Any], name: str, bit_depth: int | None) -> CheckResult:
    full_scale = 2.0**bit_depth - 1.0 if bit_depth is not None else _plateau(values)
    if full_scale is None:
        return CheckResult(
            "saturation", "ok", 0.0, f"no pixels of {name} pile up at their maximum", name
        )
    fraction = float(np.mean(values >= full_scale))
    level: Level = "ok"
    if fraction >= _SATURATED_NOTE:
        level = "warning" if fraction >= _SATURATED_WARNING else "note"
    message = f"{fraction:.2%} of {name} is saturated (at or above {full_scale:g})"
    if level != "ok":
        message += "; intensities there are unknown: record with less gain or mask them"
    return CheckResult("saturation", level, fraction, message, name)


def _plateau(values: npt.NDArray[Any]) -> float | None:
    """The value at which pixels pile up, if that is the largest value present."""
    largest = values.max()
    at_largest = int(np.count_nonzero(values == largest))
    span = float(largest) - float(values.min())
    just_below = int(np.count_nonzero(values > float(largest) - 0.05 * span)) - at_largest
    if values.dtype.kind in "ui":
        full_scale = int(largest) in _FULL_SCALE or largest == np.iinfo(values.dtype).max
        if full_scale and at_largest > 1:
            return float(largest)
    piled = at_largest >= max(10, 1e-4 * values.size) and at_largest > just_below
    return float(largest) if piled else None


def _negatives_check(values: npt.NDArray[Any], name: str) -> CheckResult:
    fraction = float(np.mean(values < 0))
    if fraction > 0:
        message = (
            f"{fraction:.2%} of {name} is negative; Manders and overlap coefficients are "
            "undefined: subtract less background or clip knowingly"
        )
        return CheckResult("negatives", "warning", fraction, message, name)
    return CheckResult("negatives", "ok", 0.0, f"{name} has no negative pixels", name)


def _offset_check(values: npt.NDArray[Any], name: str) -> CheckResult:
    floor, mean = float(np.percentile(values, 1)), float(values.mean())
    share = floor / mean if mean > 0 else 0.0
    if share > _OFFSET_WARNING:
        message = (
            f"{name} does not go below {floor:g} ({share:.0%} of its mean): offset or background; "
            "subtract it before plain M1/M2, overlap, k1 or k2"
        )
        return CheckResult("offset", "warning", share, message, name)
    return CheckResult(
        "offset", "ok", share, f"the floor of {name} is {floor:g}, {share:.0%} of its mean", name
    )


def _representative_plane(image: npt.NDArray[Any]) -> Plane | None:
    """Middle of the y-x plane with most signal, NaN filled; None if too small to judge."""
    if image.ndim < 2 or min(image.shape[-2:]) < 32:
        return None
    planes = image.reshape(-1, *image.shape[-2:])
    totals = [float(np.nansum(plane, dtype=np.float64)) for plane in planes]
    whole = planes[int(np.argmax(totals))]
    middle = [max(0, (n - _LARGEST_PLANE) // 2) for n in whole.shape]
    part = tuple(slice(start, start + _LARGEST_PLANE) for start in middle)
    plane: Plane = whole[part].astype(np.float64)
    bad = ~np.isfinite(plane)
    if bad.all():
        return None
    plane[bad] = np.median(plane[~bad])
    return plane


def _too_small(check: str, name: str) -> CheckResult:
    message = f"{name} is too small to judge (planes of at least 32 × 32 px are needed)"
    return CheckResult(check, "ok", math.nan, message, name)


def _jpeg_check(plane: Plane | None, name: str) -> CheckResult:
    if plane is None:
        return _too_small("jpeg", name)
    excesses, scores = zip(*(_blockiness(p) for p in (plane, plane.T)), strict=True)
    excess, score = min(excesses), sum(scores) / math.sqrt(2.0)
    if excess > _JPEG_EXCESS and score > _JPEG_Z:
        message = (
            f"{name} shows the 8 × 8 px grid of JPEG compression (differences {excess:.0%} larger "
            "across it); correlations of lossy images mislead: use the original file"
        )
        return CheckResult("jpeg", "warning", excess, message, name)
    return CheckResult("jpeg", "ok", excess, f"{name} shows no 8 × 8 px grid", name)


def _blockiness(plane: Plane) -> tuple[float, float]:
    """Excess of |differences| along x at the strongest of 8 phases over the next, and its z.

    Differences are capped at three times their median, so that noise counts and structure does
    not; taking the next-strongest phase spares the period-2 pattern of enlarged images.
    """
    steps = np.abs(np.diff(plane, axis=1))
    cap = 3.0 * float(np.median(steps))
    if cap > 0.0:
        steps = np.minimum(steps, cap)
    usual = float(steps.mean())
    if usual == 0.0:
        return 0.0, 0.0
    columns = (steps[:, 1:-1] - 0.5 * (steps[:, :-2] + steps[:, 2:])).mean(axis=0)
    phases = np.arange(1, columns.size + 1) % 8
    typical = np.array([np.median(columns[phases == p]) for p in range(8)])
    second, strongest = np.argsort(typical)[-2:]
    excess = float(typical[strongest] - typical[second])
    spread = 1.2533 * float(columns[phases != strongest].std())  # SE of a median
    error = spread / math.sqrt(np.count_nonzero(phases == strongest))
    return excess / usual, excess / error if error > 0.0 else 0.0


def _interpolation_check(plane: Plane | None, name: str) -> CheckResult:
    if plane is None:
        return _too_small("interpolation", name)
    share = min(_fine_power(plane), _fine_power(plane.T))
    if share < _FINE_POWER:
        message = (
            f"{name} has {share:.0%} of the expected noise at the finest scale: interpolated, "
            "filtered, denoised or compressed; neighbouring pixels are not independent"
        )
        return CheckResult("interpolation", "note", share, message, name)
    message = f"the noise of {name} reaches the finest scale ({share:.0%})"
    return CheckResult("interpolation", "ok", share, message, name)


def _fine_power(plane: Plane) -> float:
    """Power along x at 0.43-0.5 over that at 0.25-0.32 cycles per pixel."""
    rows = plane - plane.mean(axis=1, keepdims=True)
    power = np.mean(np.abs(np.fft.rfft(rows * np.hanning(rows.shape[1]), axis=1)) ** 2, axis=0)
    frequency = np.fft.rfftfreq(rows.shape[1])
    middle = float(power[(frequency > 0.25) & (frequency < 0.32)].mean())
    fine = float(power[frequency > 0.43].mean())
    return fine / middle if middle > 0 else 1.0


def _smooth_zeros_check(values: npt.NDArray[Any], plane: Plane | None, name: str) -> CheckResult:
    zeros = float(np.mean(values == 0))
    if plane is not None and zeros > 0.2 and _noise_share(plane) < 0.01:
        message = (
            f"{zeros:.0%} of {name} is exactly zero beside signal without noise: deconvolved, "
            "thresholded or denoised? Intensities of such images are not counts"
        )
        return CheckResult("deconvolution", "note", zeros, message, name)
    return CheckResult("deconvolution", "ok", zeros, f"{name} does not look deconvolved", name)


def _noise_share(plane: Plane) -> float:
    """Variance of the noise (from the mask [1 −2 1] ⊗ [1 −2 1]) over that of the bright pixels."""
    second = np.diff(np.diff(plane, 2, axis=0), 2, axis=1)
    inner = plane[1:-1, 1:-1]
    bright = inner > inner.mean()
    if np.count_nonzero(bright) < 16:
        return 1.0
    spread = float(inner[bright].var())
    return float(np.mean(second[bright] ** 2)) / 36.0 / spread if spread > 0 else 1.0


def _skewed_background_check(plane: Plane | None, name: str) -> CheckResult:
    if plane is None:
        return _too_small("projection", name)
    skewness, spread = _background_skewness(plane)
    if skewness > 0.35 and spread > 5.0:
        message = (
            f"the background noise of {name} is skewed ({skewness:.2f}), as in a maximum "
            "projection (or at very low light); projected structures overlap by chance"
        )
        return CheckResult("projection", "note", skewness, message, name)
    return CheckResult(
        "projection", "ok", skewness, f"the background of {name} is no hint of a projection", name
    )


def _background_skewness(plane: Plane) -> tuple[float, float]:
    """Skewness and SD of the darkest tiles of 8 × 8 px, outliers cut; 0 if clipped at black."""
    height, width = (8 * (n // 8) for n in plane.shape)
    grid = plane[:height, :width].reshape(height // 8, 8, width // 8, 8)
    tiles = grid.swapaxes(1, 2).reshape(-1, 64)
    dark = tiles[np.argsort(tiles.mean(axis=1))[: max(4, len(tiles) // 5)]]
    if np.mean(dark == plane.min()) > 0.02:
        return 0.0, 0.0
    noise = (dark - np.median(dark, axis=1, keepdims=True)).reshape(-1)
    reach = 4.0 * 1.4826 * float(np.median(np.abs(noise)))
    noise = noise[np.abs(noise) <= reach]
    spread = float(noise.std()) if noise.size else 0.0
    return (float(stats.skew(noise)), spread) if spread > 0 else (0.0, 0.0)


def _pair_checks(
    pair: ChannelPair, names: tuple[str, str], thresholds: tuple[float, float] | None
) -> list[CheckResult]:
    a, b = pair.values()
    return [
        _zero_zero_check(a, b, names),
        *_empty_area_checks(pair, names),
        _bleed_check(a, b, names),
        _bleed_check(b, a, names[::-1]),
        _intercept_check(pair, names),
        *_threshold_checks(pair, names, thresholds),
    ]


def _zero_zero_check(
    a: npt.NDArray[Any], b: npt.NDArray[Any], names: tuple[str, str]
) -> CheckResult:
    share = float(np.mean((a == 0) & (b == 0)))
    if share > _ZERO_ZERO_WARNING:
        message = (
            f"{share:.0%} of the pixels are zero in both {names[0]} and {names[1]}; they inflate "
            "Pearson's r and Spearman's ρ: restrict the analysis to the cells"
        )
        return CheckResult("zero-zero", "warning", share, message)
    return CheckResult("zero-zero", "ok", share, f"{share:.1%} of the pixels are zero in both")


def _empty_area_checks(pair: ChannelPair, names: tuple[str, str]) -> list[CheckResult]:
    """Without a region, how much of the field lies outside the cells."""
    if pair.mask is not None:
        return []
    planes = _representative_plane(pair.a), _representative_plane(pair.b)
    if planes[0] is None or planes[1] is None:
        return []
    share = float(np.mean(_empty_blocks(planes[0]) & _empty_blocks(planes[1])))
    if share > _EMPTY_WARNING:
        message = (
            f"{share:.0%} of the field is empty in both {names[0]} and {names[1]}: over the whole "
            "image, lying in the same cells already counts as alignment; give the cells as regions"
        )
        return [CheckResult("empty-area", "warning", share, message)]
    return [CheckResult("empty-area", "ok", share, f"{share:.1%} of the field is empty in both")]


def _empty_blocks(plane: Plane) -> npt.NDArray[np.bool_]:
    """Blocks of a plane that are nearly as dark as the darkest and nearly without texture."""
    rows, columns = (n // _EMPTY_BLOCK for n in plane.shape)
    cut = plane[: rows * _EMPTY_BLOCK, : columns * _EMPTY_BLOCK]
    blocks = cut.reshape(rows, _EMPTY_BLOCK, columns, _EMPTY_BLOCK)
    mean, spread = blocks.mean(axis=(1, 3)), blocks.std(axis=(1, 3))
    low, high = np.quantile(mean, [0.05, 0.95])
    dark = mean <= low + _EMPTY_LEVEL * (high - low)
    smooth = spread <= _EMPTY_LEVEL * np.quantile(spread, 0.95)
    return np.asarray(dark & smooth)


def _bleed_check(
    source: npt.NDArray[Any], target: npt.NDArray[Any], names: tuple[str, str]
) -> CheckResult:
    """Ask whether the lower envelope of ``target`` rises in a straight line with ``source``."""
    step = 1 + source.size // _ENVELOPE_PIXELS
    envelope = _lower_envelope(source[::step].astype(np.float64), target[::step].astype(np.float64))
    if envelope is None:
        message = f"too few bright pixels to look for bleed-through of {names[0]} into {names[1]}"
        return CheckResult("bleed-through", "ok", math.nan, message, names[1])
    level_of_source, floor, spread = envelope
    fit = stats.linregress(level_of_source, floor)
    rise = fit.slope * float(np.ptp(level_of_source))
    if fit.slope > 0 and fit.rvalue**2 > _BLEED_R2 and rise > _BLEED_RISE * spread:
        message = (
            f"{names[1]} is never dark where {names[0]} is bright (floor rises by {fit.slope:.3f} "
            f"per unit of {names[0]}): bleed-through or complete colocalization; "
            "a single-stained control tells which"
        )
        return CheckResult("bleed-through", "warning", float(fit.slope), message, names[1])
    message = f"no sign of bleed-through of {names[0]} into {names[1]}"
    return CheckResult("bleed-through", "ok", float(fit.slope), message, names[1])


def _lower_envelope(source: Plane, target: Plane) -> tuple[Plane, Plane, float] | None:
    """Bin means of source, 5 % quantiles of target there, and target's spread in the first bin."""
    low, high = np.percentile(source, [50.0, 99.8])
    edges = np.linspace(low, high, 13)
    if not high > low:
        return None
    which = np.digitize(source, edges) - 1
    levels, floors, spread = [], [], 0.0
    for k in range(12):
        inside = which == k
        if np.count_nonzero(inside) < 40:
            continue
        values = target[inside]
        levels.append(float(source[inside].mean()))
        floors.append(float(np.percentile(values, 5)))
        if len(levels) == 1:
            spread = float(np.percentile(values, 50) - np.percentile(values, 5))
    if len(levels) < 5:
        return None
    return np.array(levels), np.array(floors), spread


def _intercept_check(pair: ChannelPair, names: tuple[str, str]) -> CheckResult:
    slope, intercept = costes_regression(pair.a, pair.b, pair.mask)
    mean = float(pair.values()[1].mean())
    ratio = intercept / mean if mean else math.nan
    if not math.isfinite(slope) or not math.isfinite(ratio):
        return CheckResult("intercept", "note", math.nan, "the channels have no regression line")
    if abs(ratio) > _INTERCEPT_NOTE:
        message = (
            f"the regression line meets the axis of {names[1]} far from zero "
            f"({ratio:.0%} of its mean): background, or no linear relation"
        )
        return CheckResult("intercept", "note", ratio, message)
    return CheckResult("intercept", "ok", ratio, "the regression line passes near zero")


def _threshold_checks(
    pair: ChannelPair, names: tuple[str, str], thresholds: tuple[float, float] | None
) -> Iterable[CheckResult]:
    source = "Costes'" if thresholds is None else "the given"
    levels = costes_threshold(pair.a, pair.b, pair.mask) if thresholds is None else thresholds
    below = _r_below(pair, levels) if thresholds is None else math.nan
    for threshold, values, name in zip(levels, pair.values(), names, strict=True):
        value = float(threshold)
        if not math.isfinite(value):
            message = f"{source} threshold of {name} is undefined; thresholded Manders will be NaN"
            yield CheckResult("threshold", "note", math.nan, message, name)
        elif value > float(values.mean()):
            message = f"{source} threshold of {name} ({value:g}) is above its mean"
            yield CheckResult("threshold", "note", value, message, name)
        elif value < float(values.min()):
            message = f"{source} threshold of {name} ({value:g}) is below its minimum: too low"
            yield CheckResult("threshold", "warning", value, message, name)
        elif (above := float(np.mean(values > value))) > _ABOVE_WARNING:
            message = (
                f"{above:.0%} of the pixels of {name} lie above {source} threshold ({value:g}): it "
                "lies within the background; M1/M2 say little"
            )
            yield CheckResult("threshold", "warning", value, message, name)
        elif abs(below) > _BELOW_R:
            message = (
                f"the pixels below {source} threshold of {name} ({value:g}) still correlate "
                f"(r = {below:.2f}): it was not found; M1/M2 say little"
            )
            yield CheckResult("threshold", "warning", value, message, name)
        else:
            message = f"{source} threshold of {name} is {value:g}"
            yield CheckResult("threshold", "ok", value, message, name)


def _r_below(pair: ChannelPair, levels: tuple[float, float]) -> float:
    """Pearson's r of the pixels below either threshold; NaN where it is undefined."""
    a, b = (values.astype(np.float64) for values in pair.values())
    below = (a < levels[0]) | (b < levels[1])
    a, b = a[below], b[below]
    if a.size < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def _metadata_checks(metadata: Mapping[str, Any] | str | None) -> list[CheckResult]:
    if metadata is None:
        return []
    text = str(metadata).lower()
    advice = {
        "projection": "structures of different depth overlap by chance: use the stack",
        "deconvolution": "intensities are no longer counts: compare with the raw image",
    }
    results = []
    for name, words in _WORDS.items():
        found = words.search(text)
        if found is None:
            results.append(CheckResult(name, "ok", 0.0, f"the metadata mention no {name}"))
        else:
            message = f'the metadata mention "{found.group()}": {advice[name]}'
            results.append(CheckResult(name, "warning", 1.0, message))
    return results
