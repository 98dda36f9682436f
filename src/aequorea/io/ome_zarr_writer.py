"""Writing OME-Zarr 0.5: images, their pyramids and their label images."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AxisMismatchError, InputError
from aequorea.io.atomic import replacing
from aequorea.io.axes import check_pixels
from aequorea.io.ome_zarr import KEPT_METADATA, OUR_ENCODING, OURS
from aequorea.model.image import Image

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from aequorea.model.lazy import LazyArray

VERSION = "0.5"
_CHUNK_YX = 1024
_SMALLEST_LEVEL = 256
# one block in memory while writing: 16 chunks of 16-bit pixels
_BLOCK_BYTES = 32 * 2**20
_SPACE_TYPE = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_COLOURS = ("00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF", "FFFFFF")


def write_ome_zarr(
    image: Image,
    path: str | os.PathLike[str],
    *,
    labels: Mapping[str, Image | NDArray[Any]] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an image as OME-Zarr 0.5, with a pyramid, and label images beside it.

    Parameters
    ----------
    image : Image
    path : path
        Folder that is to appear; by custom it ends in ``.ome.zarr``.
    labels : mapping of name to Image or ndarray of int, optional
        Label images over the same pixels: the shape of ``image`` without its ``c`` axis, or
        its ``zyx`` or ``yx`` part.
    overwrite : bool, default False

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        If it cannot be written, or exists and ``overwrite`` is False.
    InputError
        If the image has no pixels, or pixels that are not real numbers; if labels are not
        integers or have a name that cannot be a folder's.
    AxisMismatchError
        If labels do not fit the image.

    Notes
    -----
    Level 0 holds the pixels exactly (Zstandard, lossless). Each further level halves y and x:
    means of 2 × 2 pixels for images, every second pixel for labels; their coordinate
    transformations place the pixel centres right. Calibration stands in the standard scale and
    unit; an axis without calibration has no unit, which readers take for what it is. What the
    standard has no place for (irregular times, the name of a label image) stands in the
    attribute ``aequorea``. Memory: about 64 MB beside what the source needs for one plane.
    Axes of size 1 are written; readers leave them out again.

    References
    ----------
    .. [1] Moore et al. (2023) OME-Zarr: a cloud-optimized bioimaging file format,
       doi:10.1007/s00418-023-02209-1; specification 0.5: https://ngff.openmicroscopy.org/0.5/
    """
    import zarr

    check_pixels(image.data, image.source or "image")
    masks = {name: _label_image(name, item, image) for name, item in (labels or {}).items()}
    with replacing(path, overwrite=overwrite) as temporary:
        root = zarr.create_group(temporary, zarr_format=3)
        levels, windows = _write_levels(root, image, is_labels=False)
        root.attrs.update(
            {
                "ome": {
                    "version": VERSION,
                    "multiscales": [multiscale(image, levels, "mean")],
                    "omero": omero(image, windows),
                },
                OURS: kept_exactly(image),
            }
        )
        if masks:
            folder = root.create_group("labels")
            folder.attrs["ome"] = {"version": VERSION, "labels": list(masks)}
            for name, mask in masks.items():
                _write_labels(folder.create_group(name), mask)
    return Path(path)


def _write_labels(group: Any, mask: Image) -> None:
    levels, _ = _write_levels(group, mask, is_labels=True)
    group.attrs.update(
        {
            "ome": {
                "version": VERSION,
                "multiscales": [multiscale(mask, levels, "nearest")],
                "image-label": {"source": {"image": "../../"}},
            },
            OURS: kept_exactly(mask),
        }
    )


