"""Where a curved edge lies that blur has moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from aequorea.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["plus_operator"]

BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]


def plus_operator(
    image: npt.ArrayLike, where: BoolArray, *, spacing_um: Sequence[float]
) -> Float32Array:
    """Second derivative along the gradient plus the Laplacian: negative on the bright side.

    Blur draws a convex outline inwards, by about σ²(1/r₁ + 1/r₂)/2 for radii of curvature r. The
    second derivative along the gradient is zero on the moved outline, the Laplacian as far beyond
    the true one; their sum is zero on the true one, to first order in σ/r.

    Parameters
    ----------
    image : array_like, shape (z, y, x)
        Smooth: at least a voxel of Gaussian blur along each axis.
    where : ndarray of bool, same shape
        Voxels it is computed at.
    spacing_um : sequence of float, µm
        Distance between voxel centres along z, y, x.

    Returns
    -------
    ndarray of float32, shape (n,)
        Grey levels per µm², of the voxels of ``where`` in the order of ``numpy.nonzero``. Beyond
        the border the image goes on as its last voxel. Without a gradient, the mean of all
        directions stands for the one along it.

    Raises
    ------
    InputError
        If the shapes differ, or a spacing is not a length.

    References
    ----------
    .. [1] Verbeek & van Vliet (1994), IEEE Trans Pattern Anal 16:726. doi:10.1109/34.297954

    Examples
    --------
    >>> edge = np.array([[[8.0, 8.0, 7.0, 3.0, 2.0, 2.0]]])
    >>> (plus_operator(edge, edge > 0, spacing_um=(1, 1, 1)) < 0).astype(int)
    array([0, 1, 1, 0, 0, 0])
    """
    stack = np.ascontiguousarray(image, dtype=np.float32)
    steps = np.asarray(spacing_um, dtype=np.float64)
    if stack.ndim != 3 or where.shape != stack.shape:
        raise InputError(
            f"where: expected the shape of the stack, found {where.shape} for {stack.shape}"
        )
    if steps.shape != (3,) or not (np.isfinite(steps) & (steps > 0)).all():
        raise InputError(f"spacing_um: expected three lengths above 0, got {tuple(spacing_um)}")
    values = np.empty(np.count_nonzero(where), np.float32)
    _plus(stack, np.flatnonzero(where), steps, values)
    return values


@njit(cache=True, nogil=True, parallel=True)
def _plus(
    image: Float32Array,
    places: npt.NDArray[np.int64],
    steps: npt.NDArray[np.float64],
    out: Float32Array,
) -> None:
    depth, height, width = image.shape
    for k in prange(len(places)):
        z, rest = divmod(places[k], height * width)
        y, x = divmod(rest, width)
        zs = (max(z - 1, 0), min(z + 1, depth - 1))
        ys = (max(y - 1, 0), min(y + 1, height - 1))
        xs = (max(x - 1, 0), min(x + 1, width - 1))
        here = 2.0 * image[z, y, x]
        gz = (image[zs[1], y, x] - image[zs[0], y, x]) / (2 * steps[0])
        gy = (image[z, ys[1], x] - image[z, ys[0], x]) / (2 * steps[1])
        gx = (image[z, y, xs[1]] - image[z, y, xs[0]]) / (2 * steps[2])
        zz = (image[zs[1], y, x] + image[zs[0], y, x] - here) / steps[0] ** 2
        yy = (image[z, ys[1], x] + image[z, ys[0], x] - here) / steps[1] ** 2
        xx = (image[z, y, xs[1]] + image[z, y, xs[0]] - here) / steps[2] ** 2
        zy = (image[zs[1], ys[1], x] - image[zs[1], ys[0], x]) - (
            image[zs[0], ys[1], x] - image[zs[0], ys[0], x]
        )
        zx = (image[zs[1], y, xs[1]] - image[zs[1], y, xs[0]]) - (
            image[zs[0], y, xs[1]] - image[zs[0], y, xs[0]]
        )
        yx = (image[z, ys[1], xs[1]] - image[z, ys[1], xs[0]]) - (
            image[z, ys[0], xs[1]] - image[z, ys[0], xs[0]]
        )
        laplacian = zz + yy + xx
        steepness = gz * gz + gy * gy + gx * gx
        if steepness > 0:
            along = gz * gz * zz + gy * gy * yy + gx * gx * xx
            along += gz * gy * zy / (2 * steps[0] * steps[1])
            along += gz * gx * zx / (2 * steps[0] * steps[2])
            along += gy * gx * yx / (2 * steps[1] * steps[2])
            out[k] = laplacian + along / steepness
        else:
            out[k] = laplacian * (1 + 1 / 3)
