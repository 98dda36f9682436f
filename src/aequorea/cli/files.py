"""``aequorea info`` and ``aequorea convert``."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - cyclopts reads annotations
from typing import Annotated

from cyclopts import Parameter

from aequorea.errors import OutputError


def info(
    file: Path,
    /,
    *,
    scene: Annotated[int, Parameter(help="Which scene (position, series), from 0.")] = 0,
) -> None:
    """Show what an image file contains: axes, calibration, channels, times, scenes.

    Parameters
    ----------
    file : Path
        Any image that can be read.
    """
    import aequorea
    from aequorea.io import describe

    sys.stdout.write(f"{describe(aequorea.open(file, scene=scene))}\n")


def convert(
    source: Path,
    target: Path,
    /,
    *,
    scene: Annotated[int, Parameter(help="Which scene (position, series), from 0.")] = 0,
) -> None:
    """Copy an image, with its calibration, to OME-Zarr (.ome.zarr) or OME-TIFF (.ome.tif).

    Parameters
    ----------
    source : Path
        Any image that can be read.
    target : Path
        What to write; its ending names the format. An existing file is not overwritten.
    """
    import aequorea

    if target.exists():
        raise OutputError(f"{target}: exists; give another name or remove it")
    aequorea.save(aequorea.open(source, scene=scene), target)
    sys.stdout.write(f"{target}\n")
