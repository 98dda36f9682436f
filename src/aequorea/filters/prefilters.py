"""Filters applied to an image before objects are looked for."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import ndimage

from aequorea.errors import AxisMismatchError, InputError

if TYPE_CHECKING:
    from aequorea.segmentation.parameters import SegmentationParameters

__all__ = ["apply_prefilters", "gaussian", "median", "negative_log"]

FloatImage = npt.NDArray[np.float32]

# Windows of up to this many pixels go through a sorting network, larger ones through scipy.
_LARGEST_NETWORK = 75
# In SD. Cut off at scipy's 4, a Laplacian answers a flat image of 1000 with 0.14 instead of 0.
_LOG_REACH = 6.0


def apply_prefilters(image: npt.ArrayLike, options: SegmentationParameters) -> FloatImage:
    """Apply the chain of prefilters of a channel, in their order.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)
        Real and finite.
    options : SegmentationParameters
        ``prefilters`` and the fields that begin with ``prefilter_``.

    Returns
    -------
    ndarray of float32
        A copy if there are no filters.

    Raises
    ------
    InputError
        If a pixel is NaN or infinite, or a Laplacian has no width.
    AxisMismatchError
        If the image has neither two nor three axes.

    Examples
    --------
    >>> from aequorea.segmentation.parameters import SegmentationParameters
    >>> options = SegmentationParameters(prefilters=("median", "gaussian"))
    >>> apply_prefilters([[1, 1, 1], [1, 9, 1], [1, 1, 1]], options).max()
    np.float32(1.0)
    """
    filtered = _checked(image).copy()
    xy_px, z_px = options.prefilter_sigma_xy_px, options.prefilter_sigma_z_px
    for name in options.prefilters:
        if name == "median":
            filtered = median(
                filtered, xy_px=options.prefilter_median_xy_px, z_px=options.prefilter_median_z_px
            )
        elif name == "gaussian":
            filtered = gaussian(filtered, xy_px=xy_px, z_px=z_px)
        else:
            filtered = negative_log(filtered, xy_px=xy_px, z_px=z_px)
    return filtered


def gaussian(image: npt.ArrayLike, *, xy_px: float, z_px: float | None = None) -> FloatImage:
    """Blur with a Gaussian.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)
    xy_px : float
        SD within planes.
    z_px : float, optional
        SD across planes, as within if not given; a single plane has none.

    Returns
    -------
    ndarray of float32
        The image is mirrored beyond its edges.

    Raises
    ------
    InputError
        If a pixel is NaN or infinite, or a width negative.
    AxisMismatchError
        If the image has neither two nor three axes.

    Examples
    --------
    >>> gaussian([[0, 0, 8, 0, 0]], xy_px=1.0).round(1)
    array([[0.5, 1.9, 3.2, 1.9, 0.5]], dtype=float32)
    """
    pixels = _checked(image)
    return np.asarray(
        ndimage.gaussian_filter(pixels, _widths(pixels, xy_px, z_px, smallest=0)), dtype=np.float32
    )


def negative_log(image: npt.ArrayLike, *, xy_px: float, z_px: float | None = None) -> FloatImage:
    """Laplacian of a Gaussian, negated: bright blobs become positive.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)
    xy_px : float
        SD within planes; blobs of a radius near √2 times it stand out in 2D.
    z_px : float, optional
        SD across planes, as within if not given; 0 filters plane by plane.

    Returns
    -------
    ndarray of float32
        0 where the image is flat. The image is mirrored beyond its edges.

    Raises
    ------
    InputError
        If a pixel is NaN or infinite, a width negative, or ``xy_px`` 0.
    AxisMismatchError
        If the image has neither two nor three axes.

    References
    ----------
    .. [1] Marr & Hildreth (1980), Theory of edge detection. doi:10.1098/rspb.1980.0020

    Examples
    --------
    >>> negative_log([[0, 0, 8, 0, 0]] * 3, xy_px=1.0)[1, 2] > 0
    np.True_
    """
    pixels = _checked(image)
    sigma = _widths(pixels, xy_px, z_px, smallest=0)
    if sigma[-1] == 0:
        raise InputError(
            "log: expected a width above 0 px within planes, found 0; set the radius of the blobs"
        )
    # A second derivative needs a width; along axes without one there is no derivative.
    response = np.zeros(pixels.shape, dtype=np.float32)
    for axis, width in enumerate(sigma):
        if width > 0:
            order = [2 if d == axis else 0 for d in range(pixels.ndim)]
            response -= ndimage.gaussian_filter(pixels, sigma, order=order, truncate=_LOG_REACH)
    return response


def median(image: npt.ArrayLike, *, xy_px: int, z_px: int | None = None) -> FloatImage:
    """Median of the pixels around each pixel.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)
    xy_px : int
        Width of the window within planes. Even windows reach further back than forward, and of
        two middle values take the larger.
    z_px : int, optional
        Its height, as its width if not given; a single plane has none.

    Returns
    -------
    ndarray of float32
        The image is mirrored beyond its edges.

    Raises
    ------
    InputError
        If a pixel is NaN or infinite, or the window is less than a pixel wide.
    AxisMismatchError
        If the image has neither two nor three axes.

    Notes
    -----
    Equal to ``scipy.ndimage.median_filter``. Windows of up to 75 pixels are sorted by a network
    of exchanges [1]_, a row of windows at a time.

    References
    ----------
    .. [1] Batcher (1968), Sorting networks and their applications. doi:10.1145/1468075.1468121

    Examples
    --------
    >>> median([[1, 1, 9, 2, 2]], xy_px=3).tolist()
    [[1.0, 1.0, 2.0, 2.0, 2.0]]
    """
    pixels = _checked(image)
    widths = _widths(pixels, xy_px, z_px, smallest=1)
    if any(width != int(width) for width in widths):
        raise InputError(f"median: expected whole pixels, found {widths}; round them")
    window = [int(width) for width in widths]
    count = int(np.prod(window))
    if count == 1:
        return pixels.copy()
    if count > _LARGEST_NETWORK:
        return np.asarray(ndimage.median_filter(pixels, size=window), dtype=np.float32)
    reach = [(width // 2, width - width // 2 - 1) for width in window]
    padded = np.pad(pixels, reach, mode="symmetric")
    if pixels.ndim == 2:
        padded, window = padded[None], [1, *window]
    offsets = np.array(list(product(*map(range, window))), dtype=np.int64)
    planes = pixels.reshape((-1, *pixels.shape[-2:]))
    filtered: FloatImage = _medians(padded, offsets, _exchanges(count), planes.shape)
    return filtered.reshape(pixels.shape)


def _checked(image: npt.ArrayLike) -> FloatImage:
    pixels = np.asarray(image)
    if pixels.dtype.kind not in "buif":
        raise InputError(
            f"image: expected real numbers, found dtype {pixels.dtype}; give one channel"
        )
    if pixels.ndim not in (2, 3):
        raise AxisMismatchError(
            f"image: expected shape (y, x) or (z, y, x), found {pixels.shape}; give one channel"
        )
    if pixels.size == 0:
        raise InputError(f"image: expected pixels, found shape {pixels.shape}; check the crop")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise InputError("image: expected finite pixels, found NaN or Inf; fill or crop them")
    return np.ascontiguousarray(pixels, dtype=np.float32)


def _widths(
    pixels: FloatImage, xy_px: float, z_px: float | None, *, smallest: int
) -> tuple[float, ...]:
    """Width along each axis: a single plane has none across."""
    across = xy_px if z_px is None else z_px
    for name, value in (("xy_px", xy_px), ("z_px", across)):
        if not np.isfinite(value) or value < smallest:
            raise InputError(f"{name}: expected at least {smallest} px, found {value!r}; widen it")
    if pixels.ndim == 2:
        return (xy_px, xy_px)
    return (smallest if pixels.shape[0] == 1 else across, xy_px, xy_px)


@cache
def _exchanges(n: int) -> npt.NDArray[np.int64]:
    """Compare-and-exchange steps that bring the median of n values to position n // 2."""
    steps = []
    merged = 1
    while merged < n:
        gap = merged
        while gap >= 1:
            steps += [
                (low, low + gap)
                for start in range(gap % merged, n - gap, 2 * gap)
                for low in range(start, min(start + gap, n - gap))
                if low // (2 * merged) == (low + gap) // (2 * merged)
            ]
            gap //= 2
        merged *= 2
    needed, kept = {n // 2}, []
    for low, high in reversed(steps):
        if low in needed or high in needed:
            needed |= {low, high}
            kept.append((low, high))
    return np.array(kept[::-1], dtype=np.int64)


@njit(cache=True, nogil=True)
def _medians(padded, offsets, exchanges, shape):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Median of each window; the windows of a row are sorted side by side."""
    planes, rows, columns = shape
    count = len(offsets)
    filtered = np.empty((planes, rows, columns), np.float32)
    values = np.empty((count, columns), np.float32)
    for z in range(planes):
        for y in range(rows):
            for i in range(count):
                a, b, c = offsets[i]
                values[i] = padded[z + a, y + b, c : c + columns]
            for e in range(len(exchanges)):
                low, high = values[exchanges[e, 0]], values[exchanges[e, 1]]
                for x in range(columns):
                    p, q = low[x], high[x]
                    # Written out: this form becomes one instruction for many pixels.
                    low[x] = p if p < q else q  # noqa: FURB136
                    high[x] = q if p < q else p  # noqa: FURB136
            filtered[z, y] = values[count // 2]
    return filtered
