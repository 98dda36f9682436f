"""False-positive rates and coverage of comparisons between animals, over thousands of fixed seeds.

    python benchmarks/calibration_animals.py --out benchmarks/results/calibration_animals.csv

A level holds if the 99 % binomial interval of the rate contains it or lies below it
(``conservative``). A confidence interval holds if it covers the truth in 93 to 97 % of studies.
Widths are in units of those of an oracle, which sees each animal's true mean instead of some
cells; ``width`` alone is a median. Kind "misuse" shows tests that aequorea does not offer, or
data that break what a test supposes.
"""

from __future__ import annotations

import argparse
import csv
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from aequorea.stats.bands import simultaneous_band
from aequorea.stats.curve_test import curve_test, paired_curve_test, permuted_statistics
from aequorea.stats.effect_size import hedges_g, ratio_of_means
from aequorea.stats.inversion import accepted
from aequorea.stats.mixed import fit_random_intercept
from aequorea.stats.permutation import arrangements, studentised
from aequorea.stats.t_tests import blocked, paired, welch

if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS = (0.05, 0.01)
NAN = float("nan")
CELLS = (5, 60)


@dataclass(frozen=True)
class Outcome:
    """Of one study: p, or whether the interval covers the truth, and how wide it is."""

    p: float = NAN
    covers: float = NAN
    width: float = NAN
    oracle: float = NAN


# --- numbers per cell ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Study:
    """Two conditions: cells, whose they are, and each animal's true mean."""

    cells: np.ndarray
    owner: np.ndarray
    n: np.ndarray
    group: np.ndarray
    true: np.ndarray

    @property
    def means(self):
        """Of the cells of each animal."""
        return np.bincount(self.owner, self.cells) / self.n

    def split(self, values):
        """Values per animal of the two conditions."""
        return values[self.group == 0], values[self.group == 1]

    def split_cells(self):
        """Cells of the two conditions."""
        second = self.group[self.owner] == 1
        return self.cells[~second], self.cells[second]


def study(rng, sizes, icc, *, effect=0.0, spreads=(1.0, 1.0), noises=(1.0, 1.0), skewed=False):
    """Unit variance of cells, ``icc`` of it between animals; 5 to 60 cells per animal."""
    group = np.repeat([0, 1], sizes)
    n = rng.integers(CELLS[0], CELLS[1] + 1, len(group))
    true = effect * group
    true = true + np.sqrt(icc) * np.array(spreads)[group] * rng.standard_normal(len(group))
    owner = np.repeat(np.arange(len(n)), n)
    noise = rng.standard_normal(n.sum())
    if skewed:  # log-normal, of mean 0 and variance 1
        s = np.sqrt(np.log(2))
        noise = np.exp(s * noise) - np.exp(s**2 / 2)
        noise /= np.sqrt((np.exp(s**2) - 1) * np.exp(s**2))
    noise = np.sqrt(1 - icc) * noise * np.array(noises)[group][owner]
    return Study(true[owner] + noise, owner, n, group, true)


def mixed_model(found):
    means = found.means
    squares = np.bincount(found.owner, (found.cells - means[found.owner]) ** 2)
    return fit_random_intercept(means, found.n, squares, found.group)


@cache
def ways(n, m, pairs=False):
    return arrangements(n, m, paired=pairs)


def permuted(a, b):
    dealt = ways(len(a), len(b))
    return lambda shift: dealt.p_value(studentised(np.concatenate([a, b - shift]), dealt))


def estimate(found, test):
    """Difference with its error, by the test of this name."""
    if test == "mixed":
        return mixed_model(found).contrast([-1, 1])
    return welch(*found.split(found.means))


def p_of(found, test):
    if test == "t-test on cells":
        return float(stats.ttest_ind(*found.split_cells(), equal_var=False).pvalue)
    if test == "permutation":
        return permuted(*found.split(found.means))(0.0)
    if test == "mixed, Wald z":
        fit = mixed_model(found)
        z = (fit.means[1] - fit.means[0]) / fit.plain_error([-1, 1])
        return float(2 * stats.norm.sf(abs(z)))
    return estimate(found, test).p_value


