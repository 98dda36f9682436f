"""Images as labelled arrays with physical coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aequorea.model.image import Image


def to_xarray(image: Image) -> xr.DataArray:
    """``image`` as a DataArray: dims in its axis order, coordinates in µm, s and channel names.

    Axes without calibration get no coordinate. Pixels are read when they are needed.
    """
    coords: dict[str, Any] = {}
    if "c" in image.axes:
        coords["c"] = list(image.channels)
    if image.times_s is not None:
        coords["t"] = ("t", image.times_s, {"units": "s"})
    for axis, step in image.spacing_um.items():
        if step is not None:
            coords[axis] = (axis, np.arange(image.sizes[axis]) * step, {"units": "µm"})
    variable = xr.Variable(tuple(image.axes), indexing.LazilyIndexedArray(_Pixels(image)))
    return xr.DataArray(variable, coords=coords, attrs={"source": image.source or ""})


class _Pixels(BackendArray):
    """The adapter through which xarray reads a lazy image."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.shape = image.shape
        self.dtype = image.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        return np.asarray(
            indexing.explicit_indexing_adapter(
                key, self.shape, indexing.IndexingSupport.BASIC, self._image.__getitem__
            )
        )
