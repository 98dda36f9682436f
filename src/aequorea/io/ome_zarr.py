"""Reading OME-Zarr (0.4 and 0.5), and plain Zarr arrays."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, FileFormatError
from aequorea.io.axes import UNKNOWN, arrange
from aequorea.io.faults import reading
from aequorea.io.registry import scene_index
from aequorea.io.units import length_in_um, spacing_or_none, time_in_s
from aequorea.model.image import AXES, Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import zarr
    from numpy.typing import NDArray

VERSIONS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.5-dev1")
OURS = "aequorea"
OUR_ENCODING = 1
#: Numbers of an image's metadata that our writer keeps beside it.
KEPT_METADATA = ("z_scale_factor",)
_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


class OmeZarrReader:
    """OME-Zarr images, label images, plates and collections; Zarr arrays with named axes."""

    name = "OME-Zarr"
    suffixes = (".ome.zarr", ".zarr")

    def sniff(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """Whether the folder holds a Zarr node."""
        return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)

    def open(self, path: Path, scene: int | str, *, axes: str | None = None) -> Image:
        """One image of the group, at full resolution; chunks are read when they are needed.

        Raises
        ------
        FileFormatError
            If the group holds no image, or is of a version that is not known.
        """
        if path.is_file():
            raise FileFormatError(f"{path}: a file, but OME-Zarr is a folder; unpack it first")
        with reading(path, "OME-Zarr"):
            scenes = _scenes(_node(path), path)
            names = tuple(s.name for s in scenes)
            number = scene_index(names, scene, path)
            chosen = scenes[number]
            facts = _facts(chosen, path)
            data = ZarrPixels(path, chosen.array_path)
        arranged, found = arrange(data, facts.letters, path=path, axes=axes)
        sizes = dict(zip(found, arranged.shape, strict=True))
        times = facts.times_s
        return Image(
            data=arranged,
            axes=found,
            spacing_um={a: s for a, s in facts.spacing_um.items() if a in found},
            channels=facts.channels if len(facts.channels) == sizes.get("c", 1) else (),
            times_s=times if times is not None and sizes.get("t") == len(times) else None,
            scenes=names,
            scene=number,
            metadata={
                "format": f"OME-Zarr {facts.version}" if facts.version else "Zarr",
                **facts.kept,
            },
            source=str(path),
        )


@dataclass(frozen=True)
class _Scene:
    """One image of a hierarchy: where its full-resolution array is and what describes it."""

    name: str
    array_path: str
    multiscale: Mapping[str, Any] | None
    attributes: Mapping[str, Any]
    version: str


@dataclass(frozen=True)
class _Facts:
    letters: str
    spacing_um: Mapping[str, float | None]
    channels: tuple[str, ...]
    times_s: NDArray[np.float64] | None
    version: str
    kept: Mapping[str, float]


class ZarrPixels:
    """An array of a Zarr hierarchy on disk; no file stays open between reads."""

    def __init__(self, root: Path, array_path: str) -> None:
        self._root, self._array_path = root, array_path
        array = self._array()
        self.shape = tuple(int(n) for n in array.shape)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)
        self._open: Any = array

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    def _array(self) -> Any:
        import zarr

        where = self._root / self._array_path if self._array_path else self._root
        with reading(self._root, "OME-Zarr"):
            return zarr.open_array(where, mode="r")

    def __getitem__(self, index: Any) -> NDArray[Any]:
        if self._open is None:
            self._open = self._array()
        with reading(self._root, "OME-Zarr"):
            return np.asarray(self._open[index])


def _node(path: Path) -> zarr.Group | zarr.Array[Any]:
    import zarr

    return zarr.open(path, mode="r")


def _scenes(node: Any, path: Path) -> list[_Scene]:
    """All images below a node; a plain array is one."""
    import zarr

    if isinstance(node, zarr.Array):
        return [_Scene("0", "", None, dict(node.attrs), "")]
    found = _multiscales(node, "") or _members(node, path)
    if not found:
        raise FileFormatError(
            f"{path}: a Zarr group without an OME-Zarr image (no multiscales metadata); "
            "give the folder of one image or array in it"
        )
    names = [scene.name for scene in found]
    if len(set(names)) < len(names):
        found = [_renamed(scene, str(k)) for k, scene in enumerate(found)]
    return found


def _renamed(scene: _Scene, name: str) -> _Scene:
    return _Scene(name, scene.array_path, scene.multiscale, scene.attributes, scene.version)


def _multiscales(group: zarr.Group, prefix: str) -> list[_Scene]:
    attributes = dict(group.attrs)
    described = _described(attributes)
    scenes = []
    for k, multiscale in enumerate(described.get("multiscales", ())):
        version = str(described.get("version") or multiscale.get("version") or "0.4")
        first = multiscale["datasets"][0]["path"]
        name = str(multiscale.get("name") or prefix or k)
        scenes.append(_Scene(name, _joined(prefix, first), multiscale, attributes, version))
    return scenes


def _members(group: zarr.Group, path: Path) -> list[_Scene]:
    """Images of a plate, of a bioformats2raw series, or simply of the groups inside."""
    import zarr

    described = _described(dict(group.attrs))
    if "plate" in described:
        places = []
        for well in described["plate"]["wells"]:
            fields = _described(dict(_group(group, well["path"], path).attrs))
            places += [_joined(well["path"], i["path"]) for i in fields["well"]["images"]]
    else:
        places = sorted((name for name, _ in group.groups()), key=_natural)
        places = [name for name in places if name not in {"OME", "labels"}]
    scenes = []
    for place in places:
        member = group.get(place)
        if isinstance(member, zarr.Group):
            scenes += [_renamed(s, place) for s in _multiscales(member, place)[:1]]
    return scenes


def _group(group: zarr.Group, place: str, path: Path) -> zarr.Group:
    import zarr

    member = group.get(place)
    if not isinstance(member, zarr.Group):
        raise FileFormatError(f"{path}: the group {place!r} it names is missing; copy it again")
    return member


def _described(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    # 0.5 keeps everything under "ome"; earlier versions at the top
    inner = attributes.get("ome", attributes)
    return inner if isinstance(inner, dict) else {}


def _facts(scene: _Scene, path: Path) -> _Facts:
    shape, names = _array_header(path, scene.array_path)
    if scene.multiscale is None:
        letters = _letters(names or scene.attributes.get("_ARRAY_DIMENSIONS"), len(shape))
        return _Facts(letters, {}, (), None, "", {})
    if scene.version not in VERSIONS:
        raise FileFormatError(
            f"{path}: OME-Zarr version {scene.version}; expected one of {', '.join(VERSIONS)}: "
            "update aequorea"
        )
    named = scene.multiscale.get("axes") or AXES[-len(shape) :]
    axes: list[dict[str, Any]] = [a if isinstance(a, dict) else {"name": a} for a in named]
    letters = _letters([_letter(a) for a in axes], len(shape))
    ours = _ours(scene.attributes, path)
    scales = _scales(scene.multiscale, len(axes))
    spacing = {
        letter: _spacing(letter, axis.get("unit"), scale, path)
        for letter, axis, scale in zip(letters, axes, scales, strict=True)
        if letter in "zyx"
    }
    times = ours.get("times_s")
    if times is None and "t" in letters and not ours:
        at = letters.index("t")
        times = _regular_times(shape[at], scales[at], axes[at].get("unit"))
    return _Facts(
        letters,
        spacing,
        _channels(scene.attributes, ours),
        None if times is None else np.asarray(times, np.float64),
        scene.version,
        {key: float(ours[key]) for key in KEPT_METADATA if key in ours},
    )


def _array_header(path: Path, array_path: str) -> tuple[tuple[int, ...], Sequence[Any] | None]:
    import zarr

    array = zarr.open_array(path / array_path if array_path else path, mode="r")
    return tuple(array.shape), getattr(array.metadata, "dimension_names", None)


def _letter(axis: Mapping[str, Any]) -> str:
    name = str(axis.get("name", "")).lower()
    if name in AXES and len(name) == 1:
        return name
    return {"channel": "c", "time": "t"}.get(str(axis.get("type")), UNKNOWN)


def _letters(names: Sequence[Any] | None, ndim: int) -> str:
    if names is None or len(names) != ndim:
        return UNKNOWN * (ndim - 2) + "yx" if ndim == 2 else UNKNOWN * ndim
    words = [str(name).lower() for name in names]
    short = {"time": "t", "channel": "c", "channels": "c", "frame": "t"}
    letters = [short.get(w, w) for w in words]
    return "".join(w if len(w) == 1 and w in AXES else UNKNOWN for w in letters)


def _scales(multiscale: Mapping[str, Any], ndim: int) -> list[float]:
    steps = [
        *multiscale["datasets"][0].get("coordinateTransformations", ()),
        *multiscale.get("coordinateTransformations", ()),
    ]
    factors = [s["scale"] for s in steps if s.get("type") == "scale" and "scale" in s]
    return [math.prod(float(f[k]) for f in factors) for k in range(ndim)]


def _spacing(letter: str, unit: str | None, scale: float, path: Path) -> float | None:
    unit_um = length_in_um(unit)
    if unit_um is None and scale != 1.0:
        warnings.warn(
            f"{path}: axis {letter} has a scale ({scale:g}) but no unit of length, so it is no "
            "pixel size; if it is in µm, give spacing_um",
            AequoreaWarning,
            stacklevel=2,
        )
    return spacing_or_none(scale, unit_um)


def _regular_times(frames: int, scale: float, unit: str | None) -> NDArray[np.float64] | None:
    step = spacing_or_none(scale, time_in_s(unit))
    return None if step is None else np.arange(frames, dtype=np.float64) * step


def _channels(attributes: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[str, ...]:
    omero = _described(attributes).get("omero")
    if not omero:
        return tuple(str(name) for name in ours.get("channels", ()))
    labels = [channel.get("label") for channel in omero.get("channels", ())]
    return tuple(f"C{k}" if label is None else str(label) for k, label in enumerate(labels))


def _ours(attributes: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """What OME-Zarr has no place for and our writer keeps beside it; empty for other files."""
    ours = attributes.get(OURS)
    if not isinstance(ours, dict):
        return {}
    if ours.get("encoding") != OUR_ENCODING:
        raise FileFormatError(
            f"{path}: written by another aequorea (encoding {ours.get('encoding')!r}, expected "
            f"{OUR_ENCODING}); update aequorea"
        )
    return ours


def _joined(*parts: str) -> str:
    return "/".join(p.strip("/") for p in parts if p)


def _natural(name: str) -> tuple[int, int, str]:
    return (0, int(name), "") if name.isdecimal() else (1, 0, name)


READER = OmeZarrReader()
