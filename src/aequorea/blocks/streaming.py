"""Pixel colocalization of stacks that do not fit into memory.

Every measure here is a reduction over pixels, so a stack is read piece by piece, a few times
over, and only sums per region are kept. Chunked equals whole: the rows are those of
:func:`aequorea.colocalization.analyse_pairwise`, to floating-point tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.blocks.chunks import chunk_shape, iter_chunks
from aequorea.colocalization.analysis import (
    ALL_METRICS,
    Compat,
    Request,
    Row,
    check_request,
    empty_row,
    explain,
)
from aequorea.colocalization.correlation import (
    icq_from_signs,
    pearson_pixel_p,
    ranks_by_value,
    spearman_pixel_p,
    table_product,
)
from aequorea.colocalization.costes import (
    CostesSweep,
    Stepper,
    bisect_levels,
    bisection_line,
    level_line,
    sweep_from,
    sweep_without_levels,
    type_limits,
)
from aequorea.colocalization.exit_levels import LevelLine, LevelTally
from aequorea.colocalization.manders import GateSums, gate_sums, manders_from, overlap_of
from aequorea.colocalization.moments import (
    NO_PIXELS,
    PairMoments,
    covariance_signs,
    group_by_region,
    pair_moments,
)
from aequorea.colocalization.regions import Pixels, kernel_dtype, label_image
from aequorea.colocalization.thresholds import (
    binned,
    count_levels,
    float_histogram,
    tabulated,
    threshold_from_histogram,
)
from aequorea.errors import AxisMismatchError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from aequorea.model.lazy import LazyArray

DEFAULT_MEMORY = 1 << 30
_NAN = float("nan")
# Ranks are looked up by value; wider types would need all pixels at once.
_RANKED_SPAN = 1 << 16
# Bytes per level of a tally: 6 sums and 2 gates; 4 ranges more for floating point.
_TALLY_BYTES = 12 * 8

RegionPart = tuple[int, Pixels, Pixels]


def stream_pairwise(
    a: LazyArray,
    b: LazyArray,
    *,
    label_mask: LazyArray | None = None,
    metrics: Sequence[str] = ALL_METRICS,
    threshold_method: str = "costes",
    threshold_a: float | None = None,
    threshold_b: float | None = None,
    channel_a: str = "A",
    channel_b: str = "B",
    region_warnings: list[str] | None = None,
    compat: Compat | None = None,
    stepper: Stepper = "bisection",
    chunk: Sequence[int] | None = None,
    max_memory_bytes: int = DEFAULT_MEMORY,
) -> list[Row]:
    """Measure two channels in every region, reading them piece by piece.

    Parameters
    ----------
    a, b : lazy array, same shape
        NumPy, zarr or dask arrays, or single-channel images: anything with ``shape``,
        ``dtype`` and slicing.
    label_mask : lazy array of int, same shape, optional
    metrics, threshold_method, threshold_a, threshold_b, channel_a, channel_b, \
