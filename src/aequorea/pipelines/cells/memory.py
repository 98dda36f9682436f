"""What counting a field takes of memory, said before it begins."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from aequorea.errors import AequoreaWarning
from aequorea.pipelines.run.execution import worded_bytes

if TYPE_CHECKING:
    from aequorea.pipelines.cells.fields import CellField
    from aequorea.pipelines.cells.parameters import CellsParameters

# Bytes per voxel beside the pixels; benchmarks/bench_cells_memory.py measures 22, 29, 35 and 20
# for two channels. Networks are not measured: a few images of 32 bits, and copies of them.
_RESPONSE = {"otsu": 22.0, "li": 22.0, "percentile": 22.0, "watershed": 30.0}
_NETWORK = 60.0
_OBJECTS = 36.0
_COUNT = 12.0
_COUNT_PER_CHANNEL = 4.0


def needed_bytes(field: CellField, parameters: CellsParameters) -> int:
    """An estimate of the largest memory that a step of a cell count takes, without its libraries.

    Parameters
    ----------
    field : CellField
    parameters : CellsParameters

    Returns
    -------
    int
    """
    here, full = math.prod(field.shape), math.prod(field.full_shape)
    sizes = {role: np.dtype(image.dtype).itemsize for role, image in field.images.items()}
    reading = max(sizes.values()) * full
    if field.z_projection not in {None, "max"}:
        reading += 8 * full
    held = here * sum(sizes.values())
    steps = [reading, held + here * (_COUNT + _COUNT_PER_CHANNEL * len(sizes))]
    for role, size in sizes.items():
        options = parameters.channel_of(role)
        if options.labels is None:
            response = _RESPONSE.get(options.method, _NETWORK)
            steps.append(size * full + here * response)
        steps.append(size * full + here * _OBJECTS)
    return math.ceil(max(steps))


def tell_memory(field: CellField, parameters: CellsParameters, budget_bytes: int) -> None:
    """Warn if a count is likely to take more than the memory it may use."""
    needed = needed_bytes(field, parameters)
    if needed > budget_bytes:
        warnings.warn(
            f"counting this field needs about {worded_bytes(needed)} of memory, more than the "
            f"{worded_bytes(budget_bytes)} it may use (--max-memory): fields are counted whole; "
            "take fewer planes (--z-crop), or smaller images",
            AequoreaWarning,
            stacklevel=2,
        )
