"""The page of a study: what was found between conditions, what failed, what misleads."""

import json
import re
import warnings
from functools import partial
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import aequorea
from aequorea.errors import AequoreaWarning, InputError, RunError
from aequorea.io.tables import write_table
from aequorea.model import Image
from aequorea.pipelines.cells.parameters import cells_parameters
from aequorea.pipelines.cells.study import _summaries, _with_channels, rebuild_report
from aequorea.pipelines.run import Step, provenance, run_steps, steps
from aequorea.pipelines.run.parameters import merge_parameters
from aequorea.pipelines.study import batch, load_study, run_study, unblind
from aequorea.report import cells_study
from aequorea.report.cells_study import write_report
from aequorea.report.superplot import SuperplotPanel, superplot

TABLES = ("roi_coloc_overview", "channels", "cell_summary", "segmentation_marker", "positivity")
HOSTILE = '"><script>alert(1)</script>'


class _Page(HTMLParser):
    """Tags and visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.html, self.tags, self.text, self._hidden = text, [], "", 0
        self.feed(text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._hidden += tag in {"script", "style"}

    def handle_endtag(self, tag):
        self._hidden -= tag in {"script", "style"}

    def handle_data(self, data):
        if not self._hidden:
            self.text += data

    @property
    def links(self):
        return [a["href"] for tag, a in self.tags if tag == "a"]

    @property
    def pictures(self):
        return [a["alt"] for tag, a in self.tags if tag == "img"]


def _one(sample, out):
    """A run that takes its numbers from a text file, or fixed ones for an image."""
    told = {"n": 40, "positive": 10}
    if sample.file.suffix == ".json":
        told = json.loads(sample.file.read_text())
    if "fault" in told:
        raise InputError(told["fault"])
    step = Step(
        name="count",
        version=1,
        function=partial(_write, told=told),
        inputs=("image",),
        outputs=tuple(f"tables/{n}.{kind}" for n in TABLES for kind in ("parquet", "csv")),
    )
    page = Step(
        name="report",
        version=1,
        function=lambda context: context.target("report.html").write_text("page"),
        outputs=("report.html",),
    )
    return run_steps(
        [step, page],
        out,
        workflow="cells",
        inputs={"image": sample.file},
        parameters=merge_parameters(cells_parameters(1)),
    )


def _write(context, told):
    n, positive, level = told["n"], told["positive"], told.get("threshold", 150.0)
    overview = {
        "roi_id": [1], "roi_name": ["whole image"], "n_cells": [n], "n_cells_counted": [n],
        "n_marker_positive_cells": [positive], "n_marker_positive_cells_counted": [positive],
        "drawn_roi_area_px": [10_000],
        "drawn_roi_area_um2": [10_000 * told.get("pixel_um", 0.5) ** 2],
    }  # fmt: skip
    cells = {"marker_threshold": [0.1] * n, "marker_score": [0.2] * n, "roi_id": [1] * n}
    channels = {
        "role": ["cell", "marker"], "channel": ["DAPI", told.get("name", "GFP")],
        "min": [100.0, 100.0], "saturated_fraction": [0.0, told.get("saturated", 0.0)],
    }  # fmt: skip
    found = {
        "roi_id": [1], "roi_name": ["whole image"], "channel": ["GFP"], "method": ["otsu"],
        "threshold": [level], "note": [told.get("note", "")],
    }  # fmt: skip
    called = {
        "role": ["marker"], "marker": ["GFP"], "rule": ["union"], "n_cells": [n],
        "n_positive": [positive], "note": [""],
    }  # fmt: skip
    for name, columns in zip(TABLES, (overview, channels, cells, found, called), strict=True):
        write_table(pd.DataFrame(columns), context.target(f"tables/{name}"))
    if "warning" in told:
        warnings.warn(told["warning"], AequoreaWarning, stacklevel=2)


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Versions are looked up once, nothing waits for the disk, figures are coarse."""
    with pytest.MonkeyPatch.context() as patch:
        known = provenance.versions()
        for module in (steps, batch):
            patch.setattr(module, "versions", lambda: dict(known))
        patch.setattr("os.fsync", lambda _: None)
        patch.setattr(cells_study, "DPI", 40)
        yield


