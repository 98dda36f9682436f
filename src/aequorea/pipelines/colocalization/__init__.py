"""From stained channels to colocalization numbers one can defend.

:func:`colocalize` opens the channels, reads the regions, subtracts background, measures every
pair of channels in every region and frame, tests one declared metric against a null said in
words, finds objects and their distances, and writes a page. The directory it fills holds

``tables/*.parquet`` (and ``.csv``), each row with ``frame`` (0 where there is no time axis),
``region`` (0 is the whole image), ``region_name`` and, where pairs are compared, ``channel_a``
and ``channel_b``; ``reason`` says why a value is NaN:

=================  ==================================================================
table              rows
=================  ==================================================================
background         channel: ``method``, ``value`` subtracted, ``clipped_fraction``
checks             finding about the input: ``severity``, ``check``, ``message``
pixel              region × frame × pair (× slice): thresholds and all pixel metrics
curves             level of the regression line: thresholds, ``r_below``, ``m1``, …
significance       metric: ``observed``, ``expected`` by chance; where ``primary``,
                   ``p_value``, ``p_fdr``, ``p_floor`` too; ``hypothesis``
null               draw of a test: ``draw``, ``value``
ccf                shift: ``axis``, ``shift_px``, ``shift_um``, ``r``
ccf_fit            Gaussian through a cross-correlation: ``centre_px``, …
ica                ``icq`` and the share of pixels that vary together
scramble           Costes block scramble: ``observed``, ``p_value``, ``z_score``
objects            object of a channel (per pair), its partners and distances
object_pairs       one-to-one partners within the cut-off
object_summary     counts, fractions and medians of a region and pair
object_distances   fraction of objects of ``channel`` with one of the other within
                   ``distance_um``: ``observed``, ``expected``, ``low``, ``high``
=================  ==================================================================

``images.zarr`` (OME-Zarr 0.5): the channels, and the labels ``regions`` and ``objects_<channel>``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aequorea.pipelines.colocalization.parameters import ColocalizationParameters
    from aequorea.pipelines.colocalization.workflow import (
        colocalize,
        default_out,
        rebuild_report,
        run_colocalization,
    )

__all__ = [
    "ColocalizationParameters",
    "colocalize",
    "default_out",
    "rebuild_report",
    "run_colocalization",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "parameters" if name == "ColocalizationParameters" else "workflow"
    return getattr(import_module(f"{__name__}.{home}"), name)
