"""Putting arrays into a napari viewer: layers that are updated in place, in µm, and read back."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from aequorea.errors import AequoreaError, CalibrationError, InputError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Calibration",
    "LayerSpec",
    "ViewerError",
    "ViewerMissingError",
    "calibration_of",
    "contrast_limits",
    "is_open",
    "labels_of",
    "open_viewer",
    "show_layers",
]

_SAMPLED_PIXELS = 2_000_000
# Of 512² pixels, 0.05 % are 130: a few hot pixels go, a sparse stain stays.
_LOW_PERCENT, _HIGH_PERCENT = 0.5, 99.95
_AXES = ("z", "y", "x")
_REMEDY = "run on a desktop or under xvfb-run, or set open_results and draw_rois to False"


class ViewerError(RunError):
    """A window cannot be opened here: no display, or none that napari can draw on."""


class ViewerMissingError(AequoreaError, ImportError):
    """napari, or the window toolkit under it, is not installed."""


@dataclass(frozen=True)
class Calibration:
    """Where pixels lie in the world; ``units`` says "pixel" for axes of unknown size."""

    scale_zyx: tuple[float, float, float]
    units: tuple[str, str, str]

    @property
    def note(self) -> dict[str, Any]:
        """What the metadata of a layer say about it."""
        known = {a: s for a, s, u in zip(_AXES, self.scale_zyx, self.units, strict=True)
                 if u != "pixel"}  # fmt: skip
        unknown = [axis for axis in _AXES if axis not in known]
        said = "µm" if not unknown else f"pixels along {', '.join(unknown)}: size is not known"
        return {"pixel_size_um": known, "calibration": said}

    def settings(self, ndim: int) -> dict[str, Any]:
        """Scale, units and axis names for a layer of the last ``ndim`` axes."""
        return {
            "scale": self.scale_zyx[-ndim:],
            "units": self.units[-ndim:],
            "axis_labels": _AXES[-ndim:],
        }


@dataclass(frozen=True)
class LayerSpec:
    """A layer to show: what it is called, its array, how it looks."""

    key: str
    name: str
    kind: Literal["image", "labels", "points", "shapes"]
    data: Any
    settings: Mapping[str, Any]
    colour: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    editable: bool = True


def calibration_of(voxel_scale_zyx: Sequence[float | None] | None) -> Calibration:
    """Pixel sizes for display; where they are unknown, pixels.

    Parameters
    ----------
    voxel_scale_zyx : (float or None, float or None, float or None), µm, or None
        Also (y, x).

    Returns
    -------
    Calibration
        A plane whose y or x is unknown is shown in pixels altogether: one known side would
        distort it.

    Raises
    ------
    CalibrationError
        If a size is not a positive number.

    Examples
    --------
    >>> calibration_of((None, 0.3, 0.3))
    Calibration(scale_zyx=(1.0, 0.3, 0.3), units=('pixel', 'um', 'um'))
    >>> calibration_of((2.0, None, None)).units
    ('pixel', 'pixel', 'pixel')
    """
    sizes = [None, None, None] if voxel_scale_zyx is None else list(voxel_scale_zyx)
    if len(sizes) == 2:
        sizes = [None, *sizes]
    known = [s for s in sizes if s is not None]
    if len(sizes) != 3 or not all(np.isfinite(s) and s > 0 for s in known):
        raise CalibrationError(
            f"voxel_scale_zyx: expected positive pixel sizes (z, y, x) in µm or None, "
            f"found {voxel_scale_zyx!r}; correct the pixel size"
        )
    z, y, x = sizes
    if y is None or x is None:
        return Calibration((1.0, 1.0, 1.0), ("pixel", "pixel", "pixel"))
    if z is None:
        return Calibration((1.0, float(y), float(x)), ("pixel", "um", "um"))
    return Calibration((float(z), float(y), float(x)), ("um", "um", "um"))


def contrast_limits(image: ArrayLike) -> tuple[tuple[float, float], tuple[float, float]]:
    """Limits for display, and the range in which they can be moved.

    Parameters
    ----------
    image : array_like
        Any shape; NaN and infinite pixels are left out.

    Returns
    -------
    limits, value_range : (float, float)
        Rising, also for a constant or empty image. Limits are percentiles 0.5 and 99.95 of
        regularly spaced pixels (at most two million), the range is that of the same pixels.

    Examples
    --------
    >>> contrast_limits(np.full((3, 3), 7))
    ((7.0, 8.0), (7.0, 8.0))
    """
    array: Any = image if hasattr(image, "shape") else np.asarray(image)
    while array.size > _SAMPLED_PIXELS:
        axis = int(np.argmax(array.shape))
        array = array[(slice(None),) * axis + (slice(None, None, 2),)]
    pixels = np.asarray(array, np.float64).ravel()
    pixels = pixels[np.isfinite(pixels)]
    if not len(pixels):
        return (0.0, 1.0), (0.0, 1.0)
    low, high = (float(v) for v in np.percentile(pixels, (_LOW_PERCENT, _HIGH_PERCENT)))
    lowest, highest = float(pixels.min()), float(pixels.max())
    if not high > low:  # more than 99 of 100 pixels are equal: all there is to see lies above
        low, high = lowest, highest
    if not high > low:
        high = low + max(1.0, abs(low) * 1e-6)
    return (low, high), (min(low, lowest), max(high, highest))


def is_open(viewer: Any) -> bool:
    """Whether a viewer can still be drawn into; without a window of its own (a model) it can.

    A window that was closed by hand leaves the viewer object and its layers behind.
    """
    window = getattr(viewer, "window", None)
    if window is None:
        return True
    qt_window = getattr(window, "_qt_window", None)
    if qt_window is None:  # closed by Viewer.close()
        return False
    shown = getattr(type(qt_window), "_instances", None)
    if shown is not None and qt_window not in shown:
        return False
    try:
        qt_window.isVisible()
    except RuntimeError:  # Qt has deleted it
        return False
    return True


def open_viewer(viewer: Any = None, *, title: str = "aequorea", show: bool = True) -> Any:
    """The given viewer, or a new one where there is none or its window was closed.

    Raises
    ------
    ViewerMissingError
        If napari or Qt is not installed.
    ViewerError
        If this machine has no display, or its display no OpenGL.
    """
    if viewer is not None and is_open(viewer):
        return viewer
    _require_display()
    try:
        import napari

        made = napari.Viewer(title=title, show=show)
    except ImportError as error:
        raise missing(error) from error
    if not _has_opengl():
        made.close()
        raise ViewerError(f"the display has no OpenGL, with which napari draws; {_REMEDY}")
    _scale_bar(made).visible = True
    return made


def _scale_bar(viewer: Any) -> Any:
    """Where napari keeps it: on the canvas since 0.9."""
    canvas = getattr(viewer, "canvas", None)
    return viewer.scale_bar if canvas is None else canvas.overlays.scale_bar


def missing(error: ImportError) -> ViewerMissingError:
    """The error that tells how to install napari."""
    first_line = str(error).strip().partition("\n")[0]
    return ViewerMissingError(
        f"this needs napari and Qt ({first_line}); pip install 'aequorea[napari]'"
    )


def _require_display() -> None:
    """Qt ends the whole process where there is no display: say so before it does."""
    if not sys.platform.startswith("linux"):
        return
    if not any(os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")):
        raise ViewerError(f"no display to open a window on; {_REMEDY}")


def _has_opengl() -> bool:
    """Whether Qt can make a drawing context; its offscreen platform alone cannot."""
    from qtpy.QtGui import QOpenGLContext

    return bool(QOpenGLContext().create())


def show_layers(viewer: Any, specs: Iterable[LayerSpec], *, replace: bool = True) -> None:
    """Add layers in order, or update those that are there.

    Parameters
    ----------
    viewer : napari viewer or viewer model
    specs : iterable of LayerSpec
    replace : bool, default True
        Layers of the same name get the new array and keep what the user set (visibility,
        opacity, contrast while the image is the same). False adds new layers beside them.

    Raises
    ------
    InputError
        If two layers would have the same name.

    Notes
    -----
    Label arrays are copied: edits in the viewer never change the caller's arrays.
    """
    wanted = list(specs)
    names = [spec.name for spec in wanted]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"two layers would be called {twice[0]!r}; give every channel a display name of its own"
        )
    for spec in wanted:
        present = viewer.layers[spec.name] if replace and spec.name in viewer.layers else None
        if present is None:
            _add(viewer, spec)
        elif _kind(present) != spec.kind or present.ndim != _ndim(spec):
            place = viewer.layers.index(present)
            viewer.layers.remove(present)
            _add(viewer, spec)
            viewer.layers.move(len(viewer.layers) - 1, place)
        else:
            _update(present, spec)


def labels_of(viewer: Any, name: str) -> NDArray[np.integer[Any]]:
    """A copy of the label array of a layer.

    Parameters
    ----------
    viewer : napari viewer or viewer model
        Its window may have been closed by hand in the meantime.
    name : str

    Raises
    ------
    InputError
        If there is no label layer of that name; tells which there are.
    """
    found = {layer.name: layer for layer in viewer.layers if _kind(layer) == "labels"}
    if name not in found:
        there = ", ".join(repr(other) for other in found) or "none"
        raise InputError(
            f"no label layer {name!r} in the viewer; label layers there: {there}; "
            "name the layer to read, before Viewer.close() removes them all"
        )
    array = np.array(found[name].data)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _kind(layer: Any) -> str:
    return type(layer).__name__.lower()


def _ndim(spec: LayerSpec) -> int:
    return int(spec.data.shape[1] if spec.kind == "points" else np.ndim(spec.data))


def _own(spec: LayerSpec) -> Any:
    """The array that the layer may keep."""
    if spec.kind != "labels" or not spec.editable:
        return spec.data
    array = np.asarray(spec.data)
    native = np.uint8 if array.dtype == bool else array.dtype.newbyteorder("=")
    return np.array(array, dtype=native, order="C")


def _add(viewer: Any, spec: LayerSpec) -> Any:
    settings = dict(spec.settings)
    if spec.kind == "image":
        limits, value_range = contrast_limits(spec.data)
        settings |= {"colormap": spec.colour, "contrast_limits": limits, "rgb": False}
    elif spec.kind == "labels" and spec.colour is not None:
        settings["colormap"] = _one_colour(spec.colour)
    contour = settings.pop("contour", None)
    layer = getattr(viewer, f"add_{spec.kind}")(
        _own(spec), name=spec.name, metadata=dict(spec.metadata), **settings
    )
    if spec.kind == "image":
        layer.contrast_limits_range = value_range
    if contour is not None:
        layer.contour = contour
    layer.editable = spec.editable
    return layer


def _one_colour(colour: str) -> Any:
    try:
        from napari.utils import DirectLabelColormap
    except ImportError as error:
        raise missing(error) from error
    return DirectLabelColormap(color_dict={None: colour, 0: "transparent"})


def _update(layer: Any, spec: LayerSpec) -> None:
    for name in ("scale", "units", "translate"):
        if name in spec.settings:
            setattr(layer, name, spec.settings[name])
    layer.metadata = {**layer.metadata, **spec.metadata}
    if spec.kind == "image":
        if layer.data is spec.data:
            return
        layer.data = spec.data
        limits, value_range = contrast_limits(spec.data)
        layer.contrast_limits_range = value_range
        layer.contrast_limits = limits
        return
    layer.data = _own(spec)
    if spec.kind == "points":
        layer.features = spec.settings["features"]
        return
    # undoing a brush stroke of before would write into the new labels: this forgets the strokes
    layer.editable = False
    layer.editable = spec.editable
