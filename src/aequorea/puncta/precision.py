"""How precisely a spot can be located and measured at best."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from aequorea.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PrecisionBound", "crlb"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class PrecisionBound:
    """Smallest standard errors of estimates without bias.

    Attributes
    ----------
    position_px : ndarray, shape (ndim,), px
    photons : float
    background_photons : float
        Per voxel.
    sigma_px : ndarray, shape (ndim,), px
        Of the widths, y and x having one in common; NaN where the width is known.
    """

    position_px: FloatArray
    photons: float
    background_photons: float
    sigma_px: FloatArray


def crlb(
    photons: float,
    *,
    sigma_px: Sequence[float],
    background_photons: float = 0.0,
    read_noise_photons: float = 0.0,
    position_px: npt.ArrayLike | None = None,
    shape: Sequence[int] | None = None,
    fit_width: bool = False,
) -> PrecisionBound:
    """Cramér–Rao lower bound for one spot on a constant background that is not known.

    Parameters
    ----------
    photons : float
        Expected photons of the whole spot.
    sigma_px : sequence of float, px
        Standard deviation of the point-spread function along (z, y, x) or (y, x).
    background_photons : float, default 0
        Expected per voxel.
    read_noise_photons : float, default 0
        Standard deviation of the camera's noise.
    position_px : array_like, shape (ndim,), optional
        Centre of the spot; voxel k reaches from k - 0.5 to k + 0.5. By default the middle.
    shape : sequence of int, optional
        Voxels that are seen; by default all within 5 standard deviations.
    fit_width : bool, default False
        Whether the width is estimated too: one along z and one in the plane.

    Returns
    -------
    PrecisionBound

    Raises
    ------
    InputError
        If a number is out of range, or so few voxels are seen that the spot is not determined.

    Notes
    -----
    Read noise counts as more Poisson noise of the same variance [2]_, which understates the
    information a little where there are few photons per voxel.

    References
    ----------
    .. [1] Smith et al. (2010), Fast, single-molecule localization that achieves theoretically
       minimum uncertainty. doi:10.1038/nmeth.1449
    .. [2] Huang et al. (2013), Video-rate nanoscopy using sCMOS camera-specific single-molecule
       localization algorithms. doi:10.1038/nmeth.2488

    Examples
    --------
    Without background and with small pixels: the width over the root of the photons.

    >>> bound = crlb(400.0, sigma_px=(6.0, 6.0))
    >>> bound.position_px.round(2), round(bound.photons, 1)
    (array([0.3, 0.3]), 20.0)
    """
    sigma = np.asarray(sigma_px, dtype=float)
    ndim = len(sigma)
    if sigma.shape not in ((2,), (3,)) or not np.all(sigma > 0) or not np.isfinite(sigma).all():
        raise InputError(f"sigma_px: expected 2 or 3 numbers above 0, found {tuple(sigma_px)}")
    if not (photons > 0 and background_photons >= 0 and read_noise_photons >= 0):
        raise InputError(
            "expected photons above 0 and background and read noise of at least 0, found "
            f"{photons}, {background_photons} and {read_noise_photons}"
        )
    size = 2 * np.ceil(5 * sigma).astype(int) + 1 if shape is None else np.asarray(shape)
    centre = (size - 1) / 2 if position_px is None else np.asarray(position_px, dtype=float)
    if size.shape != (ndim,) or centre.shape != (ndim,):
        raise InputError(
            f"shape, position_px: expected {ndim} numbers each, found {shape!r}, {position_px!r}"
        )
    axes = [_profile(centre[d], sigma[d], int(size[d])) for d in range(ndim)]
    share = [axis[0] for axis in axes]
    derivatives = [_outer(share)]
    derivatives += [photons * _outer(_replaced(share, d, axes[d][1])) for d in range(ndim)]
    derivatives.append(np.ones(derivatives[0].shape))
    if fit_width:
        by_width = [photons * _outer(_replaced(share, d, axes[d][2])) for d in range(ndim)]
        derivatives.extend(by_width[:-2])
        derivatives.append(by_width[-2] + by_width[-1] * sigma[-1] / sigma[-2])
    variance = photons * derivatives[0] + background_photons + read_noise_photons**2
    seen = variance > 0
    rows = np.array([derivative[seen] for derivative in derivatives])
    information = (rows / variance[seen]) @ rows.T
    diagonal = np.diag(information)
    if not np.all(diagonal > 0):
        raise InputError(f"shape: expected enough voxels around the spot, found {tuple(size)}")
    scale = 1 / np.sqrt(diagonal)
    scaled = information * np.outer(scale, scale)
    if not np.isfinite(scaled).all() or np.linalg.cond(scaled) > 1e12:
        raise InputError(f"shape: expected enough voxels around the spot, found {tuple(size)}")
    error = scale * np.sqrt(np.diag(np.linalg.inv(scaled)))
    widths = np.full(ndim, np.nan)
    if fit_width:
        widths[:] = [*error[ndim + 2 :], error[-1] * sigma[-1] / sigma[-2]]
    return PrecisionBound(
        position_px=error[1 : ndim + 1],
        photons=float(error[0]),
        background_photons=float(error[ndim + 1]),
        sigma_px=widths,
    )


def _profile(centre: float, sigma: float, size: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Share of the light in each voxel along an axis; its derivatives by centre and width."""
    u = (np.arange(size + 1) - 0.5 - centre) / sigma
    height = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    return np.diff(ndtr(u)), -np.diff(height) / sigma, -np.diff(u * height) / sigma


def _outer(axes: Sequence[FloatArray]) -> FloatArray:
    return reduce(np.multiply.outer, axes)


def _replaced(axes: Sequence[FloatArray], d: int, axis: FloatArray) -> list[FloatArray]:
    return [*axes[:d], axis, *axes[d + 1 :]]
