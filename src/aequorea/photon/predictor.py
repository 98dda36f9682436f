"""What each pixel of a photon-limited movie is expected to be, from what is known before it.

Variance-stabilised counts scatter with one and the same SD about a rate that changes slowly. A
pixel is predicted by its mean over the block, and by how far its neighbourhood has been from its
own mean so far: in the row above, and in earlier frames. All in integers, so that what was
encoded on one machine is decoded on another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNIT = 8
"""Predictions are in eighths of a code."""
ESCAPE = 255
MIDDLE = 127
N_PHASES = 4
N_LEVELS = 32
N_CONTEXTS = 2 * N_LEVELS * N_PHASES
WEIGHT_BITS = 12
_FINE_LEVELS = 24
_RESTLESS = 4


# Numba widens sums of int32 to int64, which has no arithmetic shift in AVX2: every
# intermediate value is narrowed again, and the loops below become vector code.


@njit(cache=True, nogil=True, inline="always")
def _smooth_deviation(
    deviation: NDArray[np.int32], columns: NDArray[np.int32], smooth: NDArray[np.int32]
) -> None:  # pragma: no cover
    """3 x 3 sums of ``deviation``; what lies outside counts as 0."""
    height, width = deviation.shape
    for y in range(height):
        _sum_of_three(deviation[y], columns[y])
    for y in range(height):
        for x in range(width):
            smooth[y, x] = columns[y, x]
        if y > 0:
            for x in range(width):
                smooth[y, x] = np.int32(smooth[y, x] + columns[y - 1, x])
        if y + 1 < height:
            for x in range(width):
                smooth[y, x] = np.int32(smooth[y, x] + columns[y + 1, x])


@njit(cache=True, nogil=True, inline="always")
def _sum_of_three(row: NDArray[np.int32], sums: NDArray[np.int32]) -> None:  # pragma: no cover
    width = row.size
    if width == 1:
        sums[0] = row[0]
        return
    sums[0] = np.int32(row[0] + row[1])
    left, middle, right = row[:-2], row[1:-1], row[2:]
    inner = sums[1:-1]
    for x in range(inner.size):
        inner[x] = np.int32(np.int32(left[x] + middle[x]) + right[x])
    sums[width - 1] = np.int32(row[width - 2] + row[width - 1])


@njit(cache=True, nogil=True, inline="always")
def _above(residuals: NDArray[np.int32], y: int, up: NDArray[np.int32]) -> None:  # pragma: no cover
    """Sums of three residuals in the row above."""
    if y > 0:
        _sum_of_three(residuals[y - 1], up)
    else:
        for x in range(up.size):
            up[x] = 0


@njit(cache=True, nogil=True, inline="always")
def _predict_row(
    means: NDArray[np.int32],
    up: NDArray[np.int32],
    smooth: NDArray[np.int32],
    weight_up: int,
    weight_past: int,
    top: int,
    contexts: NDArray[np.uint16],
    bases: NDArray[np.int32],
) -> None:  # pragma: no cover
    wu, wp = np.int32(weight_up), np.int32(weight_past)
    zero, highest = np.int32(0), np.int32(top * UNIT)
    for x in range(means.size):
        weighted = np.int32(np.int32(wu * up[x]) + np.int32(wp * smooth[x]))
        correction = np.int32(weighted >> np.int32(WEIGHT_BITS))
        expected = np.int32(means[x] + correction)
        expected = min(expected, highest)
        expected = max(expected, zero)
        base = np.int32(expected >> np.int32(3))
        phase = np.int32(np.int32(expected >> np.int32(1)) & np.int32(3))
        coarse = np.int32(
            np.int32(base >> np.int32(3)) + np.int32(_FINE_LEVELS - _FINE_LEVELS // 8)
        )
        level = coarse if base >= np.int32(_FINE_LEVELS) else base
        level = min(level, np.int32(N_LEVELS - 1))
        restless = (correction >= np.int32(_RESTLESS)) | (correction <= np.int32(-_RESTLESS))
        level = np.int32(level + np.int32(N_LEVELS)) if restless else level
        contexts[x] = np.uint16(np.int32(level << np.int32(2)) + phase)
        bases[x] = base


@njit(cache=True, nogil=True, inline="always")
def _remember(
    residuals: NDArray[np.int32], deviation: NDArray[np.int32]
) -> None:  # pragma: no cover
    """Deviation so far: a running mean over about four frames, in 64ths of a code."""
    for y in range(residuals.shape[0]):
        for x in range(residuals.shape[1]):
            d = deviation[y, x]
            change = np.int32(np.int32(residuals[y, x] << np.int32(3)) - d)
            deviation[y, x] = np.int32(d + np.int32(change >> np.int32(2)))


@njit(cache=True, nogil=True, inline="always")
def residual_of(code: np.int32, mean: np.int32) -> np.int32:  # pragma: no cover
    """How far the middle of a code is from the mean, in eighths of a code."""
    return np.int32(np.int32(np.int32(code * np.int32(UNIT)) + np.int32(UNIT // 2)) - mean)


@njit(cache=True, nogil=True)
def model_tile(
    codes: NDArray[np.uint16],
    means: NDArray[np.int32],
    weight_up: int,
    weight_past: int,
    top: int,
    contexts: NDArray[np.uint16],
    symbols: NDArray[np.uint8],
) -> None:  # pragma: no cover
    """Context and symbol of every pixel of a tile, shape (t, y, x); outputs in that order.

    A symbol is the code minus the prediction plus 127; 255 where that does not fit.
    """
    n_frames, height, width = codes.shape
    residuals = np.zeros((height, width), np.int32)
    deviation = np.zeros((height, width), np.int32)
    columns = np.zeros((height, width), np.int32)
    smooth = np.zeros((height, width), np.int32)
    up = np.zeros(width, np.int32)
    bases = np.zeros(width, np.int32)
    at = 0
    for t in range(n_frames):
        if t > 0:
            _remember(residuals, deviation)
            _smooth_deviation(deviation, columns, smooth)
        for y in range(height):
            _above(residuals, y, up)
            row = contexts[at : at + width]
            _predict_row(means[y], up, smooth[y], weight_up, weight_past, top, row, bases)
            line, out, mean, residual = (
                codes[t, y],
                symbols[at : at + width],
                means[y],
                residuals[y],
            )
            for x in range(width):
                code = np.int32(line[x])
                symbol = np.int32(np.int32(code - bases[x]) + np.int32(MIDDLE))
                fits = (symbol >= np.int32(0)) & (symbol < np.int32(ESCAPE))
                out[x] = np.uint8(symbol if fits else np.int32(ESCAPE))
                residual[x] = residual_of(code, mean[x])
            at += width


@njit(cache=True, nogil=True)
def weight_sums(
    codes: NDArray[np.uint16], means: NDArray[np.int32], sums: NDArray[np.float64]
) -> None:  # pragma: no cover
    """Add to the normal equations of a residual on the row above and on the past.

    ``sums`` holds up², up·past, past², up·residual, past·residual.
    """
    n_frames, height, width = codes.shape
    residuals = np.zeros((height, width), np.int32)
    deviation = np.zeros((height, width), np.int32)
    columns = np.zeros((height, width), np.int32)
    smooth = np.zeros((height, width), np.int32)
    up = np.zeros(width, np.int32)
    for t in range(n_frames):
        if t > 0:
            _remember(residuals, deviation)
            _smooth_deviation(deviation, columns, smooth)
        for y in range(height):
            _above(residuals, y, up)
            for x in range(width):
                residual = residual_of(np.int32(codes[t, y, x]), means[y, x])
                residuals[y, x] = residual
                if t > 0 and y > 0:
                    u, p, r = float(up[x]), float(smooth[y, x]), float(residual)
                    sums[0] += u * u
                    sums[1] += u * p
                    sums[2] += p * p
                    sums[3] += u * r
                    sums[4] += p * r


def weights_from(sums: NDArray[np.float64]) -> tuple[int, int]:
    """Least-squares weights of the row above and of the past, in 4096ths."""
    uu, up, pp, ur, pr = (float(s) for s in sums)
    ridge = 1e-6 * (uu + pp) + 1.0
    determinant = (uu + ridge) * (pp + ridge) - up * up
    above = ((pp + ridge) * ur - up * pr) / determinant
    past = ((uu + ridge) * pr - up * ur) / determinant
    scale = 1 << WEIGHT_BITS
    return tuple(int(np.clip(round(w * scale), -scale, scale)) for w in (above, past))  # type: ignore[return-value]
