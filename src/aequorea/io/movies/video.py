"""Video files (AVI, MKV, MP4, MOV), frame by frame, as the camera recorded them."""

from __future__ import annotations

import logging
import re
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aequorea.errors import AequoreaWarning, FileFormatError
from aequorea.io.axes import arrange
from aequorea.io.faults import reading
from aequorea.io.planes import PlaneArray
from aequorea.io.registry import scene_index
from aequorea.model.image import Image

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    import av
    from numpy.typing import NDArray

__all__ = ["READER", "VideoReader"]

_RIFF, _AVI = b"RIFF", b"AVI "
_MATROSKA = b"\x1a\x45\xdf\xa3"
_BRANDS = b"ftyp"
_DEEP_GREYS = {"gray10le", "gray12le", "gray14le", "gray16le", "gray10be", "gray12be", "gray16be"}
_LUMA = re.compile(r"yuvj?4\d\dp")  # of 8 bits, in a plane of its own
_RGB = ("R", "G", "B")
_FULL_RANGE = 2  # of FFmpeg's AVColorRange
_NO_COLOUR = 2  # grey levels that rounding can put between the colours of a grey frame
_LOSSY = {"mjpeg", "mpeg4", "msmpeg4v2", "msmpeg4v3", "h264", "hevc", "vp8", "vp9", "av1", "wmv2"}
_REORDERED = {"h264", "hevc", "vp9", "av1"}
_A_HOLE = 64
_HEADER = 8  # bytes before each frame of an AVI file
_N_LOOKED_AT = 5


class VideoReader:
    """Video: FFV1, uncompressed grey, MJPEG, MPEG-4 and what else FFmpeg decodes."""

    name = "video"
    suffixes = (".avi", ".mkv", ".mp4", ".mov", ".m4v")

    def sniff(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """Whether the content begins like a video."""
        avi = head[:4] == _RIFF and head[8:12] == _AVI
        return avi or head.startswith(_MATROSKA) or head[4:8] == _BRANDS

    def open(self, path: Path, scene: int | str, *, axes: str | None = None) -> Image:
        """The first video stream; frames are decoded when they are needed.

        Notes
        -----
        Grey movies stored in colour have one channel: that of all three that are the same, or the
        luma. Luma in the range from 16 to 235 is spread over 0 to 255, as it was before it was
        encoded. Times are those of the frame rate in the header, which recording software often
        writes without measuring it.
        """
        number = scene_index(("0",), scene, path)
        layout = _layout(path)
        frames = _Frames(path, layout)
        colours = _RGB if layout.kind == "rgb" else ()
        plane = (layout.height, layout.width, *((3,) if colours else ()))
        data = PlaneArray((len(layout.starts), *plane), layout.dtype, len(plane), frames)
        arranged, found = arrange(data, "tyxc" if colours else "tyx", path=path, axes=axes)
        if "t" not in found:  # one frame is still a movie
            arranged, found = PlaneArray((1, *plane), layout.dtype, len(plane), frames), "tyx"
        n_frames = arranged.shape[found.index("t")] if "t" in found else 0
        rate = layout.frame_rate_hz
        return Image(
            data=arranged,
            axes=found,
            channels=colours if "c" in found else (),
            times_s=np.arange(n_frames) / rate if rate and "t" in found else None,
            scene=number,
            metadata={
                "format": "video",
                "codec": layout.codec,
                "pixel_format": layout.pixel_format,
                **({"lossy": True} if layout.codec in _LOSSY else {}),
                **({"frame_rate_hz": rate} if rate else {}),
                **({"luma": "16 to 235 spread over 0 to 255"} if layout.spread else {}),
                **layout.counted(),
            },
            source=str(path),
        )


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """How a video is stored.

    ``marks`` tell frames apart: where they begin in the file or, for codecs that change their
    order, their time. ``starts`` has number and time of the key frame from which each is decoded.
    ``kind`` is grey, deep, luma, same (three like colours) or rgb.
    """

    width: int
    height: int
    codec: str
    pixel_format: str
    kind: str
    spread: bool
    frame_rate_hz: float | None
    marks: tuple[int, ...]
    starts: tuple[tuple[int, int], ...]
    promised: int

    @cached_property
    def number_at(self) -> dict[int, int]:
        return {mark: number for number, mark in enumerate(self.marks)}

    @property
    def reordered(self) -> bool:
        return self.codec in _REORDERED

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint16 if self.kind == "deep" else np.uint8)

    def counted(self) -> dict[str, int]:
        missing = self.promised - len(self.starts)
        return {"missing_frames": missing} if missing > 0 else {}


