"""The methods paragraph: what was done, with every parameter that was in force, and its papers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aequorea.report.numbers import number
from aequorea.report.references import REFERENCES, THRESHOLD_PAPERS, Reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_THRESHOLDS = {
    "costes": "by the method of Costes",
    "bisection": "by the method of Costes with the bisection stepper of Coloc 2",
    "otsu": "by Otsu's method",
    "li": "by Li's minimum cross-entropy method",
    "triangle": "by the triangle method",
    "yen": "by Yen's method",
    "mean": "as the mean intensity",
    "isodata": "by the IsoData method",
    "manual": "by hand",
}
_METRICS = {
    "pcc": "Pearson's correlation coefficient",
    "srcc": "Spearman's rank correlation coefficient",
    "m1": "the thresholded Manders' coefficient M1",
    "m2": "the thresholded Manders' coefficient M2",
    "icq": "Li's intensity correlation quotient",
}
_ALTERNATIVES = {
    "greater": "more alignment than chance gives (one-sided)",
    "less": "less alignment than chance gives (one-sided)",
    "two-sided": "more or less alignment than chance gives (two-sided)",
}
_COMPAT = {
    "coloc2": ("Definitions followed Fiji's Coloc 2 where programs differ", "schindelin2012"),
    "jacop": ("Definitions followed JACoP where programs differ", "bolte2006"),
    "napari": ("Definitions followed napari-colocalization where programs differ", None),
}


def threshold_name(method: object) -> str:
    """A threshold method as its authors write it.

    Examples
    --------
    >>> threshold_name("isodata"), threshold_name("manual")
    ('IsoData', 'by hand')
    """
    return {"isodata": "IsoData", "manual": "by hand"}.get(str(method), str(method).capitalize())


@dataclass
class MethodsText:
    """Sentences and the papers they cite, numbered in the order of citation."""

    sentences: list[str] = field(default_factory=list)
    cited: list[str] = field(default_factory=list)

    def say(self, sentence: str, *papers: str) -> None:
        """Add a sentence; its citations go before the full stop."""
        self.cited += [p for p in papers if p not in self.cited]
        marks = ", ".join(str(self.cited.index(p) + 1) for p in papers)
        self.sentences.append(f"{sentence} [{marks}]." if marks else f"{sentence}.")

    @property
    def paragraph(self) -> str:
        """The text."""
        return " ".join(self.sentences)

    @property
    def references(self) -> list[Reference]:
        """The papers, in the order of their numbers."""
        return [REFERENCES[key] for key in self.cited]


def methods_of(
    parameters: Mapping[str, Any],
    *,
    version: str,
    calibration: str,
    backgrounds: Sequence[tuple[str, float]],
    nulls: Sequence[str],
    object_nulls: Sequence[str],
    objects: bool,
    distances: bool,
    scrambled: bool,
    has_ica: bool,
) -> MethodsText:
    """Describe a colocalization analysis for the methods section of a paper.

    Parameters
    ----------
    parameters : mapping
        Every parameter in force, by dotted key.
    version : str
        Of aequorea.
    calibration : str
        Such as ``"z 0.646 µm, y 0.328 µm, x 0.328 µm"``.
    backgrounds : sequence of (channel, grey level)
    nulls, object_nulls : sequence of str
        Each null of the pixels and of the objects in words.
    objects, distances, scrambled, has_ica : bool
        Whether these parts are among the results.

    Returns
    -------
    MethodsText
    """
    text = MethodsText()
    text.say(f"Images were analysed with aequorea {version}; pixel spacing was {calibration}")
    _say_background(text, parameters, backgrounds)
    _say_pixels(text, parameters, has_ica=has_ica)
    _say_significance(text, parameters, nulls)
    _say_diagnostics(text, parameters, scrambled=scrambled)
    if objects:
        _say_objects(text, parameters, object_nulls, distances=distances)
    text.say(f"Random numbers were drawn with seed {parameters.get('seed')}")
    return text


def _given(value: Any) -> str:
    """A number as it was given."""
    return "not given" if value is None else f"{value:.6g}"


def _say_background(
    text: MethodsText, parameters: Mapping[str, Any], backgrounds: Sequence[tuple[str, float]]
) -> None:
    method = parameters.get("background.background")
    if method in (None, "none"):
        text.say("No background was subtracted")
        return
    how = {
        "constant": "given by hand",
        "mode": "the most frequent intensity of each channel",
        "percentile": f"the {_given(parameters.get('background.background_percentile'))}th "
        "percentile of each channel",
    }[method]
    levels = "; ".join(f"{name} {_given(level)}" for name, level in backgrounds)
    text.say(
        f"Background, {how}, was subtracted ({levels} grey levels) and values below it set to 0"
    )


def _say_pixels(text: MethodsText, parameters: Mapping[str, Any], *, has_ica: bool) -> None:
    where = "each region" if parameters.get("regions") else "the whole image"
    text.say(
        f"In {where}, Pearson's and Spearman's correlation coefficients were computed over all "
        "pixels, without a threshold",
        "adler2010",
    )
    method = str(parameters.get("pixel.threshold"))
    paper = THRESHOLD_PAPERS.get(method)
    given = ""
    if method == "costes" and parameters.get("pixel.stepper"):
        given = f" ({parameters['pixel.stepper']} stepper)"
    if method == "manual":
        values = parameters.get("pixel.threshold_value") or ()
        given = f" ({', '.join(_given(v) for v in values)} grey levels)"
    text.say(
        f"Thresholds were found {_THRESHOLDS.get(method, method)}{given} in {where}",
        *([paper] if paper else []),
    )
    text.say(
        "Manders' coefficients M1 and M2 are the share of each channel's intensity that lies "
        "where the other channel is above its threshold",
        "manders1993",
    )
    if has_ica:
        text.say("Li's intensity correlation quotient was computed", "li2004")
    if parameters.get("pixel.per_slice"):
        text.say("Each z-slice was measured by itself as well as the stack")
    compat = _COMPAT.get(str(parameters.get("pixel.compat")))
    if compat:
        text.say(compat[0], *([compat[1]] if compat[1] else []))


def _say_significance(
    text: MethodsText, parameters: Mapping[str, Any], nulls: Sequence[str]
) -> None:
    if parameters.get("significance.null") in (None, "none"):
        text.say("No hypothesis was tested")
        return
    primary = str(parameters.get("significance.primary"))
    text.say(f"The one metric tested, declared beforehand, was {_METRICS.get(primary, primary)}")
    for null in nulls:
        text.say(f"The null hypothesis was: {null.rstrip('.')}")
    if parameters.get("significance.null") == "phase":
        text.say(
            f"It was represented by {number(parameters.get('significance.n_shifts'))} surrogates "
            "of one channel with the same spectrum and random phases"
        )
    else:
        text.say(
            f"It was represented by up to {number(parameters.get('significance.n_shifts'))} rigid "
            "shifts of one channel against the other, each evaluated on the overlap of the region "
            "with its shifted self",
            "mrkvicka2021",
        )
    text.say(
        "Correlations were standardised by the effective number of independent pixels, which "
        "follows from the autocorrelation of both channels",
        "clifford1989",
    )
    side = _ALTERNATIVES.get(str(parameters.get("significance.alternative")))
    if side:
        text.say(f"The test asked for {side}")
    text.say(
        "P-values are (k + 1)/(n + 1) for k of n independent draws at least as extreme",
        "phipson2010",
    )
    text.say(
        "Results were called significant at a false-discovery rate of "
        f"{_given(parameters.get('significance.alpha'))} over all regions, frames and pairs tested",
        "benjamini1995",
    )


def _say_diagnostics(text: MethodsText, parameters: Mapping[str, Any], *, scrambled: bool) -> None:
    largest = parameters.get("diagnostics.ccf_max_shift")
    if largest:
        text.say(
            "As a diagnostic, the cross-correlation function was computed for shifts up to "
            f"{number(largest)} px along each axis and a Gaussian fitted to it",
            "vansteensel1996",
        )
    if scrambled:
        block = parameters.get("diagnostics.scramble_block")
        size = f"{block} px" if block else "a side guided by the autocorrelation length"
        text.say(
            f"One channel was scrambled {number(parameters.get('diagnostics.scramble'))} times in "
            f"blocks of {size}",
            "costes2004",
        )


def _say_objects(
    text: MethodsText,
    parameters: Mapping[str, Any],
    object_nulls: Sequence[str],
    *,
    distances: bool,
) -> None:
    method = str(parameters.get("objects.object_threshold"))
    paper = THRESHOLD_PAPERS.get(method)
    text.say(
        "Objects were connected components above a threshold found "
        f"{_THRESHOLDS.get(method, method)}, of at least "
        f"{number(parameters.get('objects.min_object_size'))} px",
        *([paper] if paper else []),
        "bolte2006",
    )
    if not distances:
        return
    text.say(
        "Objects were paired one to one up to a centroid distance of "
        f"{_given(parameters.get('objects.match_distance_um'))} µm; the fraction of objects "
        "within every distance up to "
        f"{_given(parameters.get('objects.max_distance_um'))} µm of the other channel was compared "
        f"with {number(parameters.get('objects.n_reshuffles'))} draws of its null hypothesis"
    )
    for null in object_nulls:
        text.say(f"The null hypothesis for objects was: {null.rstrip('.')}")
