"""The pair of channels that every diagnostic looks at: same shape, numeric, finite where used."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from aequorea.errors import AxisMismatchError, InputError

__all__ = ["ChannelPair", "channel_pair", "numeric_image", "region_of"]


class ChannelPair(NamedTuple):
    """Two images of one shape and, if a region was given, its boolean mask."""

    a: npt.NDArray[Any]
    b: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_] | None

    def values(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Intensities of both channels in the region, flattened."""
        if self.mask is None:
            return self.a.reshape(-1), self.b.reshape(-1)
        return self.a[self.mask], self.b[self.mask]


def numeric_image(image: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """``image`` as a non-empty array of booleans, integers or real numbers.

    Raises
    ------
    InputError
        If it is empty, a scalar, complex, or not numeric.
    """
    array = np.asarray(image)
    if array.dtype.kind not in "buif":
        raise InputError(
            f"{name}: expected real numbers, found dtype {array.dtype}; convert the image first"
        )
    if array.ndim == 0 or array.size == 0:
        raise InputError(
            f"{name}: expected an image with pixels, found shape {array.shape}; "
            "check how it was read or cropped"
        )
    return array


def region_of(
    mask: npt.ArrayLike | None, shape: tuple[int, ...], *, minimum: int = 2
) -> npt.NDArray[np.bool_] | None:
    """Boolean mask (non-zero = inside) of the wanted shape, with at least ``minimum`` pixels.

    Raises
    ------
    AxisMismatchError
        If the mask has another shape than the image.
    InputError
        If fewer than ``minimum`` pixels are inside.
    """
    if mask is None:
        n_inside = int(np.prod(shape))
        inside = None
    else:
        inside = np.asarray(mask)
        if inside.dtype.kind not in "buif":
            raise InputError(f"mask: expected booleans or labels, found dtype {inside.dtype}")
        inside = inside if inside.dtype == np.bool_ else inside != 0
        if inside.shape != shape:
            raise AxisMismatchError(
                f"mask: expected the images' shape {shape}, found {inside.shape}; "
                "draw or resample the mask on the same pixels"
            )
        n_inside = int(np.count_nonzero(inside))
    if n_inside < minimum:
        raise InputError(
            f"region: expected at least {minimum} pixels, found {n_inside}; choose a larger region"
        )
    return inside


def channel_pair(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    mask: npt.ArrayLike | None = None,
    *,
    finite_everywhere: bool = False,
    varying: bool = True,
) -> ChannelPair:
    """Check two channels and their region once, so that kernels need not.

    Parameters
    ----------
    a, b : array_like
        Same-shape intensity images.
    mask : array_like, optional
        Non-zero where pixels count.
    finite_everywhere : bool, default False
        Ask for finite pixels outside the region too (needed where pixels move).
    varying : bool, default True
        Ask that both channels vary inside the region.

    Returns
    -------
    ChannelPair

    Raises
    ------
    AxisMismatchError
        If shapes differ.
    InputError
        If an image is empty, not numeric, has NaN or Inf where it is used, has fewer than two
        pixels in the region or (with ``varying``) is constant there.

    Examples
    --------
    >>> channel_pair([[1, 2]], [[3, 4]]).a.shape
    (1, 2)
    """
    image_a, image_b = numeric_image(a, "channel a"), numeric_image(b, "channel b")
    if image_a.shape != image_b.shape:
        raise AxisMismatchError(
            f"shape mismatch: channel a is {image_a.shape}, channel b is {image_b.shape}; "
            "give two images of the same field"
        )
    pair = ChannelPair(image_a, image_b, region_of(mask, image_a.shape))
    used = (image_a, image_b) if finite_everywhere else pair.values()
    for name, pixels in zip(("channel a", "channel b"), used, strict=True):
        _require_finite(pixels, name)
    if varying:
        for name, pixels in zip(("channel a", "channel b"), pair.values(), strict=True):
            if pixels.min() == pixels.max():
                raise InputError(
                    f"{name}: expected intensities that vary in the region, "
                    f"found {pixels.flat[0]} everywhere; a correlation is undefined"
                )
    return pair


def _require_finite(pixels: npt.NDArray[Any], name: str) -> None:
    if pixels.dtype.kind != "f":
        return
    n_bad = int(pixels.size - np.count_nonzero(np.isfinite(pixels)))
    if n_bad:
        raise InputError(
            f"{name}: expected finite intensities, found {n_bad} NaN or infinite pixels; "
            "mask them out or replace them"
        )
