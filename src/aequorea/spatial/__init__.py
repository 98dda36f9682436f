"""Where cells lie, and what lies near what."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "conjunction": (
        "ChanceComparison",
        "OverlapConjunctions",
        "PointConjunctions",
        "against_chance",
        "conjunction_test",
        "expected_partners",
        "overlap_conjunctions",
        "point_conjunctions",
    ),
    "distances": (
        "CellDistances",
        "LandmarkDistances",
        "RelativeDistances",
        "cell_distances",
        "distance_map",
        "distance_map_by_label",
        "distances_of_points",
        "labels_at",
        "membrane_mask",
        "nearest_landmark",
        "normalised_distances",
        "ranked_distances",
        "relative_distances",
    ),
    "envelopes": (
        "Envelope",
        "global_envelope",
    ),
    "localization": (
        "INDICES",
        "Localization",
        "localization_of_intensity",
        "localization_of_points",
    ),
    "nulls": (
        "hard_core_points",
        "moved_clusters",
        "points_inside",
        "random_points",
        "swapped_labels",
    ),
    "phenotypes": (
        "PhenotypeTest",
        "expected_by_chance",
        "neighbourhoods",
        "phenotype_test",
    ),
    "point_patterns": (
        "besag_l",
        "ecdf",
        "empty_space_f",
        "field_at_points",
        "labelled_k",
        "nearest_neighbour_distances",
        "nearest_neighbour_g",
        "pair_correlation",
        "ripley_k",
    ),
    "randomness": (
        "Chance",
        "CsrTest",
        "csr_test",
        "held_against_chance",
    ),
    "window": ("SetCovariance", "set_covariance"),
    "shells": (
        "DistanceDistribution",
        "ShellContents",
        "Shells",
        "distance_distribution",
        "equal_volume_shells",
        "intensity_in_shells",
        "points_in_shells",
    ),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
