"""Tables of colocalization measures: one row per region, slice, timepoint and channel pair.

Failure policy. What makes the whole request invalid (shapes, unknown options, missing manual
thresholds, pixels that are not finite) raises an InputError. A region for which a measure is
undefined keeps its row: the measure is NaN and the row says why.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numba
import numpy as np
from scipy import ndimage as ndi

from aequorea.colocalization.correlation import (
    icq_of,
    kendall_tau,
    pearson_above,
    pearson_below,
    pearson_pixel_p,
    rank_correlation,
    spearman_pixel_p,
)
from aequorea.colocalization.costes import Stepper, costes_of
from aequorea.colocalization.manders import areas_of, manders_of, overlap_above, overlap_of
from aequorea.colocalization.moments import PairMoments, group_by_region, pair_moments
from aequorea.colocalization.regions import (
    Pixels,
    channel_pair,
    label_image,
    require_finite,
)
from aequorea.colocalization.thresholds import THRESHOLD_METHODS, threshold_of
from aequorea.errors import AxisMismatchError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

Compat = Literal["coloc2", "jacop", "napari"]
Null = Literal["stationary", "profile", "phase"]
Row = dict[str, Any]
RegionPixels = tuple[int, Pixels, Pixels]

ALL_METRICS = ("pcc", "srcc", "icq", "overlap", "mcc")
COLUMNS = (
    "region",
    "slice",
    "channel_a",
    "channel_b",
    "n_pixels",
    "pcc",
    "pcc_pvalue",
    "srcc",
    "srcc_pvalue",
    "icq",
    "overlap",
    "k1",
    "k2",
    "m1",
    "m2",
    "threshold_a",
    "threshold_b",
)
_NAN = float("nan")
# Beyond this label, bounding boxes are not tabulated.
_LARGEST_BOXED = 1 << 22
VALUE_KEYS = {
    "pcc": ("pcc",),
    "srcc": ("srcc",),
    "icq": ("icq",),
    "overlap": ("overlap", "k1", "k2"),
    "mcc": ("m1", "m2"),
}
_ALIASES = {
    "pearson": "pcc",
    "spearman": "srcc",
    "k1": "overlap",
    "k2": "overlap",
    "manders": "mcc",
    "m1": "mcc",
    "m2": "mcc",
    "tm1": "mcc",
    "tm2": "mcc",
}
EXTRA_METRICS = (
    "kendall",
    "pcc_above",
    "pcc_below",
    "m1_plain",
    "m2_plain",
    "overlap_thresholded",
    "areas",
    "tm1",
    "tm2",
)
_NEEDS_THRESHOLDS = {"pcc_above", "pcc_below", "overlap_thresholded", "areas"}
_AREA_KEYS = (
    "n_coloc",
    "n_a",
    "n_b",
    "percent_area",
    "percent_area_a",
    "percent_area_b",
    "percent_intensity_a",
    "percent_intensity_b",
    "percent_intensity_above_a",
    "percent_intensity_above_b",
)
_EXTRA_KEYS = {
    "overlap_thresholded": ("overlap_thr", "k1_thr", "k2_thr"),
    "areas": _AREA_KEYS,
    "tm1": (),  # m1 and m2 again
    "tm2": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to compute for each region; made, and checked, by :func:`check_request`."""

    metrics: tuple[str, ...]
    extras: tuple[str, ...] = ()
    method: str = "costes"
    threshold_a: float | None = None
    threshold_b: float | None = None
    stepper: Stepper = "bisection"
    compat: str | None = None
    null: Null | None = None
    null_options: dict[str, Any] = field(default_factory=dict)

    @property
    def thresholded(self) -> bool:
        """Whether any measure needs thresholds."""
        return "mcc" in self.metrics or bool(_NEEDS_THRESHOLDS & set(self.extras))


