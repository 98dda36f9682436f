"""Commands, exit codes, and errors on one line."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING, NoReturn

from cyclopts import App
from cyclopts.exceptions import CycloptsError

from aequorea import __version__
from aequorea.errors import AequoreaError, AequoreaWarning, InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

SUCCESS, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
DEBUG_VARIABLE = "AEQUOREA_DEBUG"

app = App(
    name="aequorea",
    help="From raw fluorescence-microscope files to calibrated, reproducible, honest numbers.",
    version=__version__,
    version_flags=["--version"],
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
_COMMANDS = {
    "info": ("aequorea.cli.files:info", "Show what an image file contains."),
    "convert": ("aequorea.cli.files:convert", "Copy an image to another format."),
    "coloc": ("aequorea.cli.coloc:coloc", "Measure the colocalization of two or more channels."),
    "cells": (
        "aequorea.cli.cells:cells",
        "Count cells and those positive for each marker, per region.",
    ),
    "confocal": (
        "aequorea.cli.confocal:confocal",
        "Cells, nuclei and puncta in 3D: distances, chance, conditions.",
    ),
    "register": ("aequorea.cli.register:register", "Find the motion of a movie, and undo it."),
    "estimate": (
        "aequorea.cli.register:estimate",
        "Tell what registering a movie will take: time, memory, disk.",
    ),
    "photon": ("aequorea.cli.photon:app", "Gain of a movie, and what storing it as photons saves."),
    "verify": ("aequorea.cli.runs:verify", "Check that a run is still what it says."),
    "report": ("aequorea.cli.runs:report", "Rebuild the page of a run."),
    "unblind": ("aequorea.cli.runs:unblind", "Tell what the samples of a blinded study are."),
    "demo": ("aequorea.cli.demo:demo", "Run every workflow on images shipped with the package."),
}
for _name, (_home, _help) in _COMMANDS.items():
    app.command(_home, name=_name, help=_help)


def main(tokens: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    sys.exit(run(tokens))


def run(tokens: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    tokens : sequence of str, optional
        ``sys.argv`` if not given.

    Returns
    -------
    int
        0 success, 2 bad input, 1 failed run, 130 interrupted.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always", AequoreaWarning)
        warnings.showwarning = _show_warning
        return _run(tokens)


def _run(tokens: Sequence[str] | None) -> int:
    try:
        code = app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _complain(str(error), BAD_INPUT)
    except (InputError, OutputError) as error:
        return _complain(str(error), BAD_INPUT)
    except AequoreaError as error:
        return _complain(str(error), FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted; the same command continues", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SUCCESS
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        return _complain(
            f"unexpected {type(error).__name__}: {error} ({DEBUG_VARIABLE}=1 shows where)",
            FAILED,
        )
    return code if isinstance(code, int) else SUCCESS


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"aequorea: {' '.join(message.split())}\n")
    return code


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,  # noqa: ARG001 - the signature of warnings.showwarning
    line: str | None = None,
) -> None:
    if issubclass(category, AequoreaWarning):
        sys.stderr.write(f"warning: {' '.join(str(message).split())}\n")
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))
