"""Pictures of counted cells: outlines on images, galleries, positives against the threshold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib import patheffects
from matplotlib.patches import Rectangle

from aequorea.report.canvas import (
    ACCENT,
    INK,
    add_legend,
    new_figure,
    plain_axes,
    printable,
    set_title,
)
from aequorea.report.cells_views import NEGATIVE, NOT_COUNTED, POSITIVE
from aequorea.report.numbers import number
from aequorea.report.pictures import (
    fit_to_panel,
    outlines,
    overlay,
    paint,
    scale_bar_um,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from aequorea.report.cells_views import FieldView

# Okabe and Ito's colours, told apart by all eyes; marker objects are dashed besides.
_COLOURS = {POSITIVE: "#f0a000", NEGATIVE: "#56b4e9", NOT_COUNTED: "#b8bfc3"}
_CELL, _MARKER, _REGION = "#3ddbb0", "#ff9ecf", "#f0e442"
_LineStyle = Literal["-"] | tuple[float, tuple[float, float]]
_WIDTH_IN = 10.6
_ALONE_IN = 7.2
_TALLEST_IN = 6.4
_PANORAMA = 2.2
_DENSE = 0.1
_DIMMED = 0.85
#: With more cells, their labels would hide them.
MOST_NUMBERS = 90
_MOST_REGIONS = 40
_LONGEST_NAME = 24
_DASH_PX = 6
GALLERY = 12
_GALLERY_PX = 150
_GAP_PX = 8
_HALO = [patheffects.withStroke(linewidth=2.0, foreground="black")]


def rgb(colour: str) -> NDArray[np.float64]:
    """A hex colour as numbers from 0 to 1.

    Examples
    --------
    >>> rgb("#ff0033").tolist()
    [1.0, 0.0, 0.2]
    """
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def overlay_figure(view: FieldView, part: tuple[slice, slice] | None = None) -> Figure:
    """Every channel with the outlines of cells, marker objects and regions.

    Parameters
    ----------
    view : FieldView
    part : tuple of slice, optional
        Rows and columns to show; the whole field, with the close-up framed, if not given.

    Returns
    -------
    Figure
        A scale bar where the pixel size is known; cells are numbered where there is room.
    """
    window = part or (slice(None), slice(None))
    height, width = view.rois[window].shape
    y_um, x_um = view.image.pixel_um
    aspect = y_um / x_um if y_um and x_um else 1.0
    roles = list(view.names)
    across = 1 if len(roles) == 1 or width / (height * aspect) > _PANORAMA else 2
    down = math.ceil(len(roles) / across)
    full = _ALONE_IN if len(roles) == 1 else _WIDTH_IN
    tall = min(_TALLEST_IN, full / across * height * aspect / width)
    figure = new_figure(full, (tall + 0.28) * down + 0.32)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    top, left = (s.start or 0 for s in window)
    extent = (left - 0.5, left + width - 0.5, top + height - 0.5, top - 0.5)
    for axes in panels[len(roles) :]:
        axes.set_visible(False)
    for role, axes in zip(roles, panels, strict=False):
        picture = _outlined(view, role, window)
        axes.imshow(picture, extent=extent, aspect=aspect, interpolation="antialiased")
        axes.set_axis_off()
        set_title(axes, view.names[role])
        _scale_bar(axes, extent, x_um if y_um else None)
    if part is None:
        _frame(panels[0], view.close_up)
    if not view.whole:
        _number_regions(panels[0], view, window)
    if part is not None or view.close_up is None:
        _number_cells(panels[0], view, extent)
    _explain_colours(panels[0], view)
    return figure


def _outlined(view: FieldView, role: str, window: tuple[slice, slice]) -> NDArray[np.float64]:
    """One channel in grey, painted over."""
    low, high = view.limits[role]
    grey = _DIMMED * _scaled(fit_to_panel(view.planes[role][window]), low, high)
    picture = np.repeat(grey[..., None], 3, axis=-1)
    if not view.whole:
        regions = _line(outlines(fit_to_panel(view.rois[window], labels=True)))
        picture = paint(picture, regions, rgb(_REGION))
    cells = fit_to_panel(view.labels["cell"][window], labels=True)
    edge = _line(outlines(cells))
    told = view.classes(role)[_widened(cells, edge)]
    for kind in (NOT_COUNTED, NEGATIVE, POSITIVE):
        colour = _CELL if role == "cell" and kind == NEGATIVE else _COLOURS[kind]
        picture = paint(picture, edge & (told == kind), rgb(colour))
    if role != "cell":
        objects = outlines(fit_to_panel(view.labels[role][window], labels=True))
        picture = paint(picture, _dashed(objects), rgb(_MARKER))
    return picture


def _line(edge: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Two pixels wide, unless lines lie dense."""
    if edge.mean() > _DENSE:
        return edge
    wide = edge.copy()
    wide[1:] |= edge[:-1]
    wide[:, 1:] |= edge[:, :-1]
    return wide


