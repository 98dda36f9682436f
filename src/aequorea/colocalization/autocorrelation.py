"""How far a pixel's value reaches: correlation lengths, areas and effective sample sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

from aequorea.colocalization.shifts import padded_shape, working_dtype
from aequorea.errors import AxisMismatchError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The main lobe of a correlation ends where it falls below this.
LOBE_LEVEL = 0.05
_MIN_OVERLAP = 0.3
_MAX_PLANE_LAG = 16
_MAX_PLANES = 24  # the central planes of a deeper stack are enough for a correlation length,
_SIDES = (512, 1024)  # and so is the centre of a larger plane, sixteen times as wide as the lobe
_LOBES_PER_SIDE = 16


@dataclass(frozen=True)
class PairLobe:
    """The main lobes of two channels' autocorrelations.

    Attributes
    ----------
    area_px : float
        Sum of rho_a(d) · rho_b(d) over the lags d of its main lobe: the pixels that count as
        one independent observation of the pair.
    shift_correlation : ndarray, shape (y, x), FFT order
        Correlation between the r of two shifts, as a function of their difference.
    shift_area : float
        Sum of its square: the shifts that count as one independent shift.

    Notes
    -----
    All NaN for a channel without texture in any plane.
    """

    area_px: float
    shift_correlation: NDArray[np.float64]
    shift_area: float


def effective_n(a: Any, b: Any, mask: Any = None) -> float:
    """Number of independent pixel pairs: region size over correlation area.

    Parameters
    ----------
    a, b : ndarray, shape (y, x) or (z, y, x)
    mask : ndarray of bool, optional

    Returns
    -------
    float
        Between 1 and the number of pixels; NaN for a constant channel.

    Raises
    ------
    InputError
        If shapes differ or are not 2D or 3D.

    References
    ----------
    .. [1] Clifford, Richardson & Hémon (1989) Biometrics 45:123, doi:10.2307/2532039

    Examples
    --------
    >>> import numpy as np
    >>> a, b = np.random.default_rng(0).normal(size=(2, 64, 64))
    >>> bool(3500 < effective_n(a, b) <= 4096)
    True
    """
    sa, sb, inside = as_stacks(a, b, mask)
    if not (_varies(sa, inside) and _varies(sb, inside)):
        return float("nan")
    n = int(np.count_nonzero(inside))
    return float(np.clip(n / pair_lobe(sa, sb, inside).area_px, 1, n))


def correlation_area_px(a: Any, b: Any = None, mask: Any = None) -> float:
    """Pixels that count as one independent observation (of a pair, or of one channel).

    Parameters
    ----------
    a : ndarray, shape (y, x) or (z, y, x)
    b : ndarray, optional
        The other channel; by default ``a`` with itself.
    mask : ndarray of bool, optional

    Returns
    -------
    float
        At least 1; NaN for a constant channel.
    """
    sa, sb, inside = as_stacks(a, a if b is None else b, mask)
    if not (_varies(sa, inside) and _varies(sb, inside)):
        return float("nan")
    return pair_lobe(sa, sb, inside).area_px


def correlation_length_px(image: Any, mask: Any = None) -> tuple[float, ...]:
    """Lag at which the autocorrelation falls to 1/e, along each axis.

    Parameters
    ----------
    image : ndarray, shape (y, x) or (z, y, x)
    mask : ndarray of bool, optional

    Returns
    -------
    tuple of float, px
        One per axis of ``image``, linearly interpolated; infinite where it never falls so
        low within half of the plane or 15 planes, NaN for a constant channel.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(size=(64, 64))
    >>> [round(length, 1) for length in correlation_length_px(noise)]
    [0.6, 0.6]
    """
    stack, _, inside = as_stacks(image, image, mask)
    ndim = np.ndim(image)
    if not _varies(stack, inside):
        return (float("nan"),) * ndim
    window = _Window(inside, stack)
    spectrum = window.spectrum(stack)
    if not np.abs(spectrum).any():
        return (float("nan"),) * ndim
    in_plane = window.correlation(spectrum, 0, window.counts(0))
    along_z = [
        float(window.correlation(spectrum, d, window.counts(d))[0, 0])
        for d in range(min(_MAX_PLANE_LAG, window.planes))
    ]
    half = [n // 3 for n in in_plane.shape]
    curves = [np.array(along_z), in_plane[: half[0], 0], in_plane[0, : half[1]]]
    return tuple(_fall_to(c, float(np.exp(-1))) for c in curves)[-ndim:]


def as_stacks(a: Any, b: Any, mask: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Channels and mask as (z, y, x) arrays, checked.

    Raises
    ------
    InputError
        If they are not real numbers, not 2D or 3D, or not finite, or the mask is empty.
    AxisMismatchError
        If shapes differ.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise AxisMismatchError(f"channels must have one shape, got {a.shape} and {b.shape}")
    if a.ndim not in (2, 3):
        raise InputError(f"channels must be 2D or 3D, got shape {a.shape}")
    inside = np.ones(a.shape, bool) if mask is None else np.asarray(mask) != 0
    if inside.shape != a.shape:
        raise AxisMismatchError(f"mask of shape {inside.shape} for channels of shape {a.shape}")
    if not inside.any():
        raise InputError("the mask is empty: no pixel to analyse")
    for name, values in (("a", a), ("b", b)):
        if values.dtype.kind not in "biuf":
            raise InputError(f"channel {name} must hold real numbers, got {values.dtype}")
        if values.dtype.kind == "f" and not (np.isfinite(values) | ~inside).all():
            raise InputError(f"channel {name} has values that are not finite; mask them out")
    shape = (1, *a.shape) if a.ndim == 2 else a.shape
    return a.reshape(shape), b.reshape(shape), inside.reshape(shape)


def pair_lobe(a: NDArray[Any], b: NDArray[Any], mask: NDArray[np.bool_]) -> PairLobe:
    """Main lobes of the pair's autocorrelations; (z, y, x) arrays."""
    for side in _SIDES:
        lobe, reach = _lobe_in(_Window(mask, a, b, side=side), a, b)
        if max(mask.shape[1:]) <= side or reach * _LOBES_PER_SIDE <= side:
            break
    return lobe


