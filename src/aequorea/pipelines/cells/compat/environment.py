"""Where libraries keep their caches, on machines where the usual places cannot be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_PLACES = {
    "MPLCONFIGDIR": ("~/.config/matplotlib", "matplotlib"),
    "XDG_CACHE_HOME": ("~/.cache", "xdg_cache"),
    "NUMBA_CACHE_DIR": ("~/.cache", "numba"),
    "NAPARI_CONFIG": ("~/.config/napari/settings.yaml", "napari/settings.yaml"),
}


def get_runtime_cache_root() -> Path:
    """The folder that takes the place of caches that cannot be written."""
    return Path(tempfile.gettempdir()) / "aequorea_runtime_cache"


def prepare_runtime_environment() -> dict[str, str]:
    """Redirect caches of libraries whose usual place cannot be written; others stay.

    Importing changes nothing: a script calls this where it needs it, before it imports
    matplotlib or napari.

    Returns
    -------
    dict of str to str
        The environment variables that were set now.
    """
    changed: dict[str, str] = {}
    for variable, (usual, otherwise) in _PLACES.items():
        place = Path(os.environ.get(variable) or usual).expanduser()
        folder = place.parent if place.suffix else place
        if _writable(folder):
            continue
        target = get_runtime_cache_root() / otherwise
        (target.parent if target.suffix else target).mkdir(parents=True, exist_ok=True)
        os.environ[variable] = changed[variable] = str(target)
    return changed


def _writable(folder: Path) -> bool:
    """Whether the folder, or the nearest one above it that exists, can be written."""
    while not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK)
