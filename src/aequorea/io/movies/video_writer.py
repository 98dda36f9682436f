"""Movies to video files that every player and every analysis program opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import InputError
from aequorea.io.atomic import replacing

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["write_video"]

_CHECKED = {"level": "3", "slicecrc": "1"}  # damage is found when frames are read
_FORMATS = {np.dtype(np.uint8): "gray", np.dtype(np.uint16): "gray16le"}


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[NDArray[Any]],
    *,
    frame_rate_hz: float,
    codec: str = "ffv1",
    overwrite: bool = False,
) -> None:
    """Write grey frames, one at a time, without loss.

    Parameters
    ----------
    path : path
        Its ending chooses the container: ``.avi``, ``.mkv``.
    frames : iterable of ndarray of uint8 or uint16, shape (y, x)
    frame_rate_hz : float, Hz
    codec : {"ffv1", "rawvideo"}, default "ffv1"
        FFV1 takes about half the space; uncompressed frames (uint8 only) are grey (GREY, Y800).
    overwrite : bool, default False

    Raises
    ------
    InputError
        If there is no frame, or one of another size or type than the first.
    OutputError
        If there is such a file already.
    """
    from fractions import Fraction

    import av

    rate = Fraction(frame_rate_hz).limit_denominator(1000)
    first: NDArray[Any] | None = None
    with (
        replacing(path, overwrite=overwrite) as temporary,
        av.open(str(temporary), "w") as container,
    ):
        for frame in frames:
            if first is None:
                first = frame
                if frame.dtype not in _FORMATS or frame.ndim != 2:
                    raise InputError(
                        f"{path}: frames of {frame.dtype} {frame.shape}; expected uint8 or uint16 "
                        "of two axes"
                    )
                if codec == "rawvideo" and frame.dtype != np.uint8:
                    raise InputError(f"{path}: uncompressed frames must be uint8; choose ffv1")
                stream: Any = container.add_stream(codec, rate=rate)
                stream.height, stream.width = frame.shape
                stream.pix_fmt = _FORMATS[frame.dtype]
                stream.options = dict(_CHECKED) if codec == "ffv1" else {}
            if (frame.shape, frame.dtype) != (first.shape, first.dtype):
                raise InputError(
                    f"{path}: a frame of {frame.dtype} {frame.shape} after {first.dtype} "
                    f"{first.shape}; all must be alike"
                )
            picture = av.VideoFrame.from_ndarray(frame, format=stream.pix_fmt)
            container.mux(stream.encode(picture))
        if first is None:
            raise InputError(f"{path}: no frames to write; expected at least one")
        container.mux(stream.encode())
