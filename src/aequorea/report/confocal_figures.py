"""Pictures of confocal stacks: outlines and puncta on channels, distributions, shells, chance."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.report.canvas import (
    ACCENT,
    INK,
    LINE,
    SOFT,
    WARN,
    add_legend,
    new_figure,
    plain_axes,
    printable,
    set_title,
)
from aequorea.report.pictures import fit_to_panel, outlines, paint, scale_bar, stretch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

# Okabe and Ito's colours, told apart by all eyes.
NUCLEUS, CELL = np.array([0.34, 0.71, 0.91]), np.array([0.94, 0.89, 0.26])
PUNCTA = {"cytosol": "#ff7f0e", "nucleus": "#ff9ecf", "outside": "#b8bfc3"}
_WIDTH_IN = 10.6
_ACROSS = 3
_TALLEST_IN = 4.4
_MOST_DOTS = 4000
_SHEET_ACROSS = 6
_CONDITIONS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a7a7a", "#e69f00")
_LIGHTS = {"green": "#1b7f4d", "amber": "#9a6700", "red": "#b3261e"}
_SPOTS = (1.0, 0.25, 1.0)
_DIM_SPOTS = 0.4  # of the range of a projection: its background
_BY_CHANCE = "by chance"  # as the table distribution_curves calls it


def views_figure(
    planes: Mapping[str, NDArray[Any]],
    sections: Mapping[str, NDArray[Any]],
    outlined: tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]],
    puncta: Mapping[str, pd.DataFrame],
    spacing_um: Sequence[float],
    row: int,
) -> Figure:
    """Every channel from above and from the side, with nuclei, cells and puncta.

    Parameters
    ----------
    planes, sections : mapping of name to ndarray, shape (y, x) and (z, x)
        Maximum projections, and a section along ``row``.
    outlined : pair of (nuclei, cells) labels
        From above, and in the section.
    puncta : mapping of name to DataFrame
        ``z_um``, ``y_um``, ``x_um``, ``compartment``; those of a channel are drawn on it.
    spacing_um : (z, y, x), µm
    row : int
        Where the section is.
    """
    height, width = next(iter(planes.values())).shape
    depth = next(iter(sections.values())).shape[0]
    dz, dy, dx = spacing_um
    across = min(_ACROSS, len(planes))
    down = math.ceil(len(planes) / across)
    panel = _WIDTH_IN / across
    above = min(_TALLEST_IN, panel * height * dy / (width * dx))
    side = max(0.25, above * depth * dz / (height * dy))
    figure = new_figure(_WIDTH_IN, (above + side + 0.32) * down)
    figure.set_layout_engine("constrained", hspace=0.0, h_pad=0.03)
    grid = figure.subplots(
        2 * down, across, squeeze=False, gridspec_kw={"height_ratios": [above, side] * down}
    )
    for axes in grid.ravel():
        axes.set_axis_off()
    for k, name in enumerate(planes):
        top, below = grid[2 * (k // across), k % across], grid[2 * (k // across) + 1, k % across]
        _show(top, planes[name], outlined[0], dy / dx)
        set_title(top, name)
        _show(below, sections[name], outlined[1], dz / dx)
        top.axhline(row, color="white", lw=0.5, alpha=0.5, dashes=(4, 4))
        if name in puncta:
            _dots(top, puncta[name], ("y_um", "x_um"), (dy, dx))
            near = puncta[name][(puncta[name]["y_um"] / dy - row).abs() <= max(1.0, dz / dy)]
            _dots(below, near, ("z_um", "x_um"), (dz, dx))
        scale_bar(top, (height, width), (dy, dx))
    return figure


def _show(
    axes: Axes, plane: NDArray[Any], outlined: tuple[NDArray[Any], NDArray[Any]], aspect: float
) -> None:
    shown = stretch(fit_to_panel(plane))
    picture = np.repeat(0.9 * shown[..., None], 3, axis=-1)
    for labels, colour in zip(outlined, (NUCLEUS, CELL), strict=True):
        picture = paint(picture, outlines(fit_to_panel(labels, labels=True)), colour)
    height, width = plane.shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(picture, extent=extent, aspect=aspect, interpolation="antialiased")


def _dots(
    axes: Axes, puncta: pd.DataFrame, columns: tuple[str, str], spacing: tuple[float, float]
) -> None:
    shown = puncta.head(_MOST_DOTS)
    for part, colour in PUNCTA.items():
        own = shown[shown["compartment"] == part]
        y, x = (own[c].to_numpy(float) / s for c, s in zip(columns, spacing, strict=True))
        axes.plot(x, y, "o", ms=3.2, mfc="none", mec=colour, mew=0.6, ls="none")


def cdf_figure(table: pd.DataFrame, names: Mapping[str, str], xlabel: str) -> Figure:
    """Distribution functions of every cell, their mean, and what chance gives, for each role.

    Parameters
    ----------
    table : DataFrame
        Rows of one measure of the table ``distributions``.
    names : mapping of role to str
    xlabel : str
    """
    roles = list(dict.fromkeys(table["role"]))
    figure, panels = panels_for(len(roles))
    for role, axes in zip(roles, panels, strict=True):
        own = table[table["role"] == role]
        plain_axes(axes, xlabel=xlabel, ylabel="cumulative fraction", title=names[role])
        for _, cell in own.groupby("cell"):
            axes.plot(cell["value"], cell["observed"], color=ACCENT, lw=0.7, alpha=0.35)
        grid = np.unique(own["value"].to_numpy(float))
        for column, style, colour, label in (
            ("observed", "-", ACCENT, "mean of cells"),
            ("by_chance", "--", INK, "even in the cytosol"),
            ("membrane", ":", SOFT, "membrane"),
        ):
            if own[column].notna().any():
                mean = _mean_curve(own, column, grid)
                axes.plot(grid, mean, style, color=colour, lw=1.8, label=label)
        axes.set_ylim(0, 1.02)
        axes.set_xlim(0, float(grid.max()))
        axes.axhline(0.5, color=LINE, lw=0.8, zorder=0)
        add_legend(axes, loc="lower right")
    return figure


def _mean_curve(own: pd.DataFrame, column: str, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each cell with weight 1; beyond its largest distance it has reached 1."""
    curves = own.pivot_table(index="value", columns="cell", values=column).reindex(grid)
    return np.asarray(curves.ffill().fillna(0.0).mean(axis=1), dtype=np.float64)


