"""The blob filter: equal to its definition, blind to flat light, true to scale."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aequorea.errors import InputError
from aequorea.puncta.blob_filter import blob_filter, mirrored, respond
from aequorea.puncta.detection import blob_response
from aequorea.simulate.puncta import render_puncta


def kernel_of(blobs) -> np.ndarray:
    kernel = np.zeros([2 * r + 1 for r in blobs.reach_px])
    for term in blobs.terms:
        full = []
        for size, half in zip(kernel.shape, term, strict=True):
            row = np.zeros(size)
            row[size // 2 : size // 2 + len(half)] = half
            row[size // 2 - len(half) + 1 : size // 2 + 1] = half[::-1]
            full.append(row)
        kernel += np.einsum("i,j,k", *full)
    return kernel


@pytest.mark.parametrize("method", ["log", "dog"])
@pytest.mark.parametrize("shape", [(13, 20, 25), (3, 20, 25), (1, 20, 25)])
def test_equals_one_convolution_with_the_whole_kernel(method: str, shape: tuple[int, ...]):
    image = np.random.default_rng(0).normal(500, 20, shape).astype(np.float32)
    sigma = (1.4 if shape[0] > 1 else 0.0, 1.2, 1.0)
    kernel = kernel_of(blob_filter(sigma, method))
    expected = ndimage.convolve(image.astype(float), kernel, mode="reflect")
    found = blob_response(image, sigma_px=(1.4, 1.2, 1.0), method=method)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("method", ["log", "dog"])
def test_flat_and_sloping_images_are_answered_with_nothing(method: str):
    blobs = blob_filter((1.7, 1.2, 1.2), method)
    assert abs(kernel_of(blobs).sum()) < 1e-12
    slope = np.broadcast_to(1000 + 3 * np.arange(40.0), (30, 40, 40)).astype(np.float32)
    answer = blob_response(slope, sigma_px=(1.7, 1.2, 1.2), method=method)
    assert np.abs(answer[10:20, 10:30, 10:30]).max() < 1e-2


@pytest.mark.parametrize("method", ["log", "dog"])
@pytest.mark.parametrize("sigma", [(1.2, 1.2), (2.0, 1.1, 1.3), (0.6, 1.5, 1.5)])
def test_a_spot_is_answered_with_its_height(method: str, sigma: tuple[float, ...]):
    image = np.zeros((25,) * len(sigma), np.float32)
    render_puncta(image, [[12] * len(sigma)], [5000.0], sigma)
    answer = blob_response(image, sigma_px=sigma, method=method)
    assert answer.max() == pytest.approx(image.max(), rel=2e-3)
    assert np.unravel_index(answer.argmax(), answer.shape) == (12,) * len(sigma)


def test_noise_factor_is_the_spread_of_the_answer_also_at_edges():
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 1, (400, 6, 12, 12)).astype(np.float32)
    answers = np.stack([blob_response(image, sigma_px=(1.3, 1.2, 1.2)) for image in noise])
    places = np.array([(2, 6, 6), (0, 6, 6), (0, 0, 6), (5, 11, 11), (1, 2, 0)])
    factor = blob_filter((1.3, 1.2, 1.2), "log").noise_factor((6, 12, 12), places)
    spread = np.sqrt((answers.astype(float) ** 2).mean(axis=0))[tuple(places.T)]
    np.testing.assert_allclose(factor, spread, rtol=0.12)
    assert factor[3] > 1.8 * factor[0]


def test_strips_make_no_difference():
    image = np.random.default_rng(1).poisson(30, (5, 61, 40)).astype(np.uint16)
    blobs = blob_filter((1.5, 1.2, 1.2), "log")
    whole = respond(image, blobs, (0, 61), 30.0)
    parts = [respond(image, blobs, cut, 30.0) for cut in ((0, 7), (7, 8), (8, 50), (50, 61))]
    np.testing.assert_array_equal(whole, np.concatenate(parts, axis=1))


def test_mirror_repeats_edge_voxels():
    row = np.array([5, 6, 7])
    padded = np.pad(row, 8, mode="symmetric")
    assert [row[mirrored(k - 8, 3)] for k in range(len(padded))] == padded.tolist()


def test_unknown_method():
    with pytest.raises(InputError, match="method"):
        blob_filter((0.0, 1.0, 1.0), "hat")  # type: ignore[arg-type]
