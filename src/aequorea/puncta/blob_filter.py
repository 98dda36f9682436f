"""The blob filter: separable, scaled so that a spot of height 1 is answered with 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.special import erf

from aequorea.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BlobFilter", "blob_filter", "mirrored", "respond", "spot_profile"]

Method = Literal["log", "dog"]
FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

# Of the filter over that of the spot. Wider filters hear faint spots better and split close pairs
# less; in planes a spot has fewer voxels to be heard by. Measured at an SNR of 4 (bench_puncta.py).
_WIDTH = {2: 1.25, 3: 1.15}
_REACH_SD = 4.0
# Of the two widths, where the difference is most like the Laplacian (Marr & Hildreth 1980).
_DOG_RATIO = 1.6


@dataclass(frozen=True, eq=False, kw_only=True)
class BlobFilter:
    """A sum of separable filters along z, y, x.

    Attributes
    ----------
    sigma_px : (float, float, float)
        Of the spots looked for; 0 along z for a single plane.
    terms : tuple of (ndarray, ndarray, ndarray)
        Half kernels along z, y, x of each term, from the middle outwards.
    """

    sigma_px: tuple[float, float, float]
    terms: tuple[tuple[FloatArray, FloatArray, FloatArray], ...]

    @property
    def reach_px(self) -> tuple[int, int, int]:
        """How far the filter sees along z, y, x."""
        z, y, x = (max(len(t[axis]) for t in self.terms) - 1 for axis in range(3))
        return z, y, x

    @property
    def centre(self) -> float:
        """Weight of the voxel in the middle."""
        return sum(math.prod(float(k[0]) for k in term) for term in self.terms)

    def noise_factor(self, shape: Sequence[int], places: npt.NDArray[Any]) -> FloatArray:
        """SD of the answer to white noise of SD 1 at some places; larger near mirrored edges.

        Parameters
        ----------
        shape : (int, int, int)
        places : ndarray of int, shape (n, 3)

        Returns
        -------
        ndarray, shape (n,)
        """
        squares: FloatArray = np.zeros(len(places))
        for i, a in enumerate(self.terms):
            for j, b in enumerate(self.terms[: i + 1]):
                product: FloatArray = np.ones(len(places))
                for axis in range(3):
                    product *= _products(a[axis], b[axis], shape[axis])[places[:, axis]]
                squares += product if i == j else 2 * product
        return np.sqrt(squares)


def spot_profile(sigma_px: float, offset_px: float, reach: int) -> FloatArray:
    """Share of a spot's light in each voxel along one axis, from -reach to reach.

    Parameters
    ----------
    sigma_px : float
        0 is a single plane, which has all of it.
    offset_px : float
        Of the spot's centre from the centre of the middle voxel.
    reach : int
    """
    if sigma_px == 0:
        return np.ones(1)
    edges = np.arange(-reach, reach + 2) - 0.5 - offset_px
    share: FloatArray = 0.5 * np.diff(erf(edges / (math.sqrt(2) * sigma_px)))
    return share


@cache
def blob_filter(sigma_px: tuple[float, float, float], method: Method = "log") -> BlobFilter:
    """The filter for spots of known size.

    Parameters
    ----------
    sigma_px : (float, float, float)
        SD of a spot along z, y, x in voxels; 0 along z for single planes.
    method : {"log", "dog"}
        Minus the Laplacian of a Gaussian of 1.15 times the SD (1.25 in planes), each derivative
        times its variance [1]_, or the difference of Gaussians of which one is 1.6 times wider
        than the other, with the same geometric mean.

    Returns
    -------
    BlobFilter

    Notes
    -----
    The kernels sum to 0, and a spot of height 1 seen by voxels is answered with 1 at its centre.

    References
    ----------
    .. [1] Lindeberg (1998), Int J Comput Vis 30, 79, doi:10.1023/A:1008045108935
    """
    if method not in get_args(Method):
        raise InputError(f"method: expected one of {get_args(Method)}, found {method!r}")
    axes = [axis for axis in range(3) if sigma_px[axis] > 0]
    width = _WIDTH[max(len(axes), 2)]
    if method == "log":
        widths = [width * s for s in sigma_px]
        smooth = [_gaussian(s) for s in widths]
        curved = [_curvature(s, g) for s, g in zip(widths, smooth, strict=True)]
        terms = [tuple(curved[k] if k == axis else smooth[k] for k in range(3)) for axis in axes]
    else:
        narrow = width / math.sqrt(_DOG_RATIO)
        wide = narrow * _DOG_RATIO
        terms = [tuple(_gaussian(narrow * s) for s in sigma_px)]
        terms.append(tuple(_gaussian(wide * s) for s in sigma_px))
        terms[1] = (terms[1][0], terms[1][1], -terms[1][2])
    answer = sum(
        math.prod(_answer(k, s) for k, s in zip(term, sigma_px, strict=True)) for term in terms
    )
    scaled = tuple((z, y, x / answer) for z, y, x in terms)
    return BlobFilter(sigma_px=sigma_px, terms=scaled)


def _gaussian(sigma: float) -> FloatArray:
    if sigma == 0:
        return np.ones(1)
    x = np.arange(max(1, math.ceil(_REACH_SD * sigma)) + 1)
    g = np.exp(-0.5 * (x / sigma) ** 2)
    half: FloatArray = g / (2 * g.sum() - g[0])
    return half


def _curvature(sigma: float, smooth: FloatArray) -> FloatArray:
    """Minus the second derivative times the variance, its sum made 0."""
    if sigma == 0:
        return np.zeros(1)
    x = np.arange(len(smooth))
    d = (1 - (x / sigma) ** 2) * smooth
    half: FloatArray = d - smooth * (2 * d.sum() - d[0])
    return half


def _answer(half: FloatArray, sigma: float) -> float:
    """Answer of one kernel to the profile of a centred spot of height 1."""
    if sigma == 0:
        return float(half[0])
    profile = spot_profile(sigma, 0.0, len(half) - 1)
    profile /= profile.max()
    full = np.concatenate([half[:0:-1], half])
    return float(full @ profile)


def _products(a: FloatArray, b: FloatArray, size: int) -> FloatArray:
    """Inner product of two kernels at each place of an axis, folded at its mirrored ends."""
    reach = max(len(a), len(b)) - 1
    inner = np.arange(reach, size - reach)
    border = np.setdiff1d(np.arange(size), inner)
    shared = min(len(a), len(b))
    out = np.full(size, 2 * float(a[:shared] @ b[:shared]) - a[0] * b[0])
    for place in border:
        folded = []
        for half in (a, b):
            row = np.zeros(size)
            steps = np.arange(1 - len(half), len(half))
            np.add.at(row, [mirrored(place + step, size) for step in steps], half[np.abs(steps)])
            folded.append(row)
        out[place] = folded[0] @ folded[1]
    return out


@njit(cache=True, nogil=True)
def mirrored(place: int, size: int) -> int:
    """Voxel that a place beyond the edge repeats."""
    if 0 <= place < size:
        return place
    place %= 2 * size
    return place if place < size else 2 * size - 1 - place


def respond(
    volume: npt.NDArray[Any], blobs: BlobFilter, rows: tuple[int, int], level: float
) -> Float32Array:
    """Answer of the filter in some rows of all planes.

    Parameters
    ----------
    volume : ndarray, shape (z, y, x)
    blobs : BlobFilter
    rows : (int, int)
        First row and the one after the last.
    level : float
        Taken off before filtering, so that little is lost to rounding.

    Returns
    -------
    ndarray of float32, shape (z, rows, x)
        Independent of how the image is cut into rows.
    """
    along_z, along_y, along_x = _passes(blobs)
    out = np.empty((volume.shape[0], rows[1] - rows[0], volume.shape[2]), np.float32)
    _respond(volume, np.float32(level), rows[0], along_z, along_y, along_x, out)
    return out


def _passes(blobs: BlobFilter) -> tuple[Float32Array, Float32Array, Float32Array]:
    """The sum of terms as two passes along x, four along y (some 0) and two along z."""
    reach = blobs.reach_px
    x = np.zeros((2, reach[2] + 1), np.float32)
    y = np.zeros((2, 2, reach[1] + 1), np.float32)
    z = np.zeros((2, reach[0] + 1), np.float32)

    def put(target: Float32Array, half: FloatArray) -> None:
        target[: len(half)] = half

    terms = blobs.terms
    if len(terms) == 2 and blobs.sigma_px[0] > 0:
        for k, term in enumerate(terms):
            put(z[k], term[0])
            put(y[k, k], term[1])
            put(x[k], term[2])
        return z, y, x
    # In the last two terms x is smooth then curved (Laplacian), or one Gaussian then the other.
    put(x[0], terms[-2][2])
    put(x[1], terms[-1][2])
    put(z[1], terms[-1][0])
    put(y[1, 0], terms[-2][1])
    put(y[1, 1], terms[-1][1])
    if len(terms) == 3:
        put(z[0], terms[0][0])
        put(y[0, 0], terms[0][1])
    return z, y, x


@njit(cache=True, nogil=True)
def _add_symmetric(out, rows, taps, middle, n):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Add a symmetric filter across rows, of which ``middle`` is the one in its middle."""
    for j in range(len(taps)):
        w = taps[j]
        if w == 0:
            continue
        if j == 0:
            row = rows[middle]
            for x in range(n):
                out[x] += w * row[x]
        else:
            before, after = rows[middle - j], rows[middle + j]
            for x in range(n):
                out[x] += w * (before[x] + after[x])


