"""Filters that make objects easier to find; intensities are measured without them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "background": ("local_background",),
    "binning": ("bins_for", "mean_of_bins", "unbinned_labels"),
    "edges": ("plus_operator",),
    "hot_pixels": ("repair_hot_pixels",),
    "illumination": ("FlatField", "correct_illumination", "estimate_flat_field", "flat_of"),
    "prefilters": ("apply_prefilters", "gaussian", "median", "negative_log"),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
