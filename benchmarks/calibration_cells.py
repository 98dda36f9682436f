"""False-positive rates and power of the tests on cells, over thousands of fixed seeds.

    python benchmarks/calibration_cells.py --out benchmarks/results/calibration_cells.csv

A rate holds if its 99 % binomial interval contains the nominal level or lies below it
(``conservative``): small samples and discrete counts cannot always reach the level. Kind "misuse"
shows tests that aequorea does not offer, or data that break what a test supposes.
"""

from __future__ import annotations

import argparse
import csv
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, stats

from aequorea.spatial import expected_by_chance, neighbourhoods, phenotype_test
from aequorea.stats import compare_fractions
from aequorea.stats.beta_binomial import BetaBinomialPair

if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS = (0.05, 0.01)
NAN = float("nan")


# --- fractions: p-values of the tests on two conditions of animals ------------------------------


def cells_of(rng, n_animals, size, spread):
    """Log-normal cell numbers; spread 0.7 gives animals with a third and three times as many."""
    return np.maximum(20, rng.lognormal(np.log(size), spread, n_animals)).astype(int)


def animals(rng, n, mean, overdispersion, size=200, spread=0.7):
    """Positive cells and cells of n animals, each with its own beta-distributed fraction."""
    cells = cells_of(rng, n, size, spread)
    if overdispersion == 0:
        return rng.binomial(cells, mean), cells
    s = 1 / overdispersion - 1
    return rng.binomial(cells, rng.beta(mean * s, (1 - mean) * s, n)), cells


def compared(a, b, method, transform="none"):
    (xa, na), (xb, nb) = a, b
    if method == "beta-binomial":  # the p-value alone: its confidence interval takes longer
        if xa.sum() + xb.sum() in (0, na.sum() + nb.sum()):
            return NAN
        pair = BetaBinomialPair(*(np.asarray(v, float) for v in (xa, na, xb, nb)))
        return pair.p_value()
    if method == "beta-binomial, LR against chi-square":
        pair = BetaBinomialPair(*(np.asarray(v, float) for v in (xa, na, xb, nb)))
        return float(stats.chi2.sf(pair.likelihood_ratio(), 1))
    if method == "chi-square on cells":
        table = [[xa.sum(), (na - xa).sum()], [xb.sum(), (nb - xb).sum()]]
        return float(stats.chi2_contingency(table, correction=False).pvalue)
    result = compare_fractions(
        np.concatenate([xa, xb]),
        np.concatenate([na, nb]),
        range(len(xa) + len(xb)),
        ["a"] * len(xa) + ["b"] * len(xb),
        transform=transform,
    )
    return result.pairs[0].p_value


def fractions(rng, n, means, rho, method, size=200, spread=0.7, transform="none"):
    rho_a, rho_b = (rho, rho) if np.ndim(rho) == 0 else rho
    a = animals(rng, n[0], means[0], rho_a, size, spread)
    b = animals(rng, n[1], means[1], rho_b, size, spread)
    return compared(a, b, method, transform), NAN


def paired(rng, n, mean, rho, change=0.0):
    """Each animal's own fraction, in two conditions that both add noise of their own."""
    own = stats.norm.ppf(mean) + rng.normal(0, rho, n)
    chance = stats.norm.cdf(own[:, None] + [0, change] + rng.normal(0, rho / 2, (n, 2)))
    cells = cells_of(rng, 2 * n, 200, 0.7)
    x = rng.binomial(cells, chance.T.ravel())
    result = compare_fractions(x, cells, [*range(n)] * 2, ["a"] * n + ["b"] * n)
    return result.pairs[0].p_value, NAN


def oracle(rng, n, means, rho, size=200, spread=0.7):
    """Normal test by someone who knows how much animals vary, and each animal's own noise."""
    groups = [animals(rng, k, m, rho, size, spread) for k, m in zip(n, means, strict=True)]
    middle = float(np.mean(means))
    weights = [1 / (middle * (1 - middle) * (rho + (1 - rho) / cells)) for _, cells in groups]
    estimates = [(w * x / c).sum() / w.sum() for w, (x, c) in zip(weights, groups, strict=True)]
    error = np.sqrt(sum(1 / w.sum() for w in weights))
    return float(2 * stats.norm.sf(abs(estimates[1] - estimates[0]) / error)), NAN


# --- phenotypes: cells with smooth, thresholded marks -------------------------------------------