@njit(cache=True, nogil=True)
def _respond(volume, level, first, along_z, along_y, along_x, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    depth, height, width = volume.shape
    n_rows = out.shape[1]
    rz, ry, rx = along_z.shape[1] - 1, along_y.shape[2] - 1, along_x.shape[1] - 1
    n_kept = min(depth, 2 * rz + 1)
    kept = np.empty((2, n_kept, n_rows, width), np.float32)
    filtered = np.empty((2, n_rows + 2 * ry, width), np.float32)
    padded = np.empty(width + 2 * rx, np.float32)
    used_y = np.zeros((2, 2), np.bool_)
    for a in range(2):
        for b in range(2):
            used_y[a, b] = np.any(along_y[a, b] != 0)
    used_z = np.array([np.any(along_z[0] != 0), np.any(along_z[1] != 0)])
    for z in range(depth + rz):
        if z < depth:
            for row in range(n_rows + 2 * ry):
                source = volume[z, mirrored(first + row - ry, height)]
                for x in range(width):
                    padded[x + rx] = np.float32(source[x]) - level
                for x in range(rx):
                    padded[x] = padded[rx + mirrored(x - rx, width)]
                    padded[rx + width + x] = padded[rx + mirrored(width + x, width)]
                for b in range(2):
                    target = filtered[b, row]
                    w = along_x[b, 0]
                    for x in range(width):
                        target[x] = w * padded[x + rx]
                    for j in range(1, rx + 1):
                        w = along_x[b, j]
                        before, after = padded[rx - j : rx - j + width], padded[rx + j :]
                        for x in range(width):
                            target[x] += w * (before[x] + after[x])
            for a in range(2):
                plane = kept[a, z % n_kept]
                plane[:] = 0
                for b in range(2):
                    if used_y[a, b]:
                        for row in range(n_rows):
                            _add_symmetric(plane[row], filtered[b], along_y[a, b], row + ry, width)
        here = z - rz
        if here < 0:
            continue
        for row in range(n_rows):
            target = out[here, row]
            target[:] = 0
            for a in range(2):
                if not used_z[a]:
                    continue
                for j in range(rz + 1):
                    w = along_z[a, j]
                    before = kept[a, mirrored(here - j, depth) % n_kept, row]
                    if j == 0:
                        for x in range(width):
                            target[x] += w * before[x]
                    else:
                        after = kept[a, mirrored(here + j, depth) % n_kept, row]
                        for x in range(width):
                            target[x] += w * (before[x] + after[x])
