"""PNG and JPEG: pictures without calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aequorea.errors import FileFormatError
from aequorea.io.axes import arrange
from aequorea.io.faults import reading, remarks_of
from aequorea.io.registry import scene_index
from aequorea.model.image import Image

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
SAMPLE_NAMES = {
    2: ("gray", "alpha"),
    3: ("red", "green", "blue"),
    4: ("red", "green", "blue", "alpha"),
}


class RasterReader:
    """PNG (up to 16 bits) and JPEG. Colours are channels; density tags are not calibration."""

    name = "PNG/JPEG"
    suffixes = (".png", ".jpg", ".jpeg")

    def sniff(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """Whether the content is PNG or JPEG."""
        return head.startswith((_PNG, _JPEG))

    def open(self, path: Path, scene: int | str, *, axes: str | None = None) -> Image:
        """The picture. It is decoded at once: neither format can be read in parts."""
        pixels, lossy = _decoded(path)
        letters = "yxc"[: pixels.ndim]
        data, found = arrange(pixels, letters, path=path, axes=axes)
        # JPEG with four samples is CMYK
        n_samples = data.shape[found.index("c")] if "c" in found else 1
        return Image(
            data=data,
            axes=found,
            channels=() if lossy and n_samples == 4 else SAMPLE_NAMES.get(n_samples, ()),
            scenes=("0",),
            scene=scene_index(("0",), scene, path),
            metadata={"format": "JPEG" if lossy else "PNG", "lossy": lossy},
            source=str(path),
        )


def _decoded(path: Path) -> tuple[NDArray[np.generic], bool]:
    import imagecodecs

    encoded = path.read_bytes()
    if encoded.startswith(_PNG):
        # libpng logs harmless flaws of colour profiles and text
        with reading(path, "PNG"), remarks_of("imagecodecs"):
            pixels: NDArray[Any] = imagecodecs.png_decode(encoded)
        return pixels, False
    if encoded.startswith(_JPEG):
        with reading(path, "JPEG"):
            _require_end(encoded)
            pixels = imagecodecs.jpeg_decode(encoded)
        return pixels, True
    raise FileFormatError(
        f"{path}: neither PNG nor JPEG, whatever its name says; rename or export it"
    )


def _require_end(jpeg: bytes) -> None:
    # Decoders paint what a truncated file lacks in grey without a word. Inside the entropy-coded
    # scan 0xFF is always stuffed, so an end marker found there is the real one; thumbnails, which
    # have their own, lie in the segments before it.
    at = 2
    while jpeg[at : at + 1] == b"\xff" and jpeg[at + 1 : at + 2] != b"\xda":
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    if jpeg.find(b"\xff\xd9", at) < 0:
        raise EOFError("the end-of-image marker is missing")


READER = RasterReader()
