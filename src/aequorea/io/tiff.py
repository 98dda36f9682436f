"""TIFF in its microscopy dialects: OME, ImageJ, LSM, tifffile's own, and plain."""

from __future__ import annotations

import json
import math
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, FileFormatError
from aequorea.io.axes import FOREIGN, UNKNOWN, arrange
from aequorea.io.faults import reading, remarks_of
from aequorea.io.ome import OmeImage, parse_ome_xml
from aequorea.io.planes import PlaneArray
from aequorea.io.raster import SAMPLE_NAMES
from aequorea.io.registry import scene_index
from aequorea.io.units import length_in_um, spacing_or_none, time_in_s
from aequorea.model.image import Image

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    import tifffile
    from numpy.typing import NDArray

    from aequorea.model.lazy import LazyArray

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# I and Q are tifffile's letters for "some sequence"; others (positions, angles, lifetimes) mean
# something that no axis of an image can hold
_LETTERS = {"T": "t", "C": "c", "Z": "z", "Y": "y", "X": "x", "S": "c", "I": UNKNOWN, "Q": UNKNOWN}
# Printers write 72 to 1200 dots per inch (21 µm) into TIFF; no microscope pixel is that large.
_LARGEST_PLAUSIBLE_UM = 20.0
# What tifffile logs, and then reads what is left: fewer planes, or no calibration.
_SIGNS_OF_DAMAGE = ("invalid page offset", "corrupt", "invalid value offset", "series raised")
_LOSSY = {6, 7, 34892}  # old, new and lossy DNG JPEG
_RGB, _YCBCR, _MIN_IS_WHITE = 2, 6, 0


