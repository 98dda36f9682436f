"""A small simulated stack on disk, and a study of such stacks."""

from __future__ import annotations

import pytest

from aequorea.io import write_ome_tiff
from aequorea.model import Image
from aequorea.simulate import PunctaLaw, simulated_confocal

CHANNELS = {
    "nuclei": {"channel": "nuclei"},
    "cells": {"channel": "cells"},
    "puncta": {"channel": "Ryr2"},
    "protein": {"channel": "protein"},
    "nulls": {"n_simulations": 39},
}
SMALL = {"cell_diameter_um": 6.0, "nucleus_diameter_um": 3.0}


def write_stack(stack, path):
    """All channels of a simulated stack as OME-TIFF."""
    image = Image(
        data=stack.stack(),
        axes="czyx",
        channels=tuple(stack.images),
        spacing_um=dict(zip("zyx", stack.spacing_um, strict=True)),
    )
    write_ome_tiff(image, path)
    return path


@pytest.fixture(scope="session")
def channels():
    """Which channel is what, with few simulations."""
    return dict(CHANNELS)


@pytest.fixture(scope="session")
def small():
    """Cells that fit small images."""
    return dict(SMALL)


@pytest.fixture(scope="session")
def write():
    """:func:`write_stack`."""
    return write_stack


@pytest.fixture(scope="session")
def stack():
    return simulated_confocal(
        (18, 144, 144),
        n_cells=2,
        puncta={"Ryr2": PunctaLaw(per_cell=40, attraction=2.0)},
        n_hot_pixels=2,
        rng=3,
        **SMALL,
    )


@pytest.fixture(scope="session")
def stack_file(stack, tmp_path_factory):
    return write_stack(stack, tmp_path_factory.mktemp("stacks") / "cells.ome.tif")
