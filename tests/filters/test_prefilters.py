"""Filters against scipy, and the chain against its parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from aequorea.errors import AxisMismatchError, InputError
from aequorea.filters import apply_prefilters, gaussian, median, negative_log
from aequorea.segmentation.parameters import SegmentationParameters


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(100, 10, shape).astype(np.float32)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 11])
def test_median_of_images(width):
    image = noise((31, 40))
    expected = ndimage.median_filter(image, size=width)
    np.testing.assert_array_equal(median(image, xy_px=width), expected)


@pytest.mark.parametrize(("xy", "z"), [(3, None), (3, 1), (1, 3), (2, 3), (3, 2), (5, 3), (5, 5)])
def test_median_of_stacks(xy, z):
    stack = noise((6, 17, 19))
    expected = ndimage.median_filter(stack, size=(xy if z is None else z, xy, xy))
    np.testing.assert_array_equal(median(stack, xy_px=xy, z_px=z), expected)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5), st.integers(0, 3))
def test_median_where_the_window_is_larger_than_the_image(rows, columns, width, levels):
    rng = np.random.default_rng(rows * 100 + columns * 10 + width)
    image = rng.integers(0, levels + 1, (rows, columns)).astype(np.float32)
    expected = ndimage.median_filter(image, size=width)
    np.testing.assert_array_equal(median(image, xy_px=width), expected)


def test_gaussian_is_anisotropic():
    impulse = np.zeros((21, 41, 41), np.float32)
    impulse[10, 20, 20] = 1
    blurred = gaussian(impulse, xy_px=3.0, z_px=1.5).astype(float)
    for axis, sigma in enumerate((1.5, 3.0, 3.0)):
        profile = blurred.sum(axis=tuple(d for d in range(3) if d != axis))
        x = np.arange(len(profile)) - len(profile) // 2
        assert np.sqrt((profile * x**2).sum()) == pytest.approx(sigma, rel=0.01)
    assert blurred.sum() == pytest.approx(1, rel=1e-5)
    plane_by_plane = gaussian(impulse, xy_px=3.0, z_px=0.0)
    assert not plane_by_plane[:10].any()


def test_blobs_become_positive():
    y, x = np.indices((41, 41)) - 20
    blob = np.exp(-(y**2 + x**2) / (2 * 3.0**2)) * 50 + 10
    response = negative_log(blob, xy_px=3.0)
    assert np.unravel_index(response.argmax(), response.shape) == (20, 20)
    # Blurred to σ² + s² = 18: minus the Laplacian of a Gaussian of height 50/2 is 2·25/18.
    assert response.max() == pytest.approx(2 * 25 / 18, rel=0.01)
    assert negative_log(-blob, xy_px=3.0)[20, 20] < 0
    assert np.abs(negative_log(np.full((9, 9), 7), xy_px=1.0)).max() < 1e-5
    assert np.abs(negative_log(np.full((9, 9), 60_000), xy_px=2.0)).max() < 0.02


def test_log_of_a_stack():
    stack = noise((9, 20, 20))
    ours = negative_log(stack, xy_px=2.0, z_px=1.0)
    np.testing.assert_allclose(
        ours, -ndimage.gaussian_laplace(stack, (1, 2, 2), truncate=6), atol=1e-4
    )
    flat = negative_log(stack, xy_px=2.0, z_px=0.0)
    np.testing.assert_allclose(flat[4], negative_log(stack[4], xy_px=2.0), atol=1e-5)


@pytest.mark.parametrize("work", [gaussian, median, negative_log])
def test_a_single_plane_is_an_image(work):
    image = noise((20, 22))
    np.testing.assert_array_equal(work(image[None], xy_px=3, z_px=5)[0], work(image, xy_px=3))
    assert work(image, xy_px=3).dtype == np.float32


def test_the_chain_keeps_its_order():
    image = noise((30, 30)) + 500 * (np.random.default_rng(1).random((30, 30)) < 0.05)
    sizes = {"prefilter_sigma_xy_px": 1.5, "prefilter_median_xy_px": 5}
    chain = SegmentationParameters(prefilters=("median", "gaussian", "log"), **sizes)
    expected = negative_log(gaussian(median(image, xy_px=5), xy_px=1.5), xy_px=1.5)
    np.testing.assert_array_equal(apply_prefilters(image, chain), expected)
    turned = SegmentationParameters(prefilters=("gaussian", "median"), **sizes)
    expected = median(gaussian(image, xy_px=1.5), xy_px=5)
    np.testing.assert_array_equal(apply_prefilters(image, turned), expected)


def test_sizes_along_z_reach_the_filters():
    stack = noise((7, 12, 12))
    options = SegmentationParameters(
        prefilters=("median", "gaussian"),
        prefilter_median_z_px=1,
        prefilter_sigma_xy_px=2.0,
        prefilter_sigma_z_px=0.5,
    )
    expected = gaussian(median(stack, xy_px=3, z_px=1), xy_px=2.0, z_px=0.5)
    np.testing.assert_array_equal(apply_prefilters(stack, options), expected)


@pytest.mark.parametrize("dtype", [bool, np.uint8, ">u2", np.int64, np.float16, ">f8"])
def test_no_filter_is_a_float32_copy(dtype):
    image = np.eye(4).astype(dtype)
    image.setflags(write=False)
    ours = apply_prefilters(image, SegmentationParameters())
    assert ours.dtype == np.float32
    ours[0, 0] = 9
    assert image[0, 0] == 1
    np.testing.assert_array_equal(gaussian(image, xy_px=0.0), image.astype(np.float32))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gaussian([[1.0, np.nan]], xy_px=1), InputError, "finite"),
        (lambda: median([[1.0, np.inf]], xy_px=3), InputError, "finite"),
        (lambda: gaussian(np.ones((2, 2), complex), xy_px=1), InputError, "real"),
        (lambda: gaussian(np.ones((0, 2)), xy_px=1), InputError, "expected pixels"),
        (lambda: gaussian(np.ones(4), xy_px=1), AxisMismatchError, "shape"),
        (lambda: gaussian(np.ones((2, 2)), xy_px=-1), InputError, "xy_px"),
        (lambda: gaussian(np.ones((2, 2, 2)), xy_px=1, z_px=np.nan), InputError, "z_px"),
        (lambda: median(np.ones((2, 2)), xy_px=0), InputError, "at least 1"),
        (lambda: median(np.ones((2, 2)), xy_px=2.5), InputError, "whole"),
        (lambda: negative_log(np.ones((2, 2)), xy_px=0), InputError, "above 0"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
