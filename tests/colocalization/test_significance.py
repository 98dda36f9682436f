"""Nulls: exact against brute force, level and power in a smoke run, degenerate input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import distance_transform_edt, gaussian_filter

from aequorea.colocalization.significance import significance
from aequorea.colocalization.surrogates import random_phase_correlations
from aequorea.errors import AxisMismatchError, InputError


def disc(n=96, radius=0.42):
    y, x = np.mgrid[:n, :n] - n / 2
    return y**2 + x**2 < (radius * n) ** 2


def textures(seed, n=96, sigma=1.5, share=0.0):
    rng = np.random.default_rng(seed)
    common, u, v = (gaussian_filter(rng.normal(size=(n, n)), sigma) for _ in range(3))
    return [np.sqrt(share) * common + np.sqrt(1 - share) * own for own in (u, v)]


def perinuclear(seed, n=112):
    rng = np.random.default_rng(seed)
    mask, nucleus = disc(n), disc(n, 0.13)
    base = np.exp(-distance_transform_edt(~nucleus) / 10) * mask + 0.05
    pair = []
    for _ in range(2):
        texture = gaussian_filter(rng.normal(size=(n, n)), 1.5)
        pair.append(rng.poisson(200 * base * np.exp(0.5 * texture / texture.std())))
    return *pair, mask, nucleus


def test_white_noise_p_value_is_the_rank_among_wrapped_shifts():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 24, 24))
    result = significance(a, b, n_shifts=10_000)
    all_r = [
        np.corrcoef(a.ravel(), np.roll(b, shift, (0, 1)).ravel())[0, 1]
        for shift in np.ndindex(24, 24)
        if shift != (0, 0)
    ]
    rank = (np.sum(np.array(all_r) >= result.observed) + 1) / (len(all_r) + 1)
    assert result.p_value == pytest.approx(rank, abs=0.01)
    assert result.expected == pytest.approx(np.mean(all_r), abs=1e-3)


@pytest.mark.parametrize(
    ("null", "scene"),
    [
        ("stationary", lambda s: (*textures(s), disc(), None)),
        ("stationary", lambda s: (*textures(s), None, None)),
        ("phase", lambda s: (*textures(s, n=64), None, None)),
        ("profile", perinuclear),
    ],
)
def test_smoke_false_positive_rate(null, scene):
    # benchmarks/calibration.py is the full run; 120 seeds bound the rate at .05 below .13.
    n_shifts = 99 if null == "phase" else 499
    hits = 0
    for seed in range(120):
        a, b, mask, landmarks = scene(seed)
        p = significance(
            a, b, mask=mask, landmarks=landmarks, null=null, n_shifts=n_shifts, seed=seed
        ).p_value
        hits += p <= 0.05
    assert hits <= stats.binom.ppf(0.999, 120, 0.05)


def test_a_shared_gradient_is_not_colocalization_but_shared_structure_is():
    a, b, mask, nucleus = perinuclear(1)
    assert np.corrcoef(a[mask], b[mask])[0, 1] > 0.5
    gradient = significance(a, b, mask=mask, landmarks=nucleus, null="profile")
    assert gradient.p_value > 0.05
    assert gradient.expected == pytest.approx(gradient.observed, abs=0.05)
    rng = np.random.default_rng(0)
    partner = rng.poisson(0.7 * a + 0.3 * b)
    real = significance(a, partner, mask=mask, landmarks=nucleus, null="profile")
    assert real.p_value < 0.01
    assert real.observed > real.null_high


@pytest.mark.parametrize("null", ["stationary", "profile", "phase"])
def test_shared_structure_is_found(null):
    mask = None if null == "phase" else disc()
    hits = [
        significance(*textures(s, share=0.4), mask=mask, null=null, n_shifts=199).p_value <= 0.05
        for s in range(10)
    ]
    assert sum(hits) >= 9


def test_exclusion_shows_in_the_lower_tail():
    a, b = textures(0, share=0.5)
    assert significance(a, -b, mask=disc(), alternative="less").p_value < 0.02
    assert significance(a, -b, mask=disc()).p_value > 0.9
    assert significance(a, -b, mask=disc(), alternative="two-sided").p_value < 0.02


@pytest.mark.parametrize("null", ["stationary", "profile"])
def test_result_does_not_depend_on_units_order_or_surroundings(null):
    a, b = textures(3, share=0.2)
    mask = disc()
    first = significance(a, b, mask=mask, null=null)
    scaled = significance(5 * a + 100, 0.01 * b - 3, mask=mask, null=null)
    assert scaled.p_value == pytest.approx(first.p_value)
    noise = np.random.default_rng(0).normal(size=a.shape) * 100
    outside = significance(np.where(mask, a, noise), np.where(mask, b, noise), mask=mask, null=null)
    assert outside.p_value == pytest.approx(first.p_value)
    big = np.zeros((140, 150))
    placed = [np.pad(x, ((20, 24), (11, 43))) for x in (a, b, mask)]
    assert placed[0].shape == big.shape
    moved = significance(placed[0], placed[1], mask=placed[2], null=null)
    assert moved.p_value == pytest.approx(first.p_value)


def test_ranks_make_spearman_immune_to_monotone_change():
    a, b = textures(3, share=0.3)
    first = significance(a, b, mask=disc(), metric="srcc")
    bent = significance(np.exp(3 * a), b**3, mask=disc(), metric="srcc")
    assert bent.p_value == pytest.approx(first.p_value)
    assert bent.observed == pytest.approx(first.observed)


@pytest.mark.parametrize("null", ["stationary", "profile"])
def test_manders_by_chance_is_the_area_fraction(null):
    rng = np.random.default_rng(0)
    mask = disc()
    a, b = rng.poisson(20, (2, 96, 96)).astype(float)
    result = significance(a, b, mask=mask, metric="m1", threshold_b=24, null=null)
    assert result.observed == pytest.approx(a[mask & (b > 24)].sum() / a[mask].sum())
    assert result.expected == pytest.approx((b[mask] > 24).mean(), abs=0.01)
    assert result.null_low < result.observed < result.null_high
    mirrored = significance(b, a, mask=mask, metric="m2", threshold_a=24, null=null)
    assert mirrored.observed == pytest.approx(result.observed)
    assert mirrored.expected == pytest.approx(result.expected, abs=1e-3)


def test_too_little_independent_data_gives_a_reason_instead_of_a_p_value():
    a, b = textures(0, n=40, sigma=8)
    result = significance(a, b, mask=disc(40))
    assert np.isnan(result.p_value)
    assert "independent" in result.reason


def test_resolution_of_a_small_region_is_said():
    result = significance(*textures(1, n=64, sigma=3, share=0.9), mask=disc(64))
    assert result.p_value >= result.p_floor > 0.05 / 5
    if result.p_floor > 0.05:
        assert "cannot fall below" in result.warnings[0]


def test_degenerate_regions_are_reasons():
    a, b = textures(0)
    one = np.zeros(a.shape, bool)
    one[5, 5] = True
    assert "fewer than" in significance(a, b, mask=one).reason
    flat = significance(np.ones_like(a), b, mask=disc())
    assert np.isnan(flat.p_value)
    assert flat.reason == "the first channel is constant in the region"
    assert "constant" in significance(a, np.ones_like(a), null="profile").reason


def test_same_seed_same_bytes_and_workers_do_not_matter():
    from scipy import fft

    a, b = textures(2)
    first = significance(a, b, mask=disc(), n_shifts=99, seed=5, null="profile")
    with fft.set_workers(2):
        again = significance(a, b, mask=disc(), n_shifts=99, seed=5, null="profile")
    assert again.p_value == first.p_value
    np.testing.assert_array_equal(again.null_values, first.null_values)
    other = significance(a, b, mask=disc(), n_shifts=99, seed=6, null="profile")
    assert (other.shifts != first.shifts).any()


def test_confidence_interval_covers_a_known_correlation():
    covered = 0
    for seed in range(60):
        r = significance(*textures(seed, share=0.3), mask=disc(), n_shifts=19)
        covered += r.ci_low <= 0.3 <= r.ci_high
    assert covered >= stats.binom.ppf(0.001, 60, 0.93)


def test_random_phase_null_has_the_variance_of_independent_textures():
    a, b = (x[None] for x in textures(0, n=80))
    _, null = random_phase_correlations(a, b, n_surrogates=400, rng=np.random.default_rng(0))
    independent = [
        np.corrcoef(*(x.ravel() for x in textures(s, n=80)))[0, 1] for s in range(1, 200)
    ]
    assert null.std() == pytest.approx(np.std(independent), rel=0.25)
    assert abs(null.mean()) < 0.01


def test_random_phase_observed_is_pearson_for_a_periodic_image():
    y, x = np.mgrid[:32, :48]
    a = np.sin(2 * np.pi * y / 32) + np.cos(2 * np.pi * 3 * x / 48)
    b = np.sin(2 * np.pi * y / 32) + np.sin(2 * np.pi * 5 * x / 48)
    observed, _ = random_phase_correlations(
        a[None], b[None], n_surrogates=19, rng=np.random.default_rng(0)
    )
    assert observed == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"null": "toroidal"}, "null must be one of stationary, profile, phase"),
        ({"metric": "icq"}, "metric must be one of"),
        ({"alternative": "bigger"}, "alternative must be one of"),
        ({"n_shifts": 5}, "at least 19"),
        ({"null": "phase", "mask": disc()}, "whole rectangle"),
        ({"metric": "m1"}, "needs threshold_b"),
        ({"mask": np.zeros((96, 96), bool)}, "mask is empty"),
        ({"spacing_um": (0.0, 1.0), "null": "profile"}, "positive"),
    ],
)
def test_requests_that_make_no_sense_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        significance(*textures(0), **change)


def test_shapes_must_agree():
    a, b = textures(0)
    with pytest.raises(AxisMismatchError):
        significance(a, b[:-1])
    with pytest.raises(AxisMismatchError, match="landmarks"):
        significance(a, b, null="profile", landmarks=np.ones((3, 3)))


@pytest.mark.parametrize("null", ["stationary", "profile", "phase"])
def test_describing_gives_what_chance_gives_and_no_p_value(null):
    mask = None if null == "phase" else disc()
    pair = textures(1, share=0.2)
    tested = significance(*pair, mask=mask, null=null, n_shifts=99)
    described = significance(*pair, mask=mask, null=null, n_shifts=99, describe_only=True)
    assert described.expected == pytest.approx(tested.expected)
    assert described.observed == tested.observed
    assert np.isnan(described.p_value)
    assert "not tested" in described.reason


def test_sampled_shifts_are_admissible_and_never_next_to_zero():
    a, b = textures(1, sigma=2.0)
    result = significance(a, b, mask=disc(), n_shifts=300)
    distance = np.hypot(*result.shifts.T)
    assert len(np.unique(result.shifts, axis=0)) == 300
    # r of a sigma-2 field falls to 0.2 at a shift of sigma * sqrt(8 ln 5) = 7.2 px.
    assert 5 < distance.min() < 10
    assert distance.max() < 96 * 0.84


@pytest.mark.parametrize("dtype", [complex, object, str])
def test_channels_that_are_not_real_numbers_are_refused(dtype):
    a, b = textures(0, n=32)
    with pytest.raises(InputError, match="real numbers"):
        significance(a, b.astype(dtype))


def test_a_stack_needs_its_plane_spacing():
    a, b = (np.stack([x, x[::-1]]) for x in textures(0, n=48))
    with pytest.raises(InputError, match="3 numbers"):
        significance(a, b, null="profile", spacing_um=(0.1, 0.1))
    with pytest.raises(InputError, match="positive"):
        significance(a, b, null="profile", spacing_um=(np.inf, 0.1, 0.1))


@pytest.mark.parametrize("n_shifts", [np.nan, 99.5])
def test_the_number_of_shifts_is_whole(n_shifts):
    with pytest.raises(InputError, match="whole number"):
        significance(*textures(0, n=32), n_shifts=n_shifts)


@pytest.mark.parametrize("null", ["stationary", "phase"])
def test_manders_of_negative_values_is_not_tested(null):
    a, b = textures(0)
    result = significance(a, b, metric="m1", threshold_b=0, null=null)
    assert np.isnan([result.observed, result.p_value]).all()
    assert "first channel has negative values" in result.reason


def test_a_nucleus_beside_the_region_still_shapes_its_profile():
    a, b, mask, nucleus = perinuclear(0)
    half = mask & (np.arange(112) < 40)
    assert not (half & nucleus).any()
    given = significance(a, b, mask=half, landmarks=nucleus, null="profile")
    without = significance(a, b, mask=half, null="profile")
    assert given.tested != without.tested
    nowhere = significance(a, b, mask=mask, landmarks=np.zeros_like(mask), null="profile")
    assert "no landmark in or near" in nowhere.warnings[0]


def test_shifts_without_a_correlation_do_not_count_as_independent():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] - 32
    a = np.zeros((64, 64))
    a[30:36, 4:8] = rng.random((6, 4)) + 1
    result = significance(a, rng.random((64, 64)), mask=x**2 + y**2 < 900)
    assert result.n_shifts < 999
    full = significance(*rng.random((2, 64, 64)), mask=x**2 + y**2 < 900)
    assert full.n_shifts == 999
    assert result.n_independent < 120


def test_texture_away_from_the_centre_of_a_large_plane_is_measured():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 1300, 1300), dtype=np.float32)
    a[120:-120, 120:-120] = b[120:-120, 120:-120] = 0
    assert np.isfinite(significance(a, b, n_shifts=19).p_value)


def test_planes_that_differ_only_in_brightness_have_no_texture_to_test():
    steps = np.broadcast_to(np.arange(20.0)[:, None, None], (20, 32, 32))
    result = significance(steps, np.random.default_rng(0).random((20, 32, 32)))
    assert np.isnan(result.p_value)
    assert "constant in every plane" in result.reason


def test_a_threshold_that_divides_no_pixels_is_named():
    a, b = textures(0)
    result = significance(a - a.min(), b, metric="m1", threshold_b=1e6)
    assert result.reason == "no pixel of the second channel lies above its threshold"
