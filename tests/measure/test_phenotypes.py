"""Reading, evaluating and counting phenotypes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aequorea.errors import AxisMismatchError, InputError
from aequorea.measure import Phenotype, all_phenotypes, parse_phenotype, phenotype_counts

NAMES = ["A", "AB", "CD4", "HLA-DR", "Ki-67", "Ki", "67", "c+Fos", "β III tubulin", "A+B", "α"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A+", "A+"),
        ("A+AB-", "A+AB−"),
        ("AB+A−", "AB+A−"),
        ("CD4+ HLA-DR- , Ki-67+", "CD4+HLA-DR−Ki-67+"),
        ("Ki-67-", "Ki−67−"),  # without Ki-67 among the markers, see below
        ("c+Fos-β III tubulin+", "c+Fos−β III tubulin+"),
        ("A+B+", "A+B+"),
        ("CD4 + & α -", "CD4+α−"),
    ],
)
def test_texts_that_are_read(text, expected):
    names = [name for name in NAMES if name != "Ki-67"] if expected.startswith("Ki−67") else NAMES
    assert str(parse_phenotype(text, names)) == expected


def test_the_longest_name_is_read_unless_the_rest_then_fails():
    assert parse_phenotype("A+B+", ["A", "B", "A+B"]).signs == (("A+B", True),)
    both = parse_phenotype("A+B-C+", ["A", "A+B-C", "B", "C"])
    assert both.signs == (("A+B-C", True),)
    backtracked = parse_phenotype("A-B-", ["A-", "A", "B"])
    assert backtracked.signs == (("A", False), ("B", False))


@given(st.lists(st.sampled_from(NAMES[:9]), min_size=1, max_size=5, unique=True), st.data())
def test_what_is_written_is_read_back(names, data):
    signs = tuple((name, data.draw(st.booleans())) for name in names)
    text = str(Phenotype(signs))
    again = parse_phenotype(text, names)
    assert str(again) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A+D-", "found 'D-'"),
        ("D+", "'A', 'B C'"),
        ("A", "expected \\+ or - after 'A'"),
        ("A+B C", "after 'B C'"),
        ("A+A-", "'A' twice"),
        ("A+A+", "'A' twice"),
        ("", "expected signs"),
        ("+", "found '\\+'"),
        ("a+", "found 'a\\+'"),
    ],
)
def test_texts_that_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_phenotype(text, ["A", "B C"])


def test_no_code_is_run():
    with pytest.raises(InputError, match="expected a marker"):
        parse_phenotype("__import__('os').abort()+", ["A"])


def test_matches_and_counts_agree_with_loops():
    rng = np.random.default_rng(0)
    columns = {name: rng.random(200) < 0.5 for name in ("A", "B C", "D")}
    counts = phenotype_counts(columns)
    assert sum(counts.values()) == 200
    assert tuple(counts) == all_phenotypes(columns)
    for phenotype, n in counts.items():
        expected = np.ones(200, bool)
        for name, positive in phenotype.signs:
            expected &= columns[name] if positive else ~columns[name]
        np.testing.assert_array_equal(phenotype.matches(columns), expected)
        assert n == expected.sum()
    part = parse_phenotype("D-", columns)
    np.testing.assert_array_equal(part.matches(columns), ~columns["D"])


def test_no_cells_and_no_markers():
    assert phenotype_counts({"A": []}) == {
        Phenotype((("A", True),)): 0,
        Phenotype((("A", False),)): 0,
    }
    assert all_phenotypes([]) == (Phenotype(()),)


def test_columns_that_are_refused():
    phenotype = Phenotype((("A", True),))
    with pytest.raises(InputError, match="found 'A'"):
        phenotype.matches({"B": [True]})
    with pytest.raises(InputError, match="True or False"):
        phenotype.matches({"A": [1, 0]})
    with pytest.raises(AxisMismatchError, match="values"):
        phenotype.matches({"A": [True], "B": [True, False]})
    with pytest.raises(InputError, match="at most 16"):
        all_phenotypes(map(str, range(17)))
    with pytest.raises(InputError, match="not empty"):
        parse_phenotype("A+", ["A", " "])
