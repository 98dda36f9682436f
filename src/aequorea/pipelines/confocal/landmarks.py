"""Structures within cells, such as mitochondria, and how far from them puncta and proteins are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.filters import threshold_li, threshold_otsu, threshold_triangle

from aequorea.io import read_labels
from aequorea.pipelines.confocal.compartments import Found
from aequorea.pipelines.confocal.measures import (
    DISTRIBUTION_COLUMNS,
    GRID_UM,
    cumulative_at,
    steps_of,
    voxels_in,
)
from aequorea.spatial.boxes import boxes_of
from aequorea.spatial.distances import distance_map, nearest_landmark
from aequorea.spatial.shells import distance_distribution

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from aequorea.pipelines.confocal.anatomy import Anatomy
    from aequorea.pipelines.confocal.parameters import LandmarkParameters

    FloatArray = NDArray[np.float64]

__all__ = [
    "find_landmark",
    "landmark_columns",
    "landmark_distributions",
    "landmark_geometry",
    "landmark_of_puncta",
]

_THRESHOLDS = {"otsu": threshold_otsu, "li": threshold_li, "triangle": threshold_triangle}
_ENOUGH = 1_000_000
_NONE = "the cell has no landmark"


def find_landmark(
    image: NDArray[Any] | None,
    cells: NDArray[np.integer[Any]],
    options: LandmarkParameters,
    spacing_um: tuple[float, float, float],
) -> Found:
    """Voxels of a landmark with the numbers of the cells that hold them.

    Parameters
    ----------
    image : ndarray, shape (z, y, x), or None
        Not needed where labels are given.
    cells : ndarray of int32, shape (z, y, x)
    options : LandmarkParameters
    spacing_um : (float, float, float)

    Returns
    -------
    Found
    """
    if options.labels is not None:
        given = np.asarray(read_labels(options.labels, cells.shape)).reshape(cells.shape) > 0
        return Found(
            labels=np.where(given, cells, 0),
            facts={"source": f"labels from {options.labels.name}"},
        )
    if image is None or not (cells > 0).any():
        return Found(labels=np.zeros_like(cells), facts={"source": "image"})
    smooth = ndimage.gaussian_filter(
        image.astype(np.float32), options.smooth_um / np.array(spacing_um)
    )
    within = smooth[cells > 0]
    level, notes = options.threshold, ()
    if level is None and within.min() < within.max():
        some = within[:: max(1, len(within) // _ENOUGH)]
        level = float(_THRESHOLDS[options.threshold_method](some))
    if level is None:
        return Found(
            labels=np.zeros_like(cells),
            facts={"source": "image"},
            notes=("the channel is the same everywhere in the cells",),
        )
    mask = _large(
        (smooth > level) & (cells > 0), options.min_volume_um3 / float(np.prod(spacing_um))
    )
    return Found(
        labels=np.where(mask, cells, 0),
        facts={"source": "image", "threshold": level},
        notes=notes,
    )


def _large(mask: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """Pieces of at least so many voxels, joined across corners."""
    pieces, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    kept = np.bincount(pieces.ravel()) >= least
    kept[0] = False
    return np.asarray(kept[pieces])


def landmark_of_puncta(
    position_um: FloatArray,
    cell: NDArray[np.int64],
    landmarks: Mapping[str, NDArray[np.integer[Any]]],
    spacing_um: tuple[float, float, float],
) -> dict[str, NDArray[Any]]:
    """Distance of each punctum to each landmark of its own cell, and why there is none."""
    columns: dict[str, NDArray[Any]] = {}
    for role, labels in landmarks.items():
        found = nearest_landmark(position_um, cell, labels, spacing_um)
        columns[f"{role}_distance_um"] = found.distance_um
        columns[f"{role}_reason"] = np.array(found.reason, dtype=object)
    return columns


def landmark_geometry(
    role: str, labels: NDArray[np.integer[Any]], anatomy: Anatomy, cells: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """What of a landmark each cell has, and what chance would give in its cytosol."""
    voxel = float(np.prod(anatomy.spacing_um))
    count = np.bincount(labels.ravel(), minlength=int(cells.max(initial=0)) + 1)[cells]
    by_chance = np.full(len(cells), np.nan)
    place = {int(label): k for k, label in enumerate(cells)}
    for label, _, cytosol, distance in _rooms(labels, anatomy):
        by_chance[place[label]] = np.median(distance[cytosol])
    reason = np.where(count == 0, _NONE, np.where(np.isnan(by_chance), "no cytosol", ""))
    return {
        f"{role}_volume_um3": count * voxel,
        f"median_{role}_distance_by_chance_um": by_chance,
        f"{role}_reason": reason.astype(object),
    }


def landmark_columns(
    role: str,
    labels: NDArray[np.integer[Any]],
    anatomy: Anatomy,
    cells: pd.DataFrame,
    kinds: Mapping[str, pd.DataFrame],
    proteins: Mapping[str, tuple[NDArray[Any], float]],
    *,
    near_um: float,
) -> dict[str, FloatArray]:
    """Per cell, of every kind of puncta and protein in the cytosol: how far from a landmark.

    Columns ``<kind>_median_<landmark>_distance_um``, the same ``_over_chance`` (that of the voxels
    which hold them, over the median of all voxels of the cytosol; NaN where that is 0), and
    ``<kind>_near_<landmark>_over_chance``: the share up to ``near_um`` away, over that of the
    cytosol.
    """
    labelled = cells["cell"].to_numpy()
    place = {int(label): k for k, label in enumerate(labelled)}
    heads = {
        kind: (f"{kind}_median_{role}_distance", f"{kind}_near_{role}")
        for kind in (*kinds, *proteins)
    }
    columns = {
        name: np.full(len(labelled), np.nan)
        for far, near in heads.values()
        for name in (f"{far}_um", f"{far}_over_chance", f"{near}_over_chance")
    }
    for label, box, cytosol, distance in _rooms(labels, anatomy):
        room = np.sort(distance[cytosol])
        chance, share = float(np.median(room)), float(np.mean(room <= near_um))
        for kind, (far, near) in heads.items():
            if kind in kinds:
                own = _cytosolic(kinds[kind], label)
                median = _median(own[f"{role}_distance_um"].to_numpy(float))
                away = distance[voxels_in(own, anatomy, box)]
                over, held = _median(away), float(np.mean(away <= near_um)) if len(away) else np.nan
            else:
                median, held = _of_protein(proteins[kind], box, cytosol, distance, near_um)
                over = median
            k = place[label]
            columns[f"{far}_um"][k] = median
            columns[f"{far}_over_chance"][k] = over / chance if chance > 0 else np.nan
            columns[f"{near}_over_chance"][k] = held / share if share > 0 else np.nan
    return columns


def landmark_distributions(
    role: str,
    labels: NDArray[np.integer[Any]],
    anatomy: Anatomy,
    kinds: Mapping[str, pd.DataFrame],
    proteins: Mapping[str, tuple[NDArray[Any], float]],
) -> pd.DataFrame:
    """Distribution functions of the distance to a landmark, cell by cell, beside chance."""
    parts = []
    for label, box, cytosol, distance in _rooms(labels, anatomy):
        room = np.sort(distance[cytosol])
        edge = np.sort(distance[anatomy.membranes[box] == label])
        farthest = float(max(room.max(), edge.max(initial=0)))
        grid = np.arange(0, farthest + 2 * GRID_UM, GRID_UM)
        observed: dict[str, tuple[FloatArray, FloatArray]] = {}
        for kind, table in kinds.items():
            own = _cytosolic(table, label)
            if len(own):  # at the voxels that hold them, as chance is that of voxels
                observed[kind] = steps_of(distance[voxels_in(own, anatomy, box)])
        for kind, (image, background) in proteins.items():
            found = distance_distribution(distance, cytosol, image[box], background=background)
            if not found.reason:
                observed[kind] = (found.distance_um, found.cumulative)
        for kind, curve in observed.items():
            parts.append(
                pd.DataFrame(
                    {
                        "cell": label,
                        "role": kind,
                        "measure": f"{role}_distance_um",
                        "value": grid,
                        "observed": cumulative_at(grid, curve),
                        "by_chance": cumulative_at(grid, steps_of(room)),
                        "membrane": cumulative_at(grid, steps_of(edge)),
                    }
                )
            )
    if not parts:
        return pd.DataFrame(columns=list(DISTRIBUTION_COLUMNS))
    return pd.concat(parts, ignore_index=True)


def _rooms(
    labels: NDArray[np.integer[Any]], anatomy: Anatomy
) -> Iterator[tuple[int, tuple[slice, ...], NDArray[np.bool_], FloatArray]]:
    """Of each cell with the landmark: number, box, cytosol, distance to the landmark in the box."""
    for label, box in boxes_of(anatomy.cells).items():
        own, cytosol = labels[box] == label, anatomy.cytosol[box] == label
        if own.any() and cytosol.any():
            yield label, box, cytosol, distance_map(own, anatomy.spacing_um)


def _cytosolic(table: pd.DataFrame, label: int) -> pd.DataFrame:
    return table[(table["cell"] == label) & (table["compartment"] == "cytosol")]


def _median(values: FloatArray) -> float:
    return float(np.median(values)) if len(values) else np.nan


def _of_protein(
    protein: tuple[NDArray[Any], float],
    box: tuple[slice, ...],
    cytosol: NDArray[np.bool_],
    distance: FloatArray,
    near_um: float,
) -> tuple[float, float]:
    """The same, weighted by intensity."""
    image, background = protein
    found = distance_distribution(distance, cytosol, image[box], background=background)
    if found.reason:
        return np.nan, np.nan
    near = cumulative_at(np.array([near_um]), (found.distance_um, found.cumulative))
    return float(found.median_um), float(near[0])
