"""A study as a batch: every sample in a run of its own, one failure is not the end of all.

Layout: ``samples/<sample>/`` are runs like any other; ``tables/`` hold those of all samples;
``study.json`` says how far each sample is, ``run.json`` how the tables were made. What tells the
samples of a blinded study is kept beside its directory (:mod:`aequorea.pipelines.study.blinding`).
"""

from __future__ import annotations

import os
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aequorea.errors import AequoreaError, InputError, OutputError
from aequorea.pipelines.run.directory import (
    FORMAT,
    FORMAT_VERSION,
    LOG,
    RECORD,
    RunDirectory,
    claim,
    read_record,
)
from aequorea.pipelines.run.parameters import Effective, Parameters, merge_parameters
from aequorea.pipelines.run.progress import Progress, Quiet
from aequorea.pipelines.run.provenance import sha256_json, sha256_path, versions
from aequorea.pipelines.run.steps import RunResult, Step, rerun_step, run_steps
from aequorea.pipelines.study.blinding import (
    KEY_FILE,
    coded,
    conceal,
    key_folder,
    make_links,
    read_key,
    veiled,
    write_key,
)
from aequorea.pipelines.study.cluster import each_on_cluster
from aequorea.pipelines.study.collection import (
    BLIND_LEADING,
    REJECTED,
    Origin,
    table_names,
    write_collected,
)
from aequorea.pipelines.study.definition import path_keys
from aequorea.pipelines.study.state import (
    SAMPLES,
    SampleState,
    StudyState,
    earlier_state,
    read_state,
    write_state,
)
from aequorea.pipelines.study.workers import Death, each_in_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import pandas as pd

    from aequorea.pipelines.study.definition import Study
    from aequorea.pipelines.study.sample import Sample

    RunOne = Callable[[Sample, Path], RunResult]
    Summaries = Callable[[tuple[str, ...]], Sequence[Step]]

_ERRORS = "errors"


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """A study as far as it could be done.

    Attributes
    ----------
    directory : Path
    done : tuple of str
        Samples in the tables.
    failed : mapping of str to str
        Why, by sample.
    executed, skipped : tuple of str
        Samples of which something was computed now, and those that were current.
    run_dirs : mapping of str to Path
        Of every sample.
    summary : RunResult
        The steps over all samples.
    warnings : tuple of str
        Of the study; those of a sample are in its own run.
    """

    directory: Path
    done: tuple[str, ...]
    failed: Mapping[str, str]
    executed: tuple[str, ...]
    skipped: tuple[str, ...]
    run_dirs: Mapping[str, Path]
    summary: RunResult
    warnings: tuple[str, ...]

    def table(self, name: str) -> pd.DataFrame:
        """One of the tables over all samples.

        Raises
        ------
        InputError
            If there is no such table.
        """
        return self.summary.table(name)


@dataclass(frozen=True, kw_only=True)
class FirstPass:
    """A first part of the workflow on every sample, and what follows from all of them.

    Attributes
    ----------
    run_one : callable
        As that of :func:`run_study`; a sample that fails here is tried again, and told, in the
        second pass.
    then : callable
        Takes the samples that got through, each with the directory of its run, gives the
        ``run_one`` of the second pass.
    """

    run_one: RunOne
    then: Callable[[Sequence[tuple[Sample, Path]]], RunOne]


