"""Puncta are found where they are, at any scale of grey levels, and hot pixels are not puncta."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from aequorea.errors import AxisMismatchError, InputError
from aequorea.puncta import detection
from aequorea.puncta.detection import blob_response, find_candidates, select
from aequorea.puncta.threshold import common_threshold, noise_maxima
from aequorea.simulate.puncta import render_puncta

SIGMA = {2: (1.2, 1.2), 3: (1.4, 1.2, 1.2)}
SHAPE = {2: (160, 160), 3: (14, 80, 80)}


def puncta(ndim: int, n: int, snr: float, seed: int, *, background: float = 20.0):
    """Poisson image and the places of its puncta, at least 4 SD apart, of one brightness."""
    rng = np.random.default_rng(seed)
    sigma, shape = np.array(SIGMA[ndim]), np.array(SHAPE[ndim])
    places: list[np.ndarray] = []
    while len(places) < n:
        place = rng.uniform(-0.5, shape - 0.5)
        if all(np.sum(((place - p) / sigma) ** 2) > 16 for p in places):
            places.append(place)
    lone = np.zeros((21,) * ndim, np.float32)
    render_puncta(lone, [[10] * ndim], [1.0], sigma)
    light = np.full(shape, background, np.float32)
    photons = np.full(n, snr * np.sqrt(background) / lone.max())
    render_puncta(light, np.reshape(places, (n, ndim)), photons, sigma)
    image = rng.poisson(light).astype(np.uint16) + np.uint16(100)
    return image, np.reshape(places, (n, ndim))


def f1(places: np.ndarray, found: np.ndarray, ndim: int) -> float:
    """One-to-one within one SD of a spot, besides the half voxel that whole places are off."""
    sigma = np.array(SIGMA[ndim])
    distance = cdist(places / sigma, found / sigma)
    rows, columns = linear_sum_assignment(np.minimum(distance, 5))
    hits = int(np.sum(distance[rows, columns] <= 1))
    return 2 * hits / (len(places) + len(found))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("n", [25, 120])
def test_puncta_of_snr_4_are_found(ndim: int, n: int):
    images = [puncta(ndim, n, 4.0, seed) for seed in range(6)]
    found = [find_candidates(image, sigma_px=SIGMA[ndim]) for image, _ in images]
    noise = noise_maxima(SIGMA[ndim])
    level = common_threshold([c.height for c in found], noise=noise)
    scores = [
        f1(places, select(c, level.value).coordinates_px, ndim)
        for (_, places), c in zip(images, found, strict=True)
    ]
    assert np.mean(scores) >= 0.95
    assert np.min(scores) >= 0.88


@pytest.mark.parametrize("method", ["log", "dog"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_bright_puncta_are_all_found_and_nothing_else(ndim: int, method: str):
    image, places = puncta(ndim, 40, 15.0, 1)
    found = select(find_candidates(image, sigma_px=SIGMA[ndim], method=method), 6.0)
    assert f1(places, found.coordinates_px, ndim) > 0.98


def test_grey_levels_are_those_of_the_image():
    image, _ = puncta(2, 30, 25.0, 2)
    found = select(find_candidates(image, sigma_px=SIGMA[2]), 8.0)
    np.testing.assert_array_equal(
        found.peak + found.background, image[tuple(found.coordinates_px.T)].astype(np.float32)
    )
    np.testing.assert_allclose(found.background, 120, atol=4)
    np.testing.assert_allclose(found.noise_sd, np.sqrt(20), rtol=0.2)
    np.testing.assert_allclose(found.snr, found.peak / found.noise_sd, rtol=1e-5)


def test_floats_from_0_to_1_give_the_same_puncta():
    image, _ = puncta(3, 40, 6.0, 3)
    whole = find_candidates(image, sigma_px=SIGMA[3])
    scaled = find_candidates(image / 65535.0, sigma_px=SIGMA[3])
    a, b = select(whole, 5.0), select(scaled, 5.0)
    np.testing.assert_array_equal(a.coordinates_px, b.coordinates_px)
    np.testing.assert_allclose(a.height, b.height, rtol=1e-3)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_hot_pixel_is_no_punctum_and_changes_no_other(ndim: int):
    image, _ = puncta(ndim, 40, 8.0, 4)
    before = select(find_candidates(image, sigma_px=SIGMA[ndim]), 5.5)
    far = blob_response(image, sigma_px=SIGMA[ndim])
    quiet = ndimage.maximum_filter(far, 15) < 15
    place = tuple(np.argwhere(quiet)[len(np.argwhere(quiet)) // 2])
    hot = image.copy()
    hot[place] = 65535
    after = find_candidates(hot, sigma_px=SIGMA[ndim])
    assert after.n_hot == 1
    np.testing.assert_array_equal(select(after, 5.5).coordinates_px, before.coordinates_px)


def test_a_hot_pixel_on_a_punctum_leaves_it():
    light = np.full((60, 60), 20, np.float32)
    render_puncta(light, [[30, 30]], [3000.0], SIGMA[2])
    image = np.random.default_rng(0).poisson(light).astype(np.uint16)
    image[31, 31] = 60000
    found = select(find_candidates(image, sigma_px=SIGMA[2]), 8.0)
    assert len(found) == 1
    assert np.abs(found.coordinates_px[0] - 30).max() <= 1


def test_puncta_narrow_in_the_plane_but_wide_across_are_not_hot_pixels():
    sigma = (2.0, 0.55, 0.55)
    rng = np.random.default_rng(0)
    places = rng.uniform((4, 4, 4), (16, 56, 56), (25, 3)).round()
    light = np.full((20, 60, 60), 4, np.float32)
    render_puncta(light, places, np.full(25, 900.0), sigma)
    column = rng.poisson(light).astype(np.uint16)
    column[:, 5, 50] = 4000
    found = find_candidates(column, sigma_px=(1.5, 0.8, 0.8))
    at = {tuple(p) for p in select(found, 8.0).coordinates_px.tolist()}
    near = [any(np.abs(p - np.array(q)).max() <= 1 for q in at) for p in places]
    assert np.mean(near) > 0.9
    assert not any(p[1:] == (5, 50) for p in at)


def test_puncta_at_the_edges_and_corners_are_found():
    places = [[0, 0, 0], [0, 20, 39], [9, 39, 20], [5, 0, 20], [9, 39, 39], [5, 20, 0]]
    light = np.full((10, 40, 40), 10, np.float32)
    render_puncta(light, places, np.full(6, 900.0), SIGMA[3])
    image = np.random.default_rng(0).poisson(light)
    found = select(find_candidates(image, sigma_px=SIGMA[3]), 8.0)
    assert sorted(found.coordinates_px.tolist()) == sorted(places)


@pytest.mark.parametrize("ndim", [2, 3])
def test_maxima_are_those_of_a_maximum_filter(ndim: int):
    image, _ = puncta(ndim, 20, 5.0, 5)
    answer = blob_response(image, sigma_px=SIGMA[ndim])
    highest = (ndimage.maximum_filter(answer, 3) == answer) & (answer > 1e-3)
    found = find_candidates(image, sigma_px=SIGMA[ndim])
    assert found.n_hot == 0
    np.testing.assert_array_equal(found.coordinates_px, np.argwhere(highest))
    np.testing.assert_array_equal(found.response, answer[highest])


def test_a_plateau_counts_once_and_only_if_it_is_a_summit():
    answer = np.zeros((1, 8, 12), np.float32)
    answer[0, 2, 2:5] = 5  # a summit of three voxels
    answer[0, 6, 6:9] = 4  # a shoulder
    answer[0, 6, 9] = 6
    answer[0, 2, 9] = 3
    places, values, equal, n = detection._local_maxima(answer, (0, 8), np.float32(0.1), 50)
    kept = detection._one_per_plateau(places[:n], equal[:n], answer.shape)
    assert places[:n][kept].tolist() == [[0, 2, 3], [0, 2, 9], [0, 6, 9]]
    assert values[:n][kept].tolist() == [5, 3, 6]


def test_a_plane_and_a_stack_of_one_plane_are_alike():
    image, _ = puncta(2, 20, 6.0, 6)
    plane = find_candidates(image, sigma_px=SIGMA[2])
    stack = find_candidates(image[None], sigma_px=SIGMA[3])
    np.testing.assert_array_equal(stack.coordinates_px[:, 1:], plane.coordinates_px)
    np.testing.assert_array_equal(stack.height, plane.height)


def test_the_size_of_the_strips_makes_no_difference(monkeypatch: pytest.MonkeyPatch):
    image, _ = puncta(3, 40, 6.0, 7)
    whole = find_candidates(image, sigma_px=SIGMA[3])
    monkeypatch.setattr(detection, "_STRIP_BYTES", 1)
    strips = find_candidates(image, sigma_px=SIGMA[3])
    np.testing.assert_array_equal(whole.coordinates_px, strips.coordinates_px)
    np.testing.assert_array_equal(whole.height, strips.height)


def test_mask_hides_puncta_but_changes_none():
    image, _ = puncta(2, 40, 8.0, 8)
    mask = np.zeros(image.shape, bool)
    mask[:, :80] = True
    every = select(find_candidates(image, sigma_px=SIGMA[2]), 6.0)
    inside = select(find_candidates(image, sigma_px=SIGMA[2], mask=mask), 6.0)
    expected = every.coordinates_px[every.coordinates_px[:, 1] < 80]
    np.testing.assert_array_equal(inside.coordinates_px, expected)
    assert 0 < len(inside) < len(every)


def test_of_near_puncta_the_higher_stays():
    light = np.full((40, 80), 20, np.float32)
    render_puncta(light, [[20, 20], [20, 25], [20, 60]], [4000.0, 2500.0, 2000.0], SIGMA[2])
    found = find_candidates(np.random.default_rng(0).poisson(light), sigma_px=SIGMA[2])
    assert len(select(found, 8.0)) == 3
    apart = select(found, 8.0, min_distance_px=7.0)
    assert len(select(found, 8.0, min_distance_px=(1.0, 7.0))) == 2
    assert len(select(found, 8.0, min_distance_px=(7.0, 1.0))) == 3
    with pytest.raises(InputError, match="min_distance_px"):
        select(found, 8.0, min_distance_px=-1)
    assert apart.coordinates_px.tolist() == [[20, 20], [20, 60]]
    assert len(select(found, 8.0, min_snr=1e4)) == 0
    assert len(select(found, 100.0, by="response")) == 3


@pytest.mark.parametrize("image", [np.full((30, 30), 7), np.zeros((4, 30, 30)), np.ones((1, 1))])
def test_a_constant_image_has_no_candidates(image: np.ndarray):
    found = find_candidates(image, sigma_px=SIGMA[image.ndim])
    assert len(found) == 0
    assert found.coordinates_px.shape == (0, image.ndim)
    assert len(select(found, 5.0, min_distance_px=3.0)) == 0


def test_one_noiseless_spot_of_a_real_file(shared_data):
    tifffile = pytest.importorskip("tifffile")
    image = tifffile.imread(shared_data("rs-fish/one-spot.tif"))
    found = find_candidates(image, sigma_px=(1.5, 1.5, 1.5))
    assert found.coordinates_px.tolist() == [[50, 50, 50]]


def test_bad_input():
    good = np.zeros((20, 20))
    with pytest.raises(InputError, match="image"):
        find_candidates(np.zeros(5), sigma_px=(1.0,))
    with pytest.raises(InputError, match="pixels"):
        find_candidates(np.zeros((0, 5)), sigma_px=(1, 1))
    with pytest.raises(InputError, match="NaN"):
        find_candidates(np.full((5, 5), np.nan), sigma_px=(1, 1))
    with pytest.raises(InputError, match="dtype"):
        find_candidates(good.astype(complex), sigma_px=(1, 1))
    with pytest.raises(InputError, match="sigma_px"):
        find_candidates(good, sigma_px=(1, 0))
    with pytest.raises(InputError, match="sigma_px"):
        find_candidates(good, sigma_px=(1, 1, 1))
    with pytest.raises(AxisMismatchError, match="mask"):
        find_candidates(good, sigma_px=(1, 1), mask=np.ones((3, 3)))
    with pytest.raises(InputError, match="threshold"):
        select(find_candidates(good, sigma_px=(1, 1)), np.nan)
    with pytest.raises(InputError, match="by"):
        select(find_candidates(good, sigma_px=(1, 1)), 1.0, by="luck")  # type: ignore[arg-type]
