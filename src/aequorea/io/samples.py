"""Real sample images, fetched from their public homes on first use."""

from __future__ import annotations

import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, FileFormatError
from aequorea.io.atomic import replacing
from aequorea.io.download import cached_download
from aequorea.io.registry import open_image

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from numpy.typing import NDArray

CBS_URL = "https://colocalization-benchmark.com/download"
FIJI_URL = "https://samples.fiji.sc"
_CBS_NAME = "CBS006RBM.tiff"
_COLOC_NAME = "colocsample1bRGB_BG.tif"
_LARGEST_IMAGE_BYTES = 2**28

LayerData = tuple["NDArray[np.float32]", dict[str, Any], str]


def make_sample_data_cbs006rbm(
    *, base_url: str = CBS_URL, cache_dir: str | os.PathLike[str] | None = None
) -> list[LayerData]:
    """Image CBS006RBM of the Colocalization Benchmark Source: red and blue, about 50 % overlap.

    Parameters
    ----------
    base_url : str
        Where ``cbs006rbm.tiff.zip`` lies.
    cache_dir : path, optional
        Default: :func:`aequorea.io.download.cache_folder`.

    Returns
    -------
    list of (data, keyword arguments, ``"image"``)
        Two layers as napari takes them; data are float32 from 0 to 1, shape (y, x).

    Raises
    ------
    RunError, FileFormatError, OutputError
        As :func:`aequorea.io.download.cached_download` does.

    References
    ----------
    .. [1] Colocalization Benchmark Source, https://colocalization-benchmark.com/
    """
    archive = cached_download(
        f"{base_url}/cbs006rbm.tiff.zip", "cbs006rbm.tiff.zip", cache_dir=cache_dir
    )
    return _two_layers(_unpacked(archive, _CBS_NAME), "CBS006RBM", ("red", "blue"))


def make_sample_data_coloc(
    *, base_url: str = FIJI_URL, cache_dir: str | os.PathLike[str] | None = None
) -> list[LayerData]:
    """The confocal stack colocsample1bRGB of Fiji: red and green dyes that colocalise.

    Parameters
    ----------
    base_url : str
        Where ``colocsample1bRGB_BG.tif`` lies.
    cache_dir : path, optional
        Default: :func:`aequorea.io.download.cache_folder`.

    Returns
    -------
    list of (data, keyword arguments, ``"image"``)
        Two layers as napari takes them; data are float32 from 0 to 1, shape (z, y, x).

    Raises
    ------
    RunError, FileFormatError, OutputError
        As :func:`aequorea.io.download.cached_download` does.
    """
    path = cached_download(f"{base_url}/{_COLOC_NAME}", _COLOC_NAME, cache_dir=cache_dir)
    return _two_layers(path, "coloc", ("red", "green"))


def _two_layers(path: Path, name: str, colours: tuple[str, str]) -> list[LayerData]:
    with warnings.catch_warnings():
        # whether the pages are z or t makes no difference to a list of layers
        warnings.simplefilter("ignore", AequoreaWarning)
        image = open_image(path)
    if image.channels[:3] != ("red", "green", "blue") or image.dtype != np.uint8:
        raise FileFormatError(
            f"{path}: {image.dtype} with channels {', '.join(image.channels)}; expected 8-bit RGB: "
            "delete it, so that it is fetched again"
        )
    layers: list[LayerData] = []
    for colour in colours:
        pixels = np.asarray(image.channel(colour), dtype=np.float32) / np.float32(255)
        settings = {"name": f"{name}_{colour}", "colormap": colour}
        if layers:
            settings["blending"] = "additive"
        layers.append((pixels, settings, "image"))
    return layers


def _unpacked(archive: Path, name: str) -> Path:
    """The member ``name`` of a zip file, beside it; its own paths are not used."""
    target = archive.with_name(name)
    if target.is_file():
        return target
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(name) as member:
            content = member.read(_LARGEST_IMAGE_BYTES + 1)
    except (zipfile.BadZipFile, KeyError) as error:
        raise FileFormatError(
            f"{archive}: no {name} in it ({error}); delete it, so that it is fetched again"
        ) from None
    if len(content) > _LARGEST_IMAGE_BYTES:
        raise FileFormatError(f"{archive}: {name} is too large to be the sample image")
    with replacing(target, overwrite=True) as temporary:
        temporary.write_bytes(content)
    return target
