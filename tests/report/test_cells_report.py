import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pytest

import aequorea
from aequorea.errors import OutputError, RunError
from aequorea.pipelines.cells.workflow import count
from aequorea.report.cells import _groups, _why_untested, headline, write_report
from aequorea.report.cells_checks import checks_of
from aequorea.report.cells_figures import GALLERY, gallery_figure, overlay_figure
from aequorea.report.cells_methods import methods_of_cells
from aequorea.report.cells_positivity import rule_in_words
from aequorea.report.cells_views import NEGATIVE, NOT_COUNTED, POSITIVE, FieldView
from aequorea.report.methods import MethodsText
from aequorea.report.run_contents import RunContents, StoredImage, open_contents
from aequorea.simulate.nuclei import simulated_markers, simulated_nuclei

MakeRun = Callable[..., Path]
HOSTILE = ("DAPI $\\frac{", '"><script>alert(1)</script>')
QUICK: dict[str, Any] = {"method": "otsu"}
SPACING_UM = 0.325


class _Page(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._hidden = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden += tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"script", "style"}

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def pictures(self) -> list[str]:
        return [str(a["alt"]) for a in self.all("img")]


@pytest.fixture(scope="module")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """Count small simulated cells; returns the run directory."""
    made: dict[str, Path] = {}

    def make(
        name: str,
        *,
        channels: tuple[str, ...] = ("DAPI", "GFP"),
        pixels: np.ndarray | None = None,
        axes: str = "cyx",
        calibrated: bool = True,
        regions: np.ndarray | None = None,
        settings: dict[str, Any] | None = None,
    ) -> Path:
        if name in made:
            return made[name]
        folder = tmp_path_factory.mktemp(name)
        data = _scene(len(channels)) if pixels is None else pixels
        spacing = dict.fromkeys((a for a in axes if a in "zyx"), SPACING_UM) if calibrated else {}
        image = aequorea.Image(data=data, axes=axes, channels=channels, spacing_um=spacing)
        aequorea.save(image, folder / "cells.ome.tif")
        roles = ("cell", "marker", "marker2", "marker3")[: len(channels)]
        parameters: dict[str, Any] = {role: dict(QUICK) for role in roles}
        if regions is not None:
            shapes = aequorea.Image(data=regions, axes="yx", spacing_um=spacing)
            aequorea.save(shapes, folder / "regions.ome.tif")
            parameters["regions"] = str(folder / "regions.ome.tif")
        for key, value in (settings or {}).items():
            merged = {**parameters.get(key, {}), **value} if isinstance(value, dict) else value
            parameters[key] = merged
        run = count(
            folder / "cells.ome.tif",
            parameters=parameters,
            markers=len(channels) - 1,
            out=folder / "run",
        )
        made[name] = run.directory
        return run.directory

    return make


def _scene(n_channels: int) -> np.ndarray:
    nuclei = simulated_nuclei((160, 160), n=20, diameter_px=18, rng=1)
    shares = (0.4, 0.5, 0.7)[: n_channels - 1]
    markers = [simulated_markers(nuclei, positive_fraction=s, rng=2 + k).image
               for k, s in enumerate(shares)]  # fmt: skip
    return np.stack([nuclei.image, *markers])


def _halves() -> np.ndarray:
    regions = np.zeros((160, 160), np.uint16)
    regions[:, :70], regions[:, 80:150], regions[:, 155:] = 1, 2, 3
    return regions


