"""Puncta detection: how many known spots it finds, how fast, and in how much memory.

Accuracy: Poisson images of spots of one brightness at least 4 SD apart, threshold found from the
image itself. SNR is the height of a centred spot's brightest voxel over the SD of the background.
A match is one-to-one within one SD of a spot. Speed: best of ``--repeats`` after a warm-up in a
process that does nothing else; memory is its peak, with the image and the libraries.
"""

from __future__ import annotations

import argparse
import inspect
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.spatial import cKDTree

from aequorea.puncta.detection import find_candidates, select
from aequorea.puncta.threshold import common_threshold, noise_maxima
from aequorea.simulate.puncta import render_puncta

CASES = (
    ((256, 256), (1.2, 1.2), (20, 200)),
    ((384, 384), (1.6, 1.6), (100, 400)),
    ((20, 96, 96), (1.2, 1.2, 1.2), (20, 150)),
    ((16, 96, 96), (1.75, 1.5, 1.5), (30, 100)),
)
ONE_RUN = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from aequorea.puncta.detection import find_candidates, select
from aequorea.puncta.threshold import common_threshold, noise_maxima
path, method, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
sigma = (1.5, 1.2, 1.2)
image = np.load(path)
noise = noise_maxima(sigma, method)
find_candidates(np.ascontiguousarray(image[:, :64, :64]), sigma_px=sigma, method=method)
before = peak_mb()
finding, choosing, cpu = [], [], []
for _ in range(repeats):
    start, busy = time.perf_counter(), time.process_time()
    found = find_candidates(image, sigma_px=sigma, method=method)
    cpu.append(time.process_time() - busy)
    finding.append(time.perf_counter() - start)
    level = common_threshold([found.height], noise=noise)
    puncta = select(found, level.value)
    choosing.append(time.perf_counter() - start - finding[-1])
np.save(path + ".found.npy", puncta.coordinates_px)
row = {"find": min(finding), "choose": min(choosing), "cpu": min(cpu), "peak_mb": peak_mb()}
print(json.dumps(row | {"before_mb": before, "n_candidates": len(found)}))
"""


def peak_mb() -> float:
    """Largest resident memory of this process (ru_maxrss would start at the parent's)."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def places_apart(shape, sigma, n: int, rng: np.random.Generator) -> np.ndarray:
    tried = rng.uniform(-0.5, np.array(shape) - 0.5, (4 * n + 50, len(shape)))
    near = cKDTree(tried / np.array(sigma)).query_ball_point(tried / np.array(sigma), 4.0)
    kept = np.zeros(len(tried), bool)
    for k, others in enumerate(near):
        kept[k] = not kept[others].any()
    return tried[kept][:n]


def spots(shape, sigma, n: int, snr: float, background: float, seed: int):
    rng = np.random.default_rng(seed)
    places = places_apart(shape, sigma, n, rng)
    lone = np.zeros((25,) * len(shape), np.float32)
    render_puncta(lone, [[12] * len(shape)], [1.0], sigma)
    light = np.full(shape, background, np.float32)
    photons = np.full(len(places), snr * np.sqrt(background) / lone.max())
    render_puncta(light, places, photons, sigma)
    return rng.poisson(light).astype(np.uint16) + np.uint16(100), places


def scores(places: np.ndarray, found: np.ndarray, sigma) -> tuple[float, float, float]:
    """Recall, precision, F1."""
    width = np.array(sigma)
    pairs = cKDTree(places / width).sparse_distance_matrix(
        cKDTree(found / width), 1.0, output_type="coo_matrix"
    )
    hits = 0
    if pairs.nnz:
        near = coo_array((2 - pairs.data, (pairs.row, pairs.col)), shape=pairs.shape)
        hits = matched(near)
    recall, precision = hits / max(len(places), 1), hits / max(len(found), 1)
    return recall, precision, 2 * hits / max(len(places) + len(found), 1)


def matched(near: coo_array) -> int:
    if max(near.shape) > 3000:  # far apart in the large volume: nearest is enough
        return min(len(np.unique(near.row)), len(np.unique(near.col)))
    gain = near.toarray()
    rows, columns = linear_sum_assignment(-gain)
    return int(np.count_nonzero(gain[rows, columns]))


def accuracy(seeds: int, method: str) -> None:
    print(f"F1 of {seeds} seeds (recall, false puncta) at an SNR of")
    print(f"{'image':34} {'photons':>7} {'n':>4} " + "".join(f"{s:>20}" for s in (3, 4, 5, 6, 8)))
    for shape, sigma, numbers in CASES:
        noise = noise_maxima(sigma, method)
        for background in (3.0, 20.0, 100.0):
            for n in numbers:
                cells = []
                for snr in (3, 4, 5, 6, 8):
                    rows = []
                    for seed in range(seeds):
                        image, places = spots(shape, sigma, n, snr, background, seed)
                        found = find_candidates(image, sigma_px=sigma, method=method)
                        level = common_threshold([found.height], noise=noise)
                        at = select(found, level.value).coordinates_px
                        recall, precision, f1 = scores(places, at, sigma)
                        rows.append((f1, recall, len(at) * (1 - precision)))
                    f1, recall, false = np.mean(rows, axis=0)
                    cells.append(f"{f1:8.3f} ({recall:.2f}, {false:3.1f})")
                name = f"{'x'.join(map(str, shape))}, SD {', '.join(map(str, sigma))}"
                print(f"{name:34} {background:7.0f} {n:4d} " + "".join(cells), flush=True)
        empty = []
        for seed in range(2 * seeds):
            image, _ = spots(shape, sigma, 0, 1.0, (3.0, 20.0)[seed % 2], 1000 + seed)
            found = find_candidates(image, sigma_px=sigma, method=method)
            level = common_threshold([found.height], noise=noise)
            said = any("no more maxima" in note for note in level.notes)
            empty.append((level.n_above[0], said))
        few, said_so = np.mean(empty, axis=0)
        print(f"{'   without spots':34} found {few:.2f} per image, said so in {said_so:.0%}")


def speed(repeats: int, method: str) -> None:
    sigma, shape, n = (1.5, 1.2, 1.2), (64, 1024, 1024), 5000
    image, places = spots(shape, sigma, n, 8.0, 20.0, 0)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/image.npy"
        np.save(path, image)
        code = inspect.getsource(peak_mb) + ONE_RUN
        done = subprocess.run(
            [sys.executable, "-c", code, path, method, str(repeats)],
            check=True,
            capture_output=True,
            text=True,
        )
        row = json.loads(done.stdout)
        recall, precision, f1 = scores(places, np.load(path + ".found.npy"), sigma)
    print(f"\n64 x 1024 x 1024 uint16, {n} puncta of SNR 8, {method}")
    print(
        f"candidates {row['find']:.2f} s ({row['cpu']:.2f} s of processor, {row['n_candidates']})"
    )
    print(f"threshold and selection {row['choose']:.2f} s")
    print(
        f"peak {row['peak_mb']:.0f} MB, {row['peak_mb'] - row['before_mb']:.0f} above the loaded "
        f"image; a float32 volume is {image.size * 4 / 2**20:.0f}"
    )
    print(f"recall {recall:.3f}, precision {precision:.3f}, F1 {f1:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--method", choices=("log", "dog"), default="log")
    parser.add_argument("--only", choices=("accuracy", "speed"))
    options = parser.parse_args()
    if options.only in (None, "speed"):
        speed(options.repeats, options.method)
    if options.only in (None, "accuracy"):
        accuracy(options.seeds, options.method)


if __name__ == "__main__":
    main()
