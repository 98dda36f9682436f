"""Shells of equal volume around a landmark, and how signal is distributed over distance."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aequorea.errors import AxisMismatchError, InputError
from aequorea.spatial.distances import Spacing, mask_of, points_of, spacing_of, voxels_of

__all__ = [
    "DistanceDistribution",
    "ShellContents",
    "Shells",
    "distance_distribution",
    "equal_volume_shells",
    "intensity_in_shells",
    "points_in_shells",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_SAME = 1e-9  # relative; equal distances reached by different sums differ in the last digits


@dataclass(frozen=True, eq=False, kw_only=True)
class Shells:
    """A region divided by distance.

    Attributes
    ----------
    index : ndarray of int32, shape of the region
        1 is nearest, n farthest; 0 outside the region.
    edges_um : ndarray, shape (n + 1,), µm
        Shell k holds the voxels beyond ``edges_um[k - 1]`` up to and with ``edges_um[k]``; the
        first also those at ``edges_um[0]``.
    n_voxels : ndarray of int64, shape (n,)
    """

    index: npt.NDArray[np.int32]
    edges_um: FloatArray
    n_voxels: IntArray

    def __len__(self) -> int:
        return len(self.n_voxels)


@dataclass(frozen=True, eq=False, kw_only=True)
class ShellContents:
    """What each of n shells holds, and what it would hold if volume alone decided.

    Attributes
    ----------
    observed : ndarray, shape (n,)
        Points, or intensity above background.
    expected : ndarray, shape (n,)
        The total, shared out by volume.
    ratio : ndarray, shape (n,)
        ``observed / expected``; 1 where the landmark makes no difference.
    reason : tuple of str, length n
        Why a ratio is NaN; empty where it is not.
    n_outside : int
        Points in no shell (0 for intensities).
    """

    observed: FloatArray
    expected: FloatArray
    ratio: FloatArray
    reason: tuple[str, ...]
    n_outside: int = 0

    def __len__(self) -> int:
        return len(self.observed)


@dataclass(frozen=True, eq=False, kw_only=True)
class DistanceDistribution:
    """How the signal of a region is distributed over distance.

    Attributes
    ----------
    distance_um : ndarray, shape (m,), µm
        The distances that occur, ascending.
    signal : ndarray, shape (m,)
        Intensity above background at each of them, summed.
    cumulative : ndarray, shape (m,)
        Fraction of the signal at this distance or nearer. Noise below background can make it
        fall, or leave 0 to 1, in dim images.
    volume : ndarray, shape (m,)
        Fraction of the region at this distance or nearer: the same for an even signal.
    mean_um, median_um : float
        Of the signal. The median is the first distance at which half of it is reached.
    volume_mean_um, volume_median_um : float
        Of the region.
    total : float
    reason : str
        Why the distribution is NaN; empty where it is not.
    """

    distance_um: FloatArray
    signal: FloatArray
    cumulative: FloatArray
    volume: FloatArray
    mean_um: float
    median_um: float
    volume_mean_um: float
    volume_median_um: float
    total: float
    reason: str = ""

    def histogram(self, edges_um: npt.ArrayLike) -> FloatArray:
        """Fraction of the signal from each edge up to the next (the last edge belongs to it).

        Raises
        ------
        InputError
            If the edges do not ascend.
        """
        edges = np.asarray(edges_um, dtype=np.float64)
        if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise InputError(
                f"edges_um: expected at least 2 ascending distances, found {edges_um!r}"
            )
        if self.reason:
            return np.full(len(edges) - 1, np.nan)
        counts, _ = np.histogram(self.distance_um, edges, weights=self.signal)
        return np.asarray(counts / self.total)


def equal_volume_shells(distance_um: npt.ArrayLike, mask: npt.ArrayLike, n: int) -> Shells:
    """Divide a region into n shells of equal volume by distance.

    Parameters
    ----------
    distance_um : array_like, shape (y, x) or (z, y, x), µm
        Such as from :func:`aequorea.spatial.distance_map`.
    mask : array_like of bool, same shape
        The region, for example the cytosol of one cell.
    n : int
        Number of shells.

    Returns
    -------
    Shells

    Raises
    ------
    AxisMismatchError
        If shapes differ.
    InputError
        If there are fewer than 1 shells, or a distance in the region is not finite.

    Notes
    -----
    Voxels of one distance stay together, and the edge is the distance at which the volume comes
    nearest to its share. Near the landmark many voxels have the same distance: shells then differ
    in volume (``n_voxels``), or are empty; expectations follow the true volume.

    Examples
    --------
    >>> shells = equal_volume_shells([[0.1, 0.2, 0.3, 0.4]], [[1, 1, 1, 1]], 2)
    >>> shells.index.tolist(), shells.edges_um.tolist()
    ([[1, 1, 2, 2]], [0.1, 0.2, 0.4])
    """
    region, distance = _region(distance_um, mask)
    count = _positive("n", n)
    values = distance[region]
    index = np.zeros(region.shape, np.int32)
    if not len(values):
        empty = np.zeros(count, np.int64)
        return Shells(index=index, edges_um=np.full(count + 1, np.nan), n_voxels=empty)
    levels, level, sizes = _levels(values)
    volume = np.concatenate(([0], np.cumsum(sizes)))
    wanted = np.arange(1, count) * (len(values) / count)
    above = np.searchsorted(volume, wanted)
    last = np.where(wanted - volume[above - 1] < volume[above] - wanted, above - 1, above)
    cuts = np.concatenate(([0], last, [len(levels)]))
    shell_of_level = np.repeat(np.arange(1, count + 1), np.diff(cuts))
    index[region] = shell_of_level[level]
    return Shells(
        index=index,
        edges_um=np.concatenate(([levels[0]], levels[np.maximum(cuts[1:] - 1, 0)])),
        n_voxels=np.diff(volume[cuts]),
    )


def points_in_shells(
    shells: Shells, points_um: npt.ArrayLike, spacing_um: Spacing
) -> ShellContents:
    """Count points in shells, against their volumes.

    Parameters
    ----------
    shells : Shells
    points_um : array_like, shape (m, ndim), µm
        From the centre of the first voxel of the shells. The voxel that holds a point says which
        shell it is in.
    spacing_um : sequence of float or mapping

    Returns
    -------
    ShellContents

    Raises
    ------
    AxisMismatchError, CalibrationError, InputError
        If shapes do not fit, the spacing is not known, or a coordinate is not finite.

    Examples
    --------
    >>> shells = equal_volume_shells([[0.1, 0.2, 0.3, 0.4]], [[1, 1, 1, 1]], 2)
    >>> found = points_in_shells(shells, [[0, 0], [0, 0.12], [0, 0.3], [0, 9]], (0.1, 0.1))
    >>> found.observed.tolist(), found.expected.tolist(), found.n_outside
    ([2.0, 1.0], [1.5, 1.5], 1)
    """
    shape = shells.index.shape
    points = points_of(points_um, len(shape))
    voxels, inside = voxels_of(points, shape, spacing_of(spacing_um, len(shape)))
    shell = shells.index[tuple(voxels[inside].T)]
    observed = np.bincount(shell, minlength=len(shells) + 1)[1:].astype(np.float64)
    outside = len(points) - int(observed.sum())
    return _contents(shells, observed, "no points", n_outside=outside)


def intensity_in_shells(
    shells: Shells, image: npt.ArrayLike, *, background: float = 0.0
) -> ShellContents:
    """Sum intensity in shells, against their volumes.

    Parameters
    ----------
    shells : Shells
    image : array_like, shape of the shells
    background : float, default 0
        Subtracted from every voxel; nothing is clipped, so that noise averages out.

    Returns
    -------
    ShellContents
        ``ratio`` is the mean of the shell over the mean of the region, both above background.

    Raises
    ------
    AxisMismatchError
        If shapes differ.
    InputError
        If a voxel of the region is not finite.

    Examples
    --------
    >>> shells = equal_volume_shells([[0.1, 0.2, 0.3, 0.4]], [[1, 1, 1, 1]], 2)
    >>> intensity_in_shells(shells, [[40, 40, 20, 20]], background=10).ratio.tolist()
    [1.5, 0.5]
    """
    region = shells.index > 0
    signal = _signal(image, region, background)
    found = np.bincount(shells.index[region], weights=signal, minlength=len(shells) + 1)
    return _contents(shells, found[1:].astype(np.float64), "no signal above background")


def distance_distribution(
    distance_um: npt.ArrayLike,
    mask: npt.ArrayLike,
    image: npt.ArrayLike,
    *,
    background: float = 0.0,
) -> DistanceDistribution:
    """Distribution of intensity over distance, for channels without countable puncta.

    Parameters
    ----------
    distance_um : array_like, shape (y, x) or (z, y, x), µm
    mask : array_like of bool, same shape
        The region, for example the cytosol of one cell.
    image : array_like, same shape
    background : float, default 0
        Subtracted from every voxel; nothing is clipped, so that noise averages out.

    Returns
    -------
    DistanceDistribution
        NaN with a reason if nothing is left above background.

    Raises
    ------
    AxisMismatchError
        If shapes differ.
    InputError
        If a distance or intensity in the region is not finite.

    Notes
    -----
    Compare ``cumulative`` with ``volume``, not with a straight line: most of a cell is far from
    its nucleus. An underestimated background draws the signal towards the volume.

    Examples
    --------
    >>> found = distance_distribution([[0.1, 0.2, 0.3]], [[1, 1, 1]], [[9, 5, 3]], background=1)
    >>> found.cumulative.round(3).tolist(), found.median_um, round(found.mean_um, 3)
    ([0.571, 0.857, 1.0], 0.1, 0.157)
    """
    region, distance = _region(distance_um, mask)
    values, signal = distance[region], _signal(image, region, background)
    if not len(values):
        return _undefined(np.empty(0), np.empty(0), np.empty(0), "the region has no voxels")
    levels, level, sizes = _levels(values)
    at = np.bincount(level, weights=signal, minlength=len(levels)).astype(np.float64)
    volume = np.cumsum(sizes) / len(values)
    total = float(at.sum())
    if not total > 0:
        return _undefined(levels, at, volume, "no signal above background")
    cumulative = np.cumsum(at) / total
    return DistanceDistribution(
        distance_um=levels,
        signal=at,
        cumulative=cumulative,
        volume=volume,
        mean_um=float((levels * at).sum() / total),
        median_um=_median(levels, cumulative),
        volume_mean_um=float(values.mean()),
        volume_median_um=_median(levels, volume),
        total=total,
    )


def _undefined(
    levels: FloatArray, signal: FloatArray, volume: FloatArray, reason: str
) -> DistanceDistribution:
    weights = np.diff(volume, prepend=0.0)
    return DistanceDistribution(
        distance_um=levels,
        signal=signal,
        cumulative=np.full(len(levels), np.nan),
        volume=volume,
        mean_um=float("nan"),
        median_um=float("nan"),
        volume_mean_um=float(levels @ weights) if len(levels) else float("nan"),
        volume_median_um=_median(levels, volume) if len(levels) else float("nan"),
        total=float(signal.sum()),
        reason=reason,
    )


def _median(levels: FloatArray, cumulative: FloatArray) -> float:
    return float(levels[np.argmax(cumulative >= 0.5 - 1e-12)])


def _levels(values: FloatArray) -> tuple[FloatArray, IntArray, IntArray]:
    """Distances that occur, which of them each voxel has, and how many have it."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    scale = float(np.abs(ascending).max())
    new = np.concatenate(([True], np.diff(ascending) > _SAME * scale))
    level = np.empty(len(values), np.int64)
    level[order] = np.cumsum(new) - 1
    return ascending[new], level, np.bincount(level)


