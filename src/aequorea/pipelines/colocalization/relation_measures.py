"""How two stains relate at every shift and pixel: pictures and numbers that are not tests."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.colocalization.ccf import fit_ccf, van_steensel_ccf
from aequorea.colocalization.ica import li_ica
from aequorea.colocalization.scramble import costes_randomization, guided_block_size
from aequorea.errors import InputError
from aequorea.pipelines.colocalization.pixel_measures import tidy
from aequorea.pipelines.colocalization.region_walk import RegionCrop, crops
from aequorea.pipelines.run.seeds import seed_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from aequorea.pipelines.colocalization.background import Subtracted
    from aequorea.pipelines.colocalization.parameters import DiagnosticParameters
    from aequorea.pipelines.colocalization.pixel_measures import Track
    from aequorea.pipelines.colocalization.stains import Stains

Row = dict[str, Any]
Pair = tuple["NDArray[Any]", "NDArray[Any]"]
_PAIR = ("region", "channel_a", "channel_b")
CCF_COLUMNS = (*_PAIR, "axis", "shift_px", "shift_um", "r", "reason")
FIT_COLUMNS = (
    *_PAIR,
    "axis",
    "amplitude",
    "offset",
    "centre_px",
    "fwhm_px",
    "centre_um",
    "fwhm_um",
    "reason",
)
ICA_COLUMNS = (*_PAIR, "icq", "fraction_positive", "fraction_zero", "reason")
SCRAMBLE_COLUMNS = (
    *_PAIR,
    "observed",
    "p_value",
    "z_score",
    "n_draws",
    "n_blocks",
    "block_px",
    "hypothesis",
    "reason",
)


def relation_tables(
    pixels: Subtracted, parameters: DiagnosticParameters, *, seed: int, track: Track
) -> dict[str, pd.DataFrame]:
    """Cross-correlation with its Gaussian, intensity correlation analysis, block scramble.

    Parameters
    ----------
    pixels : Subtracted
    parameters : DiagnosticParameters
    seed : int
    track : callable

    Returns
    -------
    dict of DataFrame
        ``ccf``, ``ccf_fit``, ``ica``, ``scramble``. What is undefined in a region is NaN with a
        reason; what was not asked for has no rows.
    """
    stains = pixels.stains
    ccf: list[Row] = []
    fits: list[Row] = []
    ica: list[Row] = []
    scramble: list[Row] = []
    for frame, a, b in track(list(stains.fields())):
        pair = pixels.pixels(a, frame), pixels.pixels(b, frame)
        names = {"channel_a": stains.names[a], "channel_b": stains.names[b]}
        labels = stains.regions_at(frame)
        for crop in crops(labels, stains.spatial_shape, margin_px=parameters.ccf_max_shift):
            head = {"frame": frame, "region": crop.region, **names}
            cut = pair[0][crop.where], pair[1][crop.where]
            for curve, fit in _ccf_rows(cut, crop, stains, parameters.ccf_max_shift):
                ccf += [{**head, **row} for row in curve]
                fits.append({**head, **fit})
            ica.append({**head, **_ica_row(cut, crop)})
            if parameters.scramble:
                numbered = seed_of(seed, frame, a, b, crop.region)
                scramble.append({**head, **_scramble_row(cut, crop, parameters, numbered)})
    return {
        "ccf": tidy(ccf, stains, CCF_COLUMNS),
        "ccf_fit": tidy(fits, stains, FIT_COLUMNS),
        "ica": tidy(ica, stains, ICA_COLUMNS),
        "scramble": tidy(scramble, stains, SCRAMBLE_COLUMNS),
    }


def _ccf_rows(
    pair: Pair, crop: RegionCrop, stains: Stains, max_shift: int
) -> Iterator[tuple[list[Row], Row]]:
    for number, axis in enumerate(stains.spatial_axes):
        # At least half of the field overlaps at every shift.
        largest = min(max_shift, (pair[0].shape[number] - 1) // 2)
        if largest < 1:
            continue
        spacing = stains.spacing_um[number]
        try:
            shifts, r = van_steensel_ccf(*pair, crop.mask, largest, number)
        except InputError as error:
            missing = {"axis": axis, "shift_px": 0, "shift_um": np.nan, "r": np.nan}
            yield [{**missing, "reason": str(error)}], _no_fit(axis, str(error))
            continue
        curve = [
            {
                "axis": axis,
                "shift_px": int(s),
                "shift_um": np.nan if spacing is None else float(s * spacing),
                "r": float(value),
                "reason": "",
            }
            for s, value in zip(shifts, r, strict=True)
        ]
        yield curve, _fit_row(axis, shifts, r, spacing)


def _fit_row(axis: str, shifts: NDArray[Any], r: NDArray[Any], spacing: float | None) -> Row:
    fit = asdict(fit_ccf(shifts, r, spacing))
    fit.pop("success")
    return {"axis": axis, **{k: np.nan if v is None else v for k, v in fit.items()}}


def _no_fit(axis: str, reason: str) -> Row:
    numbers = [c for c in FIT_COLUMNS if c not in (*_PAIR, "axis", "reason")]
    return {"axis": axis, **dict.fromkeys(numbers, np.nan), "reason": reason}


def _ica_row(pair: Pair, crop: RegionCrop) -> Row:
    try:
        found = li_ica(*pair, crop.mask)
    except InputError as error:
        numbers = dict.fromkeys(("icq", "fraction_positive", "fraction_zero"), np.nan)
        return {**numbers, "reason": str(error)}
    products = found["products"]
    return {
        "icq": found["icq"],
        "fraction_positive": float(np.mean(products > 0)),
        "fraction_zero": float(np.mean(products == 0)),
        "reason": "" if np.isfinite(found["icq"]) else "a channel is constant in this region",
    }


def _scramble_row(pair: Pair, crop: RegionCrop, parameters: DiagnosticParameters, seed: int) -> Row:
    try:
        block = parameters.scramble_block or guided_block_size(*pair, crop.mask)
        found = costes_randomization(
            *pair,
            crop.mask,
            parameters.scramble,
            block,
            seed,
            blocks="grid" if crop.mask is None else "inside",
        )
    except InputError as error:
        numbers = [c for c in SCRAMBLE_COLUMNS if c not in (*_PAIR, "hypothesis", "reason")]
        return {**dict.fromkeys(numbers, np.nan), "hypothesis": "", "reason": str(error)}
    return {
        "observed": float(found["observed"]),
        "p_value": float(found["p_value"]),
        "z_score": float(found["z_score"]),
        "n_draws": int(np.isfinite(found["null"]).sum()),
        "n_blocks": int(found["n_blocks"]),
        "block_px": int(block),
        "hypothesis": found["hypothesis"],
        "reason": "",
    }
