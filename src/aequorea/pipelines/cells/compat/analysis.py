"""CellColoc's analysis: segmentation per ROI, refinement from cache, edited labels."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from aequorea.errors import AequoreaWarning, InputError
from aequorea.pipelines.cells.compat.configs import ColocalizationConfig, snapshot
from aequorea.pipelines.cells.compat.loading import (
    prepare_loaded_images_for_analysis,
    same_shape,
)
from aequorea.pipelines.cells.compat.response_cache import cached_responses
from aequorea.pipelines.cells.compat.results import (
    CellposeChannelRefinementContext,
    CellposeRefinementRoiCache,
    ColocalizationRunResult,
    ColocalizationTables,
)
from aequorea.pipelines.cells.edits import CHANGE_COLUMNS, change_rows
from aequorea.pipelines.cells.segmenting import (
    checked_labels,
    given_objects,
    label,
    without_small_labels,
)
from aequorea.pipelines.cells.tables import CountedCells, count_cells
from aequorea.segmentation.edits import label_changes
from aequorea.segmentation.postfilters import apply_postfilters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.pipelines.cells.compat.configs import CellposeModelConfig, RuntimeConfig
    from aequorea.pipelines.cells.compat.results import (
        LoadedImageChannels,
        OptionalRegionSegmentationResult,
        VoxelScale,
        ZBounds,
    )
    from aequorea.segmentation.parameters import SegmentationParameters

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
    planes = _planes(loaded, images["cell"].shape)
    cache = loaded.paths.results_dir / f"{loaded.source_path.stem}_network_cache"
    masks: dict[Role, NDArray[np.int32]] = {}
    contexts: dict[Role, CellposeChannelRefinementContext] = {}
    facts: list[dict[str, Any]] = []
    for role, config in configs.items():
        masks[role], contexts[role], told = find_objects(
            images[role],
            rois,
            config.parameters(),
            planes=planes,
            spacing_um=loaded.voxel_scale_zyx,
            whole=role == "cell",
            use_gpu=runtime_config.use_gpu,
            cache=cache,
        )
        facts += [{"channel": role, **t} for t in told]
    return _analysed(
        loaded,
        rois,
        masks,
        colocalization_config,
        optional_region_result=optional_region_result,
        contexts=contexts,
        facts=facts,
        settings={
            **{f"{role}_model_config": snapshot(c) for role, c in configs.items()},
            "colocalization_config": snapshot(colocalization_config),
            "runtime_config": snapshot(runtime_config),
        },
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
    postfilters.

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
    contexts = {
        role: context
        for role, context in (
            ("cell", cell_refinement_context),
            ("marker", marker_refinement_context),
            ("optional_region", optional_region_refinement_context),
        )
        if context is not None
    }
    loaded = prepare_loaded_images_for_analysis(loaded_images, *configs.values())
    loaded = _matching(loaded, given["cell"].shape, analysis_z_bounds)
    images = images_of(loaded)
    rois = checked_rois(roi_labels_2d, images["cell"].shape[-2:])
    masks: dict[Role, NDArray[np.int32]] = {}
    for role, drawn in given.items():
        labels = checked_labels(np.asarray(drawn), f"{role}_masks")
        same_shape(images["cell"], labels, f"{role}_masks")
        config = configs[role]
        if config is not None and role in images:
            kept, _ = apply_postfilters(labels, images[role], config.parameters())
            labels = kept.astype(np.int32, copy=False)
        masks[role] = labels
    return _analysed(
        loaded,
        rois,
        masks,
        colocalization_config,
        optional_region_result=optional_region_result,
        contexts=contexts,  # type: ignore[arg-type]
        facts=(),
        settings={"colocalization_config": snapshot(colocalization_config)},
        edited=True,
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
    given stays as it was.

    Raises
    ------
    InputError
        If the run has no cached output at all.

    Warns
    -----
    AequoreaWarning
        If thresholds of Cellpose are given for a channel that another method segmented: its
        masks stay as they are.
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
    rois = checked_rois(roi_labels_2d, images["cell"].shape[-2:])
    planes = _planes(loaded, images["cell"].shape)
    masks: dict[Role, NDArray[np.int32]] = {}
    facts: list[dict[str, Any]] = []
    for role in asked:
        kept = getattr(run_result, f"{role}_masks")
        if kept is None:
            continue
        masks[role] = kept
        if role not in contexts:
            continue
        options = refined_options(contexts[role].options, configs[role], asked[role], role)
        if options == contexts[role].options:
            continue
        masks[role], contexts[role], told = relabelled(
            contexts[role], images[role], rois, options, planes=planes, whole=role == "cell"
        )
        facts += [{"channel": role, **t} for t in told]
    return _analysed(
        loaded,
        rois,
        masks,
        colocalization_config,
        optional_region_result=optional_region_result,
        contexts=contexts,
        facts=facts,
        settings={
            **run_result.settings,
            "refined": {r: {k: v for k, v in t.items() if v is not None} for r, t in asked.items()},
        },
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


def checked_rois(
    roi_labels: NDArray[Any], shape_yx: tuple[int, ...], *, process: bool = True
) -> NDArray[np.int32]:
    """ROI labels of the plane of the image; the whole image as ROI 1 where they are not used.

    Raises
    ------
    InputError, AxisMismatchError
        If they are no labels, none is drawn, or they are of another image.
    """
    if not process:
        return np.ones(shape_yx, np.int32)
    rois = checked_labels(np.asarray(roi_labels), "roi_labels_2d")
    if rois.ndim == 3 and len(rois) == 1:
        rois = rois[0]
    same_shape(np.empty(shape_yx, np.bool_), rois, "roi_labels_2d")
    if not rois.any():
        raise InputError("roi_labels_2d: no ROI is drawn (all 0); draw one, or use the whole image")
    return rois


def find_objects(
    image: NDArray[Any],
    rois: NDArray[np.int32],
    options: SegmentationParameters,
    *,
    planes: slice,
    spacing_um: VoxelScale,
    whole: bool,
    use_gpu: bool,
    cache: Path | None,
) -> tuple[NDArray[np.int32], CellposeChannelRefinementContext, Sequence[Mapping[str, Any]]]:
    """Labels of one channel in the shape of the image, what is needed to refine them, facts."""
    responses = cached_responses(
        image[planes], rois, options, spacing_um=spacing_um, use_gpu=use_gpu, cache=cache
    )
    found = label(responses, image[planes], rois, options, whole=whole)
    masks = in_full(found.labels, image.shape, planes)
    caches = [_roi_cache(part, rois, options) for part in responses]
    context = CellposeChannelRefinementContext(
        model_name_or_path=options.model, roi_caches=caches, options=options, found_masks=masks
    )
    return masks, context, found.facts


def relabelled(
    context: CellposeChannelRefinementContext,
    image: NDArray[Any],
    rois: NDArray[np.int32],
    options: SegmentationParameters,
    *,
    planes: slice,
    whole: bool,
) -> tuple[NDArray[np.int32], CellposeChannelRefinementContext, Sequence[Mapping[str, Any]]]:
    """Labels rebuilt with other options from the responses of an earlier run."""
    parts = [c.part for c in context.roi_caches]
    found = label(parts, image[planes], rois, options, whole=whole)
    masks = in_full(found.labels, image.shape, planes)
    caches = [_roi_cache(part, rois, options) for part in parts]
    refined = CellposeChannelRefinementContext(
        model_name_or_path=options.model, roi_caches=caches, options=options, found_masks=masks
    )
    return masks, refined, found.facts


def in_full(labels: NDArray[np.int32], shape: tuple[int, ...], planes: slice) -> NDArray[np.int32]:
    """Labels of the planes that were analysed, in the shape of the whole stack."""
    if labels.shape == shape:
        return labels
    full = np.zeros(shape, np.int32)
    full[planes] = labels
    return full


def _roi_cache(
    part: Any, rois: NDArray[np.int32], options: SegmentationParameters
) -> CellposeRefinementRoiCache:
    arrays, facts = part.response.arrays, part.response.facts
    first = next(iter(arrays.values()), np.empty(0))
    probabilities = arrays.get("cellprob")
    return CellposeRefinementRoiCache(
        roi_id=part.region,
        y_min=part.y[0],
        y_max=part.y[1],
        x_min=part.x[0],
        x_max=part.x[1],
        roi_mask_crop_2d=rois[part.where] == part.region,
        shape_for_masks=tuple((first if probabilities is None else probabilities).shape),
        dP=arrays.get("dP"),
        cellprob=probabilities,
        do_3d=bool(facts.get("do_3d", False)),
        niter=None if facts.get("niter") is None else int(facts["niter"]),
        min_size=None if facts.get("min_size") is None else int(facts["min_size"]),
        max_size_fraction=facts.get("max_size_fraction"),
        flow_threshold=options.flow_threshold,
        cellprob_threshold=options.cellprob_threshold,
        part=part,
    )


def _thresholds(cellprob: float | None, flow: float | None) -> dict[str, float | None]:
    return {"cellprob_threshold": cellprob, "flow_threshold": flow}


def refined_options(
    options: SegmentationParameters,
    config: CellposeModelConfig | None,
    asked: Mapping[str, float | None],
    role: str,
) -> SegmentationParameters:
    """The options in force: those of the run, of a new configuration, then single thresholds."""
    given = {k: v for k, v in asked.items() if v is not None}
    wanted = options if config is None else config.parameters()
    if wanted.method != options.method:
        raise InputError(
            f"{role}_model_config: method {wanted.method!r} is not that of the run "
            f"({options.method!r}); run the analysis again"
        )
    if given and wanted.method != "cellpose":
        unchanged = all(getattr(options, k) == v for k, v in given.items())
        if not unchanged:
            warnings.warn(
                f"{role}: was segmented with {options.method!r}, so Cellpose's thresholds change "
                "nothing; its masks are kept",
                AequoreaWarning,
                stacklevel=3,
            )
        given = {}
    return type(wanted).model_validate({**wanted.model_dump(), **given})


def _planes(loaded: LoadedImageChannels, shape: tuple[int, ...]) -> slice:
    """The planes that are analysed, of a stack whose shape is kept."""
    if loaded.z_projection_method is not None or loaded.analysis_z_bounds is None:
        return slice(0, shape[0])
    return slice(*loaded.analysis_z_bounds)


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


def _analysed(
    loaded: LoadedImageChannels,
    rois: NDArray[np.int32],
    masks: Mapping[Role, NDArray[np.int32]],
    config: ColocalizationConfig,
    *,
    optional_region_result: OptionalRegionSegmentationResult | None,
    contexts: Mapping[Role, CellposeChannelRefinementContext],
    facts: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    edited: bool = False,
) -> ColocalizationRunResult:
    """Tables of masks, confined to the ROIs and to the planes that are analysed."""
    images = images_of(loaded)
    planes = _planes(loaded, images["cell"].shape)
    labels: dict[str, NDArray[np.int32]] = {}
    given = dict(masks)
    if optional_region_result is not None and "optional_region" not in given:
        given["optional_region"] = optional_region_result.labels
        same_shape(images["cell"], optional_region_result.labels, "optional_region_result")
    for role, drawn in given.items():
        labels[role] = given_objects(
            np.asarray(drawn)[planes], rois, whole=role == "cell", what=f"{role}_masks"
        )
    labels["cell"] = without_small_labels(labels["cell"], config.min_cell_voxels)
    rules = {"marker": config.positivity()}
    if "optional_region" in labels and config.evaluate_optional_region_cell_positivity:
        rules["optional_region"] = config.positivity()
    measured = {r: images.get(r, images["cell"])[planes] for r in labels}  # type: ignore[call-overload]
    counted = count_cells(
        labels, measured, rois, spacing_um=loaded.voxel_scale_zyx, positivity=rules
    )
    shape = images["cell"].shape
    full = {role: in_full(found, shape, planes) for role, found in labels.items()}
    tables = _tables(counted, labels, facts)
    if edited:
        tables.label_changes = changes_since(full, contexts)
    else:
        contexts = {r: replace(c, found_masks=full[r]) for r, c in contexts.items()}
    return ColocalizationRunResult(
        cell_masks=full["cell"],
        marker_masks=full["marker"],
        positive_cell_masks=build_positive_cell_mask(full["cell"], tables.summary),
        tables=tables,
        optional_region_masks=full.get("optional_region"),
        analysis_z_bounds=loaded.analysis_z_bounds,
        cell_refinement_context=contexts.get("cell"),
        marker_refinement_context=contexts.get("marker"),
        optional_region_refinement_context=contexts.get("optional_region"),
        settings={**settings, "voxel_scale_zyx": loaded.voxel_scale_zyx},
    )


def _tables(
    counted: CountedCells,
    labels: Mapping[str, NDArray[Any]],
    facts: Sequence[Mapping[str, Any]],
) -> ColocalizationTables:
    third = "optional_region" in labels
    overlaps = counted.overlaps
    main = overlaps[overlaps["marker"] == "marker"].drop(columns=["marker"])
    rename = {
        "n_optional_region_objects": "n_3rd_channel_objects",
    }
    return ColocalizationTables(
        detailed=main.reset_index(drop=True),
        summary=counted.cells,
        overview=counted.overview,
        marker_properties=counted.objects["marker"],
        third_channel_properties=counted.objects["optional_region"] if third else None,
        roi_cell_summary=counted.summaries["cell"],
        roi_marker_summary=counted.summaries["marker"],
        roi_third_channel_summary=(
            counted.summaries["optional_region"].rename(columns=rename) if third else None
        ),
        thresholds=pd.DataFrame(list(facts)) if facts else None,
    )


def changes_since(
    labels: Mapping[str, NDArray[Any]],
    contexts: Mapping[Any, CellposeChannelRefinementContext],
) -> pd.DataFrame:
    """What hand edits did to the masks that were found, one row each."""
    rows = [
        row
        for role, context in contexts.items()
        for row in change_rows(label_changes(context.found_masks, labels[role]), str(role))
    ]
    return pd.DataFrame(rows, columns=list(CHANGE_COLUMNS))
