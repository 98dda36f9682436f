"""Objects in numbers: size and shape, overlap, regions, counts without bias, positivity."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "assignment": (
        "RegionAssignment",
        "assign_to_regions",
        "clip_to_regions",
        "touches_region_border",
    ),
    "counting": ("abercrombie", "in_counting_frame", "in_disector", "mean_height_um"),
    "label_index": ("present_labels",),
    "objects": (
        "MORPHOLOGY",
        "Intensities",
        "ObjectMeasures",
        "measure_intensities",
        "measure_objects",
    ),
    "overlap": ("GroupVoxels", "OverlapCounts", "overlap_counts", "voxels_by_group"),
    "phenotypes": ("Phenotype", "all_phenotypes", "parse_phenotype", "phenotype_counts"),
    "positivity": (
        "PositivityCalls",
        "PositivityCurve",
        "PositivityParameters",
        "call_positive",
        "positivity_curve",
    ),
    "quality": ("StackQuality", "axial_scale", "stack_quality"),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