def false_positive(rng, test, **options):
    return Outcome(p=p_of(study(rng, **options), test))


def interval(rng, test, effect=0.7, **options):
    found = study(rng, effect=effect, **options)
    if test == "permutation":
        a, b = found.split(found.means)
        at = welch(a, b)
        low, high = accepted(
            permuted(a, b), at.value, step=at.error, reach=1e6 * at.error, confidence=0.95
        )
    else:
        low, high = estimate(found, test).interval(0.95)
    known = np.ptp(welch(*found.split(found.true)).interval(0.95))
    return Outcome(covers=low <= effect <= high, width=high - low, oracle=known)


def size_interval(rng, test, sizes, effect=1.0):
    """Intervals of effect sizes, for normal animal means of standard deviation 1."""
    a = rng.standard_normal(sizes[0])
    b = rng.standard_normal(sizes[1]) + effect
    if test == "hedges_g":
        found, truth = hedges_g(a, b), effect
    else:
        found, truth = ratio_of_means(a + 6, b + 6), (6 + effect) / 6
        if not np.isfinite(found.low):
            return Outcome()
    return Outcome(covers=found.low <= truth <= found.high, width=found.high - found.low)


def within_animals(rng, test, n, n_conditions=2, missing=0, second=1, uneven=False):
    """Animals with their own level, and their own response to each of the conditions."""
    response = np.full(n_conditions, 0.5)
    if uneven:
        response[-1] = 1.5
    table = rng.standard_normal((n, 1)) + response * rng.standard_normal((n, n_conditions))
    cells = rng.integers(CELLS[0], CELLS[1] + 1, table.shape)
    table = table + rng.standard_normal(table.shape) / np.sqrt(cells)
    for k in range(missing):
        table[k, k % n_conditions] = np.nan
    if test == "blocked":
        return Outcome(p=blocked(table, 0, second).p_value)
    if test == "permutation in pairs":
        dealt = ways(n, n, True)
        return Outcome(p=dealt.p_value(studentised(table[:, 1] - table[:, 0], dealt)))
    return Outcome(p=paired(table[:, 0], table[:, 1]).p_value)


# --- distributions ------------------------------------------------------------------------------

GRID = np.linspace(0, 12, 101)


def distances(rng, n_animals, scale=0.2, shape=0.3, *, mean=2.0, typical_shape=2.0):
    """Distances of 30 puncta in each of 5 to 60 cells; animals differ in scale and shape."""
    animals = []
    for _ in range(n_animals):
        n_cells = rng.integers(CELLS[0], CELLS[1] + 1)
        k = typical_shape * np.exp(shape * rng.standard_normal())
        of_cell = np.exp(scale * rng.standard_normal() + 0.3 * rng.standard_normal(n_cells))
        animals.append(rng.gamma(k, mean / k, (n_cells, 30)) * of_cell[:, None])
    return animals


def mean_cdfs(animals):
    curves = []
    for values in animals:
        places = np.searchsorted(GRID, values.ravel())
        counts = np.bincount(places, minlength=len(GRID) + 1)[: len(GRID)]
        curves.append(np.cumsum(counts) / values.size)
    return np.array(curves)


def distribution(rng, test, sizes, first=(0.2, 0.3), second=(0.2, 0.3), **effect):
    a = distances(rng, sizes[0], *first)
    b = distances(rng, sizes[1], *second, **effect)
    if test == "Kolmogorov-Smirnov on puncta":
        pooled = (np.concatenate([v.ravel() for v in animals]) for animals in (a, b))
        return Outcome(p=float(stats.ks_2samp(*pooled, method="asymp").pvalue))
    if test == "Welch's t on mean distances":
        return Outcome(p=welch(*([v.mean() for v in animals] for animals in (a, b))).p_value)
    return Outcome(p=p_of_curves(mean_cdfs(a), mean_cdfs(b), test))


