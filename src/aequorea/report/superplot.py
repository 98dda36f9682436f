"""Images, animals and conditions in one figure: what was measured, and what the test sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.report.canvas import (
    INK,
    LINE,
    SOFT,
    add_legend,
    new_figure,
    plain_axes,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito without black and yellow, which white paper swallows
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7a7a7a")
_SHAPES = ("o", "s", "^", "D", "v")
_PANEL_IN, _WIDEST_IN = 5.1, 10.4
_HALF = 0.24  # of a column that animals spread over
_BESIDE = 0.42  # where the mean is drawn, so that it hides no animal
_MOST_NAMED = 14
_NOBODY = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class SuperplotPanel:
    """One quantity in all conditions.

    Attributes
    ----------
    title, label : str
        Of the panel, and of its vertical axis.
    images : DataFrame
        ``condition``, ``animal`` (empty where unknown) and ``value`` of each image.
    animals : DataFrame
        The same of each animal, as it enters the comparison.
    conditions : sequence of (name, mean, low, high, beside)
        In the order they are drawn; NaN where there is no mean or interval; ``beside`` is written
        below the name.
    least, most : float or None
        Between which values always lie.
    """

    title: str
    label: str
    images: pd.DataFrame
    animals: pd.DataFrame
    conditions: Sequence[tuple[str, float, float, float, str]]
    least: float | None = None
    most: float | None = None


def superplot(panels: Sequence[SuperplotPanel]) -> Figure:
    """Each image a small point, each animal a large one, the mean of animals with its interval.

    Parameters
    ----------
    panels : sequence of SuperplotPanel
        At least one.

    Notes
    -----
    Points are spread along the horizontal axis by animal, then by image, in the order given;
    animals that are in several conditions are joined by a line.

    References
    ----------
    .. [1] Lord et al. (2020), doi:10.1083/jcb.202001064
    """
    across = min(2, len(panels))
    down = math.ceil(len(panels) / across)
    wanted = max(_width(panel) for panel in panels)
    figure = new_figure(min(_WIDEST_IN, wanted * across), 3.7 * down)
    looks = _looks(panels)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for spare in axes[len(panels) :]:
        spare.set_visible(False)
    for panel, place in zip(panels, axes, strict=False):
        _draw(place, panel, looks)
    if 1 < len(looks) - (_NOBODY in looks) <= _MOST_NAMED:
        for name, (colour, shape) in looks.items():
            if name != _NOBODY:
                axes[0].plot([], [], shape, color=colour, ms=7, mec="white", label=printable(name))
        add_legend(axes[0], above=min(len(looks), 7))
    return figure


def _width(panel: SuperplotPanel) -> float:
    """Inches in which the animals of the fullest condition find room."""
    animals = panel.images.groupby("condition")["animal"].nunique()
    column = max(1.25, 0.25 * int(animals.max()))
    return max(_PANEL_IN, 1.4 + column * len(panel.conditions))


def _looks(panels: Sequence[SuperplotPanel]) -> dict[str, tuple[str, str]]:
    """Colour and shape of every animal, the same in all panels."""
    names = dict.fromkeys(str(n) for p in panels for n in p.images["animal"])
    known = [n for n in names if n != _NOBODY]
    looks = {
        name: (_COLOURS[k % len(_COLOURS)], _SHAPES[k // len(_COLOURS) % len(_SHAPES)])
        for k, name in enumerate(known)
    }
    return looks | ({_NOBODY: (SOFT, "o")} if _NOBODY in names else {})


def _draw(axes: Axes, panel: SuperplotPanel, looks: Mapping[str, tuple[str, str]]) -> None:
    plain_axes(axes, xlabel="", ylabel=panel.label, title=panel.title)
    drawn: dict[str, list[tuple[float, float]]] = {}
    for column, (name, mean, low, high, _) in enumerate(panel.conditions):
        _draw_condition(axes, panel, column, name, looks, drawn)
        at = column + _BESIDE
        if math.isfinite(mean):
            axes.plot([at - 0.06, at + 0.06], [mean, mean], color=INK, lw=2.0, zorder=4)
        if math.isfinite(low) and math.isfinite(high):
            axes.errorbar(
                at, mean, [[mean - low], [high - mean]], color=INK, lw=1.2, capsize=4, zorder=4
            )
    for points in drawn.values():
        if len(points) > 1:
            axes.plot(*zip(*points, strict=True), color=LINE, lw=1.0, zorder=1)
    ticks = [printable(name, 24) + (f"\n{beside}" if beside else "")
             for name, *_, beside in panel.conditions]  # fmt: skip
    axes.set_xticks(range(len(ticks)), ticks)
    for text in axes.get_xticklabels():
        text.set_parse_math(False)
    axes.set_xlim(-0.55, len(ticks) - 0.4)
    _limit(axes, panel)


def _draw_condition(
    axes: Axes,
    panel: SuperplotPanel,
    column: int,
    name: str,
    looks: Mapping[str, tuple[str, str]],
    drawn: dict[str, list[tuple[float, float]]],
) -> None:
    images = panel.images[panel.images["condition"] == name]
    animals = panel.animals[panel.animals["condition"] == name]
    present = list(dict.fromkeys(map(str, images["animal"])))
    places = dict(zip(present, column + _spread(len(present), _HALF), strict=True))
    room = 0.8 * _HALF / max(1, len(present))
    for animal, x in places.items():
        colour, shape = looks[animal]
        values = images.loc[images["animal"] == animal, "value"].to_numpy(np.float64)
        spread = _spread(len(values), _HALF if animal == _NOBODY else room)
        axes.plot(x + spread, values, shape, color=colour, ms=4, alpha=0.65, mew=0, zorder=2)
    for row in animals.itertuples():
        x, y = float(places[str(row.animal)]), _number(row.value)
        colour, shape = looks[str(row.animal)]
        axes.plot([x], [y], shape, color=colour, ms=9.5, mec="white", mew=1.1, zorder=3)
        drawn.setdefault(str(row.animal), []).append((x, y))


def _number(value: Any) -> float:
    return float(value)


def _spread(n: int, half: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Places of n points around 0, evenly and always the same."""
    return np.zeros(n) if n < 2 else np.linspace(-half, half, n)


def _limit(axes: Axes, panel: SuperplotPanel) -> None:
    """From the least value there can be to what there is, with room above."""
    shown = [panel.images["value"].to_numpy(np.float64)]
    shown += [np.array(edges, dtype=np.float64) for _, *edges, _ in panel.conditions]
    values = np.concatenate(shown)
    values = values[np.isfinite(values)]
    if panel.least is None or not values.size:
        return
    top = panel.least + 1.12 * (float(values.max()) - panel.least)
    if panel.most is not None:
        top = min(panel.most + 0.02 * (panel.most - panel.least), top)
        top = max(top, panel.least + 0.05 * (panel.most - panel.least))
    top = top if top > panel.least else panel.least + 1.0
    axes.set_ylim(panel.least - 0.02 * (top - panel.least), top)
