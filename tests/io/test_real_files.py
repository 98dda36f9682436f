"""What real files of the field must read as; skipped where they are absent."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import aequorea
from aequorea.errors import AequoreaWarning
from aequorea.io import describe


def test_confocal_stack_of_fiji(shared_data):
    green = aequorea.open(shared_data("coloc2-fiji/colocsample1b-green.tif"))
    assert (green.axes, green.shape, green.dtype) == ("zyx", (33, 152, 172), np.uint8)
    assert green.spacing_um == pytest.approx({"z": 0.64609375, "y": 0.3282153, "x": 0.3282153})
    assert green.channels == ("Ch2-T1",)
    mask = aequorea.open(shared_data("coloc2-fiji/colocsample1b-mask.tif"))
    assert mask.spacing_um == green.spacing_um  # unit written as um in one, \u00B5m in the other


@pytest.mark.parametrize("name", ["mandersA.tiff", "high_random_overlap1.tif"])
def test_images_without_calibration(shared_data, name):
    image = aequorea.open(shared_data(f"coloc2-fiji/{name}"))
    assert image.axes == "yx"
    assert image.spacing_um == {"y": None, "x": None}


def test_signed_and_float_images(shared_data):
    image = aequorea.open(shared_data("coloc2-fiji/syntheticNegCh1.tif"))
    assert image.dtype == np.float32
    assert image.dtype.isnative


def test_sixteen_bit_composite(shared_data):
    image = aequorea.open(shared_data("bian-nuclei/misc/hela-cells.tif"))
    assert (image.axes, image.shape, image.dtype) == ("cyx", (3, 512, 672), np.uint16)
    assert image.spacing_um == pytest.approx({"y": 0.0514931, "x": 0.0514931}, rel=1e-5)
    assert image.channels == ("red", "green", "blue")


def test_inch_is_not_a_microscope_unit(shared_data):
    path = shared_data("bian-nuclei/BBBC007_batch/AS_09125_040701150004_A02f00d0.tif")
    assert aequorea.open(path).spacing_um == {"y": None, "x": None}
    path = shared_data("cellprofiler-examples/ExampleHuman/AS_09125_050116030001_D03f00d0.tif")
    assert aequorea.open(path).spacing_um == {"y": None, "x": None}


def test_colour_benchmark(shared_data):
    path = shared_data("cbs-colocalization-benchmark/set1/CBS006RGM.tiff")
    image = aequorea.open(path)
    assert image.channels == ("red", "green", "blue")
    np.testing.assert_array_equal(image.channel("green"), tifffile.imread(path)[..., 1])
    red, green = (np.asarray(image.channel(c), float).ravel() for c in ("red", "green"))
    assert np.corrcoef(red, green)[0, 1] == pytest.approx(0.493, abs=0.002)


def test_sixteen_bit_png(shared_data):
    image = aequorea.open(shared_data("cellprofiler-examples/ExampleColocalization/0_1_N_G.png"))
    assert (image.shape, image.dtype) == ((1040, 1392), np.uint16)


def test_malformed_strip_tags(shared_data, capfd, caplog):
    path = shared_data("sima-2p/example.tif")
    image = aequorea.open(path, axes="tyx")
    assert image.shape == (20, 128, 256)
    pixels = np.asarray(image)
    assert not caplog.records
    assert not capfd.readouterr().err
    h5py = pytest.importorskip("h5py")
    with h5py.File(path.with_suffix(".h5")) as file:
        expected = np.squeeze(next(iter(file.values()))[()])
    np.testing.assert_array_equal(pixels, np.moveaxis(expected, -1, 0))


def test_pages_that_say_nothing(shared_data):
    path = shared_data("thunder-fish/time001.tif")
    with pytest.warns(AequoreaWarning, match="2 planes"):
        image = aequorea.open(path)
    assert image.spacing_um == {"y": None, "x": None}  # 72 per inch
    assert aequorea.open(path, axes="zyx").shape == (2, 76, 87)
    info = describe(shared_data("stardist-2d3d/img3d.tif"))
    assert any("z stack or a time series" in note for note in info.notes)


def test_axes_that_tifffile_wrote(shared_data):
    assert aequorea.open(shared_data("rs-fish/one-spot.tif")).axes == "zyx"
    movie = aequorea.open(shared_data("semireal-2p/demo16_60x80.tif"))
    assert (movie.axes, movie.shape) == ("tyx", (800, 60, 80))
    assert movie.times_s is None
    spot = np.asarray(aequorea.open(shared_data("rs-fish/one-spot.tif")))
    assert np.unravel_index(spot.argmax(), spot.shape) == (50, 50, 50)


def test_converting_keeps_everything(shared_data, tmp_path):
    image = aequorea.open(shared_data("czitools-czi/CellDivision_T3_Z5_CH2_X240_Y170.czi"))
    for name in ("a.ome.zarr", "a.ome.tif"):
        found = aequorea.open(aequorea.save(image, tmp_path / name))
        np.testing.assert_array_equal(found, image)
        assert found.spacing_um == image.spacing_um
        assert found.channels == image.channels
        np.testing.assert_array_equal(found.times_s, image.times_s)
