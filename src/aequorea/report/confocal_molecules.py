"""Molecules on the page of a confocal stack: how bright one is, how many there are, where made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aequorea.report.canvas import (
    ACCENT,
    DPI,
    INK,
    LINE,
    SOFT,
    WARN,
    add_legend,
    plain_axes,
)
from aequorea.report.checks import Check, note
from aequorea.report.confocal_figures import panels_for
from aequorea.report.data_table import DataTable, named
from aequorea.report.numbers import number
from aequorea.report.page_parts import Measure, Plate, Plates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd
    from matplotlib.figure import Figure

    from aequorea.report.run_contents import RunContents

__all__ = [
    "checks_of_molecules",
    "counted_figure",
    "light_figure",
    "measures_of_molecules",
    "methods_of_molecules",
    "molecule_plates",
    "molecule_tables",
]

_GRAPH_BYTES = 260_000
_MOST = 40


def checks_of_molecules(run: RunContents, names: Mapping[str, str]) -> Iterator[Check]:
    """Molecules that could not be counted, or not everywhere."""
    for role, single in _singles(run).items():
        if single["reason"]:
            continue  # a warning of the run says so
        cells = run.table("cells")
        told = cells[f"{role}_molecules_reason"].fillna("")
        odd = int((told != "").sum())
        if odd:
            kinds = "; ".join(dict.fromkeys("; ".join(told[told != ""]).split("; ")))
            yield note(f"Molecules of {names[role]} in {odd} of {len(cells)} cells: {kinds}.")
        if run.parameter("cells.labels") is None:
            yield note(
                f"Numbers of molecules of {names[role]} from light lean on the outlines of cells, "
                "and their intervals do not hold the error of outlines: with outlines found "
                "automatically they were 2 to 8 % too low in simulated cells of 45 molecules or "
                "more, and 21 % with 25. Bring outlines along (--cells.labels) where numbers "
                "matter."
            )


def measures_of_molecules(run: RunContents, names: Mapping[str, str]) -> Iterator[Measure]:
    """Molecules per cytosol, and sites of transcription."""
    cells = run.table("cells")
    for role, single in _singles(run).items():
        copies = cells[f"{role}_molecules_cytosol"].to_numpy(float) if len(cells) else np.empty(0)
        if not np.isfinite(copies).any():
            continue
        lines = [f"from light, {number(float(single['light']))} grey levels each"]
        if f"{role}_n_transcription_sites" in cells:
            sites = float(np.nanmean(cells[f"{role}_n_transcription_sites"].to_numpy(float)))
            lines.append(f"{number(sites)} transcription sites per cell")
        yield Measure(
            f"{names[role]} molecules per cytosol", number(float(np.nanmean(copies))), lines
        )


def molecule_plates(run: RunContents, names: Mapping[str, str], plates: Plates) -> Iterator[Plate]:
    """How bright molecules are, and how many beside the puncta that were counted."""
    singles = {r: s for r, s in _singles(run).items() if not s["reason"]}
    puncta = run.table("puncta")
    if singles and len(puncta):
        yield plates.draw(
            light_figure(puncta, singles, names),
            "How bright is one molecule?",
            "Light of puncta in cytosols: filled, isolated ones; line, all. Dashed, the light "
            "taken for one molecule, and, paler, twice and three times that. If the filled hill "
            "does not stand at the first line, or puncta are not single molecules, numbers of "
            "molecules mean nothing.",
            "Histogram of the light of puncta with that of one molecule",
            dpi=DPI,
            most=_GRAPH_BYTES,
        )
    cells = run.table("cells")
    counted = {r: s for r, s in singles.items() if cells[f"{r}_molecules_cytosol"].notna().any()}
    if counted:
        yield plates.draw(
            counted_figure(cells, list(counted), names),
            "Molecules beside puncta.",
            "Each cell's cytosol: molecules from its light (95 % interval) against the puncta that "
            "were counted. On the line both agree; above it puncta are missed, too dim or too "
            "close together, or light is not all of molecules.",
            "Molecules from light against counted puncta, cell by cell",
            dpi=DPI,
            most=_GRAPH_BYTES,
        )


def light_figure(
    puncta: pd.DataFrame, singles: Mapping[str, pd.Series], names: Mapping[str, str]
) -> Figure:
    """Light of puncta in the cytosol, isolated and all, and that of one molecule.

    Parameters
    ----------
    puncta : DataFrame
    singles : mapping of role to row of the table ``single_molecules``
    names : mapping of role to str
    """
    figure, panels = panels_for(len(singles))
    for (role, single), axes in zip(singles.items(), panels, strict=True):
        own = puncta[(puncta["role"] == role) & (puncta["compartment"] == "cytosol")]
        spots = own.groupby("spot").agg({"intensity": "sum", "isolated": "first"})
        light = spots["intensity"].to_numpy(float)
        one = float(single["light"])
        edges = np.linspace(0, 4.0 * one, 41).tolist()
        plain_axes(axes, xlabel="light (grey levels)", ylabel="puncta", title=names[role])
        alone = light[spots["isolated"].to_numpy(bool)]
        shown = np.clip(light, 0, edges[-1])
        axes.hist(shown, edges, histtype="step", color=INK, lw=1.2, label="all puncta")
        axes.hist(np.clip(alone, 0, edges[-1]), edges, color=ACCENT, alpha=0.55, label="isolated")
        for times, colour in ((1, WARN), (2, SOFT), (3, SOFT)):
            told = f"one molecule: {number(one)}" if times == 1 else None
            axes.axvline(times * one, color=colour, lw=1.3, dashes=(4, 3), label=told)
        axes.set_xlim(0, edges[-1])
        add_legend(axes, loc="upper right")
    return figure


def counted_figure(cells: pd.DataFrame, roles: list[str], names: Mapping[str, str]) -> Figure:
    """Molecules from light against counted puncta, each cell with its interval."""
    figure, panels = panels_for(len(roles))
    for role, axes in zip(roles, panels, strict=True):
        own = cells[cells[f"{role}_molecules_cytosol"].notna()]
        counted = own[f"{role}_n_cytosol"].to_numpy(float)
        copies = own[f"{role}_molecules_cytosol"].to_numpy(float)
        low = own[f"{role}_molecules_cytosol_low"].fillna(own[f"{role}_molecules_cytosol"])
        high = own[f"{role}_molecules_cytosol_high"].fillna(own[f"{role}_molecules_cytosol"])
        plain_axes(axes, xlabel="puncta counted", ylabel="molecules, from light", title=names[role])
        end = 1.08 * max(float(counted.max()), float(high.max()), 1.0)
        axes.plot([0, end], [0, end], color=LINE, lw=1.2, zorder=0)
        axes.vlines(counted, low, high, color=SOFT, lw=1.3)
        axes.plot(counted, copies, "o", color=ACCENT, ms=5)
        axes.set_xlim(0, end)
        axes.set_ylim(0, end)
    return figure


def molecule_tables(run: RunContents) -> Iterator[tuple[str, DataTable]]:
    """Light of one molecule, numbers per cell and compartment, sites of transcription."""
    if not len(run.table("single_molecules")):
        return
    columns = {
        "channel": "channel",
        "light": "light of one molecule (grey levels)",
        "light_error": "standard error",
        "light_cv": "SD over mean",
        "n_isolated": "isolated puncta",
        "source": "from",
        "reason": "remark",
    }
    yield (
        "Light of one molecule",
        named(run.table("single_molecules"), columns, file="tables/single_molecules.csv"),
    )
    columns = {
        "cell": "cell",
        "channel": "channel",
        "compartment": "compartment",
        "molecules": "molecules",
        "molecules_low": "95 % from",
        "molecules_high": "up to",
        "captured": "share of the light that stays in",
        "reason": "remark",
    }
    table = run.table("molecules")
    yield (
        "Molecules, from light",
        named(table, columns, file="tables/molecules.csv", most=_MOST),
    )
    sites = run.table("transcription_sites")
    if len(sites):
        columns = {
            "cell": "cell",
            "channel": "channel",
            "nucleus": "nucleus",
            "molecules": "molecules",
            "intensity": "light (grey levels)",
            "z_um": "z (µm)",
            "y_um": "y",
            "x_um": "x",
        }
        yield (
            "Transcription sites",
            named(sites, columns, file="tables/transcription_sites.csv", most=_MOST),
        )


def methods_of_molecules(run: RunContents, names: Mapping[str, str]) -> Iterator[str]:
    """What was done to count molecules, in words."""
    p = run.parameter
    for role, single in _singles(run).items():
        name = names[role]
        if single["reason"]:
            yield f"Molecules of {name} were not counted: {single['reason']}"
            continue
        origin = (
            "as given"
            if single["source"] == "given"
            else f"learnt from {number(int(single['n_isolated']))} isolated cytosolic puncta, "
            "their mean"
        )
        yield (
            f"One molecule of {name} has a light of {number(float(single['light']))} grey levels "
            f"({origin})"
        )
        if p(f"{role}.divide_dense"):
            yield (
                f"Puncta of {name} too bright or too wide for one molecule were divided into as "
                "many as their light holds; the standard errors of their positions are those "
                "found in simulations"
            )
        yield (
            f"Molecules of {name} in the cytosol and nucleus of each cell are the light above "
            "background over that of one molecule, with light that blur carries across outlines "
            "made up for; intervals (95 %) have the errors of background, of the light of one "
            "molecule and of the molecules that happen to be there"
        )
        if p(f"{role}.transcription_sites"):
            most = p(f"{role}.most_sites")
            limit = "" if most is None else f", the brightest {most} of each nucleus"
            yield (
                f"Transcription sites of {name} are puncta of a nucleus, linked up to "
                f"{number(p(f'{role}.site_radius_um'))} µm, with the light of at least "
                f"{number(p(f'{role}.site_molecules'))} molecules{limit}"
            )


def _singles(run: RunContents) -> dict[str, pd.Series]:
    table = run.table("single_molecules")
    if not len(table):
        return {}
    return {str(row["role"]): row for _, row in table.fillna({"reason": ""}).iterrows()}
