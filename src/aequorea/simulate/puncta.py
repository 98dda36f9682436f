"""Spots below the resolution, as a pixel of a camera sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.special import erf

from aequorea.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

_REACH_SD = 5.0


def render_puncta(
    canvas: npt.NDArray[np.float32],
    positions_px: npt.ArrayLike,
    photons: npt.ArrayLike,
    sigma_px: Sequence[float],
) -> None:
    """Add spots to an image of expected photons, in place.

    Parameters
    ----------
    canvas : ndarray of float32, shape (z, y, x) or (y, x)
        Expected photons per voxel.
    positions_px : array_like, shape (n, ndim)
        Centres; voxel k reaches from k - 0.5 to k + 0.5.
    photons : array_like, shape (n,)
        Expected photons of a whole spot; what lies outside the image is not seen.
    sigma_px : sequence of float
        Standard deviation of the Gaussian point-spread function along each axis.

    Raises
    ------
    InputError
        If numbers do not fit together, or a width is not positive.

    Notes
    -----
    Each voxel gets the integral of the Gaussian over itself, out to 5 standard deviations.

    Examples
    --------
    >>> canvas = np.zeros((21, 21), np.float32)
    >>> render_puncta(canvas, [[10, 10]], [100.0], [1.0, 1.0])
    >>> round(float(canvas.sum()), 2), round(float(canvas.max()), 2)
    (100.0, 14.66)
    """
    ndim = canvas.ndim
    places = np.asarray(positions_px, dtype=float).reshape(-1, ndim)
    light = np.asarray(photons, dtype=float).reshape(-1)
    sigma = np.asarray(sigma_px, dtype=float)
    if len(light) != len(places):
        raise InputError(f"photons: expected one number per spot ({len(places)}), got {len(light)}")
    if sigma.shape != (ndim,) or not np.all(sigma > 0):
        raise InputError(f"sigma_px: expected {ndim} numbers above 0, got {tuple(sigma_px)}")
    if canvas.dtype != np.float32 or ndim not in (2, 3):
        raise InputError(f"canvas: expected 2D or 3D float32, got {ndim}D {canvas.dtype}")
    volume = canvas if ndim == 3 else canvas[None]
    starts, weights = zip(
        *(_profiles(places[:, k], sigma[k], canvas.shape[k]) for k in range(ndim)), strict=True
    )
    if ndim == 2:
        flat = (np.zeros(len(places), np.int64), np.ones((len(places), 1)))
        starts, weights = (flat[0], *starts), (flat[1], *weights)
    _add(volume, light, starts, weights)


def _profiles(
    centres: npt.NDArray[np.float64], sigma: float, size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """First voxel of each spot along one axis, and its share of light in that and the next ones."""
    reach = int(np.ceil(_REACH_SD * sigma)) + 1
    start = np.rint(centres).astype(np.int64) - reach
    edges = start[:, None] + np.arange(2 * reach + 2) - 0.5
    below = 0.5 * (1 + erf((edges - centres[:, None]) / (np.sqrt(2) * sigma)))
    share = np.diff(below, axis=1)
    voxels = start[:, None] + np.arange(2 * reach + 1)
    share[(voxels < 0) | (voxels >= size)] = 0
    return start, share


@njit(cache=True, nogil=True)
def _add(volume, light, starts, weights):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    z_start, y_start, x_start = starts
    z_share, y_share, x_share = weights
    for n in range(len(light)):
        for i in range(z_share.shape[1]):
            along_z = light[n] * z_share[n, i]
            if along_z == 0:
                continue
            for j in range(y_share.shape[1]):
                along_y = along_z * y_share[n, j]
                if along_y == 0:
                    continue
                for k in range(x_share.shape[1]):
                    if x_share[n, k] > 0:
                        volume[z_start[n] + i, y_start[n] + j, x_start[n] + k] += (
                            along_y * x_share[n, k]
                        )
