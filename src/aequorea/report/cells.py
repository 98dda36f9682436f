"""The page of a cell count, made from nothing but the run directory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.report import cells_tables
from aequorea.report.canvas import DPI, PIXELS_DPI
from aequorea.report.cells_checks import checks_of
from aequorea.report.cells_figures import (
    GALLERY,
    MOST_NUMBERS,
    gallery_figure,
    overlay_figure,
    stability_figure,
)
from aequorea.report.cells_methods import methods_of_cells
from aequorea.report.cells_positivity import (
    OVERLAP_RULES,
    THRESHOLDS,
    distances,
    in_force,
    rule_in_words,
    scores_of,
)
from aequorea.report.cells_views import FieldView, flags, markers_of, names_of
from aequorea.report.numbers import fixed, number
from aequorea.report.page import render_page, write_atomically
from aequorea.report.page_parts import Measure, Plate, Plates
from aequorea.report.run_contents import RunContents, StoredImage, open_contents

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

__all__ = ["write_report"]

# Base64 adds a third; pages that go by mail should stay below 5 MB.
_OVERLAY_BYTES = 1_900_000
_ALL_BYTES = 3_100_000
_BORDERLINE_OCTAVES = 2.0
# A grey level has an offset and a count is whole: their ratio to the threshold says little.
_NO_FACTOR = frozenset({"intensity", "count", "centroid"})
_COUNTING = {
    "frame": "a counting frame",
    "disector": "an optical disector",
    "abercrombie": "Abercrombie's correction",
}


@dataclass(frozen=True)
class _Galleries:
    """The cells of one marker."""

    name: str
    rule: str
    plates: Sequence[Plate]
    missing: Sequence[str]


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` of a cell count.

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


def headline(run_dir: Path) -> str:
    """What a run found, in one line: cells, and those positive for each marker.

    Raises
    ------
    RunError
        If the directory does not hold a run.
    """
    needed = {"cell_summary", "roi_coloc_overview", "channels"}
    run = open_contents(run_dir, needs="cell_summary", only=needed.__contains__)
    return _verdict(run, markers_of(names_of(run)))


def report_html(run_dir: Path) -> str:
    """The page of :func:`write_report`, as text."""
    run = open_contents(run_dir, needs="cell_summary")
    image = StoredImage(run_dir)
    view = FieldView.of(run, image)
    markers = markers_of(view.names)
    plates = Plates()
    overlays = list(_overlays(view, plates))
    return render_page(
        "cells.html.j2",
        title=run.title or "Cells",
        facts=_facts(run, view),
        checks=checks_of(run, view),
        verdict=_verdict(run, markers),
        measures=list(_measures(run, markers)),
        rules=list(_rules(run, markers)),
        two_markers=len(markers) == 2,
        is_stack=view.is_stack,
        per_region=cells_tables.per_region(run, view.names) if _regions(run) > 1 else None,
        overlays=overlays,
        stability=_stability(run, markers, plates),
        galleries=[_galleries(view, run, role, plates) for role in markers],
        left_out=plates.left_out,
        phenotypes=cells_tables.phenotypes(run),
        nulls=_nulls(run.table("phenotypes")),
        untested=_why_untested(run.table("phenotypes")),
        edits=list(cells_tables.hand_edits(run, view.names)),
        tables=list(cells_tables.tables_of(run, view.names)),
        methods=methods_of_cells(
            run, view.names, calibration=image.calibration, is_stack=view.is_stack
        ),
        parameters=run.parameter_rows(),
        record=run.record,
        steps=[(n, s) for n, s in run.record.get("steps", {}).items() if n != "report"],
        files=[(f"tables/{name}.csv", len(table)) for name, table in sorted(run.tables.items())],
    )


def _facts(run: RunContents, view: FieldView) -> list[tuple[str, str]]:
    regions = _regions(run)
    return [
        ("Cells", view.names["cell"]),
        ("Markers", ", ".join(markers_of(view.names).values()) or "none"),
        ("Size", " × ".join(f"{a} {n}" for a, n in view.image.sizes.items() if a != "c")),
        ("Pixel spacing", view.image.calibration),
        (
            "Counted in",
            "the whole image"
            if run.parameter("regions") is None
            else f"{regions} region{'' if regions == 1 else 's'}",
        ),
        ("Analysed", run.analysed),
    ]


def _regions(run: RunContents) -> int:
    return len(run.table("roi_coloc_overview"))


def _counts(run: RunContents) -> tuple[str, str]:
    """How cells are counted, and the end of the columns that say so."""
    kind = str(run.parameter("counting.counting"))
    return kind, "" if kind == "all" else "_counted"


def _sum(run: RunContents, column: str) -> float:
    """Over all regions; NaN where a region's number is not known."""
    return float(run.table("roi_coloc_overview")[column].to_numpy(np.float64).sum())


def _count(value: float) -> str:
    """A number of cells; with Abercrombie's correction it is no whole one."""
    return number(round(value)) if math.isfinite(value) and value == round(value) else number(value)


