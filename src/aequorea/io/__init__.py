"""Files to images and back: one way to open, one to save, whatever the format."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aequorea.io.registry import Reader, find_reader, readers
    from aequorea.io.registry import open_image as open  # noqa: A004

_HOME = {
    "open": ("aequorea.io.registry", "open_image"),
    "Reader": ("aequorea.io.registry", "Reader"),
    "readers": ("aequorea.io.registry", "readers"),
    "find_reader": ("aequorea.io.registry", "find_reader"),
}

__all__ = ["Reader", "find_reader", "open", "readers"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        module, attribute = _HOME[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'aequorea.io' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
