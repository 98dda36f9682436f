"""Counting rules at the edges of images and sections."""

import numpy as np
import pandas as pd
import pytest

from aequorea.errors import AequoreaWarning, CalibrationError, InputError
from aequorea.pipelines.cells.parameters import CountingParameters
from aequorea.pipelines.cells.unbiased import add_counts, check_counting, counted_cells

EVEN = (1.0, 1.0, 1.0)


def squares(shape, *corners, side=4):
    labels = np.zeros(shape, int)
    for k, (y, x) in enumerate(corners, start=1):
        labels[..., max(y, 0) : y + side, max(x, 0) : x + side] = k
    return labels


def test_a_frame_without_a_guard_drops_cells_at_the_left_and_lower_edge():
    labels = squares((1, 40, 40), (10, -1), (37, 20), (10, 38), (-1, 20), (10, 10), (38, -2))
    counted = counted_cells(labels, CountingParameters(counting="frame"), EVEN)
    assert counted.tolist() == [False, False, True, True, True, False]


def test_a_disector_without_a_guard_keeps_to_the_same_frame():
    labels = np.zeros((6, 20, 20), int)
    labels[2:4, 8:12, 0:4] = 1
    labels[2:4, 16:20, 8:12] = 2
    labels[2:4, 8:12, 16:20] = 3
    labels[0:2, 4:6, 8:12] = 4
    counted = counted_cells(labels, CountingParameters(counting="disector"), EVEN)
    assert counted.tolist() == [False, False, True, False]


def test_the_number_of_cells_in_a_frame_is_that_of_its_area():
    """Discs strewn over a plane much larger than the image: expected density is known."""
    rng = np.random.default_rng(0)
    n_counted = n_seen = 0
    yy, xx = np.ogrid[:60, :60]
    for _ in range(60):
        labels = np.zeros((1, 60, 60), int)
        for k, (y, x) in enumerate(rng.uniform(-20, 80, (30, 2)), start=1):
            labels[0][(yy - y) ** 2 + (xx - x) ** 2 <= 5**2] = k
        n_counted += counted_cells(labels, CountingParameters(counting="frame"), EVEN).sum()
        n_seen += len(np.unique(labels)) - 1
    expected = 60 * 30 * 59 * 59 / 100**2
    assert n_counted == pytest.approx(expected, rel=0.1)
    assert n_seen > 1.2 * expected


def test_a_guard_is_as_wide_along_x_as_along_y():
    options = CountingParameters(counting="frame", frame_guard_um=10.0)
    labels = squares((1, 60, 60), (20, 10), (20, 30))
    assert counted_cells(labels, options, (None, 2.0, 0.5)).tolist() == [False, True]


@pytest.mark.parametrize(
    ("shape", "options", "spacing", "error", "message"),
    [
        ((1, 40, 40), {"counting": "frame", "frame_guard_um": 20}, EVEN, InputError, "nothing of"),
        ((1, 40, 80), {"counting": "frame", "frame_guard_um": 15}, (1, 1, 0.3), InputError,
         "50 px along x"),
        ((1, 40, 40), {"counting": "frame", "frame_guard_um": 1}, (1, 1, None), CalibrationError,
         "pixel size"),
        ((1, 40, 40), {"counting": "disector"}, EVEN, InputError, "needs a stack"),
        ((5, 40, 40), {"counting": "disector", "disector_guard_um": 3}, EVEN, InputError, "planes"),
        ((1, 40, 40), {"counting": "abercrombie"}, EVEN, InputError, "single plane"),
        ((5, 40, 40), {"counting": "abercrombie"}, (None, 1, 1), CalibrationError, "planes"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_so_is_known_from_the_shape(shape, options, spacing, error, message):
    options = CountingParameters(**options)
    with pytest.raises(error, match=message):
        check_counting(shape, options, spacing)
    for counting in ("all", "frame"):
        check_counting((1, 4, 4), CountingParameters(counting=counting), (None, None, None))


def corrected(section_um):
    labels = np.zeros((10, 8, 8), int)
    labels[2:5, 1:3, 1:3] = 1
    cells = pd.DataFrame({"roi_id": [1], "counted": [True]})
    options = CountingParameters(counting="abercrombie", section_um=section_um)
    return add_counts(pd.DataFrame({"roi_id": [1]}), cells, labels, options, EVEN).iloc[0]


def test_a_section_thicker_than_what_was_imaged_is_doubted():
    assert corrected(None)["n_cells_counted"] == pytest.approx(10 / 13)
    assert corrected(8.0)["n_cells_counted"] == pytest.approx(8 / 11)
    with pytest.warns(AequoreaWarning, match=r"section_um 40 µm is more than the 10 µm"):
        corrected(40.0)
