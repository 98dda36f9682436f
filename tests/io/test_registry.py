from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import imagecodecs
import numpy as np
import pytest
import tifffile

import aequorea
from aequorea import Image
from aequorea.errors import (
    AequoreaWarning,
    ChannelError,
    FileFormatError,
    FileMissingError,
    InputError,
)
from aequorea.io import Reader, registry

PNG = imagecodecs.png_encode(np.full((4, 4), 7, "u1"))


class Lines:
    """A third-party reader: text files of numbers."""

    name = "lines"
    suffixes = (".lines",)

    def sniff(self, head, path):
        return head.startswith(b"#lines")

    def open(self, path, scene, *, axes=None):
        rows = path.read_text().splitlines()[1:]
        return Image(data=np.array([row.split() for row in rows], float), axes="yx")


@pytest.fixture
def plugged_in(monkeypatch):
    def plug(*objects):
        entries = [EntryPoint(f"r{k}", "x:y", registry.ENTRY_POINTS) for k in range(len(objects))]
        found = dict(zip((e.name for e in entries), objects, strict=True))

        def load(entry):
            if isinstance(found[entry.name], Exception):
                raise found[entry.name]
            return found[entry.name]

        monkeypatch.setattr(EntryPoint, "load", load)
        monkeypatch.setattr(registry, "entry_points", lambda group: entries)
        registry._plugged_in.cache_clear()

    yield plug
    monkeypatch.undo()
    registry._plugged_in.cache_clear()


def test_content_decides_before_the_name(tmp_path):
    (tmp_path / "a.tif").write_bytes(PNG)
    image = aequorea.open(tmp_path / "a.tif")
    assert image.metadata["format"] == "PNG"
    assert (np.asarray(image) == 7).all()


def test_every_reader_keeps_the_protocol():
    for reader in (*registry.readers(), registry._reader("bioio_fallback")):
        assert isinstance(reader, Reader)
        assert reader.sniff(b"", registry.Path("nothing")) is False


def test_plug_ins(tmp_path, plugged_in):
    path = tmp_path / "a.lines"
    path.write_text("#lines\n1 2\n3 4")
    with pytest.raises(FileFormatError, match="not a format that can be read"):
        aequorea.open(path)
    plugged_in(Lines())
    np.testing.assert_array_equal(aequorea.open(path), [[1, 2], [3, 4]])
    path.write_text("\n5 6")  # by name, when no content is known
    np.testing.assert_array_equal(aequorea.open(path), [[5, 6]])
    np.testing.assert_array_equal(aequorea.open(path, reader="Lines"), [[5, 6]])
    with pytest.raises(InputError, match=r"no reader is called 'x'; there are TIFF, .*lines"):
        aequorea.open(path, reader="x")


@pytest.mark.parametrize(
    ("broken", "reason"), [(object(), "is not a reader"), (ImportError("no lib"), "no lib")]
)
def test_plug_ins_that_are_broken_do_not_stop_the_others(tmp_path, plugged_in, broken, reason):
    (tmp_path / "a.png").write_bytes(PNG)
    plugged_in(broken, Lines())
    with pytest.warns(AequoreaWarning, match=f"{reason}.*left out"):
        aequorea.open(tmp_path / "a.png")
    assert [r.name for r in registry.readers()][-1] == "lines"


def test_what_the_user_says_overrides_the_file(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, np.zeros((2, 4, 4), "u1"), imagej=True, resolution=(10, 10),
        metadata={"axes": "CYX", "unit": "um"},
    )  # fmt: skip
    image = aequorea.open(path, spacing_um={"x": 0.5}, channels=["DNA", "actin"])
    assert image.spacing_um == {"y": 0.1, "x": 0.5}
    assert image.channels == ("DNA", "actin")
    assert aequorea.open(path, axes="zyx", spacing_um={"z": 0.3}).spacing_um["z"] == 0.3
    with pytest.raises(ChannelError, match=r"1 channel names given, the image has 2 channels"):
        aequorea.open(path, channels=["DNA"])
    with pytest.raises(InputError):
        aequorea.open(path, spacing_um={"z": 0.0})


@pytest.mark.parametrize(
    "suffix", ["tif", "png", "jpg", "nd2", "czi", "npy", "npz", "zarr", "lsm", "xyz", ""]
)
def test_bad_files_of_every_name(tmp_path, suffix):
    path = tmp_path / f"cell.{suffix}"
    with pytest.raises(FileMissingError, match="no such file"):
        aequorea.open(path)
    path.write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"empty file \(0 bytes\)"):
        aequorea.open(path)
    for content in (b"dear diary, today I imaged 3 cells\n" * 9, bytes(100), b"II*\0" + bytes(4)):
        path.write_bytes(content)
        with pytest.raises(FileFormatError) as caught:
            aequorea.open(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        assert len(message) < 400
    path.unlink()
    path.mkdir()
    with pytest.raises(FileFormatError, match="a folder that is not OME-Zarr"):
        aequorea.open(path)


def test_names_that_no_file_system_takes():
    for name in ("a\0b.tif", "x" * 5000):
        with pytest.raises(InputError):
            aequorea.open(name)


def test_errors_are_also_standard_ones(tmp_path):
    with pytest.raises(FileNotFoundError):
        aequorea.open(tmp_path / "none.tif")
    (tmp_path / "a.tif").write_text("text")
    with pytest.raises(ValueError, match=r"a\.tif"):
        aequorea.open(tmp_path / "a.tif")


def test_importing_is_light():
    heavy = "tifffile zarr nd2 pandas scipy skimage xarray matplotlib pylibCZIrw imagecodecs numba"
    code = (
        "import sys, aequorea.io, aequorea; aequorea.open; aequorea.save; "
        f"print([m for m in '{heavy}'.split() if m in sys.modules])"
    )
    found = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_every_public_name_resolves():
    from aequorea import io

    assert all(getattr(io, name) is not None for name in io.__all__)
    assert dir(io) == sorted(io.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        io.nothing  # noqa: B018
