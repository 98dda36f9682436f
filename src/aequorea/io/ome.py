"""The OME-XML header: what it says about pixel sizes, channels and times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import quoteattr

import numpy as np

from aequorea.errors import FileFormatError, InputError
from aequorea.io.units import length_in_um, spacing_or_none, time_in_s

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.model.image import Image


@dataclass(frozen=True)
class OmeImage:
    """One ``Image`` element.

    Attributes
    ----------
    name : str
    spacing_um : mapping of {"z", "y", "x"} to float or None, µm
    channels : tuple of str
        As named, samples of a colour channel written out; empty if none has a name.
    times_s : ndarray, shape (t,), s, or None
        ``DeltaT`` of the first plane of each frame, or multiples of ``TimeIncrement``.
    extra : mapping
        Acquisition date, objective and the like.
    """

    name: str
    spacing_um: Mapping[str, float | None]
    channels: tuple[str, ...]
    times_s: NDArray[np.float64] | None
    extra: Mapping[str, Any] = field(default_factory=dict)


def parse_ome_xml(text: str, path: Path | str) -> list[OmeImage]:
    """The images that an OME-XML document describes, in its order.

    Raises
    ------
    FileFormatError
        If it is not well-formed, or declares entities.

    Examples
    --------
    >>> xml = '<OME><Image><Pixels PhysicalSizeX="65" PhysicalSizeXUnit="nm"/></Image></OME>'
    >>> parse_ome_xml(xml, "cell.ome.tif")[0].spacing_um
    {'z': None, 'y': None, 'x': 0.065}
    """
    if "<!ENTITY" in text or "<!DOCTYPE" in text:
        raise FileFormatError(f"{path}: its OME-XML declares entities; expected plain OME-XML")
    try:
        root = ET.fromstring(text)  # noqa: S314  (entities are refused above)
    except ET.ParseError as error:
        raise FileFormatError(
            f"{path}: its OME-XML is damaged ({error}); export it again"
        ) from None
    return [_image(e) for e in root if _tag(e) == "Image"]


def _image(element: ET.Element) -> OmeImage:
    pixels = next((e for e in element if _tag(e) == "Pixels"), None)
    name = element.get("Name", "")
    if pixels is None:
        return OmeImage(name, {}, (), None)
    date = next((e.text for e in element if _tag(e) == "AcquisitionDate"), None)
    return OmeImage(
        name,
        {a: _spacing(pixels, a) for a in "zyx"},
        _channels([e for e in pixels if _tag(e) == "Channel"]),
        _times(pixels),
        {} if date is None else {"acquired": date},
    )


def _spacing(pixels: ET.Element, axis: str) -> float | None:
    key = f"PhysicalSize{axis.upper()}"
    return spacing_or_none(pixels.get(key), length_in_um(pixels.get(f"{key}Unit", "µm")))


def _channels(elements: Sequence[ET.Element]) -> tuple[str, ...]:
    names: list[str] = []
    any_named = False
    for k, element in enumerate(elements):
        name, samples = element.get("Name"), int(element.get("SamplesPerPixel", 1))
        any_named = any_named or name is not None or samples > 1
        base = f"C{k}" if name is None else name
        if samples == 1:
            names.append(base)
            continue
        colours = {3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}
        parts = colours.get(samples, tuple(str(s) for s in range(samples)))
        names += parts if len(elements) == 1 else [f"{base} {part}" for part in parts]
    return tuple(names) if any_named else ()


def _times(pixels: ET.Element) -> NDArray[np.float64] | None:
    frames = int(pixels.get("SizeT", 1))
    times = np.full(frames, np.nan)
    for plane in (e for e in pixels if _tag(e) == "Plane"):
        delta, frame = plane.get("DeltaT"), int(plane.get("TheT", 0))
        unit = time_in_s(plane.get("DeltaTUnit", "s"))
        if delta is None or unit is None or not 0 <= frame < frames:
            continue
        seconds = float(delta) if unit == 1.0 else float(delta) * unit
        times[frame] = np.fmin(times[frame], seconds)
    if frames and np.isfinite(times).all():
        return times
    step = spacing_or_none(
        pixels.get("TimeIncrement"), time_in_s(pixels.get("TimeIncrementUnit", "s"))
    )
    return None if step is None else np.arange(frames, dtype=np.float64) * step


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


_TYPES = {
    "bool": "bit",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "float32": "float",
    "float64": "double",
}
_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_ROOT = (
    f'<OME xmlns="{_NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    f'xsi:schemaLocation="{_NAMESPACE} {_NAMESPACE}/ome.xsd" Creator="aequorea">'
)


def ome_xml(image: Image) -> str:
    """The OME-XML (2016-06) that describes an image whose planes follow in the order T, C, Z.

    Parameters
    ----------
    image : Image

    Returns
    -------
    str
        Pixel sizes in µm, channel names, ``DeltaT`` in s for each plane; nothing for what the
        image does not know.

    Raises
    ------
    InputError
        If OME has no such pixel type, or a name holds characters that XML cannot.
    """
    kind = _TYPES.get(image.dtype.name)
    if kind is None:
        raise InputError(
            f"OME-TIFF cannot hold {image.dtype} pixels (only {', '.join(_TYPES)}); "
            "convert them, or save as .ome.zarr"
        )
    sizes = {a: image.sizes.get(a, 1) for a in "xyzct"}
    pixels: dict[str, Any] = {"ID": "Pixels:0", "DimensionOrder": "XYZCT", "Type": kind}
    pixels |= {f"Size{a.upper()}": n for a, n in sizes.items()}
    for axis, step in image.spacing_um.items():
        if step is not None:
            pixels[f"PhysicalSize{axis.upper()}"] = repr(float(step))
            pixels[f"PhysicalSize{axis.upper()}Unit"] = "µm"
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        _ROOT,
        f'<Image ID="Image:0" Name={_quoted(_image_name(image))}>',
        f"<Pixels{_attributes(pixels)}>",
        *(
            f'<Channel ID="Channel:0:{k}" Name={_quoted(name)} SamplesPerPixel="1"/>'
            for k, name in enumerate(image.channels)
        ),
        f'<TiffData IFD="0" PlaneCount="{sizes["t"] * sizes["c"] * sizes["z"]}"/>',
        *_plane_lines(image, sizes),
        "</Pixels></Image></OME>",
    ]
    return "\n".join(lines)


def _image_name(image: Image) -> str:
    name = image.scenes[image.scene] if image.scene < len(image.scenes) else ""
    return str(name) or "0"


def _plane_lines(image: Image, sizes: Mapping[str, int]) -> list[str]:
    if image.times_s is None:
        return []
    return [
        f'<Plane TheZ="{z}" TheC="{c}" TheT="{t}" DeltaT="{float(time)!r}" DeltaTUnit="s"/>'
        for t, time in enumerate(image.times_s)
        for c in range(sizes["c"])
        for z in range(sizes["z"])
    ]


def _attributes(values: Mapping[str, Any]) -> str:
    return "".join(f" {key}={_quoted(str(value))}" for key, value in values.items())


def _quoted(text: str) -> str:
    legal = all(
        c in "\t\n\r" or "\x20" <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"
        for c in text
    )
    if not legal:
        raise InputError(f"the name {text!r} holds characters that OME-XML cannot; rename it")
    return quoteattr(text, {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})
