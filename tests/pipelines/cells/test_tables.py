"""Tables of counted cells against plain counting, for labels and regions of any number."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from aequorea.measure.positivity import PositivityParameters
from aequorea.pipelines.cells import tables
from aequorea.pipelines.cells.tables import count_cells

LARGE = 2_000_000_000


@pytest.fixture
def field():
    rng = np.random.default_rng(1)
    cells = np.zeros((3, 40, 60), np.int32)
    markers = np.zeros_like(cells)
    for k, (y, x) in enumerate([(4, 4), (4, 20), (20, 4), (20, 40), (28, 50)], start=1):
        cells[:, y : y + 8, x : x + 8] = k
        markers[1, y + 2 : y + 8, x + 2 : x + 6] = k if k % 2 else 0
    regions = np.ones(cells.shape, np.int32)
    regions[:, :, 30:] = 2
    regions[0, :3] = 0
    regions[2, 35:] = 0
    cells[regions == 0] = markers[regions == 0] = 0
    image = rng.integers(0, 999, cells.shape).astype(np.uint16)
    return cells, markers, regions, image


def counted(cells, markers, regions, image):
    return count_cells(
        {"cell": cells, "marker": markers},
        {"cell": image, "marker": image},
        regions,
        spacing_um=(1.0, 0.5, 0.5),
        positivity={"marker": PositivityParameters()},
    )


def test_large_labels_give_the_tables_of_small_ones(field):
    cells, markers, regions, image = field
    plain = counted(*field)
    tracemalloc.start()
    moved = counted(
        cells, np.where(markers > 0, markers + LARGE, 0), np.where(regions > 0, regions + LARGE, 0),
        image,
    )  # fmt: skip
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    for name in ("overlaps", "cells", "overview"):
        small, large = getattr(plain, name).copy(), getattr(moved, name).copy()
        for column in ("roi_id", "marker_label", "best_marker_label"):
            if column in small:
                label = small[column]
                small[column] = label.where(~(label > 0), label + LARGE)
        pd.testing.assert_frame_equal(small, large, check_dtype=False)
    assert moved.overlaps["marker_voxels"].max() == 24


def test_sizes_of_regions_drawn_in_3d(field):
    cells, _, regions, _ = field
    overview = counted(*field).overview.set_index("roi_id")
    for k in (1, 2):
        inside = regions == k
        both = inside & (cells > 0)
        row = overview.loc[k]
        assert row["drawn_roi_area_px"] == inside.any(axis=0).sum()
        assert row["roi_volume_voxels"] == inside.sum()
        assert row["cell_occupancy_area_px_2d_projection"] == both.any(axis=0).sum()
        assert row["cell_occupancy_volume_voxels_3d"] == both.sum()
    rows = counted(*field).overlaps.groupby("roi_id")[["y_min", "y_max", "x_min", "x_max"]].first()
    assert rows.to_numpy().tolist() == [[0, 40, 0, 30], [0, 40, 30, 60]]


def test_the_voxels_of_a_cell_are_counted_twice_over(field, monkeypatch):
    right = counted(*field).cells
    assert (right["cell_voxels_delta"] == 0).all()

    def wrong(*args, measure=tables.measure_objects, **options):
        found = measure(*args, **options)
        return replace(found, n_voxels=found.n_voxels + 1)

    monkeypatch.setattr(tables, "measure_objects", wrong)
    cells = counted(*field).cells
    assert (cells["cell_voxels_delta"] == -1).all()
    assert (cells["cell_voxels"] == right["cell_voxels"]).all()
