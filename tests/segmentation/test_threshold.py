"""Threshold segmentation against scikit-image and against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage import filters

from aequorea.errors import AxisMismatchError, InputError
from aequorea.segmentation import SegmentationParameters, backend, threshold_segmentation
from aequorea.segmentation.backends import Backend
from aequorea.simulate import simulated_nuclei

METHODS = ("otsu", "li", "percentile")
RAW = {"min_object_px": 0, "min_hole_px": 0, "closing": False}


def two_squares() -> np.ndarray:
    image = np.ones((12, 20))
    image[2:7, 2:7] = image[5:10, 12:18] = 50
    return image


@pytest.mark.parametrize("method", METHODS)
def test_back_ends_fulfil_the_protocol(method: str) -> None:
    found = backend(method)
    assert isinstance(found, Backend)
    assert found.name == method
    assert not found.early & found.late
    assert found.early | found.late <= set(SegmentationParameters.model_fields)


@pytest.mark.parametrize("method", ["otsu", "li"])
@pytest.mark.parametrize("background_sigma_px", [None, 15.0])
def test_a_threshold_of_noise_is_told(method: str, background_sigma_px: float | None) -> None:
    noise = np.random.default_rng(0).poisson(100, (120, 120))
    found = threshold_segmentation(noise, method, background_sigma_px=background_sigma_px)
    assert len(found.notes) == 1
    assert "does not separate two kinds of pixels" in found.notes[0]
    assert "SD of the noise above the background" in found.notes[0]


@pytest.mark.parametrize("method", METHODS)
def test_a_threshold_between_objects_and_background_needs_no_note(method: str) -> None:
    image = simulated_nuclei((160, 160), n=15, rng=0).image
    found = threshold_segmentation(image, method)
    assert found.notes == ()
    assert found.facts["background"] < found.facts["threshold"]
    above = image > found.facts["threshold"]
    assert found.facts["above_fraction"] == pytest.approx(above.mean())


def test_objects_over_most_of_the_image_are_told() -> None:
    image = np.full((40, 40), 10.0)
    image[:, :26] = 90.0
    (said,) = threshold_segmentation(image).notes
    assert "may not separate two kinds of pixels (65 % of the image above it)" in said


def test_the_share_above_is_that_inside_the_mask() -> None:
    image = np.full((40, 40), 10.0)
    image[:10, :10] = 90.0
    mask = np.zeros((40, 40), bool)
    mask[:20, :20] = True
    assert threshold_segmentation(image, mask=mask).facts["above_fraction"] == pytest.approx(0.25)


def test_threshold_of_whole_numbers_is_that_of_scikit_image() -> None:
    image = simulated_nuclei((128, 128), n=10, rng=0).image
    values = image[image > 0]
    for method, reference in (("otsu", filters.threshold_otsu), ("li", filters.threshold_li)):
        found = threshold_segmentation(image, method)
        assert found.facts["threshold"] == pytest.approx(float(reference(values)), abs=1)
    found = threshold_segmentation(image, "percentile", percentile=90)
    assert found.facts["threshold"] == pytest.approx(np.percentile(values, 90))


def test_threshold_of_real_numbers() -> None:
    rng = np.random.default_rng(1)
    image = np.abs(np.concatenate([rng.normal(5, 1, 3000), rng.normal(20, 2, 1000)]))
    image = image.reshape(50, 80).astype(np.float32)
    for method, reference in (("otsu", filters.threshold_otsu), ("li", filters.threshold_li)):
        found = threshold_segmentation(image, method)
        assert found.facts["threshold"] == pytest.approx(float(reference(image)), rel=0.01)


def test_only_positive_finite_values_inside_the_mask_count() -> None:
    image = two_squares()
    image[0, :] = -40
    image[1, :] = np.nan
    image[11, :] = 1000
    mask = np.ones(image.shape, bool)
    mask[11] = False
    found = threshold_segmentation(image, "percentile", percentile=50, mask=mask, closing=False)
    inside = image[2:11]
    assert found.facts["threshold"] == np.percentile(inside, 50)
    assert found.n_objects == 3, "objects may reach beyond the mask"


@given(st.integers(0, 2**32 - 1), st.integers(2, 3))
def test_pieces_are_those_strictly_above_joined_at_corners(seed: int, ndim: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 5, (5,) * ndim)
    found = threshold_segmentation(image, threshold=2, **RAW)
    reference, n = ndimage.label(image > 2, np.ones((3,) * ndim))
    assert found.n_objects == n
    assert (found.labels == reference).all()
    assert found.labels.dtype == np.int32


def test_small_pieces_and_holes_go_below_the_value_not_at_it() -> None:
    image = np.zeros((12, 30))
    image[1:3, 1:3] = 1  # 4 px
    image[6:11, 1:6] = 1
    image[8, 2:4] = 0  # hole of 2 px
    image[6:11, 10:15] = 1
    image[8, 11:14] = 0  # hole of 3 px
    options = {"threshold": 0.5, "closing": False}
    found = threshold_segmentation(image, min_object_px=4, min_hole_px=3, **options)
    assert found.n_objects == 3
    assert found.labels[8, 2] > 0
    assert found.labels[8, 12] == 0
    assert threshold_segmentation(image, min_object_px=5, min_hole_px=0, **options).n_objects == 2


def test_closing_bridges_narrow_gaps_and_spares_the_border() -> None:
    image = np.zeros((9, 17))
    image[2:7, 1:5] = image[2:7, 6:10] = image[2:7, 13:17] = 1
    options = {"threshold": 0.5, "min_object_px": 0, "min_hole_px": 0}
    assert threshold_segmentation(image, closing=False, **options).n_objects == 3
    closed = threshold_segmentation(image, closing=True, **options)
    assert closed.n_objects == 2
    assert (closed.labels[image > 0] > 0).all()


def test_background_subtraction_finds_dim_objects_on_a_slope() -> None:
    y, x = np.mgrid[:80, :160]
    image = 3.0 * x + 10
    for column in (20, 80, 140):
        image[(y - 40) ** 2 + (x - column) ** 2 <= 25] += 60
    assert threshold_segmentation(image, "otsu").n_objects == 1
    found = threshold_segmentation(image, "otsu", background_sigma_px=12)
    assert found.n_objects == 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8)),
        np.full((8, 8), 3.0),
        np.full((8, 8), np.nan),
        np.full((4, 4), -2.0),
        np.zeros((0, 4)),
        np.ones((1, 1)),
        np.ones((3, 1, 2), np.uint8),
    ],
)
def test_nothing_found_is_a_result(method: str, image: np.ndarray) -> None:
    found = threshold_segmentation(image, method)
    assert found.n_objects == 0
    assert found.labels.shape == image.shape


def test_a_constant_image_says_why() -> None:
    found = threshold_segmentation(np.full((8, 8), 3.0), "otsu")
    assert found.facts["threshold"] is None
    assert "no threshold" in found.notes[0]


def test_late_options_do_not_need_the_image() -> None:
    image = two_squares().astype(np.float32)
    method = backend("otsu")
    early = SegmentationParameters(method="otsu")
    response = method.respond(image, early, spacing_um=None, mask=None, use_gpu=False)
    late = SegmentationParameters(method="otsu", threshold_min_object_px=26)
    assert method.label(response, early).n_objects == 2
    assert method.label(response, late).n_objects == 1
    assert (response.arrays["filtered"] == image).all()


def test_read_only_and_big_endian_images() -> None:
    image = two_squares().astype(">f4")
    image.flags.writeable = False
    assert threshold_segmentation(image).n_objects == 2


def test_what_cannot_be_segmented_is_refused() -> None:
    with pytest.raises(InputError):
        threshold_segmentation(two_squares(), "triangle")
    with pytest.raises(InputError):
        threshold_segmentation(np.zeros(4))
    with pytest.raises(InputError):
        threshold_segmentation(np.array([["a"]]))
    with pytest.raises(AxisMismatchError):
        threshold_segmentation(two_squares(), mask=np.ones((2, 2)))
