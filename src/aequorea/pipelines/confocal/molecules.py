"""Puncta that are single molecules: how bright one is, how many a cell has, where they are made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import ndimage

from aequorea.errors import InputError
from aequorea.pipelines.confocal.measures import POSITION
from aequorea.puncta.copy_numbers import SingleMolecule, copy_number, single_molecule
from aequorea.puncta.dense import decompose_dense
from aequorea.puncta.foci import transcription_sites

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aequorea.pipelines.confocal.anatomy import Anatomy
    from aequorea.pipelines.confocal.detection import CandidateFacts
    from aequorea.pipelines.confocal.parameters import PunctaChannelParameters
    from aequorea.puncta.fit import SpotFits

    FloatArray = NDArray[np.float64]

__all__ = [
    "COMPARTMENTS_COUNTED",
    "MOLECULE_COLUMNS",
    "SITE_COLUMNS",
    "Divided",
    "Reference",
    "copy_number_table",
    "divided",
    "molecule_columns",
    "reference_of",
    "reference_row",
    "site_table",
]

COMPARTMENTS_COUNTED = ("cytosol", "nucleus")
MOLECULE_COLUMNS = (
    "cell",
    "compartment",
    "molecules",
    "molecules_error",
    "molecules_low",
    "molecules_high",
    "light",
    "background",
    "background_error",
    "captured",
    "reason",
)
SITE_COLUMNS = (
    "site",
    "cell",
    "nucleus",
    "z_um",
    "y_um",
    "x_um",
    "molecules",
    "intensity",
    "n_puncta",
)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Light of one molecule in one image.

    Attributes
    ----------
    single : SingleMolecule or None
    source : {"given", "isolated puncta", ""}
    reason : str
        Why there is none.
    """

    single: SingleMolecule | None
    source: str
    reason: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Divided:
    """Spots after those that are too bright or too wide for a molecule were divided.

    Attributes
    ----------
    spot : ndarray of int64, shape (m,)
        The spot each came from.
    shared : ndarray of int64, shape (m,)
        How many came from that spot.
    position_px, position_error_px : ndarray, shape (m, ndim), px
    intensity, intensity_error : ndarray, shape (m,)
    """

    spot: NDArray[np.int64]
    shared: NDArray[np.int64]
    position_px: FloatArray
    position_error_px: FloatArray
    intensity: FloatArray
    intensity_error: FloatArray


def reference_of(
    fits: SpotFits,
    in_cytosol: NDArray[np.bool_],
    cytosol_px: int,
    options: PunctaChannelParameters,
) -> Reference:
    """The light of one molecule: given, or the mean of isolated puncta of the cytosol.

    Puncta outside cells may be dirt, those of nuclei sites of transcription. The mean makes up for
    puncta that are two molecules by chance, not for clusters; laws that look for multiples of one
    light take a wide spread of single ones for several.
    """
    if options.molecule_light is not None:
        return Reference(single=SingleMolecule(mean=options.molecule_light), source="given")
    usable = fits.converged & in_cytosol
    n_inside = int(in_cytosol.sum())
    try:
        single = single_molecule(
            replace(fits, share_seen=np.where(usable, fits.share_seen, 0.0)),
            volume_px=len(fits) * cytosol_px / max(n_inside, 1),
        )
    except InputError:
        reason = (
            "fewer than 20 isolated puncta in the cytosol to learn the light of one molecule from; "
            "give it as molecule_light"
        )
        return Reference(single=None, source="", reason=reason)
    return Reference(single=single, source="isolated puncta")


def reference_row(reference: Reference) -> dict[str, Any]:
    """One row of the table ``single_molecules``."""
    single = reference.single
    return {
        "light": np.nan if single is None else single.mean,
        "light_error": np.nan if single is None else single.mean_error,
        "light_cv": np.nan if single is None else single.cv,
        "n_isolated": 0 if single is None else single.n,
        "source": reference.source,
        "reason": reference.reason,
    }


