"""Rows scanned back and forth are put in line before the motion is found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aequorea.errors import InputError
from aequorea.motion import MotionParameters, crispness, register
from aequorea.motion.line_phase import AlignedRows, align_rows, line_phase
from aequorea.simulate import simulated_twophoton


@pytest.fixture(scope="module")
def movie():
    return simulated_twophoton((80, 96, 96), photons=6, jitter_px=1.2, rng=5)


def out_of_line(movie, phase):
    """Light moves along odd rows before it is counted."""
    scene = np.stack([ndimage.gaussian_filter(f, 0.7) for f in movie.counts.astype(float)])
    scene[:, 1::2] = ndimage.shift(scene[:, 1::2], (0, 0, phase), order=3, mode="nearest")
    rng = np.random.default_rng(0)
    return (100 + 20 * rng.poisson(np.maximum(scene - 100, 0) / 20)).astype(np.uint16)


@pytest.mark.parametrize("phase", [0.0, 0.6, -1.4, 3.0])
def test_phase_of_noisy_frames(movie, phase):
    assert line_phase(out_of_line(movie, phase)) == pytest.approx(phase, abs=0.12)


def test_rows_come_back_in_line():
    x = np.arange(64.0)
    frame = np.tile(np.sin(x / 5), (1, 10, 1))
    frame[:, 1::2] = np.sin((x - 1.3) / 5)
    moved = align_rows(frame, 1.3)
    np.testing.assert_allclose(moved[0, 1, 4:-4], moved[0, 0, 4:-4], atol=2e-3)
    np.testing.assert_array_equal(moved[0, ::2], frame[0, ::2].astype(np.float32))


def test_a_movie_is_put_in_line_as_it_is_read():
    frames = np.random.default_rng(0).integers(0, 99, (6, 8, 20)).astype(np.uint8)
    lazy = AlignedRows(frames, -0.4)
    whole = align_rows(frames, -0.4)
    assert lazy.shape == (6, 8, 20)
    np.testing.assert_array_equal(lazy[1:5:2, 3:, 4], whole[1:5:2, 3:, 4])
    np.testing.assert_array_equal(lazy[-1], whole[-1])


def test_registration_takes_it_into_account(movie):
    shaken = out_of_line(movie, 2.0)
    given = MotionParameters(model="rigid", reference_frames=80, bidirectional=True)
    found = register(shaken, given)
    assert found.line_phase_px == pytest.approx(2.0, abs=0.1)
    error = found.shift_yx_px - movie.shift_yx_px
    error -= np.median(error, axis=0)
    assert np.sqrt((error**2).mean()) < 0.08
    plain = register(shaken, given.model_copy(update={"bidirectional": False}))
    sharp, blurred = (
        crispness(np.nanmean(m.undone(shaken, slice(None)), axis=0)[4:-4, 4:-4])
        for m in (found, plain)
    )
    assert sharp > 1.02 * blurred


def test_too_small_frames_are_refused():
    with pytest.raises(InputError, match="4 x 16"):
        line_phase(np.zeros((3, 2, 20)))


def test_frames_without_contrast_have_no_phase():
    assert line_phase(np.full((3, 8, 20), 7.0)) == 0
