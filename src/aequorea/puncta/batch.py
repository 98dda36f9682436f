"""The puncta of all images of a batch, with one threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aequorea.errors import AxisMismatchError, InputError
from aequorea.puncta.detection import Candidates, find_candidates, select
from aequorea.puncta.parameters import PunctaParameters
from aequorea.puncta.threshold import CommonThreshold, common_threshold, noise_maxima

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

__all__ = ["PunctaDetection", "detect_puncta"]


@dataclass(frozen=True, eq=False, kw_only=True)
class PunctaDetection:
    """Puncta of a batch.

    Attributes
    ----------
    puncta : tuple of Candidates
        One per image.
    threshold : float
        In standard deviations of the noise.
    automatic : CommonThreshold or None
        How it was found; None if it was given.
    """

    puncta: tuple[Candidates, ...]
    threshold: float
    automatic: CommonThreshold | None


def detect_puncta(
    images: Iterable[npt.ArrayLike],
    *,
    spacing_um: Sequence[float],
    options: PunctaParameters | None = None,
    masks: Iterable[npt.ArrayLike | None] | None = None,
) -> PunctaDetection:
    """Find the puncta of one or many images.

    Parameters
    ----------
    images : iterable of array_like, shape (y, x) or (z, y, x)
        Looked at one after another; a generator need not hold them all.
    spacing_um : sequence of float, µm
        Distance between pixel centres along each axis, the same in all.
    options : PunctaParameters, optional
    masks : iterable of array_like of bool or None, optional
        One per image: only puncta inside are reported and count for the threshold.

    Returns
    -------
    PunctaDetection

    Raises
    ------
    CalibrationError
        If a distance is missing or not positive.
    InputError, AxisMismatchError
        If there is no image, or one does not fit the spacing or its mask.

    Notes
    -----
    The threshold is that of :func:`common_threshold` if the options give none.

    Examples
    --------
    >>> import numpy as np
    >>> from aequorea.simulate.puncta import render_puncta
    >>> light = np.full((64, 64), 20, np.float32)
    >>> render_puncta(light, [[20, 30], [40, 0]], [900.0, 900.0], [1.2, 1.2])
    >>> image = np.random.default_rng(0).poisson(light)
    >>> options = PunctaParameters(threshold=6.0)
    >>> found = detect_puncta([image], spacing_um=(0.1, 0.1), options=options)
    >>> found.puncta[0].coordinates_px.tolist()
    [[20, 30], [40, 0]]
    """
    chosen = PunctaParameters() if options is None else options
    sigma = chosen.sigma_px(spacing_um)
    regions = None if masks is None else list(masks)
    found: list[Candidates] = []
    for k, image in enumerate(images):
        if regions is not None and k >= len(regions):
            raise AxisMismatchError(f"masks: expected one per image, found {len(regions)}")
        found.append(
            find_candidates(
                image,
                sigma_px=sigma,
                method=chosen.method,
                mask=None if regions is None else regions[k],
                background_inner=chosen.background_inner_sigma,
                background_outer=chosen.background_outer_sigma,
            )
        )
    if not found:
        raise InputError("images: expected at least one, found none")
    if regions is not None and len(regions) != len(found):
        raise AxisMismatchError(
            f"masks: expected one per image ({len(found)}), found {len(regions)}"
        )
    automatic = None
    threshold = chosen.threshold
    if threshold is None:
        automatic = common_threshold(
            [candidates.height for candidates in found],
            noise=noise_maxima(sigma, chosen.method),
            false_per_image=chosen.false_per_image,
        )
        threshold = automatic.value
    puncta = tuple(
        select(
            candidates,
            threshold,
            min_snr=chosen.min_snr,
            min_distance_px=chosen.min_distance_px(spacing_um),
        )
        for candidates in found
    )
    return PunctaDetection(puncta=puncta, threshold=threshold, automatic=automatic)
