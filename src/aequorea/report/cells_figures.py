"""Pictures of counted cells: outlines on images, galleries, positives against the threshold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.report.canvas import ACCENT, INK, SOFT, add_legend, new_figure, plain_axes, set_title
from aequorea.report.pictures import fit_to_panel, outlines, paint, scale_bar_um, stretch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

# Okabe and Ito's colours, told apart by all eyes
POSITIVE, NEGATIVE, MARKER, REGION = "#e69f00", "#56b4e9", "#cc79a7", "#f0e442"
_WIDTH_IN = 10.6
_CROP_MARGIN_PX = 6


def rgb(colour: str) -> NDArray[np.float64]:
    """A hex colour as numbers from 0 to 1."""
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def outlined(
    plane: NDArray[Any], layers: Sequence[tuple[NDArray[Any], str]]
) -> NDArray[np.float64]:
    """A grey plane with the outlines of label images, each in its colour, the last in front."""
    grey = np.repeat(stretch(fit_to_panel(plane))[..., None], 3, axis=-1)
    for labels, colour in layers:
        edge = outlines(fit_to_panel(labels, labels=True))
        grey = paint(grey, edge, rgb(colour))
    return grey


def overlay_figure(
    panels: Sequence[tuple[str, NDArray[Any], Sequence[tuple[NDArray[Any], str]]]],
    pixel_um: tuple[float | None, float | None],
) -> Figure:
    """Channels side by side with outlines, and a scale bar where the pixel size is known."""
    height, width = panels[0][1].shape
    y_um, x_um = pixel_um
    aspect = (y_um / x_um) if y_um and x_um else 1.0
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    panel_in = _WIDTH_IN / columns
    figure = new_figure(_WIDTH_IN, min(7.5, panel_in * height * aspect / width) * rows + 0.3 * rows)
    for k, (title, plane, layers) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, k + 1)
        picture = outlined(plane, layers)
        axes.imshow(picture, interpolation="nearest", aspect=aspect)
        set_title(axes, title)
        axes.set_axis_off()
        if x_um:
            _scale_bar(axes, picture.shape, width * x_um)
    return figure


def _scale_bar(axes: Axes, shape: tuple[int, ...], width_um: float) -> None:
    length = scale_bar_um(width_um)
    pixels = length / width_um * shape[1]
    x, y = shape[1] * 0.97 - pixels, shape[0] * 0.96
    axes.plot([x, x + pixels], [y, y], color="white", lw=3, solid_capstyle="butt")
    axes.text(
        x + pixels / 2, y - 0.015 * shape[0], f"{length:g} µm", color="white", ha="center",
        va="bottom", fontsize=8.5,
    )  # fmt: skip


def stability_figure(table: pd.DataFrame) -> Figure:
    """Positive fraction against the threshold, one line per marker, the one in force marked."""
    figure = new_figure(5.6, 3.2)
    axes = plain_axes(
        figure.add_subplot(),
        xlabel="threshold of the score",
        ylabel="positive cells (%)",
    )
    colours = (ACCENT, POSITIVE, MARKER, NEGATIVE, INK, SOFT)
    for k, (marker, rows) in enumerate(table.groupby("marker", sort=False)):
        colour = colours[k % len(colours)]
        x, y = rows["threshold"].to_numpy(float), 100 * rows["fraction"].to_numpy(float)
        axes.plot(x, y, color=colour, lw=1.6, marker="o", ms=2.5, label=str(marker))
        used = rows["in_force"].to_numpy(bool)
        axes.plot(x[used], y[used], "o", ms=8, mfc="none", mec=colour, mew=1.8)
    positive = table["threshold"].to_numpy(float)
    if positive.size and positive.min() > 0 and positive.max() / positive.min() > 20:
        axes.set_xscale("log")
    axes.set_ylim(0, 100)
    add_legend(axes)
    return figure


def gallery_figure(
    cells: pd.DataFrame,
    planes: tuple[NDArray[Any], NDArray[Any]],
    labels: tuple[NDArray[Any], NDArray[Any]],
    *,
    columns: int = 12,
) -> Figure:
    """Crops around cells: the cell channel above, the marker below, with their outlines.

    Parameters
    ----------
    cells : DataFrame
        ``cell_label`` and ``cell_voxels`` of those that are shown, in order.
    planes : (cell channel, marker channel), shape (y, x)
    labels : (cells, marker objects), shape (y, x)
    columns : int
    """
    shown = cells.head(columns)
    grey = [stretch(p) for p in planes]
    figure = new_figure(_WIDTH_IN, 2.05)
    for k, label in enumerate(shown["cell_label"].to_numpy()):
        box = _box(labels[0], int(label))
        for row, plane in enumerate(grey):
            axes = figure.add_subplot(2, columns, row * columns + k + 1)
            crop = np.repeat(plane[box][..., None], 3, axis=-1)
            crop = paint(crop, outlines(labels[0][box] == label), rgb(POSITIVE))
            if row == 1:
                crop = paint(crop, outlines(labels[1][box]), rgb(MARKER))
            axes.imshow(crop, interpolation="nearest")
            axes.set_axis_off()
            if row == 0:
                axes.set_title(str(label), fontsize=7.5, color=INK, pad=2)
    return figure


def _box(labels: NDArray[Any], label: int) -> tuple[slice, slice]:
    """A square around a cell with some margin, cut at the edges of the image."""
    rows, columns = np.nonzero(labels == label)
    if not rows.size:
        return slice(0, 1), slice(0, 1)
    middle = (rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2
    half = max(np.ptp(rows), np.ptp(columns)) // 2 + _CROP_MARGIN_PX
    return (
        slice(max(0, middle[0] - half), middle[0] + half + 1),
        slice(max(0, middle[1] - half), middle[1] + half + 1),
    )
