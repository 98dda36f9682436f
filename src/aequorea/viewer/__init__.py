"""Looking at images, drawing regions and correcting labels in napari.

Nothing here imports napari or Qt until a function needs a window.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aequorea.viewer.cells import show_analysis_results as show_analysis_results

_HOMES = {
    "cells": (
        "create_roi_drawing_viewer",
        "create_single_channel_roi_drawing_viewer",
        "extract_label_masks_from_viewer",
        "extract_labels_from_viewer",
        "extract_single_channel_masks_from_viewer",
        "show_analysis_results",
        "show_optional_region_segmentation",
        "show_single_channel_results",
    ),
    "layers": ("ViewerError", "ViewerMissingError"),
    "shapes": (
        "get_roi_label_points",
        "rasterize_shapes_to_labelmask",
        "save_roi_labels_from_shapes",
    ),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}
_PANELS = frozenset({"ColocalizationWidget"})

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _PANELS:
        raise ImportError(
            f"{name} is part of the napari panels, which this version does not have; "
            "the functions of aequorea.colocalization do the same from a script"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_HOME)