def paired_distribution(rng, n):
    """Two conditions with puncta of their own, of animals that keep scale and shape."""
    first, second = [], []
    for _ in range(n):
        k, scale = 2 * np.exp(0.3 * rng.standard_normal()), np.exp(0.2 * rng.standard_normal())
        for animals in (first, second):
            n_cells = rng.integers(CELLS[0], CELLS[1] + 1)
            of_cell = scale * np.exp(0.1 * rng.standard_normal() + 0.3 * rng.normal(size=n_cells))
            animals.append(rng.gamma(k, 2 / k, (n_cells, 30)) * of_cell[:, None])
    return Outcome(p=paired_curve_test(mean_cdfs(first), mean_cdfs(second), GRID).p_value)


def mixtures(rng, n_animals, alike):
    """Distances near and far, spread and even: animals differ in the shares of the four kinds.

    Shares average one half whatever ``alike`` is, so that the expected CDF is always the same.
    """
    animals = []
    for _ in range(n_animals):
        shape = int(rng.integers(CELLS[0], CELLS[1] + 1)), 30
        far, even = (rng.random(shape) < rng.beta(alike, alike) for _ in range(2))
        k = np.where(even, 6.0, 1.5)
        animals.append(rng.gamma(k, np.where(far, 3.0, 1.2) / k))
    return animals


def unequal_distributions(rng, test, sizes, alike):
    x, y = (mean_cdfs(mixtures(rng, n, a)) for n, a in zip(sizes, alike, strict=True))
    return Outcome(p=p_of_curves(x, y, test))


def p_of_curves(x, y, test):
    if test == "permutation":
        dealt = ways(len(x), len(y))
        return dealt.p_value(permuted_statistics(np.concatenate([x, y]), GRID, dealt))
    return curve_test(x, y, GRID).p_value


@cache
def expected_cdf(scale, shape):
    rng = np.random.default_rng(10**6)
    return mean_cdfs(distances(rng, 20_000, scale, shape)).mean(axis=0)


def band(rng, test, n, scale, shape):
    curves = mean_cdfs(distances(rng, n, scale, shape))
    truth = expected_cdf(scale, shape)
    found = simultaneous_band(curves, n_bootstrap=500, seed=int(rng.integers(2**31)))
    low, high = found.low, found.high
    if test == "pointwise t":
        error = stats.t.isf(0.025, n - 1) * curves.std(axis=0, ddof=1) / np.sqrt(n)
        low, high = found.mean - error, found.mean + error
    held = bool(((low <= truth + 1e-9) & (truth <= high + 1e-9)).all())
    return Outcome(covers=held, width=float((high - low).max()))


# --- the table ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    test: str
    n: str
    draw: Callable[[np.random.Generator], Outcome]
    kind: str = "false positives"


def case(name, function, test, sizes, kind="false positives", **options):
    n = f"{sizes[0]}+{sizes[1]} animals"
    return Case(name, test, n, partial(function, test=test, sizes=sizes, **options), kind)


def within_case(name, test, n, kind="false positives", **options):
    draw = partial(within_animals, test=test, n=n, **options)
    return Case(name, test, f"{n} animals", draw, kind)


WELCH, MIXED, PERMUTATION = "animal-mean", "mixed", "permutation"
SIZES = ((3, 3), (4, 4), (6, 6))
MORE = {"spreads": (1.0, 3.0), "icc": 0.3}
FEWER_MORE = {"spreads": (3.0, 1.0), "icc": 0.3}
SMALL = (0.1, 0.15)

