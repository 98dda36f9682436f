"""HDF5, NWB and Scanbox: axes as the files say, and counts the right way up."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from scipy.io import savemat

import aequorea
from aequorea.errors import AequoreaWarning, AxisMismatchError, FileFormatError, FileMissingError

FRAMES = np.random.default_rng(0).integers(0, 60000, (7, 5, 6), dtype=np.uint16)


def test_the_user_names_axes_that_the_file_does_not(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["mov"] = FRAMES
        file["small"] = FRAMES[:2]
    with pytest.raises(AxisMismatchError, match="axes"):
        aequorea.open(tmp_path / "m.h5")
    image = aequorea.open(tmp_path / "m.h5", axes="tyx")
    assert image.scenes == ("mov", "small")
    np.testing.assert_array_equal(image[2:4, ::2], FRAMES[2:4, ::2])
    assert aequorea.open(tmp_path / "m.h5", "small", axes="tyx").shape == (2, 5, 6)


def test_dimension_labels_are_axes(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        stored = file.create_dataset("imaging", data=FRAMES.transpose(1, 2, 0))
        for dim, label in zip(stored.dims, "yxt", strict=True):
            dim.label = label
        stored.attrs["element_size_um"] = [1.0, 0.5, 0.25]
    image = aequorea.open(tmp_path / "m.h5")
    assert (image.axes, image.spacing_um) == ("tyx", {"y": 0.5, "x": 0.25})
    np.testing.assert_array_equal(image[:], FRAMES)


def nwb(path, **series):
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.7.0"
        group = file.create_group("acquisition/TwoPhotonSeries")
        group.attrs["neurodata_type"] = "TwoPhotonSeries"
        plane = file.create_group("general/optophysiology/plane")
        plane["grid_spacing"] = [2e-6, 1e-6]
        plane["grid_spacing"].attrs["unit"] = "meters"
        group["imaging_plane"] = h5py.SoftLink("/general/optophysiology/plane")
        for name, value in series.items():
            group[name] = value
        if "starting_time" in group:
            group["starting_time"].attrs["rate"] = 30.0


def test_nwb_has_x_before_y(tmp_path):
    nwb(tmp_path / "m.nwb", data=FRAMES.transpose(0, 2, 1), starting_time=2.0)
    image = aequorea.open(tmp_path / "m.nwb")
    assert (image.axes, image.shape) == ("tyx", FRAMES.shape)
    assert image.spacing_um == {"y": pytest.approx(1.0), "x": pytest.approx(2.0)}
    np.testing.assert_array_equal(image[3], FRAMES[3])
    np.testing.assert_allclose(image.times_s, 2 + np.arange(7) / 30)


def test_nwb_times_and_files_elsewhere(tmp_path):
    times = np.array([0, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7])
    nwb(tmp_path / "m.nwb", data=FRAMES, timestamps=times)
    np.testing.assert_allclose(aequorea.open(tmp_path / "m.nwb").times_s, times)
    nwb(tmp_path / "e.nwb", external_file=np.array([b"/etc/passwd"]))
    with pytest.raises(FileFormatError, match="refers to other files"):
        aequorea.open(tmp_path / "e.nwb")


def sbx(path, frames, **info):
    (65535 - frames).astype("<u2").tofile(path)
    savemat(path.with_suffix(".mat"), {"info": {"sz": list(frames.shape[-3:-1]), **info}})


def test_scanbox_counts_are_the_right_way_up(tmp_path):
    both = np.stack([FRAMES, FRAMES[::-1]], axis=-1)
    sbx(tmp_path / "m.sbx", both, channels=1, resfreq=8000, scanmode=0)
    image = aequorea.open(tmp_path / "m.sbx")
    assert (image.axes, image.channels) == ("tcyx", ("green", "red"))
    np.testing.assert_array_equal(image[:, 0], FRAMES)
    np.testing.assert_array_equal(image[1:6:2, 1], FRAMES[::-1][1:6:2])
    assert image.times_s[1] == pytest.approx(5 / 16000)


def test_scanbox_volumes(tmp_path):
    told = {"channels": 2, "volscan": 1, "otwave": [0, 10, 20], "resfreq": 8000, "scanmode": 1}
    sbx(tmp_path / "m.sbx", FRAMES[..., None], **told)
    with pytest.warns(AequoreaWarning, match="within a volume"):
        image = aequorea.open(tmp_path / "m.sbx")
    assert (image.axes, image.shape) == ("tzyx", (2, 3, 5, 6))
    np.testing.assert_array_equal(image[1, 2], FRAMES[5])
    assert image.times_s[1] == pytest.approx(3 * 5 / 8000)


def test_scanbox_cut_off_or_alone(tmp_path):
    sbx(tmp_path / "m.sbx", FRAMES[..., None], channels=2)
    content = (tmp_path / "m.sbx").read_bytes()
    (tmp_path / "m.sbx").write_bytes(content[:-7])
    with pytest.warns(AequoreaWarning, match="within a frame"):
        assert aequorea.open(tmp_path / "m.sbx").shape == (6, 5, 6)
    (tmp_path / "m.sbx").write_bytes(content[:7])
    with pytest.raises(FileFormatError, match="a frame has 60"):
        aequorea.open(tmp_path / "m.sbx")
    (tmp_path / "m.mat").unlink()
    with pytest.raises(FileMissingError, match="not beside"):
        aequorea.open(tmp_path / "m.sbx")


def test_hdf5_without_movies(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["trace"] = np.zeros(9)
    with pytest.raises(FileFormatError, match="without an array of three axes"):
        aequorea.open(tmp_path / "m.h5")
    (tmp_path / "b.h5").write_bytes((tmp_path / "m.h5").read_bytes()[:200])
    with pytest.raises(FileFormatError, match="HDF5"):
        aequorea.open(tmp_path / "b.h5")


def test_pixels_in_other_files_are_refused(tmp_path):
    """A file must not choose what else is read."""
    (tmp_path / "secret").write_bytes(bytes(range(210)))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("mov", (7, 5, 6), "u1", external=[(str(tmp_path / "secret"), 0, 210)])
    with pytest.raises(FileFormatError, match="keeps its pixels in other files"):
        aequorea.open(tmp_path / "m.h5", axes="tyx")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = FRAMES
    nwb(tmp_path / "m.nwb", data=h5py.ExternalLink(str(tmp_path / "other.h5"), "/data"))
    with pytest.raises(FileFormatError, match="without a movie"):
        aequorea.open(tmp_path / "m.nwb")
    layout = h5py.VirtualLayout((7, 5, 6), "u2")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "data", (7, 5, 6))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("mov", layout)
    with pytest.raises(FileFormatError, match="keeps its pixels in other files"):
        aequorea.open(tmp_path / "v.h5", axes="tyx")
