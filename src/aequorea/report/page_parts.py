"""What pages are made of: numbers in large print, figures with their captions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aequorea.report.canvas import Picture, to_picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

_COARSEST_DPI = 60.0


@dataclass(frozen=True)
class Measure:
    """One number in large print."""

    name: str
    value: str
    beside: Sequence[str]


@dataclass(frozen=True)
class Plate:
    """One figure with its caption."""

    title: str
    caption: str
    picture: Picture


@dataclass
class Plates:
    """Figures of the page, until it is large enough."""

    n_bytes: int = 0
    left_out: list[str] = field(default_factory=list)

    def draw(
        self, figure: Figure, title: str, caption: str, alt: str, *, dpi: float, most: int
    ) -> Plate:
        """Render within so many bytes, more coarsely if need be."""
        picture = to_picture(figure, alt, dpi=dpi)
        while len(picture.png) > most and dpi > _COARSEST_DPI:
            # bytes go about with the square of the resolution, which is what the PNG really has
            real = int.from_bytes(picture.png[16:20], "big") / figure.get_size_inches()[0]
            smaller = 0.97 * math.sqrt(most / len(picture.png))
            dpi = max(_COARSEST_DPI, min(dpi, real) * smaller)
            picture = to_picture(figure, alt, dpi=dpi)
        self.n_bytes += len(picture.png)
        return Plate(title, caption, picture)
