import base64
import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aequorea.errors import OutputError, RunError
from aequorea.report.colocalization import _sentence, _with_pair, report_html, write_report

MakeRun = Callable[..., Path]
HOSTILE = ("GFP $\\frac{", '"><script>alert(1)</script>')


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


@pytest.fixture(scope="module")
def page(make_run: MakeRun) -> _Page:
    return _Page((make_run("plain") / "report.html").read_text(encoding="utf-8"))


def test_a_report_loads_nothing_and_is_small(make_run: MakeRun, page: _Page) -> None:
    assert (make_run("plain") / "report.html").stat().st_size < 5_000_000
    assert not page.all("link") or [a["href"] for a in page.all("link")] == ["data:,"]
    assert all(str(a["src"]).startswith("data:image/png;base64,") for a in page.all("img"))
    assert all("src" not in a for a in page.all("script"))
    links = [str(a["href"]) for a in page.all("a")]
    assert links
    assert all(link.startswith("https://doi.org/10.") for link in links)


def test_numbers_of_the_page_are_those_of_the_tables(make_run: MakeRun, page: _Page) -> None:
    row = pd.read_parquet(make_run("plain") / "tables" / "pixel.parquet").iloc[0]
    for metric in ("pcc", "m1", "m2", "srcc", "icq"):
        assert f"{row[metric]:.3f}".replace("-", "−") in page.text
    test = pd.read_parquet(make_run("plain") / "tables" / "significance.parquet").iloc[0]
    assert f"{test['expected']:.3f}".replace("-", "−") + " expected from the profiles" in page.text
    assert "Null hypothesis: " + test["hypothesis"].rstrip(".") in page.text
    assert "Independent pixels" in page.text
    assert "Independent shifts" in page.text
    assert "Unit of inference: the whole image" in page.text


def test_every_figure_is_there_with_a_caption_and_a_description(page: _Page) -> None:
    descriptions = [str(a["alt"]) for a in page.all("img")]
    assert all(descriptions)
    assert len(page.all("figcaption")) == len(descriptions)
    for wanted in ("overlay", "above threshold", "Joint histogram", "against threshold",
                   "Null distribution", "Cross-correlation", "Nearest-neighbour"):  # fmt: skip
        assert any(wanted in text for text in descriptions), wanted


def test_figures_are_whole_pngs(page: _Page) -> None:
    for image in page.all("img"):
        png = base64.b64decode(str(image["src"]).partition(",")[2], validate=True)
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        assert png.endswith(b"IEND\xaeB`\x82")


def test_methods_name_every_parameter_and_cite_only_what_was_used(
    make_run: MakeRun, page: _Page
) -> None:
    record = json.loads((make_run("plain") / "run.json").read_text(encoding="utf-8"))
    for key in record["parameters"]:
        assert key in page.text
    assert "10.1529/biophysj.103.038422" in page.text
    assert "10.1242/jcs.109.4.787" in page.text
    assert "10.1038/nmeth.2019" not in page.text
    assert "No background was subtracted" in page.text
    for facts in record["inputs"].values():
        assert facts["sha256"] in page.text


def test_names_from_files_are_shown_and_never_run(make_run: MakeRun) -> None:
    text = (make_run("hostile", channels=HOSTILE) / "report.html").read_text(encoding="utf-8")
    page = _Page(text)
    assert "<script>alert" not in text
    assert len(page.all("script")) == 1
    assert HOSTILE[1] in page.text
    assert HOSTILE[0] in page.text


def test_names_without_glyphs_do_not_stop_the_page(make_run: MakeRun) -> None:
    text = (make_run("glyphs", channels=("细胞", "_b" * 80)) / "report.html").read_text("utf-8")
    assert "细胞" in text


