"""From which intensity the cells of a study are called positive, as its controls are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.io.tables import read_table
from aequorea.pipelines.study.controls import NEGATIVE, ThresholdInUse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aequorea.pipelines.cells.parameters import CellsParameters, MarkerParameters
    from aequorea.pipelines.run.steps import StepContext


def thresholds_in_use(
    context: StepContext, *, parameters: CellsParameters, by_role: bool, percentile: float
) -> dict[str, ThresholdInUse]:
    """The thresholds of every marker, over all samples that are no controls.

    Parameters
    ----------
    context : StepContext
        Of a study whose tables are collected.
    parameters : CellsParameters
        Those of all samples.
    by_role : bool
        Whether markers go by their role or by the name of their channel.
    percentile : float
        Of the cells of a negative control, for rules that compare intensities of cells.

    Returns
    -------
    mapping of role or channel to ThresholdInUse
        With the rule ``intensity``, those of the cells, to be held against the cells of negative
        controls; with other rules, those of the pixels of marker objects.
    """
    channels = _table(context, "channels")
    found = {}
    for role in parameters.roles[1:]:
        name = _name(channels, role)
        options = parameters.marker_of(role)
        if options.rule == "intensity":
            cells = _table(context, "cell_summary")
            found[role if by_role else name] = _of_cells(cells, role, options, percentile)
        else:
            objects = _table(context, f"segmentation_{role}")
            found[role if by_role else name] = _of_objects(objects, name, options)
    return found


def _name(channels: pd.DataFrame, role: str) -> str:
    found = channels.loc[channels["role"] == role, "channel"].tolist() if len(channels) else []
    return str(found[0]) if found else role


def _of_cells(
    cells: pd.DataFrame, role: str, options: MarkerParameters, percentile: float
) -> ThresholdInUse:
    column = f"{role}_threshold"
    if column not in cells:
        return ThresholdInUse(reason="no cells")
    per_image = _used(cells).groupby("sample", sort=False)[column].first()
    levels = {}
    for kind in NEGATIVE:
        of_kind = cells[cells["control"] == kind]
        reached = [
            float(np.percentile(scores, percentile))
            for _, rows in of_kind.groupby("sample")
            if (scores := _finite(rows[f"{role}_score"])).size
        ]
        if reached:
            levels[kind] = max(reached)
    return ThresholdInUse(
        values=tuple(_finite(per_image).tolist()),
        compared=f"{options.intensity_measure} intensities of the cells",
        levels=levels,
    )


def _of_objects(objects: pd.DataFrame, name: str, options: MarkerParameters) -> ThresholdInUse:
    if options.prefilters or options.threshold_background_sigma_px is not None:
        why = "found in the filtered image, whose grey levels are others than those of the control"
        return ThresholdInUse(reason=why)
    used = _used(objects)
    values = _finite(used["threshold"]) if "threshold" in used else np.empty(0)
    if values.size:
        return ThresholdInUse(values=tuple(values.tolist()))
    methods = ", ".join(dict.fromkeys(map(str, used["method"]))) if "method" in used else ""
    told = f" ({methods})" if methods else ""
    return ThresholdInUse(reason=f"objects of {name} were found without a grey level{told}")


def _used(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of samples that are no controls."""
    return table[table["control"].isna()] if "control" in table else table


def _finite(values: pd.Series[Any]) -> NDArray[np.float64]:
    numbers = np.asarray(values.to_numpy(np.float64, na_value=np.nan), dtype=np.float64)
    finite: NDArray[np.float64] = numbers[np.isfinite(numbers)]
    return finite


def _table(context: StepContext, name: str) -> pd.DataFrame:
    path = context.result(f"tables/{name}.parquet")
    return read_table(path) if path.exists() else pd.DataFrame()
