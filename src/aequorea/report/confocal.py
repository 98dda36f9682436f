"""The page of one confocal stack, made from nothing but the run directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.report.canvas import DPI, PIXELS_DPI, printable
from aequorea.report.cells_tables import hand_edits
from aequorea.report.cells_views import names_of
from aequorea.report.checks import Check, bad, fine, note, percent
from aequorea.report.confocal_counts import of_crowding, of_outside, told_once
from aequorea.report.confocal_figures import (
    cdf_figure,
    chance_figure,
    depth_figure,
    elbow_figure,
    point_curves_figure,
    shells_figure,
    views_figure,
)
from aequorea.report.confocal_methods import methods_of_confocal
from aequorea.report.confocal_molecules import (
    checks_of_molecules,
    measures_of_molecules,
    molecule_plates,
    molecule_tables,
)
from aequorea.report.data_table import DataTable, named
from aequorea.report.numbers import counted, fixed, number
from aequorea.report.page import render_page, write_atomically
from aequorea.report.page_parts import Measure, Plate, Plates
from aequorea.report.run_contents import RunContents, StoredImage, open_contents

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["write_report"]

_VIEW_BYTES = 1_900_000
_GRAPH_BYTES = 260_000
_DIM_SNR, _SATURATED, _FADED, _MOVED_UM = 4.0, 1e-3, 0.5, 1.0
_FOUND = 0.8
_MOST_CELLS = 40
_QUALITY = (
    "As recorded, before any correction. Signal: what half a percent of the voxels exceed, above "
    "the background. Saturated: share of voxels at the largest value. Sharpest plane: where fine "
    "detail is strongest, from 0. Largest step: movement within the plane from one plane to the "
    "next (drift)"
)
_WORKBOOK = "results/confocal.xlsx"
_DISTANCE, _RANDOM = "median distance to the nucleus", "random puncta"


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` of a confocal stack.

    Parameters
    ----------
    run_dir : Path
        With ``run.json``, ``tables`` and ``images.zarr``.

    Returns
    -------
    Path
        One file, below 5 MB, that opens offline and loads nothing. It appears whole or not at
        all.

    Raises
    ------
    RunError
        If the directory does not hold a run.
    OutputError
        If the page cannot be written.
    """
    return write_atomically(run_dir / "report.html", report_html(run_dir))


def report_html(run_dir: Path) -> str:
    """The page of :func:`write_report`, as text."""
    run = open_contents(run_dir, needs="cells")
    image = StoredImage(run_dir)
    names = names_of(run)
    plates = Plates()
    return render_page(
        "confocal.html.j2",
        title=run.title or "Confocal stack",
        facts=_facts(run, image, names),
        checks=list(_checks(run, image, names)),
        verdict=_verdict(run, names),
        measures=list(_measures(run, names)),
        per_cell=_per_cell(run, names),
        views=list(_views(run, image, names, plates)),
        workbook=_WORKBOOK if (run_dir / _WORKBOOK).is_file() else "",
        gallery=(run_dir / "gallery.html").is_file() and len(run.table("cells")),
        distances=list(_distances(run, names, plates)),
        nulls=_nulls(run),
        patterns=list(_patterns(run, names, plates)),
        molecules=list(molecule_plates(run, names, plates)),
        landmarks=[
            (name, list(_to_landmark(run, role, name, names, plates)))
            for role, name in _landmarks(run, names).items()
        ],
        elbows=list(_elbows(run, names, plates)),
        depths=list(_depths(run, plates)),
        edits=list(hand_edits(run, names)),
        tables=list(_tables(run, names)),
        methods=methods_of_confocal(run, names),
        parameters=run.parameter_rows(),
        record=run.record,
        steps=[(n, s) for n, s in run.record.get("steps", {}).items() if n != "report"],
        files=[(f"tables/{name}.csv", len(table)) for name, table in sorted(run.tables.items())],
    )


def _spots(names: Mapping[str, str]) -> dict[str, str]:
    return {r: n for r, n in names.items() if r.startswith("puncta")}


