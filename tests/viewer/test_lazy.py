"""The viewer without napari: importing it is cheap, and using it says what to install."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from aequorea import viewer

pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")

HEAVY = {"napari", "qtpy", "PySide6", "PyQt5", "PyQt6", "vispy", "matplotlib", "zarr", "tifffile"}


def run(code, **environment):
    return subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", **environment},
    )


def test_public_names_resolve():
    assert set(viewer.__all__) == set(dir(viewer))
    assert all(getattr(viewer, name) is not None for name in viewer.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(viewer, "nothing")  # noqa: B009 - the name is not there to be written


def test_importing_every_name_loads_neither_napari_nor_qt():
    done = run(
        "import json, sys, aequorea.viewer as v\n"
        "for name in v.__all__: getattr(v, name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    assert done.returncode == 0, done.stderr
    assert {name.partition(".")[0] for name in json.loads(done.stdout)} & HEAVY == set()


def test_panels_that_are_not_there_yet_say_so():
    with pytest.raises(ImportError, match="napari panels, which this version does not have"):
        viewer.ColocalizationWidget  # noqa: B018 - the access is what fails
    assert "ColocalizationWidget" not in dir(viewer)


SHOW = """
import sys
{before}
import numpy as np
from types import SimpleNamespace as N
from aequorea.viewer import create_single_channel_roi_drawing_viewer
image = N(source_path="a.tif", voxel_scale_zyx=None, image=np.zeros((1, 4, 4)))
try:
    create_single_channel_roi_drawing_viewer(image, N(channel="DAPI", objects="nuclei"))
except {error} as error:
    assert isinstance(error, __import__("aequorea.errors").errors.AequoreaError)
    print(error)
"""


def test_without_napari_the_message_names_the_extra():
    code = SHOW.format(before="sys.modules['napari'] = None", error="ImportError")
    done = run(code, QT_QPA_PLATFORM="offscreen")
    assert done.returncode == 0, done.stderr
    assert "pip install 'aequorea[napari]'" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays of X11 and Wayland")
def test_without_a_display_there_is_an_error_and_not_the_end_of_the_process():
    done = run(SHOW.format(before="", error="RuntimeError"))
    assert done.returncode == 0, done.stderr
    assert "no display to open a window on" in done.stdout


def test_a_display_without_opengl_is_an_error_too(napari, tmp_path):
    code = SHOW.format(before="import warnings; warnings.simplefilter('ignore')",
                       error="RuntimeError")  # fmt: skip
    done = run(code, QT_QPA_PLATFORM="offscreen", NAPARI_CONFIG=str(tmp_path / "settings.yaml"))
    assert done.returncode == 0, done.stderr
    assert "no OpenGL" in done.stdout
