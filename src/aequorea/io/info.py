"""What a file holds, told without reading its pixels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aequorea.errors import AequoreaWarning
from aequorea.io.registry import find_reader, open_image

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping


@dataclass(frozen=True)
class FileInfo:
    """What :func:`describe` found.

    Attributes
    ----------
    path : str
    format : str
    scenes : tuple of str
        Names of all scenes; the rest is about scene number ``scene``.
    scene : int
    axes : str
    shape : tuple of int
    dtype : str
    spacing_um : mapping of axis to float or None, µm
        ``None``: the file does not say.
    channels : tuple of str
    duration_s : float or None
        Time between the first and the last frame.
    interval_s : float or None
        Median time between frames.
    pixel_bytes : int
        Of all pixels of the scene, once read.
    disk_bytes : int
        Of the file, or of all files of the folder.
    notes : tuple of str
        What a careful reader would want to know.
    """

    path: str
    format: str
    scenes: tuple[str, ...]
    scene: int
    axes: str
    shape: tuple[int, ...]
    dtype: str
    spacing_um: Mapping[str, float | None]
    channels: tuple[str, ...]
    duration_s: float | None
    interval_s: float | None
    pixel_bytes: int
    disk_bytes: int
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


def describe(
    path: str | os.PathLike[str], scene: int | str = 0, *, axes: str | None = None
) -> FileInfo:
    """What a file holds: format, scenes, axes, calibration, channels, times.

    Parameters
    ----------
    path : path
    scene : int or str, default 0
    axes : str, optional
        What the axes of the file are, where it does not say (see :func:`aequorea.io.open`).

    Returns
    -------
    FileInfo

    Raises
    ------
    FileMissingError, FileFormatError, InputError
        As :func:`aequorea.io.open` does.
    """
    import numpy as np

    where = Path(path).expanduser()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AequoreaWarning)
        image = open_image(where, scene, axes=axes)
    notes = [
        str(w.message).removeprefix(f"{where}: ")
        for w in caught
        if issubclass(w.category, AequoreaWarning)
    ]
    missing = [a for a, step in image.spacing_um.items() if step is None]
    if missing:
        notes.append(f"no pixel size for {', '.join(missing)}")
    if image.metadata.get("lossy"):
        notes.append("lossy compression: intensities are not as recorded")
    times = image.times_s
    moving = times is not None and len(times) > 1
    return FileInfo(
        path=str(where),
        format=str(image.metadata.get("format") or find_reader(where).name),
        scenes=image.scenes,
        scene=image.scene,
        axes=image.axes,
        shape=image.shape,
        dtype=str(image.dtype),
        spacing_um=dict(image.spacing_um),
        channels=image.channels,
        duration_s=float(times[-1] - times[0]) if moving and times is not None else None,
        interval_s=float(np.median(np.diff(times))) if moving and times is not None else None,
        pixel_bytes=image.nbytes,
        disk_bytes=_size(where),
        notes=tuple(notes),
        metadata=dict(image.metadata),
    )


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path.stat().st_size
