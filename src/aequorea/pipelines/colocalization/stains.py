"""The stains of one field: channels, calibration, regions and landmarks, checked together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.blocks.chunks import chunk_shape, iter_chunks
from aequorea.errors import InputError
from aequorea.pipelines.channels import (
    calibrated,
    fit_labels,
    labels_of,
    open_channels,
    read_regions_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.model import Image
    from aequorea.pipelines.colocalization.parameters import (
        ColocalizationParameters,
    )

_PIECE_PX = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Stains:
    """Channels of one field of view, on one grid.

    Attributes
    ----------
    images : tuple of Image
        One per channel, lazy, with axes out of ``"tzyx"``.
    names : tuple of str
        Names of the channels, all different.
    regions : ndarray of int or None
        Labels with the spatial shape, with or without time in front; ``None`` is the whole image.
    region_names : mapping of int to str
    landmarks : ndarray of bool or None
        With the spatial shape.
    """

    images: tuple[Image, ...]
    names: tuple[str, ...]
    regions: NDArray[Any] | None = None
    region_names: Mapping[int, str]
    landmarks: NDArray[np.bool_] | None = None

    @property
    def n_frames(self) -> int:
        """Number of time points."""
        return self.images[0].sizes.get("t", 1)

    @property
    def spatial_axes(self) -> str:
        """``"yx"`` or ``"zyx"``."""
        return self.images[0].axes.replace("t", "")

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Size along the spatial axes."""
        return tuple(self.images[0].sizes[a] for a in self.spatial_axes)

    @property
    def spacing_um(self) -> tuple[float | None, ...]:
        """Distance between pixel centres along the spatial axes."""
        return tuple(self.images[0].spacing_um[a] for a in self.spatial_axes)

    @property
    def spacing_or_none(self) -> tuple[float, ...] | None:
        """The spacing, if it is known along every axis."""
        known = tuple(s for s in self.spacing_um if s is not None)
        return known if len(known) == len(self.spatial_axes) else None

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Every two channels, by number."""
        return tuple(combinations(range(len(self.names)), 2))

    @property
    def nbytes_of_frame(self) -> int:
        """Bytes of one time point of one channel."""
        return int(np.prod(self.spatial_shape, dtype=np.int64)) * self.images[0].dtype.itemsize

    def pixels(
        self, channel: int, frame: int, where: tuple[slice, ...] | None = None
    ) -> NDArray[Any]:
        """Raw pixels of one channel at one time; only those of ``where`` are read."""
        index = (slice(None),) * len(self.spatial_axes) if where is None else where
        image = self.images[channel]
        return np.asarray(image[(frame, *index) if "t" in image.axes else index])

    def pieces(self, channel: int, frame: int) -> Iterator[tuple[tuple[slice, ...], NDArray[Any]]]:
        """Raw pixels of one channel at one time, in pieces of at most 16 million pixels."""
        image = self.images[channel]
        still = image.isel(t=frame) if "t" in image.axes else image
        for where in iter_chunks(still.shape, chunk_shape(still.shape, _PIECE_PX)):
            yield where, still[where]

    def regions_at(self, frame: int) -> NDArray[Any] | None:
        """Labels at one time."""
        if self.regions is None or self.regions.ndim == len(self.spatial_axes):
            return self.regions
        return np.asarray(self.regions[frame])

    def fields(self) -> Iterator[tuple[int, int, int]]:
        """Every frame with every pair of channels: ``frame, a, b``."""
        for frame in range(self.n_frames):
            for a, b in self.pairs:
                yield frame, a, b


def open_stains(files: Sequence[Path], parameters: ColocalizationParameters) -> Stains:
    """Open the channels to compare, and check them against each other and the regions.

    Parameters
    ----------
    files : sequence of Path
        One image with channels, or several of one channel each.
    parameters : ColocalizationParameters

    Returns
    -------
    Stains
        Lazy: pixels of the channels are not read.

    Raises
    ------
    InputError
        For channels, shapes, calibrations, regions or landmarks that do not fit together.
    """
    images, names = open_channels(
        files, parameters.channels, scene=parameters.scene, axes=parameters.axes, least=2
    )
    images = calibrated(images, names, parameters.spacing_um)
    shape = tuple(images[0].sizes[a] for a in images[0].axes.replace("t", ""))
    if 0 in shape:
        raise InputError(f"{images[0].source}: has no pixels (shape {shape})")
    regions, region_names = read_regions_of(parameters.regions, images[0])
    return Stains(
        images=images,
        names=names,
        regions=regions,
        region_names=region_names,
        landmarks=_read_landmarks(parameters.landmarks, shape),
    )


def _read_landmarks(path: Path | None, spatial: tuple[int, ...]) -> NDArray[np.bool_] | None:
    if path is None:
        return None
    labels, _ = labels_of(path, spatial)
    landmarks: NDArray[np.bool_] = fit_labels(labels, spatial, 1, what=str(path)) != 0
    if not landmarks.any() or landmarks.all():
        raise InputError(f"{path}: landmarks cover none or all of the image; expected some of it")
    return landmarks
