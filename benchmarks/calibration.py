"""False-positive rates and power of the colocalization nulls, over thousands of fixed seeds.

    python benchmarks/calibration.py --out benchmarks/results/calibration.csv

A rate passes if its 99 % binomial interval contains the nominal level, or lies below it where
too few independent shifts fit into the region for the p-value to be continuous.
"""

from __future__ import annotations

import argparse
import csv
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, stats

from aequorea.colocalization.significance import significance

if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS = (0.05, 0.01)


@dataclass(frozen=True)
class Scene:
    """Two channels, the region, and landmarks if the user would have them."""

    a: np.ndarray
    b: np.ndarray
    mask: np.ndarray | None = None
    landmarks: np.ndarray | None = None


def field(rng: np.random.Generator, shape: tuple[int, ...], sigma: tuple[float, ...] | float):
    """Smooth Gaussian noise of unit variance, free of boundary effects."""
    sigmas = np.broadcast_to(np.asarray(sigma, float), (len(shape),))
    margin = np.ceil(4 * sigmas).astype(int)
    noise = rng.standard_normal([n + 2 * m for n, m in zip(shape, margin, strict=True)])
    smooth = ndimage.gaussian_filter(noise, sigmas)
    inner = smooth[tuple(slice(m, m + n) for n, m in zip(shape, margin, strict=True))]
    norm = np.prod([np.sqrt(2 * np.sqrt(np.pi) * s) if s > 0.5 else 1.0 for s in sigmas])
    return inner * norm


def stain(rng: np.random.Generator, base: np.ndarray, sigma, *, photons: float = 100):
    """Log-normal texture on an expected brightness, with background and shot noise."""
    texture = np.exp(0.5 * field(rng, base.shape, sigma))
    return rng.poisson(photons * base * texture + 10).astype(np.float64)


def ellipse(shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]):
    """Pixels inside an ellipse given by fractions of the image size."""
    y, x = np.mgrid[: shape[0], : shape[1]] / np.array(shape)[:, None, None]
    return ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1


def white(rng):
    return Scene(*rng.standard_normal((2, 128, 128)))


def many_pixels(rng):
    """More independent pixels than the correction for the fit asks for."""
    return Scene(*rng.standard_normal((2, 192, 192)))


def smooth(rng, sigma=4.0):
    return Scene(field(rng, (128, 128), sigma), field(rng, (128, 128), sigma))


def masked_cell(rng, sigma=2.0):
    cell = ellipse((160, 160), (0.5, 0.5), (0.42, 0.36))
    return Scene(stain(rng, cell, sigma), stain(rng, cell, sigma), cell)


def cut_cell(rng, sigma=2.0):
    """A cell that the border of the image cuts: its blurred rim is shared by both stains."""
    cell = ellipse((160, 160), (0.5, 0.15), (0.42, 0.36))
    rim = ndimage.gaussian_filter(cell.astype(float), 1.5)
    return Scene(stain(rng, rim, sigma), stain(rng, rim, sigma), cell)


def nucleated(rng, kind, sigma=2.0):
    cell = ellipse((160, 160), (0.5, 0.5), (0.42, 0.36))
    nucleus = ellipse((160, 160), (0.52, 0.48), (0.13, 0.13))
    away = ndimage.distance_transform_edt(~nucleus)
    if kind == "perinuclear":
        base = np.exp(-away / 14) + 0.1
    else:
        base = ndimage.gaussian_filter((~nucleus).astype(float), 1.5) * 0.9 + 0.1
    return Scene(stain(rng, base * cell, sigma), stain(rng, base * cell, sigma), cell, nucleus)


def perinuclear(rng, sigma=2.0):
    return nucleated(rng, "perinuclear", sigma)


def perinuclear_unmarked(rng):
    """The same gradient, but nobody segmented the nucleus."""
    scene = nucleated(rng, "perinuclear")
    return Scene(scene.a, scene.b, scene.mask)


def exclusion(rng, sigma=2.0):
    return nucleated(rng, "exclusion", sigma)


def attenuation(rng, sigma=1.5):
    shape = (12, 96, 96)
    cell = np.broadcast_to(ellipse(shape[1:], (0.5, 0.5), (0.44, 0.44)), shape).copy()
    base = cell * np.exp(-np.arange(12) / 5)[:, None, None]
    sigmas = (0.7, sigma, sigma)
    return Scene(stain(rng, base, sigmas), stain(rng, base, sigmas), cell)


def illumination(rng, sigma=2.0):
    y, x = np.mgrid[:160, :160] / 160
    base = np.exp(-((y - 0.3) ** 2 + (x - 0.6) ** 2) / (2 * 0.35**2))
    return Scene(stain(rng, base, sigma), stain(rng, base, sigma))


def puncta(rng, sigma=1.5):
    """Independent spots, both denser around the nucleus."""
    cell = ellipse((160, 160), (0.5, 0.5), (0.42, 0.36))
    nucleus = ellipse((160, 160), (0.52, 0.48), (0.13, 0.13))
    density = np.exp(-ndimage.distance_transform_edt(~nucleus) / 20) * cell
    density *= 150 / density.sum()

    def channel():
        spots = rng.poisson(density) * rng.lognormal(0, 0.5, density.shape)
        return rng.poisson(ndimage.gaussian_filter(spots, sigma) * 400 + 10).astype(float)

    return Scene(channel(), channel(), cell, nucleus)