@dataclass(frozen=True)
class TiffMetadata:
    """What one series of a TIFF file says about itself, in our terms."""

    spacing_um: Mapping[str, float | None] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    times_s: NDArray[np.float64] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class TiffReader:
    """TIFF, BigTIFF, OME-TIFF, ImageJ hyperstacks, Zeiss LSM."""

    name = "TIFF"
    suffixes = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".tf8", ".btf", ".lsm")

    def sniff(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """Whether the content begins like TIFF or BigTIFF."""
        return head.startswith(_MAGIC)

    def open(self, path: Path, scene: int | str, *, axes: str | None = None) -> Image:
        """One series of the file; pages are decoded when they are needed."""
        with reading(path, "TIFF"), remarks_of("tifffile") as remarks:
            file = _SharedTiff(path)
            with file.opened() as tif:
                series = _image_series(tif, path)
                names = _scene_names(series)
                number = scene_index(names, scene, path)
                one = series[number]
                letters, shape = _layout(one)
                _check_complete(one, path)
                data = _pixels(file, one, list(tif.series).index(one))
                _judge(path, remarks)
                facts = _facts(tif, one, number, path)
                lossy = {"lossy": True} if int(one.keyframe.compression) in _LOSSY else {}
        spelt = "".join(_LETTERS.get(a, FOREIGN) for a in letters)
        arranged, found = arrange(data, spelt, path=path, axes=axes)
        sizes = dict(zip(found, arranged.shape, strict=True))
        return Image(
            data=arranged,
            axes=found,
            spacing_um={a: s for a, s in facts.spacing_um.items() if a in found},
            channels=facts.channels if len(facts.channels) == sizes.get("c", 1) else (),
            times_s=_fitting(facts.times_s, sizes.get("t")),
            scenes=names,
            scene=number,
            metadata={"shape": shape, "axes": letters, **lossy, **facts.extra},
            source=str(path),
        )


class _SharedTiff:
    """A TIFF file whose structure is parsed once and whose handle is open only during reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._tif: tifffile.TiffFile | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    @contextmanager
    def opened(self) -> Iterator[tifffile.TiffFile]:
        """The parsed file with its handle open."""
        import tifffile

        with self._lock:
            if self._tif is None:
                self._tif = tifffile.TiffFile(self.path)
            elif self._tif.filehandle.closed:
                self._tif.filehandle.open()
            try:
                yield self._tif
            finally:
                self._tif.close()


class _TiffPlanes:
    """Decodes pages of one series."""

    def __init__(self, file: _SharedTiff, series: int, shape: tuple[int, ...]) -> None:
        self._file = file
        self._series = series
        self._shape = shape

    def __call__(self, numbers: Sequence[int]) -> Generator[NDArray[Any], None, None]:
        path = self._file.path
        with reading(path, "TIFF"), remarks_of("tifffile") as remarks, self._file.opened() as tif:
            series = tif.series[self._series]
            for number in numbers:
                page = series[number]
                if page is None:
                    yield np.zeros(self._shape, series.dtype)
                    continue
                yield _page_pixels(page).reshape(self._shape)
                if any("corrupt" in r or "truncated" in r for r in remarks):
                    raise FileFormatError(
                        f"{path}: page {number}: {remarks[0]}; copy the file again"
                    )


class _MappedTiff:
    """Uncompressed, contiguous pixels: mapped while they are being copied, then let go."""

    def __init__(
        self, path: Path, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> None:
        self._path, self._offset, self._stored, self.shape = path, offset, dtype, shape
        self.dtype = dtype.newbyteorder("=")

    def __getitem__(self, index: Any) -> NDArray[Any]:
        with reading(self._path, "TIFF"):
            stored = np.memmap(
                self._path, self._stored, mode="r", offset=self._offset, shape=self.shape
            )
            return np.array(stored[index], dtype=self.dtype)


def _page_pixels(page: Any) -> NDArray[Any]:
    handle = page.parent.filehandle
    if not handle.closed:
        return np.asarray(page.asarray())
    handle.open()  # a page of another file of the same OME data set
    try:
        return np.asarray(page.asarray())
    finally:
        handle.close()


def _pixels(file: _SharedTiff, series: Any, number: int) -> LazyArray:
    _, shape = _layout(series)
    if series.dataoffset is not None and not series.is_multifile and series.transform is None:
        stored = np.dtype(series.keyframe.parent.byteorder + series.dtype.char)
        if series.dtype.kind in "uif":
            return _MappedTiff(file.path, int(series.dataoffset), stored, shape)
    page_size = math.prod(series.keyframe.shape)
    for split in range(len(shape), -1, -1):
        fits = math.prod(shape[split:]) == page_size and math.prod(shape[:split]) == len(series)
        if fits and series.transform is None:
            planes = _TiffPlanes(file, number, shape[split:])
            return PlaneArray(shape, series.dtype, len(shape) - split, planes)
    raise FileFormatError(
        f"{file.path}: {len(series)} pages of {tuple(series.keyframe.shape)} do not make "
        f"an image of {shape}; expected whole planes: export it again as OME-TIFF"
    )


def _image_series(tif: tifffile.TiffFile, path: Path) -> list[Any]:
    # LSM files keep thumbnails as a second series
    kept = [s for s in tif.series if not (s.kind == "lsm" and s.keyframe.is_reduced)]
    if not kept:
        raise FileFormatError(f"{path}: TIFF without an image; export it again")
    return kept


def _layout(series: Any) -> tuple[str, tuple[int, ...]]:
    """Letters and sizes of all axes of a series, those of size 1 too."""
    if hasattr(series, "get_axes"):  # older versions leave out axes of size 1 otherwise
        axes, shape = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    else:
        axes, shape = series.axes, series.shape
    return str(axes), tuple(int(n) for n in shape)


def _scene_names(series: Sequence[Any]) -> tuple[str, ...]:
    names = [str(s.name or k) for k, s in enumerate(series)]
    return tuple(names) if len(set(names)) == len(names) else tuple(map(str, range(len(names))))


def _check_complete(series: Any, path: Path) -> None:
    offset = series.dataoffset
    if offset is None or series.is_multifile:
        return
    needed = int(offset) + math.prod(_layout(series)[1]) * series.dtype.itemsize
    size = path.stat().st_size
    if size < needed:
        raise FileFormatError(
            f"{path}: truncated: {size} bytes, expected at least {needed}; copy it again"
        )


def _facts(tif: tifffile.TiffFile, series: Any, number: int, path: Path) -> TiffMetadata:
    kind = series.kind
    if kind == "ome":
        return _from_ome(parse_ome_xml(tif.ome_metadata or "", path), series, number)
    if tif.is_ome:
        warnings.warn(
            f"{path}: its OME metadata stand in another file or do not fit its pages, so they are "
            "not used; open the main file of the data set, or give axes, spacing_um and channels",
            AequoreaWarning,
            stacklevel=2,
        )
    if kind == "imagej":
        return _from_imagej(tif, series)
    if kind == "lsm":
        return _from_lsm(tif)
    return _from_tags(series, path)


def _from_ome(images: Sequence[OmeImage], series: Any, number: int) -> TiffMetadata:
    named = [i for i in images if i.name and i.name == series.name]
    if len(named) == 1:
        image = named[0]
    elif number < len(images):
        image = images[number]
    else:
        return TiffMetadata(extra={"format": "OME-TIFF"})
    return TiffMetadata(
        image.spacing_um, image.channels, image.times_s, {"format": "OME-TIFF", **image.extra}
    )


def _from_imagej(tif: tifffile.TiffFile, series: Any) -> TiffMetadata:
    told = dict(tif.imagej_metadata or {})
    sizes = dict(zip(*_layout(series), strict=True))
    spacing = _scaled_resolution(series.keyframe, _text(told.get("unit")))
    unit_um = length_in_um(_text(told.get("unit")))
    if sizes.get("Z", 1) > 1:
        spacing["z"] = spacing_or_none(told.get("spacing"), unit_um)
    interval = spacing_or_none(told.get("finterval"), time_in_s(_text(told.get("tunit")) or "s"))
    frames = sizes.get("T", 1)
    return TiffMetadata(
        spacing,
        _imagej_channels(told.get("Labels"), sizes) or _sample_names(series),
        None if interval is None or frames < 2 else np.arange(frames, dtype=np.float64) * interval,
        {"format": "ImageJ TIFF", "imagej": _plain(told)},
    )


def _imagej_channels(labels: Any, sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Slice labels name the channels only if they say the same in every plane of a channel."""
    n_channels = sizes.get("C", 1)
    n_planes = n_channels * sizes.get("Z", 1) * sizes.get("T", 1)
    if not isinstance(labels, (list, tuple)) or len(labels) != n_planes or n_planes < 2:
        return ()
    per_channel = [{str(name).strip() for name in labels[k::n_channels]} for k in range(n_channels)]
    names = [next(iter(found)) for found in per_channel if len(found) == 1]
    usable = len(names) == n_channels and all(names) and len(set(names)) == n_channels
    return tuple(names) if usable else ()


def _from_lsm(tif: tifffile.TiffFile) -> TiffMetadata:
    told = dict(tif.lsm_metadata or {})
    spacing = {a: spacing_or_none(told.get(f"VoxelSize{a.upper()}"), 1e6) for a in "zyx"}
    colours = told.get("ChannelColors") or {}
    stamps = told.get("TimeStamps")
    times = (
        None
        if stamps is None or len(stamps) == 0
        else np.asarray(stamps, np.float64) - float(stamps[0])
    )
    return TiffMetadata(
        spacing,
        tuple(str(name) for name in colours.get("ColorNames", ())),
        times,
        {"format": "LSM"},
    )


def _from_tags(series: Any, path: Path) -> TiffMetadata:
    page = series.keyframe
    if page.photometric == _MIN_IS_WHITE and series.dtype.kind != "b":
        warnings.warn(
            f"{path}: stored with 0 as white (MinIsWhite); the values are given "
            "as stored, so bright structures have low values: invert them if that is not meant",
            AequoreaWarning,
            stacklevel=2,
        )
    told = _shaped_json(page.description)
    spacing = _scaled_resolution(page, _text(told.get("unit")))
    unit_um = length_in_um(_text(told.get("unit")))
    if "Z" in _layout(series)[0]:
        spacing["z"] = spacing_or_none(told.get("spacing"), unit_um)
    return TiffMetadata(spacing, _sample_names(series), None, {"format": "TIFF"})


def _scaled_resolution(page: Any, unit: str | None) -> dict[str, float | None]:
    """Pixel sizes from the resolution tags, where these are a calibration."""
    unit_um = length_in_um(unit)
    is_print = unit_um == length_in_um("inch")
    if unit_um is None and (unit is None or not unit.strip()):
        codes = {2: "inch", 3: "cm"}
        unit_um = length_in_um(codes.get(int(page.tags.valueof("ResolutionUnit", default=2))))
        is_print = True
    sizes: dict[str, float | None] = {}
    for axis, tag in (("y", "YResolution"), ("x", "XResolution")):
        per_unit = page.tags.valueof(tag)
        sizes[axis] = None
        # (1, 1) is what writers put when they know nothing; ImageJ's 1 µm is (1000000, 1000000)
        if per_unit is None or tuple(per_unit) == (1, 1) or 0 in per_unit:
            continue
        size = spacing_or_none(per_unit[1] / per_unit[0], unit_um)
        if size is not None and not (is_print and size > _LARGEST_PLAUSIBLE_UM):
            sizes[axis] = size
    return sizes


def _sample_names(series: Any) -> tuple[str, ...]:
    axes, shape = _layout(series)
    if "S" not in axes or series.keyframe.photometric not in (_RGB, _YCBCR):
        return ()
    return SAMPLE_NAMES.get(shape[axes.index("S")], ())


def _shaped_json(description: str) -> dict[str, Any]:
    if not description.startswith("{"):
        return {}
    try:
        told = json.loads(description)
    except ValueError:  # a user's own text that begins with a brace
        return {}
    return told if isinstance(told, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _plain(told: Mapping[str, Any]) -> dict[str, Any]:
    simple = (str, int, float, bool)
    return {k: v for k, v in told.items() if isinstance(v, simple)}


def _fitting(times: NDArray[np.float64] | None, frames: int | None) -> NDArray[np.float64] | None:
    return times if times is not None and frames == len(times) else None


def _judge(path: Path, remarks: Sequence[str]) -> None:
    damage = [r for r in remarks if any(sign in r for sign in _SIGNS_OF_DAMAGE)]
    if damage:
        raise FileFormatError(
            f"{path}: truncated or damaged TIFF ({damage[0].partition('> ')[2] or damage[0]}); "
            "copy it again, or open it in Fiji and save it again"
        )
    missing = [r for r in remarks if "zeroed" in r or "missing" in r]
    if missing:
        warnings.warn(
            f"{path}: planes are missing and read as zeros ({' '.join(missing[0].split())}); "
            "put the other files of the data set beside it or copy it again",
            AequoreaWarning,
            stacklevel=3,
        )


READER = TiffReader()
