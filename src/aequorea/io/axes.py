"""Which axis is which: a file's own letters to ``tczyx``, and nothing guessed silently."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AequoreaWarning, AxisMismatchError, FileFormatError
from aequorea.io.planes import ArrangedArray
from aequorea.model.image import AXES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aequorea.model.lazy import LazyArray

UNKNOWN = "?"
FOREIGN = "!"


def arrange(
    data: LazyArray, letters: str, *, path: Path | str, axes: str | None = None
) -> tuple[LazyArray, str]:
    """``data`` in the order ``tczyx``, without its trivial axes.

    Parameters
    ----------
    data : LazyArray
    letters : str
        One letter per axis of ``data``: of ``tczyx``, ``?`` where the file does not say, or
        ``!`` where it says something else (a position, an angle).
    path : path
        Named in messages.
    axes : str, optional
        What the user says the axes are, in the file's order: one letter per axis, or one
        per axis longer than 1. It overrides ``letters``.

    Returns
    -------
    data : LazyArray
    axes : str
        A subsequence of ``tczyx`` that ends in ``yx``.

    Raises
    ------
    AxisMismatchError
        If ``axes`` does not fit the file, or the axes of the file cannot be told.
    FileFormatError
        If an axis has no pixels or the pixel type is not a number.

    Warns
    -----
    AequoreaWarning
        If exactly one axis is unknown. It is then called ``t``: taking planes for frames
        keeps every plane by itself, whereas taking frames for planes would measure
        volumes and distances across time.

    Examples
    --------
    >>> import numpy as np
    >>> pixels, axes = arrange(np.zeros((1, 4, 8, 9, 1)), "tzyxc", path="cell.tif")
    >>> axes, pixels.shape
    ('zyx', (4, 8, 9))
    """
    check_pixels(data, path)
    if axes is not None:
        letters = _as_told(tuple(data.shape), axes, letters, path)
    letters = _named(tuple(data.shape), letters, path)
    sizes = dict(zip(letters, data.shape, strict=False))
    kept = "".join(a for a in AXES if a in letters and (a in "yx" or sizes[a] > 1))
    order = [letters.index(a) for a in kept]
    if order == list(range(len(data.shape))) and np.dtype(data.dtype).isnative:
        return data, kept
    return ArrangedArray(data, order), kept


def check_pixels(data: LazyArray, path: Path | str) -> None:
    """Refuse what no image can be: no pixels, or pixels that are not real numbers."""
    if 0 in data.shape:
        raise FileFormatError(
            f"{path}: an axis of shape {tuple(data.shape)} has size 0; "
            "expected at least one pixel: export the image again"
        )
    kind: Any = np.dtype(data.dtype).kind
    if kind not in "buif":
        raise FileFormatError(
            f"{path}: pixels of type {np.dtype(data.dtype)}; expected integers or real floats: "
            "convert them first (of complex pixels take the real part or the magnitude)"
        )


def _as_told(shape: tuple[int, ...], axes: str, letters: str, path: Path | str) -> str:
    told = axes.lower()
    if len(set(told)) != len(told) or not set(told) <= set(AXES) or not {"y", "x"} <= set(told):
        raise AxisMismatchError(
            f"axes must be different letters of 'tczyx' with y and x, got {axes!r}"
        )
    if len(told) == len(shape):
        return told
    real = [k for k, n in enumerate(shape) if n > 1 or letters[k] in "yx"]
    if len(told) != len(real):
        raise AxisMismatchError(
            f"{path}: axes={axes!r} names {len(told)} axes, but the file has {len(real)}: "
            f"shape {tuple(shape[k] for k in real)}; give one letter for each"
        )
    spelt = [UNKNOWN] * len(shape)
    for k, letter in zip(real, told, strict=True):
        spelt[k] = letter
    return "".join(spelt)


def _named(shape: tuple[int, ...], letters: str, path: Path | str) -> str:
    foreign = any(a == FOREIGN and n > 1 for a, n in zip(letters, shape, strict=True))
    unknown = [k for k, a in enumerate(letters) if a == UNKNOWN and shape[k] > 1]
    real = [a for k, a in enumerate(letters) if a != UNKNOWN and (shape[k] > 1 or a in "yx")]
    twice = sorted({a for a in real if real.count(a) > 1})
    if (
        foreign
        or len(unknown) > 1
        or twice
        or not {"y", "x"} <= set(letters)
        or ("t" in real and unknown)
    ):
        wanted = tuple(n for k, n in enumerate(shape) if n > 1 or letters[k] in "yx")
        raise AxisMismatchError(
            f"{path}: the file does not say what the axes of its shape {wanted} are; "
            "give axes= (--axes), one letter of 'tczyx' for each "
            f"(for example {_guess(wanted)!r})"
        )
    spelt = [a if a in "yx" or n > 1 else UNKNOWN for a, n in zip(letters, shape, strict=True)]
    if not unknown:
        return "".join(spelt)
    warnings.warn(
        f"{path}: the file does not say whether its {shape[unknown[0]]} planes are a z stack or a "
        "time series; they are taken as time (axis t). Say it with axes='zyx' or axes='tyx' "
        "(--axes zyx or --axes tyx)",
        AequoreaWarning,
        stacklevel=2,
    )
    spelt[unknown[0]] = "t"
    return "".join(spelt)


def _guess(shape: Sequence[int]) -> str:
    return AXES[-len(shape) :] if len(shape) <= len(AXES) else AXES
