"""The page of a study of confocal stacks, made from nothing but the directory of the study."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.report.canvas import DPI, PIXELS_DPI
from aequorea.report.cells_views import names_of
from aequorea.report.checks import Check, few, fine, note, percent
from aequorea.report.confocal_figures import (
    SheetTile,
    condition_curves_figure,
    contact_sheet,
    elbow_figure,
)
from aequorea.report.confocal_lights import ImageLight, lights_of, lights_table
from aequorea.report.confocal_methods import methods_of_confocal
from aequorea.report.data_table import DataTable, named
from aequorea.report.methods import MethodsText
from aequorea.report.numbers import counted, number
from aequorea.report.page import render_page, write_atomically
from aequorea.report.page_parts import Plate, Plates
from aequorea.report.run_contents import RunContents, StoredImage
from aequorea.report.study import (
    KEPT,
    SampleColumn,
    StudyContents,
    design_of,
    facts_of,
    failures,
    files_of,
    open_study,
    records,
    sample_table,
    warned,
)
from aequorea.report.study_comparison import (
    Quantity,
    headline_of,
    misleading,
    panel_of,
    passed,
    superplot_caption,
)
from aequorea.report.study_controls import controls_of
from aequorea.report.study_methods import say_comparison, say_controls, say_samples
from aequorea.report.superplot import superplot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["write_report"]

_TABLES = (
    "cells", "channels", "thresholds", "elbows", "triage", "efficiency", "common_thresholds",
    "traffic_lights",
)  # fmt: skip
_BEGIN = ("comparison", "distribution_")
_WORKBOOK = "results/confocal.xlsx"
_MOST_PANELS = 12
_FOREMOST = (
    "share of the cytosol nearer to the nucleus",
    "mean distance to the nucleus over an even spread",
    "puncta per cell",
)
_MOST_SHEETS = 24
_UNLIKE = 0.05
_SAME_VOXEL = 0.01
_UNCOUNTED = "touches_side"
# From platelets and sperm heads to large cardiac myocytes and oocytes.
_LEAST_UM3, _MOST_UM3 = 20.0, 1_000_000.0
_MEASURES = {
    "distance_um": "distance to the nucleus (µm)",
    "normalized_distance": "distance over that of the membrane",
    "volume_rank": "share of the cytosol nearer to the nucleus",
}
_CURVES_EXPLAINED = (
    "Distance of the curves: area between the mean curves (Wasserstein), in the unit of the axis; "
    "by chance: its mean over all ways to deal the animals out"
)


def write_report(directory: Path) -> Path:
    """Write ``report.html`` of a study of confocal stacks.

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
    quantities = list(_quantities(study))
    controls = controls_of(study, [])
    plates, lights = Plates(), lights_of(study)
    return render_page(
        "confocal_study.html.j2",
        workflow="confocal stacks",
        title=study.title,
        facts=[*facts_of(study), ("Channels", _channels(names)), ("Analysed", run.analysed)],
        checks=[*failures(study), *_checks(study, quantities), *controls.troubles],
        headlines=[headline_of(study, q) for q in _foremost(quantities)],
        rules=[],
        nothing="Nothing is compared: the study has no conditions, or nothing was measured.",
        unit_matters="Puncta of a cell, cells and images of one animal are not independent "
        "replicates of a treatment; the animal (or culture) is.",
        superplot=_superplot(study, quantities, plates),
        comparisons=list(_comparisons(study)),
        curves=list(_curves(study, names, plates)),
        curve_tables=list(_curve_tables(study, names)),
        elbows=_elbows(study, names, plates),
        sheet=_sheet(study, lights, plates),
        lights=lights_table(lights),
        triage_page=bool(lights),
        workbook=_WORKBOOK if (directory / _WORKBOOK).is_file() else "",
        samples=_samples(study, names, lights),
        triage=_triage(study),
        controls=controls if len(study.controls) else None,
        tables=[],
        methods=_methods(study, names, quantities),
        parameters=run.parameter_rows(),
        record=run.record,
        steps=[(n, s) for n, s in run.record.get("steps", {}).items() if n != "report"],
        files=files_of(study),
        kept=KEPT,
    )


