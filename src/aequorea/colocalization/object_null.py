"""Are the objects of A nearer to those of B than chance would bring them, at any distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from scipy.spatial import cKDTree

from aequorea.colocalization.channel_pair import region_of
from aequorea.colocalization.objects import Spacing, object_centroids, spacing_of
from aequorea.errors import AxisMismatchError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FractionWithin", "fraction_within"]

FloatArray = npt.NDArray[np.float64]
Null = Literal["uniform", "shift", "profile"]
Alternative = Literal["greater", "less", "two-sided"]

_QUERIES = 200_000  # points moved at a time
_LEVEL = 0.05  # of the global envelope
_HYPOTHESES = {
    "uniform": "A's objects lie independently of each other and of B, evenly over the mask.",
    "shift": (
        "A's pattern as a whole, with its own clustering, lies independently of B, and A and B "
        "have no common large-scale density in the mask."
    ),
    "profile": (
        "Given its distance to the {landmark}, each of A's objects lies independently of the "
        "others and of B."
    ),
}


@dataclass(frozen=True)
class FractionWithin:
    """Fraction of A's objects with an object of B within each distance, and chance's share.

    All curves have one value per distance; NaN (with ``reason``) if there is nothing to test.
    """

    distances_um: FloatArray
    observed: FloatArray
    expected: FloatArray  # mean of the null
    ratio: FloatArray  # observed / expected, NaN where nothing is expected
    lower: FloatArray  # global 95 % envelope of the null: p_value <= 0.05 where observed leaves it
    upper: FloatArray
    p_pointwise: FloatArray  # for one distance chosen beforehand
    p_value: float  # for the whole curve
    n_a: int
    n_b: int
    n_outside: int  # objects of either channel whose centre is not in the mask, left out
    n_reshuffles: int
    null: str
    alternative: str
    hypothesis: str
    reason: str


def fraction_within(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    mask: npt.ArrayLike | None = None,
    spacing_um: Spacing,
    distances_um: npt.ArrayLike,
    n_reshuffles: int = 999,
    seed: int | np.random.Generator | None = 0,
    alternative: Alternative = "greater",
    null: Null = "uniform",
    landmark: npt.ArrayLike | None = None,
    window: float = 0.05,
) -> FractionWithin:
    """Test the fraction of A's objects with a B within d, for all d at once, inside a mask.

    Parameters
    ----------
    a, b : array_like
        Integer label images, of which the centroids count, or positions in pixels, shape
        (n, ndim).
    mask : array_like, optional
        Non-zero where objects can be (one cell, or the cytoplasm). Required with positions; the
        whole image by default with labels.
    spacing_um : mapping, sequence of float or float
        Pixel size of each axis, µm.
    distances_um : array_like, shape (d,), µm
        Distances to look at; chosen before looking.
    n_reshuffles : int, default 999
    seed : int, Generator or None, default 0
    alternative : {"greater", "less", "two-sided"}, default "greater"
        "greater": A is nearer to B than by chance.
    null : {"uniform", "shift", "profile"}, default "uniform"
        How A is moved while B stays:
        "uniform" puts each of A's objects anywhere in the mask. Rejects too often if A is
        clustered or if both prefer the same part of the mask.
        "shift" moves all of A together, rigidly, and keeps its clustering. What leaves the mask
        is left out (at least half of the mask must be shared with its shifted self, and fractions
        of fewer points are weighed by √n); without a mask, positions wrap around.
        "profile" moves each object among the pixels at (almost) its distance to a landmark, and
        so keeps a common perinuclear or peripheral preference.
    landmark : array_like, optional
        For "profile": non-zero inside the landmark, such as the nucleus; the edge of the mask by
        default.
    window : float, default 0.05
        For "profile": share of the mask's pixels that count as being at the same distance.

    Returns
    -------
    FractionWithin

    Raises
    ------
    CalibrationError
        If the pixel size is missing.
    AxisMismatchError
        If shapes do not fit each other.
    InputError
        If an option is unknown or out of range, a coordinate not finite, or the mask empty.

    Notes
    -----
    The p-value of the curve is that of its largest deviation from the mean of the null, in
    standard deviations at each distance, among those of all reshuffles:
    p = (#{null >= observed} + 1) / (n_reshuffles + 1). It holds for the curve as a whole; a
    pointwise p holds only for a distance chosen beforehand. The unit of inference is the field:
    several cells need a test across cells, not a pooled one.
    Cost O(n_reshuffles · n_a · log n_b).

    Objects move by whole pixels, each keeping its place within its pixel, so that positions on
    the pixel grid (small spots) are compared with positions on the pixel grid.
    Objects are points here: positions that objects exclude by their own size are not spared.

    References
    ----------
    .. [1] Myllymäki et al. (2017), doi:10.1111/rssb.12172
    .. [2] Mrkvička et al. (2021) Spat. Stat. 42:100430, doi:10.1016/j.spasta.2020.100430

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> b = rng.uniform(0, 99, (30, 2)); a = b + rng.normal(0, 1, (30, 2))
    >>> result = fraction_within(
    ...     a, b, mask=np.ones((100, 100)), spacing_um=0.1, distances_um=[0.2, 0.5], seed=1)
    >>> result.p_value
    0.001
    """
    _require_options(null, alternative, n_reshuffles, window)
    inside = _mask_for(a, b, mask)
    spacing = spacing_of(spacing_um, inside.ndim)
    distances = _distances(distances_um)
    points_a, out_a = _points_in(a, inside, "A")
    points_b, out_b = _points_in(b, inside, "B")
    rng = np.random.default_rng(seed)
    words = _HYPOTHESES[null].format(landmark="landmark" if landmark is not None else "mask's edge")
    common: dict[str, Any] = {
        "distances_um": distances,
        "n_a": len(points_a),
        "n_b": len(points_b),
        "n_outside": out_a + out_b,
        "n_reshuffles": n_reshuffles,
        "null": null,
        "alternative": alternative,
        "hypothesis": words,
    }
    if not len(points_a) or not len(points_b):
        return _nothing(common)
    batch = max(1, min(n_reshuffles, _QUERIES // len(points_a)))
    moved = {
        "uniform": lambda: _uniform(points_a, inside, batch, rng),
        "shift": lambda: _shifted(points_a, inside, batch, rng),
        "profile": lambda: _same_distance(
            points_a, inside, _landmark_distance(inside, landmark, spacing), window, batch, rng
        ),
    }[null]()
    tree = cKDTree(points_b * spacing)
    observed = _fractions(tree, points_a[None] * spacing, distances)[0][0]
    chance, n_kept = _chance(tree, moved, spacing, distances, n_reshuffles, len(points_a))
    weight = np.sqrt(n_kept / len(points_a))
    return FractionWithin(**common, **_judged(observed, chance, weight, alternative))


def _require_options(null: str, alternative: str, n_reshuffles: int, window: float) -> None:
    for name, value, known in (
        ("null", null, tuple(_HYPOTHESES)),
        ("alternative", alternative, ("greater", "less", "two-sided")),
    ):
        if value not in known:
            raise InputError(f"{name}: expected one of {', '.join(known)}, found {value!r}")
    if not isinstance(n_reshuffles, int | np.integer) or n_reshuffles < 19:
        raise InputError(
            f"n_reshuffles: expected a whole number of at least 19, found {n_reshuffles!r}"
        )
    if not 0 < window <= 1:
        raise InputError(f"window: expected more than 0 and at most 1, found {window!r}")


def _is_labels(objects: npt.NDArray[Any]) -> bool:
    return objects.dtype.kind in "ui" and not (objects.ndim == 2 and objects.shape[1] in (2, 3))


def _mask_for(
    a: npt.ArrayLike, b: npt.ArrayLike, mask: npt.ArrayLike | None
) -> npt.NDArray[np.bool_]:
    if mask is not None:
        shape = np.shape(mask)
        inside = region_of(mask, shape, minimum=1)
        if inside is not None:
            return inside
    for objects in (np.asarray(a), np.asarray(b)):
        if _is_labels(objects):
            return np.ones(objects.shape, dtype=np.bool_)
    raise InputError("mask: expected a mask with positions, found None; say where objects can be")


def _distances(distances_um: npt.ArrayLike) -> FloatArray:
    distances = np.atleast_1d(np.asarray(distances_um, dtype=np.float64))
    if distances.ndim != 1 or not distances.size:
        raise InputError(f"distances_um: expected a list of distances, found {distances_um!r}")
    if not (np.isfinite(distances) & (distances >= 0)).all():
        raise InputError(f"distances_um: expected distances >= 0 µm, found {distances_um!r}")
    return distances


def _points_in(
    objects: npt.ArrayLike, inside: npt.NDArray[np.bool_], name: str
) -> tuple[FloatArray, int]:
    """Positions in the mask, px, and how many were outside."""
    array = np.asarray(objects)
    if array.size == 0:
        return np.empty((0, inside.ndim)), 0
    if array.shape == inside.shape and array.dtype.kind in "ui":
        points = object_centroids(array)
    elif _is_labels(array):
        raise AxisMismatchError(
            f"labels of {name}: expected the mask's shape {inside.shape}, found {array.shape}; "
            "give labels and mask of the same field"
        )
    else:
        points = np.asarray(array, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != inside.ndim:
        raise AxisMismatchError(
            f"points of {name}: expected shape (n, {inside.ndim}), found {points.shape}; "
            "one row of pixel coordinates per object"
        )
    if not np.isfinite(points).all():
        raise InputError(f"points of {name}: expected finite coordinates, found NaN or Inf")
    kept = points[_covered(points, inside)]
    return kept, len(points) - len(kept)


def _covered(points: FloatArray, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Whether the pixel of each position (last axis: coordinates) is in the mask."""
    pixels = np.rint(points).astype(np.intp)
    within = ((pixels >= 0) & (pixels < inside.shape)).all(axis=-1)
    clipped = np.clip(pixels, 0, np.array(inside.shape) - 1)
    covered: npt.NDArray[np.bool_] = within & inside[tuple(np.moveaxis(clipped, -1, 0))]
    return covered


# Each way of moving A yields batches: positions (k, n, ndim) px with NaN for points left out.
# Moves are whole pixels, so that each point keeps its place within its pixel: positions found on
# the pixel grid coincide with each other more often than positions anywhere do.


def _uniform(
    points: FloatArray, inside: npt.NDArray[np.bool_], batch: int, rng: np.random.Generator
) -> Iterator[FloatArray]:
    pixels = np.argwhere(inside)
    within_pixel = points - np.rint(points)
    while True:
        yield pixels[rng.integers(len(pixels), size=(batch, len(points)))] + within_pixel


def _shifted(
    points: FloatArray, inside: npt.NDArray[np.bool_], batch: int, rng: np.random.Generator
) -> Iterator[FloatArray]:
    extent = np.array(inside.shape)
    if inside.all():
        while True:
            shift = rng.integers(0, extent, (batch, 1, inside.ndim)).astype(np.float64)
            yield (points + shift + 0.5) % extent - 0.5
    possible = _possible_shifts(inside)
    while True:
        shift = possible[rng.integers(len(possible), size=batch)][:, None, :]
        moved = points + shift
        moved[~_covered(moved, inside)] = np.nan
        yield moved


def _possible_shifts(inside: npt.NDArray[np.bool_]) -> FloatArray:
    """Shifts by whole pixels at which mask and shifted mask share at least half of the mask."""
    size = [fft.next_fast_len(2 * n, real=True) for n in inside.shape]
    spectrum = fft.rfftn(inside.astype(np.float64), size)
    shared = fft.irfftn(np.abs(spectrum) ** 2, size)
    allowed = np.argwhere(shared >= 0.5 * np.count_nonzero(inside))
    signed = np.where(allowed > np.array(size) // 2, allowed - np.array(size), allowed)
    return signed.astype(np.float64)


def _same_distance(
    points: FloatArray,
    inside: npt.NDArray[np.bool_],
    depth: FloatArray,
    window: float,
    batch: int,
    rng: np.random.Generator,
) -> Iterator[FloatArray]:
    pixels = np.argwhere(inside)
    order = np.argsort(depth[inside] + 1e-9 * rng.random(len(pixels)))
    pixels = pixels[order]
    rank_of = np.full(inside.shape, -1, dtype=np.int64)
    rank_of[tuple(pixels.T)] = np.arange(len(pixels))
    ranks = rank_of[tuple(np.rint(points).astype(np.intp).T)]
    width = max(1, round(window * len(pixels)))
    first = np.clip(ranks - width // 2, 0, len(pixels) - width)
    within_pixel = points - np.rint(points)
    while True:
        yield pixels[first + rng.integers(width, size=(batch, len(points)))] + within_pixel


def _landmark_distance(
    inside: npt.NDArray[np.bool_], landmark: npt.ArrayLike | None, spacing: FloatArray
) -> FloatArray:
    """Signed distance to the landmark's edge (negative inside it), or to the mask's edge, µm."""
    if landmark is None:
        if inside.all():
            raise InputError(
                "landmark: expected one, or a mask with an edge, found a mask of the whole image; "
                "give a nucleus mask, or use another null"
            )
        depth: FloatArray = ndimage.distance_transform_edt(inside, sampling=spacing)
        return depth
    body = region_of(landmark, inside.shape, minimum=1)
    if body is None or body.all():
        raise InputError("landmark: expected some pixels outside the landmark, found none")
    outside: FloatArray = ndimage.distance_transform_edt(~body, sampling=spacing)
    within: FloatArray = ndimage.distance_transform_edt(body, sampling=spacing)
    return outside - within


def _fractions(
    tree: cKDTree, points_um: FloatArray, distances: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Fraction within each distance, shape (k, d), and points kept, shape (k,)."""
    kept = np.isfinite(points_um[..., 0])
    nearest = np.full(kept.shape, np.inf)
    nearest[kept] = tree.query(points_um[kept])[0]
    n_kept = kept.sum(axis=1).astype(np.float64)
    reach = distances * (1 + 1e-9) + 1e-12  # a distance of exactly d counts, in any unit
    counts = np.stack([(nearest <= d).sum(axis=1) for d in reach], axis=1)
    return counts / np.maximum(n_kept, 1)[:, None], n_kept


def _chance(
    tree: cKDTree,
    moved: Iterator[FloatArray],
    spacing: FloatArray,
    distances: FloatArray,
    n_reshuffles: int,
    n_points: int,
) -> tuple[FloatArray, FloatArray]:
    """Fractions under the null; reshuffles that keep less than a quarter of A are drawn again."""
    curves, sizes = [], []
    n_done = n_tried = 0
    while n_done < n_reshuffles:
        batch = next(moved)
        fractions, n_kept = _fractions(tree, batch * spacing, distances)
        usable = n_kept >= max(1.0, 0.25 * n_points)
        curves.append(fractions[usable])
        sizes.append(n_kept[usable])
        n_done += int(usable.sum())
        n_tried += len(batch)
        if n_tried > 100 * n_reshuffles and n_done < n_reshuffles:
            raise InputError(
                "null: no rigid shift keeps a quarter of A's objects in the mask; "
                'use null="uniform" or "profile", or a larger mask'
            )
    return np.concatenate(curves)[:n_reshuffles], np.concatenate(sizes)[:n_reshuffles]


def _judged(
    observed: FloatArray, chance: FloatArray, weight: FloatArray, alternative: Alternative
) -> dict[str, Any]:
    """Pointwise and global p-values, and the envelope that belongs to the global one."""
    n = len(chance)
    all_weights = np.concatenate([[1.0], weight])[:, None]
    curves = np.concatenate([observed[None], chance])
    mean = np.average(chance, axis=0, weights=weight**2)
    deviation = (curves - mean) * all_weights
    spread = deviation.std(axis=0)
    signed = {"greater": deviation, "less": -deviation, "two-sided": np.abs(deviation)}[alternative]
    signed = np.where(np.isclose(signed, 0, atol=1e-12), 0.0, signed)
    score = np.divide(signed, spread, out=np.zeros_like(signed), where=spread > 0)
    extreme = np.round(score.max(axis=1), 9)
    reach = _envelope_reach(extreme) * spread
    return {
        "observed": observed,
        "expected": mean,
        "ratio": np.divide(observed, mean, out=np.full(mean.shape, np.nan), where=mean > 0),
        "lower": np.clip(mean - reach, 0, 1) if alternative != "greater" else np.zeros(mean.shape),
        "upper": np.clip(mean + reach, 0, 1) if alternative != "less" else np.ones(mean.shape),
        "p_pointwise": (np.sum(signed[1:] >= signed[0] - 1e-12, axis=0) + 1) / (n + 1),
        "p_value": float((np.sum(extreme[1:] >= extreme[0]) + 1) / (n + 1)),
        "reason": "",
    }


def _envelope_reach(extreme: FloatArray) -> float:
    """Score beyond which the global p-value is at most 5 %."""
    return float(np.sort(extreme)[::-1][int(_LEVEL * len(extreme))]) + 1e-9  # scores are rounded


def _nothing(common: dict[str, Any]) -> FractionWithin:
    empty = [name for name, n in (("A", common["n_a"]), ("B", common["n_b"])) if not n]
    curves = ("observed", "expected", "ratio", "lower", "upper", "p_pointwise")
    unknown: dict[str, Any] = dict.fromkeys(curves, np.full(common["distances_um"].shape, np.nan))
    reason = f"no objects of {' and '.join(empty)} in the mask"
    return FractionWithin(**common, **unknown, p_value=float("nan"), reason=reason)
