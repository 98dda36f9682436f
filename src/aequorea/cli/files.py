"""``aequorea info`` and ``aequorea convert``."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - cyclopts reads annotations
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from aequorea.errors import InputError
from aequorea.pipelines.run.execution import worded_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aequorea.io import FileInfo

_AXES = (
    "Axes of the file, in its order, out of tczyx, where it does not say or says it wrong: zyx "
    "for a plain stack."
)


def info(
    file: Path,
    /,
    *,
    scene: Annotated[int, Parameter(help="Which scene (position, series), from 0.")] = 0,
    axes: Annotated[str | None, Parameter(help=_AXES)] = None,
) -> None:
    """Show what an image file contains: axes, calibration, channels, times, scenes.

    Parameters
    ----------
    file : Path
        Any image that can be read.
    """
    from aequorea.io import describe

    sys.stdout.write("\n".join(_lines(describe(file, scene, axes=axes))) + "\n")


def _lines(found: FileInfo) -> Iterator[str]:
    yield found.path
    memory, disk = worded_bytes(found.pixel_bytes), worded_bytes(found.disk_bytes)
    facts = {
        "format": found.format,
        "scenes": f"{len(found.scenes)} (shown: {found.scene} {found.scenes[found.scene]!r})",
        "axes": " × ".join(f"{a}={n}" for a, n in zip(found.axes, found.shape, strict=True)),
        "pixels": f"{found.dtype}, {memory} ({disk} on disk)",
        "spacing": ", ".join(
            f"{a} {'not given' if s is None else f'{s:g} µm'}" for a, s in found.spacing_um.items()
        ),
        "channels": ", ".join(f"{k}:{name}" for k, name in enumerate(found.channels)),
        "time": _time(found),
    }
    yield from (f"  {name:9} {text}" for name, text in facts.items() if text)
    yield from (f"  note      {note}" for note in found.notes)


def _time(found: FileInfo) -> str:
    if found.interval_s is None:
        return ""
    return f"{found.duration_s:g} s, every {found.interval_s:g} s"


def convert(
    source: Path,
    target: Path,
    /,
    *,
    scene: Annotated[int, Parameter(help="Which scene (position, series), from 0.")] = 0,
    axes: Annotated[str | None, Parameter(help=_AXES)] = None,
    overwrite: Annotated[bool, Parameter(help="Replace the target if it exists.")] = False,
    photon: Annotated[
        bool,
        Parameter(
            help="Store a movie of raw counts as photons (.zarr): some times smaller, and read by "
            "any program that uses zarr-python with this package installed. Never for registered, "
            "filtered or lossily compressed movies.",
        ),
    ] = False,
    gain: Annotated[
        float | None,
        Parameter(help="With --photon: counts per photon; estimated from the movie if not given."),
    ] = None,
    zero: Annotated[
        float | None, Parameter(help="With --photon and --gain: the count of no light.")
    ] = None,
    step: Annotated[
        float,
        Parameter(help="With --photon: width of the cells that counts fall into, in noise SD."),
    ] = 0.5,
    lossless: Annotated[bool, Parameter(help="With --photon: keep every count.")] = False,
    channel: Annotated[
        str | None, Parameter(help="With --photon: the channel to store, by name or number.")
    ] = None,
    frame_rate_hz: Annotated[
        float | None, Parameter(help="With --photon: instead of the times in the files, in Hz.")
    ] = None,
    workers: Annotated[
        int | None, Parameter(help="With --photon: threads; all processors if not given.")
    ] = None,
) -> None:
    """Copy an image, with its calibration, to OME-Zarr (.ome.zarr) or OME-TIFF (.ome.tif).

    Parameters
    ----------
    source : Path
        Any image or movie that can be read; with --photon also the folder of a recording.
    target : Path
        What to write; its ending names the format.
    """
    import aequorea

    if photon:
        from aequorea.cli.photon import store

        store(
            source, target, scene=scene, axes=axes, overwrite=overwrite, gain=gain, zero=zero,
            step=step, lossless=lossless, channel=channel, frame_rate_hz=frame_rate_hz,
            workers=workers,
        )  # fmt: skip
        return
    asked = {
        "--gain": gain, "--zero": zero, "--channel": channel, "--frame-rate-hz": frame_rate_hz,
        "--lossless": lossless or None, "--workers": workers,
    }  # fmt: skip
    if extra := [flag for flag, value in asked.items() if value is not None]:
        raise InputError(f"{', '.join(extra)}: only with --photon")
    aequorea.save(aequorea.open(source, scene=scene, axes=axes), target, overwrite=overwrite)
    sys.stdout.write(f"{target}\n")
