"""The simulators keep their promises, since other tests lean on them."""

from __future__ import annotations

import numpy as np
import pytest

import aequorea.colocalization
from aequorea.colocalization.objects import label_objects
from aequorea.errors import InputError
from aequorea.simulate import (
    bead_pair,
    cell_pair,
    correlated_fields,
    make_sample_data,
    make_sample_data_3d,
    spots,
)


def correlation(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize(
    ("make", "shape"), [(make_sample_data, (256, 256)), (make_sample_data_3d, (32, 128, 128))]
)
def test_sample_data_are_napari_layers(make, shape):
    layers = make()
    assert len(layers) == 2
    for data, options, kind in layers:
        assert data.shape == shape
        assert data.dtype == np.float32
        assert data.min() >= 0
        assert kind == "image"
        assert {"name", "colormap"} <= set(options)
    assert 0.5 < correlation(layers[0][0], layers[1][0]) < 0.75
    assert np.array_equal(make()[1][0], layers[1][0])


def test_sample_data_are_public_names():
    assert aequorea.colocalization.make_sample_data is make_sample_data
    assert aequorea.colocalization.make_sample_data_3d is make_sample_data_3d


@pytest.mark.parametrize("shared", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_fields_share_what_is_asked_for(shared, sigma):
    pairs = [
        correlated_fields((96, 96), sigma_px=sigma, shared_fraction=shared, rng=k)
        for k in range(20)
    ]
    assert np.mean([correlation(a, b) for a, b in pairs]) == pytest.approx(shared, abs=0.03)
    assert np.mean([a.var() for a, _ in pairs]) == pytest.approx(1, abs=0.06)
    assert np.mean([a.mean() for a, _ in pairs]) == pytest.approx(0, abs=0.1)


def test_fields_do_not_wrap_and_have_the_stated_width():
    edges, lags = [], []
    for k in range(60):
        a, _ = correlated_fields((64, 64), sigma_px=3, shared_fraction=0, rng=k)
        edges.append(np.mean(a[0] * a[-1]))
        lags.append(np.mean(a[:, :-4] * a[:, 4:]))
    assert np.mean(edges) == pytest.approx(0, abs=0.1)
    assert np.mean(lags) == pytest.approx(np.exp(-16 / (4 * 9)), abs=0.05)


def test_spots_are_gaussians_and_add_up():
    image = spots((41, 41), [[20.0, 20.0]], 2.0, 3.0)
    assert image[20, 20] == pytest.approx(3)
    assert image[20, 22] == pytest.approx(3 * np.exp(-0.5))
    assert image.sum() == pytest.approx(3 * 2 * np.pi * 4, rel=1e-3)
    twice = spots((41, 41), [[20.0, 20.0], [20.0, 20.0]], 2.0, [1.0, 2.0])
    np.testing.assert_allclose(twice, image)
    assert not spots((5, 5), np.empty((0, 2)), 1.0).any()


def test_cells_hold_nuclei_and_puncta():
    pair = cell_pair((128, 160), n_cells=4, n_puncta=15, rng=0)
    assert pair.cells.max() == pair.nuclei.max() == 4
    assert (pair.cells[pair.nuclei > 0] == pair.nuclei[pair.nuclei > 0]).all()
    assert len(pair.puncta_a_px) == len(pair.puncta_b_px) == 60
    pixels = np.rint(pair.puncta_a_px).astype(int)
    assert (pair.cells[tuple(pixels.T)] > 0).all()
    assert pair.a.dtype == np.uint16
    background = pair.a[pair.cells == 0].mean()
    assert background == pytest.approx(102, abs=3)


@pytest.mark.parametrize("shared", [0.0, 0.4, 1.0])
def test_puncta_are_shared_as_asked(shared):
    pair = cell_pair(n_puncta=20, shared_fraction=shared, rng=1)
    same = (pair.puncta_a_px[:, None] == pair.puncta_b_px[None]).all(axis=-1).any(axis=1)
    assert same.mean() == pytest.approx(shared)
    r = correlation(pair.a[pair.cells > 0], pair.b[pair.cells > 0])
    assert r == pytest.approx(shared, abs=0.3)


def test_options_change_what_they_say():
    even = cell_pair(rng=2)
    gathered = cell_pair(rng=2, distribution="perinuclear")
    excluded = cell_pair(rng=2, nuclear_exclusion=True)
    nucleus = even.nuclei > 0
    rim = (even.cells > 0) & ~nucleus
    assert even.a[nucleus].mean() == pytest.approx(even.a[rim].mean(), rel=0.05)
    assert gathered.a[nucleus].mean() > gathered.a[rim].mean()
    assert excluded.a[nucleus].mean() < excluded.a[rim].mean() - 5
    leaking = cell_pair(rng=2, bleed_through=0.5)
    assert leaking.b.mean() > even.b.mean() + 1
    assert np.array_equal(leaking.cells, even.cells)


def test_depth_attenuates():
    pair = cell_pair((20, 64, 64), n_cells=1, attenuation_px=5, camera_offset=0, rng=0)
    assert pair.a.shape == (20, 64, 64)
    shallow, deep = (pair.a[z][pair.cells[z] > 0].mean() - 2 for z in (5, 14))
    assert shallow > 3 * deep


def test_seeds_repeat():
    assert np.array_equal(
        cell_pair((64, 64), n_cells=1, rng=5).a, cell_pair((64, 64), n_cells=1, rng=5).a
    )
    assert not np.array_equal(
        cell_pair((64, 64), n_cells=1, rng=5).a, cell_pair((64, 64), n_cells=1, rng=6).a
    )


def test_beads_are_apart_and_displaced():
    beads = bead_pair((128, 128), shift_um=(0.0, 1.0), spacing_um=(0.1, 0.1), n_beads=12, rng=0)
    assert label_objects(beads.a, min_size=4).max() == len(beads.centres_px) == 12
    moved = np.roll(beads.a, 10, axis=1)
    assert correlation(moved[:, 20:], beads.b[:, 20:]) > 0.9 > correlation(beads.a, beads.b)


@pytest.mark.parametrize(
    "call",
    [
        lambda: correlated_fields((8, 8), sigma_px=1, shared_fraction=1.5),
        lambda: correlated_fields((8, 8), sigma_px=-1, shared_fraction=0.5),
        lambda: cell_pair((10, 10)),
        lambda: cell_pair(n_cells=1000),
        lambda: cell_pair(shared_fraction=2),
        lambda: cell_pair(distribution="polar"),
        lambda: bead_pair((64, 64), shift_um=(0, 0, 0), spacing_um=(0.1, 0.1)),
    ],
)
def test_bad_input(call):
    with pytest.raises(InputError):
        call()