def _lobe_in(window: _Window, a: NDArray[Any], b: NDArray[Any]) -> tuple[PairLobe, float]:
    """The lobe as seen in a window, and its radius."""
    spectra = window.spectrum(a), window.spectrum(b)
    area, cross = 0.0, None
    for lag in range(min(_MAX_PLANE_LAG, window.planes)):
        counts = window.counts(lag)
        rho_a, rho_b = (window.correlation(s, lag, counts) for s in spectra)
        weight = 1 if lag == 0 else 2
        product = rho_a * rho_b
        lobe = main_lobe(product)
        area += weight * float(product[lobe].sum(dtype=np.float64))
        product = _lobe_product(rho_a, rho_b)
        cross = weight * product if cross is None else cross + weight * product
        if lag and not lobe.any():
            break
    if cross is None or not cross[0, 0] > 0:
        nan = float("nan")
        return PairLobe(area_px=nan, shift_correlation=np.zeros((1, 1)), shift_area=nan), 0.0
    cross = cross / cross[0, 0]
    inside = main_lobe(cross)
    lobe_of_pair = PairLobe(
        area_px=max(area, 1.0),
        shift_correlation=cross,
        shift_area=max(float((cross[inside].astype(np.float64) ** 2).sum()), 1.0),
    )
    return lobe_of_pair, float(np.sqrt(np.count_nonzero(inside) / np.pi))


def main_lobe(correlation: NDArray[Any], level: float = LOBE_LEVEL) -> NDArray[np.bool_]:
    """Lags within the radius at which a correlation (FFT order) has fallen to ``level``.

    The radius comes from the mean over all directions: a single direction is too noisy in a
    small region. Empty if the correlation at lag zero is below ``level`` already.
    """
    squares = [
        (np.minimum(np.arange(n), n - np.arange(n)) ** 2).astype(np.float32)
        for n in correlation.shape
    ]
    ring = np.rint(np.sqrt(squares[0][:, None] + squares[1][None, :])).astype(np.intp)
    total, count = np.zeros(ring.max() + 1), np.zeros(ring.max() + 1)
    for rings, values in zip(ring, correlation, strict=True):
        total += np.bincount(rings, values, minlength=len(total))
        count += np.bincount(rings, minlength=len(count))
    below = np.flatnonzero(total < level * count)
    reach = below[0] if below.size else len(total)
    return np.asarray(ring < reach)