def _share(part: float, whole: float) -> str:
    return f"{fixed(100 * part / whole, 1)} %" if whole > 0 and math.isfinite(part) else ""


def _verdict(run: RunContents, markers: Mapping[str, str]) -> str:
    kind, suffix = _counts(run)
    n = _sum(run, f"n_cells{suffix}")
    regions = _regions(run)
    where = "the whole image" if run.parameter("regions") is None else (
        f"{regions} region{'' if regions == 1 else 's'}"
    )  # fmt: skip
    how = f", counted with {_COUNTING[kind]}" if kind in _COUNTING else ""
    text = f"{_count(n)} cell{'' if n == 1 else 's'} in {where}{how}"
    if n == 0:
        return "No cell was counted." if len(run.table("cell_summary")) else "No cell was found."
    for role, name in markers.items():
        positive = _sum(run, f"n_{role}_positive_cells{suffix}")
        text += f"; {_count(positive)} positive for {name} ({_share(positive, n) or 'unknown'})"
    return text + "."


def _measures(run: RunContents, markers: Mapping[str, str]) -> Iterator[Measure]:
    kind, suffix = _counts(run)
    n = _sum(run, f"n_cells{suffix}")
    beside = []
    if kind != "all":
        beside.append(f"of {number(len(run.table('cell_summary')))} found")
    yield Measure("cells" if kind == "all" else "cells counted", _count(n), beside)
    for role, name in markers.items():
        column = f"n_{role}_positive_cells{suffix}"
        positive = _sum(run, column)
        share = _share(positive, n)
        lines = [f"{share} of cells"] if share else []
        yield Measure(f"positive for {name}", _count(positive), [*lines, *_range(run, column)])


def _range(run: RunContents, column: str) -> Iterator[str]:
    """From the smallest fraction to the largest, where there are several regions."""
    overview = run.table("roi_coloc_overview")
    cells = overview["n_cells" + _counts(run)[1]].to_numpy(np.float64)
    known = cells > 0
    if known.sum() > 1:
        shares = 100 * overview[column].to_numpy(np.float64)[known] / cells[known]
        low, high = fixed(shares.min(), 1), fixed(shares.max(), 1)
        span = "in every region" if low == high else f"to {high} % in single regions"
        yield f"{low} {'% ' if low == high else ''}{span}"


def _rules(run: RunContents, markers: Mapping[str, str]) -> Iterator[str]:
    for role, name in markers.items():
        text = f"A cell is positive for {name} if {rule_in_words(run, role, name)}."
        yield f"{text} {in_force(run, role)}".rstrip()


def _overlays(view: FieldView, plates: Plates) -> Iterator[Plate]:
    part = view.close_up
    most = _OVERLAY_BYTES if part is None else _OVERLAY_BYTES // 2
    stack = (
        f" Maximum projections of {view.image.sizes['z']} planes; where cells lie above each "
        "other, the upper one is outlined."
        if view.is_stack
        else ""
    )
    said = (
        " Contrast is stretched for looking (0.5th to 99.7th percentile), not for measuring."
        + stack
    )
    calibrated = all(view.image.pixel_um)
    bar = "" if calibrated else " There is no scale bar, as the pixel size is unknown."
    numbers = " The white frame is enlarged below."
    if part is None:
        numbers = " Numbers are cell labels." if len(view.cells) <= MOST_NUMBERS else ""
    yield plates.draw(
        overlay_figure(view),
        "What was found.",
        "Outlines of cells on every channel." + numbers + said + bar,
        "Outlines of cells and marker objects on every channel",
        dpi=PIXELS_DPI,
        most=most,
    )
    if part is not None:
        yield plates.draw(
            overlay_figure(view, part),
            "Close-up.",
            "The part with most cells, at full resolution. Numbers are cell labels, where there "
            "is room.",
            "Close-up of outlines on every channel",
            dpi=PIXELS_DPI,
            most=most,
        )


def _stability(run: RunContents, markers: Mapping[str, str], plates: Plates) -> Plate | None:
    table = run.table("stability")
    shown = {r: n for r, n in markers.items() if (table["marker"] == n).any()} if len(table) else {}
    if not shown or not len(run.table("cell_summary")):
        return None
    curves = [table[table["marker"] == name] for name in shown.values()]
    least = sorted({int(run.parameter(f"{r}.min_overlap_px")) for r in shown
                    if run.parameter(f"{r}.rule") in OVERLAP_RULES})  # fmt: skip
    kept = (
        f" The fraction is varied; the {' or '.join(map(str, least))} pixels stay required, so the "
        "curve is flat where they decide."
        if any(least)
        else ""
    )
    all_cells = " All cells found are in it." if _counts(run)[0] != "all" else ""
    return plates.draw(
        stability_figure(curves, THRESHOLDS, list(shown.values())),
        "Positives against the threshold.",
        "How many cells of all regions would be positive at other thresholds; dashed, the one in "
        "force. Where the curve is flat, the number does not hang on the threshold; where it is "
        f"steep, report the curve, not the number.{kept}{all_cells}",
        "Positive cells against the threshold",
        dpi=DPI,
        most=200_000,
    )


