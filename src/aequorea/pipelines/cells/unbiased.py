"""Which of the cells found count, so that edges do not bias their number."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, CalibrationError, InputError
from aequorea.measure.counting import (
    abercrombie,
    in_counting_frame,
    in_disector,
    mean_height_um,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from aequorea.pipelines.cells.parameters import CountingParameters
    from aequorea.pipelines.cells.tables import Spacing


def counted_cells(
    cells: NDArray[Any], options: CountingParameters, spacing_um: Spacing
) -> NDArray[np.bool_]:
    """Which cells count, in the order of their labels.

    Parameters
    ----------
    cells : ndarray of int, shape (z, y, x)
    options : CountingParameters
    spacing_um : (z, y, x) in µm; None where unknown

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    CalibrationError
        If a guard is given in µm and the pixel size is not known.
    InputError
        If the guards leave nothing, or a disector is asked of a single plane.
    """
    n = len(np.unique(cells[cells > 0]))
    if options.counting in {"all", "abercrombie"}:
        return np.ones(n, np.bool_)
    guard = _pixels(options.frame_guard_um, spacing_um[1], "frame_guard_um")
    counted = in_counting_frame(cells, guard_px=guard)
    if options.counting == "frame":
        return counted
    if len(cells) == 1:
        raise InputError("counting 'disector' needs a stack; use 'frame' for a single plane")
    given = options.disector_guard_um
    planes = 1 if given is None else max(1, _pixels(given, spacing_um[0], "disector_guard_um"))
    end = len(cells) - (0 if given is None else planes)
    if planes >= end:
        raise InputError(
            f"disector_guard_um {given}: leaves none of {len(cells)} planes; give a smaller guard"
        )
    return counted & in_disector(cells, planes, end)


def add_counts(
    overview: pd.DataFrame,
    cells: pd.DataFrame,
    labels: NDArray[Any],
    options: CountingParameters,
    spacing_um: Spacing,
) -> pd.DataFrame:
    """The overview with the unbiased counts beside the plain ones.

    Columns ``n_cells_counted`` and, for each marker, ``n_<marker>_positive_cells_counted``; with
    Abercrombie's correction they are no whole numbers, and ``mean_cell_height_um`` and
    ``section_um`` say what was put in.
    """
    from aequorea.pipelines.cells.tables import positive_columns

    table = overview.copy()
    chosen = cells[cells["counted"].to_numpy(bool)]
    numbers: dict[str, Any] = {"n_cells_counted": chosen.groupby("roi_id").size()}
    for column in positive_columns(cells):
        of = chosen[chosen[column].to_numpy(bool)].groupby("roi_id").size()
        numbers[f"n_{column}_cells_counted"] = of
    for name, series in numbers.items():
        table[name] = series.reindex(table["roi_id"]).fillna(0).to_numpy(np.int64)
    if options.counting != "abercrombie":
        return table
    section, height = _section(labels, options, spacing_um)
    for name in numbers:
        table[name] = [
            abercrombie(n, section_um=section, mean_height_um=height)
            if math.isfinite(height)
            else float("nan")
            for n in table[name]
        ]
    table["section_um"], table["mean_cell_height_um"] = section, height
    return table


def _section(
    labels: NDArray[Any], options: CountingParameters, spacing_um: Spacing
) -> tuple[float, float]:
    if len(labels) == 1:
        raise InputError(
            "counting 'abercrombie' measures the height of cells in a stack; this is a single plane"
        )
    if spacing_um[0] is None:
        raise CalibrationError(
            "counting 'abercrombie' needs the distance between planes; give it with --spacing-um "
            "z,y,x"
        )
    section = options.section_um or len(labels) * spacing_um[0]
    height = mean_height_um(labels, plane_distance_um=spacing_um[0])
    if not math.isfinite(height):
        warnings.warn(
            "counting 'abercrombie': no cell is seen whole along z, so its height is unknown and "
            "corrected counts are left empty",
            AequoreaWarning,
            stacklevel=3,
        )
    return section, height


def _pixels(length_um: float, spacing_um: float | None, name: str) -> int:
    if length_um == 0:
        return 0
    if spacing_um is None:
        raise CalibrationError(
            f"{name} is a length in µm and the pixel size is not known; give it with --spacing-um"
        )
    return math.ceil(length_um / spacing_um)
