"""Which spots have others nearby, on the scale of the point-spread function."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

__all__ = ["apart_from_others"]


def apart_from_others(
    position_px: npt.NDArray[np.float64], reach_px: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Which of n spots have no other within an ellipsoid, its half-axes the median ``reach_px``.

    Examples
    --------
    >>> apart_from_others(np.array([[0.0, 0], [0, 3], [9, 9]]), np.array([[2.0, 4]] * 3))
    array([False, False,  True])
    """
    alone = np.ones(len(position_px), np.bool_)
    if len(position_px) > 1 and np.isfinite(reach_px).any():
        reach = np.nanmedian(reach_px, axis=0)
        pairs = cKDTree(position_px / reach).query_pairs(1.0, output_type="ndarray")
        alone[pairs.reshape(-1)] = False
    return alone
