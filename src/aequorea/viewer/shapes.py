"""Shapes drawn by hand, as regions of interest: vertices in, label image out."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from aequorea.errors import AequoreaWarning, AxisMismatchError, CalibrationError, InputError
from aequorea.io.regions import _even_odd as enclosed_pixels

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Vertices = NDArray[np.float64]

__all__ = [
    "ShapesLike",
    "get_roi_label_points",
    "rasterize_shapes_to_labelmask",
    "save_roi_labels_from_shapes",
]

_AREAS = frozenset({"polygon", "rectangle", "ellipse"})
_MOST_ROIS = np.iinfo(np.uint16).max
# Drawing programs keep vertices as float32: at 10,000 pixels that is good to a thousandth.
_VERTEX_DECIMALS = 3


class ShapesLike(Protocol):
    """Anything that holds drawn shapes, such as a napari Shapes layer.

    ``scale`` and ``translate``, or ``data_to_world``, are used where the object has them.
    """

    @property
    def data(self) -> Sequence[Any]:
        """Vertices of each shape, (n, 2) or (n, 3); the last two columns are y and x."""

    @property
    def shape_type(self) -> Any:
        """Kind of each shape, or one kind for all."""


def rasterize_shapes_to_labelmask(
    shapes_layer: ShapesLike,
    image_shape_yx: Sequence[int],
    scale_yx: Sequence[float | None] = (1.0, 1.0),
) -> NDArray[np.uint16]:
    """Drawn shapes as a label image: the k-th shape is label k.

    Parameters
    ----------
    shapes_layer : napari Shapes layer, or an object with ``data`` and ``shape_type``
        Polygons, rectangles and ellipses. Its own transform (``data_to_world``, or ``scale``
        and ``translate``) takes the vertices to the world, where the image lies.
    image_shape_yx : (int, int)
    scale_yx : (float, float), default (1, 1)
        Pixel size of the image in the world, µm. None where it is unknown: then a pixel is 1.

    Returns
    -------
    ndarray of uint16, shape ``image_shape_yx``
        0 outside all shapes. Where shapes overlap the later one wins.

    Raises
    ------
    InputError
        If there is no shape, or one has no area (line, path, point), vertices that are not
        finite, no pixel, or is covered by later ones. The message names it.
    AxisMismatchError
        If a shape lies wholly outside the image.
    CalibrationError
        If ``scale_yx`` is not two positive numbers.

    Warns
    -----
    AequoreaWarning
        Where shapes overlap: which lost how many pixels.

    Notes
    -----
    A pixel belongs to a shape when its centre lies inside; centres are at whole pixel
    coordinates. Outlines that cross themselves follow the even-odd rule. A shape over the edge
    of the image is clipped. Vertices are rounded to 0.001 pixel, so that the same drawing gives
    the same label image whether it is kept in µm or in pixels.

    Examples
    --------
    >>> class Drawn:
    ...     data = [[[0.6, 0.6], [0.6, 1.6], [1.6, 1.6], [1.6, 0.6]]]
    ...     shape_type = "rectangle"
    >>> rasterize_shapes_to_labelmask(Drawn(), (4, 4), scale_yx=(0.5, 0.5))
    array([[0, 0, 0, 0],
           [0, 0, 0, 0],
           [0, 0, 1, 1],
           [0, 0, 1, 1]], dtype=uint16)
    """
    shape = _image_shape(image_shape_yx)
    scale = _pixel_size(scale_yx)
    drawn = list(shapes_layer.data)
    kinds = _kinds(shapes_layer.shape_type, len(drawn))
    if not drawn:
        raise InputError(
            "no region is drawn; draw at least one, or analyse the whole image "
            "(create_full_image_roi_labels)"
        )
    if len(drawn) > _MOST_ROIS:
        raise InputError(f"{len(drawn)} regions are drawn; expected at most {_MOST_ROIS}")
    labels = np.zeros(shape, np.uint16)
    overlaps: list[str] = []
    for number, (vertices, kind) in enumerate(zip(drawn, kinds, strict=True), start=1):
        name = f"ROI {number} ({kind})"
        world = _in_world(shapes_layer, vertices, name)
        pixels = np.round(world / scale, _VERTEX_DECIMALS)
        lost = _paint(labels, number, pixels, kind, name)
        overlaps += [f"ROI {k} lost {n} px to ROI {number}" for k, n in lost.items()]
    missing = np.setdiff1d(np.arange(1, len(drawn) + 1), labels)
    if len(missing):
        raise InputError(f"ROI {missing[0]} is covered by later ones; remove or move one of them")
    if overlaps:
        warnings.warn(
            f"regions overlap and the later one wins: {', '.join(overlaps)}; "
            "move the shapes apart if that is not meant",
            AequoreaWarning,
            stacklevel=2,
        )
    return labels


def save_roi_labels_from_shapes(
    shapes_layer: ShapesLike,
    output_path: str | os.PathLike[str],
    image_shape_yx: Sequence[int],
    scale_yx: Sequence[float | None] = (1.0, 1.0),
) -> NDArray[np.uint16]:
    """Drawn shapes as ROI labels, saved so that a later run can use them again.

    Parameters
    ----------
    shapes_layer, image_shape_yx, scale_yx
        As of :func:`rasterize_shapes_to_labelmask`.
    output_path : path
        A TIFF file; its folder is made if need be, and an earlier file replaced.

    Returns
    -------
    ndarray of uint16, shape (y, x)

    Raises
    ------
    InputError
        If nothing is drawn, or a shape cannot be used; the earlier file stays.
    OutputError
        If the file cannot be written.
    """
    from aequorea.pipelines.cells.compat.regions import save_roi_labels

    labels = rasterize_shapes_to_labelmask(shapes_layer, image_shape_yx, scale_yx)
    save_roi_labels(output_path, labels)
    return labels


def get_roi_label_points(roi_labels_2d: ArrayLike) -> tuple[NDArray[np.float64], list[str]]:
    """Where to write the number of each region, and what to write.

    Parameters
    ----------
    roi_labels_2d : array_like of int, shape (Y, X)

    Returns
    -------
    centroids : ndarray, shape (N, 2), pixels
        y, x; in the order of the labels.
    texts : list of str
        "ROI k".

    Raises
    ------
    AxisMismatchError
        If the labels are not a plane.
    InputError
        If they are not integers >= 0.

    Notes
    -----
    The centroid of a concave region may lie outside it.

    Examples
    --------
    >>> get_roi_label_points([[0, 1, 1], [0, 0, 7]])
    (array([[0. , 1.5],
           [1. , 2. ]]), ['ROI 1', 'ROI 7'])
    """
    labels = np.asarray(roi_labels_2d)
    if labels.ndim != 2:
        raise AxisMismatchError(
            f"ROI labels: expected a plane (Y, X), found shape {labels.shape}; "
            "draw regions on the projection"
        )
    if labels.dtype.kind not in "uib":
        raise InputError(f"ROI labels: expected integers, found dtype {labels.dtype}; convert them")
    y, x = np.nonzero(labels)
    numbers, which = np.unique(labels[y, x], return_inverse=True)
    if len(numbers) and numbers[0] < 0:
        raise InputError(f"ROI labels: expected labels >= 0, found {numbers[0]}; relabel them")
    sizes = np.bincount(which, minlength=len(numbers))
    sums = [np.bincount(which, weights=axis, minlength=len(numbers)) for axis in (y, x)]
    return np.stack(sums, axis=1) / sizes[:, None], [f"ROI {int(k)}" for k in numbers]


def _image_shape(image_shape_yx: Sequence[int]) -> tuple[int, int]:
    sizes = tuple(int(n) for n in image_shape_yx)
    if len(sizes) != 2 or min(sizes) < 1:
        raise AxisMismatchError(
            f"image_shape_yx: expected (height, width) of the plane, found {sizes}; "
            "give the last two sizes of the image"
        )
    return sizes[0], sizes[1]


def _pixel_size(scale_yx: Sequence[float | None]) -> NDArray[np.float64]:
    sizes = list(scale_yx)
    if len(sizes) == 2 and None in sizes:
        return np.ones(2)
    known = np.array(sizes, np.float64)
    if known.shape != (2,) or not np.all(np.isfinite(known) & (known > 0)):
        raise CalibrationError(
            f"scale_yx: expected two positive pixel sizes (y, x), found {scale_yx!r}; "
            "give voxel_scale_zyx[1:]"
        )
    return known


def _kinds(shape_type: Any, count: int) -> list[str]:
    kinds = [shape_type] * count if isinstance(shape_type, str) else list(shape_type)
    if len(kinds) != count:
        raise AxisMismatchError(
            f"shape_type: expected one for each of the {count} shapes, found {len(kinds)}; "
            "give one kind for all or one for each"
        )
    return [str(kind) for kind in kinds]


def _in_world(layer: Any, vertices: ArrayLike, name: str) -> Vertices:
    points = np.asarray(vertices, np.float64)
    if points.ndim != 2 or not len(points) or points.shape[1] < 2:
        raise InputError(
            f"{name}: expected vertices of shape (n, 2), found {points.shape}; draw it again"
        )
    if not np.all(np.isfinite(points)):
        raise InputError(f"{name} has vertices that are not finite; draw it again")
    if callable(getattr(layer, "data_to_world", None)):
        return np.array([layer.data_to_world(point)[-2:] for point in points], np.float64)
    scale = np.asarray(getattr(layer, "scale", 1.0), np.float64)
    translate = np.asarray(getattr(layer, "translate", 0.0), np.float64)
    return np.asarray(points * scale + translate)[:, -2:]


def _paint(
    labels: NDArray[np.uint16], number: int, vertices: Vertices, kind: str, name: str
) -> dict[int, int]:
    """Write one shape over the earlier ones; how many pixels each of them lost."""
    if kind not in _AREAS:
        raise InputError(f"{name} has no area; draw a polygon, rectangle or ellipse instead")
    if np.linalg.matrix_rank(vertices - vertices[0]) < 2:
        raise InputError(f"{name} has no area: its corners lie on one line; draw it again")
    if kind == "ellipse" and len(vertices) != 4:
        raise InputError(
            f"{name}: expected the 4 corners around an ellipse, found {len(vertices)} vertices; "
            "draw it again"
        )
    low, high = _bounds(vertices, kind)
    size = np.array(labels.shape)
    first = np.clip(np.floor(low), 0, size).astype(np.int64)
    last = np.clip(np.ceil(high) + 1, 0, size).astype(np.int64)
    window = (slice(first[0], last[0]), slice(first[1], last[1]))
    if np.any(last <= first):
        raise AxisMismatchError(
            f"{name} lies outside the image of {size[0]} × {size[1]} pixels; "
            "was it drawn on another image, or is scale_yx another one?"
        )
    inside = _inside(vertices - first, kind, labels[window].shape)
    if not inside.any():
        raise InputError(
            f"{name} holds no pixel centre of the image of {size[0]} × {size[1]} pixels; "
            "draw it larger, or remove it"
        )
    lost = np.bincount(labels[window][inside])
    labels[window][inside] = number
    return {int(k): int(lost[k]) for k in np.flatnonzero(lost) if k > 0}


def _bounds(vertices: Vertices, kind: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if kind == "ellipse":
        centre, half = _half_axes(vertices)
        reach = np.sqrt(np.sum(half**2, axis=1))
        return centre - reach, centre + reach
    return vertices.min(axis=0), vertices.max(axis=0)


def _inside(vertices: Vertices, kind: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if kind == "ellipse":
        return _in_ellipse(vertices, (shape[0], shape[1]))
    # that rasteriser has pixel centres at halves, and takes (x, y)
    return enclosed_pixels([vertices[:, ::-1] + 0.5], (shape[0], shape[1]))


def _half_axes(corners: Vertices) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre, and the half axes as columns, of the ellipse in a parallelogram."""
    centre = corners.mean(axis=0)
    half = np.stack([corners[1] - corners[0], corners[-1] - corners[0]], axis=1) / 2
    return centre, half


def _in_ellipse(corners: Vertices, shape: tuple[int, int]) -> NDArray[np.bool_]:
    centre, half = _half_axes(corners)
    y, x = np.ogrid[: shape[0], : shape[1]]
    dy, dx = y - centre[0], x - centre[1]
    (a, b), (c, d) = np.linalg.inv(half)
    # centres on the outline belong to it, whatever the last bit says
    return np.asarray((a * dy + b * dx) ** 2 + (c * dy + d * dx) ** 2 <= 1 + 1e-9)