def _facts(run: RunContents, image: StoredImage, names: Mapping[str, str]) -> list[tuple[str, str]]:
    scale = float(run.table("channels")["z_scale_factor"].iloc[0])
    spacing = image.calibration + (f" (z times {number(scale)})" if scale != 1 else "")
    return [
        ("Channels", ", ".join(f"{n} ({r})" if n != r else r for r, n in names.items())),
        ("Size", " × ".join(f"{a} {n}" for a, n in image.sizes.items() if a != "c")),
        ("Voxels", spacing),
        ("Analysed", run.analysed),
    ]


def _checks(run: RunContents, image: StoredImage, names: Mapping[str, str]) -> Iterator[Check]:
    """What misleads first, what was fine last."""
    told = [
        *_of_channels(run),
        *_of_cells(run),
        *_of_puncta(run, image, names),
        *checks_of_molecules(run, names),
        *_of_landmarks(run, names),
    ]
    yield from (check for check in told if check.light == "bad")
    yield from (check for check in told if check.light == "note")
    yield from (note(text) for text in told_once(run.record.get("warnings", [])))
    good = [check for check in told if check.light == "ok"]
    if good:
        yield fine("No trouble found with: " + "; ".join(c.text for c in good) + ".")


def _of_channels(run: RunContents) -> Iterator[Check]:
    table = run.table("channels")
    dim = table[table["snr"] < _DIM_SNR]
    for name, snr in zip(dim["channel"], dim["snr"], strict=True):
        yield note(f"{name} is dim: its signal is {number(snr)} times the noise.")
    if not len(dim):
        yield fine("signal against noise")
    clipped = table[table["saturated_fraction"] > _SATURATED]
    for name, share in zip(clipped["channel"], clipped["saturated_fraction"], strict=True):
        yield bad(f"{name} is saturated in {percent(share)} of its voxels: intensities are wrong.")
    if not len(clipped):
        yield fine("saturation")
    faded = table[table["light_at_the_end"] < _FADED]
    for role, name, left in zip(
        faded["role"], faded["channel"], faded["light_at_the_end"], strict=True
    ):
        missed = "Puncta are missed at depth. " if role.startswith("puncta") else ""
        yield note(
            f"{name} fades with depth: {percent(left)} of the light of the first plane is left at "
            f"the last. {missed}"
            + (
                "Intensities were multiplied by what the fit says is lost: real differences along "
                "z are erased with it."
                if run.parameter("attenuation_correction")
                else "Nothing was corrected, as real differences along z look the same."
            )
        )
    if not len(faded) and table["light_at_the_end"].notna().any():
        yield fine("fading with depth")
    moved = table[table["largest_step_um"] > _MOVED_UM]
    for name, step in zip(moved["channel"], moved["largest_step_um"], strict=True):
        yield note(f"{name} jumps by {number(step)} µm between two planes: did the sample move?")
    if not len(moved) and table["largest_step_um"].notna().any():
        yield fine("movement between planes")
    if len(table) > 1:
        yield _of_registration(run)
    hot = table[table["n_hot_pixels"] > 0]
    if len(hot):
        told = ", ".join(
            f"{number(int(n))} in {c}"
            for c, n in zip(hot["channel"], hot["n_hot_pixels"], strict=True)
        )
        yield note(f"Hot pixels were replaced: {told}.")


def _of_registration(run: RunContents) -> Check:
    if not len(run.table("chromatic")):
        return note(
            "Registration between channels was not checked: without beads nothing is known of "
            "chromatic shift, and nothing was corrected. Distances between channels of less than "
            "about 0.3 µm are not to be trusted (aequorea confocal chromatic)."
        )
    return fine("registration between channels (measured on beads)")


