"""The controls of a study: bleed-through between channels, and how bright negatives are."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.errors import (
    AequoreaError,
    AequoreaWarning,
    ChannelError,
    FileMissingError,
    InputError,
)
from aequorea.io.tables import write_table
from aequorea.measure.controls import (
    bleed_through_matrix,
    control_warnings,
    negative_levels,
)
from aequorea.pipelines.channels import open_channels
from aequorea.pipelines.run.parameters import Parameters, option
from aequorea.pipelines.run.provenance import sha256_path
from aequorea.pipelines.run.steps import Step
from aequorea.pipelines.study.blinding import as_shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from aequorea.measure.controls import BleedThrough, NegativeLevels
    from aequorea.model import Image
    from aequorea.pipelines.run.steps import StepContext
    from aequorea.pipelines.study.sample import Sample

    Thresholds = Mapping[str, "float | ThresholdInUse"]
    Settings = Callable[[Sample], Parameters]

NEGATIVE = ("secondary-only", "negative")
_TABLES = ("bleed_through", "negative_levels")
_BLEED_COLUMNS = (
    "stain",
    "channel",
    "fraction",
    "ci_low",
    "ci_high",
    "n_pixels",
    "n_images",
    "reason",
)
_LEVEL_COLUMNS = (
    "control",
    "channel",
    "n_images",
    "percentile",
    "percentile_level",
    "k",
    "sd_level",
    "reason",
    "threshold_lies",
    "threshold_low",
    "threshold_high",
    "n_thresholds",
    "n_below",
    "compared",
    "compared_level",
    "threshold_reason",
)
PIXELS = "pixels"
ABOVE, BELOW, PARTLY, UNKNOWN = "above", "below", "partly below", "not known"


class ControlParameters(Parameters):
    """What is read off control images."""

    saturation: float | None = None
    """Intensity from which pixels are clipped and left out; the largest value of integer pixels if
    not given (set 4095 for 12-bit cameras)."""

    tolerated_bleed_through: float = option(0.02, ge=0, lt=1)
    """Fraction of a stain in another channel that is not worth a warning."""

    negative_percentile: float = option(99.0, ge=0, le=100)
    """Percentile of the pixels of a negative image that counts as its level."""

    negative_k: float = option(3.0, ge=0)
    """Standard deviations above the mean of a negative image, as another level."""

    control_confidence: float = option(0.95, gt=0, lt=1)
    """Confidence level of bleed-through."""


@dataclass(frozen=True, kw_only=True)
class ThresholdInUse:
    """From which intensity a study calls something positive in one channel.

    Attributes
    ----------
    values : tuple of float, grey levels
        The threshold of each image or region; empty if none is an intensity.
    compared : str
        What of an image is held against it, in words.
    levels : mapping of str to float
        How high that reaches in each kind of negative control; where a kind is missing, the
        percentile of its pixels stands in.
    reason : str
        Why there is no threshold.
    """

    values: tuple[float, ...] = ()
    compared: str = PIXELS
    levels: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ControlTables:
    """What the controls of a study say.

    Attributes
    ----------
    bleed_through : DataFrame
        One row per stain and other channel.
    negative_levels : DataFrame
        One row per kind of negative control and channel; ``threshold_lies`` says whether the
        threshold in use is above what such a control reaches.
    warnings : tuple of str
    """

    bleed_through: pd.DataFrame
    negative_levels: pd.DataFrame
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Opening:
    """Which part of a file is looked at, and how its axes are read."""

    scene: int = 0
    axes: str | None = None
    frame: int | None = None


class _Control:
    """The channels of a control as one array (c, plane, y, x), read when asked for."""

    def __init__(self, images: Sequence[Image]) -> None:
        self._images = images
        first = images[0].shape
        self.shape = (len(images), int(np.prod(first[:-2], dtype=np.int64)), *first[-2:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        stacked = np.stack([np.asarray(image) for image in self._images]).reshape(self.shape)
        return stacked if dtype is None else stacked.astype(dtype)


def control_tables(
    samples: Sequence[Sample],
    channels: Mapping[str, str | int] | None = None,
    *,
    parameters: ControlParameters | None = None,
    thresholds: Thresholds | None = None,
    settings: Settings | None = None,
) -> ControlTables:
    """Measure the control samples of a study.

    Parameters
    ----------
    samples : sequence of Sample
        Those that are no controls are passed over.
    channels : mapping of str to str or int, optional
        Channel name or number by role; all channels if not given. The stain of a single-stain
        control is a role, or a channel.
    parameters : ControlParameters, optional
    thresholds : mapping of str to float or ThresholdInUse, optional
        Intensity from which a channel counts as positive, by role or channel name.
    settings : callable, optional
        Gives the effective parameters of a sample, such as
        ``lambda s: study.sample_parameters(s, model).values``: their ``scene``, ``axes`` and
        ``frame`` hold for controls, too. If not given, what the row of the sheet says.

    Returns
    -------
    ControlTables
        A control that cannot be used is a warning, not an error.
    """
    asked = parameters or ControlParameters()
    roles = dict(channels or {})
    names: tuple[str, ...] = ()
    singles: list[tuple[str, _Control]] = []
    negatives: dict[str, list[_Control]] = {}
    told = []
    for sample in samples:
        if sample.stain is None and sample.control not in NEGATIVE:
            continue
        try:
            image, own_names = _opened(sample, roles, _opening(sample, settings))
            names = names or own_names
            if image.shape[0] != len(names):
                raise ChannelError(
                    f"has {image.shape[0]} channels, other controls have {len(names)}; "
                    "name the channels that count in [channels]"
                )
            if sample.stain is not None:
                singles.append((_stain(sample.stain, roles, names, own_names), image))
            elif sample.control is not None:
                negatives.setdefault(sample.control, []).append(image)
        except AequoreaError as error:
            told.append(f"control {sample.name!r} is not used: {' '.join(str(error).split())}")
    bleed = _bleed_through(singles, names, asked)
    levels = {kind: _levels(images, names, asked) for kind, images in sorted(negatives.items())}
    limits = _by_name(thresholds or {}, roles, names)
    told += control_warnings(bleed, tolerated=asked.tolerated_bleed_through)
    table = _level_table(levels, limits)
    told += _too_low(table)
    return ControlTables(
        bleed_through=_bleed_table(bleed),
        negative_levels=table,
        warnings=tuple(dict.fromkeys(told)),
    )


def controls_step(
    samples: Sequence[Sample],
    channels: Mapping[str, str | int] | None = None,
    *,
    parameters: ControlParameters | None = None,
    thresholds: Thresholds | Callable[[StepContext], Thresholds] | None = None,
    settings: Settings | None = None,
) -> Step:
    """The controls as a step of a study: ``tables/bleed_through``, ``tables/negative_levels``.

    Parameters
    ----------
    samples, channels, parameters, settings
        As in :func:`control_tables`. In the directory of a blinded study they go by their codes.
    thresholds : mapping or callable, optional
        As in :func:`control_tables`; a callable reads them from the tables of all samples
        (``context.result("tables/…")``), and the step follows the step ``"tables"``.
    """
    asked = parameters or ControlParameters()
    controls = [s for s in samples if s.is_control]
    read = callable(thresholds)
    given = {} if thresholds is None or callable(thresholds) else _plain(thresholds)
    return Step(
        name="controls",
        version=2,
        function=partial(
            _write_controls,
            samples=controls,
            channels=channels,
            parameters=asked,
            thresholds=thresholds,
            settings=settings,
        ),
        parameters={
            # neither names nor paths, which would tell what a blinded study hides
            "controls": [[s.control, asdict(_opening(s, settings)), _hash(s)] for s in controls],
            "channels": dict(channels or {}),
            "thresholds": "of the samples" if read else given,
            "options": asked,
        },
        needs=("tables",) if read else (),
        outputs=tuple(f"tables/{n}.{kind}" for n in _TABLES for kind in ("parquet", "csv")),
    )


def _plain(thresholds: Thresholds) -> dict[str, Any]:
    return {
        channel: asdict(value) if isinstance(value, ThresholdInUse) else value
        for channel, value in thresholds.items()
    }


def _write_controls(
    context: StepContext,
    *,
    samples: Sequence[Sample],
    thresholds: Thresholds | Callable[[StepContext], Thresholds] | None,
    **options: Any,
) -> None:
    limits = thresholds(context) if callable(thresholds) else thresholds
    shown = as_shown(samples, context.run_dir)
    found = control_tables(shown, thresholds=limits, **options)
    for message in found.warnings:
        warnings.warn(message, AequoreaWarning, stacklevel=2)
    write_table(found.bleed_through, context.target("tables/bleed_through"))
    write_table(found.negative_levels, context.target("tables/negative_levels"))


def _hash(sample: Sample) -> str | None:
    return sha256_path(sample.file) if sample.file.exists() else None


def _opening(sample: Sample, settings: Settings | None) -> _Opening:
    if settings is None:
        scene = sample.overrides.get("scene", "0")
        return _Opening(
            scene=int(scene) if scene.isdigit() else 0, axes=sample.overrides.get("axes")
        )
    values = settings(sample)
    return _Opening(
        scene=getattr(values, "scene", 0),
        axes=getattr(values, "axes", None),
        frame=getattr(values, "frame", None),
    )


def _opened(
    sample: Sample, roles: Mapping[str, str | int], how: _Opening
) -> tuple[_Control, tuple[str, ...]]:
    if not sample.file.exists():
        raise FileMissingError(f"{sample.file}: no such file")
    images, names = open_channels(
        [sample.file],
        [str(channel) for channel in roles.values()] or None,
        scene=how.scene,
        axes=how.axes,
    )
    return _Control([_still(image, how.frame) for image in images]), names


def _still(image: Image, frame: int | None) -> Image:
    if frame is None or "t" not in image.axes:
        return image
    if frame >= image.sizes["t"]:
        raise InputError(f"{image.source}: has {image.sizes['t']} time points, no frame {frame}")
    return image.isel(t=frame)


def _stain(
    stain: str, roles: Mapping[str, str | int], names: Sequence[str], own_names: Sequence[str]
) -> str:
    """The channel, as the first control calls it, that shows a stain."""
    for known in (list(roles), [str(c) for c in roles.values()], own_names, names):
        folded = [k.casefold() for k in known]
        if stain.casefold() in folded:
            return names[folded.index(stain.casefold())]
    listed = ", ".join([*roles, *own_names])
    raise ChannelError(f"no channel shows the stain {stain!r}; expected one of {listed}")


def _by_name(
    thresholds: Thresholds, roles: Mapping[str, str | int], names: Sequence[str]
) -> dict[str, ThresholdInUse]:
    named = dict(zip(roles, names, strict=False))
    return {
        named.get(channel, channel): (
            value if isinstance(value, ThresholdInUse) else ThresholdInUse(values=(value,))
        )
        for channel, value in thresholds.items()
    }


def _bleed_through(
    singles: Sequence[tuple[str, _Control]], names: Sequence[str], asked: ControlParameters
) -> BleedThrough | None:
    if not singles:
        return None
    return bleed_through_matrix(
        [image for _, image in singles],
        [stain for stain, _ in singles],
        names,
        saturation=asked.saturation,
        confidence=asked.control_confidence,
    )


def _levels(
    images: Sequence[_Control], names: Sequence[str], asked: ControlParameters
) -> NegativeLevels:
    return negative_levels(images, names, percentile=asked.negative_percentile, k=asked.negative_k)


def _bleed_table(found: BleedThrough | None) -> pd.DataFrame:
    rows = (
        []
        if found is None
        else [
            (
                stain,
                channel,
                found.fraction[i, j],
                found.low[i, j],
                found.high[i, j],
                found.n_pixels[i, j],
                found.n_images[i],
                found.reasons[i][j],
            )
            for i, stain in enumerate(found.channels)
            for j, channel in enumerate(found.channels)
            if i != j
        ]
    )
    return pd.DataFrame(rows, columns=list(_BLEED_COLUMNS))


def _level_table(
    levels: Mapping[str, NegativeLevels], limits: Mapping[str, ThresholdInUse]
) -> pd.DataFrame:
    rows = [
        (
            kind,
            channel,
            found.n_images[c],
            found.percentile,
            found.percentile_level[c],
            found.k,
            found.sd_level[c],
            "" if found.n_images[c] else "no finite pixels",
            *_held_against(limits.get(channel), kind, float(found.percentile_level[c])),
        )
        for kind, found in levels.items()
        for c, channel in enumerate(found.channels)
    ]
    return pd.DataFrame(rows, columns=list(_LEVEL_COLUMNS))


def _held_against(limit: ThresholdInUse | None, kind: str, pixels: float) -> tuple[Any, ...]:
    """Where the thresholds of a channel lie, and against which level."""
    known = limit or ThresholdInUse(reason="cells are not called positive by this channel")
    values = np.array([v for v in known.values if np.isfinite(v)], dtype=np.float64)
    own = kind in known.levels
    compared, level = (known.compared, known.levels[kind]) if own else (PIXELS, pixels)
    if not values.size or not np.isfinite(level):
        reason = known.reason or ("no threshold" if not values.size else "no level")
        return UNKNOWN, np.nan, np.nan, values.size, 0, compared, level, reason
    n_below = int((values < level).sum())
    lies = {0: ABOVE, values.size: BELOW}.get(n_below, PARTLY)
    return lies, values.min(), values.max(), values.size, n_below, compared, level, ""


def _too_low(levels: pd.DataFrame) -> Iterator[str]:
    for row in levels[levels["n_below"] > 0].to_dict("records"):
        low, high = row["threshold_low"], row["threshold_high"]
        used, some = f"the threshold {low:g} is", ""
        if low != high:
            used = f"the threshold ({low:g} to {high:g}) is"
            some = f" in {row['n_below']} of {row['n_thresholds']} images or regions"
        yield (
            f"{row['channel']}: {used} below {row['compared_level']:g}{some}, which "
            f"{row['compared']} of {row['control']} controls reach ({row['percentile']:g}th "
            "percentile): unspecific light counts as positive"
        )
