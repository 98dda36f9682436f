"""The methods paragraph of a confocal stack: what was done, with every parameter in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aequorea.report.checks import percent
from aequorea.report.confocal_molecules import methods_of_molecules
from aequorea.report.methods import MethodsText
from aequorea.report.numbers import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aequorea.report.run_contents import RunContents


def methods_of_confocal(run: RunContents, names: Mapping[str, str]) -> MethodsText:
    """What was done to one stack, in words, with the papers it rests on."""
    p, text = run.parameter, MethodsText()
    spots = [r for r in names if r.startswith("puncta")]
    scale = float(run.table("channels")["z_scale_factor"].iloc[0])
    text.say(f"Stacks were analysed in 3D with aequorea {run.version}; all lengths are in µm")
    if scale != 1:
        text.say(
            f"Plane distances were multiplied by {number(scale)} for the difference between the "
            "refractive indices of immersion and mounting medium"
        )
    if p("repair_hot_pixels"):
        text.say("Single voxels brighter than light through a lens can be were replaced")
    for sentence in _light(run, names):
        text.say(sentence)
    for sentence, paper in _compartments(run, names):
        text.say(sentence, *paper)
    for role in spots:
        text.say(_puncta(run, role, names[role]))
    if spots:
        text.say(
            "A punctum belongs to the cell and the compartment that hold its position. Distances "
            "are those from the position to the nearest voxel of the cell's own nucleus (0 "
            "inside) and to the outermost voxels of the cell. The volume rank of a punctum is the "
            "share of its cell's cytosol that lies nearer to the nucleus: even puncta have a mean "
            "of 0.5, whatever the shape of the cell"
        )
        for sentence, paper in _nulls(run, len(spots)):
            text.say(sentence, *paper)
    for sentence in (*methods_of_molecules(run, names), *_landmarks(run, names)):
        text.say(sentence)
    if len(spots) > 1:
        text.say(
            "Puncta of different kinds were paired one to one up to "
            f"{number(p('conjunction.pair_distance_um'))} µm apart, as many pairs as possible; the "
            "number expected by chance is that of puncta moved at random within shells of equal "
            "volume around the nucleus"
        )
    if spots and p("detection.efficiency"):
        text.say(
            "Detection was tested by putting spots of known brightness into the cells of each "
            "image, away from puncta, and detecting again"
        )
    for role in (r for r in names if r.startswith("protein")):
        above = (
            "the median outside all cells"
            if p(f"{role}.background") in {None, "none"}
            else "its background"
        )
        text.say(
            f"The intensity of {names[role]} was measured above {above}; its distances are "
            "weighted by intensity"
        )
    text.say(
        f"The cytosol was divided into {p('distances.n_shells')} shells of equal volume by the "
        "distance from the nucleus"
    )
    return text


def _light(run: RunContents, names: Mapping[str, str]) -> Iterator[str]:
    """What was corrected in the images."""
    p = run.parameter
    for role, name in names.items():
        dark = p(f"{role}.dark")
        level = "a dark image" if p(f"{role}.dark_image") is not None else "a dark level"
        if dark is not None:
            level = f"a dark level of {number(dark)}"
        subtracted = dark is not None or p(f"{role}.dark_image") is not None
        if p(f"{role}.flat_field") is not None:
            yield f"{name} had {level} subtracted and was divided by a flat field of mean 1" + (
                "; its puncta were found and fitted in counts, and only their intensities divided"
                if role.startswith("puncta")
                else ""
            )
        elif subtracted:
            yield f"{name} had {level} subtracted"
        if not role.startswith("puncta") and p(f"{role}.background") == "given":
            level = number(p(f"{role}.background_level"))
            yield f"A background of {level} was subtracted from {name}"
        if not role.startswith("puncta") and p(f"{role}.background") == "local":
            yield (
                f"The background of {name}, the grey opening of each plane by a disc of "
                f"{number(p(f'{role}.background_radius_um'))} µm, was subtracted"
            )
    if p("attenuation_correction"):
        yield (
            "Intensities of puncta and proteins were multiplied by what an exponential fitted to "
            "the mean in cells, plane by plane, loses with depth"
        )
    if p("chromatic") is not None:
        yield (
            "Chromatic shifts were measured on beads: positions of puncta were moved to where the "
            "channel of the nuclei would show them, images of cells and proteins by whole voxels"
        )


def _nulls(run: RunContents, n_kinds: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What chance is, as far as detection lets it be seen."""
    p = run.parameter
    by_depth = p("detection.efficiency") and p("nulls.null_by_depth")
    apart = float(p("nulls.null_hard_core_sd"))
    spread = float(p("nulls.null_hard_core_spread"))
    yield (
        f"Each cell with at least {p('nulls.least_puncta')} cytosolic puncta was held against "
        f"{p('nulls.n_simulations')} random placements of as many points in its own cytosol"
        + (
            ", as dense at each depth as spots put into the image were found there"
            if by_depth
            else ""
        )
        + (
            f", no two of them within {number(apart)} SD of a spot along each axis (SD of that "
            f"distance {percent(spread)}), as detection takes most pairs that near for one"
            if apart
            else ""
        )
        + "; the p-value of all curves together is that of a global rank envelope. Real cells are "
        "rarely random: what is reported is observed over expected, and compared between animals",
        ("myllymaki2017",),
    )
    if p("nulls.null_foci_moved"):
        yield (
            "The distance to the nucleus was also held against foci moved and turned as wholes",
            (),
        )
    if p("nulls.point_curves"):
        yield (
            (
                "L(r) − r (edges corrected by the isotropised set covariance of each cytosol) and "
                "the distribution function of distances to the nearest punctum are shown with "
                "global envelopes (extreme rank length)"
            ),
            ("myllymaki2017",),
        )
    if n_kinds > 1 and p("nulls.null_kinds_swapped"):
        yield (
            (
                "Kinds of puncta were swapped within shells of equal volume around the nucleus and "
                "neighbours of different kinds counted"
            ),
            (),
        )


