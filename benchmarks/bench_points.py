"""A thousand-fold null for one cell: CPU seconds for each statistic, on one core.

    OMP_NUM_THREADS=1 python benchmarks/bench_points.py [--points 1000]

The cell has 0.93 million voxels of (0.3, 0.1, 0.1) µm, 2,800 µm³ without its nucleus. Each line is
the best of ``--repeats`` after a warm-up that compiles. The last lines are the errors of looking
up a distance map, against distances computed point by point.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from aequorea.spatial.envelopes import global_envelope
from aequorea.spatial.nulls import (
    hard_core_points,
    moved_clusters,
    points_inside,
    random_points,
    swapped_labels,
)
from aequorea.spatial.point_patterns import (
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
N = 999


def ellipsoid(centre: tuple[float, ...], half_axes: tuple[float, ...]) -> np.ndarray:
    grid = np.ogrid[:40, :220, :220]
    away = sum(((g - c) / h) ** 2 for g, c, h in zip(grid, centre, half_axes, strict=True))
    return away < 1


def timed(name: str, repeats: int, task: Callable[[], object]) -> None:
    task()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        task()
        seconds.append(time.process_time() - start)
    print(f"{name}: {min(seconds):.3f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    n, rng = options.points, np.random.default_rng(0)
    nucleus = ellipsoid((20, 100, 110), (9, 35, 35))
    mask = ellipsoid((20, 110, 110), (20, 108, 108)) & ~nucleus
    distance = ndimage.distance_transform_edt(~nucleus, sampling=SPACING_UM)
    points = random_points(n, mask, SPACING_UM, rng)[0]
    sets = random_points(n, mask, SPACING_UM, rng, n_simulations=N)
    radii = np.linspace(0.1, 2.0, 20)
    away = field_at_points(sets, distance, SPACING_UM)
    shared = set_covariance(mask, SPACING_UM, reach_um=2.0)
    curves = ripley_k(sets, radii, shared)
    pairs = (curves.mean(axis=0) * n * (n - 1) / 2 / shared.volume)[-1]
    print(f"{N} simulations of {n} points; {pairs:.0f} pairs within {radii[-1]:g} µm in each")

    def line(name: str, task: Callable[[], object]) -> None:
        timed(name, options.repeats, task)

    line("random points", lambda: random_points(n, mask, SPACING_UM, 0, n_simulations=N))
    line("distance map, interpolated", lambda: field_at_points(sets, distance, SPACING_UM))
    line(
        "distance map, value of the voxel",
        lambda: field_at_points(sets, distance, SPACING_UM, interpolation=False),
    )
    line("distribution function", lambda: ecdf(away, np.linspace(0, 8, 20)))
    line("median", lambda: np.median(away, axis=1))
    line("nearest neighbours", lambda: nearest_neighbour_distances(sets))
    line("set covariance", lambda: set_covariance(mask, SPACING_UM, reach_um=2.0))
    for correction in ("isotropised", "translation"):
        line(
            f"K up to {radii[-1]:g} µm, {correction}",
            lambda how=correction: ripley_k(sets, radii, shared, correction=how),
        )
    line("global envelope", lambda: global_envelope(curves[0], curves[1:]))
    line(
        "csr_test: all of these",
        lambda: csr_test(points, mask, SPACING_UM, distance, rng=0, pair_radii_um=radii),
    )
    line(
        "hard core of 0.3 µm",
        lambda: hard_core_points(n, mask, SPACING_UM, 0, distance_um=0.3, n_simulations=N),
    )
    family = np.arange(n) // 10
    clusters = points[family * 10] + rng.normal(0, 0.2, (n, 3))
    kept = points_inside(clusters, mask, SPACING_UM)
    line(
        "clusters of 10 moved",
        lambda: moved_clusters(clusters[kept], family[kept], mask, SPACING_UM, 0, n_simulations=N),
    )
    labels = swapped_labels(np.arange(n) % 2, 0, n_simulations=N)
    line("labels swapped", lambda: swapped_labels(np.arange(n) % 2, 0, n_simulations=N))
    line("cross-K of labels", lambda: labelled_k(points, labels, radii, shared, pair=(0, 1)))

    ball = ellipsoid((20, 110, 110), (10, 30, 30))
    field = ndimage.distance_transform_edt(~ball, sampling=SPACING_UM)
    probes = random_points(20_000, ~ball & mask, SPACING_UM, 1)[0]
    exact = cKDTree(np.argwhere(ball) * SPACING_UM).query(probes)[0]
    for interpolation in (True, False):
        found = field_at_points(probes, field, SPACING_UM, interpolation=interpolation)
        error = found - exact
        kind = "interpolated" if interpolation else "value of the voxel"
        print(
            f"error of {kind}: root mean square {np.sqrt((error**2).mean()):.4f} µm, "
            f"largest {np.abs(error).max():.4f} µm, mean {error.mean():.5f} µm"
        )


if __name__ == "__main__":
    main()
