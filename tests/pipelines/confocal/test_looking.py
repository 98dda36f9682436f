"""Pages to look at: every cell from three sides, every image of a study, curves of one group."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from aequorea.pipelines.confocal import analyse, analyse_study, decide
from aequorea.pipelines.confocal.columns import meaning_of
from aequorea.pipelines.confocal.lights import overall_lights
from aequorea.pipelines.confocal.workbook import WORKBOOK
from aequorea.pipelines.study import unblind
from aequorea.report.confocal_cells import boxes_of, composite, scale_of
from aequorea.report.run_contents import StoredImage
from aequorea.simulate import PunctaLaw, simulated_confocal

pytestmark = pytest.mark.filterwarnings("ignore::aequorea.errors.AequoreaWarning")

TOML = """sheet = "{sheet}"
out = "{out}"
[channels]
nuclei = "nuclei"
cells = "cells"
puncta = "Ryr2"
[params.nulls]
n_simulations = 19
"""


@pytest.fixture(scope="module")
def run(stack_file, channels, tmp_path_factory):
    return analyse(stack_file, parameters=channels, out=tmp_path_factory.mktemp("looking") / "run")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write, small):
    """Two animals; the sheet with and without conditions."""
    where = tmp_path_factory.mktemp("studies")
    rows = ["file,sample,animal,condition"]
    for k in range(2):
        stack = simulated_confocal(
            (18, 100, 110), n_cells=1, puncta={"Ryr2": PunctaLaw(per_cell=40)}, rng=k, **small
        )
        write(stack, where / f"KnockOut{k}.ome.tif")
        rows.append(f"KnockOut{k}.ome.tif,KnockOut{k},mouse{k},{'sham' if k else 'TAC'}")
    (where / "told.csv").write_text("\n".join(rows) + "\n")
    plain = [",".join(row.split(",")[:3]) for row in rows]
    (where / "plain.csv").write_text("\n".join(plain) + "\n")
    (where / "plain.toml").write_text(TOML.format(sheet="plain.csv", out="plain"))
    blind = TOML.format(sheet="told.csv", out="blind") + '[compare]\nreference = "sham"\n'
    (where / "blind.toml").write_text(blind)
    return where


@pytest.fixture(scope="module")
def plain(folder):
    return analyse_study(folder / "plain.toml")


@pytest.fixture(scope="module")
def blind(folder):
    return analyse_study(folder / "blind.toml", blind=True)


def test_the_gallery_shows_every_cell_once(run):
    page = (run.directory / "gallery.html").read_text(encoding="utf-8")
    assert len(re.findall("<figure>", page)) == len(run.table("cells"))
    assert page.count("data:image/jpeg") == len(run.table("cells"))
    assert len(page) < 130_000 * len(run.table("cells")) + 20_000
    assert 'href="gallery.html"' in run.report.read_text(encoding="utf-8")
    cells = run.table("cells").set_index("cell")
    told = f"{cells.loc[1, 'puncta_n_cytosol']} in the cytosol"
    assert told in page


def test_boxes_are_those_of_the_labels(run):
    image = StoredImage(run.directory)
    stack = np.stack([image.labels("cells", z=z) for z in range(image.sizes["z"])])
    for label, box in boxes_of(image, "cells").items():
        places = np.argwhere(stack == label)
        assert [s.start for s in box] == places.min(axis=0).tolist()
        assert [s.stop for s in box] == (places.max(axis=0) + 1).tolist()
        assert np.array_equal(image.labels_box("cells", box), stack[box])
        assert np.array_equal(
            image.box("Ryr2", box)[0], image.plane("Ryr2", z=box[0].start)[box[1:]]
        )


def test_a_composite_adds_channels_within_their_ranges():
    planes = {"a": np.array([[0, 10]]), "b": np.array([[5, 20]])}
    colours = {"a": ("red", np.array([1.0, 0, 0])), "b": ("blue", np.array([0, 0, 0.5]))}
    found = composite(planes, colours, {"a": (0, 10), "b": (0, 10)})
    assert found.tolist() == [[[0, 0, 0.25], [1, 0, 0.5]]]
    assert scale_of([(3.0, 1.0, 7.0)]) > scale_of([(3.0, 1.0, 3.0)])


def test_curves_and_half_distances_are_there_without_conditions(plain):
    halves = plain.table("distribution_conditions").set_index("measure")
    assert set(halves["condition"]) == {"all images"}
    assert halves.loc["volume_rank", "median_by_chance"] == pytest.approx(0.5, abs=0.02)
    assert halves.loc["distance_um", "n_animals"] == 2
    curves = plain.table("distribution_curves")
    own = curves[curves["measure"] == "volume_rank"].pivot(
        index="value", columns="animal", values="cdf"
    )
    assert set(own.columns) == {"", "by chance", "mouse0", "mouse1"}
    assert np.allclose(own[["mouse0", "mouse1"]].mean(axis=1), own[""])
    page = plain.summary.report.read_text(encoding="utf-8")
    assert "How far from the nucleus?" in page
    assert "Half-distances" in page
    assert len(plain.table("distribution_comparison")) == 0


def test_every_column_of_a_study_is_described(plain):
    for path in sorted((plain.directory / "tables").glob("*.parquet")):
        missing = [c for c in pd.read_parquet(path) if meaning_of(path.stem, c) is None]
        assert missing == [], path.stem
    assert (plain.directory / WORKBOOK).is_file()


def test_lights_are_on_the_page_in_words(plain):
    lights = overall_lights(plain.directory)
    assert set(lights) == {"KnockOut0", "KnockOut1"}
    page = plain.summary.report.read_text(encoding="utf-8")
    for light in set(lights.values()):
        assert re.search(rf"[✓!✕] {light}", page)


def test_the_triage_page_decides_what_it_says(folder, plain):
    """The command on the page, pasted, and the study run again."""
    from aequorea.cli.app import run as command_line

    page = (plain.directory / "triage.html").read_text(encoding="utf-8")
    command = re.search(r"<code>aequorea (confocal triage \S+ KnockOut0 --accept)</code>", page)
    assert command_line(command.group(1).split()) == 0
    again = analyse_study(folder / "plain.toml")
    assert again.executed == ()
    table = again.table("traffic_lights").set_index(["sample", "criterion"])
    assert table.loc[("KnockOut0", "overall"), "light"] == "green"
    decide(plain.directory, ["KnockOut0"], "reject", reason="wrong slide")
    rejected = analyse_study(folder / "plain.toml")
    assert overall_lights(rejected.directory)["KnockOut0"] == "red"
    page = (plain.directory / "triage.html").read_text(encoding="utf-8")
    assert page.index("KnockOut0 <span") < page.index("KnockOut1 <span")
    assert "wrong slide" in page
    (plain.directory / "triage.json").unlink()


def test_a_blinded_triage_page_names_no_file_and_no_condition(blind):
    state = json.loads((blind.directory / "study.json").read_text(encoding="utf-8"))
    pages = [blind.directory / "triage.html", blind.summary.report]
    pages += [d / "gallery.html" for d in blind.run_dirs.values()]
    for path in pages:
        page = re.sub('base64,[^"]*', "", path.read_text(encoding="utf-8"))
        for word in ("KnockOut", "sham", "TAC", "mouse"):
            assert word not in page, path
    triage = pages[0].read_text(encoding="utf-8")
    assert all(code in triage for code in state["samples"])
    assert set(blind.table("distribution_conditions")["condition"]) == {"all images"}


def test_a_blinded_workbook_tells_nothing(blind):
    import openpyxl

    book = openpyxl.load_workbook(blind.directory / WORKBOOK, read_only=True)
    told = {str(v) for sheet in book for row in sheet.iter_rows(values_only=True) for v in row}
    assert not [t for t in told if "KnockOut" in t or t in {"sham", "TAC"}]
    book.close()


def test_decisions_of_a_blinded_study_hold_once_it_is_unblinded(folder, blind):
    codes = list(json.loads((blind.directory / "study.json").read_text("utf-8"))["samples"])
    decide(blind.directory, codes[:1], "reject", reason="blurred")
    again = analyse_study(folder / "blind.toml", blind=True)
    cells = again.table("cells")
    assert set(cells[cells["rejected"]]["sample"]) == set(codes[:1])
    assert "condition" not in cells
    unblind(blind.directory)
    told = analyse_study(folder / "blind.toml", blind=True)
    cells = told.table("cells").set_index("code")
    assert cells["rejected"].to_dict() == {codes[0]: True, codes[1]: False}
    sides = {"KnockOut0": "TAC", "KnockOut1": "sham"}
    assert all(sides[row["sample"]] == row["condition"] for _, row in cells.iterrows())
    left = str(cells.loc[codes[1], "condition"])
    compared = told.table("comparison_conditions")
    assert set(compared["condition"]) == {left}
    page = told.summary.report.read_text(encoding="utf-8")
    assert f"left out of comparisons: {cells.loc[codes[0], 'sample']}" in page
