"""Conclusions about animals and conditions, from numbers per cell and image."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "bands": ("SimultaneousBand", "simultaneous_band"),
    "distributions": (
        "AnimalDistribution",
        "ConditionDistribution",
        "DistributionComparison",
        "DistributionDifference",
        "compare_distributions",
    ),
    "ecdf": ("CellCurves", "ecdf_on_grid", "half_distance"),
    "effect_size": ("EffectSize", "detectable_difference", "hedges_g", "ratio_of_means"),
    "fdr": ("false_discovery_rate",),
    "fractions": (
        "ConditionFraction",
        "FractionComparison",
        "FractionDifference",
        "compare_fractions",
    ),
    "means": ("ConditionMean", "MeanComparison", "MeanDifference", "compare_means"),
    "per_animal": ("AnimalMean",),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
