"""Counting rules: each object once, whatever its size."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage import measure

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.measure import abercrombie, in_counting_frame, in_disector, mean_height_um

EXCLUSIONS = ("bottom-left", "bottom-right", "top-left", "top-right")


@pytest.mark.parametrize("exclusion", EXCLUSIONS)
@pytest.mark.parametrize("shape", [(48, 60), (3, 48, 60)])
def test_frames_that_tile_an_image_count_every_object_once(shape, exclusion):
    rng = np.random.default_rng(5)
    labels = measure.label(ndimage.gaussian_filter(rng.normal(size=shape), 1.5) > 0.01)
    counted = np.zeros(labels.max(), int)
    for y in range(0, 48, 12):
        for x in range(0, 60, 15):
            frame = ((y, y + 12), (x, x + 15))
            counted += in_counting_frame(labels, frame, exclusion=exclusion)
    assert counted.tolist() == [1] * labels.max()


@given(arrays(np.uint8, (9, 9), elements=st.integers(0, 3)), st.sampled_from(EXCLUSIONS))
def test_any_objects_in_any_pieces(labels, exclusion):
    counted = sum(
        in_counting_frame(labels, ((y, y + 3), (x, x + 3)), exclusion=exclusion).astype(int)
        for y in (0, 3, 6)
        for x in (0, 3, 6)
    )
    assert (np.asarray(counted) == 1).all()


def test_edges_by_hand():
    frame = ((4, 10), (4, 10))
    cases = {
        (6, 6, 6, 6): True,  # inside
        (0, 0, 2, 2): False,  # outside
        (6, 3, 6, 5): False,  # over the left edge
        (6, 8, 6, 12): True,  # over the right edge
        (2, 6, 5, 6): True,  # over the top
        (8, 6, 11, 6): False,  # over the bottom
        (2, 3, 5, 5): False,  # over the top left corner, across the edge's continuation
        (2, 8, 5, 11): True,  # over the top right corner
        (8, 8, 11, 11): False,  # over the bottom right corner
    }
    for (y0, x0, y1, x1), expected in cases.items():
        labels = np.zeros((14, 14), int)
        labels[y0 : y1 + 1, x0 : x1 + 1] = 1
        assert in_counting_frame(labels, frame).tolist() == [expected], (y0, x0, y1, x1)
        mirrored = in_counting_frame(labels[:, ::-1], frame, exclusion="bottom-right")
        assert mirrored.tolist() == [expected]
        turned = in_counting_frame(labels[::-1, ::-1], frame, exclusion="top-right")
        assert turned.tolist() == [expected]


def test_frames_that_cannot_be():
    labels = np.ones((10, 10), int)
    with pytest.raises(InputError, match="give one"):
        in_counting_frame(labels)
    with pytest.raises(InputError, match="give one"):
        in_counting_frame(labels, ((0, 5), (0, 5)), guard_px=1)
    for bad in (((0, 11), (0, 5)), ((5, 5), (0, 5)), ((-1, 5), (0, 5))):
        with pytest.raises(InputError, match="within 10 × 10"):
            in_counting_frame(labels, bad)
    with pytest.raises(InputError, match="whole pixels"):
        in_counting_frame(labels, ((0, 5.5), (0, 5)))
    with pytest.raises(InputError, match="guard"):
        in_counting_frame(labels, guard_px=5)
    with pytest.raises(InputError, match="at least 0"):
        in_counting_frame(labels, guard_px=-1)
    with pytest.raises(InputError, match="exclusion"):
        in_counting_frame(labels, guard_px=1, exclusion="left")
    assert in_counting_frame(np.zeros((10, 10), int), guard_px=1).shape == (0,)


@pytest.mark.parametrize("lookup", ["above", "below"])
def test_disectors_through_the_depth_count_every_object_once(lookup):
    rng = np.random.default_rng(2)
    stack = ndimage.gaussian_filter(rng.normal(size=(24, 30, 30)), 1.5) > 0.03
    labels = measure.label(stack)
    bounds = (1, 6, 7, 15, 24) if lookup == "above" else (0, 6, 7, 15, 23)
    counted = sum(in_disector(labels, a, b, lookup=lookup).astype(int) for a, b in pairwise(bounds))
    cut = np.unique(labels[0 if lookup == "above" else -1])
    whole = ~np.isin(np.arange(1, labels.max() + 1), cut)
    np.testing.assert_array_equal(counted, whole.astype(int))
    np.testing.assert_array_equal(in_disector(labels, lookup=lookup), whole)


def test_disectors_need_a_stack_and_a_look_up_plane():
    labels = np.ones((5, 4, 4), int)
    for first, end, lookup in ((0, 3, "above"), (1, 6, "above"), (3, 3, "above"), (0, 5, "below")):
        with pytest.raises(InputError, match="look-up plane"):
            in_disector(labels, first, end, lookup=lookup)
    with pytest.raises(InputError, match="lookup"):
        in_disector(labels, lookup="left")
    with pytest.raises(AxisMismatchError, match="stack"):
        in_disector(labels[0])


def balls_in_depth(rng, n, depth, radii):
    """First and last plane of balls whose centres are uniform over a great depth."""
    radius = rng.choice(radii, n)
    centre = rng.uniform(-20, depth + 20, n)
    return np.ceil(centre - radius), np.floor(centre + radius)


def test_abercrombie_recovers_the_number_of_centres():
    rng = np.random.default_rng(3)
    first, last = balls_in_depth(rng, 40_000, 12, [3, 5])
    seen = (last >= 0) & (first < 12)
    height = (last - first + 1).mean()
    estimate = abercrombie(seen.sum(), section_um=12.0, mean_height_um=height - 1)
    # 40 000 centres over 52 planes.
    assert estimate == pytest.approx(40_000 * 12 / 52, rel=0.03)


def test_mean_height_is_not_biased_towards_low_objects():
    rng = np.random.default_rng(4)
    first, last = balls_in_depth(rng, 4000, 16, [2, 5])
    labels = np.zeros((16, 64, 64), int)
    columns = labels.reshape(16, -1)
    for k, (low, high) in enumerate(zip(first.astype(int), last.astype(int), strict=True)):
        columns[max(low, 0) : max(high + 1, 0), k] = k + 1
    truth = (last - first + 1).mean()
    whole = (first > 0) & (last < 15)
    assert (last - first + 1)[whole].mean() < truth - 0.5
    assert mean_height_um(labels, plane_distance_um=0.5) == pytest.approx(truth * 0.5, rel=0.03)


def test_mean_height_where_nothing_is_whole():
    assert np.isnan(mean_height_um(np.ones((3, 2, 2), int), plane_distance_um=1.0))
    assert np.isnan(mean_height_um(np.zeros((3, 2, 2), int), plane_distance_um=1.0))
    with pytest.raises(CalibrationError, match="plane_distance_um"):
        mean_height_um(np.ones((3, 2, 2), int), plane_distance_um=0.0)


@pytest.mark.parametrize("bad", [(-1, 1, 1), (1, 0, 1), (1, 1, -1), (np.nan, 1, 1), (1, np.inf, 1)])
def test_abercrombie_refuses(bad):
    n, section, height = bad
    with pytest.raises(InputError, match="above 0"):
        abercrombie(n, section_um=section, mean_height_um=height)


@pytest.mark.parametrize("exclusion", EXCLUSIONS)
def test_without_a_guard_the_edges_of_the_image_are_the_forbidden_line(exclusion):
    labels = np.zeros((12, 12), int)
    for k, (y, x) in enumerate([(0, 5), (10, 5), (5, 0), (5, 10), (5, 5)], start=1):
        labels[y : y + 2, x : x + 2] = k
    touches = {"top": 1, "bottom": 2, "left": 3, "right": 4}
    dropped = {touches[side] for side in exclusion.split("-")}
    counted = in_counting_frame(labels, guard_px=0, exclusion=exclusion)
    assert counted.tolist() == [k not in dropped for k in range(1, 6)]


def test_a_guard_may_differ_along_y_and_x():
    labels = np.zeros((20, 20), int)
    labels[3:6, 8:12] = 1
    labels[8:12, 3:6] = 2
    labels[8:12, 14:17] = 3
    assert in_counting_frame(labels, guard_px=(1, 4)).tolist() == [True, False, True]
    with pytest.raises(InputError, match="at least 0"):
        in_counting_frame(labels, guard_px=(1, -1))
