"""The installed Cellpose and its models: found, checked, loaded once, and never trusted blindly.

Cellpose falls back to another model when it does not know a name, and overlooks weights that a
file lacks. Both would give numbers of a network nobody asked for, so both are errors here.
"""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPException
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import is_zipfile

from aequorea.errors import FileFormatError, FileMissingError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_MODELS = {3: "cyto3", 4: "cpsam"}
_NAMES_OF = {
    3: ("cyto3", "cyto2", "cyto", "nuclei"),
    4: ("cpsam", "cpsam_v2", "cpdino", "cpdino-vitb"),
}
_OTHER_ARCHITECTURE = ("transformer_cp3", "neurips_cellpose_transformer")
_LAYERS_3 = [2, 32, 64, 128, 256]
_OPTIONAL_ENDINGS = ("diam_mean", "diam_labels", "num_batches_tracked")
_CERTAIN_4 = ("W2", "out.weight")
_loading = threading.Lock()


@dataclass(frozen=True, eq=False, kw_only=True)
class CellposeLibrary:
    """The modules of the installed Cellpose that are used here.

    Attributes
    ----------
    version : str
    major : int
        3 or 4.
    models, dynamics, utils, torch : module
    """

    version: str
    major: int
    models: Any
    dynamics: Any
    utils: Any
    torch: Any


@dataclass(frozen=True, eq=False, kw_only=True)
class CellposeNetwork:
    """A loaded model.

    Attributes
    ----------
    model : cellpose.models.CellposeModel
    name : str
        As it was asked for.
    path : Path
    sha256 : str
        Of the file.
    """

    model: Any
    name: str
    path: Path
    sha256: str


def cellpose_library() -> CellposeLibrary:
    """The installed Cellpose.

    Raises
    ------
    InputError
        If it, or something it needs, cannot be imported, or it is neither version 3 nor 4.
    """
    try:
        installed = version("cellpose")
        models, dynamics, utils, torch = (
            import_module(name)
            for name in ("cellpose.models", "cellpose.dynamics", "cellpose.utils", "torch")
        )
    except PackageNotFoundError:
        raise InputError(
            "method 'cellpose' needs Cellpose, which is not installed: "
            "pip install 'aequorea[cellpose]', or choose method='watershed'"
        ) from None
    except (ImportError, OSError) as error:  # OSError: a shared library of torch does not load
        raise InputError(
            f"method 'cellpose': Cellpose is installed but cannot be imported ({error}); "
            "repair it with pip install 'aequorea[cellpose]', or choose method='watershed'"
        ) from error
    major = int(installed.split(".")[0])
    if major not in DEFAULT_MODELS:
        raise InputError(
            f"method 'cellpose' works with Cellpose 3 and 4, found {installed}: "
            "pip install 'cellpose>=3.1,<5'"
        )
    return CellposeLibrary(
        version=installed, major=major, models=models, dynamics=dynamics, utils=utils, torch=torch
    )


def choose_device(library: CellposeLibrary, *, use_gpu: bool) -> str:
    """``"cuda"``, ``"mps"`` or ``"cpu"``: the first that is wanted and there."""
    torch = library.torch
    if use_gpu and torch.cuda.is_available():
        return "cuda"
    if use_gpu and torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def load_network(library: CellposeLibrary, name: str | None, device: str) -> CellposeNetwork:
    """A model by name or path; loaded once per process and device.

    Parameters
    ----------
    library : CellposeLibrary
    name : str or None
        A name that the installed Cellpose knows, or the path of a file; None is ``cyto3`` for
        Cellpose 3 and ``cpsam`` for Cellpose 4.
    device : str
        As :func:`choose_device` says.

    Raises
    ------
    FileMissingError
        If a path does not exist.
    FileFormatError
        If the file is damaged, holds anything but numbers, or is a model of something else.
    InputError
        If the name is unknown, or its model is not on this computer and cannot be downloaded.
    """
    name = DEFAULT_MODELS[library.major] if name is None else name
    named = name in _known_names(library)
    path = _fetched(library, name) if named else _given_file(library, name)
    stamp = path.stat()
    with _loading:
        return _loaded(library.version, name, named, path, stamp.st_mtime_ns, stamp.st_size, device)


@lru_cache(maxsize=2)
def _loaded(
    installed: str,  # noqa: ARG001 - another version would load it differently
    name: str,
    named: bool,
    path: Path,
    modified_ns: int,  # noqa: ARG001 - a file that was replaced is loaded again
    size: int,  # noqa: ARG001
    device: str,
) -> CellposeNetwork:
    library = cellpose_library()
    _check_weights(library, path, _weights(library, path))
    where: dict[str, Any] = {"gpu": device != "cpu", "device": library.torch.device(device)}
    if named and library.major == 3:
        model = library.models.CellposeModel(model_type=name, **where)
    else:
        model = library.models.CellposeModel(pretrained_model=str(path), **where)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return CellposeNetwork(model=model, name=name, path=path, sha256=digest)


