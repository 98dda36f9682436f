from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aequorea
from aequorea.pipelines.colocalization import colocalize
from aequorea.simulate.colocalization import cell_pair


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Run the workflow on small simulated cells; returns the run directory."""
    made: dict[str, Path] = {}

    def make(
        name: str,
        *,
        channels: tuple[str, ...] = ("GFP", "Mito"),
        calibrated: bool = True,
        regions: bool = False,
        pixels: np.ndarray | None = None,
        axes: str = "cyx",
        settings: dict[str, Any] | None = None,
    ) -> Path:
        if name in made:
            return made[name]
        folder = tmp_path_factory.mktemp(name)
        pair = cell_pair((96, 96), n_cells=1, n_puncta=30, shared_fraction=0.6, rng=1)
        spacing = dict.fromkeys((a for a in axes if a in "zyx"), 0.1) if calibrated else {}
        data = np.stack([pair.a, pair.b]) if pixels is None else pixels
        image = aequorea.Image(data=data, axes=axes, channels=channels, spacing_um=spacing)
        aequorea.save(image, folder / "cells.ome.tif")
        parameters: dict[str, Any] = {
            "significance": {"n_shifts": 99},
            "objects": {"n_reshuffles": 19},
            **(settings or {}),
        }
        if regions:
            labels = pair.cells.astype(np.uint16)
            labels[:48][labels[:48] > 0] += 1
            aequorea.save(
                aequorea.Image(data=labels, axes="yx", spacing_um=spacing),
                folder / "regions.ome.tif",
            )
            parameters["regions"] = str(folder / "regions.ome.tif")
        run = colocalize(folder / "cells.ome.tif", parameters=parameters, out=folder / "run")
        made[name] = run.directory
        return run.directory

    return make
