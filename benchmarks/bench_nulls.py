"""The shift nulls at 2048²: seconds and peak memory, beside 999 block scrambles.

    python benchmarks/bench_nulls.py [--peer-python PYTHON]

Each case runs in a process of its own. Memory is the peak above what the imports take, in units
of the two float32 channels. The scrambles are timed on a few and scaled to 999: those of
napari-colocalization 0.4.0 where an interpreter that has it is named (``--peer-python`` or
AEQUOREA_PEER_PYTHON), and ours.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

CASE = """
import json, resource, sys, time
import numpy as np
from scipy import fft, ndimage
from aequorea.colocalization.significance import significance
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
size, kind = int(sys.argv[1]), sys.argv[2]
null = "profile" if "profile" in kind else "stationary"
rng = np.random.default_rng(0)
small = rng.random((2, 64, 64), dtype=np.float32)
significance(*small, null=null)
a, b = rng.random((2, size, size), dtype=np.float32)
pair = a.nbytes + b.nbytes
base = peak() - pair
y, x = np.ogrid[:size, :size]
mask = np.hypot(y - size / 2, x - size / 2) < 0.45 * size if "mask" in kind else None
seconds = []
for _ in range(3):
    start = time.perf_counter()
    with fft.set_workers(2):
        result = significance(a, b, mask=mask, null=null, n_shifts=999)
    seconds.append(time.perf_counter() - start)
print(json.dumps({"seconds": min(seconds), "pairs": (peak() - base) / pair, "p": result.p_value}))
"""
SCRAMBLE = """
import json, sys, time
import numpy as np
MODULE = __import__(sys.argv[3], fromlist=["costes_randomization"])
rng = np.random.default_rng(0)
a, b = rng.random((2, int(sys.argv[1]), int(sys.argv[1])), dtype=np.float32)
MODULE.costes_randomization(a[:64, :64], b[:64, :64], n_iter=2, seed=0)
start = time.perf_counter()
MODULE.costes_randomization(a, b, n_iter=int(sys.argv[2]), seed=0)
print(json.dumps((time.perf_counter() - start) * 999 / int(sys.argv[2])))
"""


def run(python: str, code: str, *arguments: object) -> object:
    """What a script prints as JSON, run in a process of its own."""
    command = [python, "-c", code, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--peer-python", default=os.environ.get("AEQUOREA_PEER_PYTHON"))
    arguments = parser.parse_args()
    size = arguments.size
    scrambles = {"ours": run(sys.executable, SCRAMBLE, size, 200, "aequorea.colocalization")}
    if arguments.peer_python:
        scrambles["napari-colocalization 0.4.0"] = run(
            arguments.peer_python, SCRAMBLE, size, 10, "napari_colocalization"
        )
    for name, seconds in scrambles.items():
        print(f"999 scrambles, {name}: {seconds:.2f} s")
    for kind in ("stationary", "stationary, mask", "profile", "profile, mask"):
        case = run(sys.executable, CASE, size, kind)
        ratios = ", ".join(f"{s / case['seconds']:.0f}x {n}" for n, s in scrambles.items())
        print(f"{kind}: {case['seconds']:.2f} s, {case['pairs']:.1f} pairs of memory; {ratios}")


if __name__ == "__main__":
    main()