def _galleries(view: FieldView, run: RunContents, role: str, plates: Plates) -> _Galleries:
    """Positive, borderline and negative cells of one marker, up to twelve of each."""
    name, cells = view.names[role], view.cells
    rule = str(run.parameter(f"{role}.rule"))
    shown: list[Plate] = []
    missing: list[str] = []
    side = max(16, 2 * math.ceil(1.1 * view.diameter_px(0.9)))
    for kind, (chosen, how) in _groups(cells, role, rule).items():
        if not len(chosen):
            missing.append(f"{kind}: {how}")
            continue
        if plates.n_bytes > _ALL_BYTES:
            plates.left_out.append(f"{kind.lower()} cells of {name}")
            continue
        drawn = chosen.head(GALLERY)
        shown.append(
            plates.draw(
                gallery_figure(view, role, drawn, side=side),
                f"{kind}.",
                how,
                f"{kind} cells for {name}",
                dpi=PIXELS_DPI,
                most=(_ALL_BYTES - _OVERLAY_BYTES) // 5,
            )
        )
    return _Galleries(name, THRESHOLDS.get(rule, "score"), shown, missing)


def _groups(cells: pd.DataFrame, role: str, rule: str) -> dict[str, tuple[pd.DataFrame, str]]:
    """Cells of the galleries in the order they are shown, and how they were chosen."""
    positive = flags(cells[f"{role}_positive"])
    margin = cells[f"{role}_margin"].to_numpy(np.float64)
    score = scores_of(cells, role)
    rank = np.where(np.isfinite(margin), margin, score)
    ordered = cells.assign(_rank=rank).sort_values(
        ["_rank", "cell_label"], ascending=[False, True], kind="stable"
    )
    far = distances(cells, role)
    near = cells.assign(_far=far)[far < _BORDERLINE_OCTAVES]
    near = near.sort_values(["_far", "cell_label"]).head(GALLERY)
    near = near.sort_values([f"{role}_margin", "cell_label"], ascending=[False, True])
    n = int((far < _BORDERLINE_OCTAVES).sum())
    rest = ordered[~ordered["cell_label"].isin(near["cell_label"])]
    plus = rest[flags(rest[f"{role}_positive"])]
    minus = rest[~flags(rest[f"{role}_positive"])].iloc[::-1]
    told = _told_near(len(near), n, by_factor=rule not in _NO_FACTOR) if len(near) else "none"
    return {
        "Positive": (_spread(plus), _told(len(plus), int(positive.sum()), "the largest margin")),
        "Borderline": (near, told),
        "Negative": (
            _spread(minus),
            _told(len(minus), int((~positive).sum()), "the smallest margin"),
        ),
    }


def _spread(cells: pd.DataFrame) -> pd.DataFrame:
    """Twelve of all, evenly from the first to the last."""
    if len(cells) <= GALLERY:
        return cells
    return cells.iloc[np.linspace(0, len(cells) - 1, GALLERY).round().astype(int)]


def _told(n: int, of: int, first: str) -> str:
    """How ``n`` cells are shown, where those of ``of`` that are missing are shown as borderline."""
    if n == 0:
        return "all are shown as borderline" if of else "none"
    besides = " besides the borderline ones shown" if n < of else ""
    if n <= GALLERY:
        return f"All {n}{besides}, {first} first." if n > 1 else f"The only one{besides}."
    return (
        f"{GALLERY} of {number(n)}{besides}, evenly spaced in the order of their margin, {first} "
        "first."
    )


def _told_near(shown: int, n: int, *, by_factor: bool) -> str:
    within = f"within a factor of {2**_BORDERLINE_OCTAVES:g} of the threshold"
    if n <= shown:
        how = f"All {within}" if by_factor else "All that are near the threshold"
    elif by_factor:
        how = f"The {shown} nearest to the threshold, of {number(n)} {within}"
    else:
        how = f"The {shown} nearest to the threshold"
    return f"{how}; the largest margin first. From 1× on they are positive."


def _why_untested(table: pd.DataFrame) -> str:
    """Why combinations of markers have no p-value, as the table says."""
    if not len(table) or table["p_value"].notna().any():
        return ""
    of_several = table.loc[table["n_markers"] > 1, "reason"].dropna().astype(str)
    reasons = list(dict.fromkeys(r for r in of_several if r))
    if reasons == ["not tested"]:
        return "the test is switched off (--no-phenotype-test)"
    return "; ".join(reasons)


def _nulls(table: pd.DataFrame) -> list[str]:
    """The null hypotheses of the tests in words, with their unit of inference."""
    if not len(table):
        return []
    tested: Any = table[table["p_value"].notna()]
    facts = tested[["hypothesis", "alternative", "unit"]].drop_duplicates()
    return [
        f"Null hypothesis: {str(f.hypothesis).rstrip('.')} ({f.alternative} test). Unit of "
        f"inference: {f.unit}."
        for f in facts.itertuples(index=False)
    ]
