"""The methods paragraph of a cell count: what was done, with every parameter in force."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.report.cells_positivity import rule_in_words
from aequorea.report.cells_views import markers_of
from aequorea.report.methods import MethodsText
from aequorea.report.numbers import number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aequorea.report.run_contents import RunContents

_THRESHOLDS = {"otsu": ("Otsu's method", "otsu1979"),
               "li": ("Li's minimum cross-entropy method", "li1998")}  # fmt: skip
_MOST_VALUES = 4


def methods_of_cells(
    run: RunContents, names: Mapping[str, str], *, calibration: str, is_stack: bool
) -> MethodsText:
    """Describe a cell count for the methods section of a paper.

    Parameters
    ----------
    run : RunContents
    names : mapping of role to channel name
    calibration : str
        Such as ``"y 0.325 µm, x 0.325 µm"``.
    is_stack : bool
        Whether cells were found in three dimensions.
    """
    text = MethodsText()
    text.say(f"Images were analysed with aequorea {run.version}; pixel spacing was {calibration}")
    _say_field(text, run)
    for role, name in names.items():
        _say_objects(text, run, role, name)
    by_hand = run.parameter("cell.edited") is not None
    text.say(
        "A cell belongs to the region that holds most of it, and what lies outside was cut off; "
        f"cells of fewer than {run.parameter('min_cell_px')} pixels were dropped"
        f"{' before the correction by hand, and none after it' if by_hand else ''}"
    )
    if len(names) > 1:
        text.say("Of marker objects each region keeps what lies inside")
    text.say("Intensities were measured in the unfiltered images")
    for role, name in markers_of(names).items():
        paper = _automatic(run, role)
        text.say(f"A cell was positive for {name} if {rule_in_words(run, role, name)}", *paper)
    _say_counting(text, run)
    if is_stack:
        text.say("Surface areas are Crofton estimates from 13 directions", "legland2007")
    else:
        text.say("Perimeters and areas were measured in the plane")
    _say_phenotypes(text, run)
    return text


def _automatic(run: RunContents, role: str) -> tuple[str, ...]:
    by_intensity = run.parameter(f"{role}.rule") == "intensity"
    given = run.parameter(f"{role}.intensity_threshold") is not None
    return ("otsu1979",) if by_intensity and not given else ()


def _say_field(text: MethodsText, run: RunContents) -> None:
    crop, projection = run.parameter("z_crop"), run.parameter("z_projection")
    if crop:
        text.say(f"Planes {crop[0]} to {crop[1] - 1}, from 0, were taken")
    if projection:
        how = {"max": "maximum", "std": "standard deviation", "var": "variance"}
        text.say(f"Stacks were projected along z ({how.get(projection, projection)})")
    regions = run.parameter("regions")
    if regions is None:
        text.say("Cells were counted in the whole image")
        return
    n = len(run.table("roi_coloc_overview"))
    text.say(
        f"Cells were counted in {n} region{'' if n == 1 else 's'} given by {Path(regions).name}; "
        "scale and thresholds were found in each by itself"
    )


def _say_objects(text: MethodsText, run: RunContents, role: str, name: str) -> None:
    def of(key: str) -> Any:
        return run.parameter(f"{role}.{key}")

    what = f"Cells ({name})" if role == "cell" else f"Objects of {name}"
    if of("labels") is not None:
        text.say(f"{what} were given as labels in {Path(of('labels')).name}")
        return
    _say_prefilters(text, name, of)
    method = str(of("method"))
    if method in {"otsu", "li", "percentile"}:
        _say_threshold(text, run, role, what, of)
    elif method == "watershed":
        _say_watershed(text, run, role, what, of)
    elif method == "cellpose":
        _say_cellpose(text, run, role, what, of)
    elif method == "stardist":
        _say_stardist(text, what, of)
    else:
        text.say(f"{what} were found by the method {method} of a plug-in")
    _say_postfilters(text, of)
    edits = run.tables.get(f"label_changes_{role}")
    if edits is not None:
        s = "" if len(edits) == 1 else "s"
        text.say(f"{what} were then corrected by hand ({len(edits)} change{s})")


def _say_prefilters(text: MethodsText, name: str, of: Callable[[str], Any]) -> None:
    chain = []
    for kind in of("prefilters") or ():
        if kind == "median":
            along_z = of("prefilter_median_z_px")
            depth = "" if along_z is None else f" and {along_z} planes"
            chain.append(f"a median of {of('prefilter_median_xy_px')} px{depth}")
            continue
        along_z = of("prefilter_sigma_z_px")
        depth = "" if along_z is None else f" and {along_z:g} planes"
        kind_name = {"gaussian": "a Gaussian", "log": "a Laplacian of Gaussian"}[kind]
        chain.append(f"{kind_name} of SD {of('prefilter_sigma_xy_px'):g} px{depth}")
    if chain:
        text.say(f"To find objects, {name} was filtered by {', then '.join(chain)}")


def _levels(run: RunContents, role: str) -> str:
    """The thresholds that were found, in grey levels."""
    return _found(run, role, "threshold", "grey levels")


def _found(run: RunContents, role: str, column: str, unit: str) -> str:
    table = run.table(f"segmentation_{role}")
    if column not in table:
        return ""
    values = table[column].to_numpy(np.float64, na_value=np.nan)
    values = values[np.isfinite(values)]
    if not values.size:
        return ""
    if values.size <= _MOST_VALUES:
        return f"{', '.join(number(float(v)) for v in values)} {unit}"
    return f"{number(float(values.min()))} to {number(float(values.max()))} {unit}"


def _say_threshold(
    text: MethodsText, run: RunContents, role: str, what: str, of: Callable[[str], Any]
) -> None:
    method = str(of("method"))
    background = of("threshold_background_sigma_px")
    if background is not None:
        text.say(f"A background smoothed by a Gaussian of SD {background:g} px was subtracted")
    papers: tuple[str, ...] = ()
    if of("threshold_value") is not None:
        how = "a threshold that was given"
    elif method == "percentile":
        how = f"the {of('threshold_percentile'):g}th percentile of the pixels above 0"
    else:
        how, paper = _THRESHOLDS[method]
        papers = (paper,)
    levels = _levels(run, role)
    closing = "gaps of one pixel closed, " if of("threshold_closing") else ""
    text.say(
        f"{what} were connected pixels above {how}{f' ({levels})' if levels else ''}, with "
        f"{closing}holes below {of('threshold_min_hole_px')} px filled and pieces below "
        f"{of('threshold_min_object_px')} px dropped",
        *papers,
    )


def _say_watershed(
    text: MethodsText, run: RunContents, role: str, what: str, of: Callable[[str], Any]
) -> None:
    text.say(f"{what} were found by a watershed of a Laplacian-of-Gaussian answer", "vincent1991")
    size = _found(run, role, "diameter_px", "px")
    given = of("diameter_um") is not None or of("diameter_px") is not None
    if given:
        told = f"{of('diameter_um'):g} µm" if of("diameter_um") else f"{of('diameter_px'):g} px"
        text.say(f"Its scale followed from the typical diameter given, {told}")
    else:
        found = f" ({size})" if size else ""
        text.say(f"The typical diameter was found in scale space{found}", "lindeberg1998")
    levels = _levels(run, role)
    shown = f" ({levels})" if levels else ""
    if of("threshold_value") is not None:
        text.say(f"Objects lay above a threshold that was given{shown}")
    else:
        text.say(f"Objects lay above Li's threshold{shown}", "li1998")
    text.say(
        "Basins were united across passes that lie less than "
        f"{100 * of('split_tolerance'):g} % below the lower summit",
        "najman1996",
    )
    text.say(
        f"pieces in contact over more than {of('split_neck'):g} of the smaller one's diameter were "
        f"one object; outlines lay at {of('watershed_edge'):g} of each object's height, and what "
        f"was smaller than {of('watershed_min_size'):g} of a disc or ball of the typical diameter "
        "was dropped".replace("pieces", "Pieces", 1)
    )


def _say_cellpose(
    text: MethodsText, run: RunContents, role: str, what: str, of: Callable[[str], Any]
) -> None:
    table = run.table(f"segmentation_{role}")

    def used(column: str) -> str:
        values = table[column].dropna().astype(str).unique() if column in table else ()
        return ", ".join(values)

    model = used("model") or str(of("model") or "the default model")
    version, device = used("cellpose"), used("device")
    size = _found(run, role, "diameter_px", "px")
    diameter = (
        "the diameter given" if of("diameter_um") or of("diameter_px") else "its own diameter"
    )
    text.say(
        f"{what} were found by Cellpose{f' {version}' if version else ''} (model {model}"
        f"{f', on {device}' if device else ''}) at {diameter}{f' ({size})' if size else ''}",
        "stringer2021",
    )
    flows = "" if used("do_3d") == "True" else f", flow threshold {of('flow_threshold'):g}"
    stitched = ""
    if used("do_3d") == "True":
        anisotropy = used("anisotropy")
        stitched = (
            f", flows in three dimensions{f' (anisotropy {anisotropy})' if anisotropy else ''}"
        )
        stitched += f" smoothed by SD {of('flow3d_smooth'):g} px"
    elif of("do_3d") is False:
        stitched = f", planes stitched at an overlap of {of('stitch_threshold'):g}"
    text.say(
        f"Its cell-probability threshold was {of('cellprob_threshold'):g}{flows}{stitched}, "
        f"steps along the flows {used('niter') or 'automatic'}; objects below "
        f"{of('network_min_object_px')} px were dropped"
    )


def _say_stardist(text: MethodsText, what: str, of: Callable[[str], Any]) -> None:
    def told(key: str) -> str:
        value = of(key)
        return "that of the model" if value is None else f"{value:g}"

    text.say(
        f"{what} were found by StarDist (model {of('model') or '2D_versatile_fluo'}; probability "
        f"threshold {told('prob_threshold')}, overlap threshold {told('nms_threshold')})",
        "schmidt2018",
    )


def _say_postfilters(text: MethodsText, of: Callable[[str], Any]) -> None:
    chain = []
    for kind in of("postfilters") or ():
        if kind == "min_size":
            chain.append(f"fewer than {of('min_object_px')} px")
        elif kind == "min_intensity":
            chain.append(
                f"a {of('min_intensity_measure')} intensity of at most "
                f"{of('min_intensity_threshold'):g} grey levels"
            )
        elif kind == "local_contrast":
            chain.append(
                f"a median less than {of('local_contrast_k'):g} median absolute deviations above "
                f"that of a shell {of('local_contrast_inner_px')} to "
                f"{of('local_contrast_outer_px')} px around"
            )
        else:
            count, part = of("bright_pixel_min_count"), of("bright_pixel_min_fraction")
            least = f"{count}" if count is not None else f"{100 * part:g} %"
            chain.append(
                f"fewer than {least} pixels above {of('bright_pixel_threshold'):g} grey levels"
            )
    if chain:
        text.say(f"Of these, objects were dropped that had {', then those with '.join(chain)}")


def _say_counting(text: MethodsText, run: RunContents) -> None:
    kind = str(run.parameter("counting.counting"))
    guard = float(run.parameter("counting.frame_guard_um") or 0)
    frame = f"a counting frame {guard:g} µm inside the image" if guard else (
        "a counting frame as large as the image, whose edges stand for what lies beyond"
    )  # fmt: skip
    if kind == "all":
        text.say("Every cell was counted, those cut by a border too")
    elif kind == "frame":
        text.say(f"Cells were counted by {frame}, which drops those that touch its left or lower "
                 "edge", "gundersen1977")  # fmt: skip
    elif kind == "disector":
        depth = run.parameter("counting.disector_guard_um")
        left = "one plane at the look-up side" if depth is None else f"{depth:g} µm at both faces"
        text.say(
            f"Cells were counted by an optical disector: those that begin within the stack, {left} "
            f"left out, and within {frame}",
            "sterio1984", "gundersen1977",
        )  # fmt: skip
    elif kind == "abercrombie":
        overview = run.table("roi_coloc_overview")
        told = ""
        if len(overview) and "section_um" in overview:
            section, height = (
                number(float(overview[c].iloc[0])) for c in ("section_um", "mean_cell_height_um")
            )
            told = f" (section {section} µm, mean height of cells {height} µm)"
        text.say(f"Counts were corrected for cells cut by the faces of the section{told}",
                 "abercrombie1946")  # fmt: skip


def _say_phenotypes(text: MethodsText, run: RunContents) -> None:
    table = run.table("phenotypes")
    if not len(table):
        return
    size = run.parameter("phenotypes.neighbourhood")
    if not table["p_value"].notna().any():
        text.say(f"Combinations of markers were compared with neighbourhoods of {size} cells")
        return
    text.say(
        "Combinations of two markers or more were compared with what independent markers give "
        f"within neighbourhoods of about {size} cells; the spread of the count was measured by "
        f"shifting the pattern of each marker ({run.parameter('phenotypes.n_shifts')} shifts)",
        "clifford1989", "mrkvicka2021",
    )  # fmt: skip
    for hypothesis in dict.fromkeys(h for h in table["hypothesis"] if isinstance(h, str) and h):
        text.say(f"The null hypothesis was: {hypothesis.rstrip('.')}")
    text.say("P-values were corrected for all tests of the image", "benjamini1995")
