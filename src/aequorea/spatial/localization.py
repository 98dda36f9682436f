"""Localisation indices of a cell: polarity, dispersion, periphery, nearness to landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from aequorea.errors import AxisMismatchError, InputError
from aequorea.spatial.boxes import boxes_of, union_box
from aequorea.spatial.distances import (
    Spacing,
    distance_map,
    label_pair,
    points_of,
    spacing_of,
    voxels_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["INDICES", "Localization", "localization_of_intensity", "localization_of_points"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Where = Literal["cell", "cytosol"]

INDICES = (
    "polarity",
    "polarity_by_chance",
    "dispersion",
    "peripheral_distribution",
    "proportion_in_landmark",
    "expected_in_landmark",
    "index_in_landmark",
    "mean_distance_landmark_um",
    "index_mean_distance_landmark",
    "index_median_distance_landmark",
    "mean_distance_membrane_um",
    "index_mean_distance_membrane",
    "index_median_distance_membrane",
)

_NEAR = (
    "proportion_near_landmark",
    "index_near_landmark",
    "proportion_near_membrane",
    "index_near_membrane",
)
_NO_LANDMARK = "the cell has no landmark"
_SAME = 1e-9  # relative; equal distances reached by different sums differ in the last digits


@dataclass(frozen=True, eq=False, kw_only=True)
class Localization:
    """Localisation indices of n cells, by label.

    Every index is 1 on average for signal spread evenly over the cell (or its cytosol), except
    polarity, which is near 0 and of the size of ``polarity_by_chance``.

    Attributes
    ----------
    label : ndarray of int64, shape (n,)
    amount : ndarray, shape (n,)
        Puncta, or intensity above background, in the part of the cell that is measured.
    polarity : ndarray, shape (n,)
        Distance between the centroids of signal and cell over the cell's radius of gyration.
    polarity_by_chance : ndarray, shape (n,)
        Root mean square of the polarity of as many puncta scattered evenly: 1/√amount. NaN for
        intensities.
    dispersion : ndarray, shape (n,)
        Second moment of the signal about its own centroid, over that of an even signal. Puncta
        are counted as n − 1, so that few of them are not called clustered.
    peripheral_distribution : ndarray, shape (n,)
        Second moment of the signal about the landmark's centroid, over that of an even signal:
        below 1 around the nucleus, above 1 in the periphery.
    proportion_in_landmark, expected_in_landmark, index_in_landmark : ndarray, shape (n,)
        Of the signal of the whole cell; of the volume of the cell; their ratio.
    mean_distance_landmark_um, mean_distance_membrane_um : ndarray, shape (n,), µm
    index_mean_distance_landmark, index_median_distance_landmark : ndarray, shape (n,)
        Mean (median) distance of the signal to the landmark over that of an even signal.
    index_mean_distance_membrane, index_median_distance_membrane : ndarray, shape (n,)
        The same to the nearest voxel outside the cell.
    within_um : ndarray, shape (t,), µm
    proportion_near_landmark, index_near_landmark : ndarray, shape (n, t)
        Signal no farther than this from the landmark; over the volume there.
    proportion_near_membrane, index_near_membrane : ndarray, shape (n, t)
    reason : tuple of str, length n
        Which of these are NaN and why; empty if none is.
    n_outside : int
        Puncta in no cell (0 for intensities).
    """

    label: IntArray
    amount: FloatArray
    polarity: FloatArray
    polarity_by_chance: FloatArray
    dispersion: FloatArray
    peripheral_distribution: FloatArray
    proportion_in_landmark: FloatArray
    expected_in_landmark: FloatArray
    index_in_landmark: FloatArray
    mean_distance_landmark_um: FloatArray
    index_mean_distance_landmark: FloatArray
    index_median_distance_landmark: FloatArray
    mean_distance_membrane_um: FloatArray
    index_mean_distance_membrane: FloatArray
    index_median_distance_membrane: FloatArray
    within_um: FloatArray
    proportion_near_landmark: FloatArray
    index_near_landmark: FloatArray
    proportion_near_membrane: FloatArray
    index_near_membrane: FloatArray
    reason: tuple[str, ...]
    n_outside: int = 0

    def __len__(self) -> int:
        return len(self.label)


def localization_of_points(
    points_um: npt.ArrayLike,
    cells: npt.ArrayLike,
    landmarks: npt.ArrayLike,
    spacing_um: Spacing,
    *,
    where: Where = "cell",
    within_um: Sequence[float] = (0.5, 1.0, 2.0),
) -> Localization:
    """Localisation indices of puncta in every cell of an image.

    Parameters
    ----------
    points_um : array_like, shape (m, ndim), µm
        From the centre of the first voxel. The voxel that holds a punctum says which cell it is
        in.
    cells, landmarks : array_like of int, same shape, (y, x) or (z, y, x)
        Label images: landmark k (the nucleus) belongs to cell k.
    spacing_um : sequence of float or mapping
    where : {"cell", "cytosol"}, default "cell"
        Whether to leave out the landmark, in what is observed and in what is expected. Proportions
        in the landmark are always those of the whole cell.
    within_um : sequence of float, µm
        Distances within which signal counts as near a landmark or the membrane.

    Returns
    -------
    Localization
        A row for each cell, also for those without puncta.

    Raises
    ------
    AxisMismatchError, CalibrationError, InputError
        If shapes do not fit, the spacing is not known, or a value is not what it should be.

    Notes
    -----
    A punctum counts as lying at the centre of its voxel, so that what is observed and what is
    expected are measured alike; in a stack much coarser than the cell this moves it by up to half
    a plane. Puncta of one cell are not independent evidence about a treatment: compare cells by
    animal. Each cell costs the box around it and its landmark. Where the image cuts a cell there
    is no membrane, and the indices are those of the part that is seen.

    Dispersion and polarity follow Park et al. [1]_, peripheral distribution Stueland et al. [2]_,
    here in 3D and in µm.

    References
    ----------
    .. [1] Park et al. (2012) doi:10.1016/j.celrep.2011.12.009
    .. [2] Stueland et al. (2019) doi:10.1038/s41598-019-44783-2

    Examples
    --------
    >>> cell, nucleus = np.ones((2, 1, 9), int); nucleus[0, :3] = 0; nucleus[0, 6:] = 0
    >>> found = localization_of_points([[0, 0], [0, 0.8]], cell, nucleus, (0.1, 0.1))
    >>> found.polarity.round(3).tolist(), found.peripheral_distribution.round(3).tolist()
    ([0.0], [2.4])
    """
    cell, landmark = label_pair(cells, landmarks)
    spacing = spacing_of(spacing_um, cell.ndim)
    points = points_of(points_um, cell.ndim)
    voxels, inside = voxels_of(points, cell.shape, spacing)
    flat = np.ravel_multi_index(tuple(voxels[inside].T), cell.shape)
    owner = cell.reshape(-1)[flat].astype(np.int64)
    order = np.argsort(owner, kind="stable")
    flat, owner = flat[order], owner[order]

    def weights(piece: _Piece) -> FloatArray:
        first, last = np.searchsorted(owner, [piece.label, piece.label + 1])
        at = np.unravel_index(flat[first:last], cell.shape)
        counts = np.zeros(piece.inside.shape)
        starts = [side.start for side in piece.box]
        local = tuple(a - start for a, start in zip(at, starts, strict=True))
        np.add.at(counts, local, 1.0)
        return counts

    return _localization(
        cell,
        landmark,
        spacing,
        where,
        within_um,
        weights,
        counted=True,
        n_outside=len(points) - int(np.count_nonzero(owner)),
    )


def localization_of_intensity(
    image: npt.ArrayLike,
    cells: npt.ArrayLike,
    landmarks: npt.ArrayLike,
    spacing_um: Spacing,
    *,
    background: npt.ArrayLike = 0.0,
    where: Where = "cell",
    within_um: Sequence[float] = (0.5, 1.0, 2.0),
) -> Localization:
    """Localisation indices of a continuous signal in every cell of an image.

    Parameters
    ----------
    image : array_like, shape of the cells
    cells, landmarks : array_like of int, same shape, (y, x) or (z, y, x)
        Label images: landmark k (the nucleus) belongs to cell k.
    spacing_um : sequence of float or mapping
    background : float or array_like, shape (n_cells,), default 0
        Subtracted from every voxel (of each cell, by label); nothing is clipped, so that noise
        averages out.
    where : {"cell", "cytosol"}, default "cell"
    within_um : sequence of float, µm
        See :func:`localization_of_points`.

    Returns
    -------
    Localization
        NaN with a reason for cells with nothing above background.

    Raises
    ------
    AxisMismatchError, CalibrationError, InputError
        If shapes do not fit, the spacing is not known, or a value is not what it should be.

    Notes
    -----
    An underestimated background draws every index towards 1.

    Examples
    --------
    >>> cell, nucleus = np.ones((2, 1, 5), int); nucleus[0, :4] = 0
    >>> found = localization_of_intensity([[5, 4, 3, 2, 1]], cell, nucleus, (0.1, 0.1))
    >>> found.index_mean_distance_landmark.round(3).tolist()
    [1.333]
    """
    cell, landmark = label_pair(cells, landmarks)
    spacing = spacing_of(spacing_um, cell.ndim)
    pixels = np.asarray(image)
    if pixels.shape != cell.shape or pixels.dtype.kind not in "buif":
        raise AxisMismatchError(
            f"image: expected real numbers of shape {cell.shape}, found {pixels.dtype} of shape "
            f"{pixels.shape}; give one channel of the same field"
        )
    offsets = np.asarray(background, dtype=np.float64)
    boxes = boxes_of(cell)
    if offsets.shape not in ((), (len(boxes),)) or not np.isfinite(offsets).all():
        raise InputError(
            f"background: expected one finite value, or one for each of {len(boxes)} cells, found "
            f"shape {offsets.shape}"
        )
    subtracted = dict(zip(boxes, np.broadcast_to(offsets, len(boxes)).tolist(), strict=True))

    def weights(piece: _Piece) -> FloatArray:
        signal = pixels[piece.box].astype(np.float64) - float(subtracted[piece.label])
        if not np.isfinite(signal[piece.inside]).all():
            raise InputError(
                f"image: expected finite intensities, found NaN or Inf in cell {piece.label}"
            )
        return np.where(piece.inside, signal, 0.0)

    return _localization(cell, landmark, spacing, where, within_um, weights, counted=False)


# --- all cells --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Piece:
    """The part of an image around one cell and its landmark."""

    label: int
    box: tuple[slice, ...]
    inside: BoolArray
    landmark: BoolArray


def _pieces(
    cell: npt.NDArray[np.integer[Any]], landmark: npt.NDArray[np.integer[Any]]
) -> Iterator[_Piece]:
    nuclei = boxes_of(landmark)
    for label, box in boxes_of(cell).items():
        # One voxel more on all sides: what is nearest to a voxel of the cell but outside it.
        grown = tuple(
            slice(max(0, side.start - 1), min(length, side.stop + 1))
            for side, length in zip(box, cell.shape, strict=True)
        )
        both = union_box(grown, nuclei[label]) if label in nuclei else grown
        yield _Piece(label, both, cell[both] == label, landmark[both] == label)


def _localization(
    cell: npt.NDArray[np.integer[Any]],
    landmark: npt.NDArray[np.integer[Any]],
    spacing: FloatArray,
    where: str,
    within_um: Sequence[float],
    weights: Callable[[_Piece], FloatArray],
    *,
    counted: bool,
    n_outside: int = 0,
) -> Localization:
    if where not in get_args(Where):
        raise InputError(f'where: expected "cell" or "cytosol", found {where!r}')
    within = np.asarray(within_um, dtype=np.float64).reshape(-1)
    if not (np.isfinite(within) & (within >= 0)).all():
        raise InputError(f"within_um: expected distances >= 0 µm, found {within_um!r}")
    rows = [
        _Row.of(piece, spacing, weights(piece), within, cytosol=where == "cytosol", counted=counted)
        for piece in _pieces(cell, landmark)
    ]
    columns = {
        name: np.array([row.indices.get(name, np.nan) for row in rows], dtype=np.float64)
        for name in INDICES
    }
    nothing = np.full(len(within), np.nan)
    columns |= {
        name: np.array([row.near.get(name, nothing) for row in rows]).reshape(
            len(rows), len(within)
        )
        for name in _NEAR
    }
    return Localization(
        label=np.array([row.label for row in rows], dtype=np.int64),
        amount=np.array([row.amount for row in rows], dtype=np.float64),
        within_um=within,
        reason=tuple("; ".join(row.reasons) for row in rows),
        n_outside=n_outside,
        **columns,
    )


# --- one cell ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """Indices of one cell; those that are missing are NaN, and the reasons say why."""

    label: int
    amount: float
    indices: dict[str, float]
    near: dict[str, FloatArray]
    reasons: list[str]

    @classmethod
    def of(
        cls,
        piece: _Piece,
        spacing: FloatArray,
        weight: FloatArray,
        within: FloatArray,
        *,
        cytosol: bool,
        counted: bool,
    ) -> _Row:
        known = bool(piece.landmark.any())
        kept = piece.inside & ~piece.landmark if cytosol else piece.inside
        row = cls(piece.label, float(weight.sum(where=kept)), {}, {}, [])
        if known:
            row._proportions(weight, piece.inside, piece.landmark)
        else:
            row.reasons.append(f"landmark: {_NO_LANDMARK}")
        nothing = _nothing(row.amount, kept, counted=counted, unknown=cytosol and not known)
        if nothing:
            row.reasons.append(nothing)
            return row
        signal = np.where(kept, weight, 0.0)
        row._moments(signal, kept, spacing, counted=counted)
        if known:
            row._periphery(signal, kept, piece.landmark, spacing)
            to_landmark = distance_map(piece.landmark, spacing.tolist())[kept]
            row._nearness("landmark", to_landmark, signal[kept], within)
        to_membrane = distance_map(~piece.inside, spacing.tolist())[kept]
        if np.isnan(to_membrane).any():
            row.reasons.append("membrane: the cell fills the image")
        else:
            row._nearness("membrane", to_membrane, signal[kept], within)
        return row

    def _proportions(self, weight: FloatArray, inside: BoolArray, landmark: BoolArray) -> None:
        shared, total = inside & landmark, float(weight.sum(where=inside))
        expected = float(shared.sum() / inside.sum())
        self.indices["expected_in_landmark"] = expected
        if total > 0:
            observed = float(weight.sum(where=shared)) / total
            self.indices["proportion_in_landmark"] = observed
            self._ratio("index_in_landmark", observed, expected, "the landmark is not in the cell")

    def _moments(
        self, signal: FloatArray, kept: BoolArray, spacing: FloatArray, *, counted: bool
    ) -> None:
        even, centre = _centroid(kept, spacing), _centroid(signal, spacing)
        spread = _second_moment(kept, even, spacing)
        apart = float(np.linalg.norm(centre - even))
        self._ratio("polarity", apart, float(np.sqrt(spread)), "a single voxel")
        if counted:
            self.indices["polarity_by_chance"] = float(1 / np.sqrt(self.amount))
        if counted and self.amount < 2:
            self.reasons.append("dispersion: a single punctum")
            return
        unbiased = self.amount / (self.amount - 1) if counted else 1.0
        moment = unbiased * _second_moment(signal, centre, spacing)
        self._ratio("dispersion", moment, spread, "a single voxel")

    def _periphery(
        self, signal: FloatArray, kept: BoolArray, landmark: BoolArray, spacing: FloatArray
    ) -> None:
        middle = _centroid(landmark, spacing)
        observed, even = (_second_moment(part, middle, spacing) for part in (signal, kept))
        self._ratio("peripheral_distribution", observed, even, "a single voxel")

    def _nearness(
        self, target: str, distance: FloatArray, signal: FloatArray, within: FloatArray
    ) -> None:
        where = np.flatnonzero(signal)
        seen, share = distance[where], signal[where] / self.amount
        mean = float(share @ seen)
        self.indices[f"mean_distance_{target}_um"] = mean
        self._ratio(
            f"index_mean_distance_{target}", mean, float(distance.mean()), "no volume away from it"
        )
        order = np.argsort(seen, kind="stable")
        # The first distance by which half is reached, of the signal and of the volume.
        median = float(seen[order][np.argmax(np.cumsum(share[order]) >= 0.5 - 1e-12)])
        half = (len(distance) + 1) // 2 - 1
        even = float(np.partition(distance, half)[half])
        self._ratio(
            f"index_median_distance_{target}", median, even, "half of the volume is at distance 0"
        )
        reach = within + _SAME * float(distance.max())
        observed = np.array([share.sum(where=seen <= r) for r in reach], dtype=np.float64)
        expected = np.array([np.mean(distance <= r) for r in reach], dtype=np.float64)
        self.near[f"proportion_near_{target}"] = observed
        self.near[f"index_near_{target}"] = np.divide(
            observed, expected, out=np.full(len(within), np.nan), where=expected > 0
        )
        empty = [f"{value:g}" for value in within[expected == 0]]
        if empty:
            self.reasons.append(f"index_near_{target}: no volume within {', '.join(empty)} µm")

    def _ratio(self, name: str, observed: float, expected: float, otherwise: str) -> None:
        if expected > 0:
            self.indices[name] = observed / expected
        else:
            self.reasons.append(f"{name}: {otherwise}")


def _profiles(weight: FloatArray | BoolArray) -> list[FloatArray]:
    """Total weight at every position along each axis."""
    axes = range(weight.ndim)
    return [
        weight.sum(axis=tuple(other for other in axes if other != axis), dtype=np.float64)
        for axis in axes
    ]


def _centroid(weight: FloatArray | BoolArray, spacing: FloatArray) -> FloatArray:
    profiles = zip(_profiles(weight), spacing, strict=True)
    return np.array([p @ (np.arange(len(p)) * step) / p.sum() for p, step in profiles])


def _second_moment(
    weight: FloatArray | BoolArray, centre: FloatArray, spacing: FloatArray
) -> float:
    """Mean squared distance to a point, µm²: squares along the axes add up."""
    profiles = zip(_profiles(weight), centre, spacing, strict=True)
    return float(sum(p @ (np.arange(len(p)) * step - c) ** 2 / p.sum() for p, c, step in profiles))


def _nothing(amount: float, kept: BoolArray, *, counted: bool, unknown: bool) -> str:
    """Why there is nothing to say about where the signal of a cell is; empty if there is."""
    if unknown:
        return f"all: {_NO_LANDMARK}, so that its cytosol is not known"
    if not kept.any():
        return "all: the landmark fills the cell"
    if not amount > 0:
        return "all: no puncta" if counted else "all: no signal above background"
    return ""
