import json
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from aequorea.errors import AequoreaWarning, InputError, OutputError, RunError
from aequorea.pipelines.run import Step, run_steps
from aequorea.pipelines.run.directory import check_target, claim
from aequorea.pipelines.run.parameters import Parameters, merge_parameters, option
from aequorea.pipelines.run.verification import verify

WORKFLOW = Path(__file__).with_name("workflow_for_kills.py")


class Options(Parameters):
    factor: int = option(2)


def writes(name, text="x"):
    return lambda context: context.target(name).write_text(text)


def one_step(function=None, **changes):
    facts = {
        "name": "only",
        "version": 1,
        "function": function or writes("tables/a.csv"),
        "outputs": ("tables/a.csv",),
        "inputs": ("text",),
    }
    return Step(**{**facts, **changes})


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "input.txt"
    path.write_text("abcdef")
    return path


@pytest.fixture
def run(tmp_path, text):
    def call(*steps, out=tmp_path / "out", **options):
        options = {
            "workflow": "test",
            "inputs": {"text": text},
            "parameters": merge_parameters(Options),
            **options,
        }
        return run_steps(steps, out, **options)

    return call


def process(out, text, *where):
    command = [sys.executable, str(WORKFLOW), str(out), str(text), *where]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def contents(out):
    files = [p for p in Path(out).rglob("*") if p.is_file() and p.name != "run.json"]
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in files}


@pytest.mark.parametrize(
    "where",
    [
        *[f"write:{n}" for n in (1, 4, 7)],
        *[f"rename:{n}" for n in range(1, 12)],
        *[f"fsync:{n}" for n in (2, 6, 9)],
    ],
)
def test_killed_anywhere_a_rerun_gives_the_same_bytes(tmp_path, text, where):
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    assert process(undisturbed, text).returncode == 0
    assert process(out, text, where).returncode == -signal.SIGKILL
    again = process(out, text)
    assert again.returncode == 0, again.stderr
    assert contents(out) == contents(undisturbed)
    assert verify(out).ok


@pytest.mark.parametrize("where", ["rename:3", "rename:5", "rename:7", "rename:9"])
def test_a_refresh_that_is_killed_is_not_mistaken_for_a_result(tmp_path, text, where):
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    process(out, text)
    text.write_text("ghijkl")
    assert process(out, text, where).returncode == -signal.SIGKILL
    assert not verify(out).ok
    process(out, text)
    process(fresh, text)
    assert contents(out) == contents(fresh)


def test_a_step_is_skipped_until_something_it_depends_on_changes(run, text):
    assert run(one_step()).executed == ("only",)
    assert run(one_step()).skipped == ("only",)
    assert run(one_step(parameters={"p": 1})).executed == ("only",)
    assert run(one_step(parameters={"p": 1})).skipped == ("only",)
    assert run(one_step(version=2, parameters={"p": 1})).executed == ("only",)
    text.write_text("other")
    assert run(one_step(version=2, parameters={"p": 1})).executed == ("only",)


def test_later_steps_rerun_only_if_what_they_read_changed(run):
    def steps(content, version):
        first = one_step(writes("tables/a.csv", content), version=version)
        return first, one_step(
            writes("tables/b.csv"), name="second", outputs=("tables/b.csv",), needs=("only",)
        )

    run(*steps("1", 1))
    assert run(*steps("1", 2)).executed == ("only",)
    assert run(*steps("2", 3)).executed == ("only", "second")


def test_a_result_that_was_edited_is_made_again(run, tmp_path):
    result = run(one_step())
    table = result.directory / "tables/a.csv"
    table.write_text("edited")
    assert verify(result.directory).problems[0].startswith(f"{table}: changed")
    assert run(one_step()).executed == ("only",)
    assert verify(result.directory).ok


def test_verify_lists_missing_and_changed_files(run, text):
    out = run(one_step()).directory
    (out / "tables/a.csv").unlink()
    text.write_text("changed")
    problems = verify(out).problems
    assert any("missing" in p for p in problems)
    assert any("changed" in p and "input text" in p for p in problems)


def test_verify_refuses_what_is_not_a_run(tmp_path):
    with pytest.raises(InputError, match="not an aequorea run"):
        verify(tmp_path)
    with pytest.raises(InputError, match="no such run"):
        verify(tmp_path / "absent")


def test_the_record_says_how_the_result_was_made(run, text):
    parameters = merge_parameters(Options, toml={"factor": 3})
    record = run(one_step(), parameters=parameters, seeds={"null": 7}).record
    assert record["parameters"] == {"factor": 3}
    assert record["parameter_sources"] == {"factor": "toml"}
    assert record["inputs"]["text"]["bytes"] == 6
    assert record["seeds"] == {"null": 7}
    assert {"aequorea", "python", "numpy"} <= set(record["versions"])
    assert record["state"] == "done"
    assert record["steps"]["only"]["outputs"]["tables/a.csv"]["sha256"]


