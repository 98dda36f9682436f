"""What registering a movie will take, measured on a few of its frames."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aequorea.motion import find_motion, find_reference
from aequorea.motion.registration import BATCH_FRAMES
from aequorea.pipelines.movies.parameters import RegisterParameters
from aequorea.pipelines.movies.steps import one_channel
from aequorea.pipelines.movies.workflow import check_movie, open_source
from aequorea.pipelines.run.execution import Execution, limited_threads
from aequorea.pipelines.run.provenance import size_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from aequorea.model.lazy import LazyArray
    from aequorea.motion.registration import Finder

__all__ = ["Estimate", "StepEstimate", "estimate"]

_HASHED_BYTES = 32 * 2**20
_TRIES = 2
# Arrays of a batch that are there at once, as frames of 4 bytes per pixel; counted in the code.
_BATCH_ARRAYS = 8
# Of the second pass: sums, counts, block means and how many frames each has.
_BLOCKS, _BLOCK_BYTES = 40, 12


@dataclass(frozen=True, kw_only=True)
class StepEstimate:
    """What one step will take.

    Attributes
    ----------
    name : str
    seconds : float, s
    memory_bytes : int
        Allocated at once, beyond the program itself.
    disk_bytes : int
        Written.
    """

    name: str
    seconds: float
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What registering a movie will take.

    Attributes
    ----------
    n_frames, n_planes : int
    raw_bytes : int
        Of the pixels.
    steps : tuple of StepEstimate
    """

    n_frames: int
    n_planes: int
    raw_bytes: int
    steps: tuple[StepEstimate, ...]

    @property
    def seconds(self) -> float:
        """Of all steps."""
        return sum(s.seconds for s in self.steps)

    @property
    def memory_bytes(self) -> int:
        """Of the step that needs most."""
        return max(s.memory_bytes for s in self.steps)

    @property
    def disk_bytes(self) -> int:
        """Of all steps."""
        return sum(s.disk_bytes for s in self.steps)


def estimate(
    source: Path,
    parameters: RegisterParameters | None = None,
    *,
    execution: Execution | None = None,
) -> Estimate:
    """Predict time, memory and disk of ``aequorea register``, by trying it on a few frames.

    Parameters
    ----------
    source : Path
    parameters : RegisterParameters, optional
    execution : Execution, optional

    Returns
    -------
    Estimate
        Times are those of this machine as busy as it is now. Nothing is written.

    Raises
    ------
    InputError
        As :func:`aequorea.pipelines.movies.register`.
    """
    parameters, execution = parameters or RegisterParameters(), execution or Execution()
    whole = open_source(source, parameters)
    check_movie(whole, parameters)
    movie = one_channel(whole, parameters.movie.channel)
    planes = movie.sizes.get("z", 1)
    first = movie.isel(z=0).data if "z" in movie.axes else movie.data
    with limited_threads(execution.n_workers):
        begun = time.perf_counter()
        finder = find_reference(
            first,
            parameters.motion,
            left_out=parameters.movie.left_out,
            workers=execution.n_workers,
        )
        reference_s = time.perf_counter() - begun
        read_s, motion_s, undone_s = _per_frame(first, finder, parameters, execution.n_workers)
    n, pixels = movie.sizes["t"], movie.sizes["y"] * movie.sizes["x"]
    size = size_bytes(source)
    steps = [
        StepEstimate(
            name="inputs hashed", seconds=size / _hash_speed(), memory_bytes=0, disk_bytes=0
        ),
        StepEstimate(
            name="reference",
            seconds=planes * reference_s,
            memory_bytes=_reference_bytes(first, finder, parameters),
            disk_bytes=0,
        ),
        StepEstimate(
            name="motion",
            seconds=planes * n * (read_s + motion_s),
            memory_bytes=_BATCH_ARRAYS * BATCH_FRAMES * 4 * pixels,
            disk_bytes=planes * n * _motion_bytes(finder),
        ),
        StepEstimate(
            name="before and after",
            seconds=planes * n * (read_s + 2 * undone_s),
            memory_bytes=(_BATCH_ARRAYS * BATCH_FRAMES * 4 + _BLOCKS * _BLOCK_BYTES) * pixels,
            disk_bytes=2 * planes * 4 * pixels,
        ),
    ]
    raw = int(np.prod(whole.data.shape, dtype=np.int64)) * np.dtype(whole.data.dtype).itemsize
    if parameters.output.store != "none":
        channels = whole.sizes.get("c", 1)
        steps.append(
            StepEstimate(
                name="registered movie",
                seconds=channels * planes * n * (read_s + undone_s),
                memory_bytes=_BATCH_ARRAYS * BATCH_FRAMES * 4 * pixels,
                disk_bytes=raw,
            )
        )
    return Estimate(n_frames=n, n_planes=planes, raw_bytes=raw, steps=tuple(steps))


def _per_frame(
    movie: LazyArray, finder: Finder, parameters: RegisterParameters, workers: int
) -> tuple[float, float, float]:
    """Seconds of reading, placing and undoing one frame; the faster of two tries."""
    n = min(BATCH_FRAMES, int(movie.shape[0]))
    read, placed, undone = [], [], []
    for k in range(_TRIES):
        start = 0 if k == 0 else (int(movie.shape[0]) - n) // 2
        begun = time.perf_counter()
        frames = np.asarray(movie[start : start + n])
        opened = time.perf_counter()
        motion = find_motion(frames, finder, parameters.motion, workers=workers)
        found = time.perf_counter()
        motion.undone(frames, slice(0, n))
        read.append(opened - begun)
        placed.append(found - opened)
        undone.append(time.perf_counter() - found)
    return min(read) / n, min(placed) / n, min(undone) / n


def _reference_bytes(movie: LazyArray, finder: Finder, parameters: RegisterParameters) -> int:
    """Sampled frames as they are and prepared, their spectra, and a few at full size."""
    n = min(parameters.motion.reference_frames, int(movie.shape[0]))
    pixels = int(movie.shape[1]) * int(movie.shape[2])
    raw = np.dtype(movie.dtype).itemsize
    binned = pixels // finder.preparation.bins**2
    return n * (raw * pixels + 3 * 4 * binned) + 2 * BATCH_FRAMES * 4 * pixels


def _motion_bytes(finder: Finder) -> int:
    """Of one frame in ``motion.npz`` and the tables."""
    nodes = 0 if finder.elastic is None else int(np.prod(finder.elastic.nodes))
    return 8 * nodes + 400


def _hash_speed() -> float:
    """Bytes per second."""
    block = bytes(_HASHED_BYTES)
    begun = time.perf_counter()
    hashlib.sha256(block).hexdigest()
    return _HASHED_BYTES / max(time.perf_counter() - begun, 1e-9)
