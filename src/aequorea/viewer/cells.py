"""Cells in napari: draw regions, look at masks on images, read edited masks back.

The layers that :func:`show_analysis_results` makes, in drawing order:

====================== ============================ ==========================================
key                    layer name                   what
====================== ============================ ==========================================
cell_image             ``display_names.cell``       magenta
marker_image           ``display_names.marker``     cyan
optional_region_image  ``….optional_region``        red; only where asked for
extra_images           their own names              fourth and further channels
rois                   ROIs                         orange outlines, in the planes analysed
optional_region_labels … threshold labels           pink outlines
positive_cells         ``….positive_cells``         wide green outlines
marker_masks           Cellpose marker masks        white outlines; whatever method made them
cell_masks             Cellpose cell masks          yellow outlines; whatever method made them
roi_numbers            ROI numbers                  "ROI k"
====================== ============================ ==========================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from aequorea.errors import AxisMismatchError, InputError
from aequorea.viewer.layers import (
    Calibration,
    LayerSpec,
    calibration_of,
    labels_of,
    open_viewer,
    show_layers,
)
from aequorea.viewer.shapes import get_roi_label_points

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Labels = NDArray[np.integer[Any]]

__all__ = [
    "LAYER_KEYS",
    "SINGLE_CHANNEL_LAYER_KEYS",
    "create_roi_drawing_viewer",
    "create_single_channel_roi_drawing_viewer",
    "extract_label_masks_from_viewer",
    "extract_labels_from_viewer",
    "extract_single_channel_masks_from_viewer",
    "show_analysis_results",
    "show_optional_region_segmentation",
    "show_single_channel_results",
]

LAYER_KEYS = (
    "cell_image",
    "marker_image",
    "optional_region_image",
    "extra_images",
    "rois",
    "optional_region_labels",
    "positive_cells",
    "marker_masks",
    "cell_masks",
    "roi_numbers",
)
SINGLE_CHANNEL_LAYER_KEYS = ("image", "rois", "object_masks", "roi_numbers")

_DRAWING_LAYER = "Draw ROIs here"
_EXTRA_COLOURS = ("green", "yellow", "blue", "bop orange", "bop purple")
# Outlines, so that nothing hides or tints the stain; positive cells have a wide one.
_OUTLINES = {
    "rois": ("orange", 2),
    "optional_region_labels": ("pink", 1),
    "positive_cells": ("lime", 2),
    "marker_masks": ("white", 1),
    "cell_masks": ("yellow", 1),
    "object_masks": ("yellow", 1),
}
T = TypeVar("T")


class SingleChannelNamesLike(Protocol):
    """What layers call the channel and its objects."""

    channel: str
    objects: str


class NamesLike(Protocol):
    """What layers call the channels."""

    cell: str
    marker: str
    optional_region: str
    positive_cells: str


class LoadedLike(Protocol):
    """A loaded image; ``analysis_z_bounds`` (first, one after the last plane) where it has them."""

    @property
    def source_path(self) -> Any:
        """The file."""

    @property
    def voxel_scale_zyx(self) -> Sequence[float | None] | None:
        """Pixel size, µm; None where it is unknown."""


class SingleChannelImageLike(LoadedLike, Protocol):
    """One channel."""

    @property
    def image(self) -> Any:
        """Pixels, (Z, Y, X)."""


class ImagesLike(LoadedLike, Protocol):
    """Two or three channels; further ones in a mapping ``extra_images`` where it has that."""

    @property
    def cell_image(self) -> Any:
        """Pixels, (Z, Y, X)."""

    @property
    def marker_image(self) -> Any:
        """Pixels, (Z, Y, X)."""

    @property
    def optional_region_image(self) -> Any:
        """Pixels, (Z, Y, X), or None."""


class RunResultLike(Protocol):
    """Masks of a run; ``optional_region_masks`` and ``analysis_z_bounds`` where it has them."""

    @property
    def cell_masks(self) -> Any:
        """Labels, (Z, Y, X)."""

    @property
    def marker_masks(self) -> Any:
        """Labels, (Z, Y, X)."""

    @property
    def positive_cell_masks(self) -> Any:
        """Labels, (Z, Y, X)."""


class SingleChannelRunResultLike(Protocol):
    """Masks of a run on one channel."""

    @property
    def masks(self) -> Any:
        """Labels, (Z, Y, X)."""


class RegionResultLike(Protocol):
    """A thresholded third channel; ``corrected_image`` where it has one."""

    @property
    def labels(self) -> Any:
        """Labels, (Z, Y, X)."""


def create_roi_drawing_viewer(
    loaded_images: ImagesLike,
    display_names: NamesLike | None = None,
    *,
    viewer: Any = None,
    show: bool = True,
) -> tuple[Any, Any]:
    """A window with maximum projections of the channels and a layer to draw regions on.

    Parameters
    ----------
    loaded_images : LoadedImageChannels
    display_names : DisplayNames, optional
    viewer : napari viewer, optional
        To draw in; a new one where it is missing or was closed.
    show : bool, default True
        Whether a new window is shown at once.

    Returns
    -------
    viewer : napari.Viewer
    shapes_layer : napari.layers.Shapes
        "Draw ROIs here", with the polygon tool in hand; its vertices are in pixels, its scale is
        that of the images. Shapes that are already on such a layer stay.

    Raises
    ------
    ViewerMissingError
        If napari is not installed.
    ViewerError
        If there is no display.

    Examples
    --------
    >>> viewer, shapes = create_roi_drawing_viewer(loaded)  # doctest: +SKIP
    >>> napari.run()  # doctest: +SKIP
    >>> roi_labels = rasterize_shapes_to_labelmask(
    ...     shapes, loaded.cell_image.shape[1:], loaded.voxel_scale_zyx[1:]
    ... )  # doctest: +SKIP
    """
    names = display_names or _default_names()
    specs = _channels(loaded_images, names, third=True)
    return _drawing_viewer(loaded_images, specs, viewer, show=show)


def create_single_channel_roi_drawing_viewer(
    loaded_image: SingleChannelImageLike,
    display_names: SingleChannelNamesLike | None = None,
    *,
    viewer: Any = None,
    show: bool = True,
) -> tuple[Any, Any]:
    """A window with the maximum projection of a channel and a layer to draw regions on.

    Parameters, returns and errors as :func:`create_roi_drawing_viewer`, of one channel.

    Examples
    --------
    >>> viewer, shapes = create_single_channel_roi_drawing_viewer(loaded)  # doctest: +SKIP
    """
    names = display_names or _default_single_channel_names()
    specs = [_single_channel(loaded_image, names)]
    return _drawing_viewer(loaded_image, specs, viewer, show=show)


def show_analysis_results(
    loaded_images: ImagesLike,
    roi_labels_2d: ArrayLike,
    run_result: RunResultLike,
    display_names: NamesLike | None = None,
    optional_region_result: RegionResultLike | None = None,
    viewer: Any = None,
    layers_to_show: Iterable[str] | None = None,
    replace_existing_layers: bool = True,
    show_optional_region_image: bool = False,
    *,
    show: bool = True,
) -> Any:
    """Masks of a run over the images they were found in.

    Parameters
    ----------
    loaded_images : LoadedImageChannels
        Where the run was made on a projection, its masks are shown over maximum projections.
    roi_labels_2d : array_like of int, shape (Y, X)
    run_result : ColocalizationRunResult
    display_names : DisplayNames, optional
    optional_region_result : OptionalRegionSegmentationResult, optional
        Shown instead of the third channel's masks in ``run_result``.
    viewer : napari viewer, optional
        To show in; a new one where it is missing or its window was closed.
    layers_to_show : iterable of str, optional
        Keys of the table above; all by default. Those that the run does not have are left out.
    replace_existing_layers : bool, default True
        Update layers of the same name. False adds new ones beside them ("… [1]").
    show_optional_region_image : bool, default False
        Show the third channel's pixels too.
    show : bool, default True
        Whether a new window is shown at once.

    Returns
    -------
    napari.Viewer

    Raises
    ------
    AxisMismatchError
        If images, masks and regions are not of one shape.
    InputError
        If masks are not integers, a key is unknown, or two layers would have one name.
    ViewerMissingError, ViewerError
        If napari is not installed, or there is no display.

    Notes
    -----
    Label layers hold copies: nothing drawn in the viewer changes ``run_result``.
    Masks are outlined in one colour; napari's "color mode: auto" shows each label in its own.

    Examples
    --------
    >>> viewer = show_analysis_results(loaded, roi_labels, run_result)  # doctest: +SKIP
    """
    names = display_names or _default_names()
    wanted = _wanted(layers_to_show, LAYER_KEYS)
    third = show_optional_region_image or (
        layers_to_show is not None and "optional_region_image" in wanted
    )
    pixels = _channels(loaded_images, names, third=third)
    depth = len(_stack(run_result.cell_masks, "cell_masks"))
    images = [_of_depth(spec, depth) for spec in pixels]
    shape, calibration = _grid(images), _calibration(loaded_images)
    masks = [
        ("marker_masks", "Cellpose marker masks", run_result.marker_masks),
        ("cell_masks", "Cellpose cell masks", run_result.cell_masks),
    ]
    masks.insert(0, ("positive_cells", names.positive_cells, run_result.positive_cell_masks))
    region = getattr(run_result, "optional_region_masks", None)
    if optional_region_result is not None:
        region = optional_region_result.labels
    if region is not None:
        masks.insert(0, ("optional_region_labels", _region_name(names), region))
    bounds = _z_bounds(shape[0], run_result, loaded_images)
    outlines, numbers = _regions(roi_labels_2d, shape, bounds, calibration)
    labels = [_masks(*mask, shape, calibration) for mask in masks]
    return _shown(
        [spec for spec in (*images, outlines, *labels, numbers) if spec.key in wanted],
        viewer,
        _title(loaded_images, "cells"),
        active="Cellpose cell masks",
        middle=(bounds[0] + bounds[1] - 1) // 2,
        replace=replace_existing_layers,
        show=show,
    )


def show_optional_region_segmentation(
    loaded_images: ImagesLike,
    region_result: RegionResultLike,
    roi_labels_2d: ArrayLike | None = None,
    display_names: NamesLike | None = None,
    viewer: Any = None,
    *,
    show: bool = True,
) -> Any:
    """The third channel and the regions that a threshold found in it.

    Parameters
    ----------
    loaded_images : LoadedImageChannels
        With ``optional_region_image``.
    region_result : OptionalRegionSegmentationResult
    roi_labels_2d : array_like of int, shape (Y, X), optional
    display_names : DisplayNames, optional
    viewer : napari viewer, optional
    show : bool, default True

    Returns
    -------
    napari.Viewer
        The channel red, the corrected image yellow where there is one, labels as outlines.

    Raises
    ------
    InputError
        If the image has no third channel.
    AxisMismatchError, ViewerMissingError, ViewerError
        As :func:`show_analysis_results`.

    Examples
    --------
    >>> viewer = show_optional_region_segmentation(loaded, region)  # doctest: +SKIP
    """
    names = display_names or _default_names()
    if loaded_images.optional_region_image is None:
        raise InputError(
            "no third channel is loaded; set optional_region_channel when loading the image"
        )
    calibration = _calibration(loaded_images)
    third = ("optional_region_image", names.optional_region, "red")
    images = [_image(*third, loaded_images.optional_region_image, calibration)]
    images = [_of_depth(spec, len(_stack(region_result.labels, "labels"))) for spec in images]
    corrected = getattr(region_result, "corrected_image", None)
    if corrected is not None:
        name = f"{names.optional_region} corrected"
        images.append(_image("corrected_image", name, "yellow", corrected, calibration))
    shape = _grid(images)
    name = _region_name(names)
    specs = [
        *images,
        _masks("optional_region_labels", name, region_result.labels, shape, calibration),
    ]
    bounds = _z_bounds(shape[0], loaded_images)
    if roi_labels_2d is not None:
        specs += _regions(roi_labels_2d, shape, bounds, calibration)
    return _shown(
        specs,
        viewer,
        _title(loaded_images, names.optional_region),
        active=name,
        middle=(bounds[0] + bounds[1] - 1) // 2,
        show=show,
    )


def show_single_channel_results(
    loaded_image: SingleChannelImageLike,
    roi_labels_2d: ArrayLike,
    run_result: SingleChannelRunResultLike,
    display_names: SingleChannelNamesLike | None = None,
    viewer: Any = None,
    layers_to_show: Iterable[str] | None = None,
    replace_existing_layers: bool = True,
    *,
    show: bool = True,
) -> Any:
    """Objects of one channel over its image.

    Parameters
    ----------
    loaded_image : LoadedSingleChannelImage
    roi_labels_2d : array_like of int, shape (Y, X)
    run_result : SingleChannelRunResult
    display_names : SingleChannelDisplayNames, optional
        The label layer is called ``display_names.objects``.
    viewer, layers_to_show, replace_existing_layers, show
        As :func:`show_analysis_results`; keys are image, rois, object_masks, roi_numbers.

    Returns
    -------
    napari.Viewer

    Raises
    ------
    AxisMismatchError, InputError, ViewerMissingError, ViewerError
        As :func:`show_analysis_results`.

    Examples
    --------
    >>> viewer = show_single_channel_results(loaded, roi_labels, run_result)  # doctest: +SKIP
    """
    names = display_names or _default_single_channel_names()
    wanted = _wanted(layers_to_show, SINGLE_CHANNEL_LAYER_KEYS)
    depth = len(_stack(run_result.masks, "masks"))
    image = _of_depth(_single_channel(loaded_image, names), depth)
    shape, calibration = _grid([image]), _calibration(loaded_image)
    bounds = _z_bounds(shape[0], run_result, loaded_image)
    outlines, numbers = _regions(roi_labels_2d, shape, bounds, calibration)
    objects = _masks("object_masks", names.objects, run_result.masks, shape, calibration)
    return _shown(
        [spec for spec in (image, outlines, objects, numbers) if spec.key in wanted],
        viewer,
        _title(loaded_image, "objects"),
        active=names.objects,
        middle=(bounds[0] + bounds[1] - 1) // 2,
        replace=replace_existing_layers,
        show=show,
    )


def extract_label_masks_from_viewer(
    viewer: Any,
    cell_layer_name: str = "Cellpose cell masks",
    marker_layer_name: str = "Cellpose marker masks",
) -> tuple[Labels, Labels]:
    """The cell and the marker masks as they were edited in the viewer.

    Parameters
    ----------
    viewer : napari viewer
        Its window may have been closed by hand; ``viewer.close()`` removes the layers.
    cell_layer_name, marker_layer_name : str

    Returns
    -------
    cell_masks, marker_masks : ndarray of int, shape (Z, Y, X)
        Copies.

    Raises
    ------
    InputError
        If there is no such label layer; tells which there are.

    Examples
    --------
    >>> cell_masks, marker_masks = extract_label_masks_from_viewer(viewer)  # doctest: +SKIP
    """
    return labels_of(viewer, cell_layer_name), labels_of(viewer, marker_layer_name)


def extract_labels_from_viewer(viewer: Any, names: Sequence[str]) -> tuple[Labels, ...]:
    """The label arrays of any layers, in the order of their names.

    Errors and copies as in :func:`extract_label_masks_from_viewer`.

    Examples
    --------
    >>> (region,) = extract_labels_from_viewer(viewer, ["GFAP threshold labels"])  # doctest: +SKIP
    """
    if isinstance(names, str):
        raise InputError(f"names: expected a list of layer names, found {names!r}; put it in []")
    return tuple(labels_of(viewer, name) for name in names)


def extract_single_channel_masks_from_viewer(
    viewer: Any, object_layer_name: str = "Segmented objects"
) -> Labels:
    """The objects of a single channel as they were edited in the viewer.

    Errors and copies as in :func:`extract_label_masks_from_viewer`.

    Examples
    --------
    >>> masks = extract_single_channel_masks_from_viewer(viewer)  # doctest: +SKIP
    """
    return labels_of(viewer, object_layer_name)


def _default_names() -> NamesLike:
    from aequorea.pipelines.cells.compat.configs import DisplayNames

    return DisplayNames()


def _default_single_channel_names() -> SingleChannelNamesLike:
    from aequorea.pipelines.cells.compat.configs import SingleChannelDisplayNames

    return SingleChannelDisplayNames()


def _region_name(names: NamesLike) -> str:
    return f"{names.optional_region} threshold labels"


def _title(loaded: LoadedLike, what: str) -> str:
    return f"{getattr(loaded.source_path, 'name', loaded.source_path)} – {what}"


def _calibration(loaded: LoadedLike) -> Calibration:
    return calibration_of(loaded.voxel_scale_zyx)


def _wanted(layers_to_show: Iterable[str] | None, keys: tuple[str, ...]) -> set[str]:
    if layers_to_show is None:
        return set(keys)
    wanted = {layers_to_show} if isinstance(layers_to_show, str) else set(layers_to_show)
    unknown = sorted(map(str, wanted - set(keys)))
    if unknown:
        raise InputError(
            f"layers_to_show: {unknown[0]!r} is not a layer; expected some of {', '.join(keys)}"
        )
    return wanted


def _stack(array: Any, name: str) -> Any:
    """An array as (Z, Y, X), not copied; it may be lazy."""
    pixels = array if hasattr(array, "ndim") else np.asarray(array)
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise AxisMismatchError(
            f"{name}: expected pixels (Z, Y, X), found shape {tuple(pixels.shape)}; "
            "a 2D image has Z = 1"
        )
    return pixels


def _image(key: str, name: str, colour: str, array: Any, calibration: Calibration) -> LayerSpec:
    settings = {"blending": "additive", **calibration.settings(3)}
    return LayerSpec(
        key, name, "image", _stack(array, name), settings, colour, {"key": key, **calibration.note}
    )


def _single_channel(loaded: SingleChannelImageLike, names: SingleChannelNamesLike) -> LayerSpec:
    return _image("image", names.channel, "gray", loaded.image, _calibration(loaded))


def _channels(loaded: ImagesLike, names: NamesLike, *, third: bool) -> list[LayerSpec]:
    channels = [
        ("cell_image", names.cell, "magenta", loaded.cell_image),
        ("marker_image", names.marker, "cyan", loaded.marker_image),
    ]
    if third and loaded.optional_region_image is not None:
        region = (names.optional_region, "red", loaded.optional_region_image)
        channels.append(("optional_region_image", *region))
    for k, (name, image) in enumerate((getattr(loaded, "extra_images", None) or {}).items()):
        colour = _EXTRA_COLOURS[k % len(_EXTRA_COLOURS)]
        channels.append(("extra_images", str(name), colour, image))
    return [_image(*channel, _calibration(loaded)) for channel in channels]


def _grid(images: Sequence[LayerSpec]) -> tuple[int, int, int]:
    """The one shape of all images."""
    first = images[0]
    for spec in images[1:]:
        if spec.data.shape != first.data.shape:
            raise AxisMismatchError(
                f"{spec.name}: shape {spec.data.shape} differs from {first.data.shape} of "
                f"{first.name}; channels must be of one image"
            )
    z, y, x = first.data.shape
    return int(z), int(y), int(x)


def _max_projection(stack: Any) -> NDArray[Any]:
    """Maximum along z of (Z, Y, X), plane by plane; NaN only where all planes are NaN."""
    highest = np.array(stack[0])
    for plane in range(1, len(stack)):
        np.fmax(highest, np.asarray(stack[plane]), out=highest)
    return highest


def _of_depth(image: LayerSpec, depth: int) -> LayerSpec:
    """An image as it is, or its projection where the masks are those of a projection."""
    if depth != 1 or len(image.data) == 1:
        return image
    metadata = {**image.metadata, "shown": "maximum projection along z"}
    return LayerSpec(
        image.key,
        image.name,
        image.kind,
        _max_projection(image.data)[None],
        image.settings,
        image.colour,
        metadata,
    )


def _drawing_viewer(
    loaded: LoadedLike, images: Sequence[LayerSpec], viewer: Any, *, show: bool
) -> tuple[Any, Any]:
    _, height, width = _grid(images)
    calibration = _calibration(loaded)
    plane = {"blending": "additive", **calibration.settings(2)}
    specs = [
        LayerSpec(
            spec.key,
            f"{spec.name} max projection for ROI drawing",
            "image",
            _max_projection(spec.data),
            plane,
            spec.colour,
            spec.metadata,
        )
        for spec in images
    ]
    shown = open_viewer(viewer, title=_title(loaded, "draw regions"), show=show)
    show_layers(shown, specs)
    if _DRAWING_LAYER in shown.layers:
        shapes = shown.layers[_DRAWING_LAYER]
    else:
        shapes = shown.add_shapes(
            name=_DRAWING_LAYER,
            ndim=2,
            edge_color="yellow",
            face_color=[1.0, 1.0, 0.0, 0.06],
            edge_width=max(1.0, max(height, width) / 300),
            opacity=1.0,
            metadata={"key": "drawing", **calibration.note},
            **calibration.settings(2),
        )
    shown.dims.ndisplay = 2
    shown.layers.selection.active = shapes
    shapes.mode = "add_polygon"
    return shown, shapes


def _z_bounds(depth: int, *sources: Any) -> tuple[int, int]:
    """Planes that were analysed: of the first source that says so; all in a projection."""
    given = (getattr(source, "analysis_z_bounds", None) for source in sources)
    bounds = next((b for b in given if b is not None), None)
    if bounds is None or depth == 1:
        return 0, depth
    first, last = bounds
    start, stop = max(0, first or 0), min(depth, depth if last is None else last)
    if start >= stop:
        raise InputError(
            f"analysis_z_bounds: expected planes of a stack of {depth}, found {tuple(bounds)}; "
            "give (first, one after the last)"
        )
    return start, stop


def _integers(array: Any, name: str) -> Any:
    if array.dtype.kind not in "uib":
        raise InputError(
            f"{name}: expected integer labels, found dtype {array.dtype}; convert them to integers"
        )
    return array


def _label_settings(key: str, shape: Sequence[int], calibration: Calibration) -> dict[str, Any]:
    _, width = _OUTLINES[key]
    # one pixel of a large plane is less than one of the screen
    zoom = 1 if max(shape[-2:]) <= 768 else 2
    return {
        "opacity": 0.9,
        "blending": "translucent",
        "contour": width * zoom,
        **calibration.settings(3),
    }


def _masks(
    key: str, name: str, array: Any, shape: tuple[int, int, int], calibration: Calibration
) -> LayerSpec:
    labels = _integers(_stack(array, name), name)
    if labels.shape != shape:
        raise AxisMismatchError(
            f"{name}: shape {labels.shape} differs from {shape} of the images; show the masks "
            "with the images they were found in (prepare_loaded_images_for_analysis)"
        )
    return LayerSpec(
        key,
        name,
        "labels",
        labels,
        _label_settings(key, shape, calibration),
        _OUTLINES[key][0],
        {"key": key, **calibration.note},
    )


def _regions(
    roi_labels_2d: ArrayLike,
    shape: tuple[int, int, int],
    bounds: tuple[int, int],
    calibration: Calibration,
) -> tuple[LayerSpec, LayerSpec]:
    """Outlines of the regions in the planes that were analysed, and their numbers."""
    plane = _integers(np.asarray(roi_labels_2d), "roi_labels_2d")
    if plane.shape != shape[1:]:
        raise AxisMismatchError(
            f"roi_labels_2d: shape {plane.shape} differs from {shape[1:]} of the images; "
            "draw the regions on this image"
        )
    centroids, texts = get_roi_label_points(plane)
    start, stop = bounds
    note = {**calibration.note, "z_bounds": bounds}
    # one plane in memory, however deep the stack
    outlines = LayerSpec(
        "rois",
        "ROIs",
        "labels",
        np.broadcast_to(plane.astype(np.int32), (stop - start, *plane.shape)),
        {
            **_label_settings("rois", shape, calibration),
            "translate": (start * calibration.scale_zyx[0], 0.0, 0.0),
        },
        _OUTLINES["rois"][0],
        {"key": "rois", **note},
        editable=False,
    )
    planes = np.repeat(np.arange(start, stop, dtype=np.float64), len(texts))
    points = np.column_stack([planes, np.tile(centroids, (stop - start, 1))])
    numbers = LayerSpec(
        "roi_numbers",
        "ROI numbers",
        "points",
        points,
        {
            "features": {"label": np.array(texts * (stop - start), dtype=object)},
            "text": {"string": "{label}", "size": 14, "color": "orange", "anchor": "center"},
            "size": 1,
            "face_color": "transparent",
            "border_color": "transparent",
            **calibration.settings(3),
        },
        metadata={"key": "roi_numbers", **note},
        editable=False,
    )
    return outlines, numbers


def _shown(
    specs: Sequence[LayerSpec],
    viewer: Any,
    title: str,
    *,
    active: str,
    middle: int,
    replace: bool = True,
    show: bool,
) -> Any:
    shown = open_viewer(viewer, title=title, show=show)
    is_new = not shown.layers
    show_layers(shown, specs, replace=replace)
    if active in shown.layers:
        shown.layers.selection.active = shown.layers[active]
    if is_new and shown.dims.ndim == 3:
        shown.dims.set_current_step(0, middle)
    return shown
