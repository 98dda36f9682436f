"""Configurations that scripts written for CellColoc construct and change; checked at each change.

They are read once per call, into the frozen models of the workflow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import wraps
from typing import Any, Literal, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from aequorea.errors import InputError
from aequorea.measure.positivity import PositivityParameters
from aequorea.segmentation.parameters import SegmentationParameters

T = TypeVar("T")
Names = str | Sequence[str] | None
_PREFILTERS = {"gaussian": "gaussian", "median": "median", "laplacian_of_gaussian": "log",
               "log": "log"}  # fmt: skip
_POSTFILTERS = dict.fromkeys(
    ("min_size", "min_pixels", "min_voxels", "min_object_voxels"), "min_size"
) | {name: name for name in ("min_intensity", "local_contrast", "bright_pixel_support")}

# options of the workflow that are a field of CellposeModelConfig as they are
_FIELD_OF = {
    "method": "segmentation_method",
    "model": "model_name_or_path",
    "diameter_px": "diameter",
    "do_3d": "do_3d",
    "cellprob_threshold": "cellprob_threshold",
    "flow_threshold": "flow_threshold",
    "flow3d_smooth": "flow3d_smooth",
    "prefilter_sigma_xy_px": "prefilter_sigma_xy",
    "prefilter_sigma_z_px": "prefilter_sigma_z",
    "prefilter_median_xy_px": "prefilter_median_size_xy",
    "prefilter_median_z_px": "prefilter_median_size_z",
    "threshold_percentile": "threshold_percentile",
    "threshold_background_sigma_px": "threshold_background_sigma",
    "threshold_min_object_px": "threshold_min_object_voxels",
    "threshold_min_hole_px": "threshold_min_hole_voxels",
    "threshold_closing": "threshold_apply_closing",
    "min_object_px": "postfilter_min_object_voxels",
    "min_intensity_measure": "min_intensity_measure",
    "min_intensity_threshold": "min_intensity_threshold",
    "local_contrast_k": "local_contrast_k",
    "local_contrast_inner_px": "local_contrast_shell_inner_radius",
    "local_contrast_outer_px": "local_contrast_shell_outer_radius",
    "bright_pixel_threshold": "bright_pixel_threshold",
}


@dataclass_transform(kw_only_default=False, field_specifiers=(Field,))
def configuration(cls: type[T]) -> type[T]:
    """A dataclass whose fields are checked when set; faults are told as field, value, expected."""
    made: Any = pydantic_dataclass(
        cls,
        config=ConfigDict(validate_assignment=True, arbitrary_types_allowed=True, extra="forbid"),
    )
    for method in ("__init__", "__setattr__"):
        setattr(made, method, _told(getattr(made, method), made.__name__))
    checked: type[T] = made
    return checked


def _told(method: Callable[..., None], name: str) -> Callable[..., None]:
    @wraps(method)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except ValidationError as error:
            told = "; ".join(_fault(name, fault) for fault in error.errors())
            raise InputError(told) from None

    return checked


def _fault(name: str, fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"] if isinstance(part, str))
    expected = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "missing_argument" or fault["type"] == "missing":
        return f"{name}: {where} is missing"
    if fault["type"] == "unexpected_keyword_argument":
        return f"{name}: has no field {where!r}"
    return f"{name}.{where}: {expected[:1].lower()}{expected[1:]}, got {fault['input']!r}"


def snapshot(config: Any) -> dict[str, Any]:
    """The fields of a configuration as JSON knows them; slices are [start, stop, step].

    Examples
    --------
    >>> snapshot(RuntimeConfig(crop_for_testing=(slice(0, 1), slice(0, 20))))["crop_for_testing"]
    [[0, 1, None], [0, 20, None]]
    """
    return {f.name: _plain(getattr(config, f.name)) for f in fields(config)}


def _plain(value: Any) -> Any:
    if isinstance(value, slice):
        return [value.start, value.stop, value.step]
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value


@configuration
class ChannelConfig:
    """Which channels of the file are what, from 0."""

    cell_channel: int = Field(ge=0)
    marker_channel: int = Field(ge=0)
    optional_region_channel: int | None = Field(default=None, ge=0)


@configuration
class SingleChannelConfig:
    """Which channel of the file is analysed, from 0."""

    channel_index: int = Field(ge=0)


@configuration
class DisplayNames:
    """What layers and figures call the channels."""

    cell: str = "Cells"
    marker: str = "Marker"
    optional_region: str = "Optional region"
    positive_cells: str = "Marker-positive cells"


@configuration
class SingleChannelDisplayNames:
    """What layers and figures call the channel."""

    channel: str = "Channel"
    objects: str = "Segmented objects"


@configuration
class CellposeModelConfig:
    """How the objects of one channel are found, by whichever method; lengths in pixels.

    ``segmentation_method`` takes ``"cellpose"``, ``"otsu"``, ``"li"``, ``"percentile"`` and also
    ``"watershed"`` and ``"stardist"``. Thresholds given here are applied by every version of
    Cellpose.
    """

    model_name_or_path: str
    segmentation_method: str = "cellpose"
    diameter: float | None = Field(default=None, gt=0)
    do_3d: bool | None = None
    z_axis: int | None = 0
    channel_axis: int | None = None
    cellprob_threshold: float = 0.0
    flow_threshold: float = Field(default=0.4, ge=0)
    anisotropy: bool | float = False
    flow3d_smooth: float = Field(default=0, ge=0, le=10)
    prefilter: Names = None
    prefilter_sigma_xy: float = Field(default=1.0, ge=0)
    prefilter_sigma_z: float | None = Field(default=None, ge=0)
    prefilter_median_size_xy: int = Field(default=3, ge=1)
    prefilter_median_size_z: int | None = Field(default=None, ge=1)
    z_crop: tuple[int | None, int | None] | None = None
    z_projection: Literal["max", "mean", "median", "std", "var"] | None = None
    threshold_percentile: float = Field(default=98.0, ge=0, le=100)
    threshold_background_sigma: float | None = Field(default=None, gt=0)
    threshold_min_object_voxels: int = Field(default=10, ge=0)
    threshold_min_hole_voxels: int = Field(default=10, ge=0)
    threshold_apply_closing: bool = True
    postfilters: Names = None
    postfilter_min_object_voxels: int | None = Field(default=None, ge=0)
    min_intensity_measure: Literal["mean", "median", "max"] = "mean"
    min_intensity_threshold: float | None = None
    local_contrast_k: float = Field(default=1.0, ge=0)
    local_contrast_shell_inner_radius: int = Field(default=1, ge=0)
    local_contrast_shell_outer_radius: int = Field(default=4, ge=1)
    bright_pixel_measure: Literal["count", "fraction"] = "count"
    bright_pixel_threshold: float | None = None
    bright_pixel_min_count: int | None = Field(default=None, ge=0)
    bright_pixel_min_fraction: float | None = Field(default=None, ge=0, le=1)

    def parameters(self) -> SegmentationParameters:
        """The same, as the workflow takes it.

        Raises
        ------
        InputError
            For filters that do not exist, or whose thresholds are not given.
        """
        if self.z_axis not in (0, None) or self.channel_axis is not None:
            raise InputError(
                "CellposeModelConfig: images are (z, y, x) of one channel here; leave z_axis=0 "
                f"and channel_axis=None, got {self.z_axis} and {self.channel_axis}"
            )
        by_count = self.bright_pixel_measure == "count"
        values: dict[str, Any] = {
            **{option: getattr(self, field) for option, field in _FIELD_OF.items()},
            "anisotropy": _anisotropy(self.anisotropy),
            "prefilters": _named(self.prefilter, _PREFILTERS, "prefilter"),
            "postfilters": _named(self.postfilters, _POSTFILTERS, "postfilters"),
            "bright_pixel_min_count": self.bright_pixel_min_count if by_count else None,
            "bright_pixel_min_fraction": None if by_count else self.bright_pixel_min_fraction,
        }
        try:
            return SegmentationParameters.model_validate(values)
        except ValidationError as error:
            told = "; ".join(_fault("CellposeModelConfig", fault) for fault in error.errors())
            raise InputError(told) from None


@configuration
class ColocalizationConfig:
    """When a cell counts, and when it is positive.

    ``positivity_rule`` ``"union"`` is what the reference documents, ``"best"`` what it did.
    """

    min_cell_voxels: int = Field(default=200, ge=0)
    overlap_fraction_threshold: float = Field(default=0.02, ge=0, le=1)
    min_overlap_voxels: int = Field(default=20, ge=0)
    evaluate_optional_region_cell_positivity: bool = False
    positivity_rule: Literal["union", "best", "count", "centroid", "contact", "intensity"] = "union"

    def positivity(self) -> PositivityParameters:
        """The same, as the workflow takes it."""
        return PositivityParameters(
            rule=self.positivity_rule,
            min_overlap_px=self.min_overlap_voxels,
            overlap_fraction=self.overlap_fraction_threshold,
        )


@configuration
class SingleChannelAnalysisConfig:
    """Which objects of a single channel count."""

    min_object_voxels: int = Field(default=50, ge=0)


@configuration
class OptionalRegionSegmentationConfig:
    """A third channel as one thresholded region."""

    enabled: bool = False
    method: Literal["otsu", "li", "percentile"] = "otsu"
    percentile: float = Field(default=98.0, ge=0, le=100)
    gaussian_sigma: float = Field(default=1.0, ge=0)
    background_sigma: float | None = Field(default=None, gt=0)
    min_object_voxels: int = Field(default=10, ge=0)
    min_hole_voxels: int = Field(default=10, ge=0)
    apply_closing: bool = True

    def parameters(self) -> SegmentationParameters:
        """The same, as the workflow takes it."""
        return SegmentationParameters(
            method=self.method,
            prefilters=("gaussian",) if self.gaussian_sigma > 0 else (),
            prefilter_sigma_xy_px=self.gaussian_sigma,
            threshold_percentile=self.percentile,
            threshold_background_sigma_px=self.background_sigma,
            threshold_min_object_px=self.min_object_voxels,
            threshold_min_hole_px=self.min_hole_voxels,
            threshold_closing=self.apply_closing,
        )


@configuration
class RuntimeConfig:
    """How a script runs."""

    draw_rois: bool = True
    process_rois: bool = True
    open_results: bool = True
    use_gpu: bool = True
    crop_for_testing: tuple[slice, ...] | None = None
    image_loading_mode: Literal["memory", "memap", "memmap"] = "memory"


def field_of(option: str) -> str:
    """What CellposeModelConfig calls an option of the workflow.

    Examples
    --------
    >>> field_of("diameter_px"), field_of("prefilters")
    ('diameter', 'prefilter')
    """
    return "prefilter" if option == "prefilters" else _FIELD_OF.get(option, option)


def _named(given: Names, known: dict[str, str], field: str) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given or ())
    unknown = [n for n in names if n not in known]
    if unknown:
        raise InputError(
            f"CellposeModelConfig.{field}: there is no {unknown[0]!r}; choose from "
            f"{', '.join(known)}"
        )
    return tuple(known[n] for n in names)


def _anisotropy(given: bool | float) -> float | None:
    """None takes it from the calibration."""
    if isinstance(given, bool):
        return None if given else 1.0
    return float(given)
