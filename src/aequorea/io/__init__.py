"""Files to images and back: one way to open, one to save, whatever the format."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aequorea.io.download import cached_download
    from aequorea.io.info import FileInfo, describe
    from aequorea.io.labels import read_labels
    from aequorea.io.movies.opening import open_movie
    from aequorea.io.movies.timestamps import TimeCheck, check_times
    from aequorea.io.movies.video_writer import write_video
    from aequorea.io.ome_tiff import write_ome_tiff
    from aequorea.io.ome_zarr_writer import write_ome_zarr
    from aequorea.io.photon_store import (
        PhotonStatistics,
        photon_statistics,
        write_photon_store,
    )
    from aequorea.io.regions import read_regions
    from aequorea.io.registry import Reader, find_reader, readers
    from aequorea.io.registry import open_image as open  # noqa: A004
    from aequorea.io.saving import save
    from aequorea.io.tables import read_table, write_table

_HOME = {
    "open": ("aequorea.io.registry", "open_image"),
    "open_movie": ("aequorea.io.movies.opening", "open_movie"),
    "TimeCheck": ("aequorea.io.movies.timestamps", "TimeCheck"),
    "check_times": ("aequorea.io.movies.timestamps", "check_times"),
    "write_video": ("aequorea.io.movies.video_writer", "write_video"),
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
    "PhotonStatistics": ("aequorea.io.photon_store", "PhotonStatistics"),
    "photon_statistics": ("aequorea.io.photon_store", "photon_statistics"),
    "write_photon_store": ("aequorea.io.photon_store", "write_photon_store"),
    "save": ("aequorea.io.saving", "save"),
    "write_ome_tiff": ("aequorea.io.ome_tiff", "write_ome_tiff"),
    "write_ome_zarr": ("aequorea.io.ome_zarr_writer", "write_ome_zarr"),
}

__all__ = [
    "FileInfo",
    "PhotonStatistics",
    "Reader",
    "TimeCheck",
    "cached_download",
    "check_times",
    "describe",
    "find_reader",
    "open",
    "open_movie",
    "photon_statistics",
    "read_labels",
    "read_regions",
    "read_table",
    "readers",
    "save",
    "write_ome_tiff",
    "write_ome_zarr",
    "write_photon_store",
    "write_table",
    "write_video",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        module, attribute = _HOME[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'aequorea.io' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
