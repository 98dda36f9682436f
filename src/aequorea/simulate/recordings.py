"""Folders as recording programs of miniscopes write them, from a movie whose truth is known."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import InputError
from aequorea.io.movies.video_writer import write_video

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["write_daq_recording", "write_onix_recording", "write_v3_recording"]

_RUBBISH_MS = 4_294_967_295  # what the V3 program writes for the first frame of a camera
_ONIX_CLOCK_HZ = 250_000_000


def write_daq_recording(
    folder: str | os.PathLike[str],
    movie: NDArray[np.uint8],
    times_s: ArrayLike,
    *,
    frames_per_file: int = 1000,
    device: str = "Miniscope",
    device_type: str = "Miniscope_V4_BNO",
    frame_rate_hz: float = 20.0,
    codec: str = "ffv1",
    columns: int = 3,
) -> Path:
    """Write a session of the UCLA Miniscope DAQ program (QT; V3 and V4 scopes).

    Parameters
    ----------
    folder : path
        Of the session; ``device`` is a folder in it.
    movie : ndarray of uint8, shape (t, y, x)
    times_s : array_like, shape (n,), s
        Rows of ``timeStamps.csv``; as many as frames in an intact recording.
    frames_per_file : int
    device, device_type : str
    frame_rate_hz : float, Hz
        What the program says, not what it does.
    codec : {"ffv1", "rawvideo"}
    columns : {3, 4, 5}
        Of ``timeStamps.csv``; newer builds write more.

    Returns
    -------
    Path
        Folder of the device.
    """
    session = Path(folder)
    where = session / device
    where.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(_parts(movie, frames_per_file)):
        write_video(where / f"{number}.avi", part, frame_rate_hz=frame_rate_hz, codec=codec)
    milliseconds = np.rint(1000 * np.asarray(times_s, dtype=np.float64)).astype(np.int64)
    heading = (
        "Frame Number", "Time Stamp (ms)", "Buffer Index", "DAQ Frame Number",
        "Unix Time Stamp (ms)",
    )[:columns]  # fmt: skip
    rows = ((k, t, 1, k, 1_700_000_000_000 + int(t))[:columns] for k, t in enumerate(milliseconds))
    _table(where / "timeStamps.csv", [heading, *rows], ",")
    _json(
        where / "metaData.json",
        {
            "deviceName": device,
            "deviceType": device_type,
            "frameRate": f"{frame_rate_hz:g}FPS",
            "framesPerFile": frames_per_file,
            "ROI": {"height": movie.shape[1], "leftEdge": 0, "topEdge": 0, "width": movie.shape[2]},
        },
    )
    _json(
        session / "metaData.json",
        {
            "animalName": "m1",
            "experimentName": "simulation",
            "miniscopes": [device],
            "cameras": [],
            "recordingStartTime": {"msecSinceEpoch": 1_700_000_000_000},
        },
    )
    return where


def write_v3_recording(
    folder: str | os.PathLike[str],
    movie: NDArray[np.uint8],
    times_s: ArrayLike,
    *,
    frames_per_file: int = 1000,
    camera: int = 1,
    behaviour_frames: int = 0,
    frame_rate_hz: float = 20.0,
) -> Path:
    """Write a session of the V3 program: ``msCam1.avi``, … and ``timestamp.dat``.

    Parameters
    ----------
    folder, movie, times_s, frames_per_file, frame_rate_hz
        As for :func:`write_daq_recording`. The first time is replaced by rubbish, as the program
        does.
    camera : {0, 1}
        Number of the miniscope among cameras.
    behaviour_frames : int
        Frames of a second camera, whose rows lie among those of the first.
    """
    where = Path(folder)
    where.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(_parts(movie, frames_per_file), start=1):
        write_video(where / f"msCam{number}.avi", part, frame_rate_hz=frame_rate_hz)
    milliseconds = np.rint(1000 * np.asarray(times_s, dtype=np.float64)).astype(np.int64)
    rows = [(t, camera, k + 1) for k, t in enumerate(milliseconds)]
    last = int(milliseconds[-1]) if len(milliseconds) else 0
    other = np.linspace(0, last, behaviour_frames).astype(np.int64)
    rows = sorted([*rows, *((t, 1 - camera, k + 1) for k, t in enumerate(other))])
    table: list[Sequence[Any]] = [("camNum", "frameNum", "sysClock", "buffer")]
    table += [(c, k, _RUBBISH_MS if k == 1 else t, 1) for t, c, k in rows]
    _table(where / "timestamp.dat", table, "\t")
    return where


def write_onix_recording(
    folder: str | os.PathLike[str],
    movie: NDArray[np.uint8],
    times_s: ArrayLike,
    *,
    suffix: str = "2024-01-01T12_00_00",
    frame_rate_hz: float = 30.0,
) -> Path:
    """Write what Bonsai writes for a UCLA Miniscope V4 on ONIX: one AVI and ticks of the clock.

    Parameters
    ----------
    folder, movie, times_s, frame_rate_hz
        As for :func:`write_daq_recording`.
    suffix : str
        Of all file names.
    """
    where = Path(folder)
    where.mkdir(parents=True, exist_ok=True)
    name = f"ucla-miniscope-v4-video_{suffix}.avi"
    write_video(where / name, movie, frame_rate_hz=frame_rate_hz, codec="rawvideo")
    ticks = np.rint(np.asarray(times_s, dtype=np.float64) * _ONIX_CLOCK_HZ).astype("<u8")
    ticks.tofile(where / f"ucla-miniscope-v4-clock_{suffix}.raw")
    start = f"2024-01-01T12:00:00.0000000+00:00,{_ONIX_CLOCK_HZ},4096,4096\n"
    (where / f"start-time_{suffix}.csv").write_text(start, "utf-8")
    return where


def _parts(movie: NDArray[np.uint8], size: int) -> Iterable[NDArray[np.uint8]]:
    if size < 1:
        raise InputError(f"frames_per_file: expected at least 1, got {size}")
    return (movie[k : k + size] for k in range(0, len(movie), size))


def _table(path: Path, rows: Iterable[Sequence[Any]], delimiter: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def _json(path: Path, told: dict[str, Any]) -> None:
    path.write_text(json.dumps(told, indent=1), "utf-8")