def _names(study: StudyContents) -> dict[str, str]:
    channels = study.run.table("channels")
    if not len(channels):
        return {}
    first = channels.drop_duplicates("role")
    return names_of(replace(study.run, tables={"channels": first}))


def _channels(names: Mapping[str, str]) -> str:
    return ", ".join(f"{n} ({r})" if n != r else r for r, n in names.items()) or "none read"


def _quantities(study: StudyContents) -> Iterator[Quantity]:
    """Every outcome that was compared; q-values are corrected for all of them."""
    run = study.run
    cells, pairs = run.table("cells"), run.table("comparison")
    if not len(cells) or "column" not in pairs:
        return
    conditions, animals = run.table("comparison_conditions"), run.table("comparison_animals")
    asked = run.record.get("steps", {}).get("comparison", {}).get("parameters", {})
    options = asked.get("parameters") or {}
    tested = int(pairs["p_value"].notna().sum())
    kept = _compared_cells(study, cells)
    for column in dict.fromkeys(conditions["column"]):
        own = conditions[conditions["column"] == column]
        name = str(own["outcome"].iloc[0])
        head, _, unit = name.partition(" (")
        yield Quantity(
            name=head,
            what=head,
            images=_images(study, kept, column),
            animals=_animals(animals[animals["column"] == column]),
            pairs=pairs[pairs["column"] == column],
            conditions=own,
            mean="mean",
            otherwise="pooled_mean",
            scale=1.0,
            unit=unit.rstrip(")") if unit in {"µm)", "µm³)"} else "",
            steps=unit.rstrip(")") if unit in {"µm)", "µm³)"} else "",
            decimals=None,
            least=None,
            most=None,
            confidence=float(options.get("confidence", 0.95)),
            by=str(options.get("unit", "animal")),
            corrected_for=tested,
        )


def _foremost(quantities: list[Quantity]) -> list[Quantity]:
    """Those that answer the question of the study, one of each stain; the rest is in the table."""
    first = [q for q in quantities if any(word in q.name for word in _FOREMOST)]
    return first or quantities[:1]


def _comparisons(study: StudyContents) -> Iterator[tuple[str, DataTable]]:
    """Every outcome that was compared, and each condition's mean of it."""
    pairs, conditions = study.run.table("comparison"), study.run.table("comparison_conditions")
    if len(pairs):
        told = [f"{c} − {r}" for c, r in zip(pairs["condition"], pairs["reference"], strict=True)]
        columns = {
            "outcome": "outcome",
            "comparison": "comparison",
            "difference": "difference",
            "ci_low": "from",
            "ci_high": "to",
            "ratio": "ratio of means",
            "hedges_g": "Hedges' g",
            "p_value": "p",
            "q_value": "q (FDR)",
            "n_condition": "n",
            "n_reference": "n, reference",
        }
        methods = [str(m) for m in dict.fromkeys(pairs["method"]) if m]
        explained = [
            "From, to: confidence interval of the difference",
            *(f"Test: {m}, two-sided" for m in methods),
            f"q (FDR): p corrected for all {int(pairs['p_value'].notna().sum())} tests",
        ]
        shown = pairs.assign(comparison=told)
        file = "tables/comparison.csv"
        yield "Conditions compared", named(shown, columns, file=file, explained=explained)
    if len(conditions):
        columns = {
            "outcome": "outcome",
            "condition": "condition",
            "mean": "mean of animals",
            "ci_low": "from",
            "ci_high": "to",
            "sd": "SD of animals",
            "pooled_mean": "all cells pooled",
            "n_animals": "animals",
            "n_cells": "cells",
        }
        yield "Conditions", named(conditions, columns, file="tables/comparison_conditions.csv")


