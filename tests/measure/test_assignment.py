"""Objects on the borders of regions: who owns them, and what is cut."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import AxisMismatchError
from aequorea.measure import assign_to_regions, clip_to_regions, touches_region_border


def test_most_voxels_decide_and_the_smaller_number_of_equals():
    regions = [[0, 0, 1, 1, 4, 4, 4, 0, 0, 0]]
    labels = [[8, 8, 8, 3, 3, 3, 0, 5, 5, 9]]
    owner = assign_to_regions(labels, regions)
    assert owner.label.tolist() == [3, 5, 8, 9]
    assert owner.region.tolist() == [4, 0, 0, 0]
    assert owner.n_voxels_inside.tolist() == [2, 2, 2, 1]
    tie = assign_to_regions([[1, 1, 2, 2]], [[0, 9, 9, 4]])
    assert tie.region.tolist() == [0, 4]


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_loops(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 30, (4, 16, 16)) * 3
    regions = rng.integers(0, 4, labels.shape if seed % 2 else labels.shape[1:]) * 2
    everywhere = np.broadcast_to(regions, labels.shape)
    owner = assign_to_regions(labels, regions)
    clipped = clip_to_regions(labels, regions, owner)
    for k, label in enumerate(owner.label):
        inside = np.bincount(everywhere[labels == label])
        assert owner.region[k] == np.argmax(inside)
        assert owner.n_voxels_inside[k] == inside.max()
        own = (labels == label) & (everywhere == owner.region[k]) & (owner.region[k] > 0)
        np.testing.assert_array_equal(clipped == label, own)
    assert (clipped[everywhere == 0] == 0).all()


def test_a_cell_in_the_box_but_not_in_the_polygon_is_not_counted():
    """The reference took overlaps in the bounding box of a region."""
    regions = np.zeros((20, 20), int)
    regions[np.tril_indices(20)] = 1
    regions[np.triu_indices(20, 4)] = 2
    labels = np.zeros((20, 20), np.uint16)
    labels[3:6, 12:15] = 7
    owner = assign_to_regions(labels, regions)
    assert owner.region.tolist() == [2]
    clipped = clip_to_regions(labels, regions, owner)
    assert clipped.dtype == np.uint16
    np.testing.assert_array_equal(clipped, labels)


def test_border_flags():
    regions = np.zeros((12, 12), int)
    regions[1:11, 1:11] = 1
    labels = np.zeros((12, 12), int)
    labels[4:6, 4:6] = 1  # well inside
    labels[1:3, 6:8] = 2  # inside, but next to outside
    labels[9:12, 4:6] = 3  # cut
    owner = assign_to_regions(labels, regions)
    assert touches_region_border(labels, regions, owner).tolist() == [False, True, True]
    clipped = clip_to_regions(labels, regions, owner)
    assert touches_region_border(clipped, regions, owner).tolist() == [False, True, True]
    whole = np.ones_like(regions)
    owner = assign_to_regions(labels, whole)
    assert touches_region_border(labels, whole, owner).tolist() == [False, False, True]


def test_borders_along_z_are_those_of_regions_drawn_in_3d():
    labels = np.zeros((4, 6, 6), int)
    labels[:2, 2:4, 2:4] = 1
    labels[1:3, 2:4, 4] = 2
    flat, solid = np.ones((6, 6), int), np.ones((4, 6, 6), int)
    for regions, expected in ((flat, [False, False]), (solid, [True, False])):
        owner = assign_to_regions(labels, regions)
        assert touches_region_border(labels, regions, owner).tolist() == expected
    solid[3] = 0
    owner = assign_to_regions(labels, solid)
    assert touches_region_border(labels, solid, owner).tolist() == [True, True]


def test_no_objects_and_no_regions():
    empty, some = np.zeros((3, 3), int), np.ones((3, 3), int)
    assert len(assign_to_regions(empty, some)) == 0
    owner = assign_to_regions(some, empty)
    assert owner.region.tolist() == [0]
    assert not clip_to_regions(some, empty, owner).any()
    assert not clip_to_regions(empty, some, assign_to_regions(empty, some)).any()


def test_owners_of_other_labels_are_refused():
    some = np.ones((3, 3), int)
    owner = assign_to_regions(some, some)
    with pytest.raises(AxisMismatchError, match="label 2"):
        clip_to_regions(some * 2, some, owner)
    with pytest.raises(AxisMismatchError, match="regions of the image"):
        clip_to_regions(some, some * 5, owner)
    with pytest.raises(AxisMismatchError, match="regions"):
        clip_to_regions(some, np.ones((2, 3), int), owner)
