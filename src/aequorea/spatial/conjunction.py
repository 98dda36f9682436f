"""Where puncta of several types come together, and how often chance alone would bring them."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import ndimage, optimize, sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from aequorea.errors import AxisMismatchError, InputError
from aequorea.spatial.distances import (
    Spacing,
    label_image,
    mask_of,
    points_of,
    spacing_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "ChanceComparison",
    "OverlapConjunctions",
    "PointConjunctions",
    "against_chance",
    "conjunction_test",
    "expected_partners",
    "overlap_conjunctions",
    "point_conjunctions",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Alternative = Literal["two-sided", "greater", "less"]

HYPOTHESIS = (
    "The types of puncta lie independently of each other, each as the sampler places it: the "
    "observed count is one more draw of the simulated ones."
)
UNIT = "field or cell that the positions come from (one; not punctum, not animal)"

#: More candidate tuples than this are no longer neighbours: the distance is too large.
MOST_CANDIDATES = 2_000_000


@dataclass(frozen=True, eq=False, kw_only=True)
class OverlapConjunctions:
    """Places where objects of all k types share voxels.

    Attributes
    ----------
    n_voxels : ndarray of int64, shape (m,)
        Shared voxels of each place, in the order in which a scan meets them.
    volume_um3 : ndarray, shape (m,), µm³ (µm² in 2D)
    centroid_um : ndarray, shape (m, ndim), µm
    members : tuple of k ndarray of int64, shape (pairs, 2)
        For each type: place (0 to m − 1) and label of every object that takes part.
    n_objects : ndarray of int64, shape (k,)
        Objects of each type in the region.
    n_taking_part : ndarray of int64, shape (k,)
        Of these, those that take part in one place or more.
    percentage : ndarray, shape (k,)
        At most 100. NaN if there are no objects of this type.
    reason : tuple of str, length k
        Why a percentage is NaN; empty where it is not.
    """

    n_voxels: IntArray
    volume_um3: FloatArray
    centroid_um: FloatArray
    members: tuple[IntArray, ...]
    n_objects: IntArray
    n_taking_part: IntArray
    percentage: FloatArray
    reason: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.n_voxels)


@dataclass(frozen=True, eq=False, kw_only=True)
class PointConjunctions:
    """Groups of one punctum of each of k types, all within a distance of each other.

    Attributes
    ----------
    members : ndarray of int64, shape (m, k)
        Position of each member among the points of its type; ascending in the first type. No
        punctum is in two groups.
    distance_um : ndarray, shape (m,), µm
        Mean distance between the members of a group (of two types: their distance).
    centroid_um : ndarray, shape (m, ndim), µm
    n_points : ndarray of int64, shape (k,)
    percentage : ndarray, shape (k,)
        Points of each type that are in a group; at most 100. NaN without points.
    reason : tuple of str, length k
        Why a percentage is NaN; empty where it is not.
    """

    members: IntArray
    distance_um: FloatArray
    centroid_um: FloatArray
    n_points: IntArray
    percentage: FloatArray
    reason: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.members)


@dataclass(frozen=True, kw_only=True)
class ChanceComparison:
    """A count held against simulations of chance.

    Attributes
    ----------
    observed : float
    expected : float
        Mean of the simulations.
    ratio : float
        ``observed / expected``; NaN with a reason if nothing is expected.
    interval : tuple of float
        Between which the middle ``level`` of the simulated counts lie.
    ratio_interval : tuple of float
        The same over ``expected``: ratios inside it are what chance gives.
    level : float
    p_value : float
        (simulations at least as extreme + 1) / (simulations + 1); NaN with a reason if no
        simulation differs from the observed count.
    p_floor : float
        The smallest p-value that so many simulations allow.
    n_simulations : int
    alternative, hypothesis, unit : str
        The null and the unit of inference, in words. The effective sample size is one field: any
        generalisation to animals needs several.
    reason : str
        Why something is NaN; empty if nothing is.
    """

    observed: float
    expected: float
    ratio: float
    interval: tuple[float, float]
    ratio_interval: tuple[float, float]
    level: float
    p_value: float
    p_floor: float
    n_simulations: int
    alternative: str
    hypothesis: str = HYPOTHESIS
    unit: str = UNIT
    reason: str = ""


def overlap_conjunctions(
    labels: Sequence[npt.ArrayLike],
    spacing_um: Spacing,
    *,
    within: npt.ArrayLike | None = None,
    min_voxels: int = 1,
) -> OverlapConjunctions:
    """Find the places where objects of all types overlap.

    Parameters
    ----------
    labels : sequence of k array_like of int, same shape, (y, x) or (z, y, x)
        One label image for each type, 0 is background; k is 2 or more.
    spacing_um : sequence of float or mapping
    within : array_like of bool, same shape, optional
        Region that counts, for example the cytosol. Objects that reach into it count as its own.
    min_voxels : int, default 1
        Smaller overlaps are left out.

    Returns
    -------
    OverlapConjunctions

    Raises
    ------
    AxisMismatchError, CalibrationError, InputError
        If shapes differ, the spacing is not known, or an image is not a label image.

    Notes
    -----
    A place is a connected piece of the intersection, whatever the labels in it; voxels that touch
    at a corner belong together. Two objects of one type that touch inside one object of another
    make one place, in which all three take part.

    Examples
    --------
    >>> red, green = [[1, 1, 2, 2, 0, 3]], [[0, 7, 7, 0, 0, 0]]
    >>> found = overlap_conjunctions([red, green], (0.1, 0.1))
    >>> len(found), found.n_taking_part.tolist(), found.percentage.round(1).tolist()
    (1, [2, 1], [66.7, 100.0])
    """
    images = [label_image(image, f"labels[{i}]") for i, image in enumerate(labels)]
    _at_least_two(len(images), "labels")
    shape = images[0].shape
    region = None if within is None else mask_of(within, "within")
    named = {f"labels[{i}]": image.shape for i, image in enumerate(images)}
    if region is not None:
        named["within"] = region.shape
    for name, found in named.items():
        if found != shape:
            raise AxisMismatchError(
                f"{name}: expected the shape of labels[0] {shape}, found {found}; give images of "
                "the same field"
            )
    spacing = spacing_of(spacing_um, len(shape))
    smallest = _whole("min_voxels", min_voxels, 1)
    shared = images[0] > 0
    for image in images[1:]:
        shared &= image > 0
    if region is not None:
        shared &= region
    place, _ = ndimage.label(shared, structure=np.ones((3,) * len(shape)))
    position = np.argwhere(shared)
    piece = place[shared].astype(np.int64) - 1
    sizes = np.bincount(piece)
    kept = sizes >= smallest
    number = np.cumsum(kept) - 1
    chosen = kept[piece] if len(sizes) else np.zeros(0, np.bool_)
    at, where = number[piece[chosen]], position[chosen]
    counts = sizes[kept].astype(np.int64)
    members = tuple(
        np.unique(
            np.stack([at, image[tuple(where.T)].astype(np.int64)], axis=1).reshape(-1, 2), axis=0
        )
        for image in images
    )
    sums = np.stack(
        [np.bincount(at, weights=where[:, d], minlength=len(counts)) for d in range(len(shape))],
        axis=1,
    )
    present = np.array([_n_objects(image, region) for image in images], dtype=np.int64)
    taking_part = np.array([len(np.unique(pairs[:, 1])) for pairs in members], dtype=np.int64)
    percentage, reason = _percentages(taking_part, present, "no objects of this type")
    return OverlapConjunctions(
        n_voxels=counts,
        volume_um3=np.asarray(counts * spacing.prod(), dtype=np.float64),
        centroid_um=sums / np.maximum(counts, 1)[:, None] * spacing,
        members=members,
        n_objects=present,
        n_taking_part=taking_part,
        percentage=percentage,
        reason=reason,
    )


def point_conjunctions(
    points_um: Sequence[npt.ArrayLike], *, within_um: float
) -> PointConjunctions:
    """Group puncta of k types one to one: as many groups as possible, then as close as possible.

    Parameters
    ----------
    points_um : sequence of k array_like, shape (n_i, ndim), µm
        Positions of each type; k is 2 or more.
    within_um : float, µm
        Largest distance between any two members of a group.

    Returns
    -------
    PointConjunctions

    Raises
    ------
    AxisMismatchError
        If the types have different dimensionality.
    InputError
        If a coordinate or the distance is not finite, the distance is negative, or so large that
        there are more than two million candidates.

    Notes
    -----
    The optimum, not a heuristic: by sparse assignment for two types [1]_, by integer programming
    in each cluster of puncta within reach of each other for more (where total distances that
    differ by less than a millionth of ``within_um`` are alike). Nearest
    neighbours would not do: two puncta may share one, and percentages then exceed what pairs can
    explain. A distance beyond the spacing of the puncta groups strangers: see
    :func:`conjunction_test`.

    References
    ----------
    .. [1] Jonker & Volgenant (1987) doi:10.1007/BF02278710

    Examples
    --------
    >>> red, green, blue = [[0.0], [1.0]], [[0.9], [2.2]], [[0.5]]
    >>> point_conjunctions([red, green], within_um=1.5).members.tolist()
    [[0, 0], [1, 1]]
    >>> point_conjunctions([red, green, blue], within_um=1.5).members.tolist()
    [[1, 0, 0]]
    """
    types = _types(points_um)
    reach = _distance("within_um", within_um)
    candidates, cost = _candidates(types, reach)
    chosen = _best(candidates, cost, [len(points) for points in types], reach)
    members = candidates[chosen]
    order = np.argsort(members[:, 0], kind="stable")
    members = members[order]
    placed = np.stack([points[members[:, i]] for i, points in enumerate(types)])
    n_points = np.array([len(points) for points in types], dtype=np.int64)
    taking_part = np.full(len(types), len(members), np.int64)
    percentage, reason = _percentages(taking_part, n_points, "no points of this type")
    return PointConjunctions(
        members=members,
        distance_um=cost[chosen][order],
        centroid_um=placed.mean(axis=0),
        n_points=n_points,
        percentage=percentage,
        reason=reason,
    )


def conjunction_test(
    points_um: Sequence[npt.ArrayLike],
    sampler: Callable[[np.random.Generator], Sequence[npt.ArrayLike]],
    *,
    within_um: float,
    n_simulations: int = 199,
    alternative: Alternative = "greater",
    seed: int | np.random.Generator = 0,
) -> ChanceComparison:
    """Hold the number of one-to-one conjunctions against that of random positions.

    Parameters
    ----------
    points_um : sequence of k array_like, shape (n_i, ndim), µm
    sampler : callable
        Takes a generator and returns the positions of all k types under the null; types that it
        returns as they are stay fixed.
    within_um : float, µm
    n_simulations : int, default 199
    alternative : {"greater", "less", "two-sided"}
    seed : int or numpy.random.Generator

    Returns
    -------
    ChanceComparison

    Raises
    ------
    AxisMismatchError, InputError
        If the request makes no sense, or the sampler returns another number of types.

    Notes
    -----
    The p-value is exact for the null that the sampler draws from, and says nothing beyond it: if
    both types keep to the cytosol or come in clusters, the sampler must give them that.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> red = rng.uniform(0, 10, (40, 2)); green = red[:20] + 0.05
    >>> result = conjunction_test(
    ...     [red, green], lambda rng: [red, rng.uniform(0, 10, (20, 2))], within_um=0.2
    ... )
    >>> result.observed, result.p_value, result.expected < 2
    (20.0, 0.005, True)
    """
    count = _whole("n_simulations", n_simulations, 1)
    observed = len(point_conjunctions(points_um, within_um=within_um))
    rng = np.random.default_rng(seed)
    simulated = np.empty(count)
    for i in range(count):
        drawn = sampler(rng)
        if len(drawn) != len(points_um):
            raise InputError(
                f"sampler: expected the positions of {len(points_um)} types, found {len(drawn)}"
            )
        simulated[i] = len(point_conjunctions(drawn, within_um=within_um))
    return against_chance(observed, simulated, alternative=alternative)


def against_chance(
    observed: float,
    simulated: npt.ArrayLike,
    *,
    alternative: Alternative = "greater",
    level: float = 0.95,
    hypothesis: str = HYPOTHESIS,
    unit: str = UNIT,
) -> ChanceComparison:
    """Hold a count against the same count in simulations of chance.

    Parameters
    ----------
    observed : float
    simulated : array_like, shape (n,)
    alternative : {"greater", "less", "two-sided"}
    level : float, default 0.95
        Of the interval of what chance gives.
    hypothesis, unit : str
        What the simulations assume, and what was drawn once, in words.

    Returns
    -------
    ChanceComparison

    Raises
    ------
    InputError
        If there are no simulations, a value is not finite, or an option is unknown.

    Examples
    --------
    >>> result = against_chance(9, [2, 4, 3, 3])
    >>> result.ratio, result.p_value, result.ratio_interval
    (3.0, 0.2, (0.6666666666666666, 1.3333333333333333))
    """
    counts = np.sort(np.asarray(simulated, dtype=np.float64).reshape(-1))
    if not len(counts) or not np.isfinite(counts).all() or not np.isfinite(observed):
        raise InputError("expected finite counts and at least one simulation, found none or NaN")
    if alternative not in get_args(Alternative):
        raise InputError(
            f"alternative: expected one of {', '.join(get_args(Alternative))}, "
            f"found {alternative!r}"
        )
    if not 0 < level < 1:
        raise InputError(f"level: expected a value between 0 and 1, found {level!r}")
    n, expected = len(counts), float(counts.mean())
    up, down = (int((counts >= observed).sum()) + 1), (int((counts <= observed).sum()) + 1)
    extreme = {"greater": up, "less": down, "two-sided": 2 * min(up, down)}[alternative]
    tail = (1 - level) / 2
    beyond = int(np.floor(tail * n + 1e-9))
    low, high = float(counts[beyond]), float(counts[n - 1 - beyond])
    reasons = []
    if not expected > 0:
        reasons.append("ratio: chance never gives any")
    constant = bool(counts[0] == counts[-1] == observed)
    if constant:
        reasons.append("p_value: no simulation differs from what was observed")
    scale = expected if expected > 0 else float("nan")
    return ChanceComparison(
        observed=float(observed),
        expected=expected,
        ratio=float(observed) / scale,
        interval=(low, high),
        ratio_interval=(low / scale, high / scale),
        level=level,
        p_value=float("nan") if constant else min(1.0, extreme / (n + 1)),
        p_floor=min(1.0, (2 if alternative == "two-sided" else 1) / (n + 1)),
        n_simulations=n,
        alternative=alternative,
        hypothesis=hypothesis,
        unit=unit,
        reason="; ".join(reasons),
    )


def expected_partners(
    points_um: npt.ArrayLike,
    n_others: int,
    mask: npt.ArrayLike,
    spacing_um: Spacing,
    *,
    within_um: float,
) -> tuple[float, float]:
    """Partners that puncta find by chance among others scattered evenly over a region.

    Parameters
    ----------
    points_um : array_like, shape (n, ndim), µm
        Fixed puncta of one type.
    n_others : int
        Puncta of the other type, each in a voxel of the region chosen at random.
    mask : array_like of bool, shape (y, x) or (z, y, x)
        The region.
    spacing_um : sequence of float or mapping
    within_um : float, µm

    Returns
    -------
    n_pairs : float
        Expected number of pairs within the distance.
    n_with_partner : float
        Expected number of the fixed puncta that have at least one of the others near.

    Raises
    ------
    AxisMismatchError, CalibrationError, InputError
        If shapes do not fit, the spacing is not known, or a value is not what it should be.

    Notes
    -----
    Exact for positions at voxel centres: counts the voxels of the region around each point.
    One-to-one conjunctions are at most ``n_with_partner``; for their own expectation see
    :func:`conjunction_test`.

    Examples
    --------
    >>> expected_partners([[0, 0]], 2, [[1, 1, 1, 1]], (0.1, 0.1), within_um=0.1)
    (1.0, 0.75)
    """
    region = mask_of(mask)
    spacing = spacing_of(spacing_um, region.ndim)
    points = points_of(points_um, region.ndim)
    reach = _distance("within_um", within_um)
    others = _whole("n_others", n_others, 0)
    volume = int(region.sum())
    if not volume:
        raise InputError("mask: expected a region with voxels, found none")
    planes = region.reshape((-1, *region.shape[-2:]))
    missing = 3 - region.ndim
    near = _voxels_near(
        np.pad(points, ((0, 0), (missing, 0))),
        planes,
        np.concatenate((np.ones(missing), spacing)),
        reach * (1 + 1e-12),
    )
    share = near / volume
    return float(others * share.sum()), float((1 - (1 - share) ** others).sum())


@njit(cache=True, nogil=True)
def _voxels_near(points, mask, spacing, reach):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Voxels of a mask with their centre within reach of each point."""
    planes, rows, columns = mask.shape
    near = np.zeros(points.shape[0], np.int64)
    for i in range(points.shape[0]):
        pz, py, px = points[i, 0], points[i, 1], points[i, 2]
        for z in range(
            max(0, int(np.ceil((pz - reach) / spacing[0]))),
            min(planes, int(np.floor((pz + reach) / spacing[0])) + 1),
        ):
            left_z = reach * reach - (z * spacing[0] - pz) ** 2
            if left_z < 0:
                continue
            wide = np.sqrt(left_z)
            for y in range(
                max(0, int(np.ceil((py - wide) / spacing[1]))),
                min(rows, int(np.floor((py + wide) / spacing[1])) + 1),
            ):
                left = left_z - (y * spacing[1] - py) ** 2
                if left < 0:
                    continue
                half = np.sqrt(left)
                for x in range(
                    max(0, int(np.ceil((px - half) / spacing[2]))),
                    min(columns, int(np.floor((px + half) / spacing[2])) + 1),
                ):
                    if mask[z, y, x]:
                        near[i] += 1
    return near


