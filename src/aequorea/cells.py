"""Marker-positive cells per region: everything that a script needs, from one place.

Scripts written for CellColoc run after changing their import line to
``from aequorea.cells import …``. Functions that open a window need ``aequorea[napari]``.
:func:`count` does the same analysis for any number of markers into a run directory.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_COMPAT = "aequorea.pipelines.cells.compat"
_HOMES = {
    f"{_COMPAT}.configs": (
        "CellposeModelConfig",
        "ChannelConfig",
        "ColocalizationConfig",
        "DisplayNames",
        "OptionalRegionSegmentationConfig",
        "RuntimeConfig",
        "SingleChannelAnalysisConfig",
        "SingleChannelConfig",
        "SingleChannelDisplayNames",
    ),
    f"{_COMPAT}.results": (
        "CellposeChannelRefinementContext",
        "CellposeRefinementRoiCache",
        "ColocalizationRunResult",
        "ColocalizationTables",
        "LoadedImageChannels",
        "LoadedSingleChannelImage",
        "OptionalRegionSegmentationResult",
        "ResultsPaths",
        "SingleChannelResultsPaths",
        "SingleChannelRunResult",
        "SingleChannelTables",
    ),
    f"{_COMPAT}.loading": (
        "build_results_paths",
        "build_single_channel_results_paths",
        "load_analysis_images",
        "load_single_channel_image",
        "prepare_loaded_images_for_analysis",
        "prepare_loaded_single_channel_image_for_analysis",
    ),
    f"{_COMPAT}.regions": (
        "create_full_image_roi_labels",
        "get_bbox_2d",
        "load_roi_labels",
        "save_roi_labels",
        "try_load_roi_labels",
    ),
    f"{_COMPAT}.models": (
        "create_cellpose_model",
        "create_cellpose_models_for_channels",
        "evaluate_cellpose_model",
        "filter_labels_by_size",
        "get_available_cellpose_model_names",
        "get_cellpose_major_version",
        "relabel_with_offset",
        "segment_optional_region",
    ),
    f"{_COMPAT}.analysis": (
        "analyze_existing_masks",
        "build_positive_cell_mask",
        "refine_run_result_from_cellpose_cache",
        "run_roi_cellpose_colocalization",
    ),
    f"{_COMPAT}.single_channel": (
        "analyze_existing_single_channel_masks",
        "refine_single_channel_run_result_from_cellpose_cache",
        "run_roi_single_channel_segmentation",
        "try_load_single_channel_roi_labels",
    ),
    f"{_COMPAT}.export": ("export_analysis_outputs", "export_single_channel_outputs"),
    f"{_COMPAT}.environment": ("get_runtime_cache_root", "prepare_runtime_environment"),
    "aequorea.pipelines.cells.tables": ("CountedCells", "count_cells"),
    "aequorea.pipelines.cells.workflow": ("count", "refine"),
    "aequorea.viewer.shapes": (
        "get_roi_label_points",
        "rasterize_shapes_to_labelmask",
        "save_roi_labels_from_shapes",
    ),
    "aequorea.viewer.cells": (
        "create_roi_drawing_viewer",
        "create_single_channel_roi_drawing_viewer",
        "extract_label_masks_from_viewer",
        "extract_labels_from_viewer",
        "extract_single_channel_masks_from_viewer",
        "show_analysis_results",
        "show_optional_region_segmentation",
        "show_single_channel_results",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
