"""The watershed on known truth, its parts by hand, its invariances, and bad input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.segmentation import (
    SegmentationParameters,
    backend,
    match_labels,
    segment,
    watershed_segmentation,
)
from aequorea.segmentation.backends import Backend
from aequorea.segmentation.watershed_basins import (
    basins,
    contacts,
    merged_by_neck,
    merged_by_pass,
    saddles,
)
from aequorea.simulate import simulated_nuclei

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CROWDED = {"touching_fraction": 0.7, "cluster_size": 3}


def f1(truth: np.ndarray, image: np.ndarray, **options: Any) -> float:
    return match_labels(truth, watershed_segmentation(image, **options).labels).f1


@pytest.mark.parametrize("diameter", [8, 18, 40])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("extra", [{}, CROWDED, {"photons": 30.0}])
def test_simulated_nuclei_in_planes(diameter: int, seed: int, extra: dict[str, Any]) -> None:
    side = 14 * diameter
    nuclei = simulated_nuclei((side, side), n=40, diameter_px=diameter, rng=seed, **extra)
    assert f1(nuclei.labels, nuclei.image) >= 0.95


@pytest.mark.parametrize(("diameter", "step"), [(8, 1.0), (16, 2.0), (20, 3.3)])
@pytest.mark.parametrize("seed", [1, 2])
def test_simulated_nuclei_in_stacks(diameter: int, step: float, seed: int) -> None:
    shape = (int(4 * diameter / step), 8 * diameter, 8 * diameter)
    nuclei = simulated_nuclei(
        shape, n=40, diameter_px=diameter, spacing_um=(step, 1, 1), rng=seed, **CROWDED
    )
    assert f1(nuclei.labels, nuclei.image) >= 0.95, "spacing unknown"
    assert f1(nuclei.labels, nuclei.image, spacing_um=nuclei.spacing_um) >= 0.95


def test_uneven_light_and_specks() -> None:
    nuclei = simulated_nuclei(
        (252, 252), n=40, illumination_gradient=0.4, brightness_cv=0.4, n_debris=20, rng=3
    )
    assert f1(nuclei.labels, nuclei.image) >= 0.9


@pytest.mark.parametrize("case", ["tests_img2d tests_mask2d", "img3d mask3d"])
def test_real_nuclei_of_the_stardist_set(case: str, shared_data: Callable[[str], Path]) -> None:
    tifffile = pytest.importorskip("tifffile")
    image, truth = (
        tifffile.imread(shared_data(f"stardist-2d3d/{name}.tif")) for name in case.split()
    )
    assert f1(truth, image) >= 0.85


def test_a_dim_nucleus_beside_a_bright_one_keeps_its_size() -> None:
    y, x = np.mgrid[:80, :120]
    truth = np.zeros(y.shape, np.int32)
    truth[(y - 40) ** 2 + (x - 40) ** 2 <= 15**2] = 1
    truth[(y - 40) ** 2 + (x - 72) ** 2 <= 15**2] = 2
    light = ndimage.gaussian_filter(np.array([10.0, 400.0, 80.0])[truth], 1.5)
    image = np.random.default_rng(0).poisson(light)
    found = match_labels(truth, watershed_segmentation(image, diameter_px=30).labels)
    assert found.f1 == 1
    assert found.matched_iou.min() > 0.85


def test_a_large_convex_object_is_not_cut_and_a_waist_is() -> None:
    y, x = np.mgrid[:120, :160]
    light = np.full(y.shape, 10.0)
    light[((y - 60) / 40) ** 2 + ((x - 80) / 48) ** 2 <= 1] = 150
    image = np.random.default_rng(1).poisson(ndimage.gaussian_filter(light, 1.2))
    assert watershed_segmentation(image, diameter_px=45).n_objects == 1
    light = np.full(y.shape, 10.0)
    light[((y - 60) / 30) ** 2 + ((x - 50) / 30) ** 2 <= 1] = 150
    light[((y - 60) / 30) ** 2 + ((x - 108) / 30) ** 2 <= 1] = 150
    image = np.random.default_rng(1).poisson(ndimage.gaussian_filter(light, 1.2))
    assert watershed_segmentation(image, diameter_px=60).n_objects == 2


@pytest.mark.parametrize("shape", [(200, 200), (24, 96, 96)])
def test_noise_alone_has_no_objects(shape: tuple[int, ...]) -> None:
    for seed in range(3):
        noise = np.random.default_rng(seed).poisson(50, shape)
        found = watershed_segmentation(noise)
        assert found.n_objects == 0
        assert found.notes


def test_grey_scale_and_dtype_do_not_matter() -> None:
    image = simulated_nuclei((160, 160), n=20, rng=5).image
    labels = watershed_segmentation(image).labels
    assert labels.dtype == np.int32
    for same in (image.astype(np.float32), image.astype(">u2"), image.astype(np.float64)):
        same.flags.writeable = False
        assert (watershed_segmentation(same).labels == labels).all()
    assert match_labels(labels, watershed_segmentation(4.0 * image + 1000).labels).f1 == 1


@pytest.mark.parametrize("turn", [lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a.T])
def test_turning_the_image_turns_the_labels(turn: Callable[[np.ndarray], np.ndarray]) -> None:
    image = simulated_nuclei((160, 160), n=20, rng=6).image
    labels = watershed_segmentation(image).labels
    found = match_labels(turn(labels), watershed_segmentation(turn(image)).labels)
    assert found.f1 == 1
    assert found.mean_matched_iou > 0.97


def test_labels_are_numbered_without_gaps_and_facts_are_recorded() -> None:
    found = watershed_segmentation(simulated_nuclei((160, 160), n=20, rng=7).image)
    assert np.unique(found.labels).tolist() == list(range(21))
    assert found.facts["diameter_px"] == pytest.approx(18, rel=0.2)
    assert 110 < float(found.facts["threshold"] or 0) < 230
    assert found.facts["background"] == pytest.approx(110, abs=2)


def test_a_given_threshold_is_the_outline() -> None:
    image = simulated_nuclei((160, 160), n=20, touching_fraction=0, rng=8).image
    found = watershed_segmentation(image, threshold=150)
    assert found.facts["threshold"] == 150
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 0.06 * 18)
    agree = (found.labels > 0) == (smooth > 150)
    assert agree.mean() > 0.99


def test_the_threshold_is_taken_inside_the_mask() -> None:
    image = simulated_nuclei((160, 160), n=20, rng=9).image.astype(np.float32)
    image[:, 100:] += 4000
    mask = np.zeros(image.shape, bool)
    mask[:, :90] = True
    assert float(watershed_segmentation(image, mask=mask).facts["threshold"] or 0) < 400


def test_late_options_do_not_need_the_image_and_leave_the_response_alone() -> None:
    image = simulated_nuclei((160, 160), n=24, rng=10, **CROWDED).image
    method = backend("watershed")
    assert isinstance(method, Backend)
    options = SegmentationParameters()
    response = method.respond(
        image.astype(np.float32), options, spacing_um=None, mask=None, use_gpu=False
    )
    before = {k: v.copy() for k, v in response.arrays.items()}
    for array in response.arrays.values():
        array.flags.writeable = False
    few = method.label(response, SegmentationParameters(split_neck=0.1))
    none = method.label(response, SegmentationParameters(watershed_min_size=50))
    again = method.label(response, options)
    assert few.n_objects < again.n_objects
    assert none.n_objects == 0
    assert (again.labels == watershed_segmentation(image).labels).all()
    assert all((before[k] == v).all() for k, v in response.arrays.items())
    assert not method.early & method.late


def test_diameter_in_micrometres_needs_a_calibration() -> None:
    image = simulated_nuclei((128, 128), n=10, rng=0).image
    found = segment(image, diameter_um=9.0, spacing_um=(0.5, 0.5))
    assert found.facts["diameter_px"] == 18
    with pytest.raises(CalibrationError, match="diameter_um"):
        segment(image, diameter_um=9.0)


def test_segment_runs_the_whole_chain() -> None:
    nuclei = simulated_nuclei((160, 160), n=20, n_debris=5, rng=11)
    options = SegmentationParameters(method="otsu", prefilters=("gaussian",))
    found = segment(
        nuclei.image, options, postfilters=("min_size",), min_object_px=400, spacing_um=(1, 1)
    )
    sizes = np.bincount(found.labels.ravel())[1:]
    assert found.n_objects == len(sizes)
    assert sizes.min() >= 400
    with pytest.raises(InputError):
        segment(nuclei.image, method="no such method")
    with pytest.raises(InputError):
        segment(nuclei.image, spacing_um=(1, -1))
    with pytest.raises(AxisMismatchError):
        segment(nuclei.image, mask=np.ones((2, 2)))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 5)),
        np.zeros((1, 1)),
        np.ones((1, 7), np.uint8),
        np.full((30, 30), 5),
        np.full((30, 30), np.nan),
        np.zeros((3, 1, 1)),
        np.eye(4),
        np.arange(12.0).reshape(3, 4),
    ],
)
def test_nothing_found_is_a_result(image: np.ndarray) -> None:
    found = watershed_segmentation(image)
    assert found.labels.shape == image.shape
    assert found.n_objects == 0
    assert found.notes


def test_pixels_that_are_not_finite_are_dark_and_said() -> None:
    image = simulated_nuclei((160, 160), n=20, rng=12).image.astype(np.float64)
    labels = watershed_segmentation(image).labels
    image[labels == 3] = np.nan
    image[0, 0] = np.inf
    found = watershed_segmentation(image)
    assert found.n_objects == 19
    assert "not finite" in found.notes[0]


def test_what_cannot_be_segmented_is_refused() -> None:
    image = np.zeros((20, 20))
    with pytest.raises(InputError):
        watershed_segmentation(np.zeros(5))
    with pytest.raises(InputError):
        watershed_segmentation(np.zeros((5, 5), complex))
    with pytest.raises(InputError):
        watershed_segmentation(image, spacing_um=(1.0,))
    with pytest.raises(AxisMismatchError):
        watershed_segmentation(image, mask=np.ones((3, 3)))
    with pytest.raises(ValueError, match="split_tolerance"):
        watershed_segmentation(image, split_tolerance=2)


@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 30]))
def test_basins_are_those_of_walking_uphill(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    land = rng.integers(0, levels, (3, 5, 6)).astype(np.float32)
    land[rng.random(land.shape) < 0.2] = -np.inf
    labels, roots = basins(land)

    def summit(place: tuple[int, ...]) -> tuple[int, ...]:
        window = tuple(slice(max(p - 1, 0), p + 2) for p in place)
        near = [
            tuple(int(v) for v in np.add(at, [w.start for w in window]))
            for at in np.argwhere(np.isfinite(land[window]))
        ]
        best = max(near, key=lambda at: (land[at], [-v for v in at]))
        return place if best == place else summit(best)

    for place in np.ndindex(land.shape):
        if np.isinf(land[place]):
            assert labels[place] == 0
        else:
            at = np.ravel_multi_index(summit(place), land.shape)
            assert roots[labels[place] - 1] == at


@given(st.integers(0, 2**32 - 1))
def test_passes_and_contacts_by_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    land = rng.random((3, 4, 5)).astype(np.float32)
    labels = rng.integers(0, 4, land.shape).astype(np.int32)
    highest: dict[tuple[int, int], float] = {}
    faces: dict[tuple[int, int], list[int]] = {}
    places = list(np.ndindex(land.shape))
    for p in places:
        for q in places:
            step = np.abs(np.subtract(p, q))
            a, b = sorted((int(labels[p]), int(labels[q])))
            if p < q and step.max() == 1 and 0 < a < b:
                height = float(min(land[p], land[q]))
                highest[a, b] = max(highest.get((a, b), 0.0), height)
                if step.sum() == 1:
                    faces.setdefault((a, b), [0, 0, 0])[int(step.argmax())] += 1
    pairs, heights = saddles(land, labels)
    assert dict(zip(map(tuple, pairs.tolist()), heights.tolist(), strict=True)) == highest
    pairs, counts = contacts(labels)
    assert dict(zip(map(tuple, pairs.tolist()), counts.tolist(), strict=True)) == faces


def test_basins_unite_across_shallow_passes_only() -> None:
    pairs, heights = np.array([[1, 2], [2, 3]]), np.array([9.0, 4.0], np.float32)
    summits = np.array([0.0, 10.0, 9.5, 8.0])
    assert merged_by_pass(pairs, heights, summits, 0.1).tolist() == [0, 1, 1, 3]
    assert merged_by_pass(pairs, heights, summits, 0.01).tolist() == [0, 1, 2, 3]
    assert merged_by_pass(pairs, heights, summits, 0.6).tolist() == [0, 1, 1, 1]


def test_pieces_unite_across_broad_contacts_the_broadest_first() -> None:
    # Two halves of a disc of radius 10, and a disc that touches the second half at a neck.
    half, disc = np.pi * 50, np.pi * 100
    pairs, contact = np.array([[1, 2], [2, 3]]), np.array([20.0, 9.0])
    volumes = np.array([0.0, half, half, disc])
    assert merged_by_neck(pairs, contact, volumes, 0.9, 2).tolist() == [0, 1, 1, 3]
    assert merged_by_neck(pairs, contact, volumes, 1.5, 2).tolist() == [0, 1, 2, 3]
    assert merged_by_neck(pairs, contact, volumes, 0.2, 2).tolist() == [0, 1, 1, 1]
