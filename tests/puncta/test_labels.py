"""One label per punctum, split in the valleys."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aequorea.errors import AxisMismatchError, InputError
from aequorea.puncta.labels import label_puncta
from aequorea.simulate.puncta import render_puncta

SIGMA = (1.5, 1.5, 1.5)


def test_a_punctum_is_as_large_as_its_half_height():
    image = np.full((21, 41, 41), 50, np.float32)
    render_puncta(image, [[10, 20, 20]], [20000.0], SIGMA)
    labels = label_puncta(image, [[10, 20, 20]], sigma_px=SIGMA)
    half = 50 + 0.5 * (image.max() - 50)
    np.testing.assert_array_equal(labels > 0, image >= half)
    assert labels.dtype == np.int32
    whole = label_puncta(
        image, [[10, 20, 20]], sigma_px=SIGMA, level=0.0, background=0.0, reach=2.0
    )
    z, y, x = np.indices(image.shape)
    ball = (z - 10) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 <= 9
    np.testing.assert_array_equal(whole > 0, ball)


def test_touching_puncta_meet_in_the_valley():
    image = np.zeros((30, 60), np.float32)
    places = [[15, 20], [15, 25], [15, 50]]
    render_puncta(image, places, [3000.0, 3000.0, 500.0], (1.5, 1.5))
    labels = label_puncta(image, places, sigma_px=(1.5, 1.5), level=0.1, background=0.0)
    assert np.unique(labels).tolist() == [0, 1, 2, 3]
    assert labels[15, 21] == 1
    assert labels[15, 24] == 2
    x1, x2 = (np.argwhere(labels == k)[:, 1] for k in (1, 2))
    assert x1.max() <= 22
    assert x2.min() >= 22
    for k in (1, 2, 3):
        assert ndimage.label(labels == k)[1] == 1


def test_labels_follow_the_order_of_the_places():
    rng = np.random.default_rng(0)
    places = rng.permutation(np.stack(np.mgrid[5:60:9, 5:60:9], -1).reshape(-1, 2))
    light = np.full((64, 64), 10, np.float32)
    render_puncta(light, places, np.full(len(places), 900.0), (1.2, 1.2))
    image = rng.poisson(light)
    labels = label_puncta(image, places, sigma_px=(1.2, 1.2))
    np.testing.assert_array_equal(labels[tuple(places.T)], np.arange(1, len(places) + 1))
    shuffled = rng.permutation(len(places))
    again = label_puncta(image, places[shuffled], sigma_px=(1.2, 1.2))
    np.testing.assert_array_equal(again > 0, labels > 0)


def test_mask_and_nothing():
    image = np.random.default_rng(0).poisson(50, (20, 20))
    mask = np.zeros((20, 20), bool)
    mask[:10] = True
    labels = label_puncta(
        image, [[9, 5], [15, 5]], sigma_px=(2, 2), level=0, background=0, mask=mask
    )
    assert np.unique(labels).tolist() == [0, 1]
    assert not labels[10:].any()
    assert not label_puncta(image, np.empty((0, 2)), sigma_px=(1, 1)).any()


def test_nonsense():
    image = np.ones((9, 9))
    with pytest.raises(InputError, match="several"):
        label_puncta(image, [[1, 1], [1.2, 1.1]], sigma_px=(1, 1))
    with pytest.raises(InputError, match="level"):
        label_puncta(image, [[1, 1]], sigma_px=(1, 1), level=2)
    with pytest.raises(AxisMismatchError, match="background"):
        label_puncta(image, [[1, 1]], sigma_px=(1, 1), background=[1, 2])
