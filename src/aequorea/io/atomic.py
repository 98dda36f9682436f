"""Results that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from aequorea.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name when the block ends well.

    Parameters
    ----------
    path : path of the file or folder that is to appear
    overwrite : bool, default False
        Whether something that is already there may be replaced.

    Yields
    ------
    Path
        Does not exist yet; write a file or a folder there. If the block fails, it is
        removed and ``path`` stays as it was.

    Raises
    ------
    OutputError
        If ``path`` exists and ``overwrite`` is False, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "answer.txt") as temporary:
    ...     _ = temporary.write_text("42")
    >>> [p.name for p in folder.iterdir()]
    ['answer.txt']
    """
    target = Path(path).expanduser()
    if not overwrite:
        refuse_existing(target)
    # the ending stays, because writers choose the format by it
    temporary = target.with_name(f".{uuid.uuid4().hex[:12]}.{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        take_place(temporary, target)
    except OutputError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{target}: cannot be written ({reason}); choose a folder you may write to, "
            "with enough space"
        ) from error
    finally:
        _remove(temporary)


def refuse_existing(path: Path) -> None:
    """Raise :class:`OutputError` if ``path`` exists."""
    if os.path.lexists(path):
        raise OutputError(
            f"{path}: exists already; give another name, or overwrite=True (--overwrite)"
        )


def take_place(temporary: Path, target: Path) -> None:
    """Give what is finished its name; what bore it before goes."""
    if not target.is_dir() or target.is_symlink():
        temporary.replace(target)
        return
    # a folder that is not empty cannot be replaced in one step: it steps aside first
    aside = target.with_name(f".{uuid.uuid4().hex[:12]}.old.{target.name}")
    target.rename(aside)
    try:
        temporary.replace(target)
    except OSError:
        aside.rename(target)
        raise
    _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
