"""Sizes of regions against plain counting."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import AxisMismatchError
from aequorea.measure.assignment import region_extents
from aequorea.measure.label_index import LabelIndex


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_extents_are_those_counted_plainly(flat: bool, masked: bool) -> None:
    rng = np.random.default_rng(3)
    depth = 4
    regions = rng.choice([0, 3, 50_000, 7], size=(1 if flat else depth, 12, 15))
    inside = rng.random((depth, 12, 15)) < 0.2 if masked else np.ones((depth, 12, 15), bool)
    found = region_extents(LabelIndex.of(regions), depth, inside if masked else None)
    for k, name in enumerate((3, 7, 50_000)):
        voxels = (regions == name) & inside
        plane = voxels.any(axis=0)
        assert found.n_pixels[k] == plane.sum()
        assert found.n_voxels[k] == voxels.sum()
        rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
        box = [rows[0], rows[-1] + 1, columns[0], columns[-1] + 1]
        assert found.box[k].tolist() == box


def test_a_region_with_nothing_inside_and_a_mask_that_does_not_fit() -> None:
    drawn = LabelIndex.of(np.ones((3, 3), int))
    empty = region_extents(drawn, 2, np.zeros((2, 3, 3), bool))
    assert (empty.n_pixels[0], empty.n_voxels[0], empty.box[0].tolist()) == (0, 0, [0, 0, 0, 0])
    with pytest.raises(AxisMismatchError, match="inside"):
        region_extents(drawn, 2, np.zeros((3, 3, 3), bool))
