"""Folders that recording programs write: which files are the movie, and when frames were taken."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, FileFormatError, InputError
from aequorea.io.faults import reading
from aequorea.io.movies.segments import joined_files, natural_key
from aequorea.io.movies.timestamps import (
    cameras_of,
    check_times,
    read_daq_times,
    read_v3_times,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.model.image import Image

__all__ = ["Recording", "has_recording", "recording_in", "recordings_in"]

_DEEPEST = 4
_DAQ_TIMES, _V3_TIMES = "timeStamps.csv", "timestamp.dat"
_ONIX_MOVIES = "ucla-miniscope-v4-video_*.avi"
_FALLBACK_CLOCK_HZ = 250e6  # of the ONIX acquisition clock, where its file does not say


@dataclass(frozen=True, eq=False, kw_only=True)
class Recording:
    """One movie of a recording, and what its program wrote beside it.

    Attributes
    ----------
    program : str
        ``"Miniscope DAQ"``, ``"Miniscope V3"`` or ``"ONIX"``.
    name : str
        Of the device.
    files : tuple of Path
        Segments in order.
    times_s : ndarray or None
        Time of each frame in s since the recording began.
    times_file : Path or None
    metadata : mapping
        What the program says of the device.
    behaviour : tuple of tuple of Path
        Movies of cameras of the same recording.
    """

    program: str
    name: str
    files: tuple[Path, ...]
    times_s: NDArray[np.float64] | None = None
    times_file: Path | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    behaviour: tuple[tuple[Path, ...], ...] = ()

    def open(self, **options: Any) -> Image:
        """The movie with the times at which its frames were taken.

        Warns
        -----
        AequoreaWarning
            For dropped frames, times that do not increase, and numbers of times and frames that
            differ: times are then those of the frames that both have.

        Raises
        ------
        FileFormatError
            If there are fewer times than frames.
        """
        movie = joined_files(self.files, **options)
        facts = {**movie.metadata, **self.metadata, "program": self.program, "device": self.name}
        if self.times_s is None:
            return replace(movie, metadata=facts)
        n_frames = movie.sizes["t"]
        check = check_times(self.times_s, n_frames)
        for remark in check.remarks():
            warnings.warn(f"{self.times_file}: {remark}", AequoreaWarning, stacklevel=2)
        if check.n_times < n_frames:
            raise FileFormatError(
                f"{self.times_file}: {check.n_times} times for {n_frames} frames; a file is "
                "incomplete: give frame_rate_hz to go by the rate instead"
            )
        facts["n_times"] = check.n_times
        facts["n_dropped"] = check.n_dropped
        return replace(movie, times_s=self.times_s[:n_frames], metadata=facts)


def recording_in(folder: Path) -> Recording | None:
    """The recording in a folder; None where there is none of a known program.

    Raises
    ------
    InputError
        If there are several.
    """
    found = recordings_in(folder)
    if len(found) > 1:
        names = ", ".join(str(r.files[0].parent.relative_to(folder)) for r in found)
        raise InputError(f"{folder}: several recordings ({names}); give the folder of one")
    return found[0] if found else None


def recordings_in(folder: Path) -> list[Recording]:
    """All recordings of known programs in a folder and those within it, in natural order."""
    for look in _LOOKS:
        found = look(folder)
        if found:
            return found
    return []


def has_recording(folder: Path) -> bool:
    """Whether a folder looks like that of a recording, without reading anything."""
    return any(_within(folder, mark) for mark in (_DAQ_TIMES, _V3_TIMES, _ONIX_MOVIES))


# --- UCLA Miniscope DAQ (QT), for V3 and V4 scopes ------------------------------------------------


def _daq(folder: Path) -> list[Recording]:
    devices = [p.parent for p in _within(folder, _DAQ_TIMES) if _numbered(p.parent)]
    scopes = [d for d in devices if not _is_camera(d)]
    found = []
    for device in scopes:
        session = device.parent
        cameras = [d for d in devices if _is_camera(d) and d.parent == session]
        told = _json(device / "metaData.json")
        found.append(
            Recording(
                program="Miniscope DAQ",
                name=str(told.get("deviceName", device.name)),
                files=tuple(_numbered(device)),
                times_s=read_daq_times(device / _DAQ_TIMES),
                times_file=device / _DAQ_TIMES,
                metadata=_daq_facts(told, _json(session / "metaData.json")),
                behaviour=tuple(tuple(_numbered(c)) for c in cameras),
            )
        )
    return found


def _is_camera(device: Path) -> bool:
    kind = str(_json(device / "metaData.json").get("deviceType", ""))
    return device.name.lower().startswith(("behav", "webcam")) or kind.lower().startswith("webcam")


def _numbered(device: Path) -> list[Path]:
    """0.avi, 1.avi, …, in the order of their numbers."""
    files = [p for p in device.glob("*.avi") if re.fullmatch(r"\d+", p.stem)]
    return sorted(files, key=lambda path: int(path.stem))


def _daq_facts(device: Mapping[str, Any], session: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    rate = _rate(device.get("frameRate"))
    if rate:
        facts["frame_rate_hz"] = rate
    if "deviceType" in device:
        facts["device_type"] = str(device["deviceType"])
    for key, name in (("animalName", "animal"), ("experimentName", "experiment")):
        if session.get(key):
            facts[name] = str(session[key])
    start = session.get("recordingStartTime")
    if isinstance(start, dict) and isinstance(start.get("msecSinceEpoch"), int):
        facts["started_unix_s"] = start["msecSinceEpoch"] / 1000
    return facts


def _rate(told: Any) -> float | None:
    """20, "20" and "20FPS" are 20 per second."""
    match = re.match(r"\s*(\d+(?:\.\d+)?)", str(told)) if told is not None else None
    return float(match[1]) or None if match else None


# --- Miniscope V3 -----------------------------------------------------------------------------


def _v3(folder: Path) -> list[Recording]:
    found = []
    for session in sorted({p.parent for p in _within(folder, _V3_TIMES)}, key=natural_key):
        files = sorted(session.glob("msCam*.avi"), key=lambda path: natural_key(path.name))
        if not files:
            continue
        stamps = session / _V3_TIMES
        behaviour = sorted(session.glob("behavCam*.avi"), key=lambda path: natural_key(path.name))
        found.append(
            Recording(
                program="Miniscope V3",
                name="msCam",
                files=tuple(files),
                times_s=_v3_times(stamps, files),
                times_file=stamps,
                behaviour=(tuple(behaviour),) if behaviour else (),
            )
        )
    return found


def _v3_times(stamps: Path, files: list[Path]) -> NDArray[np.float64]:
    """Times of the camera that has as many frames as the movie; which it is, differs."""
    n_frames = _n_frames(files)
    cameras = cameras_of(stamps)
    camera = min(cameras, key=lambda c: (abs(cameras[c] - n_frames), c))
    return read_v3_times(stamps, camera)


def _n_frames(files: list[Path]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AequoreaWarning)  # told again when the movie is opened
        return int(joined_files(files).sizes["t"])


# --- ONIX -------------------------------------------------------------------------------------


def _onix(folder: Path) -> list[Recording]:
    found = []
    for movie in _within(folder, _ONIX_MOVIES):
        suffix = movie.stem.removeprefix("ucla-miniscope-v4-video_")
        clock = movie.with_name(f"ucla-miniscope-v4-clock_{suffix}.raw")
        times = _clock_times(clock, movie.with_name(f"start-time_{suffix}.csv"))
        found.append(
            Recording(
                program="ONIX",
                name="ucla-miniscope-v4",
                files=(movie,),
                times_s=times,
                times_file=clock if times is not None else None,
                metadata={"device_type": "UCLA Miniscope V4"},
            )
        )
    return found


def _clock_times(clock: Path, start: Path) -> NDArray[np.float64] | None:
    """Ticks of the acquisition clock in s, from the first frame on."""
    if not clock.is_file():
        return None
    with reading(clock, "ONIX clock"):
        ticks = np.fromfile(clock, "<u8")
    if not len(ticks):
        return None
    hz = _clock_hz(start)
    return np.asarray((ticks - ticks[0]) / hz, dtype=np.float64)


def _clock_hz(start: Path) -> float:
    if start.is_file():
        with reading(start, "ONIX start time"):
            lines = start.read_text("utf-8").strip().splitlines()
        for line in reversed(lines):
            parts = line.split(",")
            if len(parts) > 1 and parts[1].strip().isdecimal() and int(parts[1]) > 0:
                return float(parts[1])
    warnings.warn(
        f"{start}: the rate of the acquisition clock is not there; times assume 250 MHz",
        AequoreaWarning,
        stacklevel=3,
    )
    return _FALLBACK_CLOCK_HZ


# --- shared -----------------------------------------------------------------------------------


def _within(folder: Path, pattern: str) -> list[Path]:
    """Files by pattern, in this folder and a few levels below, in natural order."""
    found = [p for depth in range(_DEEPEST) for p in folder.glob("*/" * depth + pattern)]
    kept = [p for p in found if "saved_movies" not in p.parts and p.is_file()]
    return sorted(kept, key=lambda path: natural_key(str(path.relative_to(folder))))


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    with reading(path, "JSON"):
        told = json.loads(path.read_text("utf-8-sig"))
    return told if isinstance(told, dict) else {}


_LOOKS: tuple[Callable[[Path], list[Recording]], ...] = (_daq, _v3, _onix)
