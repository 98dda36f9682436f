"""What is done to a channel before anything is measured in it: light, background, place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AxisMismatchError, InputError
from aequorea.filters.background import local_background
from aequorea.filters.illumination import correct_illumination, flat_of
from aequorea.io import open as open_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.pipelines.confocal.parameters import ConfocalParameters

__all__ = ["Light", "lights_of", "moved_by_voxels", "without_background"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Light:
    """The dark level of a channel, and how evenly the field is lit.

    Attributes
    ----------
    dark : float or ndarray, shape (y, x)
    flat : ndarray, shape (y, x), or None
        Mean 1.
    """

    dark: float | NDArray[np.float32] = 0.0
    flat: NDArray[np.float32] | None = None

    def corrected(self, image: NDArray[Any]) -> NDArray[Any]:
        """Under even light, above the dark level; the image itself where nothing is known."""
        if self.flat is None and isinstance(self.dark, float) and self.dark == 0:
            return image
        return correct_illumination(image, dark=self.dark, flat=self.flat)

    def counts(self, image: NDArray[Any]) -> NDArray[Any]:
        """Above the dark level but as lit, so that noise is that of the photons counted."""
        return Light(dark=self.dark).corrected(image)

    def at(self, position_px: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
        """Relative illumination at positions, shape (n, 3)."""
        if self.flat is None:
            return np.ones(len(position_px))
        voxel = np.floor(position_px[:, 1:] + 0.5).astype(np.int64)
        voxel = np.clip(voxel, 0, np.array(shape[1:]) - 1)
        return np.asarray(self.flat[tuple(voxel.T)], dtype=np.float64)


def lights_of(parameters: ConfocalParameters, shape: Sequence[int]) -> dict[str, Light]:
    """Dark levels and flat fields of all roles, read and checked.

    Raises
    ------
    InputError
        For files that cannot be used.
    AxisMismatchError
        If one does not fit the planes of the image.
    """
    found = {}
    for role in parameters.roles:
        options = parameters.channel_of(role)
        dark: float | NDArray[np.float32] = float(options.dark or 0.0)
        if options.dark_image is not None:
            dark = _plane(options.dark_image, shape).astype(np.float32)
        flat = None
        if options.flat_field is not None:
            try:
                flat = flat_of(_plane(options.flat_field, shape))
            except AxisMismatchError:
                raise
            except InputError as error:
                raise InputError(f"{options.flat_field}: {error}") from None
        found[role] = Light(dark=dark, flat=flat)
    return found


def _plane(path: Path, shape: Sequence[int]) -> NDArray[np.float64]:
    """One plane of the size of the image; a stack is averaged over z."""
    image = open_image(path)
    pixels = np.asarray(image, dtype=np.float64)
    extra = [n for a, n in image.sizes.items() if a in "tc" and n > 1]
    if extra:
        raise InputError(f"{path}: axes {image.axes}; expected one channel: (y, x) or (z, y, x)")
    planes = pixels.reshape(-1, *pixels.shape[-2:])
    if planes.shape[1:] != tuple(shape[1:]):
        raise AxisMismatchError(
            f"{path}: planes of {planes.shape[1:]} pixels, the image has {tuple(shape[1:])}"
        )
    return np.asarray(planes.mean(axis=0))


def without_background(
    image: NDArray[Any],
    how: str,
    *,
    level: float | None,
    radius_um: float,
    spacing_um: Sequence[float],
) -> NDArray[Any]:
    """The image above its background; values below it stay negative."""
    if how == "given":
        return image.astype(np.float32) - np.float32(level or 0.0)
    if how == "local":
        background = local_background(image, radius_um=radius_um, spacing_um=spacing_um)
        return image.astype(np.float32) - background
    return image


def moved_by_voxels(image: NDArray[Any], voxels: Sequence[int]) -> NDArray[Any]:
    """The image moved by whole voxels; what comes from beyond the border is the border's.

    Examples
    --------
    >>> moved_by_voxels(np.array([1, 2, 3]), [1]).tolist()
    [1, 1, 2]
    """
    places = [
        np.clip(np.arange(n) - step, 0, n - 1) for n, step in zip(image.shape, voxels, strict=True)
    ]
    return np.asarray(image[np.ix_(*places)])
