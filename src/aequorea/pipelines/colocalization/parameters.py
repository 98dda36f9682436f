"""Every option of the colocalization workflow: flags, TOML keys, help and record derive from it."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads annotations
from typing import Literal, Self

from pydantic import field_validator, model_validator

from aequorea.pipelines.run.parameters import Parameters, option

ThresholdMethod = Literal["costes", "otsu", "li", "triangle", "yen", "mean", "isodata", "manual"]


class BackgroundParameters(Parameters):
    """What is subtracted from each channel before anything is measured."""

    background: Literal["none", "constant", "mode", "percentile"] = "none"
    """What to subtract from each channel: nothing, the given values, the most frequent intensity
    of the image, or a percentile of it. Plain M1 and M2 mean little without it."""

    background_value: tuple[float, ...] | None = None
    """For 'constant': one value for all channels, or one per channel, in grey levels."""

    background_percentile: float = option(1.0, unit="%", ge=0, le=100)
    """For 'percentile': which."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.background == "constant" and self.background_value is None:
            raise ValueError("background 'constant' needs background_value (--background-value)")
        return self


class PixelParameters(Parameters):
    """Pixel colocalization."""

    threshold: ThresholdMethod = "costes"
    """How each channel's threshold is found, within each region: 'costes' (where the pixels below
    stop correlating), a histogram method, or 'manual'."""

    stepper: Literal["bisection", "costes"] = "bisection"
    """How Costes' threshold is searched: by bisection, or down one grey level after another."""

    threshold_value: tuple[float, ...] | None = None
    """For 'manual': one threshold per channel, in grey levels after background subtraction."""

    compat: Literal["aequorea", "coloc2", "jacop", "napari"] = "aequorea"
    """Whose definitions to use where programs differ."""

    per_slice: bool = False
    """Measure each z-slice by itself as well as the stack."""

    curve_points: int = option(256, ge=2, le=65536)
    """Number of levels kept of the Manders(T) and r(T) curves, which are computed at all."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.threshold == "manual" and self.threshold_value is None:
            raise ValueError("threshold 'manual' needs threshold_value (--threshold-value)")
        return self


class SignificanceParameters(Parameters):
    """The null hypothesis and what it is asked about."""

    null: Literal["profile", "stationary", "phase", "none"] = "profile"
    """'profile': does the fine structure align, given each channel's large-scale profile (distance
    to the edge or to landmarks, depth, illumination)? 'stationary': the same without a profile, for
    textures that are alike everywhere in the region. 'phase': random textures, for whole images
    only. 'none': no p-values."""

    primary: Literal["pcc", "srcc", "m1", "m2"] = "pcc"
    """The one metric that the test is about, declared beforehand."""

    alternative: Literal["greater", "less", "two-sided"] = "greater"
    """Whether more alignment than chance is looked for, less, or either."""

    profile_scale_px: float | None = option(None, unit="px", gt=0)
    """For 'profile': structure wider than this belongs to the large-scale profile; an eighth of
    the region's diameter if not given."""

    n_shifts: int = option(999, ge=19, le=1_000_000)
    """Number of shifts the null is made of; the smallest possible p is 1/(n_shifts + 1)."""

    alpha: float = option(0.05, gt=0, lt=1)
    """Level at which results are called significant, after correction for the false-discovery
    rate over the family of all regions, frames and pairs tested."""


class DiagnosticParameters(Parameters):
    """Pictures of the relation between two channels, not tests."""

    ccf_max_shift: int = option(20, unit="px", ge=0, le=10_000)
    """Largest shift of the van Steensel cross-correlation along each axis; 0 leaves it out."""

    scramble: int = option(0, ge=0, le=100_000)
    """Number of Costes block scrambles; 0 leaves them out."""

    scramble_block: int | None = option(None, unit="px", ge=1, le=10_000)
    """Side of a scrambled block; guided by the autocorrelation length if not given."""


class ObjectParameters(Parameters):
    """Objects of each channel and the distances between them."""

    objects: bool = True
    """Find objects and measure distances."""

    object_threshold: Literal["otsu", "li", "triangle", "yen", "mean", "isodata", "manual"] = "otsu"
    """How the intensity above which a pixel belongs to an object is found, in each channel."""

    object_threshold_value: tuple[float, ...] | None = None
    """For 'manual': one threshold per channel, in grey levels after background subtraction."""

    min_object_size: int = option(9, unit="px", ge=0)
    """Smaller objects are dropped."""

    match_distance_um: float = option(0.5, unit="µm", gt=0)
    """Largest distance between the centroids of two objects that count as one-to-one partners."""

    max_distance_um: float = option(2.0, unit="µm", gt=0)
    """Largest distance of the curve 'fraction of objects within d of a partner'."""

    object_null: Literal["shift", "profile", "uniform"] | None = None
    """What chance is for objects. 'shift': one stain's pattern lies anywhere, as a whole.
    'profile': each object lies anywhere at its distance to the landmarks or the region's edge.
    'uniform': each object lies anywhere. If not given, 'profile' with null 'profile', else
    'shift'."""

    n_reshuffles: int = option(199, ge=19, le=100_000)
    """Number of random placements of the objects within their region that the curve is
    compared with."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.object_threshold == "manual" and self.object_threshold_value is None:
            raise ValueError(
                "object_threshold 'manual' needs object_threshold_value (--object-threshold-value)"
            )
        return self


class ColocalizationParameters(Parameters):
    """From two or more stained channels to colocalization numbers."""

    channels: tuple[str, ...] | None = option(None, min_length=2)
    """Channels to compare, by name or number from 0, all pairs of them; all of the image if not
    given."""

    scene: int = option(0, ge=0)
    """Which scene (position, series) of the file."""

    axes: str | None = None
    """Axes of the files, in their order, out of tczyx, where they do not say or say it wrong:
    zyx for a plain stack."""

    spacing_um: tuple[float, ...] | None = option(None, unit="µm", min_length=2, max_length=3)
    """Distance between pixel centres, z,y,x or y,x, where the file does not give it or is wrong."""

    regions: Path | None = None
    """Regions to measure one by one: a label image or ImageJ ROIs (.roi, .zip). The whole image
    if not given."""

    landmarks: Path | None = None
    """Label image of landmarks (nuclei, cell outlines) from which the 'profile' null measures
    depth."""

    seed: int = option(0, ge=0)
    """Seed of all random numbers."""

    background: BackgroundParameters = BackgroundParameters()
    pixel: PixelParameters = PixelParameters()
    significance: SignificanceParameters = SignificanceParameters()
    diagnostics: DiagnosticParameters = DiagnosticParameters()
    objects: ObjectParameters = ObjectParameters()

    @property
    def object_null(self) -> Literal["shift", "profile", "uniform"]:
        """What chance is for objects, in force."""
        return self.objects.object_null or (
            "profile" if self.significance.null == "profile" else "shift"
        )

    @field_validator("spacing_um")
    @classmethod
    def _positive(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and min(value) <= 0:
            raise ValueError("distances must be positive numbers of µm")
        return value
