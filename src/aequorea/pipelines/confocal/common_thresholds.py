"""One threshold for all images of a study, from those that are neither controls nor rejected."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aequorea.errors import AequoreaWarning
from aequorea.pipelines.confocal.detection import chosen_threshold, read_facts, read_heights
from aequorea.pipelines.kept_tables import table_outputs, write_tables
from aequorea.pipelines.run.provenance import sha256_json
from aequorea.pipelines.run.steps import Step
from aequorea.puncta.threshold import FEWEST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from aequorea.pipelines.confocal.parameters import ConfocalParameters
    from aequorea.pipelines.run.steps import StepContext
    from aequorea.pipelines.study.sample import Sample

__all__ = ["TABLE", "CommonThresholds", "doubts"]

TABLE = "common_thresholds"
_FAR = 0.25  # the noise of an image then makes 0.01 or 100 times the false puncta of the others
_COLUMNS = ("role", "sample", "own_threshold", "common_threshold", "over_common", "far", "left_out")


@dataclass(kw_only=True)
class CommonThresholds:
    """The thresholds that the images of a study share; unknown before its first pass.

    Attributes
    ----------
    parameters : ConfocalParameters
        Of all images.
    rejected : collection of str
        Samples that somebody has rejected.
    values : dict of role to float
        In standard deviations of the noise. A kind of puncta is missing where its threshold is
        given, or no image is left to take it from: every image then has its own.
    table : DataFrame
        One row per kind of puncta and image.
    """

    parameters: ConfocalParameters
    rejected: Collection[str] = ()
    values: dict[str, float] = field(default_factory=dict)
    table: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(_COLUMNS)))

    def find(self, images: Sequence[tuple[Sample, Path]]) -> dict[str, float]:
        """Take the median of what each image that counts would have alone.

        Parameters
        ----------
        images : sequence of (Sample, Path)
            Those whose candidates were found, with the directories of their runs.

        Returns
        -------
        dict of role to float
            ``values``.
        """
        parts = [
            self._of_kind(role, images)
            for role in self.parameters.puncta_roles
            if images and self.parameters.puncta_of(role).threshold is None
        ]
        if parts:
            self.table = pd.concat(parts, ignore_index=True)
        return self.values

    def step(self, names: Mapping[str, str]) -> Step:
        """The table as a step of a study; it warns of what is doubtful.

        Parameters
        ----------
        names : mapping of str to str
            What the tables call samples that are known by another name here.
        """
        table = self.table.assign(sample=self.table["sample"].replace(dict(names)))

        def write(context: StepContext) -> None:
            for doubt in doubts(table):
                warnings.warn(doubt, AequoreaWarning, stacklevel=1)
            write_tables(context, **{TABLE: table})

        return Step(
            name=TABLE,
            version=1,
            function=write,
            parameters={"content_sha256": sha256_json(table.to_csv(index=False))},
            outputs=table_outputs(TABLE),
        )

    def _of_kind(self, role: str, images: Sequence[tuple[Sample, Path]]) -> pd.DataFrame:
        options = self.parameters.puncta_of(role)
        own, measured = [], []
        for _, run_dir in images:
            folder = run_dir / "candidates"
            heights = read_heights(folder, role)
            own.append(chosen_threshold([heights], read_facts(folder, role), options).value)
            measured.append(len(heights) >= FEWEST)
        left_out = [self._why_left_out(sample) for sample, _ in images]
        counts = np.array([not why for why in left_out])
        known = counts & np.array(measured) if (counts & np.array(measured)).any() else counts
        common = np.nan
        if counts.any():
            common = self.values[role] = float(np.median(np.array(own)[known]))
        over = np.array(own) / common
        return pd.DataFrame(
            {
                "role": role,
                "sample": [sample.name for sample, _ in images],
                "own_threshold": own,
                "common_threshold": common,
                "over_common": over,
                "far": counts & (np.abs(over - 1) > _FAR),
                "left_out": left_out,
            }
        )

    def _why_left_out(self, sample: Sample) -> str:
        if sample.is_control:
            return "control"
        return "rejected" if sample.name in self.rejected else ""


def doubts(table: pd.DataFrame) -> Iterator[str]:
    """What is doubtful about common thresholds, a sentence each."""
    for role, rows in table.groupby("role", sort=False):
        counting = rows[rows["left_out"] == ""]
        if not len(counting):
            yield (
                f"{role}: no image is left to take a common threshold from (all {len(rows)} are "
                "controls or rejected), so every image has its own: their numbers are not judged "
                "by one yardstick"
            )
        for row in counting[counting["far"]].to_dict("records"):
            off = 100 * (float(row["over_common"]) - 1)
            yield (
                f"{role}: alone, sample {row['sample']!r} would have a threshold of "
                f"{row['own_threshold']:.3g}, {abs(off):.0f} % {'above' if off > 0 else 'below'} "
                f"the common one ({row['common_threshold']:.3g}): look at its noise and background"
            )
