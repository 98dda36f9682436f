"""Walking over regions without looking at the whole image for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from aequorea.colocalization.moments import group_by_region
from aequorea.colocalization.regions import channel_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class RegionCrop:
    """One region, cut out of the field with a margin.

    Attributes
    ----------
    region : int
        0 is the whole image.
    where : tuple of slice
        The part of the field that was cut out.
    mask : ndarray of bool or None
        The region in the crop; ``None`` is all of it.
    """

    region: int
    where: tuple[slice, ...]
    mask: NDArray[np.bool_] | None


def crops(
    labels: NDArray[Any] | None, shape: tuple[int, ...], *, margin_px: int | None = 0
) -> Iterator[RegionCrop]:
    """Each region's bounding box, widened by a margin and cut at the edges of the image.

    Parameters
    ----------
    labels : ndarray of int or None
        0 is outside; ``None`` is the whole image as region 0.
    shape : tuple of int
    margin_px : int or None
        ``None`` widens each box by its own size, so that landmarks beside a region are seen.

    Yields
    ------
    RegionCrop
        In ascending order of the label.

    Examples
    --------
    >>> labels = np.zeros((9, 9), int)
    >>> labels[3:5, 4:6] = 7
    >>> [(c.region, c.where) for c in crops(labels, labels.shape, margin_px=1)]
    [(7, (slice(2, 6, None), slice(3, 7, None)))]
    """
    if labels is None:
        yield RegionCrop(region=0, where=tuple(slice(0, n) for n in shape), mask=None)
        return
    present, dense = np.unique(labels, return_inverse=True)
    boxes = ndimage.find_objects(dense.reshape(labels.shape) + (0 if present[0] == 0 else 1))
    for region, box in zip(present[present != 0], boxes, strict=True):
        margins = [s.stop - s.start if margin_px is None else margin_px for s in box]
        where = tuple(
            slice(max(0, s.start - margin), min(n, s.stop + margin))
            for s, n, margin in zip(box, shape, margins, strict=True)
        )
        yield RegionCrop(region=int(region), where=where, mask=labels[where] == region)


def region_pixels(
    a: NDArray[Any], b: NDArray[Any], labels: NDArray[Any] | None
) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
    """The intensities of both channels in each region, as flat arrays, in one pass.

    Yields
    ------
    region, x, y
        In ascending order of the label.
    """
    x, y = channel_pair(a, b)
    if labels is None:
        yield 0, np.ascontiguousarray(x).ravel(), np.ascontiguousarray(y).ravel()
        return
    groups = group_by_region(x, y, labels)
    for number, label in enumerate(groups.labels):
        yield int(label), *groups.region(number)
