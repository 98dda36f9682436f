"""Efficiency measured with put-in spots is the recall of real ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from aequorea.errors import InputError
from aequorea.puncta.detection import find_candidates, select
from aequorea.puncta.efficiency import detection_efficiency
from aequorea.simulate.puncta import render_puncta

SIGMA = (1.3, 1.2, 1.2)
SHAPE = (12, 80, 80)
LEVEL = 4.8


def light_of(seed: int, n: int, height: float):
    rng = np.random.default_rng(seed)
    places = rng.uniform(-0.5, np.array(SHAPE) - 0.5, (n, 3))
    one = np.zeros((15, 15, 15), np.float32)
    render_puncta(one, [[7, 7, 7]], [1.0], SIGMA)
    spots = np.zeros(SHAPE, np.float32)
    render_puncta(spots, places, np.full(n, height / one.max()), SIGMA)
    background = np.broadcast_to(np.linspace(10, 40, 80), SHAPE)
    return rng.poisson(spots + background).astype(np.uint16) + np.uint16(100), places


def recall(height: float) -> tuple[float, int]:
    hits = n = 0
    for seed in range(14):
        image, places = light_of(100 + seed, 25, height)
        found = select(find_candidates(image, sigma_px=SIGMA), LEVEL).coordinates_px
        lone = cKDTree(places / SIGMA).query(places / SIGMA, k=2)[0][:, 1] > 6
        near = cKDTree(found / np.array(SIGMA)).query(places[lone] / np.array(SIGMA))[0] <= 1.5
        hits, n = hits + near.sum(), n + lone.sum()
    return hits / n, n


def test_efficiency_is_the_recall_of_real_spots():
    heights = [9.0, 12.0, 24.0]
    image, _ = light_of(1, 8, 60.0)
    measured = detection_efficiency(
        image,
        sigma_px=SIGMA,
        amplitudes=heights,
        threshold=LEVEL,
        n_spots=300,
        gain=1.0,
        depth_edges_px=(0, 12),
        rng=0,
    )
    assert measured.n_injected.min() == 300
    expected, n = np.array([recall(height) for height in heights]).T
    assert 0.2 < expected[0] < 0.8
    error = np.sqrt(expected * (1 - expected) * (1 / n + 1 / 300)) + 0.005
    assert (np.abs(measured.fraction[:, 0] - expected) < 3 * error).all()
    assert (measured.ci_low <= measured.fraction).all()
    assert (measured.ci_high >= measured.fraction).all()


def test_depth_where_noise_is_larger_finds_fewer():
    haze = np.linspace(10, 90, 30)[:, None, None] * np.ones((1, 60, 60))
    image = np.random.default_rng(2).poisson(haze).astype(np.uint16)
    found = detection_efficiency(
        image, sigma_px=SIGMA, amplitudes=[15.0], threshold=LEVEL, n_spots=80, rng=1
    )
    assert found.depth_edges_px.tolist() == [0, 8, 15, 22, 30]
    assert found.gain == pytest.approx(1.0, rel=0.15)
    assert found.notes == ()
    assert found.fraction[0, 0] > found.fraction[0, 3] + 0.3


def test_own_detector_mask_and_no_room():
    image = np.random.default_rng(0).normal(100, 5, (60, 60))
    mask = np.zeros((60, 60), bool)
    mask[20:40, 20:40] = True
    seen = []

    def nothing(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels - image)
        return np.empty((0, 2))

    options = {"sigma_px": (1.2, 1.2), "amplitudes": [1000.0], "detector": nothing, "rng": 0}
    found = detection_efficiency(image, mask=mask, n_spots=5, gain=0.0, **options)
    assert found.n_found.sum() == 0
    assert found.ci_high[0, 0] < 0.5
    added = np.max(seen[1:], axis=0)
    assert (added[mask] > 200).any()
    assert not (added[~ndimage.binary_dilation(mask, iterations=4)] > 200).any()
    none = detection_efficiency(image, mask=np.zeros((60, 60)), **options)
    assert np.isnan(none.fraction[0, 0])
    assert "no room" in none.notes[0]


def test_wilson_interval():
    image = np.random.default_rng(0).normal(100, 5, (200, 200))
    found = detection_efficiency(
        image, sigma_px=(1.2, 1.2), amplitudes=[500.0], threshold=6.0, n_spots=10, rng=0
    )
    assert found.n_found[0, 0] == 10
    assert found.ci_low[0, 0] == pytest.approx(0.7225, abs=1e-3)  # 10 of 10
    assert found.ci_high[0, 0] == 1


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"amplitudes": [0.0]}, "amplitudes"),
        ({"threshold": None}, "threshold"),
        ({"n_spots": 0}, "n_spots"),
        ({"gain": -1.0}, "gain"),
        ({"depth_edges_px": (3, 1)}, "depth_edges_px"),
        ({"depth_edges_px": (0, 2)}, "depth_edges_px"),
        ({"gap_sigma": 1.0}, "gap_sigma"),
        ({"confidence": 1.0}, "confidence"),
    ],
)
def test_nonsense(wrong: dict, name: str):
    options = {"sigma_px": (1, 1), "amplitudes": [1.0], "threshold": 5.0} | wrong
    with pytest.raises(InputError, match=name):
        detection_efficiency(np.zeros((20, 20)), **options)
