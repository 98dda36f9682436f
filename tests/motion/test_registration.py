"""Motion of simulated movies is found as well as their light allows; where it is not, is told."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from aequorea.errors import InputError
from aequorea.motion import MotionParameters, register
from aequorea.motion.frames import Preparation, evenly_spread
from aequorea.motion.matched import MatchedFilter, spectra_of
from aequorea.simulate import simulated_twophoton

RIGID = MotionParameters(model="rigid", reference_frames=120)


@pytest.fixture(scope="module")
def rigid_movie():
    return simulated_twophoton((160, 96, 112), photons=4, jitter_px=1.5, drift_px=3, rng=1)


@pytest.fixture(scope="module")
def bent_movie():
    return simulated_twophoton((120, 128, 128), photons=6, jitter_px=1, elastic_px=1, rng=2)


def error_of(found, truth):
    error = found - truth
    return error - np.median(error, axis=0)


def field_at(field, points, shape):
    at = points * (np.array(field.shape[1:3]) - 1) / (np.array(shape) - 1)
    low = np.minimum(at.astype(int), np.array(field.shape[1:3]) - 2)
    part = at - low
    total = 0
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dy - part[:, 0]) * np.abs(1 - dx - part[:, 1])
            total = total + weight[:, None] * field[:, low[:, 0] + dy, low[:, 1] + dx]
    return total


def test_shifts_of_dim_frames(rigid_movie):
    """4 photons per pixel: a twentieth of a pixel, and as unsure as it says."""
    found = register(rigid_movie.counts, RIGID)
    error = error_of(found.shift_yx_px, rigid_movie.shift_yx_px)
    rms = np.sqrt((error**2).mean())
    assert rms < 0.05
    assert np.sqrt((error**2).mean()) == pytest.approx(found.error_px.mean(), rel=0.4)
    assert found.good.all()
    assert found.field_yx_px is None
    assert np.median(found.likeness) == pytest.approx(1, abs=0.1)


def test_motion_that_differs_from_place_to_place(bent_movie):
    found = register(bent_movie.counts, MotionParameters(reference_frames=120))
    shape = bent_movie.counts.shape[1:]
    grid = np.stack(np.meshgrid(*(np.arange(12, n - 8, 20) for n in shape), indexing="ij"), -1)
    points = grid.reshape(-1, 2).astype(float)
    truth = bent_movie.displacement_at(points)
    error = error_of(field_at(found.field_yx_px, points, shape), truth)
    whole = error_of(found.shift_yx_px[:, None], truth)
    assert np.sqrt((whole**2).mean()) > 0.8
    assert np.sqrt((error**2).mean()) < 0.25


def test_undone_motion_sharpens_the_mean(bent_movie):
    found = register(bent_movie.counts, MotionParameters(reference_frames=120))
    still = np.nanmean(found.undone(bent_movie.counts, slice(None)), axis=0)
    moving = bent_movie.counts.mean(axis=0)
    crisp = [np.hypot(*np.gradient(image[8:-8, 8:-8])).mean() for image in (still, moving)]
    assert crisp[0] > 1.15 * crisp[1]


def test_a_movie_that_is_moved_as_a_whole_needs_no_field(rigid_movie):
    """Nonrigid registration of rigid motion is hardly worse than rigid registration."""
    found = register(rigid_movie.counts, MotionParameters(reference_frames=120))
    inner = found.field_yx_px - found.shift_yx_px[:, None, None]
    inner -= np.median(inner, axis=0)
    assert np.sqrt((inner**2).mean()) < 0.15


def test_workers_and_order_of_reading_change_nothing(rigid_movie):
    one = register(rigid_movie.counts, RIGID, workers=1)
    two = register(rigid_movie.counts, RIGID, workers=2)
    np.testing.assert_array_equal(one.shift_yx_px, two.shift_yx_px)


def test_brightness_that_changes_does_not_look_like_motion(rigid_movie):
    bleached = rigid_movie.counts - rigid_movie.zero
    bleached = bleached * np.linspace(1, 0.4, len(bleached))[:, None, None] + rigid_movie.zero
    found = register(bleached.astype(np.float32), RIGID)
    error = error_of(found.shift_yx_px, rigid_movie.shift_yx_px)
    assert np.sqrt((error**2).mean()) < 0.06


def with_glare(movie, counts):
    """A smooth glare, its photons and all, that does not move with the scene."""
    y, x = np.indices(movie.counts.shape[1:])
    light = counts / movie.gain * np.exp(-((y - 40) ** 2 + (x - 60) ** 2) / (2 * 25**2))
    photons = np.random.default_rng(0).poisson(np.broadcast_to(light, movie.counts.shape))
    return (movie.counts + photons * movie.gain).astype(np.uint16)


@pytest.mark.parametrize("model", ["rigid", "nonrigid"])
@pytest.mark.parametrize("cutoff", [None, 12.0])
def test_a_glare_of_30_photons_that_stays_where_it_is_is_passed_over(rigid_movie, model, cutoff):
    given = MotionParameters(model=model, reference_frames=120, highpass_px=cutoff)
    found = register(with_glare(rigid_movie, 600), given)
    error = error_of(found.shift_yx_px, rigid_movie.shift_yx_px)
    assert np.sqrt((error**2).mean()) < 0.08


def test_a_glare_that_drowns_the_scene_is_helped_by_the_highpass(rigid_movie):
    """150 photons of glare over 4 of the scene: most frames are lost without the filter."""
    movie = with_glare(rigid_movie, 3000)
    lost = {}
    for cutoff in (None, 12.0):
        found = register(movie, RIGID.model_copy(update={"highpass_px": cutoff}))
        lost[cutoff] = int((~found.good).sum())
    assert lost[12.0] < lost[None] / 3


def test_gain_that_is_given_is_not_used_when_nothing_is_to_be_stabilised(rigid_movie):
    from aequorea.motion.registration import find_reference

    given = RIGID.model_copy(update={"gain": 20.0, "zero": 100.0, "stabilise": False})
    assert not find_reference(rigid_movie.counts, given).preparation.stabilise


def test_frames_that_cannot_be_placed_are_marked(rigid_movie):
    movie = rigid_movie.counts.astype(np.float32)
    rng = np.random.default_rng(0)
    movie[20] = np.nan
    movie[21] = 500
    movie[40] = 100 + rng.poisson(4, movie[40].shape) * 20
    movie[60] = np.roll(movie[60], 30, axis=1)
    found = register(movie, RIGID, left_out=[80])
    assert [k for k, good in enumerate(found.good) if not good] == [20, 21, 40, 60, 80]
    assert {found.reason[k] for k in (20, 21)} <= {"nothing to be seen", "unlike the reference"}
    assert found.reason[80] == "left out as asked"
    assert np.isfinite(found.shift_yx_px).all()
    expected = (found.shift_yx_px[79] + found.shift_yx_px[81]) / 2
    np.testing.assert_allclose(found.shift_yx_px[80], expected)
    good = error_of(found.shift_yx_px, rigid_movie.shift_yx_px)[found.good]
    assert np.sqrt((good**2).mean()) < 0.05


def test_shifts_beyond_the_limit_are_marked(rigid_movie):
    movie = rigid_movie.counts.copy()
    movie[50] = np.roll(movie[50], 9, axis=0)
    limited = MotionParameters(model="rigid", reference_frames=120, max_shift_px=6)
    found = register(movie, limited)
    assert found.reason[50] in ("at the largest shift", "unlike the reference")


@pytest.mark.parametrize(
    ("movie", "told"),
    [
        (np.zeros((0, 32, 32), np.uint16), "2 frames with contrast"),
        (np.ones((1, 32, 32), np.uint16), "2 frames with contrast"),
        (np.full((30, 32, 32), 7, np.uint16), "2 frames with contrast"),
        (np.random.default_rng(0).poisson(5, (40, 64, 64)).astype(np.uint16), "nothing in common"),
        (np.full((30, 32, 32), np.nan, np.float32), "hold values that are no finite numbers"),
        (np.zeros((30, 8, 32), np.uint16), "16 x 16"),
        (np.zeros((30, 32), np.uint16), "16 x 16"),
    ],
)
def test_what_shows_nothing_is_refused(movie, told):
    with pytest.raises(InputError, match=told):
        register(movie, RIGID)


def test_left_out_frames_must_exist(rigid_movie):
    with pytest.raises(InputError, match="no frame 900"):
        register(rigid_movie.counts, RIGID, left_out=[900])


def test_the_correlation_of_a_periodic_image_is_exact():
    """A bandlimited image shifted by the Fourier theorem, without noise."""
    rng = np.random.default_rng(0)
    y, x = np.indices((48, 64))
    envelope = np.exp(-(((y - 24) / 7) ** 2) - ((x - 32) / 8) ** 2)
    image = (envelope * rng.normal(size=(48, 64))).astype(np.float32)
    spectrum = np.fft.fft2(image)
    keep = np.hypot(np.fft.fftfreq(48)[:, None], np.fft.fftfreq(64)[None]) < 0.3
    image = np.fft.ifft2(spectrum * keep).real.astype(np.float32)
    truth = np.array([[0.0, 0.0], [1.25, -2.4], [-3.7, 0.6]])
    frames = np.stack([
        np.fft.ifft2(np.fft.fft2(image) * np.exp(-2j * np.pi * (
            np.fft.fftfreq(48)[:, None] * sy + np.fft.fftfreq(64)[None] * sx))).real
        for sy, sx in truth
    ]).astype(np.float32)  # fmt: skip
    found = MatchedFilter(image, np.ones((48, 33)), (8, 8)).shifts(spectra_of(frames))
    np.testing.assert_allclose(found.yx_px, truth, atol=0.02)


def test_photons_are_known_from_a_movie_that_moves(rigid_movie):
    from aequorea.motion.registration import find_reference

    found = find_reference(rigid_movie.counts, RIGID).preparation
    assert found.stabilise
    assert found.gain == pytest.approx(rigid_movie.gain, rel=0.1)
    assert found.zero == pytest.approx(rigid_movie.zero, abs=5)


def test_binning_sums_whole_blocks():
    frames = np.arange(2 * 5 * 7, dtype=np.uint16).reshape(2, 5, 7)
    prepared = Preparation(bins=2, stabilise=False)(frames)
    blocks = frames[:, :4, :6].reshape(2, 2, 2, 3, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(
        prepared, blocks - blocks.mean(axis=(1, 2), keepdims=True), atol=1e-4
    )


def test_stabilised_noise_is_the_same_in_bright_and_dim_places():
    rng = np.random.default_rng(0)
    light = np.repeat([4.0, 60.0], 200)[None, None, :] * np.ones((50, 40, 1))
    counts = (100 + 20 * rng.poisson(light)).astype(np.uint16)
    prepared = Preparation(gain=20, zero=100)(counts)
    dim, bright = prepared[..., :200].std(axis=0).mean(), prepared[..., 200:].std(axis=0).mean()
    assert dim == pytest.approx(1, abs=0.1)
    assert bright == pytest.approx(1, abs=0.1)


def test_runs_are_spread_evenly_and_do_not_overlap():
    cuts = evenly_spread(1000, 100, 4)
    assert len(cuts) == 25
    assert cuts[0].start == 0
    assert cuts[-1].stop == 1000
    assert all(a.stop <= b.start for a, b in itertools.pairwise(cuts))
    assert [k for c in evenly_spread(7, 400, 4) for k in range(c.start, c.stop)] != []
