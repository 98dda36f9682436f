"""What a count needs of memory is said beforehand."""

import numpy as np
import pytest

import aequorea
from aequorea.model import Image
from aequorea.pipelines.cells.fields import open_field
from aequorea.pipelines.cells.memory import needed_bytes
from aequorea.pipelines.cells.parameters import cells_parameters
from aequorea.pipelines.cells.workflow import count

SHAPE = (6, 40, 50)


def values(**parameters):
    given = {"cell": {"method": "otsu"}, "marker": {"method": "otsu"}, **parameters}
    return cells_parameters(1).model_validate(given)


@pytest.fixture
def path(tmp_path):
    data = np.full((2, *SHAPE), 100, np.uint16)
    data[:, 2:4, 10:20, 10:20] = 900
    where = tmp_path / "stack.ome.tif"
    spacing = {"z": 1.0, "y": 0.5, "x": 0.5}
    aequorea.save(Image(data=data, axes="czyx", channels=("A", "B"), spacing_um=spacing), where)
    return where


def needed(path, **parameters):
    given = values(**parameters)
    return needed_bytes(open_field([path], given), given)


def test_the_estimate_follows_the_voxels_that_are_held(path):
    voxels = np.prod(SHAPE)
    whole = needed(path)
    assert 10 * voxels < whole < 200 * voxels
    assert needed(path, z_crop=(0, 3)) < 0.6 * whole
    assert needed(path, z_projection="max") < 0.3 * whole
    assert needed(path, cell={"method": "cellpose"}) > whole


def test_a_field_larger_than_its_budget_is_told_in_one_line(path, tmp_path):
    parameters = {"cell": {"method": "otsu"}, "marker": {"method": "otsu"}}
    tight = count(path, parameters=parameters, out=tmp_path / "tight", max_memory="100kB")
    told = [w for w in tight.warnings if "memory" in w]
    assert len(told) == 1
    assert "the 100 kB it may use (--max-memory)" in told[0]
    assert "MB" in told[0] or "kB of memory" in told[0]
    assert "may use (--max-memory)" in tight.report.read_text()
    roomy = count(path, parameters=parameters, out=tmp_path / "roomy", max_memory="1GB")
    assert [w for w in roomy.warnings if "memory" in w] == []
    for name in ("cell_summary", "roi_coloc_overview"):
        assert tight.table(name).equals(roomy.table(name))
