from __future__ import annotations

import numpy as np
import xarray as xr

from aequorea import Image


class Recording:
    def __init__(self, data):
        self.data, self.shape, self.dtype, self.asked = data, data.shape, data.dtype, []

    def __getitem__(self, index):
        self.asked.append(index)
        return self.data[index]


def make():
    pixels = Recording(np.arange(2 * 2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 2, 3, 4, 5))
    return Image(
        data=pixels,
        axes="tczyx",
        channels=("a", "b"),
        spacing_um={"z": None, "y": 0.5, "x": 0.25},
        times_s=[0.0, 2.5],
        source="x.tif",
    )


def test_coordinates_are_physical():
    array = make().to_xarray()
    assert array.dims == ("t", "c", "z", "y", "x")
    assert array.coords["y"].values.tolist() == [0.0, 0.5, 1.0, 1.5]
    assert array.coords["y"].attrs["units"] == "µm"
    assert array.coords["t"].values.tolist() == [0.0, 2.5]
    assert array.coords["c"].values.tolist() == ["a", "b"]
    assert "z" not in array.coords
    assert array.attrs["source"] == "x.tif"


def test_it_stays_lazy_until_values_are_needed():
    image = make()
    array = image.to_xarray()
    part = array.isel(t=1, z=2).sel(c="b")
    assert image.data.asked == []
    np.testing.assert_array_equal(part.values, image.data.data[1, 1, 2])
    assert isinstance(array, xr.DataArray)
    np.testing.assert_array_equal(array.isel(x=[0, 3]).values, image.data.data[..., [0, 3]])
    np.testing.assert_array_equal(
        array.isel(y=slice(None, None, -1)), image.data.data[..., ::-1, :]
    )