def divided(
    image: NDArray[Any],
    coordinates_px: NDArray[np.int64],
    fits: SpotFits,
    single: SingleMolecule,
    facts: CandidateFacts,
) -> Divided:
    """Spots as they were fitted, but those that hold several molecules as so many rows.

    Where each of several is, light within one spot does not tell well: their errors are NaN.
    """
    has_gain = facts.gain > 0
    found = decompose_dense(
        image,
        coordinates_px,
        sigma_px=facts.sigma_px,
        single=single,
        gain_adu_per_photon=facts.gain if has_gain else None,
        offset_adu=facts.offset if has_gain else 0.0,
    )
    spot = found.spot
    shared = found.n_molecules[spot]
    alone = shared == 1
    return Divided(
        spot=spot,
        shared=shared,
        position_px=np.where(alone[:, None], fits.position_px[spot], found.position_px),
        position_error_px=np.where(alone[:, None], fits.position_error_px[spot], np.nan),
        intensity=np.where(alone, fits.intensity[spot], found.intensity),
        intensity_error=np.where(alone, fits.intensity_error[spot], single.cv * single.mean),
    )


def copy_number_table(
    image: NDArray[Any], anatomy: Anatomy, reference: Reference, facts: CandidateFacts
) -> pd.DataFrame:
    """Molecules in the cytosol and the nucleus of every cell, from their light.

    Returns
    -------
    DataFrame
        Columns ``MOLECULE_COLUMNS``; a reason where there is no estimate or one to beware of.
    """
    cells = anatomy.cells.astype(np.int64)
    parts = np.where(cells > 0, 2 * cells - (anatomy.cytosol > 0), 0)
    present = np.unique(parts[parts > 0])
    head = {
        "cell": (present + 1) // 2,
        "compartment": np.array(COMPARTMENTS_COUNTED, dtype=object)[(present + 1) % 2],
    }
    if reference.single is None:
        table = pd.DataFrame(head, columns=list(MOLECULE_COLUMNS))
        return table.assign(reason=reference.reason)
    options: dict[str, Any] = {
        "single": reference.single,
        "sigma_px": facts.sigma_px,
        "gain_adu_per_photon": max(facts.gain, 0.0),
    }
    first = copy_number(image, parts, **options)
    level = np.zeros(int(present.max(initial=0)) + 1)
    level[first.label] = np.nan_to_num(first.background)
    found = copy_number(_with_even_glow(image, parts, level, facts.sigma_px), parts, **options)
    return pd.DataFrame(
        {
            **head,
            "molecules": found.copies,
            "molecules_error": found.copies_error,
            "molecules_low": found.low,
            "molecules_high": found.high,
            "light": found.light,
            "background": found.background,
            "background_error": found.background_error,
            "captured": found.captured,
            "reason": found.reason.astype(object),
        }
    )


def _with_even_glow(
    image: NDArray[Any],
    parts: NDArray[np.int64],
    level: FloatArray,
    sigma_px: tuple[float, ...],
) -> FloatArray:
    """The image with what cells lose of their own glow at their outline put back.

    Cells glow more than what is around them; blur carries some of that out, up to half of it in
    the outermost voxels, which would be missing from the light of molecules.
    """
    values = np.asarray(image, dtype=np.float64)
    inside = parts > 0
    if inside.all() or not inside.any():
        return values
    around = float(np.median(values[~inside]))
    glow = np.where(inside, np.maximum(level[parts] - around, 0.0), 0.0)
    blurred = ndimage.gaussian_filter(glow, sigma_px, mode="nearest", truncate=4)
    return np.asarray(np.where(inside, values + glow - blurred, values))


