"""A movie with its motion undone, whenever it is read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AxisMismatchError
from aequorea.model.lazy import full_index
from aequorea.motion.registration import Motion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aequorea.model.image import Image
    from aequorea.model.lazy import LazyArray

__all__ = ["RegisteredFrames", "registered"]


def registered(
    movie: Image,
    motion: Motion | Sequence[Motion],
    *,
    interpolation: str = "cubic",
    edges: str = "nan",
    whole_numbers: bool = False,
) -> Image:
    """A movie whose motion is undone as it is read; nothing is stored.

    Parameters
    ----------
    movie : Image
        With axes t, y, x, or t, z, y, x, of any channel that was recorded together with the one
        whose motion was found.
    motion : Motion, or one for each plane
    interpolation, edges
        See :func:`aequorea.motion.undo_shifts`.
    whole_numbers : bool
        Round to the movie's own type, what comes from outside the frame being 0; float32 if not.

    Returns
    -------
    Image

    Raises
    ------
    AxisMismatchError
        If the movie has other frames or planes than the motion.

    Examples
    --------
    >>> from aequorea.motion import register
    >>> from aequorea.simulate import simulated_twophoton
    >>> movie = simulated_twophoton((40, 48, 48), photons=20).image
    >>> still = registered(movie, register(movie.data))
    >>> still.data.shape, str(still.data.dtype), still.data[3].shape
    ((40, 48, 48), 'float32', (48, 48))
    """
    planes = [motion] if isinstance(motion, Motion) else list(motion)
    if movie.axes not in ("tyx", "tzyx"):
        raise AxisMismatchError(
            f"registered movies have axes t, y, x or t, z, y, x, not {movie.axes}: choose a channel"
        )
    if len(planes) != movie.sizes.get("z", 1):
        raise AxisMismatchError(
            f"motion of {len(planes)} planes for a movie of {movie.sizes.get('z', 1)}"
        )
    for plane in planes:
        if len(plane.reason) != movie.sizes["t"]:
            raise AxisMismatchError(
                f"motion of {len(plane.reason)} frames for a movie of {movie.sizes['t']}"
            )
    pixels = RegisteredFrames(movie.data, planes, interpolation, edges, whole_numbers)
    return replace(movie, data=pixels)


class RegisteredFrames:
    """Pixels of :func:`registered`."""

    def __init__(
        self,
        base: LazyArray,
        planes: Sequence[Motion],
        interpolation: str,
        edges: str,
        whole_numbers: bool,
    ) -> None:
        self._base, self._planes = base, planes
        self._options = {"interpolation": interpolation, "edges": edges}
        self._rounded = whole_numbers and np.dtype(base.dtype).kind in "ui"

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each axis."""
        return tuple(int(n) for n in self._base.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one pixel."""
        return np.dtype(self._base.dtype if self._rounded else np.float32)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        where, *inner = full_index(index, len(self.shape))
        times = where if isinstance(where, slice) else slice(where, where + 1 or None)
        if len(self.shape) == 3:
            moved = self._moved(np.asarray(self._base[times]), 0, times)
            return self._typed(moved if isinstance(where, slice) else moved[0], where, inner)
        plane, *inner = inner
        chosen = range(self.shape[1])[plane]
        several = isinstance(chosen, range)
        moved = np.stack([
            self._moved(np.asarray(self._base[times, z]), z, times)
            for z in (chosen if isinstance(chosen, range) else [chosen])
        ], axis=1)  # fmt: skip
        moved = moved if several else moved[:, 0]
        whole = [slice(None)] * several + inner
        return self._typed(moved if isinstance(where, slice) else moved[0], where, whole)

    def _moved(self, frames: NDArray[Any], plane: int, times: slice) -> NDArray[np.float32]:
        return self._planes[plane].undone(frames, times, **self._options)

    def _typed(self, moved: NDArray[np.float32], where: Any, inner: list[Any]) -> NDArray[Any]:
        part = moved[(slice(None), *inner) if isinstance(where, slice) else tuple(inner)]
        if not self._rounded:
            return part
        limits = np.iinfo(self.dtype)
        whole = np.nan_to_num(np.rint(part), nan=0.0).clip(limits.min, limits.max)
        return np.asarray(whole.astype(self.dtype))
