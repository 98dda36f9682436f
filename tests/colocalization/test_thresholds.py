import numpy as np
import pytest
from skimage import filters

from aequorea.colocalization import THRESHOLD_METHODS, auto_threshold
from aequorea.errors import InputError

METHODS = ("otsu", "li", "triangle", "yen", "mean", "isodata")


def bimodal(dtype, seed, scale=1.0, offset=0.0):
    rng = np.random.default_rng(seed)
    dark, bright = rng.normal(40, 8, 3000), rng.normal(150, 25, 800)
    return (np.concatenate([dark, bright]).clip(0, 250) * scale + offset).astype(dtype)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "image",
    [
        bimodal("u1", 0),
        bimodal("u2", 1, 200),
        bimodal("i2", 2, 10, -500),
        250 - bimodal("u1", 3),
        bimodal("f4", 4, 0.01),
        bimodal("f8", 5),
        np.array([0, 0, 0, 9], "u1"),
    ],
    ids=["u1", "u2", "i2", "inverted", "f4", "f8", "tiny"],
)
def test_equals_scikit_image(image, method):
    image = image.astype(np.float64) if image.dtype == np.float32 else image
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = float(getattr(filters, f"threshold_{method}")(image.copy()))
    exact = image.dtype.kind in "iu" and method not in ("li", "mean")
    assert auto_threshold(image, method) == pytest.approx(expected, rel=0 if exact else 1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_mask_and_constant(method):
    image = bimodal("u1", 0).reshape(40, 95)
    mask = np.arange(95) % 2 == np.zeros((40, 1))
    assert auto_threshold(image, method, mask) == auto_threshold(image[mask], method)
    assert np.isnan(auto_threshold(np.full((4, 4), 7), method))
    assert np.isnan(auto_threshold(image, method, np.zeros_like(mask)))


def test_very_wide_integers_are_binned_like_floats():
    image = np.arange(1000, dtype=np.int64) ** 3
    expected = filters.threshold_otsu(image.astype(float))
    assert auto_threshold(image, "otsu") == pytest.approx(expected)


def test_methods_that_need_two_channels_or_do_not_exist():
    assert ("costes", "manual", *METHODS) == THRESHOLD_METHODS
    for method in ("costes", "manual", "huang"):
        with pytest.raises(InputError, match="threshold method"):
            auto_threshold([1, 2], method)
    with pytest.raises(InputError, match="1 of 2 pixels"):
        auto_threshold([1, np.nan], "otsu")
    with pytest.raises(InputError, match="real numbers"):
        auto_threshold(["a"], "otsu")


@pytest.mark.parametrize("method", METHODS)
def test_pixels_that_are_equal_up_to_rounding_have_no_histogram(method):
    pixels = np.array([0.3, 0.1 + 0.2, 0.3])
    threshold = auto_threshold(pixels, method)
    assert np.isnan(threshold) == (method not in ("li", "mean"))
