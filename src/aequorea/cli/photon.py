"""``aequorea photon`` and ``aequorea convert --photon``: movies as photons."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - cyclopts reads annotations
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from aequorea.errors import InputError
from aequorea.pipelines.run.execution import worded_bytes
from aequorea.pipelines.run.progress import terminal_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aequorea.io import PhotonStatistics
    from aequorea.model import Image
    from aequorea.photon import PhotonTransfer

app = App(name="photon", help="Gain of a movie, and what storing it as photons saves.")
_CHANNEL = "Channel of the movie, by name or number, if it has several."
_JSON = "Print JSON instead of words."


@app.command
def gain(
    movie: Path,
    /,
    *,
    channel: Annotated[str | None, Parameter(help=_CHANNEL)] = None,
    plot: Annotated[
        Path | None, Parameter(help="PNG to draw the photon-transfer curve into.")
    ] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=(), help=_JSON)] = False,
) -> None:
    """Estimate how many counts a photon makes, and the count of no light.

    Parameters
    ----------
    movie : Path
        Raw counts: a file, or the folder of a recording.
    """
    from aequorea.io.photon_store import plane_for_transfer, transfer_of

    found = transfer_of(plane_for_transfer(_opened(movie, channel)))
    if plot is not None:
        _draw(found, movie.name, plot)
    if as_json:
        facts = {k: v for k, v in asdict(found).items() if k not in {"means", "variances"}}
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(_of_transfer(found)) + "\n")


@app.command
def stats(
    store: Path,
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative=(), help=_JSON)] = False,
) -> None:
    """Tell how small a stored movie is, beside its raw counts and what its noise demands.

    Parameters
    ----------
    store : Path
        Written by ``aequorea convert --photon``.
    """
    from aequorea.io import photon_statistics

    found = photon_statistics(store)
    if as_json:
        facts = asdict(found) | {"ratio": found.ratio, "over_floor": found.over_floor}
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(_of_store(found)) + "\n")


def store(
    source: Path,
    target: Path,
    *,
    scene: int,
    axes: str | None,
    channel: str | None,
    frame_rate_hz: float | None,
    workers: int | None,
    **options: Any,
) -> None:
    """Write a movie as photons, and say what came of it."""
    from aequorea.io import photon_statistics, write_photon_store

    if target.suffix.lower() != ".zarr":
        raise InputError(f"{target}: movies are stored as photons in Zarr; end its name in .zarr")
    if workers is not None and workers < 1:
        raise InputError(f"--workers: expected 1 or more, got {workers}")
    movie = _opened(source, channel, scene=scene, axes=axes, frame_rate_hz=frame_rate_hz)
    with terminal_progress() as progress:
        progress.begin("frames")
        found = write_photon_store(
            movie, target, told=progress.advance, workers=workers or os.cpu_count() or 1, **options
        )
        progress.end("done")
    lines = list(_of_transfer(found)) if found is not None else []
    lines += _of_store(photon_statistics(target))
    sys.stdout.write("\n".join([*lines, str(target)]) + "\n")


def _opened(source: Path, channel: str | None, **options: Any) -> Image:
    from aequorea.io import open_movie

    movie = open_movie(source, **options)
    if channel is None:
        return movie
    return movie.channel(int(channel) if channel.isdigit() else channel)


def _of_transfer(found: PhotonTransfer) -> Iterator[str]:
    low, high = found.gain_interval
    least, most = found.zero_interval
    yield f"gain      {found.gain:.4g} counts per photon (95 % CI {low:.4g} to {high:.4g})"
    yield f"zero      {found.zero:.4g} counts (95 % CI {least:.4g} to {most:.4g})"
    yield f"from      {found.n_frames} frames, {found.n_pixels} pixels ({found.n_clipped} clipped)"
    yield from (f"note      {note}" for note in found.notes)


def _of_store(found: PhotonStatistics) -> Iterator[str]:
    kept = "every count" if found.lossless else f"cells of {found.step:g} SD of the noise"
    raw, stored = worded_bytes(found.original_bytes), worded_bytes(found.stored_bytes)
    size = " × ".join(f"{a}={n}" for a, n in zip(found.axes, found.shape, strict=True))
    yield f"movie     {size}, {found.dtype}, {raw}"
    yield f"stored    {stored}: {found.ratio:.2f} times smaller; kept: {kept}"
    yield (
        f"bits      {found.bits_per_pixel:.2f} per pixel; Gaussian noise of this gain alone needs "
        f"{found.noise_floor_bits:.2f}"
    )
    yield f"codec     gain {found.gain:.4g}, zero {found.zero:.4g}"


def _draw(found: PhotonTransfer, title: str, path: Path) -> None:
    from aequorea.io.atomic import replacing
    from aequorea.report.photon_figures import photon_transfer_figure

    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: the plot is a PNG; end its name in .png")
    figure = photon_transfer_figure(found, title)
    with replacing(path, overwrite=True) as temporary:
        figure.savefig(temporary, dpi=192, format="png")
