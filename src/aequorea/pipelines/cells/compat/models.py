"""Segmentation functions of CellColoc's surface: models, single images, the third channel."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import InputError
from aequorea.pipelines.cells.compat.regions import checked_rois
from aequorea.pipelines.cells.compat.results import OptionalRegionSegmentationResult
from aequorea.pipelines.cells.fields import as_stack
from aequorea.pipelines.cells.segmenting import label, respond, without_small_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aequorea.pipelines.cells.compat.configs import (
        CellposeModelConfig,
        OptionalRegionSegmentationConfig,
    )
    from aequorea.segmentation.cellpose_models import CellposeNetwork

_MODELS = {3: ("cyto3", "cyto2", "cyto", "nuclei"), 4: ("cpsam",)}


def get_cellpose_major_version() -> int | None:
    """Major version of the Cellpose that is installed; ``None`` without one."""
    try:
        return int(metadata.version("cellpose").split(".", 1)[0])
    except metadata.PackageNotFoundError:
        return None


def get_available_cellpose_model_names() -> tuple[str, ...]:
    """Names of models that the installed Cellpose knows; none without Cellpose."""
    version = get_cellpose_major_version()
    return () if version is None else _MODELS[3 if version < 4 else 4]


def evaluate_cellpose_model(
    image_zyx: NDArray[Any],
    config: CellposeModelConfig,
    voxel_scale_zyx: Sequence[float | None] = (None, None, None),
    *,
    use_gpu: bool = True,
) -> NDArray[np.int32]:
    """Labels of one image by the method of a configuration, over the whole plane.

    Parameters
    ----------
    image_zyx : ndarray, shape (z, y, x) or (y, x)
    config : CellposeModelConfig
    voxel_scale_zyx : sequence of float or None, µm
    use_gpu : bool

    Returns
    -------
    ndarray of int32, shape (z, y, x)
    """
    stack = as_stack(np.asarray(image_zyx))
    whole = np.ones(stack.shape[-2:], np.uint8)
    options = config.parameters()
    parts = respond(stack, whole, options, spacing_um=tuple(voxel_scale_zyx), use_gpu=use_gpu)
    return label(parts, stack, whole, options, whole=True).labels


def relabel_with_offset(labels: NDArray[Any], offset: int) -> tuple[NDArray[np.int32], int]:
    """Objects numbered from ``offset`` + 1 without gaps, and the last number.

    Examples
    --------
    >>> relabel_with_offset(np.array([0, 7, 3]), 10)
    (array([ 0, 12, 11], dtype=int32), 12)
    """
    array = np.asarray(labels)
    present = np.unique(array)
    present = present[present > 0]
    numbers = np.where(array > 0, np.searchsorted(present, array) + 1 + offset, 0)
    return numbers.astype(np.int32), offset + len(present)


def filter_labels_by_size(labels: NDArray[Any], min_voxels: int) -> NDArray[np.int32]:
    """Labels without objects of fewer voxels; the others keep their numbers."""
    return without_small_labels(np.asarray(labels).astype(np.int32), min_voxels)


def segment_optional_region(
    image: NDArray[Any],
    roi_labels_2d: NDArray[Any],
    config: OptionalRegionSegmentationConfig,
) -> OptionalRegionSegmentationResult:
    """A third channel as one region, with one threshold over all ROIs together.

    Parameters
    ----------
    image : ndarray, shape (z, y, x)
    roi_labels_2d : ndarray of int, shape (y, x)
    config : OptionalRegionSegmentationConfig

    Returns
    -------
    OptionalRegionSegmentationResult
        Nothing found is an empty mask and a threshold of NaN.

    Raises
    ------
    InputError
        If it is not enabled, or the ROIs are of another image.
    """
    if not config.enabled:
        raise InputError("OptionalRegionSegmentationConfig: enabled is off; switch it on")
    stack = as_stack(np.asarray(image))
    rois = checked_rois(roi_labels_2d, stack.shape[-2:])
    options = config.parameters()
    together = (rois > 0).astype(np.uint8)
    parts = respond(stack, together, options, spacing_um=(None, None, None))
    found = label(parts, stack, together, options, whole=False)
    corrected = np.zeros(stack.shape, np.float32)
    for part in parts:
        where = (slice(None), *part.where)
        filtered = part.response.arrays["filtered"].reshape(corrected[where].shape)
        corrected[where] = filtered
    threshold = parts[0].response.facts.get("threshold")
    return OptionalRegionSegmentationResult(
        mask=found.labels > 0,
        labels=found.labels,
        threshold=float("nan") if threshold is None else float(threshold),
        corrected_image=corrected,
    )


def create_cellpose_model(model_name_or_path: str, use_gpu: bool = True) -> CellposeNetwork:
    """Load a network, from its file or by name; it is kept for later calls.

    Raises
    ------
    InputError
        If Cellpose is not installed, or the model does not exist or cannot be fetched.
    """
    from aequorea.segmentation.cellpose_models import (
        cellpose_library,
        choose_device,
        load_network,
    )

    library = cellpose_library()
    return load_network(library, model_name_or_path, choose_device(library, use_gpu=use_gpu))


def create_cellpose_models_for_channels(
    cell_model_config: CellposeModelConfig,
    marker_model_config: CellposeModelConfig,
    use_gpu: bool = True,
) -> tuple[CellposeNetwork | None, CellposeNetwork | None]:
    """The networks of both channels, one object where both use the same; None for thresholds."""
    first, second = (
        create_cellpose_model(c.model_name_or_path, use_gpu)
        if c.segmentation_method == "cellpose"
        else None
        for c in (cell_model_config, marker_model_config)
    )
    return first, second