@dataclass(frozen=True, kw_only=True)
class _Task:
    sample: Sample
    out: Path
    links: Mapping[Path, Path] = field(default_factory=dict)
    """What its files stand for, in a blinded study."""


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What became of a sample; plain values, to travel between processes."""

    message: str = ""
    trace: str = ""
    record_sha256: str | None = None
    tables: Mapping[str, str] | None = None
    warnings: tuple[str, ...] = ()
    executed: bool = False


if TYPE_CHECKING:
    _Each = Callable[[Callable[[_Task], _Outcome], Sequence[_Task]], Iterator[tuple[int, _Outcome]]]


def run_study(
    study: Study,
    run_one: RunOne,
    *,
    out: str | os.PathLike[str] | None = None,
    workflow: str | None = None,
    shared_parameters: Effective[Any] | None = None,
    summaries: Summaries | None = None,
    first: FirstPass | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    blind: bool = False,
    rejected: Collection[str] | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Run a workflow on every sample of a study, and collect the tables.

    Parameters
    ----------
    study : Study
    run_one : callable
        Takes a :class:`Sample` and the directory of its run, which it makes with ``run_steps``.
        For ``workers`` > 1 it must be defined at the level of a module (``functools.partial`` of
        such a function will do).
    out : path, optional
        Directory of the study; ``study.out`` if not given. An earlier one is continued.
    workflow : str, optional
        Its name; ``study.workflow`` if not given.
    shared_parameters : Effective, optional
        For the record.
    summaries : callable, optional
        Takes the names of the tables of all samples, gives steps that read them, such as a
        comparison or a page; they need the step ``"tables"``.
    first : FirstPass, optional
        What has to be known of all samples before any of them can be finished.
    workers : int, default 1
        Samples at a time, each in a process of its own; changes no result.
    scheduler : str, optional
        Address of a dask scheduler (``tcp://host:8786``), whose workers then run the samples, one
        at a time each. They must see the same files under the same paths. Changes no result.
    blind : bool, default False
        Name samples by codes and keep what they are out of the directory, until :func:`unblind`.
        The key file, and links to the images under their codes, are in a folder beside it
        (``study-key.aequorea`` of ``study.aequorea``): keep that from whoever must not know.
    rejected : collection of str, optional
        Samples, as the study shows them, that somebody rejected; all tables then tell it in a
        column ``rejected``. Without it nobody judges samples.
    progress : Progress, optional

    Returns
    -------
    StudyResult
        Also when samples failed.

    Raises
    ------
    InputError
        If the study has no samples, or two of them one code.
    OutputError
        If ``out`` is something else or another study, in use, or cannot be written.
    RunError
        If a step over all samples fails.

    Notes
    -----
    Killed at any instant, a rerun continues: samples in flight are resumed from their last step.
    """
    name = workflow or study.workflow or "study"
    if study.workflow not in {None, name}:
        raise InputError(f"{study.name}: is a study for {study.workflow!r}, not for {name!r}")
    where = study.out if out is None else Path(out)
    batch = _Batch(
        study=study,
        shown=_shown(study, where, blind=blind),
        out=where,
        workflow=name,
        blind=blind,
        rejected=rejected,
        path_keys=frozenset()
        if shared_parameters is None
        else path_keys(type(shared_parameters.values)),
    )
    reporter = progress or Quiet()
    each = partial(_each, workers=workers, scheduler=scheduler)
    outcomes = batch.run(run_one, first, each=each, progress=reporter)
    return batch.summarise(outcomes, summaries, shared_parameters, reporter)


def unblind(directory: str | os.PathLike[str]) -> None:
    """Write the tables of a blinded study again, with what its samples are.

    Comparisons follow when the study is run once more. The directories of the samples keep
    their codes.

    Raises
    ------
    InputError
        If there is no finished blinded study, or its key file is gone.
    """
    where = Path(directory)
    state = read_state(where)
    if not state.blind:
        raise InputError(f"{where}: is not a blinded study, so there is nothing to unblind")
    key = read_key(where)
    absent = [code for code in state.samples if code not in key]
    if absent:
        raise InputError(
            f"{key_folder(where) / KEY_FILE}: does not know {', '.join(absent)}; restore it"
        )
    workflow = study_workflow(state.workflow)
    in_order = {code: state.samples[code] for code in key if code in state.samples}
    told = replace(state, unblinded=True, samples=in_order)
    with claim(where, workflow=workflow) as held:
        write_state(held, told)
    origins = _origins(where, told, key)
    rerun_step(where, "tables", partial(write_collected, origins=origins), workflow=workflow)


