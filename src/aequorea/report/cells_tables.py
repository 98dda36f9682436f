"""Tables of a cell count for people: headings that name the channels, first rows of long ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aequorea.report.cells_views import markers_of
from aequorea.report.data_table import MOST_NAMED_ROWS, DataTable, named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aequorea.report.run_contents import RunContents

_MOST_CELLS = 40
_MOST_CHANGES = 60
_MOST_PHENOTYPES = 24
_KINDS = ("added", "removed", "split", "merged", "changed")
_INTERNAL = {"plane_stretch", "row_stretch", "lowest", "highest", "noise", "floor",
             "threshold_given", "gpu_missing", "blank", "anisotropy_unknown", "rescale", "rays",
             "roi_id", "channel", "note", "model_sha256"}  # fmt: skip
_PHENOTYPES = {
    "region": "region",
    "phenotype": "combination",
    "observed": "cells",
    "fraction": "fraction",
    "expected": "expected by chance",
    "expected_naive": "expected if mixed throughout",
    "ratio": "ratio to chance",
    "p_value": "p",
    "p_fdr": "q (FDR)",
    "n_effective": "worth of independent cells",
    "n_cells": "of cells",
}
_PHENOTYPES_EXPLAINED = (
    "expected by chance: if the markers were independent within each neighbourhood of cells",
    "expected if mixed throughout: product of the fractions; takes a shared layer for association",
    "worth of independent cells: how many independent cells the test takes them for",
    "q (FDR): p corrected for all tests of the table",
)


def per_region(run: RunContents, names: Mapping[str, str]) -> DataTable:
    """The result of each region: cells and positive cells, as they are counted."""
    overview = run.table("roi_coloc_overview")
    plain = run.parameter("counting.counting") == "all"
    suffix = "" if plain else "_counted"
    cells = "n_cells" + suffix
    columns = {"roi_name": "region", cells: "cells" if plain else "cells counted"}
    shown = overview.copy()
    for role, name in markers_of(names).items():
        positive, share = f"n_{role}_positive_cells{suffix}", f"fraction of {role}"
        with np.errstate(divide="ignore", invalid="ignore"):
            shown[share] = shown[positive].to_numpy(float) / shown[cells].to_numpy(float)
        columns |= {positive: f"positive for {name}", share: f"fraction for {name}"}
    if not plain:
        columns["n_cells"] = "cells found"
    columns["n_cells_at_roi_border"] = "at a border"
    return named(shown, columns, file="tables/roi_coloc_overview.csv", most=MOST_NAMED_ROWS)


def phenotypes(run: RunContents) -> DataTable | None:
    """Combinations of markers and what chance gives; p only where it was tested."""
    table = run.table("phenotypes")
    if not len(table):
        return None
    overview = run.table("roi_coloc_overview")
    regions = dict(zip(overview["roi_id"], overview["roi_name"].astype(str), strict=True))
    shown = table.assign(region=[regions.get(k, str(k)) if k else "all" for k in table["roi_id"]])
    columns = dict(_PHENOTYPES)
    if shown["roi_id"].nunique() == 1:
        del columns["region"]
    tested = bool(table["p_value"].notna().any())
    shown["n_effective"] = shown["n_effective"].where(shown["p_value"].notna())
    explained = _PHENOTYPES_EXPLAINED if tested else _PHENOTYPES_EXPLAINED[:2]
    # numbers of cells, not the coefficients that other tables call so
    counts = {c: f"{c}_cells" for c in ("observed", "expected", "expected_naive")}
    columns = {counts.get(c, c): heading for c, heading in columns.items()}
    shown = shown.rename(columns=counts)
    return named(
        shown,
        columns,
        file="tables/phenotypes.csv",
        most=_MOST_PHENOTYPES,
        explained=explained,
    )


def hand_edits(
    run: RunContents, names: Mapping[str, str]
) -> Iterator[tuple[str, DataTable | None]]:
    """What was changed by hand, a sentence and a table for each channel that was edited."""
    for role, name in names.items():
        table = run.tables.get(f"label_changes_{role}")
        if table is None:
            continue
        kinds = table["kind"].astype(str).value_counts().to_dict()
        counts = [f"{kinds[kind]} {kind}" for kind in _KINDS if kind in kinds]
        if not counts:
            yield f"{name}: labels edited by hand were given; they are those found.", None
            continue
        columns = {"kind": "change", "labels_before": "labels before",
                   "labels_after": "labels after",
                   "voxels_before": "pixels before", "voxels_after": "pixels after",
                   "iou": "overlap (IoU)"}  # fmt: skip
        shown = named(table, columns, file=f"tables/label_changes_{role}.csv", most=_MOST_CHANGES)
        yield f"{name}: {', '.join(counts)} by hand.", shown


def tables_of(run: RunContents, names: Mapping[str, str]) -> Iterator[tuple[str, DataTable]]:
    """The tables at the end of the page."""
    overview = run.table("roi_coloc_overview")
    if len(overview):
        yield "Regions", _regions(overview, names)
    for role, name in names.items():
        table = run.table(f"segmentation_{role}")
        if len(table):
            yield f"Segmentation of {name}", _segmentation(table, role)
    for role, name in names.items():
        table = run.table(f"roi_{role}_summary")
        if len(table):
            yield (
                f"Means of {'the cells' if role == 'cell' else f'the objects of {name}'}",
                _means(table, role, overview),
            )
    cells = run.table("cell_summary")
    if len(cells):
        yield "Cells", _cells(cells, names)


def _regions(overview: pd.DataFrame, names: Mapping[str, str]) -> DataTable:
    columns = {"roi_name": "region", "n_cells": "cells", "n_cells_counted": "counted"}
    for role, name in markers_of(names).items():
        columns[f"n_{role}_positive_cells"] = f"{name} +"
        columns[f"{role}_positive_fraction"] = f"{name} +, fraction"
    for role, name in markers_of(names).items():
        columns[f"n_{role}_objects"] = f"objects of {name}"
    for role in list(markers_of(names))[1:]:
        columns[f"n_marker_and_{role}_positive_cells"] = f"{names['marker']} and {names[role]} +"
    columns |= {"drawn_roi_area_um2": "area (µm²)", "roi_volume_um3": "volume (µm³)"}
    if not overview["drawn_roi_area_um2"].notna().any():
        columns |= {"drawn_roi_area_px": "area (px)"}
    for role, name in names.items():
        kind = "area (%)"
        told = "cells" if role == "cell" else name
        columns[f"{role}_occupancy_coverage_2d_percent"] = f"{told}, {kind}"
    for role, name in markers_of(names).items():
        columns[f"{role}_positive_fraction_counted"] = f"{name} +, fraction of those counted"
    if overview["n_cells_counted"].equals(overview["n_cells"]):
        columns = {c: h for c, h in columns.items() if not c.endswith("_fraction_counted")}
    columns |= {"counting_area_um2": "area counted in (µm²)"}
    columns |= {"counting_volume_um3": "volume counted in (µm³)"}
    columns |= {"section_um": "section (µm)", "mean_cell_height_um": "cell height (µm)"}
    return named(overview, columns, file="tables/roi_coloc_overview.csv")


def _segmentation(table: pd.DataFrame, role: str) -> DataTable:
    told = [str(c) for c in table if c not in _INTERNAL]
    columns = {c: c.replace("_px", " (px)").replace("_", " ") for c in told}
    columns |= {"roi_name": "region", "n_objects": "objects", "n_dropped": "dropped by filters"}
    columns |= {"threshold": "threshold (grey levels)", "background": "background (grey levels)"}
    shown = {c: columns[c] for c in ["roi_name", *columns] if c in table}
    return named(table, shown, file=f"tables/segmentation_{role}.csv")


def _means(table: pd.DataFrame, role: str, overview: pd.DataFrame) -> DataTable:
    regions = dict(zip(overview["roi_id"], overview["roi_name"].astype(str), strict=True))
    shown = table.assign(region=[regions.get(k, str(k)) for k in table["roi_id"]])
    count = "n_cells" if role == "cell" else f"n_{role}_objects"
    columns = {"region": "region", count: "number"}
    wanted = {
        "area_um2_2d": "area (µm²)", "perimeter_um_2d": "perimeter (µm)",
        "roundness_2d": "roundness", "eccentricity_2d": "eccentricity",
        "volume_um3_3d": "volume (µm³)", "surface_area_um2_3d": "surface (µm²)",
        "sphericity_3d": "sphericity", "mean_intensity": "mean intensity",
    }  # fmt: skip
    if not any(table.get(f"average_{role}_{c}", pd.Series()).notna().any()
               for c in ("area_um2_2d", "volume_um3_3d")):  # fmt: skip
        wanted = {"area_px_2d": "area (px)", "volume_voxels_3d": "volume (voxels)", **wanted}
    columns |= {f"average_{role}_{c}": h for c, h in wanted.items()}
    return named(shown, columns, file=f"tables/roi_{role}_summary.csv")


def _cells(cells: pd.DataFrame, names: Mapping[str, str]) -> DataTable:
    known = bool(cells["centroid_x_um"].notna().any())
    unit, label = ("_um", "µm") if known else ("", "px")
    columns = {"roi_id": "region", "cell_label": "cell", "cell_voxels": "pixels"}
    columns |= {f"centroid_{a}{unit}": f"{a} ({label})" for a in ("zyx" if known else "yx")}
    columns |= {"cell_mean_intensity": f"mean {names['cell']}", "touches_roi_border": "at border"}
    if not cells["counted"].all():
        columns["counted"] = "counted"
    for role, name in markers_of(names).items():
        columns[f"{role}_positive"] = f"{name} +"
        columns[f"{role}_score"] = f"score, {name}"
        columns[f"{role}_margin"] = f"margin, {name}"
    explained = (
        ("score: what the rule compares with its threshold",
         "margin: score over threshold, at least 1 in positive cells"),
        (),
    )[not markers_of(names)]  # fmt: skip
    return named(
        cells, columns, file="tables/cell_summary.csv", most=_MOST_CELLS, explained=explained
    )
