"""The channels of one field of view: opened, calibrated, with regions that fit."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, AxisMismatchError, ChannelError, InputError
from aequorea.io import open as open_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.model import Image

_CONTRADICTION = 0.01  # between a given pixel size and the file's
_SMALLEST_UM, _LARGEST_UM = 0.001, 100.0  # pixel sizes of microscopes
_MANY_LABELS, _PIECES_PER_LABEL = 50, 10  # beyond both, labels are intensities
_NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}
_RELATIVE_CALIBRATION = 1e-3  # pixel sizes written by different programs differ in late digits


def open_channels(
    files: Sequence[Path],
    wanted: Sequence[str] | None,
    *,
    scene: int = 0,
    axes: str | None = None,
    least: int = 1,
) -> tuple[tuple[Image, ...], tuple[str, ...]]:
    """Open the channels of one field of view: one file with all, or one file each.

    Parameters
    ----------
    files : sequence of Path
    wanted : sequence of str, optional
        By name or number, in this order; all if not given.
    scene, axes
        As :func:`aequorea.io.open` takes them.
    least : int, default 1
        How many there must be.

    Returns
    -------
    images : tuple of Image
        One per channel, lazy, on one grid.
    names : tuple of str
        All different.

    Raises
    ------
    InputError
        For files, channels or shapes that do not fit together.
    """
    opened = [open_image(f, scene=scene, axes=axes) for f in files]
    if len(opened) == 1:
        image = opened[0]
        images = [image.channel(k) for k in range(len(image.channels))]
        names = _distinct(image.channels)
    else:
        for image in opened:
            if len(image.channels) != 1:
                raise ChannelError(
                    f"{image.source}: has {len(image.channels)} channels; several files must have "
                    "one channel each (give one file with channels, or save them separately)"
                )
        images = [image.channel(0) for image in opened]
        names = _distinct(
            [i.channels[0] for i in images], [f.stem.removesuffix(".ome") for f in files]
        )
    chosen = _chosen(names, wanted, files, least)
    images = [images[k] for k in chosen]
    _require_one_grid(images)
    return tuple(images), tuple(names[k] for k in chosen)


def _distinct(names: Sequence[str], otherwise: Sequence[str] = ()) -> tuple[str, ...]:
    for candidates in (names, otherwise):
        if candidates and len(set(candidates)) == len(candidates):
            return tuple(candidates)
    return tuple(f"{k}:{name}" for k, name in enumerate(otherwise or names))


def _chosen(
    names: Sequence[str], wanted: Sequence[str] | None, files: Sequence[Path], least: int
) -> tuple[int, ...]:
    listed = ", ".join(f"{k}:{n}" for k, n in enumerate(names))
    where = ", ".join(str(f) for f in files)
    if wanted is None:
        chosen = tuple(range(len(names)))
    else:
        chosen = tuple(_index(name, names, listed, where) for name in wanted)
    if len(set(chosen)) < len(chosen):
        raise ChannelError(f"{where}: --channels names a channel twice; it has {listed}")
    if len(chosen) < least:
        raise ChannelError(
            f"{where}: {_NUMBERS.get(least, least)} channels are needed, found {listed}; give "
            "another file or an image with more channels"
        )
    return chosen


def _index(name: str, names: Sequence[str], listed: str, where: str) -> int:
    if name in names:
        return list(names).index(name)
    if name.isdigit() and int(name) < len(names):
        return int(name)
    raise ChannelError(f"{where}: no channel {name!r}; it has {listed}")


def _require_one_grid(images: Sequence[Image]) -> None:
    first = images[0]
    for other in images[1:]:
        if (other.axes, other.shape) != (first.axes, first.shape):
            raise AxisMismatchError(
                f"{other.source}: shape {_worded(other)} differs from {_worded(first)} of "
                f"{first.source}; both channels must show the same pixels"
            )


def _worded(image: Image) -> str:
    return " × ".join(f"{a}={n}" for a, n in image.sizes.items())


def calibrated(
    images: Sequence[Image], names: Sequence[str], spacing_um: Sequence[float] | None
) -> tuple[Image, ...]:
    """Images with one pixel size: the given one, or the one their files agree on.

    Raises
    ------
    InputError
        If files differ and none is given.
    """
    if spacing_um is not None:
        axes = images[0].axes.replace("t", "")
        given = dict(zip("zyx"[-len(spacing_um) :], spacing_um, strict=True))
        known = {a: s for a, s in given.items() if a in axes}
        _doubt_spacing(given, images)
        return tuple(image.with_spacing(**known) for image in images)
    agreed: dict[str, float | None] = {}
    for axis in images[0].spacing_um:
        agreed[axis] = _agreed(axis, images, names)
    return tuple(image.with_spacing(**agreed) for image in images)


def _doubt_spacing(given: Mapping[str, float], images: Sequence[Image]) -> None:
    """Say where given pixel sizes contradict the file, look like another unit, or are unused."""
    for axis, size in given.items():
        if axis not in images[0].axes:
            _tell(f"--spacing-um: {axis} ({size:g} µm) is not used, the image has no {axis} axis")
            continue
        in_file = next((s for i in images if (s := i.spacing_um[axis])), None)
        if in_file is not None and abs(size - in_file) > _CONTRADICTION * in_file:
            _tell(
                f"--spacing-um: {axis} is {size:g} µm as given, and {in_file:g} µm in "
                f"{images[0].source}; the given value is used"
            )
        if axis in "yx" and not _SMALLEST_UM <= size <= _LARGEST_UM:
            _tell(f"--spacing-um: {axis} is {size:g}; is this in µm?")


def _tell(message: str) -> None:
    warnings.warn(message, AequoreaWarning, stacklevel=2)


def _spatial(image: Image) -> str:
    return ",".join(image.axes.replace("t", ""))


def _agreed(axis: str, images: Sequence[Image], names: Sequence[str]) -> float | None:
    known = [(n, s) for n, i in zip(names, images, strict=True) if (s := i.spacing_um[axis])]
    if not known:
        return None
    values = [s for _, s in known]
    if max(values) > min(values) * (1 + _RELATIVE_CALIBRATION):
        told = ", ".join(f"{n} {s:g} µm" for n, s in known)
        raise InputError(
            f"channels differ in pixel size along {axis} ({told}); "
            f"give the right one with --spacing-um {_spatial(images[0])}"
        )
    if len(known) < len(images):
        warnings.warn(
            f"pixel size along {axis} is given for {', '.join(n for n, _ in known)} only and used "
            "for all "
            "channels",
            AequoreaWarning,
            stacklevel=2,
        )
    return values[0]


def read_regions_of(
    path: Path | None, image: Image
) -> tuple[NDArray[Any] | None, Mapping[int, str]]:
    """Labels of the regions to measure in, and their names; None is the whole image.

    Raises
    ------
    InputError
        If the file has no regions, is no label image, or does not fit the image.
    """
    if path is None:
        return None, {0: "whole image"}
    spatial = tuple(image.sizes[a] for a in image.axes.replace("t", ""))
    labels, names = labels_of(path, spatial)
    regions = fit_labels(labels, spatial, image.sizes.get("t", 1), what=str(path))
    present = [int(k) for k in np.unique(regions) if k != 0]
    if not present:
        raise InputError(f"{path}: has no regions (all labels are 0)")
    if len(present) > _MANY_LABELS and not names:
        _refuse_intensities(path, regions, len(present), has_frames=regions.ndim > len(spatial))
    return regions, {k: names.get(k, str(k)) for k in present}


def _refuse_intensities(
    path: Path, regions: NDArray[Any], n_labels: int, *, has_frames: bool
) -> None:
    """Labels of objects are a few connected pieces each, intensities are scattered."""
    from skimage.measure import label

    still = regions[0] if has_frames else regions
    plane = still.reshape(-1, *still.shape[-2:])[still.reshape(-1, *still.shape[-2:]).shape[0] // 2]
    here = np.unique(plane[plane != 0]).size
    pieces = int(label(plane, background=0).max())
    if here > _MANY_LABELS and pieces > _PIECES_PER_LABEL * here:
        raise InputError(
            f"{path}: this looks like an intensity image ({n_labels} labels, scattered over "
            f"{pieces} pieces); regions are a label image with one number per region"
        )


def labels_of(path: Path, spatial: tuple[int, ...]) -> tuple[NDArray[Any], Mapping[int, str]]:
    """A label image or ImageJ ROIs as labels, with names where the file has them."""
    from aequorea.io import read_labels, read_regions

    if path.suffix.lower() in {".roi", ".zip"}:
        labels, names = read_regions(path, spatial[-2:])
        return labels, dict(enumerate(names, start=1))
    return np.asarray(read_labels(path)), {}


def fit_labels(
    labels: NDArray[Any], spatial: tuple[int, ...], n_frames: int, *, what: str
) -> NDArray[Any]:
    """Labels with the shape of the image; labels drawn in 2D hold for every slice.

    Raises
    ------
    AxisMismatchError
        If they fit in none of these ways.
    """
    squeezed = labels.reshape([n for n in labels.shape if n != 1] or [1])
    for shape in (spatial, (n_frames, *spatial)):
        if squeezed.shape == tuple(n for n in shape if n != 1):
            return squeezed.reshape(shape)
    if len(spatial) == 3 and squeezed.shape == spatial[1:]:
        return np.broadcast_to(squeezed, spatial)
    raise AxisMismatchError(
        f"{what}: labels of shape {labels.shape} do not fit an image of shape {spatial}; "
        "they must be drawn on the same pixels"
    )
