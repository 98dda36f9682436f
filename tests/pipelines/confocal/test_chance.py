"""Each cell's puncta beside chance: nulls that know what detection misses, and curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from aequorea.pipelines.confocal.anatomy import Anatomy
from aequorea.pipelines.confocal.chance import chance_tables, found_by_plane
from aequorea.pipelines.confocal.parameters import NullParameters
from aequorea.spatial.nulls import hard_core_points, random_points
from aequorea.spatial.point_patterns import ripley_k
from aequorea.spatial.window import set_covariance

SPACING = (0.3, 0.15, 0.15)
FREE = (0.0, 0.0, 0.0)
APART = (0.9, 0.35, 0.35)
DISTANCE = "median distance to the nucleus"


@pytest.fixture(scope="module")
def anatomy():
    """One cell, a box with a box for a nucleus in its upper part."""
    cells = np.zeros((16, 36, 40), np.int32)
    cells[1:15, 2:34, 2:38] = 1
    nuclei = np.zeros_like(cells)
    nuclei[8:13, 12:24, 12:28] = 1
    return Anatomy(cells, nuclei, SPACING)


def table(points, focus=None):
    return pd.DataFrame(
        {
            "cell": 1,
            "compartment": "cytosol",
            **{f"{a}_um": points[:, k] for k, a in enumerate("zyx")},
            "focus": 0 if focus is None else focus,
        }
    )


def efficiency(found, role="puncta", n=90):
    """Spots found in ranges of depth of the same height."""
    edges = np.linspace(0, 16 * SPACING[0], len(found) + 1)
    return pd.DataFrame(
        {
            "role": role,
            "brightness": "typical",
            "z_from_um": edges[:-1],
            "z_to_um": edges[1:],
            "n_injected": n,
            "n_found": (np.array(found) * n).astype(int),
        }
    )


def tables(anatomy, kinds, tested=None, apart=None, **options):
    return chance_tables(
        anatomy,
        {r: k if isinstance(k, pd.DataFrame) else table(k) for r, k in kinds.items()},
        options=NullParameters(**{"n_simulations": 39, **options}),
        apart_um=dict.fromkeys(kinds, FREE) if apart is None else apart,
        efficiency=pd.DataFrame() if tested is None else tested,
        n_shells=3,
        seed=0,
    )


def p_of(chance, measure="all", null="random puncta"):
    own = chance[(chance["measure"] == measure) & (chance["null"] == null)]
    return float(own["p_value"].iloc[0])


def rejected(p_values, level=0.05):
    return np.mean(np.array(p_values) <= level)


def test_a_null_that_misses_with_depth_sees_no_structure_in_what_is_missed(anatomy):
    cytosol = anatomy.cytosol > 0
    seen = np.linspace(1.0, 0.05, 16)[:, None, None] * np.ones(cytosol.shape)
    tested = efficiency([0.9, 0.65, 0.4, 0.15])
    plain, fair = [], []
    for seed in range(10):
        points = random_points(400, cytosol, SPACING, seed, weights=seen)[0]
        kinds = {"puncta": points}
        fair.append(p_of(tables(anatomy, kinds, tested)[0], DISTANCE))
        plain.append(p_of(tables(anatomy, kinds, tested, null_by_depth=False)[0], DISTANCE))
    assert rejected(plain) > 0.7
    assert rejected(fair) < 0.3


def test_depth_and_hard_core_go_together(anatomy):
    cytosol = anatomy.cytosol > 0
    seen = np.linspace(1.0, 0.05, 16)[:, None, None] * np.ones(cytosol.shape)
    tested, apart = efficiency([0.9, 0.65, 0.4, 0.15]), {"puncta": APART}
    both, neither = [], []
    for seed in range(8):
        points = hard_core_points(70, cytosol, SPACING, seed, weights=seen, distance_um=APART)[0]
        kinds = {"puncta": points}
        chance, _ = tables(anatomy, kinds, tested, apart)
        both.append(p_of(chance))
        neither.append(p_of(tables(anatomy, kinds, null_by_depth=False)[0]))
    assert rejected(neither) > 0.5
    assert rejected(both) < 0.4
    told = chance.loc[chance["measure"] == "all", "hypothesis"].iloc[0]
    assert "as densely at each depth as spots are found there" in told
    assert "none within about 0.35 µm in its plane, or 0.90 µm along z" in told


def test_curves_are_those_of_ripley_and_lie_in_their_envelope(anatomy):
    cytosol = anatomy.cytosol > 0
    points = random_points(60, cytosol, SPACING, 4)[0]
    chance, curves = tables(anatomy, {"puncta": points})
    own = curves[curves["curve"] == "L"]
    radii = own["r_um"].to_numpy()
    k = ripley_k(points, radii, set_covariance(cytosol, SPACING))
    expected = (k / (4 / 3 * np.pi)) ** (1 / 3) - radii
    assert np.allclose(own["observed"], expected, atol=1e-3)  # table of the covariance
    assert ((own["low"] <= own["expected"]) & (own["expected"] <= own["high"])).all()
    for curve, group in curves.groupby("curve"):
        leaves = (group["observed"] < group["low"] - 1e-9) | (
            group["observed"] > group["high"] + 1e-9
        )
        p = p_of(chance, f"{curve}, whole curve")
        assert leaves.any() == (p <= 0.05)
        assert group["p_value"].unique() == [p]


def test_clusters_leave_the_envelope(anatomy):
    rng = np.random.default_rng(1)
    centres = random_points(12, anatomy.cytosol > 0, SPACING, rng)[0]
    points = np.repeat(centres, 5, axis=0) + rng.normal(0, 0.1, (60, 3))
    chance, curves = tables(anatomy, {"puncta": points})
    assert p_of(chance, "L, whole curve") <= 0.05
    near = curves[(curves["curve"] == "L") & (curves["r_um"] < 0.6)]
    assert (near["observed"] > near["high"]).any()


def test_foci_count_as_one_when_they_are_moved_as_wholes(anatomy):
    """Few large foci: their puncta are no independent witnesses of where a cell has them."""
    alone, moved = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        centres = random_points(4, anatomy.cytosol > 0, SPACING, rng)[0]
        points = np.repeat(centres, 12, axis=0) + rng.normal(0, 0.03, (48, 3))
        kind = table(points, np.repeat([1, 2, 3, 4], 12))
        chance, _ = tables(anatomy, {"puncta": kind}, point_curves=False)
        alone.append(p_of(chance, DISTANCE))
        moved.append(p_of(chance, DISTANCE, "foci moved"))
    assert rejected(alone) > 0.4
    assert rejected(moved) < 0.3


def test_kinds_that_keep_to_themselves_are_told_from_kinds_that_mix(anatomy):
    cytosol = anatomy.cytosol > 0
    points = random_points(160, cytosol, SPACING, 2)[0]
    side = points[:, 2] > np.median(points[:, 2])
    options = {"point_curves": False, "n_simulations": 99}
    parted, _ = tables(anatomy, {"puncta": points[side], "puncta2": points[~side]}, **options)
    mixed, _ = tables(anatomy, {"puncta": points[::2], "puncta2": points[1::2]}, **options)
    measure = "pairs of different kinds"
    assert p_of(parted, measure, "kinds swapped") <= 0.02
    assert parted[parted["measure"] == measure]["ratio"].iloc[0] < 0.8
    assert p_of(mixed, measure, "kinds swapped") > 0.05


def test_kinds_that_cannot_be_told_apart_nearby_still_mix(anatomy):
    """Puncta of one kind merge, those of two do not: swapping must not see attraction in that."""
    cytosol, apart = anatomy.cytosol > 0, dict.fromkeys(("puncta", "puncta2"), APART)
    p = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        kinds = {
            role: hard_core_points(90, cytosol, SPACING, rng, distance_um=APART)[0]
            for role in apart
        }
        chance, _ = tables(anatomy, kinds, apart=apart, point_curves=False)
        p.append(p_of(chance, "pairs of different kinds", "kinds swapped"))
    assert rejected(p) < 0.4


def test_partners_leave_the_cross_envelope(anatomy):
    rng = np.random.default_rng(3)
    first = random_points(40, anatomy.cytosol > 0, SPACING, rng)[0]
    second = first + rng.normal(0, 0.05, first.shape)
    chance, curves = tables(anatomy, {"puncta": first, "puncta2": second})
    null = "second kind at random within shells"
    assert p_of(chance, "L, whole curve", null) <= 0.05
    assert p_of(chance, "G, whole curve", null) <= 0.05
    cross = curves[curves["other"] == "puncta2"]
    assert set(cross["curve"]) == {"L", "G"}
    first_steps = cross[cross["curve"] == "G"].head(3)
    assert (first_steps["observed"] > first_steps["high"]).all()


def test_too_few_and_too_many_are_told(anatomy):
    cytosol = anatomy.cytosol > 0
    few = random_points(3, cytosol, SPACING, 0)[0]
    chance, curves = tables(anatomy, {"puncta": few, "puncta2": few})
    assert not len(curves)
    assert chance["p_value"].isna().all()
    assert chance["reason"].str.contains("fewer than 5").all()
    many = random_points(150, cytosol, SPACING, 0)[0]
    wide = {"puncta": (1.4, 0.6, 0.6)}
    crowd, drawn = tables(anatomy, {"puncta": many}, apart=wide)
    assert crowd["reason"].str.contains("would fill").all()
    assert not len(drawn)
    dense, drawn = tables(anatomy, {"puncta": many}, apart={"puncta": (1.0, 0.4, 0.4)})
    assert dense["p_value"].isna().all()
    assert dense["reason"].str.contains("no p-value").all()
    assert np.isfinite(dense.loc[dense["measure"] == DISTANCE, "ratio"]).all()


def test_nothing_tested_is_no_depth():
    assert found_by_plane(pd.DataFrame(), "puncta", 4, 0.3) is None
    assert found_by_plane(efficiency([0.5]), "puncta2", 4, 0.3) is None
    falls = found_by_plane(efficiency([0.8, 0.2]), "puncta", 16, SPACING[0])
    assert falls[0] == pytest.approx(0.8, abs=0.01)
    assert falls[-1] == pytest.approx(0.2, abs=0.01)
    assert (np.diff(falls) <= 0).all()
