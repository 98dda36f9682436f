"""Frames of video files are those that were recorded, in whatever order they are read."""

from __future__ import annotations

import av
import numpy as np
import pytest

import aequorea
from aequorea.errors import AequoreaWarning, FileFormatError, InputError, OutputError
from aequorea.io.movies.video_writer import write_video


def movie(n=40, shape=(48, 64), dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max, (n, *shape), dtype=dtype)


@pytest.mark.parametrize(
    ("name", "dtype", "codec"),
    [
        ("m.avi", np.uint8, "ffv1"),
        ("m.avi", np.uint16, "ffv1"),
        ("m.mkv", np.uint16, "ffv1"),
        ("m.avi", np.uint8, "rawvideo"),
    ],
)
def test_what_is_written_is_read(tmp_path, name, dtype, codec):
    frames, path = movie(dtype=dtype), tmp_path / name
    write_video(path, frames, frame_rate_hz=20, codec=codec)
    image = aequorea.open(path)
    assert (image.axes, image.shape, image.dtype) == ("tyx", frames.shape, dtype)
    np.testing.assert_array_equal(image[:], frames)
    np.testing.assert_allclose(np.diff(image.times_s), 0.05)


def test_every_order_of_reading_gives_the_same_frames(tmp_path):
    frames, path = movie(), tmp_path / "m.avi"
    write_video(path, frames, frame_rate_hz=20)
    image = aequorea.open(path)
    for k in (39, 0, 13, 12, 25, 24, 11):  # key frames are 12 apart
        np.testing.assert_array_equal(image[k], frames[k])
    np.testing.assert_array_equal(image[3:40:7, 5:9, ::3], frames[3:40:7, 5:9, ::3])
    assert image[5:5].shape == (0, 48, 64)


def encoded(path, frames, codec, pix_fmt, source="gray"):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=20)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format=source)))
        container.mux(stream.encode())


def test_grey_stored_in_colour_is_one_channel(tmp_path):
    frames = movie()
    encoded(tmp_path / "m.avi", np.repeat(frames[..., None], 3, axis=-1), "ffv1", "bgr0", "bgr24")
    image = aequorea.open(tmp_path / "m.avi")
    assert image.axes == "tyx"
    np.testing.assert_array_equal(image[:], frames)


def test_colour_is_three_channels(tmp_path):
    frames = movie(6, (16, 16, 3))
    encoded(tmp_path / "m.avi", frames, "ffv1", "bgr0", "rgb24")
    image = aequorea.open(tmp_path / "m.avi")
    assert (image.axes, image.channels) == ("tcyx", ("R", "G", "B"))
    np.testing.assert_array_equal(image[:], np.moveaxis(frames, -1, 1))


def ramp():
    """Smooth frames that lossy codecs keep well, from 0 to 255."""
    y, x = np.mgrid[:48, :64]
    return np.array([np.clip(2 * x + 2 * y + k, 0, 255) for k in range(30)], np.uint8)


@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("mpeg4", "yuv420p"), ("mjpeg", "yuvj420p"), ("ffv1", "yuv420p")]
)
def test_luma_has_the_range_that_was_recorded(tmp_path, codec, pix_fmt):
    frames = ramp()
    encoded(tmp_path / "m.avi", frames, codec, pix_fmt)
    image = aequorea.open(tmp_path / "m.avi")
    assert image.axes == "tyx"
    found = image[:].astype(float)
    slope, level = np.polyfit(frames.ravel(), found.ravel(), 1)
    assert slope == pytest.approx(1, abs=0.02)
    assert level == pytest.approx(0, abs=2)
    assert image.metadata.get("lossy", False) is (codec != "ffv1")
    for k in (29, 0, 17, 16):
        np.testing.assert_array_equal(image[k], found[k])


def test_one_frame_is_a_movie(tmp_path):
    write_video(tmp_path / "m.avi", movie(1), frame_rate_hz=20)
    assert aequorea.open(tmp_path / "m.avi").shape == (1, 48, 64)


def test_a_file_that_was_cut_off_says_how_much_is_left(tmp_path):
    frames, path = movie(60), tmp_path / "m.avi"
    write_video(path, frames, frame_rate_hz=20)
    cut = tmp_path / "cut.avi"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(AequoreaWarning, match=r"promises 60 frames, \d\d are there"):
        image = aequorea.open(cut)
    n = image.shape[0]
    assert 20 < n < 40
    np.testing.assert_array_equal(image[: n - 1], frames[: n - 1])


@pytest.mark.parametrize("damage", ["zeros", "one byte", "next header"])
def test_damaged_frames_are_told_and_the_others_are_read(tmp_path, damage):
    frames, path = movie(30), tmp_path / "m.avi"
    write_video(path, frames, frame_rate_hz=20, codec="ffv1")
    with av.open(str(path)) as container:
        packet = list(container.demux(video=0))[15]
    content, at = bytearray(path.read_bytes()), packet.pos
    if damage == "one byte":
        content[at + packet.size // 2] ^= 255
    else:
        length = packet.size + (8 if damage == "next header" else 0)
        content[at : at + length] = bytes(length)
    path.write_bytes(content)
    image = aequorea.open(path)
    with pytest.warns(AequoreaWarning, match="as zeros: frame 15, 16, .*, 23$"):
        found = image[:]
    assert not found[15:24].any()  # frame 24 is a key frame
    np.testing.assert_array_equal(
        np.delete(found, range(15, 24), 0), np.delete(frames, range(15, 24), 0)
    )
    np.testing.assert_array_equal(image[12:15], frames[12:15])
    with pytest.warns(AequoreaWarning, match="as zeros: frame 20$"):
        assert not image[20].any()


def test_sound_is_no_movie_and_rubbish_no_video(tmp_path):
    (tmp_path / "m.avi").write_bytes(b"RIFF\x00\x00\x00\x00AVI rubbish" * 20)
    with pytest.raises(FileFormatError, match="video"):
        aequorea.open(tmp_path / "m.avi")


def test_writing_refuses_what_it_cannot_write(tmp_path):
    with pytest.raises(InputError, match="no frames"):
        write_video(tmp_path / "m.avi", [], frame_rate_hz=20)
    with pytest.raises(InputError, match="expected uint8 or uint16"):
        write_video(tmp_path / "m.avi", np.zeros((2, 8, 8)), frame_rate_hz=20)
    with pytest.raises(InputError, match="must be alike"):
        write_video(tmp_path / "m.avi", [movie(1)[0], movie(1, (8, 8))[0]], frame_rate_hz=20)
    with pytest.raises(InputError, match="choose ffv1"):
        write_video(
            tmp_path / "m.avi", movie(2, dtype=np.uint16), frame_rate_hz=20, codec="rawvideo"
        )
    assert list(tmp_path.iterdir()) == []
    write_video(tmp_path / "m.avi", movie(2), frame_rate_hz=20)
    with pytest.raises(OutputError, match="exists"):
        write_video(tmp_path / "m.avi", movie(2), frame_rate_hz=20)