class _Frames:
    """Decodes frames in the order asked for; forward without seeking, else from a key frame.

    What cannot be decoded is zeros, and told: the frame and all up to the next key frame, since
    they build on it. One thread decodes, as only then the decoder's complaints can be told frame
    by frame; several parts of a movie can be read at a time.
    """

    def __init__(self, path: Path, layout: _Layout) -> None:
        self._path, self._layout = path, layout

    def __call__(self, numbers: Sequence[int]) -> Generator[NDArray[Any], None, None]:
        layout, damaged = self._layout, []
        with reading(self._path, "video"), _opened(self._path) as container:
            stream = _video_stream(container, self._path)
            stream.thread_type = "NONE"
            ahead: Iterator[tuple[int, Any]] = iter(())
            at, frame, hurt = -1, None, -1
            for wanted in numbers:
                first = layout.starts[wanted][0]
                lost = hurt >= 0 and first != hurt  # damage can hide frames: the index knows
                if wanted < at or at < 0 or first > at + 1 or lost:
                    ahead, at, hurt = _walk(container, stream, layout, first), first - 1, -1
                while at < wanted:
                    at, frame = next(ahead, (wanted, None))
                found = frame if at == wanted else None  # else it was left out
                if found is None:
                    damaged.append(wanted)
                    hurt = first
                yield _pixels(found, layout)
        if damaged:
            shown = ", ".join(map(str, damaged[:10])) + (", …" if len(damaged) > 10 else "")
            warnings.warn(
                f"{self._path}: damaged and read as zeros: frame {shown}",
                AequoreaWarning,
                stacklevel=2,
            )


def _opened(path: Path) -> av.container.InputContainer:
    import av

    if av.logging.get_level() is None:
        logging.getLogger("libav").addHandler(logging.NullHandler())
        av.logging.set_level(av.logging.ERROR)  # complaints are told in words of our own
    return av.open(str(path), metadata_errors="replace")


def _video_stream(container: av.container.InputContainer, path: Path) -> Any:
    if not container.streams.video:
        raise FileFormatError(f"{path}: no video in it, only other streams; expected a movie")
    return container.streams.video[0]


def _walk(container: Any, stream: Any, layout: _Layout, first: int) -> Iterator[tuple[int, Any]]:
    """Frames with their numbers from a key frame on; None for what damage leaves undecodable."""
    container.seek(layout.starts[first][1], stream=stream, backward=True)
    number, broken = first - 1, -1
    for packet in container.demux(stream):
        frames, complaints = _decoded(packet)
        for frame in frames or [None] * complaints:
            before = number
            mark = frame.pts if layout.reordered and frame is not None else packet.pos
            number = layout.number_at.get(mark, number + 1)
            if complaints or (number != before + 1 and layout.starts[number][0] < number):
                broken = layout.starts[number][0]
            yield number, None if layout.starts[number][0] == broken else frame


def _decoded(packet: Any) -> tuple[list[Any], bool]:
    """Frames, and whether the decoder complained, which it may do in its log only."""
    import av

    try:
        with av.logging.Capture(local=True) as complaints:
            frames = list(packet.decode())
        if _is_hole(packet):
            return frames, True
    except av.error.InvalidDataError:
        return [], True
    return frames, bool(complaints)


def _is_hole(packet: Any) -> bool:
    """Zeros where a disk lost a block: some codecs take them for a frame."""
    if packet.stream.codec_context.name == "rawvideo" or not packet.size:
        return False
    content = memoryview(packet)
    return not any(content[:_A_HOLE]) and not any(content)


def _pixels(frame: Any, layout: _Layout) -> NDArray[Any]:
    shape = (layout.height, layout.width)
    if frame is None:
        return np.zeros((*shape, 3) if layout.kind == "rgb" else shape, layout.dtype)
    if layout.kind == "rgb":
        return np.asarray(frame.to_ndarray(format="rgb24"))
    if layout.kind == "same":
        return np.asarray(_packed(frame)[..., 1])
    if layout.kind == "luma":
        plane = frame.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        luma = rows[: layout.height, : layout.width]
        return _SPREAD[luma] if layout.spread else luma.copy()
    return np.asarray(frame.to_ndarray())


