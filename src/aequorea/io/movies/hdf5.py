"""Movies in HDF5: NWB, and data sets of other programs, whose axes the user names where need be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import FileFormatError
from aequorea.io.axes import UNKNOWN, arrange
from aequorea.io.faults import reading
from aequorea.io.registry import scene_index
from aequorea.io.units import length_in_um
from aequorea.model.image import AXES, Image

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import h5py
    from numpy.typing import NDArray

__all__ = ["READER", "Hdf5Reader"]

_MAGIC = b"\x89HDF\r\n\x1a\n"
_SERIES = {"ImageSeries", "OnePhotonSeries", "TwoPhotonSeries"}


class Hdf5Reader:
    """HDF5 and NWB. Every array of three axes or more is a scene, the largest first.

    Axes are those of dimension labels, or of NWB: (frame, x, y[, z]), as its schema has them. Only
    what lies in the file itself is read: links to other files, raw data in other files and virtual
    arrays are refused, as a file must not choose what else is read.
    """

    name = "HDF5"
    suffixes = (".h5", ".hdf5", ".nwb", ".hdf")

    def sniff(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """Whether the content begins like HDF5."""
        return head.startswith(_MAGIC)

    def open(self, path: Path, scene: int | str, *, axes: str | None = None) -> Image:
        """One array of the file; only what is indexed is read.

        Raises
        ------
        AxisMismatchError
            If the file does not say what the axes are and ``axes`` does not either.
        """
        import h5py

        with reading(path, "HDF5"), h5py.File(path, "r") as file:
            is_nwb = "nwb_version" in file.attrs
            names = tuple(_nwb_series(file, path) if is_nwb else _arrays(file, path))
            number = scene_index(names, scene, path)
            name = f"{names[number]}/data" if is_nwb else names[number]
            _require_inside(file, name, path)
            facts = _of_nwb(file[names[number]]) if is_nwb else _of_labels(file[name])
            data = _Stored(path, name, file[name])
        arranged, found = arrange(data, facts.letters, path=path, axes=axes)
        n_frames = arranged.shape[0] if found.startswith("t") else 0
        sizes = dict(zip(found, arranged.shape, strict=True))
        return Image(
            data=arranged,
            axes=found,
            channels=facts.channels if len(facts.channels) == sizes.get("c", 1) else (),
            spacing_um={a: s for a, s in facts.spacing_um.items() if a in found},
            times_s=facts.times(n_frames),
            scenes=names,
            scene=number,
            metadata={"format": "NWB" if is_nwb else "HDF5", **facts.extra},
            source=str(path),
        )


@dataclass(frozen=True, kw_only=True)
class _Facts:
    letters: str
    channels: tuple[str, ...] = ()
    spacing_um: Mapping[str, float | None] = field(default_factory=dict)
    times_s: NDArray[np.float64] | None = None
    rate_hz: float | None = None
    start_s: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def times(self, n_frames: int) -> NDArray[np.float64] | None:
        if n_frames and self.times_s is not None and len(self.times_s) == n_frames:
            return self.times_s
        if n_frames and self.rate_hz:
            return self.start_s + np.arange(n_frames) / self.rate_hz
        return None


class _Stored:
    """An array that stays in its file, which is open during reads only."""

    def __init__(self, path: Path, name: str, stored: h5py.Dataset) -> None:
        self._path, self._name = path, name
        self.shape = tuple(int(n) for n in stored.shape)
        self.dtype: np.dtype[Any] = np.dtype(stored.dtype).newbyteorder("=")

    def __getitem__(self, index: Any) -> NDArray[Any]:
        import h5py

        with reading(self._path, "HDF5"), h5py.File(self._path, "r") as file:
            return np.asarray(file[self._name][index], dtype=self.dtype)


def _arrays(file: h5py.File, path: Path) -> list[str]:
    """Names of what can be an image or a movie, the largest first."""
    import h5py

    found: dict[str, int] = {}

    def look(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim >= 3 and item.dtype.kind in "uif":
            found[name] = int(item.size)

    file.visititems(look)
    if not found:
        raise FileFormatError(f"{path}: HDF5 without an array of three axes or more; expected one")
    return sorted(found, key=lambda name: (-found[name], name))


def _nwb_series(file: h5py.File, path: Path) -> list[str]:
    found: list[str] = []
    outside: list[str] = []

    def look(name: str, item: Any) -> None:
        if _text(item.attrs.get("neurodata_type")) in _SERIES:
            held = _own(item, "data")
            stored = held is not None and held.ndim >= 3 and held.size
            (found if stored else outside).append(name)

    file.visititems(look)
    if not found:
        raise FileFormatError(
            f"{path}: NWB without a movie in it"
            + (f" ({outside[0]} refers to other files: open these)" if outside else "")
        )
    return found


def _own(group: h5py.Group, name: str) -> Any:
    """A member of a group that is in the same file; None for links to others."""
    import h5py

    if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
        return None
    return group.get(name)


def _require_inside(file: h5py.File, name: str, path: Path) -> None:
    stored = file[name]
    if stored.file.filename != file.filename or stored.external or stored.is_virtual:
        raise FileFormatError(
            f"{path}: {name} keeps its pixels in other files; open these, or copy it into one file "
            "(h5repack)"
        )


def _of_labels(stored: h5py.Dataset) -> _Facts:
    """Dimension labels (HDF5's own), pixel sizes and channel names as SIMA writes them."""
    labels = [_text(dim.label).lower() for dim in stored.dims]
    named = all(label in AXES and label for label in labels)
    letters = "".join(labels) if named else UNKNOWN * stored.ndim
    sizes = np.ravel(np.asarray(stored.attrs.get("element_size_um", [])))
    spacing = dict(zip("zyx", (_size(v) for v in sizes), strict=True)) if len(sizes) == 3 else {}
    channels = tuple(_text(n) for n in np.ravel(stored.attrs.get("channel_names", [])))
    return _Facts(letters=letters, channels=channels, spacing_um=spacing)


def _of_nwb(series: h5py.Group) -> _Facts:
    letters = "txyz"[: series["data"].ndim]
    stamps, start = _own(series, "timestamps"), _own(series, "starting_time")
    plane = _own(series, "imaging_plane")
    return _Facts(
        letters=letters,
        spacing_um=_plane_spacing(plane),
        times_s=None if stamps is None else np.asarray(stamps[()], np.float64),
        rate_hz=None if start is None else float(start.attrs["rate"]),
        start_s=0.0 if start is None else float(start[()]),
        extra={"neurodata_type": _text(series.attrs["neurodata_type"])},
    )


def _plane_spacing(plane: Any) -> dict[str, float | None]:
    """Pixel size of an NWB imaging plane, stored as (x, y[, z])."""
    grid = None if plane is None else _own(plane, "grid_spacing")
    if grid is None:
        return {}
    unit_um = length_in_um(_text(grid.attrs.get("unit", "meters")))
    sizes = np.ravel(np.asarray(grid[()], np.float64))
    if unit_um is None:
        return {}
    return {a: _size(v * unit_um) for a, v in zip("xyz", sizes, strict=False)}


def _size(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) and number > 0 else None


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


READER = Hdf5Reader()