def _known_names(library: CellposeLibrary) -> list[str]:
    """What Cellpose may download, and what the user registered with it."""
    names = [n for n in library.models.MODEL_NAMES if n not in _OTHER_ARCHITECTURE]
    return [*names, *library.models.get_user_models()]


def _fetched(library: CellposeLibrary, name: str) -> Path:
    """The file of a named model, downloaded by Cellpose if it is not there yet."""
    models = library.models
    find = models.model_path if library.major == 3 else models.cache_model_path
    try:
        with _certificates_checked_afterwards():
            return Path(find(name))
    except (OSError, HTTPException) as error:  # URLError, TimeoutError, a read-only folder
        raise InputError(
            f"Cellpose model {name!r} is not in {models.MODEL_DIR} and cannot be downloaded "
            f"({error}); put its file there, or give any model file with model=PATH"
        ) from error


@contextmanager
def _certificates_checked_afterwards() -> Iterator[None]:
    """Undo that Cellpose 3, to download, stops checking certificates for the whole process."""
    ssl: Any = import_module("ssl")
    context = ssl._create_default_https_context
    try:
        yield
    finally:
        ssl._create_default_https_context = context


def _given_file(library: CellposeLibrary, name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_file():
        return path.resolve()
    if path.is_dir():
        raise FileFormatError(f"model {name!r} is a folder; expected the file of a Cellpose model")
    if name in _OTHER_ARCHITECTURE:
        raise InputError(
            f"Cellpose model {name!r} has an architecture that is not supported; "
            f"choose from {', '.join(_NAMES_OF[library.major])}"
        )
    for major, names in _NAMES_OF.items():
        if name in names and major != library.major:
            raise InputError(
                f"Cellpose model {name!r} needs Cellpose {major}, found {library.version}; choose "
                f"model={DEFAULT_MODELS[library.major]!r}, or pip install "
                f"'cellpose>={major},<{major + 1}'"
            )
    if path.suffix or os.sep in name or "/" in name:
        raise FileMissingError(f"Cellpose model {name!r} does not exist; check the path")
    raise InputError(
        f"unknown Cellpose model {name!r}; expected the path of a file or one of "
        f"{', '.join(_known_names(library))}"
    )


def _weights(library: CellposeLibrary, path: Path) -> Mapping[str, Any]:
    """The arrays of a file by name. Nothing in the file is executed."""
    # Gigabytes of Cellpose 4 stay on disk for this look; it maps its files itself, too.
    mapped = library.major == 4 and is_zipfile(path)
    try:
        weights = library.torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # whatever a damaged or hostile file provokes
        why = str(error).strip().partition("\n")[0].partition(". ")[0]
        raise FileFormatError(
            f"{path.name} is not a Cellpose model, is damaged, or holds more than numbers "
            f"({type(error).__name__}: {why}); expected a file of weights saved by Cellpose"
        ) from error
    is_tensor = library.torch.is_tensor
    if not (
        isinstance(weights, dict)
        and all(isinstance(key, str) and is_tensor(value) for key, value in weights.items())
    ):
        raise FileFormatError(
            f"{path.name} is a PyTorch file but no Cellpose model; expected a table of weights"
        )
    return weights


def _check_weights(library: CellposeLibrary, path: Path, weights: Mapping[str, Any]) -> None:
    """Refuse weights that the installed version would ignore or not find."""
    found = 4 if "W2" in weights else 3 if "output.2.weight" in weights else None
    if found is not None and found != library.major:
        raise FileFormatError(
            f"{path.name} is a model of Cellpose {found}, but {library.version} is installed; "
            f"pip install 'cellpose>={found},<{found + 1}', or give another model"
        )
    if library.major == 4:
        missing = [name for name in _CERTAIN_4 if name not in weights]
        if not any(name.startswith("encoder.") for name in weights):
            missing.append("encoder")
        wrong: list[str] = []
    else:
        expected = _layers_of_cellpose_3(library)
        missing = [
            name
            for name in expected
            if name not in weights and not name.endswith(_OPTIONAL_ENDINGS)
        ]
        wrong = [
            f"{name} of shape {tuple(weights[name].shape)} instead of {shape}"
            for name, shape in expected.items()
            if name in weights and tuple(weights[name].shape) != shape
        ]
    if missing or wrong:
        what = f"lacks {missing[0]}" if missing else f"has {wrong[0]}"
        raise FileFormatError(
            f"{path.name} is not a model of Cellpose {library.major}: it {what}; expected a file "
            "of weights saved by Cellpose"
        )


def _layers_of_cellpose_3(library: CellposeLibrary) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of the one network that Cellpose 3 builds."""
    network = import_module("cellpose.resnet_torch").CPnet
    with library.torch.device("meta"):
        state = network(list(_LAYERS_3), 3, sz=3).state_dict()
    return {name: tuple(value.shape) for name, value in state.items()}
