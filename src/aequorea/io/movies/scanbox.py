"""Scanbox two-photon movies: ``.sbx`` with the ``.mat`` that describes it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, FileFormatError, FileMissingError
from aequorea.io.axes import arrange
from aequorea.io.faults import reading
from aequorea.io.registry import scene_index
from aequorea.model.image import Image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["READER", "ScanboxReader"]

_CHANNELS = {1: ("green", "red"), 2: ("green",), 3: ("red",)}
_MOST = np.uint16(65535)


class ScanboxReader:
    """Scanbox. Counts are stored upside down (65535 is dark) and given the right way up."""

    name = "Scanbox"
    suffixes = (".sbx",)

    def sniff(self, head: bytes, path: Path) -> bool:
        """Whether it is named .sbx, as its content has no marks."""
        return bool(head) and path.name.lower().endswith(self.suffixes)

    def open(self, path: Path, scene: int | str, *, axes: str | None = None) -> Image:
        """The movie; planes of a volume scan are an axis of their own.

        Raises
        ------
        FileMissingError
            If the .mat file is not beside it.
        """
        number = scene_index(("0",), scene, path)
        described = path.with_suffix(".mat")
        if not described.is_file():
            raise FileMissingError(f"{described}: not beside {path.name}; it says how to read it")
        info = _info(described)
        rows, columns = _shape(info, described)
        channels = _channels(info)
        planes = _planes(info)
        frame = rows * columns * len(channels) * 2
        n_frames, rest = divmod(path.stat().st_size, frame)
        n_times = n_frames // planes
        if not n_times:
            raise FileFormatError(f"{path}: {path.stat().st_size} bytes, a frame has {frame}")
        if rest or n_frames % planes:
            warnings.warn(
                f"{path}: ends within {'a frame' if rest else 'a volume'}, which is left out; the "
                "recording was stopped there, or the copy is not complete",
                AequoreaWarning,
                stacklevel=2,
            )
        shape = (n_times, planes, rows, columns, len(channels))
        data, found = arrange(_Upturned(path, shape), "tzyxc", path=path, axes=axes)
        rate = _rate(info, rows)
        return Image(
            data=data,
            axes=found,
            channels=channels,
            times_s=np.arange(n_times) * planes / rate if rate and "t" in found else None,
            scene=number,
            metadata={
                "format": "Scanbox",
                **({"frame_rate_hz": rate} if rate else {}),
                **({"bidirectional": int(info["scanmode"]) == 0} if "scanmode" in info else {}),
            },
            source=str(path),
        )


class _Upturned:
    """Pixels mapped only while they are copied, and turned the right way up."""

    dtype: np.dtype[Any] = np.dtype(np.uint16)

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._path, self.shape = path, shape

    def __getitem__(self, index: Any) -> NDArray[Any]:
        with reading(self._path, "Scanbox"):
            stored = np.memmap(self._path, "<u2", mode="r", shape=self.shape)
            return np.asarray(_MOST - stored[index], dtype=np.uint16)


def _info(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    with reading(path, "MATLAB file"):
        info = loadmat(path, struct_as_record=False, squeeze_me=True)["info"]
        return {str(name): getattr(info, name) for name in info._fieldnames}


def _shape(info: dict[str, Any], path: Path) -> tuple[int, int]:
    size = np.ravel(info.get("sz", ()))
    if len(size) != 2 or (size < 1).any():
        raise FileFormatError(f"{path}: info.sz is {size}; expected rows and columns")
    return int(size[0]), int(size[1])


def _channels(info: dict[str, Any]) -> tuple[str, ...]:
    if "channels" in info:
        return _CHANNELS.get(int(info["channels"]), ("green",))
    held = getattr(info.get("chan"), "nchan", 1)
    return ("green", "red")[: int(held)]


def _planes(info: dict[str, Any]) -> int:
    if not int(info.get("volscan", 0) or 0):
        return 1
    depths = info.get("otwave", info.get("etl_table", ()))
    return max(1, len(np.atleast_1d(np.asarray(depths, dtype=object))))


def _rate(info: dict[str, Any], rows: int) -> float | None:
    """Frames per second: lines of the resonant mirror over rows, twice when both ways count."""
    lines = float(info.get("resfreq", 0) or 0)
    if not lines:
        return None
    both_ways = int(info.get("scanmode", 1)) == 0
    return lines / rows * (2 if both_ways else 1)


READER = ScanboxReader()
