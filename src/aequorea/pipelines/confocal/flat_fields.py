"""A flat field out of files of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.filters.illumination import FlatField, estimate_flat_field
from aequorea.io import write_ome_tiff
from aequorea.io.atomic import replacing
from aequorea.model import Image
from aequorea.pipelines.channels import open_channels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["estimate_from_files"]


def estimate_from_files(
    files: Sequence[Path],
    out: Path,
    *,
    channel: str,
    dark: float,
    smooth: float = 0.1,
    quantile: float = 0.5,
    scene: int = 0,
    axes: str | None = None,
) -> FlatField:
    """Estimate the flat field of a channel, and write it as TIFF.

    Parameters
    ----------
    files : sequence of Path
        One at a time is in memory.
    out : Path
    channel : str
        By name or number.
    dark : float
        Grey level without light.
    smooth : float
        SD of the smoothing over the width of the field.
    quantile, scene, axes
        As for :func:`aequorea.filters.estimate_flat_field` and :func:`aequorea.io.open`.

    Returns
    -------
    FlatField

    Raises
    ------
    InputError
        For fewer than ten files, or files that do not fit together.
    """

    def channels() -> Iterator[NDArray[Any]]:
        for file in files:
            images, _ = open_channels([file], [channel], scene=scene, axes=axes)
            image = images[0].isel(t=0) if "t" in images[0].axes else images[0]
            yield np.asarray(image)

    width = 0
    if files:
        images, _ = open_channels([files[0]], [channel], scene=scene, axes=axes)
        width = images[0].sizes["x"]
    found = estimate_flat_field(
        channels(), smooth_px=max(smooth * width, 1.0), dark=dark, quantile=quantile
    )
    flat = Image(
        data=found.field,
        axes="yx",
        channels=("flat field",),
        spacing_um={"y": None, "x": None},
    )
    with replacing(out, overwrite=True) as target:
        write_ome_tiff(flat, target)
    return found
