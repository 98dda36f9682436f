"""Correlation lengths and areas against fields whose autocorrelation is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from aequorea.colocalization import correlation_area_px, correlation_length_px, effective_n
from aequorea.errors import AxisMismatchError, InputError


def smooth(seed, sigma, shape=(384, 384)):
    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma, mode="wrap")


@pytest.mark.parametrize("sigma", [1.5, 3.0])
def test_gaussian_field_has_its_analytic_length_and_area(sigma):
    # Smoothed white noise has rho(d) = exp(-d²/4σ²): 1/e at 2σ; sum of rho² over d is 2πσ².
    a, b = smooth(0, sigma), smooth(1, sigma)
    assert correlation_length_px(a) == pytest.approx((2 * sigma, 2 * sigma), rel=0.1)
    assert correlation_area_px(a, b) == pytest.approx(2 * np.pi * sigma**2, rel=0.15)
    assert effective_n(a, b) == pytest.approx(a.size / (2 * np.pi * sigma**2), rel=0.15)


def test_anisotropic_stack_has_a_length_per_axis():
    stack = smooth(0, (1.0, 2.0, 3.0), (24, 160, 160))
    assert correlation_length_px(stack) == pytest.approx((2, 4, 6), rel=0.15)


def test_length_ignores_what_lies_outside_the_mask():
    a = smooth(2, 2.0)
    mask = np.zeros(a.shape, bool)
    mask[60:300, 60:300] = True
    loud = np.where(mask, a, 1e3 * np.random.default_rng(0).normal(size=a.shape))
    assert correlation_length_px(loud, mask) == pytest.approx(correlation_length_px(a, mask))


def test_large_plane_is_sampled_and_gives_the_same_length():
    a = smooth(3, 3.0, (1400, 1400))
    assert correlation_length_px(a) == pytest.approx((6, 6), rel=0.1)


def test_brightness_that_falls_with_depth_is_not_texture():
    planes = np.random.default_rng(0).normal(size=(12, 64, 64))
    steep = planes + 100 * np.arange(12)[:, None, None]
    assert correlation_length_px(steep)[0] < 1


def test_constant_channel_has_no_length():
    assert np.isnan(correlation_length_px(np.ones((8, 8)))).all()
    assert np.isnan(correlation_area_px(np.ones((8, 8))))


def test_bad_input_is_named():
    good = np.zeros((8, 8))
    with pytest.raises(AxisMismatchError, match=r"\(8, 8\) and \(4, 4\)"):
        effective_n(good, np.zeros((4, 4)))
    with pytest.raises(AxisMismatchError, match="mask of shape"):
        effective_n(good, good, np.ones((4, 4), bool))
    with pytest.raises(InputError, match="mask is empty"):
        effective_n(good, good, np.zeros((8, 8), bool))
    with pytest.raises(InputError, match="not finite"):
        effective_n(good * np.nan, good)
    with pytest.raises(InputError, match="2D or 3D"):
        effective_n(np.zeros(8), np.zeros(8))