def _of_cells(run: RunContents) -> Iterator[Check]:
    cells = run.table("cells")
    nuclei = run.table("segmentation_nuclei")
    if len(nuclei) and not int(nuclei["n_objects"].iloc[0]):
        yield bad(
            "No nucleus was found. Is --nuclei.channel the nuclear stain? If so, look at it below "
            "and give --nuclei.threshold (grey levels) or --nuclei.diameter-um; nuclei found "
            "elsewhere come in with --nuclei.labels."
        )
    if not len(cells):
        yield bad(
            "No cell was found: nothing is measured. Cells grow around nuclei: mend those first, "
            "then --cells.threshold; --cells.keep-without-nucleus keeps cells that have none."
        )
        return
    cut = int(cells["touches_side"].sum())
    if cut:
        verb = "is" if cut == 1 else "are"
        yield note(
            f"{cut} of {counted(len(cells), 'cell')} {verb} cut by the side of the image: counts "
            "and distances are those of the part that is seen. Studies leave such cells out."
        )
    else:
        yield fine("cells cut by the side of the image")
    flat = int(cells["touches_first_or_last_plane"].sum())
    if flat:
        verb = "reaches" if flat == 1 else "reach"
        yield note(
            f"{flat} of {counted(len(cells), 'cell')} {verb} the first or the last plane: true "
            "heights are unknown."
        )
    bare = int((cells["n_nuclei"] == 0).sum())
    if bare:
        verb = "has" if bare == 1 else "have"
        yield note(
            f"{counted(bare, 'cell')} {verb} no nucleus, so no distances. If it is there, lower "
            "--nuclei.threshold or --nuclei.min-volume-um3."
        )
    several = int((cells["n_nuclei"] > 1).sum())
    if several:
        verb = "has" if several == 1 else "have"
        yield note(
            f"{counted(several, 'cell')} {verb} several nuclei; distances are to the nearest of "
            "them."
        )


def _of_puncta(run: RunContents, image: StoredImage, names: Mapping[str, str]) -> Iterator[Check]:
    puncta = run.table("puncta")
    for role, name in _spots(names).items():
        own = puncta[puncta["role"] == role]
        if not len(own):
            yield bad(
                f"No punctum of {name} was found. If you see some below, compare their size with "
                f"--{role}.spot-sigma-yx-um and --{role}.spot-sigma-z-um, then give "
                f"--{role}.threshold (SD of the noise)."
            )
            continue
        yield from of_outside(run, image, own, name)
        yield from of_crowding(run, own, role, name)
        failed = float((~own["fitted"].astype(bool)).mean())
        if failed > 0.1:
            yield note(
                f"{percent(failed)} of the puncta of {name} could not be fitted; they keep the "
                "position of their brightest voxel."
            )
        yield from _of_efficiency(run, role, name)


def _landmarks(run: RunContents, names: Mapping[str, str]) -> dict[str, str]:
    """Structures within cells that distances were measured to."""
    ends = "_volume_um3"
    columns = [str(c).removesuffix(ends) for c in run.table("cells") if str(c).endswith(ends)]
    roles = [c for c in columns if c.rstrip("0123456789") == "landmark"]
    return {role: names.get(role, role) for role in roles}


def _of_landmarks(run: RunContents, names: Mapping[str, str]) -> Iterator[Check]:
    cells = run.table("cells")
    for role, name in _landmarks(run, names).items():
        bare = int((cells[f"{role}_volume_um3"] == 0).sum())
        if bare:
            yield note(f"{bare} of {len(cells)} cells have no {name}, so no distances to it.")


def _of_efficiency(run: RunContents, role: str, name: str) -> Iterator[Check]:
    """Whether spots put into the image are found again."""
    table = run.table("efficiency")
    if not len(table):
        return
    own = table[(table["role"] == role) & table["fraction"].notna()]
    if not len(own):
        return
    typical = own[own["brightness"] == "typical"]["fraction"].to_numpy(float)
    dim = own[own["brightness"] == "dim"]["fraction"].to_numpy(float)
    if float(typical.min()) < _FOUND:
        yield note(
            f"Of lone spots as bright as a typical punctum of {name}, put into this image, "
            f"{percent(float(typical.mean()))} are found, {percent(float(typical.min()))} in the "
            "worst quarter of the depth: numbers are too low, and fall with depth."
        )
    elif float(dim.mean()) < _FOUND:
        yield note(
            f"Of lone spots as bright as a dim punctum of {name}, {percent(float(dim.mean()))} are "
            "found: dim puncta are missed."
        )
    else:
        yield fine(f"detection of {name} (lone spots put into the image are found)")


