"""Block scramble: the oracle permutes copies of the image and calls numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aequorea.colocalization.scramble import (
    costes_randomization,
    costes_randomization_steps,
    guided_block_size,
    scramble_example,
)
from aequorea.errors import AxisMismatchError, InputError


def pair(shape=(45, 50), seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    a = rng.random(shape) * 1000
    return a.astype(dtype), (0.3 * a + rng.random(shape) * 1000).astype(dtype)


def brute_force(a, b, mask, n_iter, sizes, seed):
    """Permute blocks by slicing, one at a time."""
    crop = tuple(slice(0, n - n % s) for n, s in zip(a.shape, sizes, strict=True))
    a, b = a[crop].astype(float), b[crop].astype(float)
    mask = np.ones(a.shape, bool) if mask is None else mask[crop]
    starts = [range(0, n, s) for n, s in zip(a.shape, sizes, strict=True)]
    corners = np.array(np.meshgrid(*starts, indexing="ij")).reshape(a.ndim, -1).T
    places = [
        tuple(slice(c, c + s) for c, s in zip(corner, sizes, strict=True)) for corner in corners
    ]
    rng = np.random.default_rng(seed)
    null = []
    for _ in range(n_iter):
        moved = np.empty_like(b)
        for target, source in zip(places, rng.permutation(len(places)), strict=True):
            moved[target] = b[places[source]]
        null.append(np.corrcoef(a[mask], moved[mask])[0, 1])
    return np.corrcoef(a[mask], b[mask])[0, 1], np.array(null)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("masked", [False, True])
def test_agrees_with_brute_force_2d(dtype, masked):
    a, b = pair(dtype=np.float64)
    a, b = (a / 8).astype(dtype), (b / 8).astype(dtype)
    mask = None
    if masked:
        mask = np.random.default_rng(1).random(a.shape) > 0.4
        mask[:16, :16] = True
    result = costes_randomization(a, b, mask, 25, 8, 3)
    observed, null = brute_force(a, b, mask, 25, (8, 8), 3)
    assert result["observed"] == pytest.approx(observed, abs=1e-12)
    np.testing.assert_allclose(result["null"], null, atol=1e-12)
    assert result["p_value"] == (np.sum(null >= observed) + 1) / 26
    assert result["z_score"] == pytest.approx((observed - null.mean()) / null.std(), rel=1e-9)


@pytest.mark.parametrize("masked", [False, True])
def test_agrees_with_brute_force_3d_and_blocks_per_axis(masked):
    a, b = pair((7, 20, 22))
    mask = np.random.default_rng(1).random(a.shape) > 0.4 if masked else None
    result = costes_randomization(a, b, mask, 10, (2, 4, 5), 9)
    observed, null = brute_force(a, b, mask, 10, (2, 4, 5), 9)
    assert result["observed"] == pytest.approx(observed, abs=1e-12)
    np.testing.assert_allclose(result["null"], null, atol=1e-12)


def test_large_offset_costs_no_accuracy():
    a, b = pair()
    plain = costes_randomization(a, b, n_iter=20, seed=0)["null"]
    raised = costes_randomization(a + 1e6, b + 1e6, n_iter=20, seed=0)["null"]
    np.testing.assert_allclose(raised, plain, atol=1e-9)


def test_does_not_depend_on_workers():
    a, b = pair()
    mask = np.random.default_rng(1).random(a.shape) > 0.4
    one = costes_randomization(a, b, mask, n_iter=33, seed=5, workers=1)["null"]
    three = costes_randomization(a, b, mask, n_iter=33, seed=5, workers=3)["null"]
    assert np.array_equal(one, three)


@settings(deadline=None, max_examples=25)
@given(gain=st.floats(0.01, 100), offset=st.floats(-100, 100), seed=st.integers(0, 99))
def test_invariant_under_gain_and_offset(gain, offset, seed):
    a, b = pair((24, 24), seed)
    plain = costes_randomization(a, b, n_iter=7, block_size=4, seed=seed)["null"]
    scaled = costes_randomization(gain * a + offset, b, n_iter=7, block_size=4, seed=seed)["null"]
    np.testing.assert_allclose(scaled, plain, atol=1e-9)


def test_inside_never_sees_the_background():
    a, b = pair((64, 64))
    mask = np.zeros(a.shape, bool)
    mask[9:50, 9:50] = True
    inner = np.s_[16:48, 16:48]
    result = costes_randomization(a, b, mask, 15, 8, 2, blocks="inside")
    assert result["n_blocks"] == 16
    assert result["n_pixels"] == 32 * 32
    whole = costes_randomization(a[inner], b[inner], None, 15, 8, 2)
    np.testing.assert_allclose(result["null"], whole["null"], atol=1e-12)
    b[~mask] = np.nan
    again = costes_randomization(a, b, mask, 15, 8, 2, blocks="inside")
    assert np.array_equal(again["null"], result["null"])


def test_identical_channels_reach_the_smallest_p():
    a, _ = pair()
    assert costes_randomization(a, a, n_iter=99, seed=0)["p_value"] == 0.01


def test_white_noise_holds_its_level():
    rng = np.random.default_rng(42)
    p = [
        costes_randomization(*rng.random((2, 32, 32)), n_iter=19, block_size=4, seed=k)["p_value"]
        for k in range(400)
    ]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09


def test_progress_and_cancel():
    a, b = pair()
    seen = []
    costes_randomization(a, b, n_iter=20, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 20)
    assert seen[-1] == (20, 20)
    assert seen == sorted(seen)
    steps = costes_randomization_steps(a, b, n_iter=10_000)
    next(steps)
    next(steps)
    steps.close()


def test_scramble_example_permutes_blocks_and_keeps_the_rest():
    image = np.arange(10 * 13).reshape(10, 13)
    shown = scramble_example(image, 4, seed=1)
    assert np.array_equal(shown[8:], image[8:])
    assert np.array_equal(shown[:, 12:], image[:, 12:])
    assert np.array_equal(np.sort(shown, axis=None), np.sort(image, axis=None))
    assert np.array_equal(image, np.arange(130).reshape(10, 13))
    assert not np.array_equal(shown, image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": np.zeros((3, 3))}, "shape mismatch"),
        ({"b": np.ones((45, 50))}, "channel b: expected intensities that vary"),
        ({"mask": np.ones((3, 3))}, "mask: expected the images' shape"),
        ({"mask": np.zeros((45, 50))}, "region: expected at least 2 pixels"),
        ({"n_iter": 0}, "n_iter: expected at least 1"),
        ({"n_iter": 1.5}, "n_iter: expected a whole number"),
        ({"block_size": 0}, "block_size: expected at least 1"),
        ({"block_size": 46}, "larger than the image"),
        ({"block_size": 45}, "at least 2 blocks"),
        ({"block_size": (8, 8, 8)}, "block_size: expected one number or 2"),
        ({"blocks": "all"}, "blocks: expected"),
        ({"a": np.full((45, 50), np.nan)}, "channel a: expected finite"),
        ({"a": np.full((45, 50), "x")}, "channel a: expected real numbers"),
        ({"a": np.zeros((0, 4)), "b": np.zeros((0, 4))}, "expected an image with pixels"),
    ],
)
def test_bad_input_says_what_to_do(change, message):
    a, b = pair()
    arguments = {"a": a, "b": b, **change}
    with pytest.raises(InputError, match=message):
        costes_randomization(**arguments)
    with pytest.raises(ValueError):
        costes_randomization(**arguments)


def test_mask_beyond_the_whole_blocks():
    a, b = pair()
    mask = np.zeros(a.shape, bool)
    mask[44, :] = True
    with pytest.raises(InputError, match="inside whole blocks"):
        costes_randomization(a, b, mask)


def test_shape_mismatch_is_an_axis_mismatch():
    with pytest.raises(AxisMismatchError):
        costes_randomization(np.eye(16), np.eye(17))


def test_guided_blocks_outrun_the_autocorrelation():
    from aequorea.simulate import correlated_fields

    sizes = [
        guided_block_size(*correlated_fields((256, 256), sigma_px=s, shared_fraction=0, rng=0))
        for s in (1, 2, 4)
    ]
    assert sizes[0] < sizes[1] < sizes[2]
    assert sizes[2] == pytest.approx(32, abs=8)
    ramp = np.add.outer(np.arange(6.0), np.arange(6.0))
    with pytest.raises(InputError, match="autocorrelation"):
        guided_block_size(ramp, ramp.T + np.eye(6))


def test_guided_blocks_hold_the_level_on_smooth_fields():
    from aequorea.simulate import correlated_fields

    p = []
    for seed in range(150):
        a, b = correlated_fields((128, 128), sigma_px=1.5, shared_fraction=0, rng=seed)
        p.append(costes_randomization(a, b, n_iter=39, block_size=12, seed=seed)["p_value"])
    assert np.mean(np.array(p) <= 0.05) < 0.12


def test_permutations_of_like_blocks_tie_with_the_observed_value():
    rng = np.random.default_rng(17)
    a, b = (
        np.kron(rng.integers(0, k, (4, 4)), np.ones((8, 8))) * f for k, f in ((3, 0.1), (2, 0.3))
    )
    result = costes_randomization(a, b, n_iter=199, seed=1)
    ties = np.abs(result["null"] - result["observed"]) < 1e-9
    assert ties.sum() > 10
    above = result["null"] > result["observed"] + 1e-9
    assert result["p_value"] == ((ties | above).sum() + 1) / 200


def test_guided_block_size_of_a_stack_of_one_plane_is_that_of_the_plane():
    a, b = pair((64, 64))
    assert guided_block_size(a[None], b[None]) == guided_block_size(a, b)
