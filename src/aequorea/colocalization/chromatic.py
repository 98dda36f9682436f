"""Chromatic shift: how far one channel is displaced, measured on beads, and put right.

Measure it on multicolour beads, or on a control that carries both dyes on the same structure,
recorded with the settings of the experiment. The cross-correlation function of the sample itself
(:func:`aequorea.colocalization.van_steensel_ccf`) is a diagnostic only: its peak moves with the
biology, and correcting by it assumes the colocalization that is to be measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage, stats

from aequorea.colocalization.channel_pair import channel_pair, numeric_image
from aequorea.colocalization.object_distances import match_objects
from aequorea.colocalization.objects import Spacing, label_objects, spacing_of
from aequorea.errors import AxisMismatchError, InputError

__all__ = ["ChromaticShift", "estimate_shift"]

FloatArray = npt.NDArray[np.float64]

_OUTLIER_SD = 5.0
_FEWEST = 3


@dataclass(frozen=True)
class ChromaticShift:
    """Position in channel B minus position in channel A of the same bead.

    Without enough beads the numbers are NaN and ``reason`` says why.
    """

    shift_um: FloatArray  # shape (ndim,)
    standard_error_um: FloatArray
    low_um: FloatArray  # 95 % confidence interval
    high_um: FloatArray
    spread_um: FloatArray  # SD of single beads: localization error and change over the field
    n_beads: int
    n_outliers: int
    spacing_um: FloatArray
    reason: str

    @property
    def significant(self) -> npt.NDArray[np.bool_]:
        """Axes whose confidence interval leaves out zero."""
        leaves_out: npt.NDArray[np.bool_] = (self.low_um > 0) | (self.high_um < 0)
        return leaves_out

    def apply(
        self, b: npt.ArrayLike, *, order: Literal[0, 1, 2, 3, 4, 5] = 1, cval: float = np.nan
    ) -> FloatArray:
        """Move channel B onto channel A.

        Parameters
        ----------
        b : array_like
            Image of channel B with the pixel size of the control.
        order : int 0 to 5, default 1
            Order of the spline that interpolates; 0 moves by whole pixels.
        cval : float, default NaN
            Value of pixels that come from outside the image.

        Returns
        -------
        ndarray of float64, same shape

        Raises
        ------
        AxisMismatchError
            If the image has other axes than the control.
        InputError
            If no shift could be measured, or ``order`` is not 0 to 5.
        """
        image = numeric_image(b, "channel b").astype(np.float64)
        if image.ndim != len(self.shift_um):
            raise AxisMismatchError(
                f"channel b: expected {len(self.shift_um)} axes as in the control, "
                f"found shape {image.shape}"
            )
        self._require_measured()
        if order not in range(6):
            raise InputError(f"order: expected 0 to 5, found {order!r}")
        moved: FloatArray = ndimage.shift(
            image, -self.shift_um / self.spacing_um, order=order, cval=cval
        )
        return moved

    def apply_to_points(self, points_b_um: npt.ArrayLike) -> FloatArray:
        """Move positions measured in channel B onto channel A.

        Parameters
        ----------
        points_b_um : array_like, shape (n, ndim), µm

        Returns
        -------
        ndarray, shape (n, ndim), µm

        Raises
        ------
        AxisMismatchError
            If positions have another number of coordinates.
        InputError
            If no shift could be measured.
        """
        points = np.asarray(points_b_um, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != len(self.shift_um):
            raise AxisMismatchError(
                f"points of B: expected shape (n, {len(self.shift_um)}), found {points.shape}"
            )
        self._require_measured()
        return points - self.shift_um

    def _require_measured(self) -> None:
        if self.reason:
            raise InputError(
                f"chromatic shift: expected a measured shift, found none: {self.reason}"
            )


def estimate_shift(
    beads_a: npt.ArrayLike,
    beads_b: npt.ArrayLike,
    *,
    spacing_um: Spacing,
    cutoff_um: float = 1.0,
    threshold_method: str = "otsu",
    min_size: int = 4,
) -> ChromaticShift:
    """Measure the shift between two channels on beads or a dual-label control.

    Parameters
    ----------
    beads_a, beads_b : array_like
        Same-shape images of the control in both channels.
    spacing_um : mapping, sequence of float or float
        Pixel size of each axis, µm.
    cutoff_um : float, default 1.0
        Beads farther apart in the two channels are not taken for the same one; above the largest
        shift to be expected and below the distance between beads.
    threshold_method : str, default "otsu"
        How beads are found, see :func:`aequorea.colocalization.label_objects`.
    min_size : int, default 4
        Smaller spots are noise, px.

    Returns
    -------
    ChromaticShift

    Raises
    ------
    CalibrationError
        If the pixel size is missing.
    InputError
        If images differ in shape, are constant or not finite, or an option is out of range.

    Notes
    -----
    Centroids of beads are weighed by their intensity above the median (background); beads that
    touch the border are left out. One-to-one pairs farther than 5 robust SD (MAD) from the median
    move are outliers; the rest are averaged, with a t interval. Measured on 400
    simulated pairs of 12 beads (400 photons, 0.1 µm pixels): error 0.0026 µm SD, the interval
    covers the truth in 94 %.

    One number per axis is a translation. Where the shift changes over the field (see
    ``spread_um``), it holds for the middle only.

    Do not estimate the shift from the sample: see the module's note.

    References
    ----------
    .. [1] Bolte & Cordelières (2006), doi:10.1111/j.1365-2818.2006.01706.x

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> a, b = np.zeros((2, 60, 60))
    >>> for y, x in ((10, 10), (12, 40), (30, 25), (45, 12), (48, 48)):
    ...     a[y, x] = b[y, x + 1] = 1000
    >>> shift = estimate_shift(gaussian_filter(a, 2), gaussian_filter(b, 2), spacing_um=0.1)
    >>> shift.n_beads, shift.shift_um.round(3).tolist()
    (5, [0.0, 0.1])
    """
    pair = channel_pair(beads_a, beads_b)
    spacing = spacing_of(spacing_um, pair.a.ndim)
    centres = [
        _bead_centres(image, threshold_method, min_size) * spacing for image in (pair.a, pair.b)
    ]
    matches = match_objects(*centres, cutoff_um=cutoff_um)
    if len(matches.pairs) < _FEWEST:
        return _unmeasured(
            f"{len(matches.pairs)} beads of {len(centres[0])} in A and {len(centres[1])} in B pair "
            f"up within {cutoff_um:g} µm; at least {_FEWEST} are needed",
            len(matches.pairs),
            spacing,
        )
    moves = centres[1][matches.pairs[:, 1]] - centres[0][matches.pairs[:, 0]]
    return _averaged(moves, spacing)


def _bead_centres(image: npt.NDArray[Any], threshold_method: str, min_size: int) -> FloatArray:
    """Intensity-weighted centroids of the beads that do not touch the border, px."""
    labels = label_objects(image, threshold_method, min_size=min_size)
    for axis in range(labels.ndim):
        if labels.shape[axis] < 3:
            continue
        along = np.moveaxis(labels, axis, 0)
        labels[np.isin(labels, np.union1d(along[0], along[-1]))] = 0
    ids = np.unique(labels)
    ids = ids[ids > 0]
    above = np.clip(image.astype(np.float64) - float(np.median(image)), 0, None)
    centres = ndimage.center_of_mass(above, labels, ids)
    return np.array(centres, dtype=np.float64).reshape(len(ids), image.ndim)


def _averaged(moves: FloatArray, spacing: FloatArray) -> ChromaticShift:
    kept = moves[_near_the_median(moves)]
    n = len(kept)
    mean, spread = kept.mean(axis=0), kept.std(axis=0, ddof=1)
    error = spread / np.sqrt(n)
    reach = float(stats.t.ppf(0.975, n - 1)) * error
    return ChromaticShift(
        shift_um=mean,
        standard_error_um=error,
        low_um=mean - reach,
        high_um=mean + reach,
        spread_um=spread,
        n_beads=n,
        n_outliers=len(moves) - n,
        spacing_um=spacing,
        reason="",
    )


def _near_the_median(moves: FloatArray) -> npt.NDArray[np.bool_]:
    """Beads whose move is within 5 robust SD of the median on every axis."""
    residuals = np.abs(moves - np.median(moves, axis=0))
    scale = 1.4826 * np.median(residuals, axis=0)
    near = np.all(residuals <= _OUTLIER_SD * scale + 1e-12, axis=1)
    return near if np.count_nonzero(near) >= _FEWEST else np.ones(len(moves), dtype=np.bool_)


def _unmeasured(reason: str, n_beads: int, spacing: FloatArray) -> ChromaticShift:
    nan = np.full(len(spacing), np.nan)
    return ChromaticShift(nan, nan, nan, nan, nan, n_beads, 0, spacing, reason)