def analyse_pairwise(
    a: ArrayLike,
    b: ArrayLike,
    *,
    label_mask: ArrayLike | None = None,
    metrics: Sequence[str] = ALL_METRICS,
    threshold_method: str = "costes",
    threshold_a: float | None = None,
    threshold_b: float | None = None,
    channel_a: str = "A",
    channel_b: str = "B",
    slice_axis: int | None = None,
    region_warnings: list[str] | None = None,
    time_axis: int | None = None,
    compat: Compat | None = None,
    stepper: Stepper = "bisection",
    extra_metrics: Sequence[str] = (),
    null: Null | None = None,
    n_shifts: int = 999,
    seed: int = 0,
    landmarks: ArrayLike | None = None,
    spacing_um: tuple[float, ...] | None = None,
) -> list[Row]:
    """Measure two channels in every region.

    Parameters
    ----------
    a, b : array_like, same shape
        Intensities. Without ``slice_axis`` and ``time_axis`` all pixels of a region are taken
        together.
    label_mask : array_like of int, optional
        0 is background, 1..N are regions; None is the whole image. It has the image's shape,
        or that shape without the slice or the time axis (or both): then it is used for every
        slice or timepoint.
    metrics : sequence of {"pcc", "srcc", "icq", "overlap", "mcc"}
        What to compute; the other columns are NaN. "overlap" fills overlap, k1 and k2, "mcc"
        fills m1, m2 and the thresholds. "pearson", "spearman", "manders", "m1", "tm1", … are
        understood as well.
    threshold_method : str, default "costes"
        "costes", "manual", or a method of :func:`auto_threshold` for each channel alone.
    threshold_a, threshold_b : float, optional
        Thresholds for "manual"; both are needed then.
    channel_a, channel_b : str
        Names written into the rows.
    slice_axis : int, optional
        Analyse each plane along this axis by itself; its index goes into column ``slice``.
    region_warnings : list, optional
        Gets one sentence for each region where a requested measure is undefined.
    time_axis : int, optional
        Analyse each timepoint by itself; its index is in the extra column ``time``.
    compat : {None, "coloc2", "jacop", "napari"}
        Definitions of ICQ, Manders and Costes as in that program (see :func:`li_icq`,
        :func:`manders`, :func:`costes_threshold`). "napari" also fills the p-value columns
        with *pixel* p-values, which are not valid for autocorrelated pixels, and adds the
        columns tm1 and tm2.
    stepper : {"bisection", "costes"}
        How Costes' threshold is searched.
    extra_metrics : sequence of str
        More columns, after COLUMNS: "kendall", "pcc_above", "pcc_below", "m1_plain",
        "m2_plain" (thresholds 0), "overlap_thresholded" (overlap_thr, k1_thr, k2_thr),
        "areas" (see :class:`ColocalizedAreas`), "tm1", "tm2" (m1 and m2 again).
    null : str, optional
        Null hypothesis of :func:`significance`, which then fills pcc_pvalue and srcc_pvalue.
    n_shifts, seed, landmarks
        Passed on to :func:`significance`. ``landmarks`` has the shape of the image, or is
        shared between slices or timepoints like ``label_mask``.
    spacing_um : tuple of float, optional
        Pixel size in µm along the axes that are analysed together, for the null "profile".

    Returns
    -------
    list of dict
        One row per timepoint, slice and region, in that order. Keys: COLUMNS, then ``time``
        when asked for, extra metrics, and ``reason`` (empty where all is defined).

    Raises
    ------
    InputError
        If the request as a whole cannot be met (also a ValueError).

    Examples
    --------
    >>> import numpy as np
    >>> a = np.arange(16.0).reshape(4, 4)
    >>> rows = analyse_pairwise(a, 2 * a + 1, metrics=("pcc",))
    >>> rows[0]["pcc"], rows[0]["n_pixels"]
    (1.0, 16)
    """
    request = check_request(
        metrics, extra_metrics, threshold_method, threshold_a, threshold_b, stepper, compat, null,
        {"n_shifts": n_shifts, "seed": seed, "spacing_um": spacing_um},
    )  # fmt: skip
    x, y = channel_pair(a, b)
    _require_pixels(x.shape)
    axes = _plane_axes(x.ndim, time_axis, slice_axis)
    labels = None if label_mask is None else _shared(label_mask, x.shape, axes, "label_mask")
    marks = None if landmarks is None else _shared(landmarks, x.shape, axes, "landmarks")
    rows: list[Row] = []
    for time, plane, index in _planes(x.shape, axes):
        for row in _rows_of(
            x[index], y[index], None if labels is None else labels[index],
            None if marks is None else marks[index],
            request, (channel_a, channel_b), region_warnings,
        ):  # fmt: skip
            row["slice"] = row["slice"] if plane is None else plane
            rows.append(row if time is None else _with_time(row, time))
    return rows


