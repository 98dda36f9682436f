"""From candidates to puncta: a threshold for all, positions below a voxel, and their cells."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.pipelines.confocal.molecules import Divided, Reference, divided, reference_of
from aequorea.pipelines.confocal.parameters import LEAST_THRESHOLD
from aequorea.pipelines.confocal.puncta import located
from aequorea.puncta.detection import (
    Candidates,
    find_candidates,
    select,
    without_hot_pixels,
)
from aequorea.puncta.fit import fit_puncta
from aequorea.puncta.fit_distances import apart_from_others
from aequorea.puncta.noise import NoiseCurve
from aequorea.puncta.threshold import common_threshold, noise_maxima

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.pipelines.confocal.anatomy import Anatomy
    from aequorea.pipelines.confocal.parameters import PunctaChannelParameters
    from aequorea.pipelines.confocal.preprocessing import Light
    from aequorea.puncta.fit import SpotFits
    from aequorea.puncta.parameters import PunctaParameters
    from aequorea.puncta.threshold import CommonThreshold

__all__ = [
    "CandidateFacts",
    "ChosenThreshold",
    "chosen_threshold",
    "find_all",
    "found_puncta",
    "read_candidates",
    "read_facts",
    "read_heights",
    "repaired",
    "write_candidates",
]

_PLACE = ("z", "y", "x")
_SEEN = ("response", "height", "peak", "background", "noise_sd", "snr")
_ISOLATED_SD = 6.0


@dataclass(frozen=True, kw_only=True)
class CandidateFacts:
    """What the noise of one channel is, for fits.

    Attributes
    ----------
    gain : float
        Grey levels per photon; 0 if the noise does not rise with brightness.
    offset : float
        Grey level without light, as far as the noise tells.
    n_hot : int
        Maxima that are sharper than a spot can be.
    sigma_px : tuple of float
    method : str
    """

    gain: float
    offset: float
    n_hot: int
    sigma_px: tuple[float, ...]
    method: str


@dataclass(frozen=True, kw_only=True)
class ChosenThreshold:
    """The threshold of one kind of puncta.

    Attributes
    ----------
    value : float
        In standard deviations of the noise.
    source : {"given", "all images", "this image"}
    curve : CommonThreshold or None
        The elbow plot; None where there are no candidates.
    """

    value: float
    source: str
    curve: CommonThreshold | None = None


def repaired(
    image: NDArray[Any], options: PunctaParameters, spacing_um: Sequence[float]
) -> NDArray[Any]:
    """A stack without hot pixels, in which spots as narrow as a pixel are left alone."""
    sigma = options.sigma_px(spacing_um)
    return without_hot_pixels(np.ascontiguousarray(image), sigma[0])[0]


def find_all(
    image: NDArray[Any], options: PunctaParameters, spacing_um: Sequence[float]
) -> Candidates:
    """Everything that might be a punctum, noise included."""
    return find_candidates(
        image,
        sigma_px=options.sigma_px(spacing_um),
        method=options.method,
        background_inner=options.background_inner_sigma,
        background_outer=options.background_outer_sigma,
    )


def write_candidates(candidates: Candidates, folder: Path, role: str) -> None:
    """Keep candidates of one kind: those that might be puncta, and all heights."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{role}_heights.npy", np.sort(candidates.height))
    kept = candidates[candidates.height >= LEAST_THRESHOLD]
    places = kept.coordinates_px.astype(np.int32)
    table = pd.DataFrame({axis: places[:, k] for k, axis in enumerate(_PLACE)})
    for name in _SEEN:
        table[name] = getattr(kept, name)
    table.to_parquet(folder / f"{role}.parquet", index=False)
    facts = CandidateFacts(
        gain=candidates.noise.gain,
        offset=_offset(candidates.noise),
        n_hot=candidates.n_hot,
        sigma_px=candidates.sigma_px,
        method=candidates.method,
    )
    (folder / f"{role}.json").write_text(json.dumps(asdict(facts)), encoding="utf-8")


def read_candidates(folder: Path, role: str) -> pd.DataFrame:
    """Candidates that might be puncta."""
    return pd.read_parquet(folder / f"{role}.parquet")


def read_heights(folder: Path, role: str) -> NDArray[np.float32]:
    """Heights of all candidates, sorted."""
    heights: NDArray[np.float32] = np.load(folder / f"{role}_heights.npy", allow_pickle=False)
    return heights


def read_facts(folder: Path, role: str) -> CandidateFacts:
    """What :func:`write_candidates` wrote beside the table."""
    content = json.loads((folder / f"{role}.json").read_text(encoding="utf-8"))
    return CandidateFacts(**{**content, "sigma_px": tuple(content["sigma_px"])})


def chosen_threshold(
    heights: Sequence[NDArray[np.float32]],
    facts: CandidateFacts,
    options: PunctaParameters,
    *,
    common: float | None = None,
) -> ChosenThreshold:
    """The threshold in force: the one given, the batch's, or that of these images.

    Parameters
    ----------
    heights : sequence of ndarray
        Of all candidates of each image.
    facts : CandidateFacts
        Of one of them.
    options : PunctaParameters
    common : float, optional
        What all images of the batch share.
    """
    method = options.method
    noise = noise_maxima(facts.sigma_px, method)
    curve = common_threshold(heights, noise=noise, false_per_image=options.false_per_image)
    if options.threshold is not None:
        return ChosenThreshold(value=options.threshold, source="given", curve=curve)
    if common is not None:
        return ChosenThreshold(value=common, source="all images", curve=curve)
    return ChosenThreshold(
        value=max(curve.value, LEAST_THRESHOLD), source="this image", curve=curve
    )


