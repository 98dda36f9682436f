"""Spots are integrated over voxels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf

from aequorea.errors import InputError
from aequorea.simulate.puncta import render_puncta


def test_a_spot_is_the_integral_over_each_voxel():
    canvas = np.zeros((15, 25, 21), np.float32)
    centre, sigma = np.array([7.3, 12.1, 9.8]), np.array([1.1, 1.9, 0.8])
    render_puncta(canvas, centre[None], [500.0], list(sigma))
    along = []
    for c, s, n in zip(centre, sigma, canvas.shape, strict=True):
        edges = np.arange(n + 1) - 0.5
        along.append(np.diff(0.5 * (1 + erf((edges - c) / (np.sqrt(2) * s)))))
    truth = 500 * np.einsum("i,j,k->ijk", *along)
    assert np.allclose(canvas, truth, atol=1e-3)


def test_light_outside_the_image_is_not_seen_and_spots_add_up():
    canvas = np.zeros((31, 31), np.float32)
    render_puncta(canvas, [[-0.5, 15], [15, 15], [15, 15]], [100, 50, 50], [1.5, 1.5])
    assert canvas.sum() == pytest.approx(150, rel=1e-4)


@pytest.mark.parametrize(
    ("places", "photons", "sigma", "message"),
    [([[1, 1]], [1, 2], [1, 1], "photons"), ([[1, 1]], [1], [1, 0], "sigma_px")],
)
def test_numbers_that_do_not_fit_are_refused(places, photons, sigma, message):
    with pytest.raises(InputError, match=message):
        render_puncta(np.zeros((5, 5), np.float32), places, photons, sigma)
