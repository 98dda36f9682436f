"""Combinations of markers: how many cells have them, and how many would by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.measure.phenotypes import Phenotype, all_phenotypes, parse_phenotype
from aequorea.spatial.phenotypes import expected_by_chance, neighbourhoods, phenotype_test
from aequorea.stats.fdr import false_discovery_rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from aequorea.pipelines.cells.parameters import PhenotypeParameters

PHENOTYPE_COLUMNS = (
    "roi_id",
    "phenotype",
    "n_markers",
    "observed",
    "fraction",
    "expected",
    "expected_naive",
    "ratio",
    "p_value",
    "p_fdr",
    "n_cells",
    "n_tested",
    "n_effective",
    "n_neighbourhoods",
    "alternative",
    "hypothesis",
    "unit",
    "reason",
)
_MOST_AT_ONCE = 3


def phenotype_table(
    cells: pd.DataFrame, names: Mapping[str, str], options: PhenotypeParameters
) -> pd.DataFrame:
    """One row per phenotype, of all regions together (``roi_id`` 0) and of each.

    Parameters
    ----------
    cells : DataFrame
        ``cell_summary``.
    names : mapping of role to str
        Markers and what they are called.
    options : PhenotypeParameters

    Returns
    -------
    DataFrame
        Expected counts are those within neighbourhoods of cells; ``expected_naive`` multiplies
        the fractions of the whole. Only phenotypes of two markers or more are tested.

    Raises
    ------
    InputError
        If a phenotype names a marker that there is not.
    """
    wanted = _wanted(names, options.phenotypes)
    if not wanted:
        return pd.DataFrame(columns=list(PHENOTYPE_COLUMNS))
    rows = [
        row for region in _regions(cells) for row in _rows(cells, region, names, wanted, options)
    ]
    table = pd.DataFrame(rows, columns=list(PHENOTYPE_COLUMNS))
    table["p_fdr"] = false_discovery_rate(table["p_value"].to_numpy(np.float64))
    return table


def _wanted(names: Mapping[str, str], texts: Sequence[str]) -> list[Phenotype]:
    if texts:
        return [parse_phenotype(text, names.values()) for text in texts]
    if not 1 < len(names) <= _MOST_AT_ONCE:
        return []
    return list(all_phenotypes(names.values()))


def _regions(cells: pd.DataFrame) -> Iterator[int]:
    """0 for all together, then each region if there are several."""
    yield 0
    present = np.unique(cells["roi_id"])
    if len(present) > 1:
        yield from (int(k) for k in present)


def _rows(
    cells: pd.DataFrame,
    region: int,
    names: Mapping[str, str],
    wanted: Sequence[Phenotype],
    options: PhenotypeParameters,
) -> Iterator[dict[str, Any]]:
    here = cells if region == 0 else cells[cells["roi_id"] == region]
    marks = here[[f"{role}_positive" for role in names]].to_numpy(bool)
    places = _places(here)
    regions = here["roi_id"].to_numpy(np.int64)
    for phenotype in wanted:
        signs = dict(phenotype.signs)
        asked = [0 if n not in signs else 1 if signs[n] else -1 for n in names.values()]
        n_markers = sum(a != 0 for a in asked)
        row: dict[str, Any] = {
            "roi_id": region,
            "phenotype": str(phenotype),
            "n_markers": n_markers,
            "n_cells": len(here),
        }
        if n_markers >= 2 and options.phenotype_test and len(here):
            yield row | _tested(places, marks, asked, regions, options)
        else:
            yield row | _described(places, marks, asked, regions, options)


def _tested(
    places: NDArray[np.float64],
    marks: NDArray[np.bool_],
    asked: Sequence[int],
    regions: NDArray[np.int64],
    options: PhenotypeParameters,
) -> dict[str, Any]:
    test = phenotype_test(
        places,
        marks,
        asked,
        neighbourhood=options.neighbourhood,
        regions=regions,
        n_shifts=options.n_shifts,
    )
    told = ("observed", "expected", "expected_naive", "ratio", "p_value", "n_tested",
            "n_effective", "n_neighbourhoods", "alternative", "hypothesis", "unit",
            "reason")  # fmt: skip
    facts = {name: getattr(test, name) for name in told}
    return facts | {"fraction": test.observed / len(places)}


def _described(
    places: NDArray[np.float64],
    marks: NDArray[np.bool_],
    asked: Sequence[int],
    regions: NDArray[np.int64],
    options: PhenotypeParameters,
) -> dict[str, Any]:
    signs = np.array(asked)
    matches = (marks[:, signs != 0] == (signs[signs != 0] > 0)).all(axis=1)
    observed, n = int(matches.sum()), len(places)
    if not n:
        return {"observed": 0, "fraction": np.nan, "reason": "no cells"}
    local = neighbourhoods(places, size=options.neighbourhood, regions=regions)
    several = int((signs != 0).sum()) > 1
    expected = expected_by_chance(marks, asked, local) if several else np.nan
    naive = expected_by_chance(marks, asked) if several else np.nan
    return {
        "observed": observed,
        "fraction": observed / n,
        "expected": expected,
        "expected_naive": naive,
        "ratio": observed / expected if several and expected > 0 else np.nan,
        "n_neighbourhoods": len(np.unique(local)),
        "reason": "not tested" if several else "one marker: nothing to combine",
    }


def _places(cells: pd.DataFrame) -> NDArray[np.float64]:
    """Centres in µm; in pixels where the calibration is unknown; flat ones without z."""
    for suffix in ("_um", ""):
        points = cells[[f"centroid_{a}{suffix}" for a in "zyx"]].to_numpy(np.float64)
        known = points[:, np.isfinite(points).all(axis=0)]
        if known.shape[1] >= 2 or not len(points):
            return known
    return points
