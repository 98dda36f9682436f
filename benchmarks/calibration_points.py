"""False-positive rates of the point nulls and global envelopes, over fixed seeds.

Points are put at random into a cell of irregular shape with a hole for its nucleus, by the law
that the null names (``promised`` "yes"), or by another (``"no"``: what a wrong null does). Writes
one row per scenario, test and level: seeds, rejections, rate, its 99 % binomial (Clopper-Pearson)
interval, and whether the null's promise holds. Scenarios that are not run anew (``--only``) keep
their rows.
"""

from __future__ import annotations

import argparse
import csv
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage, stats
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from aequorea.pipelines.confocal.chance import found_by_plane
from aequorea.spatial.envelopes import global_envelope
from aequorea.spatial.nulls import (
    hard_core_points,
    moved_clusters,
    points_inside,
    random_points,
    swapped_labels,
)
from aequorea.spatial.point_patterns import (
    besag_l,
    ecdf,
    field_at_points,
    labelled_k,
    nearest_neighbour_distances,
    ripley_k,
)
from aequorea.spatial.randomness import csr_test
from aequorea.spatial.window import set_covariance

if TYPE_CHECKING:
    from collections.abc import Callable

SPACING_UM = np.array([0.3, 0.1, 0.1])
SHAPE = (12, 44, 52)
LEVELS = (0.05, 0.01)
HARD_CORE_UM = 0.45
RESOLVED_UM = (1.03, 0.354, 0.354)  # 2.95 SD of a spot
METHODS = ("erl", "mad", "studentised")

PValues = dict[str, float]


class Cell(NamedTuple):
    """A mask with a hole, distances to the hole, and where curves are looked at."""

    mask: np.ndarray
    distance: np.ndarray
    depth: np.ndarray
    depth_um: np.ndarray
    covariance: Any
    distances_um: np.ndarray
    nearest_um: np.ndarray
    radii_um: np.ndarray


@cache
def cell() -> Cell:
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    angle = np.arctan2(y, x)
    body = np.hypot(y, x) < (0.8 + 0.18 * np.cos(3 * angle)) * np.sqrt(np.maximum(1 - z**2, 0))
    nucleus = (z / 0.7) ** 2 + ((y - 0.15) / 0.4) ** 2 + ((x + 0.1) / 0.35) ** 2 < 1
    mask = body & ~nucleus
    distance = ndimage.distance_transform_edt(~nucleus, sampling=SPACING_UM)
    covariance = set_covariance(mask, SPACING_UM)
    return Cell(
        mask=mask,
        distance=distance,
        depth=np.exp(-(z + 1)) * np.ones(SHAPE),
        depth_um=np.arange(SHAPE[0])[:, None, None] * SPACING_UM[0] * np.ones(SHAPE),
        covariance=covariance,
        distances_um=np.quantile(distance[mask], np.arange(1, 20) / 20),
        nearest_um=np.linspace(0.1, 0.9, 17),
        radii_um=np.linspace(0.1, covariance.length_sharing(0.5), 15),
    )


def even(rng: np.random.Generator, n: int = 60) -> np.ndarray:
    return random_points(n, cell().mask, SPACING_UM, rng)[0]


def thomas(
    rng: np.random.Generator, n_clusters: int = 14, spread_um: float = 0.15
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian clusters of 5 around centres in a wider box, cut off by the mask's edge."""
    extent = SHAPE * SPACING_UM
    centres = rng.uniform(-0.5, extent + 0.5, (40 * n_clusters, 3))
    points = np.repeat(centres, 5, axis=0)
    points += rng.normal(0, spread_um, points.shape)
    family = np.repeat(np.arange(len(centres)), 5)
    inside = points_inside(points, cell().mask, SPACING_UM)
    chosen = np.unique(family[inside])[:n_clusters]
    kept = inside & np.isin(family, chosen)
    return points[kept], family[kept]


def linked(points: np.ndarray, reach_um: float) -> np.ndarray:
    """Clusters as an analyst finds them: points connected by steps within reach."""
    pairs = cKDTree(points).query_pairs(reach_um, output_type="ndarray")
    joined = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(points),) * 2)
    return connected_components(joined, directed=False)[1]