def test_regions_are_counted_and_listed(make_run: MakeRun) -> None:
    page = _Page((make_run("regions", regions=True) / "report.html").read_text(encoding="utf-8"))
    assert "median of 2 regions" in page.text
    assert "Unit of inference: the region" in page.text
    assert "not independent replicates of a treatment" in page.text
    assert any("of every region" in str(a["alt"]) for a in page.all("img"))


def test_without_calibration_there_is_no_scale_bar_and_no_micrometre(make_run: MakeRun) -> None:
    page = _Page((make_run("raw", calibrated=False) / "report.html").read_text(encoding="utf-8"))
    assert "not given by the file" in page.text
    assert "no scale bar" in page.text
    assert "(µm)" not in page.text


def test_three_channels_give_three_sections(make_run: MakeRun) -> None:
    pixels = np.random.default_rng(0).poisson(20, (3, 48, 48)).astype(np.uint16)
    run = make_run("three", channels=("A", "B", "C"), pixels=pixels)
    page = _Page((run / "report.html").read_text(encoding="utf-8"))
    for pair in ("A and B", "A and C", "B and C"):
        assert pair in page.text


def test_stacks_say_which_slice_is_shown(make_run: MakeRun) -> None:
    pixels = np.random.default_rng(0).poisson(20, (2, 5, 40, 40)).astype(np.uint16)
    pixels[:, 3] *= 2
    run = make_run("stack", pixels=pixels, axes="czyx")
    assert "Slice 4 of 5 (the brightest; not a projection)" in report_html(run)


def test_an_empty_channel_gives_dashes_with_a_reason(make_run: MakeRun) -> None:
    pixels = np.random.default_rng(0).poisson(20, (2, 40, 40)).astype(np.uint16)
    pixels[1] = 0
    page = _Page((make_run("empty", pixels=pixels) / "report.html").read_text(encoding="utf-8"))
    assert "–" in page.text
    assert "What counts as signal: not shown; there is no threshold" in page.text
    assert not re.search(r"\bnan\b", page.text)


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
    shutil.rmtree(run / "images.zarr")
    with pytest.raises(RunError, match=r"no readable images\.zarr"):
        write_report(run)
    shutil.rmtree(run / "tables")
    with pytest.raises(RunError, match="no table 'pixel'"):
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
    assert not list(run.glob(".report*"))


def test_tables_close_what_they_open(make_run: MakeRun) -> None:
    text = (make_run("plain") / "report.html").read_text(encoding="utf-8")
    for table in re.findall(r"<table.*?</table>", text, flags=re.DOTALL):
        rows = ET.fromstring(table).iter("tr")  # noqa: S314 - our own page
        assert len({len(list(row)) for row in rows}) == 1


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("aequorea-demo/a.tif: no pixel size", "aequorea-demo/a.tif: no pixel size"),
        ("red is saturated", "red is saturated"),
        ("the line is far (-6% of it)", "The line is far (−6 % of it)"),
        ("give it with --spacing-um", "Give it with --spacing-um"),
    ],
)
def test_names_keep_their_letters_and_signs_are_printed(message: str, sentence: str) -> None:
    assert _sentence(message, ["red", "GFP"]).replace("\u202f", " ") == sentence


def test_with_several_pairs_a_check_names_its_own() -> None:
    row = {
        "channel_a": "A",
        "channel_b": "B",
        "check": "intercept",
        "message": "far",
        "channel": None,
    }
    assert _with_pair(row, several=True) == "A and B: far"
    assert _with_pair(row, several=False) == "far"
    assert _with_pair({**row, "channel": "A"}, several=True) == "far"


def test_a_peak_away_from_zero_is_told_as_a_possible_shift(make_run: MakeRun) -> None:
    pixels = np.random.default_rng(0).poisson(20, (2, 64, 64)).astype(np.uint16)
    pixels[1] = np.roll(pixels[0], 4, axis=1)
    text = report_html(make_run("shifted", pixels=pixels))
    assert "possibly a chromatic shift" in text
    assert "px along x)" in text
