"""Fraction within d against an in-mask null: curves by hand, power, and a small calibration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, stats

from aequorea.colocalization.object_null import fraction_within
from aequorea.errors import AxisMismatchError, CalibrationError, InputError

SHAPE = (96, 96)
RADIUS = np.hypot(*(np.indices(SHAPE) - 47.5))
DISC = RADIUS <= 45
NUCLEUS = RADIUS <= 10
DISTANCES = [0.2, 0.5, 0.8, 1.2]


def even(rng, mask=DISC, n=40, weight=None):
    pixels = np.argwhere(mask)
    chance = None if weight is None else weight[mask] / weight[mask].sum()
    chosen = pixels[rng.choice(len(pixels), n, p=chance)]
    return chosen + rng.uniform(-0.5, 0.5, chosen.shape)


def clustered(rng, mask=DISC, n=40):
    """Families of five whose parents may lie beyond the mask."""
    points = np.repeat(rng.uniform(-15, 111, (300, 2)), 5, axis=0)
    points = points + rng.normal(0, 3, points.shape)
    pixels = np.rint(points).astype(int)
    inside = ((pixels >= 0) & (pixels < SHAPE)).all(axis=1)
    inside[inside] = mask[tuple(pixels[inside].T)]
    return points[inside][:n]


def run(a, b, **options):
    defaults = {"mask": DISC, "spacing_um": 0.1, "distances_um": DISTANCES, "n_reshuffles": 199}
    return fraction_within(a, b, **(defaults | options))


def test_observed_curve_by_hand():
    a = [[40.0, 40.0], [40.0, 50.0], [60.0, 40.0]]
    b = [[40.0, 43.0], [60.0, 41.0]]
    result = run(a, b, distances_um=[0.1, 0.3, 0.69, 0.7])
    np.testing.assert_allclose(result.observed, [1 / 3, 2 / 3, 2 / 3, 1])
    assert (result.n_a, result.n_b, result.n_outside) == (3, 2, 0)


def test_expected_curve_is_the_covered_area():
    b = np.array([[30.0, 40.0], [60.0, 50.0]])
    a = even(np.random.default_rng(0), n=200)
    result = run(a, b, distances_um=[0.6, 1.0], n_reshuffles=400)
    nearest = np.min([np.hypot(*(np.indices(SHAPE) - p[:, None, None])) for p in b], axis=0)
    covered = [np.mean(nearest[DISC] <= d) for d in (6, 10)]
    np.testing.assert_allclose(result.expected, covered, rtol=0.05)


def test_paired_objects_are_found_by_every_null():
    rng = np.random.default_rng(1)
    b = even(rng, RADIUS < 40)
    a = b + rng.normal(0, 1, b.shape)
    for null in ("uniform", "shift", "profile"):
        result = run(a, b, null=null, landmark=NUCLEUS if null == "profile" else None)
        assert result.p_value <= 0.01
        assert result.observed[0] > result.upper[0]
        assert result.ratio[0] > 2
        assert run(a, b, null=null, alternative="less").p_value > 0.5


def test_avoidance_is_found():
    rng = np.random.default_rng(2)
    b = even(rng, RADIUS < 40, 15)
    far = np.min([np.hypot(*(np.indices(SHAPE) - p[:, None, None])) for p in b], axis=0) > 10
    a = even(rng, DISC & far)
    assert run(a, b, alternative="less").p_value <= 0.01
    assert run(a, b, alternative="two-sided").p_value <= 0.01
    assert run(a, b).p_value > 0.5


def test_envelope_and_p_value_say_the_same():
    rng = np.random.default_rng(3)
    for _ in range(40):
        result = run(even(rng), even(rng), n_reshuffles=99, seed=rng)
        left = bool((result.observed > result.upper + 1e-12).any())
        assert left == (result.p_value <= 0.05)


def test_deterministic_and_free_of_units():
    rng = np.random.default_rng(4)
    a, b = even(rng), even(rng)
    for null in ("uniform", "shift", "profile"):
        one = run(a, b, null=null, seed=7)
        two = run(a, b, null=null, seed=7, spacing_um=0.2, distances_um=2 * np.array(DISTANCES))
        assert one.p_value == two.p_value
        np.testing.assert_allclose(one.expected, two.expected)


def test_labels_and_positions_agree():
    field = ndimage.gaussian_filter(np.random.default_rng(0).random((2, *SHAPE)), (0, 2, 2))
    a, b = (ndimage.label(f > np.quantile(f, 0.95))[0] for f in field)
    points = [np.array(ndimage.center_of_mass(x > 0, x, range(1, x.max() + 1))) for x in (a, b)]
    by_labels, by_points = run(a, b), run(*points)
    np.testing.assert_allclose(by_labels.observed, by_points.observed)
    assert by_labels.p_value == by_points.p_value
    whole = run(a, b, mask=None, null="shift")
    assert whole.n_a == a.max()


def test_three_dimensions_and_anisotropy():
    rng = np.random.default_rng(5)
    mask = np.ones((12, 40, 40), bool)
    mask[:, :5] = False
    b = even(rng, mask, 30)
    a = b + rng.normal(0, 0.3, b.shape)
    for null in ("uniform", "shift", "profile"):
        result = run(a, b, mask=mask, spacing_um={"z": 0.5, "y": 0.1, "x": 0.1}, null=null)
        assert result.p_value <= 0.02


def test_moved_points_stay_in_the_mask_and_at_their_distance():
    from aequorea.colocalization.object_null import _landmark_distance, _same_distance, _uniform

    rng = np.random.default_rng(6)
    points = even(rng)
    depth = _landmark_distance(DISC, NUCLEUS, np.ones(2))
    moved = next(_same_distance(points, DISC, depth, 0.05, 50, rng))
    before, after = (depth[tuple(np.rint(p).astype(int).T)] for p in (points, moved.reshape(-1, 2)))
    assert np.abs(after.reshape(50, -1) - before).max() < 12
    assert np.median(np.abs(after.reshape(50, -1) - before)) < 1.5
    drawn = next(_uniform(points, DISC, 50, rng)).reshape(-1, 2)
    assert DISC[tuple(np.rint(drawn).astype(int).T)].all()


def test_objects_outside_the_mask_are_counted_and_left_out():
    result = run([[47.0, 47.0], [0.0, 0.0]], [[47.0, 49.0], [200.0, 3.0]])
    assert (result.n_a, result.n_b, result.n_outside) == (1, 1, 2)


def test_nothing_to_test_is_nan_with_a_reason():
    result = run(np.empty((0, 2)), [[47.0, 47.0]])
    assert np.isnan(result.p_value)
    assert np.isnan(result.observed).all()
    assert result.reason == "no objects of A in the mask"
    assert "A and B" in run([[0.0, 0.0]], np.zeros(SHAPE, int)).reason


def test_the_null_is_said_in_words():
    a = [[47.0, 47.0]]
    assert "evenly" in run(a, a).hypothesis
    assert "clustering" in run(a, a, null="shift").hypothesis
    assert "mask's edge" in run(a, a, null="profile").hypothesis
    assert "landmark" in run(a, a, null="profile", landmark=NUCLEUS).hypothesis


@pytest.mark.parametrize(
    ("null", "draw", "weight"),
    [("uniform", even, None), ("shift", clustered, None), ("profile", even, np.exp(-RADIUS / 12))],
)
def test_false_positives_hold_their_level(null, draw, weight):
    rng = np.random.default_rng(11)
    extra = {"weight": weight} if weight is not None else {}
    landmark = NUCLEUS if null == "profile" else None
    p = np.array(
        [
            run(
                draw(rng, **extra),
                draw(rng, **extra),
                null=null,
                landmark=landmark,
                n_reshuffles=39,
                seed=rng,
            ).p_value
            for _ in range(300)
        ]
    )
    assert np.mean(p <= 0.05) < 0.09  # 99.9 % binomial bound
    assert 0.35 < np.mean(p <= 0.5) < 0.65


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"null": "csr"}, InputError, "null: expected one of uniform, shift, profile"),
        ({"alternative": "more"}, InputError, "alternative"),
        ({"n_reshuffles": 5}, InputError, "n_reshuffles"),
        ({"distances_um": []}, InputError, "distances_um"),
        ({"distances_um": [-1]}, InputError, "distances_um"),
        ({"spacing_um": (0.1, None)}, CalibrationError, "spacing_um"),
        ({"mask": np.zeros(SHAPE)}, InputError, "region"),
        ({"mask": None}, InputError, "mask: expected a mask"),
        ({"mask": np.ones((4, 4, 4)), "spacing_um": 0.1}, AxisMismatchError, "points of A"),
        ({"null": "profile", "mask": np.ones(SHAPE)}, InputError, "landmark"),
        ({"null": "profile", "landmark": np.ones(SHAPE)}, InputError, "landmark"),
        ({"null": "profile", "landmark": np.ones((3, 3))}, AxisMismatchError, "mask"),
        ({"window": 0}, InputError, "window"),
    ],
)
def test_bad_input(options, error, message):
    with pytest.raises(error, match=message):
        run([[47.0, 47.0]], [[47.0, 49.0]], **options)


def test_bad_points():
    with pytest.raises(InputError, match="finite"):
        run([[np.nan, 2.0]], [[47.0, 49.0]])
    with pytest.raises(AxisMismatchError):
        run(np.zeros((7, 9), int), [[47.0, 49.0]])


@pytest.mark.parametrize("null", ["uniform", "shift", "profile"])
def test_positions_on_the_pixel_grid_are_moved_on_the_pixel_grid(null):
    """They coincide, or are one pixel apart, more often than positions between pixels."""
    pixels, rejected = np.argwhere(DISC), 0
    for seed in range(40):
        rng = np.random.default_rng(7000 + seed)
        a, b = (pixels[rng.integers(len(pixels), size=n)].astype(float) for n in (60, 300))
        rejected += run(a, b, distances_um=[0, 0.1], null=null, n_reshuffles=99).p_value <= 0.05
    assert rejected <= stats.binom.ppf(0.999, 40, 0.05)
