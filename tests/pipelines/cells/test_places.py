"""Reference areas of counting rules, and where in the file cells lie."""

import numpy as np
import pandas as pd
import pytest

from aequorea.pipelines.cells.parameters import CountingParameters
from aequorea.pipelines.cells.places import with_places
from aequorea.pipelines.cells.unbiased import (
    add_counts,
    counted_cells,
    with_fractions,
    with_reference,
)

FRAME = CountingParameters(counting="frame", frame_guard_um=2.0)


def overview(*regions):
    return pd.DataFrame({"roi_id": list(regions)})


def test_a_frame_refers_to_the_part_of_each_region_inside_it():
    regions = np.zeros((20, 30), int)
    regions[:, :10], regions[:, 20:] = 4, 9
    found = with_reference(overview(4, 9), regions, (1, 20, 30), FRAME, (None, 1.0, 0.5))
    # guards of 2 px along y and 4 px along x: rows 2 to 18, columns 4 to 26
    assert found["counting_area_um2"].tolist() == [16 * 6 * 0.5, 16 * 6 * 0.5]
    assert found["counting_volume_um3"].isna().all()


def test_without_a_guard_the_forbidden_edges_are_no_part_of_the_frame():
    options = CountingParameters(counting="frame")
    found = with_reference(overview(1), np.ones((20, 30), int), (5, 20, 30), options, (2, 1, 1))
    assert found["counting_area_um2"].item() == 19 * 29
    assert found["counting_volume_um3"].item() == 5 * 2 * 19 * 29


def test_a_disector_refers_to_the_planes_it_counts():
    options = CountingParameters(counting="disector", frame_guard_um=1.0)
    regions = np.ones((6, 10, 10), int)
    regions[3:] = 0
    found = with_reference(overview(1), regions, (6, 10, 10), options, (0.5, 1.0, 1.0))
    assert found["counting_area_um2"].item() == 64
    assert found["counting_volume_um3"].item() == 2 * 0.5 * 64  # planes 1 and 2, of 1 to 5


@pytest.mark.parametrize("spacing", [(None, None, None), (1.0, 1.0, 1.0)])
def test_other_rules_and_unknown_pixel_sizes_have_no_reference(spacing):
    options = FRAME if spacing[1] else CountingParameters(counting="frame")
    for o in (CountingParameters(), CountingParameters(counting="abercrombie"), options):
        if o is options and spacing[1]:
            continue
        found = with_reference(overview(1), np.ones((9, 9), int), (3, 9, 9), o, spacing)
        assert found[["counting_area_um2", "counting_volume_um3"]].isna().all(axis=None)


def test_a_region_outside_the_frame_has_no_area():
    regions = np.ones((20, 20), int)
    regions[:2] = 2
    found = with_reference(overview(1, 2), regions, (1, 20, 20), FRAME, (None, 1.0, 1.0))
    assert found["counting_area_um2"].tolist() == [16 * 16, 0.0]


def test_the_counted_fraction_is_that_of_the_cells_that_count():
    labels = np.zeros((1, 20, 20), int)
    labels[0, 0:3, 0:3], labels[0, 8:11, 8:11], labels[0, 8:11, 17:20] = 1, 2, 3
    options = CountingParameters(counting="frame")
    cells = pd.DataFrame({"roi_id": 1, "cell_label": [1, 2, 3]})
    cells["marker_positive"] = [True, True, False]
    cells["counted"] = counted_cells(labels, options, (1.0, 1.0, 1.0))
    assert cells["counted"].tolist() == [False, True, True]
    table = add_counts(overview(1, 2), cells, labels, options, (1.0, 1.0, 1.0))
    found = with_fractions(table, ["marker"])["marker_positive_fraction_counted"]
    assert found[0] == 0.5
    assert np.isnan(found[1])


def test_cells_in_the_first_or_last_plane_may_be_cut():
    labels = np.zeros((4, 3, 8), int)
    labels[0:2, 1, 1], labels[1:3, 1, 3], labels[3, 1, 5] = 1, 2, 5
    table = pd.DataFrame({"cell_label": [1, 2, 5], "centroid_z": [0.5, 1.5, 3.0]})
    found = with_places(table, labels, "cell_label", first_plane=7)
    assert found["touches_z_border"].tolist() == [True, False, True]
    assert found["centroid_z_in_file"].tolist() == [7.5, 8.5, 10.0]
    assert "touches_z_border" not in table


def test_a_plane_has_no_ends_and_a_projection_no_plane():
    table = pd.DataFrame({"cell_label": [1], "centroid_z": [0.0]})
    found = with_places(table, np.ones((1, 2, 2), int), "cell_label", first_plane=None)
    assert found["touches_z_border"].tolist() == [False]
    assert found["centroid_z_in_file"].isna().all()
    empty = with_places(table[:0], np.zeros((3, 2, 2), int), "cell_label", first_plane=0)
    assert len(empty) == 0
