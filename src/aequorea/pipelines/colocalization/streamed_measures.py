"""Pixel tables of images that exceed the memory budget, read piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.blocks.streaming import stream_pairwise, stream_sweep
from aequorea.colocalization.analysis import ALL_METRICS, COLUMNS
from aequorea.errors import InputError
from aequorea.pipelines.colocalization.background import subtract
from aequorea.pipelines.colocalization.pixel_measures import (
    CURVE_COLUMNS,
    curve_rows,
    manual_thresholds,
    tidy,
)
from aequorea.pipelines.run.execution import worded_bytes

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from aequorea.model.lazy import LazyArray
    from aequorea.pipelines.colocalization.background import Subtracted
    from aequorea.pipelines.colocalization.parameters import PixelParameters
    from aequorea.pipelines.colocalization.pixel_measures import Track
    from aequorea.pipelines.colocalization.stains import Stains

# Sixteen float32 pairs per pixel: what the masked null needs at its peak, the most of all steps.
BYTES_PER_PIXEL = 16 * 8

_TEXT = {
    "alternative",
    "axis",
    "check",
    "channel",
    "family",
    "hypothesis",
    "message",
    "metric",
    "note",
    "null",
    "severity",
    "unit_of_inference",
}


def needed_bytes(stains: Stains) -> int:
    """Memory that measuring one frame of one pair takes at its peak."""
    return int(np.prod(stains.spatial_shape, dtype=np.int64)) * BYTES_PER_PIXEL


def left_out_reason(stains: Stains, max_memory_bytes: int) -> str:
    """Why measures that need the whole frame at once are missing."""
    return (
        f"not measured: one frame needs about {worded_bytes(needed_bytes(stains))}, the budget is "
        f"{worded_bytes(max_memory_bytes)} (--max-memory)"
    )


class SubtractedFrame:
    """One channel at one time, less background, read when it is indexed."""

    def __init__(self, pixels: Subtracted, channel: int, frame: int) -> None:
        image = pixels.stains.images[channel]
        self._image = image.isel(t=frame) if "t" in image.axes else image
        self._level = pixels.levels[channel]
        self.shape = self._image.shape
        self.dtype = subtract(np.zeros(1, image.dtype), self._level).dtype

    def __getitem__(self, index: Any) -> NDArray[Any]:
        return subtract(self._image[index], self._level)


def streamed_pixel_table(
    pixels: Subtracted, parameters: PixelParameters, *, max_memory_bytes: int, track: Track
) -> pd.DataFrame:
    """:func:`pixel_table` within a memory budget; what needs all pixels at once is left out.

    Raises
    ------
    InputError
        If the thresholds that were asked for cannot be found piece by piece.
    """
    stains = pixels.stains
    manual = manual_thresholds(stains, parameters)
    why = left_out_reason(stains, max_memory_bytes)
    rows: list[dict[str, Any]] = []
    for frame, a, b in track(list(stains.fields())):
        pair = SubtractedFrame(pixels, a, frame), SubtractedFrame(pixels, b, frame)
        options: dict[str, Any] = {
            "label_mask": stains.regions_at(frame),
            "threshold_method": parameters.threshold,
            "threshold_a": None if manual is None else manual[a],
            "threshold_b": None if manual is None else manual[b],
            "stepper": parameters.stepper,
            "compat": None if parameters.compat == "aequorea" else parameters.compat,
            "channel_a": stains.names[a],
            "channel_b": stains.names[b],
            "max_memory_bytes": max_memory_bytes,
        }
        missing = "srcc" if not _ranks_stream(pair) else ""
        metrics = tuple(m for m in ALL_METRICS if m != missing)
        for row in stream_pairwise(*pair, metrics=metrics, **options):
            gaps = f"{missing or 'values above and below thresholds'} {why}"
            reason = "; ".join(filter(None, (row["reason"], gaps)))
            rows.append({"frame": frame, **row, "reason": reason})
    return tidy(rows, stains, (*COLUMNS, "reason"))


def _ranks_stream(pair: tuple[SubtractedFrame, SubtractedFrame]) -> bool:
    """Whether Spearman's ranks can be looked up by value: 16-bit integers at most."""
    return all(p.dtype.kind in "iu" and p.dtype.itemsize <= 2 for p in pair)


def streamed_curve_table(
    pixels: Subtracted, parameters: PixelParameters, *, max_memory_bytes: int, track: Track
) -> pd.DataFrame:
    """:func:`curve_table` within a memory budget: one region after the other, two passes each."""
    stains = pixels.stains
    rows: list[dict[str, Any]] = []
    for frame, a, b in track(list(stains.fields())):
        pair = SubtractedFrame(pixels, a, frame), SubtractedFrame(pixels, b, frame)
        labels = stains.regions_at(frame)
        for region in stains.region_names:
            mask: LazyArray | None = None if labels is None else _Region(labels, region)
            sweep = stream_sweep(*pair, mask=mask, max_memory_bytes=max_memory_bytes)
            head = {"frame": frame, "region": region, "channel_a": stains.names[a],
                    "channel_b": stains.names[b]}  # fmt: skip
            rows += curve_rows(sweep, head, parameters.curve_points)
    return tidy(rows, stains, CURVE_COLUMNS)


class _Region:
    """One region of a label image, as a mask, piece by piece."""

    def __init__(self, labels: NDArray[Any], region: int) -> None:
        self._labels = labels
        self._region = region
        self.shape = labels.shape
        self.dtype = np.dtype(np.uint8)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        return np.asarray(self._labels[index] == self._region, np.uint8)


def left_out_table(
    stains: Stains, columns: tuple[str, ...], *, max_memory_bytes: int, **facts: Any
) -> pd.DataFrame:
    """One row per region, frame and pair that says why there is nothing else in it."""
    why = left_out_reason(stains, max_memory_bytes)
    rows = [
        {
            "frame": frame,
            **{c: "" if c in _TEXT else np.nan for c in columns},
            **facts,
            "region": region,
            "channel_a": stains.names[a],
            "channel_b": stains.names[b],
            "reason": why,
        }
        for frame, a, b in stains.fields()
        for region in stains.region_names
    ]
    return tidy(rows, stains, columns)


def require_streamable(stains: Stains, parameters: PixelParameters) -> None:
    """Refuse what cannot be measured within the budget, before anything is computed.

    Raises
    ------
    InputError
        For slices one by one.
    """
    if parameters.per_slice and "z" in stains.spatial_axes:
        raise InputError(
            "--per-slice of an image beyond the memory budget cannot be streamed; "
            "raise --max-memory or leave it out"
        )
