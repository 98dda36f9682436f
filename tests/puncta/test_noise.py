"""Noise against brightness, as it was put in."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import InputError
from aequorea.puncta.noise import median_of, noise_curve


@pytest.mark.parametrize(("gain", "offset", "read"), [(1.0, 100.0, 0.0), (3.0, 50.0, 6.0)])
def test_gain_and_noise_of_a_camera(gain: float, offset: float, read: float):
    rng = np.random.default_rng(0)
    photons = np.broadcast_to(np.linspace(5, 200, 512), (384, 512))
    image = gain * rng.poisson(photons) + offset + rng.normal(0, read, photons.shape)
    curve = noise_curve(np.rint(image).astype(np.uint16))
    assert curve.gain == pytest.approx(gain, rel=0.06)
    for level in (20.0, 60.0, 150.0):
        expected = np.sqrt(gain**2 * level + read**2)
        assert curve.sd(offset + gain * level) == pytest.approx(expected, rel=0.08)
    beyond = np.sqrt(gain**2 * 400 + read**2)
    assert curve.sd(offset + gain * 400) == pytest.approx(beyond, rel=0.1)


def test_even_noise_has_no_gain():
    rng = np.random.default_rng(1)
    image = rng.normal(0, 2, (256, 256)) + np.linspace(0, 500, 256)
    curve = noise_curve(image)
    assert curve.gain < 0.01
    assert curve.sd([0.0, 250.0]) == pytest.approx([2, 2], rel=0.08)


def test_structure_is_not_noise():
    y, x = np.mgrid[:256, :256]
    spots = 200 * np.exp(-0.5 * (((y % 24) - 12) ** 2 + ((x % 24) - 12) ** 2) / 1.3**2)
    image = spots + np.random.default_rng(2).normal(0, 3, spots.shape)
    assert noise_curve(image).sd(0.0) == pytest.approx(3, rel=0.1)


def test_few_photons_and_no_noise():
    sparse = np.random.default_rng(3).poisson(0.05, (128, 128)).astype(np.uint8)
    assert noise_curve(sparse).sd(0.0) > 0.1
    assert noise_curve(np.full((20, 20), 9, np.uint8)).sd(9.0) == pytest.approx(np.sqrt(1 / 12))
    assert noise_curve(np.zeros((1, 1))).sd(0.0) > 0
    with pytest.raises(InputError, match="image"):
        noise_curve(np.zeros(4))


@pytest.mark.parametrize("n", [1, 2, 5, 8, 63, 64])
def test_median(n: int):
    rng = np.random.default_rng(n)
    for _ in range(30):
        values = rng.integers(0, 8, n + 3).astype(float)
        expected = np.median(values[:n])
        assert median_of(values, n) == expected
