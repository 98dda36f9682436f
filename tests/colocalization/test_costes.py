import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aequorea.colocalization import (
    costes_regression,
    costes_sweep,
    costes_threshold,
    manders,
    pearson,
)
from aequorea.errors import InputError

small_ints = hnp.arrays(np.uint8, (40,), elements=st.integers(0, 12))
CURVES = ("thresholds_a", "thresholds_b", "n_below", "r_below", "r_above", "m1", "m2")


def stained(dtype="u1", n=4000, seed=0, gain=0.6):
    rng = np.random.default_rng(seed)
    stain = rng.gamma(1, 60, n) * (rng.random(n) < 0.4)
    a, b = rng.poisson(15 + stain), rng.poisson(12 + gain * stain)
    return a.clip(0, 255).astype(dtype), b.clip(0, 255).astype(dtype)


def plain_pearson(a, b):
    if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan
    return np.corrcoef(a.astype(float), b.astype(float))[0, 1]


def plain_bisection(a, b):
    """The default search, pixel by pixel and step by step."""
    a, b = a.astype(float), b.astype(float)
    slope, intercept = costes_regression(a, b)
    if not slope > 0:
        return np.nan, np.nan
    low, high = (a.min(), a.max()) if slope < 1 else (b.min(), b.max())

    def pair(t):
        t = min(max(t, low), high)
        if slope < 1:
            return t, min(max(slope * t + intercept, b.min()), b.max())
        return min(max((t - intercept) / slope, a.min()), a.max()), t

    t, step = (low + high) / 2, (high - low) / 2
    while step >= (high - low) * 1e-4:
        t_a, t_b = pair(t)
        below = (a < t_a) | (b < t_b)
        r = plain_pearson(a[below], b[below])
        step /= 2
        t += step if np.isnan(r) or r < -1e-12 else -step  # zero, up to rounding, steps down
    return pair(t)


def test_regression_is_the_principal_axis():
    a, b = stained()
    slope, intercept = costes_regression(a, b)
    _, axes = np.linalg.eigh(np.cov(a.astype(float), b.astype(float)))
    assert slope == pytest.approx(axes[1, 1] / axes[0, 1])
    assert intercept == pytest.approx(b.mean() - slope * a.mean())
    back, _ = costes_regression(b, a)
    assert slope * back == pytest.approx(1)


def test_regression_is_undefined_without_covariance():
    for a, b in (([], []), ([1], [1]), ([1, 1], [1, 2]), ([0, 0, 1, 1], [0, 1, 0, 1])):
        assert all(np.isnan(costes_regression(np.array(a), np.array(b))))


