"""When a cell is positive, in words, and how near to the threshold cells are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.report.cells_views import flags
from aequorea.report.numbers import number

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from aequorea.report.run_contents import RunContents

#: What is compared, by rule: the horizontal axis of the stability figure.
THRESHOLDS = {
    "union": "smallest fraction of the cell covered",
    "best": "smallest fraction of the cell covered by one object",
    "count": "fewest marker objects in the cell",
    "centroid": "fewest marker objects with their centre in the cell",
    "contact": "smallest fraction of the surface in contact",
    "intensity": "lowest intensity of the cell (grey levels)",
}
OVERLAP_RULES = frozenset({"union", "best"})
_RATIO_RULES = OVERLAP_RULES | {"contact"}
_NEARLY_ALL = 0.995
#: Cells within this factor of the threshold are borderline.
FACTOR = 1.5
#: For intensities, which have an offset: within this part of the gap between both groups.
GAP = 0.1


def rule_in_words(run: RunContents, role: str, name: str) -> str:
    """The condition for a cell to be positive, with its thresholds: ``"… if <this>"``."""
    told = _options(run, role)
    rule = told["rule"]
    share = f"{100 * float(told['overlap_fraction']):g} %"
    pixels = f"{told['min_overlap_px']} pixels"
    if rule == "union":
        return (
            f"objects of {name}, taken together, cover at least {share} of the cell and at least "
            f"{pixels} of it"
        )
    if rule == "best":
        return (
            f"a single object of {name} covers at least {share} of the cell and at least {pixels} "
            "of it"
        )
    count = int(told["min_count"])
    objects = f"at least {count} object{'' if count == 1 else 's'} of {name}"
    verb = "has" if count == 1 else "have"
    if rule == "count":
        inside = f"{100 * float(told['min_object_fraction']):g} %"
        return (
            f"{objects} {verb} at least {inside} of {'its' if count == 1 else 'their'} pixels in it"
        )
    if rule == "centroid":
        return f"{objects} {verb} {'its centre' if count == 1 else 'their centres'} in it"
    if rule == "contact":
        part = f"{100 * float(told['min_contact_fraction']):g} %"
        return f"at least {part} of its surface is, or is next to, an object of {name}"
    given = told["intensity_threshold"]
    measure = told["intensity_measure"]
    if given is not None:
        return f"its {measure} intensity of {name} is at least {float(given):g} grey levels"
    found = _median(thresholds_of(run.table("cell_summary"), role))
    level = f" ({number(found)} grey levels)" if math.isfinite(found) else ""
    return (
        f"its {measure} intensity of {name} reaches a threshold{level} found from the cells "
        "themselves by Otsu's method on the logarithm"
    )


def in_force(run: RunContents, role: str) -> str:
    """Which of two thresholds of overlap decided; empty where there is one threshold only."""
    told = _options(run, role)
    used = thresholds_of(run.table("cell_summary"), role)
    by_pixels = decided_by_pixels(run, role)
    if by_pixels == 0:
        return ""
    low, high = (f"{100 * v:.2g}" for v in np.quantile(used, (0.05, 0.95)))
    span = f"{low} %" if low == high else f"{low} to {high} %"
    cells = f"{100 * by_pixels:.0f} % of the cells"
    if by_pixels > _NEARLY_ALL:
        cells = "all cells" if by_pixels == 1 else "nearly all cells"
    return (
        f"For {cells} the {told['min_overlap_px']} pixels are the stricter condition: they are "
        f"{span} of a cell, {100 * _median(used):.2g} % at the median."
    )


def decided_by_pixels(run: RunContents, role: str) -> float:
    """Share of the cells for which the pixels, not the fraction, are the stricter condition."""
    told = _options(run, role)
    used = thresholds_of(run.table("cell_summary"), role)
    if told["rule"] not in OVERLAP_RULES or not used.size:
        return 0.0
    return float((used > float(told["overlap_fraction"]) * (1 + 1e-9)).mean())


def scores_of(cells: pd.DataFrame, role: str) -> NDArray[np.float64]:
    """What was compared with the threshold, per cell."""
    return np.asarray(cells[f"{role}_score"], dtype=np.float64)


def thresholds_of(cells: pd.DataFrame, role: str) -> NDArray[np.float64]:
    """The threshold of each cell, where there is one."""
    used = np.asarray(cells[f"{role}_threshold"], dtype=np.float64)
    return used[np.isfinite(used)]


def distances(cells: pd.DataFrame, role: str) -> NDArray[np.float64]:
    """How far each cell is from its threshold, in octaves; infinite where that means nothing."""
    margin = cells[f"{role}_margin"].to_numpy(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        octaves = np.abs(np.log2(margin))
    return np.where(np.isfinite(octaves), octaves, np.inf)


def borderline(run: RunContents, role: str) -> tuple[NDArray[np.bool_], str] | None:
    """Which cells a slightly different threshold would call otherwise.

    Returns
    -------
    flags, words : tuple of ndarray of bool, str
        ``words`` says what counts as near. None for rules that count objects, where the next
        threshold is another question, and where there is no gap to compare with.
    """
    cells = run.table("cell_summary")
    rule = str(run.parameter(f"{role}.rule"))
    if rule in _RATIO_RULES:
        near = distances(cells, role) <= math.log2(FACTOR)
        return near, f"within a factor of {FACTOR:g} of the threshold"
    if rule != "intensity" or not len(cells):
        return None
    score, positive = scores_of(cells, role), flags(cells[f"{role}_positive"])
    limit = _median(thresholds_of(cells, role))
    gap = _median(score[positive]) - _median(score[~positive])
    if not math.isfinite(gap) or gap <= 0 or not math.isfinite(limit):
        return None
    words = f"within {100 * GAP:g} % of the gap between both groups from the threshold"
    return np.abs(score - limit) <= GAP * gap, words


def change_of_positives(run: RunContents, role: str, name: str) -> tuple[int, int, str] | None:
    """How many cells would be positive at a lower and a higher threshold.

    Returns
    -------
    at_lower, at_higher, words : tuple of int, int, str
        None where that means nothing.

    Notes
    -----
    Of rules that compare a share, all conditions are halved and doubled, the pixels too; the curve
    of ``stability`` varies the fraction alone.
    """
    if run.parameter(f"{role}.rule") in _RATIO_RULES:
        margin = run.table("cell_summary")[f"{role}_margin"].to_numpy(np.float64)
        if not np.isfinite(margin).any():
            return None
        lower, higher = (int((margin >= factor).sum()) for factor in (0.5, 2.0))
        return lower, higher, "at half and at twice the threshold"
    table = run.table("stability")
    rows = table[table["marker"] == name].sort_values("threshold")
    used = flags(rows["in_force"])
    if not used.any():
        return None
    x, y = (rows[c].to_numpy(np.float64) for c in ("threshold", "n_positive"))
    limit = float(x[used][0])
    near = borderline(run, role)
    if near is None or rows["rule"].iloc[0] != "intensity":
        return None
    cells = run.table("cell_summary")
    score, positive = scores_of(cells, role), flags(cells[f"{role}_positive"])
    step = GAP * (_median(score[positive]) - _median(score[~positive]))
    low, high = limit - step, limit + step
    words = f"at {number(low)} and {number(high)} grey levels"
    return round(float(np.interp(low, x, y))), round(float(np.interp(high, x, y))), words


def _options(run: RunContents, role: str) -> dict[str, Any]:
    names = ("rule", "overlap_fraction", "min_overlap_px", "min_count", "min_object_fraction",
             "min_contact_fraction", "intensity_threshold", "intensity_measure")  # fmt: skip
    return {n: run.parameter(f"{role}.{n}") for n in names}


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if values.size else math.nan
