"""Length and area of digital outlines from the lines that cross them (Crofton)."""

from __future__ import annotations

from itertools import product
from math import gcd

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.spatial import SphericalVoronoi

# Diagonal steps go this far sideways, in heights of a plane. At 0.5 × 0.1 × 0.1 µm the area of
# planes of any orientation comes out at 0.92-1.06 of the truth (1.0: 0.93-1.02; steps to the
# nearest pixel: 0.77-1.10), and that of balls of 1 µm radius at 0.98 (1.0: 0.96).
_SIDEWAYS = 0.8
_SLAB_VOXELS = 1 << 22

__all__ = ["crossing_counts", "crossing_weights", "lattice_steps"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def lattice_steps(spacing_um: tuple[float, ...]) -> IntArray:
    """Steps between pixels in well-spread directions: 4 in an image, 13 in a stack.

    Parameters
    ----------
    spacing_um : tuple of two or three float
        Distance between pixel centres along each axis.

    Returns
    -------
    ndarray of int64, shape (4, 2) or (13, 3), px
        One of each pair of opposite steps.

    Notes
    -----
    With equal spacing these are the steps to the nearest neighbours. Where planes lie further
    apart than pixels, diagonal steps go nearly as far sideways as one plane is high: steps to the
    nearest neighbours would crowd around z, and a flat cell would lose a quarter of its surface.

    Examples
    --------
    >>> lattice_steps((1.0, 1.0)).tolist()
    [[0, 1], [1, -1], [1, 0], [1, 1]]
    >>> lattice_steps((0.5, 0.1, 0.1))[-1].tolist()
    [1, 4, 4]
    """
    coarsest = max(spacing_um)
    stride = [max(1, round(_SIDEWAYS * coarsest / size)) for size in spacing_um]
    steps = []
    for signs in product((-1, 0, 1), repeat=len(spacing_um)):
        if signs <= (0,) * len(spacing_um):
            continue
        step = [sign * pixels for sign, pixels in zip(signs, stride, strict=True)]
        common = gcd(*step)
        steps.append([pixels // common for pixels in step])
    return np.array(steps, dtype=np.int64)


def crossing_weights(steps: IntArray, spacing_um: tuple[float, ...]) -> FloatArray:
    """What one pixel without a neighbour at each step adds to the outline, in µm or µm².

    Parameters
    ----------
    steps : ndarray of int, shape (s, 2) or (s, 3), px
        From :func:`lattice_steps`.
    spacing_um : tuple of float

    Returns
    -------
    ndarray, shape (s,)
        Multiply by :func:`crossing_counts`.

    Notes
    -----
    Crofton's formula is an integral over directions; each of the steps stands for the directions
    nearer to it than to any other (Voronoi weights), as proposed by Legland et al. [1]_. In the
    mean over orientations the result has no bias, also where voxels are not cubes.

    References
    ----------
    .. [1] Legland, Kiêu & Devaux (2007), Computation of Minkowski measures on 2D and 3D binary
       images. doi:10.5566/ias.v26.p83-92

    Examples
    --------
    >>> import numpy as np
    >>> crossing_weights(lattice_steps((1.0, 1.0)), (1.0, 1.0)).round(3)
    array([0.785, 0.555, 0.785, 0.555])
    """
    vectors = steps * np.asarray(spacing_um)
    lengths = np.linalg.norm(vectors, axis=1)
    share = _voronoi_shares(vectors / lengths[:, None])
    # Every line that leaves an object has entered it: a pixel without a neighbour is two crossings.
    mean_projection = np.pi if len(spacing_um) == 2 else 4.0
    weights: FloatArray = mean_projection * share * np.prod(spacing_um) / lengths
    return weights


def _voronoi_shares(directions: FloatArray) -> FloatArray:
    """Share of all orientations that lie nearest to each direction."""
    if directions.shape[1] == 3:
        both = np.concatenate([directions, -directions])
        areas = SphericalVoronoi(both, threshold=1e-9).calculate_areas()
        return np.asarray(2 * areas[: len(directions)] / areas.sum(), dtype=np.float64)
    angles = np.arctan2(directions[:, 0], directions[:, 1]) % np.pi
    order = np.argsort(angles)
    gaps = np.diff(angles[order], append=angles[order[0]] + np.pi)
    share = np.empty(len(angles))
    share[order] = (gaps + np.roll(gaps, 1)) / (2 * np.pi)
    return share


def crossing_counts(index: npt.NDArray[np.int32], n: int, steps: IntArray) -> IntArray:
    """For each object and step, the voxels from which the step leads out of the object.

    Parameters
    ----------
    index : ndarray of int32, shape (z, y, x) or (y, x)
        0 background, objects 1 to n.
    n : int
    steps : ndarray of int, shape (s, index.ndim), px

    Returns
    -------
    ndarray of int64, shape (n, s)
        Outside the image nothing belongs to an object, so objects are closed at its border.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.array([[1, 1, 1]], dtype=np.int32)
    >>> crossing_counts(one, 1, np.array([[0, 1], [1, 0]]))
    array([[1, 3]])
    """
    reach = [int(r) for r in np.abs(steps).max(axis=0)]
    counts = np.zeros((n, len(steps)), np.int64)
    planes = max(1, _SLAB_VOXELS // max(1, index[0].size))
    for first in range(0, len(index), planes):
        last = min(first + planes, len(index))
        slab = _padded(index, first, last, reach)
        strides = np.cumprod([1, *slab.shape[:0:-1]])[::-1]
        inner = (reach[0] * strides[0], (reach[0] + last - first) * strides[0])
        _add_leaving(slab.reshape(-1), inner, steps @ strides, counts)
    return counts


def _padded(
    index: npt.NDArray[np.int32], first: int, last: int, reach: list[int]
) -> npt.NDArray[np.int32]:
    """Some planes with those that steps reach from them; background beyond the image."""
    low, high = max(first - reach[0], 0), min(last + reach[0], len(index))
    beyond = (reach[0] - (first - low), reach[0] - (high - last))
    return np.pad(index[low:high], [beyond, *((r, r) for r in reach[1:])])


@njit(cache=True, nogil=True)
def _add_leaving(padded, inner, offsets, counts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for p in range(inner[0], inner[1]):
        k = padded[p]
        if k == 0:
            continue
        for s in range(offsets.size):
            if padded[p + offsets[s]] != k:
                counts[k - 1, s] += 1
