"""Chunked equals whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aequorea.blocks import stream_pairwise, stream_sweep
from aequorea.colocalization import analyse_pairwise, costes_sweep
from aequorea.errors import AxisMismatchError, InputError
from aequorea.model import Image

TYPES = ("u1", "u2", "i2", "i8", "f4", "f8")
CURVES = ("thresholds_a", "thresholds_b", "n_below", "r_below", "r_above", "m1", "m2")


def stack(dtype="u2", shape=(5, 14, 18), seed=0):
    rng = np.random.default_rng(seed)
    stain = rng.gamma(1, 60, shape)
    a = (stain + rng.normal(20, 3, shape)).clip(0, 255)
    b = (0.6 * stain + rng.normal(20, 3, shape)).clip(0, 255)
    a, b = a.astype(dtype), b.astype(dtype)
    a[4, :, :9] = 7
    labels = rng.integers(0, 4, shape).astype(np.int32)
    labels[0, 0, 0] = 9
    labels[4, :, :9] = 6
    return (a - 60 if dtype == "i2" else a), b, labels


def same(rows, others):
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        assert list(row) == list(other)
        for key, value in row.items():
            if isinstance(value, str):
                assert value == other[key]
            else:
                np.testing.assert_allclose(value, other[key], rtol=1e-9, atol=1e-12, err_msg=key)


def compare(a, b, labels, chunk=(2, 7, 10), **options):
    if a.dtype.kind == "f" or b.dtype.kind == "f":
        options.setdefault("metrics", ("pcc", "icq", "overlap", "mcc"))
    whole_warnings, part_warnings = [], []
    whole = analyse_pairwise(a, b, label_mask=labels, region_warnings=whole_warnings, **options)
    parts = stream_pairwise(
        a, b, label_mask=labels, region_warnings=part_warnings, chunk=chunk,
        max_memory_bytes=1_000_000, **options,
    )  # fmt: skip
    same(parts, whole)
    assert part_warnings == whole_warnings


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("method", ["costes", "otsu", "triangle", "yen", "mean", "isodata"])
@pytest.mark.parametrize("labelled", [True, False])
def test_rows_of_every_threshold_method(dtype, method, labelled):
    a, b, labels = stack(dtype)
    compare(a, b, labels if labelled else None, threshold_method=method)
    compare(b, a, labels if labelled else None, threshold_method=method)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
def test_more_options(dtype):
    a, b, labels = stack(dtype)
    compare(a, b, labels, threshold_method="li")
    compare(a, b, labels, stepper="costes", compat="jacop")
    compare(a, b, labels, compat="napari")
    compare(a, b, labels, metrics=("pcc", "tm1"))
    compare(a, b, labels, metrics=("srcc",))
    manual = {"threshold_method": "manual", "threshold_a": 30.0, "threshold_b": 20.0}
    compare(a, b, labels, compat="coloc2", **manual)


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(1, 5), st.integers(1, 14), st.integers(1, 18)), st.sampled_from(TYPES))
def test_any_chunk_gives_the_same_rows(chunk, dtype):
    compare(*stack(dtype), chunk=chunk)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("levels", [None, 100])
def test_sweep_equals_the_whole(dtype, levels):
    a, b, labels = stack(dtype)
    for mask in (labels > 1, None):
        whole = costes_sweep(a, b, mask, levels=levels)
        parts = stream_sweep(a, b, mask=mask, levels=levels, chunk=(1, 5, 18))
        for name in CURVES:
            np.testing.assert_allclose(
                getattr(parts, name), getattr(whole, name), rtol=1e-9, atol=1e-9
            )
        assert parts.thresholds() == pytest.approx(whole.thresholds(), nan_ok=True)


def test_sweep_without_a_line_says_so():
    a = np.arange(24.0).reshape(2, 3, 4)
    assert "rise" in stream_sweep(a, -a).reason
    assert "fewer than 2" in stream_sweep(a, a, mask=np.zeros(a.shape, bool)).reason


class Watched:
    """Lazy pixels that count how many are read at once."""

    def __init__(self, pixels):
        self.pixels = pixels
        self.largest = 0

    shape = property(lambda self: self.pixels.shape)
    dtype = property(lambda self: self.pixels.dtype)

    def __getitem__(self, index):
        part = self.pixels[index]
        self.largest = max(self.largest, part.nbytes)
        return part


def test_pieces_and_passes_respect_the_budget():
    a, b, labels = stack("u2", (20, 64, 64))
    lazy = [Watched(x) for x in (a, b, labels)]
    budget = 200_000
    rows = stream_pairwise(*lazy[:2], label_mask=lazy[2], max_memory_bytes=budget)
    assert sum(x.largest for x in lazy) <= budget / 2
    same(rows, analyse_pairwise(a, b, label_mask=labels))


def test_images_stream_without_being_read_whole():
    a, b, _ = stack("u2")
    image = Image(data=np.stack([a, b]), axes="czyx", channels=("r", "g"))
    rows = stream_pairwise(image.channel("r"), image.channel("g"), chunk=(1, 14, 18))
    same(rows, analyse_pairwise(a, b))


def test_what_cannot_be_streamed_is_refused():
    a, b, labels = stack("f4")
    with pytest.raises(InputError, match="srcc of float32"):
        stream_pairwise(a, b)
    with pytest.raises(InputError, match="'li'"):
        stream_pairwise(a, b, metrics=("mcc",), threshold_method="li")
    wide = (a * 1000).astype(np.int64)
    with pytest.raises(InputError, match="srcc cannot be streamed"):
        stream_pairwise(wide, wide, metrics=("srcc",))
    a, b, labels = stack("u2")
    with pytest.raises(InputError, match="Coloc 2"):
        stream_pairwise(a, b, compat="coloc2")
    with pytest.raises(InputError, match="unknown metric"):
        stream_pairwise(a, b, metrics=("kendall",))
    with pytest.raises(InputError, match="levels"):
        stream_sweep(a, b, levels=1)
    with pytest.raises(InputError, match="positive"):
        stream_pairwise(a, b, label_mask=-labels)


def test_bad_pixels_and_shapes():
    a, b, labels = stack("f8")
    options = {"metrics": ("pcc",), "chunk": (1, 14, 18)}
    a[0, 0, :2] = a[3, 1, 1] = np.nan
    with pytest.raises(InputError, match="channel a: 3 pixels are NaN or infinite"):
        stream_pairwise(a, b, **options)
    assert stream_pairwise(a, b, label_mask=np.where(np.isnan(a), 0, labels), **options)
    with pytest.raises(AxisMismatchError, match="shape mismatch"):
        stream_pairwise(a, b[1:], **options)
    with pytest.raises(AxisMismatchError, match="label_mask shape"):
        stream_pairwise(a, b, label_mask=labels[1:], **options)
    with pytest.raises(InputError, match="real numbers"):
        stream_pairwise(a.astype(complex), b, **options)
    with pytest.raises(InputError, match="with pixels"):
        stream_pairwise(a[:0], b[:0], **options)
    with pytest.raises(AxisMismatchError, match="chunk"):
        stream_pairwise(b, b, metrics=("pcc",), chunk=(3, 3))
    assert stream_pairwise(b, b, metrics=("pcc",), label_mask=np.zeros(b.shape, int)) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 9))
def test_pixels_that_stop_correlating_exactly_are_decided_alike(seed, size):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 8, (2, size, size)).astype("u1")
    b = (a // 2 + rng.integers(0, 5, a.shape)).astype("u1")
    compare(a, b, None, chunk=(1, 2, size), metrics=("mcc",))


def test_pixels_that_are_equal_up_to_rounding_are_reported_as_in_memory():
    a = np.where(np.eye(6) > 0, 0.3, 0.1 + 0.2)
    b = np.random.default_rng(0).random((6, 6))
    options = {"metrics": ("mcc",), "threshold_method": "otsu"}
    (whole,), (streamed,) = analyse_pairwise(a, b, **options), stream_pairwise(a, b, **options)
    assert np.isnan(whole["threshold_a"])
    assert "threshold" in whole["reason"]
    assert whole["reason"] == streamed["reason"]
    assert whole["threshold_b"] == streamed["threshold_b"]
