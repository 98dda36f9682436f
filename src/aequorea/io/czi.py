"""Zeiss CZI."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np

from aequorea.errors import FileFormatError
from aequorea.io.axes import arrange
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

_MAGIC = b"ZISRAWFILE"
_DTYPES = {
    "Gray8": ("u1", 1),
    "Gray16": ("u2", 1),
    "Gray32Float": ("f4", 1),
    "Bgr24": ("u1", 3),
    "Bgr48": ("u2", 3),
    "Bgr96Float": ("f4", 3),
}
_DIMENSIONS = "TCZ"
# positions in the segments of the file that the CZI specification fixes (all little-endian)
_ATTACHMENT_DIRECTORY_AT = 32 + 72
_ENTRIES_AT = 32 + 256
_ENTRY_BYTES = 128
_CONTENT_AT = 32 + 256
_MOST_ATTACHMENTS = 10_000
_MOST_STAMPS = 10_000_000


class CziReader:
    """Zeiss CZI. Scenes are scenes; mosaics are composed as ZEN shows them."""

    name = "CZI"
    suffixes = (".czi",)

    def sniff(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """Whether the content begins like CZI."""
        return head.startswith(_MAGIC)

    def open(self, path: Path, scene: int | str, *, axes: str | None = None) -> Image:
        """One scene; planes, or parts of them, are read when they are needed.

        Raises
        ------
        FileFormatError
            Also if the file has views, phases, rotations or illuminations: no axis of an
            image could hold them.
        """
        from pylibCZIrw import czi

        with reading(path, "CZI"), czi.open_czi(str(path)) as file:
            header = _Header.of(file.raw_metadata, path)
            rectangles = file.scenes_bounding_rectangle
            numbers = sorted(rectangles) or [None]
            names = _scene_names(header, numbers)
            number = scene_index(names, scene, path)
            planes = _Planes.of(path, file, numbers[number])
        data = PlaneArray(planes.shape, planes.dtype, 3, planes)
        arranged, found = arrange(data, "tczyx" + "c", path=path, axes=axes)
        shape = dict(zip(found, arranged.shape, strict=True))
        n_samples = planes.shape[-1]
        channels = SAMPLE_NAMES.get(n_samples, ()) if n_samples > 1 else header.channels
        times = _times_s(path, header, planes.shape[0])
        return Image(
            data=arranged,
            axes=found,
            spacing_um={a: s for a, s in header.spacing_um.items() if a in found},
            channels=channels if len(channels) == shape.get("c", 1) else (),
            times_s=times if times is not None and shape.get("t") == len(times) else None,
            scenes=names,
            scene=number,
            metadata={"format": "CZI", **header.extra},
            source=str(path),
        )


@dataclass(frozen=True)
class _Header:
    """What the XML of a CZI file says."""

    spacing_um: dict[str, float | None]
    channels: tuple[str, ...]
    scenes: dict[int, str]
    offsets_s: tuple[float, ...]
    interval_s: float | None
    extra: dict[str, Any]

    @classmethod
    def of(cls, xml: str, path: Path) -> _Header:
        if "<!ENTITY" in xml or "<!DOCTYPE" in xml:
            raise FileFormatError(f"{path}: its XML declares entities; expected plain CZI XML")
        root = ET.fromstring(xml)  # noqa: S314  (entities are refused above)
        image = "Metadata/Information/Image"
        named = [
            (k, channel.get("Name"))
            for k, channel in enumerate(root.iterfind(f"{image}/Dimensions/Channels/Channel"))
        ]
        offsets = root.findtext(f"{image}/Dimensions/T/Positions/List/Offsets") or ""
        facts = {
            "acquired": root.findtext(f"{image}/AcquisitionDateAndTime"),
            "objective": root.findtext("Metadata/Scaling/AutoScaling/ObjectiveName"),
        }
        return cls(
            spacing_um=_scaling(root),
            channels=tuple(name or f"C{k}" for k, name in named),
            scenes={
                int(s.get("Index", k)): s.get("Name") or str(k)
                for k, s in enumerate(root.iterfind(f"{image}/Dimensions/S/Scenes/Scene"))
            },
            offsets_s=tuple(float(word) for word in offsets.split()),
            interval_s=spacing_or_none(
                root.findtext(f"{image}/Dimensions/T/Positions/Interval/Increment")
            ),
            extra={k: v for k, v in facts.items() if v},
        )


def _scaling(root: ET.Element) -> dict[str, float | None]:
    # Distance is in m; Pixel stands where there is no calibration
    found: dict[str, float | None] = {"z": None, "y": None, "x": None}
    for distance in root.iterfind("Metadata/Scaling/Items/Distance"):
        axis = distance.get("Id", "").lower()
        if axis in found:
            found[axis] = spacing_or_none(distance.findtext("Value"), 1e6)
    return found


def _scene_names(header: _Header, numbers: Sequence[int | None]) -> tuple[str, ...]:
    names = [header.scenes.get(n, str(n)) if n is not None else "0" for n in numbers]
    return tuple(names) if len(set(names)) == len(names) else tuple(str(n) for n in numbers)


class _Planes:
    """Planes of one scene, by number; parts of a plane are read as parts."""

    def __init__(
        self,
        path: Path,
        scene: int | None,
        origin: dict[str, int],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self._path, self._scene, self._origin = path, scene, origin
        self.shape, self.dtype = shape, dtype

    @classmethod
    def of(cls, path: Path, file: Any, scene: int | None) -> _Planes:
        box = {str(k): (int(low), int(high)) for k, (low, high) in file.total_bounding_box.items()}
        odd = {k: high - low for k, (low, high) in box.items() if k not in _DIMENSIONS + "XYSM"}
        if any(n > 1 for n in odd.values()):
            raise FileFormatError(
                f"{path}: has dimensions {odd} beside T, C, Z, Y, X; "
                "export the part you need from ZEN (for SIM or light sheet: the processed image)"
            )
        kinds = {_DTYPES.get(str(kind)) for kind in file.pixel_types.values()}
        if None in kinds or len(kinds) != 1:
            raise FileFormatError(
                f"{path}: pixel types {sorted(map(str, file.pixel_types.values()))}; expected one "
                f"of {', '.join(_DTYPES)} for all channels: split the channels in ZEN"
            )
        [kind] = kinds
        assert kind is not None  # noqa: S101  (for the type checker: refused above)
        rectangle = (
            file.total_bounding_rectangle
            if scene is None
            else file.scenes_bounding_rectangle[scene]
        )
        origin = {k: box[k][0] if k in box else 0 for k in _DIMENSIONS}
        origin |= {"X": int(rectangle.x), "Y": int(rectangle.y)}
        counts = [box[k][1] - box[k][0] if k in box else 1 for k in _DIMENSIONS]
        shape = (*counts, int(rectangle.h), int(rectangle.w), kind[1])
        return cls(path, scene, origin, shape, np.dtype(kind[0]))

    def __call__(self, numbers: Sequence[int]) -> Generator[_Plane, None, None]:
        from pylibCZIrw import czi

        with reading(self._path, "CZI"), czi.open_czi(str(self._path)) as file:
            for number in numbers:
                where = np.unravel_index(number, self.shape[:3])
                plane = {
                    k: int(n) + self._origin[k] for k, n in zip(_DIMENSIONS, where, strict=True)
                }
                yield _Plane(self._path, file, plane, self._scene, self._origin, self.shape[3:])


@dataclass(frozen=True)
class _Plane:
    """One plane of an open file, shape (y, x, samples), read when indexed."""

    path: Path
    file: Any
    plane: dict[str, int]
    scene: int | None
    origin: dict[str, int]
    shape: tuple[int, ...]

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        spans = [
            range(*i.indices(n)) if isinstance(i, slice) else range(i, i + 1)
            for i, n in zip(index, self.shape, strict=True)
        ]
        rows, columns = spans[0], spans[1]
        roi = (
            self.origin["X"] + columns.start,
            self.origin["Y"] + rows.start,
            columns[-1] + 1 - columns.start,
            rows[-1] + 1 - rows.start,
        )
        with reading(self.path, "CZI"):
            pixels = self.file.read(plane=self.plane, scene=self.scene, roi=roi)
        pixels = np.asarray(pixels).reshape(roi[3], roi[2], -1)[..., ::-1]  # BGR to RGB
        thinned = pixels[:: rows.step, :: columns.step]
        inner = tuple(slice(None) if isinstance(i, slice) else 0 for i in index[:2])
        return np.asarray(thinned[(*inner, index[2])])


def _times_s(path: Path, header: _Header, frames: int) -> NDArray[np.float64] | None:
    if frames < 2:
        return None
    if len(header.offsets_s) == frames:
        return np.asarray(header.offsets_s, np.float64)
    stamps = read_timestamps(path)
    if stamps is not None and len(stamps) >= frames:
        return np.asarray(stamps[:frames] - stamps[0], np.float64)
    if header.interval_s is not None:
        return np.arange(frames, dtype=np.float64) * header.interval_s
    return None


def read_timestamps(path: Path) -> NDArray[np.float64] | None:
    """The ``TimeStamps`` attachment of a CZI file: seconds, one per time point; None without it.

    Raises
    ------
    FileFormatError
        If the file ends before it.
    """
    with reading(path, "CZI"), path.open("rb") as file:
        directory = _numbers(file, _ATTACHMENT_DIRECTORY_AT, "<q")[0]
        if directory <= 0:
            return None
        count = _numbers(file, directory + 32, "<i")[0]
        for k in range(min(count, _MOST_ATTACHMENTS)):
            entry = directory + _ENTRIES_AT + k * _ENTRY_BYTES
            position, kind = _numbers(file, entry + 12, "<q20x8s")
            if kind.rstrip(b"\0") != b"CZTIMS":
                continue
            _, n_stamps = _numbers(file, position + _CONTENT_AT, "<ii")
            if not 0 < n_stamps <= _MOST_STAMPS:
                return None
            return np.array(
                _numbers(file, position + _CONTENT_AT + 8, f"<{n_stamps}d"), dtype=np.float64
            )
    return None


def _numbers(file: Any, at: int, layout: str) -> tuple[Any, ...]:
    file.seek(at)
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


READER = CziReader()
