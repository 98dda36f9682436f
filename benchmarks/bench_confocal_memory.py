"""Peak memory of each step of a confocal run, in float32 channels beyond the mapped input.

Run: python benchmarks/bench_confocal_memory.py [--shape 64,1024,1024]
Four roles in three channels of 16 bits; the cells' stain is measured as a protein, too. Linux only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aequorea.io import write_ome_tiff
from aequorea.model import Image
from aequorea.pipelines.confocal import analyse
from bench_confocal import PSF_UM, SPACING, resident_mb, scene

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

CHANNELS = ("nuclei", "cells", "mRNA")
ROLES = {
    "nuclei": {"channel": "nuclei"},
    "cells": {"channel": "cells"},
    "puncta": {"channel": "mRNA", "spot_sigma_z_um": PSF_UM[0], "spot_sigma_yx_um": PSF_UM[1]},
    "protein": {"channel": "cells"},
    "nulls": {"n_simulations": 19},
}


def keep_watch(pid: int, peak: Synchronized[float]) -> None:
    """Keep the most a process had allocated, looked at 200 times a second from another one."""
    while (sizes := resident_mb(pid)) is not None:
        peak.value = max(peak.value, sizes[0])
        time.sleep(0.005)


class Peaks:
    """Progress that prints what each step took."""

    def __init__(self, n_voxels: int) -> None:
        self.channel_mb = n_voxels * 4 / 2**20
        self.start = resident_mb(os.getpid())[0]
        self.peak, self.step, self.began = multiprocessing.Value("d"), "", 0.0
        watch = (os.getpid(), self.peak)
        multiprocessing.Process(target=keep_watch, args=watch, daemon=True).start()

    def begin(self, step: str) -> None:
        """Forget the peak of the step before."""
        self.step, self.peak.value, self.began = step, 0.0, time.process_time()

    def advance(self, done: int, total: int) -> None:
        """Nothing to do within a step."""

    def end(self, how: str) -> None:
        """Print the peak."""
        taken = (self.peak.value - self.start) / self.channel_mb
        seconds = time.process_time() - self.began
        print(
            f"  {self.step:<12}{taken:5.1f} float32 channels {seconds:6.1f} s of processor, {how}"
        )


def saved(folder: Path, shape: tuple[int, int, int], n_cells: int) -> Path:
    """A simulated stack as OME-TIFF."""
    scene(shape, n_cells, 250, folder)
    image = Image(
        data=np.stack([np.load(folder / f"{name}.npy") for name in CHANNELS]),
        axes="czyx",
        channels=CHANNELS,
        spacing_um=dict(zip("zyx", SPACING, strict=True)),
    )
    path = folder / f"{shape[1]}.ome.tif"
    write_ome_tiff(image, path)
    return path


def main() -> None:
    """Print the peaks of all steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="64,1024,1024")
    parser.add_argument("--cells", type=int, default=20)
    options = parser.parse_args()
    shape = tuple(int(n) for n in options.shape.split(","))
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        analyse(saved(folder, (48, 320, 320), 2), parameters=ROLES, out=folder / "warm")
        stack = saved(folder, shape, options.cells)
        analyse(stack, parameters=ROLES, out=folder / "run", progress=Peaks(int(np.prod(shape))))


if __name__ == "__main__":
    main()
