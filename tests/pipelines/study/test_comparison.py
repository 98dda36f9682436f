"""Conditions compared by animals, never by cells, never with controls."""

import pandas as pd
import pytest
from scipy import stats

from aequorea.errors import InputError
from aequorea.io import write_table
from aequorea.pipelines.run import Parameters, merge_parameters, run_steps
from aequorea.pipelines.run.steps import Step
from aequorea.pipelines.study import ComparisonParameters, compare_conditions, comparison_step


@pytest.fixture
def table():
    """Two images of each of six animals, two markers, and a control."""
    rows = [
        {
            "sample": f"{animal}{image}",
            "animal": animal,
            "condition": condition,
            "control": None,
            "marker": marker,
            "positive": 10 * k + image + (5 if marker == "GFP" else 0),
            "cells": 100,
        }
        for k, (animal, condition) in enumerate(zip("abcdef", ["WT"] * 3 + ["KO"] * 3, strict=True))
        for image in range(2)
        for marker in ("GFP", "RFP")
    ]
    control = {**rows[0], "sample": "no", "control": "negative", "positive": 100}
    return pd.DataFrame([control, *rows])


def test_the_animal_is_the_unit(table):
    only = table[table["marker"] == "RFP"]
    found = compare_conditions(only, "positive", "cells")
    (pair,) = found.pairs.to_dict("records")
    fractions = [(20 * k + 1) / 200 for k in range(6)]
    expected = stats.ttest_ind(fractions[3:], fractions[:3], equal_var=False)
    assert pair["p_value"] == pytest.approx(expected.pvalue)
    assert (pair["reference"], pair["condition"]) == ("WT", "KO")
    assert (pair["n_reference"], pair["n_condition"]) == (3, 3)
    assert pair["difference"] == pytest.approx(0.3)
    assert found.conditions["n_images"].tolist() == [6, 6]
    assert found.conditions["n_cells"].tolist() == [600, 600]
    assert found.warnings == ()


def test_groups_are_compared_apart(table):
    found = compare_conditions(table, "positive", "cells", by=["marker"])
    assert found.pairs["marker"].tolist() == ["GFP", "RFP"]
    assert found.conditions["marker"].tolist() == ["GFP", "GFP", "RFP", "RFP"]


def test_one_row_per_cell(table):
    only = table[table["marker"] == "RFP"]
    cells = pd.concat(
        [
            only[["sample", "animal", "condition", "control"]].assign(
                is_positive=only["positive"] > k
            )
            for k in range(100)
        ]
    )
    pairs = compare_conditions(cells, "is_positive", None).pairs
    pd.testing.assert_frame_equal(pairs, compare_conditions(only, "positive", "cells").pairs)


def test_the_reference_and_the_image_as_unit(table):
    asked = ComparisonParameters(reference="KO", unit="image")
    found = compare_conditions(
        table[table["marker"] == "RFP"], "positive", "cells", parameters=asked
    )
    (pair,) = found.pairs.to_dict("records")
    assert (pair["reference"], pair["n_reference"]) == ("KO", 6)
    assert "12 images come from 6 animals" in found.warnings[0]


def test_animals_in_both_conditions_are_paired(table):
    only = table[(table["marker"] == "RFP") & table["control"].isna()].copy()
    only["animal"] = list("aabbccaabbcc")
    (pair,) = compare_conditions(only, "positive", "cells").pairs.to_dict("records")
    assert pair["paired"]
    assert pair["n_reference"] == 3


def test_what_is_not_known_is_left_out_and_told(table):
    only = table[table["marker"] == "RFP"].copy()
    only.loc[only["sample"] == "a0", "condition"] = None
    only.loc[only["sample"] == "b1", "animal"] = None
    found = compare_conditions(only, "positive", "cells")
    assert found.warnings == ("no condition for a0: left out", "no animal for b1: left out")
    assert found.conditions["n_images"].tolist() == [4, 6]


def test_without_animals_nothing_is_tested(table):
    found = compare_conditions(table.assign(animal=None), "positive", "cells")
    assert found.pairs["p_value"].isna().all()
    assert found.pairs["reason"].str.contains("no animal").all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["condition", "animal"]), "blinded"),
        (lambda t: t.assign(condition=None), "no sample has a condition"),
        (lambda t: t[t["condition"] == "KO"], "no results of the reference 'WT'"),
        (lambda t: t.iloc[:0], "no results of the reference 'WT'"),
    ],
)
def test_nothing_to_compare_is_an_empty_table(table, change, message):
    asked = ComparisonParameters(reference="WT")
    found = compare_conditions(change(table), "positive", "cells", by=["marker"], parameters=asked)
    assert len(found.pairs) == len(found.conditions) == 0
    assert list(found.pairs.columns)[:3] == ["marker", "reference", "condition"]
    assert message in found.warnings[0]


def test_columns_that_are_not_there(table):
    with pytest.raises(InputError, match="no column 'postive'; it has sample, animal"):
        compare_conditions(table, "postive", "cells")


def test_as_a_step(table, tmp_path):
    def collect(context):
        write_table(table, context.target("tables/overview"))

    outputs = ("tables/overview.parquet", "tables/overview.csv")
    steps = [
        Step(name="tables", version=1, function=collect, outputs=outputs),
        comparison_step("overview", "positive", "cells", by=("marker",)),
    ]
    options = {"workflow": "x", "inputs": {}, "parameters": merge_parameters(Parameters)}
    result = run_steps(steps, tmp_path / "out", **options)
    assert len(result.table("comparison")) == 2
    assert len(result.table("comparison_conditions")) == 4
    assert run_steps(steps, tmp_path / "out", **options).executed == ()
