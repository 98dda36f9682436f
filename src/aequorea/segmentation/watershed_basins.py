"""Catchment basins of a landscape, the passes between them, and which are one object."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    import numpy.typing as npt

    Float32Array = npt.NDArray[np.float32]
    FloatArray = npt.NDArray[np.float64]
    Int32Array = npt.NDArray[np.int32]
    IntArray = npt.NDArray[np.int64]

__all__ = [
    "basins",
    "contacts",
    "cut_pointers",
    "highest_passes",
    "merged_by_neck",
    "merged_by_pass",
    "number_roots",
    "resolve",
    "saddles",
    "uphill",
]

_NEIGHBOURS = np.array(
    [
        (dz, dy, dx)
        for dz in (-1, 0, 1)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
        if (dz, dy, dx) != (0, 0, 0)
    ],
    dtype=np.int64,
)
_FORWARD = _NEIGHBOURS[len(_NEIGHBOURS) // 2 :]
_FACES = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1)], dtype=np.int64)
_LOW_WORD = 0xFFFFFFFF


@njit(cache=True, nogil=True)
def _uphill(landscape: Float32Array, neighbours: IntArray, pointer: Int32Array) -> None:
    nz, ny, nx = landscape.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                highest = landscape[z, y, x]
                p = (z * ny + y) * nx + x
                if highest == -np.inf:
                    pointer[p] = -1
                    continue
                best = p
                for k in range(neighbours.shape[0]):
                    w = z + neighbours[k, 0]
                    v = y + neighbours[k, 1]
                    u = x + neighbours[k, 2]
                    if 0 <= w < nz and 0 <= v < ny and 0 <= u < nx:
                        value = landscape[w, v, u]
                        if value >= highest:
                            q = (w * ny + v) * nx + u
                            # On a plateau everything drains to its first voxel in scan order.
                            if value > highest or q < best:
                                best, highest = q, value
                pointer[p] = best


def uphill(landscape: Float32Array) -> Int32Array:
    """Flat index of each voxel's highest neighbour, or of itself; -1 outside.

    Parameters
    ----------
    landscape : ndarray of float32, shape (z, y, x)
        Minus infinity outside; of fewer than 2³¹ voxels.

    Examples
    --------
    >>> uphill(np.array([[[1, 3, 2, 4, -np.inf]]], dtype=np.float32)).tolist()
    [1, 1, 3, 3, -1]
    """
    pointer = np.empty(landscape.size, np.int32)
    _uphill(landscape, _NEIGHBOURS, pointer)
    return pointer


@njit(cache=True, nogil=True)
def cut_pointers(pointer: Int32Array, first: IntArray, labels: Int32Array) -> Int32Array:
    """Pointers of a part of a block, from those of the whole block.

    Parameters
    ----------
    pointer : ndarray of int32, shape (z, y, x)
        Of the block, from :func:`uphill`.
    first : ndarray of int64, shape (3,)
        Where the part begins in the block.
    labels : ndarray of int32, shape (z, y, x)
        The part, filled with flat indices within it; a voxel whose ascent leaves the part points
        at itself.

    Returns
    -------
    ndarray of int32, flat
        The pointers into the block of the part's voxels.
    """
    _, by, bx = pointer.shape
    nz, ny, nx = labels.shape
    original = np.empty(labels.size, np.int32)
    p = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                q = pointer[z + first[0], y + first[1], x + first[2]]
                original[p] = q
                if q < 0:
                    labels[z, y, x] = -1
                else:
                    w = q // (by * bx) - first[0]
                    v = (q // bx) % by - first[1]
                    u = q % bx - first[2]
                    inside = 0 <= w < nz and 0 <= v < ny and 0 <= u < nx
                    labels[z, y, x] = (w * ny + v) * nx + u if inside else p
                p += 1
    return original


@njit(cache=True, nogil=True)
def resolve(pointer: Int32Array) -> int:
    """Follow pointers to their end, in place; the number of ends that point at themselves."""
    n = 0
    for p in range(pointer.size):
        if pointer[p] < 0:
            continue
        if pointer[p] == p:
            n += 1
        root = p
        while pointer[root] != root:
            root = pointer[root]
        q = p
        while pointer[q] != root:
            following = pointer[q]
            pointer[q] = root
            q = following
    return n


@njit(cache=True, nogil=True)
def number_roots(pointer: Int32Array, roots: Int32Array) -> None:
    """Replace resolved pointers by 1 to n in scan order of the roots, 0 outside, in place."""
    n = 0
    for p in range(pointer.size):
        if pointer[p] == p:
            roots[n] = p
            n += 1
    # Numbers are negative until everybody has looked up the number of its root.
    for k in range(n):
        pointer[roots[k]] = -2 - k
    for p in range(pointer.size):
        if pointer[p] >= 0:
            pointer[p] = pointer[pointer[p]]
    for p in range(pointer.size):
        pointer[p] = -pointer[p] - 1 if pointer[p] < -1 else 0


def basins(landscape: Float32Array) -> tuple[Int32Array, Int32Array]:
    """Which summit each voxel reaches by steepest ascent.

    Parameters
    ----------
    landscape : ndarray of float32, shape (z, y, x)
        Minus infinity outside.

    Returns
    -------
    labels : ndarray of int32
        0 outside; summits are numbered 1 to n in scan order.
    roots : ndarray of int32, shape (n,)
        Flat indices of the summits.

    Examples
    --------
    >>> ridge = np.array([[[1, 3, 2, 4, -np.inf]]], dtype=np.float32)
    >>> basins(ridge)[0].tolist()
    [[[1, 1, 2, 2, 0]]]
    """
    pointer = uphill(landscape)
    roots = np.empty(resolve(pointer), np.int32)
    number_roots(pointer, roots)
    return pointer.reshape(landscape.shape), roots


@njit(cache=True, nogil=True)
def _passes(
    landscape: Float32Array,
    labels: Int32Array,
    forward: IntArray,
    codes: IntArray,
    heights: Float32Array,
) -> int:
    """Pairs of neighbouring voxels of different basins; only counts them if codes is empty."""
    nz, ny, nx = labels.shape
    n = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                a = abs(labels[z, y, x])
                if a == 0:
                    continue
                for k in range(forward.shape[0]):
                    w = z + forward[k, 0]
                    v = y + forward[k, 1]
                    u = x + forward[k, 2]
                    if w < nz and 0 <= v < ny and 0 <= u < nx:
                        b = abs(labels[w, v, u])
                        if b > 0 and b != a:
                            if codes.size:
                                codes[n] = (np.int64(min(a, b)) << 32) | np.int64(max(a, b))
                                heights[n] = min(landscape[z, y, x], landscape[w, v, u])
                            n += 1
    return n


def saddles(landscape: Float32Array, labels: Int32Array) -> tuple[IntArray, Float32Array]:
    """Highest pass between each two basins that touch.

    Returns
    -------
    pairs : ndarray of int64, shape (m, 2)
        Labels, the smaller first; sorted.
    heights : ndarray of float32, shape (m,)

    Examples
    --------
    >>> ridge = np.array([[[1, 3, 2, 4]]], dtype=np.float32)
    >>> pairs, heights = saddles(ridge, basins(ridge)[0])
    >>> pairs.tolist(), heights.tolist()
    ([[1, 2]], [2.0])
    """
    n = _passes(landscape, labels, _FORWARD, np.empty(0, np.int64), np.empty(0, np.float32))
    codes, heights = np.empty(n, np.int64), np.empty(n, np.float32)
    if n:
        _passes(landscape, labels, _FORWARD, codes, heights)
    return highest_passes(codes, heights)


def highest_passes(codes: IntArray, heights: Float32Array) -> tuple[IntArray, Float32Array]:
    """The largest height of each code, as pairs of labels."""
    order = np.lexsort((heights, codes))
    codes, heights = codes[order], heights[order]
    last = np.ones(len(codes), dtype=bool)
    last[:-1] = codes[1:] != codes[:-1]
    return _pairs(codes[last]), heights[last]


def _pairs(codes: IntArray) -> IntArray:
    return np.stack([codes >> 32, codes & _LOW_WORD], axis=1)


@njit(cache=True, nogil=True)
def _faces(labels: Int32Array, forward: IntArray, codes: IntArray, axes: Int32Array) -> int:
    nz, ny, nx = labels.shape
    n = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                a = labels[z, y, x]
                if a == 0:
                    continue
                for k in range(3):
                    w = z + forward[k, 0]
                    v = y + forward[k, 1]
                    u = x + forward[k, 2]
                    if w < nz and v < ny and u < nx:
                        b = labels[w, v, u]
                        if b > 0 and b != a:
                            if codes.size:
                                codes[n] = (np.int64(min(a, b)) << 32) | np.int64(max(a, b))
                                axes[n] = k
                            n += 1
    return n


def contacts(labels: Int32Array) -> tuple[IntArray, IntArray]:
    """How many voxel faces each two labels share, across each axis.

    Returns
    -------
    pairs : ndarray of int64, shape (m, 2)
    faces : ndarray of int64, shape (m, 3)

    Examples
    --------
    >>> pairs, faces = contacts(np.array([[[1, 2], [1, 2]]], dtype=np.int32))
    >>> pairs.tolist(), faces.tolist()
    ([[1, 2]], [[0, 0, 2]])
    """
    n = _faces(labels, _FACES, np.empty(0, np.int64), np.empty(0, np.int32))
    codes, axes = np.empty(n, np.int64), np.empty(n, np.int32)
    if n:
        _faces(labels, _FACES, codes, axes)
    found, which = np.unique(codes, return_inverse=True)
    faces = np.bincount(3 * which + axes, minlength=3 * len(found))
    return _pairs(found), faces.reshape(-1, 3).astype(np.int64)


@njit(cache=True, nogil=True)
def _unite(pairs: IntArray, heights: FloatArray, summits: FloatArray, tolerance: float) -> IntArray:
    parent = np.arange(summits.size)
    for k in range(pairs.shape[0]):
        i, j = pairs[k, 0], pairs[k, 1]
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        while parent[j] != j:
            parent[j] = parent[parent[j]]
            j = parent[j]
        if i == j:
            continue
        if summits[i] > summits[j] or (summits[i] == summits[j] and i < j):
            low, high = j, i
        else:
            low, high = i, j
        if summits[low] - heights[k] < tolerance * abs(summits[low]):
            parent[low] = high
    for i in range(parent.size):
        root = i
        while parent[root] != root:
            root = parent[root]
        parent[i] = root
    return parent


def merged_by_pass(
    pairs: IntArray, heights: Float32Array, summits: FloatArray, tolerance: float
) -> IntArray:
    """Unite basins whose summit rises too little above the pass to a higher one.

    Parameters
    ----------
    pairs : ndarray of int64, shape (m, 2)
        Basins that touch.
    heights : ndarray, shape (m,)
        Highest pass between them.
    summits : ndarray of float64, shape (n + 1,)
        Height of the basins; element 0 is not used.
    tolerance : float
        A basin stays on its own if its summit stands at least this fraction of its height above
        the pass.

    Returns
    -------
    ndarray of int64, shape (n + 1,)
        The basin that each one belongs to, which is the one with the highest summit.

    Notes
    -----
    Passes are crossed from the highest down, so a basin is compared with what has grown around
    the pass so far: its dynamics [1]_, relative to its height.

    References
    ----------
    .. [1] Najman & Schmitt (1996), IEEE Trans Pattern Anal 18, 1163, doi:10.1109/34.546254

    Examples
    --------
    >>> merged_by_pass(np.array([[1, 2]]), np.array([9.5]), np.array([0, 10.0, 20.0]), 0.1).tolist()
    [0, 2, 2]
    """
    order = np.argsort(-heights, kind="stable")
    united: IntArray = _unite(
        pairs[order], heights[order].astype(np.float64), summits, float(tolerance)
    )
    return united


def merged_by_neck(
    pairs: IntArray,
    contact: FloatArray,
    volumes: npt.NDArray[Any],
    largest: float,
    ndim: int,
) -> IntArray:
    """Unite pieces whose contact is wide for the smaller one's size, the widest first.

    Parameters
    ----------
    pairs : ndarray of int64, shape (m, 2)
    contact : ndarray, shape (m,)
        Length (2D) or area (3D) of the contact, px of x.
    volumes : ndarray, shape (n + 1,)
        Area or volume of the pieces, px of x; element 0 is not used.
    largest : float
        Width of contact over diameter above which two pieces are one.
    ndim : {2, 3}

    Returns
    -------
    ndarray of int64, shape (n + 1,)
        The piece that each one belongs to.

    Notes
    -----
    The diameter is that of the disc (ball) of the same size; the width of a contact in 3D that of
    a disc of its area.
    """
    touching: dict[int, dict[int, float]] = {}
    for (a, b), size in zip(pairs.tolist(), contact.tolist(), strict=True):
        touching.setdefault(a, {})[b] = size
        touching.setdefault(b, {})[a] = size
    volume = volumes.tolist()
    parent = np.arange(len(volume))

    def neck(a: int, b: int) -> float:
        smaller = min(volume[a], volume[b])
        if ndim == 2:
            return float(touching[a][b] / (4 * smaller / np.pi) ** 0.5)
        return float((4 * touching[a][b] / np.pi) ** 0.5 / (6 * smaller / np.pi) ** (1 / 3))

    heap = [(-neck(a, b), a, b) for a, b in pairs.tolist()]
    heapq.heapify(heap)
    while heap:
        width, a, b = heapq.heappop(heap)
        if -width <= largest:
            break
        if b not in touching.get(a, {}) or -neck(a, b) != width:
            continue
        parent[b] = a
        volume[a] += volume[b]
        for other, size in touching.pop(b).items():
            del touching[other][b]
            if other != a:
                touching[a][other] = touching[other][a] = touching[a].get(other, 0.0) + size
        for other in touching[a]:
            low, high = min(a, other), max(a, other)
            heapq.heappush(heap, (-neck(low, high), low, high))
    for k in range(len(parent)):
        while parent[k] != parent[parent[k]]:
            parent[k] = parent[parent[k]]
    return parent
