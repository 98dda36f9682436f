"""Sample data from the network: fetched once, checked, kept."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aequorea.errors import FileFormatError, InputError, RunError
from aequorea.io.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE_BYTES = 2**16
_LARGEST_BYTES = 2**30
_SCHEMES = ("http", "https")


def cache_folder() -> Path:
    """Where downloads are kept: ``$XDG_CACHE_HOME/aequorea``, by default ``~/.cache/aequorea``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "aequorea"


def cached_download(
    url: str,
    name: str,
    *,
    sha256: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    timeout_s: float = 30.0,
    max_bytes: int = _LARGEST_BYTES,
) -> Path:
    """A file from the network, fetched on first use.

    Parameters
    ----------
    url : str
        ``http`` or ``https``; redirections must be too.
    name : str
        File name in the cache.
    sha256 : str, optional
        What the content must hash to. A cached file that does not is fetched again.
    cache_dir : path, optional
        Default: :func:`cache_folder`.
    timeout_s : float, default 30
        How long the server may be silent.
    max_bytes : int, default 1 GiB
        More is refused.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If the address is of another kind, or ``name`` is not a plain file name.
    RunError
        If it cannot be fetched; nothing is left behind.
    FileFormatError
        If it is empty, incomplete, too large, or has another hash.
    OutputError
        If the cache cannot be written.
    """
    if urlsplit(url).scheme not in _SCHEMES:
        raise InputError(f"{url}: expected an address that begins with http:// or https://")
    if not name or name != Path(name).name or name.startswith(".") or "\\" in name:
        raise InputError(f"{name!r}: expected a plain file name for the cache")
    path = (cache_folder() if cache_dir is None else Path(cache_dir).expanduser()) / name
    if path.is_file() and (sha256 is None or _hash_of(path) == sha256.lower()):
        return path
    with replacing(path, overwrite=True) as temporary:
        found = _fetch(url, temporary, timeout_s, max_bytes)
        if sha256 is not None and found != sha256.lower():
            raise FileFormatError(
                f"{url}: its content has SHA-256 {found}, expected {sha256.lower()}; "
                "the file on the server has changed or was altered on the way"
            )
    return path


def _fetch(url: str, path: Path, timeout_s: float, max_bytes: int) -> str:
    digest = hashlib.sha256()
    try:
        with _opener().open(url, timeout=timeout_s) as response, path.open("wb") as file:
            size = 0
            for piece in _pieces(response):
                size += len(piece)
                if size > max_bytes:
                    raise FileFormatError(f"{url}: more than {max_bytes} bytes; not downloaded")
                digest.update(piece)
                file.write(piece)
            promised = response.headers.get("Content-Length")
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise RunError(
            f"{url}: cannot be downloaded ({getattr(error, 'reason', None) or error}); "
            "check the connection, or use sample data that are simulated"
        ) from error
    if not size or (promised is not None and int(promised) != size):
        raise FileFormatError(f"{url}: {size} of {promised or '?'} bytes arrived; try again")
    return digest.hexdigest()


def _pieces(response: Any) -> Iterator[bytes]:
    while piece := response.read(_PIECE_BYTES):
        yield piece


def _opener() -> urllib.request.OpenerDirector:
    # the default opener also follows file: and ftp:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
