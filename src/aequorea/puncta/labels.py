"""The voxels of each punctum, flooded from where it was found."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import njit

from aequorea.errors import AxisMismatchError, InputError
from aequorea.puncta.checks import (
    checked_image,
    checked_mask,
    checked_places,
    checked_sigma,
    flattened,
)
from aequorea.puncta.noise import NoiseCurve
from aequorea.puncta.snr import spot_snr

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["label_puncta"]


def label_puncta(
    image: npt.ArrayLike,
    coordinates_px: npt.ArrayLike,
    *,
    sigma_px: Sequence[float],
    level: float = 0.5,
    reach: float = 3.0,
    background: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | None = None,
) -> npt.NDArray[np.int32]:
    """Label the voxels of each punctum by a watershed from its place.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)
        The image, or a smoother one such as :func:`blob_response`, whose outlines are less ragged.
    coordinates_px : array_like, shape (n, ndim)
        Where the puncta are; rounded to voxels.
    sigma_px : sequence of float
        SD of a spot along each axis.
    level : float, 0 to 1
        A punctum ends where the image falls below this share of its height above its background.
    reach : float
        And at this many SD of a spot from its place.
    background : array_like, shape (n,) or a number, optional
        Measured around each if not given; 0 for a blob response.
    mask : array_like of bool, optional
        Labels stay inside.

    Returns
    -------
    ndarray of int32, shape of the image
        k + 1 on the voxels of the k-th punctum, which hang together by their faces; 0 elsewhere.
        A punctum outside the mask has none.

    Raises
    ------
    InputError
        If numbers are out of range, or two puncta lie in one voxel.
    AxisMismatchError
        If shapes differ.

    Notes
    -----
    Brighter voxels are flooded first [1]_, so two puncta that touch meet in the valley between
    them. There is one label per place given: neither more nor, inside the mask, fewer.

    References
    ----------
    .. [1] Meyer (1994), Signal Process 38, 113, doi:10.1016/0165-1684(94)90060-4

    Examples
    --------
    >>> image = [[0, 5, 9, 4, 7, 3, 0]]
    >>> label_puncta(image, [[0, 2], [0, 4]], sigma_px=(1, 1), background=0).tolist()
    [[0, 1, 1, 2, 2, 0, 0]]
    """
    pixels = checked_image(image)
    sigma = checked_sigma(sigma_px, pixels.ndim)
    places = checked_places(coordinates_px, pixels.shape)
    inside = checked_mask(mask, pixels.shape)
    if not 0 <= level <= 1 or not reach > 0:
        raise InputError(f"level, reach: expected 0 to 1 and above 0, found {level}, {reach}")
    if len(np.unique(places, axis=0)) < len(places):
        raise InputError("coordinates_px: expected one punctum per voxel, found several in one")
    volume = np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[None])
    labels = np.zeros(volume.shape, np.int32)
    if not len(places):
        return labels.reshape(pixels.shape)
    ground = _ground(pixels, places, sigma, background)
    top = pixels[tuple(places.T)].astype(np.float64)
    shore = ground + level * (top - ground)
    if pixels.ndim == 2:
        places = np.column_stack([np.zeros(len(places), np.int64), places])
    width = flattened(sigma, volume.shape)
    radius = np.array([max(reach * s, 0.5) for s in width])
    allowed = np.ones((1, 1, 1), bool) if inside is None else inside.reshape(volume.shape)
    _flood(volume, places, shore, radius, allowed, labels)
    return labels.reshape(pixels.shape)


def _ground(
    pixels: npt.NDArray[Any],
    places: npt.NDArray[np.int64],
    sigma: tuple[float, ...],
    background: npt.ArrayLike | None,
) -> npt.NDArray[np.float64]:
    if background is None:
        silent = NoiseCurve(levels=np.zeros(1), variances=np.ones(1), gain=0.0, floor=1.0)
        return spot_snr(pixels, places, sigma_px=sigma, noise=silent).background
    given = np.asarray(background, dtype=np.float64)
    if given.shape not in ((), (len(places),)):
        raise AxisMismatchError(
            f"background: expected one number or {len(places)}, found shape {given.shape}"
        )
    return np.broadcast_to(given, len(places)).astype(np.float64)


@njit(cache=True, nogil=True)
def _flood(volume, places, shore, radius, allowed, labels):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    depth, height, width = volume.shape
    anywhere = allowed.size == 1 and volume.size != 1
    steps = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))
    waiting = [(0.0, 0, 0, 0, 0, 0)]
    waiting.pop()
    order = 0
    for k in range(len(places)):
        z, y, x = places[k]
        if anywhere or allowed[z, y, x]:
            labels[z, y, x] = k + 1
    for k in range(len(places)):
        z, y, x = places[k]
        if anywhere or allowed[z, y, x]:
            heapq.heappush(waiting, (-np.float64(volume[z, y, x]), order, k, z, y, x))
            order += 1
    while len(waiting):
        _, _, k, z, y, x = heapq.heappop(waiting)
        if labels[z, y, x] == 0:
            labels[z, y, x] = k + 1
        elif labels[z, y, x] != k + 1:
            continue
        for dz, dy, dx in steps:
            a, b, c = z + dz, y + dy, x + dx
            if not (0 <= a < depth and 0 <= b < height and 0 <= c < width):
                continue
            if labels[a, b, c] != 0 or not (anywhere or allowed[a, b, c]):
                continue
            value = np.float64(volume[a, b, c])
            if value < shore[k]:
                continue
            far = ((a - places[k, 0]) / radius[0]) ** 2 + ((b - places[k, 1]) / radius[1]) ** 2
            far += ((c - places[k, 2]) / radius[2]) ** 2
            if far <= 1:
                heapq.heappush(waiting, (-value, order, k, a, b, c))
                order += 1