def _page(run: Path) -> _Page:
    return _Page((run / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def plain(make_run: MakeRun) -> _Page:
    return _page(make_run("plain"))


def _view(run: Path) -> FieldView:
    return FieldView.of(open_contents(run, needs="cell_summary"), StoredImage(run))


def test_a_report_loads_nothing_and_is_small(make_run: MakeRun, plain: _Page) -> None:
    assert (make_run("plain") / "report.html").stat().st_size < 5_000_000
    assert [a["href"] for a in plain.all("link")] == ["data:,"]
    assert all(str(a["src"]).startswith("data:image/png;base64,") for a in plain.all("img"))
    assert all("src" not in a for a in plain.all("script"))
    links = [str(a["href"]) for a in plain.all("a")]
    assert links
    assert all(link.startswith("https://doi.org/10.") for link in links)


def test_numbers_of_the_page_are_those_of_the_tables(make_run: MakeRun, plain: _Page) -> None:
    overview = pd.read_parquet(make_run("plain") / "tables/roi_coloc_overview.parquet").iloc[0]
    n, positive = overview["n_cells"], overview["n_marker_positive_cells"]
    assert f"{n} cells in the whole image; {positive} positive for GFP" in plain.text
    assert f"({100 * positive / n:.1f} %)" in plain.text
    assert "cover at least 2 % of the cell and at least 20 pixels of it" in plain.text
    assert "not independent replicates" in plain.text


def test_every_part_is_there_with_a_caption_and_a_description(plain: _Page) -> None:
    assert all(plain.pictures)
    assert len(plain.all("figcaption")) == len(plain.pictures)
    for wanted in ("Outlines of cells", "against the threshold", "Positive cells for GFP",
                   "Negative cells for GFP"):  # fmt: skip
        assert any(wanted in text for text in plain.pictures), wanted


def test_methods_name_every_parameter_and_cite_only_what_was_used(
    make_run: MakeRun, plain: _Page
) -> None:
    record = json.loads((make_run("plain") / "run.json").read_text(encoding="utf-8"))
    assert all(key in plain.text for key in record["parameters"])
    assert "10.1109/TSMC.1979.4310076" in plain.text
    for unused in ("10.1109/34.87344", "10.1038/s41592-020-01018-x", "10.5566/ias.v26.p83-92",
                   "10.1111/j.1365-2818.1977.tb00062.x"):  # fmt: skip
        assert unused not in plain.text
    assert all(facts["sha256"] in plain.text for facts in record["inputs"].values())


def test_names_from_files_are_shown_and_never_run(make_run: MakeRun) -> None:
    run = make_run("hostile", channels=HOSTILE)
    text = (run / "report.html").read_text(encoding="utf-8")
    page = _Page(text)
    assert "<script>alert" not in text
    assert len(page.all("script")) == 1
    assert all(name in page.text for name in HOSTILE)


def test_regions_are_told_one_by_one(make_run: MakeRun) -> None:
    run = make_run("regions", regions=_halves())
    page = _page(run)
    overview = pd.read_parquet(run / "tables/roi_coloc_overview.parquet")
    assert "Region by region" in page.text
    assert "% in single regions" in page.text
    assert overview["n_cells"].tolist()[2] == 0
    assert "Region 3 holds no cell" in page.text
    assert "fewer than 20 cells" in page.text
    assert not re.search(r"\bnan\b", page.text)


def test_markers_that_differ_are_compared_with_chance(make_run: MakeRun) -> None:
    run = make_run("two", channels=("DAPI", "GFP", "RFP"))
    page = _page(run)
    table = pd.read_parquet(run / "tables/phenotypes.parquet")
    assert "GFP+RFP+" in page.text
    for hypothesis in table.loc[table["p_value"].notna(), "hypothesis"].unique():
        assert f"Null hypothesis: {hypothesis.rstrip('.')}" in page.text
    assert "expected by chance" in page.text


def test_three_markers_have_galleries_each(make_run: MakeRun) -> None:
    page = _page(make_run("three", channels=("DAPI", "A", "B", "C")))
    for name in "ABC":
        assert f"Positive cells for {name}" in page.pictures
    assert "A+B+C−" in page.text
    assert "one question" not in page.text


def test_cells_alone_have_no_positives(make_run: MakeRun) -> None:
    page = _page(make_run("alone", channels=("DAPI",)))
    assert "cells in the whole image" in page.text
    assert "positive" not in page.text.split("Methods")[0]
    assert len(page.pictures) == 1


def test_stacks_are_projections_and_say_so(make_run: MakeRun) -> None:
    nuclei = simulated_nuclei((8, 96, 96), n=8, diameter_px=16, spacing_um=(0.8, 0.3, 0.3), rng=1)
    marker = simulated_markers(nuclei, rng=2)
    page = _page(
        make_run(
            "stack",
            pixels=np.stack([nuclei.image, marker.image]),
            axes="czyx",
            settings={"counting": {"counting": "disector"}},
        )
    )
    assert "Maximum projections of 8 planes" in page.text
    assert "the plane through its middle" in page.text
    assert "10.5566/ias.v26.p83-92" in page.text
    assert "10.1111/j.1365-2818.1984.tb02501.x" in page.text
    assert "counted with an optical disector" in page.text


def test_without_calibration_there_is_no_scale_bar_and_no_micrometre(make_run: MakeRun) -> None:
    page = _page(make_run("raw", calibrated=False))
    assert "not given by the file" in page.text
    assert "There is no scale bar" in page.text
    assert "(µm" not in page.text
    assert page.text.count("no pixel size") == 1


def test_nothing_found_is_a_page(make_run: MakeRun) -> None:
    page = _page(make_run("nothing", settings={"min_cell_px": 1_000_000}))
    assert "No cell was found" in page.text
    assert not re.search(r"\bnan\b", page.text)
    assert not any("cells for GFP" in text for text in page.pictures)


def test_no_marker_object_is_a_page(make_run: MakeRun) -> None:
    page = _page(make_run("unstained", settings={"marker": {"threshold_min_object_px": 100_000}}))
    assert "No object of GFP was found" in page.text
    assert "0 positive for GFP (0.0 %)" in page.text
    assert "Positive: none" in page.text


def test_a_frame_counts_fewer_and_the_page_says_both(make_run: MakeRun) -> None:
    run = make_run("frame", settings={"counting": {"counting": "frame", "frame_guard_um": 5.0}})
    page = _page(run)
    overview = pd.read_parquet(run / "tables/roi_coloc_overview.parquet").iloc[0]
    assert overview["n_cells_counted"] < overview["n_cells"]
    assert f"{overview['n_cells_counted']} cells in the whole image, counted with" in page.text
    assert f"of {overview['n_cells']} found" in page.text
    assert "10.1111/j.1365-2818.1977.tb00062.x" in page.text
    classes = _view(run).classes("marker")
    assert np.count_nonzero(classes == NOT_COUNTED) == (
        overview["n_cells"] - overview["n_cells_counted"]
    )


def test_saturation_is_told_also_of_a_twelve_bit_camera(make_run: MakeRun) -> None:
    pixels = _scene(2).astype(np.float64)
    pixels[1] = np.minimum(pixels[1] * 4095 / np.percentile(pixels[1], 97), 4095)
    page = _page(make_run("twelve", pixels=pixels.astype(np.uint16)))
    assert "GFP are at 4\u202f095, the end of a camera's range" in page.text
    run = open_contents(make_run("plain"), needs="cell_summary")
    channels = run.table("channels").assign(saturated_fraction=[0.0, 0.02])
    changed = replace(run, tables={**run.tables, "channels": channels})
    told = [check.text for check in checks_of(changed, _view(make_run("plain")))]
    assert any(text.startswith("2 % of the pixels of GFP are saturated") for text in told)


def test_thresholds_that_differ_between_regions_are_told(make_run: MakeRun) -> None:
    pixels = _scene(2).astype(np.float64)
    pixels[1, :, 75:] = 100 + 4 * (pixels[1, :, 75:] - 100)
    page = _page(
        make_run("uneven", pixels=np.clip(pixels, 0, 65535).astype(np.uint16), regions=_halves())
    )
    assert "The threshold of GFP differs a lot between regions" in page.text
    assert "The threshold of DAPI differs" not in page.text


def test_positives_that_hang_on_the_threshold_are_told(make_run: MakeRun, plain: _Page) -> None:
    cells = np.zeros((160, 160), np.uint16)
    marker = np.zeros_like(cells)
    for k in range(25):
        y, x = 5 + 30 * (k // 5), 5 + 30 * (k % 5)
        cells[y : y + 20, x : x + 20] = 1000
        marker[y : y + 10, x : x + 2 + k // 4] = 1000  # 5 to 20 % of the cell
    noise = np.random.default_rng(0).poisson(50, (2, 160, 160)).astype(np.uint16)
    run = make_run(
        "steep",
        pixels=np.stack([cells, marker]) + noise,
        settings={"marker": {"overlap_fraction": 0.1}},
    )
    page = _page(run)
    assert "The number of cells positive for GFP hangs on the threshold" in page.text
    assert "are borderline for GFP" in page.text
    assert "Borderline cells for GFP" in page.pictures
    assert "hangs on the threshold" not in plain.text


def test_the_intensity_rule_warns_of_a_threshold_that_finds_positives_anyway(
    make_run: MakeRun,
) -> None:
    run = make_run("bright", settings={"marker": {"rule": "intensity"}})
    page = _page(run)
    assert "even where none is positive" in page.text
    note = pd.read_parquet(run / "tables/positivity.parquet")["note"].iloc[0]
    assert "Otsu on the logarithm" in note
    assert f"GFP: {note}." in page.text
    book = openpyxl.load_workbook(run / "results/cells.xlsx", read_only=True)
    assert note in [row[-1] for row in book["positivity"].iter_rows(values_only=True)]
    assert "its mean intensity of GFP reaches a threshold" in page.text


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("best", "a single object of GFP covers at least 2 % of the cell"),
        ("count", "at least 1 object of GFP has at least 50 % of its pixels in it"),
        ("centroid", "at least 1 object of GFP has its centre in it"),
        ("contact", "at least 10 % of its surface is, or is next to, an object of GFP"),
    ],
)
def test_every_rule_is_told_in_words(make_run: MakeRun, rule: str, words: str) -> None:
    run = open_contents(make_run("plain"), needs="cell_summary")
    other = {**run.record["parameters"], "marker.rule": rule}
    changed = replace(run, record={**run.record, "parameters": other})
    assert words in rule_in_words(changed, "marker", "GFP")
    assert any(words in sentence for sentence in _methods(changed).sentences)


@pytest.mark.parametrize(
    ("method", "doi"),
    [
        ("li", "10.1016/S0167-8655(98)00057-9"),
        ("watershed", "10.1109/34.87344"),
        ("cellpose", "10.1038/s41592-020-01018-x"),
        ("stardist", "10.1007/978-3-030-00934-2_30"),
    ],
)
def test_every_method_cites_its_paper(make_run: MakeRun, method: str, doi: str) -> None:
    run = open_contents(make_run("plain"), needs="cell_summary")
    other = {
        **run.record["parameters"],
        "cell.method": method,
        "cell.prefilters": ["gaussian", "median"],
        "cell.postfilters": ["min_size", "local_contrast"],
        "cell.min_object_px": 30,
    }
    text = _methods(replace(run, record={**run.record, "parameters": other}))
    assert doi in [reference.doi for reference in text.references]
    assert "a Gaussian of SD 1 px, then a median of 3 px" in text.paragraph
    assert "fewer than 30 px" in text.paragraph


def _methods(run: RunContents) -> MethodsText:
    names = {"cell": "DAPI", "marker": "GFP"}
    return methods_of_cells(run, names, calibration="y 1 µm, x 1 µm", is_stack=False)


def test_corrections_by_hand_are_counted(make_run: MakeRun, tmp_path: Path) -> None:
    labels = aequorea.io.read_labels(make_run("plain") / "labels/cell.ome.tif").astype(np.uint16)
    labels[labels == labels.max()] = 0
    aequorea.save(aequorea.Image(data=labels.squeeze(), axes="yx"), tmp_path / "edited.ome.tif")
    edited = {"cell": {"edited": str(tmp_path / "edited.ome.tif")}}
    page = _page(make_run("edited", settings=edited))
    assert "DAPI: 1 removed by hand." in page.text
    assert "then corrected by hand (1 change)" in page.text


def test_cells_are_drawn_as_they_were_called(make_run: MakeRun) -> None:
    view = _view(make_run("plain"))
    classes = view.classes("marker")
    cells = view.cells.set_index("cell_label")["marker_positive"]
    assert all(classes[k] == (POSITIVE if cells[k] else NEGATIVE) for k in cells.index)
    assert set(view.classes("cell")[1:]) <= {0, NEGATIVE}


def test_a_large_field_has_a_close_up_of_its_densest_part(make_run: MakeRun) -> None:
    pixels = np.full((2, 160, 1400), 100, np.uint16)
    pixels[:, :, 1200:1360] = _scene(2)
    run = make_run("wide", pixels=pixels)
    rows, columns = _view(run).close_up or (None, None)
    assert rows is not None
    assert columns is not None
    assert columns.start <= 1280 <= columns.stop
    assert "Close-up of outlines on every channel" in _page(run).pictures


def test_crops_at_the_edge_of_the_image_are_filled_with_black(make_run: MakeRun) -> None:
    view = _view(make_run("plain"))
    corner = view.crop("cell", 0, (0, 0), 20)
    assert corner.shape == (20, 20)
    assert not corner[:10].any()
    assert np.array_equal(corner[10:, 10:], view.planes["cell"][:10, :10])


def test_figures_leave_no_window_behind(make_run: MakeRun) -> None:
    view = _view(make_run("plain"))
    assert len(overlay_figure(view).axes) == 2
    assert len(gallery_figure(view, "marker", view.cells.head(3), side=24).axes) == 1


def test_a_second_writing_gives_the_same_page_and_leaves_nothing_behind(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(make_run("plain"), run)
    before = sorted(p.name for p in run.iterdir())
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first
    assert sorted(p.name for p in run.iterdir()) == before


def test_what_is_not_a_run_is_refused_in_one_line(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no readable run\.json"):
        write_report(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(make_run("plain"), run)
    shutil.rmtree(run / "tables")
    with pytest.raises(RunError, match="no table 'cell_summary'"):
        write_report(run)


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(make_run("plain"), run)
    old = (run / "report.html").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_report(run)
    assert (run / "report.html").read_bytes() == old


def _changed(run: Path, **tables: pd.DataFrame) -> RunContents:
    found = open_contents(run, needs="cell_summary")
    return replace(found, tables={**found.tables, **tables})


def _checks(run: RunContents, view: FieldView) -> str:
    return " ".join(check.text for check in checks_of(run, view))


def test_where_pixels_decide_the_curve_is_called_flat_and_nothing_is_ticked(
    make_run: MakeRun,
) -> None:
    run = make_run("plain")
    contents = open_contents(run, needs="cell_summary")
    cells = contents.table("cell_summary")
    assert (cells["marker_threshold"] > 0.02).all()  # 20 px of cells of some 250 px
    told = _checks(contents, _view(run))
    lower, higher = (int((cells["marker_margin"] >= f).sum()) for f in (0.5, 2.0))
    positive = int(cells["marker_positive"].sum())
    assert "For 100 % of the cells the 20 pixels (marker.min_overlap_px) decide" in told
    assert f"{lower} and {higher} would be positive, instead of {positive}." in told
    assert "numbers that hang on the threshold" not in told
    by_fraction = make_run("by fraction", settings={"marker": {"min_overlap_px": 0}})
    told = _checks(open_contents(by_fraction, needs="cell_summary"), _view(by_fraction))
    assert "flat there by construction" not in told
    assert "numbers that hang on the threshold" in told


def test_a_steep_number_of_pixels_hangs_on_the_threshold(make_run: MakeRun) -> None:
    run = make_run("plain")
    cells = open_contents(run, needs="cell_summary").table("cell_summary").copy()
    cells["marker_margin"] = np.linspace(0.3, 3, len(cells))
    cells["marker_positive"] = cells["marker_margin"] >= 1
    told = _checks(_changed(run, cell_summary=cells), _view(run))
    assert "The number of cells positive for GFP hangs on the threshold" in told


@pytest.mark.parametrize(
    ("counting", "ends", "sides", "words"),
    [
        ("all", False, True, "--counting frame does not, at the edges of the image."),
        ("all", True, True, "--counting disector does not, at the edges of the image and the ends"),
        ("all", True, False, "--counting disector or abercrombie does not, at the ends"),
        ("frame", True, True, "'frame', which does not know the ends of the stack."),
        ("frame", False, True, "The rule of counting in force is 'frame'."),
    ],
)
def test_the_ends_of_a_stack_are_no_matter_for_a_frame(
    make_run: MakeRun, counting: str, ends: bool, sides: bool, words: str
) -> None:
    run = make_run("plain")
    contents = open_contents(run, needs="cell_summary")
    cells = contents.table("cell_summary").assign(
        touches_z_border=ends, touches_roi_border=sides, touches_image_border=True
    )
    parameters = {**contents.record["parameters"], "counting.counting": counting}
    changed = replace(
        contents,
        record={**contents.record, "parameters": parameters},
        tables={**contents.tables, "cell_summary": cells},
    )
    told = _checks(changed, replace(_view(run), cells=cells))
    assert words in told
    assert "counting.counting" not in told
    assert ("100 % the first or last plane of the stack" in told) == ends


def test_no_cell_is_in_two_galleries(make_run: MakeRun) -> None:
    cells = open_contents(make_run("plain"), needs="cell_summary").table("cell_summary").copy()
    cells["marker_margin"] = np.geomspace(0.05, 20, len(cells))
    cells["marker_positive"] = cells["marker_margin"] >= 1
    groups = _groups(cells, "marker", "union")
    shown = [set(chosen["cell_label"]) for chosen, _ in groups.values()]
    assert all(shown)
    assert sum(map(len, shown)) == len(set.union(*shown)) == len(cells)
    assert "besides the borderline ones shown" in groups["Positive"][1]
    cells["marker_margin"] = np.geomspace(0.7, 1.4, len(cells))
    few = cells.assign(marker_positive=cells["marker_margin"] >= 1)[:GALLERY]
    groups = _groups(few, "marker", "union")
    assert groups["Negative"][1] == "all are shown as borderline"
    assert len(groups["Borderline"][0]) == GALLERY


def test_regions_are_called_by_their_names_in_pictures(make_run: MakeRun) -> None:
    run = make_run("regions", regions=_halves())
    names = ["cortex", "a very long name of a region", "3"]
    overview = pd.read_parquet(run / "tables/roi_coloc_overview.parquet").assign(roi_name=names)
    view = FieldView.of(_changed(run, roi_coloc_overview=overview), StoredImage(run))
    texts = [t.get_text() for t in overlay_figure(view).axes[0].texts]
    assert {"cortex", "a very long name of a r…", "region 3"} <= set(texts)


def test_the_page_says_why_no_combination_was_tested(make_run: MakeRun) -> None:
    run = make_run("untested", channels=("DAPI", "GFP", "RFP"),
                   settings={"phenotypes": {"phenotype_test": False}})  # fmt: skip
    page = _page(run)
    assert "Nothing was tested: the test is switched off (--no-phenotype-test)." in page.text
    table = pd.read_parquet(run / "tables/phenotypes.parquet")
    table["reason"] = np.where(table["n_markers"] > 1, "fewer than 12 cells", "one marker")
    assert _why_untested(table) == "fewer than 12 cells"


def test_the_headline_of_a_run_is_that_of_its_page(make_run: MakeRun, plain: _Page) -> None:
    assert headline(make_run("plain")) in plain.text
