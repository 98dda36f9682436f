"""What became of every sample of a study, as a table: done or failed, why, and where it is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from aequorea.io.tables import write_table
from aequorea.pipelines.run.provenance import sha256_json
from aequorea.pipelines.run.steps import Step
from aequorea.pipelines.study.blinding import coded
from aequorea.pipelines.study.collection import REJECTED
from aequorea.pipelines.study.sheet import located
from aequorea.pipelines.study.state import read_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from aequorea.pipelines.run.steps import StepContext
    from aequorea.pipelines.study.definition import Study
    from aequorea.pipelines.study.sample import Sample
    from aequorea.pipelines.study.state import SampleState, StudyState

BETWEEN = " | "
UNTOLD = "not told in a blinded study, as it may name the image: see study.json"
A_FILE = "a file"
_FACTS = ("sample", "animal", "condition", "replicate", "control", "code")
_BLIND_FACTS = ("sample", "control", "code")
_COLUMNS = ("state", "reason", "n_warnings", "warnings", "own_parameters", "regions", "directory")


def samples_step(study: Study, directory: Path) -> Step:
    """The samples as a step of a study: ``tables/samples``, one row each.

    Parameters
    ----------
    study : Study
    directory : Path
        Of the study, all of whose samples were tried.

    Returns
    -------
    Step
        Written again whenever a sample's state, reason or warnings change. In a blinded study
        the table tells neither conditions nor what may name an image.
    """
    state = read_state(directory)
    behind = coded(study.samples, directory) if state.blind else {s.name: s for s in study.samples}
    table = sample_table(behind, state)
    return Step(
        name="samples",
        version=1,
        function=partial(_write, table=table),
        parameters={"content_sha256": sha256_json(table.to_csv(index=False))},
        outputs=("tables/samples.parquet", "tables/samples.csv"),
    )


def sample_table(behind: Mapping[str, Sample], state: StudyState) -> pd.DataFrame:
    """One row per sample, in the order of the study.

    Parameters
    ----------
    behind : mapping of str to Sample
        By the name, or the code, under which it goes.
    state : StudyState

    Returns
    -------
    DataFrame
        What the sheet says of the sample, whether it is ``rejected`` where samples are judged,
        ``state``, the ``reason`` why it failed, its
        ``warnings``, ``own_parameters`` of the sheet, its ``regions`` and its ``directory``.
    """
    hidden = state.blind and not state.unblinded
    rows = list(_rows(behind, state, hidden=hidden))
    facts = _BLIND_FACTS if hidden else _FACTS
    judged = any(s.rejected is not None for s in state.samples.values())
    table = pd.DataFrame(rows, columns=[*facts, *([REJECTED] if judged else []), *_COLUMNS])
    typed: dict[str, Any] = {"n_warnings": "int64"} | ({REJECTED: "bool"} if judged else {})
    texts = [c for c in table.columns if c not in typed]
    return table.astype(dict.fromkeys(texts, pd.StringDtype()) | typed)


def _rows(
    behind: Mapping[str, Sample], state: StudyState, *, hidden: bool
) -> Iterator[dict[str, Any]]:
    for name, sample in state.samples.items():
        facts = behind[name].facts()
        if state.blind:
            facts["code"] = name
        if hidden:
            facts = {"sample": name, "control": facts["control"], "code": name}
        yield facts | _told(sample, hidden=hidden) | _own(behind[name], hidden=hidden)


def _told(sample: SampleState, *, hidden: bool) -> dict[str, Any]:
    reason = UNTOLD if hidden and sample.message else sample.message
    return {
        "state": sample.state,
        REJECTED: bool(sample.rejected),
        "reason": reason or None,
        "n_warnings": len(sample.warnings),
        "warnings": None if hidden else BETWEEN.join(sample.warnings) or None,
        "directory": sample.directory,
    }


def _own(sample: Sample, *, hidden: bool) -> dict[str, Any]:
    told = {k: A_FILE if hidden and _is_file(v, sample) else v for k, v in sample.overrides.items()}
    options = "; ".join(f"{key} = {value}" for key, value in told.items())
    regions = None if hidden or sample.regions is None else sample.regions.name
    return {"own_parameters": options or None, "regions": regions}


def _is_file(value: str, sample: Sample) -> bool:
    path = located(value, sample.base)
    return bool(path.suffix) and path.exists()


def _write(context: StepContext, *, table: pd.DataFrame) -> None:
    write_table(table, context.target("tables/samples"))
