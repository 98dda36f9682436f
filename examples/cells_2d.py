"""Marker-positive cells in a 2D image, step by step: cells (``# %%``) run one by one."""

# %% Imports. Scripts written for CellColoc change only this line: from aequorea.cells import …
import sys
from pathlib import Path

import numpy as np

from aequorea.cells import (
    CellposeModelConfig,
    ChannelConfig,
    ColocalizationConfig,
    DisplayNames,
    RuntimeConfig,
    analyze_existing_masks,
    create_full_image_roi_labels,
    create_roi_drawing_viewer,
    export_analysis_outputs,
    extract_label_masks_from_viewer,
    load_analysis_images,
    load_roi_labels,
    refine_run_result_from_cellpose_cache,
    run_roi_cellpose_colocalization,
    save_roi_labels_from_shapes,
    show_analysis_results,
    try_load_roi_labels,
)

# %% Settings. Without your own file, simulated nuclei are used, of which 40 % are positive.
OUT = Path(sys.argv[1] if len(sys.argv) > 1 else "example-cells")
DATA_PATH = Path(sys.argv[2]) if len(sys.argv) > 2 else OUT / "nuclei.ome.tif"
if not DATA_PATH.exists():
    import aequorea
    from aequorea.simulate import simulated_markers, simulated_nuclei

    nuclei = simulated_nuclei((256, 256), n=40, diameter_px=20, rng=1)
    marker = simulated_markers(nuclei, positive_fraction=0.4, rng=2)
    channels = aequorea.Image(
        data=np.stack([nuclei.image, marker.image]), axes="cyx", channels=("DAPI", "GFP")
    )
    OUT.mkdir(exist_ok=True)
    aequorea.save(channels, DATA_PATH)

CHANNEL_CONFIG = ChannelConfig(cell_channel=0, marker_channel=1, optional_region_channel=None)
DISPLAY_NAMES = DisplayNames(cell="DAPI nuclei", marker="GFP")
VOXEL_SCALE_ZYX = (0.325, 0.325)  # µm; None takes it from the file
METHOD = "watershed"  # or "cellpose" with its extra installed, "otsu", "li", "percentile"
CELL_MODEL_CONFIG = CellposeModelConfig(
    model_name_or_path="cpsam", segmentation_method=METHOD, cellprob_threshold=-0.5
)
MARKER_MODEL_CONFIG = CellposeModelConfig(model_name_or_path="cpsam", segmentation_method=METHOD)
COLOCALIZATION_CONFIG = ColocalizationConfig(
    min_cell_voxels=50, overlap_fraction_threshold=0.02, min_overlap_voxels=10
)
RUNTIME_CONFIG = RuntimeConfig(draw_rois=False, open_results=False)  # True opens napari
USE_FULL_IMAGE_AS_SINGLE_ROI = True
REUSE_EXISTING_ROI_MASK_IF_AVAILABLE = True

# %% Load
loaded_images = load_analysis_images(
    source_path=DATA_PATH,
    channel_config=CHANNEL_CONFIG,
    voxel_scale_zyx=VOXEL_SCALE_ZYX,
    crop_for_testing=RUNTIME_CONFIG.crop_for_testing,
)
print(f"Results directory: {loaded_images.paths.results_dir}")

# %% Regions: the whole image, saved ones, or drawn in napari
existing = try_load_roi_labels(loaded_images.paths.roi_mask_path)
if USE_FULL_IMAGE_AS_SINGLE_ROI:
    roi_labels_2d = create_full_image_roi_labels(loaded_images.cell_image.shape[1:])
elif existing is not None and REUSE_EXISTING_ROI_MASK_IF_AVAILABLE:
    roi_labels_2d = existing
elif RUNTIME_CONFIG.draw_rois:
    import napari

    viewer, shapes_layer = create_roi_drawing_viewer(loaded_images, DISPLAY_NAMES)
    napari.run()
    roi_labels_2d = save_roi_labels_from_shapes(
        shapes_layer=shapes_layer,
        output_path=loaded_images.paths.roi_mask_path,
        image_shape_yx=loaded_images.cell_image.shape[1:],
        scale_yx=loaded_images.voxel_scale_zyx[1:],
    )
else:
    roi_labels_2d = load_roi_labels(loaded_images.paths.roi_mask_path)

# %% Segment, and call each cell positive or not
run_result = run_roi_cellpose_colocalization(
    loaded_images=loaded_images,
    roi_labels_2d=roi_labels_2d,
    cell_model_config=CELL_MODEL_CONFIG,
    marker_model_config=MARKER_MODEL_CONFIG,
    colocalization_config=COLOCALIZATION_CONFIG,
    runtime_config=RUNTIME_CONFIG,
)
print(run_result.tables.overview.iloc[:, :3])

# %% Look, and refine Cellpose's thresholds without running the network again
if METHOD == "cellpose":
    run_result = refine_run_result_from_cellpose_cache(
        loaded_images=loaded_images,
        roi_labels_2d=roi_labels_2d,
        run_result=run_result,
        colocalization_config=COLOCALIZATION_CONFIG,
        cell_cellprob_threshold=CELL_MODEL_CONFIG.cellprob_threshold - 1.0,
    )
if RUNTIME_CONFIG.open_results:
    import napari

    viewer = show_analysis_results(loaded_images, roi_labels_2d, run_result, DISPLAY_NAMES)
    napari.run()
    # labels corrected in napari take the place of those that were found
    cell_masks, marker_masks = extract_label_masks_from_viewer(viewer)
    run_result = analyze_existing_masks(
        loaded_images=loaded_images,
        roi_labels_2d=roi_labels_2d,
        cell_masks=cell_masks,
        marker_masks=marker_masks,
        colocalization_config=COLOCALIZATION_CONFIG,
        cell_refinement_context=run_result.cell_refinement_context,
        marker_refinement_context=run_result.marker_refinement_context,
    )

# %% Write masks, tables and the workbook
export_analysis_outputs(run_result=run_result, paths=loaded_images.paths)
print("Results exported.")
