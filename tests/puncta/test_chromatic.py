"""Shifts between channels, on beads whose shift is known."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import AxisMismatchError, InputError
from aequorea.puncta import bead_positions, bead_shift
from aequorea.simulate import render_puncta

SPACING = np.array([0.2, 0.08, 0.08])
SIGMA_UM = np.array([0.35, 0.13, 0.13])


def bead_places(n, shape, rng):
    """At least 2 µm apart, away from the border, in px."""
    kept = []
    room = np.array(shape) * SPACING
    while len(kept) < n:
        new = rng.uniform((1.0, 0.8, 0.8), room - (1.0, 0.8, 0.8))
        if all(np.linalg.norm(new - k) > 2.1 for k in kept):
            kept.append(new)
    return np.array(kept)


def beads(places_um, shape, rng, photons=4000):
    light = np.full(shape, 4, np.float32)
    render_puncta(
        light, places_um / SPACING, np.full(len(places_um), float(photons)), SIGMA_UM / SPACING
    )
    return (rng.poisson(light) + 100).astype(np.uint16)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_known_shift_is_recovered_within_its_error_and_10_nm(seed):
    rng, shape = np.random.default_rng(seed), (24, 160, 160)
    places = bead_places(16, shape, rng)
    true = np.array([0.21, -0.07, 0.045])
    found = [
        bead_positions(beads(p, shape, rng), sigma_px=SIGMA_UM / SPACING) * SPACING
        for p in (places, places + true)
    ]
    shift = bead_shift([found[0]], [found[1]], cutoff_um=0.6)
    assert shift.n_beads >= 14
    error = np.abs(shift.shift_um - true)
    assert (error < 3 * shift.standard_error_um).all()
    assert (error < 0.010).all()
    assert not shift.has_scale
    assert (shift.residual_rms_um < 0.03).all()


def test_standard_errors_are_those_of_repeats():
    rng = np.random.default_rng(3)
    errors, told = [], []
    for _ in range(400):
        places = rng.uniform(0, 60, (15, 3))
        moved = places + np.array([0.1, 0.2, -0.1]) + rng.normal(0, 0.02, places.shape)
        found = bead_shift([places], [moved], cutoff_um=0.5)
        errors.append(found.shift_um - (0.1, 0.2, -0.1))
        told.append(found.standard_error_um)
    assert np.std(errors) == pytest.approx(np.sqrt(np.mean(np.square(told))), rel=0.1)


def test_magnification_and_rotation_are_found_where_they_are():
    rng = np.random.default_rng(4)
    places = np.column_stack([rng.uniform(0, 5, 60), rng.uniform(0, 80, (60, 2))])
    away = places - places.mean(axis=0)
    moved = places + np.array([0.1, 0.0, 0.05]) + rng.normal(0, 0.01, places.shape)
    moved[:, 1] += 0.002 * away[:, 1] - 0.001 * away[:, 2]
    moved[:, 2] += 0.002 * away[:, 2] + 0.001 * away[:, 1]
    found = bead_shift([places], [moved], cutoff_um=0.6)
    assert found.has_scale
    assert found.magnification == pytest.approx(0.002, abs=2e-4)
    assert found.rotation_rad == pytest.approx(0.001, abs=2e-4)
    assert (found.residual_rms_um < 0.012).all()
    put_back = moved - found.displacement_um(moved)
    assert np.abs(put_back - places).max() < 0.06


def test_scale_is_rarely_seen_where_there_is_none():
    rng, seen = np.random.default_rng(5), 0
    for _ in range(300):
        places = rng.uniform(0, 80, (40, 3))
        seen += bead_shift([places], [places + rng.normal(0, 0.02, (40, 3))]).has_scale
    assert seen <= 3


def test_strangers_are_left_out():
    rng = np.random.default_rng(6)
    places = np.stack(np.meshgrid([2.0], np.arange(0, 40, 5.0), np.arange(0, 40, 5.0)), -1)
    places = places.reshape(-1, 3)
    moved = places + np.array([0.2, 0.1, 0]) + rng.normal(0, 0.01, places.shape)
    moved[:6] += (0.0, 0.5, 0.4)
    found = bead_shift([places], [moved], cutoff_um=1.0)
    assert found.n_outliers == 6
    assert found.shift_um == pytest.approx([0.2, 0.1, 0], abs=0.006)


def test_beads_of_several_images_count_together():
    rng = np.random.default_rng(7)
    images = [rng.uniform(0, 60, (4, 3)) for _ in range(3)]
    found = bead_shift(images, [p + np.array([0.1, 0, 0]) for p in images])
    assert found.n_beads + found.n_outliers >= 10
    assert found.shift_um == pytest.approx([0.1, 0, 0], abs=1e-6)


def test_too_few_beads_are_refused():
    with pytest.raises(InputError, match="3 lone beads"):
        bead_shift([np.arange(9.0).reshape(3, 3)], [np.arange(9.0).reshape(3, 3)])
    with pytest.raises(AxisMismatchError, match="expected positions"):
        bead_shift([np.zeros((3, 2))], [np.zeros((3, 2))])
    blank = np.random.default_rng(0).poisson(4, (8, 40, 40))
    assert bead_positions(blank, sigma_px=(1.5, 1.5, 1.5)).shape == (0, 3)
