from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aequorea.errors import FileFormatError, FileMissingError, InputError, OutputError
from aequorea.io import read_table, write_table
from aequorea.io.tables import _exact_floats, guarded, unguarded

FRAME = pd.DataFrame(
    {
        "region": ["cell 1", 'µ,"quoted"\n2', "cell 3"],
        "n_pixels": [10, 0, 2**62],
        "pcc": [0.1 + 0.2, np.nan, -1e-300],
        "saturated": [True, False, True],
    }
)


def test_a_pair_with_the_same_content(tmp_path):
    parquet, csv = write_table(FRAME, tmp_path / "deep" / "rows.v1")
    assert (parquet.name, csv.name) == ("rows.v1.parquet", "rows.v1.csv")
    for path in (parquet, csv, parquet.with_suffix("")):
        found = read_table(path)
        pd.testing.assert_frame_equal(found, FRAME, check_dtype=False, check_exact=True)
    parquet.unlink()
    assert read_table(parquet.with_suffix("")).shape == FRAME.shape
    assert csv.read_bytes().startswith(
        b"region,n_pixels,pcc,saturated\ncell 1,10,0.30000000000000004"
    )


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(allow_infinity=False), min_size=1, max_size=20))
def test_numbers_are_exact_in_both(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("tables")
    for path in write_table(pd.DataFrame({"x": values}), folder / "a"):
        np.testing.assert_array_equal(read_table(path)["x"], np.asarray(values))


@pytest.mark.parametrize(
    ("version", "asks"),
    [("2.2.3", True), ("3.0.1", True), ("3.1.0rc0", False), ("3.1.1", False), ("4.0.0", False)],
)
def test_exact_floats_are_asked_for_where_pandas_wants_to_be_asked(version, asks):
    assert bool(_exact_floats(version)) == asks


def test_empty_tables_keep_their_columns(tmp_path):
    parquet, csv = write_table(FRAME.iloc[:0], tmp_path / "a")
    for path in (parquet, csv):
        assert list(read_table(path).columns) == list(FRAME.columns)
        assert len(read_table(path)) == 0


def test_overwriting_is_asked_for(tmp_path):
    write_table(FRAME, tmp_path / "a")
    with pytest.raises(OutputError, match="exists already"):
        write_table(FRAME, tmp_path / "a")
    write_table(FRAME.iloc[:1], tmp_path / "a.csv", overwrite=True)
    assert len(read_table(tmp_path / "a")) == 1


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(np.zeros((1, 2)), columns=["a", "a"]),
        pd.DataFrame(np.zeros((1, 2))),
        pd.DataFrame({"a": [1, "x", {}]}),
    ],
)
def test_tables_that_cannot_be_kept_are_refused(tmp_path, frame):
    with pytest.raises(InputError):
        write_table(frame, tmp_path / "a")
    assert not list(tmp_path.iterdir())


FORMULAS = ["=HYPERLINK(1)", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "'=1", "''-", "-", "-5"]


@pytest.mark.parametrize("dtype", [object, "str", "string", "category"])
def test_no_text_of_a_csv_file_is_a_formula_and_none_is_lost(tmp_path, dtype):
    texts = pd.Series([*FORMULAS, "plain", "'t Hooft", "a=b"]).astype(dtype)
    frame = pd.DataFrame({"name": texts, "=n": np.arange(len(texts)) - 5.5})
    parquet, csv = write_table(frame, tmp_path / "a")
    raw = pd.read_csv(csv, dtype=str)
    assert not any(v[0] in "=+-@\t\r" for v in [*raw.columns, *raw["name"]])
    assert pd.read_parquet(parquet)["name"].tolist() == texts.tolist()
    for path in (parquet, csv):
        found = read_table(path)
        assert found["name"].tolist() == texts.tolist()
        assert found["=n"].tolist() == frame["=n"].tolist()
    assert pd.read_csv(csv)["'=n"].tolist() == frame["=n"].tolist()


def test_columns_of_several_types_keep_what_is_no_text(tmp_path):
    frame = pd.DataFrame({"a": pd.Series([None, "=1", None], dtype=object), "b": [-1, -2, -3]})
    _, csv = write_table(frame, tmp_path / "a")
    assert csv.read_text() == "a,b\n,-1\n'=1,-2\n,-3\n"
    assert read_table(csv)["a"].isna().tolist() == [True, False, True]


@given(st.text(max_size=6))
def test_texts_come_back(text):
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in {"=", "+", "-", "@", "\t", "\r"}


def test_bad_files(tmp_path):
    with pytest.raises(FileMissingError, match="no such table"):
        read_table(tmp_path / "a")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(FileFormatError, match=r"a\.parquet: cannot be read as Parquet"):
        read_table(tmp_path / "a")
    (tmp_path / "b.csv").write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"b\.csv: cannot be read as CSV"):
        read_table(tmp_path / "b")