# --- what was given ---------------------------------------------------------------------------


def _types(points_um: Sequence[npt.ArrayLike]) -> list[FloatArray]:
    _at_least_two(len(points_um), "points_um")
    arrays = [np.asarray(points, dtype=np.float64) for points in points_um]
    ndims = {array.shape[1] for array in arrays if array.ndim == 2 and array.size}
    if len(ndims) > 1:
        raise AxisMismatchError(
            f"points_um: expected the same axes for every type, found {sorted(ndims)} coordinates"
        )
    ndim = ndims.pop() if ndims else 3
    return [points_of(array, ndim, f"points_um[{i}]") for i, array in enumerate(arrays)]


def _at_least_two(n: int, name: str) -> None:
    if n < 2:
        raise InputError(f"{name}: expected at least 2 types of puncta, found {n}")


def _distance(name: str, value: float) -> float:
    if not (np.isfinite(value) and value >= 0):
        raise InputError(f"{name}: expected a distance >= 0 µm, found {value!r}")
    return float(value)


def _whole(name: str, value: Any, smallest: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name}: expected a whole number, found {value!r}") from None
    if number < smallest:
        raise InputError(f"{name}: expected at least {smallest}, found {number}")
    return number


def _n_objects(image: npt.NDArray[np.integer[Any]], region: BoolArray | None) -> int:
    there = image > 0 if region is None else (image > 0) & region
    return len(np.unique(image[there]))


