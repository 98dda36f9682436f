"""Pictures of how a movie moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from aequorea.report.canvas import (
    ACCENT,
    INK,
    MAGENTA,
    SOFT,
    WARN,
    add_legend,
    new_figure,
    plain_axes,
    set_title,
)
from aequorea.report.pictures import CONTRAST_PERCENT, fit_to_panel, scale_bar

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["component_figure", "likeness_figure", "means_figure", "motion_figure"]

_DETAIL = 4  # of the shorter side: the part that is enlarged
_COARSE_SD = 5
_MOST_POINTS = 4000


def means_figure(
    before: NDArray[Any], after: NDArray[Any], pixel_um: tuple[float | None, float | None]
) -> Figure:
    """Two images in the same grey levels, whole and in part.

    Parameters
    ----------
    before, after : ndarray, shape (y, x)
    pixel_um : (float or None, float or None), µm
    """
    low, high = np.percentile(after, CONTRAST_PERCENT)
    part = _most_detailed(after)
    ratio = after.shape[0] / after.shape[1]
    width = 9.6
    figure = new_figure(width, min(11.0, width * ratio) + 0.5)
    axes = figure.subplots(2, 2, squeeze=False)
    for column, (image, title) in enumerate(((before, "before"), (after, "after"))):
        whole, detail = axes[:, column]
        for panel, pixels in ((whole, fit_to_panel(image)), (detail, image[part])):
            panel.imshow(pixels, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            panel.set_axis_off()
        set_title(whole, title)
        step = whole.get_images()[0].get_array().shape[0] / image.shape[0]
        _frame(whole, part, step)
        shown = tuple(None if p is None else p / step for p in pixel_um)
        scale_bar(whole, whole.get_images()[0].get_array().shape, shown)  # type: ignore[arg-type]
        scale_bar(detail, image[part].shape, pixel_um)
    return figure


def motion_figure(frames: pd.DataFrame) -> Figure:
    """Shifts along y and x, and deviations of places, over time."""
    time, label = _time(frames)
    bent = bool((frames["largest_deviation_px"] > 0).any())
    figure = new_figure(9.6, 3.9 if bent else 2.6)
    rows = figure.subplots(2 if bent else 1, 1, squeeze=False, sharex=True)[:, 0]
    shown = _thinned(len(frames))
    axes = plain_axes(rows[0], xlabel="" if bent else label, ylabel="shift (px)")
    for axis, color in (("y", ACCENT), ("x", MAGENTA)):
        axes.plot(
            time[shown],
            frames[f"shift_{axis}_px"].to_numpy()[shown],
            color=color,
            lw=0.8,
            label=axis,
        )
    _marks(axes, time, frames)
    add_legend(axes, loc="upper right")
    if bent:
        axes = plain_axes(rows[1], xlabel=label, ylabel="deviation (px)")
        axes.plot(time[shown], frames["largest_deviation_px"].to_numpy()[shown], color=INK, lw=0.8)
        axes.set_ylim(bottom=0)
    rows[0].set_xlim(time[0], time[-1])
    return figure


def likeness_figure(frames: pd.DataFrame) -> Figure:
    """Correlation with the reference over time, before and after."""
    time, label = _time(frames)
    figure = new_figure(9.6, 2.6)
    axes = plain_axes(figure.subplots(), xlabel=label, ylabel="correlation")
    shown = _thinned(len(frames))
    for name, color in (("before", SOFT), ("after", ACCENT)):
        values = frames[f"correlation_{name}"].to_numpy()
        axes.plot(time[shown], values[shown], color=color, lw=0.8, label=name)
    _marks(axes, time, frames)
    axes.set_xlim(time[0], time[-1])
    add_legend(axes, loc="lower right")
    return figure


def component_figure(shifts: pd.DataFrame) -> Figure:
    """Shift between the ends of each principal component."""
    figure = new_figure(4.6, 2.6)
    axes = plain_axes(figure.subplots(), xlabel="principal component", ylabel="shift (px)")
    axes.plot(shifts["component"], shifts["shift_px"], "o-", color=ACCENT, ms=3.5, lw=0.9)
    axes.set_ylim(0, max(0.5, 1.1 * float(shifts["shift_px"].max())))
    axes.set_xticks(shifts["component"].to_numpy())
    return figure


def _time(frames: pd.DataFrame) -> tuple[NDArray[np.float64], str]:
    if "time_s" in frames and frames["time_s"].notna().all():
        return frames["time_s"].to_numpy(float), "time (s)"
    return frames["frame"].to_numpy(float), "frame"


def _thinned(n: int) -> slice:
    return slice(None, None, max(1, -(-n // _MOST_POINTS)))


def _marks(axes: Axes, time: NDArray[np.float64], frames: pd.DataFrame) -> None:
    marked = ~frames["good"].to_numpy(bool)
    if marked.any():
        level = np.zeros(int(marked.sum()))
        axes.plot(
            time[marked], level, "|", color=WARN, ms=8, mew=1, clip_on=False,
            transform=axes.get_xaxis_transform(), label="marked",
        )  # fmt: skip


def _most_detailed(image: NDArray[Any]) -> tuple[slice, slice]:
    """The square with most detail a few pixels large."""
    size = max(8, min(image.shape) // _DETAIL)
    pixels = image.astype(np.float64)
    fine = ndimage.gaussian_filter(pixels, 1) - ndimage.gaussian_filter(pixels, _COARSE_SD)
    inside = ndimage.uniform_filter(fine**2, size)
    half = size // 2
    allowed = inside[half : image.shape[0] - half, half : image.shape[1] - half]
    y, x = np.unravel_index(int(allowed.argmax()), allowed.shape)
    return slice(int(y), int(y) + size), slice(int(x), int(x) + size)


def _frame(axes: Axes, part: tuple[slice, slice], step: float) -> None:
    top, bottom, left, right = (step * v - 0.5 for s in part for v in (s.start, s.stop))
    axes.plot(
        [left, right, right, left, left], [top, top, bottom, bottom, top], color="#ffd733", lw=1
    )
