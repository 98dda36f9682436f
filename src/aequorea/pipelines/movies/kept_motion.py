"""The motion of a movie as a file: plain arrays, one set per plane."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np

from aequorea.errors import FileFormatError, FileMissingError
from aequorea.motion import Motion

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["read_motion", "write_motion"]

_FORMAT = 1


def write_motion(planes: Sequence[Motion], path: Path) -> None:
    """Write the motion of all planes.

    Arrays, with planes along axis 1: ``shift_yx_px``, ``field_yx_px`` (nonrigid only),
    ``error_px``, ``likeness``, ``snr``, ``reason``, ``line_phase_px`` (one per plane); and
    ``format``.
    """
    arrays = {
        "format": np.array(_FORMAT),
        "reason": np.stack([np.array(m.reason, dtype=str) for m in planes], axis=1),
    }
    for name in ("shift_yx_px", "error_px", "likeness", "snr"):
        arrays[name] = np.stack([getattr(m, name) for m in planes], axis=1)
    arrays["line_phase_px"] = np.array([m.line_phase_px for m in planes])
    fields = [m.field_yx_px for m in planes if m.field_yx_px is not None]
    if fields:
        arrays["field_yx_px"] = np.stack(fields, axis=1)
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def read_motion(path: str | os.PathLike[str]) -> tuple[Motion, ...]:
    """Motion of each plane, as ``aequorea register`` keeps it in ``motion.npz``.

    Raises
    ------
    FileMissingError
        If there is no such file.
    FileFormatError
        If it is no such file, or of a later version.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise FileMissingError(f"{path}: no such file") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"{path}: is no motion of a movie ({error})") from None
    if int(arrays.get("format", 0)) != _FORMAT:
        raise FileFormatError(
            f"{path}: has format {arrays.get('format', 'unknown')}, this version reads {_FORMAT}; "
            "update aequorea, or register the movie again"
        )
    field = arrays.get("field_yx_px")
    return tuple(
        Motion(
            shift_yx_px=arrays["shift_yx_px"][:, p],
            field_yx_px=None if field is None else field[:, p],
            error_px=arrays["error_px"][:, p],
            likeness=arrays["likeness"][:, p],
            snr=arrays["snr"][:, p],
            reason=tuple(arrays["reason"][:, p].tolist()),
            line_phase_px=float(arrays["line_phase_px"][p]),
        )
        for p in range(arrays["shift_yx_px"].shape[1])
    )
