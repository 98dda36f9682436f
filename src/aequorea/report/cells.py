"""The page of a cell count, made from nothing but the run directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.report.canvas import Picture, to_picture
from aequorea.report.cells_figures import (
    MARKER,
    NEGATIVE,
    POSITIVE,
    REGION,
    gallery_figure,
    overlay_figure,
    stability_figure,
)
from aequorea.report.data_table import DataTable, data_table
from aequorea.report.methods import MethodsText
from aequorea.report.numbers import number
from aequorea.report.page import render_page, write_atomically
from aequorea.report.run_contents import RunContents, StoredImage, open_contents

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["write_report"]

_SATURATED = 0.001
_AT_BORDER = 0.25
_STEEP = 0.1
_BORDERLINE = 2.0  # within a factor of four of the threshold
_RULES = {
    "union": "marker objects together cover at least {fraction} of the cell and {pixels} pixels",
    "best": "one marker object covers at least {fraction} of the cell and {pixels} pixels",
    "count": "at least {count} marker objects share {pixels} pixels with the cell",
    "centroid": "enough marker objects have their centre in the cell",
    "contact": "marker touches at least {contact} of the cell's surface",
    "intensity": "the marker's intensity in the cell reaches a threshold",
}
_METHODS = {
    "otsu": ("pixels above Otsu's threshold, connected", "otsu1979"),
    "li": ("pixels above Li's minimum cross-entropy threshold, connected", "li1998"),
    "percentile": ("pixels above a percentile of the intensities, connected", None),
    "watershed": ("a seeded watershed with automatic object scale", "vincent1991"),
    "cellpose": ("Cellpose", "stringer2021"),
    "stardist": ("StarDist", "schmidt2018"),
}


@dataclass(frozen=True)
class _Measure:
    name: str
    value: str
    beside: tuple[str, ...]


@dataclass(frozen=True)
class _Plate:
    title: str
    caption: str
    picture: Picture


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` of a cell count.

    Parameters
    ----------
    run_dir : Path
        With ``run.json``, ``tables`` and ``images.zarr``.

    Returns
    -------
    Path
        One file that opens offline and loads nothing. It appears whole or not at all.

    Raises
    ------
    RunError
        If the directory does not hold a run.
    OutputError
        If the page cannot be written.
    """
    return write_atomically(run_dir / "report.html", report_html(run_dir))


def report_html(run_dir: Path) -> str:
    """The page of :func:`write_report`, as text."""
    run = open_contents(run_dir, needs="cell_summary")
    image = StoredImage(run_dir)
    record = run.record
    channels = run.table("channels")
    names = dict(zip(channels["role"], channels["channel"], strict=True))
    markers = {role: str(name) for role, name in names.items() if role != "cell"}
    return render_page(
        "cells.html.j2",
        title=_title(record),
        facts=_facts(run, image, names),
        checks=list(_checks(run, markers)),
        verdict=_verdict(run, markers),
        measures=list(_measures(run, markers)),
        plates=list(_plates(run, image, names)),
        tables=list(_tables(run, names)),
        methods=_methods(run, markers),
        parameters=_parameters(record),
        record=record,
        steps=[(n, s) for n, s in record.get("steps", {}).items() if n != "report"],
        files=[(f"tables/{name}.csv", len(table)) for name, table in sorted(run.tables.items())],
    )


def _title(record: Mapping[str, Any]) -> str:
    inputs = record["inputs"].items()
    return " and ".join(Path(f["path"]).name for role, f in inputs if role.startswith("image"))


