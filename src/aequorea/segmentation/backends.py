"""Methods that find objects, behind one protocol: our own, and those of other packages.

A back-end works in two halves. :meth:`Backend.respond` looks at the image and is costly (a
network's forward pass, filters over a volume); :meth:`Backend.label` turns the response into
objects and is cheap. A run keeps the response on disk, so a late threshold can be changed
without looking at the image again.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from aequorea.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aequorea.segmentation.parameters import SegmentationParameters
    from aequorea.segmentation.result import Response, Segmentation

ENTRY_POINT_GROUP = "aequorea.segmentation"
_OWN = {
    "otsu": "aequorea.segmentation.threshold:OTSU",
    "li": "aequorea.segmentation.threshold:LI",
    "percentile": "aequorea.segmentation.threshold:PERCENTILE",
    "watershed": "aequorea.segmentation.watershed:WATERSHED",
    "cellpose": "aequorea.segmentation.cellpose:CELLPOSE",
    "stardist": "aequorea.segmentation.stardist:STARDIST",
}


@runtime_checkable
class Backend(Protocol):
    """A method that finds the objects of one channel.

    Attributes
    ----------
    name : str
    version : int
        Raised whenever the same image and options would give another result.
    late : frozenset of str
        The fields of :class:`SegmentationParameters` that only :meth:`label` reads.
    early : frozenset of str
        Those that :meth:`respond` reads.
    """

    name: str
    version: int
    late: frozenset[str]
    early: frozenset[str]

    def respond(
        self,
        image: NDArray[np.float32],
        options: SegmentationParameters,
        *,
        spacing_um: tuple[float, ...] | None,
        mask: NDArray[np.bool_] | None,
        use_gpu: bool,
    ) -> Response:
        """What the image gives that does not depend on the late options.

        Parameters
        ----------
        image : ndarray of float32, shape (y, x) or (z, y, x)
            Already prefiltered; finite.
        options : SegmentationParameters
        spacing_um : tuple of float, or None
            Distance between pixel centres, in the order of the axes; None is unknown.
        mask : ndarray of bool or None
            The region of interest. Thresholds are taken from the pixels inside; objects may
            reach beyond (the caller clips them).
        use_gpu : bool
            Networks only.
        """

    def label(self, response: Response, options: SegmentationParameters) -> Segmentation:
        """Objects out of a response; needs neither the image nor a network."""


@cache
def backend(name: str) -> Backend:
    """The back-end of a name.

    Raises
    ------
    InputError
        If there is none, or two packages claim the name; says which there are.
    """
    if name in _OWN:
        module, attribute = _OWN[name].split(":")
        own: Backend = getattr(import_module(module), attribute)
        return own
    found = [e for e in entry_points(group=ENTRY_POINT_GROUP) if e.name == name]
    if len(found) != 1:
        why = "several packages provide" if found else "there is no"
        raise InputError(
            f"{why} segmentation method {name!r}; choose from {', '.join(backend_names())}"
        )
    loaded: Any = found[0].load()
    if not isinstance(loaded, Backend):
        raise InputError(f"segmentation plug-in {name!r} does not fulfil the Backend protocol")
    return loaded


def backend_names() -> tuple[str, ...]:
    """Every method that can be asked for by name."""
    more = {e.name for e in entry_points(group=ENTRY_POINT_GROUP)} - set(_OWN)
    return (*_OWN, *sorted(more))
