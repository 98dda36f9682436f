"""The errors aequorea raises on purpose.

Each is also a standard exception, so ``except ValueError`` works in users' scripts.
Messages say what was expected, what was found, and what to do.
Every one of them is an :class:`AequoreaError`; the command line turns
:class:`InputError` into exit code 2 and any other failure into exit code 1.
"""

from __future__ import annotations


class AequoreaError(Exception):
    """Base of all errors that aequorea raises on purpose."""


class InputError(AequoreaError, ValueError):
    """What the user gave cannot be used: a file, a parameter, an array."""


class FileFormatError(InputError):
    """A file is truncated, misnamed, or not of a format that can be read."""


class FileMissingError(InputError, FileNotFoundError):
    """A file or folder that was named does not exist."""

    def __str__(self) -> str:
        return ValueError.__str__(self)


class CalibrationError(InputError):
    """A physical size is needed and the data do not carry one."""


class AxisMismatchError(InputError):
    """Two arrays, or an array and a request, differ in axes or shape."""


class ChannelError(InputError, KeyError):
    """A channel was asked for that the image does not have."""

    def __str__(self) -> str:
        return ValueError.__str__(self)


class OutputError(AequoreaError, OSError):
    """A result cannot be written where it was asked for."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class RunError(AequoreaError, RuntimeError):
    """A run failed, or a run directory is not what it should be."""


class AequoreaWarning(UserWarning):
    """Something a careful scientist would want to know about the data or the result."""
