"""Every example of the README and the documentation runs and prints what it says."""

import doctest
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PAGES = [p for p in PAGES if "_build" not in p.parts and "api" not in p.parts]
FENCE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHELL = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [p for p in PAGES if ">>>" in p.read_text("utf-8")], ids=_name)
def test_examples_print_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = "\n\n".join(FENCE.findall(page.read_text(encoding="utf-8")))
    test = doctest.DocTestParser().get_doctest(blocks, {}, _name(page), str(page), 0)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    report: list[str] = []
    result = doctest.DocTestRunner(verbose=False, optionflags=flags).run(test, out=report.append)
    assert result.attempted > 0
    assert result.failed == 0, "".join(report)


def _commands() -> list[tuple[str, str]]:
    return [
        (_name(page), line.strip())
        for page in PAGES
        for block in SHELL.findall(page.read_text(encoding="utf-8"))
        for line in re.split(r"\n|&& |; do ", block)
        if re.match(r"\S*aequorea ", line.strip())
    ]


@pytest.mark.parametrize(("page", "command"), _commands())
def test_commands_name_options_and_values_that_exist(page: str, command: str) -> None:
    from aequorea.cli import files, photon
    from aequorea.cli.app import app
    from aequorea.pipelines.cells.parameters import cells_parameters
    from aequorea.pipelines.colocalization.parameters import ColocalizationParameters
    from aequorea.pipelines.confocal.parameters import confocal_parameters
    from aequorea.pipelines.movies.parameters import RegisterParameters
    from aequorea.pipelines.run.parameters import merge_parameters, parameter_fields

    _, verb, *words = command.split()
    assert verb in app or verb == "--help", page
    given = [w for w in words if w.startswith("--")]
    if verb in {"convert", "photon"}:
        function = files.convert if verb == "convert" else getattr(photon, words[0])
        own = {f"--{name.replace('_', '-')}" for name in inspect.signature(function).parameters}
        assert set(given) <= own | {"--json"}, page
        return
    models = {
        "cells": cells_parameters(3),
        "confocal": confocal_parameters(3, 2),
        "register": RegisterParameters,
        "estimate": RegisterParameters,
    }
    model = models.get(verb, ColocalizationParameters)
    names = {f.flag: f.name for f in parameter_fields(model)}
    own = {"--out", "--config", "--write-config", "--help", "--markers", "--blind", "--workers"}
    own |= {"--accept", "--reject", "--redo", "--reason"}  # triage
    own |= {"--channel", "--dark", "--reference"}  # flatfield, chromatic
    assert set(given) <= {*names, *own}, page
    flags = {names[w]: words[words.index(w) + 1] for w in given if w in names}
    merge_parameters(model, flags=flags)


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not link.startswith(("http", "mailto")):
                assert (page.parent / link).exists(), f"{_name(page)}: {link}"
