"""Hot pixels go, spots stay."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import InputError
from aequorea.filters.hot_pixels import noise_of, repair_hot_pixels
from aequorea.simulate.puncta import render_puncta


def field(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    light = np.full((6, 60, 60), 20, np.float32)
    places = rng.uniform((1, 3, 3), (4, 57, 57), (40, 3))
    render_puncta(light, places, rng.uniform(200, 4000, 40), [1.0, 0.8, 0.8])
    return rng.poisson(light).astype(np.uint16) + np.uint16(100)


def test_only_hot_pixels_are_replaced():
    clean = field()
    spoilt = clean.copy()
    hot = [(0, 0, 0), (2, 30, 59), (3, 17, 5), (5, 40, 41)]
    for place in hot:
        spoilt[place] = 4095
    repaired, n = repair_hot_pixels(spoilt)
    assert n == len(hot)
    changed = np.argwhere(repaired != spoilt)
    assert {tuple(p) for p in changed.tolist()} == set(hot)
    assert all(abs(int(repaired[p]) - int(clean[p])) < 60 for p in hot)


@pytest.mark.parametrize("seed", range(5))
def test_spots_are_left_alone(seed: int):
    image = field(seed)
    repaired, n = repair_hot_pixels(image)
    assert n == 0
    assert repaired is image


def test_noise_is_that_of_the_camera():
    image = np.random.default_rng(1).normal(100, 3, (4, 80, 80))
    assert noise_of(image) == pytest.approx(3, rel=0.05)


def test_small_and_wrong_images():
    assert repair_hot_pixels(np.ones((2, 2)))[1] == 0
    with pytest.raises(InputError, match="image"):
        repair_hot_pixels(np.ones(5))
