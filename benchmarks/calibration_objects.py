"""False-positive rates of the object nulls on independent objects, over fixed seeds.

Writes one row per scenario and level: seeds, rejections, rate, its 99 % binomial (Clopper-Pearson)
interval, and whether the null's promise holds. Rows with ``promised`` "no" show what happens when
the null's own assumption is broken, as its docstring warns.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from aequorea.colocalization.object_null import fraction_within

SHAPE = (128, 128)
CENTRE = np.array([63.5, 63.5])
SPACING_UM = 0.1
DISTANCES_UM = np.linspace(0.2, 1.6, 8)
LEVELS = (0.05, 0.01)

RADIUS = np.hypot(*(np.indices(SHAPE) - CENTRE[:, None, None]))
DISC = RADIUS <= 60
WHOLE = np.ones(SHAPE, dtype=bool)
NUCLEUS = RADIUS <= 15

Points = np.ndarray
Draw = Callable[[np.random.Generator], Points]


def even(rng: np.random.Generator, mask: np.ndarray, n: int = 40) -> Points:
    pixels = np.argwhere(mask)
    chosen = pixels[rng.integers(len(pixels), size=n)]
    return chosen + rng.uniform(-0.5, 0.5, chosen.shape)


def clustered(rng: np.random.Generator, mask: np.ndarray, n: int = 40) -> Points:
    """Thomas process: parents beyond the mask too, 5 offspring each, spread 4 px."""
    parents = rng.uniform(-20, 148, (400, 2))
    points = np.repeat(parents, 5, axis=0) + rng.normal(0, 4, (2000, 2))
    pixels = np.rint(points).astype(int)
    inside = ((pixels >= 0) & (pixels < SHAPE)).all(axis=1)
    inside[inside] = mask[tuple(pixels[inside].T)]
    points = points[inside]
    families = np.flatnonzero(inside) // 5
    kept = np.isin(families, rng.permutation(np.unique(families))[: n // 4])
    return points[kept]


def concentrated(rng: np.random.Generator, mask: np.ndarray, n: int = 40) -> Points:
    """Density falling exponentially from the nucleus, 12 px."""
    chance = np.exp(-np.abs(RADIUS - 15) / 12)[mask]
    pixels = np.argwhere(mask)
    chosen = pixels[rng.choice(len(pixels), n, p=chance / chance.sum())]
    return chosen + rng.uniform(-0.5, 0.5, chosen.shape)


class Scenario(NamedTuple):
    """Independent A and B, the null to test them with, and whether it promises its level."""

    name: str
    draw_a: Callable[..., Points]
    draw_b: Callable[..., Points]
    mask: np.ndarray
    options: dict[str, Any]
    promised: bool


SCENARIOS = (
    Scenario("even in a disc", even, even, DISC, {"null": "uniform"}, True),
    Scenario("A even, B clustered", even, clustered, DISC, {"null": "uniform"}, True),
    Scenario("both clustered in a disc", clustered, clustered, DISC, {"null": "shift"}, True),
    Scenario("A clustered, B even, disc", clustered, even, DISC, {"null": "shift"}, True),
    Scenario("both clustered, whole image", clustered, clustered, WHOLE, {"null": "shift"}, True),
    Scenario(
        "both around the nucleus",
        concentrated,
        concentrated,
        DISC,
        {"null": "profile", "landmark": NUCLEUS},
        True,
    ),
    Scenario(
        "both around the nucleus, distance to the mask's edge",
        concentrated,
        concentrated,
        DISC,
        {"null": "profile"},
        True,
    ),
    Scenario("both clustered in a disc", clustered, clustered, DISC, {"null": "uniform"}, False),
    Scenario(
        "both around the nucleus", concentrated, concentrated, DISC, {"null": "uniform"}, False
    ),
    Scenario("both around the nucleus", concentrated, concentrated, DISC, {"null": "shift"}, False),
)


def p_value(seed: int, scenario: int, n_reshuffles: int) -> float:
    case = SCENARIOS[scenario]
    rng = np.random.default_rng([seed, scenario])
    result = fraction_within(
        case.draw_a(rng, case.mask),
        case.draw_b(rng, case.mask),
        mask=case.mask,
        spacing_um=SPACING_UM,
        distances_um=DISTANCES_UM,
        n_reshuffles=n_reshuffles,
        seed=rng,
        **case.options,
    )
    return result.p_value


def rows(scenario: int, p_values: np.ndarray) -> list[dict[str, Any]]:
    case = SCENARIOS[scenario]
    out = []
    for level in LEVELS:
        rejected = int(np.sum(p_values <= level + 1e-12))
        interval = stats.binomtest(rejected, len(p_values)).proportion_ci(0.99, method="exact")
        out.append(
            {
                "scenario": case.name,
                "null": case.options["null"],
                "promised": "yes" if case.promised else "no",
                "level": level,
                "seeds": len(p_values),
                "rejected": rejected,
                "rate": round(rejected / len(p_values), 5),
                "low_99": round(interval.low, 5),
                "high_99": round(interval.high, 5),
                "contains_level": interval.low <= level <= interval.high,
                "at_most_level": interval.low <= level,
            }
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--reshuffles", type=int, default=199)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of scenarios")
    default = Path(__file__).parent / "results" / "calibration_objects.csv"
    parser.add_argument("--out", type=Path, default=default)
    options = parser.parse_args()
    table = []
    with ProcessPoolExecutor(options.workers) as pool:
        for k in options.only or range(len(SCENARIOS)):
            run = partial(p_value, scenario=k, n_reshuffles=options.reshuffles)
            found = np.array(list(pool.map(run, range(options.seeds), chunksize=50)))
            table += rows(k, found)
            for row in table[-len(LEVELS) :]:
                print(*row.values(), sep="\t", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()
