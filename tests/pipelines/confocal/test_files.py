"""What a run writes and takes: exported channels, label files with large numbers, odd images."""

from __future__ import annotations

import re
import time
import tracemalloc

import numpy as np
import pytest

import aequorea
from aequorea.io import write_ome_tiff
from aequorea.model import Image
from aequorea.pipelines.confocal import analyse
from aequorea.pipelines.confocal.anatomy import Anatomy, geometry_of_cells
from aequorea.pipelines.confocal.measures import distribution_table, protein_columns, shell_table
from aequorea.spatial.boxes import boxes_of

LARGE = 3_000_000


@pytest.fixture(scope="module", autouse=True)
def _pages_without_figures(undrawn):
    """They are drawn in the tests of reports."""


@pytest.fixture(scope="module")
def quick(channels):
    """No simulations, no injected spots."""
    return {
        **channels,
        "nulls": {"n_simulations": 19, "point_curves": False},
        "detection": {"efficiency": False},
    }


@pytest.mark.filterwarnings("ignore:.*")
def test_what_a_corrected_run_exports_is_not_corrected_twice(quick, stack_file, tmp_path):
    given = {**quick, "z_scale_factor": 0.8, "export_channels": True}
    first = analyse(stack_file, parameters=given, out=tmp_path / "first")
    files = [
        first.directory / f"results/channels/{n}.ome.tif"
        for n in ("nuclei", "cells", "Ryr2", "protein")
    ]
    assert aequorea.open(files[2]).spacing_um == {"z": 0.3, "y": 0.1, "x": 0.1}
    stored = aequorea.open(first.directory / "images.zarr")
    assert stored.spacing_um["z"] == pytest.approx(0.24)
    assert stored.metadata["z_scale_factor"] == 0.8
    again = analyse(files, parameters={**quick, "z_scale_factor": 0.8}, out=tmp_path / "again")
    viewed = analyse(
        first.directory / "images.zarr",
        parameters={**quick, "z_scale_factor": 0.8},
        out=tmp_path / "viewed",
    )
    wanted = first.table("puncta")["distance_nucleus_um"].to_numpy()
    for run in (again, viewed):
        assert np.allclose(run.table("channels")["voxel_z_um"], 0.24)
        found = run.table("puncta")["distance_nucleus_um"].to_numpy()
        assert np.allclose(found, wanted, equal_nan=True, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*")
def test_channels_whose_names_give_one_file_are_exported_apart(quick, stack, tmp_path):
    image = Image(
        data=stack.stack(),
        axes="czyx",
        channels=("nuclei", "cells", "a/b", "A:b"),
        spacing_um=dict(zip("zyx", stack.spacing_um, strict=True)),
    )
    path = write_ome_tiff(image, tmp_path / "stack.ome.tif")
    given = {
        **quick,
        "puncta": {"channel": "a/b"},
        "protein": {"channel": "A:b"},
        "export_channels": True,
    }
    run = analyse(path, parameters=given, out=tmp_path / "run")
    folder = run.directory / "results/channels"
    names = sorted(f.name for f in folder.iterdir())
    assert names == ["A_b (protein).ome.tif", "a_b (puncta).ome.tif", "cells.ome.tif",
                     "nuclei.ome.tif"]  # fmt: skip
    for name, role in zip(names, ("protein", "Ryr2"), strict=False):
        pixels = np.asarray(aequorea.open(folder / name)).squeeze()
        assert np.array_equal(pixels, stack.images[role])


def _renumbered(labels, numbers):
    table = np.zeros(int(labels.max()) + 1, np.uint32)
    table[1:] = numbers
    return table[labels]


def test_label_files_with_numbers_in_the_millions_cost_no_more_than_others(stack):
    numbers = (7, LARGE)
    cells = _renumbered(stack.cells, numbers)
    nuclei = _renumbered(stack.nuclei, (LARGE - 1, 5))
    image = stack.images["protein"]
    tables = []
    rounds = [(stack.cells, stack.nuclei), (cells, nuclei), (cells, nuclei)]  # compiled, then timed
    for own_cells, own_nuclei in rounds:
        tracemalloc.start()
        begun = time.perf_counter()
        anatomy = Anatomy(own_cells, own_nuclei, stack.spacing_um)
        found = geometry_of_cells(anatomy)
        labels = found["cell"].to_numpy()
        columns, _ = protein_columns(image, anatomy, labels, near_um=1.0)
        found = found.assign(**columns)
        distributions = distribution_table(anatomy, {}, {"protein": (image, 0.0)})
        shells = shell_table(anatomy, {}, {"protein": (image, 0.0)}, 5)
        seconds = time.perf_counter() - begun
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        tables.append((found, distributions, shells))
    assert seconds < 2
    assert peak < 100e6
    plain, _, large = tables
    assert large[0]["cell"].tolist() == list(numbers)
    for a, b in zip(plain, large, strict=True):
        numeric = a.select_dtypes("number").drop(columns="cell").columns
        assert np.allclose(a[numeric], b[numeric], equal_nan=True)


def test_boxes_of_large_labels_are_those_of_small_ones(stack):
    small = boxes_of(stack.cells)
    large = boxes_of(_renumbered(stack.cells, (7, LARGE)))
    assert large == {7: small[1], LARGE: small[2]}
    assert boxes_of(np.full((2, 3), LARGE)) == {LARGE: (slice(0, 2), slice(0, 3))}


@pytest.mark.filterwarnings("ignore:.*")
def test_given_labels_keep_their_numbers_in_all_tables(quick, stack, stack_file, tmp_path):
    numbers = (7, LARGE)
    spacing = dict(zip("zyx", stack.spacing_um, strict=True))
    given = dict(quick)
    for role, labels in (("nuclei", stack.nuclei), ("cells", stack.cells)):
        image = Image(data=_renumbered(labels, numbers), axes="zyx", spacing_um=spacing)
        path = write_ome_tiff(image, tmp_path / f"{role}.ome.tif")
        given[role] = {**given[role], "labels": path}
    run = analyse(stack_file, parameters=given, out=tmp_path / "run")
    for name in ("cells", "shells", "distributions", "chance"):
        assert set(run.table(name)["cell"]) == set(numbers), name
    assert set(run.table("puncta")["cell"]) <= {0, *numbers}
    gallery = (run.directory / "gallery.html").read_text(encoding="utf-8")
    assert re.search(r"3\D{0,3}000\D{0,3}000", gallery)