def _compared_cells(study: StudyContents, cells: pd.DataFrame) -> pd.DataFrame:
    """Cells that enter the comparison: whole, of samples that nobody rejected."""
    rows = cells[~cells[_UNCOUNTED].astype(bool)]
    return rows[~rows["sample"].isin(study.rejected)]


def _images(study: StudyContents, cells: pd.DataFrame, column: str) -> pd.DataFrame:
    values = cells.groupby("sample", sort=False)[column].agg(["mean", "size"]).reset_index()
    values = values.rename(columns={"mean": "value", "size": "whole"})
    found: pd.DataFrame = design_of(study).merge(values, on="sample", how="inner")
    return found


def _animals(rows: pd.DataFrame) -> pd.DataFrame:
    found: pd.DataFrame = rows[["condition", "animal", "value"]].assign(whole=rows["n_cells"])
    return found


def _superplot(study: StudyContents, quantities: list[Quantity], plates: Plates) -> Plate | None:
    panels = [p for q in quantities if (p := panel_of(study, q)) is not None][:_MOST_PANELS]
    if not panels:
        return None
    return plates.draw(
        superplot(panels),
        "Numbers per cell.",
        superplot_caption(study, quantities) + " Cells cut by the side of the image are left out.",
        "Numbers per cell of images and animals by condition",
        dpi=DPI,
        most=900_000,
    )


def _curves(study: StudyContents, names: Mapping[str, str], plates: Plates) -> Iterator[Plate]:
    curves = study.run.table("distribution_curves")
    confidence = percent(float(study.run.parameter("compare.confidence") or 0.95))
    for measure, label in _measures_of(curves, names).items():
        own = curves[curves["measure"] == measure] if len(curves) else curves
        if not len(own):
            continue
        yield plates.draw(
            condition_curves_figure(own, names, label),
            f"{label[0].upper()}{label[1:]}.",
            "Thin: mean distribution of each animal, each of its cells with weight 1. Thick: mean "
            "of the animals. Dashed: an even spread in the same cytosols. Shaded, from six animals "
            f"on: the band that holds the whole mean curve ({confidence}).",
            f"Cumulative distributions of the {label} by condition",
            dpi=DPI,
            most=300_000,
        )


def _measures_of(table: pd.DataFrame, names: Mapping[str, str]) -> dict[str, str]:
    """What is compared as distributions, landmarks of the study last."""
    found = dict(_MEASURES)
    for measure in dict.fromkeys(table["measure"]) if len(table) else ():
        role = str(measure).removesuffix("_distance_um")
        if role.rstrip("0123456789") == "landmark":
            found[str(measure)] = f"distance to {names.get(role, role)} (µm)"
    return found


def _curve_tables(
    study: StudyContents, names: Mapping[str, str]
) -> Iterator[tuple[str, DataTable]]:
    pairs = study.run.table("distribution_comparison")
    if len(pairs):
        shown = pairs.assign(
            channel=[names.get(r, r) for r in pairs["role"]],
            what=[_measures_of(pairs, names).get(m, m) for m in pairs["measure"]],
            comparison=[f"{c} − {r}" for c, r in zip(pairs["condition"], pairs["reference"],
                                                     strict=True)],
        )  # fmt: skip
        columns = {
            "channel": "channel",
            "what": "of",
            "comparison": "comparison",
            "wasserstein": "distance of the curves",
            "wasserstein_by_chance": "by chance",
            "shift": "shift of the mean",
            "shift_low": "from",
            "shift_high": "to",
            "p_value": "p",
            "q_value": "q (FDR)",
            "n_condition": "n",
            "n_reference": "n, reference",
        }
        tests = zip(pairs["method"], pairs["hypothesis"], strict=True)
        told = [f"Test: {m}; null: {h.rstrip('.')}" for m, h in dict.fromkeys(tests) if m]
        explained = [_CURVES_EXPLAINED, *told]
        yield (
            "Distributions compared",
            named(shown, columns, file="tables/distribution_comparison.csv", explained=explained),
        )
    halves = study.run.table("distribution_conditions")
    if len(halves):
        shown = halves.assign(
            channel=[names.get(r, r) for r in halves["role"]],
            what=[_measures_of(halves, names).get(m, m) for m in halves["measure"]],
        )
        columns = {
            "channel": "channel",
            "what": "of",
            "condition": "condition",
            "median_of_mean_cdf": "median of the mean curve",
            "mean_of_medians": "mean of the cells' medians",
            "median_by_chance": "median by chance",
            "n_animals": "animals",
            "n_cells": "cells",
            "n_values": "puncta",
        }
        yield "Half-distances", named(shown, columns, file="tables/distribution_conditions.csv")


