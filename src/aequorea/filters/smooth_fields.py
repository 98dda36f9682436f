"""Fields that change slowly over an image: smoothed on a coarse grid, told on the fine one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["local_linear", "on_fine_grid"]

FloatArray = npt.NDArray[np.float64]


def local_linear(plane: npt.ArrayLike, sigma_px: Sequence[float]) -> FloatArray:
    """Smooth a plane by lines fitted about each pixel, with Gaussian weights.

    Parameters
    ----------
    plane : array_like, shape (y, x)
    sigma_px : sequence of float
        SD of the weights along y and x.

    Returns
    -------
    ndarray, shape (y, x)

    Notes
    -----
    Unlike a Gaussian filter it does not flatten a slope at the border: there are no pixels beyond
    it, and none are made up. Curvature is reduced as by the Gaussian.

    Examples
    --------
    >>> slope = np.add.outer(np.arange(9.0), 2 * np.arange(8.0))
    >>> bool(np.allclose(local_linear(slope, (3, 3)), slope))
    True
    """
    values = np.asarray(plane, dtype=np.float64)
    (wy, by), (wx, bx) = (_weights(n, s) for n, s in zip(values.shape, sigma_px, strict=True))

    def moment(p: int, q: int, of: FloatArray) -> FloatArray:
        return np.asarray((wy * by**p) @ of @ (wx * bx**q).T)

    ones = np.ones_like(values)
    normal = np.empty((*values.shape, 3, 3))
    right = np.empty((*values.shape, 3, 1))
    powers = ((0, 0), (1, 0), (0, 1))
    for i, (p, q) in enumerate(powers):
        right[..., i, 0] = moment(p, q, values)
        for j, (r, s) in enumerate(powers):
            normal[..., i, j] = moment(p + r, q + s, ones)
    normal += 1e-13 * np.eye(3)  # an axis of one pixel has no slope
    return np.asarray(np.linalg.solve(normal, right)[..., 0, 0])


def _weights(n: int, sigma: float) -> tuple[FloatArray, FloatArray]:
    """Gaussian weights of every pixel (column) about every pixel (row), and scaled offsets."""
    offset = (np.arange(n)[None, :] - np.arange(n)[:, None]) / max(sigma, 1e-6)
    weights = np.exp(-0.5 * offset**2)
    return weights / weights.sum(axis=1, keepdims=True), offset


def on_fine_grid(
    coarse: npt.ArrayLike, bins: Sequence[int], shape: Sequence[int]
) -> npt.NDArray[np.float32]:
    """Values of blocks of pixels on the pixels: linear between centres, and on to the border.

    Parameters
    ----------
    coarse : array_like, shape (..., ⌈y/b⌉, ⌈x/b⌉)
    bins : sequence of int
        Pixels per block along y and x.
    shape : sequence of int
        (y, x) of the fine grid.

    Returns
    -------
    ndarray of float32, shape (..., y, x)

    Examples
    --------
    >>> on_fine_grid([[1.0, 3.0]], (1, 2), (1, 4)).tolist()
    [[0.5, 1.5, 2.5, 3.5]]
    """
    values = np.asarray(coarse, dtype=np.float32)
    rows, columns = (
        _between_blocks(n, b, m) for n, b, m in zip(shape, bins, values.shape[-2:], strict=True)
    )
    return np.asarray(rows @ values @ columns.T, dtype=np.float32)


def _between_blocks(n: int, size: int, n_blocks: int) -> npt.NDArray[np.float32]:
    """Weights of blocks for each pixel; the last block may be narrower than the others."""
    weights = np.zeros((n, n_blocks), np.float32)
    if n_blocks == 1:
        weights[:] = 1
        return weights
    first = np.arange(n_blocks) * size
    centre = (first + np.minimum(first + size, n) - 1) / 2
    low = np.clip(np.searchsorted(centre, np.arange(n), side="right") - 1, 0, n_blocks - 2)
    share = (np.arange(n) - centre[low]) / (centre[low + 1] - centre[low])
    weights[np.arange(n), low] = 1 - share
    weights[np.arange(n), low + 1] = share
    return weights


def opened(coarse: npt.NDArray[Any], radius_px: float) -> npt.NDArray[Any]:
    """Grey opening of each plane by a disc: bright things narrower than it are gone.

    Examples
    --------
    >>> opened(np.array([[[1.0, 1, 9, 1, 1]]]), 1.0).tolist()
    [[[1.0, 1.0, 1.0, 1.0, 1.0]]]
    """
    reach = max(1, round(radius_px))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (y**2 + x**2 <= radius_px**2)[None]
    return np.asarray(ndimage.grey_opening(coarse, footprint=disc, mode="nearest"))
