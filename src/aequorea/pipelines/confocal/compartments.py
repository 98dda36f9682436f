"""Nuclei, cells and what belongs to which, for one stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import InputError
from aequorea.io import read_labels
from aequorea.pipelines.kept_pixels import smallest_unsigned
from aequorea.pipelines.label_edits import change_table
from aequorea.segmentation.compartments import segment_bodies, segment_nuclei
from aequorea.segmentation.edits import label_changes
from aequorea.segmentation.recipes import three_cams_bodies
from aequorea.segmentation.result import Segmentation

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from aequorea.pipelines.confocal.fields import ConfocalField
    from aequorea.pipelines.confocal.parameters import ConfocalParameters

__all__ = ["Found", "find_cells", "find_nuclei"]


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
