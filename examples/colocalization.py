"""Two stains to numbers: a script to start from. Cells (``# %%``) run one by one in an editor."""

# %% Two channels. Replace these lines by your file:
#    image = aequorea.open("cells.nd2")
#    a, b = image.channel("GFP")[...], image.channel("mCherry")[...]
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import aequorea
from aequorea.colocalization import (
    COLUMNS,
    analyse_pairwise,
    costes_threshold,
    manders,
    pearson,
    significance,
)
from aequorea.pipelines.colocalization import colocalize
from aequorea.simulate.colocalization import cell_pair

out = Path(sys.argv[1] if len(sys.argv) > 1 else "example-output")
out.mkdir(exist_ok=True)
pair = cell_pair((256, 256), n_cells=4, shared_fraction=0.6, rng=1)
a, b, cells = pair.a, pair.b, pair.cells

# %% By hand, in one cell, after taking the camera's offset away.
background = np.median(a[cells == 0]), np.median(b[cells == 0])
first = cells == 1
a0, b0 = np.clip(a - background[0], 0, None), np.clip(b - background[1], 0, None)
r, _ = pearson(a0, b0, first)
m1, m2 = manders(a0, b0, *costes_threshold(a0, b0, first), first)
print(f"cell 1: r = {r:.3f}, M1 = {m1:.3f}, M2 = {m2:.3f}")

# %% More than chance? The null is said in words.
test = significance(a0, b0, mask=first)
print(f"expected by chance {test.expected:.3f}, p = {test.p_value:.3g}")
print(f"null hypothesis: {test.hypothesis}")

# %% All cells, as a table. A value that is undefined is NaN, and the row says why.
rows = analyse_pairwise(a0, b0, label_mask=cells, channel_a="A", channel_b="B")
print(pd.DataFrame(rows, columns=COLUMNS)[["region", "n_pixels", "pcc", "m1", "m2"]].round(3))

# %% Everything, with a page and tables: the same as `aequorea coloc` on the command line.
spacing_um = {"y": 0.1, "x": 0.1}
image = aequorea.Image(
    data=np.stack([a, b]), axes="cyx", channels=("A", "B"), spacing_um=spacing_um
)
labels = aequorea.Image(data=cells.astype(np.uint16), axes="yx", spacing_um=spacing_um)
aequorea.save(image, out / "cells.ome.tif", overwrite=True)
aequorea.save(labels, out / "regions.ome.tif", overwrite=True)
run = colocalize(
    out / "cells.ome.tif",
    parameters={"regions": str(out / "regions.ome.tif"), "background": {"background": "mode"}},
    out=out / "cells.aequorea",
)
print(run.report)
