"""The movie of the demo: simulated, stored as photons, registered, held against its truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import aequorea
from aequorea.io import photon_statistics, write_photon_store
from aequorea.pipelines.movies import read_motion
from aequorea.pipelines.run.execution import worded_bytes
from aequorea.report.index import Comparison
from aequorea.simulate import SimulatedMovie, simulated_twophoton

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.pipelines.run.steps import RunResult

__all__ = ["STORAGE_COLUMNS", "movie_truth", "simulated_movie", "storage_rows"]

STORAGE_COLUMNS = ("stored as", "size", "times smaller", "bits per pixel", "needed by its noise")
_FRAMES, _SIDE_PX = 300, 160
_JITTER_PX, _BENT_PX, _PHOTONS = 1.5, 0.8, 4.0
_SEED = 2


def simulated_movie(inputs: Path) -> Path:
    """A two-photon movie of a few photons per pixel that moves and bends."""
    path = inputs / "cortex.ome.tif"
    if not path.exists():
        aequorea.save(_movie().image, path)
    return path


def movie_truth(result: RunResult) -> list[Comparison]:
    """Motion and gain as found, beside those of the simulation."""
    movie = _movie()
    (plane,) = result.table("planes").to_dict("records")
    (motion,) = read_motion(result.directory / "motion.npz")
    field = motion.field_yx_px
    if field is None:
        raise TypeError("the demo's movie is registered place by place")
    sides = [np.linspace(0, _SIDE_PX - 1, n) for n in field.shape[1:3]]
    nodes = np.stack(np.meshgrid(*sides, indexing="ij"), -1)[1:-1, 1:-1].reshape(-1, 2)
    found = field[:, 1:-1, 1:-1].reshape(len(field), -1, 2).astype(np.float64)
    truth = movie.displacement_at(nodes)
    return [
        Comparison(
            quantity="motion of places, RMS",
            truth=round(_rms(truth), 3),
            measured=_rms(found),
            unit="px",
        ),
        Comparison(
            quantity="error of the motion of places, RMS",
            truth=0.0,
            measured=_rms(found - truth),
            unit="px",
        ),
        Comparison(quantity="counts per photon", truth=movie.gain, measured=float(plane["gain"])),
        Comparison(quantity="counts of no light", truth=movie.zero, measured=float(plane["zero"])),
    ]


def storage_rows(file: Path, folder: Path) -> list[tuple[str, ...]]:
    """What the raw movie takes as it is, and as photons, with every count and without."""
    movie = aequorea.open_movie(file)
    rows: list[tuple[str, ...]] = []
    for name, lossless in (("photons, every count", True), ("photons, cells of 0.5 SD", False)):
        target = folder / f"cortex-{'lossless' if lossless else 'photons'}.zarr"
        if not target.exists():
            write_photon_store(movie, target, lossless=lossless)
        found = photon_statistics(target)
        if not rows:
            bits = 8 * np.dtype(found.dtype).itemsize
            rows.append(("raw counts", worded_bytes(found.original_bytes), "1", f"{bits}", ""))
        rows.append(
            (
                name,
                worded_bytes(found.stored_bytes),
                f"{found.ratio:.2f}",
                f"{found.bits_per_pixel:.2f}",
                f"{found.noise_floor_bits:.2f}",
            )
        )
    return rows


def _movie() -> SimulatedMovie:
    return simulated_twophoton(
        (_FRAMES, _SIDE_PX, _SIDE_PX),
        photons=_PHOTONS,
        jitter_px=_JITTER_PX,
        elastic_px=_BENT_PX,
        rng=_SEED,
    )


def _rms(shift: NDArray[np.float64]) -> float:
    apart = shift - np.median(shift, axis=0)
    return float(np.sqrt((apart**2).sum(axis=-1).mean()))
