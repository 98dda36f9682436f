import math

import pandas as pd

from aequorea.report.data_table import MOST_ROWS, data_table


def test_empty_cells_are_dashes_whose_reason_is_a_note() -> None:
    frame = pd.DataFrame(
        {"region_name": ["a", "b", "c"], "pcc": [0.5, math.nan, math.nan],
         "reason": ["", "constant", "constant"]}
    )  # fmt: skip
    table = data_table(frame, ["region_name", "pcc", "not there"], file="x.csv")
    assert [h[0] for h in table.headings] == ["region", "Pearson r"]
    assert [row[1].text for row in table.rows] == ["0.500", "–", "–"]
    assert [row[1].mark for row in table.rows] == ["", "a", "a"]
    assert table.notes == [("a", "constant")]


def test_columns_without_a_value_and_single_frames_and_pairs_are_left_out() -> None:
    frame = pd.DataFrame(
        {"frame": [0, 0], "channel_a": "A", "channel_b": "B", "icq": math.nan, "n_pixels": [3, 4]}
    )
    table = data_table(frame, list(frame.columns), file="x.csv")
    assert [h[1] for h in table.headings] == ["n_pixels"]
    frame["frame"] = [0, 1]
    frame["channel_b"] = ["B", "C"]
    table = data_table(frame, list(frame.columns), file="x.csv")
    assert [h[1] for h in table.headings] == ["frame", "channel_a", "channel_b", "n_pixels"]


def test_long_tables_are_cut_and_say_so() -> None:
    table = data_table(pd.DataFrame({"pcc": [0.1] * (MOST_ROWS + 5)}), ["pcc"], file="x.csv")
    assert table.cut
    assert len(table.rows) == MOST_ROWS
    assert table.total == MOST_ROWS + 5


def test_cells_sort_by_their_full_value() -> None:
    table = data_table(pd.DataFrame({"pcc": [0.12345678, -1.0]}), ["pcc"], file="x.csv")
    assert [row[0].key for row in table.rows] == ["0.12345678", "-1.0"]


def test_an_empty_table_is_a_table() -> None:
    table = data_table(pd.DataFrame({"pcc": [], "reason": []}), ["pcc"], file="x.csv")
    assert table.rows == []
    assert not table.cut


def test_a_single_pair_is_named_in_headings_that_are_explained_below() -> None:
    frame = pd.DataFrame(
        {"channel_a": ["B A"], "channel_b": ["Mito"], "m1": [0.5], "threshold_a": [3.0],
         "threshold_b": [4.0], "n_independent": [11.84]}
    )  # fmt: skip
    table = data_table(frame, list(frame.columns), file="x.csv")
    texts = [h[0] for h in table.headings]
    assert texts == ["M1", "threshold of B A", "threshold of Mito", "independent shifts"]
    assert table.rows[0][3].text == "11.8"
    assert any("intensity of B A where Mito is above" in line for line in table.explained)
    assert not table.wide


def test_small_p_values_are_not_printed_as_zero() -> None:
    frame = pd.DataFrame({"p_value": [0.0, 0.0004, 0.012], "p_fdr": [1e-9, math.nan, 0.001]})
    table = data_table(frame, ["p_value", "p_fdr"], file="x.csv")
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["< 0.001", "< 0.001"],
        ["< 0.001", "–"],
        ["0.012", "0.001"],
    ]
    assert table.rows[1][0].key == "0.0004"
