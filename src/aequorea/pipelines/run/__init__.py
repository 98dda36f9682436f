"""How a workflow is run: steps, resume, provenance, progress.

A workflow is a list of :class:`Step`; :func:`run_steps` runs it into a directory, skips what is
current, and records what was done with what. :func:`verify` recomputes every hash.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aequorea.pipelines.run.execution import Execution
    from aequorea.pipelines.run.parameters import Parameters, merge_parameters, option
    from aequorea.pipelines.run.steps import RunResult, Step, StepContext, rerun_step, run_steps
    from aequorea.pipelines.run.verification import Verification, verify

_HOMES = {
    "execution": ("Execution",),
    "parameters": ("Parameters", "merge_parameters", "option"),
    "steps": ("RunResult", "Step", "StepContext", "rerun_step", "run_steps"),
    "verification": ("Verification", "verify"),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "Execution",
    "Parameters",
    "RunResult",
    "Step",
    "StepContext",
    "Verification",
    "merge_parameters",
    "option",
    "rerun_step",
    "run_steps",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
