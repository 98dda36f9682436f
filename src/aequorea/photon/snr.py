"""What photons allow: signal over noise, and how surely a spike can be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aequorea.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def photon_snr(photons: ArrayLike) -> NDArray[np.float64]:
    """Signal over noise of a number of photons: its square root.

    Parameters
    ----------
    photons : array-like
        Equivalent photons of a measurement; of a sum over pixels and frames, their sum.

    Returns
    -------
    ndarray
        0 where there are none or fewer.
    """
    return np.sqrt(np.maximum(np.asarray(photons, dtype=np.float64), 0))


def spike_detectability(
    photons_per_s: ArrayLike, peak_dff: ArrayLike, decay_time_s: ArrayLike
) -> NDArray[np.float64]:
    """d′ of a single spike against none, for the best detector there is.

    A transient ``F0 (1 + A exp(-t / tau))`` in photon noise of the baseline:
    ``d' = A sqrt(F0 tau / 2)``.

    Parameters
    ----------
    photons_per_s : array-like
        Baseline of the cell: equivalent photons per second over all of its pixels.
    peak_dff : array-like
        Height of the transient over the baseline.
    decay_time_s : array-like
        Time in which it falls to 1/e.

    Returns
    -------
    ndarray
        In SD of the noise; at 3, with as many chances of a false alarm as of a miss, 7 % go wrong.

    Raises
    ------
    InputError
        For a negative rate or time.

    References
    ----------
    .. [1] B. A. Wilt et al., Biophys. J. 104, 51 (2013), doi:10.1016/j.bpj.2012.07.058

    Examples
    --------
    >>> float(spike_detectability(2000.0, 0.2, 1.0).round(2))
    6.32
    """
    rate = np.asarray(photons_per_s, dtype=np.float64)
    decay = np.asarray(decay_time_s, dtype=np.float64)
    if (rate < 0).any() or (decay < 0).any():
        raise InputError("photons per second and decay time are not negative")
    found: NDArray[np.float64] = np.asarray(peak_dff, dtype=np.float64) * np.sqrt(rate * decay / 2)
    return found
