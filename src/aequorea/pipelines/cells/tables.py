"""The tables of counted cells: overlaps, cells, markers, regions. One pass per pair of channels.

Columns are those of CellColoc where it has them, in its order; ours follow. Lengths in pixels
carry no unit or ``_px``; those in µm say so, and are empty where the calibration is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.measure.assignment import (
    RegionExtents,
    assign_to_regions,
    region_extents,
    touches_region_border,
)
from aequorea.measure.label_index import LabelIndex
from aequorea.measure.objects import MORPHOLOGY, measure_objects
from aequorea.measure.overlap import overlap_counts, voxels_by_group
from aequorea.measure.positivity import call_positive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aequorea.measure.positivity import PositivityCalls, PositivityParameters

Spacing = tuple[float | None, float | None, float | None]
OVERLAP_COLUMNS = (
    "roi_id",
    "cell_label",
    "cell_voxels",
    "n_overlapping_markers",
    "marker_label",
    "overlap_voxels",
    "overlap_fraction_of_cell",
    "y_min",
    "y_max",
    "x_min",
    "x_max",
    "marker_voxels",
)
POSITIVITY_COLUMNS = ("role", "marker", "rule", "n_cells", "n_positive", "note")


@dataclass(frozen=True, eq=False, kw_only=True)
class CountedCells:
    """What is known of the cells of one field.

    Attributes
    ----------
    overlaps : DataFrame
        One row per cell and marker object that meet, one with zeros for a cell that meets none;
        ``marker`` says of which channel.
    cells : DataFrame
        One row per cell.
    objects : mapping of role to DataFrame
        One row per marker object and region.
    overview : DataFrame
        One row per region.
    summaries : mapping of role to DataFrame
        Means over the objects of each region.
    calls : mapping of role to PositivityCalls
        In the order of ``cells`` sorted by label.
    """

    overlaps: pd.DataFrame
    cells: pd.DataFrame
    objects: Mapping[str, pd.DataFrame]
    overview: pd.DataFrame
    summaries: Mapping[str, pd.DataFrame]
    calls: Mapping[str, PositivityCalls]

    def positive_labels(self, role: str) -> NDArray[np.int64]:
        """Labels of the cells that are positive for a marker."""
        calls = self.calls[role]
        labels: NDArray[np.int64] = calls.label[calls.positive]
        return labels


def count_cells(
    labels: Mapping[str, NDArray[Any]],
    images: Mapping[str, NDArray[Any]],
    regions: NDArray[Any],
    *,
    spacing_um: Spacing,
    positivity: Mapping[str, PositivityParameters],
    prefixes: Mapping[str, str] | None = None,
) -> CountedCells:
    """Measure cells and markers, and call each cell positive or not, in every region.

    Parameters
    ----------
    labels : mapping of role to ndarray of int, shape (z, y, x)
        The first role is that of the cells. Nothing lies outside the regions; no cell lies in
        two.
    images : mapping of role to ndarray, shape (z, y, x)
        Unfiltered intensities.
    regions : ndarray of int, shape (y, x) or (z, y, x)
    spacing_um : (z, y, x) in µm; None where unknown
    positivity : mapping of role to PositivityParameters
        For the markers that cells can be positive for.
    prefixes : mapping of role to str, optional
        What columns of a role begin with; the role itself if not given.

    Returns
    -------
    CountedCells
    """
    roles = tuple(labels)
    cell, markers = roles[0], roles[1:]
    told = {role: (prefixes or {}).get(role, role) for role in roles}
    frame = _Regions(regions, labels[cell].shape, spacing_um)
    cells = _measured(labels[cell], images[cell], frame, told[cell], "cell_label")
    calls: dict[str, PositivityCalls] = {}
    overlaps: list[pd.DataFrame] = []
    for role in markers:
        meeting = _meeting(labels[cell], labels[role], cells)
        overlaps.append(_overlap_rows(meeting, cells, frame, told[role], labels[role]))
        if role in positivity:
            calls[role] = call_positive(
                labels[cell],
                labels[role],
                positivity[role],
                marker_intensity=images[role],
            )
    objects = {
        role: _measured_by_region(labels[role], images[role], frame, told[role]) for role in markers
    }
    summary = _summary(cells, calls, told, markers)
    return CountedCells(
        overlaps=_stacked(overlaps),
        cells=summary,
        objects=objects,
        overview=_overview(labels, summary, objects, frame, told, calls),
        summaries={role: _means(objects.get(role, cells), frame, told[role]) for role in roles},
        calls=calls,
    )


def positivity_table(
    calls: Mapping[str, PositivityCalls], names: Mapping[str, str]
) -> pd.DataFrame:
    """How cells were called positive for each marker, and what a careful user should know.

    Parameters
    ----------
    calls, names : mapping of role to its calls, its name

    Returns
    -------
    DataFrame
        One row per marker; ``note`` is empty where there is nothing to say.
    """
    rows = [
        {
            "role": role,
            "marker": names[role],
            "rule": found.parameters.rule,
            "n_cells": len(found),
            "n_positive": found.n_positive,
            "note": "; ".join(found.notes),
        }
        for role, found in calls.items()
    ]
    return pd.DataFrame(rows, columns=list(POSITIVITY_COLUMNS))


def positive_columns(cells: pd.DataFrame) -> list[str]:
    """The columns that say which cells are positive for one marker, in the order of markers."""
    found = [str(c) for c in cells.columns if str(c).endswith("_positive")]
    return [c for c in found if "_and_" not in c]


class _Regions:
    """Regions of a field: where each lies, how large it is."""

    def __init__(self, regions: NDArray[Any], shape: tuple[int, ...], spacing_um: Spacing) -> None:
        self.labels = regions
        self.spacing_um = spacing_um
        self.depth = shape[0]
        self._drawn = LabelIndex.of(regions, "regions")
        self.present = self._drawn.labels
        self.number = np.broadcast_to(self._drawn.index, shape)  # of the region among those present
        self.whole = self.extents()
        sides = dict(zip(("y_min", "y_max", "x_min", "x_max"), self.whole.box.T, strict=True))
        self.boxes = pd.DataFrame({"roi_id": self.present, **sides})

    @property
    def is_stack(self) -> bool:
        return self.depth > 1

    @property
    def known_spacing(self) -> Spacing | None:
        """The spacing where it is known along every axis that is measured."""
        needed = self.spacing_um if self.is_stack else self.spacing_um[1:]
        return None if None in needed else self.spacing_um

    @property
    def pixel_um2(self) -> float:
        """Area of a pixel; NaN where unknown."""
        _, y, x = self.spacing_um
        return float("nan") if y is None or x is None else y * x

    @property
    def voxel_um3(self) -> float:
        """Volume of a voxel; NaN where unknown."""
        z = self.spacing_um[0]
        return float("nan") if z is None else z * self.pixel_um2

    def extents(self, inside: NDArray[np.bool_] | None = None) -> RegionExtents:
        """Sizes of the regions; of what is ``inside`` only, if given."""
        return region_extents(self._drawn, self.depth, inside)

    def of(self, region: NDArray[np.int64]) -> NDArray[np.intp]:
        """Place of each region among those present."""
        return np.searchsorted(self.present, region)


def _measured(
    labels: NDArray[Any], image: NDArray[Any], frame: _Regions, prefix: str, key: str
) -> pd.DataFrame:
    """One row per object: region, size, place and the 15 morphology columns with their prefix."""
    found = measure_objects(labels, spacing_um=frame.known_spacing, intensity=image)
    owner = assign_to_regions(labels, frame.labels)
    border = touches_region_border(labels, frame.labels, owner)
    columns = {
        "roi_id": owner.region,
        key: found.label,
        "voxels": owner.n_voxels,
        "voxels_props": found.n_voxels,
        **{f"centroid_{a}": found.centroid_px[:, k] for k, a in enumerate("zyx")},
        **{f"{prefix}_{name}": getattr(found, name) for name in MORPHOLOGY},
        **{f"centroid_{a}_um": found.centroid_um[:, k] for k, a in enumerate("zyx")},
        "touches_roi_border": border,
        "touches_image_border": found.touches_border,
    }
    return pd.DataFrame(columns)


def _measured_by_region(
    labels: NDArray[Any], image: NDArray[Any], frame: _Regions, prefix: str
) -> pd.DataFrame:
    """Marker objects; one that lies in several regions has a row in each, of what is inside."""
    shares = voxels_by_group(labels, frame.labels)
    groups, members = shares.group, shares.label
    split = len(np.unique(members)) < len(members)
    here = labels
    if split:
        largest = int(members.max()) + 1
        keys = (frame.of(groups) + 1) * largest + members
        here = np.where(labels > 0, frame.number.astype(np.int64) * largest + labels, 0)
        here = np.where(frame.number > 0, here, 0)
        here = np.where(here > 0, np.searchsorted(keys, here) + 1, 0).astype(np.int32)
    table = _measured(here, image, frame, prefix, f"{prefix}_label")
    if split:
        table[f"{prefix}_label"] = members[table[f"{prefix}_label"].to_numpy() - 1]
    table = table.drop(columns=["voxels", "voxels_props"])
    return table.sort_values(["roi_id", f"{prefix}_label"], ignore_index=True)


def _meeting(cells: NDArray[Any], markers: NDArray[Any], measured: pd.DataFrame) -> pd.DataFrame:
    """Each cell and marker object that share voxels, the largest overlap of a cell first."""
    met = overlap_counts(cells, markers)
    table = pd.DataFrame(
        {
            "cell_label": met.label_a,
            "marker_label": met.label_b,
            "overlap_voxels": met.n_voxels,
        }
    )
    sizes = measured.set_index("cell_label")["voxels"]
    table["overlap_fraction_of_cell"] = (
        table["overlap_voxels"].to_numpy() / sizes.reindex(table["cell_label"]).to_numpy()
        if len(table)
        else np.empty(0)
    )
    return table


def _overlap_rows(
    meeting: pd.DataFrame,
    cells: pd.DataFrame,
    frame: _Regions,
    prefix: str,
    markers: NDArray[Any],
) -> pd.DataFrame:
    known = cells[["roi_id", "cell_label", "voxels"]].rename(columns={"voxels": "cell_voxels"})
    counts = meeting.groupby("cell_label").size()
    known["n_overlapping_markers"] = (
        counts.reindex(known["cell_label"]).fillna(0).to_numpy(np.int64)
    )
    rows = known.merge(meeting, on="cell_label", how="left")
    rows["overlap_voxels"] = rows["overlap_voxels"].fillna(0).astype(np.int64)
    rows["overlap_fraction_of_cell"] = rows["overlap_fraction_of_cell"].fillna(0.0)
    objects = LabelIndex.of(markers)
    label = rows["marker_label"].to_numpy(np.float64, na_value=np.nan)
    met = np.isfinite(label)
    voxels = np.full(len(rows), np.nan)
    voxels[met] = objects.sizes()[np.searchsorted(objects.labels, label[met].astype(np.int64))]
    rows["marker_label"] = label
    rows = rows.merge(frame.boxes, on="roi_id", how="left")
    rows["marker_voxels"] = voxels
    rows = rows.sort_values(
        ["roi_id", "cell_label", "overlap_voxels", "marker_label"],
        ascending=[True, True, False, True],
        ignore_index=True,
    )
    rows = rows[list(OVERLAP_COLUMNS)]
    rows["marker"] = prefix
    return rows


def _stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame(columns=[*OVERLAP_COLUMNS, "marker"])
    return pd.concat(tables, ignore_index=True)


def _summary(
    cells: pd.DataFrame,
    calls: Mapping[str, PositivityCalls],
    told: Mapping[str, str],
    markers: Sequence[str],
) -> pd.DataFrame:
    """One row per cell, with a block of columns per marker."""
    summary = cells.rename(columns={"voxels": "cell_voxels", "voxels_props": "cell_voxels_props"})
    leading = ["roi_id", "cell_label", "cell_voxels"]
    place = ["centroid_z", "centroid_y", "centroid_x"]
    ours = [f"centroid_{axis}_um" for axis in "zyx"]
    ours += ["touches_roi_border", "touches_image_border"]
    checked = ["cell_voxels_props"]
    morphology = [c for c in summary if c not in {*leading, *checked, *place, *ours}]
    first: dict[str, Any] = {}
    later: dict[str, Any] = {}
    details: dict[str, Any] = {}
    for number, role in enumerate(r for r in markers if r in calls):
        block = first if number == 0 else later
        block.update(_call_columns(calls[role], told[role], first=number == 0))
        if number > 0:
            both = first[f"{told[markers[0]]}_positive"] & calls[role].positive
            block[f"{told[markers[0]]}_and_{told[role]}_positive"] = both
        details.update(_call_details(calls[role], told[role]))
    # Counted once by region and once by object: anything but 0 would be a mistake.
    delta = summary["cell_voxels"] - summary["cell_voxels_props"]
    table = pd.concat(
        [
            summary[leading],
            pd.DataFrame(first, index=summary.index),
            summary[checked],
            summary[place],
            pd.DataFrame({"cell_voxels_delta": delta}),
            summary[morphology],
            pd.DataFrame(later, index=summary.index),
            summary[ours],
            pd.DataFrame(details, index=summary.index),
        ],
        axis=1,
    )
    return table.sort_values(["roi_id", "cell_label"], ignore_index=True)


def _call_columns(calls: PositivityCalls, prefix: str, *, first: bool) -> dict[str, Any]:
    """The reference's columns; those of the first marker bear no name."""
    if first:
        return {
            f"{prefix}_positive": calls.positive,
            f"n_overlapping_{prefix}s": calls.n_overlapping,
            f"best_{prefix}_label": calls.best_marker_label,
            "best_overlap_voxels": calls.best_overlap_voxels,
            "best_overlap_fraction": calls.best_overlap_fraction,
        }
    return {
        f"{prefix}_positive": calls.positive,
        f"n_overlapping_{prefix}_objects": calls.n_overlapping,
        f"best_{prefix}_label": calls.best_marker_label,
        f"best_{prefix}_overlap_voxels": calls.best_overlap_voxels,
        f"best_{prefix}_overlap_fraction": calls.best_overlap_fraction,
    }


