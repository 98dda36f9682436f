"""Writing OME-TIFF."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.io.atomic import replacing
from aequorea.io.axes import check_pixels
from aequorea.io.ome import ome_xml

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aequorea.model.image import Image

# offsets of classic TIFF have 32 bits; the rest is for headers and what zlib cannot shrink
_CLASSIC_BYTES = 2**32 - 2**26


def write_ome_tiff(image: Image, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write an image as OME-TIFF: lossless, calibrated, plane by plane.

    Parameters
    ----------
    image : Image
    path : path
        File that is to appear; by custom it ends in ``.ome.tif``.
    overwrite : bool, default False

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        If it cannot be written, or exists and ``overwrite`` is False.
    InputError
        If OME-TIFF cannot hold the pixel type (64-bit integers, 16-bit floats), or a channel
        name holds characters that XML cannot.

    Notes
    -----
    Pixels are compressed with zlib; images of more than about 4 GB become BigTIFF. Memory:
    one plane. Axes of size 1 are left out when the file is read again.
    """
    import tifffile

    check_pixels(image.data, image.source or "image")
    header = ome_xml(image)
    shape = tuple(image.sizes.get(a, 1) for a in "tczyx")
    with replacing(path, overwrite=overwrite) as temporary:
        tifffile.imwrite(
            temporary,
            _planes(image),
            shape=shape,
            dtype=image.dtype.newbyteorder("="),
            bigtiff=image.nbytes > _CLASSIC_BYTES,
            photometric="minisblack",
            compression="zlib",
            description=header.encode("utf-8"),
            metadata=None,
            ome=False,
            software=False,
            maxworkers=1,
        )
    return Path(path)


def _planes(image: Image) -> Iterator[NDArray[Any]]:
    lead = [a for a in image.axes if a not in "yx"]
    for place in itertools.product(*(range(image.sizes[a]) for a in lead)):
        index = (*place, slice(None), slice(None))
        yield np.ascontiguousarray(image.data[index], dtype=image.dtype.newbyteorder("="))
