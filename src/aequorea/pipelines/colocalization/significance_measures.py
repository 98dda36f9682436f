"""One declared metric against a null in words, for every region, frame and pair."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from aequorea.colocalization.significance import Metric, NullResult, significance
from aequorea.errors import AequoreaWarning, InputError
from aequorea.pipelines.colocalization.pixel_measures import tidy
from aequorea.pipelines.colocalization.region_walk import crops
from aequorea.pipelines.run.seeds import seed_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aequorea.pipelines.colocalization.background import Subtracted
    from aequorea.pipelines.colocalization.parameters import SignificanceParameters
    from aequorea.pipelines.colocalization.pixel_measures import Track
    from aequorea.pipelines.colocalization.region_walk import RegionCrop
    from aequorea.pipelines.colocalization.stains import Stains

Row = dict[str, Any]
Thresholds = tuple[float, float]
_HEADLINE: tuple[Metric, ...] = ("pcc", "m1", "m2")
_NUMBERS = (
    "observed",
    "tested",
    "expected",
    "null_low",
    "null_high",
    "ci_low",
    "ci_high",
    "p_value",
    "p_floor",
    "z_score",
    "n_pixels",
    "n_effective",
    "n_independent",
    "n_shifts",
)
TEST_COLUMNS = (
    "region",
    "channel_a",
    "channel_b",
    "metric",
    "primary",
    "null",
    "alternative",
    *_NUMBERS,
    "n_draws",
    "p_fdr",
    "family",
    "hypothesis",
    "unit_of_inference",
    "note",
    "reason",
)
NULL_COLUMNS = ("region", "channel_a", "channel_b", "metric", "draw", "value")
FAMILY = "the declared metric in all regions, frames and pairs of this run"


def check_null(stains: Stains, parameters: SignificanceParameters) -> None:
    """Refuse nulls that do not fit the regions, before anything is computed.

    Raises
    ------
    InputError
        For surrogates, which need a whole rectangle.
    """
    if parameters.null == "phase" and stains.regions is not None:
        raise InputError(
            "--null phase needs whole rectangles; with --regions give --null stationary or profile"
        )


def significance_tables(
    pixels: Subtracted,
    parameters: SignificanceParameters,
    pixel_rows: pd.DataFrame,
    *,
    seed: int,
    track: Track,
) -> dict[str, pd.DataFrame]:
    """Test the declared metric; put the value expected by chance beside the headline metrics.

    Parameters
    ----------
    pixels : Subtracted
    parameters : SignificanceParameters
    pixel_rows : DataFrame
        Table ``pixel``, for the thresholds of Manders' coefficients.
    seed : int
    track : callable

    Returns
    -------
    dict of DataFrame
        ``significance`` and ``null``. Only rows with ``primary`` have p-values; ``p_fdr`` is
        corrected over all of them (Benjamini and Hochberg). ``n_draws`` counts independent
        values of the null. The draws of the primary metric are in ``null``.

    Warns
    -----
    AequoreaWarning
        If tests could not be done, or cannot reach the level asked for.

    References
    ----------
    .. [1] Benjamini & Hochberg (1995), doi:10.1111/j.2517-6161.1995.tb02031.x
    """
    stains = pixels.stains
    rows: list[Row] = []
    draws: list[pd.DataFrame] = []
    if parameters.null != "none":
        thresholds = _thresholds(pixel_rows)
        for frame, a, b in track(list(stains.fields())):
            pair = pixels.pixels(a, frame), pixels.pixels(b, frame)
            names = stains.names[a], stains.names[b]
            margin_px = 1 if stains.landmarks is None else None
            for crop in crops(stains.regions_at(frame), stains.spatial_shape, margin_px=margin_px):
                head = {"frame": frame, "region": crop.region, "channel_a": names[0],
                        "channel_b": names[1]}  # fmt: skip
                levels = thresholds.get((frame, crop.region, *names), (np.nan, np.nan))
                numbered = seed_of(seed, frame, a, b, crop.region)
                for metric in dict.fromkeys((parameters.primary, *_HEADLINE)):
                    result = _test(pair, crop, stains, parameters, metric, levels, numbered)
                    rows.append({**head, **_row(result, parameters.primary)})
                    if metric == parameters.primary:
                        draws.append(_draws(result, head, stains.region_names[crop.region]))
    table = tidy(rows, stains, TEST_COLUMNS)
    table["p_fdr"] = _corrected(table)
    _warn(table, parameters.alpha)
    return {
        "significance": table[[c for c in table if c != "reason"] + ["reason"]],
        "null": pd.concat(draws, ignore_index=True) if draws else tidy([], stains, NULL_COLUMNS),
    }


def _thresholds(pixel_rows: pd.DataFrame) -> Mapping[tuple[int, int, str, str], Thresholds]:
    whole = pixel_rows[pixel_rows["slice"].isna()]
    keys = zip(whole["frame"], whole["region"], whole["channel_a"], whole["channel_b"], strict=True)
    values = zip(whole["threshold_a"], whole["threshold_b"], strict=True)
    return {
        (int(t), int(r), str(a), str(b)): (float(x), float(y))
        for (t, r, a, b), (x, y) in zip(keys, values, strict=True)
    }


def _test(
    pair: tuple[NDArray[Any], NDArray[Any]],
    crop: RegionCrop,
    stains: Stains,
    parameters: SignificanceParameters,
    metric: Metric,
    thresholds: Thresholds,
    seed: int,
) -> NullResult:
    null: Any = parameters.null
    if metric in {"m1", "m2"} and not np.isfinite(thresholds).all():
        return NullResult(
            metric=metric,
            null=null,
            alternative=parameters.alternative,
            observed=np.nan,
            reason="no thresholds (see table pixel)",
        )
    landmarks = None if stains.landmarks is None else stains.landmarks[crop.where]
    if landmarks is not None and null != "profile":
        landmarks = None
    return significance(
        pair[0][crop.where],
        pair[1][crop.where],
        mask=crop.mask,
        null=null,
        metric=metric,
        threshold_a=thresholds[0],
        threshold_b=thresholds[1],
        n_shifts=parameters.n_shifts,
        seed=seed,
        alternative=parameters.alternative,
        landmarks=landmarks,
        spacing_um=stains.spacing_or_none,
        profile_scale_px=parameters.profile_scale_px,
        describe_only=metric != parameters.primary,
    )


def _row(result: NullResult, primary: str) -> Row:
    declared = result.metric == primary
    row: Row = {name: float(getattr(result, name)) for name in _NUMBERS}
    row |= {name: int(row[name]) for name in ("n_pixels", "n_shifts")}
    if not declared:  # described beside the test, not tested: what the test rests on is not theirs
        row |= dict.fromkeys(("n_effective", "n_independent"), np.nan)
    independent = float(row["n_independent"])
    row["n_draws"] = round(independent) if np.isfinite(independent) else 0
    return {
        "metric": result.metric,
        "primary": declared,
        "null": result.null,
        "alternative": result.alternative,
        **row,
        "family": FAMILY if declared else "",
        "hypothesis": result.hypothesis,
        "unit_of_inference": result.unit,
        "note": "; ".join(result.warnings),
        "reason": result.reason,
    }


def _draws(result: NullResult, head: Row, region_name: str) -> pd.DataFrame:
    values = np.asarray(result.null_values, np.float64)
    facts = {**head, "region_name": region_name, "metric": result.metric}
    table = pd.DataFrame({"draw": np.arange(values.size), "value": values})
    for name, value in reversed(facts.items()):
        table.insert(0, name, value)
    return table


def _corrected(table: pd.DataFrame) -> NDArray[np.float64]:
    """False-discovery rate at which each declared test would just be called significant."""
    p = pd.to_numeric(table["p_value"]).to_numpy(np.float64, na_value=np.nan)
    corrected = np.full(len(p), np.nan)
    tested = np.isfinite(p)
    if tested.any():
        corrected[tested] = stats.false_discovery_control(p[tested], method="bh")
    return corrected


def _warn(table: pd.DataFrame, alpha: float) -> None:
    declared = table[table["primary"].astype(bool)]
    n = len(declared)
    untested = declared[declared["p_value"].isna()]
    if len(untested):
        reasons = "; ".join(dict.fromkeys(untested["reason"]))
        warnings.warn(
            f"{len(untested)} of {n} tests could not be done: {reasons}",
            AequoreaWarning,
            stacklevel=2,
        )
    coarse = declared[pd.to_numeric(declared["p_floor"]) > alpha]
    if len(coarse):
        floor = float(coarse["p_floor"].min())
        warnings.warn(
            f"{len(coarse)} of {n} tests hold too few independent shifts to reach p = {alpha:g} "
            f"(the smallest possible p is {floor:.2g}): larger regions are needed, or values per "
            "region compared between conditions",
            AequoreaWarning,
            stacklevel=2,
        )
