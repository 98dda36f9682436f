"""Which objects are dropped, and why."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aequorea.errors import AxisMismatchError, InputError
from aequorea.segmentation.parameters import SegmentationParameters
from aequorea.segmentation.postfilters import apply_postfilters, local_contrast


def options(*filters, **fields):
    return SegmentationParameters(postfilters=filters, **fields)


def square(value, around, size=40):
    labels, image = np.zeros((size, size), int), np.full((size, size), float(around))
    labels[15:25, 15:25] = 3
    image[15:25, 15:25] = value
    return labels, image


def test_sizes():
    labels = np.zeros((10, 10), np.uint16)
    labels[0, :5], labels[2, :4], labels[4, 0] = 40, 7, 9
    kept, dropped = apply_postfilters(labels, labels, options("min_size", min_object_px=5))
    assert dropped == {7: "min_size", 9: "min_size"}
    assert np.unique(kept).tolist() == [0, 40]
    assert kept.dtype == np.uint16
    assert labels[4, 0] == 9  # the input stays
    kept, dropped = apply_postfilters(labels, labels, options("min_size", min_object_px=0))
    np.testing.assert_array_equal(kept, labels)
    assert dropped == {}


@pytest.mark.parametrize(("measure", "value"), [("mean", 4.0), ("median", 3.0), ("max", 9.0)])
def test_intensities_at_the_threshold_are_dropped(measure, value):
    labels, image = [[6, 6, 6, 6, 6]], [[1.0, 2.0, 3.0, 5.0, 9.0]]
    fields = {"min_intensity_measure": measure}
    at = options("min_intensity", min_intensity_threshold=value, **fields)
    below = options("min_intensity", min_intensity_threshold=value - 1e-6, **fields)
    assert apply_postfilters(labels, image, at)[1] == {6: "min_intensity"}
    assert apply_postfilters(labels, image, below)[1] == {}


def test_a_dark_square_is_dropped():
    """The reference looked for surroundings inside the square's own box, and kept it."""
    labels, image = square(50, 100)
    assert apply_postfilters(labels, image, options("local_contrast"))[1] == {3: "local_contrast"}
    labels, image = square(100, 50)
    assert apply_postfilters(labels, image, options("local_contrast"))[1] == {}
    labels, image = square(70, 70)
    assert apply_postfilters(labels, image, options("local_contrast"))[1] == {3: "local_contrast"}


def test_all_surroundings_of_a_disc_are_used():
    y, x = np.indices((40, 40)) - 20
    labels = (np.hypot(y, x) <= 8).astype(int)
    found = local_contrast(labels, np.zeros(labels.shape))
    away = ndimage.distance_transform_edt(labels == 0)
    assert found.n_shell[0] == ((away > 1) & (away <= 4)).sum() > 150


@pytest.mark.parametrize("shape", [(50, 60), (7, 24, 26)])
@pytest.mark.parametrize(("inner", "outer"), [(0, 1), (1, 4), (2, 3), (0, 6)])
def test_surroundings_agree_with_distance_maps(shape, inner, outer):
    rng = np.random.default_rng(1)
    labels, _ = ndimage.label(ndimage.gaussian_filter(rng.normal(size=shape), 2) > 0.08)
    labels *= 4
    image = rng.integers(0, 500, shape).astype(np.uint16)
    regions = (rng.random(shape) < 0.7).astype(int)
    for drawn in (None, regions):
        found = local_contrast(labels, image, inner_px=inner, outer_px=outer, regions=drawn)
        for k, label in enumerate(np.unique(labels[labels > 0])):
            away = ndimage.distance_transform_edt(labels != label)
            shell = (away > inner + 1e-9) & (away <= outer + 1e-9) & (labels == 0)
            shell &= True if drawn is None else drawn > 0
            values = image[shell]
            assert found.n_shell[k] == values.size
            assert found.object_median[k] == np.median(image[labels == label])
            if values.size:
                assert found.shell_median[k] == np.median(values)
                assert found.shell_mad[k] == np.median(np.abs(values - np.median(values)))


