"""The page of a registered movie, made from nothing but the run directory."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.report.canvas import DPI, PIXELS_DPI
from aequorea.report.checks import Check, bad, fine, note, percent
from aequorea.report.data_table import DataTable, named
from aequorea.report.methods import MethodsText
from aequorea.report.movie_figures import (
    component_figure,
    likeness_figure,
    means_figure,
    motion_figure,
)
from aequorea.report.numbers import counted, fixed, number
from aequorea.report.page import render_page, write_atomically
from aequorea.report.page_parts import Measure, Plate, Plates
from aequorea.report.run_contents import RunContents, StoredImage, open_contents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

__all__ = ["write_report"]

_VIEW_BYTES, _GRAPH_BYTES = 1_600_000, 260_000
_MANY_MARKED = 0.05
_UNSURE_PX, _LEFT_PX = 0.3, 0.5
_MOST_PLANES = 4
_SATURATED = 1e-4
PREVIEW = "preview.webp"
BEFORE, AFTER = "mean before", "mean after"


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` of a registered movie.

    Parameters
    ----------
    run_dir : Path
        With ``run.json``, ``tables`` and ``images.zarr``.

    Returns
    -------
    Path
        One file that opens offline and loads nothing. It appears whole or not at all.

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
    run = open_contents(run_dir, needs="planes")
    image = StoredImage(run_dir)
    plates = Plates()
    moving = run_dir / PREVIEW
    shown = base64.b64encode(moving.read_bytes()).decode() if moving.is_file() else ""
    return render_page(
        "movies.html.j2",
        title=_title(run),
        facts=_facts(run, image),
        checks=list(_checks(run)),
        verdict=_verdict(run),
        measures=list(_measures(run)),
        preview=f"data:image/webp;base64,{shown}" if shown else "",
        views=list(_views(image, plates)),
        graphs=list(_graphs(run, plates)),
        tables=list(_tables(run)),
        methods=_methods(run),
        parameters=run.parameter_rows(),
        record=run.record,
        steps=[(n, s) for n, s in run.record.get("steps", {}).items() if n != "report"],
        files=[(f"tables/{name}.csv", len(table)) for name, table in sorted(run.tables.items())],
        kept=(
            "Motion: motion.npz. Mean images: images.zarr. Everything recorded: run.json. Open the "
            "movie without its motion: aequorea.pipelines.movies.open_registered."
        ),
    )


def _title(run: RunContents) -> str:
    from pathlib import PurePath

    return PurePath(run.record["inputs"]["movie"]["path"]).name or "Movie"


def _facts(run: RunContents, image: StoredImage) -> list[tuple[str, str]]:
    planes, frames = run.table("planes"), run.table("frames")
    size = " × ".join(f"{a} {n}" for a, n in image.sizes.items() if a != "c")
    facts = [("Frames", number(int(planes["n_frames"].iloc[0]))), ("Size", size)]
    if "time_s" in frames:
        seconds = float(frames["time_s"].max() - frames["time_s"].min())
        facts.append(("Duration", f"{number(seconds)} s" if np.isfinite(seconds) else "not known"))
    return [*facts, ("Pixels", image.calibration), ("Analysed", run.analysed)]


def _checks(run: RunContents) -> Iterator[Check]:
    """What misleads first, what was fine last."""
    told = [*_of_marks(run), *_of_success(run), *_of_light(run)]
    order = {"bad": 0, "note": 1, "ok": 2}
    yield from sorted(told, key=lambda c: order[c.light])


def _of_marks(run: RunContents) -> Iterator[Check]:
    frames = run.table("frames")
    marked = frames[frames["reason"] != ""]
    n, share = len(marked), len(marked) / len(frames)
    if not n:
        yield fine("Every frame could be placed.")
        return
    counts = marked["reason"].value_counts()
    why = "; ".join(f"{reason}: {count}" for reason, count in counts.items())
    text = (
        f"{counted(n, 'frame')} of {number(len(frames))} ({percent(share)}) marked. {why}. They "
        "are listed in tables/frames.csv; leave them out of what follows."
    )
    yield bad(text) if share > _MANY_MARKED else note(text)
    if (counts.index == "at the largest shift").any():
        yield note(
            "Some frames move as far as was looked: raise max_shift_px "
            "(--max-shift-px) if the motion is real."
        )


def _of_success(run: RunContents) -> Iterator[Check]:
    for row in _rows(run.table("planes")):
        where = _where(run, row)
        before, after = row["correlation_before"], row["correlation_after"]
        pair = f"{fixed(before)} before, {fixed(after)} after"
        if after < before - 0.002:
            yield bad(
                f"{where}Frames are less like the reference after registration than before "
                f"({pair}): do not use it. Try model rigid, or a smaller max_shift_px."
            )
        else:
            yield fine(f"{where}Correlation of frames with the reference: {pair} (median).")
        if np.isfinite(row["residual_px"]):
            left = f"{fixed(row['residual_px'], 2)} px"
            text = f"{where}Motion left between means of successive frames: {left}."
            yield note(text) if row["residual_px"] > _LEFT_PX else fine(text)


def _of_light(run: RunContents) -> Iterator[Check]:
    for row in _rows(run.table("planes")):
        where = _where(run, row)
        if row["error_px"] > _UNSURE_PX:
            yield note(
                f"{where}Frames show little that could be placed: the standard error of a shift is "
                f"{fixed(row['error_px'], 2)} px. Shifts smaller than that are noise."
            )
        if row["saturated_share"] > _SATURATED:
            yield note(
                f"{where}{percent(row['saturated_share'])} of all pixels are at the largest value "
                "the type of the movie holds: what is brighter is cut off."
            )
        if not row["stabilised"] and row["not_stabilised"] != "as asked":
            yield note(
                f"{where}The motion was found in the counts as they are, not in their square root: "
                f"{row['not_stabilised']}."
            )
        if row["stabilised"]:
            yield fine(
                f"{where}{number(row['gain'])} counts per photon above {number(row['zero'])}; the "
                "motion was found where noise is the same in bright and dim places."
            )


def _where(run: RunContents, row: dict[str, Any]) -> str:
    return f"Plane {row['plane']}. " if len(run.table("planes")) > 1 else ""


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _verdict(run: RunContents) -> str:
    planes = run.table("planes")
    worst = planes.iloc[int(planes["shift_rms_px"].to_numpy().argmax())]
    text = (
        f"Frames moved by {fixed(worst['shift_rms_px'], 2)} px (RMS), at most "
        f"{fixed(worst['shift_largest_px'], 1)} px; a shift is known to "
        f"{fixed(worst['error_px'], 2)} px (standard error)."
    )
    if run.parameter("motion.model") == "nonrigid":
        text += (
            f" Places within the frame moved by {fixed(worst['deviation_rms_px'], 2)} px (RMS) "
            "against the whole."
        )
    return text


def _measures(run: RunContents) -> Iterator[Measure]:
    planes = run.table("planes")
    mean = planes.mean(numeric_only=True)
    yield Measure(
        "like the reference",
        fixed(mean["correlation_after"]),
        [f"before: {fixed(mean['correlation_before'])}", "median correlation of a frame"],
    )
    yield Measure(
        "crispness of the mean",
        f"× {fixed(mean['crispness_after'] / mean['crispness_before'], 2)}",
        ["slope of the mean image over its SD,", "after over before"],
    )
    if np.isfinite(mean["residual_px"]):
        yield Measure(
            "motion left",
            f"{fixed(mean['residual_px'], 2)} px",
            ["RMS, between means of", "successive frames"],
        )
    if np.isfinite(mean["principal_shift_mean_px"]):
        yield Measure(
            "components that move",
            f"{fixed(mean['principal_shift_mean_px'], 2)} px",
            ["mean shift between the ends of", "principal components"],
        )


def _views(image: StoredImage, plates: Plates) -> Iterator[Plate]:
    depth = image.sizes.get("z", 1)
    for z in range(min(depth, _MOST_PLANES)):
        before, after = (image.plane(name, z=z) for name in (BEFORE, AFTER))
        yield plates.draw(
            means_figure(before, after, image.pixel_um),
            f"Mean of all good frames{f', plane {z}' if depth > 1 else ''}.",
            "Before and after, in the same grey levels; below, the part with the finest detail, "
            "enlarged. Contrast is stretched for looking (0.5th to 99.7th percentile).",
            "Mean images before and after registration",
            dpi=PIXELS_DPI,
            most=_VIEW_BYTES // min(depth, _MOST_PLANES),
        )


def _graphs(run: RunContents, plates: Plates) -> Iterator[Plate]:
    frames = run.table("frames")
    first = frames[frames["plane"] == frames["plane"].min()] if "plane" in frames else frames
    beside = " (first plane)" if "plane" in frames and frames["plane"].nunique() > 1 else ""
    yield plates.draw(
        motion_figure(first),
        f"How frames moved{beside}.",
        "Shift of whole frames from the reference, and the largest distance by which a place in "
        "the frame moved differently. Ticks at the bottom: marked frames.",
        "Shift of frames over time",
        dpi=DPI,
        most=_GRAPH_BYTES,
    )
    yield plates.draw(
        likeness_figure(first),
        f"How alike frames are{beside}.",
        "Correlation of each frame with the reference, before and after. Noise keeps it well below "
        "1 in dim movies; what counts is the difference, and frames that fall out of line.",
        "Correlation of frames with the reference before and after",
        dpi=DPI,
        most=_GRAPH_BYTES,
    )
    shifts = run.table("components")
    if len(shifts):
        yield plates.draw(
            component_figure(shifts[shifts["plane"] == shifts["plane"].min()]),
            f"Do components move?{beside}",
            "For each principal component of the registered movie, the shift between the frames in "
            "which it is strongest and weakest. Activity does not shift; motion that is left does.",
            "Shift between the ends of principal components",
            dpi=DPI,
            most=_GRAPH_BYTES,
        )


def _tables(run: RunContents) -> Iterator[tuple[str, DataTable]]:
    columns = {
        "plane": "plane",
        "n_frames": "frames",
        "n_marked": "marked",
        "shift_rms_px": "shift, RMS (px)",
        "shift_largest_px": "largest (px)",
        "error_px": "standard error (px)",
        "deviation_rms_px": "deviation of places, RMS (px)",
        "correlation_before": "correlation before",
        "correlation_after": "after",
        "crispness_before": "crispness before",
        "crispness_after": "after",
        "residual_px": "motion left (px)",
        "principal_shift_mean_px": "shift of components (px)",
        "line_phase_px": "odd rows off (px)",
        "saturated_share": "saturated (share)",
        "bins": "binned",
        "node_step_px": "nodes held to (px)",
    }
    yield "Planes", named(run.table("planes"), columns, file="tables/planes.csv")
    frames = run.table("frames")
    marked = frames[frames["reason"] != ""]
    if len(marked):
        shown = {
            "frame": "frame",
            "plane": "plane",
            "time_s": "time (s)",
            "snr": "match (SD of chance)",
            "reason": "why it is marked",
        }
        shown = {k: v for k, v in shown.items() if k in frames}
        yield "Marked frames", named(marked, shown, file="tables/frames.csv")


def _methods(run: RunContents) -> MethodsText:
    p, text = run.parameter, MethodsText()
    planes = run.table("planes")
    text.say(f"The motion of the movie was found with aequorea {run.version}")
    if bool(planes["stabilised"].all()):
        row = planes.iloc[0]
        text.say(
            "Counts were transformed to constant variance (generalised Anscombe transform; "
            f"{number(row['gain'])} counts per photon above {number(row['zero'])})",
            "anscombe1948",
        )
    if p("motion.bidirectional"):
        phases = ", ".join(fixed(v, 2) for v in planes["line_phase_px"])
        text.say(
            f"Odd rows, scanned in the other direction, were {phases} px off those beside them and "
            "put in line by cubic convolution"
        )
    bins = int(planes["bins"].max())
    if bins > 1:
        text.say(f"Squares of {bins} × {bins} pixels were summed to find the motion")
    text.say(
        f"The reference image is the mean of up to {p('motion.reference_frames')} frames spread "
        "over the movie, aligned to each other by rounds of registration and averaging"
    )
    text.say(
        "Frames were shifted to the maximum of the likelihood, the noise at each spatial frequency "
        "being what frames have beside the reference (matched filter)",
        "turin1960",
    )
    if p("motion.model") == "nonrigid":
        text.say(
            f"Motion that differs from place to place, linear between nodes "
            f"{number(p('motion.node_distance_px'))} px apart, was fitted by Gauss-Newton steps "
            "under a prior on the difference of neighbouring nodes, whose SD was found by "
            f"expectation maximisation ({number(planes['node_step_px'].mean())} px)",
            "baker2004",
        )
    how = {
        "cubic": "cubic convolution",
        "linear": "linear interpolation",
        "nearest": "no interpolation (whole pixels)",
    }
    text.say(
        f"Motion is undone by {how[p('motion.interpolation')]}",
        *(["keys1981"] if p("motion.interpolation") == "cubic" else []),
    )
    left_out = p("movie.left_out") or []
    if left_out:
        text.say(f"{counted(len(left_out), 'frame')} were left out as asked")
    text.say(
        f"Frames that match the reference with less than {number(p('motion.min_snr'))} standard "
        "deviations of chance got the shift of their neighbours and are marked"
    )
    return text