def _label_image(name: str, item: Image | NDArray[Any], image: Image) -> Image:
    if not name or name.startswith(".") or set(name) & set('/\\:*?"<>|') or not name.isprintable():
        raise InputError(f'label name {name!r}: expected a plain name without / \\ : * ? " < > |')
    data: LazyArray = item.data if isinstance(item, Image) else np.asarray(item)
    if np.dtype(data.dtype).kind not in "uib":
        raise InputError(f"labels {name!r} are {data.dtype}; expected integers: round them first")
    axes = image.axes.replace("c", "")[-len(data.shape) :]
    wanted = tuple(image.sizes[a] for a in axes)
    if tuple(data.shape) != wanted or len(axes) < 2:
        raise AxisMismatchError(
            f"labels {name!r} have shape {tuple(data.shape)}; the image has "
            f"{dict(image.sizes)}: expected one label per pixel, without channels"
        )
    if np.dtype(data.dtype).kind == "b":
        data = np.asarray(data[(slice(None),) * len(data.shape)]).astype(np.uint8)
    return Image(
        data=data,
        axes=axes,
        spacing_um={a: s for a, s in image.spacing_um.items() if a in axes},
        times_s=image.times_s if "t" in axes else None,
        channels=(name,),
    )


def _write_levels(
    group: Any, image: Image, *, is_labels: bool
) -> tuple[int, list[tuple[float, float]]]:
    """All levels of a pyramid into ``group``; their number, and the range of each channel."""
    level = _create(group, 0, image.shape, image)
    windows = _copy(image, level)
    count = 1
    while max(level.shape[-2:]) > _SMALLEST_LEVEL:
        smaller = _create(group, count, _halved(level.shape), image)
        _shrink(level, smaller, is_labels=is_labels)
        level = smaller
        count += 1
    return count, windows


def _create(group: Any, level: int, shape: tuple[int, ...], image: Image) -> Any:
    from zarr.codecs import ZstdCodec

    y, x = shape[-2:]
    return group.create_array(
        str(level),
        shape=shape,
        chunks=(*(1,) * (len(shape) - 2), min(y, _CHUNK_YX), min(x, _CHUNK_YX)),
        dtype=image.dtype.newbyteorder("="),
        # with the checksum, a damaged chunk is an error and not a wrong number
        compressors=ZstdCodec(level=3, checksum=True),
        dimension_names=list(image.axes),
    )


def _copy(image: Image, level: Any) -> list[tuple[float, float]]:
    n_channels = len(image.channels)
    ranges = [(math.inf, -math.inf)] * n_channels
    channel_axis = image.axes.find("c")
    for index in _blocks(image.shape, image.dtype.itemsize):
        block = np.asarray(image.data[index])
        level[index] = block
        channel = index[channel_axis].start if channel_axis >= 0 else 0
        finite = block[np.isfinite(block)] if block.dtype.kind == "f" else block
        if finite.size:
            low, high = ranges[channel]
            ranges[channel] = (min(low, float(finite.min())), max(high, float(finite.max())))
    return [(low, high) if low <= high else (0.0, 1.0) for low, high in ranges]


def _shrink(level: Any, smaller: Any, *, is_labels: bool) -> None:
    for index in _blocks(smaller.shape, 4 * smaller.dtype.itemsize):
        source = tuple(
            slice(2 * s.start, min(2 * s.stop, n)) if axis >= len(index) - 2 else s
            for axis, (s, n) in enumerate(zip(index, level.shape, strict=True))
        )
        block = np.asarray(level[source])
        smaller[index] = block[..., ::2, ::2] if is_labels else halve(block)


def halve(block: NDArray[Any]) -> NDArray[Any]:
    """Means of 2 × 2 pixels over the last two axes; odd edges average what is there.

    Examples
    --------
    >>> halve(np.array([[0, 2, 10], [4, 6, 20]], dtype=np.uint8))
    array([[ 3, 15]], dtype=uint8)
    """
    y, x = block.shape[-2:]
    padding = [(0, 0)] * (block.ndim - 2) + [(0, y % 2), (0, x % 2)]
    wide = np.pad(block, padding, mode="edge").astype(np.float64)
    total = (
        wide[..., ::2, ::2] + wide[..., 1::2, ::2] + wide[..., ::2, 1::2] + wide[..., 1::2, 1::2]
    )
    mean = total / 4
    if block.dtype.kind == "f":
        return mean.astype(block.dtype)
    if block.dtype.kind == "b":
        return np.asarray(mean >= 0.5)
    # float64 rounds the largest 64-bit integers up, out of their range
    top = np.nextafter(float(np.iinfo(block.dtype).max), 0) if block.dtype.itemsize == 8 else np.inf
    return np.minimum(np.rint(mean), top).astype(block.dtype)


