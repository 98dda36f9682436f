"""What chance gives is 1 (or 0.5), however thick the planes; detection is tested as it was done."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from aequorea.pipelines.confocal.anatomy import Anatomy, geometry_of_cells
from aequorea.pipelines.confocal.chance import chance_tables
from aequorea.pipelines.confocal.conjunctions import conjunction_table
from aequorea.pipelines.confocal.detection import CandidateFacts
from aequorea.pipelines.confocal.efficiency import efficiency_table
from aequorea.pipelines.confocal.measures import (
    distribution_table,
    puncta_columns,
    room_columns,
    shell_table,
)
from aequorea.pipelines.confocal.parameters import NullParameters
from aequorea.pipelines.confocal.puncta import located
from aequorea.puncta.parameters import PunctaParameters
from aequorea.simulate import render_puncta

SPACING = (1.0, 0.1, 0.1)


@pytest.fixture(scope="module")
def evenly_spread():
    """A cell of planes 1 µm apart, and puncta anywhere in its voxels."""
    z, y, x = np.indices((12, 120, 120))
    cell = ((z - 5.5) / 5) ** 2 + ((y - 60) / 55) ** 2 + ((x - 60) / 50) ** 2 < 1
    nucleus = ((z - 5) / 2.5) ** 2 + ((y - 65) / 18) ** 2 + ((x - 50) / 15) ** 2 < 1
    anatomy = Anatomy(cell.astype(np.uint8), nucleus.astype(np.uint8), SPACING)
    rng = np.random.default_rng(0)
    voxels = np.argwhere(cell)
    voxels = voxels[rng.integers(0, len(voxels), 60_000)]
    position = (voxels + rng.uniform(-0.5, 0.5, voxels.shape)) * SPACING
    puncta = located(position, anatomy, {}, foci_radius_um=0.01, foci_puncta=99)
    cells = geometry_of_cells(anatomy)
    cells = cells.assign(**room_columns(anatomy, cells["cell"].to_numpy()))
    return anatomy, puncta, cells


def test_puncta_spread_evenly_are_as_by_chance(evenly_spread):
    anatomy, puncta, cells = evenly_spread
    found = {k: float(v[0]) for k, v in puncta_columns(puncta, anatomy, cells, near_um=1.0).items()}
    assert found["median_distance_over_chance"] == pytest.approx(1, abs=0.01)
    assert found["mean_volume_rank"] == pytest.approx(0.5, abs=0.005)
    for name in ("dispersion", "peripheral_distribution", "index_mean_distance_landmark"):
        assert found[name] == pytest.approx(1, abs=0.01)
    curves = distribution_table(anatomy, {"puncta": puncta}, {})
    assert np.abs(curves["observed"] - curves["by_chance"]).max() < 0.015


def test_distances_are_those_of_the_puncta_themselves(evenly_spread):
    anatomy, puncta, _ = evenly_spread
    some = puncta[puncta["compartment"] == "cytosol"].head(200)
    nucleus = np.argwhere(anatomy.landmarks) * SPACING
    position = some[["z_um", "y_um", "x_um"]].to_numpy()
    nearest = np.sqrt(((position[:, None] - nucleus[None]) ** 2).sum(-1)).min(1)
    np.testing.assert_allclose(some["distance_nucleus_um"], nearest, atol=1e-6)


def test_cells_without_cytosol_or_nucleus_are_told_in_every_table():
    """Cell 1 has all, the nucleus of cell 2 fills it, cell 3 has none."""
    cells = np.zeros((4, 10, 40), np.uint8)
    nuclei = np.zeros_like(cells)
    for k in range(3):
        cells[1:3, 1:9, 1 + 13 * k : 12 + 13 * k] = k + 1
    nuclei[1:3, 3:6, 3:6] = 1
    nuclei[cells == 2] = 2
    anatomy = Anatomy(cells, nuclei, SPACING)
    position = np.array([[1.0, 0.7, 0.8], [1.0, 0.7, 0.9], [2.0, 0.2, 3.0]])
    kinds = {
        role: located(position, anatomy, {}, foci_radius_um=0.01, foci_puncta=99)
        for role in ("a", "b")
    }
    why = {1: "", 2: "the nucleus fills the cell", 3: "the cell has no nucleus"}
    shells = shell_table(anatomy, kinds, {}, 3)
    assert list(shells["cell"]) == sorted([1, 2, 3] * 6)
    assert shells.groupby("cell")["reason"].first().to_dict() == why
    assert shells[shells["cell"] > 1][["observed", "ratio"]].isna().all(axis=None)
    found = conjunction_table(
        anatomy, kinds, within_um=0.5, n_shells=3, n_simulations=19, least=1, seed=0
    )
    assert dict(zip(found["cell"], found["reason"].fillna(""), strict=True)) == why
    chance, _ = chance_tables(
        anatomy,
        kinds,
        options=NullParameters(),
        apart_um=dict.fromkeys(kinds, (0.0, 0.0, 0.0)),
        efficiency=pd.DataFrame(),
        n_shells=3,
        seed=0,
    )
    told = chance[chance["cell"] > 1]
    assert set(zip(told["cell"], told["role"], told["reason"], strict=True)) == {
        (cell, role, why[cell]) for cell in (2, 3) for role in kinds
    }


def efficiency(**options):
    rng = np.random.default_rng(1)
    shape, sigma = (12, 96, 96), (1.2, 1.5, 1.5)
    at = np.stack([rng.uniform(3, n - 3, 20) for n in shape], axis=1)
    image = rng.normal(100, 5, shape).astype(np.float32)
    render_puncta(image, at, np.full(20, 900.0), sigma)
    puncta = pd.DataFrame(at * SPACING, columns=["z_um", "y_um", "x_um"]).assign(
        peak=options.pop("peak", 60.0)
    )
    facts = CandidateFacts(gain=0.0, offset=0.0, n_hot=0, sigma_px=sigma, method="log")
    chosen = PunctaParameters(spot_sigma_z_um=1.2, spot_sigma_yx_um=0.15, **options)
    cells = np.ones(shape, np.uint8)
    return efficiency_table(
        image, puncta, facts, 5.0, chosen, cells, spacing_um=SPACING, n_spots=10, rng=rng
    )


def test_spots_are_looked_for_as_puncta_were():
    assert efficiency()["fraction"].min() > 0.9
    assert efficiency(min_snr=50.0)["fraction"].max() == 0


def test_brightness_that_is_not_known_is_said():
    peaks = np.r_[np.full(4, -1.0), np.full(16, 60.0)]
    (note,) = efficiency(peak=peaks)["note"]
    assert "no brighter than what is around" in note
