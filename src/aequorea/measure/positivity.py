"""Which cells are positive for a marker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import model_validator

from aequorea.errors import InputError
from aequorea.measure.assignment import RegionAssignment, assign_to_regions, clip_to_regions
from aequorea.measure.label_index import LabelIndex
from aequorea.measure.objects import measure_intensities, moments_of
from aequorea.measure.overlap import OverlapCounts, overlap_counts
from aequorea.model.parameters import Parameters, option

__all__ = [
    "PositivityCalls",
    "PositivityCurve",
    "PositivityParameters",
    "call_positive",
    "positivity_curve",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Rule = Literal["union", "best", "count", "centroid", "contact", "intensity"]

# Otsu's criterion cuts one Gaussian into halves that explain 2/π = 0.64 of its variance, and an
# even spread into halves that explain 0.75: less is no sign of two groups.
_TWO_GROUPS = 0.75


class PositivityParameters(Parameters):
    """When a cell counts as positive for a marker."""

    rule: Rule = "union"
    """union: enough of the cell is covered by marker objects, taken together; best: by the single
    marker object that covers most of it; count: enough marker objects lie mostly in the cell;
    centroid: enough of them have their centre in it; contact: enough of its surface touches
    marker; intensity: the marker's image is bright enough in it."""

    min_overlap_px: int = option(20, unit="px", ge=0)
    """For 'union' and 'best': fewest voxels shared with marker."""

    overlap_fraction: float = option(0.02, ge=0, le=1)
    """For 'union' and 'best': smallest fraction of the cell shared with marker."""

    min_count: int = option(1, ge=1)
    """For 'count' and 'centroid': fewest marker objects."""

    min_object_fraction: float = option(0.5, gt=0, le=1)
    """For 'count': a marker object counts for a cell that holds at least this fraction of it."""

    min_contact_fraction: float = option(0.1, gt=0, le=1)
    """For 'contact': smallest fraction of the cell's surface voxels that are marker or next to
    it, corners included."""

    intensity_threshold: float | None = None
    """For 'intensity': a cell at or above this grey level is positive; found from the cells of
    the image (Otsu's method on the logarithm) if not given."""

    intensity_measure: Literal["mean", "median", "max"] = "mean"
    """For 'intensity': which intensity of the cell is compared."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.intensity_threshold is not None and self.rule != "intensity":
            raise ValueError(
                f"intensity_threshold is for rule 'intensity', found rule {self.rule!r}; "
                "change the rule or leave the threshold out"
            )
        return self


@dataclass(frozen=True, eq=False, kw_only=True)
class PositivityCalls:
    """What was decided for each of n cells, and from which numbers, in the order of the labels.

    Attributes
    ----------
    label, region, n_voxels : ndarray of int64, shape (n,)
        ``region`` is 1 without regions.
    positive : ndarray of bool, shape (n,)
        ``score`` >= ``threshold``, and for rules of overlap at least one shared voxel.
    score, threshold : ndarray, shape (n,)
        What was compared: a fraction of the cell (union, best), a number of marker objects
        (count, centroid), a fraction of its surface (contact), a grey level (intensity). For
        union and best the threshold is the larger of ``overlap_fraction`` and ``min_overlap_px``
        as a fraction of the cell.
    margin : ndarray, shape (n,)
        Score over threshold: at least 1 in positive cells, near 1 in borderline ones. NaN if the
        threshold is 0 or less, or not known.
    n_overlapping : ndarray of int64, shape (n,)
        Marker objects that share a voxel with the cell.
    best_marker_label, best_overlap_voxels : ndarray of int64, shape (n,)
        The marker object that shares most (the smaller label of equals); 0 if none does.
    best_overlap_fraction, union_fraction : ndarray, shape (n,)
        Of the cell's voxels.
    union_overlap_voxels : ndarray of int64, shape (n,)
        Voxels shared with any marker object.
    parameters : PositivityParameters
    notes : tuple of str
        What a careful user should know.
    """

    label: IntArray
    region: IntArray
    n_voxels: IntArray
    positive: BoolArray
    score: FloatArray
    threshold: FloatArray
    margin: FloatArray
    n_overlapping: IntArray
    best_marker_label: IntArray
    best_overlap_voxels: IntArray
    best_overlap_fraction: FloatArray
    union_overlap_voxels: IntArray
    union_fraction: FloatArray
    parameters: PositivityParameters
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.label)

    @property
    def n_positive(self) -> int:
        """Number of positive cells."""
        return int(self.positive.sum())

    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """One array of length n per column of a table."""
        return {
            name: value
            for name in self.__dataclass_fields__
            if isinstance(value := getattr(self, name), np.ndarray)
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class PositivityCurve:
    """How many cells are positive at each threshold, everything else as it was.

    Attributes
    ----------
    vary : str
        What the threshold is.
    threshold : ndarray, shape (t,)
        Ascending.
    n_positive : ndarray of int64, shape (t,)
        Never rises.
    n_cells : int
    chosen : float
        The threshold that was used; NaN if it is not one number.
    """

    vary: str
    threshold: FloatArray
    n_positive: IntArray
    n_cells: int
    chosen: float


def call_positive(
    cells: npt.ArrayLike,
    markers: npt.ArrayLike,
    parameters: PositivityParameters | None = None,
    *,
    regions: npt.ArrayLike | None = None,
    marker_intensity: npt.ArrayLike | None = None,
) -> PositivityCalls:
    """Decide for every cell whether it is positive for a marker.

    Parameters
    ----------
    cells, markers : array_like of int, shape (y, x) or (z, y, x)
        Labels of the cells and of the marker's objects; 0 is background.
    parameters : PositivityParameters, optional
        The rule and its thresholds.
    regions : array_like of int, shape (y, x) or that of the cells, optional
        Cells belong to the region that holds most of them and are judged by the part inside it;
        cells that belong to none are left out.
    marker_intensity : array_like, shape of the cells
        For the rule 'intensity': the marker's image, unfiltered.

    Returns
    -------
    PositivityCalls
        Empty if there are no cells.

    Raises
    ------
    InputError
        If an image is not a label image, or the marker's image is missing.
    AxisMismatchError
        If shapes do not fit.

    Notes
    -----
    All thresholds are inclusive. An automatic intensity threshold [1]_ divides the cells of any
    image into two groups, even if none is positive: a note says when they hardly form two. Set it
    from a control where there is one.

    References
    ----------
    .. [1] Otsu (1979), A threshold selection method from gray-level histograms.
       doi:10.1109/TSMC.1979.4310076

    Examples
    --------
    >>> cells, markers = [[1, 1, 1, 1, 2, 2]], [[0, 0, 7, 8, 8, 0]]
    >>> options = PositivityParameters(min_overlap_px=1, overlap_fraction=0.5)
    >>> calls = call_positive(cells, markers, options)
    >>> calls.union_fraction, calls.positive
    (array([0.5, 0.5]), array([ True,  True]))
    >>> best = PositivityParameters(rule="best", min_overlap_px=1, overlap_fraction=0.5)
    >>> call_positive(cells, markers, best).positive
    array([False,  True])
    """
    options = parameters or PositivityParameters()
    judged = np.asarray(cells)
    owner: RegionAssignment | None = None
    if regions is not None:
        owner = assign_to_regions(judged, regions)
        judged = clip_to_regions(judged, regions, owner)
    objects = LabelIndex.of(judged, "cells")
    region = np.ones(objects.n, dtype=np.int64)
    if owner is not None:
        region = owner.region[np.searchsorted(owner.label, objects.labels)]
    shared = overlap_counts(judged, markers)
    cell = np.searchsorted(objects.labels, shared.label_a)
    sizes = objects.sizes()
    overlap = _Overlap.of(cell, shared.label_b, shared.n_voxels, sizes)
    notes: list[str] = []
    threshold: FloatArray
    if options.rule in ("union", "best"):
        score = overlap.union_fraction if options.rule == "union" else overlap.best_fraction
        threshold = np.maximum(options.overlap_fraction, options.min_overlap_px / sizes)
        positive = (score >= threshold) & (overlap.n_markers > 0)
    else:
        score, limit = _score(options, objects, markers, marker_intensity, shared, notes)
        threshold = np.full(objects.n, limit)
        positive = score >= threshold
    margin = np.full(objects.n, np.nan)
    np.divide(score, threshold, out=margin, where=threshold > 0)
    return PositivityCalls(
        label=objects.labels,
        region=region,
        n_voxels=sizes,
        positive=positive,
        score=score,
        threshold=threshold,
        margin=margin,
        n_overlapping=overlap.n_markers,
        best_marker_label=overlap.best_marker,
        best_overlap_voxels=overlap.best,
        best_overlap_fraction=overlap.best_fraction,
        union_overlap_voxels=overlap.union,
        union_fraction=overlap.union_fraction,
        parameters=options,
        notes=tuple(notes),
    )


def positivity_curve(
    calls: PositivityCalls,
    *,
    vary: Literal["overlap_fraction", "min_overlap_px", "score"] | None = None,
    thresholds: npt.ArrayLike | None = None,
) -> PositivityCurve:
    """Count the positive cells as a function of one threshold.

    Parameters
    ----------
    calls : PositivityCalls
    vary : {"overlap_fraction", "min_overlap_px", "score"}, optional
        Which threshold: of overlap (rules union and best), the other one kept as it was; or the
        one of the rule (the other rules). By default ``overlap_fraction`` or ``score``.
    thresholds : array_like, optional
        Where to count; by default wherever the number changes.

    Returns
    -------
    PositivityCurve

    Raises
    ------
    InputError
        If the rule has no such threshold, or thresholds are NaN.

    Notes
    -----
    Cells are sorted once; a flat curve around the chosen threshold says that the number does not
    hang on it.

    Examples
    --------
    >>> cells, markers = [[1, 1, 2, 2, 3, 3]], [[1, 1, 1, 0, 0, 0]]
    >>> calls = call_positive(cells, markers, PositivityParameters(min_overlap_px=1))
    >>> curve = positivity_curve(calls, thresholds=[0.02, 0.5, 0.6])
    >>> curve.n_positive
    array([2, 2, 1])
    """
    options = calls.parameters
    overlaps = options.rule in ("union", "best")
    wanted = vary or ("overlap_fraction" if overlaps else "score")
    if overlaps != (wanted in ("overlap_fraction", "min_overlap_px")):
        choices = "overlap_fraction or min_overlap_px" if overlaps else "score"
        raise InputError(
            f"vary: expected {choices} for the rule {options.rule!r}, found {wanted!r}; "
            "choose a threshold the rule has"
        )
    if not overlaps:
        critical = calls.score[~np.isnan(calls.score)]
        chosen = float(calls.threshold[0]) if len(calls) else np.nan
    else:
        voxels = (
            calls.union_overlap_voxels if options.rule == "union" else calls.best_overlap_voxels
        )
        met = calls.n_overlapping > 0
        if wanted == "overlap_fraction":
            critical = calls.score[met & (voxels >= options.min_overlap_px)]
            chosen = options.overlap_fraction
        else:
            critical = voxels[met & (calls.score >= options.overlap_fraction)].astype(np.float64)
            chosen = float(options.min_overlap_px)
    at = np.unique(critical) if thresholds is None else np.sort(np.asarray(thresholds, np.float64))
    if at.ndim != 1 or np.isnan(at).any():
        raise InputError(f"thresholds: expected a list of numbers, found {thresholds!r}; drop NaN")
    ordered = np.sort(critical)
    return PositivityCurve(
        vary=wanted,
        threshold=at,
        n_positive=len(ordered) - np.searchsorted(ordered, at, side="left"),
        n_cells=len(calls),
        chosen=chosen,
    )


@dataclass(frozen=True)
class _Overlap:
    """Overlap of each cell with the marker's objects."""

    n_markers: IntArray
    best_marker: IntArray
    best: IntArray
    best_fraction: FloatArray
    union: IntArray
    union_fraction: FloatArray

    @classmethod
    def of(cls, cell: IntArray, marker: IntArray, voxels: IntArray, sizes: IntArray) -> _Overlap:
        n = len(sizes)
        union = np.zeros(n, dtype=np.int64)
        np.add.at(union, cell, voxels)
        best, best_marker = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        order = np.lexsort((-marker, voxels, cell))  # the last of each cell is its best
        best[cell[order]], best_marker[cell[order]] = voxels[order], marker[order]
        n_markers = np.bincount(cell, minlength=n).astype(np.int64)
        return cls(n_markers, best_marker, best, best / sizes, union, union / sizes)