def _run(folder, samples, *, compare="", columns="", extra="", blind=False):
    rows = [f"file,sample,animal,condition,control{columns}"]
    for name, (animal, condition, told) in samples.items():
        (folder / f"{name}.json").write_text(json.dumps(told))
        rows.append(f'{name}.json,{name},"{animal}","{condition}",{"," * columns.count(",")}')
    (folder / "samples.csv").write_text("\n".join(rows) + "\n" + extra)
    (folder / "heart.toml").write_text(
        'sheet = "samples.csv"\nout = "out"\n[channels]\ncell = "DAPI"\nmarker = "GFP"\n'
        f'[params.cell]\nmethod = "otsu"\n[params.marker]\nmethod = "otsu"\n{compare}'
    )
    loaded = _with_channels(load_study(folder / "heart.toml"))
    shared = loaded.shared_parameters(cells_parameters(1))
    return run_study(
        loaded,
        _one,
        workflow="cells",
        shared_parameters=shared,
        summaries=partial(_summaries, study=loaded, directory=loaded.out, shared=shared),
        blind=blind,
    )


@pytest.fixture
def study(tmp_path):
    """Run a study of text files."""
    return partial(_run, tmp_path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Two images of each of three animals of two conditions."""
    return _run(tmp_path_factory.mktemp("plain"), _samples(images=2))


def _samples(sham=(10, 12, 9), tac=(20, 24, 19), n=40, images=1):
    """Positive cells of each animal; one more in a second image."""
    found = {}
    for condition, counts in (("sham", sham), ("tac", tac)):
        for k, positive in enumerate(counts):
            for image in range(images):
                animal = f"{condition[0]}{k}"
                told = {"n": n, "positive": positive + image}
                found[f"{animal}-{image}"] = (animal, condition, told)
    return found


def _page(result):
    return _Page(result.summary.report.read_text(encoding="utf-8"))


def test_the_headline_is_that_of_the_tables(plain):
    result = plain
    page, pair = _page(result), result.table("comparison").iloc[0]
    points = [
        f"{100 * pair[c]:+.1f}".replace("-", "−") for c in ("difference", "ci_low", "ci_high")
    ]
    assert (
        f"GFP, tac against sham: {points[0]} percentage points (95 % CI {points[1]} to "
        f"{points[2]}; p = {pair['p_value']:.3f}; 3 against 3 animals)."
    ) in page.text
    assert "Unit of inference: animal (fractions of its cells). Test: Welch's t" in page.text
    assert pair["hypothesis"] in page.text
    assert "3 animals, 6 images, 240 cells" in page.text
    assert "10.1093/biomet/34.1-2.28" in page.html
    assert "10.2307/2529820" not in page.html
    assert "holds 0" not in page.text
    assert not re.search(r"\bnan\b", page.text)


def test_the_page_loads_nothing_and_leads_to_the_samples(plain):
    result, page = plain, _page(plain)
    assert len(page.html) < 1_000_000
    leading = [link for link in page.links if not link.startswith("https://doi.org/10.")]
    assert len(leading) == 12
    assert all((result.directory / link).is_file() for link in leading)
    assert all(a["src"].startswith("data:image/png") for tag, a in page.tags if tag == "img")
    assert page.pictures == ["Positive fraction of images and animals by condition"]


def test_no_effect_is_no_proof_of_none(study):
    page = _page(study(_samples(tac=(10, 13, 8))))
    assert "The interval of tac − sham holds 0" in page.text
    assert "no proof of no difference" in page.text
    assert "Few animals (3 in the smallest group)" in page.text


def test_failures_come_first_with_their_reasons(study):
    samples = _samples(images=1) | {
        "t0-0": ("t0", "tac", {"fault": "t0.tif: is damaged; copy it again"}),
        "t1-0": ("t1", "tac", {"fault": "t0.tif: is damaged; copy it again"}),
    }
    result = study(samples)
    page = _page(result)
    told = "t0-0 (t0, tac), t1-0 (t1, tac) failed and are in no table or figure: t0.tif: is damaged"
    assert told in page.text
    assert page.text.index(told) < page.text.index("What was found")
    assert "Failed: 0 of 3 images of sham, 2 of 3 images of tac" in page.text
    assert "4 images, 2 failed" in page.text
    assert page.html.count("✕ failed") == 2
    assert page.html.rindex("✕ failed") < page.html.index("✓ ok")
    assert result.table("samples").set_index("sample")["state"]["t0-0"] == "failed"


def test_every_sample_failed_is_a_page(study):
    page = _page(study({"a": ("m1", "sham", {"fault": "no"}), "b": ("m2", "tac", {"fault": "no"})}))
    assert "a (m1, sham), b (m2, tac) failed" in page.text
    assert "Nothing is compared: there is no marker, or nothing was measured." in page.text
    assert page.pictures == []


def test_a_single_animal_has_no_p_and_the_page_says_why(study):
    page = _page(study(_samples(sham=(10,), tac=(20,))))
    assert "+25.0 percentage points. No p: 1 animal with cells in sham (2 needed)." in page.text
    assert "no interval: 1 animal with cells (2 needed)" in page.text
    assert "No p for GFP (tac − sham)" in page.text
    assert "No p-value was computed" in page.text
    assert "whether two intervals overlap" not in page.text


def test_without_animals_all_images_are_pooled_and_nothing_is_tested(study):
    samples = {k: ("", condition, told) for k, (_, condition, told) in _samples().items()}
    page = _page(study(samples))
    assert "all images pooled, no interval" in page.text
    assert "no difference can be told; no animal column" in page.text
    assert "Large points" not in page.text


def test_a_blinded_study_tells_nothing_until_it_is_unblinded(study):
    samples = _samples() | {"t0-0": ("t0", "tac", {"fault": "/data/tac/t0.tif: is damaged"})}
    samples["s0-0"][2]["warning"] = "/data/sham/s0.tif: odd"
    result = study(samples, blind=True)
    page = _page(result)
    assert "The study is blinded" in page.text
    assert "Nothing is compared" in page.text
    assert not re.search(r"\b(sham|tac|[st]\d-\d|[st]\d)\b", page.text)
    assert all(link.startswith("https://doi.org") for link in page.links)
    assert "1 warning: see its page" in page.text
    unblind(result.directory)
    page = _page(study(samples, blind=True))
    assert "GFP, tac against sham" in page.text
    assert "t0.tif: is damaged" in page.text
    assert "under codes that hide what they are" in page.text


def test_lights_say_which_samples_to_look_at(study):
    samples = _samples(images=2)
    samples["s0-0"][2]["warning"] = "something is odd"
    samples["s0-1"][2]["saturated"] = 0.01
    samples["s1-0"] = ("s1", "sham", {"n": 5, "positive": 5})
    samples["s1-1"] = ("s1", "sham", {"n": 0, "positive": 0})
    result = study(samples)
    page = _page(result)
    assert result.table("samples").set_index("sample")["warnings"]["s0-0"] == "something is odd"
    for why in ("a something is odd", "b more than 0.1 % of GFP saturated", "fewer than 20 cells",
                "no cell was found", "every cell is positive for GFP"):  # fmt: skip
        assert why in page.text
    assert page.html.count("! check") == 4
    assert page.html.count("✓ ok") == 8
    assert "s1 has fewer than 20 cells: its fraction is coarse" in page.text


def test_what_makes_images_unlike_is_told(study):
    samples = _samples()
    for k, (_, _, told) in enumerate(samples.values()):
        told["threshold"] = 140 + 20.0 * k
    samples["s0-0"][2]["pixel_um"] = 0.25
    samples["s1-0"][2]["name"] = "FITC"
    page = _page(study(samples))
    assert "The threshold of objects of GFP was found in each image by itself, 140 to 240" in (
        page.text
    )
    assert "(median of sham 160, tac 220)" in page.text
    assert "Pixel sizes differ between images (0.25 to 0.5 µm)" in page.text
    assert "is not called alike in all images (GFP, FITC)" in page.text
    assert "pixel size." not in page.text.split("No trouble found")[1].split("What was found")[0]


def test_animals_in_several_conditions_are_compared_within_and_said_so(study):
    samples = {
        f"{animal}-{condition}": (animal, condition, {"n": 40, "positive": base + gain})
        for condition, gain in (("before", 0), ("after", 8))
        for animal, base in (("m1", 10), ("m2", 20), ("m3", 16))
    }
    samples["m1-after"][2]["positive"] = 20
    page = _page(study(samples))
    assert "percentage points within the animal" in page.text
    assert "3 animals in both" in page.text
    assert "m1, m2, m3 are in several conditions" in page.text
    assert "Grey lines join the points of one animal" in page.text


def test_lopsided_groups_and_images_as_units_are_told(study):
    page = _page(study(_samples(tac=(20, 24, 19, 25, 22, 21))))
    assert "if the smaller group varies more, p is too small" in page.text


def test_images_taken_for_independent_are_a_bad_light(study):
    page = _page(study(_samples(images=2), compare='[compare]\nunit = "image"\n'))
    assert 'class="bad"' in page.html
    assert "Each image counts as an independent replicate, as asked for, though 12 images" in (
        page.text
    )
    assert "6 against 6 images" in page.text
    assert "95 % CI 19.9 to 33.9" not in page.text  # that of animals
    assert "mean of images (%)" in page.text
    assert "6 animals" not in page.text.split("What was found")[1]


def test_three_conditions_are_corrected_and_other_scales_named(study):
    samples = _samples()
    for k in range(3):
        samples[f"x{k}"] = (f"x{k}", "drug", {"n": 40, "positive": 12 + k})
    page = _page(study(samples, compare='[compare]\ntransform = "logit"\n'))
    assert "q: p corrected for 3 comparisons" in page.text
    assert "on the logit scale" in page.text
    assert "The interval is on the logit scale" in page.text
    assert "corrected for 3 comparisons" in page.text


def test_parameters_of_single_images_and_samples_that_left_are_told(study, tmp_path):
    samples = _samples()
    study(samples)
    del samples["t2-0"]
    rows = "t2-0.json,own,t2,tac,,0.3\n"
    page = _page(study(samples, columns=",params.marker.overlap_fraction", extra=rows))
    assert "own has parameters of their own" in page.text
    assert "marker.overlap_fraction = 0.3" in page.text
    assert "No longer in the study, and in no table: t2-0" in page.text


def test_without_conditions_there_is_nothing_to_compare(study):
    samples = {k: (animal, "", told) for k, (animal, _, told) in _samples().items()}
    page = _page(study(samples))
    assert "the sample sheet gives no conditions" in page.text
    assert "22.5 to 60.0 % in single images" in page.text


def _control(folder, name, level, rng):
    pixels = rng.poisson(level, (2, 64, 64)).astype(np.uint16)
    aequorea.save(Image(data=pixels, axes="cyx", channels=("DAPI", "GFP")), folder / name)


def test_controls_are_held_against_the_thresholds_in_use(study, tmp_path):
    rng = np.random.default_rng(0)
    _control(tmp_path, "dark.ome.tif", 100, rng)
    rows = "dark.ome.tif,dark,,,secondary-only\n"
    result = study(_samples(), extra=rows)
    page = _page(result)
    level = result.table("negative_levels").set_index("channel").loc["GFP"]
    assert level["threshold_lies"] == "above"
    assert (level["threshold_low"], level["n_thresholds"]) == (150, 6)
    assert f"GFP: the threshold, 150, lies above {level['percentile_level']:.0f}" in page.text
    assert "In secondary-only controls, which carry no GFP, 10 of 40 cells (25 %)" in page.text
    assert "6 images, 1 control" in page.text
    samples = _samples()
    samples["s0-0"][2]["threshold"] = 110.0
    again = study(samples, extra=rows)
    assert "controls" in again.summary.executed
    assert "GFP: the threshold (110 to 150) is below" in _page(again).text
    assert "in 1 of 6 images or regions" in _page(again).text


def test_the_page_follows_its_samples_and_nothing_else(study):
    samples = _samples()
    study(samples)
    assert study(samples).summary.executed == ()
    samples["s0-0"][2]["positive"] = 11
    assert {"tables", "report"} <= set(study(samples).summary.executed)
    samples["s1-0"] = ("s1", "sham", {"fault": "one reason"})
    study(samples)
    samples["s1-0"] = ("s1", "sham", {"fault": "another reason"})
    result = study(samples)
    assert set(result.summary.executed) == {"samples", "report"}
    assert "another reason" in _page(result).text


def test_names_are_shown_and_never_run(study):
    samples = {k: (a, c.replace("tac", "KO $\\frac{"), t) for k, (a, c, t) in _samples().items()}
    samples["s0-0"][2]["name"] = HOSTILE
    page = _page(study(samples))
    assert "<script>alert" not in page.html
    assert HOSTILE in page.text
    assert "KO $\\frac{ against sham" in page.text


def test_a_rebuilt_page_is_the_same_and_leaves_nothing_beside_it(plain, tmp_path):
    directory = plain.directory
    before, names = (directory / "report.html").read_bytes(), sorted(directory.iterdir())
    assert rebuild_report(directory).read_bytes() == before
    write_report(directory)
    assert sorted(directory.iterdir()) == names
    with pytest.raises(RunError, match=r"no readable run\.json"):
        write_report(tmp_path)


def _panel(**changes):
    images = pd.DataFrame(
        {
            "condition": ["a", "a", "b", "b"],
            "animal": ["m1", "m2", "m1", ""],
            "value": [10.0, 20.0, 30.0, 40.0],
        }
    )
    animals = images[images["animal"] != ""]
    conditions = [("a", 15.0, 5.0, 25.0, "2 animals"), ("b", 30.0, np.nan, np.nan, "")]
    facts = {"title": "x", "label": "y", "images": images, "animals": animals}
    return SuperplotPanel(
        **{**facts, "conditions": conditions, "least": 0.0, "most": 100.0} | changes
    )


def test_the_superplot_draws_every_image_and_animal_where_it_is():
    figure = superplot([_panel()])
    (axes,) = figure.axes
    drawn = [line.get_xydata() for line in axes.lines if line.get_marker() in "os^Dv"]
    values = sorted(float(y) for points in drawn for y in np.asarray(points)[:, 1])
    assert values == [10, 10, 20, 20, 30, 30, 40]
    joined = [line for line in axes.lines if line.get_color() == "#c9d1d5"]
    assert [np.asarray(line.get_ydata()).tolist() for line in joined] == [[10, 30]]
    assert axes.get_ylim()[0] < 0 < 44 < axes.get_ylim()[1] < 50
    assert [t.get_text() for t in axes.get_xticklabels()] == ["a\n2 animals", "b"]


def test_a_superplot_of_zeros_and_of_many_panels_is_drawn():
    zeros = _panel().images.assign(value=0.0)
    nothing = [("a", np.nan, np.nan, np.nan, ""), ("b", np.nan, np.nan, np.nan, "")]
    flat = _panel(images=zeros, animals=zeros.iloc[:0], conditions=nothing)
    unbounded = _panel(images=zeros, animals=zeros.iloc[:0], conditions=nothing, most=None)
    figure = superplot([flat, unbounded, _panel()])
    assert len(figure.axes) == 4
    figure.canvas.draw()
