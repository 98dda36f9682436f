"""Which pixels are compared: regions of interest, and the pairs of intensities inside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aequorea.errors import AxisMismatchError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Pixels: TypeAlias = NDArray[Any]
Labels: TypeAlias = NDArray[np.int64]


class ShapesLike(Protocol):
    """Anything that can draw itself into a label image, such as a napari Shapes layer."""

    def to_labels(self, *, labels_shape: tuple[int, ...]) -> ArrayLike:
        """Label image of the given shape; shape ``i`` becomes label ``i + 1``."""


class LabelsLike(Protocol):
    """Anything with label pixels under ``data``, such as a napari Labels layer."""

    @property
    def data(self) -> Any:
        """The label image."""


def shapes_to_label_mask(shapes_layer: ShapesLike, image_shape: Sequence[int]) -> Labels:
    """Draw the shapes of a layer into a label image.

    Parameters
    ----------
    shapes_layer : object with ``to_labels(labels_shape=...)``
    image_shape : sequence of int
        Shape of the image that is analysed.

    Returns
    -------
    ndarray of int, shape ``image_shape``
        0 outside all shapes; shape ``i`` of the layer is label ``i + 1``.

    Examples
    --------
    >>> import numpy as np
    >>> class Square:
    ...     def to_labels(self, *, labels_shape):
    ...         return np.pad([[1.0]], 1)
    >>> shapes_to_label_mask(Square(), (3, 3)).sum()
    np.int64(1)
    """
    shape = tuple(int(n) for n in image_shape)
    return label_image(shapes_layer.to_labels(labels_shape=shape), shape, whole_floats=True)


def labels_to_label_mask(labels_layer: LabelsLike, image_shape: Sequence[int]) -> Labels:
    """The label image of a layer, after checking that it fits the image.

    Parameters
    ----------
    labels_layer : object with ``data``
    image_shape : sequence of int

    Returns
    -------
    ndarray of int, shape ``image_shape``

    Raises
    ------
    AxisMismatchError
        If the shapes differ (also a ValueError).
    InputError
        If the labels are negative or not whole numbers.
    """
    return label_image(labels_layer.data, tuple(int(n) for n in image_shape), whole_floats=True)


def iter_regions(
    label_mask: ArrayLike | None,
) -> Iterator[tuple[int, NDArray[np.bool_] | None]]:
    """Walk over the regions of a label image.

    Parameters
    ----------
    label_mask : array_like of int, or None
        0 is background. None stands for the whole image.

    Yields
    ------
    label_id : int
        In ascending order; 0 for the whole image.
    mask : ndarray of bool, or None
        True inside the region; None for the whole image.

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.zeros((4, 4), dtype=int)
    >>> mask[:2, :2] = 1
    >>> mask[2:, 2:] = 2
    >>> [(label, int(m.sum())) for label, m in iter_regions(mask)]
    [(1, 4), (2, 4)]
    >>> list(iter_regions(None))
    [(0, None)]
    """
    if label_mask is None:
        yield 0, None
        return
    labels = np.asarray(label_mask)
    for label in np.unique(labels):
        if label != 0:
            yield int(label), labels == label


def label_image(
    label_mask: ArrayLike, shape: tuple[int, ...] | None = None, *, whole_floats: bool = False
) -> NDArray[Any]:
    """A label image, checked: integer, not negative, of the expected shape.

    Parameters
    ----------
    label_mask : array_like
        Booleans are one region with label 1.
    shape : tuple of int, optional
        What the shape must be.
    whole_floats : bool, default False
        Accept floating-point arrays that hold whole numbers only.

    Returns
    -------
    ndarray of an integer type

    Raises
    ------
    AxisMismatchError
        If the shape differs.
    InputError
        If labels are negative or not integers.
    """
    labels = np.asarray(label_mask)
    if shape is not None and labels.shape != shape:
        raise AxisMismatchError(
            f"labels shape {labels.shape} does not match image shape {shape}; "
            "draw or segment the regions on this image"
        )
    if labels.dtype == np.bool_:
        return labels.astype(np.uint8)
    if whole_floats and labels.dtype.kind == "f" and bool(np.all(labels == np.floor(labels))):
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iu":
        raise InputError(
            f"label_mask must hold whole numbers, got {labels.dtype}; "
            "convert it with astype(int) if its values are labels"
        )
    if labels.dtype.kind == "i" and labels.size and int(labels.min()) < 0:
        raise InputError(
            f"labels must be 0 (background) or positive, found {int(labels.min())}; relabel them"
        )
    require_signed(labels)
    return labels.astype(np.int64 if whole_floats else labels.dtype.newbyteorder("="), copy=False)


def require_signed(labels: NDArray[Any]) -> None:
    """Raise InputError if a label does not fit into a signed 64-bit integer."""
    if labels.dtype.kind == "u" and labels.dtype.itemsize == 8 and labels.size:
        largest = int(labels.max())
        if largest > np.iinfo(np.int64).max:
            raise InputError(f"labels must be below 2**63, found {largest}; relabel them")


def channel_pair(a: ArrayLike, b: ArrayLike) -> tuple[Pixels, Pixels]:
    """Two channels as arrays of one type that the kernels know, after checking them.

    uint8, uint16, float32 and float64 stay as they are; other types become the smallest of
    int32, int64, float32 and float64 that holds them.

    Raises
    ------
    AxisMismatchError
        If the shapes differ.
    InputError
        If they are not real numbers.
    """
    x, y = _real(a, "a"), _real(b, "b")
    if x.shape != y.shape:
        raise AxisMismatchError(
            f"shape mismatch: channel a is {x.shape} and channel b is {y.shape}; "
            "crop or resample them to one grid"
        )
    common = x.dtype if x.dtype == y.dtype else np.result_type(x, y)
    return x.astype(common, copy=False), y.astype(common, copy=False)


def paired_pixels(
    a: ArrayLike, b: ArrayLike, mask: ArrayLike | None = None
) -> tuple[Pixels, Pixels]:
    """Intensities of both channels at the pixels of a region, as two flat arrays.

    Parameters
    ----------
    a, b : array_like, same shape
    mask : array_like of bool or int, same shape, optional
        Nonzero inside the region. None takes every pixel.

    Returns
    -------
    x, y : ndarray, shape (n,)
        Of one type; contiguous.

    Raises
    ------
    AxisMismatchError
        If shapes differ.
    InputError
        If pixels inside the region are NaN or infinite, or not real numbers.
    """
    x, y = channel_pair(a, b)
    if mask is None:
        x, y = x.ravel(), y.ravel()
    else:
        inside = region_mask(mask, x.shape)
        x, y = x[inside], y[inside]
    require_finite(x, "a")
    require_finite(y, "b")
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def region_mask(mask: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask as booleans, after checking its type and shape."""
    inside = np.asarray(mask)
    if inside.shape != shape:
        raise AxisMismatchError(f"mask shape {inside.shape} does not match image shape {shape}")
    if inside.dtype.kind not in "biu":
        raise InputError(f"mask must be boolean or integer, got {inside.dtype}")
    return inside if inside.dtype == np.bool_ else inside != 0


def require_finite(values: Pixels, channel: str) -> None:
    """Raise InputError if there are NaN or infinite values, saying how many."""
    if values.dtype.kind != "f":
        return
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise InputError(
            f"channel {channel}: {bad} of {values.size} pixels are NaN or infinite; "
            "mask them out or replace them"
        )


def _real(pixels: ArrayLike, channel: str) -> Pixels:
    values = np.asarray(pixels)
    if values.dtype.kind not in "biuf":
        raise InputError(
            f"channel {channel} must hold real numbers, got {values.dtype}; "
            "choose one grayscale channel"
        )
    return values.astype(kernel_dtype(values.dtype), copy=False)


def kernel_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The pixel type in which kernels take an array of ``dtype``."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f":
        return np.dtype(np.float32 if dtype.itemsize <= 4 else np.float64)
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return np.dtype(f"u{dtype.itemsize}")
    if dtype.itemsize <= 2:
        return np.dtype(np.int32)
    return np.dtype(np.float64 if dtype.itemsize == 8 and dtype.kind == "u" else np.int64)
