"""How the light of each channel changes with depth, and what a correction would multiply by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["DEPTH_COLUMNS", "FIT_COLUMNS", "depth_of", "depth_tables", "factor_at"]

DEPTH_COLUMNS = ("role", "channel", "z_um", "mean_in_cells", "fit", "n_voxels")
FIT_COLUMNS = (
    "role", "channel", "first_um", "half_depth_um", "half_depth_low_um", "half_depth_high_um",
    "slope_per_um", "n_planes", "reason",
)  # fmt: skip
_FEWEST = 4
_SHARE = 0.1  # planes with fewer voxels of cells than this of the fullest one tell little


def depth_of(
    image: NDArray[Any], cells: NDArray[np.integer[Any]], dz_um: float
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Mean in cells above what is outside them, plane by plane, with a fit of an exponential.

    Parameters
    ----------
    image : ndarray, shape (z, y, x)
    cells : ndarray of int32, shape (z, y, x)
    dz_um : float, µm

    Returns
    -------
    table : DataFrame
        ``fit`` is NaN where the plane was not used, or there is no fit.
    fit : dict
        ``half_depth_um`` is that in which half of the light is lost, with its 95 % limits; infinite
        where light does not fade.
    """
    depth = len(image)
    inside, outside, n = np.full(depth, np.nan), np.full(depth, np.nan), np.zeros(depth, np.int64)
    for z in range(depth):
        own = cells[z] > 0
        n[z] = np.count_nonzero(own)
        if n[z]:
            inside[z] = float(np.mean(image[z][own], dtype=np.float64))
        if n[z] < own.size:
            outside[z] = float(np.median(image[z][~own]))
    level = float(np.nanmedian(outside)) if np.isfinite(outside).any() else 0.0
    mean = inside - level
    at = np.arange(depth) * dz_um
    used = (n > _SHARE * n.max(initial=0)) & (mean > 0)
    fit: dict[str, Any] = {"n_planes": int(used.sum()), "reason": ""}
    curve = np.full(depth, np.nan)
    if used.sum() < _FEWEST:
        fit["reason"] = f"fewer than {_FEWEST} planes with cells that are brighter than around them"
    else:
        line = stats.theilslopes(np.log(mean[used]), at[used])
        curve[used] = np.exp(line.intercept + line.slope * at[used])
        fit |= {
            "first_um": float(at[used][0]),
            "slope_per_um": float(line.slope),
            "half_depth_um": _half(line.slope),
            "half_depth_low_um": _half(line.low_slope),
            "half_depth_high_um": _half(line.high_slope),
        }
    table = pd.DataFrame({"z_um": at, "mean_in_cells": mean, "fit": curve, "n_voxels": n})
    return table, fit


def _half(slope: float) -> float:
    return float(np.log(2) / -slope) if slope < 0 else float("inf")


def depth_tables(
    images: Mapping[str, Any],
    names: Mapping[str, str],
    labels: Mapping[str, NDArray[np.integer[Any]]],
    dz_um: float,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables ``depth`` and ``depth_fits`` of all channels; ``images`` makes each when asked.

    The stain of nuclei is measured in nuclei, all others in cells.
    """
    curves, fits = [], []
    for role, make in images.items():
        head = {"role": role, "channel": names[role]}
        table, fit = depth_of(make(role), labels["nuclei" if role == "nuclei" else "cells"], dz_um)
        curves.append(table.assign(**head)[list(DEPTH_COLUMNS)])
        fits.append({**head, **fit})
    return pd.concat(curves, ignore_index=True), pd.DataFrame(fits, columns=list(FIT_COLUMNS))


def factor_at(fits: pd.DataFrame, role: str, z_um: NDArray[np.float64]) -> NDArray[np.float64]:
    """What light at depth is multiplied by to be as in the first plane with cells; 1 without fit.

    Nothing is done where the limits of the fit allow that light does not fade.
    """
    own = fits[fits["role"] == role].iloc[0]
    slope = float(own["slope_per_um"])
    if not np.isfinite(float(own["half_depth_high_um"])):
        return np.ones(len(z_um))
    return np.asarray(np.exp(-slope * np.maximum(z_um - float(own["first_um"]), 0.0)))
