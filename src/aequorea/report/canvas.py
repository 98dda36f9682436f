"""The sheet figures are drawn on: one look, no global state, PNG out."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LegendPlace = Literal["best", "upper right", "upper left", "lower right"]
GREEN, MAGENTA = "#12854a", "#b5127a"
INK, SOFT, LINE, WASH = "#1c2327", "#56636b", "#c9d1d5", "#eef2f3"
ACCENT, WARN = "#0b6e6e", "#b3261e"
DPI = 192
PIXELS_DPI = 144
_COARSEST_DPI = 80.0
_LARGEST_BYTES = 1_000_000
_JPEG_QUALITY, _COARSEST_JPEG_DPI = 82, 48.0
CSS_PX_PER_INCH = 96
_FONT_PT = 9


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty white figure that belongs to no window and no global list."""
    figure = Figure(figsize=(width_in, height_in), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain_axes(axes: Axes, *, xlabel: str, ylabel: str, title: str = "") -> Axes:
    """Axes as a paper prints them: two spines, quiet ticks, names that are never mathematics."""
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(SOFT)
        spine.set_linewidth(0.8)
    axes.tick_params(colors=SOFT, labelcolor=INK, labelsize=_FONT_PT - 0.5, width=0.8, length=3)
    axes.set_xlabel(printable(xlabel), fontsize=_FONT_PT, color=INK, parse_math=False)
    axes.set_ylabel(printable(ylabel), fontsize=_FONT_PT, color=INK, parse_math=False)
    if title:
        set_title(axes, title)
    return axes


def set_title(axes: Axes, title: str, *, color: str = INK) -> None:
    """A title flush left."""
    axes.set_title(
        printable(title), fontsize=_FONT_PT + 0.5, color=color, loc="left", parse_math=False, pad=5
    )


def add_legend(axes: Axes, *, loc: LegendPlace = "best", above: int = 0) -> None:
    """A legend that hides nothing, whose text is never mathematics.

    Parameters
    ----------
    axes : Axes
        Without anything labelled there is no legend.
    loc : str
    above : int
        Put it above the axes, in this many columns, instead.
    """
    if not axes.get_legend_handles_labels()[0]:
        return
    look: dict[str, Any] = {"fontsize": _FONT_PT - 0.5, "handlelength": 1.6, "edgecolor": "none"}
    if above:
        legend = axes.get_figure(root=True).legend(  # type: ignore[union-attr]
            *axes.get_legend_handles_labels(), loc="outside upper left", ncols=above, **look
        )
    else:
        legend = axes.legend(loc=loc, framealpha=0.88, **look)
    for text in legend.get_texts():
        text.set_parse_math(False)
        text.set_color(INK)


@dataclass(frozen=True)
class Picture:
    """A figure as the page embeds it.

    Attributes
    ----------
    png : bytes
    width_px, height_px : int
        Size on the page; the pixels of the PNG are finer.
    alt : str
        What it shows, for those who cannot see it.
    """

    png: bytes
    width_px: int
    height_px: int
    alt: str


def to_picture(figure: Figure, alt: str, *, dpi: float = DPI) -> Picture:
    """Render a figure as PNG, without a date in it; noise, which does not compress, more coarsely.

    Parameters
    ----------
    figure : Figure
    alt : str
    dpi : float
        Pixels per inch, lowered until the picture is small enough to be one of many on a page.
    """
    width, height = figure.get_size_inches()
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")  # or every saving draws twice
    while True:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
        if buffer.tell() <= _LARGEST_BYTES or dpi <= _COARSEST_DPI:
            break
        dpi = max(_COARSEST_DPI, 0.75 * dpi)
    return Picture(
        png=buffer.getvalue(),
        width_px=round(width * CSS_PX_PER_INCH),
        height_px=round(height * CSS_PX_PER_INCH),
        alt=alt,
    )


@dataclass(frozen=True)
class Photograph:
    """A figure that is mostly pixels of a microscope, which JPEG holds in a fifth of the bytes."""

    jpeg: bytes
    width_px: int
    height_px: int
    alt: str


def to_photograph(figure: Figure, alt: str, *, dpi: float, most: int) -> Photograph:
    """Render a figure as JPEG within so many bytes, more coarsely if need be."""
    width, height = figure.get_size_inches()
    while True:
        buffer = io.BytesIO()
        options = {"quality": _JPEG_QUALITY, "optimize": True}
        figure.savefig(buffer, format="jpg", dpi=dpi, pil_kwargs=options)
        if buffer.tell() <= most or dpi <= _COARSEST_JPEG_DPI:
            break
        dpi = max(_COARSEST_JPEG_DPI, 0.85 * dpi)
    return Photograph(
        jpeg=buffer.getvalue(),
        width_px=round(width * CSS_PX_PER_INCH),
        height_px=round(height * CSS_PX_PER_INCH),
        alt=alt,
    )


def printable(text: str, longest: int = 60) -> str:
    r"""Text that the figure font can draw: unknown and control characters become a box.

    Examples
    --------
    >>> printable("GFP\x00 细胞")
    'GFP□ □□'
    """
    shown = "".join(c if ord(c) in _glyphs() else "□" for c in text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


@cache
def _glyphs() -> frozenset[int]:
    font = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return frozenset(FT2Font(str(font)).get_charmap())
