"""Numbers that Fiji's Coloc 2 asserts in its own tests, on its own images."""

import numpy as np
import pytest
import tifffile

from aequorea.colocalization import (
    auto_threshold,
    colocalized_areas,
    costes_regression,
    costes_sweep,
    costes_threshold,
    kendall_tau,
    li_icq,
    manders,
    pearson,
    spearman,
)


@pytest.fixture(scope="module")
def sample(shared_data):
    green, red, mask = (
        tifffile.imread(shared_data(f"coloc2-fiji/colocsample1b-{name}.tif"))
        for name in ("green", "red", "mask")
    )
    return green, red, mask > 0


@pytest.fixture(scope="module")
def negative(shared_data):
    return tuple(tifffile.imread(shared_data(f"coloc2-fiji/syntheticNegCh{k}.tif")) for k in (1, 2))


@pytest.mark.parametrize("swap", [False, True])
def test_correlations_of_the_sample_stack(sample, swap):
    a, b = sample[:2][:: -1 if swap else 1]
    assert pearson(a, b)[0] == pytest.approx(0.748517, abs=1e-6)
    assert spearman(a, b)[0] == pytest.approx(0.546343, abs=1e-6)
    assert kendall_tau(a, b)[0] == pytest.approx(0.473348, abs=1e-6)
    assert li_icq(a, b, compat="coloc2") == pytest.approx(0.345187, abs=1e-6)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(
    ("masked", "stepper", "thresholds", "coefficients"),
    [
        (True, "bisection", (70, 53), (0.7056646, 0.7247518)),
        (True, "costes", (68, 52), (0.711537, 0.732880)),
        (False, "bisection", (10, 8), (0.700274, 0.716110)),
        (False, "costes", (8, 6), (0.729066, 0.741966)),
    ],
)
def test_thresholds_of_the_sample_stack(sample, swap, masked, stepper, thresholds, coefficients):
    order = slice(None, None, -1 if swap else 1)
    a, b = sample[:2][order]
    mask = sample[2] if masked else None
    found = costes_threshold(a, b, mask, stepper=stepper, compat="coloc2")
    assert found == thresholds[order]
    tm = manders(a, b, *found, mask, compat="coloc2")
    assert tm == pytest.approx(coefficients[order], abs=1e-6)
    assert costes_sweep(a, b, mask).thresholds(stepper) == thresholds[order]


def test_regression_of_the_sample_stack(sample):
    green, red, mask = sample
    assert mask.sum() == 62307
    assert costes_regression(green, red, mask) == pytest.approx((0.668064, 6.282431), abs=1e-6)
    assert costes_regression(green, red) == pytest.approx((0.703904, 0.728370), abs=1e-6)


def test_thresholds_of_napari_colocalization(sample):
    green, red, mask = sample
    assert costes_threshold(green, red, mask) == pytest.approx((67.999, 51.710), abs=1e-3)
    assert costes_threshold(green, red) == pytest.approx((8.015, 6.370), abs=1e-3)
    assert manders(green, red, 70, 53, mask) == pytest.approx((0.699264, 0.720952), abs=1e-6)


@pytest.mark.parametrize("swap", [False, True])
def test_anticorrelated_image(negative, swap):
    order = slice(None, None, -1 if swap else 1)
    a, b = negative[order]
    assert pearson(a, b)[0] == pytest.approx(-0.156311, abs=1e-6)
    assert spearman(a, b)[0] == pytest.approx(-0.174307, abs=1e-6)
    assert kendall_tau(a, b)[0] == pytest.approx(-0.147122, abs=1e-6)
    assert li_icq(a, b, compat="coloc2") == pytest.approx(-0.1, abs=1e-9)
    bisected = costes_threshold(a, b, compat="coloc2")
    stepped = costes_threshold(a, b, stepper="costes", compat="coloc2")
    assert bisected == (3, 151)[order]
    assert stepped == (3, 152)[order]


@pytest.mark.parametrize(
    ("letter", "r", "m1", "m2"),
    [
        ("A", 1, 1, 1),
        ("B", 0.721297, 0.75, 0.75),
        ("C", 0.442595, 0.5, 0.5),
        ("D", 0.163892, 0.25, 0.25),
        ("E", -0.114811, 0, 0),
    ],
)
def test_squares_of_manders(shared_data, letter, r, m1, m2):
    a, b = (tifffile.imread(shared_data(f"coloc2-fiji/manders{k}.tiff")) for k in ("A", letter))
    assert pearson(a, b)[0] == pytest.approx(r, abs=1e-6)
    for compat in (None, "coloc2"):
        assert manders(a, b, 0, 0, compat=compat) == pytest.approx((m1, m2), abs=1e-4)
        assert manders(b, a, 0, 0, compat=compat) == pytest.approx((m2, m1), abs=1e-4)


BENCHMARK_R = (0.007, 0.103, 0.185, 0.294, 0.406, 0.493, 0.603, 0.701, 0.797, 0.899)
BENCHMARK_M1 = (0.285, 0.344, 0.407, 0.472, 0.553, 0.607, 0.683, 0.754, 0.831, 0.915)


@pytest.mark.parametrize("k", range(10))
def test_colocalization_benchmark_source(shared_data, k):
    path = shared_data(f"cbs-colocalization-benchmark/set1/CBS{k + 1:03d}RGM.tiff")
    image = tifffile.imread(path)
    a, b = image[..., 0], image[..., 1]
    assert pearson(a, b)[0] == pytest.approx(BENCHMARK_R[k], abs=2e-3)
    # Its M1 is that of the images with everything below Otsu's threshold set to zero.
    t_a, t_b = auto_threshold(a, "otsu"), auto_threshold(b, "otsu")
    m1, m2 = manders(np.where(a >= t_a, a, 0), np.where(b >= t_b, b, 0), 0, 0)
    assert m1 == pytest.approx(BENCHMARK_M1[k], abs=2e-3)
    areas = colocalized_areas(a, b, t_a, t_b, compat="coloc2")
    assert areas.percent_intensity_above_a == pytest.approx(100 * m1)
    assert areas.percent_intensity_above_b == pytest.approx(100 * m2)


@pytest.mark.parametrize("spread_mean", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("seed", [1, 2])
def test_independent_smooth_noise_does_not_correlate(spread_mean, seed):
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    a, b = (
        gaussian_filter(rng.uniform(spread_mean - 0.1, spread_mean + 0.1, (512, 512)), 3)
        for _ in range(2)
    )
    assert abs(pearson(a, b)[0]) < 0.1
