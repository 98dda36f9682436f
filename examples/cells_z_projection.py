"""Cells of a stack, counted in some of its planes, projected to one."""

# %% Imports
import sys
from pathlib import Path

import numpy as np

import aequorea
from aequorea.cells import (
    CellposeModelConfig,
    ChannelConfig,
    ColocalizationConfig,
    RuntimeConfig,
    create_full_image_roi_labels,
    load_analysis_images,
    run_roi_cellpose_colocalization,
)
from aequorea.simulate import simulated_nuclei

# %% A stack: replace these lines by your file
out = Path(sys.argv[1] if len(sys.argv) > 1 else "example-cells")
out.mkdir(exist_ok=True)
nuclei = simulated_nuclei((16, 96, 96), n=12, diameter_px=16, spacing_um=(0.5, 0.2, 0.2), rng=1)
data_path = out / "stack.ome.tif"
image = aequorea.Image(
    data=np.stack([nuclei.image, nuclei.image]),
    axes="czyx",
    channels=("DAPI", "GFP"),
    spacing_um={"z": 0.5, "y": 0.2, "x": 0.2},
)
aequorea.save(image, data_path, overwrite=True)

# %% Planes 4 to 11, maximum projection: one setting for both channels
loaded = load_analysis_images(data_path, ChannelConfig(cell_channel=0, marker_channel=1))
config = CellposeModelConfig(
    "cpsam", segmentation_method="watershed", z_crop=(4, 12), z_projection="max"
)
result = run_roi_cellpose_colocalization(
    loaded_images=loaded,
    roi_labels_2d=create_full_image_roi_labels(loaded.cell_image.shape[1:]),
    cell_model_config=config,
    marker_model_config=config,
    colocalization_config=ColocalizationConfig(min_cell_voxels=20),
    runtime_config=RuntimeConfig(),
)
print(result.tables.overview.iloc[:, :4])
