"""From a microscope file to the channels that are analysed, and where their results go."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from aequorea.errors import AequoreaWarning, AxisMismatchError, InputError
from aequorea.io import open as open_image
from aequorea.pipelines.cells.compat.results import (
    LoadedImageChannels,
    LoadedSingleChannelImage,
    ResultsPaths,
    SingleChannelResultsPaths,
)
from aequorea.pipelines.cells.fields import prepared_stack, z_bounds

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aequorea.model import Image
    from aequorea.pipelines.cells.compat.configs import (
        CellposeModelConfig,
        ChannelConfig,
        SingleChannelConfig,
    )
    from aequorea.pipelines.cells.compat.results import VoxelScale

LoadedT = TypeVar("LoadedT", LoadedImageChannels, LoadedSingleChannelImage)
_PIXELS = ("cell_image", "marker_image", "optional_region_image", "image")


def build_results_paths(
    source_path: str | os.PathLike[str], results_dir: str | os.PathLike[str] | None = None
) -> ResultsPaths:
    """Names of the files that a run writes, in ``results`` beside the source or elsewhere.

    Parameters
    ----------
    source_path : path
    results_dir : path, optional
        For raw data that must not be written to.
    """
    source, folder = _places(source_path, results_dir)
    stem = source.stem
    return ResultsPaths(
        source_path=source,
        results_dir=folder,
        roi_mask_path=folder / f"{stem}_roi_labelmask.tif",
        detailed_csv_path=folder / f"{stem}_cell_colocalization.csv",
        excel_path=folder / f"{stem}_cell_colocalization.xlsx",
        cell_mask_path=folder / f"{stem}_cell_masks.tif",
        marker_mask_path=folder / f"{stem}_marker_masks.tif",
        positive_cell_mask_path=folder / f"{stem}_positive_cell_masks.tif",
        optional_region_mask_path=folder / f"{stem}_region_mask.tif",
    )


def build_single_channel_results_paths(
    source_path: str | os.PathLike[str], results_dir: str | os.PathLike[str] | None = None
) -> SingleChannelResultsPaths:
    """Names of the files that a single-channel run writes."""
    source, folder = _places(source_path, results_dir)
    stem = source.stem
    return SingleChannelResultsPaths(
        source_path=source,
        results_dir=folder,
        roi_mask_path=folder / f"{stem}_roi_labelmask.tif",
        object_csv_path=folder / f"{stem}_single_channel_objects.csv",
        excel_path=folder / f"{stem}_single_channel_segmentation.xlsx",
        mask_path=folder / f"{stem}_single_channel_masks.tif",
    )


def _places(
    source_path: str | os.PathLike[str], results_dir: str | os.PathLike[str] | None
) -> tuple[Path, Path]:
    source = Path(source_path)
    return source, source.parent / "results" if results_dir is None else Path(results_dir)


def load_analysis_images(
    source_path: str | os.PathLike[str],
    channel_config: ChannelConfig,
    voxel_scale_zyx: Sequence[float] | None = None,
    crop_for_testing: Sequence[slice] | None = None,
    image_loading_mode: str = "memory",
    *,
    results_dir: str | os.PathLike[str] | None = None,
) -> LoadedImageChannels:
    """Read the channels that are analysed.

    Parameters
    ----------
    source_path : path
        Any file :func:`aequorea.open` reads.
    channel_config : ChannelConfig
    voxel_scale_zyx : (z, y, x) or (y, x), µm, optional
        Wins over the file; the file's own calibration if not given. What neither gives is
        ``None``, never 1.
    crop_for_testing : sequence of slice, optional
        Along z, y, x (or y, x for an image without z).
    image_loading_mode : {"memory", "memap"}
        Both read only the channels and planes that are needed.
    results_dir : path, optional
        Where results go; ``results`` beside the source if not given.

    Returns
    -------
    LoadedImageChannels

    Raises
    ------
    InputError
        For files, channels, scales or crops that cannot be used.
    """
    image = _opened(source_path, image_loading_mode)
    numbers = [channel_config.cell_channel, channel_config.marker_channel]
    if channel_config.optional_region_channel is not None:
        numbers.append(channel_config.optional_region_channel)
    channels = [_cropped(image.channel(k), crop_for_testing) for k in numbers]
    return LoadedImageChannels(
        paths=build_results_paths(source_path, results_dir),
        cell_image=channels[0],
        marker_image=channels[1],
        optional_region_image=channels[2] if len(channels) == 3 else None,
        **_facts(image, source_path, voxel_scale_zyx),
    )


def load_single_channel_image(
    source_path: str | os.PathLike[str],
    channel_config: SingleChannelConfig,
    voxel_scale_zyx: Sequence[float] | None = None,
    crop_for_testing: Sequence[slice] | None = None,
    image_loading_mode: str = "memory",
    *,
    results_dir: str | os.PathLike[str] | None = None,
) -> LoadedSingleChannelImage:
    """Read the one channel that is analysed; see :func:`load_analysis_images`."""
    image = _opened(source_path, image_loading_mode)
    return LoadedSingleChannelImage(
        paths=build_single_channel_results_paths(source_path, results_dir),
        image=_cropped(image.channel(channel_config.channel_index), crop_for_testing),
        **_facts(image, source_path, voxel_scale_zyx),
    )


def _opened(source_path: str | os.PathLike[str], mode: str) -> Image:
    if mode not in {"memory", "memap", "memmap"}:
        raise InputError(f"image_loading_mode: expected 'memory' or 'memap', got {mode!r}")
    image = open_image(Path(source_path))
    n_frames = image.sizes.get("t", 1)
    if "t" not in image.axes:
        return image
    if n_frames > 1:
        warnings.warn(
            f"{source_path}: has {n_frames} time points; the first is analysed (if these are "
            "z-planes, save the file with its axes said, as aequorea convert --axes does)",
            AequoreaWarning,
            stacklevel=3,
        )
    return image.isel(t=0)


def _facts(
    image: Image,
    source_path: str | os.PathLike[str],
    voxel_scale_zyx: Sequence[float] | None,
) -> dict[str, Any]:
    depth = image.sizes.get("z", 1)
    n_channels = len(image.channels)
    return {
        "source_path": Path(source_path),
        "voxel_scale_zyx": _scale(image, voxel_scale_zyx),
        "raw_shape_tzcyx": (1, depth, n_channels, image.sizes["y"], image.sizes["x"]),
        "raw_z_size": depth,
        "is_3d": depth > 1,
        "metadata": dict(image.metadata),
    }


def _scale(image: Image, given: Sequence[float] | None) -> VoxelScale:
    """(z, y, x) in µm: what was given, else what the file says, else None."""
    in_file = image.spacing_um
    if given is None:
        scale = in_file.get("z"), in_file["y"], in_file["x"]
        missing = [a for a, s in zip("zyx", scale, strict=True) if s is None and a in image.axes]
        if missing:
            warnings.warn(
                f"{image.source}: no pixel size for {', '.join(missing)}: columns in µm are "
                "empty (give it with voxel_scale_zyx)",
                AequoreaWarning,
                stacklevel=4,
            )
        return scale
    values = tuple(float(s) for s in given)
    if len(values) not in (2, 3) or not all(np.isfinite(v) and v > 0 for v in values):
        raise InputError(
            f"voxel_scale_zyx: expected (z, y, x) or (y, x) in µm, all above 0, got {tuple(given)}"
        )
    return (values[0] if len(values) == 3 else in_file.get("z"), values[-2], values[-1])


def _cropped(channel: Image, crop: Sequence[slice] | None) -> NDArray[Any]:
    if crop is None:
        pixels = channel[...]
    else:
        slices = list(crop)
        if "z" not in channel.axes and len(slices) == 3:
            slices = slices[1:]
        if len(slices) == 2 and "z" in channel.axes:
            slices = [slice(None), *slices]
        if len(slices) != channel.ndim or not all(isinstance(s, slice) for s in slices):
            raise InputError(
                f"crop_for_testing: expected {channel.ndim} slices along {channel.axes}, got "
                f"{tuple(crop)!r}"
            )
        pixels = channel[tuple(slices)]
    if 0 in pixels.shape:
        raise InputError(f"crop_for_testing {crop!r} leaves no pixels of {channel.shape}")
    return pixels if pixels.ndim == 3 else pixels[None]


def prepare_loaded_images_for_analysis(
    loaded: LoadedImageChannels, *configs: CellposeModelConfig | None
) -> LoadedImageChannels:
    """The same channels, projected along z as the configurations ask.

    A crop along z without projection is kept as ``analysis_z_bounds``: nothing is found or
    measured outside, and masks keep the shape of the stack.

    Raises
    ------
    InputError
        If configurations ask for different crops or projections: both hold for all channels.
    """
    return _prepared(loaded, configs)


def prepare_loaded_single_channel_image_for_analysis(
    loaded: LoadedSingleChannelImage, config: CellposeModelConfig
) -> LoadedSingleChannelImage:
    """The same channel, cropped and projected along z as the configuration asks."""
    return _prepared(loaded, (config,))


def _prepared(loaded: LoadedT, configs: Sequence[CellposeModelConfig | None]) -> LoadedT:
    if loaded.analysis_z_bounds is not None or loaded.z_projection_method is not None:
        return loaded  # done before
    crop = _agreed([c.z_crop for c in configs if c is not None], "z_crop")
    projection = _agreed([c.z_projection for c in configs if c is not None], "z_projection")
    if crop is None and projection is None:
        return loaded
    names = [n for n in _PIXELS if getattr(loaded, n, None) is not None]
    depth = len(getattr(loaded, names[0]))
    bounds = z_bounds(depth, crop)
    if projection is None:
        # masks keep the shape of the stack, so that both can be looked at together
        return dataclasses.replace(loaded, analysis_z_bounds=bounds)
    _, y, x = loaded.voxel_scale_zyx
    projected: dict[str, Any] = {
        n: prepared_stack(getattr(loaded, n), crop, projection) for n in names
    }
    return dataclasses.replace(
        loaded,
        **projected,
        analysis_z_bounds=bounds,
        z_projection_method=projection,
        voxel_scale_zyx=(None, y, x),
        is_3d=False,
    )


def _agreed(values: Sequence[Any], what: str) -> Any:
    given = {v for v in values if v is not None}
    if len(given) > 1:
        raise InputError(
            f"{what}: configurations differ ({', '.join(map(str, given))}); it holds for all "
            "channels, so give one"
        )
    return next(iter(given), None)


def same_shape(first: NDArray[Any], other: NDArray[Any], what: str) -> None:
    """Refuse arrays that are not on one grid.

    Raises
    ------
    AxisMismatchError
        Naming ``what``.
    """
    if first.shape != other.shape:
        raise AxisMismatchError(
            f"{what}: shape {other.shape} differs from the image's {first.shape}; both must be "
            "drawn on the same pixels"
        )
