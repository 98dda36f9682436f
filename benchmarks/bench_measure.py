"""Tables of many objects: seconds to measure them all, and to count which meet.

Each line is the best of ``--repeats`` after a warm-up that compiles. The time should follow the
number of voxels and not that of objects: the last lines measure the same voxels in more pieces.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np

from aequorea.measure import measure_objects, overlap_counts

if TYPE_CHECKING:
    from collections.abc import Callable


def balls(shape: tuple[int, ...], n: int, fill: float, seed: int) -> np.ndarray:
    """About n round objects on a jittered grid; ``fill`` is their diameter over the pitch."""
    rng = np.random.default_rng(seed)
    across = round(np.sqrt(n))
    pitch = shape[-1] / across
    y, x = np.mgrid[: shape[-2], : shape[-1]].astype(np.float32)
    row, column = (y // pitch).astype(int), (x // pitch).astype(int)
    jitter = rng.uniform(-0.1, 0.1, (2, row.max() + 1, column.max() + 1)).astype(np.float32) * pitch
    away = np.hypot(
        y - (row + 0.5) * pitch - jitter[0][row, column],
        x - (column + 0.5) * pitch - jitter[1][row, column],
    )
    label = (row * (column.max() + 1) + column + 1).astype(np.int32)
    if len(shape) == 2:
        return np.where(away < fill * pitch / 2, label, 0)
    z = np.linspace(-1, 1, shape[0])[:, None, None]
    return np.where(away**2 < (fill * pitch / 2) ** 2 * (1.1 - z**2), label, 0)


def best_of(repeats: int, task: Callable[[], object]) -> float:
    task()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def tables(shape: tuple[int, ...], n: int, spacing_um: tuple[float, ...], repeats: int) -> None:
    cells, markers = balls(shape, n, 0.8, 1), balls(shape, n, 0.5, 2)
    image = np.random.default_rng(3).integers(0, 4096, shape).astype(np.uint16)

    def measure(labels: np.ndarray) -> object:
        return measure_objects(labels, spacing_um=spacing_um, intensity=image)

    def everything() -> None:
        measure(cells)
        measure(markers)
        overlap_counts(cells, markers)

    name = "×".join(map(str, shape))
    for task, work in (
        ("cells", lambda: measure(cells)),
        ("overlaps", lambda: overlap_counts(cells, markers)),
        ("cells + markers + overlaps", everything),
    ):
        seconds = best_of(repeats, work)
        print(f"{name:>14} {len(np.unique(cells)) - 1:8d} {task:28} {seconds:8.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{'image':>14} {'objects':>8} {'task':28} {'seconds':>8}")
    tables((8, 600, 600), 900, (0.5, 0.1, 0.1), options.repeats)
    tables((4096, 4096), 20_000, (0.1, 0.1), options.repeats)
    for n in (100, 2_500, 22_500):
        tables((8, 600, 600), n, (0.5, 0.1, 0.1), options.repeats)


if __name__ == "__main__":
    main()
