from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import InputError
from aequorea.photon import generalized_anscombe, generalized_inverse_anscombe


@pytest.mark.parametrize("rate", [2.0, 5.0, 30.0, 300.0])
def test_noise_has_an_sd_of_one_at_every_brightness(rate):
    rng = np.random.default_rng(0)
    counts = 8 * rng.poisson(rate, 200_000) + rng.normal(100, 2.4, 200_000)
    z = generalized_anscombe(counts, gain=8.0, zero=100 - 2.4**2 / 8)
    assert z.std() == pytest.approx(1, abs=0.06 if rate < 4 else 0.02)


def test_equals_the_textbook_formula_with_read_noise():
    counts = np.linspace(150, 5000, 50)
    gain, offset, sd = 7.5, 100.0, 12.0
    textbook = 2 / gain * np.sqrt(gain * counts + 3 / 8 * gain**2 + sd**2 - gain * offset)
    ours = generalized_anscombe(counts, gain=gain, zero=offset - sd**2 / gain)
    np.testing.assert_allclose(ours, textbook, rtol=1e-12)


def test_algebraic_inverse_undoes_it_also_below_zero():
    counts = np.arange(-500, 70_000, 37, dtype=np.float64)
    z = generalized_anscombe(counts, gain=8.0, zero=100.0)
    assert (np.diff(z) > 0).all()
    np.testing.assert_allclose(generalized_inverse_anscombe(z, 8.0, 100.0), counts, atol=1e-8)


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0, 4.0, 30.0, 99.0, 150.0, 1000.0])
def test_unbiased_inverse_of_an_average_is_the_rate(rate):
    n = np.arange(0, 3000)
    z = generalized_anscombe(n.astype(float))
    from scipy.stats import poisson

    average = poisson.pmf(n, rate) @ z
    found = generalized_inverse_anscombe(average, method="unbiased", photons=True)
    assert found == pytest.approx(rate, abs=0.002)
    algebraic = generalized_inverse_anscombe(average, photons=True)
    assert algebraic < rate
    asymptotic = generalized_inverse_anscombe(average, method="asymptotic", photons=True)
    assert asymptotic == pytest.approx(algebraic + 0.25)
    if rate >= 30:
        assert asymptotic == pytest.approx(rate, abs=0.01)


def test_unbiased_inverse_rises_everywhere_and_continues_beyond_its_table():
    z = np.linspace(0.5, 40, 5000)
    found = generalized_inverse_anscombe(z, method="unbiased")
    assert (np.diff(found) > 0).all()
    assert np.abs(np.diff(found, 2)).max() < 0.01


def test_types():
    assert generalized_anscombe(np.zeros(3, np.uint16)).dtype == np.float32
    assert generalized_anscombe(np.zeros(3, np.int32)).dtype == np.float64
    assert generalized_inverse_anscombe(np.zeros(3, np.float32)).dtype == np.float32


@pytest.mark.parametrize("given", [{"gain": 0}, {"gain": -1}, {"gain": np.nan}, {"zero": np.inf}])
def test_impossible_detectors_are_refused(given):
    with pytest.raises(InputError):
        generalized_anscombe([1.0], **given)
    with pytest.raises(InputError):
        generalized_inverse_anscombe([1.0], **given)


def test_unknown_inverse_is_refused():
    with pytest.raises(InputError, match="algebraic, asymptotic or unbiased"):
        generalized_inverse_anscombe([1.0], method="exact")
