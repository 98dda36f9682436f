"""What libraries raise for bad files, said in one line of our own."""

from __future__ import annotations

import logging
import struct
import threading
import tokenize
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aequorea.errors import AequoreaError, FileFormatError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What format libraries raise when bytes are not what a header promised.
BAD_BYTES: tuple[type[Exception], ...] = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    ZeroDivisionError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    EOFError,
    OSError,
    SyntaxError,  # xml.etree.ElementTree.ParseError
    struct.error,
    tokenize.TokenError,  # headers of NumPy files
    zlib.error,
    zipfile.BadZipFile,
)
_LONGEST_REASON = 160


@contextmanager
def reading(path: Path | str, kind: str) -> Iterator[None]:
    """Turn what a library raises for a bad file into a :class:`FileFormatError`.

    Parameters
    ----------
    path : path of the file that is being read
    kind : str
        What it was taken for, as a user would say it: ``"TIFF"``.

    Raises
    ------
    FileFormatError
        In place of any of :data:`BAD_BYTES`; errors of our own pass unchanged.
    InputError
        If the file may not be read.

    Examples
    --------
    >>> with reading("cell.tif", "TIFF"):
    ...     raise ValueError("not a TIFF file")
    Traceback (most recent call last):
    aequorea.errors.FileFormatError: cell.tif: cannot be read as TIFF (not a TIFF file); ...
    """
    try:
        yield
    except AequoreaError:
        raise
    except PermissionError as error:
        raise InputError(f"{path}: may not be read; ask for read permission") from error
    except BAD_BYTES as error:
        raise FileFormatError(
            f"{path}: cannot be read as {kind} ({_reason(error)}); "
            "the file is damaged, incomplete or of another format: copy or export it again"
        ) from error


@contextmanager
def remarks_of(library: str) -> Iterator[list[str]]:
    """Collect what a library logs in this thread, instead of letting it onto the user's terminal.

    Examples
    --------
    >>> import logging
    >>> with remarks_of("tifffile") as remarks:
    ...     logging.getLogger("tifffile").warning("page 3 is missing")
    >>> remarks
    ['page 3 is missing']
    """
    found: list[str] = []
    thread = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        found.append(record.getMessage())
        return False

    logger = logging.getLogger(library)
    logger.addFilter(keep)
    try:
        yield found
    finally:
        logger.removeFilter(keep)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…"
