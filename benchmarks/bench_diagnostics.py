"""Diagnostics and objects against napari-colocalization, the same inputs, in one run.

Set ``AEQUOREA_PEER_PYTHON`` to an interpreter that has ``napari-colocalization==0.4.0`` (with
numpy, scipy and scikit-image); without it only aequorea is timed. Prints seconds, ratios and the
largest difference between the numbers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

import aequorea.colocalization as ours

if TYPE_CHECKING:
    from collections.abc import Callable

PEER = """
import sys, time
import numpy as np
import napari_colocalization as peer
folder, n_iter, max_shift = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
d = np.load(folder + "/in.npz")
a, b, mask = d["a"], d["b"], d["mask"]
out, seconds = {}, {}
def timed(name, call):
    start = time.perf_counter(); value = call(); seconds[name] = time.perf_counter() - start
    out[name] = value
timed("scramble", lambda: peer.costes_randomization(a, b, n_iter=n_iter, seed=1)["null"])
timed("scramble, mask", lambda: peer.costes_randomization(a, b, mask, n_iter, seed=1)["null"])
timed("ccf", lambda: peer.van_steensel_ccf(a, b, max_shift=max_shift)[1])
timed("ccf, mask", lambda: peer.van_steensel_ccf(a, b, mask, max_shift=max_shift)[1])
timed("ica", lambda: np.array([peer.li_ica(a, b)["icq"]]))
def table():
    rows, _ = peer.object_table(d["labels_a"], d["labels_b"])
    return np.array([[r["n_pixels"], r["overlap"], r["nn_distance_px"]] for r in rows], float)
timed("objects", table)
np.savez(folder + "/out.npz", **out)
np.savez(folder + "/seconds.npz", **seconds)
"""


def inputs(size: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shared, own_a, own_b = (ndimage.gaussian_filter(rng.random((size, size)), 2) for _ in range(3))
    a, b = (shared + 0.7 * own for own in (own_a, own_b))
    images = [np.rint(4000 * (x - x.min()) / np.ptp(x)).astype(np.uint16) for x in (a, b)]
    y, x = np.indices((size, size)) - size / 2
    labels = [ndimage.label(i > np.quantile(i, 0.8))[0] for i in images]
    return {
        "a": images[0],
        "b": images[1],
        "mask": np.hypot(y, x) < 0.45 * size,
        "labels_a": labels[0],
        "labels_b": labels[1],
    }


def measured(calls: dict[str, Callable[[], np.ndarray]]) -> tuple[dict, dict]:
    values, seconds = {}, {}
    for name, call in calls.items():
        start = time.perf_counter()
        values[name] = call()
        seconds[name] = time.perf_counter() - start
    return values, seconds


def our_calls(d: dict[str, np.ndarray], n_iter: int, max_shift: int) -> dict:
    a, b, mask = d["a"], d["b"], d["mask"]

    def table() -> np.ndarray:
        rows, _ = ours.object_table(d["labels_a"], d["labels_b"])
        return np.array([[r["n_pixels"], r["overlap"], r["nn_distance_px"]] for r in rows], float)

    return {
        "scramble": lambda: ours.costes_randomization(a, b, n_iter=n_iter, seed=1)["null"],
        "scramble, mask": lambda: ours.costes_randomization(a, b, mask, n_iter, seed=1)["null"],
        "ccf": lambda: ours.van_steensel_ccf(a, b, max_shift=max_shift)[1],
        "ccf, mask": lambda: ours.van_steensel_ccf(a, b, mask, max_shift)[1],
        "ica": lambda: np.array([ours.li_ica(a, b)["icq"]]),
        "objects": table,
    }


def peer_results(d: dict[str, np.ndarray], n_iter: int, max_shift: int) -> tuple[dict, dict] | None:
    interpreter = os.environ.get("AEQUOREA_PEER_PYTHON")
    if not interpreter:
        return None
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "in.npz", **d)
        command = [interpreter, "-c", PEER, folder, str(n_iter), str(max_shift)]
        subprocess.run(command, check=True)
        return tuple(dict(np.load(Path(folder) / f"{n}.npz")) for n in ("out", "seconds"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--max-shift", type=int, default=20)
    options = parser.parse_args()
    d = inputs(options.size)
    small = inputs(64, seed=1)
    measured(our_calls(small, 2, 5))  # compile first
    values, seconds = measured(our_calls(d, options.iterations, options.max_shift))
    peer = peer_results(d, options.iterations, options.max_shift)
    print(f"{options.size}² px, {options.iterations} iterations, shifts to {options.max_shift} px")
    for name, ours_s in seconds.items():
        line = f"{name:16s} aequorea {ours_s:8.3f} s"
        if peer is not None:
            theirs = float(peer[1][name])
            difference = float(np.nanmax(np.abs(values[name] - peer[0][name])))
            line += f"   napari-colocalization {theirs:8.3f} s   ratio {theirs / ours_s:7.1f}"
            line += f"   largest difference {difference:.1e}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
