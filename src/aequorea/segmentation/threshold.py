"""Objects as the connected pieces above one grey level."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from aequorea.colocalization.thresholds import auto_threshold
from aequorea.errors import AxisMismatchError, InputError
from aequorea.segmentation.parameters import SegmentationParameters
from aequorea.segmentation.result import Response, Segmentation
from aequorea.segmentation.watershed_plan import LEVELS, li_level, noise_sd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from aequorea.segmentation.result import Fact

    BoolArray = npt.NDArray[np.bool_]

__all__ = ["LI", "OTSU", "PERCENTILE", "threshold_segmentation"]

THRESHOLDS = ("otsu", "li", "percentile")
_MOST_COVERED = 0.5
_LEAST_SEPARATION = 2.0  # of threshold and background, in SD of the pixels' noise


def threshold_segmentation(
    image: npt.ArrayLike,
    method: str = "otsu",
    *,
    percentile: float | None = None,
    background_sigma_px: float | None = None,
    min_object_px: int | None = None,
    min_hole_px: int | None = None,
    closing: bool | None = None,
    mask: npt.ArrayLike | None = None,
    threshold: float | None = None,
) -> Segmentation:
    """Label the connected pieces of an image above a threshold.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)
    method : {"otsu", "li", "percentile"}
        How the threshold is found, from the finite values above 0 inside the mask.
    percentile, background_sigma_px, min_object_px, min_hole_px, closing : optional
        As the fields ``threshold_…`` of :class:`SegmentationParameters`, where their defaults
        stand.
    mask : array_like of bool, optional
        The threshold is taken from the pixels inside; objects may reach beyond.
    threshold : float, optional
        This grey level (of the image with its background subtracted) instead.

    Returns
    -------
    Segmentation
        Objects 1 to n in scan order; facts ``threshold``, ``above_fraction`` (of the pixels
        inside the mask), ``background`` (median of the others) and ``noise`` (SD, from differences
        of neighbours). A note says where the threshold lies within twice the noise of the
        background, or objects cover more than half of the image.

    Raises
    ------
    AxisMismatchError
        If the mask has another shape.
    InputError
        If the method is unknown, or the image is not 2D or 3D.

    Notes
    -----
    With a background SD, the image minus its Gaussian-smoothed self, where positive. Pixels
    strictly above the threshold are closed with a ball (disc) of radius 1; pieces, then holes, of
    fewer pixels than stated are removed; pixels that touch at a corner are of one object. Objects
    that touch are not told apart.

    References
    ----------
    .. [1] Otsu (1979), IEEE Trans Syst Man Cybern 9, 62, doi:10.1109/TSMC.1979.4310076
    .. [2] Li & Tam (1998), Pattern Recognit Lett 19, 771, doi:10.1016/S0167-8655(98)00057-9

    Examples
    --------
    >>> image = np.ones((8, 14))
    >>> image[2:6, 2:6] = image[2:6, 9:12] = 9
    >>> found = threshold_segmentation(image, "otsu")
    >>> found.n_objects, 1 <= found.facts["threshold"] < 9
    (2, True)
    """
    if method not in THRESHOLDS:
        raise InputError(f"method: expected one of {', '.join(THRESHOLDS)}, found {method!r}")
    fields: dict[str, Any] = {
        "threshold_percentile": percentile,
        "threshold_background_sigma_px": background_sigma_px,
        "threshold_min_object_px": min_object_px,
        "threshold_min_hole_px": min_hole_px,
        "threshold_closing": closing,
        "threshold_value": threshold,
    }
    options = SegmentationParameters(
        method=method, **{k: v for k, v in fields.items() if v is not None}
    )
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3):
        raise InputError(f"image: expected (y, x) or (z, y, x), found shape {pixels.shape}")
    if pixels.dtype.kind not in "biuf":
        raise InputError(f"image: expected real numbers, found dtype {pixels.dtype}")
    inside = None if mask is None else np.asarray(mask).astype(bool)
    if inside is not None and inside.shape != pixels.shape:
        raise AxisMismatchError(
            f"mask: expected the shape of the image {pixels.shape}, found {inside.shape}"
        )
    backend = _BY_NAME[method]
    response = backend.respond(
        pixels.astype(np.float32), options, spacing_um=None, mask=inside, use_gpu=False
    )
    return backend.label(response, options)


class Threshold:
    """Back-ends ``otsu``, ``li`` and ``percentile``; see :func:`threshold_segmentation`."""

    version = 2
    late = frozenset({"threshold_min_object_px", "threshold_min_hole_px", "threshold_closing"})

    def __init__(self, name: str) -> None:
        self.name = name
        early = {"threshold_background_sigma_px", "threshold_value"}
        self.early = frozenset(
            early | ({"threshold_percentile"} if name == "percentile" else set())
        )

    def respond(
        self,
        image: npt.NDArray[np.float32],
        options: SegmentationParameters,
        *,
        spacing_um: tuple[float, ...] | None,  # noqa: ARG002  (thresholds know no lengths)
        mask: BoolArray | None,
        use_gpu: bool,  # noqa: ARG002  (no network here)
    ) -> Response:
        """The image without its background, and its threshold."""
        filtered = np.array(image, dtype=np.float32)
        sigma = options.threshold_background_sigma_px
        if sigma is not None:
            np.nan_to_num(filtered, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
            filtered -= ndimage.gaussian_filter(filtered, sigma)
            np.maximum(filtered, 0, out=filtered)
        threshold = options.threshold_value
        if threshold is None:
            inside = np.isfinite(filtered) & (filtered > 0)
            if mask is not None:
                inside &= mask
            threshold = _threshold(filtered[inside], self.name, options.threshold_percentile)
        facts: dict[str, Fact] = {"threshold": None}
        if threshold is not None and math.isfinite(threshold):
            facts = {
                "threshold": float(threshold),
                **_two_kinds(filtered if mask is None else filtered[mask], float(threshold)),
                "noise": noise_sd(image) if image.size else 0.0,
            }
        return Response(arrays={"filtered": filtered}, facts=facts)

    def label(self, response: Response, options: SegmentationParameters) -> Segmentation:
        """Connected pieces above the threshold, tidied."""
        filtered, threshold = response.arrays["filtered"], response.facts["threshold"]
        if threshold is None or not filtered.size:
            note = "no threshold: no two different values above 0; no objects"
            empty = np.zeros(filtered.shape, np.int32)
            return Segmentation(labels=empty, facts=response.facts, notes=(note,))
        with np.errstate(invalid="ignore"):
            above = filtered > float(threshold)
        if options.threshold_closing:
            above = _closed(above)
        above = _without_small(above, options.threshold_min_object_px)
        if above.any():
            above = ~_without_small(~above, options.threshold_min_hole_px, corners=False)
        corners = ndimage.generate_binary_structure(above.ndim, above.ndim)
        labels, _ = ndimage.label(above, corners)
        return Segmentation(
            labels=labels.astype(np.int32, copy=False),
            facts=response.facts,
            notes=tuple(_doubts(response.facts, float(above.mean()))),
        )


def _two_kinds(values: npt.NDArray[np.float32], threshold: float) -> dict[str, Fact]:
    """The share of pixels above the threshold, and the level of the others."""
    finite = values[np.isfinite(values)]
    below = finite[finite <= threshold]
    return {
        "above_fraction": 1 - below.size / finite.size if finite.size else None,
        "background": float(np.median(below)) if below.size else None,
    }


def _doubts(facts: Mapping[str, Fact], covered: float) -> Iterator[str]:
    """Whether the threshold tells anything apart; any image has one."""
    threshold, background, noise = (facts.get(k) for k in ("threshold", "background", "noise"))
    above = float(facts.get("above_fraction") or 0.0)
    if threshold is not None and background is not None and noise:
        separation = (float(threshold) - float(background)) / float(noise)
        if separation < _LEAST_SEPARATION:
            yield (
                f"the threshold {float(threshold):.4g} does not separate two kinds of pixels "
                f"({100 * above:.0f} % of the image above it): it lies {separation:.1f} SD of the "
                "noise above the background"
            )
            return
    if max(covered, above) > _MOST_COVERED:
        yield (
            f"the threshold {float(threshold or 0.0):.4g} may not separate two kinds of pixels "
            f"({100 * max(covered, above):.0f} % of the image above it)"
        )


def _threshold(values: npt.NDArray[np.float32], method: str, percentile: float) -> float:
    """NaN if there are no two different values (one is enough for a percentile)."""
    if not values.size:
        return math.nan
    if method == "percentile":
        return float(np.percentile(values, percentile))
    if bool(values.max() < 1 << 24) and bool(np.all(values == np.rint(values))):
        return auto_threshold(values.astype(np.int64), method)
    return _li_of_real(values) if method == "li" else auto_threshold(values, method)


def _li_of_real(values: npt.NDArray[np.float32]) -> float:
    """Li's threshold on a fine histogram, on which the iteration ends soon."""
    low, high = float(values.min()), float(values.max())
    step = (high - low) / LEVELS
    if not step > 0:
        return math.nan
    counts, _ = np.histogram(values, LEVELS, (low, high))
    return low + li_level(counts.astype(np.float64), (np.arange(LEVELS) + 0.5) * step, step / 2)


def _closed(above: BoolArray) -> BoolArray:
    """Closing with a ball or disc of radius 1; the surroundings of the image are no object."""
    cross = ndimage.generate_binary_structure(above.ndim, 1)
    closed: BoolArray = ndimage.binary_closing(np.pad(above, 1), cross)
    return closed[(slice(1, -1),) * above.ndim]


def _without_small(pieces: BoolArray, smallest: int, *, corners: bool = True) -> BoolArray:
    """Pieces of at least so many pixels."""
    if smallest <= 1:
        return pieces
    structure = ndimage.generate_binary_structure(pieces.ndim, pieces.ndim if corners else 1)
    labels, n = ndimage.label(pieces, structure)
    large = np.bincount(labels.ravel(), minlength=n + 1) >= smallest
    large[0] = False
    kept: BoolArray = large[labels]
    return kept


OTSU = Threshold("otsu")
LI = Threshold("li")
PERCENTILE = Threshold("percentile")
_BY_NAME = {"otsu": OTSU, "li": LI, "percentile": PERCENTILE}
