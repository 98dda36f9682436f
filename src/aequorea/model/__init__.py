"""What data is: images with axes, calibration, channels and times."""

from aequorea.model.image import Image
from aequorea.model.lazy import ArrayView, LazyArray

__all__ = ["ArrayView", "Image", "LazyArray"]
