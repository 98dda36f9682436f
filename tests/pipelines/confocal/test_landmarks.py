"""Distances to structures within cells, beside those that an even spread has."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import InputError
from aequorea.io import read_labels
from aequorea.pipelines.confocal import analyse

pytestmark = pytest.mark.filterwarnings("ignore::aequorea.errors.AequoreaWarning")


@pytest.fixture(scope="module")
def structure(stack):
    """Bars in the first cell; none in the second."""
    mask = np.zeros(stack.cells.shape, np.uint8)
    mask[4:14, ::24, :] = 1
    mask[stack.cells != 1] = 0
    return mask


@pytest.fixture(scope="module")
def run(stack, stack_file, structure, channels, tmp_path_factory):
    where = tmp_path_factory.mktemp("landmarks")
    np.save(where / "bars.npy", structure)
    options = {
        **channels,
        "landmark": {"labels": str(where / "bars.npy")},
        "landmark2": {"channel": "protein", "threshold_method": "li"},
        "nulls": {"n_simulations": 19, "point_curves": False},
        "detection": {"efficiency": False},
    }
    return analyse(stack_file, parameters=options, out=where / "run")


def test_distances_are_those_of_brute_force(run, structure, stack):
    puncta = run.table("puncta")
    labels = run.table("cells")
    own = puncta[puncta["landmark_distance_um"].notna()]
    assert len(own) > 20
    found = read_labels(run.directory / "labels/landmark.ome.tif", stack.cells.shape)
    assert (found[structure == 0] == 0).all()
    bars = np.argwhere(found) * stack.spacing_um
    position = own[["z_um", "y_um", "x_um"]].to_numpy()
    nearest = np.sqrt(((position[:, None] - bars[None]) ** 2).sum(-1)).min(1)
    inside = own["landmark_distance_um"] == 0
    np.testing.assert_allclose(
        own["landmark_distance_um"][~inside], nearest[~inside.to_numpy()], atol=1e-6
    )
    assert nearest[inside.to_numpy()].max(initial=0) < 0.2
    assert own["cell"].nunique() == 1
    assert (labels["landmark_volume_um3"] == 0).sum() == 1


def test_cells_without_the_structure_have_no_distances(run):
    cells = run.table("cells")
    bare = cells[cells["landmark_volume_um3"] == 0]
    assert bare["puncta_median_landmark_distance_um"].isna().all()
    assert cells["puncta_median_landmark_distance_um"].notna().sum() == 1


def test_a_landmark_is_found_in_its_channel(run):
    cells = run.table("cells")
    assert (cells["landmark2_volume_um3"] > 0).all()
    assert cells["protein_median_landmark2_distance_um"].notna().all()
    curves = run.table("distributions")
    own = curves[curves["measure"] == "landmark2_distance_um"]
    assert set(own["role"]) == {"puncta", "protein"}
    for _, curve in own.groupby(["cell", "role"]):
        assert curve["observed"].is_monotonic_increasing
        assert curve["observed"].iloc[-1] == pytest.approx(1)


def test_the_page_tells_of_them(run):
    page = run.report.read_text(encoding="utf-8")
    assert "Distances to landmark" in page
    assert "have no landmark" in page


def test_a_landmark_needs_a_channel_or_labels(stack_file, channels, tmp_path):
    with pytest.raises(InputError, match="landmark"):
        analyse(stack_file, parameters={**channels, "landmark": {}}, out=tmp_path / "run")
