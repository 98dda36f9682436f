"""How much of a mask a shifted copy of it still covers: the edge correction of pair statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import fft

from aequorea.errors import AxisMismatchError, InputError
from aequorea.spatial.nulls import checked_mask, whole_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aequorea.spatial.nulls import BoolArray, Spacing

__all__ = ["SetCovariance", "set_covariance"]

FloatArray = npt.NDArray[np.float64]

_DIRECTIONS = {2: 360, 3: 1000}  # error of the mean over directions below 0.1 %
_MAX_RADII = 512


@dataclass(frozen=True, eq=False, kw_only=True)
class SetCovariance:
    """Volume (area in 2D) that a mask shares with its shifted self.

    Attributes
    ----------
    values : ndarray, shape (2k + 1, ...), µm³ or µm²
        For shifts by whole voxels; no shift at the centre.
    spacing_um : ndarray, shape (d,), µm
        Shift from one value to the next along each axis.
    volume : float, µm³ or µm²
        Of the mask.
    reach_um : float, µm
        Shifts in any direction up to here are known; infinite if all are.
    radii_um, mean_values : ndarray, shape (m,)
        The isotropised set covariance: mean over all directions of shifts of these lengths.
    """

    values: FloatArray
    spacing_um: FloatArray
    volume: float
    reach_um: float
    radii_um: FloatArray
    mean_values: FloatArray

    @property
    def ndim(self) -> int:
        """Dimensions of the mask."""
        return self.values.ndim

    def at(self, shifts_um: npt.ArrayLike) -> FloatArray:
        """Volume shared after any shifts, shape (..., d) to (...).

        Raises
        ------
        AxisMismatchError
            If shifts have another number of axes than the mask.
        InputError
            If a shift is longer than ``reach_um``.
        """
        shifts = np.asarray(shifts_um, dtype=np.float64)
        if shifts.ndim == 0 or shifts.shape[-1] != self.ndim:
            raise AxisMismatchError(
                f"shifts_um: expected {self.ndim} numbers per shift, found shape {shifts.shape}"
            )
        self._require_known(np.linalg.norm(shifts, axis=-1))
        flat = np.ascontiguousarray(shifts.reshape(-1, self.ndim))
        found: FloatArray = interpolate(*self.lags(), with_plane(flat))
        return found.reshape(shifts.shape[:-1])

    def mean_at(self, lengths_um: npt.ArrayLike) -> FloatArray:
        """Volume shared after shifts of these lengths, mean over all directions.

        Raises
        ------
        InputError
            If a length is beyond ``reach_um``.
        """
        lengths = np.asarray(lengths_um, dtype=np.float64)
        self._require_known(lengths)
        return np.interp(lengths, self.radii_um, self.mean_values)

    def length_sharing(self, fraction: float) -> float:
        """Shortest shift, µm, after which at most this fraction of the mask is shared, in mean.

        The whole reach if more than that is shared even there.
        """
        below = np.flatnonzero(self.mean_values <= fraction * self.volume)
        if not len(below):
            return self.reach_um
        k = int(below[0])
        if k == 0:
            return 0.0
        values, radii = self.mean_values[k - 1 : k + 1], self.radii_um[k - 1 : k + 1]
        return float(np.interp(fraction * self.volume, values[::-1], radii[::-1]))

    def lags(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Values in three dimensions, spacing and index of no shift, for :func:`interpolate`."""
        values = self.values if self.ndim == 3 else self.values[None]
        spacing = with_plane(self.spacing_um[None], fill=1.0)[0]
        return values, spacing, (np.array(values.shape) - 1) / 2

    def _require_known(self, lengths: FloatArray) -> None:
        longest = float(np.max(lengths, initial=0.0))
        if not longest <= self.reach_um * (1 + 1e-9):
            raise InputError(
                f"shift: expected at most {self.reach_um:g} µm, found {longest:g} µm; "
                "compute the set covariance with a larger reach_um"
            )


