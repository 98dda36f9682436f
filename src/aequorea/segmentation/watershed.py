"""Objects told apart by a watershed that finds their scale, threshold and outlines itself."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.segmentation.parameters import SegmentationParameters
from aequorea.segmentation.result import Response, Segmentation
from aequorea.segmentation.scale import ObjectScale, object_scale, size_notes, stretch_of
from aequorea.segmentation.watershed_basins import basins, contacts, saddles
from aequorea.segmentation.watershed_plan import (
    LEVELS,
    WatershedPlan,
    add_levels,
    given_scale,
    noise_sd,
    plan_scales,
    plan_threshold,
)
from aequorea.segmentation.watershed_stages import (
    BasinTable,
    core_sums,
    final_numbers,
    landscape_of,
    levels_of,
    renumber,
    smoothed,
    trim,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from aequorea.segmentation.result import Fact

__all__ = ["WATERSHED", "watershed_segmentation"]

_MOST_PIXELS = 1 << 31


def watershed_segmentation(
    image: npt.ArrayLike,
    *,
    spacing_um: Sequence[float] | None = None,
    diameter_px: float | None = None,
    mask: npt.ArrayLike | None = None,
    threshold: float | None = None,
    split_tolerance: float | None = None,
    split_neck: float | None = None,
    edge: float | None = None,
    min_size: float | None = None,
) -> Segmentation:
    """Find bright, roundish objects and tell those apart that touch.

    Parameters
    ----------
    image : array_like, shape (y, x) or (z, y, x)
    spacing_um : sequence of float, optional
        Distance between pixel centres along each axis. Not given, the shape of the objects tells
        how far apart the planes are.
    diameter_px : float, optional
        Typical diameter of an object, in pixels of the last axis; else found from the image.
    mask : array_like of bool, optional
        Scale and threshold are taken from the pixels inside.
    threshold : float, optional
        Grey level above which objects are, instead of an automatic one and of outlines at half
        height.
    split_tolerance, split_neck, edge, min_size : float, optional
        As ``split_tolerance``, ``split_neck``, ``watershed_edge`` and ``watershed_min_size`` of
        :class:`SegmentationParameters`, where their defaults stand.

    Returns
    -------
    Segmentation
        Objects in order of their summits in the image. Facts: diameter_px, plane_stretch,
        threshold, background and noise in grey levels. A note says where the typical diameter is
        uncertain: half of the light and half of the objects lie at very unlike sizes.

    Raises
    ------
    AxisMismatchError
        If the mask has another shape.
    InputError
        If the image is not 2D or 3D, or a parameter is out of range.

    Notes
    -----
    1. The typical diameter d is found in scale space (:func:`estimate_diameter_px`).
    2. The image is smoothed by a Gaussian of 0.06 d; its threshold is Li's.
    3. The landscape is the answer of a Laplacian of Gaussian of 0.25 d to the root of the light.
       Every bright voxel belongs to the summit it reaches by steepest ascent; basins are united
       across passes that lie little below their summits (``split_tolerance``).
    4. Each object ends where the smoothed image falls below half of its own height, so dim
       objects beside bright ones keep their size.
    5. Pieces in broad contact are one object (``split_neck``): a watershed that cuts a convex
       object in two makes a contact as wide as the object, two that touch have a neck.
    6. Specks (``watershed_min_size``) and what does not rise above the noise are dropped.

    Deterministic. Takes about four times the memory of the image in float32, itself included.

    References
    ----------
    .. [1] Vincent & Soille (1991), IEEE Trans Pattern Anal 13, 583, doi:10.1109/34.87344

    Examples
    --------
    >>> from aequorea.simulate import simulated_nuclei
    >>> nuclei = simulated_nuclei((160, 160), n=20, rng=0)
    >>> watershed_segmentation(nuclei.image).n_objects
    20
    """
    fields: dict[str, Any] = {
        "diameter_px": diameter_px,
        "threshold_value": threshold,
        "split_tolerance": split_tolerance,
        "split_neck": split_neck,
        "watershed_edge": edge,
        "watershed_min_size": min_size,
    }
    options = SegmentationParameters(
        method="watershed", **{k: v for k, v in fields.items() if v is not None}
    )
    pixels, notes = finite_pixels(image)
    inside = None
    if mask is not None:
        inside = np.asarray(mask).astype(bool)
        if inside.shape != pixels.shape:
            raise AxisMismatchError(
                f"mask: expected the shape of the image {pixels.shape}, found {inside.shape}"
            )
    spacing = None if spacing_um is None else tuple(float(s) for s in spacing_um)
    response = WATERSHED.respond(pixels, options, spacing_um=spacing, mask=inside, use_gpu=False)
    del pixels
    found = WATERSHED.label(response, options)
    return Segmentation(labels=found.labels, facts=found.facts, notes=(*notes, *found.notes))


def as_stored(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pixels as they are if they are small integers, which saves a copy, else as float32."""
    small = image.dtype.kind == "u" and image.dtype.itemsize <= 2 and image.dtype.isnative
    return np.ascontiguousarray(image, dtype=image.dtype if small else np.float32)


