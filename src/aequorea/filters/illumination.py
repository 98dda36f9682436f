"""Uneven light: corrected by a flat field and a dark level, or estimated from many images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from aequorea.errors import AxisMismatchError, InputError
from aequorea.filters.binning import mean_of_bins
from aequorea.filters.smooth_fields import local_linear, on_fine_grid

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FEWEST_IMAGES", "FlatField", "correct_illumination", "estimate_flat_field", "flat_of"]

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

FEWEST_IMAGES = 10
_COARSE_PX = 96
_GROUPS = 10


@dataclass(frozen=True, eq=False, kw_only=True)
class FlatField:
    """Relative illumination of a field of view.

    Attributes
    ----------
    field : ndarray of float32, shape (y, x)
        Mean 1.
    standard_error : ndarray of float32, shape (y, x)
        Of the field, from leaving out a tenth of the images at a time.
    n_images : int
    n_planes : int
        Of all images together.
    smooth_px : float
        SD of the weights that it was smoothed with.
    """

    field: Float32Array
    standard_error: Float32Array
    n_images: int
    n_planes: int
    smooth_px: float

    @property
    def typical_error(self) -> float:
        """Median standard error, as a share of the light."""
        return float(np.median(self.standard_error / self.field))

    @property
    def largest_error(self) -> float:
        """Largest standard error, as a share of the light."""
        return float(np.max(self.standard_error / self.field))


def flat_of(image: npt.ArrayLike) -> Float32Array:
    """A flat field out of a recorded one: averaged over planes, of mean 1.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)
        Dark level already taken off.

    Returns
    -------
    ndarray of float32, shape (y, x)

    Raises
    ------
    InputError
        If it has other axes, or pixels that are not above 0.

    Examples
    --------
    >>> flat_of([[1, 3]]).tolist()
    [[0.5, 1.5]]
    """
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3) or pixels.size == 0 or pixels.dtype.kind not in "buif":
        raise InputError(f"flat field: expected (y, x) or (z, y, x), found shape {pixels.shape}")
    plane = pixels.mean(axis=0, dtype=np.float64) if pixels.ndim == 3 else pixels.astype(np.float64)
    if not (np.isfinite(plane).all() and plane.min() > 0):
        raise InputError(
            f"flat field: expected light in every pixel, found {float(np.min(plane)):g}; smooth it"
        )
    return np.asarray(plane / plane.mean(), dtype=np.float32)


def correct_illumination(
    image: npt.ArrayLike, *, dark: float | npt.ArrayLike = 0.0, flat: npt.ArrayLike | None = None
) -> Float32Array:
    """What the image would be under even light: (image - dark) / flat.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)
    dark : float or array_like, shape (y, x)
        Grey level without light.
    flat : array_like, shape (y, x), optional
        Relative illumination, see :func:`flat_of`.

    Returns
    -------
    ndarray of float32
        May be below 0, where noise is. The noise of dim corners is enlarged with their signal: SD
        of the noise against brightness is no longer one curve for the whole image.

    Raises
    ------
    AxisMismatchError
        If dark or flat have another shape than a plane of the image.

    Examples
    --------
    >>> correct_illumination(np.array([[110, 130]], np.uint16), dark=100, flat=[[0.5, 1.5]])
    array([[20., 20.]], dtype=float32)
    """
    pixels = np.asarray(image)
    level = _fitting(dark, pixels, "dark image")
    corrected = pixels.astype(np.float32) - level
    if flat is not None:
        corrected /= _fitting(flat, pixels, "flat field")
    return corrected


def _fitting(field: float | npt.ArrayLike, pixels: npt.NDArray[Any], what: str) -> Float32Array:
    plane = np.asarray(field, dtype=np.float32)
    if plane.ndim and plane.shape != pixels.shape[-2:]:
        raise AxisMismatchError(
            f"{what}: shape {plane.shape} does not fit planes of {pixels.shape[-2:]}"
        )
    return plane


def estimate_flat_field(
    images: Iterable[npt.ArrayLike],
    *,
    smooth_px: float,
    dark: float | npt.ArrayLike = 0.0,
    quantile: float = 0.5,
    fewest: int = FEWEST_IMAGES,
) -> FlatField:
    """Relative illumination out of many images of different places.

    Parameters
    ----------
    images : iterable of array_like, shape (y, x) or (z, y, x)
        One channel, one place each; planes of a stack count as one image.
    smooth_px : float
        SD of the weights of the smoothing.
    dark : float or array_like, shape (y, x)
        Grey level without light.
    quantile : float, default 0.5
        Of the images at each pixel: low where bright things are rare and the background shines,
        high where things that shine cover most of each image.
    fewest : int
        With fewer images an estimate is refused.

    Returns
    -------
    FlatField

    Raises
    ------
    InputError
        For too few images, one without light above dark, or options out of range.
    AxisMismatchError
        If images differ in size.

    Notes
    -----
    Each image is averaged over planes and over blocks of pixels (96 across), divided by its
    median; the quantile over images of each block is smoothed by local lines. It holds if what is
    in the images lies anywhere with the same chance: cells always put in the middle of the field
    look like light that falls off. Error and bias grow where images share their content.

    Examples
    --------
    >>> light = np.outer([0.5, 1.0, 1.5], np.ones(3))
    >>> found = estimate_flat_field([light * k for k in range(1, 11)], smooth_px=0.2)
    >>> found.field[:, 0].round(2).tolist(), found.n_images
    ([0.5, 1.0, 1.5], 10)
    """
    if not smooth_px > 0 or not 0 < quantile < 1:
        raise InputError(
            f"smooth_px above 0 and a quantile within 0 and 1 are needed, found {smooth_px} and "
            f"{quantile}"
        )
    planes, n_planes, size = [], 0, (0, 0)
    for number, image in enumerate(images):
        pixels = np.asarray(image)
        if number and pixels.shape[-2:] != size:
            raise AxisMismatchError(
                f"image {number + 1}: planes of {pixels.shape[-2:]}, the first has {size}"
            )
        size = (int(pixels.shape[-2]), int(pixels.shape[-1]))
        planes.append(_light_of(pixels, dark, number))
        n_planes += pixels.shape[0] if pixels.ndim == 3 else 1
    if len(planes) < fewest:
        raise InputError(
            f"{len(planes)} images: at least {fewest} of different places are needed to tell light "
            "from what is in them"
        )
    bins = _bins(size)
    sigma = [smooth_px / b for b in bins]
    seen = np.stack(planes)

    def field(of: FloatArray) -> FloatArray:
        smooth = local_linear(np.quantile(of, quantile, axis=0), sigma)
        return np.asarray(smooth / smooth.mean(), dtype=np.float64)

    coarse = field(seen)
    groups = np.arange(len(seen)) % min(_GROUPS, len(seen))
    n = int(groups.max()) + 1
    without = np.stack([field(seen[groups != g]) for g in range(n)])
    spread = np.sqrt((n - 1) / n * np.sum((without - without.mean(axis=0)) ** 2, axis=0))
    fine = on_fine_grid(coarse, bins, size)
    if fine.min() <= 0:
        raise InputError("no light in a part of the field; is the dark level right?")
    error = np.maximum(on_fine_grid(spread, bins, size), 0)
    mean = float(fine.mean())
    return FlatField(
        field=fine / mean,
        standard_error=np.asarray(error / mean, dtype=np.float32),
        n_images=len(seen),
        n_planes=n_planes,
        smooth_px=smooth_px,
    )


def _bins(size: tuple[int, ...]) -> tuple[int, int]:
    return max(1, size[0] // _COARSE_PX), max(1, size[1] // _COARSE_PX)


def _light_of(pixels: npt.NDArray[Any], dark: float | npt.ArrayLike, number: int) -> FloatArray:
    """An image as blocks, over its own median."""
    if pixels.ndim not in (2, 3) or pixels.size == 0:
        raise InputError(f"image {number + 1}: expected (y, x) or (z, y, x), found {pixels.shape}")
    plane = pixels.mean(axis=0, dtype=np.float64) if pixels.ndim == 3 else pixels
    lit = correct_illumination(plane, dark=dark)
    blocks = mean_of_bins(np.ascontiguousarray(lit[None]), (1, *_bins(lit.shape)))[0]
    middle = float(np.median(blocks))
    if not middle > 0:
        raise InputError(
            f"image {number + 1}: no light above the dark level (median {middle:g}); is it right?"
        )
    return np.asarray(blocks.astype(np.float64) / middle)
