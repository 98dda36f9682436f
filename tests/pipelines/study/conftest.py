"""A small study of text files, and the workflow that counts their letters."""

import importlib
from pathlib import Path

import pytest

SHEET = """file,sample,animal,condition,control,code,params.factor,age
a.txt,A,m1,WT,,,2,3
b.txt,B,m2,KO,,,,4.5
c.txt,C,m3,KO,,,,
n.txt,N,,,negative,,,
"""
TEXTS = {"a": "aab", "b": "bcd", "c": "eeex", "n": ""}


@pytest.fixture
def letters(monkeypatch):
    """The workflow as a module that other processes find, too."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("fake_workflow")


@pytest.fixture
def folder(tmp_path):
    """A folder with texts, sheet and study file."""
    for name, text in TEXTS.items():
        (tmp_path / f"{name}.txt").write_text(text)
    (tmp_path / "samples.csv").write_text(SHEET)
    (tmp_path / "study.toml").write_text('sheet = "samples.csv"\nout = "results"\n')
    return tmp_path
