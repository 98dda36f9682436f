"""Published segmentation recipes, step by step and with their own constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from edt import edtsq
from scipy import ndimage
from skimage.segmentation import watershed

from aequorea.errors import AxisMismatchError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ThreeCams", "three_cams_bodies", "three_cams_labels", "three_cams_puncta"]

BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, kw_only=True)
class ThreeCams:
    """Masks of the one cell of an image.

    Attributes
    ----------
    body, nuclei, cytosol : ndarray of bool, shape (z, y, x)
    """

    body: BoolArray
    nuclei: BoolArray
    cytosol: BoolArray


def three_cams_bodies(
    image: npt.ArrayLike,
    *,
    nuclei_divisor: float = 10.0,
    body_factor: float = 1.1,
) -> ThreeCams:
    """Nuclei and body of one cardiac myocyte, both from the nuclear channel.

    Parameters
    ----------
    image : array_like, shape (z, y, x)
        The nuclear channel.
    nuclei_divisor : float, default 10
        The threshold of nuclei is the maximum of the smoothed image over this.
    body_factor : float, default 1.1
        The threshold of the body is the mean of the smoothed image times this.

    Returns
    -------
    ThreeCams

    Raises
    ------
    InputError
        If the image is no stack.

    Notes
    -----
    Nuclei: image over its maximum, Gaussian of 3 voxels, threshold, closing by a ball of radius
    4, holes and objects below 30³ voxels removed, opening by the same ball. Body: Gaussian of 4
    voxels, threshold, opening by a ball of 2, objects below 130³ removed, closing by a ball of 4,
    holes below 130³ filled, opening by a ball of 2. All in voxels, whatever their size; a single
    hot pixel moves the threshold of nuclei. It is here to reproduce earlier numbers.

    Beyond the border of the image there is neither object nor background.
    """
    relative = _relative(image)
    smooth = ndimage.gaussian_filter(relative, 3)
    nuclei = _closed(smooth > smooth.max() / nuclei_divisor, 4)
    nuclei = _without_small(_without_holes(nuclei, 30**3), 30**3)
    nuclei = _opened(nuclei, 4)
    smooth = ndimage.gaussian_filter(relative, 4)
    body = _opened(smooth > smooth.mean() * body_factor, 2)
    body = _closed(_without_small(body, 130**3), 4)
    body = _opened(_without_holes(body, 130**3), 2)
    return ThreeCams(body=body, nuclei=nuclei, cytosol=body & ~nuclei)


def three_cams_puncta(
    image: npt.ArrayLike,
    body: npt.ArrayLike,
    *,
    sigma_px: float = 1.3,
    divisor: float = 4.0,
    min_size_px: int = 60,
) -> BoolArray:
    """Mask of the bright matter of one channel inside the body.

    Parameters
    ----------
    image : array_like, shape (z, y, x)
    body : array_like of bool, same shape
    sigma_px : float, default 1.3
        Of the Gaussian, 1.3 to 2 by channel.
    divisor : float, default 4
        The threshold is the maximum of the smoothed image over this, 2 to 11 by channel.
    min_size_px : int, default 60

    Returns
    -------
    ndarray of bool

    Raises
    ------
    InputError, AxisMismatchError
        If the image is no stack, or the body has another shape.
    """
    pixels = _stack(image)
    smooth = ndimage.gaussian_filter(pixels.astype(np.float32), sigma_px)
    inside = _mask(body, pixels.shape, "body")
    return _without_small((smooth > smooth.max() / divisor) & inside, min_size_px)


def three_cams_labels(
    image: npt.ArrayLike,
    cytosol: npt.ArrayLike,
    *,
    sigma_px: float = 1.1,
    fraction: float = 0.1,
    min_size_px: int = 20,
) -> npt.NDArray[np.int32]:
    """Puncta in the cytosol, told apart by a watershed of the distance to their outline.

    Parameters
    ----------
    image : array_like, shape (z, y, x)
    cytosol : array_like of bool, same shape
    sigma_px : float, default 1.1
    fraction : float, default 0.1
        The threshold is this fraction of the maximum of the smoothed image.
    min_size_px : int, default 20

    Returns
    -------
    ndarray of int32
        Labels 1 to n in the order of their seeds: maxima of the distance, in voxels, within a
        cube of 5.

    Raises
    ------
    InputError, AxisMismatchError
        If the image is no stack, or the cytosol has another shape.
    """
    smooth = ndimage.gaussian_filter(_relative(image), sigma_px)
    mask = _without_small(smooth > fraction * smooth.max(), min_size_px)
    mask &= _mask(cytosol, mask.shape, "cytosol")
    if not mask.any():
        return np.zeros(mask.shape, np.int32)
    distance = np.sqrt(edtsq(np.ascontiguousarray(mask), black_border=False))
    summits = (ndimage.maximum_filter(distance, 5) == distance) & mask
    seeds, _ = ndimage.label(summits)
    return np.asarray(watershed(-distance, seeds, mask=mask), dtype=np.int32)


def _stack(image: npt.ArrayLike) -> npt.NDArray[Any]:
    pixels = np.asarray(image)
    if pixels.ndim != 3 or 0 in pixels.shape or pixels.dtype.kind not in "buif":
        raise InputError(
            f"image: expected a stack (z, y, x) of numbers, found {pixels.dtype} {pixels.shape}"
        )
    return pixels


def _relative(image: npt.ArrayLike) -> Float32Array:
    pixels = _stack(image).astype(np.float32)
    largest = float(pixels.max())
    return pixels / np.float32(largest) if largest > 0 else pixels


def _mask(mask: npt.ArrayLike, shape: Sequence[int], name: str) -> BoolArray:
    inside = np.asarray(mask).astype(bool)
    if inside.shape != tuple(shape):
        raise AxisMismatchError(f"{name}: expected shape {tuple(shape)}, found {inside.shape}")
    return inside


def _dilated(mask: BoolArray, radius_px: int) -> BoolArray:
    """By the ball of all voxels up to so far from its centre: those near enough to the mask."""
    if not mask.any():
        return mask
    return np.asarray(edtsq(np.ascontiguousarray(~mask), black_border=False) <= radius_px**2)


def _eroded(mask: BoolArray, radius_px: int) -> BoolArray:
    if mask.all():
        return mask
    return np.asarray(edtsq(np.ascontiguousarray(mask), black_border=False) > radius_px**2)


def _closed(mask: BoolArray, radius_px: int) -> BoolArray:
    return _eroded(_dilated(mask, radius_px), radius_px)


def _opened(mask: BoolArray, radius_px: int) -> BoolArray:
    return _dilated(_eroded(mask, radius_px), radius_px)


def _without_small(mask: BoolArray, smallest_px: int) -> BoolArray:
    pieces, n = ndimage.label(mask)
    if not n:
        return mask
    large = np.bincount(pieces.ravel()) >= smallest_px
    large[0] = False
    return np.asarray(large[pieces])


def _without_holes(mask: BoolArray, smallest_px: int) -> BoolArray:
    return ~_without_small(~mask, smallest_px)
