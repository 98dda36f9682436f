"""One channel from pixels to objects: prefilters, method, postfilters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AxisMismatchError, InputError
from aequorea.filters import apply_prefilters
from aequorea.segmentation.backends import backend
from aequorea.segmentation.parameters import SegmentationParameters
from aequorea.segmentation.postfilters import apply_postfilters
from aequorea.segmentation.result import Segmentation
from aequorea.segmentation.watershed import finite_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["segment"]


def segment(
    image: npt.ArrayLike,
    options: SegmentationParameters | None = None,
    *,
    spacing_um: Sequence[float] | None = None,
    mask: npt.ArrayLike | None = None,
    use_gpu: bool = False,
    **fields: Any,
) -> Segmentation:
    """Find the objects of one channel with any method.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)
        Pixels that are not finite are taken as dark, and a note says so.
    options : SegmentationParameters, optional
        Method, prefilters, postfilters and their options.
    spacing_um : sequence of float, optional
        Distance between pixel centres along each axis; not given is unknown.
    mask : array_like of bool, optional
        Region of interest: automatic thresholds are taken from the pixels inside. Objects may
        reach beyond.
    use_gpu : bool, default False
        For networks.
    **fields
        Fields of :class:`SegmentationParameters`, over those of ``options``.

    Returns
    -------
    Segmentation
        Labels 1 to n. Postfilters see the intensities of the unfiltered image.

    Raises
    ------
    InputError
        If the image or the mask cannot be used, or an option is unknown or out of range.

    Examples
    --------
    >>> from aequorea.simulate import simulated_nuclei
    >>> nuclei = simulated_nuclei((128, 128), n=10, rng=0)
    >>> segment(nuclei.image, method="watershed").n_objects
    10
    """
    given = {} if options is None else options.model_dump(exclude_unset=True)
    chosen = SegmentationParameters(**(given | fields))
    pixels, notes = finite_pixels(image)
    inside = None
    if mask is not None:
        inside = np.asarray(mask).astype(bool)
        if inside.shape != pixels.shape:
            raise AxisMismatchError(
                f"mask: expected the shape of the image {pixels.shape}, found {inside.shape}"
            )
    spacing = None
    if spacing_um is not None:
        spacing = tuple(float(s) for s in spacing_um)
        if len(spacing) != pixels.ndim or not all(np.isfinite(s) and s > 0 for s in spacing):
            raise InputError(
                f"spacing_um: expected {pixels.ndim} positive pixel sizes in µm, found {spacing}"
            )
    method = backend(chosen.method)
    filtered = apply_prefilters(pixels, chosen) if chosen.prefilters else pixels
    response = method.respond(
        filtered.astype(np.float32, copy=False),
        chosen,
        spacing_um=spacing,
        mask=inside,
        use_gpu=use_gpu,
    )
    found = method.label(response, chosen)
    if not chosen.postfilters:
        return Segmentation(labels=found.labels, facts=found.facts, notes=(*notes, *found.notes))
    kept, _ = apply_postfilters(found.labels, pixels, chosen)
    is_kept = np.zeros(found.n_objects + 1, dtype=bool)
    is_kept[np.unique(kept)] = True
    is_kept[0] = False
    labels = np.where(is_kept, np.cumsum(is_kept), 0)[kept]
    return Segmentation(
        labels=labels.astype(np.int32), facts=found.facts, notes=(*notes, *found.notes)
    )
