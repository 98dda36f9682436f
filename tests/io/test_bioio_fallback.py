"""The fallback against a stand-in for bioio that keeps its interface."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import aequorea
from aequorea.errors import FileFormatError
from aequorea.io import bioio_fallback

PIXELS = np.arange(2 * 3 * 4 * 5).reshape(1, 2, 3, 4, 5)


class UnsupportedFileFormatError(Exception):
    pass


class BioImage:
    scenes = ("A", "B")
    physical_pixel_sizes = SimpleNamespace(Z=None, Y=0.1, X=0.2)
    channel_names = ("DNA", "actin")

    def __init__(self, path):
        if "broken" in path:
            raise ValueError("no good")
        self.reader = SimpleNamespace()

    @staticmethod
    def determine_plugin(path):
        if not path.endswith(".strange"):
            raise UnsupportedFileFormatError(path)

    def set_scene(self, number):
        self.number = number

    def get_image_dask_data(self, order):
        assert order == "TCZYX"
        return PIXELS + 100 * self.number


@pytest.fixture
def bioio(monkeypatch):
    module, base = ModuleType("bioio"), ModuleType("bioio_base.exceptions")
    module.BioImage, base.UnsupportedFileFormatError = BioImage, UnsupportedFileFormatError
    monkeypatch.setitem(sys.modules, "bioio", module)
    monkeypatch.setitem(sys.modules, "bioio_base.exceptions", base)
    monkeypatch.setattr(bioio_fallback, "find_spec", lambda name: object())


def test_formats_that_no_reader_knows(tmp_path, bioio):
    path = tmp_path / "a.strange"
    path.write_bytes(b"something")
    image = aequorea.open(path, scene="B")
    assert (image.axes, image.scenes, image.scene) == ("czyx", ("A", "B"), 1)
    assert image.spacing_um == {"z": None, "y": 0.1, "x": 0.2}
    assert image.channels == ("DNA", "actin")
    np.testing.assert_array_equal(image, PIXELS[0] + 100)
    path.rename(tmp_path / "broken.strange")
    with pytest.raises(FileFormatError, match="cannot be read as a bioio format"):
        aequorea.open(tmp_path / "broken.strange")


def test_what_bioio_does_not_know_either(tmp_path, bioio):
    (tmp_path / "a.xyz").write_bytes(b"something")
    with pytest.raises(FileFormatError, match="not a format that can be read"):
        aequorea.open(tmp_path / "a.xyz")


def test_without_bioio_the_error_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(bioio_fallback, "find_spec", lambda name: None)
    (tmp_path / "a.xyz").write_bytes(b"something")
    with pytest.raises(FileFormatError, match=r"pip install 'aequorea\[bioio\]'"):
        aequorea.open(tmp_path / "a.xyz")
    with pytest.raises(FileFormatError, match="needs bioio"):
        aequorea.open(tmp_path / "a.xyz", reader="bioio")