def shared(rng, sigma=2.0, fraction=0.3):
    """Two fields that share a fraction of their variance, in a quarter of 256 × 256 px."""
    common, u, v = (field(rng, (256, 256), sigma) for _ in range(3))
    mask = np.zeros((256, 256), bool)
    mask[64:192, 64:192] = True
    mix = [np.sqrt(fraction) * common + np.sqrt(1 - fraction) * own for own in (u, v)]
    return Scene(*mix, mask)


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    scene: Callable[[np.random.Generator], Scene]
    null: str
    kind: str = "false positives"
    metric: str = "pcc"
    n_shifts: int = 999


CASES = (
    Case("white noise, whole image", white, "stationary"),
    Case("smooth fields (sigma 4 px), whole image", smooth, "stationary"),
    Case("smooth fields (sigma 4 px), random phases", smooth, "phase", n_shifts=199),
    Case("smooth fields (sigma 2 px) in a quarter", partial(shared, fraction=0.0), "stationary"),
    Case("cell on dark background, masked", masked_cell, "stationary"),
    Case("cell on dark background, masked, Spearman", masked_cell, "stationary", metric="srcc"),
    Case("cell on dark background, masked, Manders", masked_cell, "stationary", metric="m1"),
    Case("cell on dark background, masked", masked_cell, "profile"),
    Case("white noise, many pixels", many_pixels, "profile"),
    Case("perinuclear gradient", perinuclear, "profile"),
    Case("perinuclear gradient, coarse texture", partial(perinuclear, sigma=4.0), "profile"),
    Case("perinuclear gradient, Manders", perinuclear, "profile", metric="m1"),
    Case("perinuclear gradient, nucleus not given", perinuclear_unmarked, "profile"),
    Case("perinuclear puncta", puncta, "profile"),
    Case("nuclear exclusion", exclusion, "profile"),
    Case("attenuation with depth (3D)", attenuation, "profile"),
    Case("uneven illumination, whole image", illumination, "profile"),
    Case("cell cut by the image border", cut_cell, "profile"),
    Case("perinuclear gradient", perinuclear, "stationary", kind="misuse"),
    Case(
        "sigma 2 px sharing 30 % of variance", partial(shared, fraction=0.3), "stationary", "power"
    ),
    Case(
        "sigma 2 px sharing 10 % of variance", partial(shared, fraction=0.1), "stationary", "power"
    ),
    Case(
        "sigma 4 px sharing 30 % of variance",
        partial(shared, sigma=4.0, fraction=0.3),
        "stationary",
        "power",
    ),
    Case(
        "sigma 4 px sharing 10 % of variance",
        partial(shared, sigma=4.0, fraction=0.1),
        "stationary",
        "power",
    ),
    Case("sigma 2 px sharing 30 % of variance", partial(shared, fraction=0.3), "profile", "power"),
    Case("sigma 2 px sharing 10 % of variance", partial(shared, fraction=0.1), "profile", "power"),
)


def run_one(case: Case, seed: int) -> tuple[float, float, float, float]:
    """P-value, its floor, z and the number of independent null values for one seed."""
    scene = case.scene(np.random.default_rng(seed))
    threshold = float(np.quantile(scene.b[scene.mask], 0.8)) if case.metric == "m1" else None
    result = significance(
        scene.a,
        scene.b,
        mask=scene.mask,
        landmarks=scene.landmarks,
        null=case.null,
        metric=case.metric,
        threshold_b=threshold,
        n_shifts=case.n_shifts,
        seed=seed,
    )
    return result.p_value, result.p_floor, result.z_score, result.n_independent


def summarise(case: Case, results: np.ndarray, seconds: float) -> dict[str, object]:
    """Rates with their 99 % binomial intervals, and the verdict."""
    p, floor, z, independent = results.T
    tested = np.isfinite(p)
    row: dict[str, object] = {
        "case": case.name,
        "null": case.null,
        "metric": case.metric,
        "kind": case.kind,
        "seeds": len(p),
        "refused": int((~tested).sum()),
        "independent_shifts": round(float(np.nanmedian(independent)), 1),
        "z_sd": round(float(np.nanstd(z)), 3),
    }
    ok = True
    for level in LEVELS:
        hits = int((p[tested] <= level).sum())
        low, high = stats.binomtest(hits, max(1, int(tested.sum()))).proportion_ci(0.99)
        discrete = np.nanmedian(floor) > level / 5
        ok &= low <= level and (high >= level or discrete)
        row |= {
            f"rate_{level}": round(hits / max(1, tested.sum()), 4),
            f"low_{level}": round(low, 4),
            f"high_{level}": round(high, 4),
            f"discrete_{level}": bool(discrete),
        }
    row["holds"] = bool(ok) if case.kind == "false positives" else ""
    row["ms_per_test"] = round(1000 * seconds / len(p), 1)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="run cases whose name or kind contains this")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = []
    with ProcessPoolExecutor(arguments.workers) as pool:
        for case in CASES:
            if arguments.only not in f"{case.name} {case.null} {case.kind}":
                continue
            start = time.perf_counter()
            jobs = pool.map(partial(run_one, case), range(arguments.seeds), chunksize=20)
            rows.append(summarise(case, np.array(list(jobs)), time.perf_counter() - start))
            print(
                {k: v for k, v in rows[-1].items() if not k.startswith(("low", "high"))}, flush=True
            )
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        with arguments.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
