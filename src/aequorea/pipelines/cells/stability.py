"""How the number of positive cells depends on the threshold, not one number alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.measure.positivity import positivity_curve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from aequorea.measure.positivity import PositivityCalls, PositivityParameters

STABILITY_COLUMNS = (
    "marker",
    "rule",
    "threshold",
    "n_positive",
    "n_cells",
    "fraction",
    "in_force",
)
_FRACTIONS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8,
              0.9, 1.0)  # fmt: skip
_MOST_POINTS = 64


def stability_table(
    calls: Mapping[str, PositivityCalls],
    parameters: Mapping[str, PositivityParameters],
    names: Mapping[str, str],
) -> pd.DataFrame:
    """Positive cells of all regions at other thresholds of the score.

    Parameters
    ----------
    calls, parameters, names : mapping of role to its calls, their rule, its name

    Returns
    -------
    DataFrame
        ``in_force`` marks the threshold that was used.
    """
    rows = [row for role in calls for row in _rows(calls[role], parameters[role], names[role])]
    return pd.DataFrame(rows, columns=list(STABILITY_COLUMNS))


def _rows(
    calls: PositivityCalls, parameters: PositivityParameters, name: str
) -> Iterator[dict[str, Any]]:
    n = len(calls)
    chosen = positivity_curve(calls, thresholds=[]).chosen
    curve = positivity_curve(calls, thresholds=_grid(calls, parameters, chosen))
    for threshold, positive in zip(curve.threshold, curve.n_positive, strict=True):
        yield {
            "marker": name,
            "rule": parameters.rule,
            "threshold": float(threshold),
            "n_positive": int(positive),
            "n_cells": n,
            "fraction": positive / n if n else np.nan,
            "in_force": bool(threshold == chosen),
        }


def _grid(
    calls: PositivityCalls, parameters: PositivityParameters, chosen: float
) -> NDArray[np.float64]:
    if parameters.rule in {"union", "best", "contact"}:
        grid = np.array(_FRACTIONS)
    else:
        scores = np.unique(calls.score[np.isfinite(calls.score)])
        step = max(1, len(scores) // _MOST_POINTS)
        grid = scores[::step]
    used = [chosen] if np.isfinite(chosen) else []
    return np.unique(np.concatenate([grid, used]))
