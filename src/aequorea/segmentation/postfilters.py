"""Filters applied to the objects found: too small, too dim, too little contrast are dropped."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import njit

from aequorea.errors import AxisMismatchError, InputError
from aequorea.measure.label_index import LabelIndex, check_labels
from aequorea.measure.objects import measure_intensities
from aequorea.measure.overlap import group_index

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aequorea.segmentation.parameters import SegmentationParameters

__all__ = ["LocalContrast", "apply_postfilters", "local_contrast"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class LocalContrast:
    """Objects against their surroundings, in the order of their labels.

    Attributes
    ----------
    object_median : ndarray, shape (n,)
    shell_median, shell_mad : ndarray, shape (n,)
        Median, and median absolute deviation from it (not scaled to an SD), of the unlabelled
        pixels around; NaN where there are none.
    n_shell : ndarray of int64, shape (n,)
        Number of these pixels.
    """

    object_median: FloatArray
    shell_median: FloatArray
    shell_mad: FloatArray
    n_shell: npt.NDArray[np.int64]


def apply_postfilters(
    labels: npt.ArrayLike,
    image: npt.ArrayLike,
    options: SegmentationParameters,
    *,
    regions: npt.ArrayLike | None = None,
) -> tuple[npt.NDArray[np.integer[Any]], Mapping[int, str]]:
    """Apply the chain of postfilters of a channel, in their order.

    Parameters
    ----------
    labels : array_like of int, shape (y, x) or (z, y, x)
        0 is background.
    image : array_like, same shape
        Unfiltered and finite.
    options : SegmentationParameters
        ``postfilters`` and their fields.
    regions : array_like of int, shape (y, x) or that of the labels, optional
        For 'local_contrast': surroundings outside all regions are not looked at.

    Returns
    -------
    labels : ndarray, shape and dtype of the labels
        Objects that were kept, under the labels they had.
    dropped : mapping of int to str
        For each label that is gone the filter that dropped it, ascending.

    Raises
    ------
    InputError
        If ``labels`` is not a label image, or the image has NaN or infinite pixels.
    AxisMismatchError
        If shapes do not fit.

    Notes
    -----
    ``min_size`` drops objects below ``min_object_px``; ``min_intensity`` those at or below its
    threshold; ``local_contrast`` those whose median is at or below that of their surroundings plus
    k median absolute deviations (see :func:`local_contrast`; without surroundings they are kept);
    ``bright_pixel_support`` those with fewer bright pixels than asked for. What an earlier filter
    dropped is background for the later ones.

    Examples
    --------
    >>> from aequorea.segmentation.parameters import SegmentationParameters
    >>> options = SegmentationParameters(postfilters=("min_size",), min_object_px=2)
    >>> kept, dropped = apply_postfilters([[5, 5, 0, 9]], [[7, 7, 0, 7]], options)
    >>> kept, dropped
    (array([[5, 5, 0, 0]]), {9: 'min_size'})
    """
    remaining = check_labels(labels).copy()
    pixels = _finite(image, remaining.shape)
    dropped: dict[int, str] = {}
    for name in options.postfilters:
        objects = LabelIndex.of(remaining)
        if name == "min_size":
            kept = objects.sizes() >= (options.min_object_px or 0)
        elif name == "min_intensity":
            level = getattr(measure_intensities(objects, pixels), options.min_intensity_measure)
            kept = level > options.min_intensity_threshold
        elif name == "local_contrast":
            kept = _contrasted(objects, pixels, options, regions)
        else:
            kept = _bright(objects, pixels, options)
        dropped.update(dict.fromkeys(objects.labels[~kept].tolist(), name))
        lost = np.concatenate(([False], ~kept))[objects.index]
        remaining[lost.reshape(remaining.shape)] = 0
    return remaining, dict(sorted(dropped.items()))


def local_contrast(
    labels: npt.ArrayLike,
    image: npt.ArrayLike,
    *,
    inner_px: int = 1,
    outer_px: int = 4,
    regions: npt.ArrayLike | None = None,
) -> LocalContrast:
    """Compare each object with what surrounds it.

    Parameters
    ----------
    labels : array_like of int, shape (y, x) or (z, y, x)
        0 is background.
    image : array_like, same shape
        Unfiltered and finite.
    inner_px, outer_px : int
        The surroundings are the unlabelled pixels further from the object than the one and not
        further than the other.
    regions : array_like of int, shape (y, x) or that of the labels, optional
        Pixels outside all regions do not count as surroundings.

    Returns
    -------
    LocalContrast

    Raises
    ------
    InputError
        If ``labels`` is not a label image, the image has NaN or infinite pixels, or not
        0 <= inner < outer.
    AxisMismatchError
        If shapes do not fit.

    Notes
    -----
    Distances are between pixel centres, in pixels also along z. Surroundings are taken from the
    whole image, not from the box around the object. Cost: pixels of the outlines times pixels of
    a ball of the outer radius.

    Examples
    --------
    >>> found = local_contrast([[0, 0, 3, 0, 0]], [[1, 2, 9, 4, 1]], inner_px=0, outer_px=1)
    >>> found.shell_median, found.shell_mad, found.n_shell
    (array([3.]), array([1.]), array([2]))
    """
    if not 0 <= inner_px < outer_px:
        raise InputError(
            f"surroundings: expected 0 <= inner_px < outer_px, found {inner_px} and {outer_px}; "
            "widen the outer radius"
        )
    objects = LabelIndex.of(labels)
    pixels = _finite(image, np.shape(labels))
    drawn = group_index(regions, objects.index.shape)
    usable = objects.index == 0
    if drawn is not None:
        usable &= drawn.index > 0
    height = outer_px if objects.is_stack else 0
    reach = (height, outer_px, outer_px)
    offsets = np.array(list(product(*(range(-r, r + 1) for r in reach))), dtype=np.int64)
    squared = (offsets**2).sum(axis=1)
    offsets, squared = offsets[squared <= outer_px**2], squared[squared <= outer_px**2]
    medians, mads, counts = _shells(
        objects.index,
        np.ascontiguousarray(pixels, dtype=np.float64).reshape(objects.index.shape),
        usable,
        *_voxels_by_object(objects),
        offsets,
        squared <= inner_px**2,
    )
    own = measure_intensities(objects, pixels.reshape(objects.index.shape)).median
    return LocalContrast(object_median=own, shell_median=medians, shell_mad=mads, n_shell=counts)


def _finite(image: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    pixels = np.asarray(image)
    if pixels.shape != shape:
        raise AxisMismatchError(
            f"image: expected the shape of the labels {shape}, found {pixels.shape}; "
            "give the image that was segmented"
        )
    if pixels.dtype.kind not in "buif" or not np.isfinite(pixels).all():
        raise InputError("image: expected real, finite pixels, found others; fill or crop them")
    return pixels


def _contrasted(
    objects: LabelIndex,
    pixels: npt.NDArray[Any],
    options: SegmentationParameters,
    regions: npt.ArrayLike | None,
) -> BoolArray:
    found = local_contrast(
        objects.index,
        pixels.reshape(objects.index.shape),
        inner_px=options.local_contrast_inner_px,
        outer_px=options.local_contrast_outer_px,
        regions=regions,
    )
    needed = found.shell_median + options.local_contrast_k * found.shell_mad
    return np.asarray((found.n_shell == 0) | (found.object_median > needed))


def _bright(
    objects: LabelIndex, pixels: npt.NDArray[Any], options: SegmentationParameters
) -> BoolArray:
    bright = measure_intensities(objects, pixels > options.bright_pixel_threshold).sum
    if options.bright_pixel_min_count is not None:
        return np.asarray(bright >= options.bright_pixel_min_count)
    return np.asarray(bright / objects.sizes() >= (options.bright_pixel_min_fraction or 0.0))


def _voxels_by_object(objects: LabelIndex) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Flat positions of the objects' voxels side by side, and where each object's begin."""
    flat = objects.index.reshape(-1)
    starts = np.concatenate(([0], np.cumsum(objects.sizes())))
    positions: npt.NDArray[np.int64] = _gathered(flat, starts)
    return positions, starts