def finite_pixels(image: npt.ArrayLike) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """An image as finite numbers; what is not finite becomes the darkest value, with a note."""
    array = np.asarray(image)
    if array.ndim not in (2, 3):
        raise InputError(f"image: expected (y, x) or (z, y, x), found shape {array.shape}")
    if array.dtype.kind not in "biuf":
        raise InputError(f"image: expected real numbers, found dtype {array.dtype}")
    pixels = as_stored(array)
    if array.dtype.kind != "f" or np.isfinite(pixels.sum(dtype=np.float64)):
        return pixels, ()
    finite = np.isfinite(pixels)
    if finite.all():
        return pixels, ()
    darkest = pixels[finite].min() if finite.any() else np.float32(0)
    n = int(finite.size - np.count_nonzero(finite))
    return np.where(finite, pixels, darkest), (f"{n} pixels are not finite; taken as dark",)


def known_scale(
    options: SegmentationParameters, spacing_um: Sequence[float] | None, ndim: int
) -> tuple[float | None, list[float] | None]:
    """Diameter (px of x) and stretch as far as the user knows them."""
    stretch = None if spacing_um is None else stretch_of(spacing_um, ndim)
    if options.diameter_um is None:
        return options.diameter_px, stretch
    if spacing_um is None:
        raise CalibrationError(
            "diameter_um: expected an image with known pixel size, found none; give diameter_px"
        )
    return options.diameter_um / float(spacing_um[-1]), stretch


class Watershed:
    """Back-end ``watershed``; see :func:`watershed_segmentation`."""

    name = "watershed"
    version = 1
    early = frozenset({"diameter_um", "diameter_px", "threshold_value"})
    late = frozenset({"split_tolerance", "split_neck", "watershed_edge", "watershed_min_size"})

    def respond(
        self,
        image: npt.NDArray[Any],
        options: SegmentationParameters,
        *,
        spacing_um: tuple[float, ...] | None,
        mask: npt.NDArray[np.bool_] | None,
        use_gpu: bool,  # noqa: ARG002  (no network here)
    ) -> Response:
        """Basins of the blob filter's landscape, and the smoothed image."""
        pixels = as_stored(image)
        if pixels.size >= _MOST_PIXELS:
            raise InputError(
                f"image: expected fewer than {_MOST_PIXELS} pixels at once, found {pixels.size}; "
                "segment it piece by piece (aequorea.blocks.labels.label_blocks)"
            )
        diameter, stretch = known_scale(options, spacing_um, pixels.ndim)
        if diameter is None or stretch is None:
            scale = object_scale(pixels, spacing_um=spacing_um, mask=mask)
        if diameter is not None:
            scale = given_scale(diameter, scale.stretch if stretch is None else stretch)
        plan = first_plan(pixels, scale)
        if not math.isfinite(plan.diameter_px):
            return _nothing(pixels.shape, plan)
        volume = pixels.reshape((1,) * (3 - pixels.ndim) + pixels.shape)
        smooth = smoothed(volume, plan.edge_sigma_px)
        counts = np.zeros(LEVELS, np.int64)
        add_levels(counts, smooth, plan, mask)
        plan = thresholded(plan, counts, options.threshold_value)
        if not math.isfinite(plan.floor):
            return _nothing(pixels.shape, plan)
        landscape = landscape_of(volume, smooth, plan)
        labels, roots = basins(landscape)
        summits = np.concatenate([[0.0], landscape.ravel()[roots].astype(np.float64)])
        voxels, quanta = core_sums(labels, landscape, smooth, summits, plan)
        pairs, heights = saddles(landscape, labels)
        return Response(
            arrays={
                "basins": labels.reshape(pixels.shape),
                "smooth": smooth.reshape(pixels.shape),
                "summits": summits,
                "core_voxels": voxels,
                "core_quanta": quanta,
                "pairs": pairs,
                "heights": heights,
            },
            facts={
                **facts_of(plan),
                "diameter_by_number_px": _known_or_none(scale.diameter_by_number_px),
            },
        )

    def label(self, response: Response, options: SegmentationParameters) -> Segmentation:
        """Unite basins, draw outlines, drop specks."""
        labels = response.arrays["basins"]
        plan = plan_of(response.facts, labels.ndim)
        facts = shown_facts(plan)
        if "smooth" not in response.arrays:
            note = "nothing stands out in the image; no objects"
            return Segmentation(labels=labels.astype(np.int32), facts=facts, notes=(note,))
        table = BasinTable(**{k: response.arrays[k] for k in BasinTable.__annotations__})
        owner, level = levels_of(
            table, plan, tolerance=options.split_tolerance, edge=options.watershed_edge
        )
        out = np.empty(labels.shape, np.int32)
        counts = np.zeros(len(owner), np.int64)
        trim(labels.ravel(), response.arrays["smooth"].ravel(), owner, level, out.ravel(), counts)
        pairs, faces = contacts(out.reshape((1,) * (3 - out.ndim) + out.shape))
        numbers = final_numbers(
            counts,
            pairs,
            faces,
            plan,
            neck=options.split_neck,
            min_size=options.watershed_min_size,
        )
        renumber(out.ravel(), numbers)
        by_number = response.facts.get("diameter_by_number_px")
        notes = size_notes(plan.diameter_px, math.nan if by_number is None else float(by_number))
        if not numbers.any():
            notes = (*notes, "nothing rises above noise and smallest size; no objects")
        return Segmentation(labels=out, facts=facts, notes=notes)


