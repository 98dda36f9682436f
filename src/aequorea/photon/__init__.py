"""The noise of photon-limited movies: how large it is, and how movies are stored to match it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES: dict[str, tuple[str, ...]] = {
    "anscombe": ("generalized_anscombe", "generalized_inverse_anscombe"),
    "block": ("decode_block", "encode_block"),
    "quantise": ("Quantiser",),
    "snr": ("photon_snr", "spike_detectability"),
    "transfer": ("PhotonTransfer", "photon_transfer"),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
