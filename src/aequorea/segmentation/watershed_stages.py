"""The stages of the watershed, each for one part of an image or for the whole.

A part is a three-dimensional array with enough of its surroundings (``WatershedPlan.halo_px``).
Everything that crosses from one part to the next is a table: maxima and integer counts, which do
not depend on the order in which parts are visited.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from scipy import ndimage

from aequorea.segmentation.watershed_basins import merged_by_neck, merged_by_pass
from aequorea.segmentation.watershed_plan import WatershedPlan, radius_px

if TYPE_CHECKING:
    import numpy.typing as npt

    Float32Array = npt.NDArray[np.float32]
    FloatArray = npt.NDArray[np.float64]
    Int32Array = npt.NDArray[np.int32]
    IntArray = npt.NDArray[np.int64]

__all__ = ["BasinTable", "core_sums", "final_numbers", "landscape_of", "levels_of", "smoothed"]

_CORE = 0.7  # of a basin's summit: voxels above it are the core
_FAINT = 0.2  # of the median summit: objects below it are dropped


@dataclass(frozen=True, eq=False, kw_only=True)
class BasinTable:
    """What is known of the basins of an image; row 0 is the outside.

    Attributes
    ----------
    summits : ndarray of float64, shape (n + 1,)
        Height of the landscape.
    core_voxels, core_quanta : ndarray of int64, shape (n + 1,)
        Voxels near the summit, and the sum of their grey levels in steps of the plan's quantum
        above its lowest level.
    pairs : ndarray of int64, shape (m, 2)
        Basins that touch.
    heights : ndarray of float32, shape (m,)
        Highest pass between them.
    """

    summits: FloatArray
    core_voxels: IntArray
    core_quanta: IntArray
    pairs: IntArray
    heights: Float32Array


def smoothed(image: npt.NDArray[Any], sigma_px: tuple[float, ...]) -> Float32Array:
    """Gaussian smoothing of a part; axes of SD 0 are left alone."""
    out = image
    for axis, sigma in enumerate(sigma_px):
        if radius_px(sigma) > 0 and image.shape[axis] > 1:
            target = np.empty(image.shape, np.float32) if out is image else out
            ndimage.gaussian_filter1d(
                out, sigma, axis, output=target, mode="reflect", radius=radius_px(sigma)
            )
            out = target
    return image.astype(np.float32) if out is image else out


@njit(cache=True, nogil=True)
def _blob_answer(smooth: Float32Array, squares: FloatArray) -> None:
    """Minus the Laplacian, times the square of the SD along each axis, in place."""
    nz, ny, nx = smooth.shape
    before = smooth[0].copy()
    for z in range(nz):
        here = smooth[z].copy()
        after = smooth[min(z + 1, nz - 1)]
        for y in range(ny):
            up, down = max(y - 1, 0), min(y + 1, ny - 1)
            for x in range(nx):
                middle = np.float64(here[y, x])
                answer = squares[0] * (2 * middle - before[y, x] - after[y, x])
                answer += squares[1] * (2 * middle - here[up, x] - here[down, x])
                answer += squares[2] * (
                    2 * middle - here[y, max(x - 1, 0)] - here[y, min(x + 1, nx - 1)]
                )
                smooth[z, y, x] = answer
        before = here


@njit(cache=True, nogil=True)
def _root_above(image: Any, background: float, out: Float32Array) -> None:
    for k in range(image.size):
        above = np.float64(image[k]) - background
        out[k] = math.sqrt(above) if above > 0 else 0.0


@njit(cache=True, nogil=True)
def _outside(landscape: Float32Array, smooth: Float32Array, floor: float) -> None:
    for k in range(smooth.size):
        if not smooth[k] > floor:
            landscape[k] = -np.inf


def landscape_of(
    image: npt.NDArray[Any], smooth: Float32Array, plan: WatershedPlan
) -> Float32Array:
    """The blob filter's answer where the image is bright, minus infinity elsewhere.

    The root of the light is filtered, in which bright and dim objects differ less and noise is
    even.
    """
    root = np.empty(image.shape, np.float32)
    _root_above(np.ascontiguousarray(image).ravel(), plan.background, root.ravel())
    answer = root
    for axis, sigma in enumerate(plan.blob_sigma_px):
        if radius_px(sigma) > 0 and image.shape[axis] > 1:
            ndimage.gaussian_filter1d(
                answer, sigma, axis, output=answer, mode="reflect", radius=radius_px(sigma)
            )
    _blob_answer(answer, np.square(np.asarray(plan.blob_sigma_px)))
    _outside(answer.ravel(), np.ascontiguousarray(smooth).ravel(), plan.floor)
    return answer


@njit(cache=True, nogil=True)
def _core_sums(
    labels: Int32Array,
    landscape: Float32Array,
    smooth: Float32Array,
    summits: FloatArray,
    share: float,
    lowest: float,
    quantum: float,
    voxels: IntArray,
    quanta: IntArray,
) -> None:
    for k in range(labels.size):
        basin = labels[k]
        if basin > 0 and landscape[k] >= share * summits[basin]:
            voxels[basin] += 1
            quanta[basin] += np.int64((smooth[k] - lowest) / quantum)


def core_sums(
    labels: Int32Array,
    landscape: Float32Array,
    smooth: Float32Array,
    summits: FloatArray,
    plan: WatershedPlan,
) -> tuple[IntArray, IntArray]:
    """Number and summed grey levels of the voxels near the summit of each basin."""
    voxels, quanta = np.zeros(len(summits), np.int64), np.zeros(len(summits), np.int64)
    parts = [np.ascontiguousarray(part).ravel() for part in (labels, landscape, smooth)]
    _core_sums(*parts, summits, _CORE, plan.lowest, plan.quantum, voxels, quanta)
    return voxels, quanta


def levels_of(
    table: BasinTable, plan: WatershedPlan, *, tolerance: float, edge: float, faint: float = _FAINT
) -> tuple[IntArray, FloatArray]:
    """Which basins are one, and above which grey level a voxel belongs to them.

    Returns
    -------
    owner : ndarray of int64, shape (n + 1,)
        The basin each one belongs to; 0 if it is too faint to be an object.
    level : ndarray of float64, shape (n + 1,)
        Of the owner.
    """
    owner = merged_by_pass(table.pairs, table.heights, table.summits, tolerance)
    voxels = np.bincount(owner, table.core_voxels, minlength=len(owner))
    quanta = np.bincount(owner, table.core_quanta, minlength=len(owner))
    with np.errstate(invalid="ignore", divide="ignore"):
        core = plan.lowest + plan.quantum * quanta / voxels - plan.background
    own = owner == np.arange(len(owner))
    own[0] = False
    real = own & (core >= plan.min_contrast) & (table.summits > 0)
    if real.any():
        real &= table.summits >= faint * np.median(table.summits[real])
    owner = np.where(real[owner], owner, 0)
    level = np.full(len(owner), np.inf)
    level[real] = (
        plan.floor
        if plan.threshold_given
        else np.maximum(plan.background + edge * core[real], plan.floor)
    )
    return owner, level


@njit(cache=True, nogil=True)
def trim(
    labels: Int32Array,
    smooth: Float32Array,
    owner: IntArray,
    level: FloatArray,
    out: Int32Array,
    voxels: IntArray,
) -> None:
    """Owners where the grey level is above theirs, 0 elsewhere; flat arrays; counts voxels."""
    for k in range(labels.size):
        piece = owner[labels[k]]
        if piece > 0 and smooth[k] > level[piece]:
            out[k] = piece
            voxels[piece] += 1
        else:
            out[k] = 0


def final_numbers(
    voxels: IntArray,
    pairs: IntArray,
    faces: IntArray,
    plan: WatershedPlan,
    *,
    neck: float,
    min_size: float,
) -> Int32Array:
    """The final label of each piece: 1 to n in order of their summits, 0 if dropped."""
    pixel = math.prod(plan.stretch)
    area = pixel / np.asarray(plan.stretch)
    # A surface at any angle shows on average 4/pi (2D) or 3/2 (3D) of its size in voxel faces.
    contact = faces @ area * (np.pi / 4 if plan.ndim == 2 else 2 / 3)
    united = merged_by_neck(pairs, contact, voxels * pixel, neck, plan.ndim)
    sizes = np.bincount(united, voxels, minlength=len(united)) * pixel
    typical = (np.pi / 4 if plan.ndim == 2 else np.pi / 6) * plan.diameter_px**plan.ndim
    kept = (sizes >= max(min_size * typical, pixel)) & (united == np.arange(len(united)))
    kept[0] = False
    numbers = np.zeros(len(united), np.int32)
    numbers[kept] = np.arange(1, int(kept.sum()) + 1)
    return numbers[united]


@njit(cache=True, nogil=True)
def renumber(labels: Int32Array, numbers: Int32Array) -> None:
    """Replace labels by their final numbers, in place; flat array."""
    for k in range(labels.size):
        labels[k] = numbers[labels[k]]
