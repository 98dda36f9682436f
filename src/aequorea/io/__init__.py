"""Files to images and back: one way to open, one to save, whatever the format."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aequorea.io.download import cached_download
    from aequorea.io.info import FileInfo, describe
    from aequorea.io.labels import read_labels
    from aequorea.io.ome_tiff import write_ome_tiff
    from aequorea.io.ome_zarr_writer import write_ome_zarr
    from aequorea.io.regions import read_regions
    from aequorea.io.registry import Reader, find_reader, readers
    from aequorea.io.registry import open_image as open  # noqa: A004
    from aequorea.io.saving import save
    from aequorea.io.tables import read_table, write_table

_HOME = {
    "open": ("aequorea.io.registry", "open_image"),
    "Reader": ("aequorea.io.registry", "Reader"),
    "readers": ("aequorea.io.registry", "readers"),
    "find_reader": ("aequorea.io.registry", "find_reader"),
    "FileInfo": ("aequorea.io.info", "FileInfo"),
    "describe": ("aequorea.io.info", "describe"),
    "cached_download": ("aequorea.io.download", "cached_download"),
    "read_table": ("aequorea.io.tables", "read_table"),
    "write_table": ("aequorea.io.tables", "write_table"),
    "read_labels": ("aequorea.io.labels", "read_labels"),
    "read_regions": ("aequorea.io.regions", "read_regions"),
    "save": ("aequorea.io.saving", "save"),
    "write_ome_tiff": ("aequorea.io.ome_tiff", "write_ome_tiff"),
    "write_ome_zarr": ("aequorea.io.ome_zarr_writer", "write_ome_zarr"),
}

__all__ = [
    "FileInfo",
    "Reader",
    "cached_download",
    "describe",
    "find_reader",
    "open",
    "read_labels",
    "read_regions",
    "read_table",
    "readers",
    "save",
    "write_ome_tiff",
    "write_ome_zarr",
    "write_table",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        module, attribute = _HOME[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'aequorea.io' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