def threads_of_each(workers: int, scheduler: str | None = None) -> int:
    """Threads of each of the processes that share a machine; on a cluster, one."""
    return 1 if scheduler is not None else max(1, (os.cpu_count() or 1) // max(1, workers))


def study_workflow(workflow: str) -> str:
    """What the record of a study's directory calls its workflow."""
    return f"{workflow} study"


def _shown(study: Study, out: Path, *, blind: bool) -> dict[str, Sample]:
    """Samples by the name under which they go, with the sample behind it."""
    if not study.samples:
        raise InputError(f"{study.name}: has no samples; name at least one file")
    folders: dict[str, Sample] = {}
    for sample in study.samples:
        if (other := folders.setdefault(sample.folder.casefold(), sample)) is not sample:
            raise InputError(
                f"{study.name}: samples {other.name!r} and {sample.name!r} would share a folder; "
                "give each sample its own name"
            )
    if not blind:
        return {s.name: s for s in study.samples}
    by_code = coded(study.samples, out)
    earlier = earlier_state(out)
    told = earlier is not None and earlier.unblinded
    return by_code if told else dict(sorted(by_code.items()))  # the order of the sheet would tell


@dataclass(kw_only=True)
class _Batch:
    """One pass over a study."""

    study: Study
    shown: Mapping[str, Sample]
    out: Path
    workflow: str
    blind: bool
    rejected: Collection[str] | None
    path_keys: frozenset[str]

    def run(
        self, run_one: RunOne, first: FirstPass | None, *, each: _Each, progress: Progress
    ) -> dict[str, _Outcome]:
        """Every sample once; the state on disk follows."""
        tasks = self._tasks()
        with claim(self.out, workflow=study_workflow(self.workflow)) as held:
            earlier = earlier_state(self.out)
            self._refuse_other_study(held, earlier)
            self._begin(held, tasks)
            state = self._first_state(tasks, earlier)
            write_state(held, state)
            if first is not None:
                run_one = self._after_first(first, tasks, each, progress)
            outcomes: dict[str, _Outcome] = {}
            progress.begin("samples")
            try:
                for index, outcome in each(partial(_attempt, run_one), tasks):
                    name = tasks[index].sample.name
                    outcomes[name] = self._told(outcome, tasks[index], earlier)
                    state = replace(
                        state, samples={**state.samples, name: self._state(tasks[index], outcomes)}
                    )
                    self._log(tasks[index], outcome)
                    write_state(held, state)
                    progress.advance(len(outcomes), len(tasks))
            except BaseException:
                progress.end("failed")
                raise
            progress.end("done")
        return outcomes

    @staticmethod
    def _after_first(
        first: FirstPass, tasks: Sequence[_Task], each: _Each, progress: Progress
    ) -> RunOne:
        progress.begin("first pass")
        through = []
        outcomes = each(partial(_attempt, first.run_one), tasks)
        for n_tried, (index, outcome) in enumerate(outcomes, start=1):
            if outcome.tables is not None:
                through.append(index)
            progress.advance(n_tried, len(tasks))
        progress.end("done")
        return first.then([(tasks[k].sample, tasks[k].out) for k in sorted(through)])

    def summarise(
        self,
        outcomes: Mapping[str, _Outcome],
        summaries: Summaries | None,
        parameters: Effective[Any] | None,
        progress: Progress,
    ) -> StudyResult:
        """The steps over all samples."""
        state = read_state(self.out)
        origins = _origins(self.out, state, self._key())
        names = table_names(origins)
        steps = [_tables_step(origins, names), *(summaries(names) if summaries else ())]
        self._remove_tables_but({output for step in steps for output in step.outputs})
        failed = {n: s.message for n, s in state.samples.items() if s.state == "failed"}
        notes = list(_notes(state, failed))
        summary = run_steps(
            steps,
            self.out,
            workflow=study_workflow(self.workflow),
            inputs=dict(self.study.sources),
            parameters=parameters or merge_parameters(Parameters),
            notes=notes,
            progress=progress,
        )
        return StudyResult(
            directory=self.out,
            done=tuple(n for n, s in state.samples.items() if s.state == "done"),
            failed=failed,
            executed=tuple(n for n in state.samples if outcomes[n].executed),
            skipped=tuple(
                n
                for n, s in state.samples.items()
                if s.state == "done" and not outcomes[n].executed
            ),
            run_dirs={n: self.out / s.directory for n, s in state.samples.items()},
            summary=summary,
            warnings=summary.warnings,
        )

    def _tasks(self) -> list[_Task]:
        return [self._task(name, sample) for name, sample in self.shown.items()]

    def _task(self, name: str, sample: Sample) -> _Task:
        links: Mapping[Path, Path] = {}
        if self.blind:
            sample, links = veiled(sample, name, self.out, path_keys=self.path_keys)
        return _Task(sample=sample, out=self.out / SAMPLES / sample.folder, links=links)

    def _remove_tables_but(self, outputs: set[str]) -> None:
        """Tables that the study had before and that no step of it makes any more."""
        for step in read_record(self.out)["steps"].values():
            for output in step.get("outputs", {}):
                if output.startswith("tables/") and output not in outputs:
                    (self.out / output).unlink(missing_ok=True)

    def _begin(self, held: RunDirectory, tasks: Sequence[_Task]) -> None:
        """Mark the directory as ours, or its tables as about to change."""
        record = held.read_record() or {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "workflow": study_workflow(self.workflow),
            "inputs": {},
            "parameters": {},
            "versions": versions(),
            "steps": {},
            "notes": [],
            "warnings": [],
            "timings": {},
        }
        if not record["inputs"]:
            record["inputs"] = {role: _input(path) for role, path in self.study.sources.items()}
        held.write_record({**record, "state": "running"})
        if self.blind:
            codes = {sample.name: code for code, sample in self.shown.items()}
            write_key(self.out, {codes[s.name]: s for s in self.study.samples})
            for task in tasks:
                make_links(task.links)

    def _first_state(self, tasks: Sequence[_Task], earlier: StudyState | None) -> StudyState:
        samples = {t.sample.name: self._pending(t) for t in tasks}
        removed = {}
        if earlier is not None:
            removed = {n: s.directory for n, s in earlier.samples.items()} | dict(earlier.removed)
        sheet = self.study.sources.get("sheet")
        return StudyState(
            workflow=self.workflow,
            study=self.study.name,
            sheet_sha256=None if sheet is None else sha256_path(sheet),
            blind=self.blind,
            unblinded=earlier is not None and earlier.unblinded,
            samples=samples,
            removed={
                n: d
                for n, d in sorted(removed.items())
                if n not in samples and (self.out / d).exists()
            },
        )

    def _pending(self, task: _Task) -> SampleState:
        return SampleState(
            state="pending",
            directory=task.out.relative_to(self.out).as_posix(),
            file=None if self.blind else str(task.sample.file),
            rejected=None if self.rejected is None else task.sample.name in self.rejected,
        )

    def _state(self, task: _Task, outcomes: Mapping[str, _Outcome]) -> SampleState:
        outcome = outcomes[task.sample.name]
        return replace(
            self._pending(task),
            state="failed" if outcome.tables is None else "done",
            message=outcome.message,
            record_sha256=outcome.record_sha256,
            tables=outcome.tables or {},
            warnings=outcome.warnings,
        )

    def _told(self, outcome: _Outcome, task: _Task, earlier: StudyState | None) -> _Outcome:
        """A run refuses to become that of another image; here, the way out is another one."""
        before = None if earlier is None else earlier.samples.get(task.sample.name)
        file = str(task.sample.file)
        if outcome.tables is not None or before is None or before.file in {None, file}:
            return outcome
        message = (
            f"{outcome.message} [it was {before.file}, now it is {file}: give the sample another "
            f"name, or remove {task.out}]"
        )
        return replace(outcome, message=message)

    def _log(self, task: _Task, outcome: _Outcome) -> None:
        log = self.out / _ERRORS / f"{task.sample.folder}.log"
        if outcome.trace:
            log.parent.mkdir(exist_ok=True)
            log.write_text(outcome.trace, encoding="utf-8")
        else:
            log.unlink(missing_ok=True)

    def _key(self) -> dict[str, tuple[dict[str, Any], dict[str, str]]]:
        return {
            name: (
                {**sample.facts(), **({"code": name} if self.blind else {})},
                dict(sample.metadata),
            )
            for name, sample in self.shown.items()
        }

    def _refuse_other_study(self, held: RunDirectory, earlier: StudyState | None) -> None:
        if earlier is not None and earlier.blind != self.blind:
            was, wanted = ("blinded", "open") if earlier.blind else ("open", "blinded")
            raise OutputError(
                f"{self.out}: was begun as a {was} study, not {wanted}; continue it as it began, "
                "or give another --out"
            )
        before = (held.read_record() or {}).get("inputs", {})
        for role in ("sheet", "study"):
            old, path = before.get(role), self.study.sources.get(role)
            if old is None or path is None:
                continue
            if old["resolved"] != str(path.resolve()) and old["sha256"] != sha256_path(path):
                raise OutputError(
                    f"{self.out}: is the study of {old['path']}, not of {path}; give another --out"
                )


def _each(
    function: Callable[[_Task], _Outcome],
    tasks: Sequence[_Task],
    *,
    workers: int,
    scheduler: str | None,
) -> Iterator[tuple[int, _Outcome]]:
    if scheduler is not None:
        results = each_on_cluster(function, tasks, scheduler=scheduler)
    elif workers <= 1 or len(tasks) == 1:
        yield from enumerate(map(function, tasks))
        return
    else:
        results = each_in_processes(function, tasks, workers=workers)
    for index, result in results:
        if isinstance(result, Death):
            _hide_files(tasks[index])
            yield index, _Outcome(message=result.reason)
        else:
            yield index, result


def _attempt(run_one: RunOne, task: _Task) -> _Outcome:
    """Run one sample; whatever goes wrong is told, not raised."""
    try:
        with _files_hidden(task):
            result = run_one(task.sample, task.out)
        record = result.record
    except AequoreaError as error:
        return _Outcome(message=conceal(_one_line(error), task.links))
    except Exception as error:  # noqa: BLE001 - one bad sample does not sink a study
        message = conceal(f"{type(error).__name__}: {_one_line(error)}", task.links)
        return _Outcome(message=message, trace=conceal(traceback.format_exc(), task.links))
    return _Outcome(
        record_sha256=_record_hash(record),
        tables=_tables_of(record),
        warnings=tuple(conceal(w, task.links) for w in result.warnings),
        executed=bool(result.executed),
    )


@contextmanager
def _files_hidden(task: _Task) -> Iterator[None]:
    """A run that afterwards does not tell which files the links of its sample stand for."""
    record = _record_of(task)
    if record is not None:
        # a run knows its image by where it really is, also when that was edited
        files = {str(link): str(file) for link, file in task.links.items()}
        for facts in record["inputs"].values():
            facts["resolved"] = files.get(facts.get("resolved"), facts.get("resolved"))
        _rewrite(task, record)
    try:
        yield
    finally:
        _hide_files(task)


def _hide_files(task: _Task) -> None:
    log = task.out / LOG
    if task.links and log.is_file():
        text = log.read_text(encoding="utf-8")
        log.write_text(conceal(text, task.links), encoding="utf-8")
    record = _record_of(task)
    if record is not None:
        _rewrite(task, _concealed(record, task.links))


def _record_of(task: _Task) -> dict[str, Any] | None:
    """The record of a blinded run, if there is one."""
    if not task.links or not (task.out / RECORD).is_file():
        return None
    return read_record(task.out)


def _rewrite(task: _Task, record: dict[str, Any]) -> None:
    with claim(task.out, workflow=record["workflow"]) as held:
        if record != held.read_record():
            held.write_record(record)


def _concealed(value: Any, links: Mapping[Path, Path]) -> Any:
    if isinstance(value, str):
        return conceal(value, links)
    if isinstance(value, dict):
        return {k: _concealed(v, links) for k, v in value.items()}
    return [_concealed(v, links) for v in value] if isinstance(value, list) else value


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _record_hash(record: Mapping[str, Any]) -> str:
    """Changes when inputs, parameters or results do; not with paths, times and machines."""
    return sha256_json(
        {
            "workflow": record["workflow"],
            "inputs": {role: facts["sha256"] for role, facts in record["inputs"].items()},
            "parameters": record["parameters"],
            "steps": {name: step.get("key") for name, step in record["steps"].items()},
            "outputs": {
                output: facts["sha256"]
                for step in record["steps"].values()
                for output, facts in step.get("outputs", {}).items()
                if output.startswith("tables/")
            },
        }
    )


def _tables_of(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        output.removeprefix("tables/").removesuffix(".parquet"): facts["sha256"]
        for step in record["steps"].values()
        for output, facts in step.get("outputs", {}).items()
        if output.startswith("tables/") and output.endswith(".parquet")
    }


def _origins(
    out: Path,
    state: StudyState,
    key: Mapping[str, tuple[Mapping[str, Any], Mapping[str, str]]],
) -> list[Origin]:
    """The samples to collect, in the order of the study, as blinded as it is."""
    hidden = state.blind and not state.unblinded
    found = []
    for name, sample in state.samples.items():
        if sample.state != "done":
            continue
        facts, metadata = key[name]
        if hidden:
            facts = {c: name if c == "sample" else facts[c] for c in BLIND_LEADING}
            metadata = {}
        if sample.rejected is not None:
            facts = {**facts, REJECTED: sample.rejected}
        found.append(
            Origin(
                facts=facts,
                metadata=metadata,
                run_dir=out / sample.directory,
                tables=sample.tables,
            )
        )
    return found


def _tables_step(origins: Sequence[Origin], names: Sequence[str]) -> Step:
    content = [[list(o.facts.items()), list(o.metadata.items()), dict(o.tables)] for o in origins]
    return Step(
        name="tables",
        version=1,
        function=partial(write_collected, origins=origins),
        parameters={"content_sha256": sha256_json(content)},
        outputs=tuple(f"tables/{n}.{kind}" for n in names for kind in ("parquet", "csv")),
    )


def _notes(state: StudyState, failed: Mapping[str, str]) -> Iterator[str]:
    for name, message in failed.items():
        yield f"sample {name!r} failed and is not in the tables: {message}"
    if state.removed:
        told = ", ".join(f"{name!r} ({folder})" for name, folder in state.removed.items())
        yield f"no longer in the study, not in the tables; their directories stay: {told}"


def _input(path: Path) -> dict[str, Any]:
    return {
        "path": str(path),
        "resolved": str(path.resolve()),
        "sha256": sha256_path(path),
        "bytes": path.stat().st_size,
    }
