"""The page that leads to several reports."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import quote

from aequorea.report.numbers import fixed, number
from aequorea.report.page import render_page, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One measured number beside the truth that is known of it.

    Attributes
    ----------
    quantity : str
    truth, measured : float
    unit : str
        Empty for pure numbers.
    low, high : float
        Limits of the 95 % confidence interval of ``measured``; NaN where there is none.
    """

    quantity: str
    truth: float
    measured: float
    unit: str = ""
    low: float = math.nan
    high: float = math.nan

    @property
    def error(self) -> float:
        """Measured minus truth."""
        return self.measured - self.truth

    @property
    def verdict(self) -> str:
        """The comparison in one line.

        Examples
        --------
        >>> r = Comparison(quantity="effect", truth=0.3, measured=0.25, low=0.2, high=0.4)
        >>> print(r.verdict)
        effect: truth 0.300, found 0.250 (95 % CI 0.200 to 0.400, holds the truth)
        >>> print(Comparison(quantity="cells", truth=50, measured=45).verdict)
        cells: truth 50, found 45 (−10 %)
        """
        text = f"{self.quantity}: truth {self.shown(self.truth)}, found {self.shown(self.measured)}"
        if math.isfinite(self.low) and math.isfinite(self.high):
            holds = "holds" if self.low <= self.truth <= self.high else "does not hold"
            return f"{text} (95 % CI {number(self.low)} to {number(self.high)}, {holds} the truth)"
        if not self.truth:
            return text
        bias = 100 * self.error / abs(self.truth)
        return f"{text} ({'+' if bias > 0 else ''}{fixed(bias, 0)} %)"

    def shown(self, value: float) -> str:
        """A value rounded for reading; counts stay whole."""
        whole = float(self.truth).is_integer() and float(self.measured).is_integer()
        return number(int(value) if whole else value)


@dataclass(frozen=True, kw_only=True)
class IndexEntry:
    """One report to lead to.

    Attributes
    ----------
    title : str
    text : str
        One or two sentences: what was measured, where the image comes from, its licence.
    report : Path
        The page, below the folder of the index.
    thumbnail_png : bytes or None
    comparisons : sequence of Comparison
        For simulated data, whose truth is known.
    columns, rows : sequence of str, sequence of sequence of str
        A further table, if there is one.
    """

    title: str
    text: str
    report: Path
    thumbnail_png: bytes | None = None
    comparisons: Sequence[Comparison] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def write_index(
    out_dir: Path,
    entries: Sequence[IndexEntry],
    *,
    title: str = "aequorea demo",
    lead: str = "Each workflow, run on real images that ship with the package and on simulated "
    "ones whose truth is known.",
) -> Path:
    """Write ``index.html``, which leads to the reports of ``entries``.

    Parameters
    ----------
    out_dir : Path
        An existing folder.
    entries : sequence of IndexEntry
    title, lead : str
        Heading and first sentence.

    Returns
    -------
    Path
        The page. Links are relative, so the folder can be moved and zipped.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    cards = [(entry, _relative_link(entry.report, out_dir)) for entry in entries]
    page = render_page(
        "index.html.j2", title=title, lead=lead, cards=cards, version=version("aequorea")
    )
    return write_atomically(out_dir / "index.html", page)


def _relative_link(target: Path, folder: Path) -> str:
    relative = os.path.relpath(target.absolute(), folder.absolute())
    return quote(relative.replace(os.sep, "/"))