def _verdict(run: RunContents, names: Mapping[str, str]) -> str:
    cells = run.table("cells")
    if not len(cells):
        return "No cell was found."
    text = f"{number(len(cells))} cell{'' if len(cells) == 1 else 's'}"
    for role, name in _spots(names).items():
        total = int(cells[f"{role}_n"].sum())
        text += f"; {number(total)} puncta of {name} in {'it' if len(cells) == 1 else 'them'}"
        ratio = cells[f"{role}_median_distance_over_chance"].to_numpy(float)
        if np.isfinite(ratio).any():
            mean = fixed(float(np.nanmean(ratio)), 2)
            text += f", at {mean} of the distance an even spread has"
    return text + "."


def _measures(run: RunContents, names: Mapping[str, str]) -> Iterator[Measure]:
    cells = run.table("cells")
    yield Measure("cells", number(len(cells)), [])
    if not len(cells):
        return
    for role, name in _spots(names).items():
        n = cells[f"{role}_n_cytosol"].to_numpy(float)
        away = cells[f"{role}_median_distance_um"].to_numpy(float)
        lines = [f"mean of cells; {number(float(cells[f'{role}_n_nucleus'].mean()))} in nuclei"]
        yield Measure(f"{name}: puncta per cytosol", number(float(n.mean())), lines)
        if np.isfinite(away).any():
            having = np.isfinite(away)
            even = cells["median_distance_by_chance_um"].to_numpy(float)[having]
            yield Measure(
                f"{name}: distance to the nucleus",
                f"{number(float(away[having].mean()))} µm",
                [
                    f"median, mean of {counted(int(having.sum()), 'cell')} with puncta",
                    f"an even spread in them: {number(float(np.nanmean(even)))} µm",
                ],
            )
    yield from measures_of_molecules(run, names)


def _per_cell(run: RunContents, names: Mapping[str, str]) -> DataTable | None:
    cells = run.table("cells")
    if not len(cells):
        return None
    columns = {
        "cell": "cell",
        "volume_um3": "volume (µm³)",
        "nuclear_volume_um3": "nucleus (µm³)",
        "n_nuclei": "nuclei",
    }
    for role, name in names.items():
        if role.startswith("puncta"):
            columns |= {
                f"{role}_n_cytosol": f"{name}: puncta in cytosol",
                f"{role}_n_nucleus": f"{name}: in nucleus",
                f"{role}_median_distance_um": f"{name}: median distance (µm)",
                f"{role}_median_distance_over_chance": f"{name}: distance over an even spread",
            }
        elif role.startswith("protein"):
            columns |= {
                f"{role}_mean_cytosol": f"{name}: mean of cytosol (grey levels)",
                f"{role}_nucleus_over_cytosol": f"{name}: nucleus over cytosol",
            }
        if f"{role}_molecules_cytosol" in cells:
            columns |= {
                f"{role}_molecules_cytosol": f"{name}: molecules in cytosol",
                f"{role}_molecules_nucleus": f"{name}: molecules in nucleus",
            }
        if f"{role}_n_transcription_sites" in cells:
            columns[f"{role}_n_transcription_sites"] = f"{name}: transcription sites"
        for landmark, target in _landmarks(run, names).items():
            if f"{role}_median_{landmark}_distance_um" in cells:
                columns |= {
                    f"{role}_median_{landmark}_distance_um": f"{name} to {target} (µm)",
                    f"{role}_median_{landmark}_distance_over_chance": f"{name} to {target}: "
                    "over an even spread",
                }
    columns["touches_side"] = "cut"
    return named(cells, columns, file="tables/cells.csv", most=_MOST_CELLS)


