"""What to know before reading the numbers of a cell count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.report.cells_positivity import (
    borderline,
    change_of_positives,
    decided_by_pixels,
)
from aequorea.report.cells_views import flags, markers_of
from aequorea.report.checks import Check, bad, capital, few, fine, note, percent
from aequorea.report.numbers import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aequorea.report.cells_views import FieldView
    from aequorea.report.run_contents import RunContents

_SATURATED = 0.001
_AT_BORDER = 0.1
_SPREAD = 0.3
_HANGS = 0.1
_BORDERLINE = 0.1
_FEW_CELLS = 20
_HUGE = 0.25
_MOST = 0.5


def checks_of(run: RunContents, view: FieldView) -> list[Check]:
    """Findings, the worst first, then one line of what was fine."""
    found = [*_bad(run, view)]
    found += [note(text) for text in _warnings(run, view)]
    passed = [what for what, troubled in _passed(run, view).items() if not troubled]
    if passed:
        found.append(fine(f"No trouble found with: {', '.join(passed)}."))
    return found


def _bad(run: RunContents, view: FieldView) -> Iterator[Check]:
    if not len(view.cells):
        yield bad("No cell was found. See how the channel was segmented, below.")
    for role, name in markers_of(view.names).items():
        by_objects = run.parameter(f"{role}.rule") != "intensity"
        if by_objects and not len(run.table(f"{role}_properties")):
            yield bad(f"No object of {name} was found, so no cell can be positive for it.")


def _warnings(run: RunContents, view: FieldView) -> Iterator[str]:
    yield from dict.fromkeys(str(message) for message in run.record.get("warnings", []))
    yield from _uncalibrated(run, view)
    yield from _saturated(run, view)
    yield from _segmentation_notes(run)
    for role in view.names:
        yield from _unlike_thresholds(run, role, view.names[role])
    yield from _borders(run, view)
    yield from _huge(view)
    yield from _few(run)
    for role, name in markers_of(view.names).items():
        yield from _hanging(run, role, name)
        yield from _flat_by_construction(run, role, name)
        yield from _found_threshold(run, role, name)
    yield from positivity_notes(run)


def _uncalibrated(run: RunContents, view: FieldView) -> Iterator[str]:
    missing = [a for a, s in view.image.spacing_um.items() if s is None]
    told = any("pixel size" in str(message) for message in run.record.get("warnings", []))
    if missing and not told:
        yield f"No pixel size along {', '.join(missing)}: lengths and areas are in pixels."


def _saturated(run: RunContents, view: FieldView) -> Iterator[str]:
    for row in run.table("channels").to_dict("records"):
        share = float(row["saturated_fraction"])
        if share > _SATURATED:
            yield (
                f"{percent(share)} of the pixels of {row['channel']} are saturated: their "
                "intensities are too low, and thresholds taken from them too."
            )
            continue
        clipped, value = view.likely_clipped(str(row["role"]))
        if clipped > _SATURATED:
            where = " of the maximum projection" if view.is_stack else ""
            yield (
                f"{percent(clipped)} of the pixels{where} of {row['channel']} are at "
                f"{number(int(value))}, the end of a camera's range: probably saturated."
            )


def _segmentation_notes(run: RunContents) -> Iterator[str]:
    """Notes of each method that are no warnings of the run already."""
    told = [str(message) for message in run.record.get("warnings", [])]
    where: dict[tuple[str, str], list[str]] = {}
    for name, table in run.tables.items():
        if not name.startswith("segmentation_") or "note" not in table:
            continue
        for row in table.to_dict("records"):
            given = row["method"] == "given labels"
            if isinstance(row["note"], str) and row["note"] and not given:
                where.setdefault((row["channel"], row["note"]), []).append(str(row["roi_name"]))
    for (channel, said), regions in where.items():
        if not any(t.startswith(f"{channel}, ") and said in t for t in told):
            yield f"{channel}, {_region_names(regions)}: {said.rstrip('.')}."


def _unlike_thresholds(run: RunContents, role: str, name: str) -> Iterator[str]:
    """Regions judged by different yardsticks."""
    spread = threshold_spread(run, role)
    if spread is None or spread[2] <= _SPREAD:
        return
    low, high, _ = spread
    given = "" if role == "cell" else ", or compare intensities"
    yield (
        f"The threshold of {name} differs a lot between regions ({number(low)} to {number(high)} "
        f"grey levels), so an equally bright object may be found in one and missed in another. "
        f"To count all regions by one yardstick give {role}.threshold_value{given}."
    )


def threshold_spread(run: RunContents, role: str) -> tuple[float, float, float] | None:
    """Lowest and highest threshold of the regions, and their difference over the signal.

    The signal is the median threshold above the channel's darkest pixel, where thresholds are
    grey levels of the unfiltered image. None with fewer than two.
    """
    table = run.table(f"segmentation_{role}")
    if "threshold" not in table:
        return None
    found = table["threshold"].to_numpy(np.float64, na_value=np.nan)
    found = found[np.isfinite(found)]
    if found.size < 2:
        return None
    channels = run.table("channels").set_index("role")
    filtered = run.parameter(f"{role}.prefilters") or run.parameter(
        f"{role}.threshold_background_sigma_px"
    )
    darkest = 0.0 if filtered else float(channels["min"].to_dict()[role])
    signal = abs(float(np.median(found)) - darkest)
    low, high = float(found.min()), float(found.max())
    return low, high, (high - low) / signal if signal > 0 else 0.0


def _borders(run: RunContents, view: FieldView) -> Iterator[str]:
    share, images, ends = _at_borders(view)
    if share <= _AT_BORDER:
        return
    stack = f", {percent(ends)} the first or last plane of the stack" if ends else ""
    yield (
        f"{percent(share)} of the cells touch the border of their region or of the image "
        f"({percent(images)} that of the image{stack}): they may be cut, and so are their size, "
        f"shape and intensity. {_counting_advice(run, view, ends=ends > 0)}"
    )


def _counting_advice(run: RunContents, view: FieldView, *, ends: bool) -> str:
    """A frame keeps to the plane; it knows nothing of the ends of a stack."""
    counting = str(run.parameter("counting.counting"))
    if counting != "all":
        beyond = ", which does not know the ends of the stack" if counting == "frame" else ""
        return f"The rule of counting in force is '{counting}'{beyond if ends else ''}."
    if not ends:
        better = "--counting frame does not, at the edges of the image"
    elif flags(view.cells["touches_roi_border"]).any():
        better = "--counting disector does not, at the edges of the image and the ends of the stack"
    else:
        better = "--counting disector or abercrombie does not, at the ends of the stack"
    return f"Each is counted as a whole cell, which overestimates densities; {better}."


def _at_borders(view: FieldView) -> tuple[float, float, float]:
    """Shares of cells at any border, at that of the image, and at the ends of the stack."""
    cells = view.cells
    if not len(cells):
        return 0.0, 0.0, 0.0
    image = flags(cells["touches_image_border"])
    either = flags(cells["touches_roi_border"]) | image
    known = "touches_z_border" in cells
    ends = float(flags(cells["touches_z_border"]).mean()) if known else 0.0
    return float(either.mean()), float(image.mean()), ends


def _huge(view: FieldView) -> Iterator[str]:
    """Background taken for a cell."""
    area = view.areas_px
    share = float(area.max(initial=0)) / max(1, int((view.rois > 0).sum()))
    if share > _HUGE:
        yield (
            f"One object, cell {int(area.argmax()) + 1}, covers {percent(share)} of all regions: "
            "background was probably taken for a cell."
        )


def _few(run: RunContents) -> Iterator[str]:
    overview = run.table("roi_coloc_overview")
    empty = [str(r) for r in overview.loc[overview["n_cells"] == 0, "roi_name"]]
    if empty and len(empty) < len(overview):
        verb = "holds" if len(empty) == 1 else "hold"
        yield f"{capital(_region_names(empty))} {verb} no cell: fractions are not defined there."
    few = overview[(overview["n_cells"] > 0) & (overview["n_cells"] < _FEW_CELLS)]
    if len(few):
        verb = "holds" if len(few) == 1 else "hold"
        where = _region_names([str(r) for r in few["roi_name"]])
        yield (
            f"{capital(where)} {verb} fewer than {_FEW_CELLS} "
            "cells: one cell more or less changes the fraction by more than 5 %."
        )


def _hanging(run: RunContents, role: str, name: str) -> Iterator[str]:
    cells = run.table("cell_summary")
    if not len(cells):
        return
    positive = int(flags(cells[f"{role}_positive"]).sum())
    if positive == len(cells) > 1:
        yield f"Every cell is positive for {name}: the threshold may be too low to tell any apart."
    change = change_of_positives(run, role, name)
    if change is not None:
        lower, higher, words = change
        if max(lower - positive, positive - higher) > max(2, _HANGS * positive):
            yield (
                f"The number of cells positive for {name} hangs on the threshold: {positive} are, "
                f"but {lower} and {higher} would be {words}. See the curve below."
            )
    near = borderline(run, role)
    if near is not None and near[0].mean() > _BORDERLINE:
        yield (
            f"{number(int(near[0].sum()))} of {number(len(cells))} cells "
            f"({percent(float(near[0].mean()))}) are borderline for {name}, {near[1]}. Look at "
            "them in the gallery."
        )


def _flat_by_construction(run: RunContents, role: str, name: str) -> Iterator[str]:
    """Where the pixels decide, a curve of the fraction says nothing of how firm the number is."""
    share = decided_by_pixels(run, role)
    if share <= _MOST:
        return
    positive = int(flags(run.table("cell_summary")[f"{role}_positive"]).sum())
    change = change_of_positives(run, role, name)
    firm = ""
    if change is not None:
        firm = (
            f" With half and with twice both limits {change[0]} and {change[1]} would be positive, "
            f"instead of {positive}."
        )
    least = run.parameter(f"{role}.min_overlap_px")
    yield (
        f"For {percent(share)} of the cells the {least} pixels ({role}.min_overlap_px) decide "
        f"whether they are positive for {name}, not the fraction: the curve below varies the "
        f"fraction alone and is flat there by construction.{firm}"
    )


def _found_threshold(run: RunContents, role: str, name: str) -> Iterator[str]:
    rule, given = (run.parameter(f"{role}.{n}") for n in ("rule", "intensity_threshold"))
    if rule == "intensity" and given is None and len(run.table("cell_summary")):
        yield (
            f"The intensity from which cells are positive for {name} was found from the cells "
            "themselves. That divides the cells of any image into two groups, even where none is "
            f"positive: take it from a control ({role}.intensity_threshold) where there is one."
        )


def positivity_notes(run: RunContents) -> Iterator[str]:
    """What calling cells positive left to say, once for each marker."""
    table = run.table("positivity")
    for row in table.to_dict("records"):
        if isinstance(row["note"], str) and row["note"]:
            yield f"{row['marker']}: {row['note'].rstrip('.')}."


def _passed(run: RunContents, view: FieldView) -> dict[str, bool]:
    """What was looked at, and whether there was trouble."""
    wrong: dict[str, Any] = {
        "pixel size": any(s is None for s in view.image.spacing_um.values()),
        "saturation": any(_saturated(run, view)),
        "cells cut by borders": any(_borders(run, view)) or not len(view.cells),
    }
    if len(run.table("roi_coloc_overview")) > 1:
        spreads = [threshold_spread(run, role) for role in view.names]
        if any(s is not None for s in spreads):
            wrong["thresholds that differ between regions"] = any(
                s is not None and s[2] > _SPREAD for s in spreads
            )
    markers = markers_of(view.names)
    if markers and len(view.cells):
        wrong["numbers that hang on the threshold"] = any(
            any(_hanging(run, role, name)) or decided_by_pixels(run, role) > _MOST
            for role, name in markers.items()
        )
    return wrong


def _region_names(names: list[str]) -> str:
    told = list(dict.fromkeys(names))
    if told == ["whole image"]:
        return "the whole image"
    return f"region{'' if len(told) == 1 else 's'} {few(told)}"
