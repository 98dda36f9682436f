"""Numbers of molecules from light beside the truth, through the whole workflow.

Simulated cells with a known number of molecules, analysed with the true outlines and with those the
workflow finds: number over truth, how often the 95 % interval holds the truth, puncta counted over
truth, and how many of the molecules lie within the outlines at all (with the number over these).
Written to ``results/calibration_molecules.csv``.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aequorea.io import read_labels, write_ome_tiff
from aequorea.model import Image
from aequorea.pipelines.confocal import analyse
from aequorea.pipelines.confocal.anatomy import Anatomy
from aequorea.simulate import ConfocalStack, PunctaLaw, simulated_confocal

if TYPE_CHECKING:
    from collections.abc import Iterator

PHOTONS, CV = 900.0, 0.4


class Case(NamedTuple):
    """Cells of one size with so many molecules each."""

    diameter_um: float
    per_cell: int
    shape: tuple[int, int, int]
    n_cells: int


SMALL, LARGE = ((18, 192, 192), 3), ((36, 320, 320), 1)
CASES = (
    *(Case(6.0, n, *SMALL) for n in (25, 45, 100, 200)),
    *(Case(14.0, n, *LARGE) for n in (200, 600)),
)


def stack_of(case: Case, seed: int) -> ConfocalStack:
    law = PunctaLaw(per_cell=case.per_cell, nuclear=0.0, photons=PHOTONS, brightness_cv=CV)
    return simulated_confocal(
        case.shape,
        n_cells=case.n_cells,
        puncta={"mRNA": law},
        cell_diameter_um=case.diameter_um,
        nucleus_diameter_um=case.diameter_um / 2,
        rng=seed,
    )


def analysed(stack: ConfocalStack, folder: Path, outlines: str) -> tuple[Any, Anatomy]:
    image = Image(
        data=stack.stack(),
        axes="czyx",
        channels=tuple(stack.images),
        spacing_um=dict(zip("zyx", stack.spacing_um, strict=True)),
    )
    write_ome_tiff(image, folder / "stack.ome.tif")
    options: dict[str, Any] = {
        "nuclei": {"channel": "nuclei"},
        "cells": {"channel": "cells"},
        "puncta": {"channel": "mRNA", "molecules": True, "molecule_light": PHOTONS},
        "nulls": {"n_simulations": 19, "point_curves": False},
        "detection": {"efficiency": False},
    }
    if outlines == "true":
        for role in ("nuclei", "cells"):
            np.save(folder / f"{role}.npy", getattr(stack, role))
            options[role]["labels"] = str(folder / f"{role}.npy")
    run = analyse(folder / "stack.ome.tif", parameters=options, out=folder / "run")
    found = (
        np.asarray(read_labels(run.directory / f"labels/{role}.ome.tif", stack.cells.shape))
        for role in ("cells", "nuclei")
    )
    return run.table("cells"), Anatomy(*found, stack.spacing_um)


def beside_truth(stack: ConfocalStack, cells: Any, anatomy: Anatomy) -> Iterator[tuple[float, ...]]:
    """Of each cell: its number over truth, held, counted, inside, and number over those inside."""
    truth = stack.puncta["mRNA"]
    place = np.rint(truth.position_px).astype(int)
    place = np.clip(place, 0, np.array(stack.cells.shape) - 1)
    within = anatomy.cytosol[tuple(place.T)]
    for cell in cells.to_dict("records"):
        shared = stack.cells[anatomy.cells == cell["cell"]]
        own = int(np.bincount(shared)[1:].argmax()) + 1
        n, inside = np.count_nonzero(truth.cell == own), np.count_nonzero(within == cell["cell"])
        number = cell["puncta_molecules_cytosol"]
        low, high = (cell[f"puncta_molecules_cytosol_{side}"] for side in ("low", "high"))
        yield (number / n, low <= n <= high, cell["puncta_n_cytosol"] / n, inside / n,
               number / inside)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stacks", type=int, default=4)
    default = Path(__file__).parent / "results" / "calibration_molecules.csv"
    parser.add_argument("--out", type=Path, default=default)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with options.out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(
            ["diameter_um", "molecules_per_cell", "outlines", "n_cells", "over_truth", "sd",
             "covered", "counted", "inside_outlines", "over_those_inside"]
        )  # fmt: skip
        for case in CASES:
            for outlines in ("true", "found"):
                rows: list[tuple[float, ...]] = []
                for seed in range(options.stacks):
                    stack = stack_of(case, seed)
                    with tempfile.TemporaryDirectory() as folder:
                        rows += beside_truth(stack, *analysed(stack, Path(folder), outlines))
                number, held, counted, inside, over = np.array(rows, dtype=float).T
                figures = (number.mean(), number.std(), held.mean(), counted.mean(),
                           inside.mean(), over.mean())  # fmt: skip
                line = [case.diameter_um, case.per_cell, outlines, len(rows)]
                line += [round(float(v), 3) for v in figures]
                table.writerow(line)
                print(*line, flush=True)


if __name__ == "__main__":
    main()
