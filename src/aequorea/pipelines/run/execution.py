"""How a run uses the machine. Nothing here changes a result."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import field_validator

from aequorea.pipelines.run.parameters import Parameters, option

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {f"{u}i": 1024**n for n, u in enumerate("kmgt", start=1)}
_SIZE = re.compile(r"^\s*([0-9.]+)\s*([kmgt]i?)?b?\s*$", re.IGNORECASE)


class Execution(Parameters):
    """Memory and processors."""

    max_memory: str | None = None
    """Memory the run may use for pixels, such as 500MB or 8GB; half of the machine's if not given.
    Images that do not fit are streamed."""

    workers: int | None = option(None, ge=1)
    """Threads to compute with; all processors if not given."""

    @field_validator("max_memory")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None and parse_bytes(value) is None:
            raise ValueError(f"expected a size such as 500MB or 8GB, got {value!r}")
        return value

    @property
    def max_memory_bytes(self) -> int:
        """The memory budget in bytes."""
        given = None if self.max_memory is None else parse_bytes(self.max_memory)
        return _half_of_the_machine() if given is None else given

    @property
    def n_workers(self) -> int:
        """Number of threads."""
        return self.workers or os.cpu_count() or 1


def parse_bytes(text: str) -> int | None:
    """Bytes that ``text`` names, or ``None`` if it names no positive size.

    Examples
    --------
    >>> parse_bytes("1.5 GB"), parse_bytes("2GiB"), parse_bytes("much")
    (1500000000, 2147483648, None)
    """
    match = _SIZE.match(text)
    if not match or match[1].count(".") > 1 or match[1] == ".":
        return None
    return int(float(match[1]) * _UNITS[(match[2] or "").lower()]) or None


def worded_bytes(n_bytes: float) -> str:
    """A size as people write it.

    Examples
    --------
    >>> worded_bytes(1_500_000), worded_bytes(12)
    ('1.5 MB', '12 bytes')
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


@contextmanager
def limited_threads(workers: int) -> Iterator[None]:
    """Let compiled loops use at most ``workers`` threads meanwhile."""
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(max(1, min(workers, numba.config.NUMBA_NUM_THREADS)))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def _half_of_the_machine() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # not told on this system
        return 4 * 10**9