def set_covariance(
    mask: npt.ArrayLike,
    spacing_um: Spacing,
    *,
    reach_um: float | None = None,
    downsample: int | Sequence[int] = 1,
) -> SetCovariance:
    """Volume that a mask shares with itself after a shift, for all shifts at once.

    Parameters
    ----------
    mask : array_like, shape (y, x) or (z, y, x)
    spacing_um : sequence or mapping of float, µm
        Voxel size of each axis.
    reach_um : float, optional
        Longest shift wanted. Time and memory grow with it; without one all shifts at which
        anything can be shared.
    downsample : int or sequence of int, default 1
        Voxels per coarse voxel along each axis (one number: along the last two).

    Returns
    -------
    SetCovariance

    Raises
    ------
    AxisMismatchError, CalibrationError, InputError

    Notes
    -----
    Fourier transform of the mask's bounding box, padded by the reach. The mask is the union of
    its voxels; between whole-voxel shifts its set covariance is then exactly multilinear, so that
    interpolation adds no error. Downsampling does: it blurs the mask's edge by a coarse voxel.

    The mean over directions is taken over 1000 directions evenly spread over the half sphere.

    References
    ----------
    .. [1] Ohser (1983) Math. Operationsforsch. Statist., Ser. Statist. 14:63
    .. [2] Baddeley, Rubak & Turner (2015) Spatial Point Patterns, doi:10.1201/b19708

    Examples
    --------
    >>> shared = set_covariance(np.ones((10, 20, 20)), (0.3, 0.1, 0.1))
    >>> float(shared.at([0.0, 0.5, 0.0]).round(6))  # 3.0 × 1.5 × 2.0
    9.0
    """
    inside, spacing = checked_mask(mask, spacing_um)
    factors = _factors(downsample, inside.ndim)
    box = inside[_bounding_box(inside)]
    volume = float(np.count_nonzero(box) * spacing.prod())
    cover = _coarse(box, factors)
    spacing = spacing * factors
    extent = np.array(cover.shape) * spacing
    diameter = float(np.linalg.norm(extent))
    reach = diameter if reach_um is None else min(float(reach_um), diameter)
    if not reach > 0:
        raise InputError(f"reach_um: expected a length above 0 µm, found {reach_um!r}")
    # Along an axis nothing is shared beyond the box, and 0 there is as good as any further lag.
    lags = np.minimum(np.ceil(reach / spacing).astype(int) + 1, cover.shape)
    values = _autocorrelation(cover, lags) * spacing.prod()
    n_radii = int(np.clip(np.ceil(2 * reach / spacing.min()), 32, _MAX_RADII)) + 1
    radii = np.linspace(0.0, reach, n_radii)
    middle = with_plane(lags[None].astype(np.float64))[0]
    means = _mean_over_directions(
        values if inside.ndim == 3 else values[None],
        with_plane(spacing[None], fill=1.0)[0],
        middle,
        radii,
        with_plane(_directions(inside.ndim)),
    )
    return SetCovariance(
        values=values,
        spacing_um=spacing,
        volume=volume,
        reach_um=reach if reach < diameter else np.inf,
        radii_um=radii,
        mean_values=means,
    )


def with_plane(positions: FloatArray, fill: float = 0.0) -> FloatArray:
    """Positions of shape (..., 2) with a z of their own; those of shape (..., 3) as they are."""
    if positions.shape[-1] == 3:
        return np.ascontiguousarray(positions)
    out = np.full((*positions.shape[:-1], 3), fill)
    out[..., 1:] = positions
    return out


def _factors(downsample: int | Sequence[int], ndim: int) -> npt.NDArray[np.int64]:
    if np.ndim(downsample) == 0:
        factor = whole_number("downsample", downsample, 1)
        return np.array([1, factor, factor][-ndim:])
    factors = [whole_number("downsample", factor, 1) for factor in downsample]  # type: ignore[union-attr]
    if len(factors) != ndim:
        raise AxisMismatchError(
            f"downsample: expected one number for each of {ndim} axes, found {downsample!r}"
        )
    return np.array(factors)


