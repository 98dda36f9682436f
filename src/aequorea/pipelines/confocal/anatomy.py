"""The cells of one stack with their nuclei, membranes and room, worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.measure import measure_objects
from aequorea.segmentation.compartments import cell_of_each_nucleus, membrane_of
from aequorea.spatial.boxes import boxes_of
from aequorea.spatial.distances import (
    CellDistances,
    cell_distances,
    distance_map_by_label,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Cells, and everything about their shape that puncta are measured against.

    Attributes
    ----------
    cells, nuclei : ndarray of int, shape (z, y, x)
        Nuclei have their own numbers. All label images made of them have the type of the cells:
        give the smallest unsigned one.
    spacing_um : (float, float, float)
    """

    cells: NDArray[np.integer[Any]]
    nuclei: NDArray[np.integer[Any]]
    spacing_um: tuple[float, float, float]

    @cached_property
    def landmarks(self) -> NDArray[np.integer[Any]]:
        """Nuclei with the numbers of their cells, nothing outside of them."""
        return cell_landmarks(self.nuclei, self.cells, self.owner_of_nucleus)

    @cached_property
    def owner_of_nucleus(self) -> NDArray[np.int64]:
        """The cell that holds most of each nucleus; element k is nucleus k + 1."""
        return cell_of_each_nucleus(self.nuclei, self.cells)

    @cached_property
    def membranes(self) -> NDArray[np.integer[Any]]:
        """Outermost voxels of every cell."""
        return membrane_of(self.cells)

    @cached_property
    def cytosol(self) -> NDArray[np.integer[Any]]:
        """Cells without their nuclei."""
        cytosol = self.cells.copy()
        cytosol[self.landmarks > 0] = 0
        return cytosol

    @cached_property
    def distances(self) -> tuple[CellDistances, ...]:
        """Distances from the nucleus that each cell's cytosol and membrane have."""
        return cell_distances(self.cells, self.landmarks, self.spacing_um)

    @cached_property
    def distance_map_um(self) -> NDArray[np.float64]:
        """Distance of every voxel of a cell from its nucleus."""
        return distance_map_by_label(self.cells, self.landmarks, self.spacing_um)

    def held(self, position_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positions moved into the stack: a spot at the border is often fitted beyond it.

        It belongs to what is seen there.
        """
        last = (np.array(self.cells.shape) - 1) * self.spacing_um
        return np.asarray(np.clip(position_um, 0, last), dtype=np.float64)

    def with_nucleus(self) -> NDArray[np.int64]:
        """Numbers of the cells that have a nucleus."""
        return np.array(list(boxes_of(self.landmarks)), dtype=np.int64)


def cell_landmarks(
    nuclei: NDArray[np.integer[Any]],
    cells: NDArray[np.integer[Any]],
    owners: NDArray[np.int64],
) -> NDArray[np.integer[Any]]:
    """Nuclei with the number of the cell that owns each; nothing outside that cell."""
    landmarks = np.zeros_like(cells)
    for label, box in boxes_of(nuclei).items():
        owner = owners[label - 1]
        if owner > 0:
            inside = (nuclei[box] == label) & (cells[box] == owner)
            landmarks[box][inside] = owner
    return landmarks


def geometry_of_cells(anatomy: Anatomy) -> pd.DataFrame:
    """One row per cell: where it is, how large, how many nuclei."""
    import pandas as pd

    cells, nuclei, spacing = anatomy.cells, anatomy.nuclei, anatomy.spacing_um
    owners = anatomy.owner_of_nucleus
    measured = measure_objects(cells, spacing_um=spacing, stack=True)
    voxel = float(np.prod(spacing))
    nuclear, n_nuclei = np.zeros(len(measured.label)), np.zeros(len(measured.label), np.int64)
    for label, box in boxes_of(anatomy.landmarks).items():
        place = np.searchsorted(measured.label, label)
        nuclear[place] = np.count_nonzero(anatomy.landmarks[box] == label) * voxel
    for label in boxes_of(nuclei):
        owner = owners[label - 1]
        if owner > 0:
            n_nuclei[np.searchsorted(measured.label, owner)] += 1
    volume = measured.n_voxels * voxel
    return pd.DataFrame(
        {
            "cell": measured.label,
            **{f"{a}_um": measured.centroid_um[:, k] for k, a in enumerate("zyx")},
            "volume_um3": volume,
            "surface_um2": measured.surface_area_um2_3d,
            "sphericity": measured.sphericity_3d,
            "n_nuclei": n_nuclei,
            "nuclear_volume_um3": nuclear,
            "cytosol_volume_um3": volume - nuclear,
            "touches_side": measured.touches_side,
            "touches_first_or_last_plane": (measured.bounding_box[:, 0, 0] == 0)
            | (measured.bounding_box[:, 0, 1] == cells.shape[0]),
        }
    )