def _widened(labels: NDArray[Any], edge: NDArray[np.bool_]) -> NDArray[Any]:
    """Labels with a margin of one pixel below and to the right, where a wide line lies."""
    grown = labels.copy()
    for near, far in (
        ((slice(1, None),), (slice(None, -1),)),
        ((..., slice(1, None)), (..., slice(None, -1))),
    ):
        bare = edge[near] & (grown[near] == 0)
        grown[near] = np.where(bare, labels[far], grown[near])
    return grown


def _thick(edge: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A line one pixel wider on every side."""
    wide = edge.copy()
    wide[1:] |= edge[:-1]
    wide[:-1] |= edge[1:]
    sideways = wide.copy()
    sideways[:, 1:] |= wide[:, :-1]
    sideways[:, :-1] |= wide[:, 1:]
    return sideways


def _dashed(edge: NDArray[np.bool_], times: int = 1) -> NDArray[np.bool_]:
    diagonal = np.add.outer(np.arange(edge.shape[0]), np.arange(edge.shape[1]))
    length = _DASH_PX * times
    return np.asarray(edge & (diagonal % length < length // 2))


def _scaled(plane: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    values = np.nan_to_num(np.asarray(plane, np.float64), nan=low, posinf=high, neginf=low)
    if high <= low:
        return np.zeros(values.shape)
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _scale_bar(axes: Axes, extent: tuple[float, ...], x_um: float | None) -> None:
    if not x_um:
        return
    left, right, bottom, top = extent
    width = right - left
    length = scale_bar_um(width * x_um)
    ends = [right - 0.04 * width - length / x_um, right - 0.04 * width]
    level = [bottom - 0.05 * (bottom - top)] * 2
    axes.plot(ends, level, color="black", lw=4.4, solid_capstyle="butt")
    axes.plot(ends, level, color="white", lw=2.4, solid_capstyle="butt")
    axes.annotate(
        f"{length:g} µm", (sum(ends) / 2, level[0]), xytext=(0, 4), textcoords="offset points",
        ha="center", va="bottom", color="white", fontsize=9, path_effects=_HALO,
    )  # fmt: skip


def _frame(axes: Axes, part: tuple[slice, slice] | None) -> None:
    """Where the close-up lies."""
    if part is None:
        return
    rows, columns = part
    corner = (columns.start, rows.start)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", lw=1.4))


def _number_regions(axes: Axes, view: FieldView, window: tuple[slice, slice]) -> None:
    """The name of each region at its upper left, or its number."""
    rois = view.rois[window]
    present = np.unique(rois)
    present = present[present > 0]
    if len(present) > _MOST_REGIONS:
        return
    top, left = (s.start or 0 for s in window)
    for region in present:
        rows = np.flatnonzero((rois == region).any(axis=1))
        columns = np.flatnonzero(rois[rows[0]] == region)
        axes.annotate(
            _region_name(view, int(region)), (left + columns[0], top + rows[0]), xytext=(4, -3),
            textcoords="offset points", ha="left", va="top", color=_REGION, fontsize=8,
            path_effects=_HALO,
        )  # fmt: skip


def _region_name(view: FieldView, region: int) -> str:
    name = view.region_names.get(region, f"region {region}")
    return printable(name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…")


def _number_cells(axes: Axes, view: FieldView, extent: tuple[float, ...]) -> None:
    left, right, bottom, top = extent
    cells = view.cells
    y, x = (cells[f"centroid_{a}"].to_numpy(np.float64) for a in "yx")
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)
    if inside.sum() > MOST_NUMBERS:
        return
    for label, row, column in zip(cells["cell_label"][inside], y[inside], x[inside], strict=True):
        axes.text(
            column, row, str(label), color="white", fontsize=6.5, ha="center", va="center",
            path_effects=_HALO, clip_on=True,
        )  # fmt: skip


def _explain_colours(axes: Axes, view: FieldView) -> None:
    """A legend above the figure, of what is in it."""
    several = len(view.names) > 1
    lines: list[tuple[str, str, _LineStyle]] = []
    lines.append(("cell", _CELL, "-"))
    if several:
        lines.append(("positive cell", _COLOURS[POSITIVE], "-"))
        lines.append(("negative cell", _COLOURS[NEGATIVE], "-"))
    if any((view.classes(role) == NOT_COUNTED).any() for role in view.names):
        lines.append(("cell not counted", _COLOURS[NOT_COUNTED], "-"))
    if several:
        lines.append(("marker object", _MARKER, (0, (1.1, 0.7))))
    if not view.whole:
        lines.append(("region", _REGION, "-"))
    for label, colour, style in lines:
        axes.plot([], [], color=colour, lw=2.6, ls=style, label=label)
    add_legend(axes, above=len(lines))


def stability_figure(
    curves: Sequence[pd.DataFrame], labels: Mapping[str, str], names: Sequence[str]
) -> Figure:
    """Positive cells against the threshold, one panel per marker, the one in force marked.

    Parameters
    ----------
    curves : sequence of DataFrame
        Rows of ``stability`` of one marker each.
    labels : mapping of rule to str
        What the threshold of each rule is.
    names : sequence of str
        Of the markers.
    """
    across = min(2, len(curves))
    down = math.ceil(len(curves) / across)
    figure = new_figure(_WIDTH_IN if across == 2 else 5.6, 2.9 * down)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    for curve, name, axes in zip(curves, names, panels, strict=False):
        rule = str(curve["rule"].iloc[0])
        x, y = (curve[c].to_numpy(np.float64) for c in ("threshold", "fraction"))
        plain_axes(axes, xlabel=labels.get(rule, "threshold"), ylabel="positive cells (%)")
        set_title(axes, name)
        axes.plot(x, 100 * y, color=ACCENT, lw=1.5, marker="o", ms=3)
        used = curve["in_force"].to_numpy(bool)
        for at, share in zip(x[used], y[used], strict=True):
            axes.axvline(at, color=INK, lw=1.0, ls=(0, (4, 2)),
                         label=f"in force: {at:.4g}, {100 * share:.1f} % positive")  # fmt: skip
            axes.plot([at], [100 * share], "o", ms=8, mfc="none", mec=INK, mew=1.5)
        if rule in {"union", "best", "contact"} and x.size and x.min() > 0:
            axes.set_xscale("log")
            ticks = [t for t in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if t >= x.min()]
            axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
            axes.minorticks_off()
        highest = float(np.nanmax(y, initial=0.0))
        axes.set_ylim(0, 100 * min(1.05, max(0.1, 1.3 * highest)))
        add_legend(axes, loc="best")
    return figure


def gallery_figure(view: FieldView, role: str, cells: pd.DataFrame, *, side: int) -> Figure:
    """Crops around cells, all at one scale and contrast.

    Parameters
    ----------
    view : FieldView
    role : str
        The marker.
    cells : DataFrame
        Rows of ``cell_summary``, in the order they are shown; the first twelve.
    side : int
        Side of a crop in pixels.

    Returns
    -------
    Figure
        Above: the cell channel in magenta, the marker in green, the cell outlined; below: the
        marker in grey, its objects dashed.
    """
    times = max(1, round(_GALLERY_PX / side))
    shown = side * times
    step = shown + _GAP_PX
    sheet = np.ones((2 * shown + _GAP_PX // 2, GALLERY * step - _GAP_PX, 3))
    limits = {r: view.limits[r] for r in ("cell", role)}
    rows = cells.head(GALLERY)
    for k, cell in enumerate(rows.itertuples(index=False)):
        columns = slice(k * step, k * step + shown)
        both, alone = _two_looks(view, role, cell, side, times, limits)
        sheet[:shown, columns], sheet[-shown:, columns] = both, alone
    ratio = sheet.shape[0] / sheet.shape[1]
    figure = new_figure(_WIDTH_IN, _WIDTH_IN * ratio + 0.42)
    axes = figure.add_subplot()
    axes.imshow(sheet, interpolation="antialiased")
    axes.set_axis_off()
    axes.margins(0)
    x_um = view.image.pixel_um[1] if view.image.pixel_um[0] else None
    _gallery_bar(axes, shown, side, x_um)
    for k, cell in enumerate(rows.itertuples(index=False)):
        margin = float(getattr(cell, f"{role}_margin"))
        told = f" · {number(margin, 2)}×" if math.isfinite(margin) else ""
        axes.text(
            k * step + shown / 2, -0.05 * shown, f"{cell.cell_label}{told}", ha="center",
            va="bottom", fontsize=7.5, color=INK,
        )  # fmt: skip
    return figure


def _two_looks(
    view: FieldView,
    role: str,
    cell: Any,
    side: int,
    times: int,
    limits: Mapping[str, tuple[float, float]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A cell in both channels, and in the marker's."""
    z = round(float(cell.centroid_z)) if view.is_stack else 0
    middle = round(float(cell.centroid_y)), round(float(cell.centroid_x))

    def large(values: NDArray[Any]) -> NDArray[Any]:
        return values.repeat(times, axis=0).repeat(times, axis=1)

    planes = {r: large(_scaled(view.crop(r, z, middle, side), *limits[r])) for r in limits}
    own = _thick(outlines(large(view.crop_labels("cell", z, middle, side) == cell.cell_label)))
    colour = rgb(_COLOURS[POSITIVE if getattr(cell, f"{role}_positive") else NEGATIVE])
    objects = _dashed(_thick(outlines(large(view.crop_labels(role, z, middle, side)))), times=3)
    both = paint(overlay(planes[role], planes["cell"]), own, np.ones(3))
    alone = paint(np.repeat(planes[role][..., None], 3, axis=-1), own, colour)
    return both, paint(alone, objects, rgb(_MARKER))


def _gallery_bar(axes: Axes, shown: int, side: int, x_um: float | None) -> None:
    """A scale bar in the first crop."""
    if not x_um:
        return
    length = scale_bar_um(1.6 * side * x_um)
    pixels = length / x_um * shown / side
    start, level = 0.06 * shown, 0.93 * shown
    axes.plot([start, start + pixels], [level, level], color="white", lw=2.2,
              solid_capstyle="butt")  # fmt: skip
    axes.text(
        start, level - 0.04 * shown, printable(f"{length:g} µm"), color="white", fontsize=6.5,
        ha="left", va="bottom", path_effects=_HALO,
    )  # fmt: skip