def _bounding_box(inside: BoolArray) -> tuple[slice, ...]:
    axes = range(inside.ndim)
    spans = (
        np.flatnonzero(inside.any(axis=tuple(other for other in axes if other != axis)))
        for axis in axes
    )
    return tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)


def _coarse(box: BoolArray, factors: npt.NDArray[np.int64]) -> FloatArray:
    """Share of each coarse voxel that the mask covers."""
    if (factors == 1).all():
        return box.astype(np.float64)
    short = -np.array(box.shape) % factors
    padded = np.pad(box, [(0, int(n)) for n in short])
    blocks = [
        part
        for n, factor in zip(padded.shape, factors, strict=True)
        for part in (n // factor, factor)
    ]
    cover: FloatArray = padded.reshape(blocks).mean(axis=tuple(range(1, 2 * box.ndim, 2)))
    return cover


def _autocorrelation(cover: FloatArray, lags: npt.NDArray[np.int64]) -> FloatArray:
    """Sum of products with the shifted self, for shifts of -lags to lags along each axis."""
    size = [
        fft.next_fast_len(n + int(lag), real=True) for n, lag in zip(cover.shape, lags, strict=True)
    ]
    power = np.abs(fft.rfftn(cover, size)) ** 2
    shared = fft.irfftn(power, size)
    wanted = np.ix_(*(np.arange(-lag, lag + 1) % n for lag, n in zip(lags, size, strict=True)))
    found: FloatArray = np.maximum(shared[wanted], 0.0)
    return np.rint(found) if np.isin(cover, (0, 1)).all() else found


def _directions(ndim: int) -> FloatArray:
    """Unit vectors evenly over half of the sphere or circle; the other half is its mirror image."""
    n = _DIRECTIONS[ndim]
    steps = (np.arange(n) + 0.5) / n
    if ndim == 2:
        return np.column_stack([np.sin(np.pi * steps), np.cos(np.pi * steps)])
    angle = np.pi * (1 + np.sqrt(5)) * np.arange(n)  # golden spiral
    across = np.sqrt(1 - steps**2)
    return np.column_stack([steps, across * np.sin(angle), across * np.cos(angle)])


@njit(cache=True, nogil=True)
def trilinear(values, z, y, x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Value between the points of a grid; constant beyond its edge."""
    z = min(max(z, 0.0), values.shape[0] - 1.0)
    y = min(max(y, 0.0), values.shape[1] - 1.0)
    x = min(max(x, 0.0), values.shape[2] - 1.0)
    z0, y0, x0 = int(z), int(y), int(x)
    z1, y1, x1 = int(np.ceil(z)), int(np.ceil(y)), int(np.ceil(x))
    z, y, x = z - z0, y - y0, x - x0
    low = (values[z0, y0, x0] * (1 - x) + values[z0, y0, x1] * x) * (1 - y) + (
        values[z0, y1, x0] * (1 - x) + values[z0, y1, x1] * x
    ) * y
    high = (values[z1, y0, x0] * (1 - x) + values[z1, y0, x1] * x) * (1 - y) + (
        values[z1, y1, x0] * (1 - x) + values[z1, y1, x1] * x
    ) * y
    return low * (1 - z) + high * z


@njit(cache=True, nogil=True)
def interpolate(values, spacing, origin, positions):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Values at positions, µm, where ``origin`` is the index of position 0."""
    out = np.empty(len(positions))
    for i in range(len(positions)):
        out[i] = trilinear(
            values,
            positions[i, 0] / spacing[0] + origin[0],
            positions[i, 1] / spacing[1] + origin[1],
            positions[i, 2] / spacing[2] + origin[2],
        )
    return out


@njit(cache=True, nogil=True)
def _mean_over_directions(values, spacing, origin, radii, directions):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    out = np.zeros(len(radii))
    for k in range(len(radii)):
        total = 0.0
        for i in range(len(directions)):
            total += trilinear(
                values,
                radii[k] * directions[i, 0] / spacing[0] + origin[0],
                radii[k] * directions[i, 1] / spacing[1] + origin[1],
                radii[k] * directions[i, 2] / spacing[2] + origin[2],
            )
        out[k] = total / len(directions)
    return out
