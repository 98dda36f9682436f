import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("which", ["demo", "test"])
def test_each_command_is_one_line_that_sets_itself_up(which: str) -> None:
    marked = re.search(
        rf"<!-- {which}-command -->\n```sh\n(.*?)\n```\n<!-- /{which}-command -->",
        README,
        re.DOTALL,
    )
    assert marked
    command = marked[1]
    assert "\n" not in command
    assert command.startswith("python3 -m venv .venv && .venv/bin/python -m pip install ")


def test_the_picture_is_there_and_small() -> None:
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / picture).stat().st_size < 300_000


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "test-command" in script
    assert "pytest" not in script


@pytest.mark.filterwarnings("default")
def test_the_example_script_runs(tmp_path: Path) -> None:
    script = ROOT / "examples" / "colocalization.py"
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-W", "error", str(script), str(tmp_path / "out")],
        capture_output=True, text=True, encoding="utf-8", check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "null hypothesis: " in done.stdout
    assert (tmp_path / "out" / "cells.aequorea" / "report.html").is_file()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("script", sorted(p.name for p in (ROOT / "examples").glob("cells_*.py")))
def test_the_scripts_of_cells_run_and_have_their_notebook(script: str, tmp_path: Path) -> None:
    path = ROOT / "examples" / script
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(path), str(tmp_path / "out")],
        capture_output=True, text=True, encoding="utf-8", check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    cells = [
        "".join(cell["source"])
        for cell in json.loads(path.with_suffix(".ipynb").read_text("utf-8"))["cells"]
    ]
    titles = [line[4:].strip() for line in path.read_text("utf-8").splitlines()
              if line.startswith("# %%")]  # fmt: skip
    assert [c.splitlines()[0] for c in cells[1:]] == [f"# {t}" for t in titles]
