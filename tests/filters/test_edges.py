"""Edges of balls, where blur puts them and where they are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aequorea.errors import InputError
from aequorea.filters.edges import plus_operator


def ball_image(radius_um, spacing, blur_um):
    """A blurred ball with soft voxels at its rim, and the distances from its middle."""
    n = [2 * int((radius_um + 4 * blur_um) / s) + 1 for s in spacing]
    axes = [(np.arange(k) - (k - 1) / 2) * s for k, s in zip(n, spacing, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    away = np.sqrt(z**2 + y**2 + x**2)
    soft = np.clip((radius_um - away) / min(spacing) + 0.5, 0, 1)
    return ndimage.gaussian_filter(soft, blur_um / np.array(spacing)), away


def radius_of(inside, spacing):
    return float((3 * inside.sum() * np.prod(spacing) / 4 / np.pi) ** (1 / 3))


@pytest.mark.parametrize("spacing", [(0.1, 0.1, 0.1), (0.2, 0.1, 0.1)])
@pytest.mark.parametrize("radius", [2.0, 3.0])
def test_the_outline_of_a_ball_lies_at_its_radius_whatever_the_blur(radius, spacing):
    image, away = ball_image(radius, spacing, 0.5)
    near = np.abs(away - radius) < 0.5
    inside = away < radius - 0.25
    inside[near] = plus_operator(image, near, spacing_um=spacing) < 0
    assert radius_of(inside, spacing) == pytest.approx(radius, abs=0.02)
    half = radius_of(image > 0.5, spacing)
    assert half == pytest.approx(radius - 0.5**2 / radius, abs=0.02)  # what blur does


def test_it_equals_derivatives_taken_over_the_whole_image():
    rng = np.random.default_rng(1)
    image = ndimage.gaussian_filter(rng.normal(size=(9, 12, 14)), 1.5)
    steps = (0.4, 0.2, 0.3)
    slope = np.gradient(image, *steps)
    curved = [[np.gradient(slope[a], steps[b], axis=b) for b in range(3)] for a in range(3)]
    for a, step in enumerate(steps):
        curved[a][a] = ndimage.correlate1d(image, np.array([1, -2, 1]) / step**2, axis=a)
    along = sum(slope[a] * slope[b] * curved[a][b] for a in range(3) for b in range(3))
    expected = sum(curved[a][a] for a in range(3)) + along / sum(s**2 for s in slope)
    where = np.zeros(image.shape, bool)
    where[2:-2, 2:-2, 2:-2] = rng.uniform(size=(5, 8, 10)) < 0.5
    found = plus_operator(image, where, spacing_um=steps)
    np.testing.assert_allclose(found, expected[where], rtol=1e-3, atol=1e-4)


def test_a_single_plane_has_no_third_direction():
    plane = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=(20, 20)), 2)
    where = np.ones((1, 20, 20), bool)
    one = plus_operator(plane[None], where, spacing_um=(5.0, 1.0, 1.0))
    other = plus_operator(plane[None], where, spacing_um=(0.1, 1.0, 1.0))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("shape", "spacing", "message"),
    [((3, 4, 4), (1, 1), "three lengths"), ((3, 4, 4), (0, 1, 1), "three lengths"),
     ((3, 4, 5), (1, 1, 1), "shape of the stack")],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(shape, spacing, message):
    with pytest.raises(InputError, match=message):
        plus_operator(np.zeros((3, 4, 4)), np.ones(shape, bool), spacing_um=spacing)