def analyse_all_to_all(
    image: ArrayLike,
    channel_axis: int,
    *,
    label_mask: ArrayLike | None = None,
    metrics: Sequence[str] = ALL_METRICS,
    threshold_method: str = "costes",
    threshold_a: float | None = None,
    threshold_b: float | None = None,
    channel_names: Sequence[str] | None = None,
    region_warnings: list[str] | None = None,
    slice_axis: int | None = None,
    time_axis: int | None = None,
    compat: Compat | None = None,
    stepper: Stepper = "bisection",
    extra_metrics: Sequence[str] = (),
    null: Null | None = None,
    n_shifts: int = 999,
    seed: int = 0,
    landmarks: ArrayLike | None = None,
    spacing_um: tuple[float, ...] | None = None,
) -> list[Row]:
    """Measure every pair of channels (i, j), i < j, in every region.

    Parameters
    ----------
    image : array_like
        With one channel axis.
    channel_axis : int
    channel_names : sequence of str, optional
        One per channel; default c0, c1, …
    label_mask, landmarks : array_like, optional
        As in :func:`analyse_pairwise`, for the shape of ``image`` without its channel axis.
    slice_axis, time_axis : int, optional
        Axes of ``image`` (counted with its channel axis).
    metrics, threshold_method, threshold_a, threshold_b, region_warnings, compat, stepper, \
extra_metrics, null, n_shifts, seed, spacing_um
        As in :func:`analyse_pairwise`. Manual thresholds hold for every pair.

    Returns
    -------
    list of dict
        Rows of all pairs, as from :func:`analyse_pairwise`.

    Raises
    ------
    InputError
        As :func:`analyse_pairwise`; and if ``channel_names`` does not fit the channel axis.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).random((3, 8, 8))
    >>> rows = analyse_all_to_all(image, 0, metrics=("pcc",))
    >>> [(row["channel_a"], row["channel_b"]) for row in rows]
    [('c0', 'c1'), ('c0', 'c2'), ('c1', 'c2')]
    """
    pixels = np.asarray(image)
    at = _axis(channel_axis, pixels.ndim, "channel_axis")
    n_channels = pixels.shape[at]
    names = [f"c{k}" for k in range(n_channels)] if channel_names is None else list(channel_names)
    if len(names) != n_channels:
        raise InputError(
            f"{len(names)} channel_names for {n_channels} channels along axis {channel_axis}"
        )
    if n_channels < 2:
        raise InputError(
            f"all-to-all needs 2 channels or more, found {n_channels} along axis {channel_axis}"
        )
    by_channel = np.moveaxis(pixels, at, 0)
    rows: list[Row] = []
    for i in range(n_channels):
        for j in range(i + 1, n_channels):
            rows += analyse_pairwise(
                by_channel[i],
                by_channel[j],
                label_mask=label_mask,
                metrics=metrics,
                threshold_method=threshold_method,
                threshold_a=threshold_a,
                threshold_b=threshold_b,
                channel_a=names[i],
                channel_b=names[j],
                slice_axis=_without(slice_axis, at, pixels.ndim, "slice_axis"),
                region_warnings=region_warnings,
                time_axis=_without(time_axis, at, pixels.ndim, "time_axis"),
                compat=compat,
                stepper=stepper,
                extra_metrics=extra_metrics,
                null=null,
                n_shifts=n_shifts,
                seed=seed,
                landmarks=landmarks,
                spacing_um=spacing_um,
            )
    return rows


