"""Subpixel fits against simulated truth and the Cramér-Rao bound."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from scipy.special import ndtr

from aequorea.errors import AxisMismatchError, InputError
from aequorea.puncta.fit import fit_puncta
from aequorea.puncta.precision import crlb
from aequorea.simulate.puncta import render_puncta

GAIN, OFFSET, READ = 2.0, 100.0, 1.5
KNOWN = {"gain_adu_per_photon": GAIN, "read_noise_photons": READ, "offset_adu": OFFSET}
UNKNOWN = {"offset_adu": OFFSET}


def camera(rng, expected):
    return (rng.poisson(expected) + rng.normal(0, READ, expected.shape)) * GAIN + OFFSET


def isolated(rng, sigma, photons, background, per_axis, spread=0.5):
    """Spots on a grid nine standard deviations wide, each off its grid point."""
    step = np.ceil(9 * np.array(sigma)).astype(int)
    axes = [np.arange(per_axis) * s + s // 2 for s in step]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(sigma)).astype(float)
    places = grid + rng.uniform(-spread, spread, grid.shape)
    expected = np.full(per_axis * step, background, np.float32)
    render_puncta(expected, places, np.full(len(grid), photons), sigma)
    return camera(rng, expected), grid, places


@pytest.mark.parametrize("noise", [KNOWN, UNKNOWN], ids=["gain", "no gain"])
@pytest.mark.parametrize(
    ("sigma", "photons", "background", "per_axis"),
    [((1.5, 1.5), 300.0, 5.0, 24), ((1.75, 1.3, 1.3), 400.0, 2.0, 8)],
    ids=["2D", "3D"],
)
def test_isolated_spots_reach_the_bound_and_their_errors_cover(
    noise, sigma, photons, background, per_axis
):
    image, grid, places = isolated(np.random.default_rng(0), sigma, photons, background, per_axis)
    fits = fit_puncta(image, grid, sigma_px=sigma, **noise)
    assert fits.converged.all()
    bound = crlb(photons, sigma_px=sigma, background_photons=background, read_noise_photons=READ)
    off = fits.position_px - places
    assert (np.sqrt((off**2).mean(axis=0)) <= 1.15 * bound.position_px).all()
    assert (abs(off.mean(axis=0)) < 0.03).all()
    too_bright = fits.intensity - GAIN * photons
    assert abs(too_bright.mean()) < 4 * too_bright.std() / np.sqrt(len(grid))
    assert too_bright.std() < 1.2 * GAIN * bound.photons
    for error, stated in ((off, fits.position_error_px), (too_bright, fits.intensity_error)):
        assert 0.63 < np.mean(abs(error) < stated) < 0.74
        assert 0.91 < np.mean(abs(error) < 1.96 * stated) < 0.98
    assert fits.background.mean() == pytest.approx(GAIN * background, rel=0.03)
    assert fits.reduced_chi2.mean() == pytest.approx(1, abs=0.05)
    if noise is KNOWN:
        np.testing.assert_allclose(fits.photons * GAIN, fits.intensity)
        np.testing.assert_allclose(
            fits.position_error_px.mean(axis=0), bound.position_px, rtol=0.12
        )
    else:
        assert np.isnan(fits.photons).all()


def test_a_wrong_width_hardly_moves_spots():
    sigma = np.array([1.75, 1.5, 1.5])
    image, grid, places = isolated(np.random.default_rng(1), sigma, 2000.0, 2.0, 6)
    for wrong in (0.85, 1.15):
        fits = fit_puncta(image, grid, sigma_px=tuple(wrong * sigma), **KNOWN)
        off = (fits.position_px - places) / sigma
        assert fits.converged.all()
        assert (abs(off.mean(axis=0)) < 0.02).all()
        slope = [np.polyfit((places - grid)[:, d], off[:, d], 1)[0] for d in range(3)]
        assert np.abs(slope).max() * 0.5 < 0.1  # the bias at half a pixel from the centre


def test_fitted_widths():
    sigma = (1.9, 1.4, 1.4)
    image, grid, _ = isolated(np.random.default_rng(2), sigma, 3000.0, 3.0, 5)
    fits = fit_puncta(image, grid, sigma_px=(1.6, 1.6, 1.6), fit_width=True, **KNOWN)
    assert fits.converged.all()
    np.testing.assert_allclose(fits.sigma_px.mean(axis=0), sigma, rtol=0.01)
    np.testing.assert_array_equal(fits.sigma_px[:, 1], fits.sigma_px[:, 2])
    bound = crlb(
        3000.0, sigma_px=sigma, background_photons=3.0, read_noise_photons=READ, fit_width=True
    )
    np.testing.assert_allclose(fits.sigma_px.std(axis=0), bound.sigma_px, rtol=0.25)
    np.testing.assert_allclose(fits.sigma_error_px.mean(axis=0), bound.sigma_px, rtol=0.15)


def test_neighbours_are_fitted_together():
    rng = np.random.default_rng(3)
    sigma = (1.5, 1.5)
    grid = np.stack(np.meshgrid(*[np.arange(12) * 24 + 12] * 2, indexing="ij"), -1).reshape(-1, 2)
    first = grid + rng.uniform(-0.3, 0.3, grid.shape)
    second = first + np.array([0, 4.0])
    third = second + np.array([0, 5.0])  # its light reaches the first one's window from outside
    places = np.concatenate([first, second, third])
    expected = np.full((288, 288), 4, np.float32)
    render_puncta(expected, places, np.repeat([600.0, 1200.0, 3000.0], len(grid)), sigma)
    image = camera(rng, expected)
    fits = fit_puncta(image, np.rint(places), sigma_px=sigma, **KNOWN)
    assert fits.converged.all()
    off = (fits.position_px - places).reshape(3, -1, 2)
    stated = fits.position_error_px.reshape(3, -1, 2)
    assert (abs(off.mean(axis=1)) < 0.1 * 1.5).all()
    assert (abs(off[0].mean(axis=0)) < 4 * stated[0].mean(axis=0) / 12).all()
    assert 0.9 < np.mean(abs(off) < 1.96 * stated) < 0.98
    light = fits.photons.reshape(3, -1).mean(axis=1)
    np.testing.assert_allclose(light, [600, 1200, 3000], rtol=0.03)
    alone = fit_puncta(image, np.rint(first), sigma_px=sigma, **KNOWN)
    kept = alone.converged
    assert abs((alone.position_px - first)[kept].mean(axis=0)).max() > 0.15


def test_the_reference_image_of_rs_fish(shared_data):
    image = tifffile.imread(shared_data("rs-fish/one-spot.tif"))
    for width in (1.5, 2.0):
        for start in ([50, 50, 50], [49, 51, 50]):
            fits = fit_puncta(image, [start], sigma_px=[width] * 3)
            assert np.abs(fits.position_px - 50).max() < 0.01
    fits = fit_puncta(image, [[50, 50, 50]], sigma_px=(1.8, 1.8, 1.8), fit_width=True)
    assert fits.intensity[0] == pytest.approx(1, rel=1e-3)


def test_spots_cut_by_the_edge_of_the_image():
    expected = np.full((9, 15, 15), 2, np.float32)
    places = [[0.2, 7, 7.3], [8.3, 0.4, 14.2], [4, 14.1, 0.1]]
    render_puncta(expected, places, [5000.0] * 3, (1.5, 1.5, 1.5))
    fits = fit_puncta(expected, np.rint(places), sigma_px=(1.5, 1.5, 1.5), gain_adu_per_photon=1.0)
    assert fits.converged.all()
    np.testing.assert_allclose(fits.position_px, places, atol=0.01)
    np.testing.assert_allclose(fits.photons, 5000, rtol=0.01)
    alone = np.zeros_like(expected)
    render_puncta(alone, places[:1], [1.0], (1.5, 1.5, 1.5))
    assert fits.share_seen[0] == pytest.approx(alone.sum(), abs=2e-3)


def test_one_plane_is_as_an_image_and_axes_can_change_places():
    image, grid, _ = isolated(np.random.default_rng(4), (1.4, 1.4), 500.0, 3.0, 4)
    flat = fit_puncta(image, grid, sigma_px=(1.4, 1.4), **KNOWN)
    deep = fit_puncta(
        image[None], np.column_stack([np.zeros(16), grid]), sigma_px=(9, 1.4, 1.4), **KNOWN
    )
    np.testing.assert_allclose(deep.position_px[:, 1:], flat.position_px)
    assert (deep.position_px[:, 0] == 0).all()
    assert np.isnan(deep.position_error_px[:, 0]).all()
    np.testing.assert_allclose(deep.intensity, flat.intensity)
    turned = fit_puncta(image.T, grid[:, ::-1], sigma_px=(1.4, 1.4), **KNOWN)
    np.testing.assert_allclose(turned.position_px[:, ::-1], flat.position_px, atol=1e-3)
    scaled = fit_puncta(image * 3, grid, sigma_px=(1.4, 1.4), gain_adu_per_photon=6.0,
                        read_noise_photons=READ, offset_adu=300.0)  # fmt: skip
    np.testing.assert_allclose(scaled.intensity, 3 * flat.intensity, rtol=1e-6)
    shifted = fit_puncta(image + 50, grid, sigma_px=(1.4, 1.4), **KNOWN | {"offset_adu": 150.0})
    np.testing.assert_allclose(shifted.position_px, flat.position_px, atol=1e-6)


def test_failures_keep_the_coordinate_and_say_why():
    rng = np.random.default_rng(5)
    expected = np.full((60, 60), 5, np.float32)
    render_puncta(expected, [[10, 10], [30, 36]], [800.0, 4000.0], (1.5, 1.5))
    image = camera(rng, expected)
    image[45:60, 45:60] = np.nan
    given = [[10, 10], [30, 32], [55, 55], [10, 45], [10, 45]]
    fits = fit_puncta(image, given, sigma_px=(1.5, 1.5), **KNOWN)
    assert fits.converged.tolist() == [True, False, False, False, False]
    assert fits.reason[0] == ""
    assert fits.reason[1] == "moved away"
    assert fits.reason[2] == "too few pixels"
    assert all(fits.reason[1:])
    np.testing.assert_array_equal(fits.position_px[1:], given[1:])
    assert np.isnan(fits.intensity[1:]).all()
    assert np.isnan(fits.position_error_px[1:]).all()


def test_no_spots_and_wrong_input():
    image = np.ones((20, 20))
    assert len(fit_puncta(image, np.zeros((0, 2)), sigma_px=(1, 1))) == 0
    assert fit_puncta(image, [], sigma_px=(1, 1)).position_px.shape == (0, 2)
    with pytest.raises(InputError, match=r"spot 1"):
        fit_puncta(image, [[3, 3], [3, 25]], sigma_px=(1, 1))
    with pytest.raises(AxisMismatchError, match="one width per axis"):
        fit_puncta(image, [[3, 3]], sigma_px=(1, 1, 1))
    with pytest.raises(AxisMismatchError, match="coordinates_px"):
        fit_puncta(image, [[3, 3, 3]], sigma_px=(1, 1))
    with pytest.raises(InputError, match="sigma_px"):
        fit_puncta(image, [[3, 3]], sigma_px=(1, 0))
    with pytest.raises(InputError, match="expected the gain"):
        fit_puncta(image, [[3, 3]], sigma_px=(1, 1), read_noise_photons=1.0)
    with pytest.raises(InputError, match="complex"):
        fit_puncta(image.astype(complex), [[3, 3]], sigma_px=(1, 1))


def test_the_bound_by_numerical_differences():
    sigma, centre, shape = (1.8, 1.3, 1.3), np.array([4.2, 5.6, 5.1]), (10, 11, 12)

    def model(theta):
        light, z, y, x, background, wide_z, wide = theta
        axes = [
            np.diff(ndtr((np.arange(n + 1) - 0.5 - c) / s))
            for n, c, s in zip(shape, (z, y, x), (wide_z, wide, wide), strict=True)
        ]
        return background + light * np.einsum("i,j,k->ijk", *axes)

    theta = np.array([700.0, *centre, 3.0, *sigma[:2]])
    for n_free, fit_width in ((5, False), (7, True)):
        slopes = []
        for i in range(n_free):
            step = np.zeros(7)
            step[i] = 1e-5 * theta[i]
            slopes.append(((model(theta + step) - model(theta - step)) / (2 * step[i])).ravel())
        information = (np.array(slopes) / (model(theta).ravel() + READ**2)) @ np.array(slopes).T
        expected = np.sqrt(np.diag(np.linalg.inv(information)))
        bound = crlb(
            700.0, sigma_px=sigma, background_photons=3.0, read_noise_photons=READ,
            position_px=centre, shape=shape, fit_width=fit_width,
        )  # fmt: skip
        found = [bound.photons, *bound.position_px, bound.background_photons]
        found += list(bound.sigma_px[:2]) if fit_width else []
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_bound_refuses_what_it_cannot_say():
    with pytest.raises(InputError, match="photons above 0"):
        crlb(0.0, sigma_px=(1, 1))
    with pytest.raises(InputError, match="sigma_px"):
        crlb(10.0, sigma_px=(1,))
    with pytest.raises(InputError, match="enough voxels"):
        crlb(10.0, sigma_px=(1, 1), shape=(1, 1), background_photons=1.0)
