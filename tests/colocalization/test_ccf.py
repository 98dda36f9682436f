"""Cross-correlation function against cropped arrays and numpy.corrcoef, and its Gaussian fit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aequorea.colocalization.ccf import fit_ccf, van_steensel_ccf
from aequorea.errors import CalibrationError, InputError


def brute_force(a, b, mask, max_shift, axis):
    a, b = np.moveaxis(a, axis, -1).astype(float), np.moveaxis(b, axis, -1).astype(float)
    inside = np.ones(a.shape, bool) if mask is None else np.moveaxis(mask, axis, -1)
    n = a.shape[-1]
    values = []
    for s in range(-max_shift, max_shift + 1):
        x, y = slice(max(0, s), min(n, n + s)), slice(max(0, -s), min(n, n - s))
        m = inside[..., x]
        values.append(np.corrcoef(a[..., x][m], b[..., y][m])[0, 1])
    return np.array(values)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64, ">u2"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis"), [((21, 30), -1), ((21, 30), 0), ((8, 15, 12), 1), ((40,), 0)]
)
def test_agrees_with_cropped_arrays(dtype, masked, shape, axis):
    rng = np.random.default_rng(0)
    a, b = (ndimage.gaussian_filter(rng.random(shape), 1) * 250 for _ in range(2))
    a, b = a.astype(dtype), (a / 2 + b / 2).astype(dtype)
    mask = rng.random(shape) > 0.5 if masked else None
    shifts, ccf = van_steensel_ccf(a, b, mask, 7, axis)
    assert shifts.tolist() == list(range(-7, 8))
    np.testing.assert_allclose(ccf, brute_force(a, b, mask, 7, axis), atol=1e-10)


def test_identical_channels_peak_at_one_and_are_symmetric():
    a = ndimage.gaussian_filter(np.random.default_rng(0).random((60, 60)), 2)
    shifts, ccf = van_steensel_ccf(a, a, max_shift=9)
    assert ccf[shifts == 0] == pytest.approx(1)
    np.testing.assert_allclose(ccf, ccf[::-1], atol=1e-12)


def test_direction_of_a_shift():
    a = ndimage.gaussian_filter(np.random.default_rng(0).random((60, 60)), 2)
    b = np.roll(a, 4, axis=0)
    shifts, ccf = van_steensel_ccf(a, b, max_shift=9, axis=0)
    assert shifts[np.argmax(ccf)] == -4


def test_does_not_depend_on_workers_and_order_of_memory():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 70, 40))
    one = van_steensel_ccf(a, b, max_shift=5, workers=1)[1]
    many = van_steensel_ccf(np.asfortranarray(a), b, max_shift=5, workers=4)[1]
    assert np.array_equal(one, many)


def test_undefined_shifts_are_nan():
    a = np.zeros((3, 12))
    a[:, 0] = 1
    _, ccf = van_steensel_ccf(a, a, max_shift=5)
    assert np.isnan(ccf[-5:]).all()
    assert ccf[5] == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_shift": 10}, "max_shift: expected 1 to 9"),
        ({"max_shift": 0}, "max_shift: expected 1 to 9"),
        ({"max_shift": 2.5}, "max_shift: expected whole pixels"),
        ({"max_shift": 3, "axis": 2}, "axis: expected"),
        ({"max_shift": 3, "mask": np.zeros((10, 10))}, "region: expected"),
    ],
)
def test_bad_requests(arguments, message):
    a = np.random.default_rng(0).random((10, 10))
    with pytest.raises(InputError, match=message):
        van_steensel_ccf(a, a.T, **arguments)


def test_non_finite_and_mismatched_images():
    a = np.eye(8)
    with pytest.raises(InputError, match="finite"):
        van_steensel_ccf(a, np.where(a > 0, np.inf, 0), max_shift=2)
    with pytest.raises(InputError, match="shape mismatch"):
        van_steensel_ccf(a, np.eye(9), max_shift=2)


@pytest.mark.parametrize("amplitude", [0.6, -0.4])
def test_fit_recovers_a_gaussian(amplitude):
    s = np.arange(-20, 21)
    fit = fit_ccf(s, 0.05 + amplitude * np.exp(-((s - 2.3) ** 2) / (2 * 3.1**2)), 0.065)
    assert fit.success
    assert fit.amplitude == pytest.approx(amplitude, rel=1e-6)
    assert fit.offset == pytest.approx(0.05, abs=1e-7)
    assert fit.centre_px == pytest.approx(2.3)
    assert fit.fwhm_px == pytest.approx(3.1 * 2.3548200450309493)
    assert fit.centre_um == pytest.approx(2.3 * 0.065)
    assert fit.fwhm_um == pytest.approx(fit.fwhm_px * 0.065)


def test_fit_without_pixel_size_has_no_micrometres():
    s = np.arange(-20, 21)
    fit = fit_ccf(s, np.exp(-(s**2) / 18))
    assert fit.success
    assert fit.fwhm_um is None
    assert fit.centre_um is None


def test_fit_ignores_undefined_shifts():
    s = np.arange(-20, 21)
    curve = np.exp(-(s**2) / 18)
    curve[:3] = np.nan
    assert fit_ccf(s, curve).centre_px == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("curve", "reason"),
    [
        (np.zeros(41), "flat"),
        (np.full(41, np.nan), "only 0 shifts"),
        (np.linspace(0, 1, 41), "outside|beyond|converge"),
    ],
)
def test_fit_refuses_with_a_reason(curve, reason):
    import re

    fit = fit_ccf(np.arange(-20, 21), curve)
    assert not fit.success
    assert np.isnan([fit.amplitude, fit.offset, fit.centre_px, fit.fwhm_px]).all()
    assert re.search(reason, fit.reason)


def test_fit_bad_input():
    with pytest.raises(InputError, match="one value per shift"):
        fit_ccf([1, 2], [1])
    with pytest.raises(CalibrationError):
        fit_ccf(np.arange(9), np.arange(9), spacing_um=0)


@pytest.mark.parametrize(
    "curve", [np.arange(-10, 11) == 0, np.random.default_rng(1).normal(0, 0.01, 41)]
)
def test_fit_refuses_a_peak_that_the_shifts_do_not_resolve(curve):
    fit = fit_ccf(np.arange(curve.size), curve)
    assert not fit.success
    assert np.isnan(fit.amplitude)
    assert "narrower than one pixel" in fit.reason


def gaussian(s, amplitude, centre, sigma):
    return 0.1 + amplitude * np.exp(-((s - centre) ** 2) / (2 * sigma**2))


def test_an_extremum_at_the_end_of_the_shifts_is_no_fit():
    s = np.arange(-20, 21)
    for centre in (19.0, -18.0, 22.0):
        fit = fit_ccf(s, gaussian(s, 0.5, centre, 3.0))
        assert not fit.success
        assert "shifts examined" in fit.reason or "last shift" in fit.reason
        assert np.isnan(fit.centre_px)
    assert fit_ccf(s, gaussian(s, 0.5, 12.0, 3.0)).centre_px == pytest.approx(12.0)
    assert fit_ccf(s, gaussian(s, -0.2, 1.0, 3.0)).amplitude == pytest.approx(-0.2)


def test_a_trough_beside_a_stronger_peak_at_zero_is_no_fit():
    s = np.arange(-20, 21)
    curve = gaussian(s, 0.5, 0.0, 0.5) + gaussian(s, -0.4, 10.0, 4.0)
    fit = fit_ccf(s, curve)
    assert not fit.success or fit.amplitude > 0


def test_noise_is_no_fit():
    s = np.arange(-20, 21)
    fits = [fit_ccf(s, np.random.default_rng(k).normal(size=s.size)) for k in range(20)]
    refused = [fit for fit in fits if not fit.success]
    assert len(refused) >= 18
    assert any("explains" in fit.reason for fit in refused)
