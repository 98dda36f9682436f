"""Sentences on samples, comparison and controls for the methods paragraph of a study."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aequorea.report.numbers import counted
from aequorea.report.study import records
from aequorea.report.study_comparison import why_not

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aequorea.report.methods import MethodsText
    from aequorea.report.study import StudyContents
    from aequorea.report.study_comparison import Quantity


def say_samples(text: MethodsText, study: StudyContents) -> None:
    """How many images there were, and how they were treated."""
    n, lost = len(study.measured), len(study.failed)
    failed = f"; {counted(lost, 'sample')} failed and {'is' if lost == 1 else 'are'} left out"
    alike = "with the same parameters" + (
        " but for those given image by image" if _has_own_parameters(study) else ""
    )
    blind = ", under codes that hide what they are" if study.state.get("blind") else ""
    text.say(
        f"{counted(n, 'image')} {'was' if n == 1 else 'were'} analysed one by one "
        f"{alike}{blind}{failed if lost else ''}"
    )


def _has_own_parameters(study: StudyContents) -> bool:
    """In the sample sheet, or after somebody looked at the image."""
    redone = study.run.table("triage")
    later = len(redone) and (redone["overrides"].fillna("") != "").any()
    return bool(study.samples["own_parameters"].notna().any() or later)


def say_comparison(
    text: MethodsText, study: StudyContents, quantities: Sequence[Quantity], *, what: str
) -> None:
    """The test, its unit and its null, as the tables have them.

    Parameters
    ----------
    text : MethodsText
    study : StudyContents
    quantities : sequence of Quantity
    what : str
        What is compared, in the plural.
    """
    if study.hidden:
        text.say("Conditions were hidden, so nothing was compared")
        return
    pairs = [row for q in quantities for row in records(q.pairs)]
    tested = [row for row in pairs if math.isfinite(float(row["p_value"]))]
    if pairs and not tested:
        reasons = dict.fromkeys(why_not(row) for row in pairs)
        text.say(f"No p-value was computed ({'; '.join(reasons)})")
    if not tested:
        return
    units = dict.fromkeys(str(row["unit"]) for row in tested)
    text.say(
        f"The {what} were compared between conditions; the unit of inference was the "
        f"{', '.join(units)}",
        "hurlbert1984",
    )
    for method in dict.fromkeys(str(row["method"]) for row in tested):
        text.say(f"The test was {method}, two-sided", *_papers(method))
    for hypothesis in dict.fromkeys(str(row["hypothesis"]).rstrip(".") for row in tested):
        text.say(f"The null hypothesis was: {hypothesis}")
    text.say(
        f"Intervals are those of {100 * quantities[0].confidence:g} % confidence; figures show "
        "images, animals and the mean of animals",
        "lord2020",
    )
    most = max(q.n_corrected for q in quantities)
    if most > 1:
        text.say(
            f"P-values were corrected for {most} comparisons of outcomes and pairs of conditions",
            "benjamini1995",
        )


def _papers(method: str) -> tuple[str, ...]:
    if "Welch" in method:
        return ("welch1947",)
    return ("williams1975",) if "beta-binomial" in method else ()


def say_controls(text: MethodsText, study: StudyContents) -> None:
    """What was read off the controls."""
    if len(study.run.table("bleed_through")):
        text.say(
            "Bleed-through was measured in single-stain controls as the slope of one channel on "
            "another, with the neighbours of each pixel as instrument; its intervals are "
            "bootstrapped over blocks of pixels",
            "wald1940",
        )
    levels = study.run.table("negative_levels")
    if len(levels):
        told = f"{float(levels['percentile'].iloc[0]):g}th"
        text.say(
            f"Thresholds were held against the {told} percentile of negative controls, the highest "
            "of several images"
        )
