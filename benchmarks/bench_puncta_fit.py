"""Spot fits and copy numbers against truth: speed, precision over the bound, bias, coverage.

    python benchmarks/bench_puncta_fit.py [--seeds 200]

The copy numbers are those of a batch: the light of a single molecule is measured anew for each
seed on an image of 0.1 molecules/µm³ (local maxima, fitted), and used for pieces of 211 µm³ of up
to 3/µm³ with brightness of CV 0.4 on a background that is not given. PSF SD 0.12 and 0.35 µm,
voxels (0.2, 0.08, 0.08) µm.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy import ndimage

from aequorea.puncta.copy_numbers import copy_number, single_molecule
from aequorea.puncta.fit import fit_puncta
from aequorea.puncta.precision import crlb
from aequorea.simulate.puncta import render_puncta

SPACING = np.array([0.2, 0.08, 0.08])
SIGMA = (1.75, 1.5, 1.5)
READ = 1.5
PAD = 8


def spots(rng, photons, background, n):
    """A stack of n spots 9 standard deviations apart."""
    step = np.ceil(9 * np.array(SIGMA)).astype(int)
    per_axis = [4, round((n / 4) ** 0.5), round((n / 4) ** 0.5)]
    axes = [np.arange(k) * s + s // 2 for k, s in zip(per_axis, step, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3).astype(float)
    places = grid + rng.uniform(-0.5, 0.5, grid.shape)
    expected = np.full(step * per_axis, background, np.float32)
    render_puncta(expected, places, np.full(len(grid), photons), SIGMA)
    image = rng.poisson(expected) + rng.normal(0, READ, expected.shape)
    return image.astype(np.float32), grid, places


def precision() -> None:
    options = {"gain_adu_per_photon": 1.0, "read_noise_photons": READ}
    image, grid, _ = spots(np.random.default_rng(0), 500.0, 3.0, 5000)
    fit_puncta(image, grid[:10], sigma_px=SIGMA, **options)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        fit_puncta(image, grid, sigma_px=SIGMA, **options)
        seconds.append(time.perf_counter() - start)
    print(f"{len(grid)} spots in 3D, one thread: {len(grid) / min(seconds):.0f} fits/s\n")
    print("photons  peak/noise  RMSE/bound z, y, x   light   within 1, 1.96 SE  converged")
    for photons in (100, 150, 200, 300, 500, 1000, 3000, 10000):
        image, grid, places = spots(np.random.default_rng(photons), photons, 3.0, 1000)
        fits = fit_puncta(image, grid, sigma_px=SIGMA, **options)
        bound = crlb(photons, sigma_px=SIGMA, background_photons=3.0, read_noise_photons=READ)
        off = (fits.position_px - places)[fits.converged]
        ratio = np.sqrt((off**2).mean(axis=0)) / bound.position_px
        light = np.nanstd(fits.photons) / bound.photons
        stated = off / fits.position_error_px[fits.converged]
        peak = photons / np.prod(np.sqrt(2 * np.pi) * np.array(SIGMA))
        print(
            f"{photons:7d} {peak / np.sqrt(3 + READ**2):9.1f}     "
            f"{ratio[0]:.2f} {ratio[1]:.2f} {ratio[2]:.2f} {light:11.2f} "
            f"{np.mean(abs(stated) < 1):12.3f} {np.mean(abs(stated) < 1.96):.3f} "
            f"{fits.converged.mean():12.3f}"
        )


def molecules(rng, density, shape, light, background, law="log-normal"):
    full = np.array(shape) + 2 * PAD
    n = rng.poisson(density * np.prod(full * SPACING))
    places = rng.uniform(-0.5, full - 0.5, (n, 3))
    spread = np.sqrt(np.log(1.16))
    if law == "gamma":
        brightness = rng.gamma(6.25, light / 6.25, n)
    else:
        brightness = rng.lognormal(np.log(light) - spread**2 / 2, spread, n)
    expected = np.full(full, background, np.float32)
    render_puncta(expected, places, brightness, SIGMA)
    image = rng.poisson(expected) + rng.normal(0, READ, full)
    within = ((places > PAD - 0.5) & (places < np.array(shape) + PAD - 0.5)).all(axis=1)
    return image[PAD:-PAD, PAD:-PAD, PAD:-PAD], int(within.sum())


def learned(rng, light, background):
    """The light of a molecule from local maxima of a sparse image."""
    image, _ = molecules(rng, 0.1, (48, 200, 200), light, background)
    smooth = ndimage.gaussian_filter(image, SIGMA)
    height = 0.3 * light / np.prod(np.sqrt(4 * np.pi) * np.array(SIGMA))
    peaks = (smooth == ndimage.maximum_filter(smooth, 5)) & (smooth > background + height)
    fits = fit_puncta(image, np.argwhere(peaks), sigma_px=SIGMA,
                      gain_adu_per_photon=1.0, read_noise_photons=READ)  # fmt: skip
    return single_molecule(fits, detection_limit=0.4 * light, volume_px=image.size)


def copies(seeds: int) -> None:
    light, background = 1000.0, 10.0
    rows: dict[float, list[tuple[float, ...]]] = {d: [] for d in (0.1, 0.3, 1.0, 2.0, 3.0)}
    means = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 7])
        single = learned(rng, light, background)
        means.append((single.mean / light - 1, single.mean_error / light, single.cv, single.n))
        for density, row in rows.items():
            image, n = molecules(rng, density, (32, 72, 72), light, background)
            found = copy_number(image, np.ones(image.shape, bool), single=single, sigma_px=SIGMA)
            covers = found.low[0] <= n <= found.high[0]
            row.append((found.copies[0], n, found.copies_error[0], covers))
    bias, error, cv, n = np.mean(means, axis=0)
    scatter = np.std(means, axis=0)[0]
    print(f"\nsingle molecule, {seeds} seeds: bias {bias:+.3f}, SD {scatter:.3f}, ", end="")
    print(f"stated {error:.3f}, CV {cv:.2f}, from {n:.0f} spots\n")
    print("per µm³   molecules   bias   SD/n   stated   coverage at 95 %")
    for density, row in rows.items():
        found, truth, error, covers = np.array(row).T
        print(
            f"{density:7.1f} {truth.mean():11.0f} {found.sum() / truth.sum() - 1:+8.3f} "
            f"{np.std(found - truth) / truth.mean():6.3f} {error.mean() / truth.mean():7.3f} "
            f"{covers.mean():10.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    arguments = parser.parse_args()
    precision()
    copies(arguments.seeds)


if __name__ == "__main__":
    main()
