"""Numbers of molecules from light, and where they are made, through the whole workflow."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.pipelines.confocal import analyse
from aequorea.simulate import PunctaLaw, render_puncta, simulated_confocal

pytestmark = pytest.mark.filterwarnings("ignore::aequorea.errors.AequoreaWarning")

SMALL = {"cell_diameter_um": 6.0, "nucleus_diameter_um": 3.0}
SITE_MOLECULES = 10.0


@pytest.fixture(scope="module", autouse=True)
def _pages_without_figures(undrawn):
    """They are drawn in the tests of reports."""


@pytest.fixture(scope="module")
def stack():
    law = PunctaLaw(per_cell=120, nuclear=0.0, brightness_cv=0.3)
    return simulated_confocal((18, 144, 144), n_cells=2, puncta={"mRNA": law}, rng=5, **SMALL)


@pytest.fixture(scope="module")
def site(stack):
    """Middle of the first nucleus, px."""
    return np.argwhere(stack.nuclei == 1).mean(axis=0)


@pytest.fixture(scope="module")
def run(stack, site, write, tmp_path_factory):
    """The stack with a transcription site in the first of its two nuclei."""
    where = tmp_path_factory.mktemp("molecules")
    light = np.zeros(stack.nuclei.shape, np.float32)
    sigma = np.array(stack.psf_sigma_um) / stack.spacing_um
    render_puncta(light, site[None], np.array([SITE_MOLECULES * 900]), sigma)
    stack.images["mRNA"][:] += np.rint(light).astype(np.uint16)
    for name in ("nuclei", "cells"):
        np.save(where / f"{name}.npy", getattr(stack, name))
    options = {
        "nuclei": {"channel": "nuclei", "labels": str(where / "nuclei.npy")},
        "cells": {"channel": "cells", "labels": str(where / "cells.npy")},
        "puncta": {"channel": "mRNA", "molecules": True, "divide_dense": True},
        "nulls": {"n_simulations": 19, "point_curves": False},
        "detection": {"efficiency": False},
    }
    path = write(stack, where / "stack.ome.tif")
    return path, options, analyse(path, parameters=options, out=where / "run")


def test_light_tells_how_many_molecules_there_are(stack, run):
    cells = run[2].table("cells").set_index("cell")
    truth = stack.puncta["mRNA"]
    for cell in (1, 2):
        n = int(np.count_nonzero(truth.cell == cell))
        found = cells.loc[cell, "puncta_molecules_cytosol"]
        assert found == pytest.approx(n, rel=0.12)
        low, high = cells.loc[
            cell, ["puncta_molecules_cytosol_low", "puncta_molecules_cytosol_high"]
        ]
        assert low < n < high


def test_light_of_one_molecule_is_learnt_from_lone_puncta(run):
    (single,) = run[2].table("single_molecules").to_dict("records")
    assert single["light"] == pytest.approx(900, rel=0.1)
    assert single["light_cv"] == pytest.approx(0.3, abs=0.12)
    assert single["source"] == "isolated puncta"


def test_a_transcription_site_is_found_where_it_is(stack, site, run):
    (found,) = run[2].table("transcription_sites").to_dict("records")
    position = np.array([found[f"{a}_um"] for a in "zyx"])
    assert np.linalg.norm(position - site * stack.spacing_um) < 0.1
    assert found["molecules"] == pytest.approx(SITE_MOLECULES, rel=0.15)
    assert found["cell"] == 1
    cells = run[2].table("cells").set_index("cell")
    assert cells["puncta_n_transcription_sites"].tolist() == [1, 0]


def test_divided_puncta_say_so(run):
    puncta = run[2].table("puncta")
    shared = puncta[puncta["decomposed"]]
    assert len(shared) > 4
    assert shared["error_z_um"].isna().all()
    assert shared["fit_reason"].str.contains("molecules in one spot").all()
    assert shared.groupby("spot").size().min() >= 2
    assert len(puncta) > puncta["spot"].nunique()


def test_only_what_depends_on_a_changed_option_is_done_again(run):
    path, options, before = run
    changed = {**options, "puncta": {**options["puncta"], "site_molecules": 20.0}}
    again = analyse(path, parameters=changed, out=before.directory)
    assert {"molecules", "measures"} <= set(again.executed)
    assert not {"puncta", "candidates", "chance"} & set(again.executed)
    assert not len(again.table("transcription_sites"))


def test_too_few_lone_puncta_are_a_reason_not_a_number(stack, run, tmp_path):
    path, options, _ = run
    few = {**options, "puncta": {**options["puncta"], "min_snr": 40.0}}
    found = analyse(path, parameters=few, out=tmp_path / "few").table("cells")
    assert found["puncta_molecules_cytosol"].isna().all()
    assert found["puncta_molecules_reason"].str.contains("molecule_light").all()
    given = {**few, "puncta": {**few["puncta"], "molecule_light": 900.0}}
    found = analyse(path, parameters=given, out=tmp_path / "given").table("cells")
    assert found["puncta_molecules_cytosol"].notna().all()