def _percentages(
    part: IntArray, whole: IntArray, nothing: str
) -> tuple[FloatArray, tuple[str, ...]]:
    percentage = np.divide(100.0 * part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return percentage, tuple("" if n else nothing for n in whole.tolist())


# --- candidates -------------------------------------------------------------------------------


def _candidates(types: list[FloatArray], reach: float) -> tuple[IntArray, FloatArray]:
    """Every group of one point per type within reach of each other, and its mean distance."""
    groups = np.arange(len(types[0]), dtype=np.int64)[:, None]
    total = np.zeros(len(groups))
    for i in range(1, len(types)):
        near = _near(types[0], types[i], reach)
        per_group = np.diff(near.indptr)[groups[:, 0]]
        if per_group.sum() > MOST_CANDIDATES:
            raise InputError(
                f"within_um: expected at most {MOST_CANDIDATES} candidate groups, found "
                f"{per_group.sum()} within {reach} µm; give a smaller distance"
            )
        parent = np.repeat(np.arange(len(groups)), per_group)
        within = np.arange(len(parent)) - np.repeat(np.cumsum(per_group) - per_group, per_group)
        entry = near.indptr[groups[parent, 0]] + within
        added = near.indices[entry].astype(np.int64)
        length = total[parent]
        close = np.ones(len(parent), np.bool_)
        for j in range(i):
            apart = types[j][groups[parent, j]] - types[i][added]
            distance = np.sqrt((apart**2).sum(axis=1))
            close &= distance <= reach * (1 + 1e-12)
            length = length + distance
        groups = np.column_stack([groups[parent], added])[close]
        total = length[close]
    n_pairs = len(types) * (len(types) - 1) // 2
    return groups, total / n_pairs


def _near(a: FloatArray, b: FloatArray, reach: float) -> sparse.csr_array[Any]:
    """Which points of B are within reach of each point of A."""
    tree, other = cKDTree(a), cKDTree(b)
    pairs = tree.sparse_distance_matrix(other, reach * (1 + 1e-12), output_type="ndarray")
    ends = pairs["i"].astype(np.int64), pairs["j"].astype(np.int64)
    near = sparse.coo_array((np.ones(len(pairs), np.int8), ends), shape=(len(a), len(b)))
    return sparse.csr_array(near)


# --- the best groups --------------------------------------------------------------------------


def _best(candidates: IntArray, cost: FloatArray, sizes: list[int], reach: float) -> IntArray:
    """The largest set of candidates without a common point, and of these the closest."""
    if not len(candidates):
        return np.empty(0, np.int64)
    nodes = candidates + np.concatenate(([0], np.cumsum(sizes[:-1])))
    uncontested = (np.bincount(nodes.reshape(-1))[nodes] == 1).all(axis=1)
    chosen = [np.flatnonzero(uncontested)]
    contested = np.flatnonzero(~uncontested)
    scaled = cost / reach if reach > 0 else cost
    if len(contested) and len(sizes) == 2:
        chosen.append(contested[_paired(nodes[contested], scaled[contested])])
    elif len(contested):
        for cluster in _clusters(nodes[contested]):
            members = contested[cluster]
            chosen.append(members[_packed(nodes[members], scaled[members])])
    return np.concatenate(chosen)


def _clusters(nodes: IntArray) -> list[IntArray]:
    """Candidates apart by connected component of the points that they share."""
    n = int(nodes.max()) + 1
    first = np.repeat(nodes[:, 0], nodes.shape[1] - 1)
    links = np.ones(len(first), np.int8), (first, nodes[:, 1:].reshape(-1))
    _, component = csgraph.connected_components(sparse.coo_array(links, (n, n)), directed=False)
    owner = component[nodes[:, 0]]
    order = np.argsort(owner, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(owner[order])) + 1)


