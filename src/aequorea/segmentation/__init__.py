"""Finding the objects of one channel: our own methods, and those of other packages."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "backends": ("Backend", "backend", "backend_names"),
    "compartments": (
        "cell_of_each_nucleus",
        "cytosol_of",
        "membrane_of",
        "segment_bodies",
        "segment_nuclei",
    ),
    "edits": ("label_changes",),
    "matching": ("Matching", "match_labels"),
    "parameters": ("SegmentationParameters",),
    "postfilters": ("apply_postfilters",),
    "recipes": ("ThreeCams", "three_cams_bodies", "three_cams_labels", "three_cams_puncta"),
    "result": ("Response", "Segmentation"),
    "scale": ("estimate_diameter_px",),
    "segmenting": ("segment",),
    "threshold": ("threshold_segmentation",),
    "watershed": ("watershed_segmentation",),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
