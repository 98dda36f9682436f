"""What segmentation hands on: the response of an image, and the labels made from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

Fact = str | int | float | bool | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Response:
    """What an image gave that is costly to compute and independent of late thresholds.

    A network's flows and probabilities, a smoothed image and its threshold: everything from which
    labels can be rebuilt without looking at the image again. Kept on disk by runs.

    Attributes
    ----------
    arrays : mapping of str to ndarray
        Never of dtype object.
    facts : mapping of str to str, int, float, bool or None
        Such as ``{"threshold": 131.5, "diameter_px": 14.2, "device": "cpu"}``.
    """

    arrays: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Segmentation:
    """Objects of one image.

    Attributes
    ----------
    labels : ndarray of int32
        Shape of the image; 0 is background, objects are 1 to n without gaps.
    facts : mapping
        What the method found on its way: thresholds in grey levels of the (filtered) image it
        was given, object scale in pixels.
    notes : tuple of str
        What a careful user should know, such as why nothing was found.
    """

    labels: NDArray[np.int32]
    facts: Mapping[str, Fact] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def n_objects(self) -> int:
        """Number of objects."""
        return int(self.labels.max(initial=0))
