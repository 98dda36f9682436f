"""What the numbers of puncta on the page of a stack leave out: beyond outlines, and in crowds."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from aequorea.report.checks import Check, fine, note, percent
from aequorea.report.numbers import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from aequorea.report.run_contents import RunContents, StoredImage

__all__ = ["expected_crowded", "of_crowding", "of_outside", "share_near", "told_once"]

_NEAR_UM = 1.0
_OUTSIDE_TOLD, _NEAR_TOLD, _CROWDED_TOLD = 0.3, 0.02, 0.05
_APART_SD = 2.95  # where no hard core was asked for
_AXES = ["z_um", "y_um", "x_um"]


def told_once(warnings: Sequence[str]) -> list[str]:
    """Warnings in their order, repeated ones once with their number.

    Examples
    --------
    >>> told_once(["dim", "no z", "dim"])
    ['dim (2 times)', 'no z']
    """
    return [f"{w} ({n} times)" if n > 1 else w for w, n in Counter(map(str, warnings)).items()]


def of_outside(
    run: RunContents, image: StoredImage, puncta: pd.DataFrame, name: str
) -> Iterator[Check]:
    """Puncta in no cell, and how many of them lie just beyond an outline."""
    outside = puncta[puncta["cell"] == 0]
    share = len(outside) / len(puncta)
    if not len(run.table("cells")):
        yield note(f"All puncta of {name} lie in no cell, as there is none.")
        return
    near = share_near(image, outside) * share if len(outside) else 0.0
    if near > _NEAR_TOLD:
        yield note(
            f"{percent(share)} of the puncta of {name} lie in no cell, {percent(near)} (of all) "
            f"within {number(_NEAR_UM)} µm of an outline. They may belong to the cell beside them: "
            "blur and the error of outlines are of this order. No cell counts them; a lower "
            "--cells.threshold-factor widens the outlines."
        )
    elif share > _OUTSIDE_TOLD:
        yield note(f"{percent(share)} of the puncta of {name} lie in no cell.")
    else:
        yield fine(f"puncta of {name} beyond outlines ({percent(share)})")


def share_near(image: StoredImage, puncta: pd.DataFrame, within_um: float = _NEAR_UM) -> float:
    """Share of these puncta with a voxel of a cell within ``within_um``."""
    planes = [image.labels("cells", z=z) for z in range(image.sizes["z"])]
    inside = np.stack([np.zeros((0, 0), bool) if p is None else p > 0 for p in planes])
    spacing = np.array([float(image.spacing_um[a] or 1) for a in "zyx"])
    reach = np.floor(within_um / spacing).astype(int) + 1
    places = puncta[_AXES].to_numpy(float)
    return float(np.mean([_is_near(inside, p, spacing, reach, within_um) for p in places]))


def _is_near(
    inside: NDArray[np.bool_],
    place: NDArray[np.float64],
    spacing: NDArray[np.float64],
    reach: NDArray[np.int64],
    within_um: float,
) -> bool:
    middle = np.rint(place / spacing).astype(int)
    first = np.maximum(middle - reach, 0)
    box = tuple(slice(a, max(b, 0)) for a, b in zip(first, middle + reach + 1, strict=True))
    voxels = (np.argwhere(inside[box]) + first) * spacing
    return bool(len(voxels)) and float(((voxels - place) ** 2).sum(axis=1).min()) <= within_um**2


def of_crowding(run: RunContents, puncta: pd.DataFrame, role: str, name: str) -> Iterator[Check]:
    """How many puncta are so near to each other that some are seen as one."""
    cells = run.table("cells")
    if not len(cells) or not int(cells[f"{role}_n_cytosol"].sum()):
        return
    apart = float(run.parameter("nulls.null_hard_core_sd") or _APART_SD)
    sigma_z, sigma_yx = (
        float(run.parameter(f"{role}.spot_sigma_{axes}_um")) for axes in ("z", "yx")
    )
    radii = apart * np.array([sigma_z, sigma_yx, sigma_yx])
    inside = puncta[puncta["cell"] > 0][_AXES].to_numpy(float) / radii
    seen = 0.0
    if len(inside) > 1:
        nearest = np.asarray(cKDTree(inside).query(inside, k=2)[0])[:, 1]
        seen = float(np.mean(nearest < 1))
    expected = expected_crowded(
        cells[f"{role}_n_cytosol"].to_numpy(float),
        cells["cytosol_volume_um3"].to_numpy(float),
        radii,
    )
    if expected > _CROWDED_TOLD:
        yield note(
            f"Numbers of {name} are too low where puncta crowd. If as many puncta as were found "
            f"lay at random in their cytosol, {percent(expected)} would have another within "
            f"{number(apart)} SD of a spot ({number(radii[1])} µm in the plane, "
            f"{number(radii[0])} µm along z), where two are often counted as one; of those found, "
            f"{percent(seen)} have. Crowds, such as those around the nucleus, lose more than "
            "sparse places. Detection of lone spots does not include this."
        )
    else:
        yield fine(f"crowding of {name}")


def expected_crowded(
    n: NDArray[Any], volume_um3: NDArray[Any], radii_um: NDArray[np.float64]
) -> float:
    """Share of points at random that have another within an ellipsoid, over all cells.

    Examples
    --------
    >>> import numpy as np
    >>> round(expected_crowded(np.array([40.0]), np.array([100.0]), np.array([1, 0.35, 0.35])), 3)
    0.181
    """
    known = (n > 0) & (volume_um3 > 0)
    ball = 4 / 3 * math.pi * float(np.prod(radii_um))
    others = (n[known] - 1) / volume_um3[known]
    return float(np.average(1 - np.exp(-others * ball), weights=n[known]))
