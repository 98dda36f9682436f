"""Single cells of a stored stack, read box by box, and drawn from three sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.report.canvas import new_figure
from aequorea.report.confocal_figures import CELL, PUNCTA
from aequorea.report.pictures import CONTRAST_PERCENT, outlines, paint, scale_bar
from aequorea.spatial.boxes import boxes_of as boxes_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from aequorea.report.run_contents import StoredImage

__all__ = [
    "MARK_NAMES",
    "NUCLEUS_ON_COLOUR",
    "Box",
    "CellView",
    "boxes_of",
    "cell_figure",
    "colours_of",
    "composite",
    "contrast_of",
    "scale_of",
]

Box = tuple[slice, slice, slice]
#: White is seen on the blue of nuclei.
NUCLEUS_ON_COLOUR = np.array([1.0, 1.0, 1.0])
_MARKS = "os^Dv"
MARK_NAMES = ("circles", "squares", "triangles", "diamonds", "triangles pointing down")
_GAP_IN, _LARGEST_IN = 0.06, 3.4
#: Light of the composite: puncta bright, what they lie in dim, so that the sum seldom clips.
_ROOMS = {"nuclei": ("blue", (0.12, 0.24, 0.80)), "cells": ("grey", (0.22, 0.22, 0.22))}
_SPOTS = (
    ("magenta", (1.0, 0.1, 0.9)),
    ("green", (0.1, 1.0, 0.2)),
    ("orange", (1.0, 0.6, 0.0)),
    ("white", (1.0, 1.0, 1.0)),
)
_STAINS = (("teal", (0.0, 0.36, 0.34)), ("brown", (0.40, 0.24, 0.0)))
_STRUCTURES = (("olive", (0.30, 0.30, 0.0)), ("violet", (0.30, 0.0, 0.42)))
_SPOT_PERCENT = (60.0, 99.9)  # of a projection: between puncta it is dark


def colours_of(names: Mapping[str, str]) -> dict[str, tuple[str, NDArray[np.float64]]]:
    """A colour for each role, with its name."""
    chosen = dict(_ROOMS)
    for kind, lights in (("puncta", _SPOTS), ("protein", _STAINS), ("landmark", _STRUCTURES)):
        roles = [role for role in names if role.startswith(kind)]
        chosen |= {r: lights[k % len(lights)] for k, r in enumerate(roles)}
    return {r: (chosen[r][0], np.array(chosen[r][1])) for r in names}


def contrast_of(image: StoredImage, role: str, channel: str) -> tuple[float, float]:
    """From black to full colour: one range for all cells of the image."""
    percent = _SPOT_PERCENT if role.startswith("puncta") else CONTRAST_PERCENT
    low, high = np.percentile(image.projection(channel), percent)
    return float(low), float(max(high, low + 1e-9))


def composite(
    planes: Mapping[str, NDArray[Any]],
    colours: Mapping[str, tuple[str, NDArray[np.float64]]],
    ranges: Mapping[str, tuple[float, float]],
) -> NDArray[np.float64]:
    """Channels added up in their colours.

    Parameters
    ----------
    planes : mapping of role to ndarray, shape (y, x)
    colours, ranges : mapping of role
        As :func:`colours_of` and :func:`contrast_of` give them.

    Returns
    -------
    ndarray, shape (y, x, 3), 0…1
    """
    total: Any = 0.0
    for role, plane in planes.items():
        low, high = ranges[role]
        shown = np.clip((plane.astype(np.float64) - low) / (high - low), 0, 1)
        total = total + shown[..., None] * colours[role][1]
    return np.asarray(np.clip(total, 0, 1), dtype=np.float64)


def boxes_of(image: StoredImage, name: str) -> dict[int, Box]:
    """The box of every label, found plane by plane."""
    found: dict[int, Box] = {}
    for z in range(image.sizes["z"]):
        plane = image.labels(name, z=z)
        if plane is None:
            return {}
        for label, place in boxes_in(plane).items():
            here: Box = (slice(z, z + 1), place[0], place[1])
            found[label] = _joined(found[label], here) if label in found else here
    return found


def _joined(one: Sequence[slice], other: Sequence[slice]) -> Box:
    z, y, x = (
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    return z, y, x


@dataclass(frozen=True, eq=False, kw_only=True)
class CellView:
    """One cell with what is around it.

    Attributes
    ----------
    images : mapping of role to ndarray, shape (z, y, x)
    nucleus, cell : ndarray of bool, shape (z, y, x)
    puncta : mapping of role to DataFrame
        ``z_um``, ``y_um``, ``x_um``, ``compartment`` of those of the cell.
    origin : (int, int, int)
        First voxel.
    spacing_um : (float, float, float)
    """

    images: Mapping[str, NDArray[Any]]
    nucleus: NDArray[np.bool_]
    cell: NDArray[np.bool_]
    puncta: Mapping[str, pd.DataFrame]
    origin: tuple[int, int, int]
    spacing_um: tuple[float, float, float]

    @property
    def size_um(self) -> tuple[float, float, float]:
        """Along z, y, x."""
        z, y, x = (n * s for n, s in zip(self.cell.shape, self.spacing_um, strict=True))
        return z, y, x


def scale_of(sizes_um: Sequence[tuple[float, float, float]]) -> float:
    """The scale, in µm per inch, at which the largest of these boxes fits a picture.

    Examples
    --------
    >>> round(scale_of([(3.4, 6.8, 6.8), (1.0, 2.0, 2.0)]), 6)
    3.0
    """
    largest = max(max(deep + high, deep + wide) for deep, high, wide in sizes_um)
    return largest / _LARGEST_IN


def cell_figure(
    view: CellView,
    colours: Mapping[str, tuple[str, NDArray[np.float64]]],
    ranges: Mapping[str, tuple[float, float]],
    *,
    um_per_inch: float,
) -> Figure:
    """Maximum projections along z, y and x, each in the proportions of the specimen.

    Parameters
    ----------
    view : CellView
    colours, ranges : mapping of role
    um_per_inch : float, µm
        The scale of the picture; see :func:`scale_of`.
    """
    deep, high, wide = view.size_um
    scale = um_per_inch
    figure = new_figure((wide + deep) / scale + _GAP_IN, (high + deep) / scale + _GAP_IN)
    figure.set_layout_engine("none")
    figure.set_facecolor("black")
    gap = _GAP_IN * scale
    places = {
        0: (0.0, deep + gap, wide, high),
        1: (0.0, 0.0, wide, deep),
        2: (wide + gap, deep + gap, deep, high),
    }
    whole = (wide + deep + gap, high + deep + gap)
    for along, (left, bottom, width, height) in places.items():
        axes = figure.add_axes(
            (left / whole[0], bottom / whole[1], width / whole[0], height / whole[1])
        )
        _draw(axes, view, along, colours, ranges)
    return figure


def _draw(
    axes: Axes,
    view: CellView,
    along: int,
    colours: Mapping[str, tuple[str, NDArray[np.float64]]],
    ranges: Mapping[str, tuple[float, float]],
) -> None:
    """One projection; seen from the side, z runs down below the cell and right beside it."""
    turned = along == 2

    def seen(stack: NDArray[Any]) -> NDArray[Any]:
        flat = np.asarray(stack.max(axis=along))
        return flat.T if turned else flat

    picture = composite({r: seen(s) for r, s in view.images.items()}, colours, ranges)
    rest = [a for a in range(3) if a != along]
    down, right = reversed(rest) if turned else rest
    dy, dx = view.spacing_um[down], view.spacing_um[right]
    fine = min(view.spacing_um)
    times = [max(1, round(2 * step / fine)) for step in (dy, dx)]  # so that outlines are thin
    picture = picture.repeat(times[0], axis=0).repeat(times[1], axis=1)
    for mask, colour in ((view.nucleus, NUCLEUS_ON_COLOUR), (view.cell, CELL)):
        large = seen(mask).repeat(times[0], axis=0).repeat(times[1], axis=1)
        edge = outlines(np.pad(large, 1).astype(np.uint8))[1:-1, 1:-1]
        picture = paint(picture, edge, colour)
    height, width = view.cell.shape[down], view.cell.shape[right]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(picture, extent=extent, aspect="auto", interpolation="nearest")
    for mark, table in zip(_MARKS, view.puncta.values(), strict=False):
        for part, edge_colour in PUNCTA.items():
            own = table[table["compartment"] == part]
            y, x = (
                own[f"{'zyx'[a]}_um"].to_numpy(float) / view.spacing_um[a] - view.origin[a]
                for a in (down, right)
            )
            axes.plot(x, y, mark, ms=4.2, mfc="none", mec=edge_colour, mew=0.6, ls="none")
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_axis_off()
    if along == 0:
        scale_bar(axes, (height, width), (dy, dx))
