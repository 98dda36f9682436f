"""Studies as batches: failures, resuming, kills, blinding."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from aequorea.errors import FileMissingError, InputError, OutputError, RunError
from aequorea.pipelines.run import verify
from aequorea.pipelines.study import FirstPass, Sample, Study, load_study, run_study, unblind
from aequorea.pipelines.study.batch import _record_hash
from aequorea.pipelines.study.blinding import told_names
from aequorea.pipelines.study.state import read_state

SCRIPT = Path(__file__).with_name("fake_workflow.py")


@pytest.fixture
def run(letters, folder):
    def call(toml="study.toml", **options):
        study = load_study(folder / toml)
        one = options.pop("run_one", partial(letters.run_one, study=study))
        options = {"workflow": "letters", "summaries": letters.summaries, **options}
        return run_study(study, one, **options)

    return call


def sheet(folder, text):
    (folder / "samples.csv").write_text(text)


def contents(out):
    """All results; records and the lock hold times and processes."""
    files = [p for p in Path(out).rglob("*") if p.is_file() and ".aequorea" not in p.parts]
    kept = [p for p in files if p.name != "run.json"]
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in kept}


def test_tables_of_all_samples(run):
    result = run()
    assert result.done == result.executed == ("A", "B", "C", "N")
    table = result.table("letters")
    leading = ["sample", "animal", "condition", "replicate", "control", "code", "age"]
    assert list(table.columns) == [*leading, "letter", "n"]
    assert table["sample"].tolist() == ["A", "A", "B", "B", "B", "C", "C"]
    assert table["n"].tolist() == [4, 2, 1, 1, 1, 3, 1]
    assert table["n"].dtype == "int64"
    assert table["age"].tolist()[:3] == [3.0, 3.0, 4.5]
    assert table["condition"].tolist()[:3] == ["WT", "WT", "KO"]
    assert result.table("cells")["control"].isna().tolist() == [True, True, True, False]
    assert result.table("best")["letter"].tolist() == ["a"]
    text = pd.read_csv(result.directory / "tables/letters.csv")
    assert list(text.columns) == list(table.columns)
    assert verify(result.directory).ok
    assert all(verify(d).ok for d in result.run_dirs.values())


def test_nothing_is_done_twice(run):
    first = run()
    before = contents(first.directory)
    times = {p: p.stat().st_mtime_ns for p in first.directory.rglob("*.parquet")}
    again = run()
    assert again.executed == ()
    assert again.skipped == again.done == first.done
    assert again.summary.skipped == ("tables", "best")
    assert contents(first.directory) == before
    assert {p: p.stat().st_mtime_ns for p in first.directory.rglob("*.parquet")} == times


def test_only_what_changed_is_done_again(run, folder):
    run()
    (folder / "b.txt").write_text("bbb")
    again = run()
    assert again.executed == ("B",)
    assert again.summary.executed == ("tables", "best")
    assert again.table("best")["n"].tolist() == [5]  # b: once doubled in A, thrice in B
    sheet(folder, (folder / "samples.csv").read_text().replace("WT", "wild"))
    again = run()
    assert again.executed == ()
    assert again.summary.executed == ("tables", "best")
    assert again.table("letters")["condition"][0] == "wild"


def test_one_failure_is_not_the_end_of_all(run, folder):
    (folder / "a.txt").write_text("a bad file")
    (folder / "b.txt").write_text("boom")
    result = run()
    assert result.done == ("C", "N")
    assert result.failed["A"] == f"{folder / 'a.txt'}: is bad; use another"
    assert result.failed["B"].startswith("step 'count' failed: boom (traceback in")
    assert result.warnings[0].startswith("sample 'A' failed and is not in the tables: ")
    assert set(result.table("cells")["sample"]) == {"C", "N"}
    state = read_state(result.directory)
    assert [s.state for s in state.samples.values()] == ["failed", "failed", "done", "done"]
    (folder / "a.txt").write_text("aa")
    (folder / "b.txt").write_text("b")
    again = run()
    assert (again.executed, again.failed) == (("A", "B"), {})
    assert set(again.table("cells")["sample"]) == set("ABCN")


def test_a_process_that_dies_takes_no_other_along(run, folder):
    (folder / "b.txt").write_text("die")
    result = run(workers=2)
    assert result.done == ("A", "C", "N")
    assert result.failed["B"] == "its process was ended by SIGKILL; memory may have run out"
    (folder / "b.txt").write_text("b")
    assert run(workers=2).done == ("A", "B", "C", "N")


def test_a_fault_outside_of_any_step_is_logged(run, folder):
    def one(sample, out):
        raise KeyError("a\nb")

    result = run(run_one=one, summaries=None)
    assert result.done == ()
    assert result.failed["A"] == r"KeyError: 'a\nb'"
    assert "KeyError" in (result.directory / "errors/A.log").read_text()
    with pytest.raises(InputError, match="no table 'letters'"):
        result.table("letters")
    again = run()
    assert again.done == ("A", "B", "C", "N")
    assert not (result.directory / "errors/A.log").exists()


def test_results_do_not_depend_on_the_number_of_workers(run, folder):
    one = contents(run(out=folder / "one").directory)
    two = contents(run(out=folder / "two", workers=2).directory)
    assert one == two


def test_what_cannot_travel_between_processes_is_told(run):
    with pytest.raises(InputError, match="define it at the level of a module, or use workers=1"):
        run(run_one=lambda sample, out: None, workers=2)


def test_a_table_that_vanishes_and_a_sample_that_leaves(run, folder):
    result = run()
    lines = (folder / "samples.csv").read_text().splitlines()
    sheet(folder, "\n".join(lines[:3]) + "\n")
    result = run()
    assert result.done == ("A", "B")
    assert set(result.table("letters")["sample"]) == {"A", "B"}
    assert "their directories stay: 'C' (samples/C), 'N' (samples/N)" in result.warnings[0]
    assert (result.directory / "samples/C/tables/letters.csv").exists()
    sheet(folder, "\n".join(lines) + "\n")
    result = run()
    assert (result.executed, result.warnings) == ((), ())
    (folder / "a.txt").write_text("bad")
    sheet(folder, "\n".join(lines[:2]) + "\n")
    result = run()
    assert not list((result.directory / "tables").iterdir())
    assert verify(result.directory).ok


def test_a_sample_that_is_another_file_now(run, folder):
    run()
    (folder / "other.txt").write_text("zz")
    sheet(folder, "file,sample\nother.txt,A\n")
    message = run().failed["A"]
    assert message.endswith(f"give the sample another name, or remove {folder}/results/samples/A]")


def test_columns_of_tables_that_are_named_as_those_of_the_sheet(run, folder):
    text = (folder / "samples.csv").read_text().replace("age", "letter")
    sheet(folder, text)
    table = run().table("letters")
    assert list(table.columns[-3:]) == ["letter", "letter_of_table", "n"]
    assert table["letter"].tolist()[:3] == [3.0, 3.0, 4.5]


def test_samples_given_in_python(letters, tmp_path):
    (tmp_path / "x.txt").write_text("x")
    sample = Sample(name="../x", file=tmp_path / "x.txt")
    study = Study(name="mine", samples=(sample,), out=tmp_path / "out")
    result = run_study(study, letters.run_one)
    assert result.done == ("../x",)
    (where,) = (tmp_path / "out/samples").iterdir()
    assert where.name.startswith("x-")
    assert run_study(study, letters.run_one).executed == ()


def test_studies_that_cannot_be(letters, tmp_path):
    study = Study(name="none", samples=(), out=tmp_path / "out")
    with pytest.raises(InputError, match="none: has no samples"):
        run_study(study, letters.run_one)
    twins = (Sample(name="x", file=tmp_path), Sample(name="X", file=tmp_path))
    with pytest.raises(InputError, match="'x' and 'X' would share a folder"):
        run_study(Study(name="t", samples=twins, out=tmp_path / "out"), letters.run_one)
    assert not (tmp_path / "out").exists()


def test_directories_of_something_else_are_left_alone(run, folder):
    (folder / "photos").mkdir()
    (folder / "photos/sun.jpg").touch()
    with pytest.raises(OutputError, match="not an aequorea run"):
        run(out=folder / "photos")
    run()
    with pytest.raises(OutputError, match="run of 'letters study', not of 'cells study'"):
        run(workflow="cells")
    (folder / "sub").mkdir()
    (folder / "sub/samples.csv").write_text("file\n../a.txt\n")
    (folder / "sub/study.toml").write_text("sheet = 'samples.csv'")
    before = contents(folder / "results")
    with pytest.raises(OutputError, match=r"is the study of .*samples.csv, not of .*sub/samples"):
        run("sub/study.toml", out=folder / "results")
    assert contents(folder / "results") == before
    with pytest.raises(OutputError, match="begun as a open study"):
        run(blind=True)


def test_a_study_for_another_workflow(run, folder):
    (folder / "study.toml").write_text('sheet = "samples.csv"\nworkflow = "cells"')
    with pytest.raises(InputError, match="is a study for 'cells', not for 'letters'"):
        run()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "not the state"),
        ('{"format": "aequorea-study", "format_version": 9}', "format version 9"),
        ('{"format": "aequorea-study", "format_version": 1, "samples": 3}', "is damaged"),
        ('{"format": "aequorea-study", "format_version": 1}', "is damaged"),
    ],
)
def test_a_state_that_cannot_be_read_is_not_overwritten(run, folder, content, message):
    run()
    (folder / "results/study.json").write_text(content)
    with pytest.raises(OutputError, match=message):
        run()
    assert (folder / "results/study.json").read_text() == content


def test_the_state_says_how_far_each_sample_is(run):
    result = run()
    state = json.loads((result.directory / "study.json").read_text())
    assert state["format"], state["format_version"] == ("aequorea-study", 1)
    assert len(state["sheet_sha256"]) == 64
    sample = state["samples"]["A"]
    assert (sample["state"], sample["directory"]) == ("done", "samples/A")
    record = json.loads((result.directory / "samples/A/run.json").read_text())
    assert sample["record_sha256"] == _record_hash(record)


def test_an_interruption_stops_and_a_rerun_continues(run, letters, folder):
    study = load_study(folder / "study.toml")

    def one(sample, out):
        if sample.name == "B":
            raise KeyboardInterrupt
        return letters.run_one(sample, out, study=study)

    with pytest.raises(KeyboardInterrupt):
        run(run_one=one)
    states = [s.state for s in read_state(folder / "results").samples.values()]
    assert states == ["done", "pending", "pending", "pending"]
    again = run()
    assert (again.skipped, again.executed) == (("A",), ("B", "C", "N"))


def process(folder, out, *where, workers=1):
    command = [sys.executable, str(SCRIPT), str(folder / "study.toml"), str(out), str(workers)]
    return subprocess.run([*command, *where], capture_output=True, text=True, check=False)  # noqa: S603


@pytest.fixture
def undisturbed(run, folder):
    return contents(run(out=folder / "undisturbed").directory)


@pytest.mark.parametrize(
    "where",
    [
        "rename:1",
        "rename:4",
        "rename:30",
        "rename:47",
        "rename:52",
        "fsync:3",
        "sample:1",
        "sample:3",
    ],
)
def test_killed_anywhere_a_rerun_gives_the_same_bytes(folder, run, undisturbed, where):
    out = folder / "killed"
    assert process(folder, out, where).returncode == -signal.SIGKILL
    again = run(out=out)
    if where.startswith("sample:"):
        assert len(again.executed) == 4 - int(where[-1])
    assert contents(out) == undisturbed
    assert verify(out).ok


def test_killed_with_workers_a_rerun_gives_the_same_bytes(folder, run, undisturbed):
    out = folder / "killed"
    assert process(folder, out, "sample:1", workers=2).returncode == -signal.SIGKILL
    time.sleep(0.5)  # the workers see that they are alone
    assert run(out=out).failed == {}
    assert contents(out) == undisturbed


def test_a_refresh_that_is_killed_is_not_mistaken_for_a_result(folder, run):
    out = folder / "killed"
    run(out=out)
    (folder / "c.txt").write_text("ccc")
    assert process(folder, out, "sample:3").returncode == -signal.SIGKILL
    state = read_state(out).samples
    assert [s.state for s in state.values()] == ["done", "done", "done", "pending"]
    assert run(out=out).executed == ()
    assert contents(out) == contents(run(out=folder / "fresh").directory)


def test_two_processes_do_not_share_a_study(run, letters, folder):
    def one(sample, out):
        with pytest.raises(OutputError, match=f"process {os.getpid()} on"):
            run()
        return letters.run_one(sample, out)

    assert len(run(run_one=one).done) == 4


def test_workers_that_do_not_start(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "import fake_workflow; from aequorea.pipelines.study import *\n"
        "samples = tuple(Sample(name=n, file=Path(n)) for n in 'ab')\n"
        "study = Study(name='s', samples=samples, out=Path(sys.argv[2]))\n"
        "run_study(study, fake_workflow.run_one, workers=2)\n"
    )
    command = [sys.executable, str(script), str(SCRIPT.parent), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 1
    assert "put the call under if __name__ == '__main__':" in done.stderr


def test_a_blinded_study_tells_nothing_until_it_is_unblinded(run, folder):
    text = (folder / "samples.csv").read_text().replace("B,m2,KO,,,", "B,m2,KO,,X9,")
    sheet(folder, text)
    result = run(blind=True)
    codes = list(result.done)
    assert "X9" in codes
    assert codes == sorted(codes)
    table = result.table("letters")
    assert list(table.columns) == ["sample", "control", "code", "letter", "n"]
    assert table["sample"].tolist() == table["code"].tolist()
    for name in contents(result.directory):
        content = contents(result.directory)[name]
        assert b"KO" not in content, name
        assert b"m2" not in content, name
    assert {p.name for p in (result.directory / "samples").iterdir()} == set(codes)
    assert run(blind=True).executed == ()

    unblind(result.directory)
    table = run(blind=True).table("letters")
    assert set(table["sample"]) == {"A", "B", "C"}
    assert table.set_index("sample")["code"]["B"].tolist() == ["X9"] * 3
    assert table.set_index("sample")["animal"]["A"].tolist() == ["m1"] * 2
    assert {p.name for p in (result.directory / "samples").iterdir()} == set(codes)
    assert verify(result.directory).ok
    unblind(result.directory)


def test_unblinding_alone_gives_the_tables_of_a_rerun(run, folder):
    out = run(blind=True).directory
    unblind(out)
    first = contents(out)
    unblinded = pd.read_parquet(out / "tables/letters.parquet")["sample"]
    assert unblinded.drop_duplicates().tolist() == ["A", "B", "C"]  # not in that of the codes
    result = run(blind=True)
    assert result.executed == ()
    assert contents(out)["tables/letters.csv"] == first["tables/letters.csv"]
    names = ["sample", "animal", "condition", "replicate", "control", "code", "age"]
    assert list(result.table("cells").columns[:7]) == names


def test_unblinding_what_is_not_blinded(run, folder):
    with pytest.raises(FileMissingError, match="not the directory of a study"):
        unblind(folder)
    out = run().directory
    with pytest.raises(InputError, match="not a blinded study"):
        unblind(out)
    blind = run(blind=True, out=folder / "blind").directory
    with pytest.raises(OutputError, match="begun as a blinded study"):
        run(out=blind)
    key = folder / "blind-key.aequorea/unblind.csv"
    key.write_text("code\n")
    with pytest.raises(InputError, match="not a key file"):
        unblind(blind)
    key.unlink()
    with pytest.raises(FileMissingError, match="put it back"):
        unblind(blind)
    with pytest.raises(FileMissingError, match="put it back"):
        run(blind=True, out=blind)


@pytest.fixture
def telling(folder, letters):
    """A study whose names, files and faults all tell conditions."""
    (folder / "secret").mkdir()
    for name, text in {"good": "aab", "bad": "bad", "boom": "boom", "die": "die"}.items():
        (folder / f"secret/KO_{name}.txt").write_text(text)
    (folder / "secret/KO_labels.tif").write_text("labels")
    rows = [f"secret/KO_{k}.txt,KO-{k},secret/KO_labels.tif" for k in ("good", "bad", "boom")]
    sheet(folder, "file,sample,params.labels\n" + "\n".join([*rows, "secret/KO_die.txt,KO-die,"]))

    def run(**options):
        study = load_study(folder / "study.toml")
        return run_study(
            study,
            partial(letters.run_one, study=study),
            workflow="letters",
            shared_parameters=study.shared_parameters(letters.Counting),
            blind=True,
            **options,
        )

    return run


def tells(directory):
    """Files of a folder whose content or name tells a condition."""
    files = [p for p in Path(directory).rglob("*") if p.is_file()]
    return [str(p) for p in files if b"KO" in p.read_bytes() or b"secret" in p.read_bytes()] + [
        str(p) for p in Path(directory).rglob("*") if "KO" in p.name or p.is_symlink()
    ]


def test_nothing_in_the_directory_of_a_blinded_study_tells_what_its_samples_are(telling, folder):
    result = telling(workers=2)
    assert (len(result.done), len(result.failed)) == (1, 3)
    assert tells(result.directory) == []
    assert "KO" not in " ".join([*result.failed.values(), *result.warnings, *result.done])
    assert any(f"{code}.txt: is bad" in why for code, why in result.failed.items())
    (record,) = [
        json.loads((result.run_dirs[code] / "run.json").read_text()) for code in result.done
    ]
    key = folder / "results-key.aequorea"
    assert record["inputs"]["text"]["path"] == str(key / f"images/{result.done[0]}.txt")
    assert record["parameters"]["labels"].endswith(f"images/{result.done[0]}_labels.tif")
    assert "KO-good" in (key / "unblind.csv").read_text()

    (folder / "secret/KO_good.txt").write_text("aaa")  # edited: still the same image
    for name in ("bad", "boom", "die"):
        (folder / f"secret/KO_{name}.txt").write_text("b")
    again = telling()
    assert again.failed == {}
    assert len(again.executed) == 4
    assert set(again.run_dirs) == set(result.run_dirs)
    assert tells(result.directory) == []
    assert all(verify(d).ok for d in again.run_dirs.values())
    assert telling().executed == ()


def test_codes_do_not_follow_from_names_and_are_kept(run, folder):
    first = run(blind=True, out=folder / "one")
    other = run(blind=True, out=folder / "two")
    assert set(first.done).isdisjoint(other.done)
    text = (folder / "samples.csv").read_text()
    sheet(folder, "\n".join(text.splitlines()[:3]) + "\n")
    assert set(run(blind=True, out=folder / "one").done) < set(first.done)
    sheet(folder, text)
    again = run(blind=True, out=folder / "one")
    assert (again.done, again.executed) == (first.done, ())


def test_the_key_is_a_table_without_formulas(letters, tmp_path):
    (tmp_path / "x.txt").write_text("x")
    sample = Sample(name="=1+1", file=tmp_path / "x.txt", metadata={"note": "@SUM(1)"})
    study = Study(name="mine", samples=(sample,), out=tmp_path / "out")
    out = run_study(study, letters.run_one, workflow="letters", blind=True).directory
    assert ",'=1+1," in (tmp_path / "out-key.aequorea/unblind.csv").read_text()
    unblind(out)
    table = pd.read_parquet(out / "tables/letters.parquet")
    assert table["sample"].tolist() == ["=1+1"]
    assert table["note"].tolist() == ["@SUM(1)"]


def test_images_of_the_key_are_no_samples(run, folder):
    run(blind=True)
    (folder / "list.toml").write_text("files = ['**/[abcn].txt', '**/*.txt']\nout = 'other'")
    assert len(load_study(folder / "list.toml").samples) == 4


def test_two_samples_of_one_code(letters, tmp_path):
    samples = (Sample(name="a", file=tmp_path, code="1"), Sample(name="b", file=tmp_path, code="1"))
    study = Study(name="s", samples=samples, out=tmp_path / "out")
    with pytest.raises(InputError, match="give each sample its own in the column 'code'"):
        run_study(study, letters.run_one, blind=True)


def test_summaries_that_fail_leave_the_samples(run, folder):
    def broken(names):
        from aequorea.pipelines.run import Step

        def fail(context):
            raise ZeroDivisionError("no animals")

        return [Step(name="bad", version=1, function=fail, outputs=("x",), needs=("tables",))]

    with pytest.raises(RunError, match="step 'bad' failed: no animals"):
        run(summaries=broken)
    assert run().executed == ()


def test_a_first_pass_sees_all_samples_before_any_is_finished(run, letters, folder):
    (folder / "b.txt").write_text("bad")
    study = load_study(folder / "study.toml")
    seen = []

    def then(images):
        seen.extend(sample.name for sample, _ in images)
        tables = [pd.read_parquet(d / "tables/cells.parquet") for _, d in images]
        lengths = [int(table["total"][0]) for table in tables]
        assert lengths == [3, 4, 0]
        return partial(letters.run_one, study=study)

    first = FirstPass(run_one=partial(letters.run_one, study=study), then=then)
    result = run(first=first)
    assert seen == ["A", "C", "N"]
    assert result.done == ("A", "C", "N")
    assert "is bad" in result.failed["B"]


def test_decisions_by_code_are_known_by_name_once_a_study_is_unblinded(run, folder):
    samples = load_study(folder / "study.toml").samples
    result = run(blind=True)
    assert told_names(samples, result.directory) == {}
    unblind(result.directory)
    told = told_names(samples, result.directory)
    assert set(told) == set(result.run_dirs)
    assert set(told.values()) == set("ABCN")
