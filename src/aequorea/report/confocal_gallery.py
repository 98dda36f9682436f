"""``gallery.html`` of a stack: every cell from above, from the front and from the side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.report.canvas import to_photograph
from aequorea.report.cells_views import names_of
from aequorea.report.confocal_cells import (
    MARK_NAMES,
    CellView,
    boxes_of,
    cell_figure,
    colours_of,
    contrast_of,
    scale_of,
)
from aequorea.report.numbers import number
from aequorea.report.page import render_page, write_atomically
from aequorea.report.run_contents import RunContents, StoredImage, open_contents

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.report.confocal_cells import Box

__all__ = ["write_gallery"]

#: The page stays below 13 MB: so many cells, each of so many bytes.
MOST_CELLS, MOST_BYTES = 100, 90_000
_DPI = 144.0
_MARGIN_UM = 0.5


@dataclass(frozen=True)
class Caption:
    """What stands below a cell."""

    cell: int
    text: str


def write_gallery(run_dir: Path) -> Path:
    """Write ``gallery.html`` of a confocal stack.

    Parameters
    ----------
    run_dir : Path
        With ``run.json``, ``tables`` and ``images.zarr``.

    Returns
    -------
    Path
        One file below 13 MB that opens offline and loads nothing. Of more than 100 cells it
        shows 100, evenly chosen along their numbers, and says so.

    Raises
    ------
    RunError
        If the directory does not hold a run.
    OutputError
        If the page cannot be written.
    """
    return write_atomically(run_dir / "gallery.html", gallery_html(run_dir))


def gallery_html(run_dir: Path) -> str:
    """The page of :func:`write_gallery`, as text."""
    run = open_contents(run_dir, needs="cells")
    image = StoredImage(run_dir)
    names = names_of(run)
    colours = colours_of(names)
    spots = [role for role in names if role.startswith("puncta")]
    marks = ", ".join(f"{mark} {names[r]}" for mark, r in zip(MARK_NAMES, spots, strict=False))
    return render_page(
        "gallery.html.j2",
        title=run.title or "Confocal stack",
        told=_told(len(run.table("cells"))),
        legend=[(names[r], colour, _css(light)) for r, (colour, light) in colours.items()],
        explained="Maximum projections of the surroundings of each cell: from above, below it from "
        "the front (x, z), beside it from the side (z, y); planes as far apart as in the specimen, "
        "all cells at one scale, bars in µm. Outlines: nucleus white, cell yellow, as seen "
        "through. "
        + (f"Puncta of the cell: {marks}; in the cytosol orange, in the nucleus pink. " if marks
           else "")
        + "Each channel has one contrast for all cells (percentiles of its projection: "
        "0.5 to 99.7, of puncta 60 to 99.9), for looking, not for measuring.",
        cells=list(_cells(run, image, names)),
    )  # fmt: skip


def _told(n: int) -> str:
    if not n:
        return "No cell was found."
    if n <= MOST_CELLS:
        return f"All {number(n)} cells." if n > 1 else "The one cell."
    return (
        f"{MOST_CELLS} of {number(n)} cells, evenly chosen along their numbers, so that this page "
        "stays small; all are in images.zarr (aequorea view opens it)."
    )


def _css(light: NDArray[np.float64]) -> str:
    return "rgb({} {} {})".format(*(int(255 * v) for v in light))


def _cells(
    run: RunContents, image: StoredImage, names: Mapping[str, str]
) -> Iterator[tuple[Any, Caption]]:
    table = run.table("cells")
    if not len(table):
        return
    chosen = table
    if len(table) > MOST_CELLS:
        chosen = table.iloc[np.linspace(0, len(table) - 1, MOST_CELLS).round().astype(int)]
    boxes = boxes_of(image, "cells")
    colours = colours_of(names)
    ranges = {role: contrast_of(image, role, name) for role, name in names.items()}
    spacing = tuple(float(image.spacing_um[a] or 1) for a in "zyx")
    around = {int(k): _wider(boxes[int(k)], image, spacing) for k in chosen["cell"]}
    scale = scale_of([_size(box, spacing) for box in around.values()])
    for row in chosen.to_dict("records"):
        label = int(row["cell"])
        view = _view(run, image, names, label, around[label], spacing)
        figure = cell_figure(view, colours, ranges, um_per_inch=scale)
        alt = f"Cell {label} from above, from the front and from the side"
        yield (
            to_photograph(figure, alt, dpi=_DPI, most=MOST_BYTES),
            Caption(label, _text({str(c): v for c, v in row.items()}, names)),
        )


def _wider(box: Box, image: StoredImage, spacing: tuple[float, ...]) -> Box:
    """A box with some of what is around it, within the image."""
    z, y, x = (
        slice(max(0, s.start - m), min(image.sizes[a], s.stop + m))
        for a, s, m in zip("zyx", box, (round(_MARGIN_UM / step) for step in spacing), strict=True)
    )
    return z, y, x


def _size(box: Box, spacing: tuple[float, ...]) -> tuple[float, float, float]:
    z, y, x = ((s.stop - s.start) * step for s, step in zip(box, spacing, strict=True))
    return z, y, x


def _view(
    run: RunContents,
    image: StoredImage,
    names: Mapping[str, str],
    label: int,
    box: Box,
    spacing: tuple[float, ...],
) -> CellView:
    puncta = run.table("puncta")
    cell = image.labels_box("cells", box) == label
    own = puncta[puncta["cell"] == label]
    z, y, x = spacing
    return CellView(
        images={role: image.box(name, box) for role, name in names.items()},
        nucleus=cell & (image.labels_box("nuclei", box) > 0),
        cell=cell,
        puncta={r: own[own["role"] == r] for r in names if r.startswith("puncta")},
        origin=(box[0].start, box[1].start, box[2].start),
        spacing_um=(z, y, x),
    )


def _text(row: Mapping[str, Any], names: Mapping[str, str]) -> str:
    parts = [f"{number(float(row['volume_um3']))} µm³"]
    if row["n_nuclei"] != 1:
        parts.append(f"{number(int(row['n_nuclei']))} nuclei" if row["n_nuclei"] else "no nucleus")
    for role, name in names.items():
        if role.startswith("puncta"):
            parts.append(
                f"{name}: {number(int(row[f'{role}_n_cytosol']))} in the cytosol, "
                f"{number(int(row[f'{role}_n_nucleus']))} in the nucleus"
            )
    if row["touches_side"]:
        parts.append("cut by the side of the image")
    if row["touches_first_or_last_plane"]:
        parts.append("reaches the first or the last plane")
    return "; ".join(parts) + "."