def _facts(run: RunContents, image: StoredImage, names: Mapping[str, str]) -> list[tuple[str, str]]:
    spacing = [f"{a} {s:.4g} µm" for a, s in image.spacing_um.items() if s is not None]
    overview = run.table("roi_coloc_overview")
    more = " …" if len(overview) > 8 else ""
    started = str(run.record.get("timings", {}).get("started", "")).replace("T", " ")
    version = run.record.get("versions", {}).get("aequorea", "of unknown version")
    return [
        ("Cells", names["cell"]),
        ("Markers", ", ".join(n for r, n in names.items() if r != "cell") or "none"),
        ("Size", " × ".join(f"{a} {n}" for a, n in image.sizes.items() if a != "c")),
        ("Pixel spacing", ", ".join(spacing) or "not given by the file; lengths are in pixels"),
        ("Regions", ", ".join(map(str, overview["roi_name"].head(8))) + more),
        ("Analysed", f"{started.removesuffix('+00:00')} UTC with aequorea {version}"),
    ]


def _checks(run: RunContents, markers: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """What to know before reading numbers: light, sign, text."""
    told = False
    for message in run.record.get("warnings", []):
        told = True
        yield "note", "!", str(message)
    for row in _records(run.table("channels")):
        if row["saturated_fraction"] > _SATURATED:
            told = True
            share = 100 * row["saturated_fraction"]
            yield "note", "!", f"{share:.2g} % of the pixels of {row['channel']} are saturated."
    for name, table in run.tables.items():
        if name.startswith("segmentation_") and "note" in table:
            for row in _records(table[table["note"].astype(str) != ""]):
                told = True
                yield "note", "i", f"{row['channel']}, {row['roi_name']}: {row['note']}."
    cells = run.table("cell_summary")
    if not len(cells):
        yield "note", "!", "No cell was found."
        return
    border = float(cells["touches_roi_border"].mean())
    if border > _AT_BORDER:
        told = True
        yield (
            "note",
            "!",
            (
                f"{100 * border:.0f} % of the cells touch the border of their region or of the "
                "image: their size and shape are cut, and their number depends on how borders "
                "are counted."
            ),
        )
    for name in markers.values():
        change = _steepness(run.table("stability"), name)
        if change > _STEEP:
            told = True
            yield (
                "note",
                "!",
                (
                    f"The number positive for {name} hangs on the threshold: the next thresholds "
                    f"beside it change it by {100 * change:.0f} % of the cells."
                ),
            )
    if not told:
        yield "ok", "✓", "No trouble found: channels not saturated, few cells cut by borders."


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _steepness(table: pd.DataFrame, marker: str) -> float:
    rows = table[table["marker"] == marker].reset_index(drop=True)
    used = np.flatnonzero(rows["in_force"].to_numpy(bool)) if len(rows) else np.empty(0, int)
    if not used.size:
        return 0.0
    around = rows["fraction"].to_numpy(float)[max(0, used[0] - 1) : used[0] + 2]
    return float(np.ptp(around)) if around.size else 0.0


def _verdict(run: RunContents, markers: Mapping[str, str]) -> str:
    cells = run.table("cell_summary")
    regions = len(run.table("roi_coloc_overview"))
    text = f"{number(len(cells))} cells in {regions} region{'' if regions == 1 else 's'}"
    for role, name in markers.items():
        positive = int(cells[f"{role}_positive"].sum()) if len(cells) else 0
        share = f" ({100 * positive / len(cells):.1f} %)" if len(cells) else ""
        text += f"; {number(positive)} positive for {name}{share}"
    return text + "."


def _measures(run: RunContents, markers: Mapping[str, str]) -> Iterator[_Measure]:
    overview = run.table("roi_coloc_overview")
    cells = run.table("cell_summary")
    counted = float(overview["n_cells_counted"].sum())
    kind = str(run.parameter("counting.counting"))
    beside = () if kind == "all" else (f"{number(counted)} counted ({kind})",)
    yield _Measure("cells", number(len(cells)), beside)
    for role, name in markers.items():
        positive = int(overview[f"n_{role}_positive_cells"].sum())
        share = 100 * positive / len(cells) if len(cells) else float("nan")
        rule = _rule(run, role)
        yield _Measure(f"positive for {name}", number(positive), (f"{share:.1f} % of cells", rule))


def _rule(run: RunContents, role: str) -> str:
    rule = str(run.parameter(f"{role}.rule"))
    return "rule: " + _RULES.get(rule, rule).format(
        fraction=f"{100 * float(run.parameter(f'{role}.overlap_fraction')):g} %",
        pixels=run.parameter(f"{role}.min_overlap_px"),
        count=run.parameter(f"{role}.min_count"),
        contact=f"{100 * float(run.parameter(f'{role}.min_contact_fraction')):g} %",
    )


def _plates(run: RunContents, image: StoredImage, names: Mapping[str, str]) -> Iterator[_Plate]:
    cells = run.table("cell_summary")
    planes = {role: image.projection(name) for role, name in names.items()}
    labels = {role: _seen(image, role, planes[role]) for role in names}
    rois = _seen(image, "rois", planes["cell"])
    stack = " Maximum projections." if image.sizes.get("z", 1) > 1 else ""
    yield _overlays(planes, labels, rois, names, image, stack)
    stability = run.table("stability")
    if len(stability):
        yield _Plate(
            "Positives against the threshold.",
            "How many cells would be positive at other thresholds; the circle is the one in "
            "force. Where the line is flat, the number does not hang on it.",
            to_picture(stability_figure(stability), "Positive cells against the threshold"),
        )
    for role, name in names.items():
        if role != "cell":
            yield from _galleries(cells, role, name, planes, labels)


def _seen(image: StoredImage, name: str, like: NDArray[Any]) -> NDArray[Any]:
    found = image.label_projection(name)
    return np.zeros(like.shape, np.uint8) if found is None else found


def _overlays(
    planes: Mapping[str, NDArray[Any]],
    labels: Mapping[str, NDArray[Any]],
    rois: NDArray[Any],
    names: Mapping[str, str],
    image: StoredImage,
    stack: str,
) -> _Plate:
    whole = bool((rois == rois.flat[0]).all())
    drawn: list[tuple[NDArray[Any], str]] = [] if whole else [(rois, REGION)]
    panels = [(names["cell"], planes["cell"], [*drawn, (labels["cell"], NEGATIVE)])]
    for role, name in names.items():
        if role == "cell":
            continue
        positive = _seen(image, f"{role}_positive_cells", planes[role])
        layers = [(labels["cell"], NEGATIVE), (labels[role], MARKER), (positive, POSITIVE)]
        panels.append((name, planes[role], [*drawn, *layers]))
    figure = overlay_figure(panels, image.pixel_um)
    caption = (
        "Cells outlined in blue, positive ones in orange, marker objects in pink"
        + (", regions in yellow." if drawn else ".")
        + " Contrast is stretched for looking, not for measuring."
        + stack
    )
    return _Plate("What was found.", caption, to_picture(figure, "Outlines on every channel"))


def _galleries(
    cells: pd.DataFrame,
    role: str,
    name: str,
    planes: Mapping[str, NDArray[Any]],
    labels: Mapping[str, NDArray[Any]],
) -> Iterator[_Plate]:
    if not len(cells):
        return
    margin = cells[f"{role}_margin"].to_numpy(float)  # the score over its threshold
    positive = cells[f"{role}_positive"].to_numpy(bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(np.log2(margin))
    kinds = {
        "Clearly positive": (positive, -margin),
        "Borderline": (distance < _BORDERLINE, distance),
        "Clearly negative": (~positive, margin),
    }
    for title, (chosen, rank) in kinds.items():
        ordered = cells[chosen].assign(rank=rank[chosen]).sort_values(["rank", "cell_label"])
        if not len(ordered):
            continue
        figure = gallery_figure(
            ordered, (planes["cell"], planes[role]), (labels["cell"], labels[role])
        )
        yield _Plate(
            f"{title} for {name}.",
            "Each cell by its label: the cell channel above, the marker below, the cell in "
            "orange, marker objects in pink.",
            to_picture(figure, f"{title} cells for {name}"),
        )


def _tables(run: RunContents, names: Mapping[str, str]) -> Iterator[tuple[str, DataTable]]:
    overview = run.table("roi_coloc_overview")
    wanted = ["roi_id", "roi_name", "n_cells", "n_cells_counted"]
    for role in names:
        if role != "cell":
            wanted += [f"n_{role}_positive_cells", f"{role}_positive_fraction"]
            wanted += [f"n_{role}_objects"]
    wanted += ["drawn_roi_area_um2", "roi_volume_um3"]
    wanted += [f"{role}_occupancy_coverage_2d_percent" for role in names]
    yield "Regions", data_table(overview, wanted, file="tables/roi_coloc_overview.csv")
    phenotypes = run.table("phenotypes")
    if len(phenotypes):
        combined = ("roi_id", "phenotype", "observed", "expected", "expected_naive", "ratio",
                   "p_value", "p_fdr", "n_cells", "reason")  # fmt: skip
        title = "Combinations of markers, against chance within neighbourhoods of cells"
        yield title, data_table(phenotypes, combined, file="tables/phenotypes.csv")
    for role in names:
        table = run.table(f"segmentation_{role}")
        columns = tuple(c for c in table.columns if c not in {"note", "channel"})
        yield (
            f"How {names[role]} was segmented",
            data_table(table, columns, file=f"tables/segmentation_{role}.csv"),
        )
        changes = run.table(f"label_changes_{role}")
        if len(changes):
            yield (
                f"Hand edits of {names[role]}",
                data_table(
                    changes, tuple(changes.columns), file=f"tables/label_changes_{role}.csv"
                ),
            )
    cells = run.table("cell_summary")
    shown = ["roi_id", "cell_label", "cell_voxels", "centroid_y_um", "centroid_x_um",
               "cell_mean_intensity", "touches_roi_border"]  # fmt: skip
    for role in names:
        if role != "cell":
            shown += [f"{role}_positive", f"{role}_score", f"{role}_margin"]
    if len(cells):
        yield "Cells", data_table(cells.head(100), shown, file="tables/cell_summary.csv")


def _methods(run: RunContents, markers: Mapping[str, str]) -> MethodsText:
    text = MethodsText()
    version = run.record.get("versions", {}).get("aequorea", "")
    text.say(f"Images were analysed with aequorea {version}")
    for role in ("cell", *markers):
        name = "Cells" if role == "cell" else f"Objects of {markers[role]}"
        if run.parameter(f"{role}.labels") is not None:
            text.say(f"{name} were given as a label image")
            continue
        method = str(run.parameter(f"{role}.method"))
        how, paper = _METHODS.get(method, (f"the method {method}", None))
        text.say(f"{name} were found by {how}", *([paper] if paper else []))
        if run.parameter(f"{role}.edited") is not None:
            text.say(f"{name} were then corrected by hand")
    text.say(
        "A cell belongs to the region that holds most of it, and only what lies inside was "
        f"measured; cells of fewer than {run.parameter('min_cell_px')} pixels were dropped"
    )
    for role, name in markers.items():
        rule = _rule(run, role).removeprefix("rule: ")
        text.say(f"A cell counts as positive for {name} if {rule}")
    kind = str(run.parameter("counting.counting"))
    if kind != "all":
        paper = {"frame": "gundersen1977", "disector": "sterio1984",
                 "abercrombie": "abercrombie1946"}[kind]  # fmt: skip
        text.say(f"Cells were counted without bias at edges by the rule '{kind}'", paper)
    tested = run.table("phenotypes")
    if len(tested) and tested["p_value"].notna().any():
        hypothesis = next(h for h in tested["hypothesis"] if isinstance(h, str) and h)
        text.say(
            f"Combinations of markers were compared with chance; null hypothesis: "
            f"{hypothesis.rstrip('.')}",
            "clifford1989",
            "mrkvicka2021",
        )
    text.say("Cells of one image are no independent replicates: conditions are compared by animal")
    return text


def _parameters(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    sources = record.get("parameter_sources", {})
    return [
        (key, "not given" if value is None else _shown(value), str(sources.get(key, "")))
        for key, value in record["parameters"].items()
    ]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
