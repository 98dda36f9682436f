"""The common threshold: about half a false punctum an image, whatever the images are like."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aequorea.errors import InputError
from aequorea.puncta.detection import find_candidates, select
from aequorea.puncta.threshold import common_threshold, noise_maxima
from aequorea.simulate.puncta import render_puncta

SIGMA = (1.2, 1.2)
NOISE = noise_maxima(SIGMA)


def candidates(n: int, seed: int, *, photons: float = 600.0, background: float = 20.0):
    rng = np.random.default_rng(seed)
    light = np.full((160, 160), background, np.float32)
    render_puncta(light, rng.uniform(0, 159, (n, 2)), np.full(n, photons), SIGMA)
    return find_candidates(rng.poisson(light).astype(np.uint16), sigma_px=SIGMA)


@pytest.mark.parametrize("background", [3.0, 50.0])
def test_noise_alone_makes_about_as_many_puncta_as_allowed(background: float):
    images = [candidates(0, seed, background=background).height for seed in range(24)]
    found = common_threshold(images, noise=NOISE)
    assert found.n_above.mean() < 1.3
    loose = common_threshold(images, noise=NOISE, false_per_image=10.0)
    assert 5 < loose.n_above.mean() < 20
    np.testing.assert_allclose(loose.expected_false.mean(), 10, rtol=0.3)


def test_an_image_without_puncta_is_said_to_have_none():
    found = common_threshold([candidates(0, 1).height], noise=NOISE)
    assert found.n_above[0] <= 3
    assert any("no more maxima" in note for note in found.notes)


def test_neither_an_empty_image_nor_a_hot_pixel_moves_the_threshold():
    spots = [candidates(60, seed) for seed in range(5)]
    alone = common_threshold([c.height for c in spots], noise=NOISE)
    batch = common_threshold([*(c.height for c in spots), candidates(0, 9).height], noise=NOISE)
    assert batch.value == pytest.approx(alone.value, rel=0.03)
    assert batch.n_above[-1] <= 2
    assert any("image 6: no more maxima" in note for note in batch.notes)
    hot = [np.append(c.height, 1e6) for c in spots]
    assert common_threshold(hot, noise=NOISE).value == pytest.approx(alone.value, rel=0.01)


def test_the_unit_of_the_heights_does_not_matter():
    heights = [candidates(60, seed).response for seed in range(3)]
    grey = common_threshold(heights, noise=NOISE)
    small = common_threshold([h / 65535 for h in heights], noise=NOISE)
    assert small.value * 65535 == pytest.approx(grey.value, rel=1e-4)
    np.testing.assert_array_equal(small.n_above, grey.n_above)


def test_correlated_noise_raises_the_threshold():
    rng = np.random.default_rng(0)
    rough = ndimage.gaussian_filter(rng.normal(0, 20, (256, 256)), 1.0) + rng.normal(
        100, 1, (256, 256)
    )
    found = find_candidates(rough, sigma_px=SIGMA)
    level = common_threshold([found.height], noise=NOISE)
    white = NOISE.height_above(0.5 / len(found))
    assert level.value > 2 * white
    assert len(select(found, level.value)) <= 4 < len(select(found, white))
    assert level.roughness[0] > 2
    assert any("white noise" in note for note in level.notes)
    grey = common_threshold([found.response], noise=NOISE, in_noise_sd=False)
    assert not any("white noise" in note for note in grey.notes)


def test_dense_puncta_do_not_pass_for_noise():
    rng = np.random.default_rng(0)
    places = np.stack(np.mgrid[4:156:8.0, 4:156:8.0], axis=-1).reshape(-1, 2)
    places += rng.uniform(-1, 1, places.shape)
    light = np.full((160, 160), 20, np.float32)
    render_puncta(light, places, np.full(len(places), 500.0), SIGMA)
    heights = find_candidates(rng.poisson(light), sigma_px=SIGMA).height
    assert len(places) > 0.55 * len(heights)
    found = common_threshold([heights], noise=NOISE)
    assert found.n_above[0] == pytest.approx(len(places), rel=0.03)
    assert found.roughness[0] < 1.3


def test_curve_and_elbow():
    found = common_threshold([candidates(80, 2, photons=2500.0).height], noise=NOISE)
    assert (np.diff(found.levels) > 0).all()
    assert (np.diff(found.counts) <= 0).all()
    at = np.searchsorted(found.levels, found.value)
    assert found.counts[at - 1] >= found.n_above[0] >= found.counts[at]
    assert found.elbow is not None
    assert found.counts[found.elbow] == pytest.approx(found.n_above[0], rel=0.1)
    assert found.notes == ()


def test_faint_puncta_are_said_to_be_faint():
    found = common_threshold([candidates(150, 3, photons=120.0).height], noise=NOISE)
    assert any("faint" in note for note in found.notes)


@pytest.mark.parametrize("sigma", [(1.2, 1.2), (1.5, 1.2, 1.2)])
def test_the_tail_of_noise_maxima(sigma: tuple[float, ...]):
    noise = noise_maxima(sigma)
    shape = (1400, 1400) if len(sigma) == 2 else (40, 200, 200)
    image = np.random.default_rng(5).standard_normal(shape, dtype=np.float32)
    heights = find_candidates(image, sigma_px=sigma).height
    for level in (1.5, 2.5, 3.0, 3.5):
        expected = float(noise.share_above(level)) * len(heights)
        assert np.count_nonzero(heights > level) == pytest.approx(expected, rel=0.2)
    assert noise.height_above(float(noise.share_above(4.2))) == pytest.approx(4.2, abs=0.02)
    grid = noise.share_above(np.linspace(0, 20, 500))
    assert (np.diff(grid) <= 1e-12).all()


def test_few_candidates_and_nonsense():
    few = common_threshold([[], [3.0, 50.0]], noise=NOISE)
    assert few.n_above.tolist() == [0, 1]
    assert "too few" in few.notes[0]
    with pytest.raises(InputError, match="at least one"):
        common_threshold([], noise=NOISE)
    with pytest.raises(InputError, match="finite"):
        common_threshold([[np.nan]], noise=NOISE)
    with pytest.raises(InputError, match="false_per_image"):
        common_threshold([[1.0]], noise=NOISE, false_per_image=0)
