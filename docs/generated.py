"""Pages derived from the code and from benchmark results, so that they cannot differ from them."""

import csv
from pathlib import Path

from pydantic import BaseModel

from aequorea.pipelines.cells.parameters import cells_parameters
from aequorea.pipelines.colocalization.parameters import ColocalizationParameters
from aequorea.pipelines.confocal.columns import TABLES
from aequorea.pipelines.confocal.parameters import confocal_parameters
from aequorea.pipelines.run.execution import Execution
from aequorea.pipelines.run.parameters import parameter_fields


def write_pages(docs: Path) -> None:
    """Write what other pages include, below ``docs/api``."""
    folder = docs / "api"
    folder.mkdir(exist_ok=True)
    coloc = _options(ColocalizationParameters, Execution)
    (folder / "options.md").write_text(coloc, encoding="utf-8")
    (folder / "cells-options.md").write_text(_options(cells_parameters(1)), encoding="utf-8")
    confocal = _options(confocal_parameters(1, 1))
    (folder / "confocal-options.md").write_text(confocal, encoding="utf-8")
    (folder / "confocal-columns.md").write_text(_columns(), encoding="utf-8")
    (folder / "benchmarks.md").write_text(
        _benchmarks(docs.parent / "benchmarks" / "results"), encoding="utf-8"
    )


def _options(*models: type[BaseModel]) -> str:
    lines: list[str] = []
    for model in models:
        for field in parameter_fields(model):
            facts = [
                f"in {field.unit}" if field.unit else "",
                "one of " + ", ".join(map(str, field.choices)) if field.choices else "",
                field.bounds,
                f"default {_shown(field.default)}",
            ]
            told = "; ".join(f for f in facts if f)
            lines += [f"`{field.flag}` (`{field.key}`)", f": {field.meaning} *{told}.*", ""]
    return "\n".join(lines)


def _columns() -> str:
    """Every column of every confocal table, from where the workbook has them."""
    lines: list[str] = []
    for name, table in TABLES.items():
        lines += [f"### `{name}` (confocal)", "", table.text[:1].upper() + table.text[1:] + ".", ""]
        lines += [_line(["column", "unit", "meaning"]), _line(["---"] * 3)]
        lines += [_line([f"`{c}`", m.unit, m.text]) for c, m in table.columns.items()]
        lines.append("")
    return "\n".join(lines)


def _shown(value: object) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _benchmarks(results: Path) -> str:
    lines: list[str] = []
    tables = sorted(results.glob("*.csv")) if results.is_dir() else []
    if not tables:
        return "\n".join(
            [*lines, "This copy of the sources has no `benchmarks/results/*.csv` yet."]
        )
    for table in tables:
        with table.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream))
        if not rows:
            continue
        lines += [f"**`benchmarks/results/{table.name}`**", "", _line(rows[0])]
        lines += [_line(["---"] * len(rows[0])), *(_line(row) for row in rows[1:]), ""]
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"