def _elbows(study: StudyContents, names: Mapping[str, str], plates: Plates) -> Plate | None:
    curves, thresholds = study.run.table("elbows"), study.run.table("thresholds")
    if not len(curves) or not len(thresholds):
        return None
    levels = {
        str(role): float(np.median(rows["threshold"].to_numpy(float)))
        for role, rows in thresholds.groupby("role", sort=False)
    }
    return plates.draw(
        elbow_figure(_on_common_levels(curves), levels, names),
        "Puncta against the threshold.",
        "Mean over all images of how many candidates reach each threshold; dashed, the one in "
        "force, the same for all images unless it was given for some. "
        + ". ".join([*_common_thresholds(study, names), ""]).strip(),
        "Number of puncta against the threshold",
        dpi=DPI,
        most=200_000,
    )


def _on_common_levels(curves: pd.DataFrame) -> pd.DataFrame:
    """Every image's curve on the same thresholds, and their mean."""
    parts = []
    for role, own in curves.groupby("role", sort=False):
        grid = np.linspace(0, float(own["threshold"].max()), 200)
        images = [
            np.interp(grid, one["threshold"], one["n_above"], right=0.0)
            for _, one in own.groupby("sample", sort=False)
        ]
        parts.append(
            pd.DataFrame({"role": role, "threshold": grid, "n_above": np.mean(images, axis=0)})
        )
    return pd.concat(parts, ignore_index=True)


def _sheet(study: StudyContents, lights: Sequence[ImageLight], plates: Plates) -> Plate | None:
    """Every image, small, with what was found in it and its light; red ones first."""
    directories = dict(zip(study.measured["sample"], study.measured["directory"], strict=True))
    seen = [light for light in lights if light.sample in directories]
    tiles = []
    channels_of = _channels_by_sample(study)
    for light in seen[:_MOST_SHEETS]:
        image = StoredImage(study.run.path / str(directories[light.sample]))
        roles = channels_of.get(light.sample, {})
        shown = roles.get("cells") or roles.get("nuclei") or image.channels[0]
        spots = next((c for role, c in roles.items() if role.startswith("puncta")), None)
        tiles.append(
            SheetTile(
                title=f"{light.word}  {light.sample}",
                plane=image.projection(shown),
                spots=None if spots is None else image.projection(spots),
                labels=[image.label_projection(name) for name in ("nuclei", "cells")],
                light=light.light,
            )
        )
    if not tiles:
        return None
    more = len(seen) - len(tiles)
    return plates.draw(
        contact_sheet(tiles),
        "All images.",
        "Maximum projections of the cell channel, and of the first kind of puncta in magenta, with "
        "outlines of nuclei (blue) and cells (yellow) and the light of each image: ✕ red, ! amber, "
        "✓ green" + (f"; {more} more are on triage.html" if more > 0 else "") + ".",
        "Contact sheet of all images with outlines",
        dpi=PIXELS_DPI,
        most=1_400_000,
    )


def _channels_by_sample(study: StudyContents) -> dict[str, dict[str, str]]:
    """Channel of each role in each image."""
    rows = study.run.table("channels")
    found: dict[str, dict[str, str]] = {}
    for row in records(rows[["sample", "role", "channel"]]) if len(rows) else ():
        found.setdefault(str(row["sample"]), {})[str(row["role"])] = str(row["channel"])
    return found