def check_request(
    metrics: Sequence[str] = ALL_METRICS,
    extras: Sequence[str] = (),
    method: str = "costes",
    threshold_a: float | None = None,
    threshold_b: float | None = None,
    stepper: Stepper = "bisection",
    compat: str | None = None,
    null: Null | None = None,
    null_options: dict[str, Any] | None = None,
) -> Request:
    """A request with every name checked and aliases resolved.

    Raises
    ------
    InputError
        For an unknown metric, method, stepper or compat, or missing manual thresholds.
    """
    metrics = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    extras = (extras,) if isinstance(extras, str) else tuple(extras)
    shown = tuple(m for m in metrics if m in ("tm1", "tm2"))
    if compat == "napari":
        shown = ("tm1", "tm2")
    wanted = dict.fromkeys(_ALIASES.get(m, m) for m in (*metrics, *extras) if m in _ALIASES)
    wanted = dict.fromkeys((*(_ALIASES.get(m, m) for m in metrics), *wanted))
    _one_of("metric", wanted, ALL_METRICS)
    _one_of("extra metric", extras, EXTRA_METRICS)
    _one_of("threshold_method", (method,), THRESHOLD_METHODS)
    _one_of("stepper", (stepper,), ("bisection", "costes"))
    if null is not None:
        _one_of("null", (null,), ("stationary", "profile", "phase"))
    if compat is not None:
        _one_of("compat", (compat,), ("coloc2", "jacop", "napari"))
    if method == "manual":
        if threshold_a is None or threshold_b is None:
            raise InputError("threshold_method='manual' requires both threshold_a and threshold_b")
        if np.isnan(threshold_a) or np.isnan(threshold_b):
            raise InputError(
                f"manual thresholds must be numbers, got {threshold_a} and {threshold_b}"
            )
    return Request(
        metrics=tuple(wanted),
        extras=tuple(dict.fromkeys((*extras, *shown))),
        method=method,
        threshold_a=threshold_a,
        threshold_b=threshold_b,
        stepper=stepper,
        compat=compat,
        null=null,
        null_options=null_options or {},
    )


def _one_of(what: str, given: Any, choices: tuple[str, ...]) -> None:
    for name in given:
        if name not in choices:
            raise InputError(f"unknown {what} {name!r}; choose from {', '.join(choices)}")


def _require_pixels(shape: tuple[int, ...]) -> None:
    if 0 in shape or not shape:
        raise InputError(f"expected an image with pixels, got shape {shape}")


def _axis(axis: int, ndim: int, name: str) -> int:
    if not -ndim <= axis < ndim:
        raise AxisMismatchError(f"{name}={axis} does not exist in an image of {ndim} axes")
    return axis % ndim


def _without(axis: int | None, removed: int, ndim: int, name: str) -> int | None:
    """Number of an axis once axis ``removed`` is taken away."""
    if axis is None:
        return None
    number = _axis(axis, ndim, name)
    if number == removed:
        raise AxisMismatchError(f"{name} and channel_axis are both {axis}")
    return number - (number > removed)


def _plane_axes(
    ndim: int, time_axis: int | None, slice_axis: int | None
) -> tuple[int | None, int | None]:
    time = None if time_axis is None else _axis(time_axis, ndim, "time_axis")
    plane = None if slice_axis is None else _axis(slice_axis, ndim, "slice_axis")
    if time is not None and time == plane:
        raise AxisMismatchError(f"time_axis and slice_axis are both {time_axis}")
    return time, plane


def _shared(
    array: ArrayLike, shape: tuple[int, ...], axes: tuple[int | None, int | None], name: str
) -> NDArray[Any]:
    """An array of the image's shape; one without the time or slice axis is repeated lazily."""
    values = label_image(array) if name == "label_mask" else np.asarray(array)
    time, plane = axes
    for dropped in ((), (time,), (plane,), (time, plane)):
        missing = tuple(sorted(d for d in dropped if d is not None))
        if len(missing) == len(dropped) and values.shape == tuple(
            n for k, n in enumerate(shape) if k not in missing
        ):
            return np.broadcast_to(np.expand_dims(values, missing), shape)
    raise AxisMismatchError(
        f"{name} shape {values.shape} does not match the image shape {shape}"
        + (", with or without its slice and time axes" if axes != (None, None) else "")
    )


def _planes(
    shape: tuple[int, ...], axes: tuple[int | None, int | None]
) -> Iterator[tuple[int | None, int | None, tuple[int | slice, ...]]]:
    steps = [(None,) if axis is None else range(shape[axis]) for axis in axes]
    for time, plane in product(*steps):
        index: list[int | slice] = [slice(None)] * len(shape)
        for axis, at in zip(axes, (time, plane), strict=True):
            if axis is not None and at is not None:
                index[axis] = at
        yield time, plane, tuple(index)


def _with_time(row: Row, time: int) -> Row:
    head = {key: row[key] for key in COLUMNS}
    return {**head, "time": time, **{k: v for k, v in row.items() if k not in head}}