CASES = (
    *(
        case(f"ICC {icc:g}", false_positive, test, sizes, icc=icc)
        for test in (WELCH, MIXED)
        for sizes in SIZES
        for icc in (0.02, 0.1, 0.3, 0.6)
    ),
    *(
        case(f"ICC {icc:g}", false_positive, PERMUTATION, sizes, icc=icc)
        for sizes in ((4, 4), (6, 6))
        for icc in (0.1, 0.6)
    ),
    *(
        case("ICC 0.3, log-normal cells", false_positive, test, sizes, icc=0.3, skewed=True)
        for test in (WELCH, MIXED)
        for sizes in ((3, 3), (6, 6))
    ),
    *(
        case("ICC 0.3, unequal animal numbers", false_positive, test, (3, 6), icc=0.3)
        for test in (WELCH, MIXED, PERMUTATION)
    ),
    *(
        case("animals of one condition vary 3 times as much", false_positive, t, s, kind, **MORE)
        for t, kind in (
            (WELCH, "false positives"),
            (MIXED, "misuse"),
            (PERMUTATION, "misuse"),
        )
        for s in ((4, 4), (6, 6))
    ),
    *(
        case(
            "fewer animals vary 3 times as much", false_positive, t, (3, 6), "misuse", **FEWER_MORE
        )
        for t in (WELCH, MIXED, PERMUTATION)
    ),
    *(
        case("cells of one condition vary 3 times as much", false_positive, t, s, kind, **options)
        for t, kind in ((WELCH, "false positives"), (MIXED, "misuse"))
        for s, options in (((4, 4), {"noises": (1.0, 3.0), "icc": 0.1}),)
    ),
    *(within_case("same animals in both", "paired", n) for n in (3, 6)),
    within_case("same animals in both", "permutation in pairs", 6),
    within_case("3 conditions, 2 animals incomplete", "blocked", 5, n_conditions=3, missing=2),
    within_case("3 conditions, 3 animals incomplete", "blocked", 8, n_conditions=3, missing=3),
    *(
        within_case(
            f"3 conditions, changes to the third vary more, {name}",
            "blocked",
            6,
            "misuse",
            n_conditions=3,
            missing=1,
            second=second,
            uneven=True,
        )
        for name, second in (("second tested", 1), ("third tested", 2))
    ),
    *(
        case(f"ICC {icc:g}", false_positive, "t-test on cells", s, "misuse", icc=icc)
        for s, icc in (((3, 3), 0.1), ((6, 6), 0.1), ((6, 6), 0.3), ((6, 6), 0.6))
    ),
    *(
        case("ICC 0.3", false_positive, "mixed, Wald z", s, "misuse", icc=0.3)
        for s in ((3, 3), (6, 6))
    ),
    *(
        case(f"ICC {icc:g}, effect 0.7", interval, test, sizes, "coverage", icc=icc)
        for test in (WELCH, MIXED)
        for sizes in SIZES
        for icc in (0.1, 0.3, 0.6)
    ),
    *(
        case("ICC 0.3, effect 1", false_positive, test, sizes, "power", icc=0.3, effect=1.0)
        for test in (WELCH, MIXED, PERMUTATION)
        for sizes in ((4, 4), (6, 6))
    ),
    *(
        case(name, distribution, test, (6, 6), "power", first=SMALL, second=SMALL, **effect)
        for name, effect in (
            ("distances 20 % longer", {"mean": 2.4}),
            ("same mean distance, more even", {"typical_shape": 4.0}),
        )
        for test in ("functional", PERMUTATION, "Welch's t on mean distances")
    ),
    case("ICC 0.3, effect 0.7", interval, PERMUTATION, (6, 6), "coverage", icc=0.3),
    *(case("effect 1 SD", size_interval, "hedges_g", s, "coverage") for s in ((3, 3), (6, 6))),
    *(
        case("effect 17 %", size_interval, "ratio_of_means", s, "coverage")
        for s in ((3, 3), (6, 6))
    ),
    *(case("scale and shape vary", distribution, "functional", s) for s in (*SIZES, (3, 6))),
    *(
        case("scale varies", distribution, "functional", s, first=(0.2, 0.0), second=(0.2, 0.0))
        for s in SIZES
    ),
    *(
        case(
            "animals hardly vary",
            distribution,
            "functional",
            s,
            first=(0.03, 0.03),
            second=(0.03, 0.03),
        )
        for s in SIZES
    ),
    *(
        case("animals of one condition vary more", unequal_distributions, t, s, kind, alike=(40, 2))
        for t, s, kind in (
            ("functional", (4, 4), "false positives"),
            ("functional", (6, 6), "false positives"),
            ("functional", (3, 6), "false positives"),
            ("functional", (6, 3), "misuse"),
            (PERMUTATION, (6, 6), "misuse"),
            (PERMUTATION, (6, 3), "misuse"),
        )
    ),
    *(case("scale and shape vary", distribution, PERMUTATION, s) for s in ((4, 4), (6, 6))),
    *(
        Case(
            "same animals in both",
            "functional, paired",
            f"{n} animals",
            partial(paired_distribution, n=n),
        )
        for n in (3, 6)
    ),
    case(
        "animals hardly vary",
        distribution,
        "Kolmogorov-Smirnov on puncta",
        (6, 6),
        "misuse",
        first=(0.03, 0.03),
        second=(0.03, 0.03),
    ),
    case("scale and shape vary", distribution, "Kolmogorov-Smirnov on puncta", (6, 6), "misuse"),
    *(
        Case(
            f"{name} vary" if "hardly" not in name else name,
            "simultaneous_band",
            f"{n} animals",
            partial(band, test="band", n=n, scale=scale, shape=shape),
            "coverage",
        )
        for n in (6, 8, 12)
        for name, scale, shape in (
            ("scale and shape", 0.2, 0.3),
            ("animals hardly vary", 0.03, 0.03),
        )
    ),
    Case(
        "scale and shape vary",
        "pointwise t",
        "6 animals",
        partial(band, test="pointwise t", n=6, scale=0.2, shape=0.3),
        "misuse",
    ),
)