def test_contrast_is_measured_in_median_absolute_deviations():
    labels, image = square(0, 0)
    rng = np.random.default_rng(2)
    image[:] = rng.normal(100, 10, image.shape)
    found = local_contrast(labels, image)
    margin = found.shell_mad[0]
    for k, above, expected in ((2.0, 1.9, True), (2.0, 2.1, False), (0.0, 0.1, False)):
        image[labels > 0] = found.shell_median[0] + above * margin
        dropped = apply_postfilters(labels, image, options("local_contrast", local_contrast_k=k))[1]
        assert bool(dropped) == expected


def test_an_object_without_surroundings_is_kept():
    labels = np.ones((6, 6), int)
    found = local_contrast(labels, np.zeros((6, 6)))
    assert np.isnan(found.shell_median[0])
    assert apply_postfilters(labels, np.zeros((6, 6)), options("local_contrast"))[1] == {}


def test_bright_pixels():
    labels = np.array([[1, 1, 1, 1, 0, 2, 2]])
    image = np.array([[9, 9, 5, 1, 9, 9, 1]])
    bright = {"bright_pixel_threshold": 5}
    for fields, expected in (
        ({"bright_pixel_min_count": 2}, [2]),
        ({"bright_pixel_min_count": 1}, []),
        ({"bright_pixel_min_count": 0}, []),
        ({"bright_pixel_min_fraction": 0.5}, []),
        ({"bright_pixel_min_fraction": 0.51}, [1, 2]),
    ):
        chain = options("bright_pixel_support", **bright, **fields)
        assert list(apply_postfilters(labels, image, chain)[1]) == expected


def test_the_chain_keeps_its_order():
    labels, image = square(100, 50)
    labels[10, 10] = 8
    fields = {"min_object_px": 5, "min_intensity_threshold": 60.0}
    first = apply_postfilters(labels, image, options("min_size", "min_intensity", **fields))[1]
    second = apply_postfilters(labels, image, options("min_intensity", "min_size", **fields))[1]
    assert (first, second) == ({8: "min_size"}, {8: "min_intensity"})


def test_one_plane_is_an_image():
    rng = np.random.default_rng(4)
    labels, _ = ndimage.label(ndimage.gaussian_filter(rng.normal(size=(60, 60)), 2) > 0.1)
    image = rng.normal(size=labels.shape) + labels.astype(bool)
    chain = options("local_contrast", "min_size", min_object_px=10)
    flat, why = apply_postfilters(labels, image, chain)
    plane, why_too = apply_postfilters(labels[None], image[None], chain)
    np.testing.assert_array_equal(flat, plane[0])
    assert why == why_too != {}


def test_nothing_in_nothing_out():
    empty = np.zeros((5, 5), np.uint8)
    chain = options(
        "min_size",
        "min_intensity",
        "local_contrast",
        "bright_pixel_support",
        min_object_px=3,
        min_intensity_threshold=1.0,
        bright_pixel_threshold=1.0,
        bright_pixel_min_count=1,
    )
    kept, dropped = apply_postfilters(empty, empty, chain)
    assert not kept.any()
    assert dropped == {}
    readonly = np.full((3, 3), 300, ">u2")
    readonly.setflags(write=False)
    assert apply_postfilters(readonly, readonly, chain)[1] == {}


def test_bad_input():
    ones = np.ones((3, 3), int)
    with pytest.raises(AxisMismatchError, match="image"):
        apply_postfilters(ones, np.ones((3, 4)), options())
    with pytest.raises(InputError, match="finite"):
        apply_postfilters(ones, np.full((3, 3), np.nan), options())
    with pytest.raises(InputError, match="integer"):
        apply_postfilters(ones * 1.0, ones, options())
    with pytest.raises(InputError, match="inner_px < outer_px"):
        local_contrast(ones, ones, inner_px=3, outer_px=3)
    with pytest.raises(AxisMismatchError, match="regions"):
        local_contrast(ones, ones, regions=np.ones((2, 3), int))
