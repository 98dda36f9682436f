"""The same analysis of one channel: objects per ROI, their shapes and brightness."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.errors import InputError
from aequorea.pipelines.cells.compat.analysis import (
    changes_since,
    checked_rois,
    find_objects,
    in_full,
    refined_options,
    relabelled,
)
from aequorea.pipelines.cells.compat.configs import snapshot
from aequorea.pipelines.cells.compat.loading import (
    prepare_loaded_single_channel_image_for_analysis,
    same_shape,
)
from aequorea.pipelines.cells.compat.regions import try_load_roi_labels
from aequorea.pipelines.cells.compat.results import (
    SingleChannelRunResult,
    SingleChannelTables,
)
from aequorea.pipelines.cells.segmenting import (
    checked_labels,
    given_objects,
    without_small_labels,
)
from aequorea.pipelines.cells.tables import count_cells
from aequorea.segmentation.postfilters import apply_postfilters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aequorea.pipelines.cells.compat.configs import (
        CellposeModelConfig,
        RuntimeConfig,
        SingleChannelAnalysisConfig,
    )
    from aequorea.pipelines.cells.compat.results import (
        CellposeChannelRefinementContext,
        LoadedSingleChannelImage,
        SingleChannelResultsPaths,
        ZBounds,
    )

_ROLE = "object"


def try_load_single_channel_roi_labels(paths: SingleChannelResultsPaths) -> NDArray[Any] | None:
    """Saved ROI labels of a file, or ``None`` if there are none."""
    return try_load_roi_labels(paths.roi_mask_path)


def run_roi_single_channel_segmentation(
    loaded_image: LoadedSingleChannelImage,
    roi_labels_2d: NDArray[Any],
    model_config: CellposeModelConfig,
    analysis_config: SingleChannelAnalysisConfig,
    runtime_config: RuntimeConfig,
) -> SingleChannelRunResult:
    """Segment one channel in every ROI and measure its objects.

    Raises
    ------
    InputError
        For ROIs, models or options that cannot be used.
    """
    loaded = prepare_loaded_single_channel_image_for_analysis(loaded_image, model_config)
    rois = checked_rois(roi_labels_2d, loaded.image.shape[-2:], process=runtime_config.process_rois)
    masks, context, facts = find_objects(
        loaded.image,
        rois,
        model_config.parameters(),
        planes=_planes(loaded),
        spacing_um=loaded.voxel_scale_zyx,
        whole=True,
        use_gpu=runtime_config.use_gpu,
        cache=loaded.paths.results_dir / f"{loaded.source_path.stem}_network_cache",
    )
    settings = {
        "model_config": snapshot(model_config),
        "analysis_config": snapshot(analysis_config),
        "runtime_config": snapshot(runtime_config),
    }
    return _analysed(loaded, rois, masks, analysis_config, context, facts, settings)


def analyze_existing_single_channel_masks(
    loaded_image: LoadedSingleChannelImage,
    roi_labels_2d: NDArray[Any],
    masks: NDArray[Any],
    analysis_config: SingleChannelAnalysisConfig,
    analysis_z_bounds: ZBounds | None = None,
    refinement_context: CellposeChannelRefinementContext | None = None,
    model_config: CellposeModelConfig | None = None,
) -> SingleChannelRunResult:
    """Measure masks that are there, such as ones corrected by hand.

    Raises
    ------
    InputError, AxisMismatchError
        If masks are not labels or do not fit the image.
    """
    loaded = loaded_image
    if model_config is not None:
        loaded = prepare_loaded_single_channel_image_for_analysis(loaded, model_config)
    if analysis_z_bounds is not None:
        loaded = replace(loaded, analysis_z_bounds=analysis_z_bounds)
    labels = checked_labels(np.asarray(masks), "masks")
    same_shape(loaded.image, labels, "masks")
    if model_config is not None:
        kept, _ = apply_postfilters(labels, loaded.image, model_config.parameters())
        labels = kept.astype(np.int32, copy=False)
    rois = checked_rois(roi_labels_2d, loaded.image.shape[-2:])
    settings = {"analysis_config": snapshot(analysis_config)}
    result = _analysed(loaded, rois, labels, analysis_config, refinement_context, (), settings)
    if refinement_context is not None:
        result.tables.label_changes = changes_since(
            {_ROLE: result.masks}, {_ROLE: refinement_context}
        )
        result.refinement_context = refinement_context
    return result


def refine_single_channel_run_result_from_cellpose_cache(
    loaded_image: LoadedSingleChannelImage,
    roi_labels_2d: NDArray[Any],
    run_result: SingleChannelRunResult,
    analysis_config: SingleChannelAnalysisConfig,
    model_config: CellposeModelConfig | None = None,
    cellprob_threshold: float | None = None,
    flow_threshold: float | None = None,
) -> SingleChannelRunResult:
    """Rebuild masks at other thresholds from what the network gave, without a forward pass.

    Raises
    ------
    InputError
        If the run has no cached output.
    """
    context = run_result.refinement_context
    if context is None:
        raise InputError("this run has no cached network output to refine; run the segmentation")
    loaded = loaded_image
    if model_config is not None:
        loaded = prepare_loaded_single_channel_image_for_analysis(loaded, model_config)
    if run_result.analysis_z_bounds is not None and loaded.analysis_z_bounds is None:
        loaded = replace(loaded, analysis_z_bounds=run_result.analysis_z_bounds)
    same_shape(loaded.image, run_result.masks, "run_result.masks")
    rois = checked_rois(roi_labels_2d, loaded.image.shape[-2:])
    asked = {"cellprob_threshold": cellprob_threshold, "flow_threshold": flow_threshold}
    options = refined_options(context.options, model_config, asked, _ROLE)
    masks, context, facts = relabelled(
        context, loaded.image, rois, options, planes=_planes(loaded), whole=True
    )
    settings = {**run_result.settings, "refined": {k: v for k, v in asked.items() if v is not None}}
    return _analysed(loaded, rois, masks, analysis_config, context, facts, settings)


def _planes(loaded: LoadedSingleChannelImage) -> slice:
    if loaded.z_projection_method is not None or loaded.analysis_z_bounds is None:
        return slice(0, len(loaded.image))
    return slice(*loaded.analysis_z_bounds)


def _analysed(
    loaded: LoadedSingleChannelImage,
    rois: NDArray[np.int32],
    masks: NDArray[np.int32],
    config: SingleChannelAnalysisConfig,
    context: CellposeChannelRefinementContext | None,
    facts: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> SingleChannelRunResult:
    planes = _planes(loaded)
    labels = given_objects(masks[planes], rois, whole=True, what="masks")
    labels = without_small_labels(labels, config.min_object_voxels)
    counted = count_cells(
        {_ROLE: labels},
        {_ROLE: loaded.image[planes]},
        rois,
        spacing_um=loaded.voxel_scale_zyx,
        positivity={},
    )
    full = in_full(labels, loaded.image.shape, planes)
    objects = counted.cells.rename(
        columns={
            "cell_label": "object_label",
            "cell_voxels": "object_voxels",
            "cell_voxels_props": "object_voxels_props",
            "cell_voxels_delta": "object_voxels - object_voxels_props",
        }
    )
    check = ["object_voxels_props", "object_voxels - object_voxels_props"]
    overview = counted.overview.rename(columns={"n_cells": "n_objects"})
    means = counted.summaries[_ROLE].drop(columns=[f"n_{_ROLE}_objects"])
    tables = SingleChannelTables(
        objects=objects.drop(columns=check),
        voxel_plausibility=objects[["roi_id", "object_label", "object_voxels", *check]],
        overview=overview.merge(means, on="roi_id"),
        thresholds=pd.DataFrame(list(facts)) if facts else None,
    )
    return SingleChannelRunResult(
        masks=full,
        tables=tables,
        analysis_z_bounds=loaded.analysis_z_bounds,
        refinement_context=None if context is None else replace(context, found_masks=full),
        settings={**settings, "voxel_scale_zyx": loaded.voxel_scale_zyx},
    )
