"""Micrometres become voxels in one place."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from aequorea.errors import CalibrationError, InputError
from aequorea.puncta.parameters import PunctaParameters


def test_sigma_in_voxels():
    options = PunctaParameters(spot_sigma_yx_um=0.12, spot_sigma_z_um=0.35)
    assert options.sigma_px((0.2, 0.08, 0.06)) == pytest.approx((1.75, 1.5, 2.0))
    assert options.sigma_px((0.08, 0.08)) == pytest.approx((1.5, 1.5))


def test_distance_in_voxels():
    options = PunctaParameters(min_distance_um=0.4)
    assert options.min_distance_px((0.2, 0.1, 0.1)) == pytest.approx((2, 4, 4))


def test_missing_calibration_is_an_error():
    with pytest.raises(CalibrationError):
        PunctaParameters().sigma_px((0.0, 0.1, 0.1))
    with pytest.raises(CalibrationError):
        PunctaParameters().sigma_px((None, 0.1))  # type: ignore[arg-type]
    with pytest.raises(InputError):
        PunctaParameters().sigma_px((0.1,))


def test_fields_are_documented_and_bounded():
    assert all(field.description for field in PunctaParameters.model_fields.values())
    for wrong in ({"method": "hat"}, {"spot_sigma_yx_um": 0}, {"threshold": -1}, {"radius": 1}):
        with pytest.raises(ValidationError):
            PunctaParameters(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        PunctaParameters(background_inner_sigma=5, background_outer_sigma=4)
