"""Channels, calibration, regions and background, checked against each other."""

import numpy as np
import pytest

import aequorea
from aequorea.errors import (
    AequoreaWarning,
    AxisMismatchError,
    ChannelError,
    FileMissingError,
    InputError,
)
from aequorea.model import Image
from aequorea.pipelines.colocalization.background import (
    Intensities,
    Subtracted,
    background_levels,
    per_channel,
    subtract,
)
from aequorea.pipelines.colocalization.parameters import (
    BackgroundParameters,
    ColocalizationParameters,
)
from aequorea.pipelines.colocalization.stains import fit_labels, open_stains


@pytest.fixture
def save(tmp_path):
    def write(name, data, axes, channels=(), spacing=None):
        path = tmp_path / name
        image = Image(data=data, axes=axes, channels=channels, spacing_um=spacing or {})
        aequorea.save(image, path)
        return path

    return write


@pytest.fixture
def stack():
    return np.random.default_rng(0).poisson(20, (2, 3, 5, 6)).astype(np.uint16)


def test_channels_by_name_and_number(save, stack):
    path = save("a.ome.tif", stack, "czyx", ("DNA", "actin"), {"z": 0.5, "y": 0.1, "x": 0.1})
    stains = open_stains([path], ColocalizationParameters())
    assert stains.names == ("DNA", "actin")
    assert stains.spatial_axes == "zyx"
    assert stains.spacing_um == (0.5, 0.1, 0.1)
    assert stains.pairs == ((0, 1),)
    swapped = open_stains([path], ColocalizationParameters(channels=("actin", "0")))
    assert swapped.names == ("actin", "DNA")
    assert np.array_equal(swapped.pixels(0, 0), stack[1])


