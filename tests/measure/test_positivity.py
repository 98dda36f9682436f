"""Rules of positivity against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aequorea.errors import AxisMismatchError, InputError
from aequorea.measure import (
    PositivityParameters,
    call_positive,
    measure_intensities,
    positivity_curve,
)


def scene(shape=(40, 44), seed=0):
    """Cells and markers of random sizes that overlap at random."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(1, 9, [-(-n // 8) for n in shape]) * 5
    markers = rng.integers(0, 30, [-(-n // 3) for n in shape]) * (
        rng.random([-(-n // 3) for n in shape]) < 0.4
    )
    for axis, n in enumerate(shape):
        cells = np.take(cells.repeat(8, axis), np.arange(n), axis)
        markers = np.take(markers.repeat(3, axis), np.arange(n), axis)
    cells[rng.random(shape) < 0.2] = 0
    return cells, markers


def test_many_small_markers_are_positive_together_and_not_alone():
    """Five objects of 8 px cover 40 of 100 px: the reference's code and its documents differ."""
    cells, markers = np.ones((10, 10), int), np.zeros((10, 10), int)
    for k in range(5):
        markers[2 * k, 1:9] = k + 1
    thresholds = {"min_overlap_px": 10, "overlap_fraction": 0.02}
    union = call_positive(cells, markers, PositivityParameters(rule="union", **thresholds))
    best = call_positive(cells, markers, PositivityParameters(rule="best", **thresholds))
    assert (union.positive.tolist(), best.positive.tolist()) == ([True], [False])
    assert union.union_overlap_voxels.tolist() == [40]
    assert (union.score[0], union.threshold[0], union.margin[0]) == (0.4, 0.1, 4.0)
    assert (best.score[0], best.best_overlap_voxels[0], best.n_overlapping[0]) == (0.08, 8, 5)
    assert best.best_marker_label[0] == 1  # the smaller label of equals


@pytest.mark.parametrize("shape", [(40, 44), (6, 24, 26)])
@pytest.mark.parametrize("rule", ["union", "best"])
def test_overlap_rules_agree_with_loops(rule, shape):
    cells, markers = scene(shape)
    options = PositivityParameters(rule=rule, min_overlap_px=12, overlap_fraction=0.05)
    calls = call_positive(cells, markers, options)
    for k, label in enumerate(np.unique(cells[cells > 0])):
        inside = markers[cells == label]
        per_marker = np.bincount(inside)
        per_marker[0] = 0
        shared = (inside > 0).sum() if rule == "union" else per_marker.max()
        assert calls.label[k] == label
        assert calls.n_overlapping[k] == np.count_nonzero(per_marker)
        assert calls.best_marker_label[k] == np.argmax(per_marker)
        assert calls.best_overlap_voxels[k] == per_marker.max()
        assert calls.best_overlap_fraction[k] == per_marker.max() / inside.size
        assert calls.union_overlap_voxels[k] == (inside > 0).sum()
        assert calls.union_fraction[k] == (inside > 0).mean()
        assert calls.positive[k] == (shared >= 12 and shared / inside.size >= 0.05)
        assert calls.positive[k] == (calls.margin[k] >= 1)
    assert calls.n_positive == calls.positive.sum()


def test_thresholds_are_inclusive_and_no_overlap_is_never_positive():
    cells = np.repeat([[1, 2]], 10, axis=1)
    markers = np.zeros_like(cells)
    markers[0, :2] = 4
    exact = PositivityParameters(min_overlap_px=2, overlap_fraction=0.2)
    assert call_positive(cells, markers, exact).positive.tolist() == [True, False]
    more = PositivityParameters(min_overlap_px=3, overlap_fraction=0.2)
    assert not call_positive(cells, markers, more).positive.any()
    nothing = PositivityParameters(min_overlap_px=0, overlap_fraction=0.0)
    calls = call_positive(cells, markers, nothing)
    assert calls.positive.tolist() == [True, False]
    assert np.isnan(calls.margin).all()


def test_count_and_centroid():
    cells = np.zeros((9, 20), int)
    cells[:, :10], cells[:, 10:] = 1, 2
    markers = np.zeros_like(cells)
    markers[1, 8:11] = 1  # two thirds in cell 1
    markers[3, 9:11] = 2  # half in each
    markers[5, 8:14] = 3  # a third in cell 1
    markers[7, 2:4] = 4
    mostly = call_positive(cells, markers, PositivityParameters(rule="count", min_count=3))
    assert mostly.score.tolist() == [3, 2]
    assert mostly.positive.tolist() == [True, False]
    wholly = PositivityParameters(rule="count", min_object_fraction=1.0)
    assert call_positive(cells, markers, wholly).score.tolist() == [1, 0]
    centre = call_positive(cells, markers, PositivityParameters(rule="centroid"))
    assert centre.score.tolist() == [3, 1]
    ring = np.ones((5, 5), int)
    ring[1:4, 1:4] = 0
    inner = 1 - ring
    outside = call_positive(inner, ring, PositivityParameters(rule="centroid"))
    assert outside.score.tolist() == [0]  # the centre of a ring is on the ring


@pytest.mark.parametrize("shape", [(40, 44), (6, 24, 26)])
def test_contact_agrees_with_morphology(shape):
    cells, markers = scene(shape, 1)
    calls = call_positive(cells, markers, PositivityParameters(rule="contact"))
    near = ndimage.binary_dilation(markers > 0, np.ones((3,) * len(shape)))
    cross = ndimage.generate_binary_structure(len(shape), 1)
    for k, label in enumerate(calls.label):
        own = cells == label
        surface = own & ~ndimage.binary_erosion(own, cross, border_value=1)
        assert calls.score[k] == (surface & near).sum() / surface.sum()
    np.testing.assert_array_equal(calls.positive, calls.score >= 0.1)


def test_contact_of_a_cell_without_surface_is_not_known():
    calls = call_positive([[1, 1]], [[3, 0]], PositivityParameters(rule="contact"))
    assert np.isnan(calls.score[0])
    assert not calls.positive[0]


def bright_cells(n, means, seed=0):
    rng = np.random.default_rng(seed)
    cells = np.arange(1, n + 1).repeat(9).reshape(n, 9)
    level = np.exp(rng.normal(np.log(np.resize(means, n)), 0.2))
    return cells, level[:, None] * rng.uniform(0.9, 1.1, (n, 9)), np.resize(means, n)


def test_intensity_finds_two_groups():
    cells, image, means = bright_cells(60, [100.0, 900.0, 100.0])
    rule = PositivityParameters(rule="intensity")
    calls = call_positive(cells, np.zeros_like(cells), rule, marker_intensity=image)
    np.testing.assert_array_equal(calls.positive, means > 500)
    assert 150 < calls.threshold[0] < 700
    assert "automatic" in calls.notes[0]
    assert len(calls.notes) == 1
    fixed = PositivityParameters(rule="intensity", intensity_threshold=float(calls.score[3]))
    again = call_positive(cells, np.zeros_like(cells), fixed, marker_intensity=image)
    np.testing.assert_array_equal(again.positive, calls.score >= calls.score[3])
    assert again.notes == ()


def test_one_group_is_told():
    cells, image, _ = bright_cells(400, [100.0])
    rule = PositivityParameters(rule="intensity")
    calls = call_positive(cells, np.zeros_like(cells), rule, marker_intensity=image)
    assert "hardly form" in calls.notes[1]


def test_otsu_over_cells_divides_where_the_variance_between_is_largest():
    cells, image, _ = bright_cells(25, [50.0, 80.0, 300.0], seed=3)
    rule = PositivityParameters(rule="intensity", intensity_measure="median")
    calls = call_positive(cells, cells * 0, rule, marker_intensity=image)
    level = np.sort(np.log(measure_intensities(cells, image).median))
    between = [k * (25 - k) * (level[:k].mean() - level[k:].mean()) ** 2 for k in range(1, 25)]
    assert calls.n_positive == 25 - 1 - int(np.argmax(between))


@pytest.mark.parametrize("image", [np.full((2, 3), 7.0), np.zeros((2, 3)), -np.ones((2, 3))])
def test_no_automatic_threshold_in_equal_cells(image):
    cells = np.array([[1, 1, 1], [2, 2, 2]])
    rule = PositivityParameters(rule="intensity")
    calls = call_positive(cells, cells * 0, rule, marker_intensity=image)
    assert not calls.positive.any()
    assert np.isnan(calls.threshold).all()
    assert "no automatic" in calls.notes[0]


def test_cells_are_judged_by_the_part_in_their_region():
    cells = np.array([[1, 1, 1, 2, 2, 2, 3, 3]])
    regions = np.array([[5, 5, 0, 6, 6, 6, 0, 0]])
    markers = np.array([[0, 0, 8, 8, 0, 0, 8, 8]])
    options = PositivityParameters(min_overlap_px=1)
    calls = call_positive(cells, markers, options, regions=regions)
    assert calls.label.tolist() == [1, 2]
    assert calls.region.tolist() == [5, 6]
    assert calls.n_voxels.tolist() == [2, 3]
    assert calls.positive.tolist() == [False, True]


@pytest.mark.parametrize("rule", ["union", "best"])
def test_curves_are_what_calling_again_gives(rule):
    cells, markers = scene(seed=2)
    options = PositivityParameters(rule=rule, min_overlap_px=8, overlap_fraction=0.1)
    calls = call_positive(cells, markers, options)
    for vary, grid in (
        ("overlap_fraction", np.linspace(0, 1, 41)),
        ("min_overlap_px", np.arange(0, 60)),
    ):
        curve = positivity_curve(calls, vary=vary, thresholds=grid)
        for value, n in zip(grid.tolist(), curve.n_positive, strict=True):
            changed = PositivityParameters(**{**options.model_dump(), vary: value})
            assert call_positive(cells, markers, changed).n_positive == n
        assert curve.chosen == getattr(options, vary)
        assert curve.n_cells == len(calls)
    steps = positivity_curve(calls)
    assert (np.diff(steps.n_positive) < 0).all()


def test_curve_of_other_rules():
    cells, markers = scene(seed=2)
    calls = call_positive(cells, markers, PositivityParameters(rule="contact"))
    curve = positivity_curve(calls, thresholds=[0.9, 0.1])
    assert curve.threshold.tolist() == [0.1, 0.9]
    assert curve.n_positive[0] == calls.n_positive
    with pytest.raises(InputError, match="expected score"):
        positivity_curve(calls, vary="overlap_fraction")
    with pytest.raises(InputError, match="NaN"):
        positivity_curve(calls, thresholds=[np.nan])


@pytest.mark.parametrize("rule", ["union", "best", "count", "centroid", "contact", "intensity"])
def test_no_cells_and_no_markers(rule):
    nothing, something = np.zeros((3, 4), int), np.ones((3, 4), int)
    something[0] = 0
    options = PositivityParameters(rule=rule)
    image = np.ones((3, 4))
    assert len(call_positive(nothing, something, options, marker_intensity=image)) == 0
    calls = call_positive(something, nothing, options, marker_intensity=image)
    assert not calls.positive.any()
    assert calls.best_marker_label.tolist() == [0]
    assert {len(values) for values in calls.columns().values()} == {1}
    assert positivity_curve(calls, thresholds=[5.0]).n_positive.tolist() == [0]


def test_bad_input():
    ones = np.ones((3, 3), int)
    with pytest.raises(AxisMismatchError, match="labels_b"):
        call_positive(ones, np.ones((3, 4), int))
    with pytest.raises(InputError, match="marker_intensity"):
        call_positive(ones, ones, PositivityParameters(rule="intensity"))
    with pytest.raises(ValueError, match="rule 'intensity'"):
        PositivityParameters(rule="union", intensity_threshold=3.0)
    with pytest.raises(ValueError, match="overlap_fraction"):
        PositivityParameters(overlap_fraction=1.5)
