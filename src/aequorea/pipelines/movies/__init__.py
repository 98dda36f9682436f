"""Movies: their motion found, told and undone.

:func:`register` for one movie, :func:`open_registered` to read it without its motion.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "estimates": ("Estimate", "estimate"),
    "kept_motion": ("read_motion",),
    "parameters": ("RegisterParameters",),
    "workflow": ("open_registered", "rebuild_report", "register"),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
