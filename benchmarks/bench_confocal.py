"""A whole confocal stack: seconds and memory from pixels to distances, against a plain recipe.

The recipe is what scipy and scikit-image suggest: median, Gaussian, threshold, morphology,
watershed, regionprops, distance transforms, nearest neighbours. Both start from mapped files; each
way runs in a process of its own. Memory is the peak above what the process holds before the work,
told twice: what it allocated (anonymous and shared pages, so beyond the input, which is read
lazily), and everything resident, pages of the mapped input included. Linux only.
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

from aequorea.simulate import PunctaLaw, simulated_confocal

SPACING = (0.3, 0.1, 0.1)
PSF_UM = (0.35, 0.12)


def scene(shape: tuple[int, int, int], n_cells: int, per_cell: float, folder: Path) -> None:
    """Write the three channels of a stack, and the truth about its puncta."""
    stack = simulated_confocal(
        shape,
        spacing_um=SPACING,
        n_cells=n_cells,
        cell_diameter_um=13,
        nucleus_diameter_um=7,
        puncta={"mRNA": PunctaLaw(per_cell=per_cell, nuclear=per_cell / 20)},
        rng=1,
    )
    for name in ("nuclei", "cells", "mRNA"):
        np.save(folder / f"{name}.npy", stack.images[name])
    np.save(folder / "truth.npy", stack.puncta["mRNA"].position_um)


def ours(folder: Path) -> tuple[np.ndarray, int]:
    """Nuclei, cells, puncta with subpixel positions, distances to the own nucleus."""
    from aequorea.filters import repair_hot_pixels
    from aequorea.pipelines.confocal.anatomy import Anatomy, geometry_of_cells
    from aequorea.pipelines.confocal.detection import (
        chosen_threshold,
        find_all,
        found_puncta,
        read_candidates,
        read_facts,
        read_heights,
        write_candidates,
    )
    from aequorea.pipelines.confocal.parameters import PunctaChannelParameters
    from aequorea.pipelines.kept_pixels import smallest_unsigned
    from aequorea.segmentation.compartments import segment_bodies, segment_nuclei

    image = {n: np.load(folder / f"{n}.npy", mmap_mode="r") for n in ("nuclei", "cells", "mRNA")}
    options = PunctaChannelParameters(spot_sigma_z_um=PSF_UM[0], spot_sigma_yx_um=PSF_UM[1])
    nuclei = smallest_unsigned(
        segment_nuclei(repair_hot_pixels(np.asarray(image["nuclei"]))[0], spacing_um=SPACING).labels
    )
    cells = smallest_unsigned(
        segment_bodies(
            repair_hot_pixels(np.asarray(image["cells"]))[0], nuclei, spacing_um=SPACING
        ).labels
    )
    anatomy = Anatomy(cells, nuclei, SPACING)
    geometry_of_cells(anatomy)
    pixels = np.asarray(image["mRNA"])
    with tempfile.TemporaryDirectory() as kept:
        write_candidates(find_all(pixels, options, SPACING), Path(kept), "puncta")
        facts = read_facts(Path(kept), "puncta")
        threshold = chosen_threshold([read_heights(Path(kept), "puncta")], facts, options).value
        candidates = read_candidates(Path(kept), "puncta")
    puncta, _ = found_puncta(pixels, candidates, facts, threshold, options, anatomy)
    return puncta[["z_um", "y_um", "x_um"]].to_numpy(float), int(nuclei.max())


def recipe(folder: Path) -> tuple[np.ndarray, int]:
    """The same questions, asked of scipy and scikit-image."""
    from scipy import ndimage
    from scipy.spatial import cKDTree
    from skimage.feature import peak_local_max
    from skimage.filters import threshold_otsu
    from skimage.measure import regionprops_table
    from skimage.segmentation import watershed

    dna = np.load(folder / "nuclei.npy").astype(np.float32)
    smooth = ndimage.gaussian_filter(ndimage.median_filter(dna, 3), 2)
    mask = ndimage.binary_fill_holes(smooth > threshold_otsu(smooth[::2, ::2, ::2]))
    mask = ndimage.binary_opening(mask, iterations=2)
    distance = ndimage.distance_transform_edt(mask, sampling=SPACING)
    seeds, _ = ndimage.label(ndimage.gaussian_filter(distance, 5) > 1.5)
    nuclei = watershed(-distance, seeds, mask=mask)
    spots = np.load(folder / "mRNA.npy").astype(np.float32)
    flat = spots - ndimage.gaussian_filter(spots, 10)
    fine = ndimage.gaussian_filter(flat, 1)
    noise = 1.4826 * np.median(np.abs(fine[::2, ::4, ::4]))
    peaks = peak_local_max(fine, min_distance=2, threshold_abs=6 * noise, exclude_border=False)
    regionprops_table(nuclei, dna, properties=("label", "area", "centroid", "mean_intensity"))
    away, _ = ndimage.distance_transform_edt(nuclei == 0, sampling=SPACING, return_indices=True)
    away[tuple(peaks.T)]
    points = peaks * np.array(SPACING)
    cKDTree(points).query(points, k=2)
    return points, int(nuclei.max())


def score(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Recall and precision of positions, matched within one SD of the point-spread function."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial import cKDTree

    scale = np.array([PSF_UM[0], PSF_UM[1], PSF_UM[1]])
    near = cKDTree(found / scale).sparse_distance_matrix(
        cKDTree(truth / scale), 1.5, output_type="coo_matrix"
    )
    rows, columns = np.unique(near.row), np.unique(near.col)
    cost = np.full((len(rows), len(columns)), 1e3)
    cost[np.searchsorted(rows, near.row), np.searchsorted(columns, near.col)] = near.data
    at = linear_sum_assignment(cost)
    hits = int((cost[at] < 1e3).sum())
    return hits / len(truth), hits / max(len(found), 1)


def resident_mb(pid: int) -> tuple[float, float] | None:
    """MB a process has allocated, and MB resident with mapped files; None once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
    if not sizes:
        return None
    return (sizes["RssAnon"] + sizes["RssShmem"]) / 1024, sum(sizes.values()) / 1024