def _packed(frame: Any) -> NDArray[Any]:
    known = {"bgra", "rgba", "bgr24", "rgb24", "argb", "abgr"}
    pixels = frame.to_ndarray() if frame.format.name in known else frame.to_ndarray(format="rgb24")
    skip = 1 if frame.format.name in {"argb", "abgr"} else 0
    return np.asarray(pixels[..., skip : skip + 3])


def _spread_luma() -> NDArray[np.uint8]:
    level = (np.arange(256) - 16) * 255 / 219
    return np.clip(np.rint(level), 0, 255).astype(np.uint8)


_SPREAD = _spread_luma()


# --- what the file holds ----------------------------------------------------------------------


def _layout(path: Path) -> _Layout:
    with reading(path, "video"), _opened(path) as container:
        stream = _video_stream(container, path)
        promised = int(stream.frames)
        rate = stream.average_rate
        entries = _entries(container, stream)
        starts = tuple(_starts(entries))
        if not starts:
            raise FileFormatError(f"{path}: a video without frames; record or copy it again")
        context = stream.codec_context
        kind, spread = _kind(path, starts, context)
        found = _Layout(
            width=int(context.width),
            height=int(context.height),
            codec=str(context.name),
            pixel_format=str(context.pix_fmt),
            kind=kind,
            spread=spread,
            frame_rate_hz=float(rate) if rate else None,
            marks=tuple(e.time if context.name in _REORDERED else e.position for e in entries),
            starts=starts,
            promised=promised,
        )
    if found.counted():
        warnings.warn(
            f"{path}: its header promises {promised} frames, {len(starts)} are there; the "
            "recording was cut off, or the copy is not complete",
            AequoreaWarning,
            stacklevel=3,
        )
    return found


class _Entry(NamedTuple):
    """A frame in the order of time: its time, where it begins, whether it needs no other."""

    time: int
    position: int
    is_key: bool


def _entries(container: Any, stream: Any) -> list[_Entry]:
    told = _index(stream) if container.format.name == "avi" else ()
    found = [
        _Entry(int(e.timestamp), int(e.pos) + _HEADER, bool(e.is_keyframe)) for e in told if e.size
    ]
    if len(found) < max(int(stream.frames), 2):  # cut off before its index, or not AVI
        found = [
            _Entry(int(p.dts if p.pts is None else p.pts), int(p.pos), bool(p.is_keyframe))
            for p in container.demux(stream)
            if p.size and p.dts is not None
        ]
    return sorted(found)


def _starts(entries: Sequence[_Entry]) -> Iterator[tuple[int, int]]:
    """For each frame, number and time of the key frame it is decoded from."""
    key = (0, entries[0].time if entries else 0)
    for number, entry in enumerate(entries):
        if entry.is_key:
            key = (number, entry.time)
        yield key


def _index(stream: Any) -> Sequence[Any]:
    return getattr(stream, "index_entries", ())  # older versions of PyAV do not tell


def _kind(path: Path, starts: tuple[tuple[int, int], ...], context: Any) -> tuple[str, bool]:
    """How pixels are to be read, and whether luma is to be spread over the full range."""
    name = str(context.pix_fmt)
    if name == "gray":
        return "grey", False
    if name in _DEEP_GREYS:
        return "deep", False
    has_luma = _LUMA.fullmatch(name) is not None
    if not _is_grey(path, starts, not has_luma):
        return "rgb", False
    if not has_luma:
        return "same", False
    full = name.startswith("yuvj") or int(context.color_range or 0) == _FULL_RANGE
    return "luma", not full


def _is_grey(path: Path, starts: tuple[tuple[int, int], ...], rgb: bool) -> bool:
    """Whether frames from all over the movie have no colour."""
    keys = sorted({first for first, _ in starts})
    picked = {keys[round(k)] for k in np.linspace(0, len(keys) - 1, _N_LOOKED_AT)}
    times = dict(starts)
    with _opened(path) as container:
        stream = _video_stream(container, path)
        for key in sorted(picked):
            container.seek(times[key], stream=stream, backward=True)
            frame = next(container.decode(stream), None)
            if frame is not None and not _without_colour(frame, rgb):
                return False
    return True


def _without_colour(frame: Any, rgb: bool) -> bool:
    if rgb:
        pixels = _packed(frame)
        return bool((pixels[..., :1] == pixels).all())
    for plane in frame.planes[1:3]:
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:, : plane.width]
        if (np.abs(rows.astype(np.int16) - 128) > _NO_COLOUR).any():
            return False
    return True


READER = VideoReader()