def _blocks(shape: tuple[int, ...], itemsize: int) -> Iterator[tuple[slice, ...]]:
    """Slices that cover an array, single planes or whole chunk rows of them."""
    *lead, y, x = shape
    in_memory = max(1, _BLOCK_BYTES // (max(1, x * itemsize) * _CHUNK_YX)) * _CHUNK_YX
    for place in itertools.product(*(range(n) for n in lead)):
        fixed = tuple(slice(k, k + 1) for k in place)
        for start in range(0, y, in_memory):
            yield (*fixed, slice(start, min(start + in_memory, y)), slice(0, x))


def _halved(shape: tuple[int, ...]) -> tuple[int, ...]:
    *lead, y, x = shape
    return (*lead, (y + 1) // 2, (x + 1) // 2)


def multiscale(image: Image, levels: int, method: str) -> dict[str, Any]:
    """The entry ``multiscales`` of an image: its axes, levels and calibration."""
    step, start = _time_step(image)
    axes: list[dict[str, str]] = []
    for axis in image.axes:
        described = {"name": axis, "type": _SPACE_TYPE[axis]}
        if axis in "zyx" and image.spacing_um[axis] is not None:
            described["unit"] = "micrometer"
        if axis == "t" and step is not None:
            described["unit"] = "second"
        axes.append(described)
    datasets = [
        {"path": str(k), "coordinateTransformations": _transformations(image, k, step, start)}
        for k in range(levels)
    ]
    name = str(image.scenes[image.scene]) if image.scenes else "image"
    return {"name": name, "axes": axes, "datasets": datasets, "type": method}


def _transformations(
    image: Image, level: int, step: float | None, start: float
) -> list[dict[str, Any]]:
    factor = 2**level
    scale, shift = [], []
    for axis in image.axes:
        size = (step if axis == "t" else image.spacing_um.get(axis)) or 1.0
        grows = axis in "yx"
        scale.append(size * factor if grows else size)
        # the centre of a mean of n pixels lies (n - 1) / 2 pixels after that of its first
        shift.append(size * (factor - 1) / 2 if grows else start if axis == "t" else 0.0)
    described: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if any(shift):
        described.append({"type": "translation", "translation": shift})
    return described


def _time_step(image: Image) -> tuple[float | None, float]:
    times = image.times_s
    if times is None or len(times) < 2:
        return None, 0.0
    step = float(times[-1] - times[0]) / (len(times) - 1)
    regular = step > 0 and np.allclose(np.diff(times), step, rtol=1e-6, atol=0)
    return (step, float(times[0])) if regular else (None, 0.0)


def omero(image: Image, windows: list[tuple[float, float]]) -> dict[str, Any]:
    """How to show its channels: names, colours, ranges."""
    kind = image.dtype.kind
    channels = []
    for k, (name, (low, high)) in enumerate(zip(image.channels, windows, strict=True)):
        least, most = (low, high) if kind in "fb" else _limits(image.dtype)
        window = {"min": least, "max": most, "start": low, "end": high}
        colour = "FFFFFF" if len(windows) == 1 else _COLOURS[k % len(_COLOURS)]
        channels.append({"label": name, "color": colour, "active": True, "window": window})
    return {"channels": channels}


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)


def kept_exactly(image: Image) -> dict[str, Any]:
    """What the standard has no place for."""
    return {
        "encoding": OUR_ENCODING,
        "times_s": None if image.times_s is None else [float(t) for t in image.times_s],
        "channels": list(image.channels),
        **{key: image.metadata[key] for key in KEPT_METADATA if key in image.metadata},
    }
