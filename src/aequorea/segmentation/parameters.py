"""Every option of finding the objects of one channel, whichever method finds them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import field_validator, model_validator

from aequorea.model.parameters import Parameters, option

Prefilter = Literal["gaussian", "median", "log"]
Postfilter = Literal["min_size", "min_intensity", "local_contrast", "bright_pixel_support"]
IntensityMeasure = Literal["mean", "median", "max"]


class SegmentationParameters(Parameters):
    """How the objects of one channel are found."""

    method: str = "watershed"
    """watershed (needs no model; splits touching objects), otsu, li, percentile, cellpose,
    stardist, or the name of an installed plug-in."""

    diameter_um: float | None = option(None, unit="µm", gt=0)
    """Typical diameter of an object; found from the image, or by the network, if not given."""

    diameter_px: float | None = option(None, unit="px", gt=0)
    """The same in pixels, for images without calibration."""

    prefilters: tuple[Prefilter, ...] = ()
    """Filters applied in this order before segmentation; intensities are still measured in the
    unfiltered image."""

    prefilter_sigma_xy_px: float = option(1.0, unit="px", ge=0)
    """SD of the Gaussian or Laplacian-of-Gaussian prefilter within planes."""

    prefilter_sigma_z_px: float | None = option(None, unit="px", ge=0)
    """The same along z; as within planes if not given."""

    prefilter_median_xy_px: int = option(3, unit="px", ge=1)
    """Width of the median prefilter within planes."""

    prefilter_median_z_px: int | None = option(None, unit="px", ge=1)
    """The same along z; as within planes if not given."""

    threshold_percentile: float = option(98.0, unit="%", ge=0, le=100)
    """For 'percentile': of the pixels above 0, the share at or below the threshold."""

    threshold_background_sigma_px: float | None = option(None, unit="px", gt=0)
    """For the threshold methods: subtract a Gaussian-smoothed background of this SD first."""

    threshold_min_object_px: int = option(10, unit="px", ge=0)
    """For the threshold methods: drop connected pieces smaller than this."""

    threshold_min_hole_px: int = option(10, unit="px", ge=0)
    """For the threshold methods: fill holes smaller than this."""

    threshold_closing: bool = True
    """For the threshold methods: close gaps one or two pixels wide."""

    threshold_value: float | None = None
    """For 'watershed' and the threshold methods: this grey level instead of an automatic one."""

    split_tolerance: float = option(0.06, ge=0, lt=1)
    """For 'watershed': how far the blob filter's answer must fall between two summits, as a
    fraction of the lower one, for them to begin as two objects; larger splits less."""

    split_neck: float = option(0.92, ge=0)
    """For 'watershed': pieces whose contact is wider than this fraction of the smaller piece's
    diameter are one object (half a disc: 1.4; touching discs: about 0.5); larger splits more."""

    watershed_edge: float = option(0.5, ge=0, lt=1)
    """For 'watershed': where the outline lies between the background (0) and the inside (1) of
    each object; 0 leaves it at the common threshold."""

    watershed_min_size: float = option(0.15, ge=0)
    """For 'watershed': smallest area or volume of an object, as a fraction of that of a disc or
    ball of the typical diameter."""

    model: str | None = None
    """For 'cellpose': cpsam (Cellpose 4), cyto3, cyto2, cyto, nuclei (Cellpose 3) or the path of a
    model of your own; cpsam or cyto3 if not given. For 'stardist': a name such as
    2D_versatile_fluo, or a folder."""

    do_3d: bool | None = None
    """For 'cellpose': flows in 3D; whether the image is a stack if not given."""

    cellprob_threshold: float = option(0.0, ge=-50, le=50)
    """For 'cellpose': pixels below this logit are background (usually -6 to 6); lower finds more
    and larger objects."""

    flow_threshold: float = option(0.4, ge=0)
    """For 'cellpose': largest mean squared error of the flows of an object (2D); larger keeps
    more, 0 keeps all."""

    anisotropy: float | None = option(None, gt=0)
    """For 'cellpose' in 3D: plane distance over pixel size; from the calibration if not given."""

    flow3d_smooth: float = option(0.0, unit="px", ge=0, le=10)
    """For 'cellpose' in 3D: SD of a Gaussian over the flows."""

    niter: int | None = option(None, ge=1, le=100_000)
    """For 'cellpose': steps along the flows; from the diameter if not given. Long objects may
    need more, such as 2000."""

    stitch_threshold: float = option(0.25, ge=0, le=1)
    """For 'cellpose' in stacks with do_3d off: objects of neighbouring planes whose overlap
    (intersection over union) reaches this are one; 0 joins none."""

    network_min_object_px: int = option(15, unit="px", ge=0)
    """For 'cellpose': objects of fewer pixels are dropped."""

    prob_threshold: float | None = option(None, gt=0, lt=1)
    """For 'stardist': smallest object probability; the model's own if not given."""

    nms_threshold: float | None = option(None, ge=0, le=1)
    """For 'stardist': objects overlapping a more probable one by more than this are dropped; the
    model's own if not given."""

    postfilters: tuple[Postfilter, ...] = ()
    """Filters applied in this order to the objects found."""

    min_object_px: int | None = option(None, unit="px", ge=0)
    """For 'min_size': objects of fewer pixels are dropped."""

    min_intensity_measure: IntensityMeasure = "mean"
    """For 'min_intensity': which intensity of the object is compared."""

    min_intensity_threshold: float | None = None
    """For 'min_intensity': objects at or below this grey level are dropped."""

    local_contrast_k: float = option(1.0, ge=0)
    """For 'local_contrast': an object's median must exceed the median around it by this many
    median absolute deviations."""

    local_contrast_inner_px: int = option(1, unit="px", ge=0)
    """For 'local_contrast': the surroundings begin this far from the object."""

    local_contrast_outer_px: int = option(4, unit="px", ge=1)
    """For 'local_contrast': the surroundings end this far from the object."""

    bright_pixel_threshold: float | None = None
    """For 'bright_pixel_support': grey level above which a pixel counts as bright."""

    bright_pixel_min_count: int | None = option(None, unit="px", ge=0)
    """For 'bright_pixel_support': fewest bright pixels of an object that is kept."""

    bright_pixel_min_fraction: float | None = option(None, ge=0, le=1)
    """For 'bright_pixel_support': smallest bright fraction of an object that is kept."""

    @field_validator("prefilters", "postfilters", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) and value else value or ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.diameter_um is not None and self.diameter_px is not None:
            raise ValueError("give diameter_um or diameter_px, not both")
        if "min_size" in self.postfilters and self.min_object_px is None:
            raise ValueError("postfilter 'min_size' needs min_object_px")
        if "min_intensity" in self.postfilters and self.min_intensity_threshold is None:
            raise ValueError("postfilter 'min_intensity' needs min_intensity_threshold")
        if "local_contrast" in self.postfilters and not (
            self.local_contrast_inner_px < self.local_contrast_outer_px
        ):
            raise ValueError(
                "postfilter 'local_contrast' needs local_contrast_inner_px below "
                "local_contrast_outer_px"
            )
        if "bright_pixel_support" in self.postfilters:
            if self.bright_pixel_threshold is None:
                raise ValueError("postfilter 'bright_pixel_support' needs bright_pixel_threshold")
            if (self.bright_pixel_min_count is None) == (self.bright_pixel_min_fraction is None):
                raise ValueError(
                    "postfilter 'bright_pixel_support' needs one of bright_pixel_min_count and "
                    "bright_pixel_min_fraction"
                )
        return self


PREFILTER_FIELDS = frozenset(
    name for name in SegmentationParameters.model_fields if name.startswith("prefilter")
)
POSTFILTER_FIELDS = frozenset(
    name
    for name in SegmentationParameters.model_fields
    if name.startswith(("postfilter", "min_", "local_contrast", "bright_pixel"))
)
