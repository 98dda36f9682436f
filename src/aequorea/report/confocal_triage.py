"""``triage.html`` of a study: every image large enough to judge, and the commands to decide."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import RunError
from aequorea.report.canvas import new_figure, to_photograph
from aequorea.report.confocal_cells import (
    NUCLEUS_ON_COLOUR,
    colours_of,
    composite,
    contrast_of,
)
from aequorea.report.confocal_figures import CELL, PUNCTA
from aequorea.report.confocal_lights import ImageLight, lights_of
from aequorea.report.numbers import number
from aequorea.report.page import render_page, write_atomically
from aequorea.report.pictures import fit_to_panel, outlines, paint, scale_bar
from aequorea.report.run_contents import StoredImage
from aequorea.report.study import StudyContents, open_study, records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from aequorea.report.canvas import Photograph

__all__ = ["write_triage_page"]

#: So many images with pictures, and so many bytes of pictures in all.
MOST_IMAGES, MOST_BYTES = 200, 40_000_000
_LARGEST_BYTES = 320_000
_SIDE_IN, _DPI = 8.0, 110.0
_MOST_DOTS = 4000
_TABLES = ("channels", "puncta", "thresholds", "segmentation_nuclei", "traffic_lights")


@dataclass(frozen=True, kw_only=True)
class JudgedImage:
    """One image of the page."""

    name: str
    light: str
    style: str
    reasons: Sequence[str]
    pictures: Sequence[Photograph]
    commands: Sequence[tuple[str, str]]


def write_triage_page(directory: Path) -> Path:
    """Write ``triage.html`` of a study of confocal stacks.

    Parameters
    ----------
    directory : Path
        With ``run.json``, ``study.json``, ``tables`` and the runs of its samples.

    Returns
    -------
    Path
        One file that opens offline and loads nothing, below 60 MB: pictures get coarser with
        their number, and from the 201st image on there are only lights. Red images come first;
        within a light the order is by chance, fixed by the names.

    Raises
    ------
    RunError
        If the directory does not hold a study.
    OutputError
        If the page cannot be written.
    """
    return write_atomically(directory / "triage.html", triage_html(directory))


def triage_html(directory: Path) -> str:
    """The page of :func:`write_triage_page`, as text."""
    study = open_study(directory, only=lambda name: name in _TABLES)
    lights = sorted(lights_of(study), key=lambda one: (one.rank, _shuffled(one.sample)))
    names = _names(study)
    colours = colours_of(names)
    return render_page(
        "triage.html.j2",
        title=study.title,
        back=True,
        hidden=study.hidden,
        told=_told(lights),
        legend=[(f"{names[r]} ({c})", _css(light)) for r, (c, light) in colours.items()],
        explained="Left: maximum projection of all channels. Right: the same with outlines of "
        "nuclei (white) and cells (yellow), and puncta as circles: in the cytosol orange, in "
        "the nucleus pink, in no cell grey. Contrast is stretched image by image (percentiles "
        "0.5 to 99.7, of puncta 60 to 99.9), so brightness of different images cannot be compared "
        "by eye; values are in the lights.",
        images=list(_images(study, lights, colours)),
        criteria=_criteria(study),
    )


def _shuffled(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _names(study: StudyContents) -> dict[str, str]:
    channels = study.run.table("channels")
    if not len(channels):
        return {}
    first = channels.drop_duplicates("role")
    return {str(r): str(n) for r, n in zip(first["role"], first["channel"], strict=True)}


def _told(lights: Sequence[ImageLight]) -> str:
    if not lights:
        return "There is no image to judge."
    counts = [sum(one.light == colour for one in lights) for colour in ("red", "amber", "green")]
    words = ("✕ red", "! amber", "✓ green")
    told = ", ".join(f"{number(n)} {w}" for n, w in zip(counts, words, strict=True) if n)
    more = len(lights) - MOST_IMAGES
    return f"{number(len(lights))} images: {told}." + (
        f" The last {number(more)} have no pictures here, so that the page stays small."
        if more > 0
        else ""
    )


def _css(light: NDArray[np.float64]) -> str:
    return "rgb({} {} {})".format(*(int(255 * v) for v in light))


def _criteria(study: StudyContents) -> list[tuple[str, str]]:
    table = study.run.table("traffic_lights")
    if not len(table):
        return []
    told = table[table["limit"] != ""].drop_duplicates("criterion")
    return [(str(c), str(t)) for c, t in zip(told["criterion"], told["limit"], strict=True)]


def _images(
    study: StudyContents,
    lights: Sequence[ImageLight],
    colours: Mapping[str, tuple[str, NDArray[np.float64]]],
) -> Iterator[JudgedImage]:
    directories = dict(zip(study.samples["sample"], study.samples["directory"], strict=True))
    states = dict(zip(study.samples["sample"], study.samples["state"], strict=True))
    shown = min(len(lights), MOST_IMAGES)
    most = min(_LARGEST_BYTES, MOST_BYTES // (2 * max(1, shown)))
    for place, light in enumerate(lights):
        name = light.sample
        pictures: list[Photograph] = []
        if place < MOST_IMAGES and states[name] == "done":
            pictures = _pictures(study, name, str(directories[name]), colours, most)
        yield JudgedImage(
            name=name,
            light=light.word,
            style=light.style,
            reasons=light.reasons or ["nothing wrong was found"],
            pictures=pictures,
            commands=list(_commands(study, light)) if states[name] == "done" else [],
        )


def _pictures(
    study: StudyContents,
    name: str,
    directory: str,
    colours: Mapping[str, tuple[str, NDArray[np.float64]]],
    most: int,
) -> list[Photograph]:
    channels = study.run.table("channels")
    own = channels[channels["sample"] == name]
    named = {str(r): str(n) for r, n in zip(own["role"], own["channel"], strict=True)}
    try:
        image = StoredImage(study.run.path / directory)
    except RunError:
        return []
    planes = {role: image.projection(channel) for role, channel in named.items()}
    ranges = {role: contrast_of(image, role, channel) for role, channel in named.items()}
    picture = composite({r: fit_to_panel(p) for r, p in planes.items()}, colours, ranges)
    puncta = study.run.table("puncta")
    puncta = puncta[puncta["sample"] == name] if len(puncta) else puncta
    labels = [image.label_projection(kind) for kind in ("nuclei", "cells")]
    plain = _figure(picture, image, None)
    marked = picture
    for found, colour in zip(labels, (NUCLEUS_ON_COLOUR, CELL), strict=True):
        if found is not None:
            marked = paint(marked, outlines(fit_to_panel(found, labels=True)), colour)
    figures = (plain, _figure(marked, image, puncta))
    alts = (f"{name}: all channels from above", f"{name}: with outlines and puncta")
    return [to_photograph(f, a, dpi=_DPI, most=most) for f, a in zip(figures, alts, strict=True)]


def _figure(
    picture: NDArray[np.float64], image: StoredImage, puncta: pd.DataFrame | None
) -> Figure:
    height, width = image.sizes["y"], image.sizes["x"]
    dy, dx = (float(image.spacing_um[a] or 1) for a in "yx")
    high, wide = height * dy, width * dx
    longest = max(high, wide)
    figure = new_figure(_SIDE_IN * wide / longest, _SIDE_IN * high / longest)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(picture, extent=extent, aspect="auto", interpolation="antialiased")
    if puncta is not None and len(puncta):
        shown = puncta.head(_MOST_DOTS)
        for part, colour in PUNCTA.items():
            own = shown[shown["compartment"] == part]
            axes.plot(own["x_um"] / dx, own["y_um"] / dy, "o", ms=5, mfc="none", mec=colour,
                      mew=0.7, ls="none")  # fmt: skip
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_axis_off()
    scale_bar(axes, (height, width), (dy, dx))
    return figure


def _commands(study: StudyContents, light: ImageLight) -> Iterator[tuple[str, str]]:
    """What to paste into a shell to decide about this image."""
    where = shlex.join([str(study.run.path.resolve()), light.sample])
    base = f"aequorea confocal triage {where}"
    why = next((r for r in light.reasons if light.light != "green"), "WHY")
    yield "good", f"{base} --accept"
    yield "leave out", f"{base} --reject --reason {shlex.quote(why)}"
    yield "do again", f"{base} --redo {' '.join(_parameters(study, light))}"


def _parameters(study: StudyContents, light: ImageLight) -> Iterator[str]:
    """Where a threshold is far from the image's own, that; else those of nuclei, to be changed."""
    run = study.run
    far = {
        str(r["subject"])
        for r in light.rows
        if r["criterion"] == "threshold" and r["light"] in {"red", "amber"}
    }
    own = run.table("thresholds")
    own = own[own["sample"] == light.sample] if len(own) else own
    told = [
        f"--{row['role']}.threshold {float(row['own_threshold']):.3g}"
        for row in records(own)
        if str(row["channel"]) in far
    ]
    yield from told
    if told:
        return
    nuclei = run.table("segmentation_nuclei")
    level: Any = np.nan
    if "threshold" in nuclei:
        level = nuclei.loc[nuclei["sample"] == light.sample, "threshold"].max()
    yield (
        f"--nuclei.threshold {float(level):.4g}"
        if np.isfinite(level)
        else ("--nuclei.threshold 300")
    )