def _compartments(
    run: RunContents, names: Mapping[str, str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    p = run.parameter
    found = [role for role in ("nuclei", "cells") if p(f"{role}.labels") is None]
    for role in ("nuclei", "cells"):
        if role not in found:
            yield f"Labels of {role} were given", ()
    if p("recipe") == "3cams" and found:
        what = {"nuclei": "Nuclei", "cells": "the body of the one cell of the image"}
        told = " and ".join(what[role] for role in found)
        yield (
            (
                f"{told[0].upper()}{told[1:]} {'was' if found == ['cells'] else 'were'} found by "
                "the 3CaMs recipe in the nuclear channel, with its constants in voxels"
            ),
            (),
        )
    elif found:
        if "nuclei" in found:
            yield _nuclei_found(run, names["nuclei"]), ()
        if "cells" in found:
            yield _bodies_found(run, names.get("cells", "the image")), ()
        moved = [role for role in found if p(f"{role}.threshold") is None]
        if p("cells.outline_reach_um") == 0 and "cells" in moved:
            moved.remove("cells")
        if moved:
            yield (
                (
                    f"Outlines of {' and '.join(moved)} were moved back to where they were before "
                    "blur drew them inwards, the zero of the PLUS operator"
                ),
                ("verbeek1994",),
            )
    for role in ("nuclei", "cells"):
        if p(f"{role}.edited") is not None:
            yield f"Labels of {role} were corrected by hand; what was changed is recorded", ()


def _nuclei_found(run: RunContents, name: str) -> str:
    p = run.parameter
    given = p("nuclei.threshold")
    level = "half of each nucleus' height" if given is None else f"grey level {number(given)}"
    least = p("nuclei.min_volume_um3")
    kept = "" if least is None else f"; those below {number(least)} µm³ were dropped"
    return (
        f"Nuclei were found in {name} by a watershed on blocks of about a sixteenth of their "
        f"diameter, outlined at {level}{kept}"
    )


def _bodies_found(run: RunContents, name: str) -> str:
    p = run.parameter
    level, factor = p("cells.threshold"), float(p("cells.threshold_factor"))
    how = (
        f"grey level {number(level)}"
        if level is not None
        else (
            f"{str(p('cells.threshold_method')).capitalize()}'s threshold"
            + ("" if factor == 1 else f" ({number(factor)} times as high above the background)")
            + f", the outline moved by at most {number(p('cells.outline_reach_um'))} µm to where "
            "the brightness falls fastest"
        )
    )
    divided = "divided between the nuclei by a seeded watershed"
    kept = "kept as cells" if p("cells.keep_without_nucleus") else "dropped"
    told = (
        "taken for one cell"
        if p("cells.one_cell")
        else (f"{divided}; pieces without a nucleus were {kept}")
    )
    return (
        f"Cell bodies are what is bright in {name} after a Gaussian of "
        f"{number(p('cells.smooth_um'))} µm, by {how}, in pieces of at least "
        f"{number(p('cells.min_volume_um3'))} µm³, {told}"
    )


def _landmarks(run: RunContents, names: Mapping[str, str]) -> Iterator[str]:
    p = run.parameter
    columns = run.table("cells").columns
    for number_of in ("", *map(str, range(2, 65))):
        role = f"landmark{number_of}"
        if f"{role}_volume_um3" not in columns:
            break
        name = names.get(role, role)
        if p(f"{role}.labels") is not None:
            how = "was given as labels"
        else:
            level = p(f"{role}.threshold")
            by = (
                f"{str(p(f'{role}.threshold_method')).capitalize()}'s threshold of the voxels of "
                "cells"
                if level is None
                else f"grey level {number(level)}"
            )
            how = (
                f"is what is bright within cells after a Gaussian of "
                f"{number(p(f'{role}.smooth_um'))} µm, by {by}, in pieces of at least "
                f"{number(p(f'{role}.min_volume_um3'))} µm³"
            )
        yield (
            f"The structure {name} {how}; distances are those to the nearest of its voxels "
            "in the same cell, beside those of all voxels of the cytosol"
        )


def _puncta(run: RunContents, role: str, name: str) -> str:
    p = run.parameter
    table = run.table("thresholds").set_index("role")
    filter_name = {"log": "Laplacian of Gaussian", "dog": "difference of Gaussians"}[
        str(p(f"{role}.method"))
    ]
    source = {
        "given": "as given",
        "all images": "the same for all images of the study, where noise is expected to make "
        f"{number(p(f'{role}.false_per_image'))} false punctum per image",
        "this image": "where noise is expected to make "
        f"{number(p(f'{role}.false_per_image'))} false punctum in this image",
    }[str(table.loc[role, "source"])]
    snr, apart = float(p(f"{role}.min_snr")), float(p(f"{role}.min_distance_um"))
    inner, outer = (p(f"{role}.background_{side}_sigma") for side in ("inner", "outer"))
    kept = (
        f", and at least {number(snr)} SD of the noise above their background ({number(inner)} to "
        f"{number(outer)} SD of a spot around them)"
        if snr
        else ""
    ) + (f"; of two within {number(apart)} µm the weaker was dropped" if apart else "")
    return (
        f"Puncta of {name} are local maxima of a 3D {filter_name} for spots of SD "
        f"{number(p(f'{role}.spot_sigma_z_um'))} µm along z and "
        f"{number(p(f'{role}.spot_sigma_yx_um'))} µm within planes, at or above "
        f"{number(table.loc[role, 'threshold'])} SD of the filtered noise ({source}){kept}; their "
        "positions and intensities were fitted by a Gaussian integrated over voxels on a constant "
        "background (maximum likelihood)"
    )
