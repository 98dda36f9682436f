"""Regions of interest: ImageJ ROI files, RoiSets and label images, as labels."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import (
    AequoreaWarning,
    AxisMismatchError,
    FileFormatError,
    FileMissingError,
    InputError,
)
from aequorea.io.faults import reading, remarks_of
from aequorea.io.labels import read_labels

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_MAGIC = b"Iout"
_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_LARGEST_ROI_BYTES = 16 * 2**20
_MOST_ROIS = 100_000
_LARGEST_SET_BYTES = 512 * 2**20
_MOST_OVERLAPS = 5  # that a warning names


def read_regions(
    path: str | os.PathLike[str], shape_yx: Sequence[int]
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Regions as labels 1, 2, … over the image plane, and their names.

    Parameters
    ----------
    path : path
        An ImageJ ``.roi`` file, a ``RoiSet.zip``, or a label image (TIFF, PNG, .npy, OME-Zarr).
    shape_yx : (int, int)
        Size of the image the regions were drawn on.

    Returns
    -------
    labels : ndarray of int32, shape ``shape_yx``
        0 outside all regions. Where ImageJ regions overlap, the later one wins, and a warning
        says how many pixels it takes from which.
    names : tuple of str
        ``names[k]`` belongs to label ``k + 1``. A label image keeps its order: its smallest
        label becomes 1 and is called by its own number.

    Raises
    ------
    FileMissingError, FileFormatError
        If there is no such file, or it is none of these, damaged, or too large to be honest.
    InputError
        If a region has no area (point, line, angle), names the region; if a region lies wholly
        outside the image or is covered by later ones; if there is none.
    AxisMismatchError
        If a label image has another shape.

    Notes
    -----
    A pixel belongs to a polygon when its centre lies inside (even-odd rule); freehand and
    traced regions of ImageJ run along pixel corners, so these reproduce ImageJ's masks.
    Ovals follow ImageJ: pixel centres inside the ellipse of the bounding rectangle.
    Nothing in a zip file is used as a path.
    """
    where = Path(path).expanduser()
    height, width = (int(n) for n in shape_yx)
    head = _head(where)
    if head.startswith((_MAGIC, _ZIP, _EMPTY_ZIP)) and where.suffix.lower() != ".npz":
        rois = _read_rois(where, head)
        return _rasterised(rois, (height, width), where)
    labels = read_labels(where, (height, width))
    numbers = np.unique(labels)
    numbers = numbers[numbers > 0]
    if not len(numbers):
        raise InputError(f"{where}: no region in it (all zero); draw at least one")
    renumbered = np.where(labels > 0, np.searchsorted(numbers, labels) + 1, 0)
    return renumbered.astype(np.int32), tuple(str(n) for n in numbers)


def _head(path: Path) -> bytes:
    if not path.exists():
        raise FileMissingError(f"{path}: no such file; check the path")
    if path.is_dir():
        return b""
    with reading(path, "regions"), path.open("rb") as file:
        return file.read(4)


def _read_rois(path: Path, head: bytes) -> list[tuple[str, Any]]:
    if head.startswith(_MAGIC):
        if path.stat().st_size > _LARGEST_ROI_BYTES:
            raise FileFormatError(f"{path}: larger than any ROI; expected an ImageJ .roi file")
        with reading(path, "ImageJ ROI"):
            return [_roi(path.stem, path.read_bytes())]
    with reading(path, "ImageJ RoiSet"):
        found = [_roi(name, content) for name, content in _zipped_rois(path)]
    if not found:
        raise InputError(f"{path}: no .roi in it; expected a RoiSet.zip saved by ImageJ")
    return found


def _roi(name: str, content: bytes) -> tuple[str, Any]:
    import roifile

    with remarks_of("roifile") as remarks:  # it logs damage, and reads on
        roi = roifile.ImagejRoi.frombytes(content)
    if remarks:
        raise ValueError(f"{name}: {remarks[0]}")
    return roi.name or name, roi


def _zipped_rois(path: Path) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    total = 0
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if m.filename.lower().endswith(".roi")]
        if len(members) > _MOST_ROIS:
            raise FileFormatError(f"{path}: {len(members)} ROIs; expected at most {_MOST_ROIS}")
        for member in members:
            # the sizes in a zip file are what it says, not what is in it: read no more than that
            with archive.open(member) as file:
                content = file.read(_LARGEST_ROI_BYTES + 1)
            total += len(content)
            if len(content) > _LARGEST_ROI_BYTES or total > _LARGEST_SET_BYTES:
                raise FileFormatError(f"{path}: {member.filename!r} is too large to be a ROI")
            found.append((Path(member.filename).stem, content))
    return found


