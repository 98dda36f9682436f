"""Counting by light against simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aequorea.errors import AxisMismatchError, InputError
from aequorea.puncta.copy_numbers import SingleMolecule, copy_number, single_molecule
from aequorea.puncta.fit import fit_puncta
from aequorea.simulate.puncta import render_puncta

SPACING = np.array([0.2, 0.08, 0.08])
SIGMA = (0.35 / 0.2, 0.12 / 0.08, 0.12 / 0.08)
PAD = 8
LIGHT, BACKGROUND, CV = 1000.0, 10.0, 0.4


def brightness(rng, n, mean=LIGHT, cv=CV):
    spread = np.sqrt(np.log1p(cv**2))
    return rng.lognormal(np.log(mean) - spread**2 / 2, spread, n)


def crowd(rng, density_um3, shape=(26, 64, 64)):
    """A piece of a wide field of molecules, and how many of them are in it."""
    full = np.array(shape) + 2 * PAD
    n = rng.poisson(density_um3 * np.prod(full * SPACING))
    places = rng.uniform(-0.5, full - 0.5, (n, 3))
    expected = np.full(full, BACKGROUND, np.float32)
    render_puncta(expected, places, brightness(rng, n), SIGMA)
    image = rng.poisson(expected) + rng.normal(0, 2, full)
    within = ((places > PAD - 0.5) & (places < np.array(shape) + PAD - 0.5)).all(axis=1)
    return image[PAD:-PAD, PAD:-PAD, PAD:-PAD], int(within.sum())


@pytest.mark.parametrize("density_um3", [0.3, 1.0, 3.0])
def test_crowds_on_an_unknown_background(density_um3):
    single = SingleMolecule(mean=LIGHT, cv=CV)
    counted, truth, covered = [], [], 0
    for seed in range(12):
        image, n = crowd(np.random.default_rng(seed), density_um3)
        found = copy_number(image, np.ones(image.shape, bool), single=single, sigma_px=SIGMA)
        assert found.reason.tolist() == [""]
        counted.append(found.copies[0])
        truth.append(n)
        covered += found.low[0] <= n <= found.high[0]
        assert found.background[0] == pytest.approx(BACKGROUND, abs=0.3)
    assert sum(counted) == pytest.approx(sum(truth), rel=0.05)
    assert covered >= 9


def test_a_thin_stack_and_a_single_plane():
    single = SingleMolecule(mean=LIGHT, cv=CV)
    counted = truth = 0
    for seed in range(8):
        image, n = crowd(np.random.default_rng(seed), 1.0, (8, 110, 110))
        found = copy_number(image, np.ones(image.shape, bool), single=single, sigma_px=SIGMA)
        counted, truth = counted + found.copies[0], truth + n
    assert counted == pytest.approx(truth, rel=0.06)
    options = {"single": single, "background": BACKGROUND}
    stack = copy_number(image[:1], np.ones((1, 110, 110), int), sigma_px=SIGMA, **options)
    plane = copy_number(image[0], np.ones((110, 110), int), sigma_px=SIGMA[1:], **options)
    assert stack.copies[0] == plane.copies[0]


def test_no_molecules():
    rng = np.random.default_rng(0)
    image = rng.poisson(20.0, (26, 64, 64)).astype(float)
    found = copy_number(
        image, np.ones(image.shape, int), single=SingleMolecule(mean=LIGHT), sigma_px=SIGMA
    )
    assert abs(found.copies[0]) < 3 * found.copies_error[0] < 60
    assert found.low[0] == 0


def cells():
    labels = np.zeros((20, 60, 100), np.uint8)
    labels[:, 10:50, 10:50] = 4
    labels[:, 10:50, 50:90] = 9
    return labels


def test_light_that_leaves_a_cell_is_given_back():
    rng = np.random.default_rng(1)
    labels = cells()
    expected = np.full(labels.shape, 7, np.float32)
    for label, n in ((4, 900), (9, 100)):
        voxels = np.argwhere(labels == label)
        places = voxels[rng.integers(0, len(voxels), n)] + rng.uniform(-0.5, 0.5, (n, 3))
        places[:, 0] = np.clip(places[:, 0], 6, 13)
        render_puncta(expected, places, np.full(n, 100.0), (1.5, 2.0, 2.0))
    found = copy_number(
        expected, labels, single=SingleMolecule(mean=100.0, cv=0.0), sigma_px=(1.5, 2.0, 2.0),
        background=7.0,
    )  # fmt: skip
    assert found.label.tolist() == [4, 9]
    np.testing.assert_allclose(found.copies, [900, 100], rtol=0.03)
    assert found.light[0] < 0.97 * 100 * 900
    assert found.light[1] > 1.1 * 100 * 100
    assert (found.captured > 0.9).all()
    assert (found.captured < 0.97).all()


def test_given_background_has_an_error():
    image = np.full((30, 80, 80), 8.0)
    image[15, 40, 40] += 3000
    options = {"single": SingleMolecule(mean=100.0, mean_error=5.0, cv=0.4), "sigma_px": SIGMA}
    mask = np.ones(image.shape, bool)
    found = copy_number(image, mask, background=8.0, **options)
    assert found.copies[0] == pytest.approx(30)
    expected = 30 * 0.16 + (30 * 0.05) ** 2
    assert found.copies_error[0] ** 2 == pytest.approx(expected, rel=0.3)
    less = copy_number(image, mask, background=8.0, background_error=0.1, **options)
    grown = less.copies_error[0] ** 2 - found.copies_error[0] ** 2
    assert grown == pytest.approx((image.size * 0.1 / 100) ** 2)
    narrow = copy_number(image, mask, background=8.0, confidence=0.5, **options)
    assert narrow.high[0] - narrow.low[0] < 0.4 * (found.high[0] - found.low[0])
    photons = copy_number(image, mask, background=8.0, gain_adu_per_photon=2.0, **options)
    grown = photons.copies_error[0] ** 2 - found.copies_error[0] ** 2
    assert grown == pytest.approx(2.0 * image.sum() / 100**2)


def test_a_cell_with_missing_pixels_has_a_reason_and_no_number():
    image = np.full(cells().shape, 5.0)
    image[3, 20, 20] = np.nan
    found = copy_number(
        image, cells(), single=SingleMolecule(mean=10.0), sigma_px=SIGMA, background=5.0
    )
    assert found.reason.tolist() == ["pixels without a value", ""]
    assert np.isnan(found.copies[0])
    assert found.copies[1] == 0
    nobody = copy_number(
        image, np.zeros(image.shape, int), single=SingleMolecule(mean=10.0), sigma_px=SIGMA
    )
    assert len(nobody.copies) == 0


def sparse_fits(seed, limit, density_um3=0.1):
    """Spots as found by local maxima above a limit, fitted."""
    rng = np.random.default_rng(seed)
    shape = np.array([48, 150, 150])
    n = rng.poisson(density_um3 * np.prod(shape * SPACING))
    places = rng.uniform(-0.5, shape - 0.5, (n, 3))
    expected = np.full(shape, BACKGROUND, np.float32)
    render_puncta(expected, places, brightness(rng, n), SIGMA)
    image = rng.poisson(expected).astype(float)
    smooth = ndimage.gaussian_filter(image, SIGMA)
    height = limit / np.prod(np.sqrt(4 * np.pi) * np.array(SIGMA))
    peaks = (smooth == ndimage.maximum_filter(smooth, 5)) & (smooth > BACKGROUND + height)
    fits = fit_puncta(image, np.argwhere(peaks), sigma_px=SIGMA, gain_adu_per_photon=1.0)
    return fits, float(np.prod(shape))


def test_the_mean_molecule_from_sparse_images():
    images = [sparse_fits(seed, 300.0) for seed in range(3)]
    fits, volumes = zip(*images, strict=True)
    single = single_molecule(fits, detection_limit=400.0, volume_px=sum(volumes))
    assert single.n > 150
    assert abs(single.mean - LIGHT) < 3 * single.mean_error
    assert single.mean_error < 0.05 * LIGHT
    assert single.cv == pytest.approx(CV, abs=0.1)
    # A limit that hides a third of the molecules: the plain mean is far off, the law is not.
    seen_only = single_molecule([f for f, _ in [sparse_fits(s, 800.0) for s in range(3)]])
    assert seen_only.mean > 1.12 * LIGHT
    made_up = single_molecule(fits, detection_limit=800.0, volume_px=sum(volumes))
    assert made_up.mean < 1.1 * LIGHT
    assert made_up.mean_error > single.mean_error


def test_wrong_input():
    image = np.ones((5, 20, 20))
    single = SingleMolecule(mean=1.0)
    with pytest.raises(AxisMismatchError, match="one width per axis"):
        copy_number(image, image > 0, single=single, sigma_px=(1, 1))
    with pytest.raises(InputError, match="labels"):
        copy_number(image, image, single=single, sigma_px=(1, 1, 1))
    with pytest.raises(InputError, match="sigma_px"):
        copy_number(image, image > 0, single=single, sigma_px=(1, 1, -1))
    with pytest.raises(InputError, match="confidence"):
        copy_number(image, image > 0, single=single, sigma_px=(1, 1, 1), confidence=1.0)
    with pytest.raises(InputError, match="mean above 0"):
        SingleMolecule(mean=0.0)
    few = fit_puncta(image[0], [[5, 5]], sigma_px=(1, 1))
    with pytest.raises(InputError, match="isolated spots"):
        single_molecule(few)
