"""Ground truth: images and movies of which every answer is known."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "colocalization": (
        "bead_pair",
        "cell_pair",
        "correlated_fields",
        "make_sample_data",
        "make_sample_data_3d",
        "spots",
    ),
    "confocal": ("ConfocalStack", "PunctaLaw", "SimulatedPuncta", "simulated_confocal"),
    "movies": ("SimulatedMovie", "simulated_twophoton"),
    "nuclei": ("simulated_markers", "simulated_nuclei"),
    "puncta": ("render_puncta",),
    "recordings": ("write_daq_recording", "write_onix_recording", "write_v3_recording"),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
