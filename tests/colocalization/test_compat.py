"""The definitions of other programs, through the tables."""

import numpy as np
import pytest

from aequorea.colocalization import (
    COLUMNS,
    analyse_pairwise,
    costes_threshold,
    li_icq,
    manders,
    pearson,
    pearson_above,
    spearman,
)


@pytest.fixture(scope="module")
def channels():
    rng = np.random.default_rng(5)
    stain = rng.gamma(1, 50, (30, 40))
    a, b = rng.poisson(10 + stain), rng.poisson(8 + 0.7 * stain)
    # Means that pixels can equal, so that the ICQ conventions part.
    return a.clip(0, 255).astype("u1") // 8 * 8, b.clip(0, 255).astype("u1") // 8 * 8


def test_napari_shows_pixel_p_values_and_both_spellings(channels):
    a, b = channels
    (row,) = analyse_pairwise(a, b, compat="napari")
    (plain,) = analyse_pairwise(a, b)
    assert (row["pcc"], row["pcc_pvalue"]) == pearson(a, b)
    assert (row["srcc"], row["srcc_pvalue"]) == spearman(a, b)
    assert (row["tm1"], row["tm2"]) == (row["m1"], row["m2"])
    for key in set(COLUMNS) - {"pcc_pvalue", "srcc_pvalue", "slice"}:
        assert row[key] == plain[key]


@pytest.mark.parametrize("stepper", ["bisection", "costes"])
def test_coloc2(channels, stepper):
    a, b = channels
    (row,) = analyse_pairwise(
        a, b, compat="coloc2", stepper=stepper, extra_metrics=("pcc_above", "m1_plain", "areas")
    )
    thresholds = costes_threshold(a, b, stepper=stepper, compat="coloc2")
    assert (row["threshold_a"], row["threshold_b"]) == thresholds
    assert (row["m1"], row["m2"]) == manders(a, b, *thresholds, compat="coloc2")
    assert row["m1_plain"] == manders(a, b, 0, 0, compat="coloc2")[0]
    assert row["icq"] == li_icq(a, b, compat="coloc2")
    assert row["pcc_above"] == pearson_above(a, b, *thresholds, compat="coloc2")
    assert row["n_coloc"] == np.sum((a >= thresholds[0]) & (b >= thresholds[1]))


def test_jacop(channels):
    a, b = channels
    (row,) = analyse_pairwise(a, b, compat="jacop", threshold_method="otsu")
    t_a, t_b = row["threshold_a"], row["threshold_b"]
    both = (a > t_a) & (b > t_b)
    assert row["m1"] == pytest.approx(a[both].sum() / a[a > t_a].sum())
    assert row["m2"] == pytest.approx(b[both].sum() / b[b > t_b].sum())
    assert row["icq"] == li_icq(a, b, compat="jacop")
    assert row["m1"] > manders(a, b, t_a, t_b)[0]


def test_clamping_knows_the_pixel_type_of_small_integers():
    # int16 pixels travel as int32; Coloc 2 clamps to what the file could hold.
    rng = np.random.default_rng(0)
    a = rng.integers(0, 30000, 400).astype(np.int16)
    b = (a // 2 + 16000 + rng.integers(-300, 300, 400)).astype(np.int16)
    for stepper in ("bisection", "costes"):
        t_a, t_b = costes_threshold(a, b, stepper=stepper, compat="coloc2")
        assert max(t_a, t_b) <= np.iinfo(np.int16).max
