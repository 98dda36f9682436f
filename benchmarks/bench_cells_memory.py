"""Peak memory of each step of a cell count, in bytes per voxel.

Run: MALLOC_TRIM_THRESHOLD_=0 MALLOC_MMAP_THRESHOLD_=65536 python benchmarks/bench_cells_memory.py
(Linux: reads the high-water mark of the process, which it resets before each step.)
"""

from __future__ import annotations

import gc
import sys
import tempfile
from pathlib import Path

import numpy as np

import aequorea
from aequorea.model import Image
from aequorea.pipelines.cells.workflow import count
from aequorea.simulate import simulated_nuclei

SHAPE = (20, 400, 400)
SPACING_UM = {"z": 0.5, "y": 0.2, "x": 0.2}


class Peaks:
    """Progress that prints what each step took."""

    def __init__(self, start: int, n_voxels: int) -> None:
        self.start, self.n_voxels, self.step = start, n_voxels, ""

    def begin(self, step: str) -> None:
        """Forget the high-water mark of the step before."""
        self.step = step
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")

    def advance(self, done: int, total: int) -> None:
        """Nothing to do within a step."""

    def end(self, how: str) -> None:
        """Print the high-water mark."""
        taken = (memory("VmHWM") - self.start) / self.n_voxels
        print(f"  {self.step:<18}{taken:6.1f} bytes per voxel ({how})")


def memory(name: str) -> int:
    """Memory of this process in bytes: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def saved(folder: Path, shape: tuple[int, ...]) -> Path:
    """Two channels of 16 bits, tiled from a small simulated stack."""
    spacing = tuple(SPACING_UM.values())
    tile = simulated_nuclei((12, 128, 128), n=14, diameter_px=22, spacing_um=spacing, rng=1).image
    repeats = [-(-wanted // there) for wanted, there in zip(shape, tile.shape, strict=True)]
    image = np.tile(tile, repeats)[tuple(slice(n) for n in shape)]
    path = folder / f"{shape[0]}.ome.tif"
    both = Image(
        data=np.stack([image, image]), axes="czyx", channels=("A", "B"), spacing_um=SPACING_UM
    )
    aequorea.save(both, path)
    return path


def main() -> None:
    """Print the peaks of one method after another."""
    for method in sys.argv[1:] or ["otsu", "watershed"]:
        parameters = {"cell": {"method": method}, "marker": {"method": method}}
        with tempfile.TemporaryDirectory() as folder:
            small, large = (saved(Path(folder), s) for s in ((12, 128, 128), SHAPE))
            count(small, parameters=parameters, out=Path(folder, "warm"))
            gc.collect()
            print(f"{method}, {SHAPE} voxels, two channels of 16 bits")
            peaks = Peaks(memory("VmRSS"), int(np.prod(SHAPE)))
            count(large, parameters=parameters, out=Path(folder, "run"), progress=peaks)


if __name__ == "__main__":
    main()
