"""Simulated nuclei with a marker whose truth is known."""

import numpy as np
import pytest

import aequorea
from aequorea.model import Image
from aequorea.simulate.nuclei import simulated_markers, simulated_nuclei

SPACING_UM = 0.325


@pytest.fixture(scope="session")
def scene():
    """40 nuclei, 40 % of them positive for the first marker, others for the second."""
    nuclei = simulated_nuclei((256, 256), n=40, diameter_px=20, rng=3)
    first = simulated_markers(nuclei, positive_fraction=0.4, rng=4)
    second = simulated_markers(nuclei, positive_fraction=0.5, rng=5)
    return nuclei, first, second


@pytest.fixture(scope="session")
def image_path(scene, tmp_path_factory):
    nuclei, first, second = scene
    path = tmp_path_factory.mktemp("cells") / "cells.ome.tif"
    data = np.stack([nuclei.image, first.image, second.image])
    spacing = {"y": SPACING_UM, "x": SPACING_UM}
    channels = ("DAPI", "GFP", "RFP")
    aequorea.save(Image(data=data, axes="cyx", channels=channels, spacing_um=spacing), path)
    return path


@pytest.fixture(scope="session")
def two_rois():
    """A plane cut in two unequal halves, with a gap outside both."""
    rois = np.zeros((256, 256), np.uint16)
    rois[:, :120] = 1
    rois[:, 130:] = 2
    return rois
