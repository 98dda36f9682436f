"""Numbers per cell compared between conditions, with the animal as the unit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from aequorea.errors import AxisMismatchError, InputError
from aequorea.stats.animals import (
    NO_ANIMALS,
    Design,
    Unit,
    check_choices,
    check_confidence,
    couples_of,
    design_of,
    lopsided,
    rows_of,
)
from aequorea.stats.effect_size import (
    EffectSize,
    detectable_difference,
    hedges_g,
    ratio_by,
    ratio_of_means,
)
from aequorea.stats.fdr import false_discovery_rate
from aequorea.stats.inversion import accepted
from aequorea.stats.mixed import fit_random_intercept
from aequorea.stats.per_animal import AnimalMean, groups_of, table_of
from aequorea.stats.permutation import Arrangements, arrangements, studentised
from aequorea.stats.t_tests import Estimate, blocked, paired, welch

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from aequorea.stats.per_animal import AnimalGroup

__all__ = [
    "ConditionMean",
    "MeanComparison",
    "MeanDifference",
    "compare_means",
]

FloatArray = npt.NDArray[np.float64]
Method = Literal["animal-mean", "mixed", "permutation"]
Summary = Literal["mean", "median"]

#: A permutation test that cannot reach this p is not made.
REACHABLE_P = 0.05
_POWER = 0.8
#: Measured with 3 against 6 animals, the fewer varying three times as much.
_LOPSIDED_RATES = {"animal-mean": 7, "mixed": 17, "permutation": 12}
#: Ratio of standard deviations of animals that is told.
_UNEQUAL = 3


@dataclass(frozen=True, kw_only=True)
class ConditionMean:
    """One condition.

    Attributes
    ----------
    condition : hashable
    n_animals : int
        Units (animals, or images if that was asked for) with cells.
    n_cells, n_missing : int
        Cells with a value, and cells left out because it is NaN.
    mean : float
        Mean of the animals' values, each of weight 1.
    sd : float
        Standard deviation of the animals' values; NaN below two animals.
    pooled_mean : float
        Mean of all cells: animals with many cells weigh more.
    ci_low, ci_high : float
        Confidence interval of the mean from the spread of the animals (t).
    reason : str
        Why there is no interval; empty when there is one.
    """

    condition: Any
    n_animals: int
    n_cells: int
    n_missing: int
    mean: float = math.nan
    sd: float = math.nan
    pooled_mean: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class MeanDifference:
    """Two conditions held against each other: ``condition`` minus ``reference``.

    Attributes
    ----------
    reference, condition : hashable
    difference, ci_low, ci_high : float
        Of the means, in the unit of the values, with its confidence interval.
    ratio, ratio_low, ratio_high : float
        Of the means; NaN unless all animals' values are positive.
    hedges_g, g_low, g_high : float
        Difference in standard deviations of the animals' values (of their changes if paired).
    statistic, df, p_value : float
        t, its degrees of freedom (NaN for a permutation), two-sided p; NaN with a reason.
    q_value : float
        p corrected for all pairs of this comparison (Benjamini and Hochberg).
    smallest_p : float
        Smallest p that a permutation of so many animals can give; 0 for t.
    detectable : float
        Smallest true difference that a study of this size and spread finds in 80 % of cases.
    icc : float
        Share of the variance of cells that lies between animals; NaN unless the method is mixed.
    n_reference, n_condition : int
        Animals compared (the same animals if paired): the effective sample size.
    n_incomplete : int
        Animals left out because they have cells in one of the two conditions only.
    design : {"independent", "paired", "blocked"}
    method, hypothesis, unit : str
        Test, null and unit of inference, in words.
    reason : str
        Why there is no p-value; empty when there is one.
    """

    reference: Any
    condition: Any
    difference: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    ratio: float = math.nan
    ratio_low: float = math.nan
    ratio_high: float = math.nan
    hedges_g: float = math.nan
    g_low: float = math.nan
    g_high: float = math.nan
    statistic: float = math.nan
    df: float = math.nan
    p_value: float = math.nan
    q_value: float = math.nan
    smallest_p: float = 0.0
    detectable: float = math.nan
    icc: float = math.nan
    n_reference: int = 0
    n_condition: int = 0
    n_incomplete: int = 0
    design: str = "independent"
    method: str = ""
    hypothesis: str = ""
    unit: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class MeanComparison:
    """All conditions, their animals, and their pairs.

    Attributes
    ----------
    animals : tuple of AnimalMean
        What is compared: one value per animal and condition.
    conditions : tuple of ConditionMean
        In the order in which they were first given.
    pairs : tuple of MeanDifference
    method : str
    unit : str
        The unit of inference, in words.
    confidence : float
    warnings : tuple of str
    """

    animals: tuple[AnimalMean, ...]
    conditions: tuple[ConditionMean, ...]
    pairs: tuple[MeanDifference, ...]
    method: str
    unit: str
    confidence: float
    warnings: tuple[str, ...] = ()


def compare_means(
    values: npt.ArrayLike,
    animal: Sequence[Hashable] | npt.ArrayLike | None,
    condition: Sequence[Hashable] | npt.ArrayLike,
    *,
    method: Method = "animal-mean",
    design: Design = "auto",
    reference: Hashable | None = None,
    confidence: float = 0.95,
    unit: Unit = "animal",
    image: Sequence[Hashable] | npt.ArrayLike | None = None,
    summary: Summary = "mean",
    weights: npt.ArrayLike | None = None,
    seed: int = 0,
) -> MeanComparison:
    """Test whether a number measured per cell differs between conditions.

    Parameters
    ----------
    values : array_like, shape (n,)
        One number per cell. NaN is left out, and counted.
    animal : sequence, shape (n,), or None
        Whose cell it is. Animals are the same if their names are, whatever the condition: name
        animals of different conditions differently. Without animals there is no test.
    condition : sequence, shape (n,)
    method : {"animal-mean", "mixed", "permutation"}
        ``"animal-mean"``: t-test on one value per animal (Welch's, with Satterthwaite's degrees
        of freedom). ``"mixed"``: random animal intercept, REML, Kenward and Roger's error;
        weighs animals by what their cells tell, and supposes that animals, and cells, vary to the
        same degree in both conditions; not for animals that are in both. ``"permutation"``:
        animals dealt out to the conditions in all ways, Welch's t as statistic.
    design : {"auto", "independent", "paired", "blocked"}
        ``"auto"`` is independent where two conditions share no animal, paired where they share
        all, blocked where some animals miss one of them. Blocked takes a constant for each
        animal, and its error from all conditions of the comparison; with two conditions that is
        the paired test of the animals that have both.
    reference : hashable, optional
        Compare every condition with this one; by default all pairs.
    confidence : float, default 0.95
    unit : {"animal", "image"}
        ``"image"`` takes each image for an independent replicate, and says so.
    image : sequence, shape (n,), optional
        Whose image each cell is from; needed with ``unit="image"``.
    summary : {"mean", "median"}
        What of its cells stands for an animal.
    weights : array_like, shape (n,), optional
        Of cells in the mean of their animal, such as their area.
    seed : int, default 0
        Of a permutation with more than 20,000 ways.

    Returns
    -------
    MeanComparison

    Raises
    ------
    AxisMismatchError
        If lengths do not agree.
    InputError
        If values or options make no sense, or independent animals are asked for and conditions
        share some.

    Notes
    -----
    Cells of one animal are alike. A t-test on cells takes them for replicates: with 6 animals per
    condition and 30 % of the variance between animals it finds a difference in 58 % of
    comparisons of nothing. Statistics are withheld (NaN, with a reason) with fewer than two
    animals in a condition, where animals do not vary at all, and for permutations that cannot
    reach p < 0.05 (3 + 3 animals, or 5 pairs).

    Measured rates are in ``benchmarks/results/calibration_animals.csv``: 2,000 studies each, 5 to
    60 cells per animal, 2 to 60 % of the variance between animals. False positives at 5 %:
    Welch's t 3.3 to 4.3 % with 3 + 3 animals, 3.8 to 5.1 % with 4 + 4 and 6 + 6; mixed model 3.7
    to 5.7 % (1.4 to 3.9 % where animals hardly differ); permutation 2.3 to 3.0 % with 4 + 4
    (after 0.029 comes 0.057), 5.1 to 5.8 % with 6 + 6. Intervals of 95 % hold 94 to 96 %.

    Where levels do not hold: if the animals of one condition vary three times as much, the mixed
    model and the permutation reject 7 % (Welch's t 5 %), and with 3 animals that vary so against
    6 that do not 17 % and 12 % (Welch's t 7 %). Blocks of three conditions, the changes to one
    varying 2.2 times as much as those between the others, reject 8 % where it is tested and 1 %
    where it is not.

    References
    ----------
    .. [1] Welch (1947), doi:10.1093/biomet/34.1-2.28
    .. [2] Kenward & Roger (1997), doi:10.2307/2533558
    .. [3] Chung & Romano (2013), doi:10.1214/13-AOS1090 (studentised permutations)
    .. [4] Lazic (2010), doi:10.1186/1471-2202-11-5 (pseudoreplication)

    Examples
    --------
    >>> animal = ["a", "a", "b", "b", "c", "d", "d", "e", "f", "f"]
    >>> condition = ["control"] * 5 + ["drug"] * 5
    >>> result = compare_means([1, 3, 2, 4, 4, 6, 8, 5, 7, 9], animal, condition)
    >>> [(c.n_animals, c.n_cells, c.mean) for c in result.conditions]
    [(3, 5, 3.0), (3, 5, 6.666666666666667)]
    >>> pair = result.pairs[0]
    >>> round(pair.difference, 2), round(pair.p_value, 3)
    (3.67, 0.032)
    """
    _check_options(method, summary, unit, design, confidence, weights)
    y, w = _numbers(values, weights)
    rows = rows_of(len(y), animal, condition, unit=unit, image=image)
    couples = couples_of(rows.conditions, reference)
    words = f"{unit} ({summary} of its cells)" if rows.has_owners else "none"
    plan = _Plan(method, design, summary, confidence, unit, words, seed)
    warnings = list(rows.warnings)
    groups = groups_of(y, w, rows, summary, warnings)
    if rows.has_owners:
        table = table_of(groups, rows)
        pairs = [_compare(groups[a], groups[b], table, plan) for a, b in couples]
        warnings += _warnings_about(pairs, plan)
        warnings += [words for pair in pairs for words in _unequal(groups, pair, plan)]
    else:
        warnings.append(NO_ANIMALS)
        pairs = [MeanDifference(reference=a, condition=b, reason=NO_ANIMALS) for a, b in couples]
    corrected = false_discovery_rate([pair.p_value for pair in pairs])
    return MeanComparison(
        animals=tuple(r for g in groups.values() for r in g.rows) if rows.has_owners else (),
        conditions=tuple(_described(g, plan, rows.has_owners) for g in groups.values()),
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
    summary: str
    confidence: float
    unit: str
    words: str
    seed: int


def _check_options(
    method: str, summary: str, unit: str, design: str, confidence: float, weights: Any
) -> None:
    check_choices((("method", method, Method), ("summary", summary, Summary)))
    check_choices((("unit", unit, Unit), ("design", design, Design)))
    check_confidence(confidence)
    if method == "mixed" and (summary != "mean" or weights is not None):
        raise InputError(
            "method: a mixed model takes plain means of cells, found "
            f"{'weights' if weights is not None else f'summary={summary!r}'}; "
            "use method='animal-mean'"
        )
    if summary == "median" and weights is not None:
        raise InputError("weights: expected none with summary='median'; use summary='mean'")


def _numbers(values: Any, weights: Any) -> tuple[FloatArray, FloatArray]:
    y = np.asarray(values)
    if y.ndim != 1:
        raise AxisMismatchError(
            f"values: expected one number per cell, found shape {y.shape}; give a flat list"
        )
    if y.size and y.dtype.kind not in "buif":
        raise InputError(f"values: expected numbers, found {y.dtype}; convert them")
    y = y.astype(np.float64)
    if np.isinf(y).any():
        k = int(np.flatnonzero(np.isinf(y))[0])
        raise InputError(f"values: expected finite numbers or NaN, found {y[k]} in row {k}")
    if weights is None:
        return y, np.ones(len(y))
    w = np.asarray(weights, dtype=np.float64)
    if w.shape != y.shape:
        raise AxisMismatchError(
            f"weights: expected {len(y)} values, found shape {w.shape}; give one per cell"
        )
    bad = np.flatnonzero(~(np.isfinite(w) & (w > 0)) & np.isfinite(y))
    if bad.size:
        raise InputError(
            f"weights: expected positive numbers, found {w[bad[0]]:g} in row {bad[0]}; "
            "leave such cells out"
        )
    return y, w


def _described(group: AnimalGroup, plan: _Plan, tested: bool) -> ConditionMean:
    k = len(group.names)
    row = ConditionMean(
        condition=group.condition,
        n_animals=k if tested else 0,
        n_cells=int(group.n.sum()),
        n_missing=group.n_missing,
        pooled_mean=group.pooled_mean,
    )
    if not tested:
        return replace(row, reason=NO_ANIMALS)
    if k:
        row = replace(row, mean=float(group.values.mean()))
    if k < 2:
        return replace(row, reason=f"{k} {plan.unit}s with cells (2 needed)")
    sd = float(group.values.std(ddof=1))
    found = paired(np.zeros(k), group.values)
    if not found.testable:
        return replace(row, sd=sd, reason=f"the value is the same in all {plan.unit}s")
    low, high = found.interval(plan.confidence)
    return replace(row, sd=sd, ci_low=low, ci_high=high)


def _compare(a: AnimalGroup, b: AnimalGroup, table: FloatArray, plan: _Plan) -> MeanDifference:
    shared = [name for name in a.names if name in set(b.names)]
    design = design_of(plan.design, plan.unit, a.condition, a.names, b.condition, b.names)
    within = design != "independent"
    row = MeanDifference(
        reference=a.condition,
        condition=b.condition,
        design=design,
        n_reference=len(shared) if within else len(a.names),
        n_condition=len(shared) if within else len(b.names),
        n_incomplete=len(set(a.names) ^ set(b.names)) if within else 0,
        method=_method_in_words(plan, design),
        hypothesis=_hypothesis(a.condition, b.condition, plan, design),
        unit=plan.words,
    )
    if design == "blocked" and plan.method == "animal-mean":
        return _by_blocks(row, a, b, shared, table, plan)
    x, y = (a.chosen(shared), b.chosen(shared)) if within else (a.values, b.values)
    if within and not shared:
        return replace(row, reason=f"no {plan.unit} has cells in both conditions")
    if len(x) and len(y):
        row = replace(row, difference=float(y.mean() - x.mean()))
    for name, numbers in ((a.condition, x), (b.condition, y)):
        if len(numbers) < 2:
            which = "in both conditions" if within else f"in {name}"
            why = f"{len(numbers)} {plan.unit}s with cells {which} (2 needed)"
            return replace(_with_sizes(row, x, y, within, plan), reason=why)
    row = _with_sizes(row, x, y, within, plan)
    if plan.method == "mixed":
        return _by_mixed_model(row, a, b, plan)
    test = paired(x, y) if within else welch(x, y)
    if plan.method == "permutation":
        return _by_permutation(row, x, y, test, plan)
    return _with_test(row, test, plan, _nothing_varies(plan, within))


def _with_sizes(
    row: MeanDifference, x: FloatArray, y: FloatArray, within: bool, plan: _Plan
) -> MeanDifference:
    g = hedges_g(x, y, paired=within, confidence=plan.confidence)
    row = replace(row, hedges_g=g.value, g_low=g.low, g_high=g.high)
    return _with_ratio(row, ratio_of_means(x, y, paired=within, confidence=plan.confidence))


def _with_ratio(row: MeanDifference, ratio: EffectSize) -> MeanDifference:
    return replace(row, ratio=ratio.value, ratio_low=ratio.low, ratio_high=ratio.high)


def _with_test(row: MeanDifference, test: Estimate, plan: _Plan, nothing: str) -> MeanDifference:
    row = replace(row, difference=test.value)
    if not test.testable:
        return replace(row, reason=nothing)
    low, high = test.interval(plan.confidence)
    return replace(
        row,
        ci_low=low,
        ci_high=high,
        statistic=test.statistic,
        df=test.df,
        p_value=test.p_value,
        detectable=_detectable(test, plan),
    )


def _detectable(test: Estimate, plan: _Plan) -> float:
    return detectable_difference(test.error, test.df, power=_POWER, confidence=plan.confidence)


def _by_blocks(
    row: MeanDifference,
    a: AnimalGroup,
    b: AnimalGroup,
    shared: list[Any],
    table: FloatArray,
    plan: _Plan,
) -> MeanDifference:
    test = blocked(table, a.place, b.place)
    if test is None:
        return replace(row, reason=f"no {plan.unit} links {a.condition} and {b.condition}")
    if shared:
        row = _with_sizes(row, a.chosen(shared), b.chosen(shared), True, plan)
    row = replace(row, difference=test.value)
    if len(shared) < 2 and not test.testable:
        why = f"{len(shared)} {plan.unit}s with cells in both conditions (2 needed)"
        return replace(row, reason=why)
    return _with_test(row, test, plan, _nothing_varies(plan, True))


def _by_mixed_model(
    row: MeanDifference, a: AnimalGroup, b: AnimalGroup, plan: _Plan
) -> MeanDifference:
    if row.design != "independent":
        why = f"the same {plan.unit}s in both conditions: use method='animal-mean' (paired t)"
        return replace(row, reason=why)
    fit = fit_random_intercept(
        np.concatenate([a.means, b.means]),
        np.concatenate([a.n, b.n]),
        np.concatenate([a.squares, b.squares]),
        np.repeat([0, 1], [len(a.n), len(b.n)]),
    )
    if fit is None:
        why = f"cells do not vary within {plan.unit}s: use method='animal-mean'"
        return replace(row, reason=why)
    row = replace(row, icc=fit.icc)
    if min(a.values.min(), b.values.min()) > 0:
        ratio = float(fit.means[1] / fit.means[0])
        found = ratio_by(lambda r: fit.contrast([-r, 1.0]), ratio, plan.confidence)
        row = _with_ratio(row, found)
    return _with_test(row, fit.contrast([-1.0, 1.0]), plan, "")


def _by_permutation(
    row: MeanDifference, x: FloatArray, y: FloatArray, test: Estimate, plan: _Plan
) -> MeanDifference:
    within = row.design != "independent"
    ways = arrangements(len(x), len(y), paired=within, seed=plan.seed)
    row = replace(row, smallest_p=ways.smallest_p)
    if not test.testable:
        return replace(row, reason=_nothing_varies(plan, within))
    row = replace(row, statistic=test.statistic, detectable=_detectable(test, plan))
    if ways.smallest_p >= REACHABLE_P:
        return replace(row, reason=ways.too_few(plan.unit))
    p_value = _permuted(x, y, ways)
    low, high = accepted(
        p_value, test.value, step=test.error, reach=1e6 * test.error, confidence=plan.confidence
    )
    return replace(row, p_value=p_value(0.0), ci_low=low, ci_high=high)


def _permuted(x: FloatArray, y: FloatArray, ways: Arrangements) -> Callable[[float], float]:
    """Test of a supposed difference y − x."""

    def p_value(difference: float) -> float:
        numbers = y - x - difference if ways.paired else np.concatenate([x, y - difference])
        return ways.p_value(studentised(numbers, ways))

    return p_value


def _nothing_varies(plan: _Plan, within: bool) -> str:
    if within:
        return f"all {plan.unit}s change alike: no variation to test against"
    return f"the value does not vary between the {plan.unit}s of either condition"


def _warnings_about(pairs: list[MeanDifference], plan: _Plan) -> list[str]:
    told = []
    for pair in pairs:
        if pair.n_incomplete:
            told.append(
                f"{pair.n_incomplete} {plan.unit}s have cells in only one of {pair.reference} "
                f"and {pair.condition}: left out of this pair"
            )
        if np.isfinite(pair.p_value) and pair.design == "independent":
            told += _lopsided(pair, plan)
    return told


def _lopsided(pair: MeanDifference, plan: _Plan) -> list[str]:
    sizes = pair.reference, pair.n_reference, pair.condition, pair.n_condition
    words = lopsided(*sizes, plan.unit)
    rate = _LOPSIDED_RATES[plan.method]
    return [f"{words} (false positives up to {rate} % instead of 5 %)"] if words else []


def _unequal(groups: dict[Any, AnimalGroup], pair: MeanDifference, plan: _Plan) -> list[str]:
    """Warning where a method that supposes equal variation meets animals that vary unequally."""
    if plan.method == "animal-mean" or not np.isfinite(pair.p_value):
        return []
    low, high = sorted(
        (float(groups[name].values.std(ddof=1)), str(name))
        for name in (pair.reference, pair.condition)
    )
    if pair.design != "independent" or high[0] < _UNEQUAL * low[0]:
        return []
    who = f"{plan.unit}s of {high[1]} vary more than {_UNEQUAL} times as much as those of {low[1]}"
    return [f"{who}: {plan.method} then has 7 % false positives instead of 5 %; use animal-mean"]


def _method_in_words(plan: _Plan, design: str) -> str:
    of = f"{plan.unit} {plan.summary}s"
    if plan.method == "mixed":
        return f"mixed model, random {plan.unit} intercept, REML, Kenward-Roger"
    if plan.method == "permutation":
        if design == "independent":
            return f"permutation of {plan.unit}s, Welch's t of {of}"
        return f"conditions exchanged within {plan.unit}s, t of {of}"
    if design == "blocked":
        return f"least squares on {of}, {plan.unit}s as blocks, t"
    return f"paired t on {of}" if design == "paired" else f"Welch's t on {of}"


def _hypothesis(a: Any, b: Any, plan: _Plan, design: str) -> str:
    if design != "independent":
        return f"Within one {plan.unit}, the {plan.summary} is on average the same in {a} and {b}."
    if plan.method == "permutation":
        return f"It is chance which {plan.unit}s are of {a} and which of {b}."
    if plan.method == "mixed":
        return (
            f"The {plan.unit}s of {a} and {b} have the same expected mean, and vary about it, as "
            "their cells do about them, to the same degree."
        )
    return f"The {plan.unit}s of {a} and {b} have the same expected {plan.summary}."