def _call_details(calls: PositivityCalls, prefix: str) -> dict[str, Any]:
    return {
        f"{prefix}_overlap_voxels": calls.union_overlap_voxels,
        f"{prefix}_overlap_fraction": calls.union_fraction,
        f"{prefix}_score": calls.score,
        f"{prefix}_threshold": calls.threshold,
        f"{prefix}_margin": calls.margin,
    }


def _overview(
    labels: Mapping[str, NDArray[Any]],
    cells: pd.DataFrame,
    objects: Mapping[str, pd.DataFrame],
    frame: _Regions,
    told: Mapping[str, str],
    calls: Mapping[str, PositivityCalls],
) -> pd.DataFrame:
    """One row per region: counts, size of the region, what each channel occupies."""
    n = len(frame.present)

    def per_region(region: NDArray[Any], chosen: NDArray[Any] | None = None) -> NDArray[np.int64]:
        at = frame.of(region if chosen is None else region[chosen])
        return np.bincount(at, minlength=n)

    region = cells["roi_id"].to_numpy(np.int64)
    columns: dict[str, Any] = {"roi_id": frame.present, "n_cells": per_region(region)}
    positive = [told[role] for role in calls]
    if positive:
        chosen = cells[f"{positive[0]}_positive"].to_numpy(bool)
        columns[f"n_{positive[0]}_positive_cells"] = per_region(region, chosen)
    for role in objects:
        name = f"n_{told[role]}_objects"
        columns[name] = per_region(objects[role]["roi_id"].to_numpy(np.int64))
    columns |= _sizes(frame)
    for name in positive[1:]:
        columns[f"n_{name}_positive_cells"] = per_region(
            region, cells[f"{name}_positive"].to_numpy(bool)
        )
        both = f"{positive[0]}_and_{name}_positive"
        columns[f"n_{both}_cells"] = per_region(region, cells[both].to_numpy(bool))
    for role, found in labels.items():
        columns |= _occupancy(found > 0, frame, told[role])
    for name in positive:
        with np.errstate(invalid="ignore"):
            columns[f"{name}_positive_fraction"] = (
                columns[f"n_{name}_positive_cells"] / columns["n_cells"]
            )
    border = cells["touches_roi_border"].to_numpy(bool)
    columns["n_cells_at_roi_border"] = per_region(region, border)
    return pd.DataFrame(columns)


