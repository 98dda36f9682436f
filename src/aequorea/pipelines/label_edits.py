"""What hand edits did to labels, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aequorea.segmentation.edits import LabelChange

CHANGE_COLUMNS = (
    "channel",
    "kind",
    "labels_before",
    "labels_after",
    "voxels_before",
    "voxels_after",
    "iou",
)


def change_rows(changes: Sequence[LabelChange], channel: str) -> Iterator[dict[str, Any]]:
    """One row per change; several labels are separated by spaces."""
    for change in changes:
        yield {
            "channel": channel,
            "kind": change.kind,
            "labels_before": " ".join(map(str, change.labels_before)),
            "labels_after": " ".join(map(str, change.labels_after)),
            "voxels_before": change.voxels_before,
            "voxels_after": change.voxels_after,
            "iou": change.iou,
        }


def change_table(changes: Sequence[LabelChange], channel: str) -> pd.DataFrame:
    """The changes of one channel; no rows where nothing was changed."""
    return pd.DataFrame(change_rows(changes, channel), columns=list(CHANGE_COLUMNS))
