"""Manders' coefficients: how much of each stain lies where the other one is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from aequorea.colocalization.moments import PairMoments, pair_moments, sums_above
from aequorea.colocalization.regions import Pixels, paired_pixels
from aequorea.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

MandersCompat = Literal["napari", "coloc2", "jacop"]
_NAN = float("nan")


class GateSums(NamedTuple):
    """Counts of pixels above thresholds, and intensities there.

    ``n_a``, ``n_b`` and ``n_both`` are pixels where a, b, and both are above; ``a_in_b`` is Σa
    where b is above, and so on.
    """

    n_a: int = 0
    n_b: int = 0
    n_both: int = 0
    a_in_b: float = 0.0
    b_in_a: float = 0.0
    a_in_a: float = 0.0
    b_in_b: float = 0.0
    a_in_both: float = 0.0
    b_in_both: float = 0.0

    def merged(self, other: GateSums) -> GateSums:
        """Sums over the union of two disjoint sets of pixels."""
        return GateSums._make(p + q for p, q in zip(self, other, strict=True))


@dataclass(frozen=True, slots=True)
class ColocalizedAreas:
    """How many pixels, and how much intensity, lie above both thresholds.

    Attributes
    ----------
    n_coloc : int
        Pixels above both thresholds.
    n_a, n_b : int
        Pixels where a, and b, is above its threshold.
    n_pixels : int
        Pixels of the region.
    percent_area : float
        100 · n_coloc / n_pixels (of the volume, in 3D).
    percent_area_a, percent_area_b : float
        100 · n_coloc / n_a, and / n_b.
    percent_intensity_a, percent_intensity_b : float
        100 · Σa over colocalized pixels / Σa over the region; likewise b.
    percent_intensity_above_a, percent_intensity_above_b : float
        100 · Σa over colocalized pixels / Σa where a is above its threshold; likewise b.
    """

    n_coloc: int
    n_a: int
    n_b: int
    n_pixels: int
    percent_area: float
    percent_area_a: float
    percent_area_b: float
    percent_intensity_a: float
    percent_intensity_b: float
    percent_intensity_above_a: float
    percent_intensity_above_b: float


def manders(
    a: ArrayLike,
    b: ArrayLike,
    threshold_a: float,
    threshold_b: float,
    mask: ArrayLike | None = None,
    *,
    compat: MandersCompat | None = None,
) -> tuple[float, float]:
    """Manders' colocalization coefficients M1 and M2.

    M1 is the fraction of a's intensity in pixels where b is above its threshold; M2 the
    fraction of b's intensity where a is above its.

    Parameters
    ----------
    a, b : array_like, same shape
        Intensities, not negative, background subtracted.
    threshold_a, threshold_b : float
    mask : array_like of bool, same shape, optional
    compat : {None, "napari", "coloc2", "jacop"}
        Default, and "napari": above means > threshold. "coloc2": ≥ threshold and > 0.
        "jacop": both channels above (>), divided by the intensity of the channel above its
        own threshold, M1 = Σ a[a>T_a and b>T_b] / Σ a[a>T_a].

    Returns
    -------
    m1, m2 : float
        In [0, 1]. Each is NaN for itself when its threshold is not finite, its channel has
        negative values or no intensity, or there are no pixels.

    Raises
    ------
    InputError
        If shapes differ, pixels are NaN or infinite, or compat is unknown.

    References
    ----------
    .. [1] Manders, Verbeek & Aten (1993), doi:10.1111/j.1365-2818.1993.tb03313.x
    .. [2] Bolte & Cordelières (2006), doi:10.1111/j.1365-2818.2006.01706.x

    Examples
    --------
    >>> manders([0, 2, 2], [0, 0, 3], 1, 1)
    (0.5, 1.0)
    """
    x, y = paired_pixels(a, b, mask)
    return manders_of(x, y, pair_moments(x, y), threshold_a, threshold_b, compat=compat)


def overlap(
    a: ArrayLike,
    b: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    threshold_a: float | None = None,
    threshold_b: float | None = None,
) -> tuple[float, float, float]:
    """Manders' overlap coefficient r and its split coefficients k1 and k2.

    r = Σab / √(Σa² Σb²), k1 = Σab / Σa², k2 = Σab / Σb².

    Parameters
    ----------
    a, b : array_like, same shape
        Intensities, not negative.
    mask : array_like of bool, same shape, optional
    threshold_a, threshold_b : float, optional
        Take only pixels where both channels are above (>) their thresholds (JACoP's
        thresholded variant). Give both or neither.

    Returns
    -------
    r, k1, k2 : float
        NaN where a value is negative, the region is empty or the denominator is zero.

    Raises
    ------
    InputError
        If only one threshold is given, shapes differ, or pixels are NaN or infinite.

    References
    ----------
    .. [1] Manders et al. (1992), doi:10.1242/jcs.103.3.857

    Examples
    --------
    >>> r, k1, k2 = overlap([1, 2], [2, 4])
    >>> round(r, 6), k1, k2
    (1.0, 2.0, 0.5)
    """
    if (threshold_a is None) != (threshold_b is None):
        raise InputError("overlap needs both threshold_a and threshold_b, or neither")
    x, y = paired_pixels(a, b, mask)
    if threshold_a is not None and threshold_b is not None:
        return overlap_above(x, y, threshold_a, threshold_b)
    return overlap_of(pair_moments(x, y))


def colocalized_areas(
    a: ArrayLike,
    b: ArrayLike,
    threshold_a: float,
    threshold_b: float,
    mask: ArrayLike | None = None,
    *,
    compat: Literal["coloc2"] | None = None,
) -> ColocalizedAreas:
    """Area and intensity above both thresholds, as counts and percentages.

    Parameters
    ----------
    a, b : array_like, same shape
    threshold_a, threshold_b : float
    mask : array_like of bool, same shape, optional
    compat : {None, "coloc2"}
        Default: above means > threshold. "coloc2": ≥, the definition of the plug-in
        "Colocalization Threshold" that these families come from.

    Returns
    -------
    ColocalizedAreas
        Percentages whose denominator is not positive, and all of them where a threshold is
        not finite, are NaN; those of intensity also where the channel has negative values.

    Examples
    --------
    >>> areas = colocalized_areas([0, 2, 2, 0], [0, 0, 3, 1], 1, 1)
    >>> areas.n_coloc, areas.percent_area, areas.percent_intensity_a
    (1, 25.0, 50.0)
    """
    x, y = paired_pixels(a, b, mask)
    return areas_of(x, y, pair_moments(x, y), threshold_a, threshold_b, compat=compat)


def manders_of(
    x: Pixels,
    y: Pixels,
    moments: PairMoments,
    threshold_a: float,
    threshold_b: float,
    *,
    compat: str | None = None,
) -> tuple[float, float]:
    """M1 and M2 of flat arrays whose moments are known; see :func:`manders`."""
    sums = gate_sums(x, y, threshold_a, threshold_b, compat=compat)
    return manders_from(sums, moments, threshold_a, threshold_b, compat=compat)


def gate_sums(
    x: Pixels, y: Pixels, threshold_a: float, threshold_b: float, *, compat: str | None = None
) -> GateSums:
    """What :func:`manders_from` needs of the pixels; sums of disjoint sets may be added."""
    if compat not in (None, "napari", "coloc2", "jacop"):
        raise InputError(f"unknown compat {compat!r}; choose None, 'napari', 'coloc2' or 'jacop'")
    gate_a, gate_b = _gates(threshold_a, threshold_b, compat)
    return GateSums(*sums_above(x, y, gate_a, gate_b))


def manders_from(
    sums: GateSums,
    moments: PairMoments,
    threshold_a: float,
    threshold_b: float,
    *,
    compat: str | None = None,
) -> tuple[float, float]:
    """M1 and M2 from sums over the pixels above thresholds; see :func:`manders`."""
    fine_a = moments.n > 0 and moments.min_a >= 0 and moments.sum_a > 0
    fine_b = moments.n > 0 and moments.min_b >= 0 and moments.sum_b > 0
    known_a, known_b = bool(np.isfinite(threshold_a)), bool(np.isfinite(threshold_b))
    if compat == "jacop":
        known = known_a and known_b
        return (
            _ratio(sums.a_in_both, sums.a_in_a) if known and fine_a else _NAN,
            _ratio(sums.b_in_both, sums.b_in_b) if known and fine_b else _NAN,
        )
    return (
        _ratio(sums.a_in_b, moments.sum_a) if known_b and fine_a else _NAN,
        _ratio(sums.b_in_a, moments.sum_b) if known_a and fine_b else _NAN,
    )


def overlap_of(moments: PairMoments) -> tuple[float, float, float]:
    """Overlap r, k1 and k2 from moments; see :func:`overlap`."""
    if not moments.n or moments.min_a < 0 or moments.min_b < 0:
        return _NAN, _NAN, _NAN
    aa, bb, ab = moments.raw
    # Of proportional channels r is 1, which rounding may exceed.
    r = min(ab / math.sqrt(aa) / math.sqrt(bb), 1.0) if aa > 0 and bb > 0 else _NAN
    return r, _ratio(ab, aa), _ratio(ab, bb)


def overlap_above(
    x: Pixels, y: Pixels, threshold_a: float, threshold_b: float
) -> tuple[float, float, float]:
    """Overlap r, k1 and k2 of the pixels where both channels are above their thresholds."""
    if not (np.isfinite(threshold_a) and np.isfinite(threshold_b)):
        return _NAN, _NAN, _NAN
    both = (x > threshold_a) & (y > threshold_b)
    return overlap_of(pair_moments(x[both], y[both]))


def areas_of(
    x: Pixels,
    y: Pixels,
    moments: PairMoments,
    threshold_a: float,
    threshold_b: float,
    *,
    compat: str | None = None,
) -> ColocalizedAreas:
    """Areas of flat arrays whose moments are known; see :func:`colocalized_areas`."""
    n = moments.n
    if not (np.isfinite(threshold_a) and np.isfinite(threshold_b)) or not n:
        return ColocalizedAreas(0, 0, 0, n, *(_NAN,) * 7)
    if compat == "coloc2":
        threshold_a = float(np.nextafter(threshold_a, -np.inf))
        threshold_b = float(np.nextafter(threshold_b, -np.inf))
    n_a, n_b, n_both, _, _, a_in_a, b_in_b, a_both, b_both = sums_above(
        x, y, threshold_a, threshold_b
    )
    fine_a, fine_b = moments.min_a >= 0, moments.min_b >= 0
    return ColocalizedAreas(
        n_both,
        n_a,
        n_b,
        n,
        100 * n_both / n,
        100 * _ratio(n_both, n_a),
        100 * _ratio(n_both, n_b),
        100 * _ratio(a_both, moments.sum_a) if fine_a else _NAN,
        100 * _ratio(b_both, moments.sum_b) if fine_b else _NAN,
        100 * _ratio(a_both, a_in_a) if fine_a else _NAN,
        100 * _ratio(b_both, b_in_b) if fine_b else _NAN,
    )


def _gates(threshold_a: float, threshold_b: float, compat: str | None) -> tuple[float, float]:
    """Thresholds for a strict comparison. ≥ T is > the float just below T."""
    if compat != "coloc2":
        return float(threshold_a), float(threshold_b)
    below_a, below_b = np.nextafter(threshold_a, -np.inf), np.nextafter(threshold_b, -np.inf)
    return float(max(below_a, 0.0)), float(max(below_b, 0.0))


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else _NAN
