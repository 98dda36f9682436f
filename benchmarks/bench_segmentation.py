"""The watershed: how well it finds known nuclei, how fast, and in how much memory.

Agreement is F1 at an intersection over union of 0.5, with default options and nothing but the
image. Real images are read from the folder named by AEQUOREA_TEST_DATA; without it only simulated
nuclei are segmented. Times are the best of ``--repeats`` after a warm-up; memory is the peak of a
process that does nothing else, everything included. The volume is a quarter simulated and tiled.
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

from aequorea.segmentation import match_labels, threshold_segmentation, watershed_segmentation
from aequorea.simulate import simulated_nuclei

ONE_RUN = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from aequorea.blocks.labels import label_blocks
from aequorea.segmentation import threshold_segmentation, watershed_segmentation
path, method, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
image = np.load(path, mmap_mode="r" if method == "blocks" else None)
run = {
    "watershed": lambda: watershed_segmentation(image),
    "otsu": lambda: threshold_segmentation(image, "otsu"),
    "blocks": lambda: label_blocks(image),
}[method]
corner = np.ascontiguousarray(image[..., :64, :64])
watershed_segmentation(corner), threshold_segmentation(corner), label_blocks(corner)
seconds, found = [], None
for _ in range(repeats):
    del found
    start = time.perf_counter()
    found = run()
    seconds.append(time.perf_counter() - start)
peak = peak_mb()
np.save(path + ".labels.npy", found.labels)
print(json.dumps({"seconds": min(seconds), "peak_mb": peak, "n": found.n_objects}))
"""
HARD = {
    "crowded": {"touching_fraction": 0.8, "cluster_size": 4},
    "dim": {"photons": 30.0},
    "uneven, specks": {"illumination_gradient": 0.4, "brightness_cv": 0.4, "n_debris": 20},
}


def peak_mb() -> float:
    """Largest resident memory of this process (ru_maxrss would start at the parent's)."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def agreement(seeds: int) -> None:
    print(f"{'image':34} {'n true':>7} {'n found':>8} {'F1 mean':>8} {'F1 min':>7} {'IoU':>5}")
    for diameter in (8, 12, 18, 30, 60):
        for name, extra in {"normal": {}, **HARD}.items():
            rows = []
            for seed in range(seeds):
                nuclei = simulated_nuclei(
                    (14 * diameter, 14 * diameter), n=40, diameter_px=diameter, rng=seed, **extra
                )
                rows.append(compare(nuclei.labels, nuclei.image))
            show(f"2D, {diameter} px, {name}", rows)
    for diameter, step in ((8, 1.0), (12, 1.0), (16, 2.0), (20, 3.3)):
        for name in ("normal", "crowded"):
            rows = []
            for seed in range(seeds):
                nuclei = simulated_nuclei(
                    (int(4 * diameter / step), 8 * diameter, 8 * diameter),
                    n=40,
                    diameter_px=diameter,
                    spacing_um=(step, 1, 1),
                    rng=seed,
                    **({} if name == "normal" else HARD["crowded"] | {"cluster_size": 3}),
                )
                rows.append(compare(nuclei.labels, nuclei.image))
            show(f"3D, {diameter} px, planes {step} px, {name}", rows)


def real_images() -> None:
    root = os.environ.get("AEQUOREA_TEST_DATA")
    if not root:
        return
    import tifffile

    folder = Path(root) / "stardist-2d3d"
    for image, truth in (("tests_img2d", "tests_mask2d"), ("img3d", "mask3d")):
        pixels, labels = (tifffile.imread(folder / f"{name}.tif") for name in (image, truth))
        show(f"stardist {image}", [compare(labels, pixels)])
    others = [*sorted((Path(root) / "bian-nuclei/BBBC007_batch").glob("*.tif"))]
    others += [*sorted((Path(root) / "cellprofiler-examples/ExampleHuman").glob("*d0.tif"))]
    for path in others:
        found = watershed_segmentation(tifffile.imread(path))
        print(f"{path.name:34} {'':7} {found.n_objects:8d}")


def compare(truth: np.ndarray, image: np.ndarray) -> tuple[int, int, float, float]:
    found = match_labels(truth, watershed_segmentation(image).labels)
    return found.n_true, found.n_predicted, found.f1, found.mean_matched_iou


def show(name: str, rows: list[tuple[int, int, float, float]]) -> None:
    n_true, n_found, f1, iou = (np.array(column) for column in zip(*rows, strict=True))
    print(
        f"{name:34} {n_true.sum():7d} {n_found.sum():8d} {f1.mean():8.3f} {f1.min():7.3f} "
        f"{iou.mean():5.2f}",
        flush=True,
    )


def speed(repeats: int, *, small: bool) -> None:
    plane = simulated_nuclei((2048, 2048), n=2000, rng=3)
    cases = [("2048 x 2048, 2000 nuclei", plane.image, plane.labels)]
    if not small:
        quarter = simulated_nuclei(
            (64, 512, 512), n=125, diameter_px=36, spacing_um=(2, 1, 1), rng=3
        )
        labels = np.block(
            [
                [np.where(quarter.labels, quarter.labels + 125 * (2 * i + j), 0) for j in (0, 1)]
                for i in (0, 1)
            ]
        )
        cases.append(("64 x 1024 x 1024, 500 nuclei", np.tile(quarter.image, (1, 2, 2)), labels))
    print(f"\n{'image':30} {'method':>10} {'s':>7} {'peak MB':>8} {'x float32':>9} {'F1':>6}")
    for name, image, truth in cases:
        for method in ("watershed", "blocks", "otsu"):
            for dtype in ("uint16", "float32") if method == "watershed" else ("uint16",):
                row, labels = one_run(image.astype(dtype), method, repeats)
                size = image.size * 4 / 2**20
                print(
                    f"{name:30} {method:>10} {row['seconds']:7.2f} {row['peak_mb']:8.0f} "
                    f"{row['peak_mb'] / size:9.1f} {match_labels(truth, labels).f1:6.3f}  {dtype}",
                    flush=True,
                )


def one_run(image: np.ndarray, method: str, repeats: int) -> tuple[dict[str, float], np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/image.npy"
        np.save(path, image)
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                inspect.getsource(peak_mb) + ONE_RUN,
                path,
                method,
                str(repeats),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        return json.loads(done.stdout), np.load(path + ".labels.npy")


def thresholds() -> None:
    nuclei = simulated_nuclei((512, 512), n=120, touching_fraction=0, rng=1)
    print(f"\n{'threshold method':20} {'threshold':>10} {'n':>5} {'F1':>6}   (120 nuclei apart)")
    for method in ("otsu", "li", "percentile"):
        start = time.perf_counter()
        found = threshold_segmentation(nuclei.image, method)
        seconds = time.perf_counter() - start
        f1 = match_labels(nuclei.labels, found.labels).f1
        level = found.facts["threshold"]
        print(f"{method:20} {level:10.1f} {found.n_objects:5d} {f1:6.3f}   {seconds:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="without the large volume")
    parser.add_argument("--only", choices=("agreement", "speed", "thresholds"))
    options = parser.parse_args()
    if options.only in (None, "agreement"):
        agreement(options.seeds)
        real_images()
    if options.only in (None, "thresholds"):
        thresholds()
    if options.only in (None, "speed"):
        speed(options.repeats, small=options.small)


if __name__ == "__main__":
    main()
