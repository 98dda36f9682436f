"""Graphs of a colocalization result: arrays in, figure out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, LogNorm

from aequorea.report.canvas import (
    ACCENT,
    GREEN,
    INK,
    LINE,
    MAGENTA,
    SOFT,
    WARN,
    WASH,
    add_legend,
    new_figure,
    plain_axes,
    printable,
)
from aequorea.report.numbers import fixed, number, p_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

_DENSITY = LinearSegmentedColormap.from_list(
    "density", ["#e3eff0", "#9cc9cc", "#4a9aa3", "#1f6377", "#15324b", "#0c1226"]
)
_AXIS_COLOURS = {"x": ACCENT, "y": "#c06a12", "z": "#5b4aa0"}
_HALF = (4.7, 3.5)


def cytofluorogram(
    counts: ArrayLike,
    edges_a: ArrayLike,
    edges_b: ArrayLike,
    *,
    names: tuple[str, str],
    lines: Sequence[tuple[float, float]] = (),
    thresholds: Sequence[tuple[float, float]] = (),
) -> Figure:
    """How often each pair of intensities occurs, with regression and threshold lines.

    Parameters
    ----------
    counts : array_like, shape (na, nb)
        Pixels per bin, channel A along the first axis.
    edges_a, edges_b : array_like, shape (na + 1,), (nb + 1,), grey levels
    names : tuple of str
    lines : sequence of (slope, intercept)
        Orthogonal regression ``b = slope * a + intercept``, one per region.
    thresholds : sequence of (threshold_a, threshold_b)
        One pair per region.
    """
    table = np.asarray(counts, dtype=np.float64)
    a, b = np.asarray(edges_a, dtype=np.float64), np.asarray(edges_b, dtype=np.float64)
    figure = new_figure(*_HALF)
    axes = plain_axes(
        figure.subplots(), xlabel=f"{names[0]} (grey levels)", ylabel=f"{names[1]} (grey levels)"
    )
    axes.set_xlim(*_filled_range(a, np.asarray(table.any(axis=1))))
    axes.set_ylim(*_filled_range(b, np.asarray(table.any(axis=0))))
    most = float(table.max()) if table.size else 0.0
    if most > 0:
        shown = np.ma.masked_less_equal(table.T, 0)
        norm = LogNorm(1, max(most, 10.0))
        mesh = axes.pcolormesh(a, b, shown, cmap=_DENSITY, norm=norm, rasterized=True)
        bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=30)
        bar.set_label("pixels", fontsize=9, color=INK)
        bar.ax.tick_params(labelsize=8, colors=SOFT, labelcolor=INK)
        bar.outline.set_visible(False)
    faint = max(0.25, 1.0 / max(1, len(lines)) ** 0.5)
    for k, (slope, intercept) in enumerate(_finite(lines)):
        label = "regression" + _each(len(lines))
        axes.plot(a[[0, -1]], slope * a[[0, -1]] + intercept, color=WARN, lw=1.2, alpha=faint,
                  label=None if k else label)  # fmt: skip
    for k, (ta, tb) in enumerate(_finite(thresholds)):
        label = "thresholds"
        axes.axvline(ta, color=INK, lw=1.0, ls=(0, (4, 2)), alpha=faint, label=None if k else label)
        axes.axhline(tb, color=INK, lw=1.0, ls=(0, (4, 2)), alpha=faint)
    add_legend(axes, above=2)
    return figure


def threshold_curves(
    levels: ArrayLike,
    m1: ArrayLike,
    m2: ArrayLike,
    r_below: ArrayLike,
    *,
    names: tuple[str, str],
    chosen: float,
    method: str,
) -> Figure:
    """Manders' coefficients and the correlation below threshold, at every threshold.

    Parameters
    ----------
    levels : array_like, shape (n,), grey levels
        Threshold of channel A; that of B follows on the regression line.
    m1, m2, r_below : array_like, shape (n,)
    names : tuple of str
    chosen : float, grey levels
        The threshold of A in use; NaN if there is none.
    method : str
        How it was chosen.
    """
    x = np.asarray(levels, dtype=np.float64)
    figure = new_figure(10.4, 3.1)
    left, right = figure.subplots(1, 2)
    xlabel = f"threshold of {names[0]} (grey levels)"
    plain_axes(left, xlabel=xlabel, ylabel="Manders' coefficient", title="Manders(T)")
    left.plot(x, m1, color=GREEN, lw=1.6, label=printable(f"M1: share of {names[0]}"))
    left.plot(x, m2, color=MAGENTA, lw=1.6, label=printable(f"M2: share of {names[1]}"))
    left.set_ylim(-0.02, 1.02)
    plain_axes(right, xlabel=xlabel, ylabel="Pearson r", title="r of the pixels below T")
    right.axhline(0, color=LINE, lw=0.9)
    right.plot(x, r_below, color=ACCENT, lw=1.6)
    for axes in (left, right):
        if math.isfinite(chosen):
            axes.axvline(
                chosen, color=INK, lw=1.0, ls=(0, (4, 2)), label=f"{method}: {number(chosen)}"
            )
    for axes in (left, right):
        add_legend(axes)
    return figure


def null_distribution(
    null: ArrayLike,
    *,
    observed: float,
    expected: float,
    p: float,
    floor: float = 0.0,
    metric: str,
) -> Figure:
    """What the metric would be by chance, and what it is.

    Parameters
    ----------
    null : array_like, shape (n,)
        The metric under each draw of the null.
    observed, expected, p : float
    floor : float
        The smallest p-value that the draws can give.
    metric : str
        Name of the metric, for the axis.
    """
    values = np.asarray(null, dtype=np.float64)
    values = values[np.isfinite(values)]
    figure = new_figure(*_HALF)
    axes = plain_axes(figure.subplots(), xlabel=metric, ylabel="draws of the null")
    if values.size:
        bins = min(50, max(10, round(values.size**0.5)))
        low, high = np.percentile(values, [2.5, 97.5])
        axes.axvspan(low, high, color=WASH, zorder=0, label="95 % of the null")
        axes.hist(values, bins=bins, color="#9db3ba", histtype="stepfilled")
    if math.isfinite(expected):
        axes.axvline(expected, color=SOFT, lw=1.1, ls=(0, (2, 2)),
                     label=f"expected {fixed(expected)}")  # fmt: skip
    if math.isfinite(observed):
        told = p_value(p, floor)
        suffix = f", p {told}" if math.isfinite(p) else ""
        axes.axvline(observed, color=WARN, lw=1.8, label=f"observed {fixed(observed)}{suffix}")
    axes.margins(x=0.06)
    add_legend(axes, above=2)
    return figure


def cross_correlation(
    curves: Sequence[tuple[str, ArrayLike, ArrayLike]],
    *,
    fits: dict[str, tuple[float, float, float, float]],
    unit: str,
) -> Figure:
    """Pearson r of the channels shifted against each other, with a Gaussian through it.

    Parameters
    ----------
    curves : sequence of (axis, shifts, r)
        Shifts in ``unit``.
    fits : dict of axis to (offset, amplitude, centre, fwhm)
        In ``unit``; axes whose fit failed are absent.
    unit : str
        ``"µm"`` or ``"px"``.
    """
    figure = new_figure(*_HALF)
    axes = plain_axes(
        figure.subplots(), xlabel=f"shift of the second channel ({unit})", ylabel="Pearson r"
    )
    axes.axvline(0, color=LINE, lw=0.9, zorder=0)
    for axis, shifts, r in curves:
        color = _AXIS_COLOURS.get(axis, INK)
        x = np.asarray(shifts, dtype=np.float64)
        axes.plot(x, r, "o", ms=2.6, color=color, alpha=0.75, mew=0, label=f"along {axis}")
        if axis in fits:
            offset, amplitude, centre, fwhm = fits[axis]
            fine = np.linspace(x.min(), x.max(), 300)
            bell = np.exp(-4 * math.log(2) * ((fine - centre) / fwhm) ** 2)
            axes.plot(fine, offset + amplitude * bell, color=color, lw=1.3,
                      label=f"fit: FWHM {number(float(fwhm))} {unit}")  # fmt: skip
    add_legend(axes, loc="best")
    return figure


def fraction_within(
    groups: Sequence[tuple[str, Sequence[ArrayLike]]],
    *,
    unit: str = "µm",
    cutoff: float | None = None,
) -> Figure:
    """Share of objects that have a neighbour of the other channel within d, and by chance.

    Parameters
    ----------
    groups : sequence of (name, (distance, observed, expected, low, high))
        One panel each; ``low`` and ``high`` bound the null's global 95 % envelope.
    unit : str
    cutoff : float, optional
        Distance up to which two objects are called partners.
    """
    figure = new_figure(5.2 * max(1, len(groups)), 3.3)
    panels = figure.subplots(1, max(1, len(groups)), squeeze=False)[0]
    for axes, (name, (distance, observed, expected, low, high)), color in zip(
        panels, groups, (GREEN, MAGENTA, ACCENT, INK), strict=False
    ):
        d = np.asarray(distance, dtype=np.float64)
        plain_axes(axes, xlabel=f"distance d ({unit})", ylabel="fraction within d", title=name)
        axes.fill_between(d, low, high, color="#dbe4e7", lw=0, label="null, 95 % global envelope")
        axes.plot(d, expected, color=SOFT, lw=1.1, ls=(0, (2, 2)), label="expected by chance")
        axes.plot(d, observed, color=color, lw=1.8, label="observed")
        if cutoff is not None:
            axes.axvline(cutoff, color=INK, lw=0.9, ls=(0, (4, 2)))
        axes.set_ylim(-0.02, 1.02)
        add_legend(axes, loc="lower right")
    return figure


def nearest_distances(groups: Sequence[tuple[str, ArrayLike]], *, unit: str = "µm") -> Figure:
    """Cumulative share of objects against the distance to the nearest of the other channel.

    Parameters
    ----------
    groups : sequence of (name, distances)
    unit : str
    """
    figure = new_figure(*_HALF)
    axes = plain_axes(
        figure.subplots(),
        xlabel=f"nearest neighbour ({unit})",
        ylabel="cumulative share of objects",
    )
    for (name, distances), color in zip(groups, (GREEN, MAGENTA, ACCENT, INK), strict=False):
        d = np.sort(np.asarray(distances, dtype=np.float64))
        d = d[np.isfinite(d)]
        if d.size:
            share = np.arange(1, d.size + 1) / d.size
            median = number(float(np.median(d)))
            axes.step(d, share, where="post", color=color, lw=1.6,
                      label=printable(f"from {name}: median {median} {unit}"))  # fmt: skip
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlim(left=0)
    add_legend(axes, loc="lower right")
    return figure


def values_by_region(
    names: Sequence[str],
    observed: ArrayLike,
    expected: ArrayLike,
    significant: ArrayLike,
    *,
    metric: str,
) -> Figure:
    """The primary metric of every region, sorted, beside what chance would give.

    Parameters
    ----------
    names : sequence of str
    observed, expected : array_like, shape (n,)
    significant : array_like of bool, shape (n,)
    metric : str
    """
    values = np.asarray(observed, dtype=np.float64)
    order = np.argsort(np.where(np.isfinite(values), values, -np.inf))
    hit = np.asarray(significant, dtype=bool)[order]
    figure = new_figure(min(10.4, max(4.7, 2.4 + 0.34 * len(names))), 2.9)
    axes = plain_axes(figure.subplots(), xlabel="regions, sorted", ylabel=metric)
    x = np.arange(values.size)
    axes.axhline(0, color=LINE, lw=0.9, zorder=0)
    axes.plot(x, np.asarray(expected, dtype=np.float64)[order], "_", color=INK, ms=16, mew=1.5,
              label="expected without alignment")  # fmt: skip
    _dots(axes, x[hit], values[order][hit], filled=True)
    _dots(axes, x[~hit], values[order][~hit], filled=False)
    if values.size <= 60:
        axes.set_xticks(x, [printable(names[k], 12) for k in order], fontsize=8)
        if values.size > 20:
            axes.tick_params(axis="x", rotation=90)
        for text in axes.get_xticklabels():
            text.set_parse_math(False)
    add_legend(axes, above=3)
    return figure


def _filled_range(edges: FloatArray, filled: NDArray[np.bool_]) -> tuple[float, float]:
    """The part of an axis that holds pixels, with a little room."""
    at = np.flatnonzero(filled)
    low, high = (edges[at[0]], edges[at[-1] + 1]) if at.size else (edges[0], edges[-1])
    room = 0.02 * (high - low)
    return float(max(edges[0], low - room)), float(min(edges[-1], high + room))


def _dots(axes: Axes, x: FloatArray | NDArray[Any], y: FloatArray, *, filled: bool) -> None:
    label = "significant after FDR correction" if filled else "not significant"
    if x.size:
        axes.plot(x, y, "o", ms=4.5, mec=ACCENT, mfc=ACCENT if filled else "white", label=label)


def _finite(pairs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(u, v) for u, v in pairs if math.isfinite(u) and math.isfinite(v)]


def _each(count: int) -> str:
    return f" ({count} regions)" if count > 1 else ""
