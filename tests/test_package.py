"""What a user meets first: importing, public names, and scripts of earlier tools."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import aequorea
from aequorea import colocalization

# Imported by the package's own work only when it is needed.
HEAVY = (
    "numpy", "pandas", "matplotlib", "scipy", "skimage", "numba", "zarr", "xarray", "tifffile",
    "pyarrow", "pydantic", "PIL", "qtpy", "napari",
)  # fmt: skip
IN_THE_VIEWER = {"ColocalizationWidget"}


def _loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize("statement", ["import aequorea", "import aequorea.colocalization"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    assert _loaded_by(statement) & set(HEAVY) == set()


def test_the_command_line_starts_without_science() -> None:
    unwanted = {"numba", "skimage", "scipy", "matplotlib", "zarr", "pyarrow", "xarray"}
    assert _loaded_by("import aequorea.cli.app") & unwanted == set()


@pytest.mark.parametrize("name", sorted(set(colocalization.__all__) - IN_THE_VIEWER))
def test_every_public_name_of_colocalization_resolves(name: str) -> None:
    assert getattr(colocalization, name) is not None


@pytest.mark.parametrize("name", sorted(IN_THE_VIEWER))
def test_names_of_the_viewer_say_what_is_missing(name: str) -> None:
    assert name in dir(colocalization)
    with pytest.raises(ImportError, match=r"napari|viewer"):
        getattr(colocalization, name)


def test_unknown_names_are_attribute_errors() -> None:
    for module in (aequorea, colocalization):
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            getattr(module, "nothing")  # noqa: B009 - the name is not there to be written


def test_public_names_of_the_package_resolve() -> None:
    assert all(getattr(aequorea, name) is not None for name in aequorea.__all__)
    assert set(aequorea.__all__) <= set(dir(aequorea))


def test_a_script_for_napari_colocalization_runs_with_its_import_line_changed(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(3)
    shared = rng.gamma(2.0, 20.0, (64, 64))
    np.save(tmp_path / "dna.npy", shared + rng.gamma(2.0, 5.0, (64, 64)))
    np.save(tmp_path / "tubulin.npy", shared + rng.gamma(2.0, 5.0, (64, 64)))
    cells = np.zeros((64, 64), dtype=np.int32)
    cells[:30, :30], cells[34:, 34:] = 1, 2
    np.save(tmp_path / "cells.npy", cells)
    script = """
import numpy as np
import pandas as pd
from aequorea.colocalization import analyse_pairwise, COLUMNS

rows = analyse_pairwise(
    np.load("dna.npy"),
    np.load("tubulin.npy"),
    label_mask=np.load("cells.npy"),
    metrics=("pcc", "srcc", "mcc"),
    threshold_method="costes",
    channel_a="dna",
    channel_b="tubulin",
)
table = pd.DataFrame(rows, columns=COLUMNS)
table.to_csv("per_cell.csv", index=False)
print(table.describe())
"""
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    header, *lines = (tmp_path / "per_cell.csv").read_text(encoding="utf-8").splitlines()
    assert header == (
        "region,slice,channel_a,channel_b,n_pixels,pcc,pcc_pvalue,srcc,srcc_pvalue,"
        "icq,overlap,k1,k2,m1,m2,threshold_a,threshold_b"
    )
    assert [line.split(",")[0] for line in lines] == ["1", "2"]
    pcc = [float(line.split(",")[5]) for line in lines]
    assert pcc == pytest.approx(
        [
            np.corrcoef(
                np.load(tmp_path / "dna.npy")[cells == k],
                np.load(tmp_path / "tubulin.npy")[cells == k],
            )[0, 1]
            for k in (1, 2)
        ]
    )
