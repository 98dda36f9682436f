"""Movies of neurons whose motion, brightness and spikes are known: two-photon, raw counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, sparse

from aequorea.errors import InputError
from aequorea.model import Image

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

__all__ = ["SimulatedMovie", "simulated_twophoton"]

_SEEING_SD = 1.2  # of the point-spread function, px
_MODES = tuple((i, j) for i in range(3) for j in range(3) if 0 < i + j <= 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedMovie:
    """Counts as a detector gives them, and the truth behind them.

    Attributes
    ----------
    counts : ndarray of uint16, shape (t, y, x)
    scene : ndarray, shape (y, x), photons
        What does not change, seen without motion and noise.
    footprints : sparse array, shape (n, y * x)
        Photons of each cell in each pixel at rest.
    traces : ndarray, shape (n, t)
        Brightness of each cell over that at rest.
    spikes : ndarray of int, shape (n, t)
    shift_yx_px : ndarray, shape (t, 2)
        Where the whole scene has moved: what was at p is seen at p + shift.
    modes_px : ndarray, shape (t, n_modes, 2)
        Amplitudes of the smooth deformations on top of it, as functions of the place where
        things are seen.
    gain, zero, read_noise : float
        Counts per photon, counts of no light, and SD of the read noise in counts.
    frame_rate_hz : float
    pixel_um : float
    """

    counts: NDArray[np.uint16]
    scene: FloatArray
    footprints: sparse.csr_array
    traces: FloatArray
    spikes: NDArray[np.int64]
    shift_yx_px: FloatArray
    modes_px: FloatArray
    gain: float
    zero: float
    read_noise: float
    frame_rate_hz: float
    pixel_um: float

    @cached_property
    def image(self) -> Image:
        """The counts with their axes, times and pixel size."""
        return Image(
            data=self.counts,
            axes="tyx",
            spacing_um={"y": self.pixel_um, "x": self.pixel_um},
            times_s=np.arange(len(self.counts)) / self.frame_rate_hz,
        )

    def displacement_at(self, points_yx_px: ArrayLike) -> FloatArray:
        """How far each point of the scene has moved in each frame.

        Parameters
        ----------
        points_yx_px : array_like, shape (n, 2), px

        Returns
        -------
        ndarray, shape (t, n, 2), px
        """
        points = np.asarray(points_yx_px, dtype=float)
        found = np.repeat(self.shift_yx_px[:, None], len(points), axis=1)
        for _ in range(20):  # modes are functions of where things are seen
            seen = points + found
            basis = _basis(seen, self.counts.shape[1:])
            found = self.shift_yx_px[:, None] + np.einsum("tnm,tmd->tnd", basis, self.modes_px)
        return found


def simulated_twophoton(
    shape: tuple[int, int, int] = (400, 128, 128),
    *,
    n_cells: int | None = None,
    cell_diameter_um: float = 13.0,
    pixel_um: float = 1.0,
    frame_rate_hz: float = 30.0,
    photons: float = 4.0,
    spikes_hz: float = 0.3,
    decay_s: float = 0.5,
    jitter_px: float = 1.0,
    drift_px: float = 0.0,
    elastic_px: float = 0.0,
    gain: float = 20.0,
    zero: float = 100.0,
    read_noise: float = 5.0,
    rng: int | np.random.Generator = 0,
) -> SimulatedMovie:
    """Simulate a two-photon movie of cells that move and fire.

    Parameters
    ----------
    shape : (int, int, int)
        Frames, rows, columns.
    n_cells : int, optional
        About one cell per 30 x 30 µm if not given.
    cell_diameter_um : float, µm
    pixel_um : float, µm
    frame_rate_hz : float, Hz
    photons : float
        Mean per pixel and frame.
    spikes_hz : float, Hz
    decay_s : float, s
        Of the brightness after a spike.
    jitter_px : float, px
        SD, along each axis, of the motion of whole frames; half of it from frame to frame.
    drift_px : float, px
        How far the scene drifts along each axis in the whole movie.
    elastic_px : float, px
        RMS of the smooth deformation on top.
    gain : float
        Counts per photon.
    zero, read_noise : float
        Counts of no light, and SD of the read noise in counts.
    rng : int or Generator

    Returns
    -------
    SimulatedMovie

    Raises
    ------
    InputError
        For a shape without frames or pixels.

    Examples
    --------
    >>> movie = simulated_twophoton((20, 32, 40), jitter_px=0.5)
    >>> movie.counts.shape, movie.shift_yx_px.shape
    ((20, 32, 40), (20, 2))
    """
    n_frames, height, width = shape
    if min(shape) < 1:
        raise InputError(f"shape: expected frames, rows and columns, got {shape}")
    source = np.random.default_rng(rng)
    size = cell_diameter_um / pixel_um
    if n_cells is None:
        n_cells = max(1, round(height * width * pixel_um**2 / 900))
    scene, footprints = _scene(height, width, n_cells, size, source)
    spikes = source.poisson(spikes_hz / frame_rate_hz, (n_cells, n_frames))
    traces = 1 + 1.5 * _decaying(spikes, np.exp(-1 / (decay_s * frame_rate_hz)))
    scale = photons / (scene.mean() + (footprints.sum(axis=1) * traces.mean(axis=1)).sum()
                       / scene.size)  # fmt: skip
    scene, footprints = scene * scale, sparse.csr_array(footprints * scale)
    shift = _walk(n_frames, (2,), jitter_px, source)
    shift = shift + drift_px * np.linspace(-0.5, 0.5, n_frames)[:, None]
    modes = _walk(n_frames, (len(_MODES), 2), 1.0, source, quick=0.2)
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1)
    basis = _basis(grid.astype(float), (height, width))
    modes *= elastic_px / np.sqrt((basis**2).mean() * len(_MODES))
    counts = np.empty(shape, np.uint16)
    for t in range(n_frames):
        now = scene + (traces[:, t] @ footprints).reshape(height, width)
        moved = grid - shift[t] - basis @ modes[t]
        light = ndimage.map_coordinates(now, moved.transpose(2, 0, 1), order=3, mode="mirror")
        seen = source.poisson(np.maximum(light, 0)) * gain + zero
        seen = seen + source.normal(0, read_noise, light.shape)
        counts[t] = np.clip(np.rint(seen), 0, 65535)
    return SimulatedMovie(
        counts=counts, scene=scene, footprints=footprints, traces=traces, spikes=spikes,
        shift_yx_px=shift, modes_px=modes, gain=gain, zero=zero, read_noise=read_noise,
        frame_rate_hz=frame_rate_hz, pixel_um=pixel_um,
    )  # fmt: skip


def _scene(
    height: int, width: int, n_cells: int, size: float, rng: np.random.Generator
) -> tuple[FloatArray, sparse.csr_array]:
    """Neuropil with processes and vessels; rings of cytoplasm around dark nuclei."""
    white = rng.normal(size=(2, height, width))
    fine, coarse = (ndimage.gaussian_filter(w, s, mode="wrap") for w, s in
                    zip(white, (_SEEING_SD, 2 * size), strict=True))  # fmt: skip
    scene = np.exp(0.35 * fine / fine.std() + 0.35 * coarse / coarse.std())
    y, x = np.indices((height, width))
    rows = []
    for _ in range(n_cells):
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        squeeze, turn = rng.uniform(0.8, 1.25), rng.uniform(0, np.pi)
        u = ((y - cy) * np.cos(turn) + (x - cx) * np.sin(turn)) * squeeze
        v = ((x - cx) * np.cos(turn) - (y - cy) * np.sin(turn)) / squeeze
        ring = np.exp(-0.5 * ((np.hypot(u, v) - 0.32 * size) / (0.12 * size)) ** 2)
        ring *= rng.lognormal(0.3, 0.5)
        ring[ring < 0.01 * ring.max()] = 0
        rows.append(sparse.csr_array(ring.reshape(1, -1)))
    return scene, sparse.csr_array(sparse.vstack(rows))


def _decaying(spikes: NDArray[np.int64], kept: float) -> FloatArray:
    traces = spikes.astype(float)
    for t in range(1, traces.shape[1]):
        traces[:, t] += kept * traces[:, t - 1]
    return traces


def _walk(
    n: int, shape: tuple[int, ...], sd: float, rng: np.random.Generator, *, quick: float = 0.5
) -> FloatArray:
    """Motion of the given SD: in part from frame to frame, in part slow."""
    white = rng.normal(size=(n, *shape))
    slow = ndimage.gaussian_filter1d(rng.normal(size=(n, *shape)), 8, axis=0, mode="wrap")
    if n > 1:
        slow /= np.maximum(slow.std(axis=0), 1e-9)
    return np.asarray(sd * (np.sqrt(quick) * white + np.sqrt(1 - quick) * slow))


def _basis(points_yx: FloatArray, size: tuple[int, ...]) -> FloatArray:
    """Cosines of up to one wave over the image, without the constant."""
    y, x = (np.pi * (points_yx[..., d] + 0.5) / size[d] for d in range(2))
    return np.stack([np.cos(i * y) * np.cos(j * x) for i, j in _MODES], axis=-1)
