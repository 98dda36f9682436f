"""Cumulative distributions compared between conditions, with the animal as the unit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from aequorea.stats.animals import (
    NO_ANIMALS,
    Design,
    Unit,
    check_choices,
    check_confidence,
    couples_of,
    design_of,
    indexed,
    lopsided,
    names_of,
    rows_of,
)
from aequorea.stats.bands import SimultaneousBand, simultaneous_band
from aequorea.stats.curve_test import curve_test, paired_curve_test, permuted_statistics
from aequorea.stats.ecdf import check_grid, check_values, curves_of, half_distance, integral
from aequorea.stats.fdr import false_discovery_rate
from aequorea.stats.means import REACHABLE_P
from aequorea.stats.permutation import arrangements
from aequorea.stats.t_tests import paired, welch

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from aequorea.stats.animals import Rows
    from aequorea.stats.permutation import Arrangements

__all__ = [
    "AnimalDistribution",
    "ConditionDistribution",
    "DistributionComparison",
    "DistributionDifference",
    "compare_distributions",
]

FloatArray = npt.NDArray[np.float64]
CurveMethod = Literal["functional", "permutation"]

N_GRID = 201
#: Measured with 3 against 6 animals, the fewer varying several times as much.
_LOPSIDED_RATES = {"functional": 7, "permutation": 14}
#: The same with equal numbers of animals, and the ratio of spreads that is told.
_UNEQUAL_RATES = {"functional": 7, "permutation": 8}
_UNEQUAL = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class AnimalDistribution:
    """One animal in one condition.

    Attributes
    ----------
    condition, animal : hashable
    n_cells, n_values : int
        Cells with values, and their values.
    cdf : ndarray, shape (g,)
        Mean of its cells' cumulative distributions, each of weight 1.
    median_of_mean_cdf : float
        Where ``cdf`` reaches one half; NaN if it does not on the grid.
    mean_of_medians : float
        Mean of its cells' own medians.
    """

    condition: Any
    animal: Any
    n_cells: int
    n_values: int
    cdf: FloatArray
    median_of_mean_cdf: float
    mean_of_medians: float


@dataclass(frozen=True, eq=False, kw_only=True)
class ConditionDistribution:
    """One condition.

    Attributes
    ----------
    condition : hashable
    n_animals, n_cells, n_values : int
        With values.
    cdf : ndarray, shape (g,)
        Mean of the animals' mean distributions, each animal of weight 1.
    band : SimultaneousBand
        About it; without limits, and with a reason, below 6 animals.
    median_of_mean_cdf : float
        Where ``cdf`` reaches one half; NaN if it does not on the grid.
    mean_of_medians : float
        Mean over animals of the mean over cells of each cell's median.
    """

    condition: Any
    n_animals: int
    n_cells: int
    n_values: int
    cdf: FloatArray
    band: SimultaneousBand
    median_of_mean_cdf: float
    mean_of_medians: float


@dataclass(frozen=True, kw_only=True)
class DistributionDifference:
    """Two conditions held against each other: ``condition`` minus ``reference``.

    Attributes
    ----------
    reference, condition : hashable
    wasserstein : float
        Area between the two mean CDFs, in the unit of the values: how far values must be moved
        on average to turn one distribution into the other. Never negative.
    wasserstein_by_chance : float
        Its mean over all ways to deal the animals out to the two conditions.
    shift, shift_low, shift_high : float
        Difference of the mean values (up to the end of the grid), with its confidence interval
        from the animals (t).
    largest_gap, largest_gap_at : float
        Largest difference of the CDFs, with its sign, and where it is.
    statistic, df, df_error, p_value : float
        F and its degrees of freedom (NaN for a permutation), p; NaN with a reason.
    q_value : float
        p corrected for all pairs of this comparison (Benjamini and Hochberg).
    smallest_p : float
        Smallest p that a permutation of so many animals can give; 0 for F.
    n_reference, n_condition : int
        Animals compared (the same animals if paired): the effective sample size.
    n_incomplete : int
        Animals left out because they have values in one of the two conditions only.
    design : {"independent", "paired", "blocked"}
    method, hypothesis, unit : str
        Test, null and unit of inference, in words.
    reason : str
        Why there is no p-value; empty when there is one.
    """

    reference: Any
    condition: Any
    wasserstein: float = math.nan
    wasserstein_by_chance: float = math.nan
    shift: float = math.nan
    shift_low: float = math.nan
    shift_high: float = math.nan
    largest_gap: float = math.nan
    largest_gap_at: float = math.nan
    statistic: float = math.nan
    df: float = math.nan
    df_error: float = math.nan
    p_value: float = math.nan
    q_value: float = math.nan
    smallest_p: float = 0.0
    n_reference: int = 0
    n_condition: int = 0
    n_incomplete: int = 0
    design: str = "independent"
    method: str = ""
    hypothesis: str = ""
    unit: str = ""
    reason: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class DistributionComparison:
    """All conditions, their animals, and their pairs.

    Attributes
    ----------
    grid : ndarray, shape (g,)
        Common to all curves, in the unit of the values.
    animals : tuple of AnimalDistribution
    conditions : tuple of ConditionDistribution
        In the order in which they were first given.
    pairs : tuple of DistributionDifference
    method : str
    unit : str
        The unit of inference, in words.
    confidence : float
    warnings : tuple of str
    """

    grid: FloatArray
    animals: tuple[AnimalDistribution, ...]
    conditions: tuple[ConditionDistribution, ...]
    pairs: tuple[DistributionDifference, ...]
    method: str
    unit: str
    confidence: float
    warnings: tuple[str, ...] = ()


def compare_distributions(
    values: npt.ArrayLike,
    cell: Sequence[Hashable] | npt.ArrayLike,
    animal: Sequence[Hashable] | npt.ArrayLike | None,
    condition: Sequence[Hashable] | npt.ArrayLike,
    *,
    grid: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
    method: CurveMethod = "functional",
    design: Design = "auto",
    reference: Hashable | None = None,
    confidence: float = 0.95,
    unit: Unit = "animal",
    image: Sequence[Hashable] | npt.ArrayLike | None = None,
    seed: int = 0,
) -> DistributionComparison:
    """Test whether distributions, such as of distances to the nucleus, differ between conditions.

    Each cell has one cumulative distribution (CDF); their mean, each cell with weight 1, is the
    CDF of an animal; the mean of those, each animal with weight 1, is that of a condition.

    Parameters
    ----------
    values : array_like, shape (n,)
        One number per punctum (or voxel). NaN is left out, and counted.
    cell : sequence, shape (n,)
        Whose it is. Cells of different animals may have the same name; those of different images
        of one animal may not.
    animal : sequence, shape (n,), or None
        Animals are the same if their names are, whatever the condition. Without animals there is
        no test.
    condition : sequence, shape (n,)
    grid : array_like, shape (g,), optional
        Where curves are evaluated; 201 points from 0 (or the smallest value below) to the largest
        by default.
    weights : array_like, shape (n,), optional
        Such as the intensity of each voxel.
    method : {"functional", "permutation"}
        ``"functional"``: Welch's test for curves (F, Box's approximation). ``"permutation"``:
        animals dealt out to the conditions in all ways, the same statistic.
    design : {"auto", "independent", "paired", "blocked"}
        ``"auto"`` compares animals that are in both conditions within them; those in one alone
        are then left out.
    reference : hashable, optional
        Compare every condition with this one; by default all pairs.
    confidence : float, default 0.95
    unit : {"animal", "image"}
        ``"image"`` takes each image for an independent replicate, and says so.
    image : sequence, shape (n,), optional
        Needed with ``unit="image"``.
    seed : int, default 0
        Of bands, and of permutations with more than 20,000 ways.

    Returns
    -------
    DistributionComparison

    Raises
    ------
    AxisMismatchError
        If lengths do not agree.
    InputError
        If values, grid or options make no sense.

    Notes
    -----
    What p means: how often animals of one and the same expected CDF would differ by as much,
    anywhere along the grid (differences are squared and integrated). Puncta are never pooled:
    the Kolmogorov-Smirnov test takes each of thousands of puncta for a replicate.

    Measured rates are in ``benchmarks/results/calibration_animals.csv``: 2,000 studies each, 5 to
    60 cells per animal. False positives at 5 %: functional 3.6 to 4.0 % with 3 + 3 animals, 3.9
    to 4.6 % with 4 + 4, 4.3 to 4.8 % with 6 + 6, 5.9 % with 3 + 6; permutation 3.4 % with 4 + 4,
    5.1 % with 6 + 6. Kolmogorov and Smirnov's test on pooled puncta: 42 % with 6 + 6 animals that
    hardly differ, 92 % with ones that do. With 6 + 6 animals the permutation finds differences of
    shape more often (60 % against 44 % in one case).

    Where levels do not hold: if the animals of one condition vary several times as much as those
    of the other, the functional test rejects 6 to 7 % (at 1 %: 2 to 3 %), the permutation 8 %
    with 6 + 6 animals and 14 % with 3 that vary more against 6.

    References
    ----------
    .. [1] Shen & Faraway (2004), Statistica Sinica 14, 1239-1257
    .. [2] Brunner, Dette & Munk (1997), doi:10.1080/01621459.1997.10473671
    .. [3] Vallender (1974), doi:10.1137/1118101 (Wasserstein distance from CDFs)

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> animal = np.repeat(list("abcdef"), 100)
    >>> cell = np.tile(np.repeat(range(5), 20), 6)
    >>> condition = np.where(animal < "d", "sham", "TAC")
    >>> distance = rng.gamma(2.0, np.where(animal < "d", 1.0, 1.6))
    >>> result = compare_distributions(distance, cell, animal, condition)
    >>> pair = result.pairs[0]
    >>> round(pair.wasserstein, 1), bool(pair.p_value < 0.05)
    (1.1, True)
    """
    check_choices((("method", method, CurveMethod), ("design", design, Design)))
    check_choices((("unit", unit, Unit),))
    check_confidence(confidence)
    x, w = check_values(values, weights)
    cells, cell_index = indexed(names_of(cell, len(x), "cell", of="value"))
    rows = rows_of(len(x), animal, condition, unit=unit, image=image, of="value")
    couples = couples_of(rows.conditions, reference)
    points = _default_grid(x) if grid is None else check_grid(grid)
    words = f"{unit} (mean CDF of its cells)" if rows.has_owners else "none"
    plan = _Plan(method, design, confidence, unit, words, seed)
    animals = _animals(x, w, cells, cell_index, rows, points)
    groups = {name: [a for a in animals if a.condition == name] for name in rows.conditions}
    warnings = [*rows.warnings, *_left_out(x, w, points)]
    if rows.has_owners:
        pairs = [_compare(a, groups[a], b, groups[b], points, plan) for a, b in couples]
        warnings += _warnings_about(pairs, plan)
        warnings += [words for pair in pairs for words in _unequal(groups, pair, points, plan)]
    else:
        warnings.append(NO_ANIMALS)
        pairs = [
            DistributionDifference(reference=a, condition=b, reason=NO_ANIMALS) for a, b in couples
        ]
    corrected = false_discovery_rate([pair.p_value for pair in pairs])
    return DistributionComparison(
        grid=points,
        animals=tuple(animals) if rows.has_owners else (),
        conditions=tuple(
            _described(name, groups[name], points, plan, rows.has_owners)
            for name in rows.conditions
        ),
        pairs=tuple(replace(p, q_value=float(q)) for p, q in zip(pairs, corrected, strict=True)),
        method=method,
        unit=words,
        confidence=confidence,
        warnings=tuple(warnings),
    )


@dataclass(frozen=True)
class _Plan:
    """What was asked for."""

    method: str
    design: str
    confidence: float
    unit: str
    words: str
    seed: int


def _default_grid(x: FloatArray) -> FloatArray:
    given = x[np.isfinite(x)]
    low = min(0.0, float(given.min())) if given.size else 0.0
    high = float(given.max()) if given.size else 1.0
    return np.linspace(low, high if high > low else low + 1.0, N_GRID)


def _left_out(x: FloatArray, w: FloatArray, grid: FloatArray) -> list[str]:
    told = []
    missing = int(np.isnan(x).sum())
    if missing:
        told.append(f"{missing} of {len(x)} values are missing: left out")
    outside = int(((x > grid[-1]) & (w > 0)).sum())
    if outside:
        told.append(
            f"{outside} of {len(x)} values lie beyond the end of the grid ({grid[-1]:g}): "
            "differences there are not seen"
        )
    return told


def _animals(
    x: FloatArray,
    w: FloatArray,
    cells: list[Any],
    cell_index: npt.NDArray[np.intp],
    rows: Rows,
    grid: FloatArray,
) -> list[AnimalDistribution]:
    """Animals with values, condition by condition; all cells as one lot without animals."""
    found = []
    owners = rows.owners if rows.has_owners else [None]
    owner_index = np.maximum(rows.owner_index, 0)
    key = rows.condition_index * max(1, len(owners)) + owner_index
    order = np.argsort(key, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(key[order])) + 1) if len(order) else []:
        curves = curves_of(x[part], w[part], cells, cell_index[part], grid)
        if not curves.cells:
            continue
        mean = curves.mean_cdf
        found.append(
            AnimalDistribution(
                condition=rows.conditions[rows.condition_index[part[0]]],
                animal=owners[owner_index[part[0]]],
                n_cells=len(curves.cells),
                n_values=int(curves.n_values.sum()),
                cdf=mean,
                median_of_mean_cdf=half_distance(grid, mean),
                mean_of_medians=float(curves.medians.mean()),
            )
        )
    return found


def _described(
    name: Any, animals: list[AnimalDistribution], grid: FloatArray, plan: _Plan, tested: bool
) -> ConditionDistribution:
    curves = _curves(animals, grid)
    mean = curves.mean(axis=0) if animals else np.full(len(grid), np.nan)
    band = simultaneous_band(
        curves if tested else curves[:0], confidence=plan.confidence, seed=plan.seed
    )
    medians = [a.mean_of_medians for a in animals]
    return ConditionDistribution(
        condition=name,
        n_animals=len(animals) if tested else 0,
        n_cells=sum(a.n_cells for a in animals),
        n_values=sum(a.n_values for a in animals),
        cdf=mean,
        band=band if tested else replace(band, reason=NO_ANIMALS),
        median_of_mean_cdf=half_distance(grid, mean),
        mean_of_medians=float(np.mean(medians)) if medians else math.nan,
    )


def _curves(animals: list[AnimalDistribution], grid: FloatArray) -> FloatArray:
    return np.array([a.cdf for a in animals], dtype=np.float64).reshape(-1, len(grid))


def _compare(
    a: Any,
    of_a: list[AnimalDistribution],
    b: Any,
    of_b: list[AnimalDistribution],
    grid: FloatArray,
    plan: _Plan,
) -> DistributionDifference:
    names_a, names_b = [d.animal for d in of_a], [d.animal for d in of_b]
    design = design_of(plan.design, plan.unit, a, names_a, b, names_b)
    within = design != "independent"
    if within:
        shared = [name for name in names_a if name in set(names_b)]
        of_a = [of_a[names_a.index(name)] for name in shared]
        of_b = [of_b[names_b.index(name)] for name in shared]
    row = DistributionDifference(
        reference=a,
        condition=b,
        design=design,
        n_reference=len(of_a),
        n_condition=len(of_b),
        n_incomplete=len(set(names_a) ^ set(names_b)) if within else 0,
        method=_method_in_words(plan, within),
        hypothesis=_hypothesis(a, b, plan, within),
        unit=plan.words,
    )
    x, y = _curves(of_a, grid), _curves(of_b, grid)
    if len(x) and len(y):
        row = _with_distances(row, x, y, grid)
    for name, curves in ((a, x), (b, y)):
        if len(curves) < 2:
            which = "in both conditions" if within else f"in {name}"
            why = f"{len(curves)} {plan.unit}s with values {which} (2 needed)"
            return replace(row, reason=why)
    return _tested(_with_shift(row, x, y, grid, plan), x, y, grid, plan)


def _with_distances(
    row: DistributionDifference, x: FloatArray, y: FloatArray, grid: FloatArray
) -> DistributionDifference:
    gap = y.mean(axis=0) - x.mean(axis=0)
    k = int(np.argmax(np.abs(gap)))
    return replace(
        row,
        wasserstein=float(integral(grid, np.abs(gap))),
        shift=-float(integral(grid, gap)),
        largest_gap=float(gap[k]),
        largest_gap_at=float(grid[k]),
    )


def _with_shift(
    row: DistributionDifference, x: FloatArray, y: FloatArray, grid: FloatArray, plan: _Plan
) -> DistributionDifference:
    means = [-integral(grid, curves) for curves in (x, y)]
    test = welch(*means) if row.design == "independent" else paired(*means)
    low, high = test.interval(plan.confidence)
    return replace(row, shift_low=low, shift_high=high)


def _tested(
    row: DistributionDifference, x: FloatArray, y: FloatArray, grid: FloatArray, plan: _Plan
) -> DistributionDifference:
    within = row.design != "independent"
    test = paired_curve_test(x, y, grid) if within else curve_test(x, y, grid)
    if not test.testable:
        same = "change alike" if within else "have the same CDF as the others of their condition"
        return replace(row, reason=f"all {plan.unit}s {same}: no variation to test against")
    ways = arrangements(len(x), len(y), paired=within, seed=plan.seed)
    numbers = y - x if within else np.concatenate([x, y])
    row = replace(
        row,
        statistic=test.statistic,
        wasserstein_by_chance=_by_chance(numbers, grid, ways),
    )
    if plan.method == "functional":
        return replace(row, df=test.df, df_error=test.df_error, p_value=test.p_value)
    row = replace(row, smallest_p=ways.smallest_p)
    if ways.smallest_p >= REACHABLE_P:
        return replace(row, reason=ways.too_few(plan.unit))
    return replace(row, p_value=ways.p_value(permuted_statistics(numbers, grid, ways)))


def _by_chance(numbers: FloatArray, grid: FloatArray, ways: Arrangements) -> float:
    """Mean area between mean curves, in lots that fit in memory."""
    if ways.paired:
        contrasts = ways.weights / len(numbers)
    else:
        m = ways.weights[0].sum()
        contrasts = ways.weights / m - (1 - ways.weights) / (len(numbers) - m)
    lots = np.array_split(contrasts, max(1, len(contrasts) // 2000))
    areas = [integral(grid, np.abs(lot @ numbers)) for lot in lots]
    return float(np.concatenate(areas).mean())


def _warnings_about(pairs: list[DistributionDifference], plan: _Plan) -> list[str]:
    told = []
    for pair in pairs:
        if pair.n_incomplete:
            told.append(
                f"{pair.n_incomplete} {plan.unit}s have values in only one of {pair.reference} "
                f"and {pair.condition}: left out of this pair"
            )
        if np.isfinite(pair.p_value) and pair.design == "independent":
            sizes = pair.reference, pair.n_reference, pair.condition, pair.n_condition
            words = lopsided(*sizes, plan.unit)
            rate = _LOPSIDED_RATES[plan.method]
            told += [f"{words} (false positives up to {rate} % instead of 5 %)"] if words else []
    return told


def _unequal(
    groups: dict[Any, list[AnimalDistribution]],
    pair: DistributionDifference,
    grid: FloatArray,
    plan: _Plan,
) -> list[str]:
    """Warning where the animals of one condition vary much more than those of the other."""
    if not np.isfinite(pair.p_value) or pair.design != "independent":
        return []
    low, high = sorted(
        (math.sqrt(integral(grid, _curves(groups[name], grid).var(axis=0, ddof=1))), str(name))
        for name in (pair.reference, pair.condition)
    )
    if high[0] < _UNEQUAL * low[0]:
        return []
    who = f"{plan.unit}s of {high[1]} vary more than {_UNEQUAL} times as much as those of {low[1]}"
    rate = _UNEQUAL_RATES[plan.method]
    return [f"{who}: then there are {rate} % false positives instead of 5 %"]


def _method_in_words(plan: _Plan, within: bool) -> str:
    of = f"mean CDFs of {plan.unit}s"
    if plan.method == "permutation":
        if within:
            return f"conditions exchanged within {plan.unit}s, squared difference of {of}"
        return f"permutation of {plan.unit}s, studentised squared difference of {of}"
    return f"{'paired' if within else 'Welch-type'} F on {of}, Box's approximation"


def _hypothesis(a: Any, b: Any, plan: _Plan, within: bool) -> str:
    if within:
        return f"Within one {plan.unit}, the CDF is on average the same in {a} and {b}."
    if plan.method == "permutation":
        return f"It is chance which {plan.unit}s are of {a} and which of {b}."
    return f"The {plan.unit}s of {a} and {b} have the same expected CDF."
