"""The page of a stack where there is little to show, and what it says about missed puncta."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from aequorea.io import write_ome_tiff
from aequorea.model import Image
from aequorea.pipelines.confocal import analyse
from aequorea.report.confocal import _of_numbers
from aequorea.report.confocal_counts import expected_crowded, share_near, told_once
from aequorea.report.numbers import counted
from aequorea.simulate import PunctaLaw, simulated_confocal


@pytest.fixture(scope="module")
def stack():
    return simulated_confocal(
        (16, 120, 120),
        n_cells=1,
        cell_diameter_um=6.0,
        nucleus_diameter_um=3.0,
        puncta={"mRNA": PunctaLaw(per_cell=60)},
        rng=3,
    )


def _page(stack, out, **pixels):
    images = {**stack.images, **pixels}
    image = Image(
        data=np.stack(list(images.values())),
        axes="czyx",
        channels=tuple(images),
        spacing_um=dict(zip("zyx", stack.spacing_um, strict=True)),
    )
    path = write_ome_tiff(image, out / "stack.ome.tif")
    given = {
        "nuclei": {"channel": "nuclei"},
        "cells": {"channel": "cells"},
        "puncta": {"channel": "mRNA"},
        "nulls": {"n_simulations": 19, "point_curves": False},
        "z_scale_factor": 1.0,
    }
    run = analyse(path, parameters=given, out=out / "run")
    text = re.sub(r"<[^>]+>", " ", run.report.read_text(encoding="utf-8"))
    return run, re.sub(r"\s+", " ", text)


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("level", [0, 100])
def test_a_constant_channel_of_puncta_is_a_result(stack, tmp_path, level):
    flat = np.full_like(stack.images["mRNA"], level)
    run, page = _page(stack, tmp_path, mRNA=flat)
    assert len(run.table("puncta")) == 0
    assert "No punctum of mRNA was found. If you see some below" in page
    assert "1 cell; 0 puncta of mRNA in it" in page


@pytest.mark.filterwarnings("ignore:.*")
def test_missing_nuclei_are_told_with_what_to_try(stack, tmp_path):
    _, page = _page(stack, tmp_path, nuclei=np.zeros_like(stack.images["nuclei"]))
    assert "No nucleus was found." in page
    assert "--nuclei.threshold (grey levels)" in page


@pytest.mark.filterwarnings("ignore:.*")
def test_missed_puncta_are_told(stack, tmp_path):
    run, page = _page(stack, tmp_path)
    cells, puncta = run.table("cells"), run.table("puncta")
    assert len(puncta) < len(stack.puncta["mRNA"])
    n, volume = cells["puncta_n_cytosol"].to_numpy(), cells["cytosol_volume_um3"].to_numpy()
    near = (n - 1) / volume * 4 / 3 * np.pi * 3.0**3 * 0.12**2 * 0.35
    told = re.search(r"at random in their cytosol, ([\d.]+) % would", page)
    assert float(told[1]) == pytest.approx(100 * (1 - np.exp(-near[0])), abs=1)
    assert "Numbers of mRNA are too low where puncta crowd" in page
    assert "MRNA" not in page


def test_points_at_random_have_neighbours_as_often_as_is_expected():
    rng = np.random.default_rng(0)
    radii = np.array([1.0, 0.4, 0.4])
    shares = []
    for _ in range(60):
        points = rng.uniform(0, 10, (400, 3))
        apart = np.abs(points[:, None] - points)
        apart = np.minimum(apart, 10 - apart) / radii
        distance = (apart**2).sum(axis=-1)
        np.fill_diagonal(distance, np.inf)
        shares.append((distance.min(axis=1) < 1).mean())
    expected = expected_crowded(np.array([400.0]), np.array([1000.0]), radii)
    assert np.mean(shares) == pytest.approx(expected, abs=0.008)


class _Labels:
    sizes = {"z": 5, "y": 20, "x": 20}  # noqa: RUF012
    spacing_um = {"z": 0.5, "y": 0.1, "x": 0.1}  # noqa: RUF012

    def labels(self, name, z):
        plane = np.zeros((20, 20), np.uint8)
        plane[:, :5] = z < 2
        return plane


def test_near_an_outline_is_measured_in_micrometres():
    places = [(0.0, 1.0, 1.3), (0.0, 1.0, 1.5), (1.0, 1.0, 0.2), (2.0, 1.0, 0.2), (-0.2, 1.0, 0.9)]
    table = pd.DataFrame(places, columns=["z_um", "y_um", "x_um"])
    near = [share_near(_Labels(), table.iloc[[k]]) for k in range(len(places))]
    assert near == [1, 0, 1, 0, 1]


def test_numbers_are_not_printed_as_coefficients():
    table = pd.DataFrame({"observed": [3, 1], "expected": [1.503, 12.0], "p_value": [0.5, 1.0]})
    heads = {"observed": "together", "expected": "expected", "p_value": "p"}
    shown = _of_numbers(table, heads, file="tables/x.csv")
    assert [h[0] for h in shown.headings] == ["together", "expected", "p"]
    assert [[c.text for c in row] for row in shown.rows] == [
        ["3", "1.50", "0.500"],
        ["1", "12", "1.000"],
    ]


def test_words_of_the_page():
    assert (counted(1, "cell"), counted(0, "cell")) == ("1 cell", "0 cells")
    assert told_once(["a", "b", "a", "a"]) == ["a (3 times)", "b"]
