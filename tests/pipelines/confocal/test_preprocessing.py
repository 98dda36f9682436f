"""Uneven light, background, depth and chromatic shift, on stacks whose truth is known."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from scipy.spatial import cKDTree

from aequorea.cli.app import run as command
from aequorea.errors import AxisMismatchError, CalibrationError, ChannelError, InputError
from aequorea.io import write_ome_tiff
from aequorea.model import Image
from aequorea.pipelines.confocal import analyse, confocal_parameters
from aequorea.pipelines.confocal.depth import depth_of, factor_at
from aequorea.pipelines.confocal.preprocessing import moved_by_voxels
from aequorea.simulate import PunctaLaw, render_puncta, simulated_confocal

pytestmark = pytest.mark.filterwarnings("ignore:.*")

SPACING = np.array([0.3, 0.1, 0.1])
SIGMA_UM = np.array([0.35, 0.12, 0.12])
SHIFT_UM = np.array([0.3, -0.2, 0.13])


@pytest.fixture(scope="module", autouse=True)
def _pages_without_figures(undrawn):
    """They are drawn in the tests of reports."""


def write(path, images, spacing=SPACING):
    image = Image(
        data=np.stack(list(images.values())),
        axes="czyx",
        channels=tuple(images),
        spacing_um=dict(zip("zyx", spacing.tolist(), strict=True)),
    )
    write_ome_tiff(image, path)
    return path


def spots(shape, places_um, photons, rng, light=6.0, field=1.0):
    canvas = np.full(shape, light, np.float32)
    render_puncta(canvas, places_um / SPACING, photons, list(SIGMA_UM / SPACING))
    return (rng.poisson(canvas * field) + 100).astype(np.uint16)


@pytest.fixture(scope="module")
def beads(tmp_path_factory):
    """Beads of which channel B is shifted against the nuclei, and A is not."""
    rng, shape = np.random.default_rng(0), (20, 144, 144)
    grid = np.stack(np.meshgrid([2.9], np.arange(2, 13, 3.0), np.arange(2, 13, 3.0)), -1)
    places = grid.reshape(-1, 3) + rng.uniform(-0.3, 0.3, (16, 3))
    moves = {"nuclei": 0 * SHIFT_UM, "cells": 0 * SHIFT_UM, "A": 0 * SHIFT_UM, "B": SHIFT_UM}
    images = {n: spots(shape, places + m, np.full(16, 5e3), rng) for n, m in moves.items()}
    folder = tmp_path_factory.mktemp("beads")
    path = write(folder / "beads.ome.tif", images)
    told = ["confocal", "chromatic", str(path), "--reference", "nuclei", "--out"]
    assert command([*told, str(folder / "shifts.json"), "--sigma-um", "0.35,0.12,0.12"]) == 0
    return folder / "shifts.json"


@pytest.fixture(scope="module")
def dual(small, tmp_path_factory):
    """One structure with both dyes, of which B is displaced."""
    law = PunctaLaw(per_cell=40, nuclear=0, photons=2500, brightness_cv=0.1)
    stack = simulated_confocal((20, 144, 144), n_cells=1, puncta={"A": law}, rng=5, **small)
    own, rng = stack.puncta["A"], np.random.default_rng(1)
    images = {n: stack.images[n] for n in ("nuclei", "cells", "A")}
    images["B"] = spots(stack.cells.shape, own.position_um + SHIFT_UM, own.photons, rng)
    path = write(tmp_path_factory.mktemp("dual") / "dual.ome.tif", images)
    options = {
        "nuclei": {"channel": "nuclei"},
        "cells": {"channel": "cells"},
        "puncta": {"channel": "A"},
        "puncta2": {"channel": "B"},
        "nulls": {"n_simulations": 19},
        "conjunction": {"pair_distance_um": 0.15},
        "detection": {"efficiency": False},
    }
    return path, options


def test_shifts_of_beads_are_those_put_there(beads):
    content = json.loads(beads.read_text(encoding="utf-8"))
    assert content["reference"] == "nuclei"
    for name, true in (("A", 0 * SHIFT_UM), ("B", SHIFT_UM)):
        found = content["channels"][name]
        error = np.abs(np.array(found["shift_um"]) - true)
        assert (error < 0.010).all()
        assert (error < 3.5 * np.array(found["standard_error_um"])).all()
    assert beads.with_suffix(".png").stat().st_size > 5000


def test_conjunctions_of_one_structure_become_right(beads, dual, tmp_path):
    path, options = dual
    before = analyse(path, parameters=options, out=tmp_path / "before")
    after = analyse(path, parameters={**options, "chromatic": str(beads)}, out=tmp_path / "after")
    n = len(after.table("puncta").query("role == 'puncta' and compartment == 'cytosol'"))
    assert before.table("conjunctions")["observed"].sum() < 0.3 * n
    assert after.table("conjunctions")["observed"].sum() > 0.85 * n
    table = after.table("chromatic").set_index("role")
    assert table.loc["puncta2", "shift_z_nm"] == pytest.approx(300, abs=10)
    assert table.loc["nuclei", "moved"] == "reference"
    assert "was not checked" in before.report.read_text("utf-8")
    page = after.report.read_text("utf-8")
    assert "was not checked" not in page
    assert "measured on beads" in page


def test_shifts_for_other_images_are_refused(beads, dual, tmp_path):
    path, options = dual
    content = json.loads(beads.read_text(encoding="utf-8"))
    cases = {
        CalibrationError: {"spacing_um": [0.3, 0.2, 0.2]},
        ChannelError: {"channels": {"A": content["channels"]["A"]}},
        InputError: {"format": "another"},
    }
    for error, change in cases.items():
        other = tmp_path / "other.json"
        other.write_text(json.dumps({**content, **change}), encoding="utf-8")
        with pytest.raises(error, match=r"other\.json"):
            analyse(path, parameters={**options, "chromatic": str(other)}, out=tmp_path / "run")


@pytest.fixture(scope="module")
def vignetted(small, tmp_path_factory):
    """Spots of one brightness everywhere, light that falls to less than half in the corners."""
    shape, rng = (16, 160, 160), np.random.default_rng(2)
    law = PunctaLaw(per_cell=0, nuclear=0)
    stack = simulated_confocal(shape, n_cells=1, puncta={"A": law}, rng=6, **small)
    y, x = np.meshgrid(*2 * [np.linspace(-1, 1, 160)], indexing="ij")
    field = 1.2 - 0.4 * (y**2 + x**2)
    field /= field.mean()
    grid = np.stack(np.meshgrid([2.2], np.arange(1, 16, 1.4), np.arange(1, 16, 1.4)), -1)
    places = grid.reshape(-1, 3) + rng.uniform(-0.2, 0.2, (grid.size // 3, 3))
    photons = np.full(len(places), 1500.0)
    images = {n: stack.images[n] for n in ("nuclei", "cells")}
    images["A"] = spots(shape, places, photons, rng, light=20.0, field=field)
    # a stain with light of its own outside of cells, seen unevenly
    even = np.where(stack.cells > 0, 80.0, 20.0)
    images["P"] = (rng.poisson(even * field) + 100).astype(np.uint16)
    folder = tmp_path_factory.mktemp("vignetted")
    path = write(folder / "cells.ome.tif", images)
    flat = Image(
        data=(1000 * field).astype(np.float32),
        axes="yx",
        channels=("flat",),
        spacing_um={"y": None, "x": None},
    )
    write_ome_tiff(flat, folder / "flat.ome.tif")
    return path, str(folder / "flat.ome.tif"), places


def roles(puncta, protein):
    return {
        "nuclei": {"channel": "nuclei"},
        "cells": {"channel": "cells"},
        "puncta": {"channel": "A", **puncta},
        "protein": {"channel": "P", **protein},
        "nulls": {"n_simulations": 19},
        "detection": {"injected_spots": 5},
    }


def test_flat_field_evens_intensities_and_leaves_detection_alone(vignetted, tmp_path):
    path, flat, places = vignetted
    light = {"dark": 100, "flat_field": flat}
    plain = analyse(path, parameters=roles({}, {}), out=tmp_path / "plain")
    even = analyse(path, parameters=roles(light, light), out=tmp_path / "even")
    tables = [run.table("puncta") for run in (plain, even)]
    for table in tables:
        found = table[["z_um", "y_um", "x_um"]].to_numpy(float)
        near = cKDTree(places).query(found, distance_upper_bound=0.3)[0] < 0.3
        f1 = 2 * near.sum() / (len(found) + len(places))
        assert f1 > 0.97
        assert (~near).sum() <= 2
    assert len(tables[0]) == len(tables[1])
    spread = [float(t["intensity"].std() / t["intensity"].mean()) for t in tables]
    assert spread[1] < 0.5 * spread[0]
    assert "divided by a flat field of mean 1" in even.report.read_text("utf-8")
    assert even.table("cells")["protein_mean_cytosol"][0] == pytest.approx(60, rel=0.1)


def test_background_is_taken_off_once(vignetted, tmp_path):
    path, flat, _ = vignetted
    means = {}
    for name, how in {
        "none": {},
        "given": {"background": "given", "background_level": 20},
        "local": {"background": "local", "background_radius_um": 6.0},
    }.items():
        light = {"dark": 100, "flat_field": flat, **how}
        run = analyse(path, parameters=roles({}, light), out=tmp_path / "run")
        means[name] = float(run.table("cells")["protein_mean_cytosol"][0])
        table = run.table("proteins")
        assert table["source"][0] == ("median outside cells" if name == "none" else name)
        assert "channels" not in run.executed or name == "none"
    assert means["given"] == pytest.approx(means["none"], abs=1.5)
    assert means["local"] == pytest.approx(means["none"], abs=4)


def test_depth_is_fitted_and_corrected_on_request():
    cells = np.zeros((20, 30, 30), np.int32)
    cells[2:18, 5:25, 5:25] = 1
    z = np.arange(20) * 0.5
    image = 10 + np.where(cells > 0, 100 * np.exp(-z / 5.0)[:, None, None], 0)
    image = np.random.default_rng(0).poisson(image)
    table, fit = depth_of(image, cells, 0.5)
    assert fit["half_depth_um"] == pytest.approx(5 * np.log(2), rel=0.03)
    assert fit["half_depth_low_um"] <= fit["half_depth_um"] <= fit["half_depth_high_um"]
    import pandas as pd

    fits = pd.DataFrame([{"role": "A", **fit}])
    factor = factor_at(fits, "A", z)
    lit = table["mean_in_cells"].to_numpy()[2:18] * factor[2:18]
    assert lit == pytest.approx(lit[0], rel=0.05)
    assert factor[0] == 1
    assert depth_of(image[:3], cells[:3], 0.5)[1]["reason"]
    assert depth_of(image, 0 * cells, 0.5)[1]["reason"]


def test_attenuation_correction_is_off_unless_asked_for(vignetted, tmp_path):
    path, _, _ = vignetted
    plain = analyse(path, parameters=roles({}, {}), out=tmp_path / "run")
    on = {**roles({}, {}), "attenuation_correction": True}
    told = analyse(path, parameters=on, out=tmp_path / "run")
    assert "candidates" not in told.executed
    assert {"puncta", "measures"} <= set(told.executed)
    assert len(told.table("puncta")) == len(plain.table("puncta"))
    assert "erased with it" in told.report.read_text("utf-8") or (
        told.table("channels")["light_at_the_end"].min() > 0.5
    )


def test_wrong_shapes_and_contradictions_are_refused(vignetted, tmp_path):
    path, flat, _ = vignetted
    np.save(tmp_path / "small.npy", np.ones((20, 20)))
    wrong = {"dark": 100, "flat_field": str(tmp_path / "small.npy")}
    with pytest.raises(AxisMismatchError, match=r"small\.npy: planes of"):
        analyse(path, parameters=roles(wrong, {}), out=tmp_path / "run")
    np.save(tmp_path / "black.npy", np.zeros((160, 160)))
    black = {"dark": 0, "flat_field": str(tmp_path / "black.npy")}
    with pytest.raises(InputError, match=r"black\.npy: flat field: expected light"):
        analyse(path, parameters=roles(black, {}), out=tmp_path / "run")
    model = partial(confocal_parameters(1, 1))
    for options, message in (
        ({"puncta": {"flat_field": flat}}, "flat_field needs dark"),
        ({"puncta": {"dark": 1, "dark_image": flat}}, "not both"),
        ({"protein": {"background": "given"}}, "go together"),
        ({"recipe": "3cams", "nuclei": {"dark": 5}}, "as recorded"),
    ):
        with pytest.raises(ValueError, match=message):
            model(**options)


def test_images_move_by_whole_voxels():
    image = np.arange(12).reshape(3, 4)
    assert moved_by_voxels(image, (0, 0)).tolist() == image.tolist()
    assert moved_by_voxels(image, (-1, 1)).tolist()[0] == [4, 4, 5, 6]


def test_files_of_a_study_are_found_from_its_folder(tmp_path):
    from aequorea.pipelines.confocal.study import with_channels
    from aequorea.pipelines.study.definition import load_study

    (tmp_path / "a.tif").touch()
    (tmp_path / "samples.csv").write_text("file,animal\na.tif,m1\n", encoding="utf-8")
    text = 'sheet = "samples.csv"\n[channels]\nprotein = "P"\n[params]\nchromatic = "s.json"\n'
    text += '[params.protein]\ndark = 0\nflat_field = "flat.tif"\n'
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    params = with_channels(load_study(tmp_path / "study.toml")).params
    assert params["chromatic"] == str(tmp_path / "s.json")
    assert params["protein"]["flat_field"] == str(tmp_path / "flat.tif")
    assert params["protein"]["dark"] == 0


def test_flat_field_from_files(tmp_path, capsys):
    rng, field = np.random.default_rng(0), np.linspace(0.7, 1.3, 48)[None, :] * np.ones((48, 1))
    files = []
    for k in range(10):
        light = 50 * field * np.ones((3, 1, 1))
        pair = {"a": light, "b": light[:, :, ::-1]}
        images = {n: (rng.poisson(v) + 100).astype(np.uint16) for n, v in pair.items()}
        files.append(str(write(tmp_path / f"{k}.ome.tif", images)))
    out = tmp_path / "flat.tif"
    told = ["--channel", "a", "--dark", "100", "--out", str(out)]
    assert command(["confocal", "flatfield", *files, *told]) == 0
    assert "10 images, 30 planes" in capsys.readouterr().out
    import aequorea

    found = np.asarray(aequorea.open(out)).squeeze()
    assert float(np.sqrt(np.mean((found - field) ** 2))) < 0.01
    assert command(["confocal", "flatfield", *files[:9], *told]) == 2
    assert "at least 10" in capsys.readouterr().err