def _paired(nodes: IntArray, cost: FloatArray) -> IntArray:
    """Best pairs: no point twice, most pairs, then least total cost.

    Every row also has a place of its own, dearer than any detour through the others, so that a
    full assignment exists and leaves out as few rows as it must.
    """
    rows, row = np.unique(nodes[:, 0], return_inverse=True)
    columns, column = np.unique(nodes[:, 1], return_inverse=True)
    n, m = len(rows), len(columns)
    alone = np.arange(n)
    weights = sparse.coo_array(
        (
            np.concatenate([cost + 1.0, np.full(n, 2.0 * (min(n, m) + 2))]),
            (np.concatenate([row, alone]), np.concatenate([column, m + alone])),
        ),
        shape=(n, m + n),
    ).tocsr()
    placed, at = csgraph.min_weight_full_bipartite_matching(weights)
    partner = np.empty(n, np.int64)
    partner[placed] = at
    return np.flatnonzero(partner[row] == column)


def _packed(nodes: IntArray, cost: FloatArray) -> IntArray:
    """Best groups of one cluster: no point twice, most groups, then least total cost."""
    points, point = np.unique(nodes, return_inverse=True)
    candidate = np.repeat(np.arange(len(nodes)), nodes.shape[1])
    uses = sparse.coo_array(
        (np.ones(len(candidate)), (point.reshape(-1), candidate)), shape=(len(points), len(nodes))
    ).tocsr()
    most = min(len(np.unique(nodes[:, i])) for i in range(nodes.shape[1]))
    solution = optimize.milp(
        cost - (most + 1.0),
        constraints=optimize.LinearConstraint(uses, ub=np.ones(len(points))),
        bounds=optimize.Bounds(0, 1),
        integrality=np.ones(len(nodes), np.int8),
        options={"mip_rel_gap": 0.0},
    )
    if solution.x is None:
        raise InputError(
            f"within_um: no optimum was found among {len(nodes)} candidate groups in one cluster; "
            "give a smaller distance"
        )
    return np.flatnonzero(solution.x > 0.5)
