"""Nuclei and cells of simulated stacks, in micrometres."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import ndimage

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.filters import repair_hot_pixels
from aequorea.segmentation.compartments import (
    cell_of_each_nucleus,
    cytosol_of,
    membrane_of,
    segment_bodies,
    segment_nuclei,
)
from aequorea.segmentation.matching import match_labels
from aequorea.simulate import simulated_confocal

SPACING = (0.3, 0.1, 0.1)


@pytest.fixture(scope="module")
def stack():
    return simulated_confocal((24, 224, 224), n_cells=3, n_hot_pixels=6, rng=11)


@pytest.fixture(scope="module")
def nuclei(stack):
    return segment_nuclei(repair_hot_pixels(stack.images["nuclei"])[0], spacing_um=SPACING)


def test_nuclei_are_found_with_their_volumes(stack, nuclei):
    matching = match_labels(stack.nuclei, nuclei.labels, 0.8)
    assert (matching.n_true, matching.n_predicted, matching.f1) == (3, 3, 1.0)
    assert (nuclei.labels > 0).sum() == pytest.approx((stack.nuclei > 0).sum(), rel=0.1)


def test_hot_pixels_change_nothing(stack):
    image = stack.images["nuclei"].copy()
    hot = tuple(stack.hot_pixels.T)
    image[hot] = np.median(image)
    clean = segment_nuclei(image, spacing_um=SPACING).labels > 0
    spoilt = segment_nuclei(repair_hot_pixels(stack.images["nuclei"])[0], spacing_um=SPACING)
    assert ((spoilt.labels > 0) != clean).sum() <= 1e-3 * clean.sum()


def test_cells_grow_around_their_nuclei(stack, nuclei):
    image = repair_hot_pixels(stack.images["cells"])[0]
    cells = segment_bodies(image, nuclei.labels, spacing_um=SPACING)
    assert match_labels(stack.cells, cells.labels, 0.85).f1 == 1.0
    here = nuclei.labels > 0
    assert np.array_equal(cells.labels[here], nuclei.labels[here])
    assert cell_of_each_nucleus(nuclei.labels, cells.labels).tolist() == [1, 2, 3]


@pytest.mark.parametrize(("diameter_um", "photons"), [(6.0, 25.0), (6.0, 8.0), (9.0, 25.0)])
def test_volumes_are_true_whatever_the_size_and_brightness(diameter_um, photons):
    stack = simulated_confocal(
        (20, 160, 160),
        n_cells=1,
        cell_diameter_um=diameter_um,
        nucleus_diameter_um=diameter_um / 2,
        body_photons=photons,
        nuclear_photons=2 * photons,
        rng=3,
    )
    nuclei = segment_nuclei(stack.images["nuclei"], spacing_um=SPACING).labels
    cells = segment_bodies(stack.images["cells"], stack.nuclei, spacing_um=SPACING).labels
    assert (nuclei > 0).sum() == pytest.approx((stack.nuclei > 0).sum(), rel=0.04)
    assert (cells > 0).sum() == pytest.approx((stack.cells > 0).sum(), rel=0.02)


def test_outlines_are_whole():
    stack = simulated_confocal(
        (20, 160, 160), n_cells=1, body_photons=3.0, nuclear_photons=8.0, rng=3
    )
    nuclei = segment_nuclei(stack.images["nuclei"], spacing_um=SPACING).labels
    cells = segment_bodies(stack.images["cells"], stack.nuclei, spacing_um=SPACING).labels
    for found, true in ((nuclei > 0, stack.nuclei > 0), (cells > 0, stack.cells > 0)):
        assert found.sum() == pytest.approx(true.sum(), rel=0.08)
        assert ndimage.label(found)[1] == 1
        assert ndimage.label(~found)[1] == 1


def test_two_touching_cells_part_at_the_dark_seam():
    image = np.full((10, 60, 120), 10.0)
    image[:, 10:50, 10:110] = 110
    image[:, :, 70:73] = np.minimum(image[:, :, 70:73], 40)
    seeds = np.zeros(image.shape, np.int32)
    seeds[3:7, 25:35, 30:40] = 1
    seeds[3:7, 25:35, 85:95] = 2
    cells = segment_bodies(image, seeds, spacing_um=(0.5, 0.25, 0.25), smooth_um=0.2).labels
    row = cells[5, 30]
    assert set(row[15:68]) == {1}
    assert set(row[76:105]) == {2}


def test_one_cell_per_image_whatever_the_nuclei(stack, nuclei):
    found = segment_bodies(stack.images["cells"], None, spacing_um=SPACING, one_cell=True)
    assert set(np.unique(found.labels)) == {0, 1}
    truth = stack.cells > 0
    assert ((found.labels > 0) & truth).sum() / ((found.labels > 0) | truth).sum() > 0.85


def test_pieces_without_a_nucleus_are_said(stack):
    two = np.where(stack.nuclei == 3, 0, stack.nuclei)
    dropped = segment_bodies(stack.images["cells"], two, spacing_um=SPACING)
    assert dropped.facts["n_without_nucleus"] == 1
    assert "1 bright pieces" in dropped.notes[0]
    assert set(np.unique(dropped.labels)) == {0, 1, 2}
    kept = segment_bodies(stack.images["cells"], two, spacing_um=SPACING, keep_without_nucleus=True)
    assert set(np.unique(kept.labels)) == {0, 1, 2, 3}


def test_cytosol_and_membrane(stack):
    cytosol = cytosol_of(stack.cells, stack.nuclei)
    assert not (cytosol[stack.nuclei > 0]).any()
    assert np.array_equal(cytosol > 0, (stack.cells > 0) & (stack.nuclei == 0))
    membrane = membrane_of(stack.cells)
    z, y, x = np.argwhere(membrane)[0]
    around = stack.cells[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2]
    assert (around != membrane[z, y, x]).any()
    assert 0 < (membrane > 0).sum() < 0.3 * (stack.cells > 0).sum()


@pytest.mark.parametrize("shape", [(7, 9, 8), (1, 6, 5), (4, 1, 7), (5, 1, 1)])
def test_a_membrane_is_where_a_face_lies_on_another_label(shape):
    cells = np.random.default_rng(2).integers(0, 3, shape).astype(np.uint8)
    expected = np.zeros_like(cells)
    for at in np.ndindex(shape):
        for axis in range(3):
            for step in (-1, 1):
                beside = list(at)
                beside[axis] += step
                if 0 <= beside[axis] < shape[axis] and cells[tuple(beside)] != cells[at]:
                    expected[at] = cells[at]
    membrane = membrane_of(cells)
    assert membrane.dtype == np.uint8
    assert np.array_equal(membrane, expected)
    assert membrane_of(cells.astype(np.int64)).dtype == np.int32


def test_labels_cost_no_second_image(stack):
    """At most the result and a few planes; bodies also what they are found on."""
    cells = stack.cells.astype(np.uint8)
    assert peak_bytes(lambda: membrane_of(cells)) < 1.5 * cells.size
    pixels, seeds = stack.images["cells"], stack.nuclei.astype(np.uint8)
    segment_bodies(pixels, seeds, spacing_um=SPACING)
    taken = peak_bytes(lambda: segment_bodies(pixels, seeds, spacing_um=SPACING))
    assert taken < 8 * cells.size


def peak_bytes(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_micrometres_decide_not_voxels(stack):
    """Every second pixel left out: the same nuclei, half the pixels across."""
    fine = segment_nuclei(stack.images["nuclei"], spacing_um=SPACING)
    coarse = segment_nuclei(stack.images["nuclei"][:, ::2, ::2], spacing_um=(0.3, 0.2, 0.2))
    sizes = [
        np.sort(np.bincount(f.labels.ravel())[1:]) * v for f, v in ((fine, 0.003), (coarse, 0.012))
    ]
    assert np.allclose(sizes[0], sizes[1], rtol=0.08)


def test_an_empty_image_has_no_nuclei():
    empty = np.random.default_rng(0).poisson(20, (8, 64, 64)).astype(np.uint16)
    found = segment_nuclei(empty, spacing_um=SPACING, diameter_um=4.0)
    assert found.labels.max() == 0
    cells = segment_bodies(empty, found.labels, spacing_um=SPACING)
    assert cells.labels.max() == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda i: segment_nuclei(i[0], spacing_um=SPACING), InputError, "stack"),
        (lambda i: segment_nuclei(i, spacing_um=(None, 0.1, 0.1)), CalibrationError, "along z"),
        (lambda i: segment_nuclei(i * np.nan, spacing_um=SPACING), InputError, "finite"),
        (lambda i: segment_bodies(i, None, spacing_um=SPACING), InputError, "nuclei"),
        (lambda i: segment_bodies(i, i[:2], spacing_um=SPACING), AxisMismatchError, "nuclei"),
        (lambda i: segment_bodies(i, i, spacing_um=SPACING, method="max"), InputError, "method"),
    ],
)
def test_what_cannot_be_used_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(np.zeros((4, 16, 16)))
