from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from aequorea.errors import InputError
from aequorea.photon import photon_snr, photon_transfer, spike_detectability


def smooth_movie(n_frames=200, mean=4.0, gain=8.0, seed=0, activity=False, size=72):
    """Smooth rates, as the blur of a microscope leaves them; cells that flash."""
    rng = np.random.default_rng(seed)
    rates = np.exp(gaussian_filter(rng.normal(size=(size, size)), 4) * 4)
    rates = np.broadcast_to(mean * rates / rates.mean(), (n_frames, size, size)).copy()
    if activity:
        yy, xx = np.mgrid[:size, :size]
        for _ in range(12):
            y, x = rng.integers(6, size - 6, 2)
            trace = np.convolve(rng.random(n_frames) < 0.02, np.exp(-np.arange(60) / 15))
            cell = mean * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / 18)
            rates += trace[:n_frames, None, None] * cell
    photons = rng.poisson(rates) + rng.normal(0, 0.3, rates.shape)
    return np.clip(np.rint(gain * photons + 100), 0, 65535).astype(np.uint16)


@pytest.mark.parametrize("activity", [False, True])
@pytest.mark.parametrize(("mean", "gain"), [(1.0, 8.0), (4.0, 8.0), (30.0, 8.0), (4.0, 1.0)])
def test_gain_within_three_per_cent(mean, gain, activity):
    found = photon_transfer(smooth_movie(mean=mean, gain=gain, activity=activity))
    assert found.gain == pytest.approx(gain, rel=0.03)
    assert found.zero == pytest.approx(100 - 0.09 * gain, abs=0.3 * gain)
    low, high = found.gain_interval
    assert low < found.gain < high
    assert high - low < 0.15 * gain
    assert not found.notes


def test_intervals_cover():
    inside = 0
    for seed in range(20):
        low, high = photon_transfer(smooth_movie(60, seed=seed, size=48)).gain_interval
        inside += low < 8 < high
    assert inside >= 16


def test_stretches_of_a_long_movie_do():
    found = photon_transfer(smooth_movie(600), max_frames=200)
    assert found.n_frames == 200
    assert found.gain == pytest.approx(8, rel=0.04)


def test_photons_of_counts():
    found = photon_transfer(smooth_movie())
    assert found.photons(found.zero + 3 * found.gain) == pytest.approx(3)


def test_interpolated_movies_are_refused():
    movie = smooth_movie(60).astype(float)
    moved = np.stack([shift(frame, (0.5, 0.4), order=1) for frame in movie])
    with pytest.raises(InputError, match="interpolation"):
        photon_transfer(np.rint(moved).astype(np.uint16))


def test_filtered_movies_are_refused():
    moved = gaussian_filter(smooth_movie(60).astype(float), (0, 0.7, 0.7))
    with pytest.raises(InputError, match="correlated"):
        photon_transfer(np.rint(moved).astype(np.uint16))


@pytest.mark.parametrize("level", [50, 75, 90])
@pytest.mark.parametrize("origin", [0, 3])
def test_jpeg_is_refused(level, origin):
    from imagecodecs import jpeg8_decode, jpeg8_encode

    movie = np.clip(smooth_movie(40, mean=8, gain=6) - 60, 1, 254).astype(np.uint8)
    assert photon_transfer(movie).gain == pytest.approx(6, rel=0.05)
    pressed = np.stack([jpeg8_decode(jpeg8_encode(f, level=level)) for f in movie])
    with pytest.raises(InputError, match="JPEG"):
        photon_transfer(pressed[:, origin:, origin:])


def test_clipped_eight_bit_movies_are_refused():
    movie = np.clip(smooth_movie(60, gain=20).astype(int) - 100, 0, 255).astype(np.uint8)
    with pytest.raises(InputError, match="was clipped"):
        photon_transfer(movie)


def test_saturated_pixels_are_left_out_and_told():
    movie = smooth_movie()
    movie[50, :5] = 65535
    found = photon_transfer(movie)
    assert found.n_clipped == 5 * 72
    assert "360 of 5184 pixels" in found.notes[0]
    assert found.gain == pytest.approx(8, rel=0.03)


@pytest.mark.parametrize(
    ("movie", "says"),
    [
        (np.zeros((5, 40, 40), np.uint16), "10 frames"),
        (np.zeros((50, 40, 40), np.float32), "raw counts"),
        (np.zeros((50, 40), np.uint16), "t, y, x"),
        (np.full((50, 40, 40), 7, np.uint16), "0 pixels have noise"),
    ],
)
def test_what_has_no_photon_noise_is_refused(movie, says):
    with pytest.raises(InputError, match=says):
        photon_transfer(movie)


def test_noise_that_does_not_grow_is_refused():
    rng = np.random.default_rng(0)
    level = np.linspace(100, 2000, 4096).reshape(64, 64)
    movie = rng.normal(level, 60 - level / 40, (50, 64, 64))
    with pytest.raises(InputError, match="does not grow"):
        photon_transfer(np.rint(movie).astype(np.uint16))


def test_detectability_of_a_spike_against_a_simulated_ideal_observer():
    rng = np.random.default_rng(0)
    dt, rate, peak, decay = 0.02, 500.0, 0.3, 0.4
    t = np.arange(0, 4, dt)
    baseline = np.full(t.size, rate * dt)
    spike = baseline * (1 + peak * np.exp(-t / decay))
    template = (spike - baseline) / baseline
    without = rng.poisson(baseline, (20_000, t.size)) @ template
    signal = (spike - baseline) @ template
    expected = spike_detectability(rate, peak, decay)
    assert signal / without.std() == pytest.approx(float(expected), rel=0.04)


def test_snr_of_photons():
    np.testing.assert_allclose(photon_snr([-1, 0, 4, 100]), [0, 0, 2, 10])
    with pytest.raises(InputError):
        spike_detectability(-1, 0.1, 1)
