"""Movies of raw counts kept as photons: written in pieces, resumed after a kill."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from aequorea.errors import FileFormatError, InputError, OutputError
from aequorea.io.atomic import refuse_existing, take_place
from aequorea.io.ome_zarr import OURS
from aequorea.io.ome_zarr_writer import VERSION, kept_exactly, multiscale, omero
from aequorea.motion import held_still
from aequorea.photon.quantise import COUNT_TYPES, Quantiser
from aequorea.photon.transfer import photon_transfer

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from aequorea.model.image import Image
    from aequorea.photon.transfer import PhotonTransfer

    Told = Callable[[int, int], None]

__all__ = [
    "PhotonStatistics",
    "photon_statistics",
    "plane_for_transfer",
    "transfer_of",
    "write_photon_store",
]

_CHUNK_BYTES = 64 * 2**20
_TILE_FRAMES = 32
_NOTE = "unfinished.json"
_FORMAT = 1
_FRAMES_LOOKED_AT = 256
_MOVED = "the movie moves: estimated from frames spread over it, held still by whole pixels"
_LEVELS, _REACH_SD = 200, 8.0


@dataclass(frozen=True, kw_only=True)
class PhotonStatistics:
    """What storing a movie as photons came to.

    Attributes
    ----------
    shape : tuple of int
    axes : str
    dtype : str
    original_bytes, stored_bytes : int
        Of the raw counts, and of the files of the array.
    bits_per_pixel : float
        Stored.
    noise_floor_bits : float
        Mean entropy of what is stored if each pixel's brightness were known and its noise
        Gaussian with the variance of the photon-transfer line: what no coder can leave out.
    gain, zero, step : float
    lossless : bool
    """

    shape: tuple[int, ...]
    axes: str
    dtype: str
    original_bytes: int
    stored_bytes: int
    bits_per_pixel: float
    noise_floor_bits: float
    gain: float
    zero: float
    step: float
    lossless: bool

    @property
    def ratio(self) -> float:
        """How many times smaller the movie became."""
        return self.original_bytes / self.stored_bytes

    @property
    def over_floor(self) -> float:
        """Bits stored over those of the noise."""
        return self.bits_per_pixel / self.noise_floor_bits


def plane_for_transfer(movie: Image) -> Image:
    """The part of a movie that its photon transfer is estimated from, with axes t, y, x.

    Of several planes the one in the middle.

    Raises
    ------
    InputError
        If there is no time axis, or more than one channel.
    """
    if "t" not in movie.axes:
        raise InputError(f"{movie.source}: has no time axis (axes {movie.axes})")
    if movie.sizes.get("c", 1) > 1:
        raise InputError(
            f"{movie.source}: has {movie.sizes['c']} channels, each with a gain of its own; choose "
            f"one of {', '.join(movie.channels)} (--channel)"
        )
    middle = {"c": 0, "z": movie.sizes.get("z", 1) // 2}
    return movie.isel(**{axis: k for axis, k in middle.items() if axis in movie.axes})


def transfer_of(plane: Image) -> PhotonTransfer:
    """How many counts a photon makes in a movie (t, y, x), which may move.

    Motion makes the noise of neighbouring pixels alike, as interpolation does. A movie that is
    refused for that is tried once more with its frames moved by whole pixels; if it is refused
    again, motion was not the reason.

    Raises
    ------
    InputError
        As :func:`aequorea.photon.photon_transfer`.
    """
    try:
        return photon_transfer(plane.data)
    except InputError as refused:
        try:
            found = photon_transfer(held_still(plane.data))
        except InputError:
            raise refused from None
        return replace(found, notes=(*found.notes, _MOVED))


def write_photon_store(
    movie: Image,
    path: str | os.PathLike[str],
    *,
    gain: float | None = None,
    zero: float | None = None,
    step: float = 0.5,
    lossless: bool = False,
    workers: int = 1,
    overwrite: bool = False,
    told: Told | None = None,
) -> PhotonTransfer | None:
    """Write a movie of raw counts as an OME-Zarr whose pixels go through ``aequorea.photon``.

    Parameters
    ----------
    movie : Image
        With a time axis and one channel; 8- or 16-bit counts as the detector gave them: not
        registered, filtered or compressed with loss.
    path : path
        Folder that is to appear; by custom it ends in ``.zarr``.
    gain, zero : float, optional
        Counts per photon and count of no light; from :func:`aequorea.photon.photon_transfer` if
        neither is given.
    step : float, default 0.5
        Width of the cells in which counts are told apart, in SD of the noise.
    lossless : bool, default False
        Keep every count.
    workers : int, default 1
        Threads that encode; change no byte.
    overwrite : bool, default False
    told : callable, optional
        Takes the frames done and all frames (of all planes).

    Returns
    -------
    PhotonTransfer or None
        What was estimated; ``None`` where gain and zero were given.

    Raises
    ------
    InputError
        For a movie that cannot be stored this way, or a gain that cannot be estimated.
    OutputError
        If ``path`` exists and ``overwrite`` is False, or cannot be written.

    Notes
    -----
    The folder appears when it is whole. Until then it grows beside it as ``.NAME.unfinished``; the
    same call after a kill goes on there, if the movie and the parameters are the same. Any program
    that uses zarr-python with this package installed reads the counts. Memory: about five times
    ``workers + 1`` pieces of 64 MB, or of 32 frames where these are more.
    """
    target = Path(path).expanduser()
    if not overwrite:
        refuse_existing(target)
    if movie.dtype.name not in COUNT_TYPES:
        raise InputError(
            f"{movie.source}: has pixels of type {movie.dtype}; raw counts are one of "
            f"{', '.join(COUNT_TYPES)}"
        )
    plane = plane_for_transfer(movie)
    if 0 in movie.shape:
        raise InputError(f"{movie.source}: has no frames (shape {movie.shape})")
    if (gain is None) != (zero is None):
        raise InputError("gain and zero go together: give both, or neither to have them estimated")
    found = None
    if gain is None or zero is None:
        found = transfer_of(plane)
        gain, zero = found.gain, found.zero
    Quantiser(gain=gain, zero=zero, step=step, dtype=movie.dtype.name)
    settings = {
        "gain": float(gain), "zero": float(zero), "step": float(step), "lossless": bool(lossless),
    }  # fmt: skip
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(movie, unfinished, settings, workers=workers, told=told)
        take_place(unfinished, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{target}: cannot be written ({reason}); the same command continues at {unfinished}"
        ) from error
    return found


def _write(
    movie: Image, folder: Path, settings: Mapping[str, Any], *, workers: int, told: Told | None
) -> None:
    import zarr

    n = _frames_per_chunk(movie)
    same = {"format": _FORMAT, "movie": _fingerprint(movie), "settings": dict(settings), "n": n}
    if not _is_same(folder / _NOTE, same):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / _NOTE).write_text(json.dumps(same), encoding="utf-8")
    chunks = tuple(n if a == "t" else movie.sizes[a] if a in "yx" else 1 for a in movie.axes)
    array = _array(folder, movie, chunks, settings)
    window = _encode(movie, array, folder / "0" / "c", workers=workers, told=told)
    whole = zarr.open_group(str(folder), mode="a", zarr_format=3)
    whole.attrs.update(
        {
            "ome": {
                "version": VERSION,
                "multiscales": [multiscale(movie, 1, "mean")],
                "omero": omero(movie, [window]),
            },
            OURS: kept_exactly(movie),
        }
    )
    (folder / _NOTE).unlink()


def _frames_per_chunk(movie: Image) -> int:
    frame = movie.sizes["y"] * movie.sizes["x"] * movie.dtype.itemsize
    tiles = max(1, _CHUNK_BYTES // (frame * _TILE_FRAMES))
    return min(tiles, math.ceil(movie.sizes["t"] / _TILE_FRAMES)) * _TILE_FRAMES


def _fingerprint(movie: Image) -> dict[str, Any]:
    """What tells one movie from another without reading all of it."""
    n = movie.sizes["t"]
    t = movie.axes.index("t")
    some = [
        np.ascontiguousarray(movie.data[tuple(slice(k, k + 1) if a == t else slice(None)
                                              for a in range(len(movie.shape)))])
        for k in sorted({0, n // 2, n - 1})
    ]  # fmt: skip
    facts: dict[str, Any] = {
        "source": movie.source,
        "shape": list(movie.shape),
        "dtype": movie.dtype.name,
        "frames_sha256": [hashlib.sha256(frame.tobytes()).hexdigest() for frame in some],
    }
    where = None if movie.source is None else Path(movie.source)
    if where is not None and where.exists():
        files = sorted(p for p in where.rglob("*") if p.is_file()) if where.is_dir() else [where]
        facts["files"] = [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in files]
    return facts


def _is_same(note: Path, expected: Mapping[str, Any]) -> bool:
    try:
        return bool(json.loads(note.read_text(encoding="utf-8")) == expected)
    except (OSError, ValueError):
        return False


def _array(folder: Path, movie: Image, chunks: tuple[int, ...], settings: Mapping[str, Any]) -> Any:
    import zarr

    from aequorea.io.photon_codec import PhotonCodec

    where = folder / "0"
    if (where / "zarr.json").is_file():
        return zarr.open_array(str(where), mode="r+")
    return zarr.create_array(
        str(where),
        shape=movie.shape,
        chunks=chunks,
        dtype=movie.dtype.name,
        serializer=PhotonCodec(**settings),
        compressors=None,
        filters=None,
        dimension_names=tuple(movie.axes),
        config={"write_empty_chunks": True},
    )


def _encode(
    movie: Image, array: Any, files: Path, *, workers: int, told: Told | None
) -> tuple[float, float]:
    """All chunks that are not there yet; the range of the first, to show the movie by."""
    done, total = 0, math.prod(movie.shape[:-2])
    running: dict[Future[None], int] = {}
    window = (0.0, 1.0)

    def settle(at_most: int) -> int:
        finished = 0
        while len(running) > at_most:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                finished += running.pop(future)
        return finished

    with ThreadPoolExecutor(max(1, workers)) as pool:
        for number, place in enumerate(_places(movie.shape, array.chunks)):
            name = "/".join(str(s.start // c) for s, c in zip(place, array.chunks, strict=True))
            there = (files / name).is_file()
            frames = math.prod(s.stop - s.start for s in place[:-2])
            if there:
                done += frames
            if not there or number == 0:
                counts = np.asarray(movie.data[place])
            if number == 0:
                window = float(counts.min()), float(counts.max())
            if not there:
                done += settle(max(1, workers) - 1)
                running[pool.submit(array.set_basic_selection, place, counts)] = frames
            if told is not None:
                told(done, total)
        done += settle(0)
    if told is not None:
        told(done, total)
    return window


def _places(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    starts = [range(0, n, c) for n, c in zip(shape, chunks, strict=True)]
    for corner in product(*starts):
        yield tuple(slice(k, min(k + c, n)) for k, c, n in zip(corner, chunks, shape, strict=True))


def photon_statistics(path: str | os.PathLike[str]) -> PhotonStatistics:
    """How small a movie became, and how near to what its noise demands.

    Parameters
    ----------
    path : path
        A store that :func:`write_photon_store` wrote.

    Returns
    -------
    PhotonStatistics

    Raises
    ------
    FileFormatError
        If it is no such store, or a chunk is damaged or missing.
    """
    import zarr

    from aequorea.io.photon_codec import PhotonCodec

    where = Path(path).expanduser()
    try:
        array = zarr.open_array(str(where / "0"), mode="r")
    except (OSError, ValueError, KeyError):
        raise FileFormatError(f"{where}: is not a movie stored as photons") from None
    codecs = getattr(array.metadata, "codecs", ())
    codec = next((c for c in codecs if isinstance(c, PhotonCodec)), None)
    if codec is None:
        raise FileFormatError(f"{where}: is a Zarr array, but its counts are not stored as photons")
    axes = "".join(str(a) for a in getattr(array.metadata, "dimension_names", None) or ())
    files = [p for p in (where / "0" / "c").rglob("*") if p.is_file()]
    expected = math.prod(math.ceil(n / c) for n, c in zip(array.shape, array.chunks, strict=True))
    if len(files) != expected:
        raise FileFormatError(f"{where}: has {len(files)} of {expected} chunks")
    stored = sum(p.stat().st_size for p in files)
    return PhotonStatistics(
        shape=tuple(array.shape),
        axes=axes,
        dtype=str(array.dtype),
        original_bytes=int(array.nbytes),
        stored_bytes=stored,
        bits_per_pixel=8 * stored / math.prod(array.shape),
        noise_floor_bits=_noise_floor(_mean_counts(array), codec, array.dtype.name),
        gain=codec.gain,
        zero=codec.zero,
        step=codec.step,
        lossless=codec.lossless,
    )


def _mean_counts(array: Any) -> NDArray[np.float64]:
    """Mean of every pixel over frames spread over the movie."""
    picked = np.unique(np.linspace(0, array.shape[0] - 1, _FRAMES_LOOKED_AT).astype(int))
    total = np.zeros(array.shape[1:])
    for stretch in np.array_split(picked, max(1, len(picked) // _TILE_FRAMES)):
        for k in stretch:
            total += np.asarray(array[int(k)], dtype=np.float64)
    return np.ravel(total / len(picked))


def _noise_floor(means: NDArray[np.float64], codec: Any, dtype: str) -> float:
    """Mean bits of Gaussian noise about each mean, as it is stored."""
    quantiser = codec.quantiser(dtype)
    groups = np.array_split(np.sort(means), min(_LEVELS, len(means)))
    every = np.arange(np.iinfo(dtype).min, np.iinfo(dtype).max + 2)
    edges = (every if codec.lossless else quantiser.edges) - 0.5
    bits = []
    for mean in (float(group.mean()) for group in groups):
        sd = math.sqrt(max(codec.gain * (mean - codec.zero), 0.0))
        if sd == 0:
            bits.append(0.0)
            continue
        near = edges[(edges > mean - _REACH_SD * sd) & (edges < mean + _REACH_SD * sd)]
        share = np.diff(ndtr((near - mean) / sd), prepend=0.0, append=1.0)
        share = share[share > 0]
        bits.append(float(-(share * np.log2(share)).sum()))
    return float(np.average(bits, weights=[len(group) for group in groups]))
