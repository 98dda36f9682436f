"""Pixel colocalization against napari-colocalization 0.4.0: the same numbers, and how much faster.

The other program runs in an interpreter of its own, named by ``--peer-python`` or the variable
AEQUOREA_PEER_PYTHON; make one with::

    python -m venv peer
    peer/bin/pip install --no-deps napari-colocalization==0.4.0
    peer/bin/pip install numpy scipy scikit-image

Ratios are taken within one run; each side is timed after a warm-up, best of ``--repeats``.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PEER = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from napari_colocalization import analyse_pairwise
a, b, labels = (np.load(f"{sys.argv[1]}/{name}.npy") for name in ("a", "b", "labels"))
analyse_pairwise(a[:64, :64], b[:64, :64])
seconds = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    rows = analyse_pairwise(a, b, label_mask=labels)
    seconds.append(time.perf_counter() - start)
peak = peak_mb()
print(json.dumps({"seconds": min(seconds), "peak_mb": peak, "rows": rows}))
"""
COMPARED = {
    "pcc": "pcc", "srcc": "srcc", "icq": "icq", "overlap": "overlap", "k1": "k1", "k2": "k2",
    "m1": "tm1", "m2": "tm2", "threshold_a": "threshold_a", "threshold_b": "threshold_b",
}  # fmt: skip


def cells(size: int, regions: int, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two correlated channels and a grid of disc-shaped regions."""
    rng = np.random.default_rng(2026)
    shared = rng.gamma(2.0, 400.0, (size, size))
    a = shared + rng.gamma(2.0, 200.0, shared.shape)
    b = 0.6 * shared + rng.gamma(2.0, 200.0, shared.shape)
    across = int(np.ceil(np.sqrt(regions)))
    pitch = size / across
    y, x = np.mgrid[:size, :size].astype(np.float32) + 0.5
    row, column = (y // pitch).astype(int), (x // pitch).astype(int)
    label = row * across + column + 1
    inside = np.hypot(y - (row + 0.5) * pitch, x - (column + 0.5) * pitch) < 0.48 * pitch
    labels = np.where(inside & (label <= regions), label, 0).astype(np.int32)
    return a.astype(dtype), b.astype(dtype), labels


def ours(folder: Path, repeats: int) -> dict[str, object]:
    from aequorea.colocalization import analyse_pairwise

    a, b, labels = (np.load(folder / f"{name}.npy") for name in ("a", "b", "labels"))
    analyse_pairwise(a[:64, :64], b[:64, :64])
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        rows = analyse_pairwise(a, b, label_mask=labels)
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "peak_mb": peak_mb(), "rows": rows}


def sweep(size: int, repeats: int) -> dict[str, object]:
    from aequorea.colocalization import costes_sweep

    rng = np.random.default_rng(1)
    shared = rng.gamma(2.0, 3000.0, (size, size))
    a = np.clip(shared + rng.gamma(2.0, 500.0, shared.shape), 0, 65535).astype(np.uint16)
    b = np.clip(0.7 * shared + rng.gamma(2.0, 800.0, shared.shape), 0, 65535).astype(np.uint16)
    del shared
    before = peak_mb()
    costes_sweep(a[:64, :64], b[:64, :64])
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        levels = costes_sweep(a, b).thresholds_a.size
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "peak_mb": peak_mb(), "before_mb": before, "levels": levels}


def peak_mb() -> float:
    """Largest resident memory of this process (ru_maxrss would start at the parent's)."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(python: str, *arguments: str) -> dict[str, object]:
    done = subprocess.run([python, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{python} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def largest_difference(mine: list[dict], theirs: list[dict]) -> dict[str, float]:
    assert [row["region"] for row in mine] == [row["region"] for row in theirs]
    difference = {}
    for own, other in COMPARED.items():
        x = np.array([row[own] for row in mine], float)
        y = np.array([row[other] for row in theirs], float)
        assert np.array_equal(np.isnan(x), np.isnan(y)), own
        scale = np.maximum(np.abs(y), 1)
        difference[own] = float(np.nanmax(np.abs(x - y) / scale, initial=0.0))
    return difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", default=os.environ.get("AEQUOREA_PEER_PYTHON"))
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--regions", type=int, default=500)
    parser.add_argument("--sweep-size", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=("ours", "sweep"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "ours":
        return print(json.dumps(ours(options.folder, options.repeats)))
    if options.part == "sweep":
        return print(json.dumps(sweep(options.sweep_size, options.repeats)))
    own = ["--repeats", str(options.repeats), "--part"]
    print(f"{'task':44} {'peer s':>8} {'ours s':>8} {'ratio':>7} {'peer MB':>8} {'ours MB':>8}")
    for dtype in ("uint16", "float32"):
        with tempfile.TemporaryDirectory() as name:
            for key, array in zip(
                ("a", "b", "labels"), cells(options.size, options.regions, dtype), strict=True
            ):
                np.save(Path(name) / f"{key}.npy", array)
            mine = child(sys.executable, __file__, *own, "ours", "--folder", name)
            task = f"all metrics {options.size}² × {options.regions} regions {dtype}"
            if not options.peer_python:
                print(f"{task:44} {'-':>8} {mine['seconds']:8.3f}  (no --peer-python)")
                continue
            peer = child(
                options.peer_python,
                "-c",
                inspect.getsource(peak_mb) + PEER,
                name,
                str(options.repeats),
            )
        ratio = peer["seconds"] / mine["seconds"]
        print(
            f"{task:44} {peer['seconds']:8.3f} {mine['seconds']:8.3f} {ratio:6.1f}x"
            f" {peer['peak_mb']:8.0f} {mine['peak_mb']:8.0f}"
        )
        worst = largest_difference(mine["rows"], peer["rows"])
        print("  largest difference:", ", ".join(f"{k} {v:.1e}" for k, v in worst.items()))
    mine = child(sys.executable, __file__, *own, "sweep", "--sweep-size", str(options.sweep_size))
    task = f"Costes, {mine['levels']} levels, {options.sweep_size}² uint16"
    print(f"{task:44} {'-':>8} {mine['seconds']:8.3f} {'':7} {'':8} {mine['peak_mb']:8.0f}")
    print(f"  peak before the sweep (inputs and their making): {mine['before_mb']:.0f} MB")
    return None


if __name__ == "__main__":
    main()
