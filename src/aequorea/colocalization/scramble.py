"""Costes' randomization: Pearson's r against one channel cut in blocks and shuffled."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from aequorea.colocalization.channel_pair import channel_pair, numeric_image
from aequorea.errors import InputError

__all__ = [
    "costes_randomization",
    "costes_randomization_steps",
    "guided_block_size",
    "scramble_example",
]

FloatArray = npt.NDArray[np.float64]
BlockSize = int | Sequence[int]
BlockChoice = Literal["grid", "inside"]

# Permutations of like blocks give the same r, up to the order in which it was summed.
_ROUNDING = 1e-9
_BATCH = 20  # permutations per task: their dot products share each block of a while it is in cache


def costes_randomization(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    mask: npt.ArrayLike | None = None,
    n_iter: int = 200,
    block_size: BlockSize = 8,
    seed: int | None = None,
    *,
    blocks: BlockChoice = "grid",
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Place Pearson's r against r with the blocks of channel b permuted.

    Parameters
    ----------
    a, b : array_like
        Same-shape intensity images, 2D or 3D; cropped to a whole number of blocks.
    mask : array_like, optional
        Non-zero where pixels count. The blocks move everywhere, the mask stays.
    n_iter : int, default 200
        Number of permutations.
    block_size : int or sequence of int, default 8
        Edge of the blocks, px, the same for all axes or one per axis. It must exceed the
        autocorrelation length for the p-value to hold, see :func:`guided_block_size`.
    seed : int, optional
        Seed of the permutations.
    blocks : {"grid", "inside"}, default "grid"
        "grid" permutes all blocks of the image, as the original does. "inside" uses only the
        blocks that lie wholly in the mask, so that no background is moved into a cell.
    progress : callable, optional
        Called with (permutations done, permutations wanted).
    workers : int, optional
        Threads; all cores by default. The result does not depend on it.

    Returns
    -------
    dict
        ``observed`` : r of the cropped images in the region;
        ``null`` : ndarray, shape (n_iter,), r of each permutation (NaN if undefined);
        ``p_value`` : (#{null >= observed} + 1) / (n + 1) over the n defined permutations, values
        that differ by rounding only counting as equal;
        ``z_score`` : (observed - mean) / population SD of the null;
        ``hypothesis`` : the null in words;
        ``n_blocks``, ``n_pixels`` : blocks permuted and pixels correlated.

    Raises
    ------
    ValueError
        If shapes differ, a channel is constant or not finite, the mask holds fewer than two
        pixels of whole blocks, or fewer than two blocks can be permuted.

    Notes
    -----
    The blocks of b are independent of those of a only if they are larger than the correlation
    length of the stain and if all blocks are alike. A cell on dark background without a mask
    fails that (unrelated stains come out significant), and blocks of background moved into a mask
    make the test err the other way; prefer ``blocks="inside"`` with a mask. The level of this test
    is not calibrated: it is a diagnostic. For a p-value that holds its level use
    :func:`aequorea.colocalization.significance.significance`.

    r of a permutation needs the products of block k of a with block π(k) of b and, under a mask,
    the sums of b there. Blocks are laid out contiguously once and nothing is copied per
    permutation: cost O(pixels * n_iter) multiplications, memory two copies of the images.

    References
    ----------
    .. [1] Costes et al. (2004), doi:10.1529/biophysj.103.038422

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a = rng.random((64, 64)); b = a + rng.random((64, 64))
    >>> result = costes_randomization(a, b, n_iter=99, seed=1)
    >>> round(result["observed"], 1), result["p_value"]
    (0.7, 0.01)
    """
    steps = costes_randomization_steps(
        a, b, mask, n_iter, block_size, seed, blocks=blocks, workers=workers
    )
    while True:
        try:
            done, total = next(steps)
        except StopIteration as finished:
            result: dict[str, Any] = finished.value
            return result
        if progress is not None:
            progress(done, total)