def first_plan(pixels: npt.NDArray[Any], scale: ObjectScale) -> WatershedPlan:
    """The plan of a whole image, before its threshold is known."""
    lowest = float(pixels.min()) if pixels.size else 0.0
    highest = float(pixels.max()) if pixels.size else 0.0
    if not highest > lowest:
        scale = ObjectScale(diameter_px=math.nan, stretch=scale.stretch, n_blobs=0)
    return plan_scales(
        scale, ndim=pixels.ndim, lowest=lowest, highest=highest, noise=noise_sd(pixels)
    )


def thresholded(
    plan: WatershedPlan, counts: npt.NDArray[np.int64], given: float | None
) -> WatershedPlan:
    """The plan with the threshold of a histogram, or the one given."""
    threshold, background, floor = plan_threshold(counts, plan.lowest, plan.highest)
    if given is not None:
        threshold = floor = float(given)
        background = min(background, threshold) if math.isfinite(background) else plan.lowest
    return replace(
        plan,
        threshold=threshold,
        background=background,
        floor=floor,
        threshold_given=given is not None,
    )


def facts_of(plan: WatershedPlan) -> dict[str, Fact]:
    """A plan as facts of a response."""
    facts: dict[str, Fact] = {
        "plane_stretch": plan.stretch[0] if plan.ndim == 3 else None,
        "row_stretch": plan.stretch[1],
    }
    for name in WatershedPlan.__annotations__:
        if name not in ("stretch", "ndim"):
            facts[name] = _known_or_none(getattr(plan, name))
    return facts


def _known_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def shown_facts(plan: WatershedPlan) -> dict[str, Fact]:
    """What a user wants to know of a plan."""
    facts = facts_of(plan)
    return {
        name: facts[name]
        for name in ("diameter_px", "plane_stretch", "threshold", "background", "noise")
    }


def plan_of(facts: Mapping[str, Any], ndim: int) -> WatershedPlan:
    """The plan that facts were made from."""
    fields: dict[str, Any] = {
        name: math.nan if facts[name] is None else facts[name]
        for name in WatershedPlan.__annotations__
        if name not in ("stretch", "ndim")
    }
    stretch = (facts["plane_stretch"] or 1.0, facts["row_stretch"], 1.0)
    return WatershedPlan(stretch=stretch, ndim=ndim, **fields)


def _nothing(shape: tuple[int, ...], plan: WatershedPlan) -> Response:
    return Response(arrays={"basins": np.zeros(shape, np.int32)}, facts=facts_of(plan))


WATERSHED = Watershed()
