"""Numbers per cell: counts, densities, distances, shells, localisation, proteins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from aequorea.spatial.boxes import boxes_of
from aequorea.spatial.distances import distance_map
from aequorea.spatial.localization import localization_of_intensity, localization_of_points
from aequorea.spatial.shells import distance_distribution, equal_volume_shells

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aequorea.pipelines.confocal.anatomy import Anatomy

    FloatArray: TypeAlias = NDArray[np.float64]

__all__ = [
    "DISTRIBUTION_COLUMNS",
    "POSITION",
    "SHELL_COLUMNS",
    "cumulative_at",
    "cytosols",
    "distribution_table",
    "protein_columns",
    "puncta_columns",
    "room_columns",
    "shell_table",
    "steps_of",
    "table_by_cell",
    "voxels_in",
    "without_cytosol",
]

GRID_UM = 0.25
POSITION = ("z_um", "y_um", "x_um")
RELATIVE_GRID = np.linspace(0, 1, 51)
SHELL_COLUMNS = ("cell", "role", "shell", "observed", "expected", "ratio", "reason")
DISTRIBUTION_COLUMNS = ("cell", "role", "measure", "value", "observed", "by_chance", "membrane")
_LOCALIZED = (
    "polarity",
    "dispersion",
    "peripheral_distribution",
    "index_mean_distance_landmark",
    "index_mean_distance_membrane",
)
_NO_NUCLEUS = "the cell has no nucleus"
_NO_CYTOSOL = "the nucleus fills the cell"


def room_columns(anatomy: Anatomy, cells: NDArray[np.int64]) -> dict[str, FloatArray]:
    """What chance would give each cell, and how far its membrane is: µm."""
    known = {c.label: c for c in anatomy.distances}

    def median(label: int, name: str) -> float:
        values = getattr(known[label], name) if label in known else np.empty(0)
        return float(np.median(values)) if len(values) else np.nan

    return {
        "median_distance_by_chance_um": np.array([median(k, "cytosol_um") for k in cells]),
        "median_membrane_distance_um": np.array([median(k, "membrane_um") for k in cells]),
    }


def puncta_columns(
    puncta: pd.DataFrame, anatomy: Anatomy, cells: pd.DataFrame, *, near_um: float
) -> dict[str, NDArray[Any]]:
    """Columns of one kind of puncta, one value per row of ``cells``.

    Counts are numbers of puncta; medians are over puncta of the cytosol; indices are over what an
    even spread in the cytosol gives, so that 1 is chance.
    """
    labels = cells["cell"].to_numpy()
    place = pd.Index(labels)

    def per_cell(values: pd.Series, fill: float) -> FloatArray:
        return values.reindex(place, fill_value=fill).to_numpy(dtype=float)

    owned = puncta[puncta["cell"] > 0]
    cytosolic = owned[owned["compartment"] == "cytosol"]
    n_cytosol = per_cell(cytosolic.groupby("cell").size(), 0)
    n_nucleus = per_cell(owned[owned["compartment"] == "nucleus"].groupby("cell").size(), 0)
    grouped = cytosolic.groupby("cell")
    median_um = per_cell(grouped["distance_nucleus_um"].median(), np.nan)
    of_voxels_um = per_cell(grouped["voxel_distance_um"].median(), np.nan)
    by_chance = cells["median_distance_by_chance_um"].to_numpy()
    position = anatomy.held(cytosolic[list(POSITION)].to_numpy(dtype=float))
    indices = localization_of_points(
        position,
        anatomy.cells,
        anatomy.landmarks,
        anatomy.spacing_um,
        where="cytosol",
        within_um=(near_um,),
    )
    order = np.searchsorted(indices.label, labels)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = n_cytosol / cells["cytosol_volume_um3"].to_numpy()
        share = n_nucleus / (n_nucleus + n_cytosol)
        ratio = of_voxels_um / by_chance
    return {
        "n": (n_cytosol + n_nucleus).astype(int),
        "n_cytosol": n_cytosol.astype(int),
        "n_nucleus": n_nucleus.astype(int),
        "n_foci": per_cell(cytosolic.groupby("cell")["focus"].agg(_n_foci), 0).astype(int),
        "fraction_in_foci": per_cell(
            cytosolic.assign(focused=cytosolic["focus"] > 0).groupby("cell")["focused"].mean(),
            np.nan,
        ),
        "nuclear_fraction": share,
        "per_um3_cytosol": density,
        "median_distance_um": median_um,
        "median_distance_over_chance": ratio,
        "median_normalized_distance": per_cell(grouped["normalized_distance"].median(), np.nan),
        "mean_volume_rank": per_cell(grouped["volume_rank"].mean(), np.nan),
        "median_membrane_gap_um": per_cell(grouped["distance_membrane_um"].median(), np.nan),
        **{name: getattr(indices, name)[order] for name in _LOCALIZED},
        "near_nucleus_over_chance": indices.index_near_landmark[order, 0],
        "near_membrane_over_chance": indices.index_near_membrane[order, 0],
    }


def _n_foci(focus: pd.Series[int]) -> int:
    return int(focus[focus > 0].nunique())


def protein_columns(
    image: NDArray[Any],
    anatomy: Anatomy,
    labels: NDArray[np.int64],
    *,
    near_um: float,
    background: float | None = None,
) -> tuple[dict[str, FloatArray], float]:
    """Columns of one continuous stain, one value per cell, and the background taken off.

    Background is the median outside all cells if not given; NaN, and all columns with it, where
    cells fill the image.
    """
    if background is None:
        outside = anatomy.cells == 0
        background = float(np.median(image[outside])) if outside.any() else np.nan
    names = ("mean_cytosol", "mean_nucleus", "nucleus_over_cytosol", "index_near_nucleus")
    if not np.isfinite(background) or not len(labels):
        empty = np.full(len(labels), np.nan)
        return {name: empty.copy() for name in (*names, *_LOCALIZED)}, background
    with np.errstate(divide="ignore", invalid="ignore"):
        cytosol = _means(image, anatomy.cytosol, labels) - background
        nucleus = _means(image, anatomy.landmarks, labels) - background
        ratio = nucleus / cytosol
    indices = localization_of_intensity(
        image,
        anatomy.cells,
        anatomy.landmarks,
        anatomy.spacing_um,
        background=background,
        where="cytosol",
        within_um=(near_um,),
    )
    order = np.searchsorted(indices.label, labels)
    values = (cytosol, nucleus, ratio, indices.index_near_landmark[order, 0])
    return {
        **dict(zip(names, values, strict=True)),
        **{name: getattr(indices, name)[order] for name in _LOCALIZED},
    }, background


def _means(
    image: NDArray[Any], objects: NDArray[np.integer[Any]], labels: NDArray[np.int64]
) -> FloatArray:
    """Mean of an image over each object; NaN for one without voxels."""
    means, boxes = np.full(len(labels), np.nan), boxes_of(objects)
    for place, label in enumerate(labels.tolist()):
        if label in boxes:
            box = boxes[label]
            means[place] = image[box].mean(where=objects[box] == label, dtype=np.float64)
    return means


def shell_table(
    anatomy: Anatomy, puncta: dict[str, pd.DataFrame], images: dict[str, Any], n_shells: int
) -> pd.DataFrame:
    """What each shell of equal volume holds, from the nucleus outwards."""
    rows: list[dict[str, Any]] = []
    for label, box, cytosol, distance in cytosols(anatomy):
        shells = equal_volume_shells(distance, cytosol, n_shells)
        for role, table in puncta.items():
            own = table[(table["cell"] == label) & (table["compartment"] == "cytosol")]
            voxels = voxels_in(own, anatomy, box)
            observed = np.bincount(shells.index[voxels], minlength=n_shells + 1)[1:]
            rows += _shell_rows(label, role, observed.astype(float), shells.n_voxels)
        for role, (image, background) in images.items():
            signal = image[box].astype(np.float64) - background
            observed = np.bincount(
                shells.index.ravel(), weights=signal.ravel(), minlength=n_shells + 1
            )[1:]
            rows += _shell_rows(label, role, observed.astype(float), shells.n_voxels)
    rows += [
        {"cell": label, "role": role, "shell": shell, "reason": reason}
        for label, reason in without_cytosol(anatomy).items()
        for role in (*puncta, *images)
        for shell in range(1, n_shells + 1)
    ]
    return table_by_cell(rows, SHELL_COLUMNS)


def distribution_table(
    anatomy: Anatomy, puncta: dict[str, pd.DataFrame], images: dict[str, Any]
) -> pd.DataFrame:
    """Distribution functions per cell on grids that all cells share.

    ``distance_um``: distance from the nucleus; ``normalized_distance``: over the largest distance
    of the membrane; ``volume_rank``: share of the cytosol nearer to the nucleus. Puncta have the
    distance of the voxel that holds them, as chance has those of voxels. ``by_chance`` is
    that of every voxel of the cytosol, ``membrane`` that of the membrane.
    """
    parts: list[pd.DataFrame] = []
    room = {c.label: c for c in anatomy.distances if not c.reason}
    for label, box, cytosol, distance in cytosols(anatomy):
        if label not in room:
            continue
        all_um, edge_um = room[label].cytosol_um, room[label].membrane_um
        farthest = float(max(all_um.max(initial=0), edge_um.max(initial=0)))
        largest = float(edge_um.max(initial=0))
        grid_um = np.arange(0, farthest + 2 * GRID_UM, GRID_UM)
        for role, table in puncta.items():
            own = table[(table["cell"] == label) & (table["compartment"] == "cytosol")]
            if len(own):
                values = own["voxel_distance_um"].to_numpy(float)
                ranks = own["volume_rank"].to_numpy(float)
                parts += _curves(
                    label,
                    role,
                    steps_of(values),
                    steps_of(ranks),
                    all_um,
                    edge_um,
                    grid_um,
                    largest,
                )
        for role, (image, background) in images.items():
            found = distance_distribution(distance, cytosol, image[box], background=background)
            if found.reason:
                continue
            signal = (found.distance_um, found.cumulative)
            ranked = (
                np.concatenate([[0.0], found.volume]),
                np.concatenate([[0], found.cumulative]),
            )
            parts += _curves(label, role, signal, ranked, all_um, edge_um, grid_um, largest)
    if not parts:
        return pd.DataFrame(columns=list(DISTRIBUTION_COLUMNS))
    return pd.concat(parts, ignore_index=True)


def cytosols(
    anatomy: Anatomy,
) -> Iterator[tuple[int, tuple[slice, ...], NDArray[np.bool_], FloatArray]]:
    """Of each cell with a nucleus: number, box, cytosol, distance to the nucleus in the box."""
    have = set(anatomy.with_nucleus().tolist())
    for label, box in boxes_of(anatomy.cells).items():
        if label not in have:
            continue
        cytosol = anatomy.cytosol[box] == label
        if cytosol.any():
            nucleus = anatomy.landmarks[box] == label
            yield label, box, cytosol, distance_map(nucleus, anatomy.spacing_um)


def without_cytosol(anatomy: Anatomy) -> dict[int, str]:
    """The cells that :func:`cytosols` leaves out, and why."""
    have = set(anatomy.with_nucleus().tolist())
    there = boxes_of(anatomy.cytosol)
    return {
        label: _NO_CYTOSOL if label in have else _NO_NUCLEUS
        for label in boxes_of(anatomy.cells)
        if label not in have or label not in there
    }


def table_by_cell(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> pd.DataFrame:
    """Rows as a table, cell after cell."""
    table = pd.DataFrame(rows, columns=list(columns))
    return table.sort_values("cell", kind="stable", ignore_index=True)


def voxels_in(
    puncta: pd.DataFrame, anatomy: Anatomy, box: tuple[slice, ...]
) -> tuple[NDArray[np.int64], ...]:
    """Indices, within a box, of the voxels that hold the puncta."""
    position = anatomy.held(puncta[list(POSITION)].to_numpy(float)) / anatomy.spacing_um
    voxel = np.floor(position + 0.5).astype(np.int64) - [side.start for side in box]
    return tuple(voxel.T)


def _shell_rows(
    label: int, role: str, observed: FloatArray, n_voxels: NDArray[np.int64]
) -> list[dict[str, Any]]:
    total = float(observed.sum())
    expected = total * n_voxels / n_voxels.sum()
    reason = "" if total > 0 else "nothing in the cytosol"
    return [
        {
            "cell": label,
            "role": role,
            "shell": k + 1,
            "observed": observed[k],
            "expected": expected[k],
            "ratio": observed[k] / expected[k] if total > 0 and expected[k] > 0 else np.nan,
            "reason": reason,
        }
        for k in range(len(observed))
    ]


def steps_of(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Where a distribution function steps, and how high it is from there on."""
    ordered = np.sort(values[np.isfinite(values)])
    return ordered, np.arange(1, len(ordered) + 1) / max(len(ordered), 1)


