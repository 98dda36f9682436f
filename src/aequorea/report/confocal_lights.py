"""Traffic lights of a study on its pages: by symbol, word and colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aequorea.report.data_table import Cell, DataTable
from aequorea.report.study import records

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from aequorea.report.study import StudyContents

__all__ = ["ImageLight", "lights_of", "lights_table"]

_STYLES = {"red": "bad", "amber": "note", "green": "ok"}
_RANK = {"red": 0, "amber": 1, "green": 2}
_OVERALL = "overall"


@dataclass(frozen=True, kw_only=True)
class ImageLight:
    """What the lights say of one image.

    Attributes
    ----------
    sample, light, symbol : str
    reasons : sequence of str
        Of what is not green; what a person said, too.
    rows : sequence of mapping
        All criteria.
    """

    sample: str
    light: str
    symbol: str
    reasons: Sequence[str]
    rows: Sequence[dict[str, object]]

    @property
    def word(self) -> str:
        """Symbol and word: never the colour alone."""
        return f"{self.symbol} {self.light}"

    @property
    def style(self) -> str:
        """Class of the page's style sheet."""
        return _STYLES[self.light]

    @property
    def rank(self) -> int:
        """Red first."""
        return _RANK[self.light]


def lights_of(study: StudyContents) -> list[ImageLight]:
    """Lights of all images, red first, else in the order of the study."""
    table: pd.DataFrame = study.run.table("traffic_lights")
    if not len(table):
        return []
    found = []
    for sample, rows in table.groupby("sample", sort=False):
        overall = rows[rows["criterion"] == _OVERALL].iloc[0]
        own = records(rows[rows["criterion"] != _OVERALL])
        worst = sorted(
            (r for r in own if r["light"] in {"red", "amber"}), key=lambda r: _RANK[r["light"]]
        )
        by_hand = [r["reason"] for r in own if r["criterion"] == "looked at by hand"]
        reasons = [*by_hand, *(r["reason"] for r in worst)]
        found.append(
            ImageLight(
                sample=str(sample),
                light=str(overall["light"]),
                symbol=str(overall["symbol"]),
                reasons=list(dict.fromkeys(reasons)),
                rows=own,
            )
        )
    return sorted(found, key=lambda light: light.rank)


def lights_table(lights: Sequence[ImageLight], most: int = 200) -> DataTable | None:
    """One row per image: its light, and why, in words."""
    if not lights:
        return None
    body = [
        [
            Cell(light.word, str(light.rank), light=light.style),
            Cell(light.sample, light.sample),
            Cell("; ".join(light.reasons) or "nothing wrong was found", "", light="words"),
        ]
        for light in lights[:most]
    ]
    return DataTable(
        headings=[("light", "light", False), ("sample", "sample", False), ("why", "reason", False)],
        rows=body,
        notes=[],
        total=len(lights),
        file="tables/traffic_lights.csv",
    )
