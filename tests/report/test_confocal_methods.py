"""The methods paragraph of a confocal stack says what was done, whatever was asked for."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from aequorea.pipelines.confocal.workflow import model_for
from aequorea.pipelines.run.parameters import flat_values
from aequorea.report.confocal_methods import methods_of_confocal
from aequorea.report.run_contents import RunContents

NAMES = {"nuclei": "DAPI", "cells": "actin", "puncta": "Ryr2"}
USUAL = {role: {"channel": name} for role, name in NAMES.items()}


def told(*, recipe="aequorea", **changed):
    given = {role: {**USUAL.get(role, {}), **options} for role, options in changed.items()}
    given = {**USUAL, **given, "recipe": recipe}
    values = flat_values(model_for(given).model_validate(given))
    record = {"parameters": values, "versions": {"aequorea": "0"}}
    tables = {
        "channels": pd.DataFrame({"z_scale_factor": [1.0]}),
        "thresholds": pd.DataFrame({"role": ["puncta"], "source": ["given"], "threshold": [5.0]}),
        "cells": pd.DataFrame({"cell": [1]}),
    }
    return methods_of_confocal(RunContents(path=Path(), record=record, tables=tables), NAMES)


@pytest.mark.parametrize(
    ("changed", "words", "not_said"),
    [
        ({}, "Outlines of nuclei and cells were moved back", "Labels"),
        ({"cells": {"labels": "a.tif"}}, "Outlines of nuclei were moved back", "Cell bodies are"),
        ({"cells": {"threshold": 80.0}}, "by grey level 80.0, in pieces", "of nuclei and cells"),
        ({"cells": {"outline_reach_um": 0.0}}, "Outlines of nuclei were", "of nuclei and cells"),
        ({"cells": {"threshold_factor": 0.7}}, "(0.700 times as high", "taken for one"),
        ({"cells": {"one_cell": True}}, "taken for one cell", "divided between"),
        ({"cells": {"keep_without_nucleus": True}}, "nucleus were kept as cells", "were dropped"),
        ({"cells": {"edited": "e.tif"}}, "Labels of cells were corrected by hand", "were given"),
        ({"nuclei": {"min_volume_um3": 40.0}}, "those below 40.0 µm³ were dropped", "recipe"),
        ({"puncta": {"min_snr": 3.0}}, "at least 3.00 SD of the noise above", "the weaker"),
        ({"puncta": {"min_distance_um": 0.4}}, "two within 0.400 µm the weaker", "SD of the noise"),
        ({"nulls": {"null_hard_core_sd": 0.0}}, "random placements", "no two of them"),
    ],
)  # fmt: skip
def test_what_was_asked_for_is_said(changed, words, not_said):
    text = told(**changed).paragraph
    assert words in text
    assert not_said not in text


def test_the_recipe_is_said_of_what_it_found_only():
    text = told(recipe="3cams", nuclei={"labels": "a.tif"}).paragraph
    assert "Labels of nuclei were given. The body of the one cell of the image was" in text
    both = told(recipe="3cams").paragraph
    assert "Nuclei and the body of the one cell of the image were found by the 3CaMs" in both
    assert "watershed" not in both


def test_the_paper_of_the_outlines_is_cited_only_where_they_were_moved():
    dois = [r.doi for r in told().references]
    assert "10.1109/34.297954" in dois
    given = told(cells={"labels": "a.tif"}, nuclei={"labels": "b.tif"})
    assert "10.1109/34.297954" not in [r.doi for r in given.references]
    assert "Labels of nuclei were given. Labels of cells were given." in given.paragraph
