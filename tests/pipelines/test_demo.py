"""The demo's page, its shipped images, and that it writes nowhere else."""

from importlib.resources import files

import pytest

import aequorea
from aequorea.errors import OutputError
from aequorea.pipelines import demo, demo_movies


def test_the_page_leads_to_reports_with_truth_beside_measurement(tmp_path, monkeypatch):
    fields = next(e for e in demo._EXAMPLES if e.name == "simulated-fields")
    monkeypatch.setattr(demo, "_EXAMPLES", (fields,))
    told = []
    page = demo.run_demo(tmp_path / "demo", tell=told.append)
    assert len(told) == 1
    assert "Pearson's r: truth 0.300, found 0." in told[0]
    text = page.read_text()
    assert page == tmp_path / "demo/index.html"
    assert 'href="simulated-fields/report.html"' in text
    assert "data:image/png;base64," in text
    assert "0.300" in text
    assert (tmp_path / "demo/simulated-fields/report.html").exists()
    again = demo.run_demo(tmp_path / "demo")
    assert again.read_text() == text


def test_the_movie_is_held_against_its_truth(tmp_path, monkeypatch):
    (movie,) = (e for e in demo._EXAMPLES if e.workflow == "register")
    monkeypatch.setattr(demo, "_EXAMPLES", (movie,))
    monkeypatch.setattr(demo_movies, "_FRAMES", 80)
    monkeypatch.setattr(demo_movies, "_SIDE_PX", 96)
    told = []
    page = demo.run_demo(tmp_path / "demo", only="register", tell=told.append).read_text()
    error = next(line for line in told if "error of the motion" in line)
    assert float(error.rsplit(" ", 1)[1]) < 0.5
    assert "photons, cells of 0.5 SD" in page
    assert 'href="registered-movie/report.html"' in page


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not an aequorea demo"):
        demo.run_demo(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(OutputError, match="cannot be written"):
        demo.run_demo(tmp_path / "thesis.txt" / "below")


def test_shipped_images_are_small_and_carry_their_licence():
    data = files("aequorea") / "data"
    folders = [f for f in data.iterdir() if f.is_dir()]
    assert {f.name for f in folders} == {"human-cells", "nucleosomes"}
    total = sum(len(f.read_bytes()) for folder in folders for f in folder.iterdir())
    assert total < 3e6
    for folder in folders:
        assert (
            "licen" in (folder / "NOTICE.md").read_text().lower()
            or "CC0" in (folder / "NOTICE.md").read_text()
        )


@pytest.mark.parametrize("example", demo._EXAMPLES, ids=lambda e: e.name)
def test_every_example_has_valid_settings_and_readable_inputs(tmp_path, example):
    from aequorea.pipelines.cells.workflow import effective_parameters
    from aequorea.pipelines.colocalization.stains import open_stains
    from aequorea.pipelines.study import load_study

    paths, parts = example.inputs(tmp_path)
    if example.workflow == "confocal":
        study = load_study(parts["study"])
        assert len(study.samples) == 16
        assert len({s.animal for s in study.samples}) == 8
    elif example.workflow == "register":
        assert aequorea.open_movie(paths[0]).sizes == {"t": 300, "y": 160, "x": 160}
    elif example.workflow == "cells":
        assert effective_parameters(example.settings).values.roles[0] == "cell"
    else:
        assert len(open_stains(paths, demo._settings(example, parts)).names) == 2
    assert demo._thumbnail(paths).startswith(b"\x89PNG")
