"""NumPy's own files, .npy and .npz."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import FileFormatError
from aequorea.io.axes import UNKNOWN, arrange
from aequorea.io.faults import reading
from aequorea.io.registry import scene_index
from aequorea.model.image import Image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.model.lazy import LazyArray

_NPY = b"\x93NUMPY"
_ZIP = b"PK\x03\x04"


class NpyReader:
    """NumPy arrays. Two axes are y and x; with more, the user says which is which."""

    name = "NumPy"
    suffixes = (".npy", ".npz")

    def sniff(self, head: bytes, path: Path) -> bool:
        """Whether the content is .npy, or a zip file named .npz."""
        return head.startswith(_NPY) or (
            head.startswith(_ZIP) and path.name.lower().endswith(".npz")
        )

    def open(self, path: Path, scene: int | str, *, axes: str | None = None) -> Image:
        """The array, mapped from .npy; arrays of .npz are scenes, read at once.

        Raises
        ------
        AxisMismatchError
            If the array has more than two axes and ``axes`` does not name them.
        """
        data: LazyArray
        with reading(path, "NumPy"):
            if zipfile.is_zipfile(path):
                # NumPy leaves the file open when it fails; an open file it leaves to us
                with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                    names = tuple(archive.files)
                    number = scene_index(names, scene, path)
                    data = archive[names[number]]
            else:
                names, number = ("0",), scene_index(("0",), scene, path)
                data = _Mapped(path)
        if len(data.shape) < 2:
            raise FileFormatError(
                f"{path}: an array of shape {tuple(data.shape)}; expected at least y and x"
            )
        arranged, found = arrange(data, _letters(tuple(data.shape)), path=path, axes=axes)
        return Image(
            data=arranged,
            axes=found,
            scenes=names,
            scene=number,
            metadata={"format": "NumPy"},
            source=str(path),
        )


class _Mapped:
    """A .npy file that is mapped only while a part is copied out of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        stored = self._map()
        self.shape = tuple(int(n) for n in stored.shape)
        self.dtype: np.dtype[Any] = stored.dtype.newbyteorder("=")

    def _map(self) -> NDArray[Any]:
        if 0 in _stored_shape(self._path):  # cannot be mapped
            return np.asarray(np.load(self._path, allow_pickle=False))
        return np.asarray(np.load(self._path, mmap_mode="r", allow_pickle=False))

    def __getitem__(self, index: Any) -> NDArray[Any]:
        with reading(self._path, "NumPy"):
            return np.array(self._map()[index], dtype=self.dtype)


def array_shape(path: Path) -> tuple[int, ...]:
    """Shape of the (first) array of a .npy or .npz file."""
    with reading(path, "NumPy"):
        if zipfile.is_zipfile(path):
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return tuple(archive[archive.files[0]].shape)
        return _stored_shape(path)


def _stored_shape(path: Path) -> tuple[int, ...]:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, _ = read(file)
    return tuple(shape)


def _letters(shape: tuple[int, ...]) -> str:
    unambiguous = all(n == 1 for n in shape[:-2])
    return UNKNOWN * (len(shape) - 2) + ("yx" if unambiguous else UNKNOWN * 2)


READER = NpyReader()
