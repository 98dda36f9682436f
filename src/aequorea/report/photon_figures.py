"""Pictures of photon-limited movies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aequorea.report.canvas import ACCENT, INK, SOFT, add_legend, new_figure, plain_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aequorea.photon.transfer import PhotonTransfer

__all__ = ["photon_transfer_figure"]


def photon_transfer_figure(found: PhotonTransfer, title: str) -> Figure:
    """Variance against mean of pixels of like brightness, with the line whose slope is the gain.

    Parameters
    ----------
    found : PhotonTransfer
    title : str
        The movie.
    """
    figure = new_figure(5.2, 3.8)
    axes = plain_axes(
        figure.subplots(),
        xlabel="mean (counts)",
        ylabel="variance of the noise (counts²)",
        title=title,
    )
    axes.plot(found.means, found.variances, "o", color=ACCENT, ms=3.5, label="pixels of like light")
    ends = np.array([min(found.zero, float(found.means.min())), float(found.means.max())])
    low, high = found.gain_interval
    told = f"{found.gain:.4g} counts per photon (95 % CI {low:.4g} to {high:.4g})"
    axes.plot(ends, found.gain * (ends - found.zero), color=INK, lw=1.3, label=told)
    middle = float(np.average(found.means))
    height = found.gain * (middle - found.zero)
    axes.fill_between(
        ends,
        height + low * (ends - middle),
        height + high * (ends - middle),
        color=SOFT,
        alpha=0.25,
        lw=0,
    )
    axes.axvline(found.zero, color=SOFT, lw=0.9, dashes=(4, 3), label=f"no light: {found.zero:.4g}")
    axes.set_ylim(bottom=0)
    add_legend(axes, loc="upper left")
    return figure
