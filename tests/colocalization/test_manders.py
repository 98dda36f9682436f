import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aequorea.colocalization import colocalized_areas, manders, overlap
from aequorea.errors import InputError

pixels = hnp.arrays(np.uint16, (30,), elements=st.integers(0, 9))
levels = st.integers(-1, 10)


def divide(p, q):
    return p / q if q > 0 else np.nan


@settings(max_examples=80, deadline=None)
@given(pixels, pixels, levels, levels)
def test_definitions_against_numpy(a, b, t_a, t_b):
    a, b = a.astype(float), b.astype(float)
    above_a, above_b = a > t_a, b > t_b
    expected = divide(a[above_b].sum(), a.sum()), divide(b[above_a].sum(), b.sum())
    np.testing.assert_allclose(manders(a, b, t_a, t_b), expected)
    gate_a, gate_b = (a >= t_a) & (a > 0), (b >= t_b) & (b > 0)
    expected = divide(a[gate_b].sum(), a.sum()), divide(b[gate_a].sum(), b.sum())
    np.testing.assert_allclose(manders(a, b, t_a, t_b, compat="coloc2"), expected)
    both = above_a & above_b
    expected = (
        divide(a[both].sum(), a[above_a].sum()),
        divide(b[both].sum(), b[above_b].sum()),
    )
    if a.sum() > 0 and b.sum() > 0:
        np.testing.assert_allclose(manders(a, b, t_a, t_b, compat="jacop"), expected)


@settings(max_examples=60, deadline=None)
@given(pixels, pixels, levels, levels)
def test_swapping_channels_swaps_the_coefficients(a, b, t_a, t_b):
    for compat in (None, "coloc2", "jacop"):
        forward = manders(a, b, t_a, t_b, compat=compat)
        np.testing.assert_array_equal(manders(b, a, t_b, t_a, compat=compat), forward[::-1])
    r, k1, k2 = overlap(a, b)
    np.testing.assert_allclose(overlap(b, a), (r, k2, k1))


@settings(max_examples=60, deadline=None)
@given(pixels, pixels)
def test_overlap_against_numpy(a, b):
    x, y = a.astype(float), b.astype(float)
    expected = (
        divide((x * y).sum(), np.sqrt((x**2).sum() * (y**2).sum())),
        divide((x * y).sum(), (x**2).sum()),
        divide((x * y).sum(), (y**2).sum()),
    )
    np.testing.assert_allclose(overlap(a, b), expected, atol=1e-12)


def test_overlap_above_thresholds_takes_pixels_where_both_are_above():
    a, b = np.array([1, 5, 6, 7]), np.array([9, 8, 1, 4])
    expected = overlap(a[[1, 3]], b[[1, 3]])
    assert overlap(a, b, threshold_a=2, threshold_b=2) == pytest.approx(expected)
    assert all(np.isnan(overlap(a, b, threshold_a=np.nan, threshold_b=2)))
    with pytest.raises(InputError, match="both threshold_a and threshold_b"):
        overlap(a, b, threshold_a=2)


def test_each_coefficient_is_undefined_for_itself():
    a, b = np.array([1, 2, 3]), np.array([0, 0, 0])
    m1, m2 = manders(a, b, 0, 0)
    assert m1 == 0
    assert np.isnan(m2)
    m1, m2 = manders(a, b + 1, np.nan, 0)
    assert m1 == 1
    assert np.isnan(m2)
    m1, m2 = manders(a - 2, b + 1, 0, 0)
    assert np.isnan(m1)
    assert m2 == pytest.approx(1 / 3)
    assert all(np.isnan(manders([], [], 0, 0)))
    assert all(np.isnan(overlap([-1, 2], [1, 2])))
    assert all(np.isnan(overlap([], [])))


def test_areas_by_hand():
    a = np.array([0, 2, 4, 6, 0])
    b = np.array([5, 0, 3, 5, 0])
    areas = colocalized_areas(a, b, 1, 2)
    assert (areas.n_coloc, areas.n_a, areas.n_b, areas.n_pixels) == (2, 3, 3, 5)
    assert areas.percent_area == pytest.approx(40)
    assert areas.percent_area_a == pytest.approx(200 / 3)
    assert areas.percent_intensity_a == pytest.approx(100 * 10 / 12)
    assert areas.percent_intensity_b == pytest.approx(100 * 8 / 13)
    assert areas.percent_intensity_above_a == pytest.approx(100 * 10 / 12)
    assert areas.percent_intensity_above_b == pytest.approx(100 * 8 / 13)


def test_areas_of_coloc2_include_pixels_at_the_threshold():
    a = np.array([1, 2, 3])
    assert colocalized_areas(a, a, 2, 2).n_coloc == 1
    assert colocalized_areas(a, a, 2, 2, compat="coloc2").n_coloc == 2
    assert np.isnan(colocalized_areas(a, a, np.nan, 2).percent_area)


def test_unknown_compat_and_bad_pixels_are_refused():
    with pytest.raises(InputError, match="unknown compat"):
        manders([1], [1], 0, 0, compat="fiji")
    with pytest.raises(InputError, match="NaN or infinite"):
        manders([np.nan, 1], [1, 1], 0, 0)


def test_overlap_of_proportional_channels_does_not_exceed_one():
    for seed in range(100):
        a = np.random.default_rng(seed).random((17, 13))
        assert 1 - 1e-12 < overlap(a, 3 * a)[0] <= 1
