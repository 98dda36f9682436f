"""Undoing motion: whole pixels exactly, fractions as smooth images demand, edges as asked."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aequorea.errors import AxisMismatchError, InputError
from aequorea.motion import undo_motion, undo_shifts


def smooth_image(shape=(40, 50), seed=0):
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3) * 100


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_whole_pixels_are_copied(dtype):
    frame = np.arange(30, dtype=dtype).reshape(1, 5, 6)
    moved = undo_shifts(frame, [[1, -2]])
    np.testing.assert_array_equal(moved[0, :4, 2:], frame[0, 1:, :4].astype(np.float32))
    assert np.isnan(moved[0, 4]).all()
    assert np.isnan(moved[0, :, :2]).all()


@pytest.mark.parametrize(("interpolation", "least"), [("cubic", 0.02), ("linear", 0.08)])
def test_fractions_of_a_pixel(interpolation, least):
    image = smooth_image()
    truth = ndimage.shift(image, (-0.4, 0.3), order=5, mode="mirror")
    moved = undo_shifts(image[None], [[0.4, -0.3]], interpolation=interpolation)[0]
    inner = (slice(4, -4), slice(4, -4))
    assert np.abs(moved - truth)[inner].max() < least * image.std()


def test_nearest_takes_whole_pixels():
    image = smooth_image()
    np.testing.assert_array_equal(
        undo_shifts(image[None], [[0.4, -1.6]], interpolation="nearest"),
        undo_shifts(image[None], [[0, -2]]),
    )


def test_edges():
    frame = np.arange(12.0).reshape(1, 3, 4)
    held = undo_shifts(frame, [[0, 2]], edges="nearest")[0]
    assert held[1].tolist() == [6, 7, 7, 7]
    assert np.isnan(undo_shifts(frame, [[0, 2]])[0, :, 2:]).all()
    assert np.isnan(undo_shifts(frame, [[np.nan, 0]])).all()
    assert np.isnan(undo_shifts(frame, [[50, 0]])).all()


@pytest.mark.parametrize("edges", ["nan", "nearest"])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.3, -2.7), (-3.0, 2.5)])
def test_a_field_that_is_the_same_everywhere_is_a_shift(shift, edges):
    image = smooth_image()[None]
    field = np.broadcast_to(np.array(shift), (1, 3, 4, 2))
    np.testing.assert_allclose(
        undo_motion(image, field, edges=edges),
        undo_shifts(image, [shift], edges=edges),
        atol=0.01 * image.std(),
    )


def test_a_field_is_linear_between_its_nodes():
    """Stretched along x: what was at x is at 1.1 x."""
    x = np.arange(50.0)
    frame = np.broadcast_to(np.sin(x / 6), (1, 20, 50))
    field = np.zeros((1, 2, 2, 2))
    field[:, :, 1, 1] = 0.1 * 49
    moved = undo_motion(frame, field)[0, 10]
    seen = x * 1.1 <= 49
    np.testing.assert_allclose(moved[seen][2:-2], np.sin(x * 1.1 / 6)[seen][2:-2], atol=2e-3)
    assert np.isnan(moved[~seen]).all()


def test_what_does_not_fit_is_refused():
    frames = np.zeros((2, 8, 8))
    with pytest.raises(AxisMismatchError, match="expected shape"):
        undo_shifts(frames, [[0, 0]])
    with pytest.raises(AxisMismatchError, match="expected shape"):
        undo_motion(frames, np.zeros((1, 2, 2, 2)))
    with pytest.raises(InputError, match="2 nodes"):
        undo_motion(frames, np.zeros((2, 1, 2, 2)))
    with pytest.raises(InputError, match="interpolation"):
        undo_shifts(frames, np.zeros((2, 2)), interpolation="fourier")
    with pytest.raises(InputError, match="edges"):
        undo_shifts(frames, np.zeros((2, 2)), edges="wrap")
