"""What a careful colleague would ask about the stains, as a table and as warnings."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from aequorea.colocalization.checks import CheckResult, check_channels
from aequorea.errors import AequoreaWarning
from aequorea.pipelines.colocalization.pixel_measures import tidy

if TYPE_CHECKING:
    import pandas as pd

    from aequorea.pipelines.colocalization.background import Subtracted
    from aequorea.pipelines.colocalization.pixel_measures import Track

CHECK_COLUMNS = ("channel_a", "channel_b", "check", "severity", "channel", "value", "message")
_SHOWN = {"warning", "refusal"}
_AFTER_SUBTRACTION = {"offset", "intercept", "threshold"}


def check_table(pixels: Subtracted, *, track: Track) -> pd.DataFrame:
    """Check every pair of stains in every frame, over all regions together.

    Pixels are judged as they came; what background subtraction is to cure is judged after it.

    Parameters
    ----------
    pixels : Subtracted
    track : callable

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
    told: set[tuple[str, str | None]] = set()
    for frame, a, b in track(list(stains.fields())):
        names = stains.names[a], stains.names[b]
        for result in _checks(pixels, frame, a, b):
            rows.append({"frame": frame, **_row(result, names)})
            kind = result.name, result.channel
            if result.level in _SHOWN and kind not in told:
                told.add(kind)
                when = f" (frame {frame})" if stains.n_frames > 1 else ""
                warnings.warn(f"{result.message}{when}", AequoreaWarning, stacklevel=2)
    return tidy(rows, stains, CHECK_COLUMNS)


def _checks(pixels: Subtracted, frame: int, a: int, b: int) -> list[CheckResult]:
    stains = pixels.stains
    names = stains.names[a], stains.names[b]
    labels = stains.regions_at(frame)
    mask = None if labels is None else labels != 0
    if mask is not None and mask.sum() < 2:
        return []
    metadata = {n: dict(stains.images[k].metadata) for n, k in zip(names, (a, b), strict=True)}
    raw = stains.pixels(a, frame), stains.pixels(b, frame)
    results = check_channels(*raw, mask, names=names, metadata=metadata)
    if not any(pixels.levels):
        return results
    cured = check_channels(pixels.pixels(a, frame), pixels.pixels(b, frame), mask, names=names)
    kept = [r for r in results if r.name not in _AFTER_SUBTRACTION]
    return kept + [r for r in cured if r.name in _AFTER_SUBTRACTION]


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
