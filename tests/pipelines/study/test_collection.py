"""Tables of samples as one: types, blanks, columns."""

import pandas as pd
import pytest

from aequorea.errors import FileFormatError, FileMissingError, InputError
from aequorea.io import write_table
from aequorea.pipelines.study.collection import Origin, collected, table_names


@pytest.fixture
def origin(tmp_path):
    def make(sample, metadata=None, **tables):
        for name, table in tables.items():
            write_table(pd.DataFrame(table), tmp_path / sample / "tables" / name)
        return Origin(
            facts={"sample": sample, "animal": None},
            metadata=metadata or {},
            run_dir=tmp_path / sample,
            tables=dict.fromkeys(tables, "hash"),
        )

    return make


def test_blanks_have_no_say_in_types(origin):
    parts = [
        origin("a", t={"n": [1, 2], "why": [None, None], "x": [float("nan")] * 2}),
        origin("b", t={"n": [3], "why": ["too small"], "x": [True]}),
        origin("c", t={"n": [], "why": [], "x": []}),
    ]
    table = collected("t", parts)
    assert table["n"].dtype == "int64"
    assert table["why"].isna().tolist() == [True, True, False]
    assert table["x"].tolist()[2] is True


def test_only_empty_tables_keep_their_columns(origin):
    table = collected("t", [origin("a", t={"n": []}), origin("b", t={"n": []})])
    assert list(table.columns) == ["sample", "animal", "n"]
    assert len(table) == 0


def test_columns_and_tables_that_some_samples_lack(origin):
    parts = [origin("a", t={"n": [1]}), origin("b", t={"m": [2.5]}, u={"k": [1]})]
    assert table_names(parts) == ("t", "u")
    table = collected("t", parts)
    assert table["m"].isna().tolist() == [True, False]
    assert collected("u", parts)["sample"].tolist() == ["b"]


def test_numbers_of_the_sheet(origin):
    values = [("1", "0.00005", "x", "1"), ("2", "1000", "2", "")]
    parts = [
        origin(
            k,
            dict(zip("abcd", v, strict=True)) if k == "p" else {"a": v[0], "b": v[1]},
            t={"n": [0]},
        )
        for k, v in zip("pq", values, strict=True)
    ]
    table = collected("t", parts)
    assert table["a"].dtype == "Int64"
    assert table["b"].dtype == "Float64"
    assert table["c"].tolist()[0] == "x"
    assert table["d"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    "texts",
    [("007", "7"), ("1_0", "10"), ("1.10", "1.1"), ("1e3", "2"), ("+1", "1"), ("nan", "1.5"),
     ("9" * 19, "1.5"), ("-0", "1"), ("inf", "1"), ("0x1", "1"), ("٣", "1"), (" 1", "1")],
)  # fmt: skip
def test_names_made_of_digits_stay_as_they_are_written(origin, texts):
    parts = [origin(k, {"slide": v}, t={"n": [0]}) for k, v in zip("pq", texts, strict=True)]
    assert collected("t", parts)["slide"].tolist() == list(texts)


def test_types_that_do_not_go_together(origin):
    with pytest.raises(InputError, match="table 't': a column has types that do not go together"):
        collected("t", [origin("a", t={"n": [1]}), origin("b", t={"n": ["x"]})])


def test_tables_that_are_gone_or_damaged(origin, tmp_path):
    part = origin("a", t={"n": [1]})
    (tmp_path / "a/tables/t.parquet").write_text("x")
    with pytest.raises(FileFormatError, match="Parquet"):
        collected("t", [part])
    (tmp_path / "a/tables/t.parquet").unlink()
    with pytest.raises(FileMissingError, match="run the study again"):
        collected("t", [part])
