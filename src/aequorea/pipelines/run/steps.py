"""Steps with inputs, parameters and outputs, run once and never half.

A step is skipped when its input files, the results it reads, its parameters and its version
are what they were when it last succeeded. Whatever instant a run is killed at, running it
again continues and ends in the same bytes.
"""

from __future__ import annotations

import json
import time
import traceback
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from aequorea.errors import AequoreaWarning, InputError, OutputError, RunError
from aequorea.pipelines.run.directory import (
    FORMAT,
    FORMAT_VERSION,
    LOG,
    RunDirectory,
    claim,
    read_record,
)
from aequorea.pipelines.run.parameters import Effective, flat_values
from aequorea.pipelines.run.progress import Progress, Quiet
from aequorea.pipelines.run.provenance import (
    environment,
    sha256_json,
    sha256_path,
    size_bytes,
    stat_signature,
    versions,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

T = TypeVar("T")
# inputs that say where and how to measure, not what
_WHERE = ("regions", "landmarks", "labels_", "edited_", "model_", "dark_", "flat_", "chromatic")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stage of a workflow.

    Attributes
    ----------
    name : str
    version : int
        Raised whenever the same inputs and parameters would give another result.
    function : callable
        Takes a :class:`StepContext`, writes every output to ``context.target(name)``.
    outputs : tuple of str
        Files and folders, relative to the run directory.
    parameters : mapping of str to Any
        What of the parameters the step depends on (models and plain values).
    inputs : tuple of str
        Names of input files of the run that the step reads.
    needs : tuple of str
        Steps whose outputs it reads.
    """

    name: str
    version: int
    function: Callable[[StepContext], None]
    outputs: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What a step may touch.

    Attributes
    ----------
    run_dir : Path
        For reading outputs of the steps it needs.
    scratch : Path
    progress : Progress
    """

    run_dir: Path
    scratch: Path
    progress: Progress

    def target(self, output: str) -> Path:
        """Where to write an output; its folder exists."""
        path = self.scratch / output
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def result(self, output: str) -> Path:
        """Where an earlier step's output is."""
        return self.run_dir / output

    def track(self, items: Iterable[T], total: int | None = None) -> Iterator[T]:
        """Iterate, moving the progress bar."""
        if total is None:
            items = list(items)
            total = len(items)
        for done, item in enumerate(items):
            self.progress.advance(done, total)
            yield item


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A finished run.

    Attributes
    ----------
    directory : Path
    executed, skipped : tuple of str
        Names of the steps that ran now, and of those whose results were current.
    warnings : tuple of str
    """

    directory: Path
    executed: tuple[str, ...]
    skipped: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def record(self) -> dict[str, Any]:
        """What ``run.json`` says."""
        return read_record(self.directory)

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.directory / "report.html"

    def table(self, name: str) -> pd.DataFrame:
        """One of the run's tables, such as ``"pixel"``.

        Raises
        ------
        InputError
            If the run has no such table.
        """
        import pandas as pd

        path = self.directory / "tables" / f"{name}.parquet"
        if not path.exists():
            known = ", ".join(sorted(p.stem for p in path.parent.glob("*.parquet")))
            raise InputError(f"{self.directory}: no table {name!r}; it has {known}")
        return pd.read_parquet(path)


def run_steps(
    steps: Sequence[Step],
    out: Path,
    *,
    workflow: str,
    inputs: Mapping[str, Path],
    parameters: Effective[Any],
    seeds: Mapping[str, int] | None = None,
    execution: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    progress: Progress | None = None,
    until: str | None = None,
) -> RunResult:
    """Run a workflow into a directory, or finish or refresh the run that is there.

    Results of an earlier plan that no step makes any more are removed. A result that was altered
    by somebody is not overwritten: it moves to the folder ``altered`` of the directory, with a
    warning.

    Parameters
    ----------
    steps : sequence of Step
        In an order in which each follows the steps it needs.
    out : Path
    workflow : str
        Its name; a directory belongs to one workflow.
    inputs : mapping of str to Path
        Files or folders by role.
    parameters : Effective
        For the record; steps carry the parts they depend on.
    seeds, execution : mapping, optional
        For the record: seeds of random numbers; workers, memory, which change no result.
    notes : sequence of str
        Warnings from before the run, such as from opening its inputs.
    progress : Progress, optional
    until : str, optional
        Last step to run now; the record then says ``paused``, and later steps stay as they are.

    Returns
    -------
    RunResult

    Raises
    ------
    OutputError
        If ``out`` is something else, in use, or cannot be written.
    InputError
        If a step finds its input unusable. A directory made for this run is removed, unless a
        step was done: what that took is kept.
    RunError
        If a step fails; the traceback is in ``error.log`` of the run directory.
    """
    _check_plan(steps, inputs)
    _refuse_out_in_inputs(out, inputs)
    hashes = {
        role: {
            "path": str(p),
            "resolved": str(p.resolve()),
            "sha256": sha256_path(p),
            "bytes": size_bytes(p),
        }
        for role, p in inputs.items()
    }
    with claim(out, workflow=workflow) as directory:
        earlier = directory.read_record() or {}
        _refuse_other_inputs(out, earlier, hashes)
        notes = [*notes, *_retire(directory, earlier, {o for s in steps for o in s.outputs})]
        record = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "workflow": workflow,
            "state": "running",
            "inputs": hashes,
            "parameters": flat_values(parameters.values),
            "parameter_sources": dict(parameters.sources),
            "seeds": dict(seeds or {}),
            "versions": versions(),
            "environment": environment(),
            "execution": dict(execution or {}),
            "steps": {s.name: earlier.get("steps", {}).get(s.name, {}) for s in steps},
            "notes": list(notes),
            "warnings": list(notes),
            "timings": {
                "started": _now(),
                "finished": None,
                "steps_s": earlier.get("timings", {}).get("steps_s", {}),
            },
        }
        return _Execution(directory, record, progress or Quiet()).run(steps, until)


def rerun_step(
    run_dir: Path, name: str, function: Callable[[StepContext], None], *, workflow: str
) -> None:
    """Run one step of a finished run again, whatever its state, and record its new outputs.

    Raises
    ------
    InputError
        If ``run_dir`` is not a run of ``workflow``, or a step that this one needs is not done.
    """
    if not run_dir.exists():
        raise InputError(f"{run_dir}: no such run directory")
    with claim(run_dir, workflow=workflow) as directory:
        record = directory.read_record()
        if record is None:
            raise InputError(f"{run_dir}: is not an aequorea run")
        unfinished = [
            n for n, s in record["steps"].items() if n != name and s.get("state") != "done"
        ]
        earlier = record["steps"].get(name, {})
        if unfinished or "key" not in earlier:
            raise InputError(
                f"{run_dir}: the run is not finished ({', '.join(unfinished) or name}); "
                "give the command that started it again"
            )
        step = Step(
            name=name,
            version=earlier["version"],
            function=function,
            outputs=tuple(earlier["outputs"]),
            parameters=earlier["parameters"],
            inputs=tuple(earlier["inputs"]),
            needs=tuple(earlier["needs"]),
        )
        _Execution(directory, record, Quiet()).repeat(step, earlier["key"])


class _Execution:
    """One pass over the steps of a claimed run directory."""

    def __init__(self, directory: RunDirectory, record: dict[str, Any], progress: Progress) -> None:
        self._directory = directory
        self._record = record
        self._progress = progress

    def run(self, steps: Sequence[Step], until: str | None = None) -> RunResult:
        executed, skipped = [], []
        self._save()
        for step in steps[: _number_up_to(steps, until)]:
            self._progress.begin(step.name)
            key = self._key(step)
            if self._is_current(step, key):
                skipped.append(step.name)
                self._progress.end("unchanged")
                continue
            with self._failures_recorded(step):
                self._execute(step, key, steps)
            executed.append(step.name)
            self._progress.end("done")
        self._record["state"] = "done" if until is None else "paused"
        self._record["timings"]["finished"] = _now()
        self._save()
        (self._directory.path / LOG).unlink(missing_ok=True)
        return RunResult(
            directory=self._directory.path,
            executed=tuple(executed),
            skipped=tuple(skipped),
            warnings=tuple(self._record["warnings"]),
        )

    def repeat(self, step: Step, key: str) -> None:
        """One step again, under the key it had."""
        with self._failures_recorded(step):
            self._execute(step, key, [step])

    def _key(self, step: Step) -> str:
        """Hash of everything the step's result depends on."""
        return sha256_json(
            {
                "step": step.name,
                "version": step.version,
                "outputs": step.outputs,
                "parameters": {k: _plain(v) for k, v in step.parameters.items()},
                "inputs": {r: self._record["inputs"][r]["sha256"] for r in step.inputs},
                "needs": {n: self._output_hashes(n) for n in step.needs},
            }
        )

    def _output_hashes(self, name: str) -> dict[str, str]:
        return {output: facts["sha256"] for output, facts in self._outputs(name).items()}

    def _outputs(self, name: str) -> dict[str, dict[str, Any]]:
        outputs: dict[str, dict[str, Any]] = self._record["steps"][name].get("outputs", {})
        return outputs

    def _is_current(self, step: Step, key: str) -> bool:
        state = self._record["steps"][step.name]
        if state.get("state") not in {"done", "stale"} or state.get("key") != key:
            return False
        for output, facts in state["outputs"].items():
            path = self._directory.path / output
            if not path.exists():
                return False
            if facts["stat"] != stat_signature(path):
                if facts["sha256"] != sha256_path(path):
                    return False
                facts["stat"] = stat_signature(path)
        state["state"] = "done"
        return True

    def _execute(self, step: Step, key: str, steps: Sequence[Step]) -> None:
        self._record["notes"] += _set_aside_altered(self._directory, self._outputs(step.name))
        self._distrust(step, steps)
        scratch = self._directory.scratch(step.name)
        context = StepContext(
            run_dir=self._directory.path, scratch=scratch, progress=self._progress
        )
        started = time.perf_counter()
        with collected_warnings() as collected:
            step.function(context)
        missing = [o for o in step.outputs if not (scratch / o).exists()]
        if missing:
            raise RunError(f"step {step.name!r} did not write {', '.join(missing)}")
        for output in step.outputs:
            self._directory.publish(scratch, output)
        self._record["steps"][step.name] = {
            "state": "done",
            "version": step.version,
            "key": key,
            "parameters": {k: _plain(v) for k, v in step.parameters.items()},
            "inputs": list(step.inputs),
            "needs": list(step.needs),
            "outputs": {o: _facts(self._directory.path / o) for o in step.outputs},
            "warnings": collected,
        }
        self._record["timings"]["steps_s"][step.name] = round(time.perf_counter() - started, 3)
        self._save()

    def _distrust(self, step: Step, steps: Sequence[Step]) -> None:
        """Say that the step's results, and those made from them, are not to be believed now."""
        stale = {step.name}
        for later in steps:
            if stale & set(later.needs):
                stale.add(later.name)
                state = self._record["steps"][later.name]
                if state.get("state") == "done":
                    state["state"] = "stale"
        self._record["steps"][step.name] = {"state": "running", "version": step.version}
        self._save()

    @contextmanager
    def _failures_recorded(self, step: Step) -> Iterator[None]:
        try:
            yield
        except InputError:
            self._progress.end("failed")
            self._fail(step, "failed")
            if not any(s.get("state") == "done" for s in self._record["steps"].values()):
                self._directory.discard()
            raise
        except OutputError:
            self._progress.end("failed")
            self._fail(step, "failed")
            raise
        except KeyboardInterrupt:
            self._progress.end("failed")
            self._fail(step, "interrupted")
            raise
        except Exception as error:
            self._progress.end("failed")
            self._fail(step, "failed")
            log = self._directory.path / LOG
            log.write_text(traceback.format_exc(), encoding="utf-8")
            detail = " ".join(str(error).split()) or type(error).__name__
            raise RunError(f"step {step.name!r} failed: {detail} (traceback in {log})") from error

    def _fail(self, step: Step, state: str) -> None:
        self._record["state"] = state
        self._record["steps"][step.name]["state"] = state
        self._save()

    def _save(self) -> None:
        found = [w for s in self._record["steps"].values() for w in s.get("warnings", [])]
        self._record["warnings"] = list(dict.fromkeys([*self._record["notes"], *found]))
        self._directory.write_record(self._record)


def _number_up_to(steps: Sequence[Step], until: str | None) -> int:
    return len(steps) if until is None else [s.name for s in steps].index(until) + 1


def _check_plan(steps: Sequence[Step], inputs: Mapping[str, Path]) -> None:
    seen: set[str] = set()
    for step in steps:
        unknown = [n for n in step.needs if n not in seen] + [
            r for r in step.inputs if r not in inputs
        ]
        if unknown or step.name in seen:
            raise ValueError(f"step {step.name!r}: needs {unknown}, after {sorted(seen)}")
        seen.add(step.name)


def _refuse_out_in_inputs(out: Path, inputs: Mapping[str, Path]) -> None:
    """Results inside an input folder (an OME-Zarr image) would change the input."""
    for path in inputs.values():
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise OutputError(f"{out}: lies inside the input {path}; give another --out")


def _refuse_other_inputs(
    out: Path, earlier: Mapping[str, Any], hashes: Mapping[str, Mapping[str, Any]]
) -> None:
    """An earlier run is refreshed for its own inputs, moved or edited, never for other files.

    What is measured must be the same set of files in the same roles; what says where to measure
    (regions, landmarks) or with what (labels, models) may come, go and change.
    """
    if "inputs" not in earlier:
        return
    old, new = (
        {role: facts for role, facts in inputs.items() if not role.startswith(_WHERE)}
        for inputs in (earlier["inputs"], hashes)
    )
    if old.keys() == new.keys() and all(_same_file(old[role], new[role]) for role in old):
        return
    was, is_now = (
        " and ".join(str(facts["path"]) for facts in inputs.values()) or "nothing"
        for inputs in (old, new)
    )
    raise OutputError(f"{out}: is the run of {was}, not of {is_now}; give another --out")


def _retire(
    directory: RunDirectory, earlier: Mapping[str, Any], planned: Container[str]
) -> list[str]:
    """Remove results of an earlier plan that no step makes any more; say which were altered."""
    notes = []
    for state in earlier.get("steps", {}).values():
        made = state.get("outputs", {})
        gone = {output: facts for output, facts in made.items() if output not in planned}
        notes += _set_aside_altered(directory, gone)
        for output in gone:
            if directory.holds(output):
                directory.remove(output)
            del made[output]
    return notes


def _set_aside_altered(
    directory: RunDirectory, outputs: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Keep results that somebody changed, before they are made again."""
    notes = []
    for output, facts in outputs.items():
        path = directory.path / output
        if not directory.holds(output) or facts["stat"] == stat_signature(path):
            continue
        if facts["sha256"] != sha256_path(path):
            notes.append(
                f"{output}: was changed after the run had written it; the run does not use it, and "
                f"keeps it as {directory.set_aside(output)}"
            )
    return notes


def _same_file(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """The same content anywhere, or other content in the same place: moved, or edited."""
    place = "resolved" if "resolved" in old else "path"
    return bool(old["sha256"] == new["sha256"] or old[place] == new[place])


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Gather aequorea's warnings as text, filled when the block ends; let all others pass."""
    collected: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AequoreaWarning)
        yield collected
    for item in caught:
        if issubclass(item.category, AequoreaWarning):
            collected.append(" ".join(str(item.message).split()))
        else:
            warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)
    collected[:] = list(dict.fromkeys(collected))


def _facts(path: Path) -> dict[str, Any]:
    return {
        "sha256": sha256_path(path),
        "bytes": size_bytes(path),
        "stat": stat_signature(path),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return json.loads(json.dumps(value, allow_nan=False))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
