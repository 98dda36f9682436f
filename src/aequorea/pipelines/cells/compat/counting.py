"""Masks confined to the ROIs and planes that are analysed, measured, and counted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.pipelines.cells.compat.refinement import in_full
from aequorea.pipelines.cells.segmenting import given_objects, without_small_labels
from aequorea.pipelines.cells.tables import count_cells
from aequorea.pipelines.label_edits import CHANGE_COLUMNS, change_rows
from aequorea.segmentation.edits import label_changes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aequorea.measure.positivity import PositivityParameters
    from aequorea.pipelines.cells.compat.results import (
        CellposeChannelRefinementContext,
        LoadedImageChannels,
        LoadedSingleChannelImage,
    )
    from aequorea.pipelines.cells.tables import CountedCells


@dataclass(frozen=True, eq=False, kw_only=True)
class CountedMasks:
    """Masks in the shape of the stack, and their tables.

    Attributes
    ----------
    masks : mapping of role to ndarray of int32, shape (z, y, x)
        0 outside the ROIs and planes; of the first role without small objects.
    small : ndarray of int32, same shape, or None
        The objects of the first role that were too small to count.
    counted : CountedCells
    """

    masks: Mapping[str, NDArray[np.int32]]
    small: NDArray[np.int32] | None
    counted: CountedCells


def planes_of(loaded: LoadedImageChannels | LoadedSingleChannelImage, depth: int) -> slice:
    """The planes that are analysed, of a stack whose shape is kept."""
    if loaded.z_projection_method is not None or loaded.analysis_z_bounds is None:
        return slice(0, depth)
    return slice(*loaded.analysis_z_bounds)


def counted_masks(
    masks: Mapping[str, NDArray[Any]],
    images: Mapping[str, NDArray[Any]],
    rois: NDArray[np.int32],
    loaded: LoadedImageChannels | LoadedSingleChannelImage,
    *,
    least_voxels: int,
    positivity: Mapping[str, PositivityParameters],
) -> CountedMasks:
    """Masks and their tables; objects of the first role need ``least_voxels`` to count."""
    first = next(iter(masks))
    shape = images[first].shape
    planes = planes_of(loaded, shape[0])
    labels = {
        role: given_objects(
            np.asarray(drawn)[planes], rois, whole=role == first, what=f"{role}_masks"
        )
        for role, drawn in masks.items()
    }
    everything = labels[first]
    labels[first] = without_small_labels(everything, least_voxels)
    small = np.where(labels[first] == 0, everything, 0)
    counted = count_cells(
        labels,
        {role: images[role][planes] for role in labels},
        rois,
        spacing_um=loaded.voxel_scale_zyx,
        positivity=positivity,
    )
    return CountedMasks(
        masks={role: in_full(found, shape, planes) for role, found in labels.items()},
        small=in_full(small, shape, planes) if small.any() else None,
        counted=counted,
    )


def with_small_objects(
    masks: NDArray[np.int32], small: NDArray[np.int32] | None
) -> NDArray[np.int32]:
    """Objects that were too small, where nothing else is; a number that is taken is not shared.

    Examples
    --------
    >>> with_small_objects(np.array([[2, 2, 2, 0]]), np.array([[0, 0, 1, 1]]))
    array([[2, 2, 2, 1]], dtype=int32)
    """
    if small is None:
        return masks
    again = np.where(masks == 0, small, 0)
    taken = np.intersect1d(again[again > 0], masks[np.isin(masks, again[again > 0])])
    free = max(int(masks.max(initial=0)), int(again.max(initial=0))) + 1
    for number, new in zip(taken, range(free, free + len(taken)), strict=True):
        again[again == number] = new
    return np.where(masks == 0, again, masks).astype(np.int32)


def columns_last(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """A table in which columns that the reference does not have follow its own.

    Examples
    --------
    >>> list(columns_last(pd.DataFrame({"ours": [1], "theirs": [2]}), "ours"))
    ['theirs', 'ours']
    """
    ours = [name for name in names if name in table]
    return table[[*(c for c in table if c not in ours), *ours]]


def changes_since(
    contexts: Mapping[str, CellposeChannelRefinementContext],
    masks: Mapping[str, NDArray[Any]],
) -> pd.DataFrame | None:
    """What hand edits did to the masks that were found, one row each; None if none were given."""
    given = {role: c for role, c in contexts.items() if c.masks_given}
    if not given:
        return None
    rows = [
        row
        for role, context in given.items()
        for row in change_rows(label_changes(context.found_masks, masks[role]), role)
    ]
    return pd.DataFrame(rows, columns=list(CHANGE_COLUMNS))


def remembered(
    contexts: Mapping[str, CellposeChannelRefinementContext],
    masks: Mapping[str, NDArray[np.int32]],
) -> dict[str, CellposeChannelRefinementContext]:
    """Contexts with the masks as they were found and counted, to compare hand edits with."""
    return {
        role: c if c.masks_given else replace(c, found_masks=masks[role])
        for role, c in contexts.items()
    }


def postfilters_of(role: str) -> str:
    """Under which name the record of a run has the postfilters of masks that were given."""
    return f"{role}_postfilters"


def settings_in_force(
    settings: Mapping[str, Any],
    contexts: Mapping[str, CellposeChannelRefinementContext],
    masks: Mapping[str, NDArray[Any]],
    loaded: LoadedImageChannels | LoadedSingleChannelImage,
) -> dict[str, Any]:
    """What the record of a run says of these masks; postfilters are those of given masks."""
    found = [role for role, c in contexts.items() if not c.masks_given]
    past = {postfilters_of(role) for role in found}
    return {
        **{k: v for k, v in settings.items() if k not in past},
        "masks_given": [role for role in masks if role not in found],
        "voxel_scale_zyx": loaded.voxel_scale_zyx,
        "analysis_z_bounds": loaded.analysis_z_bounds,
        "z_projection": loaded.z_projection_method,
    }