def tested(curves: dict[str, np.ndarray]) -> PValues:
    """Every test of every curve; the first row is the data."""
    found = {
        f"{name}, {method}": global_envelope(curve[0], curve[1:], method=method).p_value
        for name, curve in curves.items()
        for method in METHODS
    }
    if len(curves) > 1:
        joined = np.concatenate(list(curves.values()), axis=1)
        found["all joined, erl"] = global_envelope(joined[0], joined[1:]).p_value
    return found


def summaries(patterns: np.ndarray) -> dict[str, np.ndarray]:
    where = cell()
    away = field_at_points(patterns, where.distance, SPACING_UM)
    near = nearest_neighbour_distances(patterns)
    k = ripley_k(patterns, where.radii_um, where.covariance)
    return {
        "distance to nucleus": ecdf(away, where.distances_um),
        "nearest neighbour G": ecdf(near, where.nearest_um),
        "L": besag_l(k, 3),
    }


def against(points: np.ndarray, simulated: np.ndarray) -> PValues:
    return tested(summaries(np.concatenate([points[None], simulated])))


def uniform(rng: np.random.Generator, n: int) -> PValues:
    points = even(rng)
    return against(points, random_points(points, cell().mask, SPACING_UM, rng, n_simulations=n))


def summary(rng: np.random.Generator, n: int, weighted: bool = False) -> PValues:
    where = cell()
    weights = where.depth if weighted else None
    points = random_points(60, where.mask, SPACING_UM, rng, weights=weights)[0]
    found = csr_test(
        points,
        where.mask,
        SPACING_UM,
        where.distance,
        rng=rng,
        weights=weights,
        covariance=where.covariance,
        n_simulations=n,
    )
    return {
        "csr_test, median distance": found.distance.p_value,
        "csr_test, mean nearest": found.nearest.p_value,
        "csr_test, neighbours": found.neighbours.p_value,
        "csr_test, p_value": found.p_value,
    }


def numbers(found: Any, name: str) -> PValues:
    return {
        f"{name}, median distance": found.distance.p_value,
        f"{name}, mean nearest": found.nearest.p_value,
        f"{name}, neighbours": found.neighbours.p_value,
        f"{name}, L": found.pair_curve.p_value,
        f"{name}, p_value": found.p_value,
    }


def seen_with_depth(rng: np.random.Generator, n: int, known: bool) -> PValues:
    """200 points of which fewer are seen with depth: 95 % of the first plane, 10 % of the last.

    The null knows it as a run does: from 90 spots put into each quarter of the depth, or not.
    """
    where = cell()
    share = np.linspace(0.95, 0.1, SHAPE[0])
    points = random_points(200, where.mask, SPACING_UM, rng)[0]
    plane = np.rint(points[:, 0] / SPACING_UM[0]).astype(int)
    points = points[rng.random(len(points)) < share[plane]]
    weights = None
    if known:
        edges = np.arange(0, SHAPE[0] + 1, 3)
        table = pd.DataFrame(
            {
                "role": "puncta",
                "brightness": "typical",
                "z_from_um": edges[:-1] * SPACING_UM[0],
                "z_to_um": edges[1:] * SPACING_UM[0],
                "n_injected": 90,
                "n_found": [rng.binomial(90, share[a : a + 3].mean()) for a in edges[:-1]],
            }
        )
        found = found_by_plane(table, "puncta", SHAPE[0], SPACING_UM[0])
        weights = np.broadcast_to(found[:, None, None], SHAPE)
    found = csr_test(
        points,
        where.mask,
        SPACING_UM,
        where.depth_um,
        rng=rng,
        weights=weights,
        covariance=where.covariance,
        n_simulations=n,
    )
    return numbers(found, "csr_test")


