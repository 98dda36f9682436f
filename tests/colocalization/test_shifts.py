"""Shifted correlations against direct sums over each overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aequorea.colocalization.shifts import masked_shift_map, toroidal_shift_map


def direct(a, b, mask, dy, dx):
    """Means and Pearson over the overlap of the mask with its shifted self, by slicing."""
    n, m = mask.shape[1:]
    here = (slice(None), slice(max(0, -dy), n - max(0, dy)), slice(max(0, -dx), m - max(0, dx)))
    there = (slice(None), slice(max(0, dy), n - max(0, -dy)), slice(max(0, dx), m - max(0, -dx)))
    both = mask[here] & mask[there]
    x, y = a[here][both], b[there][both]
    return both.sum(), x.mean(), y.mean(), (x * y).mean(), np.corrcoef(x, y)[0, 1]


@given(seed=st.integers(0, 2**20), planes=st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_every_shift_equals_the_direct_sum(seed, planes):
    rng = np.random.default_rng(seed)
    shape = (planes, int(rng.integers(9, 16)), int(rng.integers(9, 16)))
    a, b = rng.poisson(50, shape).astype(float), rng.normal(1000, 3, shape)
    mask = rng.random(shape) < 0.9
    maps = masked_shift_map(a, b, mask)
    for k in rng.choice(len(maps.r), 12):
        n, mean_a, mean_b, mean_ab, r = direct(a, b, mask, *maps.shifts[k])
        assert maps.overlap[k] == pytest.approx(n / mask.sum())
        assert maps.mean_a[k] == pytest.approx(mean_a)
        assert maps.mean_b[k] == pytest.approx(mean_b)
        assert maps.mean_ab[k] == pytest.approx(mean_ab)
        assert maps.r[k] == pytest.approx(r, abs=1e-9)


def test_all_and_only_the_shifts_with_enough_overlap_are_there():
    mask = np.ones((1, 10, 8), bool)
    maps = masked_shift_map(np.random.default_rng(0).normal(size=mask.shape), mask * 1.0, mask)
    expected = {
        (dy, dx)
        for dy in range(-9, 10)
        for dx in range(-7, 8)
        if (10 - abs(dy)) * (8 - abs(dx)) >= 40
    }
    assert {tuple(s) for s in maps.shifts.tolist()} == expected


def test_large_planes_in_single_precision_agree_with_direct_sums():
    rng = np.random.default_rng(3)
    a, b = rng.poisson(4000, (2, 1, 900, 900)).astype(float)
    mask = np.zeros((1, 900, 900), bool)
    mask[:, 50:850, 30:870] = True
    maps = masked_shift_map(a, b, mask)
    for k in rng.choice(len(maps.r), 3):
        assert maps.r[k] == pytest.approx(direct(a, b, mask, *maps.shifts[k])[-1], abs=1e-5)


def test_wrapped_shifts_equal_rolled_arrays():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 2, 7, 10))
    maps = toroidal_shift_map(a, b)
    assert len(maps.r) == 70
    for k in range(0, 70, 9):
        rolled = np.roll(b, tuple(-maps.shifts[k]), axis=(1, 2))
        assert maps.r[k] == pytest.approx(np.corrcoef(a.ravel(), rolled.ravel())[0, 1])
        assert maps.mean_ab[k] == pytest.approx((a * rolled).mean())


def test_zero_shift_is_found():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 1, 12, 12))
    for maps in (toroidal_shift_map(a, b), masked_shift_map(a, b, np.ones(a.shape, bool))):
        assert maps.r[maps.zero] == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
