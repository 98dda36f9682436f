"""What two stains share only because both follow the shape of the cell.

A channel's large-scale profile is its expected brightness given where a pixel lies: how far
from the edge of the region, how far from landmarks (nuclei), how deep, and where in the field.
Taking it out leaves the fine structure, whose alignment can be tested by shifts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from scipy import fft, linalg, ndimage

from aequorea.colocalization.autocorrelation import main_lobe
from aequorea.colocalization.shifts import padded_shape
from aequorea.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Diameters of the region that make one profile scale, unless the user says otherwise.
#: An eighth holds the level for gradients over an eighth of the diameter
#: (benchmarks/calibration.py). A wider scale would let them through; a narrower one would take
#: coarse structure for profile.
DEFAULT_SCALE_FRACTION = 1 / 8
#: Independent pixels above which the degrees of freedom of the fit do not matter.
FIT_MATTERS_BELOW = 20_000
_BACKFITS = 3
_SURROGATES = 3
_LOCAL_LAGS = 16
_VARIANCE_FLOOR = 1e-3


@dataclass(frozen=True, eq=False)
class ProfileModel:
    """The smooth part that is conditioned on, and how to take it out.

    Attributes
    ----------
    mask : ndarray of bool, shape (z, y, x)
    scale_px : float
        Standard deviation of the Gaussian that carries the smooth field in y and x.
    covariates : sequence of ndarray
        One value per pixel of the mask each (distance to the edge, to landmarks, depth).

    Notes
    -----
    A partial linear model: linear splines of the covariates (a knot per pixel near zero
    distance, wider further off) plus a Gaussian-weighted local mean, fitted by backfitting [1]_.

    References
    ----------
    .. [1] Speckman (1988) J. R. Stat. Soc. B 50:413, doi:10.1111/j.2517-6161.1988.tb01738.x
    """

    mask: NDArray[np.bool_]
    scale_px: float
    covariates: Sequence[NDArray[np.float64]]

    @cached_property
    def _operators(self) -> tuple[tuple[NDArray[Any], NDArray[Any]], ...]:
        return tuple(_axis_operators(n, self.scale_px) for n in self.mask.shape[1:])

    @cached_property
    def _weight(self) -> NDArray[np.float64]:
        return self._smooth(self.mask.astype(np.float64))[self.mask]

    @cached_property
    def _splines(self) -> tuple[NDArray[np.int32], NDArray[np.float64], Any]:
        """Hat-function index and weight of each pixel, and the factorised normal matrix."""
        if not self.covariates:
            empty = np.empty((0, 0))
            return empty.astype(np.int32), empty, None
        index, weight, size = [], [], 0
        for values in self.covariates:
            knots = _knots(float(values.min()), float(values.max()))
            j = np.clip(np.searchsorted(knots, values, side="right") - 1, 0, len(knots) - 2)
            index.append((j + size).astype(np.int32))
            weight.append((values - knots[j]) / (knots[j + 1] - knots[j]))
            size += len(knots)
        columns, weights = np.stack(index), np.stack(weight)
        gram = _gram(columns, weights, size)
        ridge = 1e-6 * np.trace(gram) / size + 1e-12
        return columns, weights, linalg.cho_factor(gram + ridge * np.eye(size))

    def residual(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Values of the mask's pixels less their fitted profile, shape (n,)."""
        e = values - values.mean()
        for _ in range(_BACKFITS):
            e = e - self._local_mean(e)
            e = e - self._spline_fit(e)
        return np.asarray(e, dtype=np.float64)

    def standardise(self, image: NDArray[Any]) -> NDArray[np.float64]:
        """Fine structure of a channel: profile taken out of its mean and of its variance.

        Parameters
        ----------
        image : ndarray, shape (z, y, x)

        Returns
        -------
        ndarray, shape (z, y, x)
            Zero outside the mask.
        """
        values = image[self.mask].astype(np.float64)
        spread = values.std()
        e = self.residual((values - values.mean()) / (spread if spread > 0 else 1.0))
        power = e**2
        if power.mean() > 0:
            logs = np.log(power + _VARIANCE_FLOOR * power.mean())
            e = self.residual(e / np.exp((logs - self.residual(logs)) / 2))
        return self.image(e)

    def image(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Values of the mask's pixels put back in their places."""
        out = np.zeros(self.mask.shape)
        out[self.mask] = values
        return out

    def variance_ratio(
        self,
        a: NDArray[Any],
        b: NDArray[Any],
        rng: np.random.Generator,
        *,
        n_effective: float = 0.0,
    ) -> float:
        """Variance of r unshifted over its variance when shifted, under the null.

        The unshifted pair has its profile fitted on the very same pixels and shares local
        differences in texture; shifted pairs do not. Both make r a little more variable than
        shifts show, which this factor, a little above 1, takes back.

        Parameters
        ----------
        a, b : ndarray, shape (z, y, x)
            Standardised channels.
        rng : numpy.random.Generator
        n_effective : float
            Independent pixels. The fit takes about a hundred degrees of freedom: against more
            than ``FIT_MATTERS_BELOW`` of them that is nothing, and is not estimated.
        """
        fitted = 1.0
        if n_effective <= FIT_MATTERS_BELOW:
            fitted = (self._fit_ratio(a, b, rng) + self._fit_ratio(b, a, rng)) / 2
        return max(1.0, fitted) * max(1.0, self._texture_ratio(a, b))

    def _fit_ratio(self, a: NDArray[Any], b: NDArray[Any], rng: np.random.Generator) -> float:
        """How much of b's spectrum, where a has power, the fit itself removed."""
        shape = padded_shape(self.mask.shape[1:])
        counts = _autosum(self.mask.astype(np.float64), shape)
        taper = np.clip((counts / counts[0, 0] - 0.3) / 0.5, 0, 1)
        density = np.where(taper > 0, taper / np.maximum(counts, 1), 0)
        power = np.maximum(fft.rfftn(_autosum(b, shape) * density).real, 0)
        covariance = fft.irfftn(power, shape)
        sums = _autosum(a, shape)
        amplitude = np.sqrt(power)
        refitted = np.zeros(shape)
        for _ in range(_SURROGATES):
            noise = fft.rfftn(rng.standard_normal((len(self.mask), *shape)), axes=(1, 2))
            planes = fft.irfftn(noise * amplitude, shape, axes=(1, 2))
            crop = planes[:, : self.mask.shape[1], : self.mask.shape[2]]
            surrogate = self.image(self.residual(crop[self.mask]))
            refitted += _autosum(surrogate, shape) * density / _SURROGATES
        shifted = float((sums * refitted).sum())
        return float((sums * covariance).sum()) / shifted if shifted > 0 else 1.0

    def _texture_ratio(self, a: NDArray[Any], b: NDArray[Any]) -> float:
        """Mean product of local autocovariances over the product of their means."""
        shape = padded_shape(self.mask.shape[1:])
        counts = np.maximum(_autosum(self.mask.astype(np.float64), shape), 1)
        rho = (_autosum(a, shape) / counts) * (_autosum(b, shape) / counts)
        lags = _half_plane_lags(main_lobe(rho / rho[0, 0]) if rho[0, 0] > 0 else rho > np.inf)
        local = shared = 0.0
        for (dy, dx), multiplicity in _thin(lags, _LOCAL_LAGS):
            pair = self.mask & _shift(self.mask, dy, dx)
            if not pair.any():
                continue
            weight = self._smooth(pair.astype(np.float64))
            deep = self.mask & (weight > 1e-3)
            local_a, local_b = (self._smooth(pair * x * _shift(x, dy, dx)) for x in (a, b))
            local += multiplicity * float((local_a * local_b / weight.clip(1e-3) ** 2)[deep].mean())
            shared += multiplicity * float(
                (a * _shift(a, dy, dx))[pair].mean() * (b * _shift(b, dy, dx))[pair].mean()
            )
        return local / shared if shared > 0 else 1.0

    def _local_mean(self, values: NDArray[Any]) -> NDArray[np.float64]:
        return self._smooth(self.image(values))[self.mask] / self._weight

    def _smooth(self, image: NDArray[Any]) -> NDArray[np.float64]:
        (to_y, from_y), (to_x, from_x) = self._operators
        return np.stack([from_y @ ((to_y @ plane) @ to_x.T) @ from_x.T for plane in image])

    def _spline_fit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        columns, weights, factor = self._splines
        if factor is None:
            return np.zeros_like(values)
        beta = linalg.cho_solve(factor, _moments(columns, weights, values, factor[0].shape[0]))
        return np.asarray(_evaluate(columns, weights, beta))


def profile_model(
    mask: NDArray[np.bool_],
    *,
    landmarks: NDArray[Any] | None = None,
    window: tuple[slice, ...] | None = None,
    spacing_zyx: tuple[float, float, float] | None = None,
    scale_px: float | None = None,
) -> ProfileModel:
    """The profile of a region: distance to its edge, to landmarks, depth, and a smooth field.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
    landmarks : ndarray, optional
        Non-zero inside landmarks such as nuclei. Needed when both stains have a sharp common
        boundary there (nuclear exclusion): a smooth field cannot follow an edge.
    window : tuple of slice, optional
        The part of ``landmarks`` that the mask covers, where they reach further than it: a
        landmark outside the region counts too.
    spacing_zyx : tuple of float, optional
        Voxel size in any one unit. Without it distances in a stack are measured plane by plane.
    scale_px : float, optional
        Standard deviation of the smooth field; default an eighth of the region's diameter.

    Raises
    ------
    InputError
        If the landmarks' shape differs or the scale is not positive.

    Notes
    -----
    A region cut by the border of the image has no edge there.
    """
    if scale_px is None:
        planes = max(1, int(mask.any(axis=(1, 2)).sum()))
        scale_px = float(np.sqrt(np.count_nonzero(mask) / planes)) * DEFAULT_SCALE_FRACTION
    if not scale_px > 0:
        raise InputError(f"profile scale must be positive, got {scale_px} px")
    covariates = []
    if not mask.all():
        covariates.append(_distance(mask, spacing_zyx)[mask])
    if landmarks is not None:
        part = (slice(None),) * 3 if window is None else window
        on = np.asarray(landmarks) != 0
        if on[part].shape != mask.shape:
            raise InputError(
                f"landmarks of shape {on[part].shape} for a region of shape {mask.shape}"
            )
        if on.any() and not on.all():
            signed = (_distance(~on, spacing_zyx) - _distance(on, spacing_zyx))[part]
            covariates.append(signed[mask] - 0.5 * np.sign(signed[mask]))
    return ProfileModel(mask=mask, scale_px=max(scale_px, 1.0), covariates=covariates)


def _distance(
    inside: NDArray[np.bool_], spacing: tuple[float, float, float] | None
) -> NDArray[np.float64]:
    """Distance to the nearest pixel outside, in pixels along x."""
    if spacing is not None:
        relative = tuple(s / spacing[2] for s in spacing)
        return np.asarray(ndimage.distance_transform_edt(inside, sampling=relative))
    planes = [
        ndimage.distance_transform_edt(p) if not p.all() else np.full(p.shape, np.hypot(*p.shape))
        for p in inside
    ]
    return np.asarray(planes, dtype=np.float64)


def _knots(low: float, high: float) -> NDArray[np.float64]:
    """Knots one pixel apart within six pixels of zero, then a fifth wider each."""
    sides = []
    for reach in (high, -low):
        at, step = [0.0], 1.0
        while at[-1] < reach:
            step *= 1.2 if at[-1] >= 6 else 1.0
            at.append(at[-1] + step)
        sides.append(np.array(at))
    knots = np.unique(np.concatenate([sides[0], -sides[1]]))
    return knots if len(knots) > 1 else np.array([knots[0], knots[0] + 1.0])


def _axis_operators(n: int, scale: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Gaussian weights at nodes a quarter of the scale apart, and interpolation back to pixels."""
    count = min(n, max(2, int(np.ceil((n - 1) / max(1.0, scale / 4))) + 1))
    nodes = np.linspace(0, n - 1, count) if n > 1 else np.zeros(1)
    pixels = np.arange(n)
    to_nodes = np.exp(-((nodes[:, None] - pixels) ** 2) / (2 * scale**2))
    if len(nodes) < 2:
        return to_nodes, np.ones((n, 1))
    step = nodes[1] - nodes[0]
    from_nodes = np.clip(1 - np.abs(pixels[:, None] - nodes) / step, 0, None)
    return to_nodes, from_nodes


def _autosum(image: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Sum of products at every in-plane lag, planes added up, FFT order."""
    total: Any = 0
    for plane in image:
        spectrum = fft.rfftn(plane, shape)
        total = total + (spectrum.conj() * spectrum).real
    return np.asarray(fft.irfftn(total, shape))


def _half_plane_lags(lobe: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Lags of a lobe (FFT order), one of each pair ±d, nearest first."""
    lags = [
        ((y + n // 2) % n - n // 2, (x + m // 2) % m - m // 2)
        for (y, x), (n, m) in zip(np.argwhere(lobe), [lobe.shape] * int(lobe.sum()), strict=True)
    ]
    half = [(int(y), int(x)) for y, x in lags if y > 0 or (y == 0 and x >= 0)]
    return sorted(half, key=lambda d: (d[0] ** 2 + d[1] ** 2, d))


def _thin(lags: list[tuple[int, int]], most: int) -> list[tuple[tuple[int, int], float]]:
    """At most ``most`` lags, each with the number of lags that it stands for."""
    away = [d for d in lags if d != (0, 0)]
    keep = np.unique(np.linspace(0, len(away) - 1, min(most, len(away))).round().astype(int))
    weight = 2 * len(away) / max(len(keep), 1)
    return [((0, 0), 1.0), *((away[k], weight) for k in keep)]


def _shift(x: NDArray[Any], dy: int, dx: int) -> NDArray[Any]:
    """``x`` read at (y + dy, x + dx); zero where that lies outside."""
    out = np.zeros_like(x)
    n, m = x.shape[1:]
    out[:, max(0, -dy) : n - max(0, dy), max(0, -dx) : m - max(0, dx)] = x[
        :, max(0, dy) : n - max(0, -dy), max(0, dx) : m - max(0, -dx)
    ]
    return out


@njit(cache=True, nogil=True)
def _gram(columns: Any, weights: Any, size: int) -> Any:
    gram = np.zeros((size, size))
    terms, n = columns.shape
    for p in range(n):
        for i in range(terms):
            for j in range(terms):
                ci, cj, wi, wj = columns[i, p], columns[j, p], weights[i, p], weights[j, p]
                gram[ci, cj] += (1 - wi) * (1 - wj)
                gram[ci, cj + 1] += (1 - wi) * wj
                gram[ci + 1, cj] += wi * (1 - wj)
                gram[ci + 1, cj + 1] += wi * wj
    return gram


@njit(cache=True, nogil=True)
def _moments(columns: Any, weights: Any, values: Any, size: int) -> Any:
    out = np.zeros(size)
    terms, n = columns.shape
    for i in range(terms):
        for p in range(n):
            out[columns[i, p]] += (1 - weights[i, p]) * values[p]
            out[columns[i, p] + 1] += weights[i, p] * values[p]
    return out


@njit(cache=True, nogil=True)
def _evaluate(columns: Any, weights: Any, beta: Any) -> Any:
    terms, n = columns.shape
    out = np.zeros(n)
    for i in range(terms):
        for p in range(n):
            c = columns[i, p]
            out[p] += (1 - weights[i, p]) * beta[c] + weights[i, p] * beta[c + 1]
    return out
