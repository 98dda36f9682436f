"""Counting objects without counting some twice or favouring the large ones."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.measure.label_index import LabelIndex

__all__ = ["abercrombie", "in_counting_frame", "in_disector", "mean_height_um"]

BoolArray = npt.NDArray[np.bool_]
Exclusion = Literal["bottom-left", "bottom-right", "top-left", "top-right"]
Frame = tuple[tuple[int, int], tuple[int, int]]

_EXCLUSIONS = ("bottom-left", "bottom-right", "top-left", "top-right")


def in_counting_frame(
    labels: npt.ArrayLike,
    frame: Frame | None = None,
    *,
    guard_px: int | tuple[int, int] | None = None,
    exclusion: Exclusion = "bottom-left",
) -> BoolArray:
    """Which objects an unbiased counting frame counts.

    Parameters
    ----------
    labels : array_like of int, shape (y, x) or (z, y, x)
        0 is background; in a stack the frame holds for all planes.
    frame : ((y first, y end), (x first, x end)), px, optional
        First pixel and the one after the last, within the image; y grows downwards. What lies
        beyond the image is taken to be empty.
    guard_px : int or (int, int), optional
        Instead of a frame: the image without a margin this wide, along y and x. Without a margin
        the edges of the image itself are the forbidden line, since an object that touches them
        may go on beyond.
    exclusion : {"bottom-left", "bottom-right", "top-left", "top-right"}
        The two edges whose objects are not counted.

    Returns
    -------
    ndarray of bool, shape (n,)
        In the order of the labels.

    Raises
    ------
    InputError
        If the frame is empty or reaches beyond the image, or both frame and guard are given, or
        neither is.

    Notes
    -----
    Counted are objects with a pixel in the frame, unless they touch the forbidden line [1]_: the
    two exclusion edges, the side edge continued beyond the frame, and the opposite side edge
    continued the other way. Frames that tile a plane so count each object in exactly one of them,
    of whatever size and shape.

    This is without bias only if no object reaches from the frame beyond the image: leave a guard
    as wide as the largest object.

    References
    ----------
    .. [1] Gundersen (1977), Notes on the estimation of the numerical density of arbitrary
       profiles: the edge effect. doi:10.1111/j.1365-2818.1977.tb00062.x

    Examples
    --------
    >>> labels = [[0, 0, 0, 0], [1, 1, 2, 2], [0, 0, 0, 0]]
    >>> in_counting_frame(labels, ((0, 3), (1, 3)))
    array([False,  True])
    >>> in_counting_frame(labels, guard_px=0)
    array([False,  True])
    """
    objects = LabelIndex.of(labels)
    rows, columns = objects.index.shape[1:]
    (y0, y1), (x0, x1) = _frame(frame, guard_px, (rows, columns))
    if exclusion not in _EXCLUSIONS:
        raise InputError(
            f"exclusion: expected one of {', '.join(_EXCLUSIONS)}, found {exclusion!r}; "
            "choose two edges that meet"
        )
    index = objects.index
    if exclusion.startswith("top"):
        index, y0, y1 = index[:, ::-1], rows - y1, rows - y0
    if exclusion.endswith("right"):
        index, x0, x1 = index[:, :, ::-1], columns - x1, columns - x0
    if frame is None:
        # The outermost pixels stand for what was cut off beyond them.
        y1, x0 = min(y1, rows - 1), max(x0, 1)
    counted: BoolArray = _counted(np.ascontiguousarray(index), objects.n, y0, y1, x0, x1)
    return counted


def _frame(
    frame: Frame | None, guard_px: int | tuple[int, int] | None, shape: tuple[int, int]
) -> Frame:
    if (frame is None) == (guard_px is None):
        raise InputError(
            f"expected a frame or guard_px, found frame={frame!r}, guard_px={guard_px!r}; give one"
        )
    if frame is None:
        given = guard_px if isinstance(guard_px, tuple) else (guard_px or 0,) * 2
        along_y, along_x = (int(margin) for margin in given)
        if min(along_y, along_x) < 0:
            raise InputError(f"guard_px: expected at least 0, found {guard_px}; give pixels")
        frame = ((along_y, shape[0] - along_y), (along_x, shape[1] - along_x))
    bounds = np.asarray(frame)
    if bounds.shape != (2, 2) or bounds.dtype.kind not in "ui":
        raise InputError(
            f"frame: expected ((y first, y end), (x first, x end)) in pixels, found {frame!r}; "
            "give whole pixels"
        )
    (y0, y1), (x0, x1) = ((int(low), int(high)) for low, high in bounds)
    if not (0 <= y0 < y1 <= shape[0] and 0 <= x0 < x1 <= shape[1]):
        raise InputError(
            f"frame: expected a frame within {shape[0]} × {shape[1]} px, found "
            f"y {y0} to {y1}, x {x0} to {x1}; choose a smaller frame or guard"
        )
    return (y0, y1), (x0, x1)


@njit(cache=True, nogil=True)
def _counted(index, n, y0, y1, x0, x1):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """In the frame and not across the forbidden line, which runs in from above at the left edge,
    along the bottom, and off downwards at the right edge: it parts the plane in two.
    """  # noqa: D205
    inside, forbidden = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    planes, rows, columns = index.shape
    for z in range(planes):
        for y in range(rows):
            line = x0 if y < y1 else x1
            for x in range(columns):
                k = index[z, y, x] - 1
                if k < 0:
                    continue
                if x < line:
                    forbidden[k] = True
                elif y0 <= y < y1 and x < x1:
                    inside[k] = True
    return inside & ~forbidden


def in_disector(
    labels: npt.ArrayLike,
    first: int | None = None,
    end: int | None = None,
    *,
    lookup: Literal["above", "below"] = "above",
) -> BoolArray:
    """Which objects an optical disector through a stack counts.

    Parameters
    ----------
    labels : array_like of int, shape (z, y, x)
        0 is background.
    first, end : int, optional
        The planes of the disector: the first and the one after the last; all but the look-up
        plane if not given.
    lookup : {"above", "below"}
        The look-up plane: the one before ``first``, so that objects count where they begin, or
        ``end``, so that they count where they stop.

    Returns
    -------
    ndarray of bool, shape (n,)
        In the order of the labels: the object comes into view within the disector. Its density is
        this number over the volume of the planes from ``first`` to ``end``.

    Raises
    ------
    AxisMismatchError
        If there is only one plane.
    InputError
        If the planes or the look-up plane are not in the stack.

    Notes
    -----
    An object is counted at the plane where it begins, and has one such plane whatever its height
    [1]_. Objects already present in the look-up plane are not counted, so objects cut by the
    surface of the stack are not either. Combine with :func:`in_counting_frame` in the plane.

    References
    ----------
    .. [1] Sterio (1984), The unbiased estimation of number and sizes of arbitrary particles using
       the disector. doi:10.1111/j.1365-2818.1984.tb02501.x

    Examples
    --------
    >>> labels = [[[1, 0, 0]], [[1, 2, 0]], [[0, 2, 3]]]
    >>> in_disector(labels)
    array([False,  True,  True])
    >>> in_disector(labels, 0, 2, lookup="below")
    array([ True, False, False])
    """
    objects = _stack(labels)
    planes = objects.index.shape[0]
    if lookup not in ("above", "below"):
        raise InputError(f"lookup: expected 'above' or 'below', found {lookup!r}; choose one")
    low, high = (1, planes) if lookup == "above" else (0, planes - 1)
    start, stop = low if first is None else first, high if end is None else end
    if not low <= start < stop <= high:
        raise InputError(
            f"disector: expected planes within {low} to {high} (the look-up plane lies {lookup}), "
            f"found {start} to {stop}; move it into the stack"
        )
    spans = _spans(objects.index, objects.n)
    edge = spans[:, 0] if lookup == "above" else spans[:, 1]
    return np.asarray((edge >= start) & (edge < stop))


def abercrombie(n: float, *, section_um: float, mean_height_um: float) -> float:
    """Number of objects centred in a section, from the number of those seen in it.

    Parameters
    ----------
    n : float
        Objects seen, whole or cut, such as in a projection of the section.
    section_um : float
        Thickness of the section, µm.
    mean_height_um : float
        Mean height of the objects across the section, µm.

    Returns
    -------
    float
        n × section / (section + height).

    Raises
    ------
    InputError
        If a value is negative or not finite, or the section has no thickness.

    Notes
    -----
    Abercrombie's correction [1]_: an object is seen wherever its centre lies within the section or
    half its height above or below. Where slivers are overlooked the result is too small; where the
    height is not known, it is a guess. In a stack, :func:`in_disector` needs no such assumption.

    References
    ----------
    .. [1] Abercrombie (1946), Estimation of nuclear population from microtome sections.
       doi:10.1002/ar.1090940210

    Examples
    --------
    >>> abercrombie(120, section_um=10.0, mean_height_um=5.0)
    80.0
    """
    for name, value in (("n", n), ("section_um", section_um), ("mean_height_um", mean_height_um)):
        if not np.isfinite(value) or value < 0 or (name == "section_um" and value == 0):
            raise InputError(f"{name}: expected a number above 0, found {value!r}; measure it")
    return float(n * section_um / (section_um + mean_height_um))


def mean_height_um(labels: npt.ArrayLike, *, plane_distance_um: float) -> float:
    """Mean height of objects across a stack, for :func:`abercrombie`.

    Parameters
    ----------
    labels : array_like of int, shape (z, y, x)
        0 is background.
    plane_distance_um : float

    Returns
    -------
    float, µm
        Number of planes from the first to the last of an object, times their distance. NaN if no
        object is seen whole.

    Raises
    ------
    AxisMismatchError
        If there is only one plane.
    CalibrationError
        If the distance is not positive.

    Notes
    -----
    Only objects that do not reach the first or last plane are measured. High objects are seen
    whole less often: each is weighted by the inverse of the number of positions in the stack at
    which it would be (Miles' correction [1]_).

    References
    ----------
    .. [1] Miles (1974), On the elimination of edge effects in planar sampling, in Stochastic
       Geometry (Harding & Kendall, eds.), Wiley.

    Examples
    --------
    >>> labels = [[[0, 0]], [[1, 0]], [[1, 2]], [[0, 0]]]
    >>> mean_height_um(labels, plane_distance_um=0.5)
    0.833...
    """
    if not np.isfinite(plane_distance_um) or plane_distance_um <= 0:
        raise CalibrationError(
            f"plane_distance_um: expected a distance above 0 µm, found {plane_distance_um!r}; "
            "give the distance between planes"
        )
    objects = _stack(labels)
    planes = objects.index.shape[0]
    spans = _spans(objects.index, objects.n)
    whole = (spans[:, 0] > 0) & (spans[:, 1] < planes - 1)
    if not whole.any():
        return float("nan")
    heights = spans[whole, 1] - spans[whole, 0] + 1
    weights = 1.0 / (planes - 1 - heights)
    return float(np.average(heights, weights=weights) * plane_distance_um)


def _stack(labels: npt.ArrayLike) -> LabelIndex:
    objects = LabelIndex.of(labels)
    if not objects.is_stack:
        raise AxisMismatchError(
            f"labels: expected a stack (z, y, x), found {np.shape(labels)}; count single images "
            "with a counting frame"
        )
    return objects


@njit(cache=True, nogil=True)
def _spans(index, n):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """First and last plane of each object."""
    spans = np.full((n, 2), -1, np.int64)
    for z in range(index.shape[0]):
        for y in range(index.shape[1]):
            for x in range(index.shape[2]):
                k = index[z, y, x] - 1
                if k >= 0:
                    if spans[k, 0] < 0:
                        spans[k, 0] = z
                    spans[k, 1] = z
    return spans
