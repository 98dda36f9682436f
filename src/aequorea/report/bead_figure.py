"""Where beads are shown in another channel, and what is left after the shift is taken off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aequorea.report.canvas import ACCENT, INK, SOFT, new_figure, plain_axes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["bead_figure"]

_LONGEST = 0.12  # of the field: the largest residual as it is drawn


def bead_figure(
    places_um: Mapping[str, NDArray[np.float64]], residuals_um: Mapping[str, NDArray[np.float64]]
) -> Figure:
    """Residuals of beads within the plane (arrows) and along z (points), for each channel.

    Parameters
    ----------
    places_um, residuals_um : mapping of channel to ndarray, shape (n, 3), µm
    """
    figure = new_figure(9.0, 3.6 * len(places_um))
    panels = figure.subplots(len(places_um), 2, squeeze=False)
    for (name, place), (flat, deep) in zip(places_um.items(), panels, strict=True):
        left = residuals_um[name]
        longest = float(np.hypot(left[:, 1], left[:, 2]).max(initial=1e-9))
        extent = float(np.ptp(place[:, 1:], axis=0).max(initial=1e-9))
        scale = longest / (_LONGEST * max(extent, 1e-9))
        plain_axes(
            flat,
            xlabel="x (µm)",
            ylabel="y (µm)",
            title=f"{name}: longest arrow is {1000 * longest:.0f} nm",
        )
        flat.quiver(
            place[:, 2], place[:, 1], left[:, 2], left[:, 1],
            angles="xy", scale_units="xy", scale=scale, color=ACCENT, width=0.004,
        )  # fmt: skip
        flat.plot(place[:, 2], place[:, 1], "o", color=INK, ms=2)
        flat.margins(0.15)
        flat.set_aspect("equal")
        flat.invert_yaxis()
        plain_axes(deep, xlabel="y (µm)", ylabel="left along z (nm)", title=f"{name}, along z")
        deep.axhline(0, color=SOFT, lw=0.8)
        deep.plot(place[:, 1], 1000 * left[:, 0], "o", color=ACCENT, ms=4)
    return figure
