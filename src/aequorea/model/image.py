"""What an image is: pixels with axes, physical spacing, channel names and times."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AxisMismatchError, CalibrationError, ChannelError, InputError
from aequorea.model.lazy import ArrayView, BasicIndex, LazyArray

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray

AXES = "tczyx"
SPATIAL = "zyx"


@dataclass(frozen=True, eq=False, kw_only=True)
class Image:
    """Pixels with their meaning. Frozen and lazy: nothing is read until indexed.

    Attributes
    ----------
    data : LazyArray
        Pixels, in the order of ``axes``.
    axes : str
        A subsequence of ``"tczyx"``; ``y`` and ``x`` always present.
    spacing_um : mapping of {"z", "y", "x"} to float or None
        Distance between pixel centres in µm; ``None`` where the file gives none.
    channels : tuple of str
        One name per channel (one name also when there is no ``c`` axis).
    times_s : ndarray, shape (t,), or None
        Time of each frame in s since the recording began. The first frame may be later than 0,
        in a part of a recording or where the file gives the start of the run.
    scenes : tuple of str
        Names of all scenes (positions, series) of the source.
    scene : int
        Which of them this is.
    metadata : mapping
        What else the file says, as plain Python values.
    source : str or None
        Path or URL it was opened from.

    Examples
    --------
    >>> import numpy as np
    >>> cell = Image(data=np.zeros((2, 64, 64), "u1"), axes="cyx", channels=("DNA", "actin"),
    ...              spacing_um={"y": 0.1, "x": 0.1})
    >>> cell.channel("actin").shape
    (64, 64)
    >>> cell.pixel_size_um("yx")
    (0.1, 0.1)
    """

    data: LazyArray
    axes: str
    spacing_um: Mapping[str, float | None] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    times_s: NDArray[np.float64] | None = None
    scenes: tuple[str, ...] = ("0",)
    scene: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None

    def __post_init__(self) -> None:
        """Check the parts against each other; normalise spacing and channel names."""
        shape = tuple(int(n) for n in self.data.shape)
        if [a for a in AXES if a in self.axes] != list(self.axes) or not self.axes.endswith("yx"):
            raise AxisMismatchError(
                f"axes must be a subsequence of 'tczyx' that ends in 'yx', got {self.axes!r}"
            )
        if len(shape) != len(self.axes):
            raise AxisMismatchError(f"{len(shape)} dimensions {shape} for axes {self.axes!r}")
        n_channels = shape[self.axes.index("c")] if "c" in self.axes else 1
        channels = tuple(self.channels) or tuple(f"C{k}" for k in range(n_channels))
        if len(channels) != n_channels:
            raise ChannelError(f"{len(channels)} channel names for {n_channels} channels")
        unknown = set(self.spacing_um) - set(SPATIAL)
        if unknown:
            raise InputError(f"spacing_um has unknown axes {sorted(unknown)}; expected z, y, x")
        checked = {a: _positive_or_none(step, a) for a, step in self.spacing_um.items()}
        spacing = {a: checked.get(a) for a in SPATIAL if a in self.axes}
        if self.times_s is not None:
            times = np.array(self.times_s, dtype=np.float64)
            times.flags.writeable = False
            if "t" not in self.axes or times.shape != (shape[self.axes.index("t")],):
                raise AxisMismatchError(f"{times.shape} times for axes {self.axes!r} {shape}")
            object.__setattr__(self, "times_s", times)
        object.__setattr__(self, "channels", channels)
        object.__setattr__(self, "spacing_um", MappingProxyType(spacing))
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))

    def __getstate__(self) -> dict[str, Any]:
        # read-only mappings cannot be pickled; worker processes get plain ones
        views = {"spacing_um": dict(self.spacing_um), "metadata": dict(self.metadata)}
        return {**self.__dict__, **views}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            proxied = MappingProxyType(value) if isinstance(value, dict) else value
            object.__setattr__(self, name, proxied)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each axis."""
        return tuple(int(n) for n in self.data.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one pixel."""
        return np.dtype(self.data.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels when read."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def sizes(self) -> Mapping[str, int]:
        """Size by axis name."""
        return MappingProxyType(dict(zip(self.axes, self.shape, strict=True)))

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Pixels as a NumPy array; only what is asked for is read."""
        return np.asarray(self.data[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        pixels = np.asarray(self.data[(slice(None),) * self.ndim])
        return np.array(pixels, dtype=dtype, copy=copy)

    def isel(self, **index: BasicIndex) -> Image:
        """A lazy part of the image, by axis name.

        Parameters
        ----------
        **index : int or slice
            ``isel(t=0, z=slice(2, 8))``. An integer drops the axis; ``y`` and ``x`` take
            slices only.

        Returns
        -------
        Image
            Spacing is multiplied by the step of a slice.

        Raises
        ------
        AxisMismatchError
            For an axis the image does not have, or an integer on ``y`` or ``x``.
        """
        for axis, item in index.items():
            if axis not in self.axes:
                raise AxisMismatchError(f"no axis {axis!r} in {self.axes!r}")
            if axis in "yx" and not isinstance(item, slice):
                raise AxisMismatchError(f"{axis} takes a slice, so that an image stays an image")
        items = tuple(index.get(a, slice(None)) for a in self.axes)
        try:
            view = ArrayView(self.data, items)
        except IndexError as error:
            raise InputError(f"{self.source or 'image'}: {error}") from None
        kept = "".join(a for a, i in zip(self.axes, items, strict=True) if isinstance(i, slice))
        steps = {
            a: (i.step or 1) if isinstance(i, slice) else 1
            for a, i in zip(self.axes, items, strict=True)
        }
        spacing = {
            a: None if s is None else s * steps[a] for a, s in self.spacing_um.items() if a in kept
        }
        channels = self.channels
        if "c" in index:
            chosen = index["c"]
            channels = channels[chosen] if isinstance(chosen, slice) else (channels[chosen],)
        times = self.times_s
        if times is not None and "t" in index:
            chosen = index["t"]
            times = times[chosen] if isinstance(chosen, slice) else None
        return replace(
            self, data=view, axes=kept, spacing_um=spacing, channels=channels, times_s=times
        )

    def channel(self, which: str | int) -> Image:
        """One channel, by name or by index.

        Raises
        ------
        ChannelError
            If there is no such channel, or several bear the name.
        """
        return self.isel(c=self.channel_index(which)) if "c" in self.axes else self._only(which)

    def channel_index(self, which: str | int) -> int:
        """Index of a channel given by name or index (a digit string is an index, if no name).

        Raises
        ------
        ChannelError
            If there is no such channel, or several bear the name.
        """
        names = ", ".join(f"{k}:{name}" for k, name in enumerate(self.channels))
        if isinstance(which, str) and which in self.channels:
            if self.channels.count(which) > 1:
                raise ChannelError(
                    f"several channels are called {which!r}; give an index ({names})"
                )
            return self.channels.index(which)
        number = int(which) if str(which).removeprefix("-").isdigit() else None
        if number is None or not 0 <= number < len(self.channels):
            raise ChannelError(f"{self.source or 'image'}: no channel {which!r}; it has {names}")
        return number

    def _only(self, which: str | int) -> Image:
        self.channel_index(which)
        return self

    def pixel_size_um(self, axes: str | None = None) -> tuple[float, ...]:
        """Spacing along ``axes`` (default: the image's spatial axes) in µm.

        Raises
        ------
        CalibrationError
            If one of them is unknown.
        """
        wanted = axes or "".join(a for a in SPATIAL if a in self.axes)
        sizes = [self.spacing_um.get(a) for a in wanted]
        missing = [a for a, s in zip(wanted, sizes, strict=True) if s is None]
        if missing:
            raise CalibrationError(
                f"{self.source or 'image'}: no pixel size for {', '.join(missing)}; "
                "give it with spacing_um (--spacing-um z,y,x on the command line)"
            )
        return tuple(float(s) for s in sizes if s is not None)

    def with_spacing(self, **spacing_um: float | None) -> Image:
        """The same image with another calibration, in µm: ``with_spacing(z=0.5, y=0.1, x=0.1)``."""
        return replace(self, spacing_um={**self.spacing_um, **spacing_um})

    def to_xarray(self) -> xr.DataArray:
        """The image as a (lazy) :class:`xarray.DataArray` with coordinates in µm and s."""
        from aequorea.model.xarray import to_xarray

        return to_xarray(self)


def _positive_or_none(value: float | None, axis: str) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not (np.isfinite(number) and number > 0):
        raise CalibrationError(
            f"spacing along {axis} must be a positive number of µm, got {value!r}"
        )
    return number
