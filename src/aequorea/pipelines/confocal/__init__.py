"""Confocal stacks: cells, nuclei and puncta in 3D, one stack or a study of them.

:func:`analyse` for one stack, :func:`analyse_study` for a sample sheet.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aequorea.pipelines.confocal.parameters import ConfocalParameters, confocal_parameters
    from aequorea.pipelines.confocal.study import analyse_study
    from aequorea.pipelines.confocal.triage import Decision, decide, read_decisions
    from aequorea.pipelines.confocal.workflow import analyse, rebuild_report

_HOMES = {
    "parameters": ("ConfocalParameters", "confocal_parameters"),
    "study": ("analyse_study",),
    "triage": ("Decision", "decide", "read_decisions"),
    "workflow": ("analyse", "rebuild_report"),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "ConfocalParameters",
    "Decision",
    "analyse",
    "analyse_study",
    "confocal_parameters",
    "decide",
    "read_decisions",
    "rebuild_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
