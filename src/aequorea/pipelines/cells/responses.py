"""Responses on disk: what a network or a filter gave, kept so that thresholds can change later.

One Zarr group per region, its arrays compressed and checksummed, its facts as attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.errors import RunError
from aequorea.pipelines.cells.segmenting import RegionResponse
from aequorea.segmentation.result import Response

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ENCODING: dict[str, Any] = {"encoding-type": "aequorea-responses", "encoding-version": 1}
_CHUNK_BYTES = 8 << 20


def write_responses(path: Path, responses: Sequence[RegionResponse]) -> None:
    """Write the responses of all regions into a new Zarr group."""
    import zarr
    from zarr.codecs import ZstdCodec

    root = zarr.create_group(path, zarr_format=3)
    root.attrs.update(ENCODING)
    for part in responses:
        group = root.create_group(str(part.region))
        group.attrs.update({"y": part.y, "x": part.x, "facts": dict(part.response.facts)})
        for name, array in part.response.arrays.items():
            values = np.ascontiguousarray(array)
            group.create_array(
                name,
                data=values if values.ndim else values.reshape(1),
                chunks=_chunks(values.shape or (1,), values.dtype.itemsize),
                compressors=ZstdCodec(level=1, checksum=True),
            )


def read_responses(path: Path) -> list[RegionResponse]:
    """Read what :func:`write_responses` wrote, in the order of the regions.

    Raises
    ------
    RunError
        If it is damaged or of a version this aequorea does not read.
    """
    import zarr

    try:
        root: Any = zarr.open_group(path, mode="r")
        attributes = dict(root.attrs)
    except (OSError, ValueError, KeyError):
        raise RunError(f"{path}: no readable responses; run the segmentation again") from None
    if {k: attributes.get(k) for k in ENCODING} != ENCODING:
        raise RunError(
            f"{path}: encoding {attributes.get('encoding-type')} "
            f"{attributes.get('encoding-version')}; this aequorea reads {ENCODING}: use the "
            "version that wrote it, or run the segmentation again"
        )
    found = []
    for name in sorted(root.group_keys(), key=int):
        group: Any = root[name]
        facts = dict(group.attrs)
        found.append(
            RegionResponse(
                region=int(name),
                y=(int(facts["y"][0]), int(facts["y"][1])),
                x=(int(facts["x"][0]), int(facts["x"][1])),
                response=Response(
                    arrays={k: np.asarray(group[k][...]) for k in sorted(group.array_keys())},
                    facts=facts["facts"],
                ),
            )
        )
    return found


def _chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Whole trailing axes as long as a chunk stays below a few megabytes."""
    from aequorea.blocks.chunks import chunk_shape

    return chunk_shape(shape, max(1, _CHUNK_BYTES // itemsize))
