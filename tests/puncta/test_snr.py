"""Height, background and noise of puncta by hand."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import AxisMismatchError, InputError
from aequorea.puncta.snr import spot_snr
from aequorea.simulate.puncta import render_puncta

SIGMA = (1.5, 1.2, 1.2)


def test_height_over_noise():
    light = np.full((12, 64, 64), 25, np.float32)
    places = np.array([[6, 20, 20], [6, 40, 44], [0, 5, 60]])
    render_puncta(light, places, [800.0, 1600.0, 800.0], SIGMA)
    heights = light[tuple(places.T)] - 25
    image = np.random.default_rng(0).poisson(light).astype(np.uint16)
    seen = spot_snr(image, places, sigma_px=SIGMA)
    np.testing.assert_allclose(seen.background, 25, atol=2)
    np.testing.assert_allclose(seen.noise_sd, 5, rtol=0.1)
    np.testing.assert_array_equal(seen.peak + seen.background, image[tuple(places.T)])
    np.testing.assert_allclose(seen.snr, heights / 5, atol=4)
    assert len(seen) == 3


def test_background_is_local():
    image = np.random.default_rng(0).normal(100, 2, (80, 80))
    image[:, 40:] += 300
    seen = spot_snr(image, [[40, 15], [40, 65]], sigma_px=(1.2, 1.2))
    np.testing.assert_allclose(seen.background, [100, 400], atol=2)


def test_halo_tells_spots_from_hot_pixels():
    light = np.full((9, 60, 60), 10, np.float32)
    render_puncta(light, [[4, 20, 20]], [5000.0], SIGMA)
    light[4, 40, 40] = 800
    seen = spot_snr(light, [[4, 20, 20], [4, 40, 40]], sigma_px=SIGMA)
    assert seen.halo[0] == pytest.approx(np.exp(-0.5 / 1.5**2), abs=0.03)
    assert seen.halo[1] == pytest.approx(0, abs=0.01)


def test_nothing_and_nonsense():
    image = np.random.default_rng(0).normal(size=(30, 30))
    assert len(spot_snr(image, np.empty((0, 2)), sigma_px=(1, 1))) == 0
    with pytest.raises(AxisMismatchError, match="coordinates_px"):
        spot_snr(image, [[1, 2, 3]], sigma_px=(1, 1))
    with pytest.raises(InputError, match="within"):
        spot_snr(image, [[1, 30]], sigma_px=(1, 1))
    with pytest.raises(InputError, match="finite"):
        spot_snr(image, [[1, np.nan]], sigma_px=(1, 1))
    with pytest.raises(InputError, match="inner"):
        spot_snr(image, [[1, 1]], sigma_px=(1, 1), inner=5, outer=3)
    with pytest.raises(InputError, match="no voxel"):
        spot_snr(image, [[1, 1]], sigma_px=(0.1, 0.1))
