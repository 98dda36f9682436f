"""The page of a study of cells, made from nothing but the directory of the study."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aequorea.report.canvas import DPI
from aequorea.report.cells_methods import methods_of_cells
from aequorea.report.cells_positivity import rule_in_words
from aequorea.report.cells_views import markers_of, names_of
from aequorea.report.checks import Check, few, fine, note, percent
from aequorea.report.data_table import named
from aequorea.report.numbers import counted, fixed, number
from aequorea.report.page import render_page, write_atomically
from aequorea.report.page_parts import Plate, Plates
from aequorea.report.study import (
    KEPT,
    SampleColumn,
    StudyContents,
    facts_of,
    failures,
    files_of,
    open_study,
    records,
    sample_table,
)
from aequorea.report.study_comparison import (
    Quantity,
    comparison_tables,
    headline_of,
    images_of,
    misleading,
    panel_of,
    passed,
    superplot_caption,
)
from aequorea.report.study_controls import NEGATIVE, ControlsSection, controls_of
from aequorea.report.study_methods import say_comparison, say_controls, say_samples
from aequorea.report.superplot import superplot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from aequorea.report.data_table import DataTable
    from aequorea.report.methods import MethodsText
    from aequorea.report.run_contents import RunContents

__all__ = ["write_report"]

_OVERVIEW = "roi_coloc_overview"
_TABLES = ("cell_summary", "channels", "phenotypes", "positivity", _OVERVIEW)
_BEGIN = ("comparison", "segmentation_", "label_changes_")
_FEW_CELLS = 20
_SATURATED = 0.001
_SPREAD = 0.3
_PIXEL_SPREAD = 0.02
_BY_LEVEL = frozenset({"otsu", "li", "percentile", "watershed"})


def write_report(directory: Path) -> Path:
    """Write ``report.html`` of a study of cells.

    Parameters
    ----------
    directory : Path
        With ``run.json``, ``study.json`` and ``tables``.

    Returns
    -------
    Path
        One file that opens offline and loads nothing; its links lead to the pages of the samples
        beside it. It appears whole or not at all.

    Raises
    ------
    RunError
        If the directory does not hold a study.
    OutputError
        If the page cannot be written.
    """
    return write_atomically(directory / "report.html", report_html(directory))


def report_html(directory: Path) -> str:
    """The page of :func:`write_report`, as text."""
    study = open_study(directory, only=lambda name: name in _TABLES or name.startswith(_BEGIN))
    run = study.run
    names = _names(study)
    quantities = list(_quantities(study, names))
    controls = controls_of(study, list(_control_cells(study, names)))
    return render_page(
        "study.html.j2",
        workflow="cells",
        title=study.title,
        facts=_facts(study, names),
        checks=_checks(study, quantities, names, controls),
        headlines=[headline_of(study, quantity) for quantity in quantities],
        rules=[_rule(run, role, name) for role, name in markers_of(names).items()],
        nothing="Nothing is compared: there is no marker, or nothing was measured.",
        unit_matters="Cells, regions and images of one animal are not independent replicates of a "
        "treatment; the animal (or culture) is.",
        superplot=_superplot(study, quantities),
        comparisons=comparison_tables(quantities),
        samples=_samples(study, names),
        controls=controls if len(study.controls) else None,
        tables=list(_tables(study, names)),
        methods=_methods(study, names, quantities),
        parameters=run.parameter_rows(),
        record=run.record,
        steps=[(n, s) for n, s in run.record.get("steps", {}).items() if n != "report"],
        files=files_of(study),
        kept=KEPT,
    )


def headlines(directory: Path) -> list[str]:
    """What a study found about each marker, one line each; none while it is blinded.

    Raises
    ------
    RunError
        If the directory does not hold a study.
    """
    study = open_study(directory, only=lambda name: name in _TABLES or name.startswith(_BEGIN))
    if study.hidden:
        return []
    return [headline_of(study, q).verdicts[0] for q in _quantities(study, _names(study))]


def _names(study: StudyContents) -> dict[str, str]:
    """What roles are called, the cells first; from the parameters where nothing was measured."""
    if len(study.run.table("channels")):
        first = study.run.table("channels").drop_duplicates("role")
        return names_of(replace(study.run, tables={"channels": first}))
    groups = dict.fromkeys(k.split(".")[0] for k in study.run.record["parameters"] if "." in k)
    roles = ["cell", *(g for g in groups if g.startswith("marker"))]
    return {role: _told_name(study.run, role) for role in roles}


def _told_name(run: RunContents, role: str) -> str:
    return str(run.parameter(f"{role}.name") or run.parameter(f"{role}.channel") or role)


def _ending(run: RunContents) -> str:
    """Of the columns with the cells that count; corrected numbers are no whole ones."""
    return "" if run.parameter("counting.counting") == "abercrombie" else "_counted"


def _quantities(study: StudyContents, names: Mapping[str, str]) -> Iterator[Quantity]:
    run, ending = study.run, _ending(study.run)
    overview = run.table(_OVERVIEW)
    for role, name in markers_of(names).items():
        positive, whole = f"n_{role}_positive_cells{ending}", f"n_cells{ending}"
        if not {positive, whole} <= set(overview.columns):
            continue
        images, animals = images_of(study, overview, positive, whole)
        of = "" if role == "marker" else f"_{role}"
        step = run.record.get("steps", {}).get(f"comparison{of}", {})
        asked = step.get("parameters", {}).get("comparison") or {}
        yield Quantity(
            name=name,
            what=f"cells positive for {name}",
            images=images,
            animals=animals,
            pairs=run.table(f"comparison{of}"),
            conditions=run.table(f"comparison_conditions{of}"),
            file=f"tables/comparison{of}.csv",
            confidence=float(asked.get("confidence", 0.95)),
            by=str(asked.get("unit", "animal")),
        )


def _facts(study: StudyContents, names: Mapping[str, str]) -> list[tuple[str, str]]:
    return [
        *facts_of(study),
        ("Cells", names["cell"]),
        ("Markers", ", ".join(markers_of(names).values()) or "none"),
        ("Pixel spacing", _calibration(study)),
        ("Analysed", study.run.analysed),
    ]


def _rule(run: RunContents, role: str, name: str) -> str:
    return f"A cell is positive for {name} if {rule_in_words(run, role, name)}."


def _superplot(study: StudyContents, quantities: list[Quantity]) -> Plate | None:
    panels = [p for q in quantities if (p := panel_of(study, q)) is not None]
    if not panels:
        return None
    return Plates().draw(
        superplot(panels),
        "Positive fractions.",
        superplot_caption(study, quantities),
        "Positive fraction of images and animals by condition",
        dpi=DPI,
        most=900_000,
    )


def _checks(
    study: StudyContents,
    quantities: list[Quantity],
    names: Mapping[str, str],
    controls: ControlsSection,
) -> list[Check]:
    """Failures first, then what misleads, then one line of what was fine."""
    found = [*failures(study), *misleading(study, quantities)]
    found += controls.troubles
    own = list(_of_cells(study, quantities, names))
    found += own
    right = list(passed(study, quantities))
    if _pixel_sizes(study) and not any("ixel size" in c.text for c in own):
        right.append("pixel size")
    if right:
        found.append(fine(f"No trouble found with: {', '.join(right)}."))
    return found


def _of_cells(
    study: StudyContents, quantities: list[Quantity], names: Mapping[str, str]
) -> Iterator[Check]:
    for role, name in names.items():
        yield from _thresholds_by_image(study, role, name)
    for role, name in markers_of(names).items():
        yield from _intensities_by_image(study, role, name)
    yield from _small_animals(quantities)
    yield from _unlike_pixels(study)
    yield from _unlike_names(study)


def _control_cells(study: StudyContents, names: Mapping[str, str]) -> Iterator[Check]:
    """How many cells of images without a stain are positive for it."""
    overview = study.run.table(_OVERVIEW)
    if "control" not in overview:
        return
    ending = _ending(study.run)
    for kind, rows in overview.dropna(subset=["control"]).groupby("control", sort=True):
        n = float(rows[f"n_cells{ending}"].sum())
        for role, name in markers_of(names).items():
            if not _without_stain(str(kind), role, name):
                continue
            positive = float(rows[f"n_{role}_positive_cells{ending}"].sum())
            where = f"{kind} controls, which carry no {name}"
            if not n > 0:
                yield note(
                    f"In {where}, no cell was found: how many would be positive is not known."
                )
                continue
            told = f"{_whole(positive)} of {_whole(n)} cells ({percent(positive / n)})"
            own = _found_by_image(study.run, role)
            light = note if positive > 0 else fine
            yield light(f"In {where}, {told} are positive for {name}{own}.")


def _without_stain(kind: str, role: str, name: str) -> bool:
    stain = kind.removeprefix("single:") if kind.startswith("single:") else None
    if stain is None:
        return kind in NEGATIVE
    return stain.casefold() not in {role.casefold(), name.casefold()}


def _found_by_image(run: RunContents, role: str) -> str:
    by_cells = run.parameter(f"{role}.rule") == "intensity"
    key = "intensity_threshold" if by_cells else "threshold_value"
    found = by_cells or run.parameter(f"{role}.method") in _BY_LEVEL
    if found and run.parameter(f"{role}.{key}") is None:
        return (
            ", by a threshold found in these very images; an automatic one finds something in any. "
            f"Give {role}.{key} to judge them as the samples are"
        )
    return ""


def _thresholds_by_image(study: StudyContents, role: str, name: str) -> Iterator[Check]:
    """Images judged by different yardsticks, and conditions too."""
    run = study.run
    table = run.table(f"segmentation_{role}")
    if "threshold" not in table or run.parameter(f"{role}.threshold_value") is not None:
        return
    used = table[table["control"].isna() & table["threshold"].notna()]
    if used["sample"].nunique() < 2:
        return
    low, high, middle = (float(f(used["threshold"])) for f in (np.min, np.max, np.median))
    filtered = run.parameter(f"{role}.prefilters") or run.parameter(
        f"{role}.threshold_background_sigma_px"
    )
    channels = run.table("channels")
    darkest = 0.0 if filtered else float(channels.loc[channels["role"] == role, "min"].median())
    if not high - low > _SPREAD * abs(middle - darkest):
        return
    what = "cells" if role == "cell" else f"objects of {name}"
    yield note(
        f"The threshold of {what} was found in each image by itself, {number(low)} to "
        f"{number(high)} grey levels{_by_condition(used)}: an equally bright object may be found "
        "in one image and missed in another, and what differs in brightness alone is evened out. "
        f"To judge all images by one yardstick give {role}.threshold_value."
    )


def _by_condition(used: pd.DataFrame) -> str:
    """``" (median of sham 152, tac 240)"`` where conditions are known."""
    if "condition" not in used or used["condition"].nunique() < 2:
        return ""
    medians = used.groupby("condition", sort=False)["threshold"].median()
    told = few([f"{condition} {number(float(value))}" for condition, value in medians.items()])
    return f" (median of {told})"


def _intensities_by_image(study: StudyContents, role: str, name: str) -> Iterator[Check]:
    run = study.run
    if run.parameter(f"{role}.rule") != "intensity" or not len(run.table("cell_summary")):
        return
    if run.parameter(f"{role}.intensity_threshold") is None:
        yield note(
            f"The intensity from which cells are positive for {name} was found in each image from "
            "its own cells. That divides the cells of any image into two groups, even where none "
            "is positive, and evens out what conditions differ in: take one threshold for all "
            f"from a control ({role}.intensity_threshold)."
        )


def _small_animals(quantities: list[Quantity]) -> Iterator[Check]:
    if not quantities:
        return
    animals = quantities[0].animals
    small = animals[animals["whole"] < _FEW_CELLS]
    if len(small):
        names = [str(a) for a in small["animal"]]
        verb, their = ("has", "its") if len(names) == 1 else ("have", "their")
        yield note(
            f"{few(names)} {verb} fewer than {_FEW_CELLS} cells: {their} fraction is coarse, yet "
            "counts as much as that of any other animal."
        )


def _pixel_sizes(study: StudyContents) -> dict[str, float]:
    """Side of a pixel by sample, in µm; NaN where unknown."""
    overview = study.run.table(_OVERVIEW)
    if not len(overview):
        return {}
    first = overview[overview["drawn_roi_area_px"] > 0].drop_duplicates("sample")
    area = first["drawn_roi_area_um2"].to_numpy(np.float64, na_value=np.nan)
    sides = np.sqrt(area / first["drawn_roi_area_px"].to_numpy(np.float64))
    return dict(zip(first["sample"].astype(str), sides.tolist(), strict=True))


def _unlike_pixels(study: StudyContents) -> Iterator[Check]:
    sizes = _pixel_sizes(study)
    known = [s for s in sizes.values() if math.isfinite(s)]
    unknown = [name for name, s in sizes.items() if not math.isfinite(s)]
    if unknown and known:
        yield note(f"Without a pixel size, unlike the others: {few(unknown)}.")
    elif unknown:
        yield note("No pixel size is known: lengths and areas are in pixels.")
    if known and max(known) > (1 + _PIXEL_SPREAD) * min(known):
        yield note(
            f"Pixel sizes differ between images ({min(known):.4g} to {max(known):.4g} µm): what is "
            "given in pixels, such as the smallest cell or overlap, means different sizes."
        )


def _unlike_names(study: StudyContents) -> Iterator[Check]:
    channels = study.run.table("channels")
    for role, rows in channels.groupby("role", sort=False) if len(channels) else ():
        names = [str(n) for n in rows["channel"].unique()]
        if len(names) > 1:
            yield note(
                f"The channel of the {role} is not called alike in all images ({few(names)}); the "
                "page uses the first name."
            )


def _calibration(study: StudyContents) -> str:
    known = [s for s in _pixel_sizes(study).values() if math.isfinite(s)]
    if not known:
        return "not known; lengths are in pixels"
    low, high = f"{min(known):.4g}", f"{max(known):.4g}"
    return f"{low} µm" if low == high else f"{low} to {high} µm"


def _samples(study: StudyContents, names: Mapping[str, str]) -> DataTable:
    overview, ending = study.run.table(_OVERVIEW), _ending(study.run)
    columns: list[SampleColumn] = []
    sums = pd.DataFrame()
    if len(overview):
        wanted = [c for c in overview.columns if str(c).startswith("n_")]
        sums = overview.groupby("sample", sort=False)[wanted].sum()
        cells = _numbers(sums, f"n_cells{ending}")
        columns.append(SampleColumn(column="n_cells", heading="cells", values=cells, text=_whole))
    for role, name in markers_of(names).items() if len(sums) else ():
        positive = _numbers(sums, f"n_{role}_positive_cells{ending}")
        shares = {k: 100 * positive[k] / n if n > 0 else math.nan for k, n in cells.items()}
        columns.append(
            SampleColumn(
                column=f"n_{role}_positive_cells",
                heading=f"{name} + (%)",
                values=shares,
                text=lambda value: fixed(value, 1),
            )
        )
    return sample_table(study, columns, _look_at(study, names))


def _numbers(sums: pd.DataFrame, column: str) -> dict[str, float]:
    return {str(k): float(v) for k, v in sums[column].items()}


def _whole(value: float) -> str:
    return number(round(value)) if value == round(value) else number(value)


def _look_at(study: StudyContents, names: Mapping[str, str]) -> dict[str, list[str]]:
    """Why samples that did not fail need looking at."""
    found = {str(s): study.warnings_of(str(s)) for s in study.samples["sample"]}
    if study.hidden:
        counts = dict(zip(study.samples["sample"], study.samples["n_warnings"], strict=True))
        found = {
            s: [f"{counted(n, 'warning')}: see its page"] if n else [] for s, n in counts.items()
        }
    for sample, text in _troubles(study, names):
        found.setdefault(sample, []).append(text)
    return found


def _troubles(study: StudyContents, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    run = study.run
    for row in records(run.table("channels")):
        if float(row["saturated_fraction"]) > _SATURATED:
            yield (
                str(row["sample"]),
                f"more than {percent(_SATURATED)} of {row['channel']} saturated",
            )
    overview = run.table(_OVERVIEW)
    n_cells = overview.groupby("sample")["n_cells"].sum() if len(overview) else pd.Series(dtype=int)
    for sample, n in n_cells.items():
        if n < _FEW_CELLS:
            yield str(sample), "no cell was found" if n == 0 else f"fewer than {_FEW_CELLS} cells"
    for row in records(run.table("positivity")):
        if row["n_positive"] == row["n_cells"] > 1:
            yield str(row["sample"]), f"every cell is positive for {row['marker']}"
        for said in str(row["note"] or "").split("; "):
            if said and not said.startswith("automatic intensity threshold"):
                yield str(row["sample"]), f"{row['marker']}: {said}"
    for role in names:
        for row in records(run.table(f"segmentation_{role}")):
            told = row.get("note")
            if isinstance(told, str) and told and row["method"] != "given labels":
                yield str(row["sample"]), f"{row['channel']}: {told.rstrip('.')}"


def _tables(study: StudyContents, names: Mapping[str, str]) -> Iterator[tuple[str, DataTable]]:
    overview = study.run.table(_OVERVIEW)
    if not len(overview) or len(overview) == overview["sample"].nunique():
        return
    columns = {"sample": "sample", "roi_name": "region", f"n_cells{_ending(study.run)}": "cells"}
    for role, name in markers_of(names).items():
        columns[f"n_{role}_positive_cells{_ending(study.run)}"] = f"{name} +"
    yield "Regions of all images", named(overview, columns, file=f"tables/{_OVERVIEW}.csv")


def _methods(
    study: StudyContents, names: Mapping[str, str], quantities: list[Quantity]
) -> MethodsText:
    run = study.run
    overview = run.table(_OVERVIEW)
    parameters = dict(run.record["parameters"])
    if len(overview) and bool((overview["roi_name"] != "whole image").any()):
        parameters["regions"] = parameters.get("regions") or "the region files of the images"
    cells = run.table("cell_summary")
    is_stack = any(str(c).endswith("_3d") and bool(cells[c].notna().any()) for c in cells)
    used = {n: t[t["control"].isna()] if "control" in t else t for n, t in run.tables.items()}
    text = methods_of_cells(
        replace(run, record={**run.record, "parameters": parameters}, tables=used),
        names,
        calibration=_calibration(study),
        is_stack=is_stack,
    )
    say_samples(text, study)
    say_comparison(text, study, quantities, what="fractions of positive cells")
    say_controls(text, study)
    return text
