"""Pixel colocalization of every pair of stains, in every region and frame, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.colocalization.analysis import COLUMNS, analyse_pairwise
from aequorea.colocalization.costes import sweep_of, type_limits
from aequorea.colocalization.moments import pair_moments
from aequorea.errors import InputError
from aequorea.pipelines.colocalization.background import per_channel
from aequorea.pipelines.colocalization.region_walk import region_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from aequorea.colocalization.costes import CostesSweep
    from aequorea.pipelines.colocalization.background import Subtracted
    from aequorea.pipelines.colocalization.parameters import PixelParameters
    from aequorea.pipelines.colocalization.stains import Stains

    Track = Callable[[Iterable[tuple[int, int, int]]], Iterator[tuple[int, int, int]]]

EXTRA_METRICS = (
    "pcc_above",
    "pcc_below",
    "m1_plain",
    "m2_plain",
    "kendall",
    "overlap_thresholded",
    "areas",
)
KEYS = ("frame", "region", "region_name", "channel_a", "channel_b")


def pixel_table(pixels: Subtracted, parameters: PixelParameters, *, track: Track) -> pd.DataFrame:
    """All pixel metrics: one row per frame, pair and region, and per slice where asked for.

    Parameters
    ----------
    pixels : Subtracted
    parameters : PixelParameters
    track : callable
        Passes the fields through and counts them.

    Returns
    -------
    DataFrame
        ``frame``, ``region_name``, COLUMNS, further metrics and ``reason``. ``slice`` is empty
        for whole regions. P-values of pixels are NaN (see table ``significance``), except with
        ``compat="napari"``.
    """
    stains = pixels.stains
    rows: list[dict[str, Any]] = []
    for frame, a, b in track(list(stains.fields())):
        pair = pixels.pixels(a, frame), pixels.pixels(b, frame)
        options = _options(stains, parameters, a, b, stains.regions_at(frame))
        found = analyse_pairwise(*pair, **options)
        if parameters.per_slice and "z" in stains.spatial_axes:
            found += analyse_pairwise(*pair, **options, slice_axis=0)
        rows += [{"frame": frame, **row} for row in found]
    return tidy(rows, stains, (*COLUMNS, "reason"))


def _options(
    stains: Stains, parameters: PixelParameters, a: int, b: int, labels: NDArray[Any] | None
) -> dict[str, Any]:
    manual = manual_thresholds(stains, parameters)
    return {
        "label_mask": labels,
        "threshold_method": parameters.threshold,
        "threshold_a": None if manual is None else manual[a],
        "threshold_b": None if manual is None else manual[b],
        "stepper": parameters.stepper,
        "compat": None if parameters.compat == "aequorea" else parameters.compat,
        "channel_a": stains.names[a],
        "channel_b": stains.names[b],
        "extra_metrics": EXTRA_METRICS,
    }


def manual_thresholds(stains: Stains, parameters: PixelParameters) -> tuple[float, ...] | None:
    """The thresholds that were given, one per channel."""
    if parameters.threshold != "manual":
        return None
    return per_channel(parameters.threshold_value or (), stains.names, flag="--threshold-value")


def tidy(rows: list[dict[str, Any]], stains: Stains, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """Rows as a table: keys first, region names filled in, whole numbers whole.

    An empty table still has ``columns``, so that nothing found is a valid result.
    """
    table = pd.DataFrame.from_records(rows)
    if table.empty:
        table = pd.DataFrame(columns=list(dict.fromkeys(("frame", *columns))))
    if "region" in table:
        names = {k: stains.region_names.get(int(k), str(k)) for k in table["region"].unique()}
        table["region_name"] = table["region"].map(names).astype(object)
    if "slice" in table:
        table["slice"] = pd.array(
            [pd.NA if pd.isna(v) else int(v) for v in table["slice"]], dtype="Int64"
        )
    first = [k for k in KEYS if k in table]
    last = [k for k in ("reason",) if k in table]
    middle = [k for k in table if k not in (*first, *last)]
    return table[[*first, *middle, *last]]


def require_finite(stains: Stains, channel: int, frame: int) -> None:
    """Refuse NaN and infinite pixels where they would be measured.

    Raises
    ------
    InputError
        Names the file, the channel and how many there are.
    """
    if stains.images[channel].dtype.kind not in "fc":
        return
    labels = stains.regions_at(frame)
    bad = 0
    for where, pixels in stains.pieces(channel, frame):
        inside = pixels if labels is None else pixels[labels[where] != 0]
        bad += int(inside.size - np.count_nonzero(np.isfinite(inside)))
    if bad:
        place = "the image" if labels is None else "the regions"
        raise InputError(
            f"{stains.images[channel].source}: channel {stains.names[channel]!r} has {bad} NaN or "
            f"infinite pixels in {place}; replace them, or give --regions without them"
        )


CURVE_COLUMNS = (
    "region",
    "channel_a",
    "channel_b",
    "threshold_a",
    "threshold_b",
    "r_below",
    "r_above",
    "m1",
    "m2",
    "n_below",
    "slope",
    "intercept",
    "stepped",
    "reason",
)


_CURVE_VALUES = ("threshold_a", "threshold_b", "r_below", "r_above", "m1", "m2")


def curve_table(pixels: Subtracted, parameters: PixelParameters, *, track: Track) -> pd.DataFrame:
    """Manders(T) and r(T) along the regression line, for every frame, pair and region.

    Parameters
    ----------
    pixels : Subtracted
    parameters : PixelParameters
        ``curve_points`` of the levels are kept, evenly spread, the ends included.
    track : callable

    Returns
    -------
    DataFrame
        One row per level; one with a ``reason`` for a region that has no curve.
    """
    stains = pixels.stains
    rows: list[dict[str, Any]] = []
    for frame, a, b in track(list(stains.fields())):
        pair = pixels.pixels(a, frame), pixels.pixels(b, frame)
        head = {"frame": frame, "channel_a": stains.names[a], "channel_b": stains.names[b]}
        limits = type_limits(pair[0].dtype, pair[1].dtype)
        for region, x, y in region_pixels(*pair, stains.regions_at(frame)):
            sweep = sweep_of(x, y, pair_moments(x, y), limits=limits)
            rows += curve_rows(sweep, {**head, "region": region}, parameters.curve_points)
    return tidy(rows, stains, CURVE_COLUMNS)


def curve_rows(sweep: CostesSweep, head: dict[str, Any], points: int) -> list[dict[str, Any]]:
    """Rows of one curve: ``points`` of its levels, or one row that says why there are none."""
    n_levels = len(sweep.thresholds_a)
    line = {"slope": sweep.slope, "intercept": sweep.intercept, "stepped": sweep.stepped}
    if not n_levels:
        nothing = dict.fromkeys((*_CURVE_VALUES, "n_below"), np.nan)
        return [{**head, **nothing, **line, "reason": sweep.reason}]
    kept = np.unique(np.linspace(0, n_levels - 1, min(points, n_levels)).round().astype(int))
    columns = {
        "threshold_a": sweep.thresholds_a,
        "threshold_b": sweep.thresholds_b,
        **{name: getattr(sweep, name) for name in _CURVE_VALUES[2:]},
    }
    return [
        {
            **head,
            **{name: float(values[k]) for name, values in columns.items()},
            "n_below": int(sweep.n_below[k]),
            **line,
            "reason": "",
        }
        for k in kept
    ]