def _rows_of(
    x: Pixels,
    y: Pixels,
    labels: NDArray[Any] | None,
    landmarks: NDArray[Any] | None,
    request: Request,
    names: tuple[str, str],
    region_warnings: list[str] | None,
) -> list[Row]:
    regions = list(_regions(x, y, labels, names))

    def measure(region: RegionPixels) -> tuple[Row, str]:
        return _measure(*region, request, names)

    measured = _each(measure, regions)
    if request.null is not None:
        boxes = _boxes(labels, [row["region"] for row, _ in measured], landmarks is not None)
        for row, _ in measured:
            box = boxes.get(row["region"], (slice(None),) * x.ndim)
            _add_significance(row, x, y, labels, landmarks, box, request)
    for row, warning in measured:
        if warning and region_warnings is not None:
            region_warnings.append(f"region {row['region']} ({names[0]} vs {names[1]}): {warning}")
    return [row for row, _ in measured]


def _regions(
    x: Pixels, y: Pixels, labels: NDArray[Any] | None, names: tuple[str, str]
) -> Iterator[RegionPixels]:
    if labels is None:
        flat = np.ascontiguousarray(x).ravel(), np.ascontiguousarray(y).ravel()
        for values, name in zip(flat, names, strict=True):
            require_finite(values, name)
        yield 0, *flat
        return
    groups = group_by_region(x, y, labels)
    require_finite(groups.a, names[0])
    require_finite(groups.b, names[1])
    for i, label in enumerate(groups.labels):
        yield int(label), *groups.region(i)


