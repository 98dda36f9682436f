"""Numbers of molecules from light beside the truth, through the whole workflow.

Simulated cells with a known number of molecules, analysed with the true outlines and with those the
workflow finds: found over true number, and how often the 95 % interval holds the truth. Written to
``results/calibration_molecules.csv``.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import warnings
from pathlib import Path

import numpy as np

from aequorea.io import write_ome_tiff
from aequorea.model import Image
from aequorea.pipelines.confocal import analyse
from aequorea.simulate import ConfocalStack, PunctaLaw, simulated_confocal

PER_CELL = (25, 45, 100, 200)
SIZES = {"cell_diameter_um": 6.0, "nucleus_diameter_um": 3.0}


def stack_of(per_cell: int, seed: int) -> ConfocalStack:
    law = PunctaLaw(per_cell=per_cell, nuclear=0.0, brightness_cv=0.4)
    return simulated_confocal((18, 192, 192), n_cells=3, puncta={"mRNA": law}, rng=seed, **SIZES)


def found_beside_true(stack: ConfocalStack, folder: Path, own_outlines: bool) -> list[tuple]:
    """Of each cell: found over true, whether the interval holds, puncta counted over true."""
    image = Image(
        data=stack.stack(),
        axes="czyx",
        channels=tuple(stack.images),
        spacing_um=dict(zip("zyx", stack.spacing_um, strict=True)),
    )
    write_ome_tiff(image, folder / "stack.ome.tif")
    options = {
        "nuclei": {"channel": "nuclei"},
        "cells": {"channel": "cells"},
        "puncta": {"channel": "mRNA", "molecules": True, "molecule_light": 900.0},
        "nulls": {"n_simulations": 19, "point_curves": False},
        "detection": {"efficiency": False},
    }
    if not own_outlines:
        for role in ("nuclei", "cells"):
            np.save(folder / f"{role}.npy", getattr(stack, role))
            options[role]["labels"] = str(folder / f"{role}.npy")
    cells = analyse(folder / "stack.ome.tif", parameters=options, out=folder / "run").table("cells")
    rows = []
    for cell in cells.to_dict("records"):
        centre = [cell[f"{a}_um"] / s for a, s in zip("zyx", stack.spacing_um, strict=True)]
        own = stack.cells[tuple(np.rint(centre).astype(int))]
        n = int(np.count_nonzero(stack.puncta["mRNA"].cell == own))
        column = "puncta_molecules_cytosol"
        held = cell[f"{column}_low"] <= n <= cell[f"{column}_high"]
        rows.append((cell[column] / n, held, cell["puncta_n_cytosol"] / n))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stacks", type=int, default=6)
    default = Path(__file__).parent / "results" / "calibration_molecules.csv"
    parser.add_argument("--out", type=Path, default=default)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with options.out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(
            ["molecules_per_cell", "outlines", "n_cells", "mean_ratio", "sd_ratio", "covered",
             "counted_ratio"]
        )  # fmt: skip
        for per_cell in PER_CELL:
            for outlines in ("true", "found"):
                rows = []
                for seed in range(options.stacks):
                    with tempfile.TemporaryDirectory() as folder:
                        stack = stack_of(per_cell, seed)
                        rows += found_beside_true(stack, Path(folder), outlines == "found")
                ratio, held, counted = (
                    np.array(column, float) for column in zip(*rows, strict=True)
                )
                line = [per_cell, outlines, len(rows), ratio.mean(), ratio.std(), held.mean(),
                        counted.mean()]  # fmt: skip
                table.writerow([round(v, 3) if isinstance(v, float) else v for v in line])
                print(*line)


if __name__ == "__main__":
    main()
