"""What every column of every confocal table means: the one place the docs and workbooks read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

__all__ = ["TABLES", "Meaning", "TableMeaning", "column_rows", "meaning_of"]


class Meaning(NamedTuple):
    """Of one column: its unit, empty for names, numbers of things and ratios; and what it says."""

    unit: str
    text: str


class TableMeaning(NamedTuple):
    """Of one table: what a row is, and its columns by name."""

    text: str
    columns: Mapping[str, Meaning]


def _table(text: str, **columns: str) -> TableMeaning:
    """Columns as ``unit | meaning``, or the meaning alone."""
    found = {}
    for name, told in columns.items():
        unit, bar, meaning = told.partition(" | ")
        found[name] = Meaning(unit, meaning) if bar else Meaning("", told)
    return TableMeaning(text, found)


_ROLE = {
    "role": "puncta, puncta2, …, protein, …: what the channel was taken for",
    "channel": "name of the channel",
}
_REASON = "why values of the row are missing; empty where none are"
_TESTED = {
    "p_value": "two-sided p of the null that hypothesis says",
    "hypothesis": "the null hypothesis in words",
    "unit": "unit of inference: what the p-value counts as independent",
    "reason": _REASON,
}
_RANDOM = {
    "observed": "what was found",
    "expected": "mean of the simulations of the null",
    "ratio": "observed over expected",
    "chance_low": "lower end of the ratios that chance alone gives (middle 95 %)",
    "chance_high": "upper end of the ratios that chance alone gives",
    "n_simulations": "simulations of the null",
    **_TESTED,
}
_PAIR = {
    "reference": "condition that is compared with",
    "condition": "condition that is compared",
    "n_reference": "animals of the reference that enter (the effective sample size)",
    "n_condition": "animals of the condition that enter",
    "n_incomplete": "animals left out because they have values in one of the two conditions only",
    "design": "independent, paired (the same animals) or blocked",
    "method": "the test",
    "statistic": "of the test",
    "q_value": "p corrected for all tests of the table (false discovery rate)",
    "smallest_p": "smallest p that a permutation of so many animals can give; 0 for t and F",
    **_TESTED,
}
_LOCALIZED = {
    "polarity": "distance of the centroid from that of the cytosol, in radii of gyration; near 0 "
    "by chance",
    "dispersion": "mean squared distance from the own centroid over that of an even spread; 1 by "
    "chance",
    "peripheral_distribution": "mean squared distance from the nucleus' centroid over that of an "
    "even spread; 1 by chance",
    "index_mean_distance_landmark": "mean distance to the nucleus over that of an even spread in "
    "the cytosol; 1 by chance",
    "index_mean_distance_membrane": "mean distance to the membrane over that of an even spread; 1 "
    "by chance",
}
_TO_LANDMARKS = {
    "median_landmark_distance_um": "µm | median distance to the landmark of the same cell; 0 in it",
    "median_landmark_distance_over_chance": "the same over median_landmark_distance_by_chance_um",
    "near_landmark_over_chance": "share within near_um of the landmark over an even spread's",
}
_OF_PUNCTA = {
    "n": "puncta in the cell",
    "n_cytosol": "puncta in the cytosol",
    "n_nucleus": "puncta in the nucleus",
    "n_foci": "crowds of puncta in the cytosol (foci_puncta within foci_radius_um)",
    "fraction_in_foci": "share of the puncta of the cytosol that lie in foci",
    "nuclear_fraction": "puncta in the nucleus over all of the cell",
    "per_um3_cytosol": "1/µm³ | puncta per volume of cytosol",
    "median_distance_um": "µm | median distance of the cytosol's puncta to the nucleus",
    "median_distance_over_chance": "median of voxel_distance_um over median_distance_by_chance_um; "
    "below 1 is nearer to the nucleus than an even spread",
    "median_normalized_distance": "median distance over the largest of the membrane; corrects for "
    "size, not for shape",
    "mean_volume_rank": "mean share of the cytosol that is nearer to the nucleus; 0.5 by chance",
    "median_membrane_gap_um": "µm | median distance of the cytosol's puncta to the membrane",
    **_LOCALIZED,
    "near_nucleus_over_chance": "puncta within near_um of the nucleus over an even spread's",
    "near_membrane_over_chance": "puncta within near_um of the membrane over an even spread's",
    **_TO_LANDMARKS,
    "molecules_cytosol": "molecules | in the cytosol, from its light",
    "molecules_cytosol_low": "molecules | 95 % interval, from",
    "molecules_cytosol_high": "molecules | to",
    "molecules_nucleus": "molecules | in the nucleus, from its light",
    "molecules_nucleus_low": "molecules | 95 % interval, from",
    "molecules_nucleus_high": "molecules | to",
    "molecules_reason": "why molecules were not counted, or what to beware of",
    "n_transcription_sites": "sites of transcription in its nuclei",
    "molecules_in_sites": "molecules | light of these sites over that of one molecule",
}
_OF_PROTEINS = {
    "mean_cytosol": "grey levels | mean in the cytosol, without background",
    "mean_nucleus": "grey levels | mean in the nucleus, without background",
    "nucleus_over_cytosol": "the one mean over the other",
    "index_near_nucleus": "intensity within near_um of the nucleus over an even spread's",
    **_LOCALIZED,
    **_TO_LANDMARKS,
}
_SEGMENTATION = {
    "role": "nuclei or cells",
    "n_objects": "objects that are left",
    "threshold": "grey levels | from which a voxel belongs to an object",
    "note": "what the method left to say",
    "source": "where labels came from that were brought along",
    "recipe": "recipe that found them, if it was not this workflow's own",
}
_CHANGES = {
    "channel": "name of the channel",
    "kind": "added, removed, split, merged or changed",
    "labels_before": "numbers of the objects before the correction",
    "labels_after": "numbers after it",
    "voxels_before": "voxels | size before",
    "voxels_after": "voxels | size after",
    "iou": "shared voxels over those of either",
}
_MEASURE = (
    "distance_um (to the nucleus), normalized_distance (over the largest of the membrane), "
    "volume_rank (share of the cytosol nearer to the nucleus)"
)

#: Columns that tables of a study have before their own.
LEADING: Mapping[str, Meaning] = _table(
    "",
    sample="name of the image in the study; its code while the study is blinded",
    animal="animal (or culture) the image is of: the unit that is compared",
    condition="condition of the sample sheet",
    replicate="replicate of the sample sheet",
    control="kind of control; empty for images that are measured",
    code="code of the image in the blinded study",
    rejected="whether the image was rejected by hand; its rows enter no comparison",
).columns

#: Every table of a stack or of a study, in the order of the workbook.
TABLES: Mapping[str, TableMeaning] = {
    "traffic_lights": _table(
        "one row per image and criterion: whether the image can be used, and why not",
        criterion="overall (the worst of the others), or what was looked at",
        subject="channel, or empty for the image as a whole",
        light="green, amber or red; grey where it could not be told",
        symbol="✓ green, ! amber, ✕ red, – grey",
        value="what was measured; its unit is in limit",
        limit="from where on it is amber, and red",
        reason="in words",
    ),
    "cells": _table(
        "one row per cell; columns of a stain begin with its role (puncta_, puncta2_, protein_)",
        cell="number of the cell, as in labels/cells.ome.tif",
        z_um="µm | centroid, from the middle of the first plane; planes are apart as corrected",
        y_um="µm | centroid, from the middle of the first voxel",
        x_um="µm | centroid, from the middle of the first voxel",
        volume_um3="µm³ | volume",
        surface_um2="µm² | surface of the body, smoothed as voxels allow",
        sphericity="surface of a ball of the same volume over the cell's; 1 is a ball",
        n_nuclei="nuclei in the cell",
        nuclear_volume_um3="µm³ | volume of its nuclei",
        cytosol_volume_um3="µm³ | volume without nuclei",
        touches_side="whether the cell is cut by a side of the image; studies leave it out",
        touches_first_or_last_plane="whether it reaches the first or the last plane",
        median_distance_by_chance_um="µm | median distance to the nucleus of all voxels of the "
        "cytosol: what an even spread gives",
        median_membrane_distance_um="µm | median distance to the nucleus of the membrane",
        landmark_volume_um3="µm³ | volume of the landmark in the cell",
        median_landmark_distance_by_chance_um="µm | median distance to the landmark of all voxels "
        "of the cytosol: what an even spread gives",
        landmark_reason="why there are no distances to the landmark",
        **{f"puncta_{name}": told for name, told in _OF_PUNCTA.items()},
        **{f"protein_{name}": told for name, told in _OF_PROTEINS.items()},
        reason=_REASON,
    ),
    "puncta": _table(
        "one row per punctum",
        **_ROLE,
        punctum="number of the punctum in its image and channel",
        cell="number of its cell; 0 is outside all cells",
        compartment="cytosol, nucleus or outside",
        z_um="µm | fitted position",
        y_um="µm | fitted position",
        x_um="µm | fitted position",
        distance_nucleus_um="µm | to the nucleus of its own cell; 0 in it",
        distance_membrane_um="µm | to the outermost voxels of its own cell",
        normalized_distance="voxel_distance_um over the largest of the membrane",
        voxel_distance_um="µm | to the nucleus from the centre of the voxel that holds it: what "
        "ranks and ratios over chance are made of, as chance is that of voxels",
        volume_rank="share of the cytosol that is nearer to the nucleus; missing in the nucleus",
        focus="number of the focus (crowd) it is in; 0 is none",
        height="SD of the noise | answer of the filter; what the threshold is held against",
        snr="peak over the SD of the noise around it",
        peak="grey levels | brightest voxel above its surroundings",
        intensity="grey levels | of the whole fitted spot",
        intensity_error="grey levels | standard error of intensity",
        background="grey levels | fitted level around it",
        illumination="flat field at its position (and light at its depth), which intensity is "
        "divided by; 1 without correction",
        error_z_um="µm | standard error of the position",
        error_y_um="µm | standard error of the position",
        error_x_um="µm | standard error of the position",
        fitted="whether the fit held; otherwise the position is that of the brightest voxel",
        fit_reason="why the fit failed, or how many molecules share the spot",
        spot="number of what was detected; molecules divided from one spot share it",
        decomposed="whether its spot was divided into molecules: its place in it is not known well",
        isolated="whether no other spot is within 6 SD of a spot",
        landmark_distance_um="µm | to the landmark of its own cell; 0 in it",
        landmark_reason="why that distance is missing",
        reason="why a distance is missing",
    ),
    "shells": _table(  # noqa: S604 - a column is called shell
        "one row per cell, stain and shell of equal volume, from the nucleus to the membrane",
        cell="number of the cell",
        role=_ROLE["role"],
        shell="number of the shell, 1 at the nucleus",
        observed="puncta, or grey levels without background, in the shell",
        expected="what an even spread has there",
        ratio="observed over expected",
        reason=_REASON,
    ),
    "distributions": _table(
        "cumulative distributions of each cell, on grids that all cells share",
        cell="number of the cell",
        role=_ROLE["role"],
        measure=_MEASURE,
        value="µm for distance_um, else from 0 to 1 | where the curves are read",
        observed="share of the cytosol's puncta (or intensity) at or below value",
        by_chance="share of the cytosol at or below it: what an even spread gives",
        membrane="share of the membrane at or below it",
    ),
    "chance": _table(
        "one row per cell, kind (or pair of kinds) of puncta, null and measure",
        cell="number of the cell",
        role="kind of puncta; two kinds joined by +",
        null="what is moved at random; hypothesis says it in full",
        measure="what is compared; 'all' has one p for all of them",
        n_puncta="puncta in the cytosol",
        **_RANDOM,
    ),
    "point_curves": _table(
        "curves of each cell's puncta beside the null, with a global envelope",
        cell="number of the cell",
        role=_ROLE["role"],
        other="kind whose puncta are counted around those of role; empty where it is the same",
        curve="L: L(r) − r, above 0 where puncta crowd; G: distances to the nearest punctum",
        null="what is moved at random",
        r_um="µm | distance between puncta",
        observed="µm for L, share of puncta for G | of the cell",
        expected="µm for L, share of puncta for G | middle of the simulations",
        low="µm for L, share of puncta for G | global envelope, from",
        high="µm for L, share of puncta for G | to",
        p_value="of the whole curve",
    ),
    "conjunctions": _table(
        "one row per cell and combination of kinds of puncta: those that lie together",
        cell="number of the cell",
        roles="the kinds, joined by +",
        n_of_each="puncta of each in the cytosol, in the order of roles",
        percent_of_each="% | share of each kind that takes part, in the order of roles",
        **_RANDOM,
    ),
    "efficiency": _table(
        "one row per kind of puncta, brightness and quarter of the depth: spots put into the "
        "image and looked for",
        **_ROLE,
        brightness="as dim, typical or bright as the puncta that were found",
        amplitude="grey levels | of the spots, above their surroundings",
        z_from_um="µm | depth from",
        z_to_um="µm | depth to",
        n_injected="spots put in",
        n_found="of them found",
        fraction="found over put in",
        ci_low="95 % interval, from",
        ci_high="95 % interval, to",
        note="why nothing was put in, or what to mind",
    ),
    "channels": _table(
        "one row per channel: its quality",
        role="what the channel was taken for", channel=_ROLE["channel"],
        min="grey levels | smallest in the file",
        max="grey levels | largest in the file",
        background="grey levels | the most frequent",
        noise_sd="grey levels | SD of the noise at the background",
        signal="grey levels | level that 0.5 % of the voxels exceed, above the background",
        snr="signal over noise_sd",
        saturated_fraction="share of voxels at the end of the range",
        sharpest_plane="plane with the strongest fine detail, from 0",
        light_at_the_end="brightness of the last plane over the first, of a fitted exponential",
        attenuation_length_um="µm | depth at which 1/e is left; inf where light does not fade",
        largest_step_um="µm | largest displacement within the plane between neighbouring planes",
        n_planes="planes of the stack",
        n_hot_pixels="hot pixels that were replaced",
        z_scale_factor="true over nominal plane distance that was used",
        voxel_z_um="µm | plane distance used, z_scale_factor included",
        voxel_y_um="µm | voxel along y",
        voxel_x_um="µm | voxel along x",
    ),
    "depth": _table(
        "light plane by plane",
        **_ROLE,
        z_um="µm | depth of the plane",
        mean_in_cells="grey levels | mean in cells (of nuclei: in nuclei) above what is outside",
        fit="grey levels | exponential through it; missing where the plane was not used",
        n_voxels="voxels of cells (or nuclei) in the plane",
    ),
    "depth_fits": _table(
        "one row per channel: how fast light fades with depth",
        **_ROLE,
        first_um="µm | first plane that was used",
        half_depth_um="µm | in which half of the light is lost; inf where it does not fade",
        half_depth_low_um="µm | 95 % interval, from",
        half_depth_high_um="µm | to",
        slope_per_um="1/µm | of the logarithm of light",
        n_planes="planes that were used",
        reason=_REASON,
    ),
    "chromatic": _table(
        "one row per channel: what was done about its chromatic shift",
        **_ROLE,
        **{f"shift_{a}_nm": "nm | shift along this axis in the middle of the stack" for a in "zyx"},
        **{f"error_{a}_nm": "nm | standard error of the shift" for a in "zyx"},
        n_beads="beads it was measured on",
        moved="reference, positions (of puncta) or whole voxels",
    ),
    "common_thresholds": _table(
        "one row per kind of puncta and image: where the threshold of all images comes from",
        role=_ROLE["role"],
        own_threshold="SD of the noise | what this image alone would have been given",
        common_threshold="SD of the noise | median of those of the images that count",
        over_common="the one over the other",
        far="whether the image's own is more than a quarter away",
        left_out="why the image does not count; empty where it does",
    ),
    "thresholds": _table(
        "one row per kind of puncta: the threshold in force",
        **_ROLE,
        threshold="SD of the noise | height from which a candidate is a punctum",
        source="given, all images (common to the study) or this image",
        own_threshold="SD of the noise | what this image alone would have been given",
        n_candidates="maxima of the filter, noise included",
        n_puncta="those that became puncta",
        n_hot="candidates that were single hot pixels",
        gain="grey levels | per photon, from the image; 0 where it cannot be told",
        note="what to mind about the threshold",
    ),
    "elbows": _table(
        "numbers of candidates against the threshold",
        **_ROLE,
        threshold="SD of the noise | threshold",
        n_above="candidates that reach it",
    ),
    "proteins": _table(
        "one row per continuous stain",
        role=_ROLE["role"],
        background="grey levels | level that was taken off",
        source="where that level comes from",
        reason=_REASON,
    ),
    "segmentation_nuclei": _table(
        "how nuclei were found",
        **_SEGMENTATION,
        diameter_um="µm | typical diameter that set the scale",
        grid_um="µm | blocks on which they were found",
    ),
    "segmentation_cells": _table(
        "how cells were found",
        **_SEGMENTATION,
        background="grey levels | level outside cells",
        n_without_nucleus="bright pieces without a nucleus, which were dropped",
    ),
    "segmentation_landmark": _table(
        "how a landmark was found",
        **{**_SEGMENTATION, "role": "landmark, landmark2, …"},
    ),
    "single_molecules": _table(
        "one row per kind of molecules: the light of one",
        **_ROLE,
        light="grey levels | of one molecule, summed over its voxels",
        light_error="grey levels | standard error",
        light_cv="spread of the light of molecules, SD over mean",
        n_isolated="isolated puncta of the cytosol it was learnt from",
        source="given, or isolated puncta",
        reason=_REASON,
    ),
    "molecules": _table(
        "one row per kind of molecules, cell and compartment: numbers from light",
        **_ROLE,
        cell="number of the cell",
        compartment="cytosol or nucleus",
        molecules="light over that of one molecule",
        molecules_error="molecules | standard error",
        molecules_low="molecules | 95 % interval, from",
        molecules_high="molecules | to",
        light="grey levels | above the background, summed over the compartment",
        background="grey levels | level of the compartment between molecules",
        background_error="grey levels | its standard error",
        captured="share of the light of its molecules that lies within the compartment",
        reason=_REASON,
    ),
    "transcription_sites": _table(
        "one row per site of transcription: bright spots and crowds in nuclei",
        **_ROLE,
        site="number of the site",
        cell="number of the cell",
        nucleus="number of the nucleus",
        z_um="µm | position",
        y_um="µm | position",
        x_um="µm | position",
        molecules="its light over that of one molecule",
        intensity="grey levels | its light",
        n_puncta="puncta that make it up",
    ),
    "label_changes_nuclei": _table("corrections of nuclei by hand", **_CHANGES),
    "label_changes_cells": _table("corrections of cells by hand", **_CHANGES),
    "samples": _table(
        "one row per image of the study",
        state="done, failed or pending",
        reason="why it failed",
        n_warnings="warnings of its run",
        warnings="these warnings",
        own_parameters="parameters of the sheet for this image alone",
        regions="file of its regions",
        directory="where its run is, in the study's directory",
    ),
    "triage": _table(
        "one row per image that somebody decided about",
        verdict="accept, reject or redo",
        reason="why",
        overrides="parameters of this image alone",
    ),
    "comparison": _table(
        "one row per outcome and pair of conditions; the animal is the unit",
        outcome="what is compared, in words",
        column="of the table cells",
        difference="condition minus reference, of the means of animals, in the outcome's unit",
        ci_low="interval of the difference, from",
        ci_high="to",
        ratio="of the means",
        ratio_low="interval of the ratio, from",
        ratio_high="to",
        hedges_g="difference over the SD of animals, corrected for small samples",
        g_low="interval of hedges_g, from",
        g_high="to",
        df="degrees of freedom",
        detectable="smallest true difference found in 80 % of such studies",
        icc="share of the variance of cells that lies between animals (method mixed)",
        **_PAIR,
    ),
    "comparison_conditions": _table(
        "one row per outcome and condition",
        outcome="what is compared, in words",
        column="of the table cells",
        condition="the condition",
        n_animals="animals",
        n_cells="cells with a value",
        n_missing="cells without one",
        mean="mean of the means of animals",
        sd="SD of the means of animals",
        pooled_mean="mean of all cells, which weighs animals by their cells",
        ci_low="interval of the mean, from",
        ci_high="to",
        reason=_REASON,
    ),
    "comparison_animals": _table(
        "one row per outcome and animal",
        outcome="what is compared, in words",
        column="of the table cells",
        condition="the condition",
        animal="the animal",
        n_cells="cells with a value",
        n_missing="cells without one",
        value="mean of the cells",
    ),
    "distribution_comparison": _table(
        "one row per stain, measure and pair of conditions: mean curves of animals compared",
        role=_ROLE["role"],
        measure=_MEASURE,
        wasserstein="unit of the measure | area between the mean curves",
        wasserstein_by_chance="unit of the measure | its mean over all ways to deal animals out",
        shift="unit of the measure | difference of the means",
        shift_low="unit of the measure | interval of the shift, from",
        shift_high="unit of the measure | to",
        largest_gap="largest difference of the curves, with its sign",
        largest_gap_at="unit of the measure | where it is",
        df="degrees of freedom",
        df_error="degrees of freedom of the error",
        **_PAIR,
    ),
    "distribution_conditions": _table(
        "one row per stain, measure and condition ('all images' where there are none)",
        role=_ROLE["role"],
        measure=_MEASURE,
        condition="the condition, or 'all images'",
        n_animals="animals",
        n_cells="cells",
        n_values="puncta (or steps of intensity)",
        median_of_mean_cdf="unit of the measure | half-distance: where the mean curve reaches 0.5",
        mean_of_medians="unit of the measure | mean of the cells' own medians",
        median_by_chance="unit of the measure | half-distance of an even spread in the same "
        "cytosols, averaged alike",
        band="why there is no simultaneous band",
    ),
    "distribution_curves": _table(
        "mean cumulative curves",
        role=_ROLE["role"],
        measure=_MEASURE,
        condition="the condition, or 'all images'",
        animal="the animal (its cells' mean); empty: mean of the animals; 'by chance': an even "
        "spread in the same cytosols",
        value="µm for distance_um, else from 0 to 1 | where the curve is read",
        cdf="height of the curve",
        low="simultaneous band of the mean curve, from",
        high="to",
    ),
    "bleed_through": _table(
        "one row per stain and channel, from controls with one stain",
        stain="the stain that is there",
        channel="the channel it is seen in",
        fraction="share of its light that is seen there",
        ci_low="interval, from",
        ci_high="to",
        n_pixels="pixels it was read from",
        n_images="images it was read from",
        reason=_REASON,
    ),
    "negative_levels": _table(
        "one row per negative control and channel",
        control="kind of control",
        channel="the channel",
        n_images="images",
        percentile="% | of the pixels",
        percentile_level="grey levels | that this percentile has",
        k="standard deviations of sd_level",
        sd_level="grey levels | mean and k standard deviations",
        reason=_REASON,
        threshold_lies="where thresholds in force lie beside these levels",
        threshold_low="grey levels | lowest threshold in force",
        threshold_high="grey levels | highest",
        n_thresholds="thresholds",
        n_below="of them below the level",
        compared="what is held against the threshold",
        compared_level="grey levels | how high that reaches in the control",
        threshold_reason="why there is no threshold",
    ),
}  # fmt: skip


def meaning_of(table: str, column: str) -> Meaning | None:
    """What a column means; None for one that no workflow writes (of a sample sheet).

    Examples
    --------
    >>> meaning_of("cells", "puncta3_median_distance_um").unit
    'µm'
    >>> meaning_of("cells", "weather") is None
    True
    """
    name = re.sub(r"landmark\d+$", "landmark", table)
    if name not in TABLES:
        return None
    columns = TABLES[name].columns
    kind = re.sub(r"(puncta|protein|landmark)\d+", r"\1", column)
    own = column.removesuffix("_of_table")
    return columns.get(column) or columns.get(kind) or LEADING.get(column) or columns.get(own)


def column_rows(tables: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, str]]:
    """Every column of these tables with unit and meaning, as rows of a table."""
    for name, table in tables.items():
        for column in table.columns:
            found = meaning_of(name, str(column)) or Meaning("", "column of the sample sheet")
            yield {"table": name, "column": str(column), **found._asdict()}
