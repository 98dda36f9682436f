"""Every option of registering a movie."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from aequorea.model.parameters import Parameters, option

__all__ = ["MotionParameters"]


class MotionParameters(Parameters):
    """How the motion of a movie is found and undone."""

    model: Literal["nonrigid", "rigid"] = "nonrigid"
    """rigid: frames move as a whole; nonrigid: also differently from place to place, as much as the
    movie itself shows."""

    max_shift_px: float | None = option(None, unit="px", gt=0)
    """Largest shift looked for along each axis; a tenth of the shorter side if not given. Frames
    that reach it are marked."""

    max_deviation_px: float = option(10.0, unit="px", gt=0)
    """Frames in which a place moves farther than this from the whole are marked, and moved as a
    whole."""

    bidirectional: bool = False
    """Rows are scanned back and forth: find how far odd rows are off, and put them in line."""

    node_distance_px: float = option(40.0, unit="px", ge=8)
    """Distance of the nodes between which the motion changes linearly."""

    reference_frames: int = option(200, ge=10)
    """So many frames, spread over the movie, make the reference image."""

    highpass_px: float | None = option(None, unit="px", gt=0)
    """Structures larger than this play no part. Not needed as a rule: what flickers is weighted
    down in any case."""

    bins: int | None = option(None, ge=1, le=8)
    """Squares of so many pixels are summed to find the motion; found if not given: 2 where that
    loses little."""

    stabilise: bool | None = None
    """Find the motion in the square root of the counts, whose noise is the same everywhere; if not
    given, where noise grows with brightness as that of photons does."""

    gain: float | None = option(None, unit="counts per photon", gt=0)
    """Of the detector; found in the movie if not given. Give zero too."""

    zero: float | None = option(None, unit="counts")
    """Counts of no light."""

    min_snr: float = option(5.0, ge=0)
    """Frames that match the reference with fewer standard deviations of chance are marked, and get
    their shift from the frames beside them."""

    interpolation: Literal["cubic", "linear", "nearest"] = "cubic"
    """How pixels are interpolated when the motion is undone; nearest moves by whole pixels."""

    edges: Literal["nan", "nearest"] = "nan"
    """What pixels become that come from outside the frame: nan (not a number; 0 in whole numbers),
    or the nearest pixel."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.gain is None) != (self.zero is None):
            raise ValueError("give both gain and zero, or neither")
        return self
