"""Uneven light and background, of simulated images whose light is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aequorea.errors import AxisMismatchError, InputError
from aequorea.filters import correct_illumination, estimate_flat_field, flat_of, local_background
from aequorea.filters.smooth_fields import local_linear


def vignette(shape, depth=0.4):
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    field = 1 - depth * ((y - 0.1) ** 2 + (x + 0.2) ** 2) / 2
    return field / field.mean()


def images(field, n, rng, cells=6):
    """Blobs anywhere on a weak background, seen through the field, with noise."""
    for _ in range(n):
        light = np.full(field.shape, 10.0)
        for _ in range(cells):
            y, x = (rng.integers(0, s) for s in field.shape)
            light[y, x] += rng.uniform(2000, 8000)
        light = ndimage.gaussian_filter(light, 6, mode="constant", cval=10)
        yield (rng.poisson(np.stack([light * field] * 3)) + 100).astype(np.uint16)


def test_vignetting_is_estimated_from_images_of_cells():
    field, rng = vignette((192, 160)), np.random.default_rng(0)
    found = estimate_flat_field(images(field, 40, rng), smooth_px=20, dark=100)
    rms = float(np.sqrt(np.mean((found.field - field) ** 2)))
    assert field.std() > 0.08
    assert rms < 0.015
    assert found.field.mean() == pytest.approx(1, abs=1e-5)
    assert (found.n_images, found.n_planes) == (40, 120)
    told = float(np.sqrt(np.mean(found.standard_error**2)))
    assert 0.3 * rms < told < 2 * rms


def test_more_images_make_it_surer():
    field, rng = vignette((96, 96)), np.random.default_rng(1)
    few = estimate_flat_field(images(field, 10, rng), smooth_px=12, dark=100)
    many = estimate_flat_field(images(field, 60, rng), smooth_px=12, dark=100)
    assert many.typical_error < few.typical_error
    assert many.largest_error >= many.typical_error


def test_what_tells_no_light_is_refused():
    field, rng = vignette((64, 64)), np.random.default_rng(2)
    with pytest.raises(InputError, match="9 images: at least 10"):
        estimate_flat_field(images(field, 9, rng), smooth_px=8, dark=100)
    with pytest.raises(InputError, match="no light above the dark level"):
        estimate_flat_field(images(field, 10, rng), smooth_px=8, dark=500)
    with pytest.raises(AxisMismatchError, match="image 2"):
        estimate_flat_field([np.ones((8, 8)), np.ones((8, 9))], smooth_px=8)
    with pytest.raises(InputError, match="smooth_px"):
        estimate_flat_field([], smooth_px=0)


def test_correction_gives_even_light_back_and_never_wraps():
    field = vignette((40, 40))
    raw = np.rint(100 + 200 * np.stack([field, field])).astype(np.uint16)
    corrected = correct_illumination(raw, dark=100, flat=flat_of(200 * field))
    assert corrected == pytest.approx(200, abs=0.8)
    below = correct_illumination(np.array([[90]], np.uint16), dark=100)
    assert below.tolist() == [[-10.0]]
    pattern = np.arange(1600.0).reshape(40, 40)
    assert correct_illumination(pattern, dark=pattern).max() == 0
    for wrong in ({"flat": np.ones((40, 41))}, {"dark": np.ones((2, 40, 40))}):
        with pytest.raises(AxisMismatchError, match="does not fit planes"):
            correct_illumination(raw, **wrong)


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.ones((2, 2, 2, 2))])
def test_a_flat_field_needs_light_everywhere(bad):
    with pytest.raises(InputError, match="flat field"):
        flat_of(bad)


def test_local_lines_do_not_bend_a_slope_at_the_border():
    slope = np.add.outer(3.0 * np.arange(30), np.arange(20))
    assert local_linear(slope, (5, 5)) == pytest.approx(slope, abs=1e-6)


def test_background_under_cells_is_that_beside_them():
    rng, shape = np.random.default_rng(3), (4, 200, 240)
    ramp = np.linspace(20, 60, shape[2])[None, None, :] * np.ones(shape)
    light = ramp.copy()
    light[:, 60:100, 80:120] += 200
    noisy = rng.poisson(light)
    found = local_background(noisy, radius_um=4.0, spacing_um=(0.3, 0.1, 0.1))
    error = found - ramp
    assert np.abs(error[:, 60:100, 80:120]).max() < 8
    assert abs(float(error.mean())) < 0.4 * np.sqrt(40)
    assert local_background(light, radius_um=4.0, spacing_um=(0.3, 0.1, 0.1)).shape == shape


def test_background_of_an_impossible_radius_is_refused():
    image = np.ones((2, 30, 30))
    for radius in (0.1, 4.0):
        with pytest.raises(InputError, match="radius_um"):
            local_background(image, radius_um=radius, spacing_um=(0.3, 0.1, 0.1))
    with pytest.raises(InputError, match="expected a stack"):
        local_background(np.ones((3, 3)), radius_um=0.2, spacing_um=(1, 0.1, 0.1))
