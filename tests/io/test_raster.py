from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

import aequorea
from aequorea.errors import FileFormatError, InputError

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize(
    ("samples", "names"),
    [
        (1, ("C0",)),
        (2, ("gray", "alpha")),
        (3, ("red", "green", "blue")),
        (4, ("red", "green", "blue", "alpha")),
    ],
)
def test_png_is_exact_and_colours_are_channels(tmp_path, dtype, samples, names):
    pixels = RNG.integers(0, np.iinfo(dtype).max, (9, 11, samples)).astype(dtype)
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(pixels.squeeze()))
    image = aequorea.open(path)
    assert image.channels == names
    assert image.dtype == dtype
    assert image.spacing_um == {"y": None, "x": None}
    np.testing.assert_array_equal(image, np.moveaxis(pixels, -1, 0).squeeze())


def test_jpeg_says_that_it_is_lossy(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(imagecodecs.jpeg_encode(np.full((16, 16, 3), 100, "u1")))
    image = aequorea.open(path)
    assert image.channels == ("red", "green", "blue")
    assert image.metadata["lossy"]
    assert abs(int(image[0, 8, 8]) - 100) <= 2


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_truncated_pictures_give_no_number(tmp_path, kind):
    encode = {"png": imagecodecs.png_encode, "jpeg": imagecodecs.jpeg_encode}[kind]
    whole = encode(RNG.integers(0, 255, (64, 64, 3), dtype="u1"))
    path = tmp_path / f"a.{kind}"
    for size in (len(whole) - 20, len(whole) // 2, 30, 10):
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError, match="cannot be read as"):
            aequorea.open(path)


def test_there_is_one_scene(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(np.zeros((4, 4), "u1")))
    with pytest.raises(InputError, match="no scene 1"):
        aequorea.open(path, scene=1)
