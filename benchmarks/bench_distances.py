"""Distances to nuclei: seconds, peak memory and error; conjunctions: seconds and false positives.

Each time is CPU time, the best of ``--repeats`` after a warm-up that compiles; all run on one
thread. Errors are against SciPy's transform in double precision and a k-d tree of every nucleus
voxel. ``--edt`` adds the ``edt`` library (single precision) if it is installed. ``--seeds`` draws
that many fields of two types that lie independently of each other in a cell and reports how often
:func:`aequorea.spatial.conjunction.conjunction_test` rejects (19 simulations).
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, stats
from scipy.spatial import cKDTree

from aequorea.spatial.conjunction import conjunction_test, point_conjunctions
from aequorea.spatial.distances import (
    cell_distances,
    distance_map,
    distances_of_points,
    labels_at,
    nearest_landmark,
    relative_distances,
)
from aequorea.spatial.localization import localization_of_points

if TYPE_CHECKING:
    from collections.abc import Callable

SPACING = (0.3, 0.1083, 0.1083)


def field(shape: tuple[int, int, int], n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """About n cells with ellipsoid nuclei on a jittered grid."""
    rng = np.random.default_rng(seed)
    across = int(np.ceil(np.sqrt(n)))
    pitch = shape[1] / across
    cells, nuclei = np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    for k in range(n):
        cy, cx = (np.array(divmod(k, across)) + 0.5) * pitch + rng.uniform(-0.05, 0.05, 2) * pitch
        low, high = int(max(cy - pitch / 2, 0)), int(cy + pitch / 2)
        left, right = int(max(cx - pitch / 2, 0)), int(cx + pitch / 2)
        rows, columns = slice(low, high), slice(left, right)
        r2 = (y[:, rows] - cy) ** 2 + (x[:, :, columns] - cx) ** 2
        dz = (z - shape[0] / 2) / shape[0]
        cells[:, rows, columns][r2 / (0.42 * pitch) ** 2 + (dz / 0.48) ** 2 < 1] = k + 1
        nuclei[:, rows, columns][r2 / (0.18 * pitch) ** 2 + (dz / 0.3) ** 2 < 1] = k + 1
    return cells, nuclei


def best_of(repeats: int, task: Callable[[], object]) -> float:
    task()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        task()
        seconds.append(time.process_time() - start)
    return min(seconds)


def line(task: str, seconds: float, note: str = "") -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{task:52} {seconds:8.3f} s {peak:6.2f} GB so far  {note}", flush=True)


def points(repeats: int) -> None:
    cells, nuclei = field((64, 1024, 1024), 20, 0)
    mask = nuclei > 0
    at = np.random.default_rng(1).uniform(0, 1, (100_000, 3)) * (np.array(mask.shape) * SPACING)
    print(f"64×1024×1024, 20 nuclei of {mask.sum() / 20:.0f} voxels, 100,000 points")
    seconds = best_of(repeats, lambda: distances_of_points(at, mask, SPACING))
    line("distances_of_points", seconds)
    cell = labels_at(at, cells, SPACING)
    line("labels_at", best_of(repeats, lambda: labels_at(at, cells, SPACING)))
    seconds = best_of(repeats, lambda: nearest_landmark(at, cell, nuclei, SPACING))
    line("nearest_landmark (own nucleus of each)", seconds)
    seconds = best_of(1, lambda: cell_distances(cells, nuclei, SPACING))
    line("cell_distances (cytosol and membrane, 20 cells)", seconds)
    known, near = (
        cell_distances(cells, nuclei, SPACING),
        nearest_landmark(at, cell, nuclei, SPACING),
    )
    line("relative_distances", best_of(repeats, lambda: relative_distances(near, known)))
    seconds = best_of(1, lambda: localization_of_points(at, cells, nuclei, SPACING))
    line("localization_of_points (20 cells)", seconds)
    few = at[:2000]
    start = time.process_time()
    tree = cKDTree(np.argwhere(mask) * SPACING)
    expected, _ = tree.query(few)
    voxels = np.floor(few / SPACING + 0.5).astype(int)
    inside = (voxels < mask.shape).all(axis=1)
    inside[inside] = mask[tuple(voxels[inside].T)]
    expected[inside] = 0
    error = np.abs(distances_of_points(few, mask, SPACING) - expected).max()
    line("a k-d tree of all nucleus voxels, 2,000 points", time.process_time() - start)
    print(f"largest difference to it: {error:.1e} µm")


def maps(repeats: int, *, edt: bool) -> None:
    _, nuclei = field((48, 512, 512), 12, 2)
    mask = nuclei > 0
    print("\nmap of 48×512×512, 12 nuclei")
    line("distance_map", best_of(repeats, lambda: distance_map(mask, SPACING)))
    box = np.zeros(mask.shape, bool)
    box[:, 200:280, 200:280] = True
    seconds = best_of(repeats, lambda: distance_map(mask, SPACING, within=box))
    line("distance_map within 48×80×80", seconds)
    exact = ndimage.distance_transform_edt(~mask, sampling=SPACING)
    error = np.abs(distance_map(mask, SPACING) - exact).max()
    seconds = best_of(1, lambda: ndimage.distance_transform_edt(~mask, sampling=SPACING))
    line("scipy distance_transform_edt", seconds, f"differs by {error:.1e} µm")
    if edt:
        import edt as library

        transform = lambda: library.edt(~mask, anisotropy=SPACING, parallel=1)  # noqa: E731
        error = np.abs(transform() - exact).max()
        line("edt library, one thread", best_of(repeats, transform), f"error {error:.1e} µm")


def conjunctions(repeats: int) -> None:
    print("\none-to-one conjunctions, 5 puncta per µm³ of each type")
    for k, n, within in ((2, 1_000, 0.3), (2, 50_000, 0.3), (3, 3_000, 0.3)):
        rng = np.random.default_rng(3)
        types = [rng.uniform(0, (n / 5) ** (1 / 3), (n, 3)) for _ in range(k)]
        found = len(point_conjunctions(types, within_um=within))
        seconds = best_of(repeats, lambda t=types, w=within: point_conjunctions(t, within_um=w))
        line(f"{k} types of {n}, within {within} µm", seconds, f"{found} found")


def false_positives(seeds: int) -> None:
    cells, nuclei = field((16, 60, 60), 1, 4)
    voxels = np.argwhere((cells > 0) & (nuclei == 0))
    p_values = np.empty(seeds)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)

        def draw(rng: np.random.Generator) -> list[np.ndarray]:
            chosen = [voxels[rng.integers(0, len(voxels), n)] for n in (25, 15)]
            return [(at + rng.uniform(-0.5, 0.5, at.shape)) * SPACING for at in chosen]

        red, green = draw(rng)
        p_values[seed] = conjunction_test(
            [red, green],
            lambda rng, red=red: [red, draw(rng)[1]],
            within_um=0.5,
            n_simulations=19,
            seed=rng,
        ).p_value
    print(f"\nindependent puncta in one cytosol, one type fixed: {seeds} seeds")
    for level in (0.05, 0.25, 0.5):
        n = int(np.nansum(p_values <= level + 1e-12))
        interval = stats.binomtest(n, seeds).proportion_ci(0.99)
        print(
            f"p ≤ {level}: {n / seeds:.4f}, 99 % interval {interval.low:.4f} to {interval.high:.4f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--edt", action="store_true")
    parser.add_argument("--seeds", type=int, default=0)
    options = parser.parse_args()
    points(options.repeats)
    maps(options.repeats, edt=options.edt)
    conjunctions(options.repeats)
    if options.seeds:
        false_positives(options.seeds)


if __name__ == "__main__":
    main()
