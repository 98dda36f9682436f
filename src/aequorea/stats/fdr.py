"""Correction of p-values for the number of tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats


def false_discovery_rate(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Rate of false discoveries at which each test would just be called significant.

    Parameters
    ----------
    p_values : array_like
        NaN where there was no test; those do not count.

    Returns
    -------
    ndarray of float64, same shape
        q-values; NaN where there was no test.

    References
    ----------
    .. [1] Benjamini & Hochberg (1995), doi:10.1111/j.2517-6161.1995.tb02031.x

    Examples
    --------
    >>> false_discovery_rate([0.01, float("nan"), 0.04])
    array([0.02,  nan, 0.04])
    """
    p = np.asarray(p_values, dtype=np.float64)
    q = np.full(p.shape, np.nan)
    tested = np.isfinite(p)
    if tested.any():
        q[tested] = stats.false_discovery_control(p[tested], method="bh")
    return q
