"""Which of the cells found count, so that edges do not bias their number."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, CalibrationError, InputError
from aequorea.measure.assignment import region_extents
from aequorea.measure.counting import (
    abercrombie,
    in_counting_frame,
    in_disector,
    mean_height_um,
)
from aequorea.measure.label_index import LabelIndex

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from aequorea.pipelines.cells.parameters import CountingParameters
    from aequorea.pipelines.cells.tables import Spacing


def check_counting(
    shape: tuple[int, ...], options: CountingParameters, spacing_um: Spacing
) -> None:
    """Refuse a way of counting that an image of this shape and calibration does not allow.

    Parameters
    ----------
    shape : (z, y, x) in px
    options : CountingParameters
    spacing_um : (z, y, x) in µm; None where unknown

    Raises
    ------
    CalibrationError
        If a length is given in µm, or needed, and the pixel size is not known.
    InputError
        If the guards leave nothing, or a stack is needed and this is a single plane.
    """
    if options.counting in {"frame", "disector"}:
        _frame_guard(shape, options, spacing_um)
    if options.counting == "disector":
        _disector_planes(shape[0], options, spacing_um)
    if options.counting == "abercrombie":
        _plane_distance_um(shape[0], spacing_um)


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
    counted = in_counting_frame(cells, guard_px=_frame_guard(cells.shape, options, spacing_um))
    if options.counting == "frame":
        return counted
    return counted & in_disector(cells, *_disector_planes(len(cells), options, spacing_um))


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


def with_fractions(overview: pd.DataFrame, roles: Sequence[str]) -> pd.DataFrame:
    """The overview with the fraction of positive cells among those that count.

    Parameters
    ----------
    overview : DataFrame
        As :func:`add_counts` gives it.
    roles : sequence of str
        Of the markers; each gives ``<marker>_positive_fraction_counted``, NaN without cells.
    """
    table = overview.copy()
    whole = table["n_cells_counted"].to_numpy(np.float64)
    for role in roles:
        part = table[f"n_{role}_positive_cells_counted"].to_numpy(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            table[f"{role}_positive_fraction_counted"] = part / whole
    return table


def with_reference(
    overview: pd.DataFrame,
    regions: NDArray[Any],
    shape: tuple[int, ...],
    options: CountingParameters,
    spacing_um: Spacing,
) -> pd.DataFrame:
    """The overview with the area and volume that the counts of a frame or disector refer to.

    Parameters
    ----------
    overview : DataFrame
        One row per region, ``roi_id``.
    regions : ndarray of int, shape (y, x) or (z, y, x)
    shape : (z, y, x) in px
    options : CountingParameters
    spacing_um : (z, y, x) in µm; None where unknown

    Returns
    -------
    DataFrame
        With ``counting_area_um2``, that of the region (seen from above) inside the frame, and
        ``counting_volume_um3``, that of the region inside the frame and the planes counted; NaN
        for other ways of counting and where the pixel size is not known.
    """
    table = overview.copy()
    table["counting_area_um2"] = table["counting_volume_um3"] = np.nan
    if options.counting not in {"frame", "disector"}:
        return table
    part = _counted_part(shape, options, spacing_um)
    index = LabelIndex.of(regions, "regions")
    drawn = np.broadcast_to(regions, shape)[part]
    place = np.searchsorted(index.labels, table["roi_id"].to_numpy(np.int64))
    inside = LabelIndex.of(np.where(drawn > 0, drawn, 0), "regions")
    found = region_extents(inside, len(drawn))
    at = np.searchsorted(index.labels, inside.labels)
    pixels, voxels = np.zeros(index.n), np.zeros(index.n)
    pixels[at], voxels[at] = found.n_pixels, found.n_voxels
    z, y, x = (np.nan if s is None else s for s in spacing_um)
    table["counting_area_um2"] = pixels[place] * (y * x)
    table["counting_volume_um3"] = voxels[place] * (z * y * x)
    return table


def _counted_part(
    shape: tuple[int, ...], options: CountingParameters, spacing_um: Spacing
) -> tuple[slice, slice, slice]:
    """Planes, rows and columns of the frame, in which cells are counted once."""
    along_y, along_x = _frame_guard(shape, options, spacing_um)
    planes = (0, shape[0])
    if options.counting == "disector":
        planes = _disector_planes(shape[0], options, spacing_um)
    # without a guard the outermost row and column are the forbidden line, as in_counting_frame says
    rows = slice(along_y, min(shape[1] - along_y, shape[1] - 1))
    return slice(*planes), rows, slice(max(along_x, 1), shape[2] - along_x)


def _section(
    labels: NDArray[Any], options: CountingParameters, spacing_um: Spacing
) -> tuple[float, float]:
    distance = _plane_distance_um(len(labels), spacing_um)
    imaged = len(labels) * distance
    section = options.section_um or imaged
    if section > imaged + distance:
        warnings.warn(
            f"counting.section_um {section:g} µm is more than the {imaged:g} µm of depth that were "
            "imaged: cells of the rest are not among those seen, and corrected counts are too "
            "large; give the depth that was looked at, or leave it out",
            AequoreaWarning,
            stacklevel=3,
        )
    height = mean_height_um(labels, plane_distance_um=distance)
    if not math.isfinite(height):
        warnings.warn(
            "counting 'abercrombie': no cell is seen whole along z, so its height is unknown and "
            "corrected counts are left empty",
            AequoreaWarning,
            stacklevel=3,
        )
    return section, height


def _frame_guard(
    shape: tuple[int, ...], options: CountingParameters, spacing_um: Spacing
) -> tuple[int, int]:
    """Pixels along y and x between the edges of the image and the frame."""
    guard = options.frame_guard_um
    along_y, along_x = (_pixels(guard, s, "frame_guard_um") for s in spacing_um[1:])
    if 2 * along_y >= shape[1] or 2 * along_x >= shape[2]:
        raise InputError(
            f"frame_guard_um {guard:g}: leaves nothing of an image of {shape[1]} × {shape[2]} px "
            f"({along_y} px along y and {along_x} px along x at each edge); give a smaller guard"
        )
    return along_y, along_x


def _disector_planes(
    depth: int, options: CountingParameters, spacing_um: Spacing
) -> tuple[int, int]:
    """The first plane of the disector and the one after its last."""
    if depth == 1:
        raise InputError("counting 'disector' needs a stack; use 'frame' for a single plane")
    given = options.disector_guard_um
    planes = 1 if given is None else max(1, _pixels(given, spacing_um[0], "disector_guard_um"))
    end = depth - (0 if given is None else planes)
    if planes >= end:
        raise InputError(
            f"disector_guard_um {given}: leaves none of {depth} planes; give a smaller guard"
        )
    return planes, end


def _plane_distance_um(depth: int, spacing_um: Spacing) -> float:
    if depth == 1:
        raise InputError(
            "counting 'abercrombie' measures the height of cells in a stack; this is a single plane"
        )
    if spacing_um[0] is None:
        raise CalibrationError(
            "counting 'abercrombie' needs the distance between planes; give it with --spacing-um "
            "z,y,x"
        )
    return spacing_um[0]


def _pixels(length_um: float, spacing_um: float | None, name: str) -> int:
    if length_um == 0:
        return 0
    if spacing_um is None:
        raise CalibrationError(
            f"{name} is a length in µm and the pixel size is not known; give it with --spacing-um"
        )
    return math.ceil(length_um / spacing_um)
