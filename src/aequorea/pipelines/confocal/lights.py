"""Traffic lights: which images of a study can be used as they are, and what is wrong with others.

Every image is held against the same criteria, without a look at its condition.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from aequorea.io.tables import read_table
from aequorea.pipelines.kept_tables import kept_table, table_outputs, write_tables
from aequorea.pipelines.run.steps import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from aequorea.pipelines.confocal.triage import Decision
    from aequorea.pipelines.run.steps import StepContext

__all__ = [
    "CRITERIA",
    "LIGHT_COLUMNS",
    "SYMBOLS",
    "lights_step",
    "overall_lights",
    "traffic_lights",
]

Light = Literal["green", "amber", "red", "grey"]
OVERALL = "overall"
SYMBOLS: Mapping[str, str] = {"green": "✓", "amber": "!", "red": "✕", "grey": "–"}
LIGHT_COLUMNS = (
    "sample", "criterion", "subject", "light", "symbol", "value", "limit", "reason",
)  # fmt: skip
SATURATED = (1e-4, 1e-3)
SNR = (4.0, 2.0)
FADED = 0.5
MOVED_UM = 1.0
CUT = 0.5
EFFICIENCY = (0.8, 0.5)
AWAY = (1.5, 2.0)
OUTLYING = 3.5
FEWEST_IMAGES = 5
_LEAST_SPREAD = 0.1  # of ln(1 + puncta): counts of like images differ by a tenth anyway
_TABLES = ("samples", "channels", "cells", "thresholds", "efficiency", "triage")
#: What is looked at, and from where on it is amber and red.
CRITERIA: Mapping[str, str] = {
    "run": "red: the image could not be analysed",
    "saturation": f"amber above {SATURATED[0]:g} of the voxels, red above {SATURATED[1]:g}",
    "signal over noise": f"amber below {SNR[0]:g}; red below {SNR[1]:g}, but for puncta, which may "
    "be rare",
    "focus": "amber: the sharpest plane is the first or the last",
    "fading with depth": f"amber: less than {FADED:g} of the light left at the last plane",
    "movement": f"amber: planes are shifted by more than {MOVED_UM:g} µm",
    "cells": "red: no cell, or no cell with a nucleus; amber: some cells without a nucleus",
    "cut by the side": f"amber from {CUT:g} of the cells on; red: all",
    "number of puncta": f"amber: none, or {OUTLYING:g} robust SD away from the other images "
    f"(from {FEWEST_IMAGES} images on)",
    "detection": f"amber: less than {EFFICIENCY[0]:g} of typical spots put in are found; red: less "
    f"than {EFFICIENCY[1]:g}",
    "threshold": f"amber: the image alone would have a threshold {AWAY[0]:g} times higher or lower "
    f"than the one in force; red: {AWAY[1]:g} times",
    "looked at by hand": "red: rejected; green: accepted",
}


def lights_step(decisions: Mapping[str, Decision], names: Sequence[str]) -> Step:
    """``tables/traffic_lights`` of a study, after its tables are collected.

    Parameters
    ----------
    decisions : mapping of sample to Decision
        What somebody decided after looking.
    names : sequence of str
        Tables that the samples have.
    """
    read = tuple(n for n in _TABLES if n in {*names, "samples", "triage"})
    return Step(
        name="traffic_lights",
        version=1,
        function=partial(_write, names=read),
        needs=("tables", "samples", "triage"),
        parameters={"criteria": dict(CRITERIA), "tables": read, "n_decisions": len(decisions)},
        outputs=table_outputs("traffic_lights"),
    )


def _write(context: StepContext, *, names: Sequence[str]) -> None:
    write_tables(context, traffic_lights=traffic_lights({n: kept_table(context, n) for n in names}))


def traffic_lights(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Light, limit and reason for every image and criterion, the overall light first.

    Parameters
    ----------
    tables : mapping of name to DataFrame
        Of a study: ``samples``; ``channels``, ``cells``, ``thresholds``, ``efficiency`` and
        ``triage`` where there are any.

    Returns
    -------
    DataFrame
        :data:`LIGHT_COLUMNS`. Controls have no rows. The overall light is the worst of the
        others; an image that somebody accepted is green, one that was rejected red.
    """
    samples = tables["samples"]
    measured = samples[samples["control"].isna()]
    kept = {
        name: _of_samples(tables[name], set(measured["sample"]))
        for name in _TABLES[1:]
        if name in tables
    }
    strange = _strange_counts(kept)
    rows: list[dict[str, Any]] = []
    for sample, state in zip(measured["sample"], measured["state"], strict=True):
        own = {name: table[table["sample"] == sample] for name, table in kept.items()}
        if state == "done":
            found = [
                *_of_channels(own), *_of_cells(own), *strange.get(sample, ()),
                *_of_detection(own), *_of_thresholds(own), *_of_triage(own),
            ]  # fmt: skip
        else:
            found = [_row("run", "", "red", np.nan, f"could not be analysed ({state})")]
        rows += [{"sample": sample, **row} for row in (_overall(found), *found)]
    return pd.DataFrame(rows, columns=list(LIGHT_COLUMNS))


