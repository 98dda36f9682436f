"""Images as figures: channels, overlay, thresholds and regions drawn on the pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import patheffects

from aequorea.report.canvas import GREEN, INK, MAGENTA, new_figure, set_title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

CONTRAST_PERCENT = (0.5, 99.7)
_PANEL_PX = 760
_MOST_IDS = 80
_DENSE = 0.1
_GREEN_RGB = np.array([0.0, 1.0, 0.0])
_MAGENTA_RGB = np.array([1.0, 0.0, 1.0])
_YELLOW_RGB = np.array([1.0, 0.85, 0.2])


def stretch(plane: NDArray[Any]) -> NDArray[np.float64]:
    """Intensities to 0…1 between the 0.5th and 99.7th percentile; for looking, not measuring.

    Parameters
    ----------
    plane : ndarray, shape (y, x)
        NaN and infinities are shown black.

    Returns
    -------
    ndarray, shape (y, x)
        All zero where the plane is constant.

    Examples
    --------
    >>> stretch(np.array([[0, 5], [10, 10]])).round(2).tolist()
    [[0.0, 0.5], [1.0, 1.0]]
    """
    values = np.asarray(plane, dtype=np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape)
    low, high = np.percentile(values[finite], CONTRAST_PERCENT)
    if high <= low:
        low, high = float(values[finite].min()), float(values[finite].max())
    if high <= low:
        return np.zeros(values.shape)
    scaled = np.clip((np.where(finite, values, low) - low) / (high - low), 0.0, 1.0)
    return np.asarray(scaled, dtype=np.float64)


def overlay(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Channel A in green, B in magenta: where both are bright is white, for every eye.

    Parameters
    ----------
    a, b : ndarray, shape (y, x), 0…1

    Returns
    -------
    ndarray, shape (y, x, 3), 0…1
    """
    rgb = a[..., None] * _GREEN_RGB + b[..., None] * _MAGENTA_RGB
    return np.asarray(np.clip(rgb, 0.0, 1.0), dtype=np.float64)


def scale_bar_um(width_um: float) -> float:
    """A round length, 1, 2 or 5 times a power of ten, of about a fifth of the width.

    Examples
    --------
    >>> scale_bar_um(56.4), scale_bar_um(0.9)
    (10.0, 0.2)
    """
    target = width_um / 4.0
    power = 10.0 ** math.floor(math.log10(target))
    factor = max(f for f in (1.0, 2.0, 5.0) if f * power <= target * (1 + 1e-9))
    return round(factor * power, 12)