def _views(
    run: RunContents, image: StoredImage, names: Mapping[str, str], plates: Plates
) -> Iterator[Plate]:
    spacing = [float(image.spacing_um[a] or 1) for a in "zyx"]
    depth = image.sizes["z"]
    puncta = run.table("puncta")
    row = _row_through(run, image, spacing)

    def section(plane_of: Any) -> NDArray[Any]:
        return np.stack([plane_of(z)[row] for z in range(depth)])

    def seen(name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        above = image.label_projection(name)
        side = section(lambda z: image.labels(name, z=z))
        return (np.zeros(side.shape, int) if above is None else above), side

    nuclei, cells = seen("nuclei"), seen("cells")
    planes = {name: image.projection(name) for name in names.values()}
    sections = {n: section(lambda z, n=n: image.plane(n, z=z)) for n in names.values()}
    dots = {name: puncta[puncta["role"] == role] for role, name in _spots(names).items()}
    yield plates.draw(
        views_figure(
            planes,
            sections,
            ((nuclei[0], cells[0]), (nuclei[1], cells[1])),
            dots,
            spacing,
            row,
        ),
        "From above and from the side.",
        "Maximum projections, and below each the section along the dashed line. Outlines: nuclei "
        "blue, cells yellow. Circles: puncta in the cytosol orange, in the nucleus pink, in no "
        "cell grey. Contrast is stretched for looking (0.5th to 99.7th percentile), not for "
        "measuring.",
        "Channels from above and from the side with outlines and puncta",
        dpi=PIXELS_DPI,
        most=_VIEW_BYTES,
    )


def _row_through(run: RunContents, image: StoredImage, spacing: list[float]) -> int:
    """The row through the middle of the largest cell."""
    cells = run.table("cells")
    height = image.sizes["y"]
    if not len(cells):
        return height // 2
    largest = int(cells["volume_um3"].to_numpy().argmax())
    middle = float(cells["y_um"].to_numpy()[largest])
    return int(np.clip(round(middle / spacing[1]), 0, height - 1))


def _distances(run: RunContents, names: Mapping[str, str], plates: Plates) -> Iterator[Plate]:
    table = run.table("distributions")
    if not len(table):
        return
    own = table[table["measure"] == "distance_um"]
    yield plates.draw(
        cdf_figure(own, names, "distance to the nucleus (µm)"),
        "Distances to the nucleus.",
        "Cumulative distribution in the cytosol: thin, each cell; thick, their mean, each cell "
        "with weight 1; dashed, what an even spread in the same cytosols would give; dotted, the "
        "membrane. Left of the dashed line is nearer to the nucleus than chance.",
        "Cumulative distributions of the distance to the nucleus",
        dpi=DPI,
        most=_GRAPH_BYTES,
    )
    shells = run.table("shells")
    if shells["ratio"].notna().any():
        yield plates.draw(
            shells_figure(shells[shells["ratio"].notna()], names),
            "Shells of equal volume.",
            "What each shell holds over an even share, from the nucleus to the membrane: thin, "
            "each cell; thick, their mean.",
            "Contents of shells of equal volume",
            dpi=DPI,
            most=_GRAPH_BYTES,
        )
    chance = run.table("chance")
    chance = chance[
        (chance["measure"] == _DISTANCE) & (chance["null"] == _RANDOM) & chance["ratio"].notna()
    ]
    if len(chance):
        yield plates.draw(
            chance_figure(chance, names, "median distance over that of random puncta"),
            "Each cell against chance.",
            "Median distance to the nucleus over that of as many random points in the same "
            "cytosol; the bar is what chance alone gives in that cell (the middle 95 % of the "
            "placements).",
            "Median distance over that of random puncta, cell by cell",
            dpi=DPI,
            most=_GRAPH_BYTES,
        )


def _to_landmark(
    run: RunContents, role: str, name: str, names: Mapping[str, str], plates: Plates
) -> Iterator[Plate]:
    table = run.table("distributions")
    own = table[table["measure"] == f"{role}_distance_um"] if len(table) else table
    if len(own):
        yield plates.draw(
            cdf_figure(own, names, f"distance to {printable(name)} (µm)"),
            f"Distances to {name}.",
            f"As above, to {name} of the same cell (0 inside): left of the dashed line is nearer "
            "than an even spread in the same cytosols.",
            f"Cumulative distributions of the distance to {name}",
            dpi=DPI,
            most=_GRAPH_BYTES,
        )


def _patterns(run: RunContents, names: Mapping[str, str], plates: Plates) -> Iterator[Plate]:
    curves = run.table("point_curves")
    if not len(curves):
        return
    lines = (
        "Thin: each cell, in colour where it leaves its own global envelope; thick: mean of the "
        "cells; dashed: expected under the null; shaded: mean of the cells' envelopes, what "
        "chance does to one cell. "
    )
    for curve, title, text in (
        (
            "L",
            "Crowds and gaps: L(r) − r.",
            (
                "Above the band puncta have more neighbours within r than by chance, below it "
                "fewer. At small r even chance is below 0, as nearer puncta are seen as one."
            ),
        ),
        (
            "G",
            "Nearest neighbours: G(r).",
            (
                "Share of puncta whose nearest other one is within r, minus what is expected. "
                "Above the band neighbours are nearer than by chance."
            ),
        ),
    ):
        yield plates.draw(
            point_curves_figure(curves, names, curve),
            title,
            lines + text,
            f"{title[:-1]} of each cell with the envelope of the null",
            dpi=DPI,
            most=_GRAPH_BYTES,
        )


def _nulls(run: RunContents) -> list[str]:
    """The null hypotheses in words, with their units of inference."""
    told = run.table("chance")
    told = told[told["p_value"].notna()] if len(told) else told
    if not len(told):
        return []
    found: dict[str, tuple[str, str]] = {}
    for null, hypothesis, unit in zip(told["null"], told["hypothesis"], told["unit"], strict=True):
        found.setdefault(str(null), (str(hypothesis).rstrip("."), str(unit)))
    return [f"Null “{n}”: {h}. Unit of inference: {u}." for n, (h, u) in found.items()]


def _elbows(run: RunContents, names: Mapping[str, str], plates: Plates) -> Iterator[Plate]:
    curves, thresholds = run.table("elbows"), run.table("thresholds")
    curves = curves[curves["n_above"] > 0] if len(curves) else curves
    if not len(curves):
        return
    levels = dict(zip(thresholds["role"], thresholds["threshold"].astype(float), strict=True))
    yield plates.draw(
        elbow_figure(curves, levels, names),
        "Puncta against the threshold.",
        "How many candidates reach each threshold; the steep part is noise. Where the curve is "
        "flat about the threshold in force, the number does not hang on it.",
        "Number of puncta against the threshold",
        dpi=DPI,
        most=_GRAPH_BYTES,
    )


def _depths(run: RunContents, plates: Plates) -> Iterator[Plate]:
    curves, fits = run.table("depth"), run.table("depth_fits")
    if not len(curves) or not curves["mean_in_cells"].notna().any():
        return
    corrected = bool(run.parameter("attenuation_correction"))
    yield plates.draw(
        depth_figure(curves, fits),
        "Light against depth.",
        "Mean intensity inside cells (of the nuclear stain: inside nuclei) above the median "
        "outside them, plane by plane; the line is an exponential fitted to planes with enough of "
        "the cells. The first and the last planes are dimmed by blur. Light lost in the sample, "
        "bleaching, and true differences along z look the same here. "
        + (
            "Intensities of puncta and proteins were multiplied by what the line loses."
            if corrected
            else "Nothing was corrected."
        ),
        "Mean intensity in cells against depth",
        dpi=DPI,
        most=_GRAPH_BYTES,
    )


def _tables(run: RunContents, names: Mapping[str, str]) -> Iterator[tuple[str, DataTable]]:
    channels = {
        "channel": "channel",
        "role": "role",
        "background": "background (grey levels)",
        "noise_sd": "SD of noise (grey levels)",
        "signal": "signal (grey levels)",
        "snr": "signal over noise",
        "saturated_fraction": "saturated (share)",
        "sharpest_plane": "sharpest plane (number)",
        "light_at_the_end": "light left at the last plane (share)",
        "largest_step_um": "largest step (µm)",
        "n_hot_pixels": "hot pixels",
    }
    yield (
        "Quality of the channels",
        named(
            run.table("channels"),
            channels,
            file="tables/channels.csv",
            explained=[
                _QUALITY,
            ],
        ),
    )
    if len(run.table("depth_fits")):
        columns = {
            "channel": "channel",
            "half_depth_um": "half is lost in (µm)",
            "half_depth_low_um": "95 % from (µm)",
            "half_depth_high_um": "up to (µm)",
            "n_planes": "planes",
            "reason": "note",
        }
        fits = named(run.table("depth_fits"), columns, file="tables/depth_fits.csv")
        yield "Light against depth", fits
    if len(run.table("chromatic")):
        columns = {
            "channel": "channel",
            **{f"shift_{a}_nm": f"shift {a} (nm)" for a in "zyx"},
            **{f"error_{a}_nm": f"error {a} (nm)" for a in "zyx"},
            "n_beads": "beads",
            "moved": "moved",
        }
        explained = ("Shifts against the channel of the nuclei in the middle of the stack.",)
        table = named(
            run.table("chromatic"), columns, file="tables/chromatic.csv", explained=explained
        )
        yield "Chromatic shifts, from beads", table
    if len(run.table("thresholds")):
        columns = {
            "channel": "channel",
            "threshold": "threshold (SD of noise)",
            "source": "from",
            "n_candidates": "candidates",
            "n_puncta": "puncta",
            "gain": "grey levels per photon",
        }
        yield "Thresholds", named(run.table("thresholds"), columns, file="tables/thresholds.csv")
    yield from molecule_tables(run)
    efficiency = run.table("efficiency")
    if len(efficiency) and efficiency["fraction"].notna().any():
        columns = {
            "channel": "channel",
            "brightness": "brightness",
            "amplitude": "peak (grey levels)",
            "z_from_um": "from depth (µm)",
            "z_to_um": "to (µm)",
            "n_injected": "put in",
            "n_found": "found",
            "fraction": "share found",
            "ci_low": "95 % from",
            "ci_high": "up to",
        }
        file = "tables/efficiency.csv"
        yield (
            "Lone spots put into the image, and found",
            _of_numbers(efficiency, columns, file=file, explained=["Peak: above the surroundings"]),
        )
    together = run.table("conjunctions")
    if len(together):
        kinds = [" + ".join(names.get(r, r) for r in k.split("+")) for k in together["roles"]]
        columns = {
            "cell": "cell",
            "kinds": "kinds",
            "n_of_each": "puncta of each",
            "observed": "together",
            "expected": "expected by chance",
            "ratio": "ratio",
            "p_value": "p",
            "chance_low": "chance from",
            "chance_high": "to",
            "percent_of_each": "% of each",
        }
        told = [f"Null: {h}" for h in together["hypothesis"].dropna().unique()]
        yield (
            "Puncta of different kinds together",
            _of_numbers(
                together.assign(kinds=kinds),
                columns,
                file="tables/conjunctions.csv",
                explained=[t.rstrip(".") for t in told],
            ),
        )
    chance = run.table("chance")
    if len(chance):
        shown = _with_names(chance, names)
        columns = {
            "cell": "cell",
            "channel": "channel",
            "null": "null",
            "measure": "measure",
            "n_puncta": "puncta",
            "observed": "observed",
            "expected": "expected by chance",
            "ratio": "ratio",
            "p_value": "p",
            "chance_low": "chance from",
            "chance_high": "to",
            "reason": "note",
        }
        units = ["Observed and expected: distances in µm, others numbers; ratios have no unit"]
        yield (
            "Against chance, cell by cell",
            _of_numbers(shown, columns, file="tables/chance.csv", explained=units),
        )


def _of_numbers(
    table: pd.DataFrame, columns: Mapping[str, str], *, file: str, explained: Sequence[str] = ()
) -> DataTable:
    """A table whose columns are no coefficients between -1 and 1, though they are named so."""
    own = {
        c: f"{c}_of_confocal" for c in ("observed", "expected", "amplitude", "ci_low", "ci_high")
    }
    headings = {own.get(c, c): text for c, text in columns.items()}
    return named(table.rename(columns=own), headings, file=file, explained=explained)


def _with_names(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    told = [" + ".join(names.get(r, r) for r in role.split("+")) for role in table["role"]]
    return table.assign(channel=told)
