"""Cellpose as a segmentation method: its network looks once, its masks are made as often as needed.

Needs the extra ``cellpose`` (Cellpose 3, or 4 where there is a GPU). Flows and cell probabilities
are the response; masks at any threshold come from them without image, network or weights.

References
----------
.. [1] Stringer et al. (2021), Nat Methods 18, 100, doi:10.1038/s41592-020-01018-x
.. [2] Stringer & Pachitariu (2025), Nat Methods 22, 592, doi:10.1038/s41592-025-02595-5
.. [3] Pachitariu, Rariden & Stringer (2025), doi:10.1101/2025.04.28.651001
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.segmentation.cellpose_models import (
    cellpose_library,
    choose_device,
    load_network,
)
from aequorea.segmentation.result import Fact, Response, Segmentation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aequorea.segmentation.cellpose_models import CellposeLibrary
    from aequorea.segmentation.parameters import SegmentationParameters

    FloatImage = NDArray[np.float32]

__all__ = ["CELLPOSE", "CellposeBackend"]

_STEPS = 200  # of the dynamics, at the diameter the network was trained for
_DIAMETER_4_PX = 30.0  # what Cellpose 4 rescales to
_MAX_SIZE_FRACTION = 0.4  # the library's own: larger objects are dropped
_LEAST_PX = 8
_MOST_PADDED_PX = 64
_NOWHERE = -100.0  # a logit below every threshold
_MIN_RANGE = 1.0  # Cellpose blanks images whose grey levels differ by less than 0.001
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellposeBackend:
    """Cellpose behind :class:`aequorea.segmentation.backends.Backend`.

    Attributes
    ----------
    name : str
    version : int
    late : frozenset of str
        Thresholds and the like: read by :meth:`label` only.
    early : frozenset of str
        What the network's answer depends on.
    """

    name: str = "cellpose"
    version: int = 1
    late: frozenset[str] = frozenset(
        {
            "cellprob_threshold",
            "flow_threshold",
            "niter",
            "stitch_threshold",
            "network_min_object_px",
        }
    )
    early: frozenset[str] = frozenset(
        {"model", "do_3d", "anisotropy", "flow3d_smooth", "diameter_um", "diameter_px"}
    )

    def respond(
        self,
        image: NDArray[np.float32],
        options: SegmentationParameters,
        *,
        spacing_um: tuple[float, ...] | None,
        mask: NDArray[np.bool_] | None,  # noqa: ARG002 - the network sees the whole image
        use_gpu: bool,
    ) -> Response:
        """Flows and cell probabilities, from one run of the network.

        Parameters
        ----------
        image : ndarray of float32, shape (y, x) or (z, y, x)
        options : SegmentationParameters
        spacing_um : tuple of float, or None
        mask : ndarray of bool or None
            Not used.
        use_gpu : bool
            CUDA, else Apple's MPS, else the CPU; which one is in ``facts["device"]``.

        Returns
        -------
        Response
            ``dP``, shape (2 or 3, …), the flows, and ``cellprob``, a logit, both float32 and of
            the resolution of the image: 12 bytes per pixel, 16 per voxel. float32, because masks
            from rounded flows would differ from those of a fresh run.

        Raises
        ------
        InputError
            If Cellpose or the model is missing or broken; see
            :func:`aequorea.segmentation.cellpose_models.load_network`.
        CalibrationError
            If a diameter is given in µm and the pixels have no size.

        Notes
        -----
        Without a diameter, Cellpose 3 takes the mean diameter of what the model was trained on,
        and Cellpose 4 looks at the image as it is. A stack of one plane is a plane. On the CPU
        the answer is the same in every run on one machine; on GPUs only nearly so.
        """
        image = _checked(image)
        do_3d = image.ndim == 3 if options.do_3d is None else options.do_3d
        if do_3d and image.ndim == 2:
            raise InputError("do_3d: expected a stack (z, y, x), found a plane; leave do_3d unset")
        do_3d = do_3d and len(image) > 1
        given_px = _diameter_px(options, spacing_um)
        anisotropy = _anisotropy(options, spacing_um) if do_3d else None

        library = cellpose_library()
        device = choose_device(library, use_gpu=use_gpu)
        network = load_network(library, options.model, device)
        _logger.info("Cellpose %s, model %s, on %s", library.version, network.name, device)
        if library.major == 3:
            own_px, wanted_px = float(network.model.diam_labels), float(network.model.diam_mean)
        else:
            own_px = wanted_px = _DIAMETER_4_PX
        diameter_px = own_px if given_px is None else given_px
        rescale = wanted_px / diameter_px
        padding = _padding(image.shape, rescale, anisotropy or 1.0)
        facts: dict[str, Fact] = {
            "device": device,
            "gpu_missing": use_gpu and device == "cpu",
            "model": network.name,
            "model_sha256": network.sha256,
            "cellpose": library.version,
            "diameter_px": diameter_px,
            "diameter_from": "model" if given_px is None else "options",
            "rescale": rescale,
            "niter": int(1 / rescale * _STEPS) if library.major == 3 else int(_STEPS / rescale),
            "do_3d": do_3d,
            "anisotropy": anisotropy,
            "anisotropy_unknown": do_3d and anisotropy is None,
            "flow3d_smooth": options.flow3d_smooth if do_3d else None,
            "blank": _blank(image),
        }
        if image.size == 0 or image.min() == image.max():
            flows = np.zeros((3 if do_3d else 2, *image.shape), np.float32)
            return Response(
                arrays={"dP": flows, "cellprob": np.full(image.shape, _NOWHERE, np.float32)},
                facts=facts,
            )
        flows, cellprob = _run(
            library,
            network.model,
            image,
            padding,
            diameter=given_px,
            do_3D=do_3d,
            anisotropy=anisotropy,
            flow3D_smooth=options.flow3d_smooth if do_3d else 0,
        )
        return Response(arrays={"dP": flows, "cellprob": cellprob}, facts=facts)

    def label(self, response: Response, options: SegmentationParameters) -> Segmentation:
        """Masks at the thresholds of the options, from flows and cell probabilities.

        Parameters
        ----------
        response : Response
            Of :meth:`respond`, in this process or another.
        options : SegmentationParameters

        Returns
        -------
        Segmentation
            What a fresh run of Cellpose at these thresholds gives on a CPU.

        Raises
        ------
        InputError
            If Cellpose is not installed, or the response is not one of this method.

        Notes
        -----
        Cellpose drops objects larger than 40 % of the image. In 3D it does not check flows, so
        ``flow_threshold`` has no effect there. Planes of a stack that were looked at one by one
        are joined where objects of neighbouring planes overlap by ``stitch_threshold``.
        """
        try:
            flows = np.ascontiguousarray(response.arrays["dP"], np.float32)
            cellprob = np.ascontiguousarray(response.arrays["cellprob"], np.float32)
            automatic, do_3d = response.facts["niter"], bool(response.facts["do_3d"])
        except KeyError as error:
            raise InputError(
                f"response lacks {error}; expected what method 'cellpose' made of an image"
            ) from error
        if flows.shape[1:] != cellprob.shape or len(flows) != (3 if do_3d else 2):
            raise AxisMismatchError(
                f"response: flows of shape {flows.shape} do not belong to cell probabilities of "
                f"shape {cellprob.shape}"
            )
        steps = options.niter or int(automatic or _STEPS)
        facts: dict[str, Fact] = {
            "cellprob_threshold": options.cellprob_threshold,
            "flow_threshold": None if do_3d else options.flow_threshold,
            "niter": steps,
            "network_min_object_px": options.network_min_object_px,
        }
        library = cellpose_library()
        if cellprob.max(initial=-math.inf) > options.cellprob_threshold:
            masks = _masks(library, flows, cellprob, options, steps=steps, do_3d=do_3d)
        else:
            masks = np.zeros(cellprob.shape, np.uint16)
        labels = _consecutive(masks.reshape(cellprob.shape))
        return Segmentation(
            labels=labels,
            facts=facts,
            notes=tuple(_notes(response, options, cellprob, library.version, not labels.any())),
        )


CELLPOSE = CellposeBackend()


def _checked(image: NDArray[Any]) -> FloatImage:
    if image.ndim not in (2, 3):
        raise AxisMismatchError(f"image: expected (y, x) or (z, y, x), found shape {image.shape}")
    pixels = np.ascontiguousarray(image, np.float32)
    if not np.isfinite(pixels).all():
        raise InputError("image: expected finite grey levels, found NaN or infinity; fill them")
    return pixels


def _blank(image: FloatImage) -> bool:
    """Whether Cellpose, which stretches the 1st to 99th percentile, would see nothing."""
    if image.size == 0:
        return True
    low, high = np.percentile(image, (1, 99))
    return bool(low == high)


def _diameter_px(
    options: SegmentationParameters, spacing_um: Sequence[float] | None
) -> float | None:
    if options.diameter_um is None:
        return options.diameter_px
    if spacing_um is None:
        raise CalibrationError(
            f"diameter_um: {options.diameter_um:g} µm needs the size of a pixel, which the image "
            "does not carry; give diameter_px, or the pixel size"
        )
    return options.diameter_um / math.sqrt(spacing_um[-2] * spacing_um[-1])


def _anisotropy(
    options: SegmentationParameters, spacing_um: Sequence[float] | None
) -> float | None:
    if options.anisotropy is not None or spacing_um is None:
        return options.anisotropy
    return spacing_um[0] / math.sqrt(spacing_um[-2] * spacing_um[-1])


def _padding(shape: tuple[int, ...], rescale: float, anisotropy: float) -> list[tuple[int, int]]:
    """What an image lacks at the end of each axis for Cellpose to take it as what it is.

    Cellpose 3 takes a plane of fewer than 8 rows for one of as many channels, and neither version
    expects an axis of which nothing is left at its own scale.
    """
    scales = [rescale * anisotropy, rescale, rescale][-len(shape) :]
    least = [2, _LEAST_PX, _LEAST_PX][-len(shape) :]
    padding = []
    for n, scale, enough in zip(shape, scales, least, strict=True):
        wanted = enough if int(n * scale) >= 1 else max(enough, math.ceil(1 / scale) + 1)
        if wanted > max(n, _MOST_PADDED_PX):
            raise InputError(
                f"diameter: objects this large leave nothing of an image of shape {shape} for the "
                f"network, which sees {scale:.2g} of its size; give a smaller diameter"
            )
        padding.append((0, max(wanted - n, 0)))
    return padding


def _run(
    library: CellposeLibrary,
    model: Any,
    image: FloatImage,
    padding: list[tuple[int, int]],
    *,
    do_3D: bool,
    **how: Any,
) -> tuple[FloatImage, FloatImage]:
    """Flows and cell probabilities of an image that is not constant."""
    spread = float(np.ptp(image))
    if spread < _MIN_RANGE:
        image = (image - image.min()) * np.float32(_MIN_RANGE / spread) * np.float32(1000)
    padded = np.pad(image, padding, mode="edge")
    if library.major == 3:
        how["channels"] = [0, 0]
    if image.ndim == 3:
        how["z_axis"] = 0
    if image.ndim == 3 and not do_3D:
        how["stitch_threshold"] = 0.25  # here only: planes of a stack, normalised together
    _, (_, flows, cellprob, *_), _ = model.eval(
        # Cellpose writes into what it is given, and into its defaults unless given a table.
        padded.copy(),
        normalize={"normalize": True, "norm3D": True},
        do_3D=do_3D,
        compute_masks=False,
        **how,
    )
    inside = tuple(slice(n) for n in image.shape)
    flows = np.reshape(flows, (3 if do_3D else 2, *padded.shape))[(slice(None), *inside)]
    cellprob = np.reshape(cellprob, padded.shape)[inside]
    return np.ascontiguousarray(flows, np.float32), np.ascontiguousarray(cellprob, np.float32)


def _masks(
    library: CellposeLibrary,
    flows: FloatImage,
    cellprob: FloatImage,
    options: SegmentationParameters,
    *,
    steps: int,
    do_3d: bool,
) -> NDArray[Any]:
    how: dict[str, Any] = {
        "niter": steps,
        "cellprob_threshold": options.cellprob_threshold,
        "flow_threshold": options.flow_threshold,
        "do_3D": do_3d,
        "max_size_fraction": _MAX_SIZE_FRACTION,
        "device": library.torch.device("cpu"),
    }
    # Cellpose keeps everything if the smallest size is negative, and calls that -1.
    smallest = options.network_min_object_px or -1
    compute = library.dynamics.resize_and_compute_masks
    # Cellpose makes sparse tensors without saying whether torch shall check them, which warns.
    with library.torch.sparse.check_sparse_tensor_invariants(enable=False):
        if do_3d or cellprob.ndim == 2:
            masks: NDArray[Any] = compute(flows, cellprob, min_size=smallest, **how)
            return masks
        planes = [
            compute(np.ascontiguousarray(flows[:, z]), plane, min_size=-1, **how)
            for z, plane in enumerate(cellprob)
        ]
    # Objects of all planes may be more than 16 bits can number.
    stack = np.stack(planes).astype(np.uint32)
    if len(stack) > 1 and options.stitch_threshold > 0:
        stack = library.utils.stitch3D(stack, stitch_threshold=options.stitch_threshold)
    else:
        for z in range(1, len(stack)):
            stack[z][stack[z] > 0] += stack[:z].max()
    filled: NDArray[Any] = library.utils.fill_holes_and_remove_small_masks(stack, min_size=smallest)
    return filled


def _consecutive(masks: NDArray[Any]) -> NDArray[np.int32]:
    """Labels 1 to n in the order of the masks' own numbers."""
    present = np.bincount(masks.ravel(), minlength=1) > 0
    present[0] = False
    numbers = np.where(present, np.cumsum(present), 0).astype(np.int32)
    labels: NDArray[np.int32] = numbers[masks]
    return labels


