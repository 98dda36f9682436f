"""What a careful colleague would ask about the stains, as a table and as warnings."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.colocalization.checks import CheckResult, check_channels
from aequorea.errors import AequoreaWarning
from aequorea.pipelines.colocalization.pixel_measures import tidy

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from aequorea.pipelines.colocalization.background import Subtracted
    from aequorea.pipelines.colocalization.pixel_measures import Track
    from aequorea.pipelines.colocalization.stains import Stains

CHECK_COLUMNS = ("channel_a", "channel_b", "check", "severity", "channel", "value", "message")
_SHOWN = {"warning", "refusal"}
_AFTER_SUBTRACTION = {"offset", "intercept", "threshold"}
_OF_PAIRS = {"identical", "zero-zero", "empty-area", "bleed-through", "intercept", "threshold"}
# A symmetric background falls below its mode with just under half of its pixels.
_CLIPPED_WARNING = 0.5
_NEAR_MAXIMUM = 0.9  # of the range of intensities


def check_table(pixels: Subtracted, *, track: Track, most_px: int | None = None) -> pd.DataFrame:
    """Check every pair of stains in every frame, over all regions together.

    Pixels are judged as they came; what background subtraction is to cure is judged after it.

    Parameters
    ----------
    pixels : Subtracted
    track : callable
    most_px : int, optional
        Look at no more pixels than this at once: whole planes around the one with most of the
        regions in it (the middle one without regions), or a window of that plane. Every message
        then says what was looked at.

    Returns
    -------
    DataFrame
        One row per finding, "ok" ones included.

    Warns
    -----
    AequoreaWarning
        For each kind of finding that can make a number mislead, once.
    """
    stains = pixels.stains
    rows: list[dict[str, Any]] = []
    told: set[tuple[str, ...]] = set()
    seen: set[tuple[int, CheckResult]] = set()
    for frame, a, b in track(list(stains.fields())):
        names = stains.names[a], stains.names[b]
        where = None if most_px is None else sample_window(stains, frame, most_px)
        for result in _checks(pixels, frame, a, b, where):
            finding = _named(result, names, stains, frame)
            if finding.channel is not None and (frame, finding) in seen:
                continue
            seen.add((frame, finding))
            rows.append({"frame": frame, **_row(finding, names)})
            of_pair = names if result.channel is None or result.name in _OF_PAIRS else ()
            kind = (result.name, result.channel or "", *of_pair)
            if result.level in _SHOWN and kind not in told:
                told.add(kind)
                warnings.warn(finding.message, AequoreaWarning, stacklevel=2)
    return tidy(rows, stains, CHECK_COLUMNS)


def _named(result: CheckResult, names: tuple[str, str], stains: Stains, frame: int) -> CheckResult:
    """The finding with the pair and the frame in its message, where there are several."""
    message = result.message
    if (
        len(stains.names) > 2
        and (result.channel is None or result.name in _OF_PAIRS)
        and not all(name in message for name in names)
    ):
        message += f" ({names[0]} and {names[1]})"
    if stains.n_frames > 1:
        message += f" (frame {frame})"
    if math.isnan(result.value):  # one NaN, so that equal findings compare equal
        return replace(result, message=message, value=math.nan)
    return replace(result, message=message)


def sample_window(stains: Stains, frame: int, most_px: int) -> tuple[slice, ...]:
    """A part of a field of at most ``most_px`` pixels, where the regions are, else in the middle.

    Whole planes while one fits; else a window of one plane, at least 64 pixels wide.
    """
    shape = stains.spatial_shape
    labels = stains.regions_at(frame)
    centre = [n // 2 for n in shape]
    if labels is not None and labels.any():
        planes = labels.reshape(-1, *shape[-2:])
        fullest = int(np.argmax([np.count_nonzero(plane) for plane in planes]))
        inside = np.nonzero(planes[fullest])
        centre = [fullest] * (len(shape) - 2) + [int(np.median(at)) for at in inside]
    plane_px = shape[-1] * shape[-2]
    if len(shape) == 3 and most_px >= plane_px:
        depth = min(shape[0], most_px // plane_px)
        return (_around(centre[0], depth, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    shrink = min(1.0, (most_px / plane_px) ** 0.5)
    sides = [min(n, max(64, int(n * shrink))) for n in shape[-2:]]
    rows, columns = (
        _around(c, side, n) for c, side, n in zip(centre[-2:], sides, shape[-2:], strict=True)
    )
    return (*(slice(c, c + 1) for c in centre[:-2]), rows, columns)


def _around(centre: int, length: int, size: int) -> slice:
    start = min(max(0, centre - length // 2), size - length)
    return slice(start, start + length)


def _checks(
    pixels: Subtracted, frame: int, a: int, b: int, where: tuple[slice, ...] | None
) -> list[CheckResult]:
    """Findings about one pair; about a part of it, they say so."""
    found = _findings(pixels, frame, a, b, where)
    part = "" if where is None else _worded(where, pixels.stains)
    if not part:
        return found
    seen = f"the image exceeds the memory budget, so the input checks looked at {part} only"
    return [
        CheckResult(name="extent", level="note", value=float("nan"), message=seen),
        *(replace(result, message=f"{result.message} (looked at {part} only)") for result in found),
    ]


def _worded(where: tuple[slice, ...], stains: Stains) -> str:
    parts = [
        f"{axis} {part.start}–{part.stop - 1} of 0–{size - 1}"
        for axis, part, size in zip(stains.spatial_axes, where, stains.spatial_shape, strict=True)
        if part.stop - part.start < size
    ]
    return ", ".join(parts)


def _findings(
    pixels: Subtracted, frame: int, a: int, b: int, where: tuple[slice, ...] | None
) -> list[CheckResult]:
    stains = pixels.stains
    names = stains.names[a], stains.names[b]
    labels = stains.regions_at(frame)
    mask = None if labels is None else (labels if where is None else labels[where]) != 0
    if mask is not None and mask.sum() < 2:
        nothing = "input checks left out: fewer than two pixels lie in regions"
        return [CheckResult(name="regions", level="note", value=float("nan"), message=nothing)]
    metadata = {n: dict(stains.images[k].metadata) for n, k in zip(names, (a, b), strict=True)}
    raw = stains.pixels(a, frame, where), stains.pixels(b, frame, where)
    results = check_channels(*raw, mask, names=names, metadata=metadata)
    if not any(pixels.levels):
        return results
    less = pixels.pixels(a, frame, where), pixels.pixels(b, frame, where)
    cured = check_channels(*less, mask, names=names)
    subtraction = [
        _subtraction_check(raw[k], less[k], mask, name=names[k], level=pixels.levels[channel])
        for k, channel in enumerate((a, b))
        if pixels.levels[channel]
    ]
    emptied = {r.channel for r in subtraction if r.name == "signal"}
    kept = [
        r
        for r in results
        if r.name not in _AFTER_SUBTRACTION and not (r.name == "signal" and r.channel in emptied)
    ]
    return kept + subtraction + [r for r in cured if r.name in _AFTER_SUBTRACTION]


def _subtraction_check(
    raw: NDArray[Any],
    less: NDArray[Any],
    mask: NDArray[np.bool_] | None,
    *,
    name: str,
    level: float,
) -> CheckResult:
    """Whether the background that was subtracted can have been background."""
    before, after = (raw, less) if mask is None else (raw[mask], less[mask])
    clipped = float(np.mean(before < level))
    if not after.any():
        message = f"background removed all signal of {name} ({level:g} subtracted everywhere)"
        return CheckResult("signal", "warning", 0.0, message, name)
    low, high = float(before.min()), float(before.max())
    if level > low + _NEAR_MAXIMUM * (high - low):
        message = f"the background of {name} ({level:g}) is near its maximum ({high:g})"
    elif clipped > _CLIPPED_WARNING:
        message = f"{clipped:.0%} of {name} lies below its background ({level:g}) and became 0"
    else:
        message = f"{clipped:.0%} of {name} lies below its background ({level:g})"
        return CheckResult("background", "ok", clipped, message, name)
    message += "; is that background? Give --background-value or a percentile"
    return CheckResult("background", "warning", clipped, message, name)


def _row(result: CheckResult, names: tuple[str, str]) -> dict[str, Any]:
    return {
        "channel_a": names[0],
        "channel_b": names[1],
        "check": result.name,
        "severity": result.level,
        "channel": result.channel or "",
        "value": float(result.value),
        "message": result.message,
    }
