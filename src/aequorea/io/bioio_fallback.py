"""Formats that aequorea has no reader for, through the ``bioio`` extra."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import FileFormatError
from aequorea.io.axes import arrange
from aequorea.io.faults import reading
from aequorea.io.registry import scene_index
from aequorea.io.units import spacing_or_none
from aequorea.model.image import Image

if TYPE_CHECKING:
    from pathlib import Path

_AXES = "tczyx"


class BioioReader:
    """Whatever the installed ``bioio`` plug-ins read. Asked last."""

    name = "bioio"
    suffixes = ()

    def sniff(self, head: bytes, path: Path) -> bool:
        """Whether ``bioio`` is installed and has a plug-in that knows the file."""
        if find_spec("bioio") is None or not head:
            return False
        import bioio

        unsupported = import_module("bioio_base.exceptions").UnsupportedFileFormatError
        try:
            bioio.BioImage.determine_plugin(str(path))
        except (unsupported, OSError, ValueError):
            return False
        return True

    def open(self, path: Path, scene: int | str, *, axes: str | None = None) -> Image:
        """The image, planes read through ``bioio``'s dask array.

        Raises
        ------
        FileFormatError
            If ``bioio`` is not installed or cannot read the file.
        """
        if find_spec("bioio") is None:
            raise FileFormatError(f"{path}: needs bioio; pip install 'aequorea[bioio]'")
        with reading(path, "a bioio format"):
            import bioio

            source = bioio.BioImage(str(path))
            names = tuple(str(name) for name in source.scenes)
            number = scene_index(names, scene, path)
            source.set_scene(number)
            data = source.get_image_dask_data("TCZYX")
            sizes = source.physical_pixel_sizes
            spacing = {a: spacing_or_none(getattr(sizes, a.upper())) for a in "zyx"}
            channels = tuple(str(name) for name in source.channel_names or ())
            plugin = type(source.reader).__module__.partition(".")[0]
        arranged, found = arrange(data, _AXES, path=path, axes=axes)
        n_channels = arranged.shape[found.index("c")] if "c" in found else 1
        return Image(
            data=_Computed(arranged),
            axes=found,
            spacing_um={a: s for a, s in spacing.items() if a in found},
            channels=channels if len(channels) == n_channels else (),
            scenes=names,
            scene=number,
            metadata={"format": f"bioio ({plugin})"},
            source=str(path),
        )


class _Computed:
    """A dask array that gives NumPy arrays when indexed."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self.shape = tuple(int(n) for n in data.shape)
        self.dtype = np.dtype(data.dtype)

    def __getitem__(self, index: Any) -> Any:
        return np.asarray(self._data[index])


READER = BioioReader()
