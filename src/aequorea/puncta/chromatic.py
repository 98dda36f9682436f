"""Displacement between channels, measured on beads to a fraction of a pixel, with errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.spatial import cKDTree

from aequorea.colocalization.object_distances import match_objects
from aequorea.errors import AxisMismatchError, InputError
from aequorea.puncta.detection import find_candidates, select
from aequorea.puncta.fit import fit_puncta

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BeadShift", "bead_positions", "bead_shift"]

FloatArray = npt.NDArray[np.float64]

FEWEST_BEADS = 5
_FEWEST_FOR_SCALE = 20
_SCALE_P = 1e-3  # of the F test that asks for magnification and rotation
_OUTLIER_SD = 5.0
_DIM = 0.15  # of a typical bead's height: dimmer maxima are rings and dust


@dataclass(frozen=True, eq=False, kw_only=True)
class BeadShift:
    """Where a channel shows a bead minus where the reference shows it.

    Within planes the displacement at ``p`` is ``shift + [[m, -r], [r, m]] (p - centre)``.

    Attributes
    ----------
    shift_um : ndarray, shape (3,), µm
        Along z, y, x, at ``centre_um``.
    standard_error_um : ndarray, shape (3,), µm
    residual_rms_um : ndarray, shape (3,), µm
        Of single beads.
    magnification, rotation_rad : float
        m and r; 0 where the beads do not ask for them.
    has_scale : bool
        Whether magnification and rotation were fitted.
    centre_um : ndarray, shape (3,), µm
    n_beads, n_outliers : int
    place_um, residual_um : ndarray, shape (n_beads, 3), µm
        Of each bead used; not kept where a shift is read from a file.
    """

    shift_um: FloatArray
    standard_error_um: FloatArray
    residual_rms_um: FloatArray
    magnification: float
    rotation_rad: float
    has_scale: bool
    centre_um: FloatArray
    n_beads: int
    n_outliers: int
    place_um: FloatArray
    residual_um: FloatArray

    def displacement_um(self, position_um: npt.ArrayLike) -> FloatArray:
        """Displacement at positions, shape (n, 3), µm."""
        away = np.asarray(position_um, dtype=np.float64) - self.centre_um
        moved = np.broadcast_to(self.shift_um, away.shape).copy()
        moved[:, 1] += self.magnification * away[:, 1] - self.rotation_rad * away[:, 2]
        moved[:, 2] += self.magnification * away[:, 2] + self.rotation_rad * away[:, 1]
        return moved


def bead_positions(
    image: npt.ArrayLike, *, sigma_px: Sequence[float], threshold: float = 10.0
) -> FloatArray:
    """Centres of beads, fitted.

    Parameters
    ----------
    image : array_like, shape (z, y, x)
    sigma_px : sequence of float, px
        SD of a bead along each axis.
    threshold : float, noise SD
        As for puncta; maxima below 15 % of the median height above it are left out as well.

    Returns
    -------
    ndarray, shape (n, 3), px
        Without beads whose fit failed, and those within two SD of the border.

    Raises
    ------
    InputError
        As :func:`aequorea.puncta.find_candidates`.
    """
    pixels = np.asarray(image)
    found = find_candidates(pixels, sigma_px=sigma_px)
    bright = select(found, threshold, min_distance_px=[3 * s for s in sigma_px])
    if len(bright):
        top = np.median(bright.response)
        bright = bright[bright.response >= _DIM * top]
    has_gain = found.noise.gain > 0
    offset = (
        float(found.noise.levels[0] - found.noise.variances[0] / found.noise.gain)
        if (has_gain)
        else 0.0
    )
    fits = fit_puncta(
        pixels,
        bright.coordinates_px,
        sigma_px=sigma_px,
        gain_adu_per_photon=found.noise.gain if has_gain else None,
        offset_adu=offset,
    )
    margin = 2 * np.asarray(sigma_px)
    inside = np.all(
        (fits.position_px >= margin) & (fits.position_px <= np.array(pixels.shape) - 1 - margin),
        axis=1,
    )
    return np.asarray(fits.position_px[fits.converged & inside], dtype=np.float64)


def bead_shift(
    reference_um: Sequence[npt.ArrayLike],
    moving_um: Sequence[npt.ArrayLike],
    *,
    cutoff_um: float = 1.0,
) -> BeadShift:
    """Displacement of a channel against a reference, from beads seen in both.

    Parameters
    ----------
    reference_um, moving_um : sequence of array_like, shape (n, 3), µm
        Positions of the beads of each image, along z, y, x.
    cutoff_um : float, µm
        Positions farther apart are not those of one bead; beads nearer to each other than twice
        this are left out, as they could be exchanged.

    Returns
    -------
    BeadShift

    Raises
    ------
    InputError
        If fewer than 5 beads are seen in both channels.
    AxisMismatchError
        If positions do not have three coordinates.

    Notes
    -----
    Beads are matched one to one. Those farther than 5 robust SD from the fit are left out, and
    the rest fitted again, until none is. Magnification and rotation within planes are fitted to
    20 beads or more where an F test asks for them (p below 0.001).

    Examples
    --------
    >>> beads = np.random.default_rng(0).uniform(0, 40, (12, 3))
    >>> found = bead_shift([beads], [beads + (0.2, 0.0, -0.1)], cutoff_um=0.5)
    >>> found.shift_um.round(3).tolist()
    [0.2, 0.0, -0.1]
    """
    places, moves = [], []
    for first, second in zip(reference_um, moving_um, strict=True):
        a, b = _lone(_points(first), 2 * cutoff_um), _points(second)
        pairs = match_objects(a, b, cutoff_um=cutoff_um).pairs
        places.append(a[pairs[:, 0]])
        moves.append(b[pairs[:, 1]] - a[pairs[:, 0]])
    place, move = np.concatenate(places), np.concatenate(moves)
    if len(place) < FEWEST_BEADS:
        raise InputError(
            f"{len(place)} lone beads are seen in both channels within {cutoff_um:g} µm of each "
            f"other; at least {FEWEST_BEADS} are needed"
        )
    return _fitted(place, move)


def _points(points: npt.ArrayLike) -> FloatArray:
    found = np.asarray(points, dtype=np.float64)
    if found.ndim != 2 or found.shape[1] != 3:
        raise AxisMismatchError(f"beads: expected positions (n, 3), found shape {found.shape}")
    return found


def _lone(points: FloatArray, distance: float) -> FloatArray:
    if len(points) < 2:
        return points
    distances, _ = cKDTree(points).query(points, k=2)
    return points[np.asarray(distances)[:, 1] > distance]


def _fitted(place: FloatArray, move: FloatArray) -> BeadShift:
    n_all = len(place)
    kept = np.ones(n_all, dtype=bool)
    while True:
        model = _best_model(place[kept], move[kept])
        residual = move - model.displacement_um(place)
        scale = 1.4826 * np.median(np.abs(residual[kept]), axis=0) + 1e-9
        near = np.all(np.abs(residual) <= _OUTLIER_SD * scale, axis=1) & kept
        if near.sum() == kept.sum() or near.sum() < FEWEST_BEADS:
            break
        kept = near
    return BeadShift(**{**vars(model), "n_outliers": n_all - int(kept.sum())})


def _best_model(place: FloatArray, move: FloatArray) -> BeadShift:
    n, centre = len(place), place.mean(axis=0)
    away = place - centre
    shift = move.mean(axis=0)
    rest = move - shift
    second = np.sum(away[:, 1:] ** 2)
    m = r = 0.0
    scaled = False
    if n >= _FEWEST_FOR_SCALE and second > 0:
        m_fit = float(np.sum(away[:, 1:] * rest[:, 1:]) / second)
        r_fit = float(np.sum(away[:, 1] * rest[:, 2] - away[:, 2] * rest[:, 1]) / second)
        after = rest.copy()
        after[:, 1] -= m_fit * away[:, 1] - r_fit * away[:, 2]
        after[:, 2] -= m_fit * away[:, 2] + r_fit * away[:, 1]
        before_ss, after_ss = np.sum(rest[:, 1:] ** 2), np.sum(after[:, 1:] ** 2)
        dof = 2 * n - 4
        ratio = (before_ss - after_ss) / 2 / max(after_ss / dof, 1e-300)
        if stats.f.sf(ratio, 2, dof) < _SCALE_P:
            m, r, rest, scaled = m_fit, r_fit, after, True
    dof_axis = np.array([n - 1, *2 * [n - 2 if scaled else n - 1]])
    variance = np.sum(rest**2, axis=0) / dof_axis
    return BeadShift(
        shift_um=shift,
        standard_error_um=np.sqrt(variance / n),
        residual_rms_um=np.sqrt(np.mean(rest**2, axis=0)),
        magnification=m,
        rotation_rad=r,
        has_scale=scaled,
        centre_um=centre,
        n_beads=n,
        n_outliers=0,
        place_um=place,
        residual_um=rest,
    )