def cumulative_at(grid: FloatArray, steps: tuple[FloatArray, FloatArray]) -> FloatArray:
    """A step function, right-continuous, on a grid."""
    where, height = steps
    index = np.searchsorted(where, grid + 1e-9, side="right")
    return np.concatenate([[0.0], height])[index]


def _curves(
    label: int,
    role: str,
    distance: tuple[FloatArray, FloatArray],
    rank: tuple[FloatArray, FloatArray],
    all_um: FloatArray,
    edge_um: FloatArray,
    grid_um: FloatArray,
    largest: float,
) -> list[pd.DataFrame]:
    own = {
        "distance_um": (grid_um, grid_um),
        "normalized_distance": (RELATIVE_GRID, RELATIVE_GRID * largest),
    }
    frames = [
        pd.DataFrame(
            {
                "cell": label,
                "role": role,
                "measure": measure,
                "value": shown,
                "observed": cumulative_at(at_um, distance),
                "by_chance": cumulative_at(at_um, steps_of(all_um)),
                "membrane": cumulative_at(at_um, steps_of(edge_um)),
            }
        )
        for measure, (shown, at_um) in own.items()
    ]
    ranked = pd.DataFrame(
        {
            "cell": label,
            "role": role,
            "measure": "volume_rank",
            "value": RELATIVE_GRID,
            "observed": cumulative_at(RELATIVE_GRID, rank),
            "by_chance": RELATIVE_GRID,
            "membrane": np.nan,
        }
    )
    return [*frames, ranked]
