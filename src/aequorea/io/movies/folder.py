"""Folders as movies: recordings of known programs, or files of one kind in natural order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aequorea.io.movies.recordings import has_recording, recording_in
from aequorea.io.movies.segments import files_of_one_kind, image_files, joined_files

if TYPE_CHECKING:
    from pathlib import Path

    from aequorea.model.image import Image

__all__ = ["READER", "FolderReader"]


class FolderReader:
    """A movie in the files of a folder, taken in natural order (2.avi before 10.avi)."""

    name = "folder"
    suffixes: tuple[str, ...] = ()

    def sniff(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """Whether it is a folder with a recording, or with image or movie files."""
        return path.is_dir() and bool(has_recording(path) or image_files(path))

    def open(self, path: Path, scene: int | str, *, axes: str | None = None) -> Image:
        """All files, one after the other along time.

        Raises
        ------
        FileFormatError
            If files are of several kinds, or unlike each other.
        InputError
            If there are several recordings in it.
        """
        recording = recording_in(path)
        if recording is not None:
            return recording.open(scene=scene, axes=axes)
        return joined_files(files_of_one_kind(path), scene=scene, axes=axes)


READER = FolderReader()
