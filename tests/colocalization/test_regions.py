import numpy as np
import pytest

from aequorea.colocalization import (
    analyse_pairwise,
    iter_regions,
    labels_to_label_mask,
    object_centroids,
    shapes_to_label_mask,
)
from aequorea.colocalization.moments import NO_PIXELS, group_by_region, pair_moments
from aequorea.colocalization.regions import kernel_dtype
from aequorea.errors import AxisMismatchError, InputError


class Shapes:
    def __init__(self, drawn):
        self.drawn = drawn

    def to_labels(self, *, labels_shape):
        assert isinstance(labels_shape, tuple)
        return np.asarray(self.drawn)


class Labels:
    def __init__(self, data):
        self.data = data


def test_shapes_become_labels():
    mask = shapes_to_label_mask(Shapes([[0, 1], [2, 2]]), [2, 2])
    assert mask.dtype == int
    assert mask.tolist() == [[0, 1], [2, 2]]
    with pytest.raises(AxisMismatchError):
        shapes_to_label_mask(Shapes([[0, 1]]), (2, 2))


def test_labels_are_checked():
    assert labels_to_label_mask(Labels([[0, 3]]), (1, 2)).tolist() == [[0, 3]]
    assert labels_to_label_mask(Labels([[0.0, 3.0]]), (1, 2)).tolist() == [[0, 3]]
    with pytest.raises(ValueError, match="does not match"):
        labels_to_label_mask(Labels([[0, 3]]), (2, 1))
    with pytest.raises(InputError, match="positive"):
        labels_to_label_mask(Labels([[0, -3]]), (1, 2))
    with pytest.raises(InputError, match="whole numbers"):
        labels_to_label_mask(Labels([[0, 0.5]]), (1, 2))


def test_regions_in_ascending_order_and_the_whole_image():
    mask = np.array([[7, 0], [2, 7]])
    assert [(k, m.tolist()) for k, m in iter_regions(mask)] == [
        (2, [[False, False], [True, False]]),
        (7, [[True, False], [False, True]]),
    ]
    assert list(iter_regions(None)) == [(0, None)]
    assert list(iter_regions(np.zeros((3, 3), int))) == []


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "i8", "u8"])
@pytest.mark.parametrize("largest", [9, 250, 10**6, 2**40])
def test_grouping_keeps_every_pixel_in_image_order(dtype, largest):
    if largest > np.iinfo(dtype).max:
        return
    rng = np.random.default_rng(0)
    names = np.array([0, 3, 5, largest]).astype(dtype)
    labels = names[rng.integers(0, 4, (13, 17))]
    a, b = rng.random((2, 13, 17))
    groups = group_by_region(a, b, labels)
    assert groups.labels.tolist() == sorted({int(k) for k in labels.ravel()} - {0})
    for i, label in enumerate(groups.labels):
        x, y = groups.region(i)
        np.testing.assert_array_equal(x, a[labels == label])
        np.testing.assert_array_equal(y, b[labels == label])


def test_grouping_without_background_or_without_regions():
    a = np.arange(4.0)
    assert group_by_region(a, a, np.full(4, 10**9)).labels.tolist() == [10**9]
    assert group_by_region(a, a, np.zeros(4, int)).labels.size == 0


def test_moments_of_parts_add_up():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1e3, 1, (2, 100))
    whole = pair_moments(a, b)
    parts = pair_moments(a[:30], b[:30]) + NO_PIXELS + pair_moments(a[30:], b[30:])
    for name in ("n", "sum_a", "min_a", "max_b", "saa", "sbb", "sab"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-9)
    assert parts.correlation == pytest.approx(whole.correlation)
    assert whole.raw == pytest.approx(((a * a).sum(), (b * b).sum(), (a * b).sum()))


def test_kernels_see_few_pixel_types():
    wanted = {
        "?": "u1", "u1": "u1", "u2": "u2", "i1": "i4", "i2": "i4", "i4": "i8", "u4": "i8",
        "i8": "i8", "u8": "f8", "f2": "f4", "f4": "f4", "f8": "f8",
    }  # fmt: skip
    assert {k: kernel_dtype(np.dtype(k)).str[1:] for k in wanted} == wanted


def test_labels_beyond_64_signed_bits_are_refused():
    labels = np.array([[0, 2**63 + 5]], dtype=np.uint64)
    with pytest.raises(InputError, match="below 2"):
        analyse_pairwise([[1, 2]], [[3, 4]], label_mask=labels)
    with pytest.raises(InputError, match="below 2"):
        object_centroids(labels)
