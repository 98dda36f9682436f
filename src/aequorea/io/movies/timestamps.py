"""Times of frames: read from the tables of recording programs, and checked against the frames."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aequorea.errors import FileFormatError, InputError
from aequorea.io.faults import reading

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

__all__ = ["TimeCheck", "check_times", "fitted_times", "read_daq_times", "read_v3_times"]

_A_GAP = 1.5  # intervals: from here on at least one frame is missing
_GARBAGE_MS = 1e8  # more than a day: what the V3 program writes for the first frame


@dataclass(frozen=True, eq=False, kw_only=True)
class TimeCheck:
    """What times say about a recording.

    Attributes
    ----------
    n_frames, n_times : int
    interval_s : float, s
        Median time between frames; NaN for fewer than two.
    dropped : tuple of (int, int)
        After which frame how many are missing.
    not_increasing : tuple of int
        Frames whose time is not later than that of the frame before.
    """

    n_frames: int
    n_times: int
    interval_s: float
    dropped: tuple[tuple[int, int], ...] = ()
    not_increasing: tuple[int, ...] = ()

    @property
    def n_dropped(self) -> int:
        """Frames that are missing, by the length of the gaps."""
        return sum(n for _, n in self.dropped)

    def remarks(self) -> tuple[str, ...]:
        """What is not right, in words."""
        told = []
        if self.n_frames != self.n_times:
            told.append(f"{self.n_frames} frames, but {self.n_times} times")
        if self.not_increasing:
            shown = ", ".join(map(str, self.not_increasing[:5]))
            more = ", …" if len(self.not_increasing) > 5 else ""
            told.append(f"times do not increase at frame {shown}{more}")
        if self.dropped:
            first, n = self.dropped[0]
            told.append(
                f"frames were dropped: {self.n_dropped} in all, the first {n} after frame {first}"
            )
        return tuple(told)


def check_times(times_s: ArrayLike, n_frames: int) -> TimeCheck:
    """Hold times against the number of frames, and look for gaps.

    Parameters
    ----------
    times_s : array_like, shape (n,), s
    n_frames : int

    Returns
    -------
    TimeCheck
        A gap is a time between frames of more than 1.5 median intervals.

    Examples
    --------
    >>> check_times([0.0, 0.05, 0.1, 0.25, 0.3], 5).dropped
    ((2, 2),)
    """
    times = np.asarray(times_s, dtype=np.float64)
    steps = np.diff(times)
    interval = float(np.median(steps[steps > 0])) if (steps > 0).any() else float("nan")
    gaps = np.flatnonzero(steps > _A_GAP * interval)  # none where the interval is NaN
    return TimeCheck(
        n_frames=n_frames,
        n_times=len(times),
        interval_s=interval,
        dropped=tuple((int(k), round(steps[k] / interval) - 1) for k in gaps),
        not_increasing=tuple(int(k) + 1 for k in np.flatnonzero(~(steps > 0))),
    )


def fitted_times(
    n_frames: int, frame_rate_hz: float | None, times_s: ArrayLike | None
) -> FloatArray:
    """Times of so many frames, from a rate or as given.

    Raises
    ------
    InputError
        If the rate is not positive, or times are not finite, increasing and as many as frames.
    """
    if times_s is None:
        if frame_rate_hz is None or not (np.isfinite(frame_rate_hz) and frame_rate_hz > 0):
            raise InputError(f"frame_rate_hz: expected a positive number, got {frame_rate_hz}")
        return np.arange(n_frames) / float(frame_rate_hz)
    times = np.asarray(times_s, dtype=np.float64)
    if times.shape != (n_frames,):
        raise InputError(f"times_s: {times.shape} times for {n_frames} frames")
    if not np.isfinite(times).all():
        raise InputError("times_s: expected finite numbers")
    later = np.flatnonzero(np.diff(times) <= 0)
    if len(later):
        k = int(later[0])
        raise InputError(
            f"times_s: frame {k + 1} is at {times[k + 1]:g} s, not after frame {k} at "
            f"{times[k]:g} s; times must increase"
        )
    return times


def read_daq_times(path: Path) -> FloatArray:
    """Times in s of ``timeStamps.csv`` of the Miniscope DAQ program (three to five columns)."""
    rows = _rows(path, ",")
    values = _column(path, rows, 1)
    return values / 1000


def read_v3_times(path: Path, camera: int) -> FloatArray:
    """Times in s of one camera of ``timestamp.dat`` of the V3 program.

    The first time is often rubbish; it is then one interval before the second.
    """
    rows = _rows(path, "\t")
    rows = [r for r, own in zip(rows, _column(path, rows, 0) == camera, strict=True) if own]
    if not rows:
        raise FileFormatError(f"{path}: no frames of camera {camera}")
    order = np.argsort(_column(path, rows, 1), kind="stable")
    times = _column(path, rows, 2)[order] / 1000
    if len(times) > 2 and (times[0] > _GARBAGE_MS / 1000 or times[0] >= times[1]):
        times[0] = times[1] - float(np.median(np.diff(times[1:])))
    return times


def cameras_of(path: Path) -> dict[int, int]:
    """Number of frames of each camera of ``timestamp.dat``."""
    cameras, counts = np.unique(_column(path, _rows(path, "\t"), 0), return_counts=True)
    return {int(c): int(n) for c, n in zip(cameras, counts, strict=True)}


def _rows(path: Path, delimiter: str) -> list[list[str]]:
    """All rows after the heading."""
    with reading(path, "table of times"), path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file, delimiter=delimiter) if any(c.strip() for c in row)]
    if len(rows) < 2:
        raise FileFormatError(f"{path}: no times in it; expected a heading and one row per frame")
    return rows[1:]


def _column(path: Path, rows: list[list[str]], number: int) -> FloatArray:
    try:
        return np.array([float(row[number]) for row in rows])
    except (ValueError, IndexError) as error:
        raise FileFormatError(f"{path}: not a table of times ({error})") from None
