"""Every option of finding the puncta of one channel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from aequorea.errors import CalibrationError, InputError
from aequorea.model.parameters import Parameters, option

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PunctaParameters"]

Method = Literal["log", "dog"]


class PunctaParameters(Parameters):
    """How the puncta of one channel are found."""

    method: Method = "log"
    """Blob filter: log (Laplacian of Gaussian) or dog (difference of Gaussians)."""

    spot_sigma_yx_um: float = option(0.12, unit="µm", gt=0)
    """Standard deviation of a spot within planes; full width at half maximum over 2.355. About
    0.12 for an oil objective of aperture 1.4."""

    spot_sigma_z_um: float = option(0.35, unit="µm", gt=0)
    """The same across planes; of no effect on single planes."""

    threshold: float | None = option(None, unit="noise SD", gt=0)
    """Puncta answer the blob filter with at least this many standard deviations of the noise;
    found from all images of a batch together if not given."""

    false_per_image: float = option(0.5, gt=0)
    """For the automatic threshold: how many puncta noise alone may make in an image."""

    min_snr: float = option(0.0, ge=0)
    """Puncta whose brightest voxel rises above the background by fewer standard deviations of the
    noise are dropped."""

    min_distance_um: float = option(0.0, unit="µm", ge=0)
    """Of two puncta nearer than this the weaker is dropped; 0 keeps every local maximum."""

    background_inner_sigma: float = option(3.0, unit="spot SD", gt=0)
    """The local background is taken from this many standard deviations of a spot around it..."""

    background_outer_sigma: float = option(5.0, unit="spot SD", gt=0)
    """... to this many."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.background_inner_sigma < self.background_outer_sigma:
            raise ValueError("background_inner_sigma must be below background_outer_sigma")
        return self

    def sigma_px(self, spacing_um: Sequence[float]) -> tuple[float, ...]:
        """Standard deviation of a spot in voxels.

        Parameters
        ----------
        spacing_um : sequence of float, µm
            (z, y, x) or (y, x).

        Returns
        -------
        tuple of float

        Raises
        ------
        CalibrationError
            If a distance is missing or not positive.

        Examples
        --------
        >>> PunctaParameters(spot_sigma_yx_um=0.1).sigma_px((0.08, 0.08))
        (1.25, 1.25)
        """
        spacing = _checked_spacing(spacing_um)
        sigma = (self.spot_sigma_z_um, self.spot_sigma_yx_um, self.spot_sigma_yx_um)
        return tuple(s / d for s, d in zip(sigma[-len(spacing) :], spacing, strict=True))

    def min_distance_px(self, spacing_um: Sequence[float]) -> tuple[float, ...]:
        """Smallest distance along each axis, in voxels; see :meth:`sigma_px`."""
        return tuple(self.min_distance_um / d for d in _checked_spacing(spacing_um))


def _checked_spacing(spacing_um: Sequence[float]) -> tuple[float, ...]:
    spacing = tuple(spacing_um)
    if len(spacing) not in (2, 3):
        raise InputError(f"spacing_um: expected (z, y, x) or (y, x), found {spacing}")
    if not all(s is not None and math.isfinite(s) and s > 0 for s in spacing):
        raise CalibrationError(f"spacing_um: expected voxel sizes in µm above 0, found {spacing}")
    return spacing
