"""Objects of one channel, found once, and found again with other late options.

What a network or a filter gave stays in memory with the options, the ROIs and the planes it holds
for; a refinement that would need another answer is refused.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, InputError
from aequorea.pipelines.cells.compat.configs import field_of, snapshot
from aequorea.pipelines.cells.compat.response_cache import cached_responses
from aequorea.pipelines.cells.compat.results import (
    CellposeChannelRefinementContext,
    CellposeRefinementRoiCache,
)
from aequorea.pipelines.cells.segmenting import label
from aequorea.segmentation.backends import backend
from aequorea.segmentation.parameters import POSTFILTER_FIELDS, PREFILTER_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.pipelines.cells.compat.configs import CellposeModelConfig
    from aequorea.pipelines.cells.compat.results import (
        ColocalizationRunResult,
        LoadedImageChannels,
        LoadedSingleChannelImage,
        SingleChannelRunResult,
        VoxelScale,
    )
    from aequorea.pipelines.cells.segmenting import RegionResponse
    from aequorea.segmentation.parameters import SegmentationParameters

_AGAIN = "run the analysis again"


def find_objects(
    image: NDArray[Any],
    rois: NDArray[np.int32],
    config: CellposeModelConfig,
    *,
    planes: slice,
    spacing_um: VoxelScale,
    whole: bool,
    use_gpu: bool,
    cache: Path | None,
) -> CellposeChannelRefinementContext:
    """Masks of one channel in the shape of the image, with all that is needed to refine them."""
    options = config.parameters()
    parts = cached_responses(
        image[planes], rois, options, spacing_um=spacing_um, use_gpu=use_gpu, cache=cache
    )
    return _labelled(parts, image, rois, options, snapshot(config), planes=planes, whole=whole)


def refined_objects(
    context: CellposeChannelRefinementContext,
    masks: NDArray[np.int32],
    image: NDArray[Any],
    rois: NDArray[np.int32],
    config: CellposeModelConfig | None,
    asked: Mapping[str, float | None],
    *,
    role: str,
    planes: slice,
    whole: bool,
) -> tuple[NDArray[np.int32], CellposeChannelRefinementContext]:
    """The masks at other late options; ``masks`` themselves where no option has an effect.

    Raises
    ------
    InputError
        If the ROIs are not those of the run, or an option differs on which the cached output
        depends.
    """
    _require_rois_of_run(context, rois)
    options, in_force = _options_in_force(context, config, asked, role)
    late = backend(options.method).late | POSTFILTER_FIELDS
    if not _differing(context.options, options, late):
        return masks, replace(
            context, model_name_or_path=options.model, options=options, config=in_force
        )
    if context.masks_given and not np.array_equal(masks, context.found_masks):
        warnings.warn(
            f"{role}: its masks are found anew at these options, without the corrections made by "
            "hand; refine first, then correct",
            AequoreaWarning,
            stacklevel=3,
        )
    parts = [c.part for c in context.roi_caches]
    found = _labelled(parts, image, rois, options, in_force, planes=planes, whole=whole)
    return found.found_masks, found


def require_planes_of_run(
    loaded: LoadedImageChannels | LoadedSingleChannelImage,
    depth: int,
    run_result: ColocalizationRunResult | SingleChannelRunResult,
) -> None:
    """Refuse another crop or projection along z than that of the run.

    Raises
    ------
    InputError
        Saying both.
    """
    asked, held = (
        (each.analysis_z_bounds or (0, depth), each.z_projection_method)
        for each in (loaded, run_result)
    )
    if asked != held:
        raise InputError(
            f"the run looked at {_planes_told(*held)}, and this refinement asks for "
            f"{_planes_told(*asked)}; {_AGAIN}, or leave z_crop and z_projection as they were"
        )


def in_full(labels: NDArray[np.int32], shape: tuple[int, ...], planes: slice) -> NDArray[np.int32]:
    """Labels of the planes that were analysed, in the shape of the whole stack."""
    if labels.shape == shape:
        return labels
    full = np.zeros(shape, np.int32)
    full[planes] = labels
    return full


def _labelled(
    parts: Sequence[RegionResponse],
    image: NDArray[Any],
    rois: NDArray[np.int32],
    options: SegmentationParameters,
    config: Mapping[str, Any],
    *,
    planes: slice,
    whole: bool,
) -> CellposeChannelRefinementContext:
    found = label(parts, image[planes], rois, options, whole=whole)
    return CellposeChannelRefinementContext(
        model_name_or_path=options.model,
        roi_caches=[_roi_cache(part, rois, options) for part in parts],
        options=options,
        config=config,
        facts=found.facts,
        found_masks=in_full(found.labels, image.shape, planes),
    )


def _roi_cache(
    part: RegionResponse, rois: NDArray[np.int32], options: SegmentationParameters
) -> CellposeRefinementRoiCache:
    arrays: Mapping[str, NDArray[Any]] = part.response.arrays
    facts: Mapping[str, Any] = part.response.facts
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


def _require_rois_of_run(
    context: CellposeChannelRefinementContext, rois: NDArray[np.int32]
) -> None:
    outlines = [(c.roi_id, c.part.where, c.roi_mask_crop_2d) for c in context.roi_caches]
    drawn = sum(int(np.count_nonzero(inside)) for _, _, inside in outlines)
    moved = [k for k, where, inside in outlines if not np.array_equal(rois[where] == k, inside)]
    if moved or drawn != int(np.count_nonzero(rois)):
        of_run = ", ".join(str(k) for k, _, _ in outlines)
        raise InputError(
            f"roi_labels_2d: these are not the ROIs of the run ({of_run}), whose output is "
            f"refined; {_AGAIN} in these ROIs"
        )


def _options_in_force(
    context: CellposeChannelRefinementContext,
    config: CellposeModelConfig | None,
    asked: Mapping[str, float | None],
    role: str,
) -> tuple[SegmentationParameters, Mapping[str, Any]]:
    """Those of the run, of a new configuration, then single thresholds; and as configuration."""
    of_run = context.options
    wanted, in_force = of_run, context.config
    if config is not None:
        wanted, in_force = config.parameters(), snapshot(config)
    if wanted.method != of_run.method:
        raise InputError(
            f"{role}_model_config: method {wanted.method!r} is not that of the run "
            f"({of_run.method!r}); {_AGAIN}"
        )
    early = _differing(of_run, wanted, backend(of_run.method).early | PREFILTER_FIELDS)
    if early:
        changes = "; ".join(
            f"{field_of(f)} was {getattr(of_run, f)!r}, now {getattr(wanted, f)!r}" for f in early
        )
        raise InputError(
            f"{role}_model_config: the cached output does not hold for it ({changes}); {_AGAIN}"
        )
    given = {k: v for k, v in asked.items() if v is not None}
    if given and wanted.method != "cellpose":
        if any(getattr(of_run, k) != v for k, v in given.items()):
            warnings.warn(
                f"{role}: was segmented with {of_run.method!r}, so Cellpose's thresholds change "
                "nothing; its masks are kept",
                AequoreaWarning,
                stacklevel=4,
            )
        return wanted, in_force
    options = type(wanted).model_validate({**wanted.model_dump(), **given})
    return options, {**in_force, **given}


def _differing(
    one: SegmentationParameters, other: SegmentationParameters, names: Iterable[str]
) -> list[str]:
    return [name for name in sorted(names) if getattr(one, name) != getattr(other, name)]


def _planes_told(bounds: tuple[int, int], projection: str | None) -> str:
    planes = f"planes {bounds[0]} to {bounds[1] - 1}"
    return planes if projection is None else f"the {projection} projection of {planes}"
