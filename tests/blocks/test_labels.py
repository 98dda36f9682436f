"""Segmentation piece by piece gives the labels of the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aequorea.blocks.labels import label_blocks
from aequorea.errors import AxisMismatchError, InputError
from aequorea.segmentation import watershed_segmentation
from aequorea.simulate import simulated_nuclei

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CROWDED: dict[str, Any] = {"touching_fraction": 0.8, "cluster_size": 4}


def assert_same(image: np.ndarray, chunk: tuple[int, ...] | None, **options: Any) -> None:
    whole = watershed_segmentation(image, **options)
    fields = {"threshold": "threshold_value"}
    pieces = label_blocks(image, chunk=chunk, **{fields.get(k, k): v for k, v in options.items()})
    assert (pieces.labels == whole.labels).all()
    assert pieces.facts == whole.facts
    assert pieces.notes == whole.notes


@pytest.mark.parametrize("chunk", [(64, 64), (37, 200), (200, 23), (9, 11), (300, 300)])
def test_planes(chunk: tuple[int, ...]) -> None:
    assert_same(simulated_nuclei((190, 170), n=30, rng=1, **CROWDED).image, chunk)


@pytest.mark.parametrize("chunk", [(8, 40, 40), (5, 96, 31), (24, 17, 96), (3, 9, 14)])
@pytest.mark.parametrize("spacing", [None, (2.0, 1.0, 1.0)])
def test_stacks(chunk: tuple[int, ...], spacing: tuple[float, ...] | None) -> None:
    nuclei = simulated_nuclei(
        (20, 90, 84), n=30, diameter_px=14, spacing_um=(2, 1, 1), rng=2, **CROWDED
    )
    assert_same(nuclei.image, chunk, spacing_um=spacing)


def test_a_dense_stack_of_real_nuclei(shared_data: Callable[[str], Path]) -> None:
    tifffile = pytest.importorskip("tifffile")
    image = tifffile.imread(shared_data("stardist-2d3d/img3d.tif"))
    assert_same(image, (10, 20, 25))


def test_options_mask_and_bad_pixels() -> None:
    image = simulated_nuclei((120, 130), n=20, rng=3).image.astype(np.float32)
    image[40:44, 50:53] = np.nan
    image[7, 7] = np.inf
    mask = np.zeros(image.shape, bool)
    mask[20:, :100] = True
    assert_same(image, (33, 40), mask=mask, split_neck=0.5, split_tolerance=0.2)
    assert_same(image, (33, 40), diameter_px=15.0)
    assert_same(image, (33, 40), threshold=150.0)
    assert_same(image, None)


def test_plateaus_and_straight_edges() -> None:
    image = np.zeros((60, 64), np.uint8)
    image[10:30, 8:28] = image[10:30, 36:56] = image[36:56, 20:40] = 200
    for chunk in ((7, 9), (20, 18)):
        assert_same(image, chunk)


@pytest.mark.parametrize(
    "image", [np.full((20, 20), 3), np.zeros((1, 1)), np.zeros((0, 4)), np.full((9, 9), np.nan)]
)
def test_nothing_found_is_a_result(image: np.ndarray) -> None:
    assert_same(image, (5, 5))


def test_labels_go_where_they_are_wanted_and_images_are_read_in_parts() -> None:
    nuclei = simulated_nuclei((150, 150), n=20, rng=4)

    class Lazy:
        shape, dtype = nuclei.image.shape, nuclei.image.dtype
        largest = 0

        def __getitem__(self, part: tuple[slice, ...]) -> np.ndarray:
            pixels = nuclei.image[part]
            if pixels.size < nuclei.image.size:
                self.largest = max(self.largest, pixels.size)
            return pixels

    out = np.full(nuclei.image.shape, -1, np.int32)
    lazy = Lazy()
    found = label_blocks(lazy, max_pixels=4000, out=out)
    assert found.labels is out
    assert (out == watershed_segmentation(nuclei.image).labels).all()
    assert 0 < lazy.largest < 0.6 * nuclei.image.size


def test_what_does_not_fit_is_refused() -> None:
    image = simulated_nuclei((64, 64), n=3, rng=0).image
    with pytest.raises(AxisMismatchError):
        label_blocks(image, chunk=(8, 8, 8))
    with pytest.raises(AxisMismatchError):
        label_blocks(image, chunk=(0, 8))
    with pytest.raises(AxisMismatchError):
        label_blocks(image, mask=np.ones((3, 3), bool))
    with pytest.raises(AxisMismatchError):
        label_blocks(image, out=np.zeros((64, 64), np.int64))  # type: ignore[arg-type]
    with pytest.raises(InputError):
        label_blocks(image, method="otsu")
    with pytest.raises(InputError):
        label_blocks(image, prefilters=("gaussian",))
    with pytest.raises(InputError):
        label_blocks(np.zeros(4))


def test_an_uncertain_size_is_noted_as_for_the_whole() -> None:
    image = simulated_nuclei((360, 360), n=70, diameter_px=14, rng=0).image.astype(np.float32)
    y, x = np.mgrid[:360, :360] / 360
    for centre in (0.3, 0.7):
        haze = np.exp(-((y - centre) ** 2 + (x - centre) ** 2) / 0.02)
        image += np.float32(2 * image.max()) * haze.astype(np.float32)
    assert "uncertain" in watershed_segmentation(image).notes[0]
    assert_same(image, (70, 110))
    assert_same(image, (70, 110), diameter_px=14.0)