region_warnings, stepper
        As in :func:`aequorea.colocalization.analyse_pairwise`.
    compat : {None, "jacop", "napari", "coloc2"}
        "coloc2" needs a threshold method other than "costes".
    chunk : sequence of int, optional
        Size of a piece along each axis; default: what fits the budget.
    max_memory_bytes : int, default 1 GiB
        For a piece and the sums of the regions measured together; regions that do not fit
        are measured in further passes.

    Returns
    -------
    list of dict
        The rows of ``analyse_pairwise`` (without slices and timepoints: pass those in turn).

    Raises
    ------
    InputError
        If shapes differ, pixels are NaN or infinite, or a measure cannot be streamed: srcc of
        pixels that span more than 2¹⁶ levels or are floating point, "li" of floating-point
        pixels, Coloc 2's own Costes steppers.

    Notes
    -----
    Exact for integers: icq, srcc and all thresholds; others within rounding (relative 1e-9).
    Three passes over the pixels (one less without thresholds and srcc).

    Examples
    --------
    >>> import numpy as np
    >>> a = np.arange(4000, dtype="u2").reshape(4, 10, 100)
    >>> rows = stream_pairwise(a, a // 2, metrics=("pcc",), max_memory_bytes=20_000)
    >>> round(rows[0]["pcc"], 4), rows[0]["n_pixels"]
    (1.0, 4000)
    """
    request = check_request(
        metrics,
        method=threshold_method,
        threshold_a=threshold_a,
        threshold_b=threshold_b,
        stepper=stepper,
        compat=compat,
    )
    source = _Source.of(a, b, label_mask, chunk, max_memory_bytes)
    _check_streamable(request, source.dtype)
    names = (channel_a, channel_b)
    moments = _all_moments(source)
    rows: list[Row] = []
    for labels in _batches(sorted(moments), moments, source, request, max_memory_bytes):
        states = {k: _Region(k, moments[k], source, request) for k in labels}
        _pass(source, states, _Region.first)
        for state in states.values():
            state.decide()
        if any(state.needs_second for state in states.values()):
            _pass(source, states, _Region.second)
        for state in states.values():
            row, warning = state.row(names)
            rows.append(row)
            if warning and region_warnings is not None:
                region_warnings.append(
                    f"region {state.label} ({channel_a} vs {channel_b}): {warning}"
                )
    return rows


def stream_sweep(
    a: LazyArray,
    b: LazyArray,
    *,
    mask: LazyArray | None = None,
    levels: int | None = None,
    chunk: Sequence[int] | None = None,
    max_memory_bytes: int = DEFAULT_MEMORY,
) -> CostesSweep:
    """Costes' criterion at every level, reading the channels piece by piece (two passes).

    Parameters
    ----------
    a, b : lazy array, same shape
    mask : lazy array of bool, same shape, optional
    levels, chunk, max_memory_bytes
        As in :func:`aequorea.colocalization.costes_sweep` and :func:`stream_pairwise`.

    Returns
    -------
    CostesSweep
        For integer pixels the same to the last bit, whatever the chunks.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.arange(4000, dtype="u2").reshape(4, 1000)
    >>> stream_sweep(a, a // 2, chunk=(1, 500)).n_below[-1]
    np.int64(3999)
    """
    if levels is not None and levels < 2:
        raise InputError(f"levels must be 2 or more, got {levels}")
    source = _Source.of(a, b, mask, chunk, max_memory_bytes, binary=True)
    found = _all_moments(source)
    moments = next(iter(found.values()), NO_PIXELS)
    line = level_line(moments, source.dtype, levels=levels, limits=type_limits(a.dtype, b.dtype))
    if line is None:
        return sweep_without_levels(moments)
    tally = LevelTally(line, moments, source.dtype)
    for _, x, y in source.parts():
        tally.add(x, y)
    return sweep_from(tally, moments)


@dataclass(frozen=True, slots=True)
class _Source:
    """Two channels and labels, cut into pieces."""

    a: LazyArray
    b: LazyArray
    labels: LazyArray | None
    chunk: tuple[int, ...]
    dtype: np.dtype[Any]
    binary: bool

    @staticmethod
    def of(
        a: LazyArray,
        b: LazyArray,
        labels: LazyArray | None,
        chunk: Sequence[int] | None,
        max_memory_bytes: int,
        *,
        binary: bool = False,
    ) -> _Source:
        shape = tuple(a.shape)
        if tuple(b.shape) != shape:
            raise AxisMismatchError(
                f"shape mismatch: channel a is {shape} and channel b is {tuple(b.shape)}; "
                "crop or resample them to one grid"
            )
        if labels is not None and tuple(labels.shape) != shape:
            raise AxisMismatchError(
                f"label_mask shape {tuple(labels.shape)} does not match the image shape {shape}"
            )
        if 0 in shape or not shape:
            raise InputError(f"expected an image with pixels, got shape {shape}")
        for channel, name in ((a, "a"), (b, "b")):
            if np.dtype(channel.dtype).kind not in "biuf":
                raise InputError(f"channel {name} must hold real numbers, got {channel.dtype}")
        dtype = np.result_type(kernel_dtype(np.dtype(a.dtype)), kernel_dtype(np.dtype(b.dtype)))
        if chunk is None:
            chunk = chunk_shape(
                shape, max_memory_bytes // 2 // _bytes_per_pixel(a, b, labels, dtype)
            )
        return _Source(a, b, labels, tuple(chunk), dtype, binary)

    def parts(self) -> Iterator[RegionPart]:
        """Pixels of each region in each piece: label, a, b."""
        for index in iter_chunks(self.a.shape, self.chunk):
            x = np.asarray(self.a[index]).astype(self.dtype, copy=False)
            y = np.asarray(self.b[index]).astype(self.dtype, copy=False)
            if self.labels is None:
                yield 0, np.ascontiguousarray(x).ravel(), np.ascontiguousarray(y).ravel()
                continue
            labels = label_image(np.asarray(self.labels[index]))
            if self.binary:
                labels = (labels != 0).astype(np.uint8)
            groups = group_by_region(x, y, labels)
            for i, label in enumerate(groups.labels):
                yield int(label), *groups.region(i)


def _bytes_per_pixel(
    a: LazyArray, b: LazyArray, labels: LazyArray | None, dtype: np.dtype[Any]
) -> int:
    """Of a piece: as read, converted, and sorted by region; labels as read and checked."""
    read = np.dtype(a.dtype).itemsize + np.dtype(b.dtype).itemsize
    own = 0 if labels is None else 2 * np.dtype(labels.dtype).itemsize + 2 * dtype.itemsize
    return read + 2 * dtype.itemsize + own


def _all_moments(source: _Source) -> dict[int, PairMoments]:
    moments: dict[int, PairMoments] = {}
    bad = [0, 0]
    for label, x, y in source.parts():
        if source.dtype.kind == "f":
            for k, values in enumerate((x, y)):
                bad[k] += values.size - int(np.count_nonzero(np.isfinite(values)))
        if not any(bad):
            moments[label] = moments.get(label, NO_PIXELS) + pair_moments(x, y)
    for count, name in zip(bad, "ab", strict=True):
        if count:
            raise InputError(
                f"channel {name}: {count} pixels are NaN or infinite; mask them out or replace them"
            )
    return moments


def _check_streamable(request: Request, dtype: np.dtype[Any]) -> None:
    if "srcc" in request.metrics and dtype.kind not in "iu":
        raise InputError(
            f"srcc of {dtype} pixels needs all ranks at once and cannot be streamed; "
            "leave it out of metrics, or convert the image to 16-bit integers"
        )
    if not request.thresholded:
        return
    if request.method == "li" and dtype.kind == "f":
        raise InputError(
            "threshold_method='li' of floating-point pixels cannot be streamed; "
            "use another method or convert the image to 16-bit integers"
        )
    if request.method == "costes" and request.compat == "coloc2":
        raise InputError(
            "Coloc 2's Costes steppers cannot be streamed; find the thresholds on a part "
            "that fits into memory and give them with threshold_method='manual'"
        )


def _batches(
    labels: list[int],
    moments: dict[int, PairMoments],
    source: _Source,
    request: Request,
    max_memory_bytes: int,
) -> Iterable[list[int]]:
    """Regions whose sums fit half the budget together; at least one at a time."""
    batch: list[int] = []
    used = 0
    for label in labels:
        need = _state_bytes(moments[label], source.dtype, request)
        if batch and used + need > max_memory_bytes // 2:
            yield batch
            batch, used = [], 0
        batch.append(label)
        used += need
    if batch:
        yield batch


def _state_bytes(moments: PairMoments, dtype: np.dtype[Any], request: Request) -> int:
    if not moments.varied:
        return 0
    span = int(max(moments.max_a - moments.min_a, moments.max_b - moments.min_b)) + 1
    tables = 16 * span if dtype.kind in "iu" else 0
    levels = (1 << 16) if request.stepper == "costes" else (1 << 13)
    return tables + (levels * _TALLY_BYTES if request.method == "costes" else 0)


def _pass(source: _Source, states: dict[int, _Region], add: Any) -> None:
    for label, x, y in source.parts():
        if label in states:
            add(states[label], x, y)


class _Histogram:
    """Pixels at each level between two values, added piece by piece."""

    def __init__(self, dtype: np.dtype[Any], low: float, high: float) -> None:
        self._low, self._high = low, high
        self._tabulated = tabulated(dtype, low, high)
        if self._tabulated:
            self.levels: NDArray[Any] = np.arange(int(low), int(high) + 1)
        else:
            self.levels = float_histogram(np.empty(0), low, high)[1]
        self.counts = np.zeros(self.levels.size, np.int64)

    def add(self, values: Pixels) -> None:
        """Count more pixels."""
        if self._tabulated:
            self.counts += count_levels(values, int(self._low), int(self._high))
        else:
            real = values.astype(np.float64, copy=False)
            self.counts += float_histogram(real, self._low, self._high)[0]


class _Region:
    """What one region's row needs beyond its moments, gathered in two passes."""

    def __init__(self, label: int, moments: PairMoments, source: _Source, request: Request) -> None:
        self.label = label
        self.moments = moments
        self._request = request
        self._dtype = source.dtype
        self._signs = np.zeros(2, np.int64)
        self._histograms: list[_Histogram | None] = [None, None]
        self._tally: LevelTally | None = None
        self._ranks: list[NDArray[np.float64]] | None = None
        self._squares = (0.0, 0.0)
        self._rank_product = 0.0
        self._gates = GateSums()
        self.thresholds = (_NAN, _NAN)
        self._prepare()

    @property
    def needs_second(self) -> bool:
        """Whether ranks or gated sums are still to be gathered."""
        return self._ranks is not None or "mcc" in self._request.metrics

    def _prepare(self) -> None:
        m, request = self.moments, self._request
        ranked = "srcc" in request.metrics and m.varied
        span = max(m.max_a - m.min_a, m.max_b - m.min_b)
        if ranked and span >= _RANKED_SPAN:
            raise InputError(
                f"srcc cannot be streamed: region {self.label} spans {span:.0f} levels, "
                f"more than {_RANKED_SPAN}; leave it out of metrics"
            )
        automatic = request.thresholded and request.method not in ("costes", "manual", "mean")
        if ranked or automatic:
            self._histograms = [
                _Histogram(self._dtype, low, high) if binned(self._dtype, low, high) else None
                for low, high in ((m.min_a, m.max_a), (m.min_b, m.max_b))
            ]
        line = self._line()
        if line is not None:
            self._tally = LevelTally(line, m, self._dtype, parallel=False)

    def _line(self) -> LevelLine | None:
        if not (self._request.thresholded and self._request.method == "costes"):
            return None
        if self._request.stepper == "costes":
            limits = type_limits(self._dtype, self._dtype)
            return level_line(self.moments, self._dtype, levels=None, limits=limits)
        return bisection_line(self.moments)

    def first(self, x: Pixels, y: Pixels) -> None:
        """Signs about the means, histograms, and sums by Costes level."""
        m = self.moments
        if "icq" in self._request.metrics:
            self._signs += covariance_signs(x, y, m.mean_a, m.mean_b)
        for histogram, values in zip(self._histograms, (x, y), strict=True):
            if histogram is not None:
                histogram.add(values)
        if self._tally is not None:
            self._tally.add(x, y)

    def decide(self) -> None:
        """Thresholds and rank tables, from what the first pass gathered."""
        request, m = self._request, self.moments
        if request.thresholded:
            self.thresholds = self._decide_thresholds()
        if "srcc" in request.metrics and m.varied:
            tables = [ranks_by_value(h.counts) for h in self._histograms if h is not None]
            self._ranks = [np.asarray(ranks) for ranks, _ in tables]
            self._squares = (float(tables[0][1]), float(tables[1][1]))
        self._tally = None

    def _decide_thresholds(self) -> tuple[float, float]:
        request, m = self._request, self.moments
        if request.method == "manual":
            return float(request.threshold_a or 0.0), float(request.threshold_b or 0.0)
        if request.method == "costes":
            if self._tally is None:
                return _NAN, _NAN
            if request.stepper == "costes":
                return sweep_from(self._tally, m).thresholds("costes")
            return bisect_levels(self._tally, m)
        if request.method == "mean":
            return (
                m.mean_a if m.min_a < m.max_a else _NAN,
                m.mean_b if m.min_b < m.max_b else _NAN,
            )
        t_a, t_b = (
            _NAN if h is None else threshold_from_histogram(h.counts, h.levels, request.method)
            for h in self._histograms
        )
        return t_a, t_b

    def second(self, x: Pixels, y: Pixels) -> None:
        """Rank products and sums above the thresholds."""
        if self._ranks is not None:
            low_a, low_b = int(self.moments.min_a), int(self.moments.min_b)
            self._rank_product += table_product(x, low_a, self._ranks[0], y, low_b, self._ranks[1])
        if "mcc" in self._request.metrics:
            sums = gate_sums(x, y, *self.thresholds, compat=self._request.compat)
            self._gates = self._gates.merged(sums)

    def row(self, names: tuple[str, str]) -> tuple[Row, str]:
        """The finished row, and why a measure is undefined ('' if none is)."""
        m, request = self.moments, self._request
        row = empty_row(self.label, m.n, names)
        if "pcc" in request.metrics:
            row["pcc"] = m.correlation
        if self._ranks is not None and min(self._squares) > 0:
            rho = self._rank_product / np.sqrt(self._squares[0]) / np.sqrt(self._squares[1])
            row["srcc"] = float(np.clip(rho, -1, 1))
        if "icq" in request.metrics and m.varied:
            positive, negative = (int(k) for k in self._signs)
            row["icq"] = icq_from_signs(positive, negative, m.n, compat=request.compat)
        if "overlap" in request.metrics:
            row["overlap"], row["k1"], row["k2"] = overlap_of(m)
        if request.thresholded:
            row["threshold_a"], row["threshold_b"] = self.thresholds
        if "mcc" in request.metrics:
            row["m1"], row["m2"] = manders_from(
                self._gates, m, *self.thresholds, compat=request.compat
            )
        if request.compat == "napari":
            row["pcc_pvalue"] = pearson_pixel_p(row["pcc"], m.n)
            row["srcc_pvalue"] = spearman_pixel_p(row["srcc"], m.n)
        row.update({extra: row[extra.removeprefix("t")] for extra in request.extras})
        warning, row["reason"] = explain(m, row, request, names)
        return row, warning
