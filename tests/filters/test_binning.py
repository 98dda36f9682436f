"""Coarse grids: means of blocks, and labels back on the fine grid."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import InputError
from aequorea.filters.binning import bins_for, mean_of_bins, unbinned_labels


def test_means_of_blocks_also_of_narrow_ones():
    image = np.random.default_rng(0).integers(0, 999, (5, 7, 9)).astype(np.uint16)
    bins = (2, 3, 4)
    coarse = mean_of_bins(image, bins)
    assert coarse.shape == (3, 3, 3)
    for k, j, i in np.ndindex(coarse.shape):
        block = image[k * 2 : k * 2 + 2, j * 3 : j * 3 + 3, i * 4 : i * 4 + 4]
        assert coarse[k, j, i] == pytest.approx(block.mean(), rel=1e-6)


def test_a_ball_comes_back_nearly_as_it_was():
    grid = np.meshgrid(*[np.arange(n) for n in (30, 60, 60)], indexing="ij")
    ball = (grid[0] - 15) ** 2 * 4 + (grid[1] - 30.5) ** 2 + (grid[2] - 29.5) ** 2 <= 22**2
    coarse = (mean_of_bins(ball.astype(np.uint8), (1, 3, 3)) > 0.5).astype(np.int32)
    back = unbinned_labels(coarse, (1, 3, 3), ball.shape) > 0
    assert (back & ball).sum() / (back | ball).sum() > 0.95
    assert back.sum() == pytest.approx(ball.sum(), rel=0.02)


def test_touching_labels_keep_their_border_in_the_middle():
    coarse = np.repeat(np.array([[[1, 1, 2, 2]]], np.int32), 4, axis=1)
    fine = unbinned_labels(coarse, (1, 2, 5), (1, 8, 20))
    assert (fine[0, 0] == [1] * 10 + [2] * 10).all()


def test_bins_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="bins"):
        mean_of_bins(np.zeros((2, 2, 2)), (1, 0, 1))


def test_bins_never_exceed_the_grid():
    assert bins_for((0.5, 0.0645, 0.0645), 0.25) == (1, 3, 3)
