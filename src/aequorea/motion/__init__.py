"""Motion of movies: found in the noise as it is, undone by interpolation."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "parameters": ("MotionParameters",),
    "quality": ("Stillness", "crispness", "principal_shifts", "stillness"),
    "registration": ("Finder", "Motion", "find_motion", "find_reference", "held_still", "register"),
    "view": ("registered",),
    "warp": ("undo_motion", "undo_shifts"),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