@njit(cache=True, nogil=True)
def _gathered(flat, starts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    place = starts.copy()
    positions = np.empty(starts[-1], np.int64)
    for p in range(flat.size):
        k = flat[p] - 1
        if k >= 0:
            positions[place[k]] = p
            place[k] += 1
    return positions


@njit(cache=True, nogil=True)
def _shells(index, pixels, usable, positions, starts, offsets, near):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Median, MAD and number of the usable pixels around each object."""
    planes, rows, columns = index.shape
    n = starts.size - 1
    medians, mads = np.full(n, np.nan), np.full(n, np.nan)
    counts = np.zeros(n, np.int64)
    # Which object last had a pixel in its surroundings, and which too near to it.
    around, beside = np.zeros(index.shape, np.int32), np.zeros(index.shape, np.int32)
    found = np.empty((1024, 3), np.int64)
    for k in range(n):
        label = k + 1
        n_found = 0
        for i in range(starts[k], starts[k + 1]):
            p = positions[i]
            z, y, x = p // (rows * columns), p // columns % rows, p % columns
            if (
                (x == 0 or index[z, y, x - 1] == label)
                and (x == columns - 1 or index[z, y, x + 1] == label)
                and (y == 0 or index[z, y - 1, x] == label)
                and (y == rows - 1 or index[z, y + 1, x] == label)
                and (z == 0 or index[z - 1, y, x] == label)
                and (z == planes - 1 or index[z + 1, y, x] == label)
            ):
                continue  # Whatever lies outside is nearer to the outline.
            for o in range(len(offsets)):
                a, b, c = z + offsets[o, 0], y + offsets[o, 1], x + offsets[o, 2]
                if not (0 <= a < planes and 0 <= b < rows and 0 <= c < columns):
                    continue
                if not usable[a, b, c]:
                    continue
                if near[o]:
                    beside[a, b, c] = label
                elif around[a, b, c] != label:
                    around[a, b, c] = label
                    if n_found == len(found):
                        larger = np.empty((2 * n_found, 3), np.int64)
                        larger[:n_found] = found
                        found = larger
                    found[n_found] = a, b, c
                    n_found += 1
        values = np.empty(n_found)
        kept = 0
        for i in range(n_found):
            a, b, c = found[i]
            if beside[a, b, c] != label:
                values[kept] = pixels[a, b, c]
                kept += 1
        counts[k] = kept
        if kept:
            medians[k] = np.median(values[:kept])
            mads[k] = np.median(np.abs(values[:kept] - medians[k]))
    return medians, mads, counts