def positions(rng, n, kind):
    """Cells one spacing apart on average, in a square (box)."""
    side = np.sqrt(n)
    if kind == "even":
        m = round(side)
        grid = np.stack(np.meshgrid(np.arange(m), np.arange(m)), axis=-1).reshape(-1, 2)
        return grid + rng.uniform(0, 0.8, grid.shape)
    if kind == "clustered":
        parents = rng.uniform(0, side, (n // 20, 2))
        return np.repeat(parents, 20, axis=0) + rng.normal(0, 1.5, (n // 20 * 20, 2))
    if kind == "disc":
        points = rng.uniform(-1, 1, (2 * n, 2))
        return points[np.hypot(*points.T) < 1][:n] * np.sqrt(n / np.pi)
    if kind == "stack":
        return rng.uniform(0, 1, (n, 3)) * np.array([4, *[np.sqrt(n / 4)] * 2])
    return rng.uniform(0, side, (n, 2))


def field_at(rng, points, sigma, stretch=1.0):
    """Gaussian field of unit variance and correlation length sigma (cell spacings)."""
    if sigma == 0:
        return rng.standard_normal(len(points))
    ndim = points.shape[1]
    step = max(0.5, sigma / 3)
    sigmas = np.array([sigma * stretch] + [sigma] * (ndim - 1)) / step
    low = points.min(axis=0)
    shape = np.ceil((points.max(axis=0) - low) / step).astype(int) + 2
    margin = np.ceil(4 * sigmas).astype(int)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape + 2 * margin), sigmas)
    inner = smooth[tuple(slice(m, -m) for m in margin)]
    inner = inner * (2 * np.sqrt(np.pi)) ** (ndim / 2) * np.sqrt(sigmas.prod())
    return ndimage.map_coordinates(inner, ((points - low) / step).T, order=1, mode="nearest")


def marked(rng, points, sigma, fractions_, gradient=0.0, stretch=1.0):
    where = points[:, -1]
    across = 2 * (where - where.min()) / np.ptp(where) - 1
    return np.column_stack(
        [
            field_at(rng, points, sigma, stretch) > stats.norm.isf(p * (1 + gradient * across))
            for p in fractions_
        ]
    )


def phenotype(
    rng,
    n=400,
    cells="random",
    sigma=1.0,
    fractions_=(0.3, 0.3),
    wanted=(1, 1),
    *,
    gradient=0.0,
    stretch=1.0,
    shared=0.0,
    n_regions=1,
):
    where, marks, region = [], [], []
    for r in range(n_regions):
        points = positions(rng, n, cells)
        flags = marked(rng, points, sigma, fractions_, gradient, stretch)
        # a cell positive for the first marker is also so for the second, this often
        flags[:, 1] |= flags[:, 0] & (rng.random(len(points)) < shared)
        where.append(points)
        marks.append(flags)
        region.append(np.full(len(points), r))
    return np.concatenate(where), np.concatenate(marks), wanted, np.concatenate(region)


def tested(rng, **options):
    where, marks, wanted, region = phenotype(rng, **options)
    result = phenotype_test(10 * where, marks, wanted, regions=region)
    return result.p_value, result.n_independent


def dealt_out(rng, **options):
    """Permutation of each marker within the same neighbourhoods, normal approximation."""
    where, marks, wanted, region = phenotype(rng, **options)
    labels = neighbourhoods(where, regions=region)
    flags = marks == (np.array(wanted) > 0)
    n = np.bincount(labels)
    a, b = (np.bincount(labels, flags[:, j]) for j in range(2))
    if marks.all(axis=0).any() or not marks.any(axis=0).all():
        return NAN, NAN
    variance = (a * (n - a) * b * (n - b) / (n**2 * (n - 1))).sum()
    if not variance > 0:
        return NAN, NAN
    z = (flags.all(axis=1).sum() - expected_by_chance(marks, wanted, labels)) / np.sqrt(variance)
    return float(2 * stats.norm.sf(abs(z))), NAN


def chi_square(rng, **options):
    _, marks, _, _ = phenotype(rng, **options)
    a, b = marks.T
    if marks.all(axis=0).any() or not marks.any(axis=0).all():
        return NAN, NAN
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    return float(stats.chi2_contingency(table, correction=False).pvalue), NAN


def layered(rng, *, edge, by_layer=False, size=12, n=900):
    """A layer, 12 spacings thick, in which both markers are frequent (60 %, 10 % outside)."""
    where = positions(rng, n, "random")
    depth = np.abs(where[:, 0] - 14) - 6
    inside = stats.norm.sf(depth / edge) if edge else depth < 0
    marks = rng.random((n, 2)) < (0.1 + 0.5 * inside)[:, None]
    regions = (depth < 0).astype(int) if by_layer else None
    result = phenotype_test(10 * where, marks, [1, 1], neighbourhood=size, regions=regions)
    return result.p_value, result.n_independent


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    test: str
    n: str
    draw: Callable[[np.random.Generator], tuple[float, float]]
    kind: str = "false positives"


WELCH, BETA, NAIVE_LR, CELLS = (
    "animal-mean",
    "beta-binomial",
    "beta-binomial, LR against chi-square",
    "chi-square on cells",
)


def fraction_case(name, test, n, means=(0.3, 0.3), rho=0.03, kind="false positives", **options):
    draw = partial(fractions, n=n, means=means, rho=rho, method=test, **options)
    title = test if "transform" not in options else f"{test}, {options['transform']}"
    return Case(name, title, f"{n[0]}+{n[1]} animals", draw, kind)


def phenotype_case(name, test=tested, kind="false positives", **options):
    names = {tested: "phenotype_test", dealt_out: "permutation in neighbourhoods"}
    n = f"{options.get('n', 400)} cells"
    if options.get("n_regions", 1) > 1:
        n += f" x {options['n_regions']} regions"
    title = names.get(test, "chi-square on cells")
    return Case(name, title, n, partial(test, **options), kind)


SIZES = ((3, 3), (4, 4), (6, 6))
CASES = (
    *(fraction_case("30 %, overdispersion 0.03", t, n) for t in (WELCH, BETA) for n in SIZES),
    *(fraction_case("30 %, no overdispersion", t, (4, 4), rho=0.0) for t in (WELCH, BETA)),
    *(fraction_case("30 %, overdispersion 0.15", t, (4, 4), rho=0.15) for t in (WELCH, BETA)),
    *(
        fraction_case("5 %, overdispersion 0.03", t, n, means=(0.05, 0.05))
        for t in (WELCH, BETA)
        for n in ((3, 3), (6, 6))
    ),
    *(
        fraction_case("1 %, overdispersion 0.01", t, (4, 4), means=(0.01, 0.01), rho=0.01)
        for t in (WELCH, BETA)
    ),
    *(fraction_case("very unbalanced cell numbers", t, (4, 4), spread=1.5) for t in (WELCH, BETA)),
    *(fraction_case("unequal animal numbers", t, (3, 6)) for t in (WELCH, BETA)),
    fraction_case("one condition varies more", WELCH, (4, 4), rho=(0.01, 0.1)),
    fraction_case("one condition varies more", BETA, (4, 4), rho=(0.01, 0.1)),
    fraction_case("smaller condition varies more", WELCH, (3, 6), rho=(0.1, 0.01)),
    fraction_case("smaller condition varies more", BETA, (3, 6), rho=(0.1, 0.01), kind="misuse"),
    fraction_case("30 %, overdispersion 0.03", WELCH, (4, 4), transform="logit"),
    fraction_case("30 %, overdispersion 0.03", WELCH, (4, 4), transform="arcsine"),
    *(
        Case(
            "same animals in both",
            "paired t",
            f"{n} animals",
            partial(paired, n=n, mean=0.3, rho=0.4),
        )
        for n in (3, 6)
    ),
    fraction_case("30 %, overdispersion 0.03", CELLS, (4, 4), kind="misuse"),
    fraction_case("30 %, overdispersion 0.03", NAIVE_LR, (3, 3), kind="misuse"),
    fraction_case("30 %, overdispersion 0.03", NAIVE_LR, (6, 6), kind="misuse"),
    *(
        fraction_case("20 % against 35 %", t, (4, 4), (0.2, 0.35), kind="power")
        for t in (WELCH, BETA)
    ),
    Case(
        "20 % against 35 %",
        "oracle (knows the overdispersion)",
        "4+4 animals",
        partial(oracle, n=(4, 4), means=(0.2, 0.35), rho=0.03),
        "power",
    ),
    Case(
        "30 % against 40 %, same animals",
        "paired t",
        "4 animals",
        partial(paired, n=4, mean=0.3, rho=0.4, change=0.27),
        "power",
    ),
    phenotype_case("independent marks", sigma=0),
    *(phenotype_case(f"patterns of {s:g} spacings", sigma=s) for s in (1, 2, 5)),
    *(phenotype_case(f"patterns of {s:g} spacings", n=900, sigma=s) for s in (1, 5, 10)),
    phenotype_case("even cells, 10 % each", cells="even", fractions_=(0.1, 0.1)),
    phenotype_case("clustered cells", cells="clustered", sigma=2.0),
    phenotype_case("disc", cells="disc", sigma=2.0),
    phenotype_case("stack of 4 layers", cells="stack", sigma=2.0),
    phenotype_case("few cells", n=100, sigma=0.5),
    phenotype_case("rare, 3 % and 5 %", fractions_=(0.03, 0.05)),
    phenotype_case("rare, 3 % and 5 %, patterns of 2", sigma=2.0, fractions_=(0.03, 0.05)),
    phenotype_case("shared gradient, 6 to 54 %", sigma=1.0, gradient=0.8),
    phenotype_case("shared gradient, 4 to 76 %", sigma=0, fractions_=(0.4, 0.4), gradient=0.9),
    phenotype_case("stripes 5 times as long", stretch=5.0),
    *(
        Case(f"both frequent in one layer, {name}", "phenotype_test", "900 cells", draw)
        for name, draw in (
            ("edge over 6 spacings", partial(layered, edge=3.0)),
            ("edge over 3 spacings", partial(layered, edge=1.5)),
            ("sharp edge", partial(layered, edge=0)),
            ("sharp edge, neighbourhoods of 6", partial(layered, edge=0, size=6)),
            ("sharp edge, layers as regions", partial(layered, edge=0, by_layer=True)),
        )
    ),
    phenotype_case("A+B−C+", fractions_=(0.3, 0.4, 0.5), wanted=(1, -1, 1)),
    phenotype_case(
        "A+B−C+, patterns of 2", sigma=2.0, fractions_=(0.3, 0.4, 0.5), wanted=(1, -1, 1)
    ),
    phenotype_case("small regions", n=100, n_regions=4, sigma=1.0),
    phenotype_case("patterns of 2 spacings", dealt_out, "misuse", sigma=2.0),
    phenotype_case("patterns of 2 spacings", chi_square, "misuse", sigma=2.0),
    phenotype_case(
        "shared gradient, 4 to 76 %",
        chi_square,
        "misuse",
        sigma=0,
        fractions_=(0.4, 0.4),
        gradient=0.9,
    ),
    *(
        phenotype_case(f"30 % of A+ also B+, {name}", kind="power", sigma=s, shared=0.3)
        for s, name in ((0, "independent"), (1, "patterns of 1"), (2, "patterns of 2"))
    ),
)


def run_one(case: Case, seed: int) -> tuple[float, float]:
    return case.draw(np.random.default_rng(seed))


def summarise(case: Case, results: np.ndarray, seconds: float) -> dict[str, object]:
    """Rates with their 99 % binomial intervals, and the verdict."""
    p, independent = results.T
    given = np.isfinite(p)
    n = int(given.sum())
    median = float(np.median(independent[given])) if np.isfinite(independent[given]).any() else NAN
    row: dict[str, object] = {
        "case": case.name,
        "test": case.test,
        "n": case.n,
        "kind": case.kind,
        "seeds": len(p),
        "withheld": int((~given).sum()),
        "independent_shifts": round(median, 1),
    }
    holds, below = True, False
    for level in LEVELS:
        hits = int((p[given] <= level).sum())
        low, high = stats.binomtest(hits, max(1, n)).proportion_ci(0.99)
        holds &= low <= level
        below |= high < level
        row |= {
            f"rate_{level}": round(hits / max(1, n), 4),
            f"low_{level}": round(low, 4),
            f"high_{level}": round(high, 4),
        }
    judged = case.kind == "false positives"
    row["holds"] = holds if judged else ""
    row["conservative"] = below if judged else ""
    row["ms_per_test"] = round(1000 * seconds / len(p), 1)
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
        for case in CASES:
            if arguments.only not in f"{case.name} {case.test} {case.kind}":
                continue
            start = time.perf_counter()
            jobs = pool.map(partial(run_one, case), range(arguments.seeds), chunksize=50)
            rows.append(summarise(case, np.array(list(jobs)), time.perf_counter() - start))
            print(*(str(v) for v in rows[-1].values()), sep=" | ", flush=True)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        with arguments.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