def _sizes(frame: _Regions) -> dict[str, Any]:
    areas, volumes = frame.whole.n_pixels, frame.whole.n_voxels
    return {
        "drawn_roi_area_px": areas,
        "drawn_roi_area_um2": areas * frame.pixel_um2,
        "roi_volume_voxels": volumes,
        "roi_volume_um3": volumes * frame.voxel_um3,
    }


def _occupancy(inside: NDArray[np.bool_], frame: _Regions, prefix: str) -> dict[str, Any]:
    found = frame.extents(inside)
    areas, volumes = found.n_pixels, found.n_voxels
    return {
        f"{prefix}_occupancy_area_px_2d_projection": areas,
        f"{prefix}_occupancy_area_um2_2d_projection": areas * frame.pixel_um2,
        f"{prefix}_occupancy_coverage_2d_percent": 100 * areas / frame.whole.n_pixels,
        f"{prefix}_occupancy_volume_voxels_3d": volumes,
        f"{prefix}_occupancy_volume_um3_3d": volumes * frame.voxel_um3,
        f"{prefix}_occupancy_coverage_3d_percent": 100 * volumes / frame.whole.n_voxels,
    }


def _means(table: pd.DataFrame, frame: _Regions, prefix: str) -> pd.DataFrame:
    """Number and means of the objects of each region, also of a region without any."""
    names = [f"{prefix}_{name}" for name in MORPHOLOGY]
    counted = f"n_{prefix}s" if prefix == "cell" else f"n_{prefix}_objects"
    grouped = table.groupby("roi_id")
    means = grouped[names].mean().add_prefix("average_").reindex(frame.present)
    counts = grouped.size().reindex(frame.present).fillna(0).astype(np.int64)
    means.insert(0, counted, counts)
    return means.rename_axis("roi_id").reset_index()
