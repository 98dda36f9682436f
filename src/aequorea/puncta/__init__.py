"""Spots below the resolution: where they are, how bright, how many, and how many were missed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES: dict[str, tuple[str, ...]] = {
    "batch": (
        "PunctaDetection",
        "detect_puncta",
    ),
    "chromatic": (
        "BeadShift",
        "bead_positions",
        "bead_shift",
    ),
    "copy_numbers": (
        "CopyNumbers",
        "SingleMolecule",
        "copy_number",
        "single_molecule",
    ),
    "dense": (
        "Decomposition",
        "decompose_dense",
        "reference_molecule",
    ),
    "detection": (
        "Candidates",
        "blob_response",
        "find_candidates",
        "select",
    ),
    "efficiency": (
        "Efficiency",
        "detection_efficiency",
    ),
    "fit": (
        "SpotFits",
        "fit_puncta",
    ),
    "foci": (
        "Foci",
        "TranscriptionSites",
        "find_foci",
        "transcription_sites",
    ),
    "labels": ("label_puncta",),
    "noise": (
        "NoiseCurve",
        "median_of",
        "noise_curve",
    ),
    "parameters": ("PunctaParameters",),
    "precision": (
        "PrecisionBound",
        "crlb",
    ),
    "snr": (
        "SpotQuality",
        "spot_snr",
    ),
    "threshold": (
        "CommonThreshold",
        "NoiseMaxima",
        "common_threshold",
        "noise_maxima",
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