def _rasterised(
    rois: Sequence[tuple[str, Any]], shape: tuple[int, int], path: Path
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    labels = np.zeros(shape, np.int32)
    names = [name for name, _ in rois]
    taken: list[str] = []
    for number, (name, roi) in enumerate(rois, start=1):
        with reading(path, f"ImageJ ROI {name!r}"):
            inside = roi_mask(roi, shape, f"{path}: ROI {name!r}")
        if not inside.any():
            raise AxisMismatchError(
                f"{path}: ROI {name!r} has no pixel in the image of {shape[0]} × {shape[1]}; "
                "was it drawn on another image?"
            )
        taken += _taken_from(np.bincount(labels[inside]), name, names)
        labels[inside] = number
    seen = np.bincount(labels.ravel(), minlength=len(rois) + 1)
    hidden = [name for k, name in enumerate(names, start=1) if not seen[k]]
    if hidden:
        raise InputError(
            f"{path}: ROI {hidden[0]!r} is covered by later ROIs; remove or move one of them"
        )
    if taken:
        more = f"; {len(taken) - _MOST_OVERLAPS} more pairs" if len(taken) > _MOST_OVERLAPS else ""
        warnings.warn(
            f"{path}: ROIs overlap, and a pixel belongs to one only, the later in the file: "
            f"{'; '.join(taken[:_MOST_OVERLAPS])}{more}",
            AequoreaWarning,
            stacklevel=3,
        )
    return labels, tuple(names)


def _taken_from(covered: NDArray[np.int64], name: str, names: Sequence[str]) -> Iterator[str]:
    """How many pixels a ROI takes from each of those before it."""
    for earlier in np.flatnonzero(covered[1:]).tolist():
        n = int(covered[earlier + 1])
        yield f"{name!r} takes {n} px from {names[earlier]!r}"


def roi_mask(roi: Any, shape_yx: tuple[int, int], what: str) -> NDArray[np.bool_]:
    """Which pixels of a plane lie in an ImageJ ROI.

    Parameters
    ----------
    roi : roifile.ImagejRoi
    shape_yx : (int, int)
    what : str
        Names the ROI in errors.

    Raises
    ------
    InputError
        If the ROI has no area.
    """
    kind = roi.roitype.name
    if roi.composite:
        return _composite(roi, shape_yx)
    if kind == "RECT":
        if roi.rounded_rect_arc_size > 0:
            return _rounded(roi, shape_yx)
        return _rectangle(roi, shape_yx)
    if kind == "OVAL":
        return _oval(roi, shape_yx)
    if kind in {"POLYGON", "FREEHAND", "TRACED"}:
        return _polygon(_outline(roi), shape_yx)
    raise InputError(f"{what} is a {kind.lower()} without area; draw an area around what you mean")


def _outline(roi: Any) -> NDArray[np.float64]:
    return np.asarray(roi.coordinates(), np.float64).reshape(-1, 2)


def _sides(roi: Any) -> tuple[float, float, float, float]:
    """Top, left, bottom, right; with sub-pixel precision where the ROI has it."""
    if roi.subpixelrect:
        left, top = float(roi.xd), float(roi.yd)
        return top, left, top + float(roi.heightd), left + float(roi.widthd)
    return float(roi.top), float(roi.left), float(roi.bottom), float(roi.right)


def _centres(shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, columns = np.arange(shape[0], dtype=np.float64), np.arange(shape[1], dtype=np.float64)
    return rows[:, None] + 0.5, columns[None, :] + 0.5


def _rectangle(roi: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
    top, left, bottom, right = _sides(roi)
    y, x = _centres(shape)
    return np.asarray((y >= top) & (y < bottom) & (x >= left) & (x < right))


def _rounded(roi: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
    top, left, bottom, right = _sides(roi)
    y, x = _centres(shape)
    radius_y = min(roi.rounded_rect_arc_size / 2, (bottom - top) / 2)
    radius_x = min(roi.rounded_rect_arc_size / 2, (right - left) / 2)
    dy = np.maximum(0, np.maximum(top + radius_y - y, y - (bottom - radius_y))) / radius_y
    dx = np.maximum(0, np.maximum(left + radius_x - x, x - (right - radius_x))) / radius_x
    return np.asarray((dy**2 + dx**2 <= 1) & _rectangle(roi, shape))


def _oval(roi: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
    top, left, bottom, right = _sides(roi)
    height, width = bottom - top, right - left
    if height <= 0 or width <= 0:
        return np.zeros(shape, bool)
    y, x = _centres(shape)
    dy = (y - (top + bottom) / 2) / (height / 2)
    dx = (x - (left + right) / 2) / (width / 2)
    return np.asarray(dy**2 + dx**2 <= 1)


def _polygon(outline: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    return _even_odd([outline], shape)


def _composite(roi: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
    # parts and holes are separate closed paths: the even-odd rule makes holes of the inner ones
    paths = [np.asarray(p, np.float64).reshape(-1, 2) for p in roi.coordinates(multi=True)]
    return _even_odd(paths, shape)


def _even_odd(paths: Sequence[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centre is enclosed an odd number of times; vertices are (x, y) corners."""
    height, width = shape
    toggles = np.zeros((height, width + 1), np.int32)
    for path in paths:
        ends = np.roll(path, -1, axis=0)
        for (x0, y0), (x1, y1) in zip(path, ends, strict=True):
            if y0 == y1:
                continue
            low, high = (y0, y1) if y0 < y1 else (y1, y0)
            first = max(0, int(np.ceil(low - 0.5)))
            last = min(height, int(np.ceil(high - 0.5)))  # rows whose centre is in [low, high)
            rows = np.arange(first, last)
            crossing = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
            np.add.at(toggles, (rows, columns), 1)
    return np.asarray(np.cumsum(toggles, axis=1)[:, :width] % 2 == 1)
