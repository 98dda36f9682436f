"""Studies: a sample sheet, a resumable batch, tables over all samples, conditions compared.

:func:`load_study` reads what there is, :func:`run_study` runs a workflow on every sample.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aequorea.pipelines.study.batch import FirstPass, StudyResult, run_study, unblind
    from aequorea.pipelines.study.comparison import (
        ComparisonParameters,
        compare_conditions,
        comparison_step,
    )
    from aequorea.pipelines.study.controls import ControlParameters, control_tables, controls_step
    from aequorea.pipelines.study.definition import Study, load_study
    from aequorea.pipelines.study.sample import Sample

_HOMES = {
    "batch": ("FirstPass", "StudyResult", "run_study", "unblind"),
    "comparison": ("ComparisonParameters", "compare_conditions", "comparison_step"),
    "controls": ("ControlParameters", "control_tables", "controls_step"),
    "definition": ("Study", "load_study"),
    "sample": ("Sample",),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "ComparisonParameters",
    "ControlParameters",
    "FirstPass",
    "Sample",
    "Study",
    "StudyResult",
    "compare_conditions",
    "comparison_step",
    "control_tables",
    "controls_step",
    "load_study",
    "run_study",
    "unblind",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
