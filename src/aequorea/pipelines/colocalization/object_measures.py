"""Objects of every stain and the distances between them, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from skimage import measure

from aequorea.colocalization.object_distances import match_objects, object_distances
from aequorea.colocalization.object_null import FractionWithin, fraction_within
from aequorea.colocalization.objects import OBJECT_COLUMNS, OBJECT_EXTRA_COLUMNS, object_table
from aequorea.colocalization.thresholds import auto_threshold
from aequorea.errors import InputError
from aequorea.pipelines.colocalization.background import per_channel
from aequorea.pipelines.colocalization.pixel_measures import tidy
from aequorea.pipelines.colocalization.region_walk import RegionCrop, crops
from aequorea.pipelines.run.seeds import seed_of

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from aequorea.pipelines.colocalization.background import Subtracted
    from aequorea.pipelines.colocalization.parameters import ObjectParameters
    from aequorea.pipelines.colocalization.pixel_measures import Track
    from aequorea.pipelines.colocalization.stains import Stains

Row = dict[str, Any]
ObjectNull = Literal["shift", "profile", "uniform"]


def object_labels(
    pixels: Subtracted, parameters: ObjectParameters, *, channel: int, frame: int
) -> tuple[NDArray[np.int32], float]:
    """The objects of one stain at one time, and the threshold they are brighter than.

    Parameters
    ----------
    pixels : Subtracted
    parameters : ObjectParameters
    channel, frame : int

    Returns
    -------
    labels : ndarray of int32
        Objects lie inside the regions; 0 everywhere if there is no threshold.
    threshold : float
        NaN where the method finds none (a constant channel).
    """
    image = pixels.pixels(channel, frame)
    regions = pixels.stains.regions_at(frame)
    inside = None if regions is None else regions != 0
    if parameters.object_threshold == "manual":
        values = parameters.object_threshold_value or ()
        given = per_channel(values, pixels.stains.names, flag="--object-threshold-value")
        threshold = given[channel]
    else:
        threshold = auto_threshold(image, parameters.object_threshold, inside)
    if not np.isfinite(threshold):
        return np.zeros(image.shape, np.int32), threshold
    bright = image > threshold
    if inside is not None:
        bright &= inside
    return components(bright, parameters.min_object_size), threshold


def components(bright: NDArray[np.bool_], min_size_px: int) -> NDArray[np.int32]:
    """Connected components, corners included, of at least a size, numbered from 1.

    Examples
    --------
    >>> components(np.array([[1, 0, 0, 1], [1, 0, 0, 0]], bool), 2).tolist()
    [[1, 0, 0, 0], [1, 0, 0, 0]]
    """
    labels = np.asarray(measure.label(bright), np.int32)
    kept = np.bincount(labels.ravel()) >= max(1, min_size_px)
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return np.asarray(numbers[labels])


def object_rows(
    labels_a: NDArray[Any],
    labels_b: NDArray[Any],
    regions: NDArray[Any] | None,
    names: tuple[str, str],
    axes: str,
    spacing_um: tuple[float, ...] | None,
) -> list[Row]:
    """Every object of two stains with its region, its centre and its distances to the other stain.

    Parameters
    ----------
    labels_a, labels_b : ndarray of int
    regions : ndarray of int or None
        An object belongs to the region that holds most of it.
    names : tuple of str
    axes : str
        Names of the axes, for the columns ``centroid_<axis>_px`` and ``centroid_<axis>_um``.
    spacing_um : tuple of float or None
        Without it the columns in µm are NaN.
    """
    rows, _ = object_table(labels_a, labels_b, *names, spacing_um=spacing_um)
    found: list[Row] = []
    for name, own, other in ((names[0], labels_a, labels_b), (names[1], labels_b, labels_a)):
        homes = _home_regions(own, regions)
        mine = [row for row in rows if row["channel"] == name]
        edges = _edge_distances(own, other, spacing_um, len(mine))
        found += [
            {"region": homes[row["object"]], **_flat(row, axes), **edge}
            for row, edge in zip(mine, edges, strict=True)
        ]
    return found


def _edge_distances(
    own: NDArray[Any], other: NDArray[Any], spacing_um: tuple[float, ...] | None, n: int
) -> list[Row]:
    if spacing_um is None:
        return [{"centre_edge_um": np.nan, "edge_edge_um": np.nan}] * n
    measured = object_distances(own, other, spacing_um=spacing_um)
    return [
        {"centre_edge_um": float(centre), "edge_edge_um": float(edge)}
        for centre, edge in zip(measured["centre_edge_um"], measured["edge_edge_um"], strict=True)
    ]


def _home_regions(labels: NDArray[Any], regions: NDArray[Any] | None) -> dict[int, int]:
    """The region that holds most pixels of each object (the smallest of equals)."""
    if regions is None:
        return dict.fromkeys(range(1, int(labels.max(initial=0)) + 1), 0)
    inside = labels != 0
    pairs, counts = np.unique(
        np.stack([labels[inside], regions[inside]]).astype(np.int64), axis=1, return_counts=True
    )
    homes: dict[int, int] = {}
    for at in np.lexsort((-pairs[1], counts)):
        homes[int(pairs[0, at])] = int(pairs[1, at])
    return homes


def _flat(row: Row, axes: str) -> Row:
    """One column per coordinate instead of a tuple; NaN instead of nothing."""
    flat: Row = {}
    for key in (*OBJECT_COLUMNS, *OBJECT_EXTRA_COLUMNS):
        value = row[key]
        if key.startswith("centroid"):
            unit = "um" if key.endswith("um") else "px"
            values = (np.nan,) * len(axes) if value is None else value
            flat |= {
                f"centroid_{axis}_{unit}": float(v) for axis, v in zip(axes, values, strict=True)
            }
        else:
            flat[key] = np.nan if value is None else value
    return flat


OBJECT_TABLE_COLUMNS = (
    "region",
    "channel_a",
    "channel_b",
    *(c for c in (*OBJECT_COLUMNS, *OBJECT_EXTRA_COLUMNS) if not c.startswith("centroid")),
    "centre_edge_um",
    "edge_edge_um",
)
PAIR_COLUMNS = ("region", "channel_a", "channel_b", "object_a", "object_b", "distance_um")
SUMMARY_COLUMNS = (
    "region",
    "channel_a",
    "channel_b",
    *(
        f"{quantity}_{side}"
        for quantity in (
            "threshold",
            "n_objects",
            "frac_matched",
            "frac_overlap",
            "frac_coincident",
            "median_nn_distance_px",
            "median_nn_distance_um",
        )
        for side in "ab"
    ),
    "n_matched",
    "reason",
)
WITHIN_COLUMNS = (
    "region",
    "channel_a",
    "channel_b",
    "channel",
    "distance_um",
    "observed",
    "expected",
    "ratio",
    "low",
    "high",
    "p_pointwise",
    "p_curve",
    "n_objects",
    "n_others",
    "null",
    "hypothesis",
    "reason",
)
#: With fewer objects of either stain in a region, distances are not held against chance.
MIN_OBJECTS = 5
_TOO_FEW = f"fewer than {MIN_OBJECTS} objects of either channel: too few to hold against chance"
_STEPS = 40
_NO_SPACING = "no pixel size: distances in µm need --spacing-um z,y,x"


def object_tables(
    pixels: Subtracted, parameters: ObjectParameters, *, null: ObjectNull, seed: int, track: Track
) -> dict[str, pd.DataFrame]:
    """Objects, their one-to-one partners, a summary of every region, and distances by chance.

    Parameters
    ----------
    pixels : Subtracted
    parameters : ObjectParameters
    null : {"shift", "profile", "uniform"}
    seed : int
    track : callable

    Returns
    -------
    dict of DataFrame
        ``objects``, ``object_pairs``, ``object_summary``, ``object_distances``. An object
        belongs to the region that holds most of it. Without a pixel size everything in µm is
        NaN, with a reason.
    """
    stains = pixels.stains
    objects: list[Row] = []
    pairs: list[Row] = []
    summaries: list[Row] = []
    within: list[Row] = []
    if parameters.objects:
        for frame, a, b in track(list(stains.fields())):
            names = stains.names[a], stains.names[b]
            head = {"frame": frame, "channel_a": names[0], "channel_b": names[1]}
            found = [object_labels(pixels, parameters, channel=k, frame=frame) for k in (a, b)]
            regions = stains.regions_at(frame)
            labels = found[0][0], found[1][0]
            rows = object_rows(*labels, regions, names, stains.spatial_axes, stains.spacing_or_none)
            partners = _partners(rows, names, stains, parameters)
            thresholds = found[0][1], found[1][1]
            for region in stains.region_names:
                home = [row for row in rows if row["region"] == region]
                own = [p for p in partners if p["region"] == region]
                summaries.append(
                    {**head, "region": region, **_summary(home, own, names, thresholds, stains)}
                )
            chance = _Chance(stains, parameters, null, seed_of(seed, frame, a, b))
            within += [{**head, **row} for row in chance.rows(rows, names, regions)]
            objects += [{**head, **row} for row in rows]
            pairs += [{**head, **row} for row in partners]
    return {
        "objects": tidy(objects, stains, OBJECT_TABLE_COLUMNS),
        "object_pairs": tidy(pairs, stains, PAIR_COLUMNS),
        "object_summary": tidy(summaries, stains, SUMMARY_COLUMNS),
        "object_distances": tidy(within, stains, WITHIN_COLUMNS),
    }


class _Chance:
    """Fraction of objects within each distance, against objects placed by chance."""

    def __init__(
        self, stains: Stains, parameters: ObjectParameters, null: ObjectNull, seed: int
    ) -> None:
        self._stains = stains
        self._null: ObjectNull = null
        self._n = parameters.n_reshuffles
        self._seed = seed
        self._distances = np.linspace(0, parameters.max_distance_um, _STEPS + 1)[1:]

    def rows(
        self, objects: list[Row], names: tuple[str, str], regions: NDArray[Any] | None
    ) -> list[Row]:
        """The curves of every region, from each channel to the other."""
        if self._stains.spacing_or_none is None:
            return []
        found: list[Row] = []
        for crop in crops(regions, self._stains.spatial_shape, margin_px=1):
            points = [self._points(objects, name, crop) for name in names]
            for side, name in enumerate(names):
                curve = self._curve(points[side], points[1 - side], crop, side)
                found += [{"region": crop.region, "channel": name, **row} for row in curve]
        return found

    def _points(self, objects: list[Row], name: str, crop: RegionCrop) -> NDArray[np.float64]:
        columns = [f"centroid_{axis}_px" for axis in self._stains.spatial_axes]
        own = [
            [row[c] - s.start for c, s in zip(columns, crop.where, strict=True)]
            for row in objects
            if row["channel"] == name and row["region"] == crop.region
        ]
        return np.array(own, np.float64).reshape(-1, len(columns))

    def _curve(
        self,
        points: NDArray[np.float64],
        others: NDArray[np.float64],
        crop: RegionCrop,
        side: int,
    ) -> list[Row]:
        if min(len(points), len(others)) < MIN_OBJECTS:
            return [self._untested(_TOO_FEW, len(points), len(others))]
        mask = crop.mask if crop.mask is not None else np.ones(self._stains.spatial_shape, bool)
        marks = self._stains.landmarks
        landmark = None if marks is None or self._null != "profile" else marks[crop.where]
        spacing = self._stains.spacing_or_none
        assert spacing is not None  # noqa: S101 - rows() has looked
        try:
            found = fraction_within(
                points,
                others,
                mask=mask,
                spacing_um=spacing,
                distances_um=self._distances,
                n_reshuffles=self._n,
                seed=seed_of(self._seed, crop.region, side),
                null=self._null,
                landmark=landmark if landmark is not None and (landmark & mask).any() else None,
            )
        except InputError as error:
            return [self._untested(str(error), len(points), len(others))]
        return _curve_rows(found)

    def _untested(self, reason: str, n_objects: int, n_others: int) -> Row:
        return {
            **dict.fromkeys(WITHIN_COLUMNS[4:12], np.nan),
            "n_objects": n_objects,
            "n_others": n_others,
            "null": self._null,
            "hypothesis": "",
            "reason": reason,
        }


def _curve_rows(found: FractionWithin) -> list[Row]:
    columns = {
        "distance_um": found.distances_um,
        "observed": found.observed,
        "expected": found.expected,
        "ratio": found.ratio,
        "low": found.lower,
        "high": found.upper,
        "p_pointwise": found.p_pointwise,
    }
    facts = {
        "p_curve": float(found.p_value),
        "n_objects": found.n_a,
        "n_others": found.n_b,
        "null": found.null,
        "hypothesis": found.hypothesis,
        "reason": found.reason,
    }
    return [
        {**{name: float(values[k]) for name, values in columns.items()}, **facts}
        for k in range(len(found.distances_um))
    ]


def _partners(
    rows: list[Row], names: tuple[str, str], stains: Stains, parameters: ObjectParameters
) -> list[Row]:
    if stains.spacing_or_none is None:
        return []
    sides = [[row for row in rows if row["channel"] == name] for name in names]
    columns = [f"centroid_{axis}_um" for axis in stains.spatial_axes]
    points = [
        np.array([[row[c] for c in columns] for row in side]).reshape(-1, len(columns))
        for side in sides
    ]
    matches = match_objects(*points, cutoff_um=parameters.match_distance_um)
    return [
        {
            "region": sides[0][i]["region"],
            "object_a": sides[0][i]["object"],
            "object_b": sides[1][j]["object"],
            "distance_um": float(distance),
        }
        for (i, j), distance in zip(matches.pairs.tolist(), matches.distances_um, strict=True)
    ]


def _summary(
    rows: list[Row],
    partners: list[Row],
    names: tuple[str, str],
    thresholds: tuple[float, float],
    stains: Stains,
) -> Row:
    calibrated = stains.spacing_or_none is not None
    matched = {side: {p[f"object_{side}"] for p in partners} for side in "ab"}
    summary: Row = {}
    for side, name, threshold in zip("ab", names, thresholds, strict=True):
        own = [row for row in rows if row["channel"] == name]
        share = [row["object"] in matched[side] for row in own] if calibrated else []
        summary |= {
            f"threshold_{side}": threshold,
            f"n_objects_{side}": len(own),
            f"frac_matched_{side}": _mean(share),
            f"frac_overlap_{side}": _mean([row["overlap"] for row in own]),
            f"frac_coincident_{side}": _mean([row["coincident"] for row in own]),
            f"median_nn_distance_px_{side}": _median([row["nn_distance_px"] for row in own]),
            f"median_nn_distance_um_{side}": _median([row["nn_distance_um"] for row in own]),
        }
    summary["n_matched"] = len(partners) if calibrated else np.nan
    reasons = [] if calibrated else [_NO_SPACING]
    for name, threshold in zip(names, thresholds, strict=True):
        if not np.isfinite(threshold):
            reasons.append(f"{name}: no threshold separates objects from background")
    return {**summary, "reason": "; ".join(reasons)}


def _mean(values: list[Any]) -> float:
    return float(np.mean(values)) if values else np.nan


def _median(values: list[Any]) -> float:
    finite = [v for v in values if np.isfinite(v)]
    return float(np.median(finite)) if finite else np.nan
