"""Pages and figures made from finished results.

Nothing here computes science: figures are drawn from arrays, pages from a run directory.
A page is one file that opens offline and loads nothing from anywhere.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Comparison": "aequorea.report.index",
    "IndexEntry": "aequorea.report.index",
    "write_index": "aequorea.report.index",
    "write_report": "aequorea.report.colocalization",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