def found_puncta(
    image: NDArray[Any],
    candidates: pd.DataFrame,
    facts: CandidateFacts,
    threshold: float,
    options: PunctaChannelParameters,
    anatomy: Anatomy,
    *,
    foci_radius_um: float = 0.35,
    foci_puncta: int = 4,
    light: Light | None = None,
    displacement: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
    depth_factor: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
    evenly_lit: Callable[[], NDArray[Any]] | None = None,
) -> tuple[pd.DataFrame, Reference | None]:
    """Puncta of one kind: chosen, fitted, divided where asked for, and put into their cells.

    They are chosen and fitted in counts, where noise is that of photons; grey levels are then
    divided by the relative illumination (``light``) and multiplied by ``depth_factor`` of depth
    in µm; positions are moved by ``displacement``. The light of molecules is measured in what
    ``evenly_lit`` gives: the image with both corrections, without which it is ``image``.

    Returns
    -------
    DataFrame
        One row per punctum, see :func:`located`; ``intensity`` is that of the whole spot,
        ``error_z_um``, … are standard errors of the fit, ``fit_reason`` says why a fit failed: the
        position is then that of the brightest voxel. ``spot`` numbers what was detected,
        ``decomposed`` tells molecules that share a spot: their ``error_z_um``, … are NaN, and
        ``height``, ``snr``, ``peak`` and ``background`` those of the spot. ``isolated``: no other
        spot within 6 standard deviations of a spot.
    Reference or None
        The light of one molecule, where puncta are molecules.
    """
    chosen = select(
        _as_candidates(candidates, facts),
        threshold,
        min_snr=options.min_snr,
        min_distance_px=options.min_distance_px(anatomy.spacing_um),
    )
    has_gain = facts.gain > 0
    fits = fit_puncta(
        image,
        chosen.coordinates_px,
        sigma_px=facts.sigma_px,
        gain_adu_per_photon=facts.gain if has_gain else None,
        offset_adu=facts.offset if has_gain else 0.0,
    )
    spacing = np.array(anatomy.spacing_um)
    lit = np.ones(len(fits)) if light is None else light.at(fits.position_px, image.shape)
    if depth_factor is not None:
        lit = lit / depth_factor(fits.position_px[:, 0] * spacing[0])
    fits = replace(
        fits,
        intensity=fits.intensity / lit,
        intensity_error=fits.intensity_error / lit,
        background=fits.background / lit,
    )
    isolated = apart_from_others(fits.position_px, _ISOLATED_SD * fits.sigma_px)

    def placed(rows: Divided) -> pd.DataFrame:
        errors, spot = rows.position_error_px * spacing, rows.spot
        position_um = rows.position_px * spacing
        if displacement is not None:
            position_um = position_um - displacement(position_um)
        return located(
            position_um,
            anatomy,
            {
                "height": chosen.height[spot],
                "snr": chosen.snr[spot],
                "peak": chosen.peak[spot] / lit[spot],
                "intensity": rows.intensity,
                "intensity_error": rows.intensity_error,
                "background": fits.background[spot],
                "illumination": lit[spot],
                **{f"error_{a}_um": errors[:, k] for k, a in enumerate(_PLACE)},
                "fitted": fits.converged[spot] | (rows.shared > 1),
                "fit_reason": _reasons(fits, rows),
                "spot": spot + 1,
                "decomposed": rows.shared > 1,
                "isolated": isolated[spot],
            },
            foci_radius_um=foci_radius_um,
            foci_puncta=foci_puncta,
        )

    table = placed(_as_fitted(fits))
    if not options.molecules:
        return table, None
    cytosolic = (table["compartment"] == "cytosol").to_numpy()
    reference = reference_of(fits, cytosolic, int(np.count_nonzero(anatomy.cytosol)), options)
    if options.divide_dense and reference.single is not None and len(fits):
        pixels = image if evenly_lit is None else evenly_lit()
        table = placed(divided(pixels, chosen.coordinates_px, fits, reference.single, facts))
    return table, reference


def _as_fitted(fits: SpotFits) -> Divided:
    """Every spot as one punctum."""
    n = len(fits)
    return Divided(
        spot=np.arange(n),
        shared=np.ones(n, np.int64),
        position_px=fits.position_px,
        position_error_px=fits.position_error_px,
        intensity=fits.intensity,
        intensity_error=fits.intensity_error,
    )


def _reasons(fits: SpotFits, rows: Divided) -> NDArray[Any]:
    told = np.asarray(fits.reason, dtype=object)[rows.spot]
    for k in np.flatnonzero(rows.shared > 1):
        told[k] = f"one of {rows.shared[k]} molecules in one spot"
    return told


def _offset(noise: NoiseCurve) -> float:
    """Where a variance that rises with the gain would be 0."""
    if not noise.gain > 0:
        return 0.0
    return float(noise.levels[0] - noise.variances[0] / noise.gain)


def _as_candidates(table: pd.DataFrame, facts: CandidateFacts) -> Candidates:
    unused = NoiseCurve(levels=np.zeros(1), variances=np.ones(1), gain=0.0, floor=1.0)
    return Candidates(
        coordinates_px=table[list(_PLACE)].to_numpy(np.int64),
        **{name: table[name].to_numpy(np.float32) for name in _SEEN},
        n_hot=facts.n_hot,
        sigma_px=facts.sigma_px,
        method=facts.method,  # type: ignore[arg-type]
        noise=unused,
    )