def fit_to_panel(plane: NDArray[Any], *, labels: bool = False) -> NDArray[Any]:
    """A plane at about the size it is printed: block means when large, repeated when small.

    Parameters
    ----------
    plane : ndarray, shape (y, x)
    labels : bool
        Ids and masks are picked, not averaged.
    """
    longest = max(plane.shape)
    if longest > _PANEL_PX:
        step = math.ceil(longest / _PANEL_PX)
        whole = np.pad(plane, [(0, -n % step) for n in plane.shape], mode="edge")
        if labels:
            return whole[step // 2 :: step, step // 2 :: step]
        height, width = (n // step for n in whole.shape)
        blocks = whole.reshape(height, step, width, step)
        return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float64))
    times = max(1, _PANEL_PX // longest)
    return plane.repeat(times, axis=0).repeat(times, axis=1)


def outlines(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """The innermost line of pixels of each label, where it meets another or the background."""
    edge = np.zeros(labels.shape, dtype=bool)
    vertical, horizontal = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edge[1:] |= vertical
    edge[:-1] |= vertical
    edge[:, 1:] |= horizontal
    edge[:, :-1] |= horizontal
    return np.asarray(edge & (labels != 0))


def _drawn(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Outlines at printed size, two pixels wide so that they are seen, unless they are dense."""
    edge = outlines(labels)
    if edge.mean() > _DENSE:
        return edge
    wide = edge.copy()
    wide[1:] |= edge[:-1]
    wide[:, 1:] |= edge[:, :-1]
    return wide


def channels_figure(
    a: NDArray[Any],
    b: NDArray[Any],
    *,
    names: tuple[str, str],
    pixel_um: tuple[float | None, float | None],
    regions: NDArray[Any] | None = None,
) -> Figure:
    """Both channels in grey, their overlay in green and magenta, with regions and a scale bar.

    Parameters
    ----------
    a, b : ndarray, shape (y, x)
    names : tuple of str
    pixel_um : tuple of float or None, µm
        Distance between pixels along y and x; without both there is no scale bar.
    regions : ndarray of int, shape (y, x), optional
        Outlined, and numbered where there are at most 80.
    """
    grey_a, grey_b = stretch(fit_to_panel(a)), stretch(fit_to_panel(b))
    both = overlay(grey_a, grey_b)
    if regions is not None:
        both = paint(both, _drawn(fit_to_panel(regions, labels=True)), _YELLOW_RGB)
    panels = [_grey(grey_a), _grey(grey_b), both]
    titles = [(names[0], GREEN), (names[1], MAGENTA), ("overlay", INK)]
    figure, axes = _panels(panels, titles, a.shape, pixel_um)
    scale_bar(axes[-1], a.shape, pixel_um)
    if regions is not None:
        _write_ids(axes[-1], regions)
    return figure


def thresholds_figure(
    a: NDArray[Any],
    b: NDArray[Any],
    above_a: NDArray[np.bool_],
    above_b: NDArray[np.bool_],
    *,
    names: tuple[str, str],
    pixel_um: tuple[float | None, float | None],
    regions: NDArray[Any] | None = None,
) -> Figure:
    """What lies above each channel's threshold, outlined on the channel, and where both do.

    Parameters
    ----------
    a, b : ndarray, shape (y, x)
    above_a, above_b : ndarray of bool, shape (y, x)
    names, pixel_um, regions
        As in :func:`channels_figure`.
    """
    shown_a, shown_b = (fit_to_panel(m, labels=True).astype(bool) for m in (above_a, above_b))
    grey_a, grey_b = (_grey(0.85 * stretch(fit_to_panel(p))) for p in (a, b))
    inside = (
        np.ones(shown_a.shape, bool) if regions is None else fit_to_panel(regions, labels=True) > 0
    )
    classes = np.where(inside[..., None], 0.16, 0.0) * np.ones(3)
    classes = paint(classes, shown_a & ~shown_b, 0.75 * _GREEN_RGB)
    classes = paint(classes, shown_b & ~shown_a, 0.85 * _MAGENTA_RGB)
    classes = paint(classes, shown_a & shown_b, np.ones(3))
    panels = [
        paint(grey_a, _drawn(shown_a), _GREEN_RGB),
        paint(grey_b, _drawn(shown_b), _MAGENTA_RGB),
        classes,
    ]
    titles = [
        (f"{names[0]} above threshold", GREEN),
        (f"{names[1]} above threshold", MAGENTA),
        ("above both (white)", INK),
    ]
    figure, axes = _panels(panels, titles, a.shape, pixel_um)
    scale_bar(axes[-1], a.shape, pixel_um)
    return figure


def masks_above(
    plane: NDArray[Any],
    thresholds: Mapping[int, float],
    regions: NDArray[Any] | None,
) -> NDArray[np.bool_]:
    """Pixels above the threshold of the region they lie in.

    Parameters
    ----------
    plane : ndarray, shape (y, x)
    thresholds : mapping of int to float
        By region id; NaN where there is none. Without ``regions`` there is one entry.
    regions : ndarray of int, shape (y, x), or None
    """
    if regions is None:
        return np.asarray(plane > next(iter(thresholds.values()), math.nan), dtype=np.bool_)
    present, place = np.unique(regions, return_inverse=True)
    levels = np.array([thresholds.get(int(r), math.nan) if r else math.nan for r in present])
    return np.asarray(plane > levels[place].reshape(plane.shape), dtype=np.bool_)


def paint(
    rgb: NDArray[np.float64], where: NDArray[np.bool_], color: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A copy of ``rgb`` with the pixels of ``where`` in ``color``."""
    return np.where(where[..., None], color, rgb)


def _grey(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.repeat(plane[..., None], 3, axis=-1)


def _panels(
    panels: Sequence[NDArray[np.float64]],
    titles: Sequence[tuple[str, str]],
    shape: tuple[int, ...],
    pixel_um: tuple[float | None, float | None],
) -> tuple[Figure, Sequence[Axes]]:
    """Panels side by side, in the proportions of the specimen."""
    y_um, x_um = pixel_um
    aspect = y_um / x_um if y_um and x_um else 1.0
    ratio = aspect * shape[0] / shape[1]
    width = 10.7
    height = min(5.6, max(1.1, width / len(panels) * ratio)) + 0.35
    figure = new_figure(width, height)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    extent = (-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5)
    for axis, panel, (title, color) in zip(axes, panels, titles, strict=True):
        axis.imshow(panel, extent=extent, aspect=aspect, interpolation="antialiased")
        axis.set_axis_off()
        set_title(axis, title, color=color)
    return figure, axes


def scale_bar(
    axes: Axes, shape: tuple[int, ...], pixel_um: tuple[float | None, float | None]
) -> None:
    """A white bar of a round length in the lower right corner; none without a pixel size."""
    x_um = pixel_um[1]
    if pixel_um[0] is None or x_um is None:
        return
    height, width = shape[0], shape[1]
    length = scale_bar_um(width * x_um)
    right, bottom = 0.955 * width, 0.945 * height
    halo = [patheffects.withStroke(linewidth=3.6, foreground="black")]
    left = right - length / x_um
    ends, level = [left, right], [bottom, bottom]
    axes.plot(ends, level, color="black", lw=4.4, solid_capstyle="butt")
    axes.plot(ends, level, color="white", lw=2.4, solid_capstyle="butt")
    axes.annotate(
        f"{length:g} µm", ((left + right) / 2, bottom), xytext=(0, 4), textcoords="offset points",
        ha="center", va="bottom", color="white", fontsize=9, path_effects=halo,
    )  # fmt: skip


def _write_ids(axes: Axes, regions: NDArray[Any]) -> None:
    ids = [int(i) for i in np.unique(regions) if i != 0]
    if len(ids) > _MOST_IDS:
        return
    halo = [patheffects.withStroke(linewidth=2.2, foreground="black")]
    for region in ids:
        y, x = np.nonzero(regions == region)
        middle = len(y) // 2  # a pixel of the region itself, also where it is concave
        nearest = np.argmin((y - y.mean()) ** 2 + (x - x.mean()) ** 2) if len(y) else middle
        axes.text(
            x[nearest], y[nearest], str(region), color="white", fontsize=8, ha="center",
            va="center", path_effects=halo,
        )  # fmt: skip