@settings(max_examples=150, deadline=None)
@given(small_ints, small_ints, st.booleans())
@example(
    np.array([9, 4, 3, 0, 0] + [3] * 35, np.uint8), np.array([0, 1, 1] + [0] * 37, np.uint8), False
)
def test_bisection_equals_the_plain_search(a, b, add):
    b = a // 2 + b if add else b
    np.testing.assert_allclose(costes_threshold(a, b), plain_bisection(a, b), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("gain", [0.6, 1.7])
def test_bisection_of_stained_cells_equals_the_plain_search(dtype, gain):
    a, b = stained(dtype, gain=gain)
    np.testing.assert_allclose(costes_threshold(a, b), plain_bisection(a, b), rtol=1e-9)


def oracle(a, b, sweep):
    for k, (t_a, t_b) in enumerate(zip(sweep.thresholds_a, sweep.thresholds_b, strict=True)):
        below = (a < t_a) | (b < t_b)
        m1, m2 = manders(a, b, t_a, t_b)
        yield (
            k,
            (
                t_a,
                t_b,
                below.sum(),
                plain_pearson(a[below], b[below]),
                plain_pearson(a[~below], b[~below]),
                m1,
                m2,
            ),
        )


@settings(max_examples=80, deadline=None)
@given(small_ints, small_ints, st.booleans())
def test_every_level_equals_brute_force(a, b, add):
    b = a // 2 + b if add else b
    sweep = costes_sweep(a, b)
    assume(sweep.thresholds_a.size)
    for k, expected in oracle(a, b, sweep):
        found = [getattr(sweep, name)[k] for name in CURVES]
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("dtype", "levels"), [("f4", 50), ("f8", None), ("u1", 37), ("i2", None), ("u2", None)]
)
def test_levels_of_any_pixel_type_equal_brute_force(dtype, levels):
    a, b = stained(dtype, n=300)
    if dtype == "i2":
        a = a - 20
    sweep = costes_sweep(a, b, levels=levels)
    assert sweep.thresholds_a.size == (levels or (4096 if dtype == "f8" else np.ptp(a) + 1))
    for k, expected in list(oracle(a, b, sweep))[:: 1 + sweep.n_below.size // 200]:
        found = [getattr(sweep, name)[k] for name in CURVES]
        np.testing.assert_allclose(found, expected, atol=2e-6 if dtype == "f4" else 1e-9)


def test_sweep_of_many_pixels_does_not_depend_on_threads():
    a, b = stained("u2", n=1 << 19)
    whole = costes_sweep(a, b)
    first = costes_sweep(a[: 1 << 16], b[: 1 << 16])
    assert whole.r_below.size == np.ptp(a) + 1
    assert first.n_below[-1] <= 1 << 16
    k = 40
    below = (a < whole.thresholds_a[k]) | (b < whole.thresholds_b[k])
    assert whole.n_below[k] == below.sum()
    assert whole.r_below[k] == pytest.approx(plain_pearson(a[below], b[below]), abs=1e-12)


def test_sums_of_16_bit_squares_do_not_overflow():
    rng = np.random.default_rng(0)
    a = rng.integers(60000, 65536, 200_000).astype(np.uint16)
    b = (a - rng.integers(0, 3000, a.size)).astype(np.uint16)
    sweep = costes_sweep(a, b)
    k = sweep.n_below.size // 2
    above = (a >= sweep.thresholds_a[k]) & (b >= sweep.thresholds_b[k])
    assert sweep.r_above[k] == pytest.approx(plain_pearson(a[above], b[above]), abs=1e-12)


@pytest.mark.parametrize("stepper", ["bisection", "costes"])
@pytest.mark.parametrize("compat", [None, "coloc2"])
def test_swapping_channels_swaps_the_thresholds(stepper, compat):
    a, b = stained()
    forward = costes_threshold(a, b, stepper=stepper, compat=compat)
    swapped = costes_threshold(b, a, stepper=stepper, compat=compat)
    if compat:
        assert swapped == forward[::-1]
    assert swapped == pytest.approx(forward[::-1], rel=1e-9)


def test_steppers_read_off_the_sweep():
    a, b = stained()
    sweep = costes_sweep(a, b)
    assert sweep.costes_thresholds == costes_threshold(a, b, stepper="costes")
    assert sweep.costes_thresholds == costes_threshold(a, b, stepper="costes", compat="coloc2")
    coloc2 = costes_threshold(a, b, compat="coloc2")
    np.testing.assert_allclose(sweep.bisection_thresholds, coloc2, atol=2)


def test_coloc2_thresholds_are_whole_and_within_the_pixel_type():
    rng = np.random.default_rng(3)
    a = rng.integers(0, 256, 500).astype(np.uint8)
    b = np.clip(a.astype(int) // 3 + 200 + rng.integers(-5, 6, 500), 0, 255).astype(np.uint8)
    for stepper in ("bisection", "costes"):
        t_a, t_b = costes_threshold(a, b, stepper=stepper, compat="coloc2")
        assert float(t_a).is_integer()
        assert float(t_b).is_integer()
        assert 0 <= t_b <= 255


def test_no_rising_line_no_threshold():
    a = np.arange(50.0)
    for pair in ((a, -a), (a, np.ones(50)), (a[:1], a[:1]), (a[:0], a[:0])):
        assert all(np.isnan(costes_threshold(*pair)))
        assert all(np.isnan(costes_threshold(*pair, stepper="costes")))
        sweep = costes_sweep(*pair)
        assert sweep.reason
        assert sweep.r_below.size == 0
        assert all(np.isnan(sweep.thresholds("costes")))
    assert all(np.isfinite(costes_threshold(a, 60 - a, compat="coloc2")))
    assert all(np.isnan(costes_threshold(a, np.ones(50), compat="coloc2")))


def test_masked_pixels_only():
    a, b = stained()
    mask = np.arange(a.size) % 2 == 0
    assert costes_threshold(a, b, mask) == costes_threshold(a[mask], b[mask])
    np.testing.assert_array_equal(
        costes_sweep(a, b, mask).r_below, costes_sweep(a[mask], b[mask]).r_below
    )


def test_negative_channel_has_no_manders_curve():
    a, b = stained("i2")
    sweep = costes_sweep(a - 30, b)
    assert np.isnan(sweep.m1).all()
    assert np.isfinite(sweep.m2).all()


def test_constant_background_below_a_float_threshold_is_undefined():
    a = np.concatenate([np.full(1000, 0.1), np.linspace(0.5, 1, 50)])
    b = np.concatenate([np.full(1000, 0.3), np.linspace(0.6, 0.9, 50)])
    sweep = costes_sweep(a, b)
    assert np.isnan(sweep.r_below[10])
    assert pearson(a[:1000], b[:1000])[0] != pearson(a[:1000], b[:1000])[0]


def test_refused_options():
    a, b = stained()
    for options in ({"max_iter": 0}, {"stepper": "golden"}, {"compat": "jacop"}):
        with pytest.raises(InputError, match=r"max_iter|stepper|compat"):
            costes_threshold(a, b, **options)
    with pytest.raises(InputError, match="levels"):
        costes_sweep(a, b, levels=1)
    wide = np.array([0.0, 1e7, 3e7])
    with pytest.raises(InputError, match="rescale"):
        costes_threshold(wide, wide / 2 + [0, 1, 2], stepper="costes", compat="coloc2")


def test_correlation_of_exactly_zero_steps_down():
    # Below the first candidate (a < 8) the covariance is exactly zero.
    a = np.array([0, 0, 6, 6, 16, 15, 14, 13], dtype=np.uint8)
    b = np.array([1, 4, 1, 4, 10, 9, 9, 8], dtype=np.uint8)
    slope, _ = costes_regression(a, b)
    assert slope < 1
    assert np.cov(a[:4], b[:4])[0, 1] == 0
    t_a, _ = costes_threshold(a, b)
    assert t_a < 8


def test_byte_order_of_the_file_does_not_matter():
    a, b = stained("u2")
    swapped = costes_threshold(a.astype(">u2"), b.astype(">u2"))
    assert swapped == costes_threshold(a, b)


def test_manders_curves_of_long_integers_far_from_zero():
    a, b = (x.astype(np.int64) + 2**52 for x in stained())
    sweep = costes_sweep(a, b)
    assert sweep.m1[0] == pytest.approx(1, abs=1e-3)
    assert sweep.m1.min() >= 0
    assert sweep.m2.min() >= 0


def test_coloc2_stepper_refuses_endless_walks_along_falling_lines_too():
    rising = np.linspace(1, 10, 50)
    a, b = np.append(rising, 1e18), np.append(rising, 0.0)
    assert costes_regression(a, b)[0] < 0
    with pytest.raises(InputError, match="steps of 1"):
        costes_threshold(a, b, compat="coloc2", stepper="costes")
