"""``aequorea confocal flatfield`` and ``aequorea confocal chromatic``."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - cyclopts reads annotations
from typing import Annotated

from cyclopts import Parameter

from aequorea.errors import InputError

_AXES = "Axes of the files, in their order, out of tczyx, where they do not say."
_SPACING = "Distance between voxel centres in µm, where files do not give it: "


def flatfield(
    *files: Annotated[Path, Parameter(help="Images of different places, ten or more.")],
    channel: Annotated[str, Parameter(help="Channel, by name or number from 0.")],
    dark: Annotated[float, Parameter(help="Grey level without light.")],
    out: Annotated[Path, Parameter(help="Flat field to write (.tif).")],
    smooth: Annotated[
        float, Parameter(help="SD of the smoothing, as a share of the width of the field.")
    ] = 0.1,
    quantile: Annotated[
        float,
        Parameter(help="Of the images at each place: low where bright things are rare."),
    ] = 0.5,
    scene: Annotated[int, Parameter(help="Which scene (position, series), from 0.")] = 0,
    axes: Annotated[str | None, Parameter(help=_AXES)] = None,
) -> None:
    """Estimate how evenly a channel is lit, from many images of different places.

    For --nuclei.flat-field and the like, with the same dark level. A recorded flat field is
    better: this estimate holds only if cells lie anywhere in the images with the same chance.
    """
    from aequorea.pipelines.confocal.flat_fields import estimate_from_files

    found = estimate_from_files(
        files,
        out,
        channel=channel,
        dark=dark,
        smooth=smooth,
        quantile=quantile,
        scene=scene,
        axes=axes,
    )
    low, high = float(found.field.min()), float(found.field.max())
    sys.stdout.write(
        f"{out}\n{found.n_images} images, {found.n_planes} planes; light {low:.3f} to {high:.3f} "
        f"of its mean; standard error {100 * found.typical_error:.2g} % (median), "
        f"{100 * found.largest_error:.2g} % (largest)\n"
    )
    if found.typical_error > 0.25 * float(found.field.std()):
        sys.stderr.write(
            "warning: the error is not small beside the unevenness; take more images, or none of "
            "this correction\n"
        )


def chromatic(
    *files: Annotated[Path, Parameter(help="Stacks of multicolour beads, all channels in each.")],
    out: Annotated[Path, Parameter(help="Shifts to write (.json); a .png goes beside it.")],
    reference: Annotated[
        str | None, Parameter(help="Channel to measure against. [default: the first]")
    ] = None,
    sigma_um: Annotated[
        str, Parameter(help="SD of a bead's image in µm: z,y,x.")
    ] = "0.35,0.13,0.13",
    cutoff_um: Annotated[
        float,
        Parameter(help="Above the largest shift, below half the distance of beads, in µm."),
    ] = 1.0,
    spacing_um: Annotated[str | None, Parameter(help=_SPACING + "z,y,x.")] = None,
    scene: Annotated[int, Parameter(help="Which scene (position, series), from 0.")] = 0,
    axes: Annotated[str | None, Parameter(help=_AXES)] = None,
) -> None:
    """Measure the shift between channels on beads or a control with all dyes on one structure.

    For --chromatic. Record beads as the samples: objective, filters, immersion, voxel size, field.
    """
    from aequorea.pipelines.confocal.chromatic import measure_shifts, write_shifts
    from aequorea.report.bead_figure import bead_figure

    if not files:
        raise InputError("no beads given; expected: aequorea confocal chromatic FILE … --out OUT")
    if out.suffix != ".json":
        raise InputError(f"--out: expected a name that ends in .json, got {out.name!r}")
    found = measure_shifts(
        files,
        reference=reference,
        sigma_um=_three(sigma_um, "--sigma-um"),
        cutoff_um=cutoff_um,
        spacing_um=None if spacing_um is None else _three(spacing_um, "--spacing-um"),
        scene=scene,
        axes=axes,
    )
    write_shifts(found, out)
    figure = bead_figure(
        {name: s.place_um for name, s in found.channels.items()},
        {name: s.residual_um for name, s in found.channels.items()},
    )
    figure.savefig(out.with_suffix(".png"), dpi=120, metadata={"Software": None})
    sys.stdout.write(f"{out}\nagainst {found.reference}, in nm (z, y, x):\n")
    for name, s in found.channels.items():
        shift = ", ".join(
            f"{1000 * v:.0f} ± {1000 * e:.1f}"
            for v, e in zip(s.shift_um, s.standard_error_um, strict=True)
        )
        left = ", ".join(f"{1000 * v:.0f}" for v in s.residual_rms_um)
        scale = (
            f"; magnification {1 + s.magnification:.5f}, rotation {1000 * s.rotation_rad:.2f} mrad"
            if s.has_scale
            else ""
        )
        sys.stdout.write(
            f"  {name}: {shift}; left {left} RMS of {s.n_beads} beads "
            f"({s.n_outliers} left out){scale}\n"
        )


def _three(text: str, flag: str) -> tuple[float, float, float]:
    try:
        z, y, x = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{flag}: expected three numbers z,y,x, got {text!r}") from None
    if min(z, y, x) <= 0:
        raise InputError(f"{flag}: expected numbers above 0, got {text!r}")
    return z, y, x