def _each(
    measure: Callable[[RegionPixels], tuple[Row, str]], regions: list[RegionPixels]
) -> list[tuple[Row, str]]:
    """Measure all regions, on threads when there are several; the kernels release the GIL."""
    workers = min(numba.get_num_threads(), len(regions))
    if workers < 2:
        return [measure(region) for region in regions]
    parts = [regions[i::workers] for i in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        done = list(pool.map(lambda part: [measure(region) for region in part], parts))
    return [done[i % workers][i // workers] for i in range(len(regions))]


def empty_row(label: int, n_pixels: int, names: tuple[str, str]) -> Row:
    """A row of which no measure is known yet."""
    row: Row = dict.fromkeys(COLUMNS, _NAN)
    row.update(region=label, channel_a=names[0], channel_b=names[1], n_pixels=n_pixels)
    return row


def _measure(
    label: int, x: Pixels, y: Pixels, request: Request, names: tuple[str, str]
) -> tuple[Row, str]:
    """The row of one region, and why a requested measure is undefined ('' if none is)."""
    moments = pair_moments(x, y)
    row = empty_row(label, moments.n, names)
    compat = request.compat
    if "pcc" in request.metrics:
        row["pcc"] = moments.correlation
    if "srcc" in request.metrics:
        row["srcc"] = rank_correlation(x, y) if moments.varied else _NAN
    if compat == "napari":
        row["pcc_pvalue"] = pearson_pixel_p(row["pcc"], moments.n)
        row["srcc_pvalue"] = spearman_pixel_p(row["srcc"], moments.n)
    if "icq" in request.metrics:
        row["icq"] = icq_of(x, y, moments, compat=compat)
    if "overlap" in request.metrics:
        row["overlap"], row["k1"], row["k2"] = overlap_of(moments)
    if request.thresholded:
        row["threshold_a"], row["threshold_b"] = _thresholds(x, y, moments, request)
    if "mcc" in request.metrics:
        row["m1"], row["m2"] = manders_of(
            x, y, moments, row["threshold_a"], row["threshold_b"], compat=compat
        )
    for extra in request.extras:
        row.update(_extra(extra, x, y, moments, row, compat))
    warning, row["reason"] = explain(moments, row, request, names)
    return row, warning


def _thresholds(
    x: Pixels, y: Pixels, moments: PairMoments, request: Request
) -> tuple[float, float]:
    if request.method == "manual" and request.threshold_a is not None:
        assert request.threshold_b is not None  # noqa: S101 - checked with the request
        return float(request.threshold_a), float(request.threshold_b)
    if request.method == "costes":
        compat = "coloc2" if request.compat == "coloc2" else None
        return costes_of(x, y, moments, stepper=request.stepper, compat=compat)
    return threshold_of(x, request.method), threshold_of(y, request.method)


def _extra(
    name: str, x: Pixels, y: Pixels, moments: PairMoments, row: Row, compat: str | None
) -> Row:
    t_a, t_b = row["threshold_a"], row["threshold_b"]
    coloc2: Literal["coloc2"] | None = "coloc2" if compat == "coloc2" else None
    if name == "kendall":
        return {"kendall": kendall_tau(x, y)[0]}
    if name == "pcc_above":
        return {name: pearson_above(x, y, t_a, t_b, compat=coloc2)}
    if name == "pcc_below":
        return {name: pearson_below(x, y, t_a, t_b)}
    if name in ("m1_plain", "m2_plain"):
        plain = manders_of(x, y, moments, 0.0, 0.0, compat=None)
        return {name: plain[name == "m2_plain"]}
    if name == "overlap_thresholded":
        return dict(zip(_EXTRA_KEYS[name], overlap_above(x, y, t_a, t_b), strict=True))
    if name == "areas":
        if not (np.isfinite(t_a) and np.isfinite(t_b)):
            return dict.fromkeys(_AREA_KEYS, _NAN)
        areas = asdict(areas_of(x, y, moments, t_a, t_b, compat=coloc2))
        return {key: areas[key] for key in _AREA_KEYS}
    return {name: row[name.removeprefix("t")]}


def explain(
    moments: PairMoments, row: Row, request: Request, names: tuple[str, str]
) -> tuple[str, str]:
    """Why a requested measure is undefined, as a warning and, with more detail, for the row.

    Both are empty where every requested measure is defined.
    """
    keys = [key for metric in request.metrics for key in VALUE_KEYS[metric]]
    keys += [key for extra in request.extras for key in _EXTRA_KEYS.get(extra, (extra,))]
    if not any(np.isnan(row[key]) for key in keys):
        return "", ""
    warning = _why(moments, row, request, names)
    return warning, warning + _detail(moments, names)


def _why(moments: PairMoments, row: Row, request: Request, names: tuple[str, str]) -> str:
    if moments.n < 2:
        return "fewer than 2 pixels"
    flat = [
        f"channel {name!r} {'has no signal' if total == 0 else 'is constant'}"
        for name, low, high, total in (
            (names[0], moments.min_a, moments.max_a, moments.sum_a),
            (names[1], moments.min_b, moments.max_b, moments.sum_b),
        )
        if low == high
    ]
    if flat:
        return "; ".join(flat)
    if request.thresholded and not (
        np.isfinite(row["threshold_a"]) and np.isfinite(row["threshold_b"])
    ):
        return "no Manders threshold could be determined (try a different threshold method)"
    return "metric undefined for this region"


def _detail(moments: PairMoments, names: tuple[str, str]) -> str:
    """What a warning leaves open."""
    if moments.n < 2:
        return ""
    negative = [
        f"channel {name!r} has negative values"
        for name, low in zip(names, (moments.min_a, moments.min_b), strict=True)
        if low < 0
    ]
    return f": {' and '.join(negative)}" if negative else ""


def _boxes(
    labels: NDArray[Any] | None, regions: list[int], surroundings: bool
) -> dict[int, tuple[slice, ...]]:
    """Bounding boxes of regions, one pixel wider, so that an edge of a region stays one.

    With ``surroundings`` they are widened by their own size, for landmarks beside a region.
    """
    if labels is None:
        return {}
    if max(regions, default=0) > _LARGEST_BOXED:
        return {}
    found = ndi.find_objects(labels)
    boxes = {}
    for label in regions:
        margins = [part.stop - part.start if surroundings else 1 for part in found[label - 1]]
        boxes[label] = tuple(
            slice(max(0, part.start - margin), part.stop + margin)
            for part, margin in zip(found[label - 1], margins, strict=True)
        )
    return boxes


def _add_significance(
    row: Row,
    x: Pixels,
    y: Pixels,
    labels: NDArray[Any] | None,
    landmarks: NDArray[Any] | None,
    box: tuple[slice, ...],
    request: Request,
) -> None:
    from aequorea.colocalization.significance import significance

    if request.null is None:
        return
    for metric in ("pcc", "srcc"):
        if metric not in request.metrics or np.isnan(row[metric]):
            continue
        result = significance(
            x[box],
            y[box],
            mask=None if labels is None else labels[box] == row["region"],
            null=request.null,
            landmarks=None if landmarks is None else landmarks[box],
            metric=metric,
            **request.null_options,
        )
        row[f"{metric}_pvalue"] = float(result.p_value)
        for note in (result.reason, *result.warnings):
            if note not in row["reason"]:
                row["reason"] = "; ".join(filter(None, (row["reason"], note)))
