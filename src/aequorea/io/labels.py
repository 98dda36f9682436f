"""Label images: integers that say which object each pixel belongs to."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, AxisMismatchError, FileFormatError
from aequorea.io.registry import open_image
from aequorea.model.image import AXES

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LARGEST_EXACT = 2**53  # beyond it, not every integer is a float64


def read_labels(
    path: str | os.PathLike[str], shape: Sequence[int] | None = None
) -> NDArray[np.integer[Any]]:
    """A label image from any file that holds one: 0 is background, each object has a number.

    Parameters
    ----------
    path : path
        TIFF, PNG, .npy, .npz, an OME-Zarr label image, or an OME-Zarr image with exactly one
        label image (``cells.ome.zarr``, or ``cells.ome.zarr/labels/nuclei`` to choose).
    shape : sequence of int, optional
        Shape it must have, apart from axes of size 1.

    Returns
    -------
    ndarray of int, shape ``shape`` if given
        In the file's integer type; float files that hold only whole numbers become int64,
        masks (bool) become uint8.

    Raises
    ------
    FileFormatError
        If values are negative or not whole, or it is a colour picture.
    AxisMismatchError
        If the shape is another.
    FileMissingError, InputError
        As :func:`aequorea.io.open` does.
    """
    where = _label_path(Path(path).expanduser())
    pixels = _pixels(where)
    labels = as_labels(pixels, where)
    if shape is None:
        return labels
    wanted = tuple(int(n) for n in shape)
    if _real(labels.shape) != _real(wanted):
        raise AxisMismatchError(
            f"{path}: labels of shape {labels.shape}; the image needs {wanted}: "
            "give labels drawn on the same image"
        )
    return labels.reshape(wanted)


def as_labels(pixels: NDArray[Any], source: Path | str) -> NDArray[np.integer[Any]]:
    """``pixels`` as non-negative integers.

    Raises
    ------
    FileFormatError
        If values are negative or not whole.

    Examples
    --------
    >>> as_labels(np.array([[0.0, 2.0]]), "cells.tif")
    array([[0, 2]])
    """
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8)
    if pixels.dtype.kind == "f":
        whole = np.isfinite(pixels).all() and (pixels == np.rint(pixels)).all()
        if not whole or (pixels.size and np.abs(pixels).max() > _LARGEST_EXACT):
            raise FileFormatError(
                f"{source}: values are not whole numbers; expected labels (0, 1, 2, …), "
                "not an intensity image"
            )
        pixels = pixels.astype(np.int64)
    if pixels.dtype.kind == "i" and pixels.size and pixels.min() < 0:
        raise FileFormatError(
            f"{source}: negative values (down to {pixels.min()}); expected labels 0, 1, 2, …"
        )
    return pixels


def _label_path(path: Path) -> Path:
    folder = path / "labels"
    if not folder.is_dir():
        return path
    members = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(members) != 1:
        names = ", ".join(p.name for p in members) or "none"
        raise FileFormatError(f"{path}: give one of its label images as {folder}/NAME ({names})")
    return members[0]


def _pixels(path: Path) -> NDArray[Any]:
    with warnings.catch_warnings():
        # whether planes are z or t does not matter here: shapes are compared, not axes
        warnings.simplefilter("ignore", AequoreaWarning)
        try:
            image = open_image(path)
        except AxisMismatchError:
            image = open_image(path, axes=_any_axes(path))
    if "c" in image.axes and image.channels[:3] == ("red", "green", "blue"):
        raise FileFormatError(
            f"{path}: a colour picture; expected one number per pixel: "
            "save the labels as 16-bit TIFF"
        )
    return np.asarray(image)


def _any_axes(path: Path) -> str:
    from aequorea.io.npy import READER, array_shape

    if not path.name.lower().endswith(READER.suffixes):
        raise AxisMismatchError(
            f"{path}: its axes cannot be told; save the labels as TIFF with two or three axes"
        )
    ndim = len(_real(array_shape(path)))
    if not 2 <= ndim <= len(AXES):
        raise AxisMismatchError(f"{path}: {ndim} axes; expected 2 to {len(AXES)}")
    return {2: "yx", 3: "zyx", 4: "tzyx", 5: AXES}[ndim]


def _real(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)
