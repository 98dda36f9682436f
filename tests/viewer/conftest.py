"""napari with a display of its own, and small images to look at."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.conftest import skip_or_fail

from aequorea.viewer.layers import is_open


@pytest.fixture(scope="session")
def napari(tmp_path_factory):
    """Its settings are its own: nothing of the user is read or changed."""
    os.environ["NAPARI_CONFIG"] = str(tmp_path_factory.mktemp("napari") / "settings.yaml")
    try:
        return importlib.import_module("napari")
    except ImportError as error:
        skip_or_fail("napari", f"napari is not installed ({error})")


@pytest.fixture
def model(napari):
    """A viewer without a window."""
    return importlib.import_module("napari.components").ViewerModel()


@pytest.fixture(scope="session")
def display(tmp_path_factory):
    """Screen that windows open on: one of our own, so that they do not flash up on a desktop."""
    server = shutil.which("Xvfb")
    if server is None:
        skip_or_fail("xvfb", "Xvfb is not installed")
    log = tmp_path_factory.mktemp("display") / "log"
    reading, writing = os.pipe()
    with log.open("wb") as told:
        running = subprocess.Popen(  # noqa: S603 - our own command line
            [str(server), "-displayfd", str(writing), "-screen", "0", "1280x800x24"],
            pass_fds=[writing],
            stderr=told,
        )
    os.close(writing)
    with os.fdopen(reading) as number:
        name = f":{number.readline().strip()}"
    os.environ |= {"DISPLAY": name, "QT_QPA_PLATFORM": "xcb", "LIBGL_ALWAYS_SOFTWARE": "1"}
    yield name
    running.terminate()
    running.wait(timeout=20)


@pytest.fixture
def windows(display, napari):
    """napari with a screen; windows that a test leaves open are closed."""
    yield napari
    for viewer in list(napari.Viewer._instances):
        if is_open(viewer):  # napari keeps those that were closed by hand, and cannot close them
            viewer.close()


@pytest.fixture
def names():
    return SimpleNamespace(
        cell="DAPI", marker="Iba1", optional_region="GFAP", positive_cells="Iba1+ nuclei"
    )


def scene(depth: int, *, third: bool = False, scale=(2.0, 0.5, 0.4), bounds=None):
    """Images, regions and the result of a run."""
    shape = (depth, 30, 40)
    rng = np.random.default_rng(1)
    images = SimpleNamespace(
        source_path=Path("nuclei.ome.tif"),
        voxel_scale_zyx=scale,
        cell_image=rng.integers(0, 500, shape).astype(np.uint16),
        marker_image=rng.normal(100, 20, shape).astype(np.float32),
        optional_region_image=rng.integers(0, 90, shape).astype(np.uint8) if third else None,
        is_3d=depth > 1,
        analysis_z_bounds=bounds,
    )
    regions = np.zeros(shape[1:], np.uint16)
    regions[2:20, 3:15], regions[10:28, 20:38] = 1, 2
    cells = np.zeros(shape, np.int32)
    cells[:, 5:10, 5:10], cells[:, 12:18, 22:30] = 1, 2
    markers = np.zeros(shape, np.int32)
    markers[:, 14:17, 24:28] = 1
    result = SimpleNamespace(
        cell_masks=cells,
        marker_masks=markers,
        positive_cell_masks=np.where(cells == 2, cells, 0),
        optional_region_masks=(markers * 3) if third else None,
        analysis_z_bounds=bounds,
    )
    return images, regions, result


@pytest.fixture
def make_scene():
    return scene
