"""Light that is everywhere, taken off: what an image is where all narrow things are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from aequorea.errors import InputError
from aequorea.filters.binning import mean_of_bins
from aequorea.filters.smooth_fields import local_linear, on_fine_grid, opened

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["local_background"]

_BLOCKS_PER_RADIUS = 8


def local_background(
    image: npt.ArrayLike, *, radius_um: float, spacing_um: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Background of each plane: its grey opening by a disc, smoothed.

    Parameters
    ----------
    image : array_like, shape (z, y, x)
    radius_um : float, µm
        Of the disc. Things wider than twice it count as background, in part or whole.
    spacing_um : sequence of float, µm
        Along z, y, x.

    Returns
    -------
    ndarray of float32, shape (z, y, x)

    Raises
    ------
    InputError
        If the image is no stack, or the radius is below two pixels or wider than the image.

    Notes
    -----
    Opened are the means of blocks of an eighth of the radius, so that noise is not taken for
    valleys; what remains of it makes the background too low, by about a fifth of the SD of a pixel.

    References
    ----------
    .. [1] Sternberg (1983), Biomedical image processing, doi:10.1109/MC.1983.1654163

    Examples
    --------
    >>> image = np.full((2, 64, 64), 10.0)
    >>> image[:, 30:34, 30:34] = 90
    >>> background = local_background(image, radius_um=0.8, spacing_um=(0.3, 0.1, 0.1))
    >>> float(background.max().round(3))
    10.0
    """
    stack = np.asarray(image)
    if stack.ndim != 3 or 0 in stack.shape or stack.dtype.kind not in "buif":
        raise InputError(f"image: expected a stack (z, y, x), found {stack.dtype} {stack.shape}")
    step, size = np.array(spacing_um[1:], dtype=float), np.array(stack.shape[1:])
    if not (radius_um >= 2 * step.max() and radius_um <= (size * step).min()):
        raise InputError(
            f"radius_um {radius_um:g}: expected at least two pixels ({2 * step.max():g} µm) and at "
            f"most the width of the image ({(size * step).min():g} µm)"
        )
    # one number of pixels per block for y and x: the disc is round where pixels are square
    bins = [max(1, int(radius_um / _BLOCKS_PER_RADIUS / s + 1e-9)) for s in step]
    coarse = mean_of_bins(np.ascontiguousarray(stack), (1, *bins))
    radius_px = radius_um / float(np.mean(np.array(bins) * step))
    low = opened(coarse, radius_px)
    smooth = np.stack([local_linear(plane, (radius_px / 2, radius_px / 2)) for plane in low])
    return on_fine_grid(smooth, bins, stack.shape[1:])
