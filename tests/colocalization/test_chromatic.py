"""Chromatic shift: beads displaced by a known amount, outliers, coverage, correction."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.colocalization.chromatic import estimate_shift
from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.simulate import bead_pair, spots


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.13, -0.21), (-0.047, 0.3)])
def test_recovers_the_shift_in_2d(shift):
    beads = bead_pair((256, 256), shift_um=shift, spacing_um=(0.1, 0.1), rng=1)
    found = estimate_shift(beads.a, beads.b, spacing_um=beads.spacing_um)
    assert found.n_beads >= 30
    np.testing.assert_allclose(found.shift_um, shift, atol=0.01)
    assert (found.standard_error_um < 0.005).all()


def test_recovers_the_shift_in_anisotropic_3d():
    beads = bead_pair(
        (24, 128, 128),
        shift_um=(0.2, -0.08, 0.05),
        spacing_um=(0.3, 0.1, 0.1),
        sigma_um=(0.5, 0.15, 0.15),
        n_beads=20,
        rng=2,
    )
    spacing = {"z": 0.3, "y": 0.1, "x": 0.1}
    found = estimate_shift(beads.a, beads.b, spacing_um=spacing)
    np.testing.assert_allclose(found.shift_um, beads.shift_um, atol=0.03)
    assert found.significant.all()


def test_confidence_interval_covers_the_truth():
    covered = []
    for seed in range(60):
        beads = bead_pair(
            (160, 160), shift_um=(0.05, -0.1), spacing_um=(0.1, 0.1), n_beads=15, rng=seed
        )
        found = estimate_shift(beads.a, beads.b, spacing_um=0.1)
        covered.append((found.low_um <= beads.shift_um) & (beads.shift_um <= found.high_um))
    assert 0.88 <= np.mean(covered) <= 0.99


def test_outliers_do_not_pull():
    rng = np.random.default_rng(0)
    centres = np.stack(np.meshgrid(np.arange(20, 236, 24), np.arange(20, 236, 24)), -1)
    centres = centres.reshape(-1, 2) + rng.uniform(-2, 2, (81, 2))
    moved = centres + np.array([1.0, 0.0])
    moved[:8] += [0.0, 6.0]
    a, b = (spots((256, 256), c, 1.5) + rng.normal(0, 0.01, (256, 256)) for c in (centres, moved))
    found = estimate_shift(a, b, spacing_um=0.1)
    np.testing.assert_allclose(found.shift_um, [0.1, 0.0], atol=0.003)
    assert found.n_outliers >= 8


def test_applied_shift_brings_the_channels_together():
    beads = bead_pair((128, 128), shift_um=(0.2, -0.3), spacing_um=(0.1, 0.1), n_beads=20, rng=4)
    found = estimate_shift(beads.a, beads.b, spacing_um=0.1)
    corrected = found.apply(beads.b)
    seen = np.isfinite(corrected)
    before = np.corrcoef(beads.a[seen], beads.b[seen])[0, 1]
    after = np.corrcoef(beads.a[seen], corrected[seen])[0, 1]
    assert after > 0.9 > before
    again = estimate_shift(beads.a, found.apply(beads.b, cval=103), spacing_um=0.1)
    np.testing.assert_allclose(again.shift_um, 0, atol=0.01)
    points = (beads.centres_px + beads.shift_um / 0.1) * 0.1
    np.testing.assert_allclose(found.apply_to_points(points), beads.centres_px * 0.1, atol=0.01)


def test_units_follow_the_pixel_size():
    beads = bead_pair((128, 128), shift_um=(0.2, 0.1), spacing_um=(0.1, 0.1), n_beads=20, rng=4)
    one = estimate_shift(beads.a, beads.b, spacing_um=0.1)
    two = estimate_shift(beads.a, beads.b, spacing_um=0.2, cutoff_um=2.0)
    np.testing.assert_allclose(two.shift_um, 2 * one.shift_um)
    back = estimate_shift(beads.b, beads.a, spacing_um=0.1)
    np.testing.assert_allclose(back.shift_um, -one.shift_um, atol=1e-9)


def test_too_few_beads_is_nan_with_a_reason():
    beads = bead_pair((64, 64), shift_um=(0, 0), spacing_um=(0.1, 0.1), n_beads=2, rng=0)
    found = estimate_shift(beads.a, beads.b, spacing_um=0.1)
    assert np.isnan(found.shift_um).all()
    assert "at least 3" in found.reason
    with pytest.raises(InputError, match="expected a measured shift"):
        found.apply(beads.b)


def test_bad_input():
    beads = bead_pair((128, 128), shift_um=(0, 0.1), spacing_um=(0.1, 0.1), n_beads=9, rng=0)
    with pytest.raises(CalibrationError):
        estimate_shift(beads.a, beads.b, spacing_um=(0.1, None))
    with pytest.raises(InputError, match="vary"):
        estimate_shift(beads.a, np.ones((128, 128)), spacing_um=0.1)
    with pytest.raises(AxisMismatchError):
        estimate_shift(beads.a, beads.b[1:], spacing_um=0.1)
    found = estimate_shift(beads.a, beads.b, spacing_um=0.1)
    with pytest.raises(AxisMismatchError):
        found.apply(np.zeros((3, 4, 5)))
    with pytest.raises(AxisMismatchError):
        found.apply_to_points([[1.0, 2.0, 3.0]])
    with pytest.raises(InputError, match="order"):
        found.apply(beads.b, order=7)
