"""The controls of a study: bleed-through between channels, and how bright negatives are."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.errors import AequoreaError, AequoreaWarning, ChannelError, FileMissingError
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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aequorea.measure.controls import BleedThrough, NegativeLevels
    from aequorea.model import Image
    from aequorea.pipelines.run.steps import StepContext
    from aequorea.pipelines.study.sample import Sample

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
)


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
class ControlTables:
    """What the controls of a study say.

    Attributes
    ----------
    bleed_through : DataFrame
        One row per stain and other channel.
    negative_levels : DataFrame
        One row per kind of negative control and channel.
    warnings : tuple of str
    """

    bleed_through: pd.DataFrame
    negative_levels: pd.DataFrame
    warnings: tuple[str, ...]


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
    thresholds: Mapping[str, float] | None = None,
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
    thresholds : mapping of str to float, optional
        Intensity from which a channel counts as positive, by role or channel name.

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
            image, own_names = _opened(sample, roles)
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
    for found in levels.values():
        told += control_warnings(negative=found, thresholds=limits)
    return ControlTables(
        bleed_through=_bleed_table(bleed),
        negative_levels=_level_table(levels),
        warnings=tuple(dict.fromkeys(told)),
    )


def controls_step(
    samples: Sequence[Sample],
    channels: Mapping[str, str | int] | None = None,
    *,
    parameters: ControlParameters | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> Step:
    """The controls as a step of a study: ``tables/bleed_through``, ``tables/negative_levels``.

    Parameters
    ----------
    samples, channels, parameters, thresholds
        As in :func:`control_tables`.
    """
    asked = parameters or ControlParameters()
    controls = [s for s in samples if s.is_control]
    return Step(
        name="controls",
        version=1,
        function=partial(
            _write_controls,
            samples=controls,
            channels=channels,
            parameters=asked,
            thresholds=thresholds,
        ),
        parameters={
            "controls": [[s.name, s.control, dict(s.overrides), _hash(s)] for s in controls],
            "channels": dict(channels or {}),
            "thresholds": dict(thresholds or {}),
            "options": asked,
        },
        outputs=tuple(f"tables/{n}.{kind}" for n in _TABLES for kind in ("parquet", "csv")),
    )


def _write_controls(context: StepContext, *, samples: Sequence[Sample], **options: Any) -> None:
    found = control_tables(samples, **options)
    for message in found.warnings:
        warnings.warn(message, AequoreaWarning, stacklevel=2)
    write_table(found.bleed_through, context.target("tables/bleed_through"))
    write_table(found.negative_levels, context.target("tables/negative_levels"))


def _hash(sample: Sample) -> str | None:
    return sha256_path(sample.file) if sample.file.exists() else None


def _opened(sample: Sample, roles: Mapping[str, str | int]) -> tuple[_Control, tuple[str, ...]]:
    if not sample.file.exists():
        raise FileMissingError(f"{sample.file}: no such file")
    scene = sample.overrides.get("scene", "0")
    images, names = open_channels(
        [sample.file],
        [str(channel) for channel in roles.values()] or None,
        scene=int(scene) if scene.isdigit() else 0,
        axes=sample.overrides.get("axes"),
    )
    return _Control(images), names


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
    thresholds: Mapping[str, float], roles: Mapping[str, str | int], names: Sequence[str]
) -> dict[str, float]:
    named = dict(zip(roles, names, strict=False))
    return {named.get(channel, channel): value for channel, value in thresholds.items()}


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


def _level_table(levels: Mapping[str, NegativeLevels]) -> pd.DataFrame:
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
        )
        for kind, found in levels.items()
        for c, channel in enumerate(found.channels)
    ]
    return pd.DataFrame(rows, columns=list(_LEVEL_COLUMNS))
