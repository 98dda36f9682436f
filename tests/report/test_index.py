from pathlib import Path

import pytest

from aequorea.errors import OutputError
from aequorea.report import Comparison, IndexEntry, write_index

PNG = b"\x89PNG\r\n\x1a\n"


def test_the_index_leads_to_each_report_and_shows_truth_beside_measurement(tmp_path: Path) -> None:
    entries = [
        IndexEntry(title="Real", text="Human cells.", report=tmp_path / "a b" / "report.html"),
        IndexEntry(
            title="Simulated",
            text="Blobs.",
            report=tmp_path / "sim" / "report.html",
            thumbnail_png=PNG,
            comparisons=[Comparison(quantity="M1", truth=0.6, measured=0.612)],
        ),
    ]
    page = write_index(tmp_path, entries)
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "index.html"
    assert 'href="a%20b/report.html"' in text
    assert 'href="sim/report.html"' in text
    assert "data:image/png;base64,iVBORw0KGgo=" in text
    assert ">0.600<" in text
    assert ">0.612<" in text
    assert ">0.0120<" in text
    assert [p.name for p in tmp_path.iterdir()] == ["index.html"]


def test_hostile_titles_are_shown_not_run(tmp_path: Path) -> None:
    hostile = '"><script>alert(1)</script>'
    entry = IndexEntry(title=hostile, text=hostile, report=tmp_path / hostile / "report.html")
    text = write_index(tmp_path, [entry], title=hostile).read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert text.count("<script>") == 1


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"index\.html: cannot be written"):
        write_index(tmp_path / "none", [])
