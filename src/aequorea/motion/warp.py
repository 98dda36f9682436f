"""Frames with their motion undone: interpolated at where each pixel has gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from aequorea.errors import AxisMismatchError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Edges", "Interpolation", "tap_weights", "undo_motion", "undo_shifts"]

Interpolation = Literal["cubic", "linear", "nearest"]
Edges = Literal["nan", "nearest"]

_STEPS = 256  # of the tabulated weights: an error of 1/512 px


def undo_shifts(
    frames: npt.NDArray[Any],
    shift_yx_px: npt.ArrayLike,
    *,
    interpolation: Interpolation = "cubic",
    edges: Edges = "nan",
) -> NDArray[np.float32]:
    """Move whole frames back by their shifts.

    Parameters
    ----------
    frames : ndarray, shape (t, y, x)
    shift_yx_px : array_like, shape (t, 2), px
        What is at p in the reference is at p + shift in the frame.
    interpolation : {"cubic", "linear", "nearest"}
        Cubic convolution (Keys 1981, doi:10.1109/TASSP.1981.1163711), linear, or none: whole
        pixels.
    edges : {"nan", "nearest"}
        What a pixel becomes that comes from outside the frame: NaN, or the nearest pixel.

    Returns
    -------
    ndarray of float32, shape (t, y, x)
        NaN in frames whose shift is NaN.

    Examples
    --------
    >>> frame = np.zeros((1, 4, 4)); frame[0, 2, 1] = 8
    >>> undo_shifts(frame, [[1, 0]])[0, 1].tolist()
    [0.0, 8.0, 0.0, 0.0]
    """
    shift = np.asarray(shift_yx_px, dtype=np.float64)
    if shift.shape != (len(frames), 2):
        raise AxisMismatchError(
            f"shift_yx_px: expected shape ({len(frames)}, 2) for {len(frames)} frames, "
            f"found {shift.shape}"
        )
    _check(interpolation, edges)
    if interpolation == "nearest":
        shift = np.rint(shift)
    weights = tap_weights(interpolation)
    moved = _rigid(np.ascontiguousarray(frames), shift, weights, edges == "nan")
    return np.asarray(moved, dtype=np.float32)


def undo_motion(
    frames: npt.NDArray[Any],
    field_yx_px: npt.ArrayLike,
    *,
    interpolation: Interpolation = "cubic",
    edges: Edges = "nan",
) -> NDArray[np.float32]:
    """Move frames back by a displacement that differs from place to place.

    Parameters
    ----------
    frames : ndarray, shape (t, y, x)
    field_yx_px : array_like, shape (t, rows, columns, 2), px
        Displacement at nodes that span the frame evenly from corner pixel to corner pixel;
        linear between them. What is at p in the reference is at p + displacement in the frame.
    interpolation, edges
        As for :func:`undo_shifts`.

    Returns
    -------
    ndarray of float32, shape (t, y, x)
    """
    field = np.ascontiguousarray(field_yx_px, dtype=np.float32)
    if field.ndim != 4 or len(field) != len(frames) or field.shape[3] != 2:
        raise AxisMismatchError(
            f"field_yx_px: expected shape ({len(frames)}, rows, columns, 2), found {field.shape}"
        )
    if min(field.shape[1:3]) < 2:
        raise InputError(f"field_yx_px: expected 2 nodes or more, found {field.shape[1:3]}")
    _check(interpolation, edges)
    weights = tap_weights(interpolation)
    moved = _elastic(np.ascontiguousarray(frames), field, weights, edges == "nan")
    return np.asarray(moved, dtype=np.float32)


def _check(interpolation: str, edges: str) -> None:
    if interpolation not in get_args(Interpolation):
        expected = ", ".join(get_args(Interpolation))
        raise InputError(f"interpolation: expected one of {expected}, got {interpolation!r}")
    if edges not in get_args(Edges):
        raise InputError(f"edges: expected nan or nearest, got {edges!r}")


def tap_weights(interpolation: str) -> NDArray[np.float32]:
    """Of the pixels at -1, 0, 1 and 2, for each fraction of a pixel."""
    u = np.arange(_STEPS + 1)[:, None] / _STEPS
    away = np.abs(u - np.array([-1.0, 0.0, 1.0, 2.0]))
    if interpolation == "cubic":
        near = (1.5 * away - 2.5) * away**2 + 1
        far = ((-0.5 * away + 2.5) * away - 4) * away + 2
        weights = np.where(away <= 1, near, np.where(away < 2, far, 0))
    elif interpolation == "linear":
        weights = np.maximum(1 - away, 0)
    else:
        weights = np.where(u < 0.5, [[0, 1, 0, 0]], [[0, 0, 1, 0]])
    return np.asarray(weights, dtype=np.float32)


@njit(cache=True, nogil=True, parallel=True)
def _rigid(frames, shift, weights, edges_nan):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n, height, width = frames.shape
    moved = np.empty((n, height, width), np.float32)
    steps = weights.shape[0] - 1
    for t in prange(n):
        dy, dx = shift[t, 0], shift[t, 1]
        if not (abs(dy) < height and abs(dx) < width):
            moved[t] = np.nan
            continue
        whole_y, whole_x = int(np.floor(dy)), int(np.floor(dx))
        wy = weights[int(np.rint((dy - whole_y) * steps))]
        wx = weights[int(np.rint((dx - whole_x) * steps))]
        line = np.empty(width + 3, np.float32)
        for y in range(height):
            outside_y = edges_nan and not 0 <= y + dy <= height - 1
            rows = (
                min(max(y + whole_y - 1, 0), height - 1),
                min(max(y + whole_y, 0), height - 1),
                min(max(y + whole_y + 1, 0), height - 1),
                min(max(y + whole_y + 2, 0), height - 1),
            )
            first = max(0, 1 - whole_x)
            last = min(width + 3, width + 1 - whole_x)
            a, b, c, d = (
                frames[t, rows[0]],
                frames[t, rows[1]],
                frames[t, rows[2]],
                frames[t, rows[3]],
            )
            base = whole_x - 1
            for k in range(first, last):
                x = k + base
                line[k] = wy[0] * a[x] + wy[1] * b[x] + wy[2] * c[x] + wy[3] * d[x]
            for k in range(first):
                line[k] = line[first]
            for k in range(last, width + 3):
                line[k] = line[last - 1]
            for x in range(width):
                moved[t, y, x] = (
                    wx[0] * line[x]
                    + wx[1] * line[x + 1]
                    + wx[2] * line[x + 2]
                    + wx[3] * line[x + 3]
                )
            if edges_nan:
                if outside_y:
                    moved[t, y] = np.nan
                else:
                    for x in range(min(width, max(0, int(np.ceil(-dx))))):
                        moved[t, y, x] = np.nan
                    for x in range(max(0, min(width, width - int(np.ceil(dx)))), width):
                        moved[t, y, x] = np.nan
    return moved


@njit(cache=True, nogil=True, parallel=True)
def _elastic(frames, field, weights, edges_nan):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n, height, width = frames.shape
    rows, columns = field.shape[1], field.shape[2]
    moved = np.empty((n, height, width), np.float32)
    steps = np.float32(weights.shape[0] - 1)
    for t in prange(n):
        here = np.empty((columns, 2), np.float32)
        for y in range(height):
            at = np.float32(y * (rows - 1)) / np.float32(max(height - 1, 1))
            node = min(int(at), rows - 2)
            part = at - np.float32(node)
            for k in range(columns):
                for d in range(2):
                    above, below = field[t, node, k, d], field[t, node + 1, k, d]
                    here[k, d] = above + part * (below - above)
            for x in range(width):
                at = np.float32(x * (columns - 1)) / np.float32(max(width - 1, 1))
                node_x = min(int(at), columns - 2)
                part_x = at - np.float32(node_x)
                fy = (
                    np.float32(y)
                    + here[node_x, 0]
                    + part_x * (here[node_x + 1, 0] - here[node_x, 0])
                )
                fx = (
                    np.float32(x)
                    + here[node_x, 1]
                    + part_x * (here[node_x + 1, 1] - here[node_x, 1])
                )
                if not (fy > -height and fy < 2 * height and fx > -width and fx < 2 * width):
                    moved[t, y, x] = np.nan
                    continue
                if edges_nan and not (0 <= fy <= height - 1 and 0 <= fx <= width - 1):
                    moved[t, y, x] = np.nan
                    continue
                whole_y, whole_x = int(np.floor(fy)), int(np.floor(fx))
                wy = weights[int((fy - whole_y) * steps + np.float32(0.5))]
                wx = weights[int((fx - whole_x) * steps + np.float32(0.5))]
                total = np.float32(0)
                if 1 <= whole_y < height - 2 and 1 <= whole_x < width - 2:
                    for j in range(4):
                        line = frames[t, whole_y - 1 + j]
                        total += wy[j] * (
                            wx[0] * line[whole_x - 1]
                            + wx[1] * line[whole_x]
                            + wx[2] * line[whole_x + 1]
                            + wx[3] * line[whole_x + 2]
                        )
                else:
                    for j in range(4):
                        r = min(max(whole_y - 1 + j, 0), height - 1)
                        for i in range(4):
                            c = min(max(whole_x - 1 + i, 0), width - 1)
                            total += wy[j] * wx[i] * np.float32(frames[t, r, c])
                moved[t, y, x] = total
    return moved