def shells_figure(table: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """What shells of equal volume hold, over an even share, from the nucleus outwards."""
    roles = list(dict.fromkeys(table["role"]))
    figure, panels = panels_for(len(roles))
    for role, axes in zip(roles, panels, strict=True):
        own = table[(table["role"] == role) & table["ratio"].notna()]
        plain_axes(
            axes,
            xlabel="shell of equal volume, from the nucleus",
            ylabel="observed over even share",
            title=names[role],
        )
        for _, cell in own.groupby("cell"):
            axes.plot(cell["shell"], cell["ratio"], color=ACCENT, lw=0.7, alpha=0.35)
        mean = own.groupby("shell")["ratio"].mean()
        axes.plot(mean.index, mean, "o-", color=ACCENT, lw=1.8, ms=4)
        axes.axhline(1, color=INK, lw=1.0, dashes=(4, 3))
        axes.set_xticks(range(1, int(table["shell"].max()) + 1))
        axes.set_ylim(bottom=0)
    return figure


def depth_figure(table: pd.DataFrame, fits: pd.DataFrame) -> Figure:
    """Mean of each channel in the cells, plane by plane, with the fit of an exponential."""
    roles = list(dict.fromkeys(table["role"]))
    figure, panels = panels_for(len(roles))
    for role, axes in zip(roles, panels, strict=True):
        own, fit = table[table["role"] == role], fits[fits["role"] == role].iloc[0]
        plain_axes(
            axes,
            xlabel="depth (µm)",
            ylabel="mean in cells above background",
            title=str(fit["channel"]),
        )
        axes.plot(own["z_um"], own["mean_in_cells"], "o", color=ACCENT, ms=3.5)
        clear = np.isfinite(float(fit["half_depth_high_um"]))
        told = f"half is lost in {fit['half_depth_um']:.3g} µm" if clear else "no clear loss"
        if own["fit"].notna().any():
            axes.plot(own["z_um"], own["fit"], color=INK, lw=1.4, label=told)
        seen = own["mean_in_cells"].to_numpy(float)
        axes.set_ylim(min(0.0, float(np.nanmin(seen))), 1.35 * max(float(np.nanmax(seen)), 1e-9))
        add_legend(axes, loc="upper right")
    return figure


def chance_figure(table: pd.DataFrame, names: Mapping[str, str], what: str) -> Figure:
    """Observed over expected of each cell, with how far chance alone spreads it."""
    roles = list(dict.fromkeys(table["role"]))
    figure, panels = panels_for(len(roles))
    for role, axes in zip(roles, panels, strict=True):
        own = table[(table["role"] == role) & table["ratio"].notna()].sort_values("ratio")
        plain_axes(axes, xlabel=what, ylabel="cell", title=names[role])
        place = np.arange(len(own))
        ratio = own["ratio"].to_numpy(float)
        low, high = own["chance_low"].to_numpy(float), own["chance_high"].to_numpy(float)
        axes.hlines(place, low, high, color=SOFT, lw=4, alpha=0.5)
        axes.plot(ratio, place, "o", color=ACCENT, ms=4.5)
        axes.axvline(1, color=INK, lw=1.0, dashes=(4, 3))
        labels = own["cell"].astype(str) if len(own) <= 25 else []
        axes.set_yticks(place if len(labels) else [], labels)
        axes.set_ylim(-0.7, max(len(own), 1) - 0.3)
    return figure


def point_curves_figure(table: pd.DataFrame, names: Mapping[str, str], curve: str) -> Figure:
    """L(r) − r or G of every cell, for each kind and pair of kinds, with the null's envelope.

    Parameters
    ----------
    table : DataFrame
        The table ``point_curves``.
    names : mapping of role to str
    curve : {"L", "G"}
        G is drawn as its difference from what the null expects.
    """
    own = table[table["curve"] == curve]
    kinds = list(own[["role", "other"]].drop_duplicates().itertuples(index=False, name=None))
    figure, panels = panels_for(len(kinds))
    for (role, other), axes in zip(kinds, panels, strict=True):
        cells = own[(own["role"] == role) & (own["other"] == other)].copy()
        if curve == "G":
            expected = cells["expected"].to_numpy(float)
            for column in ("observed", "low", "high", "expected"):
                cells[column] = cells[column].to_numpy(float) - expected
        shown = names.get(role, role)
        plain_axes(
            axes,
            xlabel="r (µm)",
            ylabel="L(r) − r (µm)" if curve == "L" else "G(r) − expected",
            title=f"{shown} to {names.get(other, other)}" if other else shown,
        )
        grid = np.linspace(0, float(cells.groupby("cell")["r_um"].max().median()), 60)[1:]
        curves = {c: _on_grid(cells, c, grid) for c in ("observed", "expected", "low", "high")}
        axes.fill_between(
            grid,
            _mean_of_known(curves["low"]),
            _mean_of_known(curves["high"]),
            color=SOFT,
            alpha=0.25,
            lw=0,
            label="by chance, one cell",
        )
        for _, cell in cells.groupby("cell"):
            leaves = ((cell["observed"] < cell["low"]) | (cell["observed"] > cell["high"])).any()
            colour = ACCENT if leaves else SOFT
            near = cell[cell["r_um"] <= grid[-1]]
            axes.plot(near["r_um"], near["observed"], color=colour, lw=0.7, alpha=0.55)
        axes.plot(grid, _mean_of_known(curves["observed"]), color=ACCENT, lw=1.8, label="mean")
        axes.plot(
            grid, _mean_of_known(curves["expected"]), "--", color=INK, lw=1.3, label="expected"
        )
        axes.set_xlim(0, grid[-1])
        add_legend(axes, loc="lower right" if curve == "L" else "upper right")
    return figure


def _on_grid(cells: pd.DataFrame, column: str, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each cell's curve, shape (cells, grid); NaN beyond its own radii."""
    return np.array(
        [
            np.interp(grid, c["r_um"], c[column], left=np.nan, right=np.nan)
            for _, c in cells.groupby("cell")
        ]
    )


def _mean_of_known(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the cells at each radius that at least half of them have."""
    known = np.isfinite(curves)
    mean = np.full(curves.shape[1], np.nan)
    many = known.sum(axis=0) >= max(1, (len(curves) + 1) // 2)
    mean[many] = np.nanmean(curves[:, many], axis=0)
    return mean


def elbow_figure(
    curves: pd.DataFrame, thresholds: Mapping[str, float], names: Mapping[str, str]
) -> Figure:
    """Number of candidates above each threshold, and the threshold in force."""
    roles = list(dict.fromkeys(curves["role"]))
    figure, panels = panels_for(len(roles))
    for role, axes in zip(roles, panels, strict=True):
        own = curves[(curves["role"] == role) & (curves["n_above"] > 0)]
        plain_axes(
            axes,
            xlabel="threshold (SD of the noise)",
            ylabel="puncta at or above it",
            title=names[role],
        )
        axes.plot(own["threshold"], own["n_above"], color=ACCENT, lw=1.6)
        axes.axvline(thresholds[role], color=WARN, lw=1.2, dashes=(4, 3), label="in force")
        axes.set_yscale("log")
        axes.set_xlim(0, max(3 * thresholds[role], 10))
        add_legend(axes, loc="upper right")
    return figure


def condition_curves_figure(table: pd.DataFrame, names: Mapping[str, str], xlabel: str) -> Figure:
    """Mean distributions of animals and conditions, beside what chance gives.

    Parameters
    ----------
    table : DataFrame
        Rows of one measure of the table ``distribution_curves``.
    names : mapping of role to str
    xlabel : str
    """
    roles = list(dict.fromkeys(table["role"]))
    figure, panels = panels_for(len(roles))
    colours = dict(
        zip(dict.fromkeys(table["condition"]), itertools.cycle(_CONDITIONS), strict=False)
    )
    for role, axes in zip(roles, panels, strict=True):
        plain_axes(axes, xlabel=xlabel, ylabel="cumulative fraction", title=names.get(role, role))
        for condition, own in table[table["role"] == role].groupby("condition", sort=False):
            colour = colours[condition]
            for animal, curve in own.groupby("animal", sort=False):
                x, y = curve["value"].to_numpy(float), curve["cdf"].to_numpy(float)
                if animal == _BY_CHANCE:
                    axes.plot(x, y, color=colour, lw=1.2, dashes=(4, 3))
                elif animal:
                    axes.plot(x, y, color=colour, lw=0.8, alpha=0.45)
                else:
                    axes.plot(x, y, color=colour, lw=2.0, label=printable(str(condition)))
                    if curve["low"].notna().any():
                        low, high = curve["low"].to_numpy(float), curve["high"].to_numpy(float)
                        axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
        axes.set_ylim(0, 1.02)
        axes.set_xlim(0, float(table[table["role"] == role]["value"].max()))
        axes.axhline(0.5, color=LINE, lw=0.8, zorder=0)
        add_legend(axes, loc="lower right")
    return figure


@dataclass(frozen=True, eq=False, kw_only=True)
class SheetTile:
    """One image on a contact sheet.

    Attributes
    ----------
    title : str
    plane, spots : ndarray, shape (y, x)
        In grey, and on top in magenta, if any.
    labels : sequence of ndarray or None
        Of nuclei and cells.
    light : {"green", "amber", "red"}
        The colour of the title, which says it in words, too.
    """

    title: str
    plane: NDArray[Any]
    spots: NDArray[Any] | None
    labels: Sequence[NDArray[Any] | None]
    light: str


def contact_sheet(tiles: Sequence[SheetTile]) -> Figure:
    """Small pictures of all images with outlines of nuclei and cells."""
    across = min(_SHEET_ACROSS, len(tiles))
    down = math.ceil(len(tiles) / across)
    size = _WIDTH_IN / _SHEET_ACROSS
    figure = new_figure(size * across, (size + 0.22) * down)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, tile in zip(panels, tiles, strict=False):
        grey = 0.9 if tile.spots is None else 0.6
        picture = np.repeat(grey * stretch(fit_to_panel(tile.plane))[..., None], 3, axis=-1)
        if tile.spots is not None:
            bright = (stretch(fit_to_panel(tile.spots)) - _DIM_SPOTS) / (1 - _DIM_SPOTS)
            picture = np.maximum(picture, np.clip(bright, 0, 1)[..., None] * np.array(_SPOTS))
        for found, colour in zip(tile.labels, (NUCLEUS, CELL), strict=True):
            if found is not None:
                picture = paint(picture, outlines(fit_to_panel(found, labels=True)), colour)
        axes.imshow(picture, interpolation="antialiased")
        set_title(axes, printable(tile.title, 24), color=_LIGHTS[tile.light])
    return figure


def panels_for(n: int) -> tuple[Figure, Sequence[Axes]]:
    """A figure with n panels side by side, three in a row."""
    across = min(_ACROSS, n)
    down = math.ceil(n / across)
    figure = new_figure(max(4.6, _WIDTH_IN * across / _ACROSS), 3.1 * down)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[n:]:
        axes.set_visible(False)
    return figure, list(panels[:n])
