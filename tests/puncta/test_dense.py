"""Clusters of molecules that show as one spot."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import InputError
from aequorea.puncta.copy_numbers import SingleMolecule
from aequorea.puncta.dense import decompose_dense, reference_molecule
from aequorea.puncta.fit import fit_puncta
from aequorea.simulate.puncta import render_puncta

SIGMA = (1.5, 1.5)
NUMBERS = np.array([1] * 40 + [2] * 8 + [3] * 8 + [4] * 8 + [6] * 8 + [9] * 9)


def clusters(spread_sd, cv=0.25, seed=0, sigma=SIGMA):
    """Nine by nine sites, each with a number of molecules and one coordinate."""
    rng = np.random.default_rng(seed)
    numbers = rng.permutation(NUMBERS)
    sites = np.stack(np.meshgrid(*[np.arange(9) * 20 + 10] * 2, indexing="ij"), -1).reshape(-1, 2)
    several = np.repeat(numbers > 1, numbers)[:, None]
    places = np.repeat(sites, numbers, axis=0) + several * rng.normal(
        0, spread_sd * np.array(sigma), (numbers.sum(), 2)
    )
    spread = np.sqrt(np.log1p(cv**2))
    light = rng.lognormal(np.log(500) - spread**2 / 2, spread, len(places))
    expected = np.full((180, 180), 5, np.float32)
    render_puncta(expected, places, light, sigma)
    return (rng.poisson(expected) * 2 + 100).astype(np.uint16), sites, numbers, places


@pytest.mark.parametrize("spread_sd", [0.3, 1.0])
@pytest.mark.parametrize("gain", [2.0, None])
def test_as_many_molecules_as_there_are(spread_sd, gain):
    image, sites, numbers, _ = clusters(spread_sd)
    found = decompose_dense(
        image, sites, sigma_px=SIGMA, offset_adu=100.0, gain_adu_per_photon=gain
    )
    assert found.single.mean == pytest.approx(1000, rel=0.15)
    assert len(found) == found.n_molecules.sum() == pytest.approx(numbers.sum(), rel=0.15)
    assert found.n_molecules[numbers == 1].mean() < 1.15
    for n in (3, 4, 6, 9):
        assert found.n_molecules[numbers == n].mean() == pytest.approx(n, rel=0.2)
    assert np.corrcoef(found.n_molecules, numbers)[0, 1] > 0.93
    assert (found.region == found.region[np.searchsorted(found.spot, found.spot)]).mean() > 0.97
    away = np.abs(found.position_px - sites[found.spot])
    assert away.max() < 3 * 1.5 + 1
    assert not found.limited.any()


def test_any_number_type_and_unit():
    image, sites, _, _ = clusters(0.5)
    whole = decompose_dense(image, sites, sigma_px=SIGMA, offset_adu=100.0)
    real = decompose_dense(
        image.astype(np.float32) / 65535, sites, sigma_px=SIGMA, offset_adu=100.0 / 65535
    )
    np.testing.assert_array_equal(real.n_molecules, whole.n_molecules)
    np.testing.assert_allclose(real.intensity * 65535, whole.intensity, rtol=1e-2)


def test_two_molecules_are_put_where_they_are():
    places = np.array([[20.0, 18.6], [20.0, 21.4]])
    expected = np.full((40, 40), 3, np.float32)
    render_puncta(expected, places, [2000.0, 2000.0], SIGMA)
    image = np.random.default_rng(0).poisson(expected)
    found = decompose_dense(
        image, [[20, 20]], sigma_px=SIGMA, gain_adu_per_photon=1.0,
        single=SingleMolecule(mean=2000.0, cv=0.3),
    )  # fmt: skip
    assert found.n_molecules.tolist() == [2]
    order = np.argsort(found.position_px[:, 1])
    np.testing.assert_allclose(found.position_px[order], places, atol=0.25)
    assert found.region.tolist() == [0, 0]


def test_the_limit_holds():
    image, sites, numbers, _ = clusters(0.5)
    found = decompose_dense(image, sites, sigma_px=SIGMA, offset_adu=100.0, max_molecules=2)
    assert found.n_molecules.max() == 2
    assert found.limited[numbers >= 6].mean() > 0.9
    assert not found.limited[numbers == 1].any()


def test_in_a_stack():
    sigma = (1.75, 1.5, 1.5)
    rng = np.random.default_rng(2)
    sites = np.array([[8, 12 + 24 * i, 12 + 24 * j] for i in range(3) for j in range(3)])
    numbers = np.array([1, 1, 1, 1, 1, 4, 4, 8, 1])
    expected = np.full((17, 72, 72), 4, np.float32)
    places = np.repeat(sites, numbers, axis=0) + rng.normal(0, 0.7, (numbers.sum(), 3))
    render_puncta(expected, places, np.full(len(places), 600.0), sigma)
    image = rng.poisson(expected)
    found = decompose_dense(image, sites, sigma_px=sigma, gain_adu_per_photon=1.0,
                            single=SingleMolecule(mean=600.0, cv=0.2))  # fmt: skip
    assert np.abs(found.n_molecules - numbers).max() <= 1
    assert found.n_molecules[numbers == 1].tolist() == [1] * 6
    assert found.n_molecules.sum() == pytest.approx(numbers.sum(), rel=0.1)


def test_nothing_and_too_little_to_learn_from():
    image = np.random.default_rng(0).poisson(5.0, (40, 40))
    nothing = decompose_dense(image, np.zeros((0, 2)), sigma_px=SIGMA)
    assert len(nothing) == 0
    assert nothing.position_px.shape == (0, 2)
    with pytest.raises(InputError, match="isolated"):
        decompose_dense(image, [[20, 20]], sigma_px=SIGMA)
    with pytest.raises(InputError, match="max_molecules"):
        decompose_dense(image, [[20, 20]], sigma_px=SIGMA, max_molecules=0)
    with pytest.raises(InputError, match="isolated"):
        reference_molecule(fit_puncta(image, [[20, 20]], sigma_px=SIGMA))
