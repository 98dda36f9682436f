"""What a result was made from and with: content hashes, versions, machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

import aequorea

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PACKAGES = (
    "numpy",
    "scipy",
    "scikit-image",
    "numba",
    "pandas",
    "pyarrow",
    "zarr",
    "nd2",
    "tifffile",
    "imagecodecs",
    "pylibCZIrw",
    "pydantic",
    "plotly",
    "matplotlib",
)


def sha256_path(path: Path) -> str:
    """SHA-256 of a file's bytes, or of a folder's relative names and file hashes.

    Hidden bookkeeping of operating systems is not skipped: a folder is what is in it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "empty")
    ...     file.touch()
    ...     sha256_path(file)[:16]
    'e3b0c44298fc1c14'
    """
    if path.is_dir():
        listing = [(p.relative_to(path).as_posix(), _sha256_file(p)) for p in _files(path)]
        return sha256_json(listing)
    return _sha256_file(path)


def sha256_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def size_bytes(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_dir():
        return sum(p.stat().st_size for p in _files(path))
    return path.stat().st_size


def stat_signature(path: Path) -> str:
    """Changes when sizes or modification times do: a cheap hint that a rehash is needed."""
    files = list(_files(path)) if path.is_dir() else [path]
    stats = [(p.relative_to(path).as_posix(), p.stat()) for p in files]
    return sha256_json([(name, s.st_size, s.st_mtime_ns) for name, s in stats])


def versions() -> dict[str, str]:
    """Versions of aequorea, Python and the libraries a number may depend on."""
    found = {"aequorea": aequorea.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, Any]:
    """The machine, as far as it explains timings."""
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }


def _sha256_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    return iter(sorted(p for p in folder.rglob("*") if p.is_file()))