def _contents(
    shells: Shells, observed: FloatArray, nothing: str, *, n_outside: int = 0
) -> ShellContents:
    total, volume = float(observed.sum()), int(shells.n_voxels.sum())
    expected = total * shells.n_voxels / max(volume, 1)
    defined = (shells.n_voxels > 0) & (total > 0)
    ratio = np.divide(observed, expected, out=np.full(len(shells), np.nan), where=defined)
    empty = nothing if not total > 0 else "no voxels in this shell"
    reason = tuple("" if known else empty for known in defined.tolist())
    return ShellContents(
        observed=observed, expected=expected, ratio=ratio, reason=reason, n_outside=n_outside
    )


def _region(distance_um: npt.ArrayLike, mask: npt.ArrayLike) -> tuple[BoolArray, FloatArray]:
    region = mask_of(mask)
    distance = np.asarray(distance_um, dtype=np.float64)
    if distance.shape != region.shape:
        raise AxisMismatchError(
            f"distance_um: expected the shape of the mask {region.shape}, found {distance.shape}"
        )
    if not np.isfinite(distance[region]).all():
        raise InputError(
            "distance_um: expected finite distances in the region, found NaN or Inf; "
            "is there a landmark?"
        )
    return region, distance


def _signal(image: npt.ArrayLike, region: BoolArray, background: float) -> FloatArray:
    pixels = np.asarray(image)
    if pixels.shape != region.shape:
        raise AxisMismatchError(
            f"image: expected the shape of the region {region.shape}, found {pixels.shape}"
        )
    if not np.isfinite(background):
        raise InputError(f"background: expected a finite intensity, found {background!r}")
    signal: FloatArray = pixels[region].astype(np.float64) - background
    if not np.isfinite(signal).all():
        raise InputError("image: expected finite intensities in the region, found NaN or Inf")
    return signal


def _positive(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name}: expected a whole number, found {value!r}") from None
    if number < 1:
        raise InputError(f"{name}: expected at least 1, found {number}")
    return number