def kept_apart(rng: np.random.Generator, n: int, known: bool) -> PValues:
    """50 points no two of which lie within what a microscope tells apart."""
    where = cell()
    draw = {"distance_um": RESOLVED_UM, "n_simulations": 1}
    points = hard_core_points(50, where.mask, SPACING_UM, rng, **draw)[0]
    found = csr_test(
        points,
        where.mask,
        SPACING_UM,
        where.distance,
        rng=rng,
        hard_core_um=RESOLVED_UM if known else None,
        covariance=where.covariance,
        n_simulations=n,
    )
    return numbers(found, "csr_test")


def hard_core(rng: np.random.Generator, n: int) -> PValues:
    draw = partial(hard_core_points, 60, cell().mask, SPACING_UM, rng, distance_um=HARD_CORE_UM)
    return against(draw()[0], draw(n_simulations=n))


def rigid_clusters(rng: np.random.Generator, n: int) -> PValues:
    points, family = thomas(rng)
    move = partial(moved_clusters, points, family, cell().mask, SPACING_UM, rng)
    placed = move()[0]
    return against(placed, moved_again(placed, family, rng, n))


def moved_again(
    points: np.ndarray, family: np.ndarray, rng: np.random.Generator, n: int
) -> np.ndarray:
    return moved_clusters(points, family, cell().mask, SPACING_UM, rng, n_simulations=n)


def separate_clusters(rng: np.random.Generator, n: int) -> PValues:
    points, family = thomas(rng, 10, 0.1)
    move = partial(moved_clusters, points, family, cell().mask, SPACING_UM, rng, separation_um=0.3)
    return against(move()[0], move(n_simulations=n))


def cut_clusters(rng: np.random.Generator, n: int) -> PValues:
    points, family = thomas(rng)
    found = against(points, moved_again(points, family, rng, n))
    return {name: p for name, p in found.items() if name.startswith("distance")}


def found_clusters(rng: np.random.Generator, n: int) -> PValues:
    points, _ = thomas(rng)
    found = against(points, moved_again(points, linked(points, 0.35), rng, n))
    return {name: p for name, p in found.items() if name.startswith("distance")}


def clusters_as_uniform(rng: np.random.Generator, n: int) -> PValues:
    points, _ = thomas(rng)
    return against(points, random_points(points, cell().mask, SPACING_UM, rng, n_simulations=n))


def types(
    rng: np.random.Generator, n: int, labels: np.ndarray, points: np.ndarray, strata: Any = None
) -> PValues:
    where = cell()
    swapped = swapped_labels(labels, rng, strata=strata, n_simulations=n)
    k = labelled_k(
        points,
        np.concatenate([labels[None], swapped]),
        where.radii_um,
        where.covariance,
        pair=(0, 1),
    )
    return tested({"cross-type L": besag_l(k, 3)})


def labels(rng: np.random.Generator, n: int) -> PValues:
    points, _ = thomas(rng)
    return types(rng, n, rng.permutation(np.arange(len(points)) % 2), points)


def labels_in_shells(rng: np.random.Generator, n: int, strata: bool = True) -> PValues:
    """Type 1 is more frequent near the nucleus; labels are swapped within shells, or anywhere."""
    where = cell()
    points = even(rng, 80)
    away = field_at_points(points, where.distance, SPACING_UM)
    shell = np.searchsorted(np.quantile(where.distance[where.mask], [0.25, 0.5, 0.75]), away)
    kind = (rng.random(80) < np.array([0.9, 0.5, 0.4, 0.1])[shell]).astype(int)
    return types(rng, n, kind, points, shell if strata else None)


class Scenario(NamedTuple):
    """How points lie, the null they are held against, and whether it promises its level."""

    name: str
    null: str
    run: Callable[[np.random.Generator, int], PValues]
    promised: bool
    fold: int = 1  # two-sided numbers need twice the simulations for the same smallest p-value

    def simulations(self, n: int) -> int:
        """Simulations that resolve p-values as n do for a one-sided test."""
        return self.fold * (n + 1) - 1


