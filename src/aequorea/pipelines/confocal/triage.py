"""Images looked at by a person: accepted, rejected, or to be done again with other parameters."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from aequorea.errors import FileFormatError, InputError
from aequorea.io.atomic import replacing
from aequorea.pipelines.study.sheet import near_miss
from aequorea.pipelines.study.state import read_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["FILE", "Decision", "decide", "read_decisions"]

FILE = "triage.json"
Verdict = Literal["accept", "reject", "redo"]
_FORMAT = "aequorea triage"
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided about one sample.

    Attributes
    ----------
    verdict : {"accept", "reject", "redo"}
        Rejected samples stay in the tables and are left out of comparisons.
    reason : str
    overrides : mapping of str to str
        Parameters of this sample only, by dotted key.
    """

    verdict: Verdict
    reason: str = ""
    overrides: Mapping[str, str] = field(default_factory=dict)


def read_decisions(directory: Path) -> dict[str, Decision]:
    """Decisions about the samples of a study, by name; none if nobody decided anything.

    Raises
    ------
    FileFormatError
        If the file is damaged.
    """
    path = directory / FILE
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = (content["format"], content["version"]) == (_FORMAT, _VERSION)
        found = {name: _decision(e) for name, e in content["samples"].items()} if known else None
    except (ValueError, KeyError, TypeError, AttributeError):
        found = None
    if found is None:
        raise FileFormatError(
            f"{path}: is not a triage file of this version; remove it to start again"
        )
    return found


def decide(
    directory: Path,
    samples: Iterable[str],
    verdict: Verdict,
    *,
    reason: str = "",
    overrides: Mapping[str, str] | None = None,
) -> dict[str, Decision]:
    """Write down a decision about samples of a study.

    Parameters
    ----------
    directory : Path
        Of the study.
    samples : iterable of str
        As the study shows them: codes in a blinded one.
    verdict : {"accept", "reject", "redo"}
    reason : str
        Needed to reject.
    overrides : mapping of str to str, optional
        For 'redo': parameters by dotted key, added to earlier ones.

    Returns
    -------
    dict of str to Decision
        All decisions.

    Raises
    ------
    InputError
        If there is no such study or sample, or reason or parameters are missing.
    """
    names = _known(directory, samples)
    if verdict not in get_args(Verdict):
        raise InputError(f"expected one of {', '.join(get_args(Verdict))}, got {verdict!r}")
    if verdict == "reject" and not reason.strip():
        raise InputError("a rejected image needs a reason (--reason): it will be in the report")
    if verdict == "redo" and not overrides:
        raise InputError("redo needs parameters, such as --nuclei.threshold 300")
    if verdict != "redo" and overrides:
        raise InputError(f"parameters are for redo; to {verdict}, give none")
    decisions = read_decisions(directory)
    for name in names:
        before = decisions.get(name)
        kept = dict(before.overrides) if before is not None else {}
        decisions[name] = Decision(
            verdict=verdict, reason=reason.strip(), overrides=kept | dict(overrides or {})
        )
    _write(directory / FILE, decisions)
    return decisions


def forget(directory: Path, samples: Iterable[str]) -> dict[str, Decision]:
    """Take back what was decided about samples, parameters of their own included.

    Returns
    -------
    dict of str to Decision
        All decisions that are left.

    Raises
    ------
    InputError
        If there is no such study or sample.
    """
    names = set(_known(directory, samples))
    decisions = {n: d for n, d in read_decisions(directory).items() if n not in names}
    _write(directory / FILE, decisions)
    return decisions


def _known(directory: Path, samples: Iterable[str]) -> list[str]:
    known = read_state(directory).samples
    names = list(samples)
    for name in names:
        if name not in known:
            raise InputError(f"{directory}: has no sample {name!r}{near_miss(name, list(known))}")
    return names


def _write(path: Path, decisions: Mapping[str, Decision]) -> None:
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "samples": {name: asdict(d) for name, d in sorted(decisions.items())},
    }
    with replacing(path, overwrite=True) as target:
        target.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def _decision(entry: Mapping[str, Any]) -> Decision:
    if entry["verdict"] not in get_args(Verdict):
        raise ValueError(entry["verdict"])
    overrides = {str(k): str(v) for k, v in entry["overrides"].items()}
    return Decision(verdict=entry["verdict"], reason=str(entry["reason"]), overrides=overrides)
