"""Size and speed of photon-compressed movies: ``python benchmarks/bench_photon.py``.

Simulated movies with texture and flashing cells. The floor is the mean entropy of the stored
symbols given the true rate of every pixel: no lossless coder of them beats it on average. Speeds
are of one thread, in MB of raw counts per second; the best of three.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr
from scipy.ndimage import gaussian_filter

from aequorea.io.photon_codec import PhotonCodec
from aequorea.photon import Quantiser, decode_block, encode_block

OFFSET, READ_SD = 100.0, 0.3
DRAWS, LEVELS = 200_000, 100


def simulated(n_frames, size, mean, gain, rng):
    """Counts, and a sample of the true rates."""
    base = np.exp(gaussian_filter(rng.normal(size=(size, size)), 6) * 3)
    base *= mean / base.mean()
    yy, xx = np.mgrid[:size, :size]
    cells = np.zeros((size // 4, size, size), np.float32)
    for cell in cells:
        y, x = rng.integers(8, size - 8, 2)
        cell += mean * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / 18)
    decay = np.exp(-np.arange(60) / 15)
    spikes = rng.random((len(cells), n_frames)) < 0.02
    traces = 3 * np.array([np.convolve(s, decay)[:n_frames] for s in spikes])
    counts, rates = np.empty((n_frames, size, size), np.uint16), []
    for t in range(n_frames):
        rate = base + np.tensordot(traces[:, t], cells, 1)
        photons = rng.poisson(rate) + rng.normal(0, READ_SD, rate.shape)
        counts[t] = np.clip(np.rint(gain * photons + OFFSET), 0, 65535)
        rates.append(rng.choice(rate.ravel(), 400))
    return counts, np.concatenate(rates)


def floor(rates, gain, symbol_of, rng):
    """Bits per pixel of symbols whose rates are known."""
    found = []
    for rate in np.sort(rates).reshape(LEVELS, -1).mean(axis=1):
        photons = rng.poisson(rate, DRAWS) + rng.normal(0, READ_SD, DRAWS)
        symbols = symbol_of(np.clip(np.rint(gain * photons + OFFSET), 0, 65535).astype(int))
        tally = np.bincount(symbols - symbols.min())
        share = tally[tally > 0] / DRAWS
        bias = (len(share) - 1) / (2 * DRAWS * np.log(2))  # Miller and Madow
        found.append(-(share * np.log2(share)).sum() + bias)
    return float(np.mean(found))


def best(function, n=3):
    """Seconds."""
    times = []
    for _ in range(n):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    encode_block(
        np.zeros((40, 40, 40), np.uint16), Quantiser(gain=1, zero=0, step=1, dtype="uint16")
    )
    print("mean gain  mode      bits/px  floor  ratio  encode  decode MB/s  bias ph")
    for mean, gain in [(1, 8), (4, 8), (30, 8), (4, 1), (4, 50)]:
        rng = np.random.default_rng(0)
        counts, rates = simulated(options.frames, options.size, mean, gain, rng)
        block = counts[:256]
        for lossless, step in ((False, 0.5), (True, 1.0)):
            cells = Quantiser(gain=gain, zero=OFFSET - READ_SD**2 * gain, step=step, dtype="uint16")
            stored = encode_block(block, cells, lossless=lossless)
            back = decode_block(stored, cells)
            lowest = floor(rates, gain, (lambda c: c) if lossless else cells.code_of, rng)
            bits = 8 * len(stored) / block.size
            megabytes = block.nbytes / 1e6
            encode = megabytes / best(
                lambda b=block, c=cells, e=lossless: encode_block(b, c, lossless=e)
            )
            decode = megabytes / best(lambda s=stored, c=cells: decode_block(s, c))
            bias = (back.astype(float) - block).mean() / gain
            mode = "lossless" if lossless else "0.5 SD"
            print(
                f"{mean:4} {gain:4}  {mode:8} {bits:8.3f} {lowest:6.3f} {bits / lowest:6.3f} "
                f"{encode:7.0f} {decode:7.0f}      {bias:8.4f}",
                flush=True,
            )
    with tempfile.TemporaryDirectory() as folder:
        codec = PhotonCodec(gain=50.0, zero=OFFSET - READ_SD**2 * 50)
        movie = np.concatenate([counts] * -(-3000 // len(counts)))[:3000]
        array = zarr.create_array(
            str(Path(folder) / "movie.zarr"),
            shape=movie.shape,
            dtype="u2",
            chunks=(256, *movie.shape[1:]),
            serializer=codec,
            compressors=None,
            filters=None,
        )
        array[:] = movie
        trace = best(lambda: array[:, 20:30, 20:30])
        frame = best(lambda: array[1700])
    print(
        f"10 x 10 pixels through 3,000 frames {trace * 1e3:.0f} ms, one frame {frame * 1e3:.0f} ms"
    )


if __name__ == "__main__":
    main()