def _score(
    options: PositivityParameters,
    objects: LabelIndex,
    markers: npt.ArrayLike,
    marker_intensity: npt.ArrayLike | None,
    shared: OverlapCounts,
    notes: list[str],
) -> tuple[FloatArray, float]:
    """Score of each cell, and the threshold, of the rules that do not compare overlaps."""
    if options.rule == "intensity":
        return _brightness(options, objects, marker_intensity, notes)
    found = LabelIndex.of(markers, "markers")
    if options.rule == "contact":
        surface, touching = _contact(objects.index, found.index, objects.n)
        score = np.full(objects.n, np.nan)
        np.divide(touching, surface, out=score, where=surface > 0)
        return score, options.min_contact_fraction
    if options.rule == "centroid":
        _, centroids, _, _ = moments_of(found)
        central = _central_pixels(found.index, centroids)
        holder = objects.index.reshape(-1)[central]
    else:
        size = found.sizes()[np.searchsorted(found.labels, shared.label_b)]
        mostly = shared.n_voxels >= options.min_object_fraction * size
        holder = np.searchsorted(objects.labels, shared.label_a[mostly]) + 1
    counts = np.bincount(holder, minlength=objects.n + 1)[1:]
    return counts.astype(np.float64), float(options.min_count)


def _brightness(
    options: PositivityParameters,
    objects: LabelIndex,
    marker_intensity: npt.ArrayLike | None,
    notes: list[str],
) -> tuple[FloatArray, float]:
    if marker_intensity is None:
        raise InputError(
            "rule 'intensity': expected the marker's image, found none; give marker_intensity"
        )
    score: FloatArray = getattr(
        measure_intensities(objects, marker_intensity), options.intensity_measure
    )
    if options.intensity_threshold is not None:
        return score, options.intensity_threshold
    above = score[np.isfinite(score) & (score > 0)]
    if np.unique(above).size < 2:
        notes.append(
            f"no automatic intensity threshold: {above.size} cells brighter than 0, and fewer than "
            "two intensities among them; no cell is called positive"
        )
        return score, np.nan
    logarithm, explained = _otsu(np.log(above))
    limit = float(np.exp(logarithm))
    notes.append(
        f"automatic intensity threshold {limit:.5g} (Otsu on the logarithm over {above.size} "
        f"cells, which explains {explained:.0%} of their variance)"
    )
    if explained < _TWO_GROUPS:
        notes.append(
            "the cells hardly form a dim and a bright group; set the threshold from a control"
        )
    return score, limit


