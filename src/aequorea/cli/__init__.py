"""The ``aequorea`` command.

Exit codes: 0 success, 2 bad input, 1 failed run, 130 interrupted.
"""

from aequorea.cli.app import main

__all__ = ["main"]
