"""Input checks of images beyond the memory budget look at a part, and say which."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aequorea.errors import AequoreaWarning
from aequorea.model import Image
from aequorea.pipelines.colocalization.background import Subtracted
from aequorea.pipelines.colocalization.input_checks import check_table, sample_window
from aequorea.pipelines.colocalization.stains import Stains


def stains(data, regions=None):
    axes = "yx" if data.ndim == 3 else "zyx"
    names = {0: "whole image"} if regions is None else {1: "cell"}
    images = tuple(Image(data=channel, axes=axes, channels=("C",)) for channel in data)
    return Stains(images=images, names=("A", "B"), regions=regions, region_names=names)


def test_the_sample_lies_where_the_regions_are():
    data = np.ones((2, 9, 100, 200), np.uint8)
    regions = np.zeros((9, 100, 200), np.uint8)
    regions[7, 80:90, 10:20] = 1
    assert sample_window(stains(data), 0, 20_000) == np.s_[4:5, 0:100, 0:200]
    assert sample_window(stains(data), 0, 60_000) == np.s_[3:6, 0:100, 0:200]
    assert sample_window(stains(data, regions), 0, 20_000) == np.s_[7:8, 0:100, 0:200]
    assert sample_window(stains(data, regions), 0, 5_000) == np.s_[7:8, 36:100, 0:100]


@settings(deadline=None, max_examples=50)
@given(
    shape=st.lists(st.integers(1, 150), min_size=2, max_size=3),
    most_px=st.integers(0, 100_000),
)
def test_the_sample_lies_inside_and_is_never_empty(shape, most_px):
    field = stains(np.ones((2, *shape), np.uint8))
    window = sample_window(field, 0, most_px)
    sizes = [w.stop - w.start for w in window]
    assert all(0 <= w.start < w.stop <= n for w, n in zip(window, shape, strict=True))
    assert np.prod(sizes) <= max(most_px, 64 * max(64, *shape))


def test_a_sample_that_is_all_of_it_is_not_called_a_part():
    data = np.random.default_rng(0).poisson(2, (2, 30, 30)).astype(np.uint8)
    table = check_table(Subtracted(stains(data), (0.0, 0.0)), track=iter, most_px=10)
    assert "extent" not in set(table["check"])
    assert not table["message"].str.contains("looked at").any()


def test_findings_say_what_was_looked_at():
    data = np.random.default_rng(0).poisson(40, (2, 6, 64, 64)).astype(np.uint8)
    data[0, 3, :30] = 255
    pixels = Subtracted(stains(data), (0.0, 0.0))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        table = check_table(pixels, track=iter, most_px=64 * 64)
    assert told
    assert all("(looked at z 3–3 of 0–5 only)" in str(w.message) for w in told)
    first = table.iloc[0]
    assert (first["check"], first["severity"]) == ("extent", "note")
    assert "exceeds the memory budget" in first["message"]
    saturation = table[(table["check"] == "saturation") & (table["channel"] == "A")].iloc[0]
    assert saturation["value"] == pytest.approx(30 / 64, abs=0.01)


def test_a_background_that_removes_all_signal_is_no_tick():
    data = np.random.default_rng(0).poisson(40, (2, 64, 64)).astype(np.uint8)
    pixels = Subtracted(stains(data[:, None]), (255.0, 20.0))
    with pytest.warns(AequoreaWarning, match="background removed all signal of A"):
        table = check_table(pixels, track=iter)
    signal = table[table["check"] == "signal"].set_index("channel")["severity"]
    assert signal.to_dict() == {"A": "warning", "B": "ok"}


def test_a_background_near_the_maximum_is_doubted():
    data = np.random.default_rng(0).poisson(40, (2, 64, 64)).astype(np.uint8)
    pixels = Subtracted(stains(data[:, None]), (float(data[0].max()) - 1, 20.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = check_table(pixels, track=iter)
    first = table[table["check"] == "background"].set_index("channel").loc["A"]
    assert first["severity"] == "warning"
    assert "near its maximum" in first["message"]


def test_three_channels_name_their_pairs_and_repeat_nothing():
    data = np.random.default_rng(0).poisson(2, (3, 64, 64)).astype(np.uint8)
    images = tuple(Image(data=d, axes="yx", channels=("C",)) for d in data)
    field = Stains(images=images, names=("one", "two", "three"), region_names={0: "whole image"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = check_table(Subtracted(field, (0.0,) * 3), track=iter)
    assert (table["check"] == "saturation").sum() == 3
    assert not table.duplicated(["check", "channel", "message"]).any()
    zeros = table[table["check"] == "zero-zero"]
    assert len(zeros) == 3
    for row in zeros.itertuples():
        assert row.channel_a in row.message
        assert row.channel_b in row.message
