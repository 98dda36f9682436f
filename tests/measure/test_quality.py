"""Quality of stacks with known faults."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from aequorea.errors import InputError
from aequorea.measure.quality import axial_scale, stack_quality
from aequorea.simulate import simulated_confocal

SPACING = (0.3, 0.1, 0.1)
CELL = {"n_cells": 1, "cell_diameter_um": 7, "nucleus_diameter_um": 3, "rng": 3}


@pytest.fixture(scope="module")
def stack():
    return simulated_confocal((20, 128, 128), **CELL)


def test_levels_are_those_of_the_camera(stack):
    found = stack_quality(stack.images["cells"], spacing_um=SPACING)
    assert found.background == pytest.approx(106, abs=1)
    assert found.noise_sd == pytest.approx(math.sqrt(6 + 1.5**2), rel=0.25)
    assert found.signal == pytest.approx(25, rel=0.6)
    assert found.snr == pytest.approx(found.signal / found.noise_sd)
    assert found.saturated_fraction == 0


def test_fading_light_is_seen(stack):
    faded = simulated_confocal((20, 128, 128), attenuation_depth_um=4.0, **CELL)
    clear = stack_quality(stack.images["cells"], spacing_um=SPACING)
    dim = stack_quality(faded.images["cells"], spacing_um=SPACING)
    assert clear.light_at_the_end > 0.5
    assert dim.light_at_the_end < 0.5 * clear.light_at_the_end
    assert 2 < dim.attenuation_length_um < 7


def test_saturated_voxels_are_counted(stack):
    clipped = np.minimum(stack.images["cells"], 125)
    found = stack_quality(clipped, spacing_um=SPACING)
    assert found.saturated_fraction == pytest.approx(np.mean(clipped == 125))
    full = stack_quality(np.full((4, 8, 8), 255, np.uint8), spacing_um=SPACING)
    assert (full.saturated_fraction, full.signal) == (1.0, 0.0)
    assert math.isnan(full.snr)


def test_a_sample_that_moved_is_seen(stack):
    image = stack.images["nuclei"].astype(np.float32)
    rng = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(rng.normal(size=image.shape[1:]), 2)
    still = image + 60 * texture / texture.std()
    moved = still.copy()
    moved[10:] = np.roll(still[10:], 9, axis=2)
    assert stack_quality(still, spacing_um=SPACING).largest_step_um < 0.15
    assert stack_quality(moved, spacing_um=SPACING).largest_step_um == pytest.approx(0.9, abs=0.15)


def test_the_sharpest_plane(stack):
    from_focus = np.abs(np.arange(20) - 7) / 3
    plane = stack.images["mRNA"].max(axis=0).astype(float)
    blurred = np.stack([ndimage.gaussian_filter(plane, s) for s in from_focus])
    assert stack_quality(blurred, spacing_um=SPACING).sharpest_plane == 7


def test_one_plane_and_unknown_spacing():
    plane = np.random.default_rng(0).poisson(20, (1, 40, 40))
    found = stack_quality(plane, spacing_um=(None, None, None))
    assert math.isnan(found.attenuation_length_um)
    assert math.isnan(found.largest_step_um)
    with pytest.raises(InputError, match="stack"):
        stack_quality(plane[0], spacing_um=SPACING)


def test_matched_indices_need_no_scaling():
    assert axial_scale(1.2, 1.33, 1.33) == 1
    assert axial_scale(0.01, 1.515, 1.33) == pytest.approx(1.33 / 1.515, rel=1e-4)
    with pytest.raises(InputError, match="numerical_aperture"):
        axial_scale(1.6, 1.515, 1.33)
