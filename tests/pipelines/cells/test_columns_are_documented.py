"""Every column that a cell count writes stands in the documentation."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import aequorea
from aequorea.measure.objects import MORPHOLOGY
from aequorea.model import Image
from aequorea.pipelines.cells.workflow import count

FORMATS = Path(__file__).parents[3] / "docs" / "formats.md"
MARKER, CHANNEL = r"marker\d*", r"(cell|marker\d*)"


@pytest.fixture(scope="module")
def documented():
    text = FORMATS.read_text(encoding="utf-8").split("## Tables of a cell count", 1)[1]
    names = set(re.findall(r"`([\w<>]+)`", text))
    stands_for = {"<marker>": MARKER, "<channel>": CHANNEL, "centroid_a": "centroid_[zyx]"}
    patterns = []
    for name in names:
        pattern = name
        for written, meant in stands_for.items():
            pattern = pattern.replace(written, meant)
        patterns.append(pattern)
    patterns += [rf"(average_)?{CHANNEL}_{n}" for n in MORPHOLOGY if n in names]
    return re.compile("|".join(patterns))


@pytest.fixture(scope="module", params=["otsu", "watershed"])
def tables(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns")
    yy, xx = np.mgrid[:96, :96]
    cells = ((yy % 24 - 12) ** 2 + (xx % 24 - 12) ** 2 <= 64) * 900 + 100
    noisy = cells + np.random.default_rng(0).normal(0, 5, (3, 96, 96))
    spacing = {"y": 0.5, "x": 0.5}
    data = noisy.astype(np.uint16)
    image = Image(data=data, axes="cyx", channels=("A", "B", "C"), spacing_um=spacing)
    aequorea.save(image, folder / "a.ome.tif")
    np.save(folder / "edited.npy", (cells > 500).astype(np.uint8))
    roles = {role: {"method": request.param} for role in ("cell", "marker", "marker2")}
    roles["marker"] |= {"edited": str(folder / "edited.npy")}
    roles["counting"] = {"counting": "frame"}
    run = count(folder / "a.ome.tif", parameters=roles, out=folder / "run")
    return {p.stem: pd.read_parquet(p) for p in (run.directory / "tables").glob("*.parquet")}


def test_every_column_and_table_is_documented(tables, documented):
    assert len(tables) > 12
    missing = {f"{t}: {c}" for t, table in tables.items() for c in table if not
               documented.fullmatch(str(c))}  # fmt: skip
    assert not missing
    assert [t for t in tables if not documented.fullmatch(t)] == []


def test_nothing_undocumented_passes(documented):
    assert not documented.fullmatch("cell_weight")
    assert not documented.fullmatch("n_marker_positive_cell")
