"""From raw fluorescence-microscope files to calibrated, reproducible, honest numbers per cell."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aequorea.io import open, open_movie, save  # noqa: A004
    from aequorea.model import Image

__version__ = "0.1.0"
__all__ = ["Image", "__version__", "open", "open_movie", "save"]

_HOME = {
    "open": "aequorea.io",
    "open_movie": "aequorea.io",
    "save": "aequorea.io",
    "Image": "aequorea.model",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'aequorea' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
