"""Which reader opens which file: by content first, by name second, by plug-in third."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from aequorea.errors import (
    AequoreaWarning,
    ChannelError,
    FileFormatError,
    FileMissingError,
    InputError,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from aequorea.model.image import Image

ENTRY_POINTS = "aequorea.readers"
HEAD_BYTES = 4096
_BUILT_IN = (
    "tiff", "raster", "nd2", "czi", "ome_zarr", "npy", "movies.video", "movies.hdf5",
    "movies.scanbox", "movies.folder",
)  # fmt: skip
_LAST_RESORT = "bioio_fallback"


@runtime_checkable
class Reader(Protocol):
    """What a file format must offer. Register an instance as entry point ``aequorea.readers``.

    Attributes
    ----------
    name : str
        What users call the format: ``"ND2"``.
    suffixes : tuple of str
        Endings of file names, lower case, with the dot.
    """

    name: str
    suffixes: tuple[str, ...]

    def sniff(self, head: bytes, path: Path) -> bool:
        """Whether the content is of this format.

        Parameters
        ----------
        head : bytes
            The first 4096 bytes; empty for a folder.
        path : Path
        """

    def open(self, path: Path, scene: int | str, *, axes: str | None = None) -> Image:
        """The image, lazily.

        Parameters
        ----------
        path : Path
        scene : int or str
            Index or name; :func:`scene_index` finds it among names.
        axes : str, optional
            What the user says the axes of the file are (see :func:`aequorea.io.axes.arrange`).
        """


def open_image(
    path: str | os.PathLike[str],
    scene: int | str = 0,
    *,
    axes: str | None = None,
    spacing_um: Mapping[str, float | None] | None = None,
    channels: Sequence[str] | None = None,
    reader: str | None = None,
) -> Image:
    """Open a microscope file as a calibrated, lazy image.

    Parameters
    ----------
    path : path of a file, or of an OME-Zarr folder
    scene : int or str, default 0
        Which image of a file that holds several (positions, series): index or name.
    axes : str, optional
        What the axes of the file are, in its order, out of ``tczyx``, where the file does
        not say or says it wrong: ``"zyx"``.
    spacing_um : mapping of {"z", "y", "x"} to float or None, optional
        Distances in µm, instead of those of the file; axes that are not named keep theirs.
    channels : sequence of str, optional
        Channel names instead of those of the file.
    reader : str, optional
        Name of the reader to use, whatever the content looks like.

    Returns
    -------
    Image
        Pixels are read when indexed; no file stays open.

    Raises
    ------
    FileMissingError
        If there is no such file.
    FileFormatError
        If it is empty, truncated, misnamed, or of a format that no reader knows.
    AxisMismatchError
        If the file does not say what its axes are and ``axes`` does not either.
    InputError
        If there is no such scene, or no such reader.

    Warns
    -----
    AequoreaWarning
        Where the file leaves something open that a careful reader would want to know.
    """
    where = Path(path).expanduser()
    chosen = find_reader(where) if reader is None else _reader_called(reader)
    image = chosen.open(where, scene, axes=axes)
    if channels is not None:
        if len(channels) != len(image.channels):
            raise ChannelError(
                f"{where}: {len(channels)} channel names given, the image has "
                f"{len(image.channels)} channels ({', '.join(image.channels)})"
            )
        image = replace(image, channels=tuple(channels))
    return image if spacing_um is None else image.with_spacing(**spacing_um)


def find_reader(path: Path) -> Reader:
    """The reader for a file: the first that knows its content, else the first that knows its name.

    Raises
    ------
    FileMissingError, FileFormatError, InputError
        See :func:`open_image`.
    """
    head = _head(path)
    known = readers()
    for reader in known:
        if reader.sniff(head, path):
            return reader
    for reader in known:
        if path.name.lower().endswith(reader.suffixes) and not path.is_dir():
            return reader
    fallback = _reader(_LAST_RESORT)
    if fallback.sniff(head, path):
        return fallback
    if path.is_dir():
        raise FileFormatError(
            f"{path}: a folder that is not OME-Zarr, and without images or movies; "
            "expected a file, or a folder with zarr.json or .zattrs"
        )
    names = ", ".join(reader.name for reader in known)
    raise FileFormatError(
        f"{path}: not a format that can be read ({names}); "
        "export it as OME-TIFF, or try: pip install 'aequorea[bioio]'"
    )


def readers() -> tuple[Reader, ...]:
    """All readers in the order they are asked: built-in ones, then those of installed plug-ins."""
    return (*(_reader(module) for module in _BUILT_IN), *_plugged_in())


def scene_index(names: Sequence[str], scene: int | str, path: Path | str) -> int:
    """Index of a scene given by index or by name.

    Raises
    ------
    InputError
        If there is no such scene.

    Examples
    --------
    >>> scene_index(["Position 1", "Position 2"], "Position 2", "cells.nd2")
    1
    """
    if isinstance(scene, str) and scene in names:
        return list(names).index(scene)
    number = int(scene) if str(scene).isdecimal() else -1
    if not 0 <= number < len(names):
        shown = ", ".join(f"{k}:{name}" for k, name in enumerate(names[:20]))
        more = ", …" if len(names) > 20 else ""
        raise InputError(f"{path}: no scene {scene!r}; it has {len(names)} ({shown}{more})")
    return number


def _head(path: Path) -> bytes:
    try:
        if path.is_dir():
            return b""
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise FileMissingError(f"{path}: no such file; check the path") from None
    except PermissionError:
        raise InputError(f"{path}: may not be read; ask for read permission") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be opened ({error}); check the path") from None
    if not head:
        raise FileFormatError(f"{path}: empty file (0 bytes); copy or export it again")
    return head


def _reader(module: str) -> Reader:
    reader: Reader = import_module(f"aequorea.io.{module}").READER
    return reader


def _reader_called(name: str) -> Reader:
    every = (*readers(), _reader(_LAST_RESORT))
    for reader in every:
        if reader.name.lower() == name.lower():
            return reader
    raise InputError(f"no reader is called {name!r}; there are {', '.join(r.name for r in every)}")


@cache
def _plugged_in() -> tuple[Reader, ...]:
    """Readers of other packages; one that cannot be used is said once and left out."""
    found = []
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            reader = entry.load()
        except (ImportError, AttributeError) as error:
            _left_out(entry, f"cannot be imported ({error})")
            continue
        if isinstance(reader, Reader):
            found.append(reader)
        else:
            _left_out(entry, "is not a reader (it needs name, suffixes, sniff and open)")
    return tuple(found)


def _left_out(entry: EntryPoint, reason: str) -> None:
    warnings.warn(
        f"plug-in {entry.value!r} ({ENTRY_POINTS}) {reason} and is left out; "
        "update or uninstall its package",
        AequoreaWarning,
        stacklevel=2,
    )