class _Window:
    """The part of a region from which correlations are measured, in Fourier space.

    A deep stack is represented by its central planes and a large plane by its centre, as long
    as the region fills them as well as it fills the whole and no channel is constant there.
    """

    def __init__(
        self, mask: NDArray[np.bool_], *channels: NDArray[Any], side: int = _SIDES[-1]
    ) -> None:
        centre = tuple(
            slice(max(0, (n - most) // 2), max(0, (n - most) // 2) + most)
            for n, most in zip(mask.shape, (_MAX_PLANES, side, side), strict=True)
        )
        fits = mask[centre].mean() >= 0.5 * mask.mean() > 0 and all(
            _varies(c[centre], mask[centre]) for c in channels
        )
        self._part = centre if fits else (slice(None),) * 3
        self._mask = mask[self._part]
        self.shape = padded_shape(mask[self._part].shape[1:])
        self.planes = len(self._mask)
        self._n_pixels = int(np.count_nonzero(self._mask))
        self._inside = self._transform(self._mask)

    def spectrum(self, values: NDArray[Any]) -> NDArray[Any]:
        """Planes centred one by one, so that a change of brightness with depth is not texture."""
        values = values[self._part]
        centred = np.zeros(self._mask.shape, working_dtype(self.shape))
        for z, inside in enumerate(self._mask):
            if inside.any():
                centred[z][inside] = values[z][inside] - values[z][inside].mean(dtype=np.float64)
        variance = float(np.mean(centred[self._mask] ** 2, dtype=np.float64))
        return self._transform(centred / np.sqrt(variance or 1.0))

    def counts(self, plane_lag: int) -> NDArray[Any]:
        """Pixel pairs at each in-plane lag, FFT order."""
        return self._products(self._inside, plane_lag)

    def correlation(
        self, spectrum: NDArray[Any], plane_lag: int, counts: NDArray[Any]
    ) -> NDArray[Any]:
        """Autocorrelation at one plane lag, shape of the padded plane, FFT order."""
        enough = counts > _MIN_OVERLAP * self._n_pixels * (1 - plane_lag / self.planes)
        rho = np.zeros(self.shape, counts.dtype)
        np.divide(self._products(spectrum, plane_lag), counts, out=rho, where=enough)
        return rho

    def _transform(self, planes: NDArray[Any]) -> NDArray[Any]:
        dtype = working_dtype(self.shape)
        return np.asarray(fft.rfftn(planes.astype(dtype, copy=False), self.shape, axes=(1, 2)))

    def _products(self, spectrum: NDArray[Any], plane_lag: int) -> NDArray[Any]:
        total: Any = 0
        for first, second in zip(
            spectrum[: self.planes - plane_lag], spectrum[plane_lag:], strict=True
        ):
            total = total + first.conj() * second
        return np.asarray(fft.irfftn(total, self.shape))


def _lobe_product(rho_a: NDArray[Any], rho_b: NDArray[Any]) -> NDArray[np.float64]:
    """Correlation of the two lobes with each other: how r at one shift predicts r at another."""
    fa = fft.rfftn(np.where(main_lobe(rho_a), rho_a, 0))
    fb = fft.rfftn(np.where(main_lobe(rho_b), rho_b, 0))
    return np.asarray(fft.irfftn(fa.conj() * fb, rho_a.shape))


def _varies(values: NDArray[Any], mask: NDArray[np.bool_]) -> bool:
    inside = values[mask]
    return bool(inside.size > 1 and inside.min() < inside.max())


def _fall_to(curve: NDArray[Any], level: float) -> float:
    below = np.flatnonzero(curve < level)
    if not below.size:
        return float("inf")
    k = int(below[0])
    high, low = float(curve[k - 1]), float(curve[k])
    return float(k - 1 + (high - level) / (high - low))
