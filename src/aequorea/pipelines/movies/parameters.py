"""Options of registering a movie, from the file on."""

from __future__ import annotations

from typing import Literal

from aequorea.model.parameters import Parameters, option
from aequorea.motion.parameters import MotionParameters

__all__ = ["RegisterParameters"]


class MovieParameters(Parameters):
    """How the movie is read."""

    channel: str | None = None
    """Channel whose motion is found, by name or number from 0. Needed if there are several; all of
    them are moved alike."""

    frame_rate_hz: float | None = option(None, unit="Hz", gt=0)
    """Instead of the times in the file."""

    scene: int = option(0, ge=0)
    """Scene (position, series) of a file that has several, from 0."""

    axes: str | None = None
    """Axes of a file that does not name them, such as tyx."""

    left_out: tuple[int, ...] = ()
    """Frames not to be used, from 0: a stimulus, a shutter."""


class OutputParameters(Parameters):
    """What is stored."""

    store: Literal["none", "zarr", "tiff"] = "none"
    """Store the registered movie too, in the movie's own type: zarr (OME-Zarr) or tiff (OME-TIFF).
    Not needed: the motion is kept, and undone whenever the movie is read."""


class RegisterParameters(Parameters):
    """All options of ``aequorea register``."""

    movie: MovieParameters = MovieParameters()
    motion: MotionParameters = MotionParameters()
    output: OutputParameters = OutputParameters()
