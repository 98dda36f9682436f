"""From which intensity cells are called positive, held against negative controls."""

import numpy as np
import pandas as pd
import pytest

import aequorea
from aequorea.io.tables import write_table
from aequorea.model import Image
from aequorea.pipelines.cells.parameters import cells_parameters
from aequorea.pipelines.cells.thresholds import thresholds_in_use
from aequorea.pipelines.run.progress import Quiet
from aequorea.pipelines.run.steps import StepContext
from aequorea.pipelines.study import Sample
from aequorea.pipelines.study.controls import ThresholdInUse, control_tables


@pytest.fixture
def context(tmp_path):
    """Tables of two samples and a control."""
    control = pd.Series([None, None, "negative"], dtype="string")
    samples = pd.Series(["a", "b", "dark"], dtype="string")
    tables = {
        "channels": {"role": ["marker"] * 3, "channel": ["GFP"] * 3},
        "segmentation_marker": {"threshold": [150.0, 170.0, 20.0], "method": ["otsu"] * 3},
        "cell_summary": {
            "marker_threshold": [300.0, 320.0, 50.0],
            "marker_score": [400.0, 200.0, 110.0],
        },
    }
    for name, columns in tables.items():
        frame = pd.DataFrame({"sample": samples, "control": control, **columns})
        write_table(frame, tmp_path / "tables" / name)
    return StepContext(run_dir=tmp_path, scratch=tmp_path, progress=Quiet())


def _used(context, *, by_role=True, **options):
    parameters = cells_parameters(1)(marker={"method": "otsu", **options})
    return thresholds_in_use(context, parameters=parameters, by_role=by_role, percentile=99.0)


def test_pixels_of_objects_are_judged_by_the_thresholds_of_the_samples(context):
    found = _used(context)
    assert found == {"marker": ThresholdInUse(values=(150.0, 170.0))}
    assert list(_used(context, by_role=False)) == ["GFP"]


def test_intensities_of_cells_are_held_against_cells_of_the_control(context):
    (found,) = _used(context, rule="intensity", intensity_measure="median").values()
    assert found.values == (300.0, 320.0)
    assert found.levels == {"negative": 110.0}
    assert found.compared == "median intensities of the cells"


def test_what_is_no_grey_level_of_the_image_is_told(context):
    assert "filtered image" in _used(context, prefilters=("gaussian",))["marker"].reason
    path = context.result("tables/segmentation_marker.parquet")
    table = pd.read_parquet(path).drop(columns="threshold").assign(method="cellpose")
    write_table(table, context.result("tables/segmentation_marker"), overwrite=True)
    assert "without a grey level (cellpose)" in _used(context)["marker"].reason


def test_levels_say_where_the_thresholds_lie(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.poisson(100, (3, 64, 64)).astype("u2")
    image = Image(data=pixels, axes="cyx", channels=("DAPI", "GFP", "RFP"))
    aequorea.save(image, tmp_path / "dark.ome.tif")
    sample = Sample(name="dark", file=tmp_path / "dark.ome.tif", control="negative")
    thresholds = {
        "GFP": ThresholdInUse(values=(110.0, 130.0)),
        "RFP": ThresholdInUse(values=(110.0,), compared="cells", levels={"negative": 105.0}),
    }
    found = control_tables([sample], thresholds=thresholds)
    levels = found.negative_levels.set_index("channel")
    assert levels["threshold_lies"].tolist() == ["not known", "partly below", "above"]
    assert levels.loc["GFP", ["n_below", "n_thresholds"]].tolist() == [1, 2]
    assert levels.loc["RFP", "compared_level"] == 105
    assert levels.loc["DAPI", "threshold_reason"] == "cells are not called positive by this channel"
    (warning,) = found.warnings
    assert warning.startswith("GFP: the threshold (110 to 130) is below")
    assert "in 1 of 2 images or regions, which pixels of negative controls reach" in warning
