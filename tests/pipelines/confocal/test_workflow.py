"""One stack from the file to numbers per cell."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from aequorea.errors import CalibrationError, ChannelError, InputError
from aequorea.io import read_labels, write_ome_tiff
from aequorea.model import Image
from aequorea.pipelines.confocal import analyse
from aequorea.pipelines.confocal.anatomy import Anatomy, geometry_of_cells
from aequorea.pipelines.confocal.measures import protein_columns
from aequorea.pipelines.confocal.puncta import located
from aequorea.pipelines.run import verify
from aequorea.segmentation.recipes import three_cams_bodies
from aequorea.simulate import PunctaLaw, render_puncta, simulated_confocal

pytestmark = pytest.mark.filterwarnings("ignore:.*z_scale_factor 1")


@pytest.fixture(scope="module")
def run(stack_file, channels, tmp_path_factory):
    return analyse(stack_file, parameters=channels, out=tmp_path_factory.mktemp("run") / "run")


def test_cells_and_counts_are_those_of_the_truth(run, stack):
    cells = run.table("cells")
    assert len(cells) == 2
    true_volumes = np.bincount(stack.cells.ravel())[1:] * np.prod(stack.spacing_um)
    assert np.allclose(np.sort(cells["volume_um3"]), np.sort(true_volumes), rtol=0.15)
    found, true = int(cells["puncta_n"].sum()), len(stack.puncta["Ryr2"])
    assert 0.75 * true < found <= 1.05 * true
    assert (cells["puncta_n"] == cells["puncta_n_cytosol"] + cells["puncta_n_nucleus"]).all()


def test_distances_are_those_of_the_labels(run):
    """Every distance again, by a distance transform of the run's own labels."""
    puncta = run.table("puncta")
    spacing = np.array([0.3, 0.1, 0.1])
    nuclei = read_labels(run.directory / "labels/nuclei.ome.tif")
    cells = read_labels(run.directory / "labels/cells.ome.tif")
    voxel = np.floor(puncta[["z_um", "y_um", "x_um"]].to_numpy() / spacing + 0.5).astype(int)
    for label in (1, 2):
        distance = ndimage.distance_transform_edt(nuclei != label, sampling=spacing)
        own = (puncta["cell"] == label).to_numpy()
        assert np.array_equal(cells[tuple(voxel[own].T)], np.full(own.sum(), label))
        at_centre = distance[tuple(voxel[own].T)]
        told = puncta.loc[own, "distance_nucleus_um"].to_numpy()
        half_a_voxel = 0.5 * np.linalg.norm(spacing)
        assert np.abs(told - at_centre).max() <= half_a_voxel + 1e-6
        assert np.abs(told - at_centre).mean() < 0.1
    assert puncta.loc[puncta["cell"] == 0, "distance_nucleus_um"].isna().all()


def test_attraction_is_seen_beside_chance(run):
    chance = run.table("chance")
    ratios = chance[chance["measure"] == "median distance to the nucleus"]["ratio"]
    assert (ratios < 0.95).all()
    cells = run.table("cells")
    assert (cells["puncta_mean_volume_rank"] < 0.45).all()
    shells = run.table("shells")
    first = shells[(shells["role"] == "puncta") & (shells["shell"] == 1)]["ratio"]
    assert (first > 1.2).all()
    totals = shells.groupby(["cell", "role"])[["observed", "expected"]].sum()
    assert np.allclose(totals["observed"], totals["expected"])


def test_distribution_functions_rise_from_0_to_1(run):
    table = run.table("distributions")
    assert set(table["measure"]) == {"distance_um", "normalized_distance", "volume_rank"}
    for (role, measure), own in table.groupby(["role", "measure"]):
        last = own.groupby("cell")["observed"].last()
        assert np.allclose(last, 1.0, atol=0.02), (role, measure)
    spots = table[table["role"] == "puncta"]
    assert (spots.groupby(["cell", "measure"])["observed"].diff().dropna() >= 0).all()
    nearer = spots[spots["measure"] == "volume_rank"].groupby("value")["observed"].mean()
    assert nearer[0.5] > 0.6  # an attraction of 2 puts 73 % into the nearer half


def test_the_run_is_whole_and_runs_once(channels, run, stack_file):
    assert verify(run.directory).ok
    again = analyse(stack_file, parameters=channels, out=run.directory)
    assert again.executed == ()
    assert "aequorea · confocal" in run.report.read_text(encoding="utf-8")


