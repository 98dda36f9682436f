"""A run whose network's output is kept: refined in another process without a forward pass."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import skip_or_fail

import aequorea
from aequorea.io import read_labels
from aequorea.model import Image
from aequorea.pipelines.cells.workflow import count
from aequorea.segmentation.matching import match_labels
from aequorea.simulate.nuclei import simulated_nuclei

MODEL = Path(__file__).parents[2] / "data" / "cellpose" / "simulated-nuclei"
REFINE = """
import sys
from pathlib import Path
import cellpose.resnet_torch
def forward(*args, **kwargs):
    raise AssertionError("a forward pass")
cellpose.resnet_torch.CPnet.forward = forward
from aequorea.pipelines.cells.workflow import refine
result = refine(Path(sys.argv[1]), flags={"cell__cellprob_threshold": "2"}, use_gpu=False)
print(",".join(result.executed))
"""
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")


@pytest.fixture(scope="module")
def cellpose():
    if importlib.util.find_spec("cellpose") is None:
        skip_or_fail("cellpose", "Cellpose is not installed")


@pytest.mark.usefixtures("cellpose")
def test_refined_elsewhere_equals_a_fresh_run_at_that_threshold(tmp_path):
    nuclei = simulated_nuclei((128, 128), n=14, diameter_px=18, rng=11)
    path = tmp_path / "nuclei.ome.tif"
    spacing = {"y": 0.3, "x": 0.3}
    aequorea.save(Image(data=nuclei.image, axes="yx", spacing_um=spacing), path)
    cell = {"method": "cellpose", "model": str(MODEL), "diameter_px": 18}

    def counted(name, **more):
        return count(path, parameters={"cell": {**cell, **more}}, markers=0, use_gpu=False,
                     out=tmp_path / name)  # fmt: skip

    first = counted("run")
    found = read_labels(first.directory / "labels/cell.ome.tif")
    assert match_labels(nuclei.labels, found).f1 >= 0.8
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", REFINE, str(first.directory)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    executed = done.stdout.strip().splitlines()[-1].split(",")
    assert "objects_cell" in executed
    assert "response_cell" not in executed
    refined = read_labels(first.directory / "labels/cell.ome.tif")
    fresh = counted("fresh", cellprob_threshold=2)
    assert np.array_equal(refined, read_labels(fresh.directory / "labels/cell.ome.tif"))
    assert not np.array_equal(refined, found)