def _samples(
    study: StudyContents, names: Mapping[str, str], lights: Sequence[ImageLight]
) -> DataTable:
    cells = study.run.table("cells")
    columns = []
    if len(cells):
        counts = cells.groupby("sample").size()
        columns.append(SampleColumn(column="n_cells", heading="cells", values=_plain(counts)))
        for column in (c for c in cells.columns if c.endswith("_n_cytosol")):
            role = column.removesuffix("_n_cytosol")
            mean = cells.groupby("sample")[column].mean()
            heading = f"{names.get(role, role)} per cytosol"
            columns.append(SampleColumn(column=column, heading=heading, values=_plain(mean)))
    look_at = {light.sample: light.reasons for light in lights if light.light != "green"}
    return sample_table(study, columns, look_at)


def _plain(values: pd.Series[Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.items()}


def _far_thresholds(study: StudyContents) -> list[dict[str, Any]]:
    table = study.run.table("common_thresholds")
    return records(table[table["far"].astype(bool)]) if len(table) else []


def _common_thresholds(study: StudyContents, names: Mapping[str, str]) -> Iterator[str]:
    """Where the thresholds that all images share come from."""
    table = study.run.table("common_thresholds")
    for role, rows in table.groupby("role", sort=False) if len(table) else ():
        left_out = rows[rows["left_out"] != ""]["left_out"].value_counts(sort=False)
        n_images = len(rows) - int(left_out.sum())
        without = ", ".join(f"{n} {why}" for why, n in left_out.items())
        if n_images:
            yield (
                f"The threshold of {names.get(str(role), role)} is the median of those that "
                f"{counted(n_images, 'image')} would have alone"
                + (f" (left out: {without})" if without else "")
            )
        else:
            yield (
                f"No image was left to take a common threshold of {names.get(str(role), role)} "
                f"from (left out: {without}), so every image has its own"
            )


def _triage(study: StudyContents) -> DataTable | None:
    table = study.run.table("triage")
    if not len(table):
        return None
    columns = {"sample": "sample", "verdict": "verdict", "reason": "why", "overrides": "parameters"}
    return named(table, columns, file="tables/triage.csv")


def _checks(study: StudyContents, quantities: list[Quantity]) -> Iterator[Check]:
    yield from misleading(study, quantities[:1])
    channels = study.run.table("channels")
    unscaled = len(channels) and bool((channels["z_scale_factor"] == 1).all())
    if unscaled and study.run.parameter("z_scale_factor") is None:
        yield note(
            "Plane distances are taken as the stage moved, as z_scale_factor was not given: where "
            "immersion and mounting medium differ in refractive index, all axial distances may be "
            "wrong by 10 to 30 %, in all images alike. Give 1 where they do not differ."
        )
    yield from _unlike_voxels(channels)
    for role, rows in channels.groupby("role", sort=False) if len(channels) else ():
        faded = rows[rows["light_at_the_end"] < 0.5]
        if len(faded):
            name = str(rows["channel"].iloc[0])
            yield note(
                f"{name} ({role}) fades to less than half with depth in {len(faded)} of "
                f"{len(rows)} images."
            )
    if study.rejected:
        yield note(f"Rejected by hand, and left out of comparisons: {few(study.rejected)}.")
    yield from warned(study, but="z_scale_factor")
    yield from _of_cells(study)
    thresholds = study.run.table("thresholds")
    for row in _far_thresholds(study):
        yield note(
            f"Alone, {row['sample']} would have a threshold of {row['role']} of "
            f"{number(float(row['own_threshold']))}, not the common "
            f"{number(float(row['common_threshold']))}: its noise or background is unlike that of "
            "the others."
        )
    for role, rows in thresholds.groupby("role", sort=False) if len(thresholds) else ():
        if rows["threshold"].nunique() > 1:
            yield note(
                f"Images have different thresholds of {rows['channel'].iloc[0]} ({role}): their "
                "counts are not judged by one yardstick."
            )
    yield from _of_efficiency(study)
    right = list(passed(study, quantities))
    if right:
        yield fine(f"No trouble found with: {', '.join(right)}.")


def _of_cells(study: StudyContents) -> Iterator[Check]:
    """Cells that are not whole, and cells of a size that few cells have."""
    cells = study.run.table("cells")
    if not len(cells):
        return
    kept = _compared_cells(study, cells)
    cut = int(kept["touches_first_or_last_plane"].astype(bool).sum())
    if cut:
        yield note(
            f"{cut} of {counted(len(kept), 'cell')} reach the first or last plane: what of them "
            "lies beyond is not seen, so their volumes and counts may be too small. They are "
            "compared all the same, as most cells of thin stacks are cut."
        )
    volumes = kept["volume_um3"].to_numpy(float)
    if len(volumes) and not _LEAST_UM3 <= float(np.median(volumes)) <= _MOST_UM3:
        yield note(
            f"Cells have a median volume of {number(float(np.median(volumes)))} µm³, where animal "
            f"cells have {_LEAST_UM3:,.0f} to {_MOST_UM3:,.0f} µm³: check the voxel size and the "
            "outlines."
        )


def _unlike_voxels(channels: pd.DataFrame) -> Iterator[Check]:
    """Images of different voxel sizes: what is found depends on them."""
    if not len(channels):
        return
    for axis in "zyx":
        sizes = channels[f"voxel_{axis}_um"].to_numpy(float)
        if sizes.max() > sizes.min() * (1 + _SAME_VOXEL):
            yield note(
                f"Voxel sizes differ along {axis} ({number(float(sizes.min()))} to "
                f"{number(float(sizes.max()))} µm): images are measured in µm all the same, but "
                "puncta are not detected alike. Compare the detection below, or image alike."
            )


def _of_efficiency(study: StudyContents) -> Iterator[Check]:
    """Whether puncta are found alike in all conditions: a claim of fewer rests on it."""
    table = study.run.table("efficiency")
    if not len(table) or "condition" not in table:
        return
    own = table[(table["brightness"] == "typical") & table["fraction"].notna()]
    own = own[own["condition"].notna() & own["control"].isna()]
    for _, rows in own.groupby("role", sort=False):
        means = rows.groupby("condition", sort=False)["fraction"].mean()
        told = ", ".join(f"{c} {percent(float(v))}" for c, v in means.items())
        name = rows["channel"].iloc[0]
        if len(means) and float(means.max() - means.min()) > _UNLIKE:
            yield note(
                f"Typical puncta of {name} are found unequally well ({told}): part of a difference "
                "in numbers is a difference in detection."
            )
        elif len(means) > 1:
            yield fine(f"Typical lone puncta of {name} are found alike in all conditions ({told}).")


def _methods(
    study: StudyContents, names: Mapping[str, str], quantities: list[Quantity]
) -> MethodsText:
    run = study.run
    thresholds = run.table("thresholds")
    reduced = RunContents(
        path=run.path,
        record=run.record,
        tables={
            "channels": run.table("channels"),
            "thresholds": thresholds.drop_duplicates("role") if len(thresholds) else thresholds,
        },
    )
    text = methods_of_confocal(reduced, names) if names else MethodsText()
    say_samples(text, study)
    for said in _common_thresholds(study, names):
        text.say(said)
    say_comparison(text, study, quantities, what="numbers per cell")
    compared = study.run.table("distribution_comparison")
    if len(compared):
        methods = ", ".join(dict.fromkeys(str(m) for m in compared["method"] if m))
        text.say(
            "Distributions were compared as the mean cumulative curves of animals, by the squared "
            "difference of the conditions' means integrated over the axis"
            + (f" ({methods})" if methods else "")
            + "; puncta were never pooled"
        )
    say_controls(text, study)
    return text
