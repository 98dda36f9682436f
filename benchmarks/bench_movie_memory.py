"""A movie larger than memory: how long registering it takes, and what it allocates.

The frames of a simulated movie, over and over, as one NumPy file; registered by the command in a
process of its own. Memory is what that process allocates (anonymous and shared pages), so beyond
the mapped input. Linux only.

``python benchmarks/bench_movie_memory.py [--frames 40000] [--size 512] [--model rigid]``
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def write_movie(path: Path, frames: int, size: int) -> None:
    from aequorea.simulate import simulated_twophoton

    few = simulated_twophoton((250, size, size), photons=4, jitter_px=1.5, elastic_px=0.5, rng=1)
    whole = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=(frames, size, size))
    for start in range(0, frames, len(few.counts)):
        part = few.counts[: frames - start]
        whole[start : start + len(part)] = part
    whole.flush()


def allocated_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
    return (sizes.get("RssAnon", 0) + sizes.get("RssShmem", 0)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=40_000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--model", choices=("rigid", "nonrigid"), default="rigid")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path, out = Path(name) / "huge.npy", Path(name) / "out"
        write_movie(path, asked.frames, asked.size)
        command = [sys.executable, "-m", "aequorea", "register", str(path), "--axes", "tyx"]
        command += ["--out", str(out), "--model", asked.model, "--frame-rate-hz", "30"]
        begun, most = time.monotonic(), 0.0
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                most = max(most, allocated_mb(process.pid))
                time.sleep(0.05)
        seconds = time.monotonic() - begun
        if process.returncode:
            raise SystemExit("registration failed")
        steps = json.loads((out / "run.json").read_text())["timings"]["steps_s"]
        size_gb = path.stat().st_size / 1e9
        print(
            f"{size_gb:.1f} GB, {asked.frames} frames, {asked.model}: {seconds:.0f} s in all, "
            f"at most {most:.0f} MB allocated; steps {steps}"
        )


if __name__ == "__main__":
    main()