def site_table(
    puncta: pd.DataFrame,
    anatomy: Anatomy,
    reference: Reference,
    options: PunctaChannelParameters,
) -> pd.DataFrame:
    """Transcription sites: bright puncta and crowds of puncta in nuclei, brightest first.

    Puncta divided into molecules count as the spots that they were.
    """
    if reference.single is None or not len(puncta):
        return pd.DataFrame(columns=list(SITE_COLUMNS))
    spots = _spots(puncta)
    position = anatomy.held(spots[list(POSITION)].to_numpy(float))
    nuclei = np.where(anatomy.landmarks > 0, anatomy.nuclei, 0)
    found = transcription_sites(
        position,
        spots["intensity"].to_numpy(float),
        nuclei,
        spacing_um=anatomy.spacing_um,
        single_brightness=reference.single.mean,
        min_molecules=options.site_molecules,
        radius_um=options.site_radius_um,
    )
    member = found.site >= 0
    owner = anatomy.owner_of_nucleus
    table = pd.DataFrame(
        {
            "cell": owner[found.nucleus - 1],
            "nucleus": found.nucleus,
            **{name: found.position_um[:, k] for k, name in enumerate(POSITION)},
            "molecules": found.molecules,
            "intensity": found.molecules * reference.single.mean,
            "n_puncta": np.bincount(found.site[member], minlength=len(found)),
        }
    ).sort_values(["nucleus", "molecules"], ascending=[True, False], kind="stable")
    if options.most_sites is not None:
        table = table.groupby("nucleus", sort=False).head(options.most_sites)
    table.insert(0, "site", np.arange(1, len(table) + 1))
    return table.reset_index(drop=True)


def _spots(puncta: pd.DataFrame) -> pd.DataFrame:
    """Divided puncta put together again: sum of the light, centre of mass."""
    light = puncta["intensity"].to_numpy(float)
    weight = np.where(np.isfinite(light) & (light > 0), light, 1e-9)
    weighted = puncta[list(POSITION)].mul(weight, axis=0).assign(weight=weight)
    grouped = weighted.groupby(puncta["spot"], sort=True).sum()
    centre = grouped[list(POSITION)].div(grouped["weight"], axis=0)
    sums = puncta.groupby("spot", sort=True)["intensity"].sum(min_count=1)
    return centre.assign(intensity=sums)


def molecule_columns(
    molecules: pd.DataFrame,
    sites: pd.DataFrame | None,
    cells: pd.DataFrame,
) -> dict[str, NDArray[Any]]:
    """Columns of one kind of molecules, one value per row of ``cells``.

    Parameters
    ----------
    molecules, sites : DataFrame
        Of this kind; without ``sites`` they were not looked for.
    cells : DataFrame
    """
    labels = pd.Index(cells["cell"])
    columns: dict[str, NDArray[Any]] = {}
    reasons = np.full(len(labels), "", dtype=object)
    for part in COMPARTMENTS_COUNTED:
        own = molecules[molecules["compartment"] == part].set_index("cell").reindex(labels)
        columns[f"molecules_{part}"] = own["molecules"].to_numpy(float)
        columns[f"molecules_{part}_low"] = own["molecules_low"].to_numpy(float)
        columns[f"molecules_{part}_high"] = own["molecules_high"].to_numpy(float)
        for k, reason in enumerate(own["reason"].fillna(f"the cell has no {part}")):
            if reason and reason not in reasons[k]:
                reasons[k] += f"{'; ' if reasons[k] else ''}{part}: {reason}"
    columns["molecules_reason"] = reasons
    if sites is not None:
        bare = cells["n_nuclei"].to_numpy() == 0
        unknown = bare | bool(molecules["molecules"].isna().all())
        grouped = sites.groupby("cell")["molecules"]
        number = grouped.size().reindex(labels, fill_value=0).to_numpy(float)
        light = grouped.sum().reindex(labels, fill_value=0).to_numpy(float)
        columns["n_transcription_sites"] = np.where(unknown, np.nan, number)
        columns["molecules_in_sites"] = np.where(unknown, np.nan, light)
    return columns
