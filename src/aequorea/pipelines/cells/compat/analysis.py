"""CellColoc's analysis: segmentation per ROI, refinement from cache, edited labels."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from aequorea.errors import AequoreaWarning, InputError
from aequorea.pipelines.cells.compat.configs import ColocalizationConfig, snapshot
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
    prepare_loaded_images_for_analysis,
    same_shape,
)
from aequorea.pipelines.cells.compat.refinement import (
    find_objects,
    refined_objects,
    require_planes_of_run,
)
from aequorea.pipelines.cells.compat.regions import checked_rois
from aequorea.pipelines.cells.compat.results import (
    ColocalizationRunResult,
    ColocalizationTables,
)
from aequorea.pipelines.cells.segmenting import checked_labels
from aequorea.segmentation.parameters import POSTFILTER_FIELDS
from aequorea.segmentation.postfilters import apply_postfilters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aequorea.measure.positivity import PositivityParameters
    from aequorea.pipelines.cells.compat.configs import CellposeModelConfig, RuntimeConfig
    from aequorea.pipelines.cells.compat.results import (
        CellposeChannelRefinementContext,
        LoadedImageChannels,
        OptionalRegionSegmentationResult,
        ZBounds,
    )
    from aequorea.pipelines.cells.tables import CountedCells

Role = Literal["cell", "marker", "optional_region"]


def run_roi_cellpose_colocalization(
    loaded_images: LoadedImageChannels,
    roi_labels_2d: NDArray[Any],
    cell_model_config: CellposeModelConfig,
    marker_model_config: CellposeModelConfig,
    colocalization_config: ColocalizationConfig,
    runtime_config: RuntimeConfig,
    optional_region_model_config: CellposeModelConfig | None = None,
    optional_region_result: OptionalRegionSegmentationResult | None = None,
) -> ColocalizationRunResult:
    """Segment cells and markers in every ROI, and call each cell positive or not.

    Parameters
    ----------
    loaded_images : LoadedImageChannels
    roi_labels_2d : ndarray of int, shape (y, x)
        0 is outside. With ``runtime_config.process_rois`` off, the whole image is one ROI.
    cell_model_config, marker_model_config : CellposeModelConfig
        Any method, not only Cellpose.
    colocalization_config : ColocalizationConfig
    runtime_config : RuntimeConfig
    optional_region_model_config : CellposeModelConfig, optional
        How the third channel is segmented; or
    optional_region_result : OptionalRegionSegmentationResult, optional
        its result, from :func:`segment_optional_region`.

    Returns
    -------
    ColocalizationRunResult

    Raises
    ------
    InputError
        For ROIs, channels, models or options that cannot be used.

    Notes
    -----
    The output of a network is kept in the results folder by content, so that the same call, in
    any later process, needs no forward pass.
    """
    configs: dict[Role, CellposeModelConfig] = {
        "cell": cell_model_config,
        "marker": marker_model_config,
    }
    if optional_region_model_config is not None:
        configs["optional_region"] = optional_region_model_config
    loaded = prepare_loaded_images_for_analysis(loaded_images, *configs.values())
    images = images_of(loaded)
    if "optional_region" in configs and "optional_region" not in images:
        raise InputError(
            "optional_region_model_config is given, but the third channel is not loaded; set "
            "optional_region_channel in ChannelConfig"
        )
    rois = checked_rois(
        roi_labels_2d, images["cell"].shape[-2:], process=runtime_config.process_rois
    )
    contexts = {
        role: find_objects(
            images[role],
            rois,
            config,
            planes=planes_of(loaded, len(images["cell"])),
            spacing_um=loaded.voxel_scale_zyx,
            whole=role == "cell",
            use_gpu=runtime_config.use_gpu,
            cache=loaded.paths.results_dir / f"{loaded.source_path.stem}_network_cache",
        )
        for role, config in configs.items()
    }
    return _analysed(
        loaded,
        rois,
        {role: context.found_masks for role, context in contexts.items()},
        colocalization_config,
        optional_region_result=optional_region_result,
        contexts=contexts,
        settings={"runtime_config": snapshot(runtime_config)},
        process_rois=runtime_config.process_rois,
    )


def analyze_existing_masks(
    loaded_images: LoadedImageChannels,
    roi_labels_2d: NDArray[Any],
    cell_masks: NDArray[Any],
    marker_masks: NDArray[Any],
    colocalization_config: ColocalizationConfig,
    optional_region_result: OptionalRegionSegmentationResult | None = None,
    optional_region_masks: NDArray[Any] | None = None,
    analysis_z_bounds: ZBounds | None = None,
    cell_refinement_context: CellposeChannelRefinementContext | None = None,
    marker_refinement_context: CellposeChannelRefinementContext | None = None,
    optional_region_refinement_context: CellposeChannelRefinementContext | None = None,
    cell_model_config: CellposeModelConfig | None = None,
    marker_model_config: CellposeModelConfig | None = None,
    optional_region_model_config: CellposeModelConfig | None = None,
) -> ColocalizationRunResult:
    """Measure masks that are there, such as ones corrected by hand; nothing is segmented.

    With the refinement contexts of the run that found the masks, ``tables.label_changes`` says
    what was added, removed, split, merged or changed since. Model configurations bring their
    postfilters. Objects of a third channel that is not loaded have no intensities: NaN, and a
    warning.

    Raises
    ------
    InputError, AxisMismatchError
        If masks are not labels or do not fit the image.
    """
    given: dict[Role, NDArray[Any]] = {"cell": cell_masks, "marker": marker_masks}
    if optional_region_masks is not None:
        given["optional_region"] = optional_region_masks
    configs: dict[Role, CellposeModelConfig | None] = {
        "cell": cell_model_config,
        "marker": marker_model_config,
        "optional_region": optional_region_model_config,
    }
    contexts: dict[Role, CellposeChannelRefinementContext | None] = {
        "cell": cell_refinement_context,
        "marker": marker_refinement_context,
        "optional_region": optional_region_refinement_context,
    }
    loaded = prepare_loaded_images_for_analysis(loaded_images, *configs.values())
    loaded = _matching(loaded, given["cell"].shape, analysis_z_bounds)
    images = images_of(loaded)
    rois = checked_rois(roi_labels_2d, images["cell"].shape[-2:])
    masks: dict[Role, NDArray[np.int32]] = {}
    settings: dict[str, Any] = {}
    for role, drawn in given.items():
        labels = checked_labels(np.asarray(drawn), f"{role}_masks")
        same_shape(images["cell"], labels, f"{role}_masks")
        config = configs[role]
        if config is not None and role in images:
            options = config.parameters()
            kept, _ = apply_postfilters(labels, images[role], options)
            labels = kept.astype(np.int32, copy=False)
            settings[postfilters_of(role)] = options.model_dump(
                mode="json", include=set(POSTFILTER_FIELDS)
            )
        masks[role] = labels
    return _analysed(
        loaded,
        rois,
        masks,
        colocalization_config,
        optional_region_result=optional_region_result,
        contexts={
            role: replace(context, masks_given=True)
            for role, context in contexts.items()
            if context is not None and role in given
        },
        settings=settings,
    )


def refine_run_result_from_cellpose_cache(
    loaded_images: LoadedImageChannels,
    roi_labels_2d: NDArray[Any],
    run_result: ColocalizationRunResult,
    colocalization_config: ColocalizationConfig,
    cell_model_config: CellposeModelConfig | None = None,
    marker_model_config: CellposeModelConfig | None = None,
    optional_region_model_config: CellposeModelConfig | None = None,
    cell_cellprob_threshold: float | None = None,
    cell_flow_threshold: float | None = None,
    marker_cellprob_threshold: float | None = None,
    marker_flow_threshold: float | None = None,
    optional_region_cellprob_threshold: float | None = None,
    optional_region_flow_threshold: float | None = None,
    optional_region_result: OptionalRegionSegmentationResult | None = None,
) -> ColocalizationRunResult:
    """Rebuild masks at other thresholds from what the network gave, without a forward pass.

    Thresholds that are given are applied, with or without a model configuration; what is not
    given stays as it was. The result is that of a new run with these configurations.

    Raises
    ------
    InputError
        If the run has no cached output at all; or if a configuration asks for what the cached
        output does not hold: another model, diameter or prefilter, other ROIs or planes.

    Warns
    -----
    AequoreaWarning
        If thresholds of Cellpose are given for a channel that another method segmented, or
        anything for a channel without cached output: its masks stay as they are. If masks that
        were corrected by hand are found anew.
    """
    asked: dict[Role, dict[str, float | None]] = {
        "cell": _thresholds(cell_cellprob_threshold, cell_flow_threshold),
        "marker": _thresholds(marker_cellprob_threshold, marker_flow_threshold),
        "optional_region": _thresholds(
            optional_region_cellprob_threshold, optional_region_flow_threshold
        ),
    }
    configs: dict[Role, CellposeModelConfig | None] = {
        "cell": cell_model_config,
        "marker": marker_model_config,
        "optional_region": optional_region_model_config,
    }
    contexts: dict[Role, CellposeChannelRefinementContext] = {
        role: context
        for role in asked
        if (context := getattr(run_result, f"{role}_refinement_context")) is not None
    }
    if not contexts:
        raise InputError(
            "this run has no cached network output to refine; run_roi_cellpose_colocalization "
            "makes it"
        )
    loaded = prepare_loaded_images_for_analysis(loaded_images, *configs.values())
    loaded = _matching(loaded, run_result.cell_masks.shape, run_result.analysis_z_bounds)
    images = images_of(loaded)
    same_shape(images["cell"], run_result.cell_masks, "run_result.cell_masks")
    require_planes_of_run(loaded, len(images["cell"]), run_result)
    rois = checked_rois(roi_labels_2d, images["cell"].shape[-2:], process=run_result.process_rois)
    masks: dict[Role, NDArray[np.int32]] = {
        "cell": with_small_objects(run_result.cell_masks, run_result.small_cell_masks),
        "marker": run_result.marker_masks,
    }
    if run_result.optional_region_masks is not None:
        masks["optional_region"] = run_result.optional_region_masks
    for role in asked:
        if role in contexts:
            masks[role], contexts[role] = refined_objects(
                contexts[role],
                masks[role],
                images[role],
                rois,
                configs[role],
                asked[role],
                role=role,
                planes=planes_of(loaded, len(images["cell"])),
                whole=role == "cell",
            )
        elif configs[role] is not None or any(v is not None for v in asked[role].values()):
            warnings.warn(
                f"{role}: has no cached output to refine; its masks are kept",
                AequoreaWarning,
                stacklevel=2,
            )
    return _analysed(
        loaded,
        rois,
        masks,
        colocalization_config,
        optional_region_result=optional_region_result,
        contexts=contexts,
        settings=run_result.settings,
        process_rois=run_result.process_rois,
    )


def build_positive_cell_mask(
    cell_masks: NDArray[Any], summary_table: pd.DataFrame
) -> NDArray[np.int32]:
    """Only the cells that the summary calls positive, with their labels."""
    positive = summary_table["cell_label"][summary_table["marker_positive"].astype(bool)]
    inside = np.isin(cell_masks, positive.to_numpy())
    return np.where(inside, cell_masks, 0).astype(np.int32)


def images_of(loaded: LoadedImageChannels) -> dict[Role, NDArray[Any]]:
    """The channels that are loaded, by role, all of one shape (z, y, x).

    Raises
    ------
    AxisMismatchError
        If shapes differ.
    """
    images: dict[Role, NDArray[Any]] = {
        "cell": loaded.cell_image,
        "marker": loaded.marker_image,
    }
    if loaded.optional_region_image is not None:
        images["optional_region"] = loaded.optional_region_image
    for role, image in images.items():
        same_shape(images["cell"], image, f"{role}_image")
    return images


def _matching(
    loaded: LoadedImageChannels, shape: tuple[int, ...], bounds: ZBounds | None
) -> LoadedImageChannels:
    """Images as the masks have them: bounds of the run, projected where the masks are planes."""
    if bounds is not None and loaded.analysis_z_bounds is None:
        loaded = replace(loaded, analysis_z_bounds=bounds)
    if len(shape) == 3 and shape[0] == 1 and len(loaded.cell_image) > 1:
        raise InputError(
            "masks are of a projection and the images are not; give the model configuration with "
            "its z_projection, or images from prepare_loaded_images_for_analysis"
        )
    return loaded


def _thresholds(cellprob: float | None, flow: float | None) -> dict[str, float | None]:
    return {"cellprob_threshold": cellprob, "flow_threshold": flow}


def _analysed(
    loaded: LoadedImageChannels,
    rois: NDArray[np.int32],
    masks: Mapping[Role, NDArray[np.int32]],
    config: ColocalizationConfig,
    *,
    optional_region_result: OptionalRegionSegmentationResult | None,
    contexts: Mapping[Role, CellposeChannelRefinementContext],
    settings: Mapping[str, Any],
    process_rois: bool = True,
) -> ColocalizationRunResult:
    """Tables of masks, confined to the ROIs and to the planes that are analysed."""
    images = images_of(loaded)
    given: dict[str, NDArray[np.int32]] = {str(role): found for role, found in masks.items()}
    if optional_region_result is not None and "optional_region" not in given:
        given["optional_region"] = optional_region_result.labels
        same_shape(images["cell"], optional_region_result.labels, "optional_region_result")
    rules = {"marker": config.positivity()}
    if "optional_region" in given and config.evaluate_optional_region_cell_positivity:
        rules["optional_region"] = config.positivity()
    if "optional_region" in given and "optional_region" not in images:
        images["optional_region"] = _no_intensities(images["cell"].shape, rules)
    found = counted_masks(
        given,
        {str(role): image for role, image in images.items()},
        rois,
        loaded,
        least_voxels=config.min_cell_voxels,
        positivity=rules,
    )
    known = remembered({str(role): c for role, c in contexts.items()}, found.masks)
    tables = _tables(found.counted, known)
    tables.label_changes = changes_since(known, found.masks)
    return ColocalizationRunResult(
        cell_masks=found.masks["cell"],
        marker_masks=found.masks["marker"],
        positive_cell_masks=build_positive_cell_mask(found.masks["cell"], tables.summary),
        tables=tables,
        optional_region_masks=found.masks.get("optional_region"),
        analysis_z_bounds=loaded.analysis_z_bounds,
        cell_refinement_context=known.get("cell"),
        marker_refinement_context=known.get("marker"),
        optional_region_refinement_context=known.get("optional_region"),
        small_cell_masks=found.small,
        z_projection_method=loaded.z_projection_method,
        process_rois=process_rois,
        settings={
            **settings_in_force(settings, known, found.masks, loaded),
            **{f"{role}_model_config": dict(c.config) for role, c in known.items()},
            "colocalization_config": snapshot(config),
        },
    )


def _no_intensities(
    shape: tuple[int, ...], rules: Mapping[str, PositivityParameters]
) -> NDArray[np.float32]:
    """In place of a third channel of which only masks are there.

    Raises
    ------
    InputError
        If cells are judged by its brightness.
    """
    remedy = "set optional_region_channel in ChannelConfig"
    if "optional_region" in rules and rules["optional_region"].rule == "intensity":
        raise InputError(
            f"positivity_rule 'intensity' needs the third channel, which is not loaded; {remedy}"
        )
    warnings.warn(
        f"the third channel is not loaded, so its intensities are empty (NaN); {remedy}",
        AequoreaWarning,
        stacklevel=4,
    )
    return np.full(shape, np.nan, np.float32)


def _tables(
    counted: CountedCells, contexts: Mapping[str, CellposeChannelRefinementContext]
) -> ColocalizationTables:
    third = "optional_region" in counted.objects
    overlaps = counted.overlaps
    main = overlaps[overlaps["marker"] == "marker"].drop(columns=["marker"])
    rename = {"n_optional_region_objects": "n_3rd_channel_objects"}
    facts = [
        {"channel": role, **fact}
        for role, context in contexts.items()
        if not context.masks_given
        for fact in context.facts
    ]
    return ColocalizationTables(
        detailed=main.reset_index(drop=True),
        summary=counted.cells,
        overview=columns_last(counted.overview, "n_optional_region_objects"),
        marker_properties=counted.objects["marker"],
        third_channel_properties=counted.objects["optional_region"] if third else None,
        roi_cell_summary=counted.summaries["cell"],
        roi_marker_summary=counted.summaries["marker"],
        roi_third_channel_summary=(
            counted.summaries["optional_region"].rename(columns=rename) if third else None
        ),
        thresholds=pd.DataFrame(facts) if facts else None,
    )
