"""A real browser opens the page: nothing to complain about, nothing asked for, sorting works."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import skip_or_fail

_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--enable-logging=stderr", "--log-level=0",
)  # fmt: skip


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Open a page in Chromium; what it logs is in ``stderr``, the final page in ``stdout``."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        skip_or_fail("browser", "Chromium is not installed")

    def run(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        command = [str(browser), *_QUIET, profile, *options, page.as_uri()]
        return subprocess.run(  # noqa: S603 - our own command line
            command, capture_output=True, text=True, check=True, timeout=120, errors="replace"
        )

    return run


def _console(log: str) -> list[str]:
    return [line for line in log.splitlines() if "CONSOLE" in line]


def test_the_page_renders_without_a_complaint(
    make_run: Callable[..., Path],
    browse: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    picture = tmp_path / "page.png"
    done = browse(
        make_run("plain") / "report.html", f"--screenshot={picture}", "--window-size=1200,3000"
    )
    assert _console(done.stderr) == []
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert pixels.shape == (3000, 1200, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000


def test_a_click_on_a_heading_sorts_the_table(
    make_run: Callable[..., Path],
    browse: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    text = (make_run("plain") / "report.html").read_text(encoding="utf-8")
    script = """<script>
    const table = document.querySelector("table.sortable");
    const column = [...table.tHead.rows[0].cells].findIndex((c) => c.title === "observed");
    const read = () => [...table.tBodies[0].rows].map((r) => Number(r.cells[column].dataset.value));
    table.tHead.rows[0].cells[column].querySelector("button").click();
    document.body.dataset.up = JSON.stringify(read());
    table.tHead.rows[0].cells[column].querySelector("button").click();
    document.body.dataset.down = JSON.stringify(read());
    </script></body>"""
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    (tmp_path / "free.html").write_text(free.replace("</body>", script), encoding="utf-8")
    dom = browse(tmp_path / "free.html", "--dump-dom").stdout
    up, down = (
        [float(v) for v in re.search(rf'data-{way}="\[(.*?)\]"', dom)[1].split(",")]
        for way in ("up", "down")
    )
    assert len(up) == 3
    assert up == sorted(up)
    assert down == up[::-1]


def test_the_browser_refuses_what_does_not_belong_to_the_page(
    make_run: Callable[..., Path],
    browse: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    text = (make_run("plain") / "report.html").read_text(encoding="utf-8")
    foreign = '<script>document.body.dataset.ran = "yes"</script><img src="http://localhost/x.png">'
    (tmp_path / "bad.html").write_text(text.replace("</body>", foreign + "</body>"), "utf-8")
    done = browse(tmp_path / "bad.html", "--dump-dom")
    assert 'data-ran="yes"' not in done.stdout
    assert len(_console(done.stderr)) >= 2