def costes_randomization_steps(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    mask: npt.ArrayLike | None = None,
    n_iter: int = 200,
    block_size: BlockSize = 8,
    seed: int | None = None,
    *,
    blocks: BlockChoice = "grid",
    workers: int | None = None,
) -> Generator[tuple[int, int], None, dict[str, Any]]:
    """:func:`costes_randomization` as a generator, for a progress bar with a cancel button.

    Yields
    ------
    tuple of int
        (permutations done, permutations wanted); close the generator to cancel.

    Returns
    -------
    dict
        The generator's return value, as of :func:`costes_randomization`.
    """
    n_wanted = _whole_number(n_iter, "n_iter", 1)
    sample = _blocked_pair(a, b, mask, block_size, blocks)
    observed = float(_correlations(sample, np.arange(sample.n_blocks, dtype=np.int64)[None])[0])
    if not np.isfinite(observed):
        raise InputError(
            "block scramble: expected two channels that vary in the whole blocks of the region, "
            "found a constant one; use smaller blocks or another region"
        )
    null = np.empty(n_wanted)
    done = 0
    yield done, n_wanted
    rng = np.random.default_rng(seed)
    for batch in _null_batches(sample, n_wanted, rng, workers):
        null[done : done + batch.size] = batch
        done += batch.size
        yield done, n_wanted
    return {
        "observed": observed,
        "null": null,
        **_placed(observed, null),
        "hypothesis": _hypothesis(blocks, sample.n_blocks),
        "n_blocks": sample.n_blocks,
        "n_pixels": sample.n_pixels,
    }


