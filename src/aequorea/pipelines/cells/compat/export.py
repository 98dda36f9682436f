"""Results beside the data, under the names that users of CellColoc expect."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import OutputError
from aequorea.io import write_ome_tiff, write_ome_zarr
from aequorea.io.atomic import replacing
from aequorea.model import Image
from aequorea.pipelines.kept_pixels import smallest_unsigned
from aequorea.pipelines.run.provenance import sha256_path, versions
from aequorea.pipelines.workbook import write_workbook

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from aequorea.pipelines.cells.compat.results import (
        ColocalizationRunResult,
        OptionalRegionSegmentationResult,
        ResultsPaths,
        SingleChannelResultsPaths,
        SingleChannelRunResult,
        VoxelScale,
    )

_UNCALIBRATED: VoxelScale = (None, None, None)


def export_analysis_outputs(
    run_result: ColocalizationRunResult,
    paths: ResultsPaths,
    optional_region_result: OptionalRegionSegmentationResult | None = None,
    *,
    voxel_scale_zyx: VoxelScale | None = None,
    keep_previous: bool = True,
) -> None:
    """Write masks, one CSV file per table, the workbook and the record of a run.

    Parameters
    ----------
    run_result : ColocalizationRunResult
    paths : ResultsPaths
        Its folder is made if need be.
    optional_region_result : OptionalRegionSegmentationResult, optional
    voxel_scale_zyx : (z, y, x) in µm, optional
        Of the masks; that of the run if not given.
    keep_previous : bool, default True
        Whether results that are there already move to ``previous`` rather than being replaced.

    Raises
    ------
    OutputError
        If the folder cannot be written.

    Notes
    -----
    Masks are calibrated OME-TIFF under the reference's names, and together with the ROIs an
    OME-Zarr. ``<stem>_cells.json`` says how all was made.
    """
    tables = run_result.tables
    sheets = {
        "detailed_overlaps": tables.detailed,
        "cell_summary": tables.summary,
        "marker_properties": tables.marker_properties,
        "3rd_channel_properties": tables.third_channel_properties,
        "roi_coloc_overview": tables.overview,
        "roi_cell_summary": tables.roi_cell_summary,
        "roi_marker_summary": tables.roi_marker_summary,
        "roi_3rd_channel_summary": tables.roi_third_channel_summary,
        "thresholds": tables.thresholds,
        "label_changes": tables.label_changes,
    }
    masks = {
        paths.cell_mask_path: run_result.cell_masks,
        paths.marker_mask_path: run_result.marker_masks,
        paths.positive_cell_mask_path: run_result.positive_cell_masks,
    }
    third = run_result.optional_region_masks
    if third is None and optional_region_result is not None:
        third = optional_region_result.labels
    if third is not None:
        masks[paths.optional_region_mask_path] = third
    _export(
        paths.results_dir,
        paths.source_path,
        masks,
        {name: table for name, table in sheets.items() if table is not None},
        first_csv=("detailed_overlaps", paths.detailed_csv_path),
        excel_path=paths.excel_path,
        spacing=voxel_scale_zyx or run_result.settings.get("voxel_scale_zyx") or _UNCALIBRATED,
        settings=run_result.settings,
        keep_previous=keep_previous,
    )


def export_single_channel_outputs(
    run_result: SingleChannelRunResult,
    paths: SingleChannelResultsPaths,
    *,
    voxel_scale_zyx: VoxelScale | None = None,
    keep_previous: bool = True,
) -> None:
    """Write masks, tables and the record of a single channel; see the other export."""
    tables = run_result.tables
    sheets = {
        "object_summary": tables.objects,
        "voxel_plausibility_check": tables.voxel_plausibility,
        "roi_overview": tables.overview,
        "thresholds": tables.thresholds,
        "label_changes": tables.label_changes,
    }
    _export(
        paths.results_dir,
        paths.source_path,
        {paths.mask_path: run_result.masks},
        {name: table for name, table in sheets.items() if table is not None},
        first_csv=("object_summary", paths.object_csv_path),
        excel_path=paths.excel_path,
        spacing=voxel_scale_zyx or run_result.settings.get("voxel_scale_zyx") or _UNCALIBRATED,
        settings=run_result.settings,
        keep_previous=keep_previous,
    )


def _export(
    folder: Path,
    source: Path,
    masks: Mapping[Path, NDArray[Any]],
    tables: Mapping[str, pd.DataFrame],
    *,
    first_csv: tuple[str, Path],
    excel_path: Path,
    spacing: VoxelScale,
    settings: Mapping[str, Any],
    keep_previous: bool,
) -> None:
    stem = source.stem
    record_path = folder / f"{stem}_cells.json"
    zarr_path = folder / f"{stem}_masks.ome.zarr"
    csv = {
        name: first_csv[1] if name == first_csv[0] else folder / f"{stem}_{name}.csv"
        for name in tables
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        targets = [*masks, *csv.values(), excel_path, record_path, zarr_path]
        if keep_previous:
            _put_aside(folder, targets)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror or error}); give results_dir another "
            "folder"
        ) from None
    for path, labels in masks.items():
        write_ome_tiff(_image(labels, path.stem, spacing), path, overwrite=True)
    _write_zarr(zarr_path, masks, spacing, stem)
    for name, table in tables.items():
        with replacing(csv[name], overwrite=True) as temporary:
            table.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")
    write_workbook(excel_path, tables, overwrite=True)
    record = {
        "source": str(source),
        "source_sha256": sha256_path(source) if source.exists() else None,
        "voxel_scale_zyx_um": list(spacing),
        "settings": settings,
        "versions": versions(),
        "files": {
            p.name: sha256_path(p) for p in [*masks, *csv.values(), excel_path] if p.is_file()
        },
    }
    with replacing(record_path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")


def _write_zarr(
    path: Path, masks: Mapping[Path, NDArray[Any]], spacing: VoxelScale, stem: str
) -> None:
    """All masks of a run in one OME-Zarr, the cells (or only masks) as the image itself."""
    images = [
        _image(labels, p.stem.removeprefix(f"{stem}_"), spacing) for p, labels in masks.items()
    ]
    named = {i.channels[0]: np.asarray(i) for i in images}
    write_ome_zarr(images[0], path, labels=named, overwrite=True)


def _image(labels: NDArray[Any], name: str, spacing: VoxelScale) -> Image:
    kept = smallest_unsigned(labels[0] if labels.ndim == 3 and len(labels) == 1 else labels)
    axes = "zyx"[-kept.ndim :]
    return Image(
        data=kept,
        axes=axes,
        channels=(name,),
        spacing_um={a: s for a, s in zip("zyx", spacing, strict=True) if a in axes},
    )


def _put_aside(folder: Path, targets: list[Path]) -> None:
    """Move earlier results to ``previous/1``, then ``previous/2`` and so on."""
    there = [p for p in targets if p.exists()]
    if not there:
        return
    shelf = folder / "previous"
    shelf.mkdir(exist_ok=True)
    taken = [int(p.name) for p in shelf.iterdir() if p.name.isdigit()]
    place = shelf / str(max(taken, default=0) + 1)
    place.mkdir()
    for path in there:
        path.replace(place / path.name)