def test_warnings_are_collected_once_and_kept_when_a_step_is_skipped(run):
    def warn(context):
        for _ in range(2):
            warnings.warn("the first channel is saturated", AequoreaWarning, stacklevel=1)
        context.target("tables/a.csv").write_text("x")

    assert run(one_step(warn)).warnings == ("the first channel is saturated",)
    assert run(one_step(warn)).warnings == ("the first channel is saturated",)


def test_other_warnings_pass(run):
    def warn(context):
        context.target("tables/a.csv").write_text("x")
        warnings.warn("not ours", DeprecationWarning, stacklevel=1)

    with pytest.raises(RunError, match="not ours"):
        run(one_step(warn))


def test_a_failing_step_leaves_a_log_and_a_rerun_removes_it(run, tmp_path):
    def fail(context):
        context.target("tables/a.csv").write_text("half")
        raise ZeroDivisionError("no photons")

    with pytest.raises(RunError, match=r"step 'only' failed: no photons \(traceback in"):
        run(one_step(fail))
    out = tmp_path / "out"
    assert "ZeroDivisionError" in (out / "error.log").read_text()
    assert json.loads((out / "run.json").read_text())["steps"]["only"]["state"] == "failed"
    assert not (out / "tables").exists()
    run(one_step())
    assert not (out / "error.log").exists()


def test_bad_input_found_late_leaves_no_directory(run, tmp_path):
    def refuse(context):
        context.target("tables/a.csv").write_text("half")
        raise InputError("nothing to see")

    with pytest.raises(InputError, match="nothing to see"):
        run(one_step(refuse))
    assert not (tmp_path / "out").exists()


def test_an_interrupted_run_says_so_and_continues(run, tmp_path):
    def interrupt(context):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(one_step(interrupt))
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["state"] == "interrupted"
    assert run(one_step()).executed == ("only",)


def test_a_step_must_write_what_it_promised(run):
    with pytest.raises(RunError, match=r"did not write tables/b\.csv"):
        run(one_step(outputs=("tables/b.csv",)))


def test_a_directory_of_something_else_is_left_alone(run, tmp_path):
    out = tmp_path / "holiday"
    out.mkdir()
    (out / "photo.jpg").write_text("sun")
    with pytest.raises(OutputError, match="not an aequorea run"):
        run(one_step(), out=out)
    assert [p.name for p in out.iterdir()] == ["photo.jpg"]


def test_a_run_of_another_workflow_or_input_is_left_alone(run, tmp_path):
    run(one_step())
    with pytest.raises(OutputError, match="run of 'test', not of 'other'"):
        run(one_step(), workflow="other")
    other = tmp_path / "other.txt"
    other.write_text("another image")
    with pytest.raises(OutputError, match=r"is the run of .*input\.txt, not of .*other\.txt"):
        run(one_step(), inputs={"text": other})
    moved = tmp_path / "moved.txt"
    moved.write_text("abcdef")
    assert run(one_step(), inputs={"text": moved}).skipped == ("only",)


def test_another_set_of_inputs_is_refused_and_nothing_changes(run, tmp_path, text):
    second, other = tmp_path / "second.txt", tmp_path / "other.txt"
    second.write_text("ghijkl")
    other.write_text("another image")
    out = tmp_path / "out"
    sets = [{"image_0": text, "image_1": second}, {"image": other}]
    for first, then in (sets, sets[::-1]):
        target = out / next(iter(first))
        run(one_step(inputs=tuple(first)), inputs=first, out=target)
        before = contents(target), (target / "run.json").read_bytes()
        with pytest.raises(OutputError, match=r"is the run of .* give another --out"):
            run(one_step(inputs=tuple(then)), inputs=then, out=target)
        assert before == (contents(target), (target / "run.json").read_bytes())