def test_a_late_parameter_touches_late_steps_only(channels, stack_file, tmp_path):
    first = analyse(stack_file, parameters=channels, out=tmp_path / "run")
    changed = analyse(
        stack_file,
        parameters={**channels, "puncta": {"channel": "Ryr2", "threshold": 9.0}},
        out=tmp_path / "run",
    )
    assert "nuclei" not in changed.executed
    assert "candidates" not in changed.executed
    assert {"puncta", "measures", "chance", "report"} <= set(changed.executed)
    assert len(changed.table("puncta")) <= len(first.table("puncta"))
    assert changed.table("thresholds")["source"].tolist() == ["given"]


def test_hot_pixels_change_nothing(channels, stack, run, tmp_path):
    """The same stack with its hot pixels taken for what is around them."""
    images = {}
    for name, image in stack.images.items():
        clean = image.copy()
        for z, y, x in stack.hot_pixels:
            window = image[z, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            clean[z, y, x] = np.median(window)
        images[name] = clean
    data = np.stack(list(images.values()))
    image = Image(
        data=data, axes="czyx", channels=tuple(images), spacing_um={"z": 0.3, "y": 0.1, "x": 0.1}
    )
    write_ome_tiff(image, tmp_path / "clean.ome.tif")
    clean = analyse(tmp_path / "clean.ome.tif", parameters=channels, out=tmp_path / "run")
    for column in ("puncta_n", "n_nuclei"):
        assert clean.table("cells")[column].tolist() == run.table("cells")[column].tolist()
    assert np.allclose(clean.table("cells")["volume_um3"], run.table("cells")["volume_um3"])


def test_scaled_planes_scale_axial_distances(channels, stack_file, run, tmp_path):
    scaled = analyse(
        stack_file, parameters={**channels, "z_scale_factor": 0.85}, out=tmp_path / "run"
    )
    ratio = scaled.table("cells")["volume_um3"].sum() / run.table("cells")["volume_um3"].sum()
    assert ratio == pytest.approx(0.85, rel=0.05)
    assert scaled.table("channels")["z_scale_factor"].unique() == [0.85]


def test_labels_can_be_given(channels, stack, stack_file, tmp_path):
    np.save(tmp_path / "nuclei.npy", stack.nuclei)
    np.save(tmp_path / "cells.npy", stack.cells)
    given = {
        **channels,
        "nuclei": {"channel": "nuclei", "labels": str(tmp_path / "nuclei.npy")},
        "cells": {"labels": str(tmp_path / "cells.npy")},
    }
    found = analyse(stack_file, parameters=given, out=tmp_path / "run")
    volumes = np.bincount(stack.cells.ravel())[1:] * np.prod(stack.spacing_um)
    assert np.allclose(found.table("cells")["volume_um3"], volumes)


def test_channels_are_exported_with_their_calibration(channels, stack, stack_file, tmp_path):
    import aequorea

    run = analyse(
        stack_file, parameters={**channels, "export_channels": True}, out=tmp_path / "run"
    )
    image = aequorea.open(run.directory / "results/channels/Ryr2.ome.tif")
    assert image.spacing_um == {"z": 0.3, "y": 0.1, "x": 0.1}
    assert np.array_equal(np.asarray(image).squeeze(), stack.images["Ryr2"])


@pytest.mark.filterwarnings("ignore:.*")
def test_a_stack_without_cells_is_a_result(channels, write, tmp_path):
    empty = simulated_confocal((12, 96, 96), n_cells=0, puncta={"Ryr2": PunctaLaw()}, rng=0)
    path = write(empty, tmp_path / "empty.ome.tif")
    run = analyse(path, parameters=channels, out=tmp_path / "run")
    assert len(run.table("cells")) == 0
    assert "No cell was found" in run.report.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"nuclei": {"channel": "DAPI"}}, ChannelError, "no channel 'DAPI' for nuclei"),
        ({"cells": {}}, ChannelError, "which channel is cells"),
        ({"z_scale_factor": 0.9, "objective_na": 1.4}, InputError, "give one"),
        ({"objective_na": 1.4}, InputError, "needed together"),
        ({"frame": 3}, InputError, "no frame 3"),
    ],
)
def test_what_cannot_be_used_is_refused(channels, stack_file, tmp_path, parameters, error, message):
    with pytest.raises(error, match=message):
        analyse(stack_file, parameters={**channels, **parameters}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unknown_plane_distance_is_refused(channels, stack, tmp_path):
    image = Image(
        data=stack.stack(),
        axes="czyx",
        channels=tuple(stack.images),
        spacing_um={"z": None, "y": 0.1, "x": 0.1},
    )
    write_ome_tiff(image, tmp_path / "flat.ome.tif")
    with pytest.raises(CalibrationError, match="--spacing-um z,y,x"):
        analyse(tmp_path / "flat.ome.tif", parameters=channels, out=tmp_path / "run")


@pytest.fixture(scope="module")
def together(channels, small, write, tmp_path_factory):
    """Two kinds of puncta of which half of the second lie on the first, and a third apart."""
    law = PunctaLaw(per_cell=30, nuclear=0, photons=1500, brightness_cv=0.1)
    stack = simulated_confocal(
        (18, 144, 144), n_cells=1, puncta={"A": law, "B": law, "C": law}, rng=8, **small
    )
    where = tmp_path_factory.mktemp("together")
    first, second = stack.puncta["A"], stack.puncta["B"]
    light = np.full(stack.cells.shape, 6.0, np.float32)
    n = len(second) // 2
    places = np.concatenate([first.position_px[:n], second.position_px[n:]])
    sigma = np.array(stack.psf_sigma_um) / stack.spacing_um
    render_puncta(light, places, second.photons, list(sigma))
    images = dict(stack.images)
    images["B"] = (np.random.default_rng(0).poisson(light) + 100).astype(np.uint16)
    data = np.stack(list(images.values()))
    image = Image(
        data=data, axes="czyx", channels=tuple(images), spacing_um={"z": 0.3, "y": 0.1, "x": 0.1}
    )
    write_ome_tiff(image, where / "abc.ome.tif")
    kinds = {"puncta": {"channel": "A"}, "puncta2": {"channel": "B"}, "puncta3": {"channel": "C"}}
    options = {**channels, **kinds, "nulls": {"n_simulations": 99}}
    options.pop("protein")
    return analyse(where / "abc.ome.tif", parameters=options, out=where / "run"), n


def test_conjunctions_are_those_put_there(together):
    run, n = together
    table = run.table("conjunctions").set_index("roles")
    assert list(table.index) == ["puncta+puncta2", "puncta+puncta3", "puncta2+puncta3",
                                 "puncta+puncta2+puncta3"]  # fmt: skip
    pair = table.loc["puncta+puncta2"]
    assert 0.5 * n <= pair["observed"] <= n + 3
    assert pair["p_value"] <= 0.02
    assert pair["ratio"] > 2
    assert table.loc["puncta+puncta3", "p_value"] > 0.02
    shares = [float(v) for v in pair["percent_of_each"].split("+")]
    assert all(0 < share <= 100 for share in shares)


def test_lone_bright_spots_are_found_again(together):
    run, _ = together
    table = run.table("efficiency")
    assert set(table["role"]) == {"puncta", "puncta2", "puncta3"}
    typical = table[table["brightness"] == "typical"]
    assert (typical["n_found"] <= typical["n_injected"]).all()
    assert typical["fraction"].mean() > 0.95
    assert "put into the image" in run.report.read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore:.*")
def test_the_recipe_of_the_notebooks_runs_without_a_cell_channel(stack, stack_file, tmp_path):
    run = analyse(
        stack_file,
        parameters={
            "recipe": "3cams",
            "nuclei": {"channel": "nuclei"},
            "puncta": {"channel": "Ryr2"},
        },
        out=tmp_path / "run",
    )
    masks = three_cams_bodies(stack.images["nuclei"])
    found = read_labels(run.directory / "labels/nuclei.ome.tif")
    assert np.array_equal(found.reshape(stack.nuclei.shape) > 0, masks.nuclei)
    assert "3CaMs recipe" in run.report.read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore:.*")
def test_a_cell_without_a_nucleus_is_told(stack, stack_file, channels, tmp_path):
    np.save(tmp_path / "one.npy", np.where(stack.nuclei == 1, 1, 0))
    nuclei = {"channel": "nuclei", "labels": str(tmp_path / "one.npy")}
    run = analyse(stack_file, parameters={**channels, "nuclei": nuclei}, out=tmp_path / "run")
    assert len(run.table("cells")) == 1
    assert "1 bright pieces without a nucleus were dropped" in run.report.read_text("utf-8")


@pytest.mark.filterwarnings("ignore:.*")
def test_puncta_fitted_beyond_the_border_do_no_harm(stack, channels, tmp_path):
    """The first planes cut off, so that spots lie on the border of the stack and beyond."""
    image = Image(
        data=stack.stack()[:, 7:14],
        axes="czyx",
        channels=tuple(stack.images),
        spacing_um={"z": 0.3, "y": 0.1, "x": 0.1},
    )
    write_ome_tiff(image, tmp_path / "cut.ome.tif")
    run = analyse(tmp_path / "cut.ome.tif", parameters=channels, out=tmp_path / "run")
    puncta = run.table("puncta")
    assert (puncta["z_um"] < 0).any()
    assert run.table("efficiency")["n_injected"].sum() > 0
    assert run.table("cells")["touches_first_or_last_plane"].all()


def test_a_spot_fitted_beyond_the_stack_belongs_to_the_cell_below(stack):
    anatomy = Anatomy(stack.cells[7:14], stack.nuclei[7:14], stack.spacing_um)
    z, y, x = np.argwhere((anatomy.cells == 1) & (anatomy.landmarks == 0))[0]
    assert z == 0
    beyond = np.array([[-2.0, y, x]]) * stack.spacing_um
    table = located(beyond, anatomy, {}, foci_radius_um=0.3, foci_puncta=4)
    assert table["cell"].tolist() == [1]
    assert table["compartment"].tolist() == ["cytosol"]
    assert table["z_um"].tolist() == [-0.6]


def test_labels_of_few_cells_take_a_byte_and_change_nothing(stack):
    wide = Anatomy(stack.cells.astype(np.int32), stack.nuclei.astype(np.int32), stack.spacing_um)
    narrow = Anatomy(stack.cells.astype(np.uint8), stack.nuclei.astype(np.uint8), stack.spacing_um)
    for name in ("landmarks", "membranes", "cytosol"):
        found = getattr(narrow, name)
        assert found.dtype == np.uint8
        assert np.array_equal(found, getattr(wide, name))
    assert geometry_of_cells(narrow).equals(geometry_of_cells(wide))
    assert narrow.with_nucleus().tolist() == wide.with_nucleus().tolist() == [1, 2]


def test_a_protein_has_the_mean_over_cytosol_and_nucleus(stack):
    anatomy = Anatomy(stack.cells.astype(np.uint8), stack.nuclei.astype(np.uint8), stack.spacing_um)
    image, labels = stack.images["protein"], np.array([1, 2])
    found, background = protein_columns(image, anatomy, labels, near_um=1.0)
    expected = ndimage.mean(image, anatomy.cytosol, labels) - background
    assert np.array_equal(found["mean_cytosol"], expected)
    expected = ndimage.mean(image, anatomy.landmarks, labels) - background
    assert np.array_equal(found["mean_nucleus"], expected)


def test_a_channel_may_be_renamed_and_spots_be_wider_in_a_rerun(stack_file, channels, tmp_path):
    bare = {**channels, "nuclei": {"channel": "nuclei"}, "detection": {"efficiency": False}}
    del bare["protein"]
    first = analyse(stack_file, parameters=bare, out=tmp_path / "run")
    assert "Ryr2" in set(first.table("channels")["channel"])
    renamed = {**bare, "puncta": {"channel": "Ryr2", "name": "mRNA", "spot_sigma_z_um": 0.1}}
    again = analyse(stack_file, parameters=renamed, out=tmp_path / "run")
    fresh = analyse(stack_file, parameters=renamed, out=tmp_path / "fresh")
    assert "mRNA" in set(again.table("channels")["channel"])
    pd.testing.assert_frame_equal(again.table("channels"), fresh.table("channels"))


def test_a_threshold_within_the_noise_is_refused(stack_file, channels, tmp_path):
    low = {**channels, "puncta": {"channel": "Ryr2", "threshold": 2.0}}
    with pytest.raises(InputError, match="SD of the noise at least"):
        analyse(stack_file, parameters=low, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
