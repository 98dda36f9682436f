"""What images, widths and places have to be like before puncta are looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from aequorea.errors import AxisMismatchError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["checked_image", "checked_mask", "checked_places", "checked_sigma", "flattened"]

IntArray = npt.NDArray[np.int64]


def checked_image(image: npt.ArrayLike) -> npt.NDArray[Any]:
    """An image of finite numbers: uint16 if its own are unsigned and that small, else float32."""
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3):
        raise InputError(f"image: expected (y, x) or (z, y, x), found shape {pixels.shape}")
    if pixels.size == 0:
        raise InputError(f"image: expected pixels, found shape {pixels.shape}")
    if pixels.dtype.kind not in "buif":
        raise InputError(f"image: expected real numbers, found dtype {pixels.dtype}")
    small = pixels.dtype.kind in "bu" and pixels.dtype.itemsize <= 2
    pixels = pixels.astype(np.uint16 if small else np.float32, order="C", copy=False)
    for plane in () if small else pixels:
        if not np.isfinite(plane).all():
            raise InputError("image: expected finite pixels, found NaN or Inf; fill or crop them")
    return pixels


def checked_mask(
    mask: npt.ArrayLike | None, shape: tuple[int, ...]
) -> npt.NDArray[np.bool_] | None:
    """A mask of the shape of the image, if there is one."""
    if mask is None:
        return None
    inside = np.asarray(mask).astype(bool, copy=False)
    if inside.shape != shape:
        raise AxisMismatchError(
            f"mask: expected the shape of the image {shape}, found {inside.shape}"
        )
    return inside


def checked_sigma(sigma_px: Sequence[float], ndim: int) -> tuple[float, ...]:
    """Widths as floats, one per axis of a plane or stack."""
    if ndim not in (2, 3):
        raise InputError(f"image: expected (y, x) or (z, y, x), found {ndim} axes")
    sigma = tuple(float(s) for s in sigma_px)
    if len(sigma) != ndim or not all(np.isfinite(s) and s > 0 for s in sigma):
        raise InputError(f"sigma_px: expected {ndim} numbers above 0, found {tuple(sigma_px)}")
    return sigma


def flattened(sigma: tuple[float, ...], shape: Sequence[int]) -> tuple[float, float, float]:
    """Widths along z, y, x; none along z in a single plane."""
    z = sigma[0] if len(sigma) == 3 and shape[0] > 1 else 0.0
    return z, sigma[-2], sigma[-1]


def checked_places(coordinates_px: npt.ArrayLike, shape: tuple[int, ...]) -> IntArray:
    """Places rounded to voxels of the image."""
    given = np.asarray(coordinates_px, dtype=np.float64)
    if given.size == 0:
        return np.empty((0, len(shape)), np.int64)
    if given.ndim != 2 or given.shape[1] != len(shape):
        raise AxisMismatchError(
            f"coordinates_px: expected shape (n, {len(shape)}), found {given.shape}"
        )
    if not np.isfinite(given).all():
        raise InputError("coordinates_px: expected finite numbers, found NaN or Inf")
    places = np.rint(given).astype(np.int64)
    outside = ((places < 0) | (places >= np.array(shape))).any(axis=1)
    if outside.any():
        raise InputError(
            f"coordinates_px: expected places within {shape}, found {given[outside][0].tolist()}"
        )
    return places
