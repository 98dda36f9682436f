import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from aequorea.colocalization import (
    kendall_tau,
    li_icq,
    pearson,
    pearson_above,
    pearson_below,
    spearman,
    spearman_t,
)
from aequorea.errors import InputError

FIFTEEN = np.array(
    [
        (1, 113), (2, 43), (3, 11), (6, 86), (5, 59), (8, 47), (4, 92), (0, 152),
        (6, 23), (4, 9), (7, 33), (3, 69), (2, 75), (9, 135), (3, 30),
    ]
)  # fmt: skip
small_ints = hnp.arrays(np.uint8, (24,), elements=st.integers(0, 6))
floats = hnp.arrays(np.float64, (24,), elements=st.floats(-1e3, 1e3, width=32))
TYPES = ("u1", "u2", "i2", "i4", "u4", "i8", "f4", "f8")


def noisy_pair(dtype, n=600, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.gamma(2, 20, n).clip(0, 120)
    b = (0.5 * a + rng.gamma(2, 10, n)).clip(0, 120)
    return a.astype(dtype), b.astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_agrees_with_scipy_for_every_pixel_type(dtype):
    a, b = noisy_pair(dtype)
    x, y = a.astype(float), b.astype(float)
    np.testing.assert_allclose(pearson(a, b), stats.pearsonr(x, y), rtol=1e-9)
    np.testing.assert_allclose(spearman(a, b), stats.spearmanr(x, y), rtol=1e-9)
    np.testing.assert_allclose(kendall_tau(a, b), stats.kendalltau(x, y), rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(small_ints, small_ints)
def test_ties_agree_with_scipy(a, b):
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert np.isnan(spearman(a, b)[0])
        assert np.isnan(kendall_tau(a, b)[0])
        return
    np.testing.assert_allclose(spearman(a, b)[0], stats.spearmanr(a, b)[0], atol=1e-12)
    asymptotic = stats.kendalltau(a, b, method="asymptotic")
    np.testing.assert_allclose(kendall_tau(a, b), asymptotic, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(floats)
def test_float_ranks_agree_with_scipy(a):
    b = np.random.default_rng(0).permutation(a)
    if np.ptp(a) == 0:
        return
    np.testing.assert_allclose(spearman(a, b)[0], stats.spearmanr(a, b)[0], atol=1e-12)


def test_minus_zero_ties_with_zero():
    a = np.array([-0.0, 0.0, 1.0, 2.0])
    assert spearman(a, [1, 1, 2, 3])[0] == pytest.approx(1)


def test_literal_tables_of_coloc2():
    a, b = FIFTEEN.T
    rho, p = spearman(a, b)
    assert rho == pytest.approx(-0.174307, abs=1e-6)
    assert spearman_t(rho, 15) == pytest.approx(-0.6382, abs=1e-3)
    assert p == pytest.approx(2 * stats.t.cdf(-0.6382, 13), abs=1e-4)
    tau, _ = kendall_tau([4, 10, 3, 1, 9, 2, 6, 7, 8, 5], [5, 8, 6, 2, 10, 3, 9, 4, 7, 1])
    assert tau == pytest.approx(23 / 45, abs=1e-10)
    assert kendall_tau([1, 1, 2, 3], [3, 2, 1, 1])[0] == pytest.approx(-0.8, abs=1e-12)
    assert np.isnan(kendall_tau([2, 2, 2], [1, 2, 3])[0])


@settings(max_examples=50, deadline=None)
@given(small_ints, small_ints, st.floats(0.1, 50), st.floats(-100, 100))
def test_pearson_does_not_see_gain_and_offset(a, b, gain, offset):
    r, _ = pearson(a, b)
    scaled, _ = pearson(gain * a + offset, b)
    flipped, _ = pearson(-1.0 * a, b)
    np.testing.assert_allclose([scaled, flipped], [r, -r], atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(small_ints, small_ints, st.randoms(use_true_random=False))
def test_channel_order_and_pixel_order_do_not_matter(a, b, random):
    order = list(range(a.size))
    random.shuffle(order)
    for measure in (
        lambda x, y: pearson(x, y)[0],
        lambda x, y: spearman(x, y)[0],
        lambda x, y: kendall_tau(x, y)[0],
        li_icq,
    ):
        expected = measure(a, b)
        np.testing.assert_allclose(measure(b, a), expected, atol=1e-12)
        np.testing.assert_allclose(measure(a[order], b[order]), expected, atol=1e-12)


def test_icq_definitions_differ_only_where_a_pixel_equals_the_mean():
    a = np.array([0, 1, 2, 3, 4])
    b = np.array([1, 1, 2, 3, 0])
    # P about the means (2, 1.4): +, +, 0, +, -
    assert li_icq(a, b) == pytest.approx(3 / 4 - 0.5)
    assert li_icq(a, b, compat="napari") == li_icq(a, b)
    assert li_icq(a, b, compat="coloc2") == pytest.approx(4 / 5 - 0.5)
    assert li_icq(a, b, compat="jacop") == pytest.approx(3 / 5 - 0.5)


def test_icq_is_undefined_when_every_product_is_zero():
    # a deviates only where b does not
    assert np.isnan(li_icq([1, 3, 2, 2], [5, 5, 4, 6]))


def test_pearson_above_and_below_follow_their_definitions():
    a, b = noisy_pair("u1")
    t_a, t_b = 40, 35
    above = (a > t_a) & (b > t_b)
    either = (a > t_a) | (b > t_b)
    below = (a < t_a) | (b < t_b)
    cases = (
        (pearson_above(a, b, t_a, t_b), above),
        (pearson_above(a, b, t_a, t_b, compat="coloc2"), either),
        (pearson_below(a, b, t_a, t_b), below),
    )
    for r, chosen in cases:
        expected = stats.pearsonr(a[chosen].astype(float), b[chosen].astype(float))[0]
        assert r == pytest.approx(expected, abs=1e-12)
    assert np.isnan(pearson_above(a, b, np.nan, 1))
    assert np.isnan(pearson_below(a, b, 1, np.inf))


def test_masks_choose_pixels():
    a, b = noisy_pair("u1")
    mask = np.arange(a.size) % 3 == 0
    assert pearson(a, b, mask) == pytest.approx(pearson(a[mask], b[mask]))
    assert pearson(a, b, mask.astype("u1") * 255) == pearson(a, b, mask)


@pytest.mark.parametrize("measure", [pearson, spearman, kendall_tau])
def test_degenerate_inputs_are_nan(measure):
    for a, b in (([], []), ([1], [2]), ([1, 1, 1], [1, 2, 3]), ([0.5] * 3, [1, 2, 3])):
        value, p = measure(np.array(a), np.array(b))
        assert np.isnan(value)
        assert np.isnan(p)


def test_two_pixels_correlate_fully_and_mean_nothing():
    assert pearson([1, 2], [3, 4]) == (pytest.approx(1), 1.0)


def test_near_constant_offset_does_not_cancel():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 500))
    expected = pearson(a, a + b)[0]
    assert pearson(a + 1e7, a + b + 1e7)[0] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("a", "b", "mask", "message"),
    [
        ([1, 2], [1, 2, 3], None, "shape mismatch"),
        ([1, np.nan, np.inf], [1, 2, 3], None, "2 of 3 pixels are NaN or infinite"),
        ([1j, 2], [1, 2], None, "real numbers"),
        (["x", "y"], [1, 2], None, "real numbers"),
        ([1, 2], [1, 2], [True], "mask shape"),
        ([1, 2], [1, 2], [0.5, 1.0], "boolean or integer"),
    ],
)
def test_bad_input_is_named(a, b, mask, message):
    with pytest.raises(InputError, match=message):
        pearson(a, b, mask)


def test_pixels_outside_the_mask_may_be_nan():
    r, _ = pearson([1, 2, 4, np.nan], [1, 2, 3, 4], [1, 1, 1, 0])
    assert r == pytest.approx(stats.pearsonr([1, 2, 4], [1, 2, 3])[0])


def test_unknown_compat_is_refused():
    with pytest.raises(InputError, match="unknown compat"):
        li_icq([1, 2], [1, 2], compat="imagej")
    with pytest.raises(InputError, match="unknown compat"):
        pearson_above([1, 2], [1, 2], 0, 0, compat="jacop")


def test_booleans_are_zero_and_one():
    a = np.array([True, False, True, False])
    assert pearson(a, a)[0] == pytest.approx(1)
