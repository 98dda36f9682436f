"""One way to save an image; the ending of the name decides the format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aequorea.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aequorea.model.image import Image

_ZARR = (".ome.zarr", ".zarr")
_TIFF = (".ome.tif", ".ome.tiff")


def save(
    image: Image,
    path: str | os.PathLike[str],
    *,
    labels: Mapping[str, Image | NDArray[Any]] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an image, exactly and with its calibration; it appears whole or not at all.

    Parameters
    ----------
    image : Image
    path : path
        Ends in ``.ome.zarr`` or ``.zarr`` (OME-Zarr 0.5), or in ``.ome.tif`` or
        ``.ome.tiff`` (OME-TIFF).
    labels : mapping of name to Image or ndarray of int, optional
        Label images over the same pixels; OME-Zarr only.
    overwrite : bool, default False
        Whether what is already there may be replaced.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If the ending is another, or labels are to go into OME-TIFF.
    OutputError
        If it cannot be written, or exists and ``overwrite`` is False.

    See Also
    --------
    aequorea.io.write_ome_zarr, aequorea.io.write_ome_tiff
    """
    name = Path(path).name.lower()
    if name.endswith(_ZARR):
        from aequorea.io.ome_zarr_writer import write_ome_zarr

        return write_ome_zarr(image, path, labels=labels, overwrite=overwrite)
    if not name.endswith(_TIFF):
        raise InputError(f"{path}: cannot save as that; expected a name in .ome.zarr or .ome.tif")
    if labels:
        raise InputError(f"{path}: OME-TIFF has no place for labels; save as .ome.zarr")
    from aequorea.io.ome_tiff import write_ome_tiff

    return write_ome_tiff(image, path, overwrite=overwrite)