def test_all_pairs_of_three_channels_in_every_frame(save):
    data = np.arange(2 * 3 * 4 * 4, dtype=np.uint16).reshape(2, 3, 4, 4)
    stains = open_stains([save("a.ome.tif", data, "tcyx")], ColocalizationParameters())
    assert list(stains.fields()) == [(t, a, b) for t in (0, 1) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert np.array_equal(stains.pixels(2, 1), data[1, 2])


def test_two_files_are_named_after_their_channels_or_themselves(save, stack):
    a = save("left.ome.tif", stack[0, 0], "yx", ("DNA",))
    b = save("right.ome.tif", stack[1, 0], "yx", ("actin",))
    c = save("third.ome.tif", stack[1, 1], "yx", ("DNA",))
    assert open_stains([a, b], ColocalizationParameters()).names == ("DNA", "actin")
    assert open_stains([a, c], ColocalizationParameters()).names == ("left", "third")


@pytest.mark.parametrize(
    ("channels", "says"),
    [(("DNA", "actn"), "no channel 'actn'; it has 0:DNA, 1:actin"), (("DNA", "0"), "twice")],
)
def test_channels_that_are_not_there(save, stack, channels, says):
    path = save("a.ome.tif", stack, "czyx", ("DNA", "actin"))
    with pytest.raises(ChannelError, match=says):
        open_stains([path], ColocalizationParameters(channels=channels))


def test_one_channel_is_not_enough(save, stack):
    path = save("a.ome.tif", stack[0], "zyx", ("DNA",))
    with pytest.raises(ChannelError, match="two channels are needed"):
        open_stains([path], ColocalizationParameters())
    with pytest.raises(ChannelError, match="one channel each"):
        open_stains([path, save("b.ome.tif", stack, "czyx")], ColocalizationParameters())


def test_channels_of_different_shape(save, stack):
    a = save("a.ome.tif", stack[0], "zyx")
    b = save("b.ome.tif", stack[0, :, :4], "zyx")
    with pytest.raises(AxisMismatchError, match=r"z=3 × y=4 × x=6 differs from z=3 × y=5 × x=6"):
        open_stains([a, b], ColocalizationParameters())


def test_channels_of_different_calibration(save, stack):
    a = save("a.ome.tif", stack[0, 0], "yx", (), {"y": 0.1, "x": 0.1})
    b = save("b.ome.tif", stack[1, 0], "yx", (), {"y": 0.2, "x": 0.2})
    none = save("c.ome.tif", stack[1, 0], "yx")
    with pytest.raises(InputError, match=r"pixel size along y .*--spacing-um"):
        open_stains([a, b], ColocalizationParameters())
    with pytest.warns(AequoreaWarning) as caught:
        told = open_stains([a, b], ColocalizationParameters(spacing_um=(1, 0.3, 400)))
    assert told.spacing_um == (0.3, 400)
    messages = "\n".join(str(w.message) for w in caught)
    assert "z (1 µm) is not used" in messages
    assert "y is 0.3 µm as given, and 0.1 µm in" in messages
    assert "x is 400; is this in µm?" in messages
    with pytest.warns(AequoreaWarning, match="given for a only"):
        assert open_stains([a, none], ColocalizationParameters()).spacing_um == (0.1, 0.1)


def test_no_calibration_is_none(save, stack):
    stains = open_stains([save("a.ome.tif", stack[:, 0], "cyx")], ColocalizationParameters())
    assert stains.spacing_um == (None, None)
    assert stains.spacing_or_none is None


def test_regions_drawn_in_2d_hold_for_every_slice(save, stack):
    labels = np.zeros((5, 6), np.uint8)
    labels[1:3] = 4
    parameters = ColocalizationParameters(regions=save("r.ome.tif", labels, "yx"))
    stains = open_stains([save("a.ome.tif", stack, "czyx")], parameters)
    assert stains.regions.shape == (3, 5, 6)
    assert stains.region_names == {4: "4"}


def test_regions_that_do_not_fit(save, stack, tmp_path):
    image = save("a.ome.tif", stack, "czyx")
    other = save("r.ome.tif", np.ones((4, 6), np.uint8), "yx")
    empty = save("e.ome.tif", np.zeros((5, 6), np.uint8), "yx")
    with pytest.raises(
        AxisMismatchError, match=r"r\.ome\.tif: labels of shape \(4, 6\) do not fit"
    ):
        open_stains([image], ColocalizationParameters(regions=other))
    with pytest.raises(InputError, match="no regions"):
        open_stains([image], ColocalizationParameters(regions=empty))
    with pytest.raises(FileMissingError):
        open_stains([image], ColocalizationParameters(regions=tmp_path / "absent.tif"))
    with pytest.raises(InputError, match="none or all"):
        open_stains([image], ColocalizationParameters(landmarks=empty))


def test_imagej_rois_keep_their_names(save, stack, tmp_path):
    roifile = pytest.importorskip("roifile")
    path = tmp_path / "RoiSet.zip"
    outlines = {"soma": [[0, 0], [3, 0], [3, 3], [0, 3]], "axon": [[4, 2], [6, 2], [6, 5], [4, 5]]}
    rois = [roifile.ImagejRoi.frompoints(p, name=n) for n, p in outlines.items()]
    roifile.roiwrite(path, rois)
    image = save("a.ome.tif", stack, "czyx")
    stains = open_stains([image], ColocalizationParameters(regions=path))
    assert stains.region_names == {1: "soma", 2: "axon"}
    assert (stains.regions == 1).sum() == 3 * 9
    assert (stains.regions == 2).sum() == 3 * 6


def test_labels_of_an_ome_zarr_are_regions(tmp_path, stack):
    path = tmp_path / "a.ome.zarr"
    labels = np.zeros((3, 5, 6), np.uint8)
    labels[:, 2:] = 3
    aequorea.save(Image(data=stack, axes="czyx"), path, labels={"cells": labels})
    parameters = ColocalizationParameters(regions=path / "labels" / "cells")
    assert np.array_equal(open_stains([path], parameters).regions, labels)


def test_fit_labels_takes_time_or_leaves_it():
    labels = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert fit_labels(labels, (3, 4, 5), 2, what="r").shape == (2, 3, 4, 5)
    assert fit_labels(labels[0], (3, 4, 5), 2, what="r").shape == (3, 4, 5)
    assert fit_labels(labels[0, :1], (4, 5), 1, what="r").shape == (4, 5)


def test_background_is_what_was_said(save):
    data = np.full((2, 8, 8), 7, np.uint16)
    data[0, :2] = 50
    data[1, :5] = 90
    stains = open_stains([save("a.ome.tif", data, "cyx")], ColocalizationParameters())

    def levels(**options):
        return background_levels(stains, BackgroundParameters(**options))

    assert levels() == (0, 0)
    assert levels(background="mode") == (7, 90)
    assert levels(background="percentile", background_percentile=0) == (7, 7)
    assert levels(background="constant", background_value=(3,)) == (3, 3)
    assert levels(background="constant", background_value=(3, 4)) == (3, 4)
    assert Subtracted(stains, (7, 60)).pixels(1, 0).max() == 30


def test_values_per_channel_must_fit():
    with pytest.raises(InputError, match=r"--x: expected 1 value or 2 .*A, B.*got 3"):
        per_channel((1, 2, 3), ("A", "B"), flag="--x")


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
def test_subtraction_never_wraps(dtype):
    pixels = np.array([0, 3, 100], dtype)
    assert subtract(pixels, 5).tolist() == [0, 0, 95]
    assert subtract(pixels, 1000).tolist() == [0, 0, 0]
    assert subtract(pixels, 0) is pixels


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4"])
@pytest.mark.parametrize("percent", [0, 1, 37.5, 50, 99, 100])
def test_percentiles_counted_in_pieces_are_those_of_the_whole(dtype, percent):
    pixels = np.random.default_rng(0).normal(100, 30, 997).clip(0, 255).astype(dtype)
    found = Intensities()
    for piece in np.array_split(pixels, 7):
        found.add(piece)
    expected = np.percentile(pixels.astype(np.float64), percent)
    assert found.percentile(percent) == pytest.approx(expected, rel=1e-12)


def test_padding_is_not_the_background(save):
    data = np.random.default_rng(0).poisson(1000, (2, 64, 64)).astype(np.uint16)
    data[0, :32] = 0
    stains = open_stains([save("a.ome.tif", data, "cyx")], ColocalizationParameters())
    with pytest.warns(AequoreaWarning, match=r"50% of .* is exactly 0"):
        levels = background_levels(stains, BackgroundParameters(background="mode"))
    assert levels == pytest.approx((1000, 1000), abs=60)


def test_zeros_of_dim_images_are_background(save):
    data = np.random.default_rng(0).poisson(0.5, (2, 64, 64)).astype(np.uint16)
    stains = open_stains([save("a.ome.tif", data, "cyx")], ColocalizationParameters())
    assert background_levels(stains, BackgroundParameters(background="mode")) == (0, 0)


def test_an_intensity_image_is_no_label_image(save):
    data = np.random.default_rng(0).integers(0, 256, (2, 96, 96)).astype(np.uint8)
    image = save("a.ome.tif", data, "cyx")
    intensities = save("b.ome.tif", data[0], "yx")
    with pytest.raises(InputError, match="looks like an intensity image"):
        open_stains([image], ColocalizationParameters(regions=intensities))
    grid = np.kron(np.arange(1, 145).reshape(12, 12), np.ones((8, 8))).astype(np.uint16)
    labels = save("c.ome.tif", grid, "yx")
    stains = open_stains([image], ColocalizationParameters(regions=labels))
    assert len(stains.region_names) == 144
