"""A short moving picture of a movie before and after, for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Picture

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.model.lazy import LazyArray
    from aequorea.motion import Motion

__all__ = ["write_preview"]

_MOMENTS, _AVERAGED = 48, 3
_WIDEST_PX, _GAP_PX = 320, 4
_MOMENT_MS, _QUALITY = 120, 60
_CONTRAST = (0.5, 99.7)


def write_preview(movie: LazyArray, motion: Motion, still: NDArray[np.float32], path: Path) -> None:
    """Write moments spread over a movie, before beside after, as an animated WebP.

    Parameters
    ----------
    movie : lazy array, shape (t, y, x)
    motion : Motion
    still : ndarray, shape (y, x)
        What contrast is taken from, and what shows through where a frame saw nothing.
    path : Path
    """
    n = int(movie.shape[0])
    good = np.flatnonzero(motion.good[: max(1, n - _AVERAGED + 1)])
    good = good if len(good) else np.arange(n)
    starts = good[np.unique(np.linspace(0, len(good) - 1, _MOMENTS).round().astype(int))]
    shrink = max(1, -(-still.shape[1] // _WIDEST_PX))
    low, high = np.nanpercentile(still, _CONTRAST)
    pictures = []
    for start in starts.tolist():
        where = slice(start, min(start + _AVERAGED, n))
        frames = np.asarray(movie[where])
        after = motion.undone(frames, where)
        pair = []
        for pixels in (frames.astype(np.float32), after):
            seen = np.isfinite(pixels).all(axis=0)
            mean = np.where(seen, np.where(np.isfinite(pixels), pixels, 0).mean(axis=0), still)
            pair.append(_grey(_shrunk(np.nan_to_num(mean, nan=low), shrink), low, high))
        gap = np.full((len(pair[0]), _GAP_PX), 255, np.uint8)
        pictures.append(Picture.fromarray(np.hstack([pair[0], gap, pair[1]])))
    pictures[0].save(
        path, format="WEBP", save_all=True, append_images=pictures[1:],
        duration=_MOMENT_MS, loop=0, quality=_QUALITY, method=2,
    )  # fmt: skip


def _shrunk(image: NDArray[Any], by: int) -> NDArray[Any]:
    height, width = (n // by * by for n in image.shape)
    blocks = image[:height, :width].reshape(height // by, by, width // by, by)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _grey(image: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    scaled = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
    return np.asarray(np.rint(255 * scaled), dtype=np.uint8)
