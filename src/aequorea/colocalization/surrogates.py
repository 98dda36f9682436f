"""Random images with the texture of a real one and no memory of its partner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

if TYPE_CHECKING:
    from numpy.typing import NDArray


def random_phase_correlations(
    a: NDArray[Any], b: NDArray[Any], *, n_surrogates: int, rng: np.random.Generator
) -> tuple[float, NDArray[np.float64]]:
    """Correlation of a with b, and with images that have b's spectrum and random phases.

    Parameters
    ----------
    a, b : ndarray, shape (z, y, x)
        Whole rectangles; planes keep their order, phases are drawn alike for all planes.
    n_surrogates : int
    rng : numpy.random.Generator

    Returns
    -------
    observed : float
        Correlation of the periodic components.
    null : ndarray, shape (n_surrogates,)

    Notes
    -----
    A rectangle is not periodic, and the jump across its borders leaks into the spectrum.
    The periodic component is therefore taken first [1]_. The surrogates are never formed: the
    correlation is a sum over frequencies.

    References
    ----------
    .. [1] Moisan (2011) J. Math. Imaging Vis. 39:161, doi:10.1007/s10851-010-0227-1
    .. [2] Theiler et al. (1992) Physica D 58:77, doi:10.1016/0167-2789(92)90102-S
    """
    fa, fb = (_periodic_spectrum(x) for x in (a, b))
    cross = (fa.conj() * fb).sum(axis=0)
    weight = np.full(cross.shape, 2.0)
    weight[:, 0] = 1
    if a.shape[2] % 2 == 0:
        weight[:, -1] = 1
    norm = np.sqrt((weight * np.abs(fa) ** 2).sum() * (weight * np.abs(fb) ** 2).sum())
    if norm == 0:
        return float("nan"), np.full(n_surrogates, np.nan)
    terms = weight * cross / norm
    null = np.empty(n_surrogates)
    for k in range(n_surrogates):
        phases = fft.rfftn(rng.standard_normal(a.shape[1:]))
        magnitude = np.abs(phases)
        phases = np.divide(phases, magnitude, out=np.ones_like(phases), where=magnitude > 0)
        null[k] = float((terms * phases).real.sum())
    return float(terms.real.sum()), null


def _periodic_spectrum(stack: NDArray[Any]) -> NDArray[np.complex128]:
    """Spectrum of each plane's periodic component, without its mean."""
    planes = stack.astype(np.float64)
    n, m = planes.shape[1:]
    jump = np.zeros_like(planes)
    across_y = planes[:, -1, :] - planes[:, 0, :]
    across_x = planes[:, :, -1] - planes[:, :, 0]
    jump[:, 0, :] += across_y
    jump[:, -1, :] -= across_y
    jump[:, :, 0] += across_x
    jump[:, :, -1] -= across_x
    ky = 2 * np.cos(2 * np.pi * np.arange(n) / n)[:, None]
    kx = 2 * np.cos(2 * np.pi * np.arange(m // 2 + 1) / m)[None, :]
    laplacian = ky + kx - 4
    laplacian[0, 0] = 1
    spectrum = fft.rfftn(planes, axes=(1, 2)) - fft.rfftn(jump, axes=(1, 2)) / laplacian
    spectrum[:, 0, 0] = 0
    return np.asarray(spectrum)
