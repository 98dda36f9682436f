"""Do two stains colocalize? Pixel and object measures, thresholds, diagnostics, honest nulls.

Everything is a function of arrays and can be imported from here; a name is loaded on first use.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aequorea.colocalization.manders import manders as manders
    from aequorea.colocalization.object_distances import object_distances as object_distances
    from aequorea.colocalization.significance import significance as significance

_HOMES = {
    "correlation": (
        "kendall_tau",
        "li_icq",
        "pearson",
        "pearson_above",
        "pearson_below",
        "spearman",
        "spearman_t",
    ),
    "manders": ("ColocalizedAreas", "colocalized_areas", "manders", "overlap"),
    "thresholds": ("THRESHOLD_METHODS", "auto_threshold"),
    "costes": ("CostesSweep", "costes_regression", "costes_sweep", "costes_threshold"),
    "regions": ("iter_regions", "labels_to_label_mask", "shapes_to_label_mask"),
    "analysis": (
        "ALL_METRICS",
        "COLUMNS",
        "EXTRA_METRICS",
        "analyse_all_to_all",
        "analyse_pairwise",
    ),
    "scramble": (
        "costes_randomization",
        "costes_randomization_steps",
        "guided_block_size",
        "scramble_example",
    ),
    "ccf": ("fit_ccf", "van_steensel_ccf"),
    "ica": ("li_ica",),
    "objects": (
        "OBJECT_COLUMNS",
        "OBJECT_EXTRA_COLUMNS",
        "label_objects",
        "nearest_neighbour_distances",
        "nearest_neighbour_vectors",
        "object_centroids",
        "object_table",
        "overlap_counts",
    ),
    "object_distances": ("match_objects", "object_distances"),
    "object_null": ("fraction_within",),
    "checks": ("CheckResult", "check_channels"),
    "chromatic": ("estimate_shift",),
    "autocorrelation": ("correlation_area_px", "correlation_length_px", "effective_n"),
    "significance": ("NullResult", "significance"),
}
_ELSEWHERE = {
    "make_sample_data": "aequorea.simulate.colocalization",
    "make_sample_data_3d": "aequorea.simulate.colocalization",
    "make_sample_data_cbs006rbm": "aequorea.io.samples",
    "make_sample_data_coloc": "aequorea.io.samples",
    "ColocalizationWidget": "aequorea.viewer",
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}
_HOME.update(_ELSEWHERE)

__all__ = sorted(name for name in _HOME if _HOME[name] != "aequorea.viewer")


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(_module(_HOME[name], name), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _module(home: str, name: str) -> ModuleType:
    try:
        return import_module(home)
    except ModuleNotFoundError as error:
        if error.name != home:
            raise
        message = f"{name} is part of the napari panels, which this version does not have"
        raise ImportError(message) from None


def __dir__() -> list[str]:
    return sorted(_HOME)


class _Package(ModuleType):
    """Keeps public functions in front of the modules that bear the same name.

    Importing ``aequorea.colocalization.manders`` sets the module as an attribute of the
    package, where users expect the function.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
