"""One way to open a movie, however many files it is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aequorea.errors import InputError
from aequorea.io.movies.recordings import has_recording, recording_in
from aequorea.io.movies.segments import joined_files, with_time
from aequorea.io.movies.timestamps import fitted_times
from aequorea.io.registry import open_image

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from aequorea.model.image import Image

__all__ = ["open_movie"]


def open_movie(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    frame_rate_hz: float | None = None,
    times_s: ArrayLike | None = None,
    axes: str | None = None,
    spacing_um: Mapping[str, float | None] | None = None,
    channels: Sequence[str] | None = None,
    scene: int | str = 0,
) -> Image:
    """Open a movie, lazily, from one file, several, or the folder of a recording.

    Parameters
    ----------
    source : path or sequence of paths
        A file; files, in the order they are given; or a folder: that of a recording of a known
        program (UCLA Miniscope DAQ and V3, ONIX), or with files of one kind, which are taken in
        natural order (``2.avi`` before ``10.avi``), never by date.
    frame_rate_hz : float, Hz, optional
        Instead of the times in the files.
    times_s : array_like, shape (t,), s, optional
        Time of each frame, increasing.
    axes, spacing_um, channels, scene
        As for :func:`aequorea.open`, the same for every file.

    Returns
    -------
    Image
        With a time axis, always. A file without one is a frame.

    Raises
    ------
    FileMissingError, FileFormatError, AxisMismatchError, InputError
        If there is no movie, segments do not fit each other, or times do not fit frames.

    Warns
    -----
    AequoreaWarning
        Where segments are missing from the sequence of numbers in the names of files.
    """
    if frame_rate_hz is not None and times_s is not None:
        raise InputError("give frame_rate_hz or times_s, not both")
    options: dict[str, Any] = {
        "axes": axes, "spacing_um": spacing_um, "channels": channels, "scene": scene,
    }  # fmt: skip
    if isinstance(source, Sequence) and not isinstance(source, str):
        movie = joined_files([Path(p).expanduser() for p in source], **options)
    else:
        where = Path(source).expanduser()
        recording = recording_in(where) if where.is_dir() and has_recording(where) else None
        if recording is not None and not (frame_rate_hz is None and times_s is None):
            movie = replace(recording, times_s=None).open(**options)  # theirs may be what is wrong
        elif recording is not None:
            movie = recording.open(**options)
        else:
            movie = with_time(open_image(where, **options))
    if frame_rate_hz is None and times_s is None:
        return movie
    n_frames = movie.sizes["t"]
    return replace(movie, times_s=fitted_times(n_frames, frame_rate_hz, times_s))
