"""The same analysis of one channel: objects per ROI, their shapes and brightness."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.errors import InputError
from aequorea.pipelines.cells.compat.configs import snapshot
from aequorea.pipelines.cells.compat.counting import (
    changes_since,
    columns_last,
    counted_masks,
    planes_of,
    postfilters_of,
    remembered,
    settings_in_force,
    with_small_objects,
)
from aequorea.pipelines.cells.compat.loading import (
    prepare_loaded_single_channel_image_for_analysis,
    same_shape,
)
from aequorea.pipelines.cells.compat.refinement import (
    find_objects,
    refined_objects,
    require_planes_of_run,
)
from aequorea.pipelines.cells.compat.regions import checked_rois, try_load_roi_labels
from aequorea.pipelines.cells.compat.results import (
    SingleChannelRunResult,
    SingleChannelTables,
)
from aequorea.pipelines.cells.segmenting import checked_labels
from aequorea.segmentation.parameters import POSTFILTER_FIELDS
from aequorea.segmentation.postfilters import apply_postfilters

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    from aequorea.pipelines.cells.tables import CountedCells

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
    context = find_objects(
        loaded.image,
        rois,
        model_config,
        planes=planes_of(loaded, len(loaded.image)),
        spacing_um=loaded.voxel_scale_zyx,
        whole=True,
        use_gpu=runtime_config.use_gpu,
        cache=loaded.paths.results_dir / f"{loaded.source_path.stem}_network_cache",
    )
    return _analysed(
        loaded,
        rois,
        context.found_masks,
        analysis_config,
        context,
        {"runtime_config": snapshot(runtime_config)},
        process_rois=runtime_config.process_rois,
    )


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
    settings: dict[str, Any] = {}
    if model_config is not None:
        options = model_config.parameters()
        kept, _ = apply_postfilters(labels, loaded.image, options)
        labels = kept.astype(np.int32, copy=False)
        settings[postfilters_of(_ROLE)] = options.model_dump(
            mode="json", include=set(POSTFILTER_FIELDS)
        )
    rois = checked_rois(roi_labels_2d, loaded.image.shape[-2:])
    context = None if refinement_context is None else replace(refinement_context, masks_given=True)
    return _analysed(loaded, rois, labels, analysis_config, context, settings)


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

    The result is that of a new run with these configurations.

    Raises
    ------
    InputError
        If the run has no cached output, or none that holds for what is asked: another model,
        diameter or prefilter, other ROIs or planes.
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
    require_planes_of_run(loaded, len(loaded.image), run_result)
    rois = checked_rois(roi_labels_2d, loaded.image.shape[-2:], process=run_result.process_rois)
    masks, context = refined_objects(
        context,
        with_small_objects(run_result.masks, run_result.small_masks),
        loaded.image,
        rois,
        model_config,
        {"cellprob_threshold": cellprob_threshold, "flow_threshold": flow_threshold},
        role=_ROLE,
        planes=planes_of(loaded, len(loaded.image)),
        whole=True,
    )
    return _analysed(
        loaded,
        rois,
        masks,
        analysis_config,
        context,
        run_result.settings,
        process_rois=run_result.process_rois,
    )


def _analysed(
    loaded: LoadedSingleChannelImage,
    rois: NDArray[np.int32],
    masks: NDArray[np.int32],
    config: SingleChannelAnalysisConfig,
    context: CellposeChannelRefinementContext | None,
    settings: Mapping[str, Any],
    *,
    process_rois: bool = True,
) -> SingleChannelRunResult:
    found = counted_masks(
        {_ROLE: masks},
        {_ROLE: loaded.image},
        rois,
        loaded,
        least_voxels=config.min_object_voxels,
        positivity={},
    )
    known = remembered({} if context is None else {_ROLE: context}, found.masks)
    in_force = {} if context is None else {"model_config": dict(context.config)}
    tables = _tables(found.counted, known)
    tables.label_changes = changes_since(known, found.masks)
    return SingleChannelRunResult(
        masks=found.masks[_ROLE],
        tables=tables,
        analysis_z_bounds=loaded.analysis_z_bounds,
        refinement_context=known.get(_ROLE),
        small_masks=found.small,
        z_projection_method=loaded.z_projection_method,
        process_rois=process_rois,
        settings={
            **settings_in_force(settings, known, found.masks, loaded),
            **in_force,
            "analysis_config": snapshot(config),
        },
    )


def _tables(
    counted: CountedCells, contexts: Mapping[str, CellposeChannelRefinementContext]
) -> SingleChannelTables:
    objects = counted.cells.rename(
        columns={
            "cell_label": "object_label",
            "cell_voxels": "object_voxels",
            "cell_voxels_props": "object_voxels_props",
            "cell_voxels_delta": "object_voxels - object_voxels_props",
        }
    )
    check = ["object_voxels_props", "object_voxels - object_voxels_props"]
    overview = counted.overview.rename(
        columns={"n_cells": "n_objects", "n_cells_at_roi_border": "n_objects_at_roi_border"}
    )
    means = counted.summaries[_ROLE].drop(columns=[f"n_{_ROLE}_objects"])
    facts = [fact for c in contexts.values() if not c.masks_given for fact in c.facts]
    return SingleChannelTables(
        objects=objects.drop(columns=check),
        voxel_plausibility=objects[["roi_id", "object_label", "object_voxels", *check]],
        overview=columns_last(overview.merge(means, on="roi_id"), "n_objects_at_roi_border"),
        thresholds=pd.DataFrame(facts) if facts else None,
    )