SCENARIOS = (
    Scenario("60 points at random", "random_points", uniform, True),
    Scenario("60 points at random", "csr_test", summary, True, 2),
    Scenario(
        "60 points, fewer seen at depth",
        "csr_test, weights",
        partial(summary, weighted=True),
        True,
        2,
    ),
    Scenario("60 points 0.45 µm apart", "hard_core_points", hard_core, True),
    Scenario("14 rigid clusters", "moved_clusters", rigid_clusters, True),
    Scenario("10 clusters 0.3 µm apart", "moved_clusters, separation", separate_clusters, True),
    Scenario("14 clusters cut by the edge", "moved_clusters", cut_clusters, False),
    Scenario("14 clusters cut by the edge, found", "moved_clusters", found_clusters, False),
    Scenario("two types in the same clusters", "swapped_labels", labels, True),
    Scenario("two types, one perinuclear", "swapped_labels, strata", labels_in_shells, True),
    Scenario("14 clusters cut by the edge", "random_points", clusters_as_uniform, False),
    Scenario(
        "two types, one perinuclear",
        "swapped_labels",
        partial(labels_in_shells, strata=False),
        False,
    ),
    *(
        Scenario(name, null, partial(run, known=known), known, 2)
        for name, run, held in (
            ("200 points, 95 to 10 % seen", seen_with_depth, "weights as measured"),
            ("50 points 1.03 × 0.35 × 0.35 µm apart", kept_apart, "hard core"),
        )
        for known, null in ((True, f"csr_test, {held}"), (False, "csr_test"))
    ),
)


def p_values(seed: int, scenario: int, n_simulations: int) -> PValues:
    case = SCENARIOS[scenario]
    return case.run(np.random.default_rng([seed, scenario]), case.simulations(n_simulations))


def rows(scenario: int, found: list[PValues], n_simulations: int) -> list[dict[str, Any]]:
    case, out = SCENARIOS[scenario], []
    for test in found[0]:
        values = np.array([p[test] for p in found])
        for level in LEVELS:
            rejected = int(np.sum(values <= level + 1e-12))
            interval = stats.binomtest(rejected, len(values)).proportion_ci(0.99, method="exact")
            out.append(
                {
                    "scenario": case.name,
                    "null": case.null,
                    "test": test,
                    "promised": "yes" if case.promised else "no",
                    "level": level,
                    "simulations": case.simulations(n_simulations),
                    "seeds": len(values),
                    "rejected": rejected,
                    "rate": round(rejected / len(values), 5),
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
    parser.add_argument("--simulations", type=int, default=99)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of scenarios")
    default = Path(__file__).parent / "results" / "calibration_points.csv"
    parser.add_argument("--out", type=Path, default=default)
    options = parser.parse_args()
    chosen = options.only if options.only is not None else range(len(SCENARIOS))
    table: list[dict[str, Any]] = []
    if options.out.exists():
        with options.out.open(newline="") as file:
            table = list(csv.DictReader(file))
    with ProcessPoolExecutor(options.workers) as pool:
        for k in chosen:
            start = time.perf_counter()
            run = partial(p_values, scenario=k, n_simulations=options.simulations)
            found = list(pool.map(run, range(options.seeds), chunksize=50))
            new = rows(k, found, options.simulations)
            case = (SCENARIOS[k].name, SCENARIOS[k].null)
            table = [row for row in table if (row["scenario"], row["null"]) != case] + new
            print(f"# {k}: {time.perf_counter() - start:.0f} s")
            for row in new:
                print(*row.values(), sep="\t", flush=True)
    order = {(case.name, case.null): k for k, case in enumerate(SCENARIOS)}
    table.sort(key=lambda row: order[row["scenario"], row["null"]])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()