def measured(way: str, folder: Path) -> dict[str, float]:
    """One way in a process of its own: seconds, peak memory, what it found."""
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    seen = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            sizes = resident_mb(process.pid)
            if sizes is not None:
                seen.append((time.monotonic(), *sizes))
            time.sleep(0.005)
        text = process.stdout.read()
    facts = json.loads(text.splitlines()[-1])
    when, *sizes = np.array(seen).T
    before = np.flatnonzero(when <= facts["start"])[-1]
    during = (when >= facts["start"]) & (when <= facts["end"])
    allocated, resident = (float(s[during].max() - s[before]) for s in sizes)
    return facts | {"allocated_mb": allocated, "resident_mb": resident}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="64,1024,1024")
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--per-cell", type=float, default=250)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--skip-recipe", action="store_true")
    parser.add_argument("--way", choices=("ours", "recipe", "scene"))
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.way == "scene":
        shape = tuple(int(n) for n in options.shape.split(","))
        scene(shape, options.cells, options.per_cell, options.folder)
        return
    if options.way:
        work = {"ours": ours, "recipe": recipe}[options.way]
        if options.way == "ours":  # compile before the clock starts, on a small scene
            with tempfile.TemporaryDirectory() as small:
                scene((24, 224, 224), 1, 5, Path(small))
                work(Path(small))
        start, processor = time.monotonic(), time.process_time()
        found, n_nuclei = work(options.folder)
        end, processor = time.monotonic(), time.process_time() - processor
        recall, precision = score(found, np.load(options.folder / "truth.npy"))
        facts = {"start": start, "end": end, "processor": processor, "nuclei": n_nuclei}
        print(json.dumps(facts | {"recall": recall, "precision": precision}))
        return
    shape = tuple(int(n) for n in options.shape.split(","))
    with tempfile.TemporaryDirectory() as folder:
        given = ["--shape", options.shape, "--cells", str(options.cells)]
        given += ["--per-cell", str(options.per_cell), "--folder", folder, "--way", "scene"]
        subprocess.run([sys.executable, __file__, *given], check=True)
        channel_mb = np.prod(shape) * 4 / 2**20
        ways = ["ours"] if options.skip_recipe else ["ours", "recipe"]
        # In turns: a machine that is slower for a while is so for both.
        runs = [(way, measured(way, Path(folder))) for _ in range(options.repeats) for way in ways]
        for way in ways:
            best = min((r for w, r in runs if w == way), key=lambda r: r["end"] - r["start"])
            print(
                f"{way:8} {best['end'] - best['start']:7.1f} s ({best['processor']:.1f} s of "
                f"processor)  peak beyond the input {best['allocated_mb']:6.0f} MB "
                f"({best['allocated_mb'] / channel_mb:.1f} float32 channels), with it "
                f"{best['resident_mb']:6.0f} MB ({best['resident_mb'] / channel_mb:.1f})  "
                f"nuclei {best['nuclei']}  recall {best['recall']:.3f}  "
                f"precision {best['precision']:.3f}"
            )


if __name__ == "__main__":
    main()
