"""How many puncta are missed: spots put into the image itself, by brightness and depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.puncta.efficiency import detection_efficiency

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aequorea.pipelines.confocal.detection import CandidateFacts

__all__ = ["EFFICIENCY_COLUMNS", "efficiency_table"]

EFFICIENCY_COLUMNS = (
    "role",
    "channel",
    "brightness",
    "amplitude",
    "z_from_um",
    "z_to_um",
    "n_injected",
    "n_found",
    "fraction",
    "ci_low",
    "ci_high",
    "note",
)
#: Of the puncta that were found: a tenth is dimmer, half are, a tenth is brighter.
BRIGHTNESS = {"dim": 0.1, "typical": 0.5, "bright": 0.9}
_FEWEST = 10


def efficiency_table(
    image: NDArray[Any],
    puncta: pd.DataFrame,
    facts: CandidateFacts,
    threshold: float,
    cells: NDArray[np.integer[Any]],
    *,
    spacing_um: tuple[float, float, float],
    n_spots: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Share of injected spots that are found again, inside cells.

    Parameters
    ----------
    image : ndarray, shape (z, y, x)
    puncta : DataFrame
        Those found: their brightness is that of the spots, and these stay away from them.
    facts : CandidateFacts
    threshold : float
    cells : ndarray of int, shape (z, y, x)
    spacing_um : (float, float, float)
    n_spots : int
        Per brightness and quarter of the depth.
    rng : Generator

    Returns
    -------
    DataFrame
        A row with a note where there are too few puncta to tell how bright they are.
    """
    if len(puncta) < _FEWEST or not (cells > 0).any():
        note = f"fewer than {_FEWEST} puncta, or no cell: how bright puncta are is not known"
        return pd.DataFrame([{"note": note}], columns=list(EFFICIENCY_COLUMNS[2:]))
    amplitudes = np.quantile(puncta["peak"].to_numpy(float), list(BRIGHTNESS.values()))
    position = puncta[["z_um", "y_um", "x_um"]].to_numpy(float) / spacing_um
    position = np.clip(position, 0, np.array(image.shape) - 1)  # fits may end beyond the border
    found = detection_efficiency(
        image,
        sigma_px=facts.sigma_px,
        amplitudes=amplitudes,
        threshold=threshold,
        method=facts.method,  # type: ignore[arg-type]
        existing_px=position,
        mask=cells > 0,
        n_spots=n_spots,
        gain=facts.gain if facts.gain > 0 else None,
        rng=rng,
    )
    edges = found.depth_edges_px * spacing_um[0]
    rows = [
        {
            "brightness": name,
            "amplitude": amplitudes[b],
            "z_from_um": edges[d],
            "z_to_um": edges[d + 1],
            "n_injected": int(found.n_injected[b, d]),
            "n_found": int(found.n_found[b, d]),
            "fraction": found.fraction[b, d],
            "ci_low": found.ci_low[b, d],
            "ci_high": found.ci_high[b, d],
            "note": "; ".join(found.notes),
        }
        for b, name in enumerate(BRIGHTNESS)
        for d in range(len(edges) - 1)
    ]
    return pd.DataFrame(rows, columns=list(EFFICIENCY_COLUMNS[2:]))