def _otsu(values: FloatArray) -> tuple[float, float]:
    """Threshold halfway between the two groups, and the share of the variance they explain."""
    ordered = np.sort(values)
    n = len(ordered)
    below = np.arange(1, n)
    centred = ordered - ordered.mean()
    left = np.cumsum(centred)[:-1]
    between = left**2 * (1 / below + 1 / (n - below)) / n
    between[ordered[1:] == ordered[:-1]] = -1.0  # equal cells stay together
    cut = int(np.argmax(between))
    return float((ordered[cut] + ordered[cut + 1]) / 2), float(between[cut] / np.var(ordered))


@njit(cache=True, nogil=True)
def _contact(index, markers, n):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Surface voxels of each cell, and those of them that are marker or next to it.

    The surface is where a side meets another voxel than the cell's; the edge of the image is none.
    """
    surface, touching = np.zeros(n), np.zeros(n)
    planes, rows, columns = index.shape
    for z in range(planes):
        for y in range(rows):
            for x in range(columns):
                k = index[z, y, x]
                if k == 0 or not (
                    (x > 0 and index[z, y, x - 1] != k)
                    or (x + 1 < columns and index[z, y, x + 1] != k)
                    or (y > 0 and index[z, y - 1, x] != k)
                    or (y + 1 < rows and index[z, y + 1, x] != k)
                    or (z > 0 and index[z - 1, y, x] != k)
                    or (z + 1 < planes and index[z + 1, y, x] != k)
                ):
                    continue
                surface[k - 1] += 1
                near = False
                for i in range(max(z - 1, 0), min(z + 2, planes)):
                    for j in range(max(y - 1, 0), min(y + 2, rows)):
                        for m in range(max(x - 1, 0), min(x + 2, columns)):
                            near = near or markers[i, j, m] != 0
                if near:
                    touching[k - 1] += 1
    return surface, touching


@njit(cache=True, nogil=True)
def _central_pixels(index, centroids):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Flat position of each object's own voxel nearest to its centroid (first of equals)."""
    n = len(centroids)
    best, nearest = np.full(n, np.inf), np.zeros(n, np.int64)
    planes, rows, columns = index.shape
    for z in range(planes):
        for y in range(rows):
            for x in range(columns):
                k = index[z, y, x] - 1
                if k < 0:
                    continue
                squared = (
                    (z - centroids[k, 0]) ** 2
                    + (y - centroids[k, 1]) ** 2
                    + (x - centroids[k, 2]) ** 2
                )
                if squared < best[k]:
                    best[k], nearest[k] = squared, (z * rows + y) * columns + x
    return nearest
