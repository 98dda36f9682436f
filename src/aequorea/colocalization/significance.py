"""Is the colocalization more than chance? Nulls that are stated in words and hold their level."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from scipy import special, stats

from aequorea.colocalization.autocorrelation import PairLobe, as_stacks, pair_lobe
from aequorea.colocalization.profile import ProfileModel, profile_model
from aequorea.colocalization.shifts import (
    ShiftMap,
    masked_shift_map,
    signed_lags,
    toroidal_shift_map,
)
from aequorea.colocalization.surrogates import random_phase_correlations
from aequorea.errors import AxisMismatchError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Null = Literal["stationary", "profile", "phase"]
Metric = Literal["pcc", "srcc", "m1", "m2"]
Alternative = Literal["greater", "less", "two-sided"]

#: Below this many independent pixels a region says nothing about alignment.
MIN_EFFECTIVE_N = 12
#: Shifts whose r is correlated with the unshifted r above this are not used as null.
_NEIGHBOUR_LEVEL = 0.2
_TINY = 1e-12
_BLOCK_PIXELS = 1 << 16

HYPOTHESES: dict[str, str] = {
    "stationary": (
        "The fine structures of the two channels are not aligned: both are stationary within the "
        "region, so that any rigid in-plane shift of one against the other is as likely as none."
    ),
    "profile": (
        "Given where each channel is bright on a large scale (distance to the region's edge and "
        "to landmarks, depth, and a smooth field), the fine structures are not aligned."
    ),
    "phase": (
        "The second channel is a stationary random texture with the spectrum it was measured to "
        "have, independent of the first channel."
    ),
}
UNIT = "position within one image region (not cells, animals or experiments)"


@dataclass(frozen=True, eq=False, kw_only=True)
class NullResult:
    """A measured value held against what chance alone gives.

    Attributes
    ----------
    metric, null, alternative : str
    observed : float
        The metric as measured, unshifted.
    tested : float
        The value that is held against ``null_values``: the metric itself, but for the null
        ``"profile"`` the correlation of the fine structures that remain without the profiles.
    expected : float
        Its mean under the null.
    null_low, null_high : float
        2.5 % and 97.5 % points of the metric under the null.
    ci_low, ci_high : float
        95 % confidence interval of a correlation from Fisher's z and the effective n, within
        this region; NaN for Manders' coefficients.
    p_value : float
        ``(k + 1) / (n + 1)`` with n the number of *independent* null values; NaN with a reason.
    p_floor : float
        The smallest p-value that this region can give.
    z_score : float
        Distance of the tested correlation from its null mean, in null standard deviations.
    n_pixels : int
    n_effective : float
        Independent pixel pairs: region size over correlation area.
    n_independent : float
        Independent null values among those evaluated.
    n_shifts : int
        Null values evaluated.
    hypothesis, unit : str
        The null and the unit of inference, in words.
    reason : str
        Why there is no p-value; empty when there is one.
    warnings : tuple of str
    null_values : ndarray, shape (n_shifts,)
        What ``tested`` is under the null.
    shifts : ndarray of int, shape (n_shifts, 2), px
        (dy, dx) of each; empty for surrogates.
    seed : int
    """

    metric: str
    null: str
    alternative: str
    observed: float
    tested: float = float("nan")
    expected: float = float("nan")
    null_low: float = float("nan")
    null_high: float = float("nan")
    ci_low: float = float("nan")
    ci_high: float = float("nan")
    p_value: float = float("nan")
    p_floor: float = float("nan")
    z_score: float = float("nan")
    n_pixels: int = 0
    n_effective: float = float("nan")
    n_independent: float = float("nan")
    n_shifts: int = 0
    hypothesis: str = ""
    unit: str = UNIT
    reason: str = ""
    warnings: tuple[str, ...] = ()
    null_values: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    shifts: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    seed: int = 0


def significance(
    a: Any,
    b: Any,
    *,
    mask: Any = None,
    null: Null = "stationary",
    metric: Metric = "pcc",
    threshold_a: float | None = None,
    threshold_b: float | None = None,
    n_shifts: int = 999,
    seed: int = 0,
    alternative: Alternative = "greater",
    landmarks: Any = None,
    spacing_um: tuple[float, ...] | None = None,
    profile_scale_px: float | None = None,
    describe_only: bool = False,
) -> NullResult:
    """Test whether two channels colocalize more than a stated null allows.

    Parameters
    ----------
    a, b : ndarray, shape (y, x) or (z, y, x)
    mask : ndarray of bool, optional
        The region; without it the whole rectangle.
    null : {"stationary", "profile", "phase"}
        ``"stationary"``: rigid shifts; both channels must look alike everywhere in the region.
        ``"profile"``: the same after each channel's large-scale profile is taken out; two stains
        that merely share a perinuclear gradient are not significant. ``"phase"``: random-phase
        surrogates, whole rectangles only.
    metric : {"pcc", "srcc", "m1", "m2"}
        Manders' coefficients need the threshold of the other channel.
    threshold_a, threshold_b : float, optional
        For ``"m2"`` and ``"m1"``: a pixel counts as positive above its threshold.
    n_shifts : int
        Null values to evaluate at most.
    seed : int
        Chooses among the admissible shifts.
    alternative : {"greater", "less", "two-sided"}
    landmarks : ndarray, optional
        Non-zero inside nuclei or other landmarks (null ``"profile"``).
    spacing_um : tuple of float, optional
        Pixel size along each axis in µm, for distances in anisotropic stacks.
    profile_scale_px : float, optional
        Structure wider than this (Gaussian sigma) belongs to the profile; default an eighth of
        the region's diameter.
    describe_only : bool
        Give what chance would give (``expected``, ``null_low``, ``null_high``) without testing:
        for metrics reported beside the one that was declared.

    Returns
    -------
    NullResult

    Raises
    ------
    InputError
        If the request as a whole makes no sense. A region that is too small or constant is not
        an error: its p-value is NaN and ``reason`` says why.

    Notes
    -----
    Shifts stay in the plane, so a common change with depth does not count as alignment. A shift
    is evaluated on the overlap of the region with its shifted self (at least half of it), and r
    is studentised by the size of the overlap. Shifts so small that r has not decorrelated are
    left out. Neighbouring shifts give nearly the same r, so k and n of the p-value count
    independent shifts, not evaluated ones. Measured false-positive rates are in the
    documentation and in ``benchmarks/results``.

    References
    ----------
    .. [1] Fay et al. (1997) Exp. Cell Res. 231:27, doi:10.1006/excr.1996.3460
    .. [2] Dunn, Kamocka & McDonald (2011) doi:10.1152/ajpcell.00462.2010
    .. [3] Mrkvička et al. (2021) Spat. Stat. 42:100430, doi:10.1016/j.spasta.2020.100430
    .. [4] North, Curtis & Sham (2002) doi:10.1086/341527 (the p-value)

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import gaussian_filter
    >>> rng = np.random.default_rng(1)
    >>> shared, u, v = (gaussian_filter(rng.normal(size=(96, 96)), 1.5) for _ in range(3))
    >>> significance(shared + u, shared + v).p_value < 0.01
    True
    >>> significance(u, v).p_value > 0.05
    True
    """
    _check_request(null, metric, alternative, n_shifts, mask, threshold_a, threshold_b)
    sa, sb, inside = as_stacks(a, b, mask)
    marks = None if landmarks is None else _landmark_stack(landmarks, np.shape(a), inside.shape)
    box = _bounding_box(inside)
    around = _surroundings(box, inside.shape)
    sa, sb, inside = sa[box], sb[box], inside[box]
    sa, sb = _tested_pair(sa, sb, inside, metric, threshold_a, threshold_b)
    of_a, of_b = _summary(sa, inside), _summary(sb, inside)
    header: dict[str, Any] = {
        "metric": metric,
        "null": null,
        "alternative": alternative,
        "n_pixels": of_a.n,
        "hypothesis": HYPOTHESES[null],
        "seed": seed,
        "observed": _observed(sa, sb, inside, metric, of_a, of_b),
    }
    reason = _one_sided(metric, of_a, of_b) or _degenerate(of_a, of_b)
    reason = reason or _without_manders(metric, of_a, of_b)
    if reason:
        return NullResult(**header, reason=reason)
    rng = np.random.default_rng(seed)
    if null == "phase":
        result = _by_surrogates(sa, sb, inside, header, n_shifts, rng)
        return _untested(result) if describe_only else result
    ratio, model, ta, tb = 1.0, None, sa, sb
    if null == "profile":
        spacing = None if spacing_um is None else _spacing_zyx(spacing_um, len(inside))
        model = profile_model(
            inside,
            landmarks=None if marks is None else marks[around],
            window=_within(box, around),
            spacing_zyx=spacing,
            scale_px=profile_scale_px,
        )
        ta, tb = model.standardise(sa), model.standardise(sb)
        reason = _degenerate(_summary(ta, inside), _summary(tb, inside))
        if reason:
            return NullResult(**header, reason=f"after its profile is taken out, {reason}")
        header |= _profile_expectation(model, sa, sb, metric)
    lobe = pair_lobe(ta, tb, inside)
    if model is not None and not describe_only:
        n_effective = of_a.n / lobe.area_px
        ratio = model.variance_ratio(ta, tb, rng, n_effective=n_effective)
    sampler = _ShiftSampler(lobe, n_shifts, rng)
    if mask is None and null == "stationary":
        maps = toroidal_shift_map(ta, tb, choose=sampler)
    else:
        maps = masked_shift_map(ta, tb, inside, choose=sampler)
    result = _by_shifts(maps, lobe, header, ratio, sampler.n_candidates, n_shifts)
    if null == "profile" and marks is not None and not marks[around].any():
        far = "no landmark in or near the region: the profile does not follow any"
        result = replace(result, warnings=(far, *result.warnings))
    return _untested(result) if describe_only else result


def _check_request(
    null: str,
    metric: str,
    alternative: str,
    n_shifts: int,
    mask: Any,
    threshold_a: float | None,
    threshold_b: float | None,
) -> None:
    for name, value, allowed in (
        ("null", null, get_args(Null)),
        ("metric", metric, get_args(Metric)),
        ("alternative", alternative, get_args(Alternative)),
    ):
        if value not in allowed:
            raise InputError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    if not isinstance(n_shifts, int | np.integer) or n_shifts < 19:
        raise InputError(
            f"n_shifts must be a whole number of at least 19 (a p-value of 0.05), got {n_shifts}"
        )
    if null == "phase" and mask is not None:
        raise InputError("random phases need a whole rectangle; use null='stationary' in a mask")
    needed = {"m1": ("threshold_b", threshold_b), "m2": ("threshold_a", threshold_a)}
    if metric in needed and needed[metric][1] is None:
        raise InputError(f"metric {metric!r} needs {needed[metric][0]}")


def _landmark_stack(
    landmarks: Any, shape: tuple[int, ...], stack_shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    marks = np.asarray(landmarks) != 0
    if marks.shape != shape:
        raise AxisMismatchError(f"landmarks of shape {marks.shape} for channels of shape {shape}")
    return np.asarray(marks.reshape(stack_shape))


def _spacing_zyx(spacing_um: tuple[float, ...], n_planes: int) -> tuple[float, float, float]:
    if len(spacing_um) not in (2, 3) or not all(np.isfinite(s) and s > 0 for s in spacing_um):
        raise InputError(f"spacing_um must be 2 or 3 positive numbers of µm, got {spacing_um}")
    if len(spacing_um) == 2 and n_planes > 1:
        raise InputError(f"spacing_um must be 3 numbers (z, y, x) for a stack, got {spacing_um}")
    y, x = spacing_um[-2:]
    # In one plane nothing lies above or below: any z spacing gives the same distances.
    return (spacing_um[0] if len(spacing_um) == 3 else y, y, x)


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The region with one pixel around it, so that its edge stays an edge."""
    box = []
    for axis in range(mask.ndim):
        used = np.flatnonzero(mask.any(axis=tuple(k for k in range(mask.ndim) if k != axis)))
        margin = 0 if axis == 0 else 1
        start, stop = int(used[0]) - margin, int(used[-1]) + 1 + margin
        box.append(slice(max(0, start), min(mask.shape[axis], stop)))
    return tuple(box)