def overall_lights(directory: Path) -> dict[str, str]:
    """The overall light of every image of a study in words; none before there are any."""
    path = directory / "tables" / "traffic_lights.parquet"
    if not path.is_file():
        return {}
    table = read_table(path)
    rows = table[table["criterion"] == OVERALL]
    return {str(s): str(light) for s, light in zip(rows["sample"], rows["light"], strict=True)}


def _of_samples(table: pd.DataFrame, measured: set[str]) -> pd.DataFrame:
    return table[table["sample"].isin(measured)] if "sample" in table else table


def _row(criterion: str, subject: str, light: Light, value: float, reason: str) -> dict[str, Any]:
    return {
        "criterion": criterion,
        "subject": subject,
        "light": light,
        "symbol": SYMBOLS[light],
        "value": value,
        "limit": CRITERIA.get(criterion, ""),
        "reason": reason,
    }


def _overall(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The worst of all, unless a person has decided."""
    by_hand = [row for row in found if row["criterion"] == "looked at by hand"]
    wrong = [row for colour in ("red", "amber") for row in found if row["light"] == colour]
    told = "; ".join(row["reason"] for row in wrong)
    if by_hand and by_hand[0]["light"] == "green":
        reason = by_hand[0]["reason"] + (f", in spite of: {told}" if told else "")
        return _row(OVERALL, "", "green", np.nan, reason)
    light: Light = wrong[0]["light"] if wrong else "green"
    return _row(OVERALL, "", light, np.nan, told or "nothing wrong was found")


def _graded(value: float, amber: float, red: float) -> Light:
    """Larger is worse; grey where nothing is known."""
    if not np.isfinite(value):
        return "grey"
    return "red" if value > red else "amber" if value > amber else "green"


def _of_channels(own: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    for row in _records(own.get("channels")):
        name, role = str(row["channel"]), str(row["role"])
        share, snr = float(row["saturated_fraction"]), float(row["snr"])
        yield _row(
            "saturation", name, _graded(share, *SATURATED), share,
            f"{name}: {100 * share:.2g} % of the voxels are saturated",
        )  # fmt: skip
        worst = 0.0 if role.startswith("puncta") else SNR[1]
        yield _row(
            "signal over noise", name, _graded(-snr, -SNR[0], -worst), snr,
            f"{name}: signal is {snr:.3g} times the noise"
            if np.isfinite(snr) else f"{name}: no noise to compare the signal with",
        )  # fmt: skip
        if role in {"nuclei", "cells"}:
            yield _focus(row, name)
        left, step = float(row["light_at_the_end"]), float(row["largest_step_um"])
        yield _row(
            "fading with depth", name, _graded(-left, -FADED, 0), left,
            f"{name}: {100 * left:.0f} % of the light is left at the last plane"
            if np.isfinite(left) else f"{name}: too few planes or too little light to tell",
        )  # fmt: skip
        yield _row(
            "movement", name, _graded(step, MOVED_UM, np.inf), step,
            f"{name}: planes are shifted by up to {step:.2g} µm"
            if np.isfinite(step) else f"{name}: too few planes or too little light to tell",
        )  # fmt: skip


def _focus(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    plane, last = int(row["sharpest_plane"]), int(row["n_planes"]) - 1
    end = {0: "first", last: "last"}.get(plane)
    reason = f"{name}: plane {plane} of 0 to {last} is sharpest"
    if end:
        reason = f"{name}: the {end} plane is sharpest, so the stack may end before the focus"
    return _row("focus", name, "amber" if end else "green", plane, reason)


def _of_cells(own: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    cells = own.get("cells")
    n = 0 if cells is None else len(cells)
    if cells is None or not n:
        yield _row("cells", "", "red", 0, "no cell was found")
        return
    bare = int((cells["n_nuclei"] == 0).sum())
    light: Light = "red" if bare == n else "amber" if bare else "green"
    yield _row("cells", "", light, n, f"{bare} of {n} cells have no nucleus" if bare
               else f"{n} cells, all with a nucleus")  # fmt: skip
    cut = int(cells["touches_side"].sum())
    grade: Light = "red" if cut == n else "amber" if cut / n >= CUT else "green"
    yield _row("cut by the side", "", grade, cut / n, f"{cut} of {n} cells are cut by the side")


def _strange_counts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[dict[str, Any]]]:
    """Puncta per cell of each image beside those of all others."""
    found: dict[str, list[dict[str, Any]]] = {}
    cells, thresholds = tables.get("cells"), tables.get("thresholds")
    if cells is None or thresholds is None or not len(cells):
        return found
    for role, rows in thresholds.groupby("role", sort=False):
        column, name = f"{role}_n", str(rows["channel"].iloc[0])
        if column not in cells:
            continue
        mean = cells.groupby("sample", sort=False)[column].mean()
        for sample, n in mean.items():
            found.setdefault(str(sample), []).append(_count(name, float(n), mean.to_numpy(float)))
    return found


def _count(name: str, n: float, everywhere: np.ndarray[Any, Any]) -> dict[str, Any]:
    told = f"{name}: {n:.3g} puncta per cell"
    if n == 0:
        return _row("number of puncta", name, "amber", 0.0, f"{name}: no punctum in any cell")
    if len(everywhere) < FEWEST_IMAGES:
        return _row("number of puncta", name, "green", n, told)
    logs = np.log1p(everywhere)
    middle = float(np.median(logs))
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), _LEAST_SPREAD)
    away = abs(float(np.log1p(n)) - middle) / spread
    if away > OUTLYING:
        told += f", where the median of all images is {np.expm1(middle):.3g}"
    return _row("number of puncta", name, "amber" if away > OUTLYING else "green", n, told)


def _of_detection(own: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    table = own.get("efficiency")
    if table is None:
        return
    typical = table[(table["brightness"] == "typical") & table["fraction"].notna()]
    for name, rows in typical.groupby("channel", sort=False):
        share = float(rows["fraction"].mean())
        amber, red = EFFICIENCY
        yield _row(
            "detection", str(name), _graded(-share, -amber, -red), share,
            f"{name}: {100 * share:.0f} % of typical spots put into the image are found",
        )  # fmt: skip


def _of_thresholds(own: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    for row in _records(own.get("thresholds")):
        name = str(row["channel"])
        in_force, alone = float(row["threshold"]), float(row["own_threshold"])
        ratio = alone / in_force if in_force > 0 and alone > 0 else np.nan
        away = max(ratio, 1 / ratio) if np.isfinite(ratio) else np.nan
        yield _row(
            "threshold", name, _graded(away, *AWAY), ratio,
            f"{name}: threshold {in_force:.3g}, by this image alone {alone:.3g}"
            if np.isfinite(ratio) else f"{name}: this image alone gives no threshold",
        )  # fmt: skip


def _of_triage(own: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    for row in _records(own.get("triage")):
        verdict, why = str(row["verdict"]), f": {row['reason']}" if row["reason"] else ""
        if verdict == "redo":
            told = f"done again by hand with {row['overrides']}{why}"
            yield _row("looked at by hand", "", "grey", np.nan, told)
        else:
            light: Light = "red" if verdict == "reject" else "green"
            yield _row("looked at by hand", "", light, np.nan, f"{verdict}ed by hand{why}")


def _records(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    if table is None:
        return []
    return [{str(c): v for c, v in row.items()} for row in table.to_dict("records")]
