"""Puncta of one channel: where they are, in which cell and part of it, how far from its nucleus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.puncta.foci import find_foci
from aequorea.spatial.distances import (
    labels_at,
    nearest_landmark,
    relative_distances,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aequorea.pipelines.confocal.anatomy import Anatomy

__all__ = ["COMPARTMENTS", "located"]

COMPARTMENTS = ("outside", "cytosol", "nucleus")


def located(
    position_um: NDArray[np.float64],
    anatomy: Anatomy,
    more: Mapping[str, NDArray[Any]],
    *,
    foci_radius_um: float,
    foci_puncta: int,
) -> pd.DataFrame:
    """One row per punctum: cell, part, distances, and what else is known of it.

    Parameters
    ----------
    position_um : ndarray, shape (n, 3), µm
    anatomy : Anatomy
    more : mapping of str to ndarray, shape (n,)
        Further columns.
    foci_radius_um : float, µm
    foci_puncta : int
        Foci are crowds of so many puncta of one cell within this radius (DBSCAN).

    Returns
    -------
    DataFrame
        ``distance_nucleus_um`` is 0 in the nucleus; ``distance_membrane_um`` is to the outermost
        voxels of the cell; ``normalized_distance`` is over the largest distance from membrane to
        nucleus; ``volume_rank`` is the share of the cytosol that is nearer to the nucleus, NaN in
        it. These two are made of ``voxel_distance_um``, the distance to the nucleus of the voxel
        that holds the punctum, as chance is that of voxels. ``focus`` numbers the foci of the
        image, 0 is none. ``reason`` says why a distance is missing.
    """
    spacing = anatomy.spacing_um
    held = anatomy.held(position_um)
    cell = labels_at(held, anatomy.cells, spacing)
    nuclear = (labels_at(held, anatomy.landmarks, spacing) == cell) & (cell > 0)
    to_nucleus = nearest_landmark(position_um, cell, anatomy.landmarks, spacing)
    to_membrane = nearest_landmark(position_um, cell, anatomy.membranes, spacing)
    centre = np.rint(held / spacing) * spacing
    of_voxel = nearest_landmark(centre, cell, anatomy.landmarks, spacing)
    relative = relative_distances(of_voxel, anatomy.distances)
    part = np.where(cell == 0, 0, np.where(nuclear, 2, 1))
    return pd.DataFrame(
        {
            "punctum": np.arange(1, len(cell) + 1),
            "cell": cell,
            "compartment": np.array(COMPARTMENTS, dtype=object)[part],
            **{f"{a}_um": position_um[:, k] for k, a in enumerate("zyx")},
            "distance_nucleus_um": to_nucleus.distance_um,
            "distance_membrane_um": to_membrane.distance_um,
            "normalized_distance": relative.normalised,
            "voxel_distance_um": of_voxel.distance_um,
            "volume_rank": np.where(nuclear, np.nan, relative.rank),
            "focus": _foci(position_um, cell, foci_radius_um, foci_puncta),
            **more,
            "reason": np.array(to_nucleus.reason, dtype=object),
        }
    )


def _foci(
    position_um: NDArray[np.float64], cell: NDArray[np.int64], radius_um: float, least: int
) -> NDArray[np.int64]:
    """Numbers of foci from 1 on; puncta of different cells never share one."""
    found = np.zeros(len(cell), np.int64)
    for label in np.unique(cell[cell > 0]):
        own = np.flatnonzero(cell == label)
        focus = find_foci(position_um[own], radius_um=radius_um, min_points=least).focus
        found[own] = np.where(focus >= 0, focus + 1 + found.max(initial=0), 0)
    return found
