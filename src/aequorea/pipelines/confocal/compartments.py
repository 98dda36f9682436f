"""Nuclei, cells and what belongs to which, for one stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from aequorea.errors import InputError
from aequorea.io import read_labels
from aequorea.measure import measure_objects
from aequorea.pipelines.kept_pixels import smallest_unsigned
from aequorea.pipelines.label_edits import change_table
from aequorea.segmentation.compartments import (
    cell_of_each_nucleus,
    segment_bodies,
    segment_nuclei,
)
from aequorea.segmentation.edits import label_changes
from aequorea.segmentation.recipes import three_cams_bodies
from aequorea.segmentation.result import Segmentation

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from aequorea.pipelines.confocal.anatomy import Anatomy
    from aequorea.pipelines.confocal.fields import ConfocalField
    from aequorea.pipelines.confocal.parameters import ConfocalParameters

__all__ = ["Found", "cell_landmarks", "find_cells", "find_nuclei", "geometry_of_cells"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """Objects of one role.

    Attributes
    ----------
    labels : ndarray of unsigned int, shape (z, y, x)
        In the smallest type that holds them.
    facts : mapping
        Thresholds and scales used.
    notes : tuple of str
    changes : DataFrame or None
        What a hand edit changed.
    """

    labels: NDArray[np.unsignedinteger[Any]]
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()
    changes: pd.DataFrame | None = None


def find_nuclei(field: ConfocalField, parameters: ConfocalParameters) -> Found:
    """Labels of nuclei: given, found, or found and then corrected by hand."""
    p = parameters.nuclei
    if p.labels is not None:
        return _given(p.labels, field.shape)
    if parameters.recipe == "3cams":
        found = _one_mask(three_cams_bodies(field.raw("nuclei")).nuclei)
    else:
        found = segment_nuclei(
            field.pixels("nuclei"),
            spacing_um=field.spacing_um,
            diameter_um=p.diameter_um,
            threshold=p.threshold,
            min_volume_um3=p.min_volume_um3,
            split_tolerance=p.split_tolerance,
            split_neck=p.split_neck,
        )
    return _edited(found, p.edited, field.names["nuclei"])


def find_cells(
    field: ConfocalField, nuclei: NDArray[np.integer[Any]], parameters: ConfocalParameters
) -> Found:
    """Labels of cells; a cell grown from nucleus k is cell k."""
    p = parameters.cells
    if p.labels is not None:
        return _given(p.labels, field.shape)
    if parameters.recipe == "3cams":
        found = _one_mask(three_cams_bodies(field.raw("nuclei")).body)
    else:
        found = segment_bodies(
            field.pixels("cells"),
            nuclei,
            spacing_um=field.spacing_um,
            smooth_um=p.smooth_um,
            threshold=p.threshold,
            method=p.threshold_method,
            threshold_factor=p.threshold_factor,
            min_volume_um3=p.min_volume_um3,
            outline_reach_um=p.outline_reach_um,
            one_cell=p.one_cell,
            keep_without_nucleus=p.keep_without_nucleus,
        )
    return _edited(found, p.edited, field.names.get("cells", "cells"))


def cell_landmarks(
    nuclei: NDArray[np.integer[Any]], cells: NDArray[np.integer[Any]]
) -> NDArray[np.integer[Any]]:
    """Nuclei with the number of the cell that holds most of each; nothing outside that cell."""
    owners = cell_of_each_nucleus(nuclei, cells)
    landmarks = np.zeros_like(cells)
    for k, box in enumerate(ndimage.find_objects(nuclei)):
        if box is not None and owners[k] > 0:
            inside = (nuclei[box] == k + 1) & (cells[box] == owners[k])
            landmarks[box][inside] = owners[k]
    return landmarks


def geometry_of_cells(anatomy: Anatomy) -> pd.DataFrame:
    """One row per cell: where it is, how large, how many nuclei."""
    import pandas as pd

    cells, nuclei, spacing = anatomy.cells, anatomy.nuclei, anatomy.spacing_um
    owner = cell_of_each_nucleus(nuclei, cells)
    measured = measure_objects(cells, spacing_um=spacing, stack=True)
    voxel = float(np.prod(spacing))
    width = int(measured.label.max(initial=0)) + 1
    nuclear = np.zeros(width)
    for k, box in enumerate(ndimage.find_objects(anatomy.landmarks), start=1):
        if box is not None:
            nuclear[k] = np.count_nonzero(anatomy.landmarks[box] == k) * voxel
    n_nuclei = np.bincount(owner, minlength=width)[measured.label]
    volume = measured.n_voxels * voxel
    return pd.DataFrame(
        {
            "cell": measured.label,
            **{f"{a}_um": measured.centroid_um[:, k] for k, a in enumerate("zyx")},
            "volume_um3": volume,
            "surface_um2": measured.surface_area_um2_3d,
            "sphericity": measured.sphericity_3d,
            "n_nuclei": n_nuclei,
            "nuclear_volume_um3": nuclear[measured.label],
            "cytosol_volume_um3": volume - nuclear[measured.label],
            "touches_side": measured.touches_side,
            "touches_first_or_last_plane": (measured.bounding_box[:, 0, 0] == 0)
            | (measured.bounding_box[:, 0, 1] == cells.shape[0]),
        }
    )


def _one_mask(mask: NDArray[np.bool_]) -> Segmentation:
    return Segmentation(labels=mask.astype(np.int32), facts={"recipe": "3cams"}, notes=())


def _given(path: Path, shape: tuple[int, ...]) -> Found:
    return Found(labels=_read(path, shape), facts={"source": f"labels from {path.name}"})


def _read(path: Path, shape: tuple[int, ...]) -> NDArray[np.unsignedinteger[Any]]:
    labels = np.asarray(read_labels(path, shape)).reshape(shape)
    if labels.max(initial=0) > np.iinfo(np.int32).max:
        raise InputError(f"{path}: labels go up to {int(labels.max())}; renumber them")
    return smallest_unsigned(labels)


def _edited(found: Segmentation, path: Path | None, name: str) -> Found:
    facts = dict(found.facts)
    if path is None:
        return Found(labels=smallest_unsigned(found.labels), facts=facts, notes=found.notes)
    edited = _read(path, found.labels.shape)
    changes = change_table(label_changes(found.labels, edited), name)
    return Found(labels=edited, facts=facts, notes=found.notes, changes=changes)
