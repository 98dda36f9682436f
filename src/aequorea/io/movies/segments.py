"""Recordings in many files: put in natural order, checked against each other, joined along time."""

from __future__ import annotations

import re
import warnings
from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, FileFormatError, InputError
from aequorea.io.registry import open_image, readers
from aequorea.model.lazy import full_index

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.model.image import Image
    from aequorea.model.lazy import BasicIndex, LazyArray

__all__ = [
    "JoinedFrames",
    "files_of_one_kind",
    "image_files",
    "joined_files",
    "natural_key",
    "with_time",
]


def natural_key(path: Path | str) -> tuple[tuple[int, int | str], ...]:
    """Sorts names as people count: 2.avi before 10.avi.

    Examples
    --------
    >>> sorted(["10.avi", "2.avi", "1.avi"], key=natural_key)
    ['1.avi', '2.avi', '10.avi']
    """
    parts = re.split(r"(\d+)", str(path).lower())
    return tuple((0, int(p)) if p.isdecimal() else (1, p) for p in parts if p)


class JoinedFrames:
    """Arrays one after the other along their first axis; only those asked for are read.

    Examples
    --------
    >>> joined = JoinedFrames([np.zeros((2, 4, 5)), np.ones((3, 4, 5))])
    >>> joined.shape, joined[1:4].mean(axis=(1, 2))
    ((5, 4, 5), array([0., 1., 1.]))
    """

    def __init__(self, parts: Sequence[LazyArray]) -> None:
        self._parts = tuple(parts)
        self._ends = tuple(accumulate(int(part.shape[0]) for part in parts))

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each axis."""
        return (self._ends[-1], *(int(n) for n in self._parts[0].shape[1:]))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one pixel."""
        return np.dtype(self._parts[0].dtype)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        first, *inner = full_index(index, len(self.shape))
        if not isinstance(first, slice):
            part, at = self._place(range(self._ends[-1])[first])
            return np.asarray(self._parts[part][(at, *inner)])
        wanted = range(*first.indices(self._ends[-1]))
        if wanted.step < 1:
            raise IndexError(f"lazy pixels take positive steps, not {wanted.step}")
        runs = [np.asarray(self._parts[p][(s, *inner)]) for p, s in self._runs(wanted)]
        if not runs:
            return np.asarray(self._parts[0][(slice(0, 0), *inner)])
        return runs[0] if len(runs) == 1 else np.concatenate(runs)

    def _place(self, frame: int) -> tuple[int, int]:
        part = bisect_right(self._ends, frame)
        return part, frame - (self._ends[part - 1] if part else 0)

    def _runs(self, wanted: range) -> list[tuple[int, slice]]:
        """Which slice of which part, for frames that follow each other."""
        found: list[tuple[int, slice]] = []
        k = 0
        while k < len(wanted):
            part, at = self._place(wanted[k])
            n = (self._ends[part] - 1 - wanted[k]) // wanted.step + 1
            n = min(n, len(wanted) - k)
            found.append((part, slice(at, at + (n - 1) * wanted.step + 1, wanted.step)))
            k += n
        return found


def joined_files(files: Sequence[Path], **options: Any) -> Image:
    """Files, in this order, as one movie.

    Parameters
    ----------
    files : sequence of Path
    **options
        For :func:`aequorea.open`, the same for every file.

    Raises
    ------
    FileFormatError
        If a segment is unlike the first in size, type or axes.
    InputError
        If there are no files.

    Warns
    -----
    AequoreaWarning
        Where numbers are missing from the names.
    """
    if not files:
        raise InputError("no files; expected at least one")
    parts = [with_time(open_image(path, **options)) for path in files]
    for part in parts[1:]:
        _require_like(part, parts[0])
    if len(parts) == 1:
        return parts[0]
    _tell_gaps(files)
    first = parts[0]
    return replace(
        first,
        data=JoinedFrames([part.data for part in parts]),
        times_s=_times_joined(parts),
        metadata={**first.metadata, "n_files": len(parts)},
        source=str(files[0].parent) if len({f.parent for f in files}) == 1 else first.source,
    )


def _require_like(part: Image, first: Image) -> None:
    frame = part.shape[1:], part.dtype, part.axes
    expected = first.shape[1:], first.dtype, first.axes
    if frame != expected:
        raise FileFormatError(
            f"{part.source}: frames of {frame[0]} {frame[1]} ({frame[2][1:]}), those of "
            f"{first.source} are {expected[0]} {expected[1]} ({expected[2][1:]}); segments of one "
            "movie must be alike"
        )


def with_time(image: Image) -> Image:
    """An image without a time axis as a movie of one frame."""
    if "t" in image.axes:
        return image
    return replace(image, data=_OneFrame(image.data), axes=f"t{image.axes}")


class _OneFrame:
    """An image as a movie of one frame."""

    def __init__(self, base: LazyArray) -> None:
        self._base = base
        self.shape = (1, *(int(n) for n in base.shape))
        self.dtype: np.dtype[Any] = np.dtype(base.dtype)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        first, *inner = full_index(index, len(self.shape))
        taken: BasicIndex = first
        return np.asarray(self._base[tuple(inner)])[None][taken]


def _times_joined(parts: Sequence[Image]) -> NDArray[np.float64] | None:
    """Times of all parts: as they are where they go on, else one part after the other."""
    times = [part.times_s for part in parts if part.times_s is not None]
    if len(times) != len(parts):
        return None
    at = np.concatenate(times)
    if (np.diff(at) > 0).all():
        return at
    found, begin = [], 0.0
    step = next((float(np.median(np.diff(t))) for t in times if len(t) > 1), None)
    if step is None or not step > 0:
        return None
    for own in times:
        found.append(own - own[0] + begin)
        begin = float(found[-1][-1]) + step
    return np.concatenate(found)


def files_of_one_kind(folder: Path) -> list[Path]:
    """Image and movie files of a folder in natural order.

    Raises
    ------
    FileFormatError
        If there are none, or of several kinds.
    """
    found = image_files(folder)
    kinds = {path.suffix.lower() for path in found}
    if not found:
        raise FileFormatError(f"{folder}: a folder without a movie that can be read")
    if len(kinds) > 1:
        raise FileFormatError(
            f"{folder}: files of several kinds ({', '.join(sorted(kinds))}); give the files of the "
            "movie one by one, or a folder with only these"
        )
    return sorted(found, key=lambda path: natural_key(path.name))


def image_files(folder: Path) -> list[Path]:
    """Files of a folder whose names say that they can be read."""
    suffixes = tuple(s for reader in readers() for s in reader.suffixes)
    return [
        path
        for path in folder.iterdir()
        if path.name.lower().endswith(suffixes) and path.is_file() and path.name[0] != "."
    ]


def _tell_gaps(files: Sequence[Path]) -> None:
    """Numbers that are missing where the names differ in one number only."""
    splits = [re.split(r"(\d+)", path.name) for path in files]
    if len({len(s) for s in splits}) != 1:
        return
    differ = [k for k in range(len(splits[0])) if len({s[k] for s in splits}) > 1]
    if len(differ) != 1 or not splits[0][differ[0]].isdecimal():
        return
    numbers = [int(s[differ[0]]) for s in splits]
    steps = {b - a for a, b in pairwise(numbers)}
    missing = sorted(set(range(min(numbers), max(numbers) + 1)) - set(numbers))
    if missing and len(steps) > 1:
        shown = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        warnings.warn(
            f"{files[0].parent}: segments {shown} are missing between {files[0].name} and "
            f"{files[-1].name}; what follows is joined without a gap",
            AequoreaWarning,
            stacklevel=4,
        )