def _surroundings(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """A box widened by its own size: landmarks further off hardly shape a region's profile."""
    return tuple(
        slice(max(0, s.start - (s.stop - s.start)), min(n, s.stop + (s.stop - s.start)))
        for s, n in zip(box, shape, strict=True)
    )


def _within(box: tuple[slice, ...], around: tuple[slice, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(s.start - a.start, s.stop - a.start) for s, a in zip(box, around, strict=True)
    )


def _tested_pair(
    a: NDArray[Any],
    b: NDArray[Any],
    mask: NDArray[np.bool_],
    metric: str,
    threshold_a: float | None,
    threshold_b: float | None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The two images whose correlation is tested for ``metric``."""
    if metric == "srcc":
        return _ranks(a, mask), _ranks(b, mask)
    if metric == "m1":
        return a, (b > threshold_b).astype(np.float64)
    if metric == "m2":
        return (a > threshold_a).astype(np.float64), b
    return a, b


def _ranks(values: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    out = np.zeros(values.shape)
    out[mask] = stats.rankdata(values[mask])
    return out


@dataclass(frozen=True)
class _Summary:
    """Size, mean, spread and extremes of a channel in its region."""

    n: int
    mean: float
    std: float
    low: float
    high: float

    @property
    def constant(self) -> bool:
        return self.std <= _TINY * max(1.0, abs(self.low), abs(self.high))


def _blocks(
    mask: NDArray[np.bool_], *channels: NDArray[Any]
) -> Iterator[tuple[NDArray[np.float64], ...]]:
    """Pixels of the region as float64, a few rows at a time."""
    rows = max(1, _BLOCK_PIXELS // mask.shape[2])
    for z in range(mask.shape[0]):
        for y in range(0, mask.shape[1], rows):
            inside = mask[z, y : y + rows]
            yield tuple(c[z, y : y + rows][inside].astype(np.float64) for c in channels)


def _summary(values: NDArray[Any], mask: NDArray[np.bool_]) -> _Summary:
    n, total, low, high = 0, 0.0, np.inf, -np.inf
    for (x,) in _blocks(mask, values):
        if x.size:
            n, total = n + x.size, total + float(x.sum())
            low, high = min(low, float(x.min())), max(high, float(x.max()))
    mean = total / n
    squares = sum(float(((x - mean) ** 2).sum()) for (x,) in _blocks(mask, values))
    return _Summary(n, mean, float(np.sqrt(squares / n)), low, high)


def _observed(
    a: NDArray[Any],
    b: NDArray[Any],
    mask: NDArray[np.bool_],
    metric: str,
    of_a: _Summary,
    of_b: _Summary,
) -> float:
    if metric in ("m1", "m2"):
        weights = of_a if metric == "m1" else of_b
        total = weights.mean * weights.n
        shared = sum(float(x @ y) for x, y in _blocks(mask, a, b))
        return shared / total if weights.low >= 0 and total > 0 else float("nan")
    if of_a.std * of_b.std == 0:
        return float("nan")
    joint = sum(float((x - of_a.mean) @ (y - of_b.mean)) for x, y in _blocks(mask, a, b))
    return float(np.clip(joint / (of_a.n * of_a.std * of_b.std), -1, 1))


def _one_sided(metric: str, of_a: _Summary, of_b: _Summary) -> str:
    """Why a gated channel divides no pixels: its threshold is NaN or beyond all of them."""
    gated = {"m1": ("second", of_b), "m2": ("first", of_a)}.get(metric)
    if gated is None or not gated[1].constant:
        return ""
    side = "every" if gated[1].mean > 0 else "no"
    return f"{side} pixel of the {gated[0]} channel lies above its threshold"


def _degenerate(of_a: _Summary, of_b: _Summary) -> str:
    if of_a.n < MIN_EFFECTIVE_N:
        return f"fewer than {MIN_EFFECTIVE_N} pixels"
    for name, channel in (("first", of_a), ("second", of_b)):
        if channel.constant:
            return f"the {name} channel is constant in the region"
    return ""


def _without_manders(metric: str, of_a: _Summary, of_b: _Summary) -> str:
    """Why Manders' coefficient is undefined; empty if it is defined or not asked for."""
    weights = {"m1": ("first", of_a), "m2": ("second", of_b)}.get(metric)
    if weights is None or weights[1].low >= 0:
        return ""
    return f"the {weights[0]} channel has negative values: Manders' coefficient is undefined"


def _untested(result: NullResult) -> NullResult:
    nan = float("nan")
    reason = result.reason or "described beside the declared metric, not tested"
    return replace(result, p_value=nan, p_floor=nan, z_score=nan, warnings=(), reason=reason)


class _ShiftSampler:
    """Chooses null shifts at random among those at which r has decorrelated.

    Attributes
    ----------
    n_candidates : int
        How many there were to choose from, once called.
    """

    def __init__(self, lobe: PairLobe, n_shifts: int, rng: np.random.Generator) -> None:
        self._lobe = lobe
        self._n_shifts = n_shifts
        self._rng = rng
        self.n_candidates = 0

    def __call__(self, admissible: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Flat positions (FFT order): no shift first, then the chosen ones."""
        usable = admissible & ~self._neighbours(admissible.shape)
        usable[0, 0] = False
        self.n_candidates = int(np.count_nonzero(usable))
        if self.n_candidates <= self._n_shifts:
            return np.concatenate([[0], np.flatnonzero(usable)]).astype(np.intp)
        ranks = np.sort(self._rng.choice(self.n_candidates, self._n_shifts, replace=False))
        return np.concatenate([[0], _nth_true(usable, ranks)]).astype(np.intp)

    def _neighbours(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        near = self._lobe.shift_correlation > _NEIGHBOUR_LEVEL
        lags = signed_lags(near.shape, np.nonzero(near))
        inner = np.abs(lags) < np.array(near.shape) // 2
        fits = np.abs(lags) <= np.array(shape) // 2
        lags = lags[(inner & fits).all(axis=1)]
        out = np.zeros(shape, bool)
        out[lags[:, 0] % shape[0], lags[:, 1] % shape[1]] = True
        return out


def _nth_true(flags: NDArray[np.bool_], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Flat positions of the true values with the given ranks, without listing them all."""
    ends = np.cumsum(np.count_nonzero(flags, axis=1))
    rows = np.searchsorted(ends, ranks, side="right")
    before = np.where(rows > 0, ends[rows - 1], 0)
    columns = [np.flatnonzero(flags[row])[k] for row, k in zip(rows, ranks - before, strict=True)]
    return np.asarray(rows * flags.shape[1] + columns, dtype=np.int64)


def _too_few(n_effective: float) -> str:
    if np.isnan(n_effective):
        return "a channel is constant in every plane of the region"
    return f"only {n_effective:.1f} independent pixels in the region ({MIN_EFFECTIVE_N} needed)"


def _by_shifts(
    maps: ShiftMap,
    lobe: PairLobe,
    header: dict[str, Any],
    ratio: float,
    n_candidates: int,
    n_shifts: int,
) -> NullResult:
    n_effective = float(np.clip(maps.n_pixels / lobe.area_px, 1, maps.n_pixels))
    header |= {"n_effective": n_effective}
    header |= _confidence(header, n_effective)
    if not n_effective >= MIN_EFFECTIVE_N:
        return NullResult(**header, reason=_too_few(n_effective))
    chosen = np.flatnonzero(np.isfinite(maps.r) & maps.shifts.any(axis=1))
    defined = chosen.size / max(1, len(maps.r) - 1)
    n_independent = min(n_candidates * defined / lobe.shift_area, float(n_shifts))
    if not n_independent >= 1:
        return NullResult(
            **header,
            n_independent=n_independent,
            reason="the region is too small against its texture: no independent shift fits in it",
        )
    t = maps.studentised()
    centre = float(t[chosen].mean())
    observed = centre + (float(t[maps.zero]) - centre) / np.sqrt(ratio)
    scale = _null_scale(maps, chosen, header)
    p_value, p_floor = _p_value(t[chosen], observed, centre, n_independent, header["alternative"])
    spread = float(t[chosen].std())
    return NullResult(
        **header,
        **scale,
        p_value=p_value,
        p_floor=p_floor,
        z_score=(observed - centre) / spread if spread > 0 else float("nan"),
        n_independent=n_independent,
        n_shifts=int(chosen.size),
        warnings=_resolution_warnings(p_floor, n_independent),
        shifts=maps.shifts[chosen],
    )


def _by_surrogates(
    a: NDArray[Any],
    b: NDArray[Any],
    mask: NDArray[np.bool_],
    header: dict[str, Any],
    n_surrogates: int,
    rng: np.random.Generator,
) -> NullResult:
    lobe = pair_lobe(a, b, mask)
    n_effective = float(np.clip(a.size / lobe.area_px, 1, a.size))
    header |= {"n_effective": n_effective}
    header |= _confidence(header, n_effective)
    if not n_effective >= MIN_EFFECTIVE_N:
        return NullResult(**header, reason=_too_few(n_effective))
    observed, null = random_phase_correlations(a, b, n_surrogates=n_surrogates, rng=rng)
    if not np.isfinite(observed):
        return NullResult(**header, reason="a channel has no texture: no phase to randomise")
    centre = float(null.mean())
    p_value, p_floor = _p_value(null, observed, centre, n_surrogates, header["alternative"])
    values = null
    if header["metric"] in ("m1", "m2"):
        weights, other = (a, b) if header["metric"] == "m1" else (b, a)
        chance, slope = float(other.mean()), float(weights.std() * other.std() / weights.mean())
        values = chance + slope * null
    return NullResult(
        **header,
        tested=observed if values is null else header["observed"],
        expected=float(values.mean()),
        null_low=float(np.quantile(values, 0.025)),
        null_high=float(np.quantile(values, 0.975)),
        p_value=p_value,
        p_floor=p_floor,
        z_score=float((observed - centre) / null.std()),
        n_independent=float(n_surrogates),
        n_shifts=n_surrogates,
        null_values=values,
    )


def _p_value(
    null: NDArray[np.float64],
    observed: float,
    centre: float,
    n_independent: float,
    alternative: str,
) -> tuple[float, float]:
    """``(k + 1) / (n + 1)`` with k and n in independent null values; and its smallest value."""
    slack = 1e-9
    share = {
        "greater": (null >= observed - slack).mean(),
        "less": (null <= observed + slack).mean(),
        "two-sided": (np.abs(null - centre) >= abs(observed - centre) - slack).mean(),
    }[alternative]
    return float((share * n_independent + 1) / (n_independent + 1)), 1 / (n_independent + 1)


def _null_scale(
    maps: ShiftMap, chosen: NDArray[np.int64], header: dict[str, Any]
) -> dict[str, Any]:
    """Null values and their expectation, on the scale of the metric."""
    slope = header.pop("slope", None)
    if slope is None:
        values = _metric_values(maps, header["metric"])
        null = values[chosen]
        low, high = np.nanquantile(null, [0.025, 0.975])
        tested, expected = float(values[maps.zero]), float(np.nanmean(null))
    else:
        null, tested = maps.r[chosen], float(maps.r[maps.zero])
        expected = header.pop("expected")
        low, high = expected + slope * np.quantile(null, [0.025, 0.975])
    return {
        "tested": tested,
        "expected": expected,
        "null_low": float(low),
        "null_high": float(high),
        "null_values": null,
    }


def _metric_values(maps: ShiftMap, metric: str) -> NDArray[np.float64]:
    if metric not in ("m1", "m2"):
        return maps.r
    weights = maps.mean_a if metric == "m1" else maps.mean_b
    out = np.full(len(weights), np.nan)
    return np.asarray(np.divide(maps.mean_ab, weights, out=out, where=weights > 0))


def _profile_expectation(
    model: ProfileModel, a: NDArray[Any], b: NDArray[Any], metric: str
) -> dict[str, float]:
    """The metric if each channel followed its profile alone, and its slope on fine-scale r."""
    va, vb = (x[model.mask].astype(np.float64) for x in (a, b))
    ra, rb = model.residual(va), model.residual(vb)
    fitted = float(np.mean((va - ra) * (vb - rb)))
    fine = float(ra.std() * rb.std())
    if metric in ("m1", "m2"):
        mean = float((va if metric == "m1" else vb).mean())
        undefined = {"expected": float("nan"), "slope": float("nan")}
        return {"expected": fitted / mean, "slope": fine / mean} if mean > 0 else undefined
    norm = float(va.std() * vb.std())
    shared = fitted - float((va - ra).mean() * (vb - rb).mean())
    return {"expected": shared / norm, "slope": fine / norm}


def _confidence(header: dict[str, Any], n_effective: float) -> dict[str, float]:
    r = header["observed"]
    if header["metric"] in ("m1", "m2") or not np.isfinite(r) or n_effective <= 4:
        return {}
    half = float(special.ndtri(0.975)) / np.sqrt(n_effective - 3)
    z = np.arctanh(np.clip(r, -1 + _TINY, 1 - _TINY))
    return {"ci_low": float(np.tanh(z - half)), "ci_high": float(np.tanh(z + half))}


def _resolution_warnings(p_floor: float, n_independent: float) -> tuple[str, ...]:
    if p_floor <= 0.05:
        return ()
    text = (
        f"the region holds only {n_independent:.1f} independent shifts: its p-value cannot fall "
        f"below {p_floor:.2g}; test the cells of an image together, or compare per-cell values "
        "between conditions"
    )
    return (text,)
