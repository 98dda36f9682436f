"""Segments in natural order, with the times that recording programs wrote; gaps are told."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

from aequorea.errors import AequoreaWarning, FileFormatError, FileMissingError, InputError
from aequorea.io import describe
from aequorea.io.movies.opening import open_movie
from aequorea.io.movies.timestamps import check_times
from aequorea.simulate import write_daq_recording, write_onix_recording, write_v3_recording


def movie(n=60, shape=(16, 24)):
    frames = np.zeros((n, *shape), np.uint8)
    frames += (np.arange(n) * 4).astype(np.uint8)[:, None, None]
    return frames


TIMES = 0.4 + np.arange(60) / 20


def test_a_daq_session_is_one_movie_in_the_order_of_numbers(tmp_path):
    device = write_daq_recording(tmp_path, movie(), TIMES, frames_per_file=5)
    for k, path in enumerate(sorted(device.glob("*.avi"), reverse=True)):
        os.utime(path, (k, k))  # times of files mean nothing
    for where in (tmp_path, device):
        found = open_movie(where)
        np.testing.assert_array_equal(found[:], movie())
        np.testing.assert_allclose(found.times_s, TIMES)
    assert found.metadata["program"] == "Miniscope DAQ"
    assert found.metadata["frame_rate_hz"] == 20
    assert found.metadata["animal"] == "m1"
    np.testing.assert_array_equal(found[3:50:11, 4, ::2], movie()[3:50:11, 4, ::2])
    assert found[7].shape == (16, 24)


@pytest.mark.parametrize("columns", [3, 4, 5])
@pytest.mark.parametrize("codec", ["ffv1", "rawvideo"])
def test_all_builds_of_the_daq_program(tmp_path, columns, codec):
    write_daq_recording(tmp_path, movie(), TIMES, columns=columns, codec=codec)
    found = open_movie(tmp_path)
    np.testing.assert_array_equal(found[:], movie())
    np.testing.assert_allclose(found.times_s, TIMES)


def test_cameras_are_not_the_miniscope(tmp_path):
    write_daq_recording(tmp_path, movie(), TIMES)
    write_daq_recording(
        tmp_path, movie()[:30], TIMES[:30], device="BehavCam_0", device_type="WebCam"
    )
    assert open_movie(tmp_path).shape[0] == 60


def test_two_scopes_must_be_told_apart(tmp_path):
    write_daq_recording(tmp_path, movie(), TIMES, device="one")
    write_daq_recording(tmp_path, movie(), TIMES, device="two")
    with pytest.raises(InputError, match="several recordings"):
        open_movie(tmp_path)
    assert open_movie(tmp_path / "two").shape[0] == 60


@pytest.mark.parametrize("camera", [0, 1])
def test_v3_whichever_number_the_scope_has(tmp_path, camera):
    write_v3_recording(
        tmp_path, movie(), TIMES, camera=camera, behaviour_frames=40, frames_per_file=5
    )
    found = open_movie(tmp_path)
    np.testing.assert_array_equal(found[:], movie())
    np.testing.assert_allclose(found.times_s, TIMES, atol=1e-3)


def test_onix(tmp_path):
    write_onix_recording(tmp_path, movie(), TIMES)
    found = open_movie(tmp_path)
    np.testing.assert_array_equal(found[:], movie())
    np.testing.assert_allclose(found.times_s, TIMES - TIMES[0], atol=1e-8)


def test_dropped_frames_are_told(tmp_path):
    times = np.delete(np.arange(63) / 20, [20, 21, 40])
    write_daq_recording(tmp_path, movie(), times)
    with pytest.warns(AequoreaWarning, match="dropped: 3 in all, the first 2 after frame 19"):
        found = open_movie(tmp_path)
    assert found.metadata["n_dropped"] == 3


def test_more_times_than_frames_are_told_and_fewer_refused(tmp_path):
    write_daq_recording(tmp_path / "more", movie(), np.arange(65) / 20)
    with pytest.warns(AequoreaWarning, match="60 frames, but 65 times"):
        assert len(open_movie(tmp_path / "more").times_s) == 60
    write_daq_recording(tmp_path / "fewer", movie(), np.arange(50) / 20)
    with (
        pytest.warns(AequoreaWarning, match="60 frames, but 50 times"),
        pytest.raises(FileFormatError, match="give frame_rate_hz"),
    ):
        open_movie(tmp_path / "fewer")
    assert open_movie(tmp_path / "fewer", frame_rate_hz=20).times_s[-1] == pytest.approx(59 / 20)


@pytest.mark.parametrize("content", ["", "a\tb\tc\td\nx\ty\tz\tq\n", "camNum\n1\n"])
def test_tables_that_are_none_are_one_line(tmp_path, content):
    write_v3_recording(tmp_path / "v3", movie(), TIMES)
    (tmp_path / "v3/timestamp.dat").write_text(content)
    device = write_daq_recording(tmp_path / "daq", movie(), TIMES)
    (device / "timeStamps.csv").write_text(content.replace("\t", ","))
    for folder in ("v3", "daq"):
        with pytest.raises(FileFormatError, match="time"):
            open_movie(tmp_path / folder)


def test_times_that_do_not_increase_are_told():
    check = check_times([0.0, 0.05, 0.05, 0.15, 0.2, 0.25], 6)
    assert check.not_increasing == (2,)
    assert check.dropped == ((2, 1),)
    assert "do not increase at frame 2" in check.remarks()[0]


def test_a_missing_segment_is_told(tmp_path):
    device = write_daq_recording(tmp_path, movie(), TIMES, frames_per_file=10)
    (device / "timeStamps.csv").unlink()
    (device / "3.avi").unlink()
    with pytest.warns(AequoreaWarning, match="segments 3 are missing"):
        assert open_movie(device).shape[0] == 50


def test_a_segment_of_another_size_is_refused(tmp_path):
    device = write_daq_recording(tmp_path, movie(), TIMES, frames_per_file=30)
    other = write_daq_recording(tmp_path / "b", movie(30, (8, 24)), TIMES[:30])
    (other / "0.avi").replace(device / "1.avi")
    with pytest.raises(FileFormatError, match="segments of one movie must be alike"):
        open_movie(device)


def test_files_and_frames_in_natural_order(tmp_path):
    import tifffile

    for k in range(12):
        tifffile.imwrite(tmp_path / f"frame{k}.tif", np.full((6, 7), k, np.uint16))
    found = open_movie(tmp_path)
    assert (found.axes, found.shape) == ("tyx", (12, 6, 7))
    np.testing.assert_array_equal(found[:, 0, 0], np.arange(12))
    files = [tmp_path / f"frame{k}.tif" for k in (5, 2)]
    np.testing.assert_array_equal(open_movie(files)[:, 0, 0], [5, 2])
    assert open_movie(tmp_path / "frame3.tif").axes == "tyx"


def test_rate_and_times_are_checked(tmp_path):
    write_onix_recording(tmp_path, movie(), TIMES)
    np.testing.assert_allclose(np.diff(open_movie(tmp_path, frame_rate_hz=10).times_s), 0.1)
    for wrong, why in (
        ({"frame_rate_hz": 0}, "positive"),
        ({"times_s": [0, 1]}, "60 frames"),
        ({"times_s": np.zeros(60)}, "must increase"),
        ({"times_s": [*range(59), np.nan]}, "finite"),
        ({"times_s": range(60), "frame_rate_hz": 2}, "not both"),
    ):
        with pytest.raises(InputError, match=why):
            open_movie(tmp_path, **wrong)


def test_folders_that_are_no_movie(tmp_path):
    with pytest.raises(FileMissingError, match="no such"):
        open_movie(tmp_path / "nothing")
    with pytest.raises(FileFormatError, match="without images or movies"):
        open_movie(tmp_path)
    (tmp_path / "a.tif").write_bytes(b"")
    (tmp_path / "b.avi").write_bytes(b"")
    with pytest.raises(FileFormatError, match="several kinds"):
        open_movie(tmp_path)
    with pytest.raises(InputError, match="no files"):
        open_movie([])


def test_info_knows_recordings(tmp_path):
    write_daq_recording(tmp_path, movie(), np.delete(np.arange(62) / 20, [20, 21]))
    found = describe(tmp_path)
    assert (found.axes, found.shape, found.format) == ("tyx", (60, 16, 24), "video")
    assert any("dropped: 2 in all" in note for note in found.notes)


def test_an_intact_recording_says_nothing(tmp_path):
    write_daq_recording(tmp_path, movie(), TIMES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_movie(tmp_path)
