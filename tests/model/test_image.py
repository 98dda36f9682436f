from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aequorea import Image
from aequorea.errors import AxisMismatchError, CalibrationError, ChannelError, InputError


@pytest.fixture
def image():
    return Image(
        data=np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6),
        axes="tczyx",
        spacing_um={"z": 0.5, "y": 0.1, "x": None},
        channels=("DNA", "actin", "tubulin"),
        times_s=[0.0, 1.5],
        metadata={"objective": "60x"},
        source="cell.nd2",
    )


def test_facts(image):
    assert image.shape == (2, 3, 4, 5, 6)
    assert image.ndim == 5
    assert dict(image.sizes) == {"t": 2, "c": 3, "z": 4, "y": 5, "x": 6}
    assert image.nbytes == 720 * image.dtype.itemsize
    np.testing.assert_array_equal(image, np.arange(720).reshape(image.shape))
    assert np.asarray(image, dtype=np.float32).dtype == np.float32


@given(st.permutations("tczyx").map(lambda a: "".join(a)[:4]))
def test_axes_must_stand_in_order_and_end_in_yx(axes):
    make = lambda: Image(data=np.zeros((1,) * len(axes)), axes=axes)  # noqa: E731
    if axes in {"tcyx", "tzyx", "czyx"}:
        assert make().axes == axes
    else:
        with pytest.raises(AxisMismatchError):
            make()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"axes": "zyx"}, AxisMismatchError),
        ({"axes": "tczyy"}, AxisMismatchError),
        ({"channels": ("a", "b")}, ChannelError),
        ({"spacing_um": {"t": 1.0}}, InputError),
        ({"spacing_um": {"z": 0.0}}, CalibrationError),
        ({"data": np.zeros((2, 2)), "axes": "yx", "spacing_um": {"z": 0.0}}, CalibrationError),
        ({"spacing_um": {"z": -1.0}}, CalibrationError),
        ({"spacing_um": {"z": float("nan")}}, CalibrationError),
        ({"times_s": [0.0]}, AxisMismatchError),
    ],
)
def test_parts_that_do_not_fit_are_refused(image, changes, error):
    parts = {"data": image.data, "axes": image.axes} | changes
    with pytest.raises(error):
        Image(**parts)


def test_it_is_frozen(image):
    with pytest.raises(FrozenInstanceError):
        image.axes = "yx"
    with pytest.raises(TypeError):
        image.spacing_um["z"] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        image.times_s[0] = 3.0


def test_missing_calibration_is_none_and_an_error_where_it_matters(image):
    assert image.spacing_um["x"] is None
    assert image.pixel_size_um("zy") == (0.5, 0.1)
    with pytest.raises(CalibrationError, match=r"cell\.nd2: no pixel size for x"):
        image.pixel_size_um()
    assert image.with_spacing(x=0.2).pixel_size_um() == (0.5, 0.1, 0.2)


def test_selection_keeps_what_belongs_to_the_part(image):
    part = image.isel(t=1, c=slice(0, 3, 2), z=slice(1, 4, 2))
    assert part.axes == "czyx"
    assert part.channels == ("DNA", "tubulin")
    assert part.times_s is None
    assert part.spacing_um["z"] == 1.0
    np.testing.assert_array_equal(part, np.asarray(image)[1, ::2, 1:4:2])
    assert image.isel(t=slice(1, 2)).times_s.tolist() == [1.5]


def test_selection_by_channel(image):
    np.testing.assert_array_equal(image.channel("actin"), np.asarray(image)[:, 1])
    assert image.channel("2").channels == ("tubulin",)
    assert image.channel(0).channel("DNA").channels == ("DNA",)
    for wrong in ("GFP", 3, -1, "-1"):
        with pytest.raises(ChannelError, match="no channel"):
            image.channel(wrong)
    twins = Image(data=np.zeros((2, 3, 3)), axes="cyx", channels=("a", "a"))
    with pytest.raises(ChannelError, match="several"):
        twins.channel("a")


def test_wrong_selections_are_refused(image):
    with pytest.raises(AxisMismatchError, match="takes a slice"):
        image.isel(y=1)
    with pytest.raises(AxisMismatchError, match="no axis 'p'"):
        image.isel(p=1)
    with pytest.raises(InputError, match=r"cell\.nd2: index 9"):
        image.isel(z=9)
    with pytest.raises(InputError, match="positive steps"):
        image.isel(z=slice(None, None, -1))


def test_it_travels_to_other_processes(image):
    other = pickle.loads(pickle.dumps(image.isel(c=1)))  # noqa: S301
    np.testing.assert_array_equal(other, np.asarray(image)[:, 1])
    assert dict(other.spacing_um) == dict(image.spacing_um)
    with pytest.raises(TypeError):
        other.spacing_um["z"] = 1.0
