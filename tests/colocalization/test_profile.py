"""Large-scale profiles are taken out; fine structure stays."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter

from aequorea.colocalization.profile import profile_model
from aequorea.errors import InputError


def cell(n=96):
    y, x = np.mgrid[:n, :n] - n / 2
    mask = (y**2 + x**2 < (0.42 * n) ** 2)[None]
    nucleus = (y**2 + (x - 4) ** 2 < (0.13 * n) ** 2)[None]
    return mask, nucleus


def explained(model, values):
    """Share of the variance that is left."""
    inside = values[model.mask]
    return model.residual(inside).var() / inside.var()


def test_a_function_of_the_edge_distance_vanishes():
    mask, _ = cell()
    distance = distance_transform_edt(mask[0])[None]
    assert explained(profile_model(mask), np.exp(-distance / 5)) < 0.01


def test_a_sharp_nuclear_edge_vanishes_only_with_the_nucleus_as_landmark():
    mask, nucleus = cell()
    step = gaussian_filter((~nucleus[0]).astype(float), 1.0)[None]
    assert explained(profile_model(mask, landmarks=nucleus), step) < 0.02
    assert explained(profile_model(mask), step) > 0.1


def test_uneven_illumination_vanishes_and_fine_noise_stays():
    mask, _ = cell()
    y, x = np.mgrid[:96, :96] / 96
    model = profile_model(mask)
    assert explained(model, np.exp(-((x - 0.2) ** 2) - y**2)[None]) < 0.01
    assert explained(model, np.random.default_rng(0).normal(size=mask.shape)) > 0.9


def test_standardised_channel_has_even_variance():
    mask, nucleus = cell(160)
    noise = np.random.default_rng(0).normal(size=mask.shape)
    distance = distance_transform_edt(~nucleus[0])[None]
    loud_near_nucleus = noise * np.exp(-distance / 20)
    out = profile_model(mask, landmarks=nucleus).standardise(loud_near_nucleus)
    near, far = (mask & (distance > 0) & (distance < 8)), (mask & (distance > 40))
    assert out[near].std() == pytest.approx(out[far].std(), rel=0.2)
    assert not out[~mask].any()


def test_the_profile_does_not_depend_on_offset_or_gain():
    mask, nucleus = cell()
    image = np.random.default_rng(0).poisson(20, mask.shape).astype(float)
    model = profile_model(mask, landmarks=nucleus)
    np.testing.assert_allclose(
        model.standardise(image), model.standardise(7 * image + 300), atol=1e-8
    )


def test_anisotropic_spacing_changes_distances_in_a_stack():
    mask = np.zeros((9, 21, 21), bool)
    mask[1:-1, 3:-3, 3:-3] = True
    flat = profile_model(mask).covariates[0]
    cubic = profile_model(mask, spacing_zyx=(1.0, 1.0, 1.0)).covariates[0]
    tall = profile_model(mask, spacing_zyx=(5.0, 1.0, 1.0)).covariates[0]
    assert flat.max() == 8 == tall.max()  # plane by plane, or planes far apart
    assert cubic.max() == 4


def test_a_region_cut_by_the_image_border_has_no_edge_there():
    mask = np.ones((1, 20, 20), bool)
    mask[:, :, 15:] = False
    distance = profile_model(mask).image(profile_model(mask).covariates[0])
    assert distance[0, :, 0] == pytest.approx(np.full(20, 15))


def test_variance_ratio_is_one_for_white_noise_and_above_for_coarse_texture():
    mask, nucleus = cell(128)
    model = profile_model(mask, landmarks=nucleus)
    rng = np.random.default_rng(0)
    white = [model.standardise(rng.normal(size=mask.shape)) for _ in range(2)]
    coarse = [
        model.standardise(gaussian_filter(rng.normal(size=(128, 128)), 4)[None]) for _ in range(2)
    ]
    assert model.variance_ratio(*white, rng) == pytest.approx(1, abs=0.06)
    assert model.variance_ratio(*coarse, rng) > 1.08


def test_bad_input_is_named():
    mask, nucleus = cell()
    with pytest.raises(InputError, match="landmarks of shape"):
        profile_model(mask, landmarks=nucleus[:, :-1])
    with pytest.raises(InputError, match="scale must be positive"):
        profile_model(mask, scale_px=0)
