from __future__ import annotations

import os

import pytest

from aequorea.errors import OutputError
from aequorea.io.atomic import replacing


def test_files_and_folders_appear_whole(tmp_path):
    with replacing(tmp_path / "new" / "a.txt") as temporary:
        temporary.write_text("whole")
        assert not (tmp_path / "new" / "a.txt").exists()
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"
    with replacing(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "b").write_text("b")
    with replacing(tmp_path / "folder", overwrite=True) as temporary:
        temporary.mkdir()
        (temporary / "c").write_text("c")
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["c"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "new"]


def test_a_failure_changes_nothing(tmp_path):
    (tmp_path / "a").write_text("old")

    def fail():
        with replacing(tmp_path / "a", overwrite=True) as temporary:
            temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (tmp_path / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_existing_things_are_kept(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("a", "dangling"):
        with pytest.raises(OutputError, match="exists already"), replacing(tmp_path / name):
            pass


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "a").write_text("file")
    with (
        pytest.raises(OutputError, match=r"cannot be written .*choose a folder"),
        replacing(tmp_path / "a" / "b") as temporary,
    ):
        temporary.write_text("x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with (
        pytest.raises(OutputError, match="Permission denied"),
        replacing(tmp_path / "a") as temporary,
    ):
        temporary.write_text("x")
