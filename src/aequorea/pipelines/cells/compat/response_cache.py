"""Network outputs of earlier calls, found by content: image, ROI, model and early options."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, RunError
from aequorea.io.atomic import replacing
from aequorea.pipelines.cells.responses import read_responses, write_responses
from aequorea.pipelines.cells.segmenting import respond
from aequorea.pipelines.run.provenance import sha256_json, sha256_path
from aequorea.segmentation.backends import backend
from aequorea.segmentation.parameters import PREFILTER_FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aequorea.pipelines.cells.segmenting import RegionResponse
    from aequorea.segmentation.parameters import SegmentationParameters

NETWORKS = frozenset({"cellpose", "stardist"})


def cached_responses(
    image: NDArray[Any],
    rois: NDArray[Any],
    options: SegmentationParameters,
    *,
    spacing_um: Sequence[float | None],
    use_gpu: bool,
    cache: Path | None,
) -> list[RegionResponse]:
    """The costly half of a segmentation, from the folder ``cache`` if it is there.

    Only networks are cached: filters take no longer than reading a file. A folder that cannot be
    written is told, and the output kept in memory.
    """
    looked_up = cache is not None and options.method in NETWORKS
    place = None
    if cache is not None and looked_up:
        place = cache / f"{_key(image, rois, options, spacing_um)}.zarr"
        if place.exists():
            try:
                return read_responses(place)
            except RunError:
                shutil.rmtree(place)  # of an older version, or damaged: made again below
    responses = respond(image, rois, options, spacing_um=spacing_um, use_gpu=use_gpu)
    if place is not None:
        _keep(place, responses)
    return responses


def _keep(place: Path, responses: Sequence[RegionResponse]) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place, overwrite=True) as temporary:
            write_responses(temporary, responses)
    except OSError as error:
        warnings.warn(
            f"{place.parent}: cannot be written ({error.strerror or error}); the network's output "
            "is kept in memory only (give results_dir another folder)",
            AequoreaWarning,
            stacklevel=3,
        )


def _key(
    image: NDArray[Any],
    rois: NDArray[Any],
    options: SegmentationParameters,
    spacing_um: Sequence[float | None],
) -> str:
    method = backend(options.method)
    dumped = options.model_dump(mode="json")
    dumped.pop("model")
    return sha256_json(
        {
            "image": _content(image),
            "rois": _content(rois),
            "method": [method.name, method.version],
            "model": _model(options),
            "options": {
                k: dumped[k] for k in sorted((method.early | PREFILTER_FIELDS) - {"model"})
            },
            "spacing_um": list(spacing_um),
        }
    )


def _model(options: SegmentationParameters) -> str | None:
    """A model by its name, or by what is in its file (Cellpose) or folder (StarDist)."""
    if options.model is None:
        return None
    path = Path(options.model).expanduser()
    is_given = path.is_dir() if options.method == "stardist" else path.is_file()
    return sha256_path(path) if is_given else options.model


def _content(array: NDArray[Any]) -> list[Any]:
    values = np.ascontiguousarray(array)
    return [values.dtype.str, list(values.shape), hashlib.sha256(values.data).hexdigest()]
