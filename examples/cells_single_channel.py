"""Objects of one channel, per region: how many, how large, how bright."""

# %% Imports
import sys
from pathlib import Path

import aequorea
from aequorea.cells import (
    CellposeModelConfig,
    RuntimeConfig,
    SingleChannelAnalysisConfig,
    SingleChannelConfig,
    create_full_image_roi_labels,
    export_single_channel_outputs,
    load_single_channel_image,
    run_roi_single_channel_segmentation,
)
from aequorea.simulate import simulated_nuclei

# %% An image: replace these lines by your file
out = Path(sys.argv[1] if len(sys.argv) > 1 else "example-cells")
out.mkdir(exist_ok=True)
nuclei = simulated_nuclei((256, 256), n=40, diameter_px=20, rng=1)
data_path = out / "one-channel.ome.tif"
aequorea.save(aequorea.Image(data=nuclei.image, axes="yx"), data_path, overwrite=True)

# %% Load, segment, measure
loaded = load_single_channel_image(data_path, SingleChannelConfig(channel_index=0), (0.325, 0.325))
rois = create_full_image_roi_labels(loaded.image.shape[1:])
result = run_roi_single_channel_segmentation(
    loaded,
    rois,
    CellposeModelConfig("cpsam", segmentation_method="watershed"),
    SingleChannelAnalysisConfig(min_object_voxels=50),
    RuntimeConfig(),
)
print(result.tables.overview[["roi_id", "n_objects"]])

# %% Write masks, tables and the workbook
export_single_channel_outputs(result, loaded.paths)
