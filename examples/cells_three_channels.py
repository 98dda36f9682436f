"""Cells, two markers, double positives: the third channel by its own segmentation."""

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
    count,
    create_full_image_roi_labels,
    export_analysis_outputs,
    load_analysis_images,
    run_roi_cellpose_colocalization,
)
from aequorea.simulate import simulated_markers, simulated_nuclei

# %% An image: replace these lines by your file
out = Path(sys.argv[1] if len(sys.argv) > 1 else "example-cells")
out.mkdir(exist_ok=True)
nuclei = simulated_nuclei((256, 256), n=40, diameter_px=20, rng=1)
markers = [simulated_markers(nuclei, positive_fraction=0.5, rng=k) for k in (2, 3)]
data_path = out / "three-channels.ome.tif"
stack = np.stack([nuclei.image, *(m.image for m in markers)])
spacing = {"y": 0.325, "x": 0.325}
image = aequorea.Image(data=stack, axes="cyx", channels=("DAPI", "GFP", "RFP"), spacing_um=spacing)
aequorea.save(image, data_path, overwrite=True)

# %% Load, segment, call
loaded = load_analysis_images(data_path, ChannelConfig(0, 1, 2))
watershed = CellposeModelConfig("cpsam", segmentation_method="watershed")
result = run_roi_cellpose_colocalization(
    loaded_images=loaded,
    roi_labels_2d=create_full_image_roi_labels(loaded.cell_image.shape[1:]),
    cell_model_config=watershed,
    marker_model_config=watershed,
    optional_region_model_config=watershed,
    colocalization_config=ColocalizationConfig(
        min_cell_voxels=50, evaluate_optional_region_cell_positivity=True
    ),
    runtime_config=RuntimeConfig(),
)
overview = result.tables.overview
print(overview[["n_cells", "n_marker_positive_cells", "n_optional_region_positive_cells",
                "n_marker_and_optional_region_positive_cells"]])  # fmt: skip
export_analysis_outputs(result, loaded.paths)

# %% The same for any number of markers, with a page, combinations and what chance would give
run = count(
    data_path,
    parameters={"cell": {"channel": "DAPI"}, "marker": {"channel": "GFP"},
                "marker2": {"channel": "RFP"}},
    out=out / "three-channels.aequorea",
)  # fmt: skip
print(run.table("phenotypes")[["phenotype", "observed", "expected", "p_value"]])
print(run.report)