def scramble_example(
    image: npt.ArrayLike, block_size: BlockSize = 8, seed: int | None = None
) -> npt.NDArray[Any]:
    """One block-scrambled copy of an image, to look at what the randomization does.

    Parameters
    ----------
    image : array_like
    block_size : int or sequence of int, default 8
        Edge of the blocks, px.
    seed : int, optional

    Returns
    -------
    ndarray
        Same shape and dtype; the remainder beyond whole blocks is left unchanged.

    Raises
    ------
    ValueError
        If a block is larger than the image.

    Examples
    --------
    >>> scramble_example([[1, 2, 3, 4, 5]], block_size=(1, 2), seed=3).tolist()
    [[3, 4, 1, 2, 5]]
    """
    array = numeric_image(image, "image")
    sizes = _block_sizes(block_size, array.shape)
    grid = tuple(n // s for n, s in zip(array.shape, sizes, strict=True))
    crop = tuple(slice(0, g * s) for g, s in zip(grid, sizes, strict=True))
    cut = _cut(array[crop], sizes)
    shuffled = cut[np.random.default_rng(seed).permutation(len(cut))]
    scrambled = array.copy()
    scrambled[crop] = _pasted(shuffled, grid, sizes)
    return scrambled


def guided_block_size(a: npt.ArrayLike, b: npt.ArrayLike, mask: npt.ArrayLike | None = None) -> int:
    """Smallest block edge that outruns the autocorrelation of both channels, px.

    Parameters
    ----------
    a, b : array_like
        Same-shape intensity images.
    mask : array_like, optional
        Non-zero where pixels count.

    Returns
    -------
    int
        Four times the longest correlation length, rounded up, at least 2. Axes of one pixel
        have none.

    Raises
    ------
    ValueError
        As :func:`costes_randomization`, and if the autocorrelation does not fall to 1/e within
        the region.

    Notes
    -----
    The lag at which the autocorrelation falls to 1/e is 2 σ for an image smoothed with σ. Blocks
    smaller than a few times that reject unrelated images too often. White noise on top of a
    smooth stain shortens the apparent length; denoise a copy to choose the size, not to test.
    """
    from aequorea.colocalization.autocorrelation import correlation_length_px

    pair = channel_pair(a, b, mask)
    lengths = np.array([correlation_length_px(image, pair.mask) for image in (pair.a, pair.b)])
    length = lengths[:, np.array(pair.a.shape) > 1].max()
    if not np.isfinite(length):
        raise InputError(
            "block size: expected an autocorrelation that falls off within the region, found one "
            "that does not; the region is too small for a block scramble"
        )
    return max(2, int(np.ceil(4.0 * length)))


@dataclass(frozen=True)
class _BlockedPair:
    """Two images as contiguous blocks, shape (n_blocks, pixels per block)."""

    a: npt.NDArray[Any]
    b: npt.NDArray[Any]
    weight: npt.NDArray[np.bool_] | None  # None: every pixel of every block counts
    centre_a: float
    centre_b: float
    sum_b: FloatArray  # of each block, about centre_b
    square_b: FloatArray

    @property
    def n_blocks(self) -> int:
        return int(self.a.shape[0])

    @property
    def n_pixels(self) -> int:
        return int(self.a.size if self.weight is None else np.count_nonzero(self.weight))


def _whole_number(value: int, name: str, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name}: expected a whole number, found {value!r}") from None
    if number < least:
        raise InputError(f"{name}: expected at least {least}, found {number}")
    return number


def _block_sizes(block_size: BlockSize, shape: tuple[int, ...]) -> tuple[int, ...]:
    given = (
        block_size if isinstance(block_size, Sequence | np.ndarray) else [block_size] * len(shape)
    )
    sizes = tuple(_whole_number(size, "block_size", 1) for size in given)
    if len(sizes) != len(shape):
        raise InputError(
            f"block_size: expected one number or {len(shape)}, found {len(sizes)} for an image "
            f"of shape {shape}"
        )
    if any(size > length for size, length in zip(sizes, shape, strict=True)):
        raise InputError(
            f"block_size {sizes} is larger than the image {shape}; choose smaller blocks"
        )
    return sizes


def _cut(image: npt.NDArray[Any], sizes: tuple[int, ...]) -> npt.NDArray[Any]:
    """Blocks in C order of the grid, each flattened: shape (n_blocks, pixels per block)."""
    grid = [n // s for n, s in zip(image.shape, sizes, strict=True)]
    interleaved = image.reshape([n for pair in zip(grid, sizes, strict=True) for n in pair])
    order = [*range(0, 2 * image.ndim, 2), *range(1, 2 * image.ndim, 2)]
    return np.ascontiguousarray(interleaved.transpose(order)).reshape(
        int(np.prod(grid)), int(np.prod(sizes))
    )


def _pasted(
    cut: npt.NDArray[Any], grid: tuple[int, ...], sizes: tuple[int, ...]
) -> npt.NDArray[Any]:
    ndim = len(grid)
    order = [axis for k in range(ndim) for axis in (k, k + ndim)]
    shape = [g * s for g, s in zip(grid, sizes, strict=True)]
    return cut.reshape(*grid, *sizes).transpose(order).reshape(shape)


def _blocked_pair(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    mask: npt.ArrayLike | None,
    block_size: BlockSize,
    blocks: BlockChoice,
) -> _BlockedPair:
    if blocks not in ("grid", "inside"):
        raise InputError(f'blocks: expected "grid" or "inside", found {blocks!r}')
    pair = channel_pair(a, b, mask, finite_everywhere=blocks == "grid")
    sizes = _block_sizes(block_size, pair.a.shape)
    crop = tuple(slice(0, n - n % s) for n, s in zip(pair.a.shape, sizes, strict=True))
    cut_a, cut_b = (_cut(_countable(image[crop]), sizes) for image in (pair.a, pair.b))
    weight = None if pair.mask is None else _cut(pair.mask[crop], sizes)
    if weight is not None and blocks == "inside":
        whole = weight.all(axis=1)
        cut_a, cut_b, weight = cut_a[whole], cut_b[whole], None
    if len(cut_a) < 2:
        raise InputError(
            f"block scramble: expected at least 2 blocks of {sizes} px to permute, "
            f"found {len(cut_a)}; choose smaller blocks or a larger region"
        )
    used_a, used_b = (c if weight is None else c[weight] for c in (cut_a, cut_b))
    if used_a.size < 2:
        raise InputError(
            "region: expected at least 2 pixels inside whole blocks, "
            f"found {used_a.size}; choose smaller blocks or a larger region"
        )
    centre_a, centre_b = (float(used.mean(dtype=np.float64)) for used in (used_a, used_b))
    return _BlockedPair(cut_a, cut_b, weight, centre_a, centre_b, *_block_sums(cut_b, centre_b))


def _countable(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """float32 where it holds the values exactly, else float64."""
    exact = image.dtype.kind == "b" or image.dtype in (np.uint8, np.int8, np.uint16, np.int16)
    narrow = exact or image.dtype in (np.float16, np.float32)
    return image.astype(np.float32 if narrow else np.float64)


def _null_batches(
    sample: _BlockedPair, n_iter: int, rng: np.random.Generator, workers: int | None
) -> Iterator[FloatArray]:
    """Pearson's r of each permutation, in order; one thread draws, the others compute."""
    n_threads = workers or os.cpu_count() or 1
    left = n_iter
    waiting: list[Future[FloatArray]] = []
    with ThreadPoolExecutor(n_threads) as pool:
        while left or waiting:
            while left and len(waiting) <= n_threads:
                size = min(_BATCH, left)
                drawn = np.empty((size, sample.n_blocks), dtype=np.int64)
                for row in drawn:
                    row[:] = rng.permutation(sample.n_blocks)
                waiting.append(pool.submit(_correlations, sample, drawn))
                left -= size
            yield waiting.pop(0).result()


def _correlations(sample: _BlockedPair, permutations: npt.NDArray[np.int64]) -> FloatArray:
    """Pearson's r of a with b's blocks in each of the orders, shape (n,)."""
    if sample.weight is None:
        sums = _sums_of_whole(sample.a, sample.b, permutations, sample.centre_a, sample.centre_b)
        sums[2], sums[3] = sample.sum_b.sum(), sample.square_b.sum()
    else:
        sums = _sums_under_mask(
            sample.a,
            sample.b,
            sample.weight,
            permutations,
            sample.centre_a,
            sample.centre_b,
            sample.sum_b,
            sample.square_b,
        )
    a, aa, b, bb, ab = sums
    n = sample.n_pixels
    with np.errstate(invalid="ignore", divide="ignore"):
        var_a, var_b = aa - a * a / n, bb - b * b / n
        r = (ab - a * b / n) / np.sqrt(var_a * var_b)
        defined = (var_a > 1e-12 * aa) & (var_b > 1e-12 * bb)
    return np.clip(np.where(defined, r, np.nan), -1.0, 1.0)


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz", "contract"})
def _block_sums(b, centre):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Sum and sum of squares of each block, about the centre."""
    n_blocks, size = b.shape
    sums, squares = np.zeros(n_blocks), np.zeros(n_blocks)
    for k in range(n_blocks):
        total, square = 0.0, 0.0
        for x in range(size):
            value = np.float64(b[k, x]) - centre
            total += value
            square += value * value
        sums[k], squares[k] = total, square
    return sums, squares


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz", "contract"})
def _sums_of_whole(a, b, permutations, centre_a, centre_b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Σa, Σa² and Σab of every permutation (rows 0, 1, 4); only Σab depends on it."""
    n_permutations, n_blocks = permutations.shape
    size = a.shape[1]
    sums = np.zeros((5, n_permutations))
    total_a, total_aa = 0.0, 0.0
    centred = np.empty(size)
    for k in range(n_blocks):
        for x in range(size):
            centred[x] = np.float64(a[k, x]) - centre_a
            total_a += centred[x]
            total_aa += centred[x] * centred[x]
        for i in range(n_permutations):
            block_b = b[permutations[i, k]]
            dot = 0.0
            for x in range(size):
                dot += centred[x] * np.float64(block_b[x])
            sums[4, i] += dot
    for i in range(n_permutations):
        sums[0, i], sums[1, i] = total_a, total_aa
        sums[4, i] -= centre_b * total_a
    return sums


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz", "contract"})
def _sums_under_mask(a, b, weight, permutations, centre_a, centre_b, sum_b, square_b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Σa, Σa², Σb, Σb², Σab over the mask's pixels, for every permutation of b's blocks."""
    n_permutations, n_blocks = permutations.shape
    size = a.shape[1]
    sums = np.zeros((5, n_permutations))
    total_a, total_aa = 0.0, 0.0
    centred, inside = np.empty(size), np.empty(size)
    for k in range(n_blocks):
        n_inside, block_a = 0, 0.0
        for x in range(size):
            inside[x] = 1.0 if weight[k, x] else 0.0
            centred[x] = np.float64(a[k, x]) - centre_a if weight[k, x] else 0.0
            n_inside += weight[k, x]
            block_a += centred[x]
            total_aa += centred[x] * centred[x]
        if n_inside == 0:
            continue
        total_a += block_a
        for i in range(n_permutations):
            source = permutations[i, k]
            block_b = b[source]
            dot, total_b, total_bb = 0.0, 0.0, 0.0
            if n_inside == size:
                for x in range(size):
                    dot += centred[x] * np.float64(block_b[x])
                dot -= centre_b * block_a
                total_b, total_bb = sum_b[source], square_b[source]
            else:
                for x in range(size):
                    value = (np.float64(block_b[x]) - centre_b) * inside[x]
                    dot += centred[x] * value
                    total_b += value
                    total_bb += value * value
            sums[2, i] += total_b
            sums[3, i] += total_bb
            sums[4, i] += dot
    for i in range(n_permutations):
        sums[0, i], sums[1, i] = total_a, total_aa
    return sums


def _placed(observed: float, null: FloatArray) -> dict[str, float]:
    """The p-value and z-score of the observed value among the defined null values."""
    defined = null[np.isfinite(null)]
    if not defined.size:
        return {"p_value": float("nan"), "z_score": float("nan")}
    at_least = np.count_nonzero(defined >= observed - _ROUNDING)
    p_value = (at_least + 1) / (defined.size + 1)
    spread = float(defined.std())
    z_score = (observed - float(defined.mean())) / spread if spread > 0 else float("nan")
    return {"p_value": float(p_value), "z_score": z_score}


def _hypothesis(blocks: BlockChoice, n_blocks: int) -> str:
    where = "the image" if blocks == "grid" else "those lying wholly in the region"
    return (
        f"The {n_blocks} blocks of channel b ({where}) are exchangeable: each could lie at any "
        "block position, whatever channel a shows there."
    )