def _notes(
    response: Response,
    options: SegmentationParameters,
    cellprob: FloatImage,
    installed: str,
    nothing: bool,
) -> list[str]:
    facts = response.facts
    notes = []
    if facts.get("gpu_missing"):
        notes.append("a GPU was asked for and none was found; Cellpose ran on the CPU")
    if facts.get("anisotropy_unknown"):
        notes.append("no calibration and no anisotropy: planes were taken as far apart as pixels")
    if str(facts.get("cellpose", installed)).split(".")[0] != installed.split(".")[0]:
        notes.append(f"flows are of Cellpose {facts['cellpose']}, masks of {installed}")
    if facts.get("do_3d") and options.flow_threshold != type(options)().flow_threshold:
        notes.append("flow_threshold has no effect in 3D")
    if nothing and facts.get("blank"):
        notes.append(
            "nothing found: the 1st and the 99th percentile of the image are equal, which the "
            "network sees as an empty image; crop to the objects"
        )
    elif nothing and not (cellprob > options.cellprob_threshold).any():
        notes.append(
            f"nothing found: no pixel is above cellprob_threshold {options.cellprob_threshold:g}; "
            f"the highest is {cellprob.max():.3g}"
        )
    elif nothing:
        notes.append(
            "nothing found: pixels are above cellprob_threshold, but no object passed "
            "flow_threshold and the smallest and largest size"
        )
    return notes
