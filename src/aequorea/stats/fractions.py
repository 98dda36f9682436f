"""Positive fractions compared between conditions, with the animal as the unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from aequorea.errors import AxisMismatchError, InputError
from aequorea.stats.animals import (
    IMAGES_AS_ASKED,
    NO_ANIMALS,
    Unit,
    check_choices,
    check_confidence,
    couples_of,
    lopsided,
    names_of,
)
from aequorea.stats.beta_binomial import BetaBinomialPair
from aequorea.stats.fdr import false_discovery_rate

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

__all__ = ["ConditionFraction", "FractionComparison", "FractionDifference", "compare_fractions"]

FloatArray = npt.NDArray[np.float64]
Method = Literal["animal-mean", "beta-binomial"]
Transform = Literal["none", "arcsine", "logit"]

_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class ConditionFraction:
    """One condition.

    Attributes
    ----------
    condition : hashable
    n_animals : int
        Units (animals, or images if that was asked for) with cells.
    n_images, n_cells : int
        Rows given, and cells in them.
    mean_fraction : float
        Mean of the animals' fractions, each of weight 1.
    pooled_fraction : float
        Positive cells over cells: animals with many cells weigh more.
    ci_low, ci_high : float
        Confidence interval of the mean fraction from the spread of the animals (t).
    reason : str
        Why there is no interval; empty when there is one.
    """

    condition: Any
    n_animals: int
    n_images: int
    n_cells: int
    mean_fraction: float
    pooled_fraction: float
    ci_low: float = float("nan")
    ci_high: float = float("nan")
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class FractionDifference:
    """Two conditions held against each other: ``condition`` minus ``reference``.

    Attributes
    ----------
    reference, condition : hashable
    difference : float
        Difference of the mean fractions (of paired animals if paired), in fractions.
    effect, ci_low, ci_high : float
        What is tested, on ``scale``, and its confidence interval.
    scale : {"fraction", "arcsine", "logit"}
    statistic, df, p_value : float
        t, its degrees of freedom, two-sided p; NaN with a reason.
    q_value : float
        p corrected for all pairs of this comparison (Benjamini and Hochberg).
    n_reference, n_condition : int
        Animals compared (the same animals if paired): the effective sample size.
    paired : bool
    method, hypothesis, unit : str
        Test, null and unit of inference, in words.
    reason : str
        Why there is no p-value; empty when there is one.
    """

    reference: Any
    condition: Any
    difference: float = float("nan")
    effect: float = float("nan")
    ci_low: float = float("nan")
    ci_high: float = float("nan")
    scale: str = "fraction"
    statistic: float = float("nan")
    df: float = float("nan")
    p_value: float = float("nan")
    q_value: float = float("nan")
    n_reference: int = 0
    n_condition: int = 0
    paired: bool = False
    method: str = ""
    hypothesis: str = ""
    unit: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class FractionComparison:
    """All conditions, and their pairs.

    Attributes
    ----------
    conditions : tuple of ConditionFraction
        In the order in which they were first given.
    pairs : tuple of FractionDifference
    method : str
    unit : str
        The unit of inference, in words.
    confidence : float
    warnings : tuple of str
    """

    conditions: tuple[ConditionFraction, ...]
    pairs: tuple[FractionDifference, ...]
    method: str
    unit: str
    confidence: float
    warnings: tuple[str, ...] = ()


def compare_fractions(
    positive: npt.ArrayLike,
    total: npt.ArrayLike,
    animal: Sequence[Hashable] | npt.ArrayLike | None,
    condition: Sequence[Hashable] | npt.ArrayLike,
    *,
    method: Method = "animal-mean",
    transform: Transform = "none",
    reference: Hashable | None = None,
    confidence: float = 0.95,
    paired: bool | None = None,
    unit: Unit = "animal",
) -> FractionComparison:
    """Test whether the positive fraction differs between conditions.

    Parameters
    ----------
    positive, total : array_like of int, shape (n,)
        Positive cells and cells of each image or region; those of one animal in one condition
        are summed.
    animal : sequence, shape (n,), or None
        Whose image it is. Animals are the same if their names are, whatever the condition: name
        animals of different conditions differently. Without animals there is no test.
    condition : sequence, shape (n,)
    method : {"animal-mean", "beta-binomial"}
        ``"animal-mean"``: each animal's fraction counts once, Welch's t. ``"beta-binomial"``:
        likelihood-ratio test with one overdispersion for both conditions, referred to t with
        animals − 2 degrees of freedom; weighs animals by what their cells tell.
    transform : {"none", "arcsine", "logit"}
        Of each animal's fraction, with ``"animal-mean"``; logit of (x + ½) / (n + 1).
    reference : hashable, optional
        Compare every condition with this one; by default all pairs.
    confidence : float, default 0.95
    paired : bool, optional
        By default conditions that share animals are compared within these animals (paired t).
    unit : {"animal", "image"}
        ``"image"`` takes each row for an independent replicate, and says so.

    Returns
    -------
    FractionComparison

    Raises
    ------
    AxisMismatchError
        If lengths do not agree.
    InputError
        If counts or options make no sense, or ``paired=False`` and conditions share animals.

    Notes
    -----
    Cells of one animal are alike; a chi-square test on cells takes them for replicates and
    rejects in most comparisons of nothing. Statistics are withheld (NaN, with a reason) with
    fewer than two animals in a condition and where animals do not vary at all. Animals without
    cells in a condition are left out of it.

    Measured rates are in ``benchmarks/results/calibration_cells.csv``. Both tests hold their level
    with 3 to 6 animals per condition that vary alike. Where they do not: Welch's t with 3 against
    6 animals, the smaller group varying three times as much, rejects 8 % at 5 % and 3 % at 1 % (a
    warning says so of such designs); the beta-binomial supposes one overdispersion, and rejects
    7 % with 4 + 4 and 18 % with 3 + 6 animals if the conditions differ tenfold in it. With cell
    numbers that differ a hundredfold between animals the beta-binomial rejects 6 %. Welch's t is
    conservative for rare phenotypes (2 % at 5 %, for 1 % positive cells).

    References
    ----------
    .. [1] Welch (1947), doi:10.1093/biomet/34.1-2.28
    .. [2] Williams (1975), doi:10.2307/2529820 (beta-binomial litters)
    .. [3] Hurlbert (1984), doi:10.2307/1942661 (pseudoreplication)

    Examples
    --------
    >>> result = compare_fractions(
    ...     [20, 31, 24, 52, 41, 60], [100, 120, 110, 105, 98, 121],
    ...     ["a", "b", "c", "d", "e", "f"], ["control"] * 3 + ["drug"] * 3)
    >>> [(c.n_animals, round(c.mean_fraction, 2)) for c in result.conditions]
    [(3, 0.23), (3, 0.47)]
    >>> pair = result.pairs[0]
    >>> round(pair.difference, 2), round(pair.p_value, 3)
    (0.24, 0.002)
    """
    _check_options(method, transform, confidence, unit)
    x, n = _counts(positive, total)
    groups = names_of(condition, len(x), "condition")
    owners = None if animal is None else names_of(animal, len(x), "animal")
    order = list(dict.fromkeys(groups))
    couples = couples_of(order, reference)
    warnings: list[str] = []
    if unit == "image":
        warnings.append(IMAGES_AS_ASKED)
        if owners is not None and len(set(owners)) < len(owners):
            warnings[0] += f", though {len(owners)} images come from {len(set(owners))} animals"
        owners = list(range(len(x)))
    units = _sum_units(x, n, owners, groups, order, warnings)
    words = f"{unit} (fractions of its cells)" if owners is not None else "none"
    plan = _Plan(method, transform, confidence, paired, unit, words)

    if owners is None:
        warnings.append(NO_ANIMALS)
        pairs = [
            FractionDifference(reference=a, condition=b, reason=NO_ANIMALS) for a, b in couples
        ]
    else:
        pairs = [_compare(a, units[a], b, units[b], plan) for a, b in couples]
        warnings += [told for pair in pairs if (told := _lopsided(pair, plan))]
    corrected = false_discovery_rate([pair.p_value for pair in pairs])
    return FractionComparison(
        conditions=tuple(_described(c, units[c], plan, owners is not None) for c in order),
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
    transform: str
    confidence: float
    paired: bool | None
    unit: str
    words: str


@dataclass(frozen=True)
class _Units:
    """Animals of one condition: those with cells."""

    names: list[Any]
    x: FloatArray
    n: FloatArray
    n_images: int

    @property
    def fractions(self) -> FloatArray:
        return self.x / self.n

    def chosen(self, names: list[Any]) -> _Units:
        index = [self.names.index(name) for name in names]
        return _Units(names, self.x[index], self.n[index], self.n_images)

    def on_scale(self, transform: str) -> FloatArray:
        if transform == "arcsine":
            return np.asarray(np.arcsin(np.sqrt(self.fractions)))
        if transform == "logit":
            return np.asarray(special.logit((self.x + 0.5) / (self.n + 1)))
        return self.fractions


def _check_options(method: str, transform: str, confidence: float, unit: str) -> None:
    check_choices((("method", method, Method), ("transform", transform, Transform)))
    check_choices((("unit", unit, Unit),))
    check_confidence(confidence)
    if method == "beta-binomial" and transform != "none":
        raise InputError(
            f"transform: the beta-binomial takes counts as they are, found {transform!r}; "
            "leave it at 'none' or use method='animal-mean'"
        )


def _counts(positive: npt.ArrayLike, total: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, n = (np.asarray(v) for v in (positive, total))
    if x.ndim != 1 or x.shape != n.shape:
        raise AxisMismatchError(
            f"positive and total: expected two lists of one length, found shapes {x.shape} and "
            f"{n.shape}; give one number each per image"
        )
    if x.size and (x.dtype.kind not in "uif" or n.dtype.kind not in "uif"):
        raise InputError(
            f"positive and total: expected cell counts, found {x.dtype} and {n.dtype}; give numbers"
        )
    x, n = x.astype(np.float64), n.astype(np.float64)
    whole = np.isfinite(x) & np.isfinite(n) & (x == np.floor(x)) & (n == np.floor(n))
    bad = np.flatnonzero(~(whole & (x >= 0) & (x <= n)))
    if bad.size:
        k = bad[0]
        raise InputError(
            f"positive and total: expected whole numbers with 0 <= positive <= total, found "
            f"{x[k]:g} of {n[k]:g} in row {k}; give counts, not fractions"
        )
    return x, n


def _sum_units(
    x: FloatArray,
    n: FloatArray,
    owners: list[Any] | None,
    groups: list[Any],
    order: list[Any],
    warnings: list[str],
) -> dict[Any, _Units]:
    sums: dict[Any, dict[Any, list[float]]] = {name: {} for name in order}
    for k, group in enumerate(groups):
        owner = k if owners is None else owners[k]
        counts = sums[group].setdefault(owner, [0.0, 0.0])
        counts[0] += float(x[k])
        counts[1] += float(n[k])
    units = {}
    for group, per_owner in sums.items():
        kept = {owner: counts for owner, counts in per_owner.items() if counts[1] > 0}
        if len(kept) < len(per_owner) and owners is not None:
            empty = [str(owner) for owner in per_owner if owner not in kept]
            warnings.append(f"without cells in {group}, left out: {', '.join(empty)}")
        values = np.array(list(kept.values()), dtype=np.float64).reshape(-1, 2)
        units[group] = _Units(
            list(kept), values[:, 0].copy(), values[:, 1].copy(), groups.count(group)
        )
    return units


def _described(name: Any, units: _Units, plan: _Plan, tested: bool) -> ConditionFraction:
    cells, k = float(units.n.sum()), len(units.names)
    row = ConditionFraction(
        condition=name,
        n_animals=k if tested else 0,
        n_images=units.n_images,
        n_cells=int(cells),
        mean_fraction=float(units.fractions.mean()) if k and tested else float("nan"),
        pooled_fraction=float(units.x.sum() / cells) if cells else float("nan"),
    )
    if not tested:
        return replace(row, reason=NO_ANIMALS)
    if k < 2:
        return replace(row, reason=f"{k} {plan.unit}s with cells (2 needed)")
    spread = float(units.fractions.std(ddof=1))
    if spread <= _TINY:
        return replace(row, reason=f"the fraction is the same in all {plan.unit}s")
    half = float(stats.t.isf((1 - plan.confidence) / 2, k - 1)) * spread / np.sqrt(k)
    low, high = max(0.0, row.mean_fraction - half), min(1.0, row.mean_fraction + half)
    return replace(row, ci_low=low, ci_high=high)


def _compare(a: Any, of_a: _Units, b: Any, of_b: _Units, plan: _Plan) -> FractionDifference:
    shared = [name for name in of_a.names if name in set(of_b.names)]
    if plan.paired is False and shared:
        raise InputError(
            f"paired: expected different {plan.unit}s in {a} and {b}, found {len(shared)} in both; "
            "leave it out for a paired test, or name different animals differently"
        )
    paired = bool(shared) or bool(plan.paired)
    if paired:
        of_a, of_b = of_a.chosen(shared), of_b.chosen(shared)
    many = bool(shared)
    row = FractionDifference(
        reference=a,
        condition=b,
        scale=plan.transform if plan.transform != "none" else "fraction",
        n_reference=len(of_a.names),
        n_condition=len(of_b.names),
        paired=paired,
        method=_method_in_words(plan, paired),
        hypothesis=_hypothesis(a, b, plan, paired),
        unit=plan.words,
    )
    if paired and not many:
        return replace(row, reason=f"no {plan.unit} has cells in both {a} and {b}")
    if len(of_a.names) and len(of_b.names):
        row = replace(row, difference=float(of_b.fractions.mean() - of_a.fractions.mean()))
    for name, units in ((a, of_a), (b, of_b)):
        if len(units.names) < 2:
            which = "in both conditions" if paired else f"in {name}"
            return replace(
                row, reason=f"{len(units.names)} {plan.unit}s with cells {which} (2 needed)"
            )
    if plan.method == "beta-binomial":
        return _by_beta_binomial(row, of_a, of_b, plan)
    values = of_a.on_scale(plan.transform), of_b.on_scale(plan.transform)
    return _by_t(row, *values, plan)


def _lopsided(pair: FractionDifference, plan: _Plan) -> str | None:
    if not np.isfinite(pair.p_value):
        return None
    sizes = pair.reference, pair.n_reference, pair.condition, pair.n_condition
    return lopsided(*sizes, plan.unit)


def _method_in_words(plan: _Plan, paired: bool) -> str:
    if plan.method == "beta-binomial":
        return "beta-binomial likelihood ratio, common overdispersion, t reference"
    scale = "fractions" if plan.transform == "none" else f"{plan.transform} of fractions"
    return f"paired t on {scale}" if paired else f"Welch's t on {scale}"


def _hypothesis(a: Any, b: Any, plan: _Plan, paired: bool) -> str:
    if plan.method == "beta-binomial":
        return (
            f"The {plan.unit}s of {a} and {b} have the same expected positive fraction, and vary "
            "about it to the same degree."
        )
    of_them = "" if plan.transform == "none" else f"{plan.transform} of the "
    if paired:
        return (
            f"Within one {plan.unit}, the {of_them}positive fraction is on average the same in "
            f"{a} and {b}."
        )
    return f"The {plan.unit}s of {a} and {b} have the same mean {of_them}positive fraction."


def _by_t(row: FractionDifference, a: FloatArray, b: FloatArray, plan: _Plan) -> FractionDifference:
    if row.paired:
        changes = b - a
        effect, variance, df = float(changes.mean()), float(changes.var(ddof=1)), len(a) - 1.0
        variance /= len(a)
        nothing = f"all {len(a)} {plan.unit}s change alike: no variation to test against"
    else:
        parts = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
        effect, variance = float(b.mean() - a.mean()), float(parts.sum())
        nothing = f"the fraction does not vary between the {plan.unit}s of either condition"
        if variance > _TINY**2:
            df = float(variance**2 / (parts**2 / np.array([len(a) - 1, len(b) - 1])).sum())
    row = replace(row, effect=effect)
    error = float(np.sqrt(variance))
    if error <= _TINY:
        return replace(row, reason=nothing)
    half = float(stats.t.isf((1 - plan.confidence) / 2, df)) * error
    return replace(
        row,
        statistic=effect / error,
        df=df,
        p_value=float(2 * stats.t.sf(abs(effect) / error, df)),
        ci_low=effect - half,
        ci_high=effect + half,
    )


def _by_beta_binomial(
    row: FractionDifference, a: _Units, b: _Units, plan: _Plan
) -> FractionDifference:
    if row.paired:
        why = f"the same {plan.unit}s in both conditions: use method='animal-mean' (paired t)"
        return replace(row, reason=why)
    for units in (a, b):
        if units.x.sum() not in (0, units.n.sum()):
            break
    else:
        why = f"the fraction does not vary between the {plan.unit}s of either condition"
        return replace(row, reason=why)
    pair = BetaBinomialPair(a.x, a.n, b.x, b.n)
    p = pair.p_value()
    low, high = pair.interval(plan.confidence)
    t = float(stats.t.isf(p / 2, pair.df))
    return replace(
        row,
        effect=row.difference,
        statistic=float(np.copysign(t, row.difference)),
        df=float(pair.df),
        p_value=p,
        ci_low=low,
        ci_high=high,
    )
