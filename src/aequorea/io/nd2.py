"""Nikon ND2."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning
from aequorea.io.axes import UNKNOWN, arrange
from aequorea.io.faults import reading
from aequorea.io.planes import PlaneArray
from aequorea.io.raster import SAMPLE_NAMES
from aequorea.io.registry import scene_index
from aequorea.io.units import spacing_or_none
from aequorea.model.image import Image

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_MAGIC = (b"\xda\xce\xbe\x0a", b"\x00\x00\x00\x0cjP  ")
_LETTERS = {"T": "t", "Z": "z", "C": "c", "Y": "y", "X": "x", "S": "c"}
_IN_FRAME = "CYXS"
_POSITION = "P"


class Nd2Reader:
    """Nikon ND2 of all ages. Stage positions are scenes."""

    name = "ND2"
    suffixes = (".nd2",)

    def sniff(self, head: bytes, path: Path) -> bool:
        """Whether the content begins like ND2 (or like its JPEG 2000 ancestor, named .nd2)."""
        return head.startswith(_MAGIC[0]) or (
            head.startswith(_MAGIC[1]) and path.suffix.lower() == ".nd2"
        )

    def open(self, path: Path, scene: int | str, *, axes: str | None = None) -> Image:
        """One stage position; frames are read when they are needed."""
        import nd2

        with reading(path, "ND2"), nd2.ND2File(path) as file:
            sizes = {str(k): int(n) for k, n in file.sizes.items()}
            names = _position_names(file, sizes.get(_POSITION, 1))
            number = scene_index(names, scene, path)
            frames = _Frames(path, sizes, number)
            _tell_missing(file, sizes, path)
            data = PlaneArray(frames.shape, file.dtype, frames.frame_ndim, frames)
            spacing = _spacing_um(file)
            channels = _channels(file, sizes)
            times = _times_s(file, frames)
            metadata = _metadata(file)
        letters = "".join(_LETTERS.get(k, UNKNOWN) for k in frames.letters)
        arranged, found = arrange(data, letters, path=path, axes=axes)
        shape = dict(zip(found, arranged.shape, strict=True))
        return Image(
            data=arranged,
            axes=found,
            spacing_um={a: s for a, s in spacing.items() if a in found},
            channels=channels if len(channels) == shape.get("c", 1) else (),
            times_s=times if times is not None and shape.get("t") == len(times) else None,
            scenes=names,
            scene=number,
            metadata=metadata,
            source=str(path),
        )


class _Frames:
    """Frames of one stage position, by number."""

    def __init__(self, path: Path, sizes: dict[str, int], position: int) -> None:
        self._path = path
        self._loops = [(k, n) for k, n in sizes.items() if k not in _IN_FRAME]
        self._position = position
        frame = [(k, n) for k, n in sizes.items() if k in _IN_FRAME]
        lead = [(k, n) for k, n in self._loops if k != _POSITION]
        self.frame_ndim = len(frame)
        self.letters = "".join(k for k, _ in lead + frame)
        self.shape = tuple(n for _, n in lead + frame)
        self._lead = tuple(n for _, n in lead)

    def sequence(self, number: int) -> int:
        """Number in the file (positions included) of frame ``number`` of this position."""
        place = iter(np.unravel_index(number, self._lead) if self._lead else ())
        index = 0
        for loop, size in self._loops:
            index = index * size + (self._position if loop == _POSITION else int(next(place)))
        return index

    @property
    def first_of_each_time(self) -> list[int]:
        """Frame numbers (in the file) of the first frame of each time point."""
        loops = [k for k, _ in self._loops if k != _POSITION]
        if "T" not in loops:
            return []
        stride = math.prod(self._lead[loops.index("T") + 1 :])
        return [self.sequence(k * stride) for k in range(self._lead[loops.index("T")])]

    def __call__(self, numbers: Sequence[int]) -> Generator[NDArray[Any], None, None]:
        import nd2

        shape = self.shape[len(self._lead) :]
        with reading(self._path, "ND2"), nd2.ND2File(self._path) as file:
            for number in numbers:
                yield file.read_frame(self.sequence(number)).reshape(shape)


def _tell_missing(file: Any, sizes: dict[str, int], path: Path) -> None:
    planned = math.prod(n for k, n in sizes.items() if k not in _IN_FRAME)
    recorded = file.attributes.sequenceCount
    if recorded is not None and recorded < planned:
        warnings.warn(
            f"{path}: {planned - recorded} of {planned} frames were not recorded and read as "
            "zeros; leave the last ones out",
            AequoreaWarning,
            stacklevel=3,
        )


def _position_names(file: Any, count: int) -> tuple[str, ...]:
    plain = tuple(str(k) for k in range(count))
    loops = [loop for loop in file.experiment if loop.type == "XYPosLoop"]
    if len(loops) != 1:
        return plain
    names = [point.name for point in loops[0].parameters.points]
    usable = len(names) == count and all(names) and len(set(names)) == count
    return tuple(str(name) for name in names) if usable else plain


def _first_channel(file: Any) -> Any:
    channels = getattr(file.metadata, "channels", None)
    return channels[0] if channels else None


def _spacing_um(file: Any) -> dict[str, float | None]:
    # file.voxel_size() says 1.0 where nothing is known; the calibration flags say which it is
    volume = getattr(_first_channel(file), "volume", None)
    spacing: dict[str, float | None] = {"z": None, "y": None, "x": None}
    if volume is not None:
        known = zip("xyz", volume.axesCalibrated, volume.axesCalibration, strict=True)
        spacing = {a: spacing_or_none(size) if is_so else None for a, is_so, size in known}
    for loop in file.experiment:
        if loop.type == "ZStackLoop":
            spacing["z"] = spacing_or_none(abs(loop.parameters.stepUm)) or spacing["z"]
    return spacing


def _channels(file: Any, sizes: dict[str, int]) -> tuple[str, ...]:
    if sizes.get("S", 1) > 1 and sizes.get("C", 1) == 1:
        return SAMPLE_NAMES.get(sizes["S"], ())
    channels = getattr(file.metadata, "channels", None) or ()
    return tuple(str(c.channel.name) for c in channels)


def _times_s(file: Any, frames: _Frames) -> NDArray[np.float64] | None:
    numbers = frames.first_of_each_time
    if not numbers or file.is_legacy:
        return None
    stamps = [file.frame_metadata(n).channels[0].time.relativeTimeMs for n in numbers]
    if any(s is None for s in stamps):
        return None
    times = np.asarray(stamps, np.float64) / 1e3
    increasing = bool(np.isfinite(times).all() and (np.diff(times) > 0).all())
    return times if increasing else None


def _metadata(file: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"format": "ND2"}
    text = file.text_info or {}
    facts |= {k: str(text[k]) for k in ("date", "optics", "description") if text.get(k)}
    microscope = getattr(_first_channel(file), "microscope", None)
    for key in ("objectiveName", "objectiveNumericalAperture", "immersionRefractiveIndex"):
        value = getattr(microscope, key, None)
        if value is not None:
            facts[key] = value
    return facts


READER = Nd2Reader()
