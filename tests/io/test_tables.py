from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aequorea.errors import FileFormatError, FileMissingError, InputError, OutputError
from aequorea.io import read_table, write_table
from aequorea.io.tables import _exact_floats

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


def test_bad_files(tmp_path):
    with pytest.raises(FileMissingError, match="no such table"):
        read_table(tmp_path / "a")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(FileFormatError, match=r"a\.parquet: cannot be read as Parquet"):
        read_table(tmp_path / "a")
    (tmp_path / "b.csv").write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"b\.csv: cannot be read as CSV"):
        read_table(tmp_path / "b")
