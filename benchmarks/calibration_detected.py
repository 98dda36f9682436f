"""How near two spots are seen as two, and whether chance holds for puncta that were detected.

    python benchmarks/calibration_detected.py

Spots at random in an even room, drawn with their blur and noise, are detected and fitted as by the
confocal workflow, and held against random points as its step ``chance`` does: with the distance
below which detection takes two for one, gradually (as the workflow) or from one distance on, and
without. ``filled`` is the share of the room that puncta as near as that would fill. Written to
``results/calibration_detected.csv``; how often a pair is seen as two to
``results/resolved_pairs.csv``.
"""

from __future__ import annotations

import argparse
import csv
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from aequorea.puncta.detection import find_candidates, select
from aequorea.puncta.fit import fit_puncta
from aequorea.puncta.threshold import common_threshold, noise_maxima
from aequorea.simulate import render_puncta
from aequorea.spatial.randomness import csr_test
from aequorea.spatial.window import SetCovariance, set_covariance

SHAPE, SPACING_UM = (18, 100, 100), np.array([0.3, 0.1, 0.1])
PSF_UM = np.array([0.35, 0.12, 0.12])
SIGMA_PX = tuple(PSF_UM / SPACING_UM)
GLOW, READ_NOISE = 10.0, 1.5
SPOTS = {"bright and even": (900.0, 0.25), "dim and uneven": (300.0, 0.5)}  # photons, CV
APART_SD, SPREAD = 3.0, 0.1  # null_hard_core_sd, null_hard_core_spread
ROOM = (slice(2, -2), slice(8, -8), slice(8, -8))
FILLED = (0.02, 0.05, 0.08, 0.12)
SEPARATIONS_SD = (2.0, 2.4, 2.6, 2.8, 2.95, 3.1, 3.3, 3.6, 4.0)


def image_of(position_px: np.ndarray, spots: str, rng: np.random.Generator) -> np.ndarray:
    """What a camera sees of spots of log-normal brightness."""
    light = np.full(SHAPE, GLOW, np.float32)
    mean, cv = SPOTS[spots]
    width = np.sqrt(np.log1p(cv**2))
    photons = mean * rng.lognormal(-(width**2) / 2, width, len(position_px))
    render_puncta(light, position_px, photons, SIGMA_PX)
    return rng.poisson(light) + rng.normal(100, READ_NOISE, SHAPE)


def detected(image: np.ndarray) -> np.ndarray:
    """Positions in px, as the workflow finds them."""
    candidates = find_candidates(image, sigma_px=SIGMA_PX)
    curve = common_threshold([candidates.height], noise=noise_maxima(SIGMA_PX))
    chosen = select(candidates, max(curve.value, 2.5))
    return fit_puncta(image, chosen.coordinates_px, sigma_px=SIGMA_PX).position_px


@cache
def room() -> tuple[np.ndarray, np.ndarray, SetCovariance]:
    """Where puncta count, the depth of its voxels, and its set covariance."""
    mask = np.zeros(SHAPE, bool)
    mask[ROOM] = True
    depth = np.arange(SHAPE[0])[:, None, None] * SPACING_UM[0] * np.ones(SHAPE)
    return mask, depth, set_covariance(mask, SPACING_UM)


def p_values(spots: str, n_true: int, seed: int, nulls: dict[str, dict[str, Any]]) -> list[float]:
    """Share of the room filled by what is found, and p under each null."""
    rng = np.random.default_rng([seed, n_true])
    found = detected(image_of(rng.uniform(0, np.array(SHAPE) - 1, (n_true, 3)), spots, rng))
    mask, depth, covariance = room()
    inside = mask[tuple(np.clip(np.rint(found).astype(int), 0, np.array(SHAPE) - 1).T)]
    points = found[inside] * SPACING_UM
    volume = np.count_nonzero(mask) * SPACING_UM.prod()
    filled = len(points) * 4 / 3 * np.pi * (APART_SD * PSF_UM).prod() / 8 / volume
    return [filled] + [
        csr_test(
            points, mask, SPACING_UM, depth, rng=rng, covariance=covariance,
            n_simulations=99, **null,
        ).p_value
        for null in nulls.values()
    ]  # fmt: skip


def number_for(filled: float) -> int:
    """Spots in the image for so full a room, if none merged."""
    volume = float(np.prod(SHAPE) * SPACING_UM.prod())
    return round(filled * volume * 8 / (4 / 3 * np.pi * (APART_SD * PSF_UM).prod()))


def seen_as_two(spots: str, separation_sd: float, seed: int) -> bool:
    """Whether a pair of spots so far apart, in any direction, gives two puncta."""
    rng = np.random.default_rng([seed, round(100 * separation_sd)])
    way = rng.normal(size=3)
    middle = np.array(SHAPE) / 2 + rng.uniform(-0.5, 0.5, 3)
    half = separation_sd / 2 * way / np.linalg.norm(way) * SIGMA_PX
    found = detected(image_of(np.array([middle - half, middle + half]), spots, rng))
    near = np.linalg.norm((found - middle) / SIGMA_PX, axis=1) < separation_sd / 2 + 2.5
    return np.count_nonzero(near) >= 2


def write_pairs(path: Path, n: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["spots", "separation_sd", "n_pairs", "seen_as_two"])
        for spots in SPOTS:
            for separation in SEPARATIONS_SD:
                share = np.mean([seen_as_two(spots, separation, seed) for seed in range(n)])
                line = [spots, separation, n, round(float(share), 3)]
                table.writerow(line)
                print(*line, flush=True)


def write_rates(path: Path, n: int, n_compared: int) -> None:
    apart = APART_SD * PSF_UM
    nulls: dict[str, dict[str, Any]] = {
        "apart, gradually": {"hard_core_um": apart, "hard_core_spread": SPREAD},
        "apart, sharply": {"hard_core_um": apart},
        "anywhere": {},
    }
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["spots", "filled", "null", "n", "alpha", "rate", "low99", "high99"])
        for spots, filled in product(SPOTS, FILLED):
            for size, names in ((n, list(nulls)[:1]), (n_compared, list(nulls)[1:])):
                chosen = {name: nulls[name] for name in names}
                n_true = number_for(filled)
                rows = [p_values(spots, n_true, seed, chosen) for seed in range(size)]
                share, *p = np.array(rows).T
                for name, values in zip(names, p, strict=True):
                    k = int(np.count_nonzero(values <= 0.05))
                    low, high = stats.binomtest(k, size).proportion_ci(0.99)
                    line = [spots, round(float(share.mean()), 3), name, size, 0.05,
                            round(k / size, 4), round(low, 4), round(high, 4)]  # fmt: skip
                    table.writerow(line)
                    file.flush()
                    print(*line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--compared", type=int, default=100, help="of the nulls for comparison")
    results = Path(__file__).parent / "results"
    options = parser.parse_args()
    write_pairs(results / "resolved_pairs.csv", options.compared)
    write_rates(results / "calibration_detected.csv", options.seeds, options.compared)


if __name__ == "__main__":
    main()
