"""What CellColoc's functions hand on: images, paths, tables, caches. Same names, same fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from aequorea.pipelines.cells.segmenting import RegionResponse
    from aequorea.segmentation.parameters import SegmentationParameters

VoxelScale = tuple[float | None, float | None, float | None]
ZBounds = tuple[int, int]


@dataclass(kw_only=True)
class ResultsPaths:
    """Where results of a file go; nothing is made before something is written."""

    source_path: Path
    results_dir: Path
    roi_mask_path: Path
    detailed_csv_path: Path
    excel_path: Path
    cell_mask_path: Path
    marker_mask_path: Path
    positive_cell_mask_path: Path
    optional_region_mask_path: Path


@dataclass(kw_only=True)
class SingleChannelResultsPaths:
    """Where results of a single channel go."""

    source_path: Path
    results_dir: Path
    roi_mask_path: Path
    object_csv_path: Path
    excel_path: Path
    mask_path: Path


@dataclass(kw_only=True)
class LoadedImageChannels:
    """The channels that are analysed, shape (z, y, x); a 2D image has z = 1.

    ``voxel_scale_zyx`` is in µm, ``None`` where neither the file nor the caller gives it.
    """

    source_path: Path
    paths: ResultsPaths
    voxel_scale_zyx: VoxelScale
    cell_image: NDArray[Any]
    marker_image: NDArray[Any]
    optional_region_image: NDArray[Any] | None = None
    raw_shape_tzcyx: tuple[int, ...] = ()
    raw_z_size: int = 1
    is_3d: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    analysis_z_bounds: ZBounds | None = None
    z_projection_method: str | None = None


@dataclass(kw_only=True)
class LoadedSingleChannelImage:
    """The one channel that is analysed, shape (z, y, x)."""

    source_path: Path
    paths: SingleChannelResultsPaths
    voxel_scale_zyx: VoxelScale
    image: NDArray[Any]
    raw_shape_tzcyx: tuple[int, ...] = ()
    raw_z_size: int = 1
    is_3d: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    analysis_z_bounds: ZBounds | None = None
    z_projection_method: str | None = None


@dataclass(kw_only=True)
class OptionalRegionSegmentationResult:
    """A third channel as one thresholded region."""

    mask: NDArray[np.bool_]
    labels: NDArray[np.int32]
    threshold: float
    corrected_image: NDArray[Any]


@dataclass(kw_only=True)
class ColocalizationTables:
    """Tables of a run.

    ``thresholds`` says what each method used in each ROI; ``label_changes`` what hand edits did.
    """

    detailed: pd.DataFrame
    summary: pd.DataFrame
    overview: pd.DataFrame
    marker_properties: pd.DataFrame | None = None
    third_channel_properties: pd.DataFrame | None = None
    roi_cell_summary: pd.DataFrame | None = None
    roi_marker_summary: pd.DataFrame | None = None
    roi_third_channel_summary: pd.DataFrame | None = None
    thresholds: pd.DataFrame | None = None
    label_changes: pd.DataFrame | None = None


@dataclass(kw_only=True)
class SingleChannelTables:
    """Tables of a single channel."""

    objects: pd.DataFrame
    voxel_plausibility: pd.DataFrame
    overview: pd.DataFrame
    thresholds: pd.DataFrame | None = None
    label_changes: pd.DataFrame | None = None


@dataclass(kw_only=True)
class CellposeRefinementRoiCache:
    """The network's output in one ROI, from which masks are rebuilt."""

    roi_id: int
    y_min: int
    y_max: int
    x_min: int
    x_max: int
    roi_mask_crop_2d: NDArray[np.bool_]
    shape_for_masks: tuple[int, ...]
    dP: NDArray[Any] | None  # noqa: N815 - the reference's name
    cellprob: NDArray[Any] | None
    do_3d: bool
    niter: int | None
    min_size: int | None
    max_size_fraction: float | None
    flow_threshold: float
    cellprob_threshold: float
    part: RegionResponse


@dataclass(kw_only=True)
class CellposeChannelRefinementContext:
    """What is needed to rebuild the masks of a channel, and the masks as they were found.

    ``model`` is None: masks are rebuilt without it, in any process. ``config`` is the
    configuration in force, ``facts`` what the method found in each ROI; ``masks_given`` says that
    the masks of the run were brought by somebody, such as corrected by hand.
    """

    model: None = None
    model_name_or_path: str | None = None
    roi_caches: list[CellposeRefinementRoiCache] = field(default_factory=list)
    options: SegmentationParameters
    config: Mapping[str, Any] = field(default_factory=dict)
    facts: Sequence[Mapping[str, Any]] = ()
    found_masks: NDArray[np.int32]
    masks_given: bool = False


@dataclass(kw_only=True)
class ColocalizationRunResult:
    """Masks and tables of a run.

    ``small_cell_masks`` has the cells below ``min_cell_voxels``, which a refinement may ask back.
    """

    cell_masks: NDArray[np.int32]
    marker_masks: NDArray[np.int32]
    positive_cell_masks: NDArray[np.int32]
    tables: ColocalizationTables
    optional_region_masks: NDArray[np.int32] | None = None
    analysis_z_bounds: ZBounds | None = None
    cell_refinement_context: CellposeChannelRefinementContext | None = None
    marker_refinement_context: CellposeChannelRefinementContext | None = None
    optional_region_refinement_context: CellposeChannelRefinementContext | None = None
    small_cell_masks: NDArray[np.int32] | None = None
    z_projection_method: str | None = None
    process_rois: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class SingleChannelRunResult:
    """Masks and tables of a single channel.

    ``small_masks`` has the objects below ``min_object_voxels``, which a refinement may ask back.
    """

    masks: NDArray[np.int32]
    tables: SingleChannelTables
    analysis_z_bounds: ZBounds | None = None
    refinement_context: CellposeChannelRefinementContext | None = None
    small_masks: NDArray[np.int32] | None = None
    z_projection_method: str | None = None
    process_rois: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
