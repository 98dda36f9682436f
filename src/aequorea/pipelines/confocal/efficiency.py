"""How many puncta are missed: spots put into the image itself, by brightness and depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.pipelines.confocal.detection import find_all
from aequorea.puncta.detection import select
from aequorea.puncta.efficiency import detection_efficiency

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from aequorea.pipelines.confocal.detection import CandidateFacts
    from aequorea.puncta.parameters import PunctaParameters

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
    options: PunctaParameters,
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
    options : PunctaParameters
        That the puncta were found with: spots are looked for in the same way.
    cells : ndarray of int, shape (z, y, x)
    spacing_um : (float, float, float)
    n_spots : int
        Per brightness and quarter of the depth.
    rng : Generator

    Returns
    -------
    DataFrame
        A row with a note where it is not known how bright puncta are.
    """
    if len(puncta) < _FEWEST or not (cells > 0).any():
        return _unknown(f"fewer than {_FEWEST} puncta, or no cell: how bright puncta are")
    amplitudes = np.quantile(puncta["peak"].to_numpy(float), list(BRIGHTNESS.values()))
    if not amplitudes.min() > 0:
        return _unknown(
            "a tenth of the puncta are no brighter than what is around: what dim ones are"
        )
    position = puncta[["z_um", "y_um", "x_um"]].to_numpy(float) / spacing_um
    position = np.clip(position, 0, np.array(image.shape) - 1)  # fits may end beyond the border
    found = detection_efficiency(
        image,
        sigma_px=facts.sigma_px,
        amplitudes=amplitudes,
        detector=_as_in_the_run(threshold, options, spacing_um),
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


def _as_in_the_run(
    threshold: float, options: PunctaParameters, spacing_um: tuple[float, float, float]
) -> Callable[[NDArray[Any]], NDArray[np.int64]]:
    """Where puncta would be found in an image, with all that the run asks of them."""

    def found(image: NDArray[Any]) -> NDArray[np.int64]:
        return select(
            find_all(image, options, spacing_um),
            threshold,
            min_snr=options.min_snr,
            min_distance_px=options.min_distance_px(spacing_um),
        ).coordinates_px

    return found


def _unknown(why: str) -> pd.DataFrame:
    return pd.DataFrame([{"note": f"{why} is not known"}], columns=list(EFFICIENCY_COLUMNS[2:]))