def test_the_same_relative_name_elsewhere_is_another_input(run, tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.txt").write_text(name)
    monkeypatch.chdir(tmp_path / "one")
    run(one_step(), inputs={"text": Path("same.txt")})
    Path("same.txt").write_text("edited")
    assert run(one_step(), inputs={"text": Path("same.txt")}).executed == ("only",)
    monkeypatch.chdir(tmp_path / "two")
    with pytest.raises(OutputError, match="give another --out"):
        run(one_step(), inputs={"text": Path("same.txt")})


def test_regions_may_come_and_go(run, tmp_path, text):
    regions = tmp_path / "regions.txt"
    regions.write_text("1")
    run(one_step())
    run(one_step(), inputs={"text": text, "regions": regions})
    assert run(one_step()).directory.exists()


def test_a_file_or_an_unreachable_place_is_refused(run, text):
    with pytest.raises(OutputError, match="is a file"):
        run(one_step(), out=text)
    with pytest.raises(OutputError, match="cannot be"):
        run(one_step(), out=text / "below")


def test_an_unreadable_record_is_not_overwritten(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.json").write_text('{"format": "aequorea-run", "format_version": 99}')
    with pytest.raises(OutputError, match="format version 99"):
        run(one_step())
    (out / "run.json").write_text("{")
    with pytest.raises(OutputError, match="not an aequorea run"):
        run(one_step())


def test_two_processes_do_not_share_a_directory(tmp_path):
    code = (
        "import sys; from pathlib import Path; from aequorea.pipelines.run.directory import claim\n"
        "with claim(Path(sys.argv[1]), workflow='test'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    out = tmp_path / "out"
    command = [sys.executable, "-c", code, str(out)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as holder:  # noqa: S603
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(OutputError, match=f"process {holder.pid} on"),
            claim(out, workflow="test"),
        ):
            pass
        holder.kill()
        holder.wait()
        assert (out / ".aequorea/lock").exists()
        with claim(out, workflow="test"):
            pass
    assert list(out.iterdir()) == []


def test_a_step_must_follow_what_it_needs(run):
    with pytest.raises(ValueError, match="only"):
        run(one_step(needs=("later",)))


def test_check_target_accepts_new_and_empty_directories(tmp_path):
    check_target(tmp_path, workflow="test")
    check_target(tmp_path / "new", workflow="test")
    assert list(tmp_path.iterdir()) == []


def test_a_paused_run_keeps_what_came_after(run):
    steps = [
        one_step(name="early", outputs=("tables/a.csv",)),
        one_step(writes("tables/b.csv"), name="late", outputs=("tables/b.csv",), needs=("early",)),
    ]
    paused = run(*steps, until="early")
    assert (paused.executed, paused.record["state"]) == (("early",), "paused")
    assert run(*steps).executed == ("late",)
    again = run(*steps, until="early")
    assert (again.executed, again.skipped) == ((), ("early",))
    assert run(*steps).skipped == ("early", "late")


def test_bad_input_found_after_a_step_keeps_what_was_done(run, tmp_path):
    def refuse(context):
        raise InputError("nothing to see")

    first = one_step(
        name="first", outputs=("tables/first.csv",), function=writes("tables/first.csv")
    )
    with pytest.raises(InputError, match="nothing to see"):
        run(first, one_step(refuse, needs=("first",)))
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["state"] == "failed"
    assert record["steps"]["first"]["state"] == "done"
    assert run(first, one_step(needs=("first",))).skipped == ("first",)


def test_results_that_left_the_plan_are_removed(run):
    def folder(context):
        (context.target("b.zarr") / "c").mkdir(parents=True)

    early = one_step()
    late = one_step(folder, name="late", outputs=("b.zarr",))
    out = run(early, late).directory
    (out / "notes.txt").write_text("by the user")
    assert run(early).skipped == ("only",)
    assert sorted(p.name for p in out.iterdir()) == ["notes.txt", "run.json", "tables"]
    assert run(early, late).executed == ("late",)
    more = one_step(
        lambda context: [writes(name)(context) for name in ("tables/a.csv", "tables/c.csv")],
        outputs=("tables/a.csv", "tables/c.csv"),
    )
    run(more)
    assert run(early).executed == ("only",)
    assert sorted(p.name for p in (out / "tables").iterdir()) == ["a.csv"]
    assert verify(out).ok


def test_nothing_outside_the_directory_is_ever_removed(run, tmp_path):
    out = run(one_step()).directory
    treasure = tmp_path / "treasure.txt"
    treasure.write_text("gold")
    record = json.loads((out / "run.json").read_text())
    facts = record["steps"]["only"]["outputs"]["tables/a.csv"]
    record["steps"]["gone"] = {
        "state": "done",
        "outputs": {"../treasure.txt": facts, str(treasure): facts, ".": facts},
    }
    (out / "run.json").write_text(json.dumps(record))
    assert run(one_step()).skipped == ("only",)
    assert treasure.read_text() == "gold"


def test_a_result_that_was_altered_is_kept_aside_and_told(run):
    for number, place in enumerate(("altered", "altered-2"), start=1):
        out = run(one_step(version=number)).directory
        (out / "tables/a.csv").write_text(f"mine {number}")
        again = run(one_step(version=number + 1))
        assert again.executed == ("only",)
        told = f"tables/a.csv: was changed after the run had written it.* as {place}/tables/a.csv"
        assert any(re.search(told, w) for w in again.warnings)
        assert (out / place / "tables/a.csv").read_text() == f"mine {number}"
        assert (out / "tables/a.csv").read_text() == "x"
        assert verify(out).ok
    assert run(one_step(version=3)).warnings == ()


def test_an_altered_result_of_a_step_that_left_the_plan_is_kept_aside(run):
    late = one_step(writes("tables/b.csv"), name="late", outputs=("tables/b.csv",))
    out = run(one_step(), late).directory
    (out / "tables/b.csv").write_text("mine")
    run(one_step())
    assert (out / "altered/tables/b.csv").read_text() == "mine"
    assert not (out / "tables/b.csv").exists()