def run_one(one: Case, seed: int) -> tuple[float, float, float, float]:
    found = one.draw(np.random.default_rng(seed))
    return found.p, float(found.covers), found.width, found.oracle


def binomial(hits, n):
    low, high = stats.binomtest(int(hits), max(1, n)).proportion_ci(0.99)
    return round(float(low), 4), round(float(high), 4)


def summarise(one: Case, results: np.ndarray, seconds: float) -> dict[str, object]:
    """Rates with their 99 % binomial intervals, and the verdict."""
    p, covers, width, oracle = results.T
    about_p = np.isfinite(p).any()
    given = np.isfinite(p if about_p else covers)
    n = int(given.sum())
    row: dict[str, object] = {
        "case": one.name,
        "test": one.test,
        "n": one.n,
        "kind": one.kind,
        "seeds": len(p),
        "withheld": int((~given).sum()),
    }
    holds, below = True, False
    for level in LEVELS:
        hits = int((p[given] <= level).sum())
        low, high = binomial(hits, n)
        holds &= low <= level
        below |= high < level
        shown = (round(hits / max(1, n), 4), low, high) if about_p else ("", "", "")
        row |= dict(zip((f"rate_{level}", f"low_{level}", f"high_{level}"), shown, strict=True))
    row |= {"coverage": "", "coverage_low": "", "coverage_high": "", "width": ""}
    row["width_over_oracle"] = ""
    if not about_p:
        share = float(covers[given].mean())
        low, high = binomial(covers[given].sum(), n)
        row |= {"coverage": round(share, 4), "coverage_low": low, "coverage_high": high}
        row["width"] = round(float(np.median(width[given])), 3)
        holds, below = bool(share >= 0.93), bool(share > 0.97)
        if np.isfinite(oracle).any():
            row["width_over_oracle"] = round(float(width[given].mean() / oracle[given].mean()), 3)
    judged = one.kind in ("false positives", "coverage")
    row["holds"] = holds if judged else ""
    row["conservative"] = below if judged else ""
    row["ms_per_study"] = round(1000 * seconds / len(p), 2)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", default="", help="run cases whose name, test or kind contains it")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = []
    with ProcessPoolExecutor(arguments.workers) as pool:
        for one in CASES:
            if arguments.only not in f"{one.name} {one.test} {one.kind}":
                continue
            start = time.perf_counter()
            jobs = pool.map(partial(run_one, one), range(arguments.seeds), chunksize=100)
            rows.append(summarise(one, np.array(list(jobs)), time.perf_counter() - start))
            print(*(str(v) for v in rows[-1].values()), sep=" | ", flush=True)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        with arguments.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
